//! basic.get: messages taken one by one.

use leveret_protocol::amqp091::ReplyCode;
use leveret_protocol::amqp091::method::{BasicAck, BasicGet, BasicGetEmpty};
use leveret_testkit::amqp091::Connection;
use leveret_testkit::unique;

use crate::refusal::assert_channel_lost;
use crate::traffic::publish_surely;

fn no_ack(queue: &str) -> BasicGet<'_> {
    BasicGet { ticket: 0, queue, no_ack: true }
}

#[test]
fn messages_come_in_order_with_tags_and_what_is_left() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let exchange = unique("exchange");
    channel.declare_exchange(&exchange, "direct");
    channel.bind(&queue, &exchange, "key");
    publish_surely(&connection, &exchange, "key", &["1", "2", "3"]);
    for (tag, left, body) in [(1, 2, b"1"), (2, 1, b"2"), (3, 0, b"3")] {
        let got = channel.get(&queue).unwrap();
        assert_eq!((got.delivery_tag, got.message_count, got.redelivered), (tag, left, false));
        assert_eq!((got.exchange, got.routing_key, got.body.as_slice()), (exchange.as_str(), "key", &body[..]));
    }
    channel.send(&BasicGet { no_ack: false, ..no_ack(&queue) });
    let empty: BasicGetEmpty<'_> = channel.expect();
    assert_eq!(empty.cluster_id, "");
}

#[test]
fn a_message_taken_is_unacknowledged() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let queue = channel.temporary_queue();
    publish_surely(&connection, "", &queue, &["1"]);
    channel.get(&queue).unwrap();
    assert!(other.get(&queue).is_none());
    channel.close();
    let got = other.get(&queue).unwrap();
    assert_eq!((got.delivery_tag, got.redelivered), (1, true));
    other.ack(1);
    other.close();
    assert!(connection.channel().get(&queue).is_none());
}

#[test]
fn a_message_taken_without_acknowledgement_is_gone() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    publish_surely(&connection, "", &queue, &["1", "2"]);
    assert_eq!(channel.get_with(&no_ack(&queue)).unwrap().delivery_tag, 1);
    // It uses up a tag all the same.
    assert_eq!(channel.get(&queue).unwrap().delivery_tag, 2);
    let ack = BasicAck { delivery_tag: 1, multiple: false };
    assert_channel_lost(&channel, &ack, ReplyCode::PreconditionFailed, "unknown delivery tag 1");
    assert_eq!(connection.channel().get(&queue).unwrap().message_count, 0);
}

#[test]
fn tags_are_shared_with_consumers() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (queue, other) = (channel.temporary_queue(), channel.temporary_queue());
    publish_surely(&connection, "", &queue, &["1", "2"]);
    publish_surely(&connection, "", &other, &["3", "4"]);
    assert_eq!(channel.get(&queue).unwrap().delivery_tag, 1);
    channel.qos(1);
    channel.consume(&other);
    assert_eq!(channel.next_delivery().delivery_tag, 2);
    assert_eq!(channel.get(&queue).unwrap().delivery_tag, 3);
    channel.send(&BasicAck { delivery_tag: 3, multiple: true });
    assert_eq!(channel.next_delivery().delivery_tag, 4);
}

#[test]
fn a_missing_queue_is_404() {
    let connection = Connection::open();
    let missing = unique("missing");
    let text = format!("no queue '{missing}' in vhost '/'");
    for method in [no_ack(&missing), BasicGet { no_ack: false, ..no_ack(&missing) }] {
        assert_channel_lost(&connection.channel(), &method, ReplyCode::NotFound, &text);
    }
}

#[test]
fn an_answer_stands_among_deliveries() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (queue, other) = (channel.temporary_queue(), channel.temporary_queue());
    channel.consume(&other);
    let bodies: Vec<_> = (0..50).map(|number| number.to_string()).collect();
    let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
    publish_surely(&connection, "", &queue, &bodies);
    publish_surely(&connection, "", &other, &bodies);
    let got: Vec<_> = bodies.iter().map(|_| channel.get(&queue).unwrap()).collect();
    let delivered: Vec<_> = bodies.iter().map(|_| channel.next_delivery()).collect();
    for (number, body) in bodies.iter().enumerate() {
        assert_eq!(got[number].body, body.as_bytes());
        assert_eq!(delivered[number].body, body.as_bytes());
    }
    let mut tags: Vec<_> = got.iter().map(|got| got.delivery_tag).collect();
    tags.extend(delivered.iter().map(|delivered| delivered.delivery_tag));
    tags.sort_unstable();
    assert_eq!(tags, (1..=100).collect::<Vec<_>>());
}
