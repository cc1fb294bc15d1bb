//! Exporting records: CSV, JSON Lines, OCDS, and a tender with its analysis on a page of PDF.
//!
//! Exports turn a stream of records into a stream of chunks, so that neither has to fit into memory.
//!
//! ```
//! use ayni::procure::export::{CsvFormat, csv};
//! use ayni::procure::{TenderRow, TenderState};
//! use futures_util::{TryStreamExt, stream};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let rows = stream::iter([Ok(TenderRow::new("1-1-LE26", "=1+1; ñandú", TenderState::Published))]);
//! let chunks: Vec<_> = csv(rows, CsvFormat::new()).try_collect().await?;
//! let file = String::from_utf8(chunks.concat())?;
//! assert!(file.starts_with("\u{FEFF}codigo;nombre;"));
//! assert!(file.contains("1-1-LE26;\"'=1+1; ñandú\";publicada"));
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::pin::Pin;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt, stream};

use crate::error::{Error, ErrorKind, Result};

mod csv;
mod files;
mod json_lines;
mod ocds;
mod pdf;
mod tables;

pub use csv::{CsvFormat, Separator, csv};
pub use files::{FileChunks, FileFormat};
pub use json_lines::{JsonLinesFormat, json_lines};
pub use ocds::{OcdsPackage, ocds};
pub use pdf::{PdfPage, tender_pdf};
pub use tables::{Cell, Table};

/// The most records in one chunk, if so many are ready at once.
const MAX_READY: usize = 256;

trait RecordWriter<T>: Send {
    /// Writes what comes before the first record.
    fn head(&mut self, out: &mut Vec<u8>) -> Result<()>;
    fn record(&mut self, out: &mut Vec<u8>, record: T) -> Result<()>;
    /// Writes what comes after the last record.
    fn tail(&mut self, out: &mut Vec<u8>) -> Result<()>;
}

enum ExportState<S> {
    Head(S),
    Records(S),
    Over,
}

/// The chunks of a file. After an error of reading or writing records there are no more.
fn chunks<'a, T: Send + 'a>(
    records: impl Stream<Item = Result<T>> + Send + 'a,
    writer: impl RecordWriter<T> + 'a,
) -> impl Stream<Item = Result<Bytes>> + Send + 'a {
    type Records<'a, T> = Pin<Box<dyn Stream<Item = Vec<Result<T>>> + Send + 'a>>;
    let records: Records<'a, T> = Box::pin(records.ready_chunks(MAX_READY));
    stream::unfold((ExportState::Head(records), writer), |(place, mut writer)| async move {
        let mut out = Vec::new();
        let (done, next) = match place {
            ExportState::Over => return None,
            ExportState::Head(records) => (writer.head(&mut out), ExportState::Records(records)),
            ExportState::Records(mut records) => match records.next().await {
                Some(ready) => {
                    let written = ready.into_iter().try_for_each(|record| writer.record(&mut out, record?));
                    (written, ExportState::Records(records))
                }
                None => (writer.tail(&mut out), ExportState::Over),
            },
        };
        Some(match done {
            Ok(()) => (Ok(Bytes::from(out)), (next, writer)),
            Err(error) => (Err(error), (ExportState::Over, writer)),
        })
    })
    .filter(|piece| std::future::ready(!piece.as_ref().is_ok_and(Bytes::is_empty)))
}

/// The error for a record that serde cannot write.
fn not_json(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "the record cannot be written as JSON").with_source(error)
}

#[cfg(test)]
mod tests;
