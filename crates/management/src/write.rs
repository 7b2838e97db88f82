//! Changes that are on disk when the caller goes on.

use std::sync::Arc;
use std::thread;

use leveret_broker::Error;
use leveret_broker::journal::{JournalPosition, Written};
use leveret_broker::mailbox::{Inbox, Mailbox};
use leveret_broker::node::Node;
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

/// Makes a change and waits until it is on disk.
pub fn apply(node: &Node, change: Change) -> Result<Applied, WriteError> {
    let changed = node.apply(change)?;
    wait(node, changed.written)?;
    Ok(changed.applied)
}

/// Waits until what was done is on disk.
pub fn wait(node: &Node, position: Option<JournalPosition>) -> Result<(), WriteError> {
    let Some(position) = position else { return Ok(()) };
    let mailbox = Arc::new(Mailbox::default());
    let waker = park::waker();
    let mut inbox = Inbox::default();
    loop {
        match node.written(position, &mailbox) {
            Written::Synced => return Ok(()),
            Written::Failed => return Err(WriteError::NotWritten),
            Written::Waiting => {}
        }
        while mailbox.register(&waker) {
            thread::park();
        }
        mailbox.take(&mut inbox);
        inbox.events.clear();
    }
}
