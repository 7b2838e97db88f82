//! What operators do to queues.

use leveret_broker::queue::CloseCondition;
use leveret_broker::{Error, Name};
use serde_json::{Map, Value, json};

use super::{Call, Failure, Operation};
use crate::wait;

pub(super) const OPERATIONS: [Operation; 3] = [
    Operation { name: "purge_queue", run: purge_queue },
    Operation { name: "delete_queue", run: delete_queue },
    Operation { name: "peek", run: peek },
];

/// How much of a message is shown, in octets.
const SHOWN: usize = 256;
/// Messages looked at in one go.
const PIECE: usize = 1024;

fn not_found(error: Error) -> Failure {
    match error {
        Error::NotFound { .. } | Error::VhostNotFound { .. } => Failure::data("not_found"),
        other => other.into(),
    }
}

fn purge_queue(call: &Call<'_>) -> Result<Value, Failure> {
    let node = call.node()?;
    let purged = node.purge(call.text("vhost")?, call.text("queue")?).map_err(not_found)?;
    Ok(json!({ "messages": purged }))
}

fn delete_queue(call: &Call<'_>) -> Result<Value, Failure> {
    let node = call.node()?;
    let (if_empty, if_unused) = (call.flag("if_empty")?, call.flag("if_unused")?);
    let condition = CloseCondition { if_empty, if_unused, ..CloseCondition::default() };
    let vhost = Name::from(call.text("vhost")?);
    let deleted = node.delete_any_queue(&vhost, call.text("queue")?, condition).map_err(|error| match error {
        Error::NotFound { .. } | Error::VhostNotFound { .. } => Failure::data("Queue not found"),
        Error::InUse { .. } => Failure::data("Queue is in use"),
        Error::NotEmpty { .. } => Failure::data("Queue is not empty"),
        other => other.into(),
    })?;
    wait(&node, deleted.written)?;
    Ok(json!({ "messages": deleted.messages }))
}

/// The message that stands at a place in a queue, the first being 1, in rows of keys and values. None if there is none.
fn peek(call: &Call<'_>) -> Result<Value, Failure> {
    let node = call.node()?;
    let place = usize::try_from(call.optional_number("position")?.unwrap_or(1)).unwrap_or(usize::MAX);
    let mut after = None;
    let mut passed = 0;
    let found = loop {
        // So much at a time, whatever is asked for.
        let piece = node.browse(call.text("vhost")?, call.text("queue")?, after, PIECE.min(place - passed))?;
        let Some(last) = piece.last() else { return Ok(Value::Null) };
        passed += piece.len();
        if passed >= place {
            break last.clone();
        }
        after = Some(last.position);
    };
    let row = |key: String, value: Value| {
        call.row(&Map::from_iter([("keys".to_owned(), json!(key)), ("values".to_owned(), value)]))
    };
    let message = &found.message;
    row("routing_keys".to_owned(), json!(message.routing_key()))?;
    row("exchange".to_owned(), json!(message.exchange()))?;
    let body = message.body();
    row(format!("payload (max {SHOWN} bytes)"), crate::json::text(body.get(..SHOWN).unwrap_or(body)))?;
    for (name, value) in crate::json::table(&node.properties().headers(message)) {
        row(format!("header.{name}"), value)?;
    }
    Ok(Value::Null)
}
