//! The message log as a whole: what is written, settled, given back and read, with files of a few kilobytes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::*;
use crate::disk::SimulatedDisk;
use crate::disk::simulated::Fault;

pub(super) const SMALL: Options = Options { file_bytes: 4 << 10, spare_files: 2, is_synced: true };

pub(super) fn open(disk: &SimulatedDisk) -> (MessageLog, Recovered) {
    MessageLog::open(Arc::new(disk.clone()), SMALL).unwrap()
}

pub(super) fn message(queue: u64, position: u64) -> Vec<u8> {
    format!("message {position} of queue {queue}").repeat(1 + (position % 5) as usize).into_bytes()
}

pub(super) fn publish(group: &mut Group<Vec<u8>>, queue: u64, positions: Range<u64>) {
    group.publish(QueueKey(queue), false, positions.map(|position| (position, message(queue, position))));
}

/// Everything that is live in a queue, loaded in small pieces.
pub(super) fn load(log: &MessageLog, queue: u64) -> BTreeMap<u64, Vec<u8>> {
    let reader = log.reader();
    let mut all = BTreeMap::new();
    let mut at = 0;
    while at < u64::MAX {
        let loaded = reader.load(QueueKey(queue), at..u64::MAX, 100).unwrap();
        assert_eq!(loaded.lost, []);
        assert!(loaded.up_to > at);
        at = loaded.up_to;
        all.extend(loaded.messages.into_iter().map(|(position, octets)| (position, octets.to_vec())));
    }
    all
}

fn expected(queue: u64, positions: impl IntoIterator<Item = u64>) -> BTreeMap<u64, Vec<u8>> {
    positions.into_iter().map(|position| (position, message(queue, position))).collect()
}

#[test]
fn what_was_written_is_there_before_and_after_a_restart() {
    let disk = SimulatedDisk::new(1);
    let (mut log, recovered) = open(&disk);
    assert_eq!(recovered, Recovered::default());
    let mut group = Group::new();
    for round in 0..30 {
        group.clear();
        publish(&mut group, 1, round * 10..round * 10 + 10);
        publish(&mut group, 2, round..round + 1);
        let wrote = log.write(&mut group).unwrap();
        assert_eq!((wrote.messages, wrote.elided, wrote.must_sync), (11, 0, true));
        log.sync().unwrap();
        log.maintain().unwrap();
    }
    group.clear();
    group.settle(QueueKey(1), 5..100);
    group.settle(QueueKey(1), 150..151);
    group.delivered(QueueKey(1), 120);
    log.write(&mut group).unwrap();
    log.sync().unwrap();
    let live = || (0..5).chain(100..150).chain(151..300);
    assert_eq!(load(&log, 1), expected(1, live()));
    assert_eq!(load(&log, 2), expected(2, 0..30));
    assert!(log.stats().files > 3, "{:?}", log.stats());
    for _ in 0..3 {
        let (log, recovered) = open(&disk);
        assert!(!recovered.report.is_damaged(), "{}", recovered.report);
        assert_eq!(
            recovered.queues,
            [
                RecoveredQueue { queue: QueueKey(1), first: 0, next: 300, messages: 204, delivered_before: 120 },
                RecoveredQueue { queue: QueueKey(2), first: 0, next: 30, messages: 30, delivered_before: 0 }
            ]
        );
        assert_eq!(load(&log, 1), expected(1, live()));
        assert_eq!(load(&log, 2), expected(2, 0..30));
    }
}

#[test]
fn files_without_live_messages_are_given_back() {
    let disk = SimulatedDisk::new(1);
    let (mut log, _) = open(&disk);
    let mut group = Group::new();
    for round in 0..100 {
        group.clear();
        publish(&mut group, 1, round * 10..round * 10 + 10);
        if round >= 10 {
            group.settle(QueueKey(1), (round - 10) * 10..(round - 9) * 10);
        }
        log.write(&mut group).unwrap();
        log.sync().unwrap();
        while log.maintain().unwrap() {}
    }
    assert_eq!(load(&log, 1), expected(1, 900..1000));
    assert!(disk.names().len() <= 8 && log.stats().spare_files <= 4, "{:?} {:?}", disk.names(), log.stats());
    let (mut log, recovered) = open(&disk);
    assert!(!recovered.report.is_damaged(), "{}", recovered.report);
    assert_eq!(load(&log, 1), expected(1, 900..1000));
    group.clear();
    group.delete(QueueKey(1));
    log.write(&mut group).unwrap();
    while log.maintain().unwrap() {}
    assert!(log.stats().files <= 1, "{:?}", log.stats());
    let (_, recovered) = open(&disk);
    assert_eq!(recovered.queues, []);
}

#[test]
fn what_is_settled_in_the_same_group_is_not_written() {
    let disk = SimulatedDisk::new(1);
    let (mut log, _) = open(&disk);
    let shared: Arc<[u8]> = Arc::from(b"shared".as_slice());
    let mut group = Group::new();
    for queue in 1..=3 {
        group.publish(QueueKey(queue), true, (0..3).map(|position| (position, Arc::clone(&shared))));
    }
    group.settle(QueueKey(1), 0..2);
    group.delete(QueueKey(2));
    let wrote = log.write(&mut group).unwrap();
    assert_eq!((wrote.messages, wrote.elided), (1, 5), "one clone is one message");
    for (queue, positions) in [(1, vec![2]), (2, vec![]), (3, vec![0, 1, 2])] {
        assert_eq!(load(&log, queue).into_keys().collect::<Vec<_>>(), positions);
    }
    group.clear();
    group.publish(QueueKey(4), false, [(0, Arc::clone(&shared))].into_iter());
    group.settle(QueueKey(4), 0..1);
    let wrote = log.write(&mut group).unwrap();
    assert_eq!(wrote, Wrote { bytes: 0, messages: 0, elided: 1, must_sync: false });
}

#[test]
fn a_full_disk_takes_settlements_and_no_messages_until_there_is_space() {
    let disk = SimulatedDisk::new(1);
    disk.fault(Fault::Capacity(6 * SMALL.file_bytes));
    let (mut log, _) = open(&disk);
    let mut group = Group::new();
    let mut next = 0;
    let refused = loop {
        group.clear();
        publish(&mut group, 1, next..next + 10);
        match log.write(&mut group) {
            Ok(_) => next += 10,
            Err(error) => break error,
        }
        log.maintain().unwrap();
    };
    assert_eq!(refused, WriteError::Full);
    assert_eq!(load(&log, 1), expected(1, 0..next), "none of the group");
    // Only messages are left in the group, and the same ones again change nothing.
    group.settle(QueueKey(1), 0..next - 5);
    group.settle(QueueKey(1), next..next + 3);
    assert_eq!(log.write(&mut group), Err(WriteError::Full));
    assert_eq!(load(&log, 1), expected(1, next - 5..next));
    assert!(group.settled.is_empty() && group.messages.len() == 7);
    log.sync().unwrap();
    while log.maintain().unwrap() {}
    assert!(!log.stats().is_owing);
    assert_eq!(log.write(&mut group).unwrap().messages, 7);
    log.sync().unwrap();
    let (log, recovered) = open(&disk);
    assert!(!recovered.report.is_damaged(), "{}", recovered.report);
    assert_eq!(load(&log, 1), expected(1, (next - 5..next).chain(next + 3..next + 10)));
}

#[test]
fn what_is_left_of_a_file_is_copied_and_read_as_before() {
    let disk = SimulatedDisk::new(1);
    let (mut log, _) = open(&disk);
    let mut group = Group::new();
    for round in 0..40 {
        group.clear();
        publish(&mut group, 1, round * 10..round * 10 + 10);
        log.write(&mut group).unwrap();
    }
    let files = log.stats().files;
    group.clear();
    for position in (0..400).filter(|position| position % 8 != 0) {
        group.settle(QueueKey(1), position..position + 1);
    }
    log.write(&mut group).unwrap();
    log.sync().unwrap();
    while log.maintain().unwrap() {}
    let live = || (0..400).filter(|position| position % 8 == 0);
    assert!(log.stats().copied > 0 && log.stats().files * 2 < files, "{files} {:?}", log.stats());
    assert_eq!(load(&log, 1), expected(1, live()));
    drop(log);
    disk.crash(1);
    assert_eq!(load(&open(&disk).0, 1), expected(1, live()), "what was given up was copied durably before");
}

#[test]
fn a_message_in_many_queues_is_copied_once() {
    let disk = SimulatedDisk::new(1);
    let (mut log, _) = open(&disk);
    let shared: Arc<[u8]> = vec![7; 100].into();
    let mut group = Group::new();
    for queue in 1..=3 {
        group.publish(QueueKey(queue), true, [(0, Arc::clone(&shared))].into_iter());
    }
    log.write(&mut group).unwrap();
    for round in 0..30 {
        let mut group = Group::new();
        publish(&mut group, 9, round * 10..round * 10 + 10);
        log.write(&mut group).unwrap();
    }
    let mut group: Group<Vec<u8>> = Group::new();
    group.delete(QueueKey(9));
    group.settle(QueueKey(2), 0..1);
    log.write(&mut group).unwrap();
    while log.maintain().unwrap() {}
    assert_eq!(log.stats().copied, 1);
    log.close().unwrap();
    let (log, _) = open(&disk);
    for (queue, count) in [(1, 1), (2, 0), (3, 1), (9, 0)] {
        assert_eq!(load(&log, queue).len(), count, "{queue}");
    }
}
