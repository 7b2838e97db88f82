//! What happened to messages on the node, by protocol and kind of queue. It only grows, whoever comes and goes.

use std::io::{self, Write};

use leveret_broker::queue::QueueKind;
use leveret_broker::stats::{Counters, DeathCounts, DeathStrategy, Deaths, KindCounts, SIZE_BOUNDS};

use super::text::Scale;
use super::{Column, Family, Labels, Text};
use crate::Histogram;

/// The only protocol there is.
const PROTOCOL: &str = "amqp091";
const KINDS: [QueueKind; 2] = [QueueKind::Classic, QueueKind::Quorum];

const OF_PROTOCOL: &[Column<Counters>] = &[
    Column::counter(
        "global_messages_received_total",
        "Total number of messages received from publishers",
        |counters| counters.received().into(),
    ),
    Column::counter(
        "global_messages_received_confirm_total",
        "Total number of messages received from publishers expecting confirmations",
        |counters| counters.publishes.received_confirm.into(),
    ),
    Column::counter(
        "global_messages_confirmed_total",
        "Total number of messages confirmed to publishers",
        |counters| counters.publishes.confirmed.into(),
    ),
    Column::counter(
        "global_messages_routed_total",
        "Total number of messages routed to queues or streams",
        |counters| counters.publishes.routed.into(),
    ),
    Column::counter(
        "global_messages_unroutable_dropped_total",
        "Total number of messages published as non-mandatory into an exchange and dropped as unroutable",
        |counters| counters.publishes.dropped.into(),
    ),
    Column::counter(
        "global_messages_unroutable_returned_total",
        "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable",
        |counters| counters.publishes.returned.into(),
    ),
    Column::gauge("global_publishers", "Current number of publishers", |counters| counters.publishers.into()),
    Column::gauge("global_consumers", "Current number of consumers", |counters| counters.consumers.into()),
];

const OF_KIND: &[Column<KindCounts>] = &[
    Column::counter("global_messages_delivered_total", "Total number of messages delivered to consumers", |counts| {
        (counts.deliver + counts.deliver_no_ack + counts.get + counts.get_no_ack).into()
    }),
    Column::counter(
        "global_messages_delivered_consume_manual_ack_total",
        "Total number of messages delivered to consumers using basic.consume with manual acknowledgment",
        |counts| counts.deliver.into(),
    ),
    Column::counter(
        "global_messages_delivered_consume_auto_ack_total",
        "Total number of messages delivered to consumers using basic.consume with automatic acknowledgment",
        |counts| counts.deliver_no_ack.into(),
    ),
    Column::counter(
        "global_messages_delivered_get_manual_ack_total",
        "Total number of messages delivered to consumers using basic.get with manual acknowledgment",
        |counts| counts.get.into(),
    ),
    Column::counter(
        "global_messages_delivered_get_auto_ack_total",
        "Total number of messages delivered to consumers using basic.get with automatic acknowledgment",
        |counts| counts.get_no_ack.into(),
    ),
    Column::counter(
        "global_messages_get_empty_total",
        "Total number of times basic.get operations fetched no message",
        |counts| counts.get_empty.into(),
    ),
    Column::counter(
        "global_messages_redelivered_total",
        "Total number of messages redelivered to consumers",
        |counts| counts.redeliver.into(),
    ),
    Column::counter(
        "global_messages_acknowledged_total",
        "Total number of messages acknowledged by consumers",
        |counts| counts.ack.into(),
    ),
];

/// Deaths, with the strategies that each kind of queue can have.
const DEATHS: &[Column<Deaths>] = &[
    Column::counter(
        "global_messages_dead_lettered_expired_total",
        "Total number of messages dead-lettered due to message TTL exceeded",
        |deaths| deaths.expired.into(),
    ),
    Column::counter(
        "global_messages_dead_lettered_rejected_total",
        "Total number of messages dead-lettered due to basic.reject or basic.nack",
        |deaths| deaths.rejected.into(),
    ),
    Column::counter(
        "global_messages_dead_lettered_maxlen_total",
        "Total number of messages dead-lettered due to overflow drop-head or reject-publish-dlx",
        |deaths| deaths.max_len.into(),
    ),
    Column::counter(
        "global_messages_dead_lettered_delivery_limit_total",
        "Total number of messages dead-lettered due to delivery-limit exceeded",
        |deaths| deaths.delivery_limit.into(),
    ),
];

const CONFIRMED: Family = Family::counter(
    "global_messages_dead_lettered_confirmed_total",
    "Total number of messages dead-lettered and confirmed by target queues",
);

const SIZES: Family = Family::histogram("message_size_bytes", "Size of the bodies of messages from publishers");

/// Writes all of it.
pub(super) fn write<W: Write>(text: &mut Text<W>, counters: &Counters, deaths: &DeathCounts) -> io::Result<()> {
    let of_protocol = Labels::of(&[("protocol", PROTOCOL)]);
    for Column { family, number } in OF_PROTOCOL {
        text.begin(family)?;
        text.number(family, &of_protocol, number(counters))?;
    }
    for Column { family, number } in OF_KIND {
        text.begin(family)?;
        for kind in KINDS {
            let labels = Labels::of(&[("protocol", PROTOCOL), ("queue_type", kind.module())]);
            text.number(family, &labels, number(counters.of_kind(kind)))?;
        }
    }
    for Column { family, number } in DEATHS {
        text.begin(family)?;
        for (kind, strategy) in ways() {
            text.number(family, &way(kind, strategy), number(&deaths.of(kind, strategy)))?;
        }
    }
    text.begin(&CONFIRMED)?;
    text.number(&CONFIRMED, &way(QueueKind::Quorum, DeathStrategy::AtLeastOnce), deaths.confirmed.into())?;
    text.begin(&SIZES)?;
    let sizes = Histogram { bounds: &SIZE_BOUNDS, counts: counters.sizes.parts.to_vec(), sum: counters.sizes.octets };
    text.histogram(&SIZES, &of_protocol, &sizes, Scale::One)
}

/// What can become of the dead of each kind of queue.
fn ways() -> impl Iterator<Item = (QueueKind, DeathStrategy)> {
    let all = KINDS.into_iter().flat_map(|kind| DeathStrategy::ALL.into_iter().map(move |strategy| (kind, strategy)));
    all.filter(|way| *way != (QueueKind::Classic, DeathStrategy::AtLeastOnce))
}

fn way(kind: QueueKind, strategy: DeathStrategy) -> Labels {
    Labels::of(&[("queue_type", kind.module()), ("dead_letter_strategy", strategy.as_str())])
}
