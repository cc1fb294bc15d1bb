//! Procurement records: rows of lists, and details.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::money::{Decimal, Money};
use crate::error::{Error, Result};
use crate::info::Route;

/// A calendar day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// A day of the Gregorian calendar.
    ///
    /// # Errors
    /// `invalid_request` if there is no such day.
    pub fn new(year: u16, month: u8, day: u8) -> Result<Self> {
        let leap = (year.is_multiple_of(4) && !year.is_multiple_of(100)) || year.is_multiple_of(400);
        let days = match month {
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            1..=12 => 31,
            _ => 0,
        };
        if day == 0 || day > days || year == 0 || year > 9999 {
            return Err(Error::invalid_request(format!("there is no day {year:04}-{month:02}-{day:02}")));
        }
        Ok(Self { year, month, day })
    }

    /// The year.
    pub fn year(self) -> u16 {
        self.year
    }

    /// The month, from 1.
    pub fn month(self) -> u8 {
        self.month
    }

    /// The day of the month, from 1.
    pub fn day(self) -> u8 {
        self.day
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl FromStr for Date {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split('-');
        let mut number = || parts.next().and_then(|part| part.parse::<u16>().ok());
        let (year, month, day) = (number(), number(), number());
        let narrow = |part: Option<u16>| part.and_then(|number| u8::try_from(number).ok());
        match (year, narrow(month), narrow(day), parts.next()) {
            (Some(year), Some(month), Some(day), None) => Self::new(year, month, day),
            _ => Err(Error::invalid_request(format!("'{text}' is not a day such as 2026-11-20"))),
        }
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| serde::de::Error::custom(error.message()))
    }
}

/// A moment as the source writes it: ISO 8601, with or without zone. A source's own zone rules belong to its
/// backend, which documents them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(String);

impl Timestamp {
    /// A moment in ISO 8601.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The moment as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a record is from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Source(String);

impl Source {
    /// A source by its name: `v1`, `compra_agil_v2`, `ocds`, `bulk`, `scripted`.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The source's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Rows of a list, and where they are from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Listing<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where to go on, if there is more.
    pub next_cursor: Option<String>,
    /// How many rows there are in all, where the source says so.
    pub total: Option<u64>,
    /// Where the rows are from.
    pub source: Source,
    /// As of when they hold.
    pub as_of: Timestamp,
    /// Who served.
    pub route: Route,
}

impl<T> Listing<T> {
    /// A complete list.
    pub fn new(rows: Vec<T>, source: Source, as_of: Timestamp, route: Route) -> Self {
        Self { rows, next_cursor: None, total: None, source, as_of, route }
    }

    /// Says where to go on.
    pub fn with_next_cursor(mut self, cursor: Option<String>) -> Self {
        self.next_cursor = cursor;
        self
    }

    /// Says how many rows there are in all.
    pub fn with_total(mut self, total: Option<u64>) -> Self {
        self.total = total;
        self
    }
}

/// One record in full, and where it is from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Answer<T> {
    /// The record.
    pub record: T,
    /// Where it is from.
    pub source: Source,
    /// As of when it holds.
    pub as_of: Timestamp,
    /// Who served.
    pub route: Route,
}

impl<T> Answer<T> {
    /// A record.
    pub fn new(record: T, source: Source, as_of: Timestamp, route: Route) -> Self {
        Self { record, source, as_of, route }
    }
}

/// A tender as lists give it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TenderRow {
    /// The tender's code.
    pub code: String,
    /// Its title.
    pub name: String,
    /// Its state, as the source names it.
    pub state: String,
    /// When offers close.
    pub closes: Option<Timestamp>,
}

/// A tender in full.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Tender {
    /// What lists say of it.
    pub row: TenderRow,
    /// What is asked for.
    pub description: String,
    /// Who asks.
    pub buyer: Option<Buyer>,
    /// The amount that the buyer expects, where it is public.
    pub estimated_amount: Option<Money>,
    /// When it was published.
    pub published: Option<Timestamp>,
    /// The lines of it.
    pub items: Vec<LineItem>,
    /// The record exactly as the source gave it.
    pub raw: Value,
}

/// A purchase order as lists give it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PurchaseOrderRow {
    /// The order's code.
    pub code: String,
    /// Its title.
    pub name: String,
    /// Its state, as the source names it.
    pub state: String,
}

/// A purchase order in full.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PurchaseOrder {
    /// What lists say of it.
    pub row: PurchaseOrderRow,
    /// The tender that it follows from.
    pub tender_code: Option<String>,
    /// Who buys.
    pub buyer: Option<Buyer>,
    /// Who sells.
    pub supplier: Option<Supplier>,
    /// The total, taxes included.
    pub total: Option<Money>,
    /// When it was sent.
    pub sent: Option<Timestamp>,
    /// The lines of it.
    pub items: Vec<LineItem>,
    /// The record exactly as the source gave it.
    pub raw: Value,
}

/// A quick purchase as lists give it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct QuickPurchaseRow {
    /// The purchase's code.
    pub code: String,
    /// Its title.
    pub name: String,
    /// Its state, as the source names it.
    pub state: String,
    /// When offers close.
    pub closes: Option<Timestamp>,
    /// The money set aside.
    pub budget: Option<Money>,
    /// Who buys.
    pub buyer_name: Option<String>,
}

/// A quick purchase in full.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct QuickPurchase {
    /// What lists say of it.
    pub row: QuickPurchaseRow,
    /// What is asked for.
    pub description: String,
    /// Who buys.
    pub buyer: Option<Buyer>,
    /// The lines of it.
    pub items: Vec<LineItem>,
    /// The record exactly as the source gave it.
    pub raw: Value,
}

/// A line of a tender, an order or a quick purchase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct LineItem {
    /// What it is.
    pub name: String,
    /// The product's code in the classification of the United Nations (UNSPSC).
    pub product_code: Option<String>,
    /// How much of it.
    pub quantity: Option<Decimal>,
    /// In which unit.
    pub unit: Option<String>,
    /// The price of one unit, before taxes.
    pub unit_price: Option<Money>,
}

/// A public buyer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Buyer {
    /// The buyer's code at the source.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Its tax number.
    pub tax_number: Option<String>,
    /// Its region, as the source names it.
    pub region: Option<String>,
}

/// A supplier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Supplier {
    /// The supplier's code at the source.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Its tax number.
    pub tax_number: Option<String>,
}

macro_rules! constructors {
    ($($record:ident { $($field:ident),+ })+) => {
        $(impl $record {
            /// A record with what the source always gives; the rest is empty.
            pub fn new($($field: impl Into<String>),+) -> Self {
                Self { $($field: $field.into(),)+ ..Self::default() }
            }
        })+
    };
}

constructors! {
    TenderRow { code, name, state }
    PurchaseOrderRow { code, name, state }
    QuickPurchaseRow { code, name, state }
    LineItem { name }
    Buyer { code, name }
    Supplier { code, name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for text in ["2026-02-29", "2026-13-01", "2026-00-10", "2026-11-31", "2026-11", "2026-11-20-1", "hoy"]
        {
            assert!(text.parse::<Date>().is_err(), "{text}");
        }
        assert_eq!("2024-02-29".parse::<Date>().expect("a leap day").to_string(), "2024-02-29");
    }

    #[test]
    fn days_sort_by_time() {
        let day = |text: &str| text.parse::<Date>().expect("a day");
        assert!(day("2025-12-31") < day("2026-01-01"));
    }
}
