//! What the messages weigh that are on disk only: a sum for each stretch of positions, so that what goes unread can be taken off.

use std::collections::VecDeque;
use std::ops::Range;

use crate::Weight;

/// Positions of a stretch. Shorter ones are joined: 40 octets for so many messages are nothing.
const PART_MAX: u64 = 1024;

#[derive(Debug)]
struct Part {
    from: u64,
    until: u64,
    weight: Weight,
}

/// Stretches of positions in their order, with what stands there weighs.
#[derive(Debug, Default)]
pub(super) struct Parts {
    parts: VecDeque<Part>,
    total: Weight,
}

impl Parts {
    /// What all of it weighs.
    pub(super) const fn total(&self) -> Weight {
        self.total
    }

    /// The first stretch, and what it weighs.
    pub(super) fn first(&self) -> Option<(Range<u64>, Weight)> {
        self.parts.front().map(|part| (part.from..part.until, part.weight))
    }

    /// Weighs the rest of the first stretch anew, from a position on.
    pub(super) fn weigh_first(&mut self, from: u64, weight: Weight) {
        if let Some(first) = self.parts.front_mut() {
            self.total.take(first.weight);
            self.total += weight;
            (first.from, first.weight) = (from, weight);
        }
    }

    /// Adds a stretch that overlaps none.
    pub(super) fn add(&mut self, positions: Range<u64>, weight: Weight) {
        self.total += weight;
        let index = self.parts.partition_point(|part| part.until <= positions.start);
        let before = index.checked_sub(1).and_then(|index| self.parts.get_mut(index));
        match before {
            Some(part) if positions.end - part.from <= PART_MAX => {
                part.until = positions.end;
                part.weight += weight;
            }
            _ => self.parts.insert(index, Part { from: positions.start, until: positions.end, weight }),
        }
    }

    fn part_of(&mut self, position: u64) -> Option<&mut Part> {
        let index = match self.parts.front() {
            Some(first) if position < first.until => 0,
            _ => self.parts.partition_point(|part| part.until <= position),
        };
        self.parts.get_mut(index)
    }

    /// A message at a position is gone, or in memory.
    pub(super) fn take(&mut self, position: u64, weight: Weight) {
        if let Some(part) = self.part_of(position) {
            part.weight.take(weight);
            self.total.take(weight);
        }
    }

    /// A message at a position is there again.
    pub(super) fn put_back(&mut self, position: u64, weight: Weight) {
        if let Some(part) = self.part_of(position) {
            part.weight += weight;
            self.total += weight;
        }
    }

    /// Everything before a position was read. What is left of the stretches that end there was lost; gives back its weight.
    #[inline]
    pub(super) fn end_before(&mut self, until: u64) -> Weight {
        match self.parts.front() {
            Some(first) if first.until <= until => self.end_some_before(until),
            _ => Weight::default(),
        }
    }

    fn end_some_before(&mut self, until: u64) -> Weight {
        let mut left = Weight::default();
        while let Some(first) = self.parts.front()
            && first.until <= until
        {
            left += first.weight;
            self.parts.pop_front();
        }
        self.total.take(left);
        left
    }

    /// Everything before a position goes unread, with a message at each position. Gives back its weight: of the last stretch a share,
    /// which is an estimate until all of that is gone.
    pub(super) fn drop_before(&mut self, until: u64) -> Weight {
        let mut gone = self.end_before(until);
        if let Some(first) = self.parts.front_mut()
            && first.from < until
        {
            let (part, all) = (u128::from(until - first.from), u128::from(first.until - first.from));
            let share = |number: u64| u64::try_from(u128::from(number) * part / all).unwrap_or(number);
            let Weight { octets, persistent, persistent_octets } = first.weight;
            let (octets, persistent) = (share(octets), share(persistent));
            let weight = Weight { octets, persistent, persistent_octets: share(persistent_octets) };
            first.from = until;
            first.weight.take(weight);
            self.total.take(weight);
            gone += weight;
        }
        gone
    }

    /// Everything goes. Gives back its weight.
    pub(super) fn clear(&mut self) -> Weight {
        self.parts = VecDeque::new();
        std::mem::take(&mut self.total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn octets(octets: u64) -> Weight {
        Weight { octets, ..Weight::default() }
    }

    #[test]
    fn short_stretches_are_joined_and_stand_in_their_order() {
        let mut parts = Parts::default();
        for start in (100..10_100).step_by(10) {
            parts.add(start..start + 10, octets(30));
        }
        assert!(parts.parts.len() < 12, "{}", parts.parts.len());
        parts.add(0..100, octets(50));
        assert_eq!((parts.total().octets, parts.parts[0].from), (30_050, 0));
        assert_eq!(parts.drop_before(100), octets(50));
        parts.take(5_000, octets(3));
        parts.put_back(5_001, octets(4));
        assert_eq!(parts.total(), octets(30_001));
        assert_eq!((parts.clear(), parts.total()), (octets(30_001), octets(0)));
    }

    #[test]
    fn what_is_dropped_unread_is_estimated_within_a_stretch_only() {
        let mut parts = Parts::default();
        parts.add(0..1024, octets(10_240));
        parts.add(1024..2048, octets(1));
        assert_eq!(parts.drop_before(512), octets(5_120));
        assert_eq!(parts.drop_before(1024), octets(5_120));
        assert_eq!((parts.drop_before(1025), parts.total()), (octets(0), octets(1)));
        assert_eq!((parts.drop_before(2048), parts.total()), (octets(1), octets(0)));
    }

    #[test]
    fn what_was_read_and_not_found_is_lost() {
        let mut parts = Parts::default();
        parts.add(0..1024, octets(100));
        parts.add(1024..1034, octets(10));
        parts.take(3, octets(90));
        assert_eq!((parts.end_before(1023), parts.end_before(1024)), (octets(0), octets(10)));
        assert_eq!(parts.total(), octets(10));
    }
}
