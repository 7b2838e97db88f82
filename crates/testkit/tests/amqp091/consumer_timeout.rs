//! Deliveries that have to be settled in time (`x-consumer-timeout`).

use std::time::Instant;

use leveret_protocol::amqp091::method::{BasicConsume, QueueDeclare, QueueDeclareOk};
use leveret_protocol::amqp091::{ReplyCode, Value};
use leveret_testkit::amqp091::{Channel, Connection, basic_consume, queue_declare, table};
use leveret_testkit::{broker, policy, unique};

use crate::refusal::assert_channel_lost;
use crate::traffic::{next_bodies, publish_surely, text};

const ARGUMENT: &str = "x-consumer-timeout";

/// RabbitMQ looks once a minute, before 4.3; since then classic queues have no timeout.
fn is_too_slow() -> bool {
    if broker::is_rabbitmq() {
        eprintln!("skipped: RabbitMQ looks for timeouts once a minute, and not at classic queues since 4.3");
    }
    broker::is_rabbitmq()
}

/// A queue that consumers of other connections may use, too.
#[track_caller]
fn declare(channel: &Channel, ms: i32) -> String {
    let queue = unique("consumer-timeout");
    let arguments = table(&[(ARGUMENT, Value::I32(ms))]);
    let _: QueueDeclareOk<'_> = channel.call(&QueueDeclare { exclusive: false, arguments, ..queue_declare(&queue) });
    queue
}

#[track_caller]
fn expect_timeout(channel: &Channel, ms: i32) {
    let text = format!(
        "delivery acknowledgement on channel {} timed out. Timeout value used: {ms} ms. This timeout value can be \
         configured, see consumers doc guide to learn more",
        channel.number()
    );
    let close = channel.expect_channel_error(ReplyCode::PreconditionFailed, &text);
    assert_eq!((close.class_id, close.method_id), (0, 0));
}

#[test]
fn a_delivery_that_is_not_settled_in_time_costs_its_channel_and_comes_again() {
    if is_too_slow() {
        return;
    }
    let (connection, other) = (Connection::open(), Connection::open());
    let (late, getter) = (connection.channel(), connection.channel());
    let queue = declare(&getter, 300);
    late.consume(&queue);
    publish_surely(&connection, "", &queue, &["1"]);
    let began = Instant::now();
    assert_eq!(next_bodies(&late, 1), ["1"]);
    // The client says nothing meanwhile.
    expect_timeout(&late, 300);
    let millis = began.elapsed().as_millis();
    assert!((290..5_000).contains(&millis), "{millis} ms");
    let next = other.channel();
    next.consume(&queue);
    let delivery = next.next_delivery();
    assert_eq!((text(&delivery.body), delivery.redelivered), ("1".into(), true));
    next.ack(delivery.delivery_tag);
    next.round_trip();
    // The connection goes on, and so does everything that is settled.
    assert_eq!(getter.message_count(&queue), 0);
    next.delete_queue(&queue);
}

#[test]
fn a_consumer_may_ask_for_a_time_of_its_own() {
    if is_too_slow() {
        return;
    }
    let connection = Connection::open();
    let (patient, hasty) = (connection.channel(), connection.channel());
    let queue = declare(&patient, 100);
    for (channel, ms) in [(&patient, 0), (&hasty, 200)] {
        channel.qos(1);
        let arguments = table(&[(ARGUMENT, Value::I32(ms))]);
        channel.consume_with(&BasicConsume { arguments, ..basic_consume(&queue) });
    }
    publish_surely(&connection, "", &queue, &["1", "2"]);
    let held = patient.next_delivery();
    assert_eq!(next_bodies(&hasty, 1), ["2"]);
    expect_timeout(&hasty, 200);
    patient.ack(held.delivery_tag);
    assert_eq!(next_bodies(&patient, 1), ["2"]);
    patient.delete_queue(&queue);
}

#[test]
fn what_basic_get_took_has_to_be_settled_in_time() {
    if is_too_slow() {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = declare(&channel, 100);
    publish_surely(&connection, "", &queue, &["1"]);
    assert_eq!(channel.get(&queue).map(|got| text(&got.body)), Some("1".into()));
    expect_timeout(&channel, 100);
    connection.channel().delete_queue(&queue);
}

#[test]
fn a_policy_gives_a_time_to_consumers_that_are_there_and_the_shorter_one_counts() {
    if is_too_slow() {
        return;
    }
    let connection = Connection::open();
    let (late, keeper) = (connection.channel(), connection.channel());
    let queue = declare(&keeper, 60_000);
    late.consume(&queue);
    publish_surely(&connection, "", &queue, &["1"]);
    assert_eq!(next_bodies(&late, 1), ["1"]);
    let pattern = format!("^{}$", queue.replace('.', "\\."));
    let set = policy::set(&unique("policy"), &pattern, &[("consumer-timeout", 100.into())]);
    expect_timeout(&late, 100);
    set.clear();
    let other = connection.channel();
    other.consume(&queue);
    assert_eq!(next_bodies(&other, 1), ["1"]);
    other.expect_nothing();
    keeper.delete_queue(&queue);
}

#[test]
fn another_time_is_no_reason_to_refuse_a_declaration() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = declare(&channel, 60_000);
    for arguments in [table(&[(ARGUMENT, Value::I32(70_000))]), table(&[])] {
        let _: QueueDeclareOk<'_> =
            channel.call(&QueueDeclare { exclusive: false, arguments, ..queue_declare(&queue) });
    }
    channel.delete_queue(&queue);
}

#[test]
fn what_is_no_time_is_406() {
    if broker::differs("3.10 does not know the argument") {
        return;
    }
    let connection = Connection::open();
    for (value, reason) in
        [(Value::I32(-1), "{value_negative,-1}"), (Value::LongStr(b"1"), "\"expected integer, got longstr\"")]
    {
        let queue = unique("consumer-timeout");
        let declare = QueueDeclare { arguments: table(&[(ARGUMENT, value)]), ..queue_declare(&queue) };
        let text = format!("invalid arg '{ARGUMENT}' for queue '{queue}' in vhost '/': {reason}");
        assert_channel_lost(&connection.channel(), &declare, ReplyCode::PreconditionFailed, &text);
    }
}
