//! What differs between two runs of the same broker, levelled out: ports, times, process ids, hashes, what is measured.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::answer::{Answer, Body};
use crate::http::Reply;
use crate::script::Mode;

/// Fields that are measured, or random, whatever object they are in. Whether one is there, and its type, still counts.
const MEASURED: &[&str] = &[
    "avg",
    "avg_rate",
    "connected_at",
    "consumer_capacity",
    "consumer_utilisation",
    "fd_used",
    "memory",
    "minor_gcs",
    "ok",
    "os_pid",
    "password_hash",
    "peer_port",
    "rate",
    "recv_cnt",
    "recv_oct",
    "reductions",
    "run_queue",
    "send_cnt",
    "send_oct",
    "send_pend",
    "timestamp",
    "uptime",
];

/// Headers that clients go by.
const HEADERS: &[&str] = &["allow", "content-disposition", "content-type", "location", "www-authenticate"];

/// Headers that are shown if a step asks for them.
const MORE_HEADERS: &[&str] = &[
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
    "access-control-max-age",
    "cache-control",
    "content-encoding",
    "etag",
    "vary",
];

/// Headers whose value is a list in any order.
const LISTS: &[&str] = &["access-control-allow-headers", "access-control-allow-methods", "allow", "vary"];

/// Texts of one run and what stands for them.
pub(crate) type Known = Vec<(String, String)>;

/// Levels out an answer.
pub(crate) fn normal(reply: &Reply, modes: &[Mode], known: &Known) -> Answer {
    let has = |mode| modes.contains(&mode);
    let is_shown = |name: &str| HEADERS.contains(&name) || (has(Mode::Headers) && MORE_HEADERS.contains(&name));
    let mut headers: Vec<(String, String)> = reply
        .headers
        .iter()
        .filter(|(name, _)| is_shown(name))
        .map(|(name, value)| (name.clone(), header(name, &text(value, known))))
        .collect();
    headers.sort();
    Answer { status: Some(reply.status), headers, body: body(&reply.body, modes, known) }
}

fn header(name: &str, value: &str) -> String {
    if name == "etag" {
        return "{etag}".to_owned();
    }
    if !LISTS.contains(&name) {
        return value.to_owned();
    }
    let mut parts: Vec<&str> = value.split(',').map(str::trim).collect();
    parts.sort_unstable();
    parts.join(", ")
}

fn body(octets: &[u8], modes: &[Mode], known: &Known) -> Body {
    let has = |mode| modes.contains(&mode);
    if octets.is_empty() {
        return Body::None;
    }
    if has(Mode::Some) {
        return Body::Text("{some}".to_owned());
    }
    let Ok(mut json) = serde_json::from_slice(octets) else {
        return Body::Text(text(&String::from_utf8_lossy(octets), known).replace('\r', ""));
    };
    level("", &mut json, known);
    if has(Mode::Types) {
        json = types(json);
    }
    if let (true, Value::Array(values)) = (has(Mode::Sorted), &mut json) {
        values.sort_by_key(Value::to_string);
    }
    Body::Json(json)
}

/// Levels out texts and what is measured, in place.
fn level(name: &str, value: &mut Value, known: &Known) {
    match value {
        Value::Object(map) => {
            let fields = std::mem::take(map).into_iter().map(|(name, mut value)| {
                level(&name, &mut value, known);
                (text(&name, known), value)
            });
            // In the order of their names, whatever order a broker writes them in.
            *map = fields.collect::<BTreeMap<_, _>>().into_iter().collect::<Map<_, _>>();
        }
        Value::Array(values) => values.iter_mut().for_each(|value| level(name, value, known)),
        value if MEASURED.contains(&name) => *value = kind(value),
        Value::String(string) => *string = text(string, known),
        // 5 and 5.0 are one number to every client.
        Value::Number(number) => {
            let digits = number.to_string();
            if let Some((_, name)) = known.iter().find(|(text, _)| *text == digits) {
                *value = Value::String(name.clone());
                return;
            }
            if let Some(whole) = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e15) {
                #[allow(clippy::cast_possible_truncation, reason = "it is whole and not that large")]
                let whole = whole as i64;
                *value = Value::from(whole);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

/// What stands for a value of this type.
fn kind(value: &Value) -> Value {
    let name = match value {
        Value::Null => return Value::Null,
        Value::Bool(_) => "{boolean}",
        Value::Number(_) => "{number}",
        Value::String(_) => "{string}",
        Value::Array(_) => "{array}",
        Value::Object(_) => "{object}",
    };
    Value::String(name.to_owned())
}

/// The types of all values; of arrays, every shape once.
fn types(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(map.into_iter().map(|(name, value)| (name, types(value))).collect()),
        Value::Array(values) => {
            let mut shapes: Vec<Value> = Vec::new();
            for shape in values.into_iter().map(types) {
                if !shapes.contains(&shape) {
                    shapes.push(shape);
                }
            }
            shapes.sort_by_key(Value::to_string);
            Value::Array(shapes)
        }
        value => match value.as_str() {
            Some(stand_in) if stand_in.starts_with('{') => value,
            _ => kind(&value),
        },
    }
}

/// Levels out a text.
fn text(text: &str, known: &Known) -> String {
    let mut text = text.to_owned();
    for (part, name) in known {
        text = text.replace(part, name);
    }
    // Of addresses in names of connections, and in the paths that have such names.
    for address in ["127.0.0.1:", "127.0.0.1%3A"] {
        text = after(&text, address, |character| character.is_ascii_digit(), "{port}");
    }
    text =
        after(&text, "amq.gen-", |character| character.is_ascii_alphanumeric() || "-_".contains(character), "{random}");
    times(&text)
}

/// Replaces the run of characters after each `mark`.
fn after(text: &str, mark: &str, part: fn(char) -> bool, name: &str) -> String {
    let mut pieces = text.split(mark);
    let mut out = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.trim_start_matches(part);
        out = out + mark + if rest.len() < piece.len() { name } else { "" } + rest;
    }
    out
}

/// `2026-01-31 23:59:59.123456+01:00`, and the same with a `T`.
fn times(text: &str) -> String {
    const SHAPE: &str = "0000-00-00 00:00:00";
    let fits = |text: &str| {
        text.len() >= SHAPE.len()
            && text.chars().zip(SHAPE.chars()).all(|(character, shape)| match shape {
                '0' => character.is_ascii_digit(),
                ' ' => character == ' ' || character == 'T',
                shape => character == shape,
            })
    };
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if fits(rest) {
            out.push_str("{time}");
            rest = rest.get(SHAPE.len()..).unwrap_or_default();
            rest = rest.trim_start_matches(|character: char| character.is_ascii_digit() || ".+:Z".contains(character));
        } else {
            out.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

#[test]
fn what_differs_between_runs_is_levelled_out() {
    let known = vec![("a@localhost".to_owned(), "{node}".to_owned())];
    for (raw, modes, expected) in [
        (r#"{"b":5.0,"rate":1.5,"n":"a@localhost"}"#, &[][..], r#"{"b":5,"n":"{node}","rate":"{number}"}"#),
        (r#"{"a@localhost":"running"}"#, &[], r#"{"{node}":"running"}"#),
        (r#"[{"a":2},{"a":1}]"#, &[Mode::Sorted], r#"[{"a":1},{"a":2}]"#),
        (r#"[{"a":2},{"a":1},{"b":null}]"#, &[Mode::Types], r#"[{"a":"{number}"},{"b":null}]"#),
        (r#""127.0.0.1:1 -> 127.0.0.1:22 (1)""#, &[], r#""127.0.0.1:{port} -> 127.0.0.1:{port} (1)""#),
        (r#""at 2026-01-31T23:59:59.123456+01:00""#, &[], r#""at {time}""#),
    ] {
        let expected = Body::Json(serde_json::from_str(expected).unwrap());
        assert_eq!(body(raw.as_bytes(), modes, &known), expected, "{raw}");
    }
    assert_eq!(body(b"x", &[Mode::Some], &known), Body::Text("{some}".to_owned()));
    assert_eq!(header("allow", "PUT, GET"), "GET, PUT");
}
