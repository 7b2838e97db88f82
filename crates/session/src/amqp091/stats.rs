//! What a session counts of itself beside what routes and sources do.

use leveret_broker::queue::QueueKind;
use leveret_broker::stats::KindCounters;

use super::Session;
use super::channel::Channel;
use super::confirm::Confirmed;

/// Deliveries from one source, one after the other.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Run {
    source: u32,
    count: u64,
    redelivered: u64,
}

impl Run {
    /// The first from a source is about to be counted.
    pub(super) fn of(source: u32) -> Self {
        Self { source, ..Self::default() }
    }

    #[inline]
    pub(super) const fn is_of(&self, source: u32) -> bool {
        self.source == source
    }

    /// Counts one on.
    #[inline]
    pub(super) fn add(&mut self, redelivered: bool) {
        self.count += 1;
        self.redelivered += u64::from(redelivered);
    }
}

/// What basic.get came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Got {
    /// A message, to be settled.
    Kept,
    /// A message for good.
    Gone,
    /// Nothing.
    Empty,
}

impl Session {
    /// Counts deliveries to a consumer.
    pub(super) fn count_deliveries(&mut self, run: Run) {
        if run.count == 0 {
            return;
        }
        let Some(source) = self.sources.get(run.source) else { return };
        // RabbitMQ does not count direct replies.
        let Some(kind) = source.queue_kind() else { return };
        let Some(channel) = self.channels.get_mut(source.channel) else { return };
        let counters = self.counters.of_kind(kind);
        if source.no_ack {
            channel.stats.deliver_no_ack += run.count;
            counters.deliver_no_ack.add(run.count);
        } else {
            channel.stats.deliver += run.count;
            counters.deliver.add(run.count);
        }
        if run.redelivered > 0 {
            channel.stats.redeliver += run.redelivered;
            counters.redeliver.add(run.redelivered);
        }
    }

    /// Counts what basic.get came to.
    pub(super) fn count_get(&mut self, number: u16, kind: QueueKind, got: Got, redelivered: bool) {
        let Some(Channel { stats, .. }) = self.channels.get_mut(number) else { return };
        let KindCounters { get, get_no_ack, get_empty, redeliver, .. } = self.counters.of_kind(kind);
        let (of_channel, of_connection) = match got {
            Got::Kept => (&mut stats.get, get),
            Got::Gone => (&mut stats.get_no_ack, get_no_ack),
            Got::Empty => (&mut stats.get_empty, get_empty),
        };
        *of_channel += 1;
        of_connection.add(1);
        if redelivered {
            stats.redeliver += 1;
            redeliver.add(1);
        }
    }

    /// Counts what was confirmed to a channel, and what is to be.
    pub(super) fn count_confirms(&mut self, number: u16, counts: Confirmed) {
        let Confirmed { published, confirmed } = counts;
        if published > 0 {
            self.counters.publishes.received_confirm.add(published);
        }
        if confirmed > 0 {
            self.counters.publishes.confirmed.add(confirmed);
            if let Some(channel) = self.channels.get_mut(number) {
                channel.stats.confirm += confirmed;
            }
        }
    }

    /// Counts a message that no queue takes.
    pub(super) fn count_unroutable(&mut self, number: u16, mandatory: bool) {
        let Some(channel) = self.channels.get_mut(number) else { return };
        if mandatory {
            channel.stats.return_unroutable += 1;
            self.counters.publishes.returned.add(1);
        } else {
            channel.stats.drop_unroutable += 1;
            self.counters.publishes.dropped.add(1);
        }
    }

    /// Sees anew how many channels publish and how many consumers there are, after that changed.
    #[cold]
    pub(super) fn count_clients(&self) {
        let publishers = self.channels.iter().filter(|channel| channel.stats.publish > 0).count();
        // Those of direct replies consume from no queue.
        let consumers = |channel: &Channel| channel.consumers.len() - usize::from(channel.reply_consumer.is_some());
        let consumers: usize = self.channels.iter().map(consumers).sum();
        self.counters.publishers.set(publishers as u64);
        self.counters.consumers.set(consumers as u64);
    }
}
