//! The time, and the thread that wakes queues when theirs has come.

use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use leveret_broker::clock::{Alarms, Clock, Timestamp};
use leveret_broker::node::Node;
use leveret_broker::topology::QueueId;
use parking_lot::{Condvar, Mutex};

/// The clock of a node. It follows the system's when it starts, and only counts on from there: a clock that is set back must
/// not make messages live longer.
#[derive(Debug)]
pub(crate) struct SystemClock {
    started: Instant,
    started_at: Timestamp,
    asked: Mutex<Asked>,
    changed: Condvar,
    node: OnceLock<Weak<Node>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Asked {
    alarms: Alarms,
    is_stopping: bool,
}

impl SystemClock {
    /// A clock that shows the time and wakes nobody until it is started.
    pub(crate) fn new() -> Arc<Self> {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Arc::new(Self {
            started: Instant::now(),
            started_at: Timestamp(milliseconds(since_1970)),
            asked: Mutex::default(),
            changed: Condvar::new(),
            node: OnceLock::new(),
            thread: Mutex::new(None),
        })
    }

    /// Starts to wake the queues of a node.
    pub(crate) fn serve(self: &Arc<Self>, node: &Arc<Node>) -> std::io::Result<()> {
        let _ = self.node.set(Arc::downgrade(node));
        let clock = Arc::clone(self);
        let thread = std::thread::Builder::new().name("leveret-clock".into()).spawn(move || clock.run())?;
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    /// Wakes nobody any more.
    pub(crate) fn stop(&self) {
        self.asked.lock().is_stopping = true;
        self.changed.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }

    fn run(&self) {
        while let Some(queue) = self.next() {
            let Some(node) = self.node.get().and_then(Weak::upgrade) else { return };
            node.wake(queue);
        }
    }

    /// Waits for the next queue that is due; none once the clock is stopped.
    fn next(&self) -> Option<QueueId> {
        let mut asked = self.asked.lock();
        loop {
            if asked.is_stopping {
                return None;
            }
            let Some(due) = asked.alarms.next_due() else {
                self.changed.wait(&mut asked);
                continue;
            };
            if let Some(queue) = asked.alarms.take_due(self.now()) {
                return Some(queue);
            }
            let until = self.started + Duration::from_millis(due.ms_since(self.started_at));
            self.changed.wait_until(&mut asked, until);
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        self.started_at.plus_ms(milliseconds(self.started.elapsed()))
    }

    fn wake_at(&self, queue: QueueId, due: Timestamp) {
        if self.asked.lock().alarms.add(queue, due) {
            self.changed.notify_one();
        }
    }

    fn forget(&self, queue: QueueId) {
        self.asked.lock().alarms.remove(queue);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_the_system_and_goes_on() {
        let clock = SystemClock::new();
        let first = clock.now();
        assert!(first.0 > 1_700_000_000_000, "{first:?} is long ago");
        assert!(clock.now() >= first);
    }

    #[test]
    fn those_who_are_due_are_called_in_order() {
        let clock = SystemClock::new();
        let now = clock.now();
        for (queue, due) in [(1, 20), (2, 0), (3, 10)] {
            clock.wake_at(QueueId(queue), now.plus_ms(due));
        }
        let woken: Vec<_> = (0..3).map(|_| (clock.next().unwrap().0, clock.now())).collect();
        assert_eq!(woken.iter().map(|(queue, _)| *queue).collect::<Vec<_>>(), [2, 3, 1]);
        assert!(
            woken[1].1 >= now.plus_ms(10) && woken[2].1 >= now.plus_ms(20),
            "nobody is called too early: {woken:?}"
        );
        clock.asked.lock().is_stopping = true;
        assert_eq!(clock.next(), None);
    }
}
