//! Every precision on every instruction set: against f64, against each other, bit for bit against itself.

use half::{bf16, f16};
use proptest::prelude::*;

use super::super::Isa;
use super::super::amx::model::Model;
use super::super::math::Activation;
use super::super::simd::portable;
use super::super::testing::noise;
use super::super::{elementwise, rough};
use super::*;

/// A layer and its input.
struct Case {
    rows: usize,
    outputs: usize,
    inputs: usize,
    a: Vec<f32>,
    weights: Vec<f32>,
    bias: Vec<f32>,
}

impl Case {
    fn new(rows: usize, outputs: usize, inputs: usize) -> Self {
        let seed = (rows * 31 + outputs * 7 + inputs) as u64;
        Self {
            rows,
            outputs,
            inputs,
            a: noise(rows * inputs, seed),
            weights: noise(outputs * inputs, seed + 1),
            bias: noise(outputs, seed + 2),
        }
    }

    fn packed(&self, cpu: &Cpu, precision: Precision) -> Packed {
        let packed =
            Packed::new(cpu, (&self.weights[..]).into(), self.outputs, self.inputs, precision).unwrap();
        packed.with_bias(&self.bias).unwrap()
    }

    fn run(&self, cpu: &Cpu, precision: Precision, epilogue: Epilogue<'_>) -> Vec<f32> {
        let mut c = vec![f32::NAN; self.rows * self.outputs];
        gemm(cpu, &self.packed(cpu, precision), &self.a, self.rows, &mut c, epilogue).unwrap();
        c
    }

    /// The sums with bias in f64, and what a precision may be wrong by.
    fn truth(&self, precision: Precision) -> Vec<(f64, f64)> {
        let row_of = |values: &[f32], row: usize| -> Vec<f64> {
            values[row * self.inputs..(row + 1) * self.inputs].iter().map(|x| f64::from(*x)).collect()
        };
        let one = |i: usize| {
            let (a, w) = (row_of(&self.a, i / self.outputs), row_of(&self.weights, i % self.outputs));
            let bias = f64::from(self.bias[i % self.outputs]);
            let products = a.iter().zip(&w).map(|(a, w)| a * w);
            let size = bias.abs() + products.clone().map(f64::abs).sum::<f64>();
            let rounding = size * 1.2e-7 * (2.0 + self.inputs as f64);
            let error = match precision {
                Precision::F32 => rounding,
                // Half a unit of eight bits on either side.
                Precision::Bf16 => rounding + size * 2.0 / 256.0 * 1.01,
                // What the second halves lose on either side, and their product, which is left out.
                Precision::Bf16x3 => rounding + size * 3.0 / 65536.0 * 1.01,
                // Half a step: of a weight's size, of the range of the activations with zero.
                Precision::Int8 => {
                    let most = |row: &[f64], of: fn(f64) -> f64| {
                        row.iter().fold(0.0, |most: f64, x| most.max(of(*x)))
                    };
                    let step_w = most(&w, f64::abs) / 254.0;
                    let step_a = (most(&a, |x| x) + most(&a, |x| -x)) / 508.0;
                    let cross = |a: f64, w: f64| a.abs() * step_w + w.abs() * step_a + step_a * step_w;
                    rounding + 1.01 * a.iter().zip(&w).map(|(a, w)| cross(*a, *w)).sum::<f64>()
                }
            };
            (bias + products.sum::<f64>(), error)
        };
        (0..self.rows * self.outputs).map(one).collect()
    }
}

fn assert_close(found: &[f32], truth: &[(f64, f64)], what: &str) {
    assert_eq!(found.len(), truth.len(), "{what}");
    for (i, (found, (truth, error))) in found.iter().zip(truth).enumerate() {
        let off = (f64::from(*found) - truth).abs();
        assert!(off <= *error, "{what}: {i}: {found}, not {truth} ± {error}");
    }
}

/// Every instruction set of this CPU, and tiles by their model.
fn sets() -> impl Iterator<Item = Isa> {
    Isa::available().into_iter().chain([Isa::MODEL])
}

fn each(mut check: impl FnMut(&Cpu, Precision)) {
    for isa in sets() {
        for &precision in Precision::of(isa) {
            check(&Cpu::new(isa, 2), precision);
        }
    }
}

/// Rows around the tiles' and outputs and inputs around the panels' and groups' borders.
const SHAPES: &[(usize, usize, usize)] = &[
    (1, 1, 1),
    (1, 33, 7),
    (2, 130, 64),
    (3, 15, 5),
    (4, 129, 19),
    (5, 31, 33),
    (6, 65, 16),
    (7, 32, 100),
    (11, 17, 31),
    (13, 70, 1),
    (14, 32, 64),
    (15, 16, 3),
    (29, 100, 130),
    (64, 48, 70),
    (200, 40, 24),
    (3, 20, 3200),
    (31, 8, 1600),
];

#[test]
fn two_layers_at_once_have_the_bits_of_one_after_the_other() {
    for isa in sets() {
        for (rows, inputs, width, outputs) in
            [(1, 7, 2, 3), (5, 33, 62, 17), (40, 64, 128, 96), (131, 40, 300, 50), (64, 50, 31, 20)]
        {
            for &precision in Precision::of(isa) {
                let cpu = Cpu::new(isa, 2);
                let (up, down) = (Case::new(rows, width, inputs), Case::new(rows, outputs, width));
                let layers = [up.packed(&cpu, precision), down.packed(&cpu, precision)];
                let residual = noise(rows * outputs, 9);
                let epilogue = Epilogue::residual(Residual::From(&residual));
                let mut once = vec![f32::NAN; rows * outputs];
                let [first, second] = &layers;
                gemm_through(&cpu, [first, second], &up.a, rows, Activation::Gelu, &mut once, epilogue)
                    .unwrap();
                let mut hidden = vec![f32::NAN; rows * width];
                gemm(&cpu, first, &up.a, rows, &mut hidden, Epilogue::activation(Activation::Gelu)).unwrap();
                let mut twice = vec![f32::NAN; rows * outputs];
                gemm(&cpu, second, &hidden, rows, &mut twice, epilogue).unwrap();
                assert_eq!(once, twice, "{isa} {precision:?} {rows} x {inputs} x {width} x {outputs}");
            }
        }
    }
    let cpu = Cpu::new(Isa::PORTABLE, 1);
    let case = Case::new(2, 6, 4);
    let layer = case.packed(&cpu, Precision::F32);
    let error = gemm_through(
        &cpu,
        [&layer, &layer],
        &case.a,
        2,
        Activation::None,
        &mut [0.0; 12],
        Epilogue::default(),
    );
    assert!(error.unwrap_err().to_string().contains("a layer of 4 inputs after one of 6 outputs"));
}

#[test]
fn every_shape_is_close_to_f64() {
    for &(rows, outputs, inputs) in SHAPES {
        let case = Case::new(rows, outputs, inputs);
        let truth = Precision::ALL.iter().map(|precision| case.truth(*precision)).collect::<Vec<_>>();
        each(|cpu, precision| {
            let found = case.run(cpu, precision, Epilogue::default());
            let what = format!("{cpu:?} {precision:?} {rows} x {outputs} x {inputs}");
            assert_close(&found, &truth[precision as usize], &what);
        });
    }
}

#[test]
fn sums_of_two_bf16_are_almost_f32_where_one_is_not() {
    let cpu = Cpu::new(Isa::MODEL, 2);
    let case = Case::new(60, 90, 700);
    let truth = case.truth(Precision::F32);
    let distance = |precision| {
        let found = case.run(&cpu, precision, Epilogue::default());
        let dot = |of: fn((f64, f64)) -> f64| -> f64 {
            truth.iter().zip(&found).map(|((truth, _), found)| of((*truth, f64::from(*found)))).sum()
        };
        1.0 - dot(|(a, b)| a * b) / (dot(|(a, _)| a * a) * dot(|(_, b)| b * b)).sqrt()
    };
    let [one, two] = [Precision::Bf16, Precision::Bf16x3].map(distance);
    assert!(two < 1e-10 && one > 1e-6, "1 - cosine: {one:e} with one, {two:e} with two");
}

#[test]
fn sums_of_nothing_are_the_bias() {
    each(|cpu, precision| {
        let case = Case::new(3, 5, 0);
        assert_eq!(case.run(cpu, precision, Epilogue::default()), case.bias.repeat(3));
        assert!(Case::new(0, 5, 4).run(cpu, precision, Epilogue::default()).is_empty());
        assert!(Case::new(3, 0, 4).run(cpu, precision, Epilogue::default()).is_empty());
    });
}

#[test]
fn int8_is_equal_on_every_instruction_set() {
    for &(rows, outputs, inputs) in SHAPES {
        let case = Case::new(rows, outputs, inputs);
        let expected = case.run(&Cpu::new(Isa::PORTABLE, 1), Precision::Int8, Epilogue::default());
        for isa in sets() {
            let found = case.run(&Cpu::new(isa, 2), Precision::Int8, Epilogue::default());
            assert_eq!(found, expected, "{isa} {rows} x {outputs} x {inputs}");
        }
    }
}

#[test]
fn two_steps_leave_only_the_rounding_of_the_weights() {
    let (rows, outputs, inputs) = (5, 40, 384);
    let case = Case::new(rows, outputs, inputs);
    // The same weights, rounded as the int8 layer has them.
    let mut weights = case.weights.clone();
    for channel in weights.chunks_exact_mut(inputs) {
        let scale = int8::quantise_channel(channel).unwrap();
        channel.iter_mut().for_each(|weight| *weight *= scale);
    }
    let rounded = Case { weights, ..Case::new(rows, outputs, inputs) };
    for isa in sets() {
        let cpu = Cpu::new(isa, 2);
        let exact = rounded.run(&cpu, Precision::F32, Epilogue::default());
        let furthest = |found: &[f32]| {
            found.iter().zip(&exact).map(|(found, exact)| (found - exact).abs()).fold(0.0, f32::max)
        };
        let once = case.run(&cpu, Precision::Int8, Epilogue::default());
        let mut twice = vec![0.0; rows * outputs];
        gemm_in_two_steps(&cpu, &case.packed(&cpu, Precision::Int8), &case.a, rows, &mut twice).unwrap();
        let [once, twice] = [furthest(&once), furthest(&twice)];
        assert!(twice < once / 50.0, "{isa}: {twice} of {once}");
    }
}

#[test]
fn int8_sums_are_exact_at_the_extremes() {
    let inputs = 4099;
    for isa in sets() {
        let cpu = Cpu::new(isa, 1);
        for (a, w) in [(127.0, 127.0), (-127.0, 127.0), (127.0, -127.0), (-127.0, -127.0)] {
            // Scales of one, so that numbers are what they are quantised to.
            let packed =
                Packed::new(&cpu, (&vec![w; 3 * inputs][..]).into(), 3, inputs, Precision::Int8).unwrap();
            let mut c = [0.0; 6];
            gemm(&cpu, &packed, &vec![a; 2 * inputs], 2, &mut c, Epilogue::default()).unwrap();
            assert_eq!(c, [(f64::from(a) * f64::from(w) * inputs as f64) as f32; 6], "{isa} {a} {w}");
        }
    }
}

#[test]
fn a_row_has_the_same_bits_alone_and_in_any_batch_on_any_number_of_threads() {
    for (rows, outputs, inputs) in [(37, 70, 1601), (130, 33, 65), (16, 384, 384)] {
        let case = Case::new(rows, outputs, inputs);
        for isa in sets() {
            for &precision in Precision::of(isa) {
                let cpu = Cpu::new(isa, 1);
                let packed = case.packed(&cpu, precision);
                let whole = case.run(&cpu, precision, Epilogue::activation(Activation::Gelu));
                for threads in [2, 3, 5] {
                    let found =
                        case.run(&Cpu::new(isa, threads), precision, Epilogue::activation(Activation::Gelu));
                    assert_eq!(found, whole, "{isa} {precision:?} {threads} threads");
                }
                for (start, count) in [(0, 1), (5, 1), (rows - 1, 1), (3, 2), (1, 3), (2, 5), (0, 6), (1, 13)]
                {
                    let mut c = vec![0.0; count * outputs];
                    let a = &case.a[start * inputs..(start + count) * inputs];
                    gemm(&cpu, &packed, a, count, &mut c, Epilogue::activation(Activation::Gelu)).unwrap();
                    let expected = &whole[start * outputs..(start + count) * outputs];
                    assert!(c == expected, "{isa} {precision:?}: rows {start}.. {count} of {rows}");
                }
            }
        }
    }
}

#[test]
fn tiles_give_the_same_bits_however_many_steps_they_take_at_a_time() {
    let cpu = Cpu::new(Isa::MODEL, 2);
    for (rows, outputs, inputs) in [(70, 100, 300), (16, 33, 200), (17, 70, 64)] {
        let case = Case::new(rows, outputs, inputs);
        for precision in [Precision::Bf16, Precision::Int8, Precision::Bf16x3] {
            let packed = case.packed(&cpu, precision);
            let run = |max_steps| {
                let mut c = vec![f32::NAN; rows * outputs];
                let call = GemmCall::new(
                    &cpu,
                    &packed,
                    &case.a,
                    rows,
                    &mut c,
                    Epilogue::activation(Activation::Silu),
                );
                tiled::multiply_with::<_, Model>(&call, portable::WIDE, &cpu, max_steps);
                c
            };
            let whole = run(usize::MAX);
            for max_steps in 1..5 {
                assert!(run(max_steps) == whole, "{precision:?} {rows} x {outputs} x {inputs}: {max_steps}");
            }
            assert_eq!(case.run(&cpu, precision, Epilogue::activation(Activation::Silu)), whole);
        }
    }
}

#[test]
fn large_work_is_cut_in_every_way_without_changing_a_bit() {
    // Above the sizes from which one thread does not do all, by rows and by panels.
    for (rows, outputs, inputs) in [(150, 160, 128), (20, 700, 200)] {
        let case = Case::new(rows, outputs, inputs);
        for isa in sets() {
            let whole = case.run(&Cpu::new(isa, 1), Precision::F32, Epilogue::default());
            let found = case.run(&Cpu::new(isa, 4), Precision::F32, Epilogue::default());
            assert!(whole == found, "{isa}");
        }
        let found = case.run(&Cpu::new(Isa::PORTABLE, 4), Precision::F32, Epilogue::default());
        assert_close(&found, &case.truth(Precision::F32), "portable");
    }
}

#[test]
fn what_follows_the_sums_is_applied_in_order() {
    let case = Case::new(9, 37, 21);
    let residual = noise(9 * 37, 99);
    each(|cpu, precision| {
        let plain = case.run(cpu, precision, Epilogue::default());
        for &activation in Activation::ALL {
            let mut active = plain.clone();
            match precision {
                Precision::F32 | Precision::Bf16x3 => {
                    elementwise::activate_slice(cpu.isa, &mut active, activation)
                }
                Precision::Bf16 | Precision::Int8 => {
                    rough::tests::roughly_slice(cpu.isa, &mut active, activation);
                }
            }
            assert_eq!(case.run(cpu, precision, Epilogue::activation(activation)), active, "{activation:?}");
            let expected: Vec<f32> = active.iter().zip(&residual).map(|(x, r)| x * 0.5 + r).collect();
            let epilogue = Epilogue { activation, scale: 0.5, residual: Residual::From(&residual) };
            assert_eq!(case.run(cpu, precision, epilogue), expected, "{cpu:?} {activation:?}");
            let mut c = residual.clone();
            let epilogue = Epilogue { activation, scale: 0.5, residual: Residual::InPlace };
            gemm(cpu, &case.packed(cpu, precision), &case.a, 9, &mut c, epilogue).unwrap();
            assert_eq!(c, expected, "{cpu:?} {activation:?} in place");
        }
    });
}

#[test]
fn a_gated_layer_multiplies_the_active_gate_with_the_other_half() {
    for outputs in [1, 7, 8, 16, 17, 33, 70] {
        let (gate, mut up) = (Case::new(10, outputs, 40), Case::new(10, outputs, 40));
        up.weights = noise(outputs * 40, 5);
        up.bias = noise(outputs, 6);
        each(|cpu, precision| {
            let (weights, others) = ((&gate.weights[..]).into(), (&up.weights[..]).into());
            let packed = Packed::gated(cpu, weights, others, outputs, 40, precision).unwrap();
            let packed = packed.with_gated_bias(&gate.bias, &up.bias).unwrap();
            let mut c = vec![0.0; 10 * outputs];
            gemm(cpu, &packed, &gate.a, 10, &mut c, Epilogue::activation(Activation::Silu)).unwrap();
            let gates = gate.run(cpu, precision, Epilogue::activation(Activation::Silu));
            let ups = up.run(cpu, precision, Epilogue::default());
            let expected: Vec<f32> = gates.iter().zip(&ups).map(|(gate, up)| gate * up).collect();
            assert_eq!(c, expected, "{cpu:?} {precision:?} {outputs}");
        });
    }
}

#[test]
fn nan_and_infinity_spoil_their_own_row_only() {
    for flaw in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut case = Case::new(9, 40, 50);
        for isa in sets() {
            for &precision in Precision::of(isa) {
                let cpu = Cpu::new(isa, 1);
                case.a[4 * 50 + 49] = 0.5;
                let sound = case.run(&cpu, precision, Epilogue::default());
                case.a[4 * 50 + 49] = flaw;
                let found = case.run(&cpu, precision, Epilogue::default());
                for row in 0..9 {
                    let (found, sound) = (&found[row * 40..][..40], &sound[row * 40..][..40]);
                    if row == 4 {
                        assert!(
                            found.iter().all(|x| !x.is_finite()),
                            "{isa} {precision:?} {flaw}: {found:?}"
                        );
                    } else {
                        assert_eq!(found, sound, "{isa} {precision:?} {flaw}");
                    }
                }
            }
        }
    }
}

#[test]
fn denormals_and_zeros_do_no_harm() {
    each(|cpu, precision| {
        let mut case = Case::new(3, 20, 40);
        case.bias.fill(0.0);
        case.a[..40].fill(1e-41);
        case.a[40..80].fill(0.0);
        let found = case.run(cpu, precision, Epilogue::default());
        assert!(found[..20].iter().all(|x| x.abs() < 1e-38), "{cpu:?} {precision:?}");
        assert!(found[20..40].iter().all(|x| *x == 0.0), "{cpu:?} {precision:?}");
        assert_close(&found[40..], &case.truth(precision)[40..], "the sound row");
    });
}

#[test]
fn nothing_is_written_outside_the_result_and_no_alignment_is_needed() {
    let case = Case::new(11, 37, 29);
    let a = [&[9.0], &case.a[..]].concat();
    each(|cpu, precision| {
        let expected = case.run(cpu, precision, Epilogue::default());
        let mut c = vec![7.0; 11 * 37 + 40];
        let end = 1 + 11 * 37;
        gemm(cpu, &case.packed(cpu, precision), &a[1..], 11, &mut c[1..end], Epilogue::default()).unwrap();
        assert_eq!(c[1..end], expected);
        assert!(c[0] == 7.0 && c[end..].iter().all(|x| *x == 7.0), "{cpu:?} {precision:?}");
    });
}

#[test]
fn weights_may_come_in_sixteen_bits() {
    let case = Case::new(4, 18, 22);
    let brain: Vec<bf16> = case.weights.iter().map(|w| bf16::from_f32(*w)).collect();
    let half: Vec<f16> = case.weights.iter().map(|w| f16::from_f32(*w)).collect();
    let widened = |values: Vec<f32>, weights: Weights<'_>| {
        let cpu = Cpu::new(Isa::PORTABLE, 1);
        let mut found = [vec![0.0; 4 * 18], vec![0.0; 4 * 18]];
        for (c, weights) in found.iter_mut().zip([weights, Weights::F32(&values)]) {
            let packed = Packed::new(&cpu, weights, 18, 22, Precision::F32).unwrap();
            gemm(&cpu, &packed, &case.a, 4, c, Epilogue::default()).unwrap();
        }
        assert_eq!(found[0], found[1]);
    };
    widened(brain.iter().map(|w| w.to_f32()).collect(), Weights::Bf16(&brain));
    widened(half.iter().map(|w| w.to_f32()).collect(), Weights::F16(&half));
}

#[test]
fn wrong_sizes_are_refused() {
    let cpu = Cpu::new(Isa::PORTABLE, 1);
    let case = Case::new(2, 3, 4);
    let packed = case.packed(&cpu, Precision::F32);
    let run = |a: usize, rows, c: usize, residual: usize| {
        let residual = vec![0.0; residual];
        let epilogue = Epilogue::residual(Residual::From(&residual));
        gemm(&cpu, &packed, &vec![0.0; a], rows, &mut vec![0.0; c], epilogue)
    };
    assert!(run(8, 2, 6, 6).is_ok());
    for (a, rows, c, residual) in
        [(7, 2, 6, 6), (8, 2, 5, 6), (8, 2, 6, 7), (8, 3, 6, 6), (8, usize::MAX, 6, 6)]
    {
        let error = run(a, rows, c, residual).unwrap_err();
        assert!(matches!(error, crate::KernelError::Shape(_)), "{a} {rows} {c} {residual}");
    }
    let weights = |values| Packed::new(&cpu, values, 3, 4, Precision::F32);
    assert!(weights(Weights::F32(&[0.0; 11])).is_err());
    assert!(weights(Weights::F32(&[0.0; 12])).unwrap().with_bias(&[0.0; 4]).is_err());
    assert!(weights(Weights::F32(&[0.0; 12])).unwrap().with_gated_bias(&[0.0; 3], &[0.0; 3]).is_err());
    let huge = Packed::new(&cpu, Weights::F32(&[]), usize::MAX, 2, Precision::F32);
    assert!(huge.is_err());
}

#[test]
fn int8_refuses_what_it_cannot_hold() {
    let cpu = Cpu::new(Isa::PORTABLE, 1);
    let pack =
        |values: &[f32], outputs, inputs| Packed::new(&cpu, values.into(), outputs, inputs, Precision::Int8);
    assert!(pack(&[1.0, f32::NAN], 1, 2).is_err());
    assert!(pack(&[1.0, f32::INFINITY], 2, 1).is_err());
    assert!(pack(&vec![0.0; int8::MAX_K + 1], 1, int8::MAX_K + 1).is_err());
    assert!(pack(&vec![1.0; int8::MAX_K], 1, int8::MAX_K).is_ok());
}

#[test]
fn weights_of_another_instruction_set_are_refused() {
    let available = Isa::available();
    let (Some(&worst), Some(&best)) = (available.first(), available.last()) else { unreachable!() };
    let case = Case::new(1, 2, 3);
    let packed = case.packed(&Cpu::new(worst, 1), Precision::F32);
    let outcome = gemm(&Cpu::new(best, 1), &packed, &case.a, 1, &mut [0.0; 2], Epilogue::default());
    assert_eq!(outcome.is_err(), worst != best);
}

#[test]
fn a_set_without_tiles_refuses_sums_of_two_bf16() {
    let weights = [1.0; 4];
    let refused = Packed::new(&Cpu::new(Isa::PORTABLE, 1), (&weights[..]).into(), 2, 2, Precision::Bf16x3);
    assert_eq!(refused.unwrap_err().to_string(), "bf16x3 needs AMX; the instruction set is portable");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_shape_is_close_to_f64(rows in 0_usize..40, outputs in 0_usize..80, inputs in 0_usize..90, threads in 1_usize..4) {
        let case = Case::new(rows, outputs, inputs);
        for &precision in Precision::ALL {
            let truth = case.truth(precision);
            for isa in sets().filter(|isa| Precision::of(*isa).contains(&precision)) {
                let found = case.run(&Cpu::new(isa, threads), precision, Epilogue::default());
                assert_close(&found, &truth, &format!("{isa} {precision:?}"));
            }
        }
    }
}
