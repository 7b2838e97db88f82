//! What exchanges have seen, as records to be written down.
//!
//! ```text
//! record   version u8 = 1 | kind u8 | vhost | exchange | fields
//! name     length u16 | octets of UTF-8
//! begun    kind 1, no fields
//! seen     kind 2, until u64 in milliseconds since 1970, all ones for ever | octets of the id, to the end
//! ```
//! All numbers are little-endian.

use super::MessageId;
use crate::Name;
use crate::clock::Timestamp;
use crate::topology::FormatError;

const VERSION: u8 = 1;
const BEGUN: u8 = 1;
const SEEN: u8 = 2;
const FOR_EVER: u64 = u64::MAX;

/// Something that happened to what an exchange remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeenRecord {
    /// It was declared and remembers nothing. What another one of its name remembered means nothing any more.
    Begun {
        /// Where.
        vhost: Name,
        /// Its name.
        exchange: Name,
    },
    /// It saw an id.
    Seen {
        /// Where.
        vhost: Name,
        /// Its name.
        exchange: Name,
        /// The id.
        id: MessageId,
        /// It is forgotten then.
        until: Option<Timestamp>,
    },
}

/// Where what exchanges have seen is kept over a restart.
pub trait SeenLog: std::fmt::Debug + Send + Sync {
    /// Takes records, to be written soon, after all that came before. Called with locks held, so nothing here may wait.
    fn append(&self, records: Vec<SeenRecord>);
}

impl SeenRecord {
    /// Appends the record's octets.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        match self {
            Self::Begun { vhost, exchange } => {
                out.push(BEGUN);
                name(out, vhost);
                name(out, exchange);
            }
            Self::Seen { vhost, exchange, id, until } => {
                out.push(SEEN);
                name(out, vhost);
                name(out, exchange);
                out.extend_from_slice(&until.map_or(FOR_EVER, |until| until.0).to_le_bytes());
                out.extend_from_slice(id.octets());
            }
        }
    }

    /// The record that octets are.
    pub fn decode(octets: &[u8]) -> Result<Self, FormatError> {
        let (version, rest) = octets.split_first().ok_or(FormatError::Malformed)?;
        if *version != VERSION {
            return Err(FormatError::Version(*version));
        }
        let (kind, rest) = rest.split_first().ok_or(FormatError::Malformed)?;
        let (vhost, rest) = take_name(rest)?;
        let (exchange, rest) = take_name(rest)?;
        match *kind {
            BEGUN if rest.is_empty() => Ok(Self::Begun { vhost, exchange }),
            SEEN => {
                let (until, id) = rest.split_first_chunk::<8>().ok_or(FormatError::Malformed)?;
                let until = Some(u64::from_le_bytes(*until)).filter(|until| *until != FOR_EVER).map(Timestamp);
                Ok(Self::Seen { vhost, exchange, id: MessageId::from_octets(id), until })
            }
            _ => Err(FormatError::Malformed),
        }
    }
}

fn name(out: &mut Vec<u8>, name: &str) {
    // Names are short strings of the protocols.
    let len = u16::try_from(name.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&len.to_le_bytes());
    out.extend(name.as_bytes().iter().take(len.into()));
}

fn take_name(octets: &[u8]) -> Result<(Name, &[u8]), FormatError> {
    let (len, rest) = octets.split_first_chunk::<2>().ok_or(FormatError::Malformed)?;
    let (name, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into()).ok_or(FormatError::Malformed)?;
    let name = std::str::from_utf8(name).map_err(|_| FormatError::Malformed)?;
    Ok((name.into(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    #[test]
    fn a_record_written_is_the_record_read() {
        let (vhost, exchange): (Name, Name) = ("/".into(), "x".into());
        let id = MessageId::from(&Value::text("id"));
        let begun = SeenRecord::Begun { vhost: Name::clone(&vhost), exchange: Name::clone(&exchange) };
        let seen = |until: Option<u64>| SeenRecord::Seen {
            vhost: Name::clone(&vhost),
            exchange: Name::clone(&exchange),
            id: id.clone(),
            until: until.map(Timestamp),
        };
        for record in [begun, seen(None), seen(Some(0)), seen(Some(1 << 40))] {
            let mut octets = Vec::new();
            record.encode(&mut octets);
            assert_eq!(SeenRecord::decode(&octets), Ok(record));
        }
        let mut octets = Vec::new();
        seen(Some(5)).encode(&mut octets);
        assert_eq!(octets, b"\x01\x02\x01\0/\x01\0x\x05\0\0\0\0\0\0\0s\x02\0\0\0\0\0\0\0id");
    }

    #[test]
    fn other_octets_are_no_record() {
        for (octets, error) in [
            (&b""[..], FormatError::Malformed),
            (b"\x02", FormatError::Version(2)),
            (b"\x01", FormatError::Malformed),
            (b"\x01\x03\0\0\0\0", FormatError::Malformed),
            (b"\x01\x01\0\0\0\0\0", FormatError::Malformed),
            (b"\x01\x01\x02\0x", FormatError::Malformed),
            (b"\x01\x01\x01\0\xff\0\0", FormatError::Malformed),
            (b"\x01\x02\0\0\0\0\0\0\0", FormatError::Malformed),
        ] {
            assert_eq!(SeenRecord::decode(octets), Err(error), "{octets:?}");
        }
    }
}
