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
    found: usize,
    /// The record that should be there.
    expected: u32,
    /// How many are missing; unknown at the end.
    records: Option<u64>,
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
    let (mut found, mut gaps) = walk.run();
    let has_records = !found.is_empty();
    let (proven, is_new) = match age {
        Age::Newest { is_new } => (proven(&found, number), is_new),
        Age::Older => (u32::MAX, false),
    };
    let mut torn = None;
    let mut stale_end = 0;
    if let Some(cut) = gaps.iter().position(|gap| gap.expected > proven) {
        let gap = gaps.split_off(cut).into_iter().next();
        if let Some(Gap { range, found: before, .. }) = gap {
            let behind = found.split_off(before);
            stale_end = behind.last().map_or(0, |found| found.end);
            let begun = walk.looks_begun(range.start, is_new);
            torn = (begun || !behind.is_empty()).then_some((range.start, behind.len() as u64));
        }
    }
    // What ends a file is written anew.
    while found.last().is_some_and(|found| matches!(found.record.kind, DIRECTORY | OFFSETS)) {
        stale_end = stale_end.max(found.pop().map_or(0, |found| found.end));
    }
    let end = found.last().map_or(HEADER_BYTES, |found| found.end);
    let unproven = found.iter().find(|found| found.index > proven).map_or(end, |found| found.start);
    let damage = gaps.into_iter().map(|gap| (gap.range, gap.records)).collect();
    let last = found.last().map_or(0, |found| found.index);
    let (index, others) = content(&found);
    Scan { index, others, last, end, unproven, stale_end, damage, torn, has_records }
}

/// Up to which record the marks prove that everything is durable.
fn proven(found: &[Found<'_>], number: u64) -> u32 {
    let marks = found.iter().filter(|found| found.record.kind == MARK);
    let proven = marks.filter_map(|found| {
        let synced = record::Sequence(u64::from_le_bytes(found.record.payload.try_into().ok()?));
        let (file, index) = file_and_index(synced);
        (file == number).then_some(index)
    });
    proven.max().unwrap_or_default()
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
    fn run(&self) -> (Vec<Found<'a>>, Vec<Gap>) {
        let (mut found, mut gaps): (Vec<Found<'_>>, Vec<_>) = (Vec::new(), Vec::new());
        let (mut offset, mut expected) = (HEADER_BYTES, 1);
        loop {
            let next = self.found_at(offset).filter(|next| next.index == expected);
            let Some(next) = next.or_else(|| self.resume(offset, expected)) else {
                if found.last().is_none_or(|last| last.record.kind != DIRECTORY) {
                    gaps.push(Gap { range: offset..self.bytes.len(), found: found.len(), expected, records: None });
                }
                return (found, gaps);
            };
            if next.index != expected {
                let records = Some(u64::from(next.index - expected));
                gaps.push(Gap { range: offset..next.start, found: found.len(), expected, records });
            }
            found.push(next);
            if next.record.kind == DIRECTORY {
                return (found, gaps);
            }
            offset = next.end;
            expected = next.index.saturating_add(1);
        }
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
            return rest.iter().any(|byte| *byte != 0);
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
        let end = (places.end + FILE_AT + file.len()).min(self.bytes.len());
        let bytes = self.bytes.get(places.start + FILE_AT..end).unwrap_or_default();
        let mut from = 0;
        std::iter::from_fn(move || {
            let found = from + memmem::find(bytes.get(from..)?, &file)?;
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

fn content(found: &[Found<'_>]) -> (OpenIndex, Others) {
    let (mut index, mut others) = (OpenIndex::default(), Others::default());
    let mut run = Run::default();
    for Found { start, record, .. } in found {
        let mut rest = record.payload;
        match record.kind {
            MESSAGE => {
                let Ok(offset) = u32::try_from(*start) else { continue };
                for (queue, position) in references(rest).into_iter().flat_map(|(references, _)| references) {
                    run.add(queue, position, offset, &mut index);
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
    run.end(&mut index);
    others.sort();
    (index, others)
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
}
