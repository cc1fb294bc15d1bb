//! Setups from the environment variables that applications already use.

#[cfg(feature = "procurement")]
use super::ProcurementConfig;
use super::{ChatConfig, EmbedderConfig, ImageConfig, Setup};
use crate::backends::clip_service::ClipServiceConfig;
use crate::backends::gemini::GeminiConfig;
use crate::backends::image_engine::ImageEngineConfig;
#[cfg(feature = "procurement")]
use crate::backends::mercado_publico::MercadoPublicoConfig;
use crate::backends::ollama::OllamaConfig;
use crate::backends::openai::OpenAiConfig;
use crate::backends::scripted::ScriptedConfig;
use crate::backends::tei::TeiConfig;
use crate::env::Environment;
use crate::error::{Error, Result};
use crate::local::{LocalEmbedderConfig, LocalImageConfig, LoraSource};
use crate::policy::{Policy, Timeout};
use crate::secret::Secret;

/// A sleeping Space needs 30 to 60 seconds to wake up.
const CLIP_SECONDS: f64 = 90.0;

const CLIP_MODEL: &str = "openai/clip-vit-base-patch32";

impl Setup<EmbedderConfig> {
    /// The embedder that the process's variables name.
    ///
    /// | `EMBEDDING_PROVIDER` | reads |
    /// | --- | --- |
    /// | `huggingface` | `CLIP_SERVICE_URL`; `CLIP_API_KEY`, `HF_API_TOKEN` (sent to `*.hf.space` and this machine only), `EMBEDDING_MODEL` |
    /// | `local` | `EMBEDDING_MODEL` (`openai/clip-vit-base-patch32`) |
    /// | `openai` | `EMBEDDING_MODEL`, `OPENAI_API_KEY`; `EMBEDDING_URL` for another server |
    /// | `gemini` | `EMBEDDING_MODEL` (`gemini-embedding-001`), `GOOGLE_API_KEY` or `GEMINI_API_KEY`; `EMBEDDING_URL` |
    /// | `tei` | `EMBEDDING_URL`; `EMBEDDING_MODEL` |
    /// | `ollama` | `EMBEDDING_MODEL`; `EMBEDDING_URL` (`http://localhost:11434`) |
    /// | `scripted` | nothing: deterministic vectors for tests |
    ///
    /// # Errors
    /// `config_invalid` naming the variable to set.
    pub fn from_env() -> Result<Self> {
        Self::from_env_with(&Environment::process())
    }

    /// The same, with the variables of `env`.
    ///
    /// # Errors
    /// As above.
    pub fn from_env_with(env: &Environment) -> Result<Self> {
        const VALID: &str = "huggingface, local, openai, gemini, tei, ollama, scripted";
        let provider = env
            .get("EMBEDDING_PROVIDER")
            .ok_or_else(|| Error::config(format!("EMBEDDING_PROVIDER is not set; valid: {VALID}")))?;
        let (model, url) = (env.get("EMBEDDING_MODEL"), env.get("EMBEDDING_URL"));
        Ok(match provider.as_str() {
            "huggingface" => clip_service(env, model)?,
            "local" => Self::new(LocalEmbedderConfig::new(model.unwrap_or_else(|| CLIP_MODEL.to_owned()))),
            "openai" => {
                let model = model.ok_or_else(|| needed("EMBEDDING_MODEL", "openai"))?;
                let api_key = env.secret(&["OPENAI_API_KEY"]);
                Self::new(OpenAiConfig {
                    vendor: "openai".to_owned(),
                    model,
                    base_url: url,
                    api_key,
                    ..OpenAiConfig::default()
                })
            }
            "gemini" => Self::new(GeminiConfig {
                model: model.unwrap_or_else(|| "gemini-embedding-001".to_owned()),
                base_url: url,
                api_key: env.secret(&["GOOGLE_API_KEY", "GEMINI_API_KEY"]),
                ..GeminiConfig::default()
            }),
            "tei" => Self::new(TeiConfig {
                base_url: url.ok_or_else(|| needed("EMBEDDING_URL", "tei"))?,
                model: model.unwrap_or_default(),
                ..TeiConfig::default()
            }),
            "ollama" => Self::new(OllamaConfig {
                model: model.ok_or_else(|| needed("EMBEDDING_MODEL", "ollama"))?,
                base_url: url,
                ..OllamaConfig::default()
            }),
            "scripted" => Self::new(ScriptedConfig::default()),
            other => {
                return Err(Error::config(format!(
                    "EMBEDDING_PROVIDER is '{other}', which is unknown; valid: {VALID}"
                )));
            }
        })
    }
}

fn needed(variable: &str, provider: &str) -> Error {
    Error::config(format!("{variable} is not set; EMBEDDING_PROVIDER={provider} needs it"))
}

fn clip_service(env: &Environment, model: Option<String>) -> Result<Setup<EmbedderConfig>> {
    let url = env.get("CLIP_SERVICE_URL").ok_or_else(|| needed("CLIP_SERVICE_URL", "huggingface"))?;
    let config = ClipServiceConfig {
        model: model.unwrap_or_else(|| CLIP_MODEL.to_owned()),
        api_key: env.secret(&["CLIP_API_KEY"]),
        hf_token: token_for_space(env, &url),
        hub_url: env.get("HF_ENDPOINT"),
        url,
        ..ClipServiceConfig::default()
    };
    // Waking up and the repetitions after it share one deadline.
    let timeout = Timeout::default().with_total_seconds(CLIP_SECONDS);
    Ok(Setup::new(config).with_policy(Policy::default().with_timeout(timeout)))
}

/// The Hugging Face token, if the service is a Space or on this machine: nobody else is to see it.
fn token_for_space(env: &Environment, url: &str) -> Option<Secret> {
    let url = url::Url::parse(url).ok()?;
    let trusted = match url.host()? {
        url::Host::Domain(name) => {
            name == "localhost" || (name.ends_with(".hf.space") && url.scheme() == "https")
        }
        url::Host::Ipv4(ip) => ip.is_loopback(),
        url::Host::Ipv6(ip) => ip.is_loopback(),
    };
    env.secret(&["HF_API_TOKEN"]).filter(|_| trusted)
}

impl Setup<ChatConfig> {
    /// The chat backends that the process's variables configure: of Gemini, Groq and Featherless those whose
    /// key is set, the first of them asked first and the others standing in for it.
    ///
    /// | key | model | address |
    /// | --- | --- | --- |
    /// | `GEMINI_API_KEY` | `GEMINI_MODEL` (`gemini-2.5-flash`) | `GOOGLE_GEMINI_BASE_URL` |
    /// | `GROQ_API_KEY` | `GROQ_MODEL` (`llama-3.3-70b-versatile`) | `GROQ_BASE_URL` |
    /// | `FEATHERLESS_API_KEY` | `FEATHERLESS_MODEL` (`meta-llama/Meta-Llama-3.1-8B-Instruct`) | `FEATHERLESS_BASE_URL` |
    ///
    /// Addresses may be given with or without the path of the API.
    ///
    /// # Errors
    /// `config_invalid` naming the three keys if none is set.
    pub fn from_env() -> Result<Self> {
        Self::from_env_with(&Environment::process())
    }

    /// The same, with the variables of `env`.
    ///
    /// # Errors
    /// As above.
    pub fn from_env_with(env: &Environment) -> Result<Self> {
        let gemini = env.secret(&["GEMINI_API_KEY"]).map(|key| {
            ChatConfig::from(GeminiConfig {
                model: env.get("GEMINI_MODEL").unwrap_or_else(|| "gemini-2.5-flash".to_owned()),
                base_url: address(env, "GOOGLE_GEMINI_BASE_URL", "/v1beta"),
                api_key: Some(key),
                ..GeminiConfig::default()
            })
        });
        let compatible = |vendor: &str, path: &str, default_model: &str| {
            let prefix = vendor.to_ascii_uppercase();
            let key = env.secret(&[&format!("{prefix}_API_KEY")])?;
            Some(ChatConfig::from(OpenAiConfig {
                vendor: vendor.to_owned(),
                model: env.get(&format!("{prefix}_MODEL")).unwrap_or_else(|| default_model.to_owned()),
                base_url: address(env, &format!("{prefix}_BASE_URL"), path),
                api_key: Some(key),
                ..OpenAiConfig::default()
            }))
        };
        let groq = compatible("groq", "/openai/v1", "llama-3.3-70b-versatile");
        let featherless = compatible("featherless", "/v1", "meta-llama/Meta-Llama-3.1-8B-Instruct");
        let mut configured = [gemini, groq, featherless].into_iter().flatten();
        let first = configured.next().ok_or_else(|| {
            Error::config(
                "no chat backend is configured: set GEMINI_API_KEY, GROQ_API_KEY or FEATHERLESS_API_KEY",
            )
        })?;
        Ok(configured.fold(Self::new(first), Self::with_fallback))
    }
}

/// An address as a vendor's own tools take it: with the path of the API, or without.
fn address(env: &Environment, variable: &str, path: &str) -> Option<String> {
    let given = env.get(variable)?;
    let is_bare = url::Url::parse(&given).is_ok_and(|url| url.path() == "/");
    Some(if is_bare { format!("{}{path}", given.trim_end_matches('/')) } else { given })
}

impl Setup<ImageConfig> {
    /// The image engines that the process's variables name.
    ///
    /// | `IMAGE_ENGINE_MODE` | |
    /// | --- | --- |
    /// | `cloud` | the engine at `CLOUD_ENGINE_URL`, else `VITE_CLOUD_ENGINE_URL` |
    /// | `local` | `SD_MODEL_ID` (`runwayml/stable-diffusion-v1-5`) in this process |
    /// | `auto` (the default) | the local one; where it fails, the cloud engine, if its address is set |
    ///
    /// | of the local engine | |
    /// | --- | --- |
    /// | `SD_LCM_LORA_ID` | a LoRA, or `none`; for Stable Diffusion 1.5 and SDXL by their ids it is `latent-consistency/lcm-lora-sdv1-5` or `latent-consistency/lcm-lora-sdxl` by default |
    /// | `SD_DEVICE` | `auto`, `cpu`, `cuda`, `cuda:N` |
    /// | `SD_PRECISION` | `auto`, `f32`, `bf16`, `int8`, `bf16x3`; `fp16` means half precision, which is bf16 here |
    /// | `SD_SAFETY` | `off` (the default), `mark`, `blank`, `refuse`: what is done with images in which the model's safety checker finds something |
    ///
    /// A private Space gets `HF_API_TOKEN`. The answer's route says which engine served.
    ///
    /// # Errors
    /// `config_invalid` naming the variable to set.
    pub fn from_env() -> Result<Self> {
        Self::from_env_with(&Environment::process())
    }

    /// The same, with the variables of `env`.
    ///
    /// # Errors
    /// As above.
    pub fn from_env_with(env: &Environment) -> Result<Self> {
        let url = env.first(&["CLOUD_ENGINE_URL", "VITE_CLOUD_ENGINE_URL"]);
        let cloud = url.map(|url| {
            let hf_token = token_for_space(env, &url);
            ImageEngineConfig::new(url).with_hf_token(hf_token)
        });
        let local = || local_images(env);
        match env.get("IMAGE_ENGINE_MODE").as_deref() {
            Some("cloud") => cloud.map(Self::new).ok_or_else(|| {
                Error::config("CLOUD_ENGINE_URL (or VITE_CLOUD_ENGINE_URL) is not set; IMAGE_ENGINE_MODE=cloud needs it")
            }),
            Some("local") => local().map(Self::new),
            None | Some("auto") => Ok(cloud.into_iter().fold(Self::new(local()?), Self::with_fallback)),
            Some(other) => Err(Error::config(format!(
                "IMAGE_ENGINE_MODE is '{other}', which is unknown; valid: cloud, local, auto"
            ))),
        }
    }
}

/// The models whose LCM-LoRA is known by their names.
const LCM_LORAS: [(&str, &str); 4] = [
    ("runwayml/stable-diffusion-v1-5", "latent-consistency/lcm-lora-sdv1-5"),
    ("stable-diffusion-v1-5/stable-diffusion-v1-5", "latent-consistency/lcm-lora-sdv1-5"),
    ("sd-legacy/stable-diffusion-v1-5", "latent-consistency/lcm-lora-sdv1-5"),
    ("stabilityai/stable-diffusion-xl-base-1.0", "latent-consistency/lcm-lora-sdxl"),
];

/// The local engine of the variables `SD_…`.
fn local_images(env: &Environment) -> Result<LocalImageConfig> {
    let model = env.get("SD_MODEL_ID").unwrap_or_else(|| LCM_LORAS[0].0.to_owned());
    let usual = || LCM_LORAS.iter().find(|(id, _)| *id == model).map(|(_, lora)| (*lora).to_owned());
    let lora = env.get("SD_LCM_LORA_ID").or_else(usual).filter(|lora| lora != "none");
    let mut local = LocalImageConfig::new(model);
    local.loras = lora.into_iter().map(LoraSource::new).collect();
    local.source.device = env.get("SD_DEVICE");
    local.source.precision = env.get("SD_PRECISION").map(|name| match name.as_str() {
        "fp16" | "float16" => "bf16".to_owned(),
        _ => name,
    });
    let safety = env.get("SD_SAFETY").map(|mode| mode.parse());
    let named = |error: Error| Error::config(format!("SD_SAFETY: {}", error.message()));
    local.safety = safety.transpose().map_err(named)?.unwrap_or_default();
    Ok(local)
}

#[cfg(feature = "procurement")]
impl Setup<ProcurementConfig> {
    /// Mercado Público with the process's ticket.
    ///
    /// | variable | |
    /// | --- | --- |
    /// | `MERCADO_PUBLICO_TICKET` | the ticket |
    /// | `DATABASE_URL` | `sqlite:…`, `postgres:…`: where quota, cursors and records are kept; in memory without it |
    ///
    /// # Errors
    /// `config_invalid` naming the ticket's variable if it is not set.
    pub fn from_env() -> Result<Self> {
        Self::from_env_with(&Environment::process())
    }

    /// The same, with the variables of `env`.
    ///
    /// # Errors
    /// As above.
    pub fn from_env_with(env: &Environment) -> Result<Self> {
        let ticket = env
            .secret(&["MERCADO_PUBLICO_TICKET"])
            .ok_or_else(|| Error::config("MERCADO_PUBLICO_TICKET is not set"))?;
        Ok(Self::new(MercadoPublicoConfig {
            ticket: Some(ticket),
            store: env.get("DATABASE_URL").map(Into::into),
            ..MercadoPublicoConfig::default()
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::local::SafetyMode;

    fn env(pairs: &[(&str, &str)]) -> Environment {
        Environment::from_pairs(pairs.iter().copied())
    }

    #[test]
    fn an_embedding_provider_is_chosen_by_name_and_a_typo_lists_the_names() {
        let set = [("EMBEDDING_PROVIDER", "huggingface"), ("CLIP_SERVICE_URL", "https://a-clip.hf.space")];
        let setup = Setup::<EmbedderConfig>::from_env_with(&env(&set)).expect("a setup");
        assert!(
            matches!(&setup.backend, EmbedderConfig::ClipService(clip) if clip.url == "https://a-clip.hf.space")
        );
        let local = Setup::<EmbedderConfig>::from_env_with(&env(&[("EMBEDDING_PROVIDER", "local")]));
        let local = local.expect("a setup").backend;
        assert!(matches!(local, EmbedderConfig::Local(local) if local.source.model == CLIP_MODEL));
        for (pairs, named) in [
            (&[][..], "EMBEDDING_PROVIDER"),
            (&[("EMBEDDING_PROVIDER", "hugging-face")][..], "huggingface, local, openai"),
            (&[("EMBEDDING_PROVIDER", "huggingface")][..], "CLIP_SERVICE_URL"),
            (&[("EMBEDDING_PROVIDER", "tei")][..], "EMBEDDING_URL"),
            (&[("EMBEDDING_PROVIDER", "openai")][..], "EMBEDDING_MODEL"),
        ] {
            let error = Setup::<EmbedderConfig>::from_env_with(&env(pairs)).expect_err(named);
            assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
            assert!(error.message().contains(named), "{error}");
        }
    }

    #[test]
    fn the_hugging_face_token_goes_to_spaces_and_to_this_machine_only() {
        for (url, goes) in [
            ("https://a-clip.hf.space", true),
            ("http://127.0.0.1:7860", true),
            ("http://localhost:7860", true),
            ("http://a-clip.hf.space", false),
            ("https://clip.example.com", false),
            ("https://evil-hf.space", false),
        ] {
            assert_eq!(token_for_space(&env(&[("HF_API_TOKEN", "hf_x")]), url).is_some(), goes, "{url}");
        }
    }

    #[test]
    fn the_configured_chat_backends_stand_in_for_each_other_in_a_fixed_order() {
        let set = [("FEATHERLESS_API_KEY", "f"), ("GEMINI_API_KEY", "g"), ("GEMINI_MODEL", "gemini-3-flash")];
        let setup = Setup::<ChatConfig>::from_env_with(&env(&set)).expect("a setup");
        assert!(matches!(&setup.backend, ChatConfig::Gemini(gemini) if gemini.model == "gemini-3-flash"));
        assert!(matches!(&setup.fallback[..], [ChatConfig::OpenAi(one)] if one.vendor == "featherless"));
        let error = Setup::<ChatConfig>::from_env_with(&env(&[("GROQ_API_KEY", " ")])).expect_err("no key");
        for name in ["GEMINI_API_KEY", "GROQ_API_KEY", "FEATHERLESS_API_KEY"] {
            assert!(error.message().contains(name), "{error}");
        }
    }

    #[test]
    fn an_address_is_taken_with_and_without_the_apis_path() {
        for (given, expected) in [
            ("http://127.0.0.1:9", "http://127.0.0.1:9/openai/v1"),
            ("http://127.0.0.1:9/", "http://127.0.0.1:9/openai/v1"),
            ("http://127.0.0.1:9/openai/v1", "http://127.0.0.1:9/openai/v1"),
        ] {
            let env = env(&[("GROQ_BASE_URL", given)]);
            assert_eq!(address(&env, "GROQ_BASE_URL", "/openai/v1").as_deref(), Some(expected));
        }
    }

    #[test]
    fn automatic_image_mode_prefers_the_local_engine_and_falls_back_to_the_cloud() {
        let set = [("VITE_CLOUD_ENGINE_URL", "https://a-engine.hf.space")];
        let setup = Setup::<ImageConfig>::from_env_with(&env(&set)).expect("a setup");
        assert!(matches!(&setup.backend, ImageConfig::Local(_)));
        assert!(matches!(&setup.fallback[..], [ImageConfig::ImageEngine(_)]));
        let error = Setup::<ImageConfig>::from_env_with(&env(&[("IMAGE_ENGINE_MODE", "cloud")]));
        assert!(error.is_err_and(|error| error.message().contains("CLOUD_ENGINE_URL")));
    }

    #[test]
    fn the_local_image_engine_is_told_by_variables() {
        let local = |pairs: &[(&str, &str)]| local_images(&env(pairs)).expect("a configuration");
        let usual = local(&[]);
        assert_eq!(usual.source.model, "runwayml/stable-diffusion-v1-5");
        assert_eq!(usual.loras, [LoraSource::new("latent-consistency/lcm-lora-sdv1-5")]);
        let xl = [("SD_MODEL_ID", "stabilityai/stable-diffusion-xl-base-1.0"), ("SD_PRECISION", "fp16")];
        let xl = local(&xl);
        assert_eq!(xl.loras, [LoraSource::new("latent-consistency/lcm-lora-sdxl")]);
        assert_eq!(xl.source.precision.as_deref(), Some("bf16"));
        assert!(local(&[("SD_LCM_LORA_ID", "none")]).loras.is_empty());
        assert!(local(&[("SD_MODEL_ID", "./weights")]).loras.is_empty());
        let own = local(&[("SD_LCM_LORA_ID", "o/lora"), ("SD_DEVICE", "cpu"), ("SD_PRECISION", "auto")]);
        assert_eq!((own.loras[0].model.as_str(), own.source.device.as_deref()), ("o/lora", Some("cpu")));
        assert_eq!(
            [usual.safety, local(&[("SD_SAFETY", "blank")]).safety],
            [SafetyMode::Off, SafetyMode::Blank]
        );
        let error = local_images(&env(&[("SD_SAFETY", "on")])).expect_err("no mode");
        assert_eq!(error.message(), "SD_SAFETY: safety 'on' is unknown; valid: off, mark, blank, refuse");
    }

    #[test]
    fn the_procurement_client_needs_a_ticket_and_keeps_its_books_where_the_database_is() {
        let set = [("MERCADO_PUBLICO_TICKET", "t"), ("DATABASE_URL", "sqlite:///./app.db")];
        let setup = Setup::<ProcurementConfig>::from_env_with(&env(&set)).expect("a setup");
        let ProcurementConfig::MercadoPublico(config) = &setup.backend else { panic!("another backend") };
        assert_eq!(config.store, Some("sqlite:///./app.db".into()));
        assert!(!format!("{setup:?}").contains("\"t\""));
        let error = Setup::<ProcurementConfig>::from_env_with(&env(&[])).expect_err("no ticket");
        assert!(error.message().contains("MERCADO_PUBLICO_TICKET"), "{error}");
    }
}
