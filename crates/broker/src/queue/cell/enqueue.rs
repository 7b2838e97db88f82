//! How messages come into a queue, and whether their publishers should go on.

use std::sync::Arc;
use std::task::Waker;

use super::{QueueCell, State};
use crate::Weight;
use crate::mailbox::{Event, Mailbox};
use crate::message::Message;
use crate::queue::Fanout;
use crate::store::{Area, StorePace, StorePosition};

/// Backlog above which publishers are asked to pause while consumers lag behind, in octets of message.
pub(super) const PAUSE_ABOVE: usize = 1024 * 1024;
/// Backlog below which they go on.
pub(super) const RESUME_BELOW: usize = 256 * 1024;

/// Deliveries that must happen during a pause for pausing to be worth it. Consumers that take this many are held up by the
/// machine, and publishers only take time from them; slower ones are held up by their own work, and a backlog is what
/// their queue is for.
pub(super) const PAUSE_DELIVERIES: u64 = 500;
/// Deliveries for which a queue does not ask for a pause again after one that was not worth it.
pub(super) const PAUSE_AGAIN_AFTER: u64 = 5_000;

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
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enqueued {
    /// Whether the publisher should go on.
    pub pace: Pace,
    /// The position of the log with which what has to survive is on disk; none if there is nothing of the kind.
    pub stored: Option<StorePosition>,
    /// Which messages of the batch the queue refused, counted from 0; empty unless [`QueueCell::may_refuse`].
    pub refused: Vec<usize>,
}

impl QueueCell {
    /// Appends messages in order, emptying `batch`. A queue that was deleted meanwhile drops them.
    pub fn enqueue(&self, batch: &mut Vec<Message>, fanout: Fanout, publisher: &Arc<Mailbox>) -> Enqueued {
        self.enqueue_for(batch, None, fanout, Some(publisher), self.may_refuse())
    }

    /// [`QueueCell::enqueue`] for messages whose publishers do not know yet that the queue [may refuse](Self::may_refuse) some:
    /// it refuses none. `weight` is that of all of them.
    pub fn enqueue_all(
        &self,
        batch: &mut Vec<Message>,
        weight: Weight,
        fanout: Fanout,
        publisher: &Arc<Mailbox>,
    ) -> Enqueued {
        self.enqueue_for(batch, Some(weight), fanout, Some(publisher), false)
    }

    /// [`QueueCell::enqueue`] for messages that come from the broker itself, which has nobody to pause.
    pub fn accept(&self, batch: &mut Vec<Message>, fanout: Fanout) -> Enqueued {
        self.enqueue_for(batch, None, fanout, None, self.may_refuse())
    }

    fn enqueue_for(
        &self,
        batch: &mut Vec<Message>,
        weight: Option<Weight>,
        fanout: Fanout,
        publisher: Option<&Arc<Mailbox>>,
        may_refuse: bool,
    ) -> Enqueued {
        let mut guard = self.lock();
        let state = &mut *guard;
        if publisher.is_some() {
            state.counts.published += batch.len() as u64;
        }
        if state.closed {
            // A client's messages go the way of the queue; the broker's own may have another one to go.
            let refused = if publisher.is_some() { Vec::new() } else { (0..batch.len()).collect() };
            batch.clear();
            return Enqueued { pace: Pace::Go, stored: None, refused };
        }
        if self.wants_time() {
            // Their publishers may not have known yet.
            let now = self.context.now();
            let untimed = batch.iter_mut().filter(|message| message.published_at().is_none());
            untimed.for_each(|message| *message = message.stamped(now));
        }
        let depended_on_time = state.queue.depends_on_time();
        let mut refused = Vec::new();
        let (appended, relieved) = if may_refuse {
            self.append_admitted(state, batch, fanout, &mut refused)
        } else {
            self.append(state, batch, weight, fanout)
        };
        if !depended_on_time && state.queue.depends_on_time() {
            state.queue.set_now(self.context.now());
            state.queue.go_on();
        }
        let pace = match (appended, relieved, publisher) {
            (Some((position, StorePace::Pause)), ..) => Pace::AwaitDisk(Area::Log, position),
            (_, Some(position), _) => Pace::AwaitDisk(Area::PageOut, position),
            (_, None, Some(publisher)) => state.pace(publisher),
            (_, None, None) => Pace::Go,
        };
        self.finish(guard);
        Enqueued { pace, stored: appended.map(|(position, _)| position), refused }
    }

    #[inline]
    fn append(
        &self,
        state: &mut State,
        batch: &mut Vec<Message>,
        mut weight: Option<Weight>,
        fanout: Fanout,
    ) -> (Option<(StorePosition, StorePace)>, Option<StorePosition>) {
        let (mut appended, mut relieved) = (None, None);
        if let Some(deduplication) = &mut state.deduplication {
            weight = None;
            deduplication.admit(batch, state.queue.lanes(), state.queue.ttl_ms(), self.context.now());
        }
        if let Some(stored) = &mut state.stored {
            appended = stored.append(state.queue.lanes(), batch, fanout);
            if appended.is_some() {
                self.note_stored(state);
            }
        }
        state.take_in(batch, weight);
        if let Some(stored) = &mut state.stored {
            relieved = stored.page_out(state.queue.lanes_mut());
            self.note_stored(state);
        }
        (appended, relieved)
    }

    /// Appends what there is room for, which consumers may make while messages come in.
    fn append_admitted(
        &self,
        state: &mut State,
        batch: &mut Vec<Message>,
        fanout: Fanout,
        refused: &mut Vec<usize>,
    ) -> (Option<(StorePosition, StorePace)>, Option<StorePosition>) {
        let (mut appended, mut relieved) = (None, None);
        let mut index = 0;
        let mut rest = std::mem::take(batch).into_iter();
        while !rest.as_slice().is_empty() {
            let admitted = state.queue.admits(rest.as_slice());
            index += admitted;
            if admitted > 0 {
                batch.extend(rest.by_ref().take(admitted));
                let (stored, freed) = self.append(state, batch, None, fanout);
                appended = stored.or(appended);
                relieved = freed.or(relieved);
                continue;
            }
            let count = rest.as_slice().iter().take_while(|message| !state.queue.has_room_for(message)).count();
            refused.extend(index..index + count);
            index += count;
            rest.by_ref().take(count).for_each(|message| state.queue.refuse(message));
        }
        (appended, relieved)
    }

    /// Tells that a pause, begun when `delivered` messages had been handed out, passed without a resume.
    pub fn pause_timed_out(&self, delivered: u64) {
        let mut state = self.state.lock();
        let now = state.queue.delivered_count();
        if now.saturating_sub(delivered) < PAUSE_DELIVERIES {
            state.no_pause_before = now + PAUSE_AGAIN_AFTER;
        }
    }
}

impl State {
    /// Whether publishers should wait for consumers that lag behind, if there are any.
    fn is_above(&self, octets: usize) -> bool {
        self.queue.ready_bytes() >= octets || self.queue.has_cold()
    }

    fn pace(&mut self, publisher: &Arc<Mailbox>) -> Pace {
        let outruns_consumers = self.is_above(PAUSE_ABOVE)
            && self.queue.consumer_count() > 0
            && self.queue.delivered_count() >= self.no_pause_before;
        if !outruns_consumers && !self.queue.is_too_long() {
            return Pace::Go;
        }
        // Connections that ended meanwhile have nobody to tell, and must not gather while the backlog lasts.
        self.paused.retain(|paused| Arc::strong_count(paused) > 1);
        if !self.paused.iter().any(|paused| Arc::ptr_eq(paused, publisher)) {
            self.paused.push(Arc::clone(publisher));
        }
        Pace::Pause
    }

    /// Lets publishers go on that paused, if they need not any more.
    #[inline]
    pub(super) fn resume_publishers(&mut self, wakers: &mut Vec<Waker>) {
        let has_caught_up = |state: &Self| !state.is_above(RESUME_BELOW) || state.queue.consumer_count() == 0;
        if !self.paused.is_empty() && has_caught_up(self) && !self.queue.is_too_long() {
            wakers.extend(self.paused.drain(..).filter_map(|publisher| publisher.post(Event::PublishingResumed)));
        }
    }
}
