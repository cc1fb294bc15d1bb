//! Safetensors files as one set of named tensors.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::PathBuf;

use candle_core::{DType, Device, Tensor};
use safetensors::tensor::{Dtype, SafeTensors};
use serde::Deserialize;

use super::mapped::{Kept, Mapped};
use crate::error::{Error, ErrorKind, Result};
use crate::local::ops::of_candle;
use crate::local::source::ModelFiles;

/// The tensors of a model, wherever they lie in its files. Nothing is read before it is asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tensors {
    by_name: HashMap<String, Stored>,
}

/// A tensor as its file holds it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    file: Mapped,
    range: Range<usize>,
    /// Its shape.
    pub(crate) shape: Vec<usize>,
    dtype: Dtype,
}

/// Where the tensors of a sharded model are.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Tensors {
    /// The weights of a model's folder: the file that the user named, else `model.safetensors`, or the shards that its
    /// index names.
    ///
    /// # Errors
    /// `model_load` if there are none, a shard is missing, or a file is cut off.
    pub(crate) fn of_model(files: &ModelFiles) -> Result<Self> {
        if let Some(name) = &files.weights {
            return Self::open(&[files.path(name)]);
        }
        if files.has("model.safetensors") {
            return Self::open(&[files.path("model.safetensors")]);
        }
        let Some(index) = files.json::<Index>("model.safetensors.index.json")? else {
            return Err(no_weights(files));
        };
        let mut shards: Vec<&String> = index.weight_map.values().collect();
        shards.sort();
        shards.dedup();
        let paths: Vec<PathBuf> = shards.into_iter().map(|shard| files.path(shard)).collect();
        let tensors = Self::open(&paths)?;
        match index.weight_map.keys().find(|name| !tensors.by_name.contains_key(*name)) {
            Some(name) => Err(load_error(format!("no shard holds `{name}`, which the index promises"))),
            None => Ok(tensors),
        }
    }

    /// The tensors of some files.
    ///
    /// # Errors
    /// `model_load` if one cannot be read or is cut off.
    pub(crate) fn open(paths: &[PathBuf]) -> Result<Self> {
        let mut tensors = Self::default();
        for path in paths {
            tensors.add(&Mapped::open(path)?)?;
        }
        Ok(tensors)
    }

    fn add(&mut self, file: &Mapped) -> Result<()> {
        let bytes: &[u8] = file.as_ref();
        let broken = |error: safetensors::SafeTensorError| {
            load_error(format!("{} is no whole safetensors file: {error}", file.path().display()))
        };
        let (header, _) = SafeTensors::read_metadata(bytes).map_err(broken)?;
        let views = SafeTensors::deserialize(bytes).map_err(broken)?;
        let start = bytes.as_ptr() as usize;
        for (name, view) in views.iter() {
            let from = view.data().as_ptr() as usize - start;
            debug_assert!(from >= header);
            let stored = Stored {
                file: file.clone(),
                range: from..from + view.data().len(),
                shape: view.shape().to_vec(),
                dtype: view.dtype(),
            };
            self.by_name.insert(name.to_owned(), stored);
        }
        Ok(())
    }

    /// A tensor as it is stored.
    pub(crate) fn get(&self, name: &str) -> Option<&Stored> {
        self.by_name.get(name)
    }

    /// The names of all, in no order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// A tensor of this shape as it is stored.
    ///
    /// # Errors
    /// `model_load` if it is missing or has another shape; the message names it.
    pub(crate) fn expect(&self, name: &str, shape: &[usize]) -> Result<&Stored> {
        let Some(stored) = self.get(name) else {
            return Err(load_error(format!("the weights have no tensor `{name}`")));
        };
        if stored.shape != shape {
            let found = &stored.shape;
            return Err(load_error(format!(
                "`{name}` is {found:?} in the weights, the model needs {shape:?}"
            )));
        }
        Ok(stored)
    }
}

impl Stored {
    /// The numbers' bytes, little-endian.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.file.as_ref().get(self.range.clone()).unwrap_or_default()
    }

    /// The file that holds it, to be read where it lies, and where in it.
    pub(crate) fn place(&self) -> (Kept, Range<usize>) {
        (self.file.kept(), self.range.clone())
    }

    /// What its numbers are.
    ///
    /// # Errors
    /// `model_load` for numbers that no model here computes with.
    pub(crate) fn dtype(&self) -> Result<DType> {
        match self.dtype {
            Dtype::F32 => Ok(DType::F32),
            Dtype::F16 => Ok(DType::F16),
            Dtype::BF16 => Ok(DType::BF16),
            other => {
                Err(load_error(format!("weights in {other:?} are not supported; f32, f16 and bf16 are")))
            }
        }
    }

    /// A copy as a tensor on a device, in the numbers that are stored.
    ///
    /// # Errors
    /// `model_load` for other numbers than f32, f16 and bf16, `out_of_memory`.
    pub(crate) fn to_tensor(&self, device: &Device) -> Result<Tensor> {
        Tensor::from_raw_buffer(self.bytes(), self.dtype()?, &self.shape, device).map_err(of_candle)
    }
}

/// Says what is there instead, and what to do.
fn no_weights(files: &ModelFiles) -> Error {
    if ["pytorch_model.bin", "pytorch_model.bin.index.json"].iter().any(|name| files.has(name)) {
        return load_error(
            "the model has only pytorch_model.bin, a pickle that runs code when it is loaded: ayni does not open it. \
             Convert it to model.safetensors, or take a revision of the model that has one"
                .to_owned(),
        );
    }
    load_error(format!("{} does not exist", files.path("model.safetensors").display()))
}

fn load_error(message: String) -> Error {
    Error::new(ErrorKind::ModelLoad, message)
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::HashMap;
    use std::path::Path;

    use super::*;

    /// Writes a safetensors file of tensors on the CPU.
    pub(crate) fn write(path: &Path, tensors: &[(&str, &Tensor)]) {
        let named: HashMap<&str, Tensor> =
            tensors.iter().map(|(name, tensor)| (*name, (*tensor).clone())).collect();
        candle_core::safetensors::save(&named, path).unwrap();
    }

    fn numbers(count: usize) -> Tensor {
        Tensor::arange(0_f32, count as f32, &Device::Cpu).unwrap()
    }

    #[test]
    fn shards_are_one_set_of_tensors() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (numbers(6).reshape((2, 3)).unwrap(), numbers(4).to_dtype(DType::BF16).unwrap());
        write(&folder.path().join("model-00001-of-00002.safetensors"), &[("a", &a)]);
        write(&folder.path().join("model-00002-of-00002.safetensors"), &[("b", &b)]);
        let index = r#"{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
        std::fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
        let tensors = Tensors::of_model(&ModelFiles::in_folder(folder.path()).unwrap()).unwrap();
        let read = tensors.expect("a", &[2, 3]).unwrap().to_tensor(&Device::Cpu).unwrap();
        assert_eq!(read.to_vec2::<f32>().unwrap(), a.to_vec2::<f32>().unwrap());
        assert_eq!(tensors.get("b").unwrap().dtype().unwrap(), DType::BF16);
        assert_eq!(tensors.names().count(), 2);
    }

    #[test]
    fn a_missing_and_a_misshaped_tensor_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        write(&path, &[("a.weight", &numbers(6))]);
        let tensors = Tensors::open(&[path]).unwrap();
        let error = tensors.expect("b.weight", &[6]).unwrap_err();
        assert_eq!(error.message(), "the weights have no tensor `b.weight`");
        let error = tensors.expect("a.weight", &[2, 3]).unwrap_err();
        assert_eq!(error.message(), "`a.weight` is [6] in the weights, the model needs [2, 3]");
    }

    #[test]
    fn a_file_cut_off_anywhere_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        write(&path, &[("a", &numbers(64))]);
        let whole = std::fs::read(&path).unwrap();
        for length in (0..whole.len()).step_by(7) {
            let cut = folder.path().join("cut.safetensors");
            std::fs::write(&cut, &whole[..length]).unwrap();
            assert_eq!(Tensors::open(&[cut]).unwrap_err().kind(), ErrorKind::ModelLoad, "{length} bytes");
        }
    }

    #[test]
    fn pickles_are_refused_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pytorch_model.bin"), "x").unwrap();
        let error = Tensors::of_model(&ModelFiles::in_folder(folder.path()).unwrap()).unwrap_err();
        assert!(error.message().contains("pickle"), "{error}");
    }
}
