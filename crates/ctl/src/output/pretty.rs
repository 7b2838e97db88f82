//! Tables with frames, for people.

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL;

use super::Rows;
use super::table::escape;

/// The rows; nothing if there are none.
pub(super) fn rows(rows: &Rows) -> String {
    if rows.rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL);
    table.set_header(rows.columns.iter().map(|column| column.name.clone()));
    for row in &rows.rows {
        // A value may have lines, which the table can show; nothing else in it is to move the terminal.
        let shown = |text: String| text.split('\n').map(escape).collect::<Vec<_>>().join("\n");
        table.add_row(rows.columns.iter().map(|column| shown(column.text(row))));
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;

    #[test]
    fn no_name_moves_the_terminal() {
        let row = Map::from_iter([("name".to_owned(), json!("a\u{1b}[2J\nb\r"))]);
        let text = rows(&Rows::new(["name"], vec![row]));
        assert!(text.contains("a\\e[2J") && text.contains("b\\r"), "{text}");
        assert!(!text.contains(['\u{1b}', '\r']), "{text}");
    }
}
