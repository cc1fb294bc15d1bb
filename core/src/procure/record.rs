//! Procurement records: rows of lists, and details.

use std::borrow::Cow;
use std::time::Duration;

use serde::{Serialize, Serializer};

use super::code::{OrderCode, QuickPurchaseCode, TenderCode};
use super::money::{Decimal, Money};
use super::plan::DayReport;
use super::raw::Raw;
use super::tables::{
    AwardAct, Dispatch, Estimation, OrderPayment, OrderState, OrderType, PaymentTerm, QuickPurchaseState,
    TenderState, TenderType, TimeUnit,
};
use super::time::Timestamp;
use crate::error::Result;
use crate::info::Route;

/// Where a record is from.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(Cow<'static, str>);

impl Source {
    /// Mercado Público's API of 2014.
    pub const V1: Self = Self(Cow::Borrowed("v1"));
    /// The API of quick purchases of 2026.
    pub const COMPRA_AGIL: Self = Self(Cow::Borrowed("compra_agil_v2"));
    /// Open Contracting packages.
    pub const OCDS: Self = Self(Cow::Borrowed("ocds"));
    /// Monthly files.
    pub const BULK: Self = Self(Cow::Borrowed("bulk"));

    /// A source by its name: `v1`, `compra_agil_v2`, `ocds`, `bulk`, `scripted`.
    pub fn new(name: impl Into<String>) -> Self {
        let name = name.into();
        let known = [Self::V1, Self::COMPRA_AGIL, Self::OCDS, Self::BULK];
        known.into_iter().find(|source| source.as_str() == name).unwrap_or(Self(Cow::Owned(name)))
    }

    /// The source's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Where a record is from, as of when it holds, and what the source itself wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Origin {
    /// Where it is from.
    pub source: Source,
    /// As of when it holds.
    pub as_of: Timestamp,
    /// Whether it is older than it should be, because the source could not be asked.
    pub stale: bool,
    /// The record exactly as the source wrote it.
    pub raw: Raw,
}

impl Origin {
    /// A fresh record.
    pub fn new(source: Source, as_of: Timestamp, raw: Raw) -> Self {
        Self { source, as_of, stale: false, raw }
    }
}

impl Default for Origin {
    fn default() -> Self {
        Self::new(Source::default(), Timestamp::of_unix_millis(0), Raw::default())
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
    /// How complete each day of the range is; empty where the list is not made of days.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<DayReport>,
    /// Where the rows are from.
    pub source: Source,
    /// As of when they hold: the oldest of them.
    pub as_of: Timestamp,
    /// Who served.
    pub route: Route,
}

impl<T> Listing<T> {
    /// A complete list.
    pub fn new(rows: Vec<T>, source: Source, as_of: Timestamp, route: Route) -> Self {
        Self { rows, next_cursor: None, total: None, days: Vec::new(), source, as_of, route }
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

    /// Says how complete each day is.
    pub fn with_days(mut self, days: Vec<DayReport>) -> Self {
        self.days = days;
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
    /// Whether it is older than it should be, because the source could not be asked.
    pub stale: bool,
    /// Who served.
    pub route: Route,
}

impl<T> Answer<T> {
    /// A fresh record.
    pub fn new(record: T, source: Source, as_of: Timestamp, route: Route) -> Self {
        Self { record, source, as_of, stale: false, route }
    }

    /// Says that the record is older than it should be.
    pub fn with_stale(mut self, stale: bool) -> Self {
        self.stale = stale;
        self
    }
}

/// A tender as lists give it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TenderRow {
    /// The tender's code.
    pub code: String,
    /// Its title.
    pub name: String,
    /// Its state.
    pub state: TenderState,
    /// When offers close.
    pub closes: Option<Timestamp>,
    /// Where the row is from.
    pub origin: Origin,
}

/// A tender in full.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Tender {
    /// What lists say of it.
    pub row: TenderRow,
    /// What is asked for.
    pub description: String,
    /// Which kind of tender, where the source says so.
    pub kind: Option<TenderType>,
    /// Who asks.
    pub buyer: Option<Buyer>,
    /// The amount that the buyer expects, where it is public.
    pub estimated_amount: Option<Money>,
    /// What that amount is.
    pub estimation: Option<Estimation>,
    /// When the buyer pays.
    pub payment: Option<PaymentTerm>,
    /// How long the contract runs.
    pub contract_duration: Option<(Decimal, TimeUnit)>,
    /// When it was published.
    pub published: Option<Timestamp>,
    /// Its other dates.
    pub dates: TenderDates,
    /// How it was decided; `None` while it is open, whatever the dates say.
    pub award: Option<Award>,
    /// The lines of it.
    pub items: Vec<LineItem>,
    /// Everybody who made an offer, where the source says so (OCDS does, v1 does not).
    pub bidders: Vec<Supplier>,
    /// The documents that the source lists.
    pub documents: Vec<Document>,
}

impl Tender {
    /// When offers close.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.row.closes
    }

    /// The time left to make an offer; `None` once it has passed, or if the source gives no deadline.
    pub fn time_left(&self, now: Timestamp) -> Option<Duration> {
        self.row.closes?.time_left(now)
    }
}

/// The dates of a tender, each as the source gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct TenderDates {
    /// When it was drawn up.
    pub created: Option<Timestamp>,
    /// From when questions are taken.
    pub questions_from: Option<Timestamp>,
    /// Until when questions are taken.
    pub questions_until: Option<Timestamp>,
    /// When the answers are published.
    pub answers: Option<Timestamp>,
    /// When technical offers are opened.
    pub technical_opening: Option<Timestamp>,
    /// When economic offers are opened.
    pub economic_opening: Option<Timestamp>,
    /// When the buyer expects to decide.
    pub expected_award: Option<Timestamp>,
    /// When the buyer decided; `None` while the tender is open.
    pub awarded: Option<Timestamp>,
    /// When the site can be visited.
    pub site_visit: Option<Timestamp>,
    /// When the contract is expected to be signed.
    pub expected_signature: Option<Timestamp>,
}

/// How a tender was decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Award {
    /// By which act.
    pub act: Option<AwardAct>,
    /// The act's number.
    pub number: Option<String>,
    /// The act's date.
    pub date: Option<Timestamp>,
    /// What the source calls the number of bidders; one official text says awarded suppliers.
    pub bidders: Option<i64>,
    /// The page of the act.
    pub page: Option<String>,
    /// The amount, where the source sums it up.
    pub value: Option<Money>,
    /// Who won, where the source says so for the whole and not by line.
    pub suppliers: Vec<Supplier>,
}

/// A document that a source lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Document {
    /// The document's id at the source.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it is, where the source says so.
    pub url: Option<String>,
}

/// A purchase order as lists give it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PurchaseOrderRow {
    /// The order's code.
    pub code: String,
    /// Its title.
    pub name: String,
    /// Its state.
    pub state: OrderState,
    /// Where the row is from.
    pub origin: Origin,
}

/// A purchase order in full.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct PurchaseOrder {
    /// What lists say of it.
    pub row: PurchaseOrderRow,
    /// What is bought.
    pub description: String,
    /// By which mechanism.
    pub kind: Option<OrderType>,
    /// The tender that it follows from.
    pub tender_code: Option<String>,
    /// Who buys.
    pub buyer: Option<Buyer>,
    /// Who sells.
    pub supplier: Option<Supplier>,
    /// The total before taxes.
    pub net: Option<Money>,
    /// The taxes.
    pub taxes: Option<Money>,
    /// The rate of the value-added tax, in per cent.
    pub tax_percent: Option<Decimal>,
    /// What was taken off.
    pub discounts: Option<Money>,
    /// What was put on.
    pub charges: Option<Money>,
    /// The total, taxes included.
    pub total: Option<Money>,
    /// When it is paid.
    pub payment: Option<OrderPayment>,
    /// How it is delivered.
    pub dispatch: Option<Dispatch>,
    /// When it was drawn up.
    pub created: Option<Timestamp>,
    /// When it was sent.
    pub sent: Option<Timestamp>,
    /// When the supplier accepted it.
    pub accepted: Option<Timestamp>,
    /// When it was called off.
    pub cancelled: Option<Timestamp>,
    /// When it was last changed; this can precede its sending.
    pub changed: Option<Timestamp>,
    /// The lines of it.
    pub items: Vec<LineItem>,
}

/// A quick purchase as lists give it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct QuickPurchaseRow {
    /// The purchase's code.
    pub code: String,
    /// Its title.
    pub name: String,
    /// Its state. It may lag: still published after closing.
    pub state: QuickPurchaseState,
    /// When it was published.
    pub published: Option<Timestamp>,
    /// When offers close.
    pub closes: Option<Timestamp>,
    /// When it was last changed.
    pub changed: Option<Timestamp>,
    /// Which call it is: 1 for small firms, 2 for all.
    pub call: Option<i64>,
    /// The money set aside.
    pub budget: Option<Money>,
    /// The same in pesos, where the source says so.
    pub budget_in_pesos: Option<Money>,
    /// Who buys.
    pub buyer_name: Option<String>,
    /// The buyer's tax number.
    pub buyer_tax_number: Option<String>,
    /// The region's number, 1 to 16.
    pub region: Option<i64>,
    /// How many offers there are.
    pub offers: Option<i64>,
    /// Where the row is from.
    pub origin: Origin,
}

/// A quick purchase in full.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct QuickPurchase {
    /// What lists say of it.
    pub row: QuickPurchaseRow,
    /// What is asked for.
    pub description: String,
    /// Who buys.
    pub buyer: Option<Buyer>,
    /// When the call to small firms closes.
    pub first_call_closes: Option<Timestamp>,
    /// When the call to all closes.
    pub second_call_closes: Option<Timestamp>,
    /// Where to deliver.
    pub delivery_address: Option<String>,
    /// Within how many days.
    pub delivery_days: Option<i64>,
    /// The purchase order that came of it.
    pub order_code: Option<String>,
    /// The lines of it.
    pub items: Vec<LineItem>,
    /// The offers, where the source shows them.
    pub quotes: Vec<Quote>,
    /// The documents that the source lists.
    pub documents: Vec<Document>,
}

impl QuickPurchase {
    /// When offers close.
    pub fn deadline(&self) -> Option<Timestamp> {
        self.row.closes
    }

    /// The time left to make an offer; `None` once it has passed, or if the source gives no deadline.
    pub fn time_left(&self, now: Timestamp) -> Option<Duration> {
        self.row.closes?.time_left(now)
    }
}

/// An offer for a quick purchase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Quote {
    /// Who offers.
    pub supplier: Supplier,
    /// What is offered.
    pub description: Option<String>,
    /// The price before taxes.
    pub net: Option<Money>,
    /// The price with taxes.
    pub total: Option<Money>,
    /// Whether it was chosen.
    pub chosen: Option<bool>,
    /// When it was made.
    pub made: Option<Timestamp>,
}

/// A line of a tender, an order or a quick purchase.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LineItem {
    /// The line's number.
    pub number: Option<i64>,
    /// What it is.
    pub name: String,
    /// What the buyer says of it.
    pub description: Option<String>,
    /// What the supplier says of it.
    pub supplier_description: Option<String>,
    /// The product's code in the classification of the United Nations (UNSPSC).
    pub product_code: Option<String>,
    /// The category's code.
    pub category_code: Option<String>,
    /// The category: `level 1 / level 2 / level 3`.
    pub category: Option<String>,
    /// How much of it.
    pub quantity: Option<Decimal>,
    /// In which unit.
    pub unit: Option<String>,
    /// The price of one unit, before taxes.
    pub unit_price: Option<Money>,
    /// The price of the line.
    pub total: Option<Money>,
    /// Who won the line.
    pub award: Option<LineAward>,
}

/// Who won a line of a tender.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct LineAward {
    /// Who won it.
    pub supplier: Supplier,
    /// How much of it.
    pub quantity: Option<Decimal>,
    /// At which price of one unit.
    pub unit_price: Option<Money>,
}

/// A public buyer. It has three codes that are easily mistaken: of the body, of the unit, and the prefix of its
/// records' codes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Buyer {
    /// The body's code at the source.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Its tax number, as the source writes it.
    pub tax_number: Option<String>,
    /// The code of the unit that buys.
    pub unit_code: Option<String>,
    /// The name of the unit that buys.
    pub unit_name: Option<String>,
    /// Its address.
    pub address: Option<String>,
    /// Its commune.
    pub commune: Option<String>,
    /// Its region, as the source names it.
    pub region: Option<String>,
    /// Whom to ask: personal data.
    pub contact: Option<Contact>,
    /// Where the record is from; `None` inside another record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// A supplier.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Supplier {
    /// The company's code at the source.
    pub code: String,
    /// Its name.
    pub name: String,
    /// Its tax number, as the source writes it.
    pub tax_number: Option<String>,
    /// The code of the branch.
    pub branch_code: Option<String>,
    /// Its commune.
    pub commune: Option<String>,
    /// Its region, as the source names it.
    pub region: Option<String>,
    /// Whom to ask: personal data.
    pub contact: Option<Contact>,
    /// Where the record is from; `None` inside another record.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin: Option<Origin>,
}

/// A person to ask. Personal data.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Contact {
    /// The person's name.
    pub name: Option<String>,
    /// What the person does.
    pub role: Option<String>,
    /// The telephone number.
    pub telephone: Option<String>,
    /// The mail address.
    pub mail: Option<String>,
}

macro_rules! constructors {
    ($($record:ident { $($field:ident: $type:ty),+ })+) => {
        $(impl $record {
            /// A record with what the source always gives; the rest is empty.
            pub fn new($($field: impl Into<$type>),+) -> Self {
                Self { $($field: $field.into(),)+ ..Self::default() }
            }
        })+
    };
}

constructors! {
    TenderRow { code: String, name: String, state: TenderState }
    PurchaseOrderRow { code: String, name: String, state: OrderState }
    QuickPurchaseRow { code: String, name: String, state: QuickPurchaseState }
    LineItem { name: String }
    Buyer { code: String, name: String }
    Supplier { code: String, name: String }
    Document { id: String, name: String }
}

macro_rules! rows {
    ($($row:ident has $code:ident;)+) => {
        $(impl $row {
            /// Sets where the row is from.
            pub fn with_origin(mut self, origin: Origin) -> Self {
                self.origin = origin;
                self
            }

            /// The code, taken apart.
            ///
            /// # Errors
            /// `invalid_request` if the source gave something else.
            pub fn parsed_code(&self) -> Result<$code> {
                self.code.parse()
            }
        })+
    };
}

rows! {
    TenderRow has TenderCode;
    PurchaseOrderRow has OrderCode;
    QuickPurchaseRow has QuickPurchaseCode;
}
