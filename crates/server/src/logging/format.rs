//! How records are written: as lines of text, or as JSON.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use super::calendar::Moment;
use super::level::Severity;
use super::record::{Record, Value, is_unprintable};
use crate::config::log::{ConsoleLog, LevelFormat, LogCategory, LogFormatter, LogLevel, LogStyle, TimeFormat};

/// What makes text go on in the usual colour.
const USUAL: &str = "\u{1b}[0m";

/// How one output writes records.
#[derive(Debug, Clone)]
pub(super) struct Formatter {
    style: LogStyle,
    time: TimeFormat,
    level: LevelFormat,
    is_single_line: bool,
    /// The line of text, in pieces.
    line: Vec<Piece>,
    json: JsonFields,
    /// The number of a level in `verbosity`, if JSON has that.
    verbosity: Vec<(Option<Severity>, i64)>,
    /// Escape sequences before the lines of a level; none without colours.
    colours: Vec<(Severity, String)>,
}

/// A piece of a line of text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Is(String),
    Field(String),
}

/// Which fields JSON has, and under which names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct JsonFields {
    /// Those that come first, in order, each with its name there.
    first: Vec<(String, String)>,
    left_out: Vec<String>,
    has_rest: bool,
}

impl Formatter {
    pub(super) fn new(settings: &LogFormatter) -> Self {
        Self {
            style: settings.style,
            time: settings.time.clone(),
            level: settings.level,
            is_single_line: settings.single_line,
            line: pieces(&settings.text),
            json: JsonFields::parse(&settings.json_fields),
            verbosity: verbosity(&settings.json_verbosity),
            colours: Vec::new(),
        }
    }

    /// The same with the colours of a console.
    pub(super) fn with_colours(mut self, settings: &ConsoleLog) -> Self {
        let usual = [
            (LogLevel::Debug, "\u{1b}[38;5;246m"),
            (LogLevel::Notice, "\u{1b}[38;5;87m"),
            (LogLevel::Warning, "\u{1b}[38;5;214m"),
            (LogLevel::Error, "\u{1b}[38;5;160m"),
            (LogLevel::Critical, "\u{1b}[1;37m\u{1b}[48;5;20m"),
            (LogLevel::Alert, "\u{1b}[1;37m\u{1b}[48;5;93m"),
            (LogLevel::Emergency, "\u{1b}[1;37m\u{1b}[48;5;196m"),
        ];
        let own = &settings.colour_sequences;
        let usual = usual.into_iter().filter(|(level, _)| !own.contains_key(level));
        let usual = usual.map(|(level, sequence)| (level.into(), sequence.to_owned()));
        let own = own.iter().map(|(level, sequence)| ((*level).into(), sequence.clone()));
        self.colours = usual.chain(own).collect();
        self
    }

    /// Whether it shows fields of records whose message says all.
    pub(super) fn has_fields(&self) -> bool {
        let is_own = |piece: &Piece| match piece {
            Piece::Is(_) => false,
            Piece::Field(name) => !["time", "level", "pid", "msg", "domain", "target"].contains(&name.as_str()),
        };
        self.style == LogStyle::Json || self.line.iter().any(is_own)
    }

    pub(super) const fn style(&self) -> LogStyle {
        self.style
    }

    /// Appends a record, with the end of its last line.
    pub(super) fn write(&self, record: &Record, out: &mut String) {
        match self.style {
            LogStyle::Text => self.text(record, out),
            LogStyle::Json => self.json(record, out),
        }
    }

    fn text(&self, record: &Record, out: &mut String) {
        let colour = self.colours.iter().find(|(severity, _)| *severity == record.severity);
        let mut lines = record.lines.iter();
        let mut first = lines.next().cloned().unwrap_or_default();
        if !record.is_complete {
            for (name, value) in &record.fields {
                let _ = write!(first, " {name}=");
                value.text(&mut first);
            }
        }
        if self.is_single_line {
            for line in lines.by_ref() {
                first.push_str(", ");
                first.push_str(line);
            }
        }
        // Whoever looks for a line finds with it when it was written, and by whom.
        for line in std::iter::once(&first).chain(lines) {
            if let Some((_, sequence)) = colour {
                out.push_str(sequence);
            }
            for piece in &self.line {
                match piece {
                    Piece::Is(text) => out.push_str(text),
                    Piece::Field(name) => self.field(name, record, line, out),
                }
            }
            if colour.is_some() {
                out.push_str(USUAL);
            }
            out.push('\n');
        }
    }

    /// Appends a field to a line of text.
    fn field(&self, name: &str, record: &Record, line: &str, out: &mut String) {
        match name {
            "time" => self.time(record.time, out),
            "level" => self.level(record.severity, out),
            "pid" => pid(record, out),
            "msg" => out.push_str(line),
            "domain" => domain(record, out),
            "target" => out.push_str(record.target),
            _ => {
                if let Some(value) = record.field(name) {
                    value.plain(out);
                }
            }
        }
    }

    fn level(&self, severity: Severity, out: &mut String) {
        match self.level {
            LevelFormat::Lower => out.push_str(severity.as_str()),
            LevelFormat::Upper => out.push_str(&severity.as_str().to_ascii_uppercase()),
            LevelFormat::LowerShort(letters) => out.push_str(severity.short(letters)),
            LevelFormat::UpperShort(letters) => out.push_str(&severity.short(letters).to_ascii_uppercase()),
        }
    }

    fn time(&self, time: SystemTime, out: &mut String) {
        let moment = Moment::of(time);
        let _ = match &self.time {
            TimeFormat::Rfc3339Space => write!(out, "{}.{:06}+00:00", moment.clock(' '), moment.microseconds),
            TimeFormat::Rfc3339T => write!(out, "{}.{:06}+00:00", moment.clock('T'), moment.microseconds),
            TimeFormat::Lager => write!(out, "{}.{:03}", moment.clock(' '), moment.microseconds / 1000),
            TimeFormat::EpochMicroseconds => write!(out, "{}", since_epoch(time).as_micros()),
            TimeFormat::EpochSeconds => {
                let since = since_epoch(time);
                write!(out, "{}.{:06}", since.as_secs(), since.subsec_micros())
            }
            TimeFormat::Pattern(pattern) => {
                moment.pattern(pattern, out);
                Ok(())
            }
        };
    }

    fn json(&self, record: &Record, out: &mut String) {
        let begin = out.len();
        out.push('{');
        for (name, shown) in &self.json.first {
            self.json_field(name, shown, record, out);
        }
        if self.json.has_rest {
            let is_done = |name: &str| {
                self.json.left_out.iter().any(|other| other == name)
                    || self.json.first.iter().any(|(other, _)| other == name)
            };
            let always = ["time", "level", "msg", "domain", "pid", "connection", "channel", "target"];
            let fields = record.fields.iter().map(|(name, _)| *name);
            for name in always.into_iter().chain(fields).filter(|name| !is_done(name)) {
                self.json_field(name, name, record, out);
            }
        }
        if !self.verbosity.is_empty() {
            let is = |level: Option<Severity>| level == Some(record.severity) || level.is_none();
            if let Some((_, number)) = self.verbosity.iter().find(|(level, _)| is(*level)) {
                member("verbosity", out);
                let _ = write!(out, "{number}");
            }
        }
        // The first member has a comma before it, like all others.
        if out.get(begin + 1..begin + 2) == Some(",") {
            out.remove(begin + 1);
        }
        out.push_str("}\n");
    }

    fn json_field(&self, name: &str, shown: &str, record: &Record, out: &mut String) {
        let mut text = String::new();
        match name {
            "time" => match self.time {
                TimeFormat::EpochMicroseconds | TimeFormat::EpochSeconds => {
                    member(shown, out);
                    self.time(record.time, out);
                    return;
                }
                TimeFormat::Rfc3339Space | TimeFormat::Rfc3339T | TimeFormat::Lager | TimeFormat::Pattern(_) => {
                    self.time(record.time, &mut text);
                }
            },
            "level" => self.level(record.severity, &mut text),
            "msg" => text = record.lines.join(if self.is_single_line { ", " } else { "\n" }),
            "domain" => domain(record, &mut text),
            "pid" => pid(record, &mut text),
            "target" if !record.is_complete => text.push_str(record.target),
            "connection" | "channel" => {
                let number = if name == "connection" { record.connection } else { record.channel };
                if number > 0 {
                    member(shown, out);
                    let _ = write!(out, "{number}");
                }
                return;
            }
            _ => {
                if let Some(value) = record.field(name) {
                    member(shown, out);
                    value.json(out);
                }
                return;
            }
        }
        member(shown, out);
        string(&text, out);
    }
}

impl Value {
    /// Appends it to a line of text behind its name.
    fn text(&self, out: &mut String) {
        match self {
            // Quotes, so that one sees where it ends.
            Self::Text(text) => {
                let _ = write!(out, "{text:?}");
            }
            Self::Shown(_) | Self::Integer(_) | Self::Number(_) | Self::Bool(_) => self.plain(out),
        }
    }

    /// Appends it to a line of text alone.
    fn plain(&self, out: &mut String) {
        let _ = match self {
            Self::Text(text) | Self::Shown(text) => {
                out.push_str(&super::record::escaped(text));
                Ok(())
            }
            Self::Integer(number) => write!(out, "{number}"),
            Self::Number(number) => write!(out, "{number}"),
            Self::Bool(is) => write!(out, "{is}"),
        };
    }

    fn json(&self, out: &mut String) {
        match self {
            Self::Text(text) | Self::Shown(text) => string(text, out),
            Self::Number(number) if !number.is_finite() => out.push_str("null"),
            Self::Integer(_) | Self::Number(_) | Self::Bool(_) => self.plain(out),
        }
    }
}

/// Appends the name of a member of a JSON object and what is around it.
fn member(name: &str, out: &mut String) {
    out.push(',');
    string(name, out);
    out.push(':');
}

/// Appends a JSON string. What JSON leaves as it is but terminals do not is escaped, too.
fn string(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        let _ = match character {
            '"' => out.write_str("\\\""),
            '\\' => out.write_str("\\\\"),
            '\n' => out.write_str("\\n"),
            '\r' => out.write_str("\\r"),
            '\t' => out.write_str("\\t"),
            character if is_unprintable(character) => write!(out, "\\u{:04x}", u32::from(character)),
            character => out.write_char(character),
        };
    }
    out.push('"');
}

/// Appends who logged: the connection, or one of its channels, in the form of an Erlang process.
fn pid(record: &Record, out: &mut String) {
    // For a connection, the channel is who is to blame.
    let channel = if record.category == LogCategory::Connection { 0 } else { record.channel };
    let _ = write!(out, "<0.{}.{channel}>", record.connection);
}

fn domain(record: &Record, out: &mut String) {
    out.push_str("rabbitmq");
    if record.category != LogCategory::Default {
        out.push('.');
        out.push_str(record.category.as_str());
    }
}

fn since_epoch(time: SystemTime) -> std::time::Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Takes a line of text apart: a word with `$` before it is a field.
fn pieces(format: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut parts = format.split('$');
    let literal = |text: &str| (!text.is_empty()).then(|| Piece::Is(text.to_owned()));
    pieces.extend(parts.next().and_then(literal));
    for part in parts {
        let end = part.find(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
        let (name, rest) = part.split_at(end.unwrap_or(part.len()));
        pieces.push(if name.is_empty() { Piece::Is("$".to_owned()) } else { Piece::Field(name.to_owned()) });
        pieces.extend(literal(rest));
    }
    pieces
}

impl JsonFields {
    /// Reads `time:ts level msg pid gl:-`: `-` leaves a field out, and `*:-` all that are not named.
    fn parse(map: &str) -> Self {
        let mut fields = Self { has_rest: true, ..Self::default() };
        for word in map.split_whitespace() {
            match word.split_once(':').unwrap_or((word, word)) {
                ("*", "-") => fields.has_rest = false,
                ("*", _) => fields.has_rest = true,
                (name, "-") => fields.left_out.push(name.to_owned()),
                (name, shown) => fields.first.push((name.to_owned(), shown.to_owned())),
            }
        }
        fields
    }
}

/// Reads `debug=2 info=1 *=0`.
fn verbosity(map: &str) -> Vec<(Option<Severity>, i64)> {
    let numbers = map.split_whitespace().filter_map(|word| {
        let (level, number) = word.split_once('=')?;
        let level = if level == "*" { None } else { Some(Severity::parse(level)?) };
        Some((level, number.parse().ok()?))
    });
    let mut numbers: Vec<_> = numbers.collect();
    // What stands for all others comes last.
    numbers.sort_by_key(|(level, _)| level.is_none());
    numbers
}

#[cfg(test)]
#[path = "format/tests.rs"]
mod tests;
