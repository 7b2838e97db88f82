//! Taking a node out of service and back, and what is around an upgrade.

use serde_json::json;

use super::nodes::ask;
use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::output::Answer;
use crate::output::sections::texts;
use crate::spec::{Command, Positional, Section};
use crate::tool::Tool;

const UPGRADE: &[Tool] = &[Tool::Upgrade];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "drain",
        Section::Upgrade,
        "Puts the node in maintenance mode. Such nodes will not serve any client traffic or host any primary queue replicas",
        |call| ask(call, "drain"),
    )
    .tools(UPGRADE)
    .notes("Listeners are closed and all connections ended; `revive` opens the listeners again. A restart does so, too.")
    .banner(|call| {
        let node = call.node();
        Some(format!("Will put node {node} into maintenance mode. The node will no longer serve any client traffic!"))
    }),
    Command::new(
        "revive",
        Section::Upgrade,
        "Puts the node out of maintenance and into regular operating mode. Such nodes will again serve client traffic and host primary queue replicas",
        |call| ask(call, "revive"),
    )
    .tools(UPGRADE)
    .banner(|call| {
        let node = call.node();
        Some(format!("Will put node {node} back into regular operating mode. The node will again serve client traffic and host primary queue replicas."))
    }),
    Command::new(
        "await_online_quorum_plus_one",
        Section::Upgrade,
        "Waits for all quorum queues to have an above minimum online quorum",
        await_replicas,
    )
    .takes("[--timeout <timeout>]", &[], &[])
    .tools(UPGRADE)
    .timeout(120)
    .banner(|call| {
        let seconds = call.timeout().unwrap_or_default().as_secs();
        Some(format!("Will wait for a quorum + 1 of nodes to be online for all quorum queues for {seconds} seconds..."))
    }),
    Command::new(
        "await_online_synchronized_mirror",
        Section::Upgrade,
        "Waits for all classic mirrored queues to have a synchronized mirror",
        await_replicas,
    )
    .takes("[--timeout <timeout>]", &[], &[])
    .tools(UPGRADE)
    .timeout(120)
    .banner(|call| {
        let seconds = call.timeout().unwrap_or_default().as_secs();
        Some(format!("Will wait for a synchronised mirror be online for all classic mirrored queues for {seconds} seconds..."))
    }),
    Command::new(
        "post_upgrade",
        Section::Upgrade,
        "Runs post-upgrade tasks, of which there are none",
        |call| ask(call, "ping"),
    )
    .tools(UPGRADE)
    .banner(|_| Some("Executing post upgrade tasks...\nThere are none: a node that is on its own has nothing to rebalance.".to_owned())),
    Command::new(
        "has_reached_target_cluster_size",
        Section::Upgrade,
        "Check that exits with a non-zero code if the cluster has fewer nodes than it is to have",
        has_reached_target,
    )
    .takes("[<size>] [--timeout <timeout>]", &[Positional::optional("size", "how many nodes it is to have [default: 1]")], &[])
    .tools(&[Tool::Upgrade, Tool::Diagnostics])
    .timeout(60)
    .validate(|call| target(call).map(drop))
    .banner(|call| Some(format!("Checking if the cluster of node {} has reached its target size ...", call.node()))),
];

/// How many nodes the cluster has.
fn cluster_size(call: &Invocation) -> Result<usize, Failure> {
    let status = call.call("cluster_status", &json!({}))?.result;
    Ok(status.get("running_nodes").into_iter().flat_map(texts).count())
}

/// Waits for replicas, of which a node on its own has none.
fn await_replicas(call: &Invocation) -> Result<Answer, Failure> {
    match cluster_size(call)? {
        1 if call.is_hushed() => Ok(Answer::Done),
        1 => Ok(Answer::Text(
            "Target node seems to be the only one in a single node cluster, the command does not apply".to_owned(),
        )),
        size => {
            let text = format!("the node is in a cluster of {size} nodes, and this tool does not know its replicas");
            Err(Failure::new(Exit::Unavailable, text))
        }
    }
}

fn target(call: &Invocation) -> Result<usize, Failure> {
    match call.argument("size") {
        None => Ok(1),
        Some(text) => text
            .parse::<usize>()
            .ok()
            .filter(|size| *size > 0)
            .ok_or_else(|| call.bad_argument("Argument must be a positive integer")),
    }
}

fn has_reached_target(call: &Invocation) -> Result<Answer, Failure> {
    let (size, target) = (cluster_size(call)?, target(call)?);
    if size < target {
        let text = format!("The cluster has {size} of {target} nodes");
        return Err(Failure::new(Exit::Unavailable, text));
    }
    let text = format!("The cluster has reached its target size of {target}");
    Ok(Answer::Report { text, value: json!({ "result": "ok", "size": size, "target": target }) })
}
