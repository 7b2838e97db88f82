//! Looking at a metadata log that nobody uses: what is in it, without changing anything.

use super::format::Name;
use super::{OpenError, Recovered, open};
use crate::disk::Disk;

/// A metadata log as it is found.
#[derive(Debug)]
pub struct Inspection {
    /// What an open would return, or why there would be no log. Its report names files only as far as it is about what
    /// was found: nothing was done.
    pub recovered: Result<Recovered, OpenError>,
    /// The files of the folder, by name.
    pub files: Vec<FileReport>,
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
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileState {
    /// The log.
    InUse,
    /// A log that a newer one takes the place of. The next start removes it.
    Replaced,
    /// A file that is not finished. The next start removes it.
    Unfinished,
    /// A copy of a damaged log as it was found.
    KeptAside,
    /// It is none of the log's.
    Other,
}

impl Inspection {
    /// Finds out what an open would find. Nothing is changed. The error is about the folder itself.
    pub fn open(disk: &dyn Disk) -> Result<Self, OpenError> {
        let in_folder = |source| OpenError::Disk { file: ".".to_owned(), source };
        let mut names = disk.list().map_err(in_folder)?;
        names.sort_unstable();
        let recovered = open::inspect(disk);
        let newest = names.iter().rfind(|name| matches!(Name::parse(name), Some(Name::Log(_)))).cloned();
        let in_use = recovered.as_ref().ok().and_then(|recovered| recovered.report.file.clone()).or(newest);
        let files = names.into_iter().map(|name| {
            let state = match Name::parse(&name) {
                Some(Name::Log(_)) if in_use.as_ref() == Some(&name) => FileState::InUse,
                Some(Name::Log(_)) => FileState::Replaced,
                Some(Name::Temporary(_)) => FileState::Unfinished,
                Some(Name::Damaged(_)) => FileState::KeptAside,
                None => FileState::Other,
            };
            let bytes = disk.open(&name).and_then(|file| file.length()).unwrap_or_default();
            FileReport { name, bytes, state }
        });
        let files = files.collect();
        Ok(Self { recovered, files })
    }

    /// Whether nothing is damaged. A torn tail is not damage.
    pub fn is_sound(&self) -> bool {
        self.recovered.as_ref().is_ok_and(|recovered| !recovered.report.is_damaged())
    }

    /// Whether an open would change what is there, beside saying that it is durable.
    pub fn wants_repair(&self) -> bool {
        let has_leftovers =
            self.files.iter().any(|file| matches!(file.state, FileState::Replaced | FileState::Unfinished));
        let report = self.recovered.as_ref().ok().map(|recovered| &recovered.report);
        let is_torn = report.is_some_and(|report| report.is_damaged() || report.torn_tail.is_some());
        report.is_some_and(|report| report.file.is_some()) && (is_torn || has_leftovers)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::disk::SimulatedDisk;
    use crate::metadata::MetadataLog;

    const FIRST: &str = "metadata-0000000000000001.log";

    fn disk() -> SimulatedDisk {
        let disk = SimulatedDisk::new(1);
        let (mut log, _) = MetadataLog::open(Arc::new(disk.clone())).unwrap();
        for round in 0..3 {
            log.append([format!("change {round}").as_bytes()]).unwrap();
            log.commit().unwrap();
        }
        disk
    }

    fn contents(disk: &SimulatedDisk) -> Vec<(String, Vec<u8>)> {
        disk.names().into_iter().map(|name| (name.clone(), disk.bytes(&name).unwrap())).collect()
    }

    #[test]
    fn looking_finds_what_an_open_returns_and_changes_nothing() {
        let disk = disk();
        let before = contents(&disk);
        let inspection = Inspection::open(&disk).unwrap();
        assert!(inspection.is_sound() && !inspection.wants_repair());
        assert_eq!(contents(&disk), before);
        let (_, opened) = MetadataLog::open(Arc::new(disk)).unwrap();
        assert_eq!(inspection.recovered.unwrap().records, opened.records);
    }

    #[test]
    fn damage_is_found_and_an_open_repairs_it() {
        let disk = disk();
        disk.flip_bit(FIRST, 8 * 70).unwrap();
        let inspection = Inspection::open(&disk).unwrap();
        assert!(!inspection.is_sound() && inspection.wants_repair(), "{inspection:?}");
        MetadataLog::open(Arc::new(disk.clone())).unwrap();
        let inspection = Inspection::open(&disk).unwrap();
        assert!(inspection.is_sound() && !inspection.wants_repair(), "{inspection:?}");
        let states: Vec<_> = inspection.files.iter().map(|file| file.state).collect();
        assert_eq!(states, [FileState::KeptAside, FileState::InUse]);
    }

    #[test]
    fn what_is_no_log_is_said_and_left() {
        let disk = SimulatedDisk::new(1);
        assert_eq!(Inspection::open(&disk).unwrap().recovered.unwrap(), Recovered::default());
        disk.put(FIRST, b"something else, and long enough to be a header".to_vec());
        disk.put("notes", Vec::new());
        let inspection = Inspection::open(&disk).unwrap();
        assert!(matches!(inspection.recovered, Err(OpenError::Foreign { .. })), "{inspection:?}");
        assert!(!inspection.is_sound() && !inspection.wants_repair());
        assert_eq!(inspection.files.len(), 2);
    }
}
