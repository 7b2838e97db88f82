//! The one hand-over between connections: a queue puts deliveries in, the connection's own task takes them out.
//!
//! A mailbox belongs to a connection, not to a consumer, so that one wake-up covers all of them. It comes last in the
//! lock order and its lock is held for a swap or a copy of pointers only.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

use crate::Name;
use crate::access::Outcome;
use crate::queue::{Delivery, Sink};
use crate::report::Question;
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
    /// The time in which a consumer has to settle what its queue hands it is another one now.
    ConsumerTimeoutChanged {
        /// The consumer's key.
        key: u32,
        /// The queue; the key may stand for another consumer by now.
        queue: QueueId,
    },
    /// A queue that had asked for a pause in publishing drained.
    PublishingResumed,
    /// The journal or the message log wrote, or failed to write, something the connection waits for; or the store read
    /// what it asked for.
    JournalMoved,
    /// The node closes the connection, for this reason.
    Close(CloseReason),
    /// What the connection's user may do has changed.
    AccessChanged,
    /// The answer to something that was asked about users.
    Access {
        /// The number of the request.
        ticket: u64,
        /// What came of it.
        outcome: Box<Outcome>,
    },
    /// Somebody wants to know how the connection is.
    Report(Question),
}

impl Event {
    /// Whether it matters also to a connection whose client reads nothing.
    const fn is_urgent(&self) -> bool {
        matches!(self, Self::Close(_) | Self::Report(_))
    }
}

/// Why the node closes a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CloseReason {
    /// The node stops.
    Shutdown,
    /// The vhost it works in is gone.
    VhostDeleted {
        /// Its name.
        vhost: Name,
    },
    /// The user it logged in as is gone.
    UserDeleted {
        /// Its name.
        user: Name,
    },
    /// An operator wants it so.
    Operator {
        /// What the client is told.
        reason: Name,
    },
}

/// What came in since the last look. Reuse one over many looks: its memory changes places with the mailbox's.
#[derive(Debug, Default)]
pub struct Inbox {
    /// Messages for the connection's consumers, in each queue's order.
    pub deliveries: Vec<Delivery>,
    /// Everything else, to be handled after the deliveries.
    pub events: Vec<Event>,
    /// Keys of consumers whose queue waits for room, which there now is, to be resumed in this order.
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
    /// Events that are handled whatever keeps the connection from handling the others.
    urgent: Vec<Event>,
    waker: Option<Waker>,
    /// Who is woken by urgent events only.
    urgent_waker: Option<Waker>,
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
        if !state.urgent.is_empty() {
            inbox.events.append(&mut state.urgent);
        }
        self.bytes.store(0, Ordering::Relaxed);
        drop(state);
        // The first to be resumed may take all the room, and the others ask again in the same order: each time it has to be
        // another one.
        if !inbox.awaiting_room.is_empty() {
            inbox.awaiting_room.rotate_left(1);
        }
    }

    /// Sets who is woken when something comes in; false if something is there already.
    pub fn register(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if !state.inbox.is_empty() || !state.urgent.is_empty() {
            return false;
        }
        set(&mut state.waker, waker);
        true
    }

    /// Takes out what cannot wait, and leaves the rest.
    pub fn take_urgent(&self) -> Vec<Event> {
        std::mem::take(&mut self.state.lock().urgent)
    }

    /// Sets who is woken when something comes in that cannot wait; false if there is such a thing already.
    pub fn register_urgent(&self, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if !state.urgent.is_empty() {
            return false;
        }
        set(&mut state.urgent_waker, waker);
        true
    }

    /// Puts an event in. The waker, if there is one to call, is the caller's to call when it holds no lock.
    #[must_use]
    pub fn post(&self, event: Event) -> Option<Waker> {
        let mut state = self.state.lock();
        if event.is_urgent() {
            // A connection that hears nothing gathers neither questions that nobody has any more, nor the same word again.
            state.urgent.retain(|other| match other {
                Event::Report(question) => !question.is_late(),
                _ => !matches!(event, Event::Close(_)),
            });
            state.urgent.push(event);
            // Both are of one task, if both are there.
            let urgent = state.urgent_waker.take();
            return state.waker.take().or(urgent);
        }
        // Told once is told; a connection that takes nothing for a while must not gather the same word a thousand times.
        let is_said = match event {
            Event::PublishingResumed => {
                state.inbox.events.iter().any(|event| matches!(event, Event::PublishingResumed))
            }
            Event::JournalMoved => state.inbox.events.iter().any(|event| matches!(event, Event::JournalMoved)),
            Event::AccessChanged => state.inbox.events.iter().any(|event| matches!(event, Event::AccessChanged)),
            _ => false,
        };
        if !is_said {
            state.inbox.events.push(event);
        }
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

fn set(slot: &mut Option<Waker>, waker: &Waker) {
    match slot {
        Some(old) if old.will_wake(waker) => {}
        slot => *slot = Some(waker.clone()),
    }
}

/// What a delivery counts against a mailbox's room, in octets.
pub(crate) fn cost(delivery: &Delivery) -> usize {
    delivery.message.size() + std::mem::size_of::<Delivery>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Draft;
    use crate::queue::Position;
    use crate::wakes::Wakes;

    fn delivery(body: &[u8]) -> Delivery {
        let mut draft = Draft::new(Vec::new(), "", "q");
        draft.body(body);
        Delivery { key: 7, redelivered: false, position: Position(0), message: draft.message() }
    }

    fn deliver(mailbox: &Arc<Mailbox>, bodies: &[&[u8]]) -> Option<Waker> {
        let mut batch = bodies.iter().map(|body| delivery(body)).collect();
        let waker = mailbox.deliver(&mut batch);
        assert!(batch.is_empty());
        waker
    }

    fn take(mailbox: &Mailbox) -> Inbox {
        let mut inbox = Inbox::default();
        mailbox.take(&mut inbox);
        inbox
    }

    #[test]
    fn what_comes_in_is_taken_in_order_and_once() {
        let mailbox = Arc::new(Mailbox::default());
        assert!(take(&mailbox).is_empty());
        assert!(deliver(&mailbox, &[b"a", b"b"]).is_none());
        assert!(mailbox.post(Event::PublishingResumed).is_none());
        assert!(deliver(&mailbox, &[b"c"]).is_none());
        let inbox = take(&mailbox);
        let bodies: Vec<_> = inbox.deliveries.iter().map(|delivery| delivery.message.body()).collect();
        assert_eq!((bodies, inbox.events.len()), (vec![&b"a"[..], b"b", b"c"], 1));
        assert!(take(&mailbox).is_empty());
    }

    #[test]
    fn what_was_said_is_not_said_again() {
        let mailbox = Mailbox::default();
        for event in [Event::PublishingResumed, Event::JournalMoved, Event::AccessChanged] {
            for _ in 0..3 {
                let _ = mailbox.post(event.clone());
            }
        }
        assert_eq!(take(&mailbox).events.len(), 3);
    }

    #[test]
    fn room_is_what_has_not_come_in_since_the_last_look() {
        let mailbox = Arc::new(Mailbox::default());
        assert_eq!(mailbox.room(), MAILBOX_BYTES);
        let mut left = MAILBOX_BYTES;
        for body in [vec![0; 1], vec![0; 1000], vec![0; 100_000]] {
            left -= cost(&delivery(&body));
            assert!(deliver(&mailbox, &[&body]).is_none());
            assert_eq!(mailbox.room(), left);
        }
        let _ = mailbox.post(Event::PublishingResumed);
        assert_eq!(mailbox.room(), left, "events take no room");
        deliver(&mailbox, &[&vec![0; MAILBOX_BYTES]]);
        assert_eq!(mailbox.room(), 0);
        take(&mailbox);
        assert_eq!(mailbox.room(), MAILBOX_BYTES);
    }

    #[test]
    fn only_a_full_mailbox_takes_requests_for_room() {
        let mailbox = Arc::new(Mailbox::default());
        assert!(!mailbox.await_room(1));
        deliver(&mailbox, &[&vec![0; MAILBOX_BYTES]]);
        assert!(mailbox.await_room(1));
        assert!(mailbox.await_room(2));
        assert!(mailbox.await_room(3));
        assert_eq!(take(&mailbox).awaiting_room, [2, 3, 1], "who asked first comes last");
        assert!(!mailbox.await_room(4));
        assert!(take(&mailbox).is_empty());
    }

    #[test]
    fn a_waker_is_given_out_once_to_the_first_who_puts_something_in() {
        let mailbox = Arc::new(Mailbox::default());
        let wakes = Wakes::new();
        assert!(mailbox.register(&wakes.waker()));
        assert!(mailbox.register(&wakes.waker()), "it may be registered again");
        for (expected, waker) in [
            (1, mailbox.post(Event::PublishingResumed)),
            (1, deliver(&mailbox, &[b"a"])),
            (1, mailbox.post(Event::PublishingResumed)),
        ] {
            waker.into_iter().for_each(Waker::wake);
            assert_eq!(wakes.count(), expected);
        }
        assert!(!mailbox.register(&wakes.waker()), "something is there to be taken first");
        take(&mailbox);
        let other = Wakes::new();
        assert!(mailbox.register(&wakes.waker()));
        assert!(mailbox.register(&other.waker()), "the last to register is woken");
        deliver(&mailbox, &[b"b"]).into_iter().for_each(Waker::wake);
        assert_eq!((wakes.count(), other.count()), (1, 1));
    }

    #[test]
    fn what_cannot_wait_is_there_for_those_who_take_nothing_else() {
        let mailbox = Arc::new(Mailbox::default());
        let wakes = Wakes::new();
        assert!(mailbox.register_urgent(&wakes.waker()));
        deliver(&mailbox, &[b"a"]).into_iter().for_each(Waker::wake);
        mailbox.post(Event::JournalMoved).into_iter().for_each(Waker::wake);
        assert_eq!(wakes.count(), 0);
        for _ in 0..2 {
            mailbox.post(Event::Close(CloseReason::Shutdown)).into_iter().for_each(Waker::wake);
            assert_eq!(wakes.count(), 1);
        }
        assert!(!mailbox.register_urgent(&wakes.waker()));
        assert_eq!(mailbox.take_urgent().len(), 1, "the same word is not said again");
        assert!(mailbox.register_urgent(&wakes.waker()));
        let _ = mailbox.post(Event::Close(CloseReason::Shutdown));
        let inbox = take(&mailbox);
        assert_eq!((inbox.deliveries.len(), inbox.events.len()), (1, 2), "everybody else gets it with the rest");
        assert!(mailbox.register(&wakes.waker()));
        let _ = mailbox.post(Event::Close(CloseReason::Shutdown));
        assert!(!mailbox.register(&wakes.waker()));
    }

    #[test]
    fn shrinking_keeps_what_is_in() {
        let mailbox = Arc::new(Mailbox::default());
        deliver(&mailbox, &[b"a"]);
        mailbox.shrink();
        let mut inbox = take(&mailbox);
        assert_eq!(inbox.deliveries.len(), 1);
        inbox.deliveries.clear();
        // The memory changes places with the mailbox's, where shrinking finds it.
        inbox.deliveries.reserve(1000);
        mailbox.take(&mut inbox);
        mailbox.shrink();
        mailbox.take(&mut inbox);
        assert_eq!(inbox.deliveries.capacity(), 0);
    }
}
