//! Every format on every instruction set: against f64, against plain Rust, bit for bit against itself.

use proptest::prelude::*;

use super::*;
use crate::testing::{L2_BYTES, bits, with_l2_bytes};

fn check_case(case: &Case) {
    let truth = case.truth();
    let plain = case.run(&Cpu::new(Isa::PORTABLE, 1));
    for cpu in cpus() {
        let found = case.run(&cpu);
        for (i, (found, (truth, rounding, quantising))) in found.iter().zip(&truth).enumerate() {
            let what = format!("{cpu:?} {} {} x {} x {}: {i}", case.format.name(), case.m, case.n, case.k);
            let off = (f64::from(*found) - truth).abs();
            assert!(off <= rounding + quantising, "{what}: {found}, not {truth} ± {rounding} ± {quantising}");
            // Integers are exact: all that may differ between sets is the rounding of f32 sums.
            let off = f64::from((found - plain[i]).abs());
            assert!(off <= 2.0 * rounding, "{what}: {found}, portable {}", plain[i]);
        }
    }
}

#[test]
fn every_format_is_close_to_f64_for_few_and_many_rows_and_odd_outputs() {
    for &format in Format::ALL {
        for (m, n) in (1..=13).map(|m| (m, 17)).chain([(1, 1), (2, 16), (3, 33), (25, 40), (31, 5)]) {
            check_case(&Case::new(format, m, n, lengths(format)[1]));
        }
        for k in lengths(format) {
            check_case(&Case::new(format, 1, 35, k));
            check_case(&Case::new(format, 5, 19, k));
        }
    }
}

#[test]
fn activations_that_bytes_hold_are_multiplied_exactly() {
    // Whole numbers, the largest of every 32 being 127: nothing is rounded, so that only the sums of f32 are left.
    for &format in Format::ALL {
        let mut case = Case::new(format, 3, 18, lengths(format)[2]);
        for (i, x) in case.x.iter_mut().enumerate() {
            *x = if i % 16 == 3 { -127.0 } else { (*x * 127.0).round() };
        }
        let truth = case.truth();
        for cpu in cpus() {
            for (found, (truth, rounding, _)) in case.run(&cpu).iter().zip(&truth) {
                let off = (f64::from(*found) - truth).abs();
                assert!(off <= *rounding, "{cpu:?} {}: {found}, not {truth} ± {rounding}", format.name());
            }
        }
    }
}

#[test]
fn a_row_gives_the_same_bits_alone_and_in_any_batch_on_any_threads() {
    for isa in sets() {
        for &format in Format::ALL {
            let case = Case::new(format, 59, 50, lengths(format)[1]);
            let alone = Cpu::new(isa, 1);
            let weights = case.weights(&alone);
            let mut expected = vec![0.0; case.m * case.n];
            for (x, y) in case.x.chunks_exact(case.k).zip(expected.chunks_exact_mut(case.n)) {
                weights.matmul(&alone, x, 1, y).unwrap();
            }
            for (threads, m) in [(1, 59), (2, 59), (5, 59), (3, 12), (2, 7), (4, 3), (3, 1)] {
                let mut found = vec![0.0; m * case.n];
                weights.matmul(&Cpu::new(isa, threads), &case.x[..m * case.k], m, &mut found).unwrap();
                let same = found.iter().zip(&expected).all(|(found, one)| found.to_bits() == one.to_bits());
                assert!(same, "{isa} {} {m} rows, {threads} threads", format.name());
            }
        }
    }
}

#[test]
fn the_size_of_the_cache_does_not_change_a_bit() {
    for (format, k) in [(Format::Q4_0, 4096), (Format::Q6K, 4096), (Format::Bf16, 1030)] {
        let case = Case::new(format, 27, 100, k);
        for isa in sets() {
            let cpu = Cpu::new(isa, 1);
            // Half of the smallest cache holds less than half of them, so that they are cut.
            assert!(case.weights(&cpu).data.len() > L2_BYTES[0], "{}", format.name());
            let found = L2_BYTES.map(|l2_bytes| bits(&case.run(&with_l2_bytes(&cpu, l2_bytes))));
            assert!(found.iter().all(|bits| bits == &found[0]), "{isa} {}", format.name());
        }
    }
}

#[test]
fn large_multiplications_are_the_same_on_two_threads_and_with_many_rows() {
    let isa = *Isa::available().last().unwrap();
    for format in [Format::Q4_0, Format::Q4K, Format::Q6K] {
        let case = Case::new(format, 512, 200, 512);
        let (one, two) = (case.run(&Cpu::new(isa, 1)), case.run(&Cpu::new(isa, 2)));
        assert!(one == two, "{}", format.name());
        let mut last = vec![0.0; case.n];
        let cpu = Cpu::new(isa, 2);
        case.weights(&cpu).matmul(&cpu, &case.x[511 * case.k..], 1, &mut last).unwrap();
        assert!(last == one[511 * case.n..], "{}", format.name());
    }
}

#[test]
fn slices_at_any_address_give_the_same_and_nothing_else_is_written() {
    for cpu in cpus() {
        for &format in Format::ALL {
            let case = Case::new(format, 3, 21, lengths(format)[0]);
            let expected = case.run(&cpu);
            let bytes: Vec<u8> = std::iter::once(0).chain(case.bytes.iter().copied()).collect();
            let x: Vec<f32> = std::iter::once(9.0).chain(case.x.iter().copied()).collect();
            let weights = QuantisedWeights::from_ggml(&cpu, format, &[&bytes[1..]], case.n, case.k).unwrap();
            let mut y = vec![7.0; expected.len() + 2];
            let end = y.len() - 1;
            weights.matmul(&cpu, &x[1..], case.m, &mut y[1..end]).unwrap();
            assert_eq!((y[0], y[end]), (7.0, 7.0), "{cpu:?} {}", format.name());
            assert_eq!(y[1..end], expected, "{cpu:?} {}", format.name());
        }
    }
}

#[test]
fn nothing_times_something_is_nothing() {
    let cpu = Cpu::new(*Isa::available().last().unwrap(), 2);
    for &format in Format::ALL {
        assert!(Case::new(format, 0, 20, 256).run(&cpu).is_empty());
        assert!(Case::new(format, 3, 0, 256).run(&cpu).is_empty());
        assert_eq!(Case::new(format, 3, 20, 0).run(&cpu), [0.0; 60], "{}", format.name());
    }
}

#[test]
fn a_number_that_is_not_finite_spoils_its_row_only() {
    for cpu in cpus() {
        for &format in Format::ALL {
            let mut case = Case::new(format, 4, 20, 256);
            let expected = case.run(&cpu);
            (case.x[256 + 40], case.x[512 + 255]) = (f32::NAN, f32::INFINITY);
            let found = case.run(&cpu);
            assert!(found[20..60].iter().all(|y| !y.is_finite()), "{cpu:?} {}", format.name());
            assert_eq!(found[..20], expected[..20], "{cpu:?} {}", format.name());
            assert_eq!(found[60..], expected[60..], "{cpu:?} {}", format.name());
        }
    }
}

#[test]
fn a_scale_that_is_not_finite_spoils_its_output_only() {
    for cpu in cpus() {
        let mut case = Case::new(Format::Q4_0, 2, 20, 64);
        let expected = case.run(&cpu);
        case.bytes[3 * 36..][..2].copy_from_slice(&f16::NAN.to_le_bytes());
        for (i, (found, expected)) in case.run(&cpu).iter().zip(&expected).enumerate() {
            assert_eq!(found.is_nan(), i % 20 == 3, "{cpu:?} {i}");
            assert!(found.is_nan() || found == expected, "{cpu:?} {i}");
        }
    }
}

#[test]
fn tiny_and_huge_activations_are_zero_or_right() {
    for cpu in cpus() {
        for &format in Format::ALL {
            let mut case = Case::new(format, 2, 16, 256);
            let (tiny, huge) = case.x.split_at_mut(256);
            tiny.fill(1e-40);
            huge.iter_mut().for_each(|x| *x *= 1e30);
            for (found, (truth, rounding, quantising)) in case.run(&cpu).iter().zip(case.truth()) {
                let off = (f64::from(*found) - truth).abs();
                assert!(off <= rounding + quantising + 1e-35, "{cpu:?} {}: {found} {truth}", format.name());
            }
        }
    }
}

#[test]
fn the_extremes_of_every_code_do_not_saturate() {
    for cpu in cpus() {
        for &format in Format::ALL.iter().filter(|format| format.shape().is_some()) {
            for (codes, x) in
                [(0x00, -1.0), (0x00, 1.0), (0xff, 1.0), (0xff, -1.0), (0x80, 1.0), (0x7f, -1.0)]
            {
                let mut case = Case::new(format, 1, 16, 256);
                case.x.fill(x);
                for block in case.bytes.chunks_exact_mut(format.block_bytes()) {
                    let places = format.scale_places();
                    for (at, byte) in block.iter_mut().enumerate() {
                        let is_scale = places.iter().any(|place| (*place..place + 2).contains(&at));
                        if !is_scale && (format != Format::Mxfp4 || at > 0) {
                            *byte = codes;
                        }
                    }
                }
                for (found, (truth, rounding, _)) in case.run(&cpu).iter().zip(case.truth()) {
                    let off = (f64::from(*found) - truth).abs();
                    assert!(off <= rounding, "{cpu:?} {} {codes:x}: {found}, not {truth}", format.name());
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_shape_is_close_to_f64(
        number in 0..Format::ALL.len(), m in 0_usize..30, n in 0_usize..70, blocks in 0_usize..5,
    ) {
        let format = Format::ALL[number];
        check_case(&Case::new(format, m, n, blocks * format.block_length()));
    }
}
