//! Users, their passwords, tags and limits.

use leveret_auth::hash;
use leveret_broker::Name;
use leveret_broker::access::{HashingAlgorithm, LoginAttempt, PasswordHash, Peer, Secret};
use leveret_broker::topology::{Change, Existing};
use leveret_broker::value::Table;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::{Call, Failure, Kind, Operation};
use crate::views::Row;
use crate::{App, limits};

pub(super) const OPERATIONS: [Operation; 10] = [
    Operation { name: "add_user", run: add_user },
    Operation { name: "authenticate_user", run: authenticate_user },
    Operation { name: "change_password", run: change_password },
    Operation { name: "clear_password", run: clear_password },
    Operation { name: "delete_user", run: delete_user },
    Operation { name: "list_users", run: list_users },
    Operation { name: "set_user_tags", run: set_user_tags },
    Operation { name: "set_user_limits", run: set_user_limits },
    Operation { name: "clear_user_limits", run: clear_user_limits },
    Operation { name: "list_user_limits", run: list_user_limits },
];

fn add_user(call: &Call<'_>) -> Result<Value, Failure> {
    let app = call.app()?;
    let password = match call.optional_text("password_hash")? {
        Some(text) => given_hash(&app, text)?,
        None => hashed(&app, call.text("password")?)?,
    };
    let user = call.text("user")?.into();
    call.change(Change::SetUser { user, password, tags: Vec::new(), existing: Existing::Refuse })
}

fn hashed(app: &App, password: &str) -> Result<PasswordHash, Failure> {
    app.hashing.hash(&Secret::new(password.as_bytes())).map_err(|error| Failure::software(error.to_string()))
}

/// Takes a hash that was made elsewhere: by the algorithm it names, or the one that new passwords are hashed with.
fn given_hash(app: &App, text: &str) -> Result<PasswordHash, Failure> {
    let algorithm = match app.hashing.algorithm {
        _ if text.starts_with("$argon2id$") => HashingAlgorithm::Argon2id,
        HashingAlgorithm::Argon2id => HashingAlgorithm::Sha256,
        other => other,
    };
    hash::from_text(algorithm, text).map_err(|error| Failure::data(error.to_string()))
}

fn authenticate_user(call: &Call<'_>) -> Result<Value, Failure> {
    let logins = call.app()?.logins;
    let user = call.text("user")?;
    let attempt = LoginAttempt {
        name: user.into(),
        secret: Some(Secret::new(call.text("password")?.as_bytes())),
        peer: Peer::local(),
        mechanism: "PLAIN",
        protocol: "control",
    };
    // Operations run on threads that may wait.
    let result = Handle::current().block_on(logins.check(attempt));
    match result {
        Ok(_) => Ok(Value::Null),
        Err(failure) => Err(Failure::data(format!("Error: failed to authenticate user \"{user}\"\n{failure}"))),
    }
}

fn change_password(call: &Call<'_>) -> Result<Value, Failure> {
    let password = hashed(&call.app()?, call.text("password")?)?;
    call.change(Change::SetPassword { user: call.text("user")?.into(), password })
}

fn clear_password(call: &Call<'_>) -> Result<Value, Failure> {
    let change = Change::SetPassword { user: call.text("user")?.into(), password: PasswordHash::none() };
    call.change(change).map_err(missing)
}

/// RabbitMQ's tools end with another code here than where they know what went wrong.
pub(super) fn missing(failure: Failure) -> Failure {
    match failure.kind {
        Kind::NoUser => Failure { kind: Kind::Unavailable, ..failure },
        _ => failure,
    }
}

fn delete_user(call: &Call<'_>) -> Result<Value, Failure> {
    call.change(Change::DeleteUser { user: call.text("user")?.into() })
}

fn list_users(call: &Call<'_>) -> Result<Value, Failure> {
    call.list(|view| Ok(view.users()))
}

fn set_user_tags(call: &Call<'_>) -> Result<Value, Failure> {
    let tags = call.texts("tags")?.into_iter().map(Name::from).collect();
    call.change(Change::SetTags { user: call.text("user")?.into(), tags })
}

fn set_user_limits(call: &Call<'_>) -> Result<Value, Failure> {
    let limits = call.definition("definition")?;
    change_limits(call, |current| {
        let kept = current.iter().filter(|(name, _)| limits.get(name).is_none());
        kept.chain(limits.iter()).cloned().collect()
    })
}

fn clear_user_limits(call: &Call<'_>) -> Result<Value, Failure> {
    let limit = call.optional_text("limit")?;
    change_limits(call, |current| {
        current.iter().filter(|(name, _)| limit.is_some_and(|limit| **name != *limit)).cloned().collect()
    })
}

fn change_limits(call: &Call<'_>, change: impl FnOnce(&Table) -> Table) -> Result<Value, Failure> {
    let changed = limits::change_user(&*call.node()?, call.text("user")?, change);
    changed.map_err(|error| missing(error.into()))?;
    Ok(Value::Null)
}

fn list_user_limits(call: &Call<'_>) -> Result<Value, Failure> {
    let user = call.optional_text("user")?;
    call.list(|view| {
        let mut rows = view.user_limits(user)?;
        if let Some(user) = user.filter(|_| rows.is_empty()) {
            // A user without limits has an empty object of them.
            rows.push(Row::from_iter([("user".to_owned(), json!(user)), ("limits".to_owned(), json!("{}"))]));
        }
        Ok(rows)
    })
    .map_err(missing)
}
