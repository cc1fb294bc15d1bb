//! Tiles against vectors, which have the same bits: those of the model everywhere, those of the CPU where it has them.

use std::io::Write;

use proptest::prelude::*;

use super::amx::has_bits_of_vectors;
use super::*;
use crate::amx::Tiles;
use crate::amx::model::Model;
use crate::simd::Simd;
use crate::simd::portable::WIDE;

/// Products that end in the middle of a panel, a step, a chunk and a block, of every format with blocks.
fn check<S: Simd, T: Tiles>(s: S, what: &str) {
    let cpu = Cpu::new(Isa::PORTABLE, 2);
    let check = |format: Format, sizes| {
        let name = format.name();
        assert!(has_bits_of_vectors::<S, T>(s, &cpu, format, sizes), "{what} {name} {sizes:?}");
    };
    for (number, &format) in Format::ALL.iter().filter(|format| format.shape().is_some()).enumerate() {
        for k in [32_usize, 96, 512, 544, 608, 1024] {
            let k = k.next_multiple_of(format.block_length());
            check(format, [1 + 5 * number, 70 - 5 * number, k]);
        }
    }
    check(Format::Q4_1, [530, 17, 608]);
    check(Format::Q6K, [1050, 5, 256]);
}

#[test]
fn the_model_has_the_bits_of_vectors() {
    check::<_, Model>(WIDE, "plain Rust");
    #[cfg(target_arch = "x86_64")]
    if Isa::choose(Some("avx512-vnni")).is_ok() {
        // SAFETY: the CPU has the instructions.
        check::<_, Model>(unsafe { crate::simd::avx512::Avx512Vnni::new() }, "AVX-512");
        return;
    }
    // Directly to standard error, which the test harness does not capture.
    writeln!(std::io::stderr(), "GGUF in tiles is NOT tested with AVX-512 here, only with plain Rust")
        .unwrap();
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_hardware_has_the_bits_of_vectors() {
    if !Isa::available().iter().any(|isa| isa.has_tiles()) {
        writeln!(std::io::stderr(), "GGUF in AMX is NOT tested here, only on the model of its tiles")
            .unwrap();
        return;
    }
    // SAFETY: a CPU with AMX that may be used has the instructions.
    let s = unsafe { crate::simd::avx512::Avx512Vnni::new() };
    check::<_, crate::amx::hardware::Hardware>(s, "AMX");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_shape_has_the_bits_of_vectors(
        number in 0..Format::ALL.len() - 2, m in 1_usize..70, n in 1_usize..70, blocks in 1_usize..5,
    ) {
        let format = *Format::ALL.iter().filter(|format| format.shape().is_some()).nth(number).unwrap();
        let (cpu, sizes) = (Cpu::new(Isa::PORTABLE, 2), [m, n, blocks * format.block_length()]);
        assert!(has_bits_of_vectors::<_, Model>(WIDE, &cpu, format, sizes), "{} {sizes:?}", format.name());
    }
}
