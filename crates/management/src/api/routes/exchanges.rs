//! Exchanges.

use leveret_broker::access::Permission;
use leveret_broker::exchange::ExchangeKind;
use leveret_broker::topology::{Applied, Change, Destination, Origin};
use leveret_broker::{Error, Name};
use serde_json::json;

use super::bindings::change;
use crate::api::body;
use crate::api::listing::{Listing, Placed, Wanted, placed_name};
use crate::api::rights::Rights;
use crate::api::route::{Field, Gives, Kind, Param};
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::history::Subject;
use crate::views::{BindingsOf, Columns, Row};

pub(super) const GROUP: Group = Group {
    title: "Exchanges",
    routes: &[
        Route {
            path: "/api/exchanges",
            operations: &[Operation::get(Access::Management, list, "All exchanges that the user can see")
                .query(STATS)
                .gives(Gives::Many("Exchange"))],
        },
        Route {
            path: "/api/exchanges/{vhost}",
            operations: &[Operation::get(Access::VisibleVhost, list_vhost, "The exchanges of a vhost")
                .query(STATS)
                .gives(Gives::Many("Exchange"))],
        },
        Route {
            path: "/api/exchanges/{vhost}/{name}",
            operations: &[
                Operation::get(Access::VisibleVhost, get, "An exchange; `amq.default` is the one without a name")
                    .gives(Gives::One("Exchange")),
                Operation::put(Access::Vhost, declare, "Declares an exchange").body(&[
                    Field::optional("type", Kind::Text, "How it routes; `direct`, if it is not said"),
                    Field::optional("durable", Kind::Flag, "Whether it survives a restart; no, if it is not said"),
                    Field::optional("auto_delete", Kind::Flag, "Whether it goes with the last binding from it"),
                    Field::optional("internal", Kind::Flag, "Whether only other exchanges may publish to it"),
                    Field::optional(
                        "arguments",
                        Kind::Object,
                        "`alternate-exchange`, and what its type has arguments for",
                    ),
                ]),
                Operation::delete(Access::Vhost, delete, "Deletes an exchange")
                    .query(&[Param { name: "if-unused", help: "`true`: only if nothing is bound to it" }]),
            ],
        },
        Route {
            path: "/api/exchanges/{vhost}/{name}/bindings/source",
            operations: &[Operation::get(
                Access::VisibleVhost,
                bindings_from,
                "The bindings that an exchange is the source of",
            )
            .gives(Gives::All("Binding"))],
        },
        Route {
            path: "/api/exchanges/{vhost}/{name}/bindings/destination",
            operations: &[Operation::get(Access::VisibleVhost, bindings_to, "The bindings that lead to an exchange")
                .gives(Gives::All("Binding"))],
        },
    ],
};

const STATS: &[Param] = &[Param { name: "disable_stats", help: "`true`: only what was declared" }];

/// The name of an exchange in a path: the default one is called `amq.default` there.
pub(super) fn named(part: &str) -> &str {
    if part == "amq.default" { "" } else { part }
}

fn list(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let vhosts = ask.visible_vhosts();
    answer(ask, vhosts.iter().flat_map(|vhost| names(ask, vhost).unwrap_or_default()).collect())
}

fn list_vhost(ask: &Ask<'_>) -> Result<Answer, Failure> {
    answer(ask, names(ask, &ask.vhost()?)?)
}

/// The exchanges of a vhost, by vhost and name.
fn names(ask: &Ask<'_>, vhost: &Name) -> Result<Vec<Placed>, Error> {
    let mut names: Vec<Placed> = ask.node().read(|topology| {
        let exchanges = topology.vhost(vhost)?.exchanges();
        Ok::<_, Error>(exchanges.map(|exchange| (Name::clone(vhost), Name::clone(exchange.name()))).collect())
    })?;
    names.sort_unstable();
    Ok(names)
}

fn answer(ask: &Ask<'_>, keys: Vec<Placed>) -> Result<Answer, Failure> {
    let listing =
        Listing { keys, name: placed_name, row: |place: &Placed, columns: &Columns| row(ask, place, columns).ok() };
    listing.answer(ask)
}

fn row(ask: &Ask<'_>, (vhost, name): &Placed, columns: &Columns) -> Result<Row, Error> {
    let mut row = ask.view(columns).exchange(vhost, name)?;
    if ask.disables_stats() {
        row.remove("message_stats");
    }
    ask.add_details(&Subject::Exchange(Name::clone(vhost), Name::clone(name)), &mut row);
    Ok(row)
}

fn get(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let wanted = Wanted::read(ask.query().get("columns"));
    let place = (ask.vhost()?, named(ask.part("name")).into());
    let mut row = row(ask, &place, wanted.roots())?;
    // Told only where statistics are kept in detail, which they are not.
    row.insert("incoming".to_owned(), json!([]));
    row.insert("outgoing".to_owned(), json!([]));
    Ok(Answer::json(&wanted.cut(row)))
}

/// The exchange of the path, which has to be there.
fn existing(ask: &Ask<'_>) -> Result<(Name, Name), Failure> {
    let (vhost, name) = (ask.vhost()?, named(ask.part("name")));
    let known = ask.node().read(|topology| Ok::<_, Error>(Name::clone(topology.vhost(&vhost)?.exchange(name)?.name())));
    Ok((vhost, known?))
}

fn declare(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let vhost = ask.target_vhost()?;
    let name = body::name("exchange", named(ask.part("name")))?;
    let members = ask.members()?;
    let flag = |name: &str| Ok::<_, Failure>(members.flag(name)?.unwrap_or(false));
    let (durable, auto_delete, internal) = (flag("durable")?, flag("auto_delete")?, flag("internal")?);
    let arguments = members.arguments("arguments")?;
    let kind = members.text("type")?.unwrap_or("direct");
    let refused = |error: Error| Failure::of_change(&error);
    if name.is_empty() {
        return Err(refused(Error::DefaultExchange));
    }
    if ExchangeKind::parse(kind).is_err() {
        return Err(Failure::bad_request(format!("invalid exchange type '{kind}'")));
    }
    let kind = ask.node().switches().exchange_kind(kind).map_err(refused)?;
    Rights::of(ask, &vhost).declare_exchange(&name, &arguments).map_err(refused)?;
    let origin = Origin::Client;
    let declared =
        change(ask, Change::DeclareExchange { vhost, name, kind, durable, auto_delete, internal, arguments, origin })?;
    Ok(Answer::put(matches!(declared, Applied::ExchangeDeclared)))
}

fn delete(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let (vhost, name) = existing(ask)?;
    // Neither can be deleted by anybody, which the broker says.
    if !name.is_empty() && !name.starts_with("amq.") {
        let permitted = Rights::of(ask, &vhost).exchange(&name, Permission::Configure);
        permitted.map_err(|error| Failure::of_change(&error))?;
    }
    change(ask, Change::DeleteExchange { vhost, name, if_unused: ask.query().is_true("if-unused") })?;
    Ok(Answer::done())
}

fn bindings_from(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let (vhost, name) = existing(ask)?;
    super::bindings::answer(ask, &vhost, BindingsOf::Source(&name))
}

fn bindings_to(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let (vhost, name) = existing(ask)?;
    super::bindings::answer(ask, &vhost, BindingsOf::Destination(&Destination::Exchange(name)))
}
