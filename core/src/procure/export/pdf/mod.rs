//! A tender and its analysis on one page of PDF.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::procure::Tender;
use crate::procure::analysis::{Analysis, Language};

#[cfg(feature = "pdf")]
mod canvas;
#[cfg(feature = "pdf")]
mod sheet;
#[cfg(feature = "pdf")]
mod text;
#[cfg(feature = "pdf")]
mod words;

/// What a page says beside the tender and its analysis.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PdfPage {
    /// The language of the headings; the analysis's by default, else Spanish.
    pub language: Option<Language>,
    /// Where the page links to; the tender's public page by default.
    pub link: Option<String>,
    /// Who made the page, said at its foot.
    pub made_by: Option<String>,
}

impl PdfPage {
    /// A page in the analysis's language that links to the tender's public page.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the language of the headings.
    pub fn with_language(mut self, language: Language) -> Self {
        self.language = Some(language);
        self
    }

    /// Sets where the page links to.
    pub fn with_link(mut self, link: impl Into<String>) -> Self {
        self.link = Some(link.into());
        self
    }

    /// Says who made the page.
    pub fn with_made_by(mut self, name: impl Into<String>) -> Self {
        self.made_by = Some(name.into());
        self
    }
}

/// Writes a tender, with its analysis if there is one, on one page of A4: title, state, closing time, buyer, amount,
/// description, claims with the fields that they stand on, source. What does not fit is cut, and a mark says so. Persons are
/// not on it. The same input gives the same bytes.
///
/// # Errors
/// `invalid_request` if the analysis is of another tender or the link is no address; `unsupported` without the feature
/// `pdf`.
pub fn tender_pdf(tender: &Tender, analysis: Option<&Analysis>, page: &PdfPage) -> Result<Vec<u8>> {
    if analysis.is_some_and(|analysis| analysis.code != tender.row.code.trim()) {
        return Err(Error::invalid_request("the analysis is of another tender"));
    }
    if page.link.as_deref().is_some_and(|link| !is_page(link)) {
        return Err(Error::invalid_request("the `link` of the page is no address of the web"));
    }
    #[cfg(feature = "pdf")]
    return Ok(sheet::write(tender, analysis, page));
    #[cfg(not(feature = "pdf"))]
    Err(Error::unsupported("built without the `pdf` feature"))
}

/// Whether a link leads to a page, and does nothing else when it is followed.
fn is_page(link: &str) -> bool {
    url::Url::parse(link).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

#[cfg(all(test, feature = "pdf"))]
mod tests;
