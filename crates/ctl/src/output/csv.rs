//! Values with commas between them.

use serde_json::Value;

use super::{Rows, table};

/// The rows; nothing if there are none.
pub(super) fn rows(rows: &Rows, headers: bool) -> String {
    let mut lines = Vec::with_capacity(rows.rows.len() + 1);
    if headers && !rows.rows.is_empty() {
        lines.push(line(rows.columns.iter().map(|column| column.name.clone())));
    }
    lines.extend(rows.rows.iter().map(|row| line(rows.columns.iter().map(|column| column.text(row)))));
    lines.join("\n")
}

/// A value: an object as two lines, its keys and its values.
pub(super) fn value(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let keys = line(fields.keys().cloned());
            format!("{keys}\n{}", line(fields.values().map(table::inline)))
        }
        other => line([table::inline(other)]),
    }
}

fn line(values: impl IntoIterator<Item = String>) -> String {
    let quoted = values.into_iter().map(|value| format!("\"{}\"", value.replace('"', "\"\"")));
    quoted.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    #[test]
    fn values_are_quoted() {
        let row = Map::from_iter([("a".to_owned(), json!("x\"y")), ("b".to_owned(), json!([1, 2]))]);
        assert_eq!(rows(&Rows::new(["a", "b"], vec![row]), true), "\"a\",\"b\"\n\"x\"\"y\",\"[1, 2]\"");
        assert_eq!(value(&json!({"a": 1})), "\"a\"\n\"1\"");
    }
}
