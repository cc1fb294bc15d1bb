//! The wrapper that applies a policy, and the order of its layers.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::TryFutureExt;
use serde::Serialize;

use super::Policy;
use super::breaker::Breaker;
use super::cache::{AnswerCache, cached};
use super::call::{self, GovernedCall};
use super::fallback::{FallbackRules, fall_back, no_backend};
use super::limit::{RequestQueue, limit};
use super::metrics::{Metrics, Series};
use super::observe::{Observe, observe};
use super::retry::{Budget, Retrier, retry};
use super::stream::{OpenedStream, StreamChat};
use super::timeout::{Bounds, attempt_context, within};
use crate::chat::{AnyChat, ChatBackend, ChatRequest, ChatResponse, ChatStream};
use crate::context::{Context, PhaseTimeouts};
use crate::embed::{AnyEmbedder, EmbedRequest, EmbedResponse, EmbedRole, Embedder, EmbeddingSpace, Parity};
use crate::error::Operation;
use crate::error::Result;
use crate::image::{AnyImageGenerator, GenerateRequest, ImageGenerator, ImageResponse, RefineRequest};
use crate::info::{BackendInfo, Limits};
use crate::transport::Transport;

/// A handle that a policy can wrap.
pub(super) trait Handle: fmt::Debug + Send + Sync + 'static {
    const OPERATIONS: &'static [Operation];
    /// What two handles must have in common so that one can replace the other.
    type Space: Clone + fmt::Debug + Serialize + Send + Sync + 'static;

    fn info(&self) -> &BackendInfo;

    fn space(&self) -> Self::Space;
}

macro_rules! handles {
    ($($handle:ty: $space:ty = $of:expr, $($operation:ident)+;)+) => {
        $(impl Handle for $handle {
            const OPERATIONS: &'static [Operation] = &[$(Operation::$operation),+];
            type Space = $space;

            fn info(&self) -> &BackendInfo {
                <$handle>::info(self)
            }

            fn space(&self) -> $space {
                let of: fn(&Self) -> $space = $of;
                of(self)
            }
        })+
    };
}

handles! {
    AnyEmbedder: EmbeddingSpace = |embedder| embedder.space().clone(), Embed;
    AnyChat: () = |_| (), Chat ChatStream;
    AnyImageGenerator: () = |_| (), GenerateImage RefineImage;
}

/// A handle and its state under the policy.
#[derive(Debug)]
pub(super) struct GovernedHandle<H> {
    index: usize,
    handle: H,
    phases: PhaseTimeouts,
    budget: Budget,
    queue: Option<Arc<RequestQueue>>,
    /// Opens when the backend is skipped for a while.
    pub(super) breaker: Breaker,
    series: Vec<(Operation, Arc<Series>)>,
}

impl<H: Handle> GovernedHandle<H> {
    fn new(
        index: usize,
        handle: H,
        policy: &Policy,
        bounds: &Bounds,
        metrics: Option<&Metrics>,
    ) -> Result<Self> {
        let info = handle.info();
        let series = |metrics: &Metrics| {
            let of = |operation: &Operation| (*operation, metrics.series(info, *operation));
            H::OPERATIONS.iter().map(of).collect()
        };
        Ok(Self {
            index,
            phases: bounds.phases(info, H::OPERATIONS),
            budget: policy.retry.build_budget()?,
            queue: policy.limit.queue(info)?,
            breaker: Breaker::new(1, Duration::ZERO),
            series: metrics.map(series).unwrap_or_default(),
            handle,
        })
    }

    pub(super) fn info(&self) -> &BackendInfo {
        self.handle.info()
    }

    pub(super) fn series(&self, operation: Operation) -> Option<&Arc<Series>> {
        self.series.iter().find(|(own, _)| *own == operation).map(|(_, series)| series)
    }
}

/// A primary handle and its fallbacks under a policy.
pub(super) struct Governed<H: Handle> {
    pub(super) info: BackendInfo,
    space: H::Space,
    /// The primary first, then its fallbacks in order.
    handles: Vec<GovernedHandle<H>>,
    observe: Observe,
    cache: Option<AnswerCache>,
    fallback: FallbackRules,
    retrier: Retrier,
    max_queue: Option<Duration>,
    bounds: Bounds,
    /// The transport of calls whose context carries none.
    transport: Option<Arc<dyn Transport>>,
}

impl<H: Handle> Governed<H> {
    pub(super) fn new(policy: &Policy, primary: H, fallbacks: Vec<H>) -> Result<Self> {
        let handles = || std::iter::once(&primary).chain(&fallbacks);
        let info =
            primary.info().clone().with_limits(strictest(handles().map(|handle| &handle.info().limits)));
        let space = primary.space();
        let cache = policy.cache.as_ref().map(|cache| cache.build(&info, &space)).transpose()?;
        let fallback = policy.fallback.build(fallbacks.len())?;
        let (bounds, metrics) = (policy.timeout.build()?, policy.observe.build());
        let handles = std::iter::once(primary)
            .chain(fallbacks)
            .enumerate()
            .map(|(index, handle)| GovernedHandle::new(index, handle, policy, &bounds, metrics.as_ref()))
            .collect::<Result<Vec<_>>>()?;
        Ok(Self {
            info,
            space,
            handles,
            observe: policy.observe.clone(),
            cache,
            fallback,
            retrier: policy.retry.build()?,
            max_queue: policy.limit.max_queue()?,
            bounds,
            transport: policy.transport().cloned(),
        })
    }

    #[cfg(test)]
    pub(super) fn cache(&self) -> Option<&AnswerCache> {
        self.cache.as_ref()
    }

    pub(super) fn primary(&self) -> Result<&H> {
        self.handles.first().map(|governed| &governed.handle).ok_or_else(no_backend)
    }

    /// The smallest of the windows that are known: what fits into it fits whoever answers.
    fn smallest(&self, window: impl Fn(&H) -> Option<usize>) -> Option<usize> {
        self.handles.iter().filter_map(|governed| window(&governed.handle)).min()
    }

    /// Waits until calls can be served: by the primary, or by a fallback where the primary fails in a way after which
    /// calls move on too.
    async fn ready_with<'a, F: Future<Output = Result<()>>>(
        &'a self,
        ready: impl Fn(&'a H) -> F,
    ) -> Result<()> {
        let mut outcome = Ok(());
        for governed in &self.handles {
            outcome = ready(&governed.handle).await;
            match &outcome {
                Err(error) if self.fallback.moves_on_after(error.kind()) => {}
                _ => break,
            }
        }
        outcome
    }

    /// observe → cache → fallback(handles) → retry → limit → time-out(per attempt) → backend.
    pub(super) async fn run<C: GovernedCall<Handle = H>>(&self, cx: &Context, call: C) -> Result<C::Reply> {
        let (operation, call) = (C::OPERATION, &call);
        let bounded = self.bounds.whole_call(cx);
        let cx = bounded.as_ref().unwrap_or(cx);
        let last = &AtomicUsize::new(0);
        let last_series = || self.handles.get(last.load(Ordering::Relaxed))?.series(operation).cloned();
        let transport = self.transport.as_ref();

        observe(&self.observe, operation, &self.info, cx.clock(), last_series, || {
            cached(self.cache.as_ref(), cx, call, || {
                fall_back(&self.fallback, &self.handles, cx, operation, |governed| {
                    last.store(governed.index, Ordering::Relaxed);
                    let series = governed.series(operation).map(|series| &**series);
                    let GovernedHandle { handle, phases, budget, queue, .. } = governed;
                    retry(&self.retrier, budget, series, cx, C::REPEATABLE, move |attempt| async move {
                        let cx = &attempt_context(cx, attempt, *phases, transport);
                        limit(queue.as_ref(), self.max_queue, cx, || {
                            within(self.bounds.attempt(operation), cx, || call.send(handle, cx))
                        })
                        .await
                    })
                })
            })
        })
        .await
    }
}

/// The limits that all of them can keep.
fn strictest<'a>(all: impl Iterator<Item = &'a Limits> + Clone) -> Limits {
    Limits {
        max_batch: all.clone().filter_map(|limits| limits.max_batch).min(),
        max_concurrency: all.clone().filter_map(|limits| limits.max_concurrency).min(),
        max_images: all.filter_map(|limits| limits.max_images).min(),
    }
}

impl<H: Handle> fmt::Debug for Governed<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.handles.iter().map(|governed| &governed.handle)).finish()
    }
}

// The methods return `run`'s future instead of awaiting it, so that a request and its answer are moved less often.

#[deny(clippy::missing_trait_methods)]
impl Embedder for Governed<AnyEmbedder> {
    /// The primary's own where the fallbacks leave its limits as they are: a local model knows all of it only once it is
    /// loaded.
    fn info(&self) -> &BackendInfo {
        let primary = self.handles.first().map(|primary| primary.handle.info());
        primary.filter(|info| info.limits == self.info.limits).unwrap_or(&self.info)
    }

    /// The primary's own space: a local model knows all of it only once it is loaded.
    fn space(&self) -> &EmbeddingSpace {
        self.handles.first().map_or(&self.space, |primary| primary.handle.space())
    }

    fn embed(
        &self,
        cx: &Context,
        request: EmbedRequest,
    ) -> impl Future<Output = Result<EmbedResponse>> + Send {
        self.run(cx, call::Embed(request))
    }

    async fn ready(&self, cx: &Context) -> Result<()> {
        let cx = &cx.clone().with_default_transport(self.transport.as_ref());
        self.ready_with(|embedder| embedder.ready(cx)).await
    }

    fn window(&self) -> Option<usize> {
        self.smallest(AnyEmbedder::window)
    }

    fn count_tokens(&self, role: Option<EmbedRole>, text: &str) -> Result<usize> {
        self.primary()?.count_tokens(role, text)
    }

    fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        self.primary()?.tokens(text)
    }

    fn text_of_tokens(&self, tokens: &[u32]) -> Result<String> {
        self.primary()?.text_of_tokens(tokens)
    }

    async fn verify(&self, cx: &Context) -> Result<Parity> {
        let cx = &cx.clone().with_default_transport(self.transport.as_ref());
        self.primary()?.verify(cx).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl ChatBackend for Governed<AnyChat> {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn chat(&self, cx: &Context, request: ChatRequest) -> impl Future<Output = Result<ChatResponse>> + Send {
        self.run(cx, call::Chat(request))
    }

    fn stream(&self, cx: &Context, request: ChatRequest) -> impl Future<Output = Result<ChatStream>> + Send {
        self.run(cx, StreamChat(request)).map_ok(OpenedStream::into_stream)
    }

    async fn ready(&self, cx: &Context) -> Result<()> {
        let cx = &cx.clone().with_default_transport(self.transport.as_ref());
        self.ready_with(|chat| chat.ready(cx)).await
    }

    fn window(&self) -> Option<usize> {
        self.smallest(AnyChat::window)
    }

    fn count_tokens(&self, request: &ChatRequest) -> Result<usize> {
        self.primary()?.count_tokens(request)
    }
}

#[deny(clippy::missing_trait_methods)]
impl ImageGenerator for Governed<AnyImageGenerator> {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn generate(
        &self,
        cx: &Context,
        request: GenerateRequest,
    ) -> impl Future<Output = Result<ImageResponse>> + Send {
        self.run(cx, call::Generate(request))
    }

    fn refine(
        &self,
        cx: &Context,
        request: RefineRequest,
    ) -> impl Future<Output = Result<ImageResponse>> + Send {
        self.run(cx, call::Refine(request))
    }

    async fn ready(&self, cx: &Context) -> Result<()> {
        let cx = &cx.clone().with_default_transport(self.transport.as_ref());
        self.ready_with(|generator| generator.ready(cx)).await
    }
}
