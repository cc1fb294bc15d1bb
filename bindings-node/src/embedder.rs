//! Embedders.

use std::sync::{Arc, Mutex, PoisonError};

use ayni::config::open_embedder_with;
use ayni::embed::{EmbedStream, EmbeddingSpace};
use ayni::{
    AnyEmbedder, EmbedInput, EmbedRequest, EmbedResponse, EmbedRole, EmbedderConfig, Encoding, Result, Route,
    Setup, Usage,
};
use futures_util::{StreamExt, stream};
use napi::Env;

use napi_derive::napi;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::call::{Call, Promised, blocking, promise};
use crate::chat::{Slot, drop_stream};
use crate::convert::{json_text, open_handle, request};
use crate::failure::{Outcome, guarded};
use crate::vectors::Embedded;

/// A handle on an embedder.
#[napi]
pub struct Embedder(pub(crate) AnyEmbedder);

#[napi]
impl Embedder {
    /// Opens a backend; without a configuration the one that the environment names.
    #[napi]
    pub fn open(
        env: &Env,
        fields: Option<String>,
        variables: Option<String>,
    ) -> napi::Result<Promised<'_, Self>> {
        let from_env = Setup::<EmbedderConfig>::from_env_with;
        blocking(env, move || {
            let (fields, variables) = (fields.as_deref(), variables.as_deref());
            open_handle(fields, variables, EmbedderConfig::BACKENDS, from_env, open_embedder_with).map(Self)
        })
    }

    /// Who the backend is, as JSON.
    #[napi]
    pub fn info(&self) -> Outcome<String> {
        guarded(|| json_text(self.0.info()))
    }

    /// Which vectors its own may be compared with, as JSON.
    #[napi]
    pub fn space(&self) -> Outcome<String> {
        guarded(|| json_text(self.0.space()))
    }

    /// Waits until a local model is loaded.
    #[napi]
    pub fn ready<'env>(&self, env: &'env Env, call: Option<&Call>) -> napi::Result<Promised<'env, ()>> {
        let handle = self.0.clone();
        promise(env, call, move |cx| async move { handle.ready(&cx).await })
    }

    /// The most tokens of a text.
    #[napi]
    pub fn window(&self) -> Outcome<Option<u32>> {
        guarded(|| Ok(self.0.window().and_then(|window| u32::try_from(window).ok())))
    }

    /// How many tokens a text has. The role is JSON.
    #[napi]
    pub fn count_tokens(&self, text: String, role: String) -> Outcome<u32> {
        guarded(|| {
            let count = self.0.count_tokens(request::<Option<EmbedRole>>(&role)?, &text)?;
            Ok(u32::try_from(count).unwrap_or(u32::MAX))
        })
    }

    /// How close the vectors are to those of f32, as JSON.
    #[napi]
    pub fn verify<'env>(&self, env: &'env Env, call: Option<&Call>) -> napi::Result<Promised<'env, String>> {
        let handle = self.0.clone();
        promise(env, call, move |cx| async move { json_text(&handle.verify(&cx).await?) })
    }

    /// Embeds the inputs of a request.
    #[napi]
    pub fn embed<'env>(
        &self,
        env: &'env Env,
        fields: String,
        encoding: Option<String>,
        call: Option<&Call>,
    ) -> napi::Result<Promised<'env, Embedded>> {
        let handle = self.0.clone();
        promise(env, call, move |cx| async move {
            let encoding = read_encoding(encoding.as_deref())?;
            let response = handle.embed(&cx, request::<EmbedRequest>(&fields)?).await?;
            embedded(&handle, &response, encoding)
        })
    }

    /// Embeds inputs as they come.
    #[napi]
    pub fn embed_stream<'env>(
        &self,
        env: &'env Env,
        fields: String,
        encoding: Option<String>,
        call: Option<&Call>,
    ) -> napi::Result<Promised<'env, VectorStream>> {
        let of = self.0.clone();
        promise(env, call, move |cx| async move {
            let encoding = read_encoding(encoding.as_deref())?;
            let (sender, receiver) = mpsc::channel::<Vec<EmbedInput>>(1);
            let next = |mut receiver: mpsc::Receiver<_>| async { Some((receiver.recv().await?, receiver)) };
            let inputs = stream::unfold(receiver, next).flat_map(stream::iter);
            let parts = of.embed_stream(&cx, request::<EmbedRequest>(&fields)?, inputs);
            let parts = Slot::new(Some(parts).into());
            Ok(VectorStream { inputs: Mutex::new(Some(sender)), parts, of, encoding })
        })
    }
}

/// A stream of inputs and the stream of their vectors. Dropping it stops the work.
#[napi]
pub struct VectorStream {
    inputs: Mutex<Option<mpsc::Sender<Vec<EmbedInput>>>>,
    parts: Slot<EmbedStream<'static>>,
    of: AnyEmbedder,
    encoding: Encoding,
}

#[napi]
impl VectorStream {
    /// Adds inputs, a JSON list, once the stream has room. Resolves to false if it has ended.
    #[napi]
    pub fn push<'env>(&self, env: &'env Env, inputs: String) -> napi::Result<Promised<'env, bool>> {
        let sender = self.inputs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        promise(env, None, move |_| async move {
            let Some(sender) = sender else { return Ok(false) };
            Ok(sender.send(request::<Vec<EmbedInput>>(&inputs)?).await.is_ok())
        })
    }

    /// No inputs follow.
    #[napi]
    pub fn finish(&self) {
        drop(self.inputs.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// The vectors of the next inputs; null at the end.
    #[napi]
    pub fn next<'env>(&self, env: &'env Env) -> napi::Result<Promised<'env, Option<Embedded>>> {
        let (parts, of, encoding) = (Arc::clone(&self.parts), self.of.clone(), self.encoding);
        promise(env, None, move |_| async move {
            let mut parts = parts.lock().await;
            let Some(stream) = parts.as_mut() else { return Ok(None) };
            stream.next().await.transpose()?.map(|part| embedded(&of, &part.response, encoding)).transpose()
        })
    }

    /// Stops the work.
    #[napi]
    pub fn close(&self) {
        self.finish();
        drop_stream(&self.parts);
    }
}

fn read_encoding(name: Option<&str>) -> Result<Encoding> {
    name.map_or(Ok(Encoding::F32), str::parse)
}

/// What of an answer is no number of a vector.
#[derive(Serialize)]
struct Rest<'a> {
    truncated: &'a [usize],
    usage: &'a Usage,
    route: &'a Route,
    space: &'a EmbeddingSpace,
}

fn embedded(of: &AnyEmbedder, response: &EmbedResponse, encoding: Encoding) -> Result<Embedded> {
    // The request may have asked for shorter vectors than the embedder's own.
    let space = &of.space().clone().with_dimensions(response.vectors.width());
    let rest = Rest { truncated: &response.truncated, usage: &response.usage, route: &response.route, space };
    Embedded::new(&response.vectors.encoded(encoding)?, json_text(&rest)?)
}
