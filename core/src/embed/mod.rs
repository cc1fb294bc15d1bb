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

mod catalogue;
mod encoding;
mod half;
mod handle;
mod parity;
mod request;
mod response;
mod similarity;
mod space;
mod stream;
mod vectors;

use std::fmt;
use std::future::{self, Future};

#[cfg(feature = "candle")]
pub(crate) use catalogue::prompts as well_known_prompts;
pub use catalogue::{KnownModel, known_models};
pub use encoding::{
    BinaryMatch, BinaryVectors, EncodedVectors, Encoding, HalfVectors, Int8Vectors, hamming_distance,
};
pub use handle::AnyEmbedder;
pub use parity::{Parity, ProbeParity};
pub use request::{EmbedInput, EmbedRequest, EmbedRole, Truncation};
pub use response::EmbedResponse;
pub use similarity::{Match, similarity};
pub(crate) use space::prompt_set;
pub use space::{EmbeddingSpace, Pooling};
pub use stream::{EmbedStream, EmbeddedPart};
pub use vectors::Vectors;

use crate::context::Context;
use crate::error::{Error, Result};
use crate::info::BackendInfo;

/// Turns texts and images into vectors.
///
/// Contract of [`embed`](Self::embed):
/// - one vector an input, in the order of the inputs;
/// - every vector has `space().dimensions` numbers where the space says how many (or as many as the request
///   asks for), all of one response have the same width, and every number is finite; anything else is
///   `response_invalid`, which [`AnyEmbedder`] sees to whatever the backend does;
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

    /// Waits until a model in this process is loaded. A hosted backend has nothing to load and is not called.
    fn ready(&self, cx: &Context) -> impl Future<Output = Result<()>> + Send {
        future::ready(cx.check())
    }

    /// The most tokens of one text; longer ones are cut, or refused. `None` where the backend does not say, or
    /// not yet: a local model says so once it is [`ready`](Self::ready).
    fn window(&self) -> Option<usize> {
        None
    }

    /// How many tokens a text has for the model, its prompt and special tokens included, before it is cut to
    /// [`window`](Self::window). Computed on the calling thread.
    ///
    /// # Errors
    /// `unsupported` where nobody here knows the model's tokens; `conflict` before a local model is
    /// [`ready`](Self::ready).
    fn count_tokens(&self, role: Option<EmbedRole>, text: &str) -> Result<usize> {
        let _ = (role, text);
        Err(Error::unsupported("only a model in this process counts tokens"))
    }

    /// A text's tokens, special ones included, before it is cut. Computed on the calling thread.
    ///
    /// # Errors
    /// Those of [`count_tokens`](Self::count_tokens).
    fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        let _ = text;
        Err(Error::unsupported("only a model in this process knows its tokens"))
    }

    /// The text that the model's own tokens stand for, without special ones. Computed on the calling thread.
    ///
    /// # Errors
    /// `invalid_request` for a number that is no token of the model; those of [`count_tokens`](Self::count_tokens).
    fn text_of_tokens(&self, tokens: &[u32]) -> Result<String> {
        let _ = tokens;
        Err(Error::unsupported("only a model in this process knows its tokens"))
    }

    /// Measures how close the vectors are to those that the same weights make in f32 on the CPU, on texts in several
    /// languages and, where the model takes them, images. Loads a second copy of the weights for that time.
    ///
    /// # Errors
    /// `unsupported` where the model runs elsewhere; those of loading and embedding. Vectors that are too far off are no
    /// error here: ask [`Parity::ensure`].
    fn verify(&self, cx: &Context) -> impl Future<Output = Result<Parity>> + Send {
        let _ = cx;
        future::ready(Err(Error::unsupported("only a model in this process can be compared with its f32")))
    }
}
