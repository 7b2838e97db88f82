//! Dead letters between durable queues while the broker is killed: a message is in the one or in the other, never in none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Instant;

use leveret_protocol::amqp091::Value;
use leveret_protocol::amqp091::method::{BasicAck, BasicGet, BasicReject};
use parking_lot::Mutex;

use crate::message::{self, Id, Mandatory, Message, Mode};
use crate::process::Process;
use crate::random::Random;
use crate::settings::queue_with;
use crate::wire::{DEADLINE, Event, Gone, Wire, durable_queue};

/// Queues whose messages die, and what they die of besides rejections.
const SOURCES: [(&str, Option<(&str, Value<'static>)>); 4] = [
    ("rejected", None),
    ("expired", Some(("x-message-ttl", Value::I32(10)))),
    ("expired-at-once", Some(("x-message-ttl", Value::I32(0)))),
    ("full", Some(("x-max-length", Value::I32(3)))),
];
/// Where they go.
const TARGET: &str = "dead";
const ROUNDS: u32 = 8;
/// So many times a publisher has got its confirms before a kill, at most.
const WINDOWS_MAX: usize = 30;
/// Messages whose confirms are awaited at a time.
const WINDOW: u64 = 20;

/// What must not be lost.
#[derive(Default)]
struct Owed {
    /// Confirmed, and not acknowledged by a taker.
    messages: BTreeSet<Id>,
    /// Acknowledged by a taker, which may be before the confirm comes.
    taken: BTreeSet<Id>,
}

#[test]
fn a_message_that_dies_between_durable_queues_survives_kill_dash_nine() {
    let seed = Random::seed();
    eprintln!("LEVERET_SEED={seed}");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let owed = Arc::new(Mutex::new(Owed::default()));
    let (mut confirmed, mut copies) = (0, 0);
    for round in 0..=ROUNDS {
        let broker = Process::start(folder.path());
        declare(broker.address);
        copies += audit(broker.address, &mut owed.lock(), round);
        if round == ROUNDS {
            break;
        }
        let (ticks, ticked) = mpsc::channel();
        let mut clients = Vec::new();
        for name in [2 * round, 2 * round + 1] {
            let wire = Wire::open(broker.address).unwrap();
            let (owed, ticks, mut random) = (Arc::clone(&owed), ticks.clone(), random.fork());
            clients.push(thread::spawn(move || publish(wire, &owed, name, &ticks, &mut random)));
        }
        let (wire, other) = (Wire::open(broker.address).unwrap(), Wire::open(broker.address).unwrap());
        clients.push(thread::spawn(move || reject(wire)));
        let (owed, mut taking) = (Arc::clone(&owed), random.fork());
        clients.push(thread::spawn(move || take(other, &owed, &mut taking)));
        for _ in 0..=random.below(WINDOWS_MAX) {
            ticked.recv_timeout(DEADLINE).unwrap();
            confirmed += WINDOW;
        }
        broker.kill();
        for client in clients {
            // The broker was killed under it.
            let _ = client.join().unwrap();
        }
    }
    eprintln!("{confirmed} messages and more, {copies} of them more than once");
}

fn declare(address: SocketAddr) {
    let mut wire = Wire::open(address).unwrap();
    wire.declare(&durable_queue(TARGET)).unwrap();
    for (queue, more) in SOURCES {
        let mut arguments = vec![
            ("x-dead-letter-exchange", Value::LongStr(b"")),
            ("x-dead-letter-routing-key", Value::LongStr(TARGET.as_bytes())),
        ];
        arguments.extend(more);
        wire.declare(&queue_with(queue, &arguments)).unwrap();
    }
    wire.close();
}

/// Finds everything that is owed, and takes it; how many messages were there more than once.
fn audit(address: SocketAddr, owed: &mut Owed, round: u32) -> usize {
    let mut wire = Wire::open(address).unwrap();
    let (mut found, mut copies) = (BTreeSet::new(), 0);
    let end = Instant::now() + DEADLINE;
    // Messages go on dying meanwhile.
    while !owed.messages.is_empty() {
        let (lost, some) = (owed.messages.len(), owed.messages.iter().take(20).collect::<Vec<_>>());
        assert!(Instant::now() < end, "round {round}: {lost} messages are lost: {some:?}");
        for queue in SOURCES.iter().map(|(queue, _)| *queue).chain([TARGET]) {
            wire.send(&BasicGet { ticket: 0, queue, no_ack: false }).unwrap();
            let Some(arrival) = wire.got().unwrap() else { continue };
            let id: Id = arrival.message_id.parse().unwrap();
            assert_eq!(arrival.mode, Mode::Persistent, "mode of {id} in {queue}");
            assert_eq!(arrival.body, message::body(id, arrival.body.len()), "body of {id} in {queue}");
            wire.send(&BasicAck { delivery_tag: arrival.delivery_tag, multiple: false }).unwrap();
            owed.messages.remove(&id);
            owed.taken.insert(id);
            copies += usize::from(!found.insert(id));
        }
    }
    wire.close();
    copies
}

/// Publishes to all sources in turn and awaits the confirms, a window at a time.
fn publish(mut wire: Wire, owed: &Mutex<Owed>, name: u32, ticks: &Sender<()>, random: &mut Random) -> Result<(), Gone> {
    wire.confirm_select()?;
    let mut first = 1;
    loop {
        let mut open = BTreeMap::new();
        for tag in first..first + WINDOW {
            let id = Id { publisher: name, number: u32::try_from(tag).unwrap() };
            let message = Message { id, size: message::size(random), mode: Mode::Persistent };
            let (queue, _) = SOURCES[random.below(SOURCES.len())];
            wire.send_octets(&message.frames("", queue, Mandatory::No))?;
            open.insert(tag, id);
        }
        while !open.is_empty() {
            let Some(Event::Confirm { delivery_tag, multiple }) = wire.event(DEADLINE)? else {
                panic!("{} messages are not confirmed", open.len());
            };
            let mut owed = owed.lock();
            let confirmed = if multiple { 0..=delivery_tag } else { delivery_tag..=delivery_tag };
            for (_, id) in open.extract_if(confirmed, |_, _| true) {
                if !owed.taken.contains(&id) {
                    owed.messages.insert(id);
                }
            }
        }
        // Nobody counts any more when the kill is near.
        let _ = ticks.send(());
        first += WINDOW;
    }
}

/// Rejects what comes.
fn reject(mut wire: Wire) -> Result<(), Gone> {
    wire.consume("rejected", 50)?;
    loop {
        if let Some(Event::Delivery(arrival)) = wire.event(DEADLINE)? {
            wire.send(&BasicReject { delivery_tag: arrival.delivery_tag, requeue: false })?;
        }
    }
}

/// Takes dead letters and acknowledges most of them; from before the ack on they are no longer owed.
fn take(mut wire: Wire, owed: &Mutex<Owed>, random: &mut Random) -> Result<(), Gone> {
    wire.consume(TARGET, 100)?;
    loop {
        let Some(Event::Delivery(arrival)) = wire.event(DEADLINE)? else { continue };
        if random.percent(90) {
            let id: Id = arrival.message_id.parse().unwrap();
            let mut owed = owed.lock();
            owed.messages.remove(&id);
            owed.taken.insert(id);
            drop(owed);
            wire.send(&BasicAck { delivery_tag: arrival.delivery_tag, multiple: false })?;
        }
    }
}
