use candle_core::DType;
use candle_core::quantized::{GgmlDType, QTensor};

use super::super::testing::{Noise, assert_near, devices, noise, on_gpu};
use super::*;
use crate::error::ErrorKind;
use crate::local::ops::Precision;

/// How far results may be off in a precision, for some hundred inputs between -1 and 1.
fn bar(precision: Precision) -> f32 {
    match precision {
        Precision::F32 | Precision::Bf16x3 => 2e-4,
        Precision::Bf16 => 0.15,
        Precision::Int8 => 0.3,
    }
}

fn weights(weight: &Noise, bias: Option<&Noise>) -> DenseWeights {
    (weight.weight(), bias.map(Noise::weight))
}

/// What a layer of the same weights computes on a GPU.
fn truth(x: &Noise, weight: &Noise, bias: Option<&Noise>) -> Tensor {
    Linear::new(&on_gpu(), weights(weight, bias)).unwrap().forward(x.tensor(&on_gpu())).unwrap()
}

#[test]
fn every_precision_is_near_the_product_that_candle_computes() {
    let (x, weight, bias) = (noise(&[2, 5, 131], 1.0), noise(&[77, 131], 1.0), noise(&[77], 1.0));
    let truth = truth(&x, &weight, Some(&bias));
    for device in devices() {
        for &precision in Precision::of(device.cpu.isa) {
            let layer =
                Linear::new(&device.with_precision(precision), weights(&weight, Some(&bias))).unwrap();
            assert_eq!((layer.inputs(), layer.outputs()), (131, 77));
            let what = format!("{} {}", device.cpu.isa, precision.name());
            assert_near(&layer.forward(x.tensor(&device)).unwrap(), &truth, bar(precision), &what);
        }
    }
}

#[test]
fn a_first_half_of_outputs_gates_the_second() {
    let (x, weight) = (noise(&[3, 64], 1.0), noise(&[40, 64], 1.0));
    let epilogue = |device: &Device| Epilogue {
        activation: Activation::Silu,
        scale: 0.5,
        residual: Some(noise(&[3, 20], 1.0).tensor(device)),
    };
    for device in devices().into_iter().chain([on_gpu()]) {
        let half = |first: usize| weight.weight().narrow(0, first, 20).unwrap().contiguous().unwrap();
        let truth = Linear::gated(&device, (half(0), None), (half(20), None)).unwrap();
        let truth = truth.forward_with(x.tensor(&device), epilogue(&device)).unwrap();
        let layer = Linear::gated_halves(Linear::new(&device, weights(&weight, None)).unwrap()).unwrap();
        assert_eq!((layer.inputs(), layer.outputs()), (64, 20));
        let found = layer.forward_with(x.tensor(&device), epilogue(&device)).unwrap();
        assert_near(&found, &truth, 2e-4, "halves");
        let odd = Linear::new(&device, weights(&noise(&[3, 64], 1.0), None)).unwrap();
        assert!(Linear::gated_halves(odd).is_err());
    }
}

#[test]
fn what_follows_is_fused_and_means_what_candle_computes() {
    let (x, weight, residual) = (noise(&[3, 64], 1.0), noise(&[40, 64], 1.0), noise(&[3, 40], 1.0));
    let of = |device: &Device, held: &mut Vec<Tensor>| {
        let residual = residual.tensor(device);
        held.push(residual.clone());
        let epilogue = Epilogue { activation: Activation::Gelu, scale: 0.5, residual: Some(residual) };
        Linear::new(device, weights(&weight, None)).unwrap().forward_with(x.tensor(device), epilogue).unwrap()
    };
    let truth = of(&on_gpu(), &mut Vec::new());
    for device in devices() {
        let mut held = Vec::new();
        let ours = of(&device, &mut held);
        assert_near(&ours, &truth, 1e-4, "epilogue");
        assert_near(
            &held[0],
            &residual.tensor(&device),
            0.0,
            "a residual that somebody holds stays as it is",
        );
        assert_near(&of(&device, &mut Vec::new()), &ours, 0.0, "in the residual's memory");
    }
}

#[test]
fn a_gated_layer_gates_with_its_first_half() {
    let (x, gate, up) = (noise(&[3, 64], 1.0), noise(&[33, 64], 1.0), noise(&[33, 64], 0.7));
    let (gate_bias, up_bias) = (noise(&[33], 1.0), noise(&[33], -1.0));
    let halves = || [weights(&gate, Some(&gate_bias)), weights(&up, Some(&up_bias))];
    let apply = |layer: &Linear, device: &Device| {
        layer.forward_with(x.tensor(device), Epilogue::activation(Activation::Silu)).unwrap()
    };
    let of = |device: &Device| {
        let [gate, up] = halves();
        apply(&Linear::gated(device, gate, up).unwrap(), device)
    };
    for device in devices() {
        assert_near(&of(&device), &of(&on_gpu()), 1e-3, "gated");
        let [gate, up] = halves().map(|half| Linear::new(&device, half).unwrap());
        assert_near(
            &apply(&Linear::gated_by(gate, up).unwrap(), &device),
            &of(&device),
            1e-4,
            "of two layers",
        );
    }
}

#[test]
fn stacked_layers_have_their_outputs_side_by_side() {
    let (x, first, second) = (noise(&[3, 64], 1.0), noise(&[33, 64], 1.0), noise(&[7, 64], 0.7));
    let both = Noise::stacked(&first, &second);
    for device in devices().into_iter().chain([on_gpu()]) {
        let layer = |noise: &Noise| Linear::new(&device, weights(noise, None)).unwrap();
        let stacked = Linear::stacked(vec![layer(&first), layer(&second)]).unwrap();
        assert_eq!(stacked.outputs(), 40);
        let epilogue = || Epilogue::activation(Activation::Relu);
        let found = stacked.forward_with(x.tensor(&device), epilogue()).unwrap();
        let truth = layer(&both).forward_with(x.tensor(&device), epilogue()).unwrap();
        assert_near(&found, &truth, 1e-5, "stacked");
        let narrow = Linear::new(&device, weights(&noise(&[5, 6], 1.0), None)).unwrap();
        assert!(Linear::stacked(vec![layer(&first), narrow]).is_err());
    }
    assert!(Linear::stacked(Vec::new()).is_err());
}

#[test]
fn weights_of_16_bits_are_packed_as_they_are() {
    let (x, weight) = (noise(&[4, 48], 1.0), noise(&[32, 48], 1.0).weight());
    for dtype in [DType::F16, DType::BF16, DType::F64] {
        let weight = weight.to_dtype(dtype).unwrap();
        let of = |device: &Device| {
            Linear::new(device, (weight.clone(), None)).unwrap().forward(x.tensor(device)).unwrap()
        };
        for device in devices() {
            assert_near(&of(&device), &of(&on_gpu()), 1e-4, dtype.as_str());
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_a_batch() {
    let (x, weight) = (noise(&[9, 65], 1.0), noise(&[50, 65], 1.0));
    for device in devices() {
        for &precision in Precision::of(device.cpu.isa) {
            let layer = Linear::new(&device.with_precision(precision), weights(&weight, None)).unwrap();
            let x = x.tensor(&device);
            let batch = layer.forward(&x).unwrap();
            for row in 0..9 {
                let alone = layer.forward(x.narrow(0, row, 1).unwrap()).unwrap();
                assert_near(&alone, &batch.narrow(0, row, 1).unwrap(), 0.0, precision.name());
            }
        }
    }
}

#[test]
fn shapes_that_do_not_belong_together_are_errors() {
    let device = &devices()[0];
    let of = |dims: &[usize]| noise(dims, 1.0);
    let layer = Linear::new(device, weights(&of(&[5, 6]), None)).unwrap();
    let [tall, wide] = [weights(&of(&[6, 6]), None), weights(&of(&[5, 6]), None)];
    for error in [
        layer.forward(of(&[2, 5]).tensor(device)).unwrap_err(),
        layer
            .forward_with(of(&[2, 6]).tensor(device), Epilogue::residual(of(&[2, 6]).tensor(device)))
            .unwrap_err(),
        Linear::new(device, weights(&of(&[5, 6]), Some(&of(&[6])))).unwrap_err(),
        Linear::new(device, weights(&of(&[5]), None)).unwrap_err(),
        Linear::gated(device, wide.clone(), tall.clone()).unwrap_err(),
        Linear::gated(device, wide, weights(&of(&[5, 6]), Some(&of(&[5])))).unwrap_err(),
        Linear::gated_by(layer, Linear::new(device, tall).unwrap()).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    }
}

#[test]
fn no_rows_give_no_rows() {
    for device in [devices().remove(0), on_gpu()] {
        let layer = Linear::new(&device, weights(&noise(&[5, 6], 1.0), None)).unwrap();
        let none = Tensor::from_vec(&device, Vec::new(), [0, 6]).unwrap();
        assert_eq!(layer.forward(none).unwrap().dims(), [0, 5]);
    }
}

/// Weights quantised by candle: the file's bytes, and what they stand for.
fn quantised(dtype: GgmlDType, dims: [usize; 2]) -> (Vec<u8>, candle_core::Tensor) {
    let tensor = QTensor::quantize(&noise(&dims, 1.0).weight(), dtype).unwrap();
    (tensor.data().unwrap().to_vec(), tensor.dequantize(&candle_core::Device::Cpu).unwrap())
}

const FORMATS: [(Format, GgmlDType); 4] = [
    (Format::Q4_0, GgmlDType::Q4_0),
    (Format::Q5_1, GgmlDType::Q5_1),
    (Format::Q8_0, GgmlDType::Q8_0),
    (Format::Q6K, GgmlDType::Q6K),
];

#[test]
fn blocks_multiply_as_their_widened_weights_do() {
    let (x, residual, bias) = (noise(&[3, 256], 1.0), noise(&[3, 35], 1.0), noise(&[35], 1.0).weight());
    for (format, dtype) in FORMATS {
        let (bytes, widened) = quantised(dtype, [35, 256]);
        let apply = |layer: &Linear, device: &Device| {
            let residual = Some(residual.tensor(device));
            let epilogue = Epilogue { activation: Activation::Silu, scale: 0.5, residual };
            layer.forward_with(x.tensor(device), epilogue).unwrap()
        };
        let truth = apply(&Linear::new(&on_gpu(), (widened, Some(bias.clone()))).unwrap(), &on_gpu());
        for device in devices().into_iter().chain([on_gpu()]) {
            let layer = Linear::blocks(&device, format, &[&bytes], [35, 256], Some(&bias)).unwrap();
            // Activations are rounded to 8 bits, by candle more coarsely.
            let error = if device.is_cpu() { 0.05 } else { 0.15 };
            assert_near(&apply(&layer, &device), &truth, error, &format!("{format:?}"));
        }
    }
}

#[test]
fn blocks_and_shapes_that_do_not_belong_together_are_errors() {
    let (bytes, _) = quantised(GgmlDType::Q8_0, [4, 32]);
    for device in [devices().remove(0), on_gpu()] {
        let layer = Linear::blocks(&device, Format::Q8_0, &[&bytes], [4, 32], None).unwrap();
        let bias = noise(&[5], 1.0).weight();
        for error in [
            layer.forward(noise(&[1, 31], 1.0).tensor(&device)).unwrap_err(),
            Linear::blocks(&device, Format::Q8_0, &[&bytes], [5, 32], None).unwrap_err(),
            Linear::blocks(&device, Format::Q8_0, &[&bytes], [4, 32], Some(&bias)).unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        }
    }
}
