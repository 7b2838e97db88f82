//! What is in the folder when the message log is opened, and what opening makes of it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test reports a failure")]

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use leveret_storage::disk::simulated::Fault;
use leveret_storage::disk::{Disk, RealDisk, SimulatedDisk};
use leveret_storage::messages::{
    Group, MessageLog, OpenError, Options, QueueKey, Reader, Recovered, RecoveredQueue, WriteError,
};
use leveret_storage::record::{self, Decoded};

const FILE_BYTES: u64 = 2048;
/// Nine of them fill a file.
const MESSAGE_BYTES: usize = 200;

const QUEUE: QueueKey = QueueKey(7);

fn options() -> Options {
    Options { file_bytes: FILE_BYTES, ..Options::default() }
}

fn open(disk: &SimulatedDisk) -> Result<(MessageLog, Recovered), OpenError> {
    MessageLog::open(Arc::new(disk.clone()), options())
}

fn message(position: u64) -> Vec<u8> {
    position.to_le_bytes().into_iter().cycle().take(MESSAGE_BYTES).collect()
}

fn publish(log: &mut MessageLog, positions: Range<u64>) -> Result<(), WriteError> {
    let mut group = Group::new();
    group.publish(QUEUE, false, positions.map(|position| (position, message(position))));
    log.write(&mut group)?;
    log.sync()
}

fn settle(log: &mut MessageLog, positions: Range<u64>) -> Result<(), WriteError> {
    let mut group: Group<Vec<u8>> = Group::new();
    group.settle(QUEUE, positions);
    log.write(&mut group)?;
    log.sync()
}

fn maintain(log: &mut MessageLog) {
    for _ in 0..1000 {
        if !log.maintain().unwrap() {
            return;
        }
    }
    panic!("it never ends");
}

/// The positions of the messages in a queue, each of which is the right one, and of those that are damaged.
fn load(reader: &Reader) -> (Vec<u64>, Vec<u64>) {
    let loaded = reader.load(QUEUE, 0..u64::MAX, usize::MAX).unwrap();
    assert_eq!(loaded.up_to, u64::MAX);
    for (position, found) in &loaded.messages {
        assert!(**found == *message(*position), "{position}");
    }
    (loaded.messages.iter().map(|(position, _)| *position).collect(), loaded.lost)
}

/// Names and bytes of all files.
type Files = Vec<(String, Vec<u8>)>;

fn files(disk: &SimulatedDisk) -> Files {
    disk.names().into_iter().map(|name| (name.clone(), disk.bytes(&name).unwrap())).collect()
}

fn disk(files: &Files) -> SimulatedDisk {
    let disk = SimulatedDisk::new(0);
    for (name, bytes) in files {
        disk.put(name, bytes.clone());
    }
    disk
}

/// Messages 0 to 29, of which 3 to 5 and 20 are settled, the last ones in the last write. Files 1 to 5 have six messages
/// each, 5 is not full, and 6 is ready to be the next.
fn folder() -> Files {
    let made = SimulatedDisk::new(0);
    let (mut log, _) = open(&made).unwrap();
    for start in (0..30).step_by(3) {
        publish(&mut log, start..start + 3).unwrap();
    }
    settle(&mut log, 3..6).unwrap();
    settle(&mut log, 20..21).unwrap();
    files(&made)
}

/// What is live in it.
fn live() -> Vec<u64> {
    (0..3).chain(6..20).chain(21..30).collect()
}

fn without(positions: Range<u64>) -> Vec<u64> {
    live().into_iter().filter(|position| !positions.contains(position)).collect()
}

fn log_name(number: u64) -> String {
    format!("messages-{number:016x}.log")
}

fn file(files: &mut Files, number: u64) -> &mut Vec<u8> {
    let name = log_name(number);
    &mut files.iter_mut().find(|(file, _)| *file == name).unwrap().1
}

/// Where the records of a file are, with their kinds.
fn records(bytes: &[u8]) -> Vec<(u8, Range<usize>)> {
    let mut records = Vec::new();
    let mut start = HEADER_BYTES;
    while let Decoded::Complete { record, bytes: length } = record::decode(bytes.get(start..).unwrap_or_default()) {
        records.push((record.kind.0, start..start + length));
        start += length;
    }
    records
}

const HEADER_BYTES: usize = 32;
const MARK: u8 = 1;
const MESSAGE: u8 = 2;
const SETTLED: u8 = 3;
const OFFSETS: u8 = 8;
const DIRECTORY: u8 = 9;

/// Flips a bit in the middle of a record, given which one of its kind.
fn damage(files: &mut Files, number: u64, kind: u8, which: usize) {
    let bytes = file(files, number);
    let (_, range) = records(bytes).into_iter().filter(|(found, _)| *found == kind).nth(which).unwrap();
    *bytes.get_mut(range.start.midpoint(range.end)).unwrap() ^= 1;
}

/// Where a file ends in its last record.
fn end(files: &mut Files, number: u64) -> usize {
    records(file(files, number)).last().unwrap().1.end
}

struct Case {
    name: &'static str,
    /// What was done to [`folder`].
    change: fn(&mut Files),
    found: Vec<u64>,
    /// Found to be damaged when loaded.
    lost: &'static [u64],
    is_damaged: bool,
    missing: &'static [u64],
    kept_aside: &'static [u64],
}

impl Case {
    fn new(name: &'static str, change: fn(&mut Files), found: Vec<u64>) -> Self {
        Self { name, change, found, lost: &[], is_damaged: false, missing: &[], kept_aside: &[] }
    }

    fn damaged(self, kept_aside: &'static [u64]) -> Self {
        Self { is_damaged: true, kept_aside, ..self }
    }

    fn missing(self, missing: &'static [u64]) -> Self {
        Self { is_damaged: true, missing, ..self }
    }

    fn lost(self, lost: &'static [u64]) -> Self {
        Self { lost, ..self }
    }
}

#[test]
fn what_a_crash_or_a_stop_leaves_is_no_damage() {
    for case in [
        Case::new("nothing", Vec::clear, vec![]),
        Case::new("a stop", |_| {}, live()),
        Case::new(
            "others' files",
            |files| {
                for name in ["messages-1.log", "messages-000000000000000G.log", "spare", "lock", "messages-0.tmp"] {
                    files.push((name.to_owned(), b"others'".to_vec()));
                }
            },
            live(),
        ),
        Case::new("no file made ready", |files| drop(files.pop()), live()),
        Case::new(
            "a cut in the last write",
            |files| {
                let end = end(files, 5);
                file(files, 5).truncate(end - 1);
            },
            (0..3).chain(6..30).collect(),
        ),
        Case::new("a gap in the last write", |files| damage(files, 5, SETTLED, 1), (0..3).chain(6..30).collect()),
        Case::new(
            "zeros instead of the last write",
            |files| {
                let (_, mark) = records(file(files, 5)).into_iter().rfind(|(kind, _)| *kind == MARK).unwrap();
                file(files, 5).get_mut(mark.start..).unwrap().fill(0);
            },
            (0..3).chain(6..30).collect(),
        ),
        Case::new(
            "spare files of the usual size and others",
            |files| {
                for (number, bytes) in [(7, 2048), (8, 100), (9, 0), (10, 5000)] {
                    files.push((format!("spare-{number:016x}.log"), vec![1; bytes]));
                }
            },
            live(),
        ),
        Case::new(
            "a copy of a damaged file from an earlier start",
            |files| files.push((format!("{}.damaged", log_name(3)), vec![1; 100])),
            live(),
        ),
        Case::new(
            "only a copy of a damaged file",
            |files| {
                *files = vec![(format!("{}.damaged", log_name(3)), vec![1; 100])];
            },
            vec![],
        ),
    ] {
        check(case);
    }
}

#[test]
fn damage_costs_what_is_damaged_and_is_told() {
    for case in [
        // Not looked at before it is loaded.
        Case::new("a message in a full file", |files| damage(files, 2, MESSAGE, 1), without(7..8)).lost(&[7]),
        Case::new("a message in the newest file", |files| damage(files, 5, MESSAGE, 1), without(25..26)).damaged(&[5]),
        Case::new("a mark in the newest file", |files| damage(files, 5, MARK, 0), live()).damaged(&[5]),
        Case::new(
            "a settlement that is known to be durable",
            |files| damage(files, 5, SETTLED, 0),
            (0..20).chain(21..30).collect(),
        )
        .damaged(&[5]),
        Case::new("a directory", |files| damage(files, 3, DIRECTORY, 0), live()).damaged(&[3]),
        Case::new("the offsets of messages", |files| damage(files, 3, OFFSETS, 0), live()),
        Case::new("a trailer", |files| *file(files, 3).last_mut().unwrap() ^= 1, live()).damaged(&[3]),
        Case::new(
            "a full file that was cut",
            |files| {
                let (_, fourth) =
                    records(file(files, 3)).into_iter().filter(|(kind, _)| *kind == MESSAGE).nth(3).unwrap();
                file(files, 3).truncate(fourth.start);
            },
            without(15..18),
        )
        .damaged(&[3]),
        Case::new("a header", |files| *file(files, 2).first_mut().unwrap() ^= 1, live()).damaged(&[2]),
        Case::new("a blank file among others", |files| file(files, 2).fill(0), without(6..12)).damaged(&[2]),
        Case::new("an empty file among others", |files| file(files, 2).clear(), without(6..12)).damaged(&[2]),
        Case::new("a file is gone", |files| drop(files.remove(1)), without(6..12)).missing(&[2]),
        Case::new("the first files are gone", |files| drop(files.drain(..2)), without(0..12)).missing(&[1, 2]),
        // Nothing says that it was there.
        Case::new("the newest file is gone", |files| drop(files.remove(4)), (0..24).collect()),
    ] {
        check(case);
    }
}

fn check(case: Case) {
    let Case { name, change, found, lost, is_damaged, missing, kept_aside } = case;
    let mut before = folder();
    change(&mut before);
    let disk = disk(&before);
    let (mut log, recovered) = open(&disk).unwrap_or_else(|error| panic!("{name}: {error}"));
    let report = &recovered.report;
    assert_eq!(load(&log.reader()), (found.clone(), lost.to_vec()), "{name}: {report}");
    assert_eq!(report.is_damaged(), is_damaged, "{name}: {report}");
    assert_eq!(report.missing, missing.iter().map(|number| log_name(*number)).collect::<Vec<_>>(), "{name}");
    let copies = kept_aside.iter().map(|number| format!("{}.damaged", log_name(*number))).collect::<Vec<_>>();
    assert_eq!(report.kept_aside, copies, "{name}");
    assert!(report.leftovers.is_empty(), "{name}: a file that was ready and not used is not worth a word");
    let of_queue = recovered.queues.iter().find(|found| found.queue == QUEUE);
    assert_eq!(of_queue.map_or(0, |queue| queue.messages), (found.len() + lost.len()) as u64, "{name}");
    for (file, bytes) in &before {
        if bytes == b"others'" || file.split('.').next_back() == Some("damaged") {
            assert!(disk.bytes(file).unwrap() == *bytes, "{name}: {file} was touched");
        }
        let copy = format!("{file}.damaged");
        assert!(!copies.contains(&copy) || disk.bytes(&copy).unwrap() == *bytes, "{name}: {copy} is another");
    }
    // And it goes on from there.
    let next = of_queue.map_or(0, |queue| queue.next);
    assert!(found.iter().chain(lost).all(|position| *position < next), "{name}");
    for position in lost {
        settle(&mut log, *position..position + 1).unwrap();
    }
    publish(&mut log, next..next + 20).unwrap();
    maintain(&mut log);
    drop(log);
    disk.crash(0);
    let (log, again) = open(&disk).unwrap();
    let expected: Vec<u64> = found.into_iter().chain(next..next + 20).collect();
    assert_eq!(load(&log.reader()), (expected, vec![]), "{name}");
    assert!(!again.report.is_damaged(), "{name}: {}", again.report);
}

#[test]
fn files_that_were_given_back_without_a_word_are_not_missed() {
    // As on a full disk: the newest list has them, and only their headers say what became of them.
    let mut before = folder();
    for (name, _) in before.iter_mut().take(4) {
        *name = name.replace("messages", "spare");
    }
    let disk = disk(&before);
    for _ in 0..4 {
        let (log, recovered) = open(&disk).unwrap();
        assert!(!recovered.report.is_damaged(), "{}", recovered.report);
        assert_eq!(load(&log.reader()).0, (24..30).collect::<Vec<_>>());
        assert_eq!(log.stats().spare_files, 4);
        drop(log);
        disk.crash(0);
    }
    // Nor are they kept any longer than that.
    let (mut log, _) = open(&disk).unwrap();
    publish(&mut log, 30..32).unwrap();
    maintain(&mut log);
    assert!(log.stats().spare_files <= options().spare_files + 1, "{:?}", log.stats());
    drop(log);
    disk.crash(0);
    let (_, recovered) = open(&disk).unwrap();
    assert!(!recovered.report.is_damaged(), "{}", recovered.report);
}

#[test]
fn folders_that_may_not_be_used_are_refused_and_left_alone() {
    type Change = fn(&mut Files);
    let newer: Change = |files| {
        let header = file(files, 2).get_mut(..HEADER_BYTES).unwrap();
        *header.get_mut(8).unwrap() = 2;
        let (checked, crc) = header.split_at_mut(HEADER_BYTES - 4);
        crc.copy_from_slice(&crc_fast::crc32_iscsi(checked).to_le_bytes());
    };
    let foreign: Change = |files| *file(files, 3) = b"somebody else's file, which is longer than a header".to_vec();
    let exchanged: Change = |files| {
        let second = file(files, 2).clone();
        let third = std::mem::replace(file(files, 3), second);
        *file(files, 2) = third;
    };
    for (change, expected) in [
        (newer, format!("{} is a message log of version 2; this program reads version 1", log_name(2))),
        (foreign, format!("{} is not a message log, or nothing in it can be read", log_name(3))),
        (exchanged, format!("{} is not a message log, or nothing in it can be read", log_name(3))),
    ] {
        let mut before = folder();
        change(&mut before);
        let disk = disk(&before);
        assert_eq!(open(&disk).unwrap_err().to_string(), expected);
        assert_eq!(files(&disk), before, "{expected}");
    }
}

#[test]
fn the_report_says_what_was_found() {
    let new = SimulatedDisk::new(0);
    assert_eq!(open(&new).unwrap().1.report.to_string(), "the message log is new");
    let mut before = folder();
    damage(&mut before, 2, DIRECTORY, 0);
    damage(&mut before, 5, SETTLED, 1);
    damage(&mut before, 5, MESSAGE, 1);
    before.remove(2);
    assert_eq!(
        open(&disk(&before)).unwrap().1.report.to_string(),
        "files with messages: 4\n\
         an unfinished write was cut off messages-0000000000000005.log at byte 1472\n\
         messages-0000000000000002.log is damaged from byte 1438 to 2048, records lost: unknown\n\
         messages-0000000000000005.log is damaged from byte 275 to 495, records lost: 1\n\
         messages-0000000000000003.log is missing\n\
         the file as it was found is kept as messages-0000000000000002.log.damaged\n\
         the file as it was found is kept as messages-0000000000000005.log.damaged"
    );
}

#[test]
fn a_crash_while_damage_is_dealt_with_costs_nothing_more() {
    let mut before = folder();
    damage(&mut before, 2, DIRECTORY, 0);
    damage(&mut before, 5, MESSAGE, 1);
    let damaged = file(&mut before, 5).clone();
    for (stop, seed) in (0..80).flat_map(|stop| (0..10).map(move |seed| (stop, seed))) {
        let disk = disk(&before);
        disk.fault(Fault::StopAt(stop));
        let is_done = open(&disk).is_ok();
        disk.crash(seed);
        let (log, recovered) = open(&disk).unwrap();
        assert_eq!(load(&log.reader()), (without(25..26), vec![]), "{stop} {seed} {}", recovered.report);
        let copy = disk.bytes(&format!("{}.damaged", log_name(5))).unwrap();
        assert!(copy == damaged, "{stop} {seed}");
        assert!(stop < 79 || is_done, "80 operations are enough");
    }
}

#[test]
fn a_crash_at_any_operation_while_space_is_made_costs_nothing() {
    let expected: Vec<u64> = [0].into_iter().chain(13..14).chain(24..40).collect();
    let mut leftovers = BTreeSet::new();
    for stop in 0.. {
        let mut is_done = false;
        for seed in 0..10 {
            let disk = disk(&folder());
            let (mut log, _) = open(&disk).unwrap();
            settle(&mut log, 1..13).unwrap();
            settle(&mut log, 14..24).unwrap();
            publish(&mut log, 30..40).unwrap();
            let stop_at = disk.operations() + stop;
            disk.fault(Fault::StopAt(stop_at));
            // A file that cannot be read is no failure, it stays.
            while let Ok(true) = log.maintain() {}
            is_done = disk.operations() <= stop_at;
            assert!(!is_done || log.stats().copied > 0, "{:?}", log.stats());
            drop(log);
            disk.crash(seed);
            let (log, recovered) = open(&disk).unwrap();
            assert!(!recovered.report.is_damaged(), "{stop} {seed}: {}", recovered.report);
            assert_eq!(load(&log.reader()), (expected.clone(), vec![]), "{stop} {seed}");
            let messages = recovered.queues.iter().map(|queue| queue.messages).sum::<u64>();
            assert_eq!(messages, expected.len() as u64, "{stop} {seed}: each is counted once");
            leftovers.extend(recovered.report.leftovers);
        }
        if is_done {
            assert!(stop > 10);
            assert!(leftovers.contains(&log_name(2)), "a file that was given back in part: {leftovers:?}");
            return;
        }
    }
}

#[test]
fn after_a_failure_every_call_says_so() {
    type Break = fn(u64) -> Fault;
    let failures: [(Break, &str); 3] = [
        (Fault::FailOperation, "a write failed"),
        (|operation| Fault::FailOperation(operation + 1), "a sync failed"),
        (Fault::FailSyncsFrom, "a sync failed"),
    ];
    for (fault, expected) in failures {
        let disk = SimulatedDisk::new(1);
        let mut log = open(&disk).unwrap().0;
        publish(&mut log, 0..2).unwrap();
        disk.fault(fault(disk.operations()));
        publish(&mut log, 2..4).unwrap_err();
        disk.mend();
        let operations = disk.operations();
        assert!(matches!(publish(&mut log, 4..6), Err(WriteError::Failed(_))));
        assert!(matches!(log.sync(), Err(WriteError::Failed(_))));
        assert!(matches!(log.maintain(), Err(WriteError::Failed(_))));
        assert!(log.failure().unwrap().failure.starts_with(expected), "{:?}", log.failure());
        assert_eq!(disk.operations(), operations, "the disk is left alone");
        drop(log);
        disk.crash(0);
        let (found, _) = load(&open(&disk).unwrap().0.reader());
        assert!([2, 3, 4].iter().any(|count| found == (0..*count).collect::<Vec<_>>()), "{found:?}");
    }
}

#[test]
fn a_log_opens_on_a_full_disk() {
    let before = folder();
    let used: usize = before.iter().map(|(_, bytes)| bytes.len()).sum();
    for free in [0, 100] {
        let disk = disk(&before);
        disk.fault(Fault::Capacity((used + free) as u64));
        let (mut log, _) = open(&disk).unwrap();
        assert_eq!(load(&log.reader()), (live(), vec![]));
        settle(&mut log, 0..30).unwrap();
        maintain(&mut log);
        publish(&mut log, 30..42).unwrap();
        drop(log);
        disk.crash(0);
        assert_eq!(load(&open(&disk).unwrap().0.reader()), ((30..42).collect(), vec![]));
    }
}

#[test]
fn a_real_disk_brings_everything_back() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(folder.path().join("messages")).unwrap());
        MessageLog::open(disk, options()).unwrap()
    };
    let (mut log, recovered) = open();
    assert_eq!(recovered, Recovered::default());
    for start in (0..300).step_by(3) {
        publish(&mut log, start..start + 3).unwrap();
        settle(&mut log, start.saturating_sub(30)..start.saturating_sub(20)).unwrap();
        maintain(&mut log);
    }
    let expected: Vec<u64> = load(&log.reader()).0;
    assert!(expected.len() > 20 && expected.len() < 40, "{expected:?}");
    log.close().unwrap();
    let (log, recovered) = open();
    assert_eq!(load(&log.reader()), (expected.clone(), vec![]));
    assert!(!recovered.report.is_damaged(), "{}", recovered.report);
    let messages = expected.len() as u64;
    let found =
        RecoveredQueue { queue: QUEUE, first: *expected.first().unwrap(), next: 300, messages, delivered_before: 0 };
    assert_eq!(recovered.queues, [found]);
}
