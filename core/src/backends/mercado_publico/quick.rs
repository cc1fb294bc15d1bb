//! Quick purchases: pages that time out when they are large, and rows that move between pages meanwhile.

use std::collections::HashSet;
use std::time::Duration;

use super::client::{Api, MercadoPublico};
use super::fetch::{Ask, Fetched, Hold};
use super::filter::Filter;
use super::wire::compra_agil::{self, Page};
use crate::context::Context;
use crate::error::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::procure::{ListRequest, Listing, Plan, QuickPurchaseRow, Sorting, Timestamp};

/// The smallest page that the service takes.
const SMALLEST: u32 = 10;
/// The service counts no further.
const COUNTS_TO: i64 = 10_000;

/// So often rows that drop out of a list while it is read are made up for.
const MOST_STEPS_BACK: u32 = 50;

/// The parameters of a query, without those of its pages.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) parameters: Vec<(&'static str, String)>,
    pub(super) hold: Hold,
}

/// What all pages of a query gave.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) rows: Vec<QuickPurchaseRow>,
    pub(super) total: Option<i64>,
    pub(super) as_of: Timestamp,
}

impl Pages {
    /// Whether the service stopped counting, so that there may be more than it gives.
    pub(super) fn is_cut(&self) -> bool {
        self.total.is_some_and(|total| total >= COUNTS_TO)
    }
}

impl MercadoPublico {
    fn quick_query(&self, cx: &Context, request: &ListRequest, filter: &Filter) -> Result<Query> {
        let today = self.now(cx).date();
        let mut parameters = Vec::new();
        let from = request.from.or(request.to).unwrap_or_else(|| today.plus_days(-30));
        let to = request.to.unwrap_or(today).min(today);
        parameters.push(("publicado_desde", Timestamp::start_of(from).with_false_mark()));
        parameters.push(("publicado_hasta", Timestamp::at(to, 23, 59, 59)?.with_false_mark()));
        if let Some(state) = &request.state {
            parameters.push(("estado", state.clone()));
        }
        if let Some(number) = filter.region_number()? {
            parameters.push(("region", number.to_string()));
        }
        if let Some(text) = &request.text {
            parameters.push(("q", text.clone()));
        }
        parameters.push(("ordenar_por", "FechaPublicacion".to_owned()));
        Ok(Query { parameters, hold: Hold::For(Duration::from_secs(300)) })
    }

    /// The first page of a search is asked for anyway; how many follow only it can say.
    pub(super) async fn plan_pages(&self, cx: &Context, request: &ListRequest) -> Result<Plan> {
        request.check()?;
        let filter = Filter::new(request)?;
        let query = self.quick_query(cx, request, &filter)?;
        let first = self.kept(cx, &self.page_ask(&query, 1, self.0.config.page_size, query.hold)).await?;
        let pages = match &first {
            Some(kept) => read_page(kept)?.pages,
            None => 1,
        };
        let calls = u32::try_from(pages.max(1)).unwrap_or(u32::MAX) - u32::from(first.is_some());
        self.priced(cx, calls, false, Vec::new(), Vec::new()).await
    }

    pub(super) async fn list_quick(
        &self,
        cx: &Context,
        request: &ListRequest,
    ) -> Result<Listing<QuickPurchaseRow>> {
        request.check()?;
        let filter = Filter::new(request)?;
        let start = match &request.cursor {
            None => 0,
            Some(cursor) => cursor.parse::<usize>().map_err(|_| {
                Error::invalid_request("the cursor is not one that an earlier listing of this request gave")
            })?,
        };
        let wanted = request.limit.map(|limit| start.saturating_add(limit));
        let query = self.quick_query(cx, request, &filter)?;
        let oldest_first = request.sorting == Sorting::OldestFirst;
        // Only the newest come first by themselves; for the oldest all pages are needed.
        let most = wanted.filter(|_| !oldest_first);
        let keeps = |row: &QuickPurchaseRow| filter.keeps_quick(row);
        let pages = self.all_pages(cx, &query, keeps, most).await?;
        if pages.is_cut() && most.is_none_or(|most| pages.rows.len() <= most) {
            return Err(Error::unsupported(
                "10,000 quick purchases or more match, and the service gives no others: ask for fewer days, a region, a \
                 state or words, or set a limit",
            ));
        }
        let Pages { mut rows, total, as_of } = pages;
        if oldest_first {
            rows.reverse();
        }
        let found = rows.len();
        let end = wanted.unwrap_or(usize::MAX).min(found);
        let rows = rows.into_iter().take(end).skip(start).collect();
        Ok(Listing::new(rows, Api::Quick.source(), as_of, self.route())
            .with_total(
                total.and_then(|total| u64::try_from(total).ok()).filter(|total| *total < COUNTS_TO as u64),
            )
            .with_next_cursor((end < found).then(|| end.to_string())))
    }

    /// Reads page after page until there are no more, or more rows than `most`. Rows that moved from one page to
    /// the next meanwhile are given once. Where rows dropped out, those behind them moved to pages that were read
    /// already: these are read again. A list that the service cuts cannot be read to its end, and is not begun.
    pub(super) async fn all_pages(
        &self,
        cx: &Context,
        query: &Query,
        keeps: impl Fn(&QuickPurchaseRow) -> bool,
        most: Option<usize>,
    ) -> Result<Pages> {
        let mut size = self.0.config.page_size;
        let (mut number, mut codes) = (1_u32, HashSet::new());
        let (mut steps_back, mut hold) = (0, query.hold);
        let mut found = Pages { rows: Vec::new(), total: None, as_of: self.now(cx) };
        loop {
            let fetched = match self.page(cx, query, (number, size), hold).await {
                Ok(fetched) => fetched,
                Err(error) if can_be_halved(&error, size) => {
                    // Page N of size S begins where page 2N-1 of size S/2 does.
                    (number, size) = (2 * number - 1, halved(size));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let page = read_page(&fetched)?;
            found.as_of = found.as_of.min(fetched.body.as_of);
            let dropped_out =
                found.total.zip(page.total).map_or(0, |(before, now)| before.saturating_sub(now));
            found.total = page.total.or(found.total);
            let is_empty = page.rows.is_empty();
            let fresh = page.rows.into_iter().filter(|row| codes.insert(row.code.clone()) && keeps(row));
            found.rows.extend(fresh);
            if let (Ok(dropped_out @ 1..), 2..) = (u32::try_from(dropped_out), number) {
                steps_back += 1;
                if steps_back > MOST_STEPS_BACK {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        "rows drop out of the list faster than it can be read",
                    )
                    .with_persistence(crate::error::Persistence::Exhausted));
                }
                // What is kept of these pages is from before.
                hold = Hold::Never;
                number = number.saturating_sub(dropped_out.div_ceil(size)).max(1);
                continue;
            }
            // `total_paginas` counts pages of the size asked for; without it an empty page is the end.
            let is_last = is_empty || (page.pages > 0 && i64::from(number) >= page.pages);
            let is_enough = most.map_or(found.is_cut(), |most| found.rows.len() > most);
            if is_last || is_enough {
                return Ok(found);
            }
            number += 1;
        }
    }

    fn page_ask<'a>(&self, query: &Query, number: u32, size: u32, hold: Hold) -> Ask<'a> {
        let mut ask = Ask::new(Api::Quick, Operation::ListQuickPurchases, "/compra-agil").holding(hold);
        for (name, value) in &query.parameters {
            ask = ask.with(name, value.clone());
        }
        ask.repeat_timeouts = halved(size) == size;
        ask.with("tamano_pagina", size.to_string()).with("numero_pagina", number.to_string())
    }

    async fn page(
        &self,
        cx: &Context,
        query: &Query,
        (number, size): (u32, u32),
        hold: Hold,
    ) -> Result<Fetched> {
        self.fetch(cx, &self.page_ask(query, number, size, hold)).await
    }
}

/// Half the size, if pages of it begin where the larger ones do and the service takes it; else the size itself.
fn halved(size: u32) -> u32 {
    if size.is_multiple_of(2) && size / 2 >= SMALLEST { size / 2 } else { size }
}

fn can_be_halved(error: &Error, size: u32) -> bool {
    error.kind() == ErrorKind::Timeout
        && !error.context().contains(&("phase", "total".to_owned()))
        && halved(size) < size
}

fn read_page(fetched: &Fetched) -> Result<Page> {
    match compra_agil::payload(&fetched.body.bytes)? {
        Ok(payload) => compra_agil::page(&fetched.body, payload),
        Err(_) => Err(Error::response_invalid("the answer is a failure that was kept")),
    }
}
