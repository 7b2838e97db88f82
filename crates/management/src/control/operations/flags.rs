//! Feature flags. Here nothing has to be enabled after an upgrade; what asks for a flag of `RabbitMQ` wants to know whether what it
//! stands for is there.

use serde_json::{Map, Value, json};

use super::{Call, Failure, Operation};
use crate::control::Kind;

pub(super) const OPERATIONS: [Operation; 2] = [
    Operation { name: "list_feature_flags", run: list_feature_flags },
    Operation { name: "enable_feature_flag", run: enable_feature_flag },
];

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

/// All flags as rows.
pub(super) fn rows() -> Vec<Value> {
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

fn list_feature_flags(call: &Call<'_>) -> Result<Value, Failure> {
    call.node()?;
    for row in rows() {
        let row: Map<String, Value> = row.as_object().cloned().unwrap_or_default();
        call.row(&row)?;
    }
    Ok(Value::Null)
}

/// They are all enabled, so there is nothing to do but to know the name.
fn enable_feature_flag(call: &Call<'_>) -> Result<Value, Failure> {
    call.node()?;
    let name = call.text("name")?;
    if name == "all" || FLAGS.iter().any(|(flag, _)| *flag == name) {
        return Ok(Value::Null);
    }
    let node = call.host.facts().node_name;
    Err(Failure::new(Kind::Usage, format!("This feature flag is not supported by node {node}")))
}
