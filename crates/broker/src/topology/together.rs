//! Several records as one, so that after a crash all of them are there or none is.
//!
//! ```text
//! together   version u8 = 1 | kind u8 = 28 | count u32 | count × (length u32 | octets of a record)
//! ```
//! The log's frame around it makes it whole: a record is in the log or it is not.

use super::{FormatError, Record};

const VERSION: u8 = 1;
/// The number of this kind of record; no single one has it.
const KIND: u8 = 28;
/// Octets that can be written as one: what a record of the log can hold, with some room.
const OCTETS_MAX: usize = 512 << 20;

/// Records that are written down as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Together {
    octets: Vec<u8>,
    settings: Vec<Record>,
}

impl Together {
    /// Joins records; `None` if they are too large for that.
    pub fn join(records: &[Record]) -> Option<Self> {
        let (mut octets, mut settings) = (vec![VERSION, KIND], Vec::new());
        octets.extend_from_slice(&u32::try_from(records.len()).ok()?.to_le_bytes());
        for record in records {
            let at = octets.len();
            octets.extend_from_slice(&[0; 4]);
            record.encode(&mut octets);
            let length = u32::try_from(octets.len() - at - 4).ok()?;
            octets.get_mut(at..at + 4)?.copy_from_slice(&length.to_le_bytes());
            if octets.len() > OCTETS_MAX {
                return None;
            }
            if !is_declaration(record) {
                settings.push(record.clone());
            }
        }
        Some(Self { octets, settings })
    }

    /// The records but for those of exchanges, queues and bindings, which may be very many.
    pub fn settings(&self) -> &[Record] {
        &self.settings
    }

    /// What is written.
    pub fn into_octets(self) -> Vec<u8> {
        self.octets
    }
}

impl Record {
    /// Reads what was written at a time: one record, or those that were joined, in their order.
    pub fn decode_all(octets: &[u8]) -> Result<Vec<Self>, FormatError> {
        let Some(rest) = octets.strip_prefix(&[VERSION, KIND]) else { return Ok(vec![Self::decode(octets)?]) };
        let (count, mut rest) = length(rest)?;
        let mut records = Vec::new();
        for _ in 0..count {
            let (length, behind) = length(rest)?;
            let (record, behind) = behind.split_at_checked(length).ok_or(FormatError::Malformed)?;
            records.push(Self::decode(record)?);
            rest = behind;
        }
        if rest.is_empty() { Ok(records) } else { Err(FormatError::Malformed) }
    }
}

const fn is_declaration(record: &Record) -> bool {
    matches!(
        record,
        Record::ExchangeDeclared { .. }
            | Record::QueueDeclared { .. }
            | Record::DelayNumbered { .. }
            | Record::Bound(_)
    )
}

fn length(octets: &[u8]) -> Result<(usize, &[u8]), FormatError> {
    let (length, rest) = octets.split_first_chunk().ok_or(FormatError::Malformed)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| FormatError::Malformed)?;
    Ok((length, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vhost(name: &str) -> Record {
        Record::VhostCreated { vhost: name.into() }
    }

    #[test]
    fn joined_records_stand_as_drawn_and_come_back() {
        let records = [vhost("a"), vhost("bc")];
        let octets = Together::join(&records).unwrap().into_octets();
        assert_eq!(octets[..6], [1, 28, 2, 0, 0, 0]);
        assert_eq!(octets[6..15], [5, 0, 0, 0, 1, 1, 1, 0, b'a']);
        assert_eq!(Record::decode_all(&octets).unwrap(), records);
        let none = Together::join(&[]).unwrap().into_octets();
        assert_eq!(Record::decode_all(&none).unwrap(), []);
    }

    #[test]
    fn a_single_record_is_read_as_it_always_was() {
        let mut octets = Vec::new();
        vhost("a").encode(&mut octets);
        assert_eq!(Record::decode_all(&octets).unwrap(), [vhost("a")]);
    }

    #[test]
    fn no_part_is_taken_for_the_whole() {
        let octets = Together::join(&[vhost("a"), vhost("b")]).unwrap().into_octets();
        for length in 0..octets.len() {
            assert!(Record::decode_all(&octets[..length]).is_err(), "{length}");
        }
        let longer = [octets.as_slice(), &[0]].concat();
        assert_eq!(Record::decode_all(&longer), Err(FormatError::Malformed));
        // One of them being joined itself would never be written.
        let nested = [[1, 28, 1, 0, 0, 0, 6, 0, 0, 0].as_slice(), &[1, 28, 0, 0, 0, 0]].concat();
        assert_eq!(Record::decode_all(&nested), Err(FormatError::Malformed));
    }
}
