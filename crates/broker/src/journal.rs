//! Where what survives a restart is written down.
//!
//! A node hands over the records of its topology in the order of the changes, under the topology's lock, and goes on; whoever
//! must not answer before they are on disk waits for their position.

use std::sync::Arc;

use crate::mailbox::Mailbox;
use crate::topology::{Record, Together};

/// A place in the journal: everything up to it was handed over before it was given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalPosition(pub u64);

/// How far a position is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is on disk.
    Synced,
    /// It will be, or it will fail; the mailbox that asked gets [`Event::JournalMoved`](crate::mailbox::Event) then.
    Waiting,
    /// The disk failed, and nothing more will be written until the node is started again.
    Failed,
}

/// A journal. Its calls come with the topology's lock held, so none of them may wait for the disk.
pub trait Journal: std::fmt::Debug + Send + Sync {
    /// Takes records, to be written after all that came before.
    fn append(&self, records: Vec<Record>) -> JournalPosition;
    /// Takes records that are to be there all or not at all after a crash, to be written after all that came before.
    fn append_together(&self, records: Together) -> JournalPosition;
    /// The position of the last record that was handed over.
    fn last(&self) -> JournalPosition;
    /// Whether the disk failed, so that nothing more will be written until the node is started again.
    fn has_failed(&self) -> bool;
    /// How far a position is; see [`Written::Waiting`].
    fn written(&self, position: JournalPosition, mailbox: &Arc<Mailbox>) -> Written;
}
