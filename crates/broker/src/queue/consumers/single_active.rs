//! Single active consumer: one consumer is served, the others wait to take its place.
//!
//! The first consumer is the active one and stays it until it goes, whatever the others' priorities; a quorum queue's steps
//! back for one of higher priority once it has settled everything. Its place is handed over in two steps, because what it gives back has to stand in the queue before the next one is served.

use super::ConsumerId;

/// Who is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Active {
    /// Nobody is there.
    Nobody,
    /// This one.
    Consumer(ConsumerId),
    /// Nobody, until what this one leaves behind is back in the queue.
    Gone(ConsumerId),
}

/// Who is served and who waits for it.
#[derive(Debug)]
pub(super) struct SingleActive {
    active: Active,
    /// In the order in which they came.
    waiting: Vec<ConsumerId>,
}

impl SingleActive {
    /// So far the consumers were served in turn; the first of them is the active one from now on.
    pub(super) fn of(consumers: Vec<ConsumerId>) -> Self {
        let mut single = Self { active: Active::Nobody, waiting: Vec::new() };
        for consumer in consumers {
            single.add(consumer);
        }
        single
    }

    /// Takes in a new consumer; says whether it is the active one.
    pub(super) fn add(&mut self, consumer: ConsumerId) -> bool {
        if self.active == Active::Nobody {
            self.active = Active::Consumer(consumer);
            return true;
        }
        self.waiting.push(consumer);
        false
    }

    /// Takes out a consumer; says whether it was the active one, whose place is handed over by [`SingleActive::hand_over`].
    pub(super) fn remove(&mut self, consumer: ConsumerId) -> bool {
        if self.active == Active::Consumer(consumer) {
            self.active = Active::Gone(consumer);
            return true;
        }
        self.waiting.retain(|other| *other != consumer);
        false
    }

    /// What a consumer that went has left behind is back. If it was the active one, its place goes to whoever has the highest
    /// priority of those that wait, and among these has waited longest.
    pub(super) fn hand_over(&mut self, gone: ConsumerId, priority: impl Fn(ConsumerId) -> i32) -> Option<ConsumerId> {
        if self.active != Active::Gone(gone) {
            return None;
        }
        // Of equals, the last is the greatest: so from behind.
        let candidates = self.waiting.iter().enumerate().rev();
        let next = candidates.max_by_key(|(_, consumer)| priority(**consumer)).map(|(index, _)| index);
        let next = next.map(|index| self.waiting.remove(index));
        self.active = next.map_or(Active::Nobody, Active::Consumer);
        next
    }

    /// The active one, unless it is gone.
    pub(super) fn active(&self) -> Option<ConsumerId> {
        match self.active {
            Active::Consumer(consumer) => Some(consumer),
            Active::Nobody | Active::Gone(_) => None,
        }
    }

    /// The active one waits like the others from now on, until [`SingleActive::hand_over`] the last of those with its priority.
    pub(super) fn step_back(&mut self) {
        if let Active::Consumer(consumer) = self.active {
            self.active = Active::Gone(consumer);
            self.waiting.push(consumer);
        }
    }

    /// Those that wait.
    pub(super) fn waiting(&self) -> impl Iterator<Item = ConsumerId> {
        self.waiting.iter().copied()
    }

    /// Whether this consumer is the active one.
    pub(super) fn is_active(&self, consumer: ConsumerId) -> bool {
        self.active == Active::Consumer(consumer)
    }

    /// Those that wait, when all are served from now on.
    pub(super) fn into_waiting(self) -> Vec<ConsumerId> {
        self.waiting
    }
}
