//! A message that came by, as a trace's file has it.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use leveret_broker::Name;
use leveret_broker::clock::Timestamp;
use leveret_broker::message::Message;
use leveret_broker::value::{Table, Value};
use serde_json::{Value as Json, json};
use time::OffsetDateTime;

use crate::json;

/// How a trace is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// A line of JSON for each message, for programs.
    Json,
}

impl Format {
    /// The one of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// Its name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// A message that came by. `headers` are those that the firehose gives its copy.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) at: Timestamp,
    /// The queue that it was delivered from; none if it was published.
    pub(super) queue: Option<Name>,
    pub(super) headers: Table,
    pub(super) message: Message,
}

impl Record {
    /// Adds it to what is to be written, with so many octets of its body at most.
    pub(super) fn write(&self, format: Format, max_payload: Option<usize>, to: &mut Vec<u8>) {
        let body = self.message.body();
        let body = body.get(..max_payload.unwrap_or(usize::MAX).min(body.len())).unwrap_or_default();
        match format {
            Format::Text => self.write_text(body, to),
            Format::Json => self.write_json(body, to),
        }
    }

    fn text(&self, name: &str) -> &str {
        self.headers.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    fn write_text(&self, body: &[u8], to: &mut Vec<u8>) {
        let term = |name: &str| self.headers.get(name).map_or_else(|| "[]".to_owned(), list);
        let way = if self.queue.is_some() { "received" } else { "published" };
        let mut text = format!("\n{}\n{}: Message {way}\n\n", "=".repeat(80), self.time());
        let (queue_title, queue) = match &self.queue {
            Some(queue) => ("Queue:        ", queue.to_string()),
            None => ("Routed queues: ", term("routed_queues")),
        };
        let channel = self.headers.get("channel").map_or_else(String::new, term_of);
        for (title, value) in [
            ("Node:         ", self.text("node")),
            ("Connection:   ", self.text("connection")),
            ("Virtual host: ", self.text("vhost")),
            ("User:         ", self.text("user")),
            ("Channel:      ", &channel),
            ("Exchange:     ", self.text("exchange_name")),
            ("Routing keys: ", &term("routing_keys")),
            (queue_title, &queue),
            ("Properties:   ", &term("properties")),
        ] {
            // Names may have line breaks, which would pass for lines of ours.
            let value = value.escape_debug().collect::<String>().replace("\\\"", "\"").replace("\\'", "'");
            let _ = writeln!(text, "{title}{value}");
        }
        text.push_str("Payload: \n");
        to.extend_from_slice(text.as_bytes());
        to.extend_from_slice(body);
        to.push(b'\n');
    }

    fn write_json(&self, body: &[u8], to: &mut Vec<u8>) {
        let value = |name: &str| self.headers.get(name).map_or(Json::Null, json::value);
        let (kind, queue) = match &self.queue {
            Some(queue) => ("received", queue.to_string()),
            None => ("published", "none".to_owned()),
        };
        let routed = if self.queue.is_some() { json!("none") } else { value("routed_queues") };
        let record = json!({
            "channel": value("channel"),
            "connection": value("connection"),
            "exchange": value("exchange_name"),
            "node": value("node"),
            "payload": BASE64_STANDARD.encode(body),
            "properties": value("properties"),
            "queue": queue,
            "routed_queues": routed,
            "routing_keys": value("routing_keys"),
            "timestamp": self.time(),
            "type": kind,
            "user": value("user"),
            "vhost": value("vhost"),
        });
        to.extend_from_slice(record.to_string().as_bytes());
        to.push(b'\n');
    }

    /// Such as `2026-11-20T20:55:35.137+00:00`.
    fn time(&self) -> String {
        let at = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.at.0) * 1_000_000);
        let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let (hour, minute, second, milli) = at.time().as_hms_milli();
        let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}+00:00")
    }
}

/// A list or a table as RabbitMQ shows it.
fn list(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("[{}]", values.iter().map(term_of).collect::<Vec<_>>().join(",")),
        Value::Table(table) => table_term(table),
        other => term_of(other),
    }
}

fn table_term(table: &Table) -> String {
    let field = |(name, value): &(Name, Value)| format!("{{<<\"{name}\">>,{},{}}}", value.type_name(), term_of(value));
    format!("[{}]", table.iter().map(field).collect::<Vec<_>>().join(","))
}

/// A value as the Erlang term that RabbitMQ shows.
fn term_of(value: &Value) -> String {
    match value {
        Value::LongStr(octets) | Value::Bytes(octets) => format!("<<\"{}\">>", String::from_utf8_lossy(octets)),
        Value::Array(values) => {
            let typed = |value: &Value| format!("{{{},{}}}", value.type_name(), term_of(value));
            format!("[{}]", values.iter().map(typed).collect::<Vec<_>>().join(","))
        }
        Value::Table(table) => table_term(table),
        Value::Void => "undefined".to_owned(),
        other => json::value(other).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use leveret_broker::message::Draft;

    use super::*;

    fn record(queue: Option<&str>) -> Record {
        let mut draft = Draft::new(Vec::new(), "", "qlazy");
        draft.body(b"traced payload");
        let mut inner = Table::new();
        inner.push("a".into(), Value::I64(1));
        let mut properties = Table::new();
        properties.push("headers".into(), Value::Table(inner));
        let mut headers = Table::new();
        for (name, value) in [
            ("exchange_name", Value::text("")),
            ("routing_keys", Value::Array(vec![Value::text("qlazy")])),
            ("properties", Value::Table(properties)),
            ("node", Value::text("rabbit@h")),
            ("vhost", Value::text("/")),
            ("connection", Value::text("a -> b")),
            ("channel", Value::I32(1)),
            ("user", Value::text("guest")),
            ("routed_queues", Value::Array(vec![Value::text("qlazy")])),
        ] {
            headers.push(name.into(), value);
        }
        Record { at: Timestamp(1_795_208_135_137), queue: queue.map(Name::from), headers, message: draft.message() }
    }

    fn written(record: &Record, format: Format, max: Option<usize>) -> String {
        let mut octets = Vec::new();
        record.write(format, max, &mut octets);
        String::from_utf8(octets).unwrap()
    }

    #[test]
    fn text_is_as_rabbitmq_writes_it() {
        let line = "=".repeat(80);
        let begin = |way| format!("\n{line}\n2026-11-20T20:55:35.137+00:00: Message {way}\n\n");
        let middle = "Node:         rabbit@h\nConnection:   a -> b\nVirtual host: /\nUser:         guest\nChannel:      1\n\
                      Exchange:     \nRouting keys: [<<\"qlazy\">>]\n";
        let end = "Properties:   [{<<\"headers\">>,table,[{<<\"a\">>,long,1}]}]\nPayload: \ntraced payload\n";
        let published = format!("{}{middle}Routed queues: [<<\"qlazy\">>]\n{end}", begin("published"));
        assert_eq!(written(&record(None), Format::Text, None), published);
        let received = format!("{}{middle}Queue:        qlazy\n{end}", begin("received"));
        assert_eq!(written(&record(Some("qlazy")), Format::Text, None), received);
    }

    #[test]
    fn json_has_a_line_for_each_message_and_cuts_bodies() {
        let line = written(&record(None), Format::Json, Some(6));
        assert_eq!(line.matches('\n').count(), 1);
        let expected = json!({
            "channel": 1, "connection": "a -> b", "exchange": "", "node": "rabbit@h", "payload": "dHJhY2Vk",
            "properties": {"headers": {"a": 1}}, "queue": "none", "routed_queues": ["qlazy"],
            "routing_keys": ["qlazy"], "timestamp": "2026-11-20T20:55:35.137+00:00", "type": "published",
            "user": "guest", "vhost": "/",
        });
        assert_eq!(serde_json::from_str::<Json>(&line).unwrap(), expected);
        let received: Json = serde_json::from_str(&written(&record(Some("q")), Format::Json, None)).unwrap();
        assert_eq!(
            json!([received["type"], received["queue"], received["routed_queues"]]),
            json!(["received", "q", "none"])
        );
    }

    #[test]
    fn what_is_in_names_does_not_pass_for_a_line() {
        let mut record = record(Some("q\nUser:         root"));
        record.headers.push("node".into(), Value::text("n"));
        assert_eq!(written(&record, Format::Text, None).matches("\nUser: ").count(), 1);
    }
}
