//! Bodies that are at hand already: recorded ones, or those that another client has fetched.
//!
//! ```
//! use ayni::backends::mercado_publico::bodies;
//!
//! let body = r#"{"Cantidad":1,"Listado":[{"CodigoExterno":"1509-5-L114","Nombre":"Sillas","CodigoEstado":5}]}"#;
//! let tenders = bodies::tenders(body, "2026-11-20T10:00:00-03:00".parse()?)?;
//! assert_eq!(tenders[0].code, "1509-5-L114");
//! # Ok::<_, ayni::Error>(())
//! ```

use bytes::Bytes;

use super::wire::v1::{self, V1};
use super::wire::{Body, compra_agil, ocds};
use crate::error::{Error, Result};
use crate::procure::json::walk;
use crate::procure::{PurchaseOrderRow, QuickPurchaseRow, Source, Tender, TenderRow, Timestamp};

fn rows<T>(answer: V1<T>) -> Result<Vec<T>> {
    match answer {
        V1::List { rows, .. } => Ok(rows),
        V1::Failure(failure) => {
            let code = failure.code.map(|code| code.to_string()).unwrap_or_default();
            Err(Error::response_invalid("the body is a failure of the service").with_context("code", code))
        }
    }
}

/// The tenders of a list of v1.
///
/// # Errors
/// `response_invalid` saying what the body is instead.
pub fn tenders(body: impl Into<Bytes>, as_of: Timestamp) -> Result<Vec<TenderRow>> {
    rows(v1::tenders(&Body::new(walk::prepared(body.into())?, Source::V1, as_of))?)
}

/// The purchase orders of a list of v1.
///
/// # Errors
/// As [`tenders`].
pub fn purchase_orders(body: impl Into<Bytes>, as_of: Timestamp) -> Result<Vec<PurchaseOrderRow>> {
    rows(v1::orders(&Body::new(walk::prepared(body.into())?, Source::V1, as_of))?)
}

/// The quick purchases of a page of version 2.
///
/// # Errors
/// As [`tenders`].
pub fn quick_purchases(body: impl Into<Bytes>, as_of: Timestamp) -> Result<Vec<QuickPurchaseRow>> {
    let body = Body::new(walk::prepared(body.into())?, Source::COMPRA_AGIL, as_of);
    match compra_agil::payload(&body.bytes)? {
        Ok(payload) => Ok(compra_agil::page(&body, payload)?.rows),
        Err(failures) => {
            let code = failures.0.into_iter().next().map(|(code, _)| code).unwrap_or_default();
            Err(Error::response_invalid("the body is a failure of the service").with_context("code", code))
        }
    }
}

/// The tenders of an OCDS package.
///
/// # Errors
/// As [`tenders`].
pub fn ocds_tenders(body: impl Into<Bytes>, as_of: Timestamp) -> Result<Vec<Tender>> {
    ocds::tenders(&Body::new(walk::prepared(body.into())?, Source::OCDS, as_of))
}
