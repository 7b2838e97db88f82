//! What the threads count and the main thread reads.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use leveret_protocol::amqp091::Method;

use crate::clock;
use crate::connection::closed_by;
use crate::error::Error;
use crate::histogram::Histogram;

/// The counters of one thread. Only that thread writes them, once for each batch; the alignment keeps threads out of
/// each other's cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Counters {
    /// Messages published, or consumed.
    pub(crate) messages: AtomicU64,
    /// Octets of the messages published, with all that frames them.
    pub(crate) octets: AtomicU64,
    /// Publishes confirmed by an ack.
    pub(crate) confirmed: AtomicU64,
    /// Publishes refused by a nack.
    pub(crate) refused: AtomicU64,
    /// Mandatory messages that came back.
    pub(crate) returned: AtomicU64,
    /// Delayed messages that came before their time, by a millisecond or more.
    pub(crate) early: AtomicU64,
    /// When the last message was sent or received, or the last confirm came.
    pub(crate) last_ns: AtomicU64,
    /// Since when the broker blocks this connection; 0 if it does not.
    blocked_since_ns: AtomicU64,
    /// How long the broker blocked this connection before that.
    blocked_ns: AtomicU64,
    /// Whether a publisher has nothing left to do.
    pub(crate) finished: AtomicBool,
    /// Spans since the last look: to the confirm for a publisher, end to end for a consumer.
    latency: Mutex<Histogram>,
}

impl Counters {
    /// The spans since the last look, to add to.
    pub(crate) fn latency(&self) -> MutexGuard<'_, Histogram> {
        locked(&self.latency)
    }

    /// Handles a method that any load thread may get; an error if the broker ends the connection.
    pub(crate) fn common_method(&self, method: Method<'_>, control: &Control) -> Result<(), Error> {
        match method {
            Method::ConnectionBlocked(blocked) => {
                blocked.reason.clone_into(&mut locked(&control.blocked_reason));
                self.blocked_since_ns.store(clock::now_ns(), Ordering::Relaxed);
            }
            Method::ConnectionUnblocked(_) => {
                let span = self.blocked_now_ns(clock::now_ns());
                self.blocked_since_ns.store(0, Ordering::Relaxed);
                self.blocked_ns.fetch_add(span, Ordering::Relaxed);
            }
            other => return closed_by(other).map_or(Ok(()), Err),
        }
        Ok(())
    }

    fn blocked_now_ns(&self, now_ns: u64) -> u64 {
        match self.blocked_since_ns.load(Ordering::Relaxed) {
            0 => 0,
            since_ns => now_ns.saturating_sub(since_ns),
        }
    }
}

/// What the main thread tells the others, and they it.
#[derive(Debug, Default)]
pub(crate) struct Control {
    /// Publishers are to stop.
    pub(crate) stop_publishing: AtomicBool,
    /// Consumers are to stop.
    pub(crate) stop_consuming: AtomicBool,
    failure: Mutex<Option<Error>>,
    blocked_reason: Mutex<String>,
}

impl Control {
    /// Notes why a thread ended; the first one counts, for it made the others fail.
    pub(crate) fn fail(&self, error: Error) {
        locked(&self.failure).get_or_insert(error);
    }

    /// Whether a thread has failed.
    pub(crate) fn has_failed(&self) -> bool {
        locked(&self.failure).is_some()
    }

    /// Takes what a thread failed with.
    pub(crate) fn take_failure(&self) -> Option<Error> {
        locked(&self.failure).take()
    }

    /// Why the broker blocks connections.
    pub(crate) fn blocked_reason(&self) -> String {
        locked(&self.blocked_reason).clone()
    }

    /// Tells everybody to stop.
    pub(crate) fn stop(&self) {
        self.stop_publishing.store(true, Ordering::Relaxed);
        self.stop_consuming.store(true, Ordering::Relaxed);
    }
}

/// Sums over all threads at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    /// Messages published.
    pub(crate) published: u64,
    /// Octets of these, with all that frames them.
    pub(crate) published_octets: u64,
    /// Publishes confirmed.
    pub(crate) confirmed: u64,
    /// Publishes refused.
    pub(crate) refused: u64,
    /// Messages that came back.
    pub(crate) returned: u64,
    /// Messages consumed.
    pub(crate) consumed: u64,
    /// Of these, delayed ones that came before their time.
    pub(crate) early: u64,
    /// Time in which publishers were blocked, added up.
    pub(crate) blocked_ns: u64,
}

impl Totals {
    /// What was counted after `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            published: self.published - earlier.published,
            published_octets: self.published_octets - earlier.published_octets,
            confirmed: self.confirmed - earlier.confirmed,
            refused: self.refused - earlier.refused,
            returned: self.returned - earlier.returned,
            consumed: self.consumed - earlier.consumed,
            early: self.early - earlier.early,
            blocked_ns: self.blocked_ns.saturating_sub(earlier.blocked_ns),
        }
    }
}

/// The counters of all threads.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    publishers: Vec<Arc<Counters>>,
    consumers: Vec<Arc<Counters>>,
}

impl Meter {
    /// Counters for one more publisher.
    pub(crate) fn publisher(&mut self) -> Arc<Counters> {
        let counters = Arc::<Counters>::default();
        self.publishers.push(Arc::clone(&counters));
        counters
    }

    /// Counters for one more consumer.
    pub(crate) fn consumer(&mut self) -> Arc<Counters> {
        let counters = Arc::<Counters>::default();
        self.consumers.push(Arc::clone(&counters));
        counters
    }

    /// Everything counted so far.
    pub(crate) fn totals(&self) -> Totals {
        let now_ns = clock::now_ns();
        Totals {
            published: sum(&self.publishers, |counters| &counters.messages),
            published_octets: sum(&self.publishers, |counters| &counters.octets),
            confirmed: sum(&self.publishers, |counters| &counters.confirmed),
            refused: sum(&self.publishers, |counters| &counters.refused),
            returned: sum(&self.publishers, |counters| &counters.returned),
            consumed: sum(&self.consumers, |counters| &counters.messages),
            early: sum(&self.consumers, |counters| &counters.early),
            blocked_ns: sum(&self.publishers, |counters| &counters.blocked_ns)
                + self.publishers.iter().map(|counters| counters.blocked_now_ns(now_ns)).sum::<u64>(),
        }
    }

    /// Messages of each publisher.
    pub(crate) fn published_each(&self) -> Vec<u64> {
        self.publishers.iter().map(|counters| counters.messages.load(Ordering::Relaxed)).collect()
    }

    /// Publishers blocked by the broker at this moment.
    pub(crate) fn blocked(&self) -> usize {
        self.publishers.iter().filter(|counters| counters.blocked_since_ns.load(Ordering::Relaxed) != 0).count()
    }

    /// Whether all publishers have done their part.
    pub(crate) fn publishers_finished(&self) -> bool {
        self.publishers.iter().all(|counters| counters.finished.load(Ordering::Relaxed))
    }

    /// When a publisher was last busy.
    pub(crate) fn last_publish_ns(&self) -> u64 {
        last(&self.publishers)
    }

    /// When a consumer last got something.
    pub(crate) fn last_delivery_ns(&self) -> u64 {
        last(&self.consumers)
    }

    /// Takes the end-to-end spans since the last time.
    pub(crate) fn take_latency(&self) -> Histogram {
        take(&self.consumers)
    }

    /// Takes the publish-to-confirm spans since the last time.
    pub(crate) fn take_confirm_latency(&self) -> Histogram {
        take(&self.publishers)
    }
}

fn sum(counters: &[Arc<Counters>], field: impl Fn(&Counters) -> &AtomicU64) -> u64 {
    counters.iter().map(|counters| field(counters).load(Ordering::Relaxed)).sum()
}

fn last(counters: &[Arc<Counters>]) -> u64 {
    counters.iter().map(|counters| counters.last_ns.load(Ordering::Relaxed)).max().unwrap_or_default()
}

fn take(counters: &[Arc<Counters>]) -> Histogram {
    let mut all = Histogram::default();
    for counters in counters {
        if counters.latency().samples() > 0 {
            all.merge(&std::mem::take(&mut *counters.latency()));
        }
    }
    all
}

/// The value behind a lock; a thread that died with it held left numbers that are still worth showing.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use leveret_protocol::amqp091::method::{ConnectionBlocked, ConnectionClose, ConnectionUnblocked};

    use super::*;

    #[test]
    fn totals_are_sums_over_threads() {
        let mut meter = Meter::default();
        let (a, b, c) = (meter.publisher(), meter.publisher(), meter.consumer());
        a.messages.store(3, Ordering::Relaxed);
        b.messages.store(4, Ordering::Relaxed);
        c.messages.store(5, Ordering::Relaxed);
        c.latency().record(7);
        let totals = meter.totals();
        assert_eq!((totals.published, totals.consumed), (7, 5));
        assert_eq!(meter.take_latency().samples(), 1);
        assert_eq!(meter.take_latency().samples(), 0);
        assert_eq!(totals.since(totals), Totals::default());
    }

    #[test]
    fn a_blocked_connection_shows_until_it_is_unblocked() {
        let mut meter = Meter::default();
        let (counters, control) = (meter.publisher(), Control::default());
        let blocked = Method::ConnectionBlocked(ConnectionBlocked { reason: "low on disk" });
        counters.common_method(blocked, &control).unwrap();
        assert_eq!((meter.blocked(), control.blocked_reason()), (1, "low on disk".to_owned()));
        counters.common_method(Method::ConnectionUnblocked(ConnectionUnblocked {}), &control).unwrap();
        assert_eq!(meter.blocked(), 0);
        let close = ConnectionClose { reply_code: 320, reply_text: "CONNECTION_FORCED", class_id: 0, method_id: 0 };
        assert!(counters.common_method(Method::ConnectionClose(close), &control).is_err());
    }
}
