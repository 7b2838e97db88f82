//! Publishing: what comes back, what is refused, and that a message arrives as it was sent.

use leveret_protocol::amqp091::method::{
    BasicPublish, BasicReturn, ExchangeDeclare, ExchangeDeclareOk, QueueDeclare, QueueDeclareOk,
};
use leveret_protocol::amqp091::{Properties, ReplyCode, Table, TableWriter, Value};
use leveret_testkit::amqp091::{Channel, Confirm, Connection, basic_publish, exchange_declare, queue_declare, table};
use leveret_testkit::{broker, unique};

use crate::Blame as _;
use crate::traffic::{await_acks, drain};

/// Largest body that is taken, in octets.
const BODY_MAX: usize = 16 * 1024 * 1024;

/// Publishes to the default exchange and says what came of it: the text of the refusal, or nothing.
#[track_caller]
fn assert_refused(channel: &Channel, properties: &Properties<'_>, text: &str) {
    channel.publish_with("", "testkit-no-such-queue", properties, b"body");
    let close = channel.expect_channel_error(ReplyCode::PreconditionFailed, text);
    assert_eq!(close.blame(), (60, 40));
}

/// Properties of every kind.
fn all_properties(headers: Table<'_>) -> Properties<'_> {
    Properties {
        content_type: Some("text/plain"),
        content_encoding: Some("identity"),
        headers: Some(headers),
        delivery_mode: Some(2),
        priority: Some(7),
        correlation_id: Some("correlation"),
        reply_to: Some("reply"),
        expiration: Some("60000"),
        message_id: Some("message"),
        timestamp: Some(1_700_000_000),
        kind: Some("kind ä"),
        user_id: None,
        app_id: Some("app"),
        cluster_id: Some("cluster"),
    }
}

/// A field of every type that can stand in a table.
fn all_fields() -> Table<'static> {
    let mut octets = Vec::new();
    let mut writer = TableWriter::new(&mut octets);
    for (name, value) in [
        ("bool", Value::Bool(true)),
        ("no", Value::Bool(false)),
        ("i8", Value::I8(-8)),
        ("u8", Value::U8(200)),
        ("i16", Value::I16(-16)),
        ("u16", Value::U16(60_000)),
        ("i32", Value::I32(i32::MIN)),
        ("u32", Value::U32(u32::MAX)),
        ("i64", Value::I64(i64::MIN)),
        ("f32", Value::F32(0.5)),
        ("f64", Value::F64(-1e300)),
        ("decimal", Value::Decimal { scale: 2, value: 314 }),
        ("text", Value::LongStr("t\u{1f407}xt".as_bytes())),
        ("octets in text", Value::LongStr(b"\xff\0\xfe")),
        ("empty", Value::LongStr(b"")),
        ("timestamp", Value::Timestamp(1 << 40)),
        ("bytes", Value::Bytes(b"\0\x01\x02")),
        ("void", Value::Void),
        ("", Value::I32(0)),
    ] {
        writer.field(name, value);
    }
    writer.table("table", |inner| {
        inner.field("one", Value::I32(1)).table("inner", |inner| {
            inner.field("two", Value::I32(2));
        });
    });
    writer.array("array", |array| {
        array.value(Value::I32(1)).value(Value::LongStr(b"two")).value(Value::Void).array_value(|inner| {
            inner.value(Value::Bool(true));
        });
    });
    writer.table("empty table", |_| {}).array("empty array", |_| {});
    Table::parse(octets.leak()).unwrap()
}

#[test]
fn a_mandatory_message_that_is_routed_nowhere_comes_back_whole() {
    let connection = Connection::open();
    let channel = connection.channel();
    let exchange = unique("exchange");
    channel.declare_exchange(&exchange, "direct");
    let properties = all_properties(all_fields());
    for body in [Vec::new(), b"body".to_vec(), vec![b'x'; 300_000]] {
        let publish = BasicPublish { mandatory: true, ..basic_publish(&exchange, "no such key") };
        channel.send_content(&publish, &properties, &body);
        let returned = channel.next_return();
        assert_eq!((returned.reply_code, returned.reply_text), (312, "NO_ROUTE"));
        assert_eq!((returned.exchange, returned.routing_key), (exchange.as_str(), "no such key"));
        assert_eq!(returned.properties, properties);
        assert!(returned.body == body);
    }
    channel.expect_nothing();
    channel.delete_exchange(&exchange);
}

#[test]
fn a_mandatory_message_that_is_routed_does_not_come_back() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    channel.publish_mandatory("", &queue, b"routed");
    assert_eq!(drain(&channel, &queue), ["routed"]);
    channel.expect_nothing();
}

#[test]
fn an_unroutable_message_that_is_not_mandatory_is_dropped() {
    let connection = Connection::open();
    let channel = connection.channel();
    channel.publish("", &unique("missing"), b"dropped");
    channel.publish("amq.topic", &unique("missing"), b"dropped");
    channel.expect_nothing();
}

#[test]
fn immediate_is_540() {
    let channel = Connection::open().channel();
    let queue = channel.temporary_queue();
    for exchange in ["", "testkit-no-such-exchange"] {
        let channel = Connection::open().channel();
        let publish = BasicPublish { immediate: true, ..basic_publish(exchange, &queue) };
        channel.send_content(&publish, &Properties::default(), b"body");
        let close = channel.expect_connection_error(ReplyCode::NotImplemented, "immediate=true");
        assert_eq!(close.blame(), (60, 40));
    }
}

#[test]
fn a_missing_exchange_costs_the_channel() {
    let connection = Connection::open();
    let channel = connection.channel();
    let missing = unique("missing");
    channel.publish(&missing, "key", b"body");
    let text = format!("no exchange '{missing}' in vhost '/'");
    let close = channel.expect_channel_error(ReplyCode::NotFound, &text);
    assert_eq!(close.blame(), (60, 40));
}

#[test]
fn an_internal_exchange_costs_the_channel() {
    let connection = Connection::open();
    let lasts = connection.channel();
    let exchange = unique("internal");
    let _: ExchangeDeclareOk = lasts.call(&ExchangeDeclare { internal: true, ..exchange_declare(&exchange, "fanout") });
    let channel = connection.channel();
    channel.publish(&exchange, "key", b"body");
    let text = format!("cannot publish to internal exchange '{exchange}' in vhost '/'");
    let close = channel.expect_channel_error(ReplyCode::AccessRefused, &text);
    assert_eq!(close.blame(), (60, 40));
    lasts.delete_exchange(&exchange);
}

#[test]
fn what_was_published_before_an_error_is_kept_and_what_comes_after_is_not() {
    let connection = Connection::open();
    let (channel, other) = (connection.channel(), connection.channel());
    let (queue, missing) = (other.temporary_queue(), unique("missing"));
    channel.publish("", &queue, b"before");
    channel.publish(&missing, "key", b"wrong");
    channel.publish("", &queue, b"after");
    channel.expect_channel_error(ReplyCode::NotFound, &format!("no exchange '{missing}' in vhost '/'"));
    assert_eq!(drain(&other, &queue), ["before"]);
}

#[test]
fn a_message_of_more_than_sixteen_mebibytes_is_406() {
    if broker::differs("its limit is 128 MiB") {
        return;
    }
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let body = vec![b'x'; BODY_MAX + 1];
    channel.publish("", &queue, &body);
    let text = "message size 16777217 is larger than configured max size 16777216";
    let close = channel.expect_channel_error(ReplyCode::PreconditionFailed, text);
    assert_eq!(close.blame(), (60, 40));
    let channel = connection.channel();
    assert!(channel.get(&queue).is_none());
}

#[test]
fn a_message_of_sixteen_mebibytes_is_taken() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let body: Vec<u8> = (0..BODY_MAX).map(|at| u8::try_from(at % 251).unwrap()).collect();
    channel.publish("", &queue, &body);
    assert!(channel.get(&queue).unwrap().body == body);
}

#[test]
fn the_user_id_must_be_that_of_the_connection() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let user = broker::url().user.as_str();
    let properties = Properties { user_id: Some(user), ..Properties::default() };
    channel.publish_with("", &queue, &properties, b"mine");
    assert_eq!(channel.get(&queue).unwrap().properties.user_id, Some(user));
    for other in ["testkit", ""] {
        let properties = Properties { user_id: Some(other), ..Properties::default() };
        let text = format!("user_id property set to '{other}' but authenticated user was '{user}'");
        assert_refused(&connection.channel(), &properties, &text);
    }
}

#[test]
fn an_expiration_must_be_a_number_of_milliseconds() {
    let connection = Connection::open();
    for (expiration, reason) in [
        ("", "no_integer"),
        ("abc", "no_integer"),
        (" 1", "no_integer"),
        ("-", "no_integer"),
        (".5", "no_integer"),
        ("10x", "{leftover_string,\"x\"}"),
        ("10 ", "{leftover_string,\" \"}"),
        ("1.5", "{leftover_string,\".5\"}"),
        ("1000ms", "{leftover_string,\"ms\"}"),
        ("-1", "{value_negative,-1}"),
        ("315360000001", "{value_too_large,315360000001}"),
    ] {
        let properties = Properties { expiration: Some(expiration), ..Properties::default() };
        let text = format!("invalid expiration '{expiration}': {reason}");
        assert_refused(&connection.channel(), &properties, &text);
    }
}

#[test]
fn an_expiration_may_be_anything_up_to_ten_years() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    for expiration in ["60000", "+60000", "0060000", "315360000000"] {
        let properties = Properties { expiration: Some(expiration), ..Properties::default() };
        channel.publish_with("", &queue, &properties, b"");
        assert_eq!(channel.get(&queue).unwrap().properties.expiration, Some(expiration));
    }
}

#[test]
fn refusals_come_in_the_order_of_the_checks() {
    let connection = Connection::open();
    let user = broker::url().user.as_str();
    let cc = table(&[("CC", Value::I32(1))]);
    let all =
        Properties { user_id: Some("testkit"), expiration: Some("abc"), headers: Some(cc), ..Properties::default() };
    // The exchange, then the expiration, then the headers, then the user.
    let channel = connection.channel();
    let missing = unique("missing");
    channel.publish_with(&missing, "key", &all, b"body");
    channel.expect_channel_error(ReplyCode::NotFound, &format!("no exchange '{missing}' in vhost '/'"));
    if broker::differs("the user is checked before the expiration") {
        return;
    }
    assert_refused(&connection.channel(), &all, "invalid expiration 'abc': no_integer");
    let all = Properties { expiration: None, ..all };
    let text = "invalid message: {unacceptable_type_in_header,\"CC\",signedint}";
    assert_refused(&connection.channel(), &all, text);
    let all = Properties { headers: None, ..all };
    let text = format!("user_id property set to 'testkit' but authenticated user was '{user}'");
    assert_refused(&connection.channel(), &all, &text);
}

#[test]
fn properties_and_headers_arrive_as_they_were_sent() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    let one = |set: fn(&mut Properties<'static>)| {
        let mut properties = Properties::default();
        set(&mut properties);
        properties
    };
    for properties in [
        Properties::default(),
        all_properties(Table::default()),
        all_properties(all_fields()),
        one(|properties| properties.content_type = Some("")),
        one(|properties| properties.headers = Some(Table::default())),
        one(|properties| properties.delivery_mode = Some(1)),
        one(|properties| properties.priority = Some(255)),
        one(|properties| properties.timestamp = Some(0)),
        one(|properties| properties.timestamp = Some(u64::MAX)),
        one(|properties| properties.correlation_id = Some("\u{1f407}")),
        one(|properties| properties.cluster_id = Some("only the last flag")),
    ] {
        channel.publish_with("", &queue, &properties, b"body");
        let got = channel.get(&queue).unwrap();
        assert_eq!(got.properties, properties);
        channel.requeue(got.delivery_tag);
        let again = channel.get(&queue).unwrap();
        assert_eq!(again.properties, properties);
        channel.ack(again.delivery_tag);
    }
}

#[test]
fn bodies_of_any_size_arrive_as_they_were_sent() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    channel.consume(&queue);
    let frame = connection.tuned().frame_max as usize - 8;
    for size in [0, 1, 4095, 4096, frame - 1, frame, frame + 1, 2 * frame, 20 * frame + 1] {
        let body: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
        channel.publish("", &queue, &body);
        let delivery = channel.next_delivery();
        assert!(delivery.body == body, "{size} octets");
        channel.ack(delivery.delivery_tag);
    }
}

#[test]
fn a_delivery_names_exchange_and_key_of_its_publication() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (queue, exchange) = (channel.temporary_queue(), unique("exchange"));
    channel.declare_exchange(&exchange, "topic");
    channel.bind(&queue, &exchange, "#");
    let tag = channel.consume(&queue);
    let long = "k".repeat(255);
    for (number, key) in (1..).zip(["", "a.b", &long]) {
        channel.publish(&exchange, key, b"body");
        let delivery = channel.next_delivery();
        assert_eq!((delivery.exchange, delivery.routing_key), (exchange.as_str(), key));
        assert_eq!((delivery.consumer_tag, delivery.delivery_tag, delivery.redelivered), (tag, number, false));
    }
}

#[test]
fn a_return_comes_before_the_confirm_of_its_message() {
    let connection = Connection::open();
    let channel = connection.channel();
    channel.confirm_select();
    for number in 1..=20 {
        channel.publish_mandatory("", "testkit-no-such-queue", b"back");
        // Nothing may come before the return, and the confirm must follow.
        let _: BasicReturn<'_> = channel.expect();
        assert_eq!(channel.next_confirm(), Confirm::Ack { delivery_tag: number, multiple: false });
    }
}

#[test]
fn transient_and_persistent_messages_mix_in_one_queue() {
    let connection = Connection::open();
    let channel = connection.channel();
    let queue = unique("queue");
    let _: QueueDeclareOk<'_> =
        channel.call(&QueueDeclare { durable: true, exclusive: false, ..queue_declare(&queue) });
    channel.confirm_select();
    for number in 0..20 {
        let properties = Properties { delivery_mode: Some(1 + number % 2), ..Properties::default() };
        channel.publish_with("", &queue, &properties, number.to_string().as_bytes());
    }
    await_acks(&channel, 20);
    let bodies: Vec<_> = (0..20).map(|number| number.to_string()).collect();
    assert_eq!(drain(&channel, &queue), bodies);
    channel.delete_queue(&queue);
}
