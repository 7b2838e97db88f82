//! What is counted of messages, connections and queues, each as RabbitMQ 3.10 counts it.

use std::sync::Arc;

use leveret_broker::node::Node;
use leveret_broker::properties::DeathReason;
use leveret_broker::queue::QueueKind;
use leveret_broker::stats::{DeathStrategy, Deaths, MessageStats};
use leveret_broker::topology::ConnectionId;
use leveret_protocol::amqp091::Table;
use leveret_protocol::amqp091::Value;
use leveret_protocol::amqp091::method::{
    BasicCancel, BasicGet, BasicNack, BasicReject, ChannelClose, ExchangeBind, ExchangeDeclare, QueueBind, TxCommit,
    TxRollback, TxSelect,
};

use super::client::{Client, drain};

const NONE: MessageStats = MessageStats {
    publish: 0,
    publish_in: 0,
    publish_out: 0,
    confirm: 0,
    return_unroutable: 0,
    drop_unroutable: 0,
    deliver: 0,
    deliver_no_ack: 0,
    get: 0,
    get_no_ack: 0,
    get_empty: 0,
    redeliver: 0,
    ack: 0,
};

fn queue(node: &Node, name: &str) -> MessageStats {
    node.queue("/", name, ConnectionId(0)).unwrap().report().stats
}

fn exchange(node: &Node, name: &str) -> (u64, u64) {
    let stats = node.read(|topology| topology.vhost("/").unwrap().exchange(name).unwrap().stats());
    (stats.publish_in, stats.publish_out)
}

fn connection(client: &Client) -> MessageStats {
    client.session.counters().read().messages()
}

fn fanout(client: &mut Client, exchange: &str) {
    let (ticket, passive, durable, auto_delete, internal, no_wait) = (0, false, false, false, false, true);
    let arguments = Table::default();
    client.send(
        1,
        &ExchangeDeclare {
            ticket,
            exchange,
            kind: "fanout",
            passive,
            durable,
            auto_delete,
            internal,
            no_wait,
            arguments,
        },
    );
}

fn bind(client: &mut Client, exchange: &str, queue: &str) {
    let arguments = Table::default();
    client.send(1, &QueueBind { ticket: 0, queue, exchange, routing_key: "", no_wait: true, arguments });
}

fn get(client: &mut Client, queue: &str, no_ack: bool) {
    client.send(1, &BasicGet { ticket: 0, queue, no_ack });
}

#[test]
fn an_exchange_counts_what_clients_published_to_it_once_for_each_queue() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    fanout(&mut client, "first");
    fanout(&mut client, "second");
    let (source, destination, arguments) = ("first", "second", Table::default());
    client.send(1, &ExchangeBind { ticket: 0, destination, source, routing_key: "", no_wait: true, arguments });
    for name in ["a", "b", "c"] {
        client.declare(1, name);
    }
    bind(&mut client, "second", "a");
    bind(&mut client, "second", "b");
    bind(&mut client, "first", "a");
    bind(&mut client, "first", "c");
    client.publish_to(1, "first", "", b"1", false);
    client.publish_to(1, "first", "", b"2", false);
    client.publish(1, "a", "3");
    client.publish(1, "nowhere", "4");
    client.publish_to(1, "first", "", b"5", false);
    client.quiet_turn();
    // The exchange behind it is not asked by name, so it counts nothing.
    let counts = ["first", "second", ""].map(|name| exchange(&node, name));
    assert_eq!(counts, [(3, 9), (0, 0), (2, 1)]);
    assert_eq!(["a", "b", "c"].map(|name| queue(&node, name).publish), [4, 3, 3]);
    assert_eq!(connection(&client), MessageStats { publish: 5, drop_unroutable: 1, ..NONE });
    let counters = client.session.counters().read();
    assert_eq!((counters.publishes.routed, counters.received(), counters.sizes.octets), (10, 5, 5));
    // Keys that are not kept count as well.
    for number in 0..10_000 {
        client.publish(1, &format!("nowhere {number}"), "");
    }
    client.quiet_turn();
    assert_eq!(exchange(&node, ""), (10_002, 1));
}

#[test]
fn confirms_count_but_for_what_is_refused() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    client.declare_with(
        1,
        "full",
        &[("x-max-length", Value::I32(1)), ("x-overflow", Value::LongStr(b"reject-publish"))],
    );
    client.confirm_select(1);
    client.publish(1, "full", "1");
    client.publish(1, "full", "2");
    client.publish(1, "nowhere", "3");
    client.publish_to(1, "", "nowhere", b"4", true);
    assert_eq!(client.turn(), ["1: return NO_ROUTE '4'", "1: nack 2", "1: ack to 4"]);
    let expected = MessageStats { publish: 4, confirm: 3, return_unroutable: 1, drop_unroutable: 1, ..NONE };
    assert_eq!(connection(&client), expected);
    assert_eq!(client.session.counters().publishes.received_confirm.get(), 4);
    assert_eq!(queue(&node, "full").publish, 2, "what is refused counts as well");
}

#[test]
fn deliveries_count_by_whether_they_are_to_be_settled() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    client.declare(1, "q");
    for body in ["a", "b", "c", "d", "e"] {
        client.publish(1, "q", body);
    }
    client.qos(1, 2, false);
    client.consume(1, "q", false);
    client.turn();
    client.ack(1, 1, false);
    client.send(1, &BasicReject { delivery_tag: 2, requeue: true });
    client.turn();
    client.send(1, &BasicNack { delivery_tag: 0, multiple: true, requeue: false });
    client.turn();
    let expected = MessageStats { deliver: 5, redeliver: 1, ack: 1, ..NONE };
    let of_queue = queue(&node, "q");
    assert_eq!(MessageStats { publish: 0, deliver: 5, ..of_queue }, MessageStats { deliver: 5, ..expected });
    assert_eq!(of_queue.deliver, connection(&client).deliver);
    client.send(1, &BasicCancel { consumer_tag: "q", no_wait: true });
    client.ack(1, 0, true);
    client.quiet_turn();
    let acked = queue(&node, "q").ack;
    assert_eq!(
        (acked, connection(&client).ack),
        (of_queue.deliver - 3, of_queue.deliver - 3),
        "rejected ones do not count"
    );
    let deaths = node.death_counts().of(QueueKind::Classic, DeathStrategy::Disabled);
    assert_eq!(deaths, Deaths { rejected: 2, ..Deaths::default() });
    client.consume(1, "q", true);
    client.publish(1, "q", "f");
    client.turn();
    assert_eq!(connection(&client).deliver_no_ack, 1);
    assert_eq!(queue(&node, "q").deliver_no_ack, 1);
}

#[test]
fn gets_count_by_what_they_came_to() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    client.declare(1, "q");
    for body in ["a", "b"] {
        client.publish(1, "q", body);
    }
    get(&mut client, "q", false);
    client.turn();
    client.send(1, &BasicReject { delivery_tag: 1, requeue: true });
    get(&mut client, "q", true);
    get(&mut client, "q", false);
    get(&mut client, "q", true);
    assert_eq!(client.turn(), ["1: get-ok 2* 'a'", "1: get-ok 3 'b'", "1: BasicGetEmpty"]);
    client.ack(1, 3, false);
    client.quiet_turn();
    let expected = MessageStats { publish: 2, get: 2, get_no_ack: 1, get_empty: 1, redeliver: 1, ack: 1, ..NONE };
    assert_eq!((queue(&node, "q"), connection(&client)), (expected, expected));
    assert_eq!(expected.deliver_get(), 3);
}

#[test]
fn transactions_count_when_they_are_committed() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    client.declare(1, "q");
    client.publish(1, "q", "a");
    client.send(1, &TxSelect {});
    get(&mut client, "q", false);
    client.publish(1, "q", "b");
    client.ack(1, 1, false);
    client.turn();
    assert_eq!(connection(&client), MessageStats { publish: 1, get: 1, ..NONE });
    client.send(1, &TxCommit {});
    client.publish(1, "q", "c");
    client.send(1, &TxRollback {});
    client.turn();
    assert_eq!(connection(&client), MessageStats { publish: 2, get: 1, ack: 1, ..NONE });
    assert_eq!((exchange(&node, ""), client.session.counters().read().received()), ((2, 2), 3));
}

#[test]
fn what_dies_counts_by_its_reason_and_what_becomes_of_it() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    client.declare(1, "dead");
    let letters =
        [("x-dead-letter-exchange", Value::LongStr(b"")), ("x-dead-letter-routing-key", Value::LongStr(b"dead"))];
    client.declare_with(1, "kept", &[&letters[..], &[("x-max-length", Value::I32(1))]].concat());
    client.declare_with(1, "gone", &[("x-max-length", Value::I32(1))]);
    for (name, count) in [("kept", 3), ("gone", 4)] {
        (0..count).for_each(|_| client.publish(1, name, "x"));
    }
    client.quiet_turn();
    get(&mut client, "kept", false);
    client.turn();
    client.send(1, &BasicReject { delivery_tag: 1, requeue: false });
    client.quiet_turn();
    let counts = node.death_counts();
    let of = |strategy| counts.of(QueueKind::Classic, strategy);
    let mut kept = Deaths::default();
    kept.add(DeathReason::MaxLen, 2);
    kept.add(DeathReason::Rejected, 1);
    assert_eq!((of(DeathStrategy::AtMostOnce), of(DeathStrategy::Disabled).max_len), (kept, 3));
    assert_eq!((drain(&node, "dead").len(), queue(&node, "dead").publish), (3, 0), "no client published these");
}

#[test]
fn who_publishes_and_who_consumes_is_counted_while_they_do() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    let gauges = |node: &Node| (node.counters().publishers, node.counters().consumers);
    client.declare(1, "q");
    client.open_channel(2);
    client.publish(1, "q", "a");
    client.publish(2, "q", "b");
    client.consume_as(1, "q", "one", true);
    client.consume_as(2, "q", "two", true);
    client.consume_as(1, "amq.rabbitmq.reply-to", "replies", true);
    client.turn();
    assert_eq!(gauges(&node), (2, 2), "nobody consumes replies from a queue");
    client.send(1, &BasicCancel { consumer_tag: "one", no_wait: true });
    client.turn();
    assert_eq!(gauges(&node), (2, 1));
    client.send(2, &ChannelClose { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 });
    client.turn();
    assert_eq!(gauges(&node), (1, 0));
    drop(client);
    assert_eq!(gauges(&node), (0, 0));
}

#[test]
fn what_connections_counted_outlives_them() {
    let node = Arc::new(Node::new());
    let (mut one, mut other) = (Client::open(&node), Client::open(&node));
    one.declare(1, "q");
    one.publish(1, "q", "a");
    one.quiet_turn();
    get(&mut other, "q", true);
    other.turn();
    one.session.counters().traffic.received.add(100);
    let expected = MessageStats { publish: 1, get_no_ack: 1, ..NONE };
    let sums = |node: &Node| {
        let by_vhost = node.counters_by_vhost();
        let all = [node.counters(), node.vhost_counters("/").unwrap(), by_vhost["/"]];
        all.map(|counters| (counters.messages(), counters.traffic.received))
    };
    assert_eq!(sums(&node), [(expected, 100); 3]);
    drop(one);
    assert_eq!(sums(&node), [(expected, 100); 3]);
    drop(other);
    assert_eq!(sums(&node), [(expected, 100); 3]);
    let churn = node.churn();
    assert_eq!((churn.connections_opened, churn.connections_closed), (2, 2));
    assert_eq!((churn.channels_opened, churn.channels_closed), (2, 2));
    assert_eq!((churn.queues_declared, churn.queues_created, churn.queues_deleted), (1, 1, 0));
    assert!(node.vhost_counters("nowhere").is_err());
}

#[test]
fn octets_are_known_of_what_waits_and_of_what_was_handed_out() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    client.declare(1, "q");
    for body in ["1", "22", "333", "4444", "55555"] {
        client.publish(1, "q", body);
    }
    let octets = |client: &Client| {
        let octets = client.cell("q").report().octets;
        (octets.ready.unwrap(), octets.unsettled)
    };
    client.quiet_turn();
    assert_eq!(octets(&client), (15, 0));
    client.qos(1, 3, false);
    client.consume(1, "q", false);
    client.turn();
    assert_eq!(octets(&client), (9, 6));
    client.ack(1, 2, false);
    client.turn();
    assert_eq!(octets(&client), (5, 8));
    client.send(1, &BasicReject { delivery_tag: 3, requeue: false });
    client.turn();
    assert_eq!(octets(&client), (0, 10));
    client.send(1, &BasicCancel { consumer_tag: "q", no_wait: true });
    client.send(1, &BasicNack { delivery_tag: 0, multiple: true, requeue: true });
    client.turn();
    assert_eq!(octets(&client), (10, 0));
    get(&mut client, "q", false);
    client.turn();
    assert_eq!(octets(&client), (9, 1));
    client.ack(1, 0, true);
    client.consume(1, "q", true);
    client.turn();
    assert_eq!(octets(&client), (0, 0));
}
