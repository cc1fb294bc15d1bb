//! A model's repository by the conventions of sentence-transformers: modules, pooling, prompts, window.

use std::collections::HashMap;
use std::path::{Component, Path};
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde_json::Value;

use super::pooling::{MODES, Mode, Pooler};
use crate::embed::prompt_set;
use crate::embed::{EmbedRole, EmbeddingSpace, Pooling, well_known_prompts};
use crate::error::{Error, ErrorKind, Result};
use crate::local::models::{MODEL2VEC, check_text_encoder, is_causal, static_config};
use crate::local::ops::Activation;
use crate::local::source::{DUAL_TYPES, ModelFiles, OPEN_CLIP_CONFIG};
use crate::local::tokenizer::Cleaning;

/// Files with the window and whether texts are made lower case; the library has renamed the file several times.
const WINDOW_FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// The most parts of `modules.json`. Published models have up to five.
const MAX_MODULES: usize = 16;

/// A repository's configuration, without its weights.
#[derive(Clone, Debug)]
pub(crate) struct Repository {
    /// The files of the encoder: weights, `config.json`, tokenizer.
    pub(crate) files: ModelFiles,
    /// What its encoder embeds.
    pub(crate) kind: Kind,
    /// The encoder's own `config.json`; null if there is only open_clip's configuration.
    pub(crate) config: Value,
    /// How the states of tokens become one vector.
    pub(crate) pooler: Pooler,
    /// What happens to the pooled vector.
    pub(crate) steps: Vec<StepConfig>,
    /// The prompts before texts.
    pub(crate) prompts: Prompts,
    /// Where they are from.
    pub(crate) prompt_origin: PromptOrigin,
    /// The most tokens of a text, if the repository says so.
    pub(crate) window: Option<usize>,
    /// How texts are normalised first.
    pub(crate) cleaning: Cleaning,
    /// The width to which vectors are cut, if the repository says so.
    pub(crate) truncate_dim: Option<usize>,
    /// Shared by clones: it is computed once.
    pub(super) fingerprint: Arc<OnceLock<String>>,
}

/// Where a model's prompts are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PromptOrigin {
    /// The repository's own files.
    Repository,
    /// What is known of the published model, whose files say nothing.
    Catalogue,
    /// Nobody knows any.
    None,
}

impl PromptOrigin {
    /// As [`BackendInfo::prompts`](crate::BackendInfo::prompts) has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Repository => "repository",
            Self::Catalogue => "catalogue",
            Self::None => "none",
        }
    }
}

/// What an encoder embeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Texts.
    Text,
    /// Texts and images, into one space.
    Dual,
}

/// What happens to a pooled vector.
#[derive(Clone, Debug)]
pub(crate) enum StepConfig {
    /// A layer whose weights lie in a folder of their own.
    Dense(ModelFiles, DenseConfig),
    /// Unit length.
    Normalise,
}

/// The shape of a dense layer.
#[derive(Clone, Debug)]
pub(crate) struct DenseConfig {
    /// Input features.
    pub(crate) inputs: usize,
    /// Output features.
    pub(crate) outputs: usize,
    /// The activation.
    pub(crate) activation: Activation,
}

/// The prompts that a model puts before texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Prompts {
    /// Before queries.
    pub(crate) query: Option<String>,
    /// Before documents.
    pub(crate) document: Option<String>,
    /// Before texts without a role.
    pub(crate) default: Option<String>,
}

impl Prompts {
    /// The prompt before a text with this role; empty if there is none.
    pub(crate) fn of(&self, role: Option<EmbedRole>) -> &str {
        let prompt = match role {
            Some(EmbedRole::Query) => &self.query,
            Some(EmbedRole::Document) => &self.document,
            None => &self.default,
        };
        prompt.as_deref().unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Module {
    #[serde(default)]
    path: String,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WindowConfig {
    max_seq_length: Option<usize>,
    do_lower_case: bool,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct PromptConfig {
    prompts: HashMap<String, Option<String>>,
    default_prompt_name: Option<String>,
    truncate_dim: Option<usize>,
}

impl Repository {
    /// Reads a repository. `declared` is the model that its user says it is; `pooling` comes before what its files say.
    ///
    /// # Errors
    /// `model_load` if it has no configuration, or has parts that are not supported; `config_invalid` if it does not say
    /// how to pool what is usually not pooled, and `pooling` does not either.
    pub(crate) fn read(root: &ModelFiles, declared: Option<&str>, pooling: Option<Pooling>) -> Result<Self> {
        let modules: Option<Vec<Module>> = root.json("modules.json")?;
        let says_how = modules.is_some() || pooling.is_some();
        let mut parts = match modules {
            Some(modules) => Parts::of(root, &modules)?,
            None => Parts::default_of(root)?,
        };
        if let Some(pooling) = pooling {
            parts.pooler = Pooler { modes: vec![Mode::of(pooling)], ..parts.pooler };
        }
        let files = parts.encoder;
        let mut window = WindowConfig::default();
        if let Some(name) = WINDOW_FILES.iter().find(|name| files.has(name)) {
            window = files.needed_json(name)?;
        }
        let longest = match window.max_seq_length {
            // A table has no window: sentence-transformers does not read what the tokenizer's configuration says.
            _ if parts.is_static => None,
            Some(length) => Some(length),
            None => longest_by_tokenizer(&files)?,
        };
        let config: Value = match files.has(OPEN_CLIP_CONFIG) {
            _ if parts.is_static => static_config(&files)?,
            true => files.json("config.json")?.unwrap_or_default(),
            false => files.needed_json("config.json")?,
        };
        let kind = kind(&files, &config)?;
        if kind == Kind::Text && !says_how {
            check_is_pooled(&config)?;
        }
        let cleaning = match (model_type(&config).starts_with("siglip"), window.do_lower_case) {
            (true, _) => Cleaning::Siglip,
            (false, true) => Cleaning::LowerCase,
            (false, false) => Cleaning::None,
        };
        let settings: PromptConfig = root.json("config_sentence_transformers.json")?.unwrap_or_default();
        let (prompts, prompt_origin) = prompts(root, &settings, declared);
        Ok(Self {
            kind,
            config,
            pooler: parts.pooler,
            steps: parts.steps,
            truncate_dim: settings.truncate_dim,
            prompts,
            prompt_origin,
            fingerprint: Arc::default(),
            window: longest,
            cleaning,
            files,
        })
    }

    /// Whether vectors have unit length. Those of dual encoders always do, so that texts and images compare.
    pub(crate) fn is_normalised(&self) -> bool {
        self.kind == Kind::Dual || matches!(self.steps.last(), Some(StepConfig::Normalise))
    }

    /// The width of a vector, if the configuration says it.
    pub(crate) fn width(&self) -> Option<usize> {
        const STATE: [&str; 4] = ["hidden_size", "dim", "d_model", "n_embd"];
        if self.kind == Kind::Dual {
            let width = self.config.get("projection_dim").and_then(Value::as_u64);
            return width
                .filter(|_| model_type(&self.config) == "clip")
                .and_then(|width| usize::try_from(width).ok());
        }
        let dense = self.steps.iter().rev().find_map(|step| match step {
            StepConfig::Dense(_, config) => Some(config.outputs),
            StepConfig::Normalise => None,
        });
        let state = || STATE.iter().find_map(|name| self.config.get(name)?.as_u64());
        dense.or_else(|| Some(self.pooler.width(usize::try_from(state()?).ok()?)))
    }

    /// The space of its vectors of this width.
    pub(crate) fn space(&self, width: Option<usize>) -> EmbeddingSpace {
        let mut space = EmbeddingSpace::new(&*self.files.model)
            .with_revision(self.files.revision.clone())
            .with_dimensions(width)
            .with_normalised(self.is_normalised());
        space.pooling = match self.kind {
            Kind::Text => self.pooler.pooling(),
            Kind::Dual => None,
        };
        space.prompt_set = prompt_set(self.prompts.query.as_deref(), self.prompts.document.as_deref());
        space
    }
}

/// What the encoder embeds.
///
/// # Errors
/// `unsupported` for an unknown architecture.
fn kind(files: &ModelFiles, config: &Value) -> Result<Kind> {
    if DUAL_TYPES.contains(&model_type(config)) || files.has(OPEN_CLIP_CONFIG) {
        return Ok(Kind::Dual);
    }
    check_text_encoder(config).map(|()| Kind::Text)
}

/// Refuses what the mean of all tokens says little about: language models, which look back only, and models that score
/// pairs of texts.
fn check_is_pooled(config: &Value) -> Result<()> {
    let classes = config.get("architectures").and_then(Value::as_array);
    let class = classes.and_then(|classes| classes.first()).and_then(Value::as_str).unwrap_or_default();
    let is_bidirectional = config.get("use_bidirectional_attention").and_then(Value::as_bool) == Some(true);
    let what = if class.ends_with("ForSequenceClassification") {
        "a model that scores texts, such as a cross-encoder"
    } else if class.ends_with("ForCausalLM") || class.ends_with("LMHeadModel") || is_causal(config) {
        if is_bidirectional {
            return Ok(());
        }
        "a language model"
    } else {
        return Ok(());
    };
    Err(Error::config(format!(
        "config.json describes {what} ({class}), and there is no modules.json that says how to make one vector of its \
         tokens: name a model that was made for embeddings, or set `pooling` (`last_token` for most language models)"
    )))
}

fn model_type(config: &Value) -> &str {
    config.get("model_type").and_then(Value::as_str).unwrap_or_default()
}

/// The parts that `modules.json` lists.
struct Parts {
    encoder: ModelFiles,
    pooler: Pooler,
    steps: Vec<StepConfig>,
    /// Whether the encoder is a table of vectors.
    is_static: bool,
}

impl Parts {
    /// A repository without `modules.json`: the encoder, and the mean, as sentence-transformers takes it.
    fn default_of(root: &ModelFiles) -> Result<Self> {
        let mut parts = Self::of_encoder(root);
        let config: Value = root.json("config.json")?.unwrap_or_default();
        if model_type(&config) == MODEL2VEC {
            let normalises = config.get("normalize").and_then(Value::as_bool) == Some(true);
            parts.is_static = true;
            parts.steps.extend(normalises.then_some(StepConfig::Normalise));
        }
        Ok(parts)
    }

    fn of_encoder(root: &ModelFiles) -> Self {
        let (encoder, pooler) = (root.clone(), Pooler::of(Mode::Mean));
        Self { encoder, pooler, steps: Vec::new(), is_static: false }
    }

    fn of(root: &ModelFiles, modules: &[Module]) -> Result<Self> {
        if modules.len() > MAX_MODULES {
            let count = modules.len();
            return Err(unsupported(format!(
                "modules.json has {count} parts; at most {MAX_MODULES} are supported"
            )));
        }
        let mut parts = Self::of_encoder(root);
        let mut pools = false;
        for (position, module) in modules.iter().enumerate() {
            let files = part_of(root, &module.path)?;
            match (module.kind.rsplit('.').next().unwrap_or_default(), position) {
                ("Transformer" | "CLIPModel", 0) => parts.encoder = files,
                // Its vectors are the mean already.
                ("StaticEmbedding", 0) => (parts.encoder, parts.is_static, pools) = (files, true, true),
                ("Pooling", _) if !pools && parts.steps.is_empty() => {
                    (parts.pooler, pools) = (pooler(&files)?, true);
                }
                ("Dense", _) if pools => {
                    let config = dense(&files)?;
                    parts.steps.push(StepConfig::Dense(files, config));
                }
                ("Normalize", _) => parts.steps.push(StepConfig::Normalise),
                // For training only.
                ("Dropout", _) => {}
                (other, _) => {
                    let what =
                        format!("part {position} of modules.json is `{other}`, which is not supported there");
                    return Err(unsupported(what));
                }
            }
        }
        Ok(parts)
    }
}

/// The folder of a part, which must be inside the repository.
fn part_of(root: &ModelFiles, path: &str) -> Result<ModelFiles> {
    // Model2vec writes `.` for the folder itself.
    let path = if path == "." { "" } else { path };
    if Path::new(path).components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(root.within(path));
    }
    Err(unsupported(format!("modules.json names the folder `{path}`, which is not one of the model's")))
}

fn pooler(files: &ModelFiles) -> Result<Pooler> {
    let config: Value = files.needed_json("config.json")?;
    let includes_prompt = config.get("include_prompt").and_then(Value::as_bool).unwrap_or(true);
    let names: Vec<&str> = match config.get("pooling_mode") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => {
            let is_on = |switch: &str| config.get(switch).and_then(Value::as_bool) == Some(true);
            MODES.iter().filter(|(_, _, switch)| is_on(switch)).map(|(_, name, _)| *name).collect()
        }
    };
    let mode = |name: &str| MODES.iter().find(|(_, own, _)| *own == name).map(|(mode, ..)| *mode);
    let unknown = |name: &str| unsupported(format!("the pooling mode `{name}` is not supported"));
    let mut modes =
        names.iter().map(|name| mode(name).ok_or_else(|| unknown(name))).collect::<Result<Vec<_>>>()?;
    if modes.is_empty() {
        modes.push(Mode::Mean);
    }
    if let Some((_, twice)) = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name)) {
        return Err(unsupported(format!("the pooling mode `{twice}` is there twice")));
    }
    Ok(Pooler { modes, includes_prompt })
}

/// The configuration file of a dense layer.
#[derive(Deserialize)]
struct DenseFile {
    in_features: usize,
    out_features: usize,
    activation_function: Option<String>,
    #[serde(default)]
    use_residual: bool,
    module_input_name: Option<String>,
}

fn dense(files: &ModelFiles) -> Result<DenseConfig> {
    let file: DenseFile = files.needed_json("config.json")?;
    let input = file.module_input_name.as_deref().unwrap_or("sentence_embedding");
    if file.use_residual || input != "sentence_embedding" {
        return Err(unsupported(
            "a dense layer with a residual or another input is not supported".to_owned(),
        ));
    }
    let name = file.activation_function.as_deref().unwrap_or("torch.nn.modules.activation.Tanh");
    let activation = match name.rsplit('.').next().unwrap_or_default() {
        "Identity" => Activation::None,
        "Tanh" => Activation::Tanh,
        "ReLU" => Activation::Relu,
        "GELU" => Activation::Gelu,
        "SiLU" => Activation::Silu,
        "Sigmoid" => Activation::Sigmoid,
        _ => return Err(unsupported(format!("a dense layer with the activation `{name}` is not supported"))),
    };
    Ok(DenseConfig { inputs: file.in_features, outputs: file.out_features, activation })
}

/// The repository's prompts; if it has none, those that the published model is known to need. A folder's name is no
/// proof of what is in it, so that it needs a `declared` model.
fn prompts(root: &ModelFiles, config: &PromptConfig, declared: Option<&str>) -> (Prompts, PromptOrigin) {
    let named = |name: &str| config.prompts.get(name).cloned().flatten();
    let prompts = Prompts {
        query: named("query"),
        document: ["document", "passage", "corpus"].into_iter().find_map(named),
        default: config.default_prompt_name.as_deref().and_then(named),
    };
    // The library writes empty prompts where nobody gave any.
    let has_none = [&prompts.query, &prompts.document]
        .iter()
        .all(|prompt| prompt.as_deref().unwrap_or_default().is_empty());
    if !has_none {
        return (prompts, PromptOrigin::Repository);
    }
    let published = root.is_published.then_some(root.model.as_str());
    if let Some([query, document]) = declared.or(published).and_then(well_known_prompts) {
        let owned = |prompt: Option<&str>| prompt.map(str::to_owned);
        let prompts = Prompts { query: owned(query), document: owned(document), default: prompts.default };
        return (prompts, PromptOrigin::Catalogue);
    }
    if well_known_prompts(&root.model).is_some() {
        tracing::warn!(
            model = %root.model,
            "the files name no prompts, and a folder's name does not count: if this is the published model, say so with \
             `space` (its `model` is the id on the Hub)"
        );
    }
    let has_default = prompts.default.as_deref().is_some_and(|prompt| !prompt.is_empty());
    (prompts, if has_default { PromptOrigin::Repository } else { PromptOrigin::None })
}

/// The tokenizer's own limit. transformers writes a huge number for none.
fn longest_by_tokenizer(files: &ModelFiles) -> Result<Option<usize>> {
    const NO_LIMIT: f64 = 1e9;
    let config: Option<Value> = files.json("tokenizer_config.json")?;
    let length = config.as_ref().and_then(|config| config.get("model_max_length")?.as_f64());
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 1e9")]
    Ok(length.filter(|length| (1.0..NO_LIMIT).contains(length)).map(|length| length as usize))
}

fn unsupported(message: String) -> Error {
    Error::new(ErrorKind::ModelLoad, message)
}

#[cfg(test)]
#[path = "repository_tests.rs"]
mod tests;
