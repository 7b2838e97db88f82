//! The modulus hash exchange: each routing key has one binding. What binding keys say does not matter, and a destination that
//! is bound twice gets twice as much.

use std::sync::Arc;

use super::digest::Digest;
use super::slots::Slots;
use crate::topology::{Binding, Routes};

/// The bindings of a modulus hash exchange.
#[derive(Clone, Debug, Default)]
pub(super) struct ModulusHash {
    slots: Slots,
}

impl ModulusHash {
    pub(super) fn insert(&mut self, binding: &Arc<Binding>) {
        self.slots.insert(binding);
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        self.slots.remove(binding);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// All keys count together, those of `CC` and `BCC` too.
    pub(super) fn route(&self, routing_keys: &[&str], routes: &mut Routes) -> bool {
        let digest = routing_keys.iter().fold(Digest::new(), |digest, key| digest.field(key.as_bytes())).finish();
        let remainder = digest.checked_rem(self.slots.len() as u64).and_then(|index| usize::try_from(index).ok());
        remainder.is_some_and(|index| self.slots.route(index, routes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::testing::{binding, routed};
    use crate::value::Table;

    fn bound(bindings: &[(u64, &str)]) -> ModulusHash {
        let mut exchange = ModulusHash::default();
        for (queue, key) in bindings {
            exchange.insert(&Arc::new(binding(*queue, key, Table::new())));
        }
        exchange
    }

    fn queues(exchange: &ModulusHash) -> Vec<u64> {
        let keys = (0..3000).map(|n| n.to_string());
        keys.flat_map(|key| routed(|routes| exchange.route(&[&key], routes))).collect()
    }

    #[test]
    fn a_key_has_one_binding_whatever_the_order_of_bindings() {
        let exchange = bound(&[(1, "a"), (2, "b"), (3, "")]);
        let found = queues(&exchange);
        assert_eq!(found.len(), 3000);
        assert_eq!(found, queues(&bound(&[(3, ""), (1, "a"), (2, "b")])));
        for queue in 1..=3 {
            let count = found.iter().filter(|found| **found == queue).count();
            assert!((900..1100).contains(&count), "{queue}: {count}");
        }
    }

    #[test]
    fn a_destination_gets_a_share_for_each_of_its_bindings() {
        let mut exchange = bound(&[(1, ""), (2, "a"), (2, "b")]);
        let found = queues(&exchange).iter().filter(|queue| **queue == 2).count();
        assert!((1900..2100).contains(&found), "{found}");
        for (queue, key) in [(1, ""), (2, "a"), (2, "b")] {
            assert!(!exchange.is_empty());
            exchange.remove(&binding(queue, key, Table::new()));
        }
        assert!(exchange.is_empty());
        assert!(routed(|routes| exchange.route(&["a"], routes)).is_empty());
    }

    #[test]
    fn all_keys_of_a_message_count() {
        let exchange = bound(&[(1, ""), (2, ""), (3, ""), (4, ""), (5, "")]);
        let with = |cc: &str| routed(|routes| exchange.route(&["key", cc], routes));
        assert!((0..20).any(|n| with(&n.to_string()) != with("cc")));
    }
}
