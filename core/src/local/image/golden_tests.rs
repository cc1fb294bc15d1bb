//! Every kind of pipeline against what diffusers computes with the same small weights: `tests/golden/make/diffusion.py`.

use std::collections::HashMap;
use std::path::Path;

use ayni_kernels::Cpu;
use candle_core::Tensor;

use super::loras::LoraGroup;
use super::pipeline::*;
use super::testing::{goldens, normal, numbers, repository, save, tensors};
use crate::error::{ErrorKind, Result};
use crate::local::models::diffusion::{Bounds, DenoiserInput, Extra, UNet, decoder_bytes};
use crate::local::ops::{self, Device, Precision};
use crate::local::source::ModelFiles;
use crate::local::testing::cpus;
use crate::local::vision::RgbImage;
use crate::local::weights::Weights;

const PIPELINES: [&str; 5] = ["sd1", "sd2", "sdxl", "lcm", "inpaint"];

pub(super) type Outputs = HashMap<String, Tensor>;

pub(super) fn outputs(name: &str) -> Outputs {
    let path = goldens().join(name).join("outputs.safetensors");
    candle_core::safetensors::load(path, &candle_core::Device::Cpu).unwrap()
}

pub(super) fn values(outputs: &Outputs, name: &str) -> Vec<f32> {
    outputs[name].to_dtype(candle_core::DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

fn device(cpu: Cpu, precision: Precision) -> Device {
    Device::on_cpu(cpu, precision)
}

pub(super) fn first_device() -> Device {
    device(cpus().remove(0), Precision::F32)
}

pub(super) fn files(folder: &Path) -> PipelineFiles {
    let model = ModelFiles::in_folder(folder).unwrap();
    PipelineFiles { model, vae: None, unet: None, loras: Vec::new(), safety: None }
}

pub(super) fn open(folder: &Path, device: &Device) -> Pipeline {
    Pipeline::load(&files(folder), device, &mut |_| {}).unwrap()
}

/// A latent of channels first, as torch has it.
fn latent(planes: &[f32], [channels, height, width]: [usize; 3]) -> Latent {
    let pixels = height * width;
    let values =
        (0..pixels).flat_map(|pixel| (0..channels).map(move |channel| planes[channel * pixels + pixel]));
    Latent::new(LatentShape { height, width, channels }, values.collect()).unwrap()
}

pub(super) fn prompt(text: &str) -> Prompt {
    Prompt { text: text.to_owned(), ..Prompt::default() }
}

/// How far numbers may be from the truth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bar {
    cosine: f64,
    /// Of the greatest number.
    difference: f64,
}

pub(super) const F32: Bar = Bar { cosine: 0.99999, difference: 1e-4 };
const BF16: Bar = Bar { cosine: 0.9995, difference: f64::INFINITY };
const INT8: Bar = Bar { cosine: 0.995, difference: f64::INFINITY };

#[track_caller]
pub(super) fn assert_near(found: &[f32], truth: &[f32], bar: Bar, what: &str) {
    assert_eq!(found.len(), truth.len(), "{what}");
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let cosine = dot(found, truth) / (dot(found, found) * dot(truth, truth)).sqrt();
    let greatest = truth.iter().fold(0.0, |most: f64, x| most.max(f64::from(x.abs())));
    let off = found.iter().zip(truth).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
    // Written so that NaN is too far.
    assert!(
        cosine >= bar.cosine && off <= bar.difference * greatest,
        "{what}: cosine {cosine}, off by {off} of {greatest}"
    );
}

/// The inputs of `unet` in the goldens: two rows of 9 channels for inpainting models, which are split here.
pub(super) fn unet_rows(
    pipeline: &Pipeline,
    name: &str,
    rows: usize,
    [height, width]: [usize; 2],
) -> Vec<(Latent, Option<InpaintInput>)> {
    let channels = if pipeline.facts().is_inpaint { 9 } else { 4 };
    let all = normal(name, rows * channels * height * width);
    let planes = all.chunks_exact(channels * height * width).map(|planes| {
        let part =
            |first: usize, count: usize| &planes[first * height * width..(first + count) * height * width];
        let inpaint = (channels == 9).then(|| InpaintInput {
            mask: part(4, 1).to_vec(),
            masked_image: latent(part(5, 4), [4, height, width]),
        });
        (latent(part(0, 4), [4, height, width]), inpaint)
    });
    planes.collect()
}

fn unet(pipeline: &Pipeline, outputs: &Outputs, bar: Bar, what: &str) {
    let [positive, negative] =
        ["a cat on the moon", "blurry dog"].map(|text| pipeline.encode(&prompt(text)).unwrap());
    let inputs = unet_rows(pipeline, "latents", 2, [6, 10]);
    let sizes = [
        MicroConditions { original: [64, 80], crop: [0, 8], target: [48, 80] },
        MicroConditions::plain(48, 80),
    ];
    let row = |number: usize, conditioning, timestep, scale| Row {
        latent: &inputs[number].0,
        timestep,
        conditioning,
        loras: LoraGroup::NONE,
        sizes: sizes[number],
        guidance: Some(scale),
        inpaint: inputs[number].1.as_ref(),
    };
    let rows = [row(0, &positive, 981.0, 7.5), row(1, &negative, 20.5, 1.5)];
    let found = pipeline.denoise(&rows).unwrap();
    let truth = values(outputs, "unet");
    let half = truth.len() / 2;
    assert_near(&found[0].values, &truth[..half], bar, &format!("{what}: row 0 of the UNet"));
    assert_near(&found[1].values, &truth[half..], bar, &format!("{what}: row 1 of the UNet"));
    // Each row alone has the same bits, and in another order beside one of another size and a longer prompt.
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(pipeline.denoise(&[*row]).unwrap()[0], found[number], "{what}: row {number} alone");
    }
    let odd = unet_rows(pipeline, "odd", 1, [7, 9]);
    let long = pipeline.encode(&prompt(&"the moon ".repeat(50))).unwrap();
    assert_eq!(long.states.dims()[0], 154, "{what}: {}", long.tokens);
    let odd_row = Row { latent: &odd[0].0, inpaint: odd[0].1.as_ref(), timestep: 500.0, ..rows[0] };
    let long_row = Row { conditioning: &long, ..rows[0] };
    let mixed = pipeline.denoise(&[rows[1], odd_row, long_row, rows[0]]).unwrap();
    assert_eq!([&mixed[0], &mixed[3]], [&found[1], &found[0]], "{what}: in another batch");
    assert_near(&mixed[1].values, &values(outputs, "unet_odd"), bar, &format!("{what}: odd sizes"));
    assert_eq!(mixed[2], pipeline.denoise(&[long_row]).unwrap()[0], "{what}: a longer prompt alone");
}

#[test]
fn every_block_of_a_unet_is_that_of_diffusers() {
    for (name, pooled) in [("sd1", false), ("sdxl", true)] {
        let folder = repository(name);
        let truth = candle_core::safetensors::load(
            goldens().join(name).join("blocks.safetensors"),
            &candle_core::Device::Cpu,
        );
        let (mut truth, outputs) = (truth.unwrap(), outputs(name));
        let files = ModelFiles::in_folder(&folder.path().join("unet")).unwrap();
        let device = first_device();
        let config = serde_json::from_slice(&std::fs::read(files.path("config.json")).unwrap()).unwrap();
        let unet = UNet::new(&config, &Weights::open(&files).unwrap(), &device).unwrap();
        let input = latent(&normal("latents", 2 * 4 * 60)[..240], [4, 6, 10]);
        let (prompt, text) = (values(&outputs, "prompt"), pooled.then(|| values(&outputs, "pooled")));
        let pooled = text.as_deref().map(|text| [(text, [64.0, 80.0, 0.0, 8.0, 48.0, 80.0])]);
        let input = DenoiserInput {
            latents: ops::Tensor::from_vec(&device, input.values, [1, 6, 10, 4]).unwrap(),
            timesteps: &[981.0],
            states: ops::Tensor::from_vec(&device, prompt.clone(), [77, prompt.len() / 77]).unwrap(),
            starts: &[0, 77],
            extra: Extra { pooled: pooled.as_ref().map(|rows| &rows[..]), guidance: None },
        };
        let mut see = |place: std::fmt::Arguments<'_>, x: &ops::Tensor| {
            let place = place.to_string();
            let truth = truth.remove(&place).unwrap_or_else(|| panic!("diffusers has no {place}"));
            let truth = truth.to_dtype(candle_core::DType::F32).unwrap().flatten_all().unwrap();
            // The truth is kept in 16 bits.
            let bar = Bar { difference: 1e-3, ..F32 };
            assert_near(&x.values().unwrap(), &truth.to_vec1().unwrap(), bar, &format!("{name}: {place}"));
        };
        unet.predict_seen(&input, &mut see).unwrap();
        assert!(truth.is_empty(), "{name}: {:?} were not computed", truth.keys());
    }
}

fn text(pipeline: &Pipeline, outputs: &Outputs, bar: Bar, what: &str) {
    let encode = |prompt: &Prompt| pipeline.encode(prompt).unwrap();
    let positive = encode(&prompt("a cat on the moon"));
    assert_near(
        &positive.states.values().unwrap(),
        &values(outputs, "prompt"),
        bar,
        &format!("{what}: prompt"),
    );
    let negative = encode(&prompt("blurry dog"));
    assert_near(
        &negative.states.values().unwrap(),
        &values(outputs, "negative"),
        bar,
        &format!("{what}: negative"),
    );
    let skipped = encode(&Prompt { clip_skip: 1, ..prompt("a cat on the moon") });
    assert_near(
        &skipped.states.values().unwrap(),
        &values(outputs, "skipped"),
        bar,
        &format!("{what}: clip-skip"),
    );
    if let Some(pooled) = &positive.pooled {
        assert_near(pooled, &values(outputs, "pooled"), bar, &format!("{what}: pooled"));
    }
    assert_eq!(positive.pooled.is_some(), pipeline.facts().family == Family::Sdxl);
}

fn vae(pipeline: &Pipeline, outputs: &Outputs, bar: Bar, what: &str) {
    let bounds = Bounds { max_bytes: None, should_stop: &|| false };
    let input = latent(&normal("latent", 120), [4, 6, 5]);
    let device = &pipeline.device;
    let tensor = |values: Vec<f32>, dims: [usize; 4]| ops::Tensor::from_vec(device, values, dims).unwrap();
    let decoded = pipeline.vae.decode(tensor(input.values.clone(), [1, 6, 5, 4]), &bounds).unwrap();
    assert_near(&decoded.values().unwrap(), &values(outputs, "decoded"), bar, &format!("{what}: decoder"));
    let pixels = latent(&numbers("pixels", 3 * 32 * 24), [3, 32, 24]);
    let (mean, deviation) = pipeline.vae.encode(tensor(pixels.values, [1, 32, 24, 3]), &bounds).unwrap();
    assert_near(&mean.values().unwrap(), &values(outputs, "mean"), bar, &format!("{what}: encoder"));
    if let Some(deviation) = deviation {
        assert_near(
            &deviation.values().unwrap(),
            &values(outputs, "deviation"),
            bar,
            &format!("{what}: deviation"),
        );
    }
}

#[test]
fn parts_are_those_of_diffusers_in_every_precision_on_every_instruction_set() {
    for name in PIPELINES {
        let (folder, outputs) = (repository(name), outputs(name));
        for cpu in cpus() {
            let what = format!("{name} in f32 on {cpu:?}");
            let pipeline = open(folder.path(), &device(cpu, Precision::F32));
            text(&pipeline, &outputs, F32, &what);
            unet(&pipeline, &outputs, F32, &what);
            vae(&pipeline, &outputs, F32, &what);
        }
        let best = cpus().pop().unwrap();
        for (precision, bar, careful) in [(Precision::Bf16, BF16, BF16), (Precision::Int8, INT8, BF16)] {
            let what = format!("{name} in {precision:?} on {best:?}");
            let pipeline = open(folder.path(), &device(best.clone(), precision));
            text(&pipeline, &outputs, careful, &what);
            unet(&pipeline, &outputs, bar, &what);
            vae(&pipeline, &outputs, careful, &what);
        }
    }
}

/// An image of four steps with the noise of the goldens.
pub(super) fn image(pipeline: &Pipeline, name: &str) -> RgbImage {
    let facts = pipeline.facts();
    let positive = pipeline.encode(&prompt("a cat on the moon")).unwrap();
    let negative = pipeline.encode_negative(Some(&prompt("blurry dog")), LoraGroup::NONE).unwrap();
    let mut schedule = facts.scheduler.schedule(4, 1.0).unwrap();
    let mut latent = latent(&normal("start", 256), [4, 8, 8]).scaled(schedule.init_noise_sigma());
    let mut draws = 0;
    for (step, timestep) in schedule.timesteps().to_vec().into_iter().enumerate() {
        let input = Latent { values: schedule.scale_input(step, &latent.values), ..latent.clone() };
        let row = |conditioning| Row {
            latent: &input,
            timestep,
            conditioning,
            loras: LoraGroup::NONE,
            sizes: MicroConditions::plain(64, 64),
            guidance: Some(7.5),
            inpaint: None,
        };
        let output = match facts.embeds_guidance {
            true => pipeline.denoise(&[row(&positive)]).unwrap().remove(0).values,
            false => {
                let predicted = pipeline.denoise(&[row(&negative), row(&positive)]).unwrap();
                let pairs = predicted[0].values.iter().zip(&predicted[1].values);
                pairs.map(|(negative, positive)| negative + 5.0 * (positive - negative)).collect()
            }
        };
        let noise = schedule.needs_noise(step).then(|| {
            draws += 1;
            super::golden_tests::latent(&normal(&format!("{name}/{}", draws - 1), 256), [4, 8, 8]).values
        });
        schedule.step(step, &output, &mut latent.values, noise.as_deref()).unwrap();
    }
    pipeline.decode(&latent, DecodeOptions::default(), &|| false).unwrap()
}

#[track_caller]
fn assert_image(found: &RgbImage, truth: &Tensor, most: u8, what: &str) {
    let truth: Vec<u8> = truth.flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(found.rgb().len(), truth.len(), "{what}");
    let off = found.rgb().iter().zip(&truth).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
    assert!(off <= most, "{what}: off by {off}");
}

#[test]
fn images_are_those_of_diffusers() {
    for name in ["sd1", "sd2", "sdxl", "lcm"] {
        let (folder, outputs) = (repository(name), outputs(name));
        for cpu in cpus() {
            let what = format!("{name} on {cpu:?}");
            let pipeline = open(folder.path(), &device(cpu, Precision::F32));
            assert_image(&image(&pipeline, name), &outputs["image"], 2, &what);
        }
    }
}

#[test]
fn facts_are_read_from_the_files() {
    let facts = |name: &str| open(repository(name).path(), &first_device()).facts().clone();
    let families = PIPELINES.map(|name| facts(name).family);
    assert_eq!(families, [Family::Sd1, Family::Sd2, Family::Sdxl, Family::Sd1, Family::Sd1]);
    let xl = facts("sdxl");
    assert_eq!((xl.native_size, xl.scale, xl.latent_channels, xl.size_multiple), (64, 8, 4, 8));
    assert!(xl.zeros_for_no_prompt && !xl.is_inpaint && !xl.looks_distilled);
    assert!(facts("inpaint").is_inpaint && facts("lcm").embeds_guidance && facts("lcm").looks_distilled);
    assert!(xl.latent_shape(60, 64).is_err() && xl.latent_shape(0, 64).is_err());
}

#[test]
fn a_missing_negative_prompt_is_zeros_where_the_model_says_so() {
    let of = |name: &str| {
        open(repository(name).path(), &first_device()).encode_negative(None, LoraGroup::NONE).unwrap()
    };
    let xl = of("sdxl");
    assert!(
        xl.states.values().unwrap().iter().all(|x| *x == 0.0) && xl.pooled.unwrap().iter().all(|x| *x == 0.0)
    );
    assert!(of("sd1").states.values().unwrap().iter().any(|x| *x != 0.0));
}

#[test]
fn tokens_are_those_of_the_reference() {
    let tokenizer = super::prompt::PromptTokenizer::new(
        &ModelFiles::in_folder(&goldens().join("sd1/tokenizer")).unwrap(),
        77,
        1 << 16,
    );
    let found = tokenizer.unwrap().tokens(&prompt("It's 3 cats, ON the MÖÖN!\t(x)")).unwrap();
    let truth: Vec<i64> = outputs("sd1")["ids"].to_vec1().unwrap();
    let mut ids: Vec<i64> = found.pieces[0].iter().map(|id| i64::from(*id)).collect();
    ids.truncate(truth.len());
    assert_eq!(ids, truth);
}

#[test]
fn a_tiny_autoencoder_is_that_of_diffusers() {
    let (folder, outputs) = (tempfile::tempdir().unwrap(), outputs("taesd"));
    let config = std::fs::read(goldens().join("taesd/config.json")).unwrap();
    std::fs::write(folder.path().join("config.json"), &config).unwrap();
    save(&folder.path().join("diffusion_pytorch_model.safetensors"), &tensors("taesd", ""));
    let base = repository("sd1");
    for cpu in cpus() {
        let with =
            PipelineFiles { vae: Some(ModelFiles::in_folder(folder.path()).unwrap()), ..files(base.path()) };
        let pipeline = Pipeline::load(&with, &device(cpu, Precision::F32), &mut |_| {}).unwrap();
        assert!(pipeline.facts().is_tiny_vae);
        vae(&pipeline, &outputs, F32, "TAESD");
    }
}

#[test]
fn a_gpu_would_compute_the_same() {
    for name in ["sd1", "sdxl"] {
        let (folder, outputs) = (repository(name), outputs(name));
        let pipeline = open(folder.path(), &Device::as_on_gpu(cpus().remove(0), Precision::F32));
        text(&pipeline, &outputs, F32, name);
        vae(&pipeline, &outputs, F32, name);
        assert_image(&image(&pipeline, name), &outputs["image"], 2, name);
    }
}

#[test]
fn work_is_stopped_between_layers() {
    let pipeline = open(repository("sd1").path(), &first_device());
    let input = latent(&normal("latent", 120), [4, 6, 5]);
    let asked = std::cell::Cell::new(0);
    let stop = || {
        asked.set(asked.get() + 1);
        asked.get() == 4
    };
    let error = pipeline.decode(&input, DecodeOptions::default(), &stop).unwrap_err();
    assert_eq!((error.kind(), asked.get()), (ErrorKind::Cancelled, 4));
}

#[test]
fn a_decoder_in_strips_gives_the_image_of_the_whole_one() {
    let folder = repository("sd1");
    let pipeline = open(folder.path(), &device(cpus().pop().unwrap(), Precision::F32));
    let [height, width] = [64, 9];
    let input = latent(&normal("latent", 4 * height * width), [4, height, width]);
    let decode = |max_bytes| pipeline.decode(&input, DecodeOptions { max_bytes }, &|| false);
    let whole = decode(None).unwrap();
    let needed = decoder_bytes(&pipeline.facts().vae_channels, [height, width]);
    let [first, .., before, last] = needed.as_slice() else { panic!("{needed:?}") };
    assert_eq!(decode(Some(*last)).unwrap(), whole, "enough for the whole image");
    // The last level in two strips, the last level in many, and the last two levels.
    for max_bytes in [last - 1, *before, *before - 1] {
        let strips = decode(Some(max_bytes)).unwrap();
        let off = strips.rgb().iter().zip(whole.rgb()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(off <= 1, "{max_bytes} of {needed:?}: off by {off}");
    }
    for max_bytes in [0, first - 1, *first] {
        let error = decode(Some(max_bytes)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OutOfMemory, "{error}");
    }
    let image = RgbImage::new(72, 512, vec![7; 72 * 512 * 3]).unwrap();
    let small = DecodeOptions { max_bytes: Some(1 << 16) };
    let error = pipeline.encode_image(&image, None, small, &|| false).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
}

#[test]
fn inputs_that_do_not_fit_are_errors() -> Result<()> {
    let pipeline = open(repository("inpaint").path(), &first_device());
    let conditioning = pipeline.encode(&prompt("a cat"))?;
    let input = latent(&normal("latent", 120), [4, 6, 5]);
    let row = Row {
        latent: &input,
        timestep: 1.0,
        conditioning: &conditioning,
        loras: LoraGroup::NONE,
        sizes: MicroConditions::plain(48, 40),
        guidance: None,
        inpaint: None,
    };
    assert_eq!(pipeline.denoise(&[row]).unwrap_err().kind(), ErrorKind::InvalidRequest);
    for text in ["moon ".repeat(700), "x".repeat(1 << 20)] {
        assert_eq!(pipeline.encode(&prompt(&text)).unwrap_err().kind(), ErrorKind::InvalidRequest);
    }
    let skip = pipeline.encode(&Prompt { clip_skip: 3, ..prompt("a cat") });
    assert_eq!(skip.unwrap_err().kind(), ErrorKind::InvalidRequest);
    Ok(())
}

#[test]
fn weighted_words_change_what_is_encoded_and_text_in_brackets_does_not() {
    let pipeline = open(repository("sd1").path(), &first_device());
    let states = |text: &str, weighted| {
        let prompt = Prompt { weighted, ..prompt(text) };
        pipeline.encode(&prompt).unwrap().states.values().unwrap().into_owned()
    };
    assert_eq!(states("a (cat:1.0) on", true), states("a cat on", false));
    assert_ne!(states("a (cat:1.5) on", true), states("a cat on", false));
    assert_ne!(states("a (cat) on", false), states("a cat on", false));
}
