//! Well-known models: the width, pooling and prompts of their vectors, wherever they run.

use super::space::{EmbeddingSpace, Pooling};

/// A model whose vectors are as its publisher makes them.
struct Known {
    /// Its id on the Hub.
    id: &'static str,
    dimensions: usize,
    /// `None` for models that have no tokens to pool, or pool them with a layer of their own.
    pooling: Option<Pooling>,
}

const fn known(id: &'static str, dimensions: usize, pooling: Pooling) -> Known {
    Known { id, dimensions, pooling: Some(pooling) }
}

/// A dual encoder of texts and images.
const fn dual(id: &'static str, dimensions: usize) -> Known {
    Known { id, dimensions, pooling: None }
}

// Where the rows can be checked, in public repositories on GitHub.
// Widths: embeddings-benchmark/mteb, `mteb/models/model_implementations/` (`embed_dim`; it has 512 for the two small English
// models of BGE, whose publisher says 384). Widths and pooling: Anush008/fastembed-rs, `src/models/text_embedding.rs` and
// `src/text_embedding/impl.rs`; vespa-engine/documentation, `en/rag/model-hub.html` (prompts too).
// By publisher, pooling and prompts with them:
// - sentence-transformers: UKPLab/sentence-transformers, `docs/_static/html/models_en_sentence_embeddings.html`; the model's
//   card for LaBSE.
// - E5: microsoft/unilm, `e5/README.md`, `e5/model_config.py`, `e5/mteb_beir_eval.py`.
// - BGE: FlagOpen/FlagEmbedding, `README.md`, `research/baai_general_embedding/README.md`, `research/C_MTEB/README.md`,
//   `research/BGE_M3/README.md`, `FlagEmbedding/inference/embedder/model_mapping.py` (pooling of E5, GTE and Qwen3 too).
// - Arctic: Snowflake-Labs/arctic-embed, `README.md`; for 2.0 the models' cards.
// - UAE and mxbai: SeanLee97/AnglE, `README.md`, `angle_emb/angle.py`; mteb for mxbai's prompt.
// - Nomic: nomic-ai/contrastors, `src/contrastors/configs/train/`, `src/contrastors/eval/mteb_eval/eval_mteb.py`.
// - Granite: ibm-granite/granite-embedding-models, `README.md`, `README_r1.md`, `code/multilingual_r2_examples.ipynb`.
// - Qwen3: QwenLM/Qwen3-Embedding, `README.md`.
// - EmbeddingGemma: huggingface/text-embeddings-inference, `backends/candle/tests/test_gemma3.rs` (GTE in `test_gte.rs`).
// - CLIP and SigLIP: mlfoundations/open_clip, `src/open_clip/pretrained.py`, `src/open_clip/model_configs/` (`embed_dim`).

/// As their publishers document them. A local model's own files take precedence; this table is for models that run
/// elsewhere.
const KNOWN: &[Known] = &[
    known("sentence-transformers/all-MiniLM-L6-v2", 384, Pooling::Mean),
    known("sentence-transformers/all-MiniLM-L12-v2", 384, Pooling::Mean),
    known("sentence-transformers/all-mpnet-base-v2", 768, Pooling::Mean),
    known("sentence-transformers/all-distilroberta-v1", 768, Pooling::Mean),
    known("sentence-transformers/all-roberta-large-v1", 1024, Pooling::Mean),
    known("sentence-transformers/multi-qa-MiniLM-L6-cos-v1", 384, Pooling::Mean),
    known("sentence-transformers/multi-qa-distilbert-cos-v1", 768, Pooling::Mean),
    known("sentence-transformers/multi-qa-mpnet-base-cos-v1", 768, Pooling::Mean),
    known("sentence-transformers/multi-qa-mpnet-base-dot-v1", 768, Pooling::Cls),
    known("sentence-transformers/paraphrase-MiniLM-L6-v2", 384, Pooling::Mean),
    known("sentence-transformers/paraphrase-mpnet-base-v2", 768, Pooling::Mean),
    known("sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", 384, Pooling::Mean),
    known("sentence-transformers/paraphrase-multilingual-mpnet-base-v2", 768, Pooling::Mean),
    known("sentence-transformers/distiluse-base-multilingual-cased-v1", 512, Pooling::Mean),
    known("sentence-transformers/distiluse-base-multilingual-cased-v2", 512, Pooling::Mean),
    known("sentence-transformers/LaBSE", 768, Pooling::Cls),
    known("intfloat/e5-small", 384, Pooling::Mean),
    known("intfloat/e5-base", 768, Pooling::Mean),
    known("intfloat/e5-large", 1024, Pooling::Mean),
    known("intfloat/e5-small-v2", 384, Pooling::Mean),
    known("intfloat/e5-base-v2", 768, Pooling::Mean),
    known("intfloat/e5-large-v2", 1024, Pooling::Mean),
    known("intfloat/multilingual-e5-small", 384, Pooling::Mean),
    known("intfloat/multilingual-e5-base", 768, Pooling::Mean),
    known("intfloat/multilingual-e5-large", 1024, Pooling::Mean),
    known("intfloat/multilingual-e5-large-instruct", 1024, Pooling::Mean),
    known("BAAI/bge-small-en", 384, Pooling::Cls),
    known("BAAI/bge-base-en", 768, Pooling::Cls),
    known("BAAI/bge-large-en", 1024, Pooling::Cls),
    known("BAAI/bge-small-en-v1.5", 384, Pooling::Cls),
    known("BAAI/bge-base-en-v1.5", 768, Pooling::Cls),
    known("BAAI/bge-large-en-v1.5", 1024, Pooling::Cls),
    known("BAAI/bge-small-zh", 512, Pooling::Cls),
    known("BAAI/bge-base-zh", 768, Pooling::Cls),
    known("BAAI/bge-large-zh", 1024, Pooling::Cls),
    known("BAAI/bge-small-zh-v1.5", 512, Pooling::Cls),
    known("BAAI/bge-base-zh-v1.5", 768, Pooling::Cls),
    known("BAAI/bge-large-zh-v1.5", 1024, Pooling::Cls),
    known("BAAI/bge-m3", 1024, Pooling::Cls),
    known("thenlper/gte-small", 384, Pooling::Mean),
    known("thenlper/gte-base", 768, Pooling::Mean),
    known("thenlper/gte-large", 1024, Pooling::Mean),
    known("Alibaba-NLP/gte-base-en-v1.5", 768, Pooling::Cls),
    known("Alibaba-NLP/gte-large-en-v1.5", 1024, Pooling::Cls),
    known("Alibaba-NLP/gte-multilingual-base", 768, Pooling::Cls),
    known("Alibaba-NLP/gte-modernbert-base", 768, Pooling::Cls),
    known("Snowflake/snowflake-arctic-embed-xs", 384, Pooling::Cls),
    known("Snowflake/snowflake-arctic-embed-s", 384, Pooling::Cls),
    known("Snowflake/snowflake-arctic-embed-m", 768, Pooling::Cls),
    known("Snowflake/snowflake-arctic-embed-m-long", 768, Pooling::Cls),
    known("Snowflake/snowflake-arctic-embed-l", 1024, Pooling::Cls),
    known("Snowflake/snowflake-arctic-embed-m-v1.5", 768, Pooling::Cls),
    known("Snowflake/snowflake-arctic-embed-m-v2.0", 768, Pooling::Cls),
    known("Snowflake/snowflake-arctic-embed-l-v2.0", 1024, Pooling::Cls),
    known("mixedbread-ai/mxbai-embed-large-v1", 1024, Pooling::Cls),
    known("WhereIsAI/UAE-Large-V1", 1024, Pooling::Cls),
    known("nomic-ai/nomic-embed-text-v1", 768, Pooling::Mean),
    known("nomic-ai/nomic-embed-text-v1.5", 768, Pooling::Mean),
    known("nomic-ai/modernbert-embed-base", 768, Pooling::Mean),
    known("lightonai/modernbert-embed-large", 1024, Pooling::Mean),
    known("ibm-granite/granite-embedding-30m-english", 384, Pooling::Cls),
    known("ibm-granite/granite-embedding-278m-multilingual", 768, Pooling::Cls),
    known("ibm-granite/granite-embedding-english-r2", 768, Pooling::Cls),
    known("ibm-granite/granite-embedding-97m-multilingual-r2", 384, Pooling::Cls),
    known("ibm-granite/granite-embedding-311m-multilingual-r2", 768, Pooling::Cls),
    known("Qwen/Qwen3-Embedding-0.6B", 1024, Pooling::LastToken),
    known("Qwen/Qwen3-Embedding-4B", 2560, Pooling::LastToken),
    known("Qwen/Qwen3-Embedding-8B", 4096, Pooling::LastToken),
    known("google/embeddinggemma-300m", 768, Pooling::Mean),
    dual("openai/clip-vit-base-patch32", 512),
    dual("openai/clip-vit-base-patch16", 512),
    dual("openai/clip-vit-large-patch14", 768),
    dual("openai/clip-vit-large-patch14-336", 768),
    dual("sentence-transformers/clip-ViT-B-32", 512),
    dual("sentence-transformers/clip-ViT-B-16", 512),
    dual("sentence-transformers/clip-ViT-L-14", 768),
    dual("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", 512),
    dual("laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K", 512),
    dual("laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K", 512),
    dual("laion/CLIP-ViT-B-16-laion2B-s34B-b88K", 512),
    dual("laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K", 512),
    dual("laion/CLIP-ViT-L-14-laion2B-s32B-b82K", 768),
    dual("laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K", 768),
    dual("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", 1024),
    dual("laion/CLIP-ViT-g-14-laion2B-s12B-b42K", 1024),
    dual("laion/CLIP-ViT-g-14-laion2B-s34B-b88K", 1024),
    dual("laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", 1280),
    dual("google/siglip-base-patch16-224", 768),
    dual("google/siglip-base-patch16-256", 768),
    dual("google/siglip-base-patch16-256-multilingual", 768),
    dual("google/siglip-base-patch16-384", 768),
    dual("google/siglip-base-patch16-512", 768),
    dual("google/siglip-large-patch16-256", 1024),
    dual("google/siglip-large-patch16-384", 1024),
    dual("google/siglip-so400m-patch14-224", 1152),
    dual("google/siglip-so400m-patch14-384", 1152),
    dual("google/siglip-so400m-patch16-256-i18n", 1152),
    dual("google/siglip2-base-patch32-256", 768),
    dual("google/siglip2-base-patch16-224", 768),
    dual("google/siglip2-base-patch16-256", 768),
    dual("google/siglip2-base-patch16-384", 768),
    dual("google/siglip2-base-patch16-512", 768),
    dual("google/siglip2-large-patch16-256", 1024),
    dual("google/siglip2-large-patch16-384", 1024),
    dual("google/siglip2-large-patch16-512", 1024),
    dual("google/siglip2-so400m-patch14-224", 1152),
    dual("google/siglip2-so400m-patch14-384", 1152),
    dual("google/siglip2-so400m-patch16-256", 1152),
    dual("google/siglip2-so400m-patch16-384", 1152),
    dual("google/siglip2-so400m-patch16-512", 1152),
    dual("google/siglip2-giant-opt-patch16-256", 1536),
    dual("google/siglip2-giant-opt-patch16-384", 1536),
];

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
