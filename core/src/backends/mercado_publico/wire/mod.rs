//! The bodies of the services' answers.

pub(crate) mod compra_agil;
pub(crate) mod ocds;
pub(crate) mod order;
pub(crate) mod privacy;
pub(crate) mod tender;
pub(crate) mod v1;

#[cfg(test)]
mod samples_tests;

use bytes::Bytes;

use crate::procure::json::{Fields, slice_of};
use crate::procure::{
    Buyer, Origin, PurchaseOrder, PurchaseOrderRow, QuickPurchase, QuickPurchaseRow, Source, Supplier,
    Tender, TenderRow, Timestamp, ZoneMark,
};

#[derive(Clone, Debug)]
pub(crate) struct Body {
    /// The bytes, [`prepared`](crate::procure::json::prepared).
    pub(crate) bytes: Bytes,
    pub(crate) source: Source,
    pub(crate) as_of: Timestamp,
    /// Whether it is an old answer, used because the service is unavailable.
    pub(crate) stale: bool,
    /// How to read a `Z` in its times.
    pub(crate) mark: ZoneMark,
}

/// A record that says where it is from.
pub(crate) trait FromSource {
    fn origin_mut(&mut self) -> &mut Origin;
}

macro_rules! from_source {
    ($($record:ty: $own:ident => $origin:expr;)+) => {
        $(impl FromSource for $record {
            fn origin_mut(&mut self) -> &mut Origin {
                let $own = self;
                $origin
            }
        })+
    };
}

from_source! {
    TenderRow: row => &mut row.origin;
    PurchaseOrderRow: row => &mut row.origin;
    QuickPurchaseRow: row => &mut row.origin;
    Tender: tender => &mut tender.row.origin;
    PurchaseOrder: order => &mut order.row.origin;
    QuickPurchase: purchase => &mut purchase.row.origin;
    Buyer: buyer => buyer.origin.get_or_insert_default();
    Supplier: supplier => supplier.origin.get_or_insert_default();
}

impl Body {
    pub(crate) fn new(bytes: Bytes, source: Source, as_of: Timestamp) -> Self {
        Self { bytes, source, as_of, stale: false, mark: ZoneMark::WallClock }
    }

    /// A record that was read from `fields`, with its origin: `written`, and what of it could not be read.
    pub(crate) fn record<T: FromSource>(&self, written: &str, fields: &Fields<'_>, mut record: T) -> T {
        let raw = slice_of(&self.bytes, written);
        let origin = Origin::new(self.source.clone(), self.as_of, raw);
        *record.origin_mut() = Origin { stale: self.stale, unread: fields.unread(), ..origin };
        record
    }
}
