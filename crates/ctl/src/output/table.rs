//! Lines with tabs between the values: what RabbitMQ's tools write by default, and scripts read.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Rows, erlang};

/// The rows; nothing if there are none.
pub(super) fn rows(rows: &Rows, headers: bool) -> String {
    let mut lines = Vec::with_capacity(rows.rows.len() + 1);
    if headers && !rows.rows.is_empty() {
        lines.push(rows.columns.iter().map(|column| column.name.as_str()).collect::<Vec<_>>().join("\t"));
    }
    for row in &rows.rows {
        let values: Vec<String> = rows.columns.iter().map(|column| escape(&column.text(row))).collect();
        lines.push(values.join("\t"));
    }
    lines.join("\n")
}

/// What would end the value or the line, as an escape.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\t' => escaped.push_str("\\t"),
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\u{1b}' => escaped.push_str("\\e"),
            control if control.is_control() => {
                let _ = write!(escaped, "\\x{{{:X}}}", u32::from(control));
            }
            other => escaped.push(other),
        }
    }
    escaped
}

/// A value in one line.
pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(part).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{{\"{key}\",{}}}", quoted(value))).collect();
            format!("[{}]", fields.join(","))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// The same of a value whose texts and keys are names.
pub(super) fn inline_atoms(value: &Value) -> String {
    let Value::Object(fields) = value else { return inline(value) };
    let atom = |value: &Value| value.as_str().map_or_else(|| part(value), erlang::atom);
    let fields: Vec<String> =
        fields.iter().map(|(key, value)| format!("{{{}, {}}}", erlang::atom(key), atom(value))).collect();
    format!("[{}]", fields.join(", "))
}

/// Numbers that belong together.
pub(super) fn tuple(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("{{{}}}", items.iter().map(part).collect::<Vec<_>>().join(",")),
        other => inline(other),
    }
}

/// A table of the protocol, given as a list of name, type and value.
pub(super) fn of_protocol(value: &Value) -> String {
    let Value::Array(fields) = value else { return inline(value) };
    let fields: Vec<String> = fields.iter().map(field).collect();
    format!("[{}]", fields.join(","))
}

fn field(field: &Value) -> String {
    match field.as_array().map(Vec::as_slice) {
        Some([Value::String(name), Value::String(kind), value]) => format!("{{\"{name}\",{}}}", typed(kind, value)),
        _ => part(field),
    }
}

/// A value of a type of the protocol. An array has a pair of type and value for each of its values.
fn typed(kind: &str, value: &Value) -> String {
    match (kind, value) {
        ("table", value) => of_protocol(value),
        ("array", Value::Array(items)) => {
            let item = |item: &Value| match item.as_array().map(Vec::as_slice) {
                Some([Value::String(kind), value]) => typed(kind, value),
                _ => quoted(item),
            };
            format!("[{}]", items.iter().map(item).collect::<Vec<_>>().join(","))
        }
        (_, value) => quoted(value),
    }
}

/// An element of a list.
fn part(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        other => inline(other),
    }
}

/// A value of an object, where texts have quotes.
fn quoted(value: &Value) -> String {
    match value {
        Value::String(text) => format!("\"{text}\""),
        other => part(other),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_as_rabbitmq_does() {
        for (value, text) in [
            (json!(null), ""),
            (json!("a"), "a"),
            (json!(7), "7"),
            (json!(true), "true"),
            (json!(["administrator", "b"]), "[administrator, b]"),
            (json!([]), "[]"),
            (
                json!({"x-max-length": 5, "x-dead-letter-exchange": "dlx"}),
                "[{\"x-max-length\",5},{\"x-dead-letter-exchange\",\"dlx\"}]",
            ),
            (json!({}), "[]"),
        ] {
            assert_eq!(inline(&value), text, "{value}");
        }
    }

    #[test]
    fn names_are_written_as_atoms() {
        for (value, text) in [
            (json!({"rabbit@host": "running"}), "[{rabbit@host, running}]"),
            (json!({"my-rabbit@host": "Down"}), "[{'my-rabbit@host', 'Down'}]"),
            (json!(["a tag"]), "[a tag]"),
        ] {
            assert_eq!(inline_atoms(&value), text, "{value}");
        }
    }

    #[test]
    fn tables_of_the_protocol_lose_their_types() {
        for (value, text) in [
            (json!([]), "[]"),
            (json!([["x-max-length", "long", 5], ["x-q", "longstr", "a"]]), "[{\"x-max-length\",5},{\"x-q\",\"a\"}]"),
            (json!([["t", "table", [["b", "bool", true]]]]), "[{\"t\",[{\"b\",true}]}]"),
            (json!([["a", "array", [["long", 1], ["longstr", "x"]]]]), "[{\"a\",[1,\"x\"]}]"),
            (json!(""), ""),
        ] {
            assert_eq!(of_protocol(&value), text, "{value}");
        }
    }

    #[test]
    fn a_row_is_a_line_whatever_is_in_it() {
        let row = serde_json::Map::from_iter([("name".to_owned(), json!("a\tb\n\u{1b}[1m\u{7}"))]);
        assert_eq!(rows(&Rows::new(["name"], vec![row]), true), "name\na\\tb\\n\\e[1m\\x{7}");
        assert_eq!(rows(&Rows::new(["name"], Vec::new()), true), "");
    }
}
