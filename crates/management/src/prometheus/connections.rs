//! Connections and their channels.

use std::io::{self, Write};

use leveret_broker::report::{Answered, ChannelReport, KnownConnection};
use leveret_broker::stats::{Counters, MessageStats, TrafficCounts};

use super::collect::Scope;
use super::{Column, Group, Labels, Number, Text};
use crate::pid::Pids;

const COARSE: &[Column<TrafficCounts>] = &[
    Column::counter("connection_incoming_bytes_total", "Total number of bytes received on a connection", |traffic| {
        traffic.received.into()
    }),
    Column::counter("connection_outgoing_bytes_total", "Total number of bytes sent on a connection", |traffic| {
        traffic.sent.into()
    }),
];

const PACKETS: &[Column<(TrafficCounts, u64)>] = &[
    Column::counter(
        "connection_incoming_packets_total",
        "Total number of packets received on a connection",
        |(traffic, _)| traffic.reads.into(),
    ),
    Column::counter(
        "connection_outgoing_packets_total",
        "Total number of packets sent on a connection",
        |(traffic, _)| traffic.writes.into(),
    ),
    // What waits is one write, however large it is.
    Column::gauge(
        "connection_pending_packets",
        "Number of packets waiting to be sent on a connection",
        |(traffic, _)| u64::from(traffic.pending > 0).into(),
    ),
    Column::gauge("connection_channels", "Channels on a connection", |(_, channels)| (*channels).into()),
];

const CHANNEL: &[Column<ChannelReport>] = &[
    Column::gauge("channel_consumers", "Consumers on a channel", |channel| channel.consumers.into()),
    Column::gauge("channel_messages_unacked", "Delivered but not yet acknowledged messages", |channel| {
        channel.unsettled.into()
    }),
    Column::gauge("channel_messages_unconfirmed", "Published but not yet confirmed messages", |channel| {
        channel.unconfirmed.into()
    }),
    Column::gauge(
        "channel_messages_uncommitted",
        "Messages received in a transaction but not yet committed",
        |channel| channel.uncommitted.into(),
    ),
    Column::gauge(
        "channel_acks_uncommitted",
        "Message acknowledgements in a transaction not yet committed",
        |channel| channel.uncommitted_settlements.into(),
    ),
    Column::gauge("consumer_prefetch", "Limit of unacknowledged messages for each consumer", |channel| {
        u64::from(channel.prefetch).into()
    }),
    Column::gauge(
        "channel_prefetch",
        "Total limit of unacknowledged messages for all consumers on a channel",
        |channel| u64::from(channel.shared_prefetch).into(),
    ),
];

const PUBLISHES: &[Column<MessageStats>] = &[
    Column::counter(
        "channel_messages_published_total",
        "Total number of messages published into an exchange on a channel",
        |stats| stats.publish.into(),
    ),
    Column::counter(
        "channel_messages_confirmed_total",
        "Total number of messages published into an exchange and confirmed on the channel",
        |stats| stats.confirm.into(),
    ),
    Column::counter(
        "channel_messages_unroutable_returned_total",
        "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable",
        |stats| stats.return_unroutable.into(),
    ),
    Column::counter(
        "channel_messages_unroutable_dropped_total",
        "Total number of messages published as non-mandatory into an exchange and dropped as unroutable",
        |stats| stats.drop_unroutable.into(),
    ),
];

const DELIVERY: &[Column<MessageStats>] = &[
    Column::counter(
        "channel_get_ack_total",
        "Total number of messages fetched with basic.get in manual acknowledgement mode",
        |stats| stats.get.into(),
    ),
    Column::counter(
        "channel_get_total",
        "Total number of messages fetched with basic.get in automatic acknowledgement mode",
        |stats| stats.get_no_ack.into(),
    ),
    Column::counter(
        "channel_messages_delivered_ack_total",
        "Total number of messages delivered to consumers in manual acknowledgement mode",
        |stats| stats.deliver.into(),
    ),
    Column::counter(
        "channel_messages_delivered_total",
        "Total number of messages delivered to consumers in automatic acknowledgement mode",
        |stats| stats.deliver_no_ack.into(),
    ),
    Column::counter(
        "channel_messages_redelivered_total",
        "Total number of messages redelivered to consumers",
        |stats| stats.redeliver.into(),
    ),
    Column::counter("channel_messages_acked_total", "Total number of messages acknowledged by consumers", |stats| {
        stats.ack.into()
    }),
    Column::counter(
        "channel_get_empty_total",
        "Total number of times basic.get operations fetched no message",
        |stats| stats.get_empty.into(),
    ),
];

/// What connections count, without asking them.
#[derive(Debug)]
pub(super) struct Connections {
    counted: Vec<(Labels, TrafficCounts, u64)>,
}

/// What channels say of themselves.
#[derive(Debug, Default)]
pub(super) struct Channels {
    reports: Vec<(Labels, ChannelReport)>,
    /// Their labels, with the vhosts they work in.
    in_vhosts: Vec<Labels>,
    /// Whether anybody was asked.
    are_known: bool,
}

impl Connections {
    /// Reads what they count.
    pub(super) fn read(known: &[KnownConnection], pids: &Pids) -> Self {
        let read = |known: &KnownConnection| {
            let channels = known.open.as_ref().map_or(0, |open| open.channels);
            (Labels::of(&[("channel", &pids.connection(known.id))]), known.counters.traffic.read(), channels)
        };
        Self { counted: known.iter().map(read).collect() }
    }

    /// Writes a group for each of them.
    pub(super) fn write<W: Write>(&self, text: &mut Text<W>, group: Group) -> io::Result<()> {
        let all = &self.counted;
        match group {
            Group::ConnectionCoarse => each(text, COARSE, || all.iter().map(|(labels, traffic, _)| (labels, *traffic))),
            Group::Connection => {
                each(text, PACKETS, || all.iter().map(|(labels, traffic, channels)| (labels, (*traffic, *channels))))
            }
            _ => Ok(()),
        }
    }
}

impl Channels {
    /// Takes the answers of those that were asked.
    pub(super) fn of(answered: &[Answered], pids: &Pids) -> Self {
        let mut channels = Self { are_known: true, ..Self::default() };
        for Answered { known, report } in answered {
            let vhost = known.open.as_ref().map(|open| &*open.vhost).unwrap_or_default();
            for channel in report.iter().flat_map(|report| &report.channels) {
                let labels = Labels::of(&[("channel", &pids.channel(known.id, channel.number))]);
                let mut in_vhost = labels.clone();
                in_vhost.add("vhost", vhost);
                channels.reports.push((labels, *channel));
                channels.in_vhosts.push(in_vhost);
            }
        }
        channels
    }

    /// Writes a group.
    pub(super) fn write<W: Write>(&self, text: &mut Text<W>, group: Group, scope: Scope) -> io::Result<()> {
        let stats = || self.reports.iter().zip(&self.in_vhosts).map(|((_, channel), labels)| (labels, channel.stats));
        match (group, scope) {
            (Group::Channel, Scope::Each) => {
                each(text, CHANNEL, || self.reports.iter().map(|(labels, channel)| (labels, *channel)))
            }
            (Group::Channel, Scope::Sum) => {
                for Column { family, number } in CHANNEL {
                    let numbers = self.reports.iter().map(|(_, channel)| number(channel));
                    let sum = numbers.fold(Number::Whole(0), Number::plus);
                    text.single(family, if self.are_known { sum } else { Number::Unknown })?;
                }
                Ok(())
            }
            (Group::ChannelPublishes, _) => each(text, PUBLISHES, stats),
            (Group::ChannelDelivery, _) => each(text, DELIVERY, stats),
            _ => Ok(()),
        }
    }
}

/// Writes a group of connections and channels that is added up. Those that are gone are in it.
pub(super) fn sum<W: Write>(
    text: &mut Text<W>,
    group: Group,
    counters: &Counters,
    channels: u64,
    waiting: u64,
) -> io::Result<()> {
    let stats = counters.messages();
    let traffic = counters.traffic;
    match group {
        Group::ConnectionCoarse => columns(text, COARSE, &traffic),
        Group::Connection => {
            for Column { family, number } in PACKETS {
                let number = if family.name == "connection_pending_packets" {
                    Number::Whole(waiting)
                } else {
                    number(&(traffic, channels))
                };
                text.single(family, number)?;
            }
            Ok(())
        }
        Group::ChannelPublishes => columns(text, PUBLISHES, &stats),
        Group::ChannelDelivery => columns(text, DELIVERY, &stats),
        _ => Ok(()),
    }
}

fn columns<W: Write, T>(text: &mut Text<W>, columns: &[Column<T>], of: &T) -> io::Result<()> {
    columns.iter().try_for_each(|Column { family, number }| text.single(family, number(of)))
}

fn each<'a, W: Write, T: 'static, I: Iterator<Item = (&'a Labels, T)>>(
    text: &mut Text<W>,
    columns: &[Column<T>],
    all: impl Fn() -> I,
) -> io::Result<()> {
    for Column { family, number } in columns {
        text.begin(family)?;
        for (labels, of) in all() {
            text.number(family, labels, number(&of))?;
        }
    }
    Ok(())
}
