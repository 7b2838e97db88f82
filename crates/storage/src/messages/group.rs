//! What is written in one go.

use std::ops::Range;

use super::{Payload, QueueKey};

/// What is written in one go. Reused: [`Group::clear`] keeps the memory.
#[derive(Debug)]
pub struct Group<M> {
    pub(super) runs: Vec<Run>,
    /// Those of all runs, one run after the other.
    pub(super) messages: Vec<(u64, M)>,
    pub(super) settled: Vec<(QueueKey, Range<u64>)>,
    pub(super) delivered: Vec<(QueueKey, u64)>,
    pub(super) deleted: Vec<QueueKey>,
    octets: usize,
}

/// Messages of one queue, positions ascending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) queue: QueueKey,
    /// Whether some of them may stand in other runs, too.
    pub(super) is_shared: bool,
    pub(super) count: usize,
}

impl<M> Default for Group<M> {
    fn default() -> Self {
        Self {
            runs: Vec::new(),
            messages: Vec::new(),
            settled: Vec::new(),
            delivered: Vec::new(),
            deleted: Vec::new(),
            octets: 0,
        }
    }
}

impl<M: Payload> Group<M> {
    /// An empty group.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.settled.is_empty() && self.delivered.is_empty() && self.deleted.is_empty()
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.runs.clear();
        self.messages.clear();
        self.settled.clear();
        self.delivered.clear();
        self.deleted.clear();
        self.octets = 0;
    }

    /// Octets of the messages in the group, in bytes; one that stands in several runs counts in each.
    pub fn octets(&self) -> usize {
        self.octets
    }

    /// Adds messages of one queue with their positions, ascending. `shared`: some of them may stand in runs of other
    /// queues of this group as well, as clones of the same message, and are then to be written once.
    pub fn publish(&mut self, queue: QueueKey, shared: bool, messages: impl Iterator<Item = (u64, M)>) {
        let start = self.messages.len();
        self.messages.extend(messages);
        let added = self.messages.get(start..).unwrap_or_default();
        if added.is_empty() {
            return;
        }
        self.octets += added.iter().map(|(_, message)| message.octets().len()).sum::<usize>();
        self.runs.push(Run { queue, is_shared: shared, count: added.len() });
    }

    /// Adds positions that are done with: acknowledged, purged, dropped. Those that the log does not hold are ignored.
    pub fn settle(&mut self, queue: QueueKey, positions: Range<u64>) {
        if positions.is_empty() {
            return;
        }
        // Most settlements continue the one before.
        match self.settled.last_mut() {
            Some((last, range)) if *last == queue && range.end == positions.start => range.end = positions.end,
            _ => self.settled.push((queue, positions)),
        }
    }

    /// Everything before this position of the queue has been handed out at least once.
    pub fn delivered(&mut self, queue: QueueKey, before: u64) {
        match self.delivered.last_mut() {
            Some((last, mark)) if *last == queue => *mark = before.max(*mark),
            _ => self.delivered.push((queue, before)),
        }
    }

    /// The queue is gone with everything in it, also with what this group publishes to it.
    pub fn delete(&mut self, queue: QueueKey) {
        self.deleted.push(queue);
    }

    /// Moves everything from a newer group to the end of this one.
    pub fn append(&mut self, newer: &mut Self) {
        self.runs.append(&mut newer.runs);
        self.messages.append(&mut newer.messages);
        self.settled.append(&mut newer.settled);
        self.delivered.append(&mut newer.delivered);
        self.deleted.append(&mut newer.deleted);
        self.octets += std::mem::take(&mut newer.octets);
    }

    /// Keeps those messages for which `keep` says so, and nothing but messages.
    pub(super) fn retain_messages(&mut self, mut keep: impl FnMut(QueueKey, u64) -> bool) {
        self.settled.clear();
        self.delivered.clear();
        self.deleted.clear();
        let mut runs = std::mem::take(&mut self.runs);
        let mut messages = std::mem::take(&mut self.messages).into_iter();
        self.octets = 0;
        for run in &mut runs {
            let before = self.messages.len();
            let kept = messages.by_ref().take(run.count).filter(|(position, _)| keep(run.queue, *position));
            self.messages.extend(kept);
            run.count = self.messages.len() - before;
        }
        self.octets = self.messages.iter().map(|(_, message)| message.octets().len()).sum();
        runs.retain(|run| run.count > 0);
        self.runs = runs;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_written_is_kept_by_queue_and_position() {
        let mut group = Group::new();
        group.publish(QueueKey(1), false, (0..4).map(|position| (position, vec![0_u8; 10])));
        group.publish(QueueKey(2), true, (0..2).map(|position| (position, vec![0_u8; 1])));
        group.settle(QueueKey(1), 0..1);
        group.settle(QueueKey(1), 1..2);
        assert_eq!(group.settled, [(QueueKey(1), 0..2)]);
        assert_eq!(group.octets(), 42);
        group.retain_messages(|queue, position| queue == QueueKey(1) && position >= 2);
        assert_eq!(group.runs, [Run { queue: QueueKey(1), is_shared: false, count: 2 }]);
        assert_eq!(group.messages.iter().map(|(position, _)| *position).collect::<Vec<_>>(), [2, 3]);
        assert_eq!(group.octets(), 20);
        group.clear();
        assert!(group.is_empty());
    }
}
