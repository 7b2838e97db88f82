//! Any bytes as files of the message log: it opens or refuses, and asks for no more memory than a file could fill.

use std::io;
use std::sync::Arc;

use leveret_storage::disk::simulated::Random;
use leveret_storage::disk::{Disk, DiskFile, SimulatedDisk};
use leveret_storage::messages::{Group, MessageLog, QueueKey};
use leveret_storage::record::{self, Decoded, Kind, Sequence};

use crate::messages_damage::Site;

#[test]
fn any_bytes_are_opened_or_refused() {
    crate::seeds(25 << 32, 700, |seed| {
        let mut random = Random::new(seed);
        let site = Site::random(random.below(40));
        let disk = SimulatedDisk::new(0);
        for (name, bytes) in site.files {
            let bytes = match random.below(12) {
                0 => {
                    let count = random.below_usize(3000);
                    random.bytes(count)
                }
                1..=3 => bytes,
                4..=6 => mutated(bytes, &mut random),
                7..=9 => forged(bytes, &mut random),
                _ => {
                    let bytes = forged(bytes, &mut random);
                    mutated(bytes, &mut random)
                }
            };
            disk.put(&name, bytes);
        }
        let before: Vec<(String, Vec<u8>)> =
            disk.names().into_iter().map(|name| (name.clone(), disk.bytes(&name).unwrap())).collect();
        let (mut log, recovered) = match MessageLog::open(Arc::new(Careful(disk.clone())), site.options) {
            Ok(opened) => opened,
            Err(error) => {
                let is_untouched = |(name, bytes): &(String, Vec<u8>)| disk.bytes(name).unwrap() == *bytes;
                assert!(before.iter().all(is_untouched), "{error}");
                return;
            }
        };
        let reader = log.reader();
        let mut group: Group<Vec<u8>> = Group::default();
        for queue in &recovered.queues {
            let mut start = queue.first;
            for _ in 0..20 {
                let loaded = reader.load(queue.queue, start..u64::MAX, 1000).unwrap();
                assert!(loaded.up_to > start || start == u64::MAX);
                let apart: Vec<u64> =
                    (0..30).map(|number| start.saturating_add(number * 7)).take_while(|at| *at < u64::MAX).collect();
                let _ = reader.load_at(queue.queue, &apart, 1000).unwrap();
                start = loaded.up_to;
                for lost in loaded.lost {
                    group.settle(queue.queue, lost..lost.saturating_add(1));
                }
            }
            group.publish(queue.queue, false, [(queue.next, vec![1; 10])].into_iter());
        }
        let _ = reader.load(QueueKey(random.next_u64()), 0..u64::MAX, 1000).unwrap();
        log.write(&mut group).unwrap();
        log.sync().unwrap();
        for _ in 0..50 {
            let _ = log.maintain().unwrap();
        }
        drop(log);
        disk.crash(seed);
        let _ = MessageLog::open(Arc::new(Careful(disk)), site.options).unwrap();
    });
}

/// Bytes of a header, and of a trailer.
const FRAME_BYTES: usize = 32;

/// Bytes that were changed by something that knows nothing of records.
fn mutated(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    for _ in 0..=random.below(4) {
        crate::damage::mutate(&mut bytes, random);
    }
    bytes
}

/// Bytes in which records say other things than they did, with checksums that are right.
fn forged(mut bytes: Vec<u8>, random: &mut Random) -> Vec<u8> {
    // The header and the trailer have their checksum at the end.
    let behind = bytes.len().saturating_sub(FRAME_BYTES);
    for start in [0, behind] {
        if let Some(frame) = bytes.get_mut(start..start + FRAME_BYTES)
            && random.below(6) == 0
        {
            frame[random.below_usize(FRAME_BYTES - 4)] ^= 1 << random.below(8);
            let crc = crc_fast::crc32_iscsi(&frame[..FRAME_BYTES - 4]);
            frame[FRAME_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        }
    }
    let mut start = 0;
    while start < bytes.len() {
        let Decoded::Complete { record, bytes: length } = record::decode(&bytes[start..]) else {
            start += 1;
            continue;
        };
        if random.below(6) == 0 {
            let sequence = Sequence(record.sequence.0 ^ u64::from(random.below(20) == 0) << random.below(64));
            let kind = if random.below(8) == 0 { Kind(random.next_u64().to_le_bytes()[0] % 12) } else { record.kind };
            let mut payload = record.payload.to_vec();
            let at = random.below_usize(payload.len().min(40));
            let count = random.below_usize(10).min(payload.len() - at);
            match random.below(3) {
                0 => payload[at..at + count].fill(0xFF),
                1 => payload[at..at + count].copy_from_slice(&random.bytes(count)),
                _ if at < payload.len() => payload[at] ^= 1 << random.below(8),
                _ => {}
            }
            let mut forged = Vec::new();
            record::encode(sequence, kind, &[&payload], &mut forged).unwrap();
            bytes[start..start + length].copy_from_slice(&forged);
        }
        start += length;
    }
    bytes
}

/// A disk that is not asked for more bytes than there are: who asks has allocated them.
struct Careful(SimulatedDisk);

struct CarefulFile(Box<dyn DiskFile>);

impl Disk for Careful {
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(CarefulFile(self.0.open(name)?)))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(CarefulFile(self.0.create(name)?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.0.sync_folder()
    }
}

impl DiskFile for CarefulFile {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let length = self.0.length()?;
        assert!(buffer.len() as u64 <= length.max(64), "{} bytes of a file of {length}", buffer.len());
        self.0.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        assert!(length <= 1 << 20, "{length} bytes");
        self.0.allocate(offset, length)
    }
}
