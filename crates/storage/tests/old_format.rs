//! Files of older versions stay readable. A fixture is never written again: a change of format gets a new one beside it.

use std::sync::Arc;

use leveret_storage::disk::SimulatedDisk;
use leveret_storage::metadata::{MetadataLog, VERSION};

/// A snapshot up to change 4 with three entries, changes 5 and 6, a start in between, change 7.
const VERSION_1: &[u8] = include_bytes!("fixtures/metadata-version-1.log");

const NAME: &str = "metadata-0000000000000002.log";

#[test]
fn a_file_of_version_1_is_read() {
    let disk = SimulatedDisk::new(0);
    disk.put(NAME, VERSION_1.to_vec());
    let (log, recovered) = MetadataLog::open(Arc::new(disk)).unwrap();
    let expected: [&[u8]; 6] = [b"vhost /", b"user guest", b"", b"exchange logs", b"queue \0\xff", b"binding"];
    assert_eq!(recovered.records, expected);
    assert_eq!(log.durable().0, 7);
    assert!(!recovered.report.is_damaged(), "{}", recovered.report);
    assert_eq!(recovered.report.torn_tail, None);
}

#[test]
fn what_is_written_now_is_what_the_fixture_of_this_version_holds() {
    assert_eq!(VERSION, 1, "a new version needs a fixture of its own");
    let disk = SimulatedDisk::new(0);
    let open = || MetadataLog::open(Arc::new(disk.clone())).unwrap().0;
    let mut log = open();
    log.append([b"1".as_slice(), b"2", b"3", b"4"]).unwrap();
    log.commit().unwrap();
    log.snapshot([b"vhost /".to_vec(), b"user guest".to_vec(), Vec::new()].into_iter()).unwrap();
    log.append([b"exchange logs".as_slice(), b"queue \0\xff"]).unwrap();
    log.commit().unwrap();
    let mut log = open();
    log.append([b"binding".as_slice()]).unwrap();
    log.commit().unwrap();
    assert_eq!(disk.bytes(NAME).unwrap(), VERSION_1);
}
