//! Clients that take messages, and clear queues.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use leveret_protocol::amqp091::Method;
use leveret_protocol::amqp091::Table;
use leveret_protocol::amqp091::method::{BasicAck, BasicGet, BasicNack, QueueBind, QueueDelete, QueuePurge, TxCommit};

use crate::kill::World;
use crate::message::Id;
use crate::random::Random;
use crate::wire::{Arrival, Event, Gone, Wire, durable_queue};

/// How long a client waits before it looks whether the round is over, or the queue no longer empty.
const GLANCE: Duration = Duration::from_millis(5);
/// Messages a client holds back at most.
const HELD_MAX: usize = 50;

/// What a consumer does with its messages.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Habit {
    /// Acknowledges each.
    Each,
    /// Acknowledges all up to every so manieth.
    Multiple(usize),
    /// Acknowledges most and gives the others back.
    Picky,
    /// Holds all it gets.
    Hoarder,
    /// Acknowledges in transactions of so many.
    Transactions(usize),
}

/// Consumes until it is told to stop, or the broker is gone.
pub(crate) fn consume(mut wire: Wire, world: &World, queue: &'static str, habit: Habit, random: &mut Random) {
    let mut consumer = Consumer { world, queue, habit, random, held: BTreeMap::new(), last: HashMap::new() };
    if consumer.run(&mut wire).is_ok() {
        wire.close();
    }
}

struct Consumer<'a> {
    world: &'a World,
    queue: &'static str,
    habit: Habit,
    random: &'a mut Random,
    held: BTreeMap<u64, Id>,
    /// The latest message of each publisher that came for the first time.
    last: HashMap<u32, u32>,
}

impl Consumer<'_> {
    fn run(&mut self, wire: &mut Wire) -> Result<(), Gone> {
        if matches!(self.habit, Habit::Transactions(_)) {
            wire.tx_select()?;
        }
        wire.consume(self.queue, 60)?;
        while !self.world.is_over() {
            match wire.event(GLANCE)? {
                Some(Event::Delivery(arrival)) => self.take(wire, &arrival)?,
                Some(other) => panic!("to a consumer: {other:?}"),
                None => {}
            }
        }
        Ok(())
    }

    fn take(&mut self, wire: &mut Wire, arrival: &Arrival) -> Result<(), Gone> {
        let id =
            self.world.ledger.lock().delivered(self.queue, arrival).unwrap_or_else(|complaint| panic!("{complaint}"));
        if !arrival.redelivered
            && let Some(before) = self.last.insert(id.publisher, id.number)
        {
            assert!(before < id.number, "{}: {id} was delivered after {}.{before}", self.queue, id.publisher);
        }
        let tag = arrival.delivery_tag;
        self.held.insert(tag, id);
        match self.habit {
            Habit::Each => self.ack(wire, tag, false),
            Habit::Multiple(every) if self.held.len() >= every => self.ack(wire, tag, true),
            Habit::Picky if self.random.percent(20) => {
                let multiple = self.random.percent(30);
                self.settled(tag, multiple);
                wire.send(&BasicNack { delivery_tag: tag, multiple, requeue: true })
            }
            Habit::Picky if self.random.percent(60) => self.ack(wire, tag, false),
            Habit::Transactions(every) if self.held.len() >= every => {
                self.ack(wire, tag, true)?;
                wire.call(&TxCommit {}, |method| matches!(method, Method::TxCommitOk(_)).then_some(()))
            }
            Habit::Picky | Habit::Multiple(_) | Habit::Hoarder | Habit::Transactions(_) => Ok(()),
        }
    }

    fn ack(&mut self, wire: &mut Wire, delivery_tag: u64, multiple: bool) -> Result<(), Gone> {
        let settled = self.settled(delivery_tag, multiple);
        let mut ledger = self.world.ledger.lock();
        for id in settled {
            ledger.acked(self.queue, id);
        }
        drop(ledger);
        wire.send(&BasicAck { delivery_tag, multiple })
    }

    /// The messages that settling a delivery settles.
    fn settled(&mut self, tag: u64, multiple: bool) -> Vec<Id> {
        if !multiple {
            return self.held.remove(&tag).into_iter().collect();
        }
        let later = self.held.split_off(&(tag + 1));
        std::mem::replace(&mut self.held, later).into_values().collect()
    }
}

/// How a client that asks for single messages may clear the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clearing {
    Never,
    Purge,
    Delete,
}

/// Asks for messages, and clears the queue, until it is told to stop, or the broker is gone. Nobody else takes messages
/// from a queue that is cleared: this client knows which of them it holds.
pub(crate) fn get(mut wire: Wire, world: &World, queue: &'static str, clearing: Clearing, random: &mut Random) {
    let mut getter = Getter { world, queue, held: BTreeMap::new() };
    if getter.run(&mut wire, clearing, random).is_ok() {
        wire.close();
    }
}

struct Getter<'a> {
    world: &'a World,
    queue: &'static str,
    held: BTreeMap<u64, Id>,
}

impl Getter<'_> {
    fn run(&mut self, wire: &mut Wire, clearing: Clearing, random: &mut Random) -> Result<(), Gone> {
        while !self.world.is_over() {
            match random.below(100) {
                0..5 if clearing == Clearing::Purge => self.purge(wire)?,
                0..5 if clearing == Clearing::Delete => self.delete(wire)?,
                0..15 => self.take(wire)?,
                _ => self.get(wire, random)?,
            }
        }
        Ok(())
    }

    /// Takes a message without acknowledgement.
    fn take(&mut self, wire: &mut Wire) -> Result<(), Gone> {
        self.world.ledger.lock().taking(self.queue);
        wire.send(&BasicGet { ticket: 0, queue: self.queue, no_ack: true })?;
        let got = wire.got()?;
        self.world.ledger.lock().taken(self.queue, got.as_ref()).unwrap_or_else(|complaint| panic!("{complaint}"));
        Ok(())
    }

    fn get(&mut self, wire: &mut Wire, random: &mut Random) -> Result<(), Gone> {
        wire.send(&BasicGet { ticket: 0, queue: self.queue, no_ack: false })?;
        let Some(arrival) = wire.got()? else {
            // Nothing comes unasked: this only lets others work.
            let event = wire.event(GLANCE)?;
            assert!(event.is_none(), "to one who only asks: {event:?}");
            return Ok(());
        };
        let mut ledger = self.world.ledger.lock();
        let id = ledger.delivered(self.queue, &arrival).unwrap_or_else(|complaint| panic!("{complaint}"));
        let delivery_tag = arrival.delivery_tag;
        match random.below(10) {
            0 if self.held.len() < HELD_MAX => {
                self.held.insert(delivery_tag, id);
                Ok(())
            }
            1 => wire.send(&BasicNack { delivery_tag, multiple: false, requeue: true }),
            _ => {
                ledger.acked(self.queue, id);
                wire.send(&BasicAck { delivery_tag, multiple: false })
            }
        }
    }

    fn purge(&mut self, wire: &mut Wire) -> Result<(), Gone> {
        let kept: BTreeSet<_> = self.held.values().copied().collect();
        self.world.ledger.lock().clearing(self.queue);
        let purge = QueuePurge { ticket: 0, queue: self.queue, no_wait: false };
        wire.call(&purge, |method| matches!(method, Method::QueuePurgeOk(_)).then_some(()))?;
        let mut ledger = self.world.ledger.lock();
        ledger.cleared(self.queue, &kept, "was purged");
        ledger.clearing_over(self.queue, &kept);
        Ok(())
    }

    /// Deletes the queue and makes it anew under the same name.
    fn delete(&mut self, wire: &mut Wire) -> Result<(), Gone> {
        // What it holds is gone with the queue.
        let none = BTreeSet::new();
        self.held.clear();
        self.world.ledger.lock().clearing(self.queue);
        let delete = QueueDelete { ticket: 0, queue: self.queue, if_unused: false, if_empty: false, no_wait: false };
        wire.call(&delete, |method| matches!(method, Method::QueueDeleteOk(_)).then_some(()))?;
        self.world.ledger.lock().cleared(self.queue, &none, "went with its queue");
        wire.declare(&durable_queue(self.queue))?;
        bind(wire, self.queue)?;
        self.world.ledger.lock().clearing_over(self.queue, &none);
        Ok(())
    }
}

/// Binds a queue to the exchange that all messages of some publishers go through.
pub(crate) fn bind(wire: &mut Wire, queue: &str) -> Result<(), Gone> {
    let (exchange, routing_key, arguments) = ("all", "", Table::default());
    let bind = QueueBind { ticket: 0, queue, exchange, routing_key, no_wait: false, arguments };
    wire.call(&bind, |method| matches!(method, Method::QueueBindOk(_)).then_some(()))
}
