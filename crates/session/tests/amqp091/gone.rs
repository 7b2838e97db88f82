//! A connection that dies, in whatever way, loses nothing it held unsettled.

use std::sync::Arc;

use leveret_broker::mailbox::CloseReason;
use leveret_broker::node::Node;
use leveret_broker::topology::ConnectionId;
use leveret_protocol::amqp091::method::{BasicGet, ConnectionClose, TxSelect};

use super::client::{Client, counts, drain, queue_counts};

/// A name, and what kills the connection.
type Death = (&'static str, fn(Client));

/// Ways for a connection to die.
fn deaths() -> [Death; 6] {
    [
        ("drop", drop),
        ("terminate", |mut client| {
            client.session.terminate();
            client.session.terminate();
        }),
        ("close", |mut client| {
            client.send(0, &ConnectionClose { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 });
            assert_eq!(client.turn().last().map(String::as_str), Some("0: close-ok"));
        }),
        ("fault", |mut client| {
            client.to_server.extend_from_slice(b"\x01\0\0\xff\xff\xff\xff");
            assert!(client.turn().last().unwrap().starts_with("0: close FRAME_ERROR"));
        }),
        ("silence", |mut client| {
            while client.session.ending().is_none() {
                client.session.tick(false, true, &mut Vec::new());
            }
        }),
        ("node closes", |mut client| {
            client.node().close_connections(&CloseReason::Shutdown);
            let close = "0: close CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
            assert_eq!(client.turn().last().map(String::as_str), Some(close));
        }),
    ]
}

#[test]
fn what_a_dead_connection_held_goes_back() {
    for (how, die) in deaths() {
        let node = Arc::new(Node::new());
        let mut client = Client::open(&node);
        client.declare(1, "q");
        client.open_channel(2);
        for body in ["a", "b", "c", "d", "e", "f", "g"] {
            client.publish(1, "q", body);
        }
        // Two delivered, one of them settled in a transaction that never ends, one got.
        client.send(2, &TxSelect {});
        client.qos(2, 2, false);
        client.consume(2, "q", false);
        assert_eq!(client.turn().len(), 5);
        client.ack(2, 1, false);
        client.send(1, &BasicGet { ticket: 0, queue: "q", no_ack: false });
        assert_eq!(client.turn(), ["1: get-ok 1 'c'"]);
        client.publish(2, "q", "held");
        assert_eq!(counts(&node, "q"), queue_counts(4, 3, 1));
        die(client);
        assert_eq!(counts(&node, "q"), queue_counts(7, 0, 0), "{how}");
        assert_eq!(drain(&node, "q"), ["a*", "b*", "c*", "d", "e", "f", "g"], "{how}");
        assert_eq!(node.connection_count(), 0, "{how}");
    }
}

#[test]
fn what_waited_in_a_dead_connections_mailbox_goes_back() {
    for no_ack in [false, true] {
        let node = Arc::new(Node::new());
        let mut client = Client::open(&node);
        client.declare(1, "q");
        client.open_channel(2);
        client.consume(1, "q", no_ack);
        client.consume_as(2, "q", "two", no_ack);
        assert_eq!(client.turn(), ["2: open-ok"]);
        let mut publisher = Client::open(&node);
        for body in ["a", "b", "c", "d"] {
            publisher.publish(1, "q", body);
        }
        publisher.quiet_turn();
        assert_eq!(counts(&node, "q").ready, 0);
        drop(client);
        assert_eq!(counts(&node, "q"), queue_counts(4, 0, 0), "no_ack: {no_ack}");
        assert_eq!(drain(&node, "q"), ["a*", "b*", "c*", "d*"]);
    }
}

#[test]
fn what_was_published_before_the_end_of_a_connection_is_kept() {
    for (how, die) in deaths() {
        let node = Arc::new(Node::new());
        let mut client = Client::open(&node);
        client.declare(1, "q");
        client.publish(1, "q", "a");
        let used = client.session.receive(&client.to_server, &mut client.to_client);
        client.to_server.drain(..used);
        die(client);
        assert_eq!(drain(&node, "q"), ["a"], "{how}");
    }
}

#[test]
fn queues_that_belong_to_a_dead_connection_go() {
    for (how, die) in deaths() {
        let node = Arc::new(Node::new());
        let (mut client, mut other) = (Client::open(&node), Client::open(&node));
        client.declare_as(1, "exclusive", true, false);
        client.declare_as(1, "used", false, true);
        client.declare_as(1, "shared", false, true);
        client.consume(1, "used", false);
        client.consume(1, "shared", false);
        client.quiet_turn();
        other.consume(1, "shared", false);
        other.quiet_turn();
        if how == "node closes" {
            other.session.terminate();
            continue;
        }
        die(client);
        let exists = ["exclusive", "used", "shared"].map(|queue| node.queue("/", queue, ConnectionId(0)).is_ok());
        assert_eq!(exists, [false, false, true], "{how}");
    }
}
