//! Searching: the API lists one day per call, so a range is one call per day, and the other filters are applied here.
//!
//! A search ends for one of three reasons: there is nothing left, the limit of rows is reached, or the ceiling of calls.
//! In the last two cases it has a cursor: the list, and the last row of it that was looked at.

use std::collections::HashSet;

use futures_core::Stream;
use futures_util::stream;

use super::client::{Api, MercadoPublico};
use super::cursor::{List, SearchCursor, lists, rows_after, v1_date};
use super::fetch::{ApiRequest, Fetched, Freshness};
use super::filter::{Filter, check_source};
use super::gate::budget::{CallBudget, is_ceiling};
use super::wire::FromSource;
use super::wire::v1::{self, V1};
use crate::context::Context;
use crate::error::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::info::Route;
use crate::procure::store::RecordKind;
use crate::procure::{
    Answer, CallCount, Completeness, Date, DayReport, ListRequest, Listing, Plan, PlanRequest,
    PurchaseOrderRow, Sorting, Source, TenderRow, Timestamp,
};

/// A kind of record that v1 lists by day.
pub(super) trait Daily: FromSource + Sized + Send + Sync {
    const KIND: RecordKind;
    const PATH: &'static str;
    const OPERATION: Operation;

    fn read(body: &super::wire::Body) -> Result<V1<Self>>;
    fn code(&self) -> &str;
    fn name(&self) -> &str;
    fn is_in_state(&self, wanted: &str) -> bool;
    /// Whether the detail of a record passes the filters that only it can decide.
    fn passes(
        client: &MercadoPublico,
        cx: &Context,
        search: &Search<'_>,
        code: &str,
    ) -> impl Future<Output = Result<bool>> + Send;
}

macro_rules! daily {
    ($($row:ident as $kind:ident in $state:ident at $path:literal, $operation:ident, $read:path,
        $detail:ident, $keeps:ident;)+) => {
        $(impl Daily for $row {
            const KIND: RecordKind = RecordKind::$kind;
            const PATH: &'static str = $path;
            const OPERATION: Operation = Operation::$operation;

            fn read(body: &super::wire::Body) -> Result<V1<Self>> {
                $read(body)
            }

            fn code(&self) -> &str {
                &self.code
            }

            fn name(&self) -> &str {
                &self.name
            }

            fn is_in_state(&self, wanted: &str) -> bool {
                self.state == crate::procure::$state::from(wanted)
            }

            async fn passes(
                client: &MercadoPublico,
                cx: &Context,
                search: &Search<'_>,
                code: &str,
            ) -> Result<bool> {
                Ok(search.filter.$keeps(&client.$detail(cx, code, Some(search.budget)).await?))
            }
        })+
    };
}

daily! {
    TenderRow as Tender in TenderState at "/publico/licitaciones.json", ListTenders, v1::tenders,
        tender_by_code, keeps_tender;
    PurchaseOrderRow as PurchaseOrder in OrderState at "/publico/ordenesdecompra.json", ListPurchaseOrders, v1::orders,
        order_by_code, keeps_order;
}

/// What stays the same while a request's lists are read.
pub(super) struct Search<'a> {
    filter: Filter,
    sorting: Sorting,
    budget: &'a CallBudget,
}

impl MercadoPublico {
    /// The request for a list of v1.
    pub(super) fn list_request<'a, T: Daily>(
        &self,
        filter: &Filter,
        list: List,
        budget: Option<&'a CallBudget>,
    ) -> ApiRequest<'a> {
        let call = ApiRequest::new(Api::V1, T::OPERATION, T::PATH).with_budget(budget);
        let List::Day(day) = list else {
            let freshness = Freshness::For(std::time::Duration::from_secs(300));
            return call.with("estado", "activas").with_freshness(freshness);
        };
        let mut call = call.with("fecha", v1_date(day)).with_freshness(Freshness::Day(day));
        if T::KIND == RecordKind::PurchaseOrder {
            // Without it the service lists only orders that are in process.
            call = call.with("estado", "todos");
        }
        for (name, value) in filter.parameters() {
            call = call.with(name, value);
        }
        call
    }

    /// The most calls of a request.
    pub(super) fn max_calls(&self, request: &ListRequest) -> u32 {
        request.max_calls.unwrap_or(self.0.config.max_calls)
    }

    /// What a listing costs. Answers that are in the store cost nothing.
    pub(super) async fn plan_listing(&self, cx: &Context, request: &PlanRequest) -> Result<Answer<Plan>> {
        let list = &request.list;
        let (plan, source) = match request.kind {
            RecordKind::Tender => (self.plan_search::<TenderRow>(cx, list).await?, Source::V1),
            RecordKind::PurchaseOrder => (self.plan_search::<PurchaseOrderRow>(cx, list).await?, Source::V1),
            RecordKind::QuickPurchase => (self.plan_pages(cx, list).await?, Source::COMPRA_AGIL),
        };
        Ok(Answer::new(plan, source, self.now(cx), self.route()))
    }

    async fn plan_search<T: Daily>(&self, cx: &Context, request: &ListRequest) -> Result<Plan> {
        request.check()?;
        check_source(request, &["v1"])?;
        let filter = Filter::new(T::KIND, request)?;
        let cursor = SearchCursor::read(request)?;
        let lists = lists::<T>(request, &filter, self.now(cx).date())?;
        let (mut asked, mut known, mut unknown_lists, mut details) =
            (Vec::new(), Vec::new(), 0_usize, 0_usize);
        for list in lists.into_iter().skip_while(|list| cursor.as_ref().is_some_and(|at| at.list != *list)) {
            let day = if let List::Day(day) = list { Some(day) } else { None };
            asked.extend(day);
            let Some(stored) = self.cached(cx, &self.list_request::<T>(&filter, list, None)).await? else {
                unknown_lists += 1;
                continue;
            };
            known.extend(day);
            if filter.needs_details() {
                let rows = T::read(&stored.body)?.into_rows()?;
                details += rows.iter().filter(|row| filter.keeps_row(*row)).count();
            }
        }
        let lookups = u32::from(filter.needs_supplier_code());
        let lists = u32::try_from(unknown_lists).unwrap_or(u32::MAX).saturating_add(lookups);
        let most = match (filter.needs_details(), unknown_lists) {
            (false, _) => lists,
            (true, 0) => lists.saturating_add(u32::try_from(details).unwrap_or(u32::MAX)),
            // How many details there are is known only from the lists.
            (true, _) => u32::MAX,
        };
        let exact = !filter.needs_details() && request.limit.is_none();
        let plan = self.priced(cx, request, most, exact).await?;
        Ok(Plan { days_asked: asked, days_known: known, ..plan })
    }

    /// A plan for at most this many calls, with their share of the quota.
    pub(super) async fn priced(
        &self,
        cx: &Context,
        request: &ListRequest,
        most: u32,
        exact: bool,
    ) -> Result<Plan> {
        let quota = self.quota(cx).await?;
        let max_calls = self.max_calls(request);
        let calls = most.min(max_calls);
        Ok(Plan {
            calls,
            exact,
            max_calls,
            total_calls: exact.then_some(most),
            quota_calls: calls,
            quota_left: quota.left(),
            quota_percent: 100.0 * f64::from(calls) / f64::from(self.0.config.daily_quota),
            least_seconds: f64::from(calls.saturating_sub(1)) * self.0.config.min_gap_seconds,
            better_at_night: calls > 500,
            ..Plan::default()
        })
    }

    /// The calls that a planned request may make. They are reserved at the start, so that the quota does not run out in
    /// the middle of it.
    pub(super) async fn budget(&self, cx: &Context, plan: &Plan) -> Result<CallBudget> {
        // A request of which only the ceiling is known takes what is left.
        let calls = if plan.exact { plan.calls } else { plan.calls.min(plan.quota_left) };
        let reservation = match calls {
            0 | 1 => None,
            calls => {
                let holder = format!("{}-{}", std::process::id(), crate::procure::store::unique());
                let ledger = self.ledger(Api::V1).await?;
                Some(ledger.reserve(self.now(cx), &holder, calls).await?)
            }
        };
        Ok(CallBudget::new(plan.max_calls, reservation))
    }

    /// Lists tenders or purchase orders, newest or oldest first, and reports how complete each day is.
    pub(super) async fn search<T: Daily>(&self, cx: &Context, request: &ListRequest) -> Result<Listing<T>> {
        let plan = self.plan_search::<T>(cx, request).await?;
        let mut budget = self.budget(cx, &plan).await?;
        let outcome = self.search_within(cx, request, &budget).await;
        budget.release().await?;
        outcome
    }

    async fn search_within<T: Daily>(
        &self,
        cx: &Context,
        request: &ListRequest,
        budget: &CallBudget,
    ) -> Result<Listing<T>> {
        let filter = self.resolved(cx, Filter::new(T::KIND, request)?, Some(budget)).await?;
        let cursor = SearchCursor::read(request)?;
        let now = self.now(cx);
        let lists = lists::<T>(request, &filter, now.date())?;
        let search = Search { filter, sorting: request.sorting, budget };
        let mut found = SearchResults::new(request.limit, now);
        for list in lists.into_iter().skip_while(|list| cursor.as_ref().is_some_and(|at| at.list != *list)) {
            let after = cursor.as_ref().filter(|at| at.list == list).and_then(|at| at.after.as_deref());
            self.read_list(cx, &search, list, after, &mut found).await?;
            if found.next.is_some() {
                break;
            }
        }
        found.into_listing(self, request, budget.count())
    }

    /// Reads a list and takes its rows that pass the filter. If it was not read to its end, `found.next` says where to go
    /// on.
    ///
    /// # Errors
    /// Those with which the other lists would fail too, if nothing was found so far.
    async fn read_list<T: Daily>(
        &self,
        cx: &Context,
        search: &Search<'_>,
        list: List,
        after: Option<&str>,
        found: &mut SearchResults<T>,
    ) -> Result<()> {
        if found.is_full() {
            found.next = Some(SearchCursor { list, after: None });
            return Ok(());
        }
        let mut report = None;
        let mut seen = after.map(str::to_owned);
        let outcome = self.read_rows(cx, search, list, &mut seen, &mut report, found).await;
        let Err(error) = outcome else {
            found.reports.extend(report);
            return Ok(());
        };
        match (list, is_ceiling(&error)) {
            (_, true) => {
                found.reports.extend(report.map(DayReport::broken_off));
                found.next = Some(SearchCursor { list, after: seen });
            }
            (List::Day(day), false) if !fails_all_lists(&error) => {
                found.fail(day, &error);
                found.last_error = Some(error);
            }
            (_, false) if !found.reports.is_empty() || !found.rows.is_empty() => {
                // Return what was found so far, and a cursor to go on from.
                if let List::Day(day) = list {
                    found.fail(day, &error);
                }
                found.next = Some(SearchCursor { list, after: seen });
            }
            _ => return Err(error),
        }
        Ok(())
    }

    /// Takes the rows of a list. `seen` becomes the code of the last row that was looked at.
    async fn read_rows<T: Daily>(
        &self,
        cx: &Context,
        search: &Search<'_>,
        list: List,
        seen: &mut Option<String>,
        report: &mut Option<DayReport>,
        found: &mut SearchResults<T>,
    ) -> Result<()> {
        let filter = &search.filter;
        let call = self.list_request::<T>(filter, list, Some(search.budget));
        let Fetched { body, from_store } = self.fetch(cx, &call).await?;
        let (count, mut rows) = T::read(&body)?.into_list()?;
        if let List::Day(day) = list {
            let report = report.insert(DayReport::new(day, completeness(day, &body, filter)));
            if count.is_some_and(|count| usize::try_from(count) != Ok(rows.len())) {
                report.completeness = Completeness::Partial;
                report.problem = Some("the source's row count does not match its rows".to_owned());
            }
            (report.rows, report.from_store) = (rows.len(), from_store);
        }
        found.as_of(body.as_of);
        if search.sorting != Sorting::OldestFirst {
            rows.reverse();
        }
        for row in rows_after(rows, seen.as_deref(), T::code) {
            let code = row.code().to_owned();
            if filter.keeps_row(&row) && !found.codes.contains(&code) {
                if found.is_full() {
                    *report = report.take().map(DayReport::broken_off);
                    found.next = Some(SearchCursor { list, after: seen.take() });
                    return Ok(());
                }
                cx.check()?;
                let passes = match filter.needs_details() {
                    true => T::passes(self, cx, search, &code).await,
                    false => Ok(true),
                };
                match passes {
                    Ok(true) => {
                        found.codes.insert(code.clone());
                        found.rows.push(row);
                    }
                    // A list may name a record that has no detail.
                    Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            *seen = Some(code);
        }
        Ok(())
    }

    pub(super) fn route(&self) -> Route {
        Route::new(&self.0.info)
    }

    /// The tenders of a range as a stream of one listing per day. Each says how complete the day is and has the cursor
    /// of the next day. Dropping the stream stops the search; a request with a cursor goes on from it. The limits of rows
    /// and of calls hold for the whole stream: when one is reached, its last listing has a cursor.
    pub fn tender_stream(
        &self,
        cx: &Context,
        request: ListRequest,
    ) -> impl Stream<Item = Result<Listing<TenderRow>>> + Send + use<> {
        self.list_stream(cx.clone(), request)
    }

    /// The purchase orders of a range as a stream of one listing per day, as [`tender_stream`](Self::tender_stream).
    pub fn purchase_order_stream(
        &self,
        cx: &Context,
        request: ListRequest,
    ) -> impl Stream<Item = Result<Listing<PurchaseOrderRow>>> + Send + use<> {
        self.list_stream(cx.clone(), request)
    }

    fn list_stream<T: Daily + 'static>(
        &self,
        cx: Context,
        request: ListRequest,
    ) -> impl Stream<Item = Result<Listing<T>>> + Send + use<T> {
        let client = self.clone();
        let start = self.start_stream::<T>(&cx, &request);
        stream::try_unfold(start, move |state| {
            let (client, cx, request) = (client.clone(), cx.clone(), request.clone());
            async move {
                let mut state = state?;
                let Some(list) = state.lists.next() else { return Ok(None) };
                let filter = Filter::new(T::KIND, &request)?;
                let filter = client.resolved(&cx, filter, Some(&state.budget)).await?;
                let search = Search { filter, sorting: request.sorting, budget: &state.budget };
                let mut found = SearchResults::new(state.left, client.now(&cx));
                std::mem::swap(&mut found.codes, &mut state.seen);
                let after = state.after.take();
                client.read_list::<T>(&cx, &search, list, after.as_deref(), &mut found).await?;
                std::mem::swap(&mut found.codes, &mut state.seen);
                state.left = state.left.map(|left| left.saturating_sub(found.rows.len()));
                let upcoming = state.lists.as_slice().first().map(|next| SearchCursor::start_of(*next));
                if found.next.is_some() || state.left == Some(0) {
                    found.next = found.next.take().or(upcoming);
                    state.lists = Vec::new().into_iter();
                } else {
                    found.next = upcoming;
                }
                // A day that failed is a report here, not the end of the stream.
                found.last_error = None;
                let listing = found.into_listing(&client, &request, state.budget.count())?;
                Ok(Some((listing, Ok(state))))
            }
        })
    }

    fn start_stream<T: Daily>(&self, cx: &Context, request: &ListRequest) -> Result<StreamState> {
        request.check()?;
        check_source(request, &["v1"])?;
        let cursor = SearchCursor::read(request)?;
        let lists = lists::<T>(request, &Filter::new(T::KIND, request)?, self.now(cx).date())?;
        let skipped = |list: &List| cursor.as_ref().is_some_and(|at| at.list != *list);
        let lists: Vec<List> = lists.into_iter().skip_while(skipped).collect();
        Ok(StreamState {
            lists: lists.into_iter(),
            after: cursor.and_then(|at| at.after),
            seen: HashSet::new(),
            left: request.limit,
            budget: CallBudget::new(self.max_calls(request), None),
        })
    }
}

struct StreamState {
    lists: std::vec::IntoIter<List>,
    after: Option<String>,
    /// The codes of all rows so far.
    seen: HashSet<String>,
    /// The rows that the limit leaves.
    left: Option<usize>,
    budget: CallBudget,
}

impl DayReport {
    fn broken_off(self) -> Self {
        Self { completeness: Completeness::Partial, ..self }
    }
}

/// A day is complete once it is over. Lists that the service filtered never are: its filters miss some records.
fn completeness(day: Date, body: &super::wire::Body, filter: &Filter) -> Completeness {
    let over = body.as_of.date() > day;
    if over && !body.stale && filter.parameters().is_empty() {
        Completeness::Complete
    } else {
        Completeness::Partial
    }
}

/// Whether the other lists would fail with the same error.
fn fails_all_lists(error: &Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Interrupted | ErrorKind::ResponseInvalid
    ) || error.context().iter().any(|(name, value)| {
        matches!((*name, value.as_str()), ("reason", "breaker_open") | ("phase", "total"))
    })
}

struct SearchResults<T> {
    rows: Vec<T>,
    codes: HashSet<String>,
    reports: Vec<DayReport>,
    oldest: Timestamp,
    limit: Option<usize>,
    next: Option<SearchCursor>,
    last_error: Option<Error>,
}

impl<T: Daily> SearchResults<T> {
    fn new(limit: Option<usize>, now: Timestamp) -> Self {
        let (rows, codes, reports) = (Vec::new(), HashSet::new(), Vec::new());
        Self { rows, codes, reports, oldest: now, limit, next: None, last_error: None }
    }

    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.rows.len() >= limit)
    }

    fn as_of(&mut self, as_of: Timestamp) {
        self.oldest = self.oldest.min(as_of);
    }

    fn fail(&mut self, day: Date, error: &Error) {
        let problem = Some(error.message().to_owned());
        self.reports.push(DayReport { problem, ..DayReport::new(day, Completeness::Failed) });
    }

    fn into_listing(
        self,
        client: &MercadoPublico,
        request: &ListRequest,
        calls: CallCount,
    ) -> Result<Listing<T>> {
        let all_failed = self.reports.iter().all(|report| report.completeness == Completeness::Failed);
        if let (true, Some(error)) = (all_failed, self.last_error) {
            return Err(error);
        }
        let cursor = self.next.map(|cursor| cursor.write(request)).transpose()?;
        Ok(client
            .listing(self.rows, Api::V1.source(), self.oldest)
            .with_days(self.reports)
            .with_calls(calls)
            .with_next_cursor(cursor))
    }
}
