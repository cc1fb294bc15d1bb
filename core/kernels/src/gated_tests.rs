//! On every instruction set against f64.

use super::super::testing::{assert_close, cpus, noise};
use super::*;

fn silu(x: f32) -> f64 {
    f64::from(x) / (1.0 + (-f64::from(x)).exp())
}

#[test]
fn gates_multiply_on_every_instruction_set_whatever_the_length() {
    for cpu in cpus() {
        for length in (0..40).chain([CHUNK - 1, CHUNK + 3]) {
            let (gate, up) = (noise(length + 1, 1), noise(length + 1, 2));
            let truth: Vec<f64> = (1..=length).map(|i| silu(gate[i]) * f64::from(up[i])).collect();
            let mut found = gate.clone();
            gate_assign(&cpu, &mut found[1..], &up[1..], Activation::Silu).unwrap();
            assert_close(&found[1..], &truth, 3e-7, &format!("{cpu:?}, {length}"));
            assert_eq!(found[0], gate[0]);
        }
    }
}

#[test]
fn either_half_of_a_row_may_be_the_gate() {
    for cpu in cpus() {
        for (rows, width) in (1..=70).map(|width| (3, width)).chain([(0, 5), (40, 1500)]) {
            let from = noise(rows * 2 * width, 3);
            for gate in [Gate::First, Gate::Second] {
                let (gates, ups) = if gate == Gate::First { (0, width) } else { (width, 0) };
                let one = |i: usize| {
                    let row = i / width * 2 * width + i % width;
                    silu(from[row + gates]) * f64::from(from[row + ups])
                };
                let truth: Vec<f64> = (0..rows * width).map(one).collect();
                let mut found = vec![0.0; rows * width];
                gate_halves(&cpu, &from, &mut found, width, gate, Activation::Silu).unwrap();
                assert_close(&found, &truth, 3e-7, &format!("{cpu:?}, {rows} × {width}, {gate:?}"));
            }
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let cpu = &cpus()[0];
    assert!(gate_assign(cpu, &mut [0.0; 3], &[0.0; 2], Activation::Silu).is_err());
    assert!(gate_halves(cpu, &[0.0; 5], &mut [0.0; 2], 2, Gate::First, Activation::Silu).is_err());
    assert!(gate_halves(cpu, &[0.0; 6], &mut [0.0; 3], 2, Gate::First, Activation::Silu).is_err());
    assert!(gate_halves(cpu, &[0.0; 6], &mut [0.0; 3], 0, Gate::First, Activation::Silu).is_err());
}
