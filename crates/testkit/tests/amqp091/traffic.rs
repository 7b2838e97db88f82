//! Putting messages into queues and taking them out, for the tests of every capability.

use std::collections::BTreeSet;

use leveret_protocol::amqp091::method::BasicGet;
use leveret_testkit::amqp091::{Channel, Confirm, Connection};

/// Publishes and awaits that the queues have the messages: only then does every server count them.
#[track_caller]
pub(crate) fn publish_surely(connection: &Connection, exchange: &str, routing_key: &str, bodies: &[&str]) {
    let channel = connection.channel();
    channel.confirm_select();
    for body in bodies {
        channel.publish(exchange, routing_key, body.as_bytes());
    }
    await_acks(&channel, bodies.len() as u64);
    channel.close();
}

/// Awaits that messages 1 to `count` of the channel are acknowledged, each once, in whatever order.
#[track_caller]
pub(crate) fn await_acks(channel: &Channel, count: u64) {
    let mut open: BTreeSet<_> = (1..=count).collect();
    while !open.is_empty() {
        match channel.next_confirm() {
            Confirm::Ack { delivery_tag, multiple: true } => {
                assert!(open.remove(&delivery_tag), "{delivery_tag} acknowledged twice or never published");
                open = open.split_off(&delivery_tag);
            }
            Confirm::Ack { delivery_tag, multiple: false } => {
                assert!(open.remove(&delivery_tag), "{delivery_tag} acknowledged twice or never published");
            }
            nack @ Confirm::Nack { .. } => panic!("{nack:?}"),
        }
    }
}

/// Takes all ready messages of a queue, first to last; their bodies.
#[track_caller]
pub(crate) fn drain(channel: &Channel, queue: &str) -> Vec<String> {
    let get = BasicGet { ticket: 0, queue, no_ack: true };
    std::iter::from_fn(|| channel.get_with(&get)).map(|got| text(&got.body)).collect()
}

/// Awaits so many deliveries; their bodies.
#[track_caller]
pub(crate) fn next_bodies(channel: &Channel, count: usize) -> Vec<String> {
    (0..count).map(|_| text(&channel.next_delivery().body)).collect()
}

pub(crate) fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}
