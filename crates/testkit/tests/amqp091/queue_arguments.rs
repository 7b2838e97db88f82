//! Arguments of queues: which values are refused, and which are compared when a queue is declared again.

use leveret_protocol::amqp091::method::QueueDeclare;
use leveret_protocol::amqp091::{Array, ReplyCode, Table, Value};
use leveret_testkit::amqp091::{Connection, queue_declare, table};
use leveret_testkit::unique;

use crate::queues::{assert_gone, declare, locked_text, shared};
use crate::refusal::assert_channel_lost;

#[test]
fn a_redeclaration_is_refused_for_its_first_difference() {
    let connection = Connection::open();
    let lasts = connection.channel();
    let queue = unique("queue");
    declare(&lasts, &shared(&queue));
    let arguments = table(&[("x-max-length", Value::I32(1))]);
    let all = QueueDeclare { exclusive: true, durable: true, auto_delete: true, arguments, ..shared(&queue) };
    assert_channel_lost(&connection.channel(), &all, ReplyCode::ResourceLocked, &locked_text(&queue));
    let but_exclusive = QueueDeclare { exclusive: false, ..all };
    let but_durable = QueueDeclare { durable: false, ..but_exclusive };
    let but_auto_delete = QueueDeclare { auto_delete: false, ..but_durable };
    for (declare, argument, received, current) in [
        (but_exclusive, "durable", "'true'", "'false'"),
        (but_durable, "auto_delete", "'true'", "'false'"),
        (but_auto_delete, "x-max-length", "the value '1' of type 'signedint'", "none"),
    ] {
        let text = format!(
            "inequivalent arg '{argument}' for queue '{queue}' in vhost '/': received {received} but current is {current}"
        );
        assert_channel_lost(&connection.channel(), &declare, ReplyCode::PreconditionFailed, &text);
    }
    lasts.delete_queue(&queue);
    // And the other way round.
    declare(&lasts, &QueueDeclare { durable: true, auto_delete: true, ..shared(&queue) });
    for (declare, argument) in [
        (QueueDeclare { auto_delete: false, ..shared(&queue) }, "durable"),
        (QueueDeclare { durable: true, ..shared(&queue) }, "auto_delete"),
    ] {
        let text = format!(
            "inequivalent arg '{argument}' for queue '{queue}' in vhost '/': received 'false' but current is 'true'"
        );
        assert_channel_lost(&connection.channel(), &declare, ReplyCode::PreconditionFailed, &text);
    }
    lasts.delete_queue(&queue);
}

#[test]
fn arguments_a_queue_knows_are_compared() {
    let connection = Connection::open();
    let lasts = connection.channel();
    let text = |text: &'static str| Value::LongStr(text.as_bytes());
    for (argument, current, received, kind, shown) in [
        ("x-expires", Value::I32(60_000), Value::I32(70_000), "signedint", ("60000", "70000")),
        ("x-message-ttl", Value::I32(60_000), Value::I64(70_000), "signedint", ("60000", "70000")),
        ("x-max-length", Value::I16(5), Value::I32(6), "short", ("5", "6")),
        ("x-max-length-bytes", Value::I64(5), Value::I32(6), "long", ("5", "6")),
        ("x-max-priority", Value::I8(5), Value::I32(6), "byte", ("5", "6")),
        ("x-dead-letter-exchange", text("one"), text("two"), "longstr", ("one", "two")),
        ("x-overflow", text("drop-head"), text("reject-publish"), "longstr", ("drop-head", "reject-publish")),
        ("x-single-active-consumer", Value::Bool(true), Value::Bool(false), "bool", ("true", "false")),
        ("x-queue-mode", text("lazy"), text("default"), "longstr", ("lazy", "default")),
    ] {
        let queue = unique("queue");
        let first = QueueDeclare { arguments: table(&[(argument, current)]), ..queue_declare(&queue) };
        declare(&lasts, &first);
        declare(&lasts, &first);
        let other = QueueDeclare { arguments: table(&[(argument, received)]), ..first };
        let text = format!(
            "inequivalent arg '{argument}' for queue '{queue}' in vhost '/': received '{}' but current is '{}'",
            shown.1, shown.0
        );
        assert_channel_lost(&connection.channel(), &other, ReplyCode::PreconditionFailed, &text);
        let none = QueueDeclare { arguments: Table::default(), ..first };
        let text = format!(
            "inequivalent arg '{argument}' for queue '{queue}' in vhost '/': received none but current is the value \
             '{}' of type '{kind}'",
            shown.0
        );
        assert_channel_lost(&connection.channel(), &none, ReplyCode::PreconditionFailed, &text);
        let queue = unique("queue");
        declare(&lasts, &queue_declare(&queue));
        let some = QueueDeclare { queue: &queue, ..first };
        let text = format!(
            "inequivalent arg '{argument}' for queue '{queue}' in vhost '/': received the value '{}' of type '{kind}' \
             but current is none",
            shown.0
        );
        assert_channel_lost(&connection.channel(), &some, ReplyCode::PreconditionFailed, &text);
    }
}

#[test]
fn a_dead_letter_routing_key_is_compared() {
    let connection = Connection::open();
    let lasts = connection.channel();
    let queue = unique("queue");
    let with_key = |key: &'static str| {
        let exchange = ("x-dead-letter-exchange", Value::LongStr(b"amq.direct"));
        table(&[exchange, ("x-dead-letter-routing-key", Value::LongStr(key.as_bytes()))])
    };
    let first = QueueDeclare { arguments: with_key("one"), ..queue_declare(&queue) };
    declare(&lasts, &first);
    let text = format!(
        "inequivalent arg 'x-dead-letter-routing-key' for queue '{queue}' in vhost '/': received 'two' but current \
         is 'one'"
    );
    let other = QueueDeclare { arguments: with_key("two"), ..first };
    assert_channel_lost(&connection.channel(), &other, ReplyCode::PreconditionFailed, &text);
}

#[test]
fn equal_integers_of_any_width_are_equivalent() {
    let connection = Connection::open();
    let channel = connection.channel();
    let widths =
        [Value::I8(5), Value::U8(5), Value::I16(5), Value::U16(5), Value::I32(5), Value::U32(5), Value::I64(5)];
    for argument in ["x-max-length", "x-max-priority", "x-max-length-bytes"] {
        for first in widths {
            let queue = unique("queue");
            for value in [first].into_iter().chain(widths) {
                channel.declare_queue_with(&queue, table(&[(argument, value)]));
            }
        }
    }
}

#[test]
fn a_queue_is_classic_unless_told_otherwise() {
    let connection = Connection::open();
    let channel = connection.channel();
    let classic = table(&[("x-queue-type", Value::LongStr(b"classic"))]);
    for (first, second) in [(classic, Table::default()), (Table::default(), classic)] {
        let queue = unique("queue");
        channel.declare_queue_with(&queue, first);
        channel.declare_queue_with(&queue, second);
    }
}

#[test]
fn arguments_no_queue_knows_are_not_compared() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = unique("queue");
    for arguments in [
        table(&[("x-testkit", Value::I32(1)), ("testkit", Value::Void)]),
        Table::default(),
        table(&[("x-testkit", Value::LongStr(b"other"))]),
    ] {
        channel.declare_queue_with(&queue, arguments);
    }
}

#[test]
fn a_bad_argument_is_406() {
    let connection = Connection::open();
    let text = |text: &'static str| Value::LongStr(text.as_bytes());
    for (argument, value, reason) in [
        ("x-message-ttl", text("1000"), "\"expected integer, got longstr\""),
        ("x-message-ttl", Value::Bool(true), "\"expected integer, got bool\""),
        ("x-message-ttl", Value::I32(-1), "{value_negative,-1}"),
        ("x-message-ttl", Value::I64(315_360_000_001), "{value_too_large,315360000001}"),
        ("x-expires", text("1000"), "\"expected integer, got longstr\""),
        ("x-expires", Value::I32(0), "{value_zero,0}"),
        ("x-expires", Value::I32(-1), "{value_negative,-1}"),
        ("x-expires", Value::I64(315_360_000_001), "{value_too_large,315360000001}"),
        ("x-max-length", text("1"), "\"expected integer, got longstr\""),
        ("x-max-length", Value::I32(-1), "{value_negative,-1}"),
        ("x-max-length-bytes", text("1"), "\"expected integer, got longstr\""),
        ("x-max-length-bytes", Value::I64(-1), "{value_negative,-1}"),
        ("x-max-priority", text("1"), "\"expected integer, got longstr\""),
        ("x-max-priority", Value::I32(256), "{max_value_exceeded,256}"),
        ("x-max-priority", Value::I32(-1), "{value_negative,-1}"),
        ("x-dead-letter-routing-key", text("key"), "routing_key_but_no_dlx_defined"),
        ("x-dead-letter-routing-key", Value::I32(1), "{unacceptable_type,signedint}"),
        ("x-overflow", text("explode"), "invalid_overflow"),
        ("x-overflow", Value::I32(1), "{unacceptable_type,signedint}"),
        ("x-single-active-consumer", text("true"), "{unacceptable_type,longstr}"),
        ("x-queue-type", text("testkit"), "\"unsupported queue type 'testkit'\""),
    ] {
        let queue = unique("queue");
        let text = format!("invalid arg '{argument}' for queue '{queue}' in vhost '/': {reason}");
        let declare = QueueDeclare { arguments: table(&[(argument, value)]), ..queue_declare(&queue) };
        assert_channel_lost(&connection.channel(), &declare, ReplyCode::PreconditionFailed, &text);
        assert_gone(&connection, &queue);
    }
}

#[test]
fn an_argument_of_another_queue_type_is_406() {
    let connection = Connection::open();
    for (argument, value) in [
        ("x-max-age", Value::LongStr(b"1D")),
        ("x-stream-max-segment-size-bytes", Value::I32(1_000_000)),
        ("x-initial-cluster-size", Value::I32(1)),
        ("x-delivery-limit", Value::I32(5)),
        ("x-max-in-memory-length", Value::I32(5)),
        ("x-max-in-memory-bytes", Value::I32(5)),
        ("x-quorum-initial-group-size", Value::I32(1)),
    ] {
        let queue = unique("queue");
        let text =
            format!("invalid arg '{argument}' for queue '{queue}' in vhost '/' of queue type rabbit_classic_queue");
        let declare = QueueDeclare { arguments: table(&[(argument, value)]), ..queue_declare(&queue) };
        assert_channel_lost(&connection.channel(), &declare, ReplyCode::PreconditionFailed, &text);
        assert_gone(&connection, &queue);
    }
}

#[test]
fn a_dead_letter_exchange_must_be_text() {
    let connection = Connection::open();
    for (value, kind) in [(Value::I32(1), "signedint"), (Value::Array(Array::default()), "array")] {
        let queue = unique("queue");
        let arguments = table(&[("x-dead-letter-exchange", value)]);
        let text = format!("invalid type '{kind}' for arg 'x-dead-letter-exchange' in queue '{queue}' in vhost '/'");
        let declare = QueueDeclare { arguments, ..queue_declare(&queue) };
        assert_channel_lost(&connection.channel(), &declare, ReplyCode::PreconditionFailed, &text);
    }
}

#[test]
fn arguments_at_their_limits_are_accepted() {
    let connection = Connection::open();
    let channel = connection.channel();
    for (argument, value) in [
        ("x-message-ttl", Value::I32(0)),
        ("x-message-ttl", Value::I64(315_360_000_000)),
        ("x-expires", Value::I64(315_360_000_000)),
        ("x-max-length", Value::I32(0)),
        ("x-max-length-bytes", Value::I64(i64::MAX)),
        ("x-max-priority", Value::I32(255)),
        ("x-max-priority", Value::I32(0)),
        ("x-dead-letter-exchange", Value::LongStr(b"")),
        ("x-dead-letter-exchange", Value::LongStr(b"not there yet")),
        ("x-overflow", Value::LongStr(b"reject-publish-dlx")),
        ("x-queue-mode", Value::LongStr(b"lazy")),
        ("x-queue-type", Value::LongStr(b"classic")),
    ] {
        channel.declare_queue_with(&unique("queue"), table(&[(argument, value)]));
    }
}
