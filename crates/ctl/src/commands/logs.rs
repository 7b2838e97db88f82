//! The node's log.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Line;
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::output::sections::texts;
use crate::output::{self, Answer};
use crate::spec::{Command, Flag, Needs, Positional, Section, Takes};
use crate::tool::Tool;

const DIAGNOSTICS: &[Tool] = &[Tool::Diagnostics];

pub(super) const COMMANDS: &[Command] = &[
    Command::new("log_location", Section::Configuration, "Shows log file location(s) on target node", log_location)
        .takes(
            "[--all|-a] [--timeout <timeout>]",
            &[],
            &[Flag::switch("all", "where all records go, not only to the first file").short('a')],
        )
        .tools(DIAGNOSTICS)
        .needs(Needs::Nothing)
        .timeout(60)
        .banner(|call| Some(format!("Log file location(s) on node {} ...", call.node()))),
    Command::new("log_tail", Section::Monitoring, "Prints the last N lines of the log on the node", log_tail)
        .takes(
            "[--number|-N <number>] [--timeout <timeout>]",
            &[],
            &[Flag::with("number", Takes::Number("number"), "number of lines to print [default: 50]").short('N')],
        )
        .tools(DIAGNOSTICS)
        .needs(Needs::Nothing)
        .timeout(60)
        .banner(|call| {
            let number = call.number("number").unwrap_or(50);
            Some(format!("Last {number} log lines on node {} ...", call.node()))
        }),
    Command::new(
        "consume_event_stream",
        Section::Monitoring,
        "Streams internal events from a running node. Output is jq-compatible.",
        consume_event_stream,
    )
    .takes(
        "[--duration|-d <seconds>] [--pattern <pattern>] [--timeout <timeout>]",
        &[],
        &[
            Flag::with("duration", Takes::Number("seconds"), "how long; until it is stopped, if not given").short('d'),
            Flag::with(
                "pattern",
                Takes::Text("pattern"),
                "a regular expression that the names of events have to match",
            ),
        ],
    )
    // Nothing stands before the lines, so that programs can read them.
    .tools(DIAGNOSTICS),
    Command::new(
        "log_tail_stream",
        Section::Monitoring,
        "Streams logs from a running node for a period of time",
        log_tail_stream,
    )
    .takes(
        "[--duration|-d <seconds>] [--timeout <timeout>]",
        &[],
        &[Flag::with("duration", Takes::Number("seconds"), "how long; until it is stopped, if not given").short('d')],
    )
    .tools(DIAGNOSTICS)
    .needs(Needs::Nothing)
    .banner(|call| {
        let node = call.node();
        Some(match call.number("duration") {
            Some(seconds) => format!("Streaming logs from node {node} for {seconds} seconds ..."),
            None => format!("Streaming logs from node {node} ..."),
        })
    }),
    Command::new("set_log_level", Section::Configuration, "Sets log level in the running node", set_log_level)
        .takes(
            "<log_level>",
            &[Positional::one("log_level", "debug, info, notice, warning, error, critical or none")],
            &[Flag::with("category", Takes::Text("category"), "only of this log category, such as connection")],
        )
        .needs(Needs::Nothing)
        .timeout(60)
        .validate(check_level)
        .banner(|call| {
            let level = call.required("log_level");
            Some(match call.value("category") {
                Some(category) => format!("Setting log level of category \"{category}\" to \"{level}\" ..."),
                None => format!("Setting log level to \"{level}\" ..."),
            })
        }),
    Command::new("rotate_logs", Section::Nodes, "Begins new log files", |call| {
        call.call("rotate_logs", &json!({}))?;
        Ok(Answer::Done)
    })
    .timeout(60)
    .banner(|call| Some(format!("Rotating logs of node {} ...", call.node()))),
];

fn log_location(call: &Invocation) -> Result<Answer, Failure> {
    let reply = call.call("log_location", &json!({}))?.result;
    let mut paths: Vec<&str> = reply.get("paths").into_iter().flat_map(texts).collect();
    if !call.is_set("all") {
        paths.truncate(1);
    }
    let value = json!({ "node_name": call.node(), "paths": paths, "result": "ok" });
    Ok(Answer::Report { text: paths.join("\n"), value })
}

fn log_tail(call: &Invocation) -> Result<Answer, Failure> {
    let reply = call.call("log_tail", &json!({ "lines": call.number("number") }))?;
    let lines: Vec<&str> = reply.rows.iter().filter_map(|row| row.get("line")?.as_str()).collect();
    let value = json!(lines);
    Ok(Answer::Report { text: lines.join("\n"), value })
}

fn log_tail_stream(call: &Invocation) -> Result<Answer, Failure> {
    stream(call, "log_stream", &json!({ "seconds": call.number("duration") }))
}

fn consume_event_stream(call: &Invocation) -> Result<Answer, Failure> {
    let arguments = json!({ "seconds": call.number("duration"), "pattern": call.value("pattern") });
    stream(call, "event_stream", &arguments)
}

/// Prints what comes until there is no more.
fn stream(call: &Invocation, operation: &str, arguments: &Value) -> Result<Answer, Failure> {
    let seconds = call.number("duration");
    // The node ends it; whoever says how long the node may take means the answer, not the stream.
    let limit = seconds.map(|seconds| Duration::from_secs(seconds.saturating_add(30)));
    call.call_within(operation, arguments, limit, &mut |line| match line {
        Line::Note(text) => {
            let mut out = std::io::stdout();
            output::write(&mut out, &text)?;
            output::flush(&mut out)
        }
        Line::Row(_) | Line::Progress { .. } => Ok(()),
    })?;
    Ok(Answer::Text(String::new()))
}

/// The levels there are.
const LEVELS: [&str; 7] = ["debug", "info", "notice", "warning", "error", "critical", "none"];

/// That the level is one that there is.
fn check_level(call: &Invocation) -> Result<(), Failure> {
    let level = call.required("log_level");
    if LEVELS.contains(&level) {
        return Ok(());
    }
    let text = format!("level {level} is not supported. Try one of {}", LEVELS.join(", "));
    Err(Failure::new(Exit::Unavailable, text))
}

fn set_log_level(call: &Invocation) -> Result<Answer, Failure> {
    let level = call.required("log_level");
    call.call("set_log_level", &json!({ "level": level, "category": call.value("category") }))?;
    Ok(Answer::Done)
}
