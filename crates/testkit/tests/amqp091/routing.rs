//! Which queues a message reaches.

use leveret_protocol::amqp091::frame::write_content;
use leveret_protocol::amqp091::method::{
    ExchangeBind, ExchangeBindOk, QueueBind, QueueBindOk, QueueDeclare, QueueDeleteOk, QueueUnbind, QueueUnbindOk,
};
use leveret_protocol::amqp091::{Properties, ReplyCode, Table};
use leveret_testkit::amqp091::{
    Channel, Connection, basic_publish, method_frame, queue_bind, queue_declare, queue_delete,
};
use leveret_testkit::{broker, unique};

use crate::refusal::assert_channel_lost;
use crate::traffic::drain;

/// Whether a fresh exchange with one binding routes a message to the bound queue.
#[track_caller]
pub(crate) fn routes(
    channel: &Channel,
    kind: &str,
    binding: (&str, Table<'_>),
    routing_key: &str,
    headers: Table<'_>,
) -> bool {
    let (exchange, queue) = (unique("exchange"), unique("queue"));
    channel.declare_exchange(&exchange, kind);
    channel.declare_queue(&queue);
    let (binding_key, arguments) = binding;
    let _: QueueBindOk = channel.call(&QueueBind { arguments, ..queue_bind(&queue, &exchange, binding_key) });
    let properties = Properties { headers: Some(headers), ..Properties::default() };
    channel.publish_with(&exchange, routing_key, &properties, b"");
    let routed = channel.get(&queue).is_some();
    // The exchange goes with its last binding.
    channel.delete_queue(&queue);
    routed
}

pub(crate) fn bind_exchange(channel: &Channel, destination: &str, source: &str, routing_key: &str) {
    let arguments = Table::default();
    let _: ExchangeBindOk =
        channel.call(&ExchangeBind { ticket: 0, destination, source, routing_key, no_wait: false, arguments });
}

#[test]
fn direct_routes_by_the_exact_key() {
    let connection = Connection::open();
    let channel = connection.channel();
    for (binding_key, routing_key, routed) in [
        ("key", "key", true),
        ("key", "Key", false),
        ("key", "key.", false),
        ("key", "ke", false),
        ("key", "", false),
        ("", "", true),
        ("", "key", false),
        ("#", "key", false),
        ("*", "*", true),
        ("ä \u{1f407}", "ä \u{1f407}", true),
    ] {
        let got = routes(&channel, "direct", (binding_key, Table::default()), routing_key, Table::default());
        assert_eq!(got, routed, "{binding_key} {routing_key}");
    }
}

#[test]
fn direct_routes_to_every_queue_bound_with_the_key() {
    let connection = Connection::open();
    let channel = connection.channel();
    let exchange = unique("exchange");
    channel.declare_exchange(&exchange, "direct");
    let queues: Vec<_> = (0..3).map(|_| channel.temporary_queue()).collect();
    for queue in &queues {
        channel.bind(queue, &exchange, "key");
    }
    channel.publish(&exchange, "key", b"all");
    for queue in &queues {
        assert_eq!(drain(&channel, queue), ["all"]);
    }
}

#[test]
fn fanout_ignores_keys() {
    let connection = Connection::open();
    let channel = connection.channel();
    for (binding_key, routing_key) in [("", ""), ("a", "b"), ("", "b"), ("a", "")] {
        let routed = routes(&channel, "fanout", (binding_key, Table::default()), routing_key, Table::default());
        assert!(routed, "{binding_key} {routing_key}");
    }
}

#[test]
fn topic_matches_words() {
    let connection = Connection::open();
    let channel = connection.channel();
    for (pattern, key, routed) in [
        ("a.b", "a.b", true),
        ("a.b", "a.c", false),
        ("a.b", "a", false),
        ("a.b", "a.b.c", false),
        ("a.b", "A.b", false),
        // One word.
        ("*", "a", true),
        ("*", "a.b", false),
        ("*", "", false),
        ("a.*", "a.b", true),
        ("a.*", "a", false),
        ("a.*", "a.b.c", false),
        ("*.b", "a.b", true),
        ("*.b", "b", false),
        ("*.b.*", "a.b.c", true),
        ("*.*", "a.b", true),
        ("*.*", "a", false),
        ("*.*", "a.b.c", false),
        // Any number of words.
        ("#", "", true),
        ("#", "a", true),
        ("#", "a.b.c", true),
        ("a.#", "a", true),
        ("a.#", "a.b", true),
        ("a.#", "a.b.c", true),
        ("a.#", "ab", false),
        ("a.#", "b.a", false),
        ("#.b", "b", true),
        ("#.b", "a.b", true),
        ("#.b", "a.b.b", true),
        ("#.b", "a.b.c", false),
        ("a.#.b", "a.b", true),
        ("a.#.b", "a.x.y.b", true),
        ("a.#.b", "a.x", false),
        ("#.a.#", "a", true),
        ("#.a.#", "x.a.y", true),
        ("#.a.#", "x.y", false),
        ("#.#", "", true),
        ("#.#", "a.b", true),
        // Both.
        ("*.#", "a", true),
        ("*.#", "a.b.c", true),
        ("*.#", "", false),
        ("#.*", "a", true),
        ("#.*", "", false),
        ("a.*.#", "a", false),
        ("a.*.#", "a.b", true),
        ("a.#.*", "a", false),
        ("a.#.*", "a.b.c", true),
        ("*.a.#.b", "x.a.y.z.b", true),
        ("*.a.#.b", "a.y.b", false),
        // Words may be empty, and the empty key has none.
        ("", "", true),
        ("", "a", false),
        ("", ".", false),
        (".", ".", true),
        ("*.*", ".", true),
        ("*.*", "a.", true),
        ("a.*", "a.", true),
        ("*.a", ".a", true),
        ("a..b", "a..b", true),
        ("a..b", "a.b", false),
        ("a.*.b", "a..b", true),
        ("a.#.b", "a..b", true),
        ("*", ".", false),
        ("#", "..", true),
        // Wildcards only stand for whole words, and only in patterns.
        ("a*", "ab", false),
        ("a*", "a*", true),
        ("#a", "a", false),
        ("a.b", "a.*", false),
        ("a.b", "#", false),
        ("*", "#", true),
        ("a.*", "a.*", true),
    ] {
        let got = routes(&channel, "topic", (pattern, Table::default()), key, Table::default());
        assert_eq!(got, routed, "{pattern} {key}");
    }
}

#[test]
fn topic_with_many_patterns_reaches_each_queue_that_matches() {
    let connection = Connection::open();
    let channel = connection.channel();
    let exchange = unique("exchange");
    channel.declare_exchange(&exchange, "topic");
    let queues = ["stock.#", "stock.*.nyse", "#.nyse", "stock.usd.*", "*.eur.*"].map(|pattern| {
        let queue = channel.temporary_queue();
        channel.bind(&queue, &exchange, pattern);
        queue
    });
    for key in ["stock.usd.nyse", "stock.eur.db", "bond.eur.nyse", "stock", "nyse"] {
        channel.publish(&exchange, key, key.as_bytes());
    }
    for (queue, keys) in queues.iter().zip([
        &["stock.usd.nyse", "stock.eur.db", "stock"][..],
        &["stock.usd.nyse"],
        &["stock.usd.nyse", "bond.eur.nyse", "nyse"],
        &["stock.usd.nyse"],
        &["stock.eur.db", "bond.eur.nyse"],
    ]) {
        assert_eq!(drain(&channel, queue), keys);
    }
}

#[test]
fn more_than_two_wildcards_for_any_number_of_words_are_406() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, queue) = (unique("exchange"), channel.temporary_queue());
    channel.declare_exchange(&exchange, "topic");
    channel.bind(&queue, &exchange, "#.*.a#.#");
    for (pattern, count) in [("#.#.#", 3), ("#.a.#.b.#.c.#", 4)] {
        if broker::differs("a pattern may have any number of them") {
            channel.bind(&queue, &exchange, pattern);
            continue;
        }
        let text = format!("Topic binding key '{pattern}' uses {count} '#' wildcards, at most 2 are allowed");
        let bind = queue_bind(&queue, &exchange, pattern);
        assert_channel_lost(&connection.channel(), &bind, ReplyCode::PreconditionFailed, &text);
    }
}

#[test]
fn a_pattern_that_is_unbound_no_longer_matches() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, queue) = (unique("exchange"), channel.temporary_queue());
    channel.declare_exchange(&exchange, "topic");
    for pattern in ["a.#", "a.*", "#"] {
        channel.bind(&queue, &exchange, pattern);
    }
    for (unbound, keys) in [("#", &["a", "a.b"][..]), ("a.*", &["a", "a.b"]), ("a.#", &[])] {
        let unbind = QueueUnbind {
            ticket: 0,
            queue: &queue,
            exchange: &exchange,
            routing_key: unbound,
            arguments: Table::default(),
        };
        if unbound == "a.#" {
            // The exchange would go with its last binding.
            channel.bind(&queue, &exchange, "other");
        }
        let _: QueueUnbindOk = channel.call(&unbind);
        for key in ["a", "a.b", "b"] {
            channel.publish(&exchange, key, key.as_bytes());
        }
        assert_eq!(drain(&channel, &queue), keys, "without {unbound}");
    }
}

#[test]
fn the_default_exchange_routes_to_the_queue_of_that_name() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    channel.publish("", &queue, b"by name");
    channel.publish("", &format!("{queue}.not"), b"by another name");
    channel.publish("", "", b"by no name");
    let got = channel.get(&queue).unwrap();
    assert_eq!((got.exchange, got.routing_key, got.message_count), ("", queue.as_str(), 0));
}

#[test]
fn a_queue_gets_one_copy_however_often_it_is_bound() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let (source, left, right) = (unique("source"), unique("left"), unique("right"));
    for (exchange, kind) in [(&source, "topic"), (&left, "fanout"), (&right, "direct")] {
        channel.declare_exchange(exchange, kind);
    }
    for pattern in ["a.b", "a.*", "*.b", "#", "a.#"] {
        channel.bind(&queue, &source, pattern);
    }
    bind_exchange(&channel, &left, &source, "a.#");
    bind_exchange(&channel, &right, &source, "a.b");
    bind_exchange(&channel, &right, &source, "*.b");
    channel.bind(&queue, &left, "one");
    channel.bind(&queue, &left, "two");
    channel.bind(&queue, &right, "a.b");
    channel.publish(&source, "a.b", b"once");
    assert_eq!(drain(&channel, &queue), ["once"]);
}

#[test]
fn a_binding_counts_from_the_next_message_of_the_same_write() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let number = channel.number();
    let mut octets = Vec::new();
    let message = |octets: &mut Vec<u8>, body: &[u8]| {
        write_content(octets, number, &basic_publish("amq.direct", &queue), &[0, 0], body, 4096);
    };
    for round in ["1", "2"] {
        message(&mut octets, b"not bound yet");
        octets.extend(method_frame(number, &QueueBind { no_wait: true, ..queue_bind(&queue, "amq.direct", &queue) }));
        message(&mut octets, round.as_bytes());
        let unbind = QueueUnbind {
            ticket: 0,
            queue: &queue,
            exchange: "amq.direct",
            routing_key: &queue,
            arguments: Table::default(),
        };
        octets.extend(method_frame(number, &unbind));
        message(&mut octets, b"no longer bound");
    }
    connection.send_octets(&octets);
    let _: [QueueUnbindOk; 2] = [channel.expect(), channel.expect()];
    assert_eq!(drain(&channel, &queue), ["1", "2"]);
}

#[test]
fn a_queue_counts_from_the_next_message_of_the_same_write() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (queue, number) = (unique("queue"), channel.number());
    let mut octets = Vec::new();
    for body in [b"1", b"2"] {
        write_content(&mut octets, number, &basic_publish("", &queue), &[0, 0], b"not there yet", 4096);
        octets.extend(method_frame(number, &QueueDeclare { no_wait: true, ..queue_declare(&queue) }));
        write_content(&mut octets, number, &basic_publish("", &queue), &[0, 0], body, 4096);
        octets.extend(method_frame(number, &queue_delete(&queue)));
    }
    connection.send_octets(&octets);
    for _ in 0..2 {
        assert_eq!(channel.expect::<QueueDeleteOk>().message_count, 1);
    }
}
