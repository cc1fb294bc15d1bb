//! Searching: the API lists one day per call, so a range is one call per day, and the other filters are applied here.

use std::collections::HashSet;

use futures_core::Stream;
use futures_util::stream;
use sha2::{Digest, Sha256};

use super::client::{Api, MercadoPublico};
use super::fetch::{ApiRequest, Fetched, Freshness};
use super::filter::Filter;
use super::gate::ledger::Reservation;
use super::wire::v1::{self, V1};
use crate::context::Context;
use crate::error::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::info::Route;
use crate::procure::store::RecordKind;
use crate::procure::{
    Answer, Completeness, Date, DayReport, ListRequest, Listing, Plan, PlanRequest, PurchaseOrderRow,
    Sorting, Source, TenderRow,
};

/// A kind of record that v1 lists by day.
pub(super) trait Daily: Sized + Send + Sync {
    const PATH: &'static str;
    const OPERATION: Operation;

    fn read(body: &super::wire::Body) -> Result<V1<Self>>;
    fn code(&self) -> &str;
    fn name(&self) -> &str;
    fn is_in_state(&self, wanted: &str) -> bool;
}

impl Daily for TenderRow {
    const PATH: &'static str = "/publico/licitaciones.json";
    const OPERATION: Operation = Operation::ListTenders;

    fn read(body: &super::wire::Body) -> Result<V1<Self>> {
        v1::tenders(body)
    }

    fn code(&self) -> &str {
        &self.code
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn is_in_state(&self, wanted: &str) -> bool {
        self.state == crate::procure::TenderState::from(wanted)
    }
}

impl Daily for PurchaseOrderRow {
    const PATH: &'static str = "/publico/ordenesdecompra.json";
    const OPERATION: Operation = Operation::ListPurchaseOrders;

    fn read(body: &super::wire::Body) -> Result<V1<Self>> {
        v1::orders(body)
    }

    fn code(&self) -> &str {
        &self.code
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn is_in_state(&self, wanted: &str) -> bool {
        self.state == crate::procure::OrderState::from(wanted)
    }
}

/// The days of a request, in its order; today if it names none.
pub(super) fn days(request: &ListRequest, today: Date) -> Vec<Date> {
    let last = request.to.unwrap_or(today).min(today);
    let first = request.from.unwrap_or(last);
    match request.sorting {
        Sorting::OldestFirst => first.through(last).collect(),
        _ => first.through(last).rev().collect(),
    }
}

/// A day as v1 writes it: `15012026`.
pub(super) fn v1_date(day: Date) -> String {
    format!("{:02}{:02}{:04}", day.day(), day.month(), day.year())
}

/// Where a listing goes on: the day, and the code of the last row returned from it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SearchCursor {
    pub(super) day: Date,
    pub(super) after: Option<String>,
}

/// Identifies the request that a cursor belongs to, so that it is not used with another one.
fn fingerprint(request: &ListRequest) -> Result<String> {
    let same = ListRequest { cursor: None, limit: None, ..request.clone() };
    let json = serde_json::to_vec(&same)
        .map_err(|_| Error::invalid_request("the request cannot be written as JSON"))?;
    Ok(Sha256::digest(json).iter().take(4).map(|byte| format!("{byte:02x}")).collect())
}

impl SearchCursor {
    pub(super) fn write(&self, request: &ListRequest) -> Result<String> {
        let after = self.after.as_deref().unwrap_or_default();
        Ok(format!("{}/{}/{after}", fingerprint(request)?, self.day))
    }

    pub(super) fn read(request: &ListRequest) -> Result<Option<Self>> {
        let Some(cursor) = &request.cursor else { return Ok(None) };
        let refuse =
            || Error::invalid_request("the cursor is not one that an earlier listing of this request gave");
        let mut parts = cursor.splitn(3, '/');
        let (of, day, after) = (parts.next(), parts.next(), parts.next().unwrap_or_default());
        if of != Some(fingerprint(request)?.as_str()) {
            return Err(refuse());
        }
        let day = day.and_then(|day| day.parse().ok()).ok_or_else(refuse)?;
        Ok(Some(Self { day, after: (!after.is_empty()).then(|| after.to_owned()) }))
    }
}

/// The rows of one day.
pub(super) struct DayRows<T> {
    pub(super) rows: Vec<T>,
    pub(super) report: DayReport,
    pub(super) as_of: crate::procure::Timestamp,
}

impl MercadoPublico {
    /// The request for a day's list.
    pub(super) fn day_request<'a, T: Daily>(
        &self,
        filter: &Filter,
        day: Date,
        reservation: Option<&'a Reservation>,
    ) -> ApiRequest<'a> {
        let mut call = ApiRequest::new(Api::V1, T::OPERATION, T::PATH)
            .with("fecha", v1_date(day))
            .with_freshness(Freshness::Day(day))
            .with_reservation(reservation);
        if T::OPERATION == Operation::ListPurchaseOrders {
            // Without it the service lists only orders that are in process.
            call = call.with("estado", "todos");
        }
        for (name, value) in filter.parameters() {
            call = call.with(name, value);
        }
        call
    }

    /// What a listing costs. Days that are in the store cost nothing.
    pub(super) async fn plan_listing(&self, cx: &Context, request: &PlanRequest) -> Result<Answer<Plan>> {
        let list = &request.list;
        let (plan, source) = match request.kind {
            RecordKind::Tender => (self.plan_days::<TenderRow>(cx, list).await?, Source::V1),
            RecordKind::PurchaseOrder => (self.plan_days::<PurchaseOrderRow>(cx, list).await?, Source::V1),
            RecordKind::QuickPurchase => (self.plan_pages(cx, list).await?, Source::COMPRA_AGIL),
        };
        Ok(Answer::new(plan, source, self.now(cx), self.route()))
    }

    async fn plan_days<T: Daily>(&self, cx: &Context, request: &ListRequest) -> Result<Plan> {
        request.check()?;
        let filter = Filter::new(request)?;
        let today = self.now(cx).date();
        let cursor = SearchCursor::read(request)?;
        let is_open_list = is_open_list::<T>(request);
        let all = if is_open_list { Vec::new() } else { days(request, today) };
        let asked: Vec<Date> = all
            .into_iter()
            .skip_while(|day| cursor.as_ref().is_some_and(|cursor| cursor.day != *day))
            .collect();
        let mut known = Vec::new();
        for day in &asked {
            if self.cached(cx, &self.day_request::<T>(&filter, *day, None)).await?.is_some() {
                known.push(*day);
            }
        }
        let open_calls = usize::from(is_open_list && self.cached(cx, &open_list_request()).await?.is_none());
        let lookups = usize::from(filter.needs_supplier_code());
        let calls = u32::try_from(asked.len() - known.len() + open_calls + lookups).unwrap_or(u32::MAX);
        let exact = !filter.needs_details() && request.limit.is_none();
        self.priced(cx, calls, exact, asked, known).await
    }

    /// A plan for this many calls, with their share of the quota.
    pub(super) async fn priced(
        &self,
        cx: &Context,
        calls: u32,
        exact: bool,
        days_asked: Vec<Date>,
        days_known: Vec<Date>,
    ) -> Result<Plan> {
        let quota = self.quota(cx).await?;
        Ok(Plan {
            calls,
            exact,
            quota_calls: calls,
            quota_left: quota.left(),
            quota_percent: 100.0 * f64::from(calls) / f64::from(self.0.config.daily_quota),
            least_seconds: f64::from(calls.saturating_sub(1)) * self.0.config.min_gap_seconds,
            days_asked,
            days_known,
            better_at_night: calls > 500,
        })
    }

    /// Lists by day, newest or oldest first, and reports how complete each day is.
    pub(super) async fn list_days<T: Daily + Detailed>(
        &self,
        cx: &Context,
        request: &ListRequest,
    ) -> Result<Listing<T>> {
        request.check()?;
        if is_open_list::<T>(request) {
            return self.list_open(cx, request).await;
        }
        let plan = self.plan_days::<T>(cx, request).await?;
        let ledger = self.ledger(Api::V1).await?;
        // Reserved at the start, so that the quota does not run out in the middle of the search.
        let holder = format!("{}-{}", std::process::id(), crate::procure::store::unique());
        let reservation = match plan.calls {
            0 | 1 => None,
            calls => Some(ledger.reserve(self.now(cx), &holder, calls).await?),
        };
        let outcome = self.list_days_reserved::<T>(cx, request, reservation.as_ref()).await;
        if let Some(reservation) = &reservation {
            ledger.release(self.now(cx), reservation).await?;
        }
        outcome
    }

    async fn list_days_reserved<T: Daily + Detailed>(
        &self,
        cx: &Context,
        request: &ListRequest,
        reservation: Option<&Reservation>,
    ) -> Result<Listing<T>> {
        let filter = self.resolved(cx, Filter::new(request)?).await?;
        let cursor = SearchCursor::read(request)?;
        let now = self.now(cx);
        let mut found = SearchResults::new(request.limit, now);
        let skipped = |day: &Date| cursor.as_ref().is_some_and(|cursor| cursor.day != *day);
        for day in days(request, now.date()).into_iter().skip_while(skipped) {
            if found.is_full() {
                found.next = Some(SearchCursor { day, after: None });
                break;
            }
            let after =
                cursor.as_ref().filter(|cursor| cursor.day == day).and_then(|cursor| cursor.after.as_deref());
            match self.day_rows::<T>(cx, &filter, day, request.sorting, reservation).await {
                Ok(rows) => found.take(rows, day, after),
                Err(error) if fails_all_days(&error) => {
                    // Return what was found so far, and a cursor to go on from.
                    if found.reports.is_empty() {
                        return Err(error);
                    }
                    found.fail(day, &error);
                    found.next = Some(SearchCursor { day, after: None });
                    break;
                }
                Err(error) => found.fail_with(day, error),
            }
        }
        found.into_listing(request, self.route())
    }

    /// The rows of a day that pass the filter.
    pub(super) async fn day_rows<T: Daily + Detailed>(
        &self,
        cx: &Context,
        filter: &Filter,
        day: Date,
        sorting: Sorting,
        reservation: Option<&Reservation>,
    ) -> Result<DayRows<T>> {
        let Fetched { body, from_store } =
            self.fetch(cx, &self.day_request::<T>(filter, day, reservation)).await?;
        let (count, mut rows) = T::read(&body)?.into_list()?;
        let mut report = DayReport::new(day, completeness(day, &body, filter));
        if count.is_some_and(|count| usize::try_from(count) != Ok(rows.len())) {
            report.completeness = Completeness::Partial;
            report.problem = Some("the source's row count does not match its rows".to_owned());
        }
        (report.rows, report.from_store) = (rows.len(), from_store);
        if sorting != Sorting::OldestFirst {
            rows.reverse();
        }
        rows.retain(|row| filter.keeps_row(row));
        if filter.needs_details() {
            rows = self.keep_by_detail(cx, filter, rows, reservation).await?;
        }
        Ok(DayRows { rows, report, as_of: body.as_of })
    }

    async fn keep_by_detail<T: Daily + Detailed>(
        &self,
        cx: &Context,
        filter: &Filter,
        rows: Vec<T>,
        reservation: Option<&Reservation>,
    ) -> Result<Vec<T>> {
        let mut cached = Vec::new();
        for row in rows {
            cx.check()?;
            match T::passes(self, cx, filter, row.code(), reservation).await {
                Ok(true) => cached.push(row),
                Ok(false) => {}
                // A list may name a record that has no detail.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(cached)
    }

    /// All tenders that are open for offers, in one call.
    async fn list_open<T: Daily + Detailed>(
        &self,
        cx: &Context,
        request: &ListRequest,
    ) -> Result<Listing<T>> {
        let filter = self.resolved(cx, Filter::new(request)?).await?;
        let Fetched { body, .. } = self.fetch(cx, &open_list_request()).await?;
        let mut rows = T::read(&body)?.into_rows()?;
        rows.retain(|row| filter.keeps_row(row));
        if filter.needs_details() {
            rows = self.keep_by_detail(cx, &filter, rows, None).await?;
        }
        if request.sorting != Sorting::OldestFirst {
            rows.reverse();
        }
        rows.truncate(request.limit.unwrap_or(usize::MAX));
        Ok(Listing::new(rows, body.source.clone(), body.as_of, self.route()))
    }

    pub(super) fn route(&self) -> Route {
        Route::new(&self.0.info)
    }

    /// The tenders of a range as a stream of one listing per day. Each says how complete the day is and has the cursor
    /// of the next day. Dropping the stream stops the search; a request with a cursor goes on from it.
    pub fn tender_stream(
        &self,
        cx: &Context,
        request: ListRequest,
    ) -> impl Stream<Item = Result<Listing<TenderRow>>> + Send + use<> {
        self.day_stream(cx.clone(), request)
    }

    /// The purchase orders of a range as a stream of one listing per day.
    pub fn purchase_order_stream(
        &self,
        cx: &Context,
        request: ListRequest,
    ) -> impl Stream<Item = Result<Listing<PurchaseOrderRow>>> + Send + use<> {
        self.day_stream(cx.clone(), request)
    }

    fn day_stream<T: Daily + Detailed + 'static>(
        &self,
        cx: Context,
        request: ListRequest,
    ) -> impl Stream<Item = Result<Listing<T>>> + Send + use<T> {
        let client = self.clone();
        let today = self.now(&cx).date();
        let start = request.check().and_then(|()| SearchCursor::read(&request)).map(|cursor| {
            let skipped = |day: &Date| cursor.as_ref().is_some_and(|cursor| cursor.day != *day);
            let days: Vec<Date> = days(&request, today).into_iter().skip_while(skipped).collect();
            (days.into_iter(), cursor.and_then(|cursor| cursor.after), HashSet::new())
        });
        stream::try_unfold(start, move |state| {
            let (client, cx, request) = (client.clone(), cx.clone(), request.clone());
            async move {
                let (mut days, mut after, mut seen) = state?;
                let Some(day) = days.next() else { return Ok(None) };
                let filter = client.resolved(&cx, Filter::new(&request)?).await?;
                let mut found = SearchResults::new(None, client.now(&cx));
                found.next = days.as_slice().first().map(|next| SearchCursor { day: *next, after: None });
                let after = after.take();
                match client.day_rows::<T>(&cx, &filter, day, request.sorting, None).await {
                    Ok(rows) => found.take(rows, day, after.as_deref()),
                    Err(error) if fails_all_days(&error) => return Err(error),
                    Err(error) => found.fail(day, &error),
                }
                found.rows.retain(|row: &T| seen.insert(row.code().to_owned()));
                let listing = found.into_listing(&request, client.route())?;
                Ok(Some((listing, Ok((days, None, seen)))))
            }
        })
    }
}

/// The request for all tenders that are open for offers.
pub(super) fn open_list_request<'a>() -> ApiRequest<'a> {
    ApiRequest::new(Api::V1, Operation::ListTenders, TenderRow::PATH)
        .with("estado", "activas")
        .with_freshness(Freshness::For(std::time::Duration::from_secs(300)))
}

/// Whether a request asks for the tenders that are open for offers, which one call lists.
fn is_open_list<T: Daily>(request: &ListRequest) -> bool {
    let no_range = request.from.is_none() && request.to.is_none();
    let open = request.state.as_deref().is_none_or(|state| matches!(state, "activas" | "publicada"));
    T::OPERATION == Operation::ListTenders
        && no_range
        && open
        && request.buyer.is_none()
        && request.supplier.is_none()
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

/// Whether the other days would fail with the same error.
fn fails_all_days(error: &Error) -> bool {
    !matches!(
        error.kind(),
        ErrorKind::Timeout | ErrorKind::Unavailable | ErrorKind::Interrupted | ErrorKind::ResponseInvalid
    ) || error.context().iter().any(|(name, value)| {
        matches!((*name, value.as_str()), ("reason", "breaker_open") | ("phase", "total"))
    })
}

/// A record with filters that only its detail can decide.
pub(super) trait Detailed: Daily {
    /// Whether the record's detail passes the filter.
    fn passes(
        client: &MercadoPublico,
        cx: &Context,
        filter: &Filter,
        code: &str,
        reservation: Option<&Reservation>,
    ) -> impl Future<Output = Result<bool>> + Send;
}

impl Detailed for TenderRow {
    async fn passes(
        client: &MercadoPublico,
        cx: &Context,
        filter: &Filter,
        code: &str,
        reservation: Option<&Reservation>,
    ) -> Result<bool> {
        Ok(filter.keeps_tender(&client.tender_by_code(cx, code, reservation).await?))
    }
}

impl Detailed for PurchaseOrderRow {
    async fn passes(
        client: &MercadoPublico,
        cx: &Context,
        filter: &Filter,
        code: &str,
        reservation: Option<&Reservation>,
    ) -> Result<bool> {
        Ok(filter.keeps_order(&client.order_by_code(cx, code, reservation).await?))
    }
}

/// The results of a search so far.
struct SearchResults<T> {
    rows: Vec<T>,
    codes: HashSet<String>,
    reports: Vec<DayReport>,
    oldest: crate::procure::Timestamp,
    limit: Option<usize>,
    next: Option<SearchCursor>,
    last_error: Option<Error>,
}

impl<T: Daily> SearchResults<T> {
    fn new(limit: Option<usize>, now: crate::procure::Timestamp) -> Self {
        let (rows, codes, reports) = (Vec::new(), HashSet::new(), Vec::new());
        Self { rows, codes, reports, oldest: now, limit, next: None, last_error: None }
    }

    fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.rows.len() >= limit)
    }

    fn take(&mut self, day_rows: DayRows<T>, day: Date, after: Option<&str>) {
        let DayRows { mut rows, mut report, as_of } = day_rows;
        if let Some(given) = after.and_then(|after| rows.iter().position(|row| row.code() == after)) {
            rows.drain(..=given);
        }
        for row in rows {
            if self.codes.contains(row.code()) {
                continue;
            }
            if self.is_full() {
                report.completeness = Completeness::Partial;
                let after = self.rows.last().map(|row| row.code().to_owned());
                self.next = Some(SearchCursor { day, after });
                break;
            }
            self.codes.insert(row.code().to_owned());
            self.rows.push(row);
        }
        self.oldest = self.oldest.min(as_of);
        self.reports.push(report);
    }

    fn fail(&mut self, day: Date, error: &Error) {
        let problem = Some(error.message().to_owned());
        self.reports.push(DayReport { problem, ..DayReport::new(day, Completeness::Failed) });
    }

    fn fail_with(&mut self, day: Date, error: Error) {
        self.fail(day, &error);
        self.last_error = Some(error);
    }

    fn into_listing(self, request: &ListRequest, route: Route) -> Result<Listing<T>> {
        let all_failed = self.reports.iter().all(|report| report.completeness == Completeness::Failed);
        if let (true, Some(error)) = (all_failed, self.last_error) {
            return Err(error);
        }
        let cursor = self.next.map(|cursor| cursor.write(request)).transpose()?;
        Ok(Listing::new(self.rows, Api::V1.source(), self.oldest, route)
            .with_days(self.reports)
            .with_next_cursor(cursor))
    }
}
