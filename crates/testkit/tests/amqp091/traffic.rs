//! Putting messages into queues and taking them out, for the tests of every capability.

use std::collections::BTreeSet;
use std::time::Instant;

use leveret_protocol::amqp091::Properties;
use leveret_protocol::amqp091::method::BasicGet;
use leveret_testkit::amqp091::{Channel, Confirm, Connection, DEADLINE};

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

/// Awaits that so many messages of a queue are ready.
#[track_caller]
pub(crate) fn await_count(channel: &Channel, queue: &str, count: u32) {
    let until = Instant::now() + DEADLINE;
    loop {
        let found = channel.message_count(queue);
        if found == count {
            return;
        }
        assert!(Instant::now() < until, "{found} messages in {queue}, not {count}");
    }
}

/// Awaits that so much time has passed by the broker's own clock: that of a message that expires.
#[track_caller]
pub(crate) fn let_pass(connection: &Connection, milliseconds: u32) {
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let start = Instant::now();
    publish_expiring(connection, &queue, &milliseconds.to_string(), "clock");
    await_count(&channel, &queue, 0);
    assert!(start.elapsed().as_millis() + 5 >= u128::from(milliseconds), "the message expired too early");
    channel.delete_queue(&queue);
    channel.close();
}

/// Publishes a message of this expiration through the default exchange and awaits that the queue has it.
#[track_caller]
pub(crate) fn publish_expiring(connection: &Connection, queue: &str, expiration: &str, body: &str) {
    let channel = connection.channel();
    channel.confirm_select();
    let properties = Properties { expiration: Some(expiration), ..Properties::default() };
    channel.publish_with("", queue, &properties, body.as_bytes());
    await_acks(&channel, 1);
    channel.close();
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
