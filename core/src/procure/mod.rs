//! Public procurement: tenders, purchase orders, quick purchases, buyers and suppliers. Read-only.
//!
//! ```
//! use ayni::backends::scripted::Scripted;
//! use ayni::Context;
//! use ayni::procure::{AnyProcurement, ListRequest};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let procurement = AnyProcurement::new(Scripted::default());
//! let tenders = procurement.tenders(&Context::new(), ListRequest::new().with_text("ambulancia")).await?;
//! assert_eq!(tenders.rows.len(), 1);
//! assert_eq!(tenders.source.as_str(), "scripted");
//! # Ok::<_, ayni::Error>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::TryFutureExt;

use crate::context::{BoxFuture, Context};
use crate::error::{Operation, Result};
use crate::info::BackendInfo;

/// Builder methods that set one field each: to the value, to `into` of it, or to `some` of either.
macro_rules! setters {
    () => {};
    ($(#[doc = $doc:literal])+ $name:ident: $field:ident = some into $kind:ty; $($rest:tt)*) => {
        $crate::procure::setters!(@ [$($doc)+] $name, $field, impl Into<$kind>, |value| Some(value.into()));
        $crate::procure::setters! { $($rest)* }
    };
    ($(#[doc = $doc:literal])+ $name:ident: $field:ident = into $kind:ty; $($rest:tt)*) => {
        $crate::procure::setters!(@ [$($doc)+] $name, $field, impl Into<$kind>, |value| value.into());
        $crate::procure::setters! { $($rest)* }
    };
    ($(#[doc = $doc:literal])+ $name:ident: $field:ident = some $kind:ty; $($rest:tt)*) => {
        $crate::procure::setters!(@ [$($doc)+] $name, $field, $kind, |value| Some(value));
        $crate::procure::setters! { $($rest)* }
    };
    ($(#[doc = $doc:literal])+ $name:ident: $field:ident = $kind:ty; $($rest:tt)*) => {
        $crate::procure::setters!(@ [$($doc)+] $name, $field, $kind, |value| value);
        $crate::procure::setters! { $($rest)* }
    };
    (@ [$($doc:literal)+] $name:ident, $field:ident, $kind:ty, |$value:ident| $new:expr) => {
        $(#[doc = $doc])+
        pub fn $name(mut self, $value: $kind) -> Self {
            self.$field = $new;
            self
        }
    };
}
pub(crate) use setters;

/// The names of an enum's variants.
macro_rules! names {
    ($kind:ident { $($variant:ident = $name:literal),+ }) => {
        impl $kind {
            /// The name, as JSON has it too.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name),+ }
            }

            /// Reads a name.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use names;

pub mod analysis;
mod change;
mod chilean;
mod code;
mod date;
pub mod export;
pub(crate) mod json;
mod money;
mod month;
mod plan;
pub mod rates;
mod raw;
mod record;
mod request;
mod rut;
#[cfg(feature = "schema")]
mod schema;
pub(crate) mod search_words;
pub mod similar;
mod source;
pub mod store;
pub(crate) mod tables;
mod tender;
mod text;
pub(crate) mod time;

pub use change::{Change, ChangeEvent};
pub use code::{OrderCode, QuickPurchaseCode, TenderCode};
pub use date::Date;
pub use money::{Currency, Decimal, Money};
pub use month::Month;
pub use plan::{CallCount, Completeness, DayReport, Plan};
pub use raw::Raw;
pub use record::{
    Answer, Award, Buyer, Contact, Document, LineAward, LineItem, Listing, Origin, PurchaseOrder,
    PurchaseOrderRow, QuickPurchase, QuickPurchaseRow, Quote, RelatedProcess, Source, Supplier, Tender,
    TenderDates, TenderRow,
};
pub use request::{GetRequest, ListRequest, PlanRequest, Sorting};
pub use rut::Rut;
pub use source::SourceInfo;
pub use tables::{
    AwardAct, Dispatch, Estimation, OrderPayment, OrderState, OrderType, PaymentTerm, QuickPurchaseState,
    Region, TenderState, TenderType, TimeUnit,
};
pub use time::{Reading, Timestamp, ZoneMark};

/// The trait, its handle and its private twin, from one table of operations.
macro_rules! client {
    ($($(#[doc = $doc:literal])+ $method:ident($request:ty) -> $response:ty = $operation:ident;)+) => {
        /// Reads public-procurement records.
        ///
        /// Contract:
        /// - list rows and details are different types, because the sources have different facts for them;
        /// - amounts are exact decimals with their currency, never converted;
        /// - every answer names its source and the time as of which it is valid;
        /// - `not_found` only when the source itself says that the record does not exist;
        /// - an operation that the source does not offer is `unsupported`;
        /// - the ticket is in no log, error, stored key or record, nor in a URL that others can see;
        /// - no retries and no sleeps, unless the source demands them: a backend that waits for a lock or retries a call
        ///   ends with an error that the policy does not retry again.
        pub trait ProcurementClient: Send + Sync + fmt::Debug + 'static {
            /// Who the backend is.
            fn info(&self) -> &BackendInfo;

            /// What each of the backend's sources can do by itself.
            fn sources(&self) -> &[SourceInfo] {
                &[]
            }

            $($(#[doc = $doc])+
            fn $method(&self, cx: &Context, request: $request) -> impl Future<Output = Result<$response>> + Send;)+
        }

        /// Any procurement client: the handle that users hold. Cheap to clone; clones share the backend.
        #[derive(Clone, Debug)]
        pub struct AnyProcurement(Arc<dyn DynProcurement>);

        impl AnyProcurement {
            /// A handle on `client`.
            pub fn new(client: impl ProcurementClient) -> Self {
                Self(Arc::new(client))
            }

            /// Who the backend is.
            pub fn info(&self) -> &BackendInfo {
                self.0.info()
            }

            /// What each of the backend's sources can do by itself.
            pub fn sources(&self) -> &[SourceInfo] {
                self.0.sources()
            }

            $($(#[doc = $doc])+
            ///
            /// # Errors
            /// Those of the backend.
            pub async fn $method(&self, cx: &Context, request: $request) -> Result<$response> {
                self.0.$method(cx, request).await
            })+
        }

        #[deny(clippy::missing_trait_methods)]
        impl ProcurementClient for AnyProcurement {
            fn info(&self) -> &BackendInfo {
                self.0.info()
            }

            fn sources(&self) -> &[SourceInfo] {
                self.0.sources()
            }

            $(async fn $method(&self, cx: &Context, request: $request) -> Result<$response> {
                self.0.$method(cx, request).await
            })+
        }

        /// [`ProcurementClient`] in the form that can be a trait object.
        trait DynProcurement: Send + Sync + fmt::Debug {
            fn info(&self) -> &BackendInfo;
            fn sources(&self) -> &[SourceInfo];
            $(fn $method<'a>(&'a self, cx: &'a Context, request: $request) -> BoxFuture<'a, Result<$response>>;)+
        }

        /// Names backend and operation on every error, so that no backend has to.
        impl<T: ProcurementClient> DynProcurement for T {
            fn info(&self) -> &BackendInfo {
                ProcurementClient::info(self)
            }

            fn sources(&self) -> &[SourceInfo] {
                ProcurementClient::sources(self)
            }

            $(fn $method<'a>(&'a self, cx: &'a Context, request: $request) -> BoxFuture<'a, Result<$response>> {
                let tag = ProcurementClient::info(self).tag(Operation::$operation);
                Box::pin(ProcurementClient::$method(self, cx, request).map_err(tag))
            })+
        }
    };
}

client! {
    /// Lists tenders.
    tenders(ListRequest) -> Listing<TenderRow> = ListTenders;
    /// Reads one tender.
    tender(GetRequest) -> Answer<Tender> = GetTender;
    /// Lists purchase orders.
    purchase_orders(ListRequest) -> Listing<PurchaseOrderRow> = ListPurchaseOrders;
    /// Reads one purchase order.
    purchase_order(GetRequest) -> Answer<PurchaseOrder> = GetPurchaseOrder;
    /// Lists quick purchases (Compra Ágil).
    quick_purchases(ListRequest) -> Listing<QuickPurchaseRow> = ListQuickPurchases;
    /// Reads one quick purchase.
    quick_purchase(GetRequest) -> Answer<QuickPurchase> = GetQuickPurchase;
    /// Lists public buyers.
    buyers(ListRequest) -> Listing<Buyer> = ListBuyers;
    /// Finds suppliers.
    suppliers(ListRequest) -> Listing<Supplier> = ListSuppliers;
    /// Tells what a listing costs. Nothing is sent to the source.
    plan(PlanRequest) -> Answer<Plan> = PlanListing;
}
