//! The classic queue: messages in order, handed to consumers in turn.
//!
//! Positions count up from the first message ever. Messages never handed out stand in `ready`, whose positions are
//! contiguous; messages that came back stand in `returned` by position. Everything in `returned` is older than everything
//! in `ready`, because messages leave from the front only, so "first returned, then ready" is the queue's order and a
//! requeued message takes its old place.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use super::consumers::{Consumers, Turn};
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
    returned: BTreeMap<u64, Message>,
    ready: VecDeque<Message>,
    /// Position of the front of `ready`.
    front: u64,
    ready_bytes: usize,
    unsettled: usize,
    consumers: Consumers<S>,
    exclusive: Option<ConsumerId>,
    /// Messages handed out since the queue exists.
    delivered: u64,
}

impl<S> Default for Classic<S> {
    fn default() -> Self {
        Self {
            returned: BTreeMap::new(),
            ready: VecDeque::new(),
            front: 0,
            ready_bytes: 0,
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

/// Messages that `ready` keeps room for when it is empty.
const READY_KEPT: usize = 1024;

impl<S: Sink> Classic<S> {
    /// Messages waiting to be handed out.
    pub fn ready_count(&self) -> usize {
        self.ready.len() + self.returned.len()
    }

    /// Octets of the messages waiting to be handed out, names and properties included.
    pub fn ready_bytes(&self) -> usize {
        self.ready_bytes
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
                let position = Position(self.front);
                self.front += 1;
                self.hand_out(turn, position, message, false);
            }
        }
        for message in batch {
            self.push(message);
        }
        self.dispatch();
    }

    fn push(&mut self, message: Message) {
        self.ready_bytes += message.size();
        self.ready.push_back(message);
    }

    /// Adds a consumer, which at once gets what waits.
    pub fn subscribe(&mut self, subscription: Subscription<S>) -> Result<ConsumerId, ExclusiveUse> {
        if self.exclusive.is_some() || (subscription.exclusive && self.consumers.len() > 0) {
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

    /// Removes a consumer. What it was handed stays unsettled until it is settled or requeued.
    pub fn unsubscribe(&mut self, id: ConsumerId) -> Option<Subscription<S>> {
        if self.exclusive == Some(id) {
            self.exclusive = None;
        }
        self.consumers.remove(id)
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

    /// Takes the first message (basic.get); says where it stood and whether it was handed out before.
    pub fn take(&mut self, no_ack: bool) -> Option<(Position, Message, bool)> {
        let taken = self.pop()?;
        self.delivered += 1;
        self.unsettled += usize::from(!no_ack);
        Some(taken)
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
                self.ready_bytes += message.size();
                self.returned.insert(position.0, message);
            }
        }
        self.dispatch();
    }

    /// Drops everything that waits; says how much that was.
    pub fn purge(&mut self) -> usize {
        let count = self.ready_count();
        self.front += self.ready.len() as u64;
        self.ready = VecDeque::new();
        self.returned.clear();
        self.ready_bytes = 0;
        count
    }

    /// Ends the queue: drops what waits and gives back the consumers, to be told. Says how many messages waited.
    pub fn close(&mut self) -> (usize, Vec<Subscription<S>>) {
        self.exclusive = None;
        (self.purge(), std::mem::take(&mut self.consumers).into_subscriptions())
    }

    fn pop(&mut self) -> Option<(Position, Message, bool)> {
        let taken = if let Some((position, message)) = self.returned.pop_first() {
            (Position(position), message, true)
        } else {
            let message = self.ready.pop_front()?;
            let position = Position(self.front);
            self.front += 1;
            if self.ready.is_empty() && self.ready.capacity() > READY_KEPT {
                self.ready.shrink_to(READY_KEPT);
            }
            (position, message, false)
        };
        self.ready_bytes = self.ready_bytes.saturating_sub(taken.1.size());
        Some(taken)
    }

    #[inline]
    fn hand_out(&mut self, turn: Turn, position: Position, message: Message, redelivered: bool) {
        self.delivered += 1;
        self.unsettled += usize::from(self.consumers.give(turn, position, message, redelivered));
    }

    fn dispatch(&mut self) {
        loop {
            while self.ready_count() > 0
                && let Some(turn) = self.consumers.next()
                && let Some((position, message, redelivered)) = self.pop()
            {
                self.hand_out(turn, position, message, redelivered);
            }
            self.consumers.flush();
            // Asked even when nothing waits by now: a consumer that is never told of its room would be passed over by
            // what comes next.
            if !self.consumers.await_room() || self.ready_count() == 0 {
                return;
            }
            self.consumers.begin_batch();
        }
    }
}

#[cfg(test)]
mod tests;
