//! Carrying out the steps of a group.

use std::collections::HashMap;
use std::fs;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::answer::{Answer, Body, Entry};
use crate::client::Clients;
use crate::http;
use crate::node::{Broker, Node};
use crate::normal::{Known, normal};
use crate::script::{Action, Request, Step};

/// How long it takes RabbitMQ at most until its statistics have what has happened.
const SETTLING: Duration = Duration::from_millis(6500);

/// What stands for the name of a connection, with what it calls itself behind it.
const CONNECTION: &str = "{connection ";

/// The answers of a group.
pub(crate) struct Ran {
    pub(crate) version: String,
    pub(crate) entries: Vec<Entry>,
}

/// Runs all steps in order against a fresh node.
pub(crate) fn all(broker: Broker, group: &str, steps: &[Step]) -> Ran {
    let node = Node::start(broker, group);
    let mut clients = Clients::default();
    let version = version(&node);
    let known = known(&node, &version);
    let mut times: HashMap<&str, usize> = HashMap::new();
    let mut entries = Vec::new();
    for step in steps {
        let answer = match &step.action {
            Action::Ask { request, modes } => {
                let reply = http::ask(&node.address(), &complete(request, &node));
                normal(&reply.unwrap_or_else(|error| panic!("{}: {error}", step.line)), modes, &known)
            }
            Action::Own(act) => own(act, &node, &mut clients),
        };
        let time = times.entry(&step.line).and_modify(|time| *time += 1).or_insert(1);
        entries.push(Entry { line: step.line.clone(), time: *time, because: String::new(), answer });
    }
    Ran { version, entries }
}

/// What is other in another run.
fn known(node: &Node, version: &str) -> Known {
    let mut known = vec![
        (node.folder.path().display().to_string(), "{dir}"),
        (node.name.clone(), "{node}"),
        (cluster_name(&node.name), "{cluster}"),
        (node.port.to_string(), "{port}"),
        (node.management_port.to_string(), "{management-port}"),
        (node.distribution_port.to_string(), "{distribution-port}"),
        (version.to_owned(), "{version}"),
    ];
    known.retain(|(text, _)| !text.is_empty());
    known.into_iter().map(|(text, name)| (text, name.to_owned())).collect()
}

/// What RabbitMQ calls the cluster of a node: the node's name, but with the machine's.
fn cluster_name(node: &str) -> String {
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (name, _) = node.split_once('@').unwrap_or_default();
    format!("{name}@{}", machine.trim())
}

fn own(act: &str, node: &Node, clients: &mut Clients) -> Answer {
    if act == "settle" {
        if matches!(node.broker, Broker::RabbitMq { .. }) {
            thread::sleep(SETTLING);
        }
        return Answer::default();
    }
    let told = clients.act(act, &node.url());
    let body = if told.is_empty() { Body::None } else { Body::Text(told.trim_end().to_owned()) };
    Answer { body, ..Answer::default() }
}

/// The request as it is sent.
pub(crate) fn complete(request: &Request, node: &Node) -> Request {
    let mut request = request.clone();
    if let Some((user, password)) = &request.login {
        let login = format!("Basic {}", base64(format!("{user}:{password}").as_bytes()));
        request.headers.push(("Authorization".to_owned(), login));
    }
    for text in [Some(&mut request.path), request.body.as_mut()].into_iter().flatten() {
        *text = text.replace("{node}", &node.name).replace("{port}", &node.port.to_string());
    }
    while let Some((before, (name, after))) =
        request.path.split_once(CONNECTION).and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        request.path = format!("{before}{}{after}", percent_encode(&connection(name, node)));
    }
    request
}

/// The name that the node has for the connection that calls itself `name`.
fn connection(name: &str, node: &Node) -> String {
    let connections = get("/api/connections", node);
    let connections = connections.as_array().cloned().unwrap_or_default();
    let found = connections.iter().find(|connection| connection["client_properties"]["connection_name"] == name);
    let found = found.and_then(|connection| connection["name"].as_str());
    found.unwrap_or_else(|| panic!("no connection {name}: {connections:?}")).to_owned()
}

fn version(node: &Node) -> String {
    get("/api/overview", node)["rabbitmq_version"].as_str().unwrap_or_default().to_owned()
}

fn get(path: &str, node: &Node) -> Value {
    let login = Some(("guest".to_owned(), "guest".to_owned()));
    let request = Request { method: "GET".to_owned(), path: path.to_owned(), headers: Vec::new(), body: None, login };
    let reply = http::ask(&node.address(), &complete(&request, node)).unwrap();
    serde_json::from_slice(&reply.body).unwrap_or_default()
}

fn percent_encode(text: &str) -> String {
    let encode = |octet: u8| match octet {
        octet if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) => char::from(octet).to_string(),
        octet => format!("%{octet:02X}"),
    };
    text.bytes().map(encode).collect()
}

fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in octets.chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - three.len()));
        for place in 0..4 {
            let index = (bits >> (18 - 6 * place)) & 63;
            let letter = if place > three.len() { b'=' } else { ALPHABET[index as usize] };
            out.push(char::from(letter));
        }
    }
    out
}

#[test]
fn logins_are_encoded() {
    for (text, encoded) in [("guest:guest", "Z3Vlc3Q6Z3Vlc3Q="), ("a", "YQ=="), ("abc", "YWJj"), ("", "")] {
        assert_eq!(base64(text.as_bytes()), encoded);
    }
}
