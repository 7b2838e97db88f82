//! Tables with frames, for people.

use comfy_table::Table;
use comfy_table::presets::UTF8_FULL;

use super::Rows;

/// The rows; nothing if there are none.
pub(super) fn rows(rows: &Rows) -> String {
    if rows.rows.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL);
    table.set_header(rows.columns.iter().map(|column| column.name.clone()));
    for row in &rows.rows {
        table.add_row(rows.columns.iter().map(|column| column.text(row)));
    }
    table.to_string()
}
