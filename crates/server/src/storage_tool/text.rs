//! Numbers, names and tables for people.

use std::fmt::Write as _;

/// A number with a comma for each thousand.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many of something, such as `1 message` or `2,000 messages`.
pub(super) fn count(number: u64, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{} {one}s", grouped(number)),
    }
}

/// Bytes in the unit that suits them.
pub(super) fn bytes(number: u64) -> String {
    let mut unit = "B";
    let (mut tenths, mut rest) = (number.saturating_mul(10), number);
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if rest < 1024 {
            break;
        }
        unit = larger;
        rest /= 1024;
        tenths /= 1024;
    }
    if unit == "B" { format!("{number} B") } else { format!("{}.{} {unit}", grouped(tenths / 10), tenths % 10) }
}

/// A name as it can stand in a line of a terminal: control characters are written out.
pub(super) fn shown(name: &str) -> String {
    if name.chars().any(char::is_control) { name.escape_default().to_string() } else { name.to_owned() }
}

/// On which side of its column a cell stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Right,
}

/// A table whose columns are as wide as they need to be.
pub(super) struct Table<const N: usize> {
    sides: [Side; N],
    rows: Vec<Row<N>>,
}

enum Row<const N: usize> {
    Cells([String; N]),
    /// A remark about the row before.
    Remark(String),
}

impl<const N: usize> Table<N> {
    pub(super) fn new(columns: [(&str, Side); N]) -> Self {
        let sides = columns.map(|(_, side)| side);
        Self { sides, rows: vec![Row::Cells(columns.map(|(name, _)| name.to_owned()))] }
    }

    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(Row::Cells(cells));
    }

    pub(super) fn remark(&mut self, text: String) {
        self.rows.push(Row::Remark(text));
    }

    /// The table, each line indented.
    pub(super) fn text(&self) -> String {
        let mut widths = [0; N];
        for row in &self.rows {
            let Row::Cells(cells) = row else { continue };
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            match row {
                Row::Remark(remark) => line = format!("      {remark}"),
                Row::Cells(cells) => {
                    for ((cell, width), side) in cells.iter().zip(widths).zip(self.sides) {
                        // Writing to a string cannot fail.
                        let _ = match side {
                            Side::Left => write!(line, "  {cell:<width$}"),
                            Side::Right => write!(line, "  {cell:>width$}"),
                        };
                    }
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_easy_to_read() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
        for (number, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (32 << 20, "32.0 MiB")]
        {
            assert_eq!(bytes(number), text);
        }
        assert_eq!(bytes(5 << 50), "5,120.0 TiB");
        assert_eq!(
            (count(1, "file"), count(0, "file"), count(2000, "file")),
            ("1 file".into(), "0 files".into(), "2,000 files".into())
        );
    }

    #[test]
    fn names_do_not_talk_to_the_terminal() {
        assert_eq!(shown("orders ü"), "orders ü");
        assert_eq!(shown("a\x1b[2Jb\n"), "a\\u{1b}[2Jb\\n");
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new([("name", Side::Left), ("size", Side::Right)]);
        table.row(["a".into(), "1".into()]);
        table.remark("what is wrong with it".into());
        table.row(["longer".into(), "10,000".into()]);
        let text = "  name      size\n  a            1\n      what is wrong with it\n  longer  10,000\n";
        assert_eq!(table.text(), text);
    }
}
