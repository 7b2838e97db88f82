//! How much of the time the consumers of a queue could take messages.
//!
//! The clock is read only when that changes: when messages wait and no consumer can take one, and when that ends. The share is a
//! moving average, in which a second ago weighs half of now.

use crate::clock::Timestamp;

/// After so many milliseconds what was measured goes into the average.
const FOLD_MS: u64 = 100;
/// Milliseconds after which something weighs half.
const HALF_LIFE_MS: f64 = 1000.0;

/// The share of the time in which consumers could take messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Capacity {
    average: f64,
    /// Milliseconds that are not in the average: in which they could,
    able_ms: u64,
    /// and in which they could not.
    stalled_ms: u64,
    since: Timestamp,
    is_stalled: bool,
}

impl Capacity {
    pub(super) const fn new(now: Timestamp) -> Self {
        Self { average: 1.0, able_ms: 0, stalled_ms: 0, since: now, is_stalled: false }
    }

    /// Whether messages wait and no consumer can take one.
    #[inline]
    pub(super) const fn is_stalled(&self) -> bool {
        self.is_stalled
    }

    /// That has changed.
    pub(super) fn turn(&mut self, now: Timestamp) {
        let passed = now.ms_since(self.since);
        if self.is_stalled {
            self.stalled_ms += passed;
        } else {
            self.able_ms += passed;
        }
        self.since = now;
        self.is_stalled = !self.is_stalled;
        if self.able_ms + self.stalled_ms >= FOLD_MS {
            self.fold();
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "milliseconds need no more")]
    fn fold(&mut self) {
        let all = (self.able_ms + self.stalled_ms) as f64;
        if all > 0.0 {
            let before = (-all / HALF_LIFE_MS).exp2();
            self.average = self.able_ms as f64 / all * (1.0 - before) + self.average * before;
        }
        (self.able_ms, self.stalled_ms) = (0, 0);
    }

    /// The share by now.
    pub(super) fn share(mut self, now: Timestamp) -> f64 {
        self.turn(now);
        self.fold();
        self.average
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_that_of_the_last_seconds() {
        let mut capacity = Capacity::new(Timestamp(0));
        let share = |capacity: &Capacity, now| format!("{:.3}", capacity.share(Timestamp(now)));
        assert_eq!(share(&capacity, 0), "1.000");
        assert_eq!(share(&capacity, 5_000), "1.000");
        capacity.turn(Timestamp(5_000));
        assert!(capacity.is_stalled());
        assert_eq!(share(&capacity, 6_000), "0.500");
        assert_eq!(share(&capacity, 60_000), "0.000");
        capacity.turn(Timestamp(60_000));
        assert_eq!(share(&capacity, 61_000), "0.500");
    }

    #[test]
    fn short_turns_count_as_much_as_long_ones() {
        let mut capacity = Capacity::new(Timestamp(0));
        for period in 0..20_000 {
            capacity.turn(Timestamp(period * 4 + 1));
            capacity.turn(Timestamp(period * 4 + 4));
        }
        let share = capacity.share(Timestamp(80_000));
        assert!((0.24..0.26).contains(&share), "{share}");
    }
}
