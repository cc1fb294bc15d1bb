//! Memory aligned to cache lines: owned ([`Aligned`]), or borrowed from the thread's store ([`Scratch`]).

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::cell::RefCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use half::{bf16, f16};

use crate::error::{KernelError, Result};

/// Bytes of a cache line and of the widest register.
pub const ALIGNMENT: usize = 64;

/// The most scratch memory that a thread keeps for its next calls.
const MAX_STORED_BYTES: usize = 64 << 20;

/// Numbers without padding for which every bit pattern is a value.
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

/// From this size on, memory is mapped with huge pages: a large matrix has more small pages than the TLB holds entries,
/// and the page walks take longer than the reads.
#[cfg(all(target_os = "linux", not(miri)))]
const MIN_HUGE_PAGE_BYTES: usize = 4 << 20;

/// Zeroed memory at a multiple of [`ALIGNMENT`] bytes.
struct Allocation {
    start: NonNull<u8>,
    /// What the allocator gave, from which `start` is the first multiple.
    given: NonNull<u8>,
    layout: Layout,
    /// The mapping, if the memory is large; else it comes from the allocator.
    map: Option<memmap2::MmapMut>,
}

// SAFETY: the allocation owns its memory and shares nothing.
unsafe impl Send for Allocation {}
// SAFETY: through a shared allocation memory is only read.
unsafe impl Sync for Allocation {}

impl Allocation {
    /// Memory for `length` elements of `size` bytes; `None` if there is none, or so much cannot exist.
    fn zeroed(length: usize, size: usize) -> Option<Self> {
        let bytes = length.checked_mul(size)?.max(1).checked_next_multiple_of(ALIGNMENT)?;
        // An allocator that is asked for no more than its own alignment has zeroed pages from the system, and need not write
        // zeros itself.
        let layout = Layout::from_size_align(bytes.checked_add(ALIGNMENT)?, align_of::<usize>()).ok()?;
        #[cfg(all(target_os = "linux", not(miri)))]
        if bytes >= MIN_HUGE_PAGE_BYTES
            && let Ok(mut map) = memmap2::MmapMut::map_anon(bytes)
            && let Some(start) = NonNull::new(map.as_mut_ptr())
        {
            // Without huge pages it is only slower.
            let _ = map.advise(memmap2::Advice::HugePage);
            return Some(Self { start, given: start, layout, map: Some(map) });
        }
        // SAFETY: the layout is not empty.
        let given = NonNull::new(unsafe { alloc_zeroed(layout) })?;
        let offset = given.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        // SAFETY: there are as many bytes more than wanted.
        let start = unsafe { given.add(offset) };
        Some(Self { start, given, layout, map: None })
    }

    fn bytes(&self) -> usize {
        self.layout.size() - ALIGNMENT
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        if self.map.is_none() {
            // SAFETY: allocated in `zeroed` with the same layout, and freed only here.
            unsafe { std::alloc::dealloc(self.given.as_ptr(), self.layout) }
        }
    }
}

/// An owned slice at a multiple of [`ALIGNMENT`] bytes, zero at first.
pub struct Aligned<T: Plain> {
    /// `None` only for an empty slice.
    allocation: Option<Allocation>,
    length: usize,
    element: PhantomData<T>,
}

impl<T: Plain> Aligned<T> {
    /// No numbers, and no memory.
    pub const EMPTY: Self = Self { allocation: None, length: 0, element: PhantomData };

    /// `length` zeros.
    ///
    /// # Errors
    /// [`OutOfMemory`](KernelError::OutOfMemory) if there is no memory for so many.
    pub fn zeroed(length: usize) -> Result<Self> {
        if length == 0 {
            return Ok(Self::EMPTY);
        }
        let allocation = Allocation::zeroed(length, size_of::<T>()).ok_or_else(|| {
            KernelError::OutOfMemory(format!("no memory for {length} numbers of {} bytes", size_of::<T>()))
        })?;
        Ok(Self { allocation: Some(allocation), length, element: PhantomData })
    }

    /// The same values in aligned memory.
    ///
    /// # Errors
    /// As [`zeroed`](Self::zeroed).
    pub fn from_slice(values: &[T]) -> Result<Self> {
        let mut aligned = Self::zeroed(values.len())?;
        aligned.copy_from_slice(values);
        Ok(aligned)
    }

    fn start(&self) -> *mut T {
        start_of(self.allocation.as_ref())
    }
}

/// The first element; aligned, but not to be read, where there is no memory.
fn start_of<T>(allocation: Option<&Allocation>) -> *mut T {
    allocation
        .map_or(std::ptr::without_provenance_mut(ALIGNMENT), |allocation| allocation.start.as_ptr().cast())
}

impl<T: Plain> Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the allocation holds `length` values of a type for which any bits are a value; without an allocation
        // there are none.
        unsafe { std::slice::from_raw_parts(self.start(), self.length) }
    }
}

impl<T: Plain> DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and borrowed alone.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.length) }
    }
}

/// As for a `Vec`, a clone without memory for it ends the process.
impl<T: Plain> Clone for Aligned<T> {
    fn clone(&self) -> Self {
        Self::from_slice(self).unwrap_or_else(|_| no_memory(self.length, size_of::<T>()))
    }
}

/// Ends the process, as the standard library does where memory that nobody can do without is missing.
fn no_memory(length: usize, size: usize) -> ! {
    let layout = Layout::from_size_align(length.saturating_mul(size), ALIGNMENT);
    handle_alloc_error(layout.unwrap_or(Layout::new::<u8>()))
}

impl<T: Plain> fmt::Debug for Aligned<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Aligned<{}>({})", std::any::type_name::<T>(), self.length)
    }
}

thread_local! {
    static STORE: RefCell<Store> = const { RefCell::new(Store { free: Vec::new(), bytes: 0 }) };
}

/// The free memory of a thread.
struct Store {
    free: Vec<Allocation>,
    bytes: usize,
}

impl Store {
    /// The smallest free allocation that is large enough.
    fn take(&mut self, bytes: usize) -> Option<Allocation> {
        let fitting = self.free.iter().enumerate().filter(|(_, allocation)| allocation.bytes() >= bytes);
        let (place, _) = fitting.min_by_key(|(_, allocation)| allocation.bytes())?;
        let allocation = self.free.swap_remove(place);
        self.bytes -= allocation.bytes();
        Some(allocation)
    }

    fn give_back(&mut self, allocation: Allocation) {
        if self.bytes + allocation.bytes() <= MAX_STORED_BYTES {
            self.bytes += allocation.bytes();
            self.free.push(allocation);
        }
    }
}

/// Scratch memory for one call, aligned to [`ALIGNMENT`] bytes. The thread keeps it for its next calls, so that only
/// the first allocates. It starts with whatever an earlier call left.
pub struct Scratch<T: Plain> {
    allocation: Option<Allocation>,
    length: usize,
    // Not `Send`: it goes back to the store of the thread that took it.
    element: PhantomData<*mut T>,
}

impl<T: Plain> Scratch<T> {
    /// `length` values with arbitrary content. Kernels take what their tiles need, or a small multiple of operands that
    /// exist already; without memory for that, the process ends as it does for a `Vec`.
    pub fn take(length: usize) -> Self {
        let size = size_of::<T>();
        let bytes = length.checked_mul(size).unwrap_or_else(|| no_memory(length, size));
        let kept = STORE.try_with(|store| store.borrow_mut().take(bytes)).ok().flatten();
        let allocation = kept.or_else(|| Allocation::zeroed(length, size));
        Self {
            allocation: Some(allocation.unwrap_or_else(|| no_memory(length, size))),
            length,
            element: PhantomData,
        }
    }

    fn start(&self) -> *mut T {
        start_of(self.allocation.as_ref())
    }
}

impl<T: Plain> Deref for Scratch<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the allocation holds `length` initialised values of a type for which any bits are a value.
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
        if let Some(allocation) = self.allocation.take() {
            // A thread that is ending has no store any more: the allocation is freed.
            let _ = STORE.try_with(|store| store.borrow_mut().give_back(allocation));
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
            let aligned = Aligned::<f32>::zeroed(length).unwrap();
            assert_eq!(aligned.as_ptr() as usize % ALIGNMENT, 0);
            assert_eq!(*aligned, *vec![0.0; length]);
            assert_eq!(Scratch::<i8>::take(length).as_ptr() as usize % ALIGNMENT, 0);
        }
    }

    #[test]
    fn memory_that_cannot_exist_is_an_error_and_never_a_shorter_slice() {
        for length in [usize::MAX, usize::MAX / 4 + 1, isize::MAX as usize / 4 + 1, isize::MAX as usize / 4] {
            let error = Aligned::<f32>::zeroed(length).unwrap_err();
            assert!(matches!(error, KernelError::OutOfMemory(_)), "{length}: {error}");
        }
        assert!(Aligned::<u8>::zeroed(usize::MAX).is_err());
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
        drop(Scratch::<u8>::take(MAX_STORED_BYTES + 1));
        STORE.with(|store| assert!(store.borrow().bytes <= MAX_STORED_BYTES));
    }
}
