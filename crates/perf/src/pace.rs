//! When each message of a publisher with a rate is to be sent.

use crate::clock::SECOND_NS;
use crate::figures::{count, float};

/// An even schedule. A message that goes out late leaves those after it where they were, so that a stall of the broker
/// counts in the latency of all messages it held up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    start_ns: u64,
    interval_ns: f64,
}

impl Pace {
    /// The schedule of publisher number `index` of `publishers`, each of which sends `per_second` messages.
    ///
    /// Publishers start one after another within an interval: all at once would be a burst, not a rate.
    pub(crate) fn new(per_second: f64, start_ns: u64, index: usize, publishers: usize) -> Self {
        let interval_ns = float(SECOND_NS) / per_second;
        let share = float(index as u64) / float(publishers.max(1) as u64);
        Self { start_ns: start_ns + count(interval_ns * share), interval_ns }
    }

    /// When message number `sequence` (from 0) is to be sent.
    #[inline]
    pub(crate) fn intended_ns(&self, sequence: u64) -> u64 {
        self.start_ns + count(float(sequence) * self.interval_ns)
    }

    /// How many messages from number `sequence` on are due at `now_ns`.
    pub(crate) fn due(&self, sequence: u64, now_ns: u64) -> u64 {
        if now_ns < self.intended_ns(sequence) {
            return 0;
        }
        let passed = float(now_ns - self.start_ns) / self.interval_ns;
        // At least the one that was asked about: the division may round below it.
        (count(passed.floor()) + 1).saturating_sub(sequence).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_at_even_intervals() {
        let pace = Pace::new(1000.0, 5_000_000, 0, 1);
        for (sequence, now_ns, due) in [
            (0, 4_999_999, 0),
            (0, 5_000_000, 1),
            (0, 5_999_999, 1),
            (1, 5_999_999, 0),
            (1, 6_000_000, 1),
            (1, 9_500_000, 4),
            (5, 9_500_000, 0),
        ] {
            assert_eq!(pace.due(sequence, now_ns), due, "message {sequence} at {now_ns}");
        }
    }

    #[test]
    fn rates_need_not_divide_a_second() {
        let pace = Pace::new(3.0, 0, 0, 1);
        assert_eq!([0, 1, 2, 3].map(|n| pace.intended_ns(n)), [0, 333_333_333, 666_666_667, 1_000_000_000]);
        for sequence in 0..1000 {
            assert_eq!(pace.due(sequence, pace.intended_ns(sequence)), 1, "{sequence}");
        }
        assert_eq!(Pace::new(0.5, 0, 0, 1).intended_ns(1), 2_000_000_000);
    }

    #[test]
    fn publishers_take_turns() {
        let starts = [0, 1, 2, 3].map(|index| Pace::new(1000.0, 0, index, 4).intended_ns(0));
        assert_eq!(starts, [0, 250_000, 500_000, 750_000]);
    }
}
