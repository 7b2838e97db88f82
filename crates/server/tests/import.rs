//! Definitions that a node begins with, and what a crash in the middle of an import leaves.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;

use std::fs;
use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use client::Client;
use leveret_auth::hash::Hashing;
use leveret_broker::journal::{Journal, JournalPosition, Written};
use leveret_broker::mailbox::Mailbox;
use leveret_broker::node::{Node, Surroundings};
use leveret_broker::topology::{Record, Together, Topology};
use leveret_management::definitions::{self, Import, Lines, Scope, Source};
use leveret_protocol::amqp091::Method;
use leveret_protocol::amqp091::Table;
use leveret_protocol::amqp091::method::{ChannelOpen, QueueDeclare};
use leveret_server::{Config, DefinitionsSettings, Running, StartError};
use leveret_storage::MetadataLog;
use leveret_storage::disk::SimulatedDisk;
use leveret_storage::disk::simulated::{Fault, Random};

/// The example of RabbitMQ's documentation: the password is `test12`.
const DEFINITIONS: &str = r#"{
    "rabbit_version": "3.10.8",
    "users": [{
        "name": "ann", "password_hash": "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR",
        "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": "administrator"
    }],
    "vhosts": [{"name": "/"}],
    "permissions": [{"user": "ann", "vhost": "/", "configure": ".*", "write": ".*", "read": ".*"}],
    "queues": [{"name": "q", "vhost": "/", "durable": true, "auto_delete": false, "arguments": {"x-max-length": 5}}],
    "exchanges": [],
    "bindings": [{
        "source": "amq.direct", "vhost": "/", "destination": "q", "destination_type": "queue", "routing_key": "k",
        "arguments": {}
    }]
}"#;

fn start(folder: &Path, definitions: &str) -> Result<Running, StartError> {
    let (listen, file) = (vec![SocketAddr::from(([127, 0, 0, 1], 0))], folder.join("definitions.json"));
    fs::write(&file, definitions).unwrap();
    let definitions = DefinitionsSettings { sources: vec![file], ..DefinitionsSettings::default() };
    leveret_server::start(&Config { listen, definitions, data_dir: folder.join("data"), ..Config::default() })
}

/// What is in a queue that somebody uses, if it may and the queue is as it should be.
fn declare(address: SocketAddr) -> Option<u32> {
    let mut client = Client::open_as(address, b"", "ann", "test12")?;
    client.send(1, &ChannelOpen { out_of_band: "" });
    assert!(matches!(Method::decode(&client.payload()), Ok(Method::ChannelOpenOk(_))));
    let (passive, durable, exclusive, auto_delete, no_wait) = (true, true, false, false, false);
    let arguments = Table::default();
    client
        .send(1, &QueueDeclare { ticket: 0, queue: "q", passive, durable, exclusive, auto_delete, no_wait, arguments });
    match Method::decode(&client.payload()) {
        Ok(Method::QueueDeclareOk(declared)) => Some(declared.message_count),
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn a_user_with_a_hash_of_rabbitmq_logs_in_and_finds_its_queue() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path(), DEFINITIONS).unwrap();
    let address = *running.addresses().first().unwrap();
    assert_eq!(declare(address), Some(0));
    assert!(Client::open_as(address, b"", "guest", "guest").is_none(), "nobody who was not asked for");
    running.stop();
    let running = start(folder.path(), DEFINITIONS).unwrap();
    assert_eq!(declare(*running.addresses().first().unwrap()), Some(0), "a second import changes nothing");
    running.stop();
}

#[test]
fn a_wrong_file_keeps_a_node_from_starting_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = DEFINITIONS.replace("\"x-max-length\": 5", "\"x-max-length\": -5");
    let error = start(folder.path(), &wrong).unwrap_err().to_string();
    assert!(error.contains("definitions.json: queues[0].arguments.x-max-length: invalid arg"), "{error}");
    let data_dir = folder.path().join("data");
    let listen = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
    let running = leveret_server::start(&Config { listen, data_dir, ..Config::default() }).unwrap();
    running.node().read(|topology| {
        assert!(topology.user("ann").is_err() && topology.vhost("/").unwrap().any_queue("q").is_err());
        assert!(topology.user("guest").is_ok(), "it is as new as before");
    });
    running.stop();
}

/// A journal whose octets somebody else writes.
#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Vec<u8>>>);

impl Journal for Kept {
    fn append(&self, records: Vec<Record>) -> JournalPosition {
        let octets = |record: Record| {
            let mut octets = Vec::new();
            record.encode(&mut octets);
            octets
        };
        self.0.lock().unwrap().extend(records.into_iter().map(octets));
        self.last()
    }

    fn append_together(&self, records: Together) -> JournalPosition {
        self.0.lock().unwrap().push(records.into_octets());
        self.last()
    }

    fn last(&self) -> JournalPosition {
        JournalPosition(self.0.lock().unwrap().len() as u64)
    }

    fn has_failed(&self) -> bool {
        false
    }

    fn written(&self, _: JournalPosition, _: &Arc<Mailbox>) -> Written {
        Written::Synced
    }
}

fn restored(records: &[Vec<u8>]) -> Topology {
    let mut topology = Topology::new();
    for record in records.iter().flat_map(|octets| Record::decode_all(octets).unwrap()) {
        topology.restore(record).unwrap();
    }
    topology
}

#[test]
fn after_a_crash_all_of_an_import_is_there_or_nothing() {
    let journal = Arc::new(Kept::default());
    let node = Node::within(Surroundings { journal: Some(journal.clone()), ..Surroundings::default() });
    let before = journal.0.lock().unwrap().clone();
    let definitions = definitions::read(DEFINITIONS).unwrap();
    let sources = [Source { label: None, definitions: &definitions }];
    let hashing = Hashing::default();
    let import = Import { sources: &sources, scope: Scope::All, hashing, also: &[], lines: Lines::None };
    definitions::import(&node, &import, &mut |_| ControlFlow::Continue(())).unwrap();
    let imported = journal.0.lock().unwrap().split_off(before.len());
    assert_eq!(imported.len(), 1);
    let (nothing, all) = (restored(&before).durable_records(), node.durable_records().0);
    let mut found = [0, 0];
    for seed in 0..500 {
        let (disk, mut random) = (SimulatedDisk::new(seed), Random::new(seed));
        let (mut log, _) = MetadataLog::open(Arc::new(disk.clone())).unwrap();
        log.append(before.iter().map(Vec::as_slice)).unwrap();
        log.commit().unwrap();
        disk.fault(Fault::StopAt(disk.operations() + random.below(5)));
        let is_committed = log.append(imported.iter().map(Vec::as_slice)).is_ok() && log.commit().is_ok();
        drop(log);
        disk.crash(seed);
        let (_, recovered) = MetadataLog::open(Arc::new(disk)).unwrap();
        let records = restored(&recovered.records).durable_records();
        let is_there = records == all;
        assert!(is_there || (records == nothing && !is_committed), "seed {seed}: {records:?}");
        *found.get_mut(usize::from(is_there)).unwrap() += 1;
    }
    assert!(found.iter().all(|count| *count > 0), "{found:?}");
}
