//! Exchanges: declaring and deleting, and what each refuses.

use leveret_protocol::amqp091::method::{
    ExchangeBind, ExchangeBindOk, ExchangeDeclare, ExchangeDeclareOk, ExchangeDelete, ExchangeDeleteOk, ExchangeUnbind,
    ExchangeUnbindOk, QueueUnbind, QueueUnbindOk,
};
use leveret_protocol::amqp091::{Array, ReplyCode, Table, Value};
use leveret_testkit::amqp091::{Channel, Connection, exchange_declare, queue_bind, table};
use leveret_testkit::{broker, unique};

use crate::refusal::{assert_channel_lost, assert_connection_lost};

const ON_DEFAULT: &str = "operation not permitted on the default exchange";

/// Declares an exchange that stays when its last binding goes.
pub(crate) fn lasting<'a>(exchange: &'a str, kind: &'a str) -> ExchangeDeclare<'a> {
    ExchangeDeclare { auto_delete: false, ..exchange_declare(exchange, kind) }
}

pub(crate) fn passive(exchange: &str) -> ExchangeDeclare<'_> {
    ExchangeDeclare { passive: true, ..exchange_declare(exchange, "direct") }
}

pub(crate) fn delete(exchange: &str) -> ExchangeDelete<'_> {
    ExchangeDelete { ticket: 0, exchange, if_unused: false, no_wait: false }
}

pub(crate) fn bind<'a>(destination: &'a str, source: &'a str, routing_key: &'a str) -> ExchangeBind<'a> {
    ExchangeBind { ticket: 0, destination, source, routing_key, no_wait: false, arguments: Table::default() }
}

pub(crate) fn unbind<'a>(destination: &'a str, source: &'a str, routing_key: &'a str) -> ExchangeUnbind<'a> {
    ExchangeUnbind { ticket: 0, destination, source, routing_key, no_wait: false, arguments: Table::default() }
}

fn queue_unbind<'a>(queue: &'a str, exchange: &'a str, routing_key: &'a str) -> QueueUnbind<'a> {
    QueueUnbind { ticket: 0, queue, exchange, routing_key, arguments: Table::default() }
}

fn alternate(exchange: &str) -> Table<'static> {
    table(&[("alternate-exchange", Value::LongStr(exchange.as_bytes()))])
}

#[track_caller]
pub(crate) fn declare(channel: &Channel, declare: &ExchangeDeclare<'_>) {
    let _: ExchangeDeclareOk = channel.call(declare);
}

#[track_caller]
pub(crate) fn assert_there(channel: &Channel, exchange: &str) {
    declare(channel, &passive(exchange));
}

#[track_caller]
pub(crate) fn assert_gone(connection: &Connection, exchange: &str) {
    let text = format!("no exchange '{exchange}' in vhost '/'");
    assert_channel_lost(&connection.channel(), &passive(exchange), ReplyCode::NotFound, &text);
}

#[test]
fn an_exchange_may_be_declared_again_with_the_same_properties() {
    let connection = Connection::open();
    let channel = connection.channel();
    for kind in ["direct", "fanout", "topic", "headers"] {
        for (durable, auto_delete, internal) in [(false, false, false), (true, false, true), (false, true, false)] {
            let exchange = unique("exchange");
            let again = ExchangeDeclare { durable, auto_delete, internal, ..lasting(&exchange, kind) };
            declare(&channel, &again);
            declare(&channel, &again);
            channel.delete_exchange(&exchange);
        }
    }
}

#[test]
fn predeclared_exchanges_are_durable_and_of_their_type() {
    let connection = Connection::open();
    let channel = connection.channel();
    for (exchange, kind) in [
        ("amq.direct", "direct"),
        ("amq.fanout", "fanout"),
        ("amq.topic", "topic"),
        ("amq.headers", "headers"),
        ("amq.match", "headers"),
    ] {
        assert_there(&channel, exchange);
        declare(&channel, &ExchangeDeclare { durable: true, ..lasting(exchange, kind) });
        let text = format!(
            "inequivalent arg 'durable' for exchange '{exchange}' in vhost '/': \
                            received 'false' but current is 'true'"
        );
        assert_channel_lost(&connection.channel(), &lasting(exchange, kind), ReplyCode::PreconditionFailed, &text);
    }
}

#[test]
fn a_passive_declaration_of_a_missing_exchange_is_404() {
    assert_gone(&Connection::open(), &unique("missing"));
}

#[test]
fn a_passive_declaration_compares_nothing() {
    let connection = Connection::open();
    let channel = connection.channel();
    let exchange = unique("exchange");
    declare(&channel, &lasting(&exchange, "topic"));
    for kind in ["topic", "fanout", "no-such-type", ""] {
        declare(
            &channel,
            &ExchangeDeclare { passive: true, durable: true, internal: true, ..lasting(&exchange, kind) },
        );
    }
    channel.delete_exchange(&exchange);
}

#[test]
fn a_redeclaration_is_refused_for_its_first_difference() {
    let connection = Connection::open();
    let exchange = unique("exchange");
    let channel = connection.channel();
    declare(&channel, &lasting(&exchange, "topic"));
    let all = ExchangeDeclare {
        kind: "direct",
        durable: true,
        auto_delete: true,
        internal: true,
        arguments: alternate("other"),
        ..lasting(&exchange, "direct")
    };
    let but_kind = ExchangeDeclare { kind: "topic", ..all };
    let but_durable = ExchangeDeclare { durable: false, ..but_kind };
    let but_auto_delete = ExchangeDeclare { auto_delete: false, ..but_durable };
    let but_internal = ExchangeDeclare { internal: false, ..but_auto_delete };
    for (declare, argument, received, current) in [
        (all, "type", "'direct'", "'topic'"),
        (but_kind, "durable", "'true'", "'false'"),
        (but_durable, "auto_delete", "'true'", "'false'"),
        (but_auto_delete, "internal", "'true'", "'false'"),
        (but_internal, "alternate-exchange", "the value 'other' of type 'longstr'", "none"),
    ] {
        let text = format!(
            "inequivalent arg '{argument}' for exchange '{exchange}' in vhost '/': \
                            received {received} but current is {current}"
        );
        assert_channel_lost(&connection.channel(), &declare, ReplyCode::PreconditionFailed, &text);
    }
    channel.delete_exchange(&exchange);
}

#[test]
fn an_alternate_exchange_is_compared() {
    let connection = Connection::open();
    let exchange = unique("exchange");
    let channel = connection.channel();
    let first = ExchangeDeclare { arguments: alternate("one"), ..lasting(&exchange, "direct") };
    declare(&channel, &first);
    declare(&channel, &first);
    for (arguments, received) in [(Table::default(), "none"), (alternate("two"), "'two'")] {
        // The type is told only where the other side has no value.
        let current = if received == "none" { "the value 'one' of type 'longstr'" } else { "'one'" };
        let text = format!(
            "inequivalent arg 'alternate-exchange' for exchange '{exchange}' in vhost '/': \
                            received {received} but current is {current}"
        );
        let again = ExchangeDeclare { arguments, ..first };
        assert_channel_lost(&connection.channel(), &again, ReplyCode::PreconditionFailed, &text);
    }
    channel.delete_exchange(&exchange);
}

#[test]
fn other_arguments_are_not_compared() {
    let connection = Connection::open();
    let channel = connection.channel();
    let exchange = unique("exchange");
    for arguments in [table(&[("x-one", Value::I32(1))]), Table::default(), table(&[("x-two", Value::Bool(true))])] {
        declare(&channel, &ExchangeDeclare { arguments, ..lasting(&exchange, "direct") });
    }
    channel.delete_exchange(&exchange);
}

#[test]
fn an_alternate_exchange_must_be_text() {
    let connection = Connection::open();
    for (value, name) in [
        (Value::I32(1), "signedint"),
        (Value::I64(1), "long"),
        (Value::I16(1), "short"),
        (Value::I8(1), "byte"),
        (Value::U8(1), "unsignedbyte"),
        (Value::U16(1), "unsignedshort"),
        (Value::U32(1), "unsignedint"),
        (Value::Bool(true), "bool"),
        (Value::F32(1.0), "float"),
        (Value::F64(1.0), "double"),
        (Value::Timestamp(1), "timestamp"),
        (Value::Decimal { scale: 0, value: 1 }, "decimal"),
        (Value::Bytes(b"x"), "binary"),
        (Value::Void, "void"),
        (Value::Table(Table::default()), "table"),
        (Value::Array(Array::default()), "array"),
    ] {
        let exchange = unique("exchange");
        let arguments = table(&[("alternate-exchange", value)]);
        let text = format!("invalid type '{name}' for arg 'alternate-exchange' in exchange '{exchange}' in vhost '/'");
        let declare = ExchangeDeclare { arguments, ..lasting(&exchange, "direct") };
        assert_channel_lost(&connection.channel(), &declare, ReplyCode::PreconditionFailed, &text);
        assert_gone(&connection, &exchange);
    }
}

#[test]
fn an_unknown_type_is_406() {
    for kind in ["no-such-type", "Direct"] {
        let connection = Connection::open();
        let exchange = unique("exchange");
        let text = format!("unknown exchange type '{kind}'");
        if broker::differs("an unknown exchange type costs the connection") {
            assert_connection_lost(&connection.channel(), &lasting(&exchange, kind), ReplyCode::CommandInvalid, &text);
            continue;
        }
        assert_channel_lost(&connection.channel(), &lasting(&exchange, kind), ReplyCode::PreconditionFailed, &text);
        assert_gone(&connection, &exchange);
    }
}

#[test]
fn a_name_with_the_reserved_prefix_can_not_be_declared() {
    let connection = Connection::open();
    for exchange in ["amq.", "amq.testkit", "amq.direct2"] {
        let text = format!("exchange name '{exchange}' contains reserved prefix 'amq.*'");
        assert_channel_lost(&connection.channel(), &lasting(exchange, "direct"), ReplyCode::AccessRefused, &text);
    }
    let channel = connection.channel();
    for exchange in [unique("amq"), format!("amq{}", unique("exchange")), format!("AMQ.{}", unique("exchange"))] {
        channel.declare_exchange(&exchange, "direct");
        channel.delete_exchange(&exchange);
    }
}

#[test]
fn the_default_exchange_can_not_be_touched() {
    let connection = Connection::open();
    let lasts = connection.channel();
    let (queue, exchange) = (lasts.temporary_queue(), unique("exchange"));
    lasts.declare_exchange(&exchange, "direct");
    let channel = || connection.channel();
    let code = ReplyCode::AccessRefused;
    assert_channel_lost(&channel(), &lasting("", "direct"), code, ON_DEFAULT);
    assert_channel_lost(&channel(), &passive(""), code, ON_DEFAULT);
    assert_channel_lost(&channel(), &delete(""), code, ON_DEFAULT);
    assert_channel_lost(&channel(), &queue_bind(&queue, "", "key"), code, ON_DEFAULT);
    assert_channel_lost(&channel(), &queue_bind(&queue, "", &queue), code, ON_DEFAULT);
    assert_channel_lost(&channel(), &queue_unbind(&queue, "", &queue), code, ON_DEFAULT);
    assert_channel_lost(&channel(), &bind(&exchange, "", "key"), code, ON_DEFAULT);
    assert_channel_lost(&channel(), &bind("", &exchange, "key"), code, ON_DEFAULT);
    assert_channel_lost(&channel(), &unbind(&exchange, "", "key"), code, ON_DEFAULT);
    assert_channel_lost(&channel(), &unbind("", &exchange, "key"), code, ON_DEFAULT);
    lasts.delete_exchange(&exchange);
}

#[test]
fn a_predeclared_exchange_can_not_be_deleted() {
    let connection = Connection::open();
    for exchange in ["amq.direct", "amq.fanout", "amq.topic", "amq.headers", "amq.match"] {
        for if_unused in [false, true] {
            let text = format!("deletion of system exchange '{exchange}' in vhost '/' not allowed");
            let delete = ExchangeDelete { if_unused, ..delete(exchange) };
            assert_channel_lost(&connection.channel(), &delete, ReplyCode::AccessRefused, &text);
        }
    }
}

#[test]
fn deleting_is_idempotent() {
    let connection = Connection::open();
    let channel = connection.channel();
    let exchange = unique("exchange");
    channel.declare_exchange(&exchange, "direct");
    for if_unused in [false, true, false] {
        let _: ExchangeDeleteOk = channel.call(&ExchangeDelete { if_unused, ..delete(&exchange) });
    }
    assert_gone(&connection, &exchange);
}

#[test]
fn a_deleted_exchange_takes_its_bindings_along() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (queue, exchange) = (channel.temporary_queue(), unique("exchange"));
    declare(&channel, &lasting(&exchange, "fanout"));
    channel.bind(&queue, &exchange, "");
    channel.delete_exchange(&exchange);
    declare(&channel, &lasting(&exchange, "fanout"));
    channel.publish(&exchange, "", b"lost");
    assert!(channel.get(&queue).is_none());
    channel.delete_exchange(&exchange);
}

#[test]
fn an_exchange_with_bindings_is_in_use() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (queue, exchange) = (channel.temporary_queue(), unique("exchange"));
    declare(&channel, &lasting(&exchange, "direct"));
    channel.bind(&queue, &exchange, "key");
    let if_unused = ExchangeDelete { if_unused: true, ..delete(&exchange) };
    let text = format!("exchange '{exchange}' in vhost '/' in use");
    assert_channel_lost(&connection.channel(), &if_unused, ReplyCode::PreconditionFailed, &text);
    assert_there(&channel, &exchange);
    let _: QueueUnbindOk = channel.call(&queue_unbind(&queue, &exchange, "key"));
    let _: ExchangeDeleteOk = channel.call(&if_unused);
    assert_gone(&connection, &exchange);
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_binding() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (queue, exchange) = (channel.temporary_queue(), unique("exchange"));
    channel.declare_exchange(&exchange, "direct");
    assert_there(&channel, &exchange);
    channel.bind(&queue, &exchange, "one");
    channel.bind(&queue, &exchange, "two");
    let _: QueueUnbindOk = channel.call(&queue_unbind(&queue, &exchange, "one"));
    assert_there(&channel, &exchange);
    let _: QueueUnbindOk = channel.call(&queue_unbind(&queue, &exchange, "two"));
    assert_gone(&connection, &exchange);
}

#[test]
fn an_auto_delete_exchange_goes_with_its_last_queue() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (one, two, exchange) = (channel.temporary_queue(), channel.temporary_queue(), unique("exchange"));
    channel.declare_exchange(&exchange, "direct");
    channel.bind(&one, &exchange, "key");
    channel.bind(&two, &exchange, "key");
    channel.delete_queue(&one);
    assert_there(&channel, &exchange);
    channel.delete_queue(&two);
    assert_gone(&connection, &exchange);
}

#[test]
fn an_auto_delete_exchange_goes_with_the_connection_of_its_last_exclusive_queue() {
    let connection = Connection::open();
    let exchange = unique("exchange");
    let owner = Connection::open();
    let channel = owner.channel();
    channel.declare_exchange(&exchange, "direct");
    let queue = channel.temporary_queue();
    channel.bind(&queue, &exchange, "key");
    owner.close();
    assert_gone(&connection, &exchange);
}

#[test]
fn auto_delete_exchanges_go_one_after_the_other() {
    let connection = Connection::open();
    let channel = connection.channel();
    let exchanges = [unique("first"), unique("second"), unique("third")];
    for exchange in &exchanges {
        channel.declare_exchange(exchange, "fanout");
    }
    let [first, second, third] = &exchanges;
    let queue = channel.temporary_queue();
    let _: ExchangeBindOk = channel.call(&bind(second, first, ""));
    let _: ExchangeBindOk = channel.call(&bind(third, second, ""));
    channel.bind(&queue, third, "");
    channel.delete_queue(&queue);
    for exchange in &exchanges {
        assert_gone(&connection, exchange);
    }
}

#[test]
fn an_auto_delete_exchange_stays_when_its_last_source_goes() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (source, destination) = (unique("source"), unique("destination"));
    channel.declare_exchange(&source, "fanout");
    channel.declare_exchange(&destination, "fanout");
    let _: ExchangeBindOk = channel.call(&bind(&destination, &source, ""));
    let _: ExchangeUnbindOk = channel.call(&unbind(&destination, &source, ""));
    assert_there(&channel, &destination);
    assert_gone(&connection, &source);
    channel.delete_exchange(&destination);
}

#[test]
fn nothing_answers_when_told_not_to_wait() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (source, destination, queue) = (unique("source"), unique("destination"), channel.temporary_queue());
    channel.send(&ExchangeDeclare { no_wait: true, ..lasting(&source, "fanout") });
    channel.send(&ExchangeDeclare { no_wait: true, ..lasting(&destination, "fanout") });
    channel.send(&ExchangeDeclare { no_wait: true, ..passive(&source) });
    channel.send(&ExchangeBind { no_wait: true, ..bind(&destination, &source, "") });
    channel.expect_nothing();
    channel.bind(&queue, &destination, "");
    channel.publish(&source, "", b"routed");
    assert_eq!(channel.get(&queue).unwrap().body, b"routed");
    channel.send(&ExchangeUnbind { no_wait: true, ..unbind(&destination, &source, "") });
    channel.publish(&source, "", b"not routed");
    channel.expect_nothing();
    assert!(channel.get(&queue).is_none());
    for exchange in [&source, &destination] {
        channel.send(&ExchangeDelete { no_wait: true, ..delete(exchange) });
    }
    channel.expect_nothing();
    assert_gone(&connection, &source);
    assert_gone(&connection, &destination);
}

#[test]
fn errors_are_told_even_when_told_not_to_wait() {
    let connection = Connection::open();
    let missing = unique("missing");
    let text = format!("no exchange '{missing}' in vhost '/'");
    let declare = ExchangeDeclare { no_wait: true, ..passive(&missing) };
    assert_channel_lost(&connection.channel(), &declare, ReplyCode::NotFound, &text);
    let bind = ExchangeBind { no_wait: true, ..bind("amq.direct", &missing, "") };
    assert_channel_lost(&connection.channel(), &bind, ReplyCode::NotFound, &text);
}

#[test]
fn line_ends_are_stripped_from_names() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, other, queue) = (unique("exchange"), unique("exchange"), channel.temporary_queue());
    let with_line_ends = |name: &str| format!("\r{name}\n\r\n");
    declare(&channel, &lasting(&with_line_ends(&exchange), "fanout"));
    declare(&channel, &lasting(&with_line_ends(&other), "fanout"));
    assert_there(&channel, &exchange);
    assert_there(&channel, &with_line_ends(&exchange));
    let _: ExchangeBindOk = channel.call(&bind(&with_line_ends(&other), &with_line_ends(&exchange), ""));
    channel.bind(&with_line_ends(&queue), &with_line_ends(&other), "");
    channel.publish(&exchange, "", b"routed");
    assert_eq!(channel.get(&queue).unwrap().exchange, exchange);
    let _: ExchangeUnbindOk = channel.call(&unbind(&with_line_ends(&other), &with_line_ends(&exchange), ""));
    let _: QueueUnbindOk = channel.call(&queue_unbind(&with_line_ends(&queue), &with_line_ends(&other), ""));
    for name in [&exchange, &other] {
        let _: ExchangeDeleteOk = channel.call(&ExchangeDelete { if_unused: true, ..delete(&with_line_ends(name)) });
        assert_gone(&connection, name);
    }
}

#[test]
fn a_name_may_be_any_text_of_255_octets() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let start = unique("exchange");
    let long = format!("{start}{}", "x".repeat(255 - start.len()));
    for exchange in [long, format!("{start} ä/#*.\u{1f407}'\"\\")] {
        channel.declare_exchange(&exchange, "direct");
        channel.bind(&queue, &exchange, "key");
        channel.publish(&exchange, "key", b"routed");
        assert_eq!(channel.get(&queue).unwrap().exchange, exchange);
    }
}
