//! Transactions: publishes and settlements that take effect together.

use leveret_protocol::amqp091::Properties;
use leveret_protocol::amqp091::ReplyCode;
use leveret_protocol::amqp091::method::{
    BasicAck, BasicNack, BasicPublish, BasicReturn, TxCommit, TxCommitOk, TxRollback, TxRollbackOk, TxSelect,
    TxSelectOk,
};
use leveret_testkit::amqp091::{Channel, Connection, basic_publish};
use leveret_testkit::unique;

use crate::Blame as _;
use crate::refusal::assert_channel_lost;
use crate::traffic::{drain, publish_surely};

#[track_caller]
fn select(channel: &Channel) {
    let _: TxSelectOk = channel.call(&TxSelect {});
}

#[track_caller]
fn commit(channel: &Channel) {
    let _: TxCommitOk = channel.call(&TxCommit {});
}

#[track_caller]
fn rollback(channel: &Channel) {
    let _: TxRollbackOk = channel.call(&TxRollback {});
}

#[test]
fn committed_messages_are_there_when_commit_ok_comes() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let queue = other.temporary_queue();
    select(&channel);
    for round in 0..3 {
        for number in 0..10 {
            channel.publish("", &queue, format!("{round}.{number}").as_bytes());
        }
        channel.round_trip();
        assert_eq!(other.message_count(&queue), 0, "not before the commit");
        assert!(other.get(&queue).is_none());
        commit(&channel);
        assert_eq!(other.message_count(&queue), 10);
        let bodies: Vec<_> = (0..10).map(|number| format!("{round}.{number}")).collect();
        assert_eq!(drain(&other, &queue), bodies);
    }
}

#[test]
fn messages_rolled_back_are_gone() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    select(&channel);
    channel.publish("", &queue, b"rolled back");
    rollback(&channel);
    channel.publish("", &queue, b"committed");
    commit(&channel);
    commit(&channel);
    assert_eq!(drain(&channel, &queue), ["committed"]);
}

#[test]
fn selecting_again_keeps_what_is_pending() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    select(&channel);
    channel.publish("", &queue, b"pending");
    select(&channel);
    commit(&channel);
    assert_eq!(drain(&channel, &queue), ["pending"]);
}

#[test]
fn an_empty_transaction_can_end_either_way() {
    let connection = Connection::open();
    let channel = connection.channel();
    select(&channel);
    commit(&channel);
    rollback(&channel);
    commit(&channel);
}

#[test]
fn a_channel_that_did_not_select_can_not_commit() {
    let connection = Connection::open();
    let text = "channel is not transactional";
    assert_channel_lost(&connection.channel(), &TxCommit {}, ReplyCode::PreconditionFailed, text);
    assert_channel_lost(&connection.channel(), &TxRollback {}, ReplyCode::PreconditionFailed, text);
    let confirming = connection.channel();
    confirming.confirm_select();
    assert_channel_lost(&confirming, &TxCommit {}, ReplyCode::PreconditionFailed, text);
}

#[test]
fn acknowledgements_count_from_the_commit() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    publish_surely(&connection, "", &queue, &["1", "2", "3"]);
    channel.qos(1);
    channel.consume(&queue);
    select(&channel);
    for number in 1..=3 {
        assert_eq!(channel.next_delivery().delivery_tag, number);
        channel.ack(number);
        // Its place in the prefetch is free only when it is committed.
        channel.expect_nothing_from(&queue);
        commit(&channel);
    }
    channel.close();
    assert!(connection.channel().get(&queue).is_none());
}

#[test]
fn acknowledgements_rolled_back_can_be_given_again() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    publish_surely(&connection, "", &queue, &["1", "2", "3", "4"]);
    select(&channel);
    for _ in 0..4 {
        channel.get(&queue).unwrap();
    }
    channel.ack(2);
    channel.send(&BasicNack { delivery_tag: 3, multiple: false, requeue: true });
    channel.reject(4);
    rollback(&channel);
    // The messages are neither settled nor back in the queue.
    assert!(channel.get(&queue).is_none());
    channel.send(&BasicAck { delivery_tag: 3, multiple: true });
    commit(&channel);
    channel.close();
    let other = connection.channel();
    let got = other.get(&queue).unwrap();
    assert_eq!((got.body.as_slice(), got.redelivered, got.message_count), (&b"4"[..], true, 0));
}

#[test]
fn messages_are_requeued_by_the_commit() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let queue = channel.temporary_queue();
    publish_surely(&connection, "", &queue, &["1", "2", "3", "4"]);
    select(&channel);
    for _ in 0..4 {
        channel.get(&queue).unwrap();
    }
    channel.requeue(1);
    channel.reject(2);
    channel.requeue(3);
    channel.ack(4);
    channel.round_trip();
    assert!(other.get(&queue).is_none());
    commit(&channel);
    assert_eq!(drain(&channel, &queue), ["1", "3"]);
}

#[test]
fn an_unknown_delivery_tag_costs_the_channel_before_the_commit() {
    let connection = Connection::open();
    let queue = connection.channel().temporary_queue();
    publish_surely(&connection, "", &queue, &["1"]);
    let channel = connection.channel();
    select(&channel);
    channel.get(&queue).unwrap();
    channel.ack(1);
    let ack = BasicAck { delivery_tag: 1, multiple: false };
    assert_channel_lost(&channel, &ack, ReplyCode::PreconditionFailed, "unknown delivery tag 1");
    // Nothing was committed.
    assert!(connection.channel().get(&queue).unwrap().redelivered);
}

#[test]
fn a_missing_exchange_costs_the_channel_before_the_commit() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let (queue, missing) = (other.temporary_queue(), unique("missing"));
    select(&channel);
    channel.publish("", &queue, b"lost with the channel");
    channel.publish(&missing, "key", b"wrong");
    let text = format!("no exchange '{missing}' in vhost '/'");
    let close = channel.expect_channel_error(ReplyCode::NotFound, &text);
    assert_eq!(close.blame(), (60, 40));
    assert!(other.get(&queue).is_none());
}

#[test]
fn unroutable_messages_come_back_with_the_commit() {
    let connection = Connection::open();
    let channel = connection.channel();
    select(&channel);
    let publish = BasicPublish { mandatory: true, ..basic_publish("", "testkit-no-such-queue") };
    channel.send_content(&publish, &Properties::default(), b"back");
    channel.expect_nothing();
    channel.send(&TxCommit {});
    let returned: BasicReturn<'_> = channel.expect();
    assert_eq!(returned.reply_code, ReplyCode::NoRoute.code());
    let _: TxCommitOk = channel.expect();
    // What is rolled back does not come back.
    channel.send_content(&publish, &Properties::default(), b"dropped");
    rollback(&channel);
    channel.expect_nothing();
}

#[test]
fn closing_the_channel_rolls_back() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let queue = other.temporary_queue();
    publish_surely(&connection, "", &queue, &["1", "2", "3"]);
    select(&channel);
    for _ in 0..3 {
        channel.get(&queue).unwrap();
    }
    channel.ack(1);
    channel.reject(2);
    channel.publish("", &queue, b"never published");
    channel.close();
    for body in ["1", "2", "3"] {
        let got = other.get(&queue).unwrap();
        assert_eq!((got.body.as_slice(), got.redelivered), (body.as_bytes(), true));
    }
    assert!(other.get(&queue).is_none());
}

#[test]
fn deliveries_are_not_part_of_the_transaction() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let queue = channel.temporary_queue();
    select(&channel);
    channel.consume(&queue);
    other.publish("", &queue, b"delivered");
    assert_eq!(channel.next_delivery().body, b"delivered");
    rollback(&channel);
    channel.ack(1);
    commit(&channel);
}
