//! Dead letters: which messages become some, and where they go.

use leveret_protocol::amqp091::method::{
    BasicConsume, BasicNack, BasicPublish, ExchangeDeclare, ExchangeDeclareOk, QueueBind, QueueBindOk, QueueDeclare,
    QueuePurgeOk, TxCommit, TxCommitOk, TxRollback, TxRollbackOk, TxSelect, TxSelectOk,
};
use leveret_protocol::amqp091::{Properties, Value};
use leveret_testkit::amqp091::{
    Channel, Connection, basic_consume, basic_publish, exchange_declare, queue_bind, queue_declare, table,
};
use leveret_testkit::unique;

use crate::copies::{copies, with_headers};
use crate::length_limits::refused;
use crate::queues::{declare, purge, queue_with};
use crate::routing::bind_exchange;
use crate::traffic::{await_acks, await_count, drain, let_pass, next_bodies, publish_expiring, publish_surely};

/// The argument that names a dead-letter exchange.
pub(crate) fn to_exchange(exchange: &str) -> (&'static str, Value<'_>) {
    ("x-dead-letter-exchange", Value::LongStr(exchange.as_bytes()))
}

/// The arguments that send dead letters to a queue, by the default exchange.
pub(crate) fn to_queue(queue: &str) -> [(&'static str, Value<'_>); 2] {
    [to_exchange(""), ("x-dead-letter-routing-key", Value::LongStr(queue.as_bytes()))]
}

/// A queue whose dead letters go to another, and that other.
fn pair(channel: &Channel, more: &[(&'static str, Value<'static>)]) -> (String, String) {
    let target = channel.temporary_queue();
    let source = queue_with(channel, &[&to_queue(&target)[..], more].concat());
    (source, target)
}

/// Consumes and rejects the messages of a queue that are to come next.
fn reject_next(connection: &Connection, queue: &str, count: usize) {
    let channel = connection.channel();
    channel.consume(queue);
    for _ in 0..count {
        let delivery = channel.next_delivery();
        channel.reject(delivery.delivery_tag);
    }
    channel.close();
}

/// Awaits so many messages in a queue and takes them.
#[track_caller]
fn await_bodies(channel: &Channel, queue: &str, count: usize) -> Vec<String> {
    await_count(channel, queue, u32::try_from(count).unwrap());
    drain(channel, queue)
}

#[test]
fn rejected_messages_are_dead_lettered() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (source, target) = pair(&channel, &[]);
    publish_surely(&connection, "", &source, &["1", "2", "3", "4", "5", "6"]);
    channel.consume(&source);
    next_bodies(&channel, 6);
    channel.reject(2);
    assert_eq!(await_bodies(&channel, &target, 1), ["2"]);
    channel.send(&BasicNack { delivery_tag: 1, multiple: false, requeue: false });
    assert_eq!(await_bodies(&channel, &target, 1), ["1"]);
    channel.send(&BasicNack { delivery_tag: 4, multiple: true, requeue: false });
    assert_eq!(await_bodies(&channel, &target, 2), ["3", "4"]);
    channel.send(&BasicNack { delivery_tag: 0, multiple: true, requeue: false });
    assert_eq!(await_bodies(&channel, &target, 2), ["5", "6"]);
    assert_eq!(channel.message_count(&source), 0);
}

#[test]
fn messages_are_dead_lettered_in_the_order_they_are_rejected_in() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (source, target) = pair(&channel, &[]);
    publish_surely(&connection, "", &source, &["1", "2", "3", "4", "5", "6"]);
    for _ in 0..6 {
        channel.get(&source).unwrap();
    }
    channel.reject(5);
    channel.reject(1);
    channel.send(&BasicNack { delivery_tag: 4, multiple: true, requeue: false });
    channel.reject(6);
    assert_eq!(await_bodies(&channel, &target, 6), ["5", "1", "2", "3", "4", "6"]);
}

#[test]
fn messages_that_are_settled_or_come_back_are_not_dead_lettered() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (source, target) = pair(&channel, &[]);
    publish_surely(&connection, "", &source, &["acked", "requeued", "taken"]);
    for _ in 0..2 {
        channel.get(&source).unwrap();
    }
    channel.ack(1);
    channel.requeue(2);
    assert_eq!(drain(&channel, &source), ["requeued", "taken"]);
    channel.consume_with(&BasicConsume { no_ack: true, ..basic_consume(&source) });
    publish_surely(&connection, "", &source, &["no ack"]);
    next_bodies(&channel, 1);
    assert_eq!(drain(&channel, &target), Vec::<String>::new());
}

#[test]
fn unsettled_messages_are_not_dead_lettered_when_their_channel_ends() {
    let admin = Connection::open();
    let channel = admin.channel();
    let target = channel.temporary_queue();
    let source = unique("queue");
    let arguments = table(&to_queue(&target));
    declare(&channel, &QueueDeclare { exclusive: false, auto_delete: true, arguments, ..queue_declare(&source) });
    publish_surely(&admin, "", &source, &["1", "2"]);
    for is_channel in [true, false] {
        let connection = Connection::open();
        let other = connection.channel();
        other.get(&source).unwrap();
        other.get(&source).unwrap();
        if is_channel {
            other.close();
        } else {
            connection.close();
        }
        await_count(&channel, &source, 2);
    }
    assert_eq!(drain(&channel, &source), ["1", "2"]);
    assert_eq!(drain(&channel, &target), Vec::<String>::new());
    channel.delete_queue(&source);
}

#[test]
fn a_queue_that_goes_or_is_purged_leaves_no_dead_letters() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (source, target) = pair(&channel, &[]);
    let short = queue_with(&channel, &[&to_queue(&target)[..], &[("x-expires", Value::I32(20))]].concat());
    publish_surely(&connection, "", &source, &["1", "2"]);
    publish_surely(&connection, "", &short, &["1", "2"]);
    assert_eq!(channel.call::<QueuePurgeOk>(&purge(&source)).message_count, 2);
    publish_surely(&connection, "", &source, &["3", "4"]);
    assert_eq!(channel.delete_queue(&source), 2);
    let_pass(&connection, 60);
    assert_eq!(drain(&channel, &target), Vec::<String>::new());
}

#[test]
fn expired_messages_are_dead_lettered_in_order() {
    let connection = Connection::open();
    let channel = connection.channel();
    let bodies: Vec<_> = (0..200).map(|number| number.to_string()).collect();
    let bodies: Vec<_> = bodies.iter().map(String::as_str).collect();
    for ttl in [0, 1, 30] {
        let (source, target) = pair(&channel, &[("x-message-ttl", Value::I32(ttl))]);
        publish_surely(&connection, "", &source, &bodies);
        assert_eq!(await_bodies(&channel, &target, 200), bodies, "{ttl}");
        assert_eq!(channel.message_count(&source), 0);
    }
    let (source, target) = pair(&channel, &[]);
    for (expiration, body) in [("30", "1"), ("1", "2"), ("20", "3"), ("0", "4")] {
        publish_expiring(&connection, &source, expiration, body);
    }
    assert_eq!(await_bodies(&channel, &target, 4), ["1", "2", "3", "4"]);
}

#[test]
fn messages_expired_behind_the_head_are_dead_lettered_when_they_get_there() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (source, target) = pair(&channel, &[]);
    publish_surely(&connection, "", &source, &["head"]);
    publish_expiring(&connection, &source, "10", "behind");
    let_pass(&connection, 40);
    assert_eq!(channel.message_count(&target), 0);
    assert_eq!(channel.get(&source).unwrap().body, b"head");
    assert!(channel.get(&source).is_none());
    assert_eq!(await_bodies(&channel, &target, 1), ["behind"]);
}

#[test]
fn a_message_that_comes_back_too_late_is_dead_lettered() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (source, target) = pair(&channel, &[]);
    publish_expiring(&connection, &source, "150", "late");
    channel.get(&source).unwrap();
    let_pass(&connection, 180);
    channel.requeue(1);
    assert_eq!(await_bodies(&channel, &target, 1), ["late"]);
}

#[test]
fn what_gives_way_in_a_full_queue_is_dead_lettered() {
    let connection = Connection::open();
    let channel = connection.channel();
    for limit in [("x-max-length", Value::I32(2)), ("x-max-length-bytes", Value::I32(3))] {
        let (source, target) = pair(&channel, &[limit]);
        publish_surely(&connection, "", &source, &["1", "2", "3", "4", "55"]);
        assert_eq!(await_bodies(&channel, &target, 3), ["1", "2", "3"], "{limit:?}");
        assert_eq!(drain(&channel, &source), ["4", "55"], "{limit:?}");
    }
}

#[test]
fn refused_messages_are_dead_lettered_if_the_queue_says_so() {
    let connection = Connection::open();
    let channel = connection.channel();
    for (overflow, expected) in [("reject-publish", &[][..]), ("reject-publish-dlx", &["2", "3"])] {
        let overflow = ("x-overflow", Value::LongStr(overflow.as_bytes()));
        let (source, target) = pair(&channel, &[("x-max-length", Value::I32(1)), overflow]);
        assert_eq!(refused(&connection, "", &source, &["1", "2", "3"]), [2, 3], "{overflow:?}");
        publish_surely(&connection, "", &target, &["last"]);
        await_count(&channel, &target, 1 + u32::try_from(expected.len()).unwrap());
        assert_eq!(drain(&channel, &source), ["1"], "{overflow:?}");
        let mut found = drain(&channel, &target);
        found.retain(|body| body != "last");
        assert_eq!(found, expected, "{overflow:?}");
    }
}

#[test]
fn the_routing_key_stays_unless_the_queue_has_one() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (entry, exchange, target) = (unique("entry"), unique("exchange"), channel.temporary_queue());
    channel.declare_exchange(&entry, "fanout");
    channel.declare_exchange(&exchange, "topic");
    channel.bind(&target, &exchange, "#");
    for (key, expected) in [(None, "original"), (Some("other"), "other"), (Some(""), "")] {
        let mut arguments = vec![to_exchange(&exchange)];
        arguments.extend(key.map(|key: &str| ("x-dead-letter-routing-key", Value::LongStr(key.as_bytes()))));
        let source = queue_with(&channel, &arguments);
        channel.bind(&source, &entry, "");
        publish_surely(&connection, &entry, "original", &["message"]);
        reject_next(&connection, &source, 1);
        await_count(&channel, &target, 1);
        let got = channel.get(&target).unwrap();
        assert_eq!((got.exchange, got.routing_key, got.redelivered), (exchange.as_str(), expected, false), "{key:?}");
        channel.delete_queue(&source);
        channel.declare_exchange(&entry, "fanout");
    }
}

#[test]
fn every_queue_of_the_exchange_gets_a_dead_letter() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, inner) = (unique("exchange"), unique("inner"));
    channel.declare_exchange(&exchange, "fanout");
    channel.declare_exchange(&inner, "fanout");
    let targets = [channel.temporary_queue(), channel.temporary_queue(), channel.temporary_queue()];
    bind_exchange(&channel, &inner, &exchange, "");
    for (target, exchange) in targets.iter().zip([&exchange, &exchange, &inner]) {
        channel.bind(target, exchange, "");
    }
    let source = queue_with(&channel, &[to_exchange(&exchange)]);
    publish_surely(&connection, "", &source, &["1", "2"]);
    reject_next(&connection, &source, 2);
    for target in &targets {
        assert_eq!(await_bodies(&channel, target, 2), ["1", "2"]);
    }
}

#[test]
fn headers_route_dead_letters() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, target) = (unique("exchange"), channel.temporary_queue());
    channel.declare_exchange(&exchange, "headers");
    let arguments = table(&[("color", Value::LongStr(b"red"))]);
    let _: QueueBindOk = channel.call(&QueueBind { arguments, ..queue_bind(&target, &exchange, "") });
    let source = queue_with(&channel, &[to_exchange(&exchange)]);
    for color in ["blue", "red"] {
        let headers = table(&[("color", Value::LongStr(color.as_bytes()))]);
        channel.publish_with("", &source, &with_headers(headers), color.as_bytes());
    }
    reject_next(&connection, &source, 2);
    assert_eq!(await_bodies(&channel, &target, 1), ["red"]);
}

#[test]
fn an_exchange_that_clients_may_not_publish_to_takes_dead_letters() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, target) = (unique("exchange"), channel.temporary_queue());
    let _: ExchangeDeclareOk =
        channel.call(&ExchangeDeclare { internal: true, ..exchange_declare(&exchange, "fanout") });
    channel.bind(&target, &exchange, "");
    let source = queue_with(&channel, &[to_exchange(&exchange)]);
    publish_surely(&connection, "", &source, &["1"]);
    reject_next(&connection, &source, 1);
    assert_eq!(await_bodies(&channel, &target, 1), ["1"]);
}

#[test]
fn a_missing_exchange_drops_dead_letters_until_it_is_there() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (exchange, target) = (unique("exchange"), channel.temporary_queue());
    let source = queue_with(&channel, &[to_exchange(&exchange)]);
    for round in 0..2 {
        publish_surely(&connection, "", &source, &["lost"]);
        reject_next(&connection, &source, 1);
        await_count(&channel, &source, 0);
        channel.declare_exchange(&exchange, "fanout");
        channel.bind(&target, &exchange, "");
        publish_surely(&connection, "", &source, &["found"]);
        reject_next(&connection, &source, 1);
        assert_eq!(await_bodies(&channel, &target, 1), ["found"], "{round}");
        channel.delete_exchange(&exchange);
    }
}

#[test]
fn a_dead_letter_without_a_route_is_gone() {
    let connection = Connection::open();
    let (channel, publisher) = (connection.channel(), connection.channel());
    let (exchange, spare) = (unique("exchange"), unique("spare"));
    channel.declare_exchange(&exchange, "direct");
    let source = queue_with(&channel, &[to_exchange(&exchange)]);
    // That it was mandatory counted when it was published.
    publisher.confirm_select();
    publisher.publish_mandatory("", &source, b"message");
    await_acks(&publisher, 1);
    reject_next(&connection, &source, 1);
    assert_eq!(channel.message_count(&source), 0);
    publisher.expect_nothing();
    channel.delete_exchange(&exchange);
    // An alternate exchange is a route.
    let arguments = table(&[("alternate-exchange", Value::LongStr(spare.as_bytes()))]);
    let _: ExchangeDeclareOk = channel.call(&ExchangeDeclare { arguments, ..exchange_declare(&exchange, "direct") });
    channel.declare_exchange(&spare, "fanout");
    let target = channel.temporary_queue();
    channel.bind(&target, &spare, "");
    publish_surely(&connection, "", &source, &["routed"]);
    reject_next(&connection, &source, 1);
    await_count(&channel, &target, 1);
    let got = channel.get(&target).unwrap();
    assert_eq!((got.exchange, got.routing_key), (exchange.as_str(), source.as_str()));
    channel.delete_exchange(&exchange);
}

#[test]
fn copies_are_routed_again_unless_the_queue_has_a_routing_key() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (entry, exchange) = (unique("entry"), unique("exchange"));
    channel.declare_exchange(&entry, "direct");
    channel.declare_exchange(&exchange, "direct");
    let [main, copy, other] = ["main", "copy", "other"].map(|key| {
        let queue = channel.temporary_queue();
        channel.bind(&queue, &exchange, key);
        queue
    });
    for name in ["CC", "BCC"] {
        for (key, counts) in [(None, [1, 1, 0]), (Some("other"), [0, 0, 1])] {
            let mut arguments = vec![to_exchange(&exchange)];
            arguments.extend(key.map(|key: &str| ("x-dead-letter-routing-key", Value::LongStr(key.as_bytes()))));
            let source = queue_with(&channel, &arguments);
            channel.declare_exchange(&entry, "direct");
            channel.bind(&source, &entry, "main");
            channel.publish_with(&entry, "main", &with_headers(copies(name, &["copy"])), b"message");
            reject_next(&connection, &source, 1);
            for (queue, count) in [&main, &copy, &other].into_iter().zip(counts) {
                await_count(&channel, queue, count);
                let Some(got) = channel.get(queue) else { continue };
                let cc = got.properties.headers.and_then(|headers| headers.get("CC"));
                assert_eq!(cc.is_some(), name == "CC" && key.is_none(), "{name} {key:?}");
            }
            channel.delete_queue(&source);
        }
    }
}

#[test]
fn dead_letters_die_again() {
    let connection = Connection::open();
    let channel = connection.channel();
    let last = channel.temporary_queue();
    let arguments = |target, more| [&to_queue(target)[..], &[more]].concat();
    let expiring = queue_with(&channel, &arguments(&last, ("x-message-ttl", Value::I32(10))));
    let full = queue_with(&channel, &arguments(&expiring, ("x-max-length", Value::I32(0))));
    let first = queue_with(&channel, &to_queue(&full));
    publish_surely(&connection, "", &first, &["1", "2", "3"]);
    reject_next(&connection, &first, 3);
    assert_eq!(await_bodies(&channel, &last, 3), ["1", "2", "3"]);
}

#[test]
fn a_full_queue_refuses_dead_letters_without_a_word() {
    let connection = Connection::open();
    let channel = connection.channel();
    let overflow = ("x-overflow", Value::LongStr(b"reject-publish"));
    let target = queue_with(&channel, &[("x-max-length", Value::I32(1)), overflow]);
    let source = queue_with(&channel, &to_queue(&target));
    publish_surely(&connection, "", &source, &["1", "2", "3"]);
    reject_next(&connection, &source, 3);
    await_count(&channel, &source, 0);
    publish_surely(&connection, "", &source, &["4"]);
    assert_eq!(await_bodies(&channel, &target, 1), ["1"]);
    reject_next(&connection, &source, 1);
    assert_eq!(await_bodies(&channel, &target, 1), ["4"]);
}

#[test]
fn a_consumer_gets_dead_letters_as_they_come() {
    let connection = Connection::open();
    let channel = connection.channel();
    let (source, target) = pair(&channel, &[("x-message-ttl", Value::I32(10))]);
    channel.consume(&target);
    for round in 0..3 {
        let bodies = [format!("{round}.1"), format!("{round}.2")];
        publish_surely(&connection, "", &source, &[&bodies[0], &bodies[1]]);
        assert_eq!(next_bodies(&channel, 2), bodies);
    }
}

#[test]
fn rejections_of_a_transaction_are_dead_lettered_by_the_commit() {
    let connection = Connection::open();
    let (channel, admin) = (connection.channel(), connection.channel());
    let (source, target) = pair(&admin, &[]);
    publish_surely(&connection, "", &source, &["1", "2"]);
    let _: TxSelectOk = channel.call(&TxSelect {});
    for _ in 0..2 {
        channel.get(&source).unwrap();
    }
    channel.reject(1);
    let _: TxRollbackOk = channel.call(&TxRollback {});
    channel.send(&BasicNack { delivery_tag: 2, multiple: true, requeue: false });
    channel.round_trip();
    assert_eq!(drain(&admin, &target), Vec::<String>::new());
    let _: TxCommitOk = channel.call(&TxCommit {});
    assert_eq!(await_bodies(&admin, &target, 2), ["1", "2"]);
}

#[test]
fn a_dead_letter_keeps_its_properties_but_its_expiration() {
    let connection = Connection::open();
    let (channel, publisher) = (connection.channel(), connection.channel());
    let target = queue_with(&channel, &[("x-max-priority", Value::I32(9))]);
    let source = queue_with(&channel, &[&to_queue(&target)[..], &[("x-message-ttl", Value::I32(5))]].concat());
    let headers = table(&[("color", Value::LongStr(b"red")), ("size", Value::I32(7))]);
    let sent = Properties {
        content_type: Some("text/plain"),
        content_encoding: Some("none"),
        headers: Some(headers),
        delivery_mode: Some(2),
        priority: Some(4),
        correlation_id: Some("correlation"),
        reply_to: Some("reply"),
        expiration: Some("60000"),
        message_id: Some("id"),
        timestamp: Some(1_700_000_000),
        kind: Some("type"),
        user_id: Some("guest"),
        app_id: Some("app"),
        cluster_id: None,
    };
    publisher.confirm_select();
    publisher.publish_with("", &source, &sent, b"message");
    await_acks(&publisher, 1);
    await_count(&channel, &target, 1);
    let got = channel.get(&target).unwrap();
    let headers = got.properties.headers.unwrap();
    assert_eq!(headers.get("color"), Some(Value::LongStr(b"red")));
    assert_eq!(headers.get("size"), Some(Value::I32(7)));
    assert_eq!(Properties { headers: sent.headers, ..got.properties }, Properties { expiration: None, ..sent });
}

#[test]
fn persistent_dead_letters_move_between_durable_queues() {
    let connection = Connection::open();
    let (channel, publisher) = (connection.channel(), connection.channel());
    let (source, target) = (unique("source"), unique("target"));
    let durable = QueueDeclare { durable: true, exclusive: false, ..queue_declare(&target) };
    declare(&channel, &durable);
    let arguments = [&to_queue(&target)[..], &[("x-message-ttl", Value::I32(10))]].concat();
    declare(&channel, &QueueDeclare { queue: &source, arguments: table(&arguments), ..durable });
    publisher.confirm_select();
    let properties = Properties { delivery_mode: Some(2), ..Properties::default() };
    let bodies: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    for body in &bodies {
        publisher.publish_with("", &source, &properties, body.as_bytes());
    }
    await_acks(&publisher, 100);
    assert_eq!(await_bodies(&channel, &target, 100), bodies);
    channel.delete_queue(&source);
    channel.delete_queue(&target);
}

#[test]
fn nobody_confirms_a_dead_letter() {
    let connection = Connection::open();
    let (channel, publisher) = (connection.channel(), connection.channel());
    let (source, target) = pair(&channel, &[("x-message-ttl", Value::I32(0))]);
    publisher.confirm_select();
    let publish = BasicPublish { mandatory: true, ..basic_publish("", &source) };
    for _ in 0..50 {
        publisher.send_content(&publish, &Properties::default(), b"message");
    }
    await_acks(&publisher, 50);
    await_count(&channel, &target, 50);
    publisher.expect_nothing();
}

#[test]
fn queues_that_send_each_other_dead_letters_go_on() {
    const MESSAGES: usize = 300;
    let connection = Connection::open();
    let channel = connection.channel();
    let (one, other) = (unique("one"), unique("other"));
    for (queue, next) in [(&one, &other), (&other, &one)] {
        let arguments = table(&to_queue(next));
        declare(&channel, &QueueDeclare { exclusive: false, auto_delete: true, arguments, ..queue_declare(queue) });
    }
    channel.consume(&one);
    channel.consume(&other);
    let publishers: Vec<_> = [&one, &other]
        .map(|queue| {
            let queue = queue.clone();
            std::thread::spawn(move || {
                let channel = Connection::open().channel();
                channel.confirm_select();
                for _ in 0..MESSAGES {
                    channel.publish("", &queue, b"message");
                }
                await_acks(&channel, MESSAGES as u64);
            })
        })
        .into();
    let mut acked = 0;
    while acked < 2 * MESSAGES {
        let delivery = channel.next_delivery();
        let deaths = match delivery.properties.headers.and_then(|headers| headers.get("x-death")) {
            Some(Value::Array(deaths)) => deaths.iter().count(),
            _ => 0,
        };
        // Each dies in both queues.
        if deaths < 2 {
            channel.reject(delivery.delivery_tag);
        } else {
            channel.ack(delivery.delivery_tag);
            acked += 1;
        }
    }
    for publisher in publishers {
        publisher.join().unwrap();
    }
    channel.expect_nothing_from(&one);
    channel.expect_nothing_from(&other);
}
