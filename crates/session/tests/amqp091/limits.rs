//! As many connections and channels as vhosts and users may have, and no more.

use std::sync::Arc;

use leveret_broker::node::Node;
use leveret_broker::topology::Change;
use leveret_broker::value::{Table, Value};
use leveret_protocol::amqp091::method::{ChannelClose, ConnectionOpen};

use super::client::Client;

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
