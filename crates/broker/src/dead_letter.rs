//! Messages that died, on their way to the exchange their queue names for them.
//!
//! A queue hands its dead over under its lock and goes on; whoever made it do so then moves them ([`Node`]'s
//! `deliver_dead_letters`), one batch after the other and one thread at a time, so that they keep their order and a chain of
//! queues needs no stack. A message leaves its queue's part of the store only once its copies are safe.

use std::cell::Cell;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

use parking_lot::{Mutex, MutexGuard};

use crate::Name;
use crate::hash::Map;
use crate::message::Message;
use crate::properties::DeathReason;
use crate::queue::{Dead, QueueCell, QueueSettings};
use crate::store::StorePosition;
use crate::topology::QueueId;

/// Batches that may wait before whoever adds one waits for the thread that moves them.
const WAITING_MAX: usize = 64;

thread_local! {
    /// Whether this thread added dead letters since it last asked for the right to move them.
    static HAS_ADDED: Cell<bool> = const { Cell::new(false) };
}

/// Messages that died in a queue, in order.
#[derive(Debug)]
pub(crate) struct Departed {
    pub(crate) vhost: Name,
    pub(crate) queue: Name,
    pub(crate) id: QueueId,
    /// Where they go: the queue's settings when they died.
    pub(crate) settings: Arc<QueueSettings>,
    pub(crate) messages: Vec<Dead>,
    /// Whether the queue's store has to know once they are gone.
    pub(crate) is_stored: bool,
}

/// The dead of all queues.
#[derive(Debug, Default)]
pub(crate) struct DeadLetters {
    waiting: Mutex<VecDeque<Departed>>,
    /// How many batches wait, readable without the lock.
    count: AtomicUsize,
    moving: Mutex<Leaving>,
}

/// Messages that stay in their queues until others have them, by queue, in the order of their deaths.
pub(crate) type Leaving = Map<QueueId, VecDeque<Leaver>>;

/// A message that stays in its queue until every queue that it goes to has it.
#[derive(Debug)]
pub(crate) struct Leaver {
    pub(crate) dead: Dead,
    pub(crate) way: Way,
}

/// How far a message is on its way.
#[derive(Debug)]
pub(crate) enum Way {
    /// So far it leads nowhere.
    Unknown,
    /// These queues have yet to take the message as it is after its death.
    Open {
        after: Message,
        targets: Vec<QueueId>,
        /// With which position of the log those that took it have it on disk.
        written: Option<StorePosition>,
        /// Whether one took it.
        is_taken: bool,
    },
}

impl DeadLetters {
    pub(crate) fn push(&self, departed: Departed) {
        HAS_ADDED.set(true);
        let mut waiting = self.waiting.lock();
        waiting.push_back(departed);
        self.count.store(waiting.len(), Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    /// The right to move them, for one thread at a time. None if another one has it: it looks once more after it gave it up. But
    /// whoever added some waits while that one is not keeping up, so that the list has a bound; others are not held up.
    pub(crate) fn begin(&self) -> Option<MutexGuard<'_, Leaving>> {
        // With the one in `end`: either this thread finds that the right is free, or the other one finds what this one added.
        fence(Ordering::SeqCst);
        let waits = HAS_ADDED.take() && self.count.load(Ordering::Acquire) > WAITING_MAX;
        if waits { Some(self.moving.lock()) } else { self.moving.try_lock() }
    }

    /// The same, once whoever has it is through.
    pub(crate) fn begin_in_turn(&self) -> MutexGuard<'_, Leaving> {
        self.moving.lock()
    }

    /// Gives the right up; [`DeadLetters::is_empty`] has to be asked then.
    pub(crate) fn end(right: MutexGuard<'_, Leaving>) {
        drop(right);
        fence(Ordering::SeqCst);
    }

    pub(crate) fn pop(&self) -> Option<Departed> {
        let mut waiting = self.waiting.lock();
        let departed = waiting.pop_front();
        self.count.store(waiting.len(), Ordering::Release);
        departed
    }
}

/// Whether a message that died would come back to a queue in which it died before, with nobody having rejected it since: it would
/// go round for ever. `deaths` are those before this one, the last first.
pub(crate) fn is_cycle(target: &str, queue: &str, reason: DeathReason, deaths: &[(Name, String)]) -> bool {
    if reason == DeathReason::Rejected {
        return false;
    }
    if target == queue {
        return true;
    }
    let Some(again) = deaths.iter().position(|(name, _)| **name == *target) else { return false };
    deaths.iter().take(again + 1).all(|(_, reason)| reason != DeathReason::Rejected.as_str())
}

/// What was copied elsewhere and leaves its queue once the copies are on disk.
#[derive(Debug)]
struct Move {
    copied: StorePosition,
    from: Arc<QueueCell>,
    positions: Vec<Range<u64>>,
}

/// Messages that are in two places until the copies are safe.
#[derive(Debug, Default)]
pub(crate) struct Moves {
    waiting: Mutex<VecDeque<Move>>,
}

impl Moves {
    /// Takes note that these positions may go once the log is so far. Says whether nothing waited before.
    pub(crate) fn add(&self, copied: StorePosition, from: Arc<QueueCell>, positions: Vec<Range<u64>>) -> bool {
        let mut waiting = self.waiting.lock();
        waiting.push_back(Move { copied, from, positions });
        waiting.len() == 1
    }

    /// Lets go of everything whose copies are on disk. Says whether something still waits.
    pub(crate) fn finish(&self, synced: StorePosition) -> bool {
        loop {
            let mut waiting = self.waiting.lock();
            if waiting.front().is_none_or(|first| first.copied > synced) {
                return !waiting.is_empty();
            }
            let moved = waiting.pop_front();
            drop(waiting);
            if let Some(Move { from, positions, .. }) = moved {
                from.discard(&positions);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_adds_to_a_long_list_waits_for_it() {
        let dead_letters = DeadLetters::default();
        let departed = || Departed {
            vhost: "/".into(),
            queue: "q".into(),
            id: QueueId(1),
            settings: Arc::default(),
            messages: Vec::new(),
            is_stored: false,
        };
        for _ in 0..=WAITING_MAX {
            dead_letters.push(departed());
        }
        let right = dead_letters.begin().unwrap();
        std::thread::scope(|scope| {
            let other = scope.spawn(|| dead_letters.begin().is_none());
            assert!(other.join().unwrap(), "it added nothing");
            let adder = scope.spawn(|| {
                dead_letters.push(departed());
                dead_letters.begin().is_some()
            });
            DeadLetters::end(right);
            assert!(adder.join().unwrap());
        });
        // What was added before has been asked for once.
        let _right = dead_letters.begin();
        assert!(dead_letters.begin().is_none());
    }

    #[test]
    fn a_message_may_not_go_round_unless_somebody_rejected_it_on_the_way() {
        use DeathReason::{Expired, MaxLen, Rejected};
        for (target, queue, reason, deaths, expected) in [
            ("a", "a", Expired, &[][..], true),
            ("a", "a", MaxLen, &[], true),
            ("a", "a", Rejected, &[], false),
            ("b", "a", Expired, &[], false),
            ("b", "a", Expired, &[("b", "expired")], true),
            ("b", "a", Expired, &[("b", "rejected")], false),
            ("c", "a", Expired, &[("b", "rejected"), ("c", "expired")], false),
            ("c", "a", Expired, &[("b", "expired"), ("c", "maxlen")], true),
            ("c", "a", Expired, &[("b", "expired"), ("c", "maxlen"), ("d", "rejected")], true),
            ("c", "a", Rejected, &[("b", "expired"), ("c", "maxlen")], false),
        ] {
            let deaths: Vec<_> = deaths.iter().map(|(name, why)| (Name::from(*name), (*why).to_owned())).collect();
            assert_eq!(is_cycle(target, queue, reason, &deaths), expected, "{queue} to {target} {reason:?} {deaths:?}");
        }
    }
}
