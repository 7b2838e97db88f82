//! What tells a message from one that came before: the ids of messages, and what is remembered of them.
//!
//! The id of a message is what its publisher wrote into [`ID_HEADER`]; a message without it is never a duplicate. An exchange
//! remembers the ids that it has seen lately ([`Recent`]), a queue those of the messages that are in it ([`Present`]). The
//! names and the rules are those of the community's plugin for RabbitMQ.

mod record;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

pub use record::{SeenLog, SeenRecord};

use crate::clock::Timestamp;
use crate::hash::Map;
use crate::message::Message;
use crate::properties::Properties;
use crate::value::Value;

/// The header with the id of a message.
pub const ID_HEADER: &str = "x-deduplication-header";
/// The header that says how long an exchange remembers the id of the message, in milliseconds, and the argument of an exchange
/// that says it for the messages that do not.
pub const TTL_NAME: &str = "x-cache-ttl";
/// The argument of a queue that asks for no duplicates.
pub const QUEUE_ARGUMENT: &str = "x-message-deduplication";

/// Stale places in the order of arrival that are kept however few ids there are.
const STALE_KEPT: usize = 64;

/// The id of a message, as octets. Numbers of all widths are the same id, and so are text and octets; a number is never the same
/// as its text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MessageId(Arc<[u8]>);

impl MessageId {
    /// The id that a message was given.
    pub fn of(message: &Message, properties: &dyn Properties) -> Option<Self> {
        properties.header(message, ID_HEADER).map(|value| Self::from(&value))
    }

    /// An id from its [`octets`](Self::octets).
    pub fn from_octets(octets: &[u8]) -> Self {
        Self(octets.into())
    }

    /// Its octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl From<&Value> for MessageId {
    fn from(value: &Value) -> Self {
        let mut octets = Vec::new();
        write(value, &mut octets);
        Self(octets.into())
    }
}

fn write(value: &Value, out: &mut Vec<u8>) {
    if let Some(number) = value.as_integer() {
        out.push(b'i');
        out.extend_from_slice(&number.to_le_bytes());
        return;
    }
    let mut float = |number: f64| {
        out.push(b'f');
        // The two zeros are one number.
        let number = if number == 0.0 { 0.0 } else { number };
        out.extend_from_slice(&number.to_bits().to_le_bytes());
    };
    match value {
        Value::F32(number) => float((*number).into()),
        Value::F64(number) => float(*number),
        Value::LongStr(octets) | Value::Bytes(octets) => {
            out.push(b's');
            counted(octets, out);
        }
        Value::Bool(yes) => out.extend_from_slice(&[b't', u8::from(*yes)]),
        Value::Timestamp(seconds) => {
            out.push(b'T');
            out.extend_from_slice(&seconds.to_le_bytes());
        }
        Value::Decimal { scale, value } => {
            out.extend_from_slice(&[b'd', *scale]);
            out.extend_from_slice(&value.to_le_bytes());
        }
        Value::Array(values) => {
            out.push(b'A');
            out.extend_from_slice(&values.len().to_le_bytes());
            for value in values {
                write(value, out);
            }
        }
        Value::Table(fields) => {
            out.push(b'F');
            out.extend_from_slice(&fields.len().to_le_bytes());
            for (name, value) in fields.iter() {
                counted(name.as_bytes(), out);
                write(value, out);
            }
        }
        Value::Void
        | Value::I8(_)
        | Value::U8(_)
        | Value::I16(_)
        | Value::U16(_)
        | Value::I32(_)
        | Value::U32(_)
        | Value::I64(_)
        | Value::U64(_) => out.push(b'v'),
    }
}

fn counted(octets: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&octets.len().to_le_bytes());
    out.extend_from_slice(octets);
}

/// The ids that were seen lately: so many at most, each for so long. When there are too many, the oldest goes.
#[derive(Clone, Debug)]
pub struct Recent {
    size_max: usize,
    ids: Map<MessageId, Seen>,
    /// The ids in the order in which they came. Places of ids that were forgotten and came again are stale.
    order: VecDeque<(u64, MessageId)>,
    next: u64,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    place: u64,
    /// It is forgotten then.
    until: Option<Timestamp>,
}

impl Recent {
    /// Nothing seen. At least one id is remembered.
    pub fn new(size_max: usize) -> Self {
        Self { size_max: size_max.max(1), ids: Map::default(), order: VecDeque::new(), next: 0 }
    }

    /// Whether this id is new, which it is not any more. The time until which it is remembered is that of the first.
    pub fn insert(&mut self, id: &MessageId, until: Option<Timestamp>, now: Timestamp) -> bool {
        self.forget_expired(now);
        if self.ids.get(id).is_some_and(|seen| !seen.is_over(now)) {
            return false;
        }
        // One whose time is over leaves a stale place behind, and its own to the new one.
        self.ids.remove(id);
        while self.ids.len() >= self.size_max {
            self.forget_oldest();
        }
        let place = self.next;
        self.next += 1;
        self.ids.insert(id.clone(), Seen { place, until });
        self.order.push_back((place, id.clone()));
        if self.order.len() > 2 * self.ids.len() + STALE_KEPT {
            self.order.retain(|(place, id)| self.ids.get(id).is_some_and(|seen| seen.place == *place));
        }
        true
    }

    /// The ids that are remembered and until when, in the order in which they came.
    pub fn iter(&self) -> impl Iterator<Item = (&MessageId, Option<Timestamp>)> {
        self.order.iter().filter_map(|(place, id)| {
            let seen = self.ids.get(id).filter(|seen| seen.place == *place)?;
            Some((id, seen.until))
        })
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.ids.clear();
        self.order.clear();
    }

    /// How many ids are remembered; of some the time may be over.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Forgets what came first as long as its time is over, so that ids that all live equally long never pile up.
    fn forget_expired(&mut self, now: Timestamp) {
        while let Some((place, id)) = self.order.front() {
            let is_needed = self.ids.get(id).is_some_and(|seen| seen.place == *place && !seen.is_over(now));
            if is_needed {
                return;
            }
            self.forget_oldest();
        }
    }

    /// Takes the first place away, and its id with it unless the place is stale.
    fn forget_oldest(&mut self) {
        let Some((place, id)) = self.order.pop_front() else {
            // Every id has a place.
            self.ids.clear();
            return;
        };
        if self.ids.get(&id).is_some_and(|seen| seen.place == place) {
            self.ids.remove(&id);
        }
    }
}

impl Seen {
    fn is_over(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// The ids of the messages in a queue, from their arrival until they are settled or dropped, with the positions that these have
/// there.
#[derive(Debug, Default)]
pub struct Present {
    ids: Map<MessageId, Held>,
    positions: BTreeMap<u64, MessageId>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    position: u64,
    /// The message counts as gone from then on, wherever it still stands.
    until: Option<Timestamp>,
}

impl Present {
    /// Whether a message is in the queue that has this id and whose time is not over.
    pub fn is_duplicate(&self, id: &MessageId, now: Timestamp) -> bool {
        self.ids.get(id).is_some_and(|held| held.until.is_none_or(|until| until > now))
    }

    /// Takes note of a message that gets this position and expires then. Of two with the same id, the later one counts.
    pub fn insert(&mut self, id: MessageId, position: u64, until: Option<Timestamp>) {
        self.ids.insert(id.clone(), Held { position, until });
        self.positions.insert(position, id);
    }

    /// The messages with these positions are not in the queue any more. Positions of messages without an id may be among them.
    pub fn remove(&mut self, positions: Range<u64>) {
        while let Some((position, _)) = self.positions.range(positions.clone()).next() {
            let position = *position;
            if let Some(id) = self.positions.remove(&position)
                && self.ids.get(&id).is_some_and(|held| held.position == position)
            {
                self.ids.remove(&id);
            }
        }
    }

    /// How many messages with an id there are.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }
}

#[cfg(test)]
mod tests;
