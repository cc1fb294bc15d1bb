//! Vectors, as a server writes them and as a client reads them.

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::EncodingFormat;
use crate::embed::EmbedResponse;
use crate::error::{Error, Result};
use crate::info::Usage;
use crate::media::BASE64;
use crate::wire::numbers;
use crate::wire::openai::chat::read_usage;

/// The body that answers `POST /embeddings`.
#[derive(Debug, Serialize)]
pub struct EmbeddingList<'a> {
    object: &'static str,
    model: &'a str,
    data: Vec<EmbeddingJson<'a>>,
    usage: EmbeddingUsageJson,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    ignored: &'a [String],
}

#[derive(Debug, Serialize)]
struct EmbeddingJson<'a> {
    object: &'static str,
    index: usize,
    embedding: VectorJson<'a>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum VectorJson<'a> {
    Numbers(&'a [f32]),
    Base64(String),
}

#[derive(Debug, Serialize)]
struct EmbeddingUsageJson {
    prompt_tokens: u64,
    total_tokens: u64,
}

impl<'a> EmbeddingList<'a> {
    /// The body for a response. `model` is the name that the client asked for.
    pub fn new(response: &'a EmbedResponse, model: &'a str, encoding_format: EncodingFormat) -> Self {
        let embedding = |(index, vector): (usize, &'a [f32])| EmbeddingJson {
            object: "embedding",
            index,
            embedding: match encoding_format {
                EncodingFormat::Float => VectorJson::Numbers(vector),
                EncodingFormat::Base64 => VectorJson::Base64(base64(vector)),
            },
        };
        let tokens = response.usage.input_tokens.unwrap_or(0);
        Self {
            object: "list",
            model,
            data: response.vectors.iter().enumerate().map(embedding).collect(),
            usage: EmbeddingUsageJson { prompt_tokens: tokens, total_tokens: tokens },
            ignored: &[],
        }
    }

    /// Names the fields of the request that counted for nothing.
    pub fn with_ignored(mut self, fields: &'a [String]) -> Self {
        self.ignored = fields;
        self
    }
}

pub(super) fn base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
    BASE64.encode(bytes)
}

/// A response as it comes: every field may be missing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RawEmbeddings {
    data: Option<Vec<RawEmbedding>>,
    pub(crate) model: Option<String>,
    usage: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawEmbedding {
    index: Option<u64>,
    embedding: Value,
}

impl RawEmbeddings {
    /// Tokens used, where the response says so.
    pub(crate) fn usage(&self) -> Usage {
        Usage::new(read_usage(&self.usage).input_tokens, None)
    }

    /// The vectors in the order of the inputs: by `index` where the items have one, else as they came.
    ///
    /// # Errors
    /// `response_invalid` where there is no list, an index is missing or twice there, or a vector is none.
    pub(crate) fn into_rows(self) -> Result<Vec<Vec<f32>>> {
        let items = self.data.ok_or_else(|| Error::response_invalid("the answer holds no `data`"))?;
        let of = items.len();
        let mut rows: Vec<Option<Vec<f32>>> = Vec::new();
        rows.resize_with(of, || None);
        let indexed = items.iter().any(|item| item.index.is_some());
        for (position, item) in items.into_iter().enumerate() {
            // Servers that write only what is not zero leave the first index out.
            let index = if indexed { item.index.unwrap_or(0) } else { position as u64 };
            let vector = read_vector(&item.embedding, position)?;
            let row = usize::try_from(index).ok().and_then(|index| rows.get_mut(index));
            match row {
                Some(row @ None) => *row = Some(vector),
                Some(Some(_)) => {
                    return Err(Error::response_invalid(format!("two vectors came back with index {index}")));
                }
                None => {
                    return Err(Error::response_invalid(format!(
                        "index {index} came back among {of} vectors"
                    )));
                }
            }
        }
        Ok(rows.into_iter().flatten().collect())
    }
}

/// A list of numbers, or the base64 of little-endian 32-bit floats.
pub(super) fn read_vector(embedding: &Value, position: usize) -> Result<Vec<f32>> {
    let Value::String(text) = embedding else { return numbers::vector(embedding, position) };
    let refuse = |why: &str| Error::response_invalid(format!("vector {position} {why}"));
    let bytes = BASE64.decode(text.trim()).map_err(|_| refuse("is neither a list of numbers nor base64"))?;
    let (floats, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(refuse(&format!("has {} bytes of base64, which is no number of floats", bytes.len())));
    }
    let floats: Vec<f32> = floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    match floats.iter().all(|number| number.is_finite()) {
        true => Ok(floats),
        false => Err(refuse("holds something that is no number")),
    }
}
