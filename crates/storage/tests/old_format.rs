//! Files of older versions stay readable. A fixture is never written again: a change of format gets a new one beside it.

use std::sync::Arc;

use leveret_storage::disk::SimulatedDisk;
use leveret_storage::messages::{self, Group, MessageLog, Options, QueueKey, RecoveredQueue};
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

/// Files of the message log: 1, which is full; 2 and 3 were given back; 4, which is not full. Queues 1 to 3, of which 3 is
/// deleted; messages in one queue and in two, one without octets; settlements, marks of what was delivered.
const MESSAGES_VERSION_1: [(&str, &[u8]); 2] = [
    ("messages-0000000000000001.log", include_bytes!("fixtures/messages-version-1-file-1.log")),
    ("messages-0000000000000004.log", include_bytes!("fixtures/messages-version-1-file-4.log")),
];

const MESSAGES_OPTIONS: Options = Options { file_bytes: 1024, spare_files: 2, is_synced: true };

#[test]
fn message_files_of_version_1_are_read() {
    let disk = SimulatedDisk::new(0);
    for (name, bytes) in MESSAGES_VERSION_1 {
        disk.put(name, bytes.to_vec());
    }
    let (log, recovered) = MessageLog::open(Arc::new(disk), MESSAGES_OPTIONS).unwrap();
    assert!(!recovered.report.is_damaged(), "{}", recovered.report);
    assert_eq!(recovered.report.torn_tail, None);
    let queue = |key, first, next, messages, delivered_before| RecoveredQueue {
        queue: QueueKey(key),
        first,
        next,
        messages,
        delivered_before,
    };
    assert_eq!(recovered.queues, [queue(1, 0, 900, 5, 2), queue(2, 300, 301, 1, 0)]);
    let load = |queue| log.reader().load(QueueKey(queue), 0..u64::MAX, usize::MAX).unwrap().messages;
    let expected =
        [(0, b"first".to_vec()), (1, vec![]), (2, b"\0\xff".to_vec()), (3, vec![b'x'; 300]), (899, b"last".to_vec())];
    assert_eq!(load(1), expected.map(|(position, octets)| (position, octets.into())));
    assert_eq!(load(2), [(300, b"in two queues".as_slice().into())]);
    assert_eq!(load(3), []);
}

#[test]
fn what_is_written_now_is_what_the_message_fixtures_of_this_version_hold() {
    assert_eq!(messages::VERSION, 1, "a new version needs fixtures of its own");
    let disk = SimulatedDisk::new(0);
    let (mut log, _) = MessageLog::open(Arc::new(disk.clone()), MESSAGES_OPTIONS).unwrap();
    let mut group: Group<Arc<[u8]>> = Group::new();
    let mut write = |group: &mut Group<Arc<[u8]>>| {
        log.write(group).unwrap();
        log.sync().unwrap();
        group.clear();
        while log.maintain().unwrap() {}
    };
    let message = |octets: &[u8]| Arc::<[u8]>::from(octets);
    let shared = message(b"in two queues");
    group.publish(QueueKey(1), false, [(0, message(b"first")), (1, message(b""))].into_iter());
    group.publish(QueueKey(2), true, [(300, Arc::clone(&shared))].into_iter());
    group.publish(QueueKey(3), true, [(0, shared), (1, message(b"gone with its queue"))].into_iter());
    write(&mut group);
    group.publish(QueueKey(1), false, [(2, message(b"\0\xff")), (3, message(&[b'x'; 300]))].into_iter());
    group.delivered(QueueKey(1), 2);
    write(&mut group);
    group.publish(QueueKey(1), false, (4..7).map(|position| (position, message(&[b'y'; 200]))));
    write(&mut group);
    group.publish(QueueKey(1), false, [(7, message(&[b'z'; 200])), (899, message(b"last"))].into_iter());
    group.delete(QueueKey(3));
    write(&mut group);
    group.settle(QueueKey(1), 4..8);
    write(&mut group);
    for (name, bytes) in MESSAGES_VERSION_1 {
        assert!(disk.bytes(name).unwrap() == bytes, "{name} is another");
    }
}
