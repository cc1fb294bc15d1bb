//! Layers of the weights of a model.

use candle_core::Tensor;

use super::load_error;
use super::parameters::{Parameters, Storage};
use super::quantise::{formats_of_rows, quantise};
use super::tensor::StoredTensor;
use crate::error::{Error, Result};
use crate::local::ops::{
    Conv2d, DenseWeights, Format, Gate, Geometry, LayerWeights, Linear, Precision, Window, of_candle,
};

/// One or several layers with the same input, in rows of one format.
struct Rows {
    format: Format,
    parts: Vec<RowBytes>,
    outputs: usize,
    biases: Vec<Tensor>,
}

/// The rows of one layer.
pub(super) enum RowBytes {
    Stored(StoredTensor),
    Made(Vec<u8>),
}

impl RowBytes {
    pub(super) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Stored(stored) => stored.stored_bytes(),
            Self::Made(bytes) => bytes,
        }
    }
}

/// The weights of a layer: where the file holds them, or made of that.
enum Source {
    /// Plain numbers, which the CPU's kernels pack from there.
    Stored(StoredTensor),
    Made(Tensor),
}

impl Source {
    /// As the kernels read it, where the file holds it.
    fn layer_weights(&self) -> Option<LayerWeights<'_>> {
        match self {
            Self::Stored(stored) => stored.layer_weights(),
            Self::Made(_) => None,
        }
    }

    fn tensor(self) -> Result<Tensor> {
        match self {
            Self::Stored(stored) => stored.to_tensor(&candle_core::Device::Cpu),
            Self::Made(tensor) => Ok(tensor),
        }
    }

    /// Its first or second half of rows.
    fn half(&self, number: usize) -> Result<Self> {
        match self {
            Self::Stored(stored) => stored
                .part(number, 2)
                .map(Self::Stored)
                .ok_or_else(|| load_error("a gated layer with an odd number of outputs")),
            Self::Made(tensor) => {
                let rows = tensor.dims().first().copied().unwrap_or(0) / 2;
                tensor.narrow(0, number * rows, rows).map(Self::Made).map_err(of_candle)
            }
        }
    }

    /// Gives back the pages of what was packed.
    fn release(&self) {
        if let Self::Stored(stored) = self {
            stored.release();
        }
    }
}

/// Weights as the kernels read them from where the file holds them, if it holds all.
fn layer_weights(sources: &[Source]) -> Option<Vec<LayerWeights<'_>>> {
    sources.iter().map(Source::layer_weights).collect()
}

impl Parameters<'_> {
    /// The layer `name.weight`, with `name.bias` where there is one.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape.
    pub(crate) fn linear(&self, name: &str, inputs: usize, outputs: usize) -> Result<Linear> {
        self.fused(&[(name, outputs)], inputs)
    }

    /// The layers whose weights are multiplied in a format of GGUF, neighbours of one format joined. `None` if some are not.
    fn rows(&self, parts: &[(&str, usize)], inputs: usize) -> Result<Option<Vec<Rows>>> {
        if self.storage == Storage::Precision {
            return Ok(None);
        }
        let mut all: Vec<Rows> = Vec::new();
        for (name, outputs) in parts {
            let here = self.at(name);
            let stored = here.find("weight", &[*outputs, inputs])?;
            let Some((format, bytes)) = self.rows_of(stored)? else { return Ok(None) };
            let bias = here.bias("bias", *outputs)?;
            let is_alike =
                |last: &&mut Rows| last.format == format && last.biases.is_empty() == bias.is_none();
            match all.last_mut().filter(is_alike) {
                Some(last) => {
                    last.parts.push(bytes);
                    last.outputs += outputs;
                    last.biases.extend(bias);
                }
                None => {
                    let biases = bias.into_iter().collect();
                    all.push(Rows { format, parts: vec![bytes], outputs: *outputs, biases });
                }
            }
        }
        Ok(Some(all))
    }

    /// The rows of a tensor in a format of GGUF: the file's, or made here. `None` if they are to be plain numbers.
    pub(super) fn rows_of(&self, stored: StoredTensor) -> Result<Option<(Format, RowBytes)>> {
        let inputs = stored.shape().last().copied().unwrap_or_default();
        if let Storage::Quantised(wanted) = self.storage
            && !stored.is_quantised()
        {
            for format in formats_of_rows(wanted, inputs) {
                if let Some(bytes) = quantise(&stored, format, &self.device.cpu)? {
                    return Ok(Some((format, RowBytes::Made(bytes))));
                }
            }
        }
        let format = stored.blocks().map(|(format, _)| format).filter(|format| self.keeps(*format));
        Ok(format.map(|format| (format, RowBytes::Stored(stored))))
    }

    /// Whether layers hold weights of this format as they are. On a GPU, and where the CPU multiplies in bf16, plain
    /// numbers are faster in the precision of the device.
    fn keeps(&self, format: Format) -> bool {
        let is_plain = matches!(format, Format::F16 | Format::Bf16);
        !is_plain || self.device.is_cpu() && self.device.precision == Precision::F32
    }

    fn linear_of_rows(&self, rows: Vec<Rows>, inputs: usize) -> Result<Linear> {
        let layer = |Rows { format, parts, outputs, biases }: Rows| {
            let bias = match biases.as_slice() {
                [] => None,
                biases => Some(Tensor::cat(biases, 0).map_err(of_candle)?),
            };
            let bytes: Vec<&[u8]> = parts.iter().map(RowBytes::as_slice).collect();
            Linear::blocks(self.device, format, &bytes, [outputs, inputs], bias.as_ref())
                .map_err(|error| self.unusable(error))
        };
        let mut layers = rows.into_iter().map(layer).collect::<Result<Vec<_>>>()?;
        match (layers.len(), layers.pop()) {
            (1, Some(only)) => Ok(only),
            (_, last) => {
                layers.extend(last);
                Linear::stacked(layers).map_err(|error| self.unusable(error))
            }
        }
    }

    /// Weight and bias of the layer `name`.
    fn dense(&self, name: &str, inputs: usize, outputs: usize) -> Result<(Source, Option<Tensor>)> {
        let here = self.at(name);
        Ok((here.source("weight", &[outputs, inputs])?, here.bias("bias", outputs)?))
    }

    /// Several layers with the same input as one, their outputs side by side: queries, keys and values.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape, or only some have a bias.
    pub(crate) fn fused(&self, parts: &[(&str, usize)], inputs: usize) -> Result<Linear> {
        let here = if let [(name, _)] = parts { self.at(name) } else { self.clone() };
        if let Some(rows) = self.rows(parts, inputs)? {
            return here.linear_of_rows(rows, inputs);
        }
        let mut biases = Vec::new();
        for (name, outputs) in parts {
            biases.extend(self.at(name).bias("bias", *outputs)?);
        }
        if !biases.is_empty() && biases.len() != parts.len() {
            return Err(
                here.unusable(Error::config("some of the fused layers have a bias and some have none"))
            );
        }
        let bias = if biases.is_empty() { None } else { Some(Tensor::cat(&biases, 0).map_err(of_candle)?) };
        let source = |(name, outputs): &(&str, usize)| self.at(name).source("weight", &[*outputs, inputs]);
        let sources = parts.iter().map(source).collect::<Result<Vec<_>>>()?;
        let outputs = parts.iter().map(|(_, outputs)| outputs).sum();
        here.linear_of_sources(sources, [outputs, inputs], bias)
    }

    /// The layer of sources one after another.
    fn linear_of_sources(
        &self,
        sources: Vec<Source>,
        [outputs, inputs]: [usize; 2],
        bias: Option<Tensor>,
    ) -> Result<Linear> {
        let Some(weights) = layer_weights(&sources) else {
            let weights = sources.into_iter().map(Source::tensor).collect::<Result<Vec<_>>>()?;
            let weight = Tensor::cat(&weights, 0).and_then(|weight| weight.reshape((outputs, inputs)));
            return self.linear_of((weight.map_err(of_candle)?, bias));
        };
        let all = LayerWeights::Stacked(&weights);
        let layer = Linear::packed(self.device, all, [outputs, inputs], bias.as_ref());
        sources.iter().for_each(Source::release);
        layer.map_err(|error| self.unusable(error))
    }

    /// The gated layer of `gate.weight` and `up.weight`.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape, or only one has a bias.
    pub(crate) fn gated(&self, gate: &str, up: &str, inputs: usize, outputs: usize) -> Result<Linear> {
        if let Some(mut rows) = self.rows(&[(gate, outputs), (up, outputs)], inputs)? {
            let ups = if rows.len() > 1 { rows.pop() } else { None };
            let gates = self.linear_of_rows(rows, inputs)?;
            let layer = match ups {
                Some(ups) => Linear::gated_by(gates, self.linear_of_rows(vec![ups], inputs)?),
                None => Linear::gated_halves(gates),
            };
            return layer.map_err(|error| self.unusable(error));
        }
        let half = |name| self.dense(name, inputs, outputs);
        self.gated_of([half(gate)?, half(up)?], [outputs, inputs])
    }

    /// The gated layer of two halves of a shape.
    fn gated_of(&self, halves: [(Source, Option<Tensor>); 2], sizes: [usize; 2]) -> Result<Linear> {
        let [(gate, of_gate), (up, of_up)] = halves;
        let sources = [gate, up];
        let layer = if let Some(&[gate, up]) = layer_weights(&sources).as_deref()
            && of_gate.is_some() == of_up.is_some()
        {
            let biases = of_gate.as_ref().zip(of_up.as_ref());
            let layer = Linear::packed_gated(self.device, [gate, up], sizes, biases);
            sources.iter().for_each(Source::release);
            layer
        } else {
            let [gate, up] = sources;
            Linear::gated(self.device, (gate.tensor()?, of_gate), (up.tensor()?, of_up))
        };
        layer.map_err(|error| self.unusable(error))
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
        if gate == Gate::First
            && let Some(rows) = self.rows(&[(name, 2 * outputs)], inputs)?
        {
            let layer = here.linear_of_rows(rows, inputs)?;
            return Linear::gated_halves(layer).map_err(|error| here.unusable(error));
        }
        let (weight, bias) = self.dense(name, inputs, 2 * outputs)?;
        let half = |number| {
            let bias = bias.as_ref().map(|bias| bias.narrow(0, number * outputs, outputs));
            Ok::<_, Error>((weight.half(number)?, bias.transpose().map_err(of_candle)?))
        };
        let (first, second) = (half(0)?, half(1)?);
        let halves = if gate == Gate::First { [first, second] } else { [second, first] };
        here.gated_of(halves, [outputs, inputs])
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

    /// The convolution `name.weight` over square windows, with `name.bias` where there is one.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape.
    pub(crate) fn conv(
        &self,
        name: &str,
        [inputs, outputs]: [usize; 2],
        window: usize,
        geometry: Geometry,
    ) -> Result<Conv2d> {
        self.conv_in(self.device.precision, name, [inputs, outputs], window, geometry)
    }

    /// The same in another precision.
    ///
    /// # Errors
    /// As [`conv`](Self::conv).
    pub(crate) fn conv_in(
        &self,
        precision: Precision,
        name: &str,
        [inputs, outputs]: [usize; 2],
        window: usize,
        geometry: Geometry,
    ) -> Result<Conv2d> {
        let here = self.at(name);
        let source = here.source("weight", &[outputs, inputs, window, window])?;
        let bias = here.bias("bias", outputs)?;
        let device = self.device.with_precision(precision);
        let layer = if let Some(weights) = source.layer_weights() {
            let window = Window { outputs, inputs, height: window, width: window };
            let layer = Conv2d::packed(&device, weights, window, geometry, bias.as_ref());
            source.release();
            layer
        } else {
            Conv2d::new(&device, source.tensor()?, bias, geometry)
        };
        layer.map_err(|error| here.unusable(error))
    }

    /// A layer over single pixels, which some files store as a convolution with windows of one pixel.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape.
    pub(crate) fn pointwise(&self, name: &str, inputs: usize, outputs: usize) -> Result<Linear> {
        if self.at(name).shape("weight").map(<[usize]>::len) != Some(4) {
            return self.linear(name, inputs, outputs);
        }
        let here = self.at(name);
        let (source, bias) = (here.source("weight", &[outputs, inputs, 1, 1])?, here.bias("bias", outputs)?);
        here.linear_of_sources(vec![source], [outputs, inputs], bias)
    }

    /// The weight of such a layer as a matrix.
    pub(crate) fn pointwise_weight(&self, inputs: usize, outputs: usize) -> Result<Tensor> {
        match self.weights.shape(&self.full("weight")).map(<[usize]>::len) {
            Some(4) => {
                self.tensor("weight", &[outputs, inputs, 1, 1])?.reshape((outputs, inputs)).map_err(of_candle)
            }
            _ => self.tensor("weight", &[outputs, inputs]),
        }
    }

    /// A layer's weights of this shape: where the file holds them if the kernels can pack them from there.
    fn source(&self, name: &str, shape: &[usize]) -> Result<Source> {
        let is_packable = self.device.is_cpu()
            && !self.weights.has_deltas_of(&self.full(name))
            && self.stored_tensor(name, shape)?.layer_weights().is_some();
        match is_packable {
            true => self.find(name, shape).map(Source::Stored),
            false => self.tensor(name, shape).map(Source::Made),
        }
    }
}
