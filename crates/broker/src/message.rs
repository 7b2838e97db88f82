//! The one immutable, shared message.
//!
//! ```text
//! 0              1             2        4                    8
//! +--------------+-------------+--------+--------------------+----------+-------------+------------+------+
//! | exchange len | key len     | flags  | properties len, LE | exchange | routing key | properties | body |
//! +--------------+-------------+--------+--------------------+----------+-------------+------------+------+
//! ```
//! Flags, of 16 bits: 1 is persistent; the others are 0. The octets are also what stands on disk, so they only change with
//! the version of the message log.
//!
//! One allocation holds everything, so that fan-out copies a pointer and a queue entry is one. The properties are the
//! protocol's own octets, forwarded as they came.

use std::sync::Arc;

/// Octets in front of the exchange name.
const HEAD: usize = 8;
/// Where the flags are.
const FLAGS: usize = 2;
/// The flag of a persistent message.
const PERSISTENT: u8 = 1;

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
        self.0.get(start..).unwrap_or_default()
    }

    /// Octets it takes in memory, without the shared counters: what budgets and windows count.
    #[inline]
    pub fn size(&self) -> usize {
        self.0.len()
    }

    /// Whether its publisher wants it to survive a restart, which it does in a durable queue.
    #[inline]
    pub fn is_persistent(&self) -> bool {
        self.0.get(FLAGS).is_some_and(|flags| flags & PERSISTENT != 0)
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
        let is_text = |range| message.0.get(range).is_some_and(|name| std::str::from_utf8(name).is_ok());
        (message.0.len() >= body && is_text(HEAD..key) && is_text(key..properties)).then_some(message)
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
        if let Some(flags) = self.octets.get_mut(FLAGS) {
            *flags |= PERSISTENT;
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
        ] {
            assert_eq!(Message::from_octets(damaged.as_slice().into()), None, "{damaged:?}");
        }
        assert!(Message::from_octets(octets.as_slice().into()).is_some());
        assert!(Message::from_octets(vec![0; 8].into()).is_some(), "all parts may be empty");
    }
}
