//! What the log says of connections: the words that people and programs look for, in RabbitMQ's order.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports a failure"
)]

mod client;

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use client::Client;
use leveret_protocol::amqp091::method::{
    ChannelCloseOk, ChannelOpen, ConnectionClose, ConnectionCloseOk, QueueDeclare,
};
use leveret_protocol::amqp091::{Table, TableWriter, Value};
use tempfile::TempDir;

/// Far beyond what any step takes, also on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);
/// The time of a record, whose digits are all zeros here.
const TIME: &str = "0000-00-00 00:00:00.000000+00:00";

/// A broker and its log.
struct Broker {
    child: Child,
    log: Receiver<String>,
    address: SocketAddr,
    _folder: TempDir,
}

impl Broker {
    fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_leveret"))
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path().join("data"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, log) = channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut broker = Self { child, log, address: SocketAddr::from(([127, 0, 0, 1], 0)), _folder: folder };
        let line = broker.until("started TCP listener on ").pop().unwrap();
        let (_, address) = line.trim_end_matches(['"', '}']).rsplit_once(" on ").unwrap();
        let address: String = address.chars().take_while(|character| !matches!(character, '"' | ',')).collect();
        broker.address = address.parse().unwrap();
        broker.until("tls_addresses");
        broker
    }

    /// The next lines, as far as the first one with this text.
    fn until(&self, text: &str) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let line = self.log.recv_timeout(DEADLINE);
            lines.push(line.unwrap_or_else(|error| panic!("no `{text}`: {error}: {lines:#?}")));
            if lines.last().unwrap().contains(text) {
                return lines;
            }
        }
    }

    /// The same without what is another one each time: the digits of times, ports, and the connection's number.
    fn says(&self, client: SocketAddr, until: &str) -> Vec<String> {
        let lines = self.until(until);
        let (_, rest) = lines.first().unwrap().split_once(" <0.").unwrap();
        let pid = format!("<0.{}.", rest.split_once('.').unwrap().0);
        let between = format!("{client} -> {}", self.address);
        lines.into_iter().map(|line| zeros(&line).replace(&between, "A -> B").replace(&pid, "<0.7.")).collect()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A line whose time is [`TIME`].
fn zeros(line: &str) -> String {
    let (time, rest) = line.split_at(TIME.len());
    let zeros: String = time.chars().map(|letter| if letter.is_ascii_digit() { '0' } else { letter }).collect();
    zeros + rest
}

fn named(name: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    TableWriter::new(&mut octets).field("connection_name", Value::LongStr(name.as_bytes()));
    octets
}

fn open(broker: &Broker, name: &str) -> (Client, SocketAddr) {
    let properties = named(name);
    let client = Client::open_with(broker.address, b"", "guest", "guest", Table::parse(&properties).unwrap()).unwrap();
    let address = client.stream.local_addr().unwrap();
    (client, address)
}

fn close(client: &mut Client, code: u16, text: &str) {
    client.send(0, &ConnectionClose { reply_code: code, reply_text: text, class_id: 0, method_id: 0 });
    client.payload();
}

fn declare_missing(client: &mut Client) {
    client.send(1, &ChannelOpen { out_of_band: "" });
    client.payload();
    let arguments = Table::default();
    let (passive, durable, exclusive, auto_delete, no_wait) = (true, false, false, false, false);
    let queue = "nope";
    client.send(1, &QueueDeclare { ticket: 0, queue, passive, durable, exclusive, auto_delete, no_wait, arguments });
    client.payload();
    client.send(1, &ChannelCloseOk {});
}

/// Lines of these levels and texts, all of the connection.
fn lines(expected: &[(&str, &str)]) -> Vec<String> {
    expected.iter().map(|(before, text)| format!("{TIME} {before} {text}")).collect()
}

const ACCEPTED: (&str, &str) = ("[info] <0.7.0>", "accepting AMQP connection <0.7.0> (A -> B)");
const NAMED: (&str, &str) = ("[info] <0.7.0>", "connection <0.7.0> (A -> B) has a client-provided name: my app");
const OPEN: (&str, &str) = (
    "[info] <0.7.0>",
    "connection <0.7.0> (A -> B - my app): user 'guest' authenticated and granted access to vhost '/'",
);
const CLOSED: (&str, &str) =
    ("[info] <0.7.0>", "closing AMQP connection <0.7.0> (A -> B - my app, vhost: '/', user: 'guest')");

#[test]
fn a_connection_is_followed_from_its_beginning_to_its_end() {
    let broker = Broker::start(&[]);
    let (mut client, address) = open(&broker, "my app");
    declare_missing(&mut client);
    close(&mut client, 200, "bye");
    let expected = [
        ACCEPTED,
        NAMED,
        OPEN,
        ("[error] <0.7.1>", "Channel error on connection <0.7.0> (A -> B, vhost: '/', user: 'guest'), channel 1:"),
        (
            "[error] <0.7.1>",
            "operation queue.declare caused a channel exception not_found: no queue 'nope' in vhost '/'",
        ),
        CLOSED,
    ];
    assert_eq!(broker.says(address, "closing AMQP"), lines(&expected));

    let (client, address) = open(&broker, "my app");
    drop(client);
    let expected = [
        ACCEPTED,
        NAMED,
        OPEN,
        ("[warning] <0.7.0>", "closing AMQP connection <0.7.0> (A -> B - my app, vhost: '/', user: 'guest'):"),
        ("[warning] <0.7.0>", "client unexpectedly closed TCP connection"),
    ];
    assert_eq!(broker.says(address, "unexpectedly"), lines(&expected));

    let (mut client, address) = open(&broker, "my app");
    close(&mut client, 541, "I am broken");
    let expected = [
        ACCEPTED,
        NAMED,
        OPEN,
        ("[warning] <0.7.0>", "closing AMQP connection <0.7.0> (A -> B - my app, vhost: '/', user: 'guest'):"),
        ("[warning] <0.7.0>", "the client says: 541 I am broken"),
    ];
    assert_eq!(broker.says(address, "the client says"), lines(&expected));
}

#[test]
fn an_error_of_a_connection_names_the_method_and_the_code() {
    let broker = Broker::start(&[]);
    let (mut client, address) = open(&broker, "my app");
    for _ in 0..2 {
        client.send(1, &ChannelOpen { out_of_band: "" });
        client.payload();
    }
    client.send(0, &ConnectionCloseOk {});
    let expected = [
        ACCEPTED,
        NAMED,
        OPEN,
        (
            "[error] <0.7.0>",
            "Error on AMQP connection <0.7.0> (A -> B - my app, vhost: '/', user: 'guest', state: running), channel 1:",
        ),
        (
            "[error] <0.7.0>",
            " operation channel.open caused a connection exception channel_error: \"second 'channel.open' seen\"",
        ),
        CLOSED,
    ];
    assert_eq!(broker.says(address, "closing AMQP"), lines(&expected));
}

#[test]
fn who_does_not_get_in_is_named() {
    let broker = Broker::start(&[]);
    assert!(Client::open_as(broker.address, b"", "guest", "wrong").is_none());
    let refused = broker.until("login refused");
    assert!(refused[1].ends_with(", state: starting):"), "{refused:?}");
    assert!(refused[2].ends_with("> PLAIN login refused: user 'guest' - invalid credentials"), "{refused:?}");
    let closed = broker.until("closing AMQP connection").pop().unwrap();
    assert!(closed.contains("[info]") && closed.ends_with(&format!(" -> {})", broker.address)), "{closed}");
    let mut stream = TcpStream::connect(broker.address).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let expected = [
        ACCEPTED,
        ("[error] <0.7.0>", "closing AMQP connection <0.7.0> (A -> B):"),
        ("[error] <0.7.0>", "HTTP GET request detected on AMQP port"),
    ];
    assert_eq!(broker.says(stream.local_addr().unwrap(), "HTTP"), lines(&expected));
}

#[test]
fn who_only_looks_whether_the_port_is_open_is_not_worth_a_line() {
    let broker = Broker::start(&["--log-level", "debug"]);
    let address = TcpStream::connect(broker.address).unwrap().local_addr().unwrap();
    let expected = [
        ("[debug] <0.7.0>", "accepting AMQP connection <0.7.0> (A -> B)"),
        ("[debug] <0.7.0>", "closing AMQP connection <0.7.0> (A -> B):"),
        ("[debug] <0.7.0>", "connection_closed_with_no_data_received"),
    ];
    let mut said = broker.says(address, "no_data");
    said.retain(|line| line.contains("<0.7.0>"));
    assert_eq!(said, lines(&expected));
}

#[test]
fn nobody_outside_writes_records() {
    let forged = "x\r\n2026-01-01 00:00:00.000000+00:00 [error] <0.1.0> forged \u{1b}[1m\u{9b}2J\u{2028}";
    let shown = "x\\r\\n2026-01-01 00:00:00.000000+00:00 [error] <0.1.0> forged \\u{1b}[1m\\u{9b}2J\\u{2028}";
    let broker = Broker::start(&[]);
    let (mut client, _) = open(&broker, forged);
    close(&mut client, 541, forged);
    for line in broker.until("the client says") {
        let rest = zeros(&line);
        let rest = rest.strip_prefix(TIME).unwrap();
        assert!(rest.starts_with(" [info] <0.") || rest.starts_with(" [warning] <0."), "{line:?}");
        assert!(!line.contains("forged") || line.contains(shown), "{line:?}");
        assert!(line.chars().all(|character| !character.is_control() && character != '\u{2028}'), "{line:?}");
    }
    let broker = Broker::start(&["--log-format", "json"]);
    let (mut client, _) = open(&broker, forged);
    close(&mut client, 541, "bye");
    for line in broker.until("the client says") {
        let record: serde_json::Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert!(line.chars().all(|character| !character.is_control() && character != '\u{2028}'), "{line:?}");
        assert!(record["client_name"].is_null() || record["client_name"] == forged, "{line}");
    }
}

#[test]
fn json_has_who_and_where() {
    let broker = Broker::start(&["--log-format", "json"]);
    let (mut client, address) = open(&broker, "my app");
    declare_missing(&mut client);
    close(&mut client, 200, "bye");
    let between = format!("{address} -> {}", broker.address);
    let records: Vec<serde_json::Value> =
        broker.until("closing AMQP").iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let levels: Vec<_> = records.iter().map(|record| record["level"].as_str().unwrap()).collect();
    assert_eq!(levels, ["info", "info", "info", "error", "info"]);
    for (record, domain) in records.iter().zip(["connection", "connection", "connection", "channel", "connection"]) {
        assert_eq!(zeros(record["time"].as_str().unwrap()), TIME);
        assert_eq!(record["domain"], format!("rabbitmq.{domain}"));
        assert_eq!(record["peer"], address.to_string());
        let (id, channel) = (record["connection"].as_u64().unwrap(), u64::from(domain == "channel"));
        assert_eq!(record["pid"], format!("<0.{id}.{channel}>"));
    }
    let id = &records[0]["connection"];
    let error = &records[3];
    assert_eq!(
        error["msg"],
        format!(
            "Channel error on connection <0.{id}.0> ({between}, vhost: '/', user: 'guest'), channel 1:\n\
             operation queue.declare caused a channel exception not_found: no queue 'nope' in vhost '/'"
        )
    );
    for (name, value) in [("user", "guest"), ("vhost", "/"), ("client_name", "my app"), ("reason", "not_found")] {
        assert_eq!(error[name], value, "{name}");
    }
    assert_eq!(error["channel"], 1);
}
