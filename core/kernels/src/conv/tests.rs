//! Every precision on every instruction set against f64; bits against threads and the other images.

use half::bf16;
use proptest::prelude::*;

use super::super::gemm::Weights;
use super::super::testing::{assert_close, bits, cpus_and_model as cpus, noise, with_threads};
use super::*;

#[derive(Clone, Debug)]
struct Case {
    window: Window,
    geometry: Geometry,
    count: usize,
    height: usize,
    width: usize,
}

impl Case {
    fn new(channels: [usize; 2], window: [usize; 2], geometry: Geometry, images: [usize; 3]) -> Self {
        let window =
            Window { outputs: channels[1], inputs: channels[0], height: window[0], width: window[1] };
        Self { window, geometry, count: images[0], height: images[1], width: images[2] }
    }

    fn weights(&self) -> Vec<f32> {
        let Window { outputs, inputs, height, width } = self.window;
        noise(outputs * inputs * height * width, 1)
    }

    fn bias(&self) -> Vec<f32> {
        noise(self.window.outputs, 2)
    }

    fn input(&self) -> Vec<f32> {
        noise(self.count * self.height * self.width * self.window.inputs, 3)
    }

    fn layer(&self, cpu: &Cpu, precision: Precision) -> Conv {
        let weights = self.weights();
        let conv = Conv::new(cpu, Weights::F32(&weights), self.window, self.geometry, precision).unwrap();
        conv.with_bias(&self.bias()).unwrap()
    }

    fn run_on(&self, cpu: &Cpu, precision: Precision, input: &[f32], epilogue: Epilogue<'_>) -> Vec<f32> {
        let layer = self.layer(cpu, precision);
        let (height, width) = layer.output_size(self.height, self.width).unwrap();
        let mut to = vec![0.5; self.count * height * width * self.window.outputs];
        let images = Images { data: input, count: self.count, height: self.height, width: self.width };
        conv(cpu, &layer, images, &mut to, epilogue).unwrap();
        to
    }

    fn run(&self, cpu: &Cpu, precision: Precision) -> Vec<f32> {
        self.run_on(cpu, precision, &self.input(), Epilogue::default())
    }

    /// The sums with bias in f64, and the greatest sum of products without signs.
    fn truth(&self, rounded: bool) -> (Vec<f64>, f64) {
        let Window { outputs, inputs, height: kh, width: kw } = self.window;
        let Geometry { stride, padding: [above, below, left, right], doubled } = self.geometry;
        let times = if doubled { 2 } else { 1 };
        let round = |values: Vec<f32>| -> Vec<f64> {
            let one = |x: f32| if rounded { bf16::from_f32(x).to_f64() } else { f64::from(x) };
            values.into_iter().map(one).collect()
        };
        let (weights, input, bias) = (round(self.weights()), round(self.input()), self.bias());
        let (h, w) = (self.height * times, self.width * times);
        let (rows, columns) = ((h + above + below - kh) / stride + 1, (w + left + right - kw) / stride + 1);
        let (mut result, mut greatest) = (Vec::new(), 0.0_f64);
        for place in 0..self.count * rows * columns * outputs {
            let (output, x) = (place % outputs, place / outputs % columns);
            let (y, image) = (place / outputs / columns % rows, place / outputs / columns / rows);
            let (mut sum, mut size) = (f64::from(bias[output]), 1.0);
            for (i, j) in (0..kh).flat_map(|i| (0..kw).map(move |j| (i, j))) {
                let (Some(from_y), Some(from_x)) =
                    ((y * stride + i).checked_sub(above), (x * stride + j).checked_sub(left))
                else {
                    continue;
                };
                if from_y >= h || from_x >= w {
                    continue;
                }
                let pixel = (image * self.height + from_y / times) * self.width + from_x / times;
                for channel in 0..inputs {
                    let weight = weights[((output * inputs + channel) * kh + i) * kw + j];
                    sum += input[pixel * inputs + channel] * weight;
                    size += (input[pixel * inputs + channel] * weight).abs();
                }
            }
            result.push(sum);
            greatest = greatest.max(size);
        }
        (result, greatest)
    }
}

fn check(case: &Case) {
    let (exact, rounded) = (case.truth(false), case.truth(true));
    for cpu in cpus() {
        let what = format!("{cpu:?}, {case:?}");
        let steps = (case.window.inputs * case.window.height * case.window.width) as f64;
        let error = exact.1 * 1.2e-7 * (2.0 + steps.sqrt());
        assert_close(&case.run(&cpu, Precision::F32), &exact.0, error, &what);
        // Where there is no bf16 product, or a slow one beside tiles, only weights are rounded.
        let in_tiles = case.layer(&cpu, Precision::Bf16).in_tiles();
        if in_tiles || cpu.isa.has_bf16_dot() && !cpu.isa.has_tiles() {
            assert_close(&case.run(&cpu, Precision::Bf16), &rounded.0, 4.0 * error, &what);
        } else {
            assert_close(&case.run(&cpu, Precision::Bf16), &exact.0, exact.1 / 256.0, &what);
        }
        // Half a step of activations between -1 and 1, and one of weights: the largest may be cut.
        let terms = steps * (1.0 / 254.0 + 1.0 / 127.0) * 1.02;
        assert_close(&case.run(&cpu, Precision::Int8), &exact.0, terms + error, &what);
        if cpu.isa.has_tiles() {
            assert_eq!(case.run(&cpu, Precision::Bf16x3), case.run(&cpu, Precision::F32), "{what}");
        }
    }
}

fn stride(stride: usize, padding: [usize; 4]) -> Geometry {
    Geometry { stride, padding, doubled: false }
}

#[test]
fn windows_of_three_by_three_with_any_stride_and_padding() {
    for geometry in [
        Geometry::padded(1),
        Geometry::padded(0),
        stride(2, [1; 4]),
        stride(2, [0, 1, 0, 1]),
        stride(2, [1, 0, 1, 0]),
        stride(3, [2, 0, 3, 1]),
        Geometry { doubled: true, ..Geometry::padded(1) },
        Geometry { doubled: true, ..stride(2, [0, 1, 0, 1]) },
    ] {
        check(&Case::new([5, 7], [3, 3], geometry, [2, 6, 9]));
        check(&Case::new([16, 33], [3, 3], geometry, [1, 5, 17]));
    }
}

#[test]
fn images_of_every_width_and_channels_of_every_number() {
    for width in (1..18).chain([27, 28, 29, 65, 130]) {
        check(&Case::new([3, 4], [3, 3], Geometry::padded(1), [1, 3, width]));
    }
    for channels in [1, 2, 15, 16, 17, 31, 32, 34, 65] {
        check(&Case::new([channels, 3], [3, 3], Geometry::padded(1), [1, 3, 4]));
        check(&Case::new([3, channels], [3, 3], Geometry::padded(1), [1, 3, 4]));
    }
}

#[test]
fn many_channels_are_summed_in_blocks() {
    check(&Case::new([300, 5], [3, 3], Geometry::padded(1), [1, 4, 5]));
    check(&Case::new([1024, 3], [3, 3], Geometry::padded(1), [1, 2, 3]));
    check(&Case::new([2050, 3], [1, 1], Geometry::default(), [1, 2, 3]));
}

#[test]
fn windows_of_other_sizes() {
    check(&Case::new([9, 40], [1, 1], Geometry::default(), [3, 7, 31]));
    check(&Case::new([6, 5], [1, 1], stride(2, [0; 4]), [2, 5, 6]));
    check(&Case::new([6, 5], [1, 1], Geometry { doubled: true, ..Geometry::default() }, [2, 5, 6]));
    check(&Case::new([3, 20], [8, 8], stride(8, [0; 4]), [2, 16, 24]));
    check(&Case::new([3, 4], [1, 5], stride(1, [0, 0, 2, 2]), [1, 3, 8]));
    check(&Case::new([3, 4], [5, 2], Geometry::default(), [1, 9, 8]));
    check(&Case::new([3, 4], [3, 3], Geometry::padded(1), [0, 3, 3]));
}

#[test]
fn biases_activation_scale_and_residual_follow_the_sums() {
    for (window, geometry) in [([3, 3], Geometry::padded(1)), ([1, 1], Geometry::default())] {
        let silu = |x: f64| x / (1.0 + (-x).exp());
        let each = |cpu: Cpu| Precision::of(cpu.isa).iter().map(move |precision| (cpu.clone(), *precision));
        for (cpu, precision) in cpus().into_iter().flat_map(each) {
            let case = Case::new([50, 35], window, geometry, [2, 4, 5]);
            let run = |epilogue| case.run_on(&cpu, precision, &case.input(), epilogue);
            let sums: Vec<f64> = run(Epilogue::default()).into_iter().map(f64::from).collect();
            let (residual, per_image) = (noise(sums.len(), 7), noise(70, 8));
            let epilogue = Epilogue { activation: Activation::Silu, scale: 0.5, ..Epilogue::default() };
            let truth: Vec<f64> = sums.iter().map(|sum| 0.5 * silu(*sum)).collect();
            assert_close(&run(epilogue), &truth, 1e-5, &format!("{cpu:?}"));
            let truth: Vec<f64> = truth.iter().map(|value| 0.5 + value).collect();
            assert_close(
                &run(Epilogue { residual: Residual::InPlace, ..epilogue }),
                &truth,
                1e-5,
                &format!("{cpu:?}"),
            );
            let epilogue = Epilogue {
                residual: Residual::From(&residual),
                per_image: Some(&per_image),
                ..Epilogue::default()
            };
            let one = |i: usize| {
                sums[i] + f64::from(residual[i]) + f64::from(per_image[i / (20 * 35) * 35 + i % 35])
            };
            let truth: Vec<f64> = (0..sums.len()).map(one).collect();
            assert_close(&run(epilogue), &truth, 1e-5, &format!("{cpu:?}"));
        }
    }
}

#[test]
fn an_image_has_the_same_bits_alone_and_in_any_batch_with_any_threads() {
    for (window, geometry) in [([3, 3], Geometry::padded(1)), ([1, 1], Geometry::default())] {
        let case = Case::new([140, 35], window, geometry, [3, 40, 7]);
        for cpu in cpus() {
            for &precision in Precision::of(cpu.isa) {
                let all = bits(&case.run(&cpu, precision));
                for threads in [1, 3] {
                    assert_eq!(bits(&case.run(&with_threads(&cpu, threads), precision)), all);
                }
                let (input, one) = (case.input(), all.len() / 3);
                let alone = Case { count: 1, ..case.clone() };
                let found = alone.run_on(&cpu, precision, &input[2 * input.len() / 3..], Epilogue::default());
                assert_eq!(bits(&found), all[2 * one..], "{cpu:?}, {precision:?}");
            }
        }
    }
}

#[test]
fn int8_pixels_have_scales_of_their_own() {
    // Between small and large pixels, the small ones keep their digits.
    let case = Case::new([64, 40], [3, 3], Geometry::padded(1), [1, 9, 20]);
    let mut input = case.input();
    for (i, pixel) in input.chunks_exact_mut(64).enumerate() {
        let size = if i % 20 < 10 { 1.0 } else { 1000.0 };
        pixel.iter_mut().for_each(|value| *value *= size);
    }
    for cpu in cpus() {
        let run = |precision| case.run_on(&cpu, precision, &input, Epilogue::default());
        let (exact, found) = (run(Precision::F32), run(Precision::Int8));
        for (columns, size) in [(0..9, 1.0_f32), (11..20, 1000.0)] {
            let of = |values: &[f32]| -> Vec<f32> {
                let rows = values.chunks_exact(20 * 40);
                rows.flat_map(|row| row[columns.start * 40..columns.end * 40].to_vec()).collect()
            };
            let (exact, found) = (of(&exact), of(&found));
            let dot = |a: &[f32], b: &[f32]| -> f64 {
                a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
            };
            let cosine = dot(&exact, &found) / (dot(&exact, &exact) * dot(&found, &found)).sqrt();
            assert!(cosine > 0.9998, "{cpu:?} {size}: {cosine}");
        }
    }
}

#[test]
fn a_larger_image_has_the_same_bits_where_its_pixels_are_the_same() {
    let small = Case::new([150, 5], [3, 3], Geometry::padded(1), [1, 9, 15]);
    let large = Case { height: 50, ..small.clone() };
    for cpu in cpus() {
        for &precision in Precision::of(cpu.isa) {
            let (row, all) = (15 * 5, large.run(&cpu, precision));
            assert_eq!(bits(&small.run(&cpu, precision)[..8 * row]), bits(&all[..8 * row]), "{cpu:?}");
        }
    }
    // A part of a wider image has rows of other lengths, so that pixels share tiles with others.
    let wide = Case { width: 140, ..small.clone() };
    let input = wide.input();
    let part: Vec<f32> = input.chunks_exact(140 * 150).flat_map(|row| &row[..15 * 150]).copied().collect();
    for cpu in cpus() {
        for &precision in Precision::of(cpu.isa) {
            let run = |case: &Case, input| case.run_on(&cpu, precision, input, Epilogue::default());
            let (narrow, all) = (run(&small, &part), run(&wide, &input));
            for (narrow, all) in narrow.chunks_exact(15 * 5).zip(all.chunks_exact(140 * 5)) {
                assert_eq!(bits(&narrow[..14 * 5]), bits(&all[..14 * 5]), "{cpu:?}, {precision:?}");
            }
        }
    }
}

#[test]
fn nan_reaches_the_windows_that_cover_it_and_no_others() {
    for (cpu, inputs) in cpus().into_iter().flat_map(|cpu| [(cpu.clone(), 4), (cpu, 50)]) {
        let case = Case::new([inputs, 6], [3, 3], Geometry::padded(1), [1, 7, 20]);
        let mut input = case.input();
        input[(3 * 20 + 10) * inputs] = f32::NAN;
        for &precision in Precision::of(cpu.isa) {
            let found = case.run_on(&cpu, precision, &input, Epilogue::default());
            for (i, value) in found.iter().enumerate() {
                let (y, x) = (i / 6 / 20, i / 6 % 20);
                let covers = (2..=4).contains(&y) && (9..=11).contains(&x);
                assert_eq!(value.is_nan(), covers, "{cpu:?}, {precision:?}: {y}, {x}");
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let cpu = &cpus()[0];
    let window = Window { outputs: 2, inputs: 3, height: 3, width: 3 };
    let weights = vec![0.0; 54];
    let new =
        |window, geometry, precision| Conv::new(cpu, Weights::F32(&weights), window, geometry, precision);
    assert!(new(Window { inputs: 4, ..window }, Geometry::default(), Precision::F32).is_err());
    assert!(new(Window { outputs: 0, ..window }, Geometry::default(), Precision::F32).is_err());
    assert!(new(window, stride(0, [0; 4]), Precision::F32).is_err());
    let flawed = [f32::NAN; 54];
    assert!(Conv::new(cpu, Weights::F32(&flawed), window, Geometry::default(), Precision::Int8).is_err());
    let layer = new(window, Geometry::default(), Precision::F32).unwrap();
    assert!(layer.clone().with_bias(&[0.0; 3]).is_err());
    assert!(layer.output_size(2, 3).is_err());
    assert_eq!(layer.output_size(3, 5).unwrap(), (1, 3));
    let run = |cpu: &Cpu, data: &[f32], length: usize, epilogue| {
        let images = Images { data, count: 1, height: 3, width: 5 };
        conv(cpu, &layer, images, &mut vec![0.0; length], epilogue)
    };
    let none = Epilogue::default();
    assert!(run(cpu, &[0.0; 45], 6, none).is_ok());
    assert!(run(cpu, &[0.0; 44], 6, none).is_err());
    assert!(run(cpu, &[0.0; 45], 7, none).is_err());
    assert!(run(cpu, &[0.0; 45], 6, Epilogue { residual: Residual::From(&[0.0; 5]), ..none }).is_err());
    assert!(run(cpu, &[0.0; 45], 6, Epilogue { per_image: Some(&[0.0; 3]), ..none }).is_err());
    if let Some(other) = cpus().get(1) {
        assert!(run(other, &[0.0; 45], 6, none).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_shape_is_convolved(
        channels in (1_usize..40, 1_usize..40),
        window in (1_usize..4, 1_usize..4),
        step in 1_usize..3,
        padding in (0_usize..3, 0_usize..3, 0_usize..3, 0_usize..3),
        doubled: bool,
        images in (1_usize..3, 3_usize..9, 3_usize..20),
    ) {
        let geometry = Geometry { stride: step, padding: [padding.0, padding.1, padding.2, padding.3], doubled };
        check(&Case::new([channels.0, channels.1], [window.0, window.1], geometry, [images.0, images.1, images.2]));
    }
}
