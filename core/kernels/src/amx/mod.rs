//! Tiles: Intel's AMX, whose registers are matrices of 16 rows of 64 bytes.
//!
//! `enabling.rs` asks whether this process may use them, `hardware.rs` has the instructions, and `model.rs` the same in
//! plain Rust, bit for bit. Code over [`Tiles`] is written once: tests run it with the model on every machine, and a
//! process uses the hardware only after it has given the model's bits in a small product.

#[cfg(target_arch = "x86_64")]
pub(crate) mod enabling;
#[cfg(target_arch = "x86_64")]
pub(crate) mod hardware;
pub(crate) mod model;

#[cfg(test)]
mod tests;

/// Numbers of many sizes for self-tests, from a generator of full period.
pub(crate) fn numbers() -> impl FnMut(usize) -> Vec<f32> {
    let mut state = 1_u32;
    let mut number = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f32::from_bits(0x3b00_0000 | state >> 5 & 0x04ff_ffff) * if state >> 4 & 1 == 0 { 1.0 } else { -1.0 }
    };
    move |count| (0..count).map(|_| number()).collect()
}

/// Rows of a tile.
pub(crate) const ROWS: usize = 16;
/// Bytes of a tile's row.
pub(crate) const ROW_BYTES: usize = 64;

/// The eight tile registers of a thread, numbered from 0, all configured whole. Dropping it releases them.
///
/// Hold it for one part of work: a thread that keeps its tiles makes every switch of threads slower.
pub(crate) trait Tiles: Sized {
    /// Takes the thread's tiles. They are zero.
    ///
    /// # Safety
    /// The process may use what implements this, and the thread has no other value of the type.
    unsafe fn configure() -> Self;

    /// Loads 16 rows of 64 bytes that are `stride` bytes apart.
    ///
    /// # Safety
    /// The rows are readable.
    unsafe fn load<const TILE: usize>(&mut self, from: *const u8, stride: usize);

    /// Stores 16 rows of 64 bytes, `stride` bytes apart.
    ///
    /// # Safety
    /// The rows are writable.
    unsafe fn store<const TILE: usize>(&mut self, to: *mut u8, stride: usize);

    /// Sets a tile to zero.
    fn zero<const TILE: usize>(&mut self);

    /// Adds to the f32 of `C` the products of the bf16 of 16 rows of `A` with those of 16 columns of `B`, whose row `r` has
    /// positions `2r` and `2r + 1` of every column. `C`, `A` and `B` are different tiles.
    fn dot_bf16<const C: usize, const A: usize, const B: usize>(&mut self);

    /// The same for unsigned bytes of `A` and signed ones of `B`, four positions a row, in wrapping i32.
    fn dot_u8_i8<const C: usize, const A: usize, const B: usize>(&mut self);

    /// The same for signed bytes of both.
    fn dot_i8_i8<const C: usize, const A: usize, const B: usize>(&mut self);
}
