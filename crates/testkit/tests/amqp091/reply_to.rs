//! Direct reply-to: answers without a queue.

use leveret_protocol::amqp091::method::{BasicConsume, BasicGet, QueueDeclare, QueueDeclareOk, QueueUnbind};
use leveret_protocol::amqp091::{Properties, ReplyCode, Table, TableWriter, Value};
use leveret_testkit::amqp091::{Channel, Connection, basic_consume, queue_bind, queue_declare};
use leveret_testkit::{broker, unique};

use crate::Blame as _;
use crate::refusal::{assert_channel_lost, assert_connection_lost};
use crate::traffic::await_acks;

const REPLY_TO: &str = "amq.rabbitmq.reply-to";

fn replies() -> BasicConsume<'static> {
    BasicConsume { no_ack: true, ..basic_consume(REPLY_TO) }
}

fn asking() -> Properties<'static> {
    Properties { reply_to: Some(REPLY_TO), ..Properties::default() }
}

fn passive(queue: &str) -> QueueDeclare<'_> {
    QueueDeclare { passive: true, exclusive: false, ..queue_declare(queue) }
}

/// A channel that takes replies, and the address it is given.
#[track_caller]
fn asker(connection: &Connection) -> (Channel, &'static str) {
    let channel = connection.channel();
    channel.consume_with(&replies());
    let queue = channel.temporary_queue();
    channel.publish_with("", &queue, &asking(), b"what is my address?");
    let got = channel.get_with(&BasicGet { ticket: 0, queue: &queue, no_ack: true }).unwrap();
    (channel, got.properties.reply_to.unwrap())
}

#[track_caller]
fn assert_nobody(connection: &Connection, address: &str) {
    let text = format!("no queue '{address}' in vhost '/'");
    assert_channel_lost(&connection.channel(), &passive(address), ReplyCode::NotFound, &text);
}

#[test]
fn a_reply_comes_to_the_channel_that_asked() {
    let (client, server) = (Connection::open(), Connection::open());
    let (asks, answers) = (client.channel(), server.channel());
    let queue = answers.temporary_queue();
    answers.consume(&queue);
    let tag = asks.consume_with(&BasicConsume { consumer_tag: "replies", ..replies() });
    for _ in 0..3 {
        let properties = Properties { correlation_id: Some("correlation"), ..asking() };
        asks.publish_with("", &queue, &properties, b"question");
        let question = answers.next_delivery();
        let address = question.properties.reply_to.unwrap();
        assert_eq!(question.properties.correlation_id, Some("correlation"));
        let properties = Properties { correlation_id: question.properties.correlation_id, ..Properties::default() };
        answers.publish_with("", address, &properties, b"answer");
        let answer = asks.next_delivery();
        assert_eq!((answer.body.as_slice(), answer.properties), (&b"answer"[..], properties));
        assert_eq!((answer.exchange, answer.routing_key), ("", address));
        assert_eq!((answer.consumer_tag, answer.redelivered), (tag, false));
    }
}

#[test]
fn the_address_names_the_channel() {
    let connection = Connection::open();
    let (_one, first) = asker(&connection);
    let (_two, second) = asker(&connection);
    for address in [first, second] {
        let token = address.strip_prefix("amq.rabbitmq.reply-to.").unwrap_or_else(|| panic!("no token in {address}"));
        assert!(!token.is_empty());
    }
    assert_ne!(first, second);
}

#[test]
fn replies_come_one_after_the_other_and_of_any_size() {
    let connection = Connection::open();
    let (channel, address) = asker(&connection);
    let answers = Connection::open();
    let other = answers.channel();
    for size in [0, 1, 200_000, 1_000_000] {
        other.publish("", address, &vec![b'x'; size]);
    }
    for size in [0, 1, 200_000, 1_000_000] {
        assert_eq!(channel.next_delivery().body.len(), size);
    }
}

#[test]
fn a_reply_to_nobody_is_dropped() {
    let connection = Connection::open();
    let (channel, address) = asker(&connection);
    let other = connection.channel();
    other.publish("", "amq.rabbitmq.reply-to.no-such-token", b"to nobody");
    other.confirm_select();
    other.publish("", "amq.rabbitmq.reply-to.no-such-token", b"to nobody");
    await_acks(&other, 1);
    channel.close();
    other.publish("", address, b"too late");
    other.next_confirm();
    other.expect_nothing();
}

#[test]
fn a_mandatory_reply_does_not_come_back() {
    let connection = Connection::open();
    let (channel, address) = asker(&connection);
    let other = connection.channel();
    other.publish_mandatory("", address, b"answer");
    assert_eq!(channel.next_delivery().body, b"answer");
    if broker::differs("a direct reply counts as routed nowhere") {
        assert_eq!(other.next_return().body, b"answer");
    }
    other.expect_nothing();
}

#[test]
fn replies_can_not_be_acknowledged() {
    let channel = Connection::open().channel();
    let text = "reply consumer cannot acknowledge";
    assert_channel_lost(&channel, &basic_consume(REPLY_TO), ReplyCode::PreconditionFailed, text);
}

#[test]
fn a_channel_has_one_consumer_of_replies() {
    let connection = Connection::open();
    let (channel, _address) = asker(&connection);
    // Another channel may have its own.
    let (_other, _address) = asker(&connection);
    assert_channel_lost(&channel, &replies(), ReplyCode::PreconditionFailed, "reply consumer already set");
}

#[test]
fn asking_for_a_reply_needs_a_consumer_on_the_channel() {
    let connection = Connection::open();
    let (_other, _address) = asker(&connection);
    let channel = connection.channel();
    channel.publish_with("", "testkit-no-such-queue", &asking(), b"question");
    let close = channel.expect_channel_error(ReplyCode::PreconditionFailed, "fast reply consumer does not exist");
    assert_eq!(close.blame(), (60, 40));
}

#[test]
fn other_reply_addresses_are_left_alone() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let (_other, address) = asker(&connection);
    for reply_to in [address, "amq.rabbitmq.reply-to.anything", "amq.rabbitmq", "a queue", ""] {
        let properties = Properties { reply_to: Some(reply_to), ..Properties::default() };
        channel.publish_with("", &queue, &properties, b"question");
        assert_eq!(channel.get(&queue).unwrap().properties.reply_to, Some(reply_to));
    }
}

#[test]
fn a_cancelled_consumer_of_replies_can_be_replaced() {
    let connection = Connection::open();
    let channel = connection.channel();
    for _ in 0..3 {
        let tag = channel.consume_with(&replies());
        channel.cancel(tag);
    }
    channel.publish_with("", "testkit-no-such-queue", &asking(), b"question");
    channel.expect_channel_error(ReplyCode::PreconditionFailed, "fast reply consumer does not exist");
}

#[test]
fn its_tag_may_not_be_in_use() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    channel.consume_with(&BasicConsume { consumer_tag: "tag", ..basic_consume(&queue) });
    let consume = BasicConsume { consumer_tag: "tag", ..replies() };
    let text = "attempt to reuse consumer tag 'tag'";
    assert_connection_lost(&channel, &consume, ReplyCode::NotAllowed, text);
}

#[test]
fn declaring_an_address_asks_whether_somebody_is_there() {
    let connection = Connection::open();
    let (channel, address) = asker(&connection);
    let other = Connection::open();
    let expected = QueueDeclareOk { queue: address, message_count: 0, consumer_count: 1 };
    let declares = other.channel();
    for declare in [passive(address), queue_declare(address)] {
        assert_eq!(declares.call::<QueueDeclareOk<'_>>(&declare), expected);
    }
    channel.close();
    assert_nobody(&connection, address);
    assert_nobody(&connection, "amq.rabbitmq.reply-to.no-such-token");
}

#[test]
fn an_address_can_be_neither_bound_nor_unbound() {
    let connection = Connection::open();
    let (_channel, address) = asker(&connection);
    for name in [address, REPLY_TO] {
        let bind = queue_bind(name, "amq.direct", "key");
        let unbind = QueueUnbind {
            ticket: 0,
            queue: name,
            exchange: "amq.direct",
            routing_key: "key",
            arguments: Table::default(),
        };
        if broker::differs("it takes the address for a queue that is not there") {
            let text = format!("no queue '{name}' in vhost '/'");
            assert_channel_lost(&connection.channel(), &bind, ReplyCode::NotFound, &text);
            continue;
        }
        let text = "cannot bind or unbind to a volatile (direct reply-to) queue";
        assert_channel_lost(&connection.channel(), &bind, ReplyCode::AccessRefused, text);
        assert_channel_lost(&connection.channel(), &unbind, ReplyCode::AccessRefused, text);
    }
}

#[test]
fn replies_can_not_be_taken_one_by_one() {
    let connection = Connection::open();
    let (channel, address) = asker(&connection);
    let get = BasicGet { ticket: 0, queue: address, no_ack: true };
    if broker::differs("it takes the address for a queue that is not there") {
        let text = format!("no queue '{address}' in vhost '/'");
        assert_channel_lost(&channel, &get, ReplyCode::NotFound, &text);
        return;
    }
    let text = format!("basic.get not supported by volatile queue '{address}' in vhost '/'");
    assert_connection_lost(&channel, &get, ReplyCode::NotImplemented, &text);
}

#[test]
fn a_reply_may_be_sent_to_many() {
    let connection = Connection::open();
    let (one, first) = asker(&connection);
    let (two, second) = asker(&connection);
    let queue = unique("queue");
    let other = connection.channel();
    other.declare_queue(&queue);
    let mut octets = Vec::new();
    TableWriter::new(&mut octets).array("CC", |array| {
        for key in [second, &queue] {
            array.value(Value::LongStr(key.as_bytes()));
        }
    });
    let headers = Table::parse(&octets).unwrap();
    other.publish_with("", first, &Properties { headers: Some(headers), ..Properties::default() }, b"answer");
    assert_eq!(one.next_delivery().body, b"answer");
    assert_eq!(two.next_delivery().body, b"answer");
    assert_eq!(other.get(&queue).unwrap().body, b"answer");
}
