//! Random numbers that are the same for the same seed, everywhere and for ever.

/// `SplitMix64`. Not for anything that an attacker should not guess.
#[derive(Debug, Clone)]
pub struct Random {
    state: u64,
}

impl Random {
    /// A sequence of numbers that depends on nothing but the seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next number.
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number below the bound; 0 if that is 0. The bias of a bound far below 2^64 is nothing a test can see.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or_default()
    }

    /// [`Random::below`] for sizes.
    pub fn below_usize(&mut self, bound: usize) -> usize {
        usize::try_from(self.below(bound as u64)).unwrap_or_default()
    }

    /// So many random bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        std::iter::repeat_with(|| self.next_u64().to_le_bytes()).flatten().take(count).collect()
    }

    /// What is left of a list of unsynced things: all, none, a beginning, or any of them, in their order.
    pub(super) fn some_of<T>(&mut self, mut list: Vec<T>) -> Vec<T> {
        match self.below(8) {
            0 => {}
            1 => list.clear(),
            2..=4 => list.truncate(self.below_usize(list.len() + 1)),
            _ => {
                let threshold = self.below(9);
                list.retain(|_| self.below(8) < threshold);
            }
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_splitmix64() {
        let mut random = Random::new(1_234_567);
        let numbers: Vec<u64> = (0..3).map(|_| random.next_u64()).collect();
        assert_eq!(numbers, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
        assert_eq!(random.below(0), 0);
        assert_eq!(random.bytes(11).len(), 11);
    }
}
