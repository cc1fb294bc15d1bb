//! Procurement records: rows of lists, and details.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

use super::code::{OrderCode, QuickPurchaseCode, TenderCode};
use super::money::{Decimal, Money};
use super::plan::{CallCount, DayReport};
use super::raw::Raw;
use super::tables::{
    AwardAct, Dispatch, Estimation, OrderPayment, OrderState, OrderType, PaymentTerm, QuickPurchaseState,
    TenderState, TenderType, TimeUnit,
};
use super::time::Timestamp;
use crate::error::Result;
use crate::info::Route;

/// The source of a record.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(Cow<'static, str>);

impl Source {
    /// Mercado Público's API for tenders and orders.
    pub const V1: Self = Self(Cow::Borrowed("v1"));
    /// The API for quick purchases.
    pub const COMPRA_AGIL: Self = Self(Cow::Borrowed("compra_agil_v2"));
    /// OCDS packages.
    pub const OCDS: Self = Self(Cow::Borrowed("ocds"));
    /// The monthly files.
    pub const BULK: Self = Self(Cow::Borrowed("bulk"));

    /// The source with this name: `v1`, `compra_agil_v2`, `ocds`, `bulk`, `scripted`.
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

/// The source of a record, the time as of which it is valid, and the source's own text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Origin {
    /// The source.
    pub source: Source,
    /// The time as of which it is valid.
    pub as_of: Timestamp,
    /// Whether it is an old answer, used because the source was unavailable.
    pub stale: bool,
    /// The record exactly as the source wrote it.
    pub raw: Raw,
    /// The members of `raw` that have a value of another kind than expected, so that it is missing in the record.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unread: Vec<&'static str>,
}

impl Origin {
    /// The origin of a record that is not stale.
    pub fn new(source: Source, as_of: Timestamp, raw: Raw) -> Self {
        Self { source, as_of, stale: false, raw, unread: Vec::new() }
    }
}

impl Default for Origin {
    fn default() -> Self {
        Self::new(Source::default(), Timestamp::of_unix_millis(0), Raw::default())
    }
}

/// The rows of a list, and their source.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Listing<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// The cursor of the next page, if there is one.
    pub next_cursor: Option<String>,
    /// The total number of rows, if the source says it.
    pub total: Option<u64>,
    /// How complete each day of the range is; empty for lists that are not by day.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<DayReport>,
    /// The calls that it took, and the most that it could take; `None` where calls are not counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<CallCount>,
    /// The values that could not be read, by the names of their members: in how many rows. The rows' origins name them too.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unread: BTreeMap<&'static str, usize>,
    /// The source.
    pub source: Source,
    /// The time as of which they are valid: that of the oldest.
    pub as_of: Timestamp,
    /// The backend that answered.
    pub route: Route,
}

impl<T> Listing<T> {
    /// A complete list.
    pub fn new(rows: Vec<T>, source: Source, as_of: Timestamp, route: Route) -> Self {
        let (days, unread) = (Vec::new(), BTreeMap::new());
        Self { rows, next_cursor: None, total: None, days, calls: None, unread, source, as_of, route }
    }

    setters! {
        /// Sets the cursor of the next page.
        with_next_cursor: next_cursor = Option<String>;
        /// Sets the total number of rows.
        with_total: total = Option<u64>;
        /// Sets the calls that it took.
        with_calls: calls = some CallCount;
        /// Sets the values that could not be read.
        with_unread: unread = BTreeMap<&'static str, usize>;
        /// Sets how complete each day is.
        with_days: days = Vec<DayReport>;
    }
}

/// A record and its source.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Answer<T> {
    /// The record.
    pub record: T,
    /// The source.
    pub source: Source,
    /// The time as of which it is valid.
    pub as_of: Timestamp,
    /// Whether it is an old answer, used because the source was unavailable.
    pub stale: bool,
    /// The backend that answered.
    pub route: Route,
}

impl<T> Answer<T> {
    /// An answer that is not stale.
    pub fn new(record: T, source: Source, as_of: Timestamp, route: Route) -> Self {
        Self { record, source, as_of, stale: false, route }
    }

    setters! {
        /// Sets whether the record is from an old answer.
        with_stale: stale = bool;
    }
}

macro_rules! records {
    ($($(#[doc = $doc:literal])+ pub struct $name:ident {
        $($(#[doc = $field_doc:literal])+ $(#[serde($serde:meta)])? pub $field:ident: $kind:ty,)+
    })+) => {
        $($(#[doc = $doc])+
        #[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[non_exhaustive]
        pub struct $name {
            $($(#[doc = $field_doc])+ $(#[serde($serde)])? pub $field: $kind,)+
        })+
    };
}

records! {
    /// A tender in a list.
    pub struct TenderRow {
        /// The tender's code.
        pub code: String,
        /// Its title.
        pub name: String,
        /// Its state.
        pub state: TenderState,
        /// When offers close.
        pub closes: Option<Timestamp>,
        /// The origin of the row.
        pub origin: Origin,
    }

    /// The details of a tender.
    pub struct Tender {
        /// The part that is in lists too.
        pub row: TenderRow,
        /// The description.
        pub description: String,
        /// The type of tender, if the source says it.
        pub kind: Option<TenderType>,
        /// The buyer.
        pub buyer: Option<Buyer>,
        /// The buyer's estimate, if it is public.
        pub estimated_amount: Option<Money>,
        /// What the estimate is based on.
        pub estimation: Option<Estimation>,
        /// When the buyer pays.
        pub payment: Option<PaymentTerm>,
        /// The duration of the contract.
        pub contract_duration: Option<(Decimal, TimeUnit)>,
        /// Whether the contract can be renewed.
        pub renewable: Option<bool>,
        /// Whether the supplier may have parts done by others.
        pub subcontracting: Option<bool>,
        /// Who answers for the payment; personal data.
        pub payment_contact: Option<Contact>,
        /// Who answers for the contract; personal data.
        pub contract_contact: Option<Contact>,
        /// When it was published.
        pub published: Option<Timestamp>,
        /// The other dates.
        pub dates: TenderDates,
        /// The decision; `None` while the tender is open, whatever the dates say.
        pub award: Option<Award>,
        /// The lines.
        pub items: Vec<LineItem>,
        /// All suppliers that made an offer, if the source names them (OCDS does, v1 does not).
        pub bidders: Vec<Supplier>,
        /// The documents that the source lists.
        pub documents: Vec<Document>,
        /// Other processes that it belongs to, as OCDS has them: the framework agreement of an order.
        pub related: Vec<RelatedProcess>,
    }

    /// A process that another one belongs to.
    pub struct RelatedProcess {
        /// The source's id of the relation.
        pub id: String,
        /// The code of the other process.
        pub identifier: Option<String>,
        /// Its title.
        pub title: Option<String>,
        /// The kinds of relation, in OCDS's words: `framework`, `prior`.
        pub relationships: Vec<String>,
    }

    /// The dates of a tender, as the source has them.
    pub struct TenderDates {
        /// When it was created.
        pub created: Option<Timestamp>,
        /// When the period for questions starts.
        pub questions_from: Option<Timestamp>,
        /// When the period for questions ends.
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

    /// The decision about a tender.
    pub struct Award {
        /// The kind of act.
        pub act: Option<AwardAct>,
        /// The act's number.
        pub number: Option<String>,
        /// The act's date.
        pub date: Option<Timestamp>,
        /// The source's number of bidders. One official text says that it counts awarded suppliers.
        pub bidders: Option<i64>,
        /// The web page of the act.
        pub page: Option<String>,
        /// The total amount, if the source has it.
        pub value: Option<Money>,
        /// The winners, if the source names them for the whole tender and not by line.
        pub suppliers: Vec<Supplier>,
    }

    /// A document that the source lists.
    pub struct Document {
        /// The source's id of the document.
        pub id: String,
        /// Its name.
        pub name: String,
        /// The URL, if the source has it.
        pub url: Option<String>,
    }

    /// A purchase order in a list.
    pub struct PurchaseOrderRow {
        /// The order's code.
        pub code: String,
        /// Its title.
        pub name: String,
        /// Its state.
        pub state: OrderState,
        /// The origin of the row.
        pub origin: Origin,
    }

    /// The details of a purchase order.
    pub struct PurchaseOrder {
        /// The part that is in lists too.
        pub row: PurchaseOrderRow,
        /// The description.
        pub description: String,
        /// The mechanism.
        pub kind: Option<OrderType>,
        /// The tender that led to it.
        pub tender_code: Option<String>,
        /// The buyer.
        pub buyer: Option<Buyer>,
        /// The supplier.
        pub supplier: Option<Supplier>,
        /// The total before taxes.
        pub net: Option<Money>,
        /// The taxes.
        pub taxes: Option<Money>,
        /// The rate of the value-added tax, in per cent.
        pub tax_percent: Option<Decimal>,
        /// The discounts.
        pub discounts: Option<Money>,
        /// The additional charges.
        pub charges: Option<Money>,
        /// The total, taxes included.
        pub total: Option<Money>,
        /// The payment term.
        pub payment: Option<OrderPayment>,
        /// The way of delivery.
        pub dispatch: Option<Dispatch>,
        /// When it was created.
        pub created: Option<Timestamp>,
        /// When it was sent.
        pub sent: Option<Timestamp>,
        /// When the supplier accepted it.
        pub accepted: Option<Timestamp>,
        /// When it was cancelled.
        pub cancelled: Option<Timestamp>,
        /// When it was last changed. This can be before it was sent.
        pub changed: Option<Timestamp>,
        /// The lines.
        pub items: Vec<LineItem>,
    }

    /// A quick purchase in a list.
    pub struct QuickPurchaseRow {
        /// The purchase's code.
        pub code: String,
        /// Its title.
        pub name: String,
        /// Its state. It may be out of date: still published after closing.
        pub state: QuickPurchaseState,
        /// When it was published.
        pub published: Option<Timestamp>,
        /// When offers close.
        pub closes: Option<Timestamp>,
        /// When it was last changed.
        pub changed: Option<Timestamp>,
        /// The call: 1 for small firms, 2 for all.
        pub call: Option<i64>,
        /// The budget.
        pub budget: Option<Money>,
        /// The budget in pesos, if the source has it.
        pub budget_in_pesos: Option<Money>,
        /// The buyer's name.
        pub buyer_name: Option<String>,
        /// The buyer's tax number.
        pub buyer_tax_number: Option<String>,
        /// The region's number, 1 to 16.
        pub region: Option<i64>,
        /// The number of offers.
        pub offers: Option<i64>,
        /// The origin of the row.
        pub origin: Origin,
    }

    /// The details of a quick purchase.
    pub struct QuickPurchase {
        /// The part that is in lists too.
        pub row: QuickPurchaseRow,
        /// The description.
        pub description: String,
        /// The buyer.
        pub buyer: Option<Buyer>,
        /// When the call to small firms closes.
        pub first_call_closes: Option<Timestamp>,
        /// When the call to all closes.
        pub second_call_closes: Option<Timestamp>,
        /// The delivery address.
        pub delivery_address: Option<String>,
        /// The days until delivery.
        pub delivery_days: Option<i64>,
        /// The resulting purchase order.
        pub order_code: Option<String>,
        /// The lines.
        pub items: Vec<LineItem>,
        /// The offers, if the source shows them.
        pub quotes: Vec<Quote>,
        /// The documents that the source lists.
        pub documents: Vec<Document>,
        /// Why it was cancelled, in the buyer's words.
        pub cancel_reason: Option<String>,
        /// Why no offer was accepted.
        pub deserted_reason: Option<String>,
        /// Why the supplier was chosen.
        pub choice_reason: Option<String>,
        /// Whether there are penalties.
        pub penalties: Option<bool>,
        /// Whether there are environmental requirements.
        pub environmental_requirements: Option<bool>,
        /// Whether there are social or economic requirements.
        pub social_requirements: Option<bool>,
    }

    /// An offer for a quick purchase.
    pub struct Quote {
        /// The supplier.
        pub supplier: Supplier,
        /// The description.
        pub description: Option<String>,
        /// The price before taxes.
        pub net: Option<Money>,
        /// The price with taxes.
        pub total: Option<Money>,
        /// Whether it was chosen.
        pub chosen: Option<bool>,
        /// When the offer was made.
        pub made: Option<Timestamp>,
        /// Until when it holds.
        pub valid_until: Option<Timestamp>,
        /// The taxes.
        pub taxes: Option<Money>,
        /// The price of the delivery.
        pub shipping: Option<Money>,
        /// Why the buyer did not admit it.
        pub inadmissible: Option<String>,
        /// The lines.
        pub items: Vec<LineItem>,
    }

    /// A line of a tender, an order or a quick purchase.
    pub struct LineItem {
        /// The line's number.
        pub number: Option<i64>,
        /// The product or service.
        pub name: String,
        /// The buyer's description.
        pub description: Option<String>,
        /// The supplier's description.
        pub supplier_description: Option<String>,
        /// The product's UNSPSC code.
        pub product_code: Option<String>,
        /// The category's code.
        pub category_code: Option<String>,
        /// The category: `level 1 / level 2 / level 3`.
        pub category: Option<String>,
        /// The quantity.
        pub quantity: Option<Decimal>,
        /// The unit of the quantity.
        pub unit: Option<String>,
        /// The price per unit, before taxes.
        pub unit_price: Option<Money>,
        /// The price of the line.
        pub total: Option<Money>,
        /// The award of the line.
        pub award: Option<LineAward>,
    }

    /// The award of a line of a tender.
    pub struct LineAward {
        /// The winner.
        pub supplier: Supplier,
        /// The quantity.
        pub quantity: Option<Decimal>,
        /// The price per unit.
        pub unit_price: Option<Money>,
    }

    /// A public buyer. Do not confuse its three codes: that of the body, that of the unit, and the prefix of its records'
    /// codes.
    pub struct Buyer {
        /// The source's code of the body.
        pub code: String,
        /// Its name.
        pub name: String,
        /// Its tax number, as the source writes it.
        pub tax_number: Option<String>,
        /// The code of the buying unit.
        pub unit_code: Option<String>,
        /// The name of the buying unit.
        pub unit_name: Option<String>,
        /// Its address.
        pub address: Option<String>,
        /// Its commune.
        pub commune: Option<String>,
        /// Its region, as the source names it.
        pub region: Option<String>,
        /// The contact person; personal data.
        pub contact: Option<Contact>,
        /// The origin of the record; `None` inside another record.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub origin: Option<Origin>,
    }

    /// A supplier.
    pub struct Supplier {
        /// The source's code of the company.
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
        /// The contact person; personal data.
        pub contact: Option<Contact>,
        /// The origin of the record; `None` inside another record.
        #[serde(skip_serializing_if = "Option::is_none")]
        pub origin: Option<Origin>,
    }

    /// A contact person. Personal data.
    pub struct Contact {
        /// The person's name.
        pub name: Option<String>,
        /// The person's role.
        pub role: Option<String>,
        /// The telephone number.
        pub telephone: Option<String>,
        /// The mail address.
        pub mail: Option<String>,
    }
}

macro_rules! constructors {
    ($($record:ident { $($field:ident: $type:ty),+ })+) => {
        $(impl $record {
            /// A record with the fields that every source has; the others are empty.
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
            /// Sets the origin of the row.
            pub fn with_origin(mut self, origin: Origin) -> Self {
                self.origin = origin;
                self
            }

            /// The parsed code.
            ///
            /// # Errors
            /// `invalid_request` if the source's code is not valid.
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
