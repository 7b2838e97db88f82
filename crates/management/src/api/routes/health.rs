//! Health checks: 200 if all is well, 503 with what is not.

use std::time::{SystemTime, UNIX_EPOCH};

use leveret_broker::Name;
use leveret_broker::regex::Pattern;
use serde_json::{Value, json};

use super::nodes::{ill, known};
use crate::api::route::Gives;
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::health;
use crate::{CertificateFile, ListenerKind, Phase};

/// A check for everybody who may ask for anything.
macro_rules! check {
    ($path:literal, $run:expr, $summary:literal) => {
        check!($path, Access::Management, $run, $summary)
    };
    ($path:literal, $access:expr, $run:expr, $summary:literal) => {
        Route { path: $path, operations: &[Operation::get($access, $run, $summary).gives(Gives::One("Health"))] }
    };
}

pub(super) const GROUP: Group = Group {
    title: "Health",
    routes: &[
        check!(
            "/api/health/checks/alarms",
            |ask| Ok(alarms(ask, "There are alarms in effect in the cluster")),
            "No node has an alarm"
        ),
        check!(
            "/api/health/checks/local-alarms",
            |ask| Ok(alarms(ask, "There are alarms in effect on the node")),
            "This node has no alarm"
        ),
        check!("/api/health/checks/metadata-store/initialized", store, "What is declared can be kept"),
        check!(
            "/api/health/checks/metadata-store/initialized/with-data",
            store_with_data,
            "What is declared can be kept, and there is a vhost"
        ),
        check!(
            "/api/health/checks/certificate-expiration/{within}/{unit}",
            certificates,
            "No certificate of a listener ends within so many days, weeks, months or years"
        ),
        check!("/api/health/checks/port-listener/{port}", port, "Somebody listens at a port"),
        check!(
            "/api/health/checks/protocol-listener/{protocols}",
            protocols,
            "Somebody listens for each of these protocols, such as `amqp` or `amqps,http`"
        ),
        check!("/api/health/checks/virtual-hosts", vhosts, "All vhosts work"),
        check!("/api/health/checks/node-is-quorum-critical", alone, "No queue would lose its quorum with this node"),
        check!(
            "/api/health/checks/node-is-mirror-sync-critical",
            alone,
            "No mirrored queue would lose messages with this node; there are none"
        ),
        check!(
            "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts",
            |ask| leaderless(ask, None),
            "All quorum queues can agree upon messages"
        ),
        check!(
            "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}",
            |ask| leaderless(ask, None),
            "The same for those whose names match a regular expression"
        ),
        check!(
            "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}",
            Access::VisibleVhost,
            |ask| leaderless(ask, Some(&ask.vhost()?)),
            "All quorum queues of a vhost can agree upon messages"
        ),
        check!(
            "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}",
            Access::VisibleVhost,
            |ask| leaderless(ask, Some(&ask.vhost()?)),
            "The same for those whose names match a regular expression"
        ),
        check!(
            "/api/health/checks/is-in-service",
            Access::Anybody,
            in_service,
            "The node runs, and is not under maintenance"
        ),
        check!(
            "/api/health/checks/below-node-connection-limit",
            Access::Anybody,
            below_limit,
            "The node takes more connections"
        ),
        check!(
            "/api/health/checks/ready-to-serve-clients",
            Access::Anybody,
            ready,
            "The node is in service, listens for AMQP and takes more connections"
        ),
        check!(
            "/api/health/checks/reached-target-cluster-size",
            cluster_size,
            "As many nodes run as the cluster is to have"
        ),
        check!("/api/aliveness-test/{vhost}", Access::Vhost, alive, "A vhost works"),
        check!("/api/healthchecks/node", |_| Ok(well()), "Nothing, as in RabbitMQ: use the checks above"),
        check!("/api/healthchecks/node/{node}", named_node, "The same, under the node's name"),
    ],
};

const DAY_S: i64 = 86_400;
/// The units of a period, and what they have in seconds; a month is a twelfth of a year.
const UNITS: [(&str, i64); 4] =
    [("days", DAY_S), ("weeks", 7 * DAY_S), ("months", 365 * DAY_S / 12), ("years", 365 * DAY_S)];
/// What clients call protocols, and what those are called here.
const ALIASES: [(&str, &str); 7] = [
    ("amqp091", "amqp"),
    ("amqp0.9.1", "amqp"),
    ("amqp0-9-1", "amqp"),
    ("amqp10", "amqp"),
    ("amqp1.0", "amqp"),
    ("amqp1-0", "amqp"),
    ("amqps", "amqp/ssl"),
];

fn well() -> Answer {
    Answer::json(&json!({ "status": "ok" }))
}

fn alarms(ask: &Ask<'_>, reason: &str) -> Answer {
    let facts = ask.host().facts();
    if facts.alarms.is_empty() {
        return well();
    }
    let row = |text: &String| json!({ "node": facts.node_name, "resource": "disk", "description": text });
    ill(reason, json!({ "alarms": facts.alarms.iter().map(row).collect::<Vec<_>>() }))
}

fn store(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let alarms = ask.host().facts().alarms;
    Ok(alarms.first().map_or_else(well, |alarm| ill(alarm, json!({}))))
}

fn store_with_data(ask: &Ask<'_>) -> Result<Answer, Failure> {
    if ask.node().read(|topology| topology.vhosts().next().is_none()) {
        let reason = "Metadata store has not yet been initialized: it reports to have no virtual hosts";
        return Ok(ill(reason, json!({})));
    }
    store(ask)
}

fn certificates(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let within = ask.part("within").parse::<i64>();
    let within = within.map_err(|_| Failure::bad_request("Invalid expiration value."))?;
    let unit = ask.part("unit").to_lowercase();
    let (_, seconds) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| {
        Failure::bad_request("Time unit not recognised. Supported units: days, weeks, months, years.")
    })?;
    let until = now_s().saturating_add(within.saturating_mul(*seconds));
    let mut expired = Vec::new();
    let listeners = ask.host().listeners();
    let node = ask.host().facts().node_name;
    for CertificateFile { kind, path, pem } in ask.host().certificates() {
        let ends = health::ends(&pem).into_iter().filter(|end| end.is_none_or(|end| end < until));
        let ends: Vec<String> = ends.map(|end| end.map_or_else(|| "cannot be read".to_owned(), date)).collect();
        if ends.is_empty() {
            continue;
        }
        for listener in listeners.iter().filter(|listener| listener.kind == kind) {
            expired.push(json!({
                "node": node,
                "protocol": kind.name(),
                "interface": listener.address.ip().to_string(),
                "port": listener.address.port(),
                "certfile": path,
                "certfile_expires_on": ends,
                "cacertfile": "",
                "cacertfile_expires_on": [],
            }));
        }
    }
    Ok(if expired.is_empty() { well() } else { ill("Certificates expiring", json!({ "expired": expired })) })
}

fn now_s() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs()).unwrap_or(i64::MAX)
}

/// A time as text, such as `2027-02-28 18:13:13`.
fn date(unix_s: i64) -> String {
    let (days, rest) = (unix_s.div_euclid(DAY_S), unix_s.rem_euclid(DAY_S));
    // Years begin in March here, so that the day that some have more is their last one.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

fn port(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let port = ask.part("port").parse::<u16>().map_err(|_| Failure::bad_request("Invalid port"))?;
    let ports: Vec<u16> = ask.host().listeners().iter().map(|listener| listener.address.port()).collect();
    Ok(if ports.contains(&port) {
        Answer::json(&json!({ "status": "ok", "port": port }))
    } else {
        ill("No active listener", json!({ "missing": port, "ports": ports }))
    })
}

fn protocols(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let asked = ask.part("protocols").to_lowercase();
    let alias = |name: &str| ALIASES.iter().find(|(known, _)| *known == name).map(|(_, meant)| (*meant).to_owned());
    let asked: Vec<String> =
        asked.split(',').map(str::trim).map(|name| alias(name).unwrap_or_else(|| name.to_owned())).collect();
    let mut known: Vec<&str> = ask.host().listeners().iter().map(|listener| listener.kind.name()).collect();
    known.sort_unstable();
    known.dedup();
    let missing: Vec<&str> = asked.iter().map(String::as_str).filter(|name| !known.contains(name)).collect();
    Ok(if missing.is_empty() {
        Answer::json(&json!({ "status": "ok", "protocol": asked.join(",") }))
    } else {
        ill("No active listener", json!({ "missing": missing.join(","), "protocols": known }))
    })
}

fn vhosts(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let down = health::vhosts_down(ask.node(), &ask.host().facts().alarms);
    let names: Vec<&str> = down.iter().map(|down| &*down.name).collect();
    Ok(if names.is_empty() { well() } else { ill("Some virtual hosts are down", json!({ "virtual-hosts": names })) })
}

/// A single node is what its queues are on: nothing is worse without it than with it gone.
fn alone(_: &Ask<'_>) -> Result<Answer, Failure> {
    Ok(Answer::json(&json!({ "status": "ok", "reason": "single node cluster" })))
}

fn leaderless(ask: &Ask<'_>, vhost: Option<&Name>) -> Result<Answer, Failure> {
    let pattern = Some(ask.part("pattern")).filter(|pattern| !pattern.is_empty());
    let pattern = pattern.map(Pattern::new).transpose();
    let pattern = pattern.map_err(|reason| Failure::bad_request(format!("invalid_regex: {reason}")))?;
    let visible = ask.visible_vhosts();
    let mut found = health::leaderless(ask.node(), &ask.host().facts().alarms);
    found.retain(|queue| {
        vhost.is_none_or(|vhost| queue.vhost == *vhost)
            && visible.contains(&queue.vhost)
            && pattern.as_ref().is_none_or(|pattern| pattern.matches(&queue.name))
    });
    if found.is_empty() {
        return Ok(well());
    }
    let row = |queue: &health::Found| {
        json!({
            "readable_name": format!("queue '{}' in vhost '{}'", queue.name, queue.vhost),
            "name": &*queue.name,
            "virtual_host": &*queue.vhost,
            "type": "quorum",
        })
    };
    let queues: Vec<Value> = found.iter().map(row).collect();
    Ok(ill("There are quorum queues without an elected leader", json!({ "queues": queues })))
}

/// Why the node does not serve, if it does not.
fn out_of_service(ask: &Ask<'_>) -> Option<&'static str> {
    let serves = ask.host().phase() == Phase::Running && !health::is_under_maintenance(ask.node());
    (!serves).then_some("this rabbit node is not currently available to serve")
}

fn in_service(ask: &Ask<'_>) -> Result<Answer, Failure> {
    Ok(out_of_service(ask).map_or_else(well, |reason| ill(reason, json!({}))))
}

/// How many connections there are, and may be, and whether that leaves room.
fn connections(ask: &Ask<'_>) -> (usize, Value, bool) {
    let (count, limit) = (ask.node().connection_count(), ask.node().limits().max_connections);
    let has_room = limit.is_none_or(|limit| (count as u64) < limit);
    (count, limit.map_or_else(|| json!("infinity"), |limit| json!(limit)), has_room)
}

const FULL: &str = "node connection limit is reached";

fn below_limit(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let (count, limit, has_room) = connections(ask);
    Ok(if has_room {
        Answer::json(&json!({ "status": "ok", "limit": limit, "connections": count }))
    } else {
        ill(FULL, json!({ "limit": limit, "connections": count }))
    })
}

fn ready(ask: &Ask<'_>) -> Result<Answer, Failure> {
    if let Some(reason) = out_of_service(ask) {
        return Ok(ill(reason, json!({})));
    }
    let is_amqp = |kind| matches!(kind, ListenerKind::Amqp | ListenerKind::Amqps);
    if !ask.host().listeners().iter().any(|listener| is_amqp(listener.kind)) {
        return Ok(ill("no active listeners for AMQP/AMQPS", json!({})));
    }
    let (count, _, has_room) = connections(ask);
    Ok(if has_room { well() } else { ill(FULL, json!({ "connections": count })) })
}

/// There is no cluster to join, so the node is all there is to be.
fn cluster_size(_: &Ask<'_>) -> Result<Answer, Failure> {
    Ok(Answer::json(&json!({ "status": "ok", "target_cluster_size": 1, "running_nodes": 1 })))
}

fn alive(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let vhost = ask.vhost()?;
    let down = health::vhosts_down(ask.node(), &ask.host().facts().alarms);
    let down = down.into_iter().find(|down| down.name == vhost);
    Ok(down.map_or_else(well, |down| ill(&down.reason, json!({}))))
}

fn named_node(ask: &Ask<'_>) -> Result<Answer, Failure> {
    known(ask)?;
    Ok(well())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_as_dates() {
        for (unix_s, expected) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_803_838_393, "2027-02-28 18:13:13"),
            (4_107_542_399, "2100-02-28 23:59:59"),
        ] {
            assert_eq!(date(unix_s), expected);
        }
    }
}
