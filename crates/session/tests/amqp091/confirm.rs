//! A message's whole way, and the confirms of its publisher.

use std::sync::Arc;

use leveret_broker::node::Node;
use leveret_protocol::amqp091::Table;
use leveret_protocol::amqp091::method::{BasicGet, QueueBind, QueueDelete, QueuePurge};

use super::client::{Client, counts, queue_counts};

#[test]
fn a_message_goes_from_publisher_to_consumer_and_is_settled() {
    let node = Arc::new(Node::new());
    let (mut publisher, mut consumer) = (Client::open(&node), Client::open(&node));
    publisher.declare(1, "q");
    publisher.confirm_select(1);
    publisher.quiet_turn();
    consumer.consume(1, "q", false);
    consumer.quiet_turn();
    assert_eq!(counts(&node, "q"), queue_counts(0, 0, 1));
    publisher.publish(1, "q", "hello");
    assert_eq!(publisher.turn(), ["1: ack 1"]);
    assert_eq!(counts(&node, "q"), queue_counts(0, 1, 1));
    assert_eq!(consumer.turn(), ["1: deliver q 1 'hello'"]);
    consumer.ack(1, 1, false);
    assert_eq!(counts(&node, "q"), queue_counts(0, 1, 1));
    consumer.quiet_turn();
    assert_eq!(counts(&node, "q"), queue_counts(0, 0, 1));
    assert_eq!(node.queue("/", "q", publisher.session.id()).unwrap().delivered_count(), 1);
}

#[test]
fn a_turn_is_confirmed_at_once() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    client.declare(1, "q");
    client.confirm_select(1);
    for (publishes, confirms) in [(1, "1: ack 1"), (3, "1: ack to 4"), (1, "1: ack 5"), (100, "1: ack to 105")] {
        for _ in 0..publishes {
            client.publish(1, "q", "");
        }
        assert_eq!(client.turn(), [confirms]);
    }
    assert_eq!(counts(&node, "q"), queue_counts(105, 0, 0));
}

#[test]
fn each_channel_counts_its_own_confirms() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    client.declare(1, "q");
    for channel in [2, 3] {
        client.open_channel(channel);
    }
    client.confirm_select(1);
    client.confirm_select(3);
    assert_eq!(client.turn(), ["2: open-ok", "3: open-ok"]);
    for channel in [1, 2, 3, 3] {
        client.publish(channel, "q", "");
    }
    let mut confirms = client.turn();
    confirms.sort();
    assert_eq!(confirms, ["1: ack 1", "3: ack to 2"]);
    client.publish(1, "q", "");
    assert_eq!(client.turn(), ["1: ack 2"]);
}

#[test]
fn what_is_routed_nowhere_comes_back_before_its_confirm() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    client.confirm_select(1);
    client.publish_to(1, "", "nowhere", b"back", true);
    client.publish_to(1, "", "nowhere", b"dropped", false);
    client.publish_to(1, "amq.fanout", "", b"", true);
    assert_eq!(client.turn(), ["1: return NO_ROUTE 'back'", "1: return NO_ROUTE ''", "1: ack to 3"]);
}

#[test]
fn what_was_published_before_a_fault_is_confirmed_before_the_channel_closes() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    client.declare(1, "q");
    client.confirm_select(1);
    client.publish(1, "q", "a");
    client.publish(1, "q", "b");
    client.publish_to(1, "missing", "q", b"c", false);
    client.publish(1, "q", "ignored");
    let close = "1: close NOT_FOUND - no exchange 'missing' in vhost '/'";
    assert_eq!(client.turn(), ["1: ack to 2", close]);
    assert_eq!(counts(&node, "q"), queue_counts(2, 0, 0));
}

#[test]
fn a_large_body_arrives_whole() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    client.declare(1, "q");
    let body = "0123456789".repeat(5_000);
    client.publish(1, "q", &body);
    client.send(1, &BasicGet { ticket: 0, queue: "q", no_ack: true });
    assert_eq!(client.turn(), [format!("1: get-ok 1 '{body}'")]);
}

#[test]
fn what_follows_a_change_in_the_same_octets_is_routed_by_it() {
    let bind = QueueBind {
        ticket: 0,
        queue: "q",
        exchange: "amq.fanout",
        routing_key: "",
        no_wait: true,
        arguments: Table::default(),
    };
    let delete = QueueDelete { ticket: 0, queue: "q", if_unused: false, if_empty: false, no_wait: true };
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    client.declare(1, "q");
    client.publish_to(1, "amq.fanout", "", b"too early", true);
    client.send(1, &bind);
    client.publish_to(1, "amq.fanout", "", b"in time", true);
    assert_eq!(client.turn(), ["1: return NO_ROUTE 'too early'"]);
    assert_eq!(counts(&node, "q"), queue_counts(1, 0, 0));
    client.publish_to(1, "amq.fanout", "", b"deleted", true);
    client.send(1, &QueuePurge { ticket: 0, queue: "q", no_wait: true });
    client.publish_to(1, "amq.fanout", "", b"deleted", true);
    client.send(1, &delete);
    client.publish_to(1, "amq.fanout", "", b"too late", true);
    assert_eq!(client.turn(), ["1: return NO_ROUTE 'too late'"]);
}

#[test]
fn what_follows_a_fault_in_the_same_octets_is_routed_by_what_is_left() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    client.open_channel(2);
    client.declare_as(1, "q", false, true);
    client.consume(1, "q", true);
    client.publish_to(2, "", "q", b"a", true);
    assert_eq!(client.turn(), ["2: open-ok", "1: deliver q 1 'a'"]);
    // The queue goes with the consumer, which goes with the channel.
    client.publish_to(2, "", "q", b"b", true);
    client.ack(1, 7, false);
    client.publish_to(2, "", "q", b"c", true);
    let close = "1: close PRECONDITION_FAILED - unknown delivery tag 7";
    assert_eq!(client.turn(), [close, "2: return NO_ROUTE 'c'"]);
}
