//! Well-known models: the width, pooling and prompts of their vectors, wherever they run.

use serde::Serialize;

use super::space::{EmbeddingSpace, Pooling};

mod table;

use table::KNOWN;

/// A well-known embedding model, as its publisher documents it. It runs in this process, and may run elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct KnownModel {
    /// Its id on the Hub.
    pub id: &'static str,
    /// The width of its vectors.
    pub dimensions: usize,
    /// How the vectors of tokens become one vector; `None` for models of texts and images.
    pub pooling: Option<Pooling>,
    /// The `model_type` of its configuration.
    pub architecture: &'static str,
    /// The most tokens of a text.
    pub window: usize,
    /// Its size.
    pub parameters_in_millions: usize,
    /// `English`, `Chinese` or `multilingual`.
    pub languages: &'static str,
    /// The licence of the weights; `None` where the publisher names none.
    pub licence: Option<&'static str>,
}

/// The well-known embedding models. A local model's own files take precedence over what is said here; other models of the
/// same architectures run too.
pub fn known_models() -> &'static [KnownModel] {
    KNOWN
}

impl EmbeddingSpace {
    /// Fills in the width and pooling of a well-known model, by its id on the Hub: they are the same wherever it runs.
    /// Fields that are set stay as they are. Revision, normalisation and prompts depend on who runs the model and are never
    /// filled in.
    ///
    /// ```
    /// use ayni::{EmbeddingSpace, Pooling};
    ///
    /// let space = EmbeddingSpace::new("sentence-transformers/all-MiniLM-L6-v2").completed();
    /// assert_eq!((space.dimensions, space.pooling), (Some(384), Some(Pooling::Mean)));
    /// assert_eq!(EmbeddingSpace::new("my/model").completed(), EmbeddingSpace::new("my/model"));
    /// ```
    pub fn completed(mut self) -> Self {
        if let Some(known) = KNOWN.iter().find(|known| known.id == self.model) {
            self.dimensions = self.dimensions.or(Some(known.dimensions));
            self.pooling = self.pooling.or(known.pooling);
        }
        self
    }
}

#[cfg(feature = "candle")]
pub(crate) use families::prompts;

/// The prompts before queries and documents, by family of models.
#[cfg(feature = "candle")]
mod families {
    /// Models with the same prompts, which their repositories do not declare.
    struct Family {
        /// The names of the repositories, without their publisher, in lower case.
        names: &'static [&'static str],
        query: &'static str,
        document: &'static str,
    }

    const BGE: &str = "Represent this sentence for searching relevant passages: ";
    const BGE_CHINESE: &str = "为这个句子生成表示以用于检索相关文章：";

    /// As their publishers document them. A prompt that a repository declares takes precedence. Models without a documented
    /// prompt are not listed, nor those whose prompt contains the caller's task.
    const FAMILIES: &[Family] = &[
        Family {
            names: &[
                "e5-small",
                "e5-base",
                "e5-large",
                "e5-small-v2",
                "e5-base-v2",
                "e5-large-v2",
                "multilingual-e5-small",
                "multilingual-e5-base",
                "multilingual-e5-large",
            ],
            query: "query: ",
            document: "passage: ",
        },
        Family {
            names: &[
                "bge-small-en",
                "bge-base-en",
                "bge-large-en",
                "bge-small-en-v1.5",
                "bge-base-en-v1.5",
                "bge-large-en-v1.5",
                "snowflake-arctic-embed-xs",
                "snowflake-arctic-embed-s",
                "snowflake-arctic-embed-m",
                "snowflake-arctic-embed-m-long",
                "snowflake-arctic-embed-m-v1.5",
                "snowflake-arctic-embed-l",
                "mxbai-embed-large-v1",
                "uae-large-v1",
            ],
            query: BGE,
            document: "",
        },
        Family {
            names: &[
                "bge-small-zh",
                "bge-base-zh",
                "bge-large-zh",
                "bge-small-zh-v1.5",
                "bge-base-zh-v1.5",
                "bge-large-zh-v1.5",
            ],
            query: BGE_CHINESE,
            document: "",
        },
        Family {
            names: &["snowflake-arctic-embed-m-v2.0", "snowflake-arctic-embed-l-v2.0"],
            query: "query: ",
            document: "",
        },
        Family {
            names: &[
                "nomic-embed-text-v1",
                "nomic-embed-text-v1.5",
                "modernbert-embed-base",
                "modernbert-embed-large",
            ],
            query: "search_query: ",
            document: "search_document: ",
        },
    ];

    /// The prompts for queries and documents of a well-known model, by its id on the Hub or the name of its folder.
    pub(crate) fn prompts(model: &str) -> Option<[Option<&'static str>; 2]> {
        let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
        let family = FAMILIES.iter().find(|family| family.names.contains(&name.as_str()))?;
        Some([family.query, family.document].map(|prompt| (!prompt.is_empty()).then_some(prompt)))
    }

    #[cfg(test)]
    mod tests {
        use super::super::KNOWN;
        use super::*;

        #[test]
        fn families_are_found_by_id_and_by_folder() {
            for name in ["intfloat/multilingual-e5-small", "multilingual-e5-small", "x/Multilingual-E5-Small"]
            {
                assert_eq!(prompts(name), Some([Some("query: "), Some("passage: ")]), "{name}");
            }
            assert_eq!(prompts("BAAI/bge-base-en-v1.5").unwrap()[1], None);
            assert_eq!(prompts("sentence-transformers/all-MiniLM-L6-v2"), None);
        }

        #[test]
        fn names_that_begin_alike_are_not_of_a_family() {
            for name in [
                "intfloat/multilingual-e5-large-instruct",
                "BAAI/bge-m3",
                "Snowflake/snowflake-arctic-embed-m-v2.0-ko",
                "nomic-ai/nomic-embed-text-v2-moe",
            ] {
                assert_eq!(prompts(name), None, "{name}");
            }
            let arctic = ["snowflake-arctic-embed-m-v1.5", "snowflake-arctic-embed-m-v2.0"]
                .map(|name| prompts(name).unwrap()[0]);
            assert_eq!(arctic, [Some(BGE), Some("query: ")]);
        }

        #[test]
        fn every_model_of_a_family_is_one_whose_width_and_pooling_are_known() {
            for name in FAMILIES.iter().flat_map(|family| family.names) {
                let found: Vec<_> = KNOWN
                    .iter()
                    .filter(|known| {
                        known.id.rsplit('/').next().is_some_and(|last| last.eq_ignore_ascii_case(name))
                    })
                    .collect();
                assert_eq!(found.len(), 1, "{name}");
                assert!(found[0].pooling.is_some(), "{name}");
            }
        }

        #[test]
        fn no_model_is_in_two_families() {
            let mut names: Vec<_> = FAMILIES.iter().flat_map(|family| family.names).collect();
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count);
            assert!(names.iter().all(|name| **name == name.to_ascii_lowercase()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_space_is_never_changed() {
        let said = EmbeddingSpace::new("BAAI/bge-m3").with_dimensions(256).with_pooling(Pooling::Mean);
        assert_eq!(said.clone().completed(), said);
        let half = EmbeddingSpace::new("BAAI/bge-m3").with_dimensions(256).with_normalised(false).completed();
        assert_eq!((half.dimensions, half.pooling, half.normalised), (Some(256), Some(Pooling::Cls), false));
        assert_eq!((half.revision, half.prompt_set), (None, None));
    }

    #[test]
    fn every_model_is_listed_once_and_only_its_exact_id_is_known() {
        for known in KNOWN {
            assert_eq!(KNOWN.iter().filter(|other| other.id == known.id).count(), 1, "{}", known.id);
            assert!(known.dimensions > 0 && known.id.split('/').count() == 2, "{}", known.id);
        }
        let folder = EmbeddingSpace::new("all-MiniLM-L6-v2");
        assert_eq!(folder.clone().completed(), folder, "a folder's name says nothing for sure");
    }

    #[test]
    fn pooling_is_known_of_all_models_but_those_of_texts_and_images() {
        for known in KNOWN {
            let name = known.id.to_ascii_lowercase();
            let is_dual = ["clip-", "siglip-", "siglip2-"].iter().any(|part| name.contains(part));
            assert_eq!(known.pooling.is_none(), is_dual, "{}", known.id);
        }
        let space = EmbeddingSpace::new("laion/CLIP-ViT-H-14-laion2B-s32B-b79K").completed();
        assert_eq!((space.dimensions, space.pooling), (Some(1024), None));
    }
}
