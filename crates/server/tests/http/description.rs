//! What the interface says of itself is valid, and true.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::client::Client;
use crate::process::Process;
use crate::request::{GUEST, ask};
use crate::{interpreters, start};

/// What stands for the parts of paths, in order of what is tried.
const PARTS: [(&str, &str); 18] = [
    ("vhost", "%2F"),
    ("node", "NODE"),
    ("exchange", "x"),
    ("source", "x"),
    ("queue", "q"),
    ("user", "guest"),
    ("component", "vhost-limits"),
    ("within", "1"),
    ("unit", "days"),
    ("port", "1"),
    ("protocols", "amqp"),
    ("pattern", "q"),
    ("filter", "management"),
    ("password", "secret"),
    ("properties_key", "key"),
    ("connection", "CONNECTION"),
    ("channel", "CHANNEL"),
    ("name", "q"),
];

/// Declares one of everything.
fn fill(address: SocketAddr) {
    let json = "Content-Type: application/json";
    for (line, body) in [
        ("PUT /api/queues/%2F/q", r#"{"durable": true}"#),
        ("PUT /api/queues/%2F/qq", r#"{"durable": true, "arguments": {"x-queue-type": "quorum"}}"#),
        ("PUT /api/exchanges/%2F/x", r#"{"type": "topic"}"#),
        ("PUT /api/exchanges/%2F/q", r#"{"type": "topic"}"#),
        ("POST /api/bindings/%2F/e/x/q/q", r#"{"routing_key": "key"}"#),
        ("POST /api/bindings/%2F/e/x/e/q", r#"{"routing_key": "key"}"#),
        ("PUT /api/permissions/%2F/guest", r#"{"configure": ".*", "write": ".*", "read": ".*"}"#),
        ("PUT /api/topic-permissions/%2F/guest", r#"{"exchange": "x", "write": ".*", "read": ".*"}"#),
        ("PUT /api/policies/%2F/q", r#"{"pattern": "^q", "definition": {"max-length": 3}}"#),
        ("PUT /api/operator-policies/%2F/q", r#"{"pattern": "^q", "definition": {"max-length": 3}}"#),
        ("PUT /api/global-parameters/q", r#"{"value": 1}"#),
        ("PUT /api/vhost-limits/%2F/max-queues", r#"{"value": 100}"#),
        ("PUT /api/user-limits/guest/max-channels", r#"{"value": 100}"#),
    ] {
        let status = ask(address, line, &[GUEST, json], body).status;
        assert!(matches!(status, 201 | 204), "{line}: {status}");
    }
}

/// Whether a value is what a schema says, as far as our schemas go.
fn check(document: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        return check(document, document.pointer(&name[1..]).unwrap(), value)
            .map_err(|error| format!("{name} {error}"));
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let errors: Vec<_> = choices.iter().filter_map(|choice| check(document, choice, value).err()).collect();
        return if errors.len() + 1 == choices.len() { Ok(()) } else { Err(format!("{errors:?}")) };
    }
    let fits = match schema["type"].as_str() {
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_i64() || value.is_u64(),
        Some("number") => value.is_number(),
        Some("object") => value.is_object(),
        Some("array") => value.is_array(),
        Some(_) | None => true,
    };
    if !fits {
        return Err(format!("should be {}: {value}", schema["type"]));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let Some(member) = value.get(name) else { return Err(format!("has no {name}: {value}")) };
        check(document, &schema["properties"][name], member).map_err(|error| format!("{name} {error}"))?;
    }
    for item in value.as_array().into_iter().flatten() {
        check(document, &schema["items"], item)?;
    }
    Ok(())
}

fn path_of(process: &Process, path: &str, connection: &str) -> String {
    let node = process.done("ping").result()["node"].as_str().unwrap().to_owned();
    let part = |part: &str| {
        let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) else { return part.to_owned() };
        let (_, value) =
            PARTS.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no {name} in {path}"));
        let value = if name == "name" && path.contains("quorum/") { "qq" } else { value };
        let value = if name == "name" && path.contains("/vhost-limits/") { "limits" } else { value };
        value.replace("NODE", &node).replace("CONNECTION", connection).replace("CHANNEL", connection)
    };
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[test]
fn answers_are_what_the_document_says() {
    let (_folder, process, address) = start();
    fill(address);
    let _client = Client::open_channel(process.amqp());
    let connections = ask(address, "GET /api/connections", &[GUEST], "").json();
    let connection = connections[0]["name"].as_str().unwrap_or_default().replace(' ', "%20").replace('>', "%3E");
    let answer = ask(address, "GET /api/openapi.json", &[], "");
    assert_eq!(answer.status, 200);
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut found = 0;
    let mut missing = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let Some(schema) = operations.pointer("/get/responses/200/content/application~1json/schema") else { continue };
        let line = format!("GET {}", path_of(&process, path, &connection));
        let answer = ask(address, &line, &[GUEST], "");
        match answer.status {
            200 => {
                let checked = check(&document, schema, &answer.json());
                assert_eq!(checked, Ok(()), "{line}");
                found += 1;
            }
            404 => missing.push(line),
            // A connection of AMQP 0-9-1 has none.
            400 if path.ends_with("/sessions") => {}
            503 if path.contains("/health/") => assert_eq!(answer.json()["status"], "failed", "{line}"),
            status => panic!("{line}: {status}"),
        }
    }
    // Most of it has to be there for this to say something.
    assert!(found > 50 && missing.len() < 12, "{found} found, these not: {missing:#?}");
    let pages = ask(address, "GET /api/queues?page=1&page_size=1", &[GUEST], "").json();
    let listing = &document["paths"]["/api/queues"]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    assert_eq!(check(&document, listing, &pages), Ok(()));
    assert_eq!(pages["item_count"], json!(1));
}

#[test]
fn the_document_is_valid() {
    let (folder, _process, address) = start();
    let file = folder.path().join("openapi.json");
    fs::File::create(&file).unwrap().write_all(&ask(address, "GET /api/openapi.json", &[], "").body).unwrap();
    let mut python = match interpreters::python_with("openapi", "requirements-openapi.txt") {
        Ok(python) => python,
        Err(report) => {
            eprintln!("SKIPPED: the validator of OpenAPI documents cannot be installed: {report}");
            return;
        }
    };
    let output = python.args(["-m", "openapi_spec_validator"]).arg(&file).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn the_reference_page_is_there_for_everybody() {
    let (_folder, _process, address) = start();
    let answer = ask(address, "GET /api/index.html", &["Accept: text/html"], "");
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let tag = format!("If-None-Match: {}", answer.header("etag").unwrap());
    assert_eq!(ask(address, "GET /api/index.html", &[&tag], "").status, 304);
    let page = String::from_utf8(answer.body).unwrap();
    for text in ["<html lang=\"en\">", "/api/queues/{vhost}/{name}", "openapi.json", "For everybody."] {
        assert!(page.contains(text), "{text}");
    }
    for text in ["<script", "http-equiv", "src="] {
        assert!(!page.contains(text), "{text}");
    }
}
