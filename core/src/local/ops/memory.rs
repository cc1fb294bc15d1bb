//! Memory of tensors on the CPU. A dropped tensor leaves its memory to the next ones that its thread makes: new memory
//! of a layer's size comes from the operating system page by page, which takes longer than many a layer.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// The most numbers that a thread keeps, unless [`KeptMemory`] says otherwise: activations of a few thousand tokens.
const MAX_STORED: usize = 8 << 20;

/// Smaller allocations are not worth keeping.
const MIN_STORED: usize = 256;

thread_local! {
    static STORE: RefCell<Store> = const { RefCell::new(Store { free: Vec::new(), numbers: 0, most: MAX_STORED }) };
}

/// The free memory of a thread.
struct Store {
    /// The longest unused first.
    free: Vec<Vec<f32>>,
    /// The sum of their capacities.
    numbers: usize,
    /// The most that it may be.
    most: usize,
}

impl Store {
    /// The smallest that has room for `count` numbers and is not much too large.
    fn take(&mut self, count: usize) -> Option<Vec<f32>> {
        let fits = |memory: &Vec<f32>| (count..=count.saturating_mul(4)).contains(&memory.capacity());
        let fitting = self.free.iter().enumerate().filter(|(_, memory)| fits(memory));
        let (index, _) = fitting.min_by_key(|(_, memory)| memory.capacity())?;
        let memory = self.free.remove(index);
        self.numbers -= memory.capacity();
        Some(memory)
    }

    fn give(&mut self, memory: Vec<f32>) {
        if (MIN_STORED..=self.most).contains(&memory.capacity()) {
            self.numbers += memory.capacity();
            self.free.push(memory);
            self.trim();
        }
    }

    fn trim(&mut self) {
        while self.numbers > self.most {
            self.numbers -= self.free.remove(0).capacity();
        }
    }
}

/// While it lives, its thread keeps more memory for its next tensors: images are larger than texts.
#[derive(Debug)]
pub struct KeptMemory {
    before: usize,
    /// It belongs to its thread.
    _of_thread: PhantomData<*const ()>,
}

impl KeptMemory {
    /// Up to so many bytes.
    pub fn up_to(bytes: usize) -> Self {
        Self { before: Self::set((bytes / size_of::<f32>()).max(MAX_STORED)), _of_thread: PhantomData }
    }

    /// Sets what the thread keeps at most, and returns what it was.
    fn set(most: usize) -> usize {
        let changed = STORE.try_with(|store| {
            let mut store = store.borrow_mut();
            let before = std::mem::replace(&mut store.most, most);
            store.trim();
            before
        });
        changed.unwrap_or(MAX_STORED)
    }
}

impl Drop for KeptMemory {
    fn drop(&mut self) {
        Self::set(self.before);
    }
}

/// Numbers whose memory goes back to the thread's store when they are dropped.
pub(super) struct Memory(Vec<f32>);

impl Memory {
    /// `count` numbers of any content: whatever an earlier tensor left.
    pub(super) fn take(count: usize) -> Self {
        // A thread that is ending has no store any more.
        match STORE.try_with(|store| store.borrow_mut().take(count)).ok().flatten() {
            Some(mut memory) => {
                memory.resize(count, 0.0);
                Self(memory)
            }
            None => Self(vec![0.0; count]),
        }
    }
}

impl From<Vec<f32>> for Memory {
    fn from(values: Vec<f32>) -> Self {
        Self(values)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.0);
        let _ = STORE.try_with(|store| store.borrow_mut().give(memory));
    }
}

impl Deref for Memory {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.0
    }
}

impl DerefMut for Memory {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_tensor_of_about_that_size_gets_the_memory() {
        let first = Memory::take(1000);
        let address = first.as_ptr();
        drop(first);
        let second = Memory::take(900);
        assert_eq!((second.as_ptr(), second.len()), (address, 900));
        drop(second);
        assert_ne!(Memory::take(100).as_ptr(), address, "much too large");
        let third = Memory::take(1000);
        assert_eq!((third.as_ptr(), third.len()), (address, 1000));
    }

    #[test]
    fn more_is_kept_for_a_while() {
        let stored = || STORE.with(|store| store.borrow().numbers);
        let kept = KeptMemory::up_to(8 * MAX_STORED);
        drop(Memory::take(2 * MAX_STORED));
        assert_eq!(stored(), 2 * MAX_STORED);
        drop(kept);
        assert_eq!(stored(), 0);
    }

    #[test]
    fn a_thread_keeps_no_more_than_its_share() {
        drop(Memory::take(3));
        let many: Vec<Memory> = (0..5).map(|_| Memory::take(MAX_STORED / 4)).collect();
        drop(many);
        STORE.with(|store| {
            let store = store.borrow();
            assert!(store.numbers <= MAX_STORED);
            assert_eq!(store.numbers, store.free.iter().map(Vec::capacity).sum::<usize>());
        });
    }
}
