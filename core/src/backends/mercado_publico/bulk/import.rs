//! Importing a month into the store.

use std::marker::PhantomData;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::super::client::{MercadoPublico, NAME};
use super::cells::Cells;
use super::columns::ColumnNames;
use super::download::{MonthFile, Version, thread_failed};
use super::rows::{BulkRow, ReadOptions, ReadProgress, Rows};
use super::sealed::ReadRow;
use super::{BulkSet, MonthRequest, OrderLine, QuoteLine, TenderOffer};
use crate::context::{Context, Progress};
use crate::error::{Error, ErrorKind, Persistence, Result};
use crate::procure::store::{Batch, LineStore, StoredLine};
use crate::procure::{Month, Origin, Timestamp};
use crate::runtime;

/// The most lines that are written at once, and the most text in them.
const BATCH_LINES: usize = 4_000;
const BATCH_TEXT_BYTES: usize = 2 << 20;

/// The result of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// The set.
    pub set: BulkSet,
    /// The month.
    pub month: Month,
    /// Whether the month had changed, so that its lines were replaced.
    pub changed: bool,
    /// The number of its lines that are now in the store.
    pub lines: u64,
    /// How many of them have a column that could not be read and is left out.
    pub unread: u64,
    /// The time as of which they are valid.
    pub as_of: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
struct ImportedMonth {
    version: Version,
    report: ImportReport,
    /// The options with which it was imported.
    raw: bool,
    personal_data: bool,
}

struct LineBatch {
    lines: Vec<StoredLine>,
    unread: u64,
    progress: ReadProgress,
}

impl MercadoPublico {
    /// Downloads a month if it has changed since the last import, and replaces its lines in the store. The new lines become
    /// visible all at once, and an import that fails changes nothing. Memory is bounded, whatever the size of the month.
    ///
    /// # Errors
    /// `unsupported` if the store does not store lines; `response_invalid` naming the invalid file and row; `conflict` if
    /// another process imports the same month; as [`download_month`](Self::download_month).
    pub async fn import_month(&self, cx: &Context, request: &MonthRequest) -> Result<ImportReport> {
        let named = |error: Error| error.with_operation(request.set.operation()).with_backend(NAME);
        let store = self.store().await?;
        let lines = store.line_store().map_err(named)?;
        let name = format!("month-lines/{}/{}", request.set.as_str(), request.month);
        let document = store.document(&name).await?;
        let read = document.as_ref().map_or(0, |document| document.version);
        let previous: Option<ImportedMonth> =
            document.and_then(|document| serde_json::from_slice(&document.body).ok());
        let previous = previous.filter(|previous| {
            !request.anew
                && previous.raw == request.raw
                && previous.personal_data == self.0.config.personal_data
        });
        let file = self.fetch_month(cx, request, previous.as_ref().map(|previous| &previous.version)).await?;
        let file = match (file, previous) {
            (Some(file), _) => file,
            (None, Some(previous)) => return Ok(ImportReport { changed: false, ..previous.report }),
            (None, None) => {
                return Err(Error::response_invalid(
                    "the service says that the file is unchanged, but no version was sent",
                ));
            }
        };
        let outcome = self.write_month(cx, request, lines, &file, (&name, read)).await;
        if !request.keep_file {
            // If it cannot be removed, the next download overwrites it.
            let _ = runtime::run_blocking(move || Ok(std::fs::remove_file(file.path).is_ok())).await;
        }
        outcome.map_err(named)
    }

    async fn write_month(
        &self,
        cx: &Context,
        request: &MonthRequest,
        store: &dyn LineStore,
        file: &MonthFile,
        (name, read): (&str, u64),
    ) -> Result<ImportReport> {
        let edition = store.begin_edition(request.set.kind(), request.month).await?;
        let options = ReadOptions::default()
            .with_as_of(file.as_of)
            .with_raw(request.raw)
            .with_unknown_columns(request.unknown_columns)
            .with_personal_data(self.0.config.personal_data);
        let (lines, unread) = write_lines(cx, request, store, edition, (file, options)).await?;
        // Published, it would replace the month's lines by nothing.
        if lines == 0 {
            return Err(Error::response_invalid(format!(
                "the file of {} has a header and no rows; the store keeps what it has of the month",
                request.month
            ))
            .with_persistence(Persistence::Temporary)
            .with_context("reason", "no_rows"));
        }
        let MonthRequest { set, month, .. } = *request;
        let report = ImportReport { set, month, changed: true, lines, unread, as_of: file.as_of };
        let imported = ImportedMonth {
            version: Version { etag: file.etag.clone(), last_modified: file.last_modified.clone() },
            report,
            raw: request.raw,
            personal_data: self.0.config.personal_data,
        };
        let body: Bytes = serde_json::to_vec(&imported).map_err(thread_failed)?.into();
        if !store.publish_edition(edition, Batch::new().with_document(name, read, body)).await? {
            return Err(Error::new(ErrorKind::Conflict, "another process has imported this month meanwhile"));
        }
        Ok(imported.report)
    }
}

/// Reads rows on another thread while the store writes.
async fn write_lines(
    cx: &Context,
    request: &MonthRequest,
    store: &dyn LineStore,
    edition: u64,
    (file, options): (&MonthFile, ReadOptions),
) -> Result<(u64, u64)> {
    let (sender, mut receiver) = mpsc::channel(1);
    let (set, path) = (request.set, file.path.clone());
    let reader = runtime::current()?.spawn_blocking(move || match set {
        BulkSet::OrderLines => read_batches::<OrderLine>(Rows::open(path, options)?, &sender),
        BulkSet::TenderOffers => read_batches::<TenderOffer>(Rows::open(path, options)?, &sender),
        BulkSet::Quotes => read_batches::<QuoteLine>(Rows::open(path, options)?, &sender),
    });
    let (mut written, mut unread) = (0, 0);
    while let Some(batch) = receiver.recv().await {
        let LineBatch { lines, unread: more, progress } = batch;
        (written, unread) = (written + lines.len() as u64, unread + more);
        cx.guard(store.add_lines(edition, lines)).await?;
        cx.report(|| Progress::Reading {
            file: progress.file,
            rows: progress.rows,
            done: progress.bytes,
            of: progress.of_bytes,
        });
    }
    reader.await.map_err(thread_failed)??;
    Ok((written, unread))
}

/// Reads to the end, or until the receiver is dropped.
fn read_batches<T: BulkRow>(mut rows: Rows<LineOf<T>>, sender: &mpsc::Sender<LineBatch>) -> Result<()> {
    let (mut lines, mut text, mut unread, mut position) = (Vec::with_capacity(BATCH_LINES), 0, 0, 0);
    loop {
        let row = rows.next().transpose()?;
        let is_done = row.is_none();
        if let Some(LineOf { line, has_unread, .. }) = row {
            position += 1;
            unread += u64::from(has_unread);
            let line = StoredLine { position, ..line };
            text += line.body.len() + line.name.len() + line.description.as_ref().map_or(0, String::len);
            lines.push(line);
        }
        if (is_done && !lines.is_empty()) || lines.len() >= BATCH_LINES || text >= BATCH_TEXT_BYTES {
            let progress = rows.progress().clone();
            let batch = LineBatch { lines: std::mem::take(&mut lines), unread, progress };
            (text, unread) = (0, 0);
            if sender.blocking_send(batch).is_err() {
                return Ok(());
            }
        }
        if is_done {
            return Ok(());
        }
    }
}

/// A row of which only the store's part is read.
struct LineOf<T> {
    line: StoredLine,
    has_unread: bool,
    row: PhantomData<fn() -> T>,
}

impl<T: BulkRow> BulkRow for LineOf<T> {}

impl<T: BulkRow> ReadRow for LineOf<T> {
    const COLUMNS: ColumnNames = T::COLUMNS;
    const PERSONAL: ColumnNames = T::PERSONAL;

    fn read(cells: &mut Cells<'_>, origin: Origin) -> Self {
        let line = StoredLine { body: origin.raw.as_bytes().clone(), ..T::stored(cells) };
        Self { line, has_unread: !cells.unread.is_empty(), row: PhantomData }
    }

    fn stored(cells: &mut Cells<'_>) -> StoredLine {
        T::stored(cells)
    }
}
