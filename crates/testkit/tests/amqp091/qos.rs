//! Prefetch: how many deliveries may be unacknowledged.

use leveret_protocol::amqp091::ReplyCode;
use leveret_protocol::amqp091::method::{BasicAck, BasicConsume, BasicNack, BasicQos, BasicQosOk};
use leveret_testkit::amqp091::{Channel, Connection, basic_consume};
use leveret_testkit::broker;

use crate::refusal::assert_connection_lost;
use crate::traffic::{next_bodies, publish_surely};

const LIMITED: BasicQos = BasicQos { prefetch_size: 0, prefetch_count: 0, global: false };

/// Puts so many messages into a fresh queue.
fn queue_of(connection: &Connection, count: usize) -> String {
    let queue = connection.channel().temporary_queue();
    let bodies: Vec<_> = (1..=count).map(|number| number.to_string()).collect();
    publish_surely(connection, "", &queue, &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    queue
}

fn tagged<'a>(queue: &'a str, consumer_tag: &'a str) -> BasicConsume<'a> {
    BasicConsume { consumer_tag, ..basic_consume(queue) }
}

/// Limits the channel as a whole.
fn limit_channel(channel: &Channel, prefetch_count: u16) {
    let _: BasicQosOk = channel.call(&BasicQos { prefetch_count, global: true, ..LIMITED });
}

/// Whether the broker takes a limit of the channel for one of each consumer, as RabbitMQ 4 may.
fn has_no_channel_limit() -> bool {
    broker::rabbitmq_major().is_some_and(|major| major >= 4)
}

#[test]
fn no_more_than_the_prefetch_is_unacknowledged() {
    let connection = Connection::open();
    let queue = queue_of(&connection, 20);
    for prefetch in [1, 2, 5] {
        let channel = connection.channel();
        channel.qos(prefetch);
        channel.consume(&queue);
        for _ in 0..prefetch {
            channel.next_delivery();
        }
        channel.expect_nothing_from(&queue);
        // One for one.
        for tag in 1..=3 {
            channel.ack(tag);
            assert_eq!(channel.next_delivery().delivery_tag, u64::from(prefetch) + tag);
            channel.expect_nothing_from(&queue);
        }
        channel.close();
    }
}

#[test]
fn acknowledging_many_makes_room_for_many() {
    let connection = Connection::open();
    let queue = queue_of(&connection, 20);
    let channel = connection.channel();
    channel.qos(5);
    channel.consume(&queue);
    assert_eq!(next_bodies(&channel, 5), ["1", "2", "3", "4", "5"]);
    channel.send(&BasicAck { delivery_tag: 3, multiple: true });
    assert_eq!(next_bodies(&channel, 3), ["6", "7", "8"]);
    channel.expect_nothing_from(&queue);
    channel.send(&BasicAck { delivery_tag: 0, multiple: true });
    assert_eq!(next_bodies(&channel, 5), ["9", "10", "11", "12", "13"]);
    channel.expect_nothing_from(&queue);
}

#[test]
fn rejecting_makes_room_too() {
    let connection = Connection::open();
    let queue = queue_of(&connection, 20);
    let channel = connection.channel();
    channel.qos(2);
    channel.consume(&queue);
    assert_eq!(next_bodies(&channel, 2), ["1", "2"]);
    channel.reject(1);
    assert_eq!(next_bodies(&channel, 1), ["3"]);
    channel.send(&BasicNack { delivery_tag: 3, multiple: true, requeue: false });
    assert_eq!(next_bodies(&channel, 2), ["4", "5"]);
    channel.requeue(4);
    let again = channel.next_delivery();
    assert_eq!((again.body.as_slice(), again.redelivered), (&b"4"[..], true));
    channel.expect_nothing_from(&queue);
}

#[test]
fn each_consumer_has_a_prefetch_of_its_own() {
    let connection = Connection::open();
    let queues = [queue_of(&connection, 10), queue_of(&connection, 10)];
    let channel = connection.channel();
    channel.qos(3);
    channel.consume(&queues[0]);
    channel.consume(&queues[1]);
    next_bodies(&channel, 6);
    for queue in &queues {
        channel.expect_nothing_from(queue);
        assert_eq!(channel.message_count(queue), 7);
    }
}

#[test]
fn a_change_is_for_consumers_to_come() {
    let connection = Connection::open();
    let (first, second, third) = (queue_of(&connection, 10), queue_of(&connection, 10), queue_of(&connection, 10));
    let channel = connection.channel();
    channel.qos(1);
    channel.consume_with(&tagged(&first, "one"));
    channel.qos(3);
    channel.consume_with(&tagged(&second, "three"));
    channel.qos(0);
    channel.consume_with(&tagged(&third, "all"));
    next_bodies(&channel, 1 + 3 + 10);
    for (queue, left) in [(&first, 9), (&second, 7), (&third, 0)] {
        channel.expect_nothing_from(queue);
        assert_eq!(channel.message_count(queue), left);
    }
    channel.cancel("one");
    assert_eq!(channel.message_count(&first), 9);
}

#[test]
fn no_prefetch_is_no_limit() {
    let connection = Connection::open();
    let queue = queue_of(&connection, 500);
    for set in [false, true] {
        let channel = connection.channel();
        if set {
            channel.qos(0);
        }
        channel.consume(&queue);
        assert_eq!(next_bodies(&channel, 500).len(), 500);
        channel.close();
    }
}

#[test]
fn a_consumer_without_acknowledgements_has_no_limit() {
    let connection = Connection::open();
    let queue = queue_of(&connection, 50);
    let channel = connection.channel();
    channel.qos(1);
    channel.consume_with(&BasicConsume { no_ack: true, ..basic_consume(&queue) });
    next_bodies(&channel, 50);
}

#[test]
fn messages_taken_one_by_one_do_not_count() {
    let connection = Connection::open();
    let queue = queue_of(&connection, 10);
    let channel = connection.channel();
    channel.qos(2);
    for _ in 0..5 {
        channel.get(&queue).unwrap();
    }
    channel.consume(&queue);
    assert_eq!(next_bodies(&channel, 2), ["6", "7"]);
    channel.expect_nothing_from(&queue);
    // Nor does their acknowledgement make room.
    channel.send(&BasicAck { delivery_tag: 5, multiple: true });
    channel.expect_nothing_from(&queue);
    assert_eq!(channel.message_count(&queue), 3);
}

#[test]
fn a_prefetch_in_octets_is_540() {
    for global in [false, true] {
        let channel = Connection::open().channel();
        let qos = BasicQos { prefetch_size: 10, prefetch_count: 1, global };
        assert_connection_lost(&channel, &qos, ReplyCode::NotImplemented, "prefetch_size!=0 (10)");
    }
}

#[test]
fn a_limit_of_the_channel_is_shared_by_its_consumers() {
    if has_no_channel_limit() {
        return;
    }
    let connection = Connection::open();
    let queues = [queue_of(&connection, 10), queue_of(&connection, 10)];
    let channel = connection.channel();
    limit_channel(&channel, 3);
    channel.consume(&queues[0]);
    channel.consume(&queues[1]);
    next_bodies(&channel, 3);
    let left = |channel: &Channel| queues.iter().map(|queue| channel.message_count(queue)).sum::<u32>();
    assert_eq!(left(&channel), 17);
    channel.send(&BasicAck { delivery_tag: 2, multiple: true });
    next_bodies(&channel, 2);
    assert_eq!(left(&channel), 15);
    channel.expect_nothing();
}

#[test]
fn a_change_of_the_limit_of_the_channel_counts_at_once() {
    if has_no_channel_limit() {
        return;
    }
    let connection = Connection::open();
    let queue = queue_of(&connection, 10);
    let channel = connection.channel();
    limit_channel(&channel, 1);
    channel.consume(&queue);
    assert_eq!(next_bodies(&channel, 1), ["1"]);
    channel.expect_nothing_from(&queue);
    limit_channel(&channel, 3);
    assert_eq!(next_bodies(&channel, 2), ["2", "3"]);
    channel.expect_nothing_from(&queue);
    limit_channel(&channel, 0);
    assert_eq!(next_bodies(&channel, 7).len(), 7);
}

#[test]
fn both_limits_hold() {
    if has_no_channel_limit() {
        return;
    }
    let connection = Connection::open();
    let queues = [queue_of(&connection, 10), queue_of(&connection, 10)];
    let channel = connection.channel();
    channel.qos(3);
    limit_channel(&channel, 5);
    channel.consume(&queues[0]);
    assert_eq!(next_bodies(&channel, 3), ["1", "2", "3"]);
    channel.expect_nothing_from(&queues[0]);
    channel.consume(&queues[1]);
    assert_eq!(next_bodies(&channel, 2), ["1", "2"]);
    channel.expect_nothing_from(&queues[1]);
    // Room for one of either consumer's, which only the first can use.
    channel.ack(1);
    next_bodies(&channel, 1);
    channel.expect_nothing_from(&queues[0]);
    channel.expect_nothing_from(&queues[1]);
}

#[test]
fn a_prefetch_for_consumers_lifts_the_limit_of_the_channel() {
    if has_no_channel_limit() {
        return;
    }
    let connection = Connection::open();
    let queue = queue_of(&connection, 10);
    let channel = connection.channel();
    limit_channel(&channel, 1);
    channel.consume(&queue);
    assert_eq!(next_bodies(&channel, 1), ["1"]);
    channel.qos(4);
    // The consumer that is there has no limit of its own.
    assert_eq!(next_bodies(&channel, 9).len(), 9);
}

#[test]
fn channels_do_not_share_limits() {
    let connection = Connection::open();
    let queue = queue_of(&connection, 10);
    let channels = [connection.channel(), connection.channel()];
    for channel in &channels {
        channel.qos(2);
        channel.consume(&queue);
    }
    for channel in &channels {
        next_bodies(channel, 2);
        channel.expect_nothing_from(&queue);
    }
    assert_eq!(channels[0].message_count(&queue), 6);
}
