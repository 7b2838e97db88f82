//! As many connections and channels as vhosts and users may have, and no more.

use std::sync::Arc;

use leveret_broker::access::Peer;
use leveret_broker::node::{Node, Surroundings};
use leveret_broker::topology::{Change, NodeLimits};
use leveret_broker::value::{Table, Value};
use leveret_protocol::amqp091::method::{BasicCancel, ChannelClose, ConnectionOpen};
use leveret_session::amqp091::Settings;

use super::client::{Client, Door, settings};

fn limits(limits: &[(&str, i64)]) -> Table {
    limits.iter().map(|(name, limit)| ((*name).into(), Value::I64(*limit))).collect()
}

fn limit_user(node: &Node, table: &[(&str, i64)]) {
    node.apply(Change::SetUserLimits { user: "guest".into(), limits: limits(table) }).unwrap();
}

fn limit_vhost(node: &Node, table: &[(&str, i64)]) {
    let (vhost, component, name) = ("/".into(), "vhost-limits".into(), "limits".into());
    node.apply(Change::SetParameter { vhost, component, name, value: Value::Table(limits(table)) }).unwrap();
}

/// What a client is told that connects.
fn connect(node: &Arc<Node>) -> (Client, String) {
    let mut client = Client::connect(node);
    client.log_in("guest", "guest");
    client.tune_ok(10);
    client.send(0, &ConnectionOpen { virtual_host: "/", capabilities: "", insist: false });
    let told = client.turn().pop().unwrap();
    (client, told)
}

#[test]
fn a_connection_too_many_for_the_vhost_is_refused() {
    let node = Arc::new(Node::new());
    limit_vhost(&node, &[("max-connections", 2)]);
    let (first, _second) = (Client::open(&node), Client::open(&node));
    let refusal =
        "0: close NOT_ALLOWED - access to vhost '/' refused for user 'guest': connection limit (2) is reached";
    assert_eq!(connect(&node).1, refusal);
    drop(first);
    assert_eq!(connect(&node).1, "0: open-ok");
    limit_vhost(&node, &[("max-connections", 0)]);
    assert!(connect(&node).1.ends_with("connection limit (0) is reached"));
    limit_vhost(&node, &[("max-connections", -1)]);
    assert_eq!(connect(&node).1, "0: open-ok");
}

#[test]
fn a_connection_too_many_for_the_user_is_refused() {
    let node = Arc::new(Node::new());
    limit_user(&node, &[("max-connections", 1)]);
    let first = Client::open(&node);
    let refusal = "0: close NOT_ALLOWED - connection refused for user 'guest': user connection limit (1) is reached";
    assert_eq!(connect(&node).1, refusal);
    drop(first);
    assert_eq!(connect(&node).1, "0: open-ok");
    let nobody = Change::SetUserLimits { user: "nobody".into(), limits: Table::new() };
    assert_eq!(node.apply(nobody).unwrap_err().to_string(), "user 'nobody' not found");
}

#[test]
fn a_channel_too_many_for_the_user_closes_the_connection() {
    let node = Arc::new(Node::new());
    limit_user(&node, &[("max-channels", 3)]);
    let (mut first, mut second) = (Client::open(&node), Client::open(&node));
    first.open_channel(2);
    assert_eq!(first.turn(), ["2: open-ok"]);
    second.open_channel(2);
    let refusal = "0: close NOT_ALLOWED - number of channels opened for user 'guest' has reached the maximum allowed \
                   user limit of 3";
    assert_eq!(second.turn(), [refusal]);
    // Its channels are closed, and so is one of the other connection: there is room for two more.
    first.send(2, &ChannelClose { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 });
    first.open_channel(3);
    first.open_channel(4);
    assert_eq!(first.turn(), ["2: close-ok", "3: open-ok", "4: open-ok"]);
    first.open_channel(5);
    assert_eq!(first.turn(), [refusal]);
    drop((first, second));
    limit_user(&node, &[("max-channels", 1)]);
    Client::open(&node);
}

/// A node that takes so many connections and channels.
fn limited(max_connections: Option<u64>, max_channels: Option<u64>) -> Arc<Node> {
    let limits = NodeLimits { max_connections, max_channels, ..NodeLimits::default() };
    Arc::new(Node::within(Surroundings { limits, name: "rabbit@here".into(), ..Surroundings::default() }))
}

#[test]
fn a_connection_too_many_for_the_node_is_refused_before_anything_else_is_said() {
    let node = limited(Some(1), None);
    let first = Client::open(&node);
    limit_user(&node, &[("max-connections", 0)]);
    let refusal = "0: close NOT_ALLOWED - connection refused: node connection limit (1) is reached";
    assert_eq!(connect(&node).1, refusal);
    drop(first);
    assert!(connect(&node).1.ends_with("user connection limit (0) is reached"));
    limit_user(&node, &[]);
    assert_eq!(connect(&node).1, "0: open-ok");
}

#[test]
fn a_channel_too_many_for_the_node_closes_the_connection() {
    let node = limited(None, Some(2));
    let (first, mut second) = (Client::open(&node), Client::open(&node));
    second.open_channel(2);
    let refusal = "0: close NOT_ALLOWED - number of channels opened on node 'rabbit@here' has reached the maximum \
                   allowed limit of 2";
    assert_eq!(second.turn(), [refusal]);
    drop((first, second));
    let mut third = Client::open(&node);
    third.open_channel(2);
    assert_eq!(third.turn(), ["2: open-ok"]);
}

#[test]
fn a_consumer_too_many_for_the_channel_closes_the_connection() {
    let node = Arc::new(Node::new());
    let authenticator = Arc::new(Door(Arc::clone(&node)));
    let settings = Settings { max_consumers_per_channel: Some(2), authenticator, ..settings() };
    let mut client = Client::connect_with(settings, &Peer::local(), &node);
    client.log_in("guest", "guest");
    client.tune_ok(10);
    client.send(0, &ConnectionOpen { virtual_host: "/", capabilities: "", insist: false });
    client.open_channel(1);
    client.open_channel(2);
    client.turn();
    client.declare(1, "q");
    for (channel, tag) in [(1, "a"), (1, "b"), (2, "c")] {
        client.consume_as(channel, "q", tag, true);
    }
    client.quiet_turn();
    client.send(1, &BasicCancel { consumer_tag: "a", no_wait: true });
    client.consume_as(1, "q", "d", true);
    client.quiet_turn();
    client.consume_as(1, "q", "e", true);
    assert_eq!(client.turn(), ["0: close NOT_ALLOWED - reached maximum (2) of consumers per channel"]);
}
