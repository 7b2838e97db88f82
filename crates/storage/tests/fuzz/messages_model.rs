//! What a message log has to hold: a model that is told everything the log is told.
//!
//! What survives a crash is a beginning of what was written: all that was synced, and of the groups since some number
//! from the first on, the last of them in part. A settlement never survives without the messages written before it, or
//! a message that went from one queue to another would be in neither.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use leveret_storage::messages::{QueueKey, Reader, Recovered};

/// Messages with their positions.
pub(crate) type Messages = Vec<(u64, Arc<[u8]>)>;

/// Something a group says.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Publish { queue: u64, position: u64, message: Arc<[u8]> },
    Settle { queue: u64, positions: Range<u64> },
    Delivered { queue: u64, before: u64 },
    Delete { queue: u64 },
}

impl Change {
    fn is_message(&self) -> bool {
        matches!(self, Self::Publish { .. })
    }
}

/// A queue as the log has to know it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Queue {
    pub(crate) live: BTreeMap<u64, Arc<[u8]>>,
    pub(crate) delivered: u64,
}

/// All queues at some moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct State {
    pub(crate) queues: BTreeMap<u64, Queue>,
}

impl State {
    pub(crate) fn apply(&mut self, changes: &[Change]) {
        for change in changes {
            self.apply_one(change);
        }
    }

    pub(crate) fn apply_one(&mut self, change: &Change) {
        match change {
            Change::Publish { queue, position, message, .. } => {
                let queue = self.queues.entry(*queue).or_default();
                queue.live.insert(*position, Arc::clone(message));
            }
            Change::Settle { queue, positions } => {
                let Some(queue) = self.queues.get_mut(queue) else { return };
                let settled: Vec<u64> = queue.live.range(positions.clone()).map(|(position, _)| *position).collect();
                for position in settled {
                    queue.live.remove(&position);
                }
            }
            Change::Delivered { queue, before } => {
                let queue = self.queues.entry(*queue).or_default();
                queue.delivered = queue.delivered.max(*before);
            }
            Change::Delete { queue } => drop(self.queues.remove(queue)),
        }
    }

    /// Of a log that owes settlements only messages are sure.
    fn apply_what_is_sure(&mut self, group: &[Change], is_owing: bool) {
        let is_sure = |change: &&Change| !is_owing || change.is_message();
        group.iter().filter(is_sure).for_each(|change| self.apply_one(change));
    }

    pub(crate) fn messages(&self) -> usize {
        self.queues.values().map(|queue| queue.live.len()).sum()
    }

    /// Everything the log says it holds, each message loaded; also what it says about itself has to be true.
    /// An error is the disk's.
    pub(crate) fn load(recovered: &Recovered, reader: &Reader) -> io::Result<Self> {
        let mut state = Self::default();
        for found in &recovered.queues {
            let live = load(reader, found.queue.0, 0..u64::MAX, usize::MAX)?;
            assert_eq!(live.len() as u64, found.messages, "{found:?}");
            if let Some((first, _)) = live.first() {
                assert_eq!(found.first, *first, "{found:?}");
            }
            assert!(live.last().is_none_or(|(last, _)| *last < found.next), "{found:?}");
            let queue = Queue { live: live.into_iter().collect(), delivered: found.delivered_before };
            assert!(state.queues.insert(found.queue.0, queue).is_none(), "twice: {found:?}");
        }
        Ok(state)
    }

    /// Why this, which was found, is not what a crash can leave of `base` while `group` is being written. `unowed` is
    /// `base` without what the log owed.
    fn differs_from(&self, base: &Self, unowed: &Self, group: &[Change]) -> Option<String> {
        let mut full = unowed.clone();
        full.apply_what_is_sure(group, true);
        let mut after = base.clone();
        after.apply(group);
        let none = Queue::default();
        for (number, queue) in &self.queues {
            let possible = full.queues.get(number).unwrap_or(&none);
            for (position, message) in &queue.live {
                match possible.live.get(position) {
                    None => return Some(format!("{number} has {position}, which is done with or unknown")),
                    Some(expected) if expected != message => return Some(format!("{number} has another {position}")),
                    Some(_) => {}
                }
            }
            if let Some(told) = after.queues.get(number)
                && queue.delivered > told.delivered
            {
                return Some(format!("{number} delivered before {}, told {}", queue.delivered, told.delivered));
            }
            let Some(known) = unowed.queues.get(number).filter(|_| after.queues.contains_key(number)) else { continue };
            // A mark below the first message says nothing.
            let first = queue.live.keys().next();
            if first.is_some_and(|first| queue.delivered.max(*first) < known.delivered) {
                return Some(format!("{number} delivered before {}, synced {}", queue.delivered, known.delivered));
            }
        }
        let missing = self.missing(base)?;
        let missing_after = self.missing(&after)?;
        Some(format!("missing {missing}, with all of the group {missing_after}"))
    }

    /// A message of another state that this one does not have.
    fn missing(&self, other: &Self) -> Option<String> {
        other.queues.iter().find_map(|(number, queue)| {
            let found = self.queues.get(number);
            let is_found = |position: &&u64| found.is_some_and(|found| found.live.contains_key(*position));
            let position = queue.live.keys().find(|position| !is_found(position))?;
            Some(format!("{number} {position}"))
        })
    }
}

/// What must be found at the next open.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// Synced.
    pub(crate) durable: State,
    /// The same without what the log owes.
    unowed: State,
    is_owing: bool,
    /// What may be found of the last group instead of a beginning of it.
    without_messages: Option<Vec<Change>>,
    /// Written since, a group each.
    pub(crate) pending: Vec<Vec<Change>>,
    /// With all that is pending: what the reader has to find.
    pub(crate) written: State,
}

impl Model {
    pub(crate) fn write(&mut self, group: Vec<Change>, is_owing: bool) {
        self.is_owing |= is_owing;
        self.written.apply(&group);
        self.pending.push(group);
    }

    /// The log has begun to write a group and did not end well. `is_full`: perhaps there was no space for its messages
    /// either, and it was writing what else is in it.
    pub(crate) fn write_failed(&mut self, group: Vec<Change>, is_full: bool) {
        if is_full {
            self.without_messages = Some(group.iter().filter(|change| !change.is_message()).cloned().collect());
        }
        self.pending.push(group);
    }

    /// `is_owing`: there is no space for all that groups said beside their messages. It is durable once that is over.
    pub(crate) fn sync(&mut self, is_owing: bool) {
        self.is_owing |= is_owing;
        for group in self.pending.drain(..) {
            self.durable.apply(&group);
            self.unowed.apply_what_is_sure(&group, self.is_owing);
        }
        if !is_owing {
            self.is_owing = false;
            self.unowed.clone_from(&self.durable);
        }
    }

    /// Checks what an open found, and goes on from there.
    pub(crate) fn found(&mut self, found: State) {
        let (mut base, mut unowed) = (self.durable.clone(), self.unowed.clone());
        let mut reasons = Vec::new();
        for cut in 0..=self.pending.len() {
            let group = self.pending.get(cut).map_or([].as_slice(), Vec::as_slice);
            let reason = found.differs_from(&base, &unowed, group).and_then(|reason| {
                let instead = self.without_messages.as_ref().filter(|_| cut + 1 == self.pending.len());
                instead.map_or(Some(reason), |group| found.differs_from(&base, &unowed, group))
            });
            let Some(reason) = reason else {
                *self = Self { durable: found.clone(), unowed: found.clone(), written: found, ..Self::default() };
                return;
            };
            reasons.push(format!("{cut} groups: {reason}"));
            base.apply(group);
            unowed.apply_what_is_sure(group, self.is_owing);
        }
        panic!("not what was written and synced: {reasons:#?}");
    }

    /// Loads a range and compares.
    pub(crate) fn check_load(&self, reader: &Reader, queue: u64, range: Range<u64>, octets_max: usize) {
        let found = load(reader, queue, range.clone(), octets_max).unwrap();
        let live = self.written.queues.get(&queue).map(|queue| &queue.live);
        let expected = live.into_iter().flat_map(|live| live.range(range.clone()));
        let positions = |found: &Messages| found.iter().map(|(position, _)| *position).collect::<Vec<_>>();
        let is_same = found.iter().map(|(position, message)| (position, message)).eq(expected.clone());
        let expected: Vec<u64> = expected.map(|(position, _)| *position).collect();
        assert!(is_same, "{queue} {range:?}: {:?}, expected {expected:?}", positions(&found));
    }

    /// Loads what is at these positions and compares.
    pub(crate) fn check_load_at(&self, reader: &Reader, queue: u64, positions: &[u64], octets_max: usize) {
        let live = self.written.queues.get(&queue).map(|queue| &queue.live);
        let mut expected = positions.iter().filter_map(|position| live?.get_key_value(position));
        let mut rest = positions;
        while let (Some(first), Some(last)) = (rest.first(), rest.last()) {
            let loaded = reader.load_at(QueueKey(queue), rest, octets_max).unwrap();
            assert!(loaded.lost.is_empty(), "{queue} {rest:?}: lost {:?}", loaded.lost);
            assert!(loaded.up_to > *first && loaded.up_to <= last + 1, "{queue} {rest:?}: up to {}", loaded.up_to);
            assert!(loaded.up_to == last + 1 || !loaded.messages.is_empty(), "{queue} {rest:?}: nothing");
            for (position, message) in &loaded.messages {
                assert_eq!(Some((position, message)), expected.next(), "{queue} {rest:?}");
            }
            let octets: usize = loaded.messages.iter().map(|(_, message)| message.len()).sum();
            let last = loaded.messages.last().map_or(0, |(_, message)| message.len());
            assert!(octets - last <= octets_max, "{queue} {rest:?}: {octets} octets, {octets_max} asked for");
            rest = &rest[rest.partition_point(|position| *position < loaded.up_to)..];
        }
        assert_eq!(expected.next(), None, "{queue} {positions:?}");
    }
}

/// All messages in a range, in one call after the other.
fn load(reader: &Reader, queue: u64, mut range: Range<u64>, octets_max: usize) -> io::Result<Messages> {
    let mut messages = Vec::new();
    while !range.is_empty() {
        let loaded = reader.load(QueueKey(queue), range.clone(), octets_max)?;
        assert!(loaded.lost.is_empty(), "{queue} {range:?}: lost {:?}", loaded.lost);
        assert!(loaded.up_to > range.start && loaded.up_to <= range.end, "{queue} {range:?}: up to {}", loaded.up_to);
        assert!(loaded.up_to == range.end || !loaded.messages.is_empty(), "{queue} {range:?}: nothing");
        let positions = loaded.messages.iter().map(|(position, _)| *position);
        assert!(positions.clone().all(|position| (range.start..loaded.up_to).contains(&position)), "{queue} {range:?}");
        assert!(positions.is_sorted_by(|one, next| one < next), "{queue} {range:?}: order");
        let octets: usize = loaded.messages.iter().map(|(_, message)| message.len()).sum();
        let last = loaded.messages.last().map_or(0, |(_, message)| message.len());
        assert!(octets - last <= octets_max, "{queue} {range:?}: {octets} octets, {octets_max} asked for");
        range.start = loaded.up_to;
        messages.extend(loaded.messages);
    }
    Ok(messages)
}

/// Says which changes are messages that the group itself does not settle.
fn live_in(group: &[Change]) -> impl Fn(&Change) -> bool + use<> {
    let mut after = State::default();
    after.apply(group);
    move |change| match change {
        Change::Publish { queue, position, .. } => {
            after.queues.get(queue).is_some_and(|queue| queue.live.contains_key(position))
        }
        _ => false,
    }
}

/// Leaves out of a group what the log does not write: places of messages that are settled or deleted in it.
pub(crate) fn without_elided(group: Vec<Change>) -> Vec<Change> {
    let is_live = live_in(&group);
    group.into_iter().filter(|change| !change.is_message() || is_live(change)).collect()
}

/// What stays in a group when there is no space for it, and what is taken.
pub(crate) fn left_by_full(group: Vec<Change>) -> (Vec<Change>, Vec<Change>) {
    let is_live = live_in(&group);
    let (messages, others): (Vec<Change>, Vec<Change>) = group.into_iter().partition(Change::is_message);
    (messages.into_iter().filter(is_live).collect(), others)
}
