//! Text with headings, for people, and numbers as they read them.

use std::io::IsTerminal;

use serde_json::Value;

/// Text in sections, each with a heading.
#[derive(Debug, Default)]
pub(crate) struct Sections {
    lines: Vec<String>,
}

impl Sections {
    /// Begins a section.
    pub(crate) fn heading(&mut self, title: &str) {
        if !self.lines.is_empty() {
            self.lines.push(String::new());
        }
        self.lines.extend([bold(title), String::new()]);
    }

    /// Adds a line.
    pub(crate) fn line(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    /// Adds a line for each text of a list.
    pub(crate) fn items(&mut self, list: &Value) {
        self.lines.extend(texts(list).map(|text| format!(" * {text}")));
    }

    /// Adds a line for each text of a list, or says that there is none.
    pub(crate) fn lines_or_none(&mut self, list: &Value) {
        let before = self.lines.len();
        self.lines.extend(texts(list).map(str::to_owned));
        if self.lines.len() == before {
            self.line("(none)");
        }
    }

    /// All of it.
    pub(crate) fn text(self) -> String {
        self.lines.join("\n")
    }
}

/// The texts of a list.
pub(crate) fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// A text of an object; empty, if there is none.
pub(crate) fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A number of an object; nought, if there is none.
pub(crate) fn number(object: &Value, key: &str) -> u64 {
    object.get(key).and_then(Value::as_u64).unwrap_or_default()
}

/// Emphasises text for people.
pub(crate) fn bold(text: &str) -> String {
    if std::io::stdout().is_terminal() { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
}

/// A unit for octets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Unit {
    name: &'static str,
    octets: u64,
}

/// The units that may be asked for; the names before the last are other ways to write it.
const UNITS: [(&[&str], u64); 9] = [
    (&["b", "bytes"], 1),
    (&["k", "kb"], 1_000),
    (&["ki", "kib"], 1 << 10),
    (&["m", "mb"], 1_000_000),
    (&["mi", "mib"], 1 << 20),
    (&["g", "gb"], 1_000_000_000),
    (&["gi", "gib"], 1 << 30),
    (&["t", "tb"], 1_000_000_000_000),
    (&["ti", "tib"], 1 << 40),
];

impl Unit {
    /// The unit of that name, in whatever case.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let (names, octets) = UNITS.iter().find(|(names, _)| names.contains(&name.as_str()))?;
        Some(Self { name: names.last()?, octets: *octets })
    }

    /// So many octets in this unit, with its name.
    #[allow(clippy::cast_precision_loss, reason = "four digits are shown")]
    pub(crate) fn show(self, octets: u64) -> String {
        if self.octets == 1 {
            return format!("{octets} {}", self.name);
        }
        let value = octets as f64 / self.octets as f64;
        format!("{} {}", float(value, 10_000.0), self.name)
    }
}

/// A part of a whole in per cent, with two digits.
#[allow(clippy::cast_precision_loss, reason = "two digits are shown")]
pub(crate) fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 * 10_000.0 / whole as f64).round() / 100.0 }
}

/// A number rounded to a part of one, always with a digit behind the point.
fn float(value: f64, parts: f64) -> String {
    format!("{:?}", (value * parts).round() / parts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn octets_are_shown_in_the_unit_that_was_asked_for() {
        for (unit, octets, shown) in [
            ("gb", 131_289_088, "0.1313 gb"),
            ("gb", 0, "0.0 gb"),
            ("GB", 3_000_000_000, "3.0 gb"),
            ("MB", 1_500_000, "1.5 mb"),
            ("Bytes", 7, "7 bytes"),
            ("KiB", 2048, "2.0 kib"),
        ] {
            assert_eq!(Unit::parse(unit).unwrap().show(octets), shown);
        }
        assert_eq!(Unit::parse("XB"), None);
        assert!((percent(1, 3) - 33.33).abs() < f64::EPSILON && percent(1, 0).abs() < f64::EPSILON);
    }

    #[test]
    fn sections_have_a_heading_and_lists_say_if_they_are_empty() {
        let mut sections = Sections::default();
        sections.heading("One");
        sections.items(&json!(["a", "b"]));
        sections.heading("Two");
        sections.lines_or_none(&json!([]));
        assert_eq!(sections.text(), "One\n\n * a\n * b\n\nTwo\n\n(none)");
    }
}
