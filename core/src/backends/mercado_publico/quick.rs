//! Quick purchases: large pages time out, and rows move between pages while a list is read.

use std::collections::HashSet;
use std::time::Duration;

use super::client::{Api, MercadoPublico};
use super::fetch::{ApiRequest, Fetched, Freshness};
use super::filter::Filter;
use super::wire::compra_agil::{self, Page};
use crate::context::Context;
use crate::error::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::procure::{ListRequest, Listing, Plan, QuickPurchaseRow, Sorting, Timestamp};

/// The smallest page that the service accepts.
const MIN_PAGE_SIZE: u32 = 10;
/// The service counts no more rows than this.
const MAX_COUNT: i64 = 10_000;

/// How often earlier pages may be read again because rows dropped out of the list meanwhile.
const MAX_STEPS_BACK: u32 = 50;

/// The parameters of a query, without those for paging.
#[derive(Clone, Debug)]
pub(super) struct QuickQuery {
    pub(super) parameters: Vec<(&'static str, String)>,
    pub(super) freshness: Freshness,
}

/// The rows of all pages of a query.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) rows: Vec<QuickPurchaseRow>,
    pub(super) total: Option<i64>,
    pub(super) as_of: Timestamp,
}

impl Pages {
    /// Whether the service stopped counting, so that there may be more rows than it lists.
    pub(super) fn is_truncated(&self) -> bool {
        self.total.is_some_and(|total| total >= MAX_COUNT)
    }
}

impl MercadoPublico {
    fn quick_query(&self, cx: &Context, request: &ListRequest, filter: &Filter) -> Result<QuickQuery> {
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
        Ok(QuickQuery { parameters, freshness: Freshness::For(Duration::from_secs(300)) })
    }

    /// Only the first page says how many there are. Without it in the store, the plan counts one call.
    pub(super) async fn plan_pages(&self, cx: &Context, request: &ListRequest) -> Result<Plan> {
        request.check()?;
        let filter = Filter::new(request)?;
        let query = self.quick_query(cx, request, &filter)?;
        let first =
            self.cached(cx, &self.page_request(&query, 1, self.0.config.page_size, query.freshness)).await?;
        let pages = match &first {
            Some(cached) => read_page(cached)?.pages,
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
        // The service lists the newest first; for the oldest, all pages are needed.
        let max_rows = wanted.filter(|_| !oldest_first);
        let keeps = |row: &QuickPurchaseRow| filter.keeps_quick(row);
        let pages = self.all_pages(cx, &query, keeps, max_rows).await?;
        if pages.is_truncated() && max_rows.is_none_or(|max_rows| pages.rows.len() <= max_rows) {
            return Err(Error::unsupported(
                "10,000 quick purchases or more match, and the service lists no more than that: ask for fewer days, a region, \
                 a state or words, or set a limit",
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
                total.and_then(|total| u64::try_from(total).ok()).filter(|total| *total < MAX_COUNT as u64),
            )
            .with_next_cursor((end < found).then(|| end.to_string())))
    }

    /// Reads pages until there are no more, or more than `max_rows` rows. Rows that moved to the next page meanwhile are
    /// returned once. If rows dropped out of the list, later rows moved to earlier pages, which are read again. A list
    /// that the service truncates is not read past its first page.
    pub(super) async fn all_pages(
        &self,
        cx: &Context,
        query: &QuickQuery,
        keeps: impl Fn(&QuickPurchaseRow) -> bool,
        max_rows: Option<usize>,
    ) -> Result<Pages> {
        let mut size = self.0.config.page_size;
        let (mut number, mut codes) = (1_u32, HashSet::new());
        let (mut steps_back, mut freshness) = (0, query.freshness);
        let mut found = Pages { rows: Vec::new(), total: None, as_of: self.now(cx) };
        loop {
            let fetched = match self.page(cx, query, (number, size), freshness).await {
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
                if steps_back > MAX_STEPS_BACK {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        "rows drop out of the list faster than it can be read",
                    )
                    .with_persistence(crate::error::Persistence::Exhausted));
                }
                // The stored answers of these pages are from before that.
                freshness = Freshness::Never;
                number = number.saturating_sub(dropped_out.div_ceil(size)).max(1);
                continue;
            }
            // `total_paginas` counts pages of the requested size; without it the first empty page is the end.
            let is_last = is_empty || (page.pages > 0 && i64::from(number) >= page.pages);
            let is_enough = max_rows.map_or(found.is_truncated(), |max_rows| found.rows.len() > max_rows);
            if is_last || is_enough {
                return Ok(found);
            }
            number += 1;
        }
    }

    fn page_request<'a>(
        &self,
        query: &QuickQuery,
        number: u32,
        size: u32,
        freshness: Freshness,
    ) -> ApiRequest<'a> {
        let mut call = ApiRequest::new(Api::Quick, Operation::ListQuickPurchases, "/compra-agil")
            .with_freshness(freshness);
        for (name, value) in &query.parameters {
            call = call.with(name, value.clone());
        }
        call.retry_timeouts = halved(size) == size;
        call.with("tamano_pagina", size.to_string()).with("numero_pagina", number.to_string())
    }

    async fn page(
        &self,
        cx: &Context,
        query: &QuickQuery,
        (number, size): (u32, u32),
        freshness: Freshness,
    ) -> Result<Fetched> {
        self.fetch(cx, &self.page_request(query, number, size, freshness)).await
    }
}

/// Half the size, if such pages start where the larger ones do and the service accepts it; else the size itself.
fn halved(size: u32) -> u32 {
    if size.is_multiple_of(2) && size / 2 >= MIN_PAGE_SIZE { size / 2 } else { size }
}

fn can_be_halved(error: &Error, size: u32) -> bool {
    error.kind() == ErrorKind::Timeout
        && !error.context().contains(&("phase", "total".to_owned()))
        && halved(size) < size
}

fn read_page(fetched: &Fetched) -> Result<Page> {
    compra_agil::page(&fetched.body, compra_agil::success(&fetched.body.bytes)?)
}
