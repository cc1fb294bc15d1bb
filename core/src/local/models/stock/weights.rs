//! The weights of a model as candle asks for them: read once, in f32, and shared by the states of all texts.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::{DType, Device as CandleDevice, Error, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;

use crate::local::ops::Device;
use crate::local::weights::{Parameters, Weights};

/// The layer from states to logits, where it is a layer of its own.
const OUTPUT: &str = "lm_head.weight";

pub(super) struct SharedWeights {
    weights: Weights,
    device: Device,
    /// The table of tokens, where it is the output layer too.
    tied: Option<&'static str>,
    read: Mutex<HashMap<String, Tensor>>,
}

impl SharedWeights {
    pub(super) fn new(weights: &Weights, device: &Device, tied: Option<&'static str>) -> Self {
        Self { weights: weights.clone(), device: device.clone(), tied, read: Mutex::default() }
    }

    /// The name in the file.
    fn stored<'a>(&self, name: &'a str) -> &'a str {
        match self.tied {
            Some(table) if name == OUTPUT && !self.weights.has(OUTPUT) => table,
            _ => name,
        }
    }
}

impl SimpleBackend for SharedWeights {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &CandleDevice) -> Result<Tensor> {
        let name = self.stored(name);
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tensor) = read.get(name).filter(|tensor| tensor.shape() == &shape) {
            return Ok(tensor.clone());
        }
        let tensor = Parameters::new(&self.weights, &self.device).tensor(name, shape.dims());
        let tensor = tensor.map_err(|error| Error::Msg(error.message().to_owned()))?;
        let tensor = tensor.to_dtype(dtype)?.to_device(device)?;
        read.insert(name.to_owned(), tensor.clone());
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &CandleDevice) -> Result<Tensor> {
        let shape = self.weights.shape(self.stored(name)).map(<[usize]>::to_vec);
        let shape = shape.ok_or_else(|| Error::Msg(format!("the weights have no tensor `{name}`")))?;
        self.get(Shape::from(shape), name, Init::Const(0.0), dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.weights.has(self.stored(name))
    }
}
