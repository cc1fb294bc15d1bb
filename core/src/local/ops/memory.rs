//! Memory of tensors on the CPU. A dropped tensor leaves its memory to the next ones that its thread makes: new memory
//! of a layer's size comes from the operating system page by page, which takes longer than many a layer.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};

/// The most numbers that a thread keeps: activations of a few thousand tokens.
const MAX_STORED: usize = 8 << 20;

/// Smaller allocations are not worth keeping.
const MIN_STORED: usize = 256;

thread_local! {
    static STORE: RefCell<Store> = const { RefCell::new(Store { free: Vec::new(), numbers: 0 }) };
}

/// The free memory of a thread.
struct Store {
    /// The longest unused first.
    free: Vec<Vec<f32>>,
    /// The sum of their capacities.
    numbers: usize,
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
        if !(MIN_STORED..=MAX_STORED).contains(&memory.capacity()) {
            return;
        }
        self.numbers += memory.capacity();
        self.free.push(memory);
        while self.numbers > MAX_STORED {
            self.numbers -= self.free.remove(0).capacity();
        }
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
