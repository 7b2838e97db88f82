//! The node's log.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use tokio::sync::mpsc::error::TryRecvError;

use super::{Call, Failure, Operation};
use crate::LogLevel;
use crate::control::Kind;

pub(super) const OPERATIONS: [Operation; 5] = [
    Operation { name: "log_location", run: log_location },
    Operation { name: "log_tail", run: log_tail },
    Operation { name: "log_stream", run: log_stream },
    Operation { name: "set_log_level", run: set_log_level },
    Operation { name: "rotate_logs", run: rotate_logs },
];

/// Lines that are given if nobody says how many.
const LINES: u64 = 50;
/// Pause between looks for new lines.
const LOOK: Duration = Duration::from_millis(100);

/// The levels, by `RabbitMQ`'s names.
const LEVELS: [(&str, LogLevel); 7] = [
    ("debug", LogLevel::Debug),
    ("info", LogLevel::Info),
    ("notice", LogLevel::Notice),
    ("warning", LogLevel::Warning),
    ("error", LogLevel::Error),
    ("critical", LogLevel::Critical),
    ("none", LogLevel::None),
];

#[allow(clippy::unnecessary_wraps, reason = "operations have one signature")]
fn log_location(call: &Call<'_>) -> Result<Value, Failure> {
    Ok(json!({ "node": call.host.facts().node_name, "paths": call.host.logs().locations() }))
}

fn log_tail(call: &Call<'_>) -> Result<Value, Failure> {
    let lines = call.optional_number("lines")?.unwrap_or(LINES);
    for line in call.host.logs().tail(usize::try_from(lines).unwrap_or(usize::MAX))? {
        row(call, line)?;
    }
    Ok(Value::Null)
}

/// Gives lines as they are written, until the time is up or nobody waits for them any more.
fn log_stream(call: &Call<'_>) -> Result<Value, Failure> {
    let seconds = call.optional_number("seconds")?;
    let end = seconds.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds)));
    let mut lines = call.host.logs().follow();
    while !call.is_deserted() && end.is_none_or(|end| Instant::now() < end) {
        match lines.try_recv() {
            // As a note, which is sent at once.
            Ok(line) => call.note(&line)?,
            Err(TryRecvError::Empty) => std::thread::sleep(LOOK),
            Err(TryRecvError::Disconnected) => return Err(Failure::new(Kind::Unavailable, "the log has ended")),
        }
    }
    Ok(Value::Null)
}

fn set_log_level(call: &Call<'_>) -> Result<Value, Failure> {
    let name = call.text("level")?;
    let level = LEVELS.iter().find(|(known, _)| *known == name).map(|(_, level)| *level).ok_or_else(|| {
        let known: Vec<_> = LEVELS.iter().map(|(known, _)| *known).collect();
        let text = format!("level {name} is not supported. Try one of {}", known.join(", "));
        Failure::new(Kind::Unavailable, text)
    })?;
    call.host.logs().set_level(call.optional_text("category")?, level)?;
    Ok(Value::Null)
}

fn rotate_logs(call: &Call<'_>) -> Result<Value, Failure> {
    call.host.logs().rotate()?;
    Ok(Value::Null)
}

fn row(call: &Call<'_>, line: String) -> Result<(), Failure> {
    call.row(&Map::from_iter([("line".to_owned(), Value::String(line))]))
}
