//! Publishers are asked to pause while consumers lag behind, and told when to go on.

use std::sync::Arc;

use leveret_broker::node::Node;
use leveret_broker::queue::QueueCell;
use leveret_session::amqp091::Pause;

use super::client::{Client, counts};

/// Octets of a body; twenty of them are more than a queue with consumers lets wait.
const LARGE: usize = 64 * 1024;

/// What a publisher is asked to pause for: a queue's consumers, and how many messages they had by then.
fn pause(publisher: &mut Client) -> (Arc<QueueCell>, u64) {
    let Pause { cell, delivered } = publisher.session.take_pause().unwrap();
    (cell, delivered)
}

/// A publisher, and a consumer that takes one message at a time.
fn pair(node: &Arc<Node>) -> (Client, Client) {
    let (mut publisher, mut consumer) = (Client::open(node), Client::open(node));
    consumer.declare(1, "q");
    consumer.qos(1, 1, false);
    consumer.consume(1, "q", false);
    assert_eq!(consumer.turn(), ["1: BasicQosOk"]);
    publisher.confirm_select(1);
    publisher.quiet_turn();
    (publisher, consumer)
}

fn publish(publisher: &mut Client, count: usize) {
    let body = "x".repeat(LARGE);
    for _ in 0..count {
        publisher.publish(1, "q", &body);
    }
    assert_eq!(publisher.turn().len(), 1, "what was taken is confirmed, pause or not");
}

#[test]
fn a_publisher_pauses_until_the_queue_is_drained() {
    let node = Arc::new(Node::new());
    let (mut publisher, mut consumer) = pair(&node);
    publish(&mut publisher, 10);
    assert!(publisher.session.take_pause().is_none());
    publish(&mut publisher, 10);
    let (cell, delivered) = pause(&mut publisher);
    assert!(Arc::ptr_eq(&cell, &publisher.cell("q")));
    assert_eq!(delivered, 1);
    assert!(publisher.session.take_pause().is_none(), "it is asked for once");
    let mut tag = 0;
    while counts(&node, "q").ready >= 4 {
        publisher.quiet_turn();
        assert!(!publisher.session.take_resumed());
        tag += 1;
        consumer.ack(1, tag, false);
        assert_eq!(consumer.turn().len(), if tag == 1 { 2 } else { 1 });
    }
    publisher.quiet_turn();
    assert!(publisher.session.take_resumed());
    assert!(!publisher.session.take_resumed(), "it is told once");
    assert!(publisher.session.take_pause().is_none());
}

#[test]
fn a_pause_ends_when_the_last_consumer_goes() {
    let node = Arc::new(Node::new());
    let (mut publisher, consumer) = pair(&node);
    publish(&mut publisher, 20);
    assert!(publisher.session.take_pause().is_some());
    drop(consumer);
    publisher.quiet_turn();
    assert!(publisher.session.take_resumed());
    // Without consumers a backlog is what the queue is for.
    publish(&mut publisher, 20);
    assert!(publisher.session.take_pause().is_none());
}

#[test]
fn a_pause_that_led_to_nothing_is_not_asked_for_again() {
    let node = Arc::new(Node::new());
    let (mut publisher, _consumer) = pair(&node);
    publish(&mut publisher, 20);
    let (cell, delivered) = pause(&mut publisher);
    cell.pause_timed_out(delivered);
    publish(&mut publisher, 20);
    assert!(publisher.session.take_pause().is_none());
}
