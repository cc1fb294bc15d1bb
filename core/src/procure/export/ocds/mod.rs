//! Tenders as an OCDS record package.

use bytes::Bytes;
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{RecordWriter, chunks, not_json};
use crate::error::{Error, Result};
use crate::procure::{Tender, Timestamp};

mod node;
mod parties;
mod release;

const LICENCE: &str = "https://creativecommons.org/publicdomain/zero/1.0/";

/// The metadata of a package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OcdsPackage {
    /// The URI of the package: `https://…`, from where it can be fetched, or `urn:uuid:…`.
    pub uri: String,
    /// The publisher.
    pub publisher: String,
    /// The time of publication.
    pub published: Timestamp,
}

impl OcdsPackage {
    /// The metadata of a package.
    ///
    /// # Errors
    /// `invalid_request` if `uri` is invalid or `publisher` is empty.
    pub fn new(uri: impl Into<String>, publisher: impl Into<String>, published: Timestamp) -> Result<Self> {
        let package = Self { uri: uri.into(), publisher: publisher.into(), published };
        package.check()?;
        Ok(package)
    }

    fn check(&self) -> Result<()> {
        if url::Url::parse(&self.uri).is_err() {
            return Err(Error::invalid_request("the `uri` of the package is not a URI such as https://…"));
        }
        if self.publisher.trim().is_empty() {
            return Err(Error::invalid_request("the `publisher` of the package is empty"));
        }
        Ok(())
    }
}

/// Writes tenders as an OCDS 1.1 record package, without personal data. What OCDS has no code for is written in words: the
/// source's name of the state in `statusDetails`, amounts in units that are not currencies (UTM) in `amountDetails`. A
/// package needs at least one record: without any, the stream ends with an error.
pub fn ocds<'a>(
    tenders: impl Stream<Item = Result<Tender>> + Send + 'a,
    package: OcdsPackage,
) -> impl Stream<Item = Result<Bytes>> + Send + 'a {
    chunks(tenders, Package { package, records: 0 })
}

struct Package {
    package: OcdsPackage,
    records: u64,
}

impl RecordWriter<Tender> for Package {
    fn head(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.package.check()?;
        let head = json!({
            "uri": self.package.uri,
            "version": "1.1",
            "extensions": [],
            "publisher": { "name": self.package.publisher },
            "license": LICENCE,
            "publishedDate": self.package.published,
        });
        let mut written = serde_json::to_vec(&head).map_err(not_json)?;
        // The records are written before the closing brace.
        written.pop();
        out.extend_from_slice(&written);
        out.extend_from_slice(b",\"records\":[");
        Ok(())
    }

    fn record(&mut self, out: &mut Vec<u8>, tender: Tender) -> Result<()> {
        if tender.row.code.trim().is_empty() {
            return Err(Error::invalid_request("a tender without a code cannot be an OCDS record"));
        }
        if self.records > 0 {
            out.push(b',');
        }
        serde_json::to_writer(out, &release::record(&tender)).map_err(not_json)?;
        self.records += 1;
        Ok(())
    }

    fn tail(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if self.records == 0 {
            return Err(Error::invalid_request("an OCDS package needs at least one record"));
        }
        out.extend_from_slice(b"]}");
        Ok(())
    }
}
