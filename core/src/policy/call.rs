//! Requests and answers as the layers of a policy see them.

use std::any::Any;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use super::cache::CacheSlot;
use super::limit::Permit;
use super::observe::Observation;
use crate::chat::{AnyChat, ChatRequest, ChatResponse, ProviderData, ToolCall};
use crate::context::{Clock, Context};
use crate::embed::{AnyEmbedder, EmbedRequest, EmbedResponse};
use crate::error::Operation;
use crate::error::Result;
use crate::image::{AnyImageGenerator, GenerateRequest, ImageResponse, RefineRequest};
use crate::info::Route;

use super::governed::Handle;

/// One request, which can be sent to any handle of its capability, and more than once.
pub(super) trait GovernedCall: Send + Sync {
    type Handle: Handle;
    type Request: Serialize;
    type Reply: GovernedReply;
    const OPERATION: Operation;
    /// Whether the work may be done twice, because that costs nothing but time.
    const REPEATABLE: bool = !matches!(Self::OPERATION, Operation::GenerateImage | Operation::RefineImage);

    fn request(&self) -> &Self::Request;

    /// Whether the same request may get the same answer again.
    fn may_be_cached(&self) -> bool;

    fn send(&self, handle: &Self::Handle, cx: &Context) -> impl Future<Output = Result<Self::Reply>> + Send;
}

/// An answer in the cache.
pub(super) type StoredAnswer = Arc<dyn Any + Send + Sync>;

/// One answer, or a stream that has begun to answer.
pub(super) trait GovernedReply: Send + Sized {
    fn route_mut(&mut self) -> &mut Route;

    /// Holds the permit until the whole answer has arrived.
    fn hold_permit(&mut self, permit: Permit) {
        drop(permit);
    }

    /// Ends the answer at `end` if it is still arriving then.
    fn end_by(&mut self, _clock: &Clock, _end: Instant) {}

    /// Stores the answer, now or once it is complete.
    fn store_in(&mut self, _slot: CacheSlot) {}

    /// The answer from the cache.
    fn restore(_stored: StoredAnswer) -> Option<Self> {
        None
    }

    /// Records that the answer has arrived, now or once it is complete.
    fn observe(&mut self, observation: Observation);
}

macro_rules! calls {
    ($($name:ident: $handle:ty, $operation:ident, $method:ident($request:ty) -> $reply:ty, cached: $cached:expr;)+) => {$(
        #[derive(Debug)]
        pub(super) struct $name(pub(super) $request);

        impl GovernedCall for $name {
            type Handle = $handle;
            type Request = $request;
            type Reply = $reply;
            const OPERATION: Operation = Operation::$operation;

            fn request(&self) -> &$request {
                &self.0
            }

            fn may_be_cached(&self) -> bool {
                let cached: fn(&$request) -> bool = $cached;
                cached(&self.0)
            }

            fn send(&self, handle: &$handle, cx: &Context) -> impl Future<Output = Result<$reply>> + Send {
                handle.$method(cx, self.0.clone())
            }
        }
    )+};
}

#[cfg(feature = "procurement")]
pub(super) use calls;

calls! {
    Embed: AnyEmbedder, Embed, embed(EmbedRequest) -> EmbedResponse, cached: |_| true;
    Chat: AnyChat, Chat, chat(ChatRequest) -> ChatResponse, cached: |_| true;
    Generate: AnyImageGenerator, GenerateImage, generate(GenerateRequest) -> ImageResponse,
        cached: |request| request.seed.is_some();
    Refine: AnyImageGenerator, RefineImage, refine(RefineRequest) -> ImageResponse,
        cached: |request| request.seed.is_some();
}

macro_rules! whole_replies {
    ($($reply:ty: $bytes:expr;)+) => {$(
        impl GovernedReply for $reply {
            fn route_mut(&mut self) -> &mut Route {
                &mut self.route
            }

            fn store_in(&mut self, slot: CacheSlot) {
                let bytes: fn(&Self) -> usize = $bytes;
                slot.insert(bytes(self), || Arc::new(self.clone()));
            }

            fn restore(stored: StoredAnswer) -> Option<Self> {
                stored.downcast_ref::<Self>().cloned()
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
            + reply.parts.iter().map(json_bytes).sum::<usize>()
            + reply.annotations.iter().map(json_bytes).sum::<usize>()
            + reply.metadata.bytes()
            + reply.alternatives.iter().map(json_bytes).sum::<usize>()
    };
    ImageResponse: |reply| {
        reply.images.iter().map(|image| image.bytes().len()).sum::<usize>()
            + reply.revised_prompt.as_ref().map_or(0, String::len)
    };
}

/// The approximate memory of a tool call.
pub(super) fn call_bytes(call: &ToolCall) -> usize {
    call.id.len() + call.name.len() + call.arguments.len() + provider_bytes(&call.provider_data) + 96
}

/// The approximate memory of a part or an annotation: its size as JSON.
pub(super) fn json_bytes(value: &impl serde::Serialize) -> usize {
    serde_json::to_vec(value).map_or(0, |json| json.len())
}

/// The approximate memory of provider data: its size as JSON.
pub(super) fn provider_bytes(data: &ProviderData) -> usize {
    if data.is_empty() { 0 } else { serde_json::to_vec(data).map_or(0, |json| json.len()) }
}
