//! Publisher confirms.

use leveret_protocol::amqp091::Properties;
use leveret_protocol::amqp091::ReplyCode;
use leveret_protocol::amqp091::method::{ConfirmSelect, QueueDeclare, QueueDeclareOk, TxSelect, TxSelectOk};
use leveret_testkit::amqp091::{Confirm, Connection, queue_declare};
use leveret_testkit::unique;

use crate::refusal::assert_channel_lost;
use crate::traffic::{await_acks, drain};

#[test]
fn messages_are_counted_from_the_first_after_select() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    channel.publish("", &queue, b"before");
    channel.confirm_select();
    for number in 1..=3 {
        channel.publish("", &queue, b"after");
        assert_eq!(channel.next_confirm(), Confirm::Ack { delivery_tag: number, multiple: false });
    }
    channel.expect_nothing();
}

#[test]
fn selecting_again_changes_nothing() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    for number in 1..=3 {
        channel.confirm_select();
        channel.publish("", &queue, b"message");
        assert_eq!(channel.next_confirm(), Confirm::Ack { delivery_tag: number, multiple: false });
    }
}

#[test]
fn nothing_answers_a_select_told_not_to_wait() {
    let connection = Connection::open();
    let channel = connection.channel();
    channel.send(&ConfirmSelect { no_wait: true });
    channel.expect_nothing();
    channel.publish("", &unique("missing"), b"message");
    await_acks(&channel, 1);
}

#[test]
fn nothing_is_confirmed_unless_asked_for() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let queue = channel.temporary_queue();
    other.confirm_select();
    channel.publish("", &queue, b"message");
    assert_eq!(drain(&channel, &queue), ["message"]);
    channel.expect_nothing();
    other.expect_nothing();
}

#[test]
fn every_message_is_confirmed_once() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (transient, durable) = (channel.temporary_queue(), unique("queue"));
    let declare = QueueDeclare { durable: true, exclusive: false, ..queue_declare(&durable) };
    let _: QueueDeclareOk<'_> = channel.call(&declare);
    let exchange = unique("exchange");
    channel.declare_exchange(&exchange, "topic");
    channel.bind(&transient, &exchange, "transient.#");
    channel.bind(&durable, &exchange, "#.durable");
    channel.confirm_select();
    let keys = ["transient", "durable", "transient.durable", "nowhere"];
    for number in 0..2000_u32 {
        let key = keys[number as usize % keys.len()];
        let mode = if number % 3 == 0 { 2 } else { 1 };
        let properties = Properties { delivery_mode: Some(mode), ..Properties::default() };
        channel.publish_with(&exchange, key, &properties, &number.to_be_bytes());
    }
    await_acks(&channel, 2000);
    channel.expect_nothing();
    for queue in [&transient, &durable] {
        assert_eq!(channel.message_count(queue), 1000);
    }
    channel.delete_queue(&durable);
}

#[test]
fn a_message_routed_nowhere_is_confirmed() {
    let connection = Connection::open();
    let channel = connection.channel();
    channel.confirm_select();
    for exchange in ["", "amq.direct", "amq.topic", "amq.fanout"] {
        channel.publish(exchange, "testkit-no-such-key", b"");
    }
    await_acks(&channel, 4);
}

#[test]
fn a_confirmed_message_is_there_for_all() {
    let (publisher, consumer) = (Connection::open(), Connection::open());
    let (channel, other) = (publisher.channel(), consumer.channel());
    let queue = other.temporary_queue();
    channel.confirm_select();
    for number in 1..=50 {
        channel.publish("", &queue, b"message");
        await_ack(&channel.next_confirm(), number);
        assert_eq!(other.message_count(&queue), 1);
        assert_eq!(drain(&other, &queue), ["message"]);
    }
}

#[track_caller]
fn await_ack(confirm: &Confirm, number: u64) {
    assert_eq!(*confirm, Confirm::Ack { delivery_tag: number, multiple: false });
}

#[test]
fn messages_of_a_deleted_queue_are_confirmed() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    channel.confirm_select();
    for _ in 0..100 {
        channel.publish("", &queue, b"soon gone");
    }
    channel.delete_queue(&queue);
    await_acks(&channel, 100);
}

#[test]
fn consumers_do_not_change_confirms() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    channel.confirm_select();
    channel.consume(&queue);
    for number in 1..=100 {
        channel.publish("", &queue, b"message");
        let delivery = channel.next_delivery();
        assert_eq!(delivery.delivery_tag, number);
        channel.ack(delivery.delivery_tag);
    }
    await_acks(&channel, 100);
}

#[test]
fn a_publish_that_costs_the_channel_is_not_confirmed() {
    let connection = Connection::open();
    let channel = connection.channel();
    let missing = unique("missing");
    channel.confirm_select();
    channel.publish(&missing, "key", b"message");
    channel.expect_channel_error(ReplyCode::NotFound, &format!("no exchange '{missing}' in vhost '/'"));
    // A new channel counts from 1 once it has asked.
    let channel = connection.channel_numbered(channel.number());
    channel.publish("", "testkit-no-such-queue", b"message");
    channel.expect_nothing();
    channel.confirm_select();
    channel.publish("", "testkit-no-such-queue", b"message");
    await_ack(&channel.next_confirm(), 1);
}

#[test]
fn a_transactional_channel_can_not_confirm() {
    let connection = Connection::open();
    for no_wait in [false, true] {
        let channel = connection.channel();
        let _: TxSelectOk = channel.call(&TxSelect {});
        let text = "cannot switch from tx to confirm mode";
        assert_channel_lost(&channel, &ConfirmSelect { no_wait }, ReplyCode::PreconditionFailed, text);
    }
}

#[test]
fn a_confirming_channel_can_not_become_transactional() {
    let connection = Connection::open();
    let channel = connection.channel();
    channel.confirm_select();
    let text = "cannot switch from confirm to tx mode";
    assert_channel_lost(&channel, &TxSelect {}, ReplyCode::PreconditionFailed, text);
}
