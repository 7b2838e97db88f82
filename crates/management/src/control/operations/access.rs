//! What users may do: permissions, and topic permissions.

use leveret_broker::access::{PatternError, Permissions, TopicPermissions};
use leveret_broker::topology::Change;
use leveret_broker::{Error, Name};
use serde_json::Value;

use super::{Call, Failure, Kind, Operation};
use crate::{WriteError, apply};

pub(super) const OPERATIONS: [Operation; 9] = [
    Operation { name: "set_permissions", run: set_permissions },
    Operation { name: "set_permissions_globally", run: set_permissions_globally },
    Operation { name: "clear_permissions", run: clear_permissions },
    Operation { name: "list_permissions", run: list_permissions },
    Operation { name: "list_user_permissions", run: list_user_permissions },
    Operation { name: "set_topic_permissions", run: set_topic_permissions },
    Operation { name: "clear_topic_permissions", run: clear_topic_permissions },
    Operation { name: "list_topic_permissions", run: list_topic_permissions },
    Operation { name: "list_user_topic_permissions", run: list_user_topic_permissions },
];

fn permissions(call: &Call<'_>) -> Result<Permissions, Failure> {
    Permissions::new(call.text("configure")?, call.text("write")?, call.text("read")?)
        .map_err(|error| no_pattern(&error))
}

fn no_pattern(error: &PatternError) -> Failure {
    Failure::new(Kind::Unavailable, error.to_string())
}

/// Makes a change of what a user may do. RabbitMQ's tools have words and exit codes of their own for who or what is missing.
fn change(call: &Call<'_>, change: Change) -> Result<Value, Failure> {
    match apply(&*call.node()?, change) {
        Ok(_) => Ok(Value::Null),
        Err(WriteError::Refused(Error::VhostNotFound { vhost })) => {
            Err(Failure::new(Kind::Unavailable, format!("Virtual host {vhost} does not exist")))
        }
        Err(WriteError::Refused(Error::UserNotFound { user })) => {
            Err(Failure::new(Kind::NoUser, format!("User {user} does not exist")))
        }
        Err(error) => Err(error.into()),
    }
}

fn set_permissions(call: &Call<'_>) -> Result<Value, Failure> {
    let permissions = permissions(call)?;
    let (user, vhost) = (call.text("user")?.into(), call.text("vhost")?.into());
    change(call, Change::SetPermissions { user, vhost, permissions })
}

fn set_permissions_globally(call: &Call<'_>) -> Result<Value, Failure> {
    let permissions = permissions(call)?;
    let user: Name = call.text("user")?.into();
    let vhosts: Vec<Name> = call.node()?.read(|topology| {
        // Without vhosts there is nothing to change, and nobody who would say that the user is missing.
        topology.user(&user)?;
        Ok::<_, Error>(topology.vhosts().map(|vhost| Name::clone(vhost.name())).collect())
    })?;
    for vhost in vhosts {
        let set = Change::SetPermissions { user: Name::clone(&user), vhost, permissions: permissions.clone() };
        match apply(&*call.node()?, set) {
            // A vhost that was deleted meanwhile needs no permissions.
            Ok(_) | Err(WriteError::Refused(Error::VhostNotFound { .. })) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Value::Null)
}

fn clear_permissions(call: &Call<'_>) -> Result<Value, Failure> {
    let (user, vhost) = (call.text("user")?.into(), call.text("vhost")?.into());
    change(call, Change::ClearPermissions { user, vhost })
}

fn list_permissions(call: &Call<'_>) -> Result<Value, Failure> {
    let vhost = call.text("vhost")?;
    call.list(|view| view.permissions_in(vhost))
}

fn list_user_permissions(call: &Call<'_>) -> Result<Value, Failure> {
    let user = call.text("user")?;
    call.list(|view| view.permissions_of(user)).map_err(super::users::missing)
}

fn set_topic_permissions(call: &Call<'_>) -> Result<Value, Failure> {
    let permissions =
        TopicPermissions::new(call.text("write")?, call.text("read")?).map_err(|error| no_pattern(&error))?;
    let (user, vhost) = (call.text("user")?.into(), call.text("vhost")?.into());
    let exchange = call.text("exchange")?.into();
    change(call, Change::SetTopicPermissions { user, vhost, exchange, permissions })
}

fn clear_topic_permissions(call: &Call<'_>) -> Result<Value, Failure> {
    let (user, vhost) = (call.text("user")?.into(), call.text("vhost")?.into());
    let exchange = call.optional_text("exchange")?.map(Name::from);
    change(call, Change::ClearTopicPermissions { user, vhost, exchange })
}

fn list_topic_permissions(call: &Call<'_>) -> Result<Value, Failure> {
    let vhost = call.text("vhost")?;
    call.list(|view| view.topic_permissions_in(vhost))
}

fn list_user_topic_permissions(call: &Call<'_>) -> Result<Value, Failure> {
    let user = call.text("user")?;
    call.list(|view| view.topic_permissions_of(user)).map_err(super::users::missing)
}
