//! Nodes, of which there is one, and what they take.

use hyper::StatusCode;
use serde_json::{Map, Value, json};

use super::overview::{COLUMNS, RATES_MODE, contexts, exchange_types};
use super::statistics;
use crate::api::listing::{self, Wanted};
use crate::api::route::{Gives, Param};
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::health;
use crate::history::Subject;
use crate::views::Row;
use crate::{Facts, Setting};

pub(super) const GROUP: Group = Group {
    title: "Nodes",
    routes: &[
        Route {
            path: "/api/nodes",
            operations: &[Operation::get(Access::Monitoring, list, "All nodes: this one").gives(Gives::All("Node"))],
        },
        Route {
            path: "/api/nodes/{node}",
            operations: &[Operation::get(Access::Monitoring, get, "A node")
                .query(&[COLUMNS, MEMORY, BINARY])
                .gives(Gives::One("Node"))],
        },
        Route {
            path: "/api/nodes/{node}/memory",
            operations: &[Operation::get(Access::Monitoring, memory, "What takes its memory, in octets")
                .gives(Gives::One("NodeMemory"))],
        },
        Route {
            path: "/api/nodes/{node}/memory/relative",
            operations: &[Operation::get(Access::Monitoring, memory_relative, "What takes its memory, in percent")
                .gives(Gives::One("NodeMemory"))],
        },
        Route { path: "/api/nodes/{node}/memory/ets", operations: &[TABLES] },
        Route { path: "/api/nodes/{node}/memory/ets/relative", operations: &[TABLES] },
        Route { path: "/api/nodes/{node}/memory/ets/{filter}", operations: &[TABLES] },
        Route { path: "/api/nodes/{node}/memory/ets/{filter}/relative", operations: &[TABLES] },
        Route {
            path: "/api/config/effective",
            operations: &[Operation::get(
                Access::Administrator,
                settings,
                "All settings with their values and where those come from; secrets are hidden",
            )
            .gives(Gives::All("Setting"))],
        },
        Route {
            path: "/api/rebalance/queues",
            operations: &[Operation::post(
                Access::Administrator,
                |_| Ok(Answer::done()),
                "Spreads the leaders of queues over the nodes; one node has them all",
            )],
        },
    ],
};

const TABLES: Operation =
    Operation::get(Access::Monitoring, tables, "Tables of the Erlang machine, of which there are none")
        .gives(Gives::One("TablesMemory"));

const MEMORY: Param = Param { name: "memory", help: "`true` adds what takes its memory" };
const BINARY: Param = Param { name: "binary", help: "`true` adds what takes memory for binaries: nothing" };

/// What RabbitMQ divides its memory into. Those that there are here have theirs from [`OURS`].
const PARTS: [&str; 27] = [
    "connection_readers",
    "connection_writers",
    "connection_channels",
    "connection_other",
    "queue_procs",
    "quorum_queue_procs",
    "quorum_queue_dlx_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
    "stream_queue_coordinator_procs",
    "plugins",
    "metadata_store",
    "other_proc",
    "metrics",
    "mgmt_db",
    "mnesia",
    "quorum_ets",
    "metadata_store_ets",
    "other_ets",
    "binary",
    "msg_index",
    "code",
    "atom",
    "other_system",
    "allocated_unused",
    "reserved_unallocated",
    "queue_slave_procs",
];

/// What of our memory comes nearest to which part of RabbitMQ's.
const OURS: [(&str, &str); 2] = [("messages", "binary"), ("program", "code")];
/// Where the rest is.
const REST: &str = "other_system";

/// Fails unless the path names this node.
pub(super) fn known(ask: &Ask<'_>) -> Result<Facts, Failure> {
    let facts = ask.host().facts();
    if facts.node_name == ask.part("node") { Ok(facts) } else { Err(Failure::not_found()) }
}

fn list(ask: &Ask<'_>) -> Result<Answer, Failure> {
    listing::whole(ask, vec![row(ask, &ask.host().facts())])
}

fn get(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let mut row = row(ask, &known(ask)?);
    if ask.query().is_true("memory") {
        row.insert("memory".to_owned(), breakdown(ask));
    }
    if ask.query().is_true("binary") {
        row.insert("binary".to_owned(), json!({}));
    }
    Ok(Answer::json(&Wanted::read(ask.query().get("columns")).cut(row)))
}

fn row(ask: &Ask<'_>, facts: &Facts) -> Row {
    let uptime = u64::try_from(facts.uptime.as_millis()).unwrap_or(u64::MAX);
    let plugins: Vec<_> = ask.host().plugins().into_iter().filter(|plugin| plugin.running).collect();
    let application = |name: &str, description: &str, version: &str| json!({ "name": name, "description": description, "version": version });
    let mut applications = vec![application("leveret", "The broker", facts.version)];
    applications.extend(plugins.iter().map(|plugin| application(plugin.name, plugin.description, plugin.version)));
    let mechanism = |name: &&str| {
        let description = match *name {
            "PLAIN" => "SASL PLAIN authentication mechanism",
            "AMQPLAIN" => "QPid AMQPLAIN mechanism",
            "ANONYMOUS" => "SASL ANONYMOUS authentication mechanism",
            "EXTERNAL" => "SASL EXTERNAL authentication mechanism: by the certificate of a TLS connection",
            _ => "",
        };
        json!({ "name": name, "description": description, "enabled": true })
    };
    let (files, files_max) = facts.files;
    let (tasks, tasks_max) = facts.tasks;
    let (read, written) = facts.disk_io;
    let mut row = object(json!({
        "name": facts.node_name,
        "type": "disc",
        "running": true,
        "being_drained": health::is_under_maintenance(ask.node()),
        "os_pid": facts.pid.to_string(),
        "uptime": uptime,
        "run_queue": facts.run_queue,
        "processors": facts.processors,
        "fd_used": files,
        "fd_total": files_max,
        "sockets_used": facts.sockets,
        "sockets_total": files_max,
        "proc_used": tasks,
        "proc_total": tasks_max,
        "mem_used": facts.memory,
        "mem_limit": facts.memory_total,
        // Backlogs go to disk by themselves, so memory raises no alarm.
        "mem_alarm": false,
        "mem_calculation_strategy": "rss",
        "disk_free": facts.disk_free,
        "disk_free_limit": 0,
        "disk_free_alarm": !facts.alarms.is_empty(),
        "partitions": [],
        "rates_mode": RATES_MODE,
        "rabbitmq_version": facts.advertised_version,
        "leveret_version": facts.version,
    }));
    row.extend(object(json!({
        "exchange_types": exchange_types(ask),
        "auth_mechanisms": facts.mechanisms.iter().map(mechanism).collect::<Vec<_>>(),
        "applications": applications,
        "contexts": contexts(ask, None),
        "log_files": ask.host().logs().locations(),
        "db_dir": facts.data_dir,
        "config_files": facts.config_files,
        "net_ticktime": 60,
        "enabled_plugins": plugins.iter().filter(|plugin| plugin.explicit).map(|plugin| plugin.name).collect::<Vec<_>>(),
        "ra_open_file_metrics": {},
        "cluster_links": [],
        "metrics_gc_queue_length": {},
    })));
    if !ask.disables_stats() {
        row.extend(object(json!({
            "context_switches": facts.context_switches,
            "io_read_bytes": read,
            "io_write_bytes": written,
            // There is no machine that collects garbage.
            "gc_num": 0,
            "gc_bytes_reclaimed": 0,
        })));
        row.extend(statistics::churn(ask));
        ask.add_details(&Subject::Node, &mut row);
    }
    row
}

fn memory(ask: &Ask<'_>) -> Result<Answer, Failure> {
    known(ask)?;
    Ok(Answer::json(&json!({ "memory": breakdown(ask) })))
}

/// What takes memory, in RabbitMQ's parts and in ours.
fn breakdown(ask: &Ask<'_>) -> Value {
    let total = ask.host().facts().memory;
    let mut parts: Map<String, Value> = PARTS.iter().map(|name| ((*name).to_owned(), json!(0))).collect();
    for (name, bytes) in theirs(ask) {
        parts.insert(name.to_owned(), json!(bytes));
    }
    parts.insert("strategy".to_owned(), json!("rss"));
    parts.insert("total".to_owned(), json!({ "erlang": total, "rss": total, "allocated": total }));
    Value::Object(parts)
}

fn memory_relative(ask: &Ask<'_>) -> Result<Answer, Failure> {
    known(ask)?;
    let found = theirs(ask);
    let sum = found.iter().map(|(_, bytes)| *bytes).sum::<u64>().max(1);
    let mut parts: Map<String, Value> = Map::from_iter([("total".to_owned(), json!(100))]);
    parts.extend(PARTS.iter().map(|name| ((*name).to_owned(), json!(0))));
    for (name, bytes) in found {
        parts.insert(name.to_owned(), json!((bytes.saturating_mul(100)).div_ceil(sum)));
    }
    Ok(Answer::json(&json!({ "memory": parts })))
}

/// What takes memory, by the part of RabbitMQ's that comes nearest.
fn theirs(ask: &Ask<'_>) -> Vec<(&'static str, u64)> {
    let name = |what: &str| OURS.iter().find(|(ours, _)| *ours == what).map_or(REST, |(_, theirs)| *theirs);
    let mut found: Vec<(&'static str, u64)> = Vec::new();
    for part in ask.host().memory() {
        let name = name(part.what);
        match found.iter_mut().find(|(known, _)| *known == name) {
            Some((_, bytes)) => *bytes += part.bytes,
            None => found.push((name, part.bytes)),
        }
    }
    found
}

fn tables(ask: &Ask<'_>) -> Result<Answer, Failure> {
    known(ask)?;
    Ok(Answer::json(&json!({ "ets_tables_memory": { "total": 0 } })))
}

fn settings(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let row = |Setting { key, value, origin }| object(json!({ "key": key, "value": value, "origin": origin }));
    listing::whole(ask, ask.host().settings().into_iter().map(row).collect())
}

/// The members of an object.
pub(super) fn object(value: Value) -> Row {
    match value {
        Value::Object(row) => row,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => Row::new(),
    }
}

/// 503 with what is wrong.
pub(super) fn ill(reason: &str, more: Value) -> Answer {
    let mut body = object(json!({ "status": "failed", "reason": reason }));
    body.extend(object(more));
    Answer::json(&body).status(StatusCode::SERVICE_UNAVAILABLE)
}
