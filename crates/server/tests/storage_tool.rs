//! `leveret storage` on folders that brokers left: sound ones, damaged ones, and what is no data folder.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a panic is how a test reports a failure"
)]

mod client;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use client::Client;
use leveret_protocol::amqp091::method::{
    BasicGet, BasicNack, BasicPublish, ConfirmSelect, ExchangeDeclare, QueueBind, QueueDeclare,
};
use leveret_protocol::amqp091::{Method, Properties, Table, frame};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

const FIRST: &str = "messages/messages-0000000000000001.log";

/// A broker as a process of its own: one in this process would share its lock, for moments, with every program started.
struct Broker {
    child: Child,
    address: SocketAddr,
}

impl Broker {
    fn start(folder: &Path) -> Self {
        let mut program = Command::new(env!("CARGO_BIN_EXE_leveret"));
        program.args(["--listen", "127.0.0.1:0", "--log-level", "off", "--data-dir"]).arg(folder);
        program.env("LEVERET_MANAGEMENT_LISTEN", "none").env("LEVERET_PROMETHEUS_LISTEN", "none");
        let mut child = program.stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().unwrap();
        let line = BufReader::new(stdout).lines().map(Result::unwrap).find(|line| line.contains("AMQP"));
        let address = line.and_then(|line| line.split_whitespace().last()?.parse().ok()).unwrap();
        Self { child, address }
    }

    fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn declare(client: &mut Client, queue: &str) {
    let (ticket, passive, exclusive, auto_delete, no_wait) = (0, false, false, false, false);
    let arguments = Table::default();
    client.send(1, &QueueDeclare { ticket, queue, passive, durable: true, exclusive, auto_delete, no_wait, arguments });
    assert!(matches!(Method::decode(&client.payload()), Ok(Method::QueueDeclareOk(_))));
}

/// Publishes a persistent message and waits until it is on disk.
fn publish(client: &mut Client, exchange: &str, routing_key: &str, body: &[u8]) {
    let publish = BasicPublish { ticket: 0, exchange, routing_key, mandatory: false, immediate: false };
    let (mut properties, mut octets) = (Vec::new(), Vec::new());
    Properties { delivery_mode: Some(2), message_id: Some("an id"), ..Properties::default() }.encode(&mut properties);
    frame::write_content(&mut octets, 1, &publish, &properties, body, 8192);
    client.stream.write_all(&octets).unwrap();
    assert!(matches!(Method::decode(&client.payload()), Ok(Method::BasicAck(_))));
}

fn body(number: usize) -> Vec<u8> {
    format!("order {number}, ").repeat(20).into_bytes()
}

/// A folder that a broker left: ten orders, of which the first was handed out, an event in two queues, and octets.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut client = Client::open_channel(broker.address);
    client.send(1, &ConfirmSelect { no_wait: false });
    assert!(matches!(Method::decode(&client.payload()), Ok(Method::ConfirmSelectOk(_))));
    let (ticket, no_wait, arguments) = (0, false, Table::default());
    let (kind, passive, auto_delete, internal) = ("fanout", false, false, false);
    let exchange = "events";
    client.send(
        1,
        &ExchangeDeclare { ticket, exchange, kind, passive, durable: true, auto_delete, internal, no_wait, arguments },
    );
    assert!(matches!(Method::decode(&client.payload()), Ok(Method::ExchangeDeclareOk(_))));
    for queue in ["orders", "audit", "events"] {
        declare(&mut client, queue);
    }
    for queue in ["audit", "events"] {
        client.send(1, &QueueBind { ticket, queue, exchange, routing_key: "", no_wait, arguments });
        assert!(matches!(Method::decode(&client.payload()), Ok(Method::QueueBindOk(_))));
    }
    for number in 0..10 {
        publish(&mut client, "", "orders", &body(number));
    }
    publish(&mut client, "events", "a.key", "größer".as_bytes());
    publish(&mut client, "", "audit", &[0xFF, 0xFE]);
    client.send(1, &BasicGet { ticket, queue: "orders", no_ack: false });
    let payload = client.payload();
    let Ok(Method::BasicGetOk(got)) = Method::decode(&payload) else { panic!("no message") };
    client.send(1, &BasicNack { delivery_tag: got.delivery_tag, multiple: false, requeue: true });
    drop(client);
    broker.stop();
    folder
}

/// How many messages a consumer gets from a queue.
fn consume(folder: &Path, queue: &str) -> usize {
    let broker = Broker::start(folder);
    let mut client = Client::open_channel(broker.address);
    let mut count = 0;
    loop {
        client.send(1, &BasicGet { ticket: 0, queue, no_ack: true });
        match Method::decode(&client.payload()) {
            Ok(Method::BasicGetOk(_)) => count += 1,
            Ok(Method::BasicGetEmpty(_)) => break,
            other => panic!("{other:?}"),
        }
    }
    drop(client);
    broker.stop();
    count
}

/// How the program ended.
struct Ended {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn storage(arguments: &[&str], folder: &Path) -> Ended {
    let (command, more) = arguments.split_first().unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_leveret"));
    program.args(["storage", command]).arg(folder).args(more).stdin(Stdio::null());
    let output = program.output().unwrap();
    let text = |octets| String::from_utf8(octets).unwrap();
    Ended { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

impl Ended {
    /// What the program printed, given that it ended with a status and complained about nothing.
    fn printed(self, status: i32) -> String {
        assert_eq!((self.status, self.stderr.as_str()), (Some(status), ""), "{}", self.stdout);
        self.stdout
    }

    /// The sentence of a program that could not do what it was asked for.
    fn refusal(self) -> String {
        assert_eq!((self.status, self.stdout.as_str()), (Some(2), ""), "{}", self.stderr);
        assert_eq!(self.stderr.lines().count(), 1, "{}", self.stderr);
        self.stderr
    }

    fn lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Every file with its content and the time it was changed.
fn contents(folder: &Path) -> BTreeMap<String, (Vec<u8>, std::time::SystemTime)> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            all.extend(contents(&entry.path()));
        } else {
            let changed = entry.metadata().unwrap().modified().unwrap();
            all.insert(entry.path().display().to_string(), (fs::read(entry.path()).unwrap(), changed));
        }
    }
    all
}

/// Damages the message whose body begins with a text.
fn damage(folder: &Path, text: &str) {
    let path = folder.join(FIRST);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// The row of a table that begins with these cells, as its cells.
fn row<'a>(text: &'a str, first: &[&str]) -> Vec<&'a str> {
    let mut rows = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.find(|row| row.starts_with(first)).unwrap_or_else(|| panic!("no row {first:?} in {text}"))
}

#[test]
fn a_sound_folder_is_described_and_not_touched() {
    let folder = folder();
    let before = contents(folder.path());
    let text = storage(&["check"], folder.path()).printed(0);
    assert_eq!(row(&text, &["/", "orders"])[2..], ["10", "1.7", "KiB", "0", "to", "9", "1", "0"]);
    assert_eq!(row(&text, &["/", "events"])[2..], ["1", "8", "B", "0", "to", "0", "0", "0"]);
    assert!(text.contains("\n  1 vhost, 8 exchanges, 3 queues, 2 bindings\n"), "{text}");
    assert!(text.contains("\nSound: 13 messages in 3 queues, read in "), "{text}");
    assert!(text.lines().all(|line| line == line.trim_end()), "{text}");

    let json: Value = serde_json::from_str(&storage(&["check", "--json"], folder.path()).printed(0)).unwrap();
    assert_eq!(json["sound"], true);
    let orders = json["queues"].as_array().unwrap().iter().find(|queue| queue["name"] == "orders").unwrap();
    let bytes: usize = (0..10).map(|number| body(number).len()).sum();
    for (member, expected) in
        [("messages", 10), ("body_bytes", bytes), ("first", 0), ("last", 9), ("delivered_before", 1), ("unreadable", 0)]
    {
        assert_eq!(orders[member], expected, "{member}");
    }
    assert_eq!(storage(&["repair", "--dry-run"], folder.path()).printed(0), "Nothing to do: everything is sound.\n");
    storage(&["dump"], folder.path()).printed(0);
    assert_eq!(contents(folder.path()), before, "nothing was written");
    assert_eq!(consume(folder.path(), "orders"), 10);
}

#[test]
fn a_dump_has_what_was_declared_and_every_message_in_each_of_its_queues() {
    let folder = folder();
    let lines = storage(&["dump"], folder.path()).lines();
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).cloned().collect::<Vec<_>>();
    let names = |kind| of(kind).iter().map(|line| line["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!((names("vhost"), names("exchange")), (vec!["/".to_owned()], vec!["events".to_owned()]));
    assert_eq!((names("queue").len(), of("binding").len()), (3, 2));
    let messages = of("message");
    let queues: Vec<_> = messages.iter().map(|line| line["queue"].as_str().unwrap()).collect();
    assert_eq!(queues, [&["audit"; 2][..], &["events"], &["orders"; 10]].concat());
    assert_eq!((&messages[0]["body"], &messages[1]["body_base64"]), (&"größer".into(), &"//4=".into()));
    assert_eq!((&messages[0]["exchange"], &messages[0]["routing_key"]), (&"events".into(), &"a.key".into()));
    assert_eq!(messages[0]["properties"], serde_json::json!({"delivery_mode": 2, "message_id": "an id"}));
    for (number, line) in messages[3..].iter().enumerate() {
        assert_eq!((&line["position"], &line["redelivered"]), (&number.into(), &(number == 0).into()), "{line}");
        assert_eq!(line["body"].as_str().unwrap().as_bytes(), body(number));
        assert_eq!(line["size"], body(number).len());
    }

    let some = storage(&["dump", "--queue", "orders", "--limit", "3", "--bodies", "none"], folder.path());
    let kinds: Vec<_> = some.lines().iter().map(|line| line["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(kinds, ["queue", "message", "message", "message"]);
    assert!(some.lines().iter().all(|line| line.get("body").is_none()), "{}", some.stdout);
    assert_eq!(storage(&["dump", "--vhost", "other"], folder.path()).printed(0), "");
    let refusal = storage(&["dump", "--queue", "other"], folder.path()).refusal();
    assert!(refusal.starts_with("leveret storage: there is no durable queue `other` in "), "{refusal}");
}

#[test]
fn a_dump_ends_quietly_when_its_reader_has_enough() {
    let folder = folder();
    let mut program = Command::new(env!("CARGO_BIN_EXE_leveret"));
    program.args(["storage", "dump"]).arg(folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = program.spawn().unwrap();
    drop(child.stdout.take());
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!((child.wait().unwrap().code(), complaint.as_str()), (Some(0), ""));
}

#[test]
fn damage_is_found_and_a_repair_keeps_the_rest() {
    let folder = folder();
    damage(folder.path(), "order 3, ");
    damage(folder.path(), "größer");
    let damaged = contents(folder.path());
    let text = storage(&["check"], folder.path()).printed(1);
    assert!(text.contains("damaged from byte "), "{text}");
    assert!(text.contains("\nDamaged: "), "{text}");
    let plan = storage(&["repair", "--dry-run"], folder.path()).printed(1);
    assert!(plan.contains("messages-0000000000000001.log would be written anew"), "{plan}");
    assert_eq!(contents(folder.path()), damaged, "nothing was written");

    let text = storage(&["repair"], folder.path()).printed(0);
    assert!(text.contains("messages-0000000000000001.log was written anew"), "{text}");
    assert!(text.ends_with("\nEverything is sound now.\n"), "{text}");
    let name = folder.path().join(FIRST).display().to_string();
    assert_eq!(fs::read(format!("{name}.damaged")).unwrap(), damaged[&name].0, "a copy is kept");
    let text = storage(&["check"], folder.path()).printed(0);
    assert_eq!(row(&text, &["/", "orders"])[2], "9");
    assert_eq!(row(&text, &["/", "audit"])[2], "1");
    let repaired = contents(folder.path());
    assert_eq!(storage(&["repair"], folder.path()).printed(0), "Nothing to do: everything is sound.\n");
    let lock = folder.path().join("leveret.lock").display().to_string();
    let without_lock = |mut contents: BTreeMap<_, _>| {
        contents.remove(&lock);
        contents
    };
    assert_eq!(without_lock(contents(folder.path())), without_lock(repaired), "the second run changes nothing");
    assert_eq!(consume(folder.path(), "orders"), 9);
    assert_eq!(consume(folder.path(), "audit"), 1);
    assert_eq!(consume(folder.path(), "events"), 0);
}

/// In a file that has an end, its end says which queues lost what.
#[test]
fn damage_to_a_file_with_an_end_is_known_by_queue() {
    let folder = folder();
    Broker::start(folder.path()).stop();
    damage(folder.path(), "order 3, ");
    let text = storage(&["check"], folder.path()).printed(1);
    assert_eq!(row(&text, &["/", "orders"])[2], "10");
    assert_eq!(row(&text, &["/", "orders"]).last(), Some(&"1"));
    assert!(text.contains("\nDamaged: 1 message cannot be read. `leveret storage repair "), "{text}");
    let dump = storage(&["dump", "--queue", "orders", "--bodies", "none"], folder.path());
    assert_eq!(dump.status, Some(1));
    let unreadable: Vec<_> = dump.lines().into_iter().filter(|line| line["type"] == "unreadable").collect();
    assert_eq!(unreadable.len(), 1);
    assert_eq!((&unreadable[0]["queue"], &unreadable[0]["position"]), (&"orders".into(), &3.into()));
    let text = storage(&["repair"], folder.path()).printed(0);
    assert_eq!(row(&text, &["/", "orders"]), ["/", "orders", "1", "9"]);
    assert_eq!(consume(folder.path(), "orders"), 9);
}

#[test]
fn messages_of_queues_that_nobody_declared_are_shown_and_kept() {
    let folder = folder();
    fs::remove_dir_all(folder.path().join("metadata")).unwrap();
    let text = storage(&["check"], folder.path()).printed(0);
    assert!(text.starts_with("Definitions\n  there are none\n"), "{text}");
    assert!(text.contains("\n13 messages are in queues that are not declared; a broker drops them "), "{text}");
    assert_eq!(row(&text, &["number", "0,", "not", "declared"])[4], "10");
    assert_eq!(storage(&["repair"], folder.path()).printed(0), "Nothing to do: everything is sound.\n");
    let lines = storage(&["dump", "--id", "0", "--limit", "1"], folder.path()).lines();
    assert_eq!((lines.len(), &lines[0]["queue"], &lines[0]["id"]), (1, &Value::Null, &0.into()));
}

#[test]
fn damaged_definitions_are_found_and_written_anew() {
    let folder = folder();
    let path = folder.path().join("metadata/metadata-0000000000000001.log");
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(5).position(|window| window == b"audit").unwrap();
    bytes[at] ^= 1;
    fs::write(&path, bytes).unwrap();
    let text = storage(&["check"], folder.path()).printed(1);
    assert!(text.contains("in use, damaged\n      damaged from byte "), "{text}");
    assert!(text.contains("does not fit those before it: no queue 'audit' in vhost '/'"), "{text}");
    let text = storage(&["repair"], folder.path()).printed(0);
    assert!(text.contains("is kept as metadata-0000000000000001.log.damaged.\n"), "{text}");
    assert!(text.contains("\nEverything is sound now.\n2 messages are in queues that are not declared; "), "{text}");
    assert_eq!(storage(&["repair"], folder.path()).printed(0), "Nothing to do: everything is sound.\n");
    assert_eq!(consume(folder.path(), "orders"), 10);
}

#[test]
fn a_folder_that_a_broker_uses_is_left_alone() {
    let folder = folder();
    let broker = Broker::start(folder.path());
    for command in ["check", "dump", "repair"] {
        let refusal = storage(&[command], folder.path()).refusal();
        let holder = format!("it is in use by a broker, process {}; stop it first\n", broker.child.id());
        assert!(refusal.starts_with("leveret storage: cannot use the data folder "), "{command}: {refusal}");
        assert!(refusal.ends_with(&holder), "{command}: {refusal}");
    }
    broker.stop();
}

#[test]
fn what_is_no_data_folder_is_refused_with_a_reason() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path();
    fs::write(path.join("file"), "").unwrap();
    fs::create_dir_all(path.join("data/metadata")).unwrap();
    fs::create_dir_all(path.join("data/messages")).unwrap();
    for (name, reason) in [
        ("nothing", "there is no folder "),
        ("file", "is not a folder"),
        ("", "is not a data folder: there is no metadata and no messages folder in it\n"),
        ("data/messages", "; the data folder is the one above\n"),
    ] {
        for command in ["check", "dump", "repair"] {
            let refusal = storage(&[command], &path.join(name)).refusal();
            assert!(refusal.starts_with("leveret storage: ") && refusal.contains(reason), "{name:?}: {refusal}");
        }
    }
    assert!(storage(&["check"], &path.join("data")).printed(0).contains("Sound: 0 messages in 0 queues"));
    assert_eq!(fs::read_dir(path.join("data")).unwrap().count(), 2, "nothing was made");

    let mut bytes = b"LVRTMETA".to_vec();
    bytes.resize(100, 7);
    fs::write(path.join("data/metadata/metadata-0000000000000001.log"), bytes).unwrap();
    let text = storage(&["check"], &path.join("data")).printed(1);
    assert!(
        text.contains("metadata-0000000000000001.log is not a metadata log, or nothing in it can be read"),
        "{text}"
    );
    let text = storage(&["repair"], &path.join("data")).printed(1);
    assert!(text.starts_with("A repair cannot help: metadata-0000000000000001.log is not a metadata log"), "{text}");
}

#[test]
fn help_says_what_each_command_does_and_how_it_ends() {
    let help = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_leveret")).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let overview = help(&["storage", "--help"]);
    for part in ["check", "dump", "repair", "Examples:\n  leveret storage check "] {
        assert!(overview.contains(part), "{part}: {overview}");
    }
    for command in ["check", "dump", "repair"] {
        let text = help(&["storage", command, "--help"]);
        assert!(text.contains("\nExit status: 0 if "), "{text}");
        assert!(text.contains("No broker may use the folder meanwhile"), "{text}");
    }
    let wrong = Command::new(env!("CARGO_BIN_EXE_leveret")).args(["storage", "check"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}
