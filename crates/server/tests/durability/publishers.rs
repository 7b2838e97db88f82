//! Clients that publish.

use std::collections::BTreeMap;
use std::time::Duration;

use leveret_protocol::amqp091::Method;
use leveret_protocol::amqp091::method::{TxCommit, TxRollback};

use crate::kill::World;
use crate::message::{self, BODY_MAX, Id, Mandatory, Message, Mode};
use crate::random::Random;
use crate::wire::{DEADLINE, Event, Gone, Wire};

/// Where a message is published to, and where it gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target {
    pub(crate) exchange: &'static str,
    pub(crate) key: &'static str,
    pub(crate) queues: &'static [&'static str],
}

/// What a publisher does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Habit {
    pub(crate) acknowledgement: Acknowledgement,
    pub(crate) targets: &'static [Target],
    pub(crate) transient_percent: usize,
    pub(crate) mandatory_percent: usize,
    /// Messages of up to [`BODY_MAX`].
    pub(crate) large_percent: usize,
}

/// How a publisher learns what has become of its messages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Acknowledgement {
    /// By confirms, with so many messages waiting for theirs.
    Confirms(usize),
    /// By transactions of at most so many messages.
    Transactions(usize),
}

/// Publishes until it is told to stop, or the broker is gone.
pub(crate) fn publish(mut wire: Wire, world: &World, publisher: u32, habit: &Habit, random: &mut Random) {
    let mut desk = Desk { world, publisher, habit, random, number: 0 };
    let outcome = match habit.acknowledgement {
        Acknowledgement::Confirms(window) => desk.with_confirms(&mut wire, window),
        Acknowledgement::Transactions(length) => desk.in_transactions(&mut wire, length),
    };
    if outcome.is_ok() {
        wire.close();
    }
}

struct Desk<'a> {
    world: &'a World,
    publisher: u32,
    habit: &'a Habit,
    random: &'a mut Random,
    number: u32,
}

impl Desk<'_> {
    /// The next message, entered in the ledger, and the frames that publish it.
    fn next(&mut self) -> (Id, Vec<u8>) {
        let (habit, random) = (self.habit, &mut *self.random);
        self.number += 1;
        let id = Id { publisher: self.publisher, number: self.number };
        let large = random.percent(habit.large_percent);
        let size = if large { random.below(BODY_MAX) } else { message::size(random) };
        let mode = if random.percent(habit.transient_percent) { Mode::Transient } else { Mode::Persistent };
        let mandatory = if random.percent(habit.mandatory_percent) { Mandatory::Yes } else { Mandatory::No };
        let target = habit.targets[random.below(habit.targets.len())];
        let message = Message { id, size, mode };
        self.world.ledger.lock().sent(&message, target.queues);
        (id, message.frames(target.exchange, target.key, mandatory))
    }

    fn with_confirms(&mut self, wire: &mut Wire, window: usize) -> Result<(), Gone> {
        wire.confirm_select()?;
        let mut open = Open::default();
        while !self.world.is_over() {
            if open.unconfirmed.len() < window {
                let (id, frames) = self.next();
                open.unconfirmed.insert(u64::from(self.number), id);
                wire.send_octets(&frames)?;
            }
            let patience = if open.unconfirmed.len() < window { Duration::ZERO } else { DEADLINE };
            if let Some(event) = wire.event(patience)? {
                open.settle(self.world, &event);
            } else {
                assert!(patience.is_zero(), "no confirm within {DEADLINE:?}");
            }
        }
        while !open.unconfirmed.is_empty() {
            let event = wire.event(DEADLINE)?.expect("a confirm in time");
            open.settle(self.world, &event);
        }
        Ok(())
    }

    fn in_transactions(&mut self, wire: &mut Wire, length: usize) -> Result<(), Gone> {
        wire.tx_select()?;
        while !self.world.is_over() {
            let mut pending = Vec::new();
            let sent = self.fill(wire, length, &mut pending);
            // What nobody has asked to commit must not show.
            if sent.is_err() || self.random.percent(10) {
                let mut ledger = self.world.ledger.lock();
                for id in pending {
                    ledger.withdrawn(id, "was never committed");
                }
                drop(ledger);
                sent?;
                wire.call(&TxRollback {}, |method| matches!(method, Method::TxRollbackOk(_)).then_some(()))?;
                continue;
            }
            wire.call(&TxCommit {}, |method| matches!(method, Method::TxCommitOk(_)).then_some(()))?;
            let mut ledger = self.world.ledger.lock();
            for id in pending {
                ledger.confirmed(id);
            }
        }
        Ok(())
    }

    fn fill(&mut self, wire: &mut Wire, length: usize, pending: &mut Vec<Id>) -> Result<(), Gone> {
        for _ in 0..=self.random.below(length) {
            let (id, frames) = self.next();
            pending.push(id);
            wire.send_octets(&frames)?;
        }
        Ok(())
    }
}

/// Messages that wait for their confirm.
#[derive(Default)]
struct Open {
    unconfirmed: BTreeMap<u64, Id>,
}

impl Open {
    fn settle(&mut self, world: &World, event: &Event) {
        match event {
            Event::Returned(arrival) => {
                world.ledger.lock().withdrawn(arrival.message_id.parse().unwrap(), "was returned");
            }
            Event::Confirm { delivery_tag, multiple } => {
                let mut ledger = world.ledger.lock();
                let id = self.unconfirmed.remove(delivery_tag);
                ledger.confirmed(id.unwrap_or_else(|| panic!("publish {delivery_tag} is confirmed twice")));
                if *multiple {
                    let later = self.unconfirmed.split_off(delivery_tag);
                    let confirmed = std::mem::replace(&mut self.unconfirmed, later);
                    for id in confirmed.into_values() {
                        ledger.confirmed(id);
                    }
                }
            }
            other => panic!("to a publisher: {other:?}"),
        }
    }
}
