//! A queue that takes no message of which it has another one with the same id.

use std::sync::Arc;

use super::lanes::{Lanes, place};
use super::{Loaded, Position};
use crate::clock::Timestamp;
use crate::dedup::{MessageId, Present};
use crate::message::Message;
use crate::properties::Properties;

/// The ids of a queue's messages.
#[derive(Debug)]
pub(super) struct Deduplication {
    present: Present,
    properties: Arc<dyn Properties>,
}

impl Deduplication {
    /// None yet.
    pub(super) fn new(properties: Arc<dyn Properties>) -> Self {
        Self { present: Present::default(), properties }
    }

    /// Drops the messages that the queue has already, and takes note of the others, which are about to get the next positions
    /// of their lanes.
    pub(super) fn admit(&mut self, batch: &mut Vec<Message>, lanes: &Lanes, ttl_ms: Option<u64>, now: Timestamp) {
        let mut next: Vec<u64> = (0..lanes.count()).map(|lane| lanes.next_position(lane)).collect();
        batch.retain(|message| {
            let id = MessageId::of(message, &*self.properties);
            if id.as_ref().is_some_and(|id| self.present.is_duplicate(id, now)) {
                return false;
            }
            let lane = lanes.lane_of(message);
            if next.len() <= lane {
                next.resize(lane + 1, 0);
            }
            if let Some(next) = next.get_mut(lane) {
                if let Some(id) = id {
                    self.present.insert(id, place(lane, Position(*next)).0, message.expires_at(ttl_ms));
                }
                *next += 1;
            }
            true
        });
    }

    /// Takes note of messages that were on disk when the node was started.
    pub(super) fn found(&mut self, lane: usize, loaded: &Loaded, ttl_ms: Option<u64>) {
        for (position, message) in &loaded.messages {
            if let Some(id) = MessageId::of(message, &*self.properties) {
                self.present.insert(id, place(lane, *position).0, message.expires_at(ttl_ms));
            }
        }
    }

    /// The messages at these positions are not in the queue any more.
    pub(super) fn remove(&mut self, positions: &[std::ops::Range<u64>]) {
        for range in positions {
            self.present.remove(range.clone());
        }
    }
}
