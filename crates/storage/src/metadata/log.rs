//! The log while it is open: append, commit, snapshot.

use std::io;
use std::sync::Arc;

use super::file::{self, NewFile, WriteError};
use super::format::{Entry, Name};
use super::report::Recovered;
use super::{AppendError, CommitError, OpenError, Poisoned, SnapshotError, open};
use crate::disk::{Disk, DiskFile};
use crate::record::Sequence;

/// The largest payload of a change or a snapshot entry, in bytes.
pub const CHANGE_BYTES_MAX: usize = 16 << 20;

/// The most that waits for a commit, in bytes.
pub const PENDING_BYTES_MAX: usize = 256 << 20;

/// Changes that take less, in bytes, are not worth a snapshot however small the last one was.
pub const SNAPSHOT_CHANGES_BYTES_MIN: u64 = 1 << 20;

/// The buffer keeps this much, in bytes, from one commit to the next.
const PENDING_BYTES_KEPT: usize = 64 << 10;

/// The persisted log of changes to the broker's definitions.
///
/// One thread at a time uses it, and it blocks on the disk.
pub struct MetadataLog {
    disk: Arc<dyn Disk>,
    file: Box<dyn DiskFile>,
    generation: u64,
    /// Where the next commit goes. Everything before is durable.
    length: u64,
    /// Header and snapshot; the changes follow.
    snapshot_bytes: u64,
    /// Encoded changes that wait for a commit.
    pending: Vec<u8>,
    appended: Sequence,
    durable: Sequence,
    /// Changes have to take more than this before a snapshot is wanted; a failed one raises it.
    snapshot_changes_bytes_min: u64,
    failure: Option<Poisoned>,
}

impl MetadataLog {
    /// Opens the log in a folder, or begins one if there is none. Everything it returns is durable.
    ///
    /// Files that are not the log's are left alone.
    pub fn open(disk: Arc<dyn Disk>) -> Result<(Self, Recovered), OpenError> {
        open::open(disk)
    }

    /// Continues a file of which everything is durable.
    pub(super) fn new(disk: Arc<dyn Disk>, file: NewFile, snapshot_bytes: u64, last: Sequence) -> Self {
        let NewFile { file, generation, length } = file;
        Self {
            disk,
            file,
            generation,
            length,
            snapshot_bytes,
            pending: Vec::new(),
            appended: last,
            durable: last,
            snapshot_changes_bytes_min: SNAPSHOT_CHANGES_BYTES_MIN,
            failure: None,
        }
    }

    /// Takes changes, all or none, to be written by the next commit. Returns the number of the last change taken so far.
    pub fn append<'a>(&mut self, payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<Sequence, AppendError> {
        self.check()?;
        let (length, appended) = (self.pending.len(), self.appended);
        for payload in payloads {
            if let Err(error) = self.append_one(payload) {
                self.pending.truncate(length);
                self.appended = appended;
                return Err(error);
            }
        }
        Ok(self.appended)
    }

    fn append_one(&mut self, payload: &[u8]) -> Result<(), AppendError> {
        if payload.len() > CHANGE_BYTES_MAX {
            return Err(AppendError::TooLarge { bytes: payload.len() });
        }
        if self.pending.len() + payload.len() > PENDING_BYTES_MAX {
            return Err(AppendError::Full);
        }
        let sequence = self.appended.next();
        Entry::Change { sequence, durable: self.durable, payload }
            .encode(&mut self.pending)
            .map_err(|error| AppendError::TooLarge { bytes: error.bytes })?;
        self.appended = sequence;
        Ok(())
    }

    /// Writes what was appended and waits until it is on disk. Returns the number up to which everything is durable.
    ///
    /// After [`CommitError::Full`] what was appended still waits, and the call can be repeated once there is space.
    pub fn commit(&mut self) -> Result<Sequence, CommitError> {
        self.check()?;
        if self.pending.is_empty() {
            return Ok(self.durable);
        }
        // A full disk has to show before anything is written, or nobody could tell what of it is on disk.
        match self.file.allocate(self.length, self.pending.len() as u64) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                // Part of it may have been reserved, and is wanted elsewhere now.
                let _ = self.file.truncate(self.length);
                return Err(CommitError::Full);
            }
            Err(error) => {
                self.poison("space could not be reserved", &error);
                return Err(CommitError::Write(error));
            }
        }
        if let Err(error) = self.file.write_at(self.length, &self.pending) {
            self.poison("a write failed", &error);
            return Err(CommitError::Write(error));
        }
        if let Err(error) = self.file.sync_data() {
            // Never tried again: the system may have dropped what it could not write, and report success.
            self.poison("a sync failed", &error);
            return Err(CommitError::Sync(error));
        }
        self.length += self.pending.len() as u64;
        self.pending.clear();
        self.pending.shrink_to(PENDING_BYTES_KEPT);
        self.durable = self.appended;
        Ok(self.durable)
    }

    /// Whether the changes have outgrown the snapshot, so that a new one would make the file, and the next start,
    /// shorter by half.
    pub fn wants_snapshot(&self) -> bool {
        let changes_bytes = self.changes_bytes();
        self.failure.is_none() && changes_bytes > self.snapshot_changes_bytes_min && changes_bytes > self.snapshot_bytes
    }

    /// Starts a new file with the given payloads, which have to bring about the state after the last appended change.
    /// On return everything appended is durable, committed or not.
    ///
    /// A crash leaves the old file or the new one, complete.
    pub fn snapshot(&mut self, payloads: impl Iterator<Item = Vec<u8>>) -> Result<Sequence, SnapshotError> {
        self.check()?;
        let new = match file::write(&*self.disk, self.generation.saturating_add(1), self.appended, payloads) {
            Ok(new) => new,
            Err(error) => {
                self.snapshot_changes_bytes_min = self.changes_bytes() + SNAPSHOT_CHANGES_BYTES_MIN;
                return Err(match error {
                    WriteError::TooLarge { bytes } => SnapshotError::TooLarge { bytes },
                    WriteError::Disk(error) => SnapshotError::Abandoned(error),
                });
            }
        };
        // From here on a crash may bring up the new file, so nothing may be committed to the old one any more.
        let old = Name::Log(self.generation).to_string();
        if let Err(error) = file::install(&*self.disk, new.generation, &[old]) {
            self.poison("a new file could not take the old one's place", &error);
            return Err(SnapshotError::Switch(error));
        }
        let (snapshot_bytes, last) = (new.length, self.appended);
        *self = Self::new(Arc::clone(&self.disk), new, snapshot_bytes, last);
        Ok(last)
    }

    /// Up to here everything survives a crash.
    pub fn durable(&self) -> Sequence {
        self.durable
    }

    /// The last change taken.
    pub fn appended(&self) -> Sequence {
        self.appended
    }

    /// Why the log takes nothing more; empty while it does.
    pub fn failure(&self) -> Option<&Poisoned> {
        self.failure.as_ref()
    }

    /// The size of the file, in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.length
    }

    fn changes_bytes(&self) -> u64 {
        self.length.saturating_sub(self.snapshot_bytes)
    }

    fn check(&self) -> Result<(), Poisoned> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn poison(&mut self, what: &str, error: &io::Error) {
        self.failure = Some(Poisoned { failure: format!("{what}: {error}") });
        self.pending = Vec::new();
    }
}

impl std::fmt::Debug for MetadataLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("MetadataLog")
            .field("generation", &self.generation)
            .field("length", &self.length)
            .field("durable", &self.durable)
            .field("appended", &self.appended)
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}
