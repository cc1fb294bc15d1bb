//! Activations and gates.

use candle_core::{D, Tensor};

use super::Place;
use super::tensor::{OrFail, changed, expect, filled, is_on_cpu, rows, with_values};
use crate::error::{Error, Result};
use ayni_kernels::elementwise;
use ayni_kernels::gated::{self, Gate};
use ayni_kernels::math::Activation;

/// `activation(x)`.
///
/// # Errors
/// `invalid_request` for numbers that the device does not compute in.
pub fn activate(place: &Place, x: &Tensor, activation: Activation) -> Result<Tensor> {
    if activation == Activation::None {
        return Ok(x.clone());
    }
    if !is_on_cpu(x) {
        return plain(x, activation);
    }
    with_values("the input", x, |values| {
        filled(x.shape(), |to| {
            to.copy_from_slice(values);
            elementwise::activate(&place.cpu, to, activation);
            Ok(())
        })
    })
}

/// `activation(gate) · up` of two tensors of one shape.
///
/// # Errors
/// `invalid_request` if the shapes differ.
pub fn gate(place: &Place, gate: &Tensor, up: &Tensor, activation: Activation) -> Result<Tensor> {
    expect("what is gated", up, gate.dims())?;
    if !is_on_cpu(gate) {
        return plain(gate, activation)?.mul(up).or_fail();
    }
    with_values("the gate", gate, |gates| {
        with_values("what is gated", up, |ups| {
            filled(gate.shape(), |to| {
                to.copy_from_slice(gates);
                gated::gate_assign(&place.cpu, to, ups, activation).or_fail()
            })
        })
    })
}

/// `activation(one half) · other half` of the last dimension.
///
/// # Errors
/// `invalid_request` if the last dimension is not even.
pub fn gate_halves(place: &Place, x: &Tensor, which: Gate, activation: Activation) -> Result<Tensor> {
    let (_, width) = rows("the input", x)?;
    if !width.is_multiple_of(2) {
        return Err(Error::invalid_request(format!("rows of {width} numbers have no halves")));
    }
    let half = width / 2;
    if !is_on_cpu(x) {
        let (first, second) =
            (x.narrow(D::Minus1, 0, half).or_fail()?, x.narrow(D::Minus1, half, half).or_fail()?);
        let (gate, up) = if which == Gate::First { (first, second) } else { (second, first) };
        return plain(&gate, activation)?.mul(&up).or_fail();
    }
    let mut dims = x.dims().to_vec();
    dims.truncate(dims.len() - 1);
    dims.push(half);
    with_values("the input", x, |values| {
        filled(dims, |to| gated::gate_halves(&place.cpu, values, to, half, which, activation).or_fail())
    })
}

/// `x + other`, where `x` lies: clones and views of it change too.
///
/// # Errors
/// `invalid_request` if the shapes differ.
pub fn add_owned(place: &Place, x: Tensor, other: &Tensor) -> Result<Tensor> {
    expect("what is added", other, x.dims())?;
    if !is_on_cpu(&x) {
        return x.add(other).or_fail();
    }
    with_values("what is added", other, |other| {
        changed("the sum", x, |to| elementwise::add_assign(&place.cpu, to, other).or_fail())
    })
}

/// `x · factor`, where `x` lies: clones and views of it change too.
///
/// # Errors
/// `invalid_request` for numbers that the device does not compute in.
pub fn scale_owned(place: &Place, x: Tensor, factor: f32) -> Result<Tensor> {
    if !is_on_cpu(&x) {
        return (x * f64::from(factor)).or_fail();
    }
    changed("the product", x, |to| {
        elementwise::scale(&place.cpu, to, factor);
        Ok(())
    })
}

/// An activation by candle's own operations.
pub(super) fn plain(x: &Tensor, activation: Activation) -> Result<Tensor> {
    let active = match activation {
        Activation::None => Ok(x.clone()),
        Activation::Relu => x.relu(),
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::QuickGelu => (x * 1.702).and_then(|scaled| sigmoid(&scaled)?.mul(x)),
        Activation::Silu => x.silu(),
        Activation::Sigmoid => sigmoid(x),
        Activation::Tanh => x.tanh(),
    };
    active.or_fail()
}

fn sigmoid(x: &Tensor) -> candle_core::Result<Tensor> {
    (x.neg()?.exp()? + 1.0)?.recip()
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_near, noise, places};
    use super::*;

    #[test]
    fn activations_are_those_of_candle() {
        let x = (noise(&[3, 37]) * 6.0).unwrap();
        for place in places() {
            for activation in Activation::ALL.iter().copied() {
                let ours = activate(&place, &x, activation).unwrap();
                assert_near(&ours, &plain(&x, activation).unwrap(), 2e-6, &format!("{activation:?}"));
            }
        }
    }

    #[test]
    fn gates_multiply_what_they_gate() {
        let x = noise(&[2, 3, 34]);
        let (first, second) = (x.narrow(2, 0, 17).unwrap(), x.narrow(2, 17, 17).unwrap());
        for place in places() {
            for (which, gates, ups) in [(Gate::First, &first, &second), (Gate::Second, &second, &first)] {
                let truth = plain(gates, Activation::Silu).unwrap().mul(ups).unwrap();
                assert_near(
                    &gate(&place, gates, ups, Activation::Silu).unwrap(),
                    &truth,
                    1e-6,
                    "two tensors",
                );
                let halves = gate_halves(&place, &x, which, Activation::Silu).unwrap();
                assert_near(&halves, &truth, 1e-6, "two halves");
            }
        }
    }

    #[test]
    fn sums_and_products_lie_where_the_first_lay() {
        let (x, y) = (noise(&[3, 37]), noise(&[37, 3]).reshape((3, 37)).unwrap());
        for place in places() {
            let sum = add_owned(&place, x.copy().unwrap(), &y).unwrap();
            assert_near(&sum, &x.add(&y).unwrap(), 0.0, "sum");
            let product = scale_owned(&place, x.copy().unwrap(), 0.5).unwrap();
            assert_near(&product, &(&x * 0.5).unwrap(), 0.0, "product");
            assert!(add_owned(&place, x.copy().unwrap(), &noise(&[37])).is_err());
            assert!(scale_owned(&place, x.to_dtype(candle_core::DType::F16).unwrap(), 0.5).is_err());
        }
    }

    #[test]
    fn halves_that_do_not_exist_are_an_error() {
        let place = places().remove(0);
        assert!(gate_halves(&place, &noise(&[2, 5]), Gate::First, Activation::Silu).is_err());
        assert!(gate(&place, &noise(&[2, 5]), &noise(&[2, 4]), Activation::Silu).is_err());
    }
}
