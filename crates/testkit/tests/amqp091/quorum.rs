//! Quorum queues: what they can be, how often they hand a message out, and in which order.

use leveret_protocol::amqp091::method::{
    BasicConsume, BasicGet, BasicNack, BasicQos, BasicQosOk, BasicReject, QueueDeclare, QueueDeclareOk, QueueDelete,
};
use leveret_protocol::amqp091::{Properties, ReplyCode, Table, Value};
use leveret_testkit::amqp091::{Channel, Confirm, Connection, basic_consume, queue_declare, queue_delete, table};
use leveret_testkit::{broker, unique};

use crate::refusal::{assert_channel_lost, assert_connection_lost};
use crate::traffic::{await_acks, drain, next_bodies, publish_surely, text};

const TYPE: (&str, Value<'static>) = ("x-queue-type", Value::LongStr(b"quorum"));

fn longstr(text: &'static str) -> Value<'static> {
    Value::LongStr(text.as_bytes())
}

fn arguments(others: &[(&str, Value<'static>)]) -> Table<'static> {
    table(&[&[TYPE], others].concat())
}

/// A declaration that a quorum queue can have.
fn declaration<'a>(queue: &'a str, others: &[(&str, Value<'static>)]) -> QueueDeclare<'a> {
    QueueDeclare { durable: true, exclusive: false, arguments: arguments(others), ..queue_declare(queue) }
}

/// A new quorum queue.
#[track_caller]
fn declare(channel: &Channel, others: &[(&str, Value<'static>)]) -> String {
    let queue = unique("quorum");
    let _: QueueDeclareOk<'_> = channel.call(&declaration(&queue, others));
    queue
}

/// A header of a message that is a number.
fn count(properties: &Properties<'_>, name: &str) -> Option<i64> {
    match properties.headers.as_ref()?.get(name)? {
        Value::I64(count) => Some(count),
        other => panic!("{name} is {other:?}"),
    }
}

fn nack(channel: &Channel, delivery_tag: u64) {
    channel.send(&BasicNack { delivery_tag, multiple: false, requeue: true });
}

fn reject_requeue(channel: &Channel, delivery_tag: u64) {
    channel.send(&BasicReject { delivery_tag, requeue: true });
}

#[test]
fn a_quorum_queue_is_durable_and_belongs_to_nobody() {
    let connection = Connection::open();
    let queue = unique("quorum");
    let good = declaration(&queue, &[]);
    for (declare, property) in [
        (QueueDeclare { durable: false, ..good }, "non-durable"),
        (QueueDeclare { exclusive: true, ..good }, "exclusive-owner"),
        (QueueDeclare { exclusive: true, durable: false, ..good }, "exclusive-owner"),
        (QueueDeclare { auto_delete: true, exclusive: true, durable: false, ..good }, "auto-delete"),
    ] {
        let text = format!("invalid property '{property}' for queue '{queue}' in vhost '/'");
        assert_channel_lost(&connection.channel(), &declare, ReplyCode::PreconditionFailed, &text);
    }
    let text = "Cannot declare a server-named queue for type rabbit_quorum_queue";
    let unnamed = QueueDeclare { queue: "", ..good };
    assert_channel_lost(&connection.channel(), &unnamed, ReplyCode::PreconditionFailed, text);
}

#[test]
fn arguments_of_other_types_are_refused_and_its_own_compared() {
    let connection = Connection::open();
    let queue = unique("quorum");
    for (argument, value) in [
        ("x-max-priority", Value::I32(5)),
        ("x-max-priority", longstr("many")),
        ("x-queue-mode", longstr("lazy")),
        ("x-queue-version", Value::I32(2)),
        ("x-queue-master-locator", longstr("min-masters")),
        ("x-max-age", longstr("1D")),
    ] {
        let text =
            format!("invalid arg '{argument}' for queue '{queue}' in vhost '/' of queue type rabbit_quorum_queue");
        let declare = declaration(&queue, &[(argument, value)]);
        assert_channel_lost(&connection.channel(), &declare, ReplyCode::PreconditionFailed, &text);
    }
    for (argument, value, reason) in [
        ("x-quorum-initial-group-size", Value::I32(0), "{value_zero,0}"),
        ("x-quorum-initial-group-size", longstr("a"), "\"expected integer, got longstr\""),
        ("x-dead-letter-strategy", longstr("foo"), "invalid_dlx_strategy"),
        ("x-dead-letter-strategy", Value::I32(1), "{unacceptable_type,signedint}"),
        ("x-max-in-memory-length", Value::I32(-1), "{value_negative,-1}"),
    ] {
        let text = format!("invalid arg '{argument}' for queue '{queue}' in vhost '/': {reason}");
        // What is wrong with arguments is said before what is wrong with the rest.
        let declare = QueueDeclare { durable: false, ..declaration(&queue, &[(argument, value)]) };
        assert_channel_lost(&connection.channel(), &declare, ReplyCode::PreconditionFailed, &text);
    }
    let channel = connection.channel();
    for (argument, current, received, kind, shown) in [
        ("x-delivery-limit", Value::I32(1), Value::I32(2), "signedint", ("1", "2")),
        ("x-quorum-initial-group-size", Value::I32(1), Value::I32(3), "signedint", ("1", "3")),
        (
            "x-dead-letter-strategy",
            longstr("at-most-once"),
            longstr("at-least-once"),
            "longstr",
            ("at-most-once", "at-least-once"),
        ),
        ("x-max-in-memory-bytes", Value::I32(1), Value::I32(2), "signedint", ("1", "2")),
        ("x-overflow", longstr("drop-head"), longstr("reject-publish"), "longstr", ("drop-head", "reject-publish")),
    ] {
        let queue = declare(&channel, &[(argument, current)]);
        let _: QueueDeclareOk<'_> = channel.call(&declaration(&queue, &[(argument, current)]));
        let inequivalent = format!("inequivalent arg '{argument}' for queue '{queue}' in vhost '/': received");
        let text = format!("{inequivalent} '{}' but current is '{}'", shown.1, shown.0);
        let other = declaration(&queue, &[(argument, received)]);
        assert_channel_lost(&connection.channel(), &other, ReplyCode::PreconditionFailed, &text);
        let text = format!("{inequivalent} none but current is the value '{}' of type '{kind}'", shown.0);
        let none = declaration(&queue, &[]);
        assert_channel_lost(&connection.channel(), &none, ReplyCode::PreconditionFailed, &text);
        channel.delete_queue(&queue);
    }
}

#[test]
fn arguments_that_have_no_effect_here_are_accepted() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = declare(
        &channel,
        &[
            ("x-quorum-initial-group-size", Value::I32(5)),
            ("x-max-in-memory-length", Value::I32(5)),
            ("x-max-in-memory-bytes", Value::I32(5)),
            ("x-queue-leader-locator", longstr("balanced")),
            ("x-overflow", longstr("reject-publish-dlx")),
        ],
    );
    channel.delete_queue(&queue);
}

#[test]
fn deletion_knows_no_conditions() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = declare(&channel, &[]);
    let plain = queue_delete(&queue);
    for (delete, flag) in [
        (QueueDelete { if_unused: true, ..plain }, "if-unused"),
        (QueueDelete { if_empty: true, ..plain }, "if-empty"),
        (QueueDelete { if_unused: true, if_empty: true, ..plain }, "if-unused"),
    ] {
        let text = format!(
            "cannot delete queue '{queue}' in vhost '/'. queue.delete operations with {flag} flag set are not supported \
             by quorum queues"
        );
        assert_connection_lost(&Connection::open().channel(), &delete, ReplyCode::NotImplemented, &text);
    }
    channel.publish("", &queue, b"m");
    channel.round_trip();
    channel.delete_queue(&queue);
}

#[test]
fn exclusive_use_is_not_known_and_shared_prefetch_refused() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = declare(&channel, &[]);
    let exclusive = BasicConsume { exclusive: true, ..basic_consume(&queue) };
    for _ in 0..2 {
        connection.channel().consume_with(&exclusive);
    }
    let doomed = Connection::open();
    let limited = doomed.channel();
    let _: BasicQosOk = limited.call(&BasicQos { prefetch_size: 0, prefetch_count: 5, global: true });
    let text = format!("queue '{queue}' in vhost '/' does not support global qos");
    assert_connection_lost(&limited, &basic_consume(&queue), ReplyCode::NotImplemented, &text);
    channel.delete_queue(&queue);
}

#[test]
fn messages_are_counted_when_they_come_again() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = declare(&channel, &[]);
    channel.consume(&queue);
    let publisher = connection.channel();
    let headers = table(&[("mine", Value::I32(1))]);
    publisher.publish_with("", &queue, &Properties { headers: Some(headers), ..Properties::default() }, b"m");
    // Each step: how the message went back before, then how often in vain and how often at all it was handed out.
    let differs = broker::differs("every return is a failure, and only failures are counted");
    for (step, failed, acquired) in [
        ("first", None, None),
        ("reject", Some(1), Some(1)),
        ("nack", if differs { Some(2) } else { Some(1) }, Some(2)),
        ("reject", if differs { Some(3) } else { Some(2) }, Some(3)),
    ] {
        let delivery = channel.next_delivery();
        assert_eq!(delivery.redelivered, step != "first", "{step}");
        assert_eq!(count(&delivery.properties, "x-delivery-count"), failed.filter(|_| step != "first"), "{step}");
        if !differs {
            assert_eq!(count(&delivery.properties, "x-acquired-count"), acquired, "{step}");
        }
        assert_eq!(delivery.properties.headers.and_then(|headers| headers.get("mine")), Some(Value::I32(1)), "{step}");
        // The next step says how.
        if step == "reject" && acquired == Some(1) {
            nack(&channel, delivery.delivery_tag);
        } else {
            reject_requeue(&channel, delivery.delivery_tag);
        }
    }
    channel.delete_queue(&queue);
}

#[test]
fn a_lost_channel_is_a_failure() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = declare(&channel, &[]);
    publish_surely(&connection, "", &queue, &["m"]);
    let lost = connection.channel();
    assert!(lost.get(&queue).is_some());
    lost.close();
    let doomed = Connection::open();
    let lost = doomed.channel();
    let got = lost.get(&queue).unwrap();
    assert_eq!(count(&got.properties, "x-delivery-count"), Some(1));
    doomed.close();
    let got = channel.get(&queue).unwrap();
    assert_eq!(count(&got.properties, "x-delivery-count"), Some(2));
    channel.delete_queue(&queue);
}

#[test]
fn a_message_that_fails_too_often_is_dead_lettered() {
    let connection = Connection::open();
    let channel = connection.channel();
    let dead = channel.temporary_queue();
    let (exchange, key) = (("x-dead-letter-exchange", longstr("")), "x-dead-letter-routing-key");
    let key = (key, Value::LongStr(dead.clone().leak().as_bytes()));
    let queue = declare(&channel, &[exchange, key, ("x-delivery-limit", Value::I32(2))]);
    publish_surely(&connection, "", &queue, &["poison", "good"]);
    channel.qos(1);
    channel.consume(&queue);
    let mut deliveries = 0;
    loop {
        let delivery = channel.next_delivery();
        if text(&delivery.body) == "good" {
            break;
        }
        deliveries += 1;
        reject_requeue(&channel, delivery.delivery_tag);
    }
    assert_eq!(deliveries, 3);
    let watcher = connection.channel();
    watcher.consume(&dead);
    let delivery = watcher.next_delivery();
    let headers = delivery.properties.headers.unwrap();
    assert_eq!(headers.get("x-first-death-reason"), Some(longstr("delivery_limit")));
    assert_eq!((text(&delivery.body).as_str(), delivery.redelivered), ("poison", false));
    assert_eq!(headers.get("x-delivery-count"), None, "it is counted in the queue it failed in");
    channel.delete_queue(&queue);
}

#[test]
fn what_comes_back_goes_first_in_the_order_in_which_it_came_back() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = declare(&channel, &[]);
    publish_surely(&connection, "", &queue, &["1", "2", "3", "4", "5"]);
    let tags: Vec<u64> = (0..4).map(|_| channel.get(&queue).unwrap().delivery_tag).collect();
    for (ready, index) in [(2, 2), (3, 0), (4, 3)] {
        nack(&channel, tags[index]);
        // RabbitMQ may let basic.get overtake what was settled before.
        while channel.message_count(&queue) < ready {}
    }
    let mut expected = ["3", "1", "4", "5"];
    if broker::differs("what came back goes behind what never went out") {
        expected.rotate_right(1);
    }
    assert_eq!(drain(&channel, &queue), expected);
    channel.delete_queue(&queue);
}

#[test]
fn priorities_are_strict_and_returned_messages_have_none() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = declare(&channel, &[]);
    let publisher = connection.channel();
    publisher.confirm_select();
    for (body, priority) in
        [("a", None), ("b", Some(5)), ("c", Some(4)), ("d", Some(3)), ("e", Some(31)), ("f", Some(99))]
    {
        publisher.publish_with("", &queue, &Properties { priority, ..Properties::default() }, body.as_bytes());
    }
    await_acks(&publisher, 6);
    if broker::differs("quorum queues have no priorities") {
        assert_eq!(drain(&channel, &queue), ["a", "b", "c", "d", "e", "f"]);
    } else {
        let order = ["e", "f", "b", "a", "c", "d"];
        let tags: Vec<u64> = order
            .map(|expected| {
                let got = channel.get(&queue).unwrap();
                assert_eq!(text(&got.body), expected);
                got.delivery_tag
            })
            .to_vec();
        nack(&channel, tags[5]);
        nack(&channel, tags[0]);
        assert_eq!(drain(&channel, &queue), ["d", "e"]);
    }
    channel.delete_queue(&queue);
}

#[test]
fn a_full_queue_refuses_or_drops_the_oldest() {
    let connection = Connection::open();
    let channel = connection.channel();
    let limit = ("x-max-length", Value::I32(2));
    for overflow in ["drop-head", "reject-publish-dlx"] {
        let queue = declare(&channel, &[limit, ("x-overflow", longstr(overflow))]);
        publish_surely(&connection, "", &queue, &["1", "2", "3"]);
        assert_eq!(drain(&channel, &queue), ["2", "3"], "{overflow}");
        channel.delete_queue(&queue);
    }
    let queue = declare(&channel, &[limit, ("x-overflow", longstr("reject-publish"))]);
    let publisher = connection.channel();
    publisher.confirm_select();
    // RabbitMQ takes what comes before the queue has told the channel that it is full.
    let mut is_refused = false;
    for number in 1..=20 {
        publisher.publish("", &queue, b"m");
        match publisher.next_confirm() {
            Confirm::Ack { delivery_tag, .. } => assert_eq!(delivery_tag, number),
            Confirm::Nack { delivery_tag, .. } => {
                assert_eq!(delivery_tag, number);
                is_refused = true;
                break;
            }
        }
    }
    assert!(is_refused);
    channel.delete_queue(&queue);
}

#[test]
fn a_message_without_a_place_to_go_stays_with_at_least_once() {
    if broker::differs("what leads nowhere is tried again after three minutes only") {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let exchange = unique("dead-letters");
    let name = Value::LongStr(exchange.clone().leak().as_bytes());
    let strict = [
        ("x-dead-letter-exchange", name),
        ("x-dead-letter-strategy", longstr("at-least-once")),
        ("x-overflow", longstr("reject-publish")),
    ];
    let queue = declare(&channel, &strict);
    publish_surely(&connection, "", &queue, &["1", "2"]);
    // There is no such exchange yet, then nothing is bound to it.
    for _ in 0..2 {
        channel.reject(channel.get(&queue).unwrap().delivery_tag);
    }
    assert!(channel.get(&queue).is_none());
    channel.declare_exchange(&exchange, "fanout");
    let dead = channel.temporary_queue();
    channel.expect_nothing_from(&dead);
    channel.bind(&dead, &exchange, "");
    let watcher = connection.channel();
    watcher.consume(&dead);
    assert_eq!(next_bodies(&watcher, 2), ["1", "2"]);
    channel.delete_queue(&queue);
    channel.delete_exchange(&exchange);
}

#[test]
fn a_message_waits_for_its_retry() {
    if broker::differs("there are no delayed retries") {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let queue =
        declare(&channel, &[("x-delayed-retry-type", longstr("failed")), ("x-delayed-retry-min", Value::I32(300))]);
    publish_surely(&connection, "", &queue, &["1", "2"]);
    channel.qos(1);
    channel.consume(&queue);
    let first = channel.next_delivery();
    reject_requeue(&channel, first.delivery_tag);
    // The next one goes meanwhile.
    let second = channel.next_delivery();
    assert_eq!((text(&first.body), text(&second.body)), ("1".into(), "2".into()));
    channel.ack(second.delivery_tag);
    channel.expect_nothing();
    let again = channel.next_delivery();
    assert_eq!((text(&again.body).as_str(), again.redelivered), ("1", true));
    // What did not fail does not wait.
    nack(&channel, again.delivery_tag);
    assert_eq!(next_bodies(&channel, 1), ["1"]);
    channel.delete_queue(&queue);
}

#[test]
fn basic_get_is_not_for_a_single_active_consumer() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = declare(&channel, &[("x-single-active-consumer", Value::Bool(true))]);
    let text = format!(
        "cannot obtain access to locked queue '{queue}' in vhost '/'. basic.get operations are not supported by quorum \
         queues with single active consumer"
    );
    let get = BasicGet { ticket: 0, queue: &queue, no_ack: true };
    assert_channel_lost(&connection.channel(), &get, ReplyCode::ResourceLocked, &text);
    channel.delete_queue(&queue);
}

#[test]
fn a_consumer_of_higher_priority_takes_the_active_ones_place() {
    let connection = Connection::open();
    let publisher = connection.channel();
    let queue = declare(&publisher, &[("x-single-active-consumer", Value::Bool(true))]);
    let with_priority = |priority: i32| {
        let channel = connection.channel();
        let arguments = table(&[("x-priority", Value::I32(priority))]);
        channel.consume_with(&BasicConsume { arguments, ..basic_consume(&queue) });
        channel
    };
    let low = with_priority(1);
    publish_surely(&connection, "", &queue, &["1"]);
    let held = low.next_delivery();
    let high = with_priority(2);
    publish_surely(&connection, "", &queue, &["2"]);
    if broker::differs("the first consumer stays the active one") {
        assert_eq!(next_bodies(&low, 1), ["2"]);
    } else {
        // Not before the old one has settled what it has.
        low.expect_nothing();
        high.expect_nothing();
        low.ack(held.delivery_tag);
        assert_eq!(next_bodies(&high, 1), ["2"]);
        high.close();
        assert_eq!(next_bodies(&low, 1), ["2"]);
    }
    publisher.delete_queue(&queue);
}

#[test]
fn a_message_that_is_not_persistent_is_confirmed_like_others() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = declare(&channel, &[]);
    channel.confirm_select();
    for delivery_mode in [None, Some(1), Some(2)] {
        channel.publish_with("", &queue, &Properties { delivery_mode, ..Properties::default() }, b"m");
    }
    await_acks(&channel, 3);
    let got = channel.get(&queue).unwrap();
    assert_eq!(got.properties.delivery_mode, None, "what it says of itself stays");
    channel.delete_queue(&queue);
}
