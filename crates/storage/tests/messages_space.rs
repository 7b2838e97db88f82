//! What the message log makes of its space while messages come and go, and that readers never notice.
#![expect(clippy::unwrap_used, reason = "a panic is how a test reports a failure")]

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use leveret_storage::disk::SimulatedDisk;
use leveret_storage::disk::simulated::{Fault, Random};
use leveret_storage::messages::{Group, MessageLog, Options, QueueKey, Reader, Recovered, WriteError};

const FILE_BYTES: u64 = 16 << 10;

fn open(disk: &SimulatedDisk) -> (MessageLog, Recovered) {
    let options = Options { file_bytes: FILE_BYTES, ..Options::default() };
    MessageLog::open(Arc::new(disk.clone()), options).unwrap()
}

/// A message says where it belongs.
fn message(queue: u64, position: u64) -> Vec<u8> {
    let count = usize::try_from(40 + position * 7 % 200).unwrap();
    [queue.to_le_bytes(), position.to_le_bytes()].concat().into_iter().cycle().take(count).collect()
}

fn publish(group: &mut Group<Vec<u8>>, queue: u64, positions: Range<u64>) {
    let messages = positions.map(|position| (position, message(queue, position)));
    group.publish(QueueKey(queue), false, messages.collect::<Vec<_>>().into_iter());
}

fn write(log: &mut MessageLog, group: &mut Group<Vec<u8>>) {
    log.write(group).unwrap();
    log.sync().unwrap();
    group.clear();
}

/// As the server does between two writes.
fn maintain(log: &mut MessageLog) {
    let mut calls = 0;
    while log.maintain().unwrap() {
        calls += 1;
        assert!(calls < 1000, "it never ends");
    }
}

/// The positions of a queue; each message has to be the right one.
fn positions(reader: &Reader, queue: u64, mut range: Range<u64>) -> Vec<u64> {
    let mut positions = Vec::new();
    while !range.is_empty() {
        let loaded = reader.load(QueueKey(queue), range.clone(), 10_000).unwrap();
        assert_eq!(loaded.lost, [], "{range:?}");
        for (position, found) in loaded.messages {
            assert!(*found == message(queue, position), "{position}");
            positions.push(position);
        }
        assert!(loaded.up_to > range.start);
        range.start = loaded.up_to;
    }
    positions
}

fn log_files(disk: &SimulatedDisk) -> usize {
    disk.names().iter().filter(|name| name.starts_with("messages-")).count()
}

#[test]
fn a_stuck_message_does_not_keep_what_came_after_it() {
    let disk = SimulatedDisk::new(0);
    let (mut log, _) = open(&disk);
    let mut group = Group::default();
    publish(&mut group, 1, 0..1);
    let mut most = 0;
    for round in 0..400 {
        let positions = 1 + round * 20..21 + round * 20;
        publish(&mut group, 1, positions.clone());
        write(&mut log, &mut group);
        group.settle(QueueKey(1), positions);
        write(&mut log, &mut group);
        maintain(&mut log);
        most = most.max(log_files(&disk));
    }
    assert!(most <= 5, "{most} files");
    drop(log);
    disk.crash(0);
    let (log, recovered) = open(&disk);
    assert!(!recovered.report.is_damaged(), "{}", recovered.report);
    assert_eq!(positions(&log.reader(), 1, 0..u64::MAX), [0]);
}

#[test]
fn files_follow_what_is_live() {
    let disk = SimulatedDisk::new(0);
    let (mut log, _) = open(&disk);
    let mut group = Group::default();
    let mut random = Random::new(1);
    let mut live: Vec<(u64, u64)> = Vec::new();
    let mut next = 0;
    for round in 0..3000_u64 {
        let queue = 1 + round % 3;
        publish(&mut group, queue, next..next + 10);
        live.extend((next..next + 10).map(|position| (queue, position)));
        next += 10;
        // Up, level, and down again; in any order.
        let target = [1000, 1000, 100][usize::try_from(round / 1000).unwrap()];
        while live.len() > target {
            let (queue, position) = live.swap_remove(random.below_usize(live.len()));
            group.settle(QueueKey(queue), position..position + 1);
        }
        write(&mut log, &mut group);
        log.maintain().unwrap();
        if round % 500 == 499 {
            maintain(&mut log);
            let octets: usize = live.iter().map(|(queue, position)| message(*queue, *position).len() + 30).sum();
            // A third of a file may be live before it is worth a copy.
            let bound = 4 * octets as u64 / FILE_BYTES + 4;
            assert!(log_files(&disk) as u64 <= bound, "{} files for {octets} octets", log_files(&disk));
            for queue in 1..=3 {
                let mut expected: Vec<u64> =
                    live.iter().filter(|(of, _)| *of == queue).map(|(_, position)| *position).collect();
                expected.sort_unstable();
                assert_eq!(positions(&log.reader(), queue, 0..u64::MAX), expected);
            }
        }
    }
}

/// Bytes written for each byte of a message.
fn amplification(file_bytes: u64, settle: impl Fn(&mut Random, &mut Vec<u64>) -> Vec<u64>) -> f64 {
    const GROUP: u64 = 16;
    const ROUNDS: u64 = 600;
    const OCTETS: usize = 1024;
    let disk = SimulatedDisk::new(0);
    let options = Options { file_bytes, ..Options::default() };
    let (mut log, _) = MessageLog::open(Arc::new(disk), options).unwrap();
    let mut random = Random::new(2);
    let mut live = Vec::new();
    let mut group = Group::default();
    for round in 0..ROUNDS {
        let positions = round * GROUP..(round + 1) * GROUP;
        live.extend(positions.clone());
        group.publish(QueueKey(1), false, positions.map(|position| (position, vec![1; OCTETS])));
        for position in settle(&mut random, &mut live) {
            group.settle(QueueKey(1), position..position + 1);
        }
        write(&mut log, &mut group);
        log.maintain().unwrap();
    }
    #[expect(clippy::cast_precision_loss, reason = "far from it")]
    let written = log.stats().bytes_written as f64;
    #[expect(clippy::cast_precision_loss, reason = "far from it")]
    let given = (ROUNDS * GROUP * OCTETS as u64) as f64;
    written / given
}

#[test]
fn little_is_written_twice() {
    // A queue that is drained as it fills.
    let drained = amplification(256 << 10, |_, live| {
        let count = live.len().saturating_sub(500);
        live.drain(..count).collect()
    });
    assert!(drained < 1.3, "{drained}");
    // One of which each message is equally likely to go next.
    let level = amplification(256 << 10, |random, live| {
        let mut gone = Vec::new();
        while live.len() > 2000 {
            gone.push(live.swap_remove(random.below_usize(live.len())));
        }
        gone
    });
    assert!(level < 2.0, "{level}");
}

#[test]
fn what_is_settled_where_it_is_published_is_not_written() {
    let disk = SimulatedDisk::new(0);
    let (mut log, _) = open(&disk);
    let mut group = Group::default();
    let before = log.stats().bytes_written;
    publish(&mut group, 1, 0..100);
    publish(&mut group, 2, 0..100);
    group.settle(QueueKey(1), 0..100);
    group.delete(QueueKey(2));
    let wrote = log.write(&mut group).unwrap();
    assert_eq!((wrote.messages, wrote.elided, wrote.must_sync), (0, 200, false));
    assert!(log.stats().bytes_written - before < 200, "{:?}", log.stats());
    assert_eq!(log.stats().live, 0);
    log.sync().unwrap();
    drop(log);
    disk.crash(0);
    assert!(open(&disk).1.queues.iter().all(|queue| queue.messages == 0));
}

#[test]
fn a_message_for_many_queues_is_written_once() {
    let disk = SimulatedDisk::new(0);
    let (mut log, _) = open(&disk);
    let message: Arc<[u8]> = vec![7; 10_000].into();
    let mut group = Group::default();
    for queue in 1..=100 {
        group.publish(QueueKey(queue), true, [(queue, Arc::clone(&message))].into_iter());
    }
    let wrote = log.write(&mut group).unwrap();
    assert_eq!((wrote.messages, wrote.must_sync), (1, true));
    assert!(wrote.bytes < 11_000, "{wrote:?}");
    log.sync().unwrap();
    // It stays for as long as one of them has it.
    group.clear();
    for queue in 1..100 {
        group.settle(QueueKey(queue), 0..u64::MAX);
    }
    log.write(&mut group).unwrap();
    log.sync().unwrap();
    maintain(&mut log);
    drop(log);
    disk.crash(0);
    let (log, _) = open(&disk);
    for queue in 1..=100 {
        let loaded = log.reader().load(QueueKey(queue), 0..u64::MAX, usize::MAX).unwrap();
        let expected = if queue == 100 { vec![(100, Arc::clone(&message))] } else { vec![] };
        assert_eq!(loaded.messages, expected, "{queue}");
    }
}

#[test]
fn a_full_disk_takes_settlements_and_works_again_afterwards() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let disk = SimulatedDisk::new(seed);
        let (mut log, _) = open(&disk);
        disk.fault(Fault::Capacity(FILE_BYTES * (3 + random.below(6)) + random.below(FILE_BYTES)));
        let mut group = Group::default();
        let mut live = Vec::new();
        let mut next = 0;
        for _ in 0..3 {
            loop {
                publish(&mut group, 1, next..next + 5);
                match log.write(&mut group) {
                    Ok(_) => group.clear(),
                    Err(WriteError::Full) => break,
                    Err(error) => panic!("{error}"),
                }
                live.extend(next..next + 5);
                next += 5;
                log.sync().unwrap();
                log.maintain().unwrap();
            }
            assert!(!live.is_empty());
            // What is left in the group is as it was.
            assert_eq!(group.octets(), (next..next + 5).map(|position| message(1, position).len()).sum::<usize>());
            assert_eq!(positions(&log.reader(), 1, 0..u64::MAX), live);
            let mut settlements: Group<Vec<u8>> = Group::default();
            let keep = random.below_usize(10);
            while live.len() > keep {
                let position = live.remove(random.below_usize(live.len()));
                settlements.settle(QueueKey(1), position..position + 1);
                if random.below(3) == 0 {
                    log.write(&mut settlements).unwrap();
                    settlements.clear();
                    log.sync().unwrap();
                    log.maintain().unwrap();
                }
            }
            log.write(&mut settlements).unwrap();
            log.sync().unwrap();
            maintain(&mut log);
            log.write(&mut group).unwrap();
            group.clear();
            live.extend(next..next + 5);
            next += 5;
            log.sync().unwrap();
        }
        drop(log);
        disk.crash(seed);
        let (log, recovered) = open(&disk);
        assert!(!recovered.report.is_damaged(), "{}", recovered.report);
        assert_eq!(positions(&log.reader(), 1, 0..u64::MAX), live);
    }
}

#[test]
fn an_area_to_page_out_to_is_never_synced_and_begins_empty() {
    let disk = SimulatedDisk::new(0);
    let open = || {
        let options = Options { file_bytes: FILE_BYTES, is_synced: false, ..Options::default() };
        MessageLog::open(Arc::new(disk.clone()), options).unwrap()
    };
    let (mut log, _) = open();
    disk.fault(Fault::FailSyncsFrom(disk.operations()));
    let mut group = Group::default();
    for round in 0..200 {
        publish(&mut group, 1, round * 10..round * 10 + 10);
        group.settle(QueueKey(1), 0..(round * 10).saturating_sub(300));
        log.write(&mut group).unwrap();
        group.clear();
        log.sync().unwrap();
        maintain(&mut log);
    }
    assert_eq!(positions(&log.reader(), 1, 0..u64::MAX), (1690..2000).collect::<Vec<_>>());
    assert!(log_files(&disk) < 20, "{:?}", disk.names());
    drop(log);
    let (mut log, recovered) = open();
    assert_eq!(recovered.queues, []);
    assert!(!recovered.report.is_damaged(), "{}", recovered.report);
    publish(&mut group, 1, 0..10);
    log.write(&mut group).unwrap();
    assert_eq!(positions(&log.reader(), 1, 0..u64::MAX), (0..10).collect::<Vec<_>>());
}

/// Ends the readers, also when the writer panics.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn readers_never_see_a_file_being_used_again() {
    let disk = SimulatedDisk::new(0);
    let (mut log, _) = open(&disk);
    let published = AtomicU64::new(0);
    let settled = AtomicU64::new(0);
    let is_done = AtomicBool::new(false);
    // One in fifty stays for a while.
    let is_kept = |position: u64| position.is_multiple_of(50);
    let read = |reader: Reader| {
        let mut loads = 0_u64;
        while !is_done.load(Ordering::SeqCst) {
            let start = settled.load(Ordering::SeqCst);
            let end = published.load(Ordering::SeqCst);
            let found = positions(&reader, 1, start..end);
            let start = settled.load(Ordering::SeqCst);
            let missing = (start..end).filter(|position| is_kept(*position)).find(|position| !found.contains(position));
            assert_eq!(missing, None, "{start}..{end}");
            loads += 1;
        }
        loads
    };
    std::thread::scope(|scope| {
        let readers = [(); 2].map(|()| {
            let reader = log.reader();
            scope.spawn(|| read(reader))
        });
        let done = Done(&is_done);
        let mut group = Group::default();
        for round in 0..1500 {
            let positions = round * 20..(round + 1) * 20;
            publish(&mut group, 1, positions.clone());
            write(&mut log, &mut group);
            published.store(positions.end, Ordering::SeqCst);
            for position in positions.clone().filter(|position| !is_kept(*position)) {
                group.settle(QueueKey(1), position..position + 1);
            }
            if round % 10 == 9 {
                let before = positions.end.saturating_sub(2000);
                settled.store(before, Ordering::SeqCst);
                group.settle(QueueKey(1), 0..before);
            }
            write(&mut log, &mut group);
            log.maintain().unwrap();
        }
        drop(done);
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
}
