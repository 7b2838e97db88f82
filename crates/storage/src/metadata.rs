//! The metadata log: what brings the broker's definitions back after a stop, a crash or a power cut.
//!
//! A folder holds one file: a snapshot, the state at some moment, and behind it the changes since. [`MetadataLog::append`]
//! and [`MetadataLog::commit`] add changes; [`MetadataLog::snapshot`] starts a new file; [`MetadataLog::open`] reads what is
//! there. What the payloads say is the caller's business, as is how to apply them. `docs/design/metadata-log.md` draws
//! the file and follows every step and failure.

mod file;
mod format;
pub mod inspect;
mod log;
mod open;
mod recovery;
mod report;

use std::io;

pub use format::VERSION;
pub use log::{CHANGE_BYTES_MAX, MetadataLog, PENDING_BYTES_MAX, SNAPSHOT_CHANGES_BYTES_MIN};
pub use report::{DamagedRange, Recovered, Report, TornTail};

/// The log takes nothing more since a write or a sync failed. What was committed before is safe; opening the folder again
/// brings it back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the metadata log takes no more changes since {failure}")]
pub struct Poisoned {
    /// What failed first.
    pub failure: String,
}

/// Why changes were not taken. None of them was.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// See [`Poisoned`].
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// A payload is larger than [`CHANGE_BYTES_MAX`].
    #[error("a change of {bytes} bytes is larger than the {CHANGE_BYTES_MAX} the metadata log takes")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// More than [`PENDING_BYTES_MAX`] would wait for a commit.
    #[error("more than {PENDING_BYTES_MAX} bytes of changes wait for a commit of the metadata log")]
    Full,
}

/// Why changes are not durable. Each but [`CommitError::Full`] is final: from now on the log is [`Poisoned`].
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// It failed before.
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// The disk is full. Nothing was written, and what was appended waits for the next commit.
    #[error("there is no space for changes of the metadata log")]
    Full,
    /// The write failed.
    #[error("changes could not be written to the metadata log: {0}")]
    Write(#[source] io::Error),
    /// The sync failed. The changes may come back at the next start, or not.
    #[error("changes could not be made durable in the metadata log: {0}")]
    Sync(#[source] io::Error),
}

/// Why there is no new snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// See [`Poisoned`].
    #[error(transparent)]
    Poisoned(#[from] Poisoned),
    /// A payload is larger than [`CHANGE_BYTES_MAX`]. The log goes on with the file it has.
    #[error("an entry of {bytes} bytes is larger than the {CHANGE_BYTES_MAX} the metadata log takes")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The new file could not be written. The log goes on with the file it has, and wants a snapshot again after as many
    /// changes as make a first one worthwhile.
    #[error("a snapshot of the metadata log could not be written: {0}")]
    Abandoned(#[source] io::Error),
    /// The new file could not take the old one's place. Which of them a crash would leave is not known, so from now on
    /// the log is [`Poisoned`].
    #[error("a snapshot could not take the place of the metadata log: {0}")]
    Switch(#[source] io::Error),
}

/// Why there is no log. Nothing in the folder was changed, except after [`OpenError::Disk`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk failed. What was committed is still there.
    #[error("the metadata log could not be opened: {file}: {source}")]
    Disk {
        /// The file, or the folder as `.`.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The file was written by another version of this program, most likely a newer one.
    #[error("{file} is a metadata log of version {version}; this program reads version {VERSION}")]
    Version {
        /// The file.
        file: String,
        /// Its version.
        version: u32,
    },
    /// The file is no metadata log, or too damaged to tell.
    #[error("{file} is not a metadata log, or nothing in it can be read")]
    Foreign {
        /// The file.
        file: String,
    },
    /// The file is empty, cut within its first bytes or all zeros, which no crash leaves.
    #[error("{file} is blank, though a metadata log under this name was once complete")]
    Blank {
        /// The file.
        file: String,
    },
    /// A damaged log was kept aside but the one that took its place is gone. To begin anew, move that file away.
    #[error("the metadata log is gone; only {kept_aside} is left of it")]
    Lost {
        /// The file that was kept.
        kept_aside: String,
    },
}
