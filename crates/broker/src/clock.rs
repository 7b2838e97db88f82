//! What time it is, and who is woken when.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::topology::QueueId;

/// A moment: milliseconds since 1970, so that it means the same after a restart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// So many milliseconds later.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from an earlier moment to this one; 0 if it is a later one.
    #[must_use]
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Tells the time, which never goes back while a node runs, and wakes queues.
///
/// Called under a queue's lock, so nothing here may wait.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time.
    fn now(&self) -> Timestamp;
    /// Asks that [`Node::wake`](crate::node::Node::wake) be called for a queue at that moment or soon after. Asked again, it is
    /// called again.
    fn wake_at(&self, queue: QueueId, due: Timestamp);
}

/// A clock that stands still until it is moved by hand: for tests, and for nodes that forget everything.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: AtomicU64,
    asked: Mutex<BTreeSet<(Timestamp, QueueId)>>,
}

impl ManualClock {
    /// A clock that shows a time.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self { now: AtomicU64::new(now.0), asked: Mutex::default() }
    }

    /// Moves it on, and says who is to be woken by then, in the order in which they are due.
    pub fn advance(&self, ms: u64) -> Vec<QueueId> {
        let now = Timestamp(self.now.fetch_add(ms, Ordering::SeqCst).saturating_add(ms));
        let mut asked = self.asked.lock();
        let later = asked.split_off(&(now.plus_ms(1), QueueId(0)));
        std::mem::replace(&mut *asked, later).into_iter().map(|(_, queue)| queue).collect()
    }

    /// When somebody is to be woken next.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.asked.lock().first().map(|(due, _)| *due)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn wake_at(&self, queue: QueueId, due: Timestamp) {
        self.asked.lock().insert((due, queue));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_moved_wakes_who_is_due_in_order() {
        let clock = ManualClock::at(Timestamp(100));
        for (queue, due) in [(1, 150), (2, 120), (3, 130), (2, 120)] {
            clock.wake_at(QueueId(queue), Timestamp(due));
        }
        assert_eq!((clock.now(), clock.next_due()), (Timestamp(100), Some(Timestamp(120))));
        assert_eq!(clock.advance(19), []);
        assert_eq!(clock.advance(11), [QueueId(2), QueueId(3)]);
        assert_eq!((clock.now(), clock.next_due()), (Timestamp(130), Some(Timestamp(150))));
    }
}
