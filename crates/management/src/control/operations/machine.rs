//! The process and the machine it runs on, as far as every program can see them.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, ToSocketAddrs};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};

use super::{Call, Failure, Operation};
use crate::control::Kind;

pub(super) const OPERATIONS: [Operation; 4] = [
    Operation { name: "os_env", run: os_env },
    Operation { name: "resolve_hostname", run: resolve_hostname },
    Operation { name: "resolver_info", run: resolver_info },
    Operation { name: "thread_stats", run: thread_stats },
];

/// What the names of variables begin with that mean something to a node.
const PREFIXES: [&str; 2] = ["LEVERET_", "RABBITMQ_"];
/// What is in the name of a variable that nobody is to see.
const SECRETS: [&str; 5] = ["PASS", "SECRET", "COOKIE", "TOKEN", "PRIVATE"];
/// Longest look at threads.
const SECONDS_MAX: u64 = 300;
/// Looks at threads in a second.
const LOOKS: u32 = 4;
/// Jiffies in a second, on every Linux there is.
const JIFFIES: f64 = 100.0;

fn os_env(call: &Call<'_>) -> Result<Value, Failure> {
    for (name, value) in std::env::vars_os() {
        let (name, value) = (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned());
        if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            let value = shown(&name, value);
            call.row(&Map::from_iter([("name".to_owned(), json!(name)), ("value".to_owned(), json!(value))]))?;
        }
    }
    Ok(Value::Null)
}

/// The value of a variable, unless it is a secret.
fn shown(name: &str, value: String) -> String {
    let name = name.to_ascii_uppercase();
    if SECRETS.iter().any(|part| name.contains(part)) { "********".to_owned() } else { value }
}

fn resolve_hostname(call: &Call<'_>) -> Result<Value, Failure> {
    let (host, family) = (call.text("hostname")?, call.text("family")?);
    let found = (host, 0).to_socket_addrs();
    let found = found.map_err(|error| Failure::new(Kind::Unavailable, format!("cannot resolve {host}: {error}")))?;
    let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
    addresses.retain(|address| if family == "ipv6" { address.is_ipv6() } else { address.is_ipv4() });
    addresses.dedup();
    if addresses.is_empty() {
        return Err(Failure::new(Kind::Unavailable, format!("{host} has no {family} address")));
    }
    Ok(json!({ "addresses": addresses }))
}

#[allow(clippy::unnecessary_wraps, reason = "operations have one signature")]
fn resolver_info(_: &Call<'_>) -> Result<Value, Failure> {
    let words = |file: &str, key: &str| -> Vec<String> {
        let text = fs::read_to_string(file).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.trim().strip_prefix(key));
        let values = lines.filter(|rest| rest.starts_with([' ', '\t', ':']));
        values
            .flat_map(|rest| rest.trim_start_matches([':', ' ', '\t']).split_whitespace())
            .map(str::to_owned)
            .collect()
    };
    Ok(json!({
        "lookup": "native",
        "hosts_file": "/etc/hosts",
        "resolv_conf": "/etc/resolv.conf",
        "order": words("/etc/nsswitch.conf", "hosts"),
        "nameservers": words("/etc/resolv.conf", "nameserver"),
        "search": words("/etc/resolv.conf", "search"),
    }))
}

/// A thread as the system sees it.
#[derive(Debug, Clone, PartialEq)]
struct Thread {
    name: String,
    /// What it is at: `R` runs, `S` waits, `D` waits for the disk.
    state: char,
    /// For how long it has been running, in jiffies.
    time: u64,
}

/// What threads do for some seconds: how busy each is, and whether it waited for the disk the whole time.
fn thread_stats(call: &Call<'_>) -> Result<Value, Failure> {
    let seconds = call.optional_number("seconds")?.unwrap_or(5).clamp(1, SECONDS_MAX);
    let first = threads()?;
    let started = Instant::now();
    let mut waits = first.clone();
    waits.retain(|_, thread| thread.state == 'D');
    while started.elapsed() < Duration::from_secs(seconds) && !call.is_deserted() {
        thread::sleep(Duration::from_secs(1) / LOOKS);
        let now = threads()?;
        waits.retain(|id, _| now.get(id).is_some_and(|thread| thread.state == 'D'));
    }
    let took = started.elapsed().as_secs_f64();
    for (id, thread) in threads()? {
        let before = first.get(&id).map_or(0, |thread| thread.time);
        let jiffies = u32::try_from(thread.time.saturating_sub(before)).unwrap_or(u32::MAX);
        let busy = f64::from(jiffies) / JIFFIES / took * 100.0;
        let fields = [
            ("thread".to_owned(), json!(thread.name)),
            ("busy_percent".to_owned(), json!((busy * 10.0).round() / 10.0)),
            ("stuck".to_owned(), json!(waits.contains_key(&id))),
        ];
        call.row(&Map::from_iter(fields))?;
    }
    Ok(Value::Null)
}

/// The threads of this process by their numbers.
fn threads() -> Result<BTreeMap<u64, Thread>, Failure> {
    let failed = |error: std::io::Error| Failure::software(format!("cannot read /proc/self/task: {error}"));
    let mut threads = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/task").map_err(failed)?.flatten() {
        let id = entry.file_name().to_string_lossy().parse();
        // One that has just ended has no file any more.
        let stat = fs::read_to_string(entry.path().join("stat")).ok().and_then(|text| parse(&text));
        if let (Ok(id), Some(thread)) = (id, stat) {
            threads.insert(id, thread);
        }
    }
    Ok(threads)
}

/// Reads a line of `/proc/PID/task/ID/stat`.
fn parse(stat: &str) -> Option<Thread> {
    // The name is in brackets, and may have brackets itself.
    let (before, after) = stat.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    let time = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Thread { name: name.to_owned(), state: fields.first()?.chars().next()?, time: time(11)? + time(12)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_read_whatever_it_is_called() {
        let stat = "17 (odd) (name) D 1 17 17 0 -1 4194368 5 0 0 0 30 12 0 0 20 0 5 0 1 2 3";
        assert_eq!(parse(stat), Some(Thread { name: "odd) (name".to_owned(), state: 'D', time: 42 }));
        for wrong in ["", "17 name S 1", "17 (name) S 1 2"] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert!(!threads().unwrap().is_empty());
    }

    #[test]
    fn secrets_in_the_environment_are_not_told() {
        for (name, told) in [
            ("RABBITMQ_DEFAULT_PASS", false),
            ("RABBITMQ_ERLANG_COOKIE", false),
            ("LEVERET_CTL_PASSWORD", false),
            ("RABBITMQ_NODENAME", true),
        ] {
            assert_eq!(shown(name, "value".to_owned()) == "value", told, "{name}");
        }
    }
}
