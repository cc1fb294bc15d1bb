//! Layers with the weights of GGUF files.

use std::borrow::Cow;
use std::sync::Arc;

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{DType, Device, Module, Tensor};

use super::Place;
use super::linear::{Epilogue, result_dims, vector};
use super::tensor::{OrFail, expect, filled, with_values};
use crate::error::{Error, Result};
use ayni_kernels::Cpu;
use ayni_kernels::elementwise;
use ayni_kernels::gguf::{Format, QuantisedWeights};

/// `x · wᵀ + bias` with weights as a GGUF file has them. Cheap to clone: clones share the weights.
#[derive(Clone, Debug)]
pub struct QuantisedLinear {
    inputs: usize,
    outputs: usize,
    weights: Held,
}

#[derive(Clone, Debug)]
enum Held {
    /// On the CPU, in the order for multiplying. The file's bytes are not kept.
    OnCpu(Cpu, Arc<QuantisedWeights>, Option<Arc<Vec<f32>>>),
    /// On a GPU, as candle holds them; the bias in f32.
    OnGpu(QMatMul, Option<Tensor>),
}

impl QuantisedLinear {
    /// Takes the bytes of a tensor of a GGUF file: `outputs` rows of `inputs` weights.
    ///
    /// # Errors
    /// `invalid_request` if rows are not whole blocks of the format, or bytes or bias have another size.
    pub fn new(
        place: &Place,
        format: Format,
        bytes: &[u8],
        [outputs, inputs]: [usize; 2],
        bias: Option<Tensor>,
    ) -> Result<Self> {
        if let Some(bias) = &bias {
            expect("the bias of a linear layer", bias, &[outputs])?;
        }
        let weights = match place.device {
            Device::Cpu => {
                let weights =
                    QuantisedWeights::from_ggml(&place.cpu, format, bytes, outputs, inputs).or_fail()?;
                let bias = bias.map(|bias| vector(&bias)).transpose()?;
                Held::OnCpu(place.cpu.clone(), Arc::new(weights), bias.map(Arc::new))
            }
            _ => {
                let wanted = format.bytes(outputs, inputs).or_fail()?;
                if bytes.len() != wanted {
                    let found = bytes.len();
                    return Err(Error::invalid_request(format!(
                        "the weights take {wanted} bytes, not {found}"
                    )));
                }
                let bias = bias.map(|bias| {
                    bias.to_dtype(DType::F32).and_then(|bias| bias.to_device(&place.device)).or_fail()
                });
                Held::OnGpu(on_device(&place.device, format, bytes, [outputs, inputs])?, bias.transpose()?)
            }
        };
        Ok(Self { inputs, outputs, weights })
    }

    /// How long the last dimension of what goes in is.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// How long the last dimension of what comes out is.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Applies the layer.
    ///
    /// # Errors
    /// `invalid_request` if the last dimension is not [`inputs`](Self::inputs).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.forward_with(x, Epilogue::default())
    }

    /// Applies the layer and what follows it.
    ///
    /// # Errors
    /// `invalid_request` if the last dimension is not [`inputs`](Self::inputs), or the residual has another shape than
    /// the result.
    pub fn forward_with(&self, x: &Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        let (count, dims) = result_dims(x, self.inputs, self.outputs, epilogue.residual)?;
        match &self.weights {
            Held::OnCpu(cpu, weights, bias) => with_values("the input", x, |values| {
                filled(dims, |to| {
                    weights.matmul(cpu, values, count, to).or_fail()?;
                    if let Some(bias) = bias {
                        elementwise::add_row(cpu, to, bias).or_fail()?;
                    }
                    elementwise::activate(cpu, to, epilogue.activation);
                    if epilogue.scale != 1.0 {
                        elementwise::scale(cpu, to, epilogue.scale);
                    }
                    match epilogue.residual {
                        Some(residual) => with_values("the residual", residual, |residual| {
                            elementwise::add_assign(cpu, to, residual).or_fail()
                        }),
                        None => Ok(()),
                    }
                })
            }),
            Held::OnGpu(weights, bias) => {
                // candle's quantised kernels take and give f32.
                let wide = x.to_dtype(DType::F32).and_then(|x| x.contiguous()).or_fail()?;
                let sums = weights.forward(&wide).or_fail()?;
                let sums = match bias {
                    Some(bias) => sums.broadcast_add(bias).or_fail()?,
                    None => sums,
                };
                epilogue.plain(&sums.to_dtype(x.dtype()).or_fail()?, None)
            }
        }
    }

    /// The memory that the weights take on the CPU; `None` on a GPU.
    pub fn bytes(&self) -> Option<usize> {
        match &self.weights {
            Held::OnCpu(_, weights, _) => Some(weights.bytes()),
            Held::OnGpu(..) => None,
        }
    }
}

/// A table of embeddings with the weights of a GGUF file; widened a row at a time.
#[derive(Clone, Debug)]
pub struct QuantisedEmbedding {
    width: usize,
    rows: Rows,
}

#[derive(Clone, Debug)]
enum Rows {
    OnCpu(Arc<QuantisedWeights>),
    OnGpu(Tensor),
}

impl QuantisedEmbedding {
    /// Takes the bytes of a tensor of a GGUF file: `count` rows of `width` numbers.
    ///
    /// # Errors
    /// `invalid_request` if rows are not whole blocks of the format, or there are not so many bytes.
    pub fn new(place: &Place, format: Format, bytes: &[u8], [count, width]: [usize; 2]) -> Result<Self> {
        let rows = match place.device {
            Device::Cpu => Rows::OnCpu(Arc::new(
                QuantisedWeights::from_ggml(&place.cpu, format, bytes, count, width).or_fail()?,
            )),
            _ => {
                let mut values = vec![0.0; count * width];
                format.dequantise(bytes, &mut values).or_fail()?;
                let table = Tensor::from_vec(values, (count, width), &Device::Cpu);
                let moved = table.and_then(|table| table.to_dtype(place.dtype())?.to_device(&place.device));
                Rows::OnGpu(moved.or_fail()?)
            }
        };
        Ok(Self { width, rows })
    }

    /// The rows with these numbers: `[token, width]`.
    ///
    /// # Errors
    /// `invalid_request` if there is no such row.
    pub fn forward(&self, tokens: &[u32]) -> Result<Tensor> {
        match &self.rows {
            Rows::OnCpu(table) => filled((tokens.len(), self.width), |to| {
                let mut rows = to.chunks_exact_mut(self.width.max(1)).zip(tokens);
                rows.try_for_each(|(to, token)| table.dequantise_row(*token as usize, to)).or_fail()
            }),
            Rows::OnGpu(table) => {
                let count = table.dims()[0];
                if let Some(token) = tokens.iter().find(|token| **token as usize >= count) {
                    return Err(Error::invalid_request(format!("there is no row {token} of {count}")));
                }
                Tensor::new(tokens, table.device())
                    .and_then(|tokens| table.index_select(&tokens, 0))
                    .or_fail()
            }
        }
    }

    /// The same weights as the layer that turns states into scores of tokens, where a model ties them.
    pub fn as_linear(&self, place: &Place) -> QuantisedLinear {
        let (weights, outputs) = match &self.rows {
            Rows::OnCpu(table) => (Held::OnCpu(place.cpu.clone(), Arc::clone(table), None), table.outputs()),
            Rows::OnGpu(table) => (Held::OnGpu(QMatMul::Tensor(table.clone()), None), table.dims()[0]),
        };
        QuantisedLinear { inputs: self.width, outputs, weights }
    }
}

/// The weights as candle multiplies them.
fn on_device(device: &Device, format: Format, bytes: &[u8], shape: [usize; 2]) -> Result<QMatMul> {
    let dtype = match format {
        Format::F16 => GgmlDType::F16,
        Format::Bf16 => GgmlDType::BF16,
        Format::Q4_0 => GgmlDType::Q4_0,
        Format::Q4_1 => GgmlDType::Q4_1,
        Format::Q5_0 => GgmlDType::Q5_0,
        Format::Q5_1 => GgmlDType::Q5_1,
        Format::Q8_0 => GgmlDType::Q8_0,
        Format::Q2K => GgmlDType::Q2K,
        Format::Q3K => GgmlDType::Q3K,
        Format::Q4K => GgmlDType::Q4K,
        Format::Q5K => GgmlDType::Q5K,
        Format::Q6K => GgmlDType::Q6K,
        _ => return Err(Error::unsupported(format!("{} weights are not computed on a GPU", format.name()))),
    };
    let storage = QStorage::from_data(Cow::Borrowed(bytes), device, dtype).or_fail()?;
    let weights = QTensor::new(storage, (shape[0], shape[1])).or_fail()?;
    QMatMul::from_arc(Arc::new(weights)).or_fail()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_near, noise, numbers, places};
    use super::*;
    use crate::error::ErrorKind;
    use ayni_kernels::math::Activation;

    /// Weights quantised by candle: the file's bytes, and what they stand for.
    fn quantised(dtype: GgmlDType, dims: [usize; 2]) -> (Vec<u8>, Tensor) {
        let tensor = QTensor::quantize(&noise(&dims), dtype).unwrap();
        (tensor.data().unwrap().to_vec(), tensor.dequantize(&Device::Cpu).unwrap())
    }

    const FORMATS: [(Format, GgmlDType); 4] = [
        (Format::Q4_0, GgmlDType::Q4_0),
        (Format::Q5_1, GgmlDType::Q5_1),
        (Format::Q8_0, GgmlDType::Q8_0),
        (Format::Q6K, GgmlDType::Q6K),
    ];

    #[test]
    fn files_multiply_as_their_widened_weights_do() {
        let (x, residual, bias) = (noise(&[3, 256]), noise(&[3, 35]), noise(&[35]));
        let epilogue = Epilogue { activation: Activation::Silu, scale: 0.5, residual: Some(&residual) };
        for (format, dtype) in FORMATS {
            let (bytes, weights) = quantised(dtype, [35, 256]);
            let sums = x.matmul(&weights.t().unwrap()).unwrap().broadcast_add(&bias).unwrap();
            let truth = epilogue.plain(&sums, None).unwrap();
            for place in places() {
                let layer =
                    QuantisedLinear::new(&place, format, &bytes, [35, 256], Some(bias.clone())).unwrap();
                // Activations are rounded to 8 bits.
                let ours = layer.forward_with(&x, epilogue).unwrap();
                assert_near(&ours, &truth, 0.05, &format!("{format:?}"));
                assert!(layer.bytes().is_some_and(|found| found >= bytes.len()));
            }
        }
    }

    #[test]
    fn rows_of_a_table_are_exactly_what_the_file_says() {
        for (format, dtype) in FORMATS {
            let (bytes, weights) = quantised(dtype, [40, 256]);
            for place in places() {
                let table = QuantisedEmbedding::new(&place, format, &bytes, [40, 256]).unwrap();
                let rows = table.forward(&[39, 0, 7]).unwrap();
                for (row, token) in [39, 0, 7].into_iter().enumerate() {
                    let truth = numbers(&weights.narrow(0, token, 1).unwrap());
                    assert_eq!(numbers(&rows.narrow(0, row, 1).unwrap()), truth, "{format:?}");
                }
                assert_eq!(table.forward(&[40]).unwrap_err().kind(), ErrorKind::InvalidRequest);
                let x = noise(&[2, 256]);
                let layer = QuantisedLinear::new(&place, format, &bytes, [40, 256], None).unwrap();
                let tied = table.as_linear(&place).forward(&x).unwrap();
                assert_near(&tied, &layer.forward(&x).unwrap(), 0.0, "tied");
            }
        }
    }

    #[test]
    fn candle_holds_the_same_weights_where_we_use_its_layers() {
        let x = noise(&[3, 256]);
        for (format, dtype) in FORMATS {
            let (bytes, weights) = quantised(dtype, [35, 256]);
            let layer = on_device(&Device::Cpu, format, &bytes, [35, 256]).unwrap();
            let truth = x.matmul(&weights.t().unwrap()).unwrap();
            assert_near(&layer.forward(&x).unwrap(), &truth, 0.15, &format!("{format:?}"));
        }
    }

    #[test]
    fn bytes_and_shapes_that_do_not_belong_together_are_errors() {
        let place = places().remove(0);
        let (bytes, _) = quantised(GgmlDType::Q8_0, [4, 32]);
        let layer = QuantisedLinear::new(&place, Format::Q8_0, &bytes, [4, 32], None).unwrap();
        for error in [
            layer.forward(&noise(&[1, 31])).unwrap_err(),
            QuantisedLinear::new(&place, Format::Q8_0, &bytes, [5, 32], None).unwrap_err(),
            QuantisedLinear::new(&place, Format::Q8_0, &bytes, [4, 32], Some(noise(&[5]))).unwrap_err(),
            QuantisedEmbedding::new(&place, Format::Q8_0, &bytes, [4, 33]).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        }
    }
}
