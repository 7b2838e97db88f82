//! Where every message of the one queue whose content is followed has to be.

use std::collections::{HashMap, HashSet};

/// Who holds a message unsettled: a client and a channel incarnation.
pub(crate) type Holder = (usize, u64);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    By(Holder),
    /// The holder sent something that may give it back or end it, and it is not known whether that was heard.
    InDoubt,
}

/// The messages of the followed queue by the number in their bodies.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Whether holders are known at any time; not so if clients run on threads of their own.
    strict: bool,
    next: u64,
    publishers: HashMap<u64, Holder>,
    published: HashSet<u64>,
    gone: HashSet<u64>,
    seen: HashSet<u64>,
    held: HashMap<u64, Held>,
}

impl Ledger {
    pub(crate) fn new(strict: bool) -> Self {
        Self { strict, ..Self::default() }
    }

    pub(crate) fn new_message(&mut self, publisher: Holder) -> u64 {
        self.next += 1;
        self.publishers.insert(self.next, publisher);
        self.next
    }

    pub(crate) fn published(&mut self, id: u64) {
        assert!(self.published.insert(id), "{id} published twice");
    }

    /// A client was given a message. With `no_ack` it is gone by that.
    pub(crate) fn delivered(&mut self, id: u64, holder: Holder, redelivered: bool, no_ack: bool) {
        assert!(self.publishers.contains_key(&id), "{id} was never sent");
        // A client on another thread may learn of a delivery when the message has long come back and gone elsewhere.
        assert!(!self.strict || !self.gone.contains(&id), "{id} is delivered after it was settled");
        if let Some(Held::By(other)) = self.held.get(&id) {
            panic!("{id} is delivered to {holder:?} while {other:?} holds it");
        }
        let again = !self.seen.insert(id);
        assert!(redelivered || !again || !self.strict, "{id} is redelivered without the flag");
        if no_ack {
            self.gone(id);
        } else if self.strict {
            self.held.insert(id, Held::By(holder));
        }
    }

    pub(crate) fn doubt(&mut self, id: u64) {
        self.held.insert(id, Held::InDoubt);
    }

    /// A rollback gave a message back to its holder.
    pub(crate) fn held_again(&mut self, id: u64, holder: Holder) {
        if self.strict {
            self.held.insert(id, Held::By(holder));
        }
    }

    /// A message was settled for good.
    pub(crate) fn gone(&mut self, id: u64) {
        assert!(self.gone.insert(id), "{id} was settled twice");
        self.held.remove(&id);
    }

    /// The holder is no more, or never had more than the messages it settled.
    pub(crate) fn release(&mut self, holder: Holder) {
        self.held.retain(|_, held| *held != Held::By(holder));
    }

    /// Compares what is left in the queue, in its order, with what has to be.
    pub(crate) fn check(&self, left: &[u64]) {
        let unpublished: Vec<_> = self.seen.difference(&self.published).collect();
        assert!(unpublished.is_empty(), "delivered but never published: {unpublished:?}");
        let mut expected: Vec<u64> = self.published.difference(&self.gone).copied().collect();
        expected.sort_unstable();
        let mut found = left.to_vec();
        found.sort_unstable();
        let lost: Vec<_> = expected.iter().filter(|id| found.binary_search(id).is_err()).collect();
        let extra: Vec<_> = found.iter().filter(|id| expected.binary_search(id).is_err()).collect();
        assert!(lost.is_empty() && extra.is_empty(), "lost {lost:?}, too many {extra:?}");
        assert_eq!(found, expected, "some message is there twice");
        let mut latest: HashMap<Holder, u64> = HashMap::new();
        for id in left {
            let before = latest.insert(self.publishers[id], *id);
            assert!(before < Some(*id), "{id} stands behind {before:?} of the same channel");
        }
    }
}
