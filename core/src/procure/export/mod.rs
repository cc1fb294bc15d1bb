//! Records as files: CSV, JSON Lines, OCDS, and a tender with its analysis on one page of PDF.
//!
//! What is written comes as a stream of pieces while records come as a stream, so that neither has to fit into memory.
//!
//! ```
//! use ayni::procure::export::{CsvFormat, csv};
//! use ayni::procure::{TenderRow, TenderState};
//! use futures_util::{TryStreamExt, stream};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let rows = stream::iter([Ok(TenderRow::new("1-1-LE26", "=1+1; ñandú", TenderState::Published))]);
//! let pieces: Vec<_> = csv(rows, CsvFormat::new()).try_collect().await?;
//! let file = String::from_utf8(pieces.concat())?;
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
pub use files::{FileForm, FilePieces};
pub use json_lines::{JsonLinesFormat, json_lines};
pub use ocds::{OcdsPackage, ocds};
pub use pdf::{PdfPage, tender_pdf};
pub use tables::{Cell, Table};

/// Records that are ready at a time go into one piece.
const READY: usize = 256;

/// What writes records one after another.
trait Writer<T>: Send {
    /// What stands before the first record.
    fn head(&mut self, out: &mut Vec<u8>) -> Result<()>;
    /// One record.
    fn record(&mut self, out: &mut Vec<u8>, record: T) -> Result<()>;
    /// What stands behind the last record.
    fn tail(&mut self, out: &mut Vec<u8>) -> Result<()>;
}

/// Where a file of pieces is.
enum Place<S> {
    Head(S),
    Records(S),
    Over,
}

/// The pieces of a file. An error of the records, or in writing them, is the last of them.
fn pieces<'a, T: Send + 'a>(
    records: impl Stream<Item = Result<T>> + Send + 'a,
    writer: impl Writer<T> + 'a,
) -> impl Stream<Item = Result<Bytes>> + Send + 'a {
    type Records<'a, T> = Pin<Box<dyn Stream<Item = Vec<Result<T>>> + Send + 'a>>;
    let records: Records<'a, T> = Box::pin(records.ready_chunks(READY));
    stream::unfold((Place::Head(records), writer), |(place, mut writer)| async move {
        let mut out = Vec::new();
        let (done, next) = match place {
            Place::Over => return None,
            Place::Head(records) => (writer.head(&mut out), Place::Records(records)),
            Place::Records(mut records) => match records.next().await {
                Some(ready) => {
                    let written = ready.into_iter().try_for_each(|record| writer.record(&mut out, record?));
                    (written, Place::Records(records))
                }
                None => (writer.tail(&mut out), Place::Over),
            },
        };
        Some(match done {
            Ok(()) => (Ok(Bytes::from(out)), (next, writer)),
            Err(error) => (Err(error), (Place::Over, writer)),
        })
    })
    .filter(|piece| std::future::ready(!piece.as_ref().is_ok_and(Bytes::is_empty)))
}

/// A record that serde cannot write.
fn unwritten(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "the record cannot be written as JSON").with_source(error)
}

#[cfg(test)]
mod tests;
