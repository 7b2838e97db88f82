//! What an exchange holds back, without its lock: which messages there are, and which of them are in memory.
//!
//! ```text
//!   near, missing          frontier             index
//!   -------------------------> | ------------------------------------------>  due
//!   in memory, or asked for      on disk, or on the way there (`fresh`)
//! ```
//! What is due soon is read back ahead of its time. Without a disk everything is near.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::Place;
use super::index::Index;
use crate::clock::Timestamp;
use crate::message::Message;
use crate::queue::Position;
use crate::store::StorePosition;

/// How long before they are due messages are read back, in milliseconds.
const HORIZON_MS: u64 = 2000;
/// Messages that are read back before they are due, at most,
const NEAR_MAX: usize = 16 * 1024;
/// their octets, with a load's worth above that,
const NEAR_BYTES: usize = 8 * 1024 * 1024;
/// and when memory is short.
const NEAR_BYTES_SHORT: usize = 128 * 1024;
/// Messages that are read back at a time, at most, and at least unless they are due,
const LOAD_MAX: usize = 4096;
const LOAD_MIN: usize = 1024;
/// so long, in milliseconds, before the first of them is.
const LOAD_BEFORE_MS: u64 = 250;
/// Octets that are read back at a time, about.
const LOAD_BYTES: usize = 1024 * 1024;
/// How long what is written at any moment is kept in memory, in milliseconds.
const FRESH_MS: u64 = 50;

/// The place behind all others.
const END: Place = Place { due: Timestamp(u64::MAX), position: Position(u64::MAX) };

/// Messages on their way to the disk, at positions that follow each other.
#[derive(Debug)]
struct Batch {
    first: u64,
    stored: StorePosition,
    bytes: usize,
    messages: Vec<Message>,
}

/// The messages that an exchange holds back.
#[derive(Debug)]
pub(super) struct Pending {
    /// Those that are due later, in order.
    index: Index,
    /// Those that are due soon, in memory.
    near: BTreeMap<Place, Message>,
    /// Those that are due soon and have to be read back.
    missing: BTreeSet<Place>,
    /// What is due soon is before this.
    frontier: Place,
    /// Messages that may not be on disk yet, by position.
    fresh: VecDeque<Batch>,
    /// Octets of `near`,
    near_bytes: usize,
    /// which are to be no more than this,
    near_bytes_max: usize,
    /// and of `fresh`.
    fresh_bytes: usize,
    /// The position that the next message gets.
    next: u64,
    /// Messages and their octets that came by, for how large one is.
    seen: (u64, u64),
}

impl Pending {
    /// Nothing yet; `next` is the position of the first message.
    pub(super) fn new(next: u64, has_store: bool) -> Self {
        let start = Place { due: Timestamp(0), position: Position(0) };
        Self {
            index: Index::default(),
            near: BTreeMap::new(),
            missing: BTreeSet::new(),
            frontier: if has_store { start } else { END },
            fresh: VecDeque::new(),
            near_bytes: 0,
            near_bytes_max: NEAR_BYTES,
            fresh_bytes: 0,
            next,
            seen: (0, 0),
        }
    }

    /// Messages there are.
    pub(super) fn len(&self) -> usize {
        self.index.len() + self.near.len() + self.missing.len()
    }

    /// Octets of messages in memory; what is both near and fresh counts twice.
    pub(super) fn bytes(&self) -> usize {
        self.near_bytes + self.fresh_bytes
    }

    /// The position that the next message gets.
    pub(super) fn next_position(&self) -> u64 {
        self.next
    }

    /// Takes messages in, emptying `batch`; they are on disk with a position of the store, if there is one.
    pub(super) fn hold(&mut self, batch: &mut Vec<Message>, stored: Option<StorePosition>) {
        let first = self.next;
        let mut bytes = 0;
        for message in &*batch {
            let place = place(self.next, message);
            self.next += 1;
            bytes += message.size();
            if place < self.frontier {
                self.add_near(place, message.clone());
            } else {
                self.index.insert(place);
            }
        }
        self.seen.0 += batch.len() as u64;
        self.seen.1 += bytes as u64;
        match stored {
            Some(stored) => {
                self.fresh_bytes += bytes;
                self.fresh.push_back(Batch { first, stored, bytes, messages: std::mem::take(batch) });
            }
            None => batch.clear(),
        }
        self.limit_near();
    }

    /// Takes in messages that are on disk since before the start.
    pub(super) fn restore(&mut self, messages: &[(Position, Message)]) {
        for (position, message) in messages {
            self.seen.0 += 1;
            self.seen.1 += message.size() as u64;
            let place = place(position.0, message);
            if place < self.frontier {
                self.missing.insert(place);
            } else {
                self.index.insert(place);
            }
        }
    }

    /// What is on disk up to a position of the store can leave memory.
    pub(super) fn written(&mut self, written: StorePosition) {
        while let Some(batch) = self.fresh.front()
            && batch.stored <= written
        {
            self.fresh_bytes -= batch.bytes;
            self.fresh.pop_front();
        }
        if self.fresh.is_empty() && self.fresh.capacity() > 64 {
            self.fresh = VecDeque::new();
        }
    }

    /// Moves on what is due soon by now.
    pub(super) fn advance(&mut self, now: Timestamp) {
        let horizon = now.plus_ms(HORIZON_MS);
        while self.has_room()
            && self.index.first().is_some_and(|first| first.due <= horizon)
            && let Some(place) = self.index.pop_first()
        {
            self.frontier = Place { position: Position(place.position.0 + 1), ..place };
            match self.find_fresh(place.position.0).cloned() {
                Some(message) => self.add_near(place, message),
                None => {
                    self.missing.insert(place);
                }
            }
        }
    }

    /// Whether memory is short, so that little may be read ahead.
    pub(super) fn set_short(&mut self, is_short: bool) {
        self.near_bytes_max = if is_short { NEAR_BYTES_SHORT } else { NEAR_BYTES };
    }

    fn has_room(&self) -> bool {
        self.is_below(NEAR_MAX, self.near_bytes_max)
    }

    fn is_below(&self, messages: usize, bytes: usize) -> bool {
        self.near.len() + self.missing.len() < messages && self.near_bytes < bytes
    }

    fn add_near(&mut self, place: Place, message: Message) {
        self.near_bytes += message.size();
        self.near.insert(place, message);
    }

    /// Takes back what is due last of what is due soon, if that is by far too much.
    fn limit_near(&mut self) {
        if self.frontier == END || self.is_below(NEAR_MAX * 2, self.near_bytes_max * 2) {
            return;
        }
        while !self.has_room() && self.near.len() > 1 {
            let near = self.near.last_key_value().map(|(place, _)| *place);
            let Some(last) = near.max(self.missing.last().copied()) else { return };
            if let Some(message) = self.near.remove(&last) {
                self.near_bytes -= message.size();
            } else {
                self.missing.remove(&last);
            }
            self.index.insert(last);
            self.frontier = last;
        }
    }

    fn find_fresh(&self, position: u64) -> Option<&Message> {
        let behind = self.fresh.partition_point(|batch| batch.first <= position);
        let batch = self.fresh.get(behind.checked_sub(1)?)?;
        batch.messages.get(usize::try_from(position - batch.first).ok()?)
    }

    /// Takes messages in that were read back. What is not asked for any more is dropped.
    pub(super) fn fill(&mut self, messages: Vec<(Position, Message)>) {
        for (position, message) in messages {
            let place = place(position.0, &message);
            if self.missing.remove(&place) {
                self.add_near(place, message);
            }
        }
    }

    /// The places of what to read back now, by position; none if there is nothing, or it has time.
    pub(super) fn wanted(&self, now: Timestamp) -> Vec<Place> {
        let Some(first) = self.missing.first() else { return Vec::new() };
        let is_next = self.near.first_key_value().is_none_or(|(near, _)| first < near);
        let is_soon = first.due <= now.plus_ms(LOAD_BEFORE_MS);
        let waits_for_more = !is_soon && self.missing.len() < LOAD_MIN && self.has_room();
        if waits_for_more || (self.near_bytes >= self.near_bytes_max && !is_next) {
            return Vec::new();
        }
        let each = usize::try_from(self.seen.1 / self.seen.0.max(1)).unwrap_or(usize::MAX).max(1);
        let mut wanted: Vec<Place> =
            self.missing.iter().copied().take((LOAD_BYTES / each).clamp(1, LOAD_MAX)).collect();
        wanted.sort_unstable_by_key(|place| place.position);
        wanted
    }

    /// Takes out what is due by now, so many messages at most. One that has to be read first holds up those behind it.
    pub(super) fn take_due(&mut self, now: Timestamp, most: usize) -> Vec<(Position, Message)> {
        let mut due = Vec::new();
        let missing = self.missing.first().copied().unwrap_or(END);
        while due.len() < most
            && let Some(entry) = self.near.first_entry()
            && entry.key().due <= now
            && *entry.key() < missing
        {
            let (place, message) = entry.remove_entry();
            self.near_bytes -= message.size();
            due.push((place.position, message));
        }
        due
    }

    /// Whether something can be taken out by now.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        let first = self.near.first_key_value().map(|(place, _)| *place);
        first.is_some_and(|first| first.due <= now && self.missing.first().is_none_or(|missing| first < *missing))
    }

    /// When to look again, if nothing comes before.
    pub(super) fn next_look(&self, now: Timestamp, is_loading: bool) -> Option<Timestamp> {
        let earlier = |due: Timestamp, ms| Timestamp(due.0.saturating_sub(ms));
        let near = self.near.first_key_value().map(|(place, _)| *place);
        // What waits for what is being read goes on when that is there.
        let near = near.filter(|near| self.missing.first().is_none_or(|missing| near < missing));
        let missing = self.missing.first().filter(|_| !is_loading).map(|place| earlier(place.due, LOAD_BEFORE_MS));
        let later = self.index.first().filter(|_| self.has_room()).map(|place| earlier(place.due, HORIZON_MS));
        let fresh = (!self.fresh.is_empty()).then(|| now.plus_ms(FRESH_MS));
        [near.map(|place| place.due), missing, later, fresh].into_iter().flatten().min()
    }

    /// The first places from one on, so many at most.
    pub(super) fn list(&self, from: Place, most: usize) -> Vec<Place> {
        let mut listed: Vec<Place> = self.near.range(from..).map(|(place, _)| *place).take(most).collect();
        listed.extend(self.missing.range(from..).take(most));
        listed.extend(self.index.from(from).take(most));
        listed.sort_unstable();
        listed.truncate(most);
        listed
    }

    /// A message, if it is in memory.
    pub(super) fn in_memory(&self, place: Place) -> Option<&Message> {
        self.near.get(&place).or_else(|| self.find_fresh(place.position.0))
    }

    /// Drops a message; says whether it was there.
    pub(super) fn cancel(&mut self, place: Place) -> bool {
        if let Some(message) = self.near.remove(&place) {
            self.near_bytes -= message.size();
            return true;
        }
        self.missing.remove(&place) || self.index.remove(place)
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        *self = Self { frontier: self.frontier, ..Self::new(self.next, true) };
    }
}

fn place(position: u64, message: &Message) -> Place {
    // A message without a time is due at once, so that nothing is held for ever.
    Place { due: message.due_at().unwrap_or_default(), position: Position(position) }
}
