//! A table that holds so many entries at most, each for a while.

use std::collections::HashMap;
use std::hash::Hash;

use tokio::time::Instant;

/// Entries, and when each ends.
#[derive(Debug)]
pub(crate) struct Expiring<K, V> {
    entries: HashMap<K, (V, Instant)>,
    entries_max: usize,
}

impl<K: Hash + Eq, V> Expiring<K, V> {
    /// An empty table for so many entries.
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { entries: HashMap::new(), entries_max }
    }

    /// What is there under the key, if it has not ended.
    pub(crate) fn get(&self, key: &K, now: Instant) -> Option<&V> {
        self.entries.get(key).filter(|(_, end)| *end > now).map(|(value, _)| value)
    }

    /// Puts something in, in place of what was there. For want of room, the half goes that would have ended first.
    pub(crate) fn insert(&mut self, key: K, value: V, end: Instant, now: Instant) {
        if end <= now || self.entries_max == 0 {
            self.entries.remove(&key);
            return;
        }
        if self.entries.len() >= self.entries_max && !self.entries.contains_key(&key) {
            self.make_room(now);
        }
        self.entries.insert(key, (value, end));
    }

    /// Takes everything out.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
    }

    fn make_room(&mut self, now: Instant) {
        self.entries.retain(|_, (_, end)| *end > now);
        if self.entries.len() < self.entries_max {
            return;
        }
        let mut ends: Vec<Instant> = self.entries.values().map(|(_, end)| *end).collect();
        let half = ends.len() / 2;
        let (_, middle, _) = ends.select_nth_unstable(half);
        let middle = *middle;
        self.entries.retain(|_, (_, end)| *end > middle);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn entries_end_and_give_way() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut table = Expiring::new(4);
        for key in 1..=4 {
            table.insert(key, key * 10, at(key), start);
        }
        table.insert(4, 44, at(4), start);
        assert_eq!([1, 2, 3, 4].map(|key| table.get(&key, start).copied()), [Some(10), Some(20), Some(30), Some(44)]);
        assert_eq!(table.get(&1, at(1)), None, "the end is not part of the time");
        table.insert(5, 50, at(5), at(2));
        assert_eq!([1, 2, 3, 4, 5].map(|key| table.entries.contains_key(&key)), [false, false, true, true, true]);
        table.insert(6, 60, at(6), at(2));
        table.insert(7, 70, at(7), at(2));
        assert!(table.entries.len() <= 4);
        assert_eq!(table.get(&7, at(2)), Some(&70));
        assert_eq!(table.get(&3, at(2)), None, "what ends first gives way");
        table.insert(7, 71, at(2), at(2));
        assert_eq!(table.get(&7, at(2)), None, "what has ended is not kept");
        table.clear();
        assert!(table.entries.is_empty());
    }

    #[test]
    fn a_table_without_room_keeps_nothing() {
        let now = Instant::now();
        let mut table = Expiring::new(0);
        table.insert(1, 1, now + Duration::from_secs(1), now);
        assert_eq!(table.get(&1, now), None);
    }
}
