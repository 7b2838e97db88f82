//! What is in a file: the table at its end, from which an open learns everything without reading the messages.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::QueueKey;
use super::format::{
    OFFSETS, Ranges, file_and_index, number_bytes, put_number, put_numbers, put_pairs, put_ranges, take_number,
    take_numbers, take_pairs, take_ranges,
};
use crate::disk::DiskFile;
use crate::record::{self, Decoded};

/// What is in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Directory {
    /// Where the offsets of messages stand in the file, four bytes each, run after run.
    pub(super) offsets_at: u64,
    /// Runs of messages, ascending.
    pub(super) runs: Vec<Run>,
    pub(super) others: Others,
}

/// What is in a file beside messages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Others {
    /// Ascending and apart once they are encoded.
    pub(super) settled: Ranges,
    pub(super) delivered: Vec<(QueueKey, u64)>,
    pub(super) deleted: Vec<QueueKey>,
    /// The files that there were when this one was begun.
    pub(super) files: Vec<u64>,
    /// Files that were given back since.
    pub(super) gone: Vec<u64>,
    /// The older files that this one's settlements and copies are about.
    pub(super) about: Vec<u64>,
}

/// Messages of a queue at positions that follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) queue: QueueKey,
    pub(super) first: u64,
    pub(super) count: u32,
    /// How many offsets are before its own.
    pub(super) index: u32,
}

impl Run {
    /// The position behind.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(u64::from(self.count))
    }
}

/// Bytes of a directory beside what is counted as it comes: headers of two records, the trailer, counts.
pub(super) const FIXED_BYTES: u64 = 192;

/// Bytes that a run takes at most, without its offsets.
pub(super) fn run_bytes(queue: QueueKey, first: u64) -> u64 {
    (number_bytes(queue.0) + 2 + number_bytes(first) + 5) as u64
}

impl Directory {
    pub(super) fn encode(&self, destination: &mut Vec<u8>) {
        put_number(self.offsets_at, destination);
        let runs: Ranges = self.runs.iter().map(|run| (run.queue, run.first..run.end())).collect();
        put_ranges(&runs, destination);
        let Others { settled, delivered, deleted, files, gone, about } = &self.others;
        put_ranges(settled, destination);
        put_pairs(delivered, destination);
        put_numbers(deleted.iter().map(|queue| queue.0), destination);
        for numbers in [files, gone, about] {
            put_numbers(numbers.iter().copied(), destination);
        }
    }

    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let offsets_at = take_number(&mut bytes)?;
        let mut index = 0_u32;
        let runs = take_ranges(&mut bytes)?;
        let runs = runs.into_iter().map(|(queue, range)| {
            let count = u32::try_from(range.end - range.start).ok()?;
            let run = Run { queue, first: range.start, count, index };
            index = index.checked_add(count)?;
            Some(run)
        });
        let runs = runs.collect::<Option<Vec<_>>>()?;
        let others = Others {
            settled: take_ranges(&mut bytes)?,
            delivered: take_pairs(&mut bytes)?,
            deleted: take_numbers(&mut bytes)?.into_iter().map(QueueKey).collect(),
            files: take_numbers(&mut bytes)?,
            gone: take_numbers(&mut bytes)?,
            about: take_numbers(&mut bytes)?,
        };
        bytes.is_empty().then_some(Self { offsets_at, runs, others })
    }

    /// How many messages there are, in each queue.
    pub(super) fn references(&self) -> u64 {
        self.runs.iter().map(|run| u64::from(run.count)).sum()
    }

    /// Where the offset of a position stands among the offsets, and for how many positions from it on they follow.
    pub(super) fn find(&self, queue: QueueKey, position: u64) -> Option<(u32, u32)> {
        let behind = self.runs.partition_point(|run| (run.queue, run.first) <= (queue, position));
        let run = self.runs.get(behind.checked_sub(1)?)?;
        if run.queue != queue || position >= run.end() {
            return None;
        }
        let skipped = u32::try_from(position - run.first).ok()?;
        Some((run.index + skipped, run.count - skipped))
    }

    /// Whether there are messages at these positions.
    pub(super) fn overlaps(&self, queue: QueueKey, positions: &Range<u64>) -> bool {
        let behind = self.runs.partition_point(|run| (run.queue, run.end()) <= (queue, positions.start));
        self.runs.get(behind).is_some_and(|run| run.queue == queue && run.first < positions.end)
    }

    /// Whether all offsets are as they were written.
    pub(super) fn has_offsets(&self, file: &dyn DiskFile, length: u64, number: u64) -> bool {
        let Some(start) = self.offsets_at.checked_sub(record::HEADER_BYTES as u64) else { return false };
        let Ok(bytes) = usize::try_from(self.references()).map(|count| record::HEADER_BYTES + count * OFFSET_BYTES)
        else {
            return false;
        };
        if start.saturating_add(bytes as u64) > length {
            return false;
        }
        let mut bytes = vec![0; bytes];
        let Ok(()) = file.read_at(start, &mut bytes) else { return false };
        let Decoded::Complete { record, bytes: length } = record::decode(&bytes) else { return false };
        record.kind == OFFSETS && file_and_index(record.sequence).0 == number && length == bytes.len()
    }

    /// Where these offsets end in the file.
    pub(super) fn offsets_end(&self, index: u32, count: u32) -> u64 {
        let behind = (u64::from(index) + u64::from(count)) * OFFSET_BYTES as u64;
        self.offsets_at.saturating_add(behind)
    }

    /// Reads offsets of messages from the file.
    pub(super) fn offsets(&self, file: &dyn DiskFile, index: u32, count: u32) -> io::Result<Vec<u32>> {
        let mut bytes = vec![0; count as usize * OFFSET_BYTES];
        file.read_at(self.offsets_at + u64::from(index) * OFFSET_BYTES as u64, &mut bytes)?;
        let (offsets, _) = bytes.as_chunks::<OFFSET_BYTES>();
        Ok(offsets.iter().map(|offset| u32::from_le_bytes(*offset)).collect())
    }
}

/// Bytes of an offset.
pub(super) const OFFSET_BYTES: usize = 4;

impl Others {
    /// Puts settled ranges in the order they are written in.
    pub(super) fn sort(&mut self) {
        self.settled = sorted(std::mem::take(&mut self.settled));
        self.delivered.sort_unstable();
        let mut last: Vec<(QueueKey, u64)> = Vec::with_capacity(self.delivered.len());
        for (queue, before) in self.delivered.drain(..) {
            match last.last_mut() {
                Some((known, mark)) if *known == queue => *mark = before,
                _ => last.push((queue, before)),
            }
        }
        self.delivered = last;
        for numbers in [&mut self.files, &mut self.gone, &mut self.about] {
            numbers.sort_unstable();
            numbers.dedup();
        }
        self.deleted.sort_unstable();
        self.deleted.dedup();
    }
}

/// Ranges ascending and joined.
pub(super) fn sorted(mut ranges: Ranges) -> Ranges {
    ranges.sort_unstable_by_key(|(queue, range)| (*queue, range.start, range.end));
    let mut joined: Ranges = Vec::with_capacity(ranges.len());
    for (queue, range) in ranges {
        match joined.last_mut() {
            Some((last, before)) if *last == queue && range.start <= before.end => {
                before.end = before.end.max(range.end);
            }
            _ => joined.push((queue, range)),
        }
    }
    joined
}

/// The offsets of the messages of a file that is written.
#[derive(Debug, Clone, Default)]
pub(super) struct OpenIndex {
    runs: BTreeMap<(QueueKey, u64), Vec<u32>>,
}

impl OpenIndex {
    /// Adds messages at positions that follow each other. Those that are here already stay as they are.
    pub(super) fn add(&mut self, queue: QueueKey, first: u64, offsets: &[u32]) {
        let end = first.saturating_add(offsets.len() as u64);
        // No caller gives a position twice, but a file may say anything.
        let next = self.runs.range((queue, first)..(queue, end)).next().map(|(&(_, next), _)| next);
        if let Some((before, behind)) =
            next.and_then(|next| offsets.split_at_checked(usize::try_from(next - first).ok()?))
        {
            self.add_apart(queue, first, before);
            let known = self.find(queue, end - behind.len() as u64).len().min(behind.len());
            let behind = behind.get(known..).unwrap_or_default();
            return self.add(queue, end - behind.len() as u64, behind);
        }
        self.add_apart(queue, first, offsets);
    }

    /// Adds messages that no later run reaches into.
    fn add_apart(&mut self, queue: QueueKey, first: u64, offsets: &[u32]) {
        let before = self.runs.range_mut((queue, 0)..=(queue, first)).next_back();
        if let Some((&(_, start), run)) = before
            && let Some(known) = (start + run.len() as u64).checked_sub(first)
        {
            let known = usize::try_from(known).unwrap_or(usize::MAX);
            run.extend_from_slice(offsets.get(known..).unwrap_or_default());
        } else if !offsets.is_empty() {
            self.runs.insert((queue, first), offsets.to_vec());
        }
    }

    /// Offsets of positions from this one on that follow each other; none if it is not here.
    pub(super) fn find(&self, queue: QueueKey, position: u64) -> &[u32] {
        let before = self.runs.range((queue, 0)..=(queue, position)).next_back();
        let found = before.and_then(|(&(_, first), run)| run.get(usize::try_from(position - first).ok()?..));
        found.unwrap_or_default()
    }

    /// The runs, without saying where the offsets are.
    pub(super) fn runs(&self) -> Vec<Run> {
        let mut index = 0_u32;
        let mut runs = Vec::with_capacity(self.runs.len());
        for (&(queue, first), offsets) in &self.runs {
            let count = u32::try_from(offsets.len()).unwrap_or(u32::MAX);
            match runs.last_mut() {
                // Written out of order, these two were not joined.
                Some(Run { queue: last, first: start, count: before, .. })
                    if *last == queue && *start + u64::from(*before) == first =>
                {
                    *before = before.saturating_add(count);
                }
                _ => runs.push(Run { queue, first, count, index }),
            }
            index = index.saturating_add(count);
        }
        runs
    }

    /// The offsets as they stand in the file.
    pub(super) fn encode_offsets(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.runs.values().map(|run| run.len() * OFFSET_BYTES).sum());
        for offset in self.runs.values().flatten() {
            bytes.extend_from_slice(&offset.to_le_bytes());
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(runs: &[(u64, u64, &[u32])]) -> OpenIndex {
        let mut index = OpenIndex::default();
        for (queue, first, offsets) in runs {
            index.add(QueueKey(*queue), *first, offsets);
        }
        index
    }

    #[test]
    fn a_directory_is_read_as_written_and_finds_what_is_there() {
        let index = index(&[(2, 10, &[1, 2]), (1, 5, &[3]), (2, 12, &[4]), (2, 20, &[5])]);
        let others = Others {
            settled: vec![(QueueKey(1), 0..3), (QueueKey(1), 4..5)],
            delivered: vec![(QueueKey(2), 11)],
            deleted: vec![QueueKey(9)],
            files: vec![1, 2],
            gone: vec![3],
            about: vec![1],
        };
        let directory = Directory { offsets_at: 1000, runs: index.runs(), others };
        let mut bytes = Vec::new();
        directory.encode(&mut bytes);
        assert_eq!(Directory::decode(&bytes).as_ref(), Some(&directory));
        for length in 0..bytes.len() {
            assert_eq!(Directory::decode(&bytes[..length]), None, "{length}");
        }
        for (queue, position, found) in [
            (1, 5, Some((0, 1))),
            (2, 10, Some((1, 3))),
            (2, 12, Some((3, 1))),
            (2, 20, Some((4, 1))),
            (2, 13, None),
            (1, 6, None),
        ] {
            assert_eq!(directory.find(QueueKey(queue), position), found, "{queue} {position}");
            let offsets = index.find(QueueKey(queue), position);
            assert_eq!(offsets.len(), found.map_or(0, |(_, count)| count as usize), "{queue} {position}");
        }
        assert!(directory.overlaps(QueueKey(2), &(13..21)) && !directory.overlaps(QueueKey(2), &(13..20)));
        assert_eq!(index.encode_offsets().len() as u64, directory.references() * OFFSET_BYTES as u64);
    }

    #[test]
    fn a_position_that_comes_twice_stays_where_it_was() {
        for (first, second, expected) in [
            ((5, vec![1, 2, 3]), (5, vec![7, 8, 9]), vec![1, 2, 3]),
            ((5, vec![1, 2]), (3, vec![6, 7, 8, 9, 10]), vec![6, 7, 1, 2, 10]),
            ((5, vec![1, 2]), (6, vec![8, 9]), vec![1, 2, 9]),
        ] {
            let index = index(&[(1, first.0, &first.1), (1, second.0, &second.1)]);
            let found: Vec<u32> = index.runs.values().flatten().copied().collect();
            assert_eq!(found, expected, "{first:?} {second:?}");
            let mut bytes = Vec::new();
            Directory { runs: index.runs(), ..Directory::default() }.encode(&mut bytes);
            assert!(Directory::decode(&bytes).is_some());
        }
    }
}
