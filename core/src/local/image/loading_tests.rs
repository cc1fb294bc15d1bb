//! What pipelines are loaded of: LoRAs, single-file checkpoints, weights in 16 bits, and folders that lack something.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::Tensor;
use serde_json::Value;

use super::golden_tests::{
    F32, assert_near, files, first_device, image, open, outputs, prompt, unet_rows, values,
};
use super::loras::LoraGroup;
use super::pipeline::*;
use super::testing::{copy, goldens, repository, save, tensors, weight};
use crate::error::ErrorKind;
use crate::local::source::ModelFiles;

/// A LoRA's file in the names of a trainer.
fn lora(folder: &Path, style: &str, change: impl Fn(&mut BTreeMap<String, Tensor>)) -> LoraFile {
    let shapes = std::fs::read(goldens().join("loras/shapes.json")).unwrap();
    let shapes: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_slice(&shapes).unwrap();
    let tensor = |name: &String, shape: &Value| match shape.as_f64() {
        Some(number) => Tensor::new(number as f32, &candle_core::Device::Cpu).unwrap(),
        None => {
            weight(&format!("lora/{name}"), &serde_json::from_value::<Vec<usize>>(shape.clone()).unwrap())
        }
    };
    let mut tensors = shapes[style].iter().map(|(name, shape)| (name.clone(), tensor(name, shape))).collect();
    change(&mut tensors);
    let name = format!("{style}.safetensors");
    save(&folder.join(&name), &tensors);
    let files = ModelFiles::in_folder(folder).unwrap().with_weights(name);
    LoraFile { files, reference: style.to_owned(), scale: 0.7 }
}

/// The states of a prompt and a step of the goldens, with a group of LoRAs.
fn drawn(pipeline: &Pipeline, loras: &LoraGroup) -> (Vec<f32>, Vec<f32>) {
    let positive = pipeline.encode(&Prompt { loras: loras.clone(), ..prompt("a cat on the moon") }).unwrap();
    let inputs = unet_rows(pipeline, "latents", 2, [6, 10]);
    let row = Row {
        latent: &inputs[0].0,
        timestep: 981.0,
        conditioning: &positive,
        loras,
        sizes: MicroConditions::plain(48, 80),
        guidance: None,
        inpaint: None,
    };
    let found = pipeline.denoise(&[row]).unwrap().remove(0).values;
    (positive.states.values().unwrap().into_owned(), found)
}

#[test]
fn loras_are_switched_without_loading_the_model_again() {
    let (base, outputs, folder) = (repository("sd1"), outputs("loras"), tempfile::tempdir().unwrap());
    // The first applies by default, the second only where it is asked for.
    let loras = vec![
        lora(folder.path(), "kohya", |_| {}),
        LoraFile { scale: 0.0, ..lora(folder.path(), "peft", |_| {}) },
    ];
    let with = PipelineFiles { loras, ..files(base.path()) };
    let pipeline = Pipeline::load(&with, &first_device(), &mut |_| {}).unwrap();
    let group = |weights: [f32; 2]| {
        let loras: Vec<LoraFacts> = pipeline.facts().loras.clone();
        let scaled = loras.into_iter().zip(weights).map(|(lora, scale)| LoraFacts { scale, ..lora });
        LoraGroup::usual(&scaled.collect::<Vec<_>>())
    };
    let [usual, other, none] = [[0.7, 0.0], [0.0, 0.7], [0.0, 0.0]].map(group);
    let first = drawn(&pipeline, &usual);
    assert_near(&first.1, &values(&outputs, "kohya/unet"), F32, "the usual one");
    assert_eq!(pipeline.prepare(&other, &[&usual], 1).unwrap(), None, "no room beside one in use");
    assert_eq!(pipeline.prepare(&other, &[&usual], 2).unwrap(), Some(2));
    assert_near(&drawn(&pipeline, &other).1, &values(&outputs, "peft/unet"), F32, "the other one");
    assert_eq!(drawn(&pipeline, &usual), first, "both are ready");
    assert_eq!(pipeline.prepare(&none, &[], 1).unwrap(), Some(1));
    let plain = Pipeline::load(&files(base.path()), &first_device(), &mut |_| {}).unwrap();
    assert_eq!(drawn(&pipeline, &none), drawn(&plain, LoraGroup::NONE), "none is the base's own bits");
    assert_eq!(pipeline.prepare(&usual, &[], 1).unwrap(), Some(1));
    assert_eq!(drawn(&pipeline, &usual), first, "and back");
}

#[test]
fn loras_of_every_trainer_are_merged_as_diffusers_does_it() {
    let (base, outputs, folder) = (repository("sd1"), outputs("loras"), tempfile::tempdir().unwrap());
    for style in ["kohya", "sgm", "peft", "old"] {
        let with = PipelineFiles { loras: vec![lora(folder.path(), style, |_| {})], ..files(base.path()) };
        let pipeline = Pipeline::load(&with, &first_device(), &mut |_| {}).unwrap();
        let usual = LoraGroup::usual(&pipeline.facts().loras);
        let (states, found) = drawn(&pipeline, &usual);
        assert_near(&states, &values(&outputs, &format!("{style}/prompt")), F32, style);
        assert_near(&found, &values(&outputs, &format!("{style}/unet")), F32, style);
        let facts = &pipeline.facts().loras[0];
        assert!(facts.rank == 3 && facts.layers >= 6 && facts.sha256.len() == 64, "{facts:?}");
    }
}

#[test]
fn the_alpha_that_peft_writes_into_the_header_counts() {
    let (base, outputs, folder) = (repository("sd1"), outputs("loras"), tempfile::tempdir().unwrap());
    let plain = lora(folder.path(), "peft", |_| {});
    let path = folder.path().join("peft.safetensors");
    let tensors = candle_core::safetensors::load(&path, &candle_core::Device::Cpu).unwrap();
    // Half the rank: as strong as without it at half the scale.
    let metadata = r#"{"unet.lora_alpha": 1.5, "text_encoder.lora_alpha": 1.5, "unet.alpha_pattern": {}}"#;
    let metadata = HashMap::from([("lora_adapter_metadata".to_owned(), metadata.to_owned())]);
    safetensors::serialize_to_file(&tensors, Some(metadata), &path).unwrap();
    let with = PipelineFiles { loras: vec![LoraFile { scale: 1.4, ..plain }], ..files(base.path()) };
    let pipeline = Pipeline::load(&with, &first_device(), &mut |_| {}).unwrap();
    assert_near(
        &drawn(&pipeline, &LoraGroup::usual(&pipeline.facts().loras)).0,
        &values(&outputs, "peft/prompt"),
        F32,
        "alpha in the header",
    );
}

#[test]
fn loras_that_cannot_be_merged_are_named() {
    let (base, folder) = (repository("sd1"), tempfile::tempdir().unwrap());
    let error = |change: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
        let with = PipelineFiles { loras: vec![lora(folder.path(), "kohya", change)], ..files(base.path()) };
        Pipeline::load(&with, &first_device(), &mut |_| {}).unwrap_err()
    };
    let tensor = |shape: &[usize]| weight("x", shape);
    let name = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
    let dora = error(&|all| drop(all.insert(format!("{name}.dora_scale"), tensor(&[3]))));
    assert!(dora.kind() == ErrorKind::Unsupported && dora.message().contains("DoRA"), "{dora}");
    let loha = error(&|all| drop(all.insert(format!("{name}.hada_w1_a"), tensor(&[3, 3]))));
    assert!(loha.kind() == ErrorKind::Unsupported && loha.message().contains("LoHa"), "{loha}");
    let other =
        error(&|all| drop(all.insert("lora_unet_blocks_7_to_q.lora_up.weight".to_owned(), tensor(&[3, 3]))));
    assert!(other.kind() == ErrorKind::ModelLoad && other.message().contains("another base"), "{other}");
    let half = error(&|all| drop(all.remove(&format!("{name}.lora_up.weight"))));
    assert!(half.message().contains("only one of the two matrices"), "{half}");
    let wide = error(&|all| drop(all.insert(format!("{name}.lora_down.weight"), tensor(&[3, 40]))));
    assert!(wide.kind() == ErrorKind::ModelLoad && wide.message().contains("do not fit"), "{wide}");
}

#[test]
fn a_single_file_checkpoint_is_its_repository() {
    let base = repository("sd1");
    let names = std::fs::read(goldens().join("checkpoint.json")).unwrap();
    let names: BTreeMap<String, [String; 2]> = serde_json::from_slice(&names).unwrap();
    let parts: HashMap<&str, _> =
        ["unet", "vae", "text_encoder"].map(|part| (part, tensors("sd1", part))).into();
    let tensor = |[part, name]: &[String; 2]| {
        let tensor = parts[part.as_str()][name].clone();
        // Attention of VAEs is stored as convolutions.
        match (part.as_str(), tensor.dims()) {
            ("vae", [outputs, inputs]) => tensor.reshape((*outputs, *inputs, 1, 1)).unwrap(),
            _ => tensor,
        }
    };
    let all = names.iter().map(|(old, new)| (old.clone(), tensor(new))).collect();
    let folder = tempfile::tempdir().unwrap();
    save(&folder.path().join("model.safetensors"), &all);
    copy(&goldens().join("sd1/tokenizer"), &folder.path().join("tokenizer"));
    let model = ModelFiles::in_folder(folder.path()).unwrap().with_weights("model.safetensors");
    let with = PipelineFiles { model, ..files(base.path()) };
    let pipeline = Pipeline::load(&with, &first_device(), &mut |_| {}).unwrap();
    assert_eq!(image(&pipeline, "sd1"), image(&open(base.path(), &first_device()), "sd1"));
}

#[test]
fn parts_that_are_missing_or_do_not_belong_together_are_named() {
    let load = |folder: &Path| Pipeline::load(&files(folder), &first_device(), &mut |_| {}).map(drop);
    let damaged = |name: &str, change: &dyn Fn(&Path)| {
        let folder = repository(name);
        change(folder.path());
        let error = load(folder.path()).unwrap_err();
        assert!([ErrorKind::ModelLoad, ErrorKind::Unsupported].contains(&error.kind()), "{error}");
        error.message().to_owned()
    };
    let remove = |path: &'static str| move |folder: &Path| std::fs::remove_file(folder.join(path)).unwrap();
    for (path, said) in [
        ("unet/config.json", "config.json"),
        ("unet/diffusion_pytorch_model.safetensors", "no weights"),
        ("vae/config.json", "config.json"),
        ("scheduler/scheduler_config.json", "scheduler_config.json"),
        ("tokenizer/merges.txt", "tokenizer.json"),
        ("model_index.json", "no weights"),
    ] {
        let message = damaged("sd1", &remove(path));
        assert!(message.contains(said), "{path}: {message}");
    }
    let other = repository("sdxl");
    let message =
        damaged("sd1", &|folder| copy(&other.path().join("text_encoder"), &folder.join("text_encoder")));
    assert!(message.contains("the UNet takes 128"), "{message}");
    let message = damaged("sd1", &|folder| copy(&other.path().join("unet"), &folder.join("unet")));
    assert!(message.contains("the UNet takes"), "{message}");
    let message = damaged("sd1", &|folder| {
        let path = folder.join("unet/config.json");
        let text = std::fs::read_to_string(&path).unwrap().replace("CrossAttnDownBlock2D", "AttnDownBlock2D");
        std::fs::write(path, text).unwrap();
    });
    assert!(message.contains("AttnDownBlock2D"), "{message}");
}

#[test]
fn a_scheduler_s_file_may_hold_what_python_writes_and_json_does_not_know() {
    let folder = repository("sd1");
    let config = r#"{"_class_name": "DPMSolverMultistepScheduler", "lambda_min_clipped": -Infinity, "beta_end": 0.012}"#;
    std::fs::write(folder.path().join("scheduler/scheduler_config.json"), config).unwrap();
    let facts = open(folder.path(), &first_device()).facts().clone();
    assert_eq!(
        (facts.scheduler.kind.class_name(), facts.scheduler.beta_end),
        ("DPMSolverMultistepScheduler", 0.012)
    );
}

#[test]
fn weights_in_16_bits_and_older_names_are_read() {
    let (folder, truth) = (repository("sd1"), repository("sd1"));
    let half = |part: &str| {
        tensors("sd1", part)
            .into_iter()
            .map(|(name, tensor)| (name, tensor.to_dtype(candle_core::DType::F16).unwrap()))
    };
    for (part, name) in
        [("unet", "diffusion_pytorch_model"), ("text_encoder", "model"), ("vae", "diffusion_pytorch_model")]
    {
        let older = [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")];
        let renamed = |name: String| match part {
            "vae" => older
                .iter()
                .fold(name, |name, (new, old)| name.replace(&format!(".{new}."), &format!(".{old}."))),
            _ => name,
        };
        let tensors = half(part).map(|(name, tensor)| (renamed(name), tensor)).collect();
        std::fs::remove_file(folder.path().join(part).join(format!("{name}.safetensors"))).unwrap();
        save(&folder.path().join(part).join(format!("{name}.fp16.safetensors")), &tensors);
    }
    let [found, truth] =
        [&folder, &truth].map(|folder| image(&open(folder.path(), &first_device()), "sd1").rgb().to_vec());
    let off = found.iter().zip(&truth).map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>() as f32;
    assert!(off / (truth.len() as f32) < 2.0, "off by {off} of {}", truth.len());
}
