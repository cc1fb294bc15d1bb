//! Images in conversations: the tokens that stand for them in a prompt, and the states that the model's tower makes of them.
//!
//! The tower runs on a thread beside the model's own, one image at a time: the pool shares the processor between the two, so
//! that answers in progress go on. What it made is kept for later turns.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::{Semaphore, oneshot};

use crate::chat::{ChatRequest, Part};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::local::models::ImageEncoder;
use crate::local::ops::{Device, Tensor};
use crate::local::runtime::thread_lost;
use crate::local::source::ModelFiles;
use crate::local::tokenizer::{ChatTokenizer, Prompt};
use crate::local::vision::{Limits, Preprocessor, decode};
use crate::local::weights::{Storage, Weights};
use crate::media::ImageData;

/// Memory for the states of images that may come again. One of Gemma 3 4B takes 2.6 MB.
const STORED_BYTES: usize = 128 << 20;

/// Ids from here on stand for images: no vocabulary has them.
const FIRST_ID: u32 = 1 << 31;

/// Whether an id in a prompt stands for an image.
pub(super) fn is_image(id: u32) -> bool {
    id >= FIRST_ID
}

/// What a model says that reads no images.
const TEXT_ONLY: &str = "reads text only";
const GGUF: &str = "reads text only, because a GGUF file holds that part of it alone: for images open its safetensors repository";
const NO_PROCESSOR: &str = "reads text only, because there is neither preprocessor_config.json nor processor_config.json beside its weights";

/// An image of a prompt.
#[derive(Clone, Debug)]
pub(super) struct PromptImage {
    /// The tokens that stand for it.
    pub(super) tokens: Range<usize>,
    /// What the decoder takes in their places.
    pub(super) states: Tensor,
}

/// What a model reads images with.
#[derive(Debug)]
pub(super) struct ImageReader {
    encoder: ImageEncoder,
    preprocessor: Preprocessor,
    limits: Limits,
    device: Device,
    /// What the template writes for an image, and what the model reads instead.
    mark: String,
    sequence: String,
    stored: Mutex<Stored>,
    turns: Arc<Semaphore>,
}

/// Images that were read, the longest unused first.
#[derive(Debug, Default)]
struct Stored {
    images: Vec<StoredImage>,
    /// How many were ever read.
    count: u32,
}

#[derive(Clone, Debug)]
struct StoredImage {
    digest: [u8; 32],
    /// What stands for it in prompts, and for no other image: a prompt that begins with other images is another one.
    id: u32,
    states: Tensor,
}

/// Whether a model reads images; if not, why.
///
/// # Errors
/// `model_load` if the file that says how they are prepared is not as expected.
pub(super) fn preprocessor(
    files: &ModelFiles,
    config: &Value,
    weights: &Weights,
) -> Result<std::result::Result<Preprocessor, &'static str>> {
    let is_gemma =
        config.get("model_type").and_then(Value::as_str).is_some_and(|name| name.starts_with("gemma3"));
    if !ImageEncoder::is_in(config, weights) {
        return Ok(Err(if is_gemma && weights.metadata().is_some() { GGUF } else { TEXT_ONLY }));
    }
    Ok(Preprocessor::of_model(files)?.ok_or(NO_PROCESSOR))
}

/// The images of a conversation, in order.
///
/// # Errors
/// `unsupported` for one that would have to be fetched, `invalid_request` for one that is none.
pub(super) fn of_request(request: &ChatRequest) -> Result<Vec<ImageData>> {
    let parts = request.messages.iter().flat_map(|message| message.content.parts());
    let image = |part: &Part| match part {
        Part::Image { image, .. } => Some(Ok(image.clone())),
        Part::ImageUrl { url, .. } if ImageData::is_data_url(url) => Some(ImageData::from_base64(url)),
        Part::ImageUrl { .. } => Some(Err(Error::unsupported_option(
            "messages",
            "a local model fetches no `image_url`: send the image itself, or a `data:` URL",
        ))),
        _ => None,
    };
    parts.filter_map(image).collect()
}

impl ImageReader {
    /// Reads the encoder of a model that has one.
    ///
    /// # Errors
    /// `model_load` if a file is not as expected.
    pub(super) fn open(
        preprocessor: Preprocessor,
        config: &Value,
        weights: &Weights,
        tokenizer: &ChatTokenizer,
        (device, storage, limits): (&Device, Storage, Limits),
    ) -> Result<Self> {
        let encoder = ImageEncoder::open(config, weights, device, storage)?;
        let [height, width] = encoder.image_size();
        let wrong = |what: String| Error::new(ErrorKind::ModelLoad, what);
        if preprocessor.fixed_size() != Some((height, width)) {
            let prepared = preprocessor.fixed_size();
            let text =
                format!("images are prepared as {prepared:?}, but the model takes ({height}, {width})");
            return Err(wrong(text));
        }
        let text = |id: u32| {
            let text = String::from_utf8_lossy(tokenizer.bytes_of(id)).into_owned();
            let is_token = tokenizer.added().iter().any(|token| token.is_control && token.id == id);
            is_token
                .then_some(text)
                .ok_or_else(|| wrong(format!("the tokenizer has no control token {id}, which images need")))
        };
        let tokens = encoder.tokens;
        let (mark, end) = (text(tokens.begin)?, text(tokens.end)?);
        // As transformers' processor writes it.
        let sequence = format!("\n\n{mark}{}{end}\n\n", text(tokens.image)?.repeat(tokens.count));
        Ok(Self {
            encoder,
            preprocessor,
            limits,
            device: device.clone(),
            mark,
            sequence,
            stored: Mutex::default(),
            turns: Arc::new(Semaphore::new(1)),
        })
    }

    /// Makes room for the images of a conversation in its prompt.
    ///
    /// # Errors
    /// `unsupported` if the template has not a place for each.
    pub(super) fn make_room(&self, prompt: &mut Prompt, images: usize) -> Result<()> {
        match prompt.replace(&self.mark, &self.sequence) {
            found if found == images => Ok(()),
            found => Err(Error::unsupported(format!(
                "the model's chat template has places for {found} of the conversation's {images} images"
            ))),
        }
    }

    /// The tokens of a prompt that stand for its images.
    ///
    /// # Errors
    /// `config_invalid` if the tokenizer made something else of the room for them.
    pub(super) fn places(&self, prompt: &[u32], images: usize) -> Result<Vec<Range<usize>>> {
        let tokens = self.encoder.tokens;
        let (mut places, mut at) = (Vec::new(), 0);
        while let Some(found) = prompt[at..].iter().position(|id| *id == tokens.image) {
            let place = at + found..at + found + tokens.count;
            let is_whole =
                prompt.get(place.clone()).is_some_and(|all| all.iter().all(|id| *id == tokens.image));
            // Another token follows: an image is never the last of a prompt.
            if !is_whole || prompt.get(place.end).is_none_or(|next| *next == tokens.image) {
                break;
            }
            at = place.end;
            places.push(place);
        }
        let rest = prompt[at..].contains(&tokens.image);
        if rest || places.len() != images {
            return Err(Error::config(
                "the model's tokenizer does not keep the tokens that stand for images",
            ));
        }
        Ok(places)
    }

    /// Reads an image into a prompt.
    ///
    /// # Errors
    /// `invalid_request` if it is damaged, or above the limits; those of the context.
    pub(super) async fn read(
        self: &Arc<Self>,
        cx: &Context,
        image: ImageData,
        prompt: &mut [u32],
        tokens: Range<usize>,
    ) -> Result<PromptImage> {
        let digest = Sha256::digest(image.bytes()).into();
        let stored = self.stored().find(&digest);
        let read = match stored {
            Some(stored) => stored,
            None => self.encoded(cx, image, digest).await?,
        };
        if let Some(places) = prompt.get_mut(tokens.clone()) {
            places.fill(read.id);
        }
        Ok(PromptImage { tokens, states: read.states })
    }

    /// Runs the tower once it is this image's turn.
    async fn encoded(
        self: &Arc<Self>,
        cx: &Context,
        image: ImageData,
        digest: [u8; 32],
    ) -> Result<StoredImage> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| thread_lost())?;
        // Somebody else may have sent the same.
        if let Some(stored) = self.stored().find(&digest) {
            return Ok(stored);
        }
        let (sender, receiver) = oneshot::channel();
        let (own, cx) = (Arc::clone(self), cx.clone());
        let work = move || {
            let _turn = turn;
            let check = || match sender.is_closed() {
                true => Err(Error::new(ErrorKind::Cancelled, "nobody waits for the image")),
                false => cx.check(),
            };
            let states = catch_unwind(AssertUnwindSafe(|| own.encode(&image, &check)));
            let states = states.unwrap_or_else(|_| Err(thread_lost()));
            let stored = states.map(|states| own.stored().keep(digest, states));
            // The caller may have left.
            let _ = sender.send(stored);
        };
        std::thread::Builder::new().name("ayni-image".to_owned()).spawn(work).map_err(|error| {
            Error::new(ErrorKind::OutOfMemory, "no thread can be started to read an image").with_source(error)
        })?;
        receiver.await.unwrap_or_else(|_| Err(thread_lost()))
    }

    fn encode(&self, image: &ImageData, check: &dyn Fn() -> Result<()>) -> Result<Tensor> {
        check()?;
        let decoded = decode(image, &self.limits)?;
        check()?;
        let pixels = self.preprocessor.prepare(&self.device.cpu, &decoded)?;
        let dims = [1, pixels.height, pixels.width, 3];
        self.encoder.encode(&Tensor::from_vec(&self.device, pixels.values, dims)?, check)
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        self.stored.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stored {
    fn find(&mut self, digest: &[u8; 32]) -> Option<StoredImage> {
        let found = self.images.iter().position(|image| image.digest == *digest)?;
        let image = self.images.remove(found);
        self.images.push(image.clone());
        Some(image)
    }

    fn keep(&mut self, digest: [u8; 32], states: Tensor) -> StoredImage {
        let image = StoredImage { digest, id: FIRST_ID | self.count, states };
        self.count = (self.count + 1) % FIRST_ID;
        self.images.push(image.clone());
        let bytes = |image: &StoredImage| image.states.dims().iter().product::<usize>() * size_of::<f32>();
        while self.images.len() > 1 && self.images.iter().map(bytes).sum::<usize>() > STORED_BYTES {
            self.images.remove(0);
        }
        image
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::local::models::config_of_gguf;
    use crate::local::ops::Precision;
    use crate::local::testing::cpus;

    #[test]
    fn a_gguf_file_says_that_it_holds_the_text_part_alone() {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/causal/gemma3"));
        let files = ModelFiles::in_folder(&folder).unwrap();
        let weights = Weights::open_files(&[folder.join("model.gguf")]).unwrap();
        let config = config_of_gguf(&weights).unwrap();
        assert_eq!(preprocessor(&files, &config, &weights).unwrap(), Err(GGUF));
        let weights = Weights::open_files(&[folder.join("model.safetensors")]).unwrap();
        let config: Value = files.needed_json("config.json").unwrap();
        assert_eq!(preprocessor(&files, &config, &weights).unwrap(), Err(TEXT_ONLY));
    }

    #[test]
    fn images_are_remembered_up_to_a_bound_and_none_has_the_id_of_another() {
        let device = Device::on_cpu(cpus().remove(0), Precision::F32);
        let width = STORED_BYTES / size_of::<f32>() / 4;
        let states =
            |number: u8| Tensor::from_vec(&device, vec![f32::from(number); width], [1, width]).unwrap();
        let mut stored = Stored::default();
        let first = stored.keep([0; 32], states(0)).id;
        let others: Vec<u32> = (1..4).map(|number| stored.keep([number; 32], states(number)).id).collect();
        assert!(others.iter().all(|id| *id != first && *id >= FIRST_ID));
        assert_eq!(stored.find(&[0; 32]).unwrap().id, first);
        stored.keep([4; 32], states(4));
        // The longest unused goes, and has another id when it comes again.
        assert!(stored.find(&[1; 32]).is_none() && stored.find(&[0; 32]).is_some());
        let again = stored.keep([1; 32], states(1));
        assert!(again.id != others[0] && again.states.values().unwrap()[0] == 1.0);
    }
}
