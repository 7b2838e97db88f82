//! Random operations on a queue with a store agree with a model that keeps every message's fate in a plain list: messages go to
//! disk and come back in pieces, the disk damages some, and the node crashes and starts again.
//!
//! Mailboxes are read after every operation, so that consumers differ by their prefetch only.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestCaseResult};

use super::*;
use crate::fake_store::FakeStore;
use crate::queue::Delivery;
use crate::store::{Area, MemoryPressure};

const ID: QueueId = QueueId(1);
const CONSUMERS_MAX: usize = 3;

/// `who` and `first` count round, so that every operation does something whenever it can.
#[derive(Debug, Clone)]
enum Operation {
    Enqueue {
        persistent: Vec<bool>,
    },
    Subscribe {
        no_ack: bool,
        prefetch: u16,
    },
    Unsubscribe {
        who: usize,
    },
    Settle {
        who: usize,
        first: usize,
        count: usize,
    },
    GiveBack {
        who: usize,
        first: usize,
        count: usize,
    },
    Get {
        no_ack: bool,
    },
    Purge,
    Pressure(MemoryPressure),
    Write {
        area: Area,
        count: u64,
    },
    Answer {
        count: usize,
    },
    Damage {
        which: usize,
    },
    /// The node starts again, with so much of what was not yet written.
    Crash {
        survives: usize,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Ready { redelivered: bool },
    Out { holder: usize },
    Gone,
}

#[derive(Debug, Clone)]
struct Entry {
    fate: Fate,
    was_out: bool,
    is_damaged: bool,
    /// With which position of the log it survives a crash; none if it does not.
    appended: Option<StorePosition>,
    /// With which position of the log it is gone, if that is known.
    settled: Option<StorePosition>,
}

/// A consumer, here or gone, or whoever uses basic.get: with or without settling.
struct Holder {
    id: Option<ConsumerId>,
    mailbox: Arc<Mailbox>,
    no_ack: bool,
    prefetch: usize,
    alive: bool,
    /// Neither settled nor told to be done with.
    held: Vec<(Position, Message)>,
}

struct Model {
    store: Arc<FakeStore>,
    cell: QueueCell,
    durable: bool,
    /// By position.
    entries: Vec<Entry>,
    /// The first two are basic.get.
    holders: Vec<Holder>,
    getter_waits: bool,
}

/// The message at a position; made once, because some are large.
fn message_at(position: u64, persistent: bool) -> Message {
    static MESSAGES: OnceLock<Vec<Message>> = OnceLock::new();
    let messages = MESSAGES.get_or_init(|| {
        let sizes = [10, 100, 3_000, 9_000, 20_000].iter().cycle();
        let numbered = (0_u64..120).zip(sizes).map(|(number, size)| {
            let mut draft = Draft::new(Vec::new(), "", "q");
            draft.body(&number.to_le_bytes());
            draft.body(&vec![0; *size]);
            if number % 2 == 0 {
                draft.set_persistent();
            }
            draft.message()
        });
        numbered.collect()
    });
    // An odd number of sizes, so that all of them are of both kinds.
    messages[index(position % 60 * 2) + usize::from(!persistent)].clone()
}

fn index(position: u64) -> usize {
    usize::try_from(position).unwrap()
}

fn stored_cell(durable: bool, store: &Arc<FakeStore>, restored: Option<Restored>) -> QueueCell {
    let info = QueueInfo { id: ID, vhost: "/".into(), name: "q".into(), auto_delete: false, durable };
    QueueCell::stored(info, &store.shared(), restored)
}

impl Model {
    fn new(durable: bool) -> Self {
        let store = FakeStore::new();
        let cell = stored_cell(durable, &store, None);
        let (entries, holders) = (Vec::new(), Self::getters());
        Self { store, cell, durable, entries, holders, getter_waits: false }
    }

    fn getters() -> Vec<Holder> {
        let getter =
            |no_ack| Holder { id: None, mailbox: mailbox(), no_ack, prefetch: 0, alive: false, held: Vec::new() };
        vec![getter(false), getter(true)]
    }

    fn ready(&self) -> Vec<u64> {
        let is_ready = |entry: &Entry| matches!(entry.fate, Fate::Ready { .. });
        (0..).zip(&self.entries).filter(|(_, entry)| is_ready(entry)).map(|(position, _)| position).collect()
    }

    fn in_memory(&self) -> Vec<u64> {
        self.cell.listed().into_iter().map(|(position, ..)| position).collect()
    }

    fn unsettled_by(&self, holder: usize) -> usize {
        let is_out = |entry: &&Entry| entry.fate == Fate::Out { holder };
        if self.holders[holder].no_ack { 0 } else { self.entries.iter().filter(is_out).count() }
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.holders.len()).filter(|holder| self.holders[*holder].alive).collect()
    }

    /// Whether some consumer can take a message.
    fn is_able(&self) -> bool {
        self.alive().into_iter().any(|index| {
            let Holder { no_ack, prefetch, .. } = self.holders[index];
            no_ack || prefetch == 0 || self.unsettled_by(index) < prefetch
        })
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

    fn apply(&mut self, operation: Operation) -> TestCaseResult {
        match operation {
            Operation::Enqueue { persistent } => self.enqueue(&persistent)?,
            Operation::Subscribe { no_ack, prefetch } if self.alive().len() < CONSUMERS_MAX => {
                self.subscribe(no_ack, prefetch);
            }
            Operation::Unsubscribe { who } => {
                let Some(holder) = Self::pick(&self.alive(), who) else { return Ok(()) };
                self.holders[holder].alive = false;
                let is_last = self.cell.unsubscribe(self.holders[holder].id.unwrap()).was_last;
                prop_assert_eq!(is_last, self.alive().is_empty());
            }
            Operation::Settle { who, first, count } => self.settle(who, first, count),
            Operation::GiveBack { who, first, count } => {
                let Some((holder, mut messages)) = self.pick_held(who, first, count) else { return Ok(()) };
                for (position, _) in &messages {
                    self.entries[index(position.0)].fate = Fate::Ready { redelivered: true };
                }
                let Holder { id, no_ack, .. } = self.holders[holder];
                if no_ack {
                    self.cell.take_back(&mut messages);
                } else {
                    self.cell.requeue(id, &mut messages);
                }
            }
            Operation::Get { no_ack } => self.get(no_ack)?,
            Operation::Purge => {
                let waiting = self.ready();
                let (count, settled) = self.cell.purge().unwrap();
                prop_assert_eq!(count, waiting.len());
                for position in waiting {
                    let entry = &mut self.entries[index(position)];
                    (entry.fate, entry.settled) = (Fate::Gone, settled);
                }
            }
            Operation::Pressure(pressure) => self.store.set_pressure(pressure),
            Operation::Write { area, count } => drop(self.store.write(area, count)),
            Operation::Answer { count } => self.answer(count)?,
            Operation::Damage { which } => {
                let kept = [self.store.kept(Area::Log, ID), self.store.kept(Area::PageOut, ID)].concat();
                let Some(position) = kept.get(which % kept.len().max(1)) else { return Ok(()) };
                prop_assert!(self.store.damage(ID, *position));
                self.entries[index(*position)].is_damaged = true;
            }
            Operation::Crash { survives } if self.durable => self.crash(survives)?,
            Operation::Subscribe { .. } | Operation::Crash { .. } => {}
        }
        self.check()
    }

    fn enqueue(&mut self, persistent: &[bool]) -> TestCaseResult {
        let first = self.entries.len() as u64;
        let numbered = (first..).zip(persistent);
        let mut batch: Vec<_> = numbered.map(|(position, persistent)| message_at(position, *persistent)).collect();
        let Enqueued { stored, .. } = self.cell.enqueue(&mut batch, Fanout::One, &mailbox());
        let survives = self.durable && persistent.iter().any(|persistent| *persistent);
        prop_assert_eq!(stored.is_some(), survives);
        self.entries.extend(persistent.iter().map(|persistent| Entry {
            fate: Fate::Ready { redelivered: false },
            was_out: false,
            is_damaged: false,
            appended: stored.filter(|_| *persistent),
            settled: None,
        }));
        Ok(())
    }

    fn subscribe(&mut self, no_ack: bool, prefetch: u16) {
        let mailbox = mailbox();
        let key = u32::try_from(self.holders.len()).unwrap();
        let id = self.cell.subscribe(Subscription { key, ..subscription(&mailbox, no_ack, prefetch) }).unwrap();
        let (id, prefetch) = (Some(id), usize::from(prefetch));
        self.holders.push(Holder { id, mailbox, no_ack, prefetch, alive: true, held: Vec::new() });
    }

    fn settle(&mut self, who: usize, first: usize, count: usize) {
        let Some((holder, messages)) = self.pick_held(who, first, count) else { return };
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for (Position(position), _) in &messages {
            match ranges.last_mut() {
                Some(last) if last.end == *position => last.end += 1,
                _ => ranges.push(*position..position + 1),
            }
        }
        if !self.cell.is_stored() {
            ranges.clear();
        }
        let settled = if self.holders[holder].no_ack {
            self.cell.discard(&ranges);
            None
        } else {
            self.cell.settle(self.holders[holder].id, u32::try_from(messages.len()).unwrap(), &ranges)
        };
        for (position, _) in &messages {
            let entry = &mut self.entries[index(position.0)];
            (entry.fate, entry.settled) = (Fate::Gone, settled);
        }
    }

    fn get(&mut self, no_ack: bool) -> TestCaseResult {
        let (first, in_memory) = (self.ready().first().copied(), self.in_memory());
        let has_next = first.is_some() && first == in_memory.first().copied();
        let holder = usize::from(no_ack);
        let (taken, waiting) = self.cell.take(no_ack, &self.holders[0].mailbox).unwrap();
        match taken {
            Taken::Message(position, message, redelivered) => {
                prop_assert!(has_next);
                self.handed(&Delivery { key: 0, redelivered, position, message }, holder)?;
            }
            Taken::OnDisk => {
                prop_assert!(first.is_some() && !has_next);
                self.getter_waits = true;
            }
            Taken::Nothing => prop_assert_eq!(first, None),
        }
        prop_assert_eq!(waiting, self.ready().len());
        Ok(())
    }

    fn answer(&mut self, count: usize) -> TestCaseResult {
        let Some(loaded) = self.store.answer(ID, count) else { return Ok(()) };
        let in_memory = self.in_memory();
        for position in self.ready() {
            let entry = &mut self.entries[index(position)];
            let is_cold = in_memory.binary_search(&position).is_err();
            let is_there = loaded.messages.iter().any(|(there, _)| there.0 == position);
            if (loaded.from..loaded.up_to).contains(&position) && is_cold && !is_there {
                prop_assert!(entry.is_damaged, "{position} is lost");
                entry.fate = Fate::Gone;
            }
        }
        self.cell.loaded(self.cell.info().id, loaded);
        let events = take(&self.holders[0].mailbox).events;
        prop_assert_eq!(events.len(), usize::from(self.getter_waits));
        self.getter_waits = false;
        Ok(())
    }

    fn crash(&mut self, survives: usize) -> TestCaseResult {
        let written = self.store.write(Area::Log, 0);
        let handed = self.store.handed(Area::Log);
        let more = survives as u64 % (handed.0 - written.0 + 1);
        let end = StorePosition(written.0 + more);
        let (store, restored) = self.store.after_crash(ID, end);
        let survivors = store.kept(Area::Log, ID);
        self.cell = stored_cell(true, &store, Some(restored));
        prop_assert_eq!(self.store.memory(), 0, "the old one is gone");
        self.store = store;
        self.entries.truncate(index(restored.next.max(restored.delivered_before)));
        for (position, entry) in (0..).zip(&mut self.entries) {
            let is_there = survivors.binary_search(&position).is_ok();
            let is_kept = entry.appended.is_some_and(|appended| appended <= end);
            let is_done = entry.fate == Fate::Gone;
            match entry.settled {
                _ if !is_kept => prop_assert!(!is_there, "{position} was never written"),
                Some(settled) => prop_assert_eq!(is_there, settled > end, "{}", position),
                None => prop_assert!(is_there || is_done, "{position} did not survive"),
            }
            let redelivered = position < restored.delivered_before;
            // Everything handed over has survived if all was written; else deliveries may be forgotten, but none is made up.
            if is_there && end == handed {
                prop_assert_eq!(redelivered, entry.was_out, "{}", position);
            }
            prop_assert!(!is_there || !redelivered || entry.was_out, "{position} was never handed out");
            entry.fate = if is_there { Fate::Ready { redelivered } } else { Fate::Gone };
            entry.was_out = redelivered;
            (entry.appended, entry.settled) = (is_there.then_some(StorePosition(0)), None);
        }
        (self.holders, self.getter_waits) = (Self::getters(), false);
        Ok(())
    }

    /// Reads all mailboxes, judges the hand-outs and compares the queue with the model.
    fn check(&mut self) -> TestCaseResult {
        loop {
            let mut handed: Vec<(Delivery, usize)> = Vec::new();
            let mut asked = Vec::new();
            for (index, holder) in self.holders.iter().enumerate().skip(2) {
                let inbox = take(&holder.mailbox);
                handed.extend(inbox.deliveries.into_iter().map(|delivery| (delivery, index)));
                asked.extend(inbox.awaiting_room.iter().filter(|_| holder.alive).map(|_| holder.id.unwrap()));
            }
            if handed.is_empty() && asked.is_empty() {
                break;
            }
            handed.sort_by_key(|(delivery, _)| delivery.position);
            for (delivery, holder) in handed {
                prop_assert_eq!(delivery.key as usize, holder);
                self.handed(&delivery, holder)?;
            }
            for id in asked {
                self.cell.resume(id);
            }
        }
        self.compare()
    }

    fn handed(&mut self, delivery: &Delivery, holder: usize) -> TestCaseResult {
        let position = delivery.position.0;
        prop_assert_eq!(self.ready().first().copied(), Some(position), "the first that waits goes first");
        let Holder { no_ack, prefetch, .. } = self.holders[holder];
        prop_assert!(no_ack || prefetch == 0 || self.unsettled_by(holder) < prefetch);
        let entry = &mut self.entries[index(position)];
        prop_assert_eq!(entry.fate, Fate::Ready { redelivered: delivery.redelivered });
        let is_message = [true, false].iter().any(|persistent| {
            let message = message_at(position, *persistent);
            message.octets().as_ptr() == delivery.message.octets().as_ptr()
        });
        prop_assert!(is_message, "that is not the message at {position}");
        (entry.fate, entry.was_out) = (Fate::Out { holder }, true);
        self.holders[holder].held.push((delivery.position, delivery.message.clone()));
        Ok(())
    }

    fn compare(&mut self) -> TestCaseResult {
        let ready = self.ready();
        let unsettled = (0..self.holders.len()).map(|holder| self.unsettled_by(holder)).sum::<usize>();
        let consumers = self.alive().len();
        prop_assert_eq!(self.cell.counts(), QueueCounts { ready: ready.len(), unsettled, consumers });
        let listed = self.cell.listed();
        let octets = listed.iter().map(|(_, message, _)| message.size()).sum::<usize>();
        prop_assert_eq!(self.store.memory(), octets.cast_signed());
        for (position, _, redelivered) in &listed {
            prop_assert_eq!(self.entries[index(*position)].fate, Fate::Ready { redelivered: *redelivered });
        }
        let in_memory: BTreeSet<u64> = listed.iter().map(|(position, ..)| *position).collect();
        let mut cold = ready.iter().filter(|position| !in_memory.contains(position));
        prop_assert!(cold.all(|position| self.store.is_on_disk(ID, *position)), "{ready:?} {in_memory:?}");
        if ready.first().is_some_and(|first| in_memory.contains(first)) {
            prop_assert!(!self.is_able(), "consumers wait for what is there");
        } else if !ready.is_empty() && consumers > 0 {
            prop_assert!(self.store.is_loading(ID), "consumers wait for what nobody reads");
        }
        prop_assert!(!self.getter_waits || self.store.is_loading(ID), "nobody reads what was asked for");
        Ok(())
    }

    /// Takes everything out that is in.
    fn drain(&mut self) -> TestCaseResult {
        self.store.write_all();
        self.subscribe(false, 0);
        loop {
            self.check()?;
            let out: usize = self.holders.iter().map(|holder| holder.held.len()).sum();
            if out == 0 && !self.store.is_loading(ID) {
                break;
            }
            for _ in 0..self.holders.len() {
                self.settle(0, 0, usize::MAX / 2);
            }
            self.answer(usize::MAX)?;
        }
        prop_assert!(self.entries.iter().all(|entry| entry.fate == Fate::Gone));
        prop_assert_eq!(self.store.memory(), 0);
        for area in [Area::Log, Area::PageOut] {
            prop_assert_eq!(self.store.kept(area, ID), vec![0; 0], "{:?} keeps what is done with", area);
        }
        Ok(())
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let index = || 0..64_usize;
    let some = || (index(), index(), prop_oneof![3 => 1..4_usize, 1 => Just(100)]);
    let pressure = prop::sample::select(&[MemoryPressure::None, MemoryPressure::Written, MemoryPressure::All]);
    let area = prop::sample::select(&[Area::Log, Area::PageOut]);
    let kind = prop_oneof![2 => Just(0.5), 2 => Just(1.0), 2 => Just(0.0), 1 => Just(0.9)];
    let batch = kind.prop_flat_map(|weight| prop::collection::vec(prop::bool::weighted(weight), 1..25));
    prop_oneof![
        8 => batch.prop_map(|persistent| Operation::Enqueue { persistent }),
        2 => (prop::bool::weighted(0.3), prop::sample::select(&[0_u16, 1, 2, 5]))
            .prop_map(|(no_ack, prefetch)| Operation::Subscribe { no_ack, prefetch }),
        2 => index().prop_map(|who| Operation::Unsubscribe { who }),
        6 => some().prop_map(|(who, first, count)| Operation::Settle { who, first, count }),
        3 => some().prop_map(|(who, first, count)| Operation::GiveBack { who, first, count }),
        3 => any::<bool>().prop_map(|no_ack| Operation::Get { no_ack }),
        1 => Just(Operation::Purge),
        2 => pressure.prop_map(Operation::Pressure),
        6 => (area, 1..20_u64).prop_map(|(area, count)| Operation::Write { area, count }),
        6 => prop_oneof![3 => 0..6_usize, 1 => Just(1000)].prop_map(|count| Operation::Answer { count }),
        1 => index().prop_map(|which| Operation::Damage { which }),
        1 => (0..100_usize).prop_map(|survives| Operation::Crash { survives }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2048,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_operations_leave_queue_and_store_as_the_model_says(
        durable in prop::bool::weighted(0.75),
        pressure in prop::sample::select(&[MemoryPressure::Written, MemoryPressure::All, MemoryPressure::All]),
        operations in prop::collection::vec(operation(), 1..60),
        closes in prop::bool::weighted(0.1),
    ) {
        let mut model = Model::new(durable);
        model.apply(Operation::Pressure(pressure))?;
        for (step, operation) in operations.into_iter().enumerate() {
            let shown = format!("step {step}, {operation:?}");
            model.apply(operation).map_err(|error| TestCaseError::fail(format!("{shown}: {error}")))?;
        }
        let store = Arc::clone(&model.store);
        if closes {
            model.cell.close(CloseCondition::default()).unwrap();
            prop_assert_eq!((store.kept(Area::Log, ID), store.kept(Area::PageOut, ID)), (vec![], vec![]));
        } else {
            model.drain()?;
        }
        drop(model);
        prop_assert_eq!(store.memory(), 0);
    }
}
