//! The node itself: whether it runs, what it is, and what it takes connections on.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};

use super::{Call, Failure, Operation};
use crate::control::Kind;
use crate::{CertificateFile, Facts, ListenerKind, Phase};

/// How long a start is waited for if nobody says.
const STARTUP_TIMEOUT_MS: u64 = 300_000;
/// Pause between looks whether it has come to an end.
const STARTUP_POLL: Duration = Duration::from_millis(50);

pub(super) const OPERATIONS: [Operation; 15] = [
    Operation { name: "ping", run: |call| Ok(ping(call)) },
    Operation { name: "phase", run: |call| Ok(ping(call)) },
    Operation { name: "await_startup", run: await_startup },
    Operation { name: "start_app", run: |call| done(call.host.start_app()) },
    Operation { name: "stop_app", run: |call| done(call.host.stop_app()) },
    Operation { name: "reset", run: |call| done(call.host.reset()) },
    Operation { name: "stop", run: |call| Ok(stop(call)) },
    Operation { name: "suspend_listeners", run: |call| done(call.host.suspend_listeners()) },
    Operation { name: "resume_listeners", run: |call| done(call.host.resume_listeners()) },
    Operation { name: "listeners", run: listeners },
    Operation { name: "facts", run: |call| Ok(facts(call)) },
    Operation { name: "memory", run: memory },
    Operation { name: "settings", run: settings },
    Operation { name: "certificates", run: certificates },
    Operation { name: "reload", run: reload },
];

impl Phase {
    /// Its name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

impl ListenerKind {
    /// Its name in answers, which is what `RabbitMQ` calls its protocol.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Amqp => "amqp",
            Self::Amqps => "amqp/ssl",
            Self::Http => "http",
            Self::Https => "https",
            Self::Prometheus => "http/prometheus",
            Self::PrometheusTls => "https/prometheus",
        }
    }
}

fn done(result: Result<(), crate::HostError>) -> Result<Value, Failure> {
    result?;
    Ok(Value::Null)
}

/// That somebody answers, who it is, and whether the broker runs.
fn ping(call: &Call<'_>) -> Value {
    json!({ "phase": call.host.phase().name(), "node": call.host.facts().node_name })
}

/// Waits until the broker runs, at most `timeout_ms`.
fn await_startup(call: &Call<'_>) -> Result<Value, Failure> {
    let limit = Duration::from_millis(call.optional_number("timeout_ms")?.unwrap_or(STARTUP_TIMEOUT_MS));
    let begin = Instant::now();
    while call.host.phase() != Phase::Running {
        if begin.elapsed() >= limit {
            return Err(Failure::new(Kind::Temporary, "the broker did not start in time"));
        }
        if call.is_deserted() {
            return Err(Failure::new(Kind::Temporary, "nobody waits any more"));
        }
        thread::sleep(STARTUP_POLL);
    }
    Ok(Value::Null)
}

fn stop(call: &Call<'_>) -> Value {
    let pid = call.host.facts().pid;
    call.host.stop();
    // So that who asked can wait for its end.
    json!({ "pid": pid })
}

fn listeners(call: &Call<'_>) -> Result<Value, Failure> {
    for listener in call.host.listeners() {
        call.row(&row([
            ("protocol", json!(listener.kind.name())),
            ("interface", json!(listener.address.ip().to_string())),
            ("port", json!(listener.address.port())),
        ]))?;
    }
    Ok(Value::Null)
}

fn facts(call: &Call<'_>) -> Value {
    let phase = call.host.phase().name();
    let Facts {
        node_name,
        version,
        advertised_version,
        advertised_product,
        pid,
        started,
        uptime,
        system,
        data_dir,
        config_files,
        enabled_plugins_file,
        files: (files, files_max),
        sockets,
        memory,
        memory_total,
        memory_budget,
        disk_free,
        threads,
        tasks: (tasks, tasks_max),
        processors,
        run_queue,
        context_switches,
        disk_io: (disk_read, disk_written),
        mechanisms,
        alarms,
        command_line,
    } = call.host.facts();
    json!({
        "phase": phase,
        "node_name": node_name,
        "version": version,
        "advertised_version": advertised_version,
        "advertised_product": advertised_product,
        "pid": pid,
        "started": unix_seconds(started),
        "uptime_ms": u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
        "system": system,
        "data_dir": data_dir.to_string_lossy(),
        "config_files": config_files.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
        "enabled_plugins_file": enabled_plugins_file.to_string_lossy(),
        "files": files,
        "files_max": files_max,
        "sockets": sockets,
        "memory": memory,
        "memory_total": memory_total,
        "memory_budget": memory_budget,
        "disk_free": disk_free,
        "threads": threads,
        "tasks": tasks,
        "tasks_max": tasks_max,
        "processors": processors,
        "run_queue": run_queue,
        "context_switches": context_switches,
        "disk_read": disk_read,
        "disk_written": disk_written,
        "mechanisms": mechanisms,
        "alarms": alarms,
        "command_line": command_line,
    })
}

fn memory(call: &Call<'_>) -> Result<Value, Failure> {
    for part in call.host.memory() {
        call.row(&row([("what", json!(part.what)), ("bytes", json!(part.bytes))]))?;
    }
    Ok(Value::Null)
}

fn settings(call: &Call<'_>) -> Result<Value, Failure> {
    for setting in call.host.settings() {
        call.row(&row([
            ("key", json!(setting.key)),
            ("value", json!(setting.value)),
            ("origin", json!(setting.origin)),
        ]))?;
    }
    Ok(Value::Null)
}

fn certificates(call: &Call<'_>) -> Result<Value, Failure> {
    let mut files = call.host.certificates();
    files.sort_by(|one, other| one.path.cmp(&other.path));
    // Two kinds of listeners may share one.
    files.dedup_by(|one, other| one.path == other.path);
    for CertificateFile { path, pem, .. } in files {
        let pem = String::from_utf8_lossy(&pem);
        call.row(&row([("file", json!(path.to_string_lossy())), ("pem", json!(pem))]))?;
    }
    Ok(Value::Null)
}

fn reload(call: &Call<'_>) -> Result<Value, Failure> {
    for note in call.host.reload()? {
        call.note(&note)?;
    }
    Ok(Value::Null)
}

fn row<const N: usize>(fields: [(&str, Value); N]) -> Map<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
