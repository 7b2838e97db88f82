//! Random numbers out of a seed, for choices that have to be even but that nobody gains from guessing.

/// What the state moves on by: the golden ratio in 64 bits, whose multiples are spread evenly.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// A source of random numbers (`SplitMix64`), which costs no system call.
#[derive(Debug, Clone)]
pub struct Entropy {
    state: u64,
}

impl Entropy {
    /// A source that gives other numbers for other seeds.
    pub fn new(seed: [u8; 16]) -> Self {
        let seed = u128::from_le_bytes(seed);
        #[expect(clippy::cast_possible_truncation, reason = "both halves count")]
        Self { state: seed as u64 ^ (seed >> 64) as u64 }
    }

    /// The next number.
    #[inline]
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mix(self.state)
    }
}

/// The number of that index in the sequence that a random number begins.
pub(crate) const fn nth(entropy: u64, index: u64) -> u64 {
    mix(entropy.wrapping_add(index.wrapping_mul(STEP)))
}

/// A number in which every bit depends on every bit of the given one. It is always the same one: where messages go depends
/// on it.
pub(crate) const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// The number below `bound` that a random number stands for; none is below 0.
#[expect(clippy::cast_possible_truncation, reason = "it is below the bound, which is a usize")]
pub(crate) const fn below(random: u64, bound: usize) -> usize {
    ((random as u128 * bound as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_from_the_seed() {
        let draw = |seed| {
            let mut entropy = Entropy::new([seed; 16]);
            std::array::from_fn::<u64, 4, _>(|_| entropy.draw())
        };
        assert_eq!(draw(1), draw(1));
        // The first numbers of the reference implementation for the seed 0.
        assert_eq!(draw(0)[..3], [0xe220_a839_7b1d_cdaf, 0x6e78_9e6a_a1b9_65f4, 0x06c4_5d18_8009_454f]);
    }

    #[test]
    fn numbers_below_a_bound_are_even() {
        let mut entropy = Entropy::new([7; 16]);
        for bound in [1, 2, 3, 10] {
            let mut counts = vec![0_u32; bound];
            for _ in 0..bound * 1000 {
                counts[below(entropy.draw(), bound)] += 1;
            }
            assert!(counts.iter().all(|count| (850..1150).contains(count)), "{bound}: {counts:?}");
        }
    }
}
