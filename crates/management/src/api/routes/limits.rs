//! Limits of vhosts and users.

use leveret_broker::Error;
use leveret_broker::value::Value as Field;

use crate::api::listing;
use crate::api::route::{self, Gives, Kind};
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::views::{Columns, Row};
use crate::{WriteError, json, limits};

pub(super) const GROUP: Group = Group {
    title: "Limits",
    routes: &[
        Route {
            path: "/api/vhost-limits",
            operations: &[Operation::get(Access::Management, list_vhosts, "The limits of all vhosts that have some")
                .gives(Gives::All("VhostLimits"))],
        },
        Route {
            path: "/api/vhost-limits/{vhost}",
            operations: &[Operation::get(Access::VisibleVhost, list_vhost, "The limits of a vhost")
                .gives(Gives::All("VhostLimits"))],
        },
        Route {
            path: "/api/vhost-limits/{vhost}/{name}",
            operations: &[
                Operation::put(
                    Access::Administrator,
                    put_vhost,
                    "Sets a limit of a vhost: max-connections, max-queues",
                )
                .body(VALUE),
                Operation::delete(Access::Administrator, delete_vhost, "Takes a limit of a vhost away"),
            ],
        },
        Route {
            path: "/api/user-limits",
            operations: &[Operation::get(Access::Management, list_users, "The limits of all users that have some")
                .gives(Gives::All("UserLimits"))],
        },
        Route {
            path: "/api/user-limits/{user}",
            operations: &[
                Operation::get(Access::Management, list_user, "The limits of a user").gives(Gives::All("UserLimits"))
            ],
        },
        Route {
            path: "/api/user-limits/{user}/{name}",
            operations: &[
                Operation::put(
                    Access::Administrator,
                    put_user,
                    "Sets a limit of a user: max-connections, max-channels",
                )
                .body(VALUE),
                Operation::delete(Access::Administrator, delete_user, "Takes a limit of a user away"),
            ],
        },
    ],
};

const VALUE: &[route::Field] =
    &[route::Field::needed("value", Kind::Number, "how many there may be; below zero there is no limit")];

fn list_vhosts(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let visible = ask.visible_vhosts();
    let mut rows = ask.view(&Columns::All).vhost_limits(None)?;
    rows.retain(|row| visible.iter().any(|vhost| row.get("vhost").is_some_and(|known| *known == **vhost)));
    listing::whole(ask, rows)
}

fn list_vhost(ask: &Ask<'_>) -> Result<Answer, Failure> {
    listing::whole(ask, ask.view(&Columns::All).vhost_limits(Some(ask.part("vhost")))?)
}

fn list_users(ask: &Ask<'_>) -> Result<Answer, Failure> {
    listing::whole(ask, limited(ask.view(&Columns::All).user_limits(None)?))
}

fn list_user(ask: &Ask<'_>) -> Result<Answer, Failure> {
    listing::whole(ask, limited(ask.view(&Columns::All).user_limits(Some(ask.part("user")))?))
}

/// Those that have any.
fn limited(mut rows: Vec<Row>) -> Vec<Row> {
    rows.retain(|row| row.get("value").and_then(|value| value.as_object()).is_some_and(|limits| !limits.is_empty()));
    rows
}

fn value(ask: &Ask<'_>) -> Result<Field, Failure> {
    let members = ask.members()?;
    members.need(&["value"])?;
    let value = members.raw("value").map(json::to_value).transpose();
    let value = value.map_err(|error| Failure::bad_request(format!("value: {error}")))?;
    Ok(value.unwrap_or(Field::Void))
}

fn put_vhost(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let value = value(ask)?;
    let changed =
        limits::change_vhost(ask.node(), ask.part("vhost"), |limits| limits::with(limits, ask.part("name"), value));
    match changed {
        Ok(()) => Ok(Answer::done()),
        Err(WriteError::Refused(Error::VhostNotFound { .. })) => Err(Failure::no_vhost()),
        Err(error) => Err(error.into()),
    }
}

fn delete_vhost(ask: &Ask<'_>) -> Result<Answer, Failure> {
    limits::change_vhost(ask.node(), ask.part("vhost"), |limits| limits::without(limits, ask.part("name")))?;
    Ok(Answer::done())
}

fn put_user(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let value = value(ask)?;
    let changed =
        limits::change_user(ask.node(), ask.part("user"), |limits| limits::with(limits, ask.part("name"), value));
    match changed {
        Ok(()) => Ok(Answer::done()),
        Err(WriteError::Refused(Error::UserNotFound { user })) => {
            Err(Failure::bad_request(serde_json::json!(["no_such_user", &*user])))
        }
        Err(error) => Err(error.into()),
    }
}

fn delete_user(ask: &Ask<'_>) -> Result<Answer, Failure> {
    limits::change_user(ask.node(), ask.part("user"), |limits| limits::without(limits, ask.part("name")))?;
    Ok(Answer::done())
}
