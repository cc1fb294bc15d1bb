//! Incremental sync: what changed since the last time, each change reported once.
//!
//! Records and their events are written in atomic batches. The last batch of a day or window also moves the checkpoint
//! from which the next sync goes on. A sync that is killed in between reads that day or window again and finds most of it
//! unchanged. What a sync that failed has written can be read with [`MercadoPublico::events`].

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::client::{Api, MercadoPublico, NAME};
use super::cursor::List;
use super::fetch::{ApiRequest, Freshness};
use super::filter::Filter;
use super::quick::QuickQuery;
use super::search::Daily;
use super::set_aside::{FailedRead, SetAside, is_about_the_record};
use super::wire::Body;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Persistence, Result};
use crate::procure::setters;
use crate::procure::store::{
    Batch, Form, RecordKind, RecordQuery, SharedStore, StoredRecord, document_body, read_document,
};
use crate::procure::{
    Change, ChangeEvent, Date, OrderState, Origin, PurchaseOrderRow, QuickPurchaseRow, QuickPurchaseState,
    TenderRow, TenderState, Timestamp,
};

const BATCH_ROWS: usize = 100;
/// The service records changes in batches of five minutes. Each batch is complete about two minutes later.
const SETTLING_TIME: Duration = Duration::from_secs(120);
/// The longest window: a day of 25 hours, as there is one when the clocks change.
const MAX_WINDOW: Duration = Duration::from_secs(25 * 3600);
const OVERLAP: Duration = Duration::from_secs(600);

/// After this many days in a row that cannot be read, it is the service and not the days.
const MAX_FAILED_DAYS: usize = 2;

/// The default of [`SyncRequest::max_details`].
const DEFAULT_MAX_DETAILS: usize = 100;

/// What to sync.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SyncRequest {
    /// The kind of record.
    pub kind: RecordKind,
    /// The first day, for the first sync. Later ones go on where the last one ended.
    pub since: Date,
    /// The most tenders whose details are read because they vanished from the lists.
    #[serde(default = "default_max_details")]
    pub max_details: usize,
}

fn default_max_details() -> usize {
    DEFAULT_MAX_DETAILS
}

impl SyncRequest {
    /// Syncs records of a kind, from a day on.
    pub fn new(kind: RecordKind, since: Date) -> Self {
        Self { kind, since, max_details: DEFAULT_MAX_DETAILS }
    }

    setters! {
        /// Sets the most details that are read.
        with_max_details: max_details = usize;
    }
}

/// The result of a sync.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SyncReport {
    /// The changes, in the order in which they were written. They are in the store too.
    pub events: Vec<ChangeEvent>,
    /// Rows that were compared.
    pub rows: usize,
    /// Days or windows that were brought up to date.
    pub steps: usize,
    /// Tenders that vanished from the lists and were not read, because there were more than `max_details`.
    pub left_over: usize,
    /// How many of the rows have a value that cannot be read, by its name. The stored body has it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unread: BTreeMap<&'static str, usize>,
    /// What could not be read, now or earlier. Later syncs try again.
    pub failed: Vec<FailedRead>,
}

/// Which events to read from the store.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EventRequest {
    /// Only events after this position: the last one of the page before.
    pub after: u64,
    /// The most events to return.
    pub limit: usize,
}

impl Default for EventRequest {
    fn default() -> Self {
        Self { after: 0, limit: 1000 }
    }
}

impl EventRequest {
    /// The first events after a position; 0 for all.
    pub fn after(position: u64) -> Self {
        Self { after: position, ..Self::default() }
    }

    setters! {
        /// Sets the most events to return.
        with_limit: limit = usize;
    }
}

/// Events of all syncs, in the order in which they were written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct EventPage {
    /// The events.
    pub events: Vec<ChangeEvent>,
    /// The position of the last one, after which to go on.
    pub position: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Checkpoint {
    /// The last day that was brought up to date.
    #[serde(default)]
    day: Option<Date>,
    /// The end of the last window of changes.
    #[serde(default)]
    until: Option<i64>,
}

impl Checkpoint {
    /// Starts from the beginning if it lies in the future: it was written by a machine whose clock was wrong.
    fn refuse_future(&mut self, now: Timestamp) {
        let is_future = self.day.is_some_and(|day| day > now.date())
            || self.until.is_some_and(|until| until > now.unix_millis());
        if is_future {
            tracing::warn!(
                "the checkpoint of the sync lies in the future; the sync starts from its first day"
            );
            *self = Self::default();
        }
    }
}

trait SyncRow {
    const KIND: RecordKind;

    fn code(&self) -> &str;
    fn closes(&self) -> Option<Timestamp>;
    fn state(&self) -> String;
    fn origin(&self) -> &Origin;
    /// The change that its state stands for, and whether it may still change.
    fn standing(&self) -> (Change, bool);
}

macro_rules! sync_rows {
    ($($row:ident as $kind:ident closes $closes:expr, {
        $($state:pat => ($change:ident, $open:literal),)+
    })+) => {
        $(impl SyncRow for $row {
            const KIND: RecordKind = RecordKind::$kind;

            fn code(&self) -> &str {
                &self.code
            }

            fn closes(&self) -> Option<Timestamp> {
                let closes: fn(&Self) -> Option<Timestamp> = $closes;
                closes(self)
            }

            fn state(&self) -> String {
                self.state.to_string()
            }

            fn origin(&self) -> &Origin {
                &self.origin
            }

            fn standing(&self) -> (Change, bool) {
                match self.state {
                    $($state => (Change::$change, $open),)+
                }
            }
        })+
    };
}

sync_rows! {
    TenderRow as Tender closes |row| row.closes, {
        TenderState::Published => (Opened, true),
        TenderState::Closed => (Closed, true),
        TenderState::Awarded => (Awarded, false),
        TenderState::Deserted | TenderState::Revoked => (Cancelled, false),
        _ => (Amended, true),
    }
    PurchaseOrderRow as PurchaseOrder closes |_| None, {
        OrderState::Sent | OrderState::InProcess => (Opened, true),
        OrderState::Accepted => (Awarded, true),
        OrderState::Cancelled => (Cancelled, false),
        OrderState::Received => (Closed, false),
        _ => (Amended, true),
    }
    QuickPurchaseRow as QuickPurchase closes |row| row.closes, {
        QuickPurchaseState::Published => (Opened, true),
        QuickPurchaseState::Closed => (Closed, true),
        QuickPurchaseState::SupplierChosen | QuickPurchaseState::OrderIssued => (Awarded, false),
        QuickPurchaseState::Deserted | QuickPurchaseState::Cancelled => (Cancelled, false),
        _ => (Amended, true),
    }
}

/// The record to write for a row, and its event if the row changed; `None` if there is nothing to write.
fn compare<R: SyncRow>(
    row: &R,
    day: Option<Date>,
    stored: Option<&StoredRecord>,
) -> Option<(StoredRecord, Option<ChangeEvent>)> {
    let (state, closes, origin) = (row.state(), row.closes(), row.origin());
    let (standing, open) = row.standing();
    // The last day on which it is listed. Reading an earlier day again does not change it back.
    let day = day.max(stored.and_then(|stored| stored.day));
    let change = match stored {
        None => standing,
        Some(stored) if stored.state == state && stored.closes == closes => {
            let moved = StoredRecord { day, ..stored.clone() };
            return (moved.day != stored.day).then_some((moved, None));
        }
        Some(stored) if stored.as_of > origin.as_of => return None,
        // It is still open for offers with another closing time, or open again.
        Some(stored) if stored.state == state || standing == Change::Opened => Change::Amended,
        Some(_) => standing,
    };
    let fingerprint = match closes {
        Some(closes) => format!("{state} {closes}"),
        None => state.clone(),
    };
    let body = origin.raw.detached().as_bytes().clone();
    let record = StoredRecord {
        state,
        open,
        day,
        closes,
        revision: stored.map_or(1, |stored| stored.revision + 1),
        ..StoredRecord::new(R::KIND, Form::Row, row.code(), origin.source.clone(), origin.as_of, body)
    };
    let event = ChangeEvent::new(R::KIND, row.code(), change, fingerprint, origin.as_of);
    Some((record, Some(event)))
}

struct SyncRun {
    store: SharedStore,
    name: String,
    checkpoint: Checkpoint,
    version: u64,
    report: SyncReport,
    set_aside: SetAside,
}

impl SyncRun {
    async fn begin(store: SharedStore, kind: RecordKind) -> Result<Self> {
        let name = format!("sync/{}", kind.as_str());
        let document = store.document(&name).await?;
        let version = document.as_ref().map_or(0, |document| document.version);
        let checkpoint =
            read_document("the checkpoint of the sync", document.as_ref().map(|document| &*document.body))?;
        let set_aside = SetAside::read(SharedStore::clone(&store), kind).await?;
        Ok(Self { store, name, checkpoint, version, report: SyncReport::default(), set_aside })
    }

    /// Writes the changes among `rows`, and the checkpoint with the last batch.
    async fn write<R: SyncRow>(
        &mut self,
        rows: &[R],
        day: Option<Date>,
        checkpoint: Option<Checkpoint>,
    ) -> Result<()> {
        let mut checkpoint = checkpoint;
        let last = rows.len().div_ceil(BATCH_ROWS).max(1) - 1;
        let chunks = rows.chunks(BATCH_ROWS).map(Some).chain(rows.is_empty().then_some(None));
        for (index, chunk) in chunks.enumerate() {
            let mut batch = Batch::new();
            let rows = chunk.unwrap_or_default();
            let codes: Vec<String> = rows.iter().map(|row| row.code().to_owned()).collect();
            let stored = match codes.is_empty() {
                true => Vec::new(),
                false => self.store.records_by_code(R::KIND, Form::Row, &codes).await?,
            };
            let stored: HashMap<&str, &StoredRecord> =
                stored.iter().map(|record| (record.code.as_str(), record)).collect();
            let mut codes = HashSet::new();
            for row in rows {
                // A list may contain a record twice.
                if !codes.insert(row.code()) {
                    continue;
                }
                if let Some((record, event)) = compare(row, day, stored.get(row.code()).copied()) {
                    batch.events.extend(event.map(|event| (event, record.revision)));
                    batch.records.push(record);
                }
            }
            if let Some(checkpoint) = checkpoint.take_if(|_| index == last) {
                let body = document_body(&checkpoint)?;
                batch.documents.push((self.name.clone(), self.version, body.into()));
                self.checkpoint = checkpoint;
            }
            self.apply(batch).await?;
        }
        self.report.rows += rows.len();
        for name in rows.iter().flat_map(|row| &row.origin().unread) {
            *self.report.unread.entry(name).or_default() += 1;
        }
        Ok(())
    }

    async fn apply(&mut self, batch: Batch) -> Result<()> {
        if batch.records.is_empty() && batch.documents.is_empty() {
            return Ok(());
        }
        let events: Vec<ChangeEvent> = batch.events.iter().map(|(event, _)| event.clone()).collect();
        let moves = !batch.documents.is_empty();
        if !self.store.apply(batch).await? {
            return Err(Error::new(ErrorKind::Conflict, "another sync of the same records is running")
                .with_persistence(Persistence::Temporary));
        }
        self.version += u64::from(moves);
        self.report.events.extend(events);
        Ok(())
    }
}

fn no_fresh_answer() -> Error {
    Error::new(ErrorKind::Unavailable, "the service is unavailable, and a sync does not use stored answers")
        .with_persistence(Persistence::Exhausted)
        .with_context("source", Api::V1.name())
}

/// The days before `begin` that were set aside and are to be tried again.
fn due_days(set_aside: &SetAside, now: Timestamp, begin: Date) -> Vec<Date> {
    let days = set_aside.entries().filter(|entry| !set_aside.waits(&entry.name, now));
    days.filter_map(|entry| entry.name.parse().ok()).filter(|day| *day < begin).collect()
}

impl MercadoPublico {
    /// Brings the store up to date and reports what changed. If it is killed, the next sync goes on where it was.
    ///
    /// Tenders cost one call for all that are open, one per day since the last sync, and one for each tender that was
    /// open and vanished. Purchase orders cost one call per day, quick purchases one per page of changes.
    ///
    /// # Errors
    /// Those of the calls and of the store; `conflict` while another sync of the same kind is running; `config_invalid` if
    /// this machine's clock is wrong by the service's. A record or day that cannot be read is no error: it is reported as
    /// [`failed`](SyncReport::failed) and tried again later.
    pub async fn sync(&self, cx: &Context, request: &SyncRequest) -> Result<SyncReport> {
        let outcome = Box::pin(async {
            let mut run = SyncRun::begin(self.store().await?, request.kind).await?;
            run.checkpoint.refuse_future(self.now(cx));
            match request.kind {
                RecordKind::Tender => self.sync_tenders(cx, request, &mut run).await?,
                RecordKind::PurchaseOrder => {
                    self.sync_days::<PurchaseOrderRow>(cx, request, &mut run).await?;
                }
                RecordKind::QuickPurchase => self.sync_quick(cx, request, &mut run).await?,
            }
            run.report.failed = run.set_aside.entries().cloned().collect();
            Ok(run.report)
        });
        outcome.await.map_err(|error: Error| error.with_backend(NAME))
    }

    async fn sync_tenders(&self, cx: &Context, request: &SyncRequest, run: &mut SyncRun) -> Result<()> {
        let call = self.list_request::<TenderRow>(&Filter::default(), List::Open, None);
        let call = call.with_freshness(Freshness::Never);
        let body = self.fetch_fresh(cx, &call).await?;
        let open = TenderRow::read(&body)?.into_rows()?;
        run.write(&open, None, None).await?;
        run.report.steps += 1;
        let mut listed: HashSet<String> = open.into_iter().map(|row| row.code).collect();
        listed.extend(self.sync_days::<TenderRow>(cx, request, run).await?);
        let mut vanished = self.vanished(run, &listed).await?;
        let gone: HashSet<String> = vanished.iter().cloned().collect();
        run.set_aside.remove(|name| name.parse::<Date>().is_err() && !gone.contains(name)).await?;
        let now = self.now(cx);
        vanished.retain(|code| !run.set_aside.waits(code, now));
        vanished.sort_by_key(|code| run.set_aside.attempts(code));
        run.report.left_over = vanished.len().saturating_sub(request.max_details);
        for code in vanished.iter().take(request.max_details) {
            match self.vanished_row(cx, code).await {
                Ok(row) => {
                    run.write(&[row], None, None).await?;
                    run.set_aside.remove(|name| name == code).await?;
                }
                Err(error) if is_about_the_record(&error) => {
                    run.set_aside.put(code, &error, self.now(cx)).await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn vanished_row(&self, cx: &Context, code: &str) -> Result<TenderRow> {
        let row = self.tender_by_code(cx, code, None).await?.row;
        self.check_clock()?;
        if row.origin.stale { Err(no_fresh_answer()) } else { Ok(row) }
    }

    /// Tenders that were open for offers when last seen and are on no list now.
    async fn vanished(&self, run: &SyncRun, listed: &HashSet<String>) -> Result<Vec<String>> {
        let published = TenderState::Published.to_string();
        let (mut vanished, mut query) =
            (Vec::new(), RecordQuery::new(RecordKind::Tender, Form::Row).with_open(true));
        loop {
            let page = run.store.records(query.clone()).await?;
            let Some(last) = page.last().map(|record| record.code.clone()) else { return Ok(vanished) };
            let gone =
                page.into_iter().filter(|record| record.state == published && !listed.contains(&record.code));
            vanished.extend(gone.map(|record| record.code));
            query = query.with_after(last);
        }
    }

    /// Syncs day after day and returns the codes that were listed.
    async fn sync_days<R: Daily + SyncRow>(
        &self,
        cx: &Context,
        request: &SyncRequest,
        run: &mut SyncRun,
    ) -> Result<HashSet<String>> {
        let today = self.now(cx).date();
        let reread_days = i32::try_from(self.0.config.reread_days).unwrap_or(i32::MAX);
        let begin =
            run.checkpoint.day.map_or(request.since, |day| day.plus_days(-reread_days).max(request.since));
        let mut listed = HashSet::new();
        for day in due_days(&run.set_aside, self.now(cx), begin) {
            match self.sync_day::<R>(cx, day, today, None, run, &mut listed).await {
                Ok(()) => run.set_aside.remove(|name| name == day.to_string()).await?,
                Err(error) if is_about_the_record(&error) => {
                    run.set_aside.put(&day.to_string(), &error, self.now(cx)).await?;
                }
                Err(error) => return Err(error),
            }
        }
        let mut failed: Vec<(Date, Error)> = Vec::new();
        for day in begin.through(today) {
            let checkpoint = Checkpoint { day: Some(day), until: None };
            match self.sync_day::<R>(cx, day, today, Some(checkpoint), run, &mut listed).await {
                Ok(()) => {
                    run.set_aside.remove(|name| name == day.to_string()).await?;
                    // Later days can be read, so that it is these days and not the service.
                    for (day, error) in failed.drain(..) {
                        run.set_aside.put(&day.to_string(), &error, self.now(cx)).await?;
                    }
                }
                Err(error)
                    if is_about_the_record(&error) && day < today && failed.len() < MAX_FAILED_DAYS =>
                {
                    failed.push((day, error));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(listed)
    }

    async fn sync_day<R: Daily + SyncRow>(
        &self,
        cx: &Context,
        day: Date,
        today: Date,
        checkpoint: Option<Checkpoint>,
        run: &mut SyncRun,
        listed: &mut HashSet<String>,
    ) -> Result<()> {
        let mut call = self.list_request::<R>(&Filter::default(), List::Day(day), None);
        if day == today {
            call = call.with_freshness(Freshness::Never);
        }
        let rows = R::read(&self.fetch_fresh(cx, &call).await?)?.into_rows()?;
        run.write(&rows, Some(day), checkpoint).await?;
        run.report.steps += 1;
        listed.extend(rows.iter().map(|row| Daily::code(row).to_owned()));
        Ok(())
    }

    /// The answer to a request. Stale ones are refused, because a sync must not report them as changes, and so are those
    /// that show that this machine's clock is wrong.
    async fn fetch_fresh(&self, cx: &Context, call: &ApiRequest<'_>) -> Result<Body> {
        let body = self.fetch(cx, call).await?.body;
        self.check_clock()?;
        if body.stale { Err(no_fresh_answer()) } else { Ok(body) }
    }

    /// Events that the syncs have written to the store, also those of a sync that failed.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn events(&self, _: &Context, request: &EventRequest) -> Result<EventPage> {
        let stored = self.store().await?.events(request.after, request.limit).await;
        let stored = stored.map_err(|error| error.with_backend(NAME))?;
        let position = stored.last().map_or(request.after, |last| last.position);
        Ok(EventPage { events: stored.into_iter().map(|stored| stored.event).collect(), position })
    }

    /// Syncs the changes, window by window. The service compares with Santiago's local time, marked `Z` as if it were UTC.
    async fn sync_quick(&self, cx: &Context, request: &SyncRequest, run: &mut SyncRun) -> Result<()> {
        let until = self.now(cx).minus(SETTLING_TIME);
        let from = match run.checkpoint.until {
            Some(millis) => Timestamp::of_unix_millis(millis).minus(OVERLAP),
            None => Timestamp::start_of(request.since),
        };
        // Windows of at most a day, shorter where a day has more changes than the service counts.
        let (mut begin, mut span) = (from, MAX_WINDOW);
        while begin < until {
            let end = Timestamp::start_of(begin.date().plus_days(1)).min(begin.plus(span)).min(until);
            let parameters = vec![
                ("cambio_desde", begin.with_false_mark()),
                ("cambio_hasta", end.with_false_mark()),
                ("ordenar_por", "FechaUltimaModificacion".to_owned()),
            ];
            let query = QuickQuery { parameters, freshness: Freshness::Never };
            let pages = self.all_pages(cx, &query, |_, is_truncated| is_truncated, None).await?;
            self.check_clock()?;
            if pages.is_truncated() && span > SETTLING_TIME {
                span = end.time_left(begin).unwrap_or(span) / 2;
                continue;
            }
            if pages.rows.iter().any(|row| row.origin.stale) || pages.is_truncated() {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    "the window of changes could not be read in full",
                )
                .with_persistence(Persistence::Exhausted));
            }
            let checkpoint = Checkpoint { day: None, until: Some(end.unix_millis()) };
            run.write(&pages.rows, None, Some(checkpoint)).await?;
            run.report.steps += 1;
            begin = end;
        }
        Ok(())
    }
}
