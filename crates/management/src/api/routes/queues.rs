//! Queues.

use leveret_broker::access::Permission;
use leveret_broker::queue::CloseCondition;
use leveret_broker::topology::{Applied, Change, Destination, Origin};
use leveret_broker::{Error, Name};
use serde_json::{Value, json};

use crate::api::body;
use crate::api::listing::{Listing, Placed, Wanted, placed_name};
use crate::api::rights::{NOBODY, Rights};
use crate::api::route::{Field, Gives, Kind, Param};
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::history::Subject;
use crate::views::{BindingsOf, Columns, Row};
use crate::wait;

pub(super) const GROUP: Group = Group {
    title: "Queues",
    routes: &[
        Route {
            path: "/api/queues",
            operations: &[Operation::get(Access::Management, list, "All queues that the user can see")
                .query(STATS)
                .gives(Gives::Many("Queue"))],
        },
        Route {
            path: "/api/queues/detailed",
            operations: &[Operation::get(
                Access::Management,
                list,
                "All queues that the user can see, with everything",
            )
            .query(STATS)
            .gives(Gives::Many("Queue"))],
        },
        Route {
            path: "/api/queues/{vhost}",
            operations: &[Operation::get(Access::VisibleVhost, list_vhost, "The queues of a vhost")
                .query(STATS)
                .gives(Gives::Many("Queue"))],
        },
        Route {
            path: "/api/queues/{vhost}/{name}",
            operations: &[
                Operation::get(Access::VisibleVhost, get, "A queue").gives(Gives::One("Queue")),
                Operation::put(Access::Vhost, declare, "Declares a queue").body(&[
                    Field::optional("durable", Kind::Flag, "Whether it survives a restart; no, if it is not said"),
                    Field::optional("auto_delete", Kind::Flag, "Whether it goes with its last consumer"),
                    Field::optional("exclusive", Kind::Flag, "Whether it goes with the request that declares it"),
                    Field::optional(
                        "arguments",
                        Kind::Object,
                        "Its type, limits, and what else AMQP has arguments for",
                    ),
                    Field::optional("node", Kind::Text, "The node that is to have it"),
                ]),
                Operation::delete(Access::Vhost, delete, "Deletes a queue with its messages").query(&[
                    Param { name: "if-empty", help: "`true`: only if nothing waits in it" },
                    Param { name: "if-unused", help: "`true`: only if it has no consumers" },
                ]),
            ],
        },
        Route {
            path: "/api/queues/{vhost}/{name}/bindings",
            operations: &[Operation::get(Access::VisibleVhost, bindings, "The bindings that lead to a queue")
                .gives(Gives::All("Binding"))],
        },
        Route {
            path: "/api/queues/{vhost}/{name}/actions",
            operations: &[Operation::post(Access::Vhost, act, "Does something with a queue").body(&[Field::needed(
                "action",
                Kind::Text,
                "`pause` or `resume` handing out messages; `sync` and `cancel_sync` have nothing left to do",
            )])],
        },
    ],
};

const STATS: &[Param] = &[
    Param { name: "disable_stats", help: "`true`: only what was declared" },
    Param { name: "enable_queue_totals", help: "`true`: with numbers of messages nevertheless" },
];

/// What was declared, and its name.
const DECLARED: [&str; 10] =
    ["arguments", "auto_delete", "durable", "exclusive", "name", "node", "policy", "state", "type", "vhost"];
/// How many messages there are.
const TOTALS: [&str; 3] = ["messages", "messages_ready", "messages_unacknowledged"];

fn list(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let vhosts = ask.visible_vhosts();
    answer(ask, vhosts.iter().flat_map(|vhost| names(ask, vhost).unwrap_or_default()).collect())
}

fn list_vhost(ask: &Ask<'_>) -> Result<Answer, Failure> {
    answer(ask, names(ask, &ask.vhost()?)?)
}

/// The queues of a vhost, by vhost and name.
fn names(ask: &Ask<'_>, vhost: &Name) -> Result<Vec<Placed>, Error> {
    let mut names: Vec<Placed> = ask.node().read(|topology| {
        let queues = topology.vhost(vhost)?.queues();
        Ok::<_, Error>(queues.map(|queue| (Name::clone(vhost), Name::clone(queue.name()))).collect())
    })?;
    names.sort_unstable();
    Ok(names)
}

fn answer(ask: &Ask<'_>, keys: Vec<Placed>) -> Result<Answer, Failure> {
    let shape = Shape::of(ask);
    let listing = Listing {
        keys,
        name: placed_name,
        row: |(vhost, name): &Placed, columns: &Columns| shape.row(ask, vhost, name, columns),
    };
    listing.answer(ask)
}

/// How much of queues is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// Everything.
    Whole,
    /// What was declared.
    Declared,
    /// That, and how many messages there are.
    Counted,
}

impl Shape {
    fn of(ask: &Ask<'_>) -> Self {
        match (ask.disables_stats(), ask.enables_queue_totals()) {
            (false, _) => Self::Whole,
            (true, false) => Self::Declared,
            (true, true) => Self::Counted,
        }
    }

    fn columns(self) -> impl Iterator<Item = &'static str> {
        let totals = if self == Self::Counted { &TOTALS[..] } else { &[] };
        DECLARED.iter().chain(totals).copied()
    }

    /// The row of a queue, as long as it is there.
    fn row(self, ask: &Ask<'_>, vhost: &str, name: &str, columns: &Columns) -> Option<Row> {
        if self == Self::Whole {
            let mut row = row(ask, vhost, name, columns).ok()?;
            // Who owns a queue is told of one that is asked for.
            row.remove("owner_pid_details");
            return Some(row);
        }
        let columns = match columns {
            Columns::All => Columns::of(self.columns()),
            Columns::Some(wanted) => Columns::of(self.columns().filter(|column| wanted.contains(*column))),
        };
        let mut row = ask.view(&columns).queue(vhost, name).ok()?;
        if self == Self::Declared
            && let Some(state) = row.get_mut("state")
        {
            *state = json!("live");
        }
        row.retain(|_, value| !value.is_null());
        Some(row)
    }
}

fn row(ask: &Ask<'_>, vhost: &str, name: &str, columns: &Columns) -> Result<Row, Error> {
    let queue = ask.node().listed_queue(vhost, name)?;
    let mut row = ask.view(columns).listed_queue(&queue)?;
    ask.add_details(&Subject::Queue(queue.id), &mut row);
    Ok(row)
}

fn get(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let (vhost, name, wanted) = (ask.vhost()?, ask.part("name"), Wanted::read(ask.query().get("columns")));
    let mut row = row(ask, &vhost, name, wanted.roots())?;
    let consumers = ask.view(&Columns::All).consumers_of(&vhost, name)?;
    row.insert("consumer_details".to_owned(), consumers.into_iter().map(Value::Object).collect());
    // Told only where statistics are kept in detail, which they are not.
    row.insert("incoming".to_owned(), json!([]));
    row.insert("deliveries".to_owned(), json!([]));
    Ok(Answer::json(&wanted.cut(row)))
}

fn declare(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let vhost = ask.target_vhost()?;
    let name = body::name("queue", ask.part("name"))?;
    let members = ask.members()?;
    let flag = |name: &str| Ok::<_, Failure>(members.flag(name)?.unwrap_or(false));
    let (durable, auto_delete, exclusive) = (flag("durable")?, flag("auto_delete")?, flag("exclusive")?);
    let arguments = members.arguments("arguments")?;
    if let Some(node) = members.text("node")?.filter(|node| *node != &**ask.node().name()) {
        return Err(Failure::bad_request(format!("Node {node} could not be contacted")));
    }
    let refused = |error: Error| Failure::of_change(&error);
    Rights::of(ask, &vhost).declare_queue(&name, &arguments).map_err(refused)?;
    let changed = ask.node().apply(Change::DeclareQueue {
        vhost: Name::clone(&vhost),
        name,
        durable,
        exclusive: exclusive.then_some(NOBODY),
        auto_delete,
        arguments,
        origin: Origin::Client,
        id: None,
    });
    let changed = changed.map_err(refused)?;
    wait(ask.node(), changed.written)?;
    if exclusive {
        // It belongs to the request, which ends here.
        ask.node().delete_owned_by(&vhost, NOBODY);
    }
    Ok(Answer::put(matches!(changed.applied, Applied::QueueDeclared { .. })))
}

fn delete(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let (vhost, name) = existing(ask)?;
    let refused = |error: Error| Failure::of_change(&error);
    Rights::of(ask, &vhost).queue(&name, Permission::Configure).map_err(refused)?;
    let query = ask.query();
    let (if_empty, if_unused) = (query.is_true("if-empty"), query.is_true("if-unused"));
    let condition = CloseCondition { if_empty, if_unused, ..CloseCondition::default() };
    let deleted = ask.node().delete_queue(&vhost, &name, NOBODY, condition).map_err(refused)?;
    wait(ask.node(), deleted.written)?;
    Ok(Answer::done())
}

/// The queue of the path, which has to be there.
pub(super) fn existing(ask: &Ask<'_>) -> Result<(Name, Name), Failure> {
    let (vhost, name) = (ask.vhost()?, ask.part("name"));
    let known =
        ask.node().read(|topology| Ok::<_, Error>(Name::clone(topology.vhost(&vhost)?.any_queue(name)?.name())));
    Ok((vhost, known?))
}

fn bindings(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let (vhost, name) = existing(ask)?;
    super::bindings::answer(ask, &vhost, BindingsOf::Destination(&Destination::Queue(name)))
}

fn act(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let (vhost, name) = existing(ask)?;
    let members = ask.members()?;
    members.need(&["action"])?;
    let action = members.raw("action").unwrap_or(&Value::Null);
    let paused = match action.as_str() {
        Some("pause") => true,
        Some("resume") => false,
        // Queues have no mirrors, so they are always in step.
        Some("sync" | "cancel_sync") => return Ok(Answer::done()),
        _ => return Err(Failure::bad_request(json!(["unknown", action]))),
    };
    let refused = |error: Error| Failure::of_change(&error);
    Rights::of(ask, &vhost).queue(&name, Permission::Configure).map_err(refused)?;
    ask.change(Change::PauseQueue { vhost, name, paused })?;
    Ok(Answer::done())
}
