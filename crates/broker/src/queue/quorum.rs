//! What a quorum queue has beyond a classic one: it counts how often each message was handed out, and in vain; what comes
//! back stands in front of everything else, in the order in which it came; and what died may stay until others have it.
//!
//! A quorum queue keeps what it has handed out, so that positions suffice to speak of messages.

mod command;
mod format;

pub use command::{Checkout, Command, Outcome, ReturnedLot};
pub use format::CommandFormatError;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::classic::Listed;
use super::{DelayedRetry, Position, QueueSettings, Retried};
use crate::Name;
use crate::clock::Timestamp;
use crate::hash::Map;
use crate::message::Message;
use crate::properties::Properties;
use crate::value::Value;

/// The header that says how often handing a message out failed.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// The header that says how often a message was handed out before.
const ACQUIRED_COUNT: &str = "x-acquired-count";

/// The nodes that a quorum queue is on, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members {
    /// The one that serves it.
    pub leader: Name,
    /// All of them.
    pub members: Vec<Name>,
    /// Those that are there.
    pub online: Vec<Name>,
}

impl Members {
    /// A queue that is on one node only.
    pub fn only(node: &Name) -> Self {
        let all = vec![Name::clone(node)];
        Self { leader: Name::clone(node), members: all.clone(), online: all }
    }
}

/// Why a message comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReturnCause {
    /// Its consumer gave it back.
    Requeued,
    /// Its consumer could not deal with it, or went without a word.
    Failed,
    /// Its consumer went before it was told of the message.
    Unread,
}

/// What handing out a message came to so far, for one that came back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attempts {
    /// How often it was handed out.
    pub(super) acquired: u32,
    /// How often in vain.
    pub(super) failed: u32,
}

/// What becomes of a message that comes back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It waits, at once or after a while.
    Waits {
        /// Whether its publisher gave it a time to live.
        expires: bool,
    },
    /// It was handed out in vain too often.
    Dies(Message),
    /// It was done with, and is not the queue's any more.
    Unknown,
}

/// What a quorum queue has beyond a classic one.
#[derive(Debug)]
pub(super) struct Quorum {
    properties: Arc<dyn Properties>,
    delivery_limit: Option<u32>,
    delayed_retry: Option<DelayedRetry>,
    /// Handed out and neither settled nor back.
    held: Map<Position, Message>,
    /// Only of messages that came back.
    attempts: Map<Position, Attempts>,
    /// Back, in the order in which they came.
    returned: VecDeque<(Position, Message)>,
    /// Back, but not to be handed out before their time; what is due at the same time goes in the order in which it came.
    delayed: BTreeMap<(Timestamp, u64), (Position, Message)>,
    /// Numbers what is delayed.
    serial: u64,
    /// Dead, but here until others have them: octets of their bodies.
    leaving: Map<Position, usize>,
    /// Octets of `returned` and `delayed`.
    bytes: usize,
    /// Octets of the bodies of `returned` and `leaving`.
    body_bytes: usize,
    /// Octets of the bodies of `returned` and `delayed`,
    waiting_octets: u64,
    /// and of `held`.
    held_octets: u64,
}

impl Quorum {
    pub(super) fn new(properties: Arc<dyn Properties>) -> Self {
        Self {
            properties,
            delivery_limit: None,
            delayed_retry: None,
            held: Map::default(),
            attempts: Map::default(),
            returned: VecDeque::new(),
            delayed: BTreeMap::new(),
            serial: 0,
            leaving: Map::default(),
            bytes: 0,
            body_bytes: 0,
            waiting_octets: 0,
            held_octets: 0,
        }
    }

    /// Acts by other settings from now on.
    pub(super) fn configure(&mut self, settings: &QueueSettings) {
        self.delivery_limit = settings.delivery_limit;
        self.delayed_retry = settings.delayed_retry;
    }

    /// Messages that came back and wait to be handed out again.
    pub(super) fn returned_count(&self) -> usize {
        self.returned.len()
    }

    /// Messages that came back and are not to be handed out yet.
    pub(super) fn delayed_count(&self) -> usize {
        self.delayed.len()
    }

    /// Messages that died and stay until others have them.
    pub(super) fn leaving_count(&self) -> usize {
        self.leaving.len()
    }

    /// Octets of the messages that came back.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Octets of the bodies of the messages that count beside those that wait in their lanes.
    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes as u64
    }

    /// Octets of the bodies of the messages that came back, those included that are not to be handed out yet.
    pub(super) const fn waiting_octets(&self) -> u64 {
        self.waiting_octets
    }

    /// Octets of the bodies of the messages that were handed out.
    pub(super) const fn held_octets(&self) -> u64 {
        self.held_octets
    }

    /// The message that comes next, if one came back.
    pub(super) fn peek(&self) -> Option<&Message> {
        self.returned.front().map(|(_, message)| message)
    }

    /// When a message is to be handed out that came back.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.delayed.first_key_value().map(|((due, _), _)| *due)
    }

    /// Lets messages be handed out whose time has come. Says whether there were any.
    pub(super) fn end_delays(&mut self, now: Timestamp) -> bool {
        let mut has_ended = false;
        while let Some(first) = self.delayed.first_entry()
            && first.key().0 <= now
        {
            let (position, message) = first.remove();
            self.body_bytes += message.body_size();
            self.returned.push_back((position, message));
            has_ended = true;
        }
        has_ended
    }

    /// Takes the message that came back first.
    pub(super) fn pop(&mut self) -> Option<(Position, Message)> {
        let (position, message) = self.returned.pop_front()?;
        self.waiting_octets = self.waiting_octets.saturating_sub(message.body_size() as u64);
        self.bytes = self.bytes.saturating_sub(message.size());
        self.body_bytes = self.body_bytes.saturating_sub(message.body_size());
        Some((position, message))
    }

    /// A message is handed out: it is kept, and what goes out says how often it did so before.
    pub(super) fn hand_out(&mut self, position: Position, message: Message, redelivered: bool) -> Message {
        let attempts =
            if redelivered { self.attempts.get(&position).copied().unwrap_or_default() } else { Attempts::default() };
        let mut told = message.clone();
        self.held_octets += message.body_size() as u64;
        self.held.insert(position, message);
        if attempts.acquired > 0 {
            told = self.properties.with_header(&told, ACQUIRED_COUNT, &Value::I64(attempts.acquired.into()));
        }
        if attempts.failed > 0 {
            told = self.properties.with_header(&told, DELIVERY_COUNT, &Value::I64(attempts.failed.into()));
        }
        told
    }

    /// A message comes back.
    pub(super) fn give_back(&mut self, position: Position, cause: ReturnCause, now: Timestamp) -> Fate {
        let Some(message) = self.take_held(position) else { return Fate::Unknown };
        let attempts = self.attempts.entry(position).or_default();
        attempts.acquired = attempts.acquired.saturating_add(1);
        if cause == ReturnCause::Failed {
            attempts.failed = attempts.failed.saturating_add(1);
            if self.delivery_limit.is_some_and(|limit| attempts.failed > limit) {
                return Fate::Dies(message);
            }
        }
        let expires = message.ttl_ms().is_some();
        self.bytes += message.size();
        self.waiting_octets += message.body_size() as u64;
        if let Some(delay_ms) = self.delayed_retry.and_then(|retry| retry.delay_ms(cause, *attempts)) {
            self.serial += 1;
            self.delayed.insert((now.plus_ms(delay_ms), self.serial), (position, message));
        } else {
            self.body_bytes += message.body_size();
            self.returned.push_back((position, message));
        }
        Fate::Waits { expires }
    }

    /// What came back and waits behind a position, or all of it; and the position behind which the lanes go on.
    pub(super) fn list(&self, after: Option<Position>, count: usize) -> (Vec<Listed>, Option<Position>) {
        let skipped = match after {
            None => 0,
            Some(after) => match self.returned.iter().position(|(position, _)| *position == after) {
                Some(index) => index + 1,
                None => return (Vec::new(), Some(after)),
            },
        };
        let listed = self.returned.iter().skip(skipped).take(count);
        (listed.map(|(position, message)| (*position, message.clone(), true)).collect(), None)
    }

    /// Takes a message out of turn, if it came back and waits.
    pub(super) fn take_returned(&mut self, wanted: Position) -> Option<Message> {
        let index = self.returned.iter().position(|(position, _)| *position == wanted)?;
        let (_, message) = self.returned.remove(index)?;
        self.waiting_octets = self.waiting_octets.saturating_sub(message.body_size() as u64);
        self.bytes = self.bytes.saturating_sub(message.size());
        self.body_bytes = self.body_bytes.saturating_sub(message.body_size());
        Some(message)
    }

    /// The message as it came in, of one that was handed out.
    pub(super) fn take_held(&mut self, position: Position) -> Option<Message> {
        let message = self.held.remove(&position)?;
        self.held_octets = self.held_octets.saturating_sub(message.body_size() as u64);
        Some(message)
    }

    /// A dead message stays until others have it.
    pub(super) fn keep_leaving(&mut self, position: Position, message: &Message) {
        self.body_bytes += message.body_size();
        self.leaving.insert(position, message.body_size());
    }

    /// Nobody speaks of these positions any more.
    pub(super) fn forget(&mut self, positions: &[Range<u64>]) {
        for position in positions.iter().cloned().flatten().map(Position) {
            self.take_held(position);
            self.forget_attempts(position);
            if let Some(body_bytes) = self.leaving.remove(&position) {
                self.body_bytes = self.body_bytes.saturating_sub(body_bytes);
            }
        }
    }

    /// A message is gone that was not handed out.
    pub(super) fn forget_attempts(&mut self, position: Position) {
        if !self.attempts.is_empty() {
            self.attempts.remove(&position);
        }
    }

    /// Drops what came back; says where it stood.
    pub(super) fn clear(&mut self) -> Vec<Position> {
        let returned = self.returned.drain(..).inspect(|(_, message)| {
            self.body_bytes = self.body_bytes.saturating_sub(message.body_size());
        });
        let mut dropped: Vec<Position> = returned.map(|(position, _)| position).collect();
        dropped.extend(std::mem::take(&mut self.delayed).into_values().map(|(position, _)| position));
        (self.bytes, self.waiting_octets) = (0, 0);
        for position in &dropped {
            self.forget_attempts(*position);
        }
        dropped
    }
}

impl DelayedRetry {
    /// How long a message waits that comes back.
    fn delay_ms(self, cause: ReturnCause, attempts: Attempts) -> Option<u64> {
        let count = match (self.which, cause) {
            (Retried::All | Retried::Failed, ReturnCause::Failed) => attempts.failed,
            (Retried::All | Retried::Returned, ReturnCause::Requeued) => attempts.acquired,
            // Nobody saw it, so nobody has to be given time.
            (_, ReturnCause::Unread)
            | (Retried::Failed, ReturnCause::Requeued)
            | (Retried::Returned, ReturnCause::Failed) => return None,
        };
        Some(self.min_ms.saturating_mul(count.into()).min(self.max_ms))
    }
}

#[cfg(test)]
mod tests;
