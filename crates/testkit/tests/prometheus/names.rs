//! The names, types, labels and texts of metrics, against those of RabbitMQ.

use std::collections::{BTreeMap, BTreeSet};

use leveret_testkit::amqp091::Connection;

use crate::node::{Node, declare};

const DETAILED: &str = include_str!("recorded/detailed.txt");
const PER_OBJECT: &str = include_str!("recorded/per-object.txt");
const AGGREGATED: &str = include_str!("recorded/metrics.txt");
const LATER: &str = include_str!("later.txt");
const DASHBOARDS: &str = include_str!("dashboards.txt");
const DIFFERENCES: &str = include_str!("differences.txt");

/// What is known of a family of metrics.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Family {
    kind: String,
    help: String,
    labels: BTreeSet<String>,
    pub(crate) samples: Vec<(String, String)>,
}

/// What a page has, by name. Panics if it is not as the format wants it.
pub(crate) fn families(page: &str) -> BTreeMap<String, Family> {
    assert!(page.ends_with('\n'), "the last line does not end");
    let mut families = BTreeMap::<String, Family>::new();
    let mut current = String::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            name.clone_into(&mut current);
            let family = Family { kind: kind.to_owned(), ..Family::default() };
            assert_eq!(families.insert(current.clone(), family), None, "{name} is there twice");
            continue;
        }
        let family = families.get_mut(&current).unwrap_or_else(|| panic!("no family: {line}"));
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap();
            assert_eq!(name, current);
            help.clone_into(&mut family.help);
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        assert!(value == "NaN" || value.parse::<f64>().is_ok(), "{line}");
        let (name, labels) =
            sample.split_once('{').map_or((sample, ""), |(name, rest)| (name, rest.strip_suffix('}').unwrap()));
        let rest = name.strip_prefix(current.as_str()).unwrap_or_else(|| panic!("{line} in {current}"));
        let is_part = family.kind == "histogram" && ["_bucket", "_sum", "_count"].contains(&rest);
        assert!(rest.is_empty() || is_part, "{line} in {current}");
        family.labels.extend(label_names(labels));
        family.samples.push((sample.to_owned(), value.to_owned()));
    }
    families
}

/// The names of labels, whatever is in their values.
fn label_names(labels: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = labels;
    while let Some((name, value)) = rest.split_once("=\"") {
        names.push(name.trim_start_matches(',').to_owned());
        let mut escaped = false;
        let end = value.find(|letter| {
            let ends = letter == '"' && !escaped;
            escaped = letter == '\\' && !escaped;
            ends
        });
        rest = &value[end.unwrap() + 1..];
    }
    assert!(rest.is_empty(), "{labels}");
    names
}

/// A line of a recording.
fn recorded(line: &str) -> (String, Family) {
    let mut parts = line.splitn(4, ' ');
    let mut next = || parts.next().unwrap_or_default().to_owned();
    let (name, kind, labels, help) = (next(), next(), next(), next());
    let labels = labels.split(',').filter(|label| *label != "-").map(str::to_owned).collect();
    (name, Family { kind, help, labels, samples: Vec::new() })
}

/// The lines of a file that say something.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty())
}

/// What is meant to be other.
struct Differences(Vec<(String, String)>);

impl Differences {
    fn read() -> Self {
        let line = |line: &str| {
            let mut words = line.splitn(3, ' ');
            let (what, name, reason) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap_or_default());
            assert!(!reason.is_empty(), "no reason: {line}");
            (what.to_owned(), name.to_owned())
        };
        Self(lines(DIFFERENCES).map(line).collect())
    }

    fn has(&self, what: &str, name: &str) -> bool {
        let name = name.replacen("rabbitmq_detailed_", "rabbitmq_", 1);
        let is_it = |pattern: &str| match pattern.strip_suffix('*') {
            Some(begin) => name.starts_with(begin),
            None => name == pattern,
        };
        self.0.iter().any(|(kind, pattern)| kind == what && is_it(pattern))
    }
}

/// A node on which something of everything happened, and the connection that keeps it so.
fn used() -> (Node, Connection) {
    let node = Node::start("");
    let connection = node.connect();
    let channel = connection.channel();
    channel.confirm_select();
    declare(&channel, "quorum", "quorum");
    declare(&channel, "classic", "classic");
    for queue in ["classic", "classic", "quorum"] {
        channel.publish("", queue, b"message");
        channel.next_confirm();
    }
    channel.publish("", "nowhere", b"lost");
    channel.next_confirm();
    let got = channel.get("classic").unwrap();
    channel.ack(got.delivery_tag);
    channel.consume("quorum");
    channel.next_delivery();
    channel.round_trip();
    (node, connection)
}

/// What is not as it was recorded.
fn compare(
    found: &BTreeMap<String, Family>,
    recorded: impl Iterator<Item = (String, Family)>,
    prefix: &str,
) -> Vec<String> {
    let differences = Differences::read();
    let mut wrong = Vec::new();
    for (name, expected) in recorded {
        let Some(family) = found.get(&name) else {
            if !differences.has("absent", &name) {
                wrong.push(format!("{prefix}{name} is absent"));
            }
            continue;
        };
        if family.kind != expected.kind && !differences.has("type", &name) {
            wrong.push(format!("{prefix}{name} is a {}, not a {}", family.kind, expected.kind));
        }
        let is_known = expected.labels.is_empty() || family.labels.is_empty() || family.labels == expected.labels;
        if !is_known && !differences.has("labels", &name) {
            wrong.push(format!("{prefix}{name} has {:?}, not {:?}", family.labels, expected.labels));
        }
        if !expected.help.is_empty() && family.help != expected.help && !differences.has("help", &name) {
            wrong.push(format!("{prefix}{name}: {}\n  not: {}", family.help, expected.help));
        }
    }
    wrong
}

fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "not as in RabbitMQ, and not in differences.txt:\n{}", wrong.join("\n"));
}

#[test]
fn metrics_are_called_as_in_rabbitmq() {
    let (node, _connection) = used();
    let per_object = families(&node.page("/metrics/per-object"));
    let mut wrong = compare(&families(&node.page("/metrics")), lines(AGGREGATED).map(recorded), "/metrics ");
    wrong.extend(compare(&per_object, lines(PER_OBJECT).map(recorded), "/metrics/per-object "));
    wrong.extend(compare(&per_object, lines(LATER).map(recorded), "/metrics/per-object "));
    none(&wrong);
}

#[test]
fn groups_are_called_as_in_rabbitmq() {
    let (node, _connection) = used();
    let mut groups = BTreeMap::<&str, Vec<&str>>::new();
    for line in lines(DETAILED) {
        let (group, line) = line.split_once(": ").unwrap();
        groups.entry(group).or_default().push(line);
    }
    let mut wrong = Vec::new();
    for (group, lines) in groups {
        let path = format!("/metrics/detailed?family={group}");
        let found = families(&node.page(&path));
        wrong.extend(compare(&found, lines.iter().copied().map(recorded), &format!("{path} ")));
        let begins = ["rabbitmq_detailed_", "rabbitmq_cluster_"];
        let others = found.keys().filter(|name| !begins.iter().any(|begin| name.starts_with(begin)));
        assert!(others.eq(["rabbitmq_build_info", "rabbitmq_identity_info"]), "{path}");
    }
    none(&wrong);
}

#[test]
fn dashboards_find_all_they_ask_for() {
    let (node, _connection) = used();
    let aggregated = families(&node.page("/metrics"));
    for name in lines(DASHBOARDS) {
        assert!(aggregated.get(name).is_some_and(|family| !family.samples.is_empty()), "{name}");
    }
}

#[test]
fn every_difference_is_one() {
    let names: BTreeSet<String> =
        lines(AGGREGATED).chain(lines(PER_OBJECT)).chain(lines(LATER)).map(|line| recorded(line).0).collect();
    let (node, _connection) = used();
    let found = families(&node.page("/metrics/per-object"));
    for (what, pattern) in Differences::read().0 {
        let begin = pattern.trim_end_matches('*');
        let is_known = names.iter().any(|name| name.starts_with(begin));
        assert!(is_known, "RabbitMQ has no {pattern}");
        if what == "absent" {
            let is_found =
                found.keys().find(|name| if pattern.ends_with('*') { name.starts_with(begin) } else { *name == begin });
            assert_eq!(is_found, None, "it is there");
        }
    }
}
