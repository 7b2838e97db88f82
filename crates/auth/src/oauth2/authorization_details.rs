//! Rich authorization requests (RFC 9396): entries of a token that say which actions are allowed at which locations.

use serde_json::Value;

use super::claims::{Claims, TooManyScopes};
use super::pattern::Pattern;
use super::resource_server::ResourceServer;

/// Actions that are permissions.
const PERMISSIONS: [&str; 3] = ["configure", "write", "read"];

/// Actions that are tags of the user.
const TAGS: [&str; 4] = ["monitoring", "administrator", "management", "policymaker"];

/// So many scopes are made of a token at most, whatever becomes of them. Actions and locations are multiplied.
const COMBINATIONS_MAX: usize = 65_536;

/// A location: where an action is allowed.
#[derive(Debug, Clone, Copy, Default)]
struct Location<'a> {
    cluster: Option<&'a str>,
    vhost: Option<&'a str>,
    queue: Option<&'a str>,
    exchange: Option<&'a str>,
    routing_key: Option<&'a str>,
}

/// Calls for each scope that the entries for this resource server come to, with the id and a dot in front.
pub(super) fn each_scope(
    server: &ResourceServer,
    claims: &Claims,
    mut take: impl FnMut(&str) -> Result<(), TooManyScopes>,
) -> Result<(), TooManyScopes> {
    let Some(kind) = server.kind.as_deref().filter(|kind| !kind.is_empty()) else { return Ok(()) };
    let mut combinations = 0;
    for entry in claims.get("authorization_details").and_then(Value::as_array).into_iter().flatten() {
        if entry.get("type").and_then(Value::as_str) != Some(kind) {
            continue;
        }
        let places: Vec<String> = texts(entry.get("locations")).filter_map(|place| place_here(server, place)).collect();
        for action in texts(entry.get("actions")) {
            let tag = TAGS.contains(&action) && !places.is_empty();
            let places = if PERMISSIONS.contains(&action) { places.as_slice() } else { &[] };
            let tag = tag.then(|| format!("{}.tag:{action}", server.id));
            for scope in tag.into_iter().chain(places.iter().map(|place| format!("{}.{action}:{place}", server.id))) {
                combinations += 1;
                if combinations > COMBINATIONS_MAX {
                    return Err(TooManyScopes);
                }
                take(&scope)?;
            }
        }
    }
    Ok(())
}

fn texts(value: Option<&Value>) -> impl Iterator<Item = &str> {
    let (one, several) = match value {
        Some(Value::String(text)) => (Some(text.as_str()), None),
        Some(Value::Array(texts)) => (None, Some(texts)),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => (None, None),
    };
    one.into_iter().chain(several.into_iter().flatten().filter_map(Value::as_str))
}

/// A location as scopes have it, if it is in this cluster.
fn place_here(server: &ResourceServer, location: &str) -> Option<String> {
    let location = Location::parse(location);
    let cluster = Pattern::parse(location.cluster?, &Claims::new()).ok()?;
    let id = server.id.as_str().into();
    if !cluster.matches(&id, &id) {
        return None;
    }
    if let (Some(queue), Some(exchange)) = (location.queue, location.exchange)
        && queue != exchange
    {
        return None;
    }
    let vhost = location.vhost.unwrap_or("*");
    let name = location.queue.or(location.exchange).unwrap_or("*");
    let routing_key = location.routing_key.unwrap_or("*");
    Some(format!("{vhost}/{name}/{routing_key}"))
}

impl<'a> Location<'a> {
    /// Reads `cluster:PATTERN/vhost:PATTERN/queue:PATTERN`, in any order. What is empty or unknown is passed over.
    fn parse(location: &'a str) -> Self {
        let mut parsed = Self::default();
        for part in location.split('/') {
            let mut words = part.split(':').filter(|word| !word.is_empty());
            let (Some(key), Some(pattern)) = (words.next(), words.next()) else { continue };
            match key {
                "cluster" => parsed.cluster = Some(pattern),
                "vhost" => parsed.vhost = Some(pattern),
                "queue" => parsed.queue = Some(pattern),
                "exchange" => parsed.exchange = Some(pattern),
                "routing-key" => parsed.routing_key = Some(pattern),
                _ => {}
            }
        }
        parsed
    }
}

#[cfg(test)]
mod tests;
