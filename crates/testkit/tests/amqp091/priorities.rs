//! Queues with priorities: `x-max-priority`.

use leveret_protocol::amqp091::Properties;
use leveret_protocol::amqp091::Value;
use leveret_protocol::amqp091::method::{BasicNack, QueueDeclare};
use leveret_testkit::amqp091::{Channel, Connection, queue_declare, table};
use leveret_testkit::unique;

use crate::queues::{declare, queue_with};
use crate::traffic::{await_acks, await_count, drain, let_pass, next_bodies, publish_expiring};

fn priority_queue(channel: &Channel, max: u8) -> String {
    queue_with(channel, &[("x-max-priority", Value::U8(max))])
}

/// Publishes messages with their priorities, if any, and awaits that the queue has them.
#[track_caller]
fn publish(connection: &Connection, queue: &str, messages: &[(Option<u8>, &str)]) {
    let channel = connection.channel();
    channel.confirm_select();
    for (priority, body) in messages {
        let properties = Properties { priority: *priority, ..Properties::default() };
        channel.publish_with("", queue, &properties, body.as_bytes());
    }
    await_acks(&channel, messages.len() as u64);
    channel.close();
}

#[test]
fn higher_priorities_come_first_and_equal_ones_in_order() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = priority_queue(&channel, 5);
    let messages = [
        (Some(1), "a1"),
        (Some(3), "b3"),
        (None, "c-"),
        (Some(5), "d5"),
        (Some(0), "e0"),
        (Some(3), "f3"),
        (Some(1), "g1"),
        (None, "h-"),
        (Some(5), "i5"),
        (Some(4), "j4"),
        (Some(0), "k0"),
    ];
    let expected = ["d5", "i5", "j4", "b3", "f3", "a1", "g1", "c-", "e0", "h-", "k0"];
    publish(&connection, &queue, &messages);
    assert_eq!(channel.message_count(&queue), 11);
    assert_eq!(drain(&channel, &queue), expected);
    publish(&connection, &queue, &messages);
    channel.consume(&queue);
    assert_eq!(next_bodies(&channel, 11), expected);
}

#[test]
fn a_priority_above_the_highest_counts_as_the_highest() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = priority_queue(&channel, 3);
    publish(&connection, &queue, &[(Some(2), "2"), (Some(3), "3"), (Some(255), "255"), (Some(4), "4"), (Some(3), "3")]);
    let priorities: Vec<_> = (0..5).map(|_| channel.get(&queue).unwrap().properties.priority.unwrap()).collect();
    // The message keeps the priority it was published with.
    assert_eq!(priorities, [3, 255, 4, 3, 2]);
}

#[test]
fn there_are_up_to_255_priorities() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = priority_queue(&channel, 255);
    let bodies: Vec<_> = (0..=255_u8).map(|priority| priority.to_string()).collect();
    let messages: Vec<_> = (0..=255).zip(&bodies).map(|(priority, body)| (Some(priority), body.as_str())).collect();
    publish(&connection, &queue, &messages);
    let mut expected = bodies.clone();
    expected.reverse();
    assert_eq!(drain(&channel, &queue), expected);
}

#[test]
fn a_queue_without_priorities_ignores_them() {
    let connection = Connection::open();
    let channel = connection.channel();
    for queue in [channel.temporary_queue(), priority_queue(&channel, 0)] {
        publish(&connection, &queue, &[(Some(1), "1"), (Some(9), "2"), (None, "3"), (Some(5), "4")]);
        assert_eq!(drain(&channel, &queue), ["1", "2", "3", "4"]);
    }
}

#[test]
fn what_comes_back_takes_its_place_among_its_priority() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let queue = priority_queue(&admin, 5);
    let messages = [(Some(1), "a1"), (Some(1), "b1"), (Some(2), "c2"), (Some(2), "d2"), (None, "e-"), (None, "f-")];
    publish(&connection, &queue, &messages);
    for body in ["c2", "d2", "a1", "b1", "e-"] {
        assert_eq!(channel.get(&queue).unwrap().body, body.as_bytes());
    }
    publish(&connection, &queue, &[(Some(2), "g2"), (Some(1), "h1"), (None, "i-")]);
    channel.requeue(2);
    channel.send(&BasicNack { delivery_tag: 5, multiple: true, requeue: true });
    channel.round_trip();
    for (body, redelivered) in [
        ("c2", true),
        ("d2", true),
        ("g2", false),
        ("a1", true),
        ("b1", true),
        ("h1", false),
        ("e-", true),
        ("f-", false),
        ("i-", false),
    ] {
        let got = admin.get(&queue).unwrap();
        assert_eq!((got.body.as_slice(), got.redelivered), (body.as_bytes(), redelivered));
    }
}

#[test]
fn what_is_handed_out_is_not_overtaken_and_what_waits_is() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = priority_queue(&channel, 9);
    channel.qos(2);
    channel.consume(&queue);
    publish(&connection, &queue, &[(None, "a"), (None, "b"), (None, "c"), (Some(1), "d1"), (Some(9), "e9")]);
    assert_eq!(next_bodies(&channel, 2), ["a", "b"]);
    channel.ack(1);
    assert_eq!(next_bodies(&channel, 1), ["e9"]);
    publish(&connection, &queue, &[(Some(5), "f5")]);
    channel.ack(2);
    assert_eq!(next_bodies(&channel, 1), ["f5"]);
    channel.ack(3);
    channel.ack(4);
    assert_eq!(next_bodies(&channel, 2), ["d1", "c"]);
}

#[test]
fn persistent_messages_have_priorities_too() {
    let connection = Connection::open();
    let (channel, publisher) = (connection.channel(), connection.channel());
    let queue = unique("queue");
    let arguments = table(&[("x-max-priority", Value::I32(3))]);
    declare(&channel, &QueueDeclare { durable: true, exclusive: false, arguments, ..queue_declare(&queue) });
    publisher.confirm_select();
    for number in 0..40_u8 {
        let delivery_mode = Some(1 + number % 2);
        let properties = Properties { delivery_mode, priority: Some(number % 4), ..Properties::default() };
        publisher.publish_with("", &queue, &properties, number.to_string().as_bytes());
    }
    await_acks(&publisher, 40);
    let expected = (0..4).rev().flat_map(|priority| (0..40).filter(move |number| number % 4 == priority));
    let expected: Vec<_> = expected.map(|number: u8| number.to_string()).collect();
    assert_eq!(drain(&channel, &queue), expected);
    channel.delete_queue(&queue);
}

#[test]
fn messages_of_every_priority_expire() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = queue_with(&channel, &[("x-max-priority", Value::I32(3)), ("x-message-ttl", Value::I32(20))]);
    publish(&connection, &queue, &[(Some(1), "1"), (Some(3), "3"), (None, "0"), (Some(2), "2")]);
    await_count(&channel, &queue, 0);
    let queue = priority_queue(&channel, 3);
    publish(&connection, &queue, &[(Some(3), "stays")]);
    publish_expiring(&connection, &queue, "10", "expires");
    let_pass(&connection, 30);
    assert_eq!(drain(&channel, &queue), ["stays"]);
    assert_eq!(channel.message_count(&queue), 0);
}
