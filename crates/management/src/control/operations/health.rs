//! What health checks look at. What is wrong comes out here; what that means for a script, the tool says.

use serde_json::{Map, Value, json};

use super::{Call, Failure, Operation};
use crate::{flags, health};

pub(super) const OPERATIONS: [Operation; 5] = [
    Operation { name: "check_virtual_hosts", run: check_virtual_hosts },
    Operation { name: "check_quorum_queues", run: check_quorum_queues },
    Operation { name: "check_metadata_store", run: check_metadata_store },
    Operation { name: "check_deprecated_features", run: check_deprecated_features },
    Operation { name: "list_deprecated_features", run: list_deprecated_features },
];

/// The vhosts that do not work: a queue of theirs is gone, or nothing durable can be written in them.
fn check_virtual_hosts(call: &Call<'_>) -> Result<Value, Failure> {
    let down = health::vhosts_down(&*call.node()?, &call.host.facts().alarms);
    let down: Vec<Value> = down.into_iter().map(|down| json!({ "name": &*down.name, "reason": down.reason })).collect();
    Ok(json!({ "down": down }))
}

/// The quorum queues that cannot have a message agreed upon.
fn check_quorum_queues(call: &Call<'_>) -> Result<Value, Failure> {
    let node = call.node()?;
    let vhost = call.optional_text("vhost")?;
    let pattern = call.optional_text("pattern")?.unwrap_or_default();
    let mut found = health::leaderless(&node, &call.host.facts().alarms);
    found.retain(|queue| vhost.is_none_or(|vhost| *queue.vhost == *vhost) && queue.name.contains(pattern));
    let rows: Vec<Value> =
        found.into_iter().map(|queue| json!({ "vhost": &*queue.vhost, "name": &*queue.name })).collect();
    Ok(json!({ "leaderless": rows }))
}

/// Whether declarations are kept, and whether there are any.
fn check_metadata_store(call: &Call<'_>) -> Result<Value, Failure> {
    let node = call.node()?;
    let facts = call.host.facts();
    let (vhosts, users) = node.read(|topology| (topology.vhosts().count(), topology.users().count()));
    Ok(json!({
        "failed": facts.alarms.first(),
        "vhosts": vhosts,
        "users": users,
        "node": facts.node_name,
        "folder": facts.data_dir,
    }))
}

/// What is in use of that which `RabbitMQ` is about to take away.
fn check_deprecated_features(call: &Call<'_>) -> Result<Value, Failure> {
    Ok(json!({ "used": flags::deprecated_in_use(&*call.node()?) }))
}

fn list_deprecated_features(call: &Call<'_>) -> Result<Value, Failure> {
    for row in flags::deprecated(&*call.node()?, call.flag("used")?) {
        let row: Map<String, Value> = row.as_object().cloned().unwrap_or_default();
        call.row(&row)?;
    }
    Ok(Value::Null)
}

#[cfg(test)]
mod tests;
