//! What happens, and what is logged, comes by way of an exchange if it is asked for.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use client::Client;
use leveret_protocol::amqp091::method::{BasicConsume, Encode, QueueBind, QueueDeclare};
use leveret_protocol::amqp091::{ContentHeader, Method, Properties, Table, Value};

/// The program, with an exchange for events and one for the log.
struct Broker {
    process: Child,
    address: SocketAddr,
}

impl Broker {
    fn start(folder: &Path, plugins: &str) -> Self {
        fs::write(folder.join("enabled_plugins"), plugins).unwrap();
        fs::write(folder.join("rabbitmq.conf"), "log.exchange = true\nlog.console = false\n").unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_leveret"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("enabled_plugins"))
            .args(["--listen", "127.0.0.1:0", "--management-listen", "none", "--config"])
            .arg(folder.join("rabbitmq.conf"))
            .arg("--data-dir")
            .arg(folder.join("data"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = process.stdout.take().unwrap();
        let line = BufReader::new(stdout).lines().map(Result::unwrap).find(|line| line.contains("AMQP"));
        let address = line.and_then(|line| line.split_whitespace().last()?.parse().ok()).unwrap();
        Self { process, address }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn call(client: &mut Client, method: &impl Encode) -> String {
    client.send(1, method);
    let shown = format!("{:?}", Method::decode(&client.payload()).unwrap());
    shown.split('(').next().unwrap_or_default().to_owned()
}

fn declare(client: &mut Client, queue: &str) -> String {
    let (ticket, passive, durable, exclusive, auto_delete, no_wait) = (0, false, false, true, false, false);
    let arguments = Table::default();
    call(client, &QueueDeclare { ticket, queue, passive, durable, exclusive, auto_delete, no_wait, arguments })
}

/// Binds a queue to an exchange with `#`; says what the broker answers.
fn bind(client: &mut Client, queue: &str, exchange: &str) -> String {
    let arguments = Table::default();
    call(client, &QueueBind { ticket: 0, queue, exchange, routing_key: "#", no_wait: false, arguments })
}

fn consume(client: &mut Client, queue: &str) {
    let (ticket, consumer_tag, arguments) = (0, "", Table::default());
    let (no_local, no_ack, exclusive, no_wait) = (false, true, false, false);
    let consume = BasicConsume { ticket, queue, consumer_tag, no_local, no_ack, exclusive, no_wait, arguments };
    assert_eq!(call(client, &consume), "BasicConsumeOk");
}

/// The next message that has this routing key: its properties and body, given to `look`.
fn next<T>(client: &mut Client, key: &str, look: impl Fn(Properties<'_>, &[u8]) -> T) -> T {
    loop {
        let payload = client.payload();
        let Ok(Method::BasicDeliver(deliver)) = Method::decode(&payload) else { continue };
        let (_, header) = client.try_frame().unwrap();
        let header = ContentHeader::decode(&header).unwrap();
        let body = if header.body_size > 0 { client.try_frame().unwrap().1 } else { Vec::new() };
        if deliver.routing_key == key {
            return look(Properties::decode(header.properties).unwrap(), &body);
        }
    }
}

#[test]
fn events_are_published_with_their_facts_as_headers() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path(), "[rabbitmq_event_exchange].");
    let mut client = Client::open_channel(broker.address);
    assert_eq!(declare(&mut client, "events"), "QueueDeclareOk");
    assert_eq!(bind(&mut client, "events", "amq.rabbitmq.event"), "QueueBindOk");
    consume(&mut client, "events");
    let mut other = Client::open_channel(broker.address);
    assert_eq!(declare(&mut other, "made"), "QueueDeclareOk");
    let is_made = |properties: Properties<'_>, body: &[u8]| {
        let headers = properties.headers.unwrap();
        // That of the queue which gets the events may come late enough to be among them.
        if headers.get("name") != Some(Value::LongStr(b"made")) {
            return false;
        }
        assert_eq!(headers.get("user_who_performed_action"), Some(Value::LongStr(b"guest")));
        let Some(Value::I64(milliseconds)) = headers.get("timestamp_in_ms") else { unreachable!("{headers:?}") };
        assert_eq!(properties.timestamp.map(u64::cast_signed), Some(milliseconds / 1000));
        assert!(body.is_empty());
        true
    };
    while !next(&mut client, "queue.created", is_made) {}
    drop(other);
    let name = |properties: Properties<'_>, _: &[u8]| format!("{:?}", properties.headers.unwrap());
    assert!(next(&mut client, "queue.deleted", name).contains("user_who_performed_action"));
    assert!(next(&mut client, "connection.closed", name).contains("client_properties"));
}

#[test]
fn without_the_plugin_there_is_no_exchange_for_events() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path(), "[].");
    let mut client = Client::open_channel(broker.address);
    assert_eq!(declare(&mut client, "events"), "QueueDeclareOk");
    assert_eq!(bind(&mut client, "events", "amq.rabbitmq.event"), "ChannelClose");
}

#[test]
fn the_log_is_published_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path(), "[].");
    let mut client = Client::open_channel(broker.address);
    assert_eq!(declare(&mut client, "log"), "QueueDeclareOk");
    assert_eq!(bind(&mut client, "log", "amq.rabbitmq.log"), "QueueBindOk");
    consume(&mut client, "log");
    let _other = Client::open_channel(broker.address);
    // What was logged before may still come.
    let mut is_accepted = false;
    while !is_accepted {
        is_accepted = next(&mut client, "info", |properties, body| {
            assert_eq!(properties.content_type, Some("text/plain"));
            assert!(properties.timestamp.is_some() && properties.headers.unwrap().get("node").is_some());
            let line = String::from_utf8_lossy(body);
            assert!(line.contains("[info]") && line.ends_with('\n'), "{line}");
            line.contains("accepting AMQP connection")
        });
    }
}
