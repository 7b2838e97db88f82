//! Which queues a message reaches, by exchange type, alternate exchange and CC header.

use leveret_protocol::amqp091::frame::write_content;
use leveret_protocol::amqp091::method::{
    BasicPublish, ExchangeBind, ExchangeBindOk, ExchangeDeclare, ExchangeDeclareOk, QueueBind, QueueBindOk,
    QueueDeclare, QueueDeleteOk, QueueUnbind, QueueUnbindOk,
};
use leveret_protocol::amqp091::{Properties, ReplyCode, Table, TableWriter, Value};
use leveret_testkit::amqp091::{
    Channel, Connection, basic_publish, exchange_declare, method_frame, queue_bind, queue_declare, queue_delete, table,
};
use leveret_testkit::{broker, unique};

use crate::Blame as _;
use crate::refusal::assert_channel_lost;
use crate::traffic::drain;

/// Whether a fresh exchange with one binding routes a message to the bound queue.
#[track_caller]
fn routes(channel: &Channel, kind: &str, binding: (&str, Table<'_>), routing_key: &str, headers: Table<'_>) -> bool {
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

fn declare_with_alternate(channel: &Channel, exchange: &str, kind: &str, alternate: &str) {
    let arguments = table(&[("alternate-exchange", Value::LongStr(alternate.as_bytes()))]);
    let _: ExchangeDeclareOk =
        channel.call(&ExchangeDeclare { auto_delete: false, arguments, ..exchange_declare(exchange, kind) });
}

fn bind_exchange(channel: &Channel, destination: &str, source: &str, routing_key: &str) {
    let arguments = Table::default();
    let _: ExchangeBindOk =
        channel.call(&ExchangeBind { ticket: 0, destination, source, routing_key, no_wait: false, arguments });
}

/// Headers with an array of texts.
fn copies(name: &str, routing_keys: &[&str]) -> Table<'static> {
    let mut octets = Vec::new();
    TableWriter::new(&mut octets).array(name, |array| {
        for key in routing_keys {
            array.value(Value::LongStr(key.as_bytes()));
        }
    });
    Table::parse(octets.leak()).unwrap()
}

fn with_headers(headers: Table<'_>) -> Properties<'_> {
    Properties { headers: Some(headers), ..Properties::default() }
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
fn headers_match_all_or_any() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (one, two) = (("one", Value::I32(1)), ("two", Value::LongStr(b"2")));
    let (x_one, void) = (("x-one", Value::I32(1)), ("one", Value::Void));
    let mode = |name: &'static str| ("x-match", Value::LongStr(name.as_bytes()));
    let (all, any) = (mode("all"), mode("any"));
    let (all_with_x, any_with_x) = (mode("all-with-x"), mode("any-with-x"));
    for (arguments, headers, routed) in [
        // All of them, which is what no x-match means too.
        (&[all, one, two][..], &[one, two][..], true),
        (&[all, one, two], &[two, one, ("more", Value::Bool(true))], true),
        (&[all, one, two], &[one], false),
        (&[all, one, two], &[one, ("two", Value::LongStr(b"3"))], false),
        (&[all], &[], true),
        (&[all], &[one], true),
        (&[one, two], &[one, two], true),
        (&[one, two], &[one], false),
        (&[], &[], true),
        (&[], &[one], true),
        // Any of them.
        (&[any, one, two], &[one], true),
        (&[any, one, two], &[("one", Value::I32(2)), two], true),
        (&[any, one, two], &[("one", Value::I32(2))], false),
        (&[any, one, two], &[], false),
        (&[any], &[], false),
        (&[any], &[one], false),
        // Names that start with x- count only if asked for.
        (&[all, x_one], &[], true),
        (&[all, one, x_one], &[one], true),
        (&[any, x_one], &[x_one], false),
        (&[any, two, x_one], &[x_one], false),
        (&[all_with_x, one, x_one], &[one], false),
        (&[all_with_x, one, x_one], &[one, x_one], true),
        (&[all_with_x, one], &[one], true),
        (&[any_with_x, two, x_one], &[x_one], true),
        (&[any_with_x, two, x_one], &[one], false),
        (&[all_with_x], &[], true),
        (&[any_with_x], &[one], false),
        // No value asks for the name only.
        (&[all, void], &[one], true),
        (&[all, void], &[("one", Value::Void)], true),
        (&[all, void], &[two], false),
        (&[any, void], &[("one", Value::LongStr(b"any value"))], true),
        // Integers are equal whatever their width, but a text is no integer.
        (&[all, one], &[("one", Value::I64(1))], true),
        (&[all, one], &[("one", Value::I16(1))], true),
        (&[all, one], &[("one", Value::I8(1))], true),
        (&[all, one], &[("one", Value::LongStr(b"1"))], false),
        (&[all, one], &[("one", Value::Bool(true))], false),
        (&[all, one], &[("one", Value::Void)], false),
        (&[all, ("f", Value::F64(0.5))], &[("f", Value::F64(0.5))], true),
        (&[all, ("f", Value::F64(0.5))], &[("f", Value::F32(0.5))], true),
        (&[all, ("t", Value::Bool(true))], &[("t", Value::Bool(true))], true),
        (&[all, ("t", Value::Bool(true))], &[("t", Value::Bool(false))], false),
        (&[all, ("t", Value::Timestamp(7))], &[("t", Value::Timestamp(7))], true),
        (&[all, ("t", Value::Timestamp(7))], &[("t", Value::Timestamp(8))], false),
        (&[all, one], &[("One", Value::I32(1))], false),
    ] {
        let got = routes(&channel, "headers", ("", table(arguments)), "key", table(headers));
        assert_eq!(got, routed, "{arguments:?} {headers:?}");
    }
}

#[test]
fn headers_ignore_keys_and_messages_without_headers_have_none() {
    let connection = Connection::open();
    let channel = connection.channel();
    let exchange = unique("exchange");
    channel.declare_exchange(&exchange, "headers");
    let queues = ["all", "any"].map(|mode| {
        let queue = channel.temporary_queue();
        let arguments = table(&[("x-match", Value::LongStr(mode.as_bytes()))]);
        let _: QueueBindOk = channel.call(&QueueBind { arguments, ..queue_bind(&queue, &exchange, "a key") });
        queue
    });
    channel.publish(&exchange, "another key", b"no headers");
    assert_eq!(drain(&channel, &queues[0]), ["no headers"]);
    assert!(drain(&channel, &queues[1]).is_empty());
}

#[test]
fn headers_bindings_differ_by_their_arguments() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, queue) = (unique("exchange"), channel.temporary_queue());
    channel.declare_exchange(&exchange, "headers");
    let arguments = [table(&[("one", Value::I32(1))]), table(&[("two", Value::I32(2))])];
    for arguments in arguments {
        let _: QueueBindOk = channel.call(&QueueBind { arguments, ..queue_bind(&queue, &exchange, "") });
    }
    for headers in arguments {
        channel.publish_with(&exchange, "", &with_headers(headers), b"either");
    }
    let both = table(&[("one", Value::I32(1)), ("two", Value::I32(2))]);
    channel.publish_with(&exchange, "", &with_headers(both), b"both");
    assert_eq!(drain(&channel, &queue), ["either", "either", "both"]);
}

#[test]
fn a_bad_x_match_is_406() {
    let connection = Connection::open();
    let lasts = connection.channel();
    let (exchange, queue) = (unique("exchange"), lasts.temporary_queue());
    lasts.declare_exchange(&exchange, "headers");
    for (value, text) in [
        (Value::LongStr(b"foo"), "value <<\"foo\">>; expected all, any, all-with-x, or any-with-x"),
        (Value::LongStr(b""), "value <<>>; expected all, any, all-with-x, or any-with-x"),
        (Value::LongStr(b"ALL"), "value <<\"ALL\">>; expected all, any, all-with-x, or any-with-x"),
        (Value::I32(1), "type signedint (value 1); expected longstr"),
        (Value::Bool(true), "type bool (value true); expected longstr"),
    ] {
        let text = format!("Invalid x-match field {text}");
        let arguments = table(&[("x-match", value)]);
        let bind = QueueBind { arguments, ..queue_bind(&queue, &exchange, "") };
        assert_channel_lost(&connection.channel(), &bind, ReplyCode::PreconditionFailed, &text);
        let bind = ExchangeBind {
            ticket: 0,
            destination: "amq.fanout",
            source: &exchange,
            routing_key: "",
            no_wait: false,
            arguments,
        };
        assert_channel_lost(&connection.channel(), &bind, ReplyCode::PreconditionFailed, &text);
    }
    lasts.delete_exchange(&exchange);
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
fn the_alternate_exchange_takes_what_is_routed_nowhere() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, alternate) = (unique("exchange"), unique("alternate"));
    let (bound, spare) = (channel.temporary_queue(), channel.temporary_queue());
    declare_with_alternate(&channel, &exchange, "direct", &alternate);
    channel.declare_exchange(&alternate, "topic");
    channel.bind(&bound, &exchange, "bound");
    channel.bind(&spare, &alternate, "#");
    channel.publish_mandatory(&exchange, "bound", b"routed");
    channel.publish_mandatory(&exchange, "spare", b"not routed");
    assert_eq!(drain(&channel, &bound), ["routed"]);
    let got = channel.get(&spare).unwrap();
    assert_eq!((got.exchange, got.routing_key, got.message_count), (exchange.as_str(), "spare", 0));
    // What the alternate exchange routed is not returned.
    channel.expect_nothing();
    channel.delete_exchange(&exchange);
}

#[test]
fn alternate_exchanges_form_a_chain() {
    let connection = Connection::open();
    let channel = connection.channel();
    let exchanges = [unique("one"), unique("two"), unique("three")];
    let [one, two, three] = &exchanges;
    declare_with_alternate(&channel, one, "direct", two);
    declare_with_alternate(&channel, two, "direct", three);
    channel.declare_exchange(three, "fanout");
    let queue = channel.temporary_queue();
    channel.bind(&queue, three, "");
    channel.publish(one, "key", b"to the end");
    assert_eq!(drain(&channel, &queue), ["to the end"]);
    channel.delete_exchange(one);
    channel.delete_exchange(two);
}

#[test]
fn a_circle_of_alternate_exchanges_routes_nowhere() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (one, two) = (unique("one"), unique("two"));
    declare_with_alternate(&channel, &one, "direct", &two);
    declare_with_alternate(&channel, &two, "direct", &one);
    channel.publish_mandatory(&one, "key", b"round and round");
    assert_eq!(channel.next_return().body, b"round and round");
    channel.delete_exchange(&one);
    channel.delete_exchange(&two);
}

#[test]
fn a_missing_alternate_exchange_routes_nowhere() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, alternate) = (unique("exchange"), unique("alternate"));
    declare_with_alternate(&channel, &exchange, "direct", &alternate);
    channel.publish_mandatory(&exchange, "key", b"back");
    assert_eq!(channel.next_return().exchange, exchange);
    // Once it is there it is used.
    channel.declare_exchange(&alternate, "fanout");
    let queue = channel.temporary_queue();
    channel.bind(&queue, &alternate, "");
    channel.publish_mandatory(&exchange, "key", b"routed");
    assert_eq!(drain(&channel, &queue), ["routed"]);
    channel.expect_nothing();
    channel.delete_exchange(&exchange);
}

#[test]
fn the_alternate_of_a_bound_exchange_counts_for_that_exchange() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (source, inner, alternate) = (unique("source"), unique("inner"), unique("alternate"));
    let (routed, spare) = (channel.temporary_queue(), channel.temporary_queue());
    channel.declare_exchange(&source, "fanout");
    channel.declare_exchange(&alternate, "fanout");
    declare_with_alternate(&channel, &inner, "direct", &alternate);
    bind_exchange(&channel, &inner, &source, "");
    channel.bind(&routed, &source, "");
    channel.bind(&spare, &alternate, "");
    channel.publish(&source, "key", b"both");
    assert_eq!(drain(&channel, &routed), ["both"]);
    assert_eq!(drain(&channel, &spare), ["both"]);
    channel.delete_exchange(&inner);
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
