//! What health checks look at. What is wrong comes out here; what that means for a script, the tool says.

use leveret_broker::Name;
use leveret_broker::node::Node;
use leveret_broker::queue::QueueKind;
use leveret_broker::topology::{ConnectionId, QueueRecord, Vhost};
use serde_json::{Map, Value, json};

use super::{Call, Failure, Operation};

pub(super) const OPERATIONS: [Operation; 5] = [
    Operation { name: "check_virtual_hosts", run: check_virtual_hosts },
    Operation { name: "check_quorum_queues", run: check_quorum_queues },
    Operation { name: "check_metadata_store", run: check_metadata_store },
    Operation { name: "check_deprecated_features", run: check_deprecated_features },
    Operation { name: "list_deprecated_features", run: list_deprecated_features },
];

/// What `RabbitMQ` calls queues that neither survive a restart nor belong to a connection.
const TRANSIENT: &str = "transient_nonexcl_queues";

/// A queue.
struct Found {
    vhost: Name,
    name: Name,
    /// The connection that may see it.
    asking: ConnectionId,
}

/// The vhosts that do not work: a queue of theirs is gone, or nothing durable can be written in them.
fn check_virtual_hosts(call: &Call<'_>) -> Result<Value, Failure> {
    let node = call.node()?;
    let alarms = call.host.facts().alarms;
    let broken = broken_queues(&node, |_| true);
    let names: Vec<Name> = node.read(|topology| topology.vhosts().map(|vhost| Name::clone(vhost.name())).collect());
    let down: Vec<Value> = names
        .into_iter()
        .filter_map(|name| {
            let queue = broken.iter().find(|queue| queue.vhost == name);
            let reason = queue.map(|queue| format!("queue '{}' is not served", queue.name));
            let reason = reason.or_else(|| alarms.first().cloned())?;
            Some(json!({ "name": &*name, "reason": reason }))
        })
        .collect();
    Ok(json!({ "down": down }))
}

/// The quorum queues that cannot have a message agreed upon.
fn check_quorum_queues(call: &Call<'_>) -> Result<Value, Failure> {
    let node = call.node()?;
    let vhost = call.optional_text("vhost")?;
    let pattern = call.optional_text("pattern")?.unwrap_or_default();
    let is_quorum = |record: &QueueRecord| record.kind() == QueueKind::Quorum;
    // The only member of each is here. If that cannot write, no majority can.
    let can_write = call.host.facts().alarms.is_empty();
    let leaderless = if can_write { broken_queues(&node, is_quorum) } else { each_queue(&node, is_quorum) };
    let is_asked = |queue: &Found| vhost.is_none_or(|vhost| *queue.vhost == *vhost) && queue.name.contains(pattern);
    let rows: Vec<Value> = leaderless
        .into_iter()
        .filter(is_asked)
        .map(|queue| json!({ "vhost": &*queue.vhost, "name": &*queue.name }))
        .collect();
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
    let node = call.node()?;
    let is_transient = |record: &QueueRecord| !record.durable() && record.exclusive().is_none();
    let used: &[_] = if each_queue(&node, is_transient).is_empty() { &[] } else { &[TRANSIENT] };
    Ok(json!({ "used": used }))
}

fn list_deprecated_features(call: &Call<'_>) -> Result<Value, Failure> {
    let used = check_deprecated_features(call)?;
    let is_used = used.pointer("/used/0").is_some();
    if is_used || !call.flag("used")? {
        call.row(&Map::from_iter([
            ("name".to_owned(), json!(TRANSIENT)),
            ("deprecation_phase".to_owned(), json!("permitted_by_default")),
            ("provided_by".to_owned(), json!("leveret")),
            ("desc".to_owned(), json!("Queues that neither survive a restart nor belong to a connection")),
            ("doc_url".to_owned(), json!("https://blog.rabbitmq.com/posts/2021/08/4.0-deprecation-announcements/")),
        ]))?;
    }
    Ok(Value::Null)
}

/// Queues that are declared and that nobody serves.
fn broken_queues(node: &Node, wanted: impl Fn(&QueueRecord) -> bool) -> Vec<Found> {
    let all = each_queue(node, wanted);
    let serves = |queue: &Found| match node.queue(&queue.vhost, &queue.name, queue.asking) {
        // Whoever holds its lock for ever holds this up as well, and the check is over its time.
        Ok(cell) => {
            cell.counts();
            true
        }
        // It may have been deleted since.
        Err(_) => {
            !node.read(|topology| topology.vhost(&queue.vhost).is_ok_and(|vhost| vhost.any_queue(&queue.name).is_ok()))
        }
    };
    all.into_iter().filter(|queue| !serves(queue)).collect()
}

/// The queues that are wanted.
fn each_queue(node: &Node, wanted: impl Fn(&QueueRecord) -> bool) -> Vec<Found> {
    node.read(|topology| {
        let in_vhost = |vhost: &Vhost| {
            let found = vhost.queues().filter(|record| wanted(record)).map(|record| Found {
                vhost: Name::clone(vhost.name()),
                name: Name::clone(record.name()),
                asking: record.exclusive().unwrap_or(ConnectionId(0)),
            });
            found.collect::<Vec<_>>()
        };
        topology.vhosts().flat_map(in_vhost).collect()
    })
}

#[cfg(test)]
mod tests;
