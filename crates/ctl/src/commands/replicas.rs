//! Replicated queues: `rabbitmq-queues` and `rabbitmq-streams`. A node is a cluster of one, so there is one replica of everything.

use serde_json::{Map, Value, json};

use crate::failure::{Exit, Failure};
use crate::invocation::Invocation;
use crate::output::{Answer, Rows};
use crate::spec::{Command, Flag, Positional, Section, Takes};
use crate::tool::Tool;

const QUEUES: &[Tool] = &[Tool::Queues];
const STREAMS: &[Tool] = &[Tool::Streams];
const BOTH: &[Tool] = &[Tool::Queues, Tool::Streams];
const PATTERNS: &[Flag] = &[
    Flag::with("queue-pattern", Takes::Text("pattern"), "regular expression to match queue names"),
    Flag::with("vhost-pattern", Takes::Text("pattern"), "regular expression to match virtual host names"),
    Flag::switch("errors-only", "only list queues which reported an error"),
];
const NO_STREAMS: &str = "there are no streams on this node: it does not support queues of this type yet";

pub(super) const COMMANDS: &[Command] = &[
    Command::new("quorum_status", Section::Monitoring, "Displays quorum status of a quorum queue", quorum_status)
        .pretty()
        .tools(QUEUES)
        .takes("[--vhost <vhost>] <queue>", &[Positional::one("queue", "Name of the queue")], &[])
        .banner(|it| Some(format!("Status of quorum queue {} on node {} ...", it.required("queue"), it.node()))),
    Command::new("peek", Section::Monitoring, "Peeks at the given position of a quorum queue", peek)
        .pretty()
        .tools(QUEUES)
        .takes(
            "[--vhost <vhost>] <queue> <position> [--timeout <timeout>]",
            &[
                Positional::one("queue", "Name of the queue"),
                Positional::one("position", "Position in the queue, starts at 1"),
            ],
            &[],
        )
        .validate(|it| match position(it) {
            Some(_) => Ok(()),
            None => Err(it.invalid(Exit::Usage, "\"position value must be a positive integer\"")),
        })
        .banner(|it| {
            let (queue, position) = (it.required("queue"), it.required("position"));
            Some(format!("Peeking at quorum queue {queue} at position {position} on node {} ...", it.node()))
        }),
    Command::new(
        "grow",
        Section::Cluster,
        "Grows quorum queue clusters by adding a member (replica) on the specified node for all matching queues",
        |_| Ok(Answer::Rows(Rows::default().or_line())),
    )
    .tools(QUEUES)
    .takes(
        "<node> <all | even> [--vhost-pattern <pattern>] [--queue-pattern <pattern>]",
        &[
            Positional::one("target", "node name to place replicas on"),
            Positional::one(
                "strategy",
                "add a member for all matching queues or just those whose membership count is an even number",
            ),
        ],
        PATTERNS,
    )
    .notes("There are no clusters yet: no queue can have another replica, so nothing is listed.")
    .validate(|it| match it.required("strategy") {
        "all" | "even" => Ok(()),
        other => Err(it.invalid(Exit::Usage, &format!("\"strategy '{other}' is not recognised.\""))),
    })
    .banner(|it| Some(format!("Growing {} quorum queues on {}...", it.required("strategy"), it.required("target")))),
    Command::new(
        "shrink",
        Section::Cluster,
        "Shrinks quorum queue clusters by removing any members (replicas) on the given node.",
        shrink,
    )
    .tools(QUEUES)
    .takes(
        "<node> [--errors-only]",
        &[Positional::one("target", "node name to remove replicas from")],
        &[Flag::switch("errors-only", "only list queues which reported an error")],
    )
    .banner(|it| Some(format!("Shrinking quorum queues on {}...", it.required("target")))),
    Command::new(
        "rebalance",
        Section::Cluster,
        "Re-balances leaders of replicated queues across up-and-running cluster nodes",
        rebalance,
    )
    .pretty()
    .tools(QUEUES)
    .takes(
        "< all | classic | quorum > [--vhost-pattern <pattern>] [--queue-pattern <pattern>]",
        &[Positional::one("type", "queue type, must be one of: all, classic, quorum")],
        PATTERNS,
    )
    .notes("There are no clusters yet: all leaders are on this node, so there is nothing to move.")
    .banner(|it| match it.required("type") {
        one @ ("all" | "classic" | "quorum") => Some(format!("Re-balancing leaders of {one} queues...")),
        _ => None,
    }),
    Command::new(
        "add_member",
        Section::Replication,
        "Adds a quorum queue member (replica) on the given node.",
        add_member,
    )
    .tools(QUEUES)
    .takes("[--vhost <vhost>] <queue> <node> [--timeout <timeout>]", MEMBER, &[])
    .banner(|it| {
        let (queue, node) = (it.required("queue"), it.required("target"));
        Some(format!("Adding a replica for queue {queue} on node {node}..."))
    }),
    Command::new(
        "delete_member",
        Section::Replication,
        "Removes a quorum queue member (replica) on the given node.",
        delete_member,
    )
    .tools(QUEUES)
    .takes("[--vhost <vhost>] <queue> <node>", MEMBER, &[])
    .banner(|it| {
        let (queue, node) = (it.required("queue"), it.required("target"));
        Some(format!("Removing a replica of queue {queue} on node {node}..."))
    }),
    Command::new(
        "reclaim_quorum_memory",
        Section::Operations,
        "Flushes quorum queue processes WAL, performs a full sweep GC on all of its local Erlang processes",
        |it| quorum_queue(it, "This operation is not applicable to classic queues").map(|_| Answer::Done),
    )
    .tools(QUEUES)
    .takes("[--vhost <vhost>] <quorum queue>", &[Positional::one("queue", "Name of the quorum queue")], &[])
    .notes("Memory of queues is given back as they drain; there is nothing to flush.")
    .banner(|it| Some(format!("Will flush Raft WAL of quorum queue {} ...", it.required("queue")))),
    Command::new("stream_status", Section::Monitoring, "Displays the status of a stream", |it| no_stream(it, "stream"))
        .tools(BOTH)
        .takes(
            "[--vhost <vhost>] [--tracking] <stream>",
            &[Positional::one("stream", "Name of the stream")],
            &[Flag::switch("tracking", "Include tracking information")],
        )
        .banner(|it| Some(format!("Status of stream {} on node {} ...", it.required("stream"), it.node()))),
    Command::new("add_replica", Section::Replication, "Adds a stream replica on the given node.", |it| {
        no_stream(it, "stream")
    })
    .tools(STREAMS)
    .takes("[--vhost <vhost>] <stream> <node>", REPLICA, &[])
    .banner(|it| {
        let (stream, node) = (it.required("stream"), it.required("target"));
        Some(format!("Adding a replica for queue {stream} on node {node}..."))
    }),
    Command::new("delete_replica", Section::Replication, "Removes a stream replica on the given node.", |it| {
        no_stream(it, "stream")
    })
    .tools(STREAMS)
    .takes("[--vhost <vhost>] <stream> <node>", REPLICA, &[])
    .banner(|it| {
        let (stream, node) = (it.required("stream"), it.required("target"));
        Some(format!("Removing a replica of queue {stream} on node {node}..."))
    }),
    Command::new(
        "set_stream_retention_policy",
        Section::Streams,
        "Sets the retention policy of a stream queue",
        |it| no_stream(it, "stream"),
    )
    .tools(STREAMS)
    .takes(
        "[--vhost <vhost>] <name> <policy>",
        &[Positional::one("stream", "stream queue name"), Positional::one("policy", "retention policy")],
        &[],
    )
    .banner(|it| {
        let (stream, policy) = (it.required("stream"), it.required("policy"));
        Some(format!("Setting retention policy of stream queue {stream} to {policy} ..."))
    }),
    Command::new("restart_stream", Section::Streams, "Restarts a stream, including all of its replicas", |it| {
        no_stream(it, "stream")
    })
    .tools(STREAMS)
    .takes("[--vhost <vhost>] <stream>", &[Positional::one("stream", "Name of the stream")], &[]),
];

const MEMBER: &[Positional] = &[
    Positional::one("queue", "quorum queue name"),
    Positional::one("target", "node the replica is on, or is to be on"),
];
const REPLICA: &[Positional] = &[
    Positional::one("stream", "stream queue name"),
    Positional::one("target", "node the replica is on, or is to be on"),
];

fn position(invocation: &Invocation) -> Option<u64> {
    invocation.required("position").parse().ok().filter(|position| *position > 0)
}

/// What a queue is, of any type.
fn queue(invocation: &Invocation, argument: &str) -> Result<Map<String, Value>, Failure> {
    let arguments = json!({
        "vhost": invocation.vhost(),
        "queue": invocation.required(argument),
        "columns": ["name", "type", "messages", "members", "leader"],
    });
    let missing = || {
        let text = format!("Target queue was not found in virtual host '{}'", invocation.vhost());
        Failure::new(Exit::Unavailable, text)
    };
    match invocation.call("queue", &arguments)?.result {
        Value::Object(queue) => Ok(queue),
        _ => Err(missing()),
    }
}

/// A queue that has to be a quorum queue, or why it cannot be.
fn quorum_queue(invocation: &Invocation, else_say: &str) -> Result<Map<String, Value>, Failure> {
    let queue = queue(invocation, "queue")?;
    if queue.get("type").and_then(Value::as_str) == Some("quorum") {
        Ok(queue)
    } else {
        Err(Failure::new(Exit::Unavailable, else_say))
    }
}

fn quorum_status(invocation: &Invocation) -> Result<Answer, Failure> {
    let queue = quorum_queue(invocation, "Cannot get quorum status of a classic queue")?;
    // A cluster of one has no Raft log; what RabbitMQ tells of it is left empty.
    let row = json!({
        "Node Name": queue.get("leader"),
        "Raft State": "leader",
        "Membership": "voter",
        "Log Index": "",
        "Commit Index": "",
        "Snapshot Index": "undefined",
        "Term": "",
        "Machine Version": "",
    });
    let Value::Object(row) = row else { return Ok(Answer::Done) };
    let columns = ["Node Name", "Raft State", "Log Index", "Commit Index", "Snapshot Index", "Term", "Machine Version"];
    Ok(Answer::Rows(Rows::new(columns, vec![row])))
}

fn peek(invocation: &Invocation) -> Result<Answer, Failure> {
    quorum_queue(invocation, "Cannot peek into a classic queue")?;
    let arguments = json!({
        "vhost": invocation.vhost(),
        "queue": invocation.required("queue"),
        "position": position(invocation),
    });
    let rows = invocation.call("peek", &arguments)?.rows;
    if rows.is_empty() {
        return Err(Failure::new(Exit::Unavailable, "Target queue does not have a message at that position"));
    }
    Ok(Answer::Rows(Rows::new(["keys", "values"], rows)))
}

/// This node is the only one, and the last replica stays.
fn shrink(invocation: &Invocation) -> Result<Answer, Failure> {
    if invocation.required("target") != invocation.node() {
        return Ok(Answer::Rows(Rows::default().or_line()));
    }
    let row = |(vhost, name)| {
        let row =
            json!({ "vhost": vhost, "name": name, "size": 1, "result": "error: the last node cannot be removed" });
        row.as_object().cloned()
    };
    let rows = quorum_queues(invocation)?.into_iter().filter_map(row).collect();
    Ok(Answer::Rows(Rows::new(["vhost", "name", "size", "result"], rows)))
}

/// Nothing moves; what there is, is told as RabbitMQ does.
fn rebalance(invocation: &Invocation) -> Result<Answer, Failure> {
    match invocation.required("type") {
        "all" | "quorum" => {
            let row = json!({
                "Node name": invocation.node(),
                "Number of quorum queues": quorum_queues(invocation)?.len(),
                "Number of replicated classic queues": 0,
            });
            let columns = ["Node name", "Number of quorum queues", "Number of replicated classic queues"];
            Ok(Answer::Rows(Rows::new(columns, row.as_object().cloned().into_iter().collect())))
        }
        "classic" => {
            let row = Map::from_iter([("Output".to_owned(), json!([]))]);
            Ok(Answer::Rows(Rows::new(["Output"], vec![row])))
        }
        other => {
            let text = format!("type {other} is not supported. Try one of all, classic, quorum.");
            Err(Failure::new(Exit::Unavailable, text))
        }
    }
}

/// Vhost and name of every quorum queue.
fn quorum_queues(invocation: &Invocation) -> Result<Vec<(Value, Value)>, Failure> {
    let mut found = Vec::new();
    for vhost in invocation.call("list_vhosts", &json!({ "columns": ["name"] }))?.rows {
        let vhost = vhost.get("name").cloned().unwrap_or_default();
        let queues = invocation.call("list_queues", &json!({ "vhost": vhost, "columns": ["name", "type"] }))?.rows;
        let quorum = queues.into_iter().filter(|queue| queue.get("type").and_then(Value::as_str) == Some("quorum"));
        found.extend(quorum.map(|queue| (vhost.clone(), queue.get("name").cloned().unwrap_or_default())));
    }
    Ok(found)
}

fn add_member(invocation: &Invocation) -> Result<Answer, Failure> {
    quorum_queue(invocation, "Cannot add members to a classic queue")?;
    if invocation.required("target") == invocation.node() {
        return Ok(Answer::Done);
    }
    Err(Failure::new(Exit::Unavailable, "node_not_running: there are no clusters yet, so this node is the only one"))
}

fn delete_member(invocation: &Invocation) -> Result<Answer, Failure> {
    quorum_queue(invocation, "Cannot delete members from a classic queue")?;
    if invocation.required("target") != invocation.node() {
        return Ok(Answer::Done);
    }
    Err(Failure::new(
        Exit::Unavailable,
        "last_node: the last replica of a queue cannot be removed; delete the queue instead",
    ))
}

/// Whatever the queue is, it is no stream.
fn no_stream(invocation: &Invocation, argument: &str) -> Result<Answer, Failure> {
    let queue = queue(invocation, argument)?;
    let kind = queue.get("type").and_then(Value::as_str).unwrap_or_default();
    let name = invocation.required(argument);
    Err(Failure::new(Exit::Unavailable, format!("'{name}' is a {kind} queue and no stream; {NO_STREAMS}")))
}
