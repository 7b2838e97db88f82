//! The consistent hash exchange. In RabbitMQ it is a plugin.

use leveret_protocol::amqp091::method::{ExchangeDeclare, QueueUnbind, QueueUnbindOk};
use leveret_protocol::amqp091::{Properties, ReplyCode, Table, Value};
use leveret_testkit::amqp091::{Channel, Connection, queue_bind, table};
use leveret_testkit::{broker, unique};

use crate::copies::with_headers;
use crate::exchanges::{declare, lasting};
use crate::other_exchanges::{is_there, totals};
use crate::refusal::assert_channel_lost;
use crate::routing::bind_exchange;
use crate::traffic::drain;

const KIND: &str = "x-consistent-hash";
/// Messages that shares are counted over.
const MESSAGES: usize = 1000;

/// An exchange with these arguments and a queue for each weight.
fn bound(channel: &Channel, arguments: Table<'_>, weights: &[&str]) -> (String, Vec<String>) {
    let exchange = unique("exchange");
    declare(channel, &ExchangeDeclare { auto_delete: true, arguments, ..lasting(&exchange, KIND) });
    let queues = weights.iter().map(|weight| {
        let queue = channel.temporary_queue();
        channel.bind(&queue, &exchange, weight);
        queue
    });
    let queues = queues.collect();
    (exchange, queues)
}

/// Publishes a message for each of many keys; what each queue got.
fn publish_many(channel: &Channel, exchange: &str, queues: &[String]) -> Vec<Vec<String>> {
    for number in 0..MESSAGES {
        let key = format!("key {number}");
        channel.publish(exchange, &key, key.as_bytes());
    }
    queues.iter().map(|queue| drain(channel, queue)).collect()
}

fn unbind(channel: &Channel, queue: &str, exchange: &str, routing_key: &str) {
    let arguments = Table::default();
    let _: QueueUnbindOk = channel.call(&QueueUnbind { ticket: 0, queue, exchange, routing_key, arguments });
}

#[test]
fn each_message_goes_to_one_destination_by_weight() {
    if !is_there(KIND) {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, queues) = bound(&channel, Table::default(), &["1", "3"]);
    let found = publish_many(&channel, &exchange, &queues);
    assert_eq!(totals(&found).iter().sum::<usize>(), MESSAGES);
    // RabbitMQ's hash is not as even as it could be.
    assert!((150..350).contains(&found[0].len()), "{:?}", totals(&found));
    assert_eq!(publish_many(&channel, &exchange, &queues), found, "the same key goes the same way");
}

#[test]
fn a_destination_that_goes_moves_its_share_only() {
    if !is_there(KIND) {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, queues) = bound(&channel, Table::default(), &["1", "1", "1"]);
    let before = publish_many(&channel, &exchange, &queues);
    // The last one: RabbitMQ moves more than its share if another one goes.
    unbind(&channel, &queues[2], &exchange, "1");
    let after = publish_many(&channel, &exchange, &queues);
    assert!(after[2].is_empty());
    for (before, after) in before.iter().zip(&after).take(2) {
        assert!(before.iter().all(|message| after.contains(message)));
    }
    channel.bind(&queues[2], &exchange, "1");
    assert_eq!(publish_many(&channel, &exchange, &queues), before);
}

#[test]
fn the_second_binding_of_a_queue_changes_nothing() {
    if !is_there(KIND) {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, queues) = bound(&channel, Table::default(), &["1", "1"]);
    let before = publish_many(&channel, &exchange, &queues);
    channel.bind(&queues[0], &exchange, "50");
    assert_eq!(publish_many(&channel, &exchange, &queues), before);
    if broker::is_rabbitmq() {
        // There the queue is gone from the ring with any of its bindings.
        return;
    }
    unbind(&channel, &queues[0], &exchange, "50");
    assert_eq!(publish_many(&channel, &exchange, &queues), before);
}

#[test]
fn a_header_or_a_property_is_hashed_instead_of_the_key() {
    if !is_there(KIND) {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let text = |name: &'static str, value: &'static str| table(&[(name, Value::LongStr(value.as_bytes()))]);
    let with_id = |correlation_id| Properties { correlation_id: Some(correlation_id), ..Properties::default() };
    let with_message_id = |message_id| Properties { message_id: Some(message_id), ..Properties::default() };
    let with_time = |timestamp| Properties { timestamp: Some(timestamp), ..Properties::default() };
    let none = Properties::default();
    let many = 64_u32;
    for (argument, value, one, others) in [
        ("hash-header", "h", with_headers(text("h", "a")), [with_headers(text("h", "b")), none]),
        ("hash-header", "h", with_headers(table(&[("h", Value::I32(1))])), [with_headers(text("other", "a")), none]),
        ("hash-property", "correlation_id", with_id("a"), [with_id("b"), none]),
        ("hash-property", "message_id", with_message_id("a"), [with_message_id("b"), none]),
        ("hash-property", "timestamp", with_time(1), [with_time(2), none]),
    ] {
        let (exchange, queues) = bound(&channel, text(argument, value), &["1"; 10]);
        for properties in [one, others[0], others[1]] {
            for key in 0..many {
                channel.publish_with(&exchange, &key.to_string(), &properties, b"");
            }
            let found: Vec<u32> = queues.iter().map(|queue| channel.message_count(queue)).collect();
            assert!(found.contains(&many), "{argument} {value} {properties:?}: {found:?}");
            for queue in &queues {
                drain(&channel, queue);
            }
        }
    }
}

#[test]
fn exchanges_can_be_bound_by_weight_too() {
    if !is_there(KIND) {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, mut queues) = bound(&channel, Table::default(), &["1"]);
    let (fanout, queue) = (unique("fanout"), channel.temporary_queue());
    channel.declare_exchange(&fanout, "fanout");
    channel.bind(&queue, &fanout, "");
    bind_exchange(&channel, &fanout, &exchange, "1");
    queues.push(queue);
    let found = totals(&publish_many(&channel, &exchange, &queues));
    assert_eq!(found.iter().sum::<usize>(), MESSAGES);
    assert!(found.iter().all(|count| *count > MESSAGES / 4), "{found:?}");
}

#[test]
fn binding_keys_must_be_weights() {
    if !is_there(KIND) {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, queues) = bound(&channel, Table::default(), &["1"]);
    for (key, explanation) in [
        ("k", "The binding key must be an integer: <<\"k\">>"),
        ("", "The binding key must be an integer: <<>>"),
        ("1.5", "The binding key must be an integer: <<\"1.5\">>"),
        ("0", "The binding key must be greater than 0"),
        ("-1", "The binding key must be greater than 0"),
        ("10001", "The binding key must not exceed 10000"),
    ] {
        if key == "10001" && broker::differs("there is no highest weight") {
            continue;
        }
        let bind = queue_bind(&queues[0], &exchange, key);
        assert_channel_lost(&connection.channel(), &bind, ReplyCode::PreconditionFailed, explanation);
    }
    channel.bind(&queues[0], &exchange, "+7");
}

#[test]
fn one_thing_is_hashed() {
    if !is_there(KIND) {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let text = |value: &'static str| Value::LongStr(value.as_bytes());
    for (arguments, explanation) in [
        (&[("hash-property", text("app_id"))][..], "Unsupported property: app_id"),
        (
            &[("hash-property", text("message_id")), ("hash-header", text("h"))],
            "hash-header and hash-property are mutually exclusive",
        ),
    ] {
        let exchange = unique("exchange");
        let declare = ExchangeDeclare { arguments: table(arguments), ..lasting(&exchange, KIND) };
        assert_channel_lost(&connection.channel(), &declare, ReplyCode::PreconditionFailed, explanation);
    }
    // What is hashed is not compared when the exchange is declared again.
    let exchange = unique("exchange");
    for arguments in [&[("hash-property", text("message_id"))][..], &[("hash-header", text("h"))], &[]] {
        declare(&channel, &ExchangeDeclare { arguments: table(arguments), ..lasting(&exchange, KIND) });
    }
    channel.delete_exchange(&exchange);
}
