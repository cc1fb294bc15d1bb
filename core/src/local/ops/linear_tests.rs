use super::super::testing::{assert_near, noise, numbers, places};
use super::*;

/// How far results may be off in a precision, for some hundred inputs between -1 and 1.
fn bar(precision: Precision) -> f32 {
    match precision {
        Precision::F32 => 2e-4,
        Precision::Bf16 => 0.15,
        Precision::Int8 => 0.3,
    }
}

fn in_precision(place: &Place, precision: Precision) -> Place {
    Place { precision, ..place.clone() }
}

#[test]
fn every_precision_is_near_the_product_that_candle_computes() {
    let (x, weight, bias) = (noise(&[2, 5, 131]), noise(&[77, 131]), noise(&[77]));
    let truth = plain(&x, &(weight.clone(), Some(bias.clone()))).unwrap();
    for place in places() {
        for precision in Precision::ALL.iter().copied() {
            let place = in_precision(&place, precision);
            let layer = Linear::new(&place, weight.clone(), Some(bias.clone())).unwrap();
            assert_eq!((layer.inputs(), layer.outputs()), (131, 77));
            let what = format!("{} {}", place.cpu.isa, precision.name());
            assert_near(&layer.forward(&x).unwrap(), &truth, bar(precision), &what);
        }
    }
}

#[test]
fn what_follows_is_fused_and_means_what_candle_computes() {
    let (x, weight, residual) = (noise(&[3, 64]), noise(&[40, 64]), noise(&[3, 40]));
    let epilogue = Epilogue { activation: Activation::Gelu, scale: 0.5, residual: Some(&residual) };
    let truth = epilogue.plain(&plain(&x, &(weight.clone(), None)).unwrap(), None).unwrap();
    for place in places() {
        let layer = Linear::new(&place, weight.clone(), None).unwrap();
        assert_near(&layer.forward_with(&x, epilogue).unwrap(), &truth, 1e-4, "epilogue");
    }
}

#[test]
fn a_gated_layer_gates_with_its_first_half() {
    let (x, gate, up) = (noise(&[3, 64]), noise(&[33, 64]), (noise(&[33, 64]) * 0.7).unwrap());
    let bias = [noise(&[33]), (noise(&[33]) * -1.0).unwrap()];
    let [gate, up] = [(gate, Some(bias[0].clone())), (up, Some(bias[1].clone()))];
    let epilogue = Epilogue::activation(Activation::Silu);
    let truth = epilogue.plain(&plain(&x, &gate).unwrap(), Some(&plain(&x, &up).unwrap())).unwrap();
    for place in places() {
        let layer = Linear::gated(&place, gate.clone(), up.clone()).unwrap();
        assert_near(&layer.forward_with(&x, epilogue).unwrap(), &truth, 1e-3, "gated");
    }
}

#[test]
fn weights_of_16_bits_are_packed_as_they_are() {
    let (x, weight) = (noise(&[4, 48]), noise(&[32, 48]));
    for dtype in [DType::F16, DType::BF16, DType::F64] {
        let weight = weight.to_dtype(dtype).unwrap();
        let truth = plain(&x, &(weight.to_dtype(DType::F32).unwrap(), None)).unwrap();
        for place in places() {
            let layer = Linear::new(&place, weight.clone(), None).unwrap();
            assert_near(&layer.forward(&x).unwrap(), &truth, 1e-4, dtype.as_str());
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_a_batch() {
    let (x, weight) = (noise(&[9, 65]), noise(&[50, 65]));
    for place in places() {
        for precision in Precision::ALL.iter().copied() {
            let layer = Linear::new(&in_precision(&place, precision), weight.clone(), None).unwrap();
            let batch = numbers(&layer.forward(&x).unwrap());
            for row in 0..9 {
                let alone = numbers(&layer.forward(&x.narrow(0, row, 1).unwrap()).unwrap());
                assert_eq!(alone, batch[row * 50..(row + 1) * 50], "{} {row}", precision.name());
            }
        }
    }
}

#[test]
fn shapes_that_do_not_belong_together_are_errors() {
    let place = places().remove(0);
    let layer = Linear::new(&place, noise(&[5, 6]), None).unwrap();
    let short = noise(&[2, 5]);
    for error in [
        layer.forward(&short).unwrap_err(),
        layer.forward_with(&noise(&[2, 6]), Epilogue::residual(&noise(&[2, 6]))).unwrap_err(),
        Linear::new(&place, noise(&[5, 6]), Some(noise(&[6]))).unwrap_err(),
        Linear::new(&place, noise(&[5]), None).unwrap_err(),
        Linear::gated(&place, (noise(&[5, 6]), None), (noise(&[6, 6]), None)).unwrap_err(),
        Linear::gated(&place, (noise(&[5, 6]), None), (noise(&[5, 6]), Some(noise(&[5])))).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    }
}

#[test]
fn no_rows_give_no_rows() {
    let place = places().remove(0);
    let layer = Linear::new(&place, noise(&[5, 6]), None).unwrap();
    let none = Tensor::zeros((0, 6), DType::F32, &Device::Cpu).unwrap();
    assert_eq!(layer.forward(&none).unwrap().dims(), [0, 5]);
}
