//! Time to live, limits and priorities under random operations: a model that keeps what waits in a plain list says who is
//! left. Lanes go to disk and come back; after each operation what has to be looked at is read back.
//!
//! What is too old and on disk only still counts, so that more may give way than the model says; one of time, limits and disk is
//! therefore left out each time.

use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestCaseError, TestCaseResult};

use super::expiry::dead_letter;
use super::*;
use crate::queue::lanes::split;

const PRIORITY_MAX: u8 = 3;

#[derive(Debug, Clone)]
enum Operation {
    /// Priority, time to live and octets of each.
    Publish(Vec<(u8, Option<u64>, usize)>),
    Get,
    /// Gives back one of those that were taken.
    Requeue(usize),
    Pass(u64),
    /// Time to live, length and octets.
    Configure(Option<u64>, Option<u64>, Option<u64>),
    PageOut(usize),
    Purge,
}

#[derive(Debug, Clone)]
struct Known {
    position: Position,
    message: Message,
}

/// What is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Without {
    Disk,
    Time,
    Limits,
}

struct Model {
    without: Without,
    queue: Classic<TestSink>,
    now: u64,
    settings: QueueSettings,
    /// Everything that was published and not dropped or settled, by lane and place.
    waiting: Vec<Known>,
    taken: Vec<Known>,
    next: [u64; PRIORITY_MAX as usize + 1],
    /// Messages published so far.
    serial: u64,
}

impl Model {
    fn first(&self) -> Option<usize> {
        let key = |index: &usize| {
            let (lane, position) = split(self.waiting[*index].position);
            (usize::MAX - lane, position)
        };
        (0..self.waiting.len()).min_by_key(key)
    }

    /// Lets go of whatever is too old as the first of its lane, or too much.
    fn settle(&mut self) {
        loop {
            let ttl = self.settings.message_ttl_ms;
            for lane in 0..=usize::from(PRIORITY_MAX) {
                loop {
                    let of_lane =
                        (0..self.waiting.len()).filter(|index| split(self.waiting[*index].position).0 == lane);
                    let Some(first) = of_lane.min_by_key(|index| self.waiting[*index].position) else { break };
                    let due = self.waiting[first].message.expires_at(ttl);
                    if due.is_none_or(|due| due.0 > self.now) {
                        break;
                    }
                    self.waiting.remove(first);
                }
            }
            let octets: usize = self.waiting.iter().map(|known| known.message.body_size()).sum();
            let is_above = |max: Option<u64>, used: usize| max.is_some_and(|max| used as u64 > max);
            let is_too_long = is_above(self.settings.max_length, self.waiting.len())
                || is_above(self.settings.max_length_bytes, octets);
            match self.first() {
                Some(first) if is_too_long => self.waiting.remove(first),
                _ => return,
            };
        }
    }

    /// Reads back what has to be looked at, as long as there is something.
    fn read_back(&mut self, for_get: bool) {
        loop {
            // What comes first once something has given way may be too old; its alarm is due then.
            while let before = self.queue.ready_count()
                && let () = self.queue.go_on()
                && self.queue.ready_count() < before
            {}
            if !for_get && !self.queue.wants_first() {
                return;
            }
            let mut has_read = false;
            for lane in 0..self.queue.lanes().count() {
                let Some(wanted) = self.queue.lanes().lane(lane).and_then(|lane| lane.wanted(1)) else { continue };
                has_read = true;
                // What was dropped meanwhile is gone, the rest is as it was published.
                let mut found: Vec<_> = self.waiting.iter().filter(|known| split(known.position).0 == lane).collect();
                found.retain(|known| wanted.contains(&split(known.position).1.0));
                found.sort_by_key(|known| known.position);
                let all: Vec<_> = found.iter().map(|known| (split(known.position).1, known.message.clone())).collect();
                self.queue
                    .lanes_mut()
                    .loaded(lane, Loaded { from: wanted.start, up_to: wanted.end, messages: all, lost: 0 });
            }
            if !has_read {
                return;
            }
        }
    }

    fn apply(&mut self, operation: Operation) -> TestCaseResult {
        self.queue.set_now(Timestamp(self.now));
        match operation {
            Operation::Publish(messages) => {
                let mut batch = Vec::new();
                for (priority, ttl, octets) in messages {
                    let ttl = ttl.filter(|_| self.without != Without::Time);
                    self.serial += 1;
                    let mut draft = Draft::new(Vec::new(), "", &self.serial.to_string());
                    draft.set_priority(priority);
                    draft.body(&vec![0; octets]);
                    draft.stamp(Timestamp(self.now), ttl);
                    let next = &mut self.next[usize::from(priority)];
                    let position = crate::queue::lanes::place(usize::from(priority), Position(*next));
                    *next += 1;
                    batch.push(draft.message());
                    self.waiting.push(Known { position, message: draft.message() });
                }
                self.queue.enqueue(&mut batch);
            }
            Operation::Get => {
                self.read_back(true);
                self.settle();
                let expected = self.first().map(|first| self.waiting.remove(first));
                let taken = match self.queue.take(false) {
                    Taken::Message(position, message, _) => Some(Known { position, message }),
                    Taken::OnDisk | Taken::Nothing => None,
                };
                let shown = |known: &Option<Known>| known.as_ref().map(|known| (known.position, known.message.clone()));
                prop_assert_eq!(shown(&taken), shown(&expected));
                self.taken.extend(taken);
            }
            Operation::Requeue(which) if !self.taken.is_empty() => {
                let known = self.taken.remove(which % self.taken.len());
                self.queue.requeue(None, &mut vec![(known.position, known.message.clone())]);
                self.waiting.push(known);
            }
            Operation::Requeue(_) => {}
            Operation::Pass(ms) => {
                self.now += ms;
                self.queue.set_now(Timestamp(self.now));
            }
            Operation::Configure(ttl, length, octets) => {
                let ttl = ttl.filter(|_| self.without != Without::Time);
                let [length, octets] = [length, octets].map(|limit| limit.filter(|_| self.without != Without::Limits));
                self.settings = QueueSettings {
                    message_ttl_ms: ttl,
                    max_length: length,
                    // Octets of what is on disk are known only if they were counted before, so there is always a limit.
                    max_length_bytes: Some(octets.unwrap_or(1 << 40)),
                    dead_letter: Some(dead_letter()),
                    ..QueueSettings::default()
                };
                self.queue.configure(&self.settings);
            }
            Operation::PageOut(_) if self.without == Without::Disk => {}
            Operation::PageOut(lane) => {
                if let Some(lane) = self.queue.lanes_mut().lane_mut_if_used(lane) {
                    let until = lane.next_position();
                    lane.page_out(until, 0);
                }
            }
            Operation::Purge => {
                self.queue.purge();
                self.waiting.clear();
            }
        }
        self.read_back(false);
        self.settle();
        self.queue.take_dead();
        prop_assert_eq!(self.queue.ready_count(), self.waiting.len());
        let octets: usize = self.waiting.iter().map(|known| known.message.body_size()).sum();
        prop_assert_eq!(self.queue.lanes().weight().octets, octets as u64);
        prop_assert!(!self.queue.is_too_long());
        // Whoever may expire next has an alarm.
        let ttl = self.settings.message_ttl_ms;
        let first = self.first().and_then(|first| self.waiting[first].message.expires_at(ttl));
        let alarm = self.queue.next_due();
        prop_assert!(first.is_none_or(|due| alarm.is_some_and(|alarm| alarm <= due)), "{first:?} {alarm:?}");
        Ok(())
    }
}

fn operation() -> impl Strategy<Value = Operation> {
    let limit = |range: std::ops::Range<u64>| prop::option::weighted(0.5, range);
    let message = (0..=PRIORITY_MAX, prop::option::weighted(0.4, 0..50_u64), 0..20_usize);
    prop_oneof![
        6 => prop::collection::vec(message, 1..8).prop_map(Operation::Publish),
        4 => Just(Operation::Get),
        3 => (0..64_usize).prop_map(Operation::Requeue),
        4 => (0..30_u64).prop_map(Operation::Pass),
        2 => (limit(0..60), limit(0..15), limit(0..150)).prop_map(|(ttl, length, octets)| {
            Operation::Configure(ttl, length, octets)
        }),
        4 => (0..=usize::from(PRIORITY_MAX)).prop_map(Operation::PageOut),
        1 => Just(Operation::Purge),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn who_is_left_is_who_the_model_says(
        without in prop::sample::select(&[Without::Disk, Without::Time, Without::Limits]),
        operations in prop::collection::vec(operation(), 1..80),
    ) {
        let (queue, settings) = (Classic::with_priorities(PRIORITY_MAX, 0), QueueSettings::default());
        let (waiting, taken, next) = (Vec::new(), Vec::new(), [0; PRIORITY_MAX as usize + 1]);
        let mut model = Model { without, queue, now: 1000, settings, waiting, taken, next, serial: 0 };
        model.apply(Operation::Configure(None, None, None))?;
        for (step, operation) in operations.into_iter().enumerate() {
            let shown = format!("step {step}, {operation:?}");
            model.apply(operation).map_err(|error| TestCaseError::fail(format!("{shown}: {error}")))?;
        }
    }
}
