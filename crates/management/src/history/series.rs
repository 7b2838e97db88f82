//! What some numbers were at times gone by.

use std::collections::VecDeque;

/// For how long samples are kept, and how far they are apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retention {
    pub(super) kept_s: u64,
    pub(super) interval_s: u64,
}

const fn keep(kept_s: u64, interval_s: u64) -> Retention {
    Retention { kept_s, interval_s }
}

/// Of the node and its vhosts.
pub(super) const GLOBAL: &[Retention] = &[keep(605, 5), keep(3_660, 60), keep(29_400, 600), keep(86_400, 1_800)];
/// Of everything else.
pub(super) const BASIC: &[Retention] = &[keep(605, 5), keep(3_600, 60)];

/// Some numbers at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Sample {
    /// Milliseconds since 1970.
    at: u64,
    values: Box<[u64]>,
}

/// Samples of one interval. One that is as the one before is left out, so what rests costs nothing.
#[derive(Debug)]
struct Level {
    retention: Retention,
    /// The interval that the newest look was in.
    slot: u64,
    samples: VecDeque<Sample>,
}

impl Level {
    fn push(&mut self, at: u64, values: &[u64]) {
        let slot = at / (self.retention.interval_s * 1000);
        if slot == self.slot && !self.samples.is_empty() {
            return;
        }
        self.slot = slot;
        if self.samples.back().is_none_or(|newest| *newest.values != *values) {
            self.samples.push_back(Sample { at, values: values.into() });
        }
        // The last one from before what is kept says how it began.
        let oldest = at.saturating_sub(self.retention.kept_s * 1000);
        while self.samples.get(1).is_some_and(|second| second.at <= oldest) {
            self.samples.pop_front();
        }
    }

    fn at(&self, time: u64) -> Option<&Sample> {
        let next = self.samples.partition_point(|sample| sample.at <= time);
        self.samples.get(next.checked_sub(1)?)
    }
}

/// Some numbers, now and in the past.
#[derive(Debug)]
pub(super) struct Series {
    last: Sample,
    previous: Sample,
    /// Since when they are what they are now, as far as is known.
    changed_at: u64,
    levels: Vec<Level>,
}

impl Series {
    /// Numbers that were all zero at that time.
    pub(super) fn since(at: u64, width: usize) -> Self {
        let zero = Sample { at, values: vec![0; width].into() };
        Self { last: zero.clone(), previous: zero, changed_at: at, levels: Vec::new() }
    }

    /// Takes a sample.
    pub(super) fn push(&mut self, at: u64, values: &[u64]) {
        std::mem::swap(&mut self.last, &mut self.previous);
        self.last.at = at;
        if self.last.values.len() == values.len() {
            self.last.values.copy_from_slice(values);
        } else {
            self.last.values = values.into();
        }
        if self.is_moving() {
            self.changed_at = at;
        }
        for level in &mut self.levels {
            level.push(at, values);
        }
    }

    /// Keeps samples from now on, so long.
    pub(super) fn remember(&mut self, retention: &[Retention]) {
        if self.remembers() {
            return;
        }
        let level = |retention: &Retention| {
            let mut level = Level { retention: *retention, slot: 0, samples: VecDeque::new() };
            level.push(self.previous.at, &self.previous.values);
            level.slot = 0;
            level.push(self.last.at, &self.last.values);
            level
        };
        self.levels = retention.iter().map(level).collect();
    }

    /// Keeps none any more but the last two.
    pub(super) fn forget(&mut self) {
        self.levels = Vec::new();
    }

    /// Whether nothing changed for as long as samples are kept, so that none is needed to know that.
    pub(super) fn is_resting(&self) -> bool {
        self.levels.iter().all(|level| level.samples.len() <= 1)
    }

    /// Whether samples are kept.
    pub(super) fn remembers(&self) -> bool {
        !self.levels.is_empty()
    }

    /// Whether anything changed between the last two samples.
    pub(super) fn is_moving(&self) -> bool {
        self.last.values != self.previous.values
    }

    /// When the last sample was taken.
    pub(super) const fn last_at(&self) -> u64 {
        self.last.at
    }

    /// By how much a number changed in a second, lately.
    pub(super) fn rate(&self, field: usize) -> f64 {
        change(value(&self.previous, field), value(&self.last, field), self.last.at.saturating_sub(self.previous.at))
    }

    /// What a number was at a time; none if that is not known.
    pub(super) fn at(&self, time: u64, field: usize) -> Option<u64> {
        if time >= self.changed_at {
            return value(&self.last, field);
        }
        let known = |level: &&Level| time + level.retention.kept_s * 1000 >= self.last.at;
        let level = self.levels.iter().find(known)?;
        value(level.at(time)?, field)
    }
}

fn value(sample: &Sample, field: usize) -> Option<u64> {
    sample.values.get(field).copied()
}

/// The change in a second, out of that in so many milliseconds.
#[expect(clippy::cast_precision_loss, reason = "a rate that is a little off is as good")]
pub(super) fn change(from: Option<u64>, to: Option<u64>, ms: u64) -> f64 {
    match (from, to) {
        (Some(from), Some(to)) if ms > 0 => {
            // As the difference is exact, a rate of large numbers is.
            let difference = i128::from(to) - i128::from(from);
            difference as f64 * 1000.0 / ms as f64
        }
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn filled(ticks: u64) -> Series {
        let mut series = Series::since(0, 1);
        series.remember(BASIC);
        for tick in 1..=ticks {
            series.push(tick * 5_000, &[tick * 10]);
        }
        series
    }

    #[test]
    fn the_past_is_known_as_finely_as_it_is_kept() {
        let series = filled(1_000);
        for (time, expected) in [
            (5_000_000, Some(10_000)),
            (9_000_000, Some(10_000)),
            (4_999_999, Some(9_990)),
            (4_500_000, Some(9_000)),
            // Beyond ten minutes there is one a minute.
            (4_379_999, Some(8_640)),
            (1_500_000, Some(3_000)),
            (1_300_000, None),
        ] {
            assert_eq!(series.at(time, 0), expected, "{time}");
        }
        assert_eq!(series.at(5_000_000, 1), None);
    }

    #[test]
    fn what_rests_is_kept_once() {
        let mut series = filled(10);
        for tick in 11..100_000 {
            series.push(tick * 5_000, &[100]);
        }
        assert!(series.levels.iter().all(|level| level.samples.len() == 1), "{:?}", series.levels);
        assert_eq!(series.at(99_999 * 5_000 - 300_000, 0), Some(100));
        assert!(!series.is_moving());
    }

    #[test]
    fn no_more_is_kept_than_was_asked_for() {
        let series = filled(10_000);
        let counts: Vec<usize> = series.levels.iter().map(|level| level.samples.len()).collect();
        assert_eq!(counts, [122, 61]);
    }

    #[test]
    fn rates_may_be_negative_and_are_those_of_the_last_two_samples() {
        let mut series = Series::since(0, 2);
        for (at, values, rates) in [
            (5_000, [50, 7], [10.0, 1.4]),
            (10_000, [60, 2], [2.0, -1.0]),
            (10_000, [60, 2], [0.0, 0.0]),
            (15_000, [u64::MAX, 2], [3.689_348_814_741_910_5e18, 0.0]),
        ] {
            series.push(at, &values);
            assert_eq!(json!([series.rate(0), series.rate(1)]), json!(rates));
        }
        assert_eq!(json!(series.rate(7)), json!(0.0));
    }

    #[test]
    fn remembering_begins_with_what_is_known() {
        let mut series = Series::since(0, 1);
        series.push(5_000, &[5]);
        series.push(10_000, &[10]);
        assert_eq!(series.at(7_000, 0), None);
        series.remember(BASIC);
        assert_eq!(series.at(7_000, 0), Some(5));
        assert_eq!(series.at(4_999, 0), None);
    }
}
