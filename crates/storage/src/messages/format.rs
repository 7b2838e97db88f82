//! The bytes of a message log: names, header, trailer, numbers. Whatever changes here is a new [`VERSION`].

use std::ops::Range;

use super::QueueKey;
use crate::record::{self, Kind, Sequence};

/// Stands at the beginning of every file, in every version.
const MAGIC: [u8; 8] = *b"LVRTMSGS";

/// Stands at the beginning of the trailer.
const TRAILER_MAGIC: [u8; 4] = *b"LVRX";

/// The version that is written, and so far the only one that is read.
pub const VERSION: u32 = 1;

/// Magic, version, number, number before, checksum. Its layout is the same in every version, or an older program could
/// take a newer file for a damaged one of its own.
pub(super) const HEADER_BYTES: usize = 32;
const HEADER_CHECKED_BYTES: usize = 28;

/// Magic, number, offset and bytes of the directory, zeros, checksum.
pub(super) const TRAILER_BYTES: usize = 32;
const TRAILER_CHECKED_BYTES: usize = 28;

/// What was synced when the next records were written.
pub(super) const MARK: Kind = Kind(1);
/// A message.
pub(super) const MESSAGE: Kind = Kind(2);
/// Positions that are done with.
pub(super) const SETTLED: Kind = Kind(3);
/// Up to where queues were handed out.
pub(super) const DELIVERED: Kind = Kind(4);
/// Queues that are gone.
pub(super) const DELETED: Kind = Kind(5);
/// The files that there were when this one was begun.
pub(super) const FILES: Kind = Kind(6);
/// Files that are about to be given back.
pub(super) const GONE: Kind = Kind(7);
/// Where the messages of this file are.
pub(super) const OFFSETS: Kind = Kind(8);
/// What is in this file. Nothing comes behind it.
pub(super) const DIRECTORY: Kind = Kind(9);

/// The first bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    Valid(Numbers),
    /// Another version's.
    Version(u32),
    /// Nothing but zeros, or cut within.
    Blank,
    /// Something else, or damage.
    Unknown,
}

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numbers {
    /// The file's own.
    pub(super) number: u64,
    /// The one it had before, as it is written again; 0 if it is written for the first time.
    pub(super) before: u64,
}

pub(super) fn encode_header(Numbers { number, before }: Numbers) -> [u8; HEADER_BYTES] {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&before.to_le_bytes());
    bytes.extend_from_slice(&record::checksum(&bytes).to_le_bytes());
    let mut header = [0; HEADER_BYTES];
    header.copy_from_slice(&bytes);
    header
}

/// Reads a header, given as much of it as there is.
pub(super) fn decode_header(bytes: &[u8]) -> Header {
    let fields = || {
        let checked = bytes.get(..HEADER_CHECKED_BYTES)?;
        let (magic, rest) = bytes.split_first_chunk()?;
        let (version, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (before, rest) = rest.split_first_chunk()?;
        let crc = u32::from_le_bytes(*rest.first_chunk()?);
        let is_valid = *magic == MAGIC && crc == record::checksum(checked);
        let numbers = Numbers { number: u64::from_le_bytes(*number), before: u64::from_le_bytes(*before) };
        Some((is_valid, u32::from_le_bytes(*version), numbers))
    };
    match fields() {
        Some((true, VERSION, numbers)) => Header::Valid(numbers),
        Some((true, version, _)) => Header::Version(version),
        _ if bytes.iter().all(|byte| *byte == 0) => Header::Blank,
        None if bytes.iter().zip(&MAGIC).all(|(byte, expected)| byte == expected) => Header::Blank,
        _ => Header::Unknown,
    }
}

/// The last bytes of a file that is full: where its directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) number: u64,
    pub(super) offset: u64,
    pub(super) bytes: u32,
}

pub(super) fn encode_trailer(trailer: Trailer) -> [u8; TRAILER_BYTES] {
    let mut bytes = Vec::with_capacity(TRAILER_BYTES);
    bytes.extend_from_slice(&TRAILER_MAGIC);
    bytes.extend_from_slice(&trailer.number.to_le_bytes());
    bytes.extend_from_slice(&trailer.offset.to_le_bytes());
    bytes.extend_from_slice(&trailer.bytes.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&record::checksum(&bytes).to_le_bytes());
    let mut encoded = [0; TRAILER_BYTES];
    encoded.copy_from_slice(&bytes);
    encoded
}

pub(super) fn decode_trailer(bytes: &[u8; TRAILER_BYTES]) -> Option<Trailer> {
    let checked = bytes.get(..TRAILER_CHECKED_BYTES)?;
    let (magic, rest) = bytes.split_first_chunk::<4>()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (offset, rest) = rest.split_first_chunk()?;
    let (length, rest) = rest.split_first_chunk()?;
    let (_, rest) = rest.split_first_chunk::<4>()?;
    let crc = u32::from_le_bytes(*rest.first_chunk()?);
    let trailer = Trailer {
        number: u64::from_le_bytes(*number),
        offset: u64::from_le_bytes(*offset),
        bytes: u32::from_le_bytes(*length),
    };
    (*magic == TRAILER_MAGIC && crc == record::checksum(checked)).then_some(trailer)
}

/// The number of a record: that of its file, then its own in the file, from 1. Records that a file has from an earlier life
/// are told by it.
pub(super) fn sequence(file: u64, index: u32) -> Sequence {
    Sequence(file << 32 | u64::from(index))
}

/// The file and the index of a sequence.
pub(super) fn file_and_index(sequence: Sequence) -> (u64, u32) {
    let index = sequence.0 & u64::from(u32::MAX);
    (sequence.0 >> 32, u32::try_from(index).unwrap_or_default())
}

/// The largest number of a file: its sequences have 32 bits for it.
pub(super) const FILE_NUMBER_MAX: u64 = u32::MAX as u64;

/// Seven bits per byte, the lowest first; the last byte has the highest bit off.
pub(super) fn put_number(mut number: u64, destination: &mut Vec<u8>) {
    while number >= 0x80 {
        destination.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    destination.push((number & 0x7F) as u8);
}

/// How many bytes [`put_number`] takes.
pub(super) fn number_bytes(number: u64) -> usize {
    let bits = (u64::BITS - (number | 1).leading_zeros()) as usize;
    bits.div_ceil(7)
}

/// Takes a number off the beginning.
pub(super) fn take_number(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7F);
        number |= bits << shift;
        if bits << shift >> shift != bits {
            return None;
        }
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

/// Takes a count of things that take a byte each at least, so that a wrong one is not believed.
fn take_count(bytes: &mut &[u8]) -> Option<usize> {
    let count = usize::try_from(take_number(bytes)?).ok()?;
    (count <= bytes.len()).then_some(count)
}

pub(super) fn put_numbers(numbers: impl ExactSizeIterator<Item = u64>, destination: &mut Vec<u8>) {
    put_number(numbers.len() as u64, destination);
    for number in numbers {
        put_number(number, destination);
    }
}

pub(super) fn take_numbers(bytes: &mut &[u8]) -> Option<Vec<u64>> {
    let count = take_count(bytes)?;
    (0..count).map(|_| take_number(bytes)).collect()
}

/// Positions of queues.
pub(super) type Ranges = Vec<(QueueKey, Range<u64>)>;

/// Ranges in ascending order that do not overlap: by queue, each from the end of the one before.
pub(super) fn put_ranges(ranges: &[(QueueKey, Range<u64>)], destination: &mut Vec<u8>) {
    let of_queues = || ranges.chunk_by(|(one, _), (other, _)| one == other);
    put_number(of_queues().count() as u64, destination);
    for of_queue in of_queues() {
        let queue = of_queue.first().map_or(0, |(queue, _)| queue.0);
        put_number(queue, destination);
        put_number(of_queue.len() as u64, destination);
        let mut last = 0;
        for (_, range) in of_queue {
            put_number(range.start - last, destination);
            put_number(range.end - range.start, destination);
            last = range.end;
        }
    }
}

pub(super) fn take_ranges(bytes: &mut &[u8]) -> Option<Ranges> {
    let mut ranges = Vec::new();
    for _ in 0..take_count(bytes)? {
        let queue = QueueKey(take_number(bytes)?);
        let mut last = 0_u64;
        for _ in 0..take_count(bytes)? {
            let start = last.checked_add(take_number(bytes)?)?;
            last = start.checked_add(take_number(bytes)?)?;
            ranges.push((queue, start..last));
        }
    }
    Some(ranges)
}

/// Bytes that one range takes at most, wherever it stands.
pub(super) fn range_bytes(queue: QueueKey, range: &Range<u64>) -> u64 {
    (number_bytes(queue.0) + 2 + number_bytes(range.start) + number_bytes(range.end - range.start)) as u64
}

pub(super) fn put_pairs(pairs: &[(QueueKey, u64)], destination: &mut Vec<u8>) {
    put_number(pairs.len() as u64, destination);
    for (queue, position) in pairs {
        put_number(queue.0, destination);
        put_number(*position, destination);
    }
}

pub(super) fn take_pairs(bytes: &mut &[u8]) -> Option<Vec<(QueueKey, u64)>> {
    let count = take_count(bytes)?;
    (0..count).map(|_| Some((QueueKey(take_number(bytes)?), take_number(bytes)?))).collect()
}

/// Bytes that a pair takes.
pub(super) fn pair_bytes((queue, position): (QueueKey, u64)) -> u64 {
    (number_bytes(queue.0) + number_bytes(position)) as u64
}

/// Where a message belongs, from the payload of its record; the message itself is the rest.
pub(super) fn references(payload: &[u8]) -> Option<(References<'_>, &[u8])> {
    let mut rest = payload;
    let count = take_count(&mut rest)?;
    let start = rest;
    for _ in 0..count {
        take_number(&mut rest)?;
        take_number(&mut rest)?;
    }
    Some((References { count, rest: start }, rest))
}

/// The queues and positions of a message.
#[derive(Debug, Clone)]
pub(super) struct References<'a> {
    count: usize,
    rest: &'a [u8],
}

impl Iterator for References<'_> {
    type Item = (QueueKey, u64);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        Some((QueueKey(take_number(&mut self.rest)?), take_number(&mut self.rest)?))
    }
}

/// What the name of a file says about it. Numbers count up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Name {
    /// A file of the log.
    Log(u64),
    /// A file whose content is worthless.
    Spare(u64),
    /// The file of that number as it was when damage was found in it.
    Damaged(u64),
}

const PREFIX: &str = "messages-";
const SPARE_PREFIX: &str = "spare-";
const SUFFIX: &str = ".log";
const DAMAGED_SUFFIX: &str = ".log.damaged";

impl Name {
    /// `None` for names that are not this log's.
    pub(super) fn parse(name: &str) -> Option<Self> {
        let (is_spare, rest) = match name.strip_prefix(PREFIX) {
            Some(rest) => (false, rest),
            None => (true, name.strip_prefix(SPARE_PREFIX)?),
        };
        let (digits, suffix) = rest.split_at_checked(16)?;
        if !digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return None;
        }
        let number = u64::from_str_radix(digits, 16).ok().filter(|number| *number <= FILE_NUMBER_MAX)?;
        match (is_spare, suffix) {
            (false, SUFFIX) => Some(Self::Log(number)),
            (true, SUFFIX) => Some(Self::Spare(number)),
            (false, DAMAGED_SUFFIX) => Some(Self::Damaged(number)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (prefix, number, suffix) = match self {
            Self::Log(number) => (PREFIX, number, SUFFIX),
            Self::Spare(number) => (SPARE_PREFIX, number, SUFFIX),
            Self::Damaged(number) => (PREFIX, number, DAMAGED_SUFFIX),
        };
        write!(formatter, "{prefix}{number:016x}{suffix}")
    }
}
