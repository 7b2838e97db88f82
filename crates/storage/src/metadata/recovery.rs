//! Reading a file of the metadata log, whatever state it is in. Bytes in, findings out; nothing is touched.
//!
//! The one question that is hard: bytes that are no record, with records behind them. Did a crash keep the end of the last
//! write and lose its middle, or did the disk damage something that was committed? A change says what was durable when it
//! was written. If any record says that of what is missing, that was committed, and its loss is damage. If none does, all
//! of it is the last write, which nobody was told about, and it ends where its first gap is.

use std::ops::Range;

use super::format::{self, Entry, HEADER_BYTES, Header};
use super::log::CHANGE_BYTES_MAX;
use super::report::TornTail;
use crate::record::{self, Decoded, Sequence};

/// What a file says.
#[derive(Debug)]
pub(super) struct Content<'a> {
    /// Snapshot entries and changes, in order.
    pub(super) payloads: Vec<&'a [u8]>,
    /// The number of the last change; the snapshot's if there is none.
    pub(super) last: Sequence,
    /// Whether there are changes behind the snapshot.
    pub(super) has_changes: bool,
    /// Where the snapshot ends.
    pub(super) snapshot_bytes: usize,
    /// Where the last record ends.
    pub(super) end: usize,
    /// Up to which change the records prove that they are durable.
    pub(super) proven: Sequence,
    /// Where the records begin of which nothing proves that; `end` if there are none.
    pub(super) unproven: usize,
    pub(super) damage: Vec<Damage>,
    pub(super) tail: Option<TornTail>,
}

/// Bytes that should be records that were committed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Damage {
    pub(super) range: Range<usize>,
    /// How many records were lost, if that can be told.
    pub(super) records: Option<u64>,
}

/// Reads a file. If there is no record in it, says what its header is: [`Header::Valid`] is never returned.
pub(super) fn read(file: &[u8]) -> Result<Content<'_>, Header> {
    let mut walk = Walk { file, snapshot_entries: Some(0), last: None, found: Vec::new(), gaps: Vec::new() };
    match format::decode_header(file) {
        Header::Valid(sequence) => walk.last = Some(sequence),
        // Records have checksums of their own; a header that cannot be read does not take them along.
        Header::Unknown => walk.skip(0..HEADER_BYTES, Missing::Exactly(0)),
        header => return Err(header),
    }
    walk.run();
    if walk.found.is_empty() {
        let is_blank = walk.last.is_some() && file.iter().skip(HEADER_BYTES).all(|byte| *byte == 0);
        return Err(if is_blank { Header::Blank } else { Header::Unknown });
    }
    Ok(walk.judge())
}

struct Walk<'a> {
    file: &'a [u8],
    /// While in the snapshot, the number of the last entry.
    snapshot_entries: Option<u64>,
    /// The number of the last change; unknown while the header is damaged.
    last: Option<Sequence>,
    found: Vec<Found<'a>>,
    gaps: Vec<Gap>,
}

#[derive(Clone, Copy)]
struct Found<'a> {
    start: usize,
    end: usize,
    entry: Entry<'a>,
}

/// How many records are missing before one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Exactly(u64),
    /// The end of the snapshot is missing, and with it how many entries there were.
    Unknown,
}

struct Gap {
    range: Range<usize>,
    /// How many were found before it.
    found: usize,
    /// What is missing, if that can be told.
    records: Option<u64>,
    /// The change that should be there. `None` in the snapshot, all of which was durable before the file got its name.
    expected: Option<Sequence>,
}

impl<'a> Walk<'a> {
    fn run(&mut self) {
        let mut offset = HEADER_BYTES;
        while offset < self.file.len() {
            let next = self.found_at(offset).and_then(|found| Some((found, self.missing(&found.entry, None)?)));
            if let Some((found, missing)) = next {
                if missing != Missing::Exactly(0) {
                    self.skip(offset..offset, missing);
                }
                offset = self.take(found);
            } else if let Some((found, missing)) = self.resume(offset) {
                self.skip(offset..found.start, missing);
                offset = self.take(found);
            } else {
                self.skip(offset..self.file.len(), Missing::Unknown);
                return;
            }
        }
        if self.snapshot_entries.is_some() {
            self.skip(offset..offset, Missing::Unknown);
        }
    }

    fn found_at(&self, start: usize) -> Option<Found<'a>> {
        let Decoded::Complete { record, bytes } = record::decode(self.file.get(start..)?) else { return None };
        Some(Found { start, end: start + bytes, entry: Entry::decode(&record)? })
    }

    /// How many records are missing if this one is next; `None` if it cannot be next.
    ///
    /// After `skipped` bytes, no more may be missing than there was room for. Otherwise bytes in a payload that look like
    /// a record would be taken for one more easily.
    fn missing(&self, entry: &Entry<'_>, skipped: Option<usize>) -> Option<Missing> {
        let count = |number: u64, expected: u64| {
            let missing = number.checked_sub(expected)?;
            let room = skipped.map_or(u64::MAX, |bytes| (bytes / record::HEADER_BYTES) as u64);
            (missing <= room).then_some(missing)
        };
        let following = |last: Sequence| last.next().0;
        match (*entry, self.snapshot_entries, self.last) {
            (Entry::Snapshot { number, .. }, Some(entries), _) => count(number, entries + 1).map(Missing::Exactly),
            (Entry::SnapshotEnd { sequence, .. }, Some(_), Some(last)) if sequence != last => None,
            (Entry::SnapshotEnd { entries: all, .. }, Some(entries), _) => count(all, entries).map(Missing::Exactly),
            (Entry::Change { sequence, .. }, None, Some(last)) => {
                count(sequence.0, following(last)).map(Missing::Exactly)
            }
            (Entry::Mark { durable }, None, Some(last)) => count(durable.0, last.0).map(Missing::Exactly),
            // The end of the snapshot is among what was skipped.
            (Entry::Change { sequence, .. }, Some(_), Some(last)) if skipped.is_some() => {
                count(sequence.0, following(last)).map(|_| Missing::Unknown)
            }
            (Entry::Mark { durable }, Some(_), Some(last)) if skipped.is_some() => {
                count(durable.0, last.0).map(|_| Missing::Unknown)
            }
            // And so is the header, so that any number is possible.
            (Entry::Change { .. } | Entry::Mark { .. }, Some(_), None) if skipped.is_some() => Some(Missing::Unknown),
            _ => None,
        }
    }

    /// Finds the next record behind a place where there is none.
    fn resume(&self, offset: usize) -> Option<(Found<'a>, Missing)> {
        let next_at = |start: usize| {
            let found = self.found_at(start)?;
            Some((found, self.missing(&found.entry, Some(start - offset))?))
        };
        // Most damage leaves the length alone. Trusting it first keeps us from looking into a payload, where a client may
        // have put what looks like a record. It was right if exactly one record is missing.
        let stepped = self.length_at(offset).and_then(|length| next_at(offset + length));
        if let Some((found, Missing::Exactly(1))) = stepped {
            return Some((found, Missing::Exactly(1)));
        }
        (offset + 1..self.file.len()).filter(|start| self.length_at(*start).is_some()).find_map(next_at)
    }

    /// The size of a record that begins here, as far as its first bytes can be believed.
    fn length_at(&self, start: usize) -> Option<usize> {
        let length = u32::from_le_bytes(*self.file.get(start..)?.first_chunk()?) as usize;
        let bytes = length.checked_add(8)?;
        let is_possible = bytes >= record::HEADER_BYTES
            && length <= CHANGE_BYTES_MAX + record::HEADER_BYTES
            && start + bytes <= self.file.len();
        is_possible.then_some(bytes)
    }

    fn take(&mut self, found: Found<'a>) -> usize {
        match found.entry {
            Entry::Snapshot { number, .. } => self.snapshot_entries = Some(number),
            Entry::SnapshotEnd { sequence, .. }
            | Entry::Change { sequence, .. }
            | Entry::Mark { durable: sequence } => {
                self.snapshot_entries = None;
                self.last = Some(sequence);
            }
        }
        self.found.push(found);
        found.end
    }

    fn skip(&mut self, range: Range<usize>, missing: Missing) {
        let records = match missing {
            Missing::Exactly(count) => Some(count),
            Missing::Unknown => None,
        };
        let expected = if self.snapshot_entries.is_some() { None } else { self.last.map(Sequence::next) };
        match self.gaps.last_mut() {
            Some(gap) if gap.found == self.found.len() => {
                gap.range.end = range.end;
                gap.records = gap.records.zip(records).map(|(some, more)| some + more);
            }
            _ => self.gaps.push(Gap { range, found: self.found.len(), records, expected }),
        }
    }

    /// Decides which gaps are damage, and cuts at the first that is not.
    fn judge(mut self) -> Content<'a> {
        let tail = self.cut();
        let proven = self.found.last().and_then(Found::proves).unwrap_or_default();
        let mut content = Content {
            payloads: Vec::with_capacity(self.found.len()),
            last: self.last.unwrap_or_default(),
            has_changes: false,
            snapshot_bytes: HEADER_BYTES,
            end: self.found.last().map_or(HEADER_BYTES, |found| found.end),
            proven,
            unproven: self.found.last().map_or(HEADER_BYTES, |found| found.end),
            damage: Vec::new(),
            tail,
        };
        // A mark vouches for those before it, and at the end nothing vouches for it.
        if let Some(Found { start, entry: Entry::Mark { .. }, .. }) = self.found.last() {
            content.unproven = *start;
        }
        for Found { start, end, entry } in self.found {
            match entry {
                Entry::Snapshot { payload, .. } => content.payloads.push(payload),
                Entry::SnapshotEnd { .. } => content.snapshot_bytes = end,
                Entry::Change { sequence, payload, .. } => {
                    content.payloads.push(payload);
                    content.has_changes = true;
                    if sequence > proven {
                        content.unproven = content.unproven.min(start);
                    }
                }
                Entry::Mark { .. } => {}
            }
        }
        content.damage = self.gaps.into_iter().map(|Gap { range, records, .. }| Damage { range, records }).collect();
        content
    }

    fn cut(&mut self) -> Option<TornTail> {
        let proven = self.found.last().and_then(Found::proves).unwrap_or_default();
        let is_torn = |gap: &Gap| {
            // With nothing missing, cutting would only make it worse.
            let is_missing = gap.records != Some(0);
            gap.expected.is_some_and(|expected| gap.found == self.found.len() || (is_missing && expected > proven))
        };
        let index = self.gaps.iter().position(is_torn)?;
        let gap = self.gaps.split_off(index).into_iter().next()?;
        let behind = self.found.split_off(gap.found);
        // `expected` follows the last one before the gap.
        self.last = gap.expected.map(|expected| Sequence(expected.0 - 1));
        let is_change = |found: &&Found<'_>| matches!(found.entry, Entry::Change { .. });
        Some(TornTail {
            offset: gap.range.start as u64,
            bytes: (self.file.len() - gap.range.start) as u64,
            records: behind.iter().filter(is_change).count() as u64,
        })
    }
}

impl Found<'_> {
    /// Up to which change everything was durable when this was written. It never goes down within a file.
    fn proves(&self) -> Option<Sequence> {
        match self.entry {
            Entry::Snapshot { .. } => None,
            Entry::SnapshotEnd { sequence, .. } => Some(sequence),
            Entry::Change { durable, .. } | Entry::Mark { durable } => Some(durable),
        }
    }
}

#[cfg(test)]
mod tests;
