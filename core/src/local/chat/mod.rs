//! Chat with models in this process: templates, grammars, what an answer's text says, and the conversations of one model
//! side by side.

mod candidates;
mod conversation;
pub(crate) mod grammar;
mod images;
mod model;
pub(crate) mod output;
mod prefix;
mod sampling;
mod sampling_defaults;
mod scheduler;
mod speculation;
mod spill;
mod stack;
mod step;
pub(crate) mod template;
#[cfg(test)]
mod together_tests;

use std::sync::Arc;
use std::task::Poll;

use futures_util::future::try_join_all;
use futures_util::stream::poll_fn;
use tokio::sync::mpsc;

use super::LocalChatConfig;
use super::models::is_stock;
use super::ops::{Device, DeviceChoice, KvPrecision};
use super::runtime::{Queue, Worker, log_loaded};
use super::source::{Located, locate};
use super::vision::Limits;
use super::weights::{Storage, Weights};
use crate::chat::{ChatBackend, ChatEvent, ChatRequest, ChatResponse, ChatStream};
use crate::context::Context;
use crate::env::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::info::{BackendInfo, Route, Usage};
use crate::transport::Transport;
use model::{ChatModel, DEFAULT_RUNNING, check_storage, kv_precision, model_config, precision};

/// Requests that wait where the configuration does not say.
const DEFAULT_QUEUED: usize = 64;

/// What is said of a model that is quantised while it is loaded.
const QUANTISED: &str = "weights are quantised while they are loaded; rows that are not whole blocks and tables of tokens are in Q8_0";

/// The most answers to one request.
const MAX_CHOICES: u32 = 16;

/// The request for answer number `number` of several: draws of its own, which a seed repeats.
fn nth(request: &ChatRequest, number: u32) -> ChatRequest {
    let seed = request.seed.map(|seed| seed.wrapping_add(u64::from(number)));
    ChatRequest { choices: None, seed, ..request.clone() }
}

/// What is said of a model. Whether candle computes it is known once it is loaded, or from files on this machine.
fn info_of(name: &str, device: &Device, held: (Storage, KvPrecision), is_stock: bool) -> BackendInfo {
    let info = BackendInfo::new("local", name).with_device(device.name());
    let (storage, kv) = held;
    let (precision, reason) = match storage {
        _ if is_stock => {
            return info
                .with_precision("f32", "candle's own code computes this architecture, which is slower");
        }
        Storage::Quantised(format) => (format.name().to_lowercase(), QUANTISED),
        Storage::AsInFile if name.ends_with(".gguf") => {
            ("gguf".to_owned(), "the file's blocks are multiplied as they are")
        }
        _ => (device.precision.name().to_owned(), device.precision_reason),
    };
    match device.is_cpu() {
        true => info.with_precision(precision, format!("{reason}; keys and values are {}", kv.name())),
        false => info.with_precision(precision, reason),
    }
}

/// A chat model in this process.
///
/// It loads in the background; calls wait for it. Any number of callers share it: their answers are computed together,
/// token by token, and each is what it would be alone. Dropping a stream, or cancelling its call, ends the work within one
/// token or one piece of the prompt.
#[derive(Debug)]
pub struct LocalChat {
    info: BackendInfo,
    worker: Worker<ChatModel>,
    queue: Queue,
}

impl LocalChat {
    /// Starts to load a model. What can be known without loading is checked here.
    ///
    /// # Errors
    /// `config_invalid` for a model, device or precision that is misspelt; `model_load` for files on this machine
    /// that make no model; `unsupported` for an architecture that is not known; `device_unavailable`.
    pub fn open(config: &LocalChatConfig, env: &Environment) -> Result<Self> {
        Self::open_over(config, env, None)
    }

    /// The same, with a transport for downloads.
    pub(crate) fn open_over(
        config: &LocalChatConfig,
        env: &Environment,
        transport: Option<&Arc<dyn Transport>>,
    ) -> Result<Self> {
        Self::open_changed(config, env, transport, |model| model)
    }

    /// The same, with something done to the model once it is loaded.
    #[cfg(test)]
    fn open_with(
        config: &LocalChatConfig,
        env: &Environment,
        change: impl Fn(ChatModel) -> ChatModel + Send + Sync + 'static,
    ) -> Result<Self> {
        Self::open_changed(config, env, None, change)
    }

    fn open_changed(
        config: &LocalChatConfig,
        env: &Environment,
        transport: Option<&Arc<dyn Transport>>,
        change: impl Fn(ChatModel) -> ChatModel + Send + Sync + 'static,
    ) -> Result<Self> {
        config.check()?;
        let device: DeviceChoice = config.source.device.as_deref().unwrap_or("auto").parse()?;
        let (precision, storage) = precision(config)?;
        let device = Device::open(device, precision, env)?;
        let kv = kv_precision(config, &device)?;
        let limits = Limits::new(None, env)?;
        let (located, copies) = (locate(&config.source, env)?, config.source.copies_weights()?);
        let (mut is_known_stock, mut reads_images) = (false, None);
        let name = match &located {
            Located::Local(files) => {
                // Read now, so that what is wrong with the files is an error of opening.
                let weights = Weights::open(files)?;
                let model_config = model_config(files, &weights)?;
                is_known_stock = is_stock(&model_config);
                check_storage(&weights, storage)?;
                reads_images = Some(images::preprocessor(files, &model_config, &weights)?.is_ok());
                files.weights.clone().unwrap_or_else(|| files.model.clone())
            }
            Located::Remote(model) => model.id.clone(),
        };
        let info = info_of(&name, &device, (storage, kv), is_known_stock);
        let info = BackendInfo { reads_images, ..info };
        let queue = Queue::new(
            config.max_running.unwrap_or(DEFAULT_RUNNING).max(1),
            config.max_queued.unwrap_or(DEFAULT_QUEUED),
        );
        let (transport, config, of_model) = (transport.cloned(), config.clone(), name.clone());
        let load = move |cx: &Context| {
            let cx = &cx.clone().with_default_transport(transport.as_ref());
            let files = located.files(cx)?.with_copied_weights(copies);
            let model = ChatModel::load(&files, &device, &config, limits, |is_stock| {
                info_of(&of_model, &device, (storage, kv), is_stock)
            })?;
            log_loaded(&model.info);
            Ok(change(model))
        };
        Ok(Self { info, worker: Worker::start(name, load)?, queue })
    }

    /// One whole answer.
    async fn answer(&self, cx: &Context, request: ChatRequest) -> Result<ChatResponse> {
        self.stream(cx, request).await?.collect_response(self.info()).await
    }

    async fn begin(&self, cx: &Context, request: &ChatRequest) -> Result<ChatStream> {
        let model = self.worker.ready(cx).await?;
        let ticket = self.queue.enter()?;
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let started = ChatEvent::Started { route: Route::new(&model.info) };
        // The receiver is right here.
        let _ = sender.send(Ok(started));
        let mut job = model.prepare(cx, request, sender, ticket)?;
        Box::pin(model.read_images(cx, request, &mut job)).await?;
        self.worker.submit(cx, job).await?;
        // What chose the tokens where the request did not say is told before the last event.
        let (mut metadata, mut last) = (model.defaults.told(request), None);
        Ok(ChatStream::new(poll_fn(move |task| {
            if let Some(event) = last.take() {
                return Poll::Ready(Some(event));
            }
            match receiver.poll_recv(task) {
                Poll::Ready(Some(Ok(event @ ChatEvent::Finish { .. }))) if metadata.is_some() => {
                    last = Some(Ok(event));
                    Poll::Ready(metadata.take().map(|metadata| Ok(ChatEvent::Metadata { metadata })))
                }
                event => event,
            }
        })))
    }
}

#[deny(clippy::missing_trait_methods)]
impl ChatBackend for LocalChat {
    fn info(&self) -> &BackendInfo {
        self.worker.loaded().map_or(&self.info, |model| &model.info)
    }

    async fn chat(&self, cx: &Context, request: ChatRequest) -> Result<ChatResponse> {
        // The number of answers is looked at below.
        ChatRequest { choices: None, ..request.clone() }.check_raw()?;
        let count = match request.choices {
            None => 1,
            Some(count @ 1..=MAX_CHOICES) => count,
            Some(count) => {
                let text = format!("`choices` is {count}; it must be from 1 to {MAX_CHOICES}");
                return Err(Error::invalid_request(text));
            }
        };
        let answers = (0..count).map(|number| self.answer(cx, nth(&request, number)));
        let mut answers = Box::pin(cx.guard(try_join_all(answers))).await?.into_iter();
        let mut first = answers.next().ok_or_else(|| Error::response_invalid("there is no answer"))?;
        for other in answers {
            // The conversation was read once.
            let written = Usage { input_tokens: None, cached_tokens: None, ..other.usage };
            first.usage = first.usage.plus(written);
            first.alternatives.push(other.into());
        }
        Ok(first)
    }

    async fn stream(&self, cx: &Context, request: ChatRequest) -> Result<ChatStream> {
        request.check_raw()?;
        Box::pin(cx.guard(self.begin(cx, &request))).await
    }

    async fn ready(&self, cx: &Context) -> Result<()> {
        cx.guard(self.worker.ready(cx)).await.map(|_| ())
    }

    fn window(&self) -> Option<usize> {
        self.worker.loaded().map(ChatModel::window)
    }

    fn count_tokens(&self, request: &ChatRequest) -> Result<usize> {
        let conflict = || Error::new(ErrorKind::Conflict, "the model is not loaded yet; await `ready` first");
        self.worker.loaded().ok_or_else(conflict)?.count_tokens(request)
    }
}
