//! What is in a data folder as JSON.

use leveret_broker::value::{Table as Arguments, Value as Argument};
use leveret_protocol::amqp091::{RawProperties, Table, Value as Field};
use serde_json::{Map, Value, json};

/// An object on a line, whose members stand in the order they are added.
pub(super) struct Line(String);

impl Line {
    /// A line that says first what it is about.
    pub(super) fn new(kind: &str) -> Self {
        let mut line = Self(String::new());
        line.add("type", kind);
        line
    }

    /// Adds a member.
    pub(super) fn add(&mut self, name: &str, value: impl Into<Value>) {
        self.0.push(if self.0.is_empty() { '{' } else { ',' });
        self.0.push_str(&Value::from(name).to_string());
        self.0.push(':');
        self.0.push_str(&value.into().to_string());
    }

    /// Adds octets: as text, or under another name if they are none.
    pub(super) fn add_octets(&mut self, name: &str, octets: &[u8]) {
        match std::str::from_utf8(octets) {
            Ok(text) => self.add(name, text),
            Err(_) => self.add(&format!("{name}_base64"), base64(octets)),
        }
    }

    /// The line with its end.
    pub(super) fn end(mut self) -> String {
        self.0.push_str("}\n");
        self.0
    }
}

/// The arguments of a declaration.
pub(super) fn arguments(table: &Arguments) -> Value {
    Value::Object(table.iter().map(|(name, value)| (name.to_string(), argument(value))).collect())
}

/// The value of an argument or a parameter.
pub(super) fn argument(value: &Argument) -> Value {
    match value {
        Argument::Bool(value) => json!(value),
        Argument::I8(value) => json!(value),
        Argument::U8(value) => json!(value),
        Argument::I16(value) => json!(value),
        Argument::U16(value) => json!(value),
        Argument::I32(value) => json!(value),
        Argument::U32(value) => json!(value),
        Argument::I64(value) => json!(value),
        Argument::U64(value) | Argument::Timestamp(value) => json!(value),
        Argument::F32(value) => float(f64::from(*value)),
        Argument::F64(value) => float(*value),
        Argument::Decimal { scale, value } => decimal(*scale, *value),
        Argument::LongStr(octets) => text(octets),
        Argument::Bytes(octets) => in_base64(octets),
        Argument::Array(values) => values.iter().map(argument).collect(),
        Argument::Table(table) => arguments(table),
        Argument::Void => Value::Null,
    }
}

/// The properties of a message, from their octets; these themselves if they are damaged.
pub(super) fn properties(raw: &[u8]) -> Value {
    let Ok(properties) = RawProperties::decode(raw) else { return in_base64(raw) };
    let RawProperties {
        content_type,
        content_encoding,
        headers,
        delivery_mode,
        priority,
        correlation_id,
        reply_to,
        expiration,
        message_id,
        timestamp,
        kind,
        user_id,
        app_id,
        cluster_id,
    } = properties;
    let members = [
        ("content_type", content_type.map(text)),
        ("content_encoding", content_encoding.map(text)),
        ("headers", headers.map(fields)),
        ("delivery_mode", delivery_mode.map(Value::from)),
        ("priority", priority.map(Value::from)),
        ("correlation_id", correlation_id.map(text)),
        ("reply_to", reply_to.map(text)),
        ("expiration", expiration.map(text)),
        ("message_id", message_id.map(text)),
        ("timestamp", timestamp.map(Value::from)),
        ("type", kind.map(text)),
        ("user_id", user_id.map(text)),
        ("app_id", app_id.map(text)),
        ("cluster_id", cluster_id.map(text)),
    ];
    let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(members.collect())
}

fn fields(table: Table<'_>) -> Value {
    let members = table.raw_fields().map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), field(value)));
    Value::Object(members.collect())
}

fn field(value: Field<'_>) -> Value {
    match value {
        Field::Bool(value) => json!(value),
        Field::I8(value) => json!(value),
        Field::U8(value) => json!(value),
        Field::I16(value) => json!(value),
        Field::U16(value) => json!(value),
        Field::I32(value) => json!(value),
        Field::U32(value) => json!(value),
        Field::I64(value) => json!(value),
        Field::Timestamp(value) => json!(value),
        Field::F32(value) => float(f64::from(value)),
        Field::F64(value) => float(value),
        Field::Decimal { scale, value } => decimal(scale, value),
        Field::LongStr(octets) => text(octets),
        Field::Bytes(octets) => in_base64(octets),
        Field::Array(values) => values.iter().map(field).collect(),
        Field::Table(table) => fields(table),
        Field::Void => Value::Null,
    }
}

/// JSON has no word for infinity, so that stands as text.
fn float(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { json!(value.to_string()) }
}

/// A decimal as text: as a number it could be rounded.
fn decimal(scale: u8, value: u32) -> Value {
    let digits = format!("{value:0>width$}", width = usize::from(scale) + 1);
    let (before, behind) = digits.split_at(digits.len() - usize::from(scale));
    Value::from(if behind.is_empty() { before.to_owned() } else { format!("{before}.{behind}") })
}

fn text(octets: &[u8]) -> Value {
    std::str::from_utf8(octets).map_or_else(|_| in_base64(octets), Value::from)
}

fn in_base64(octets: &[u8]) -> Value {
    Value::Object(Map::from_iter([("base64".to_owned(), Value::from(base64(octets)))]))
}

/// RFC 4648 §4, with padding.
pub(super) fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(octets.len().div_ceil(3) * 4);
    for group in octets.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, octet| bits << 8 | u32::from(*octet)) << (8 * (3 - group.len()));
        for place in 0..4 {
            let digit = ALPHABET.get((bits >> (18 - 6 * place) & 0x3F) as usize).copied().unwrap_or_default();
            text.push(if place <= group.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use leveret_protocol::amqp091::TableWriter;

    use super::*;

    #[test]
    fn base64_is_that_of_the_specification() {
        // RFC 4648 §10.
        for (octets, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE=")]
        {
            assert_eq!(base64(octets.as_bytes()), text);
        }
        assert_eq!(base64(&[0xFB, 0xFF, 0xFE]), "+//+");
    }

    #[test]
    fn members_keep_their_order_and_octets_are_text_if_they_can_be() {
        let mut line = Line::new("message");
        line.add("b", 1);
        line.add("a", "\"");
        line.add_octets("body", "ü".as_bytes());
        line.add_octets("body", &[0xFF]);
        assert_eq!(
            line.end(),
            "{\"type\":\"message\",\"b\":1,\"a\":\"\\\"\",\"body\":\"ü\",\"body_base64\":\"/w==\"}\n"
        );
    }

    #[test]
    fn properties_of_every_type_are_decoded() {
        let mut headers = Vec::new();
        TableWriter::new(&mut headers)
            .field("text", Field::LongStr(b"x"))
            .field("octets", Field::LongStr(&[0xFF]))
            .field("decimal", Field::Decimal { scale: 2, value: 5 })
            .field("double", Field::F64(f64::INFINITY))
            .array("array", |array| {
                array.value(Field::Bool(true)).value(Field::Void);
            });
        let mut raw = Vec::new();
        let headers = Some(Table::parse(&headers).unwrap());
        let set = RawProperties { headers, delivery_mode: Some(2), kind: Some(b"t"), ..RawProperties::default() };
        set.encode(&mut raw);
        assert_eq!(
            properties(&raw),
            json!({
                "headers": {
                    "text": "x", "octets": {"base64": "/w=="}, "decimal": "0.05", "double": "inf", "array": [true, null]
                },
                "delivery_mode": 2,
                "type": "t"
            })
        );
        assert_eq!(properties(&[0xFF, 0xFF]), json!({"base64": "//8="}));
        assert_eq!(properties(&[]), json!({}));
    }
}
