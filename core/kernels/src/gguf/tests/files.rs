//! Reading and writing blocks: bit for bit as candle, which has functions of its own for it.

use std::borrow::Cow;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{Device, Tensor};

use super::*;
use crate::KernelError;

fn of_candle(format: Format) -> Option<GgmlDType> {
    Some(match format {
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
        _ => return None,
    })
}

fn bits(numbers: &[f32]) -> Vec<u32> {
    numbers.iter().map(|number| number.to_bits()).collect()
}

#[test]
fn every_format_reads_as_candle_reads_it() {
    for &format in Format::ALL {
        let Some(theirs) = of_candle(format) else { continue };
        let count = 40 * format.block_length();
        let bytes = file(format, 1, count, &mut Noise::new(5));
        let found = rows_of(format, &bytes, 1, count);
        let storage = QStorage::from_data(Cow::Owned(bytes), &Device::Cpu, theirs).unwrap();
        let tensor = QTensor::new(storage, count).unwrap().dequantize(&Device::Cpu).unwrap();
        assert_eq!(bits(&found), bits(&tensor.to_vec1().unwrap()), "{}", format.name());
    }
}

/// For each format that candle does not know, a line: its name, two blocks, and their numbers as the package `gguf` reads them;
/// core/tests/golden/make/gguf_blocks.py writes them.
#[test]
fn other_formats_read_as_the_package_gguf_reads_them() {
    let pairs = |hex: &str, size: usize| {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len())
            .step_by(2)
            .map(byte)
            .collect::<Vec<u8>>()
            .chunks(size)
            .map(<[u8]>::to_vec)
            .collect::<Vec<_>>()
    };
    let mut seen = Vec::new();
    for line in include_str!("blocks.txt").lines() {
        let [name, bytes, numbers] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let format = *Format::ALL.iter().find(|format| format.name() == name).unwrap();
        let (bytes, numbers) = (pairs(bytes, usize::MAX).concat(), pairs(numbers, 4));
        let truth: Vec<u32> =
            numbers.iter().map(|four| u32::from_le_bytes(four.as_slice().try_into().unwrap())).collect();
        assert_eq!(bits(&rows_of(format, &bytes, 1, truth.len())), truth, "{name}");
        seen.push(format);
    }
    let unknown: Vec<Format> =
        Format::ALL.iter().copied().filter(|format| of_candle(*format).is_none()).collect();
    assert_eq!(seen, unknown);
}

#[test]
fn simple_formats_are_written_as_candle_writes_them() {
    for &format in Format::ALL.iter().filter(|format| format.can_quantise()) {
        let mut numbers = Noise::new(6).numbers(32 * 40);
        numbers[32..64].fill(0.0);
        let tensor = Tensor::from_slice(&numbers, numbers.len(), &Device::Cpu).unwrap();
        let expected = QTensor::quantize(&tensor, of_candle(format).unwrap()).unwrap();
        let found = format.quantise(&numbers).unwrap();
        assert_eq!(found, *expected.data().unwrap(), "{}", format.name());
    }
}

#[test]
fn written_numbers_are_within_a_step_of_what_is_read() {
    for &format in Format::ALL.iter().filter(|format| format.can_quantise()) {
        let numbers = Noise::new(7).numbers(320);
        let bytes = format.quantise(&numbers).unwrap();
        let found = rows_of(format, &bytes, 1, numbers.len());
        // The range of numbers is two, the steps are as many as the codes but one.
        let step = match format {
            Format::Q4_0 | Format::Q4_1 => 2.0 / 15.0,
            Format::Q5_0 | Format::Q5_1 => 2.0 / 31.0,
            _ => 2.0 / 254.0,
        };
        for (found, number) in found.iter().zip(&numbers) {
            assert!((found - number).abs() <= step * 1.01, "{}: {found}, not {number}", format.name());
        }
    }
}

#[test]
fn formats_with_blocks_of_256_are_not_written() {
    let error = Format::Q4K.quantise(&[0.0; 256]).unwrap_err();
    assert!(matches!(error, KernelError::Unsupported(_)), "{error}");
}

#[test]
fn packed_rows_read_as_the_file_does() {
    let cpu = Cpu::new(Isa::PORTABLE, 2);
    for &format in Format::ALL {
        for n in [1, 15, 16, 33] {
            let case = Case::new(format, 0, n, lengths(format)[1]);
            let (weights, expected) = (case.weights(&cpu), rows_of(format, &case.bytes, n, case.k));
            for row in 0..n {
                let mut found = vec![f32::NAN; case.k];
                weights.dequantise_row(row, &mut found).unwrap();
                let expected = &expected[row * case.k..(row + 1) * case.k];
                assert_eq!(bits(&found), bits(expected), "{} row {row} of {n}", format.name());
            }
        }
    }
}

#[test]
fn packed_weights_take_little_more_memory_than_the_file() {
    let cpu = Cpu::new(Isa::PORTABLE, 1);
    for &format in Format::ALL {
        let case = Case::new(format, 0, 64, 1024);
        let (bytes, most) = (case.weights(&cpu).bytes(), case.bytes.len() as f64 * 1.1);
        assert!(bytes >= case.bytes.len() && bytes as f64 <= most, "{}: {bytes}", format.name());
    }
}

#[test]
fn formats_are_found_by_their_number_in_a_file() {
    for &format in Format::ALL {
        assert_eq!(Format::from_number(format.number()), Some(format));
        if let Some(theirs) = of_candle(format) {
            assert_eq!(theirs.type_size(), format.block_bytes());
            assert_eq!(theirs.block_size(), format.block_length());
        }
    }
    assert_eq!(Format::from_number(0), None);
    assert_eq!(Format::from_number(u32::MAX), None);
}

#[test]
fn a_scale_that_is_not_finite_is_found_in_every_format() {
    for format in Format::ALL.iter().copied() {
        let length = format.block_length();
        let good = file(format, 2, length, &mut Noise::new(1));
        assert!(format.are_finite(&good), "{format:?}");
        for at in format.scale_places() {
            let mut bad = good.clone();
            let place = format.block_bytes() + at;
            bad[place..place + 2].copy_from_slice(&[0xff, 0xff]);
            assert!(!format.are_finite(&bad), "{format:?}");
            let mut numbers = vec![0.0; 2 * length];
            format.dequantise(&bad, &mut numbers).unwrap();
            assert!(numbers.iter().any(|number| !number.is_finite()), "{format:?}");
        }
    }
}

#[test]
fn wrong_sizes_are_refused() {
    let cpu = Cpu::new(Isa::PORTABLE, 1);
    let new =
        |format, bytes: usize, n, k| QuantisedWeights::from_ggml(&cpu, format, &[&vec![0; bytes]], n, k);
    let kinds = [
        new(Format::Q4_0, 17, 1, 32).unwrap_err(),
        new(Format::Q4_0, 19, 1, 32).unwrap_err(),
        new(Format::Q4_0, 18, 1, 31).unwrap_err(),
        new(Format::Q4K, 144, 1, 128).unwrap_err(),
        new(Format::Q6K, 0, usize::MAX, 256).unwrap_err(),
        new(Format::F16, 0, usize::MAX / 2, 3).unwrap_err(),
        Format::Q4_0.dequantise(&[0; 18], &mut [0.0; 64]).unwrap_err(),
        Format::Q5_1.dequantise(&[0; 24], &mut [0.0; 31]).unwrap_err(),
        Format::Q8_0.quantise(&[0.0; 33]).unwrap_err(),
    ];
    let weights = new(Format::Q4_0, 36, 2, 32).unwrap();
    let of_weights = [
        weights.matmul(&cpu, &[0.0; 31], 1, &mut [0.0; 2]).unwrap_err(),
        weights.matmul(&cpu, &[0.0; 32], 1, &mut [0.0; 3]).unwrap_err(),
        weights.matmul(&cpu, &[0.0; 32], 2, &mut [0.0; 4]).unwrap_err(),
        weights.matmul(&cpu, &[0.0; 32], usize::MAX, &mut [0.0; 2]).unwrap_err(),
        weights.dequantise_row(2, &mut [0.0; 32]).unwrap_err(),
        weights.dequantise_row(0, &mut [0.0; 33]).unwrap_err(),
    ];
    for error in kinds.iter().chain(&of_weights) {
        assert!(matches!(error, KernelError::Shape(_)), "{error}");
    }
}
