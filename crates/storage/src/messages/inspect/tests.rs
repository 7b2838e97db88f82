//! A log with a history, damaged in every way, checked and repaired.

use std::collections::{BTreeMap, BTreeSet};

use super::super::tests::{SMALL, message, open, publish};
use super::super::{Group, MessageLog, QueueKey};
use super::*;
use crate::disk::SimulatedDisk;
use crate::disk::simulated::{Fault, Random};
use crate::record;

const QUEUES: u64 = 4;

/// Every message in these tests has octets.
fn size(octets: &[u8]) -> Option<u64> {
    (!octets.is_empty()).then_some(octets.len() as u64)
}

fn check(disk: &SimulatedDisk) -> Checked {
    let mut seen = (0, 0);
    let inspection = Inspection::open(disk).unwrap();
    let checked = inspection.check(&size, &mut |done, total| seen = (done, total)).unwrap();
    assert_eq!(seen.0, seen.1, "progress gets to its end");
    checked
}

fn mend(disk: &SimulatedDisk) -> Repaired {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    repair(&disk, SMALL, &size, &mut |_, _| {}).unwrap()
}

fn contents(disk: &SimulatedDisk) -> BTreeMap<String, Vec<u8>> {
    disk.names().into_iter().map(|name| (name.clone(), disk.bytes(&name).unwrap())).collect()
}

/// Everything live that can be read, by queue and position.
fn readable(reader: &Reader) -> BTreeSet<(u64, u64)> {
    let mut all = BTreeSet::new();
    for queue in 0..QUEUES {
        let mut at = 0;
        while at < u64::MAX {
            let loaded = reader.load(QueueKey(queue), at..u64::MAX, 1 << 20).unwrap();
            at = loaded.up_to;
            for (position, octets) in loaded.messages {
                assert_eq!(*octets, *message(queue, position));
                all.insert((queue, position));
            }
        }
    }
    all
}

/// A log with a history: messages, settlements, deletions, files given back. Ends with what is live in it.
fn history(seed: u64) -> (SimulatedDisk, BTreeSet<(u64, u64)>) {
    let disk = SimulatedDisk::new(seed);
    let mut random = Random::new(seed);
    let (mut log, _) = open(&disk);
    let mut group = Group::new();
    let mut next = BTreeMap::new();
    for round in 0..60 {
        group.clear();
        for queue in 0..QUEUES {
            let start = next.get(&queue).copied().unwrap_or_default();
            let end = start + random.below(8);
            next.insert(queue, end);
            if queue == 3 && round > 40 {
                continue;
            }
            publish(&mut group, queue, start..end);
            if random.below(3) > 0 && start > 20 {
                let settled = random.below(start);
                group.settle(QueueKey(queue), settled..settled + random.below(15));
                group.delivered(QueueKey(queue), settled);
            }
        }
        if round == 40 {
            group.clear();
            group.delete(QueueKey(3));
        }
        log.write(&mut group).unwrap();
        log.sync().unwrap();
        log.maintain().unwrap();
        if random.below(15) == 0 {
            log.close().unwrap();
            log = open(&disk).0;
        }
    }
    let live = readable(&log.reader());
    assert!(live.len() > 100, "{}", live.len());
    log.close().unwrap();
    (disk, live)
}

#[test]
fn a_sound_log_is_found_sound_and_left_as_it_is() {
    for seed in 0..40 {
        let (disk, live) = history(seed);
        let before = contents(&disk);
        let checked = check(&disk);
        assert!(checked.is_sound(), "seed {seed}: {checked:#?}");
        assert_eq!(readable(&Inspection::open(&disk).unwrap().reader()), live, "seed {seed}");
        let repaired = mend(&disk);
        if repaired.steps.is_empty() {
            assert_eq!(contents(&disk), before, "seed {seed}");
        }
        // What a file holds from an earlier life can look like a write that was begun.
        let is_tail = |step: &Step| matches!(step, Step::CutTail(tail) if tail.records == 0);
        assert!(repaired.steps.iter().all(is_tail), "seed {seed}: {:?}", repaired.steps);
        for queue in &checked.queues {
            let key = queue.queue.0;
            let positions: Vec<u64> = live.range((key, 0)..(key + 1, 0)).map(|(_, position)| *position).collect();
            assert_eq!(queue.messages, positions.len() as u64, "seed {seed}");
            assert_eq!((queue.first, queue.last), (positions.first().copied(), positions.last().copied()));
            let bytes: usize = positions.iter().map(|position| message(key, *position).len()).sum();
            assert_eq!(queue.bytes, bytes as u64, "seed {seed}");
        }
        let queues = Inspection::open(&disk).unwrap().queues();
        assert_eq!(open(&disk).1.queues, queues, "seed {seed}: as an open finds it");
        let delivered: u64 = checked.queues.iter().map(|queue| queue.delivered).sum();
        let before = |(queue, position): &&(u64, u64)| {
            queues.iter().any(|known| known.queue.0 == *queue && *position < known.delivered_before)
        };
        assert_eq!(delivered, live.iter().filter(before).count() as u64, "seed {seed}");
    }
}

/// Flips bits and cuts files; a repair has to leave everything that could be read, nothing else, and a sound log.
#[test]
fn a_repair_keeps_what_can_be_read_and_a_second_one_finds_nothing() {
    for seed in 0..200 {
        let (disk, live) = history(seed % 20);
        let mut random = Random::new(seed);
        let names = contents(&disk);
        let logs: Vec<_> = names.keys().filter(|name| name.starts_with("messages-")).collect();
        for _ in 0..=random.below(4) {
            let name = logs[random.below_usize(logs.len())];
            let bits = 8 * names[name].len() as u64;
            match random.below(8) {
                0 => disk.put(name, names[name][..random.below_usize(names[name].len())].to_vec()),
                // Where files have their ends.
                1 => drop(disk.flip_bit(name, bits - 1 - random.below(bits.min(32 * 8))).unwrap()),
                _ => drop(disk.flip_bit(name, random.below(bits)).unwrap()),
            }
        }
        let damaged = contents(&disk);
        let checked = check(&disk);
        assert_eq!(contents(&disk), damaged, "seed {seed}: a check changes nothing");
        let before = readable(&Inspection::open(&disk).unwrap().reader());
        let repaired = mend(&disk);
        assert_eq!(repaired.before, checked, "seed {seed}");
        assert!(repaired.after.is_sound(), "seed {seed}: {repaired:#?}");
        assert_eq!(repaired.after.unreadable(), 0, "seed {seed}");
        let again = mend(&disk);
        assert_eq!(again.steps, [], "seed {seed}: {repaired:#?}");
        let after = readable(&Inspection::open(&disk).unwrap().reader());
        assert!(before.is_subset(&after), "seed {seed}: {:?}", before.difference(&after).collect::<Vec<_>>());
        let (log, recovered) = open(&disk);
        assert!(!recovered.report.is_damaged(), "seed {seed}: {}", recovered.report);
        assert_eq!(readable(&log.reader()), after, "seed {seed}");
        let messages: u64 = recovered.queues.iter().map(|queue| queue.messages).sum();
        assert_eq!(messages, after.len() as u64, "seed {seed}: counts are right");
        // As long as the ends of files are there, what was settled stays so.
        if checked.files.iter().all(|file| file.state != FileState::Unreadable && !has_no_end(&damaged, file)) {
            assert!(after.is_subset(&live), "seed {seed}: {:?}", after.difference(&live).collect::<Vec<_>>());
            let kept = |step: &&Step| matches!(step, Step::KeepCopy { .. });
            let rewritten = |step: &&Step| matches!(step, Step::Rewrite { .. });
            let count = |which: &dyn Fn(&&Step) -> bool| repaired.steps.iter().filter(which).count();
            assert!(count(&kept) >= count(&rewritten), "seed {seed}: {:?}", repaired.steps);
        }
        for step in &repaired.steps {
            if let Step::KeepCopy { file, copy } = step {
                assert_eq!(disk.bytes(copy).unwrap(), damaged[file], "seed {seed}");
            }
        }
    }
}

fn has_no_end(files: &BTreeMap<String, Vec<u8>>, report: &FileReport) -> bool {
    let disk = SimulatedDisk::new(0);
    let Some(bytes) = files.get(&report.name) else { return false };
    disk.put("file", bytes.clone());
    let file = disk.open("file").unwrap();
    let Some(Name::Log(number)) = Name::parse(&report.name) else { return false };
    report.messages > 0 && read_end(&*file, bytes.len() as u64, number).unwrap().is_none()
}

#[test]
fn a_repair_that_is_interrupted_is_done_by_the_next() {
    for seed in 0..60 {
        let (disk, _) = history(seed % 10);
        let mut random = Random::new(seed);
        let logs: Vec<_> = disk.names().into_iter().filter(|name| name.starts_with("messages-")).collect();
        for _ in 0..3 {
            let name = &logs[random.below_usize(logs.len())];
            let bits = 8 * disk.bytes(name).unwrap().len() as u64;
            disk.flip_bit(name, random.below(bits)).unwrap();
        }
        let before = readable(&Inspection::open(&disk).unwrap().reader());
        disk.fault(Fault::StopAt(disk.operations() + random.below(120)));
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let first = repair(&shared, SMALL, &size, &mut |_, _| {});
        disk.crash(seed);
        let repaired = mend(&disk);
        assert!(repaired.after.is_sound(), "seed {seed}: {first:#?} {repaired:#?}");
        let after = readable(&Inspection::open(&disk).unwrap().reader());
        assert!(before.is_subset(&after), "seed {seed}: {first:?} {:?}", before.difference(&after).collect::<Vec<_>>());
        assert_eq!(mend(&disk).steps, [], "seed {seed}");
    }
}

#[test]
fn files_that_are_missing_or_not_the_logs_are_named() {
    let (disk, _) = history(1);
    let logs: Vec<_> = check(&disk).files.into_iter().filter(|file| file.state == FileState::Sealed).collect();
    let (gone, foreign) = (logs[0].name.clone(), logs[1].name.clone());
    disk.remove(&gone).unwrap();
    disk.put(&foreign, b"not a message log, and longer than a header".to_vec());
    disk.put("notes.txt", Vec::new());
    let unfinished = format!("{foreign}.damaged.tmp");
    disk.put(&unfinished, Vec::new());
    let checked = check(&disk);
    assert_eq!(checked.missing, std::slice::from_ref(&gone));
    let state = |name: &str| checked.files.iter().find(|file| file.name == name).map(|file| file.state);
    assert_eq!(state(&foreign), Some(FileState::Unreadable));
    assert_eq!(state("notes.txt"), Some(FileState::Other));
    assert!(!checked.is_sound());
    let repaired = mend(&disk);
    let aside = format!("{foreign}.damaged");
    let steps =
        [Step::Remove { file: unfinished }, Step::SetAside { file: foreign, name: aside }, Step::Forget { file: gone }];
    assert_eq!(repaired.steps, steps);
    assert!(repaired.after.is_sound(), "{repaired:#?}");
    assert!(!open(&disk).1.report.is_damaged());
}

#[test]
fn a_file_that_was_given_back_is_not_missed_whatever_its_header_says() {
    let (disk, _) = history(1);
    let sealed = check(&disk).files.into_iter().find(|file| file.state == FileState::Sealed).unwrap();
    disk.remove(&sealed.name).unwrap();
    disk.put(&sealed.name.replace("messages-", "spare-"), vec![0; 64]);
    assert_eq!(check(&disk).missing, [""; 0]);
    assert_eq!(open(&disk).1.report.missing, [""; 0]);
}

#[test]
fn a_torn_tail_is_no_damage_and_is_cut() {
    let disk = SimulatedDisk::new(1);
    let (mut log, _) = open(&disk);
    let mut group = Group::new();
    publish(&mut group, 1, 0..5);
    log.write(&mut group).unwrap();
    log.sync().unwrap();
    group.clear();
    publish(&mut group, 1, 5..7);
    log.write(&mut group).unwrap();
    drop(log);
    let name = disk.names()[0].clone();
    let mut bytes = disk.bytes(&name).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[end - 3] ^= 1;
    disk.put(&name, bytes);
    let checked = check(&disk);
    assert!(checked.is_sound(), "{checked:#?}");
    let file = checked.files.iter().find(|file| file.name == name).unwrap();
    assert_eq!(file.state, FileState::Open);
    assert_eq!(file.torn_tail.as_ref().map(|tail| tail.records), Some(0));
    assert_eq!(checked.queues[0].messages, 6);
    let repaired = mend(&disk);
    assert!(matches!(&repaired.steps[..], [Step::CutTail(_)]), "{:?}", repaired.steps);
    assert_eq!(repaired.after.queues, checked.queues);
    assert_eq!(mend(&disk).steps, []);
}

/// An open would take it for a write that was not finished, as nothing says that it was.
#[test]
fn damage_to_the_last_write_costs_nothing_behind_it() {
    let disk = SimulatedDisk::new(1);
    let (mut log, _) = open(&disk);
    let mut group = Group::new();
    publish(&mut group, 1, 0..10);
    log.write(&mut group).unwrap();
    log.close().unwrap();
    let name = disk.names()[0].clone();
    let bytes = disk.bytes(&name).unwrap();
    let text = message(1, 4);
    let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
    disk.flip_bit(&name, 8 * at as u64).unwrap();
    let checked = check(&disk);
    assert_eq!((checked.queues[0].messages, checked.lost(), checked.is_sound()), (9, Some(1), false));
    let file = checked.files.iter().find(|file| file.name == name).unwrap();
    assert_eq!((file.state, file.damaged.len(), &file.torn_tail), (FileState::Open, 1, &None));
    assert!(mend(&disk).after.is_sound());
    assert_eq!(mend(&disk).steps, []);
    let (log, recovered) = open(&disk);
    assert!(!recovered.report.is_damaged() && recovered.report.torn_tail.is_none(), "{}", recovered.report);
    let expected = (0..10).filter(|position| *position != 4).map(|position| (1, position)).collect();
    assert_eq!(readable(&log.reader()), expected);
}

#[test]
fn a_damaged_table_loses_nothing() {
    let (disk, live) = history(3);
    let checked = check(&disk);
    let sealed = checked.files.iter().find(|file| file.state == FileState::Sealed && file.live > 0).unwrap();
    let inspection = Inspection::open(&disk).unwrap();
    let log = inspection.logs.iter().find(|log| log.name == sealed.name).unwrap();
    let table = log.directory.as_ref().unwrap().offsets_at;
    disk.flip_bit(&sealed.name, 8 * table + 1).unwrap();
    let unfinished = format!("{}.damaged.tmp", sealed.name);
    disk.put(&unfinished, Vec::new());
    let damaged = check(&disk);
    let report = damaged.files.iter().find(|file| file.name == sealed.name).unwrap();
    assert_eq!(report.damaged.iter().map(|damage| damage.records).collect::<Vec<_>>(), [Some(0)]);
    assert_eq!((damaged.unreadable(), damaged.lost(), damaged.is_sound()), (0, Some(0), false));
    let repaired = mend(&disk);
    assert_eq!(repaired.steps.first(), Some(&Step::Remove { file: unfinished }));
    assert!(repaired.after.is_sound());
    assert_eq!(readable(&Inspection::open(&disk).unwrap().reader()), live);
}

#[test]
fn a_file_that_was_cut_does_not_say_what_is_lost() {
    let (disk, _) = history(3);
    let checked = check(&disk);
    assert_eq!(checked.lost(), Some(0));
    let sealed = checked.files.iter().find(|file| file.state == FileState::Sealed && file.live > 0).unwrap();
    disk.put(&sealed.name, disk.bytes(&sealed.name).unwrap()[..1500].to_vec());
    let damaged = check(&disk);
    assert_eq!((damaged.lost(), damaged.is_sound()), (None, false));
    assert_eq!(mend(&disk).after.lost(), Some(0));
}

#[test]
fn what_is_no_message_counts_as_unreadable() {
    let (disk, live) = history(2);
    let is_one = |octets: &[u8]| (octets != message(1, live_position(&live))).then_some(1);
    let checked = Inspection::open(&disk).unwrap().check(&is_one, &mut |_, _| {}).unwrap();
    assert_eq!((checked.unreadable(), checked.is_sound()), (1, false));
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let repaired = repair(&shared, SMALL, &is_one, &mut |_, _| {}).unwrap();
    assert!(repaired.after.is_sound());
    assert_eq!(readable(&Inspection::open(&disk).unwrap().reader()).len(), live.len() - 1);
}

fn live_position(live: &BTreeSet<(u64, u64)>) -> u64 {
    live.range((1, 0)..).next().unwrap().1
}

#[test]
fn another_version_is_refused() {
    let disk = SimulatedDisk::new(1);
    let mut header = b"LVRTMSGS".to_vec();
    header.extend_from_slice(&9_u32.to_le_bytes());
    header.extend_from_slice(&[0; 16]);
    header.extend_from_slice(&record::checksum(&header).to_le_bytes());
    disk.put("messages-0000000000000001.log", header);
    assert!(matches!(Inspection::open(&disk), Err(OpenError::Version { version: 9, .. })));
    assert!(matches!(MessageLog::open(Arc::new(disk), SMALL), Err(OpenError::Version { version: 9, .. })));
}
