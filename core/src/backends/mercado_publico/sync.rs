//! Incremental sync: what changed since the last time, told once.
//!
//! Everything is written in batches that stand or fall as a whole, records and their events together, and the
//! place to go on from with the last of them. Whoever is killed in between asks for a day or a window again and
//! finds most of it unchanged.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::client::{Api, MercadoPublico, NAME};
use super::fetch::Hold;
use super::filter::Filter;
use super::quick::Query;
use super::search::{Daily, open_ask};
use super::wire::v1::V1;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Persistence, Result};
use crate::procure::store::{Batch, Form, RecordKind, RecordQuery, SharedStore, StoredRecord};
use crate::procure::{
    Change, ChangeEvent, Date, ListRequest, OrderState, Origin, PurchaseOrderRow, QuickPurchaseRow,
    QuickPurchaseState, TenderRow, TenderState, Timestamp,
};

/// So many rows are written at a time.
const BATCH: usize = 100;
/// The service stamps changes in batches of five minutes, each complete about two minutes later.
const SETTLES: Duration = Duration::from_secs(120);
const DAY: Duration = Duration::from_secs(25 * 3600);
/// How far windows of changes overlap.
const OVERLAP: Duration = Duration::from_secs(600);

/// The most details of vanished tenders that are read where a request does not say.
const MOST_DETAILS: usize = 100;

/// What to bring up to date.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct SyncRequest {
    /// What kind of record.
    pub kind: RecordKind,
    /// From which day on, the first time. Later it goes on where it ended.
    pub since: Date,
    /// The most details that are read of tenders that vanished from the lists.
    #[serde(default = "most_details")]
    pub max_details: usize,
}

fn most_details() -> usize {
    MOST_DETAILS
}

impl SyncRequest {
    /// Records of a kind from a day on.
    pub fn new(kind: RecordKind, since: Date) -> Self {
        Self { kind, since, max_details: MOST_DETAILS }
    }

    /// Sets the most details that are read.
    pub fn with_max_details(mut self, details: usize) -> Self {
        self.max_details = details;
        self
    }
}

/// What a sync has done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SyncReport {
    /// The changes, in the order in which they were written. The store keeps them too.
    pub events: Vec<ChangeEvent>,
    /// Rows that were looked at.
    pub rows: usize,
    /// Days or windows that were brought up to date.
    pub steps: usize,
    /// Tenders that vanished from the lists and were not looked at, because there were too many.
    pub left_over: usize,
}

/// Where a sync goes on.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Place {
    /// The last day that was brought up to date.
    #[serde(default)]
    day: Option<Date>,
    /// The end of the last window of changes.
    #[serde(default)]
    until: Option<i64>,
}

/// A row that a sync compares.
trait Synced {
    const KIND: RecordKind;

    fn code(&self) -> &str;
    fn closes(&self) -> Option<Timestamp>;
    fn state(&self) -> String;
    fn origin(&self) -> &Origin;
    /// What its state amounts to, and whether it may still change.
    fn standing(&self) -> (Change, bool);
}

impl Synced for TenderRow {
    const KIND: RecordKind = RecordKind::Tender;

    fn code(&self) -> &str {
        &self.code
    }

    fn closes(&self) -> Option<Timestamp> {
        self.closes
    }

    fn state(&self) -> String {
        self.state.to_string()
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }

    fn standing(&self) -> (Change, bool) {
        match self.state {
            TenderState::Published => (Change::Opened, true),
            TenderState::Closed => (Change::Closed, true),
            TenderState::Awarded => (Change::Awarded, false),
            TenderState::Deserted | TenderState::Revoked => (Change::Cancelled, false),
            _ => (Change::Amended, true),
        }
    }
}

impl Synced for PurchaseOrderRow {
    const KIND: RecordKind = RecordKind::PurchaseOrder;

    fn code(&self) -> &str {
        &self.code
    }

    fn closes(&self) -> Option<Timestamp> {
        None
    }

    fn state(&self) -> String {
        self.state.to_string()
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }

    fn standing(&self) -> (Change, bool) {
        match self.state {
            OrderState::Sent | OrderState::InProcess => (Change::Opened, true),
            OrderState::Accepted => (Change::Awarded, true),
            OrderState::Cancelled => (Change::Cancelled, false),
            OrderState::Received => (Change::Closed, false),
            _ => (Change::Amended, true),
        }
    }
}

impl Synced for QuickPurchaseRow {
    const KIND: RecordKind = RecordKind::QuickPurchase;

    fn code(&self) -> &str {
        &self.code
    }

    fn closes(&self) -> Option<Timestamp> {
        self.closes
    }

    fn state(&self) -> String {
        self.state.to_string()
    }

    fn origin(&self) -> &Origin {
        &self.origin
    }

    fn standing(&self) -> (Change, bool) {
        match self.state {
            QuickPurchaseState::Published => (Change::Opened, true),
            QuickPurchaseState::Closed => (Change::Closed, true),
            QuickPurchaseState::SupplierChosen | QuickPurchaseState::OrderIssued => (Change::Awarded, false),
            QuickPurchaseState::Deserted | QuickPurchaseState::Cancelled => (Change::Cancelled, false),
            _ => (Change::Amended, true),
        }
    }
}

/// The record of a row beside the one that is kept, and what happened, if anything did.
fn compare<R: Synced>(
    row: &R,
    day: Option<Date>,
    kept: Option<&StoredRecord>,
) -> Option<(StoredRecord, Option<ChangeEvent>)> {
    let (state, closes, origin) = (row.state(), row.closes(), row.origin());
    let (standing, open) = row.standing();
    // The last day on which it is listed: an earlier one that is read again does not take it back.
    let day = day.max(kept.and_then(|kept| kept.day));
    let change = match kept {
        None => standing,
        Some(kept) if kept.state == state && kept.closes == closes => {
            let moved = StoredRecord { day, ..kept.clone() };
            return (moved.day != kept.day).then_some((moved, None));
        }
        Some(kept) if kept.as_of > origin.as_of => return None,
        // Offers are taken as before, until another time; or again.
        Some(kept) if kept.state == state || standing == Change::Opened => Change::Amended,
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
        revision: kept.map_or(1, |kept| kept.revision + 1),
        ..StoredRecord::new(R::KIND, Form::Row, row.code(), origin.source.clone(), origin.as_of, body)
    };
    let event = ChangeEvent::new(R::KIND, row.code(), change, fingerprint, origin.as_of);
    Some((record, Some(event)))
}

/// One run of a sync.
struct Run {
    store: SharedStore,
    name: String,
    place: Place,
    version: u64,
    report: SyncReport,
}

impl Run {
    async fn begin(store: SharedStore, kind: RecordKind) -> Result<Self> {
        let name = format!("sync/{}", kind.as_str());
        let document = store.document(&name).await?;
        let version = document.as_ref().map_or(0, |document| document.version);
        let place =
            document.map_or_else(|| Ok(Place::default()), |document| serde_json::from_slice(&document.body));
        let place = place.map_err(|error| {
            Error::new(ErrorKind::Unexpected, "the place of the sync in the store cannot be read")
                .with_source(error)
        })?;
        Ok(Self { store, name, place, version, report: SyncReport::default() })
    }

    /// Writes what changed among `rows`, and with the last batch the place to go on from.
    async fn write<R: Synced>(&mut self, rows: &[R], day: Option<Date>, place: Option<Place>) -> Result<()> {
        let mut place = place;
        let last = rows.len().div_ceil(BATCH).max(1) - 1;
        let chunks = rows.chunks(BATCH).map(Some).chain(rows.is_empty().then_some(None));
        for (index, chunk) in chunks.enumerate() {
            let mut batch = Batch::new();
            let mut codes = HashSet::new();
            for row in chunk.unwrap_or_default() {
                // A list may name a record twice.
                if !codes.insert(row.code()) {
                    continue;
                }
                let kept = self.store.record(R::KIND, Form::Row, row.code()).await?;
                if let Some((record, event)) = compare(row, day, kept.as_ref()) {
                    batch.events.extend(event.map(|event| (event, record.revision)));
                    batch.records.push(record);
                }
            }
            if let Some(place) = place.take_if(|_| index == last) {
                let body = serde_json::to_vec(&place).map_err(|error| {
                    Error::new(ErrorKind::Unexpected, "the place of the sync cannot be written")
                        .with_source(error)
                })?;
                batch.documents.push((self.name.clone(), self.version, body.into()));
                self.place = place;
            }
            self.apply(batch).await?;
        }
        self.report.rows += rows.len();
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

impl MercadoPublico {
    /// Brings the store up to date and tells what changed. Killed at any point, it goes on where it was.
    ///
    /// Tenders cost one call for everything open, one for each day since the last time, and one for each tender
    /// that took offers and vanished; purchase orders one for each day; quick purchases one for each page of
    /// changes.
    ///
    /// # Errors
    /// Those of the calls and of the store; `conflict` while another sync of the same kind is running.
    pub async fn sync(&self, cx: &Context, request: &SyncRequest) -> Result<SyncReport> {
        let outcome = Box::pin(async {
            let mut run = Run::begin(self.store().await?, request.kind).await?;
            match request.kind {
                RecordKind::Tender => self.sync_tenders(cx, request, &mut run).await?,
                RecordKind::PurchaseOrder => {
                    self.sync_days::<PurchaseOrderRow>(cx, request, &mut run).await?;
                }
                RecordKind::QuickPurchase => self.sync_quick(cx, request, &mut run).await?,
            }
            Ok(run.report)
        });
        outcome.await.map_err(|error: Error| error.with_backend(NAME))
    }

    async fn sync_tenders(&self, cx: &Context, request: &SyncRequest, run: &mut Run) -> Result<()> {
        let ask = open_ask().holding(Hold::Never);
        let body = self.fresh(self.fetch(cx, &ask).await?.body)?;
        let V1::List { rows: open, .. } = TenderRow::read(&body)? else {
            return Err(Error::response_invalid("the answer is a failure that was kept"));
        };
        run.write(&open, None, None).await?;
        run.report.steps += 1;
        let mut listed: HashSet<String> = open.into_iter().map(|row| row.code).collect();
        listed.extend(self.sync_days::<TenderRow>(cx, request, run).await?);
        let vanished = self.vanished(run, &listed).await?;
        run.report.left_over = vanished.len().saturating_sub(request.max_details);
        for code in vanished.iter().take(request.max_details) {
            match self.tender_by_code(cx, code, None).await {
                Ok(tender) if !tender.row.origin.stale => run.write(&[tender.row], None, None).await?,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Tenders that took offers when last seen, and are on no list now.
    async fn vanished(&self, run: &Run, listed: &HashSet<String>) -> Result<Vec<String>> {
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

    /// Brings day after day up to date and gives the codes that were listed.
    async fn sync_days<R: Daily + Synced>(
        &self,
        cx: &Context,
        request: &SyncRequest,
        run: &mut Run,
    ) -> Result<HashSet<String>> {
        let today = self.now(cx).date();
        let late = i32::try_from(self.0.config.reread_days).unwrap_or(i32::MAX);
        let begin = run.place.day.map_or(request.since, |day| day.plus_days(-late).max(request.since));
        let filter = Filter::new(&ListRequest::new())?;
        let mut listed = HashSet::new();
        for day in begin.through(today) {
            let mut ask = self.day_ask::<R>(&filter, day, None);
            if day == today {
                ask = ask.holding(Hold::Never);
            }
            let body = self.fresh(self.fetch(cx, &ask).await?.body)?;
            let V1::List { rows, .. } = R::read(&body)? else {
                return Err(Error::response_invalid("the answer is a failure that was kept"));
            };
            let place = Place { day: Some(day), until: None };
            run.write(&rows, Some(day), Some(place)).await?;
            run.report.steps += 1;
            listed.extend(rows.iter().map(|row| Daily::code(row).to_owned()));
        }
        Ok(listed)
    }

    /// A sync must not take an old answer for news.
    fn fresh(&self, body: super::wire::Body) -> Result<super::wire::Body> {
        if body.stale {
            return Err(Error::new(
                ErrorKind::Unavailable,
                "the service cannot be asked, and a sync takes no old answers",
            )
            .with_persistence(Persistence::Exhausted)
            .with_context("source", Api::V1.name()));
        }
        Ok(body)
    }

    /// The changes of a window, in Santiago's wall clock with the false mark that the service compares with.
    async fn sync_quick(&self, cx: &Context, request: &SyncRequest, run: &mut Run) -> Result<()> {
        let until = self.now(cx).minus(SETTLES);
        let from = match run.place.until {
            Some(millis) => Timestamp::of_unix_millis(millis).minus(OVERLAP),
            None => Timestamp::start_of(request.since),
        };
        // A window a day at most, and less where a day has more changes than the service counts.
        let (mut begin, mut span) = (from, DAY);
        while begin < until {
            let end = Timestamp::start_of(begin.date().plus_days(1)).min(begin.plus(span)).min(until);
            let parameters = vec![
                ("cambio_desde", begin.with_false_mark()),
                ("cambio_hasta", end.with_false_mark()),
                ("ordenar_por", "FechaUltimaModificacion".to_owned()),
            ];
            let query = Query { parameters, hold: Hold::Never };
            let pages = self.all_pages(cx, &query, |_| true, None).await?;
            if pages.is_cut() && span > SETTLES {
                span = end.time_left(begin).unwrap_or(span) / 2;
                continue;
            }
            if pages.rows.iter().any(|row| row.origin.stale) || pages.is_cut() {
                return Err(Error::new(
                    ErrorKind::Unavailable,
                    "the window of changes could not be read in full",
                )
                .with_persistence(Persistence::Exhausted));
            }
            let place = Place { day: None, until: Some(end.unix_millis()) };
            run.write(&pages.rows, None, Some(place)).await?;
            run.report.steps += 1;
            begin = end;
        }
        Ok(())
    }
}
