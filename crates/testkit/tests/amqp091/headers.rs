//! The headers exchange.

use leveret_protocol::amqp091::method::{ExchangeBind, QueueBind, QueueBindOk};
use leveret_protocol::amqp091::{ReplyCode, Value};
use leveret_testkit::amqp091::{Connection, queue_bind, table};
use leveret_testkit::unique;

use crate::copies::with_headers;
use crate::refusal::assert_channel_lost;
use crate::routing::routes;
use crate::traffic::drain;

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
