//! Making a damaged message log sound, without dropping anything that can be read.
//!
//! A damaged file is copied aside, then everything that can be read in it is written to a file that takes its place. What
//! its end knew beside messages is kept, so that nothing that was settled comes back. A crash between two steps leaves a
//! folder that the next repair, and the next open, understands.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use super::super::active::seal;
use super::super::directory::OpenIndex;
use super::super::format::{
    DELETED, DELIVERED, DIRECTORY, FILES, GONE, HEADER_BYTES, Header, MESSAGE, Name, Numbers, SETTLED, TRAILER_BYTES,
    Trailer, encode_header, encode_trailer, put_numbers, put_pairs, put_ranges, references, sequence,
};
use super::super::report::TornTail;
use super::super::scan::{Scan, scan};
use super::super::{MessageLog, OpenError, Options};
use super::check::{Checked, FileState};
use super::{Inspection, Log, Measure, Progress, in_file};
use crate::disk::Disk;
use crate::record::{self, Decoded, Record};

/// Something that a repair does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Copies a file as it is.
    KeepCopy {
        /// The file.
        file: String,
        /// What the copy is called.
        copy: String,
    },
    /// Renames a file in which nothing can be read.
    SetAside {
        /// The file.
        file: String,
        /// What it is called then.
        name: String,
    },
    /// Writes what can be read in a file to one that takes its place.
    Rewrite {
        /// The file.
        file: String,
    },
    /// Strikes a missing file off the list.
    Forget {
        /// The file.
        file: String,
    },
    /// Cuts off a write that was not finished.
    CutTail(TornTail),
    /// Removes a copy that was not finished.
    Remove {
        /// The file.
        file: String,
    },
}

/// What a repair did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Repaired {
    /// What was done; nothing, if nothing had to be.
    pub steps: Vec<Step>,
    /// What there was before.
    pub before: Checked,
    /// What there is now.
    pub after: Checked,
}

/// What a repair would do about what a check found.
pub fn plan(disk: &dyn Disk, checked: &Checked) -> Result<Vec<Step>, OpenError> {
    let mut names: BTreeSet<String> = checked.files.iter().map(|file| file.name.clone()).collect();
    let mut steps = Vec::new();
    for report in &checked.files {
        let file = report.name.clone();
        match report.state {
            FileState::Unreadable => {
                let name = free_name(&file, &names);
                names.insert(name.clone());
                steps.push(Step::SetAside { file, name });
            }
            // First of all: copies that are made have such names until they are complete.
            FileState::Unfinished => steps.insert(0, Step::Remove { file }),
            _ => {
                if !report.is_sound() && !is_kept(disk, &file, &names)? {
                    let copy = free_name(&file, &names);
                    names.insert(copy.clone());
                    steps.push(Step::KeepCopy { file: file.clone(), copy });
                }
                if !report.is_sound() {
                    steps.push(Step::Rewrite { file });
                } else if let Some(tail) = &report.torn_tail {
                    steps.push(Step::CutTail(tail.clone()));
                }
            }
        }
    }
    steps.extend(checked.missing.iter().map(|file| Step::Forget { file: file.clone() }));
    Ok(steps)
}

/// A name for a copy that no file has.
fn free_name(file: &str, names: &BTreeSet<String>) -> String {
    let first = copy_name(file);
    let others = (2..).map(|number| format!("{first}.{number}"));
    std::iter::once(first.clone()).chain(others).find(|name| !names.contains(name)).unwrap_or_default()
}

/// The first name of a copy.
fn copy_name(file: &str) -> String {
    match Name::parse(file) {
        Some(Name::Log(number)) => Name::Damaged(number).to_string(),
        _ => format!("{file}.damaged"),
    }
}

/// Whether there is a copy already: an earlier repair may have ended before it was done.
fn is_kept(disk: &dyn Disk, file: &str, names: &BTreeSet<String>) -> Result<bool, OpenError> {
    let first = copy_name(file);
    let is_copy = |name: &&String| name.starts_with(&first) && !matches!(Name::parse(name), Some(Name::Unfinished(_)));
    let copies = names.iter().filter(is_copy);
    let mut bytes = None;
    for copy in copies {
        let kept = disk.open(copy).and_then(|copy| copy.read_all()).map_err(in_file(copy))?;
        let bytes = match &bytes {
            Some(bytes) => bytes,
            None => bytes.insert(disk.open(file).and_then(|file| file.read_all()).map_err(in_file(file))?),
        };
        if kept == *bytes {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Makes a log sound that nobody uses. Messages that cannot be read are no longer in it then; everything else is.
pub fn repair(
    disk: &Arc<dyn Disk>,
    options: Options,
    measure: Measure<'_>,
    progress: Progress<'_>,
) -> Result<Repaired, OpenError> {
    let inspection = Inspection::open(&**disk)?;
    let before = inspection.check(measure, progress)?;
    let steps = plan(&**disk, &before)?;
    if steps.is_empty() {
        return Ok(Repaired { steps, after: before.clone(), before });
    }
    let mut has_open_end = false;
    for step in &steps {
        match step {
            Step::KeepCopy { file, copy } => {
                let content = disk.open(file).and_then(|file| file.read_all()).map_err(in_file(file))?;
                replace(&**disk, copy, &content).map_err(in_file(copy))?;
            }
            Step::SetAside { file, name } => {
                disk.rename(file, name).and_then(|()| disk.sync_folder()).map_err(in_file(file))?;
            }
            Step::Rewrite { file } => inspection.rewrite(&**disk, file, measure).map_err(in_file(file))?,
            Step::Remove { file } => {
                disk.remove(file).and_then(|()| disk.sync_folder()).map_err(in_file(file))?;
            }
            Step::CutTail(_) => has_open_end = true,
            Step::Forget { .. } => {}
        }
    }
    if !before.missing.is_empty() {
        inspection.rewrite_list(&**disk, &steps, measure)?;
    }
    if has_open_end {
        MessageLog::open(Arc::clone(disk), options)?;
    }
    let after = Inspection::open(&**disk)?.check(measure, progress)?;
    Ok(Repaired { steps, before, after })
}

/// Makes a file durable under a name, in place of the one that has it.
fn replace(disk: &dyn Disk, name: &str, content: &[u8]) -> io::Result<()> {
    // An open removes a file of this name, so that a crash leaves nothing.
    let log = Name::parse(name.split_once(".damaged").map_or(name, |(log, _)| log));
    let number = if let Some(Name::Log(number)) = log { number } else { 0 };
    let unfinished = Name::Unfinished(number).to_string();
    let written = disk.create(&unfinished).and_then(|file| {
        file.write_at(0, content)?;
        file.sync_data()
    });
    if let Err(error) = written {
        // It takes space, which may be what is missing.
        let _ = disk.remove(&unfinished);
        return Err(error);
    }
    disk.rename(&unfinished, name)?;
    disk.sync_folder()
}

impl Inspection {
    fn rewrite(&self, disk: &dyn Disk, name: &str, measure: Measure<'_>) -> io::Result<()> {
        let Some(log) = self.logs.iter().find(|log| log.name == name) else { return Ok(()) };
        let bytes = log.handle.read_all()?;
        let older: Vec<u64> = self.logs.iter().map(|log| log.number).filter(|number| *number < log.number).collect();
        replace(disk, name, &log.rewritten(&bytes, measure, &self.missing, &older)?)
    }

    /// Rewrites the file whose list has files that are missing, unless that was done already.
    fn rewrite_list(&self, disk: &dyn Disk, steps: &[Step], measure: Measure<'_>) -> Result<(), OpenError> {
        for log in self.logs.iter().rev() {
            let bytes = log.handle.read_all().map_err(in_file(&log.name))?;
            let scan = scan(&bytes, log.number, log.age);
            let list = &log.others(&scan).files;
            if list.is_empty() {
                continue;
            }
            let is_done = steps.iter().any(|step| matches!(step, Step::Rewrite { file } if *file == log.name));
            if !is_done {
                self.rewrite(disk, &log.name, measure).map_err(in_file(&log.name))?;
            }
            return Ok(());
        }
        Ok(())
    }
}

impl Log {
    /// The file without what cannot be read, whole and with an end.
    fn rewritten(&self, bytes: &[u8], measure: Measure<'_>, missing: &[u64], older: &[u64]) -> io::Result<Vec<u8>> {
        let scan = scan(bytes, self.number, self.age);
        let mut others = self.others(&scan).clone();
        others.files.retain(|file| !missing.contains(file));
        if self.directory.is_none() {
            // Which of them it is about is not known. Those it is not about only keep it here for longer.
            others.about = older.to_vec();
        }
        let before = if let Header::Valid(Numbers { before, .. }) = self.header { before } else { 0 };
        let mut file = encode_header(Numbers { number: self.number, before }).to_vec();
        file.reserve(bytes.len());
        let mut last = 0;
        let mut append = |kind, payload: &[u8], file: &mut Vec<u8>| {
            last += 1;
            record::encode(sequence(self.number, last), kind, &[payload], file).map_err(io::Error::other)
        };
        let mut payload = Vec::new();
        put_numbers(others.files.iter().copied(), &mut payload);
        append(FILES, &payload, &mut file)?;
        let mut index = OpenIndex::default();
        for record in records(bytes, &scan) {
            let Some((queues, octets)) = references(record.payload).filter(|_| record.kind == MESSAGE) else {
                continue;
            };
            if measure(octets).is_none() {
                continue;
            }
            let offset = u32::try_from(file.len()).map_err(io::Error::other)?;
            for (queue, position) in queues {
                index.add(queue, position, &[offset]);
            }
            append(MESSAGE, record.payload, &mut file)?;
        }
        for (kind, is_empty) in [
            (SETTLED, others.settled.is_empty()),
            (DELIVERED, others.delivered.is_empty()),
            (DELETED, others.deleted.is_empty()),
            (GONE, others.gone.is_empty()),
        ] {
            payload.clear();
            match kind {
                _ if is_empty => continue,
                SETTLED => put_ranges(&others.settled, &mut payload),
                DELIVERED => put_pairs(&others.delivered, &mut payload),
                DELETED => put_numbers(others.deleted.iter().map(|queue| queue.0), &mut payload),
                _ => put_numbers(others.gone.iter().copied(), &mut payload),
            }
            append(kind, &payload, &mut file)?;
        }
        let offsets_at = file.len() as u64;
        let sealed = seal(&mut file, self.number, &mut last, offsets_at, &index, &others)?;
        let trailer = Trailer {
            number: self.number,
            offset: offsets_at + sealed.offset,
            bytes: u32::try_from(sealed.bytes - sealed.offset).map_err(io::Error::other)?,
        };
        // Files of the usual size are written again later.
        file.resize(bytes.len().max(file.len() + TRAILER_BYTES) - TRAILER_BYTES, 0);
        file.extend_from_slice(&encode_trailer(trailer));
        Ok(file)
    }
}

/// The records that count, in order.
fn records<'a>(bytes: &'a [u8], scan: &Scan) -> impl Iterator<Item = Record<'a>> {
    let (mut offset, end) = (HEADER_BYTES, scan.end);
    let mut damage = scan.damage.iter().map(|(range, _)| range.clone()).collect::<Vec<_>>().into_iter().peekable();
    std::iter::from_fn(move || {
        while let Some(range) = damage.next_if(|range| range.start == offset) {
            offset = range.end;
        }
        if offset >= end {
            return None;
        }
        let Decoded::Complete { record, bytes } = record::decode(bytes.get(offset..)?) else { return None };
        offset += bytes;
        Some(record)
    })
    .filter(|record| record.kind != DIRECTORY)
}
