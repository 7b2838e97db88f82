//! How much memory waiting messages take, and how much they may.

use std::sync::atomic::{AtomicBool, AtomicIsize, Ordering};

use leveret_broker::store::MemoryPressure;

/// Octets of messages that stay in memory though they are on disk as well; the system's own cache does the rest.
const WRITTEN_MAX: usize = 16 * 1024 * 1024;

/// The memory that waiting messages take, in octets.
#[derive(Debug)]
pub(super) struct Memory {
    /// It may be below zero for a moment, when one queue's share is counted before another's.
    used: AtomicIsize,
    /// Above this, what is on disk leaves memory.
    written_max: isize,
    /// Above this, everything does.
    budget: isize,
    /// Whether there is nowhere to go for what is not on disk.
    keeps_all: AtomicBool,
}

impl Memory {
    pub(super) fn new(budget: u64) -> Self {
        let budget = isize::try_from(budget).unwrap_or(isize::MAX);
        Self {
            used: AtomicIsize::new(0),
            written_max: WRITTEN_MAX.cast_signed().min(budget),
            budget,
            keeps_all: AtomicBool::new(false),
        }
    }

    pub(super) fn count(&self, octets: isize) {
        self.used.fetch_add(octets, Ordering::Relaxed);
    }

    /// Octets that are used.
    pub(super) fn used(&self) -> u64 {
        u64::try_from(self.used.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// What is not on disk can go nowhere any more.
    pub(super) fn keep_all(&self) {
        self.keeps_all.store(true, Ordering::Relaxed);
    }

    pub(super) fn pressure(&self) -> MemoryPressure {
        match self.used.load(Ordering::Relaxed) {
            used if used >= self.budget && !self.keeps_all.load(Ordering::Relaxed) => MemoryPressure::All,
            used if used >= self.written_max => MemoryPressure::Written,
            _ => MemoryPressure::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pressure_follows_what_is_used() {
        let mib = 1024 * 1024;
        for (budget, used, expected) in [
            (100 * mib, 0, MemoryPressure::None),
            (100 * mib, 15 * mib, MemoryPressure::None),
            (100 * mib, 16 * mib, MemoryPressure::Written),
            (100 * mib, 100 * mib, MemoryPressure::All),
            (mib, mib, MemoryPressure::All),
            (0, 0, MemoryPressure::All),
            (u64::MAX, 1000 * mib, MemoryPressure::Written),
        ] {
            let memory = Memory::new(budget);
            memory.count(isize::try_from(used).unwrap());
            assert_eq!(memory.pressure(), expected, "{used} of {budget}");
            memory.keep_all();
            assert_ne!(memory.pressure(), MemoryPressure::All, "{used} of {budget}");
            memory.count(-isize::try_from(used).unwrap());
            assert_eq!(memory.used.load(Ordering::Relaxed), 0);
        }
    }
}
