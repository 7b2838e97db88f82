//! Looking at a message log that nobody uses: what is in its files, without changing any of them.
//!
//! [`Inspection::open`] learns what an open would learn, from the ends of files. [`Inspection::check`] then reads every
//! byte and compares. [`repair`] makes the folder sound: it rewrites what is damaged from what can be read, after copying
//! it aside.

mod check;
mod repair;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

pub use self::check::{Checked, FileReport, FileState, QueueReport};
pub use self::repair::{Repaired, Step, plan, repair};
use super::directory::{Directory, Others};
use super::format::{Header, Name, Numbers};
use super::open::{read_directory, read_header, read_trailer};
use super::scan::{Age, scan};
use super::state::{File, Index, Shared, State};
use super::{OpenError, Reader, RecoveredQueue};
use crate::disk::{Disk, DiskFile};

/// Bytes to count for the octets of a message; `None` if they are none, so that nobody could read it.
pub type Measure<'a> = &'a dyn Fn(&[u8]) -> Option<u64>;

/// Is told how many bytes are read, of how many.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

/// A message log as it is found.
pub struct Inspection {
    shared: Arc<Shared>,
    /// Files with records, oldest first.
    logs: Vec<Log>,
    /// The other files, by name, with their sizes in bytes.
    others: Vec<(String, u64, FileState)>,
    missing: Vec<u64>,
}

/// A file with records.
struct Log {
    number: u64,
    name: String,
    handle: Arc<dyn DiskFile>,
    length: u64,
    header: Header,
    age: Age,
    /// Whether it was being written.
    is_open: bool,
    /// What its end says, unless that is damaged or not there.
    directory: Option<Arc<Directory>>,
}

/// What a file that may be one of the log's turned out to be.
enum Read {
    Log(Box<(Log, Index, Others)>),
    /// It was made ready and never used. The number it had before.
    Ready(u64),
    /// Nothing in it can be read.
    Unreadable(Blank),
}

/// Whether a file in which nothing can be read looks as if nothing was ever written to it.
#[derive(PartialEq, Eq)]
enum Blank {
    Yes,
    No,
}

impl Inspection {
    /// Finds out what an open would find. Nothing is changed.
    pub fn open(disk: &dyn Disk) -> Result<Self, OpenError> {
        let (mut numbers, mut others, mut known) = (Vec::new(), Vec::new(), BTreeSet::new());
        for name in disk.list().map_err(in_file("."))? {
            let state = match Name::parse(&name) {
                Some(Name::Log(number)) => {
                    numbers.push(number);
                    known.insert(number);
                    continue;
                }
                Some(Name::Spare(number)) => {
                    // Its name says what it was, also when its header is torn.
                    known.insert(number);
                    FileState::Spare
                }
                Some(Name::Damaged(number)) => {
                    known.insert(number);
                    FileState::KeptAside
                }
                Some(Name::Unfinished(_)) => FileState::Unfinished,
                None if name.starts_with("messages-") && name.contains(".log.damaged.") => FileState::KeptAside,
                None => FileState::Other,
            };
            if state == FileState::Other {
                // Whether it can be read is nobody's business here.
                let length = disk.open(&name).and_then(|file| file.length()).unwrap_or_default();
                others.push((name, length, state));
                continue;
            }
            let file = disk.open(&name).map_err(in_file(&name))?;
            let length = file.length().map_err(in_file(&name))?;
            if state == FileState::Spare
                && let Header::Valid(Numbers { number, before }) =
                    read_header(&*file, length).map_err(in_file(&name))?
            {
                // A file that is written again says what it was.
                known.extend([number, before]);
            }
            others.push((name, length, state));
        }
        numbers.sort_unstable();
        let mut logs = Vec::new();
        let mut is_newest = true;
        for number in numbers.into_iter().rev() {
            let name = Name::Log(number).to_string();
            let handle: Arc<dyn DiskFile> = Arc::from(disk.open(&name).map_err(in_file(&name))?);
            let length = handle.length().map_err(in_file(&name))?;
            match Log::read(number, handle, length, is_newest)? {
                Read::Ready(before) => {
                    known.insert(before);
                    others.push((name, length, FileState::Ready));
                }
                Read::Unreadable(blank) => {
                    // One that is blank says nothing about which is the newest.
                    is_newest &= blank == Blank::Yes;
                    others.push((name, length, FileState::Unreadable));
                }
                Read::Log(read) => {
                    if let (Log { directory: None, header: Header::Valid(Numbers { before, .. }), .. }, _, _) = &*read {
                        known.insert(*before);
                    }
                    is_newest = false;
                    logs.push(*read);
                }
            }
        }
        logs.reverse();
        let gone: BTreeSet<u64> = logs.iter().flat_map(|(_, _, others)| others.gone.iter().copied()).collect();
        let (dead, logs): (Vec<_>, Vec<_>) = logs.into_iter().partition(|(log, _, _)| gone.contains(&log.number));
        others.extend(dead.into_iter().map(|(log, _, _)| (log.name, log.length, FileState::Gone)));
        others.sort_unstable_by(|(one, _, _), (other, _, _)| one.cmp(other));
        known.extend(gone);
        let list = logs.iter().rev().map(|(_, _, others)| &others.files).find(|list| !list.is_empty());
        let missing = list.into_iter().flatten().filter(|number| !known.contains(number)).copied().collect();
        let state = merge(&logs);
        let logs = logs.into_iter().map(|(log, _, _)| log).collect();
        Ok(Self { shared: Arc::new(Shared::of(state)), logs, others, missing })
    }

    /// The queues that the log knows, ascending.
    pub fn queues(&self) -> Vec<RecoveredQueue> {
        let state = self.shared.lock();
        let of = |(key, queue): (&super::QueueKey, &super::state::Queue)| RecoveredQueue {
            queue: *key,
            first: queue.first(),
            next: queue.next,
            messages: queue.messages,
            delivered_before: queue.delivered_before,
        };
        state.queues.iter().map(of).collect()
    }

    /// A way to read messages.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }
}

impl std::fmt::Debug for Inspection {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Inspection").field("others", &self.others).finish_non_exhaustive()
    }
}

impl Log {
    fn read(number: u64, handle: Arc<dyn DiskFile>, length: u64, is_newest: bool) -> Result<Read, OpenError> {
        let name = Name::Log(number).to_string();
        let shown = name.clone();
        let on_disk = in_file(&shown);
        let header = read_header(&*handle, length).map_err(&on_disk)?;
        match header {
            Header::Version(version) => return Err(OpenError::Version { file: name, version }),
            // It was given another's name.
            Header::Valid(numbers) if numbers.number != number => return Ok(Read::Unreadable(Blank::No)),
            _ => {}
        }
        // An open reads the newest file record by record even if it has an end, and may take damage for a write that was not
        // finished. The end tells them apart.
        if let Some(directory) = read_end(&*handle, length, number).map_err(&on_disk)? {
            let others = directory.others.clone();
            let directory = Arc::new(directory);
            let index = Index::Sealed(Arc::clone(&directory));
            let log = Self {
                number,
                name,
                handle,
                length,
                header,
                age: Age::Older,
                is_open: false,
                directory: Some(directory),
            };
            return Ok(Read::Log(Box::new((log, index, others))));
        }
        let bytes = handle.read_all().map_err(&on_disk)?;
        let is_new = matches!(header, Header::Valid(Numbers { before: 0, .. }));
        let mut age = if is_newest { Age::Newest { is_new } } else { Age::Older };
        let mut scan = scan(&bytes, number, age);
        if scan.torn.is_some_and(|(_, records)| records > 0) {
            // An open cuts here, as most likely these were never synced. But damage to the last sync looks the same, and
            // whoever has the time to look at a folder wants to keep everything.
            age = Age::Older;
            scan = super::scan::scan(&bytes, number, age);
        }
        if !scan.has_records {
            return Ok(match header {
                Header::Valid(Numbers { before, .. }) if is_newest && scan.damage.is_empty() => Read::Ready(before),
                Header::Valid(_) | Header::Blank => Read::Unreadable(Blank::Yes),
                _ => Read::Unreadable(Blank::No),
            });
        }
        let log = Self { number, name, handle, length, header, age, is_open: is_newest, directory: None };
        Ok(Read::Log(Box::new((log, Index::Open(scan.index), scan.others))))
    }
}

/// The directory at the end of a file, if it has one.
fn read_end(file: &dyn DiskFile, length: u64, number: u64) -> io::Result<Option<Directory>> {
    let trailer = read_trailer(file, length, number)?;
    Ok(trailer.map(|trailer| read_directory(file, length, trailer)).transpose()?.flatten())
}

/// What is live: everything that is in some file, without what some file calls settled.
fn merge(logs: &[(Log, Index, Others)]) -> State {
    let mut state = State::default();
    for (log, index, _) in logs {
        let runs = index.runs();
        let references = runs.iter().map(|(_, range)| range.end - range.start).sum();
        let file = File {
            handle: Arc::clone(&log.handle),
            index: index.clone(),
            references,
            live: 0,
            about: BTreeSet::new(),
            length: log.length,
            used: 0,
            is_checked: false,
            places: None,
        };
        state.files.insert(log.number, file);
        for (queue, range) in runs {
            state.insert(queue, range, log.number);
        }
    }
    for (_, _, others) in logs {
        for (queue, range) in &others.settled {
            let entry = state.queues.entry(*queue).or_default();
            entry.next = entry.next.max(range.end);
            state.settle(*queue, range.clone(), &mut Vec::new());
        }
        for (queue, before) in &others.delivered {
            let entry = state.queues.entry(*queue).or_default();
            entry.next = entry.next.max(*before);
            entry.delivered_before = entry.delivered_before.max(*before);
        }
    }
    for queue in logs.iter().flat_map(|(_, _, others)| &others.deleted) {
        state.delete(*queue);
    }
    state
}

fn in_file(name: &str) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Disk { file: name.to_owned(), source }
}
