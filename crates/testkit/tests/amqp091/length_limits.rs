//! Limits of a queue's length, and what gives way.

use leveret_protocol::amqp091::method::{
    BasicNack, BasicPublish, QueueDeclare, TxCommit, TxCommitOk, TxSelect, TxSelectOk,
};
use leveret_protocol::amqp091::{Properties, ReplyCode, Value};
use leveret_testkit::amqp091::{Channel, Confirm, Connection, basic_publish, queue_declare, table};
use leveret_testkit::unique;

use crate::queues::{declare, queue_with};
use crate::refusal::assert_channel_lost;
use crate::traffic::{await_acks, await_count, drain, next_bodies, publish_surely};

const REJECT: (&str, Value<'static>) = ("x-overflow", Value::LongStr(b"reject-publish"));
const REJECT_DEAD_LETTER: (&str, Value<'static>) = ("x-overflow", Value::LongStr(b"reject-publish-dlx"));

fn max_length(length: i32) -> (&'static str, Value<'static>) {
    ("x-max-length", Value::I32(length))
}

fn max_bytes(bytes: i32) -> (&'static str, Value<'static>) {
    ("x-max-length-bytes", Value::I32(bytes))
}

/// Publishes to a queue on a new channel; the numbers of the messages that were refused, from 1.
#[track_caller]
pub(crate) fn refused(connection: &Connection, exchange: &str, routing_key: &str, bodies: &[&str]) -> Vec<u64> {
    let channel = connection.channel();
    channel.confirm_select();
    for body in bodies {
        channel.publish(exchange, routing_key, body.as_bytes());
    }
    let refused = refusals(&channel, bodies.len());
    channel.close();
    refused
}

/// Awaits the confirms of messages 1 to `count`, each once; the numbers of those that were refused.
#[track_caller]
fn refusals(channel: &Channel, count: usize) -> Vec<u64> {
    let mut open: Vec<_> = (1..=count as u64).collect();
    let mut refused = Vec::new();
    while !open.is_empty() {
        let (is_ack, tag, multiple) = match channel.next_confirm() {
            Confirm::Ack { delivery_tag, multiple } => (true, delivery_tag, multiple),
            Confirm::Nack { delivery_tag, multiple } => (false, delivery_tag, multiple),
        };
        assert!(open.contains(&tag), "{tag} confirmed twice or never published");
        let meant = |number: u64| number == tag || (multiple && number < tag);
        refused.extend(open.iter().filter(|number| !is_ack && meant(**number)));
        open.retain(|number| !meant(*number));
    }
    channel.expect_nothing();
    refused.sort_unstable();
    refused
}

#[test]
fn the_oldest_messages_give_way() {
    let connection = Connection::open();
    let channel = connection.channel();
    for (arguments, kept) in [
        (vec![max_length(3)], &["33", "44", "55"][..]),
        (vec![max_length(3), ("x-overflow", Value::LongStr(b"drop-head"))], &["33", "44", "55"]),
        (vec![max_length(1)], &["55"]),
        (vec![max_length(0)], &[]),
        (vec![max_length(5)], &["11", "22", "33", "44", "55"]),
        (vec![max_bytes(6)], &["33", "44", "55"]),
        (vec![max_bytes(7)], &["33", "44", "55"]),
        (vec![max_bytes(5)], &["44", "55"]),
        (vec![max_bytes(1)], &[]),
        (vec![max_bytes(0)], &[]),
        (vec![max_length(2), max_bytes(8)], &["44", "55"]),
        (vec![max_length(4), max_bytes(4)], &["44", "55"]),
    ] {
        let queue = queue_with(&channel, &arguments);
        // They are confirmed all the same.
        publish_surely(&connection, "", &queue, &["11", "22", "33", "44", "55"]);
        assert_eq!(channel.message_count(&queue) as usize, kept.len(), "{arguments:?}");
        assert_eq!(drain(&channel, &queue), kept, "{arguments:?}");
        assert_eq!(channel.message_count(&queue), 0, "{arguments:?}");
    }
}

#[test]
fn bodies_are_what_is_limited_in_octets() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = queue_with(&channel, &[max_bytes(10)]);
    // Properties and routing keys do not count, nor do bodies of no octets.
    let properties = Properties { message_id: Some("a message id of more than ten octets"), ..Properties::default() };
    for body in ["", "12345", "", "67890", ""] {
        channel.publish_with("", &queue, &properties, body.as_bytes());
    }
    assert_eq!(drain(&channel, &queue), ["", "12345", "", "67890", ""]);
    publish_surely(&connection, "", &queue, &["1", "2", "123456789"]);
    assert_eq!(drain(&channel, &queue), ["2", "123456789"]);
    // A message that is too large on its own takes all others with it.
    publish_surely(&connection, "", &queue, &["1", "2", "12345678901"]);
    assert_eq!(drain(&channel, &queue), Vec::<String>::new());
}

#[test]
fn what_is_handed_out_does_not_count() {
    let connection = Connection::open();
    let channel = connection.channel();
    for arguments in [[max_length(2)], [max_bytes(2)]] {
        let queue = queue_with(&channel, &arguments);
        for round in 0..3 {
            publish_surely(&connection, "", &queue, &["1", "2"]);
            for body in [b"1", b"2"] {
                assert_eq!(channel.get(&queue).unwrap().body, body, "{round}");
            }
        }
        publish_surely(&connection, "", &queue, &["3", "4", "5"]);
        assert_eq!(drain(&channel, &queue), ["4", "5"]);
    }
}

#[test]
fn what_consumers_take_at_once_does_not_count() {
    let connection = Connection::open();
    for arguments in [[max_length(0)], [max_bytes(0)]] {
        let channel = connection.channel();
        let queue = queue_with(&channel, &arguments);
        channel.consume(&queue);
        publish_surely(&connection, "", &queue, &["1", "2", "3"]);
        assert_eq!(next_bodies(&channel, 3), ["1", "2", "3"]);
    }
}

#[test]
fn what_comes_back_to_a_full_queue_gives_way_first() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let queue = queue_with(&admin, &[max_length(3)]);
    publish_surely(&connection, "", &queue, &["1", "2", "3"]);
    for _ in 0..3 {
        channel.get(&queue).unwrap();
    }
    publish_surely(&connection, "", &queue, &["4", "5"]);
    channel.send(&BasicNack { delivery_tag: 0, multiple: true, requeue: true });
    channel.round_trip();
    assert_eq!(drain(&admin, &queue), ["3", "4", "5"]);
}

#[test]
fn what_comes_back_is_taken_however_full_a_queue_is_that_refuses() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let queue = queue_with(&admin, &[max_length(2), REJECT]);
    publish_surely(&connection, "", &queue, &["1", "2"]);
    for _ in 0..2 {
        channel.get(&queue).unwrap();
    }
    publish_surely(&connection, "", &queue, &["3", "4"]);
    channel.send(&BasicNack { delivery_tag: 0, multiple: true, requeue: true });
    channel.round_trip();
    assert_eq!(drain(&admin, &queue), ["1", "2", "3", "4"]);
}

#[test]
fn a_full_queue_refuses_messages() {
    let connection = Connection::open();
    let channel = connection.channel();
    for overflow in [REJECT, REJECT_DEAD_LETTER] {
        for (arguments, expected) in [
            (vec![max_length(3)], &[4, 5][..]),
            (vec![max_length(1)], &[2, 3, 4, 5]),
            (vec![max_length(0)], &[1, 2, 3, 4, 5]),
            (vec![max_length(5)], &[]),
            (vec![max_bytes(6)], &[4, 5]),
            (vec![max_bytes(5)], &[3, 4, 5]),
            (vec![max_bytes(0)], &[1, 2, 3, 4, 5]),
            (vec![max_length(2), max_bytes(8)], &[3, 4, 5]),
            (vec![max_length(4), max_bytes(4)], &[3, 4, 5]),
        ] {
            let bodies = ["11", "22", "33", "44", "55"];
            let queue = queue_with(&channel, &[arguments.clone(), vec![overflow]].concat());
            assert_eq!(refused(&connection, "", &queue, &bodies), expected, "{arguments:?}");
            assert_eq!(drain(&channel, &queue), bodies[..bodies.len() - expected.len()], "{arguments:?}");
        }
    }
}

#[test]
fn a_full_queue_refuses_only_what_does_not_fit() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = queue_with(&channel, &[max_bytes(5), REJECT]);
    assert_eq!(refused(&connection, "", &queue, &["1", "123456", "23", "456", "45", "6", ""]), [2, 4, 6]);
    assert_eq!(drain(&channel, &queue), ["1", "23", "45", ""]);
}

#[test]
fn a_queue_that_has_room_again_takes_messages_again() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = queue_with(&channel, &[max_length(2), REJECT]);
    for _ in 0..3 {
        assert_eq!(refused(&connection, "", &queue, &["1", "2", "3"]), [3]);
        assert_eq!(channel.get(&queue).unwrap().body, b"1");
        assert_eq!(refused(&connection, "", &queue, &["4", "5"]), [2]);
        assert_eq!(drain(&channel, &queue), ["2", "4"]);
    }
}

#[test]
fn what_is_handed_out_leaves_room() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = queue_with(&channel, &[max_length(1), REJECT]);
    channel.qos(2);
    channel.consume(&queue);
    // Two are handed out, one waits.
    let publisher = connection.channel();
    publisher.confirm_select();
    for (tag, expected) in [(1, true), (2, true), (3, true), (4, false)] {
        publisher.publish("", &queue, b"message");
        let confirm = publisher.next_confirm();
        assert_eq!(matches!(confirm, Confirm::Ack { .. }), expected, "{tag}");
    }
    channel.ack(channel.next_delivery().delivery_tag);
    channel.next_delivery();
    channel.next_delivery();
    publisher.publish("", &queue, b"message");
    assert!(matches!(publisher.next_confirm(), Confirm::Ack { .. }));
}

#[test]
fn a_queue_of_length_zero_refuses_even_what_a_consumer_waits_for() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = queue_with(&channel, &[max_length(0), REJECT]);
    channel.consume(&queue);
    assert_eq!(refused(&connection, "", &queue, &["1", "2"]), [1, 2]);
    channel.expect_nothing_from(&queue);
}

#[test]
fn refused_messages_are_gone_without_a_word_where_nobody_asked_for_confirms() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = queue_with(&channel, &[max_length(1), REJECT]);
    for body in [b"1", b"2"] {
        channel.publish_mandatory("", &queue, body);
    }
    channel.expect_nothing_from(&queue);
    assert_eq!(drain(&channel, &queue), ["1"]);
}

#[test]
fn a_refused_message_does_not_come_back() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let queue = queue_with(&admin, &[max_length(1), REJECT]);
    channel.confirm_select();
    for key in [queue.as_str(), &queue, "testkit-no-such-queue", &queue] {
        let publish = BasicPublish { mandatory: true, ..basic_publish("", key) };
        channel.send_content(&publish, &Properties::default(), b"message");
    }
    assert_eq!(channel.next_return().routing_key, "testkit-no-such-queue");
    assert_eq!(refusals(&channel, 4), [2, 4]);
}

#[test]
fn one_queue_that_refuses_is_enough() {
    let connection = Connection::open();
    let channel = connection.channel();
    let exchange = unique("exchange");
    channel.declare_exchange(&exchange, "fanout");
    let full = queue_with(&channel, &[max_length(1), REJECT]);
    let fuller = queue_with(&channel, &[max_length(2), REJECT]);
    let dropping = queue_with(&channel, &[max_length(1)]);
    let plain = channel.temporary_queue();
    for queue in [&full, &fuller, &dropping, &plain] {
        channel.bind(queue, &exchange, "");
    }
    let bodies = ["1", "2", "3", "4"];
    assert_eq!(refused(&connection, &exchange, "", &bodies), [2, 3, 4]);
    // Who did not refuse a message keeps it.
    for (queue, kept) in [(&full, &bodies[..1]), (&fuller, &bodies[..2]), (&dropping, &bodies[3..]), (&plain, &bodies)]
    {
        assert_eq!(drain(&channel, queue), kept);
    }
}

#[test]
fn persistent_messages_are_refused_alike() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let (full, other) = (unique("full"), unique("durable"));
    let durable = QueueDeclare { durable: true, exclusive: false, ..queue_declare(&full) };
    declare(&admin, &QueueDeclare { arguments: table(&[max_length(2), REJECT]), ..durable });
    declare(&admin, &QueueDeclare { queue: &other, ..durable });
    let exchange = unique("exchange");
    admin.declare_exchange(&exchange, "topic");
    admin.bind(&full, &exchange, "full.#");
    admin.bind(&other, &exchange, "#.other");
    channel.confirm_select();
    for key in ["full", "full.other", "full.other", "other", "nowhere", "full"] {
        let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
        channel.publish_with(&exchange, key, &properties, key.as_bytes());
    }
    assert_eq!(refusals(&channel, 6), [3, 6]);
    assert_eq!(drain(&admin, &full), ["full", "full.other"]);
    assert_eq!(drain(&admin, &other), ["full.other", "full.other", "other"]);
    admin.delete_queue(&full);
    admin.delete_queue(&other);
}

#[test]
fn a_long_run_of_messages_is_refused_one_by_one() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let (full, plain) = (queue_with(&admin, &[max_length(100), REJECT]), admin.temporary_queue());
    channel.confirm_select();
    for number in 0..1000_u32 {
        let key = if number % 2 == 0 { &full } else { &plain };
        channel.publish("", key, &number.to_be_bytes());
    }
    let expected: Vec<_> = (1..=1000).filter(|tag| tag % 2 == 1 && *tag > 200).collect();
    assert_eq!(refusals(&channel, 1000), expected);
    assert_eq!((admin.message_count(&full), admin.message_count(&plain)), (100, 500));
}

#[test]
fn a_transaction_of_which_something_is_refused_costs_the_channel() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let (full, plain) = (queue_with(&admin, &[max_length(2), REJECT]), admin.temporary_queue());
    publish_surely(&connection, "", &plain, &["acked", "kept"]);
    let _: TxSelectOk = channel.call(&TxSelect {});
    channel.publish("", &full, b"1");
    let _: TxCommitOk = channel.call(&TxCommit {});
    for tag in 1..=2 {
        assert_eq!(channel.get(&plain).unwrap().delivery_tag, tag);
    }
    channel.ack(1);
    for (key, body) in [(&full, b"2"), (&plain, b"3"), (&full, b"4"), (&plain, b"5")] {
        channel.publish("", key, body);
    }
    assert_channel_lost(&channel, &TxCommit {}, ReplyCode::PreconditionFailed, "partial tx completion");
    // All but what was refused has taken effect, and what was not settled comes back.
    await_count(&admin, &plain, 3);
    assert_eq!(drain(&admin, &full), ["1", "2"]);
    assert_eq!(drain(&admin, &plain), ["kept", "3", "5"]);
}

#[test]
fn expired_messages_make_room() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = queue_with(&channel, &[max_length(2), REJECT, ("x-message-ttl", Value::I32(20))]);
    assert_eq!(refused(&connection, "", &queue, &["1", "2", "3"]), [3]);
    await_count(&channel, &queue, 0);
    assert_eq!(refused(&connection, "", &queue, &["4", "5", "6"]), [3]);
}

#[test]
fn what_gives_way_is_what_would_be_delivered_next() {
    let connection = Connection::open();
    let (channel, publisher) = (connection.channel(), connection.channel());
    let queue = queue_with(&channel, &[max_length(3), ("x-max-priority", Value::I32(5))]);
    publisher.confirm_select();
    let messages = [(1, "a1"), (3, "b3"), (1, "c1"), (2, "d2"), (5, "e5"), (0, "f0")];
    for (priority, body) in messages {
        let properties = Properties { priority: Some(priority), ..Properties::default() };
        publisher.publish_with("", &queue, &properties, body.as_bytes());
    }
    await_acks(&publisher, messages.len() as u64);
    // b3 gives way to d2, e5 comes and goes at once, and f0 costs d2.
    assert_eq!(drain(&channel, &queue), ["a1", "c1", "f0"]);
}
