//! Lists and pages, made of the recorded bodies with other codes.

use ayni::Error;
use ayni::backends::mercado_publico::bodies;
use ayni::procure::Timestamp;
use bytes::Bytes;
use serde_json::{Value, json};

use super::{LIST, Speed, speed};

const V1_TENDERS: &str =
    include_str!("../../../core/conformance/recorded/mercado_publico/v1-tender-list.json");
const V1_ORDERS: &str = include_str!("../../../core/conformance/recorded/mercado_publico/v1-po-list.json");
const V2: &str = include_str!("../../../core/conformance/recorded/mercado_publico/v2-compra-agil-list.json");
const OCDS: &str =
    include_str!("../../../core/conformance/recorded/mercado_publico/ocds-record-package.json");

/// The body with the rows of its list repeated, each with a code of its own.
fn repeated(body: &str, list: &str, code: &str, rows: usize) -> Result<Bytes, Error> {
    let broken = || Error::config("a recorded body is not as it was");
    let mut body: Value = serde_json::from_str(body).map_err(|_| broken())?;
    let rows_of = body.pointer_mut(list).and_then(Value::as_array_mut).ok_or_else(broken)?;
    let originals = std::mem::take(rows_of);
    for (number, original) in originals.iter().cycle().take(rows).enumerate() {
        let mut row = original.clone();
        let (prefix, kind) = match row.get(code).and_then(Value::as_str) {
            Some(code) => {
                let mut parts = code.split('-');
                (
                    parts.next().unwrap_or_default().to_owned(),
                    parts.next_back().unwrap_or_default().to_owned(),
                )
            }
            None => return Err(broken()),
        };
        if let Some(member) = row.get_mut(code) {
            *member = json!(format!("{prefix}-{number}-{kind}"));
        }
        rows_of.push(row);
    }
    Ok(body.to_string().into())
}

/// Reads each of the sources' lists.
pub(super) fn run(rounds: usize) -> Result<Vec<Speed>, Error> {
    let as_of = Timestamp::of_unix_millis(1_792_000_000_000);
    let tenders = repeated(V1_TENDERS, "/Listado", "CodigoExterno", 50_000)?;
    let orders = repeated(V1_ORDERS, "/Listado", "Codigo", 50_000)?;
    let page = repeated(V2, "/payload/items", "codigo", 50)?;
    let package = Bytes::from_static(OCDS.as_bytes());
    // Pages are small; so many of them are a figure.
    let (pages, packages) = (200, 2_000);
    Ok(vec![
        speed(("v1_tenders", "v1, a list of tenders"), (tenders.len(), LIST), rounds, || {
            bodies::tenders(tenders.clone(), as_of).map(|rows| rows.len())
        })?,
        speed(("v1_orders", "v1, a list of purchase orders"), (orders.len(), LIST), rounds, || {
            bodies::purchase_orders(orders.clone(), as_of).map(|rows| rows.len())
        })?,
        speed(("v2_pages", "v2, pages of quick purchases"), (page.len() * pages, LIST), rounds, || {
            (0..pages).try_fold(0, |sum, _| Ok(sum + bodies::quick_purchases(page.clone(), as_of)?.len()))
        })?,
        speed(
            ("ocds_packages", "OCDS, packages of one tender"),
            (package.len() * packages, super::Target::None),
            rounds,
            || {
                (0..packages)
                    .try_fold(0, |sum, _| Ok(sum + bodies::ocds_tenders(package.clone(), as_of)?.len()))
            },
        )?,
    ])
}
