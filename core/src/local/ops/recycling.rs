//! The memory of tensors that are done with, for the next ones.

use std::cell::RefCell;

use candle_core::{CpuStorage, InplaceOp1, Layout};

/// Numbers that a thread keeps: what lies between the layers of a few thousand tokens.
const MOST_KEPT: usize = 8 << 20;

/// Fewer numbers than this are not worth keeping.
const FEWEST: usize = 256;

thread_local! {
    static KEPT: RefCell<Kept> = const { RefCell::new(Kept { memory: Vec::new(), numbers: 0 }) };
}

/// What a thread keeps.
struct Kept {
    /// The longest unused first.
    memory: Vec<Vec<f32>>,
    numbers: usize,
}

impl Kept {
    /// The smallest that is large enough, and not much too large.
    fn take(&mut self, count: usize) -> Option<Vec<f32>> {
        let fits = |memory: &Vec<f32>| (count..=count.saturating_mul(4)).contains(&memory.capacity());
        let fitting = self.memory.iter().enumerate().filter(|(_, memory)| fits(memory));
        let (place, _) = fitting.min_by_key(|(_, memory)| memory.capacity())?;
        let memory = self.memory.remove(place);
        self.numbers -= memory.capacity();
        Some(memory)
    }

    fn give(&mut self, memory: Vec<f32>) {
        if !(FEWEST..=MOST_KEPT).contains(&memory.capacity()) {
            return;
        }
        self.numbers += memory.capacity();
        self.memory.push(memory);
        while self.numbers > MOST_KEPT {
            self.numbers -= self.memory.remove(0).capacity();
        }
    }
}

/// So many numbers of any content.
pub(super) fn take(count: usize) -> Vec<f32> {
    // A thread that is ending keeps nothing any more.
    match KEPT.try_with(|kept| kept.borrow_mut().take(count)).ok().flatten() {
        Some(mut memory) => {
            memory.resize(count, 0.0);
            memory
        }
        None => vec![0.0; count],
    }
}

/// Takes a tensor's memory away.
pub(super) struct Take;

impl InplaceOp1 for Take {
    fn name(&self) -> &'static str {
        "recycle"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, _: &Layout) -> candle_core::Result<()> {
        if let CpuStorage::F32(values) = storage {
            let memory = std::mem::take(values);
            let _ = KEPT.try_with(|kept| kept.borrow_mut().give(memory));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::super::tensor::{filled, recycle, with_values};
    use super::*;

    fn place_of(x: &Tensor) -> usize {
        with_values("it", x, |values| Ok(values.as_ptr() as usize)).unwrap()
    }

    fn of(value: f32, count: usize) -> Tensor {
        filled(count, |to| {
            to.fill(value);
            Ok(())
        })
        .unwrap()
    }

    #[test]
    fn the_next_tensor_of_about_that_size_gets_the_memory() {
        let first = of(1.0, 1000);
        let place = place_of(&first);
        recycle(first);
        let second = of(2.0, 900);
        assert_eq!(place_of(&second), place);
        recycle(second);
        assert_ne!(place_of(&of(3.0, 100)), place, "much too large");
        let third = of(4.0, 1000);
        assert_eq!(place_of(&third), place);
        assert_eq!(third.to_vec1::<f32>().unwrap(), [4.0; 1000]);
    }

    #[test]
    fn a_view_of_a_recycled_tensor_is_an_error_to_read() {
        let all = of(1.0, 1000);
        let view = all.narrow(0, 500, 500).unwrap();
        recycle(all);
        assert!(with_values("the view", &view, |_| Ok(())).is_err());
    }

    #[test]
    fn other_tensors_are_freed_as_usual() {
        recycle(Tensor::zeros(1000, candle_core::DType::U32, &Device::Cpu).unwrap());
        recycle(of(1.0, 3));
    }

    #[test]
    fn a_thread_keeps_no_more_than_its_share() {
        let tensors: Vec<Tensor> = (0..5).map(|_| of(1.0, MOST_KEPT / 4)).collect();
        tensors.into_iter().for_each(recycle);
        KEPT.with(|kept| {
            let kept = kept.borrow();
            assert!(kept.numbers <= MOST_KEPT);
            assert_eq!(kept.numbers, kept.memory.iter().map(Vec::capacity).sum::<usize>());
        });
    }
}
