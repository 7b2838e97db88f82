//! A record, taken out of an event before anybody formats it.

use std::fmt::{self, Write as _};
use std::time::SystemTime;

use tracing::Event;
use tracing::field::{Field, Visit};

use super::level::{Severity, category};
use crate::config::log::LogCategory;

/// Fields that have several lines, all of which are the broker's own.
const OF_SEVERAL_LINES: [&str; 2] = ["backtrace", "report"];
/// Octets of a text that are kept. Nothing that clients send may fill the log with one record.
const TEXT_MAX: usize = 32 * 1024;

/// What was logged.
#[derive(Debug)]
pub(crate) struct Record {
    pub(super) time: SystemTime,
    pub(super) severity: Severity,
    pub(super) category: LogCategory,
    /// Whether the message says all that there is to say in a line of text, as those in RabbitMQ's words do.
    pub(super) is_complete: bool,
    /// Where in the broker it comes from.
    pub(super) target: &'static str,
    /// The connection it is about; zero for none.
    pub(super) connection: u64,
    /// The channel it is about; zero for none.
    pub(super) channel: u64,
    /// Its lines, with nothing in them that ends a line.
    pub(super) lines: Vec<String>,
    pub(super) fields: Vec<(&'static str, Value)>,
}

/// What a field holds.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// A text as it is.
    Text(String),
    /// What something is written as.
    Shown(String),
    Integer(i128),
    Number(f64),
    Bool(bool),
}

impl Record {
    /// Takes a record out of an event. Without `has_fields`, fields that no line of text shows are left out.
    pub(super) fn of(event: &Event<'_>, time: SystemTime, has_fields: bool) -> Self {
        let metadata = event.metadata();
        let category = category(metadata);
        let mut record = Self {
            time,
            severity: (*metadata.level()).into(),
            category: category.unwrap_or(LogCategory::Default),
            is_complete: category.is_some(),
            target: metadata.target(),
            connection: 0,
            channel: 0,
            lines: vec![String::new()],
            fields: Vec::new(),
        };
        let has_fields = has_fields || category.is_none();
        let mut taken = Taken { record: &mut record, further: Vec::new(), has_fields };
        event.record(&mut taken);
        let further = taken.further;
        record.lines.extend(further);
        record
    }

    /// A record of the log's own.
    pub(super) fn own(severity: Severity, time: SystemTime, text: String) -> Self {
        Self {
            time,
            severity,
            category: LogCategory::Default,
            is_complete: true,
            target: module_path!(),
            connection: 0,
            channel: 0,
            lines: vec![text],
            fields: Vec::new(),
        }
    }

    /// About how much memory it takes.
    pub(super) fn octets(&self) -> usize {
        let fields = self.fields.iter().map(|(_, value)| match value {
            Value::Text(text) | Value::Shown(text) => text.len(),
            Value::Integer(_) | Value::Number(_) | Value::Bool(_) => 0,
        });
        size_of::<Self>()
            + self.lines.iter().map(|line| line.len() + size_of::<String>()).sum::<usize>()
            + fields.map(|octets| octets + size_of::<(&str, Value)>()).sum::<usize>()
    }

    /// The value of a field, by its name.
    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value)
    }
}

/// Takes fields to their places.
struct Taken<'a> {
    record: &'a mut Record,
    /// Lines after the first, in order.
    further: Vec<String>,
    has_fields: bool,
}

impl Taken<'_> {
    fn further(&mut self, name: &str, value: fmt::Arguments<'_>) {
        let text = format!("{value}");
        if name == "detail" {
            self.further.push(escaped(&text));
        } else {
            self.further.extend(shortened(&text).lines().map(escaped));
        }
    }

    fn field(&mut self, name: &'static str, value: impl FnOnce() -> Value) {
        if self.has_fields {
            self.record.fields.push((name, value()));
        }
    }

    fn integer(&mut self, field: &Field, value: i128) {
        match (field.name(), u64::try_from(value)) {
            ("connection", Ok(id)) => self.record.connection = id,
            ("channel", Ok(number)) => self.record.channel = number,
            (name, _) => self.field(name, || Value::Integer(value)),
        }
    }
}

impl Visit for Taken<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        match field.name() {
            "message" => {
                if let Some(first) = self.record.lines.first_mut() {
                    let _ = write!(OneLine { to: first }, "{value:?}");
                }
            }
            name if name == "detail" || OF_SEVERAL_LINES.contains(&name) => {
                self.further(name, format_args!("{value:?}"));
            }
            name => self.field(name, || Value::Shown(shortened(&format!("{value:?}")).to_owned())),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.record_debug(field, &format_args!("{value}")),
            name if name == "detail" || OF_SEVERAL_LINES.contains(&name) => self.further(name, format_args!("{value}")),
            name => self.field(name, || Value::Text(shortened(value).to_owned())),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.integer(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.integer(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field.name(), || Value::Number(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.field(field.name(), || Value::Bool(value));
    }
}

/// As much of a text as is worth keeping.
fn shortened(text: &str) -> &str {
    text.get(..text.floor_char_boundary(TEXT_MAX)).unwrap_or_default()
}

/// A text on one line.
pub(super) fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let _ = OneLine { to: &mut line }.write_str(text);
    line
}

/// Whether a character ends a line, or does something to a terminal.
pub(super) fn is_unprintable(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// Writes what would end the line, or do something to a terminal, as an escape. Names and texts that clients send are in many
/// records, and nobody outside is to write records.
struct OneLine<'a> {
    to: &'a mut String,
}

impl fmt::Write for OneLine<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = TEXT_MAX.saturating_sub(self.to.len());
        let text = text.get(..text.floor_char_boundary(room)).unwrap_or_default();
        for piece in text.split_inclusive(is_unprintable) {
            let mut characters = piece.chars();
            match characters.next_back() {
                Some(last) if is_unprintable(last) => {
                    write!(self.to, "{}{}", characters.as_str(), last.escape_default())?;
                }
                _ => self.to.push_str(piece),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_a_line_or_moves_a_terminal_is_escaped() {
        for (text, expected) in [
            ("a\r\n ERROR \u{1b}[1m\u{2028}ü", "a\\r\\n ERROR \\u{1b}[1m\\u{2028}ü"),
            ("\u{9b}1m\0\u{7f}", "\\u{9b}1m\\u{0}\\u{7f}"),
            ("plain 'text' \"in\" \\ quotes", "plain 'text' \"in\" \\ quotes"),
        ] {
            assert_eq!(escaped(text), expected);
        }
    }

    #[test]
    fn a_text_has_a_bound() {
        let long = "ü".repeat(TEXT_MAX);
        assert_eq!(escaped(&long).len(), TEXT_MAX);
        assert_eq!(shortened(&long).len(), TEXT_MAX);
    }
}
