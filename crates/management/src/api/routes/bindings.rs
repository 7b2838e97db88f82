//! Bindings.

use hyper::header::LOCATION;
use leveret_broker::topology::{Change, Destination, clean_name};
use leveret_broker::{Error, Name};

use super::exchanges::named;
use crate::api::body;
use crate::api::listing::{Listing, Wanted};
use crate::api::rights::{NOBODY, Rights};
use crate::api::route::{Field, Gives, Kind};
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::views::{BindingsOf, Columns, ListedBinding, properties_key, quote};

pub(super) const GROUP: Group = Group {
    title: "Bindings",
    routes: &[
        Route {
            path: "/api/bindings",
            operations: &[Operation::get(Access::Management, list, "All bindings that the user can see")
                .gives(Gives::All("Binding"))],
        },
        Route {
            path: "/api/bindings/{vhost}",
            operations: &[Operation::get(Access::VisibleVhost, list_vhost, "The bindings of a vhost")
                .gives(Gives::All("Binding"))],
        },
        Route {
            path: "/api/bindings/{vhost}/e/{source}/q/{queue}",
            operations: &[
                Operation::get(Access::VisibleVhost, between, "The bindings from an exchange to a queue")
                    .gives(Gives::All("Binding")),
                Operation::post(Access::Vhost, bind, "Binds a queue to an exchange; `Location` says what it is called")
                    .body(BINDING),
            ],
        },
        Route {
            path: "/api/bindings/{vhost}/e/{source}/q/{queue}/{properties_key}",
            operations: &[
                Operation::get(Access::VisibleVhost, get, "A binding from an exchange to a queue")
                    .gives(Gives::One("Binding")),
                Operation::delete(Access::Vhost, unbind, "Removes a binding from an exchange to a queue"),
            ],
        },
        Route {
            path: "/api/bindings/{vhost}/e/{source}/e/{exchange}",
            operations: &[
                Operation::get(Access::VisibleVhost, between, "The bindings from an exchange to another one")
                    .gives(Gives::All("Binding")),
                Operation::post(
                    Access::Vhost,
                    bind,
                    "Binds an exchange to another one; `Location` says what the binding is called",
                )
                .body(BINDING),
            ],
        },
        Route {
            path: "/api/bindings/{vhost}/e/{source}/e/{exchange}/{properties_key}",
            operations: &[
                Operation::get(Access::VisibleVhost, get, "A binding from an exchange to another one")
                    .gives(Gives::One("Binding")),
                Operation::delete(Access::Vhost, unbind, "Removes a binding from an exchange to another one"),
            ],
        },
    ],
};

const BINDING: &[Field] = &[
    Field::optional("routing_key", Kind::Text, "The key; none, if it is not said"),
    Field::optional("arguments", Kind::Object, "What the exchange looks for besides the key"),
];

fn list(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let view = ask.view(&Columns::All);
    let vhosts = ask.visible_vhosts();
    send(
        ask,
        vhosts.iter().flat_map(|vhost| view.list_bindings(vhost, BindingsOf::Vhost).unwrap_or_default()).collect(),
    )
}

fn list_vhost(ask: &Ask<'_>) -> Result<Answer, Failure> {
    answer(ask, &ask.vhost()?, BindingsOf::Vhost)
}

fn between(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let (source, destination) = ends(ask);
    answer(ask, &ask.vhost()?, BindingsOf::Ends(source, &destination))
}

/// Some bindings of a vhost.
pub(super) fn answer(ask: &Ask<'_>, vhost: &str, of: BindingsOf<'_>) -> Result<Answer, Failure> {
    send(ask, ask.view(&Columns::All).list_bindings(vhost, of)?)
}

fn send(ask: &Ask<'_>, keys: Vec<ListedBinding>) -> Result<Answer, Failure> {
    let listing = Listing {
        keys,
        name: ListedBinding::source,
        row: |binding: &ListedBinding, columns: &Columns| Some(ask.view(columns).binding(binding)),
    };
    listing.answer_whole(ask)
}

/// The exchange and the queue or exchange of the path.
fn ends<'a>(ask: &'a Ask<'_>) -> (&'a str, Destination) {
    let destination = match ask.part("queue") {
        "" => Destination::Exchange(named(ask.part("exchange")).into()),
        queue => Destination::Queue(queue.into()),
    };
    (named(ask.part("source")), destination)
}

/// The binding of the path.
fn find(ask: &Ask<'_>, vhost: &str) -> Result<ListedBinding, Failure> {
    let (source, destination) = ends(ask);
    let mut found = ask.view(&Columns::All).list_bindings(vhost, BindingsOf::Ends(source, &destination))?;
    let key = ask.part("properties_key");
    let plain = quoted(key);
    let is_it = |known: &str| known == key || known == plain;
    let place = found.iter().position(|binding| is_it(&binding.properties_key())).ok_or_else(Failure::not_found)?;
    Ok(found.swap_remove(place))
}

/// What the key of a path is called if whoever wrote it has quoted it once only, while it should have been twice.
fn quoted(key: &str) -> String {
    let (routing_key, hash) = key.rsplit_once('~').map_or((key, None), |(routing_key, hash)| (routing_key, Some(hash)));
    let quoted = quote(routing_key).replace('~', "%7E");
    hash.map_or_else(|| quoted.clone(), |hash| format!("{quoted}~{hash}"))
}

fn get(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let wanted = Wanted::read(ask.query().get("columns"));
    Ok(Answer::json(&wanted.cut(ask.view(wanted.roots()).binding(&find(ask, &ask.vhost()?)?))))
}

fn bind(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let vhost = ask.target_vhost()?;
    let (source, destination) = ends(ask);
    let members = ask.members()?;
    let (routing_key, mut arguments) = (members.key("routing_key")?, members.arguments("arguments")?);
    arguments.sort();
    let name = match &destination {
        Destination::Queue(name) | Destination::Exchange(name) => body::name("destination", name)?,
    };
    let location = format!("{}/{}", quote(&name), quote(&properties_key(&routing_key, &arguments)));
    let refused = |error: Error| Failure::of_change(&error);
    Rights::of(ask, &vhost).bind(source, &destination, &routing_key).map_err(refused)?;
    let source = Name::from(&*clean_name(source));
    let bind = Change::Bind { vhost, source, destination, routing_key, arguments, asking: Some(NOBODY) };
    change(ask, bind)?;
    Ok(Answer::created().header(LOCATION, &location))
}

fn unbind(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let vhost = ask.vhost()?;
    let binding = find(ask, &vhost)?;
    let (source, destination) = ends(ask);
    let (routing_key, arguments) = (Name::clone(binding.routing_key()), binding.arguments());
    let refused = |error: Error| Failure::of_change(&error);
    Rights::of(ask, &vhost).bind(source, &destination, &routing_key).map_err(refused)?;
    let source = Name::from(source);
    change(ask, Change::Unbind { vhost, source, destination, routing_key, arguments, asking: Some(NOBODY) })?;
    Ok(Answer::done())
}

/// Makes a change whose refusal is told without a reply code.
pub(super) fn change(ask: &Ask<'_>, change: Change) -> Result<leveret_broker::topology::Applied, Failure> {
    let changed = ask.node().apply(change).map_err(|error| Failure::of_change(&error))?;
    crate::wait(ask.node(), changed.written)?;
    Ok(changed.applied)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_were_quoted_once_are_quoted_again() {
        for (key, expected) in
            [("a.#", "a.%23"), ("b.*", "b.%2A"), ("k2~hJUxMA", "k2~hJUxMA"), ("~", "~"), ("a b~x", "a+b~x")]
        {
            assert_eq!(quoted(key), expected, "{key}");
        }
    }
}
