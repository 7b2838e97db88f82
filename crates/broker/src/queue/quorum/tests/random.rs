//! Random commands: every message stays in one place, and a second queue that is told the octets of the same commands does the
//! same.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::Waker;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestCaseResult};

use super::*;
use crate::queue::{Classic, ConsumerId, Dead, Delivery, Overflow, Sink, Taken};

const DELIVERY_LIMIT: u32 = 2;
const DELAY_MS: u64 = 20;

/// A consumer that always has room.
#[derive(Debug, Clone, Default)]
struct OpenSink(Rc<RefCell<Vec<Delivery>>>);

impl Sink for OpenSink {
    fn room(&self) -> usize {
        1 << 30
    }

    fn deliver(&self, batch: &mut Vec<Delivery>) -> Option<Waker> {
        self.0.borrow_mut().append(batch);
        None
    }

    fn await_room(&self, _: u32) -> bool {
        false
    }
}

/// `who` and `first` count round, so that every operation does something whenever it can.
#[derive(Debug, Clone)]
enum Operation {
    Enqueue { priorities: Vec<Option<u8>> },
    Checkout { no_ack: bool, priority: i32, prefetch: u16 },
    Cancel { who: usize },
    Take { no_ack: bool },
    Settle { who: usize, first: usize, count: usize },
    Return { who: usize, first: usize, count: usize, cause: ReturnCause },
    Reject { who: usize, first: usize, count: usize },
    Purge,
    Wait { ms: u64 },
}

/// What somebody has that was handed out: positions in order.
#[derive(Debug)]
struct Holder {
    consumer: Option<ConsumerId>,
    no_ack: bool,
    alive: bool,
    held: Vec<Position>,
}

/// What came out of a queue: deliveries by their keys, the dead, and where the dropped stood.
type Out = (Vec<(u32, Position, bool)>, Vec<Dead>, Vec<Range<u64>>);

/// A queue and what came out of it.
struct Bench {
    queue: Classic<OpenSink>,
    sink: OpenSink,
}

impl Bench {
    fn new(settings: &QueueSettings) -> Self {
        let mut queue = Classic::quorum(Arc::new(NoProperties));
        queue.configure(settings);
        Self { queue, sink: OpenSink::default() }
    }

    fn apply(&mut self, at: Timestamp, command: Command) -> Outcome<OpenSink> {
        self.queue.apply(at, command, Some(self.sink.clone()))
    }

    /// What came out since the last look.
    fn take(&mut self) -> Out {
        let deliveries = std::mem::take(&mut *self.sink.0.borrow_mut());
        let deliveries = deliveries.into_iter().map(|d| (d.key, d.position, d.redelivered)).collect();
        (deliveries, self.queue.take_dead(), self.queue.take_dropped())
    }

    fn counts(&self) -> (usize, usize, usize, usize) {
        let queue = &self.queue;
        (queue.ready_count(), queue.unsettled_count(), queue.delayed_count(), queue.consumer_count())
    }
}

struct Model {
    one: Bench,
    /// Told the octets of what the first one was told.
    two: Bench,
    now: Timestamp,
    holders: Vec<Holder>,
    /// How often each message failed.
    failures: BTreeMap<Position, u32>,
    enqueued: usize,
    gone: usize,
    max_length: Option<u64>,
}

impl Model {
    fn tell(&mut self, command: &Command) -> Result<Outcome<OpenSink>, TestCaseError> {
        let mut octets = Vec::new();
        command.encode(self.now, &mut octets);
        let (same, at) = Command::decode(&octets).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let outcome = self.one.apply(self.now, command.clone());
        let other = self.two.apply(at, same);
        prop_assert_eq!(format!("{outcome:?}"), format!("{other:?}"));
        prop_assert_eq!(self.one.counts(), self.two.counts());
        let out = self.one.take();
        prop_assert_eq!(&out, &self.two.take());
        let (deliveries, dead, dropped) = out;
        for (key, position, _) in deliveries {
            self.holders[key as usize].held.push(position);
        }
        for Dead { position, reason, .. } in dead {
            let position = position.unwrap();
            self.gone += 1;
            let failures = self.failures.remove(&position).unwrap_or_default();
            let is_limit = reason == crate::properties::DeathReason::DeliveryLimit;
            prop_assert_eq!(is_limit, failures > DELIVERY_LIMIT, "{:?} {} {:?}", position, failures, reason);
        }
        prop_assert!(dropped.is_empty(), "somebody wants the dead");
        Ok(outcome)
    }

    fn pick(&mut self, who: usize, first: usize, count: usize) -> Option<(usize, Vec<Position>)> {
        let holding: Vec<_> = (0..self.holders.len()).filter(|index| !self.holders[*index].held.is_empty()).collect();
        let index = *holding.get(who % holding.len().max(1))?;
        let held = &mut self.holders[index].held;
        let first = first % held.len();
        let end = (first + count).min(held.len());
        Some((index, held.drain(first..end).collect()))
    }

    fn apply(&mut self, operation: Operation) -> TestCaseResult {
        match operation {
            Operation::Enqueue { priorities } => {
                let mut messages = Vec::new();
                for priority in priorities {
                    let mut draft = Draft::new(Vec::new(), "", "q");
                    if let Some(priority) = priority {
                        draft.set_priority(priority);
                    }
                    messages.push(draft.message());
                }
                self.enqueued += messages.len();
                self.tell(&Command::Enqueue { messages })?;
            }
            Operation::Checkout { no_ack, priority, prefetch } if self.holders.len() < 6 => {
                let key = u32::try_from(self.holders.len()).unwrap();
                self.holders.push(Holder { consumer: None, no_ack, alive: true, held: Vec::new() });
                let checkout = Checkout { key, tag: "tag".into(), no_ack, priority, prefetch };
                if let Outcome::Subscribed(consumer) = self.tell(&Command::Checkout(checkout))? {
                    self.holders[key as usize].consumer = Some(consumer.unwrap());
                }
            }
            Operation::Checkout { .. } => {}
            Operation::Cancel { who } => {
                let alive: Vec<_> = (0..self.holders.len()).filter(|index| self.holders[*index].alive).collect();
                let Some(index) = alive.get(who % alive.len().max(1)) else { return Ok(()) };
                let Some(consumer) = self.holders[*index].consumer else { return Ok(()) };
                self.holders[*index].alive = false;
                self.tell(&Command::Cancel { consumer })?;
                self.tell(&Command::HandOver { consumer })?;
            }
            Operation::Take { no_ack } => {
                if let Outcome::Taken(Taken::Message(position, ..)) = self.tell(&Command::Take { no_ack })? {
                    let holder = Holder { consumer: None, no_ack, alive: false, held: vec![position] };
                    self.holders.push(holder);
                }
            }
            Operation::Settle { who, first, count } => {
                let Some((holder, positions)) = self.pick(who, first, count) else { return Ok(()) };
                self.gone += positions.len();
                let Holder { consumer, no_ack, .. } = self.holders[holder];
                let count = if no_ack { 0 } else { u32::try_from(positions.len()).unwrap() };
                for position in &positions {
                    self.failures.remove(position);
                }
                let positions = positions.into_iter().map(|Position(at)| at..at + 1).collect();
                self.tell(&Command::Settle { consumer, count, positions })?;
            }
            Operation::Return { who, first, count, cause } => {
                let Some((holder, positions)) = self.pick(who, first, count) else { return Ok(()) };
                let Holder { consumer, no_ack: settled, .. } = self.holders[holder];
                if cause == ReturnCause::Failed {
                    for position in &positions {
                        *self.failures.entry(*position).or_default() += 1;
                    }
                }
                self.tell(&Command::Return { lots: vec![ReturnedLot { consumer, settled, cause, positions }] })?;
            }
            Operation::Reject { who, first, count } => {
                let Some((holder, positions)) = self.pick(who, first, count) else { return Ok(()) };
                if self.holders[holder].no_ack {
                    self.holders[holder].held.extend(positions);
                    return Ok(());
                }
                let consumer = self.holders[holder].consumer;
                self.tell(&Command::Reject { consumer, positions })?;
            }
            Operation::Purge => {
                if let Outcome::Purged(count, _) = self.tell(&Command::Purge)? {
                    self.gone += count;
                }
            }
            Operation::Wait { ms } => {
                self.now = self.now.plus_ms(ms);
                self.tell(&Command::Wake)?;
                if ms >= DELAY_MS {
                    prop_assert_eq!(self.one.queue.delayed_count(), 0);
                }
            }
        }
        self.check()
    }

    fn check(&self) -> TestCaseResult {
        let (ready, unsettled, delayed, _) = self.one.counts();
        let held: usize = self.holders.iter().map(|holder| holder.held.len()).sum();
        let unsettled_held: usize = self.holders.iter().filter(|holder| !holder.no_ack).map(|h| h.held.len()).sum();
        prop_assert_eq!(ready + delayed + held + self.gone, self.enqueued, "every message is in one place");
        prop_assert_eq!(unsettled, unsettled_held);
        if let Some(max_length) = self.max_length {
            prop_assert!(ready as u64 <= max_length);
        }
        let quorum = self.one.queue.quorum_part();
        prop_assert_eq!(quorum.held.len(), held);
        let (bodies, octets) = quorum
            .returned
            .iter()
            .fold((0, 0), |(bodies, octets), (_, message)| (bodies + message.body_size(), octets + message.size()));
        let delayed: usize = quorum.delayed.values().map(|(_, message)| message.size()).sum();
        prop_assert_eq!((quorum.body_bytes, quorum.bytes), (bodies, octets + delayed));
        Ok(())
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let some = || (0..64_usize, 0..64_usize, prop_oneof![3 => 1..4_usize, 1 => Just(100)]);
    let cause = prop_oneof![
        2 => Just(ReturnCause::Failed),
        2 => Just(ReturnCause::Requeued),
        1 => Just(ReturnCause::Unread)
    ];
    let priorities = prop::collection::vec(prop::option::of(0..40_u8), 1..12);
    prop_oneof![
        8 => priorities.prop_map(|priorities| Operation::Enqueue { priorities }),
        3 => (any::<bool>(), 0..3_i32, 0..4_u16)
            .prop_map(|(no_ack, priority, prefetch)| Operation::Checkout { no_ack, priority, prefetch }),
        1 => (0..64_usize).prop_map(|who| Operation::Cancel { who }),
        2 => any::<bool>().prop_map(|no_ack| Operation::Take { no_ack }),
        6 => some().prop_map(|(who, first, count)| Operation::Settle { who, first, count }),
        6 => (some(), cause).prop_map(|((who, first, count), cause)| Operation::Return { who, first, count, cause }),
        2 => some().prop_map(|(who, first, count)| Operation::Reject { who, first, count }),
        1 => Just(Operation::Purge),
        3 => (1..30_u64).prop_map(|ms| Operation::Wait { ms }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_commands_keep_every_message_in_one_place_and_a_second_queue_in_step(
        single_active_consumer in any::<bool>(),
        is_delayed in any::<bool>(),
        max_length in prop::option::of(1..20_u64),
        operations in prop::collection::vec(operation(), 1..200),
    ) {
        let settings = QueueSettings {
            single_active_consumer,
            max_length,
            overflow: Overflow::DropHead,
            delivery_limit: Some(DELIVERY_LIMIT),
            delayed_retry: is_delayed.then_some(DelayedRetry { which: Retried::Failed, min_ms: 5, max_ms: DELAY_MS }),
            dead_letter: Some(crate::queue::DeadLetterTo {
                exchange: "".into(),
                routing_key: None,
                strategy: crate::queue::DeadLetterStrategy::AtMostOnce,
            }),
            ..QueueSettings::default()
        };
        let (one, two) = (Bench::new(&settings), Bench::new(&settings));
        let mut model = Model {
            one,
            two,
            now: Timestamp(1000),
            holders: Vec::new(),
            failures: BTreeMap::new(),
            enqueued: 0,
            gone: 0,
            max_length,
        };
        for (step, operation) in operations.into_iter().enumerate() {
            let shown = format!("step {step}, {operation:?}");
            model.apply(operation).map_err(|error| TestCaseError::fail(format!("{shown}: {error}")))?;
        }
    }
}
