//! The one hand-over between connections: a queue puts deliveries in, the connection's own task takes them out.
//!
//! A mailbox belongs to a connection, not to a consumer, so that one wake-up covers all of them. It comes last in the
//! lock order and its lock is held for a swap or a copy of pointers only.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use crate::queue::{Delivery, Sink};
use crate::topology::QueueId;

/// Octets of message that wait in a mailbox before its consumers are passed over. Large enough to keep a connection busy
/// while the queue's next batch comes, small enough to stay in cache and to keep dispatch fair.
pub const MAILBOX_BYTES: usize = 256 * 1024;

/// Something other than a delivery that a connection is told.
#[derive(Debug, Clone)]
pub enum Event {
    /// A consumer's queue is gone.
    ConsumerCancelled {
        /// The consumer's key.
        key: u32,
        /// The queue it consumed from; the key may stand for another consumer by now.
        queue: QueueId,
    },
    /// A queue that had asked for a pause in publishing drained.
    PublishingResumed,
    /// The node closes the connection, for this reason.
    Close(CloseReason),
}

/// Why the node closes a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The node stops.
    Shutdown,
}

/// What came in since the last look. Reuse one over many looks: its memory changes places with the mailbox's.
#[derive(Debug, Default)]
pub struct Inbox {
    /// Messages for the connection's consumers, in each queue's order.
    pub deliveries: Vec<Delivery>,
    /// Everything else, to be handled after the deliveries.
    pub events: Vec<Event>,
    /// Keys of consumers whose queue waits for room, which there now is.
    pub awaiting_room: Vec<u32>,
}

impl Inbox {
    /// Whether nothing came in.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty() && self.events.is_empty() && self.awaiting_room.is_empty()
    }

    /// Gives memory back that an idle connection does not need.
    pub fn shrink(&mut self) {
        self.deliveries = Vec::new();
        self.events = Vec::new();
        self.awaiting_room = Vec::new();
    }
}

#[derive(Debug, Default)]
struct State {
    inbox: Inbox,
    waker: Option<Waker>,
}

/// A connection's mailbox.
#[derive(Debug, Default)]
pub struct Mailbox {
    /// Octets of message in the inbox; read without the lock by queues.
    bytes: AtomicUsize,
    state: Mutex<State>,
}

impl Mailbox {
    /// Takes everything out; `inbox` must be empty.
    pub fn take(&self, inbox: &mut Inbox) {
        let mut state = self.state.lock();
        std::mem::swap(&mut state.inbox, inbox);
        self.bytes.store(0, Ordering::Relaxed);
    }

    /// Sets who is woken when something comes in; false if something is there already.
    pub fn register(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if !state.inbox.is_empty() {
            return false;
        }
        match &mut state.waker {
            Some(old) if old.will_wake(waker) => {}
            slot => *slot = Some(waker.clone()),
        }
        true
    }

    /// Puts an event in. The waker, if there is one to call, is the caller's to call when it holds no lock.
    #[must_use]
    pub fn post(&self, event: Event) -> Option<Waker> {
        let mut state = self.state.lock();
        state.inbox.events.push(event);
        state.waker.take()
    }

    /// Gives memory back while nothing is in.
    pub fn shrink(&self) {
        let mut state = self.state.lock();
        if state.inbox.is_empty() {
            state.inbox.shrink();
        }
    }
}

impl Sink for Arc<Mailbox> {
    fn room(&self) -> usize {
        MAILBOX_BYTES.saturating_sub(self.bytes.load(Ordering::Relaxed))
    }

    fn deliver(&self, batch: &mut Vec<Delivery>) -> Option<Waker> {
        let added: usize = batch.iter().map(cost).sum();
        let mut state = self.state.lock();
        if state.inbox.deliveries.is_empty() {
            std::mem::swap(&mut state.inbox.deliveries, batch);
        } else {
            state.inbox.deliveries.append(batch);
        }
        self.bytes.fetch_add(added, Ordering::Relaxed);
        state.waker.take()
    }

    fn await_room(&self, key: u32) -> bool {
        let mut state = self.state.lock();
        if self.room() > 0 {
            return false;
        }
        state.inbox.awaiting_room.push(key);
        true
    }
}

/// What a delivery counts against a mailbox's room, in octets.
pub(crate) fn cost(delivery: &Delivery) -> usize {
    delivery.message.size() + std::mem::size_of::<Delivery>()
}
