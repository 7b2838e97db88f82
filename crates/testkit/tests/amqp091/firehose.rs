//! The firehose: what comes into and goes out of a vhost is published to `amq.rabbitmq.trace` as well.

use leveret_protocol::amqp091::method::BasicConsume;
use leveret_protocol::amqp091::{Array, Properties, Table, TableWriter, Value};
use leveret_testkit::amqp091::{Channel, Connection, Delivery, basic_consume};
use leveret_testkit::broker;
use leveret_testkit::policy::{Firehose, OwnVhost, own_vhost};

use crate::queues::{self, shared};
use crate::traffic::next_bodies;

/// A vhost with its firehose on, two queues `one` and `two`, and a channel that gets all copies.
struct Traced {
    vhost: OwnVhost,
    connection: Connection,
    copies: Channel,
    queue: String,
}

impl Traced {
    fn new() -> Self {
        let vhost = own_vhost();
        let connection = Connection::builder().vhost(vhost.name()).open();
        let copies = connection.channel();
        let queue = copies.temporary_queue();
        copies.bind(&queue, "amq.rabbitmq.trace", "#");
        copies.consume_with(&no_ack(&queue));
        for name in ["one", "two"] {
            queues::declare(&copies, &shared(name));
            copies.bind(name, "amq.fanout", "");
        }
        vhost.set_firehose(Firehose::On);
        Self { vhost, connection, copies, queue }
    }

    #[track_caller]
    fn next(&self) -> Delivery {
        self.copies.next_delivery()
    }

    #[track_caller]
    fn assert_none(&self) {
        self.copies.expect_nothing_from(&self.queue);
    }
}

fn no_ack(queue: &str) -> BasicConsume<'_> {
    BasicConsume { no_ack: true, ..basic_consume(queue) }
}

/// The headers of a copy, without those that are other ones each time.
#[track_caller]
fn headers(copy: &Delivery) -> Vec<(&str, Value<'_>)> {
    let headers = copy.properties.headers.unwrap();
    for (name, part) in [("node", "@"), ("connection", " -> ")] {
        let Some(Value::LongStr(text)) = headers.get(name) else { panic!("no {name} in {headers:?}") };
        assert!(String::from_utf8_lossy(text).contains(part), "{headers:?}");
    }
    headers.iter().filter(|(name, _)| !["node", "connection", "vhost"].contains(name)).collect()
}

fn text(text: &str) -> Value<'_> {
    Value::LongStr(text.as_bytes())
}

/// A table that is written by `write`, without end.
fn written(write: impl FnOnce(&mut TableWriter<'_>)) -> Table<'static> {
    let mut octets = Vec::new();
    write(&mut TableWriter::new(&mut octets));
    Table::parse(octets.leak()).unwrap()
}

fn texts(texts: &[&str]) -> Value<'static> {
    let table = written(|table| {
        table.array("", |array| {
            for one in texts {
                array.value(text(one));
            }
        });
    });
    table.get("").unwrap()
}

fn user() -> Value<'static> {
    text(&broker::url().user)
}

#[test]
fn a_publish_is_copied_with_all_that_is_known_of_it() {
    let traced = Traced::new();
    let channel = traced.connection.channel();
    let own = |table: &mut TableWriter<'_>| {
        table.field("a", Value::I32(1)).array("CC", |keys| {
            keys.value(text("two"));
        });
    };
    let properties = Properties {
        content_type: Some("text/plain"),
        content_encoding: Some("utf8"),
        headers: Some(written(own)),
        delivery_mode: Some(2),
        priority: Some(3),
        correlation_id: Some("c"),
        reply_to: Some("r"),
        expiration: Some("100000"),
        message_id: Some("m"),
        timestamp: Some(123),
        kind: Some("t"),
        user_id: Some(&broker::url().user),
        app_id: Some("app"),
        cluster_id: Some("cl"),
    };
    channel.publish_with("", "one", &properties, b"body");
    let copy = traced.next();
    assert_eq!((copy.exchange, copy.routing_key, &*copy.body), ("amq.rabbitmq.trace", "publish.", &b"body"[..]));
    assert_eq!(copy.properties, Properties { headers: copy.properties.headers, ..Properties::default() });
    let listed = written(|table| {
        table
            .field("cluster_id", text("cl"))
            .field("app_id", text("app"))
            .field("user_id", user())
            .field("type", text("t"))
            .field("timestamp", Value::I32(123))
            .field("message_id", text("m"))
            .field("expiration", text("100000"))
            .field("reply_to", text("r"))
            .field("correlation_id", text("c"))
            .field("priority", Value::I32(3))
            .field("delivery_mode", Value::I32(2))
            .table("headers", own)
            .field("content_encoding", text("utf8"))
            .field("content_type", text("text/plain"));
    });
    let expected = [
        ("exchange_name", text("")),
        ("routing_keys", texts(&["one", "two"])),
        ("properties", Value::Table(listed)),
        ("channel", Value::I32(channel.number().into())),
        ("user", user()),
        ("routed_queues", texts(&["one", "two"])),
    ];
    assert_eq!(headers(&copy), expected);
    let vhost = copy.properties.headers.and_then(|headers| headers.get("vhost"));
    assert_eq!(vhost, Some(text(traced.vhost.name())));
    traced.assert_none();
}

#[test]
fn a_publish_that_leads_nowhere_is_copied_too() {
    let traced = Traced::new();
    let channel = traced.connection.channel();
    // The second one would go the way of the first, were there no firehose.
    for key in ["nowhere", "nowhere"] {
        channel.publish_mandatory("amq.direct", key, b"");
        channel.next_return();
        let copy = traced.next();
        assert_eq!(copy.routing_key, "publish.amq.direct");
        assert_eq!(headers(&copy).last(), Some(&("routed_queues", Value::Array(Array::default()))));
    }
}

#[test]
fn deliveries_and_what_is_got_are_copied() {
    let traced = Traced::new();
    let channel = traced.connection.channel();
    channel.publish("amq.fanout", "key", b"1");
    let copy = traced.next();
    assert_eq!(copy.routing_key, "publish.amq.fanout");
    assert_eq!(headers(&copy).last(), Some(&("routed_queues", texts(&["one", "two"]))));
    for redelivered in [0, 1] {
        if redelivered == 0 {
            let got = channel.get("one").unwrap();
            channel.requeue(got.delivery_tag);
        } else {
            channel.consume_with(&no_ack("one"));
            assert_eq!(next_bodies(&channel, 1), ["1"]);
        }
        let copy = traced.next();
        assert_eq!((copy.routing_key, &*copy.body), ("deliver.one", &b"1"[..]));
        let expected = [
            ("exchange_name", text("amq.fanout")),
            ("routing_keys", texts(&["key"])),
            ("properties", Value::Table(Table::default())),
            ("redelivered", Value::I32(redelivered)),
            ("channel", Value::I32(channel.number().into())),
            ("user", user()),
        ];
        assert_eq!(headers(&copy), expected);
    }
    traced.assert_none();
}

#[test]
fn copies_are_not_copied() {
    let traced = Traced::new();
    let channel = traced.connection.channel();
    channel.bind("two", "amq.rabbitmq.trace", "publish.#");
    channel.consume_with(&no_ack("two"));
    channel.publish("", "one", b"1");
    assert_eq!(next_bodies(&channel, 1), ["1"]);
    assert_eq!(traced.next().routing_key, "publish.");
    traced.assert_none();
}

#[test]
fn an_open_connection_learns_that_the_firehose_is_turned_on_and_off() {
    let traced = Traced::new();
    let publisher = traced.connection.channel();
    // It has nothing to say, so that its deliveries are all that reminds it.
    let quiet = Connection::builder().vhost(traced.vhost.name()).open();
    let consumer = quiet.channel();
    consumer.consume_with(&no_ack("one"));
    for firehose in [Firehose::On, Firehose::Off, Firehose::On] {
        traced.vhost.set_firehose(firehose);
        publisher.publish("", "one", b"1");
        assert_eq!(next_bodies(&consumer, 1), ["1"]);
        if firehose == Firehose::On {
            let mut keys = [traced.next().routing_key, traced.next().routing_key];
            keys.sort_unstable();
            assert_eq!(keys, ["deliver.one", "publish."]);
        }
        traced.assert_none();
    }
}

#[test]
fn another_vhost_is_not_copied() {
    let (traced, other) = (Traced::new(), own_vhost());
    let connection = Connection::builder().vhost(other.name()).open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    channel.bind(&queue, "amq.rabbitmq.trace", "#");
    channel.publish("amq.direct", "key", b"");
    channel.round_trip();
    assert_eq!(channel.message_count(&queue), 0);
    traced.assert_none();
}
