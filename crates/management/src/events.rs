//! What happens on a node, for operators: published to an exchange, or as lines of JSON.

mod exchange;
mod feed;

use leveret_broker::events::{Event, Fact};
use leveret_broker::value::{Table, Value};
use serde_json::{Map, Value as Json};

pub use self::exchange::{EXCHANGE, EventExchange, EventExchangeError};
pub use self::feed::Feed;
use crate::json;
use crate::pid::Pids;

/// What says when an event was, in milliseconds since 1970.
const TIME: &str = "timestamp_in_ms";

/// The facts of an event and its time, as headers.
fn headers(event: &Event, pids: &Pids) -> Table {
    let value = |fact: &Fact| match fact {
        Fact::Value(value) => value.clone(),
        Fact::Arguments(arguments) => Value::Array(arguments.as_terms()),
        Fact::Connection(id) => Value::text(&pids.connection(*id)),
        Fact::Channel(id, number) => Value::text(&pids.channel(*id, *number)),
    };
    let mut headers: Table = event.facts.iter().map(|(name, fact)| (name.clone(), value(fact))).collect();
    headers.push(TIME.into(), Value::I64(i64::try_from(event.time.0).unwrap_or(i64::MAX)));
    headers
}

/// An event as a JSON object, in RabbitMQ's order.
pub(crate) fn line(event: &Event, pids: &Pids) -> String {
    let mut object = Map::new();
    object.insert("event".into(), Json::from(event.name));
    object.extend(headers(event, pids).iter().map(|(name, value)| (name.to_string(), json::value(value))));
    Json::Object(object).to_string()
}

#[cfg(test)]
mod tests;
