//! Queues: declaring, locking, purging and deleting, and what each refuses.

use std::time::Instant;

use leveret_protocol::amqp091::method::{
    BasicGet, ChannelClose, QueueBind, QueueBindOk, QueueDeclare, QueueDeclareOk, QueueDelete, QueueDeleteOk,
    QueuePurge, QueuePurgeOk, QueueUnbind, QueueUnbindOk,
};
use leveret_protocol::amqp091::{Method, ReplyCode, Table, Value};
use leveret_testkit::amqp091::{
    Channel, Connection, DEADLINE, Reply, basic_consume, queue_bind, queue_declare, queue_delete, table,
};
use leveret_testkit::{broker, unique};

use crate::refusal::assert_channel_lost;
use crate::traffic::{drain, publish_surely};

/// Declares a queue that others see and that stays.
pub(crate) fn shared(queue: &str) -> QueueDeclare<'_> {
    QueueDeclare { exclusive: false, ..queue_declare(queue) }
}

pub(crate) fn passive(queue: &str) -> QueueDeclare<'_> {
    QueueDeclare { passive: true, ..shared(queue) }
}

pub(crate) fn unbind<'a>(queue: &'a str, exchange: &'a str, routing_key: &'a str) -> QueueUnbind<'a> {
    QueueUnbind { ticket: 0, queue, exchange, routing_key, arguments: Table::default() }
}

pub(crate) fn purge(queue: &str) -> QueuePurge<'_> {
    QueuePurge { ticket: 0, queue, no_wait: false }
}

pub(crate) fn get(queue: &str) -> BasicGet<'_> {
    BasicGet { ticket: 0, queue, no_ack: false }
}

#[track_caller]
pub(crate) fn declare(channel: &Channel, declare: &QueueDeclare<'_>) -> QueueDeclareOk<'static> {
    channel.call(declare)
}

/// Declares an exclusive, transient queue of a unique name with arguments.
#[track_caller]
pub(crate) fn queue_with(channel: &Channel, arguments: &[(&str, Value<'_>)]) -> String {
    let queue = unique("queue");
    channel.declare_queue_with(&queue, table(arguments));
    queue
}

pub(crate) fn missing_text(queue: &str) -> String {
    format!("no queue '{queue}' in vhost '/'")
}

pub(crate) fn locked_text(queue: &str) -> String {
    format!(
        "cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. It could be originally declared on \
         another connection or the exclusive property value does not match that of the original declaration."
    )
}

#[track_caller]
pub(crate) fn assert_gone(connection: &Connection, queue: &str) {
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
fn a_client_may_choose_the_prefix_of_a_name_the_server_makes_up() {
    if broker::differs("x-name-prefix is an argument that no queue knows") {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let with_prefix = |prefix: &str| table(&[("x-name-prefix", Value::LongStr(prefix.as_bytes()))]);
    let prefix = unique("prefix");
    let names = [(); 2].map(|()| channel.declare_queue_with("", with_prefix(&prefix)).queue);
    assert_ne!(names[0], names[1]);
    for name in names {
        assert!(name.starts_with(&prefix) && name.len() > prefix.len(), "{name}");
        channel.publish("", name, b"by its name");
        assert_eq!(drain(&channel, name), ["by its name"]);
    }
    let longest = "x".repeat(64);
    let name = channel.declare_queue_with("", with_prefix(&longest)).queue;
    assert!(name.starts_with(&longest), "{name}");
    // Bytes count, not letters.
    for too_long in ["x".repeat(65), "ä".repeat(33)] {
        let arguments = with_prefix(&too_long);
        let declare = QueueDeclare { arguments, ..queue_declare("") };
        let text = format!("Queue name prefix '{too_long}' exceeds the 64-byte limit");
        assert_channel_lost(&connection.channel(), &declare, ReplyCode::PreconditionFailed, &text);
    }
    let arguments = table(&[("x-name-prefix", Value::I32(1))]);
    let declare = QueueDeclare { arguments, ..queue_declare("") };
    let text = "invalid arg 'x-name-prefix' for queue '' in vhost '/': {unacceptable_type,signedint}";
    assert_channel_lost(&connection.channel(), &declare, ReplyCode::PreconditionFailed, text);
    // A prefix is no way into the names that are reserved.
    let channel = connection.channel();
    channel.send(&QueueDeclare { arguments: with_prefix("amq.mine-"), ..queue_declare("") });
    let close: ChannelClose<'_> = channel.expect();
    assert!(close.reply_text.starts_with("ACCESS_REFUSED - queue name 'amq.mine-"), "{}", close.reply_text);
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
