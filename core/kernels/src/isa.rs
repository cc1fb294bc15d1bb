//! Instruction sets, chosen at run time.

use std::fmt;

#[cfg(target_arch = "x86_64")]
use crate::amx::enabling;
use crate::error::{KernelError, Result};

/// An instruction set that this CPU has.
///
/// A value proves it: none can be made for a set that this CPU lacks, so kernels run its instructions without further
/// checks.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Isa(Level);

/// The instruction sets, worst first. Matched by the dispatch macro only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Level {
    /// Plain Rust on every CPU.
    Portable,
    /// The vectors that every 64-bit ARM has.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// The same with dot products of bytes.
    #[cfg(target_arch = "aarch64")]
    NeonDot,
    /// The same with dot products of bf16.
    #[cfg(target_arch = "aarch64")]
    NeonBf16,
    /// AVX2 with FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// The same with AVX-VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx2Vnni,
    /// AVX-512 F, BW, DQ and VL.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// The same with VNNI.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// The same with BF16.
    #[cfg(target_arch = "x86_64")]
    Avx512Full,
    /// The same with AMX, where the system permits it.
    #[cfg(target_arch = "x86_64")]
    Avx512Amx,
    /// Plain Rust with the model of AMX's tiles, for tests.
    #[cfg(test)]
    Model,
}

impl Level {
    /// Every set of this architecture, worst first.
    const ALL: &'static [Self] = &[
        Self::Portable,
        #[cfg(target_arch = "aarch64")]
        Self::Neon,
        #[cfg(target_arch = "aarch64")]
        Self::NeonDot,
        #[cfg(target_arch = "aarch64")]
        Self::NeonBf16,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2,
        #[cfg(target_arch = "x86_64")]
        Self::Avx2Vnni,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512Vnni,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512Full,
        #[cfg(target_arch = "x86_64")]
        Self::Avx512Amx,
    ];

    fn is_here(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => std::arch::is_aarch64_feature_detected!("neon"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot => Self::Neon.is_here() && std::arch::is_aarch64_feature_detected!("dotprod"),
            #[cfg(target_arch = "aarch64")]
            Self::NeonBf16 => Self::NeonDot.is_here() && std::arch::is_aarch64_feature_detected!("bf16"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => {
                is_x86_feature_detected!("avx2")
                    && is_x86_feature_detected!("fma")
                    && is_x86_feature_detected!("f16c")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2Vnni => Self::Avx2.is_here() && is_x86_feature_detected!("avxvnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_here()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => Self::Avx512.is_here() && is_x86_feature_detected!("avx512vnni"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Full => Self::Avx512Vnni.is_here() && is_x86_feature_detected!("avx512bf16"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Amx => Self::Avx512Full.is_here() && enabling::status() == enabling::Amx::On,
            #[cfg(test)]
            Self::Model => true,
        }
    }
}

impl Isa {
    /// The set that every CPU has.
    pub const PORTABLE: Self = Self(Level::Portable);

    /// The best set of this CPU, or the one named `wanted`.
    ///
    /// # Errors
    /// [`KernelError::Settings`] for a set that does not exist or that this CPU lacks; it lists the valid ones.
    pub fn choose(wanted: Option<&str>) -> Result<Self> {
        let Some(wanted) = wanted else {
            return Ok(Self::available().last().copied().unwrap_or(Self::PORTABLE));
        };
        // Looks at no other set: the system is not asked for AMX by a process that shall not use it.
        let found = Level::ALL.iter().copied().map(Self).find(|isa| isa.name() == wanted);
        found.filter(|isa| isa.0.is_here()).ok_or_else(|| {
            let names: Vec<&str> = Self::available().iter().map(|isa| isa.name()).collect();
            let valid = names.join(", ");
            KernelError::Settings(format!("this CPU has no instruction set '{wanted}'; valid here: {valid}"))
        })
    }

    /// Every set of this CPU, worst first. Tests run on all of them.
    pub fn available() -> Vec<Self> {
        Level::ALL.iter().copied().filter(|level| level.is_here()).map(Self).collect()
    }

    /// The set's name, as [`choose`](Self::choose) takes it.
    pub const fn name(self) -> &'static str {
        match self.0 {
            Level::Portable => "portable",
            #[cfg(target_arch = "aarch64")]
            Level::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Level::NeonDot => "neon-dot",
            #[cfg(target_arch = "aarch64")]
            Level::NeonBf16 => "neon-bf16",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2Vnni => "avx2-vnni",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Vnni => "avx512-vnni",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Full => "avx512-full",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Amx => "avx512-amx",
            #[cfg(test)]
            Level::Model => "model",
        }
    }

    /// Whether the CPU multiplies bf16 pairs in one instruction. Whether that is faster than f32 depends on the CPU:
    /// [`auto::fastest`](crate::auto::fastest).
    pub const fn has_bf16_dot(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "aarch64")]
            Level::NeonBf16 => true,
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Full | Level::Avx512Amx => true,
            #[cfg(test)]
            Level::Model => true,
            _ => false,
        }
    }

    /// Whether linear layers and wide convolutions in bf16 and int8, and attention in bf16, are multiplied in tiles (AMX), many
    /// times as fast as in f32.
    pub const fn has_tiles(self) -> bool {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512Amx => true,
            #[cfg(test)]
            Level::Model => true,
            _ => false,
        }
    }

    /// The set with AMX before the self-test has said that it is to be trusted.
    #[cfg(target_arch = "x86_64")]
    pub(crate) const fn untested_amx() -> Self {
        Self(Level::Avx512Amx)
    }

    /// Tiles without AMX.
    #[cfg(test)]
    pub(crate) const MODEL: Self = Self(Level::Model);

    pub(crate) const fn level(self) -> Level {
        self.0
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Isa({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_best_available_set_is_chosen_when_nothing_is_forced() {
        let available = Isa::available();
        let names: Vec<&str> = available.iter().map(|isa| isa.name()).collect();
        // Directly to standard error, which the test harness does not capture.
        writeln!(std::io::stderr(), "instruction sets tested here: {}", names.join(", ")).unwrap();
        assert_eq!(available.first(), Some(&Isa::PORTABLE));
        assert_eq!(Isa::choose(None).unwrap(), *available.last().unwrap());
    }

    #[test]
    fn every_available_set_can_be_forced_by_its_name() {
        for isa in Isa::available() {
            assert_eq!(Isa::choose(Some(isa.name())).unwrap(), isa);
        }
    }

    #[test]
    fn an_unknown_set_is_an_error_that_lists_the_valid_ones() {
        let KernelError::Settings(message) = Isa::choose(Some("sse9")).unwrap_err() else { panic!() };
        assert!(message.contains("sse9") && message.contains("portable"), "{message}");
    }
}
