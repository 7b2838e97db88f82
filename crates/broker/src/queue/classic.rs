//! The classic queue: messages in order, handed to consumers in turn.
//!
//! Positions count up from the first message ever, and the order of positions is the queue's order: a requeued message takes
//! its old place. What waits stands in the `Backlog`, some of it perhaps on disk only; then nothing is handed out until
//! it is read back.

use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;

use super::backlog::{Backlog, Loaded, Restored};
use super::consumers::{ConsumerInfo, Consumers, Turn};
use super::{ConsumerId, Position, SharedPrefetch, Sink, Subscription};
use crate::message::Message;

/// The queue has an exclusive consumer, or cannot give one exclusive use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("in exclusive use")]
pub struct ExclusiveUse;

/// A classic queue. Every method is one batch under the caller's lock and ends with the deliveries it led to handed to
/// their sinks.
#[derive(Debug)]
pub struct Classic<S> {
    backlog: Backlog,
    unsettled: usize,
    consumers: Consumers<S>,
    exclusive: Option<ConsumerId>,
    /// Messages handed out since the queue exists.
    delivered: u64,
}

impl<S> Default for Classic<S> {
    fn default() -> Self {
        Self {
            backlog: Backlog::default(),
            unsettled: 0,
            consumers: Consumers::default(),
            exclusive: None,
            delivered: 0,
        }
    }
}

/// Messages on their way back to the queue.
#[derive(Debug)]
pub struct Returned {
    /// The consumer they had been handed to; none for basic.get.
    pub consumer: Option<ConsumerId>,
    /// Whether they counted as settled when they were handed out (`no_ack`).
    pub settled: bool,
    /// The messages with their places.
    pub messages: Vec<(Position, Message)>,
}

/// What taking the first message came to (basic.get).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// A message: where it stood, itself, and whether it was handed out before.
    Message(Position, Message, bool),
    /// The first message is on disk only, and has to be read first.
    OnDisk,
    /// Nothing waits.
    Nothing,
}

impl<S: Sink> Classic<S> {
    /// A queue with messages that are on disk when a node starts.
    pub fn restored(restored: Restored) -> Self {
        Self { backlog: Backlog::restored(restored), ..Self::default() }
    }

    /// Messages waiting to be handed out.
    pub fn ready_count(&self) -> usize {
        self.backlog.len()
    }

    /// Octets of the messages that wait in memory, names and properties included.
    pub fn ready_bytes(&self) -> usize {
        self.backlog.bytes()
    }

    /// Whether some messages are on disk only.
    pub fn has_cold(&self) -> bool {
        self.backlog.has_cold()
    }

    /// The position that the next message gets.
    pub fn next_position(&self) -> u64 {
        self.backlog.next_position()
    }

    /// Everything before this position has been handed out at least once.
    pub fn delivered_before(&self) -> u64 {
        self.backlog.delivered_before()
    }

    /// The messages in memory from a position on, as far as they were never handed out nor on disk only.
    pub fn ready_from(&self, position: u64) -> impl Iterator<Item = (u64, &Message)> {
        self.backlog.ready_from(position)
    }

    /// Keeps messages before a position, which have to be on disk, there only, but for so many octets at the front.
    pub fn page_out(&mut self, until: u64, front_kept: usize) {
        self.backlog.page_out(until, front_kept);
    }

    /// What to read back from disk, if less than so many octets are ready of what was there.
    pub fn wanted(&self, ahead: usize) -> Option<Range<u64>> {
        self.backlog.wanted(ahead)
    }

    /// Takes in what was read back, and goes on.
    pub fn loaded(&mut self, loaded: Loaded) {
        self.backlog.loaded(loaded);
        self.consumers.begin_batch();
        self.dispatch();
    }

    /// Messages handed out and not yet settled.
    pub fn unsettled_count(&self) -> usize {
        self.unsettled
    }

    /// Messages handed out since the queue exists.
    pub fn delivered_count(&self) -> u64 {
        self.delivered
    }

    /// Consumers there are.
    pub fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    /// Whom to wake for what was delivered since the last call, once no lock is held.
    pub fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.consumers.wakers)
    }

    /// Appends messages in order, emptying `batch`.
    pub fn enqueue(&mut self, batch: &mut Vec<Message>) {
        self.consumers.begin_batch();
        let mut batch = batch.drain(..);
        // While nothing waits, a message goes straight to a consumer and never enters the queue.
        if self.ready_count() == 0 {
            while batch.len() > 0
                && let Some(turn) = self.consumers.next()
                && let Some(message) = batch.next()
            {
                let position = self.backlog.pass();
                self.hand_out(turn, position, message, false);
            }
        }
        for message in batch {
            self.backlog.push(message);
        }
        self.dispatch();
    }

    /// Adds a consumer, which at once gets what waits.
    pub fn subscribe(&mut self, subscription: Subscription<S>) -> Result<ConsumerId, ExclusiveUse> {
        let taken = self.consumers.len() > 0 || self.consumers.is_single_active();
        if self.exclusive.is_some() || (subscription.exclusive && taken) {
            return Err(ExclusiveUse);
        }
        let exclusive = subscription.exclusive;
        let id = self.consumers.add(subscription);
        if exclusive {
            self.exclusive = Some(id);
        }
        self.consumers.begin_batch();
        self.dispatch();
        Ok(id)
    }

    /// Removes a consumer. What it was handed stays unsettled until it is settled or requeued. Says whether it was the single
    /// active consumer: then nobody is handed messages until [`Classic::hand_over`].
    pub fn unsubscribe(&mut self, id: ConsumerId) -> Option<(Subscription<S>, bool)> {
        if self.exclusive == Some(id) {
            self.exclusive = None;
        }
        self.consumers.remove(id)
    }

    /// What a consumer that is gone gives back has been put back: the next one may take its place, if it was the single
    /// active consumer.
    pub fn hand_over(&mut self, gone: ConsumerId) {
        if self.consumers.hand_over(gone) {
            self.consumers.begin_batch();
            self.dispatch();
        }
    }

    /// Sets whether only one consumer is handed messages, as long as it is there.
    pub fn set_single_active(&mut self, single_active: bool) {
        self.consumers.set_single_active(single_active);
        self.consumers.begin_batch();
        self.dispatch();
    }

    /// The consumers there are.
    pub fn consumers(&self) -> impl Iterator<Item = ConsumerInfo> {
        self.consumers.infos()
    }

    /// Goes on with a consumer that waited for room in its mailbox or for shared prefetch.
    pub fn resume(&mut self, id: ConsumerId) {
        self.consumers.begin_batch();
        self.consumers.unpark(id);
        self.dispatch();
    }

    /// Sets the prefetch that a consumer shares with its channel's others; none is no limit. What the consumer has
    /// unsettled counts.
    pub fn share_prefetch(&mut self, id: ConsumerId, shared: Option<Arc<SharedPrefetch>>) {
        self.consumers.share_prefetch(id, shared);
        self.resume(id);
    }

    /// Takes the first message (basic.get).
    pub fn take(&mut self, no_ack: bool) -> Taken {
        match self.backlog.pop() {
            Some((position, message, redelivered)) => {
                self.delivered += 1;
                self.unsettled += usize::from(!no_ack);
                Taken::Message(position, message, redelivered)
            }
            None if self.backlog.has_cold() => Taken::OnDisk,
            None => Taken::Nothing,
        }
    }

    /// Counts deliveries settled: of a consumer, or without one those of basic.get.
    pub fn settle(&mut self, id: Option<ConsumerId>, count: u32) {
        self.unsettled = self.unsettled.saturating_sub(count as usize);
        if let Some(id) = id {
            self.consumers.begin_batch();
            self.consumers.settle(id, count);
            self.dispatch();
        }
    }

    /// Puts messages back where they stood; `id` is the consumer they had been handed to.
    pub fn requeue(&mut self, id: Option<ConsumerId>, messages: &mut Vec<(Position, Message)>) {
        self.put_back(&mut vec![Returned { consumer: id, settled: false, messages: std::mem::take(messages) }]);
    }

    /// Puts messages back that a consumer was handed for good (`no_ack`) but that never left the broker.
    pub fn take_back(&mut self, messages: &mut Vec<(Position, Message)>) {
        self.put_back(&mut vec![Returned { consumer: None, settled: true, messages: std::mem::take(messages) }]);
    }

    /// Puts messages back from several consumers, and only then hands out again: the one that stood first goes first,
    /// whoever had it.
    pub fn put_back(&mut self, returned: &mut Vec<Returned>) {
        self.consumers.begin_batch();
        for Returned { consumer, settled, messages } in returned.drain(..) {
            if !settled {
                self.unsettled = self.unsettled.saturating_sub(messages.len());
            }
            if let Some(id) = consumer {
                self.consumers.settle(id, u32::try_from(messages.len()).unwrap_or(u32::MAX));
            }
            for (position, message) in messages {
                self.backlog.put_back(position, message);
            }
        }
        self.dispatch();
    }

    /// Drops everything that waits; says how much that was, and which positions.
    pub fn purge(&mut self) -> (usize, Vec<Range<u64>>) {
        let count = self.ready_count();
        (count, self.backlog.clear())
    }

    /// Ends the queue: drops what waits and gives back the consumers, to be told. Says how many messages waited.
    pub fn close(&mut self) -> (usize, Vec<Subscription<S>>) {
        self.exclusive = None;
        (self.purge().0, std::mem::take(&mut self.consumers).into_subscriptions())
    }

    #[inline]
    fn hand_out(&mut self, turn: Turn, position: Position, message: Message, redelivered: bool) {
        self.delivered += 1;
        self.unsettled += usize::from(self.consumers.give(turn, position, message, redelivered));
    }

    fn dispatch(&mut self) {
        loop {
            while self.backlog.has_next()
                && let Some(turn) = self.consumers.next()
                && let Some((position, message, redelivered)) = self.backlog.pop()
            {
                self.hand_out(turn, position, message, redelivered);
            }
            self.consumers.flush();
            // Asked even when nothing waits by now: a consumer that is never told of its room would be passed over by
            // what comes next.
            if !self.consumers.await_room() || !self.backlog.has_next() {
                return;
            }
            self.consumers.begin_batch();
        }
    }
}

#[cfg(test)]
mod tests;
