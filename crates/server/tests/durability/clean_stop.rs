//! A clean stop keeps all that is persistent: messages, their order, and which of them had been delivered before.

use std::collections::{BTreeSet, VecDeque};

use leveret_protocol::amqp091::method::{BasicAck, BasicGet, BasicNack};

use crate::audit::take_all;
use crate::message::{self, BODY_MAX, Id, Mandatory, Message, Mode, body};
use crate::process::Process;
use crate::random::Random;
use crate::wire::{DEADLINE, Event, Wire, durable_queue, question};

const QUEUES: [&str; 3] = ["little", "much", "untouched"];
const CYCLES: u32 = 6;

/// A message that has to be in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Expected {
    id: Id,
    size: usize,
    redelivered: bool,
}

#[test]
fn messages_order_counts_and_redelivered_flags_survive_a_clean_stop() {
    let seed = Random::seed();
    eprintln!("LEVERET_SEED={seed}");
    let mut random = Random::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut queues: [VecDeque<Expected>; 3] = Default::default();
    for cycle in 0..CYCLES {
        let broker = Process::start(folder.path());
        let mut wire = Wire::open(broker.address).unwrap();
        for (queue, expected) in QUEUES.iter().zip(&mut queues) {
            let count = wire.declare(&durable_queue(queue)).unwrap();
            assert_eq!(count, expected.len(), "cycle {cycle}: messages in {queue}");
            // A first look at some of them, the others are seen two cycles later at the latest.
            if cycle % 2 == 1 {
                compare(broker.address, queue, expected, cycle);
            }
        }
        publish(&mut wire, &mut queues, cycle, &mut random);
        for (queue, expected) in QUEUES.iter().zip(&mut queues).take(2) {
            take(&mut wire, queue, expected, &mut random);
        }
        // The client is there until the end, with messages that it has not acknowledged.
        broker.terminate();
        drop(wire);
    }
}

/// Compares a queue with what has to be there, which marks all of it as delivered.
fn compare(address: std::net::SocketAddr, queue: &str, expected: &mut VecDeque<Expected>, cycle: u32) {
    let mut wire = Wire::open(address).unwrap();
    let found = take_all(&mut wire, queue).unwrap();
    for (at, (arrival, expected)) in found.iter().zip(expected.iter()).enumerate() {
        let id = arrival.message_id.parse().unwrap();
        assert_eq!(
            Expected { id, size: arrival.body.len(), redelivered: arrival.redelivered },
            *expected,
            "cycle {cycle}: message {at} of {queue}"
        );
        assert_eq!(arrival.body, body(id, expected.size), "cycle {cycle}: body of message {at} of {queue}");
        assert_eq!(arrival.mode, Mode::Persistent, "cycle {cycle}: mode of message {at} of {queue}");
    }
    for message in expected {
        message.redelivered = true;
    }
    wire.close();
}

/// Publishes to all queues, persistent and transient messages in turn, and awaits the confirms.
fn publish(wire: &mut Wire, queues: &mut [VecDeque<Expected>; 3], cycle: u32, random: &mut Random) {
    wire.confirm_select().unwrap();
    let counts = [10, 400, 50];
    let mut published = 0_u32;
    for (at, count) in counts.into_iter().enumerate() {
        for _ in 0..count {
            published += 1;
            let mode = if random.percent(20) { Mode::Transient } else { Mode::Persistent };
            let size = if random.percent(2) { random.below(BODY_MAX) } else { message::size(random) };
            let id = Id { publisher: cycle, number: published };
            let message = Message { id, size, mode };
            wire.send_octets(&message.frames("", QUEUES[at], Mandatory::No)).unwrap();
            if mode == Mode::Persistent {
                queues[at].push_back(Expected { id, size, redelivered: false });
            }
        }
    }
    let mut unconfirmed: BTreeSet<_> = (1..=u64::from(published)).collect();
    while !unconfirmed.is_empty() {
        let Some(Event::Confirm { delivery_tag, multiple }) = wire.event(DEADLINE).unwrap() else {
            panic!("{} messages are not confirmed", unconfirmed.len());
        };
        assert!(unconfirmed.remove(&delivery_tag), "{delivery_tag} is confirmed twice");
        if multiple {
            unconfirmed = unconfirmed.split_off(&delivery_tag);
        }
    }
}

/// Takes messages one by one and acknowledges, gives back or holds them.
fn take(wire: &mut Wire, queue: &str, expected: &mut VecDeque<Expected>, random: &mut Random) {
    let mut acked = Vec::new();
    for _ in 0..expected.len() / 3 {
        wire.send(&BasicGet { ticket: 0, queue, no_ack: false }).unwrap();
        let Some(arrival) = wire.got().unwrap() else { break };
        let delivery_tag = arrival.delivery_tag;
        let id: Id = arrival.message_id.parse().unwrap();
        match random.below(5) {
            0 => {}
            1 => wire.send(&BasicNack { delivery_tag, multiple: false, requeue: true }).unwrap(),
            _ => {
                wire.send(&BasicAck { delivery_tag, multiple: false }).unwrap();
                acked.push(id);
            }
        }
        if let Some(message) = expected.iter_mut().find(|message| message.id == id) {
            message.redelivered = true;
        }
    }
    expected.retain(|message| !acked.contains(&message.id));
    // Acks are without answer; this one comes after them.
    wire.declare(&question(queue)).unwrap();
}
