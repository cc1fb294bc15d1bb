//! Files of what a client lists or reads, by the name of their form: what bindings and services offer.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::{CsvFormat, JsonLinesFormat, OcdsPackage, PdfPage, csv, json_lines, ocds, tender_pdf};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::procure::store::RecordKind;
use crate::procure::{AnyProcurement, ListRequest, Listing, Tender};

/// A file in pieces.
pub type FilePieces = Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>;

/// In which form a file is written. In JSON `form` names it, and its settings stand beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "form", rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileForm {
    /// A table of CSV.
    Csv(CsvFormat),
    /// A record a line, as JSON.
    JsonLines(JsonLinesFormat),
    /// An OCDS release package; of one tender.
    Ocds(OcdsPackage),
    /// One page of PDF; of one tender.
    Pdf(PdfPage),
}

impl FileForm {
    /// One tender as a file.
    ///
    /// # Errors
    /// `unsupported` for PDF without the `pdf` feature.
    pub async fn tender(self, tender: Tender) -> Result<Vec<u8>> {
        let one = stream::iter([Ok(tender.clone())]);
        let pieces: Vec<_> = match self {
            Self::Csv(format) => csv(one, format).try_collect().await?,
            Self::JsonLines(format) => json_lines(one, format).try_collect().await?,
            Self::Ocds(package) => ocds(one, package).try_collect().await?,
            Self::Pdf(page) => return tender_pdf(&tender, None, &page),
        };
        Ok(pieces.concat())
    }

    /// What `client` lists of a kind, page after page, as a file.
    ///
    /// # Errors
    /// `unsupported` for the forms that are of one tender; those of listing come as the last piece.
    pub fn list(
        self,
        cx: &Context,
        client: &AnyProcurement,
        kind: RecordKind,
        wanted: ListRequest,
    ) -> Result<FilePieces> {
        macro_rules! file {
            ($method:ident) => {{
                let (cx, client) = (cx.clone(), client.clone());
                let rows = every_row(wanted, move |wanted| {
                    let (cx, client) = (cx.clone(), client.clone());
                    async move { client.$method(&cx, wanted).await }
                });
                match self {
                    Self::Csv(format) => Ok(Box::pin(csv(rows, format))),
                    Self::JsonLines(format) => Ok(Box::pin(json_lines(rows, format))),
                    Self::Ocds(_) | Self::Pdf(_) => Err(Error::unsupported(
                        "lists are written as csv and json_lines; ocds and pdf are of one tender",
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::backends::scripted::Scripted;
    use crate::error::ErrorKind;
    use crate::procure::GetRequest;

    fn form(json: serde_json::Value) -> FileForm {
        serde_json::from_value(json).expect("a form")
    }

    #[tokio::test]
    async fn a_list_is_written_to_its_last_page() {
        let (cx, client) = (Context::new(), AnyProcurement::new(Scripted::default()));
        let all = client.tenders(&cx, ListRequest::new()).await.expect("a listing").rows.len();
        assert!(all > 1, "more than one page of one row");
        let mut wanted = ListRequest::new();
        wanted.limit = Some(1);
        let pieces = form(json!({"form": "json_lines"})).list(&cx, &client, RecordKind::Tender, wanted);
        let pieces: Vec<_> = pieces.expect("a file").try_collect().await.expect("written");
        assert_eq!(pieces.concat().split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count(), all);
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
