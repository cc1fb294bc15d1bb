//! A model of a few numbers for the tests of the engine, which can be made to fail.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::LocalImage;
use super::engine::Engine;
use super::loras::LoraGroup;
use super::model::ImageModel;
use super::pipeline::{
    Conditioning, DecodeOptions, Facts, Family, Latent, LatentShape, Prompt, Row, WeightBytes,
};
use super::scheduler::SchedulerConfig;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::info::BackendInfo;
use crate::local::LocalImageConfig;
use crate::local::models::ConceptScores;
use crate::local::ops::{Device, Tensor};
use crate::local::runtime::{Queue, Worker};
use crate::local::vision::RgbImage;
use ayni_kernels::gemm::Precision;
use ayni_kernels::{Cpu, Isa};

/// The facts of a base model of SD 1.x's family.
pub(super) fn facts() -> Facts {
    let scheduler = json!({
        "_class_name": "PNDMScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
        "steps_offset": 1, "skip_prk_steps": true, "set_alpha_to_one": false
    });
    Facts {
        family: Family::Sd1,
        native_size: 128,
        scale: 8,
        latent_channels: 4,
        size_multiple: 16,
        scheduler: SchedulerConfig::from_json(&scheduler).unwrap(),
        is_inpaint: false,
        embeds_guidance: false,
        zeros_for_no_prompt: false,
        looks_distilled: false,
        is_tiny_vae: false,
        has_safety_checker: false,
        pipeline_class: Some("StableDiffusionPipeline".to_owned()),
        loras: Vec::new(),
        weight_bytes: WeightBytes { text: 1 << 20, denoiser: 4 << 20, vae: 1 << 20, safety: 0 },
        unet_channels: vec![32, 64],
        vae_channels: vec![32, 64],
        weight_files: Vec::new(),
        device: "cpu".to_owned(),
        precision: "f32",
        precision_reason: "it was asked for",
    }
}

/// What prompts of this text do to a batch that they are in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    Panic,
    Error,
    NotANumber,
}

/// The prompt that a [`Fault`] befalls.
pub(super) const FAULTY: &str = "faulty";

/// Moves latents towards a number that the prompt gives, with what the timestep and the whole latent add.
#[derive(Debug)]
pub(super) struct Toy {
    pub(super) facts: Facts,
    pub(super) device: Device,
    pub(super) fault: Option<Fault>,
    /// How many rows each step had.
    pub(super) steps: Mutex<Vec<usize>>,
    /// The groups of LoRAs that are ready.
    pub(super) groups: Mutex<Vec<LoraGroup>>,
    pub(super) step_time: Duration,
    /// What the safety checker says of every image.
    pub(super) safety: Option<ConceptScores>,
}

impl Toy {
    pub(super) fn new(facts: Facts) -> Self {
        let device = Device::on_cpu(Cpu::new(Isa::PORTABLE, 1), Precision::F32);
        Self {
            facts,
            device,
            fault: None,
            steps: Mutex::default(),
            groups: Mutex::default(),
            step_time: Duration::ZERO,
            safety: None,
        }
    }

    pub(super) fn device(&self) -> &Device {
        &self.device
    }
}

impl ImageModel for Arc<Toy> {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn prepare(&self, loras: &LoraGroup, in_use: &[&LoraGroup], most: usize) -> Result<Option<usize>> {
        let mut groups = self.groups.lock().unwrap();
        groups.retain(|group| in_use.contains(&group) && group != loras);
        if groups.len() >= most {
            return Ok(None);
        }
        groups.push(loras.clone());
        Ok(Some(groups.len()))
    }

    fn encode(&self, prompt: &Prompt) -> Result<Conditioning> {
        assert!(self.groups.lock().unwrap().contains(&prompt.loras), "the LoRAs are ready");
        let number =
            prompt.text.bytes().fold(0.0, |sum, byte| (sum * 0.7 + f32::from(byte) / 64.0) % 2.0) - 1.0;
        let number = if prompt.text == FAULTY { f32::MAX } else { number };
        let states = Tensor::from_vec(&self.device, vec![number], [1, 1])?;
        Ok(Conditioning { states, pooled: None, tokens: prompt.text.split_whitespace().count() })
    }

    fn encode_negative(&self, prompt: Option<&Prompt>, loras: &LoraGroup) -> Result<Conditioning> {
        self.encode(prompt.unwrap_or(&Prompt { loras: loras.clone(), ..Prompt::default() }))
    }

    fn denoise(&self, rows: &[Row<'_>]) -> Result<Vec<Latent>> {
        std::thread::sleep(self.step_time);
        self.steps.lock().unwrap().push(rows.len());
        let one = |row: &Row<'_>| {
            let mut target = row.conditioning.states.values()?[0];
            if target == f32::MAX {
                target = match self.fault {
                    Some(Fault::Panic) => panic!("a prompt broke the model"),
                    Some(Fault::Error) => {
                        return Err(Error::new(ErrorKind::OutOfMemory, "a prompt was too much"));
                    }
                    Some(Fault::NotANumber) => f32::NAN,
                    None => 0.5,
                };
            }
            let mean = row.latent.values.iter().sum::<f32>() / row.latent.values.len() as f32;
            let shift = row.loras.members().map(|(_, weight)| weight).sum::<f32>() * 0.01;
            let shift = shift + target + mean * 0.1 + row.timestep / 10_000.0;
            Latent::new(row.latent.shape, row.latent.values.iter().map(|value| value * 0.5 - shift).collect())
        };
        rows.iter().map(one).collect()
    }

    fn decode(&self, latent: &Latent, _: DecodeOptions, should_stop: &dyn Fn() -> bool) -> Result<RgbImage> {
        if should_stop() {
            return Err(Error::new(ErrorKind::Cancelled, "stopped"));
        }
        let LatentShape { height, width, channels } = latent.shape;
        let scale = self.facts.scale;
        let mut rgb = Vec::new();
        for row in 0..height * scale {
            for column in 0..width * scale {
                let at = (row / scale * width + column / scale) * channels;
                rgb.extend(latent.values[at..at + 3].iter().map(|value| ((value + 1.0) * 127.5) as u8));
            }
        }
        RgbImage::new(width * scale, height * scale, rgb)
    }

    fn preview(&self, latent: &Latent) -> Result<RgbImage> {
        let LatentShape { height, width, .. } = latent.shape;
        RgbImage::new(width, height, vec![7; height * width * 3])
    }

    fn encode_image(
        &self,
        image: &RgbImage,
        _: Option<&[f32]>,
        _: DecodeOptions,
        _: &dyn Fn() -> bool,
    ) -> Result<Latent> {
        let shape = self.facts.latent_shape(image.height(), image.width())?;
        let mut values = Vec::new();
        for row in 0..shape.height {
            for column in 0..shape.width {
                let at = 3 * (row * self.facts.scale * image.width() + column * self.facts.scale);
                values.extend(image.rgb()[at..at + 3].iter().map(|value| f32::from(*value) / 127.5 - 1.0));
                values.push(0.0);
            }
        }
        Latent::new(shape, values)
    }

    fn safety_scores(&self, _: &RgbImage) -> Result<Option<ConceptScores>> {
        Ok(self.safety.clone())
    }
}

/// A backend over the toy.
pub(super) fn local(toy: &Arc<Toy>, config: LocalImageConfig) -> LocalImage {
    let base = BackendInfo::new("local", "toy").with_device("cpu");
    let queue = Queue::new(config.max_batch.unwrap_or(4), config.max_queued.unwrap_or(16));
    let (toy, info) = (Arc::clone(toy), base.clone());
    let load = move |_: &Context| Engine::new(Box::new(Arc::clone(&toy)), &config, &base, toy.device());
    LocalImage { info, worker: Worker::start("toy", load).unwrap(), queue }
}

/// The same with no more than a toy's own configuration.
pub(super) fn toy() -> (Arc<Toy>, LocalImage) {
    let toy = Arc::new(Toy::new(facts()));
    let image = local(&toy, LocalImageConfig::new("toy"));
    (toy, image)
}
