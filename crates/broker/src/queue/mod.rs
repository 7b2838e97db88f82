//! Queues: the state machines that hold messages and hand them to consumers.

mod backlog;
pub mod cell;
pub mod classic;
mod consumer_rules;
mod consumers;
mod deduplication;
mod lanes;
mod prefetch;
pub mod quorum;
mod settings;
mod stored;
mod stored_lanes;

pub use backlog::{Loaded, Restored};
pub use cell::{
    Browsed, CloseCondition, Enqueued, Lease, Octets, Pace, QueueCell, QueueContext, QueueCounts, QueueInfo,
    QueueReport, RestoredLanes, Settled, Unsubscribed,
};
pub use classic::{Classic, Dead, Returned, Taken, TakenOut};
pub(crate) use classic::{QUORUM_LANES, push_position};
pub use consumers::{Activity, ConsumerId, ConsumerInfo, Subscriber, Subscription};
pub use prefetch::SharedPrefetch;
pub use quorum::ReturnCause;
pub use settings::{DeadLetterStrategy, DeadLetterTo, DelayedRetry, Overflow, QueueKind, QueueSettings, Retried};
pub use stored::Fanout;

use std::task::Waker;

use crate::message::Message;

/// Where a message stands in its queue: counts up from 0, never reused, kept through a requeue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// A message on its way to a consumer.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// The subscriber's own key for the consumer, from [`Subscription::key`].
    pub key: u32,
    /// Whether it was handed out before.
    pub redelivered: bool,
    /// Where it stood in the queue; goes back with a requeue.
    pub position: Position,
    /// The message itself.
    pub message: Message,
}

/// What a consumer's side offers to a queue: a bounded mailbox.
///
/// Called under the queue's lock, so an implementation may take locks that come after it in the lock order and nothing
/// else.
pub trait Sink {
    /// Octets of message that fit now. A queue asks once per batch of bounded size and may overshoot by one message, or by
    /// a batch where several of its consumers share the room.
    fn room(&self) -> usize;
    /// Takes the batch, leaving the vector empty. Gives back whom to wake once no lock is held.
    fn deliver(&self, batch: &mut Vec<Delivery>) -> Option<Waker>;
    /// Asks that [`Classic::resume`] be called when there is room again; `false` if there is room by now.
    fn await_room(&self, key: u32) -> bool;
}
