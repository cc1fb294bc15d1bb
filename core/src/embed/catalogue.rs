//! Well-known models: what is true of their vectors wherever they are computed, and what their repositories do not say.

use super::space::{EmbeddingSpace, Pooling};

/// A model whose vectors are as its publisher makes them.
struct Known {
    /// Its id on the Hub.
    id: &'static str,
    dimensions: usize,
    /// Not known for models that have no tokens to pool, or pool them by a part of their own.
    pooling: Option<Pooling>,
}

const fn known(id: &'static str, dimensions: usize, pooling: Pooling) -> Known {
    Known { id, dimensions, pooling: Some(pooling) }
}

const fn clip(id: &'static str, dimensions: usize) -> Known {
    Known { id, dimensions, pooling: None }
}

/// As their publishers document them. Where a model's files are at hand, those decide; this is for models elsewhere.
const KNOWN: &[Known] = &[
    known("sentence-transformers/all-MiniLM-L6-v2", 384, Pooling::Mean),
    known("sentence-transformers/all-MiniLM-L12-v2", 384, Pooling::Mean),
    known("sentence-transformers/all-mpnet-base-v2", 768, Pooling::Mean),
    known("sentence-transformers/multi-qa-MiniLM-L6-cos-v1", 384, Pooling::Mean),
    known("sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", 384, Pooling::Mean),
    known("sentence-transformers/paraphrase-multilingual-mpnet-base-v2", 768, Pooling::Mean),
    known("intfloat/e5-small-v2", 384, Pooling::Mean),
    known("intfloat/e5-base-v2", 768, Pooling::Mean),
    known("intfloat/e5-large-v2", 1024, Pooling::Mean),
    known("intfloat/multilingual-e5-small", 384, Pooling::Mean),
    known("intfloat/multilingual-e5-base", 768, Pooling::Mean),
    known("intfloat/multilingual-e5-large", 1024, Pooling::Mean),
    known("BAAI/bge-small-en-v1.5", 384, Pooling::Cls),
    known("BAAI/bge-base-en-v1.5", 768, Pooling::Cls),
    known("BAAI/bge-large-en-v1.5", 1024, Pooling::Cls),
    known("BAAI/bge-m3", 1024, Pooling::Cls),
    known("thenlper/gte-small", 384, Pooling::Mean),
    known("thenlper/gte-base", 768, Pooling::Mean),
    known("thenlper/gte-large", 1024, Pooling::Mean),
    known("Snowflake/snowflake-arctic-embed-xs", 384, Pooling::Cls),
    known("Snowflake/snowflake-arctic-embed-s", 384, Pooling::Cls),
    known("Snowflake/snowflake-arctic-embed-m", 768, Pooling::Cls),
    known("Snowflake/snowflake-arctic-embed-l", 1024, Pooling::Cls),
    known("mixedbread-ai/mxbai-embed-large-v1", 1024, Pooling::Cls),
    known("nomic-ai/nomic-embed-text-v1", 768, Pooling::Mean),
    known("nomic-ai/nomic-embed-text-v1.5", 768, Pooling::Mean),
    known("nomic-ai/modernbert-embed-base", 768, Pooling::Mean),
    known("Qwen/Qwen3-Embedding-0.6B", 1024, Pooling::LastToken),
    known("Qwen/Qwen3-Embedding-4B", 2560, Pooling::LastToken),
    known("Qwen/Qwen3-Embedding-8B", 4096, Pooling::LastToken),
    known("google/embeddinggemma-300m", 768, Pooling::Mean),
    clip("openai/clip-vit-base-patch32", 512),
    clip("openai/clip-vit-base-patch16", 512),
    clip("openai/clip-vit-large-patch14", 768),
];

impl EmbeddingSpace {
    /// The space with what is left open about a well-known model, by its id on the Hub, filled in: the width of its
    /// vectors and how it pools, which are the same wherever it runs. Nothing that is said is changed. Revision, length and
    /// prompts are up to whoever runs it, and are never filled in.
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

/// What is put before queries and documents.
#[cfg(feature = "candle")]
mod families {
    /// What the models of a family put before queries and documents, though their repositories do not say so.
    struct Family {
        /// The names of the repositories, without who publishes them, in lower case.
        names: &'static [&'static str],
        query: &'static str,
        document: &'static str,
    }

    const BGE: &str = "Represent this sentence for searching relevant passages: ";
    const BGE_CHINESE: &str = "为这个句子生成表示以用于检索相关文章：";

    /// As their publishers document them. A prompt that a repository says itself goes before these; a model of whose
    /// prompt nothing is documented is not here.
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
                "snowflake-arctic-embed-m-v1.5",
                "snowflake-arctic-embed-l",
                "mxbai-embed-large-v1",
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

    /// What goes before queries and before documents of a well-known model, by its id on the Hub or the name of its folder.
    pub(crate) fn prompts(model: &str) -> Option<[Option<&'static str>; 2]> {
        let name = model.rsplit('/').next().unwrap_or(model).to_ascii_lowercase();
        let family = FAMILIES.iter().find(|family| family.names.contains(&name.as_str()))?;
        Some([family.query, family.document].map(|prompt| (!prompt.is_empty()).then_some(prompt)))
    }

    #[cfg(test)]
    mod tests {
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
}
