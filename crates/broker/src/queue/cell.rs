//! A queue in its cell: the short lock under which a queue changes, and nothing but.
//!
//! Publishers' and consumers' tasks call it directly with batches. Nothing inside waits, does I/O or takes a lock other
//! than a mailbox's. Wakers are called after the lock is released.

use std::sync::Arc;
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};

use super::{Classic, ConsumerId, Position, Returned, SharedPrefetch, Subscription};
use crate::error::Resource;
use crate::mailbox::{Event, Mailbox};
use crate::message::Message;
use crate::topology::QueueId;
use crate::{Error, Name};

/// Backlog above which publishers are asked to pause while consumers lag behind, in octets of message.
const PAUSE_ABOVE: usize = 1024 * 1024;
/// Backlog below which they go on.
const RESUME_BELOW: usize = 256 * 1024;

/// Deliveries that must happen during a pause for pausing to be worth it. Consumers that take this many are held up by the
/// machine, and publishers only take time from them; slower ones are held up by their own work, and a backlog is what
/// their queue is for.
const PAUSE_DELIVERIES: u64 = 500;
/// Deliveries for which a queue does not ask for a pause again after one that was not worth it.
const PAUSE_AGAIN_AFTER: u64 = 5_000;

/// What a queue was declared as, as far as its cell needs it.
#[derive(Debug, Clone)]
pub struct QueueInfo {
    /// Its id.
    pub id: QueueId,
    /// Its vhost.
    pub vhost: Name,
    /// Its name.
    pub name: Name,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
}

/// Whether a publisher should go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Go on.
    Go,
    /// Read nothing from this connection until [`Event::PublishingResumed`], or until a short while has passed: consumers
    /// lag behind, and in = out serves everybody better than a growing queue.
    Pause,
}

/// A queue's counters, read at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Messages waiting to be handed out.
    pub ready: usize,
    /// Messages handed out and not yet settled.
    pub unsettled: usize,
    /// Consumers.
    pub consumers: usize,
}

#[derive(Debug)]
struct State {
    queue: Classic<Arc<Mailbox>>,
    /// Publishers that paused.
    paused: Vec<Arc<Mailbox>>,
    /// No pause is asked for before this many deliveries.
    no_pause_before: u64,
    closed: bool,
}

/// A queue and its lock.
#[derive(Debug)]
pub struct QueueCell {
    info: QueueInfo,
    state: Mutex<State>,
}

impl QueueCell {
    /// An empty queue.
    pub fn new(info: QueueInfo) -> Self {
        let state = State { queue: Classic::default(), paused: Vec::new(), no_pause_before: 0, closed: false };
        Self { info, state: Mutex::new(state) }
    }

    /// What it was declared as.
    pub fn info(&self) -> &QueueInfo {
        &self.info
    }

    /// The queue as errors name it.
    pub fn resource(&self) -> Resource {
        Resource::queue(&self.info.vhost, &self.info.name)
    }

    /// Its counters.
    pub fn counts(&self) -> QueueCounts {
        self.state.lock().counts()
    }

    /// Appends messages in order, emptying `batch`. A queue that was deleted meanwhile drops them.
    pub fn enqueue(&self, batch: &mut Vec<Message>, publisher: &Arc<Mailbox>) -> Pace {
        let mut state = self.state.lock();
        if state.closed {
            batch.clear();
            return Pace::Go;
        }
        state.queue.enqueue(batch);
        let pace = state.pace(publisher);
        finish(state);
        pace
    }

    /// Tells that a pause, begun when `delivered` messages had been handed out, passed without a resume.
    pub fn pause_timed_out(&self, delivered: u64) {
        let mut state = self.state.lock();
        let now = state.queue.delivered_count();
        if now.saturating_sub(delivered) < PAUSE_DELIVERIES {
            state.no_pause_before = now + PAUSE_AGAIN_AFTER;
        }
    }

    /// Messages handed out since the queue exists.
    pub fn delivered_count(&self) -> u64 {
        self.state.lock().queue.delivered_count()
    }

    /// Adds a consumer, which at once gets what waits.
    pub fn subscribe(&self, subscription: Subscription<Arc<Mailbox>>) -> Result<ConsumerId, Error> {
        let mut state = self.open()?;
        let subscribed = state.queue.subscribe(subscription);
        finish(state);
        subscribed.map_err(|_| Error::ExclusiveUse { queue: self.resource() })
    }

    /// Removes a consumer; what it was handed stays unsettled. Says whether that was the last one.
    pub fn unsubscribe(&self, consumer: ConsumerId) -> bool {
        let mut state = self.state.lock();
        let removed = state.queue.unsubscribe(consumer).is_some();
        let last = removed && state.queue.consumer_count() == 0;
        finish(state);
        last
    }

    /// Goes on with a consumer that waited for room or shared prefetch.
    pub fn resume(&self, consumer: ConsumerId) {
        let mut state = self.state.lock();
        state.queue.resume(consumer);
        finish(state);
    }

    /// Sets the prefetch a consumer shares with its channel's others.
    pub fn share_prefetch(&self, consumer: ConsumerId, shared: Option<Arc<SharedPrefetch>>) {
        let mut state = self.state.lock();
        state.queue.share_prefetch(consumer, shared);
        finish(state);
    }

    /// Takes the first message: where it stood, itself, whether it was handed out before; and how many still wait.
    pub fn take(&self, no_ack: bool) -> Result<Option<(Position, Message, bool, usize)>, Error> {
        let mut state = self.open()?;
        let taken = state.queue.take(no_ack);
        let waiting = state.queue.ready_count();
        finish(state);
        Ok(taken.map(|(position, message, redelivered)| (position, message, redelivered, waiting)))
    }

    /// Counts deliveries settled.
    pub fn settle(&self, consumer: Option<ConsumerId>, count: u32) {
        let mut state = self.state.lock();
        state.queue.settle(consumer, count);
        finish(state);
    }

    /// Puts messages back where they stood, those of all consumers before anything is handed out again. A queue that was
    /// deleted meanwhile drops them.
    pub fn put_back(&self, returned: &mut Vec<Returned>) {
        let mut state = self.state.lock();
        if state.closed {
            returned.clear();
            return;
        }
        state.queue.put_back(returned);
        finish(state);
    }

    /// [`QueueCell::put_back`] for one consumer, emptying `messages`.
    pub fn requeue(&self, consumer: Option<ConsumerId>, messages: &mut Vec<(Position, Message)>) {
        self.put_back(&mut vec![Returned { consumer, settled: false, messages: std::mem::take(messages) }]);
    }

    /// Puts messages back that a consumer was handed for good (`no_ack`) but that never left the broker.
    pub fn take_back(&self, messages: &mut Vec<(Position, Message)>) {
        self.put_back(&mut vec![Returned { consumer: None, settled: true, messages: std::mem::take(messages) }]);
    }

    /// Drops everything that waits; says how much that was.
    pub fn purge(&self) -> Result<usize, Error> {
        let mut state = self.open()?;
        let count = state.queue.purge();
        finish(state);
        Ok(count)
    }

    /// Ends the queue unless a condition forbids it; consumers are told. Says how many messages waited.
    pub fn close(&self, condition: CloseCondition) -> Result<usize, Error> {
        let mut state = self.open()?;
        let counts = state.counts();
        if condition.if_unused && counts.consumers > 0 {
            return Err(Error::InUse { resource: self.resource() });
        }
        if condition.if_empty && counts.ready > 0 {
            return Err(Error::NotEmpty { queue: self.resource() });
        }
        state.closed = true;
        let (count, consumers) = state.queue.close();
        let mut wakers: Vec<Waker> = Vec::new();
        for consumer in consumers {
            let event = Event::ConsumerCancelled { key: consumer.key, queue: self.info.id };
            wakers.extend(consumer.sink.post(event));
        }
        wakers.extend(state.paused.drain(..).filter_map(|publisher| publisher.post(Event::PublishingResumed)));
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Ok(count)
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.state.lock();
        if state.closed { Err(Error::NotFound { resource: self.resource() }) } else { Ok(state) }
    }
}

/// What must hold for a queue to be closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CloseCondition {
    /// It has no consumer.
    pub if_unused: bool,
    /// Nothing waits in it.
    pub if_empty: bool,
}

impl State {
    fn counts(&self) -> QueueCounts {
        QueueCounts {
            ready: self.queue.ready_count(),
            unsettled: self.queue.unsettled_count(),
            consumers: self.queue.consumer_count(),
        }
    }

    fn pace(&mut self, publisher: &Arc<Mailbox>) -> Pace {
        if self.queue.ready_bytes() < PAUSE_ABOVE
            || self.queue.consumer_count() == 0
            || self.queue.delivered_count() < self.no_pause_before
        {
            return Pace::Go;
        }
        // Connections that ended meanwhile have nobody to tell, and must not gather while the backlog lasts.
        self.paused.retain(|paused| Arc::strong_count(paused) > 1);
        if !self.paused.iter().any(|paused| Arc::ptr_eq(paused, publisher)) {
            self.paused.push(Arc::clone(publisher));
        }
        Pace::Pause
    }
}

/// Ends a batch: releases the lock, then wakes whoever got something.
fn finish(mut state: MutexGuard<'_, State>) {
    let mut wakers = state.queue.take_wakers();
    if !state.paused.is_empty() && (state.queue.ready_bytes() < RESUME_BELOW || state.queue.consumer_count() == 0) {
        wakers.extend(state.paused.drain(..).filter_map(|publisher| publisher.post(Event::PublishingResumed)));
    }
    drop(state);
    wakers.into_iter().for_each(Waker::wake);
}

#[cfg(test)]
mod tests;
