//! Random operations agree with a model that keeps every message's fate in a plain list.
//!
//! Within one operation a queue hands messages out in the order of their positions, so sorting what the sinks got gives
//! the order of the hand-outs, and each can be judged by who could have taken it.
//!
//! Some of the messages leave memory on the way, and are read back in pieces, late, or not at all.

use crate::Weight;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestCaseResult};

use super::*;

const CONSUMERS_MAX: usize = 4;

/// What a consumer asks for.
#[derive(Debug, Clone)]
struct Spec {
    no_ack: bool,
    priority: i32,
    prefetch: u16,
    capacity: usize,
}

/// `who` and `first` count round, so that every operation does something whenever it can.
#[derive(Debug, Clone)]
enum Operation {
    Enqueue {
        body_sizes: Vec<usize>,
    },
    Subscribe(Spec),
    /// A consumer goes; what it has not read it gives back or keeps.
    Unsubscribe {
        who: usize,
        gives_back: bool,
    },
    Read {
        who: usize,
    },
    Settle {
        who: usize,
        first: usize,
        count: usize,
    },
    Requeue {
        who: usize,
        first: usize,
        count: usize,
    },
    Resume {
        who: usize,
    },
    Get {
        no_ack: bool,
    },
    Purge,
    /// All but so many of the last messages are on disk, and may leave memory.
    PageOut {
        but: usize,
        front_kept: usize,
    },
    /// What the queue wants to be read back is asked for.
    Ask,
    /// So many of the messages that were asked for are there; of every so many one is damaged.
    Answer {
        count: usize,
        damaged_every: usize,
    },
}

/// What is on disk when the queue is made.
#[derive(Debug, Clone)]
struct Before {
    /// By position: whether a message stands there.
    live: Vec<bool>,
    delivered_before: u64,
}

/// Where a message is: always in exactly one of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Ready { redelivered: bool },
    Unsettled { holder: usize },
    Settled,
    Purged,
    Damaged,
}

/// A consumer, here or gone, or whoever uses basic.get.
struct Holder {
    id: Option<ConsumerId>,
    spec: Spec,
    sink: TestSink,
    alive: bool,
    /// Octets in the sink.
    unread: usize,
    /// How many of the sink's deliveries the model knows.
    seen: usize,
    /// Read and unsettled.
    held: Vec<(Position, Message)>,
}

struct Model {
    queue: Classic<TestSink>,
    /// By position.
    messages: Vec<(Fate, Message)>,
    /// Everything before this position is on disk.
    on_disk: u64,
    /// What was asked for.
    asked: Option<Range<u64>>,
    /// The first one is basic.get.
    holders: Vec<Holder>,
    /// How many messages one holder got while another could have, since that one's last turn. With at most one, the counts
    /// of two that stay ready differ by at most one, and nobody starves.
    overtakes: Vec<Vec<usize>>,
    delivered: u64,
}

impl Model {
    fn new(before: Option<Before>) -> Self {
        let (mut queue, mut messages) = (Classic::default(), Vec::new());
        if let Some(Before { live, delivered_before }) = before {
            let next = live.len() as u64;
            let first = live.iter().position(|is_live| *is_live).map_or(next, |first| first as u64);
            let count = live.iter().filter(|is_live| **is_live).count();
            queue.restore(0, Restored { first, next, messages: count, delivered_before });
            for (position, is_live) in (0..).zip(live) {
                let fate =
                    if is_live { Fate::Ready { redelivered: position < delivered_before } } else { Fate::Settled };
                messages.push((fate, numbered(position, 4)));
            }
            // Messages that did not survive may have been handed out behind those that did.
            let next = next.max(delivered_before);
            messages.extend((messages.len() as u64..next).map(|position| (Fate::Settled, numbered(position, 4))));
        }
        let mut model = Self {
            queue,
            on_disk: messages.len() as u64,
            messages,
            asked: None,
            holders: Vec::new(),
            overtakes: Vec::new(),
            delivered: 0,
        };
        let nobody = Spec { no_ack: false, priority: 0, prefetch: 0, capacity: 0 };
        model.add_holder(None, nobody, TestSink::new(0));
        model
    }

    fn add_holder(&mut self, id: Option<ConsumerId>, spec: Spec, sink: TestSink) {
        let alive = id.is_some();
        self.holders.push(Holder { id, spec, sink, alive, unread: 0, seen: 0, held: Vec::new() });
        self.overtakes.iter_mut().for_each(|others| others.push(0));
        self.overtakes.push(vec![0; self.holders.len()]);
    }

    fn ready(&self) -> Vec<u64> {
        let ready = |(fate, _): &(Fate, Message)| matches!(fate, Fate::Ready { .. });
        (0..).zip(&self.messages).filter(|(_, message)| ready(message)).map(|(position, _)| position).collect()
    }

    fn never_handed_out(&self, position: u64) -> bool {
        self.messages[usize::try_from(position).unwrap()].0 == Fate::Ready { redelivered: false }
    }

    fn unsettled_by(&self, holder: usize) -> usize {
        self.messages.iter().filter(|(fate, _)| *fate == Fate::Unsettled { holder }).count()
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.holders.len()).filter(|holder| self.holders[*holder].alive).collect()
    }

    /// Consumers that can take a message.
    fn able(&self) -> Vec<usize> {
        let can = |index: &usize| {
            let Holder { spec, unread, .. } = &self.holders[*index];
            let limit = usize::from(spec.prefetch);
            let credit = spec.no_ack || limit == 0 || self.unsettled_by(*index) < limit;
            credit && *unread < spec.capacity
        };
        self.alive().into_iter().filter(can).collect()
    }

    fn pick(among: &[usize], which: usize) -> Option<usize> {
        among.get(which % among.len().max(1)).copied()
    }

    /// A holder with something to settle, and what it settles.
    fn pick_held(&mut self, who: usize, first: usize, count: usize) -> Option<(usize, Vec<(Position, Message)>)> {
        let holding: Vec<usize> = (0..self.holders.len()).filter(|i| !self.holders[*i].held.is_empty()).collect();
        let holder = Self::pick(&holding, who)?;
        let held = &mut self.holders[holder].held;
        let first = first % held.len();
        let end = (first + count).min(held.len());
        Some((holder, held.drain(first..end).collect()))
    }

    fn set(&mut self, positions: &[(Position, Message)], fate: Fate) {
        for (position, _) in positions {
            self.messages[usize::try_from(position.0).unwrap()].0 = fate;
        }
    }

    fn apply(&mut self, operation: Operation) -> TestCaseResult {
        match operation {
            Operation::Enqueue { body_sizes } => {
                let mut batch = Vec::new();
                for size in body_sizes {
                    let position = u64::try_from(self.messages.len()).unwrap();
                    let message = numbered(position, size);
                    self.messages.push((Fate::Ready { redelivered: false }, message.clone()));
                    batch.push(message);
                }
                self.queue.enqueue(&mut batch);
            }
            Operation::Subscribe(spec) if self.alive().len() < CONSUMERS_MAX => {
                let sink = TestSink::new(spec.capacity);
                let Spec { no_ack, priority, prefetch, .. } = spec;
                let key = u32::try_from(self.holders.len()).unwrap();
                let (tag, exclusive, shared) = ("".into(), false, None);
                let sub = Subscription {
                    sink: sink.clone(),
                    key,
                    tag,
                    no_ack,
                    exclusive,
                    priority,
                    prefetch,
                    shared,
                    subscriber: Subscriber::default(),
                };
                let id = self.queue.subscribe(sub).map_err(|error| TestCaseError::fail(error.to_string()))?;
                self.add_holder(Some(id), spec, sink);
            }
            Operation::Unsubscribe { who, gives_back } => {
                let Some(holder) = Self::pick(&self.alive(), who) else { return Ok(()) };
                self.unsubscribe(holder, gives_back)?;
            }
            Operation::Read { who } => {
                let Some(holder) = Self::pick(&self.alive(), who) else { return Ok(()) };
                self.read(holder);
                let reader = &self.holders[holder];
                for key in reader.sink.take_asked() {
                    prop_assert_eq!(key as usize, holder);
                    self.queue.resume(reader.id.unwrap());
                }
            }
            Operation::Settle { who, first, count } => {
                let Some((holder, settled)) = self.pick_held(who, first, count) else { return Ok(()) };
                self.set(&settled, Fate::Settled);
                self.queue.settle(self.holders[holder].id, u32::try_from(settled.len()).unwrap(), Weight::default());
            }
            Operation::Requeue { who, first, count } => {
                let Some((holder, mut messages)) = self.pick_held(who, first, count) else { return Ok(()) };
                self.set(&messages, Fate::Ready { redelivered: true });
                self.queue.requeue(self.holders[holder].id, &mut messages);
                prop_assert!(messages.is_empty());
            }
            Operation::Resume { who } => {
                let Some(holder) = Self::pick(&self.alive(), who) else { return Ok(()) };
                self.queue.resume(self.holders[holder].id.unwrap());
            }
            Operation::Get { no_ack } => self.get(no_ack)?,
            Operation::Purge => {
                let waiting = self.ready();
                let (count, dropped) = self.queue.purge();
                prop_assert_eq!(count, waiting.len());
                prop_assert!(dropped.is_sorted_by(|one, two| one.end <= two.start), "{dropped:?}");
                // Positions that nothing waits at may be among them, but none of what is out.
                let is_out = |(fate, _): &(Fate, Message)| matches!(fate, Fate::Unsettled { .. });
                let named: Vec<u64> = dropped.into_iter().flatten().collect();
                prop_assert!(waiting.iter().all(|position| named.binary_search(position).is_ok()));
                prop_assert!(!named.iter().any(|position| is_out(&self.messages[usize::try_from(*position).unwrap()])));
                for position in waiting {
                    self.messages[usize::try_from(position).unwrap()].0 = Fate::Purged;
                }
            }
            Operation::Subscribe(_) => {}
            Operation::PageOut { but, front_kept } => {
                self.on_disk = self.on_disk.max(self.messages.len().saturating_sub(but) as u64);
                self.queue.lanes_mut().lane_mut(0).page_out(self.on_disk, front_kept);
            }
            Operation::Ask => self.asked = self.asked.take().or_else(|| self.queue.lanes().lane(0)?.wanted(512 * 1024)),
            Operation::Answer { count, damaged_every } => self.answer(count, damaged_every),
        }
        self.check()
    }

    /// What was asked for comes, even if it was purged meanwhile.
    fn answer(&mut self, count: usize, damaged_every: usize) {
        let Some(asked) = self.asked.take() else { return };
        let range = usize::try_from(asked.start).unwrap()..usize::try_from(asked.end).unwrap();
        let on_disk = |(fate, _): &(Fate, Message)| matches!(fate, Fate::Ready { .. } | Fate::Purged);
        let mut found: Vec<usize> = range.filter(|index| on_disk(&self.messages[*index])).collect();
        let up_to = found.get(count).map_or(asked.end, |index| *index as u64);
        found.truncate(count);
        let mut loaded = Loaded { from: asked.start, up_to, ..Loaded::default() };
        for index in found {
            let (fate, message) = &mut self.messages[index];
            if damaged_every > 0 && index % damaged_every == 0 {
                *fate = if *fate == Fate::Purged { Fate::Purged } else { Fate::Damaged };
                loaded.lost += 1;
            } else {
                loaded.messages.push((Position(index as u64), message.clone()));
            }
        }
        self.queue.lanes_mut().loaded(0, loaded);
        self.queue.go_on();
    }

    /// Whether the first message that waits, if there is one, is in memory.
    fn has_next(&self) -> bool {
        let first = self.queue.listed().first().map(|(position, ..)| *position);
        first.is_some() && first == self.ready().first().copied()
    }

    fn read(&mut self, holder: usize) {
        let reader = &mut self.holders[holder];
        let deliveries = reader.sink.read().into_iter().map(|delivery| (delivery.position, delivery.message));
        (reader.unread, reader.seen) = (0, 0);
        if reader.spec.no_ack {
            drop(deliveries);
        } else {
            reader.held.extend(deliveries);
        }
    }

    fn unsubscribe(&mut self, holder: usize, gives_back: bool) -> TestCaseResult {
        let id = self.holders[holder].id.unwrap();
        prop_assert!(self.queue.unsubscribe(id).is_some());
        self.holders[holder].alive = false;
        if !gives_back {
            self.read(holder);
            return Ok(());
        }
        self.check()?;
        let unread = self.holders[holder].sink.read();
        let mut messages: Vec<_> = unread.into_iter().map(|delivery| (delivery.position, delivery.message)).collect();
        self.set(&messages, Fate::Ready { redelivered: true });
        if self.holders[holder].spec.no_ack {
            self.queue.take_back(&mut messages);
        } else {
            self.queue.requeue(Some(id), &mut messages);
        }
        self.holders[holder].seen = 0;
        Ok(())
    }

    fn get(&mut self, no_ack: bool) -> TestCaseResult {
        let (first, has_next) = (self.ready().first().copied(), self.has_next());
        let (position, message, redelivered) = match self.queue.take(no_ack) {
            Taken::Message(position, message, redelivered) => (position, message, redelivered),
            other => {
                prop_assert!(!has_next);
                prop_assert_eq!(other, if first.is_some() { Taken::OnDisk } else { Taken::Nothing });
                return Ok(());
            }
        };
        prop_assert_eq!((Some(position.0), has_next), (first, true));
        let fate = &mut self.messages[usize::try_from(position.0).unwrap()].0;
        prop_assert_eq!(*fate, Fate::Ready { redelivered });
        *fate = if no_ack { Fate::Settled } else { Fate::Unsettled { holder: 0 } };
        if !no_ack {
            self.holders[0].held.push((position, message));
        }
        self.delivered += 1;
        Ok(())
    }

    /// Judges the hand-outs of an operation and compares the queue with the model.
    fn check(&mut self) -> TestCaseResult {
        let mut handed: Vec<(Delivery, usize)> = Vec::new();
        for (index, holder) in self.holders.iter_mut().enumerate() {
            let state = holder.sink.0.borrow();
            handed.extend(state.deliveries.iter().skip(holder.seen).map(|delivery| (delivery.clone(), index)));
            holder.seen = state.deliveries.len();
        }
        handed.sort_by_key(|(delivery, _)| delivery.position);
        for (delivery, holder) in handed {
            self.forget_overtakes();
            self.handed(&delivery, holder)?;
        }
        self.forget_overtakes();
        let ready = self.ready();
        prop_assert!(!self.has_next() || self.able().is_empty(), "{:?} idle, {ready:?} wait", self.able());
        self.compare(&ready)
    }

    /// One message was handed to one consumer.
    fn handed(&mut self, delivery: &Delivery, holder: usize) -> TestCaseResult {
        let position = delivery.position.0;
        prop_assert_eq!(self.ready().first().copied(), Some(position), "the first that waits goes first");
        prop_assert_eq!(delivery.key as usize, holder);
        let index = usize::try_from(position).unwrap();
        prop_assert_eq!(&delivery.message, &self.messages[index].1);
        prop_assert_eq!(self.messages[index].0, Fate::Ready { redelivered: delivery.redelivered });
        let able = self.able();
        prop_assert!(able.contains(&holder), "{holder} got {position} without credit or room");
        let priority = self.holders[holder].spec.priority;
        for other in able {
            let others = self.holders[other].spec.priority;
            prop_assert!(others <= priority, "{holder} got {position} before {other} of higher priority");
            if other != holder && others == priority {
                self.overtakes[holder][other] += 1;
                prop_assert_eq!(self.overtakes[holder][other], 1, "{} was served twice before {}", holder, other);
            }
        }
        self.overtakes.iter_mut().for_each(|of_one| of_one[holder] = 0);
        let no_ack = self.holders[holder].spec.no_ack;
        self.messages[index].0 = if no_ack { Fate::Settled } else { Fate::Unsettled { holder } };
        self.holders[holder].unread += cost(delivery);
        self.delivered += 1;
        Ok(())
    }

    /// Who cannot take a message is not overtaken.
    fn forget_overtakes(&mut self) {
        let able = self.able();
        let alive = self.alive();
        for holder in alive.iter().filter(|holder| !able.contains(holder)) {
            for other in &alive {
                self.overtakes[*other][*holder] = 0;
            }
        }
    }

    fn compare(&self, ready: &[u64]) -> TestCaseResult {
        let queue = &self.queue;
        let unsettled = (0..self.holders.len()).map(|holder| self.unsettled_by(holder)).sum::<usize>();
        prop_assert_eq!(queue.ready_count(), ready.len());
        prop_assert_eq!(queue.unsettled_count(), unsettled);
        prop_assert_eq!(queue.consumer_count(), self.alive().len());
        prop_assert_eq!(queue.delivered_count(), self.delivered);
        let listed = queue.listed();
        prop_assert_eq!(queue.ready_bytes(), listed.iter().map(|(_, message, _)| message.size()).sum::<usize>());
        // What is missing in memory is on disk, and in one piece.
        let in_memory: Vec<u64> = listed.iter().map(|(position, ..)| *position).collect();
        let is_cold = |position: &u64| in_memory.binary_search(position).is_err();
        let cold: Vec<u64> = ready.iter().copied().filter(is_cold).collect();
        let front = ready.iter().take_while(|position| !is_cold(position)).count();
        prop_assert_eq!(ready.get(front..front + cold.len()), Some(cold.as_slice()));
        prop_assert_eq!(in_memory.len() + cold.len(), ready.len());
        prop_assert!(cold.last().is_none_or(|last| *last < self.on_disk));
        prop_assert_eq!(queue.has_cold(), !cold.is_empty());
        let never_out = ready.iter().position(|position| self.never_handed_out(*position));
        let never_out = never_out.map_or(self.messages.len() as u64, |index| ready[index]);
        let delivered_before = queue.lanes().lane(0).map_or(0, Backlog::delivered_before);
        prop_assert!(delivered_before <= never_out, "{delivered_before} > {never_out}");
        for (position, message, redelivered) in listed {
            let (fate, known) = &self.messages[usize::try_from(position).unwrap()];
            prop_assert_eq!(*fate, Fate::Ready { redelivered });
            prop_assert_eq!(message.size(), known.size());
        }
        Ok(())
    }
}

/// A message that says where it stands, so many times.
fn numbered(position: u64, times: usize) -> Message {
    message(&position.to_be_bytes().repeat(times))
}

fn before() -> impl Strategy<Value = Option<Before>> {
    let before = (prop::collection::vec(any::<bool>(), 0..40), 0..50_u64)
        .prop_map(|(live, delivered_before)| Before { live, delivered_before });
    prop::option::weighted(0.3, before)
}

fn spec() -> impl Strategy<Value = Spec> {
    let capacity = prop_oneof![1 => Just(1), 2 => 1..room_for(8), 3 => Just(UNLIMITED)];
    (prop::bool::weighted(0.25), -1..2_i32, prop::sample::select(&[0, 1, 1, 2, 3, 10]), capacity)
        .prop_map(|(no_ack, priority, prefetch, capacity)| Spec { no_ack, priority, prefetch, capacity })
}

fn operation() -> impl Strategy<Value = Operation> {
    let index = || 0..64_usize;
    let some = || (index(), index(), prop_oneof![3 => 1..4_usize, 1 => Just(100)]);
    prop_oneof![
        8 => prop::collection::vec(1..20_usize, 1..12).prop_map(|body_sizes| Operation::Enqueue { body_sizes }),
        4 => (0..20_usize, 0..400_usize).prop_map(|(but, front_kept)| Operation::PageOut { but, front_kept }),
        4 => Just(Operation::Ask),
        4 => (1..8_usize, prop_oneof![3 => Just(0), 1 => 1..5_usize])
            .prop_map(|(count, damaged_every)| Operation::Answer { count, damaged_every }),
        3 => spec().prop_map(Operation::Subscribe),
        1 => (index(), any::<bool>()).prop_map(|(who, gives_back)| Operation::Unsubscribe { who, gives_back }),
        8 => index().prop_map(|who| Operation::Read { who }),
        8 => some().prop_map(|(who, first, count)| Operation::Settle { who, first, count }),
        4 => some().prop_map(|(who, first, count)| Operation::Requeue { who, first, count }),
        1 => index().prop_map(|who| Operation::Resume { who }),
        2 => any::<bool>().prop_map(|no_ack| Operation::Get { no_ack }),
        1 => Just(Operation::Purge),
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
    fn any_operations_leave_the_queue_as_the_model_says(
        before in before(),
        first in spec(),
        operations in prop::collection::vec(operation(), 1..200),
    ) {
        let mut model = Model::new(before);
        model.apply(Operation::Subscribe(first))?;
        for (step, operation) in operations.into_iter().enumerate() {
            let shown = format!("step {step}, {operation:?}");
            model.apply(operation).map_err(|error| TestCaseError::fail(format!("{shown}: {error}")))?;
        }
    }
}
