//! What users may do: permissions, and topic permissions.

use leveret_broker::access::{PatternError, Permissions, TopicPermissions};
use leveret_broker::topology::Change;
use leveret_broker::{Error, Name};
use serde_json::json;

use crate::api::listing;
use crate::api::route::{Field, Gives, Kind};
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::views::{Columns, Row};
use crate::{WriteError, write};

pub(super) const GROUP: Group = Group {
    title: "Permissions",
    routes: &[
        Route {
            path: "/api/permissions",
            operations: &[
                Operation::get(Access::Administrator, list, "What all users may do").gives(Gives::All("Permission"))
            ],
        },
        Route {
            path: "/api/permissions/{vhost}/{user}",
            operations: &[
                Operation::get(Access::Administrator, get, "What a user may do in a vhost")
                    .gives(Gives::One("Permission")),
                Operation::put(Access::Administrator, put, "Says what a user may do in a vhost").body(PERMISSION),
                Operation::delete(Access::Administrator, delete, "Keeps a user out of a vhost"),
            ],
        },
        Route {
            path: "/api/vhosts/{vhost}/permissions",
            operations: &[Operation::get(Access::Administrator, list_in, "What all users may do in a vhost")
                .gives(Gives::All("Permission"))],
        },
        Route {
            path: "/api/users/{user}/permissions",
            operations: &[Operation::get(Access::Administrator, list_of, "What a user may do, in each vhost")
                .gives(Gives::All("Permission"))],
        },
        Route {
            path: "/api/topic-permissions",
            operations: &[Operation::get(
                Access::Administrator,
                list_topic,
                "With which routing keys all users may publish and bind",
            )
            .gives(Gives::All("TopicPermission"))],
        },
        Route {
            path: "/api/topic-permissions/{vhost}/{user}",
            operations: &[
                Operation::get(Access::Administrator, get_topic, "The topic permissions of a user in a vhost")
                    .gives(Gives::All("TopicPermission")),
                Operation::put(
                    Access::Administrator,
                    put_topic,
                    "Says with which routing keys a user may publish to an exchange and bind to it",
                )
                .body(TOPIC_PERMISSION),
                Operation::delete(Access::Administrator, delete_topic, "Lets a user use all routing keys again"),
            ],
        },
        Route {
            path: "/api/topic-permissions/{vhost}/{user}/{exchange}",
            operations: &[
                Operation::get(Access::Administrator, get_topic, "The topic permissions of a user for an exchange")
                    .gives(Gives::All("TopicPermission")),
                Operation::delete(
                    Access::Administrator,
                    delete_topic,
                    "Lets a user use all routing keys of an exchange again",
                ),
            ],
        },
        Route {
            path: "/api/vhosts/{vhost}/topic-permissions",
            operations: &[Operation::get(Access::Administrator, list_topic_in, "All topic permissions in a vhost")
                .gives(Gives::All("TopicPermission"))],
        },
        Route {
            path: "/api/users/{user}/topic-permissions",
            operations: &[Operation::get(Access::Administrator, list_topic_of, "The topic permissions of a user")
                .gives(Gives::All("TopicPermission"))],
        },
    ],
};

const PERMISSION: &[Field] = &[
    Field::needed("configure", Kind::Text, "a regular expression: what it may declare and delete"),
    Field::needed("write", Kind::Text, "a regular expression: what it may publish to"),
    Field::needed("read", Kind::Text, "a regular expression: what it may consume from"),
];

const TOPIC_PERMISSION: &[Field] = &[
    Field::needed("exchange", Kind::Text, "the topic exchange"),
    Field::needed("write", Kind::Text, "a regular expression: the routing keys of what it may publish"),
    Field::needed("read", Kind::Text, "a regular expression: the routing keys that it may bind with"),
];

/// The order that RabbitMQ's listings have.
fn by_vhost(mut rows: Vec<Row>) -> Vec<Row> {
    let text = |row: &Row, name| row.get(name).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
    rows.sort_by_cached_key(|row| (text(row, "vhost"), text(row, "user"), text(row, "exchange")));
    rows
}

fn list(ask: &Ask<'_>) -> Result<Answer, Failure> {
    listing::whole(ask, by_vhost(ask.view(&Columns::All).permissions()))
}

fn list_in(ask: &Ask<'_>) -> Result<Answer, Failure> {
    listing::whole(ask, ask.view(&Columns::All).permissions_in(ask.part("vhost"))?)
}

fn list_of(ask: &Ask<'_>) -> Result<Answer, Failure> {
    listing::whole(ask, ask.view(&Columns::All).permissions_of(ask.part("user"))?)
}

fn list_topic(ask: &Ask<'_>) -> Result<Answer, Failure> {
    listing::whole(ask, by_vhost(ask.view(&Columns::All).topic_permissions()))
}

fn list_topic_in(ask: &Ask<'_>) -> Result<Answer, Failure> {
    listing::whole(ask, ask.view(&Columns::All).topic_permissions_in(ask.part("vhost"))?)
}

fn list_topic_of(ask: &Ask<'_>) -> Result<Answer, Failure> {
    listing::whole(ask, ask.view(&Columns::All).topic_permissions_of(ask.part("user"))?)
}

fn get(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let rows = ask.view(&Columns::All).permissions_of(ask.part("user"))?;
    let row = rows.into_iter().find(|row| row.get("vhost").is_some_and(|vhost| *vhost == ask.part("vhost")));
    let row = row.ok_or_else(Failure::not_found)?;
    ask.one(|_| Ok::<_, Failure>(row))
}

/// A list, as there may be several exchanges.
fn get_topic(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let mut rows = ask.view(&Columns::All).topic_permissions_of(ask.part("user"))?;
    let exchange = Some(ask.part("exchange")).filter(|exchange| !exchange.is_empty());
    rows.retain(|row| {
        row.get("vhost").is_some_and(|vhost| *vhost == ask.part("vhost"))
            && exchange.is_none_or(|exchange| row.get("exchange").is_some_and(|known| *known == exchange))
    });
    if rows.is_empty() {
        return Err(Failure::not_found());
    }
    listing::whole(ask, rows)
}

/// User and vhost, and whether the user may do something there already.
struct Whose {
    user: Name,
    vhost: Name,
    may_open: bool,
    has_topics: bool,
}

/// Fails unless there are both.
fn whose(ask: &Ask<'_>) -> Result<Whose, Error> {
    let (user, vhost): (Name, Name) = (ask.part("user").into(), ask.part("vhost").into());
    let (may_open, has_topics) = ask.node().read(|topology| {
        topology.vhost(&vhost)?;
        let known = topology.user(&user)?;
        let may_open = known.permissions().any(|(known, _)| *known == vhost);
        let has_topics = known.topic_permissions().any(|(known, ..)| *known == vhost);
        Ok::<_, Error>((may_open, has_topics))
    })?;
    Ok(Whose { user, vhost, may_open, has_topics })
}

/// Makes a change of what a user may do. It says in one word if user or vhost are missing.
fn change(ask: &Ask<'_>, change: Change) -> Result<(), Failure> {
    match write::apply_as(ask.node(), change, &ask.user()?.name) {
        Ok(_) => Ok(()),
        Err(WriteError::Refused(error)) => Err(missing(error)),
        Err(error) => Err(error.into()),
    }
}

fn missing(error: Error) -> Failure {
    match error {
        Error::UserNotFound { .. } | Error::VhostNotFound { .. } => Failure::bad_request("vhost_or_user_not_found"),
        error => error.into(),
    }
}

/// RabbitMQ has numbers in place of letters here, which nobody can read.
fn no_pattern(PatternError { pattern, reason }: &PatternError) -> Failure {
    Failure::bad_request(json!(["invalid_regexp", &**pattern, reason]))
}

fn put(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let members = ask.members()?;
    members.need(&["configure", "write", "read"])?;
    let text = |name| members.needed_text(name);
    let permissions = Permissions::new(text("configure")?, text("write")?, text("read")?);
    let permissions = permissions.map_err(|error| no_pattern(&error))?;
    let Whose { user, vhost, may_open, .. } = whose(ask).map_err(missing)?;
    change(ask, Change::SetPermissions { user, vhost, permissions })?;
    Ok(Answer::put(!may_open))
}

fn delete(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let Whose { user, vhost, may_open, .. } = whose(ask)?;
    if !may_open {
        return Err(Failure::not_found());
    }
    ask.change(Change::ClearPermissions { user, vhost })?;
    Ok(Answer::done())
}

fn put_topic(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let members = ask.members()?;
    members.need(&["exchange", "write", "read"])?;
    let text = |name| members.needed_text(name);
    let permissions = TopicPermissions::new(text("write")?, text("read")?).map_err(|error| no_pattern(&error))?;
    let exchange = text("exchange")?.into();
    let Whose { user, vhost, has_topics, .. } = whose(ask).map_err(missing)?;
    change(ask, Change::SetTopicPermissions { user, vhost, exchange, permissions })?;
    Ok(Answer::put(!has_topics))
}

fn delete_topic(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let exchange = Some(ask.part("exchange")).filter(|exchange| !exchange.is_empty()).map(Name::from);
    let Whose { user, vhost, has_topics, .. } = whose(ask)?;
    if !has_topics {
        return Err(Failure::not_found());
    }
    ask.change(Change::ClearTopicPermissions { user, vhost, exchange })?;
    Ok(Answer::done())
}
