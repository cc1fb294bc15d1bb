use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use ayni_kernels::Cpu;
use candle_core::DType;
use serde::Deserialize;

use super::super::Tokens;
use super::*;
use crate::error::ErrorKind;
use crate::local::ops::{Precision, Tensor};
use crate::local::testing;

/// Where open_clip keeps weights.
const OPEN_CLIP_WEIGHTS: &str = "open_clip_model.safetensors";

const MODELS: [&str; 6] = ["openai", "laion", "open-clip-quick-gelu", "open-clip-gelu", "siglip", "siglip2"];

/// What a reference library says of a small model.
#[derive(Deserialize)]
struct Cases {
    texts: Vec<Texts>,
    images: Images,
}

#[derive(Deserialize)]
struct Texts {
    style: String,
    ids: Vec<Vec<u32>>,
    features: Vec<Vec<f32>>,
}

#[derive(Deserialize)]
struct Images {
    size: [usize; 2],
    features: Vec<Vec<f32>>,
}

/// How far from the reference vectors may be: least cosine, and the most that a number is off by the largest one.
#[derive(Clone, Copy)]
struct Bar {
    cosine: f64,
    off: f64,
}

fn bar(precision: Precision) -> Bar {
    match precision {
        Precision::F32 => Bar { cosine: 0.99999, off: 1e-4 },
        Precision::Bf16x3 => Bar { cosine: 0.999999, off: 1e-4 },
        Precision::Bf16 => Bar { cosine: 0.9995, off: f64::INFINITY },
        Precision::Int8 => Bar { cosine: 0.995, off: f64::INFINITY },
    }
}

fn folder(model: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/clip").join(model)
}

fn files(model: &str) -> ModelFiles {
    ModelFiles::in_folder(&folder(model)).unwrap()
}

fn cases(model: &str) -> Cases {
    files(model).needed_json("cases.json").unwrap()
}

fn device(precision: Precision) -> Device {
    Device::on_cpu(testing::cpus().pop().unwrap(), precision)
}

/// Every instruction set in every precision.
fn devices() -> Vec<Device> {
    let of = |cpu: Cpu| Precision::of(cpu.isa).iter().map(move |it| Device::on_cpu(cpu.clone(), *it));
    testing::cpus().into_iter().flat_map(of).collect()
}

/// What a GPU would compute.
fn on_gpu() -> [Device; 2] {
    let cpu = testing::cpus().remove(0);
    [Precision::F32, Precision::Bf16].map(|precision| Device::as_on_gpu(cpu.clone(), precision))
}

/// The pixels of the golden images, by the same arithmetic that made them.
fn pixels(device: &Device, count: usize, [height, width]: [usize; 2]) -> Tensor {
    let numbers = (0..(count * height * width * 3) as u64)
        .map(|index| (((index * 2_654_435_761) % (1 << 32)) >> 8) as f32 / (1 << 22) as f32 - 2.0);
    Tensor::from_vec(device, numbers.collect(), [count, height, width, 3]).unwrap()
}

fn tokens(texts: &[Vec<u32>]) -> Tokens {
    Tokens::new(texts.iter().map(Vec::as_slice))
}

fn rows(x: &Tensor) -> Vec<Vec<f32>> {
    let [_, width] = x.dims_of().unwrap();
    x.values().unwrap().chunks_exact(width).map(<[f32]>::to_vec).collect()
}

/// What is wrong with some vectors, if anything is.
fn fault(found: &[Vec<f32>], truth: &[Vec<f32>], bar: Bar) -> Option<String> {
    assert_eq!(found.len(), truth.len());
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    found.iter().zip(truth).enumerate().find_map(|(number, (found, truth))| {
        assert_eq!(found.len(), truth.len());
        let cosine = dot(found, truth) / (dot(found, found) * dot(truth, truth)).sqrt();
        let scale = truth.iter().fold(0.0, |most: f64, x| most.max(f64::from(x.abs())));
        let off = found.iter().zip(truth).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max) / scale;
        // Written so that NaN is a fault.
        let is_good = cosine >= bar.cosine && off <= bar.off;
        (!is_good).then(|| format!("vector {number}: cosine {cosine}, off by {off} of the largest number"))
    })
}

/// What is wrong with all vectors of a model.
fn fault_of_model(model: &dyn DualEncoder, device: &Device, cases: &Cases) -> Option<String> {
    let bar = bar(device.precision);
    let of_texts = cases.texts.iter().find_map(|texts| {
        let found = rows(&model.embed_texts(&tokens(&texts.ids)).unwrap());
        fault(&found, &texts.features, bar).map(|fault| format!("texts {}: {fault}", texts.style))
    });
    of_texts.or_else(|| {
        let images = pixels(device, cases.images.features.len(), cases.images.size);
        let found = rows(&model.embed_images(&images).unwrap());
        fault(&found, &cases.images.features, bar).map(|fault| format!("images: {fault}"))
    })
}

#[test]
fn vectors_are_those_of_the_reference_libraries() {
    for name in MODELS {
        let cases = cases(name);
        for device in devices().into_iter().chain(on_gpu()) {
            let model = open_dual_encoder(&files(name), &device).unwrap();
            assert_eq!(model.width(), cases.images.features[0].len());
            assert_eq!((model.window(), model.image_size()), (16, cases.images.size));
            assert_eq!(fault_of_model(&*model, &device, &cases), None, "{name} on {device:?}");
        }
    }
}

#[test]
fn a_vector_has_the_same_bits_alone_and_in_any_batch() {
    let bits = |x: &[Vec<f32>]| x.iter().flatten().map(|x| x.to_bits()).collect::<Vec<_>>();
    for name in MODELS {
        let cases = cases(name);
        for device in devices() {
            let model = open_dual_encoder(&files(name), &device).unwrap();
            let mut texts: Vec<Vec<u32>> = cases.texts.iter().flat_map(|texts| texts.ids.clone()).collect();
            let all = rows(&model.embed_texts(&tokens(&texts)).unwrap());
            for (text, together) in texts.iter().zip(&all) {
                let alone = rows(&model.embed_texts(&Tokens::new([&text[..]])).unwrap());
                assert_eq!(bits(&alone), bits(std::slice::from_ref(together)), "{name}: {text:?}");
            }
            texts.reverse();
            let mut reversed = rows(&model.embed_texts(&tokens(&texts)).unwrap());
            reversed.reverse();
            assert_eq!(bits(&reversed), bits(&all), "{name}");

            let images = pixels(&device, 5, cases.images.size);
            let all = rows(&model.embed_images(&images).unwrap());
            for (number, together) in all.iter().enumerate() {
                let alone = rows(&model.embed_images(&images.narrow(0, number, 1).unwrap()).unwrap());
                assert_eq!(bits(&alone), bits(std::slice::from_ref(together)), "{name}: image {number}");
            }
        }
    }
}

#[test]
fn the_padding_of_a_text_changes_no_bit_where_texts_have_an_end() {
    for name in ["openai", "laion", "open-clip-quick-gelu", "open-clip-gelu"] {
        let model = open_dual_encoder(&files(name), &device(Precision::F32)).unwrap();
        assert!(!model.fills_window());
        let text = [62, 5, 9, 31, 63];
        let padded = |pad: u32, length: usize| [&text[..], &vec![pad; length - text.len()]].concat();
        let plain = rows(&model.embed_texts(&Tokens::new([&text[..]])).unwrap());
        // Longer than the window too: what is cut off does not count.
        for (pad, length) in [(63, 16), (0, 16), (1, 7), (63, 40)] {
            let found = model.embed_texts(&Tokens::new([&padded(pad, length)[..]])).unwrap();
            assert_eq!(rows(&found), plain, "{name}: {length} tokens, padded with {pad}");
        }
    }
}

/// The config and the tensors of a golden model, widened.
fn tensors(model: &str) -> (Value, BTreeMap<String, candle_core::Tensor>) {
    let (config, weights) = match files(model).json("config.json").unwrap() {
        Some(config) => (config, "model.safetensors"),
        None => (files(model).needed_json(OPEN_CLIP_CONFIG).unwrap(), OPEN_CLIP_WEIGHTS),
    };
    let tensors =
        candle_core::safetensors::load(folder(model).join(weights), &candle_core::Device::Cpu).unwrap();
    let used = tensors.into_iter().filter(|(name, _)| !name.starts_with("logit_"));
    (config, used.map(|(name, x)| (name, x.to_dtype(DType::F32).unwrap())).collect())
}

/// The model of other tensors than the golden ones.
fn load(config: &Value, tensors: &BTreeMap<String, candle_core::Tensor>) -> Result<Box<dyn DualEncoder>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let tensors: HashMap<&str, candle_core::Tensor> =
        tensors.iter().map(|(name, x)| (name.as_str(), x.clone())).collect();
    candle_core::safetensors::save(&tensors, &path).unwrap();
    dual_encoder(config, &Weights::open_files(&[path])?, &device(Precision::F32))
}

#[test]
fn every_tensor_takes_part_so_that_a_wrong_one_is_noticed() {
    for name in MODELS {
        let (config, tensors) = tensors(name);
        let cases = cases(name);
        // A constant added to all scores of a query changes nothing: so do the biases of keys.
        for changed in tensors.keys().filter(|name| !name.ends_with("k_proj.bias")) {
            let mut tensors = tensors.clone();
            let wrong = tensors[changed].affine(1.03, 0.02).unwrap();
            tensors.insert(changed.clone(), wrong);
            let model = load(&config, &tensors).unwrap();
            assert!(fault_of_model(&*model, &device(Precision::F32), &cases).is_some(), "{name}: {changed}");
        }
    }
}

#[test]
fn a_missing_and_a_misshaped_tensor_are_named() {
    for name in MODELS {
        let (config, all) = tensors(name);
        for missing in all.keys() {
            let mut tensors = all.clone();
            tensors.remove(missing);
            let error = load(&config, &tensors).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ModelLoad);
            assert_eq!(error.message(), format!("the weights have no tensor `{missing}`"), "{name}");
            tensors.insert(
                missing.clone(),
                candle_core::Tensor::zeros((3, 5), DType::F32, &candle_core::Device::Cpu).unwrap(),
            );
            let error = load(&config, &tensors).unwrap_err();
            assert!(error.message().starts_with(&format!("`{missing}` is [3, 5]")), "{name}: {error}");
        }
    }
}

/// A golden config with some value replaced.
fn changed(model: &str, pointer: &str, value: Value) -> Value {
    let (mut config, _) = tensors(model);
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    config.pointer_mut(parent).unwrap()[name] = value;
    config
}

#[test]
fn what_is_not_supported_is_an_error_that_says_what_is() {
    for (model, pointer, value, says) in [
        ("openai", "/model_type", Value::from("bert"), "valid: clip, siglip"),
        ("openai", "/model_type", Value::Null, "neither `model_type` nor `model_cfg`"),
        ("siglip2", "/model_type", Value::from("siglip2"), "fixed resolution"),
        ("openai", "/text_config/hidden_act", Value::from("mish"), "valid: quick_gelu"),
        ("openai", "/text_config/num_attention_heads", Value::from(5), "do not divide"),
        ("openai", "/text_config/num_attention_heads", Value::from(0), "do not divide"),
        ("openai", "/vision_config/patch_size", Value::from(64), "no patch"),
        ("openai", "/vision_config/num_channels", Value::from(1), "3 are"),
        ("openai", "/vision_config", Value::from("x"), "not as expected"),
        ("siglip", "/vision_config/vision_use_head", Value::from(false), "vision_use_head"),
        ("siglip2", "/text_config/projection_size", Value::Null, "those of images 32"),
        ("open-clip-gelu", "/model_cfg/vision_cfg/timm_model_name", Value::from("vit"), "timm_model_name"),
        ("open-clip-gelu", "/model_cfg/vision_cfg/layers", Value::from(vec![3, 4]), "ResNet"),
        ("open-clip-gelu", "/model_cfg/vision_cfg/pool_type", Value::from("avg"), "valid: tok"),
        ("open-clip-gelu", "/model_cfg/text_cfg/pool_type", Value::from("last"), "valid: argmax, eos"),
        ("open-clip-gelu", "/model_cfg/text_cfg/qk_norm", Value::from(true), "text_cfg.qk_norm"),
        ("open-clip-gelu", "/model_cfg/multimodal_cfg", Value::from("x"), "model_cfg.multimodal_cfg"),
    ] {
        let error = load(&changed(model, pointer, value), &tensors(model).1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelLoad, "{pointer}");
        assert!(error.message().contains(says), "{pointer}: {error}");
    }
}

#[test]
fn settings_without_effect_do_not_stop_a_model() {
    for (pointer, value) in [
        ("/model_cfg/vision_cfg/patch_dropout", Value::from(0.5)),
        ("/model_cfg/vision_cfg/qk_norm", Value::from(false)),
        ("/model_cfg/text_cfg/hf_tokenizer_name", Value::from("org/name")),
        ("/model_cfg/init_logit_bias", Value::from(-10)),
    ] {
        load(&changed("open-clip-gelu", pointer, value), &tensors("open-clip-gelu").1).unwrap();
    }
}

#[test]
fn a_text_half_under_a_name_of_its_own_is_found() {
    let (config, tensors) = tensors("open-clip-gelu");
    let renamed = tensors
        .into_iter()
        .map(|(name, x)| if name.starts_with("visual.") { (name, x) } else { (format!("text.{name}"), x) });
    let mut renamed: BTreeMap<String, candle_core::Tensor> = renamed.collect();
    let model = load(&config, &renamed).unwrap();
    assert_eq!(fault_of_model(&*model, &device(Precision::F32), &cases("open-clip-gelu")), None);
    // Errors name a tensor as the file does.
    let missing = "text.transformer.resblocks.1.attn.in_proj_weight";
    renamed.remove(missing).unwrap();
    let error = load(&config, &renamed).unwrap_err();
    assert_eq!(error.message(), format!("the weights have no tensor `{missing}`"));
}

#[test]
fn inputs_that_do_not_fit_are_errors() {
    let clip = open_dual_encoder(&files("openai"), &device(Precision::F32)).unwrap();
    let texts = |ids: &[u32]| clip.embed_texts(&Tokens::new([ids])).unwrap_err().kind();
    assert_eq!(texts(&[]), ErrorKind::InvalidRequest);
    assert_eq!(texts(&[62, 64]), ErrorKind::InvalidRequest);
    assert_eq!(texts(&[&[62; 16][..], &[63]].concat()), ErrorKind::ContextTooLong);
    assert_eq!(clip.embed_texts(&Tokens::new([])).unwrap_err().kind(), ErrorKind::InvalidRequest);
    for dims in [[1, 32, 31, 3], [1, 3, 32, 32], [0, 32, 32, 3]] {
        let count = dims.iter().product();
        let images = Tensor::from_vec(&device(Precision::F32), vec![0.0; count], dims).unwrap();
        assert_eq!(clip.embed_images(&images).unwrap_err().kind(), ErrorKind::InvalidRequest, "{dims:?}");
    }
    let siglip = open_dual_encoder(&files("siglip"), &device(Precision::F32)).unwrap();
    assert!(siglip.fills_window());
    let error = siglip.embed_texts(&Tokens::new([&[5, 9, 2][..]])).unwrap_err();
    assert!(error.message().contains("does not fill the model's window of 16"), "{error}");
}

/// A folder of some files of the golden models, under other names.
fn folder_of(parts: &[(&str, &str, &str)]) -> tempfile::TempDir {
    let made = tempfile::tempdir().unwrap();
    for (model, from, to) in parts {
        std::fs::copy(folder(model).join(from), made.path().join(to)).unwrap();
    }
    made
}

fn width_in(folder: &Path) -> Result<usize> {
    open_dual_encoder(&ModelFiles::in_folder(folder).unwrap(), &device(Precision::F32))
        .map(|model| model.width())
}

#[test]
fn a_folder_of_several_libraries_is_read_as_the_one_that_it_is_whole_for() {
    let of_transformers = ("openai", "config.json", "config.json");
    let weights = ("openai", "model.safetensors", "model.safetensors");
    let native = ("open-clip-gelu", OPEN_CLIP_CONFIG, OPEN_CLIP_CONFIG);
    let native_weights = ("open-clip-gelu", OPEN_CLIP_WEIGHTS, OPEN_CLIP_WEIGHTS);
    let older_weights = ("open-clip-gelu", OPEN_CLIP_WEIGHTS, "open_clip_pytorch_model.safetensors");
    let both = folder_of(&[of_transformers, weights, native, native_weights]);
    assert_eq!(width_in(both.path()).unwrap(), 24);
    let without_weights = folder_of(&[of_transformers, native, native_weights]);
    assert_eq!(width_in(without_weights.path()).unwrap(), 40);
    let older = folder_of(&[native, older_weights]);
    assert_eq!(width_in(older.path()).unwrap(), 40);
    // timm's config of the images' half alone, with its weights.
    let timm = folder_of(&[native, native_weights, weights]);
    std::fs::write(timm.path().join("config.json"), r#"{"architecture": "vit_base_patch32_clip_224"}"#)
        .unwrap();
    assert_eq!(width_in(timm.path()).unwrap(), 40);
    // The user says which.
    for (name, width) in [(OPEN_CLIP_WEIGHTS, 40), ("model.safetensors", 24)] {
        let files = ModelFiles::in_folder(both.path()).unwrap().with_weights(name);
        assert_eq!(open_dual_encoder(&files, &device(Precision::F32)).unwrap().width(), width, "{name}");
    }
    let damaged = folder_of(&[native]);
    std::fs::write(damaged.path().join("open_clip_pytorch_model.bin"), "PK\x03\x04 no archive").unwrap();
    let error = width_in(damaged.path()).unwrap_err();
    assert!(error.message().contains("open_clip_pytorch_model.bin: this pickle cannot be read"), "{error}");
    let error = width_in(folder_of(&[native]).path()).unwrap_err();
    assert!(error.message().contains("model.safetensors does not exist"), "{error}");
    let weights_alone = folder_of(&[weights]);
    let error = width_in(weights_alone.path()).unwrap_err();
    assert!(error.message().contains("has no config.json"), "{error}");
}
