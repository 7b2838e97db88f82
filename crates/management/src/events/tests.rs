//! Events as headers and lines, and the bound of those that wait.

use std::sync::Arc;

use leveret_broker::clock::Timestamp;
use leveret_broker::events::Facts;
use leveret_broker::node::Node;
use leveret_broker::topology::ConnectionId;

use super::*;

fn event() -> Event {
    let arguments = [("a".into(), Value::I32(1))].into_iter().collect();
    let facts = Facts::new().text("name", "q").flag("durable", true).arguments("arguments", &arguments);
    let facts = facts.with("owner_pid", Fact::Connection(ConnectionId(7)));
    let facts = facts.with("pid", Fact::Channel(ConnectionId(7), 3)).number("number", 3);
    Event { name: "queue.created", time: Timestamp(1234), facts }
}

#[test]
fn an_event_is_a_line_of_json_in_its_order() {
    let pids = Pids::new("n@h".into(), 5);
    let expected = r#"{"event":"queue.created","name":"q","durable":true,"arguments":["{<<\"a\">>,signedint,1}"],"owner_pid":"<n@h.5.7.0>","pid":"<n@h.5.7.3>","number":3,"timestamp_in_ms":1234}"#;
    assert_eq!(line(&event(), &pids), expected);
}

#[test]
fn events_that_wait_have_a_bound_and_those_beyond_are_counted() {
    let node = Node::new();
    let feed = Feed::new(&node);
    for number in 0..10_000 {
        node.tell("queue.created", || Facts::new().number("number", number));
    }
    assert_eq!(feed.waiting().count(), 8192);
    assert_eq!((feed.take_lost(), feed.take_lost()), (10_000 - 8192, 0));
    feed.end(&node);
    assert!(!node.events().is_heard());
}

#[test]
fn what_happens_is_published_until_the_exchange_is_stopped() {
    let node = Arc::new(Node::new());
    let pids = Arc::new(Pids::new("n@h".into(), 5));
    let missing = EventExchange::start(&node, &pids, "none").map(|_| ()).unwrap_err().to_string();
    assert!(missing.contains("event_exchange.vhost"), "{missing}");
    let exchange = EventExchange::start(&node, &pids, "/").unwrap();
    let is_there = node.read(|topology| topology.vhost("/").and_then(|vhost| vhost.exchange(EXCHANGE)).is_ok());
    assert!(is_there && node.events().is_heard());
    node.tell("queue.created", Facts::new);
    drop(exchange);
    assert!(!node.events().is_heard());
}
