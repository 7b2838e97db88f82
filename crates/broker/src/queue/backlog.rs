//! The messages that wait in a queue, in order, in memory or on disk only.
//!
//! Four parts, each older than the next:
//!
//! 1. `returned`: handed out once and come back, by position.
//! 2. `head`: read back from disk, about to be handed out.
//! 3. `cold`: on disk only. All that is kept of them is where they begin, where they end and how many there are.
//! 4. `ready`: in memory as they came; their positions are contiguous.
//!
//! Messages are handed out from the front only, so what comes back is older than everything that was never handed out. As long as
//! memory suffices, `head` and `cold` are empty. Where somebody took a message out of turn, `holes` remain in `cold` and `ready`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use super::{Position, push_position};
use crate::message::{Draft, Message};

/// Messages that `ready` keeps room for when it is empty.
const READY_KEPT: usize = 1024;

/// Messages on disk only.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Cold {
    from: u64,
    until: u64,
    count: usize,
}

impl Cold {
    /// Whether there is a message at each of the positions.
    fn is_dense(&self) -> bool {
        self.until - self.from == self.count as u64
    }
}

/// What is read back from disk for a queue.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Where reading began.
    pub from: u64,
    /// Everything before this was looked at.
    pub up_to: u64,
    /// Messages with their positions, ascending.
    pub messages: Vec<(Position, Message)>,
    /// Messages that the disk damaged.
    pub lost: usize,
}

/// What a queue has on disk when a node starts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Restored {
    /// Position of the first message.
    pub first: u64,
    /// The position that the next message gets; everything on disk is before it.
    pub next: u64,
    /// Messages there are.
    pub messages: usize,
    /// Everything before this position had been handed out.
    pub delivered_before: u64,
}

/// The messages that wait in a queue.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    returned: BTreeMap<u64, Message>,
    head: VecDeque<(u64, Message)>,
    head_bytes: usize,
    cold: Cold,
    ready: VecDeque<Message>,
    /// Position of the front of `ready`.
    front: u64,
    /// Octets of the messages in memory.
    bytes: usize,
    /// Messages before this position were handed out before the node was started.
    redelivered_before: u64,
    /// Octets of the bodies of all messages that wait, if somebody asked for it.
    body_bytes: Option<u64>,
    /// Of messages on disk before this position the octets are not counted yet.
    uncounted_before: u64,
    /// Positions in `cold` and `ready` whose messages are gone. The front of `ready` is none.
    holes: BTreeSet<u64>,
    /// How many of them are in `ready`.
    ready_holes: usize,
}

/// What stands at the beginning of a backlog, or behind a position.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Messages in order, and whether they were handed out before.
    pub(super) messages: Vec<(Position, Message, bool)>,
    /// What comes next if it is on disk only, and has to be read before there is more to list.
    pub(super) on_disk: Option<Range<u64>>,
}

impl Backlog {
    /// What is on disk when a node starts.
    pub(super) fn restored(restored: Restored) -> Self {
        let Restored { first, next, messages, delivered_before } = restored;
        let cold = Cold { from: first, until: next, count: messages };
        // Messages that did not survive may have been handed out behind those that did; their positions must not come again,
        // or what gets them would seem to have been handed out.
        let front = next.max(delivered_before);
        Self { cold, front, redelivered_before: delivered_before, ..Self::default() }
    }

    /// Messages that wait.
    pub(super) fn len(&self) -> usize {
        self.ready.len() - self.ready_holes + self.returned.len() + self.head.len() + self.cold.count
    }

    /// Octets of the messages in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Octets of the bodies of the messages that wait, if they are counted.
    pub(super) fn body_bytes(&self) -> u64 {
        self.body_bytes.unwrap_or_default()
    }

    /// The same; none if they are not counted, or not all of them yet.
    pub(super) fn counted_body_bytes(&self) -> Option<u64> {
        if self.has_uncounted() { None } else { self.body_bytes }
    }

    /// Messages that are on disk only.
    pub(super) fn cold_count(&self) -> usize {
        self.cold.count
    }

    /// Begins to count the octets of bodies, or ends it.
    pub(super) fn count_bodies(&mut self, is_counting: bool) {
        if is_counting == self.body_bytes.is_some() {
            return;
        }
        let in_memory = self.returned.values().chain(self.head.iter().map(|(_, message)| message)).chain(&self.ready);
        self.body_bytes = is_counting.then(|| in_memory.map(|message| message.body_size() as u64).sum());
        // Only memory tells how large the others are, so they have to be read back.
        self.uncounted_before = if self.cold.count > 0 { self.cold.until } else { 0 };
    }

    /// Whether messages on disk have to be read back to count their octets.
    pub(super) fn has_uncounted(&self) -> bool {
        self.body_bytes.is_some() && self.cold.count > 0 && self.cold.from < self.uncounted_before
    }

    /// Begins anew with the octets of bodies once nothing waits: how large those were that the disk damaged is not known.
    fn settle_count(&mut self) {
        if self.body_bytes.is_some_and(|bytes| bytes > 0) && self.len() == 0 {
            self.body_bytes = Some(0);
        }
    }

    /// The message that comes next, unless it is on disk only.
    #[inline]
    pub(super) fn peek(&self) -> Option<&Message> {
        if let Some((_, message)) = self.returned.first_key_value() {
            return Some(message);
        }
        match self.head.front() {
            Some((_, message)) => Some(message),
            None if self.cold.count > 0 => None,
            None => self.ready.front(),
        }
    }

    /// Whether some messages are on disk only.
    pub(super) fn has_cold(&self) -> bool {
        self.cold.count > 0
    }

    /// Whether the first message is in memory, so that [`Backlog::pop`] gives it.
    #[inline]
    pub(super) fn has_next(&self) -> bool {
        let waits_for_disk = self.head.is_empty() && self.cold.count > 0;
        !self.returned.is_empty() || !self.head.is_empty() || (!waits_for_disk && !self.ready.is_empty())
    }

    /// The position that the next message gets.
    pub(super) fn next_position(&self) -> u64 {
        self.front + self.ready.len() as u64
    }

    /// Everything before this position has been handed out at least once.
    pub(super) fn delivered_before(&self) -> u64 {
        let first = match self.head.front() {
            Some((position, _)) => *position,
            None if self.cold.count > 0 => self.cold.from,
            None => self.front,
        };
        first.max(self.redelivered_before)
    }

    /// The position of a message that is handed out at once, while nothing waits.
    #[inline]
    pub(super) fn pass(&mut self) -> Position {
        let position = Position(self.front);
        self.front += 1;
        position
    }

    /// Appends a message.
    #[inline]
    pub(super) fn push(&mut self, message: Message) {
        self.bytes += message.size();
        if let Some(bytes) = &mut self.body_bytes {
            *bytes += message.body_size() as u64;
        }
        self.ready.push_back(message);
    }

    /// Puts a message back that had been handed out.
    pub(super) fn put_back(&mut self, position: Position, message: Message) {
        self.bytes += message.size();
        if let Some(bytes) = &mut self.body_bytes {
            *bytes += message.body_size() as u64;
        }
        self.returned.insert(position.0, message);
    }

    /// Takes the first message, unless it is on disk only; says whether it was handed out before.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<(Position, Message, bool)> {
        let taken = if let Some((position, message)) = self.returned.pop_first() {
            (Position(position), message, true)
        } else if let Some((position, message)) = self.head.pop_front() {
            self.head_bytes = self.head_bytes.saturating_sub(message.size());
            (Position(position), message, position < self.redelivered_before)
        } else if self.cold.count > 0 {
            return None;
        } else {
            let message = self.ready.pop_front()?;
            let position = Position(self.front);
            self.front += 1;
            if self.ready_holes > 0 {
                self.trim();
            }
            if self.ready.is_empty() && self.ready.capacity() > READY_KEPT {
                self.ready.shrink_to(READY_KEPT);
            }
            (position, message, false)
        };
        self.bytes = self.bytes.saturating_sub(taken.1.size());
        if let Some(bytes) = &mut self.body_bytes {
            *bytes = bytes.saturating_sub(taken.1.body_size() as u64);
            self.settle_count();
        }
        Some(taken)
    }

    /// Drops everything; says which positions that were.
    pub(super) fn clear(&mut self) -> Vec<Range<u64>> {
        let mut dropped: Vec<Range<u64>> = Vec::new();
        self.returned.keys().for_each(|position| push_position(&mut dropped, Position(*position)));
        let never_handed_out = match self.head.front() {
            Some((position, _)) => *position,
            None if self.cold.count > 0 => self.cold.from,
            None => self.front,
        };
        let next = self.next_position();
        if never_handed_out < next {
            dropped.push(never_handed_out..next);
        }
        let (redelivered_before, body_bytes) = (self.redelivered_before, self.body_bytes.map(|_| 0));
        *self = Self { front: next, redelivered_before, body_bytes, ..Self::default() };
        dropped
    }

    /// What to read back, if less than so many octets are ready of what was on disk.
    pub(super) fn wanted(&self, ahead: usize) -> Option<Range<u64>> {
        (self.cold.count > 0 && self.head_bytes < ahead).then_some(self.cold.from..self.cold.until)
    }

    /// Takes in what was read back. What was asked for before the backlog was dropped is not wanted any more.
    pub(super) fn loaded(&mut self, mut loaded: Loaded) {
        let Cold { from, until, .. } = self.cold;
        let is_whole = loaded.from == from;
        if self.cold.count == 0 || (!is_whole && !(loaded.from..loaded.up_to).contains(&from)) {
            return;
        }
        if !self.holes.is_empty() {
            loaded.messages.retain(|(position, _)| !self.holes.contains(&position.0));
            self.holes = self.holes.split_off(&loaded.up_to);
        }
        self.cold.count = if is_whole {
            self.cold.count.saturating_sub(loaded.messages.len() + loaded.lost)
        } else {
            // Some of it was dropped meanwhile, which takes that there was a message at each position.
            let left = usize::try_from(until.saturating_sub(loaded.up_to)).unwrap_or(usize::MAX);
            left.saturating_sub(self.holes.range(..until).count())
        };
        self.cold.from = loaded.up_to.max(from);
        if self.cold.from >= until {
            self.cold.count = 0;
        }
        for (Position(position), message) in loaded.messages.into_iter().filter(|(Position(at), _)| *at >= from) {
            self.bytes += message.size();
            self.head_bytes += message.size();
            if let Some(bytes) = &mut self.body_bytes
                && position < self.uncounted_before
            {
                *bytes += message.body_size() as u64;
            }
            self.head.push_back((position, message));
        }
        self.settle_count();
    }

    /// Drops up to so many of the messages that come next and are on disk only, if it is known which they are; says at which
    /// positions.
    pub(super) fn drop_cold(&mut self, max: u64) -> Option<Range<u64>> {
        let count = self.cold.count as u64;
        if self.has_next() || count == 0 || max == 0 {
            return None;
        }
        let from = self.cold.from;
        if count <= max {
            let until = std::mem::take(&mut self.cold).until;
            self.holes = self.holes.split_off(&self.front);
            if self.body_bytes.take().is_some() {
                self.count_bodies(true);
            }
            return Some(from..until);
        }
        if !self.cold.is_dense() || self.body_bytes.is_some() {
            return None;
        }
        self.cold.from += max;
        self.cold.count = self.cold.count.saturating_sub(usize::try_from(max).unwrap_or(usize::MAX));
        Some(from..self.cold.from)
    }

    /// Keeps everything before a position, which has to be on disk, there only; but for so many octets at the front, which
    /// are next. Says how many messages went.
    pub(super) fn page_out(&mut self, until: u64, front_kept: usize) -> usize {
        let mut count = usize::try_from(until.saturating_sub(self.front)).unwrap_or(usize::MAX).min(self.ready.len());
        if self.cold.count == 0 && self.head.is_empty() {
            while count > 0
                && self.head_bytes < front_kept
                && let Some(message) = self.ready.pop_front()
            {
                if self.holes.remove(&self.front) {
                    self.ready_holes -= 1;
                } else {
                    self.head_bytes += message.size();
                    self.head.push_back((self.front, message));
                }
                self.front += 1;
                count -= 1;
            }
        }
        if count == 0 {
            return 0;
        }
        if self.cold.count == 0 {
            self.cold.from = self.front;
        }
        for (position, message) in (self.front..).zip(self.ready.drain(..count)) {
            if self.ready_holes == 0 || !self.holes.contains(&position) {
                self.bytes = self.bytes.saturating_sub(message.size());
            }
        }
        let holes =
            if self.ready_holes == 0 { 0 } else { self.holes.range(self.front..self.front + count as u64).count() };
        self.ready_holes -= holes;
        self.front += count as u64;
        self.cold.until = self.front;
        self.cold.count += count - holes;
        self.trim();
        if self.ready.capacity() > READY_KEPT && self.ready.capacity() / 4 > self.ready.len() {
            self.ready.shrink_to(READY_KEPT.max(self.ready.len() * 2));
        }
        count
    }

    /// The messages that are in memory as they came, from a position on.
    pub(super) fn ready_from(&self, position: u64) -> impl Iterator<Item = (u64, &Message)> {
        let skipped = usize::try_from(position.saturating_sub(self.front)).unwrap_or(usize::MAX).min(self.ready.len());
        let all = (self.front + skipped as u64..).zip(self.ready.range(skipped..));
        all.filter(|(position, _)| self.ready_holes == 0 || !self.holes.contains(position))
    }

    /// The messages from a position on, so many at most.
    pub(super) fn list(&self, from: u64, count: usize) -> Listed {
        let returned = self.returned.range(from..).map(|(position, message)| (*position, message, true));
        let head = self.head.iter().filter(|(position, _)| *position >= from);
        let head = head.map(|(position, message)| (*position, message, *position < self.redelivered_before));
        let copy = |(position, message, again): (u64, &Message, bool)| (Position(position), message.clone(), again);
        let mut messages: Vec<_> = returned.chain(head).take(count).map(copy).collect();
        let cold = self.cold.from.max(from)..self.cold.until;
        if messages.len() < count && self.cold.count > 0 && !cold.is_empty() {
            return Listed { messages, on_disk: Some(cold) };
        }
        let ready = self.ready_from(from).map(|(position, message)| (position, message, false));
        messages.extend(ready.take(count - messages.len()).map(copy));
        Listed { messages, on_disk: None }
    }

    /// Whether a position that was read from disk stands for a message that is still there only.
    pub(super) fn is_cold(&self, position: u64) -> bool {
        self.cold.count > 0 && (self.cold.from..self.cold.until).contains(&position) && !self.holes.contains(&position)
    }

    /// Whether a message on disk only was handed out before the node was started.
    pub(super) fn is_redelivered(&self, position: u64) -> bool {
        position < self.redelivered_before
    }

    /// Takes a message out of turn, if it is in memory; says whether it was handed out before.
    pub(super) fn take_at(&mut self, position: u64) -> Option<(Message, bool)> {
        let mut redelivered = position < self.redelivered_before;
        let taken = if let Some(message) = self.returned.remove(&position) {
            redelivered = true;
            message
        } else if let Ok(index) = self.head.binary_search_by_key(&position, |(position, _)| *position) {
            let (_, message) = self.head.remove(index)?;
            self.head_bytes = self.head_bytes.saturating_sub(message.size());
            message
        } else {
            let index = usize::try_from(position.checked_sub(self.front)?).ok()?;
            let place = self.ready.get_mut(index)?;
            if !self.holes.insert(position) {
                return None;
            }
            self.ready_holes += 1;
            let message = std::mem::replace(place, Draft::new(Vec::new(), "", "").message());
            self.trim();
            message
        };
        self.bytes = self.bytes.saturating_sub(taken.size());
        if let Some(bytes) = &mut self.body_bytes {
            *bytes = bytes.saturating_sub(taken.body_size() as u64);
        }
        Some((taken, redelivered))
    }

    /// Puts a message that was taken out of turn where it stood, as it was.
    pub(super) fn put_in_place(&mut self, position: u64, message: Message, redelivered: bool) {
        if self.cold.count > 0 && (self.cold.from..self.cold.until).contains(&position) {
            // It is still on disk.
            self.cold.count += usize::from(self.holes.remove(&position));
            if let Some(bytes) = &mut self.body_bytes
                && position >= self.uncounted_before
            {
                *bytes += message.body_size() as u64;
            }
            return;
        }
        if redelivered && position >= self.redelivered_before {
            self.put_back(Position(position), message);
            return;
        }
        self.bytes += message.size();
        if let Some(bytes) = &mut self.body_bytes {
            *bytes += message.body_size() as u64;
        }
        let index = position.checked_sub(self.front).and_then(|index| usize::try_from(index).ok());
        if let Some(place) = index.and_then(|index| self.ready.get_mut(index)) {
            *place = message;
            self.ready_holes -= usize::from(self.holes.remove(&position));
        } else {
            // What was before it may be gone, but what is behind it is not.
            self.head_bytes += message.size();
            let index = self.head.partition_point(|(other, _)| *other < position);
            self.head.insert(index, (position, message));
        }
    }

    /// Gives up a message that is on disk only, and was read from there.
    pub(super) fn take_cold(&mut self, position: u64, message: &Message) -> bool {
        if !self.is_cold(position) {
            return false;
        }
        self.holes.insert(position);
        self.cold.count -= 1;
        if let Some(bytes) = &mut self.body_bytes
            && position >= self.uncounted_before
        {
            *bytes = bytes.saturating_sub(message.body_size() as u64);
        }
        if self.cold.count == 0 {
            self.holes = self.holes.split_off(&self.front);
        }
        true
    }

    /// Removes holes from the front of `ready`.
    fn trim(&mut self) {
        while self.ready_holes > 0 && self.holes.remove(&self.front) {
            self.ready.pop_front();
            self.front += 1;
            self.ready_holes -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
