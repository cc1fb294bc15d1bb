//! A month, straight into the store.

use std::marker::PhantomData;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::super::client::{MercadoPublico, NAME};
use super::cells::Cells;
use super::download::{MonthFile, Version, unexpected};
use super::rows::{BulkRow, Place, ReadOptions, Rows};
use super::sealed::Reads;
use super::{BulkSet, MonthRequest, OrderLine, QuoteLine, TenderOffer};
use crate::context::{Context, Progress};
use crate::error::{Error, ErrorKind, Result};
use crate::procure::store::{Batch, LineStore, StoredLine};
use crate::procure::{Month, Origin, Timestamp};
use crate::runtime;

/// How many lines are written at once, and how much text of theirs.
const LINES: usize = 4_000;
const TEXT: usize = 2 << 20;

/// What an import did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImportReport {
    /// Which set.
    pub set: BulkSet,
    /// Which month.
    pub month: Month,
    /// Whether the month had changed, so that its lines were written anew.
    pub changed: bool,
    /// The lines that the store now has of it.
    pub lines: u64,
    /// How many of them have a column whose content could not be read, and which is missing there.
    pub unread: u64,
    /// As of when they hold.
    pub as_of: Timestamp,
}

/// What the store remembers of a month that it has.
#[derive(Debug, Serialize, Deserialize)]
struct Imported {
    version: Version,
    report: ImportReport,
    /// What would be written otherwise by the same file.
    raw: bool,
    personal_data: bool,
}

/// Some lines on their way into the store.
struct Portion {
    lines: Vec<StoredLine>,
    unread: u64,
    place: Place,
}

impl MercadoPublico {
    /// Fetches a month, if it has changed since it was last imported, and writes its lines into the store in
    /// the place of those that were there. All of them become visible at once; an import that breaks changes
    /// nothing. Memory stays bounded, whatever the size of the month.
    ///
    /// # Errors
    /// `unsupported` if the store keeps no lines; `response_invalid` naming the file and row that is broken;
    /// `conflict` if somebody else imports the same month; as [`download_month`](Self::download_month).
    pub async fn import_month(&self, cx: &Context, request: &MonthRequest) -> Result<ImportReport> {
        let named = |error: Error| error.with_operation(request.set.operation()).with_backend(NAME);
        let store = self.store().await?;
        let lines = store.line_store().map_err(named)?;
        let name = format!("month-lines/{}/{}", request.set.as_str(), request.month);
        let document = store.document(&name).await?;
        let read = document.as_ref().map_or(0, |document| document.version);
        let known: Option<Imported> =
            document.and_then(|document| serde_json::from_slice(&document.body).ok());
        let known = known.filter(|known| {
            !request.anew && known.raw == request.raw && known.personal_data == self.0.config.personal_data
        });
        let file = self.fetch_month(cx, request, known.as_ref().map(|known| &known.version)).await?;
        let file = match (file, known) {
            (Some(file), _) => file,
            (None, Some(known)) => return Ok(ImportReport { changed: false, ..known.report }),
            (None, None) => {
                return Err(Error::response_invalid(
                    "the service says unchanged of a file that was not named",
                ));
            }
        };
        let outcome = self.write_month(cx, request, lines, &file, (&name, read)).await;
        if !request.keep_file {
            // A file that stays behind is written over by the next download.
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
        let MonthRequest { set, month, .. } = *request;
        let report = ImportReport { set, month, changed: true, lines, unread, as_of: file.as_of };
        let imported = Imported {
            version: Version { etag: file.etag.clone(), last_modified: file.last_modified.clone() },
            report,
            raw: request.raw,
            personal_data: self.0.config.personal_data,
        };
        let body: Bytes = serde_json::to_vec(&imported).map_err(unexpected)?.into();
        if !store.publish_edition(edition, Batch::new().with_document(name, read, body)).await? {
            return Err(Error::new(ErrorKind::Conflict, "somebody else has imported this month meanwhile"));
        }
        Ok(imported.report)
    }
}

/// Reads on a thread of its own while the store writes.
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
        BulkSet::OrderLines => read_portions::<OrderLine>(Rows::open(path, options)?, &sender),
        BulkSet::TenderOffers => read_portions::<TenderOffer>(Rows::open(path, options)?, &sender),
        BulkSet::Quotes => read_portions::<QuoteLine>(Rows::open(path, options)?, &sender),
    });
    let (mut written, mut unread) = (0, 0);
    while let Some(portion) = receiver.recv().await {
        let Portion { lines, unread: more, place } = portion;
        (written, unread) = (written + lines.len() as u64, unread + more);
        cx.guard(store.add_lines(edition, lines)).await?;
        cx.report(|| Progress::Reading {
            file: place.file,
            rows: place.rows,
            done: place.bytes,
            of: place.of_bytes,
        });
    }
    reader.await.map_err(unexpected)??;
    Ok((written, unread))
}

/// Reads until the end, or until nobody takes the lines any more.
fn read_portions<T: BulkRow>(mut rows: Rows<Kept<T>>, sender: &mpsc::Sender<Portion>) -> Result<()> {
    let (mut lines, mut text, mut unread, mut position) = (Vec::with_capacity(LINES), 0, 0, 0);
    loop {
        let row = rows.next().transpose()?;
        let is_over = row.is_none();
        if let Some(Kept { line, has_unread, .. }) = row {
            position += 1;
            unread += u64::from(has_unread);
            let line = StoredLine { position, ..line };
            text += line.body.len() + line.name.len() + line.description.as_ref().map_or(0, String::len);
            lines.push(line);
        }
        if (is_over && !lines.is_empty()) || lines.len() >= LINES || text >= TEXT {
            let portion = Portion { lines: std::mem::take(&mut lines), unread, place: rows.place().clone() };
            (text, unread) = (0, 0);
            if sender.blocking_send(portion).is_err() {
                return Ok(());
            }
        }
        if is_over {
            return Ok(());
        }
    }
}

/// What the store keeps of a row.
struct Kept<T> {
    line: StoredLine,
    has_unread: bool,
    row: PhantomData<fn() -> T>,
}

impl<T: BulkRow> BulkRow for Kept<T> {}

impl<T: BulkRow> Reads for Kept<T> {
    type Column = T::Column;

    fn read(cells: &mut Cells<'_>, origin: Origin) -> Self {
        let line = StoredLine { body: origin.raw.as_bytes().clone(), ..T::stored(cells) };
        Self { line, has_unread: !cells.unread.is_empty(), row: PhantomData }
    }

    fn stored(cells: &mut Cells<'_>) -> StoredLine {
        T::stored(cells)
    }
}
