//! Carrying out the steps of a group.

use std::collections::HashMap;

use crate::client::Clients;
use crate::node::{Broker, Node};
use crate::normal::normal;
use crate::script::{Action, Answer, Entry, Step};

/// The answers of a group.
pub(crate) struct Ran {
    pub(crate) version: String,
    pub(crate) entries: Vec<Entry>,
}

/// Runs all steps in order against a fresh node.
pub(crate) fn all(broker: Broker, group: &str, steps: &[Step]) -> Ran {
    let mut node = Node::start(broker, group);
    let mut clients = Clients::default();
    let version = node.shell("rabbitmqctl version").stdout.trim().to_owned();
    let mut times: HashMap<&str, usize> = HashMap::new();
    let mut entries = Vec::new();
    for step in steps {
        let answer = match &step.action {
            Action::Shell { command, modes } => {
                // A node that stops in this step is known by what it was.
                let known = node.known(&version);
                normal(&node.shell(command), modes, &known)
            }
            Action::Own(act) => Answer { stdout: own(act, &mut node, &mut clients), ..Answer::default() },
        };
        let time = times.entry(&step.line).and_modify(|time| *time += 1).or_insert(1);
        entries.push(Entry { line: step.line.clone(), time: *time, because: String::new(), answer });
    }
    Ran { version, entries }
}

fn own(act: &str, node: &mut Node, clients: &mut Clients) -> String {
    match act {
        "start" => node.restart(),
        "stopped" => {
            let status = node.await_stopped();
            return format!("{status}\n");
        }
        act if act.starts_with("tls ") => {
            let days = act.trim_start_matches("tls ");
            node.restart_with_tls(days.parse().unwrap_or_else(|error| panic!("{act}: {error}")));
        }
        act => return clients.act(act, &node.url()),
    }
    String::new()
}
