//! Reading bodies that you already have: recorded ones, or ones that another client has fetched.
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

use super::wire::v1;
use super::wire::{Body, compra_agil, ocds};
use crate::error::Result;
use crate::procure::json::prepared;
use crate::procure::{PurchaseOrderRow, QuickPurchaseRow, Source, Tender, TenderRow, Timestamp};

/// The tenders in a list of v1.
///
/// # Errors
/// `response_invalid` if the body is anything else.
pub fn tenders(body: impl Into<Bytes>, as_of: Timestamp) -> Result<Vec<TenderRow>> {
    v1::tenders(&Body::new(prepared(body.into())?, Source::V1, as_of))?.into_rows()
}

/// The purchase orders in a list of v1.
///
/// # Errors
/// As [`tenders`].
pub fn purchase_orders(body: impl Into<Bytes>, as_of: Timestamp) -> Result<Vec<PurchaseOrderRow>> {
    v1::orders(&Body::new(prepared(body.into())?, Source::V1, as_of))?.into_rows()
}

/// The quick purchases on a page of the quick-purchase API.
///
/// # Errors
/// As [`tenders`].
pub fn quick_purchases(body: impl Into<Bytes>, as_of: Timestamp) -> Result<Vec<QuickPurchaseRow>> {
    let body = Body::new(prepared(body.into())?, Source::COMPRA_AGIL, as_of);
    Ok(compra_agil::page(&body, compra_agil::success(&body.bytes)?)?.rows)
}

/// The tenders in an OCDS package.
///
/// # Errors
/// As [`tenders`].
pub fn ocds_tenders(body: impl Into<Bytes>, as_of: Timestamp) -> Result<Vec<Tender>> {
    ocds::tenders(&Body::new(prepared(body.into())?, Source::OCDS, as_of))
}
