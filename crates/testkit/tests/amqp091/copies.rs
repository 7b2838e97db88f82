//! Copies: the headers CC and BCC.

use leveret_protocol::amqp091::method::BasicPublish;
use leveret_protocol::amqp091::{Properties, ReplyCode, Table, TableWriter, Value};
use leveret_testkit::amqp091::{Connection, basic_publish, table};
use leveret_testkit::unique;

use crate::Blame as _;
use crate::traffic::drain;

/// Headers with an array of texts.
pub(crate) fn copies(name: &str, routing_keys: &[&str]) -> Table<'static> {
    let mut octets = Vec::new();
    TableWriter::new(&mut octets).array(name, |array| {
        for key in routing_keys {
            array.value(Value::LongStr(key.as_bytes()));
        }
    });
    Table::parse(octets.leak()).unwrap()
}

pub(crate) fn with_headers(headers: Table<'_>) -> Properties<'_> {
    Properties { headers: Some(headers), ..Properties::default() }
}

#[test]
fn copies_go_where_cc_and_bcc_say() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, queue) = (unique("exchange"), channel.temporary_queue());
    channel.declare_exchange(&exchange, "direct");
    let others = ["one", "two", "three"].map(|key| {
        let queue = channel.temporary_queue();
        channel.bind(&queue, &exchange, key);
        queue
    });
    channel.bind(&queue, &exchange, "main");
    for name in ["CC", "BCC"] {
        let headers = copies(name, &["one", "three", "one", "main", "nowhere"]);
        channel.publish_with(&exchange, "main", &with_headers(headers), b"copy");
        assert_eq!(drain(&channel, &queue), ["copy"], "{name}");
        for (queue, count) in others.iter().zip([1, 0, 1]) {
            assert_eq!(drain(&channel, queue).len(), count, "{name}");
        }
    }
}

#[test]
fn copies_go_through_the_default_exchange_too() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queues = [channel.temporary_queue(), channel.temporary_queue()];
    let headers = copies("CC", &[&queues[1]]);
    channel.publish_with("", &queues[0], &with_headers(headers), b"copy");
    for queue in &queues {
        assert_eq!(channel.get(queue).unwrap().routing_key, queues[0]);
    }
}

#[test]
fn cc_is_delivered_and_bcc_is_not() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let mut octets = Vec::new();
    for name in ["CC", "BCC"] {
        TableWriter::new(&mut octets).array(name, |array| {
            array.value(Value::LongStr(b"nowhere"));
        });
    }
    TableWriter::new(&mut octets).field("more", Value::I32(1));
    let headers = Table::parse(&octets).unwrap();
    channel.publish_with("", &queue, &with_headers(headers), b"copy");
    let headers = channel.get(&queue).unwrap().properties.headers.unwrap();
    let names: Vec<_> = headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["CC", "more"]);
}

#[test]
fn a_message_routed_by_cc_alone_is_routed() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    for name in ["CC", "BCC"] {
        let publish = BasicPublish { mandatory: true, ..basic_publish("", "testkit-no-such-queue") };
        channel.send_content(&publish, &with_headers(copies(name, &[&queue])), b"copy");
        assert_eq!(drain(&channel, &queue), ["copy"]);
        channel.expect_nothing();
    }
}

#[test]
fn cc_must_be_an_array() {
    let connection = Connection::open();
    for (name, value, kind) in [
        ("CC", Value::LongStr(b"one"), "longstr"),
        ("BCC", Value::LongStr(b"one"), "longstr"),
        ("CC", Value::I32(1), "signedint"),
        ("CC", Value::Void, "void"),
        ("BCC", Value::Table(Table::default()), "table"),
    ] {
        let channel = connection.channel();
        let text = format!("invalid message: {{unacceptable_type_in_header,\"{name}\",{kind}}}");
        channel.publish_with("amq.direct", "key", &with_headers(table(&[(name, value)])), b"");
        let close = channel.expect_channel_error(ReplyCode::PreconditionFailed, &text);
        assert_eq!(close.blame(), (60, 40));
    }
}

#[test]
fn what_is_not_text_in_cc_is_ignored() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let mut octets = Vec::new();
    TableWriter::new(&mut octets).array("CC", |array| {
        array.value(Value::I32(1)).value(Value::LongStr(queue.as_bytes())).value(Value::Void);
    });
    let headers = Table::parse(&octets).unwrap();
    channel.publish_with("", "testkit-no-such-queue", &with_headers(headers), b"copy");
    assert_eq!(drain(&channel, &queue), ["copy"]);
}
