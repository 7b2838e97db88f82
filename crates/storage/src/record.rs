//! How a record stands in a file. All numbers are little-endian.
//!
//! ```text
//! 0       4       8               16     17
//! +-------+-------+---------------+------+---------------------+
//! |length |crc32c |   sequence    | kind | payload             |
//! +-------+-------+---------------+------+---------------------+
//!                 |<------------- length bytes -------------->|
//! ```
//!
//! The checksum is CRC-32C over the `length` bytes behind it. A damaged length makes the checksum look at other bytes, so
//! it is covered as well.

use std::fmt;

/// Counts the records of a log up from 1; 0 stands for "before the first".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sequence(pub u64);

impl Sequence {
    /// The one after this.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// What a record is, for the log that wrote it. 0 is never used, so that zeros are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Kind(pub u8);

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 17;

/// The largest payload: the largest message that RabbitMQ can be configured to take, 512 MiB, with properties of 16 MiB, the
/// largest frame, and what belongs to it. A length above it is damage, not a reason to wait for more bytes or to allocate.
pub const PAYLOAD_BYTES_MAX: usize = 560 << 20;

/// Bytes before those that `length` counts.
const UNCOUNTED_BYTES: usize = 8;
/// Bytes that `length` counts before the payload.
const COUNTED_BYTES: usize = HEADER_BYTES - UNCOUNTED_BYTES;

/// A record, borrowed from the bytes it was decoded from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its number in the log.
    pub sequence: Sequence,
    /// What it is.
    pub kind: Kind,
    /// What it says.
    pub payload: &'a [u8],
}

/// What stands at the beginning of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded<'a> {
    /// A record with a correct checksum.
    Complete {
        /// The record.
        record: Record<'a>,
        /// The bytes it takes; the next one follows.
        bytes: usize,
    },
    /// The bytes end before the record does: the file was cut, or the length is damaged. No bytes at all are torn too.
    Torn,
    /// Not a record: an impossible length, or a wrong checksum.
    Damaged,
}

/// The payload is larger than [`PAYLOAD_BYTES_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record of {bytes} bytes is larger than the {PAYLOAD_BYTES_MAX} that are possible")]
pub struct TooLarge {
    /// Its size.
    pub bytes: usize,
}

/// Appends a record whose payload is given in parts, so that none of them has to be copied together before.
pub fn encode(
    sequence: Sequence,
    kind: Kind,
    payload_parts: &[&[u8]],
    destination: &mut Vec<u8>,
) -> Result<(), TooLarge> {
    let payload_bytes = payload_parts.iter().map(|part| part.len()).sum::<usize>();
    let length = u32::try_from(COUNTED_BYTES.saturating_add(payload_bytes))
        .ok()
        .filter(|_| payload_bytes <= PAYLOAD_BYTES_MAX)
        .ok_or(TooLarge { bytes: payload_bytes })?;
    let start = destination.len();
    destination.reserve(HEADER_BYTES + payload_bytes);
    destination.extend_from_slice(&length.to_le_bytes());
    destination.extend_from_slice(&[0; 4]);
    destination.extend_from_slice(&sequence.0.to_le_bytes());
    destination.push(kind.0);
    for part in payload_parts {
        destination.extend_from_slice(part);
    }
    let crc = checksum(destination.get(start + UNCOUNTED_BYTES..).unwrap_or_default());
    if let Some(place) = destination.get_mut(start + 4..start + UNCOUNTED_BYTES) {
        place.copy_from_slice(&crc.to_le_bytes());
    }
    Ok(())
}

/// Reads the record at the beginning of the bytes.
#[must_use]
pub fn decode(bytes: &[u8]) -> Decoded<'_> {
    match split(bytes) {
        Ok((crc, counted, _)) if checksum(counted) != crc => Decoded::Damaged,
        Ok((_, counted, record)) => Decoded::Complete { record, bytes: UNCOUNTED_BYTES + counted.len() },
        Err(decoded) => decoded,
    }
}

/// Reads a record that is known to be complete, and says how many bytes it takes. Its checksum is not looked at.
pub(crate) fn decode_known(bytes: &[u8]) -> Option<(Record<'_>, usize)> {
    split(bytes).ok().map(|(_, counted, record)| (record, UNCOUNTED_BYTES + counted.len()))
}

/// The checksum, what it is of, and the record if it is right.
fn split(bytes: &[u8]) -> Result<(u32, &[u8], Record<'_>), Decoded<'_>> {
    let (length, rest) = bytes.split_first_chunk().ok_or(Decoded::Torn)?;
    let length = u32::from_le_bytes(*length) as usize;
    if !(COUNTED_BYTES..=COUNTED_BYTES + PAYLOAD_BYTES_MAX).contains(&length) {
        return Err(Decoded::Damaged);
    }
    let (crc, rest) = rest.split_first_chunk().ok_or(Decoded::Torn)?;
    let counted = rest.get(..length).ok_or(Decoded::Torn)?;
    // The length says that both are there.
    let (sequence, rest) = counted.split_first_chunk().ok_or(Decoded::Damaged)?;
    let (&kind, payload) = rest.split_first().ok_or(Decoded::Damaged)?;
    let record = Record { sequence: Sequence(u64::from_le_bytes(*sequence)), kind: Kind(kind), payload };
    Ok((u32::from_le_bytes(*crc), counted, record))
}

/// CRC-32C, the Castagnoli polynomial.
pub(crate) fn checksum(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(sequence: u64, kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        encode(Sequence(sequence), Kind(kind), &[payload], &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(checksum(b"123456789"), 0xE306_9283);
        assert_eq!(checksum(&[0; 32]), 0x8A91_36AA, "RFC 3720, B.4");
    }

    #[test]
    fn a_record_stands_as_drawn() {
        let bytes = encoded(0x0102, 7, b"abc");
        assert_eq!(bytes[..4], [12, 0, 0, 0]);
        assert_eq!(bytes[4..8], checksum(&bytes[8..]).to_le_bytes());
        assert_eq!(bytes[8..16], [2, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes[16..], [7, b'a', b'b', b'c']);
    }

    #[test]
    fn parts_are_joined_and_records_follow_each_other() {
        let mut bytes = Vec::new();
        encode(Sequence(1), Kind(1), &[b"ab", b"", b"c"], &mut bytes).unwrap();
        encode(Sequence(2), Kind(2), &[], &mut bytes).unwrap();
        let Decoded::Complete { record, bytes: first } = decode(&bytes) else { panic!("no first record") };
        assert_eq!(record, Record { sequence: Sequence(1), kind: Kind(1), payload: b"abc" });
        let Decoded::Complete { record, bytes: second } = decode(&bytes[first..]) else { panic!("no second record") };
        assert_eq!(record, Record { sequence: Sequence(2), kind: Kind(2), payload: b"" });
        assert_eq!(first + second, bytes.len());
    }

    #[test]
    fn every_cut_is_torn_and_every_flipped_bit_is_noticed() {
        let bytes = encoded(3, 1, b"some payload");
        for length in 0..bytes.len() {
            assert_eq!(decode(&bytes[..length]), Decoded::Torn, "{length}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(decode(&flipped), Decoded::Complete { .. }), "{bit}");
        }
    }

    #[test]
    fn impossible_lengths_are_damage_and_possible_ones_torn() {
        let largest = u32::try_from(COUNTED_BYTES + PAYLOAD_BYTES_MAX).unwrap();
        for (length, expected) in [
            (0, Decoded::Damaged),
            (8, Decoded::Damaged),
            (9, Decoded::Torn),
            (largest, Decoded::Torn),
            (largest + 1, Decoded::Damaged),
            (u32::MAX, Decoded::Damaged),
        ] {
            assert_eq!(decode(&length.to_le_bytes()), expected, "{length}");
        }
        assert_eq!(decode(&[0; 4096]), Decoded::Damaged, "zeros");
    }

    #[test]
    fn a_payload_has_a_largest_size() {
        let half = vec![0; PAYLOAD_BYTES_MAX / 2 + 1];
        let mut bytes = Vec::new();
        let refused = encode(Sequence(1), Kind(1), &[&half, &half], &mut bytes);
        assert_eq!(refused, Err(TooLarge { bytes: PAYLOAD_BYTES_MAX + 2 }));
        assert!(bytes.is_empty());
    }
}
