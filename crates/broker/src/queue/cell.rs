//! A queue in its cell: the short lock under which a queue changes, and nothing but.
//!
//! Publishers' and consumers' tasks call it directly with batches. Nothing inside waits, does I/O or takes a lock other
//! than the store's or a mailbox's. Wakers are called after the lock is released.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};

use super::consumers::ConsumerInfo;
use super::stored::Stored;
use super::{
    Classic, ConsumerId, Fanout, Loaded, Position, QueueSettings, Restored, Returned, SharedPrefetch, Subscription,
    Taken,
};
use crate::error::Resource;
use crate::mailbox::{Event, Mailbox};
use crate::message::Message;
use crate::store::{Area, MessageStore, StorePace, StorePosition};
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
    /// Whether its persistent messages survive a restart.
    pub durable: bool,
}

/// Whether a publisher should go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Go on.
    Go,
    /// Read nothing from this connection until [`Event::PublishingResumed`], or until a short while has passed: consumers
    /// lag behind, and in = out serves everybody better than a growing queue.
    Pause,
    /// Read nothing from this connection until this area of the store is so far: it has enough to write.
    AwaitDisk(Area, StorePosition),
}

/// What became of a batch of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enqueued {
    /// Whether the publisher should go on.
    pub pace: Pace,
    /// The position of the log with which what has to survive is on disk; none if there is nothing of the kind.
    pub stored: Option<StorePosition>,
}

/// What the end of a consumer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribed {
    /// Whether the queue has no consumer now.
    pub was_last: bool,
    /// Whether it was the single active consumer: nobody is handed messages until [`QueueCell::hand_over`].
    pub was_active: bool,
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
    stored: Option<Stored>,
    /// Who waits for the first message to be read from disk (basic.get).
    getters: Vec<Arc<Mailbox>>,
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
    /// Whether the store has to hear of settlements; set before the first message that it concerns is handed out.
    is_stored: AtomicBool,
    state: Mutex<State>,
}

impl QueueCell {
    /// An empty queue, all in memory.
    pub fn new(info: QueueInfo) -> Self {
        Self::with(info, Classic::default(), None)
    }

    /// A queue with a store, and what it has there.
    pub fn stored(info: QueueInfo, store: &Arc<dyn MessageStore>, restored: Option<Restored>) -> Self {
        let stored = Stored::new(Arc::clone(store), info.id, info.durable, restored.is_some());
        Self::with(info, restored.map(Classic::restored).unwrap_or_default(), Some(stored))
    }

    fn with(info: QueueInfo, queue: Classic<Arc<Mailbox>>, stored: Option<Stored>) -> Self {
        let (paused, getters) = (Vec::new(), Vec::new());
        let is_stored = AtomicBool::new(stored.as_ref().is_some_and(Stored::holds_messages));
        let state = State { queue, stored, getters, paused, no_pause_before: 0, closed: false };
        Self { info, is_stored, state: Mutex::new(state) }
    }

    /// Acts by other settings from now on.
    pub fn configure(&self, settings: &QueueSettings) {
        self.set_single_active(settings.single_active_consumer);
    }

    /// What it was declared as.
    pub fn info(&self) -> &QueueInfo {
        &self.info
    }

    /// Whether positions of settled messages matter: to [`QueueCell::settle`] and [`QueueCell::discard`].
    #[inline]
    pub fn is_stored(&self) -> bool {
        self.is_stored.load(Ordering::Relaxed)
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
    pub fn enqueue(&self, batch: &mut Vec<Message>, fanout: Fanout, publisher: &Arc<Mailbox>) -> Enqueued {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.closed {
            batch.clear();
            return Enqueued { pace: Pace::Go, stored: None };
        }
        let (mut appended, mut relieved) = (None, None);
        if let Some(stored) = &mut state.stored {
            appended = stored.append(state.queue.next_position(), batch, fanout);
            if appended.is_some() && !self.is_stored() {
                self.is_stored.store(true, Ordering::Relaxed);
            }
        }
        state.queue.enqueue(batch);
        if let Some(stored) = &mut state.stored {
            relieved = stored.page_out(&mut state.queue);
            if stored.holds_messages() && !self.is_stored() {
                self.is_stored.store(true, Ordering::Relaxed);
            }
        }
        let pace = match appended {
            Some((position, StorePace::Pause)) => Pace::AwaitDisk(Area::Log, position),
            _ => match relieved {
                Some(position) => Pace::AwaitDisk(Area::PageOut, position),
                None => state.pace(publisher),
            },
        };
        finish(guard);
        Enqueued { pace, stored: appended.map(|(position, _)| position) }
    }

    /// Takes in what was read back from disk, and goes on.
    pub fn loaded(&self, loaded: Loaded) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.closed {
            return;
        }
        if let Some(stored) = &mut state.stored {
            stored.loaded(&mut state.queue, loaded);
        }
        let mut wakers: Vec<Waker> = Vec::new();
        wakers.extend(state.getters.drain(..).filter_map(|getter| getter.post(Event::JournalMoved)));
        finish(guard);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Does what is due by now.
    pub fn wake(&self) {
        finish(self.state.lock());
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

    /// Removes a consumer; what it was handed stays unsettled.
    pub fn unsubscribe(&self, consumer: ConsumerId) -> Unsubscribed {
        let mut state = self.state.lock();
        let removed = state.queue.unsubscribe(consumer);
        let was_last = removed.is_some() && state.queue.consumer_count() == 0;
        let was_active = removed.is_some_and(|(_, was_active)| was_active);
        finish(state);
        Unsubscribed { was_last, was_active }
    }

    /// What a consumer that is gone gives back has been put back: the next one may take its place.
    pub fn hand_over(&self, gone: ConsumerId) {
        let mut state = self.state.lock();
        state.queue.hand_over(gone);
        finish(state);
    }

    /// Sets whether only one consumer is handed messages, as long as it is there.
    pub fn set_single_active(&self, single_active: bool) {
        let mut state = self.state.lock();
        state.queue.set_single_active(single_active);
        finish(state);
    }

    /// The consumers there are.
    pub fn consumers(&self) -> Vec<ConsumerInfo> {
        self.state.lock().queue.consumers().collect()
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

    /// Takes the first message, and says how many still wait. If it has to be read from disk, the mailbox is told when to ask
    /// again ([`Event::JournalMoved`]).
    pub fn take(&self, no_ack: bool, mailbox: &Arc<Mailbox>) -> Result<(Taken, usize), Error> {
        let mut state = self.open()?;
        let taken = state.queue.take(no_ack);
        if taken == Taken::OnDisk && !state.getters.iter().any(|getter| Arc::ptr_eq(getter, mailbox)) {
            state.getters.push(Arc::clone(mailbox));
        }
        let waiting = state.queue.ready_count();
        finish(state);
        Ok((taken, waiting))
    }

    /// Counts deliveries settled, and drops what stood at these positions. Gives back the position of the log with which
    /// that is on disk, if the log has to do with it.
    pub fn settle(&self, consumer: Option<ConsumerId>, count: u32, positions: &[Range<u64>]) -> Option<StorePosition> {
        let mut state = self.state.lock();
        let written = state.drop_stored(positions);
        state.queue.settle(consumer, count);
        finish(state);
        written
    }

    /// Drops what stood at these positions and counted as settled when it was handed out (`no_ack`).
    pub fn discard(&self, positions: &[Range<u64>]) {
        self.state.lock().drop_stored(positions);
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

    /// Drops everything that waits; says how much that was, and the position of the log with which that is on disk.
    pub fn purge(&self) -> Result<(usize, Option<StorePosition>), Error> {
        let mut state = self.open()?;
        let (count, positions) = state.queue.purge();
        let written = state.drop_stored(&positions);
        finish(state);
        Ok((count, written))
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
        if let Some(stored) = &mut state.stored {
            stored.delete();
        }
        let mut wakers: Vec<Waker> = Vec::new();
        for consumer in consumers {
            let event = Event::ConsumerCancelled { key: consumer.key, queue: self.info.id };
            wakers.extend(consumer.sink.post(event));
        }
        wakers.extend(state.paused.drain(..).filter_map(|publisher| publisher.post(Event::PublishingResumed)));
        wakers.extend(state.getters.drain(..).filter_map(|getter| getter.post(Event::JournalMoved)));
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

    /// Whether publishers should wait for consumers that lag behind, if there are any.
    fn is_above(&self, octets: usize) -> bool {
        self.queue.ready_bytes() >= octets || self.queue.has_cold()
    }

    fn drop_stored(&self, positions: &[Range<u64>]) -> Option<StorePosition> {
        if self.closed { None } else { self.stored.as_ref()?.settle(positions) }
    }

    fn pace(&mut self, publisher: &Arc<Mailbox>) -> Pace {
        if !self.is_above(PAUSE_ABOVE)
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

/// Ends a batch: tells the store, releases the lock, then wakes whoever got something.
fn finish(mut guard: MutexGuard<'_, State>) {
    let state = &mut *guard;
    let mut wakers = state.queue.take_wakers();
    let has_consumers = state.queue.consumer_count() > 0;
    if !state.paused.is_empty() && (!state.is_above(RESUME_BELOW) || !has_consumers) {
        wakers.extend(state.paused.drain(..).filter_map(|publisher| publisher.post(Event::PublishingResumed)));
    }
    if let Some(stored) = &mut state.stored
        && !state.closed
    {
        stored.finish(&state.queue, has_consumers || !state.getters.is_empty());
    }
    drop(guard);
    wakers.into_iter().for_each(Waker::wake);
}

#[cfg(test)]
mod tests;
