//! Single active consumer: one consumer is served, the others wait to take its place.

use leveret_protocol::amqp091::method::{BasicConsume, QueueDeclare, QueueDeclareOk};
use leveret_protocol::amqp091::{ReplyCode, Value};
use leveret_testkit::amqp091::{Channel, Connection, basic_consume, queue_declare, table};
use leveret_testkit::unique;

use crate::refusal::assert_channel_lost;
use crate::traffic::{next_bodies, publish_surely, text};

/// A queue that consumers of other connections may use, too.
#[track_caller]
fn declare(channel: &Channel) -> String {
    let queue = unique("single-active");
    let arguments = table(&[("x-single-active-consumer", Value::Bool(true))]);
    let _: QueueDeclareOk<'_> = channel.call(&QueueDeclare { exclusive: false, arguments, ..queue_declare(&queue) });
    queue
}

fn tagged<'a>(queue: &'a str, consumer_tag: &'a str) -> BasicConsume<'a> {
    BasicConsume { consumer_tag, ..basic_consume(queue) }
}

/// Bodies of the next deliveries, those that come again marked.
#[track_caller]
fn next_marked(channel: &Channel, count: usize) -> Vec<String> {
    let next = || {
        let delivery = channel.next_delivery();
        text(&delivery.body) + if delivery.redelivered { "*" } else { "" }
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[test]
fn only_the_first_consumer_is_served_whatever_its_credit() {
    let connection = Connection::open();
    let [first, second] = [connection.channel(), connection.channel()];
    let queue = declare(&first);
    first.qos(1);
    first.consume(&queue);
    second.consume(&queue);
    publish_surely(&connection, "", &queue, &["1", "2", "3"]);
    for number in 1..=3 {
        let delivery = first.next_delivery();
        assert_eq!(text(&delivery.body), number.to_string());
        second.expect_nothing();
        first.ack(delivery.delivery_tag);
    }
    first.delete_queue(&queue);
}

#[test]
fn the_next_consumer_takes_over_when_the_active_one_is_cancelled() {
    let connection = Connection::open();
    let [first, second, third] = [connection.channel(), connection.channel(), connection.channel()];
    let queue = declare(&first);
    first.qos(2);
    let tag = first.consume(&queue);
    for channel in [&second, &third] {
        channel.consume(&queue);
    }
    publish_surely(&connection, "", &queue, &["1", "2", "3", "4"]);
    let held = [first.next_delivery(), first.next_delivery()];
    first.cancel(tag);
    // What the old one holds comes before everything else, so the next one waits for it.
    second.expect_nothing();
    first.ack(held[1].delivery_tag);
    first.requeue(held[0].delivery_tag);
    assert_eq!(next_marked(&second, 3), ["1*", "3", "4"]);
    third.expect_nothing();
    third.delete_queue(&queue);
}

#[test]
fn the_next_consumer_gets_what_a_closed_channel_gives_back_first() {
    let connection = Connection::open();
    let [first, second] = [connection.channel(), connection.channel()];
    let queue = declare(&first);
    first.qos(3);
    first.consume(&queue);
    second.consume(&queue);
    publish_surely(&connection, "", &queue, &["1", "2", "3", "4", "5"]);
    assert_eq!(next_bodies(&first, 3), ["1", "2", "3"]);
    first.close();
    assert_eq!(next_marked(&second, 5), ["1*", "2*", "3*", "4", "5"]);
    second.delete_queue(&queue);
}

#[test]
fn the_next_consumer_gets_what_a_client_that_cancels_first_gives_back_by_closing() {
    // As pika's `connection.close()` does.
    let connection = Connection::open();
    let [first, second] = [connection.channel(), connection.channel()];
    let queue = declare(&first);
    first.qos(2);
    let tag = first.consume(&queue);
    second.consume(&queue);
    publish_surely(&connection, "", &queue, &["1", "2", "3", "4"]);
    assert_eq!(next_bodies(&first, 2), ["1", "2"]);
    first.cancel(tag);
    first.close();
    assert_eq!(next_marked(&second, 4), ["1*", "2*", "3", "4"]);
    second.delete_queue(&queue);
}

#[test]
fn the_next_consumer_takes_over_when_a_connection_is_lost() {
    let watching = Connection::open();
    let last = watching.channel();
    let queue = declare(&last);
    // The active one and the next in turn go together.
    let doomed = Connection::open();
    let [active, waiting] = [doomed.channel(), doomed.channel()];
    active.consume(&queue);
    waiting.consume(&queue);
    last.consume(&queue);
    publish_surely(&watching, "", &queue, &["1", "2"]);
    assert_eq!(next_bodies(&active, 2), ["1", "2"]);
    drop((active, waiting, doomed));
    assert_eq!(next_marked(&last, 2), ["1*", "2*"]);
    publish_surely(&watching, "", &queue, &["3"]);
    assert_eq!(next_marked(&last, 1), ["3"]);
    last.delete_queue(&queue);
}

#[test]
fn consumers_take_over_by_priority_and_then_in_order() {
    let connection = Connection::open();
    let publisher = connection.channel();
    let queue = declare(&publisher);
    let consumers = [("a", 0), ("b", 0), ("c", 5), ("d", 0), ("e", 5)].map(|(tag, priority)| {
        let channel = connection.channel();
        let arguments = table(&[("x-priority", Value::I32(priority))]);
        channel.consume_with(&BasicConsume { arguments, ..tagged(&queue, tag) });
        (tag, channel)
    });
    // Whoever is active stays it, even if somebody of higher priority comes.
    for expected in ["a", "c", "e", "b", "d"] {
        let (_, channel) = consumers.iter().find(|(tag, _)| *tag == expected).unwrap();
        publish_surely(&connection, "", &queue, &["m"]);
        let delivery = channel.next_delivery();
        assert_eq!(delivery.consumer_tag, expected);
        channel.ack(delivery.delivery_tag);
        channel.cancel(expected);
    }
    publisher.delete_queue(&queue);
}

#[test]
fn a_consumer_that_comes_when_all_are_gone_is_the_active_one() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = declare(&channel);
    for body in ["1", "2"] {
        let tag = channel.consume(&queue);
        publish_surely(&connection, "", &queue, &[body]);
        assert_eq!(next_bodies(&channel, 1), [body]);
        channel.cancel(tag);
    }
    channel.delete_queue(&queue);
}

#[test]
fn exclusive_use_is_403_even_for_the_first() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = declare(&channel);
    let exclusive = BasicConsume { exclusive: true, ..basic_consume(&queue) };
    let text = format!("queue '{queue}' in vhost '/' in exclusive use");
    assert_channel_lost(&connection.channel(), &exclusive, ReplyCode::AccessRefused, &text);
    channel.consume(&queue);
    assert_channel_lost(&connection.channel(), &exclusive, ReplyCode::AccessRefused, &text);
    channel.delete_queue(&queue);
}

#[test]
fn basic_get_is_for_everybody() {
    let connection = Connection::open();
    let [consumer, getter] = [connection.channel(), connection.channel()];
    let queue = declare(&consumer);
    consumer.qos(1);
    consumer.consume(&queue);
    publish_surely(&connection, "", &queue, &["1", "2"]);
    assert_eq!(next_bodies(&consumer, 1), ["1"]);
    assert_eq!(getter.get(&queue).map(|got| text(&got.body)), Some("2".into()));
    getter.delete_queue(&queue);
}
