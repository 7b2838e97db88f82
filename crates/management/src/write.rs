//! Changes that are on disk when the caller goes on.

use std::sync::Arc;
use std::thread;

use leveret_broker::Error;
use leveret_broker::events::TOOLS;
use leveret_broker::journal::{JournalPosition, Written};
use leveret_broker::mailbox::{Inbox, Mailbox};
use leveret_broker::node::Node;
use leveret_broker::store::{Area, StorePosition};
use leveret_broker::topology::{Applied, Change};

use crate::park;

/// Why a change was not made, or may not survive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// The broker refuses it.
    #[error(transparent)]
    Refused(#[from] Error),
    /// It was made, but could not be written.
    #[error("the change could not be written to disk; see the log")]
    NotWritten,
}

/// Makes a change for the tools and waits until it is on disk.
pub fn apply(node: &Node, change: Change) -> Result<Applied, WriteError> {
    apply_as(node, change, TOOLS)
}

/// Makes a change for somebody and waits until it is on disk.
pub fn apply_as(node: &Node, change: Change, actor: &str) -> Result<Applied, WriteError> {
    let changed = node.apply_as(change, actor)?;
    wait(node, changed.written)?;
    Ok(changed.applied)
}

/// Waits until what was done is on disk.
pub fn wait(node: &Node, position: Option<JournalPosition>) -> Result<(), WriteError> {
    position.map_or(Ok(()), |position| until(|mailbox| node.written(position, mailbox)))
}

/// Waits until messages, or what became of them, are on disk.
pub(crate) fn wait_stored(node: &Node, position: Option<StorePosition>) -> Result<(), WriteError> {
    position.map_or(Ok(()), |position| until(|mailbox| node.stored(Area::Log, position, mailbox)))
}

fn until(look: impl Fn(&Arc<Mailbox>) -> Written) -> Result<(), WriteError> {
    let mailbox = Arc::new(Mailbox::default());
    loop {
        match look(&mailbox) {
            Written::Synced => return Ok(()),
            Written::Failed => return Err(WriteError::NotWritten),
            Written::Waiting => {}
        }
        pause(&mailbox);
    }
}

/// Waits until a mailbox is told something.
pub(crate) fn pause(mailbox: &Mailbox) {
    let waker = park::waker();
    while mailbox.register(&waker) {
        thread::park();
    }
    mailbox.take(&mut Inbox::default());
}
