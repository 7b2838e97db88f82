//! What operators do to a queue out of turn: look at its messages, and take some away.

use super::QueueCell;
use crate::Error;
use crate::message::Message;
use crate::queue::lanes::{ColdLane, place, split};
use crate::queue::stored_lanes::StoredLanes;
use crate::queue::{Classic, Loaded, Position, TakenOut};
use crate::store::MessageStore;
use crate::topology::QueueId;

/// A message that somebody looked at; it stays where it is, as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Browsed {
    /// Where it stands.
    pub position: Position,
    /// The message.
    pub message: Message,
    /// Whether it was handed out before.
    pub redelivered: bool,
}

impl QueueCell {
    /// The messages that wait behind a position, or all, in the order in which they would be handed out; so many at most. Reads from
    /// disk what is there only, so it may wait for that.
    pub fn browse(&self, after: Option<Position>, count: usize) -> Result<Vec<Browsed>, Error> {
        let mut browsed: Vec<Browsed> = Vec::new();
        let mut after = after;
        while browsed.len() < count {
            let (messages, cold, store) = {
                let state = self.open()?;
                let (messages, cold) = state.queue.list(after, count - browsed.len());
                (messages, cold, state.stored.as_ref().map(StoredLanes::store))
            };
            let placed = |(position, message, redelivered)| Browsed { position, message, redelivered };
            browsed.extend(messages.into_iter().map(placed));
            let (Some(ColdLane { lane, positions }), Some(store)) = (cold, store) else { break };
            let Loaded { messages, up_to, .. } = self.read(&*store, lane, positions.clone())?;
            let state = self.open()?;
            if let Some(backlog) = state.queue.lanes().lane(lane) {
                // What was handed out meanwhile, or taken away, is not there any more.
                let is_there = |Position(position): &Position| backlog.is_cold(*position);
                let found = messages.into_iter().filter(|(position, _)| is_there(position));
                browsed.extend(found.take(count - browsed.len()).map(|(position, message)| Browsed {
                    position: place(lane, position),
                    redelivered: backlog.is_redelivered(position.0),
                    message,
                }));
            }
            if up_to <= positions.start {
                // Nothing can be read.
                break;
            }
            after = Some(place(lane, Position(up_to - 1)));
        }
        Ok(browsed)
    }

    /// Counts the octets of messages that were on disk when the node was started, a piece at a time. Waits for the disk. Says whether
    /// there may be more.
    pub fn count_stored(&self) -> Result<bool, Error> {
        let (uncounted, store) = {
            let state = self.open()?;
            (state.queue.lanes().uncounted(), state.stored.as_ref().map(StoredLanes::store))
        };
        let (Some(ColdLane { lane, positions }), Some(store)) = (uncounted, store) else { return Ok(false) };
        let read = self.read(&*store, lane, positions.clone())?;
        let mut state = self.open()?;
        if let Some(lane) = state.queue.lanes_mut().lane_mut_if_used(lane) {
            lane.count(&read);
        }
        Ok(read.up_to > positions.start)
    }

    fn read(&self, store: &dyn MessageStore, lane: usize, positions: std::ops::Range<u64>) -> Result<Loaded, Error> {
        let id = QueueId(self.info().id.0 + lane as u64);
        let unreadable =
            |error: std::io::Error| Error::Unreadable { queue: self.resource(), reason: error.to_string() };
        store.read(id, positions).map_err(unreadable)
    }

    /// Takes a message out of turn, if it still waits. It counts as in the queue's part of the store until [`QueueCell::discard`].
    /// May wait for the disk.
    pub fn take_at(&self, position: Position) -> Result<Option<TakenOut>, Error> {
        let in_memory = |queue: &mut Classic<_>| {
            let (message, redelivered) = queue.take_at(position)?;
            Some(TakenOut { position, message, redelivered })
        };
        let (taken, store) = {
            let mut state = self.open()?;
            let taken = in_memory(&mut state.queue);
            let store = state.stored.as_ref().map(StoredLanes::store);
            self.finish(state);
            (taken, store)
        };
        let (None, Some(store)) = (&taken, store) else { return Ok(taken) };
        let (lane, Position(within)) = split(position);
        let loaded = self.read(&*store, lane, within..within + 1)?;
        let Some((_, message)) = loaded.messages.into_iter().find(|(found, _)| found.0 == within) else {
            return Ok(None);
        };
        let mut state = self.open()?;
        // It may have come into memory meanwhile.
        let taken = in_memory(&mut state.queue).or_else(|| {
            let redelivered = state.queue.take_cold(position, &message)?;
            Some(TakenOut { position, message, redelivered })
        });
        self.finish(state);
        Ok(taken)
    }

    /// Puts a message that was taken out of turn where it stood, as it was. A queue that was deleted meanwhile drops it.
    pub fn put_in_place(&self, taken: TakenOut) {
        let Ok(mut state) = self.open() else { return };
        state.queue.put_in_place(taken);
        self.finish(state);
    }
}
