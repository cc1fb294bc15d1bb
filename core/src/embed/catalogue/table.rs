//! The well-known models, one a row.

use super::KnownModel;
use crate::embed::Pooling;

const MEAN: Option<Pooling> = Some(Pooling::Mean);
const CLS: Option<Pooling> = Some(Pooling::Cls);
const LAST: Option<Pooling> = Some(Pooling::LastToken);
/// Of models that have no tokens to pool, or pool them with a layer of their own.
const NONE: Option<Pooling> = None;

const ENGLISH: &str = "English";
const CHINESE: &str = "Chinese";
const MANY: &str = "multilingual";

const APACHE: Option<&str> = Some("Apache-2.0");
const MIT: Option<&str> = Some("MIT");
const GEMMA: Option<&str> = Some("Gemma's terms of use");
const UNKNOWN: Option<&str> = None;

#[allow(clippy::too_many_arguments, reason = "the columns of a table")]
const fn known(
    id: &'static str,
    dimensions: usize,
    pooling: Option<Pooling>,
    architecture: &'static str,
    window: usize,
    millions: usize,
    languages: &'static str,
    licence: Option<&'static str>,
) -> KnownModel {
    KnownModel {
        id,
        dimensions,
        pooling,
        architecture,
        window,
        parameters_in_millions: millions,
        languages,
        licence,
    }
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
// Windows, sizes, languages and licences: mteb too. Where its window is the encoder's and the repository's own
// (`max_seq_length`) is shorter, that one; its sizes of the Chinese BGE are those of the English ones.

/// As their publishers document them: id, width, pooling, architecture, window in tokens, millions of parameters, languages,
/// licence.
#[rustfmt::skip]
pub(super) const KNOWN: &[KnownModel] = &[
    known("sentence-transformers/all-MiniLM-L6-v2", 384, MEAN, "bert", 256, 23, ENGLISH, APACHE),
    known("sentence-transformers/all-MiniLM-L12-v2", 384, MEAN, "bert", 128, 33, ENGLISH, APACHE),
    known("sentence-transformers/all-mpnet-base-v2", 768, MEAN, "mpnet", 384, 109, ENGLISH, APACHE),
    known("sentence-transformers/all-distilroberta-v1", 768, MEAN, "roberta", 512, 82, ENGLISH, APACHE),
    known("sentence-transformers/all-roberta-large-v1", 1024, MEAN, "roberta", 256, 355, ENGLISH, APACHE),
    known("sentence-transformers/multi-qa-MiniLM-L6-cos-v1", 384, MEAN, "bert", 512, 23, ENGLISH, UNKNOWN),
    known("sentence-transformers/multi-qa-distilbert-cos-v1", 768, MEAN, "distilbert", 512, 66, ENGLISH, UNKNOWN),
    known("sentence-transformers/multi-qa-mpnet-base-cos-v1", 768, MEAN, "mpnet", 512, 109, ENGLISH, UNKNOWN),
    known("sentence-transformers/multi-qa-mpnet-base-dot-v1", 768, CLS, "mpnet", 512, 109, ENGLISH, UNKNOWN),
    known("sentence-transformers/paraphrase-MiniLM-L6-v2", 384, MEAN, "bert", 128, 23, ENGLISH, APACHE),
    known("sentence-transformers/paraphrase-mpnet-base-v2", 768, MEAN, "mpnet", 512, 109, ENGLISH, APACHE),
    known("sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2", 384, MEAN, "bert", 128, 118, MANY, APACHE),
    known("sentence-transformers/paraphrase-multilingual-mpnet-base-v2", 768, MEAN, "xlm-roberta", 128, 278, MANY, APACHE),
    known("sentence-transformers/distiluse-base-multilingual-cased-v1", 512, MEAN, "distilbert", 128, 135, MANY, APACHE),
    known("sentence-transformers/distiluse-base-multilingual-cased-v2", 512, MEAN, "distilbert", 128, 135, MANY, APACHE),
    known("sentence-transformers/LaBSE", 768, CLS, "bert", 256, 471, MANY, APACHE),
    known("intfloat/e5-small", 384, MEAN, "bert", 512, 33, ENGLISH, MIT),
    known("intfloat/e5-base", 768, MEAN, "bert", 512, 109, ENGLISH, MIT),
    known("intfloat/e5-large", 1024, MEAN, "bert", 512, 335, ENGLISH, MIT),
    known("intfloat/e5-small-v2", 384, MEAN, "bert", 512, 33, ENGLISH, MIT),
    known("intfloat/e5-base-v2", 768, MEAN, "bert", 512, 109, ENGLISH, MIT),
    known("intfloat/e5-large-v2", 1024, MEAN, "bert", 512, 335, ENGLISH, MIT),
    known("intfloat/multilingual-e5-small", 384, MEAN, "bert", 512, 118, MANY, MIT),
    known("intfloat/multilingual-e5-base", 768, MEAN, "xlm-roberta", 512, 278, MANY, MIT),
    known("intfloat/multilingual-e5-large", 1024, MEAN, "xlm-roberta", 512, 560, MANY, MIT),
    known("intfloat/multilingual-e5-large-instruct", 1024, MEAN, "xlm-roberta", 512, 560, MANY, MIT),
    known("BAAI/bge-small-en", 384, CLS, "bert", 512, 33, ENGLISH, MIT),
    known("BAAI/bge-base-en", 768, CLS, "bert", 512, 109, ENGLISH, MIT),
    known("BAAI/bge-large-en", 1024, CLS, "bert", 512, 335, ENGLISH, MIT),
    known("BAAI/bge-small-en-v1.5", 384, CLS, "bert", 512, 33, ENGLISH, MIT),
    known("BAAI/bge-base-en-v1.5", 768, CLS, "bert", 512, 109, ENGLISH, MIT),
    known("BAAI/bge-large-en-v1.5", 1024, CLS, "bert", 512, 335, ENGLISH, MIT),
    known("BAAI/bge-small-zh", 512, CLS, "bert", 512, 24, CHINESE, MIT),
    known("BAAI/bge-base-zh", 768, CLS, "bert", 512, 102, CHINESE, MIT),
    known("BAAI/bge-large-zh", 1024, CLS, "bert", 512, 326, CHINESE, MIT),
    known("BAAI/bge-small-zh-v1.5", 512, CLS, "bert", 512, 24, CHINESE, MIT),
    known("BAAI/bge-base-zh-v1.5", 768, CLS, "bert", 512, 102, CHINESE, MIT),
    known("BAAI/bge-large-zh-v1.5", 1024, CLS, "bert", 512, 326, CHINESE, MIT),
    known("BAAI/bge-m3", 1024, CLS, "xlm-roberta", 8192, 568, MANY, MIT),
    known("thenlper/gte-small", 384, MEAN, "bert", 512, 33, ENGLISH, MIT),
    known("thenlper/gte-base", 768, MEAN, "bert", 512, 109, ENGLISH, MIT),
    known("thenlper/gte-large", 1024, MEAN, "bert", 512, 335, ENGLISH, MIT),
    known("Alibaba-NLP/gte-base-en-v1.5", 768, CLS, "new", 8192, 137, ENGLISH, APACHE),
    known("Alibaba-NLP/gte-large-en-v1.5", 1024, CLS, "new", 8192, 434, ENGLISH, APACHE),
    known("Alibaba-NLP/gte-multilingual-base", 768, CLS, "new", 8192, 305, MANY, APACHE),
    known("Alibaba-NLP/gte-modernbert-base", 768, CLS, "modernbert", 8192, 149, ENGLISH, APACHE),
    known("Snowflake/snowflake-arctic-embed-xs", 384, CLS, "bert", 512, 23, ENGLISH, APACHE),
    known("Snowflake/snowflake-arctic-embed-s", 384, CLS, "bert", 512, 33, ENGLISH, APACHE),
    known("Snowflake/snowflake-arctic-embed-m", 768, CLS, "bert", 512, 109, ENGLISH, APACHE),
    known("Snowflake/snowflake-arctic-embed-m-long", 768, CLS, "nomic_bert", 2048, 137, ENGLISH, APACHE),
    known("Snowflake/snowflake-arctic-embed-l", 1024, CLS, "bert", 512, 335, ENGLISH, APACHE),
    known("Snowflake/snowflake-arctic-embed-m-v1.5", 768, CLS, "bert", 512, 109, ENGLISH, APACHE),
    known("Snowflake/snowflake-arctic-embed-m-v2.0", 768, CLS, "gte", 8192, 305, MANY, APACHE),
    known("Snowflake/snowflake-arctic-embed-l-v2.0", 1024, CLS, "xlm-roberta", 8192, 568, MANY, APACHE),
    known("mixedbread-ai/mxbai-embed-large-v1", 1024, CLS, "bert", 512, 335, ENGLISH, APACHE),
    known("WhereIsAI/UAE-Large-V1", 1024, CLS, "bert", 512, 335, ENGLISH, MIT),
    known("nomic-ai/nomic-embed-text-v1", 768, MEAN, "nomic_bert", 8192, 137, ENGLISH, APACHE),
    known("nomic-ai/nomic-embed-text-v1.5", 768, MEAN, "nomic_bert", 8192, 137, ENGLISH, APACHE),
    known("nomic-ai/modernbert-embed-base", 768, MEAN, "modernbert", 8192, 149, ENGLISH, APACHE),
    known("lightonai/modernbert-embed-large", 1024, MEAN, "modernbert", 8192, 395, ENGLISH, APACHE),
    known("ibm-granite/granite-embedding-30m-english", 384, CLS, "roberta", 512, 30, ENGLISH, APACHE),
    known("ibm-granite/granite-embedding-278m-multilingual", 768, CLS, "xlm-roberta", 512, 278, MANY, APACHE),
    known("ibm-granite/granite-embedding-english-r2", 768, CLS, "modernbert", 8192, 149, ENGLISH, APACHE),
    known("ibm-granite/granite-embedding-97m-multilingual-r2", 384, CLS, "modernbert", 8192, 97, MANY, APACHE),
    known("ibm-granite/granite-embedding-311m-multilingual-r2", 768, CLS, "modernbert", 8192, 312, MANY, APACHE),
    known("Qwen/Qwen3-Embedding-0.6B", 1024, LAST, "qwen3", 32768, 596, MANY, APACHE),
    known("Qwen/Qwen3-Embedding-4B", 2560, LAST, "qwen3", 32768, 4022, MANY, APACHE),
    known("Qwen/Qwen3-Embedding-8B", 4096, LAST, "qwen3", 32768, 7567, MANY, APACHE),
    known("google/embeddinggemma-300m", 768, MEAN, "gemma3_text", 2048, 308, MANY, GEMMA),
    known("sentence-transformers/static-retrieval-mrl-en-v1", 1024, MEAN, "model2vec", 32768, 31, ENGLISH, APACHE),
    known("sentence-transformers/static-similarity-mrl-multilingual-v1", 1024, MEAN, "model2vec", 32768, 108, MANY, APACHE),
    known("minishlab/potion-base-8M", 256, MEAN, "model2vec", 32768, 8, ENGLISH, MIT),
    known("minishlab/potion-base-32M", 512, MEAN, "model2vec", 32768, 32, ENGLISH, MIT),
    known("minishlab/potion-retrieval-32M", 512, MEAN, "model2vec", 32768, 32, ENGLISH, MIT),
    known("minishlab/potion-multilingual-128M", 256, MEAN, "model2vec", 32768, 128, MANY, MIT),
    known("openai/clip-vit-base-patch32", 512, NONE, "clip", 77, 151, ENGLISH, UNKNOWN),
    known("openai/clip-vit-base-patch16", 512, NONE, "clip", 77, 150, ENGLISH, UNKNOWN),
    known("openai/clip-vit-large-patch14", 768, NONE, "clip", 77, 428, ENGLISH, UNKNOWN),
    known("openai/clip-vit-large-patch14-336", 768, NONE, "clip", 77, 428, ENGLISH, UNKNOWN),
    known("sentence-transformers/clip-ViT-B-32", 512, NONE, "clip", 77, 151, ENGLISH, UNKNOWN),
    known("sentence-transformers/clip-ViT-B-16", 512, NONE, "clip", 77, 150, ENGLISH, UNKNOWN),
    known("sentence-transformers/clip-ViT-L-14", 768, NONE, "clip", 77, 428, ENGLISH, UNKNOWN),
    known("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", 512, NONE, "clip", 77, 151, ENGLISH, MIT),
    known("laion/CLIP-ViT-B-32-DataComp.XL-s13B-b90K", 512, NONE, "clip", 77, 151, ENGLISH, MIT),
    known("laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K", 512, NONE, "clip", 77, 151, ENGLISH, MIT),
    known("laion/CLIP-ViT-B-16-laion2B-s34B-b88K", 512, NONE, "clip", 77, 150, ENGLISH, MIT),
    known("laion/CLIP-ViT-B-16-DataComp.XL-s13B-b90K", 512, NONE, "clip", 77, 150, ENGLISH, MIT),
    known("laion/CLIP-ViT-L-14-laion2B-s32B-b82K", 768, NONE, "clip", 77, 428, ENGLISH, MIT),
    known("laion/CLIP-ViT-L-14-DataComp.XL-s13B-b90K", 768, NONE, "clip", 77, 428, ENGLISH, MIT),
    known("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", 1024, NONE, "clip", 77, 986, ENGLISH, MIT),
    known("laion/CLIP-ViT-g-14-laion2B-s12B-b42K", 1024, NONE, "clip", 77, 1367, ENGLISH, MIT),
    known("laion/CLIP-ViT-g-14-laion2B-s34B-b88K", 1024, NONE, "clip", 77, 1367, ENGLISH, MIT),
    known("laion/CLIP-ViT-bigG-14-laion2B-39B-b160k", 1280, NONE, "clip", 77, 2540, ENGLISH, MIT),
    known("google/siglip-base-patch16-224", 768, NONE, "siglip", 64, 203, ENGLISH, APACHE),
    known("google/siglip-base-patch16-256", 768, NONE, "siglip", 64, 203, ENGLISH, APACHE),
    known("google/siglip-base-patch16-256-multilingual", 768, NONE, "siglip", 64, 371, MANY, APACHE),
    known("google/siglip-base-patch16-384", 768, NONE, "siglip", 64, 203, ENGLISH, APACHE),
    known("google/siglip-base-patch16-512", 768, NONE, "siglip", 64, 204, ENGLISH, APACHE),
    known("google/siglip-large-patch16-256", 1024, NONE, "siglip", 64, 652, ENGLISH, APACHE),
    known("google/siglip-large-patch16-384", 1024, NONE, "siglip", 64, 652, ENGLISH, APACHE),
    known("google/siglip-so400m-patch14-224", 1152, NONE, "siglip", 16, 877, ENGLISH, APACHE),
    known("google/siglip-so400m-patch14-384", 1152, NONE, "siglip", 64, 878, ENGLISH, APACHE),
    known("google/siglip-so400m-patch16-256-i18n", 1152, NONE, "siglip", 64, 1129, MANY, APACHE),
    known("google/siglip2-base-patch32-256", 768, NONE, "siglip", 64, 377, MANY, APACHE),
    known("google/siglip2-base-patch16-224", 768, NONE, "siglip", 64, 375, MANY, APACHE),
    known("google/siglip2-base-patch16-256", 768, NONE, "siglip", 64, 375, MANY, APACHE),
    known("google/siglip2-base-patch16-384", 768, NONE, "siglip", 64, 375, MANY, APACHE),
    known("google/siglip2-base-patch16-512", 768, NONE, "siglip", 64, 376, MANY, APACHE),
    known("google/siglip2-large-patch16-256", 1024, NONE, "siglip", 64, 882, MANY, APACHE),
    known("google/siglip2-large-patch16-384", 1024, NONE, "siglip", 64, 882, MANY, APACHE),
    known("google/siglip2-large-patch16-512", 1024, NONE, "siglip", 64, 882, MANY, APACHE),
    known("google/siglip2-so400m-patch14-224", 1152, NONE, "siglip", 64, 1135, MANY, APACHE),
    known("google/siglip2-so400m-patch14-384", 1152, NONE, "siglip", 64, 1136, MANY, APACHE),
    known("google/siglip2-so400m-patch16-256", 1152, NONE, "siglip", 64, 1136, MANY, APACHE),
    known("google/siglip2-so400m-patch16-384", 1152, NONE, "siglip", 64, 1136, MANY, APACHE),
    known("google/siglip2-so400m-patch16-512", 1152, NONE, "siglip", 64, 1137, MANY, APACHE),
    known("google/siglip2-giant-opt-patch16-256", 1536, NONE, "siglip", 64, 1871, MANY, APACHE),
    known("google/siglip2-giant-opt-patch16-384", 1536, NONE, "siglip", 64, 1872, MANY, APACHE),
];
