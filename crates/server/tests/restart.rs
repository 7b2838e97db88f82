//! What survives the end of a node, the clean one and the other.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use client::Client;
use leveret_protocol::amqp091::method::{
    BasicAck, BasicGet, BasicPublish, BasicQos, ConfirmSelect, Encode, ExchangeBind, ExchangeDeclare, QueueBind,
    QueueDeclare, QueueDelete, QueueUnbind, TxCommit, TxSelect,
};
use leveret_protocol::amqp091::{Method, Properties, Table, TableWriter, Value, frame};
use leveret_server::{Config, Running};
use leveret_storage::disk::RealDisk;
use leveret_storage::messages::{MessageLog, Options};

const DEADLINE: Duration = Duration::from_secs(20);

fn start(folder: &Path) -> (Running, SocketAddr) {
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let config = Config { listen, data_dir: folder.to_owned(), ..Config::default() };
    let running = leveret_server::start(&config).unwrap();
    let address = running.addresses()[0];
    (running, address)
}

fn queue(name: &str) -> QueueDeclare<'_> {
    let (ticket, passive, exclusive, auto_delete, no_wait, arguments) =
        (0, false, false, false, false, Table::default());
    QueueDeclare { ticket, queue: name, passive, durable: true, exclusive, auto_delete, no_wait, arguments }
}

fn exchange(name: &str) -> ExchangeDeclare<'_> {
    let (ticket, kind, passive, auto_delete, internal, no_wait, arguments) =
        (0, "topic", false, false, false, false, Table::default());
    ExchangeDeclare { ticket, exchange: name, kind, passive, durable: true, auto_delete, internal, no_wait, arguments }
}

fn bind<'a>(queue: &'a str, exchange: &'a str) -> QueueBind<'a> {
    QueueBind { ticket: 0, queue, exchange, routing_key: "a.#", no_wait: false, arguments: Table::default() }
}

fn delete(queue: &str) -> QueueDelete<'_> {
    QueueDelete { ticket: 0, queue, if_unused: false, if_empty: false, no_wait: false }
}

/// Sends a method and says what the answer is called.
fn call(client: &mut Client, method: &impl Encode) -> String {
    client.send(1, method);
    let payload = client.payload();
    let shown = format!("{:?}", Method::decode(&payload).unwrap());
    shown.split('(').next().unwrap_or_default().to_owned()
}

/// Whether a queue is there, asked on a channel of its own.
fn exists(address: SocketAddr, name: &str) -> bool {
    let answer = call(&mut Client::open_channel(address), &QueueDeclare { passive: true, ..queue(name) });
    answer == "QueueDeclareOk"
}

#[test]
fn durable_things_survive_a_clean_stop() {
    let folder = tempfile::tempdir().unwrap();
    let (running, address) = start(folder.path());
    let mut arguments = Vec::new();
    TableWriter::new(&mut arguments).field("x-message-ttl", Value::I32(60_000));
    let arguments = Table::parse(&arguments).unwrap();
    let mut client = Client::open_channel(address);
    let with_ttl = QueueDeclare { arguments, ..queue("kept") };
    assert_eq!(call(&mut client, &with_ttl), "QueueDeclareOk");
    assert_eq!(call(&mut client, &queue("deleted")), "QueueDeclareOk");
    assert_eq!(call(&mut client, &QueueDeclare { durable: false, ..queue("transient") }), "QueueDeclareOk");
    assert_eq!(call(&mut client, &exchange("kept")), "ExchangeDeclareOk");
    assert_eq!(call(&mut client, &ExchangeDeclare { durable: false, ..exchange("transient") }), "ExchangeDeclareOk");
    assert_eq!(call(&mut client, &bind("kept", "kept")), "QueueBindOk");
    assert_eq!(call(&mut client, &bind("kept", "amq.topic")), "QueueBindOk");
    let (ticket, routing_key, no_wait, none) = (0, "a.#", false, Table::default());
    let unbind = QueueUnbind { ticket, queue: "kept", exchange: "amq.topic", routing_key, arguments: none };
    assert_eq!(call(&mut client, &unbind), "QueueUnbindOk");
    let to_exchange =
        ExchangeBind { ticket, destination: "kept", source: "amq.fanout", routing_key: "", no_wait, arguments: none };
    assert_eq!(call(&mut client, &to_exchange), "ExchangeBindOk");
    assert_eq!(call(&mut client, &delete("deleted")), "QueueDeleteOk");
    running.stop();

    let (running, address) = start(folder.path());
    for (name, there) in [("kept", true), ("deleted", false), ("transient", false)] {
        assert_eq!(exists(address, name), there, "{name}");
    }
    let mut client = Client::open_channel(address);
    assert_eq!(call(&mut client, &with_ttl), "QueueDeclareOk", "its arguments are what they were");
    assert_eq!(call(&mut client, &exchange("kept")), "ExchangeDeclareOk");
    // The bindings are what they were: by amq.fanout a message comes, by amq.topic none.
    for (name, ready) in [("amq.fanout", 1), ("amq.topic", 1), ("kept", 2)] {
        publish(&mut client, name, "a.b");
        assert_eq!(message_count(&mut client, "kept"), ready, "{name}");
    }
    assert_eq!(call(&mut client, &QueueDeclare { passive: true, ..queue("transient") }), "ChannelClose");
    running.stop();
}

#[test]
fn what_a_deduplicating_exchange_has_seen_survives_where_that_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    for (round, expected) in [(1, [1, 1]), (2, [1, 2])] {
        let (running, address) = start(folder.path());
        let mut client = Client::open_channel(address);
        for (name, persistence, count) in [("kept", "disk", expected[0]), ("forgotten", "memory", expected[1])] {
            let mut arguments = Vec::new();
            TableWriter::new(&mut arguments)
                .field("x-cache-size", Value::I32(100))
                .field("x-cache-persistence", Value::LongStr(persistence.as_bytes()));
            let arguments = Table::parse(&arguments).unwrap();
            let declare = ExchangeDeclare { kind: "x-message-deduplication", arguments, ..exchange(name) };
            assert_eq!(call(&mut client, &declare), "ExchangeDeclareOk");
            assert_eq!(call(&mut client, &queue(name)), "QueueDeclareOk");
            assert_eq!(call(&mut client, &bind(name, name)), "QueueBindOk");
            let mut headers = Vec::new();
            TableWriter::new(&mut headers).field("x-deduplication-header", Value::I32(1));
            let (headers, delivery_mode) = (Table::parse(&headers).ok(), Some(2));
            let mut raw = Vec::new();
            Properties { headers, delivery_mode, ..Properties::default() }.encode(&mut raw);
            for _ in 0..2 {
                publish_with(&mut client, name, "a.b", &raw);
            }
            assert_eq!(message_count(&mut client, name), count, "{name} in round {round}");
        }
        drop(client);
        running.stop();
    }
}

fn publish(client: &mut Client, exchange: &str, routing_key: &str) {
    publish_with(client, exchange, routing_key, &[0, 0]);
}

fn publish_with(client: &mut Client, exchange: &str, routing_key: &str, properties: &[u8]) {
    let publish = BasicPublish { ticket: 0, exchange, routing_key, mandatory: false, immediate: false };
    let mut octets = Vec::new();
    frame::write_content(&mut octets, 1, &publish, properties, b"body", 8192);
    client.stream.write_all(&octets).unwrap();
}

fn message_count(client: &mut Client, name: &str) -> u32 {
    client.send(1, &QueueDeclare { passive: true, ..queue(name) });
    let payload = client.payload();
    match Method::decode(&payload) {
        Ok(Method::QueueDeclareOk(ok)) => ok.message_count,
        other => unreachable!("{other:?}"),
    }
}

/// One method makes the channel wait for the disk, and far more come behind it than a turn handles.
#[test]
fn what_comes_behind_a_durable_declaration_is_answered_without_another_word() {
    let folder = tempfile::tempdir().unwrap();
    let (running, address) = start(folder.path());
    let mut client = Client::open_channel(address);
    let mut octets = Vec::new();
    frame::write_method(&mut octets, 1, &queue("q"));
    let (prefetch_size, prefetch_count, global) = (0, 1, false);
    for _ in 0..3000 {
        frame::write_method(&mut octets, 1, &BasicQos { prefetch_size, prefetch_count, global });
    }
    client.stream.write_all(&octets).unwrap();
    assert!(matches!(Method::decode(&client.payload()), Ok(Method::QueueDeclareOk(_))));
    for number in 0..3000 {
        assert!(matches!(Method::decode(&client.payload()), Ok(Method::BasicQosOk(_))), "{number}");
    }
    running.stop();
}

/// With no memory to wait in, messages go to disk, those that are to survive and those that are not, and come back in order.
#[test]
fn what_memory_has_no_room_for_goes_to_disk_and_comes_back_in_order() {
    const MESSAGES: usize = 600;
    let folder = tempfile::tempdir().unwrap();
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let config = Config { listen, data_dir: folder.path().to_owned(), memory_budget: 0, ..Config::default() };
    let running = leveret_server::start(&config).unwrap();
    let address = running.addresses()[0];
    let mut client = Client::open_channel(address);
    assert_eq!(call(&mut client, &queue("q")), "QueueDeclareOk");
    let key = BasicPublish { ticket: 0, exchange: "amq.fanout", routing_key: "", mandatory: false, immediate: false };
    assert_eq!(call(&mut client, &bind("q", "amq.fanout")), "QueueBindOk");
    for number in 0..MESSAGES {
        let name = number.to_string();
        let properties: &[u8] = if number % 3 == 0 { &[0x10, 0, 2] } else { &[0, 0] };
        let mut octets = Vec::new();
        frame::write_content(&mut octets, 1, &BasicPublish { routing_key: &name, ..key }, properties, &[7; 8000], 8192);
        client.stream.write_all(&octets).unwrap();
        // A turn for each few, as what leaves memory does so when the next ones come.
        if number % 20 == 0 {
            assert_eq!(message_count(&mut client, "q") as usize, number + 1);
        }
    }
    assert_eq!(message_count(&mut client, "q") as usize, MESSAGES);
    let paged_out = fs::read_dir(folder.path().join("page-out")).unwrap().count();
    assert!(paged_out > 0, "nothing was paged out");
    for number in 0..MESSAGES {
        client.send(1, &BasicGet { ticket: 0, queue: "q", no_ack: true });
        let payload = client.payload();
        let Ok(Method::BasicGetOk(got)) = Method::decode(&payload) else { panic!("no message {number}") };
        assert_eq!((got.routing_key, got.redelivered), (number.to_string().as_str(), false));
    }
    running.stop();
}

/// What the message log in a data folder holds: messages of each queue, by number.
fn stored(folder: &Path) -> Vec<u64> {
    let disk = RealDisk::open(folder.join("messages")).unwrap();
    let (_, recovered) = MessageLog::open(Arc::new(disk), Options::default()).unwrap();
    recovered.queues.iter().map(|queue| queue.messages).filter(|messages| *messages > 0).collect()
}

/// Publishes a persistent message to a queue and waits until it is on disk.
fn store(client: &mut Client, queue: &str) {
    let publish = BasicPublish { ticket: 0, exchange: "", routing_key: queue, mandatory: false, immediate: false };
    client.send(1, &TxSelect {});
    assert!(matches!(Method::decode(&client.payload()), Ok(Method::TxSelectOk(_))));
    let mut octets = Vec::new();
    frame::write_content(&mut octets, 1, &publish, &[0x10, 0, 2], b"body", 8192);
    client.stream.write_all(&octets).unwrap();
    client.send(1, &TxCommit {});
    assert!(matches!(Method::decode(&client.payload()), Ok(Method::TxCommitOk(_))));
}

#[test]
fn messages_stay_while_the_declaration_of_their_queue_may_be_lost() {
    let folder = tempfile::tempdir().unwrap();
    let (running, address) = start(folder.path());
    let mut client = Client::open_channel(address);
    for name in ["lost-declaration", "kept"] {
        assert_eq!(call(&mut client, &queue(name)), "QueueDeclareOk");
    }
    store(&mut Client::open_channel(address), "lost-declaration");
    running.stop();
    let metadata = folder.path().join("metadata");
    let log = metadata.join("metadata-0000000000000001.log");
    let mut octets = fs::read(&log).unwrap();
    let name = octets.windows(16).position(|window| window == b"lost-declaration").unwrap();
    octets[name] ^= 1;
    fs::write(&log, octets).unwrap();
    for _ in 0..2 {
        let (running, address) = start(folder.path());
        assert!(!exists(address, "lost-declaration"));
        assert!(exists(address, "kept"));
        running.stop();
        assert_eq!(stored(folder.path()), [1]);
    }
    // Nor does the node start without its declarations, which would be the end of all messages.
    fs::rename(&metadata, folder.path().join("away")).unwrap();
    for _ in 0..2 {
        let config = Config { listen: Vec::new(), data_dir: folder.path().to_owned(), ..Config::default() };
        let refused = leveret_server::start(&config).unwrap_err().to_string();
        assert!(refused.contains("the metadata log beside it is gone"), "{refused}");
    }
    fs::remove_dir_all(&metadata).unwrap();
    fs::rename(folder.path().join("away"), &metadata).unwrap();
    // Without that doubt, a message without a queue is one whose queue was deleted.
    let damaged = fs::read_dir(&metadata).unwrap().map(|entry| entry.unwrap().path());
    let damaged: Vec<_> = damaged.filter(|path| path.extension().is_some_and(|end| end == "damaged")).collect();
    assert_eq!(damaged.len(), 1);
    fs::remove_file(&damaged[0]).unwrap();
    start(folder.path()).0.stop();
    assert_eq!(stored(folder.path()), [0; 0]);
}

/// The broker as a process that can be killed.
struct Process {
    child: Child,
    address: SocketAddr,
}

impl Process {
    fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    fn start_with(folder: &Path, options: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_leveret"))
            .env("LEVERET_MANAGEMENT_LISTEN", "none")
            .env("LEVERET_PROMETHEUS_LISTEN", "none")
            .args(["--listen", "127.0.0.1:0", "--log-level", "off", "--data-dir"])
            .arg(folder)
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let line = BufReader::new(stdout).lines().map(Result::unwrap).find(|line| line.contains("AMQP"));
        let address = line.and_then(|line| line.split_whitespace().last()?.parse().ok()).unwrap();
        Self { child, address }
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Killed already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_was_committed_survives_kill_dash_nine_whenever_it_is_synced() {
    for sync in ["commit", "interval:60000", "os"] {
        let folder = tempfile::tempdir().unwrap();
        let process = Process::start_with(folder.path(), &["--sync", sync]);
        let mut client = Client::open_channel(process.address);
        assert_eq!(call(&mut client, &queue("q")), "QueueDeclareOk");
        for _ in 0..5 {
            store(&mut Client::open_channel(process.address), "q");
        }
        process.kill();
        let process = Process::start_with(folder.path(), &["--sync", sync]);
        assert_eq!(message_count(&mut Client::open_channel(process.address), "q"), 5, "{sync}");
    }
}

/// Takes the first message; its delivery tag, and whether it was handed out before.
fn get(client: &mut Client, name: &str) -> Option<(u64, bool)> {
    client.send(1, &BasicGet { ticket: 0, queue: name, no_ack: false });
    let payload = client.payload();
    match Method::decode(&payload) {
        Ok(Method::BasicGetOk(ok)) => Some((ok.delivery_tag, ok.redelivered)),
        Ok(Method::BasicGetEmpty(_)) => None,
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn a_quorum_queue_keeps_what_is_confirmed_whatever_its_delivery_mode() {
    let folder = tempfile::tempdir().unwrap();
    let mut arguments = Vec::new();
    TableWriter::new(&mut arguments).field("x-queue-type", Value::LongStr(b"quorum"));
    let declare = QueueDeclare { arguments: Table::parse(&arguments).unwrap(), ..queue("q") };
    let process = Process::start_with(folder.path(), &[]);
    let mut client = Client::open_channel(process.address);
    assert_eq!(call(&mut client, &declare), "QueueDeclareOk");
    assert_eq!(call(&mut client, &ConfirmSelect { no_wait: false }), "ConfirmSelectOk");
    for priority in [None, Some(9), Some(1)] {
        let mut properties = Vec::new();
        Properties { priority, delivery_mode: Some(1), ..Properties::default() }.encode(&mut properties);
        publish_with(&mut client, "", "q", &properties);
        assert!(matches!(Method::decode(&client.payload()), Ok(Method::BasicAck(_))));
    }
    let (settled, _) = get(&mut client, "q").unwrap();
    let (open, is_again) = get(&mut client, "q").unwrap();
    assert_eq!((settled, open, is_again), (1, 2, false));
    // The commit is answered once the acknowledgement is on disk, and with it that the others were handed out.
    let mut other = Client::open_channel(process.address);
    client.send(1, &BasicAck { delivery_tag: settled, multiple: false });
    assert_eq!(message_count(&mut client, "q"), 1);
    assert_eq!(call(&mut other, &TxSelect {}), "TxSelectOk");
    publish_with(&mut other, "", "q", &[0, 0]);
    assert_eq!(call(&mut other, &TxCommit {}), "TxCommitOk");
    process.kill();

    let process = Process::start_with(folder.path(), &[]);
    let mut client = Client::open_channel(process.address);
    assert_eq!(call(&mut client, &declare), "QueueDeclareOk");
    assert_eq!(message_count(&mut client, "q"), 3, "one was settled");
    let again: Vec<bool> = std::iter::from_fn(|| get(&mut client, "q")).map(|(_, again)| again).collect();
    assert_eq!(again, [true, false, false]);
}

/// Clients declare and delete queues without a pause, a signal kills the broker in the middle of it, and everything that
/// was answered has to be so afterwards. What was asked and not answered may be either.
#[test]
fn what_was_answered_survives_kill_dash_nine() {
    let folder = tempfile::tempdir().unwrap();
    // Whether each queue is there: known from an answer, or unknown while one is missing.
    let mut known: BTreeMap<String, Option<bool>> = BTreeMap::new();
    for round in 0..10 {
        let process = Process::start(folder.path());
        let address = process.address;
        for (name, expected) in &mut known {
            let there = exists(address, name);
            assert!(expected.is_none_or(|expected| expected == there), "round {round}: {name} is there: {there}");
            *expected = Some(there);
        }
        let (answers, answered) = mpsc::channel();
        let churn = |id| {
            // Connected here: the kill is to fall into the work, not into a handshake.
            let (client, answers) = (Client::open_channel(address), answers.clone());
            std::thread::spawn(move || churn(client, round, id, &answers))
        };
        let clients: Vec<_> = (0..3).map(churn).collect();
        // With three clients at work the kill falls anywhere between and within their writes.
        for _ in 0..20 + 31 * round {
            answered.recv_timeout(DEADLINE).unwrap();
        }
        process.kill();
        for client in clients {
            known.extend(client.join().unwrap());
        }
        // Enough is enough: old queues are not asked for again.
        while known.len() > 200 {
            known.pop_first();
        }
    }
}

/// Declares queues and deletes every third one until the broker is gone.
fn churn(mut client: Client, round: u32, id: usize, answers: &Sender<()>) -> Vec<(String, Option<bool>)> {
    let mut states = Vec::new();
    for number in 0.. {
        let name = format!("round{round:02}-client{id}-{number:05}");
        states.push((name.clone(), None));
        client.try_send(1, &queue(&name));
        if client.try_payload().is_none() {
            break;
        }
        let _ = answers.send(());
        states.last_mut().unwrap().1 = Some(true);
        if number % 3 == 0 {
            states.last_mut().unwrap().1 = None;
            client.try_send(1, &delete(&name));
            if client.try_payload().is_none() {
                break;
            }
            states.last_mut().unwrap().1 = Some(false);
        }
    }
    states
}
