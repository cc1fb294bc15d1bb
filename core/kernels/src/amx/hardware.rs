//! The tile instructions of the CPU. Stable Rust has no functions for them, but its assembler knows them.

use std::arch::asm;
use std::marker::PhantomData;

use super::{ROW_BYTES, ROWS, Tiles};

/// The operand of `ldtilecfg`.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// All eight registers whole.
static WHOLE: Config = {
    let (mut row_bytes, mut rows, mut tile) = ([0; 16], [0; 16], 0);
    while tile < 8 {
        row_bytes[tile] = ROW_BYTES as u16;
        rows[tile] = ROWS as u8;
        tile += 1;
    }
    Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes, rows }
};

/// The tile registers of this thread, configured while it lives. Not `Send`: they are the thread's.
pub(crate) struct Hardware(PhantomData<*mut ()>);

/// An instruction that changes tiles. They keep their contents from one `asm!` to the next: the compiler has no use for
/// them itself. All are named as changed, because the name of one can't be generic.
macro_rules! tile_asm {
    ($($part:tt)*) => {
        asm!(
            $($part)*,
            out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
            out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
        )
    };
}

/// Products of two tiles, each one instruction.
macro_rules! dots {
    ($($name:ident = $instruction:literal),+) => {$(
        #[inline(always)]
        fn $name<const C: usize, const A: usize, const B: usize>(&mut self) {
            // SAFETY: the tiles are configured whole, so their sizes fit.
            unsafe {
                tile_asm!(
                    concat!($instruction, " tmm{c}, tmm{a}, tmm{b}"),
                    c = const C, a = const A, b = const B,
                    options(nostack, nomem, preserves_flags)
                );
            }
        }
    )+};
}

impl Tiles for Hardware {
    #[inline(always)]
    unsafe fn configure() -> Self {
        // SAFETY: the process may use tiles, by the caller's promise; only reads `WHOLE`, which is a valid configuration.
        unsafe {
            tile_asm!(
                "ldtilecfg [{}]",
                in(reg) &raw const WHOLE,
                options(nostack, readonly, preserves_flags)
            );
        }
        Self(PhantomData)
    }

    #[inline(always)]
    unsafe fn load<const TILE: usize>(&mut self, from: *const u8, stride: usize) {
        // SAFETY: the tiles are configured, and the rows readable by the caller's promise.
        unsafe {
            tile_asm!(
                "tileloadd tmm{tile}, [{from} + {stride}]",
                tile = const TILE,
                from = in(reg) from,
                stride = in(reg) stride,
                options(nostack, readonly, preserves_flags)
            );
        }
    }

    #[inline(always)]
    unsafe fn store<const TILE: usize>(&mut self, to: *mut u8, stride: usize) {
        // SAFETY: the tiles are configured, and the rows writable by the caller's promise.
        unsafe {
            asm!(
                "tilestored [{to} + {stride}], tmm{tile}",
                tile = const TILE,
                to = in(reg) to,
                stride = in(reg) stride,
                options(nostack, preserves_flags)
            );
        }
    }

    #[inline(always)]
    fn zero<const TILE: usize>(&mut self) {
        // SAFETY: the tiles are configured.
        unsafe {
            tile_asm!("tilezero tmm{tile}", tile = const TILE, options(nostack, nomem, preserves_flags));
        }
    }

    dots! { dot_bf16 = "tdpbf16ps", dot_u8_i8 = "tdpbusd", dot_i8_i8 = "tdpbssd" }
}

impl Drop for Hardware {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: whoever made the value may use tiles; nothing of ours is in them any more.
        unsafe { tile_asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}
