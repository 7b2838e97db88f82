//! Queues: declaring, locking, binding, purging, deleting, and what each refuses.

use std::time::Instant;

use leveret_protocol::amqp091::method::{
    BasicGet, ExchangeDeclare, ExchangeDeclareOk, ExchangeDelete, ExchangeDeleteOk, QueueBind, QueueBindOk,
    QueueDeclare, QueueDeclareOk, QueueDelete, QueueDeleteOk, QueuePurge, QueuePurgeOk, QueueUnbind, QueueUnbindOk,
};
use leveret_protocol::amqp091::{Array, Method, ReplyCode, Table, Value};
use leveret_testkit::amqp091::{
    Channel, Connection, DEADLINE, Reply, basic_consume, exchange_declare, queue_bind, queue_declare, queue_delete,
    table,
};
use leveret_testkit::{broker, unique};

use crate::refusal::assert_channel_lost;
use crate::traffic::{drain, publish_surely};

/// Declares a queue that others see and that stays.
fn shared(queue: &str) -> QueueDeclare<'_> {
    QueueDeclare { exclusive: false, ..queue_declare(queue) }
}

fn passive(queue: &str) -> QueueDeclare<'_> {
    QueueDeclare { passive: true, ..shared(queue) }
}

fn unbind<'a>(queue: &'a str, exchange: &'a str, routing_key: &'a str) -> QueueUnbind<'a> {
    QueueUnbind { ticket: 0, queue, exchange, routing_key, arguments: Table::default() }
}

fn purge(queue: &str) -> QueuePurge<'_> {
    QueuePurge { ticket: 0, queue, no_wait: false }
}

fn get(queue: &str) -> BasicGet<'_> {
    BasicGet { ticket: 0, queue, no_ack: false }
}

#[track_caller]
fn declare(channel: &Channel, declare: &QueueDeclare<'_>) -> QueueDeclareOk<'static> {
    channel.call(declare)
}

fn missing_text(queue: &str) -> String {
    format!("no queue '{queue}' in vhost '/'")
}

fn locked_text(queue: &str) -> String {
    format!(
        "cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. It could be originally declared on \
         another connection or the exclusive property value does not match that of the original declaration."
    )
}

#[track_caller]
fn assert_gone(connection: &Connection, queue: &str) {
    assert_channel_lost(&connection.channel(), &passive(queue), ReplyCode::NotFound, &missing_text(queue));
}

/// Whether a passive declaration found the queue.
struct Found(bool);

impl Reply for Found {
    const NAME: &'static str = "queue.declare-ok or channel.close";

    fn from_method(method: Method<'static>) -> Option<Self> {
        match method {
            Method::QueueDeclareOk(_) => Some(Self(true)),
            Method::ChannelClose(close) if close.reply_code == ReplyCode::NotFound.code() => Some(Self(false)),
            // Locked: an exclusive queue of another connection.
            Method::ChannelClose(close) => Some(Self(close.reply_code == ReplyCode::ResourceLocked.code())),
            _ => None,
        }
    }
}

/// Awaits that a queue is deleted by the server's own doing: it may answer what caused that before.
#[track_caller]
fn await_gone(connection: &Connection, queue: &str) {
    let until = Instant::now() + DEADLINE;
    while connection.channel().call::<Found>(&passive(queue)).0 {
        assert!(Instant::now() < until, "{queue} is still there");
    }
}

#[test]
fn a_queue_may_be_declared_again_with_the_same_properties() {
    let connection = Connection::open();
    let channel = connection.channel();
    let arguments = table(&[("x-max-length", Value::I32(5)), ("x-message-ttl", Value::I32(60_000))]);
    for (durable, exclusive, auto_delete, arguments) in [
        (false, false, false, Table::default()),
        (true, false, false, Table::default()),
        (false, true, false, Table::default()),
        (true, true, false, Table::default()),
        (false, false, true, Table::default()),
        (true, false, true, arguments),
        (false, true, true, arguments),
    ] {
        let queue = unique("queue");
        let again = QueueDeclare { durable, exclusive, auto_delete, arguments, ..queue_declare(&queue) };
        for _ in 0..2 {
            assert_eq!(
                declare(&channel, &again),
                QueueDeclareOk { queue: &queue, message_count: 0, consumer_count: 0 }
            );
        }
        channel.delete_queue(&queue);
    }
}

#[test]
fn a_declaration_counts_ready_messages_and_consumers() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    publish_surely(&connection, "", &queue, &["1", "2", "3"]);
    channel.get(&queue).unwrap();
    let counts = |declare: &QueueDeclareOk<'_>| (declare.message_count, declare.consumer_count);
    assert_eq!(counts(&channel.declare_queue(&queue)), (2, 0));
    channel.qos(1);
    channel.consume(&queue);
    channel.consume(&queue);
    channel.next_delivery();
    channel.next_delivery();
    assert_eq!(counts(&channel.declare_queue(&queue)), (0, 2));
    assert_eq!(counts(&declare(&channel, &passive(&queue))), (0, 2));
}

#[test]
fn the_server_names_a_queue_without_name() {
    let connection = Connection::open();
    let channel = connection.channel();
    let names = [(); 2].map(|()| channel.declare_queue("").queue);
    assert_ne!(names[0], names[1]);
    for name in names {
        let random = name.strip_prefix("amq.gen-").unwrap_or_else(|| panic!("not amq.gen-: {name}"));
        let is_base64url = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_';
        assert!(random.len() == 22 && random.bytes().all(is_base64url), "{name}");
        // Its name has the reserved prefix, but it is there.
        if !broker::differs("a reserved prefix is refused even if there is such a queue") {
            assert_eq!(channel.declare_queue(name).queue, name);
        }
        channel.publish("", name, b"by its name");
        assert_eq!(drain(&channel, name), ["by its name"]);
    }
}

#[test]
fn a_name_with_the_reserved_prefix_can_not_be_declared() {
    let connection = Connection::open();
    for queue in ["amq.", "amq.testkit", "amq.gen-testkit"] {
        let text = format!("queue name '{queue}' contains reserved prefix 'amq.*'");
        assert_channel_lost(&connection.channel(), &queue_declare(queue), ReplyCode::AccessRefused, &text);
    }
    let channel = connection.channel();
    for queue in [format!("amq{}", unique("queue")), format!("AMQ.{}", unique("queue"))] {
        channel.declare_queue(&queue);
    }
}

#[test]
fn a_passive_declaration_of_a_missing_queue_is_404() {
    let connection = Connection::open();
    assert_gone(&connection, &unique("missing"));
    // The reserved prefix does not matter if nothing is to be made.
    assert_gone(&connection, "amq.testkit.missing");
}

#[test]
fn a_passive_declaration_compares_nothing() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = unique("queue");
    declare(&channel, &shared(&queue));
    let arguments = table(&[("x-max-length", Value::I32(1)), ("x-message-ttl", Value::LongStr(b"no number"))]);
    let other = QueueDeclare { durable: true, auto_delete: true, arguments, ..passive(&queue) };
    assert_eq!(declare(&channel, &other).queue, queue);
    channel.delete_queue(&queue);
}

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

#[test]
fn an_exclusive_queue_is_locked_for_other_connections() {
    let (owner, other) = (Connection::open(), Connection::open());
    let channel = owner.channel();
    let queue = channel.temporary_queue();
    let text = locked_text(&queue);
    let code = ReplyCode::ResourceLocked;
    assert_channel_lost(&other.channel(), &queue_declare(&queue), code, &text);
    assert_channel_lost(&other.channel(), &shared(&queue), code, &text);
    assert_channel_lost(&other.channel(), &passive(&queue), code, &text);
    assert_channel_lost(&other.channel(), &get(&queue), code, &text);
    assert_channel_lost(&other.channel(), &basic_consume(&queue), code, &text);
    assert_channel_lost(&other.channel(), &purge(&queue), code, &text);
    assert_channel_lost(&other.channel(), &queue_delete(&queue), code, &text);
    assert_channel_lost(&other.channel(), &queue_bind(&queue, "amq.direct", &queue), code, &text);
    channel.bind(&queue, "amq.direct", &queue);
    assert_channel_lost(&other.channel(), &unbind(&queue, "amq.direct", &queue), code, &text);
    // Publishing to it is not touched by that, and all channels of the owner may use it.
    publish_surely(&other, "amq.direct", &queue, &["from another"]);
    let channel = owner.channel();
    assert_eq!(channel.declare_queue(&queue).message_count, 1);
    assert_eq!(drain(&channel, &queue), ["from another"]);
    channel.delete_queue(&queue);
}

#[test]
fn the_owner_can_not_declare_an_exclusive_queue_as_shared() {
    let connection = Connection::open();
    let queue = connection.channel().temporary_queue();
    assert_channel_lost(&connection.channel(), &shared(&queue), ReplyCode::ResourceLocked, &locked_text(&queue));
    declare(&connection.channel(), &passive(&queue));
}

#[test]
fn an_exclusive_queue_is_gone_when_its_connection_is_closed() {
    let (owner, other) = (Connection::open(), Connection::open());
    let queue = owner.channel().temporary_queue();
    owner.close();
    assert_gone(&other, &queue);
}

#[test]
fn an_exclusive_queue_is_gone_when_its_connection_is_lost() {
    let (owner, other) = (Connection::open(), Connection::open());
    let queue = owner.channel().temporary_queue();
    drop(owner);
    await_gone(&other, &queue);
}

#[test]
fn an_exclusive_queue_outlives_its_channel() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    channel.close();
    declare(&connection.channel(), &passive(&queue));
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = unique("queue");
    declare(&channel, &QueueDeclare { auto_delete: true, ..queue_declare(&queue) });
    let other = connection.channel();
    let (first, second) = (channel.consume(&queue), other.consume(&queue));
    channel.cancel(first);
    declare(&channel, &passive(&queue));
    other.cancel(second);
    await_gone(&connection, &queue);
}

#[test]
fn an_auto_delete_queue_goes_with_the_channel_of_its_last_consumer() {
    let connection = Connection::open();
    let queue = unique("queue");
    let channel = connection.channel();
    declare(&channel, &QueueDeclare { auto_delete: true, ..shared(&queue) });
    channel.consume(&queue);
    channel.close();
    await_gone(&connection, &queue);

    let channel = connection.channel();
    declare(&channel, &QueueDeclare { auto_delete: true, ..shared(&queue) });
    channel.consume(&queue);
    assert_gone_by(&channel, &unique("missing"));
    await_gone(&connection, &queue);

    let other = Connection::open();
    let channel = other.channel();
    declare(&channel, &QueueDeclare { auto_delete: true, ..shared(&queue) });
    channel.consume(&queue);
    drop((channel, other));
    await_gone(&connection, &queue);
}

/// Loses the channel.
#[track_caller]
fn assert_gone_by(channel: &Channel, missing: &str) {
    assert_channel_lost(channel, &passive(missing), ReplyCode::NotFound, &missing_text(missing));
}

#[test]
fn an_auto_delete_queue_that_had_no_consumer_stays() {
    let (connection, other) = (Connection::open(), Connection::open());
    let queue = unique("queue");
    let channel = connection.channel();
    declare(&channel, &QueueDeclare { auto_delete: true, ..shared(&queue) });
    channel.publish("", &queue, b"message");
    channel.get(&queue).unwrap();
    channel.close();
    connection.close();
    let channel = other.channel();
    declare(&channel, &passive(&queue));
    channel.delete_queue(&queue);
}

#[test]
fn binding_is_idempotent_and_unbinding_too() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    for _ in 0..2 {
        channel.bind(&queue, "amq.direct", &queue);
    }
    channel.publish("amq.direct", &queue, b"once");
    assert_eq!(drain(&channel, &queue), ["once"]);
    for _ in 0..2 {
        let _: QueueUnbindOk = channel.call(&unbind(&queue, "amq.direct", &queue));
    }
    channel.publish("amq.direct", &queue, b"not routed");
    assert!(channel.get(&queue).is_none());
}

#[test]
fn binding_what_is_missing_is_404() {
    let connection = Connection::open();
    let queue = connection.channel().temporary_queue();
    let (exchange, other) = (unique("missing"), unique("missing"));
    let no_exchange = format!("no exchange '{exchange}' in vhost '/'");
    let code = ReplyCode::NotFound;
    assert_channel_lost(&connection.channel(), &queue_bind(&queue, &exchange, ""), code, &no_exchange);
    assert_channel_lost(&connection.channel(), &queue_bind(&other, "amq.direct", ""), code, &missing_text(&other));
    assert_channel_lost(&connection.channel(), &queue_bind(&other, &exchange, ""), code, &no_exchange);
}

#[test]
fn unbinding_what_is_missing_is_fine() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (queue, missing) = (channel.temporary_queue(), unique("missing"));
    for (queue, exchange) in [(&*queue, &*missing), (&missing, "amq.direct"), (&missing, &missing)] {
        let _: QueueUnbindOk = channel.call(&unbind(queue, exchange, "key"));
    }
}

#[test]
fn unbinding_takes_the_arguments_of_the_binding() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let arguments = table(&[("x-testkit", Value::I32(1))]);
    let _: QueueBindOk = channel.call(&QueueBind { arguments, ..queue_bind(&queue, "amq.direct", &queue) });
    let _: QueueUnbindOk = channel.call(&unbind(&queue, "amq.direct", &queue));
    channel.publish("amq.direct", &queue, b"still bound");
    assert_eq!(drain(&channel, &queue), ["still bound"]);
    let _: QueueUnbindOk = channel.call(&QueueUnbind { arguments, ..unbind(&queue, "amq.direct", &queue) });
    channel.publish("amq.direct", &queue, b"not routed");
    assert!(channel.get(&queue).is_none());
}

#[test]
fn a_deleted_queue_takes_its_bindings_along() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    channel.bind(&queue, "amq.direct", &queue);
    channel.delete_queue(&queue);
    channel.declare_queue(&queue);
    channel.publish("amq.direct", &queue, b"not routed");
    assert!(channel.get(&queue).is_none());
}

#[test]
fn no_name_means_the_queue_declared_last_on_the_channel() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (first, second) = (channel.temporary_queue(), channel.temporary_queue());
    // It is also the key if there is none.
    let _: QueueBindOk = channel.call(&queue_bind("", "amq.direct", ""));
    publish_surely(&connection, "amq.direct", &second, &["by key"]);
    assert_eq!(channel.get("").unwrap().body, b"by key");
    let _: QueueUnbindOk = channel.call(&unbind("", "amq.direct", ""));
    publish_surely(&connection, "amq.direct", &second, &["not routed"]);
    assert!(channel.get("").is_none());
    let _: QueueBindOk = channel.call(&queue_bind("", "amq.direct", &first));
    publish_surely(&connection, "amq.direct", &first, &["by another key"]);
    assert_eq!(drain(&channel, &second), ["by another key"]);
    // With a queue, no key is the empty key.
    let fanout = unique("exchange");
    channel.declare_exchange(&fanout, "direct");
    channel.bind(&first, &fanout, "");
    publish_surely(&connection, &fanout, "", &["by the empty key"]);
    assert_eq!(drain(&channel, &first), ["by the empty key"]);
    // A passive declaration counts, and so does one of what is there.
    declare(&channel, &passive(&first));
    publish_surely(&connection, "", &first, &["1", "2"]);
    assert_eq!(channel.call::<QueuePurgeOk>(&purge("")).message_count, 2);
    channel.declare_queue(&second);
    channel.consume("");
    publish_surely(&connection, "", &second, &["consumed"]);
    assert_eq!(channel.next_delivery().routing_key, second);
    assert_eq!(channel.call::<QueueDeleteOk>(&queue_delete("")).message_count, 0);
    assert_gone(&connection, &second);
}

#[test]
fn no_name_with_nothing_declared_on_the_channel_is_404() {
    let connection = Connection::open();
    connection.channel().temporary_queue();
    let text = "no previously declared queue";
    let code = ReplyCode::NotFound;
    assert_channel_lost(&connection.channel(), &get(""), code, text);
    assert_channel_lost(&connection.channel(), &basic_consume(""), code, text);
    assert_channel_lost(&connection.channel(), &purge(""), code, text);
    assert_channel_lost(&connection.channel(), &queue_delete(""), code, text);
    assert_channel_lost(&connection.channel(), &queue_bind("", "amq.direct", ""), code, text);
    assert_channel_lost(&connection.channel(), &queue_bind("", "amq.direct", "key"), code, text);
    assert_channel_lost(&connection.channel(), &unbind("", "amq.direct", ""), code, text);
}

#[test]
fn purging_takes_ready_messages_only() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    assert_eq!(channel.call::<QueuePurgeOk>(&purge(&queue)).message_count, 0);
    publish_surely(&connection, "", &queue, &["1", "2", "3"]);
    let got = channel.get(&queue).unwrap();
    assert_eq!(channel.call::<QueuePurgeOk>(&purge(&queue)).message_count, 2);
    assert!(channel.get(&queue).is_none());
    channel.requeue(got.delivery_tag);
    assert_eq!(drain(&channel, &queue), ["1"]);
}

#[test]
fn purging_a_missing_queue_is_404() {
    let missing = unique("missing");
    let channel = Connection::open().channel();
    assert_channel_lost(&channel, &purge(&missing), ReplyCode::NotFound, &missing_text(&missing));
}

#[test]
fn deleting_counts_ready_messages_and_is_idempotent() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    publish_surely(&connection, "", &queue, &["1", "2", "3"]);
    channel.get(&queue).unwrap();
    assert_eq!(channel.delete_queue(&queue), 2);
    assert_gone(&connection, &queue);
    assert_eq!(channel.delete_queue(&queue), 0);
    let conditional = QueueDelete { if_unused: true, if_empty: true, ..queue_delete(&queue) };
    assert_eq!(channel.call::<QueueDeleteOk>(&conditional).message_count, 0);
}

#[test]
fn a_queue_with_consumers_is_in_use() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let tag = channel.consume(&queue);
    let if_unused = QueueDelete { if_unused: true, ..queue_delete(&queue) };
    let text = format!("queue '{queue}' in vhost '/' in use");
    assert_channel_lost(&connection.channel(), &if_unused, ReplyCode::PreconditionFailed, &text);
    channel.cancel(tag);
    let _: QueueDeleteOk = channel.call(&if_unused);
    assert_gone(&connection, &queue);
}

#[test]
fn a_queue_with_ready_messages_is_not_empty() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    publish_surely(&connection, "", &queue, &["message"]);
    let if_empty = QueueDelete { if_empty: true, ..queue_delete(&queue) };
    let text = format!("queue '{queue}' in vhost '/' not empty");
    assert_channel_lost(&connection.channel(), &if_empty, ReplyCode::PreconditionFailed, &text);
    // One that is delivered does not count.
    channel.get(&queue).unwrap();
    let _: QueueDeleteOk = channel.call(&if_empty);
    assert_gone(&connection, &queue);
}

#[test]
fn an_exchange_is_unused_once_its_queue_is_deleted() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (queue, exchange) = (channel.temporary_queue(), unique("exchange"));
    let lasting = ExchangeDeclare { auto_delete: false, ..exchange_declare(&exchange, "direct") };
    let _: ExchangeDeclareOk = channel.call(&lasting);
    channel.bind(&queue, &exchange, "key");
    channel.delete_queue(&queue);
    let _: ExchangeDeleteOk =
        channel.call(&ExchangeDelete { ticket: 0, exchange: &exchange, if_unused: true, no_wait: false });
}

#[test]
fn nothing_answers_when_told_not_to_wait() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = unique("queue");
    channel.send(&QueueDeclare { no_wait: true, ..queue_declare(&queue) });
    channel.send(&QueueDeclare { no_wait: true, ..passive(&queue) });
    channel.send(&QueueBind { no_wait: true, ..queue_bind(&queue, "amq.direct", &queue) });
    channel.expect_nothing();
    channel.publish("amq.direct", &queue, b"message");
    assert_eq!(channel.get(&queue).unwrap().body, b"message");
    publish_surely(&connection, "", &queue, &["purged"]);
    channel.send(&QueuePurge { no_wait: true, ..purge(&queue) });
    channel.expect_nothing();
    assert!(channel.get(&queue).is_none());
    channel.send(&QueueDelete { no_wait: true, ..queue_delete(&queue) });
    channel.expect_nothing();
    assert_gone(&connection, &queue);
}

#[test]
fn errors_are_told_even_when_told_not_to_wait() {
    let connection = Connection::open();
    let missing = unique("missing");
    let declare = QueueDeclare { no_wait: true, ..passive(&missing) };
    let code = ReplyCode::NotFound;
    assert_channel_lost(&connection.channel(), &declare, code, &missing_text(&missing));
    let bind = QueueBind { no_wait: true, ..queue_bind(&missing, "amq.direct", "") };
    assert_channel_lost(&connection.channel(), &bind, code, &missing_text(&missing));
    let purge = QueuePurge { no_wait: true, ..purge(&missing) };
    assert_channel_lost(&connection.channel(), &purge, code, &missing_text(&missing));
}

#[test]
fn line_ends_are_stripped_from_names() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = unique("queue");
    let with_line_ends = format!("\r{queue}\n\r\n");
    assert_eq!(channel.declare_queue(&with_line_ends).queue, queue);
    assert_eq!(declare(&channel, &passive(&with_line_ends)).queue, queue);
    let _: QueueBindOk = channel.call(&queue_bind(&with_line_ends, "amq.direct", &queue));
    channel.publish("amq.direct", &queue, b"routed");
    assert_eq!(drain(&channel, &queue), ["routed"]);
    let _: QueueUnbindOk = channel.call(&unbind(&with_line_ends, "amq.direct", &queue));
    let _: QueueDeleteOk = channel.call(&queue_delete(&with_line_ends));
    assert_gone(&connection, &queue);
    // Nothing but line ends is no name.
    assert!(channel.declare_queue("\r\n").queue.starts_with("amq.gen-"));
}

#[test]
fn a_name_may_be_any_text_of_255_octets() {
    let connection = Connection::open();
    let channel = connection.channel();
    let start = unique("queue");
    let long = format!("{start}{}", "x".repeat(255 - start.len()));
    for queue in [long, format!("{start} ä/#*.\u{1f407}'\"\\")] {
        assert_eq!(channel.declare_queue(&queue).queue, queue);
        channel.publish("", &queue, b"routed");
        assert_eq!(channel.get(&queue).unwrap().routing_key, queue);
    }
}

#[test]
fn a_message_in_a_deleted_queue_may_still_be_acknowledged() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    publish_surely(&connection, "", &queue, &["1", "2"]);
    let (one, two) = (channel.get(&queue).unwrap(), channel.get(&queue).unwrap());
    channel.delete_queue(&queue);
    channel.ack(one.delivery_tag);
    channel.requeue(two.delivery_tag);
    channel.expect_nothing();
}

#[test]
fn a_queue_of_the_same_name_is_a_new_queue() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    publish_surely(&connection, "", &queue, &["old", "older"]);
    let old = channel.get(&queue).unwrap();
    channel.delete_queue(&queue);
    channel.declare_queue_with(&queue, table(&[("x-max-length", Value::I32(5))]));
    channel.requeue(old.delivery_tag);
    channel.round_trip();
    channel.publish("", &queue, b"new");
    assert_eq!(drain(&channel, &queue), ["new"]);
}
