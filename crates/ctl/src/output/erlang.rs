//! Erlang terms, for scripts that read those.

use serde_json::Value;

use super::{Rows, Style};

/// The rows as a list of property lists.
pub(super) fn rows(rows: &Rows) -> String {
    let row = |row| {
        let value = |value, style| if style == Style::Atoms { names(value) } else { term(value) };
        let fields = rows.columns.iter().map(|column| (atom(&column.name), value(column.of(row), column.style)));
        let fields: Vec<String> = fields.map(|(name, value)| format!("{{{name},{value}}}")).collect();
        format!("[{}]", fields.join(","))
    };
    format!("[{}]", rows.rows.iter().map(row).collect::<Vec<_>>().join(",\n "))
}

/// A value as a term; texts are binaries.
pub(super) fn term(value: &Value) -> String {
    match value {
        Value::Null => "undefined".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => binary(text),
        Value::Array(items) => format!("[{}]", items.iter().map(term).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{{{},{}}}", binary(key), term(value))).collect();
            format!("[{}]", fields.join(","))
        }
    }
}

/// A value as a term; texts are atoms.
fn names(value: &Value) -> String {
    match value {
        Value::String(text) => atom(text),
        Value::Array(items) => format!("[{}]", items.iter().map(names).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let fields: Vec<String> =
                fields.iter().map(|(key, value)| format!("{{{},{}}}", atom(key), names(value))).collect();
            format!("[{}]", fields.join(","))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => term(value),
    }
}

/// A text as a binary: as a string if all of its octets are printable Latin-1, else as octets.
fn binary(text: &str) -> String {
    if text.bytes().all(|octet| matches!(octet, b' '..=b'~' | 0xA0..)) {
        let text: String = text.bytes().map(char::from).collect();
        return format!("<<\"{}\">>", text.replace('\\', "\\\\").replace('"', "\\\""));
    }
    format!("<<{}>>", text.bytes().map(|octet| octet.to_string()).collect::<Vec<_>>().join(","))
}

/// A name as an atom, in quotes if it needs them.
pub(super) fn atom(name: &str) -> String {
    let mut characters = name.chars();
    let is_plain = characters.next().is_some_and(|first| first.is_ascii_lowercase())
        && characters.all(|character| character.is_ascii_alphanumeric() || matches!(character, '_' | '@'));
    if is_plain { name.to_owned() } else { format!("'{}'", name.replace('\\', "\\\\").replace('\'', "\\'")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_become_terms() {
        for (value, text) in [
            (json!(null), "undefined"),
            (json!("bob"), "<<\"bob\">>"),
            (json!("a\"b"), "<<\"a\\\"b\">>"),
            // The octets of UTF-8 are taken for Latin-1, and 195 and 164 are printable there; 159 is not.
            (json!("ä"), "<<\"Ã¤\">>"),
            (json!("ß"), "<<195,159>>"),
            (json!(["a", 1, true]), "[<<\"a\">>,1,true]"),
            (json!({"x-max-length": 5}), "[{<<\"x-max-length\">>,5}]"),
        ] {
            assert_eq!(term(&value), text);
        }
        assert_eq!(names(&json!({"n": ["own_tag", "a tag", 1]})), "[{n,[own_tag,'a tag',1]}]");
        assert_eq!([atom("name"), atom("x-y"), atom("It's")], ["name", "'x-y'", "'It\\'s'"]);
    }
}
