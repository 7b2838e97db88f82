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

mod parts;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use super::{Position, push_position};
use crate::Weight;
use crate::message::{Draft, Message};
use parts::Parts;

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
    /// What `returned` and `head` weigh,
    weight: Weight,
    /// `cold`, but for what is not counted yet,
    cold_weight: Parts,
    /// and `ready`. What was taken from the front of its first stretch is not taken off unless somebody depends on the octets of
    /// bodies, so that taking costs nothing; the rest of the stretch is weighed when somebody looks.
    ready_weight: Parts,
    /// Messages on disk at these positions were there when the node was started, and are not counted before they are read.
    uncounted: Range<u64>,
    /// How many they are. All of them are persistent.
    uncounted_count: usize,
    /// Whether somebody depends on the octets of bodies, so that none may be uncounted or estimated.
    wants_octets: bool,
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
        Self {
            cold,
            front,
            redelivered_before: delivered_before,
            uncounted: first..next,
            uncounted_count: messages,
            ..Self::default()
        }
    }

    /// Messages that wait.
    pub(super) fn len(&self) -> usize {
        self.ready.len() - self.ready_holes + self.returned.len() + self.head.len() + self.cold.count
    }

    /// Octets of the messages in memory.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the messages that wait weigh, but for those that are [not counted](Self::uncounted) yet.
    pub(super) fn weight(&self) -> Weight {
        let mut weight = self.weight;
        weight += self.cold_weight.total();
        weight += self.ready_weight.total();
        if !self.wants_octets
            && let Some((positions, stretch)) = self.ready_weight.first()
            && positions.start < self.front
        {
            weight.take(stretch);
            weight += self.weigh(positions.end);
        }
        weight
    }

    /// What the messages of `ready` weigh before a position.
    fn weigh(&self, before: u64) -> Weight {
        let messages = self.ready_from(self.front).take_while(|(position, _)| *position < before);
        Weight::of_all(messages.map(|(_, message)| message))
    }

    /// The part of it that is on disk only.
    pub(super) const fn weight_on_disk(&self) -> Weight {
        self.cold_weight.total()
    }

    /// Messages that are on disk only.
    pub(super) fn cold_count(&self) -> usize {
        self.cold.count
    }

    /// Says whether somebody depends on the octets of bodies.
    pub(super) fn want_octets(&mut self, is_wanted: bool) {
        if is_wanted
            && !self.wants_octets
            && let Some((positions, _)) = self.ready_weight.first()
        {
            let weight = self.weigh(positions.end);
            self.ready_weight.weigh_first(self.front, weight);
        }
        self.wants_octets = is_wanted;
    }

    /// How many messages on disk are not counted yet. All of them are persistent.
    pub(super) const fn uncounted_count(&self) -> usize {
        self.uncounted_count
    }

    /// Where they stand.
    pub(super) fn uncounted(&self) -> Option<Range<u64>> {
        (self.uncounted_count > 0).then(|| self.uncounted.start.max(self.cold.from)..self.uncounted.end)
    }

    /// Whether messages on disk have to be read back to count their octets.
    pub(super) const fn is_missing_octets(&self) -> bool {
        self.wants_octets && self.uncounted_count > 0
    }

    /// Counts messages that were read for that, and stay on disk.
    pub(super) fn count(&mut self, read: &Loaded) {
        let Some(uncounted) = self.uncounted() else { return };
        let counted = uncounted.start..read.up_to.min(uncounted.end);
        if read.from > uncounted.start || counted.is_empty() {
            return;
        }
        let (mut weight, mut count) = (Weight::default(), 0);
        for (Position(position), message) in &read.messages {
            if counted.contains(position) && self.is_cold(*position) {
                weight += Weight::of(message);
                count += 1;
            }
        }
        self.uncounted.start = counted.end;
        self.uncounted_count = self.uncounted_count.saturating_sub(count + read.lost);
        if self.uncounted.is_empty() {
            self.uncounted_count = 0;
        }
        self.cold_weight.add(counted, weight);
    }

    /// Takes note that messages that were not counted are not on disk any more.
    fn forget_uncounted(&mut self, count: usize) {
        self.uncounted_count = self.uncounted_count.saturating_sub(count);
        if self.cold.count == 0 || self.cold.from >= self.uncounted.end {
            self.uncounted_count = 0;
        }
    }

    fn is_uncounted(&self, position: u64) -> bool {
        self.uncounted_count > 0 && self.uncounted.contains(&position)
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

    /// Appends a message, to be weighed by [`Backlog::weigh_from`].
    #[inline]
    pub(super) fn push(&mut self, message: Message) {
        self.bytes += message.size();
        self.ready.push_back(message);
    }

    /// Takes note of what the messages weigh that were appended from a position on.
    pub(super) fn weigh_from(&mut self, first: u64, weight: Weight) {
        let end = self.next_position();
        if first < end {
            self.ready_weight.add(first..end, weight);
        }
    }

    /// Puts a message back that had been handed out.
    pub(super) fn put_back(&mut self, position: Position, message: Message) {
        self.bytes += message.size();
        self.weight += Weight::of(&message);
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
            if self.wants_octets {
                self.ready_weight.take(position.0, Weight::of(&message));
            }
            self.front += 1;
            if self.ready_holes > 0 {
                self.trim();
            }
            self.ready_weight.end_before(self.front);
            if self.ready.is_empty() && self.ready.capacity() > READY_KEPT {
                self.ready.shrink_to(READY_KEPT);
            }
            self.bytes = self.bytes.saturating_sub(message.size());
            return Some((position, message, false));
        };
        self.bytes = self.bytes.saturating_sub(taken.1.size());
        self.weight.take(Weight::of(&taken.1));
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
        let Self { redelivered_before, wants_octets, .. } = *self;
        *self = Self { front: next, redelivered_before, wants_octets, ..Self::default() };
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
        let mut found = loaded.lost;
        for (Position(position), message) in loaded.messages.into_iter().filter(|(Position(at), _)| *at >= from) {
            self.bytes += message.size();
            self.head_bytes += message.size();
            let weight = Weight::of(&message);
            self.weight += weight;
            if self.is_uncounted(position) {
                found += 1;
            } else {
                self.cold_weight.take(position, weight);
            }
            self.head.push_back((position, message));
        }
        self.forget_uncounted(found);
        self.cold_weight.end_before(self.cold.from);
        if self.cold.count == 0 {
            self.cold_weight.clear();
        }
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
            self.cold_weight.clear();
            self.uncounted_count = 0;
            return Some(from..until);
        }
        if !self.cold.is_dense() || self.wants_octets {
            return None;
        }
        self.cold.from += max;
        self.cold.count = self.cold.count.saturating_sub(usize::try_from(max).unwrap_or(usize::MAX));
        let uncounted = self.uncounted.end.min(self.cold.from).saturating_sub(self.uncounted.start.max(from));
        self.forget_uncounted(usize::try_from(uncounted).unwrap_or(usize::MAX));
        self.cold_weight.drop_before(self.cold.from);
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
                    let weight = Weight::of(&message);
                    self.weight += weight;
                    self.ready_weight.take(self.front, weight);
                    self.head_bytes += message.size();
                    self.head.push_back((self.front, message));
                }
                self.front += 1;
                count -= 1;
            }
        }
        self.ready_weight.end_before(self.front);
        if count == 0 {
            return 0;
        }
        if self.cold.count == 0 {
            self.cold.from = self.front;
        }
        let mut gone = Weight::default();
        for (position, message) in (self.front..).zip(self.ready.drain(..count)) {
            if self.ready_holes == 0 || !self.holes.contains(&position) {
                self.bytes = self.bytes.saturating_sub(message.size());
                let weight = Weight::of(&message);
                self.ready_weight.take(position, weight);
                gone += weight;
            }
        }
        self.cold_weight.add(self.front..self.front + count as u64, gone);
        let holes =
            if self.ready_holes == 0 { 0 } else { self.holes.range(self.front..self.front + count as u64).count() };
        self.ready_holes -= holes;
        self.front += count as u64;
        self.cold.until = self.front;
        self.cold.count += count - holes;
        self.trim();
        self.ready_weight.end_before(self.front);
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
            self.weight.take(Weight::of(&message));
            message
        } else if let Ok(index) = self.head.binary_search_by_key(&position, |(position, _)| *position) {
            let (_, message) = self.head.remove(index)?;
            self.weight.take(Weight::of(&message));
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
            self.ready_weight.take(position, Weight::of(&message));
            self.trim();
            self.ready_weight.end_before(self.front);
            message
        };
        self.bytes = self.bytes.saturating_sub(taken.size());
        Some((taken, redelivered))
    }

    /// Puts a message that was taken out of turn where it stood, as it was.
    pub(super) fn put_in_place(&mut self, position: u64, message: Message, redelivered: bool) {
        if self.cold.count > 0 && (self.cold.from..self.cold.until).contains(&position) {
            // It is still on disk.
            self.cold.count += usize::from(self.holes.remove(&position));
            if self.uncounted.contains(&position) {
                self.uncounted_count += 1;
            } else {
                self.cold_weight.put_back(position, Weight::of(&message));
            }
            return;
        }
        if redelivered && position >= self.redelivered_before {
            self.put_back(Position(position), message);
            return;
        }
        self.bytes += message.size();
        let weight = Weight::of(&message);
        let index = position.checked_sub(self.front).and_then(|index| usize::try_from(index).ok());
        if let Some(place) = index.and_then(|index| self.ready.get_mut(index)) {
            *place = message;
            self.ready_weight.put_back(position, weight);
            self.ready_holes -= usize::from(self.holes.remove(&position));
        } else {
            // What was before it may be gone, but what is behind it is not.
            self.weight += weight;
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
        if self.is_uncounted(position) {
            self.forget_uncounted(1);
        } else {
            self.cold_weight.take(position, Weight::of(message));
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
