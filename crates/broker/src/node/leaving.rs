//! Messages that stay in their queue until every queue that they go to has taken them (at-least-once dead-lettering).
//!
//! A message whose way leads nowhere, or which a queue on its way refuses, is tried again until that changes or its queue
//! is deleted. Only the first few of a queue are on their way at a time, so that a try costs no more than that.

use std::collections::VecDeque;
use std::sync::Arc;

use super::dead_letters::{DeathRouter, RoutedDead};
use super::{LEAVING, Node};
use crate::dead_letter::{DeadLetters, Departed, Leaver, Leaving, Way};
use crate::queue::{DeadLetterStrategy, DeadLetterTo, Fanout, QueueCell, push_position};
use crate::store::StorePosition;
use crate::topology::QueueId;

/// Messages of a queue that are on their way at a time.
const LEAVERS_MAX: usize = 32;
/// Messages of a queue that go on their way before the dead of other queues have a turn.
const LEAVERS_AT_ONCE: usize = 4096;
/// Milliseconds between tries.
const LEAVING_INTERVAL_MS: u64 = 500;

impl Departed {
    /// Whether its messages stay in their queue until others have them.
    pub(super) fn is_safe(&self) -> bool {
        self.settings.dead_letter.as_ref().is_some_and(|to| to.strategy == DeadLetterStrategy::AtLeastOnce)
    }
}

impl Node {
    /// Lets messages begin their way.
    pub(super) fn add_leavers(&self, departed: Departed, leaving: &mut Leaving) {
        let (id, is_first) = (departed.id, leaving.is_empty());
        let leavers = departed.messages.into_iter().map(|dead| Leaver { dead, way: Way::Unknown });
        let waiting = leaving.entry(id).or_default();
        waiting.extend(leavers);
        match self.move_on(id, waiting) {
            Outlook::Done => {
                leaving.remove(&id);
            }
            Outlook::MoreAtOnce => self.context.clock.wake_at(LEAVING, self.now()),
            Outlook::Stuck if is_first => {
                self.context.clock.wake_at(LEAVING, self.now().plus_ms(LEAVING_INTERVAL_MS));
            }
            Outlook::Stuck => {}
        }
    }

    /// Tries again what got stuck.
    pub(super) fn retry_leavers(&self) {
        let mut leaving = self.context.dead_letters.begin_in_turn();
        let mut pause_ms = LEAVING_INTERVAL_MS;
        leaving.retain(|id, waiting| match self.move_on(*id, waiting) {
            Outlook::Done => false,
            Outlook::Stuck => true,
            Outlook::MoreAtOnce => {
                pause_ms = 0;
                true
            }
        });
        if !leaving.is_empty() {
            self.context.clock.wake_at(LEAVING, self.now().plus_ms(pause_ms));
        }
        // What died meanwhile was left to this thread.
        DeadLetters::end(leaving);
        self.deliver_dead_letters();
    }

    /// Brings the first messages of a queue further.
    fn move_on(&self, id: QueueId, waiting: &mut VecDeque<Leaver>) -> Outlook {
        let source = self.state.read().cells.get(&id).map(Arc::clone);
        let Some(source) = source else { return Outlook::Done };
        let mut left = LEAVERS_AT_ONCE;
        while !waiting.is_empty() {
            if left == 0 {
                return Outlook::MoreAtOnce;
            }
            // Where they go is what the queue says now, not when they died.
            let settings = source.settings();
            let Some(to) = settings.as_ref().and_then(|settings| settings.dead_letter.as_ref()) else {
                waiting.drain(..).for_each(|leaver| self.leave(&source, &leaver, None));
                return Outlook::Done;
            };
            let first = waiting.len().min(LEAVERS_MAX);
            left = left.saturating_sub(first);
            let mut stuck = Vec::new();
            for mut leaver in waiting.drain(..first) {
                self.find_way(&source, to, &mut leaver);
                match self.hand_to_targets(&mut leaver) {
                    Progress::Through(written) => {
                        self.context.deaths.confirm();
                        self.leave(&source, &leaver, written);
                    }
                    // The queue has changed its mind since.
                    Progress::Stuck if to.strategy == DeadLetterStrategy::AtMostOnce => {
                        self.leave(&source, &leaver, None);
                    }
                    Progress::Stuck => stuck.push(leaver),
                }
            }
            let has_moved = stuck.len() < first;
            // There may be a million behind them, which are best left where they are.
            stuck.into_iter().rev().for_each(|leaver| waiting.push_front(leaver));
            if !has_moved {
                return Outlook::Stuck;
            }
        }
        Outlook::Done
    }

    fn find_way(&self, source: &QueueCell, to: &DeadLetterTo, leaver: &mut Leaver) {
        if !matches!(leaver.way, Way::Unknown) {
            return;
        }
        let info = source.info();
        let mut router = DeathRouter::new(&info.name, to, self.now());
        let Some(found) = self.route_dead(&info.vhost, &mut router, &leaver.dead) else { return };
        let RoutedDead { after, queues, delays } = found;
        if queues.is_empty() && delays.is_empty() {
            return;
        }
        // Where it would go round for ever it need not go.
        let targets = queues.iter().filter(|cell| !router.is_cycle(self, cell, &leaver.dead));
        let targets = targets.map(|cell| cell.info().id).collect();
        let (mut written, is_taken) = (None, !delays.is_empty());
        for (cell, held) in delays {
            written = cell.hold(&mut vec![held]).stored.max(written);
        }
        leaver.way = Way::Open { after, targets, written, is_taken };
    }

    /// Gives a message to the queues that have not taken it.
    fn hand_to_targets(&self, leaver: &mut Leaver) -> Progress {
        let Way::Open { after, targets, written, is_taken } = &mut leaver.way else { return Progress::Stuck };
        let mut is_orphaned = false;
        targets.retain(|id| {
            let cell = self.state.read().cells.get(id).map(Arc::clone);
            let Some(cell) = cell else {
                is_orphaned = true;
                return false;
            };
            let enqueued = cell.accept(&mut vec![after.clone()], Fanout::Many);
            let is_refused = !enqueued.refused.is_empty();
            if !is_refused {
                *written = enqueued.stored.max(*written);
                *is_taken = true;
            }
            is_refused
        });
        if !targets.is_empty() {
            return Progress::Stuck;
        }
        if is_orphaned && !*is_taken {
            // All queues that it was to go to are gone; there may be others.
            leaver.way = Way::Unknown;
            return Progress::Stuck;
        }
        Progress::Through(*written)
    }

    fn leave(&self, source: &Arc<QueueCell>, leaver: &Leaver, written: Option<StorePosition>) {
        let mut positions = Vec::new();
        leaver.dead.position.into_iter().for_each(|position| push_position(&mut positions, position));
        self.let_go(Arc::clone(source), positions, written);
    }
}

/// What becomes of those of a queue that are still there.
enum Outlook {
    /// There are none.
    Done,
    /// They are tried again after a while.
    Stuck,
    /// They may go on as soon as others had their turn.
    MoreAtOnce,
}

/// How far a message is.
enum Progress {
    /// All have it, and it is on disk with this position of the log.
    Through(Option<StorePosition>),
    /// Some do not.
    Stuck,
}
