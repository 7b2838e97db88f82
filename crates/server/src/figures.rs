//! What threads count of their work, once for each group of it, so that others can read it while they go on.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use leveret_management::{Histogram, LogFigures, LogSpace};

/// Upper bounds of the time that a sync takes, in microseconds.
const SYNC_BOUNDS: [u64; 14] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];
/// Upper bounds of the size of a group, in bytes.
const GROUP_BOUNDS: [u64; 9] = [256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20];

/// A number that one thread changes and others read.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Adds to it. Only one thread may.
    pub(crate) fn add(&self, number: u64) {
        self.set(self.get().wrapping_add(number));
    }

    /// Sets it. Only one thread may.
    pub(crate) fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }

    /// What it is.
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How values are spread that one thread records.
#[derive(Debug)]
pub(crate) struct Recorder {
    bounds: &'static [u64],
    /// One more than there are bounds.
    counts: Vec<Counter>,
    sum: Counter,
}

impl Recorder {
    fn new(bounds: &'static [u64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| Counter::default()).collect(), sum: Counter::default() }
    }

    /// Counts a value. Only one thread may.
    pub(crate) fn record(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(place) {
            count.add(1);
        }
        self.sum.add(value);
    }

    fn read(&self) -> Histogram {
        let counts = self.counts.iter().map(Counter::get).collect();
        Histogram { bounds: self.bounds, counts, sum: self.sum.get() }
    }
}

/// What the thread that writes a log counts.
#[derive(Debug)]
pub(crate) struct LogCounters {
    /// Bytes of what the log was given.
    pub(crate) given_bytes: Counter,
    /// Bytes written.
    pub(crate) written_bytes: Counter,
    /// Messages or records written.
    pub(crate) written: Counter,
    /// Messages that need not be written any more.
    pub(crate) elided: Counter,
    /// Messages copied to make room.
    pub(crate) copied: Counter,
    /// Bytes of each group.
    pub(crate) groups: Recorder,
    /// Microseconds of writing.
    write_micros: Counter,
    /// Microseconds of each sync.
    syncs: Recorder,
}

impl LogCounters {
    /// Counts from zero.
    pub(crate) fn new() -> Self {
        Self {
            given_bytes: Counter::default(),
            written_bytes: Counter::default(),
            written: Counter::default(),
            elided: Counter::default(),
            copied: Counter::default(),
            groups: Recorder::new(&GROUP_BOUNDS),
            write_micros: Counter::default(),
            syncs: Recorder::new(&SYNC_BOUNDS),
        }
    }

    /// Something was being written from then to now.
    pub(crate) fn wrote_since(&self, began: Instant) {
        self.write_micros.add(micros(began.elapsed()));
    }

    /// There was a sync from then to now.
    pub(crate) fn synced_since(&self, began: Instant) {
        self.syncs.record(micros(began.elapsed()));
    }

    /// What was counted by now.
    pub(crate) fn read(&self, name: &'static str, space: Option<LogSpace>) -> LogFigures {
        LogFigures {
            name,
            given_bytes: self.given_bytes.get(),
            written_bytes: self.written_bytes.get(),
            written: self.written.get(),
            elided: self.elided.get(),
            copied: self.copied.get(),
            groups: self.groups.read(),
            write_time: Duration::from_micros(self.write_micros.get()),
            syncs: self.syncs.read(),
            space,
        }
    }
}

/// A time in microseconds.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_counts_for_the_first_bound_that_it_does_not_exceed() {
        let recorder = Recorder::new(&[10, 20]);
        for value in [0, 10, 11, 20, 21, 1000] {
            recorder.record(value);
        }
        let read = recorder.read();
        assert_eq!(read, Histogram { bounds: &[10, 20], counts: vec![2, 2, 2], sum: 1062 });
        assert_eq!(read.count(), 6);
    }

    #[test]
    fn bounds_ascend() {
        assert!(SYNC_BOUNDS.is_sorted() && GROUP_BOUNDS.is_sorted());
    }
}
