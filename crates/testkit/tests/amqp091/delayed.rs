//! Delayed messages. In RabbitMQ they are a plugin.

use std::time::{Duration, Instant};

use leveret_protocol::amqp091::method::{BasicPublish, ExchangeDeclare};
use leveret_protocol::amqp091::{Properties, ReplyCode, Value};
use leveret_testkit::amqp091::{Channel, Connection, basic_publish, table};
use leveret_testkit::{broker, policy, unique};

use crate::copies::with_headers;
use crate::exchanges::{declare, lasting};
use crate::other_exchanges::is_there;
use crate::refusal::assert_channel_lost;
use crate::routing::bind_exchange;
use crate::traffic::{await_acks, await_count, drain, next_bodies};

const KIND: &str = "x-delayed-message";
/// How much earlier than told a client may see a message: clocks count whole milliseconds.
const EARLY: Duration = Duration::from_millis(2);

fn delaying<'a>(exchange: &'a str, delayed_type: &str) -> ExchangeDeclare<'a> {
    let arguments = table(&[("x-delayed-type", Value::LongStr(delayed_type.as_bytes()))]);
    ExchangeDeclare { arguments, auto_delete: true, ..lasting(exchange, KIND) }
}

/// A delaying exchange and a queue bound to it with `k`.
fn set_up(channel: &Channel, delayed_type: &str) -> (String, String) {
    let (exchange, queue) = (unique("delayed"), channel.temporary_queue());
    declare(channel, &delaying(&exchange, delayed_type));
    channel.bind(&queue, &exchange, "k");
    (exchange, queue)
}

fn publish(channel: &Channel, exchange: &str, delay: Value<'_>, body: &str) {
    channel.publish_with(exchange, "k", &with_headers(table(&[("x-delay", delay)])), body.as_bytes());
}

#[test]
fn messages_come_after_their_delay_in_the_order_in_which_they_are_due() {
    if !is_there(KIND) {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, queue) = set_up(&channel, "direct");
    channel.consume(&queue);
    let start = Instant::now();
    for (delay, body) in [(200, "200"), (50, "50"), (100, "100"), (0, "0"), (-300, "-300")] {
        publish(&channel, &exchange, Value::I32(delay), body);
    }
    assert_eq!(next_bodies(&channel, 2), ["0", "-300"]);
    for ms in [50, 100, 200] {
        let delivery = channel.next_delivery();
        assert_eq!(delivery.body, ms.to_string().as_bytes());
        assert!(start.elapsed() + EARLY >= Duration::from_millis(ms), "{ms} after {:?}", start.elapsed());
        let headers = delivery.properties.headers.unwrap();
        assert_eq!(headers.get("x-delay"), Some(Value::I32(-i32::try_from(ms).unwrap())));
    }
}

#[test]
fn a_delay_may_be_any_number() {
    if !is_there(KIND) {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, queue) = set_up(&channel, "fanout");
    for (delay, waits) in [
        (Value::I64(600_000), true),
        (Value::U32(600_000), true),
        (Value::LongStr(b"600000"), true),
        (Value::F64(600_000.5), true),
        (Value::I64(-600_000), false),
        (Value::Bool(true), false),
        (Value::Void, false),
    ] {
        let before = channel.message_count(&queue);
        let other = connection.channel();
        other.confirm_select();
        publish(&other, &exchange, delay, "message");
        await_acks(&other, 1);
        await_count(&channel, &queue, before + u32::from(!waits));
    }
}

#[test]
fn routing_is_that_of_the_inner_type() {
    if !is_there(KIND) {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let exchange = unique("delayed");
    declare(&channel, &delaying(&exchange, "topic"));
    let queue = channel.temporary_queue();
    channel.bind(&queue, &exchange, "a.#");
    for (key, delay) in [("b", 20), ("a.b", 40), ("b.a", 20), ("a", 60)] {
        let headers = table(&[("x-delay", Value::I32(delay))]);
        channel.publish_with(&exchange, key, &with_headers(headers), key.as_bytes());
    }
    channel.consume(&queue);
    assert_eq!(next_bodies(&channel, 2), ["a.b", "a"]);
}

#[test]
fn the_inner_type_must_be_there() {
    if !is_there(KIND) {
        return;
    }
    let connection = Connection::open();
    let missing = "Invalid argument, 'x-delayed-type' must be an existing exchange type";
    let itself = "Invalid argument, 'x-delayed-message' can't be used for 'x-delayed-type'";
    let exchange = unique("refused");
    let with = |value| ExchangeDeclare { arguments: table(&[("x-delayed-type", value)]), ..lasting(&exchange, KIND) };
    for (declare, text) in [
        (lasting(&exchange, KIND), missing),
        (with(Value::I32(1)), missing),
        (with(Value::LongStr(KIND.as_bytes())), itself),
    ] {
        assert_channel_lost(&connection.channel(), &declare, ReplyCode::PreconditionFailed, text);
    }
}

#[test]
fn an_exchange_behind_a_delaying_one_gets_messages_when_they_are_due() {
    if !is_there(KIND) {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (first, second) = (unique("first"), unique("second"));
    declare(&channel, &delaying(&first, "direct"));
    declare(&channel, &delaying(&second, "direct"));
    bind_exchange(&channel, &second, &first, "k");
    let queue = channel.temporary_queue();
    channel.bind(&queue, &second, "k");
    let start = Instant::now();
    publish(&channel, &first, Value::I32(150), "message");
    channel.consume(&queue);
    assert_eq!(next_bodies(&channel, 1), ["message"]);
    let elapsed = start.elapsed();
    assert!(elapsed + EARLY >= Duration::from_millis(150), "after {elapsed:?}");
    assert!(elapsed < Duration::from_millis(300) || cfg!(debug_assertions), "it was held back twice: {elapsed:?}");
}

#[test]
fn what_is_held_back_is_confirmed_and_does_not_come_back() {
    if !is_there(KIND) || broker::is_rabbitmq() {
        // The plugin returns what is mandatory, as it finds no queue for it at that moment.
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, queue) = set_up(&channel, "direct");
    channel.confirm_select();
    let headers = with_headers(table(&[("x-delay", Value::I32(30))]));
    let publish = BasicPublish { mandatory: true, ..basic_publish(&exchange, "k") };
    channel.send_content(&publish, &headers, b"message");
    await_acks(&channel, 1);
    await_count(&channel, &queue, 1);
    assert_eq!(drain(&channel, &queue), ["message"]);
}

#[test]
fn a_message_can_wait_until_a_moment() {
    if !is_there(KIND) || broker::is_rabbitmq() {
        // This header is ours.
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, queue) = set_up(&channel, "direct");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let at = i64::try_from(now.as_millis()).unwrap() + 100;
    let start = Instant::now();
    let headers = |value| with_headers(table(&[("x-deliver-at", value)]));
    channel.publish_with(&exchange, "k", &headers(Value::I64(at)), b"later");
    channel.publish_with(&exchange, "k", &headers(Value::Timestamp(1_000_000)), b"now");
    channel.consume(&queue);
    assert_eq!(next_bodies(&channel, 2), ["now", "later"]);
    // The broker's clock may have begun to count at another part of a millisecond.
    assert!(start.elapsed() + EARLY * 2 >= Duration::from_millis(100), "after {:?}", start.elapsed());
}

#[test]
fn a_policy_makes_any_exchange_hold_messages_back() {
    if broker::is_rabbitmq() {
        // This key is LavinMQ's.
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, queue) = (unique("plain"), channel.temporary_queue());
    channel.declare_exchange(&exchange, "direct");
    channel.bind(&queue, &exchange, "k");
    let _policy = policy::set(&exchange, &format!("^{exchange}$"), &[("delayed-message", true.into())]);
    publish(&channel, &exchange, Value::I32(600_000), "held back");
    channel.publish_with(&exchange, "k", &Properties::default(), b"at once");
    await_count(&channel, &queue, 1);
    assert_eq!(drain(&channel, &queue), ["at once"]);
}
