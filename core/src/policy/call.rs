//! What the parts of a policy need to know about operations and their answers.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::cache::Keep;
use super::limit::Permit;
use super::observe::Observation;
use crate::chat::{AnyChat, ChatRequest, ChatResponse, ProviderData, ToolCall};
use crate::context::{Clock, Context};
use crate::embed::{AnyEmbedder, EmbedRequest, EmbedResponse};
use crate::error::Operation;
use crate::error::Result;
use crate::image::{AnyImageGenerator, GenerateRequest, ImageResponse, RefineRequest};
use crate::info::{Route, Usage};
use crate::procure::{
    Answer, AnyProcurement, Buyer, GetRequest, ListRequest, Listing, Plan, PlanRequest, PurchaseOrder,
    PurchaseOrderRow, QuickPurchase, QuickPurchaseRow, Supplier, Tender, TenderRow,
};

use super::governed::Handle;

/// One request, which can be sent to any handle of its capability, more than once if need be.
pub(super) trait Call: Send + Sync {
    type Handle: Handle;
    type Request: Serialize;
    type Reply: Reply;
    const OPERATION: Operation;
    /// Whether doing it twice costs no more than time.
    const REPEATABLE: bool = !matches!(Self::OPERATION, Operation::GenerateImage | Operation::RefineImage);

    fn request(&self) -> &Self::Request;

    /// Whether the same request may be given the same answer again.
    fn may_be_kept(&self) -> bool;

    fn send(&self, handle: &Self::Handle, cx: &Context) -> impl Future<Output = Result<Self::Reply>> + Send;
}

/// An answer that was kept.
pub(super) type Kept = Arc<dyn Any + Send + Sync>;

/// One answer, or a stream that has begun to answer.
pub(super) trait Reply: Send + Sized {
    fn route_mut(&mut self) -> &mut Route;

    /// Holds the right to be in flight for as long as the answer goes on arriving.
    fn hold(&mut self, permit: Permit) {
        drop(permit);
    }

    /// Ends the answer at `end` if it goes on arriving.
    fn end_by(&mut self, _clock: &Clock, _end: Instant) {}

    /// Keeps the answer, now or once it is complete.
    fn keep(&mut self, _keep: Keep) {}

    /// The answer that was kept.
    fn restore(_kept: Kept) -> Option<Self> {
        None
    }

    /// Tells that the answer is there, now or once it is complete.
    fn observe(&mut self, observation: Observation);
}

macro_rules! calls {
    ($($name:ident: $handle:ty, $operation:ident, $method:ident($request:ty) -> $reply:ty, kept: $kept:expr;)+) => {$(
        #[derive(Debug)]
        pub(super) struct $name(pub(super) $request);

        impl Call for $name {
            type Handle = $handle;
            type Request = $request;
            type Reply = $reply;
            const OPERATION: Operation = Operation::$operation;

            fn request(&self) -> &$request {
                &self.0
            }

            fn may_be_kept(&self) -> bool {
                let kept: fn(&$request) -> bool = $kept;
                kept(&self.0)
            }

            fn send(&self, handle: &$handle, cx: &Context) -> impl Future<Output = Result<$reply>> + Send {
                handle.$method(cx, self.0.clone())
            }
        }
    )+};
}

calls! {
    Embed: AnyEmbedder, Embed, embed(EmbedRequest) -> EmbedResponse, kept: |_| true;
    Chat: AnyChat, Chat, chat(ChatRequest) -> ChatResponse, kept: |_| true;
    Generate: AnyImageGenerator, GenerateImage, generate(GenerateRequest) -> ImageResponse,
        kept: |request| request.seed.is_some();
    Refine: AnyImageGenerator, RefineImage, refine(RefineRequest) -> ImageResponse,
        kept: |request| request.seed.is_some();
    Tenders: AnyProcurement, ListTenders, tenders(ListRequest) -> Listing<TenderRow>, kept: |_| false;
    OneTender: AnyProcurement, GetTender, tender(GetRequest) -> Answer<Tender>, kept: |_| false;
    PurchaseOrders: AnyProcurement, ListPurchaseOrders, purchase_orders(ListRequest) -> Listing<PurchaseOrderRow>,
        kept: |_| false;
    OnePurchaseOrder: AnyProcurement, GetPurchaseOrder, purchase_order(GetRequest) -> Answer<PurchaseOrder>,
        kept: |_| false;
    QuickPurchases: AnyProcurement, ListQuickPurchases, quick_purchases(ListRequest) -> Listing<QuickPurchaseRow>,
        kept: |_| false;
    OneQuickPurchase: AnyProcurement, GetQuickPurchase, quick_purchase(GetRequest) -> Answer<QuickPurchase>,
        kept: |_| false;
    Buyers: AnyProcurement, ListBuyers, buyers(ListRequest) -> Listing<Buyer>, kept: |_| false;
    PlanOf: AnyProcurement, PlanListing, plan(PlanRequest) -> Answer<Plan>, kept: |_| false;
    Suppliers: AnyProcurement, ListSuppliers, suppliers(ListRequest) -> Listing<Supplier>, kept: |_| false;
}

macro_rules! whole_replies {
    ($($reply:ty: $bytes:expr;)+) => {$(
        impl Reply for $reply {
            fn route_mut(&mut self) -> &mut Route {
                &mut self.route
            }

            fn keep(&mut self, keep: Keep) {
                let bytes: fn(&Self) -> usize = $bytes;
                keep.insert(bytes(self), || Arc::new(self.clone()));
            }

            fn restore(kept: Kept) -> Option<Self> {
                kept.downcast_ref::<Self>().cloned()
            }

            fn observe(&mut self, observation: Observation) {
                observation.succeed(&self.route, self.usage);
            }
        }
    )+};
}

whole_replies! {
    EmbedResponse: |reply| size_of_val(reply.vectors.as_flat()) + size_of_val(reply.truncated.as_slice());
    ChatResponse: |reply| {
        reply.text.len()
            + reply.reasoning.as_ref().map_or(0, String::len)
            + reply.tool_calls.iter().map(call_bytes).sum::<usize>()
            + reply.logprobs.iter().map(|token| token.token.len() * (1 + token.top.len()) + 32).sum::<usize>()
            + provider_bytes(&reply.provider_data)
    };
    ImageResponse: |reply| {
        reply.images.iter().map(|image| image.bytes().len()).sum::<usize>()
            + reply.revised_prompt.as_ref().map_or(0, String::len)
    };
}

/// Procurement records go out of date at the source's own pace, so a policy keeps none.
macro_rules! fresh_replies {
    ($($reply:ident)+) => {$(
        impl<T: Send> Reply for $reply<T> {
            fn route_mut(&mut self) -> &mut Route {
                &mut self.route
            }

            fn observe(&mut self, observation: Observation) {
                observation.succeed(&self.route, Usage::default());
            }
        }
    )+};
}

fresh_replies! { Listing Answer }

/// About how much memory a call of a tool takes.
pub(super) fn call_bytes(call: &ToolCall) -> usize {
    call.id.len() + call.name.len() + call.arguments.len() + provider_bytes(&call.provider_data) + 96
}

/// About how much memory provider data takes: its size as JSON.
pub(super) fn provider_bytes(data: &ProviderData) -> usize {
    if data.is_empty() { 0 } else { serde_json::to_vec(data).map_or(0, |json| json.len()) }
}
