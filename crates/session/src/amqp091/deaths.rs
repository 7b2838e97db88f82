//! What the broker reads in and writes to the properties of messages: headers, and the history of deaths in them.
//!
//! The history is what RabbitMQ writes. `x-death` has a table for each queue and reason, the last death first; a further
//! death for the same reason in the same queue is counted in the table of the first, which stays as it is otherwise. The
//! headers `x-first-death-*` tell of the first death of all, `x-last-death-*` of the last.

use std::borrow::Cow;

use leveret_broker::Name;
use leveret_broker::message::Message;
use leveret_broker::properties::{
    Afterlife, Composed, Death, NewProperties, NoProperties, Persistence, Properties, Property, PropertyError,
    Publication,
};
use leveret_broker::value;
use leveret_protocol::amqp091::{Array, RawProperties, Table, TableWriter, Value};

use super::{compose, table};

/// The header with the deaths.
const DEATHS: &str = "x-death";
/// The headers of the first death: queue, reason, exchange.
const FIRST: [&str; 3] = ["x-first-death-queue", "x-first-death-reason", "x-first-death-exchange"];
/// The headers of the last death, likewise.
const LAST: [&str; 3] = ["x-last-death-queue", "x-last-death-reason", "x-last-death-exchange"];
/// The header with further routing keys.
const COPIES: &str = "CC";
/// Octets that a death adds to the headers, besides names.
const DEATH_SIZE: usize = 320;

/// The properties of the basic class (§2.3.5.2).
#[derive(Clone, Copy, Debug, Default)]
pub struct BasicProperties;

impl Properties for BasicProperties {
    fn headers(&self, message: &Message) -> value::Table {
        let properties = RawProperties::decode(message.properties()).unwrap_or_default();
        properties.headers.map_or_else(value::Table::new, table::to_broker)
    }

    fn header(&self, message: &Message, name: &str) -> Option<value::Value> {
        let properties = RawProperties::decode(message.properties()).ok()?;
        properties.headers?.get(name).map(table::value_to_broker)
    }

    fn property<'a>(&self, message: &'a Message, property: Property) -> Option<Cow<'a, [u8]>> {
        let properties = RawProperties::decode(message.properties()).unwrap_or_default();
        match property {
            Property::CorrelationId => properties.correlation_id.map(Cow::Borrowed),
            Property::MessageId => properties.message_id.map(Cow::Borrowed),
            Property::Timestamp => properties.timestamp.map(|time| Cow::Owned(time.to_string().into_bytes())),
        }
    }

    fn deaths(&self, message: &Message) -> Vec<(Name, String)> {
        if !message.has_died() {
            return Vec::new();
        }
        let properties = RawProperties::decode(message.properties()).unwrap_or_default();
        let entries = deaths(properties.headers.unwrap_or_default());
        let addresses = entries.iter().filter_map(|entry| match entry {
            Value::Table(entry) => Some((text(entry.get("queue")?)?.into(), text(entry.get("reason")?)?.to_owned())),
            _ => None,
        });
        addresses.collect()
    }

    fn after_death(&self, message: &Message, death: &Death<'_>) -> Afterlife {
        let Ok(mut properties) = RawProperties::decode(message.properties()) else {
            // Nobody lets such octets in. Were they there, the message is worth more than its history.
            return NoProperties.after_death(message, death);
        };
        let before = properties.headers.unwrap_or_default();
        let expiration = properties.expiration.take();
        let mut headers = Vec::with_capacity(before.octets().len() + DEATH_SIZE);
        write_headers(&mut headers, message, death, before, expiration);
        properties.headers = Table::parse(&headers).ok();
        let mut raw = Vec::with_capacity(headers.len() + message.properties().len());
        properties.encode(&mut raw);

        let copies = copies(before).filter_map(|key| std::str::from_utf8(key).ok());
        Afterlife::new(message, death, &raw, copies)
    }

    fn with_header(&self, message: &Message, name: &str, value: &value::Value) -> Message {
        let Ok(mut properties) = RawProperties::decode(message.properties()) else { return message.clone() };
        let mut headers = Vec::new();
        let mut writer = TableWriter::new(&mut headers);
        table::write_field(&mut writer, name, value);
        copy_fields(&mut writer, properties.headers.unwrap_or_default(), |field| field != name.as_bytes());
        let Ok(headers) = Table::parse(&headers) else { return message.clone() };
        properties.headers = Some(headers);
        let mut raw = Vec::new();
        properties.encode(&mut raw);
        message.with_properties(&raw)
    }

    fn to_table(&self, message: &Message) -> value::Table {
        properties_table(&RawProperties::decode(message.properties()).unwrap_or_default())
    }

    fn compose(&self, publication: &Publication<'_>) -> Result<Composed, PropertyError> {
        compose::compose(publication)
    }

    fn encode(&self, properties: &NewProperties<'_>) -> Vec<u8> {
        let mut headers = Vec::new();
        table::write_fields(&mut TableWriter::new(&mut headers), properties.headers);
        let encoded = RawProperties {
            content_type: properties.content_type.map(str::as_bytes),
            headers: Table::parse(&headers).ok().filter(|_| !headers.is_empty()),
            delivery_mode: properties.persistence.map(|persistence| match persistence {
                Persistence::Transient => 1,
                Persistence::Persistent => 2,
            }),
            timestamp: properties.timestamp_s,
            ..RawProperties::default()
        };
        let mut raw = Vec::new();
        encoded.encode(&mut raw);
        raw
    }
}

/// The properties that there are, in the order in which RabbitMQ has them. Numbers are signed, as there.
fn properties_table(properties: &RawProperties<'_>) -> value::Table {
    let text = |octets: Option<&[u8]>| octets.map(|octets| value::Value::LongStr(octets.into()));
    let small = |number: u8| value::Value::I32(number.into());
    let time = |seconds: u64| match i32::try_from(seconds) {
        Ok(seconds) => value::Value::I32(seconds),
        Err(_) => value::Value::I64(i64::try_from(seconds).unwrap_or(i64::MAX)),
    };
    let all = [
        ("cluster_id", text(properties.cluster_id)),
        ("app_id", text(properties.app_id)),
        ("user_id", text(properties.user_id)),
        ("type", text(properties.kind)),
        ("timestamp", properties.timestamp.map(time)),
        ("message_id", text(properties.message_id)),
        ("expiration", text(properties.expiration)),
        ("reply_to", text(properties.reply_to)),
        ("correlation_id", text(properties.correlation_id)),
        ("priority", properties.priority.map(small)),
        ("delivery_mode", properties.delivery_mode.map(small)),
        ("headers", properties.headers.map(|headers| value::Value::Table(table::to_broker(headers)))),
        ("content_encoding", text(properties.content_encoding)),
        ("content_type", text(properties.content_type)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name.into(), value?))).collect()
}

/// Writes the headers of a message after a death: its history, then what it had besides.
fn write_headers(
    out: &mut Vec<u8>,
    message: &Message,
    death: &Death<'_>,
    before: Table<'_>,
    expiration: Option<&[u8]>,
) {
    let has_died = message.has_died();
    let earlier = if has_died { deaths(before) } else { Array::default() };
    let again = earlier.iter().find(|entry| is_same(*entry, death));
    let mut writer = TableWriter::new(out);
    writer.array(DEATHS, |entries| {
        match again {
            Some(Value::Table(entry)) => entries.table_value(|table| count_again(table, entry)),
            _ => entries.table_value(|entry| write_death(entry, message, death, before, expiration)),
        };
        for entry in earlier.iter().filter(|entry| !is_same(*entry, death)) {
            entries.value(entry);
        }
    });
    let values = [death.queue, death.reason.as_str(), message.exchange()];
    let mut write_all = |names: [&str; 3]| {
        for (name, value) in names.into_iter().zip(values) {
            writer.field(name, Value::LongStr(value.as_bytes()));
        }
    };
    if !has_died {
        write_all(FIRST);
    }
    write_all(LAST);
    // A key of its own replaces all that the message had.
    let drops_copies = death.routing_key.is_some();
    copy_fields(&mut writer, before, |name| {
        let is_rewritten = name.starts_with(b"x-")
            && (is_one_of(name, &[DEATHS])
                || is_one_of(name, &LAST)
                // What a client wrote there is no history.
                || !has_died && is_one_of(name, &FIRST));
        !(is_rewritten || drops_copies && name == COPIES.as_bytes())
    });
}

/// Writes the first death in a queue for a reason.
fn write_death(
    entry: &mut TableWriter<'_>,
    message: &Message,
    death: &Death<'_>,
    headers: Table<'_>,
    expiration: Option<&[u8]>,
) {
    entry
        .field("count", Value::I64(1))
        .field("reason", Value::LongStr(death.reason.as_str().as_bytes()))
        .field("queue", Value::LongStr(death.queue.as_bytes()))
        .field("time", Value::Timestamp(death.time.0 / 1000))
        .field("exchange", Value::LongStr(message.exchange().as_bytes()))
        .array("routing-keys", |keys| {
            keys.value(Value::LongStr(message.routing_key().as_bytes()));
            copies(headers).for_each(|key| {
                keys.value(Value::LongStr(key));
            });
        });
    if let Some(expiration) = expiration {
        entry.field("original-expiration", Value::LongStr(expiration));
    }
}

/// Writes the entry of a death that happened before, with one more.
fn count_again(writer: &mut TableWriter<'_>, entry: Table<'_>) {
    let count = match entry.get("count") {
        Some(Value::I64(count)) => count.saturating_add(1),
        _ => 1,
    };
    writer.field("count", Value::I64(count));
    copy_fields(writer, entry, |name| name != b"count");
}

fn copy_fields(writer: &mut TableWriter<'_>, fields: Table<'_>, is_kept: impl Fn(&[u8]) -> bool) {
    for (_, field) in fields.field_octets().filter(|(name, _)| is_kept(name)) {
        writer.field_octets(field);
    }
}

/// Whether an entry tells of deaths in the same queue for the same reason.
fn is_same(entry: Value<'_>, death: &Death<'_>) -> bool {
    let Value::Table(entry) = entry else { return false };
    let is = |name, expected: &str| entry.get(name) == Some(Value::LongStr(expected.as_bytes()));
    is("queue", death.queue) && is("reason", death.reason.as_str())
}

fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|one| one.as_bytes() == name)
}

/// The entries of the history.
fn deaths(headers: Table<'_>) -> Array<'_> {
    match headers.get(DEATHS) {
        Some(Value::Array(entries)) => entries,
        _ => Array::default(),
    }
}

/// The routing keys of the `CC` header.
fn copies(headers: Table<'_>) -> impl Iterator<Item = &[u8]> {
    let keys = match headers.get(COPIES) {
        Some(Value::Array(keys)) => keys,
        _ => Array::default(),
    };
    keys.iter().filter_map(|key| match key {
        Value::LongStr(key) => Some(key),
        _ => None,
    })
}

fn text(value: Value<'_>) -> Option<&str> {
    match value {
        Value::LongStr(octets) => std::str::from_utf8(octets).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
