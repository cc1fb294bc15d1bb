//! A vector for each token, whatever stands around it: sentence-transformers' `StaticEmbedding` and the models of model2vec.
//! Pooling makes the mean of them. Vectors are those of sentence-transformers: unknown tokens count, which model2vec's own
//! library leaves out.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{TextEncoder, Tokens, config};
use crate::error::{Error, ErrorKind, Result};
use crate::local::ops::{Device, Embedding, Tensor};
use crate::local::source::ModelFiles;
use crate::local::weights::{Parameters, Weights};

/// The `model_type` that model2vec writes. sentence-transformers writes no `config.json` for such a model.
pub(crate) const MODEL2VEC: &str = "model2vec";

/// The name of the table in the weights of sentence-transformers, and of model2vec.
const TABLE: &str = "embedding.weight";
const TABLE_OF_MODEL2VEC: &str = "embeddings";

/// The tensors beside a table whose vocabulary model2vec has quantised: several tokens share a row, or rows have weights.
const QUANTISED: [&str; 2] = ["mapping", "weights"];

/// The most tokens of a text. The architecture has no limit; this one bounds the memory of one text.
const WINDOW: usize = 32_768;

/// A table of vectors.
#[derive(Debug)]
pub(super) struct StaticEmbedding {
    table: Embedding,
    config: TableConfig,
}

#[derive(Debug, Deserialize)]
struct TableConfig {
    vocab_size: usize,
    hidden_size: usize,
}

/// The configuration of such a model: `config.json` says nothing of the table, so it is read from the weights.
///
/// # Errors
/// `model_load` if there is no table, or model2vec has quantised its vocabulary.
pub(crate) fn static_config(files: &ModelFiles) -> Result<Value> {
    let weights = Weights::open(files)?;
    let wrong = |why: String| Err(Error::new(ErrorKind::ModelLoad, why));
    if let Some(name) = QUANTISED.iter().find(|name| weights.shape(name).is_some()) {
        return wrong(format!(
            "the weights have a tensor `{name}`: a vocabulary that model2vec has quantised is not supported; save the model \
             without `vocabulary_quantization`"
        ));
    }
    match [TABLE, TABLE_OF_MODEL2VEC].iter().find_map(|name| weights.shape(name)) {
        Some(&[count, width]) => {
            Ok(json!({ "model_type": MODEL2VEC, "vocab_size": count, "hidden_size": width }))
        }
        Some(shape) => {
            wrong(format!("the table of vectors has the shape {shape:?}; expected [tokens, width]"))
        }
        None => wrong(format!("the weights have neither a tensor `{TABLE}` nor `{TABLE_OF_MODEL2VEC}`")),
    }
}

impl StaticEmbedding {
    /// Reads the table.
    ///
    /// # Errors
    /// `model_load` if it is missing, has another shape, or numbers that are not finite.
    pub(super) fn new(config: &Value, weights: &Weights, device: &Device) -> Result<Self> {
        let config: TableConfig = config::read(config)?;
        let renamed = weights.renamed(|name| match name {
            TABLE_OF_MODEL2VEC => Some(TABLE.to_owned()),
            _ => Some(name.to_owned()),
        });
        let parameters = Parameters::new(&renamed, device);
        let table = parameters.embedding("embedding", config.vocab_size, config.hidden_size)?;
        Ok(Self { table, config })
    }
}

impl TextEncoder for StaticEmbedding {
    fn width(&self) -> usize {
        self.config.hidden_size
    }

    fn window(&self) -> usize {
        WINDOW
    }

    fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }

    fn is_table(&self) -> bool {
        true
    }

    fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        tokens.check(self.window())?;
        self.table.forward(tokens.ids())
    }
}
