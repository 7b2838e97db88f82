//! The message log: what brings the messages of durable queues back after a stop, a crash or a power cut.
//!
//! A folder holds files that are written one after the other, and only at the end: messages, and what became of them. A
//! position of a queue is never used twice, so what is live is a set: every message of a file without those that some
//! file calls settled. [`MessageLog::write`] adds a [`Group`], [`MessageLog::sync`] makes durable what was added,
//! [`MessageLog::maintain`] gives space back, [`Reader`] reads from other threads, and [`MessageLog::open`] finds out what
//! is there. `docs/design/message-log.md` draws the files and follows every step and failure.

mod active;
mod compaction;
mod directory;
mod files;
mod format;
mod group;
pub mod inspect;
mod intervals;
mod log;
mod maintain;
mod open;
mod reader;
mod report;
mod scan;
mod state;
#[cfg(test)]
mod tests;
mod write;

use std::io;
use std::sync::Arc;

pub use format::VERSION;
pub use group::Group;
pub use log::{MessageLog, Space, Stats, Wrote};
pub use reader::{Loaded, Reader};
pub use report::{Damage, Recovered, RecoveredQueue, Report, TornTail};

/// A queue, as the caller numbers them. A number is never used for another queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueKey(pub u64);

/// Octets of a message; a clone of the same message gives the same address.
pub trait Payload {
    /// The octets.
    fn octets(&self) -> &[u8];
}

impl Payload for Vec<u8> {
    fn octets(&self) -> &[u8] {
        self
    }
}

impl Payload for Arc<[u8]> {
    fn octets(&self) -> &[u8] {
        self
    }
}

impl<P: Payload + ?Sized> Payload for &P {
    fn octets(&self) -> &[u8] {
        (**self).octets()
    }
}

/// How a log uses its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The size of a file, in bytes. A message that does not fit gets a file of its own size. Sizes below
    /// [`FILE_BYTES_MIN`] are taken for that.
    pub file_bytes: u64,
    /// How many files that are not needed any more are kept to be written again.
    pub spare_files: usize,
    /// Whether what is written has to survive a stop. `false` is for an area to page out to: nothing is ever synced, and
    /// [`MessageLog::open`] empties it.
    pub is_synced: bool,
}

/// The smallest size of a file, in bytes.
pub const FILE_BYTES_MIN: u64 = 1 << 10;

/// The largest message, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 530 << 20;

impl Default for Options {
    fn default() -> Self {
        Self { file_bytes: 32 << 20, spare_files: 2, is_synced: true }
    }
}

/// The log takes nothing more since a write or a sync failed. What was synced before is safe; opening the folder again
/// brings it back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the message log takes no more messages since {failure}")]
pub struct Failure {
    /// What failed first.
    pub failure: String,
}

/// Why a group was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// There is no space for a file that the messages need. None of the messages was written. Everything else in the
    /// group was taken, and is no longer in it, nor are messages that it settled: what remains are messages to be
    /// written by a later call, when there is space. The log works on. So whoever moves a message from one queue to another
    /// and fears this settles it in a group of its own, after its copy was taken.
    #[error("there is no space for more messages")]
    Full,
    /// A message is larger than [`MESSAGE_BYTES_MAX`]. Nothing of the group was taken.
    #[error("a message of {bytes} bytes is larger than the {MESSAGE_BYTES_MAX} that are possible")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// A write or a sync failed. Final.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Why there is no log. Nothing in the folder was changed, except after [`OpenError::Disk`].
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk failed. What was synced is still there.
    #[error("the message log could not be opened: {file}: {source}")]
    Disk {
        /// The file, or the folder as `.`.
        file: String,
        /// What the disk said.
        source: io::Error,
    },
    /// A file was written by another version of this program, most likely a newer one.
    #[error("{file} is a message log of version {version}; this program reads version {VERSION}")]
    Version {
        /// The file.
        file: String,
        /// Its version.
        version: u32,
    },
    /// A file is no message log, or too damaged to tell.
    #[error("{file} is not a message log, or nothing in it can be read")]
    Foreign {
        /// The file.
        file: String,
    },
}
