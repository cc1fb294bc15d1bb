//! Exports by the name of their format, as bindings and services offer them.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::{CsvFormat, JsonLinesFormat, OcdsPackage, PdfPage, csv, json_lines, ocds, tender_pdf};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::procure::store::RecordKind;
use crate::procure::{AnyProcurement, ListRequest, Listing, Tender};

/// The chunks of a file.
pub type FileChunks = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// The format of a file. In JSON, `form` names it, and its options are beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileFormat {
    /// CSV.
    Csv(CsvFormat),
    /// JSON Lines.
    JsonLines(JsonLinesFormat),
    /// An OCDS record package of one tender.
    Ocds(OcdsPackage),
    /// One page of PDF about one tender.
    Pdf(PdfPage),
}

impl FileFormat {
    /// Writes a tender.
    ///
    /// # Errors
    /// `unsupported` for PDF without the `pdf` feature.
    pub async fn tender(self, tender: Tender) -> Result<Vec<u8>> {
        let one = stream::iter([Ok(tender.clone())]);
        let chunks: Vec<_> = match self {
            Self::Csv(format) => csv(one, format).try_collect().await?,
            Self::JsonLines(format) => json_lines(one, format).try_collect().await?,
            Self::Ocds(package) => ocds(one, package).try_collect().await?,
            Self::Pdf(page) => return tender_pdf(&tender, None, &page),
        };
        Ok(chunks.concat())
    }

    /// Writes a list of `client`, page after page: all of it, or as many rows as its limit allows.
    ///
    /// # Errors
    /// `unsupported` for the formats of a single tender. Errors of listing come as the last item of the stream, and so does
    /// a ceiling of calls that is reached before the end: a file never ends early without saying so.
    pub fn list(
        self,
        cx: &Context,
        client: &AnyProcurement,
        kind: RecordKind,
        request: ListRequest,
    ) -> Result<FileChunks> {
        macro_rules! file {
            ($method:ident) => {{
                let (cx, client) = (cx.clone(), client.clone());
                let rows = all_rows(request, move |request| {
                    let (cx, client) = (cx.clone(), client.clone());
                    async move { client.$method(&cx, request).await }
                });
                match self {
                    Self::Csv(format) => Ok(Box::pin(csv(rows, format))),
                    Self::JsonLines(format) => Ok(Box::pin(json_lines(rows, format))),
                    Self::Ocds(_) | Self::Pdf(_) => Err(Error::unsupported(
                        "lists can be written as csv and json_lines; ocds and pdf are for one tender",
                    )),
                }
            }};
        }
        match kind {
            RecordKind::Tender => file!(tenders),
            RecordKind::PurchaseOrder => file!(purchase_orders),
            RecordKind::QuickPurchase => file!(quick_purchases),
        }
    }
}

/// The rows of all pages of a list. Its limits hold for all of them together.
fn all_rows<T, W>(
    first: ListRequest,
    list: impl Fn(ListRequest) -> W + Send + 'static,
) -> impl Stream<Item = Result<T>> + Send + 'static
where
    T: Send + 'static,
    W: Future<Output = Result<Listing<T>>> + Send + 'static,
{
    let pages = stream::try_unfold((Some(first), list), |(request, list)| async move {
        let Some(mut request) = request else { return Ok(None) };
        let page = list(request.clone()).await?;
        request.limit = request.limit.map(|limit| limit.saturating_sub(page.rows.len()));
        let is_enough = page.next_cursor.is_none() || request.limit == Some(0);
        let mut rows: Vec<Result<T>> = page.rows.into_iter().map(Ok).collect();
        let mut next = None;
        if !is_enough {
            let left = page.calls.map(|calls| calls.max.saturating_sub(calls.made));
            match left {
                Some(0) => rows.push(Err(too_many_calls(page.calls.unwrap_or_default().max))),
                _ => {
                    request.max_calls = left.or(request.max_calls);
                    request.cursor = page.next_cursor;
                    next = Some(request);
                }
            }
        }
        Ok::<_, Error>(Some((stream::iter(rows), (next, list))))
    });
    pages.try_flatten()
}

fn too_many_calls(max: u32) -> Error {
    Error::new(
        ErrorKind::QuotaExceeded,
        format!(
            "the list needs more than the {max} calls that `max_calls` allows: raise it, or ask for less"
        ),
    )
    .with_context("reason", "max_calls")
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use serde_json::json;

    use super::*;
    use crate::backends::scripted::Scripted;
    use crate::procure::GetRequest;

    fn form(json: serde_json::Value) -> FileFormat {
        serde_json::from_value(json).expect("a form")
    }

    #[tokio::test]
    async fn a_list_is_written_to_its_last_page() {
        let (cx, client) = (Context::new(), AnyProcurement::new(Scripted::default()));
        let all = client.tenders(&cx, ListRequest::new()).await.expect("a listing").rows.len();
        assert!(all > 1, "more than one page of one row");
        for (limit, expected) in [(None, all), (Some(all + 1), all), (Some(1), 1)] {
            let request = ListRequest { limit, ..ListRequest::new() };
            let chunks = form(json!({"form": "json_lines"})).list(&cx, &client, RecordKind::Tender, request);
            let chunks: Vec<_> = chunks.expect("a file").try_collect().await.expect("written");
            let lines = chunks.concat().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
            assert_eq!(lines, expected, "{limit:?}");
        }
    }

    /// A list of ten rows, of which each page gives three for one call.
    async fn page_of_three(request: ListRequest) -> Result<Listing<usize>> {
        let start: usize = request.cursor.map_or(0, |cursor| cursor.parse().expect("a cursor"));
        let end = (start + 3).min(10);
        let route = crate::info::Route::new(AnyProcurement::new(Scripted::default()).info());
        let calls = crate::procure::CallCount { made: 1, max: request.max_calls.unwrap_or(50) };
        Ok(Listing::new((start..end).collect(), crate::procure::Source::V1, moment(), route)
            .with_calls(calls)
            .with_next_cursor((end < 10).then(|| end.to_string())))
    }

    fn moment() -> crate::procure::Timestamp {
        crate::procure::Timestamp::of_unix_millis(0)
    }

    #[tokio::test]
    async fn limits_hold_for_all_pages_together_and_no_file_ends_early_in_silence() {
        let rows = |request: ListRequest| all_rows(request, page_of_three).collect::<Vec<_>>();
        assert_eq!(rows(ListRequest::new()).await.len(), 10);
        let few = rows(ListRequest::new().with_max_calls(2)).await;
        assert_eq!(few.iter().filter(|row| row.is_ok()).count(), 6);
        let error = few.last().expect("an end").as_ref().expect_err("not all");
        assert_eq!(error.kind(), ErrorKind::QuotaExceeded);
    }

    #[tokio::test]
    async fn forms_of_one_tender_write_no_lists() {
        let (cx, client) = (Context::new(), AnyProcurement::new(Scripted::default()));
        let refused = form(json!({"form": "pdf"})).list(&cx, &client, RecordKind::Tender, ListRequest::new());
        assert_eq!(refused.map(drop).expect_err("of one tender").kind(), ErrorKind::Unsupported);
        let tender = client.tender(&cx, GetRequest::new("9002-7-LR26")).await.expect("a tender").record;
        let file = form(json!({"form": "csv", "separator": "comma"})).tender(tender).await.expect("a file");
        assert!(String::from_utf8(file).expect("text").contains("9002-7-LR26"));
    }
}
