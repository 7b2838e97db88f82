//! What a node says of itself, under the keys that `rabbitmqctl status --formatter json` and its like have.

use serde_json::{Map, Value, json};

use super::{Call, Failure, Operation};
use crate::health::{self, is_under_maintenance};
use crate::{Facts, Host, Listener, ListenerKind, flags};

pub(super) const OPERATIONS: [Operation; 5] = [
    Operation { name: "status", run: status },
    Operation { name: "cluster_status", run: cluster_status },
    Operation { name: "protocol_listeners", run: protocol_listeners },
    Operation { name: "alarms", run: alarms },
    Operation { name: "vhost_names", run: vhost_names },
];

fn status(call: &Call<'_>) -> Result<Value, Failure> {
    let node = call.node()?;
    let facts = call.host.facts();
    let running = call.host.plugins().into_iter().filter(|plugin| plugin.running).map(|plugin| plugin.name);
    let (queues, vhosts) = node.read(|topology| {
        let queues: usize = topology.vhosts().map(leveret_broker::topology::Vhost::queue_count).sum();
        (queues, topology.vhosts().count())
    });
    let mut status = memory(call.host, &facts);
    status.extend(fields(json!({
        "active_plugins": running.collect::<Vec<_>>(),
        "alarms": facts.alarms,
        "command_line": facts.command_line,
        "config_files": facts.config_files,
        "data_directory": facts.data_dir,
        "disk_free": facts.disk_free,
        "enabled_plugin_file": facts.enabled_plugins_file,
        "file_descriptors": {
            "total_limit": facts.files.1,
            "total_used": facts.files.0,
            "sockets_limit": facts.files.1,
            "sockets_used": facts.sockets,
        },
        "is_under_maintenance": is_under_maintenance(&node),
        "leveret_version": facts.version,
        "listeners": listeners(call.host, &facts.node_name),
        "log_files": call.host.logs().locations(),
        "node": facts.node_name,
        "os": facts.system.split_whitespace().next(),
        "pid": facts.pid,
        "product_name": "Leveret",
        "product_version": facts.version,
        "rabbitmq_version": facts.advertised_version,
        "threads": facts.threads,
        "totals": {
            "virtual_host_count": vhosts,
            "connection_count": node.connection_count(),
            "queue_count": queues,
        },
        "uptime": facts.uptime.as_secs(),
    })));
    Ok(Value::Object(status))
}

/// Memory, what takes it, and how much waiting messages may take.
fn memory(host: &dyn Host, facts: &Facts) -> Map<String, Value> {
    let mut memory: Map<String, Value> =
        host.memory().into_iter().map(|part| (part.what.replace(' ', "_"), json!(part.bytes))).collect();
    memory.insert("strategy".to_owned(), json!("rss"));
    memory.insert("total".to_owned(), json!({ "rss": facts.memory }));
    fields(json!({
        "memory": memory,
        "memory_available": facts.memory_total,
        "memory_budget": facts.memory_budget,
        "vm_memory_calculation_strategy": "rss",
    }))
}

/// Where connections are taken.
pub(super) fn listeners(host: &dyn Host, node: &str) -> Vec<Value> {
    let row = |Listener { kind, address }| {
        let (protocol, purpose) = match kind {
            ListenerKind::Amqp => ("amqp", "AMQP 0-9-1"),
            ListenerKind::Amqps => ("amqp/ssl", "AMQP 0-9-1 over TLS"),
            ListenerKind::Http => ("http", "HTTP API"),
            ListenerKind::Https => ("https", "HTTP API over TLS (HTTPS)"),
            ListenerKind::Prometheus => ("http/prometheus", "Prometheus exporter API over HTTP"),
            ListenerKind::PrometheusTls => ("https/prometheus", "Prometheus exporter API over TLS (HTTPS)"),
        };
        let interface = if address.is_ipv6() { format!("[{}]", address.ip()) } else { address.ip().to_string() };
        json!({ "interface": interface, "node": node, "port": address.port(), "protocol": protocol, "purpose": purpose })
    };
    host.listeners().into_iter().map(row).collect()
}

fn protocol_listeners(call: &Call<'_>) -> Result<Value, Failure> {
    call.node()?;
    let node = call.host.facts().node_name;
    Ok(json!({ "listeners": listeners(call.host, &node), "node": node }))
}

fn alarms(call: &Call<'_>) -> Result<Value, Failure> {
    call.node()?;
    let facts = call.host.facts();
    Ok(json!({ "alarms": facts.alarms, "node": facts.node_name }))
}

fn cluster_status(call: &Call<'_>) -> Result<Value, Failure> {
    let node = call.node()?;
    let facts = call.host.facts();
    let name = &facts.node_name;
    let cluster_name = health::cluster_name(&node);
    let of_node = |value: Value| Value::Object(Map::from_iter([(name.clone(), value)]));
    let maintenance = if is_under_maintenance(&node) { "maintenance" } else { "not under maintenance" };
    Ok(json!({
        "alarms": facts.alarms,
        "cluster_name": cluster_name,
        "disk_nodes": [name],
        "feature_flags": flags::rows(),
        "listeners": of_node(json!(listeners(call.host, name))),
        "maintenance_status": of_node(json!(maintenance)),
        "partitions": {},
        "ram_nodes": [],
        "running_nodes": [name],
        "versions": of_node(json!({
            "leveret_version": facts.version,
            "rabbitmq_name": "RabbitMQ",
            "rabbitmq_version": facts.advertised_version,
        })),
    }))
}

fn vhost_names(call: &Call<'_>) -> Result<Value, Failure> {
    let names: Vec<String> =
        call.node()?.read(|topology| topology.vhosts().map(|vhost| vhost.name().to_string()).collect());
    Ok(json!(names))
}

/// The members of an object.
fn fields(object: Value) -> Map<String, Value> {
    match object {
        Value::Object(fields) => fields,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Map::new(),
    }
}
