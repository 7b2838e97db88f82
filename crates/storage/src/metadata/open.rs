//! Opening the metadata log: which file counts, what is repaired, what is kept aside.
//!
//! Reading comes first and changes nothing. Then every step leaves a folder that the next open understands, so that a
//! crash in here is a crash like any other.

use std::cmp::Reverse;
use std::io;
use std::sync::Arc;

use super::OpenError;
use super::file::{self, NewFile, WriteError};
use super::format::{Entry, Header, Name};
use super::log::MetadataLog;
use super::recovery::{self, Content};
use super::report::{DamagedRange, Recovered, Report};
use crate::disk::{Disk, DiskFile};
use crate::record::Sequence;

/// How the folder is called in errors.
const FOLDER: &str = ".";

pub(super) fn open(disk: Arc<dyn Disk>) -> Result<(MetadataLog, Recovered), OpenError> {
    let folder = Folder::list(&*disk)?;
    let opened = folder.choose(&*disk, |chosen| {
        let mut recovered = chosen.recovered();
        // What a process saw before it died may be a name that never reached the disk.
        disk.sync_folder().map_err(in_folder)?;
        folder.remove_temporary(&*disk, &mut recovered.report)?;
        let log = if chosen.aside.is_empty() {
            let Chosen { log, content, .. } = chosen;
            folder.remove_older(&*disk, log.generation, &mut recovered.report)?;
            repair(Arc::clone(&disk), log, &content)?
        } else {
            replace(Arc::clone(&disk), &folder, &chosen, &mut recovered.report)?
        };
        Ok((log, recovered))
    })?;
    opened.map_or_else(|| begin(disk, &folder), Ok)
}

/// What an open would return, with the report as it is before anything is done. Nothing is changed.
pub(super) fn inspect(disk: &dyn Disk) -> Result<Recovered, OpenError> {
    let folder = Folder::list(disk)?;
    match folder.choose(disk, |chosen| Ok(chosen.recovered()))? {
        Some(recovered) => Ok(recovered),
        None => folder.check_not_lost().map(|()| Recovered::default()),
    }
}

/// The log's files in the folder.
struct Folder {
    /// Newest first.
    logs: Vec<u64>,
    temporary: Vec<String>,
    kept_aside: Option<String>,
}

impl Folder {
    fn list(disk: &dyn Disk) -> Result<Self, OpenError> {
        let mut folder = Self { logs: Vec::new(), temporary: Vec::new(), kept_aside: None };
        for name in disk.list().map_err(in_folder)? {
            match Name::parse(&name) {
                Some(Name::Log(generation)) => folder.logs.push(generation),
                Some(Name::Temporary(_)) => folder.temporary.push(name),
                Some(Name::Damaged(_)) => folder.kept_aside = Some(name),
                None => {}
            }
        }
        folder.logs.sort_unstable_by_key(|generation| Reverse(*generation));
        folder.temporary.sort_unstable();
        Ok(folder)
    }

    /// Reads the files and hands out which of them counts; `None` if there is none.
    fn choose<T>(
        &self,
        disk: &dyn Disk,
        then: impl FnOnce(Chosen<'_>) -> Result<T, OpenError>,
    ) -> Result<Option<T>, OpenError> {
        let Some((newest, older)) = self.logs.split_first() else { return Ok(None) };
        let newest = LogFile::read(disk, *newest)?;
        let mut predecessor = None;
        for generation in older {
            let file = LogFile::read(disk, *generation)?;
            // It is about to be removed, so it had better be ours.
            match file.content() {
                Ok(_) | Err(OpenError::Blank { .. }) => predecessor = predecessor.or(Some(file)),
                Err(error) => return Err(error),
            }
        }
        then(choose(&newest, predecessor.as_ref())?).map(Some)
    }

    /// Refuses to take a folder for a new one in which there was a log.
    fn check_not_lost(&self) -> Result<(), OpenError> {
        match &self.kept_aside {
            Some(kept_aside) => Err(OpenError::Lost { kept_aside: kept_aside.clone() }),
            None => Ok(()),
        }
    }

    fn remove_temporary(&self, disk: &dyn Disk, report: &mut Report) -> Result<(), OpenError> {
        file::remove(disk, &self.temporary).map_err(in_folder)?;
        report.leftovers_removed.extend_from_slice(&self.temporary);
        Ok(())
    }

    fn remove_older(&self, disk: &dyn Disk, kept: u64, report: &mut Report) -> Result<(), OpenError> {
        let older: Vec<String> = self.older(kept);
        file::remove(disk, &older).map_err(in_folder)?;
        report.leftovers_removed.extend(older);
        Ok(())
    }

    fn older(&self, kept: u64) -> Vec<String> {
        self.logs.iter().filter(|other| **other != kept).map(|other| Name::Log(*other).to_string()).collect()
    }
}

/// A file with its content.
struct LogFile {
    generation: u64,
    name: String,
    bytes: Vec<u8>,
}

impl LogFile {
    fn read(disk: &dyn Disk, generation: u64) -> Result<Self, OpenError> {
        let name = Name::Log(generation).to_string();
        let bytes = disk.open(&name).and_then(|file| file.read_all()).map_err(in_file(&name))?;
        Ok(Self { generation, name, bytes })
    }

    fn content(&self) -> Result<Content<'_>, OpenError> {
        recovery::read(&self.bytes).map_err(|header| {
            let file = self.name.clone();
            match header {
                Header::Version(version) => OpenError::Version { file, version },
                Header::Blank => OpenError::Blank { file },
                Header::Valid(_) | Header::Unknown => OpenError::Foreign { file },
            }
        })
    }

    fn damage(&self, content: &Content<'_>) -> Vec<DamagedRange> {
        let range = |damage: &recovery::Damage| DamagedRange {
            file: self.name.clone(),
            range: damage.range.start as u64..damage.range.end as u64,
            records: damage.records,
        };
        content.damage.iter().map(range).collect()
    }
}

/// Which file the records are from.
struct Chosen<'a> {
    log: &'a LogFile,
    content: Content<'a>,
    newest: u64,
    damaged: Vec<DamagedRange>,
    /// Files that hold something which is in no record; a new file takes their place.
    aside: Vec<&'a LogFile>,
}

impl Chosen<'_> {
    fn recovered(&self) -> Recovered {
        let records = self.content.payloads.iter().map(|payload| payload.to_vec()).collect();
        Recovered { records, report: self.report() }
    }

    fn report(&self) -> Report {
        Report {
            file: Some(self.log.name.clone()),
            file_in_use: self.log.name.clone(),
            torn_tail: self.content.tail,
            damaged: self.damaged.clone(),
            ..Report::default()
        }
    }
}

/// The newest file counts. While there is an older one, nothing was committed to the newest (see `file::install`), so an
/// older one without damage can stand in for a newest one with.
fn choose<'a>(newest: &'a LogFile, older: Option<&'a LogFile>) -> Result<Chosen<'a>, OpenError> {
    let (newest_content, damaged) = match newest.content() {
        Ok(content) => {
            let damaged = newest.damage(&content);
            (Ok(content), damaged)
        }
        Err(OpenError::Blank { file }) if older.is_some() => {
            let range = 0..newest.bytes.len() as u64;
            (Err(OpenError::Blank { file: file.clone() }), vec![DamagedRange { file, range, records: None }])
        }
        Err(error) => return Err(error),
    };
    let may_stand_in = !damaged.is_empty() && newest_content.as_ref().is_ok_and(|content| !content.has_changes);
    let mut chosen = match (newest_content, older) {
        (Ok(content), Some(older)) if may_stand_in => match older.content() {
            Ok(stand_in) if stand_in.damage.is_empty() => {
                Chosen { log: older, content: stand_in, newest: newest.generation, damaged, aside: vec![newest] }
            }
            _ => Chosen { log: newest, content, newest: newest.generation, damaged, aside: vec![newest, older] },
        },
        (Ok(content), _) => Chosen { log: newest, content, newest: newest.generation, damaged, aside: Vec::new() },
        (Err(blank), None) => return Err(blank),
        (Err(_), Some(older)) => {
            let content = older.content()?;
            let damaged = [damaged, older.damage(&content)].concat();
            Chosen { log: older, content, newest: newest.generation, damaged, aside: vec![newest] }
        }
    };
    let cut_records = chosen.content.tail.is_some_and(|tail| tail.records > 0);
    let is_listed = chosen.aside.iter().any(|log| log.generation == chosen.log.generation);
    if !is_listed && (cut_records || !chosen.content.damage.is_empty()) {
        chosen.aside.push(chosen.log);
    }
    Ok(chosen)
}

/// The first start: an empty log.
fn begin(disk: Arc<dyn Disk>, folder: &Folder) -> Result<(MetadataLog, Recovered), OpenError> {
    folder.check_not_lost()?;
    let mut recovered = Recovered::default();
    folder.remove_temporary(&*disk, &mut recovered.report)?;
    let log = install(disk, 1, Sequence::default(), &[], &[])?;
    recovered.report.file_in_use = Name::Log(1).to_string();
    Ok((log, recovered))
}

/// Makes a file that is whole, but for its tail, ready to be written to.
fn repair(disk: Arc<dyn Disk>, log: &LogFile, content: &Content<'_>) -> Result<MetadataLog, OpenError> {
    let file = disk.open(&log.name).map_err(in_file(&log.name))?;
    let length = settle(&*file, log, content).map_err(in_file(&log.name))?;
    let file = NewFile { file, generation: log.generation, length };
    Ok(MetadataLog::new(disk, file, content.snapshot_bytes as u64, content.last))
}

/// Cuts the tail, and makes durable what is not proven to be. Returns the length.
fn settle(file: &dyn DiskFile, log: &LogFile, content: &Content<'_>) -> io::Result<u64> {
    let end = content.end as u64;
    if end < log.bytes.len() as u64 {
        file.truncate(end)?;
    }
    // Written again, not only synced: the last run may have ended because its sync failed, and what a system failed to
    // write it does not write at the next sync, though it shows it until then.
    let unproven = log.bytes.get(content.unproven..content.end).unwrap_or_default();
    if !unproven.is_empty() {
        file.write_at(content.unproven as u64, unproven)?;
    }
    // The cut has to be durable as well before something else is written there.
    file.sync_data()?;
    if content.last <= content.proven {
        return Ok(end);
    }
    // From now on damage to these records is told from an unfinished write. A sync of its own, or the mark could be
    // there without what it vouches for.
    let mut mark = Vec::new();
    Entry::Mark { durable: content.last }.encode(&mut mark).map_err(io::Error::other)?;
    let marked = match file.write_at(end, &mark) {
        // A node has to start on a full disk as well; the mark can wait for the next time.
        Err(error) if error.kind() == io::ErrorKind::StorageFull => {
            file.truncate(end)?;
            end
        }
        written => written.map(|()| end + mark.len() as u64)?,
    };
    file.sync_data()?;
    Ok(marked)
}

/// Copies damaged files aside, then writes what is left into a new one.
fn replace(
    disk: Arc<dyn Disk>,
    folder: &Folder,
    chosen: &Chosen<'_>,
    report: &mut Report,
) -> Result<MetadataLog, OpenError> {
    for log in &chosen.aside {
        // A copy, not the file itself: until the new file is complete, this one is all there is. A crash in between only
        // makes the copy again.
        let name = Name::Damaged(log.generation).to_string();
        copy(&*disk, &name, &log.bytes).map_err(in_file(&name))?;
        report.kept_aside.push(name);
    }
    disk.sync_folder().map_err(in_folder)?;
    let generation = chosen.newest.saturating_add(1);
    let others = folder.older(generation);
    let log = install(disk, generation, chosen.content.last, &chosen.content.payloads, &others)?;
    report.file_in_use = Name::Log(generation).to_string();
    Ok(log)
}

fn copy(disk: &dyn Disk, name: &str, bytes: &[u8]) -> io::Result<()> {
    let file = disk.create(name)?;
    file.write_at(0, bytes)?;
    file.sync_data()
}

fn install(
    disk: Arc<dyn Disk>,
    generation: u64,
    last: Sequence,
    payloads: &[&[u8]],
    others: &[String],
) -> Result<MetadataLog, OpenError> {
    let name = Name::Log(generation).to_string();
    let new = file::write(&*disk, generation, last, payloads.iter()).map_err(|error| match error {
        WriteError::Disk(error) => in_file(&name)(error),
        WriteError::TooLarge { .. } => in_file(&name)(io::ErrorKind::FileTooLarge.into()),
    })?;
    file::install(&*disk, generation, others).map_err(in_folder)?;
    let snapshot_bytes = new.length;
    Ok(MetadataLog::new(disk, new, snapshot_bytes, last))
}

fn in_folder(source: io::Error) -> OpenError {
    OpenError::Disk { file: FOLDER.to_owned(), source }
}

fn in_file(name: &str) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Disk { file: name.to_owned(), source }
}
