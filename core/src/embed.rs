//! Vectors for texts and images.
//!
//! ```
//! use ayni::backends::scripted::Scripted;
//! use ayni::{AnyEmbedder, Context, EmbedRequest};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let embedder = AnyEmbedder::new(Scripted::default());
//! let response = embedder.embed(&Context::new(), EmbedRequest::texts(["hola", "hello"])).await?;
//! assert_eq!(response.vectors.len(), 2);
//! assert_eq!(response.vectors.width(), 16);
//! # Ok::<_, ayni::Error>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use crate::context::{BoxFuture, Context, Progress};
use crate::error::{Error, Result};
use crate::info::{BackendInfo, Route, Usage};
use crate::media::ImageData;

/// Turns texts and images into vectors.
///
/// Contract of [`embed`](Self::embed):
/// - one vector an input, in the order of the inputs;
/// - every vector has `space().dimensions` numbers where the space says how many, and all of one response
///   have the same width; anything else is `response_invalid`;
/// - vectors have unit length where the space says so;
/// - an input that was cut to the model's window is named in [`EmbedResponse::truncated`];
/// - an empty list is `invalid_request`; a list above `info().limits.max_batch` too, except on
///   [`AnyEmbedder`], which splits it;
/// - no retries, no sleeps, no log of the inputs.
pub trait Embedder: Send + Sync + fmt::Debug + 'static {
    /// Who the backend is.
    fn info(&self) -> &BackendInfo;

    /// Which vectors its own may be compared with.
    fn space(&self) -> &EmbeddingSpace;

    /// Embeds every input of the request.
    fn embed(
        &self,
        cx: &Context,
        request: EmbedRequest,
    ) -> impl Future<Output = Result<EmbedResponse>> + Send;
}

/// What makes vectors comparable. Two backends may stand in for each other, and share a cache, only if their
/// spaces are equal; a field that one of them does not know makes them differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EmbeddingSpace {
    /// The model, as its publisher names it: `sentence-transformers/all-MiniLM-L6-v2`.
    pub model: String,
    /// The revision of the weights.
    pub revision: Option<String>,
    /// Numbers in a vector; `None` until the first answer says so.
    pub dimensions: Option<usize>,
    /// How token vectors become one vector.
    pub pooling: Option<Pooling>,
    /// Whether vectors have unit length.
    pub normalised: bool,
    /// The set of prompts put before queries and documents.
    pub prompt_set: Option<String>,
}

impl EmbeddingSpace {
    /// The space of a model's unit-length vectors about which nothing else is known.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), normalised: true, ..Self::default() }
    }

    /// Sets the width.
    pub fn with_dimensions(mut self, dimensions: impl Into<Option<usize>>) -> Self {
        self.dimensions = dimensions.into();
        self
    }

    /// Sets the revision.
    pub fn with_revision(mut self, revision: impl Into<Option<String>>) -> Self {
        self.revision = revision.into();
        self
    }

    /// Sets the pooling.
    pub fn with_pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = Some(pooling);
        self
    }

    /// Says whether vectors have unit length.
    pub fn with_normalised(mut self, normalised: bool) -> Self {
        self.normalised = normalised;
        self
    }

    /// The names of the fields in which `self` and `other` differ.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let checks = [
            ("model", self.model == other.model),
            ("revision", self.revision == other.revision),
            ("dimensions", self.dimensions == other.dimensions),
            ("pooling", self.pooling == other.pooling),
            ("normalised", self.normalised == other.normalised),
            ("prompt_set", self.prompt_set == other.prompt_set),
        ];
        checks.iter().filter(|(_, equal)| !equal).map(|(name, _)| *name).collect()
    }
}

/// How token vectors become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Pooling {
    /// The mean over tokens.
    Mean,
    /// The first token.
    Cls,
    /// The last token.
    LastToken,
    /// The maximum over tokens, number by number.
    Max,
    /// The mean weighted by position.
    WeightedMean,
}

/// What to embed, and how.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EmbedRequest {
    /// The inputs, in the order of the vectors. Shared, so that a retry copies no text.
    pub inputs: Arc<[EmbedInput]>,
    /// Which side of a search the inputs are on, for models that treat the two differently.
    pub role: Option<EmbedRole>,
    /// Shortens the vectors to this width, for models trained to allow it.
    pub dimensions: Option<usize>,
    /// What to do with an input longer than the model's window: cut it and say so (the default), or fail
    /// with `context_too_long`.
    pub truncation: Truncation,
}

impl EmbedRequest {
    /// A request for any inputs.
    pub fn new(inputs: impl IntoIterator<Item = EmbedInput>) -> Self {
        Self { inputs: inputs.into_iter().collect(), ..Self::default() }
    }

    /// A request for texts.
    pub fn texts<T: Into<String>>(texts: impl IntoIterator<Item = T>) -> Self {
        Self::new(texts.into_iter().map(|text| EmbedInput::Text(text.into())))
    }

    /// A request for images.
    pub fn images(images: impl IntoIterator<Item = ImageData>) -> Self {
        Self::new(images.into_iter().map(EmbedInput::Image))
    }

    /// Says which side of a search the inputs are on.
    pub fn with_role(mut self, role: EmbedRole) -> Self {
        self.role = Some(role);
        self
    }

    /// Shortens the vectors.
    pub fn with_dimensions(mut self, dimensions: usize) -> Self {
        self.dimensions = Some(dimensions);
        self
    }

    /// Says what to do with inputs longer than the window.
    pub fn with_truncation(mut self, truncation: Truncation) -> Self {
        self.truncation = truncation;
        self
    }

    /// The texts of the request.
    ///
    /// # Errors
    /// `unsupported` if one of the inputs is an image.
    pub fn text_inputs(&self) -> Result<Vec<&str>> {
        self.inputs
            .iter()
            .map(|input| match input {
                EmbedInput::Text(text) => Ok(text.as_str()),
                EmbedInput::Image(_) => {
                    Err(Error::unsupported("this backend embeds text only; the request holds an image"))
                }
            })
            .collect()
    }

    /// Fails on what no backend accepts: an empty list, more inputs than `max_batch`.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn check(&self, max_batch: Option<usize>) -> Result<()> {
        if self.inputs.is_empty() {
            return Err(Error::invalid_request("the list of inputs is empty"));
        }
        match max_batch {
            Some(most) if self.inputs.len() > most => Err(Error::invalid_request(format!(
                "{} inputs in one request; this backend takes {most}. An `AnyEmbedder` splits larger requests",
                self.inputs.len()
            ))),
            _ => Ok(()),
        }
    }
}

/// One thing to embed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EmbedInput {
    /// A text.
    Text(String),
    /// An encoded image (JPEG, PNG, WebP …).
    Image(ImageData),
}

/// Which side of a search an input is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EmbedRole {
    /// What somebody looks for.
    Query,
    /// What can be found.
    Document,
}

/// What to do with an input longer than the model's window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Truncation {
    /// Cut it at the end and say so in the response.
    #[default]
    End,
    /// Fail with `context_too_long`.
    Refuse,
}

/// Vectors of one width, side by side in one block of memory.
#[derive(Clone, PartialEq)]
pub struct Vectors {
    numbers: Arc<[f32]>,
    width: usize,
}

impl Vectors {
    /// Cuts `numbers` into vectors of `width`.
    ///
    /// # Errors
    /// `response_invalid` if they do not come out even or the width is zero.
    pub fn new(numbers: impl Into<Arc<[f32]>>, width: usize) -> Result<Self> {
        let numbers = numbers.into();
        if width == 0 || numbers.len() % width != 0 {
            return Err(Error::response_invalid(format!(
                "{} numbers do not make vectors of {width}",
                numbers.len()
            )));
        }
        Ok(Self { numbers, width })
    }

    /// Puts rows side by side.
    ///
    /// # Errors
    /// `response_invalid` if there is none, or they differ in width.
    pub fn from_rows(rows: Vec<Vec<f32>>) -> Result<Self> {
        let width = rows.first().map_or(0, Vec::len);
        if let Some(index) = rows.iter().position(|row| row.len() != width) {
            return Err(Error::response_invalid(format!(
                "vector {index} has {} numbers, the first has {width}",
                rows[index].len()
            )));
        }
        Self::new(rows.concat(), width)
    }

    /// How many vectors there are.
    pub fn len(&self) -> usize {
        self.numbers.len() / self.width
    }

    /// Never: a response holds at least one vector.
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Numbers in a vector.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The vector at `index`.
    pub fn get(&self, index: usize) -> Option<&[f32]> {
        self.iter().nth(index)
    }

    /// Every vector, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[f32]> {
        self.numbers.chunks_exact(self.width)
    }

    /// The whole block: vector after vector.
    pub fn as_flat(&self) -> &[f32] {
        &self.numbers
    }

    /// Scales every vector to unit length; a zero vector stays zero.
    pub fn normalised(self) -> Self {
        let mut numbers = self.numbers.to_vec();
        for vector in numbers.chunks_exact_mut(self.width) {
            let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
            if length > 0.0 {
                for x in vector {
                    #[allow(clippy::cast_possible_truncation)]
                    {
                        *x = (f64::from(*x) / length) as f32;
                    }
                }
            }
        }
        Self { numbers: numbers.into(), width: self.width }
    }
}

impl fmt::Debug for Vectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Vectors({} × {})", self.len(), self.width)
    }
}

impl<'a> IntoIterator for &'a Vectors {
    type Item = &'a [f32];
    type IntoIter = std::slice::ChunksExact<'a, f32>;

    fn into_iter(self) -> Self::IntoIter {
        self.numbers.chunks_exact(self.width)
    }
}

/// The vectors, and where they came from.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EmbedResponse {
    /// One vector an input, in the order of the inputs.
    pub vectors: Vectors,
    /// The positions of the inputs that were cut to the model's window, as far as the backend says so.
    pub truncated: Vec<usize>,
    /// Tokens used, where the backend says so.
    pub usage: Usage,
    /// Who served.
    pub route: Route,
}

impl EmbedResponse {
    /// A response in which nothing was cut and no usage is known.
    pub fn new(vectors: Vectors, route: Route) -> Self {
        Self { vectors, truncated: Vec::new(), usage: Usage::default(), route }
    }

    /// Names the inputs that were cut.
    pub fn with_truncated(mut self, truncated: Vec<usize>) -> Self {
        self.truncated = truncated;
        self
    }

    /// Sets the usage.
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// Fails unless there is one vector an input, as wide as the space (or the request) says.
    ///
    /// # Errors
    /// `response_invalid`.
    pub fn check(self, inputs: usize, dimensions: Option<usize>) -> Result<Self> {
        if self.vectors.len() != inputs {
            return Err(Error::response_invalid(format!(
                "{} vectors came back for {inputs} inputs",
                self.vectors.len()
            )));
        }
        match dimensions {
            Some(width) if width != self.vectors.width() => Err(Error::response_invalid(format!(
                "vectors of {} numbers came back where the space has {width}",
                self.vectors.width()
            ))),
            _ => Ok(self),
        }
    }
}

/// Any embedder: the handle that users hold. Cheap to clone; clones share the backend.
///
/// It splits requests above `info().limits.max_batch`, runs the parts a few at a time and keeps the order.
/// There is no way to swap the model under a handle: that would change the space under whatever stores its
/// vectors.
#[derive(Clone, Debug)]
pub struct AnyEmbedder(Arc<dyn DynEmbedder>);

/// How many parts of one split request are in flight at a time.
const PARTS_IN_FLIGHT: usize = 4;

impl AnyEmbedder {
    /// A handle on `embedder`.
    pub fn new(embedder: impl Embedder) -> Self {
        Self(Arc::new(embedder))
    }

    /// Who the backend is.
    pub fn info(&self) -> &BackendInfo {
        self.0.info()
    }

    /// Which vectors its own may be compared with.
    pub fn space(&self) -> &EmbeddingSpace {
        self.0.space()
    }

    /// Embeds any number of inputs.
    ///
    /// # Errors
    /// Those of the backend; the first part to fail ends the call.
    pub async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        match self.info().limits.max_batch {
            Some(most) if request.inputs.len() > most => self.embed_in_parts(cx, request, most.max(1)).await,
            _ => self.0.embed(cx, request).await,
        }
    }

    /// Embeds one text.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn embed_text(&self, cx: &Context, text: impl Into<String>) -> Result<Vec<f32>> {
        self.embed_one(cx, EmbedInput::Text(text.into())).await
    }

    /// Embeds one encoded image.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn embed_image(&self, cx: &Context, image: ImageData) -> Result<Vec<f32>> {
        self.embed_one(cx, EmbedInput::Image(image)).await
    }

    async fn embed_one(&self, cx: &Context, input: EmbedInput) -> Result<Vec<f32>> {
        let response = self.embed(cx, EmbedRequest::new([input])).await?;
        Ok(response.vectors.as_flat().to_vec())
    }

    async fn embed_in_parts(
        &self,
        cx: &Context,
        request: EmbedRequest,
        most: usize,
    ) -> Result<EmbedResponse> {
        let of = request.inputs.len();
        let parts: Vec<(usize, EmbedRequest)> = (0..of)
            .step_by(most)
            .map(|start| {
                let inputs = request.inputs[start..of.min(start + most)].to_vec().into();
                (start, EmbedRequest { inputs, ..request.clone() })
            })
            .collect();
        let responses = stream::iter(parts)
            .map(|(start, part)| async move { Ok::<_, Error>((start, self.0.embed(cx, part).await?)) })
            .buffered(PARTS_IN_FLIGHT);
        let mut responses = std::pin::pin!(responses);
        let mut joined: Option<JoinedParts> = None;
        while let Some((start, part)) = responses.try_next().await? {
            match &mut joined {
                None => joined = Some(JoinedParts::new(part)),
                Some(joined) => joined.append(start, part)?,
            }
            cx.report(|| Progress::Inputs { done: of.min(start + most), of });
        }
        joined.ok_or_else(|| Error::invalid_request("the list of inputs is empty"))?.finish()
    }
}

/// The answers to the parts of one split request, growing in order.
struct JoinedParts {
    numbers: Vec<f32>,
    first: EmbedResponse,
}

impl JoinedParts {
    fn new(first: EmbedResponse) -> Self {
        Self { numbers: first.vectors.as_flat().to_vec(), first }
    }

    fn append(&mut self, start: usize, part: EmbedResponse) -> Result<()> {
        let width = self.first.vectors.width();
        if part.vectors.width() != width {
            return Err(Error::response_invalid(format!(
                "vectors of {} numbers came back after vectors of {width}",
                part.vectors.width()
            )));
        }
        self.numbers.extend_from_slice(part.vectors.as_flat());
        self.first.truncated.extend(part.truncated.into_iter().map(|index| start + index));
        self.first.usage = self.first.usage.plus(part.usage);
        Ok(())
    }

    fn finish(self) -> Result<EmbedResponse> {
        let width = self.first.vectors.width();
        Ok(EmbedResponse { vectors: Vectors::new(self.numbers, width)?, ..self.first })
    }
}

#[deny(clippy::missing_trait_methods)]
impl Embedder for AnyEmbedder {
    fn info(&self) -> &BackendInfo {
        self.0.info()
    }

    fn space(&self) -> &EmbeddingSpace {
        self.0.space()
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        Self::embed(self, cx, request).await
    }
}

/// [`Embedder`] in the form that can be a trait object.
trait DynEmbedder: Send + Sync + fmt::Debug {
    fn info(&self) -> &BackendInfo;
    fn space(&self) -> &EmbeddingSpace;
    fn embed<'a>(&'a self, cx: &'a Context, request: EmbedRequest) -> BoxFuture<'a, Result<EmbedResponse>>;
}

impl<T: Embedder> DynEmbedder for T {
    fn info(&self) -> &BackendInfo {
        Embedder::info(self)
    }

    fn space(&self) -> &EmbeddingSpace {
        Embedder::space(self)
    }

    fn embed<'a>(&'a self, cx: &'a Context, request: EmbedRequest) -> BoxFuture<'a, Result<EmbedResponse>> {
        Box::pin(Embedder::embed(self, cx, request))
    }
}
