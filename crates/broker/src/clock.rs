//! What time it is, and who is woken when.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
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
    /// Asks that [`Node::wake`](crate::node::Node::wake) be called for a queue at that moment or soon after. It is called once, at the
    /// first of the moments that were asked for since the last call, and has to be asked again then.
    fn wake_at(&self, queue: QueueId, due: Timestamp);
    /// Does not call for a queue that is gone.
    fn forget(&self, queue: QueueId);
}

/// Who is to be woken when: each queue once, however often it asked.
#[derive(Debug, Default)]
pub struct Alarms {
    by_time: BTreeSet<(Timestamp, QueueId)>,
    by_queue: BTreeMap<QueueId, Timestamp>,
}

impl Alarms {
    /// Takes note of a queue. Says whether it is the next one now.
    pub fn add(&mut self, queue: QueueId, due: Timestamp) -> bool {
        match self.by_queue.entry(queue) {
            Entry::Occupied(entry) if *entry.get() <= due => return false,
            Entry::Occupied(mut entry) => {
                self.by_time.remove(&(entry.insert(due), queue));
            }
            Entry::Vacant(entry) => {
                entry.insert(due);
            }
        }
        self.by_time.insert((due, queue));
        self.by_time.first() == Some(&(due, queue))
    }

    /// Forgets a queue.
    pub fn remove(&mut self, queue: QueueId) {
        if let Some(due) = self.by_queue.remove(&queue) {
            self.by_time.remove(&(due, queue));
        }
    }

    /// When the next one is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(due, _)| *due)
    }

    /// Takes the next one that is due by now.
    pub fn take_due(&mut self, now: Timestamp) -> Option<QueueId> {
        self.by_time.first().filter(|(due, _)| *due <= now)?;
        let (_, queue) = self.by_time.pop_first()?;
        self.by_queue.remove(&queue);
        Some(queue)
    }

    /// How many are to be woken.
    pub fn len(&self) -> usize {
        self.by_queue.len()
    }

    /// Whether nobody is to be woken.
    pub fn is_empty(&self) -> bool {
        self.by_queue.is_empty()
    }
}

/// A clock that stands still until it is moved by hand: for tests, and for nodes that forget everything.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: AtomicU64,
    asked: Mutex<Alarms>,
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
        std::iter::from_fn(|| asked.take_due(now)).collect()
    }

    /// When somebody is to be woken next.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.asked.lock().next_due()
    }

    /// How many are to be woken.
    pub fn asked_count(&self) -> usize {
        self.asked.lock().len()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.now.load(Ordering::SeqCst))
    }

    fn wake_at(&self, queue: QueueId, due: Timestamp) {
        self.asked.lock().add(queue, due);
    }

    fn forget(&self, queue: QueueId) {
        self.asked.lock().remove(queue);
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
    #[test]
    fn a_queue_has_one_alarm_at_the_first_of_the_moments_it_asked_for() {
        let mut alarms = Alarms::default();
        for (queue, due, is_next) in [
            (1, 50, true),
            (2, 60, false),
            (2, 70, false),
            (2, 40, true),
            (2, 40, false),
            (3, 40, false),
            (1, 45, false),
        ] {
            assert_eq!(alarms.add(QueueId(queue), Timestamp(due)), is_next, "{queue} at {due}");
        }
        alarms.remove(QueueId(3));
        alarms.remove(QueueId(4));
        assert_eq!((alarms.len(), alarms.next_due()), (2, Some(Timestamp(40))));
        for (now, expected) in [(39, None), (100, Some(2)), (44, None), (45, Some(1)), (100, None)] {
            assert_eq!(alarms.take_due(Timestamp(now)).map(|queue| queue.0), expected, "at {now}");
        }
        assert!(alarms.is_empty());
    }
}
