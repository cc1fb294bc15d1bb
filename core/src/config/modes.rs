//! Chat modes: backends that a request chooses by name, set up by the environment.
//!
//! ```
//! use ayni::config::ChatModes;
//! use ayni::{ChatRequest, Context, Environment};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
//! let modes = ChatModes::from_env_with(&Environment::from_pairs([("DEFAULT_LLM_MODE", "mock")]))?;
//! let answer = modes.open(None)?.chat(&Context::new(), ChatRequest::user("hola")).await?;
//! assert!(answer.text.contains("hola"));
//! assert!(modes.open(Some("gpt-5")).is_err_and(|error| error.message().contains("hf-qwen2.5")));
//! # Ok::<_, ayni::Error>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use url::Url;

use super::{ChatConfig, Setup, open_chat_with};
use crate::backends::huggingface::HuggingFaceConfig;
use crate::backends::openai::OpenAiConfig;
use crate::backends::scripted::ScriptedConfig;
use crate::chat::{AnyChat, ChatRequest};
use crate::context::Context;
use crate::env::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::local::LocalChatConfig;
use crate::policy::{Policy, Timeout};
use crate::secret::Secret;

mod in_mode;

use in_mode::{Defaults, InMode};

const ROUTER: &str = "https://router.huggingface.co";

/// What answers in a mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    Script,
    GgufFile,
    LocalModel(&'static str),
    HfInference,
    HfRouter,
}

/// Every mode, in the order in which they are listed.
const MODES: &[(&str, Answers, &str)] = &[
    ("mock", Answers::Script, "no model: a deterministic answer built from the question"),
    ("gguf", Answers::GgufFile, "a GGUF file in this process"),
    ("qwen", Answers::LocalModel("Qwen/Qwen3-4B-Instruct-2507"), "a Qwen model in this process"),
    (
        "Qwen3-4B-Thinking-2507",
        Answers::LocalModel("Qwen/Qwen3-4B-Thinking-2507"),
        "a Qwen model in this process that reasons before it answers",
    ),
    ("hf-smollm2", Answers::HfInference, "text generation by Hugging Face's own inference"),
    ("hf-qwen2.5", Answers::HfRouter, "chat through Hugging Face's router"),
];

/// The chat modes, and the variables that set them up:
///
/// | variable | |
/// | --- | --- |
/// | `DEFAULT_LLM_MODE` | the mode of requests that name none; without it they fail |
/// | `HF_API_TOKEN` | the credential of `hf-smollm2` and `hf-qwen2.5` |
/// | `HF_SMOLLM2_MODEL_ID` | `HuggingFaceTB/SmolLM2-1.7B-Instruct` |
/// | `HF_QWEN_MODEL_ID` | `Qwen/Qwen2.5-7B-Instruct:together` |
/// | `HF_TIMEOUT_SECONDS` | 30, for a whole call of these two, repetitions included |
/// | `HF_MAX_NEW_TOKENS` | 256, for requests that do not say |
/// | `HF_TEMPERATURE` | 0.7, for requests that do not say |
/// | `HF_ROUTER_URL` | `https://router.huggingface.co` |
/// | `GGUF_MODEL_PATH` | the file of mode `gguf` |
///
/// A mode that cannot be opened fails with its own reason; no mode stands in for another.
#[derive(Debug)]
pub struct ChatModes {
    env: Environment,
    default_mode: Option<&'static str>,
    smollm2: String,
    qwen: String,
    router: String,
    timeout: Duration,
    defaults: Defaults,
    opened: Mutex<BTreeMap<&'static str, AnyChat>>,
}

/// One mode as `GET /` and the start-up log show it. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ModeInfo {
    /// The mode's name.
    pub mode: &'static str,
    /// What it is.
    pub what: &'static str,
    /// The model that answers, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Where requests go; `None` for what runs in this process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// What has to be mended before the mode can be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl ChatModes {
    /// The modes as the process's variables set them up.
    ///
    /// # Errors
    /// `config_invalid` naming the variable whose value makes no sense.
    pub fn from_env() -> Result<Self> {
        Self::from_env_with(&Environment::process())
    }

    /// The same, with the variables of `env`.
    ///
    /// # Errors
    /// As above.
    pub fn from_env_with(env: &Environment) -> Result<Self> {
        let default_mode = match env.get("DEFAULT_LLM_MODE") {
            None => None,
            Some(name) => Some(known(&name).ok_or_else(|| {
                Error::config(format!("DEFAULT_LLM_MODE is '{name}', which is unknown; valid: {}", valid()))
            })?),
        };
        let seconds = env.number::<f64>("HF_TIMEOUT_SECONDS")?.unwrap_or(30.0);
        let timeout = Duration::try_from_secs_f64(seconds).ok().filter(|timeout| !timeout.is_zero());
        let temperature = env.number::<f32>("HF_TEMPERATURE")?.unwrap_or(0.7);
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(Error::config(format!(
                "HF_TEMPERATURE is {temperature}; it must be a number from 0 up"
            )));
        }
        let max_tokens = env.number::<u32>("HF_MAX_NEW_TOKENS")?.unwrap_or(256);
        if max_tokens == 0 {
            return Err(Error::config("HF_MAX_NEW_TOKENS is 0; an answer needs at least one token"));
        }
        let or = |name: &str, default: &str| env.get(name).unwrap_or_else(|| default.to_owned());
        Ok(Self {
            default_mode,
            smollm2: or("HF_SMOLLM2_MODEL_ID", "HuggingFaceTB/SmolLM2-1.7B-Instruct"),
            qwen: or("HF_QWEN_MODEL_ID", "Qwen/Qwen2.5-7B-Instruct:together"),
            router: router(&or("HF_ROUTER_URL", ROUTER))?,
            timeout: timeout.ok_or_else(|| {
                Error::config(format!("HF_TIMEOUT_SECONDS is {seconds}; it must be a number above 0"))
            })?,
            defaults: Defaults { max_tokens, temperature },
            opened: Mutex::default(),
            env: env.clone(),
        })
    }

    /// The names of all modes.
    pub fn names(&self) -> Vec<&'static str> {
        MODES.iter().map(|(name, ..)| *name).collect()
    }

    /// The mode of requests that name none.
    pub fn default_mode(&self) -> Option<&'static str> {
        self.default_mode
    }

    /// The backend of `mode`, or of the default one. It is opened once and shared.
    ///
    /// # Errors
    /// `invalid_request` listing the valid modes if there is no such one; `config_invalid` naming the variable
    /// that is missing; `unsupported` with the reason where this build cannot serve the mode.
    pub fn open(&self, mode: Option<&str>) -> Result<AnyChat> {
        let name = match (mode.map(str::trim).filter(|mode| !mode.is_empty()), self.default_mode) {
            (Some(mode), _) => known(mode).ok_or_else(|| {
                Error::invalid_request(format!("llm_mode '{}' is unknown; valid: {}", shown(mode), valid()))
            })?,
            (None, Some(default)) => default,
            (None, None) => {
                return Err(Error::config(format!(
                    "the request names no llm_mode and DEFAULT_LLM_MODE is not set; valid: {}",
                    valid()
                )));
            }
        };
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(chat) = opened.get(name) {
            return Ok(chat.clone());
        }
        let chat = self.open_new(name).map_err(|error| error.with_context("llm_mode", name))?;
        opened.insert(name, chat.clone());
        Ok(chat)
    }

    /// Every mode as it is set up, for `GET /` and the start-up log. Opens nothing.
    pub fn describe(&self) -> Vec<ModeInfo> {
        let info = |&(mode, answers, what): &(&'static str, Answers, &'static str)| {
            let (model, endpoint) = match answers {
                Answers::Script => (None, None),
                Answers::GgufFile => (self.env.get("GGUF_MODEL_PATH"), None),
                Answers::LocalModel(model) => (Some(model.to_owned()), None),
                Answers::HfInference => (Some(self.smollm2.clone()), Some(self.smollm2_endpoint())),
                Answers::HfRouter => {
                    (Some(self.qwen.clone()), Some(format!("{}/v1/chat/completions", self.router)))
                }
            };
            let problem = self.setup(mode, answers).err().map(|error| error.message().to_owned());
            ModeInfo { mode, what, model, endpoint, problem }
        };
        MODES.iter().map(info).collect()
    }

    /// Readies what a service needs at its start: logs how every mode is set up and opens the default one. A
    /// local model is loaded and runs one token; a hosted one is not called.
    ///
    /// # Errors
    /// Why the default mode cannot be used.
    pub async fn warm_up(&self, cx: &Context) -> Result<()> {
        for row in self.describe() {
            tracing::info!(
                mode = row.mode,
                model = row.model.as_deref().unwrap_or_default(),
                endpoint = row.endpoint.as_deref().unwrap_or_default(),
                problem = row.problem.as_deref().unwrap_or_default(),
                "chat mode"
            );
        }
        let Some(default) = self.default_mode else { return Ok(()) };
        let chat = self.open(Some(default))?;
        let is_local = MODES.iter().any(|(name, answers, _)| {
            *name == default && matches!(answers, Answers::GgufFile | Answers::LocalModel(_))
        });
        if is_local {
            chat.chat(cx, ChatRequest::user("hi").with_max_tokens(1)).await?;
        }
        Ok(())
    }

    fn open_new(&self, name: &'static str) -> Result<AnyChat> {
        let (_, answers, _) = MODES
            .iter()
            .find(|(mode, ..)| *mode == name)
            .ok_or_else(|| Error::new(ErrorKind::Unexpected, format!("mode '{name}' has no row")))?;
        let backend = open_chat_with(self.setup(name, *answers)?, &self.env)?;
        let endpoint = match answers {
            Answers::HfInference => Some(self.smollm2_endpoint()),
            Answers::HfRouter => Some(format!("{}/v1/chat/completions", self.router)),
            _ => None,
        };
        let defaults = endpoint.is_some().then_some(self.defaults);
        Ok(AnyChat::new(InMode { mode: name, answers: *answers, endpoint, defaults, backend }))
    }

    fn setup(&self, mode: &'static str, answers: Answers) -> Result<Setup<ChatConfig>> {
        let local = |model: String| {
            let config = LocalChatConfig::new(model);
            config.find(&self.env).map(|()| Setup::new(config))
        };
        match answers {
            Answers::Script => Ok(Setup::new(ScriptedConfig::default().with_model("mock"))),
            Answers::GgufFile => match self.env.get("GGUF_MODEL_PATH") {
                Some(path) => local(path),
                None => Err(Error::unsupported("no GGUF path configured: set GGUF_MODEL_PATH")),
            },
            Answers::LocalModel(model) => local(model.to_owned()),
            Answers::HfInference => {
                let config = HuggingFaceConfig {
                    model: self.smollm2.clone(),
                    provider: "hf-inference".to_owned(),
                    base_url: Some(self.router.clone()),
                    api_key: Some(self.token(mode)?),
                    ..HuggingFaceConfig::default()
                };
                Ok(Setup::new(config).with_policy(self.policy()))
            }
            Answers::HfRouter => {
                let config = OpenAiConfig {
                    vendor: "hf-router".to_owned(),
                    model: self.qwen.clone(),
                    base_url: Some(format!("{}/v1", self.router)),
                    api_key: Some(self.token(mode)?),
                    ..OpenAiConfig::default()
                };
                Ok(Setup::new(config).with_policy(self.policy()))
            }
        }
    }

    fn smollm2_endpoint(&self) -> String {
        format!("{}/hf-inference/models/{}", self.router, self.smollm2)
    }

    fn policy(&self) -> Policy {
        Policy::default().with_timeout(Timeout::default().with_total_seconds(self.timeout.as_secs_f64()))
    }

    fn token(&self, mode: &str) -> Result<Secret> {
        self.env.secret(&["HF_API_TOKEN"]).ok_or_else(|| {
            Error::config(format!("HF_API_TOKEN is not set; llm_mode '{mode}' needs a Hugging Face token"))
        })
    }
}

/// The router's address as it may be shown: no user, key or query.
fn router(url: &str) -> Result<String> {
    let plain = |url: &Url| {
        url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    match Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && plain(&parsed) => {
            Ok(url.trim_end_matches('/').to_owned())
        }
        _ => Err(Error::config(
            "HF_ROUTER_URL must begin with http:// or https:// and hold neither a user, a key nor a query; the token is HF_API_TOKEN",
        )),
    }
}

fn known(name: &str) -> Option<&'static str> {
    MODES.iter().map(|(mode, ..)| *mode).find(|mode| *mode == name)
}

fn valid() -> String {
    MODES.iter().map(|(mode, ..)| *mode).collect::<Vec<_>>().join(", ")
}

/// A caller's word as an error may repeat it.
fn shown(mode: &str) -> String {
    mode.chars().filter(|c| !c.is_control()).take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modes(pairs: &[(&str, &str)]) -> Result<ChatModes> {
        ChatModes::from_env_with(&Environment::from_pairs(pairs.iter().copied()))
    }

    #[test]
    fn an_unknown_mode_is_the_callers_mistake_and_an_unknown_default_the_operators() {
        let error = modes(&[]).and_then(|modes| modes.open(Some("gpt-4"))).expect_err("unknown");
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        assert_eq!(
            error.message(),
            "llm_mode 'gpt-4' is unknown; valid: mock, gguf, qwen, Qwen3-4B-Thinking-2507, hf-smollm2, hf-qwen2.5"
        );
        let error = modes(&[("DEFAULT_LLM_MODE", "gpt-4")]).expect_err("unknown");
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert!(error.message().starts_with("DEFAULT_LLM_MODE is 'gpt-4'"), "{error}");
        let error = modes(&[]).and_then(|modes| modes.open(None)).expect_err("no default");
        assert!(error.message().contains("DEFAULT_LLM_MODE is not set"), "{error}");
    }

    #[test]
    fn modes_that_cannot_be_opened_say_why_and_never_become_mock() {
        let offline = [("HF_HUB_OFFLINE", "1"), ("HF_HOME", "/nowhere/at/all"), ("GGUF_MODEL_PATH", "")];
        let modes = modes(&[&offline[..], &[("DEFAULT_LLM_MODE", "mock")]].concat()).expect("modes");
        let message = |mode: &str| modes.open(Some(mode)).expect_err(mode).message().to_owned();
        assert_eq!(message("gguf"), "no GGUF path configured: set GGUF_MODEL_PATH");
        let of_qwen = if cfg!(feature = "candle") { "HF_HUB_OFFLINE is set" } else { "without the `candle`" };
        assert!(message("qwen").contains(of_qwen), "{}", message("qwen"));
        assert!(message("hf-qwen2.5").contains("HF_API_TOKEN is not set"));
        assert!(message("hf-smollm2").contains("HF_API_TOKEN is not set"));
        assert!(modes.open(None).is_ok());
    }

    #[test]
    fn the_description_names_models_and_endpoints_and_holds_no_token() {
        let modes = modes(&[("HF_API_TOKEN", "hf_canary")]).expect("modes");
        let rows = serde_json::to_string(&modes.describe()).expect("JSON");
        assert!(rows.contains("https://router.huggingface.co/v1/chat/completions"), "{rows}");
        assert!(
            rows.contains(
                "https://router.huggingface.co/hf-inference/models/HuggingFaceTB/SmolLM2-1.7B-Instruct"
            ),
            "{rows}"
        );
        assert!(!rows.contains("canary") && !format!("{modes:?}").contains("canary"), "{rows}");
    }

    #[tokio::test]
    async fn warming_up_opens_the_default_mode_and_calls_no_hosted_one() {
        let warm = async |pairs: &[(&str, &str)]| modes(pairs)?.warm_up(&Context::new()).await;
        // Nothing listens there: a call would fail.
        let router = ("HF_ROUTER_URL", "http://127.0.0.1:1");
        let hosted = [("DEFAULT_LLM_MODE", "hf-qwen2.5"), ("HF_API_TOKEN", "hf_x"), router];
        warm(&hosted).await.expect("nothing is called");
        let error = warm(&[("DEFAULT_LLM_MODE", "hf-qwen2.5"), router]).await.expect_err("no token");
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        let error = warm(&[("DEFAULT_LLM_MODE", "gguf")]).await.expect_err("no path");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        warm(&[]).await.expect("nothing to warm up");
    }

    #[test]
    fn a_mode_is_opened_once_and_shared() {
        let modes = modes(&[("DEFAULT_LLM_MODE", "mock")]).expect("modes");
        let (first, second) = (modes.open(None).expect("mock"), modes.open(Some("mock")).expect("mock"));
        assert!(std::ptr::eq(first.info(), second.info()));
    }

    #[test]
    fn values_that_make_no_sense_are_named_when_the_modes_are_read() {
        for (name, value) in [
            ("HF_TIMEOUT_SECONDS", "0"),
            ("HF_TIMEOUT_SECONDS", "soon"),
            ("HF_MAX_NEW_TOKENS", "0"),
            ("HF_MAX_NEW_TOKENS", "-1"),
            ("HF_TEMPERATURE", "-0.5"),
            ("HF_TEMPERATURE", "NaN"),
        ] {
            let error = modes(&[(name, value)]).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
            assert!(error.message().contains(name), "{error}");
        }
    }
}
