//! Acknowledging, rejecting and requeueing.

use leveret_protocol::amqp091::method::{
    BasicAck, BasicConsume, BasicNack, BasicRecover, BasicRecoverAsync, BasicRecoverOk, BasicReject, QueueDeclare,
    QueueDeclareOk,
};
use leveret_protocol::amqp091::{ReplyCode, Value};
use leveret_testkit::amqp091::{Channel, Connection, basic_consume, queue_declare, table};
use leveret_testkit::unique;

use crate::refusal::{assert_channel_lost, assert_connection_lost};
use crate::traffic::{drain, next_bodies, publish_surely, text};

fn ack(delivery_tag: u64, multiple: bool) -> BasicAck {
    BasicAck { delivery_tag, multiple }
}

fn nack(delivery_tag: u64, multiple: bool, requeue: bool) -> BasicNack {
    BasicNack { delivery_tag, multiple, requeue }
}

/// A queue with messages "1" to `count` and a channel to which all of them are delivered, unacknowledged.
fn delivered(connection: &Connection, count: usize) -> (Channel, String) {
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let bodies: Vec<_> = (1..=count).map(|number| number.to_string()).collect();
    publish_surely(connection, "", &queue, &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    let tag = channel.consume(&queue);
    assert_eq!(next_bodies(&channel, count), bodies);
    channel.cancel(tag);
    (channel, queue)
}

/// What comes back into the queue when the channel is closed: all that was not settled.
#[track_caller]
fn unsettled(connection: &Connection, channel: &Channel, queue: &str) -> Vec<String> {
    channel.close();
    drain(&connection.channel(), queue)
}

#[test]
fn an_acknowledged_message_is_gone() {
    let connection = Connection::open();
    let (channel, queue) = delivered(&connection, 5);
    for tag in [3, 1] {
        channel.send(&ack(tag, false));
    }
    assert_eq!(unsettled(&connection, &channel, &queue), ["2", "4", "5"]);
}

#[test]
fn multiple_covers_all_up_to_a_tag() {
    let connection = Connection::open();
    let (channel, queue) = delivered(&connection, 5);
    channel.send(&ack(2, false));
    channel.send(&ack(3, true));
    assert_eq!(unsettled(&connection, &channel, &queue), ["4", "5"]);
}

#[test]
fn tag_0_with_multiple_covers_all() {
    let connection = Connection::open();
    let (channel, queue) = delivered(&connection, 3);
    channel.send(&ack(0, true));
    // Even if there is none.
    channel.send(&ack(0, true));
    channel.send(&nack(0, true, true));
    channel.send(&nack(0, true, false));
    channel.round_trip();
    assert!(unsettled(&connection, &channel, &queue).is_empty());
}

#[test]
fn an_unknown_tag_is_406() {
    let connection = Connection::open();
    let code = ReplyCode::PreconditionFailed;
    for tag in [0, 1, 4, u64::MAX] {
        let text = format!("unknown delivery tag {tag}");
        assert_channel_lost(&connection.channel(), &ack(tag, false), code, &text);
        assert_channel_lost(&connection.channel(), &nack(tag, false, true), code, &text);
        assert_channel_lost(&connection.channel(), &BasicReject { delivery_tag: tag, requeue: true }, code, &text);
    }
    for tag in [1, u64::MAX] {
        let text = format!("unknown delivery tag {tag}");
        assert_channel_lost(&connection.channel(), &ack(tag, true), code, &text);
        assert_channel_lost(&connection.channel(), &nack(tag, true, false), code, &text);
    }
}

#[test]
fn a_tag_beyond_the_last_is_406_and_settles_nothing() {
    let connection = Connection::open();
    for multiple in [false, true] {
        let (channel, queue) = delivered(&connection, 3);
        let text = "unknown delivery tag 4";
        assert_channel_lost(&channel, &ack(4, multiple), ReplyCode::PreconditionFailed, text);
        assert_eq!(drain(&connection.channel(), &queue), ["1", "2", "3"]);
    }
}

#[test]
fn settling_twice_is_406() {
    let connection = Connection::open();
    for multiple in [false, true] {
        let (channel, queue) = delivered(&connection, 3);
        channel.ack(2);
        let text = "unknown delivery tag 2";
        assert_channel_lost(&channel, &ack(2, multiple), ReplyCode::PreconditionFailed, text);
        assert_eq!(drain(&connection.channel(), &queue), ["1", "3"]);
    }
    let (channel, _queue) = delivered(&connection, 3);
    channel.requeue(2);
    assert_channel_lost(&channel, &nack(2, false, true), ReplyCode::PreconditionFailed, "unknown delivery tag 2");
    let (channel, _queue) = delivered(&connection, 3);
    channel.reject(2);
    let reject = BasicReject { delivery_tag: 2, requeue: false };
    assert_channel_lost(&channel, &reject, ReplyCode::PreconditionFailed, "unknown delivery tag 2");
}

#[test]
fn a_tag_belongs_to_its_channel() {
    let connection = Connection::open();
    let (_channel, _queue) = delivered(&connection, 3);
    let text = "unknown delivery tag 1";
    assert_channel_lost(&connection.channel(), &ack(1, false), ReplyCode::PreconditionFailed, text);
}

#[test]
fn rejected_messages_are_dropped() {
    let connection = Connection::open();
    let (channel, queue) = delivered(&connection, 5);
    channel.reject(2);
    channel.send(&nack(4, false, false));
    assert_eq!(unsettled(&connection, &channel, &queue), ["1", "3", "5"]);
    let (channel, queue) = delivered(&connection, 5);
    channel.send(&nack(4, true, false));
    assert_eq!(unsettled(&connection, &channel, &queue), ["5"]);
    let (channel, queue) = delivered(&connection, 5);
    channel.send(&nack(0, true, false));
    assert!(unsettled(&connection, &channel, &queue).is_empty());
}

#[test]
fn a_requeued_message_takes_its_old_place() {
    let connection = Connection::open();
    let (channel, queue) = delivered(&connection, 5);
    publish_surely(&connection, "", &queue, &["6"]);
    for tag in [4, 2, 5] {
        channel.requeue(tag);
    }
    channel.send(&BasicReject { delivery_tag: 1, requeue: true });
    channel.ack(3);
    assert_eq!(drain(&channel, &queue), ["1", "2", "4", "5", "6"]);
}

#[test]
fn messages_requeued_together_keep_their_order() {
    let connection = Connection::open();
    for nack in [nack(0, true, true), nack(5, true, true)] {
        let (channel, queue) = delivered(&connection, 5);
        publish_surely(&connection, "", &queue, &["6"]);
        channel.send(&nack);
        assert_eq!(drain(&channel, &queue), ["1", "2", "3", "4", "5", "6"]);
    }
}

#[test]
fn a_requeued_message_is_redelivered() {
    let connection = Connection::open();
    let (channel, queue) = delivered(&connection, 2);
    publish_surely(&connection, "", &queue, &["3"]);
    channel.requeue(1);
    channel.send(&BasicReject { delivery_tag: 2, requeue: true });
    for (body, redelivered) in [("1", true), ("2", true), ("3", false)] {
        let got = channel.get(&queue).unwrap();
        assert_eq!((text(&got.body).as_str(), got.redelivered), (body, redelivered));
    }
}

#[test]
fn a_requeued_message_may_come_to_the_same_consumer() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    channel.qos(1);
    channel.consume(&queue);
    channel.publish("", &queue, b"again and again");
    for tag in 1..=5 {
        let delivery = channel.next_delivery();
        assert_eq!((delivery.delivery_tag, delivery.redelivered), (tag, tag > 1));
        channel.requeue(tag);
    }
}

#[test]
fn a_requeued_message_may_come_to_another_consumer() {
    let connection = Connection::open();
    let (first, second) = (connection.channel(), connection.channel());
    let queue = first.temporary_queue();
    publish_surely(&connection, "", &queue, &["message"]);
    let tag = first.consume(&queue);
    let delivery = first.next_delivery();
    second.consume(&queue);
    first.cancel(tag);
    first.requeue(delivery.delivery_tag);
    let delivery = second.next_delivery();
    assert_eq!((delivery.delivery_tag, delivery.redelivered), (1, true));
}

#[test]
fn recover_requeues_all() {
    let connection = Connection::open();
    let (channel, queue) = delivered(&connection, 3);
    channel.ack(2);
    let _: BasicRecoverOk = channel.call(&BasicRecover { requeue: true });
    let got = channel.get(&queue).unwrap();
    assert_eq!((text(&got.body).as_str(), got.redelivered, got.delivery_tag), ("1", true, 4));
    assert_eq!(drain(&channel, &queue), ["3"]);
    // The old tags are void.
    assert_channel_lost(&channel, &ack(1, false), ReplyCode::PreconditionFailed, "unknown delivery tag 1");
}

#[test]
fn recover_delivers_to_the_same_consumer_again() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    publish_surely(&connection, "", &queue, &["1", "2", "3"]);
    channel.consume(&queue);
    assert_eq!(next_bodies(&channel, 3), ["1", "2", "3"]);
    let _: BasicRecoverOk = channel.call(&BasicRecover { requeue: true });
    for (tag, body) in (4..).zip(["1", "2", "3"]) {
        let delivery = channel.next_delivery();
        assert_eq!((delivery.delivery_tag, text(&delivery.body).as_str()), (tag, body));
        assert!(delivery.redelivered);
    }
    channel.send(&ack(0, true));
    let _: BasicRecoverOk = channel.call(&BasicRecover { requeue: true });
    channel.expect_nothing_from(&queue);
}

#[test]
fn recover_async_has_no_answer() {
    let connection = Connection::open();
    let (channel, queue) = delivered(&connection, 3);
    channel.send(&BasicRecoverAsync { requeue: true });
    channel.expect_nothing();
    assert_eq!(drain(&channel, &queue), ["1", "2", "3"]);
}

#[test]
fn recover_without_requeueing_is_540() {
    let text = "requeue=false";
    let code = ReplyCode::NotImplemented;
    assert_connection_lost(&Connection::open().channel(), &BasicRecover { requeue: false }, code, text);
    assert_connection_lost(&Connection::open().channel(), &BasicRecoverAsync { requeue: false }, code, text);
}

#[test]
fn a_closed_channel_returns_what_was_not_settled() {
    let connection = Connection::open();
    let (channel, queue) = delivered(&connection, 5);
    publish_surely(&connection, "", &queue, &["6"]);
    channel.ack(3);
    channel.close();
    let channel = connection.channel();
    for (body, redelivered) in [("1", true), ("2", true), ("4", true), ("5", true), ("6", false)] {
        let got = channel.get(&queue).unwrap();
        assert_eq!((text(&got.body).as_str(), got.redelivered), (body, redelivered));
    }
}

#[test]
fn a_lost_connection_returns_what_was_not_settled() {
    let (other, lost) = (Connection::open(), Connection::open());
    let (channel, consumer) = (other.channel(), lost.channel());
    let queue = unique("queue");
    let _: QueueDeclareOk<'_> = channel.call(&QueueDeclare { exclusive: false, ..queue_declare(&queue) });
    publish_surely(&other, "", &queue, &["1", "2", "3", "4", "5"]);
    consumer.qos(3);
    consumer.consume(&queue);
    assert_eq!(next_bodies(&consumer, 3), ["1", "2", "3"]);
    consumer.ack(2);
    assert_eq!(next_bodies(&consumer, 1), ["4"]);
    channel.qos(1);
    channel.consume(&queue);
    // It had the only one that was left.
    let delivery = channel.next_delivery();
    assert_eq!((text(&delivery.body).as_str(), delivery.redelivered), ("5", false));
    drop((consumer, lost));
    channel.ack(1);
    for (tag, body) in [(2, "1"), (3, "3"), (4, "4")] {
        let delivery = channel.next_delivery();
        assert_eq!((text(&delivery.body).as_str(), delivery.redelivered), (body, true));
        channel.ack(tag);
    }
    channel.expect_nothing_from(&queue);
    channel.delete_queue(&queue);
}

#[test]
fn what_consumers_of_one_channel_hold_of_a_queue_returns_in_order() {
    type End = fn(Channel, Connection);
    let ends: [(&str, End); 3] = [
        ("the channel is closed", |channel, _connection| channel.close()),
        ("the connection is closed", |_channel, connection| connection.close()),
        ("the connection is lost", |channel, connection| drop((channel, connection))),
    ];
    let other = Connection::open();
    for (end, act) in ends {
        // Whoever of the two got the first message.
        for tags in [["one", "two"], ["two", "one"]] {
            let connection = Connection::open();
            let (channel, third) = (connection.channel(), other.channel());
            let queue = unique("queue");
            let _: QueueDeclareOk<'_> = third.call(&QueueDeclare { exclusive: false, ..queue_declare(&queue) });
            channel.qos(1);
            for consumer_tag in ["one", "two"] {
                let priority = Value::I32(i32::from(consumer_tag == tags[0]));
                let arguments = table(&[("x-priority", priority)]);
                channel.consume_with(&BasicConsume { consumer_tag, arguments, ..basic_consume(&queue) });
            }
            publish_surely(&other, "", &queue, &["1", "2"]);
            for (tag, body) in tags.into_iter().zip(["1", "2"]) {
                let delivery = channel.next_delivery();
                assert_eq!((delivery.consumer_tag, text(&delivery.body).as_str()), (tag, body));
            }
            third.consume(&queue);
            third.expect_nothing_from(&queue);
            act(channel, connection);
            for body in ["1", "2"] {
                let delivery = third.next_delivery();
                assert_eq!((text(&delivery.body).as_str(), delivery.redelivered), (body, true), "{end}, {tags:?}");
            }
            third.delete_queue(&queue);
        }
    }
}

#[test]
fn messages_a_client_has_not_seen_yet_are_returned_too() {
    let (other, lost) = (Connection::open(), Connection::open());
    let (channel, consumer) = (other.channel(), lost.channel());
    let queue = unique("queue");
    let _: QueueDeclareOk<'_> = channel.call(&QueueDeclare { exclusive: false, ..queue_declare(&queue) });
    let bodies: Vec<_> = (0..500).map(|number| number.to_string()).collect();
    publish_surely(&other, "", &queue, &bodies.iter().map(String::as_str).collect::<Vec<_>>());
    consumer.consume(&queue);
    drop((consumer, lost));
    channel.consume(&queue);
    let mut numbers: Vec<u32> = next_bodies(&channel, 500).iter().map(|body| body.parse().unwrap()).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..500).collect::<Vec<_>>());
    channel.delete_queue(&queue);
}
