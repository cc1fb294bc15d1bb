//! Small seeded pipelines for tests: repositories whose weights are computed, as `tests/golden/make/diffusion.py` does.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

use crate::local::weights::testing::write;

/// Where the goldens are.
pub(crate) fn goldens() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/diffusion")
}

/// Numbers in [-1, 1) from a name: splitmix64 from its FNV-1a hash.
pub(crate) fn numbers(name: &str, count: usize) -> Vec<f32> {
    let hash = |seed: u64, byte: u8| (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325, hash);
    let number = |index: usize| {
        let mut z = (index as u64).wrapping_add(seed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(number).collect()
}

/// Numbers of variance one.
pub(crate) fn normal(name: &str, count: usize) -> Vec<f32> {
    let scale = 3.0_f64.sqrt() as f32;
    numbers(name, count).into_iter().map(|x| x * scale).collect()
}

/// A weight that keeps signals near one.
pub(crate) fn weight(name: &str, shape: &[usize]) -> Tensor {
    let noise = numbers(name, shape.iter().product());
    let is_table = name.contains("embedding") && !name.contains("linear") && !name.contains("cond_proj");
    let values = match shape {
        [_] if name.ends_with("weight") => noise.into_iter().map(|x| 1.0 + 0.25 * x).collect(),
        [_] => noise.into_iter().map(|x| 0.125 * x).collect(),
        _ if is_table => noise,
        [_, inputs @ ..] => {
            let scale = (3.0 / inputs.iter().product::<usize>() as f64).sqrt() as f32;
            noise.into_iter().map(|x| x * scale).collect()
        }
        [] => noise,
    };
    Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
}

/// The tensors of a part by name.
pub(crate) fn tensors(pipeline: &str, part: &str) -> BTreeMap<String, Tensor> {
    let file = std::fs::read(goldens().join(pipeline).join("shapes.json")).unwrap();
    let shapes: BTreeMap<String, BTreeMap<String, Vec<usize>>> = serde_json::from_slice(&file).unwrap();
    let of = if part.is_empty() { pipeline } else { part };
    shapes[part].iter().map(|(name, shape)| (name.clone(), weight(&format!("{of}/{name}"), shape))).collect()
}

/// Writes tensors as a safetensors file.
pub(crate) fn save(path: &Path, tensors: &BTreeMap<String, Tensor>) {
    write(path, &tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect::<Vec<_>>());
}

/// A pipeline's repository with its weights: `sd1`, `sd2`, `sdxl`, `lcm`, `inpaint`.
pub(crate) fn repository(pipeline: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&goldens().join(pipeline), folder.path());
    for part in ["unet", "vae", "text_encoder", "text_encoder_2"] {
        if folder.path().join(part).is_dir() {
            let name = if part.starts_with("text") { "model" } else { "diffusion_pytorch_model" };
            save(&folder.path().join(part).join(format!("{name}.safetensors")), &tensors(pipeline, part));
        }
    }
    folder
}

/// Copies a folder with what is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), target).unwrap()),
        }
    }
}
