//! Random histories of the message log on a disk that loses power, fails and fills up, against the model.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use leveret_storage::disk::SimulatedDisk;
use leveret_storage::disk::simulated::{Fault, Random};
use leveret_storage::messages::{Group, MessageLog, OpenError, Options, QueueKey, Reader, WriteError};

use crate::messages_damage::Site;
use crate::messages_model::{Change, Model, State, left_by_full, without_elided};

#[test]
fn what_was_synced_and_not_settled_is_there_once_and_in_order() {
    crate::seeds(21 << 32, 1500, |seed| World::new(seed, Weather::Stormy).run());
}

#[test]
fn space_comes_back_whatever_the_order_of_settling() {
    crate::seeds(22 << 32, 700, |seed| World::new(seed, Weather::Calm).run());
}

/// Steps of a history.
const STEPS: u64 = 60;

/// A file that is not the log's.
const OTHER: &str = "another's file";

/// Calls of `maintain` after which all its work has to be done.
const MAINTAIN_CALLS_MAX: usize = 2000;

#[derive(Clone, Copy, PartialEq)]
enum Weather {
    /// Crashes between the calls only.
    Calm,
    /// Crashes and failures at any operation.
    Stormy,
}

pub(crate) struct World {
    weather: Weather,
    random: Random,
    disk: SimulatedDisk,
    file_bytes: u64,
    log: Option<(MessageLog, Reader)>,
    model: Model,
    /// What the caller knows: the queues, the position that the next message gets, and what is live with the group.
    queues: BTreeMap<u64, u64>,
    view: State,
    group: Group<Arc<[u8]>>,
    changes: Vec<Change>,
    next_queue: u64,
    messages: u64,
    /// Every message that was ever given to a place.
    given: BTreeMap<(u64, u64), Vec<Arc<[u8]>>>,
    /// Whether something may fail at the moment.
    has_faults: bool,
    /// Whether there may be no space at the moment.
    is_full: bool,
}

impl World {
    fn new(seed: u64, weather: Weather) -> Self {
        let disk = SimulatedDisk::new(seed);
        disk.put(OTHER, b"untouched".to_vec());
        let mut random = Random::new(seed ^ 0x5EED);
        let file_bytes = [2048, 4096, 16_384][random.below_usize(3)];
        let mut world = Self {
            weather,
            random,
            disk,
            file_bytes,
            log: None,
            model: Model::default(),
            queues: BTreeMap::new(),
            view: State::default(),
            group: Group::default(),
            changes: Vec::new(),
            next_queue: 1,
            messages: 0,
            given: BTreeMap::new(),
            has_faults: false,
            is_full: false,
        };
        for _ in 0..=world.random.below(4) {
            world.new_queue();
        }
        world
    }

    fn run(mut self) {
        self.open();
        for _ in 0..STEPS {
            self.step();
        }
        self.crash();
        self.open();
        self.check_everything();
        self.check_space();
        for queue in self.view.queues.keys().copied().collect::<Vec<_>>() {
            self.settle(queue, 0..u64::MAX);
        }
        self.write();
        self.sync();
        self.check_space();
        self.crash();
        self.open();
        assert_eq!(self.model.durable.messages(), 0);
        assert_eq!(self.disk.bytes(OTHER).unwrap(), b"untouched");
    }

    /// A folder after a history without failures, everything synced.
    pub(crate) fn site(seed: u64) -> Site {
        let mut world = Self::new(seed, Weather::Calm);
        for _ in 0..10 + world.random.below(STEPS) {
            world.step();
        }
        if world.log.is_none() {
            world.open();
        }
        world.write();
        world.sync();
        match world.random.below(4) {
            0 => world.maintain(),
            1 => {
                let (log, _) = world.log.take().unwrap();
                log.close().unwrap();
            }
            _ => {}
        }
        let disk = &world.disk;
        let names = disk.names().into_iter().filter(|name| name != OTHER);
        Site {
            files: names.map(|name| (name.clone(), disk.bytes(&name).unwrap())).collect(),
            options: world.options(),
            expected: world.model.durable,
            given: world.given,
        }
    }

    fn options(&self) -> Options {
        Options { file_bytes: self.file_bytes, ..Options::default() }
    }

    fn step(&mut self) {
        match self.random.below(100) {
            0..=27 => self.publish(),
            28..=34 => self.publish_to_many(),
            35..=52 => self.settle_some(),
            53..=56 => self.deliver(),
            57 => self.purge(),
            58 => self.delete(),
            59 => self.new_queue(),
            60..=73 => self.write(),
            74..=80 => self.sync(),
            81..=86 => self.maintain(),
            87..=90 => self.load(),
            91 => self.crash(),
            92 => self.restart(),
            93 => self.mend(),
            94..=96 if self.weather == Weather::Stormy => self.break_something(30),
            97 if self.weather == Weather::Stormy => self.crash_in_recovery(),
            _ => self.fill(),
        }
        let is_down = self.log.as_ref().is_none_or(|(log, _)| log.failure().is_some());
        if is_down && self.random.below(3) > 0 {
            self.open();
        }
    }

    fn open(&mut self) {
        self.log = None;
        match MessageLog::open(Arc::new(self.disk.clone()), self.options()) {
            Ok((log, recovered)) => {
                assert!(!recovered.report.is_damaged(), "a crash is no damage: {}", recovered.report);
                let reader = log.reader();
                let found = match State::load(&recovered, &reader) {
                    Err(_) if self.has_faults => return,
                    found => found.unwrap(),
                };
                let listed: BTreeMap<u64, u64> =
                    recovered.queues.iter().map(|found| (found.queue.0, found.next)).collect();
                self.model.found(found);
                self.log = Some((log, reader));
                self.start_over(&listed);
            }
            Err(OpenError::Disk { .. }) if self.has_faults || self.is_full => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// The caller as it is after a start: it knows its queues, and from the log what is in them.
    fn start_over(&mut self, listed: &BTreeMap<u64, u64>) {
        self.group.clear();
        self.changes.clear();
        self.view = self.model.written.clone();
        for (queue, next) in &mut self.queues {
            // Nothing is known of a queue that the log does not name: it may begin anew.
            *next = listed.get(queue).copied().unwrap_or_default();
        }
        let gone: Vec<u64> = listed.keys().filter(|queue| !self.queues.contains_key(queue)).copied().collect();
        for queue in gone {
            self.group.delete(QueueKey(queue));
            self.tell(Change::Delete { queue });
        }
    }

    fn tell(&mut self, change: Change) {
        self.view.apply_one(&change);
        self.changes.push(change);
    }

    fn new_queue(&mut self) {
        self.queues.insert(self.next_queue, 0);
        self.next_queue += 1 + self.random.below(200);
    }

    fn some_queue(&mut self) -> Option<u64> {
        let which = self.random.below_usize(self.queues.len());
        self.queues.keys().nth(which).copied()
    }

    fn publish(&mut self) {
        let Some(queue) = self.some_queue() else { return };
        let messages: Vec<Arc<[u8]>> = (0..=self.random.below(8)).map(|_| self.message()).collect();
        self.publish_run(queue, false, messages);
    }

    /// Some messages to many queues, some of them twice to the same.
    fn publish_to_many(&mut self) {
        let messages: Vec<Arc<[u8]>> = (0..=self.random.below(5)).map(|_| self.message()).collect();
        for queue in self.queues.keys().copied().collect::<Vec<_>>() {
            for _ in 0..=self.random.below(5) / 4 {
                let mut some = messages.clone();
                some.retain(|_| self.random.below(4) > 0);
                self.publish_run(queue, true, some);
            }
        }
    }

    fn publish_run(&mut self, queue: u64, is_shared: bool, messages: Vec<Arc<[u8]>>) {
        let Some(next) = self.queues.get_mut(&queue) else { return };
        let mut run = Vec::new();
        let mut changes = Vec::new();
        for message in messages {
            // Transient messages have positions as well.
            *next += u64::from(self.random.below(8) == 0) * self.random.below(300);
            run.push((*next, Arc::clone(&message)));
            self.given.entry((queue, *next)).or_default().push(Arc::clone(&message));
            changes.push(Change::Publish { queue, position: *next, message });
            *next += 1;
        }
        self.group.publish(QueueKey(queue), is_shared, run.into_iter());
        for change in changes {
            self.tell(change);
        }
    }

    /// No two are the same, but for the shortest.
    fn message(&mut self) -> Arc<[u8]> {
        self.messages += 1;
        let count = match self.random.below(60) {
            0 => self.random.below_usize(20_000),
            1..=6 => self.random.below_usize(1500),
            7 => return Arc::new([]),
            _ => self.random.below_usize(120),
        };
        self.messages.to_le_bytes().repeat(1 + count / 8).into()
    }

    fn settle(&mut self, queue: u64, positions: Range<u64>) {
        if positions.is_empty() {
            return;
        }
        self.group.settle(QueueKey(queue), positions.clone());
        self.tell(Change::Settle { queue, positions });
    }

    fn settle_some(&mut self) {
        let Some(queue) = self.some_queue() else { return };
        let live = self.view.queues.get(&queue).map(|queue| queue.live.keys().copied().collect::<Vec<_>>());
        let live = live.unwrap_or_default();
        if live.is_empty() {
            let next = self.queues[&queue];
            return self.settle(queue, next.saturating_sub(5)..next);
        }
        let at = self.random.below_usize(live.len());
        match self.random.below(8) {
            // As one consumer does: from the first on.
            0..=3 => self.settle(queue, live[0]..live[at] + 1),
            4..=5 => {
                for _ in 0..=self.random.below(6) {
                    let position = live[self.random.below_usize(live.len())];
                    self.settle(queue, position..position + 1);
                }
            }
            6 => {
                let end = live[at] + self.random.below(400);
                self.settle(queue, live[at].saturating_sub(2)..end.min(self.queues[&queue]));
            }
            // The newest, out of the same group perhaps.
            _ => self.settle(queue, live[live.len() - 1 - at.min(2).min(live.len() - 1)]..self.queues[&queue]),
        }
    }

    fn deliver(&mut self) {
        let Some(queue) = self.some_queue() else { return };
        let known = self.view.queues.get(&queue).map_or(0, |queue| queue.delivered);
        let before = known + self.random.below(self.queues[&queue].saturating_sub(known) + 1);
        self.group.delivered(QueueKey(queue), before);
        self.tell(Change::Delivered { queue, before });
    }

    fn purge(&mut self) {
        let Some(queue) = self.some_queue() else { return };
        let next = self.queues[&queue];
        self.settle(queue, 0..next);
    }

    fn delete(&mut self) {
        let Some(queue) = self.some_queue() else { return };
        self.group.delete(QueueKey(queue));
        self.queues.remove(&queue);
        self.tell(Change::Delete { queue });
        if self.queues.is_empty() {
            self.new_queue();
        }
    }

    fn write(&mut self) {
        let Some((log, _)) = &mut self.log else { return };
        let had_failed = log.failure().is_some();
        let octets = self.changes.iter().map(|change| match change {
            Change::Publish { message, .. } => message.len(),
            _ => 0,
        });
        assert_eq!(self.group.octets(), octets.sum::<usize>());
        assert_eq!(self.group.is_empty(), self.changes.is_empty());
        match log.write(&mut self.group) {
            Ok(_) => {
                assert!(!had_failed);
                let is_owing = log.stats().is_owing;
                self.model.write(without_elided(std::mem::take(&mut self.changes)), is_owing);
                self.group.clear();
            }
            Err(WriteError::Full) => {
                assert!(self.is_full);
                // Messages that are still wanted stay in the group; all else was taken.
                let (left, taken) = left_by_full(std::mem::take(&mut self.changes));
                assert!(!left.is_empty());
                self.model.write(taken, log.stats().is_owing);
                self.changes = left;
            }
            Err(error) => {
                assert!(self.has_faults || had_failed, "{error}");
                assert!(log.failure().is_some());
                if !had_failed {
                    let group = without_elided(std::mem::take(&mut self.changes));
                    self.model.write_failed(group, self.is_full);
                    self.group.clear();
                }
            }
        }
    }

    fn sync(&mut self) {
        let Some((log, _)) = &mut self.log else { return };
        let had_failed = log.failure().is_some();
        let is_owing = log.stats().is_owing;
        match log.sync() {
            Ok(()) => {
                assert!(!had_failed);
                self.model.sync(is_owing);
            }
            Err(error) => {
                assert!(self.has_faults || had_failed, "{error}");
                assert!(log.failure().is_some());
            }
        }
    }

    fn maintain(&mut self) {
        for _ in 0..=self.random.below(6) {
            let Some((log, _)) = &mut self.log else { return };
            let had_failed = log.failure().is_some();
            match log.maintain() {
                Ok(true) => {}
                Ok(false) => return,
                Err(WriteError::Full) => assert!(self.is_full),
                Err(error) => {
                    assert!(self.has_faults || had_failed, "{error}");
                    assert!(log.failure().is_some());
                    return;
                }
            }
        }
    }

    fn load(&mut self) {
        let Some(queue) = self.some_queue() else { return };
        let Some((log, reader)) = &self.log else { return };
        if self.has_faults || log.failure().is_some() {
            return;
        }
        let start = self.random.below(self.queues[&queue] + 2);
        let end = [u64::MAX, start + self.random.below(100)][self.random.below_usize(2)];
        let octets_max = [0, 200, 3000, usize::MAX][self.random.below_usize(4)];
        self.model.check_load(reader, queue, start..end, octets_max);
        let next = self.queues[&queue] + 2;
        let mut positions: Vec<u64> = (0..self.random.below(40)).map(|_| self.random.below(next)).collect();
        positions.sort_unstable();
        positions.dedup();
        self.model.check_load_at(reader, queue, &positions, octets_max);
    }

    /// Many messages at once, so that files fill up.
    fn fill(&mut self) {
        for _ in 0..8 {
            self.publish();
            self.write();
        }
    }

    /// Crashes, opens and crashes before that is done, several times perhaps.
    fn crash_in_recovery(&mut self) {
        for _ in 0..=self.random.below(3) {
            self.crash();
            self.break_something(80);
            self.open();
        }
    }

    fn break_something(&mut self, operations: u64) {
        let operation = self.disk.operations();
        let later = operation + self.random.below(operations);
        self.disk.fault(match self.random.below(8) {
            0..=2 => Fault::FailOperation(later),
            3..=5 => Fault::StopAt(later),
            6 => Fault::FailSyncsFrom(later),
            _ => {
                self.is_full = true;
                self.disk.fault(Fault::Capacity(self.random.below(10 * self.file_bytes)));
                return;
            }
        });
        self.has_faults = true;
    }

    fn mend(&mut self) {
        self.disk.mend();
        self.has_faults = false;
        self.is_full = false;
    }

    /// The process ends, the machine does not.
    fn restart(&mut self) {
        self.log = None;
        self.mend();
    }

    fn crash(&mut self) {
        self.log = None;
        self.disk.crash(self.random.next_u64());
        self.has_faults = false;
        self.is_full = false;
    }

    fn check_everything(&self) {
        let Some((_, reader)) = &self.log else { panic!("not open") };
        for queue in self.model.written.queues.keys() {
            self.model.check_load(reader, *queue, 0..u64::MAX, 500);
        }
    }

    /// After all that `maintain` has to do each file is needed by something.
    fn check_space(&mut self) {
        let Some((log, _)) = &mut self.log else { panic!("not open") };
        let mut calls = 0;
        while log.maintain().unwrap() {
            calls += 1;
            assert!(calls < MAINTAIN_CALLS_MAX, "it never ends");
        }
        self.check_everything();
        let live = self.model.written.messages();
        let names = self.disk.names();
        let files = |prefix: &str| names.iter().filter(|name| name.starts_with(prefix)).count();
        // One is written, two are ready.
        assert!(files("messages-") <= live + 3, "{live} messages: {names:?}");
        assert!(files("spare-") <= 2, "{names:?}");
    }
}
