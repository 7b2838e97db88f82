//! Order and volume: many messages, many channels, many queues.

use std::collections::HashMap;

use leveret_protocol::amqp091::Properties;
use leveret_protocol::amqp091::frame::write_content;
use leveret_protocol::amqp091::method::{BasicConsume, BasicGet, QueueBindOk, QueueDeclare, QueueDeclareOk};
use leveret_testkit::amqp091::{
    Channel, Connection, basic_consume, basic_publish, method_frame, queue_bind, queue_declare,
};
use leveret_testkit::unique;

use crate::traffic::{await_acks, text};

const MESSAGES: u32 = 20_000;

/// Frames of messages of which each body is the channel's number and a count.
fn frames(channel: &Channel, queue: &str, counts: std::ops::Range<u32>) -> Vec<u8> {
    let mut octets = Vec::new();
    for count in counts {
        let body = format!("{} {count}", channel.number());
        write_content(&mut octets, channel.number(), &basic_publish("", queue), &[0, 0], body.as_bytes(), 131_072);
    }
    octets
}

/// Asserts that the counts of each channel follow each other without a gap.
#[track_caller]
fn assert_in_order(counts: &mut HashMap<String, u32>, body: &[u8]) {
    let body = text(body);
    let (channel, count) = body.split_once(' ').unwrap();
    let next = counts.entry(channel.to_owned()).or_default();
    assert_eq!(count.parse(), Ok(*next), "channel {channel}");
    *next += 1;
}

#[test]
fn a_queue_keeps_the_order_of_each_channel() {
    let connection = Connection::open();
    let publishers: Vec<_> = (0..4).map(|_| connection.channel()).collect();
    let consumer = connection.channel();
    let queue = consumer.temporary_queue();
    let batch = 100;
    for start in (0..MESSAGES / 4).step_by(batch) {
        for channel in &publishers {
            let end = start + u32::try_from(batch).unwrap();
            connection.send_octets(&frames(channel, &queue, start..end));
        }
    }
    for channel in &publishers {
        channel.round_trip();
    }
    consumer.consume_with(&BasicConsume { no_ack: true, ..basic_consume(&queue) });
    let mut counts = HashMap::new();
    for tag in 1..=MESSAGES {
        let delivery = consumer.next_delivery();
        assert_eq!(delivery.delivery_tag, u64::from(tag));
        assert_in_order(&mut counts, &delivery.body);
    }
    assert_eq!(counts.len(), 4);
}

#[test]
fn a_queue_keeps_order_while_it_is_consumed() {
    let (publisher, consumer) = (Connection::open(), Connection::open());
    let (from, to) = (publisher.channel(), consumer.channel());
    let queue = to.temporary_queue();
    to.qos(100);
    to.consume(&queue);
    let mut counts = HashMap::new();
    for start in (0..5000).step_by(500) {
        publisher.send_octets(&frames(&from, &queue, start..start + 500));
        for _ in 0..500 {
            let delivery = to.next_delivery();
            assert_in_order(&mut counts, &delivery.body);
            to.ack(delivery.delivery_tag);
        }
    }
    to.expect_nothing_from(&queue);
}

#[test]
fn messages_that_are_requeued_stay_in_order() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    connection.send_octets(&frames(&channel, &queue, 0..1000));
    for _ in 0..3 {
        let consumer = connection.channel();
        consumer.qos(300);
        consumer.consume(&queue);
        let mut counts = HashMap::new();
        for _ in 0..300 {
            assert_in_order(&mut counts, &consumer.next_delivery().body);
        }
        consumer.close();
    }
    let mut counts = HashMap::new();
    for left in (0..1000).rev() {
        let got = channel.get_with(&BasicGet { ticket: 0, queue: &queue, no_ack: true }).unwrap();
        assert_eq!(got.message_count, left);
        assert_in_order(&mut counts, &got.body);
    }
}

#[test]
fn a_connection_that_does_not_read_can_still_publish() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (backlog, other) = (channel.temporary_queue(), channel.temporary_queue());
    let body = vec![b'x'; 10_000];
    let publish = |queue: &str, count: usize| {
        for _ in 0..count {
            channel.publish("", queue, &body);
        }
    };
    // More than any buffer between here and there holds.
    publish(&backlog, 2000);
    channel.round_trip();
    channel.send(&BasicConsume { no_ack: true, no_wait: true, consumer_tag: "backlog", ..basic_consume(&backlog) });
    publish(&other, 2000);
    channel.send(&BasicConsume { no_ack: true, no_wait: true, consumer_tag: "other", ..basic_consume(&other) });
    let mut counts = [0, 0];
    while counts != [2000, 2000] {
        let delivery = channel.next_delivery();
        assert_eq!(delivery.body.len(), body.len());
        counts[usize::from(delivery.consumer_tag == "other")] += 1;
    }
    channel.expect_nothing_from(&other);
}

#[test]
fn two_channels_of_a_connection_feed_each_other() {
    let connection = Connection::open();
    let (one, two) = (connection.channel(), connection.channel());
    let (left, right) = (one.temporary_queue(), two.temporary_queue());
    one.consume(&left);
    two.consume(&right);
    one.publish("", &right, b"0");
    for round in 0..200_u32 {
        for (channel, to) in [(&two, &left), (&one, &right)] {
            let delivery = channel.next_delivery();
            assert_eq!(delivery.body, round.to_string().as_bytes());
            let next = if channel.number() == one.number() { round + 1 } else { round };
            channel.publish("", to, next.to_string().as_bytes());
            channel.ack(delivery.delivery_tag);
        }
    }
}

#[test]
fn a_message_reaches_two_hundred_queues() {
    let connection = Connection::open();
    let channel = connection.channel();
    let exchange = unique("exchange");
    channel.declare_exchange(&exchange, "fanout");
    let queues: Vec<_> = (0..200).map(|_| unique("queue")).collect();
    let mut octets = Vec::new();
    for queue in &queues {
        octets.extend(method_frame(channel.number(), &queue_declare(queue)));
        octets.extend(method_frame(channel.number(), &queue_bind(queue, &exchange, "")));
    }
    connection.send_octets(&octets);
    for queue in &queues {
        assert_eq!(channel.expect::<QueueDeclareOk<'_>>().queue, queue);
        let _: QueueBindOk = channel.expect();
    }
    channel.confirm_select();
    let properties = Properties { message_id: Some("one of three"), ..Properties::default() };
    for body in [&b"1"[..], b"2", b"3"] {
        channel.publish_with(&exchange, "", &properties, body);
    }
    await_acks(&channel, 3);
    for queue in &queues {
        channel.send(&BasicConsume { no_ack: true, no_wait: true, consumer_tag: queue, ..basic_consume(queue) });
    }
    let mut bodies: HashMap<&str, String> = HashMap::new();
    for _ in 0..600 {
        let delivery = channel.next_delivery();
        assert_eq!(delivery.properties, properties);
        bodies.entry(delivery.consumer_tag).or_default().push_str(&text(&delivery.body));
    }
    assert_eq!(bodies.len(), 200);
    assert!(bodies.values().all(|bodies| bodies == "123"));
}

#[test]
fn many_consumers_settle_a_backlog_together() {
    let owner = Connection::open();
    let channel = owner.channel();
    let queue = unique("queue");
    let _: QueueDeclareOk<'_> = channel.call(&QueueDeclare { exclusive: false, ..queue_declare(&queue) });
    channel.confirm_select();
    owner.send_octets(&frames(&channel, &queue, 0..2000));
    await_acks(&channel, 2000);
    let consumer = Connection::open();
    let takes = consumer.channel();
    takes.qos(20);
    for _ in 0..10 {
        takes.consume(&queue);
    }
    let mut seen = vec![false; 2000];
    for _ in 0..2000 {
        let delivery = takes.next_delivery();
        let body = text(&delivery.body);
        let count: usize = body.split_once(' ').unwrap().1.parse().unwrap();
        assert!(!seen[count], "{count} came twice");
        seen[count] = true;
        takes.ack(delivery.delivery_tag);
    }
    takes.expect_nothing_from(&queue);
    channel.delete_queue(&queue);
}
