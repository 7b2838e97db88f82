//! Erlang terms, for scripts that read those.

use serde_json::Value;

use super::Rows;

/// The rows as a list of property lists.
pub(super) fn rows(rows: &Rows) -> String {
    let row = |row| {
        let fields: Vec<String> =
            rows.columns.iter().map(|column| format!("{{{},{}}}", atom(&column.name), term(column.of(row)))).collect();
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

/// A text as a binary: as a string if it is printable Latin, else as octets.
fn binary(text: &str) -> String {
    if text.chars().all(|character| character == ' ' || character.is_ascii_graphic()) {
        return format!("<<\"{}\">>", text.replace('\\', "\\\\").replace('"', "\\\""));
    }
    format!("<<{}>>", text.bytes().map(|octet| octet.to_string()).collect::<Vec<_>>().join(","))
}

/// A name as an atom, in quotes if it needs them.
fn atom(name: &str) -> String {
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
            (json!("ü"), "<<195,188>>"),
            (json!(["a", 1, true]), "[<<\"a\">>,1,true]"),
            (json!({"x-max-length": 5}), "[{<<\"x-max-length\">>,5}]"),
        ] {
            assert_eq!(term(&value), text);
        }
        assert_eq!([atom("name"), atom("x-y"), atom("It's")], ["name", "'x-y'", "'It\\'s'"]);
    }
}
