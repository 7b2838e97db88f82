//! What exchanges hold back survives a stop and a `kill -9`, and comes when it is due.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use client::Client;
use leveret_protocol::amqp091::method::{
    BasicGet, BasicPublish, ConfirmSelect, Encode, ExchangeDeclare, ExchangeDelete, QueueBind, QueueDeclare,
};
use leveret_protocol::amqp091::{Method, Properties, Table, TableWriter, Value, frame};
use leveret_server::{Config, Running};
use leveret_storage::disk::RealDisk;
use leveret_storage::messages::{MessageLog, Options};

const DEADLINE: Duration = Duration::from_secs(20);
/// Messages that are held back for long.
const MANY: i64 = 5000;

/// A broker in a process of its own, which a test can kill.
struct Broker {
    process: Child,
    address: SocketAddr,
}

impl Broker {
    fn start(folder: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_leveret"))
            .env("LEVERET_MANAGEMENT_LISTEN", "none")
            .env("LEVERET_PROMETHEUS_LISTEN", "none")
            .args(["--listen", "127.0.0.1:0", "--log-level", "off", "--data-dir"])
            .arg(folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = process.stdout.take().unwrap();
        let line = BufReader::new(stdout).lines().map(Result::unwrap).find(|line| line.contains("AMQP"));
        let address = line.and_then(|line| line.split_whitespace().last()?.parse().ok()).unwrap();
        Self { process, address }
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
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

/// A client, with the delaying exchange `x` and the durable queue `q` declared and bound with `k`.
fn open(address: SocketAddr) -> Client {
    let mut client = Client::open_channel(address);
    let mut arguments = Vec::new();
    TableWriter::new(&mut arguments).field("x-delayed-type", Value::LongStr(b"direct"));
    let (ticket, kind, durable) = (0, "x-delayed-message", true);
    let (passive, exclusive, auto_delete, internal, no_wait) = (false, false, false, false, false);
    let arguments = Table::parse(&arguments).unwrap();
    let exchange =
        ExchangeDeclare { ticket, exchange: "x", kind, passive, durable, auto_delete, internal, no_wait, arguments };
    assert_eq!(call(&mut client, &exchange), "ExchangeDeclareOk");
    let arguments = Table::default();
    let queue = QueueDeclare { ticket, queue: "q", passive, durable, exclusive, auto_delete, no_wait, arguments };
    assert_eq!(call(&mut client, &queue), "QueueDeclareOk");
    let bind = QueueBind { ticket, queue: "q", exchange: "x", routing_key: "k", no_wait, arguments };
    assert_eq!(call(&mut client, &bind), "QueueBindOk");
    assert_eq!(call(&mut client, &ConfirmSelect { no_wait }), "ConfirmSelectOk");
    client
}

fn now_ms() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// Publishes messages that are due at these moments, with them as bodies, and waits until they are confirmed. So many were
/// published on the channel before.
fn publish(client: &mut Client, before: usize, dues: &[i64]) {
    publish_with(client, "k", before, dues);
}

fn publish_with(client: &mut Client, routing_key: &str, before: usize, dues: &[i64]) {
    let mut octets = Vec::new();
    for due in dues {
        let mut headers = Vec::new();
        TableWriter::new(&mut headers).field("x-deliver-at", Value::I64(*due));
        let mut raw = Vec::new();
        let headers = Table::parse(&headers).ok();
        Properties { headers, delivery_mode: Some(2), ..Properties::default() }.encode(&mut raw);
        let publish = BasicPublish { ticket: 0, exchange: "x", routing_key, mandatory: true, immediate: false };
        frame::write_content(&mut octets, 1, &publish, &raw, due.to_string().as_bytes(), 8192);
    }
    client.stream.write_all(&octets).unwrap();
    let mut confirmed = 0;
    while confirmed < (before + dues.len()) as u64 {
        match Method::decode(&client.payload()).unwrap() {
            Method::BasicAck(ack) => confirmed = ack.delivery_tag,
            other => unreachable!("{other:?}"),
        }
    }
}

/// Messages that the queue has; none of them has been taken.
fn count(client: &mut Client) -> u32 {
    let (ticket, passive, durable, exclusive, auto_delete, no_wait) = (0, true, true, false, false, false);
    let arguments = Table::default();
    client.send(1, &QueueDeclare { ticket, queue: "q", passive, durable, exclusive, auto_delete, no_wait, arguments });
    match Method::decode(&client.payload()).unwrap() {
        Method::QueueDeclareOk(ok) => ok.message_count,
        other => unreachable!("{other:?}"),
    }
}

fn await_count(client: &mut Client, expected: u32) {
    let until = Instant::now() + DEADLINE;
    while count(client) != expected {
        assert!(Instant::now() < until, "{} messages, not {expected}", count(client));
        std::thread::yield_now();
    }
}

fn delete_exchange(client: &mut Client) {
    let delete = ExchangeDelete { ticket: 0, exchange: "x", if_unused: false, no_wait: false };
    assert_eq!(call(client, &delete), "ExchangeDeleteOk");
}

#[test]
fn what_is_confirmed_is_held_back_through_kills_and_comes_when_it_is_due() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut client = open(broker.address);
    let far = now_ms() + 600_000;
    let late: Vec<i64> = (0..MANY).map(|number| far + number * 7 % 1000).collect();
    publish(&mut client, 0, &late);
    // Some come while nobody is there, some when somebody is there again.
    let begun = now_ms();
    publish(&mut client, late.len(), &[begun + 1500, begun + 1000, begun + 3000, begun + 2000]);
    broker.kill();
    for _ in 0..2 {
        Broker::start(folder.path()).kill();
    }
    let broker = Broker::start(folder.path());
    let mut client = open(broker.address);
    await_count(&mut client, 4);
    assert!(now_ms() >= begun + 3000, "one came too early");
    broker.kill();
    // What came is not held back any more, but for what came right before the kill, and the rest still is.
    let broker = Broker::start(folder.path());
    let mut client = open(broker.address);
    let no_wait = false;
    let bind =
        QueueBind { ticket: 0, queue: "q", exchange: "x", routing_key: "last", no_wait, arguments: Table::default() };
    assert_eq!(call(&mut client, &bind), "QueueBindOk");
    publish_with(&mut client, "last", 0, &[now_ms() + 200]);
    let before = take_until(&mut client, "last");
    assert!((4..=8).contains(&before), "{before} messages");
    delete_exchange(&mut client);
    broker.kill();
    start(folder.path()).stop();
    let stored = stored(folder.path());
    assert!(stored <= 9, "what was held back went with its exchange, but {stored} messages are on disk");
}

fn start(folder: &Path) -> Running {
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    leveret_server::start(&Config { listen, data_dir: folder.to_owned(), ..Config::default() }).unwrap()
}

/// How many messages the message log in a data folder holds.
fn stored(folder: &Path) -> u64 {
    let disk = RealDisk::open(folder.join("messages")).unwrap();
    let (_, recovered) = MessageLog::open(Arc::new(disk), Options::default()).unwrap();
    recovered.queues.iter().map(|queue| queue.messages).sum()
}

/// Takes messages until one with this key comes; says how many there were before it.
fn take_until(client: &mut Client, routing_key: &str) -> usize {
    let until = Instant::now() + DEADLINE;
    let mut before = 0;
    loop {
        assert!(Instant::now() < until, "no message '{routing_key}' behind {before} others");
        client.send(1, &BasicGet { ticket: 0, queue: "q", no_ack: true });
        match Method::decode(&client.payload()).unwrap() {
            Method::BasicGetOk(got) if got.routing_key == routing_key => return before,
            Method::BasicGetOk(_) => before += 1,
            Method::BasicGetEmpty(_) => std::thread::yield_now(),
            other => unreachable!("{other:?}"),
        }
    }
}

#[test]
fn nothing_comes_twice_after_a_clean_stop() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path());
    let mut client = open(running.addresses()[0]);
    let now = now_ms();
    let dues: Vec<i64> = (0..100).map(|number| now + 100 + number % 10).chain([now + 600_000]).collect();
    publish(&mut client, 0, &dues);
    await_count(&mut client, 100);
    running.stop();
    assert_eq!(stored(folder.path()), 101, "what came is in its queue, and nowhere else");
    let running = start(folder.path());
    let mut client = open(running.addresses()[0]);
    publish(&mut client, 0, &[now_ms() + 300]);
    await_count(&mut client, 101);
    running.stop();
}
