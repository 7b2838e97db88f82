//! Health checks: each looks at something that can fail, and fails if it has.

use std::collections::BTreeSet;
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde_json::{Value, json};

use super::status::{current_alarms, is_json, listener_line};
use crate::failure::{Exit, Failure};
use crate::invocation::{Invocation, Target};
use crate::output::Answer;
use crate::output::sections::{number, text, texts};
use crate::spec::{Command, Flag, Needs, Positional, Section, Takes};
use crate::tool::Tool;

const DIAGNOSTICS: &[Tool] = &[Tool::Diagnostics];
/// How long a listener may take to answer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A health check.
const fn check(name: &'static str, about: &'static str, run: fn(&Invocation) -> Result<Answer, Failure>) -> Command {
    Command::new(name, Section::Monitoring, about, run)
        .takes("[--timeout <timeout>]", &[], &[])
        .tools(DIAGNOSTICS)
        .timeout(60)
}

pub(super) const COMMANDS: &[Command] = &[
    check(
        "check_running",
        "Health check that exits with a non-zero code if the RabbitMQ app on the target node is not running",
        check_running,
    )
    .needs(Needs::Nothing)
    .banner(|call| Some(format!("Checking if RabbitMQ is running on node {} ...", call.node()))),
    check(
        "check_local_alarms",
        "Health check that exits with a non-zero code if the target node reports any local alarms",
        check_local_alarms,
    )
    .banner(ask_alarms),
    check(
        "check_alarms",
        "Health check that exits with a non-zero code if the target node reports any alarms, local or cluster-wide",
        check_alarms,
    )
    .banner(ask_alarms),
    check(
        "check_port_connectivity",
        "Basic TCP connectivity health check for each listener's port on the target node",
        check_port_connectivity,
    )
    .takes("[--timeout <timeout>]", &[], &[Flag::with(
        "address",
        Takes::Text("address"),
        "connect to this address instead of the one that each listener has",
    )])
    .banner(|call| Some(format!("Testing TCP connections to all active listeners on node {} ...", call.node()))),
    check(
        "check_port_listener",
        "Health check that exits with a non-zero code if target node does not have an active listener for given port",
        check_port_listener,
    )
    .takes("<port> [--timeout <timeout>]", &[Positional::one("port", "port number to check")], &[])
    .validate(|call| port(call).map(drop))
    .banner(|call| {
        Some(format!("Asking node {} if there's an active listener on port {} ...", call.node(), call.required("port")))
    }),
    check(
        "check_protocol_listener",
        "Health check that exits with a non-zero code if target node does not have an active listener for given protocol",
        check_protocol_listener,
    )
    .takes("<protocol> [--timeout <timeout>]", &[Positional::one("protocol", "such as amqp, amqp/ssl or http")], &[])
    .banner(|call| {
        let protocol = call.required("protocol");
        Some(format!("Asking node {} if there's an active listener for protocol {protocol} ...", call.node()))
    }),
    check(
        "check_virtual_hosts",
        "Health check that checks if all vhosts are running in the target node",
        check_virtual_hosts,
    )
    .banner(|call| Some(format!("Checking if all vhosts are running on node {} ...", call.node()))),
    check(
        "check_for_quorum_queues_without_an_elected_leader",
        "Health check that exits with a non-zero code if a quorum queue has no leader that can take messages",
        check_leaders,
    )
    .takes(
        "[--vhost <vhost>] [--across-all-vhosts] [<pattern>] [--timeout <timeout>]",
        &[Positional::optional("pattern", "part of the names of the queues to look at")],
        &[Flag::switch("across-all-vhosts", "look at the queues of every virtual host")],
    )
    .banner(|call| {
        let place = if call.is_set("across-all-vhosts") { "all vhosts".to_owned() } else { format!("vhost '{}'", call.vhost()) };
        Some(format!("Checking for quorum queues without an elected leader in {place} ..."))
    }),
    check(
        "check_if_metadata_store_is_initialized",
        "Health check that exits with a non-zero code if the metadata store on target node cannot be used",
        check_metadata_store,
    )
    .banner(|call| Some(format!("Checking if the metadata store is initialized on node {} ...", call.node()))),
    check(
        "check_if_metadata_store_is_initialized_with_data",
        "Health check that exits with a non-zero code if the metadata store on target node has no virtual hosts or no users",
        check_metadata,
    )
    .banner(|call| Some(format!("Checking if the metadata store is initialized with data on node {} ...", call.node()))),
    check(
        "check_if_any_deprecated_features_are_used",
        "Health check that exits with a non-zero code if what RabbitMQ is about to take away is in use",
        check_deprecated,
    )
    .banner(|call| Some(format!("Checking if any deprecated features are used on node {} ...", call.node()))),
    check(
        "check_if_node_is_quorum_critical",
        "Health check that exits with a non-zero code if there are queues that would lose their quorum if the target node is shut down",
        check_critical,
    )
    .tools(&[Tool::Diagnostics, Tool::Queues, Tool::Upgrade])
    .banner(|call| {
        Some(format!("Checking if node {} is critical for quorum of any quorum queues ...", call.node()))
    }),
    check(
        "check_if_node_is_mirror_sync_critical",
        "Health check that exits with a non-zero code if there are mirrored queues that would lose data if the target node is shut down",
        check_critical,
    )
    .tools(&[Tool::Diagnostics, Tool::Queues, Tool::Upgrade])
    .banner(|call| {
        let node = call.node();
        Some(format!("Checking if node {node} is critical for data safety of any classic mirrored queues ..."))
    }),
    Command::new(
        "node_health_check",
        Section::Deprecated,
        "DEPRECATED. Checks alarms, virtual hosts and listeners. Use the checks of rabbitmq-diagnostics instead",
        node_health_check,
    )
    .takes("[--timeout <timeout>]", &[], &[])
    .tools(&[Tool::Ctl, Tool::Diagnostics])
    .timeout(70)
    .banner(|call| {
        let seconds = call.timeout().unwrap_or_default().as_secs();
        Some(format!(
            "This command is DEPRECATED and will be removed in a future version.\n\
             It performs intrusive, opinionated health checks and requires a fully booted node.\n\
             Use one of the options covered in https://www.rabbitmq.com/monitoring.html#health-checks instead.\n\
             Timeout: {seconds} seconds ...\nChecking health of node {} ...",
            call.node()
        ))
    }),
];

#[allow(clippy::unnecessary_wraps, reason = "banners have one signature")]
fn ask_alarms(call: &Invocation) -> Option<String> {
    Some(format!("Asking node {} to report any local resource alarms ...", call.node()))
}

/// A check that passed.
fn passed(text: String) -> Answer {
    Answer::Report { text, value: json!({ "result": "ok" }) }
}

/// A check that failed.
fn failed(call: &Invocation, text: &str, value: &Value) -> Failure {
    if is_json(call) {
        Failure::plain(Exit::Unavailable, value.to_string())
    } else {
        Failure::new(Exit::Unavailable, text)
    }
}

fn check_running(call: &Invocation) -> Result<Answer, Failure> {
    let phase = call.phase()?;
    let node = call.node();
    if phase == "running" {
        let message = format!("RabbitMQ on node {node} is fully booted and running");
        return Ok(Answer::Report { value: json!({ "message": message }), text: message });
    }
    let message = format!("RabbitMQ on node {node} is not running or has not fully booted yet (check with is_booting)");
    Err(failed(call, &message, &json!({ "message": message, "result": "error" })))
}

fn check_local_alarms(call: &Invocation) -> Result<Answer, Failure> {
    let alarms = current_alarms(call)?;
    let node = call.node();
    if alarms.is_empty() {
        return Ok(passed(format!("Node {node} reported no local alarms")));
    }
    let message = format!("Node {node} reported local alarms");
    let value = json!({ "result": "error", "local": alarms, "message": message });
    Err(failed(call, &alarms.join("\n"), &value))
}

fn check_alarms(call: &Invocation) -> Result<Answer, Failure> {
    let alarms = current_alarms(call)?;
    let node = call.node();
    if alarms.is_empty() {
        return Ok(passed(format!("Node {node} reported no alarms, local or clusterwide")));
    }
    let message = format!("Node {node} reported alarms");
    let value = json!({ "global": [], "local": alarms, "message": message, "result": "error" });
    if is_json(call) {
        return Err(Failure::plain(Exit::Unavailable, value.to_string()));
    }
    Err(Failure::plain(Exit::Unavailable, alarms.join("\n")))
}

/// Where the node says that it takes connections.
fn listeners(call: &Invocation) -> Result<Vec<Value>, Failure> {
    let reply = call.call("protocol_listeners", &json!({}))?.result;
    Ok(reply.get("listeners").and_then(Value::as_array).cloned().unwrap_or_default())
}

fn check_port_connectivity(call: &Invocation) -> Result<Answer, Failure> {
    let node = call.node();
    let listeners = listeners(call)?;
    if listeners.is_empty() {
        let text = format!("Node {node} takes no connections: it has no active listeners");
        return Err(failed(call, &text, &json!({ "result": "error", "node": node, "message": text })));
    }
    let unreachable: Vec<&Value> = listeners.iter().filter(|listener| !connects(call, listener)).collect();
    if unreachable.is_empty() {
        let ports = join(ports(&listeners));
        return Ok(passed(format!("Successfully connected to ports {ports} on node {node}.")));
    }
    let lines: Vec<String> = unreachable.iter().map(|listener| listener_line(listener)).collect();
    let text = format!("Connection to ports of the following listeners on node {node} failed: \n{}", lines.join("\n"));
    Err(failed(call, &text, &json!({ "result": "error", "node": node, "failures": unreachable })))
}

/// Whether a listener accepts a connection.
fn connects(call: &Invocation, listener: &Value) -> bool {
    let interface = text(listener, "interface").trim_matches(['[', ']']);
    let host = match (call.value("address"), &call.general.target) {
        (Some(address), _) => address.to_owned(),
        (None, Target::Remote { url, .. }) => host_of(url).to_owned(),
        (None, Target::Local { .. }) if matches!(interface, "::" | "0.0.0.0") => "localhost".to_owned(),
        (None, Target::Local { .. }) => interface.to_owned(),
    };
    let Ok(port) = u16::try_from(number(listener, "port")) else { return false };
    let Ok(addresses) = (host.as_str(), port).to_socket_addrs() else { return false };
    let limit = call.timeout().unwrap_or(CONNECT_TIMEOUT).min(CONNECT_TIMEOUT);
    addresses.into_iter().any(|address| TcpStream::connect_timeout(&address, limit).is_ok())
}

/// The host in a URL.
fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let place = rest.split(['/', '?']).next().unwrap_or_default();
    match place.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((address, _)) => address,
        None => place.split(':').next().unwrap_or_default(),
    }
}

fn ports(listeners: &[Value]) -> BTreeSet<String> {
    listeners.iter().map(|listener| number(listener, "port").to_string()).collect()
}

fn join(words: impl IntoIterator<Item = String>) -> String {
    words.into_iter().collect::<Vec<_>>().join(", ")
}

fn port(call: &Invocation) -> Result<u16, Failure> {
    let port = call.required("port").parse::<u16>().ok().filter(|port| *port > 0);
    port.ok_or_else(|| call.bad_argument("Argument must be a positive integer"))
}

fn check_port_listener(call: &Invocation) -> Result<Answer, Failure> {
    let (node, port, listeners) = (call.node(), port(call)?, listeners(call)?);
    if listeners.iter().any(|listener| number(listener, "port") == u64::from(port)) {
        let text = format!("A listener for port {port} is running on node {node}.");
        return Ok(Answer::Report { text, value: json!({ "node": node, "port": port.to_string(), "result": "ok" }) });
    }
    let ports = ports(&listeners);
    if is_json(call) {
        let value = json!({ "listeners": listeners, "missing": port.to_string(), "ports": ports, "result": "error" });
        return Err(Failure::plain(Exit::Unavailable, value.to_string()));
    }
    let found = join(ports);
    let text = format!(
        "No listener for port {port} is active on node {node}. Found listeners that use the following ports: {found}"
    );
    Err(Failure::plain(Exit::Unavailable, text))
}

/// The name that listeners have for a protocol, of which people write others.
fn protocol_name(given: &str) -> String {
    let given = given.to_ascii_lowercase();
    let name = match given.as_str() {
        "amqp091" | "amqp0-9-1" | "amqp-0-9-1" | "amqp 0-9-1" => "amqp",
        "amqps" | "amqp091s" => "amqp/ssl",
        "management" => "http",
        "http/ssl" => "https",
        "mqtts" => "mqtt/ssl",
        "stomps" => "stomp/ssl",
        "streams" | "stream/tls" => "stream/ssl",
        other => other,
    };
    name.to_owned()
}

fn check_protocol_listener(call: &Invocation) -> Result<Answer, Failure> {
    let (node, given, listeners) = (call.node(), call.required("protocol"), listeners(call)?);
    let name = protocol_name(given);
    let protocols: BTreeSet<String> = listeners.iter().map(|listener| text(listener, "protocol").to_owned()).collect();
    if protocols.contains(&name) {
        let text = format!("A listener for protocol {name} is running on node {node}.");
        return Ok(Answer::Report { text, value: json!({ "node": node, "protocol": name, "result": "ok" }) });
    }
    let value = json!({ "listeners": listeners, "missing": given, "protocols": protocols, "result": "error" });
    let found = join(protocols);
    let text = format!(
        "No listener for protocol {given} is active on node {node}. Found listeners for the following protocols: {found}"
    );
    Err(failed(call, &text, &value))
}

fn check_virtual_hosts(call: &Invocation) -> Result<Answer, Failure> {
    let reply = call.call("check_virtual_hosts", &json!({}))?.result;
    let node = call.node();
    let down = reply.get("down").and_then(Value::as_array).cloned().unwrap_or_default();
    if down.is_empty() {
        return Ok(passed(format!("Node {node} reported all vhosts as running")));
    }
    let lines: Vec<String> =
        down.iter().map(|vhost| format!("{}: {}", text(vhost, "name"), text(vhost, "reason"))).collect();
    let message = format!("Some virtual hosts on node {node} are down:\n{}", lines.join("\n"));
    Err(failed(call, &message, &json!({ "result": "error", "down": down })))
}

fn check_leaders(call: &Invocation) -> Result<Answer, Failure> {
    let vhost = (!call.is_set("across-all-vhosts")).then(|| call.vhost());
    let arguments = json!({ "vhost": vhost, "pattern": call.argument("pattern") });
    let reply = call.call("check_quorum_queues", &arguments)?.result;
    let node = call.node();
    let leaderless = reply.get("leaderless").and_then(Value::as_array).cloned().unwrap_or_default();
    if leaderless.is_empty() {
        return Ok(passed(format!("Node {node} reported all quorum queues as having responsive leader replicas")));
    }
    let lines: Vec<String> = leaderless
        .iter()
        .map(|queue| format!("queue '{}' in vhost '{}'", text(queue, "name"), text(queue, "vhost")))
        .collect();
    let message = format!("Quorum queues without an elected leader on node {node}:\n{}", lines.join("\n"));
    Err(failed(call, &message, &json!({ "result": "error", "leaderless": leaderless })))
}

fn metadata(call: &Invocation) -> Result<Value, Failure> {
    let reply = call.call("check_metadata_store", &json!({}))?.result;
    match reply.get("failed").and_then(Value::as_str) {
        None => Ok(reply),
        Some(reason) => {
            let message = format!("Metadata store on node {} cannot be used: {reason}", call.node());
            Err(failed(call, &message, &json!({ "result": "error", "message": message })))
        }
    }
}

fn check_metadata_store(call: &Invocation) -> Result<Answer, Failure> {
    metadata(call)?;
    Ok(passed(format!("Metadata store on node {} has completed its initialization", call.node())))
}

fn check_metadata(call: &Invocation) -> Result<Answer, Failure> {
    let found = metadata(call)?;
    let node = call.node();
    if number(&found, "vhosts") > 0 && number(&found, "users") > 0 {
        return Ok(passed(format!("Metadata store on node {node} is initialized and has data")));
    }
    let message = format!("Metadata store on node {node} has no virtual hosts, or no users");
    Err(failed(call, &message, &json!({ "result": "error", "message": message })))
}

fn check_deprecated(call: &Invocation) -> Result<Answer, Failure> {
    let reply = call.call("check_deprecated_features", &json!({}))?.result;
    let node = call.node();
    let used: Vec<&str> = reply.get("used").into_iter().flat_map(texts).collect();
    if used.is_empty() {
        return Ok(passed(format!("Node {node} reported no use of deprecated features")));
    }
    let message = format!("Node {node} reported use of deprecated features: {}", used.join(", "));
    Err(failed(call, &message, &json!({ "result": "error", "used": used })))
}

/// A check of replicas, of which a node that is alone has none.
fn check_critical(call: &Invocation) -> Result<Answer, Failure> {
    let status = call.call("cluster_status", &json!({}))?.result;
    let nodes = status.get("disk_nodes").into_iter().flat_map(texts).count();
    let node = call.node();
    if nodes == 1 {
        return Ok(passed(format!(
            "Node {node} seems to be the only one in a single node cluster, the check does not apply"
        )));
    }
    let message =
        format!("Node {node} is in a cluster of {nodes} nodes, and this tool does not know what depends on it");
    Err(failed(call, &message, &json!({ "result": "error", "message": message })))
}

fn node_health_check(call: &Invocation) -> Result<Answer, Failure> {
    check_local_alarms(call)?;
    check_virtual_hosts(call)?;
    check_port_connectivity(call)?;
    Ok(passed("Health check passed".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_have_more_than_one_name() {
        for (given, name) in [
            ("amqp", "amqp"),
            ("AMQP091", "amqp"),
            ("amqps", "amqp/ssl"),
            ("amqp/ssl", "amqp/ssl"),
            ("amqp10", "amqp10"),
            ("mqtt", "mqtt"),
        ] {
            assert_eq!(protocol_name(given), name);
        }
    }

    #[test]
    fn the_host_of_a_url_is_found() {
        for (url, host) in [
            ("http://a.example:15672", "a.example"),
            ("https://a.example/", "a.example"),
            ("http://[::1]:15672/x", "::1"),
            ("http://10.0.0.1", "10.0.0.1"),
        ] {
            assert_eq!(host_of(url), host);
        }
    }
}
