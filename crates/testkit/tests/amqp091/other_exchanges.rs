//! The exchanges that choose by modulus or at random, and the one with a history. In RabbitMQ they are plugins.

use leveret_protocol::amqp091::method::{
    ChannelOpen, ChannelOpenOk, ConnectionOpenOk, ExchangeDeclare, ExchangeDeclareOk, Method,
};
use leveret_protocol::amqp091::{Properties, ReplyCode, Value};
use leveret_testkit::amqp091::{Channel, Connection, queue_bind, table};
use leveret_testkit::{broker, unique};

use crate::copies::with_headers;
use crate::exchanges::{bind, declare, lasting};
use crate::refusal::assert_channel_lost;
use crate::routing::bind_exchange;
use crate::traffic::{drain, next_bodies};

/// Messages that shares are counted over.
const MESSAGES: usize = 1000;

/// Whether the broker has this type of exchange; ours must.
pub(crate) fn is_there(kind: &str) -> bool {
    if !broker::is_rabbitmq() {
        return true;
    }
    let mut raw = Connection::builder().through_open();
    let _: ConnectionOpenOk<'_> = raw.expect();
    raw.send_method(1, &ChannelOpen { out_of_band: "" });
    let _: ChannelOpenOk = raw.expect();
    raw.send_method(1, &ExchangeDeclare { auto_delete: true, ..lasting(&unique("probe"), kind) });
    let is_there = matches!(raw.read_frame().method(), Method::ExchangeDeclareOk(ExchangeDeclareOk {}));
    if !is_there {
        eprintln!("RabbitMQ has no {kind} here");
    }
    is_there
}

pub(crate) fn totals(found: &[Vec<String>]) -> Vec<usize> {
    found.iter().map(Vec::len).collect()
}

/// An exchange and queues with these binding keys.
fn bound(channel: &Channel, kind: &str, keys: &[&[&str]]) -> (String, Vec<String>) {
    let exchange = unique("exchange");
    channel.declare_exchange(&exchange, kind);
    let queues = keys.iter().map(|keys| {
        let queue = channel.temporary_queue();
        for key in *keys {
            channel.bind(&queue, &exchange, key);
        }
        queue
    });
    let queues = queues.collect();
    (exchange, queues)
}

fn publish_many(channel: &Channel, exchange: &str, queues: &[String]) -> Vec<Vec<String>> {
    for number in 0..MESSAGES {
        let key = format!("key {number}");
        channel.publish(exchange, &key, key.as_bytes());
    }
    queues.iter().map(|queue| drain(channel, queue)).collect()
}

#[test]
fn modulus_hash_sends_each_key_along_one_binding() {
    if !is_there("x-modulus-hash") {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, queues) = bound(&channel, "x-modulus-hash", &[&["a"], &["b"], &[""]]);
    let found = publish_many(&channel, &exchange, &queues);
    assert_eq!(totals(&found).iter().sum::<usize>(), MESSAGES);
    assert!(found.iter().all(|found| (250..420).contains(&found.len())), "{:?}", totals(&found));
    assert_eq!(publish_many(&channel, &exchange, &queues), found);
}

#[test]
fn modulus_hash_counts_each_binding() {
    if !is_there("x-modulus-hash") {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, queues) = bound(&channel, "x-modulus-hash", &[&["a"], &["a", "b", "c"]]);
    let found = totals(&publish_many(&channel, &exchange, &queues));
    assert!((180..320).contains(&found[0]) && found[0] + found[1] == MESSAGES, "{found:?}");
}

#[test]
fn random_sends_each_message_along_any_one_binding() {
    if !is_there("x-random") {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, queues) = bound(&channel, "x-random", &[&["a"], &["a", "b", "c"]]);
    for _ in 0..MESSAGES {
        channel.publish(&exchange, "one key", b"");
    }
    let found: Vec<usize> = queues.iter().map(|queue| drain(&channel, queue).len()).collect();
    assert!((180..320).contains(&found[0]) && found[0] + found[1] == MESSAGES, "{found:?}");
}

#[test]
fn local_random_takes_queues_under_the_empty_key() {
    if !is_there("x-local-random") {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, queues) = bound(&channel, "x-local-random", &[&[""], &[""]]);
    let found = totals(&publish_many(&channel, &exchange, &queues));
    assert!((400..600).contains(&found[0]) && found[0] + found[1] == MESSAGES, "{found:?}");
    let refused = ReplyCode::PreconditionFailed;
    let with_key = queue_bind(&queues[0], &exchange, "k");
    assert_channel_lost(&connection.channel(), &with_key, refused, "Non empty binding 'k' key not permitted");
    let of_exchange = bind("amq.fanout", &exchange, "");
    assert_channel_lost(&connection.channel(), &of_exchange, refused, "Destination not found");
}

fn history(channel: &Channel, length: i32) -> String {
    let exchange = unique("history");
    let arguments = table(&[("x-recent-history-length", Value::I32(length))]);
    declare(channel, &ExchangeDeclare { auto_delete: true, arguments, ..lasting(&exchange, "x-recent-history") });
    exchange
}

#[test]
fn a_new_binding_gets_the_recent_history() {
    if !is_there("x-recent-history") {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let exchange = history(&channel, 3);
    let first = channel.temporary_queue();
    channel.bind(&first, &exchange, "any");
    for body in ["1", "2", "3", "4"] {
        channel.publish(&exchange, "key", body.as_bytes());
    }
    let no_store = with_headers(table(&[("x-recent-history-no-store", Value::Bool(true))]));
    channel.publish_with(&exchange, "key", &no_store, b"not kept");
    assert_eq!(drain(&channel, &first), ["1", "2", "3", "4", "not kept"]);
    let late = channel.temporary_queue();
    channel.bind(&late, &exchange, "");
    let got = channel.get(&late).unwrap();
    assert_eq!((got.exchange, got.routing_key, got.redelivered), (exchange.as_str(), "key", false));
    channel.ack(got.delivery_tag);
    channel.publish(&exchange, "key", b"5");
    assert_eq!(drain(&channel, &late), ["3", "4", "5"]);
    channel.bind(&late, &exchange, "");
    assert!(drain(&channel, &late).is_empty(), "the binding was there already");
    channel.bind(&late, &exchange, "another");
    assert_eq!(drain(&channel, &late), ["3", "4", "5"]);
}

#[test]
fn twenty_messages_are_history_by_default() {
    if !is_there("x-recent-history") {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let exchange = unique("history");
    channel.declare_exchange(&exchange, "x-recent-history");
    for number in 0..30 {
        channel.publish(&exchange, "", number.to_string().as_bytes());
    }
    let queue = channel.temporary_queue();
    channel.bind(&queue, &exchange, "");
    let expected: Vec<String> = (10..30).map(|number| number.to_string()).collect();
    assert_eq!(drain(&channel, &queue), expected);
}

#[test]
fn what_other_exchanges_route_is_history_too() {
    if !is_there("x-recent-history") {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (source, exchange) = (unique("source"), history(&channel, 5));
    channel.declare_exchange(&source, "topic");
    bind_exchange(&channel, &exchange, &source, "a.#");
    for key in ["a.1", "b.1", "a.2"] {
        channel.publish(&source, key, key.as_bytes());
    }
    let queue = channel.temporary_queue();
    channel.bind(&queue, &exchange, "");
    assert_eq!(drain(&channel, &queue), ["a.1", "a.2"]);
}

#[test]
fn what_is_dead_lettered_is_history_too() {
    if !is_there("x-recent-history") {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, source, first) = (history(&channel, 5), unique("source"), channel.temporary_queue());
    channel.bind(&first, &exchange, "");
    let dead_letters = [("x-dead-letter-exchange", Value::LongStr(exchange.as_bytes()))];
    channel.declare_queue_with(&source, table(&dead_letters));
    channel.publish("", &source, b"dead");
    channel.reject(channel.get(&source).unwrap().delivery_tag);
    channel.consume(&first);
    assert_eq!(channel.next_delivery().body, b"dead");
    let queue = channel.temporary_queue();
    channel.bind(&queue, &exchange, "");
    assert_eq!(drain(&channel, &queue), ["dead"]);
}

#[test]
fn the_history_expires_as_if_it_were_published_anew() {
    if !is_there("x-recent-history") {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, dead, queue) = (history(&channel, 5), channel.temporary_queue(), unique("queue"));
    let expiring = Properties { expiration: Some("50"), ..Properties::default() };
    channel.publish_with(&exchange, "", &expiring, b"1");
    channel.publish(&exchange, "", b"2");
    let arguments = [
        ("x-message-ttl", Value::I32(100)),
        ("x-dead-letter-exchange", Value::LongStr(b"")),
        ("x-dead-letter-routing-key", Value::LongStr(dead.as_bytes())),
    ];
    channel.declare_queue_with(&queue, table(&arguments));
    channel.consume(&dead);
    channel.bind(&queue, &exchange, "");
    assert_eq!(next_bodies(&channel, 2), ["1", "2"]);
}

#[test]
fn an_exchange_that_is_bound_routes_the_history() {
    if !is_there("x-recent-history") {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, destination) = (history(&channel, 5), unique("destination"));
    channel.declare_exchange(&destination, "topic");
    let queues = ["a.#", "#"].map(|pattern| {
        let queue = channel.temporary_queue();
        channel.bind(&queue, &destination, pattern);
        queue
    });
    for key in ["a.1", "b.1", "a.2"] {
        channel.publish(&exchange, key, key.as_bytes());
    }
    bind_exchange(&channel, &destination, &exchange, "");
    let found = queues.map(|queue| drain(&channel, &queue));
    if broker::is_rabbitmq() {
        // Backwards there, which nobody can want.
        assert_eq!(found.map(|found| found.len()), [2, 3]);
        return;
    }
    assert_eq!(found, [vec!["a.1", "a.2"], vec!["a.1", "b.1", "a.2"]]);
}

#[test]
fn the_length_of_a_history_is_a_positive_integer() {
    if !is_there("x-recent-history") {
        return;
    }
    let connection = Connection::open();
    for (length, shown) in [
        (Value::I32(0), "0"),
        (Value::I32(-1), "-1"),
        (Value::LongStr(b"5"), "<<\"5\">>"),
        (Value::F64(1.5), "1.5"),
        (Value::Bool(true), "true"),
    ] {
        let exchange = unique("exchange");
        let arguments = table(&[("x-recent-history-length", length)]);
        let explanation = format!("Invalid argument {shown}, 'x-recent-history-length' must be a positive integer");
        let declare = ExchangeDeclare { arguments, ..lasting(&exchange, "x-recent-history") };
        assert_channel_lost(&connection.channel(), &declare, ReplyCode::PreconditionFailed, &explanation);
    }
}
