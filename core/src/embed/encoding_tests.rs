use serde::Deserialize;

use super::*;
use crate::embed::similarity;
use crate::error::ErrorKind;

fn vectors(numbers: impl Into<Vec<f32>>, width: usize) -> Vectors {
    Vectors::new(numbers.into(), width).unwrap()
}

/// What numpy makes of seeded vectors (tests/golden/make/encodings.py).
#[derive(Deserialize)]
struct Golden {
    width: usize,
    f32_bits: Vec<u32>,
    f16_bits: Vec<u16>,
    int8: Vec<i8>,
    scale_bits: Vec<u32>,
    ubinary: Vec<u8>,
}

#[test]
fn every_encoding_is_what_numpy_makes() {
    let golden: Golden = serde_json::from_str(include_str!("../../tests/golden/encodings.json")).unwrap();
    let numbers: Vec<f32> = golden.f32_bits.iter().map(|bits| f32::from_bits(*bits)).collect();
    let vectors = vectors(numbers, golden.width);
    assert!(
        vectors.len() > 10 && !golden.width.is_multiple_of(8),
        "the last byte of a vector has to be filled up"
    );
    assert_eq!(vectors.to_f16().as_bits(), golden.f16_bits);
    let int8 = vectors.to_int8().unwrap();
    assert_eq!(int8.as_flat(), golden.int8);
    assert_eq!(int8.scales().iter().map(|scale| scale.to_bits()).collect::<Vec<_>>(), golden.scale_bits);
    assert_eq!(vectors.to_ubinary().as_bytes(), golden.ubinary);
}

#[test]
fn whole_numbers_use_their_range_and_halves_go_to_even() {
    let encoded = vectors([127.0, -0.5, 0.5, 1.5, 2.5, -127.0], 6).to_int8().unwrap();
    assert_eq!(encoded.as_flat(), [127, 0, 0, 2, 2, -127]);
    assert_eq!(encoded.scales(), [1.0]);
}

#[test]
fn whole_numbers_come_back_within_half_a_scale() {
    let original = vectors((0..640).map(|n| (n as f32 * 0.37).sin()).collect::<Vec<_>>(), 64);
    let encoded = original.to_int8().unwrap();
    for ((before, after), scale) in original.iter().zip(&encoded.to_f32()).zip(encoded.scales()) {
        let within = |(a, b): (&f32, &f32)| (a - b).abs() <= scale * 0.5001;
        assert!(before.iter().zip(after).all(within));
        assert!(similarity(before, after).unwrap() > 0.9999);
    }
}

#[test]
fn zero_vectors_and_the_least_numbers_are_whole_numbers_too() {
    let encoded = vectors([0.0, -0.0, 1e-45, 0.0, 1e-39, -1e-39], 2).to_int8().unwrap();
    assert_eq!(encoded.as_flat()[..4], [0, 0, 0, 0], "a scale that is zero divides nothing");
    assert_eq!(encoded.as_flat()[4..], [127, -127]);
    assert!(encoded.to_f32().as_flat().iter().all(|x| x.is_finite()));
}

#[test]
fn what_is_not_finite_has_no_whole_number() {
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let error = vectors([1.0, 2.0, wrong, 1.0], 2).to_int8().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResponseInvalid);
        assert!(error.message().contains("vector 1"), "{error}");
    }
}

#[test]
fn bits_are_the_signs_the_first_in_the_highest_bit() {
    let nan = f32::NAN;
    let encoded = vectors([1.0, -1.0, 0.0, -0.0, nan, 2.0, 3.0, 4.0, 5.0, -6.0], 10).to_ubinary();
    assert_eq!(encoded.as_bytes(), [0b1000_0111, 0b1000_0000]);
    assert_eq!((encoded.len(), encoded.width()), (1, 10));
}

#[test]
fn distances_count_every_bit_once() {
    let (a, b) = ([0xffu8; 13], [0u8; 13]);
    assert_eq!(hamming_distance(&a, &b).unwrap(), 104);
    assert_eq!(hamming_distance(&a, &a).unwrap(), 0);
    assert_eq!(hamming_distance(&[0b11; 9], &[0b01; 9]).unwrap(), 9);
    assert_eq!(hamming_distance(&a, &b[1..]).unwrap_err().kind(), ErrorKind::InvalidRequest);
}

#[test]
fn the_nearest_bits_are_found_and_of_equals_the_first() {
    let rows = vec![vec![1.0, 1.0, 1.0], vec![1.0, 1.0, -1.0], vec![-1.0, -1.0, 1.0], vec![1.0, -1.0, 1.0]];
    let encoded = Vectors::from_rows(rows).unwrap().to_ubinary();
    let found = encoded.top_k(encoded.get(0).unwrap(), 3).unwrap();
    let found: Vec<_> = found.iter().map(|found| (found.index, found.distance)).collect();
    assert_eq!(found, [(0, 0), (1, 1), (3, 1)]);
    assert_eq!(encoded.top_k(&[0, 0], 1).unwrap_err().kind(), ErrorKind::InvalidRequest);
}

#[test]
fn every_encoding_says_its_name_and_how_many_bytes_it_is() {
    let original = vectors([0.5, -0.25, 1.0, 2.0, 0.0, -1.0], 3);
    for (encoding, bytes) in
        [(Encoding::F32, 24), (Encoding::F16, 12), (Encoding::Int8, 6), (Encoding::Ubinary, 2)]
    {
        assert_eq!(encoding.name().parse::<Encoding>().unwrap(), encoding);
        let encoded = original.encoded(encoding).unwrap();
        assert_eq!(encoded.encoding(), encoding);
        assert_eq!(
            (encoded.len(), encoded.width(), encoded.to_le_bytes().len()),
            (2, 3, bytes),
            "{encoding}"
        );
    }
    assert_eq!(original.encoded(Encoding::F16).unwrap().to_le_bytes()[..4], [0x00, 0x38, 0x00, 0xb4]);
    assert_eq!(original.to_f16().to_f32(), original);
    let error = "binary".parse::<Encoding>().unwrap_err();
    assert!(error.message().contains("ubinary"), "{error}");
}
