//! The one immutable, shared message.
//!
//! ```text
//! 0              1         2       3          4                    8
//! +--------------+---------+-------+----------+--------------------+----------+-------------+------------+------+------+
//! | exchange len | key len | flags | priority | properties len, LE | exchange | routing key | properties | body | tail |
//! +--------------+---------+-------+----------+--------------------+----------+-------------+------------+------+------+
//! ```
//! Flags: 1 is persistent, 2 has a time, 4 has a priority, 8 has died, 16 is due later, 32 has hidden keys; the others are 0.
//! The tail of a message with hidden keys is these, each behind an octet with its length, and how many octets they are, in 32
//! bits; then, of one that has a time, when it was published and its time to live; then, of one that is due later, when that
//! is. Times are numbers of 64 bits in milliseconds; all numbers are little-endian. The octets are also what stands on disk, so
//! they only change with the version of the message log.
//!
//! One allocation holds everything, so that fan-out copies a pointer and a queue entry is one. The properties are the
//! protocol's own octets, forwarded as they came.

use std::sync::Arc;

use crate::clock::Timestamp;

/// Octets in front of the exchange name.
const HEAD: usize = 8;
/// Where the flags are.
const FLAGS: usize = 2;
/// Where the priority is.
const PRIORITY: usize = 3;
/// The flag of a persistent message.
const PERSISTENT: u8 = 1;
/// The flag of a message that says when it was published and how long it lives.
const TIMED: u8 = 1 << 1;
/// The flag of a message with a priority.
const HAS_PRIORITY: u8 = 1 << 2;
/// The flag of a message whose properties tell of deaths that this broker wrote down.
const DIED: u8 = 1 << 3;
/// The flag of a message that is to be routed later.
const DUE_LATER: u8 = 1 << 4;
/// The flag of a message with routing keys that consumers are not shown.
const HAS_HIDDEN_KEYS: u8 = 1 << 5;
/// Octets of the size of the hidden keys.
const KEYS_SIZE: usize = 4;
/// Octets of the time of publication and the time to live, at the end.
const TIMES: usize = 16;
/// Octets of the time at which a message is due, at the very end.
const DUE: usize = 8;
/// The time to live of a message without one.
const NO_TTL: u64 = u64::MAX;

/// A published message: exchange, routing key, raw properties, body. A clone shares the allocation.
#[derive(Clone, PartialEq, Eq)]
pub struct Message(Arc<[u8]>);

impl Message {
    /// The exchange it was published to.
    #[inline]
    pub fn exchange(&self) -> &str {
        let start = HEAD;
        self.text(start, start + self.exchange_len())
    }

    /// The routing key it was published with.
    #[inline]
    pub fn routing_key(&self) -> &str {
        let start = HEAD + self.exchange_len();
        self.text(start, start + self.key_len())
    }

    /// Property flags and list, as the publisher's protocol encoded them.
    #[inline]
    pub fn properties(&self) -> &[u8] {
        let start = HEAD + self.exchange_len() + self.key_len();
        self.0.get(start..start + self.properties_len()).unwrap_or_default()
    }

    /// The body.
    #[inline]
    pub fn body(&self) -> &[u8] {
        let start = HEAD + self.exchange_len() + self.key_len() + self.properties_len();
        self.0.get(start..self.0.len().saturating_sub(self.tail_len())).unwrap_or_default()
    }

    /// Octets of the body.
    #[inline]
    pub fn body_size(&self) -> usize {
        // It is asked of every message that waits, so the head is read at once.
        let head = self.0.first_chunk::<HEAD>().map_or(0, |head| u64::from_le_bytes(*head));
        let [exchange, key, flags, ..] = head.to_le_bytes();
        let properties = (head >> u32::BITS) as u32 as usize;
        let mut behind = self.0.len().saturating_sub(HEAD + usize::from(exchange) + usize::from(key) + properties);
        if flags & (TIMED | DUE_LATER | HAS_HIDDEN_KEYS) != 0 {
            behind = behind.saturating_sub(self.tail_len());
        }
        behind
    }

    /// Its priority, if its publisher gave it one.
    #[inline]
    pub fn priority(&self) -> Option<u8> {
        if self.has(HAS_PRIORITY) { self.0.get(PRIORITY).copied() } else { None }
    }

    /// When it was published, if that was written down because something depends on it.
    #[inline]
    pub fn published_at(&self) -> Option<Timestamp> {
        if !self.has(TIMED) {
            return None;
        }
        let due = if self.has(DUE_LATER) { DUE } else { 0 };
        self.number_from_end(TIMES + due).map(Timestamp)
    }

    /// How long its publisher wants it to live (`expiration`), in milliseconds.
    #[inline]
    pub fn ttl_ms(&self) -> Option<u64> {
        if !self.has(TIMED) {
            return None;
        }
        let due = if self.has(DUE_LATER) { DUE } else { 0 };
        self.number_from_end(TIMES / 2 + due).filter(|ttl| *ttl != NO_TTL)
    }

    /// When it expires in a queue whose messages live so many milliseconds. A message that has no time never does.
    #[inline]
    pub fn expires_at(&self, queue_ttl_ms: Option<u64>) -> Option<Timestamp> {
        let published_at = self.published_at()?;
        let ttl = match (self.ttl_ms(), queue_ttl_ms) {
            (Some(own), Some(queue)) => own.min(queue),
            (own, queue) => own.or(queue)?,
        };
        Some(published_at.plus_ms(ttl))
    }

    /// When it is to be routed, if that is later than when it was published.
    pub fn due_at(&self) -> Option<Timestamp> {
        if self.has(DUE_LATER) { self.number_from_end(DUE).map(Timestamp) } else { None }
    }

    /// Whether its properties tell of deaths that this broker wrote down; what a client wrote there means nothing.
    pub fn has_died(&self) -> bool {
        self.has(DIED)
    }

    /// Routing keys that it was published with besides its own and that consumers are not shown: those of `BCC`.
    pub fn hidden_keys(&self) -> impl Iterator<Item = &str> {
        let end = self.0.len().saturating_sub(self.times_len() + KEYS_SIZE);
        let start = end.saturating_sub(self.hidden_keys_size());
        let mut rest = if self.has(HAS_HIDDEN_KEYS) { self.0.get(start..end).unwrap_or_default() } else { &[] };
        std::iter::from_fn(move || {
            let (len, behind) = rest.split_first()?;
            let (key, behind) = behind.split_at_checked(usize::from(*len))?;
            rest = behind;
            std::str::from_utf8(key).ok()
        })
    }

    /// The same message with other properties.
    #[must_use]
    pub fn with_properties(&self, raw: &[u8]) -> Self {
        let start = HEAD + self.exchange_len() + self.key_len();
        let (front, behind) = self.0.split_at_checked(start).unwrap_or_default();
        let behind = behind.get(self.properties_len()..).unwrap_or_default();
        let mut draft = Draft { octets: Vec::with_capacity(front.len() + raw.len() + behind.len()) };
        draft.octets.extend_from_slice(front);
        draft.properties(raw);
        draft.octets.extend_from_slice(behind);
        draft.message()
    }

    /// The same message with hidden keys, if it has none.
    #[must_use]
    pub fn with_hidden_keys(&self, keys: &[String]) -> Self {
        if self.has(HAS_HIDDEN_KEYS) {
            return self.clone();
        }
        let times = self.0.len().saturating_sub(self.times_len());
        let (front, times) = self.0.split_at_checked(times).unwrap_or_default();
        let mut draft = Draft { octets: front.to_vec() };
        draft.hide_keys(keys.iter().map(String::as_str));
        draft.octets.extend_from_slice(times);
        draft.message()
    }

    /// The same message, to be routed at a later time.
    #[must_use]
    pub fn held_until(&self, due: Timestamp) -> Self {
        let end = if self.has(DUE_LATER) { self.0.len().saturating_sub(DUE) } else { self.0.len() };
        let mut octets = Vec::with_capacity(end + DUE);
        octets.extend_from_slice(self.0.get(..end).unwrap_or_default());
        let mut draft = Draft { octets };
        draft.set_due(due);
        draft.message()
    }

    /// The same message as it is when it is due: routed now, and published now if it says when that was.
    #[must_use]
    pub fn released(&self, now: Timestamp) -> Self {
        if !self.has(DUE_LATER) {
            return self.clone();
        }
        let mut octets = self.0.get(..self.0.len().saturating_sub(self.times_len())).unwrap_or_default().to_vec();
        if let Some(flags) = octets.get_mut(FLAGS) {
            *flags &= !(DUE_LATER | TIMED);
        }
        let mut draft = Draft { octets };
        if self.has(TIMED) {
            draft.stamp(now, self.ttl_ms());
        }
        draft.message()
    }

    #[inline]
    fn has(&self, flag: u8) -> bool {
        self.0.get(FLAGS).is_some_and(|flags| flags & flag != 0)
    }

    #[inline]
    fn tail_len(&self) -> usize {
        if self.has(TIMED | DUE_LATER | HAS_HIDDEN_KEYS) {
            let keys = if self.has(HAS_HIDDEN_KEYS) { KEYS_SIZE + self.hidden_keys_size() } else { 0 };
            keys + self.times_len()
        } else {
            0
        }
    }

    fn times_len(&self) -> usize {
        usize::from(self.has(TIMED)) * TIMES + usize::from(self.has(DUE_LATER)) * DUE
    }

    fn hidden_keys_size(&self) -> usize {
        let start = self.0.len().checked_sub(self.times_len() + KEYS_SIZE);
        let octets = start.and_then(|start| self.0.get(start..)).and_then(|rest| rest.first_chunk::<KEYS_SIZE>());
        octets.map_or(0, |octets| u32::from_le_bytes(*octets) as usize)
    }

    fn number_from_end(&self, distance: usize) -> Option<u64> {
        let start = self.0.len().checked_sub(distance)?;
        let octets = self.0.get(start..)?.first_chunk::<8>()?;
        Some(u64::from_le_bytes(*octets))
    }

    /// Octets it takes in memory, without the shared counters: what budgets and windows count.
    #[inline]
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// Whether its publisher wants it to survive a restart, which it does in a durable queue.
    #[inline]
    pub fn is_persistent(&self) -> bool {
        self.has(PERSISTENT)
    }

    /// The same message, published at this time.
    #[must_use]
    pub fn stamped(&self, published_at: Timestamp) -> Self {
        let front = self.0.get(..self.0.len().saturating_sub(self.times_len())).unwrap_or_default();
        let mut octets = Vec::with_capacity(front.len() + TIMES + DUE);
        octets.extend_from_slice(front);
        if let Some(flags) = octets.get_mut(FLAGS) {
            *flags &= !(TIMED | DUE_LATER);
        }
        let mut draft = Draft { octets };
        draft.stamp(published_at, self.ttl_ms());
        if let Some(due) = self.due_at() {
            draft.set_due(due);
        }
        draft.message()
    }

    /// All octets, as they are kept on disk.
    #[inline]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// A message from its [`octets`](Self::octets), unless they cannot be those of one.
    pub fn from_octets(octets: Arc<[u8]>) -> Option<Self> {
        let message = Self(octets);
        let key = HEAD + message.exchange_len();
        let properties = key + message.key_len();
        let body = properties.checked_add(message.properties_len())?;
        let end = message.0.len().checked_sub(message.tail_len())?;
        let is_text = |range| message.0.get(range).is_some_and(|name| std::str::from_utf8(name).is_ok());
        (end >= body && is_text(HEAD..key) && is_text(key..properties)).then_some(message)
    }

    fn exchange_len(&self) -> usize {
        self.0.first().copied().map_or(0, usize::from)
    }

    fn key_len(&self) -> usize {
        self.0.get(1).copied().map_or(0, usize::from)
    }

    fn properties_len(&self) -> usize {
        let len = self.0.get(4..HEAD).and_then(|octets| octets.try_into().ok()).map_or(0, u32::from_le_bytes);
        len as usize
    }

    fn text(&self, start: usize, end: usize) -> &str {
        let octets = self.0.get(start..end).unwrap_or_default();
        // Only `&str`s go in, so this cannot fail; checking costs a few nanoseconds and spares an unsafe block.
        std::str::from_utf8(octets).unwrap_or_default()
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message")
            .field("exchange", &self.exchange())
            .field("routing_key", &self.routing_key())
            .field("properties", &self.properties().len())
            .field("body", &self.body().len())
            .finish()
    }
}

/// A message being put together, as its parts arrive: names, then properties, then the body in pieces.
///
/// The buffer can be taken back by [`Draft::into_buffer`] and given to the next draft, so that putting a message together
/// costs one allocation, the message's own.
#[derive(Debug, Default)]
pub struct Draft {
    octets: Vec<u8>,
}

impl Draft {
    /// Starts a message. Names are cut to 255 octets, which is what every protocol allows them.
    #[inline]
    pub fn new(mut buffer: Vec<u8>, exchange: &str, routing_key: &str) -> Self {
        let (exchange, routing_key) = (clip(exchange), clip(routing_key));
        buffer.clear();
        #[expect(clippy::cast_possible_truncation, reason = "clipped to 255")]
        buffer.extend_from_slice(&[exchange.len() as u8, routing_key.len() as u8, 0, 0, 0, 0, 0, 0]);
        buffer.extend_from_slice(exchange.as_bytes());
        buffer.extend_from_slice(routing_key.as_bytes());
        Self { octets: buffer }
    }

    /// The exchange it is published to.
    #[inline]
    pub fn exchange(&self) -> &str {
        let len = self.octets.first().copied().map_or(0, usize::from);
        std::str::from_utf8(self.octets.get(HEAD..HEAD + len).unwrap_or_default()).unwrap_or_default()
    }

    /// The routing key it is published with.
    #[inline]
    pub fn routing_key(&self) -> &str {
        let start = HEAD + self.octets.first().copied().map_or(0, usize::from);
        let len = self.octets.get(1).copied().map_or(0, usize::from);
        std::str::from_utf8(self.octets.get(start..start + len).unwrap_or_default()).unwrap_or_default()
    }

    /// Adds the properties; called once, before the body.
    #[inline]
    pub fn properties(&mut self, raw: &[u8]) {
        let len = u32::try_from(raw.len()).unwrap_or(u32::MAX);
        if let Some(slot) = self.octets.get_mut(4..HEAD) {
            slot.copy_from_slice(&len.to_le_bytes());
        }
        self.octets.extend_from_slice(raw);
    }

    /// Marks the message as one that is to survive a restart.
    #[inline]
    pub fn set_persistent(&mut self) {
        self.set(PERSISTENT);
    }

    /// Gives the message a priority.
    #[inline]
    pub fn set_priority(&mut self, priority: u8) {
        if let Some(octet) = self.octets.get_mut(PRIORITY) {
            *octet = priority;
            self.set(HAS_PRIORITY);
        }
    }

    /// Marks the message as one whose properties tell of deaths that this broker wrote down.
    pub fn set_died(&mut self) {
        self.set(DIED);
    }

    /// Writes down routing keys that consumers are not shown, each cut to 255 octets. Comes right after the body, at most once.
    pub fn hide_keys<'k>(&mut self, keys: impl IntoIterator<Item = &'k str>) {
        let start = self.octets.len();
        for key in keys {
            let key = clip(key);
            #[expect(clippy::cast_possible_truncation, reason = "clipped to 255")]
            self.octets.push(key.len() as u8);
            self.octets.extend_from_slice(key.as_bytes());
        }
        if self.octets.len() == start {
            return;
        }
        let size = u32::try_from(self.octets.len() - start).unwrap_or(u32::MAX);
        self.octets.extend_from_slice(&size.to_le_bytes());
        self.set(HAS_HIDDEN_KEYS);
    }

    /// Writes down when it is published and how long it lives, in milliseconds. Comes after the body, at most once.
    #[inline]
    pub fn stamp(&mut self, published_at: Timestamp, ttl_ms: Option<u64>) {
        self.octets.extend_from_slice(&published_at.0.to_le_bytes());
        self.octets.extend_from_slice(&ttl_ms.unwrap_or(NO_TTL).to_le_bytes());
        self.set(TIMED);
    }

    /// Writes down when it is to be routed. Comes last, at most once.
    pub fn set_due(&mut self, due: Timestamp) {
        self.octets.extend_from_slice(&due.0.to_le_bytes());
        self.set(DUE_LATER);
    }

    #[inline]
    fn set(&mut self, flag: u8) {
        if let Some(flags) = self.octets.get_mut(FLAGS) {
            *flags |= flag;
        }
    }

    /// Adds a piece of the body.
    #[inline]
    pub fn body(&mut self, piece: &[u8]) {
        self.octets.extend_from_slice(piece);
    }

    /// The message as put together so far.
    #[inline]
    pub fn message(&self) -> Message {
        Message(Arc::from(self.octets.as_slice()))
    }

    /// The buffer, for the next draft.
    #[inline]
    pub fn into_buffer(self) -> Vec<u8> {
        self.octets
    }
}

fn clip(name: &str) -> &str {
    if name.len() <= 255 { name } else { name.get(..name.floor_char_boundary(255)).unwrap_or_default() }
}

#[cfg(test)]
impl Message {
    /// A message with nothing but its addresses.
    pub(crate) fn bare(exchange: &str, routing_key: &str) -> Self {
        Draft::new(Vec::new(), exchange, routing_key).message()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_gives_back_its_parts() {
        for (exchange, key, properties, pieces) in [
            ("", "", &b""[..], &[][..]),
            ("amq.topic", "a.b.c", b"\x10\0\x02", &[&b"hello "[..], b"world"][..]),
            ("交换机", "ключ", b"\0\0", &[b"x"]),
        ] {
            let mut draft = Draft::new(vec![1, 2, 3], exchange, key);
            assert_eq!((draft.exchange(), draft.routing_key()), (exchange, key));
            draft.properties(properties);
            for piece in pieces {
                draft.body(piece);
            }
            let message = draft.message();
            assert_eq!((message.exchange(), message.routing_key()), (exchange, key));
            assert_eq!((message.properties(), message.body()), (properties, pieces.concat().as_slice()));
            assert!(!message.is_persistent());
            draft.set_persistent();
            let persistent = draft.message();
            assert!(persistent.is_persistent());
            assert_eq!(Message::from_octets(persistent.octets().into()), Some(persistent));
        }
    }

    #[test]
    fn what_is_written_behind_the_body_is_no_part_of_it() {
        let none = (None, None, None);
        for (stamp, due, expected) in [
            (None, None, none),
            (Some((5, None)), None, (Some(5), None, None)),
            (Some((5, Some(7))), None, (Some(5), Some(7), None)),
            (None, Some(9), (None, None, Some(9))),
            (Some((5, Some(7))), Some(9), (Some(5), Some(7), Some(9))),
        ] {
            let mut draft = Draft::new(Vec::new(), "x", "key");
            draft.properties(b"\0\0");
            draft.body(b"body");
            draft.set_priority(3);
            if let Some((published_at, ttl_ms)) = stamp {
                draft.stamp(Timestamp(published_at), ttl_ms);
            }
            if let Some(due) = due {
                draft.set_due(Timestamp(due));
            }
            let message = draft.message();
            assert_eq!((message.body(), message.body_size(), message.priority()), (&b"body"[..], 4, Some(3)));
            let times = (message.published_at().map(|at| at.0), message.ttl_ms(), message.due_at().map(|at| at.0));
            assert_eq!(times, expected);
            assert_eq!(Message::from_octets(message.octets().into()), Some(message.clone()));
            let other = message.with_properties(b"\x08\0\x03");
            assert_eq!(
                (other.properties(), other.body(), other.priority()),
                (&b"\x08\0\x03"[..], &b"body"[..], Some(3))
            );
            let times = (other.published_at().map(|at| at.0), other.ttl_ms(), other.due_at().map(|at| at.0));
            assert_eq!(times, expected);
            assert_eq!(other.with_properties(b"\0\0"), message);
            let stamped = message.stamped(Timestamp(6));
            assert_eq!((stamped.published_at(), stamped.ttl_ms()), (Some(Timestamp(6)), expected.1));
        }
    }

    #[test]
    fn a_message_expires_by_the_shorter_of_its_own_time_and_the_queues() {
        for (stamp, queue, expected) in [
            (None, Some(1), None),
            (Some(None), None, None),
            (Some(Some(10)), None, Some(1010)),
            (Some(None), Some(20), Some(1020)),
            (Some(Some(10)), Some(20), Some(1010)),
            (Some(Some(20)), Some(10), Some(1010)),
            (Some(Some(0)), Some(10), Some(1000)),
            (Some(Some(u64::MAX - 1)), None, Some(u64::MAX)),
        ] {
            let mut draft = Draft::new(Vec::new(), "", "q");
            if let Some(ttl_ms) = stamp {
                draft.stamp(Timestamp(1000), ttl_ms);
            }
            assert_eq!(draft.message().expires_at(queue), expected.map(Timestamp), "{stamp:?} {queue:?}");
        }
    }

    #[test]
    fn hidden_keys_are_behind_the_body_and_before_the_times() {
        let long = "x".repeat(300);
        for keys in [&[][..], &["a"], &["", "b.c"], &[long.as_str()]] {
            for (stamp, due) in [(None, None), (Some(5), None), (Some(5), Some(9)), (None, Some(9))] {
                let draft = |keys: &[&str]| {
                    let mut draft = Draft::new(Vec::new(), "x", "key");
                    draft.properties(b"\0\0");
                    draft.body(b"body");
                    draft.hide_keys(keys.iter().copied());
                    if let Some(at) = stamp {
                        draft.stamp(Timestamp(at), Some(7));
                    }
                    if let Some(due) = due {
                        draft.set_due(Timestamp(due));
                    }
                    draft.message()
                };
                let message = draft(keys);
                let expected: Vec<&str> = keys.iter().map(|key| &key[..key.len().min(255)]).collect();
                assert_eq!(message.hidden_keys().collect::<Vec<_>>(), expected);
                assert_eq!((message.body(), message.body_size()), (&b"body"[..], 4));
                assert_eq!((message.published_at(), message.due_at()), (stamp.map(Timestamp), due.map(Timestamp)));
                assert_eq!(Message::from_octets(message.octets().into()).as_ref(), Some(&message));
                let owned: Vec<String> = keys.iter().map(|key| (*key).to_owned()).collect();
                assert_eq!(draft(&[]).with_hidden_keys(&owned), message);
                assert_eq!(message.with_hidden_keys(&owned), message, "hidden once");
            }
        }
    }

    #[test]
    fn a_message_that_is_held_back_is_the_same_once_it_is_due() {
        for (keys, ttl) in [(&[][..], None), (&["a"], None), (&[], Some(Some(7))), (&["a", "b"], Some(None))] {
            let draft = |published| {
                let mut draft = Draft::new(Vec::new(), "x", "key");
                draft.properties(b"\x10\0\x02");
                draft.set_persistent();
                draft.set_priority(3);
                draft.body(b"body");
                draft.hide_keys(keys.iter().copied());
                if let Some(ttl) = ttl {
                    draft.stamp(Timestamp(published), ttl);
                }
                draft.message()
            };
            let message = draft(100);
            let held = message.held_until(Timestamp(500));
            assert_eq!((held.due_at(), held.body()), (Some(Timestamp(500)), &b"body"[..]));
            assert_eq!((held.published_at(), held.ttl_ms()), (message.published_at(), message.ttl_ms()));
            assert_eq!(Message::from_octets(held.octets().into()).as_ref(), Some(&held));
            assert_eq!(held.held_until(Timestamp(700)), message.held_until(Timestamp(700)));
            assert_eq!(held.released(Timestamp(501)), draft(501));
            assert_eq!(message.released(Timestamp(501)), message, "it was not held back");
        }
    }

    #[test]
    fn a_message_with_other_properties_is_the_same_otherwise() {
        let mut draft = Draft::new(Vec::new(), "exchange", "key");
        draft.properties(b"\x10\0\x02");
        draft.set_persistent();
        draft.set_priority(7);
        draft.set_died();
        draft.body(b"body");
        draft.hide_keys(["hidden"]);
        draft.stamp(Timestamp(5), Some(6));
        let message = draft.message();
        for raw in [&b""[..], b"\0\0", b"\x20\0\0\0\0\x05\x01nI"] {
            let changed = message.with_properties(raw);
            assert_eq!(changed.properties(), raw);
            assert_eq!(changed.with_properties(message.properties()), message);
        }
    }

    #[test]
    fn octets_of_anything_else_are_no_message() {
        let mut draft = Draft::new(Vec::new(), "exchange", "key");
        draft.properties(b"\0\0");
        let octets = draft.message().octets().to_vec();
        let with = |index: usize, octet: u8| {
            let mut changed = octets.clone();
            changed[index] = octet;
            changed
        };
        for damaged in [
            vec![],
            vec![0; 7],
            octets[..20].to_vec(),
            with(0, 200),
            with(1, 200),
            with(4, 3),
            with(7, 255),
            with(9, 0xFF),
            with(2, TIMED),
            with(2, HAS_HIDDEN_KEYS),
        ] {
            assert_eq!(Message::from_octets(damaged.as_slice().into()), None, "{damaged:?}");
        }
        assert!(Message::from_octets(octets.as_slice().into()).is_some());
        assert!(Message::from_octets(vec![0; 8].into()).is_some(), "all parts may be empty");
    }
}
