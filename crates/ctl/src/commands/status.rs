//! What a node says of itself.

use serde_json::{Map, Value, json};

use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::output::sections::{Sections, Unit, number, percent, text, texts};
use crate::output::{Answer, Formatter};
use crate::spec::{Command, Flag, Needs, Section, Takes};
use crate::tool::Tool;

const BOTH: &[Tool] = &[Tool::Ctl, Tool::Diagnostics];
const DIAGNOSTICS: &[Tool] = &[Tool::Diagnostics];
const UNIT: &[Flag] = &[Flag::with("unit", Takes::Text("bytes | mb | gb"), "byte multiple to use [default: gb]")];

pub(super) const COMMANDS: &[Command] = &[
    Command::new("status", Section::Monitoring, "Displays status of a node", status)
        .takes("[--unit <unit>] [--timeout <timeout>]", &[], UNIT)
        .tools(BOTH)
        .timeout(60)
        .validate(check_unit)
        .banner(|call| Some(format!("Status of node {} ...", call.node()))),
    Command::new(
        "cluster_status",
        Section::Cluster,
        "Displays all the nodes in the cluster grouped by node type, together with the currently running nodes",
        cluster_status,
    )
    .takes("[--timeout <timeout>]", &[], &[])
    .tools(BOTH)
    .timeout(60)
    .banner(|call| Some(format!("Cluster status of node {} ...", call.node()))),
    Command::new(
        "memory_breakdown",
        Section::Monitoring,
        "Provides a memory usage breakdown on the target node",
        memory_breakdown,
    )
    .takes("[--unit <unit>] [--timeout <timeout>]", &[], UNIT)
    .tools(DIAGNOSTICS)
    .timeout(60)
    .validate(check_unit)
    .banner(|call| Some(format!("Reporting memory breakdown on node {}...", call.node()))),
    Command::new(
        "listeners",
        Section::Monitoring,
        "Lists active connection listeners (bound interface, port, protocol) on the target node",
        listeners,
    )
    .takes("[--timeout <timeout>]", &[], &[])
    .tools(DIAGNOSTICS)
    .timeout(60)
    .banner(|call| Some(format!("Asking node {} to report its protocol listeners ...", call.node()))),
    Command::new(
        "alarms",
        Section::Monitoring,
        "Lists resource alarms (local or cluster-wide) in effect on the target node",
        alarms,
    )
    .takes("[--timeout <timeout>]", &[], &[])
    .tools(DIAGNOSTICS)
    .timeout(60)
    .banner(|call| Some(format!("Asking node {} to report any known resource alarms ...", call.node()))),
    Command::new(
        "environment",
        Section::Configuration,
        "Displays every setting of the node, its value and where it comes from",
        environment,
    )
    .tools(BOTH)
    .needs(Needs::Nothing)
    .notes("Passwords and other secrets are never shown.")
    .banner(|call| Some(format!("Application environment of node {} ...", call.node()))),
    Command::new(
        "report",
        Section::Monitoring,
        "Generate a server status report containing a concatenation of all server status information for support purposes",
        report,
    )
    .notes("Passwords and other secrets are not in it.")
    .banner(|call| Some(format!("Reporting server status of node {} ...\n", call.node()))),
    Command::new("server_version", Section::Monitoring, "Displays server version on the target node", server_version)
        .takes("[--timeout <timeout>]", &[], &[])
        .tools(DIAGNOSTICS)
        .timeout(60)
        .needs(Needs::Nothing)
        .banner(|call| Some(format!("Asking node {} for its RabbitMQ version...", call.node()))),
    Command::new(
        "erlang_version",
        Section::Monitoring,
        "Says that there is no Erlang/OTP on the target node",
        erlang_version,
    )
    .takes("[--timeout <timeout>]", &[], &[
        Flag::switch("details", "accepted for RabbitMQ's sake"),
        Flag::switch("offline", "accepted for RabbitMQ's sake"),
    ])
    .tools(DIAGNOSTICS)
    .needs(Needs::Nothing)
        .banner(|call| Some(format!("Asking node {} for its Erlang/OTP version...", call.node()))),
];

fn unit(call: &Invocation) -> Result<Unit, Failure> {
    let name = call.value("unit").unwrap_or("gb");
    let unknown = || format!("\"unit '{name}' is not supported. Please use one of: bytes, mb, gb\"");
    Unit::parse(name).ok_or_else(|| call.invalid(Exit::Usage, &unknown()))
}

fn check_unit(call: &Invocation) -> Result<(), Failure> {
    unit(call).map(drop)
}

fn status(call: &Invocation) -> Result<Answer, Failure> {
    let value = call.call("status", &json!({}))?.result;
    Ok(Answer::Report { text: status_text(&value, unit(call)?), value })
}

fn status_text(status: &Value, unit: Unit) -> String {
    let empty = Value::Null;
    let of = |key: &str| status.get(key).unwrap_or(&empty);
    let (memory, files, totals) = (of("memory"), of("file_descriptors"), of("totals"));
    let mut out = Sections::default();
    out.heading("Runtime");
    out.line(format!("OS PID: {}", number(status, "pid")));
    out.line(format!("OS: {}", text(status, "os")));
    out.line(format!("Uptime (seconds): {}", number(status, "uptime")));
    out.line(format!("Is under maintenance?: {}", of("is_under_maintenance")));
    out.line(format!("RabbitMQ version: {}", text(status, "rabbitmq_version")));
    out.line(format!("Leveret version: {}", text(status, "leveret_version")));
    out.line(format!("Node name: {}", text(status, "node")));
    out.line(format!("Threads for connections: {}", number(status, "threads")));
    out.heading("Plugins");
    out.line(format!("Enabled plugin file: {}", text(status, "enabled_plugin_file")));
    out.line("Enabled plugins:");
    out.line("");
    out.items(of("active_plugins"));
    out.heading("Data directory");
    out.line(format!("Node data directory: {}", text(status, "data_directory")));
    out.heading("Config files");
    out.items(of("config_files"));
    out.heading("Log file(s)");
    out.items(of("log_files"));
    out.heading("Alarms");
    out.lines_or_none(of("alarms"));
    out.heading("Tags");
    out.lines_or_none(of("tags"));
    out.heading("Memory");
    let total = memory.get("total").map(|total| number(total, "rss")).unwrap_or_default();
    out.line(format!("Total memory used: {}", unit.show(total)));
    out.line(format!("Calculation strategy: {}", text(memory, "strategy")));
    let budget = unit.show(number(status, "memory_budget"));
    out.line(format!("Memory high watermark setting: none; beyond {budget} waiting messages are kept on disk only"));
    out.line("");
    for (name, octets) in parts(memory) {
        out.line(format!("{name}: {} ({:?} %)", unit.show(octets), percent(octets, total)));
    }
    out.heading("File Descriptors");
    out.line(format!("Total: {}, limit: {}", number(files, "total_used"), number(files, "total_limit")));
    out.line(format!("Sockets: {}, limit: {}", number(files, "sockets_used"), number(files, "sockets_limit")));
    out.heading("Free Disk Space");
    out.line("Low free disk space watermark: none");
    out.line(format!("Free disk space: {}", unit.show(number(status, "disk_free"))));
    out.heading("Totals");
    out.line(format!("Connection count: {}", number(totals, "connection_count")));
    out.line(format!("Queue count: {}", number(totals, "queue_count")));
    out.line(format!("Virtual host count: {}", number(totals, "virtual_host_count")));
    out.heading("Listeners");
    for listener in of("listeners").as_array().into_iter().flatten() {
        out.line(listener_line(listener));
    }
    out.text()
}

/// What takes memory, the largest first.
fn parts(memory: &Value) -> Vec<(&str, u64)> {
    let fields = memory.as_object().into_iter().flatten();
    let mut parts: Vec<_> = fields.filter_map(|(name, value)| Some((name.as_str(), value.as_u64()?))).collect();
    parts.sort_by(|(one, least), (other, most)| most.cmp(least).then(one.cmp(other)));
    parts
}

/// A listener in a line.
pub(super) fn listener_line(listener: &Value) -> String {
    format!(
        "Interface: {}, port: {}, protocol: {}, purpose: {}",
        text(listener, "interface"),
        number(listener, "port"),
        text(listener, "protocol"),
        text(listener, "purpose")
    )
}

fn cluster_status(call: &Invocation) -> Result<Answer, Failure> {
    let value = call.call("cluster_status", &json!({}))?.result;
    Ok(Answer::Report { text: cluster_text(&value), value })
}

fn cluster_text(status: &Value) -> String {
    let empty = Value::Null;
    let of = |key: &str| status.get(key).unwrap_or(&empty);
    let each = |key: &str| of(key).as_object().into_iter().flatten();
    let mut out = Sections::default();
    out.heading("Basics");
    out.line(format!("Cluster name: {}", text(status, "cluster_name")));
    for (title, key) in [("Disk Nodes", "disk_nodes"), ("RAM Nodes", "ram_nodes"), ("Running Nodes", "running_nodes")] {
        if key != "ram_nodes" || texts(of(key)).next().is_some() {
            out.heading(title);
            out.lines_or_none(of(key));
        }
    }
    out.heading("Versions");
    for (node, versions) in each("versions") {
        let (rabbitmq, leveret) = (text(versions, "rabbitmq_version"), text(versions, "leveret_version"));
        out.line(format!("{node}: RabbitMQ {rabbitmq} on Leveret {leveret}"));
    }
    out.heading("Maintenance status");
    for (node, maintenance) in each("maintenance_status") {
        out.line(format!("Node: {node}, status: {}", maintenance.as_str().unwrap_or_default()));
    }
    out.heading("Alarms");
    out.lines_or_none(of("alarms"));
    out.heading("Network Partitions");
    out.line("(none)");
    out.heading("Listeners");
    for (node, listeners) in each("listeners") {
        for listener in listeners.as_array().into_iter().flatten() {
            out.line(format!("Node: {node}, i{}", listener_line(listener).trim_start_matches('I')));
        }
    }
    out.heading("Feature flags");
    for flag in of("feature_flags").as_array().into_iter().flatten() {
        out.line(format!("Flag: {}, state: {}", text(flag, "name"), text(flag, "state")));
    }
    out.text()
}

fn memory_breakdown(call: &Invocation) -> Result<Answer, Failure> {
    let status = call.call("status", &json!({}))?.result;
    let unit = unit(call)?;
    let memory = status.get("memory").cloned().unwrap_or_default();
    let total = memory.get("total").map(|total| number(total, "rss")).unwrap_or_default();
    let mut lines = Vec::new();
    let mut value = Map::new();
    for (name, octets) in parts(&memory) {
        let percentage = percent(octets, total);
        lines.push(format!("{name}: {} ({percentage:?}%)", unit.show(octets)));
        value.insert(name.to_owned(), json!({ "bytes": octets, "percentage": percentage }));
    }
    Ok(Answer::Report { text: lines.join("\n"), value: Value::Object(value) })
}

fn listeners(call: &Invocation) -> Result<Answer, Failure> {
    let mut value = call.call("protocol_listeners", &json!({}))?.result;
    let all = value.get("listeners").and_then(Value::as_array).cloned().unwrap_or_default();
    let text = all.iter().map(listener_line).collect::<Vec<_>>().join("\n");
    if let Some(fields) = value.as_object_mut() {
        fields.insert("result".to_owned(), json!("ok"));
    }
    Ok(Answer::Report { text, value })
}

/// The alarms of the node.
pub(super) fn current_alarms(call: &Invocation) -> Result<Vec<String>, Failure> {
    let reply = call.call("alarms", &json!({}))?.result;
    Ok(reply.get("alarms").map(|alarms| texts(alarms).map(str::to_owned).collect()).unwrap_or_default())
}

fn alarms(call: &Invocation) -> Result<Answer, Failure> {
    let alarms = current_alarms(call)?;
    let node = call.node();
    if alarms.is_empty() {
        let text = format!("Node {node} reported no alarms, local or clusterwide");
        return Ok(Answer::Report { text, value: json!({ "alarms": [], "node": node, "result": "ok" }) });
    }
    let message = format!("Node {node} reported alarms");
    let value = json!({ "global": [], "local": alarms, "message": message, "result": "ok" });
    Ok(Answer::Report { text: alarms.join("\n"), value })
}

fn environment(call: &Invocation) -> Result<Answer, Failure> {
    let rows = call.call("settings", &json!({}))?.rows;
    let field =
        |row: &Map<String, Value>, key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut lines = Vec::new();
    let mut settings = Map::new();
    for row in &rows {
        let (key, value, origin) = (field(row, "key"), field(row, "value"), field(row, "origin"));
        lines.push(format!("{key} = {value}    # {origin}"));
        settings.insert(key, json!({ "value": value, "origin": origin }));
    }
    Ok(Answer::Report { text: lines.join("\n"), value: json!({ "leveret": settings }) })
}

/// Commands whose output is a report, and which of them are for each vhost.
const REPORTED: [(&str, bool); 14] = [
    ("status", false),
    ("cluster_status", false),
    ("environment", false),
    ("list_connections", false),
    ("list_channels", false),
    ("os_env", false),
    ("list_queues", true),
    ("list_exchanges", true),
    ("list_bindings", true),
    ("list_permissions", true),
    ("list_policies", true),
    ("list_global_parameters", false),
    ("list_parameters", true),
    ("list_vhost_limits", true),
];

fn report(call: &Invocation) -> Result<Answer, Failure> {
    let names = call.call("vhost_names", &json!({}))?.result;
    let vhosts: Vec<&str> = texts(&names).collect();
    let mut out: Vec<u8> = Vec::new();
    for (command, of_vhosts) in REPORTED {
        let vhosts: &[&str] = if of_vhosts { &vhosts } else { &["/"] };
        for vhost in vhosts {
            let Some(part) = call.another(&["--vhost", vhost, command])? else { continue };
            // One that fails says why, and the others go on.
            if let Err(failure) = part.run(&mut out) {
                out.extend_from_slice(failure.text.as_bytes());
                out.push(b'\n');
            }
            out.push(b'\n');
        }
    }
    Ok(Answer::Text(without_passwords(String::from_utf8_lossy(&out).trim_end())))
}

/// The same text without the names and passwords in URIs, as reports are sent to others.
fn without_passwords(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        masked.push_str(before);
        let ends = |letter: char| letter.is_whitespace() || matches!(letter, '/' | '"' | '\'' | '?' | '#' | ',' | '}');
        let authority = after.find(ends).map_or(after, |end| after.get(..end).unwrap_or(after));
        rest = after;
        if let Some(user) = authority.rfind('@') {
            masked.push_str("***");
            rest = after.get(user..).unwrap_or_default();
        }
    }
    masked.push_str(rest);
    masked
}

fn server_version(call: &Invocation) -> Result<Answer, Failure> {
    let facts = call.call("facts", &json!({}))?.result;
    let version = text(&facts, "advertised_version").to_owned();
    let value = json!({ "result": "ok", "value": version });
    Ok(Answer::Report { text: version, value })
}

fn erlang_version(call: &Invocation) -> Result<Answer, Failure> {
    let facts = call.call("facts", &json!({}))?.result;
    Ok(Answer::Text(format!("none (Leveret {} needs no Erlang)", text(&facts, "version"))))
}

/// Whether the formatter is JSON.
pub(super) fn is_json(call: &Invocation) -> bool {
    matches!(call.formatter(), Formatter::Json | Formatter::JsonStream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_has_no_passwords_of_uris() {
        for (text, masked) in [
            ("{\"uri\":\"amqp://u:p@ss@h:5672/v\"} amqps://u@h", "{\"uri\":\"amqp://***@h:5672/v\"} amqps://***@h"),
            ("see https://rabbitmq.com/a@b and amqp://", "see https://rabbitmq.com/a@b and amqp://"),
            ("amqp://ü:ß@h", "amqp://***@h"),
            ("nothing", "nothing"),
        ] {
            assert_eq!(without_passwords(text), masked);
        }
    }

    #[test]
    fn a_status_has_rabbitmqs_sections() {
        let status = json!({
            "pid": 7, "uptime": 3, "is_under_maintenance": false, "rabbitmq_version": "4.2.0", "node": "rabbit@here",
            "active_plugins": ["rabbitmq_management"], "memory": {"total": {"rss": 200}, "strategy": "rss", "a": 50, "b": 100},
            "listeners": [{"interface": "[::]", "port": 5672, "protocol": "amqp", "purpose": "AMQP 0-9-1"}],
            "totals": {"queue_count": 2},
        });
        let text = status_text(&status, Unit::parse("bytes").unwrap());
        for line in [
            "OS PID: 7",
            "Is under maintenance?: false",
            "RabbitMQ version: 4.2.0",
            "Node name: rabbit@here",
            " * rabbitmq_management",
            "Total memory used: 200 bytes",
            "b: 100 bytes (50.0 %)",
            "Queue count: 2",
            "Interface: [::], port: 5672, protocol: amqp, purpose: AMQP 0-9-1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}: {text}");
        }
        let headings = [
            "Runtime",
            "Plugins",
            "Data directory",
            "Config files",
            "Log file(s)",
            "Alarms",
            "Tags",
            "Memory",
            "File Descriptors",
            "Free Disk Space",
            "Totals",
            "Listeners",
        ];
        let found: Vec<&str> = text.lines().filter(|line| headings.contains(line)).collect();
        assert_eq!(found, headings);
        assert!(text.find("b: 100").unwrap() < text.find("a: 50").unwrap(), "the largest first");
    }
}
