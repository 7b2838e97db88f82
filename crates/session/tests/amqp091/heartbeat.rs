//! Signs of life, in both directions.

use std::sync::Arc;
use std::time::Duration;

use leveret_broker::node::Node;
use leveret_session::amqp091::Ending;

use super::client::Client;

#[test]
fn a_tick_is_due_twice_per_interval() {
    let node = Arc::new(Node::new());
    for (heartbeat, interval) in [(0, None), (1, Some(500)), (10, Some(5_000)), (u16::MAX, Some(32_767_500))] {
        let client = Client::open_with(&node, heartbeat);
        assert_eq!(client.session.tick_interval(), interval.map(Duration::from_millis), "{heartbeat} s");
    }
    assert_eq!(Client::connect(&node).session.tick_interval(), None);
}

#[test]
fn a_heartbeat_is_sent_when_nothing_else_was() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    for (sent, lines) in [(true, vec![]), (false, vec!["heartbeat"]), (false, vec!["heartbeat"])] {
        client.session.tick(true, sent, &mut client.to_client);
        assert_eq!(client.read(), lines);
    }
}

#[test]
fn a_client_is_gone_after_five_silent_ticks_in_a_row() {
    let node = Arc::new(Node::new());
    for (ticks, gone) in [
        (vec![false; 4], false),
        (vec![false; 5], true),
        (vec![false, false, false, false, true, false, false, false, false], false),
        (vec![true, false, false, false, false, false], true),
    ] {
        let mut client = Client::open(&node);
        for received in &ticks {
            client.session.tick(*received, true, &mut client.to_client);
        }
        assert_eq!(client.session.ending(), gone.then_some(Ending::Now), "{ticks:?}");
    }
}
