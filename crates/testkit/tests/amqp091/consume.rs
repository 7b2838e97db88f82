//! Consumers: tags, exclusive use, who gets what, and how they end.

use leveret_protocol::amqp091::method::{
    BasicAck, BasicCancel, BasicCancelOk, BasicConsume, BasicConsumeOk, BasicDeliver, BasicNack, QueueDeclare,
    QueueDeclareOk,
};
use leveret_protocol::amqp091::{Method, ReplyCode, Value};
use leveret_testkit::amqp091::{Channel, Connection, Reply, basic_consume, queue_declare, table};
use leveret_testkit::{broker, unique};

use crate::refusal::{assert_channel_lost, assert_connection_lost};
use crate::traffic::{await_acks, next_bodies, publish_surely};

fn tagged<'a>(queue: &'a str, consumer_tag: &'a str) -> BasicConsume<'a> {
    BasicConsume { consumer_tag, ..basic_consume(queue) }
}

fn exclusive(queue: &str) -> BasicConsume<'_> {
    BasicConsume { exclusive: true, ..basic_consume(queue) }
}

fn with_priority(queue: &str, priority: i32) -> BasicConsume<'_> {
    BasicConsume { arguments: table(&[("x-priority", Value::I32(priority))]), ..basic_consume(queue) }
}

/// How many of the next `count` deliveries each of these consumers gets.
#[track_caller]
fn shares(channel: &Channel, tags: &[&str], count: usize) -> Vec<usize> {
    let delivered: Vec<_> = (0..count).map(|_| channel.next_delivery().consumer_tag).collect();
    let shares: Vec<_> = tags.iter().map(|tag| delivered.iter().filter(|other| other == &tag).count()).collect();
    assert_eq!(shares.iter().sum::<usize>(), count, "an unknown tag among {delivered:?}");
    shares
}

#[test]
fn consume_ok_comes_before_the_first_delivery() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    publish_surely(&connection, "", &queue, &["waiting", "too"]);
    for tag in ["one", "two"] {
        channel.qos(1);
        channel.send(&tagged(&queue, tag));
        let ok: BasicConsumeOk<'_> = channel.expect();
        assert_eq!(ok.consumer_tag, tag);
        let delivery: BasicDeliver<'_> = channel.expect();
        assert_eq!(delivery.consumer_tag, tag);
    }
}

#[test]
fn messages_come_in_order_with_tags_from_one() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    publish_surely(&connection, "", &queue, &["1", "2", "3"]);
    let consumer = channel.consume(&queue);
    for (number, body) in (1..).zip([b"1", b"2", b"3"]) {
        let delivery = channel.next_delivery();
        assert_eq!((delivery.delivery_tag, delivery.consumer_tag), (number, consumer));
        assert_eq!((delivery.body.as_slice(), delivery.redelivered), (&body[..], false));
    }
    channel.expect_nothing_from(&queue);
}

#[test]
fn deliveries_without_acknowledgement_are_settled_at_once() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    publish_surely(&connection, "", &queue, &["1", "2", "3"]);
    channel.consume_with(&BasicConsume { no_ack: true, ..basic_consume(&queue) });
    assert_eq!(next_bodies(&channel, 3), ["1", "2", "3"]);
    let ack = BasicAck { delivery_tag: 1, multiple: false };
    assert_channel_lost(&channel, &ack, ReplyCode::PreconditionFailed, "unknown delivery tag 1");
    assert!(connection.channel().get(&queue).is_none());
}

#[test]
fn the_server_makes_up_a_tag_if_there_is_none() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let (one, two) = (channel.consume(&queue), channel.consume(&queue));
    assert!(one.starts_with("amq.ctag-") && two.starts_with("amq.ctag-"), "{one} {two}");
    assert_ne!(one, two);
}

#[test]
fn a_tag_used_twice_on_a_channel_is_530() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (queue, other) = (channel.temporary_queue(), channel.temporary_queue());
    channel.consume_with(&tagged(&queue, "tag"));
    let text = "attempt to reuse consumer tag 'tag'";
    assert_connection_lost(&channel, &tagged(&other, "tag"), ReplyCode::NotAllowed, text);
}

#[test]
fn a_tag_belongs_to_its_channel_and_is_free_once_cancelled() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let queue = channel.temporary_queue();
    for _ in 0..3 {
        assert_eq!(channel.consume_with(&tagged(&queue, "tag")), "tag");
        assert_eq!(other.consume_with(&tagged(&queue, "tag")), "tag");
        channel.cancel("tag");
        other.cancel("tag");
    }
}

#[test]
fn nothing_answers_a_consume_told_not_to_wait() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    channel.send(&BasicConsume { no_wait: true, ..tagged(&queue, "tag") });
    channel.expect_nothing();
    channel.publish("", &queue, b"message");
    let delivery: BasicDeliver<'_> = channel.expect();
    assert_eq!(delivery.consumer_tag, "tag");
}

#[test]
fn consuming_from_a_missing_queue_is_404() {
    let connection = Connection::open();
    let missing = unique("missing");
    let text = format!("no queue '{missing}' in vhost '/'");
    assert_channel_lost(&connection.channel(), &basic_consume(&missing), ReplyCode::NotFound, &text);
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let text = format!("queue '{queue}' in vhost '/' in exclusive use");
    let code = ReplyCode::AccessRefused;
    // Nobody may join it.
    let tag = channel.consume_with(&exclusive(&queue));
    assert_channel_lost(&connection.channel(), &basic_consume(&queue), code, &text);
    assert_channel_lost(&connection.channel(), &exclusive(&queue), code, &text);
    channel.cancel(tag);
    // It may join nobody.
    let tag = channel.consume(&queue);
    assert_channel_lost(&connection.channel(), &exclusive(&queue), code, &text);
    channel.cancel(tag);
    // It ends with its channel, too.
    let other = connection.channel();
    other.consume_with(&exclusive(&queue));
    other.close();
    channel.consume_with(&exclusive(&queue));
    // Those who take single messages are not concerned.
    assert!(connection.channel().get(&queue).is_none());
}

#[test]
fn consumers_of_a_queue_take_turns() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let tags = ["one", "two", "three"];
    for tag in tags {
        channel.consume_with(&tagged(&queue, tag));
    }
    for _ in 0..30 {
        channel.publish("", &queue, b"message");
    }
    assert_eq!(shares(&channel, &tags, 30), [10; 3]);
}

#[test]
fn a_consumer_that_can_take_no_more_is_passed_over() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    channel.qos(2);
    channel.consume_with(&tagged(&queue, "two at a time"));
    channel.qos(0);
    channel.consume_with(&tagged(&queue, "any number"));
    for _ in 0..10 {
        channel.publish("", &queue, b"message");
    }
    assert_eq!(shares(&channel, &["two at a time", "any number"], 10), [2, 8]);
}

#[test]
fn consumers_of_a_higher_priority_come_first() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let tags = ["none", "low", "high", "high too"];
    let priorities = [None, Some(-5), Some(10), Some(10)];
    for (tag, priority) in tags.into_iter().zip(priorities) {
        let consume = priority.map_or(basic_consume(&queue), |priority| with_priority(&queue, priority));
        channel.consume_with(&BasicConsume { consumer_tag: tag, ..consume });
    }
    for _ in 0..10 {
        channel.publish("", &queue, b"message");
    }
    assert_eq!(shares(&channel, &tags, 10), [0, 0, 5, 5]);
}

#[test]
fn consumers_of_a_lower_priority_get_what_higher_ones_can_not_take() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let tags = ["low", "none", "high"];
    channel.qos(2);
    for (tag, priority) in tags.into_iter().zip([-1, 0, 1]) {
        channel.consume_with(&BasicConsume { consumer_tag: tag, ..with_priority(&queue, priority) });
    }
    for _ in 0..3 {
        channel.publish("", &queue, b"message");
    }
    assert_eq!(shares(&channel, &tags, 3), [0, 1, 2]);
    for _ in 0..3 {
        channel.publish("", &queue, b"message");
    }
    assert_eq!(shares(&channel, &tags, 3), [2, 1, 0]);
    channel.publish("", &queue, b"one more");
    channel.expect_nothing_from(&queue);
    // As soon as it can, the highest takes it.
    channel.send(&BasicAck { delivery_tag: 0, multiple: true });
    let delivery = channel.next_delivery();
    assert_eq!((delivery.body.as_slice(), delivery.delivery_tag), (&b"one more"[..], 7));
}

#[test]
fn a_priority_must_be_a_number() {
    let connection = Connection::open();
    let queue = connection.channel().temporary_queue();
    for (value, kind) in [(Value::LongStr(b"1"), "longstr"), (Value::Bool(true), "bool"), (Value::F64(1.0), "double")] {
        let arguments = table(&[("x-priority", value)]);
        let text =
            format!("invalid arg 'x-priority' for queue '{queue}' in vhost '/': \"expected integer, got {kind}\"");
        let consume = BasicConsume { arguments, ..basic_consume(&queue) };
        assert_channel_lost(&connection.channel(), &consume, ReplyCode::PreconditionFailed, &text);
    }
}

#[test]
fn an_argument_of_another_queue_type_is_406() {
    let connection = Connection::open();
    let queue = connection.channel().temporary_queue();
    for (argument, value) in [
        ("x-stream-offset", Value::LongStr(b"first")),
        ("x-stream-offset", Value::I32(0)),
        ("x-stream-filter", Value::LongStr(b"filter")),
        ("x-stream-match-unfiltered", Value::Bool(true)),
    ] {
        if argument != "x-stream-offset" && broker::differs("no queue knows stream filters") {
            continue;
        }
        let consume = BasicConsume { arguments: table(&[(argument, value)]), ..basic_consume(&queue) };
        let text =
            format!("invalid arg '{argument}' for queue '{queue}' in vhost '/' of queue type rabbit_classic_queue");
        assert_channel_lost(&connection.channel(), &consume, ReplyCode::PreconditionFailed, &text);
    }
}

#[test]
fn other_arguments_are_ignored() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let arguments = table(&[("x-testkit", Value::I32(1)), ("x-cancel-on-ha-failover", Value::Bool(true))]);
    channel.consume_with(&BasicConsume { arguments, no_local: true, ..basic_consume(&queue) });
    // Nobody honours no-local.
    channel.publish("", &queue, b"to myself");
    assert_eq!(channel.next_delivery().body, b"to myself");
}

#[test]
fn nothing_is_delivered_after_cancel_ok() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let tag = channel.consume(&queue);
    for _ in 0..100 {
        channel.publish("", &queue, b"message");
    }
    channel.send(&BasicCancel { consumer_tag: tag, no_wait: false });
    let mut delivered = 0;
    let ok = loop {
        match channel.expect::<DeliverOrCancelOk>() {
            DeliverOrCancelOk::Deliver => delivered += 1,
            DeliverOrCancelOk::CancelOk(ok) => break ok,
        }
    };
    assert_eq!(ok.consumer_tag, tag);
    channel.expect_nothing_from(&queue);
    // What was delivered is the channel's to settle, what was not is in the queue.
    publish_surely(&connection, "", &queue, &["after"]);
    assert_eq!(channel.message_count(&queue), 101 - delivered);
    channel.send(&BasicNack { delivery_tag: 0, multiple: true, requeue: true });
    channel.close();
    assert_eq!(connection.channel().get(&queue).unwrap().message_count, 100);
}

enum DeliverOrCancelOk {
    Deliver,
    CancelOk(BasicCancelOk<'static>),
}

impl Reply for DeliverOrCancelOk {
    const NAME: &'static str = "basic.deliver or basic.cancel-ok";

    fn from_method(method: Method<'static>) -> Option<Self> {
        match method {
            Method::BasicDeliver(_) => Some(Self::Deliver),
            Method::BasicCancelOk(ok) => Some(Self::CancelOk(ok)),
            _ => None,
        }
    }
}

#[test]
fn cancelling_an_unknown_consumer_is_fine() {
    let connection = Connection::open();
    let channel = connection.channel();
    for consumer_tag in ["no such consumer", ""] {
        let ok: BasicCancelOk<'_> = channel.call(&BasicCancel { consumer_tag, no_wait: false });
        assert_eq!(ok.consumer_tag, consumer_tag);
        channel.send(&BasicCancel { consumer_tag, no_wait: true });
    }
    channel.expect_nothing();
}

#[test]
fn nothing_answers_a_cancel_told_not_to_wait() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let tag = channel.consume(&queue);
    channel.send(&BasicCancel { consumer_tag: tag, no_wait: true });
    channel.round_trip();
    channel.publish("", &queue, b"for nobody");
    assert_eq!(channel.get(&queue).unwrap().body, b"for nobody");
    channel.expect_nothing();
}

#[test]
fn deliveries_of_a_cancelled_consumer_stay_with_the_channel() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    publish_surely(&connection, "", &queue, &["1", "2", "3"]);
    let tag = channel.consume(&queue);
    next_bodies(&channel, 3);
    channel.cancel(tag);
    assert!(channel.get(&queue).is_none());
    channel.ack(1);
    channel.requeue(2);
    assert_eq!(channel.get(&queue).unwrap().body, b"2");
    channel.close();
    assert_eq!(connection.channel().get(&queue).unwrap().message_count, 1);
}

#[test]
fn a_deleted_queue_cancels_its_consumers() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let queue = channel.temporary_queue();
    channel.consume_with(&tagged(&queue, "one"));
    channel.consume_with(&tagged(&queue, "two"));
    other.delete_queue(&queue);
    let cancels: [BasicCancel<'_>; 2] = [channel.expect(), channel.expect()];
    let mut tags = cancels.map(|cancel| {
        assert!(cancel.no_wait);
        cancel.consumer_tag
    });
    tags.sort_unstable();
    assert_eq!(tags, ["one", "two"]);
    // The tags are free.
    let queue = other.temporary_queue();
    channel.consume_with(&tagged(&queue, "one"));
}

#[test]
fn a_client_that_can_not_take_it_is_not_told_of_the_end_of_its_consumers() {
    let connection = Connection::builder().without_capability("consumer_cancel_notify").open();
    let channel = connection.channel();
    let (queue, other) = (channel.temporary_queue(), channel.temporary_queue());
    channel.consume_with(&tagged(&queue, "one"));
    channel.consume_with(&tagged(&other, "two"));
    channel.delete_queue(&queue);
    channel.publish("", &other, b"message");
    assert_eq!(channel.next_delivery().consumer_tag, "two");
    channel.expect_nothing_from(&other);
}

#[test]
fn the_owner_of_a_consumer_is_told_when_another_connection_deletes_the_queue() {
    let (consumer, deleter) = (Connection::open(), Connection::open());
    let (channel, other) = (consumer.channel(), deleter.channel());
    let queue = unique("queue");
    let declare = QueueDeclare { exclusive: false, ..queue_declare(&queue) };
    let _: QueueDeclareOk<'_> = channel.call(&declare);
    let tag = channel.consume(&queue);
    channel.publish("", &queue, b"unacknowledged");
    let delivery = channel.next_delivery();
    other.delete_queue(&queue);
    assert_eq!(channel.next_cancel(), tag);
    channel.ack(delivery.delivery_tag);
    channel.expect_nothing();
}

#[test]
fn consumers_of_one_queue_on_many_connections_share_its_messages() {
    let owner = Connection::open();
    let channel = owner.channel();
    let queue = unique("queue");
    let declare = QueueDeclare { exclusive: false, ..queue_declare(&queue) };
    let _: QueueDeclareOk<'_> = channel.call(&declare);
    let connections: Vec<_> = (0..4).map(|_| Connection::open()).collect();
    let consumers: Vec<_> = connections.iter().map(Connection::channel).collect();
    for consumer in &consumers {
        consumer.consume(&queue);
    }
    channel.confirm_select();
    for number in 0..40 {
        channel.publish("", &queue, format!("{number}").as_bytes());
    }
    await_acks(&channel, 40);
    let mut bodies: Vec<u32> =
        consumers.iter().flat_map(|consumer| next_bodies(consumer, 10)).map(|body| body.parse().unwrap()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, (0..40).collect::<Vec<_>>());
    channel.delete_queue(&queue);
}
