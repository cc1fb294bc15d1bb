//! From the files of a Stable Diffusion model to its parts: a diffusers repository, or a single-file checkpoint.

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::loras::LoraGroup;
use super::networks::Network;
use super::pipeline::{Facts, Family, LoraFacts, LoraFile, Part, Pipeline, PipelineFiles, WeightBytes};
use super::prompt::PromptTokenizer;
use super::safety::{CHECKER, Safety};
use super::scheduler::{SchedulerConfig, SchedulerKind, Spacing};
use crate::error::{Error, ErrorKind, Result};
use crate::local::models::PromptEncoder;
use crate::local::models::diffusion::{
    UNet, UNetConfig, Vae, open_vae, unet_of_tensors, vae_of_tensors, with_today_s_names,
};
use crate::local::ops::Device;
use crate::local::source::{MODEL_INDEX, ModelFiles};
use crate::local::weights::{FlatNames, KeyMap, Lora, LoraPart, Weights, flat_names, single_file};

/// A part's configuration and tensors.
struct Described {
    config: Value,
    weights: Weights,
}

/// What a pipeline is made of, whichever files held it.
struct Parts {
    class: Option<String>,
    scheduler: Value,
    zeros_for_no_prompt: bool,
    text: Vec<(Described, ModelFiles)>,
    unet: Described,
    vae: Described,
    has_safety_checker: bool,
}

pub(super) fn load(
    files: &PipelineFiles,
    device: &Device,
    progress: &mut dyn FnMut(Part),
) -> Result<Pipeline> {
    let parts = Parts::open(files)?;
    let scheduler = SchedulerConfig::from_json(&parts.scheduler)?;
    let loras = parts.loras(&files.loras)?;
    let group = LoraGroup::usual(&loras);
    let (network, config) = parts.network(&files.loras, &group, device, progress)?;
    let careful = careful(device);
    let vae = open_vae(&parts.vae.config, &with_today_s_names(&parts.vae.weights), &careful)?;
    if vae.latent_channels() != config.out_channels {
        return Err(load_error(format!(
            "the VAE has latents of {} channels, the UNet of {}",
            vae.latent_channels(),
            config.out_channels
        )));
    }
    progress(Part::Vae);
    let safety =
        files.safety.as_ref().map(|safety| Safety::open(safety, &files.model, &careful)).transpose()?;
    let mut facts = parts.facts(&config, &*vae, scheduler, loras, device);
    facts.weight_files = weight_files(files)?;
    facts.weight_bytes.safety = safety.as_ref().map_or(0, Safety::weight_bytes);
    facts.has_safety_checker |= safety.is_some();
    let networks = vec![(group, Arc::new(network))].into();
    Ok(Pipeline { facts, device: device.clone(), files: files.clone(), networks, vae, safety })
}

/// The parts that LoRAs change, with these.
pub(super) fn network(files: &PipelineFiles, loras: &LoraGroup, device: &Device) -> Result<Network> {
    let (network, _) = Parts::open(files)?.network(&files.loras, loras, device, &mut |_| {})?;
    Ok(network)
}

/// For the parts besides the UNet, which cost little time and would lose too much in int8.
fn careful(device: &Device) -> Device {
    device.with_precision(device.precision_above_int8())
}

/// The files of weights, those of the UNet first.
fn weight_files(files: &PipelineFiles) -> Result<Vec<PathBuf>> {
    let model = &files.model;
    let part = |name: &str| model.within(name);
    let of_repository = || {
        let text =
            ["text_encoder", "text_encoder_2"].map(part).into_iter().filter(|part| part.has("config.json"));
        let unet = files.unet.clone().unwrap_or_else(|| part("unet"));
        [unet].into_iter().chain(text).chain([files.vae.clone().unwrap_or_else(|| part("vae"))]).collect()
    };
    let parts: Vec<ModelFiles> = match model.has(MODEL_INDEX) && model.weights.is_none() {
        true => of_repository(),
        false => [files.unet.clone(), Some(model.clone()), files.vae.clone()].into_iter().flatten().collect(),
    };
    let mut paths = Vec::new();
    for part in parts {
        paths.extend(part.weight_files()?.names.iter().map(|name| part.path(name)));
    }
    Ok(paths)
}

fn load_error(message: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::ModelLoad, message.to_string())
}

fn described(files: &ModelFiles) -> Result<Described> {
    Ok(Described { config: files.needed_json("config.json")?, weights: Weights::open(files)? })
}

/// A scheduler's file. Python writes infinities that are not JSON; they mean that a setting is off.
fn scheduler_file(files: &ModelFiles) -> Result<Value> {
    const NAME: &str = "scheduler_config.json";
    let wrong = |why: &dyn std::fmt::Display| load_error(format!("{} {why}", files.path(NAME).display()));
    let bytes = files.read(NAME)?.ok_or_else(|| wrong(&"does not exist"))?;
    let text = String::from_utf8_lossy(&bytes).replace("-Infinity", "null");
    serde_json::from_str(&text).map_err(|error| wrong(&format_args!("is not as expected: {error}")))
}

impl Parts {
    fn open(files: &PipelineFiles) -> Result<Self> {
        let mut parts = match files.model.has(MODEL_INDEX) && files.model.weights.is_none() {
            true => Self::of_repository(files)?,
            false => Self::of_checkpoint(files)?,
        };
        if let Some(vae) = &files.vae {
            parts.vae = described(vae)?;
        }
        Ok(parts)
    }

    fn of_repository(files: &PipelineFiles) -> Result<Self> {
        let model = &files.model;
        let index: Value = model.needed_json(MODEL_INDEX)?;
        let class = index.get("_class_name").and_then(Value::as_str).map(str::to_owned);
        let is_known = class.as_deref().is_none_or(|class| {
            class.starts_with("StableDiffusion") && !class.starts_with("StableDiffusion3")
                || class.starts_with("LatentConsistency")
        });
        if !is_known {
            let class = class.unwrap_or_default();
            return Err(Error::unsupported(format!(
                "{MODEL_INDEX} describes a '{class}', which is not supported; pipelines of Stable Diffusion 1, 2 and XL are"
            )));
        }
        let has = |part: &str| index.get(part).is_some_and(|part| part.get(0).is_some_and(Value::is_string));
        let mut text = Vec::new();
        for (encoder, tokenizer) in [("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")] {
            if has(encoder) {
                text.push((described(&model.within(encoder))?, model.within(tokenizer)));
            }
        }
        let unet = model.within("unet");
        let unet = Described {
            config: unet.needed_json("config.json")?,
            weights: Weights::open(files.unet.as_ref().unwrap_or(&unet))?,
        };
        let vae = files.vae.clone().unwrap_or_else(|| model.within("vae"));
        Ok(Self {
            class,
            scheduler: scheduler_file(&model.within("scheduler"))?,
            // diffusers' default for pipelines of SDXL, the only ones that look at it.
            zeros_for_no_prompt: index
                .get("force_zeros_for_empty_prompt")
                .and_then(Value::as_bool)
                .unwrap_or(true),
            text,
            unet,
            vae: described(&vae)?,
            has_safety_checker: has(CHECKER),
        })
    }

    fn of_checkpoint(files: &PipelineFiles) -> Result<Self> {
        let all = Weights::open(&files.model)?;
        let unet = match &files.unet {
            Some(unet) => Weights::open(unet)?,
            None => all.renamed(|name| single_file::unet_name(name.strip_prefix(single_file::UNET)?, '.')),
        };
        if unet.len() == 0 {
            return Err(load_error(format!(
                "this is neither a diffusers folder ({MODEL_INDEX}) nor a checkpoint of Stable Diffusion (`{}…`)",
                single_file::UNET
            )));
        }
        let mut text = Vec::new();
        for (prefix, is_open_clip) in single_file::TEXT_ENCODERS {
            let weights = all.renamed(|name| name.strip_prefix(prefix).map(str::to_owned));
            if weights.len() > 0 {
                text.push((weights, is_open_clip));
            }
        }
        let is_xl = unet.has("add_embedding.linear_1.weight");
        let is_first = !is_xl && text.first().is_some_and(|(_, is_open_clip)| !is_open_clip);
        let levels = |weights: &Weights| {
            (0..16)
                .take_while(|n| {
                    weights.has(&format!("{}encoder.down.{n}.block.0.norm1.weight", single_file::VAE))
                })
                .count()
        };
        let levels = levels(&all);
        let vae = all.renamed(|name| single_file::vae_name(name.strip_prefix(single_file::VAE)?, levels));
        let text = text.into_iter().enumerate().map(|(place, (weights, is_open_clip))| {
            let tokenizer = tokenizer_beside(&files.model, place)?;
            Ok((text_part(weights, is_open_clip, is_xl)?, tokenizer))
        });
        Ok(Self {
            class: None,
            scheduler: usual_scheduler(is_first, is_xl),
            zeros_for_no_prompt: true,
            text: text.collect::<Result<_>>()?,
            unet: Described { config: unet_of_tensors(&unet, is_first.then_some(8))?, weights: unet },
            vae: Described {
                config: vae_of_tensors(&vae, if is_xl { 0.13025 } else { 0.18215 })?,
                weights: vae,
            },
            has_safety_checker: false,
        })
    }

    fn is_xl(&self) -> bool {
        self.unet.config.get("addition_embed_type").is_some_and(Value::is_string)
    }

    fn family(&self) -> Family {
        let activation = self.text.first().and_then(|(part, _)| part.config.get("hidden_act")?.as_str());
        match (self.is_xl(), activation) {
            (true, _) => Family::Sdxl,
            (false, Some("gelu")) => Family::Sd2,
            (false, _) => Family::Sd1,
        }
    }

    /// The parts that LoRAs change, with these.
    fn network(
        &self,
        files: &[LoraFile],
        loras: &LoraGroup,
        device: &Device,
        progress: &mut dyn FnMut(Part),
    ) -> Result<(Network, UNetConfig)> {
        let (names, careful) = (self.layers()?, careful(device));
        let read = |(place, scale): (usize, f32)| files.get(place).map(|file| file.read(scale, &names));
        let loras = loras.members().filter_map(read).collect::<Result<Vec<Lora>>>()?;
        // Their products are added when layers are made.
        let merged = |weights: &Weights, part| match Lora::deltas(&loras, part) {
            Some(deltas) => weights.with_deltas(deltas),
            None => weights.clone(),
        };
        let mut encoders = Vec::new();
        for (place, (part, tokenizer)) in self.text.iter().enumerate() {
            let weights = merged(&part.weights, LoraPart::Text(place));
            let encoder = PromptEncoder::new(&part.config, &weights, &careful)?;
            let tokenizer = PromptTokenizer::new(tokenizer, encoder.window(), encoder.vocabulary())?;
            encoders.push((encoder, tokenizer));
        }
        progress(Part::TextEncoders);
        let config = UNetConfig::read(&self.unet.config)?;
        self.check(&config, &encoders)?;
        let denoiser = UNet::new(&self.unet.config, &merged(&self.unet.weights, LoraPart::Unet), device)?;
        progress(Part::Denoiser);
        Ok((Network { encoders, denoiser: Box::new(denoiser) }, config))
    }

    /// The layers of each part.
    fn layers(&self) -> Result<HashMap<LoraPart, FlatNames>> {
        let of_unet = self.unet.weights.names().filter_map(|name| name.strip_suffix(".weight"));
        let mut names = HashMap::from([(LoraPart::Unet, flat_names(of_unet))]);
        for (place, (part, _)) in self.text.iter().enumerate() {
            let layers = PromptEncoder::layer_names(&part.config)?;
            names.insert(LoraPart::Text(place), flat_names(layers.iter().map(String::as_str)));
        }
        Ok(names)
    }

    /// What LoRAs are, in order.
    fn loras(&self, files: &[LoraFile]) -> Result<Vec<LoraFacts>> {
        let layers = if files.is_empty() { HashMap::new() } else { self.layers()? };
        let facts = |file: &LoraFile| {
            let lora = file.read(file.scale, &layers)?;
            let (reference, name, scale) = (file.reference.clone(), file.name()?, file.scale);
            let sha256 = sha256(&file.files, &name)?;
            Ok(LoraFacts { reference, name, scale, layers: lora.len(), rank: lora.rank(), sha256 })
        };
        files.iter().map(facts).collect()
    }

    /// Checks that text encoders and UNet belong together.
    fn check(&self, config: &UNetConfig, encoders: &[(PromptEncoder, PromptTokenizer)]) -> Result<()> {
        let width: usize = encoders.iter().map(|(encoder, _)| encoder.width()).sum();
        if width != config.context {
            return Err(load_error(format!(
                "the text encoders give states of {width} numbers, the UNet takes {}",
                config.context
            )));
        }
        if let Some([size, all]) = config.added {
            let pooled = encoders.last().and_then(|(encoder, _)| encoder.pooled_width()).unwrap_or(0);
            if pooled.checked_add(size.saturating_mul(6)) != Some(all) {
                return Err(load_error(format!(
                    "the text encoders give pooled states of {pooled} numbers, the UNet takes {all} with six sizes of {size}"
                )));
            }
        }
        if config.sample_size == 0 || config.sample_size > 1024 {
            return Err(load_error(format!(
                "`sample_size` is {} in the UNet's config.json",
                config.sample_size
            )));
        }
        let valid = [config.out_channels, 2 * config.out_channels + 1];
        if !valid.contains(&config.in_channels) {
            return Err(Error::unsupported(format!(
                "a UNet from {} to {} channels; supported: those from 4 to 4, and 9 to 4 for inpainting",
                config.in_channels, config.out_channels
            )));
        }
        Ok(())
    }

    fn facts(
        &self,
        config: &UNetConfig,
        vae: &dyn Vae,
        scheduler: SchedulerConfig,
        loras: Vec<LoraFacts>,
        device: &Device,
    ) -> Facts {
        let careful = careful(device).weight_bytes();
        let family = self.family();
        let is_few_step = matches!(scheduler.kind, SchedulerKind::Lcm | SchedulerKind::Tcd)
            || matches!(scheduler.kind, SchedulerKind::Euler | SchedulerKind::EulerAncestral)
                && scheduler.spacing == Spacing::Trailing;
        Facts {
            family,
            native_size: config.sample_size * vae.scale(),
            scale: vae.scale(),
            latent_channels: config.out_channels,
            size_multiple: vae.scale(),
            looks_distilled: is_few_step || config.guidance_width.is_some(),
            scheduler,
            is_inpaint: config.in_channels != config.out_channels,
            embeds_guidance: config.guidance_width.is_some(),
            zeros_for_no_prompt: self.zeros_for_no_prompt && family == Family::Sdxl,
            is_tiny_vae: self.vae.config.get("_class_name").and_then(Value::as_str)
                == Some("AutoencoderTiny"),
            has_safety_checker: self.has_safety_checker,
            pipeline_class: self.class.clone(),
            loras,
            weight_files: Vec::new(),
            weight_bytes: WeightBytes {
                text: self.text.iter().map(|(part, _)| part.weights.count() * careful).sum(),
                denoiser: self.unet.weights.count() * device.weight_bytes(),
                vae: self.vae.weights.count() * careful,
                safety: 0,
            },
            unet_channels: config.levels.iter().map(|level| level.channels).collect(),
            vae_channels: vae.channels().to_vec(),
            device: device.name(),
            precision: device.precision.name(),
            precision_reason: device.precision_reason,
        }
    }
}

impl LoraFile {
    /// Its file's name, without folders.
    fn name(&self) -> Result<String> {
        Ok(self.files.weight_files()?.names.first().cloned().unwrap_or_default())
    }

    /// Its matrices for layers of these names, to be added `scale` times.
    fn read(&self, scale: f32, layers: &HashMap<LoraPart, FlatNames>) -> Result<Lora> {
        if !scale.is_finite() {
            return Err(Error::config(format!("the scale of a LoRA is {scale}")));
        }
        let name = self.name()?;
        Lora::read(&self.files, scale, layers).map_err(|error| {
            Error::new(error.kind(), format!("{name}: {}", error.message())).with_source(error)
        })
    }
}

/// The hash of a file, in hex.
fn sha256(files: &ModelFiles, name: &str) -> Result<String> {
    let failed = |error: std::io::Error| load_error(format!("{name} cannot be read: {error}"));
    let mut file = std::fs::File::open(files.path(name)).map_err(failed)?;
    let (mut hash, mut buffer) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => hash.update(&buffer[..read]),
        }
    }
}

/// The tokenizer that belongs to a checkpoint: checkpoints have none inside.
fn tokenizer_beside(files: &ModelFiles, place: usize) -> Result<ModelFiles> {
    let is_tokenizer = |files: &ModelFiles| files.has("tokenizer.json") || files.has("merges.txt");
    let folders = [if place == 1 { "tokenizer_2" } else { "tokenizer" }, "tokenizer", ""];
    let found = folders.into_iter().map(|folder| files.within(folder)).find(is_tokenizer);
    found.ok_or_else(|| {
        load_error(format!(
            "a single-file checkpoint has no tokenizer: put CLIP's vocab.json and merges.txt beside it, or into {}",
            files.path("tokenizer").display()
        ))
    })
}

/// A text encoder of a checkpoint with the configuration that its tensors show.
fn text_part(weights: Weights, is_open_clip: bool, is_xl: bool) -> Result<Described> {
    let weights = if is_open_clip { weights.with_names(KeyMap::of_open_clip(false)) } else { weights };
    let missing = |name: &str| load_error(format!("a text encoder of the checkpoint has no `{name}`"));
    let shape = |name: &str| weights.shape(name).ok_or_else(|| missing(name));
    let embedding = shape("text_model.embeddings.token_embedding.weight")?;
    let (&[vocabulary, width], Some(&positions)) =
        (embedding, shape("text_model.embeddings.position_embedding.weight")?.first())
    else {
        return Err(missing("text_model.embeddings.token_embedding.weight"));
    };
    let inner = shape("text_model.encoder.layers.0.mlp.fc1.weight")?.first().copied();
    let layers = (0..1000)
        .take_while(|n| weights.has(&format!("text_model.encoder.layers.{n}.mlp.fc1.weight")))
        .count();
    // Stable Diffusion 2 was trained with the states before the last layer.
    let layers = layers - usize::from(is_open_clip && !is_xl);
    let config = json!({
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": (width / 64).max(1),
        "hidden_act": if is_open_clip { "gelu" } else { "quick_gelu" },
        "vocab_size": vocabulary,
        "max_position_embeddings": positions,
        "eos_token_id": 2,
    });
    Ok(Described { config, weights })
}

/// The scheduler of the repository that a family was published in.
fn usual_scheduler(is_first: bool, is_xl: bool) -> Value {
    let mut config = json!({
        "_class_name": "EulerDiscreteScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "steps_offset": 1,
        "timestep_spacing": "leading",
        "clip_sample": false,
        "set_alpha_to_one": false,
        "skip_prk_steps": true,
        "prediction_type": "epsilon",
    });
    if is_first {
        config["_class_name"] = json!("PNDMScheduler");
    } else if !is_xl {
        config["_class_name"] = json!("DDIMScheduler");
        config["prediction_type"] = json!("v_prediction");
    }
    config
}
