//! Queues that go away when nobody uses them: `x-expires`.

use std::time::{Duration, Instant};

use leveret_protocol::amqp091::Value;
use leveret_protocol::amqp091::method::{BasicPublish, Method, QueueDeclare};
use leveret_protocol::amqp091::{Properties, Table};
use leveret_testkit::amqp091::{Channel, Connection, DEADLINE, Reply, basic_publish, queue_declare, table};
use leveret_testkit::unique;

use crate::queues::{assert_gone, declare};
use crate::traffic::{await_acks, let_pass, publish_surely};

/// How long the queues of these tests live without use.
const EXPIRES: Duration = Duration::from_millis(200);
/// How much earlier than told a client may see a queue go: clocks count whole milliseconds.
const EARLY: Duration = Duration::from_millis(2);

fn arguments() -> Table<'static> {
    table(&[("x-expires", Value::I32(200))])
}

fn expiring_queue(channel: &Channel) -> String {
    let queue = unique("queue");
    channel.declare_queue_with(&queue, arguments());
    queue
}

/// Whether a message came back or was confirmed.
struct Routed(bool);

impl Reply for Routed {
    const NAME: &'static str = "basic.return or basic.ack";

    fn from_method(method: Method<'static>) -> Option<Self> {
        match method {
            Method::BasicReturn(_) => Some(Self(false)),
            Method::BasicAck(_) => Some(Self(true)),
            _ => None,
        }
    }
}

/// Awaits that a queue is gone, without using it: by messages to it that come back then.
#[track_caller]
pub(crate) fn await_unroutable(connection: &Connection, queue: &str) {
    let until = Instant::now() + DEADLINE;
    let channel = connection.channel();
    channel.confirm_select();
    loop {
        let publish = BasicPublish { mandatory: true, ..basic_publish("", queue) };
        channel.send_content(&publish, &Properties::default(), b"probe");
        if !channel.expect::<Routed>().0 {
            break;
        }
        assert!(Instant::now() < until, "{queue} is still there");
    }
    channel.close();
}

#[test]
fn a_queue_nobody_uses_is_deleted() {
    let connection = Connection::open();
    let channel = connection.channel();
    for (durable, exclusive, auto_delete) in
        [(false, true, false), (false, false, false), (true, false, false), (true, false, true)]
    {
        let queue = unique("queue");
        let start = Instant::now();
        let with_expiry =
            QueueDeclare { durable, exclusive, auto_delete, arguments: arguments(), ..queue_declare(&queue) };
        declare(&channel, &with_expiry);
        await_unroutable(&connection, &queue);
        assert!(start.elapsed() + EARLY >= EXPIRES, "gone after {:?}", start.elapsed());
        assert_gone(&connection, &queue);
        // The name is free again.
        declare(&channel, &QueueDeclare { exclusive: true, durable: false, ..with_expiry });
    }
}

#[test]
fn messages_and_bindings_do_not_keep_a_queue() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = expiring_queue(&channel);
    let exchange = unique("exchange");
    channel.declare_exchange(&exchange, "fanout");
    channel.bind(&queue, &exchange, "");
    publish_surely(&connection, &exchange, "", &["1", "2", "3"]);
    await_unroutable(&connection, &queue);
    assert_gone(&connection, &queue);
}

#[test]
fn the_bindings_of_an_expired_queue_are_gone() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = expiring_queue(&channel);
    // This exchange goes with its last binding.
    let exchange = unique("exchange");
    channel.declare_exchange(&exchange, "fanout");
    channel.bind(&queue, &exchange, "");
    await_unroutable(&connection, &queue);
    channel.declare_exchange(&exchange, "direct");
}

#[test]
fn consumers_keep_a_queue() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = expiring_queue(&channel);
    let consumer = channel.consume(&queue);
    let_pass(&connection, 400);
    publish_surely(&connection, "", &queue, &["still there"]);
    assert_eq!(channel.next_delivery().body, b"still there");
    // From here on nobody uses it.
    let start = Instant::now();
    channel.cancel(consumer);
    await_unroutable(&connection, &queue);
    assert!(start.elapsed() + EARLY >= EXPIRES, "gone after {:?}", start.elapsed());
    // What it had handed out can still be settled.
    channel.ack(1);
    channel.expect_nothing();
}

#[test]
fn a_consumer_among_others_can_go() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let queue = expiring_queue(&channel);
    channel.consume(&queue);
    other.consume(&queue);
    other.close();
    let_pass(&connection, 400);
    publish_surely(&connection, "", &queue, &["still there"]);
    assert_eq!(channel.next_delivery().body, b"still there");
    channel.close();
    await_unroutable(&connection, &queue);
}

#[test]
fn unsettled_messages_do_not_keep_a_queue() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = expiring_queue(&channel);
    publish_surely(&connection, "", &queue, &["1"]);
    channel.get(&queue).unwrap();
    await_unroutable(&connection, &queue);
    channel.ack(1);
    channel.expect_nothing();
}

#[test]
fn what_uses_a_queue_renews_it() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (got, declared) = (expiring_queue(&channel), expiring_queue(&channel));
    let asked_for = expiring_queue(&channel);
    let start = Instant::now();
    while start.elapsed() < EXPIRES * 2 {
        assert!(channel.get(&got).is_none());
        channel.declare_queue_with(&declared, arguments());
        assert_eq!(channel.message_count(&asked_for), 0, "a passive declaration");
    }
    for queue in [&got, &declared] {
        assert_eq!(channel.message_count(queue), 0);
    }
    // Publishing does not.
    let publisher = connection.channel();
    publisher.confirm_select();
    publisher.publish("", &got, b"message");
    await_acks(&publisher, 1);
    await_unroutable(&connection, &got);
    await_unroutable(&connection, &declared);
}
