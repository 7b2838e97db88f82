//! What tells this cluster from all others: an id that it keeps, whatever it and its nodes are called.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use leveret_broker::node::Node;
use leveret_broker::topology::Change;
use leveret_broker::value::Value;

/// The global parameter that it is, as in RabbitMQ.
const NAME: &str = "internal_cluster_id";

/// Makes the id if there is none yet. Nobody waits until it is on disk: if it is lost, nobody knew it for long.
pub(super) fn ensure(node: &Node) {
    if node.read(|topology| topology.global_parameter(NAME).is_ok()) {
        return;
    }
    let mut octets = [0; 16];
    if let Err(error) = getrandom::fill(&mut octets) {
        tracing::warn!("the cluster has no id: {error}");
        return;
    }
    let id = format!("rabbitmq-cluster-id-{}", BASE64_URL_SAFE_NO_PAD.encode(octets));
    if let Err(error) = node.apply(Change::SetGlobalParameter { name: NAME.into(), value: Value::text(&id) }) {
        tracing::warn!("the cluster has no id: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(node: &Node) -> Value {
        node.read(|topology| topology.global_parameter(NAME).cloned().unwrap())
    }

    #[test]
    fn an_id_is_made_once() {
        let (node, other) = (Node::new(), Node::new());
        ensure(&node);
        ensure(&other);
        let made = id(&node);
        assert_ne!(made, id(&other));
        ensure(&node);
        assert_eq!(made, id(&node));
        assert!(matches!(&made, Value::LongStr(text) if text.len() == 20 + 22), "{made:?}");
    }
}
