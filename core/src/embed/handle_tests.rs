//! A handle holds whatever is behind it to the contract.

use super::*;
use crate::error::ErrorKind;
use crate::info::{Limits, Route};

/// A backend that gives these rows whatever it is asked.
#[derive(Debug)]
struct Careless {
    info: BackendInfo,
    space: EmbeddingSpace,
    rows: Vec<Vec<f32>>,
}

impl Careless {
    fn new(rows: &[&[f32]]) -> Self {
        Self {
            info: BackendInfo::new("careless", "m"),
            space: EmbeddingSpace::new("m").with_dimensions(2),
            rows: rows.iter().map(|row| row.to_vec()).collect(),
        }
    }

    fn with_max_batch(mut self, inputs: usize) -> Self {
        self.info = self.info.with_limits(Limits::default().with_max_batch(inputs));
        self
    }

    async fn embed(self, request: EmbedRequest) -> Result<EmbedResponse> {
        AnyEmbedder::new(self).embed(&Context::new(), request).await
    }
}

impl Embedder for Careless {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    async fn embed(&self, cx: &Context, _: EmbedRequest) -> Result<EmbedResponse> {
        cx.check()?;
        Ok(EmbedResponse::new(Vectors::from_rows(self.rows.clone())?, Route::new(&self.info)))
    }
}

#[track_caller]
fn assert_refused(outcome: Result<EmbedResponse>, words: &str) {
    let error = outcome.expect_err(words);
    assert_eq!(error.kind(), ErrorKind::ResponseInvalid, "{error}");
    assert_eq!((error.backend(), error.operation()), (Some("careless"), Some(Operation::Embed)));
    assert!(error.message().contains(words), "{error}");
}

#[tokio::test]
async fn fewer_or_more_vectors_than_inputs_are_refused() {
    let three = || EmbedRequest::texts(["a", "b", "c"]);
    assert_refused(Careless::new(&[&[1.0, 0.0]]).embed(three()).await, "1 vectors came back for 3 inputs");
    let four = [&[1.0, 0.0][..]; 4];
    assert_refused(Careless::new(&four).embed(three()).await, "4 vectors came back for 3 inputs");
    let none = AnyEmbedder::new(Careless::new(&four)).embed_text(&Context::new(), "a").await;
    assert!(none.is_err(), "one text has one vector");
}

#[tokio::test]
async fn a_part_with_too_few_vectors_is_refused_before_later_ones_belong_to_the_wrong_input() {
    let parts_of_two = Careless::new(&[&[1.0, 0.0]]).with_max_batch(2);
    let request = EmbedRequest::texts(["a", "b", "c", "d"]);
    assert_refused(parts_of_two.embed(request).await, "1 vectors came back for 2 inputs");
}

#[tokio::test]
async fn vectors_of_another_width_than_the_space_s_or_the_wanted_are_refused() {
    let one = || EmbedRequest::texts(["a"]);
    assert_refused(Careless::new(&[&[1.0, 0.0, 0.0]]).embed(one()).await, "3 numbers");
    let shortened = one().with_dimensions(1);
    assert_refused(Careless::new(&[&[1.0, 0.0]]).embed(shortened.clone()).await, "2 numbers");
    assert!(Careless::new(&[&[1.0]]).embed(shortened).await.is_ok());
}

#[tokio::test]
async fn numbers_that_are_not_finite_are_refused() {
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let two = EmbedRequest::texts(["a", "b"]);
        let backend = Careless::new(&[&[1.0, 0.0], &[0.5, wrong]]);
        assert_refused(backend.embed(two).await, "vector 1 of the model m holds NaN or infinity");
    }
}

#[tokio::test]
async fn every_error_names_backend_and_operation() {
    let cancellation = crate::Cancellation::new();
    cancellation.cancel();
    let cx = Context::new().with_cancellation(cancellation);
    let embedder = AnyEmbedder::new(Careless::new(&[&[1.0, 0.0]]));
    let errors = [
        embedder.embed(&cx, EmbedRequest::texts(["a"])).await.map(drop).expect_err("cancelled"),
        embedder.ready(&cx).await.expect_err("cancelled"),
        embedder.count_tokens(None, "a").map(drop).expect_err("nobody counts"),
    ];
    for error in &errors {
        assert_eq!(
            (error.backend(), error.operation()),
            (Some("careless"), Some(Operation::Embed)),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_hosted_backend_has_nothing_to_load_and_knows_no_tokens() {
    let embedder = AnyEmbedder::new(Careless::new(&[&[1.0, 0.0]]));
    embedder.ready(&Context::new()).await.expect("ready");
    assert_eq!(embedder.window(), None);
    assert_eq!(embedder.count_tokens(None, "a").expect_err("unknown").kind(), ErrorKind::Unsupported);
}

/// A backend of small requests that refuses one of the texts by its place in the request.
#[derive(Debug)]
struct Particular(BackendInfo, EmbeddingSpace);

impl Particular {
    fn embedder() -> AnyEmbedder {
        let info = BackendInfo::new("particular", "m").with_limits(Limits::default().with_max_batch(3));
        AnyEmbedder::new(Self(info, EmbeddingSpace::new("m").with_dimensions(1)))
    }
}

impl Embedder for Particular {
    fn info(&self) -> &BackendInfo {
        &self.0
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.1
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        cx.check()?;
        let is_bad = |input: &EmbedInput| matches!(input, EmbedInput::Text(text) if text == "bad");
        match request.inputs.iter().position(is_bad) {
            Some(index) => {
                Err(Error::invalid_request(format!("input {index} is not wanted")).about_input(index))
            }
            None => {
                let rows = vec![vec![1.0]; request.inputs.len()];
                Ok(EmbedResponse::new(Vectors::from_rows(rows)?, Route::new(&self.0)))
            }
        }
    }
}

#[tokio::test]
async fn an_error_names_the_input_by_its_place_in_the_caller_s_list() {
    let texts = |bad: usize| (0..20).map(move |number| if number == bad { "bad" } else { "good" }.to_owned());
    for bad in [0, 2, 3, 10, 19] {
        let error = Particular::embedder().embed(&Context::new(), EmbedRequest::texts(texts(bad))).await;
        let error = error.expect_err("one is bad");
        assert_eq!((error.input(), error.message()), (Some(bad), &*format!("input {bad} is not wanted")));
        let inputs = stream::iter(texts(bad).map(EmbedInput::Text));
        let parts = Particular::embedder().embed_stream(&Context::new(), EmbedRequest::default(), inputs);
        let error = parts.try_collect::<Vec<_>>().await.expect_err("one is bad");
        assert_eq!((error.input(), error.message()), (Some(bad), &*format!("input {bad} is not wanted")));
    }
}
