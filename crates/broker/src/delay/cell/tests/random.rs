//! What an exchange holds back, against a model that keeps everything in one list, with restarts.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    /// Messages with these delays are held back.
    Hold(Vec<u64>),
    /// Time passes.
    Pass(u64),
    /// The store writes so much of what it was given.
    Write(u64),
    /// The store answers with so many messages.
    Answer(usize),
    /// Some message is cancelled.
    Cancel(usize),
    /// The node is killed and starts again.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let delay = prop_oneof![1..200_u64, 1..3000_u64, 1..40_000_u64];
    prop_oneof![
        4 => proptest::collection::vec(delay, 1..6).prop_map(Step::Hold),
        4 => prop_oneof![1..100_u64, 1..5000_u64].prop_map(Step::Pass),
        3 => prop_oneof![Just(1), Just(u64::MAX)].prop_map(Step::Write),
        3 => (1..20_usize).prop_map(Step::Answer),
        1 => any::<usize>().prop_map(Step::Cancel),
        1 => Just(Step::Restart),
    ]
}

struct World {
    clock: Arc<ManualClock>,
    store: Arc<FakeStore>,
    cell: DelayCell,
    /// What is held back, by its place.
    held: BTreeMap<(u64, u64), String>,
    /// What has come out, and what is still in the log's eyes held back.
    fired: BTreeSet<String>,
    next_body: u64,
    next_position: u64,
    last_fired: u64,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp(1000)));
        let store = FakeStore::new();
        let cell = cell(&clock, Some(&store), None);
        let (held, fired) = (BTreeMap::new(), BTreeSet::new());
        Self { clock, store, cell, held, fired, next_body: 0, next_position: 0, last_fired: 0 }
    }

    fn now(&self) -> u64 {
        self.clock.now().0
    }

    fn hold(&mut self, delays: &[u64]) {
        let mut batch = Vec::new();
        for delay in delays {
            let (due, body) = (self.now() + delay, format!("{}", self.next_body));
            self.next_body += 1;
            batch.push(message(&body, due));
            self.held.insert((due, self.next_position), body);
            self.next_position += 1;
        }
        self.cell.hold(&mut batch);
    }

    /// Takes out what can be, which has to be the first of what is held back.
    fn fire(&mut self) {
        for body in fire(&self.cell, Some(self.store.handed(Area::Log))) {
            let ((due, position), first) = self.held.pop_first().expect("something is held back");
            assert_eq!(body, first, "{due} {position} goes first");
            assert!(due <= self.now(), "{body} is due at {due}, and it is {}", self.now());
            self.fired.insert(body);
            self.last_fired = due;
        }
    }

    fn pass(&mut self, ms: u64) {
        let end = self.now() + ms;
        // Time passes in the steps that the cell asks for.
        while let Some(due) = self.clock.next_due().filter(|due| due.0 <= end) {
            let passed = due.0.saturating_sub(self.now());
            for _ in self.clock.advance(passed) {
                self.cell.wake();
            }
            self.fire();
        }
        let passed = end - self.now();
        assert_eq!(self.clock.advance(passed), []);
        self.fire();
    }

    fn answer(&mut self, count: usize) {
        if !self.store.is_loading(ID) {
            return;
        }
        self.store.write_all();
        if let Some(loaded) = self.store.answer(ID, count) {
            self.cell.loaded(loaded);
        }
        self.fire();
    }

    fn cancel(&mut self, number: usize) {
        let Some(((due, position), _)) = self.held.iter().nth(number % self.held.len().max(1)) else { return };
        let (due, position) = (*due, *position);
        let (was_there, settled) = self.cell.cancel(Place { due: Timestamp(due), position: Position(position) });
        assert!(was_there && settled.is_some());
        self.held.remove(&(due, position));
    }

    /// All that is held back is found again, and nothing that was cancelled or settled is.
    fn restart(&mut self) {
        // What was not read yet is in no index; before the next crash all of it has to be.
        while self.store.is_loading(ID) {
            self.answer(7);
        }
        self.store.write_all();
        self.cell.settle_moved();
        let (store, restored) = self.store.after_crash(ID, self.store.handed(Area::Log));
        let kept = store.kept(Area::Log, ID);
        let mut positions: Vec<u64> = self.held.keys().map(|(_, position)| *position).collect();
        positions.sort_unstable();
        assert_eq!(kept, positions);
        assert!(restored.next <= self.next_position);
        self.clock = Arc::new(ManualClock::at(self.clock.now()));
        self.cell = cell(&self.clock, Some(&store), Some(restored));
        self.store = store;
        self.next_position = restored.next;
        self.cell.start();
        while self.store.is_loading(ID) {
            let loaded = self.store.answer(ID, 1000).unwrap();
            self.cell.loaded(loaded);
        }
        self.fire();
    }

    fn check(&self) {
        assert_eq!(self.cell.count(), self.held.len());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn everything_comes_out_once_in_order_and_not_too_early(steps in proptest::collection::vec(step(), 1..80)) {
        let mut world = World::new();
        for step in steps {
            match step {
                Step::Hold(delays) => world.hold(&delays),
                Step::Pass(ms) => world.pass(ms),
                Step::Write(count) => { world.store.write(Area::Log, count); }
                Step::Answer(count) => world.answer(count),
                Step::Cancel(number) => world.cancel(number),
                Step::Restart => world.restart(),
            }
            world.check();
        }
        // With a disk that keeps up, nothing is late.
        while let Some((due, _)) = world.held.keys().next().copied() {
            while world.store.is_loading(ID) {
                world.answer(5);
            }
            world.pass(due.saturating_sub(world.now()).max(1));
        }
        world.store.write_all();
        world.pass(100);
        prop_assert_eq!(world.store.kept(Area::Log, ID), vec![0; 0]);
        prop_assert_eq!(world.store.memory(), 0);
    }
}
