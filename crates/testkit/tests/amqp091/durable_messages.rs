//! Persistent messages in durable queues: when they are confirmed, and that all else is as with other messages.

use leveret_protocol::amqp091::Properties;
use leveret_protocol::amqp091::method::{
    BasicConsume, BasicPublish, BasicReturn, QueueDeclare, QueueDeclareOk, QueuePurge, QueuePurgeOk, TxCommit,
    TxCommitOk, TxSelect, TxSelectOk,
};
use leveret_testkit::amqp091::{Channel, Confirm, Connection, basic_consume, basic_publish, queue_declare};
use leveret_testkit::unique;

use crate::traffic::{await_acks, drain};

/// A durable queue that is deleted when the test is over.
struct DurableQueue<'a> {
    channel: &'a Channel,
    name: String,
}

impl<'a> DurableQueue<'a> {
    fn new(channel: &'a Channel) -> Self {
        let name = unique("durable");
        let declare = QueueDeclare { durable: true, exclusive: false, ..queue_declare(&name) };
        let _: QueueDeclareOk<'_> = channel.call(&declare);
        Self { channel, name }
    }
}

impl Drop for DurableQueue<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.channel.delete_queue(&self.name);
        }
    }
}

fn persistent() -> Properties<'static> {
    Properties { delivery_mode: Some(2), ..Properties::default() }
}

fn publish(channel: &Channel, exchange: &str, routing_key: &str, body: &[u8]) {
    channel.publish_with(exchange, routing_key, &persistent(), body);
}

#[test]
fn every_persistent_message_is_confirmed_once() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let queue = DurableQueue::new(&admin);
    channel.confirm_select();
    for number in 0..2000_u32 {
        publish(&channel, "", &queue.name, &number.to_be_bytes());
    }
    await_acks(&channel, 2000);
    channel.expect_nothing();
    assert_eq!(admin.message_count(&queue.name), 2000);
}

#[test]
fn a_publisher_that_awaits_each_confirm_goes_on() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let queue = DurableQueue::new(&admin);
    channel.confirm_select();
    for number in 1..=50 {
        publish(&channel, "", &queue.name, b"message");
        await_confirm(&channel, number);
        assert_eq!(admin.message_count(&queue.name), u32::try_from(number).unwrap(), "confirmed is there for all");
    }
}

#[test]
fn messages_of_all_kinds_are_confirmed_on_one_channel() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let (durable, passing) = (DurableQueue::new(&admin), admin.temporary_queue());
    channel.confirm_select();
    let (mut in_durable, mut in_passing) = (0, 0);
    for number in 0..600_u32 {
        let delivery_mode = [Some(2), Some(1), None][number as usize % 3];
        let properties = Properties { delivery_mode, ..Properties::default() };
        let key = match number % 4 {
            0 | 1 => durable.name.as_str(),
            2 => passing.as_str(),
            _ => "testkit-no-such-queue",
        };
        in_durable += u32::from(number % 4 < 2);
        in_passing += u32::from(number % 4 == 2);
        channel.publish_with("", key, &properties, &number.to_be_bytes());
    }
    await_acks(&channel, 600);
    channel.expect_nothing();
    assert_eq!((admin.message_count(&durable.name), admin.message_count(&passing)), (in_durable, in_passing));
}

#[test]
fn channels_of_a_connection_are_confirmed_each_for_itself() {
    let connection = Connection::open();
    let admin = connection.channel();
    let (one, other) = (connection.channel(), connection.channel());
    let queue = DurableQueue::new(&admin);
    one.confirm_select();
    other.confirm_select();
    for _ in 0..200 {
        publish(&one, "", &queue.name, b"one");
        other.publish("", "testkit-no-such-queue", b"other");
        publish(&other, "", &queue.name, b"other");
    }
    await_acks(&one, 200);
    await_acks(&other, 400);
    assert_eq!(admin.message_count(&queue.name), 400);
}

#[test]
fn a_persistent_message_that_comes_back_does_so_before_its_confirm() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let queue = DurableQueue::new(&admin);
    channel.confirm_select();
    let missing = unique("missing");
    let mandatory = BasicPublish { mandatory: true, ..basic_publish("", &missing) };
    for number in 0..20_u64 {
        channel.send_content(&mandatory, &persistent(), b"back");
        let returned: BasicReturn<'_> = channel.expect();
        assert_eq!((returned.reply_code, returned.routing_key), (312, missing.as_str()));
        let _ = channel.next_confirm();
        // One that is stored, so that the next return meets a channel that has waited for the disk.
        publish(&channel, "", &queue.name, b"stored");
        let _ = channel.next_confirm();
        assert_eq!(u64::from(admin.message_count(&queue.name)), number + 1);
    }
}

#[test]
fn returns_and_confirms_are_complete_among_stored_messages() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let queue = DurableQueue::new(&admin);
    channel.confirm_select();
    let missing = unique("missing");
    for _ in 0..100 {
        for key in [&queue.name, &missing] {
            let publish = BasicPublish { mandatory: true, ..basic_publish("", key) };
            channel.send_content(&publish, &persistent(), b"message");
        }
    }
    await_acks(&channel, 200);
    for _ in 0..100 {
        assert_eq!(channel.next_return().routing_key, missing);
    }
    channel.expect_nothing();
    assert_eq!(admin.message_count(&queue.name), 100);
}

#[test]
fn a_commit_covers_persistent_messages() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let queue = DurableQueue::new(&admin);
    let _: TxSelectOk = channel.call(&TxSelect {});
    for round in 1..=10 {
        for number in 0..20_u32 {
            let delivery_mode = Some(if number % 5 == 0 { 1 } else { 2 });
            let properties = Properties { delivery_mode, ..Properties::default() };
            channel.publish_with("", &queue.name, &properties, b"message");
        }
        let _: TxCommitOk = channel.call(&TxCommit {});
        assert_eq!(admin.message_count(&queue.name), 20 * round);
    }
    channel.expect_nothing();
}

#[test]
fn confirms_come_while_consumers_acknowledge_at_once() {
    let (publisher, consumer) = (Connection::open(), Connection::open());
    let (channel, other) = (publisher.channel(), consumer.channel());
    let queue = DurableQueue::new(&other);
    other.consume(&queue.name);
    channel.confirm_select();
    for round in 0..10_u32 {
        for number in 0..100 {
            publish(&channel, "", &queue.name, &(100 * round + number).to_be_bytes());
        }
        for number in 0..100 {
            let delivery = other.next_delivery();
            assert_eq!(delivery.body, (100 * round + number).to_be_bytes());
            assert_eq!((delivery.redelivered, delivery.properties.delivery_mode), (false, Some(2)));
            other.ack(delivery.delivery_tag);
        }
    }
    await_acks(&channel, 1000);
    channel.expect_nothing();
    other.round_trip();
    assert_eq!(other.message_count(&queue.name), 0);
}

#[test]
fn confirms_come_while_consumers_acknowledge_automatically() {
    let (publisher, consumer) = (Connection::open(), Connection::open());
    let (channel, other) = (publisher.channel(), consumer.channel());
    let queue = DurableQueue::new(&other);
    other.consume_with(&BasicConsume { no_ack: true, ..basic_consume(&queue.name) });
    channel.confirm_select();
    for number in 0..500_u32 {
        publish(&channel, "", &queue.name, &number.to_be_bytes());
    }
    for number in 0..500_u32 {
        assert_eq!(other.next_delivery().body, number.to_be_bytes());
    }
    await_acks(&channel, 500);
    channel.expect_nothing();
}

#[test]
fn a_message_for_many_durable_queues_is_confirmed_once() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let exchange = unique("exchange");
    admin.declare_exchange(&exchange, "fanout");
    let queues: Vec<_> = (0..30).map(|_| DurableQueue::new(&admin)).collect();
    let passing = admin.temporary_queue();
    for name in queues.iter().map(|queue| &queue.name).chain([&passing]) {
        admin.bind(name, &exchange, "");
    }
    channel.confirm_select();
    for number in 0..100_u32 {
        let delivery_mode = Some(if number % 10 == 0 { 1 } else { 2 });
        channel.publish_with(&exchange, "", &Properties { delivery_mode, ..Properties::default() }, b"for all");
    }
    await_acks(&channel, 100);
    channel.expect_nothing();
    for name in queues.iter().map(|queue| &queue.name).chain([&passing]) {
        assert_eq!(admin.message_count(name), 100, "{name}");
    }
}

#[test]
fn messages_that_are_purged_or_go_with_their_queue_are_confirmed() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let (kept, deleted) = (DurableQueue::new(&admin), DurableQueue::new(&admin));
    channel.confirm_select();
    for _ in 0..200 {
        publish(&channel, "", &kept.name, b"to be purged");
        publish(&channel, "", &deleted.name, b"to go");
    }
    let _: QueuePurgeOk = channel.call(&QueuePurge { ticket: 0, queue: &kept.name, no_wait: false });
    channel.delete_queue(&deleted.name);
    await_acks(&channel, 400);
    channel.expect_nothing();
}

#[test]
fn a_queue_made_anew_under_its_name_is_empty() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let queue = DurableQueue::new(&admin);
    channel.confirm_select();
    for round in 0..5 {
        publish(&channel, "", &queue.name, b"message");
        await_confirm(&channel, round + 1);
        assert_eq!(admin.delete_queue(&queue.name), 1);
        let declare = QueueDeclare { durable: true, exclusive: false, ..queue_declare(&queue.name) };
        let ok: QueueDeclareOk<'_> = admin.call(&declare);
        assert_eq!(ok.message_count, 0);
        assert!(admin.get(&queue.name).is_none());
    }
}

#[track_caller]
fn await_confirm(channel: &Channel, number: u64) {
    let expected = Confirm::Ack { delivery_tag: number, multiple: false };
    assert_eq!(channel.next_confirm(), expected);
}

#[test]
fn bodies_and_properties_come_out_as_they_went_in() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let queue = DurableQueue::new(&admin);
    channel.confirm_select();
    let sizes = [0, 1, 4095, 4096, 70_000, 1_000_000];
    let properties = Properties {
        content_type: Some("text/plain"),
        correlation_id: Some("correlation"),
        timestamp: Some(1_700_000_000),
        priority: Some(3),
        ..persistent()
    };
    for size in sizes {
        let body: Vec<u8> = (0..=255).cycle().take(size).collect();
        channel.publish_with("", &queue.name, &properties, &body);
    }
    await_acks(&channel, sizes.len() as u64);
    for size in sizes {
        let got = admin.get(&queue.name).unwrap();
        let body: Vec<u8> = (0..=255).cycle().take(size).collect();
        assert_eq!(got.properties, properties, "{size} octets");
        assert!(got.body == body, "the body of {size} octets has changed");
        admin.requeue(got.delivery_tag);
        let again = admin.get(&queue.name).unwrap();
        assert!(again.redelivered && again.body == body && again.properties == properties, "{size} octets, again");
        admin.ack(again.delivery_tag);
    }
    assert!(drain(&admin, &queue.name).is_empty());
}
