//! Replicas of quorum queues, and how queues are spread over nodes. There are no clusters yet: each queue has the one replica here.

use serde_json::{Value, json};

use super::queues::existing;
use crate::api::route::{Field, Gives, Kind};
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::views::Columns;

pub(super) const GROUP: Group = Group {
    title: "Replicas",
    routes: &[
        Route {
            path: "/api/queues/quorum/{vhost}/{name}/status",
            operations: &[Operation::get(Access::VisibleVhost, status, "The replicas of a quorum queue")
                .gives(Gives::All("Replica"))],
        },
        Route {
            path: "/api/queues/quorum/{vhost}/{name}/replicas/add",
            operations: &[Operation::post(Access::Administrator, add, "Adds a replica to a quorum queue").body(ON_NODE)],
        },
        Route {
            path: "/api/queues/quorum/{vhost}/{name}/replicas/delete",
            operations: &[
                Operation::delete(Access::Administrator, remove, "Deletes a replica of a quorum queue").body(ON_NODE)
            ],
        },
        Route {
            path: "/api/queues/quorum/replicas/on/{node}/grow",
            operations: &[Operation::post(Access::Administrator, grow, "Adds replicas on a node to quorum queues")
                .body(&[
                    Field::optional("strategy", Kind::Text, "`all` queues, or those with an `even` number of replicas"),
                    Field::optional("vhost_pattern", Kind::Text, "A regular expression for names of vhosts"),
                    Field::optional("queue_pattern", Kind::Text, "A regular expression for names of queues"),
                ])],
        },
        Route {
            path: "/api/queues/quorum/replicas/on/{node}/shrink",
            operations: &[Operation::delete(
                Access::Administrator,
                // Here are the last replicas of all queues, which stay; elsewhere are none.
                |_| Ok(Answer::done()),
                "Deletes the replicas on a node; the last one of a queue stays",
            )],
        },
    ],
};

const ON_NODE: &[Field] = &[Field::needed("node", Kind::Text, "The node of the replica")];

/// Fails unless the queue of the path is a quorum queue.
fn check_quorum(ask: &Ask<'_>, otherwise: &str) -> Result<(), Failure> {
    let (vhost, name) = existing(ask)?;
    let row = ask.view(&Columns::of(["type"])).queue(&vhost, &name)?;
    if row.get("type").and_then(Value::as_str) == Some("quorum") {
        Ok(())
    } else {
        Err(Failure::bad_request(otherwise))
    }
}

fn status(ask: &Ask<'_>) -> Result<Answer, Failure> {
    check_quorum(ask, "classic_queue_not_supported")?;
    // One node has no Raft log; what RabbitMQ tells of it is left empty.
    Ok(Answer::json(&json!([{
        "Node Name": &**ask.node().name(),
        "Raft State": "leader",
        "Membership": "voter",
        "Last Log Index": "",
        "Last Written": "",
        "Last Applied": "",
        "Commit Index": "",
        "Snapshot Index": "undefined",
        "Term": "",
        "Machine Version": "",
    }])))
}

/// The node that a body names, if it is this one.
fn is_here(ask: &Ask<'_>) -> Result<bool, Failure> {
    let members = ask.members()?;
    members.need(&["node"])?;
    Ok(members.needed_text("node")? == &**ask.node().name())
}

fn add(ask: &Ask<'_>) -> Result<Answer, Failure> {
    check_quorum(ask, "classic_queue_not_supported")?;
    // A replica that is there already is no error.
    if is_here(ask)? { Ok(Answer::done()) } else { Err(Failure::bad_request("node_not_running")) }
}

fn remove(ask: &Ask<'_>) -> Result<Answer, Failure> {
    check_quorum(ask, "classic_queue_not_supported")?;
    // Nor is one that is not.
    if is_here(ask)? { Err(Failure::bad_request("last_node")) } else { Ok(Answer::done()) }
}

fn grow(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let members = ask.members()?;
    if let Some(strategy) = members.text("strategy")?.filter(|strategy| !["all", "even"].contains(strategy)) {
        return Err(Failure::bad_request(format!("invalid strategy '{strategy}'")));
    }
    if ask.part("node") == &**ask.node().name() {
        Ok(Answer::done())
    } else {
        Err(Failure::bad_request("node_not_running"))
    }
}
