//! The log while it is open.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::active::Active;
use super::compaction::Compaction;
use super::files::{Ready, Spare};
use super::reader::Reader;
use super::state::Shared;
use super::write::Scratch;
use super::{
    FILE_BYTES_MIN, Failure, Group, MESSAGE_BYTES_MAX, OpenError, Options, Payload, Recovered, WriteError, open,
};
use crate::disk::Disk;

/// The largest size of a file, in bytes, unless a message needs more: offsets take four bytes.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// The messages of durable queues, in files. See [`super`].
///
/// One thread at a time writes, and it blocks on the disk.
pub struct MessageLog {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) options: Options,
    pub(super) shared: Arc<Shared>,
    /// The file that is written. There is none until something is.
    pub(super) active: Option<Active>,
    /// Files that have a header and a number, the next one first.
    pub(super) ready: VecDeque<Ready>,
    /// Files whose content is worthless.
    pub(super) spares: Vec<Spare>,
    /// The number of the next file.
    pub(super) next_number: u64,
    /// Files of which settlements could not be written for want of space.
    pub(super) owed: BTreeSet<u64>,
    /// Whether marks of what was delivered could not be written. The next file begins with them.
    pub(super) owes_marks: bool,
    pub(super) scratch: Scratch,
    pub(super) compaction: Compaction,
    /// Whether space was missing since the last file was made.
    pub(super) is_pressed: bool,
    pub(super) bytes_written: u64,
    failure: Option<Failure>,
}

/// What a [`MessageLog::write`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Wrote {
    /// Bytes written, without zeros.
    pub bytes: u64,
    /// Messages written; one in several queues counts once.
    pub messages: usize,
    /// Messages, per queue, that were settled in the same group and not written.
    pub elided: usize,
    /// Whether a message was written, so that somebody waits for a sync. Settlements that a crash loses only make
    /// messages come again.
    pub must_sync: bool,
}

/// The log in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Files with messages or settlements.
    pub files: usize,
    /// Files that wait to be used, those made ready to be the next one included.
    pub spare_files: usize,
    /// Bytes of files with messages, up to where they are written.
    pub bytes_used: u64,
    /// Bytes of all files.
    pub bytes_allocated: u64,
    /// Live messages; one in several queues counts in each.
    pub live: u64,
    /// Bytes written since the log was opened, without zeros that prepare space.
    pub bytes_written: u64,
    /// Messages copied by compaction since the log was opened.
    pub copied: u64,
    /// Whether there was no space left even for settlements or marks of what was delivered, so that some of them are only
    /// in memory and would be lost in a crash, synced or not. [`MessageLog::maintain`] writes them when there is space.
    pub is_owing: bool,
    /// Messages that were found damaged on disk since the log was opened, once for each attempt to load.
    pub damaged: u64,
}

/// What the files take, as it is told without the thread that writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Space {
    /// Files with messages or settlements.
    pub files: u64,
    /// Their bytes, up to where they are written.
    pub used_bytes: u64,
    /// About how many of these belong to live messages: those of a file are taken to be all of the same size.
    pub live_bytes: u64,
    /// Live messages; one in several queues counts in each.
    pub live: u64,
    /// Messages that were found damaged, once for each attempt to load.
    pub damaged: u64,
}

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// There is no space for a file.
    Full,
    /// Final.
    Failed { what: &'static str, error: io::Error },
}

/// Makes an error of the disk final.
pub(super) fn failed(what: &'static str) -> impl Fn(io::Error) -> Trouble {
    move |error| Trouble::Failed { what, error }
}

impl MessageLog {
    /// Opens the log in a folder, or begins one if there is none. Everything it returns is durable.
    ///
    /// Files that are not the log's are left alone. With [`Options::is_synced`] off, the log begins empty.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<(Self, Recovered), OpenError> {
        let file_bytes = options.file_bytes.clamp(FILE_BYTES_MIN, FILE_BYTES_MAX);
        open::open(disk, Options { file_bytes, ..options })
    }

    /// A log that has the files of `shared`, none of which is written to any more.
    pub(super) fn new(disk: Arc<dyn Disk>, options: Options, shared: Shared, spares: Vec<Spare>, next: u64) -> Self {
        shared.lock().has_work = true;
        Self {
            disk,
            options,
            shared: Arc::new(shared),
            active: None,
            ready: VecDeque::new(),
            spares,
            next_number: next,
            owed: BTreeSet::new(),
            owes_marks: false,
            scratch: Scratch::default(),
            compaction: Compaction::default(),
            is_pressed: false,
            bytes_written: 0,
            failure: None,
        }
    }

    /// A way to read, for other threads. It sees what is written at once, and works for as long as there is one.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.shared))
    }

    /// Writes a group: messages first, then what is settled, deleted and delivered. Not durable until
    /// [`MessageLog::sync`]; after a crash before it, a beginning of what was written is there, a message in all its queues
    /// or in none.
    ///
    /// A message is not written for queues in which the same group settles it, or which it deletes, nor is that settlement;
    /// if no queue is left, it is not written at all. On success the group is as it was; clear it. After
    /// [`WriteError::Full`] it keeps what is left to do.
    ///
    /// When there is no space left at all, not even what is held back for settlements, these are taken in memory only and
    /// written once there is space: a crash before that brings their messages back.
    pub fn write<M: Payload>(&mut self, group: &mut Group<M>) -> Result<Wrote, WriteError> {
        self.check()?;
        if group.octets() > MESSAGE_BYTES_MAX {
            let largest = group.messages.iter().map(|(_, message)| message.octets().len()).max();
            if let Some(bytes) = largest.filter(|bytes| *bytes > MESSAGE_BYTES_MAX) {
                return Err(WriteError::TooLarge { bytes });
            }
        }
        let written = self.write_group(group);
        self.close_call(written)
    }

    /// Makes durable what was written. Does nothing if nothing was.
    pub fn sync(&mut self) -> Result<(), WriteError> {
        self.check()?;
        let synced = self.sync_active();
        self.close_call(synced)
    }

    pub(super) fn sync_active(&mut self) -> Result<(), Trouble> {
        // A file that is full was synced before the next one was begun.
        let Some(active) = self.active.as_mut().filter(|active| active.is_dirty && self.options.is_synced) else {
            return Ok(());
        };
        active.sync().map_err(failed("a sync failed"))
    }

    /// Works on space: makes the next file ready, gives files back, copies what is left of files with little in them. A
    /// bounded piece per call; `true` if there is more to do. It may sync. To be called after writes and, while it says
    /// `true`, whenever there is nothing better to do.
    pub fn maintain(&mut self) -> Result<bool, WriteError> {
        self.check()?;
        let has_more = self.maintain_step();
        self.close_call(has_more)
    }

    /// Why the log takes nothing more; empty while it does.
    pub fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Whether settlements, or marks of what was delivered, are in memory only, for want of any space: see
    /// [`Stats::is_owing`].
    pub fn is_owing(&self) -> bool {
        self.owes_marks || !self.owed.is_empty()
    }

    /// The log in numbers.
    pub fn stats(&self) -> Stats {
        let state = self.shared.lock();
        let spare_bytes = self.spares.iter().map(|spare| spare.length);
        let ready_bytes = self.ready.iter().map(|ready| ready.size);
        Stats {
            files: state.files.len(),
            spare_files: self.spares.len() + self.ready.len(),
            bytes_used: state.files.values().map(|file| file.used).sum(),
            bytes_allocated: state.files.values().map(|file| file.length).chain(spare_bytes).chain(ready_bytes).sum(),
            live: state.files.values().map(|file| file.live).sum(),
            bytes_written: self.total_written(),
            copied: self.copied(),
            is_owing: self.is_owing(),
            damaged: self.shared.damaged.load(Ordering::Relaxed),
        }
    }

    /// Messages copied by compaction since the log was opened.
    pub const fn copied(&self) -> u64 {
        self.compaction.copied
    }

    /// Ends: makes durable what was written.
    pub fn close(mut self) -> Result<(), WriteError> {
        self.sync()
    }

    fn check(&self) -> Result<(), Failure> {
        self.failure.clone().map_or(Ok(()), Err)
    }

    fn close_call<T>(&mut self, result: Result<T, Trouble>) -> Result<T, WriteError> {
        result.map_err(|trouble| match trouble {
            Trouble::Full => WriteError::Full,
            Trouble::Failed { what, error } => {
                let failure = Failure { failure: format!("{what}: {error}") };
                self.failure = Some(failure.clone());
                WriteError::Failed(failure)
            }
        })
    }
}

impl std::fmt::Debug for MessageLog {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("MessageLog")
            .field("stats", &self.stats())
            .field("failure", &self.failure)
            .finish_non_exhaustive()
    }
}
