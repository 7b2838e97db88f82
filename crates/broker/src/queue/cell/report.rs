//! What a queue says of itself, read at one moment under its lock.

use super::{QueueCell, QueueCounts, State};
use crate::message::Message;
use crate::queue::stored_lanes::StoredLanes;
use crate::queue::{Activity, ConsumerInfo, QueueKind};
use crate::stats::MessageStats;

/// What a queue says of itself. Nothing here takes longer for a longer queue.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueReport {
    /// Messages waiting to be handed out, those included that come back later.
    pub ready: usize,
    /// How many of them are in memory.
    pub ready_in_memory: usize,
    /// Messages handed out and not settled. They are in memory.
    pub unsettled: usize,
    /// How many of all messages survive a restart, if that is known.
    pub persistent: Option<usize>,
    /// Octets of the bodies of those that wait, if they are counted.
    pub ready_body_octets: Option<u64>,
    /// Octets that the messages that wait in memory take.
    pub memory: usize,
    /// The first message that waits, if it is in memory.
    pub first: Option<Message>,
    /// What happened to its messages since it exists, or since the start of the node.
    pub stats: MessageStats,
    /// Messages read back from disk since then,
    pub disk_reads: u64,
    /// and given to it.
    pub disk_writes: u64,
    /// Consumers there are.
    pub consumers: usize,
    /// Whether one of them could take a message now, as far as is known.
    pub is_served: bool,
    /// The one that has the queue for itself.
    pub exclusive_consumer: Option<ConsumerInfo>,
    /// The one that is served, where only one is.
    pub single_active_consumer: Option<ConsumerInfo>,
    /// Whether the queue is gone by now.
    pub is_closed: bool,
}

impl State {
    fn stats(&self) -> MessageStats {
        MessageStats {
            publish: self.counts.published,
            get_empty: self.counts.empty,
            ack: self.counts.acknowledged,
            ..self.queue.stats()
        }
    }
}

impl QueueCell {
    /// How much it has, and what happened to it: the part of the report that is cheap enough to be asked of all queues often.
    pub fn activity(&self) -> (QueueCounts, MessageStats) {
        let state = self.state.lock();
        (state.counts(), state.stats())
    }

    /// What it says of itself.
    pub fn report(&self) -> QueueReport {
        let state = self.state.lock();
        let queue = &state.queue;
        let (ready, unsettled) = (queue.ready_count() + queue.delayed_count(), queue.unsettled_count());
        let stored = state.stored.as_ref();
        let (disk_reads, disk_writes) = stored.map_or((0, 0), StoredLanes::disk_counts);
        let persistent = match (self.kind(), stored) {
            (QueueKind::Quorum, _) => Some(ready + unsettled),
            (QueueKind::Classic, Some(stored)) if self.info().durable => {
                (!stored.has_transient()).then_some(ready + unsettled)
            }
            (QueueKind::Classic, _) => Some(0),
        };
        let find = |is: &dyn Fn(&ConsumerInfo) -> bool| queue.consumers().find(|consumer| is(consumer));
        QueueReport {
            ready,
            ready_in_memory: ready.saturating_sub(queue.lanes().cold_count()),
            unsettled,
            persistent,
            ready_body_octets: queue.counted_body_bytes(),
            memory: size_of::<Self>() + queue.ready_bytes(),
            first: queue.list(None, 1).0.into_iter().next().map(|(_, message, _)| message),
            stats: state.stats(),
            disk_reads,
            disk_writes,
            consumers: queue.consumer_count(),
            is_served: queue.has_ready_consumer(),
            exclusive_consumer: if queue.is_exclusive() { find(&|consumer| consumer.exclusive) } else { None },
            single_active_consumer: if self.has_single_active_consumer() {
                find(&|consumer| consumer.activity == Activity::SingleActive)
            } else {
                None
            },
            is_closed: state.closed,
        }
    }
}
