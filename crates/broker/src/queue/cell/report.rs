//! What a queue says of itself, read at one moment under its lock.

use super::{QueueCell, QueueCounts, State};
use crate::Weight;
use crate::clock::Timestamp;
use crate::message::Message;
use crate::queue::stored_lanes::StoredLanes;
use crate::queue::{Activity, ConsumerInfo, QueueKind};
use crate::stats::MessageStats;

/// Octets of the bodies of a queue's messages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Octets {
    /// Of those that wait; none while some that were there at the start of the node are not counted.
    pub ready: Option<u64>,
    /// Of those that wait in memory.
    pub ready_in_memory: u64,
    /// Of those that were handed out and not settled. They are in memory.
    pub unsettled: u64,
    /// Of all that survive a restart; none as with those that wait.
    pub persistent: Option<u64>,
}

impl Octets {
    /// Of all messages; none as with those that wait.
    pub fn all(&self) -> Option<u64> {
        self.ready.map(|ready| ready + self.unsettled)
    }

    /// Of those in memory.
    pub const fn in_memory(&self) -> u64 {
        self.ready_in_memory + self.unsettled
    }

    /// Of those that are on disk only; none as with those that wait.
    pub fn paged_out(&self) -> Option<u64> {
        self.ready.map(|ready| ready.saturating_sub(self.ready_in_memory))
    }
}

/// What a queue says of itself. Nothing here takes longer for a longer queue.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueReport {
    /// Messages waiting to be handed out, those included that come back later.
    pub ready: usize,
    /// How many of them are in memory.
    pub ready_in_memory: usize,
    /// Messages handed out and not settled. They are in memory.
    pub unsettled: usize,
    /// How many of all messages survive a restart.
    pub persistent: usize,
    /// Octets of their bodies.
    pub octets: Octets,
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
    /// How much of the last seconds one of them could take a message.
    pub capacity: f64,
    /// When something last happened to it, give or take some seconds.
    pub touched: Timestamp,
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
        let (persistent, octets) = self.weigh(&state);
        let find = |is: &dyn Fn(&ConsumerInfo) -> bool| queue.consumers().find(|consumer| is(consumer));
        QueueReport {
            ready,
            ready_in_memory: ready.saturating_sub(queue.lanes().cold_count()),
            unsettled,
            persistent,
            octets,
            memory: size_of::<Self>() + queue.ready_bytes(),
            first: queue.list(None, 1).0.into_iter().next().map(|(_, message, _)| message),
            stats: state.stats(),
            disk_reads,
            disk_writes,
            consumers: queue.consumer_count(),
            capacity: state.capacity.share(self.context.now()),
            touched: state.touched,
            exclusive_consumer: if queue.is_exclusive() { find(&|consumer| consumer.exclusive) } else { None },
            single_active_consumer: if self.has_single_active_consumer() {
                find(&|consumer| consumer.activity == Activity::SingleActive)
            } else {
                None
            },
            is_closed: state.closed,
        }
    }

    /// How many messages survive a restart, and octets of all of them.
    fn weigh(&self, state: &State) -> (usize, Octets) {
        let queue = &state.queue;
        let (waiting, on_disk, handed_out) =
            (queue.lanes().weight(), queue.lanes().weight_on_disk(), queue.unsettled_weight());
        let uncounted = queue.lanes().uncounted_count();
        let if_counted = |octets| (uncounted == 0).then_some(octets);
        let returned = queue.returned_octets();
        let octets = Octets {
            ready: if_counted(waiting.octets + returned),
            ready_in_memory: waiting.octets.saturating_sub(on_disk.octets) + returned,
            unsettled: handed_out.octets,
            persistent: None,
        };
        let count = |weight: Weight| usize::try_from(weight.persistent).unwrap_or(usize::MAX);
        let (persistent, persistent_octets) = match self.kind() {
            QueueKind::Quorum => {
                let all = queue.ready_count() + queue.delayed_count() + queue.unsettled_count();
                (all, octets.ready.map(|ready| ready + octets.unsettled))
            }
            QueueKind::Classic if self.info().durable && state.stored.is_some() => {
                let persistent_octets = waiting.persistent_octets + handed_out.persistent_octets;
                (count(waiting) + uncounted + count(handed_out), if_counted(persistent_octets))
            }
            QueueKind::Classic => (0, Some(0)),
        };
        (persistent, Octets { persistent: persistent_octets, ..octets })
    }
}
