//! On every instruction set against f64; bits against the number of threads and the other images.

use super::super::testing::{assert_close, bits, cpus, noise, with_threads};
use super::*;

#[derive(Clone, Copy, Debug)]
struct Shape {
    images: usize,
    pixels: usize,
    channels: usize,
    groups: usize,
}

fn truth(x: &[f32], shape: Shape, weight: &[f32], bias: &[f32], silu: bool) -> Vec<f64> {
    let Shape { images, pixels, channels, groups } = shape;
    let width = channels / groups;
    let at = |image: usize, pixel: usize, channel: usize| (image * pixels + pixel) * channels + channel;
    let mut result = vec![0.0; x.len()];
    for image in 0..images {
        for group in 0..groups {
            let places: Vec<usize> = (0..pixels)
                .flat_map(|pixel| (group * width..(group + 1) * width).map(move |c| at(image, pixel, c)))
                .collect();
            let count = places.len() as f64;
            let mean = places.iter().map(|i| f64::from(x[*i])).sum::<f64>() / count;
            let variance = places.iter().map(|i| (f64::from(x[*i]) - mean).powi(2)).sum::<f64>() / count;
            for i in places {
                let channel = i % channels;
                let y = (f64::from(x[i]) - mean) / (variance + 1e-5).sqrt();
                let y = y * f64::from(weight[channel]) + f64::from(bias[channel]);
                result[i] = if silu { y / (1.0 + (-y).exp()) } else { y };
            }
        }
    }
    result
}

const SHAPES: &[(usize, usize, usize, usize)] = &[
    (1, 1, 1, 1),
    (2, 5, 8, 2),
    (1, 9, 30, 5),
    (3, 64, 64, 32),
    (1, 1000, 130, 10),
    (2, 300, 320, 32),
    (1, 3, 33_000, 3),
    (0, 0, 6, 2),
];

#[test]
fn images_of_every_shape_are_normalised() {
    for cpu in cpus() {
        // Every number of channels up to 70, each as a group and all as one.
        let every = (1..=70).flat_map(|channels| [(1, 13, channels, channels), (1, 13, channels, 1)]);
        for (images, pixels, channels, groups) in SHAPES.iter().copied().chain(every) {
            let shape = Shape { images, pixels, channels, groups };
            // A mean far from zero: squares minus the square of the mean would lose most digits.
            let x: Vec<f32> = noise(images * pixels * channels, 4).iter().map(|x| x + 30.0).collect();
            let (weight, bias) = (noise(channels, 5), noise(channels, 6));
            let scaling = Scaling { weight: &weight, bias: Some(&bias), epsilon: 1e-5 };
            for activation in [Activation::None, Activation::Silu] {
                let mut found = vec![f32::NAN; x.len()];
                group_norm(&cpu, &mut found, Source::From(&x), images, groups, scaling, activation).unwrap();
                let truth = truth(&x, shape, &weight, &bias, activation == Activation::Silu);
                assert_close(&found, &truth, 3e-5, &format!("{cpu:?}, {shape:?}, {activation:?}"));
                let mut in_place = x.clone();
                group_norm(&cpu, &mut in_place, Source::InPlace, images, groups, scaling, activation)
                    .unwrap();
                assert_eq!(bits(&in_place), bits(&found));
            }
        }
    }
}

#[test]
fn an_image_has_the_same_bits_alone_and_in_any_batch_with_any_threads() {
    for cpu in cpus() {
        let (images, pixels, channels) = (3, 700, 96);
        let (x, weight) = (noise(images * pixels * channels, 5), noise(channels, 6));
        let scaling = Scaling { weight: &weight, bias: None, epsilon: 1e-6 };
        let norm = |cpu: &Cpu, x: &[f32], images: usize| {
            let mut to = vec![0.0; x.len()];
            group_norm(cpu, &mut to, Source::From(x), images, 32, scaling, Activation::Silu).unwrap();
            bits(&to)
        };
        let all = norm(&cpu, &x, images);
        for threads in [1, 3] {
            assert_eq!(norm(&with_threads(&cpu, threads), &x, images), all);
        }
        let last = 2 * pixels * channels;
        assert_eq!(norm(&cpu, &x[last..], 1), all[last..]);
    }
}

#[test]
fn nan_stays_in_its_group() {
    for cpu in cpus() {
        let mut x = noise(10 * 64, 3);
        x[5 * 64 + 20] = f32::NAN;
        let weight = [1.0; 64];
        let scaling = Scaling { weight: &weight, bias: None, epsilon: 1e-5 };
        group_norm(&cpu, &mut x, Source::InPlace, 1, 4, scaling, Activation::None).unwrap();
        for (i, x) in x.iter().enumerate() {
            assert_eq!(x.is_nan(), (16..32).contains(&(i % 64)), "{cpu:?}: {i}");
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused() {
    let cpu = &cpus()[0];
    let scaling = Scaling { weight: &[1.0; 4], bias: None, epsilon: 1e-5 };
    let norm = |length: usize, images, groups, scaling| {
        group_norm(cpu, &mut vec![0.0; length], Source::InPlace, images, groups, scaling, Activation::None)
    };
    assert!(norm(8, 2, 2, scaling).is_ok());
    assert!(norm(8, 2, 3, scaling).is_err());
    assert!(norm(8, 2, 0, scaling).is_err());
    assert!(norm(9, 1, 2, scaling).is_err());
    assert!(norm(8, 3, 2, scaling).is_err());
    assert!(norm(8, 0, 2, scaling).is_err());
    assert!(norm(8, 2, 2, Scaling { weight: &[], ..scaling }).is_err());
    assert!(norm(8, 2, 2, Scaling { bias: Some(&[0.0; 2]), ..scaling }).is_err());
    assert!(
        group_norm(cpu, &mut [0.0; 4], Source::From(&[0.0; 8]), 1, 2, scaling, Activation::None).is_err()
    );
}
