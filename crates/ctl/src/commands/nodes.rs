//! Starting, stopping and resetting a node, and waiting for one.

use std::fs;
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::output::Answer;
use crate::output::sections::number;
use crate::spec::{Command, Flag, Needs, Positional, Section, Takes};
use crate::tool::Tool;

/// How long a node may take to come up, in seconds, unless somebody says otherwise.
const STARTUP_SECONDS: u32 = 300;
/// How long `wait` waits, in seconds, unless somebody says otherwise.
const WAIT_SECONDS: u32 = 10;
/// Pause between looks whether something has happened.
const POLL: Duration = Duration::from_millis(100);

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "ping",
        Section::Monitoring,
        "Checks that the node OS process is up, and that this tool can talk to it",
        ping,
    )
    .takes("[--timeout <timeout>]", &[], &[])
    .tools(&[Tool::Ctl, Tool::Diagnostics])
    .timeout(60)
    .needs(Needs::Nothing)
    .banner(|call| {
        let limit = call.timeout().map_or_else(|| "infinity".to_owned(), |limit| format!("{} ms", limit.as_millis()));
        let node = call.node();
        Some(format!("Will ping {node}. This only checks if the OS process is running and answers at its control socket. Timeout: {limit}."))
    }),
    Command::new("start_app", Section::Nodes, "Starts the RabbitMQ application but leaves the runtime running", |call| {
        ask(call, "start_app")
    })
    .banner(|call| Some(format!("Starting node {} ...", call.node()))),
    Command::new("stop_app", Section::Nodes, "Stops the RabbitMQ application, leaving the runtime running", |call| {
        ask(call, "stop_app")
    })
    .banner(|call| Some(format!("Stopping rabbit application on node {} ...", call.node()))),
    Command::new(
        "reset",
        Section::Nodes,
        "Instructs a RabbitMQ node to leave the cluster and return to its virgin state",
        |call| ask(call, "reset"),
    )
    .needs(Needs::Stopped)
    .banner(|call| Some(format!("Resetting node {} ...", call.node()))),
    Command::new("force_reset", Section::Cluster, "Forcefully returns a RabbitMQ node to its virgin state", |call| {
        ask(call, "reset")
    })
    .needs(Needs::Stopped)
    .banner(|call| Some(format!("Forcefully resetting node {} ...", call.node()))),
    Command::new(
        "stop",
        Section::Nodes,
        "Stops RabbitMQ and its runtime. Requires a local node pid file path to monitor progress",
        stop,
    )
    .takes(
        "[--idempotent] [<pidfile>]",
        &[Positional::optional("pidfile", "node PID file to wait for the end of")],
        &[Flag::switch("idempotent", "is no failure if the node does not run")],
    )
    .banner(|call| {
        let monitored = call.argument("pidfile").map(|file| format!(" (will monitor pid file {file})"));
        Some(format!("Stopping and halting node {}{} ...", call.node(), monitored.unwrap_or_default()))
    }),
    Command::new(
        "shutdown",
        Section::Nodes,
        "Stops RabbitMQ and its runtime. Monitors progress for local nodes. Does not require a PID file path",
        shutdown,
    )
    .takes("[--wait] [--timeout <timeout>]", &[], &[
        Flag::switch("wait", "wait for the end of the process, which is so anyway"),
        Flag::switch("no-wait", "do not wait for the end of the process"),
    ]),
    Command::new(
        "await_startup",
        Section::Nodes,
        "Waits for the RabbitMQ application to start on the target node",
        await_startup,
    )
    .tools(&[Tool::Ctl, Tool::Diagnostics])
    .timeout(STARTUP_SECONDS),
    Command::new(
        "await_online_nodes",
        Section::Cluster,
        "Waits for <count> nodes to join the cluster",
        await_online_nodes,
    )
    .takes("<count> [--timeout <timeout>]", &[Positional::one("count", "how many nodes to wait for")], &[])
    .timeout(STARTUP_SECONDS)
    .needs(Needs::Nothing)
    .validate(|call| count(call).map(drop))
    .banner(|call| {
        let (count, node) = (call.required("count"), call.node());
        let seconds = call.timeout().map_or_else(|| "infinity".to_owned(), |limit| limit.as_secs().to_string());
        Some(format!("Will wait for at least {count} nodes to join the cluster of {node}. Timeout: {seconds} seconds."))
    }),
    Command::new(
        "wait",
        Section::Nodes,
        "Waits for RabbitMQ node startup by monitoring a local PID file. See also 'rabbitmqctl await_online_nodes'",
        wait,
    )
    .takes(
        "[<pidfile>] [--pid|-P <pid>] [--timeout <timeout>]",
        &[Positional::optional("pidfile", "PID file of the node")],
        &[Flag::with("pid", Takes::Number("pid"), "process id of the node").short('P')],
    )
    .timeout(WAIT_SECONDS)
    .validate(|call| match (call.argument("pidfile"), call.number("pid")) {
        (None, None) => Err(call.invalid(Exit::Usage, "\"No pid or pidfile specified\"")),
        (Some(_), Some(_)) => Err(call.invalid(Exit::Usage, "\"Cannot specify both pid and pidfile\"")),
        (Some(_), None) | (None, Some(_)) => Ok(()),
    }),
    Command::new(
        "suspend_listeners",
        Section::Operations,
        "Suspends client connection listeners so that no new client connections are accepted",
        |call| ask(call, "suspend_listeners"),
    )
    .banner(|call| {
        let node = call.node();
        Some(format!("Will suspend client connection listeners on node {node}. The node will no longer accept client connections!"))
    }),
    Command::new(
        "resume_listeners",
        Section::Operations,
        "Resumes client connection listeners making them accept client connections again",
        |call| ask(call, "resume_listeners"),
    )
    .banner(|call| {
        let node = call.node();
        Some(format!("Will resume client connection listeners on node {node}. The node will now accept client connections"))
    }),
    Command::new(
        "force_gc",
        Section::Operations,
        "Does nothing: the node frees memory as soon as it is not used any more",
        |_| Ok(Answer::Done),
    )
    .takes("[--timeout <timeout>]", &[], &[])
    .banner(|call| Some(format!("Node {} has no garbage to collect: it frees memory at once", call.node()))),
];

/// Has the node do something that needs no arguments.
pub(super) fn ask(call: &Invocation, operation: &str) -> Result<Answer, Failure> {
    call.call(operation, &json!({}))?;
    Ok(Answer::Done)
}

fn ping(call: &Invocation) -> Result<Answer, Failure> {
    match call.phase() {
        Ok(_) => Ok(Answer::Text("Ping succeeded".to_owned())),
        Err(failure) if failure.exit == Exit::Unavailable => {
            let limit = call.timeout().unwrap_or_default().as_millis();
            let text = format!("Failed to connect and authenticate to {} in {limit} ms", call.node());
            Err(Failure::new(Exit::Unavailable, text))
        }
        Err(failure) => Err(failure),
    }
}

fn stop(call: &Invocation) -> Result<Answer, Failure> {
    // Before the node stops, which takes the file away.
    let file = call.argument("pidfile");
    let pid = file.map(|file| read_pid(Path::new(file)).map_err(|error| cannot_read(file, &error))).transpose()?;
    match call.call("stop", &json!({})) {
        Ok(_) => {}
        Err(failure) if failure.exit == Exit::Unavailable && call.is_set("idempotent") => {
            return Ok(Answer::Text(format!("Node {} is no longer running", call.node())));
        }
        Err(failure) => return Err(failure),
    }
    if let (Some(pid), Some(file)) = (pid, file) {
        await_end(call, pid)?;
        call.say(&format!("process {pid} (take from pid file {file}) is no longer running"))?;
    }
    Ok(Answer::Done)
}

fn shutdown(call: &Invocation) -> Result<Answer, Failure> {
    let node = call.node();
    let facts = call.call("facts", &json!({}))?.result;
    let pid = number(&facts, "pid");
    // Of a process on another machine nothing can be seen from here.
    let is_here = !call.is_remote() && exists(pid);
    let waits = !call.is_set("no-wait") && is_here;
    call.say(&if waits {
        format!("Shutting down RabbitMQ node {node} running at PID {pid}")
    } else {
        format!("Shutting down RabbitMQ node {node}")
    })?;
    call.call("stop", &json!({}))?;
    if waits {
        call.say(&format!("Waiting for PID {pid} to terminate"))?;
        await_end(call, pid)?;
        call.say(&format!("RabbitMQ node {node} running at PID {pid} successfully shut down"))?;
    }
    Ok(Answer::Done)
}

/// Waits for the end of a process.
fn await_end(call: &Invocation, pid: u64) -> Result<(), Failure> {
    let begin = Instant::now();
    while exists(pid) {
        over(call, begin)?;
        thread::sleep(POLL);
    }
    Ok(())
}

/// Fails once the time is up.
fn over(call: &Invocation, begin: Instant) -> Result<(), Failure> {
    match call.timeout() {
        Some(limit) if begin.elapsed() >= limit => Err(call.timed_out(limit)),
        Some(_) | None => Ok(()),
    }
}

/// Whether a process is there, and not only what is left of it until its parent has looked.
fn exists(pid: u64) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
    !matches!(state, Some('Z' | 'X'))
}

fn read_pid(file: &Path) -> io::Result<u64> {
    let text = fs::read_to_string(file)?;
    text.trim().parse().map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "there is no process id in it"))
}

fn cannot_read(file: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::Io, format!("could not read pid from {file}: {error}"))
}

fn await_startup(call: &Invocation) -> Result<Answer, Failure> {
    await_running(call, Instant::now(), true)?;
    Ok(Answer::Done)
}

/// Waits until the broker runs. One that is stopped does not start by itself.
fn await_running(call: &Invocation, begin: Instant, says: bool) -> Result<(), Failure> {
    let mut said = !says;
    loop {
        match call.phase()?.as_str() {
            "running" => return Ok(()),
            "starting" => {}
            _ => return Err(Failure::new(Exit::Unavailable, "rabbit_is_not_running")),
        }
        if !said {
            said = true;
            call.say("Still booting, waiting for its end...")?;
        }
        over(call, begin)?;
        thread::sleep(POLL);
    }
}

fn count(call: &Invocation) -> Result<u64, Failure> {
    let count = call.required("count").parse::<u64>().ok().filter(|count| *count > 0);
    count.ok_or_else(|| call.bad_argument("Argument must be a positive integer"))
}

fn await_online_nodes(call: &Invocation) -> Result<Answer, Failure> {
    let count = count(call)?;
    await_running(call, Instant::now(), false)?;
    if count > 1 {
        let node = call.node();
        let text = format!(
            "Error: not enough nodes joined {node}'s cluster, and no more will: this version forms no clusters."
        );
        return Err(Failure::new(Exit::Software, text));
    }
    Ok(Answer::Done)
}

fn wait(call: &Invocation) -> Result<Answer, Failure> {
    let (begin, node) = (Instant::now(), call.node());
    let pid = match (call.argument("pidfile"), call.number("pid")) {
        (Some(file), _) => {
            call.say(&format!("Waiting for pid file '{file}' to appear"))?;
            let pid = loop {
                match read_pid(Path::new(file)) {
                    Ok(pid) => break pid,
                    // It may be there and not yet written.
                    Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData) => {}
                    Err(error) => return Err(cannot_read(file, &error)),
                }
                over(call, begin)?;
                thread::sleep(POLL);
            };
            call.say(&format!("pid is {pid}"))?;
            pid
        }
        (None, pid) => pid.unwrap_or_default(),
    };
    call.say(&format!("Waiting for the control socket of node '{node}' while OS process '{pid}' is running"))?;
    let mut is_told = false;
    loop {
        if !exists(pid) {
            return Err(Failure::new(Exit::Unavailable, "process_not_running"));
        }
        match call.phase() {
            Ok(phase) => {
                if !is_told {
                    is_told = true;
                    call.say(&format!("Waiting for applications 'rabbit_and_plugins' to start on node '{node}'"))?;
                }
                if phase == "running" {
                    call.say(&format!("Applications 'rabbit_and_plugins' are running on node '{node}'"))?;
                    return Ok(Answer::Done);
                }
            }
            Err(failure) if failure.exit == Exit::Unavailable => {}
            Err(failure) => return Err(failure),
        }
        over(call, begin)?;
        thread::sleep(POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_there_until_it_ends() {
        let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
        assert!(exists(child.id().into()) && exists(std::process::id().into()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!exists(child.id().into()));
    }

    #[test]
    fn a_pid_file_has_a_number() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pid");
        assert_eq!(read_pid(&file).unwrap_err().kind(), io::ErrorKind::NotFound);
        for (text, pid) in [("17\n", Some(17)), ("", None), ("x", None)] {
            fs::write(&file, text).unwrap();
            assert_eq!(read_pid(&file).ok(), pid, "{text}");
        }
    }
}
