//! Commands as octets, for other members and for the log. Hand-written: what is stored does not follow from how a type is
//! written down in the code, and old octets stay readable.
//!
//! ```text
//! command   version u8 = 1 | kind u8 | at u64 | fields
//! messages  count u32 | count × (length u32 | octets of the message)
//! name      length u16 | octets of UTF-8
//! consumer  number u64; whoever uses basic.get is u64::MAX
//! positions count u32 | count × u64
//! ranges    count u32 | count × (start u64 | end u64)
//! flags     u8
//! ```
//! `at` is when it was told, in milliseconds since 1970. All numbers are little-endian. Kinds keep their number for ever.

use std::ops::Range;

use super::command::{Checkout, Command, ReturnedLot};
use crate::Name;
use crate::clock::Timestamp;
use crate::message::Message;
use crate::queue::{ConsumerId, Position, ReturnCause};

const VERSION: u8 = 1;
/// Stands for whoever uses basic.get.
const NOBODY: u64 = u64::MAX;

/// Why octets are no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandFormatError {
    /// A later version of the program wrote it.
    #[error("the command has version {0}, and this program knows 1")]
    Version(u8),
    /// They end too early, go on too long, or hold a number that means nothing.
    #[error("the command is malformed")]
    Malformed,
}

impl Command {
    /// Appends the octets of the command, as it was told at a time.
    pub fn encode(&self, at: Timestamp, out: &mut Vec<u8>) {
        let mut writer = Writer(out);
        writer.u8(VERSION);
        writer.u8(self.kind());
        writer.u64(at.0);
        match self {
            Self::Enqueue { messages } => {
                writer.count(messages.len());
                for message in messages {
                    writer.count(message.octets().len());
                    writer.0.extend_from_slice(message.octets());
                }
            }
            Self::Checkout(Checkout { key, tag, no_ack, priority, prefetch }) => {
                writer.u32(*key);
                writer.name(tag);
                writer.u8(u8::from(*no_ack));
                writer.0.extend_from_slice(&priority.to_le_bytes());
                writer.0.extend_from_slice(&prefetch.to_le_bytes());
            }
            Self::Cancel { consumer } | Self::HandOver { consumer } => writer.u64(consumer.number()),
            Self::Take { no_ack } => writer.u8(u8::from(*no_ack)),
            Self::Settle { consumer, count, positions } => {
                writer.consumer(*consumer);
                writer.u32(*count);
                writer.count(positions.len());
                for range in positions {
                    writer.u64(range.start);
                    writer.u64(range.end);
                }
            }
            Self::Return { lots } => {
                writer.count(lots.len());
                for ReturnedLot { consumer, settled, cause, positions } in lots {
                    writer.consumer(*consumer);
                    writer.u8(u8::from(*settled));
                    writer.u8(cause_number(*cause));
                    writer.positions(positions);
                }
            }
            Self::Reject { consumer, positions } => {
                writer.consumer(*consumer);
                writer.positions(positions);
            }
            Self::Purge | Self::Wake => {}
        }
    }

    /// Reads a command, and when it was told, from all of `octets`.
    pub fn decode(octets: &[u8]) -> Result<(Self, Timestamp), CommandFormatError> {
        let mut reader = Reader(octets);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(CommandFormatError::Version(version));
        }
        let (kind, at) = (reader.u8()?, Timestamp(reader.u64()?));
        let command = match kind {
            1 => Self::Enqueue { messages: reader.list(Reader::message)? },
            2 => Self::Checkout(Checkout {
                key: reader.u32()?,
                tag: reader.name()?,
                no_ack: reader.flag()?,
                priority: i32::from_le_bytes(reader.array()?),
                prefetch: u16::from_le_bytes(reader.array()?),
            }),
            3 => Self::Cancel { consumer: ConsumerId::from_number(reader.u64()?) },
            4 => Self::HandOver { consumer: ConsumerId::from_number(reader.u64()?) },
            5 => Self::Take { no_ack: reader.flag()? },
            6 => Self::Settle {
                consumer: reader.consumer()?,
                count: reader.u32()?,
                positions: reader.list(Reader::range)?,
            },
            7 => Self::Return { lots: reader.list(Reader::lot)? },
            8 => Self::Reject { consumer: reader.consumer()?, positions: reader.list(Reader::position)? },
            9 => Self::Purge,
            10 => Self::Wake,
            _ => return Err(CommandFormatError::Malformed),
        };
        if reader.0.is_empty() { Ok((command, at)) } else { Err(CommandFormatError::Malformed) }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Enqueue { .. } => 1,
            Self::Checkout(_) => 2,
            Self::Cancel { .. } => 3,
            Self::HandOver { .. } => 4,
            Self::Take { .. } => 5,
            Self::Settle { .. } => 6,
            Self::Return { .. } => 7,
            Self::Reject { .. } => 8,
            Self::Purge => 9,
            Self::Wake => 10,
        }
    }
}

const fn cause_number(cause: ReturnCause) -> u8 {
    match cause {
        ReturnCause::Requeued => 1,
        ReturnCause::Failed => 2,
        ReturnCause::Unread => 3,
    }
}

struct Writer<'a>(&'a mut Vec<u8>);

impl Writer<'_> {
    fn u8(&mut self, number: u8) {
        self.0.push(number);
    }

    fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn u64(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    fn consumer(&mut self, consumer: Option<ConsumerId>) {
        self.u64(consumer.map_or(NOBODY, ConsumerId::number));
    }

    /// Names are cut to 65,535 octets, far above what any protocol allows them.
    fn name(&mut self, name: &str) {
        let name = name.get(..name.floor_char_boundary(usize::from(u16::MAX))).unwrap_or_default();
        self.0.extend_from_slice(&u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.0.extend_from_slice(name.as_bytes());
    }

    fn positions(&mut self, positions: &[Position]) {
        self.count(positions.len());
        for Position(position) in positions {
            self.u64(*position);
        }
    }
}

struct Reader<'a>(&'a [u8]);

type Read<T> = Result<T, CommandFormatError>;

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Read<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(CommandFormatError::Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Read<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(CommandFormatError::Malformed)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Read<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Read<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Read<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn flag(&mut self) -> Read<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(CommandFormatError::Malformed),
        }
    }

    /// Nothing is made room for before it is read, so that a wrong count is not believed.
    fn list<T>(&mut self, read: impl Fn(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let count = self.u32()?;
        (0..count).map(|_| read(self)).collect()
    }

    fn name(&mut self) -> Read<Name> {
        let len = u16::from_le_bytes(self.array()?);
        let octets = self.take(usize::from(len))?;
        std::str::from_utf8(octets).map(Name::from).map_err(|_| CommandFormatError::Malformed)
    }

    fn message(&mut self) -> Read<Message> {
        let len = self.u32()?;
        let octets = self.take(len as usize)?;
        Message::from_octets(octets.into()).ok_or(CommandFormatError::Malformed)
    }

    fn consumer(&mut self) -> Read<Option<ConsumerId>> {
        Ok(Some(self.u64()?).filter(|number| *number != NOBODY).map(ConsumerId::from_number))
    }

    fn position(&mut self) -> Read<Position> {
        self.u64().map(Position)
    }

    fn range(&mut self) -> Read<Range<u64>> {
        Ok(self.u64()?..self.u64()?)
    }

    fn lot(&mut self) -> Read<ReturnedLot> {
        let (consumer, settled) = (self.consumer()?, self.flag()?);
        let cause = match self.u8()? {
            1 => ReturnCause::Requeued,
            2 => ReturnCause::Failed,
            3 => ReturnCause::Unread,
            _ => return Err(CommandFormatError::Malformed),
        };
        Ok(ReturnedLot { consumer, settled, cause, positions: self.list(Self::position)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Draft;

    fn message(body: &[u8]) -> Message {
        let mut draft = Draft::new(Vec::new(), "x", "key");
        draft.set_priority(9);
        draft.body(body);
        draft.stamp(Timestamp(5), Some(7));
        draft.message()
    }

    /// One of each kind, with the octets that they had in version 1.
    fn fixture() -> Vec<(Command, &'static str)> {
        let consumer = ConsumerId::from_number(0x0102_0000_0003);
        let lot = |cause, consumer| ReturnedLot {
            consumer,
            settled: cause == ReturnCause::Unread,
            cause,
            positions: vec![Position(3), Position(1)],
        };
        vec![
            (
                Command::Enqueue { messages: vec![message(b"one"), message(b"")] },
                concat!(
                    "0101e803000000000000020000001f000000010306090000000078",
                    "6b65796f6e65",
                    "05000000000000000700000000000000",
                    "1c000000010306090000000078",
                    "6b6579",
                    "05000000000000000700000000000000"
                ),
            ),
            (
                Command::Checkout(Checkout { key: 7, tag: "tag".into(), no_ack: true, priority: -2, prefetch: 300 }),
                "0102e80300000000000007000000030074616701feffffff2c01",
            ),
            (Command::Cancel { consumer }, "0103e8030000000000000300000002010000"),
            (Command::HandOver { consumer }, "0104e8030000000000000300000002010000"),
            (Command::Take { no_ack: false }, "0105e80300000000000000"),
            (
                Command::Settle { consumer: Some(consumer), count: 2, positions: vec![1..3, 9..10] },
                concat!(
                    "0106e80300000000000003000000020100000200000002000000",
                    "01000000000000000300000000000000",
                    "09000000000000000a00000000000000"
                ),
            ),
            (
                Command::Return {
                    lots: vec![
                        lot(ReturnCause::Requeued, None),
                        lot(ReturnCause::Failed, Some(consumer)),
                        lot(ReturnCause::Unread, None),
                    ],
                },
                concat!(
                    "0107e80300000000000003000000",
                    "ffffffffffffffff00010200000003000000000000000100000000000000",
                    "030000000201000000020200000003000000000000000100000000000000",
                    "ffffffffffffffff01030200000003000000000000000100000000000000"
                ),
            ),
            (
                Command::Reject { consumer: None, positions: vec![Position(4)] },
                "0108e803000000000000ffffffffffffffff010000000400000000000000",
            ),
            (Command::Purge, "0109e803000000000000"),
            (Command::Wake, "010ae803000000000000"),
        ]
    }

    fn hex(octets: &[u8]) -> String {
        use std::fmt::Write;
        octets.iter().fold(String::new(), |mut text, octet| {
            write!(text, "{octet:02x}").unwrap();
            text
        })
    }

    #[test]
    fn commands_are_the_octets_they_always_were_and_come_back() {
        for (command, expected) in fixture() {
            let mut octets = Vec::new();
            command.encode(Timestamp(1000), &mut octets);
            assert_eq!(hex(&octets), expected, "{command:?}");
            assert_eq!(Command::decode(&octets), Ok((command, Timestamp(1000))));
        }
    }

    #[test]
    fn what_is_cut_or_goes_on_is_no_command() {
        for (command, _) in fixture() {
            let mut octets = Vec::new();
            command.encode(Timestamp(1000), &mut octets);
            for len in 0..octets.len() {
                assert_eq!(Command::decode(&octets[..len]), Err(CommandFormatError::Malformed), "{command:?} {len}");
            }
            octets.push(0);
            assert_eq!(Command::decode(&octets), Err(CommandFormatError::Malformed), "{command:?}");
            octets[0] = 2;
            assert_eq!(Command::decode(&octets), Err(CommandFormatError::Version(2)));
        }
        let unknown = [&[VERSION, 11][..], &[0; 8]].concat();
        assert_eq!(Command::decode(&unknown), Err(CommandFormatError::Malformed));
    }
}
