//! The handle that users hold.

use std::fmt;
use std::sync::Arc;

use futures_util::TryFutureExt;

use super::{ChatBackend, ChatRequest, ChatResponse, ChatStream, Content};
use crate::context::{BoxFuture, Context};
use crate::error::{Operation, Result};
use crate::info::BackendInfo;

/// Any chat backend: the handle that users hold. Cheap to clone; clones share the backend.
///
/// Its errors name backend and operation, those inside a stream too.
#[derive(Clone, Debug)]
pub struct AnyChat(Arc<dyn DynChat>);

impl AnyChat {
    /// A handle on `chat`.
    pub fn new(chat: impl ChatBackend) -> Self {
        Self(Arc::new(chat))
    }

    /// Who the backend is.
    pub fn info(&self) -> &BackendInfo {
        self.0.info()
    }

    /// Answers in one piece.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn chat(&self, cx: &Context, request: ChatRequest) -> Result<ChatResponse> {
        self.0.chat(cx, request).await
    }

    /// Answers in a stream of events.
    ///
    /// # Errors
    /// Those of the backend; failures after the first event come through the stream.
    pub async fn stream(&self, cx: &Context, request: ChatRequest) -> Result<ChatStream> {
        self.0.stream(cx, request).await
    }

    /// Asks one question and gives the answer's text.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn ask(&self, cx: &Context, question: impl Into<Content>) -> Result<String> {
        Ok(self.chat(cx, ChatRequest::user(question)).await?.text)
    }

    /// Waits until a local model is loaded; see [`ChatBackend::ready`].
    ///
    /// # Errors
    /// Those of loading.
    pub async fn ready(&self, cx: &Context) -> Result<()> {
        self.0.ready(cx).await
    }

    /// The most tokens of a conversation and its answer, if known; see [`ChatBackend::window`].
    pub fn window(&self) -> Option<usize> {
        self.0.window()
    }

    /// How many tokens a conversation has; see [`ChatBackend::count_tokens`].
    ///
    /// # Errors
    /// `unsupported` where nobody here knows the model's tokens; `conflict` before a local model is ready.
    pub fn count_tokens(&self, request: &ChatRequest) -> Result<usize> {
        self.0.count_tokens(request)
    }
}

#[deny(clippy::missing_trait_methods)]
impl ChatBackend for AnyChat {
    fn info(&self) -> &BackendInfo {
        self.0.info()
    }

    async fn chat(&self, cx: &Context, request: ChatRequest) -> Result<ChatResponse> {
        self.0.chat(cx, request).await
    }

    async fn stream(&self, cx: &Context, request: ChatRequest) -> Result<ChatStream> {
        self.0.stream(cx, request).await
    }

    async fn ready(&self, cx: &Context) -> Result<()> {
        self.0.ready(cx).await
    }

    fn window(&self) -> Option<usize> {
        self.0.window()
    }

    fn count_tokens(&self, request: &ChatRequest) -> Result<usize> {
        self.0.count_tokens(request)
    }
}

/// [`ChatBackend`] in the form that can be a trait object.
trait DynChat: Send + Sync + fmt::Debug {
    fn info(&self) -> &BackendInfo;
    fn chat<'a>(&'a self, cx: &'a Context, request: ChatRequest) -> BoxFuture<'a, Result<ChatResponse>>;
    fn stream<'a>(&'a self, cx: &'a Context, request: ChatRequest) -> BoxFuture<'a, Result<ChatStream>>;
    fn ready<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<()>>;
    fn window(&self) -> Option<usize>;
    fn count_tokens(&self, request: &ChatRequest) -> Result<usize>;
}

/// Names backend and operation on every error, so that no backend has to.
impl<T: ChatBackend> DynChat for T {
    fn info(&self) -> &BackendInfo {
        ChatBackend::info(self)
    }

    fn chat<'a>(&'a self, cx: &'a Context, request: ChatRequest) -> BoxFuture<'a, Result<ChatResponse>> {
        Box::pin(ChatBackend::chat(self, cx, request).map_err(ChatBackend::info(self).tag(Operation::Chat)))
    }

    fn stream<'a>(&'a self, cx: &'a Context, request: ChatRequest) -> BoxFuture<'a, Result<ChatStream>> {
        let info = ChatBackend::info(self);
        let opened = ChatBackend::stream(self, cx, request).map_err(info.tag(Operation::ChatStream));
        Box::pin(opened.map_ok(|stream| stream.of_backend(&info.backend)))
    }

    fn ready<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<()>> {
        Box::pin(ChatBackend::ready(self, cx).map_err(ChatBackend::info(self).tag(Operation::Chat)))
    }

    fn window(&self) -> Option<usize> {
        ChatBackend::window(self)
    }

    fn count_tokens(&self, request: &ChatRequest) -> Result<usize> {
        ChatBackend::count_tokens(self, request).map_err(ChatBackend::info(self).tag(Operation::Chat))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{StreamExt, stream};

    use super::*;
    use crate::chat::ChatEvent;
    use crate::error::{Error, ErrorKind};

    /// Answers nothing, and streams a word before it fails or simply stops.
    #[derive(Debug)]
    struct Careless {
        info: BackendInfo,
        stops: bool,
    }

    impl ChatBackend for Careless {
        fn info(&self) -> &BackendInfo {
            &self.info
        }

        async fn chat(&self, _: &Context, _: ChatRequest) -> Result<ChatResponse> {
            Err(Error::response_invalid("nothing"))
        }

        async fn stream(&self, _: &Context, _: ChatRequest) -> Result<ChatStream> {
            let end = (!self.stops).then(|| Err(Error::new(ErrorKind::Unavailable, "gone")));
            Ok(ChatStream::new(stream::iter([Ok(ChatEvent::Text("ho".to_owned()))].into_iter().chain(end))))
        }
    }

    fn chat(stops: bool) -> AnyChat {
        AnyChat::new(Careless { info: BackendInfo::new("careless", "m"), stops })
    }

    #[tokio::test]
    async fn every_error_names_backend_and_operation_those_of_a_stream_too() {
        let (cx, request) = (Context::new(), ChatRequest::user("hola"));
        let error = chat(true).chat(&cx, request.clone()).await.expect_err("nothing");
        assert_eq!((error.backend(), error.operation()), (Some("careless"), Some(Operation::Chat)));
        for (stops, kind) in [(false, ErrorKind::Unavailable), (true, ErrorKind::Interrupted)] {
            let events = chat(stops).stream(&cx, request.clone()).await.expect("a stream");
            let events: Vec<_> = events.collect().await;
            let error = events.last().expect("an end").as_ref().expect_err("a failure");
            assert_eq!((error.kind(), error.partial_text()), (kind, Some("ho")));
            assert_eq!((error.backend(), error.operation()), (Some("careless"), Some(Operation::ChatStream)));
        }
    }

    #[tokio::test]
    async fn a_hosted_backend_has_nothing_to_load_and_knows_no_tokens() {
        chat(true).ready(&Context::new()).await.expect("ready");
        assert_eq!(chat(true).window(), None);
        let error = chat(true).count_tokens(&ChatRequest::user("hola")).expect_err("unknown");
        assert_eq!((error.kind(), error.backend()), (ErrorKind::Unsupported, Some("careless")));
    }
}
