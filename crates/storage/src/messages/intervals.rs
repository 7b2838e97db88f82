//! Which positions of a queue are live, and in which file.

use std::collections::BTreeMap;
use std::ops::Range;

/// Ranges of positions that do not overlap, each in one file. Its size is that of the gaps, not of the messages.
#[derive(Debug, Clone, Default)]
pub(super) struct Intervals {
    /// By first position.
    ranges: BTreeMap<u64, Interval>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    end: u64,
    file: u64,
}

/// Positions in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) positions: Range<u64>,
    pub(super) file: u64,
}

impl Piece {
    pub(super) fn count(&self) -> u64 {
        self.positions.end - self.positions.start
    }
}

impl Intervals {
    pub(super) fn first(&self) -> Option<u64> {
        self.ranges.first_key_value().map(|(start, _)| *start)
    }

    /// Puts positions in a file. Those that are in another one are handed out and are no longer there.
    pub(super) fn insert(&mut self, positions: Range<u64>, file: u64, replaced: impl FnMut(Piece)) {
        if positions.is_empty() {
            return;
        }
        // Most messages follow the last one.
        if let Some(mut last) = self.ranges.last_entry() {
            if last.get().end == positions.start && last.get().file == file {
                last.get_mut().end = positions.end;
                return;
            }
            if last.get().end > positions.start {
                self.remove(positions.clone(), replaced);
            }
        }
        let mut end = positions.end;
        if let Some(next) = self.ranges.get(&end).copied()
            && next.file == file
        {
            self.ranges.remove(&end);
            end = next.end;
        }
        if let Some((_, before)) = self.ranges.range_mut(..positions.start).next_back()
            && before.end == positions.start
            && before.file == file
        {
            before.end = end;
            return;
        }
        self.ranges.insert(positions.start, Interval { end, file });
    }

    /// Takes positions out, and hands out those that were there, ascending.
    pub(super) fn remove(&mut self, positions: Range<u64>, mut removed: impl FnMut(Piece)) {
        if positions.is_empty() {
            return;
        }
        // One that begins before reaches in.
        if let Some((_, interval)) = self.ranges.range_mut(..positions.start).next_back()
            && interval.end > positions.start
        {
            let Interval { end, file } = *interval;
            interval.end = positions.start;
            let cut = end.min(positions.end);
            removed(Piece { positions: positions.start..cut, file });
            if end > cut {
                self.ranges.insert(cut, Interval { end, file });
                return;
            }
        }
        while let Some((&start, &Interval { end, file })) = self.ranges.range(positions.clone()).next() {
            self.ranges.remove(&start);
            let cut = end.min(positions.end);
            removed(Piece { positions: start..cut, file });
            if end > cut {
                self.ranges.insert(cut, Interval { end, file });
            }
        }
    }

    /// What is in a range, ascending, cut to it.
    pub(super) fn within(&self, range: Range<u64>) -> impl Iterator<Item = Piece> {
        let reaching_in = self.ranges.range(..range.start).next_back();
        let start =
            reaching_in.filter(|(_, interval)| interval.end > range.start).map_or(range.start, |(start, _)| *start);
        let inside = if range.is_empty() { 0..0 } else { start..range.end };
        self.ranges.range(inside).map(move |(&start, interval)| Piece {
            positions: start.max(range.start)..interval.end.min(range.end),
            file: interval.file,
        })
    }

    /// Everything, ascending.
    #[cfg(test)]
    fn all(&self) -> impl Iterator<Item = Piece> {
        self.ranges.iter().map(|(&start, interval)| Piece { positions: start..interval.end, file: interval.file })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(intervals: &Intervals) -> Vec<(u64, u64, u64)> {
        intervals.all().map(|piece| (piece.positions.start, piece.positions.end, piece.file)).collect()
    }

    #[test]
    fn what_is_put_in_is_joined_and_replaces_what_was_there() {
        let mut intervals = Intervals::default();
        let mut replaced = Vec::new();
        for (positions, file, expected) in [
            (0..10, 1, vec![(0, 10, 1)]),
            (10..20, 1, vec![(0, 20, 1)]),
            (20..30, 2, vec![(0, 20, 1), (20, 30, 2)]),
            (5..7, 2, vec![(0, 5, 1), (5, 7, 2), (7, 20, 1), (20, 30, 2)]),
            (7..20, 2, vec![(0, 5, 1), (5, 30, 2)]),
            (0..5, 2, vec![(0, 30, 2)]),
            (40..40, 3, vec![(0, 30, 2)]),
        ] {
            intervals.insert(positions, file, |piece| replaced.push((piece.positions, piece.file)));
            assert_eq!(pieces(&intervals), expected);
        }
        assert_eq!(replaced, [(5..7, 1), (7..20, 1), (0..5, 1)]);
    }

    #[test]
    fn it_is_the_set_of_its_positions() {
        let mut random = crate::disk::simulated::Random::new(7);
        for _ in 0..200 {
            let mut intervals = Intervals::default();
            let mut model = BTreeMap::new();
            for _ in 0..60 {
                let start = random.below(40);
                let end = start + random.below(8);
                let file = random.below(3);
                let mut handed = Vec::new();
                let mut note = |piece: Piece| handed.extend(piece.positions.clone().map(|at| (at, piece.file)));
                let expected: Vec<_> = model.range(start..end).map(|(at, file)| (*at, *file)).collect();
                assert_eq!(
                    intervals.within(start..end).flat_map(|piece| piece.positions).collect::<Vec<_>>(),
                    expected.iter().map(|(at, _)| *at).collect::<Vec<_>>()
                );
                if random.below(2) == 0 {
                    intervals.insert(start..end, file, &mut note);
                    model.extend((start..end).map(|at| (at, file)));
                } else {
                    intervals.remove(start..end, &mut note);
                    model.retain(|at, _| !(start..end).contains(at));
                }
                assert_eq!(handed, expected);
                let all: Vec<_> =
                    intervals.all().flat_map(|piece| piece.positions.map(move |at| (at, piece.file))).collect();
                assert_eq!(all, model.iter().map(|(at, file)| (*at, *file)).collect::<Vec<_>>());
            }
        }
    }
}
