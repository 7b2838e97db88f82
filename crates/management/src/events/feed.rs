//! Events that wait for somebody who is slower than they come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use leveret_broker::events::{Event, Listener};
use leveret_broker::node::Node;

/// Events that may wait; those beyond are lost, and counted.
const WAITING_MAX: usize = 8192;

/// The end of a feed that listens.
#[derive(Debug)]
struct Ear {
    to: SyncSender<Arc<Event>>,
    lost: AtomicU64,
}

impl Listener for Ear {
    fn hear(&self, event: &Arc<Event>) {
        match self.to.try_send(Arc::clone(event)) {
            // Whoever took them is about to listen no more.
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// The events of a node from when it is made until it is dropped.
#[derive(Debug)]
pub struct Feed {
    ear: Arc<Ear>,
    events: Receiver<Arc<Event>>,
}

/// What ends the wait for a feed's events.
#[derive(Debug)]
pub(super) struct Hush {
    ear: Arc<dyn Listener>,
}

impl Feed {
    /// Listens from now on.
    pub fn new(node: &Node) -> Self {
        let (to, events) = sync_channel(WAITING_MAX);
        let ear = Arc::new(Ear { to, lost: AtomicU64::new(0) });
        node.events().add(Arc::clone(&ear) as Arc<dyn Listener>);
        Self { ear, events }
    }

    /// The events that wait, if any do.
    pub fn waiting(&self) -> impl Iterator<Item = Arc<Event>> {
        self.events.try_iter()
    }

    /// How many were lost since the last call.
    pub fn take_lost(&self) -> u64 {
        self.ear.lost.swap(0, Ordering::Relaxed)
    }

    /// Listens no more.
    pub fn end(self, node: &Node) {
        node.events().remove(&(Arc::clone(&self.ear) as Arc<dyn Listener>));
    }

    /// What is given to a thread of its own: the events, until [`Hush::end`], and how many are lost.
    pub(super) fn split(self) -> (Hush, impl FnMut() -> Option<(Arc<Event>, u64)> + Send + use<>) {
        let Self { ear, events } = self;
        let lost = Arc::downgrade(&ear);
        let next = move || {
            let event = events.recv().ok()?;
            Some((event, lost.upgrade().map_or(0, |ear| ear.lost.swap(0, Ordering::Relaxed))))
        };
        (Hush { ear }, next)
    }
}

impl Hush {
    /// Ends it: what waits is still given out, and then there is nothing more.
    pub(super) fn end(self, node: &Node) {
        node.events().remove(&self.ear);
    }
}
