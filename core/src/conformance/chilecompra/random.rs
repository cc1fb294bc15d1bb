//! Chance that is the same on every machine.

/// A generator of numbers (SplitMix64) that depends on nothing but what it was made of.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The generator of these parts: a seed, a kind of thing, a day, a running number.
    pub(super) fn of(parts: &[u64]) -> Self {
        let mut random = Self(0x9E37_79B9_7F4A_7C15);
        for part in parts {
            random.0 ^= part.wrapping_mul(0xD6E8_FEB8_6659_FD93);
            random.0 = random.next();
        }
        random
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to one less than `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    /// A number from `first` to `last`, both included.
    pub(super) fn between(&mut self, first: u64, last: u64) -> u64 {
        first + self.below(last.saturating_sub(first) + 1)
    }

    /// Whether something that happens so many times in a hundred happens.
    pub(super) fn percent(&mut self, times: u64) -> bool {
        self.below(100) < times
    }

    /// One of the place numbers of a list of this length.
    pub(super) fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).unwrap_or(0)
    }

    /// One of several.
    pub(super) fn pick<T: Copy>(&mut self, several: &[T]) -> T {
        several[self.place(several.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_parts_give_the_same_numbers_and_others_others() {
        let first = |parts: &[u64]| Random::of(parts).next();
        assert_eq!(first(&[1, 2, 3]), first(&[1, 2, 3]));
        let several: std::collections::HashSet<u64> =
            [&[1, 2, 3][..], &[1, 3, 2], &[1, 2], &[1, 2, 0], &[2, 2, 3]].map(first).into();
        assert_eq!(several.len(), 5);
        let mut random = Random::of(&[7]);
        assert!((0..1000).all(|_| (3..=5).contains(&random.between(3, 5))));
    }
}
