//! Where messages are kept beside memory: what has to survive, and what memory has no room for.
//!
//! Queues hand messages and settlements over in batches, under their own lock, and go on; whoever must not answer before
//! they are on disk waits for their position. Reading back goes the other way: a queue asks, and gets the messages by
//! [`Node::loaded`](crate::node::Node::loaded).

use std::ops::Range;
use std::sync::Arc;

use crate::journal::Written;
use crate::mailbox::Mailbox;
use crate::message::Message;
use crate::queue::Loaded;
use crate::topology::QueueId;

/// The two places for messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// The message log: what has to survive. Synced.
    Log,
    /// The page-out area: what memory has no room for. Neither synced nor read by the next start.
    PageOut,
}

/// How far a store is with an area: what was handed over before it was given out is written once it is. Counts up from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct StorePosition(pub u64);

/// How a store can keep up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorePace {
    /// Well.
    Go,
    /// It has enough to write for the moment; the publisher should pause.
    Pause,
}

/// How much of the memory for waiting messages is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryPressure {
    /// There is enough.
    None,
    /// What is on disk anyway should not be kept in memory as well.
    Written,
    /// Everything beyond the front of a queue should go to disk.
    All,
}

/// A store. Its calls come with a queue's lock held, so none of them may wait for the disk.
pub trait MessageStore: std::fmt::Debug + Send + Sync {
    /// Takes messages of a queue with their positions, ascending. `shared` says that some of them are handed over by other
    /// queues as well, and then need to be written only once.
    fn append(
        &self,
        area: Area,
        queue: QueueId,
        shared: bool,
        messages: &mut dyn Iterator<Item = (u64, &Message)>,
    ) -> (StorePosition, StorePace);
    /// Takes note of positions that are done with. Those that the area does not hold are ignored.
    fn settle(&self, area: Area, queue: QueueId, positions: &[Range<u64>]) -> StorePosition;
    /// Takes note that everything before a position has been handed out at least once.
    fn delivered(&self, queue: QueueId, before: u64);
    /// Drops everything of a queue.
    fn delete(&self, queue: QueueId);
    /// Asks for messages of a queue, as many from the beginning of the range as are good to have at a time.
    fn load(&self, queue: QueueId, positions: Range<u64>);
    /// Reads messages of a queue, as many from the beginning of the range as are good to have at a time. The one call that waits for
    /// the disk: it comes with no lock held, and from nobody who serves a connection.
    fn read(&self, queue: QueueId, positions: Range<u64>) -> std::io::Result<Loaded>;
    /// Asks for messages of a queue at these positions, ascending; the answer may end early, as with [`load`](Self::load).
    fn load_at(&self, queue: QueueId, positions: Vec<u64>);
    /// Up to which position an area can be read back.
    fn written(&self, area: Area) -> StorePosition;
    /// Up to which position the log survives what it has to survive.
    fn synced(&self) -> StorePosition;
    /// How far a position is, of the log on its way to [`synced`](Self::synced), of the page-out area to
    /// [`written`](Self::written); see [`Written::Waiting`].
    fn wait(&self, area: Area, position: StorePosition, mailbox: &Arc<Mailbox>) -> Written;
    /// Whether messages can be taken at all: not while the disk is full or broken. The mailbox is told when that ends.
    fn is_blocked(&self, mailbox: &Arc<Mailbox>) -> bool;
    /// Counts octets of waiting messages that came into memory or left it.
    fn count_memory(&self, octets: isize);
    /// How much of the memory for waiting messages is taken.
    fn pressure(&self) -> MemoryPressure;
}
