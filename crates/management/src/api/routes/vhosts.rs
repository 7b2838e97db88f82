//! Vhosts.

use leveret_broker::Name;
use leveret_broker::access::Permissions;
use leveret_broker::topology::{Change, Protection, VhostMetadata, VhostUpdate};

use super::statistics::ByVhost;
use crate::api::body::Members;
use crate::api::listing;
use crate::api::route::{Field, Gives, Kind};
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::views::Columns;

pub(super) const GROUP: Group = Group {
    title: "Vhosts",
    routes: &[
        Route {
            path: "/api/vhosts",
            operations: &[Operation::get(Access::Management, list, "All vhosts that the user can see")
                .gives(Gives::Many("Vhost"))],
        },
        Route {
            path: "/api/vhosts/{vhost}",
            operations: &[
                Operation::get(Access::VisibleVhost, get, "A vhost").gives(Gives::One("Vhost")),
                Operation::put(Access::Administrator, put, "Creates a vhost, or says something else of it").body(VHOST),
                Operation::delete(Access::Administrator, delete, "Deletes a vhost with everything in it"),
            ],
        },
        Route {
            path: "/api/vhosts/{vhost}/start/{node}",
            operations: &[Operation::post(
                Access::Administrator,
                start,
                "Starts a vhost on a node; here they all run as long as the node does",
            )],
        },
        Route {
            path: "/api/vhosts/{vhost}/deletion/protection",
            operations: &[
                Operation::post(
                    Access::Administrator,
                    |ask| protect(ask, Protection::Deletion),
                    "Protects a vhost from deletion",
                ),
                Operation::delete(
                    Access::Administrator,
                    |ask| protect(ask, Protection::None),
                    "Allows a vhost to be deleted again",
                ),
            ],
        },
    ],
};

const VHOST: &[Field] = &[
    Field::optional("description", Kind::Text, "what it is for"),
    Field::optional("tags", Kind::Any, "words to find it by: a list, or text with commas between them"),
    Field::optional("default_queue_type", Kind::Text, "the type of queues that are declared without one"),
    Field::optional("protected_from_deletion", Kind::Flag, "whether it cannot be deleted"),
    Field::optional("tracing", Kind::Flag, "whether its messages are copied to amq.rabbitmq.trace"),
];

fn list(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let vhosts = ask.visible_vhosts();
    let view = ask.view(&Columns::All);
    let counted = (!ask.disables_stats()).then(|| ByVhost::read(ask));
    let row = |vhost: &Name| {
        let mut row = view.vhost(vhost).ok()?;
        if let Some(counted) = &counted {
            counted.add(ask, vhost, &mut row);
        }
        Some(row)
    };
    listing::of_rows(ask, vhosts.iter().filter_map(row).collect())
}

fn get(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let vhost = ask.vhost()?;
    ask.one(|view| {
        let mut row = view.vhost(&vhost)?;
        if !ask.disables_stats() {
            ByVhost::read(ask).add(ask, &vhost, &mut row);
        }
        Ok::<_, leveret_broker::Error>(row)
    })
}

/// What is not said of description and tags is nothing from then on, as in RabbitMQ; whatever else is not said stays.
fn update(members: &Members) -> Result<VhostUpdate, Failure> {
    let within = members.within("metadata");
    let text = |name| Ok::<_, Failure>(members.text(name)?.or(within.text(name)?).map(Name::from));
    let tags = members.words("tags")?.or(within.words("tags")?);
    let flag = |name| Ok::<_, Failure>(members.flag(name)?.or(within.flag(name)?));
    let protection = |is_protected| if is_protected { Protection::Deletion } else { Protection::None };
    Ok(VhostUpdate {
        description: Some(text("description")?.unwrap_or_else(|| "".into())),
        tags: Some(tags.unwrap_or_default()),
        default_queue_type: text("default_queue_type")?.filter(|name| !matches!(&**name, "" | "undefined")),
        protection: flag("protected_from_deletion")?.map(protection),
    })
}

fn put(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let vhost: Name = ask.part("vhost").into();
    let members = ask.members()?;
    let (update, tracing) = (update(&members)?, members.flag("tracing")?);
    let is_new = ask.node().read(|topology| topology.vhost(&vhost).is_err());
    ask.change(if is_new {
        Change::SetVhost { vhost: Name::clone(&vhost), metadata: update.of(&VhostMetadata::default()) }
    } else {
        Change::UpdateVhost { vhost: Name::clone(&vhost), update }
    })?;
    if is_new {
        grant_all(ask, &vhost)?;
    }
    match tracing {
        Some(true) => ask.node().trace(&vhost)?,
        Some(false) => ask.node().stop_tracing(&vhost),
        None => {}
    }
    Ok(Answer::put(is_new))
}

/// An administrator who creates a vhost may do everything in it, if the node knows that user itself.
fn grant_all(ask: &Ask<'_>, vhost: &Name) -> Result<(), Failure> {
    let user = Name::clone(&ask.user()?.name);
    if !ask.node().read(|topology| topology.user(&user).is_ok()) {
        return Ok(());
    }
    ask.change(Change::SetPermissions { user, vhost: Name::clone(vhost), permissions: Permissions::all() })?;
    Ok(())
}

fn delete(ask: &Ask<'_>) -> Result<Answer, Failure> {
    ask.change(Change::DeleteVhost { vhost: ask.vhost()? })?;
    Ok(Answer::done())
}

/// In RabbitMQ a vhost can be down by itself.
fn start(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let (node, vhost) = (ask.part("node"), ask.part("vhost"));
    let failed = |reason: String| Failure::bad_request(format!("Request to node {node} failed with {reason}"));
    if *node != **ask.node().name() {
        return Err(failed("nodedown".into()));
    }
    ask.vhost().map_err(|_| failed(format!("{{no_such_vhost,<<\"{vhost}\">>}}")))?;
    Ok(Answer::done())
}

fn protect(ask: &Ask<'_>, protection: Protection) -> Result<Answer, Failure> {
    let update = VhostUpdate { protection: Some(protection), ..VhostUpdate::default() };
    ask.change(Change::UpdateVhost { vhost: ask.vhost()?, update })?;
    Ok(Answer::done())
}
