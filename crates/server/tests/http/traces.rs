//! Traces of messages in files.

use std::fs;
use std::time::Instant;

use serde_json::{Value, json};

use crate::process::{DEADLINE, Process, folder};
use crate::request::{Answer, GUEST, ask};

#[test]
fn a_trace_writes_what_its_pattern_says_and_its_file_can_be_read_and_deleted() {
    let folder = folder();
    let plugins = folder.path().join("enabled_plugins");
    fs::write(&plugins, "[rabbitmq_management,rabbitmq_tracing].\n").unwrap();
    let variables =
        [("LEVERET_MANAGEMENT_LISTEN", "127.0.0.1:0"), ("RABBITMQ_ENABLED_PLUGINS_FILE", plugins.to_str().unwrap())];
    let process = Process::start_with(folder.path(), &["--listen", "127.0.0.1:0"], &variables);
    let address = process.address("http").unwrap();
    let call = |line: &str, body: &Value| -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        ask(address, line, &[GUEST, "Content-Type: application/json"], &body)
    };
    let status = |line: &str, body: Value| call(line, &body).status;
    assert_eq!(status("PUT /api/queues/%2F/jobs", json!({})), 201);
    let (all, published) = (
        json!({"format": "text", "pattern": "#"}),
        json!({"format": "json", "pattern": "publish.#", "max_payload_bytes": 2}),
    );
    for (line, body, expected) in [
        ("PUT /api/traces/%2F/all", all.clone(), 201),
        ("PUT /api/traces/%2F/published", published, 201),
        ("PUT /api/traces/%2F/all", all.clone(), 400),
        ("PUT /api/traces/%2F/..%2Fout", all.clone(), 400),
        ("PUT /api/traces/none/other", all, 404),
        ("PUT /api/traces/%2F/other", json!({"format": "xml", "pattern": "#"}), 400),
        ("PUT /api/traces/%2F/other", json!({"format": "text"}), 400),
        ("GET /api/traces/%2F/other", Value::Null, 404),
    ] {
        assert_eq!(status(line, body), expected, "{line}");
    }
    assert_eq!(call("GET /api/traces/%2F", &Value::Null).json().as_array().unwrap().len(), 2);

    let message = json!({"routing_key": "jobs", "properties": {}, "payload": "hare", "payload_encoding": "string"});
    assert_eq!(status("POST /api/exchanges/%2F/amq.default/publish", message), 200);
    let get = json!({"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"});
    assert_eq!(status("POST /api/queues/%2F/jobs/get", get), 200);
    let text = until(|| call("GET /api/trace-files/all.log", &Value::Null), "Message received");
    assert!(
        text.contains("Message published") && text.contains("Queue:        jobs") && text.contains("\nhare\n"),
        "{text}"
    );
    let lines = until(|| call("GET /api/trace-files/published.log", &Value::Null), "\n");
    let line: Value = serde_json::from_str(&lines).unwrap();
    assert_eq!(json!([line["type"], line["payload"], line["routing_keys"]]), json!(["published", "aGE=", ["jobs"]]));

    for (line, expected) in [
        ("DELETE /api/traces/%2F/all", 204),
        ("DELETE /api/traces/%2F/all", 404),
        ("GET /api/trace-files/..%2Fenabled_plugins", 404),
        ("DELETE /api/trace-files/..%2Fenabled_plugins", 404),
        ("DELETE /api/trace-files/all.log", 204),
        ("GET /api/trace-files/all.log", 404),
    ] {
        assert_eq!(status(line, Value::Null), expected, "{line}");
    }
    let files = call("GET /api/trace-files", &Value::Null).json();
    assert_eq!(json!([files[0]["name"], files.as_array().unwrap().len()]), json!(["published.log", 1]));
}

#[test]
fn without_the_plugin_there_are_no_traces() {
    let (_folder, _process, address) = crate::start();
    assert_eq!(ask(address, "GET /api/traces", &[GUEST], "").status, 404);
}

/// What an answer has, once it has this.
fn until(ask: impl Fn() -> Answer, part: &str) -> String {
    let end = Instant::now() + DEADLINE;
    loop {
        let text = String::from_utf8(ask().body).unwrap();
        if text.contains(part) {
            return text;
        }
        assert!(Instant::now() < end, "{part:?} is not in {text}");
        std::thread::yield_now();
    }
}
