//! What is in the folder when the log is opened, and what opening makes of it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test reports a failure")]

use std::io;
use std::sync::Arc;

use leveret_storage::disk::simulated::Fault;
use leveret_storage::disk::{Disk, RealDisk, SimulatedDisk};
use leveret_storage::metadata::{
    AppendError, CHANGE_BYTES_MAX, CommitError, MetadataLog, OpenError, Recovered, SNAPSHOT_CHANGES_BYTES_MIN,
    SnapshotError,
};

fn open(disk: &SimulatedDisk) -> Result<(MetadataLog, Recovered), OpenError> {
    MetadataLog::open(Arc::new(disk.clone()))
}

fn commit(log: &mut MetadataLog, payloads: &[&str]) {
    log.append(payloads.iter().map(|payload| payload.as_bytes())).unwrap();
    log.commit().unwrap();
}

/// The bytes of a log: a snapshot, then changes, each in a commit of its own.
fn bytes(snapshot: &[&str], changes: &[&str]) -> Vec<u8> {
    let disk = SimulatedDisk::new(0);
    let mut log = open(&disk).unwrap().0;
    log.snapshot(snapshot.iter().map(|payload| payload.as_bytes().to_vec())).unwrap();
    for change in changes {
        commit(&mut log, &[change]);
    }
    disk.bytes("metadata-0000000000000002.log").unwrap()
}

fn texts(recovered: &Recovered) -> Vec<&str> {
    recovered.records.iter().map(|record| std::str::from_utf8(record).unwrap()).collect()
}

fn flipped(mut bytes: Vec<u8>, from_end: usize) -> Vec<u8> {
    let place = bytes.len() - from_end;
    *bytes.get_mut(place).unwrap() ^= 1;
    bytes
}

fn cut(mut bytes: Vec<u8>, count: usize) -> Vec<u8> {
    bytes.truncate(bytes.len() - count);
    bytes
}

const LOG_1: &str = "metadata-0000000000000001.log";
const LOG_2: &str = "metadata-0000000000000002.log";
const LOG_3: &str = "metadata-0000000000000003.log";
const LOG_4: &str = "metadata-0000000000000004.log";
const TEMPORARY_1: &str = "metadata-0000000000000001.log.tmp";
const TEMPORARY_4: &str = "metadata-0000000000000004.log.tmp";
const DAMAGED_2: &str = "metadata-0000000000000002.log.damaged";
const DAMAGED_3: &str = "metadata-0000000000000003.log.damaged";

struct Case {
    name: &'static str,
    before: Vec<(&'static str, Vec<u8>)>,
    found: &'static [&'static str],
    after: &'static [&'static str],
    is_damaged: bool,
}

#[test]
fn what_a_crash_leaves_is_cleared_away() {
    let whole = || bytes(&["a", "b"], &["c", "d"]);
    // What a snapshot of `whole` writes.
    let next = || bytes(&["a", "b", "c", "d"], &[]);
    let harmless = [
        Case { name: "empty", before: vec![], found: &[], after: &[LOG_1], is_damaged: false },
        Case {
            name: "the first start was cut short",
            before: vec![(TEMPORARY_1, cut(bytes(&[], &[]), 9))],
            found: &[],
            after: &[LOG_1],
            is_damaged: false,
        },
        Case {
            name: "others' files",
            before: vec![(LOG_3, whole()), ("metadata-x.log", vec![1]), ("lock", vec![])],
            found: &["a", "b", "c", "d"],
            after: &["lock", LOG_3, "metadata-x.log"],
            is_damaged: false,
        },
        Case {
            name: "a torn tail",
            before: vec![(LOG_3, cut(whole(), 1))],
            found: &["a", "b", "c"],
            after: &[LOG_3],
            is_damaged: false,
        },
        Case {
            name: "a snapshot not yet renamed",
            before: vec![(LOG_3, whole()), (TEMPORARY_4, cut(next(), 20))],
            found: &["a", "b", "c", "d"],
            after: &[LOG_3],
            is_damaged: false,
        },
        Case {
            name: "the old file not yet removed",
            before: vec![(LOG_2, whole()), (LOG_3, next())],
            found: &["a", "b", "c", "d"],
            after: &[LOG_3],
            is_damaged: false,
        },
        Case {
            name: "several old files",
            before: vec![(LOG_1, vec![]), (LOG_2, whole()), (LOG_4, next())],
            found: &["a", "b", "c", "d"],
            after: &[LOG_4],
            is_damaged: false,
        },
    ];
    harmless.into_iter().for_each(check);
}

#[test]
fn damage_is_kept_aside() {
    let whole = || bytes(&["a", "b"], &["c", "d"]);
    let next = || bytes(&["a", "b", "c", "d"], &[]);
    let damaged = [
        Case {
            name: "damage in the middle",
            before: vec![(LOG_3, flipped(whole(), 30))],
            found: &["a", "b", "d"],
            after: &[DAMAGED_3, LOG_4],
            is_damaged: true,
        },
        Case {
            name: "damage in a snapshot whose predecessor is there",
            before: vec![(LOG_2, whole()), (LOG_3, flipped(next(), 30))],
            found: &["a", "b", "c", "d"],
            after: &[DAMAGED_3, LOG_4],
            is_damaged: true,
        },
        Case {
            name: "damage in a snapshot and its predecessor",
            before: vec![(LOG_2, flipped(whole(), 30)), (LOG_3, flipped(next(), 30))],
            found: &["a", "b", "c"],
            after: &[DAMAGED_2, DAMAGED_3, LOG_4],
            is_damaged: true,
        },
        Case {
            name: "a blank file whose predecessor is there",
            before: vec![(LOG_2, whole()), (LOG_3, vec![0; 100])],
            found: &["a", "b", "c", "d"],
            after: &[DAMAGED_3, LOG_4],
            is_damaged: true,
        },
        Case {
            name: "a predecessor of a damaged file that was in use",
            before: vec![(LOG_2, bytes(&["old"], &[])), (LOG_3, flipped(whole(), 30))],
            found: &["a", "b", "d"],
            after: &[DAMAGED_3, LOG_4],
            is_damaged: true,
        },
        Case {
            name: "a copy of the damaged file already made",
            before: vec![(LOG_3, flipped(whole(), 30)), (DAMAGED_3, vec![1, 2, 3])],
            found: &["a", "b", "d"],
            after: &[DAMAGED_3, LOG_4],
            is_damaged: true,
        },
    ];
    damaged.into_iter().for_each(check);
}

fn check(case: Case) {
    let Case { name, before, found, after, is_damaged } = case;
    let disk = SimulatedDisk::new(0);
    for (file, bytes) in &before {
        disk.put(file, bytes.clone());
    }
    let (mut log, recovered) = open(&disk).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(texts(&recovered), found, "{name}");
    assert_eq!(disk.names(), after, "{name}");
    assert_eq!(recovered.report.is_damaged(), is_damaged, "{name}: {}", recovered.report);
    for kept in &recovered.report.kept_aside {
        let original = before.iter().find(|(file, _)| *file == kept.trim_end_matches(".damaged")).unwrap();
        assert_eq!(disk.bytes(kept).unwrap(), original.1, "{name}");
    }
    // And it goes on from there.
    commit(&mut log, &["more"]);
    disk.crash(0);
    let (_, again) = open(&disk).unwrap();
    let expected: Vec<&str> = found.iter().copied().chain(["more"]).collect();
    assert_eq!(texts(&again), expected, "{name}");
    assert!(!again.report.is_damaged(), "{name}: {}", again.report);
}

#[test]
fn a_crash_while_damage_is_dealt_with_costs_nothing_more() {
    let whole = || bytes(&["a", "b"], &["c", "d"]);
    let next = || bytes(&["a", "b", "c", "d"], &[]);
    for (before, found) in [
        (vec![(LOG_3, flipped(whole(), 30))], ["a", "b", "d"].as_slice()),
        (vec![(LOG_2, whole()), (LOG_3, flipped(next(), 30))], &["a", "b", "c", "d"]),
        (vec![(LOG_2, flipped(whole(), 30)), (LOG_3, flipped(next(), 30))], &["a", "b", "c"]),
    ] {
        for (stop, seed) in (0..40).flat_map(|stop| (0..20).map(move |seed| (stop, seed))) {
            let disk = SimulatedDisk::new(seed);
            for (file, bytes) in &before {
                disk.put(file, bytes.clone());
            }
            disk.fault(Fault::StopAt(stop));
            let is_done = open(&disk).is_ok();
            disk.crash(seed);
            let (_, recovered) = open(&disk).unwrap();
            assert_eq!(texts(&recovered), found, "{stop} {seed}");
            let (_, damaged) = before.last().unwrap();
            assert_eq!(&disk.bytes(DAMAGED_3).unwrap(), damaged, "{stop} {seed}");
            assert!(stop < 39 || is_done, "40 operations are enough");
        }
    }
}

#[test]
fn folders_that_may_not_be_used_are_refused_and_left_alone() {
    let whole = || bytes(&["a"], &["b"]);
    let mut newer = whole();
    *newer.get_mut(8).unwrap() = 2;
    let crc = checksum(newer.get(..20).unwrap());
    newer.get_mut(20..24).unwrap().copy_from_slice(&crc.to_le_bytes());
    for (before, expected) in [
        (vec![(LOG_3, newer.clone())], format!("{LOG_3} is a metadata log of version 2; this program reads version 1")),
        (
            vec![(LOG_2, whole()), (LOG_3, newer)],
            format!("{LOG_3} is a metadata log of version 2; this program reads version 1"),
        ),
        (vec![(LOG_3, b"not ours".to_vec())], format!("{LOG_3} is not a metadata log, or nothing in it can be read")),
        (
            vec![(LOG_2, whole()), (LOG_3, b"not ours".to_vec())],
            format!("{LOG_3} is not a metadata log, or nothing in it can be read"),
        ),
        (
            vec![(LOG_1, b"not ours".to_vec()), (LOG_2, whole()), (LOG_3, whole())],
            format!("{LOG_1} is not a metadata log, or nothing in it can be read"),
        ),
        (
            vec![(LOG_3, Vec::new())],
            format!("{LOG_3} is blank, though a metadata log under this name was once complete"),
        ),
        (vec![(DAMAGED_3, whole())], format!("the metadata log is gone; only {DAMAGED_3} is left of it")),
    ] {
        let disk = SimulatedDisk::new(0);
        for (file, bytes) in &before {
            disk.put(file, bytes.clone());
        }
        assert_eq!(open(&disk).unwrap_err().to_string(), expected);
        assert_eq!(disk.names().len(), before.len());
        for (file, bytes) in before {
            assert_eq!(disk.bytes(file).unwrap(), bytes);
        }
    }
}

/// The checksum as any program would compute it, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0x82F6_3B78 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

#[test]
fn the_report_says_what_was_found() {
    let disk = SimulatedDisk::new(0);
    assert_eq!(open(&disk).unwrap().1.report.to_string(), format!("{LOG_1} is new"));
    disk.remove(LOG_1).unwrap();
    disk.put(LOG_2, vec![]);
    disk.put(LOG_3, cut(flipped(bytes(&["a", "b"], &["c", "d", "e"]), 60), 1));
    disk.put(TEMPORARY_4, vec![]);
    assert_eq!(
        open(&disk).unwrap().1.report.to_string(),
        "metadata-0000000000000004.log is in use, in place of metadata-0000000000000003.log\n\
         an unfinished write was cut off at byte 137: 25 bytes\n\
         metadata-0000000000000003.log is damaged from byte 85 to 111, records lost: 1\n\
         the file as it was found is kept as metadata-0000000000000003.log.damaged\n\
         metadata-0000000000000004.log.tmp was left by a crash and removed"
    );
}

#[test]
fn after_a_failure_every_call_says_so() {
    type Break = fn(u64) -> Fault;
    let failures: [(Break, &str); 4] = [
        (Fault::FailOperation, "space could not be reserved"),
        (|operation| Fault::FailOperation(operation + 1), "a write failed"),
        (|operation| Fault::FailOperation(operation + 2), "a sync failed"),
        (Fault::FailSyncsFrom, "a sync failed"),
    ];
    for (fault, expected) in failures {
        let disk = SimulatedDisk::new(1);
        let mut log = open(&disk).unwrap().0;
        log.append([b"a".as_slice()]).unwrap();
        disk.fault(fault(disk.operations()));
        assert!(!matches!(log.commit().unwrap_err(), CommitError::Poisoned(_)));
        disk.mend();
        let operations = disk.operations();
        assert!(matches!(log.append([b"b".as_slice()]), Err(AppendError::Poisoned(_))));
        assert!(matches!(log.commit(), Err(CommitError::Poisoned(_))));
        assert!(matches!(log.snapshot(std::iter::empty()), Err(SnapshotError::Poisoned(_))));
        assert!(log.failure().unwrap().failure.starts_with(expected), "{:?}", log.failure());
        assert!(!log.wants_snapshot());
        assert_eq!(disk.operations(), operations, "the disk is left alone");
    }
}

#[test]
fn a_full_disk_is_told_and_costs_nothing_committed() {
    let disk = SimulatedDisk::new(0);
    let mut log = open(&disk).unwrap().0;
    commit(&mut log, &["a"]);
    let used = log.file_bytes();
    disk.fault(Fault::Capacity(used + 1000));
    // The new file does not fit: the old one stays in use.
    let refused = log.snapshot([vec![0; 1000]].into_iter()).unwrap_err();
    assert!(matches!(refused, SnapshotError::Abandoned(error) if error.kind() == io::ErrorKind::StorageFull));
    assert_eq!(disk.names(), [LOG_1]);
    commit(&mut log, &["b"]);
    log.append([[0; 1000].as_slice()]).unwrap();
    for _ in 0..2 {
        assert!(matches!(log.commit().unwrap_err(), CommitError::Full));
    }
    // With space, it goes on where it was.
    disk.mend();
    log.append([b"c".as_slice()]).unwrap();
    log.commit().unwrap();
    disk.crash(0);
    let found = open(&disk).unwrap().1;
    assert_eq!(found.records.len(), 4);
    assert_eq!(
        (found.records[1].as_slice(), found.records[2].len(), found.records[3].as_slice()),
        (&b"b"[..], 1000, &b"c"[..])
    );
}

#[test]
fn a_log_opens_on_a_full_disk() {
    for (name, before) in [("unmarked", bytes(&["a"], &["b"])), ("torn", cut(bytes(&["a"], &["b", "c"]), 1))] {
        for free in [0, 5] {
            let disk = SimulatedDisk::new(0);
            disk.put(LOG_3, before.clone());
            disk.fault(Fault::Capacity((before.len() + free) as u64));
            let (log, recovered) = open(&disk).unwrap();
            assert_eq!(texts(&recovered), ["a", "b"], "{name}");
            drop(log);
            disk.mend();
            let (mut log, recovered) = open(&disk).unwrap();
            assert_eq!(texts(&recovered), ["a", "b"], "{name}");
            assert_eq!(recovered.report.torn_tail, None, "{name}");
            commit(&mut log, &["c"]);
        }
    }
}

#[test]
fn a_change_that_is_too_large_is_refused_with_those_beside_it() {
    let disk = SimulatedDisk::new(0);
    let mut log = open(&disk).unwrap().0;
    log.append([b"a".as_slice()]).unwrap();
    let large = vec![0; CHANGE_BYTES_MAX + 1];
    let refused = log.append([b"b".as_slice(), &large]).unwrap_err();
    assert!(matches!(refused, AppendError::TooLarge { bytes } if bytes == large.len()));
    let refused = log.snapshot([large].into_iter()).unwrap_err();
    assert!(matches!(refused, SnapshotError::TooLarge { .. }));
    assert_eq!(disk.names(), [LOG_1]);
    assert_eq!(log.commit().unwrap(), log.appended());
    assert_eq!(texts(&open(&disk).unwrap().1), ["a"]);
}

#[test]
fn a_snapshot_is_wanted_when_changes_outgrow_it() {
    let disk = SimulatedDisk::new(0);
    let mut log = open(&disk).unwrap().0;
    let change = vec![0; usize::try_from(SNAPSHOT_CHANGES_BYTES_MIN).unwrap() / 2];
    let grow = |log: &mut MetadataLog| {
        log.append([change.as_slice()]).unwrap();
        log.commit().unwrap();
        log.wants_snapshot()
    };
    assert_eq!([grow(&mut log), grow(&mut log)], [false, true]);
    // Nearly three times as large: the next one is wanted after as many changes.
    log.snapshot(std::iter::repeat_n(change.get(100..).unwrap().to_vec(), 3)).unwrap();
    assert_eq!([grow(&mut log), grow(&mut log), grow(&mut log), grow(&mut log)], [false, false, true, true]);
    // After one that failed it is not wanted with every commit.
    disk.fault(Fault::FailOperation(disk.operations()));
    log.snapshot(std::iter::empty()).unwrap_err();
    disk.mend();
    assert!(!log.wants_snapshot());
    assert_eq!([grow(&mut log), grow(&mut log), grow(&mut log)], [false, true, true]);
}

#[test]
fn a_snapshot_holds_what_was_only_appended() {
    let disk = SimulatedDisk::new(0);
    let mut log = open(&disk).unwrap().0;
    log.append([b"a".as_slice(), b"b"]).unwrap();
    assert_eq!(log.snapshot([b"ab".to_vec()].into_iter()).unwrap().0, 2);
    assert_eq!(log.commit().unwrap().0, 2, "nothing is left to commit");
    commit(&mut log, &["c"]);
    assert_eq!(log.durable().0, 3);
    disk.crash(0);
    assert_eq!(texts(&open(&disk).unwrap().1), ["ab", "c"]);
}

#[test]
fn a_real_disk_brings_everything_back() {
    let folder = tempfile::tempdir().unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk::open(folder.path().join("metadata")).unwrap());
    let (mut log, recovered) = MetadataLog::open(Arc::clone(&disk)).unwrap();
    assert_eq!(recovered.report.file, None);
    commit(&mut log, &["a", "b"]);
    log.snapshot(["a", "b"].iter().map(|payload| payload.as_bytes().to_vec())).unwrap();
    commit(&mut log, &["c"]);
    drop(log);
    let (_, recovered) = MetadataLog::open(Arc::clone(&disk)).unwrap();
    assert_eq!(texts(&recovered), ["a", "b", "c"]);
    assert_eq!(disk.list().unwrap(), [LOG_2]);
}
