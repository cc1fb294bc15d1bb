//! A policy around procurement clients.

use std::future::Future;

use super::Policy;
use super::call::{GovernedCall, GovernedReply, calls};
use super::governed::{Governed, Handle};
use super::observe::Observation;
use crate::context::Context;
use crate::error::{Operation, Result};
use crate::info::{BackendInfo, Route, Usage};
use crate::procure::{
    Answer, AnyProcurement, Buyer, GetRequest, ListRequest, Listing, Plan, PlanRequest, ProcurementClient,
    PurchaseOrder, PurchaseOrderRow, QuickPurchase, QuickPurchaseRow, SourceInfo, Supplier, Tender,
    TenderRow,
};

impl Policy {
    /// Applies the policy to a procurement client and its fallbacks.
    ///
    /// # Errors
    /// `config_invalid` for an invalid value in the policy.
    pub fn procurement(
        &self,
        primary: AnyProcurement,
        fallbacks: Vec<AnyProcurement>,
    ) -> Result<AnyProcurement> {
        Ok(AnyProcurement::new(Governed::new(self, primary, fallbacks)?))
    }
}

/// Procurement records change at the source, so a policy caches none.
macro_rules! replies {
    ($($reply:ident)+) => {$(
        impl<T: Send> GovernedReply for $reply<T> {
            fn route_mut(&mut self) -> &mut Route {
                &mut self.route
            }

            fn observe(&mut self, observation: Observation) {
                observation.succeed(&self.route, Usage::default());
            }
        }
    )+};
}

replies! { Listing Answer }

/// The trait's operations, each as a call that a policy can send more than once.
macro_rules! operations {
    ($($method:ident($request:ident) -> $reply:ty, $operation:ident;)+) => {
        calls! {
            $($operation: AnyProcurement, $operation, $method($request) -> $reply, cached: |_| false;)+
        }

        impl Handle for AnyProcurement {
            const OPERATIONS: &'static [Operation] = &[$(Operation::$operation),+];
            type Space = ();

            fn info(&self) -> &BackendInfo {
                Self::info(self)
            }

            fn space(&self) {}
        }

        #[deny(clippy::missing_trait_methods)]
        impl ProcurementClient for Governed<AnyProcurement> {
            fn info(&self) -> &BackendInfo {
                &self.info
            }

            fn sources(&self) -> &[SourceInfo] {
                self.primary().map_or(&[], AnyProcurement::sources)
            }

            $(fn $method(
                &self,
                cx: &Context,
                request: $request,
            ) -> impl Future<Output = Result<$reply>> + Send {
                self.run(cx, $operation(request))
            })+
        }
    };
}

operations! {
    tenders(ListRequest) -> Listing<TenderRow>, ListTenders;
    tender(GetRequest) -> Answer<Tender>, GetTender;
    purchase_orders(ListRequest) -> Listing<PurchaseOrderRow>, ListPurchaseOrders;
    purchase_order(GetRequest) -> Answer<PurchaseOrder>, GetPurchaseOrder;
    quick_purchases(ListRequest) -> Listing<QuickPurchaseRow>, ListQuickPurchases;
    quick_purchase(GetRequest) -> Answer<QuickPurchase>, GetQuickPurchase;
    buyers(ListRequest) -> Listing<Buyer>, ListBuyers;
    suppliers(ListRequest) -> Listing<Supplier>, ListSuppliers;
    plan(PlanRequest) -> Answer<Plan>, PlanListing;
}
