//! Files with something changed in them: no panic, nothing lost that is not damaged, nothing lost without a word.

use std::ops::Range;
use std::sync::Arc;

use leveret_storage::disk::SimulatedDisk;
use leveret_storage::disk::simulated::Random;
use leveret_storage::metadata::{MetadataLog, OpenError, Recovered};
use leveret_storage::record::{self, Decoded, Kind, Record, Sequence};

/// Bytes before the first record of a file.
const FILE_HEADER_BYTES: usize = 24;

#[test]
fn any_bytes_are_decoded_or_refused() {
    crate::seeds(17 << 32, 5000, |seed| {
        let mut random = Random::new(seed);
        let count = random.below_usize(64);
        let mut bytes = random.bytes(count);
        let payload = random.bytes(20);
        record::encode(Sequence(seed), Kind(1), &[&payload], &mut bytes).unwrap();
        if let Decoded::Complete { bytes: length, .. } = record::decode(&bytes) {
            assert!(length <= bytes.len());
        }
        let expected = Record { sequence: Sequence(seed), kind: Kind(1), payload: &payload };
        assert_eq!(
            record::decode(&bytes[count..]),
            Decoded::Complete { record: expected, bytes: record::HEADER_BYTES + payload.len() }
        );
    });
}

#[test]
fn damage_in_one_place_costs_what_is_there_and_no_more() {
    crate::seeds(18 << 32, 3000, |seed| {
        let mut random = Random::new(seed);
        let file = File::random(&mut random);
        let mut bytes = file.bytes.clone();
        let start = random.below_usize(bytes.len());
        let longest = if random.below(2) == 0 { 4 } else { 400 };
        let end = (start + 1 + random.below_usize(longest)).min(bytes.len());
        for byte in &mut bytes[start..end] {
            // Every byte is another one than before.
            *byte ^= u8::try_from(random.below(255)).unwrap() + 1;
        }
        let (recovered, _) = match open(&bytes) {
            Ok(opened) => opened,
            // Only the end of an empty snapshot stood in it.
            Err(_) if file.records.iter().all(|record| overlaps(&record.range, &(start..end))) => return,
            Err(error) => panic!("{error}"),
        };
        assert_eq!(recovered.records, file.expected(start..end), "{start}..{end} {}", recovered.report);
    });
}

#[test]
fn damage_in_several_places_is_survived() {
    crate::seeds(19 << 32, 3000, |seed| {
        let mut random = Random::new(seed);
        let file = File::random(&mut random);
        let mut bytes = file.bytes.clone();
        for _ in 0..=random.below(4) {
            mutate(&mut bytes, &mut random);
        }
        let unchanged = bytes.iter().zip(&file.bytes).take_while(|(now, before)| now == before).count();
        let all = file.payloads(|_| true);
        let before = file.payloads(|record| record.range.end <= unchanged);
        let Ok((recovered, _)) = open(&bytes) else {
            assert!(before.is_empty());
            return;
        };
        assert!(recovered.records.starts_with(&before), "{unchanged} {}", recovered.report);
        let mut rest = all.iter();
        let is_known = |found: &Vec<u8>| rest.any(|payload| payload == found);
        assert!(recovered.records.iter().all(is_known), "something unknown, or in another order");
        let is_silent = !recovered.report.is_damaged() && recovered.report.torn_tail.is_none();
        assert!(!is_silent || recovered.records == all || all.starts_with(&recovered.records));
    });
}

#[test]
fn any_bytes_under_the_logs_name_are_refused_and_left_alone() {
    crate::seeds(20 << 32, 1000, |seed| {
        let mut random = Random::new(seed);
        let count = random.below_usize(200);
        let bytes = random.bytes(count);
        assert!(open(&bytes).is_err());
    });
}

fn overlaps(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

pub(crate) fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    let at = random.below_usize(bytes.len() + 1);
    let count = random.below_usize(100).min(bytes.len() - at);
    match random.below(7) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..at + count)),
        2 => {
            let inserted = random.bytes(count);
            drop(bytes.splice(at..at, inserted));
        }
        3 => bytes[at..at + count].fill(0),
        4 => {
            // A piece of the file that stands there twice, as after a write that went astray.
            let from = random.below_usize(bytes.len() - count + 1);
            bytes.copy_within(from..from + count, at);
        }
        5 => bytes.extend(std::iter::repeat_n(0, random.below_usize(5000))),
        _ if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        _ => {}
    }
}

/// A file as the log wrote it, and what stands where.
struct File {
    bytes: Vec<u8>,
    records: Vec<Written>,
}

struct Written {
    range: Range<usize>,
    is_snapshot: bool,
    /// Of changes.
    sequence: Option<u64>,
    /// Up to which change this record says that all are durable.
    proves: Option<u64>,
    payload: Option<Vec<u8>>,
}

impl File {
    fn random(random: &mut Random) -> Self {
        let disk = SimulatedDisk::new(0);
        let mut log = MetadataLog::open(Arc::new(disk.clone())).unwrap().0;
        let mut number = 0_u64;
        let mut payloads = |random: &mut Random, count: u64| -> Vec<Vec<u8>> {
            let mut payload = || {
                number += 1;
                let count = random.below_usize(30);
                [number.to_le_bytes().to_vec(), random.bytes(count)].concat()
            };
            (0..count).map(|_| payload()).collect()
        };
        if random.below(2) == 0 {
            let count = random.below(6);
            log.snapshot(payloads(random, count).into_iter()).unwrap();
        }
        for _ in 0..random.below(5) {
            let count = random.below(5);
            log.append(payloads(random, count).iter().map(Vec::as_slice)).unwrap();
            log.commit().unwrap();
            if random.below(6) == 0 {
                drop(log);
                log = MetadataLog::open(Arc::new(disk.clone())).unwrap().0;
            }
        }
        let bytes = disk.bytes(&disk.names()[0]).unwrap();
        let records = Written::read(&bytes);
        Self { bytes, records }
    }

    fn payloads(&self, is_wanted: impl Fn(&Written) -> bool) -> Vec<Vec<u8>> {
        self.records.iter().filter(|record| is_wanted(record)).filter_map(|record| record.payload.clone()).collect()
    }

    /// What has to be found when a range is damaged.
    fn expected(&self, damaged: Range<usize>) -> Vec<Vec<u8>> {
        let is_lost = |record: &Written| overlaps(&record.range, &damaged);
        let mut lost = self.records.iter().filter(|record| is_lost(record));
        let proven = self.records.last().filter(|record| !is_lost(record)).and_then(|record| record.proves);
        let is_in_snapshot = damaged.start < FILE_HEADER_BYTES || lost.clone().any(|record| record.is_snapshot);
        let first_lost = lost.find_map(|record| record.sequence);
        // The last write, or what is left of it: nothing says that it was ever complete.
        let is_torn =
            !is_in_snapshot && first_lost.is_some_and(|sequence| proven.is_none_or(|proven| sequence > proven));
        self.payloads(|record| !is_lost(record) && (!is_torn || record.range.end <= damaged.start))
    }
}

/// Opens a folder that holds a log with these bytes, and checks what holds for all logs.
fn open(bytes: &[u8]) -> Result<(Recovered, MetadataLog), OpenError> {
    let disk = SimulatedDisk::new(0);
    let name = "metadata-0000000000000007.log";
    disk.put(name, bytes.to_vec());
    let opened = MetadataLog::open(Arc::new(disk.clone()));
    let (recovered, log) = match opened {
        Ok((log, recovered)) => (recovered, log),
        Err(error) => {
            assert_eq!(disk.names(), [name], "{error}");
            assert_eq!(disk.bytes(name).unwrap(), bytes, "{error}");
            return Err(error);
        }
    };
    let report = &recovered.report;
    assert!(report.damaged.is_empty() || !report.kept_aside.is_empty());
    for kept in &report.kept_aside {
        assert_eq!(disk.bytes(kept).unwrap(), bytes);
    }
    disk.crash(0);
    let (mut again, found) = MetadataLog::open(Arc::new(disk.clone())).unwrap();
    assert_eq!(found.records, recovered.records);
    assert!(!found.report.is_damaged() && found.report.torn_tail.is_none(), "{}", found.report);
    assert_eq!(again.durable(), log.durable());
    again.append([b"more".as_slice()]).unwrap();
    again.commit().unwrap();
    Ok((recovered, log))
}

impl Written {
    fn read(bytes: &[u8]) -> Vec<Self> {
        let mut records = Vec::new();
        let mut start = FILE_HEADER_BYTES;
        while let Decoded::Complete { record, bytes: length } = record::decode(&bytes[start..]) {
            let range = start..start + length;
            start = range.end;
            let sequence = record.sequence.0;
            let is_snapshot = matches!(record.kind, Kind(1 | 2));
            records.push(match record.kind {
                Kind(1) => {
                    Self { range, is_snapshot, sequence: None, proves: None, payload: Some(record.payload.to_vec()) }
                }
                Kind(3) => {
                    let (durable, payload) = record.payload.split_first_chunk().unwrap();
                    let durable = u64::from_le_bytes(*durable);
                    let payload = Some(payload.to_vec());
                    Self { range, is_snapshot, sequence: Some(sequence), proves: Some(durable), payload }
                }
                _ => Self { range, is_snapshot, sequence: None, proves: Some(sequence), payload: None },
            });
        }
        assert_eq!(start, bytes.len());
        records
    }
}
