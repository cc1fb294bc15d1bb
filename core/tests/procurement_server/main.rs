//! The procurement client over a ChileCompra of its own: real HTTP, a world that goes on, and every fault.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bench;
mod clock;
mod faults;
mod quota;
mod records;

use ayni::procure::Completeness;
use ayni::procure::{Listing, TenderRow};
use serde_json::Value;

/// What lists of tenders are counted as.
const TENDERS: &str = "v1/licitaciones.json";

fn codes(listing: &Listing<TenderRow>) -> Vec<String> {
    listing.rows.iter().map(|row| row.code.clone()).collect()
}

fn states(listing: &Listing<TenderRow>) -> Vec<Completeness> {
    listing.days.iter().map(|day| day.completeness).collect()
}

/// A record as JSON without what says where it is from.
fn facts(record: &impl serde::Serialize) -> Value {
    fn without_origin(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.remove("origin");
                members.values_mut().for_each(without_origin);
            }
            Value::Array(list) => list.iter_mut().for_each(without_origin),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(record).expect("JSON");
    without_origin(&mut value);
    value
}
