//! Feature flags, and what RabbitMQ calls deprecated features. Here nothing has to be enabled after an upgrade; what asks for a flag
//! of `RabbitMQ` wants to know whether what it stands for is there.

use leveret_broker::node::Node;
use leveret_broker::topology::QueueRecord;
use serde_json::{Value, json};

use crate::health::any_queue;

/// A flag whose feature is there, and what it says.
const FLAGS: [(&str, &str); 10] = [
    ("classic_queue_type_delivery_support", "Classic queues deliver like the other types"),
    ("detailed_queues_endpoint", "Queues are listed with all their details"),
    ("direct_exchange_routing_v2", "Direct exchanges find their queues with one look"),
    ("implicit_default_bindings", "The bindings of the default exchange are not kept, but implied"),
    ("listener_records_in_ets", "Listeners are known to the node alone"),
    ("maintenance_mode_status", "A node can be drained and revived"),
    ("message_containers", "A message is kept as it came in, whatever its protocol"),
    ("quorum_queue", "Queues of type `quorum`; with a single member as long as there is no cluster"),
    ("user_limits", "Limits of connections and channels per user"),
    ("virtual_host_metadata", "Description, tags and default queue type of virtual hosts"),
];

/// What `RabbitMQ` calls queues that neither survive a restart nor belong to a connection.
const TRANSIENT: &str = "transient_nonexcl_queues";

/// All flags as rows.
pub(crate) fn rows() -> Vec<Value> {
    let row = |(name, desc): &(&str, &str)| {
        json!({
            "name": name,
            "state": "enabled",
            "stability": "stable",
            "provided_by": "leveret",
            "desc": desc,
            "doc_url": "",
        })
    };
    FLAGS.iter().map(row).collect()
}

/// Whether there is such a flag. They are all enabled, so there is nothing to do but to know the name.
pub(crate) fn is_known(name: &str) -> bool {
    name == "all" || FLAGS.iter().any(|(flag, _)| *flag == name)
}

/// What is in use of that which `RabbitMQ` is about to take away.
pub(crate) fn deprecated_in_use(node: &Node) -> &'static [&'static str] {
    let is_transient = |record: &QueueRecord| !record.durable() && record.exclusive().is_none();
    if any_queue(node, is_transient) { &[TRANSIENT] } else { &[] }
}

/// What `RabbitMQ` is about to take away, or what of it is in use.
pub(crate) fn deprecated(node: &Node, is_in_use_only: bool) -> Vec<Value> {
    if is_in_use_only && deprecated_in_use(node).is_empty() {
        return Vec::new();
    }
    vec![json!({
        "name": TRANSIENT,
        "deprecation_phase": "permitted_by_default",
        "provided_by": "leveret",
        "desc": "Queues that neither survive a restart nor belong to a connection",
        "doc_url": "https://blog.rabbitmq.com/posts/2021/08/4.0-deprecation-announcements/",
    })]
}
