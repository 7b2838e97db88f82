//! JSON, as a list or as a stream.

use serde_json::{Map, Value};

use super::Rows;

/// The rows as a list, one in a line.
pub(super) fn rows(rows: &Rows) -> String {
    let lines: Vec<String> = objects(rows).collect();
    format!("[\n{}{}]", lines.join("\n,"), if lines.is_empty() { "" } else { "\n" })
}

/// The rows, one in a line, with an empty line behind each, as RabbitMQ writes them.
pub(super) fn stream(rows: &Rows) -> String {
    objects(rows).map(|row| row + "\n").collect::<Vec<_>>().join("\n")
}

fn objects(rows: &Rows) -> impl Iterator<Item = String> {
    rows.rows.iter().map(|row| {
        let fields = rows.columns.iter().map(|column| (column.name.clone(), column.of(row).clone()));
        Value::Object(fields.collect::<Map<_, _>>()).to_string()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_has_a_row_in_a_line() {
        let row = |name: &str| Map::from_iter([("name".to_owned(), json!(name)), ("more".to_owned(), json!(1))]);
        let list = Rows::new(["name"], vec![row("a"), row("b")]);
        assert_eq!(rows(&list), "[\n{\"name\":\"a\"}\n,{\"name\":\"b\"}\n]");
        assert_eq!(stream(&list), "{\"name\":\"a\"}\n\n{\"name\":\"b\"}\n");
        assert_eq!(rows(&Rows::new(["name"], Vec::new())), "[\n]");
    }
}
