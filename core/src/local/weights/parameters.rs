//! The weights of a model by the names of its parts, and the norms and tables made of them. `layers.rs` has what multiplies.

use candle_core::{DType, Tensor};

use super::tensor::StoredTensor;
use super::{Weights, load_error};
use crate::error::{Error, ErrorKind, Result};
use crate::local::ops::{Device, Embedding, Format, Norm, of_candle};

/// The tensors under one prefix of a model's names: `encoder.layer.0`.
#[derive(Clone, Debug)]
pub(crate) struct Parameters<'a> {
    pub(super) weights: &'a Weights,
    /// Where the layers will compute.
    pub(crate) device: &'a Device,
    prefix: String,
    biases: Biases,
    pub(super) storage: Storage,
    /// The longest text that is wanted.
    window: Option<usize>,
    /// Which part of tensors that hold one after another of so many.
    of_stack: Option<(usize, usize)>,
}

/// In what layers hold their weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Storage {
    /// In the precision of the device, whatever the file has.
    #[default]
    Precision,
    /// The blocks of a GGUF file as they are; all else in the precision of the device, but 16 bits a weight where the file
    /// has no more.
    AsInFile,
    /// Layers in blocks of this format, made when they are loaded; what is in blocks already stays as it is. Rows that are
    /// not whole blocks, or that it cannot hold, are in Q8_0, and else as in the file. So are tables of tokens, which decide more than they weigh.
    Quantised(Format),
}

/// Which layers and norms have a bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Biases {
    /// Those for which there is one in the weights.
    IfAny,
    /// All: one that is missing is an error.
    All,
    /// None: one that is there is an error.
    None,
}

impl<'a> Parameters<'a> {
    /// All weights of a model.
    pub(crate) fn new(weights: &'a Weights, device: &'a Device) -> Self {
        Self {
            weights,
            device,
            prefix: String::new(),
            biases: Biases::IfAny,
            storage: Storage::Precision,
            window: None,
            of_stack: None,
        }
    }

    /// The tensors under `name`, below this prefix.
    pub(crate) fn at(&self, name: impl std::fmt::Display) -> Self {
        Self { prefix: self.full(&name.to_string()), ..self.clone() }
    }

    /// The same tensors, with a rule on which layers have a bias.
    pub(crate) fn biased(&self, biases: Biases) -> Self {
        Self { biases, ..self.clone() }
    }

    /// The same tensors, with a rule on how layers hold them.
    pub(crate) fn stored(&self, storage: Storage) -> Self {
        Self { storage, ..self.clone() }
    }

    /// The same tensors, for texts of up to `window` tokens.
    pub(crate) fn with_window(&self, window: Option<usize>) -> Self {
        Self { window, ..self.clone() }
    }

    /// The same tensors, for a layer that is too small and decides too much to be quantised when it is loaded.
    pub(crate) fn unquantised(&self) -> Self {
        match self.storage {
            Storage::Quantised(_) => self.stored(Storage::AsInFile),
            _ => self.clone(),
        }
    }

    /// The same tensors, for a table with a row a token.
    pub(crate) fn for_tables(&self) -> Self {
        match self.storage {
            Storage::Quantised(_) => self.stored(Storage::Quantised(Format::Q8_0)),
            _ => self.clone(),
        }
    }

    /// Other tensors by their own names, held as these.
    pub(crate) fn within<'b>(&self, weights: &'b Weights) -> Parameters<'b>
    where
        'a: 'b,
    {
        Parameters { weights, prefix: String::new(), of_stack: None, ..self.clone() }
    }

    /// The same names for tensors that hold `count` of them one after another, of which this is number `number`.
    pub(crate) fn of_stack(&self, number: usize, count: usize) -> Self {
        Self { of_stack: Some((number, count)), ..self.clone() }
    }

    /// A tensor of this shape where the file holds it.
    pub(super) fn stored_tensor(&self, name: &str, shape: &[usize]) -> Result<StoredTensor> {
        let full = self.full(name);
        let Some((number, count)) = self.of_stack else { return self.weights.tensor(&full, shape) };
        let whole = self.weights.tensor(&full, &[&[count], shape].concat())?;
        let failed = || load_error(format!("`{full}` is stored in a way that is not supported"));
        whole.one_of_stack(number).ok_or_else(failed)
    }

    /// The same, of finite numbers.
    pub(super) fn find(&self, name: &str, shape: &[usize]) -> Result<StoredTensor> {
        let stored = self.stored_tensor(name, shape)?;
        let full = self.full(name);
        if shape.contains(&0) {
            return Err(load_error(format!("`{full}` is empty: {shape:?}")));
        }
        match stored.is_finite(&self.device.cpu)? {
            true => Ok(stored),
            false => Err(load_error(format!("`{full}` holds NaN or infinity in the weights"))),
        }
    }

    /// The longest text of a model that can take `positions` tokens.
    pub(crate) fn window(&self, positions: usize) -> usize {
        self.window.map_or(positions, |window| window.min(positions))
    }

    /// Whether they are of a GGUF file.
    pub(crate) fn is_gguf(&self) -> bool {
        self.weights.metadata().is_some()
    }

    /// The tensors under the first of these names that has any, else under this prefix: repositories differ in the
    /// prefix that they use (`bert.`, `model.`, none).
    pub(crate) fn at_any(&self, names: &[&str]) -> Self {
        let found = names.iter().find(|name| {
            let start = format!("{}.", self.full(name));
            self.weights.names().any(|tensor| tensor.starts_with(&start))
        });
        found.map_or_else(|| self.clone(), |name| self.at(name))
    }

    /// Whether there is a tensor of this name under the prefix.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.weights.has(&self.full(name))
    }

    /// A tensor, on the CPU whatever the device: layers move what they need.
    ///
    /// # Errors
    /// `model_load` if it is missing, has another shape, or holds a number that is not finite.
    pub(crate) fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let tensor = self.find(name, shape)?.to_tensor(&candle_core::Device::Cpu)?;
        self.weights.with_deltas_of(&self.full(name), tensor)
    }

    /// A tensor that may be missing; one of another shape is still an error.
    ///
    /// # Errors
    /// `model_load` if it has another shape.
    pub(crate) fn tensor_if_any(&self, name: &str, shape: &[usize]) -> Result<Option<Tensor>> {
        self.has(name).then(|| self.tensor(name, shape)).transpose()
    }

    /// The numbers of a small tensor of this full name, if it is there.
    ///
    /// # Errors
    /// `model_load` if it has another shape.
    pub(crate) fn vector_if_any(&self, name: &str, width: usize) -> Result<Option<Vec<f32>>> {
        self.has(name).then(|| self.vector(name, width)).transpose()
    }

    /// The numbers of a small tensor.
    ///
    /// # Errors
    /// `model_load` if it is missing or has another shape.
    pub(crate) fn vector(&self, name: &str, width: usize) -> Result<Vec<f32>> {
        let tensor = self.tensor(name, &[width])?;
        tensor.to_dtype(DType::F32).and_then(|tensor| tensor.to_vec1()).map_err(of_candle)
    }

    /// The layer norm of `name.weight` and, where there is one, `name.bias`, over `width` columns. The oldest files
    /// call them `gamma` and `beta`.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape.
    pub(crate) fn layer_norm(&self, name: &str, width: usize, epsilon: f64) -> Result<Norm> {
        let here = self.at(name);
        let names = if here.has("gamma") { ["gamma", "beta"] } else { ["weight", "bias"] };
        let (weight, bias) = (here.tensor(names[0], &[width])?, here.bias(names[1], width)?);
        Norm::layer(self.device, &weight, bias.as_ref(), as_f32(epsilon))
            .map_err(|error| here.unusable(error))
    }

    /// The root-mean-square norm of `name.weight`, to which `offset` is added: some models store weights less one.
    ///
    /// # Errors
    /// `model_load` if the tensor is missing or has another shape.
    pub(crate) fn rms_norm(&self, name: &str, width: usize, epsilon: f64, offset: f64) -> Result<Norm> {
        let here = self.at(name);
        let weight = here.tensor("weight", &[width])?;
        let weight = weight.to_dtype(DType::F32).and_then(|weight| weight + offset).map_err(of_candle)?;
        Norm::rms(self.device, &weight, as_f32(epsilon)).map_err(|error| here.unusable(error))
    }

    /// The table `name.weight` of `count` rows. On the CPU rows are read from the file when they are asked for.
    ///
    /// # Errors
    /// `model_load` if the tensor is missing or has another shape.
    pub(crate) fn embedding(&self, name: &str, count: usize, width: usize) -> Result<Embedding> {
        let here = self.at(name);
        let stored = here.find("weight", &[count, width])?;
        let is_plain = |format: &Format| matches!(format, Format::F16 | Format::Bf16);
        if self.storage != Storage::Precision
            && let Some((format, bytes)) = self.for_tables().rows_of(stored.clone())?
            && !is_plain(&format)
        {
            let table = Embedding::blocks(self.device, format, bytes.as_slice(), [count, width]);
            return table.map_err(|error| here.unusable(error));
        }
        let (table, range, dtype) = stored.resident()?;
        Embedding::new(self.device, table, range, dtype, [count, width]).map_err(|error| here.unusable(error))
    }

    /// The norm over groups of channels of `name.weight` and `name.bias`.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape, or channels are not whole groups.
    pub(crate) fn group_norm(
        &self,
        name: &str,
        channels: usize,
        groups: usize,
        epsilon: f64,
    ) -> Result<Norm> {
        let here = self.at(name);
        let (weight, bias) = (here.tensor("weight", &[channels])?, here.tensor("bias", &[channels])?);
        Norm::group(self.device, &weight, &bias, groups, as_f32(epsilon))
            .map_err(|error| here.unusable(error))
    }

    /// The shape of a tensor under the prefix, if it is there.
    pub(crate) fn shape(&self, name: &str) -> Option<&[usize]> {
        self.weights.shape(&self.full(name))
    }

    pub(crate) fn bias(&self, name: &str, width: usize) -> Result<Option<Tensor>> {
        match self.biases {
            Biases::IfAny => self.tensor_if_any(name, &[width]),
            Biases::All => self.tensor(name, &[width]).map(Some),
            Biases::None if !self.has(name) => Ok(None),
            Biases::None => {
                let name = self.full(name);
                Err(Error::new(
                    ErrorKind::ModelLoad,
                    format!("the weights have `{name}`, but the model has no bias there"),
                ))
            }
        }
    }

    pub(super) fn full(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }

    /// The error of a layer, as one of the weights.
    pub(super) fn unusable(&self, error: Error) -> Error {
        match error.kind() {
            ErrorKind::OutOfMemory | ErrorKind::DeviceUnavailable => error,
            _ => Error::new(
                ErrorKind::ModelLoad,
                format!("the weights of `{}` cannot be used: {}", self.prefix, error.message()),
            )
            .with_source(error),
        }
    }
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "models write an epsilon in f64 and compute with it in f32"
)]
fn as_f32(epsilon: f64) -> f32 {
    epsilon as f32
}

#[cfg(test)]
mod tests {
    use super::super::testing::write;
    use super::*;
    use crate::local::ops::{self, Precision};
    use ayni_kernels::{Cpu, Isa};

    fn values(count: usize, shape: &[usize]) -> Tensor {
        Tensor::arange(0_f32, count as f32, &candle_core::Device::Cpu).unwrap().reshape(shape).unwrap()
    }

    #[test]
    fn layers_are_found_by_name_whatever_is_in_front() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let (weight, bias) = (values(6, &[2, 3]), values(2, &[2]));
        write(
            &path,
            &[
                ("bert.query.weight", &weight),
                ("bert.query.bias", &bias),
                ("bert.key.weight", &weight),
                ("bert.words.weight", &weight),
            ],
        );
        let weights = Weights::open_files(&[path]).unwrap();
        let device = Device::on_cpu(Cpu::new(Isa::PORTABLE, 1), Precision::F32);
        let bert = Parameters::new(&weights, &device).at_any(&["model", "bert"]);
        let x = ops::Tensor::from_vec(&device, vec![0.0, 1.0, 2.0], [1, 3]).unwrap();
        let y = bert.linear("query", 3, 2).unwrap().forward(x).unwrap();
        assert_eq!(*y.values().unwrap(), [5.0, 15.0]);
        let words = bert.embedding("words", 2, 3).unwrap().forward(&[1, 0]).unwrap();
        assert_eq!(*words.values().unwrap(), [3.0, 4.0, 5.0, 0.0, 1.0, 2.0]);
        let error = bert.fused(&[("query", 2), ("key", 2)], 3).unwrap_err();
        assert!(error.message().contains("some of the fused layers have a bias"), "{error}");
        let unbiased = bert.biased(Biases::None).linear("query", 3, 2).unwrap_err();
        assert!(unbiased.message().contains("`bert.query.bias`, but"), "{unbiased}");
        assert!(bert.biased(Biases::None).linear("key", 3, 2).is_ok());
        let biased = bert.biased(Biases::All).linear("key", 3, 2).unwrap_err();
        assert_eq!(biased.message(), "the weights have no tensor `bert.key.bias`");
        let error = bert.linear("value", 3, 2).unwrap_err();
        assert_eq!(error.message(), "the weights have no tensor `bert.value.weight`");
    }
}
