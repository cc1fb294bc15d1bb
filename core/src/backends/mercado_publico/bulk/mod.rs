//! The portal's monthly files: purchase orders, tenders with all offers, and quick purchases with all quotes.
//!
//! A month is a zip archive of one or more CSV files, which can be more than a gigabyte unpacked. [`Rows`] reads them row
//! by row in bounded memory, as [`OrderLine`], [`TenderOffer`] or [`QuoteLine`], and [`Orders`] groups the lines of each
//! order. [`MercadoPublico::download_month`](super::MercadoPublico::download_month) downloads a month, and
//! [`MercadoPublico::import_month`](super::MercadoPublico::import_month) writes it into the store, both only if it has
//! changed.
//!
//! ```
//! use ayni::backends::mercado_publico::bulk::{OrderLine, ReadOptions, Rows};
//!
//! # let file = ayni_testkit::bulk::order_lines(1).with_rows(3).csv();
//! let mut total = 0;
//! for line in Rows::<OrderLine>::csv("2026-6.csv", std::io::Cursor::new(file), ReadOptions::default())? {
//!     let line = line?;
//!     println!("{} {} {:?}", line.order.row.code, line.item.name, line.item.unit_price);
//!     total += 1;
//! }
//! assert_eq!(total, 3);
//! # Ok::<_, ayni::Error>(())
//! ```
//!
//! Reading blocks: in async code, use a thread for blocking work.

mod archive;
#[cfg(test)]
mod archive_tests;
mod cells;
mod columns;
mod download;
mod import;
#[cfg(all(test, feature = "postgres"))]
mod import_machines_tests;
#[cfg(test)]
mod import_tests;
mod order_lines;
mod orders;
mod partial;
mod quote_lines;
mod rows;
#[cfg(test)]
mod rows_tests;
mod table;
#[cfg(test)]
mod table_tests;
mod tender_offers;
mod text;

pub use archive::{Archive, ArchiveLimits, PackedFile};
pub use columns::UnknownColumns;
pub use download::{Download, MonthFile, MonthRequest};
pub use import::ImportReport;
pub use order_lines::OrderLine;
pub use orders::{GroupedOrder, Orders};
pub use quote_lines::QuoteLine;
pub use rows::{BulkRow, ReadOptions, ReadProgress, Rows};
pub use tender_offers::{Offer, TenderOffer};

use serde::{Deserialize, Serialize};

use crate::error::Operation;
use crate::procure::store::RecordKind;
use crate::procure::{Month, names};

/// A set of monthly files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum BulkSet {
    /// Lines of purchase orders, since 2007.
    OrderLines,
    /// Tenders: one row per line and offer, since 2007.
    TenderOffers,
    /// Quick purchases: one row per product and quote, since 2020, published a month late.
    Quotes,
}

names! { BulkSet { OrderLines = "order_lines", TenderOffers = "tender_offers", Quotes = "quotes" } }

impl BulkSet {
    /// The path of a month's file. Only one set pads the month's number with a zero.
    pub fn path(self, month: Month) -> String {
        let (year, number) = (month.year(), month.month());
        match self {
            Self::OrderLines => format!("/oc-da/{year}-{number}.zip"),
            Self::TenderOffers => format!("/lic-da/{year}-{number}.zip"),
            Self::Quotes => format!("/trnspchc/COT_{year}-{number:02}.zip"),
        }
    }

    /// The kind of record that its lines belong to.
    pub const fn kind(self) -> RecordKind {
        match self {
            Self::OrderLines => RecordKind::PurchaseOrder,
            Self::TenderOffers => RecordKind::Tender,
            Self::Quotes => RecordKind::QuickPurchase,
        }
    }

    const fn operation(self) -> Operation {
        match self {
            Self::OrderLines => Operation::ListPurchaseOrders,
            Self::TenderOffers => Operation::ListTenders,
            Self::Quotes => Operation::ListQuickPurchases,
        }
    }
}

/// The part of [`BulkRow`] that only this folder can implement and call.
mod sealed {
    use super::cells::Cells;
    use super::columns::ColumnNames;
    use crate::procure::Origin;
    use crate::procure::store::StoredLine;

    /// Reads rows of a set.
    pub trait ReadRow: Sized + Send + 'static {
        /// The columns of the set.
        const COLUMNS: ColumnNames;
        /// Those with personal data.
        const PERSONAL: ColumnNames;
        /// Reads a row.
        fn read(cells: &mut Cells<'_>, origin: Origin) -> Self;
        /// Reads only what the store needs of a row, without position and body.
        fn stored(cells: &mut Cells<'_>) -> StoredLine;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_says_only_which_month_is_a_new_one() {
        let month = Month::new(2026, 6).expect("a month");
        let read: MonthRequest =
            serde_json::from_str(r#"{"set":"quotes","month":"2026-06"}"#).expect("a request");
        assert_eq!(format!("{read:?}"), format!("{:?}", MonthRequest::new(BulkSet::Quotes, month)));
        let wrong = serde_json::from_str::<MonthRequest>(r#"{"set":"quotes","month":"2026-06","anwe":true}"#);
        assert!(wrong.is_err());
    }

    #[test]
    fn only_quotes_have_a_zero_before_the_month() {
        let month = Month::new(2026, 6).expect("a month");
        assert_eq!(BulkSet::OrderLines.path(month), "/oc-da/2026-6.zip");
        assert_eq!(BulkSet::TenderOffers.path(month), "/lic-da/2026-6.zip");
        assert_eq!(BulkSet::Quotes.path(month), "/trnspchc/COT_2026-06.zip");
        let december = Month::new(2025, 12).expect("a month");
        assert_eq!(BulkSet::OrderLines.path(december), "/oc-da/2025-12.zip");
    }
}
