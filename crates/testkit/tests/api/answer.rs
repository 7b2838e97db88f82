//! Answers as they are recorded and compared.
//!
//! ```text
//! > guest GET /api/whoami
//! < 200
//! < content-type: application/json
//! {"name": "guest", "tags": ["administrator"]}
//! ```
//!
//! An answer that is no JSON has its lines behind `| `. Of equal steps, the second has `time 2` after it. In
//! `differences`, lines that open with `because` say why.

use std::fmt::Write as _;

use serde_json::Value;

/// Longer JSON is written in several lines.
const LINE_MAX: usize = 110;

/// What came of a step; a step of the test's own has no status.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Answer {
    pub(crate) status: Option<u16>,
    /// In the order of their names.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) enum Body {
    #[default]
    None,
    Json(Value),
    Text(String),
}

/// A step's line with an answer to it, as a file has them.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Entry {
    pub(crate) line: String,
    /// Which of equal steps it is, from 1.
    pub(crate) time: usize,
    pub(crate) because: String,
    pub(crate) answer: Answer,
}

impl Answer {
    /// Appends the lines of a file.
    pub(crate) fn write(&self, file: &mut String) {
        if let Some(status) = self.status {
            let _ = writeln!(file, "< {status}");
        }
        for (name, value) in &self.headers {
            let _ = writeln!(file, "< {name}: {value}");
        }
        match &self.body {
            Body::None => {}
            Body::Json(value) => {
                let _ = writeln!(file, "{}", layout(value, 0));
            }
            Body::Text(text) => text.split('\n').for_each(|line| {
                let _ = writeln!(file, "| {line}");
            }),
        }
    }
}

impl Entry {
    pub(crate) fn write(&self, file: &mut String) {
        let _ = writeln!(file, "{}", self.line);
        if self.time > 1 {
            let _ = writeln!(file, "time {}", self.time);
        }
        for line in self.because.lines() {
            let _ = writeln!(file, "because {line}");
        }
        self.answer.write(file);
    }
}

/// JSON, in one line if that is short enough.
pub(crate) fn layout(value: &Value, depth: usize) -> String {
    let line = value.to_string();
    let indent = "  ".repeat(depth + 1);
    let end = "  ".repeat(depth);
    match value {
        _ if indent.len() + line.len() <= LINE_MAX => line,
        Value::Object(map) => {
            let fields = map.iter().map(|(name, value)| {
                let name = Value::String(name.clone());
                format!("{indent}{name}: {}", layout(value, depth + 1))
            });
            format!("{{\n{}\n{end}}}", fields.collect::<Vec<_>>().join(",\n"))
        }
        Value::Array(values) => {
            let values = values.iter().map(|value| format!("{indent}{}", layout(value, depth + 1)));
            format!("[\n{}\n{end}]", values.collect::<Vec<_>>().join(",\n"))
        }
        _ => line,
    }
}

/// The entries of a file of answers.
pub(crate) fn entries(text: &str) -> Result<Vec<Entry>, String> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut json = String::new();
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if line.starts_with(['>', '%']) {
            end(&mut entries, &mut json)?;
            entries.push(Entry { line: line.to_owned(), time: 1, ..Entry::default() });
            continue;
        }
        let entry = entries.last_mut().ok_or_else(|| format!("no step before {line}"))?;
        if let Some(time) = line.strip_prefix("time ") {
            entry.time = time.parse().map_err(|error| format!("{error}: {line}"))?;
        } else if let Some(reason) = line.strip_prefix("because ") {
            entry.because.push_str(reason);
            entry.because.push('\n');
        } else if let Some(head) = line.strip_prefix("< ") {
            match head.split_once(": ") {
                Some((name, value)) => entry.answer.headers.push((name.to_owned(), value.to_owned())),
                None => entry.answer.status = Some(head.parse().map_err(|error| format!("{error}: {line}"))?),
            }
        } else if let Some(text) = line.strip_prefix('|') {
            let text = text.strip_prefix(' ').unwrap_or(text);
            match &mut entry.answer.body {
                Body::Text(before) => *before = format!("{before}\n{text}"),
                body => *body = Body::Text(text.to_owned()),
            }
        } else {
            json.push_str(line);
        }
    }
    end(&mut entries, &mut json)?;
    Ok(entries)
}

/// Gives the JSON that was gathered to the entry it belongs to.
fn end(entries: &mut [Entry], json: &mut String) -> Result<(), String> {
    if let Some(entry) = entries.last_mut().filter(|_| !json.is_empty()) {
        let value = serde_json::from_str(json).map_err(|error| format!("{}: {error}: {json}", entry.line))?;
        entry.answer.body = Body::Json(value);
        json.clear();
    }
    Ok(())
}

#[test]
fn what_is_written_reads_the_same() {
    let long = Value::Array(vec![Value::String("x".repeat(LINE_MAX)), serde_json::json!({"a": [1, null]})]);
    let bodies = [
        Body::None,
        Body::Json(serde_json::json!("ok")),
        Body::Json(long),
        Body::Text("one\n\n< 5\nlast".to_owned()),
        Body::Text(String::new()),
    ];
    for body in bodies {
        let answer = Answer { status: Some(201), headers: vec![("a".to_owned(), "b: c".to_owned())], body };
        let entry = Entry { line: "> a GET /".to_owned(), time: 2, because: "one\ntwo\n".to_owned(), answer };
        let mut file = String::new();
        entry.write(&mut file);
        assert_eq!(entries(&file), Ok(vec![entry]), "{file}");
    }
}
