//! The bytes of a metadata log: names, header, records. Whatever changes here is a new [`VERSION`].

use crate::record::{self, Kind, Record, Sequence, TooLarge};

/// Stands at the beginning of every metadata log, in every version.
const MAGIC: [u8; 8] = *b"LVRTMETA";

/// The version that is written, and so far the only one that is read.
pub const VERSION: u32 = 1;

/// Magic, version, sequence, checksum. Its layout is the same in every version, or an older program could take a newer
/// file for a damaged one of its own.
pub(super) const HEADER_BYTES: usize = 24;

const CHECKED_BYTES: usize = 20;

/// Bytes of a change before the payload.
const DURABLE_BYTES: usize = 8;

const SNAPSHOT_ENTRY: Kind = Kind(1);
const SNAPSHOT_END: Kind = Kind(2);
const CHANGE: Kind = Kind(3);
const MARK: Kind = Kind(4);

/// The first bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// The snapshot that follows stands for all changes up to this one.
    Valid(Sequence),
    /// Another version's.
    Version(u32),
    /// None was ever there: cut within it, or zeros to the end of the file.
    Blank,
    /// Something else, or damage.
    Unknown,
}

pub(super) fn encode_header(sequence: Sequence, destination: &mut Vec<u8>) {
    let start = destination.len();
    destination.extend_from_slice(&MAGIC);
    destination.extend_from_slice(&VERSION.to_le_bytes());
    destination.extend_from_slice(&sequence.0.to_le_bytes());
    let crc = record::checksum(destination.get(start..).unwrap_or_default());
    destination.extend_from_slice(&crc.to_le_bytes());
}

/// Reads the header of a file, given all of it.
pub(super) fn decode_header(file: &[u8]) -> Header {
    let fields = || {
        let checked = file.get(..CHECKED_BYTES)?;
        let (magic, rest) = file.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let crc = u32::from_le_bytes(*rest.first_chunk()?);
        let is_valid = *magic == MAGIC && crc == record::checksum(checked);
        Some((is_valid, u32::from_le_bytes(*version), Sequence(u64::from_le_bytes(*sequence))))
    };
    match fields() {
        Some((true, VERSION, sequence)) => Header::Valid(sequence),
        Some((true, version, _)) => Header::Version(version),
        _ if file.iter().all(|byte| *byte == 0) => Header::Blank,
        None if file.iter().zip(&MAGIC).all(|(byte, expected)| byte == expected) => Header::Blank,
        _ => Header::Unknown,
    }
}

/// What a record of the log says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry<'a> {
    /// A part of the snapshot; they are numbered from 1 in each.
    Snapshot { number: u64, payload: &'a [u8] },
    /// The snapshot had so many entries and stands for all changes up to this one.
    SnapshotEnd { entries: u64, sequence: Sequence },
    /// A change. When it was written, everything up to `durable` was on disk for certain.
    Change { sequence: Sequence, durable: Sequence, payload: &'a [u8] },
    /// No change, only the statement that everything up to this one is on disk for certain.
    Mark { durable: Sequence },
}

impl Entry<'_> {
    pub(super) fn encode(self, destination: &mut Vec<u8>) -> Result<(), TooLarge> {
        match self {
            Self::Snapshot { number, payload } => {
                record::encode(Sequence(number), SNAPSHOT_ENTRY, &[payload], destination)
            }
            Self::SnapshotEnd { entries, sequence } => {
                record::encode(sequence, SNAPSHOT_END, &[&entries.to_le_bytes()], destination)
            }
            Self::Change { sequence, durable, payload } => {
                record::encode(sequence, CHANGE, &[&durable.0.to_le_bytes(), payload], destination)
            }
            Self::Mark { durable } => record::encode(durable, MARK, &[], destination),
        }
    }
}

impl<'a> Entry<'a> {
    /// `None` if no version 1 program wrote such a record.
    pub(super) fn decode(record: &Record<'a>) -> Option<Self> {
        let Record { sequence, kind, payload } = *record;
        match kind {
            SNAPSHOT_ENTRY => Some(Self::Snapshot { number: sequence.0, payload }),
            SNAPSHOT_END => {
                let entries = u64::from_le_bytes(payload.try_into().ok()?);
                Some(Self::SnapshotEnd { entries, sequence })
            }
            CHANGE => {
                let (durable, payload) = payload.split_first_chunk::<DURABLE_BYTES>()?;
                let durable = Sequence(u64::from_le_bytes(*durable));
                (durable < sequence).then_some(Self::Change { sequence, durable, payload })
            }
            MARK if payload.is_empty() => Some(Self::Mark { durable: sequence }),
            _ => None,
        }
    }
}

/// What the name of a file says about it. Generations count up with each new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// A log, complete when it got this name.
    Log(u64),
    /// A file that is not finished.
    Temporary(u64),
    /// The log of that generation as it was when damage was found in it.
    Damaged(u64),
}

const LOG_SUFFIX: &str = ".log";
const TEMPORARY_SUFFIX: &str = ".log.tmp";
const DAMAGED_SUFFIX: &str = ".log.damaged";

impl Name {
    /// `None` for names that are not this log's.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let rest = name.strip_prefix("metadata-")?;
        let (digits, suffix) = rest.split_at_checked(16)?;
        if !digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let generation = u64::from_str_radix(digits, 16).ok()?;
        match suffix {
            LOG_SUFFIX => Some(Self::Log(generation)),
            TEMPORARY_SUFFIX => Some(Self::Temporary(generation)),
            DAMAGED_SUFFIX => Some(Self::Damaged(generation)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (generation, suffix) = match self {
            Self::Log(generation) => (generation, LOG_SUFFIX),
            Self::Temporary(generation) => (generation, TEMPORARY_SUFFIX),
            Self::Damaged(generation) => (generation, DAMAGED_SUFFIX),
        };
        write!(formatter, "metadata-{generation:016x}{suffix}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_written() {
        for name in [Name::Log(1), Name::Temporary(0xABC), Name::Damaged(u64::MAX)] {
            assert_eq!(Name::parse(&name.to_string()), Some(name));
        }
        assert_eq!(Name::Log(255).to_string(), "metadata-00000000000000ff.log");
        for name in [
            "",
            "metadata-",
            "metadata-1.log",
            "metadata-00000000000000FF.log",
            "metadata-+0000000000000ff.log",
            "metadata-00000000000000ff.log.old",
            "metadata-00000000000000ff",
            "metadata-00000000000000\u{e9}.log",
            "messages-00000000000000ff.log",
        ] {
            assert_eq!(Name::parse(name), None, "{name}");
        }
    }

    #[test]
    fn the_header_stands_as_drawn() {
        let mut bytes = Vec::new();
        encode_header(Sequence(0x0102), &mut bytes);
        assert_eq!(bytes.len(), HEADER_BYTES);
        assert_eq!(&bytes[..20], b"LVRTMETA\x01\0\0\0\x02\x01\0\0\0\0\0\0");
        assert_eq!(bytes[20..], record::checksum(&bytes[..20]).to_le_bytes());
        assert_eq!(decode_header(&bytes), Header::Valid(Sequence(0x0102)));
    }

    #[test]
    fn entries_are_read_as_written_and_others_refused() {
        for entry in [
            Entry::Snapshot { number: 3, payload: b"" },
            Entry::SnapshotEnd { entries: 3, sequence: Sequence(9) },
            Entry::Change { sequence: Sequence(9), durable: Sequence(8), payload: b"x" },
            Entry::Mark { durable: Sequence(9) },
        ] {
            let mut bytes = Vec::new();
            entry.encode(&mut bytes).unwrap();
            let record::Decoded::Complete { record, .. } = record::decode(&bytes) else { panic!("{entry:?}") };
            assert_eq!(Entry::decode(&record), Some(entry));
        }
        for (kind, payload) in [
            (0, b"".as_slice()),
            (5, b""),
            (2, b"1234567"),
            (2, b"123456789"),
            (3, b"1234567"),
            (3, &[9, 0, 0, 0, 0, 0, 0, 0]),
            (4, b"x"),
        ] {
            let record = Record { sequence: Sequence(9), kind: Kind(kind), payload };
            assert_eq!(Entry::decode(&record), None, "{kind} {payload:?}");
        }
    }
}
