//! Reading every byte of a message log: is each record what it should be, and does the end of each file say what is in it.

use std::collections::BTreeMap;

use super::super::directory::{Directory, Others};
use super::super::format::{HEADER_BYTES, Header, MESSAGE, Name, references};
use super::super::report::{Damage, TornTail};
use super::super::scan::{Scan, scan};
use super::super::{OpenError, QueueKey};
use super::{Inspection, Log, Measure, Progress, in_file};
use crate::record::{self, Decoded};

/// What reading everything found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checked {
    /// The files of the folder, by name.
    pub files: Vec<FileReport>,
    /// Files that should be there and are not, with all their messages.
    pub missing: Vec<String>,
    /// The queues that the log knows, ascending.
    pub queues: Vec<QueueReport>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileReport {
    /// Its name.
    pub name: String,
    /// Its size, in bytes.
    pub bytes: u64,
    /// What it is.
    pub state: FileState,
    /// Messages in it; one in several queues counts in each.
    pub messages: u64,
    /// Those of them that are live, the unreadable ones included.
    pub live: u64,
    /// Those of them that cannot be read.
    pub unreadable: u64,
    /// Where it is damaged.
    pub damaged: Vec<Damage>,
    /// Lost records of which nobody knows whose they were, as its end does not say; `None` if not even how many.
    pub lost: Option<u64>,
    /// A write that was not finished, with no complete record behind. The next start cuts it off, and nobody was told that
    /// it was done. With one behind, it is among the damage: a start cuts there as well, a repair keeps what is behind.
    pub torn_tail: Option<TornTail>,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// It has messages or settlements, and its end says which.
    Sealed,
    /// It was being written.
    Open,
    /// It has a number and nothing in it yet.
    Ready,
    /// Its content is worthless; it waits to be written again.
    Spare,
    /// Everything in it is settled, and the log says that it was given back.
    Gone,
    /// A copy of a damaged file as it was found.
    KeptAside,
    /// Such a copy that was not finished.
    Unfinished,
    /// It has the name of one of the log's files, and nothing in it can be read.
    Unreadable,
    /// It is none of the log's.
    Other,
}

/// What a queue has in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueReport {
    /// The queue.
    pub queue: QueueKey,
    /// Live messages, the unreadable ones included.
    pub messages: u64,
    /// What the readable ones measure.
    pub bytes: u64,
    /// The first live position.
    pub first: Option<u64>,
    /// The last live position.
    pub last: Option<u64>,
    /// How many were handed out before, and would come as redelivered.
    pub delivered: u64,
    /// How many cannot be read.
    pub unreadable: u64,
}

impl Checked {
    /// Whether nothing is damaged or missing. A torn tail is neither, unless there are complete records behind it.
    pub fn is_sound(&self) -> bool {
        self.missing.is_empty() && self.files.iter().all(FileReport::is_sound)
    }

    /// Lost records of which nobody knows whose they were; `None` if not even how many.
    pub fn lost(&self) -> Option<u64> {
        self.files.iter().map(|file| file.lost).sum()
    }

    /// Live messages that cannot be read.
    pub fn unreadable(&self) -> u64 {
        self.queues.iter().map(|queue| queue.unreadable).sum()
    }
}

impl FileReport {
    /// Whether nothing in it is damaged.
    pub fn is_sound(&self) -> bool {
        self.state != FileState::Unreadable && self.damaged.is_empty() && self.unreadable == 0
    }

    fn without_messages(name: String, bytes: u64, state: FileState) -> Self {
        Self {
            name,
            bytes,
            state,
            messages: 0,
            live: 0,
            unreadable: 0,
            damaged: Vec::new(),
            lost: Some(0),
            torn_tail: None,
        }
    }
}

/// Live messages of a queue in a file.
#[derive(Default)]
struct Tally {
    bytes: u64,
    unreadable: u64,
}

impl Inspection {
    /// Reads every file that has messages, all of it.
    pub fn check(&self, measure: Measure<'_>, progress: Progress<'_>) -> Result<Checked, OpenError> {
        let total = self.logs.iter().map(|log| log.length).sum();
        let mut done = 0;
        progress(done, total);
        let mut tallies = BTreeMap::new();
        let mut files: Vec<FileReport> = Vec::new();
        for log in &self.logs {
            let bytes = log.handle.read_all().map_err(in_file(&log.name))?;
            files.push(self.check_file(log, &bytes, measure, &mut tallies));
            done += log.length;
            progress(done, total);
        }
        let others = self.others.iter();
        files.extend(others.map(|(name, bytes, state)| FileReport::without_messages(name.clone(), *bytes, *state)));
        files.sort_by(|one, other| one.name.cmp(&other.name));
        let missing = self.missing.iter().map(|number| Name::Log(*number).to_string()).collect();
        Ok(Checked { files, missing, queues: self.queue_reports(&tallies) })
    }

    fn check_file(
        &self,
        log: &Log,
        bytes: &[u8],
        measure: Measure<'_>,
        tallies: &mut BTreeMap<QueueKey, Tally>,
    ) -> FileReport {
        let scan = scan(bytes, log.number, log.age);
        let damaged = log.damage(bytes, &scan);
        let lost = match log.directory {
            Some(_) => Some(0),
            None => damaged.iter().map(|damage| damage.records).sum(),
        };
        let torn_tail =
            scan.torn.map(|(offset, records)| TornTail { file: log.name.clone(), offset: offset as u64, records });
        let mut report = FileReport {
            state: if log.is_open { FileState::Open } else { FileState::Sealed },
            damaged,
            lost,
            torn_tail,
            ..FileReport::without_messages(log.name.clone(), log.length, FileState::Open)
        };
        let state = self.shared.lock();
        let Some(file) = state.files.get(&log.number) else { return report };
        report.messages = file.references;
        report.live = file.live;
        for (queue, range) in file.index.runs() {
            let Some(entry) = state.queues.get(&queue) else { continue };
            for piece in entry.live.within(range).filter(|piece| piece.file == log.number) {
                let tally: &mut Tally = tallies.entry(queue).or_default();
                for position in piece.positions {
                    let offset = scan.index.find(queue, position).first();
                    if let Some(size) = offset.and_then(|offset| measure(octets_at(bytes, *offset)?)) {
                        tally.bytes += size;
                    } else {
                        tally.unreadable += 1;
                        report.unreadable += 1;
                    }
                }
            }
        }
        report
    }

    fn queue_reports(&self, tallies: &BTreeMap<QueueKey, Tally>) -> Vec<QueueReport> {
        let state = self.shared.lock();
        let mut reports = Vec::new();
        for (queue, entry) in &state.queues {
            let mut report = QueueReport {
                queue: *queue,
                messages: entry.messages,
                bytes: tallies.get(queue).map_or(0, |tally| tally.bytes),
                first: entry.live.first(),
                last: None,
                delivered: 0,
                unreadable: tallies.get(queue).map_or(0, |tally| tally.unreadable),
            };
            for piece in entry.live.within(0..u64::MAX) {
                report.last = piece.positions.end.checked_sub(1);
                let end = piece.positions.end.min(entry.delivered_before);
                report.delivered += end.saturating_sub(piece.positions.start);
            }
            reports.push(report);
        }
        reports
    }
}

impl Log {
    /// Where the file is not what it should be.
    pub(super) fn damage(&self, bytes: &[u8], scan: &Scan) -> Vec<Damage> {
        let at = |start: usize, end: usize, records| Damage {
            file: self.name.clone(),
            range: start as u64..end as u64,
            records,
        };
        let mut damage: Vec<Damage> = Vec::new();
        if !matches!(self.header, Header::Valid(_)) {
            damage.push(at(0, HEADER_BYTES.min(bytes.len()), Some(0)));
        }
        let table = self.directory.as_ref().map_or(u64::MAX, |directory| directory.offsets_at);
        let mut gaps = scan.damage.as_slice();
        if let Some(((range, None), before)) = gaps.split_last().filter(|_| self.is_open)
            && range.end == bytes.len()
        {
            // What is behind the last record was not written yet.
            gaps = before;
        }
        damage.extend(gaps.iter().map(|(range, records)| {
            let is_table = range.start as u64 + record::HEADER_BYTES as u64 >= table;
            at(range.start, range.end, if is_table { Some(0) } else { *records })
        }));
        let is_end_wrong = match &self.directory {
            // What a damaged record said cannot be compared.
            Some(directory) => scan.damage.is_empty() && !agrees(directory, bytes, scan),
            // Records may be whole where the end is not.
            None => !self.is_open && scan.damage.is_empty(),
        };
        if is_end_wrong {
            damage.push(at(scan.end, bytes.len(), Some(0)));
        }
        damage
    }

    /// What is known of the file beside its messages: from its end, or from its records.
    pub(super) fn others<'a>(&'a self, scan: &'a Scan) -> &'a Others {
        self.directory.as_ref().map_or(&scan.others, |directory| &directory.others)
    }
}

/// Whether the end of a file says what its records say.
fn agrees(directory: &Directory, bytes: &[u8], scan: &Scan) -> bool {
    let others = Others { about: Vec::new(), ..directory.others.clone() };
    let start = usize::try_from(directory.offsets_at).unwrap_or(usize::MAX);
    let offsets = scan.index.encode_offsets();
    let has_offsets = bytes.get(start..).is_some_and(|table| table.starts_with(&offsets));
    has_offsets && directory.runs == scan.index.runs() && others == scan.others
}

/// The octets of the message whose record begins there.
fn octets_at(bytes: &[u8], offset: u32) -> Option<&[u8]> {
    let Decoded::Complete { record, .. } = record::decode(bytes.get(offset as usize..)?) else { return None };
    if record.kind != MESSAGE {
        return None;
    }
    references(record.payload).map(|(_, octets)| octets)
}
