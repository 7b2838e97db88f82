//! Hashes of passwords, and how many tried to log in.

use leveret_auth::Counts;
use leveret_auth::hash;
use leveret_broker::access::Secret;
use serde_json::{Value, json};

use crate::api::listing;
use crate::api::route::{Field, Gives, Kind};
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::views::Row;

pub(super) const GROUP: Group = Group {
    title: "Authentication",
    routes: &[
        Route {
            path: "/api/auth/hash_password",
            operations: &[Operation::post(
                Access::Administrator,
                hash_posted,
                "The hash of a password, for definitions",
            )
            .body(&[Field::needed("password", Kind::Text, "the password")])
            .gives(Gives::One("PasswordHash"))],
        },
        Route {
            path: "/api/auth/hash_password/{password}",
            operations: &[Operation::get(
                Access::Administrator,
                hash_named,
                "The same; better not used, as paths are kept in logs of proxies and elsewhere",
            )
            .gives(Gives::One("PasswordHash"))],
        },
        Route {
            path: "/api/auth/attempts/{node}",
            operations: &[
                Operation::get(Access::Monitoring, list, "How many tried to log in, by protocol")
                    .gives(Gives::All("AuthAttempts")),
                Operation::delete(Access::Monitoring, reset, "Counts them from zero again"),
            ],
        },
        Route {
            path: "/api/auth/attempts/{node}/source",
            operations: &[
                Operation::get(Access::Monitoring, list_by_source, "How many tried to log in, by address and user")
                    .gives(Gives::All("AuthAttempts")),
                Operation::delete(Access::Monitoring, reset, "Counts them from zero again"),
            ],
        },
    ],
};

fn hashed(ask: &Ask<'_>, password: &str) -> Result<Answer, Failure> {
    let hash = ask.app().hashing.hash(&Secret::new(password.as_bytes()));
    let hash = hash.map_err(|error| Failure::failed(error.to_string()))?;
    Ok(Answer::json(&json!({ "ok": hash::to_text(&hash) })))
}

fn hash_posted(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let members = ask.members()?;
    members.need(&["password"])?;
    hashed(ask, members.needed_text("password")?)
}

fn hash_named(ask: &Ask<'_>) -> Result<Answer, Failure> {
    hashed(ask, ask.part("password"))
}

/// There is no other node.
fn of_this_node(ask: &Ask<'_>) -> Result<(), Failure> {
    if *ask.part("node") == **ask.node().name() { Ok(()) } else { Err(Failure::not_found()) }
}

fn row(fields: impl IntoIterator<Item = (&'static str, Value)>, counts: Counts) -> Row {
    let counts = [
        ("auth_attempts", json!(counts.attempts)),
        ("auth_attempts_failed", json!(counts.failed)),
        ("auth_attempts_succeeded", json!(counts.succeeded)),
    ];
    fields.into_iter().chain(counts).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn list(ask: &Ask<'_>) -> Result<Answer, Failure> {
    of_this_node(ask)?;
    let counts = ask.app().logins.attempts().by_protocol().into_iter();
    listing::whole(ask, counts.map(|(protocol, counts)| row([("protocol", json!(protocol))], counts)).collect())
}

fn list_by_source(ask: &Ask<'_>) -> Result<Answer, Failure> {
    of_this_node(ask)?;
    let counts = ask.app().logins.attempts().by_source().into_iter().map(|(source, counts)| {
        let address = source.address.map(|address| address.to_string()).unwrap_or_default();
        let fields = [
            ("remote_address", json!(address)),
            ("username", json!(&*source.user)),
            ("protocol", json!(source.protocol)),
        ];
        row(fields, counts)
    });
    listing::whole(ask, counts.collect())
}

fn reset(ask: &Ask<'_>) -> Result<Answer, Failure> {
    of_this_node(ask)?;
    ask.app().logins.attempts().reset();
    Ok(Answer::done())
}
