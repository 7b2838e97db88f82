//! The firehose: a copy of every message that comes into or goes out of a vhost, for whoever binds to `amq.rabbitmq.trace`.
//!
//! What is published comes with the routing key `publish.` and the exchange, what is delivered with `deliver.` and the queue. The
//! headers say the rest. Copies are not copied again.

use crate::message::{Draft, Message};
use crate::node::Node;
use crate::properties::{NewProperties, Properties};
use crate::tap::{Passing, Tap, Way};
use crate::value::{Table, Value};

/// The exchange that copies are published to. Every vhost has it.
pub(crate) const EXCHANGE: &str = "amq.rabbitmq.trace";
/// The header with further routing keys.
const COPIES: &str = "CC";

/// The tap that publishes copies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Firehose;

impl Tap for Firehose {
    fn pass(&self, node: &Node, passing: &Passing<'_>) {
        if passing.message.exchange() == EXCHANGE || !is_wanted(node, passing.vhost) {
            return;
        }
        let headers = headers(node, passing);
        let properties = node.properties().encode(&NewProperties { headers: &headers, ..NewProperties::default() });
        let mut draft = Draft::new(Vec::new(), EXCHANGE, &routing_key(passing));
        draft.properties(&properties);
        draft.body(passing.message.body());
        // The exchange is there as long as the vhost is.
        let _ = node.publish(passing.vhost, &draft.message());
    }
}

/// Whether somebody is bound to the exchange.
fn is_wanted(node: &Node, vhost: &str) -> bool {
    node.read(|topology| {
        let exchange = topology.vhost(vhost).and_then(|vhost| vhost.exchange(EXCHANGE));
        exchange.is_ok_and(|exchange| exchange.bindings().next().is_some() || exchange.alternate().is_some())
    })
}

/// What says which way a message goes, and past which exchange or queue: `publish.amq.direct`, `deliver.jobs`.
pub fn routing_key(passing: &Passing<'_>) -> String {
    match passing.way {
        Way::Published { .. } => format!("publish.{}", passing.message.exchange()),
        Way::Delivered { queue, .. } => format!("deliver.{queue}"),
    }
}

/// What there is to say of a message that comes by, under RabbitMQ's names.
pub fn headers(node: &Node, passing: &Passing<'_>) -> Table {
    let Passing { message, way, vhost, user, connection, channel } = *passing;
    let keys = routing_keys(node.properties(), message);
    let mut headers = Table::new();
    let mut add = |name: &str, value| headers.push(name.into(), value);
    add("exchange_name", Value::text(message.exchange()));
    add("routing_keys", Value::Array(keys));
    add("properties", Value::Table(node.properties().to_table(message)));
    add("node", Value::text(node.name()));
    if let Way::Delivered { redelivered, .. } = way {
        add("redelivered", Value::I32(redelivered.into()));
    }
    add("vhost", Value::text(vhost));
    add("connection", Value::text(connection));
    add("channel", Value::I32(channel.into()));
    add("user", Value::text(user));
    if let Way::Published { queues, replies } = way {
        let queues = queues.iter().map(|queue| Value::text(&queue.info().name));
        let replies = replies.iter().map(|token| Value::text(token));
        add("routed_queues", Value::Array(queues.chain(replies).collect()));
    }
    headers
}

/// All keys that it was published with.
fn routing_keys(properties: &dyn Properties, message: &Message) -> Vec<Value> {
    let mut keys = vec![Value::text(message.routing_key())];
    if let Some(Value::Array(copies)) = properties.header(message, COPIES) {
        keys.extend(copies.into_iter().filter(|key| matches!(key, Value::LongStr(_))));
    }
    keys.extend(message.hidden_keys().map(Value::text));
    keys
}
