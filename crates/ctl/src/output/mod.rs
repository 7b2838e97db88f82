//! What commands give, and the formatters that write it.

mod csv;
mod erlang;
mod json;
mod pretty;
pub(crate) mod sections;
mod table;

use std::io::Write;

use serde_json::{Map, Value, json};

use crate::failure::{Exit, Failure};

/// What a command gives.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    /// Nothing but that it is done.
    Done,
    /// A text, which is also what machines get: as `message` of a JSON object.
    Text(String),
    /// Rows of a table.
    Rows(Rows),
    /// A text for people, and the same for machines.
    Report {
        /// For people.
        text: String,
        /// For machines.
        value: Value,
    },
}

/// Rows of a table.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(clippy::struct_field_names, reason = "rows are what it has")]
pub(crate) struct Rows {
    pub(crate) columns: Vec<Column>,
    /// By the names of the columns.
    pub(crate) rows: Vec<Map<String, Value>>,
    pub(crate) empty: Empty,
}

/// What is written of a table without rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Empty {
    /// Nothing, as RabbitMQ's commands do that write row by row.
    #[default]
    Nothing,
    /// An empty line, as those do that have everything first.
    Line,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    /// How values that have parts are written in a line of text.
    pub(crate) style: Style,
}

/// How a value is written in a line of text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Style {
    /// Texts as they are, lists as `[a, b]`, objects as `[{"key","value"}]`.
    #[default]
    Plain,
    /// Texts and keys within it are names, which Erlang writes without quotes where it can.
    Atoms,
    /// Of numbers that belong together: as `{0,9,1}`.
    Tuple,
    /// Of a table of the protocol, which is a list of name, type and value: as `[{"name",value}]`.
    Table,
}

impl Rows {
    /// Rows with plain columns of these names.
    pub(crate) fn new<'a>(columns: impl IntoIterator<Item = &'a str>, rows: Vec<Map<String, Value>>) -> Self {
        let columns = columns.into_iter().map(Column::plain).collect();
        Self { columns, rows, empty: Empty::Nothing }
    }

    /// Of which an empty line is written if there are none.
    pub(crate) const fn or_line(mut self) -> Self {
        self.empty = Empty::Line;
        self
    }

    /// With that column written in another way.
    pub(crate) fn styled(mut self, name: &str, style: Style) -> Self {
        for column in self.columns.iter_mut().filter(|column| column.name == name) {
            column.style = style;
        }
        self
    }
}

impl Column {
    /// A column with plain values.
    pub(crate) fn plain(name: &str) -> Self {
        Self { name: name.to_owned(), style: Style::Plain }
    }

    /// A column with tables of the protocol.
    pub(crate) fn table(name: &str) -> Self {
        Self { name: name.to_owned(), style: Style::Table }
    }

    /// Its value in a row.
    fn of<'a>(&self, row: &'a Map<String, Value>) -> &'a Value {
        row.get(&self.name).unwrap_or(&Value::Null)
    }

    /// Its value in a row, in one line.
    fn text(&self, row: &Map<String, Value>) -> String {
        match (self.style, self.of(row)) {
            (_, Value::Null) => String::new(),
            (Style::Plain, value) => table::inline(value),
            (Style::Atoms, value) => table::inline_atoms(value),
            (Style::Tuple, value) => table::tuple(value),
            (Style::Table, value) => table::of_protocol(value),
        }
    }
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Formatter {
    Table,
    PrettyTable,
    Json,
    JsonStream,
    Csv,
    Erlang,
}

impl Formatter {
    /// The formatter of that name.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "table" | "plain" | "string" | "report" => Some(Self::Table),
            "pretty_table" => Some(Self::PrettyTable),
            "json" => Some(Self::Json),
            "json_stream" => Some(Self::JsonStream),
            "csv" => Some(Self::Csv),
            "erlang" | "inspect" => Some(Self::Erlang),
            _ => None,
        }
    }

    /// Whether a program will read it, which no sentence may disturb.
    pub(crate) const fn is_for_machines(self) -> bool {
        matches!(self, Self::Json | Self::JsonStream | Self::Csv)
    }
}

/// Writes an answer.
pub(crate) fn print(
    out: &mut dyn Write,
    answer: Answer,
    formatter: Option<Formatter>,
    headers: bool,
) -> Result<(), Failure> {
    let formatter = formatter.unwrap_or(Formatter::Table);
    let text = match (answer, formatter) {
        (Answer::Rows(rows), _) if rows.rows.is_empty() && rows.empty == Empty::Line => {
            let text = if matches!(formatter, Formatter::Json | Formatter::Erlang) { "[]" } else { "" };
            return write(out, text);
        }
        (Answer::Rows(rows), Formatter::Table) => table::rows(&rows, headers),
        (Answer::Rows(rows), Formatter::PrettyTable) => pretty::rows(&rows),
        (Answer::Rows(rows), Formatter::Json) => json::rows(&rows),
        (Answer::Rows(rows), Formatter::JsonStream) => json::stream(&rows),
        (Answer::Rows(rows), Formatter::Csv) => csv::rows(&rows, headers),
        (Answer::Rows(rows), Formatter::Erlang) => erlang::rows(&rows),
        (Answer::Done, Formatter::Json | Formatter::JsonStream) => r#"{"result":"ok"}"#.to_owned(),
        (Answer::Done, _) => String::new(),
        (Answer::Text(text), Formatter::Json | Formatter::JsonStream) => json!({ "message": text }).to_string(),
        (Answer::Text(text), _) | (Answer::Report { text, .. }, Formatter::Table | Formatter::PrettyTable) => text,
        (Answer::Report { value, .. }, Formatter::Json | Formatter::JsonStream) => value.to_string(),
        (Answer::Report { value, .. }, Formatter::Erlang) => erlang::term(&value),
        (Answer::Report { value, .. }, Formatter::Csv) => csv::value(&value),
    };
    if text.is_empty() { Ok(()) } else { write(out, &text) }
}

/// Writes a text and the end of its line.
pub(crate) fn write(out: &mut dyn Write, text: &str) -> Result<(), Failure> {
    out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).or_else(|error| closed(&error))
}

/// Writes what was kept back.
pub(crate) fn flush(out: &mut dyn Write) -> Result<(), Failure> {
    out.flush().or_else(|error| closed(&error))
}

/// Whoever reads only the first lines, as `head` does, has what it wanted.
fn closed(error: &std::io::Error) -> Result<(), Failure> {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Err(Failure::silent(Exit::Io)),
        _ => Err(Failure::new(Exit::Io, format!("cannot write: {error}"))),
    }
}
