//! The messages of these tests: each carries its identity, and its body follows from it.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use leveret_protocol::amqp091::Properties;
use leveret_protocol::amqp091::frame::write_content;
use leveret_protocol::amqp091::method::BasicPublish;

use crate::random::Random;
use crate::wire::FRAME_MAX;

/// Octets of the largest body.
pub(crate) const BODY_MAX: usize = 300 * 1024;
/// Bodies are cuts from a row of random octets, beginning at one of so many places.
const OFFSETS: usize = 64 * 1024;

/// Who published a message, and which of theirs it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    pub(crate) publisher: u32,
    pub(crate) number: u32,
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.publisher, self.number)
    }
}

impl FromStr for Id {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('.').and_then(|(publisher, number)| {
            Some(Self { publisher: publisher.parse().ok()?, number: number.parse().ok()? })
        });
        parsed.ok_or_else(|| format!("a message with the id '{text}', which nobody gave"))
    }
}

/// Whether a message is to survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Transient,
    Persistent,
}

impl Mode {
    fn octet(self) -> u8 {
        match self {
            Self::Transient => 1,
            Self::Persistent => 2,
        }
    }

    /// As a message carries it.
    pub(crate) fn of(delivery_mode: Option<u8>) -> Self {
        if delivery_mode == Some(2) { Self::Persistent } else { Self::Transient }
    }
}

/// A message to publish.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    pub(crate) id: Id,
    pub(crate) size: usize,
    pub(crate) mode: Mode,
}

/// The body of a message.
pub(crate) fn body(id: Id, size: usize) -> &'static [u8] {
    static OCTETS: OnceLock<Vec<u8>> = OnceLock::new();
    let octets = OCTETS.get_or_init(|| {
        let mut random = Random::new(1);
        (0..(OFFSETS + BODY_MAX) / 8).flat_map(|_| random.next().to_ne_bytes()).collect()
    });
    let at = Random::new((u64::from(id.publisher) << 32) | u64::from(id.number)).below(OFFSETS);
    &octets[at..at + size]
}

impl Message {
    /// The frames that publish it on channel 1.
    pub(crate) fn frames(&self, exchange: &str, routing_key: &str, mandatory: Mandatory) -> Vec<u8> {
        let id = self.id.to_string();
        let properties =
            Properties { delivery_mode: Some(self.mode.octet()), message_id: Some(&id), ..Properties::default() };
        let mut encoded = Vec::new();
        properties.encode(&mut encoded);
        let mandatory = mandatory == Mandatory::Yes;
        let publish = BasicPublish { ticket: 0, exchange, routing_key, mandatory, immediate: false };
        let mut frames = Vec::with_capacity(self.size + 256);
        write_content(&mut frames, 1, &publish, &encoded, body(self.id, self.size), FRAME_MAX as usize);
        frames
    }
}

/// Whether a message that finds no queue comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mandatory {
    Yes,
    No,
}

/// A size as messages have it: many small ones, some of several pages, some empty.
pub(crate) fn size(random: &mut Random) -> usize {
    match random.below(100) {
        0..5 => 0,
        5..60 => random.below(200),
        60..90 => random.below(4 * 1024),
        _ => random.below(20 * 1024),
    }
}
