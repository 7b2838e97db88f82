//! What the lanes of a queue have in the store: each is a queue of its own there.

use std::ops::Range;
use std::sync::Arc;

use super::lanes::{Lanes, split};
use super::stored::{Fanout, Stored};
use super::{Loaded, Position};
use crate::message::Message;
use crate::store::{MessageStore, StorePace, StorePosition};
use crate::topology::QueueId;

/// The dealings of a queue's lanes with the store. A plain queue has one lane.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and they change at different times")]
pub(super) struct StoredLanes {
    lowest: Stored,
    higher: Vec<Option<Box<Stored>>>,
    store: Arc<dyn MessageStore>,
    queue: QueueId,
    durable: bool,
    is_lazy: bool,
    keeps_all: bool,
    stores_transient: bool,
    /// Octets in memory beside the lanes that the store was told of.
    beside: usize,
}

impl StoredLanes {
    /// Nothing in the store yet. The lanes go by the ids from `queue` on.
    pub(super) fn new(store: Arc<dyn MessageStore>, queue: QueueId, durable: bool) -> Self {
        let lowest = Stored::new(Arc::clone(&store), queue, durable, false);
        Self {
            lowest,
            higher: Vec::new(),
            store,
            queue,
            durable,
            is_lazy: false,
            keeps_all: false,
            stores_transient: false,
            beside: 0,
        }
    }

    /// A lane has something in the store when the node starts.
    pub(super) fn restored(&mut self, lane: usize) {
        let id = QueueId(self.queue.0 + lane as u64);
        let mut stored = Stored::new(Arc::clone(&self.store), id, self.durable, true);
        if self.stores_transient {
            stored.store_transient();
        }
        *self.lane(lane) = stored;
    }

    #[inline]
    fn lane(&mut self, index: usize) -> &mut Stored {
        let Some(index) = index.checked_sub(1) else { return &mut self.lowest };
        if self.higher.get(index).is_none_or(Option::is_none) {
            let id = QueueId(self.queue.0 + index as u64 + 1);
            let mut stored = Box::new(Stored::new(Arc::clone(&self.store), id, self.durable, false));
            stored.set_lazy(self.is_lazy);
            stored.set_keeps_all(self.keeps_all);
            if self.stores_transient {
                stored.store_transient();
            }
            if self.higher.len() <= index {
                self.higher.resize_with(index + 1, || None);
            }
            if let Some(lane) = self.higher.get_mut(index) {
                *lane = Some(stored);
            }
        }
        // The lane is there by now; the lowest one stands in for what cannot be.
        self.higher.get_mut(index).and_then(Option::as_deref_mut).unwrap_or(&mut self.lowest)
    }

    fn lanes(&self) -> impl Iterator<Item = &Stored> {
        std::iter::once(&self.lowest).chain(self.higher.iter().flatten().map(|lane| &**lane))
    }

    /// The store.
    pub(super) fn store(&self) -> Arc<dyn MessageStore> {
        Arc::clone(&self.store)
    }

    /// Whether messages leave memory as soon as they can.
    pub(super) fn set_lazy(&mut self, is_lazy: bool) {
        self.is_lazy = is_lazy;
        self.lowest.set_lazy(is_lazy);
        self.higher.iter_mut().flatten().for_each(|lane| lane.set_lazy(is_lazy));
    }

    /// Whether all messages stay in memory, and those on disk are read back at once.
    pub(super) fn set_keeps_all(&mut self, keeps_all: bool) {
        self.keeps_all = keeps_all;
        self.lowest.set_keeps_all(keeps_all);
        self.higher.iter_mut().flatten().for_each(|lane| lane.set_keeps_all(keeps_all));
    }

    /// From now on all messages survive, whether their publishers ask for that or not.
    pub(super) fn store_transient(&mut self) {
        self.stores_transient = true;
        self.lowest.store_transient();
        self.higher.iter_mut().flatten().for_each(|lane| lane.store_transient());
    }

    /// Gives the store what has to survive of messages that are about to get the next positions of their lanes.
    #[inline]
    pub(super) fn append(
        &mut self,
        lanes: &Lanes,
        messages: &[Message],
        fanout: Fanout,
    ) -> Option<(StorePosition, StorePace)> {
        if !lanes.has_priorities() {
            return self.lowest.append(lanes.next_position(0), messages, fanout);
        }
        if !self.durable && !self.stores_transient {
            for message in messages {
                self.lane(lanes.lane_of(message)).note_transient();
            }
            return None;
        }
        let mut by_lane: Vec<Vec<Message>> = Vec::new();
        for message in messages {
            let lane = lanes.lane_of(message);
            if by_lane.len() <= lane {
                by_lane.resize_with(lane + 1, Vec::new);
            }
            if let Some(lane) = by_lane.get_mut(lane) {
                lane.push(message.clone());
            }
        }
        let mut appended = None;
        for (lane, messages) in by_lane.iter().enumerate().filter(|(_, messages)| !messages.is_empty()) {
            // The last one tells the position with which all of them are on disk.
            appended = self.lane(lane).append(lanes.next_position(lane), messages, fanout).or(appended);
        }
        appended
    }

    /// Messages read back from disk, and messages given to it.
    pub(super) fn disk_counts(&self) -> (u64, u64) {
        self.lanes()
            .map(Stored::disk_counts)
            .fold((0, 0), |(reads, writes), (read, written)| (reads + read, writes + written))
    }

    /// Up to which position the log is on disk.
    pub(super) fn synced(&self) -> StorePosition {
        self.store.synced()
    }

    /// Whether the store may hold messages of this queue.
    #[inline]
    pub(super) fn holds_messages(&self) -> bool {
        self.lanes().any(Stored::holds_messages)
    }

    /// Tells the store what is done with. Gives back the position of the log that this is on disk with.
    pub(super) fn settle(&mut self, positions: &[Range<u64>]) -> Option<StorePosition> {
        if self.higher.is_empty() {
            return self.lowest.settle(positions);
        }
        let mut settled = None;
        let lane_of = |range: &Range<u64>| split(Position(range.start)).0;
        for run in positions.chunk_by(|one, two| lane_of(one) == lane_of(two)) {
            let Some(lane) = run.first().map(lane_of) else { continue };
            let within = |range: &Range<u64>| {
                let start = split(Position(range.start)).1.0;
                start..start + (range.end - range.start)
            };
            let run: Vec<_> = run.iter().map(within).collect();
            settled = self.lane(lane).settle(&run).max(settled);
        }
        settled
    }

    /// Tells the store of messages that are in memory beside the lanes.
    #[inline]
    pub(super) fn count_beside(&mut self, octets: usize) {
        if octets != self.beside {
            self.store.count_memory(octets.cast_signed() - self.beside.cast_signed());
            self.beside = octets;
        }
    }

    /// Drops everything.
    pub(super) fn delete(&mut self) {
        self.count_beside(0);
        self.lowest.delete();
        self.higher.iter_mut().flatten().for_each(|lane| lane.delete());
    }

    /// Lets messages leave memory if there is little of it. Gives back the position of the page-out area that publishers should
    /// wait for, if it has enough to write.
    #[inline]
    pub(super) fn page_out(&mut self, lanes: &mut Lanes) -> Option<StorePosition> {
        let mut awaited = None;
        for lane in 0..lanes.count() {
            if let Some(backlog) = lanes.lane_mut_if_used(lane) {
                awaited = self.lane(lane).page_out(backlog).or(awaited);
            }
        }
        awaited
    }

    /// Tells the store what a batch led to, and asks for what is to be read back.
    #[inline]
    pub(super) fn finish(&mut self, lanes: &Lanes, unsettled: bool, is_asked: bool) {
        for lane in 0..lanes.count() {
            if let Some(backlog) = lanes.lane(lane) {
                self.lane(lane).finish(backlog, unsettled, is_asked);
            }
        }
    }

    /// What was asked for a queue of the store is there: puts it into the lane.
    pub(super) fn loaded(&mut self, lanes: &mut Lanes, lane: usize, loaded: Loaded) {
        self.lane(lane).loaded(loaded.messages.len());
        lanes.loaded(lane, loaded);
    }
}

impl Drop for StoredLanes {
    fn drop(&mut self) {
        self.count_beside(0);
    }
}

#[cfg(test)]
impl StoredLanes {
    /// The dealings of the lowest lane.
    pub(super) fn lowest(&self) -> &Stored {
        &self.lowest
    }
}
