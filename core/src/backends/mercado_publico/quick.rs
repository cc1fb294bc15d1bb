//! Quick purchases: large pages time out, and rows move between pages while a list is read.

use std::collections::HashSet;
use std::time::Duration;

use super::client::{Api, MercadoPublico};
use super::cursor::{fingerprint, foreign_cursor, own_cursor, rows_after};
use super::fetch::{ApiRequest, Fetched, Freshness};
use super::filter::{Filter, allow_only, check_source};
use super::gate::budget::{CallBudget, is_ceiling};
use super::wire::compra_agil::{self, Page};
use crate::context::Context;
use crate::error::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::procure::store::RecordKind;
use crate::procure::{ListRequest, Listing, Plan, QuickPurchaseRow, Sorting, Timestamp};

const MIN_PAGE_SIZE: u32 = 10;
/// The service counts no more rows than this.
const MAX_COUNT: i64 = 10_000;

/// To how much of a second the service's filters by time are exact.
const ONE_SECOND: Duration = Duration::from_secs(1);

/// How often earlier pages may be read again because rows dropped out of the list meanwhile.
const MAX_STEPS_BACK: u32 = 50;

/// The parameters of a query, without those for paging.
#[derive(Clone, Debug)]
pub(super) struct QuickQuery {
    pub(super) parameters: Vec<(&'static str, String)>,
    pub(super) freshness: Freshness,
}

/// The rows of the pages of a query, as the service lists them.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) rows: Vec<QuickPurchaseRow>,
    pub(super) total: Option<i64>,
    pub(super) as_of: Timestamp,
    /// Whether these are all.
    is_all: bool,
}

impl Pages {
    /// Whether the service stopped counting, so that there may be more rows than it lists.
    pub(super) fn is_truncated(&self) -> bool {
        self.total.is_some_and(|total| total >= MAX_COUNT)
    }
}

/// Where a listing goes on: after the row with this code, which was published then.
#[derive(Debug, PartialEq, Eq)]
struct QuickCursor {
    published: Option<Timestamp>,
    code: String,
}

impl QuickCursor {
    fn write(request: &ListRequest, row: &QuickPurchaseRow) -> Result<String> {
        let published = row.published.map(|at| at.unix_millis().to_string()).unwrap_or_default();
        Ok(format!("{}/{published}/{}", fingerprint(request)?, row.code))
    }

    fn read(request: &ListRequest) -> Result<Option<Self>> {
        let Some(cursor) = own_cursor(request)? else { return Ok(None) };
        let (published, code) = cursor.split_once('/').ok_or_else(foreign_cursor)?;
        let published = match published {
            "" => None,
            millis => Some(Timestamp::of_unix_millis(millis.parse().map_err(|_| foreign_cursor())?)),
        };
        Ok(Some(Self { published, code: code.to_owned() }))
    }
}

fn state_parameter(state: &str) -> &str {
    match state {
        "proveedorseleccionado" => "proveedor_seleccionado",
        "ocemitida" => "oc_emitida",
        other => other,
    }
}

impl MercadoPublico {
    fn quick_query(
        &self,
        cx: &Context,
        request: &ListRequest,
        filter: &Filter,
        cursor: Option<&QuickCursor>,
    ) -> Result<QuickQuery> {
        let today = self.now(cx).date();
        let from = request.from.or(request.to).unwrap_or_else(|| today.plus_days(-30));
        let to = request.to.unwrap_or(today).min(today);
        let (mut from, mut to) = (Timestamp::start_of(from), Timestamp::at(to, 23, 59, 59)?);
        // Only what comes after the cursor, whatever was published or dropped out of the list meanwhile. Rows of the same
        // second may come before or after it.
        let published = cursor.and_then(|cursor| cursor.published);
        match (published, request.sorting) {
            (None, _) => {}
            (Some(published), Sorting::OldestFirst) => from = from.max(published.minus(ONE_SECOND)),
            (Some(published), _) => to = to.min(published.plus(ONE_SECOND)),
        }
        let mut parameters =
            vec![("publicado_desde", from.with_false_mark()), ("publicado_hasta", to.with_false_mark())];
        if let Some(state) = filter.state() {
            parameters.push(("estado", state_parameter(state).to_owned()));
        }
        if let Some(number) = filter.region_number() {
            parameters.push(("region", number.to_string()));
        }
        if let Some(text) = &request.text {
            parameters.push(("q", text.clone()));
        }
        parameters.push(("ordenar_por", "FechaPublicacion".to_owned()));
        Ok(QuickQuery { parameters, freshness: Freshness::For(Duration::from_secs(300)) })
    }

    fn quick_filter(request: &ListRequest) -> Result<Filter> {
        request.check()?;
        check_source(request, &["compra_agil_v2"])?;
        let allowed = ["from", "to", "text", "state", "buyer", "region", "kinds", "min_amount", "max_amount"];
        allow_only(request, &allowed, "quick purchases")?;
        Filter::new(RecordKind::QuickPurchase, request)
    }

    /// Only the first page says how many there are. Without it in the store, the plan counts all calls that the request
    /// may make.
    pub(super) async fn plan_pages(&self, cx: &Context, request: &ListRequest) -> Result<Plan> {
        let filter = Self::quick_filter(request)?;
        let query = self.quick_query(cx, request, &filter, QuickCursor::read(request)?.as_ref())?;
        let size = self.0.config.page_size;
        let first = self.cached(cx, &self.page_request(&query, (1, size), query.freshness, None)).await?;
        let pages = match &first {
            Some(cached) => u32::try_from(read_page(cached)?.pages.max(1)).unwrap_or(u32::MAX),
            None => u32::MAX,
        };
        let enough = match request.limit {
            Some(limit) if filter.keeps_all_quick() && request.sorting != Sorting::OldestFirst => {
                // One row more says whether there is a next page; the row of the cursor is read again.
                u32::try_from(limit.saturating_add(2).div_ceil(size as usize)).unwrap_or(u32::MAX)
            }
            _ => u32::MAX,
        };
        let calls = pages.min(enough).saturating_sub(u32::from(first.is_some()));
        self.priced(cx, request, calls, false).await
    }

    pub(super) async fn list_quick(
        &self,
        cx: &Context,
        request: &ListRequest,
    ) -> Result<Listing<QuickPurchaseRow>> {
        let filter = Self::quick_filter(request)?;
        let cursor = QuickCursor::read(request)?;
        let query = self.quick_query(cx, request, &filter, cursor.as_ref())?;
        let oldest_first = request.sorting == Sorting::OldestFirst;
        let limit = request.limit.unwrap_or(usize::MAX);
        let budget = CallBudget::new(self.max_calls(request), None);
        // The service lists the newest first; for the oldest, all pages are needed.
        let (mut is_after, mut kept) = (cursor.is_none(), 0);
        let is_enough = |new: &[QuickPurchaseRow], truncated: bool| {
            for row in new {
                kept += usize::from(is_after && filter.keeps_quick(row));
                is_after = is_after || cursor.as_ref().is_some_and(|cursor| cursor.code == row.code);
            }
            let goes_on = limit < usize::MAX || new.iter().any(|row| row.published.is_some());
            (!oldest_first && kept > limit) || (truncated && (oldest_first || !goes_on))
        };
        let pages = self.all_pages(cx, &query, is_enough, Some(&budget)).await?;
        let is_truncated = pages.is_truncated();
        let Pages { mut rows, total, as_of, is_all } = pages;
        if !is_all && oldest_first && !is_truncated {
            return Err(Error::invalid_request(format!(
                "the oldest first needs all pages of the list, and `max_calls` allows {}: raise it, or ask for fewer days",
                self.max_calls(request)
            )));
        }
        if oldest_first {
            rows.reverse();
        }
        let last_read = rows.last().cloned();
        let rows = rows_after(rows, cursor.as_ref().map(|cursor| cursor.code.as_str()), |row| &row.code);
        let mut rows: Vec<_> = rows.into_iter().filter(|row| filter.keeps_quick(row)).collect();
        let next = if rows.len() > limit {
            rows.truncate(limit);
            rows.last().cloned()
        } else {
            last_read.filter(|_| !is_all)
        };
        // Past what the service counts, only the time of the last row leads on.
        let leads_on = rows.len() == limit || next.as_ref().is_some_and(|row| row.published.is_some());
        if is_truncated && !is_all && (oldest_first || !leads_on) {
            return Err(truncated());
        }
        let total = total.and_then(|total| u64::try_from(total).ok());
        Ok(self
            .listing(rows, Api::Quick.source(), as_of)
            // With a cursor, or filtered here, the service's count is another one.
            .with_total(
                total.filter(|total| {
                    *total < MAX_COUNT as u64 && cursor.is_none() && filter.keeps_all_quick()
                }),
            )
            .with_calls(budget.count())
            .with_next_cursor(next.map(|row| QuickCursor::write(request, &row)).transpose()?))
    }

    /// Reads pages until there are no more, `is_enough` says so of the new rows of a page and of whether the service
    /// truncates the list, or the budget is used up. Rows that moved to the next page meanwhile are returned once. If rows
    /// dropped out of the list, later rows moved to earlier pages, which are read again.
    pub(super) async fn all_pages(
        &self,
        cx: &Context,
        query: &QuickQuery,
        mut is_enough: impl FnMut(&[QuickPurchaseRow], bool) -> bool,
        budget: Option<&CallBudget>,
    ) -> Result<Pages> {
        let mut size = self.0.config.page_size;
        let (mut number, mut codes) = (1_u32, HashSet::new());
        let (mut steps_back, mut freshness) = (0, query.freshness);
        let mut found = Pages { rows: Vec::new(), total: None, as_of: self.now(cx), is_all: false };
        loop {
            let call = self.page_request(query, (number, size), freshness, budget);
            let fetched = match self.fetch(cx, &call).await {
                Ok(fetched) => fetched,
                Err(error) if can_be_halved(&error, size) => {
                    // Page N of size S begins where page 2N-1 of size S/2 does.
                    (number, size) = (2 * number - 1, halved(size));
                    continue;
                }
                Err(error) if is_ceiling(&error) && !found.rows.is_empty() => return Ok(found),
                Err(error) => return Err(error),
            };
            let page = read_page(&fetched)?;
            found.as_of = found.as_of.min(fetched.body.as_of);
            let dropped_out =
                found.total.zip(page.total).map_or(0, |(before, now)| before.saturating_sub(now));
            found.total = page.total.or(found.total);
            let is_empty = page.rows.is_empty();
            let known = found.rows.len();
            found.rows.extend(page.rows.into_iter().filter(|row| codes.insert(row.code.clone())));
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
            let new = found.rows.get(known..).unwrap_or_default();
            if is_enough(new, found.is_truncated()) {
                return Ok(found);
            }
            // `total_paginas` counts pages of the requested size; without it the first empty page is the end. Beyond what
            // it counts, the service repeats a page instead.
            let is_repeated = found.is_truncated() && new.is_empty();
            if is_empty || is_repeated || (page.pages > 0 && i64::from(number) >= page.pages) {
                found.is_all = !found.is_truncated();
                return Ok(found);
            }
            number += 1;
        }
    }

    fn page_request<'a>(
        &self,
        query: &QuickQuery,
        (number, size): (u32, u32),
        freshness: Freshness,
        budget: Option<&'a CallBudget>,
    ) -> ApiRequest<'a> {
        let mut call = ApiRequest::new(Api::Quick, Operation::ListQuickPurchases, "/compra-agil")
            .with_freshness(freshness)
            .with_budget(budget);
        for (name, value) in &query.parameters {
            call = call.with(name, value.clone());
        }
        call.retry_timeouts = halved(size) == size;
        call.with("tamano_pagina", size.to_string()).with("numero_pagina", number.to_string())
    }
}

/// The service lists no more than it counts.
fn truncated() -> Error {
    Error::unsupported(
        "10,000 quick purchases or more match, and the service lists no more than that: ask for fewer days, a region, a \
         state or words, or set a limit",
    )
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
