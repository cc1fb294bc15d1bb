//! Whether this process may use AMX: asked once, and only believed after a product with the right bits.

use std::sync::OnceLock;

/// What became of AMX in this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amx {
    /// The CPU has none, or hides it.
    Missing,
    /// The CPU has it, but it is not used; says why.
    Off(&'static str),
    /// It may be used.
    On,
}

static STATUS: OnceLock<Amx> = OnceLock::new();

/// Why the process can't use the AMX that its CPU has; `None` also if nobody has asked for it.
pub(crate) fn reason_it_is_off() -> Option<&'static str> {
    match STATUS.get() {
        Some(Amx::Off(reason)) => Some(reason),
        _ => None,
    }
}

/// The answer for this process. The first call asks the system, which grants tiles to all its threads at once.
///
/// The CPU must have AVX-512 with VNNI and BF16, which packs what tiles multiply.
pub(crate) fn status() -> Amx {
    *STATUS.get_or_init(|| {
        if !is_there() {
            return Amx::Missing;
        }
        if !request_permission() {
            return Amx::Off(
                "the system does not let this process use AMX, and without it bf16 is slower than f32",
            );
        }
        if !passes_self_tests() {
            return Amx::Off("AMX failed its self-test and is off, and without it bf16 is slower than f32");
        }
        Amx::On
    })
}

/// Whether every kernel has the bits that it shall have. The rest of a process is computed without AMX if one has not.
fn passes_self_tests() -> bool {
    use super::hardware::Hardware;
    use crate::simd::avx512::{Avx512Full, Avx512Vnni};
    // SAFETY: tiles are only asked for where the CPU has AVX-512 with VNNI and BF16.
    let (s, without_bf16) = unsafe { (Avx512Full::new(), Avx512Vnni::new()) };
    let cpu = crate::Cpu::new(crate::Isa::untested_amx(), 1);
    crate::gemm::tiled::has_bits_of_model::<_, Hardware>(s, &cpu)
        && crate::conv::tiled::has_bits_of_model::<_, Hardware>(s, &cpu)
        && crate::attention::has_bits_of_model::<_, Hardware>(s, &cpu)
        && crate::gguf::amx::passes_self_test::<_, Hardware>(without_bf16, &cpu)
}

/// Whether CPUID has tiles, their bf16 and int8 products, and a system that saves them.
fn is_there() -> bool {
    const TILE_BF16_INT8: u32 = 1 << 24 | 1 << 22 | 1 << 25;
    const OSXSAVE: u32 = 1 << 27;
    /// The states of the configuration and of the tiles.
    const SAVED: u64 = 1 << 17 | 1 << 18;
    if cfg!(not(target_os = "linux")) || cfg!(miri) {
        return false;
    }
    #[allow(unused_unsafe, reason = "safe functions since Rust 1.92")]
    // SAFETY: every 64-bit x86 CPU has CPUID and its leaves 0 and 1; leaf 7 is asked where leaf 0 says it is there.
    let (highest, system, features) = unsafe {
        use std::arch::x86_64::{__cpuid, __cpuid_count};
        let highest = __cpuid(0).eax;
        (highest, __cpuid(1).ecx, if highest >= 7 { __cpuid_count(7, 0).edx } else { 0 })
    };
    highest >= 7
        && features & TILE_BF16_INT8 == TILE_BF16_INT8
        && system & OSXSAVE != 0
        // SAFETY: OSXSAVE says that the instruction is there.
        && unsafe { enabled_states() } & SAVED == SAVED
}

/// XCR0: which registers the system saves.
///
/// # Safety
/// CPUID has OSXSAVE.
#[target_feature(enable = "xsave")]
unsafe fn enabled_states() -> u64 {
    // SAFETY: the caller's promise.
    unsafe { std::arch::x86_64::_xgetbv(0) }
}

/// Asks Linux for tiles. Any error means no: one older than 5.16, or a thread whose signal stack is too small for them.
#[cfg(all(target_os = "linux", not(miri)))]
fn request_permission() -> bool {
    const ARCH_PRCTL: usize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let result: isize;
    // SAFETY: a system call that reads and writes no memory of ours; it changes the registers that are named.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") ARCH_PRCTL => result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") TILE_DATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack)
        );
    }
    result == 0
}

/// Elsewhere nobody has tried.
#[cfg(not(all(target_os = "linux", not(miri))))]
fn request_permission() -> bool {
    false
}
