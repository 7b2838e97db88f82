//! One consumer is served at a time: tables, and random operations against a model.

use crate::Weight;
use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestCaseResult};

use super::*;
use crate::queue::Activity;

fn single_active(letters: &str) -> Bench {
    let mut bench = Bench::default();
    bench.queue.configure(&QueueSettings { single_active_consumer: true, ..QueueSettings::default() });
    bench.enqueue(letters);
    bench
}

/// What each consumer is, in the order of the ids.
fn activities(bench: &Bench) -> Vec<Activity> {
    bench.queue.consumers().map(|consumer| consumer.activity).collect()
}

/// A consumer goes, gives back what it holds, and its place is handed over.
fn leave(bench: &mut Bench, reader: &mut Reader) {
    bench.queue.unsubscribe(reader.id);
    reader.read();
    let letters: String = reader.held.iter().map(|delivery| letter(&delivery.message)).collect();
    bench.requeue(reader, &letters);
    bench.queue.hand_over(reader.id);
}

#[test]
fn the_first_consumer_is_served_and_the_next_takes_its_place() {
    let mut bench = single_active("ab");
    let [mut one, mut two, mut three] = bench.consumers([prefetch(0), prefetch(0), prefetch(0)]);
    bench.enqueue("cd");
    assert_eq!((one.read(), two.read(), three.read()), ("abcd".into(), String::new(), String::new()));
    assert_eq!(activities(&bench), [Activity::SingleActive, Activity::Waiting, Activity::Waiting]);
    bench.settle(&mut one, "b");
    leave(&mut bench, &mut one);
    assert_eq!((two.read(), three.read()), ("a*c*d*".into(), String::new()));
    // One that waits may go without anybody noticing.
    leave(&mut bench, &mut three);
    bench.enqueue("e");
    assert_eq!((two.read(), activities(&bench)), ("e".into(), vec![Activity::SingleActive]));
    leave(&mut bench, &mut two);
    assert_eq!(bench.counts(), (4, 0, 0));
    let mut late = bench.consumer(Wants::default());
    assert_eq!(late.read(), "a*c*d*e*");
}

#[test]
fn nobody_is_served_until_the_place_is_handed_over() {
    let mut bench = single_active("ab");
    let [mut one, mut two] = bench.consumers([Wants::default(), Wants::default()]);
    assert_eq!(one.read(), "ab");
    assert!(bench.queue.unsubscribe(one.id).is_some_and(|(_, was_active)| was_active));
    bench.enqueue("c");
    let mut late = bench.consumer(Wants::default());
    assert_eq!((two.read(), late.read()), (String::new(), String::new()));
    bench.requeue(&mut one, "ba");
    assert_eq!((two.read(), late.read()), (String::new(), String::new()));
    bench.queue.hand_over(late.id);
    assert_eq!((two.read(), late.read()), (String::new(), String::new()), "that one did not have it");
    bench.queue.hand_over(one.id);
    assert_eq!((two.read(), late.read()), ("a*b*c".into(), String::new()));
    bench.queue.hand_over(one.id);
    assert_eq!(activities(&bench), [Activity::Waiting, Activity::SingleActive]);
}

#[test]
fn what_a_cancelled_consumer_holds_may_still_be_settled_or_come_back() {
    let mut bench = single_active("abc");
    let [mut one, mut two] = bench.consumers([Wants::default(), Wants::default()]);
    bench.queue.unsubscribe(one.id);
    bench.queue.hand_over(one.id);
    assert_eq!((one.read(), two.read(), bench.counts()), ("abc".into(), String::new(), (0, 3, 1)));
    bench.settle(&mut one, "b");
    bench.requeue(&mut one, "ac");
    assert_eq!((two.read(), bench.counts()), ("a*c*".into(), (0, 2, 1)));
}

#[test]
fn the_active_consumer_stays_it_without_credit_and_whatever_the_priority_of_others() {
    let mut bench = single_active("abc");
    let [mut one, mut two, mut three] = bench.consumers([prefetch(1), priority(1, 0), priority(2, 0)]);
    bench.enqueue("d");
    bench.queue.resume(two.id);
    bench.queue.share_prefetch(three.id, Some(Arc::new(SharedPrefetch::new(5, 0))));
    assert_eq!((one.read(), two.read(), three.read()), ("a".into(), String::new(), String::new()));
    bench.settle(&mut one, "a");
    assert_eq!((one.read(), bench.counts()), ("b".into(), (2, 1, 3)));
    assert!(matches!(bench.queue.take(true), Taken::Message(..)), "basic.get is everybody's");
}

#[test]
fn the_next_one_is_the_first_of_the_highest_priority() {
    for (priorities, order) in [
        (vec![0, 0, 0, 0], [0, 1, 2, 3]),
        (vec![0, 1, 2, 2], [0, 2, 3, 1]),
        (vec![5, -1, 0, -1], [0, 2, 1, 3]),
        (vec![0, i32::MIN, i32::MAX, 0], [0, 2, 3, 1]),
    ] {
        let mut bench = single_active("a");
        let mut readers: Vec<_> = priorities.iter().map(|one| bench.consumer(priority(*one, 0))).collect();
        for next in order {
            assert!(!readers[next].read().is_empty(), "{next} of {priorities:?}");
            let mut reader = Reader { id: readers[next].id, sink: readers[next].sink.clone(), held: Vec::new() };
            reader.held.append(&mut readers[next].held);
            leave(&mut bench, &mut reader);
        }
    }
}

#[test]
fn nobody_gets_exclusive_use() {
    let exclusive = || Wants { exclusive: true, ..Wants::default() };
    let mut bench = single_active("");
    assert_eq!(bench.try_consumer(exclusive()).err(), Some(ExclusiveUse));
    bench.consumer(Wants::default());
    assert_eq!(bench.try_consumer(exclusive()).err(), Some(ExclusiveUse));
}

#[test]
fn the_rule_may_come_and_go_under_the_consumers() {
    let mut bench = Bench::with("a");
    let [mut one, mut two, mut three] = bench.consumers([prefetch(1), prefetch(0), priority(1, 0)]);
    bench.queue.configure(&QueueSettings { single_active_consumer: true, ..QueueSettings::default() });
    bench.enqueue("bc");
    assert_eq!((one.read(), two.read(), three.read()), ("a".into(), String::new(), "bc".into()));
    assert_eq!(activities(&bench), [Activity::Waiting, Activity::Waiting, Activity::SingleActive]);
    bench.settle(&mut one, "a");
    bench.queue.configure(&QueueSettings { single_active_consumer: false, ..QueueSettings::default() });
    bench.queue.unsubscribe(three.id);
    bench.enqueue("def");
    assert_eq!((one.read(), two.read()), ("d".into(), "ef".into()));
    assert_eq!(activities(&bench), [Activity::Up; 2]);
    // Who has no credit may become the active one, and is served once it has.
    bench.queue.unsubscribe(two.id);
    bench.queue.configure(&QueueSettings { single_active_consumer: true, ..QueueSettings::default() });
    let mut late = bench.consumer(Wants::default());
    bench.enqueue("g");
    assert_eq!((one.read(), late.read()), (String::new(), String::new()));
    bench.settle(&mut one, "d");
    assert_eq!((one.read(), late.read()), ("g".into(), String::new()));
}

/// `who`, `first` and `count` count round, so that every operation does something whenever it can.
#[derive(Debug, Clone)]
enum Operation {
    Enqueue { count: u64 },
    Subscribe { no_ack: bool, priority: i32, prefetch: u16 },
    Unsubscribe { who: usize },
    HandOver { who: usize },
    Settle { who: usize, first: usize, count: usize },
    Requeue { who: usize, first: usize, count: usize },
    Resume { who: usize },
    Get,
}

/// A consumer, here or gone.
struct Consumer {
    id: ConsumerId,
    sink: TestSink,
    no_ack: bool,
    priority: i32,
    prefetch: usize,
    alive: bool,
    /// What it was handed and has not settled.
    held: Vec<(u64, Message)>,
    /// What the model says it has yet to read: positions, and whether they come again.
    due: Vec<(u64, bool)>,
}

/// A list of who comes first, and of what waits.
struct Model {
    queue: Classic<TestSink>,
    next: u64,
    ready: BTreeMap<u64, bool>,
    consumers: Vec<Consumer>,
    active: Option<usize>,
    /// Who was the active one and has not handed over.
    gone: Option<usize>,
}

impl Model {
    fn new() -> Self {
        let mut queue = Classic::default();
        queue.configure(&QueueSettings { single_active_consumer: true, ..QueueSettings::default() });
        Self { queue, next: 0, ready: BTreeMap::new(), consumers: Vec::new(), active: None, gone: None }
    }

    fn pick(&self, who: usize, is: impl Fn(&Consumer) -> bool) -> Option<usize> {
        let all: Vec<usize> = (0..self.consumers.len()).filter(|index| is(&self.consumers[*index])).collect();
        all.get(who % all.len().max(1)).copied()
    }

    fn take_held(&mut self, who: usize, first: usize, count: usize) -> Option<(usize, Vec<(u64, Message)>)> {
        let who = self.pick(who, |consumer| !consumer.held.is_empty())?;
        let held = &mut self.consumers[who].held;
        let first = first % held.len();
        let end = (first + count).min(held.len());
        Some((who, held.drain(first..end).collect()))
    }

    fn apply(&mut self, operation: &Operation) -> TestCaseResult {
        match *operation {
            Operation::Enqueue { count } => {
                self.ready.extend((self.next..self.next + count).map(|position| (position, false)));
                self.next += count;
                self.queue.enqueue(&mut vec![message(b"m"); usize::try_from(count).unwrap()]);
            }
            Operation::Subscribe { no_ack, priority, prefetch } => {
                let key = u32::try_from(self.consumers.len()).unwrap();
                let (sink, tag, exclusive, shared) = (TestSink::new(UNLIMITED), "".into(), false, None);
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
                if self.active.is_none() && self.gone.is_none() {
                    self.active = Some(self.consumers.len());
                }
                let (prefetch, held, due) = (usize::from(prefetch), Vec::new(), Vec::new());
                self.consumers.push(Consumer { id, sink, no_ack, priority, prefetch, alive: true, held, due });
            }
            Operation::Unsubscribe { who } => {
                let Some(who) = self.pick(who, |consumer| consumer.alive) else { return Ok(()) };
                self.consumers[who].alive = false;
                let was_active = self.active == Some(who);
                prop_assert_eq!(self.queue.unsubscribe(self.consumers[who].id).map(|(_, was)| was), Some(was_active));
                if was_active {
                    (self.active, self.gone) = (None, Some(who));
                }
            }
            Operation::HandOver { who } => {
                let Some(who) = self.pick(who, |consumer| !consumer.alive) else { return Ok(()) };
                self.queue.hand_over(self.consumers[who].id);
                if self.gone == Some(who) {
                    self.gone = None;
                    let highest = self.consumers.iter().filter(|other| other.alive).map(|other| other.priority).max();
                    let is_next = |other: &Consumer| other.alive && Some(other.priority) == highest;
                    self.active = self.consumers.iter().position(is_next);
                }
            }
            Operation::Settle { who, first, count } => {
                let Some((who, settled)) = self.take_held(who, first, count) else { return Ok(()) };
                self.queue.settle(
                    Some(self.consumers[who].id),
                    u32::try_from(settled.len()).unwrap(),
                    Weight::default(),
                );
            }
            Operation::Requeue { who, first, count } => {
                let Some((who, back)) = self.take_held(who, first, count) else { return Ok(()) };
                self.ready.extend(back.iter().map(|(position, _)| (*position, true)));
                let mut back = back.into_iter().map(|(position, message)| (Position(position), message)).collect();
                self.queue.requeue(Some(self.consumers[who].id), &mut back);
            }
            Operation::Resume { who } => {
                let Some(who) = self.pick(who, |_| true) else { return Ok(()) };
                self.queue.resume(self.consumers[who].id);
            }
            Operation::Get => {
                let expected = self.ready.pop_first();
                let got = match self.queue.take(true) {
                    Taken::Message(position, _, redelivered) => Some((position.0, redelivered)),
                    Taken::OnDisk | Taken::Nothing => None,
                };
                prop_assert_eq!(got, expected);
            }
        }
        self.hand_out();
        self.compare()
    }

    /// The active one gets what waits, in order, as long as it has credit.
    fn hand_out(&mut self) {
        let Some(active) = self.active else { return };
        let active = &mut self.consumers[active];
        let mut out = active.held.len();
        while active.no_ack || active.prefetch == 0 || out < active.prefetch {
            let Some(first) = self.ready.pop_first() else { return };
            active.due.push(first);
            out += 1;
        }
    }

    fn compare(&mut self) -> TestCaseResult {
        for (index, consumer) in self.consumers.iter_mut().enumerate() {
            let read = consumer.sink.read();
            let got: Vec<_> = read.iter().map(|delivery| (delivery.position.0, delivery.redelivered)).collect();
            prop_assert_eq!(&got, &std::mem::take(&mut consumer.due), "deliveries to {}", index);
            if !consumer.no_ack {
                consumer.held.extend(read.into_iter().map(|delivery| (delivery.position.0, delivery.message)));
            }
        }
        let unsettled: usize = self.consumers.iter().map(|consumer| consumer.held.len()).sum();
        let alive = self.consumers.iter().filter(|consumer| consumer.alive);
        prop_assert_eq!(self.queue.ready_count(), self.ready.len());
        prop_assert_eq!(self.queue.unsettled_count(), unsettled);
        prop_assert_eq!(self.queue.consumer_count(), alive.count());
        for info in self.queue.consumers() {
            let index = self.consumers.iter().position(|consumer| consumer.id == info.id).unwrap();
            let activity = if self.active == Some(index) { Activity::SingleActive } else { Activity::Waiting };
            prop_assert_eq!(info.activity, activity);
            prop_assert_eq!(info.unsettled as usize, self.consumers[index].held.len());
        }
        Ok(())
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let index = || 0..64_usize;
    let some = || (index(), index(), 1..6_usize);
    prop_oneof![
        6 => (1..6_u64).prop_map(|count| Operation::Enqueue { count }),
        2 => (prop::bool::weighted(0.2), -1..2_i32, 0..4_u16)
            .prop_map(|(no_ack, priority, prefetch)| Operation::Subscribe { no_ack, priority, prefetch }),
        2 => index().prop_map(|who| Operation::Unsubscribe { who }),
        4 => index().prop_map(|who| Operation::HandOver { who }),
        5 => some().prop_map(|(who, first, count)| Operation::Settle { who, first, count }),
        4 => some().prop_map(|(who, first, count)| Operation::Requeue { who, first, count }),
        2 => index().prop_map(|who| Operation::Resume { who }),
        1 => Just(Operation::Get),
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
    fn any_operations_serve_one_consumer_as_the_model_says(operations in prop::collection::vec(operation(), 1..150)) {
        let mut model = Model::new();
        for (step, operation) in operations.into_iter().enumerate() {
            let shown = format!("step {step}, {operation:?}");
            model.apply(&operation).map_err(|error| TestCaseError::fail(format!("{shown}: {error}")))?;
        }
    }
}
