//! Memory aligned to cache lines: owned ([`Aligned`]), or borrowed from the thread's store ([`Scratch`]).

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use half::{bf16, f16};

/// Bytes of a cache line and of the widest register.
pub const ALIGNMENT: usize = 64;

/// How much scratch memory a thread keeps for its next calls.
const MOST_KEPT: usize = 64 << 20;

/// Numbers without padding for which every pattern of bits is a value.
///
/// # Safety
/// All bits zero, and any other bits, are a value of the type; it has no padding and no `Drop`.
pub unsafe trait Plain: Copy + 'static {}

macro_rules! plain {
    ($($type:ty)*) => {
        $(
            // SAFETY: a primitive number, or a transparent wrapper of one.
            unsafe impl Plain for $type {}
        )*
    };
}
plain!(f32 f64 bf16 f16 u8 i8 u16 i16 u32 i32 u64 i64);

/// From this size on, memory is asked for in pages of megabytes. The small ones of a large matrix are more than the
/// CPU remembers, and to look each up again takes longer than to read it.
#[cfg(all(target_os = "linux", not(miri)))]
const LARGE: usize = 4 << 20;

/// Zeroed memory at a multiple of [`ALIGNMENT`] bytes.
struct Block {
    start: NonNull<u8>,
    bytes: usize,
    /// Where the memory lies if it is large; else it was allocated.
    map: Option<memmap2::MmapMut>,
}

// SAFETY: the block owns its memory and shares nothing.
unsafe impl Send for Block {}
// SAFETY: through a shared block memory is only read.
unsafe impl Sync for Block {}

impl Block {
    fn layout(bytes: usize) -> Layout {
        let layout = Layout::from_size_align(bytes, ALIGNMENT);
        layout.unwrap_or_else(|_| handle_alloc_error(Layout::new::<u8>()))
    }

    fn zeroed(bytes: usize) -> Self {
        let bytes = bytes.next_multiple_of(ALIGNMENT).max(ALIGNMENT);
        #[cfg(all(target_os = "linux", not(miri)))]
        if bytes >= LARGE
            && let Ok(mut map) = memmap2::MmapMut::map_anon(bytes)
            && let Some(start) = NonNull::new(map.as_mut_ptr())
        {
            // Without large pages it is only slower.
            let _ = map.advise(memmap2::Advice::HugePage);
            return Self { start, bytes, map: Some(map) };
        }
        let layout = Self::layout(bytes);
        // SAFETY: the layout is not empty.
        let start = NonNull::new(unsafe { alloc_zeroed(layout) });
        Self { start: start.unwrap_or_else(|| handle_alloc_error(layout)), bytes, map: None }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if self.map.is_none() {
            // SAFETY: allocated in `zeroed` with the same layout, and freed only here.
            unsafe { std::alloc::dealloc(self.start.as_ptr(), Self::layout(self.bytes)) }
        }
    }
}

/// An owned slice at a multiple of [`ALIGNMENT`] bytes, zero at first.
pub struct Aligned<T: Plain> {
    block: Block,
    length: usize,
    element: PhantomData<T>,
}

impl<T: Plain> Aligned<T> {
    /// `length` zeros.
    pub fn zeroed(length: usize) -> Self {
        let bytes = length.saturating_mul(size_of::<T>());
        Self { block: Block::zeroed(bytes), length, element: PhantomData }
    }

    /// The same values in aligned memory.
    pub fn from_slice(values: &[T]) -> Self {
        let mut aligned = Self::zeroed(values.len());
        aligned.copy_from_slice(values);
        aligned
    }
}

impl<T: Plain> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the block holds `length` values of a type for which any bits are a value.
        unsafe { std::slice::from_raw_parts(self.block.start.as_ptr().cast(), self.length) }
    }
}

impl<T: Plain> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.block.start.as_ptr().cast(), self.length) }
    }
}

impl<T: Plain> Clone for Aligned<T> {
    fn clone(&self) -> Self {
        Self::from_slice(self)
    }
}

impl<T: Plain> fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aligned<{}>({})", std::any::type_name::<T>(), self.length)
    }
}

thread_local! {
    static STORE: RefCell<Store> = const { RefCell::new(Store { blocks: Vec::new(), bytes: 0 }) };
}

/// The blocks that a thread keeps.
struct Store {
    blocks: Vec<Block>,
    bytes: usize,
}

impl Store {
    /// The smallest kept block that is large enough.
    fn take(&mut self, bytes: usize) -> Option<Block> {
        let fitting = self.blocks.iter().enumerate().filter(|(_, block)| block.bytes >= bytes);
        let (place, _) = fitting.min_by_key(|(_, block)| block.bytes)?;
        let block = self.blocks.swap_remove(place);
        self.bytes -= block.bytes;
        Some(block)
    }

    fn give_back(&mut self, block: Block) {
        if self.bytes + block.bytes <= MOST_KEPT {
            self.bytes += block.bytes;
            self.blocks.push(block);
        }
    }
}

/// A slice for the time of one call, at a multiple of [`ALIGNMENT`] bytes. The thread keeps its memory for the
/// next call, so that no call after the first pays the operating system for it. Its first content is
/// whatever an earlier call left.
pub struct Scratch<T: Plain> {
    block: Option<Block>,
    length: usize,
    // Given back to the store of the thread that took it.
    element: PhantomData<*mut T>,
}

impl<T: Plain> Scratch<T> {
    /// `length` values of any content.
    pub fn take(length: usize) -> Self {
        let bytes = length.saturating_mul(size_of::<T>());
        let kept = STORE.try_with(|store| store.borrow_mut().take(bytes)).ok().flatten();
        Self { block: Some(kept.unwrap_or_else(|| Block::zeroed(bytes))), length, element: PhantomData }
    }

    fn start(&self) -> *mut T {
        self.block.as_ref().map_or(NonNull::dangling(), |block| block.start.cast()).as_ptr()
    }
}

impl<T: Plain> Deref for Scratch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the block holds `length` initialised values of a type for which any bits are a value.
        unsafe { std::slice::from_raw_parts(self.start(), self.length) }
    }
}

impl<T: Plain> DerefMut for Scratch<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.length) }
    }
}

impl<T: Plain> Drop for Scratch<T> {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            // A thread that is ending has no store any more; the block is then freed.
            let _ = STORE.try_with(|store| store.borrow_mut().give_back(block));
        }
    }
}

impl<T: Plain> fmt::Debug for Scratch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scratch<{}>({})", std::any::type_name::<T>(), self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_aligned_and_starts_as_zeros() {
        for length in [0, 1, 3, 17, 1000] {
            let aligned = Aligned::<f32>::zeroed(length);
            assert_eq!(aligned.as_ptr() as usize % ALIGNMENT, 0);
            assert_eq!(*aligned, *vec![0.0; length]);
            assert_eq!(Scratch::<i8>::take(length).as_ptr() as usize % ALIGNMENT, 0);
        }
    }

    #[test]
    fn the_next_call_gets_the_same_memory() {
        let first = Scratch::<f32>::take(1000).as_ptr() as usize;
        assert_eq!(Scratch::<u8>::take(4000).as_ptr() as usize, first);
    }

    #[test]
    fn two_borrowed_at_once_do_not_overlap() {
        let mut one = Scratch::<u32>::take(100);
        let mut two = Scratch::<u32>::take(100);
        one.fill(1);
        two.fill(2);
        assert!(one.iter().all(|value| *value == 1) && two.iter().all(|value| *value == 2));
    }

    #[test]
    fn a_thread_does_not_keep_more_than_its_share() {
        drop(Scratch::<u8>::take(MOST_KEPT + 1));
        STORE.with(|store| assert!(store.borrow().bytes <= MOST_KEPT));
    }
}
