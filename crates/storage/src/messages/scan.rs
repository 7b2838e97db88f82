//! Reading a file record by record, whatever state it is in. Bytes in, findings out; nothing is touched.
//!
//! As in the metadata log, bytes that are no record with records behind them are damage if something proves that they were
//! durable once: a mark, or that the file is not the newest, for a file is durable before the next is begun. Otherwise they
//! are in the last write, which nobody was told about, and it ends where its first gap is.

use std::ops::Range;

use memchr::memmem;

use super::QueueKey;
use super::directory::{OpenIndex, Others};
use super::format::{
    DELETED, DELIVERED, DIRECTORY, FILES, GONE, HEADER_BYTES, MARK, MESSAGE, OFFSETS, SETTLED, file_and_index,
    references, take_numbers, take_pairs, take_ranges,
};
use crate::record::{self, Decoded, Record};

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct Scan {
    pub(super) index: OpenIndex,
    pub(super) others: Others,
    /// The last record that counts, without those that end a file.
    pub(super) last: u32,
    /// Where that ends.
    pub(super) end: usize,
    /// Where the records begin of which nothing proves that they are durable; `end` if there are none.
    pub(super) unproven: usize,
    /// Where records may still stand that do not count.
    pub(super) stale_end: usize,
    pub(super) damage: Vec<(Range<usize>, Option<u64>)>,
    /// Where a write was cut off, and how many complete records were behind.
    pub(super) torn: Option<(usize, u64)>,
    /// Whether there was any record, counted or not.
    pub(super) has_records: bool,
}

#[derive(Debug, Clone, Copy)]
struct Found<'a> {
    start: usize,
    end: usize,
    index: u32,
    record: Record<'a>,
}

struct Gap {
    range: Range<usize>,
    /// How many were found before it.
    found: u64,
    /// The record that should be there.
    expected: u32,
    /// How many are missing; unknown at the end.
    records: Option<u64>,
}

/// What was found on a walk through a file. Records are not kept: there may be a million.
#[derive(Default)]
struct Walked {
    gaps: Vec<Gap>,
    /// How many records there are.
    found: u64,
    /// Where the last one ends.
    end: usize,
    /// Up to which record the marks prove that everything is durable.
    proven: u32,
}

/// Which file it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Age {
    /// In this one, a write may be torn. One that `is_new` is not written over an older file.
    Newest { is_new: bool },
    /// All of it was durable before the next was begun.
    Older,
}

/// Reads a file.
pub(super) fn scan(bytes: &[u8], number: u64, age: Age) -> Scan {
    let walk = Walk { bytes, number };
    let Walked { mut gaps, found, end, proven } = walk.run();
    let (proven, is_new) = match age {
        Age::Newest { is_new } => (proven, is_new),
        Age::Older => (u32::MAX, false),
    };
    let mut scan = Scan { has_records: found > 0, ..Scan::default() };
    let mut cut = end;
    if let Some(place) = gaps.iter().position(|gap| gap.expected > proven)
        && let Some(gap) = gaps.split_off(place).into_iter().next()
    {
        cut = gap.range.start;
        let behind = found - gap.found;
        scan.stale_end = if behind > 0 { end } else { 0 };
        scan.torn = (behind > 0 || walk.looks_begun(cut, is_new)).then_some((cut, behind));
    }
    let mut content = Content { scan, ..Content::default() };
    content.scan.end = HEADER_BYTES;
    content.scan.unproven = usize::MAX;
    for found in walk.again(&gaps, cut) {
        content.add(&found, proven);
    }
    content.end(gaps)
}

/// So far from its end a write that was torn is looked for, in bytes.
const BEGUN_BYTES: usize = 64 << 10;

/// Where a record has the number of its file: in the upper half of its own.
const FILE_AT: usize = 12;

struct Walk<'a> {
    bytes: &'a [u8],
    number: u64,
}

impl<'a> Walk<'a> {
    fn run(&self) -> Walked {
        let mut walked = Walked::default();
        let (mut offset, mut expected, mut is_ended) = (HEADER_BYTES, 1, false);
        while !is_ended {
            let next = self.found_at(offset).filter(|next| next.index == expected);
            let Some(next) = next.or_else(|| self.resume(offset, expected)) else {
                let range = offset..self.bytes.len();
                walked.gaps.push(Gap { range, found: walked.found, expected, records: None });
                break;
            };
            if next.index != expected {
                let records = Some(u64::from(next.index - expected));
                walked.gaps.push(Gap { range: offset..next.start, found: walked.found, expected, records });
            }
            walked.found += 1;
            walked.end = next.end;
            walked.proven = walked.proven.max(self.proven_by(&next.record));
            is_ended = next.record.kind == DIRECTORY;
            offset = next.end;
            expected = next.index.saturating_add(1);
        }
        walked
    }

    /// The records that were found, once more, up to where the file is cut. These gaps are before that.
    fn again(&self, gaps: &[Gap], cut: usize) -> impl Iterator<Item = Found<'a>> {
        let mut offset = HEADER_BYTES;
        let mut gaps = gaps.iter().peekable();
        std::iter::from_fn(move || {
            while let Some(gap) = gaps.next_if(|gap| gap.range.start == offset) {
                offset = gap.range.end;
            }
            let start = offset;
            let (record, bytes) = record::decode_known(self.bytes.get(start..cut)?)?;
            offset += bytes;
            let (_, index) = file_and_index(record.sequence);
            Some(Found { start, end: offset, index, record })
        })
    }

    /// Up to which record this one proves that everything is durable.
    fn proven_by(&self, record: &Record<'_>) -> u32 {
        let synced = record.payload.try_into().ok().filter(|_| record.kind == MARK).map(u64::from_le_bytes);
        let synced = synced.map(|synced| file_and_index(record::Sequence(synced)));
        synced.filter(|(file, _)| *file == self.number).map_or(0, |(_, index)| index)
    }

    /// The record of this file that begins here.
    fn found_at(&self, start: usize) -> Option<Found<'a>> {
        let Decoded::Complete { record, bytes } = record::decode(self.bytes.get(start..)?) else { return None };
        let (file, index) = file_and_index(record.sequence);
        let is_one = file == self.number && is_known(&record);
        is_one.then_some(Found { start, end: start + bytes, index, record })
    }

    /// Finds the next record behind a place where there is none.
    fn resume(&self, offset: usize, expected: u32) -> Option<Found<'a>> {
        let next_at = |start: usize| {
            let found = self.found_at(start)?;
            // No more may be missing than there was room for.
            let missing = found.index.checked_sub(expected).filter(|missing| *missing > 0)?;
            (missing as usize <= (start - offset) / record::HEADER_BYTES).then_some(found)
        };
        // Most damage leaves the length alone. Trusting it first keeps us from looking into a message, where a client may
        // have put what looks like a record.
        let length = self.bytes.get(offset..).and_then(|rest| rest.first_chunk());
        let stepped = length.and_then(|length| next_at(offset + 8 + u32::from_le_bytes(*length) as usize));
        if let Some(found) = stepped.filter(|found| found.index == expected.saturating_add(1)) {
            return Some(found);
        }
        self.likely(offset + 1..self.bytes.len()).find_map(next_at)
    }

    /// Whether it looks as if something had been written from here on.
    fn looks_begun(&self, start: usize, is_new: bool) -> bool {
        let rest = self.bytes.get(start..).unwrap_or_default();
        if is_new {
            const ZEROS: [u8; 4096] = [0; 4096];
            return rest.chunks(ZEROS.len()).any(|chunk| Some(chunk) != ZEROS.get(..chunk.len()));
        }
        self.likely(start..self.bytes.len().min(start + BEGUN_BYTES)).any(|start| {
            let length = self.bytes.get(start..).and_then(|rest| rest.first_chunk());
            length.is_some_and(|length| (9..=self.bytes.len()).contains(&(u32::from_le_bytes(*length) as usize)))
        })
    }

    /// Places where a record of this file may begin, to go by the number it would have. A file is mostly zeros or older
    /// records, so this has to be quick at finding nothing.
    fn likely(&self, places: Range<usize>) -> impl Iterator<Item = usize> {
        let file = u32::try_from(self.number).unwrap_or(u32::MAX).to_le_bytes();
        let end = (places.end + FILE_AT + file.len() - 1).min(self.bytes.len());
        let bytes = self.bytes.get(places.start + FILE_AT..end).unwrap_or_default();
        let finder = memmem::Finder::new(&file).into_owned();
        // One may begin within another, as in 01 01 01 01 01.
        let mut from = 0;
        std::iter::from_fn(move || {
            let found = from + finder.find(bytes.get(from..)?)?;
            from = found + 1;
            Some(places.start + found)
        })
    }
}

/// Whether version 1 wrote such records.
fn is_known(record: &Record<'_>) -> bool {
    let mut rest = record.payload;
    match record.kind {
        MARK => rest.len() == 8,
        MESSAGE => references(rest).is_some(),
        SETTLED => take_ranges(&mut rest).is_some_and(|_| rest.is_empty()),
        DELIVERED => take_pairs(&mut rest).is_some_and(|_| rest.is_empty()),
        DELETED | FILES | GONE => take_numbers(&mut rest).is_some_and(|_| rest.is_empty()),
        OFFSETS | DIRECTORY => true,
        _ => false,
    }
}

/// Collects what records say.
#[derive(Default)]
struct Content {
    scan: Scan,
    run: Run,
}

impl Content {
    fn add(&mut self, found: &Found<'_>, proven: u32) {
        let Self { scan, run } = self;
        let Found { start, end, index, record } = found;
        if *index > proven {
            scan.unproven = scan.unproven.min(*start);
        }
        if matches!(record.kind, OFFSETS | DIRECTORY) {
            // What ends a file is written anew.
            scan.stale_end = scan.stale_end.max(*end);
            return;
        }
        scan.end = *end;
        scan.last = *index;
        let others = &mut scan.others;
        let mut rest = record.payload;
        match record.kind {
            MESSAGE => {
                let Ok(offset) = u32::try_from(*start) else { return };
                for (queue, position) in references(rest).into_iter().flat_map(|(references, _)| references) {
                    run.add(queue, position, offset, &mut scan.index);
                }
            }
            SETTLED => others.settled.extend(take_ranges(&mut rest).unwrap_or_default()),
            DELIVERED => others.delivered.extend(take_pairs(&mut rest).unwrap_or_default()),
            DELETED => others.deleted.extend(take_numbers(&mut rest).unwrap_or_default().into_iter().map(QueueKey)),
            FILES => others.files = take_numbers(&mut rest).unwrap_or_default(),
            GONE => others.gone.extend(take_numbers(&mut rest).unwrap_or_default()),
            _ => {}
        }
    }

    fn end(self, gaps: Vec<Gap>) -> Scan {
        let Self { mut scan, mut run } = self;
        run.end(&mut scan.index);
        scan.others.sort();
        scan.unproven = scan.unproven.min(scan.end);
        scan.damage = gaps.into_iter().map(|gap| (gap.range, gap.records)).collect();
        scan
    }
}

/// Messages that follow each other, to be added together.
#[derive(Default)]
struct Run {
    queue: Option<QueueKey>,
    first: u64,
    offsets: Vec<u32>,
}

impl Run {
    fn add(&mut self, queue: QueueKey, position: u64, offset: u32, index: &mut OpenIndex) {
        if self.queue != Some(queue) || self.first + self.offsets.len() as u64 != position {
            self.end(index);
            self.queue = Some(queue);
            self.first = position;
        }
        self.offsets.push(offset);
    }

    fn end(&mut self, index: &mut OpenIndex) {
        if let Some(queue) = self.queue.take() {
            index.add(queue, self.first, &self.offsets);
            self.offsets.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::format::{put_number, put_numbers, sequence};
    use super::*;
    use crate::disk::simulated::Random;

    /// A new file with these records: kinds, and for marks what they say.
    fn file(records: &[(record::Kind, u32)]) -> (Vec<u8>, Vec<usize>) {
        let mut bytes = vec![1; HEADER_BYTES];
        let mut starts = Vec::new();
        for (index, (kind, synced)) in (1..).zip(records) {
            let mut payload = Vec::new();
            match *kind {
                MARK => payload.extend_from_slice(&sequence(5, *synced).0.to_le_bytes()),
                FILES => put_numbers([5].into_iter(), &mut payload),
                _ => [1, 7, u64::from(index), 99].into_iter().for_each(|number| put_number(number, &mut payload)),
            }
            starts.push(bytes.len());
            record::encode(sequence(5, index), *kind, &[&payload], &mut bytes).unwrap();
        }
        starts.push(bytes.len());
        bytes.resize(bytes.len() + 200, 0);
        (bytes, starts)
    }

    #[test]
    fn a_gap_is_damage_where_something_proves_that_it_was_durable_and_torn_elsewhere() {
        let records = [(FILES, 0), (MESSAGE, 0), (MESSAGE, 0), (MARK, 3), (MESSAGE, 0), (MESSAGE, 0)];
        let newest = Age::Newest { is_new: true };
        // Which record is hit, in which file; how many count, how many of those behind do not.
        for (hit, age, last, damage, torn) in [
            (None, newest, 6, vec![], None),
            (Some(1), newest, 6, vec![Some(1)], None),
            (Some(2), newest, 6, vec![Some(1)], None),
            (Some(3), newest, 3, vec![], Some(2)),
            (Some(4), newest, 4, vec![], Some(1)),
            (Some(5), newest, 5, vec![], Some(0)),
            (Some(4), Age::Older, 6, vec![Some(1), None], None),
        ] {
            let (mut bytes, starts) = file(&records);
            if let Some(hit) = hit {
                bytes[starts[hit] + 18] ^= 1;
            }
            let scan = scan(&bytes, 5, age);
            assert_eq!(scan.last, last, "{hit:?}");
            assert_eq!(scan.damage.iter().map(|(_, records)| *records).collect::<Vec<_>>(), damage, "{hit:?}");
            assert_eq!(scan.torn.map(|(_, behind)| behind), torn, "{hit:?}");
            assert_eq!(scan.end, starts[last as usize], "{hit:?}");
        }
    }

    #[test]
    fn what_is_not_proven_is_known_and_other_files_records_are_none() {
        let (bytes, starts) = file(&[(FILES, 0), (MESSAGE, 0), (MARK, 2), (MESSAGE, 0)]);
        let found = scan(&bytes, 5, Age::Newest { is_new: true });
        assert_eq!((found.unproven, found.end), (starts[2], starts[4]));
        assert_eq!(found.index.find(QueueKey(7), 4), [u32::try_from(starts[3]).unwrap()]);
        assert_eq!(found.others.files, [5]);
        assert!(!scan(&bytes, 6, Age::Newest { is_new: true }).has_records);
    }

    #[test]
    fn places_of_records_are_found_wherever_they_are() {
        let mut random = Random::new(1);
        for number in [1, 0x0101_0101, 0x0001_0001, 0x0100] {
            for length in (0..40).chain([300]) {
                let bytes: Vec<u8> = (0..length).map(|_| u8::from(random.below(4) > 0)).collect();
                let walk = Walk { bytes: &bytes, number };
                let at = |start: usize| bytes.get(start + FILE_AT..).and_then(|rest| rest.first_chunk());
                for places in [0..length, 3..length, 0..length.min(7), length..length + 1] {
                    let expected: Vec<usize> = places
                        .clone()
                        .filter(|start| at(*start).is_some_and(|file| u64::from(u32::from_le_bytes(*file)) == number))
                        .collect();
                    assert_eq!(walk.likely(places.clone()).collect::<Vec<_>>(), expected, "{number} {places:?}");
                }
            }
        }
    }

    #[test]
    fn the_smallest_trace_of_a_write_in_a_new_file_is_seen() {
        let (bytes, starts) = file(&[(FILES, 0)]);
        for length in [bytes.len(), 4096, 8192 + 5] {
            for at in [None, Some(starts[1]), Some(length / 2), Some(length - 1)] {
                let mut bytes = bytes.clone();
                bytes.resize(length, 0);
                if let Some(at) = at {
                    bytes[at] = 1;
                }
                let found = scan(&bytes, 5, Age::Newest { is_new: true });
                assert_eq!(found.torn, at.map(|_| (starts[1], 0)), "{length} {at:?}");
                assert_eq!(scan(&bytes, 5, Age::Newest { is_new: false }).torn, None, "{length} {at:?}");
            }
        }
    }
}
