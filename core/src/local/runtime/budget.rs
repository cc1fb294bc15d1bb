//! How much is computed together.

/// The room of one batch, in the unit that a model counts: tokens, images, pixels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: usize,
}

impl Budget {
    /// An empty batch.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, used: 0 }
    }

    /// Takes room for an input, if there is some. The first input always has room, however large it is.
    pub(crate) fn take(&mut self, cost: usize) -> bool {
        let used = self.used.saturating_add(cost);
        let has_room = self.used == 0 || used <= self.limit;
        if has_room {
            self.used = used;
        }
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_input_has_room_and_others_as_long_as_they_fit() {
        let mut budget = Budget::new(10);
        assert!(budget.take(40) && !budget.take(1));
        let mut budget = Budget::new(10);
        assert!(budget.take(6) && !budget.take(5) && budget.take(4) && !budget.take(1));
    }
}
