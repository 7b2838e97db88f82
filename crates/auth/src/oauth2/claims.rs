//! What a token says: who its user is, until when it holds, and what scopes it has, wherever it has them.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::authorization_details;
use super::resource_server::ResourceServer;

/// The claims of a token.
pub(super) type Claims = Map<String, Value>;

/// So many scopes of a token count, as in RabbitMQ.
const SCOPES_MAX: usize = 2048;

/// Where Keycloak's requesting party tokens have their scopes.
const REQUESTING_PARTY_SCOPES: &str = "authorization.permissions.scopes";

/// The user's name if no claim has one, as in RabbitMQ.
const NOBODY: &str = "unknown";

/// How far the clock of the provider may be ahead, in seconds. A token says from when on it holds as soon as it is made.
const NOT_BEFORE_LEEWAY: i64 = 60;

/// A token that does not hold now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum OutOfTime {
    #[error("Provided JWT token has expired at timestamp {expired} (validated at {now})")]
    Expired { expired: i64, now: i64 },
    #[error("Provided JWT token is not valid before timestamp {from} (validated at {now})")]
    NotYet { from: i64, now: i64 },
    #[error("Provided JWT token has no exp claim")]
    NoEnd,
    #[error("Provided JWT token has an invalid {0} claim: value is not a number")]
    NotANumber(&'static str),
}

/// A token that asks for more than anybody needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too_many_scopes")]
pub(super) struct TooManyScopes;

/// Whether tokens have to say when they expire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    Required,
    Optional,
}

/// Until when a token holds, in seconds since 1970, if it holds now; `None` for ever.
pub(super) fn valid_until(claims: &Claims, expiry: Expiry, now: i64) -> Result<Option<i64>, OutOfTime> {
    if let Some(from) = seconds(claims, "nbf")?
        && from.saturating_sub(NOT_BEFORE_LEEWAY) > now
    {
        return Err(OutOfTime::NotYet { from, now });
    }
    match (seconds(claims, "exp")?, expiry) {
        (Some(expired), _) if expired <= now => Err(OutOfTime::Expired { expired, now }),
        (None, Expiry::Required) => Err(OutOfTime::NoEnd),
        (end, _) => Ok(end),
    }
}

fn seconds(claims: &Claims, name: &'static str) -> Result<Option<i64>, OutOfTime> {
    #[expect(clippy::cast_possible_truncation, reason = "what is out of range becomes the end of the range")]
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(seconds), _) => Ok(Some(seconds)),
            (None, Some(seconds)) => Ok(Some(seconds as i64)),
            (None, None) => Err(OutOfTime::NotANumber(name)),
        },
        Some(_) => Err(OutOfTime::NotANumber(name)),
    }
}

/// The name of the user: the first of these claims that is text.
pub(super) fn user_name<'a>(names: &[String], claim: impl Fn(&str) -> Option<&'a str>) -> &'a str {
    names.iter().find_map(|name| claim(name)).unwrap_or(NOBODY)
}

/// A claim, if it is text.
pub(super) fn text<'a>(claims: &'a Claims, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

/// The scopes of a token that mean this resource server, without their prefix.
pub(super) fn scopes(server: &ResourceServer, claims: &Claims) -> Result<BTreeSet<String>, TooManyScopes> {
    let mut found = BTreeSet::new();
    match claims.get("scope") {
        Some(Value::String(scopes)) => found.extend(words(scopes).map(str::to_owned)),
        Some(Value::Array(scopes)) => flatten(scopes, &mut found),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {}
    }
    follow(server, claims, REQUESTING_PARTY_SCOPES, &mut found);
    for path in &server.additional_scopes {
        match claims.get(path) {
            // The name of a claim may have dots in it: it is often an address.
            Some(value) => take(server, value, &mut found),
            None => follow(server, claims, path, &mut found),
        }
    }
    let aliased: Vec<&String> = found.iter().filter_map(|scope| server.scope_aliases.get(scope)).flatten().collect();
    let mut scopes = BTreeSet::new();
    for scope in found.iter().chain(aliased) {
        keep(server, scope, &mut scopes)?;
    }
    authorization_details::each_scope(server, claims, |scope| keep(server, scope, &mut scopes))?;
    Ok(scopes)
}

fn keep(server: &ResourceServer, scope: &str, scopes: &mut BTreeSet<String>) -> Result<(), TooManyScopes> {
    if let Some(scope) = scope.strip_prefix(&server.scope_prefix) {
        scopes.insert(scope.to_owned());
    }
    if scopes.len() > SCOPES_MAX { Err(TooManyScopes) } else { Ok(()) }
}

/// Takes the scopes at the end of a path, such as `resource_access.rabbitmq.roles`.
fn follow(server: &ResourceServer, claims: &Claims, path: &str, found: &mut BTreeSet<String>) {
    let keys: Vec<&str> = path.split('.').filter(|key| !key.is_empty()).collect();
    if let [first, rest @ ..] = keys.as_slice()
        && let Some(value) = claims.get(*first)
    {
        descend(server, value, rest, found);
    }
}

fn descend(server: &ResourceServer, value: &Value, path: &[&str], found: &mut BTreeSet<String>) {
    let [key, rest @ ..] = path else { return take(server, value, found) };
    match value {
        Value::Object(map) => {
            if let Some(value) = map.get(*key) {
                descend(server, value, rest, found);
            }
        }
        Value::Array(values) => {
            for map in values.iter().filter(|value| value.is_object()) {
                descend(server, map, path, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Takes the scopes of a claim: a text with spaces between them, a list, or, without a prefix, either of them for the id of the
/// resource server.
fn take(server: &ResourceServer, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(scopes) => found.extend(words(scopes).map(str::to_owned)),
        Value::Array(scopes) => flatten(scopes, found),
        Value::Object(map) => {
            let mut without_prefix = BTreeSet::new();
            match map.get(&server.id) {
                Some(Value::String(scopes)) => without_prefix.extend(words(scopes).map(str::to_owned)),
                Some(Value::Array(scopes)) => flatten(scopes, &mut without_prefix),
                Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {}
            }
            found.extend(without_prefix.into_iter().map(|scope| format!("{}.{scope}", server.id)));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn flatten(values: &[Value], found: &mut BTreeSet<String>) {
    for value in values {
        match value {
            Value::String(scope) => {
                found.insert(scope.clone());
            }
            Value::Array(values) => flatten(values, found),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
        }
    }
}

pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(' ').filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests;
