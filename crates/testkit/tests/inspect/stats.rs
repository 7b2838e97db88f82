//! What is counted of messages, connections and their clients.

use leveret_broker::node::Node;
use leveret_broker::queue::QueueKind;
use leveret_broker::stats::{Counters, DeathCounts, DeathStrategy, Deaths, KindCounts, PublishCounts};
use leveret_protocol::amqp091::method::{
    BasicAck, BasicConsume, BasicGet, BasicNack, BasicReject, QueueDeclare, QueueDeclareOk, TxCommit, TxCommitOk,
    TxRollback, TxRollbackOk, TxSelect, TxSelectOk,
};
use leveret_protocol::amqp091::{Properties, Value};
use leveret_testkit::amqp091::{Channel, Connection, basic_consume, queue_declare, table};
use leveret_testkit::policy::{OwnVhost, own_vhost};

use super::{await_that, connections, in_vhost, node};

const QUORUM: (&str, Value<'static>) = ("x-queue-type", Value::LongStr(b"quorum"));

fn connect(vhost: &OwnVhost) -> (Connection, Channel) {
    let connection = Connection::builder().vhost(vhost.name()).open();
    let channel = connection.channel();
    (connection, channel)
}

fn counters(node: &Node, vhost: &OwnVhost) -> Counters {
    let counters = node.vhost_counters(vhost.name()).unwrap();
    assert_eq!(node.counters_by_vhost()[vhost.name()].publishes, counters.publishes);
    counters
}

/// Closes a connection, and waits until the broker has let go of it.
fn close(node: &'static Node, vhost: &OwnVhost, connection: Connection) {
    connection.close();
    await_that("the connection is gone", || connections(node, &in_vhost(vhost)).is_empty());
}

fn declare_quorum(channel: &Channel, queue: &str, arguments: &[(&str, Value<'_>)]) {
    let arguments = [&[QUORUM], arguments].concat();
    let declare =
        QueueDeclare { durable: true, exclusive: false, arguments: table(&arguments), ..queue_declare(queue) };
    let _: QueueDeclareOk<'_> = channel.call(&declare);
}

fn get(channel: &Channel, queue: &str, no_ack: bool) -> Option<u64> {
    channel.get_with(&BasicGet { ticket: 0, queue, no_ack }).map(|got| got.delivery_tag)
}

#[test]
fn what_is_published_counts_once_and_for_each_of_its_queues() {
    let Some(node) = node() else { return };
    let vhost = own_vhost();
    let (connection, channel) = connect(&vhost);
    channel.declare_exchange("x", "fanout");
    for queue in ["a", "b"] {
        channel.declare_queue(queue);
        channel.bind(queue, "x", "");
    }
    let full = [("x-max-length", Value::I32(0)), ("x-overflow", Value::LongStr(b"reject-publish"))];
    channel.declare_queue_with("full", table(&full));
    assert_eq!(counters(node, &vhost).publishes, PublishCounts::default());
    channel.publish("x", "", b"one");
    channel.publish("", "a", b"two");
    channel.publish("", "nowhere", b"three");
    channel.publish_mandatory("", "nowhere", b"four");
    channel.next_return();
    channel.round_trip();
    let plain = PublishCounts { published: 4, routed: 3, returned: 1, dropped: 1, ..PublishCounts::default() };
    assert_eq!(counters(node, &vhost).publishes, plain);
    channel.confirm_select();
    for (exchange, key) in [("x", ""), ("", "nowhere"), ("", "full")] {
        channel.publish(exchange, key, b"five");
        channel.next_confirm();
    }
    let confirmed = PublishCounts {
        received_confirm: 3,
        // What a queue refuses is not confirmed.
        confirmed: 2,
        published: 7,
        routed: 6,
        returned: 1,
        dropped: 2,
    };
    assert_eq!(counters(node, &vhost).publishes, confirmed);
    close(node, &vhost, connection);
    assert_eq!(counters(node, &vhost).publishes, confirmed);
}

#[test]
fn a_transaction_counts_when_it_is_committed() {
    let Some(node) = node() else { return };
    let vhost = own_vhost();
    let (_connection, channel) = connect(&vhost);
    channel.declare_queue("q");
    channel.publish("", "q", b"before");
    let _: TxSelectOk = channel.call(&TxSelect {});
    channel.ack(get(&channel, "q", false).unwrap());
    channel.publish("", "q", b"one");
    channel.publish("", "nowhere", b"two");
    channel.round_trip();
    let seen = || {
        let Counters { publishes, classic, .. } = counters(node, &vhost);
        (publishes.published, publishes.routed, publishes.dropped, classic.get, classic.ack)
    };
    assert_eq!(seen(), (1, 1, 0, 1, 0));
    let _: TxCommitOk = channel.call(&TxCommit {});
    assert_eq!(seen(), (3, 2, 1, 1, 1));
    channel.publish("", "q", b"three");
    channel.ack(get(&channel, "q", false).unwrap());
    let _: TxRollbackOk = channel.call(&TxRollback {});
    assert_eq!(seen(), (3, 2, 1, 2, 1));
    // All of them came in.
    assert_eq!(counters(node, &vhost).received(), 4);
}

#[test]
fn what_comes_out_of_a_queue_counts_for_its_kind() {
    let Some(node) = node() else { return };
    let vhost = own_vhost();
    let (connection, channel) = connect(&vhost);
    for kind in [QueueKind::Classic, QueueKind::Quorum] {
        match kind {
            QueueKind::Classic => drop(channel.declare_queue("q")),
            QueueKind::Quorum => declare_quorum(&channel, "q", &[]),
        }
        let all = || *counters(node, &vhost).of_kind(kind);
        (0..4).for_each(|_| channel.publish("", "q", b"body"));
        channel.round_trip();
        let first = get(&channel, "q", false).unwrap();
        channel.requeue(first);
        let again = get(&channel, "q", false).unwrap();
        channel.ack(again);
        get(&channel, "q", true).unwrap();
        channel.round_trip();
        let got = KindCounts { get: 2, get_no_ack: 1, redeliver: 1, ack: 1, ..KindCounts::default() };
        assert_eq!(all(), got, "{kind:?}");
        let tag = channel.consume("q");
        let delivered = [(); 2].map(|()| channel.next_delivery().delivery_tag);
        channel.send(&BasicNack { delivery_tag: delivered[0], multiple: false, requeue: true });
        let redelivered = channel.next_delivery().delivery_tag;
        channel.send(&BasicAck { delivery_tag: redelivered, multiple: true });
        channel.cancel(tag);
        let delivered = KindCounts { deliver: 3, redeliver: 2, ack: 3, ..got };
        assert_eq!(all(), delivered, "{kind:?}");
        assert_eq!(get(&channel, "q", false), None);
        channel.consume_with(&BasicConsume { no_ack: true, consumer_tag: "free", ..basic_consume("q") });
        channel.publish("", "q", b"body");
        channel.next_delivery();
        channel.cancel("free");
        let expected = KindCounts { deliver_no_ack: 1, get_empty: 1, ..delivered };
        assert_eq!(all(), expected, "{kind:?}");
        channel.delete_queue("q");
    }
    let before = counters(node, &vhost);
    assert_eq!(before.classic, before.quorum);
    close(node, &vhost, connection);
    let after = counters(node, &vhost);
    assert_eq!((after.classic, after.quorum, after.sizes), (before.classic, before.quorum, before.sizes));
}

#[test]
fn publishers_and_consumers_count_while_they_are_there() {
    let Some(node) = node() else { return };
    let vhost = own_vhost();
    let (connection, one) = connect(&vhost);
    let two = connection.channel();
    let clients = || {
        let Counters { publishers, consumers, .. } = counters(node, &vhost);
        (publishers, consumers)
    };
    one.declare_queue("q");
    assert_eq!(clients(), (0, 0));
    one.publish("", "q", b"");
    one.publish("", "q", b"");
    two.publish("", "nowhere", b"");
    two.round_trip();
    assert_eq!(clients(), (2, 0));
    let tag = one.consume("q");
    one.consume("q");
    two.consume("q");
    // Direct replies come out of no queue.
    two.consume_with(&BasicConsume { no_ack: true, ..basic_consume("amq.rabbitmq.reply-to") });
    assert_eq!(clients(), (2, 3));
    one.cancel(tag);
    assert_eq!(clients(), (2, 2));
    two.close();
    assert_eq!(clients(), (1, 1));
    one.delete_queue("q");
    await_that("the consumer of a queue that is gone is none", || clients() == (1, 0));
    close(node, &vhost, connection);
    assert_eq!(clients(), (0, 0));
}

#[test]
fn bodies_count_by_their_size() {
    let Some(node) = node() else { return };
    let vhost = own_vhost();
    let (_connection, channel) = connect(&vhost);
    for size in [0, 100, 101, 1_000, 20_000, 300_000] {
        channel.publish("", "nowhere", &vec![0; size]);
    }
    channel.round_trip();
    let sizes = counters(node, &vhost).sizes;
    assert_eq!((sizes.parts, sizes.octets), ([2, 2, 0, 1, 1, 0, 0, 0, 0], 321_201));
}

#[test]
fn octets_count_as_they_go_over_the_socket() {
    let Some(node) = node() else { return };
    let vhost = own_vhost();
    let (connection, channel) = connect(&vhost);
    channel.declare_queue("q");
    let before = counters(node, &vhost).traffic;
    let octets = vec![0; 100_000];
    channel.publish("", "q", &octets);
    get(&channel, "q", true).unwrap();
    // The client may have what is written before that is counted.
    await_that("what was sent is counted", || counters(node, &vhost).traffic.sent >= before.sent + 100_000);
    let after = counters(node, &vhost).traffic;
    for (what, count) in [("received", after.received - before.received), ("sent", after.sent - before.sent)] {
        assert!((100_000..101_000).contains(&count), "{what}: {count}");
    }
    assert!(after.reads > before.reads && after.writes > before.writes, "{after:?}");
    close(node, &vhost, connection);
    let gone = counters(node, &vhost).traffic;
    assert_eq!(gone.pending, 0);
    assert!(gone.received > after.received && gone.sent >= after.sent, "{gone:?}");
}

/// No other test here lets messages die.
#[test]
fn the_dead_count_by_what_they_died_of_and_what_became_of_them() {
    let Some(node) = node() else { return };
    let vhost = own_vhost();
    let (_connection, channel) = connect(&vhost);
    channel.declare_queue("grave");
    let grave =
        [("x-dead-letter-exchange", Value::LongStr(b"")), ("x-dead-letter-routing-key", Value::LongStr(b"grave"))];
    let safe = [
        ("x-dead-letter-strategy", Value::LongStr(b"at-least-once")),
        ("x-overflow", Value::LongStr(b"reject-publish")),
    ];
    let limited = [("x-max-length", Value::I32(1))];
    channel.declare_queue_with("classic", table(&limited));
    channel.declare_queue_with("classic-dead", table(&[&grave[..], &limited].concat()));
    declare_quorum(&channel, "quorum-dead", &[&grave[..], &[("x-delivery-limit", Value::I32(0))]].concat());
    declare_quorum(&channel, "quorum-safe", &[&grave[..], &safe].concat());
    let empty = node.death_counts();
    let soon = Properties { expiration: Some("0"), ..Properties::default() };
    for queue in ["classic", "classic-dead"] {
        (0..3).for_each(|_| channel.publish("", queue, b""));
        channel.reject(get(&channel, queue, false).unwrap());
        channel.publish_with("", queue, &soon, b"");
    }
    channel.publish("", "quorum-dead", b"");
    let first = get(&channel, "quorum-dead", false).unwrap();
    channel.send(&BasicReject { delivery_tag: first, requeue: true });
    channel.publish("", "quorum-safe", b"");
    channel.reject(get(&channel, "quorum-safe", false).unwrap());
    channel.round_trip();
    await_that("all dead are in their grave", || channel.message_count("grave") == 6);
    let since = |kind, strategy| {
        let (now, then) = (node.death_counts().of(kind, strategy), empty.of(kind, strategy));
        Deaths {
            expired: now.expired - then.expired,
            rejected: now.rejected - then.rejected,
            max_len: now.max_len - then.max_len,
            delivery_limit: now.delivery_limit - then.delivery_limit,
        }
    };
    let nothing = Deaths::default();
    for (kind, strategy, expected) in [
        (QueueKind::Classic, DeathStrategy::Disabled, Deaths { expired: 1, rejected: 1, max_len: 2, ..nothing }),
        (QueueKind::Classic, DeathStrategy::AtMostOnce, Deaths { expired: 1, rejected: 1, max_len: 2, ..nothing }),
        (QueueKind::Quorum, DeathStrategy::Disabled, nothing),
        (QueueKind::Quorum, DeathStrategy::AtMostOnce, Deaths { delivery_limit: 1, ..nothing }),
        (QueueKind::Quorum, DeathStrategy::AtLeastOnce, Deaths { rejected: 1, ..nothing }),
    ] {
        assert_eq!(since(kind, strategy), expected, "{kind:?} {strategy:?}");
    }
    let confirmed = |counts: &DeathCounts| counts.confirmed;
    await_that("the grave has what left", || confirmed(&node.death_counts()) == confirmed(&empty) + 1);
}
