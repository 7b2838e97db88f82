//! The messages that wait in a queue, by priority.
//!
//! Each priority has a lane, which is a backlog of its own with positions of its own; a plain queue has one lane and pays
//! nothing for the others. Lanes are made when something comes into them. The lane stands in the upper octet of a
//! [`Position`], so that everybody else sees one space of positions.

use std::ops::Range;

use super::Position;
use super::backlog::{Backlog, Loaded, Restored};
use crate::Weight;
use crate::message::Message;

/// Bits of a position below its lane.
const LANE_SHIFT: u32 = 56;

/// Positions of a lane that are on disk only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ColdLane {
    pub(super) lane: usize,
    pub(super) positions: Range<u64>,
}

/// The messages that wait, by priority.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    lowest: Backlog,
    /// The lanes of the priorities from 1 on, as far as they were ever used.
    higher: Vec<Option<Box<Backlog>>>,
    /// The highest priority.
    max: u8,
    /// The priority of messages without one.
    usual: u8,
    /// No lane above this one has messages.
    top: usize,
    wants_octets: bool,
}

impl Lanes {
    /// No messages, with priorities up to `max`; `usual` is that of messages without one.
    pub(super) fn new(max: u8, usual: u8) -> Self {
        Self { max, usual, ..Self::default() }
    }

    /// Puts in what a lane has on disk when a node starts.
    pub(super) fn restore(&mut self, lane: usize, restored: Restored) {
        *self.lane_mut(lane) = Backlog::restored(restored);
        let wants_octets = self.wants_octets;
        self.lane_mut(lane).want_octets(wants_octets);
        self.top = self.top.max(lane);
    }

    /// The lane that a message waits in.
    #[inline]
    pub(super) fn lane_of(&self, message: &Message) -> usize {
        if self.max == 0 { 0 } else { usize::from(message.priority().unwrap_or(self.usual).min(self.max)) }
    }

    /// Above every lane that was ever used.
    pub(super) fn count(&self) -> usize {
        1 + self.higher.len()
    }

    /// A lane, if it was ever used.
    pub(super) fn lane(&self, index: usize) -> Option<&Backlog> {
        match index.checked_sub(1) {
            None => Some(&self.lowest),
            Some(index) => self.higher.get(index)?.as_deref(),
        }
    }

    /// A lane, made if need be.
    #[inline]
    pub(super) fn lane_mut(&mut self, index: usize) -> &mut Backlog {
        match index.checked_sub(1) {
            None => &mut self.lowest,
            Some(index) => self.higher_mut(index),
        }
    }

    fn higher_mut(&mut self, index: usize) -> &mut Backlog {
        if self.higher.len() <= index {
            self.higher.resize_with(index + 1, || None);
        }
        let wants_octets = self.wants_octets;
        let made = self.higher.get_mut(index).map(|lane| {
            lane.get_or_insert_with(|| {
                let mut lane = Box::<Backlog>::default();
                lane.want_octets(wants_octets);
                lane
            })
        });
        // The lane is there by now; the lowest one stands in for what cannot be.
        made.map_or(&mut self.lowest, |lane| &mut **lane)
    }

    /// A lane, if it was ever used.
    pub(super) fn lane_mut_if_used(&mut self, index: usize) -> Option<&mut Backlog> {
        match index.checked_sub(1) {
            None => Some(&mut self.lowest),
            Some(index) => self.higher.get_mut(index)?.as_deref_mut(),
        }
    }

    /// The messages behind a position, or all, in the order in which they would be handed out; so many at most. What is on disk
    /// only ends the list, and is given with the number of its lane.
    pub(super) fn list(
        &self,
        after: Option<Position>,
        count: usize,
    ) -> (Vec<(Position, Message, bool)>, Option<ColdLane>) {
        let (highest, mut from) = match after.map(split) {
            Some((lane, Position(position))) => (lane, position.saturating_add(1)),
            None => (self.higher.len(), 0),
        };
        let mut messages = Vec::new();
        for lane in (0..=highest).rev() {
            if messages.len() >= count {
                break;
            }
            let Some(backlog) = self.lane(lane) else { continue };
            let listed = backlog.list(from, count - messages.len());
            let placed = |(position, message, again)| (place(lane, position), message, again);
            messages.extend(listed.messages.into_iter().map(placed));
            if let Some(positions) = listed.on_disk {
                return (messages, Some(ColdLane { lane, positions }));
            }
            from = 0;
        }
        (messages, None)
    }

    /// Whether there is more than one lane.
    #[inline]
    pub(super) fn has_priorities(&self) -> bool {
        self.max > 0
    }

    /// The position that the next message of a lane gets, within the lane.
    pub(super) fn next_position(&self, lane: usize) -> u64 {
        self.lane(lane).map_or(0, Backlog::next_position)
    }

    fn lanes(&self) -> impl Iterator<Item = &Backlog> {
        std::iter::once(&self.lowest).chain(self.higher.iter().flatten().map(|lane| &**lane))
    }

    /// Messages that wait.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.lowest.len() + self.higher.iter().flatten().map(|lane| lane.len()).sum::<usize>()
    }

    /// Octets of the messages in memory.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.lowest.bytes() + self.higher.iter().flatten().map(|lane| lane.bytes()).sum::<usize>()
    }

    /// What the messages that wait weigh, but for those that are not counted yet.
    pub(super) fn weight(&self) -> Weight {
        self.sum(Backlog::weight)
    }

    /// The part of it that is on disk only.
    pub(super) fn weight_on_disk(&self) -> Weight {
        self.sum(Backlog::weight_on_disk)
    }

    fn sum(&self, weight: impl Fn(&Backlog) -> Weight) -> Weight {
        let mut sum = Weight::default();
        for lane in self.lanes() {
            sum += weight(lane);
        }
        sum
    }

    /// How many messages on disk are not counted yet.
    pub(super) fn uncounted_count(&self) -> usize {
        self.lanes().map(Backlog::uncounted_count).sum()
    }

    /// Where the first of them stand.
    pub(super) fn uncounted(&self) -> Option<ColdLane> {
        (0..self.count()).find_map(|lane| Some(ColdLane { lane, positions: self.lane(lane)?.uncounted()? }))
    }

    /// Messages that are on disk only.
    pub(super) fn cold_count(&self) -> usize {
        self.lanes().map(Backlog::cold_count).sum()
    }

    /// Says whether somebody depends on the octets of bodies.
    pub(super) fn want_octets(&mut self, is_wanted: bool) {
        self.wants_octets = is_wanted;
        self.lowest.want_octets(is_wanted);
        self.higher.iter_mut().flatten().for_each(|lane| lane.want_octets(is_wanted));
    }

    /// Whether some messages are on disk only.
    pub(super) fn has_cold(&self) -> bool {
        self.lanes().any(Backlog::has_cold)
    }

    /// The highest lane with messages.
    #[inline]
    fn first(&mut self) -> &mut Backlog {
        if self.max == 0 {
            return &mut self.lowest;
        }
        while self.top > 0 && self.lane(self.top).is_none_or(|lane| lane.len() == 0) {
            self.top -= 1;
        }
        let top = self.top;
        self.lane_mut(top)
    }

    /// Whether the first message is in memory, so that [`Lanes::pop`] gives it.
    #[inline]
    pub(super) fn has_next(&mut self) -> bool {
        self.first().has_next()
    }

    /// The first message, unless it is on disk only.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<&Message> {
        self.first().peek()
    }

    /// The position of a message that is handed out at once, while nothing waits.
    #[inline]
    pub(super) fn pass(&mut self, message: &Message) -> Position {
        let lane = self.lane_of(message);
        place(lane, self.lane_mut(lane).pass())
    }

    /// Appends messages, all of which weigh so much.
    #[inline]
    pub(super) fn append(&mut self, messages: impl Iterator<Item = Message>, weight: Weight) {
        if self.max == 0 {
            let first = self.lowest.next_position();
            messages.for_each(|message| self.lowest.push(message));
            self.lowest.weigh_from(first, weight);
        } else {
            messages.for_each(|message| self.push(message));
        }
    }

    /// Appends a message.
    pub(super) fn push(&mut self, message: Message) {
        let (lane, weight) = (self.lane_of(&message), Weight::of(&message));
        self.top = self.top.max(lane);
        let lane = self.lane_mut(lane);
        let first = lane.next_position();
        lane.push(message);
        lane.weigh_from(first, weight);
    }

    /// Puts a message back that had been handed out.
    pub(super) fn put_back(&mut self, position: Position, message: Message) {
        let (lane, position) = split(position);
        self.top = self.top.max(lane);
        self.lane_mut(lane).put_back(position, message);
    }

    /// Puts a message that was taken out of turn where it stood.
    pub(super) fn put_in_place(&mut self, lane: usize, position: u64, message: Message, redelivered: bool) {
        self.top = self.top.max(lane);
        self.lane_mut(lane).put_in_place(position, message, redelivered);
    }

    /// Takes the first message, unless it is on disk only; says whether it was handed out before.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<(Position, Message, bool)> {
        let (position, message, redelivered) = self.first().pop()?;
        Some((place(self.top, position), message, redelivered))
    }

    /// Takes the first message of a lane, unless it is on disk only.
    pub(super) fn pop_from(&mut self, lane: usize) -> Option<(Position, Message, bool)> {
        let (position, message, redelivered) = self.lane_mut(lane).pop()?;
        Some((place(lane, position), message, redelivered))
    }

    /// Drops up to so many of the messages that come next and are on disk only, if it is known which they are; says at which
    /// positions.
    pub(super) fn drop_cold(&mut self, max: u64) -> Option<Range<u64>> {
        let range = self.first().drop_cold(max)?;
        let upper = (self.top as u64) << LANE_SHIFT;
        Some(upper | range.start..upper | range.end)
    }

    /// Drops everything; says which positions that were.
    pub(super) fn clear(&mut self) -> Vec<Range<u64>> {
        let mut dropped = self.lowest.clear();
        for (lane, backlog) in (1_u64..).zip(&mut self.higher) {
            let Some(backlog) = backlog else { continue };
            let upper = lane << LANE_SHIFT;
            dropped.extend(backlog.clear().into_iter().map(|range| upper | range.start..upper | range.end));
        }
        dropped
    }

    /// Takes in what was read back for a lane.
    pub(super) fn loaded(&mut self, lane: usize, loaded: Loaded) {
        self.lane_mut(lane).loaded(loaded);
    }
}

/// A position within a lane as everybody else sees it.
#[inline]
pub(super) fn place(lane: usize, Position(position): Position) -> Position {
    Position((lane as u64) << LANE_SHIFT | position)
}

/// The lane of a position, and the position within it.
#[inline]
pub(super) fn split(Position(position): Position) -> (usize, Position) {
    let lane = usize::try_from(position >> LANE_SHIFT).unwrap_or(0);
    (lane, Position(position & ((1 << LANE_SHIFT) - 1)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Draft;

    fn message(priority: Option<u8>) -> Message {
        let mut draft = Draft::new(Vec::new(), "", "q");
        if let Some(priority) = priority {
            draft.set_priority(priority);
        }
        draft.message()
    }

    #[test]
    fn a_priority_is_cut_to_the_highest_and_none_is_the_usual() {
        for (max, usual, priority, lane) in [
            (0, 0, Some(200), 0),
            (0, 0, None, 0),
            (10, 0, None, 0),
            (10, 0, Some(10), 10),
            (10, 0, Some(11), 10),
            (31, 4, None, 4),
            (31, 4, Some(0), 0),
            (255, 0, Some(255), 255),
        ] {
            assert_eq!(Lanes::new(max, usual).lane_of(&message(priority)), lane, "{max} {usual} {priority:?}");
        }
    }

    #[test]
    fn the_highest_goes_first_and_each_lane_keeps_its_order() {
        let mut lanes = Lanes::new(255, 0);
        for priority in [3, 0, 255, 3, 1, 255, 0] {
            lanes.push(message(Some(priority)));
        }
        let mut taken = Vec::new();
        while lanes.has_next() {
            let (position, _, redelivered) = lanes.pop().unwrap();
            assert!(!redelivered);
            let (lane, Position(position)) = split(position);
            taken.push((lane, position));
            if taken.len() == 3 {
                // What comes back takes its place.
                lanes.put_back(place(255, Position(1)), message(Some(255)));
                assert_eq!(
                    lanes.pop().map(|(position, _, again)| (split(position), again)),
                    Some(((255, Position(1)), true))
                );
            }
        }
        assert_eq!(taken, [(255, 0), (255, 1), (3, 0), (3, 1), (1, 0), (0, 0), (0, 1)]);
        assert_eq!(lanes.len(), 0);
    }

    #[test]
    fn what_is_dropped_is_said_with_its_lane() {
        let mut lanes = Lanes::new(2, 0);
        for priority in [2, 0, 0] {
            lanes.push(message(Some(priority)));
        }
        assert_eq!(lanes.clear(), [0..2, 2 << LANE_SHIFT..(2 << LANE_SHIFT) + 1]);
        assert_eq!((lanes.len(), lanes.has_next()), (0, false));
    }
}
