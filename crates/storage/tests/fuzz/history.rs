//! Random histories on a disk that loses power and fails, against a model that knows what must be there.

use std::sync::Arc;

use leveret_storage::disk::simulated::{Fault, Random};
use leveret_storage::disk::{Disk, SimulatedDisk};
use leveret_storage::metadata::{CommitError, MetadataLog, OpenError, SnapshotError};

#[test]
fn what_was_committed_is_there_once_and_in_order() {
    crate::seeds(16 << 32, 3000, |seed| World::new(seed).run());
}

/// Steps of a history.
const STEPS: u64 = 60;

/// What must be found at the next open.
#[derive(Debug, Default)]
struct Model {
    /// Payloads that must be there.
    durable: Vec<Vec<u8>>,
    durable_sequence: u64,
    /// Payloads of which any beginning may be there.
    pending: Vec<Vec<u8>>,
    /// The state that a snapshot would bring, which was begun but did not end well; it may be there instead.
    begun: Option<Vec<Vec<u8>>>,
}

impl Model {
    fn all(&self) -> Vec<Vec<u8>> {
        [self.durable.as_slice(), self.pending.as_slice()].concat()
    }

    fn settle(&mut self, durable: Vec<Vec<u8>>, sequence: u64) {
        *self = Self { durable, durable_sequence: sequence, pending: Vec::new(), begun: None };
    }

    /// Checks what an open found, and goes on from there.
    fn found(&mut self, records: Vec<Vec<u8>>, sequence: u64) {
        let all = self.all();
        let appended = self.durable_sequence + self.pending.len() as u64;
        let is_beginning = records.len() >= self.durable.len()
            && all.starts_with(&records)
            && sequence == self.durable_sequence + (records.len() - self.durable.len()) as u64;
        let is_begun = self.begun.as_ref() == Some(&records) && sequence == appended;
        assert!(
            is_beginning || is_begun,
            "found {} records up to {sequence}; {} committed up to {}, {} pending, begun {:?}",
            records.len(),
            self.durable.len(),
            self.durable_sequence,
            self.pending.len(),
            self.begun.as_ref().map(Vec::len),
        );
        self.settle(records, sequence);
    }
}

struct World {
    random: Random,
    disk: SimulatedDisk,
    log: Option<MetadataLog>,
    model: Model,
    payloads: u64,
    /// Whether something may fail at the moment.
    has_faults: bool,
}

impl World {
    fn new(seed: u64) -> Self {
        let disk = SimulatedDisk::new(seed);
        disk.put("another's file", b"untouched".to_vec());
        let random = Random::new(seed ^ 0x5EED);
        Self { random, disk, log: None, model: Model::default(), payloads: 0, has_faults: false }
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            self.step();
        }
        self.crash();
        self.open();
        let names = self.disk.names();
        let is_ours = |name: &&String| name.starts_with("metadata-") && !name.ends_with(".damaged");
        assert_eq!(names.iter().filter(is_ours).count(), 1, "one file is left: {names:?}");
        assert_eq!(self.disk.bytes("another's file").unwrap(), b"untouched");
    }

    fn step(&mut self) {
        match self.random.below(24) {
            0..=7 => self.append(),
            8..=13 => self.commit(),
            14..=15 => self.snapshot(),
            16..=17 => self.crash(),
            18 => {
                // The process ends, the machine does not.
                self.log = None;
                self.mend();
            }
            19 => self.mend(),
            _ => self.break_something(),
        }
        if self.log.as_ref().is_none_or(|log| log.failure().is_some()) && self.random.below(3) > 0 {
            self.open();
        }
    }

    fn open(&mut self) {
        self.log = None;
        match MetadataLog::open(Arc::new(self.disk.clone())) {
            Ok((log, recovered)) => {
                assert!(recovered.report.damaged.is_empty(), "a crash is no damage: {}", recovered.report);
                assert_eq!(log.durable(), log.appended());
                self.model.found(recovered.records, log.durable().0);
                self.log = Some(log);
            }
            Err(OpenError::Disk { .. }) if self.has_faults => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn append(&mut self) {
        let payloads: Vec<Vec<u8>> = (0..self.random.below(4)).map(|_| self.payload()).collect();
        let Some(log) = &mut self.log else { return };
        let taken = log.append(payloads.iter().map(Vec::as_slice));
        assert_eq!(taken.is_err(), log.failure().is_some());
        if taken.is_ok() {
            self.model.pending.extend(payloads);
            assert_eq!(log.appended().0, self.model.durable_sequence + self.model.pending.len() as u64);
        }
    }

    /// No two are the same.
    fn payload(&mut self) -> Vec<u8> {
        self.payloads += 1;
        let count = match self.random.below(8) {
            0 => self.random.below_usize(3000),
            1 => 0,
            _ => self.random.below_usize(40),
        };
        [self.payloads.to_le_bytes().to_vec(), self.random.bytes(count)].concat()
    }

    fn commit(&mut self) {
        let Some(log) = &mut self.log else { return };
        let had_failed = log.failure().is_some();
        match log.commit() {
            Ok(sequence) => {
                assert!(!had_failed);
                assert_eq!(sequence, log.appended());
                let all = self.model.all();
                self.model.settle(all, sequence.0);
            }
            Err(CommitError::Full) => assert!(self.has_faults && log.failure().is_none()),
            Err(error) => {
                assert!(self.has_faults || had_failed, "{error}");
                assert_eq!(matches!(error, CommitError::Poisoned(_)), had_failed, "{error}");
                assert!(log.failure().is_some());
            }
        }
    }

    fn snapshot(&mut self) {
        // Some of the state has gone since, as a state does.
        let mut state = self.model.all();
        let gone = self.random.below_usize(state.len() + 1);
        state.drain(..gone);
        let Some(log) = &mut self.log else { return };
        let had_failed = log.failure().is_some();
        match log.snapshot(state.clone().into_iter()) {
            Ok(sequence) => self.model.settle(state, sequence.0),
            Err(error) => {
                assert!(self.has_faults || had_failed, "{error}");
                match error {
                    SnapshotError::Poisoned(_) => assert!(had_failed),
                    SnapshotError::Abandoned(_) => assert!(log.failure().is_none()),
                    SnapshotError::Switch(_) => {
                        assert!(log.failure().is_some());
                        self.model.begun = Some(state);
                    }
                    SnapshotError::TooLarge { .. } => panic!("{error}"),
                }
            }
        }
    }

    fn break_something(&mut self) {
        let operation = self.disk.operations();
        let later = operation + self.random.below(12);
        self.disk.fault(match self.random.below(8) {
            0..=2 => Fault::FailOperation(later),
            3..=5 => Fault::StopAt(later),
            6 => Fault::FailSyncsFrom(later),
            _ => Fault::Capacity(self.random.below(20_000)),
        });
        self.has_faults = true;
    }

    fn mend(&mut self) {
        self.disk.mend();
        self.has_faults = false;
    }

    fn crash(&mut self) {
        let log = self.log.take();
        self.disk.crash(self.random.next_u64());
        if log.is_some_and(|log| log.failure().is_none()) {
            let names = self.disk.names();
            let is_log = |name: &&String| name.starts_with("metadata-") && name.split('.').next_back() == Some("log");
            assert_eq!(names.iter().filter(is_log).count(), 1, "an older one could stand in for it: {names:?}");
        }
        self.has_faults = false;
    }
}

#[test]
fn a_crash_at_any_operation_of_a_snapshot_leaves_one_valid_state() {
    let mut outcomes = [0, 0];
    for stop in 0.. {
        for seed in 0..20 {
            let disk = SimulatedDisk::new(seed);
            let open = || MetadataLog::open(Arc::new(disk.clone()) as Arc<dyn Disk>).unwrap();
            let (mut log, _) = open();
            log.append([b"a".as_slice(), b"b"]).unwrap();
            log.commit().unwrap();
            log.append([b"c".as_slice()]).unwrap();
            disk.fault(Fault::StopAt(disk.operations() + stop));
            let done = log.snapshot([b"abc".to_vec()].into_iter()).is_ok();
            disk.crash(seed);
            let (log, recovered) = open();
            let is_new = recovered.records == [b"abc"];
            assert!(is_new || (recovered.records == [b"a", b"b"] && !done), "{stop} {seed} {:?}", recovered.records);
            assert_eq!(log.durable().0, if is_new { 3 } else { 2 });
            assert!(!recovered.report.is_damaged(), "{}", recovered.report);
            outcomes[usize::from(is_new)] += 1;
            if done && seed == 19 {
                assert!(outcomes[0] > 0 && outcomes[1] > 20);
                return;
            }
        }
    }
}
