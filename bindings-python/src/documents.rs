//! What is made of records: analyses, files.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ayni::procure::analysis::{self, Analysis, Question};
use ayni::procure::export::{
    CsvFormat, JsonLinesFormat, OcdsPackage, PdfPage, csv, json_lines, ocds, tender_pdf,
};
use ayni::procure::{AnyProcurement, GetRequest, ListRequest, Listing, Tender};
use ayni::{Context, Error, Result};
use futures_util::{Stream, TryStreamExt, stream};
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use serde::Deserialize;
use tokio::sync::Mutex;

use crate::call::{Given, How, Setting, call};
use crate::chat::Chat;
use crate::convert::request;
use crate::failure::raised;
use crate::procurement::Procurement;
use crate::runtime::runtime;

/// How a file is written.
#[derive(Debug, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
pub(crate) enum Form {
    Csv(CsvFormat),
    JsonLines(JsonLinesFormat),
    Ocds(OcdsPackage),
    Pdf(PdfPage),
}

/// A tender and what a model says of it.
#[pyclass(frozen, module = "ayni._ayni")]
#[derive(Debug)]
pub(crate) struct AnalysedTender {
    tender: Arc<Tender>,
    analysis: Arc<Analysis>,
}

#[pymethods]
impl AnalysedTender {
    /// The analysis as JSON text.
    fn json(&self, py: Python<'_>) -> PyResult<String> {
        serde_json::to_string(&*self.analysis).map_err(|error| {
            let kind = ayni::ErrorKind::Unexpected;
            raised(py, &Error::new(kind, "the analysis cannot be written as JSON").with_source(error))
        })
    }

    /// Both on one page of PDF.
    fn pdf<'py>(&self, py: Python<'py>, page: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        let page = request::<PdfPage>(page)?;
        let written = py.detach(|| tender_pdf(&self.tender, Some(&self.analysis), &page));
        written.map(|bytes| PyBytes::new(py, &bytes)).map_err(|error| raised(py, &error))
    }
}

/// Reads a tender and asks a model about it.
#[pyfunction]
#[pyo3(signature = (procurement, fields, chat, question, setting=None, future=None))]
pub(crate) fn analyse(
    py: Python<'_>,
    procurement: &Procurement,
    fields: &Bound<'_, PyAny>,
    chat: &Chat,
    question: &Bound<'_, PyAny>,
    setting: Option<&Setting>,
    future: Option<&Bound<'_, PyAny>>,
) -> Given {
    let (handle, wanted) = (procurement.handle().clone(), request::<GetRequest>(fields)?);
    let (chat, question) = (chat.handle().clone(), request::<Question>(question)?);
    let work = move |cx: Context| async move {
        question.check()?;
        let tender = handle.tender(&cx, wanted).await?.record;
        let analysis = analysis::analyse(&cx, &tender, &question, &chat).await?;
        Ok((tender, analysis))
    };
    call(py, How { setting, future }, work, |py, (tender, analysis)| {
        let both = AnalysedTender { tender: Arc::new(tender), analysis: Arc::new(analysis) };
        Ok(Py::new(py, both)?.into_any())
    })
}

/// Reads a tender and writes it as a file.
#[pyfunction]
#[pyo3(signature = (procurement, fields, form, setting=None, future=None))]
pub(crate) fn tender_file(
    py: Python<'_>,
    procurement: &Procurement,
    fields: &Bound<'_, PyAny>,
    form: &Bound<'_, PyAny>,
    setting: Option<&Setting>,
    future: Option<&Bound<'_, PyAny>>,
) -> Given {
    let (handle, wanted) = (procurement.handle().clone(), request::<GetRequest>(fields)?);
    let form = request::<Form>(form)?;
    let work = move |cx: Context| async move {
        let tender = handle.tender(&cx, wanted).await?.record;
        let one = stream::iter([Ok(tender.clone())]);
        let pieces: Vec<_> = match form {
            Form::Csv(format) => csv(one, format).try_collect().await?,
            Form::JsonLines(format) => json_lines(one, format).try_collect().await?,
            Form::Ocds(package) => ocds(one, package).try_collect().await?,
            Form::Pdf(page) => return tender_pdf(&tender, None, &page),
        };
        Ok(pieces.concat())
    };
    call(py, How { setting, future }, work, |py, bytes| Ok(PyBytes::new(py, &bytes).into_any().unbind()))
}

/// Lists records, page after page, and writes them as a file. Gives [`Pieces`].
#[pyfunction]
#[pyo3(signature = (procurement, kind, fields, form, setting=None, future=None))]
pub(crate) fn export(
    py: Python<'_>,
    procurement: &Procurement,
    kind: &str,
    fields: &Bound<'_, PyAny>,
    form: &Bound<'_, PyAny>,
    setting: Option<&Setting>,
    future: Option<&Bound<'_, PyAny>>,
) -> Given {
    let kind = kind.to_owned();
    let (handle, wanted, form) =
        (procurement.handle().clone(), request::<ListRequest>(fields)?, request::<Form>(form)?);
    let work = move |cx: Context| async move { written(cx, handle, &kind, wanted, form) };
    call(py, How { setting, future }, work, |py, pieces| {
        Ok(Py::new(py, Pieces(Arc::new(Mutex::new(Some(pieces)))))?.into_any())
    })
}

fn written(
    cx: Context,
    handle: AnyProcurement,
    kind: &str,
    wanted: ListRequest,
    form: Form,
) -> Result<PieceStream> {
    macro_rules! file {
        ($method:ident) => {{
            let rows = every_row(wanted, move |wanted| {
                let (cx, handle) = (cx.clone(), handle.clone());
                async move { handle.$method(&cx, wanted).await }
            });
            match form {
                Form::Csv(format) => Ok(Box::pin(csv(rows, format))),
                Form::JsonLines(format) => Ok(Box::pin(json_lines(rows, format))),
                Form::Ocds(_) | Form::Pdf(_) => Err(Error::unsupported(
                    "lists are written as csv and json_lines; ocds and pdf are of one tender",
                )),
            }
        }};
    }
    match kind {
        "tender" => file!(tenders),
        "purchase_order" => file!(purchase_orders),
        "quick_purchase" => file!(quick_purchases),
        other => Err(Error::invalid_request(format!(
            "`kind` '{other}' is unknown; valid: tender, purchase_order, quick_purchase"
        ))),
    }
}

/// The rows of a list and of the pages after it.
fn every_row<T, W>(
    first: ListRequest,
    list: impl Fn(ListRequest) -> W + Send + 'static,
) -> impl Stream<Item = Result<T>> + Send + 'static
where
    T: Send + 'static,
    W: Future<Output = Result<Listing<T>>> + Send + 'static,
{
    let pages = stream::try_unfold((Some(first), list), |(wanted, list)| async move {
        let Some(mut wanted) = wanted else { return Ok(None) };
        let page = list(wanted.clone()).await?;
        let more = page.next_cursor.is_some();
        wanted.cursor = page.next_cursor;
        let rows = stream::iter(page.rows.into_iter().map(Ok));
        Ok::<_, Error>(Some((rows, (more.then_some(wanted), list))))
    });
    pages.try_flatten()
}

type PieceStream = Pin<Box<dyn Stream<Item = Result<bytes::Bytes>> + Send>>;

/// A file in pieces. Dropping it stops the work.
#[pyclass(frozen, module = "ayni._ayni")]
pub(crate) struct Pieces(Arc<Mutex<Option<PieceStream>>>);

#[pymethods]
impl Pieces {
    /// The next piece; `None` at the end.
    #[pyo3(signature = (future=None))]
    fn next(&self, py: Python<'_>, future: Option<&Bound<'_, PyAny>>) -> Given {
        let place = Arc::clone(&self.0);
        let work = move |_| async move {
            let mut place = place.lock().await;
            let Some(pieces) = place.as_mut() else { return Ok(None) };
            let next = pieces.try_next().await;
            if !matches!(next, Ok(Some(_))) {
                *place = None;
            }
            next
        };
        call(py, How { setting: None, future }, work, |py, piece| {
            Ok(piece.map_or_else(|| py.None(), |piece| PyBytes::new(py, &piece).into_any().unbind()))
        })
    }

    /// Stops the work.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let place = Arc::clone(&self.0);
        runtime(py)?.spawn(async move { drop(place.lock().await.take()) });
        Ok(())
    }
}
