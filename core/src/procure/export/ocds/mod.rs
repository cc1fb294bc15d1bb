//! Tenders as an OCDS record package.

use bytes::Bytes;
use futures_core::Stream;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Writer, pieces, unwritten};
use crate::error::{Error, Result};
use crate::procure::{Tender, Timestamp};

mod parties;
mod release;

use release::Release;

/// Under which licence the source gives its records.
const LICENCE: &str = "https://creativecommons.org/publicdomain/zero/1.0/";

/// What a package says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct OcdsPackage {
    /// The address that names this package, where it can be fetched if it can: `https://…` or `urn:uuid:…`.
    pub uri: String,
    /// Who publishes this package.
    pub publisher: String,
    /// When.
    pub published: Timestamp,
}

impl OcdsPackage {
    /// A package.
    ///
    /// # Errors
    /// `invalid_request` if `uri` is not one, or nobody publishes it.
    pub fn new(uri: impl Into<String>, publisher: impl Into<String>, published: Timestamp) -> Result<Self> {
        let package = Self { uri: uri.into(), publisher: publisher.into(), published };
        package.check()?;
        Ok(package)
    }

    fn check(&self) -> Result<()> {
        if url::Url::parse(&self.uri).is_err() {
            return Err(Error::invalid_request(
                "the `uri` of the package is not an address such as https://…",
            ));
        }
        if self.publisher.trim().is_empty() {
            return Err(Error::invalid_request("the `publisher` of the package is empty"));
        }
        Ok(())
    }
}

/// Writes tenders as an OCDS 1.1 record package. Persons are not in it. What OCDS has no place or code for is written
/// beside it: the state as the source names it in `statusDetails`, amounts of units that are no currency (UTM) in
/// `amountDetails`. A package needs one record at least: none is an error at its end.
pub fn ocds<'a>(
    tenders: impl Stream<Item = Result<Tender>> + Send + 'a,
    package: OcdsPackage,
) -> impl Stream<Item = Result<Bytes>> + Send + 'a {
    pieces(tenders, Package { package, records: 0 })
}

struct Package {
    package: OcdsPackage,
    records: u64,
}

/// A record: the one release that is known of it, and the same as compiled release.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Record<'a> {
    ocid: &'a str,
    releases: [&'a Release<'a>; 1],
    compiled_release: &'a Release<'a>,
}

impl Writer<Tender> for Package {
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
        let mut written = serde_json::to_vec(&head).map_err(unwritten)?;
        // The records follow before the closing brace.
        written.pop();
        out.extend_from_slice(&written);
        out.extend_from_slice(b",\"records\":[");
        Ok(())
    }

    fn record(&mut self, out: &mut Vec<u8>, tender: Tender) -> Result<()> {
        let released = Release::of(&tender)?;
        let compiled = released.compiled();
        if self.records > 0 {
            out.push(b',');
        }
        let record = Record { ocid: &released.ocid, releases: [&released], compiled_release: &compiled };
        serde_json::to_writer(out, &record).map_err(unwritten)?;
        self.records += 1;
        Ok(())
    }

    fn tail(&mut self, out: &mut Vec<u8>) -> Result<()> {
        if self.records == 0 {
            return Err(Error::invalid_request("an OCDS package needs one record at least; there is none"));
        }
        out.extend_from_slice(b"]}");
        Ok(())
    }
}
