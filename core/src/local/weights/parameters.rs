//! The weights of a model by the names of its parts, and the layers made of them.

use candle_core::{DType, Tensor};

use super::Weights;
use super::tensor::StoredTensor;
use crate::error::{Error, ErrorKind, Result};
use crate::local::ops::{DenseWeights, Device, Embedding, Gate, Linear, Norm, Precision, of_candle};

/// The tensors under one prefix of a model's names: `encoder.layer.0`.
#[derive(Clone, Debug)]
pub(crate) struct Parameters<'a> {
    weights: &'a Weights,
    /// Where the layers will compute.
    pub(crate) device: &'a Device,
    prefix: String,
    biases: Biases,
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
        Self { weights, device, prefix: String::new(), biases: Biases::IfAny }
    }

    /// The tensors under `name`, below this prefix.
    pub(crate) fn at(&self, name: impl std::fmt::Display) -> Self {
        Self { prefix: self.full(&name.to_string()), ..self.clone() }
    }

    /// The same tensors, with a rule on which layers have a bias.
    pub(crate) fn biased(&self, biases: Biases) -> Self {
        Self { biases, ..self.clone() }
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
        self.stored(name, shape)?.to_tensor(&candle_core::Device::Cpu)
    }

    /// A tensor of finite numbers where its file holds it.
    fn stored(&self, name: &str, shape: &[usize]) -> Result<StoredTensor> {
        let name = self.full(name);
        let stored = self.weights.tensor(&name, shape)?;
        if shape.contains(&0) {
            return Err(Error::new(ErrorKind::ModelLoad, format!("`{name}` is empty: {shape:?}")));
        }
        match stored.is_finite(&self.device.cpu)? {
            true => Ok(stored),
            false => Err(Error::new(
                ErrorKind::ModelLoad,
                format!("`{name}` holds NaN or infinity in the weights"),
            )),
        }
    }

    /// A tensor that may be missing; one of another shape is still an error.
    ///
    /// # Errors
    /// `model_load` if it has another shape.
    pub(crate) fn tensor_if_any(&self, name: &str, shape: &[usize]) -> Result<Option<Tensor>> {
        self.has(name).then(|| self.tensor(name, shape)).transpose()
    }

    /// The layer `name.weight`, with `name.bias` where there is one.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape.
    pub(crate) fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<Linear> {
        self.at(name).linear_of(self.dense(name, inputs, outputs)?)
    }

    /// Weight and bias of the layer `name`.
    fn dense(&self, name: &str, inputs: usize, outputs: usize) -> Result<DenseWeights> {
        let here = self.at(name);
        Ok((here.tensor("weight", &[outputs, inputs])?, here.bias("bias", outputs)?))
    }

    /// Several layers with the same input as one, their outputs side by side: queries, keys and values.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape, or only some have a bias.
    pub(crate) fn fused(&self, parts: &[(&str, usize)], inputs: usize) -> Result<Linear> {
        let (mut weights, mut biases) = (Vec::new(), Vec::new());
        for (name, outputs) in parts {
            let here = self.at(name);
            weights.push(here.tensor("weight", &[*outputs, inputs])?);
            biases.extend(here.bias("bias", *outputs)?);
        }
        if !biases.is_empty() && biases.len() != parts.len() {
            return Err(
                self.unusable(Error::config("some of the fused layers have a bias and some have none"))
            );
        }
        let weight = Tensor::cat(&weights, 0).map_err(of_candle)?;
        let bias = if biases.is_empty() { None } else { Some(Tensor::cat(&biases, 0).map_err(of_candle)?) };
        drop((weights, biases));
        self.linear_of((weight, bias))
    }

    /// The gated layer of `gate.weight` and `up.weight`.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape, or only one has a bias.
    pub(crate) fn gated(&self, gate: &str, up: &str, inputs: usize, outputs: usize) -> Result<Linear> {
        let half = |name| self.dense(name, inputs, outputs);
        Linear::gated(self.device, half(gate)?, half(up)?).map_err(|error| self.unusable(error))
    }

    /// The gated layer whose halves are stacked in `name.weight`.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape.
    pub(crate) fn gated_halves(
        &self,
        name: &str,
        gate: Gate,
        inputs: usize,
        outputs: usize,
    ) -> Result<Linear> {
        let here = self.at(name);
        let (weight, bias) = self.dense(name, inputs, 2 * outputs)?;
        let half = |first| {
            let of = |x: &Tensor| x.narrow(0, first, outputs).map_err(of_candle);
            Ok::<_, Error>((of(&weight)?, bias.as_ref().map(of).transpose()?))
        };
        let (first, second) = (half(0)?, half(outputs)?);
        let (gate, up) = if gate == Gate::First { (first, second) } else { (second, first) };
        Linear::gated(self.device, gate, up).map_err(|error| here.unusable(error))
    }

    /// The layer of tensors that have other names or were reordered.
    ///
    /// # Errors
    /// `model_load` if weight and bias do not belong together.
    pub(crate) fn linear_of(&self, weights: DenseWeights) -> Result<Linear> {
        self.linear_in(self.device.precision, weights)
    }

    /// [`linear_of`](Self::linear_of) in a precision of its own.
    ///
    /// # Errors
    /// `model_load` if weight and bias do not belong together.
    pub(crate) fn linear_in(&self, precision: Precision, weights: DenseWeights) -> Result<Linear> {
        let layer = Linear::new(&self.device.with_precision(precision), weights);
        layer.map_err(|error| self.unusable(error))
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
        let (table, range, dtype) = here.stored("weight", &[count, width])?.resident()?;
        Embedding::new(self.device, table, range, dtype, [count, width]).map_err(|error| here.unusable(error))
    }

    fn bias(&self, name: &str, width: usize) -> Result<Option<Tensor>> {
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

    fn full(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_owned() } else { format!("{}.{name}", self.prefix) }
    }

    /// The error of a layer, as one of the weights.
    fn unusable(&self, error: Error) -> Error {
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
    use crate::local::ops;
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
