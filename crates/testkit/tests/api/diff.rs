//! How two answers differ, field by field.

use std::fmt;

use serde_json::Value;

use crate::answer::{Answer, Body};

/// One way in which an answer is not what is expected.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Difference {
    pub(crate) kind: Kind,
    /// Names of fields, joined by full stops; an element of an array is `*`. The whole body is `body`, headers are
    /// `header NAME`.
    pub(crate) path: String,
    pub(crate) expected: String,
    pub(crate) got: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// It is not there.
    Missing,
    /// It is there, and should not be.
    Extra,
    /// Its type or value is another one.
    Other,
}

impl Kind {
    pub(crate) fn sign(self) -> char {
        match self {
            Self::Missing => '-',
            Self::Extra => '+',
            Self::Other => '~',
        }
    }

    pub(crate) fn of_sign(sign: &str) -> Option<Self> {
        [Self::Missing, Self::Extra, Self::Other].into_iter().find(|kind| kind.sign().to_string() == sign)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, path, expected, got } = self;
        write!(out, "{} {path}", kind.sign())?;
        match kind {
            Kind::Missing => write!(out, "    was {expected}"),
            Kind::Extra => write!(out, "    is {got}"),
            Kind::Other => write!(out, "    was {expected}, is {got}"),
        }
    }
}

/// All differences of two answers.
pub(crate) fn differences(expected: &Answer, got: &Answer) -> Vec<Difference> {
    let mut found = Found::default();
    if expected.status != got.status {
        found.other("status", &format!("{:?}", expected.status), &format!("{:?}", got.status));
    }
    for (name, value) in &expected.headers {
        match got.headers.iter().find(|(other, _)| other == name) {
            None => found.add(Kind::Missing, &format!("header {name}"), value, ""),
            Some((_, other)) if other != value => found.other(&format!("header {name}"), value, other),
            Some(_) => {}
        }
    }
    for (name, value) in &got.headers {
        if !expected.headers.iter().any(|(other, _)| other == name) {
            found.add(Kind::Extra, &format!("header {name}"), "", value);
        }
    }
    match (&expected.body, &got.body) {
        (Body::Json(expected), Body::Json(got)) => found.json("", expected, got),
        (expected, got) if expected == got => {}
        (expected, got) => found.other("body", &brief(expected), &brief(got)),
    }
    found.differences
}

#[derive(Default)]
struct Found {
    differences: Vec<Difference>,
}

impl Found {
    fn add(&mut self, kind: Kind, path: &str, expected: &str, got: &str) {
        let path = if path.is_empty() { "body" } else { path };
        let difference = Difference { kind, path: path.to_owned(), expected: shorten(expected), got: shorten(got) };
        // The elements of an array differ in the same way.
        if !self.differences.iter().any(|other| (other.kind, &other.path) == (kind, &difference.path)) {
            self.differences.push(difference);
        }
    }

    fn other(&mut self, path: &str, expected: &str, got: &str) {
        self.add(Kind::Other, path, expected, got);
    }

    fn json(&mut self, path: &str, expected: &Value, got: &Value) {
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
        match (expected, got) {
            (Value::Object(expected), Value::Object(got)) => {
                for (name, value) in expected {
                    match got.get(name) {
                        Some(other) => self.json(&below(name), value, other),
                        None => self.add(Kind::Missing, &below(name), &value.to_string(), ""),
                    }
                }
                for (name, value) in got.iter().filter(|(name, _)| !expected.contains_key(*name)) {
                    self.add(Kind::Extra, &below(name), "", &value.to_string());
                }
            }
            (Value::Array(expected), Value::Array(got)) if expected.len() == got.len() => {
                expected.iter().zip(got).for_each(|(expected, got)| self.json(&below("*"), expected, got));
            }
            (expected, got) if expected == got => {}
            (expected, got) => self.other(path, &expected.to_string(), &got.to_string()),
        }
    }
}

fn brief(body: &Body) -> String {
    match body {
        Body::None => "no body".to_owned(),
        Body::Json(value) => value.to_string(),
        Body::Text(text) => format!("text {text:?}"),
    }
}

/// Enough of a value to know which one it is.
fn shorten(text: &str) -> String {
    const MAX: usize = 300;
    if text.chars().count() <= MAX { text.to_owned() } else { text.chars().take(MAX).chain("...".chars()).collect() }
}

#[test]
fn every_field_is_compared() {
    let answer = |json: &str| Answer { body: Body::Json(serde_json::from_str(json).unwrap()), ..Answer::default() };
    for (expected, got, found) in [
        (r#"{"a":1}"#, r#"{"a":1}"#, &[][..]),
        (r#"{"a":1,"b":{"c":1}}"#, r#"{"a":2,"b":{"d":1}}"#, &["~ a", "- b.c", "+ b.d"]),
        (r#"[{"a":1},{"a":2}]"#, r#"[{"a":"1"},{"a":3}]"#, &["~ *.a"]),
        (r#"{"a":[1]}"#, r#"{"a":[1,2]}"#, &["~ a"]),
        ("[]", "{}", &["~ body"]),
    ] {
        let differences = differences(&answer(expected), &answer(got));
        let signs: Vec<String> =
            differences.iter().map(|found| format!("{} {}", found.kind.sign(), found.path)).collect();
        assert_eq!(signs, found, "{expected} {got}");
    }
}
