//! Which vectors may be compared with which.

use serde::{Deserialize, Serialize};

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
