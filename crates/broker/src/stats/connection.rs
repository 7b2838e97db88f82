//! What a connection counts, and sums of it.

use std::ops::AddAssign;

use parking_lot::Mutex;

use super::{Counter, MessageStats, counters};
use crate::queue::QueueKind;

counters! {
    /// What went over sockets, TLS included.
    TrafficCounts, TrafficCounters {
        /// Octets read.
        received,
        /// How many reads gave some.
        reads,
        /// Octets written.
        sent,
        /// How many writes took some.
        writes,
        /// Octets that the socket does not take yet: a gauge.
        pending,
    }
}

counters! {
    /// What came from publishers, and what became of it.
    PublishCounts, PublishCounters {
        /// Messages that are to be confirmed.
        received_confirm,
        /// Messages that were published.
        published,
        /// Messages confirmed.
        confirmed,
        /// Handed on to queues, once for each.
        routed,
        /// Given back, as no queue took them.
        returned,
        /// Dropped, as no queue took them.
        dropped,
    }
}

counters! {
    /// What came out of queues of one kind.
    KindCounts, KindCounters {
        /// Delivered to consumers that settle them.
        deliver,
        /// Delivered to consumers that do not.
        deliver_no_ack,
        /// Taken by basic.get, to be settled.
        get,
        /// Taken by basic.get for good.
        get_no_ack,
        /// Answers to basic.get that nothing waits.
        get_empty,
        /// Of those delivered and taken: how many had been before.
        redeliver,
        /// Acknowledged.
        ack,
    }
}

/// The largest bodies that each part of [`SizeCounts`] counts, in octets; the last part counts all others.
pub const SIZE_BOUNDS: [u64; 8] = [100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 50_000_000, 100_000_000];

/// How large the bodies of published messages were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SizeCounts {
    /// How many there were up to each of [`SIZE_BOUNDS`], without those up to the one before; and how many larger ones.
    pub parts: [u64; SIZE_BOUNDS.len() + 1],
    /// Octets of all of them.
    pub octets: u64,
}

impl SizeCounts {
    /// How many there were.
    pub fn count(&self) -> u64 {
        self.parts.iter().sum()
    }
}

impl AddAssign for SizeCounts {
    fn add_assign(&mut self, other: Self) {
        for (part, count) in self.parts.iter_mut().zip(other.parts) {
            *part += count;
        }
        self.octets += other.octets;
    }
}

/// The counters behind [`SizeCounts`].
#[derive(Debug, Default)]
pub struct SizeCounters {
    parts: [Counter; SIZE_BOUNDS.len() + 1],
    octets: Counter,
}

impl SizeCounters {
    /// Counts a message.
    #[inline]
    pub fn add(&self, octets: u64) {
        let [first, others @ ..] = &self.parts;
        // Most messages are small.
        if octets <= SIZE_BOUNDS[0] {
            first.add(1);
        } else {
            let behind = SIZE_BOUNDS.iter().skip(1).take_while(|bound| **bound < octets).count();
            if let Some(part) = others.get(behind) {
                part.add(1);
            }
        }
        self.octets.add(octets);
    }

    /// The numbers as they are now.
    pub fn read(&self) -> SizeCounts {
        SizeCounts { parts: self.parts.each_ref().map(Counter::get), octets: self.octets.get() }
    }
}

/// What one connection counts. Only its own task writes here.
#[derive(Debug, Default)]
// What others write has to be in other lines of the cache.
#[repr(align(64))]
pub struct ConnectionCounters {
    /// What went over its socket.
    pub traffic: TrafficCounters,
    /// What it published.
    pub publishes: PublishCounters,
    /// How large that was.
    pub sizes: SizeCounters,
    classic: KindCounters,
    quorum: KindCounters,
    /// Its channels that published something: a gauge.
    pub publishers: Counter,
    /// Its consumers: a gauge.
    pub consumers: Counter,
}

impl ConnectionCounters {
    /// What came out of queues of a kind.
    #[inline]
    pub const fn of_kind(&self, kind: QueueKind) -> &KindCounters {
        match kind {
            QueueKind::Classic => &self.classic,
            QueueKind::Quorum => &self.quorum,
        }
    }

    /// The numbers as they are now. They are not of one moment.
    pub fn read(&self) -> Counters {
        Counters {
            traffic: self.traffic.read(),
            publishes: self.publishes.read(),
            sizes: self.sizes.read(),
            classic: self.classic.read(),
            quorum: self.quorum.read(),
            publishers: self.publishers.get(),
            consumers: self.consumers.get(),
        }
    }
}

/// What a connection counted, or several together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// What went over their sockets.
    pub traffic: TrafficCounts,
    /// What they published.
    pub publishes: PublishCounts,
    /// How large that was.
    pub sizes: SizeCounts,
    /// What they got from classic queues.
    pub classic: KindCounts,
    /// What they got from quorum queues.
    pub quorum: KindCounts,
    /// Channels that published something.
    pub publishers: u64,
    /// Consumers.
    pub consumers: u64,
}

impl Counters {
    /// What they got from queues of a kind.
    pub const fn of_kind(&self, kind: QueueKind) -> &KindCounts {
        match kind {
            QueueKind::Classic => &self.classic,
            QueueKind::Quorum => &self.quorum,
        }
    }

    /// Messages that came from publishers, those of transactions included that were not committed.
    pub fn received(&self) -> u64 {
        self.sizes.count()
    }

    /// What happened to messages.
    pub fn messages(&self) -> MessageStats {
        let PublishCounts { published, confirmed, returned, dropped, .. } = self.publishes;
        let mut taken = self.classic;
        taken += self.quorum;
        let KindCounts { deliver, deliver_no_ack, get, get_no_ack, get_empty, redeliver, ack } = taken;
        MessageStats {
            publish: published,
            confirm: confirmed,
            return_unroutable: returned,
            drop_unroutable: dropped,
            deliver,
            deliver_no_ack,
            get,
            get_no_ack,
            get_empty,
            redeliver,
            ack,
            ..MessageStats::default()
        }
    }

    /// What remains of them when their connections are gone.
    #[must_use]
    pub(crate) const fn left_behind(mut self) -> Self {
        self.traffic.pending = 0;
        self.publishers = 0;
        self.consumers = 0;
        self
    }
}

impl AddAssign for Counters {
    fn add_assign(&mut self, other: Self) {
        self.traffic += other.traffic;
        self.publishes += other.publishes;
        self.sizes += other.sizes;
        self.classic += other.classic;
        self.quorum += other.quorum;
        self.publishers += other.publishers;
        self.consumers += other.consumers;
    }
}

/// What the connections of a vhost left behind that are gone.
#[derive(Debug, Default)]
pub(crate) struct VhostCounters {
    gone: Mutex<Counters>,
}

impl VhostCounters {
    pub(crate) fn add(&self, gone: &Counters) {
        *self.gone.lock() += *gone;
    }

    pub(crate) fn gone(&self) -> Counters {
        *self.gone.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_counts_with_those_up_to_the_next_bound() {
        for (octets, index) in [
            (0, 0),
            (100, 0),
            (101, 1),
            (1_000, 1),
            (100_000, 3),
            (10_000_000, 5),
            (10_000_001, 6),
            (100_000_000, 7),
            (100_000_001, 8),
        ] {
            let sizes = SizeCounters::default();
            sizes.add(octets);
            let mut parts = [0; SIZE_BOUNDS.len() + 1];
            parts[index] = 1;
            assert_eq!(sizes.read(), SizeCounts { parts, octets }, "{octets}");
        }
    }

    #[test]
    fn messages_are_those_of_all_kinds_of_queues() {
        let counters = ConnectionCounters::default();
        counters.publishes.published.add(3);
        counters.publishes.confirmed.add(2);
        counters.of_kind(QueueKind::Classic).deliver.add(4);
        counters.of_kind(QueueKind::Quorum).deliver.add(5);
        counters.of_kind(QueueKind::Quorum).ack.add(6);
        let expected = MessageStats { publish: 3, confirm: 2, deliver: 9, ack: 6, ..MessageStats::default() };
        assert_eq!(counters.read().messages(), expected);
    }

    #[test]
    fn who_is_gone_leaves_no_gauges() {
        let counters = ConnectionCounters::default();
        counters.traffic.received.add(7);
        counters.traffic.pending.set(8);
        counters.publishers.set(1);
        counters.consumers.set(2);
        let traffic = TrafficCounts { received: 7, ..TrafficCounts::default() };
        assert_eq!(counters.read().left_behind(), Counters { traffic, ..Counters::default() });
    }
}
