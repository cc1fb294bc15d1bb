//! Tiny image models with random weights, in the layout of diffusers: what draws is real, what it draws is noise.
//!
//! [`write()`] makes three: `sd` (Stable Diffusion 1.x's layout, with a safety checker that finds concept 1 in every image),
//! `turbo` (the same with SD-Turbo's scheduler and no checker), and `sd-inpaint` (nine input channels); a safety checker that
//! finds nothing, `harmless`; and two LoRAs, `tiny_lightning_4step_lora.safetensors` and `tiny_other_base_lora.safetensors`, of
//! which the second does not fit.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use crate::random::Random;

/// Channels of the UNet's two levels, of the VAE, and of the text encoder.
const CHANNELS: [usize; 2] = [32, 64];
const WIDTH: usize = 32;

/// Pairs of letters that are tokens of their own.
const MERGES: [&str; 6] = ["t h", "th e</w>", "a n", "o n", "i n", "e r</w>"];

/// Writes the models into a folder, which is made where it is missing. The same everywhere.
///
/// # Errors
/// What the system says.
pub fn write(folder: &Path) -> io::Result<()> {
    pipeline(
        &folder.join("sd"),
        4,
        &json!({
            "_class_name": "PNDMScheduler", "beta_start": 0.000_85, "beta_end": 0.012, "beta_schedule": "scaled_linear",
            "num_train_timesteps": 1000, "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1,
            "prediction_type": "epsilon", "timestep_spacing": "leading"
        }),
    )?;
    // No cosine is above two, or below minus two.
    safety_checker(&folder.join("sd/safety_checker"), [2.0, -2.0])?;
    safety_checker(&folder.join("harmless"), [2.0, 2.0])?;
    let turbo = json!({
        "_class_name": "EulerDiscreteScheduler", "beta_start": 0.000_85, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "steps_offset": 1,
        "prediction_type": "epsilon", "timestep_spacing": "trailing"
    });
    pipeline(&folder.join("turbo"), 4, &turbo)?;
    pipeline(
        &folder.join("sd-inpaint"),
        9,
        &json!({
            "_class_name": "DDIMScheduler", "beta_start": 0.000_85, "beta_end": 0.012, "beta_schedule": "scaled_linear",
            "num_train_timesteps": 1000, "set_alpha_to_one": false, "steps_offset": 1, "clip_sample": false
        }),
    )?;
    for (name, width) in [("tiny_lightning_4step_lora", WIDTH), ("tiny_other_base_lora", 3 * WIDTH)] {
        let mut weights = Weights::new(9);
        let layer = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";
        weights.add(format!("{layer}.lora_A.weight"), &[2, width]);
        weights.add(format!("{layer}.lora_B.weight"), &[width, 2]);
        weights.write(&folder.join(format!("{name}.safetensors")))?;
    }
    Ok(())
}

/// The models in a folder that all processes of this version share; written by the first that asks.
///
/// # Errors
/// What the system says.
pub fn shared() -> io::Result<PathBuf> {
    let name = concat!("ayni-tiny-images-", env!("CARGO_PKG_VERSION"), "-2");
    let folder = std::env::temp_dir().join(name);
    if folder.join("sd").is_dir() {
        return Ok(folder);
    }
    // Whole or not at all: others may look at the same time.
    let fresh = folder.with_extension(std::process::id().to_string());
    write(&fresh)?;
    match fs::rename(&fresh, &folder) {
        Ok(()) => Ok(folder),
        Err(_) if folder.join("sd").is_dir() => fs::remove_dir_all(&fresh).map(|()| folder),
        Err(error) => Err(error),
    }
}

fn pipeline(folder: &Path, unet_channels: usize, scheduler: &Value) -> io::Result<()> {
    let class = if unet_channels == 9 { "StableDiffusionInpaintPipeline" } else { "StableDiffusionPipeline" };
    let is_checked = folder.ends_with("sd");
    let checker =
        if is_checked { ["stable_diffusion", "StableDiffusionSafetyChecker"].map(Some) } else { [None; 2] };
    let index = json!({
        "_class_name": class, "_diffusers_version": "0.30.0",
        "scheduler": ["diffusers", scheduler["_class_name"]],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"],
        "safety_checker": checker, "feature_extractor": [null, null]
    });
    write_json(&folder.join("model_index.json"), &index)?;
    write_json(&folder.join("scheduler/scheduler_config.json"), scheduler)?;
    let words = tokenizer(&folder.join("tokenizer"))?;
    text_encoder(&folder.join("text_encoder"), words)?;
    unet(&folder.join("unet"), unet_channels)?;
    vae(&folder.join("vae"))
}

/// CLIP's tokenizer over bytes, with few merges. Returns how many tokens it has.
fn tokenizer(folder: &Path) -> io::Result<usize> {
    // Bytes that are no letters get letters of their own, as GPT-2 writes them.
    let is_plain = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut others = 256..;
    let letters: Vec<char> = (0..256)
        .map(|byte| if is_plain(byte) { byte } else { others.next().unwrap_or(byte) })
        .filter_map(char::from_u32)
        .collect();
    let plain = letters.iter().copied().filter(|letter| is_plain(u32::from(*letter)));
    let ordered: Vec<char> =
        plain.chain(letters.iter().copied().filter(|letter| u32::from(*letter) > 255)).collect();
    let single = ordered.iter().map(char::to_string);
    let ends = ordered.iter().map(|letter| format!("{letter}</w>"));
    let merged = MERGES.iter().map(|pair| pair.replace(' ', ""));
    let special = ["<|startoftext|>", "<|endoftext|>"].map(str::to_owned);
    let words: Vec<String> = single.chain(ends).chain(merged).chain(special).collect();
    let vocabulary: Map<String, Value> =
        words.iter().enumerate().map(|(id, word)| (word.clone(), json!(id))).collect();
    write_json(&folder.join("vocab.json"), &Value::Object(vocabulary))?;
    fs::write(folder.join("merges.txt"), format!("#version: 0.2\n{}\n", MERGES.join("\n")))?;
    write_json(
        &folder.join("tokenizer_config.json"),
        &json!({
            "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": "<|startoftext|>",
            "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "pad_token": "<|endoftext|>",
            "do_lower_case": true, "add_prefix_space": false
        }),
    )?;
    Ok(words.len())
}

fn text_encoder(folder: &Path, words: usize) -> io::Result<()> {
    let config = json!({
        "architectures": ["CLIPTextModel"], "model_type": "clip_text_model", "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH, "num_attention_heads": 4, "num_hidden_layers": 2, "max_position_embeddings": 77,
        "vocab_size": words, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "projection_dim": WIDTH,
        "bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": words - 1
    });
    write_json(&folder.join("config.json"), &config)?;
    let mut weights = Weights::new(1);
    weights.add("text_model.embeddings.token_embedding.weight", &[words, WIDTH]);
    weights.add("text_model.embeddings.position_embedding.weight", &[77, WIDTH]);
    weights.clip_layers("text_model");
    weights.norm("text_model.final_layer_norm", WIDTH);
    weights.write(&folder.join("model.safetensors"))
}

/// A checker of two concepts with these thresholds, which says itself how it wants images.
fn safety_checker(folder: &Path, thresholds: [f32; 2]) -> io::Result<()> {
    const SIDE: usize = 16;
    const PATCH: usize = 8;
    let config = json!({
        "architectures": ["StableDiffusionSafetyChecker"], "model_type": "clip", "projection_dim": WIDTH,
        "vision_config": {
            "hidden_size": WIDTH, "intermediate_size": 2 * WIDTH, "num_attention_heads": 4, "num_hidden_layers": 2,
            "image_size": SIDE, "patch_size": PATCH, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5
        }
    });
    write_json(&folder.join("config.json"), &config)?;
    let preprocessor = json!({
        "feature_extractor_type": "CLIPFeatureExtractor", "size": SIDE, "crop_size": SIDE, "resample": 3
    });
    write_json(&folder.join("preprocessor_config.json"), &preprocessor)?;
    let mut weights = Weights::new(4);
    let tower = "vision_model.vision_model";
    weights.add(format!("{tower}.embeddings.patch_embedding.weight"), &[WIDTH, 3, PATCH, PATCH]);
    weights.add(format!("{tower}.embeddings.class_embedding"), &[WIDTH]);
    let positions = 1 + (SIDE / PATCH) * (SIDE / PATCH);
    weights.add(format!("{tower}.embeddings.position_embedding.weight"), &[positions, WIDTH]);
    weights.norm(&format!("{tower}.pre_layrnorm"), WIDTH);
    weights.clip_layers(tower);
    weights.norm(&format!("{tower}.post_layernorm"), WIDTH);
    weights.add("visual_projection.weight", &[WIDTH, WIDTH]);
    for (name, thresholds) in [("concept_embeds", &thresholds[..]), ("special_care_embeds", &[2.0])] {
        weights.add(name, &[thresholds.len(), WIDTH]);
        weights.values(&format!("{name}_weights"), thresholds);
    }
    weights.write(&folder.join("model.safetensors"))
}

fn unet(folder: &Path, in_channels: usize) -> io::Result<()> {
    let config = json!({
        "_class_name": "UNet2DConditionModel", "in_channels": in_channels, "out_channels": 4, "sample_size": 8,
        "block_out_channels": CHANNELS, "layers_per_block": 1, "cross_attention_dim": WIDTH, "attention_head_dim": 4,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"], "norm_num_groups": 32, "norm_eps": 1e-5,
        "act_fn": "silu", "flip_sin_to_cos": true, "freq_shift": 0, "center_input_sample": false,
        "downsample_padding": 1, "mid_block_scale_factor": 1
    });
    write_json(&folder.join("config.json"), &config)?;
    let [narrow, wide] = CHANNELS;
    let time = Some(4 * narrow);
    let mut weights = Weights::new(2);
    weights.conv("conv_in", in_channels, narrow, 3);
    weights.linear("time_embedding.linear_1", narrow, 4 * narrow);
    weights.linear("time_embedding.linear_2", 4 * narrow, 4 * narrow);
    weights.resnet("down_blocks.0.resnets.0", narrow, narrow, time);
    weights.transformer("down_blocks.0.attentions.0", narrow);
    weights.conv("down_blocks.0.downsamplers.0.conv", narrow, narrow, 3);
    weights.resnet("down_blocks.1.resnets.0", narrow, wide, time);
    weights.resnet("mid_block.resnets.0", wide, wide, time);
    weights.transformer("mid_block.attentions.0", wide);
    weights.resnet("mid_block.resnets.1", wide, wide, time);
    weights.resnet("up_blocks.0.resnets.0", wide + wide, wide, time);
    weights.resnet("up_blocks.0.resnets.1", wide + narrow, wide, time);
    weights.conv("up_blocks.0.upsamplers.0.conv", wide, wide, 3);
    for (layer, from) in [wide + narrow, narrow + narrow].into_iter().enumerate() {
        weights.resnet(&format!("up_blocks.1.resnets.{layer}"), from, narrow, time);
        weights.transformer(&format!("up_blocks.1.attentions.{layer}"), narrow);
    }
    weights.norm("conv_norm_out", narrow);
    weights.conv("conv_out", narrow, 4, 3);
    weights.write(&folder.join("diffusion_pytorch_model.safetensors"))
}

fn vae(folder: &Path) -> io::Result<()> {
    const LEVELS: usize = 4;
    let config = json!({
        "_class_name": "AutoencoderKL", "in_channels": 3, "out_channels": 3, "latent_channels": 4,
        "block_out_channels": vec![WIDTH; LEVELS], "layers_per_block": 1, "norm_num_groups": 32, "act_fn": "silu",
        "down_block_types": vec!["DownEncoderBlock2D"; LEVELS], "up_block_types": vec!["UpDecoderBlock2D"; LEVELS],
        "sample_size": 64, "scaling_factor": 0.182_15
    });
    write_json(&folder.join("config.json"), &config)?;
    let mut weights = Weights::new(3);
    for (side, first, last, layers, sampler) in
        [("encoder", 3, 8, 1, "downsamplers"), ("decoder", 4, 3, 2, "upsamplers")]
    {
        let blocks = if side == "encoder" { "down_blocks" } else { "up_blocks" };
        weights.conv(&format!("{side}.conv_in"), first, WIDTH, 3);
        for level in 0..LEVELS {
            for layer in 0..layers {
                weights.resnet(&format!("{side}.{blocks}.{level}.resnets.{layer}"), WIDTH, WIDTH, None);
            }
            if level + 1 < LEVELS {
                weights.conv(&format!("{side}.{blocks}.{level}.{sampler}.0.conv"), WIDTH, WIDTH, 3);
            }
        }
        for layer in 0..2 {
            weights.resnet(&format!("{side}.mid_block.resnets.{layer}"), WIDTH, WIDTH, None);
        }
        let attention = format!("{side}.mid_block.attentions.0");
        weights.norm(&format!("{attention}.group_norm"), WIDTH);
        for name in ["to_q", "to_k", "to_v", "to_out.0"] {
            weights.linear(&format!("{attention}.{name}"), WIDTH, WIDTH);
        }
        weights.norm(&format!("{side}.conv_norm_out"), WIDTH);
        weights.conv(&format!("{side}.conv_out"), WIDTH, last, 3);
    }
    weights.conv("quant_conv", 8, 8, 1);
    weights.conv("post_quant_conv", 4, 4, 1);
    weights.write(&folder.join("diffusion_pytorch_model.safetensors"))
}

fn write_json(path: &Path, value: &Value) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, serde_json::to_string_pretty(value)?)
}

/// Tensors of one file of safetensors.
struct Weights {
    random: Random,
    header: Map<String, Value>,
    data: Vec<u8>,
}

impl Weights {
    fn new(seed: u64) -> Self {
        Self { random: Random::new(seed), header: Map::new(), data: Vec::new() }
    }

    /// A tensor of numbers around zero, smaller the more of them make one output.
    fn add(&mut self, name: impl Into<String>, shape: &[usize]) {
        let inputs: usize = shape.iter().skip(1).product::<usize>().max(1);
        #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
        let range = 1.5 / (inputs as f32).sqrt();
        self.push(name.into(), shape, 0.0, range);
    }

    fn push(&mut self, name: String, shape: &[usize], middle: f32, range: f32) {
        let start = self.data.len();
        for _ in 0..shape.iter().product() {
            #[allow(clippy::cast_precision_loss, reason = "24 bits")]
            let unit = (self.random.next() >> 40) as f32 / (1 << 23) as f32 - 1.0;
            self.data.extend((middle + range * unit).to_le_bytes());
        }
        let offsets = [start, self.data.len()];
        self.header.insert(name, json!({ "dtype": "F32", "shape": shape, "data_offsets": offsets }));
    }

    /// A tensor of these numbers.
    fn values(&mut self, name: &str, values: &[f32]) {
        let start = self.data.len();
        values.iter().for_each(|value| self.data.extend(value.to_le_bytes()));
        let offsets = [start, self.data.len()];
        let entry = json!({ "dtype": "F32", "shape": [values.len()], "data_offsets": offsets });
        self.header.insert(name.to_owned(), entry);
    }

    /// The two layers of one of CLIP's towers.
    fn clip_layers(&mut self, tower: &str) {
        for layer in 0..2 {
            let layer = format!("{tower}.encoder.layers.{layer}");
            for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                self.linear(&format!("{layer}.self_attn.{name}"), WIDTH, WIDTH);
            }
            self.norm(&format!("{layer}.layer_norm1"), WIDTH);
            self.norm(&format!("{layer}.layer_norm2"), WIDTH);
            self.linear(&format!("{layer}.mlp.fc1"), WIDTH, 2 * WIDTH);
            self.linear(&format!("{layer}.mlp.fc2"), 2 * WIDTH, WIDTH);
        }
    }

    fn linear(&mut self, name: &str, from: usize, to: usize) {
        self.add(format!("{name}.weight"), &[to, from]);
        self.push(format!("{name}.bias"), &[to], 0.0, 0.1);
    }

    fn conv(&mut self, name: &str, from: usize, to: usize, side: usize) {
        self.add(format!("{name}.weight"), &[to, from, side, side]);
        self.push(format!("{name}.bias"), &[to], 0.0, 0.1);
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.push(format!("{name}.weight"), &[width], 1.0, 0.1);
        self.push(format!("{name}.bias"), &[width], 0.0, 0.1);
    }

    fn resnet(&mut self, name: &str, from: usize, to: usize, time: Option<usize>) {
        self.norm(&format!("{name}.norm1"), from);
        self.conv(&format!("{name}.conv1"), from, to, 3);
        if let Some(time) = time {
            self.linear(&format!("{name}.time_emb_proj"), time, to);
        }
        self.norm(&format!("{name}.norm2"), to);
        self.conv(&format!("{name}.conv2"), to, to, 3);
        if from != to {
            self.conv(&format!("{name}.conv_shortcut"), from, to, 1);
        }
    }

    fn transformer(&mut self, name: &str, width: usize) {
        self.norm(&format!("{name}.norm"), width);
        self.conv(&format!("{name}.proj_in"), width, width, 1);
        let block = format!("{name}.transformer_blocks.0");
        for (attention, context) in [("attn1", width), ("attn2", WIDTH)] {
            self.add(format!("{block}.{attention}.to_q.weight"), &[width, width]);
            self.add(format!("{block}.{attention}.to_k.weight"), &[width, context]);
            self.add(format!("{block}.{attention}.to_v.weight"), &[width, context]);
            self.linear(&format!("{block}.{attention}.to_out.0"), width, width);
        }
        for norm in ["norm1", "norm2", "norm3"] {
            self.norm(&format!("{block}.{norm}"), width);
        }
        self.linear(&format!("{block}.ff.net.0.proj"), width, 8 * width);
        self.linear(&format!("{block}.ff.net.2"), 4 * width, width);
        self.conv(&format!("{name}.proj_out"), width, width, 1);
    }

    fn write(self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(path))?;
        let mut header = serde_json::to_vec(&Value::Object(self.header))?;
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend(header);
        file.extend(self.data);
        fs::write(path, file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_models_are_the_same_every_time() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for folder in &folders {
            write(folder.path()).unwrap();
        }
        let unet = "sd/unet/diffusion_pytorch_model.safetensors";
        let [one, other] = folders.map(|folder| fs::read(folder.path().join(unet)).unwrap());
        assert!(one == other && one.len() > 1 << 20, "{}", one.len());
        assert!(shared().unwrap().join("turbo/model_index.json").is_file());
    }
}
