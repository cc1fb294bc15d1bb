//! What handles say of a model in this process passes through a policy.

use super::*;
use crate::{Cancellation, EmbedRole};

/// A model that is loaded or fails to load, and counts letters.
#[derive(Clone, Debug)]
struct Model {
    info: BackendInfo,
    space: EmbeddingSpace,
    failure: Option<ErrorKind>,
    window: Option<usize>,
}

impl Model {
    fn new(window: impl Into<Option<usize>>) -> Self {
        let space = EmbeddingSpace::new("m").with_dimensions(2);
        Self { info: BackendInfo::new("model", "m"), space, failure: None, window: window.into() }
    }

    fn failing(kind: ErrorKind) -> Self {
        Self { failure: Some(kind), ..Self::new(7) }
    }

    fn load(&self, cx: &Context) -> Result<()> {
        cx.check()?;
        self.failure.map_or(Ok(()), |kind| Err(Error::new(kind, "the weights are damaged")))
    }
}

impl Embedder for Model {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    async fn embed(&self, _: &Context, _: EmbedRequest) -> Result<EmbedResponse> {
        Err(Error::unsupported("this model only counts"))
    }

    async fn ready(&self, cx: &Context) -> Result<()> {
        self.load(cx)
    }

    fn window(&self) -> Option<usize> {
        self.window
    }

    fn count_tokens(&self, role: Option<EmbedRole>, text: &str) -> Result<usize> {
        Ok(text.len() + usize::from(role.is_some()))
    }

    fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        Ok(text.bytes().map(u32::from).collect())
    }

    fn text_of_tokens(&self, tokens: &[u32]) -> Result<String> {
        Ok(tokens.iter().filter_map(|token| char::from_u32(*token)).collect())
    }

    async fn verify(&self, cx: &Context) -> Result<crate::embed::Parity> {
        self.load(cx)?;
        Err(Error::unsupported("this model only counts"))
    }
}

impl ChatBackend for Model {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn chat(&self, _: &Context, _: ChatRequest) -> Result<ChatResponse> {
        Err(Error::unsupported("this model only counts"))
    }

    async fn stream(&self, _: &Context, _: ChatRequest) -> Result<ChatStream> {
        Err(Error::unsupported("this model only counts"))
    }

    async fn ready(&self, cx: &Context) -> Result<()> {
        self.load(cx)
    }

    fn window(&self) -> Option<usize> {
        self.window
    }

    fn count_tokens(&self, request: &ChatRequest) -> Result<usize> {
        Ok(request.messages.iter().map(|message| message.content.to_text().len()).sum())
    }
}

fn embedder(models: impl IntoIterator<Item = Model>) -> AnyEmbedder {
    let mut handles = models.into_iter().map(|model| AnyEmbedder::new(Arc::new(model)));
    let primary = handles.next().expect("a primary");
    Policy::default().embedder(primary, handles.collect()).expect("valid")
}

fn chat(models: impl IntoIterator<Item = Model>) -> AnyChat {
    let mut handles = models.into_iter().map(AnyChat::new);
    let primary = handles.next().expect("a primary");
    Policy::default().chat(primary, handles.collect()).expect("valid")
}

#[tokio::test]
async fn window_and_count_are_the_models_own() {
    assert_eq!(embedder([Model::new(7)]).count_tokens(Some(EmbedRole::Query), "hola").expect("a count"), 5);
    assert_eq!(chat([Model::new(7)]).count_tokens(&ChatRequest::user("hola")).expect("a count"), 4);
    assert_eq!((embedder([Model::new(7)]).window(), chat([Model::new(7)]).window()), (Some(7), Some(7)));
}

#[tokio::test]
async fn the_primary_is_verified() {
    let error = embedder([Model::new(7)]).verify(&Context::new()).await.expect_err("the model says so");
    assert_eq!(error.message(), "this model only counts");
    let damaged = embedder([Model::failing(ErrorKind::ModelLoad), Model::new(7)]);
    let error = damaged.verify(&Context::new()).await.expect_err("it is damaged");
    assert_eq!((error.kind(), error.backend()), (ErrorKind::ModelLoad, Some("model")));
}

#[tokio::test]
async fn what_fits_the_smallest_window_fits_whoever_answers() {
    assert_eq!(chat([Model::new(9), Model::new(None), Model::new(7)]).window(), Some(7));
    assert_eq!(embedder([Model::new(None)]).window(), None);
}

#[tokio::test]
async fn an_embedder_held_to_a_completed_space_says_the_same() {
    let named = |name: &str| Model { info: BackendInfo::new(name, "m"), ..Model::new(7) };
    let mut known = named("known");
    known.space = EmbeddingSpace::new("sentence-transformers/all-MiniLM-L6-v2");
    let other = Model { space: known.space.clone().completed(), ..named("completed") };
    let embedder = embedder([known, other]);
    assert_eq!((embedder.window(), embedder.count_tokens(None, "hola").expect("a count")), (Some(7), 4));
    embedder.ready(&Context::new()).await.expect("ready");
}

#[tokio::test]
async fn ready_waits_for_the_primary_and_moves_on_as_calls_do() {
    let cx = Context::new();
    embedder([Model::new(7)]).ready(&cx).await.expect("loaded");
    chat([Model::failing(ErrorKind::ModelLoad), Model::new(7)])
        .ready(&cx)
        .await
        .expect("the fallback serves");
    let alone = chat([Model::failing(ErrorKind::ModelLoad)]).ready(&cx).await.expect_err("not loaded");
    assert_eq!((alone.kind(), alone.backend()), (ErrorKind::ModelLoad, Some("model")));
    let both = [Model::failing(ErrorKind::Unexpected), Model::new(7)];
    assert_eq!(
        embedder(both).ready(&cx).await.expect_err("calls end here too").kind(),
        ErrorKind::Unexpected
    );
    let cancellation = Cancellation::new();
    cancellation.cancel();
    let stopped = embedder([Model::new(7)]).ready(&cx.with_cancellation(cancellation)).await;
    assert_eq!(stopped.expect_err("cancelled").kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn an_image_generator_is_ready_once_its_fallback_is() {
    let generator = |handle: Fake| AnyImageGenerator::new(handle);
    let images = Policy::default().image_generator(generator(Fake::new([])), vec![generator(Fake::new([]))]);
    images.expect("valid").ready(&Context::new()).await.expect("nothing to load");
}
