//! Messages that a full queue refuses, and what their publisher is told.

use std::sync::Arc;

use leveret_broker::node::Node;
use leveret_broker::topology::{ApplyTo, Change, Policy, PolicyKind};
use leveret_broker::value;
use leveret_protocol::amqp091::method::{BasicGet, QueueBind, TxCommit, TxSelect};
use leveret_protocol::amqp091::{Table, Value};

use super::client::{Client, counts};

/// A client on channels 1 and 2, with queues that take one and three messages and one that takes all.
fn start() -> (Arc<Node>, Client) {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    for (queue, max) in [("one", 1), ("three", 3)] {
        let arguments = [("x-max-length", Value::I32(max)), ("x-overflow", Value::LongStr(b"reject-publish"))];
        client.declare_with(1, queue, &arguments);
    }
    client.declare(1, "all");
    client.open_channel(2);
    assert_eq!(client.turn(), ["2: open-ok"]);
    (node, client)
}

fn bind(client: &mut Client, queue: &str) {
    let (ticket, exchange, routing_key, no_wait, arguments) = (0, "amq.fanout", "", true, Table::default());
    client.send(1, &QueueBind { ticket, queue, exchange, routing_key, no_wait, arguments });
}

#[test]
fn exactly_what_is_refused_is_nacked() {
    for (queues, expected) in [
        (&["one", "one"][..], &["1: nack 2", "1: ack 1"][..]),
        (&["three"; 5], &["1: nack 4", "1: nack 5", "1: ack to 3"]),
        (&["one", "three", "one", "all"], &["1: nack 3", "1: ack to 4"]),
        (&["one", "one", "one"], &["1: nack 2", "1: nack 3", "1: ack 1"]),
        (&["all", "all"], &["1: ack to 2"]),
    ] {
        let (_node, mut client) = start();
        client.confirm_select(1);
        for queue in queues {
            client.publish(1, queue, "m");
        }
        assert_eq!(client.turn(), expected, "{queues:?}");
    }
}

#[test]
fn numbers_go_on_after_refusals() {
    let (node, mut client) = start();
    client.confirm_select(1);
    for (queue, expected) in
        [("one", "1: ack 1"), ("one", "1: nack 2"), ("all", "1: ack 3"), ("one", "1: nack 4"), ("three", "1: ack 5")]
    {
        client.publish(1, queue, "m");
        assert_eq!(client.turn(), [expected], "{queue}");
    }
    client.send(2, &BasicGet { ticket: 0, queue: "one", no_ack: true });
    assert_eq!(client.turn(), ["2: get-ok 1 'm'"]);
    client.publish(1, "one", "m");
    assert_eq!(client.turn(), ["1: ack 6"]);
    assert_eq!(counts(&node, "one").ready, 1);
}

#[test]
fn each_channel_is_told_of_its_own() {
    let (_node, mut client) = start();
    client.confirm_select(1);
    client.confirm_select(2);
    for (channel, queue) in [(1, "one"), (2, "one"), (2, "all"), (1, "all"), (2, "one")] {
        client.publish(channel, queue, "m");
    }
    let mut told = client.turn();
    told.sort();
    assert_eq!(told, ["1: ack to 2", "2: ack to 2", "2: nack 1", "2: nack 3"]);
}

#[test]
fn one_queue_that_refuses_is_enough() {
    let (node, mut client) = start();
    for queue in ["one", "three", "all"] {
        bind(&mut client, queue);
    }
    client.confirm_select(1);
    for _ in 0..5 {
        client.publish_to(1, "amq.fanout", "", b"m", true);
    }
    // Told once, however many queues refused it.
    assert_eq!(client.turn(), ["1: nack 2", "1: nack 3", "1: nack 4", "1: nack 5", "1: ack 1"]);
    let ready = ["one", "three", "all"].map(|queue| counts(&node, queue).ready);
    assert_eq!(ready, [1, 3, 5]);
}

#[test]
fn what_is_refused_does_not_come_back_even_if_it_is_mandatory() {
    let (_node, mut client) = start();
    client.confirm_select(1);
    client.publish_to(1, "", "one", b"m", true);
    client.publish_to(1, "", "one", b"m", true);
    client.publish_to(1, "", "nowhere", b"m", true);
    assert_eq!(client.turn(), ["1: return NO_ROUTE 'm'", "1: nack 2", "1: ack to 3"]);
}

#[test]
fn without_confirms_nobody_is_told() {
    let (node, mut client) = start();
    for _ in 0..3 {
        client.publish(1, "one", "m");
    }
    client.quiet_turn();
    assert_eq!(counts(&node, "one").ready, 1);
}

#[test]
fn a_transaction_of_which_something_is_refused_closes_the_channel() {
    let (node, mut client) = start();
    client.send(1, &TxSelect {});
    for queue in ["one", "three"] {
        client.publish(1, queue, "m");
    }
    client.send(1, &TxCommit {});
    assert_eq!(client.turn(), ["1: TxSelectOk", "1: TxCommitOk"]);
    // A refusal on another channel is none of this one's.
    client.publish(2, "one", "m");
    client.publish(1, "three", "m");
    client.send(1, &TxCommit {});
    assert_eq!(client.turn(), ["1: TxCommitOk"]);
    for queue in ["one", "three", "all"] {
        client.publish(1, queue, "m");
    }
    client.send(1, &TxCommit {});
    assert_eq!(client.turn(), ["1: close PRECONDITION_FAILED - partial tx completion"]);
    let ready = ["one", "three", "all"].map(|queue| counts(&node, queue).ready);
    assert_eq!(ready, [1, 3, 1], "what was not refused stays");
}

#[test]
fn what_came_before_its_queue_began_to_refuse_is_taken() {
    let (node, mut client) = start();
    client.confirm_select(1);
    client.publish(1, "all", "m");
    assert_eq!(client.turn(), ["1: ack 1"]);
    for _ in 0..3 {
        client.publish(1, "all", "m");
    }
    let used = client.session.receive(&client.to_server, &mut client.to_client);
    client.to_server.drain(..used);
    let limits = [("max-length", value::Value::I64(2)), ("overflow", value::Value::text("reject-publish"))];
    let definition = limits.into_iter().map(|(key, value)| (key.into(), value)).collect();
    let (name, pattern, apply_to, priority) = ("p".into(), "^all$".into(), ApplyTo::All, 0);
    let policy = Policy { name, pattern, apply_to, priority, definition };
    node.apply(Change::SetPolicy { vhost: "/".into(), kind: PolicyKind::User, policy }).unwrap();
    client.session.end_turn(&mut client.to_client);
    // Its publisher could not be told of a refusal, and would take it for a confirm.
    assert_eq!((client.read(), counts(&node, "all").ready), (vec!["1: ack to 4".to_owned()], 4));
    client.publish(1, "all", "m");
    assert_eq!((client.turn(), counts(&node, "all").ready), (vec!["1: nack 5".to_owned()], 4));
}
