//! Which vectors may be compared with which.

use std::hash::{Hash, Hasher};

use serde::{Deserialize, Serialize};

#[cfg(feature = "candle")]
use crate::error::{Error, Result};

/// What makes vectors comparable. Two backends may stand in for each other, and share a cache, only if their
/// spaces are equal. A field that only one of them knows makes them differ.
///
/// Models in this process have a fingerprint of all that decides their vectors. Two spaces with fingerprints are equal if
/// these and the widths are, whatever the models are called: a model from the Hub and a copy in a folder make vectors that
/// compare, and two folders of the same name need not.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct EmbeddingSpace {
    /// The model, as its publisher names it: `sentence-transformers/all-MiniLM-L6-v2`.
    pub model: String,
    /// The revision of the weights.
    pub revision: Option<String>,
    /// The width of a vector; `None` where it is not known yet.
    pub dimensions: Option<usize>,
    /// How the vectors of tokens become one vector.
    pub pooling: Option<Pooling>,
    /// Whether vectors have unit length; true by default.
    pub normalised: bool,
    /// The set of prompts put before queries and documents.
    pub prompt_set: Option<String>,
    /// A hash of what decides the vectors but their width: weights, configuration, tokenizer, pooling, prompts. Models in
    /// this process have one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// What two spaces must have in common.
#[derive(PartialEq, Eq, Hash)]
enum Identity<'a> {
    Fingerprint(&'a str, Option<usize>),
    Declared {
        model: &'a str,
        revision: Option<&'a str>,
        dimensions: Option<usize>,
        pooling: Option<Pooling>,
        normalised: bool,
        prompt_set: Option<&'a str>,
    },
}

impl PartialEq for EmbeddingSpace {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for EmbeddingSpace {}

impl Hash for EmbeddingSpace {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}

impl Default for EmbeddingSpace {
    fn default() -> Self {
        Self {
            model: String::new(),
            revision: None,
            dimensions: None,
            pooling: None,
            normalised: true,
            prompt_set: None,
            fingerprint: None,
        }
    }
}

impl EmbeddingSpace {
    /// The space of a model's unit-length vectors about which nothing else is known.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
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

    /// Names the set of prompts.
    pub fn with_prompt_set(mut self, prompts: impl Into<Option<String>>) -> Self {
        self.prompt_set = prompts.into();
        self
    }

    /// Says whether vectors have unit length.
    pub fn with_normalised(mut self, normalised: bool) -> Self {
        self.normalised = normalised;
        self
    }

    /// Sets the fingerprint of what decides the vectors.
    pub fn with_fingerprint(mut self, fingerprint: impl Into<Option<String>>) -> Self {
        self.fingerprint = fingerprint.into();
        self
    }

    fn identity(&self) -> Identity<'_> {
        match &self.fingerprint {
            Some(fingerprint) => Identity::Fingerprint(fingerprint, self.dimensions),
            None => Identity::Declared {
                model: &self.model,
                revision: self.revision.as_deref(),
                dimensions: self.dimensions,
                pooling: self.pooling,
                normalised: self.normalised,
                prompt_set: self.prompt_set.as_deref(),
            },
        }
    }

    /// This space under the model and revision that `declared` names, so that it can be compared with spaces that have no
    /// fingerprint; everything else stays as the files say. Fields that both know must agree.
    ///
    /// # Errors
    /// `config_invalid` naming the fields that differ.
    #[cfg(feature = "candle")]
    pub(crate) fn declared_as(&self, declared: &Self) -> Result<Self> {
        let wrong = |declared: bool, known: bool, equal: bool| declared && known && !equal;
        let (said, own) = (declared, self);
        let checks = [
            (
                "revision",
                wrong(said.revision.is_some(), own.revision.is_some(), said.revision == own.revision),
            ),
            (
                "dimensions",
                wrong(said.dimensions.is_some(), own.dimensions.is_some(), said.dimensions == own.dimensions),
            ),
            ("pooling", wrong(said.pooling.is_some(), own.pooling.is_some(), said.pooling == own.pooling)),
            ("normalised", said.normalised != own.normalised),
            ("prompt_set", wrong(said.prompt_set.is_some(), true, said.prompt_set == own.prompt_set)),
            (
                "fingerprint",
                wrong(
                    said.fingerprint.is_some(),
                    own.fingerprint.is_some(),
                    said.fingerprint == own.fingerprint,
                ),
            ),
        ];
        let wrong: Vec<_> = checks.iter().filter(|(_, is_wrong)| *is_wrong).map(|(name, _)| *name).collect();
        if !wrong.is_empty() {
            let fields = wrong.join("`, `");
            return Err(Error::config(format!(
                "`space` contradicts the files of {} about `{fields}`; leave these fields out",
                own.model
            )));
        }
        let (said, own) = (said.clone(), own.clone());
        let (model, fingerprint) = match said.model.is_empty() {
            true => (own.model, own.fingerprint),
            false => (said.model, said.fingerprint),
        };
        Ok(Self {
            model,
            revision: said.revision.or(own.revision),
            dimensions: own.dimensions.or(said.dimensions),
            pooling: own.pooling.or(said.pooling),
            fingerprint,
            normalised: own.normalised,
            prompt_set: own.prompt_set,
        })
    }

    /// The names of the fields in which `self` and `other` differ; none if they are equal.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        // The names of models say nothing where there are fingerprints, and these say all but the width.
        let by_fingerprint = self.fingerprint.is_some() && other.fingerprint.is_some();
        let is_same = by_fingerprint && self.fingerprint == other.fingerprint;
        let checks = [
            ("model", by_fingerprint || self.model == other.model),
            ("revision", by_fingerprint || self.revision == other.revision),
            ("dimensions", self.dimensions == other.dimensions),
            ("pooling", is_same || self.pooling == other.pooling),
            ("normalised", is_same || self.normalised == other.normalised),
            ("prompt_set", is_same || self.prompt_set == other.prompt_set),
            ("fingerprint", self.fingerprint == other.fingerprint),
        ];
        checks.iter().filter(|(_, equal)| !equal).map(|(name, _)| *name).collect()
    }
}

/// How the vectors of tokens become one vector.
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
    /// The maximum over tokens, for each number of the vector.
    Max,
    /// The mean weighted by position.
    WeightedMean,
}

/// The name of a set of prompts in an embedding space; `None` if there is no prompt in it.
pub(crate) fn prompt_set(query: Option<&str>, document: Option<&str>) -> Option<String> {
    let [query, document] = [query, document].map(Option::unwrap_or_default);
    (!query.is_empty() || !document.is_empty()).then(|| format!("query={query:?} document={document:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_decide_where_both_spaces_have_one() {
        let hub = EmbeddingSpace::new("org/name").with_revision("abc".to_owned()).with_dimensions(8);
        let printed = |space: &EmbeddingSpace, print: &str| space.clone().with_fingerprint(print.to_owned());
        let folder = EmbeddingSpace::new("model").with_dimensions(8);
        assert_eq!(printed(&hub, "1"), printed(&folder, "1"));
        assert!(printed(&hub, "1").differences(&printed(&folder, "1")).is_empty());
        assert_ne!(printed(&folder, "1"), printed(&folder, "2"));
        assert_eq!(printed(&folder, "1").differences(&printed(&folder, "2")), ["fingerprint"]);
        assert_eq!(
            printed(&hub, "1").differences(&printed(&folder.clone().with_dimensions(4), "1")),
            ["dimensions"]
        );
        assert_ne!(printed(&hub, "1"), hub, "what only one of them knows makes them differ");
        let set = std::collections::HashSet::from([printed(&hub, "1"), printed(&folder, "1"), hub.clone()]);
        assert_eq!(set.len(), 2);
        let text = serde_json::to_value(&hub).unwrap();
        assert!(text.get("fingerprint").is_none(), "{text}");
    }

    #[test]
    fn blank_prompts_leave_the_space_as_it_is() {
        assert_eq!(prompt_set(Some(""), None), None);
        assert_eq!(prompt_set(Some("q"), None).as_deref(), Some("query=\"q\" document=\"\""));
    }
}
