//! A vector for each token, whatever stands around it: sentence-transformers' `StaticEmbedding` and the models of model2vec.
//! Pooling makes the mean of them.

use serde_json::{Value, json};

use super::{TextEncoder, Tokens};
use crate::error::{Error, ErrorKind, Result};
use crate::local::ops::{Device, Embedding, Tensor};
use crate::local::source::ModelFiles;
use crate::local::weights::{Parameters, Weights};

/// What its `model_type` is. Model2vec writes it; sentence-transformers writes no `config.json` at all.
pub(crate) const MODEL2VEC: &str = "model2vec";

/// The name of the table, as sentence-transformers has it, and model2vec's.
const TABLE: &str = "embedding.weight";
const TABLE_OF_MODEL2VEC: &str = "embeddings";

/// The parts of vocabularies that model2vec has quantised: several tokens share a row, or rows have weights of their own.
const QUANTISED: [&str; 2] = ["mapping", "weights"];

/// The most tokens of a text. The architecture has no limit; one text shall not take more memory than a batch of others.
const WINDOW: usize = 32_768;

/// A table of vectors.
#[derive(Debug)]
pub(super) struct StaticEmbedding {
    table: Embedding,
    sizes: [usize; 2],
}

/// The configuration of such a model, from what its weights are.
///
/// # Errors
/// `model_load` if there is no table, or one that model2vec has quantised.
pub(crate) fn static_config(files: &ModelFiles) -> Result<Value> {
    let weights = Weights::open(files)?;
    if let Some(name) = QUANTISED.iter().find(|name| weights.shape(name).is_some()) {
        return Err(wrong(format!(
            "the table has `{name}`: vocabularies that model2vec has quantised are not supported; save the model without"
        )));
    }
    match [TABLE, TABLE_OF_MODEL2VEC].iter().find_map(|name| weights.shape(name)) {
        Some(&[count, width]) => {
            Ok(json!({ "model_type": MODEL2VEC, "vocab_size": count, "hidden_size": width }))
        }
        Some(shape) => {
            Err(wrong(format!("the table of vectors has the shape {shape:?}; expected two sides")))
        }
        None => Err(wrong(format!("there is neither a tensor `{TABLE}` nor `{TABLE_OF_MODEL2VEC}`"))),
    }
}

impl StaticEmbedding {
    /// Reads the table.
    ///
    /// # Errors
    /// `model_load` if it is missing or has another shape.
    pub(super) fn new(config: &Value, weights: &Weights, device: &Device) -> Result<Self> {
        let side =
            |name: &str| config.get(name).and_then(Value::as_u64).and_then(|side| side.try_into().ok());
        let (Some(count), Some(width)) = (side("vocab_size"), side("hidden_size")) else {
            return Err(wrong(
                "the configuration of the table has no `vocab_size` and `hidden_size`".to_owned(),
            ));
        };
        let renamed = weights.renamed(|name| match name {
            TABLE_OF_MODEL2VEC => Some(TABLE.to_owned()),
            _ => Some(name.to_owned()),
        });
        let table = Parameters::new(&renamed, device).embedding("embedding", count, width)?;
        Ok(Self { table, sizes: [count, width] })
    }
}

impl TextEncoder for StaticEmbedding {
    fn width(&self) -> usize {
        self.sizes[1]
    }

    fn window(&self) -> usize {
        WINDOW
    }

    fn vocabulary(&self) -> usize {
        self.sizes[0]
    }

    fn takes_special_tokens(&self) -> bool {
        false
    }

    fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        tokens.check(self.window())?;
        self.table.forward(tokens.ids())
    }
}

fn wrong(message: String) -> Error {
    Error::new(ErrorKind::ModelLoad, message)
}
