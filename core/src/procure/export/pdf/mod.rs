//! A tender and its analysis on a page of PDF.

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

/// Options for a page.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PdfPage {
    /// The language of the headings; by default that of the analysis, else Spanish.
    pub language: Option<Language>,
    /// The link on the page; by default the tender's public page.
    pub link: Option<String>,
    /// The maker of the page, named in its footer.
    pub made_by: Option<String>,
}

impl PdfPage {
    /// A page in the analysis's language that links to the tender's public page.
    pub fn new() -> Self {
        Self::default()
    }

    setters! {
        /// Sets the language of the headings.
        with_language: language = some Language;
        /// Sets the link on the page.
        with_link: link = some into String;
        /// Sets the maker of the page.
        with_made_by: made_by = some into String;
    }
}

/// Writes a tender, and its analysis if there is one, on one A4 page: title, state, closing time, buyer, amount,
/// description, claims with the fields that they cite, and source. Text that does not fit is cut and marked. There is no
/// personal data on it. The same input gives the same bytes.
///
/// # Errors
/// `invalid_request` if the analysis is of another tender or the link is not a web address; `unsupported` without the
/// feature `pdf`.
pub fn tender_pdf(tender: &Tender, analysis: Option<&Analysis>, page: &PdfPage) -> Result<Vec<u8>> {
    if analysis.is_some_and(|analysis| analysis.code != tender.row.code.trim()) {
        return Err(Error::invalid_request("the analysis is of another tender"));
    }
    if page.link.as_deref().is_some_and(|link| !is_page(link)) {
        return Err(Error::invalid_request("the `link` of the page is not a web address"));
    }
    #[cfg(feature = "pdf")]
    return Ok(sheet::write(tender, analysis, page));
    #[cfg(not(feature = "pdf"))]
    Err(Error::unsupported("this build of ayni cannot write PDF: switch on the feature `pdf`"))
}

/// Whether a link is a web address, and not for example a script.
fn is_page(link: &str) -> bool {
    url::Url::parse(link).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

#[cfg(all(test, feature = "pdf"))]
mod tests;
