//! Which precision is the fastest on this CPU: a table for the CPUs that are known, a measurement for the others.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::gemm::Precision;
use crate::peak::{self, Instruction};
use crate::{Cpu, Isa};

/// A precision and why it was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Choice {
    /// f32, or bf16 where it is faster.
    pub precision: Precision,
    /// One sentence for people.
    pub reason: &'static str,
}

impl Choice {
    const fn f32(reason: &'static str) -> Self {
        Self { precision: Precision::F32, reason }
    }

    const fn bf16(reason: &'static str) -> Self {
        Self { precision: Precision::Bf16, reason }
    }
}

/// The faster of f32 and bf16 with an instruction set of this CPU. The same CPU always gets the same answer, so that
/// results keep their bits; an unknown one is measured once a process, in less than a millisecond.
pub fn fastest(isa: Isa) -> Choice {
    if !isa.has_bf16_dot() {
        return Choice::f32("the instruction set has no bf16 products");
    }
    if isa.has_tiles() {
        return Choice::bf16("AMX multiplies bf16 many times as fast as vectors multiply f32");
    }
    let choice = known_choice().unwrap_or_else(|| {
        static MEASURED: OnceLock<Choice> = OnceLock::new();
        *MEASURED.get_or_init(|| measured(isa))
    });
    #[cfg(target_arch = "x86_64")]
    if let (Precision::F32, Some(reason)) = (choice.precision, crate::amx::enabling::reason_it_is_off()) {
        return Choice::f32(reason);
    }
    choice
}

/// What is known of this CPU.
#[cfg(target_arch = "x86_64")]
fn known_choice() -> Option<Choice> {
    CpuModel::current().known_choice()
}

/// Arm's optimisation guides of Neoverse V1, N2 and V2 let `bfdot` issue as often as an f32 product, for twice the work. No ARM
/// was at hand to measure. Apple publishes no such guide.
#[cfg(not(target_arch = "x86_64"))]
fn known_choice() -> Option<Choice> {
    const DOCUMENTED: &str =
        "Arm documents bf16 products as faster than f32 on its server CPUs; not measured by us";
    cfg!(all(target_arch = "aarch64", not(target_vendor = "apple"))).then_some(Choice::bf16(DOCUMENTED))
}

/// Whether bf16 products beat f32 products, measured in turns on one thread. The medians decide.
fn measured(isa: Isa) -> Choice {
    if bf16_speed_up(isa, 7) > 1.0 {
        Choice::bf16("measured: bf16 products are faster than f32 on this CPU, which is not in the table")
    } else {
        Choice::f32("measured: bf16 products are no faster than f32 on this CPU, which is not in the table")
    }
}

/// How many times as many operations a second bf16 does as f32.
fn bf16_speed_up(isa: Isa, turns: usize) -> f64 {
    const ROUNDS: usize = 2_000;
    let cpu = Cpu::new(isa, 1);
    let speed = |instruction| {
        let start = Instant::now();
        let operations = peak::multiply(&cpu, instruction, ROUNDS).unwrap_or(0);
        operations as f64 / start.elapsed().max(Duration::from_nanos(1)).as_secs_f64()
    };
    let mut ratios: Vec<f64> = (0..turns)
        .map(|_| {
            let f32 = speed(Instruction::MultiplyAdd);
            speed(Instruction::Bf16Dot) / f32
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    ratios.get(turns / 2).copied().unwrap_or(0.0)
}

/// An x86 CPU as its CPUID instruction names it.
#[cfg(any(test, target_arch = "x86_64"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CpuModel {
    vendor: [u8; 12],
    family: u32,
    model: u32,
    stepping: u32,
}

#[cfg(any(test, target_arch = "x86_64"))]
impl CpuModel {
    /// This machine's.
    #[cfg(target_arch = "x86_64")]
    fn current() -> Self {
        #[allow(unused_unsafe, reason = "a safe function since Rust 1.92")]
        // SAFETY: every 64-bit x86 CPU has CPUID and these two leaves.
        let (name, version) = unsafe { (std::arch::x86_64::__cpuid(0), std::arch::x86_64::__cpuid(1)) };
        let mut vendor = [0; 12];
        for (part, register) in vendor.chunks_exact_mut(4).zip([name.ebx, name.edx, name.ecx]) {
            part.copy_from_slice(&register.to_le_bytes());
        }
        Self::from_version(vendor, version.eax)
    }

    /// Family, model and stepping from EAX of leaf 1, whose extended fields count only in some families.
    fn from_version(vendor: [u8; 12], version: u32) -> Self {
        let (base_family, base_model) = ((version >> 8) & 0xf, (version >> 4) & 0xf);
        let family = if base_family == 0xf { base_family + ((version >> 20) & 0xff) } else { base_family };
        let has_extended_model = matches!(base_family, 0x6 | 0xf);
        let model = if has_extended_model { (((version >> 16) & 0xf) << 4) | base_model } else { base_model };
        Self { vendor, family, model, stepping: version & 0xf }
    }

    /// What is known of the CPUs that have `vdpbf16ps`. On AMD and Cooper Lake it does twice the work of an f32 product;
    /// Intel's later server CPUs run it at half the speed of f32, because they have AMX for bf16.
    fn known_choice(self) -> Option<Choice> {
        match (&self.vendor, self.family, self.model) {
            (b"AuthenticAMD", 0x19, _) => Some(Choice::bf16("AMD Zen 4 multiplies bf16 faster than f32")),
            (b"AuthenticAMD", 0x1a, _) => Some(Choice::bf16("AMD Zen 5 multiplies bf16 faster than f32")),
            (b"GenuineIntel", 0x6, 0x55) if self.stepping >= 0xa => {
                Some(Choice::bf16("Intel Cooper Lake multiplies bf16 faster than f32"))
            }
            (b"GenuineIntel", 0x6, 0x8f | 0xcf | 0xad | 0xae) => {
                Some(Choice::f32("this Intel CPU multiplies bf16 vectors at half the speed of f32"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(vendor: &[u8; 12], version: u32) -> Option<Precision> {
        CpuModel::from_version(*vendor, version).known_choice().map(|choice| choice.precision)
    }

    #[test]
    fn known_cpus_are_told_apart_by_their_version() {
        for (vendor, version, wanted) in [
            (b"AuthenticAMD", 0x00a1_0f11, Some(Precision::Bf16)), // Zen 4, EPYC 9004
            (b"AuthenticAMD", 0x00b0_0f21, Some(Precision::Bf16)), // Zen 5, EPYC 9005
            (b"GenuineIntel", 0x0005_065b, Some(Precision::Bf16)), // Cooper Lake
            (b"GenuineIntel", 0x0005_0657, None),                  // Cascade Lake has no bf16
            (b"GenuineIntel", 0x0008_06f8, Some(Precision::F32)),  // Sapphire Rapids
            (b"GenuineIntel", 0x000c_06f2, Some(Precision::F32)),  // Emerald Rapids
            (b"GenuineIntel", 0x000a_06d1, Some(Precision::F32)),  // Granite Rapids
            (b"SomebodyElse", 0x00a1_0f11, None),
        ] {
            assert_eq!(choice(vendor, version), wanted, "{version:#x}");
        }
    }

    #[test]
    fn the_table_agrees_with_a_measurement() {
        for isa in Isa::available().into_iter().filter(|isa| isa.has_bf16_dot()) {
            let table = fastest(isa);
            // Half or twice, so that a busy machine does not turn it over.
            let speed_up = bf16_speed_up(isa, 51);
            assert_eq!(
                table.precision == Precision::Bf16,
                speed_up > 1.0,
                "{table:?}, measured {speed_up:.2}"
            );
        }
    }

    #[test]
    fn a_measurement_takes_less_than_a_millisecond() {
        for isa in Isa::available().into_iter().filter(|isa| isa.has_bf16_dot()) {
            let one = || {
                let start = Instant::now();
                measured(isa);
                start.elapsed()
            };
            // The quickest of many, because other programs may take the CPU from one.
            let quickest = (0..50).map(|_| one()).min().unwrap_or_default();
            assert!(quickest < Duration::from_millis(1), "{isa}: {quickest:?}");
        }
    }

    #[test]
    fn without_bf16_products_it_is_f32() {
        assert_eq!(fastest(Isa::PORTABLE).precision, Precision::F32);
    }
}
