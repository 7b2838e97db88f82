//! A disk without room: nobody is told that what could not be written is safe, everything else goes on, and confirms come
//! again as soon as there is room.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use leveret_protocol::amqp091::method::BasicAck;

use crate::audit::take_all;
use crate::ledger::{Ending, Ledger};
use crate::message::{Id, Mandatory, Message, Mode};
use crate::process::Process;
use crate::wire::{DEADLINE, Event, Wire, durable_queue, question};

const QUEUE: &str = "full";
const MIB: usize = 1024 * 1024;
/// Room of the file system at first.
const ROOM_MIB: usize = 192;
/// Room that a file takes to give it back later.
const BALLAST_MIB: usize = 64;
const BODY: usize = 32 * 1024;
/// Publishes that wait for their confirm at most; together they fit the buffers of the socket.
const WINDOW: usize = 20;
/// After so long without a confirm none will come.
const SILENCE: Duration = Duration::from_secs(2);

/// A small file system in memory; it goes with this.
struct FileSystem {
    folder: tempfile::TempDir,
}

impl FileSystem {
    /// Mounts it; nothing if that is not permitted here.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let options = format!("size={ROOM_MIB}m");
        let mounted = run("mount", &["-t", "tmpfs", "-o", &options, "tmpfs"], folder.path());
        if !mounted {
            eprintln!("skipped: mounting a file system is not permitted here");
        }
        mounted.then_some(Self { folder })
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn ballast(&self) -> PathBuf {
        self.folder.path().join("ballast")
    }

    fn take_room(&self) {
        fs::write(self.ballast(), vec![1; BALLAST_MIB * MIB]).unwrap();
    }

    fn give_room(&self) {
        fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for FileSystem {
    fn drop(&mut self) {
        run("umount", &["-l"], self.folder.path());
    }
}

fn run(program: &str, arguments: &[&str], folder: &Path) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).arg(folder).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Publishes and keeps account.
struct Publisher {
    wire: Wire,
    ledger: Ledger,
    name: u32,
    number: u32,
    unconfirmed: BTreeMap<u64, Id>,
    confirmed: usize,
    refused: usize,
}

impl Publisher {
    fn new(address: SocketAddr, ledger: Ledger, name: u32) -> Self {
        let mut wire = Wire::open(address).unwrap();
        wire.confirm_select().unwrap();
        wire.declare(&durable_queue(QUEUE)).unwrap();
        Self { wire, ledger, name, number: 0, unconfirmed: BTreeMap::new(), confirmed: 0, refused: 0 }
    }

    /// Publishes if the window has room.
    fn publish(&mut self) {
        if self.unconfirmed.len() < WINDOW {
            self.number += 1;
            let id = Id { publisher: self.name, number: self.number };
            let message = Message { id, size: BODY, mode: Mode::Persistent };
            self.ledger.sent(&message, &[QUEUE]);
            self.unconfirmed.insert(u64::from(self.number), id);
            self.wire.send_octets(&message.frames("", QUEUE, Mandatory::No)).unwrap();
        }
    }

    /// Publishes until messages are refused or no longer confirmed.
    fn fill(&mut self) {
        let refused = self.refused;
        loop {
            self.publish();
            let patience = if self.unconfirmed.len() < WINDOW { Duration::ZERO } else { SILENCE };
            let came = self.settle(patience);
            if self.refused > refused || (!came && !patience.is_zero()) {
                return;
            }
            assert!(self.confirmed * BODY < 2 * ROOM_MIB * MIB, "more is confirmed than the disk has room for");
        }
    }

    /// Awaits that so many more messages are confirmed, publishing as long as the window has room.
    fn go_on(&mut self, count: usize) {
        let (end, due) = (Instant::now() + DEADLINE, self.confirmed + count);
        while self.confirmed < due {
            assert!(Instant::now() < end, "no confirms though there is room");
            self.publish();
            self.settle(Duration::from_millis(100));
        }
    }

    /// Enters what the next event says; whether one came.
    fn settle(&mut self, patience: Duration) -> bool {
        let Some(event) = self.wire.event(patience).unwrap() else { return false };
        let (Event::Confirm { delivery_tag, multiple } | Event::Refusal { delivery_tag, multiple }) = event else {
            panic!("{event:?}");
        };
        let settled: Vec<_> = if multiple {
            let later = self.unconfirmed.split_off(&(delivery_tag + 1));
            std::mem::replace(&mut self.unconfirmed, later).into_values().collect()
        } else {
            self.unconfirmed.remove(&delivery_tag).into_iter().collect()
        };
        assert!(!settled.is_empty(), "settled twice: {event:?}");
        if matches!(event, Event::Confirm { .. }) {
            self.confirmed += settled.len();
            for id in settled {
                self.ledger.confirmed(id);
            }
        } else {
            self.refused += settled.len();
        }
        true
    }

    /// Consumes and acknowledges so many messages on a connection of its own.
    fn take(&mut self, address: SocketAddr, count: usize) {
        let mut wire = Wire::open(address).unwrap();
        wire.consume(QUEUE, 100).unwrap();
        for _ in 0..count {
            let Some(Event::Delivery(arrival)) = wire.event(DEADLINE).unwrap() else { panic!("no message came") };
            let id = self.ledger.delivered(QUEUE, &arrival).unwrap();
            self.ledger.acked(QUEUE, id);
            wire.send(&BasicAck { delivery_tag: arrival.delivery_tag, multiple: false }).unwrap();
        }
        wire.close();
    }
}

fn audit(address: SocketAddr, ledger: &mut Ledger) {
    let mut wire = Wire::open(address).unwrap();
    let found = take_all(&mut wire, QUEUE).unwrap();
    ledger.audit(QUEUE, &found, Ending::Kill).unwrap_or_else(|complaint| panic!("{complaint}"));
    wire.close();
}

fn start(file_system: &FileSystem) -> Process {
    fs::create_dir_all(file_system.data()).unwrap();
    Process::start(&file_system.data())
}

fn new_ledger() -> Ledger {
    let mut ledger = Ledger::default();
    ledger.open(QUEUE, true);
    ledger
}

#[test]
fn consumers_go_on_while_the_disk_is_full_and_confirms_when_it_no_longer_is() {
    let Some(file_system) = FileSystem::mount() else { return };
    file_system.take_room();
    let mut broker = start(&file_system);
    let mut publisher = Publisher::new(broker.address, new_ledger(), 1);
    publisher.fill();
    let first = publisher.confirmed;
    assert!(first > 100, "only {first} messages were confirmed");
    assert!(!broker.is_dead(), "the broker has ended by itself");
    publisher.take(broker.address, first / 10);

    file_system.give_room();
    publisher.go_on(200);
    assert!(!broker.is_dead(), "the broker has ended by itself");

    publisher.fill();
    broker.kill();
    let broker = start(&file_system);
    audit(broker.address, &mut publisher.ledger);
    broker.terminate();
}

#[test]
fn what_was_confirmed_before_the_disk_was_full_survives() {
    let Some(file_system) = FileSystem::mount() else { return };
    file_system.take_room();
    let broker = start(&file_system);
    let mut publisher = Publisher::new(broker.address, new_ledger(), 1);
    publisher.fill();
    broker.kill();

    file_system.give_room();
    let broker = start(&file_system);
    let mut ledger = publisher.ledger;
    audit(broker.address, &mut ledger);
    let mut publisher = Publisher::new(broker.address, ledger, 2);
    publisher.go_on(200);
    broker.kill();

    let broker = start(&file_system);
    audit(broker.address, &mut publisher.ledger);
    broker.terminate();
}

#[test]
fn acknowledging_messages_makes_room_on_a_full_disk() {
    let Some(file_system) = FileSystem::mount() else { return };
    let broker = start(&file_system);
    let mut publisher = Publisher::new(broker.address, new_ledger(), 1);
    publisher.fill();
    let mut wire = Wire::open(broker.address).unwrap();
    let ready = wire.declare(&question(QUEUE)).unwrap();
    wire.close();
    assert!(ready >= publisher.confirmed.min(100), "{ready} messages are ready");
    publisher.take(broker.address, publisher.confirmed);
    publisher.go_on(200);
    broker.kill();

    let broker = start(&file_system);
    audit(broker.address, &mut publisher.ledger);
    broker.terminate();
}
