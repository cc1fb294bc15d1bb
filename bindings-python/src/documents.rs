//! Analyses and files of procurement records.

use std::sync::Arc;

use ayni::Context;
use ayni::procure::analysis::{self, Analysis, Question};
use ayni::procure::export::{FileChunks, FileFormat, PdfPage, tender_pdf};
use ayni::procure::store::RecordKind;
use ayni::procure::{GetRequest, ListRequest, Tender};
use futures_util::TryStreamExt;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::call::{Caller, Returned, call, object};
use crate::chat::Chat;
use crate::convert::{json_text, request};
use crate::failure::to_exception;
use crate::procurement::Procurement;
use crate::runtime::{Slot, drop_stream};

/// A tender and a model's analysis of it.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct AnalysedTender {
    tender: Tender,
    analysis: Analysis,
}

#[pymethods]
impl AnalysedTender {
    /// The analysis as JSON text.
    fn json(&self, py: Python<'_>) -> PyResult<String> {
        json_text(&self.analysis).map_err(|error| to_exception(py, &error))
    }

    /// Both on one page of PDF.
    fn pdf<'py>(&self, py: Python<'py>, page: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let page = request::<PdfPage>(page)?;
        let written = py.detach(|| tender_pdf(&self.tender, Some(&self.analysis), &page));
        written.map(|bytes| PyBytes::new(py, &bytes)).map_err(|error| to_exception(py, &error))
    }
}

/// Reads a tender and asks a model about it.
#[pyfunction]
pub(crate) fn analyse(
    py: Python<'_>,
    procurement: &Procurement,
    fields: &Bound<'_, PyAny>,
    chat: &Chat,
    question: &Bound<'_, PyAny>,
    caller: Caller<'_>,
) -> Returned {
    let (handle, wanted) = (procurement.0.handle().clone(), request::<GetRequest>(fields)?);
    let (chat, question) = (chat.0.clone(), request::<Question>(question)?);
    let work = move |cx: Context| async move {
        question.check()?;
        let tender = handle.tender(&cx, wanted).await?.record;
        let analysis = analysis::analyse(&cx, &tender, &question, &chat).await?;
        Ok(AnalysedTender { tender, analysis })
    };
    call(py, caller, work, object)
}

/// Reads a tender and writes it as a file.
#[pyfunction]
pub(crate) fn tender_file(
    py: Python<'_>,
    procurement: &Procurement,
    fields: &Bound<'_, PyAny>,
    form: &Bound<'_, PyAny>,
    caller: Caller<'_>,
) -> Returned {
    let (handle, wanted) = (procurement.0.handle().clone(), request::<GetRequest>(fields)?);
    let form = request::<FileFormat>(form)?;
    let work = move |cx| async move { form.tender(handle.tender(&cx, wanted).await?.record).await };
    call(py, caller, work, |py, bytes| Ok(PyBytes::new(py, &bytes).into_any().unbind()))
}

/// Lists records, page after page, and writes them as a file. Returns [`Pieces`].
#[pyfunction]
pub(crate) fn export(
    py: Python<'_>,
    procurement: &Procurement,
    kind: &Bound<'_, PyAny>,
    fields: &Bound<'_, PyAny>,
    form: &Bound<'_, PyAny>,
    caller: Caller<'_>,
) -> Returned {
    let (handle, kind) = (procurement.0.handle().clone(), request::<RecordKind>(kind)?);
    let (wanted, form) = (request::<ListRequest>(fields)?, request::<FileFormat>(form)?);
    let work = move |cx| async move { form.list(&cx, &handle, kind, wanted) };
    call(py, caller, work, |py, pieces| object(py, Pieces(Slot::new(Some(pieces).into()))))
}

/// A file in pieces. Dropping it stops the work.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct Pieces(Slot<FileChunks>);

#[pymethods]
impl Pieces {
    /// The next piece; `None` at the end.
    fn next(&self, py: Python<'_>, caller: Caller<'_>) -> Returned {
        let slot = Arc::clone(&self.0);
        let work = move |_| async move {
            let mut slot = slot.lock().await;
            let Some(pieces) = slot.as_mut() else { return Ok(None) };
            let next = pieces.try_next().await;
            if !matches!(next, Ok(Some(_))) {
                *slot = None;
            }
            next
        };
        call(py, caller, work, |py, piece| {
            Ok(piece.map_or_else(|| py.None(), |piece| PyBytes::new(py, &piece).into_any().unbind()))
        })
    }

    /// Stops the work.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        drop_stream(py, &self.0)
    }
}
