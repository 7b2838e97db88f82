//! The random exchanges: each message goes along one binding, whichever. `x-local-random` takes classic queues on this node
//! only, under the empty key, and every queue is on this node.

use std::sync::Arc;

use super::slots::Slots;
use crate::entropy;
use crate::error::{Error, InvalidBinding};
use crate::topology::{Binding, Routes};

/// The type of the queues that `x-local-random` takes.
const CLASSIC: &str = "classic";

/// The bindings of a random exchange.
#[derive(Clone, Debug, Default)]
pub(super) struct Random {
    slots: Slots,
}

impl Random {
    pub(super) fn insert(&mut self, binding: &Arc<Binding>) {
        self.slots.insert(binding);
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        self.slots.remove(binding);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn route(&self, entropy: u64, routes: &mut Routes) -> bool {
        if self.slots.len() > 1 {
            routes.cacheable = false;
        }
        // Exchanges on the same way each choose for themselves.
        let random = entropy::nth(entropy, routes.next_draw());
        self.slots.route(entropy::below(random, self.slots.len()), routes)
    }
}

/// Refuses a binding of `x-local-random`. `queue_type` is that of the queue it leads to, if it leads to a queue.
pub(super) fn check_local_binding(routing_key: &str, queue_type: Option<&str>) -> Result<(), Error> {
    let reason = match queue_type {
        _ if !routing_key.is_empty() => InvalidBinding::KeyNotEmpty(routing_key.into()),
        None => InvalidBinding::NoQueue,
        Some(CLASSIC) => return Ok(()),
        Some(other) => InvalidBinding::QueueType(other.into()),
    };
    Err(Error::InvalidBinding { reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::Entropy;
    use crate::exchange::testing::{binding, routed};
    use crate::value::Table;

    #[test]
    fn each_binding_gets_an_even_share() {
        let mut exchange = Random::default();
        assert!(routed(|routes| exchange.route(1, routes)).is_empty());
        for (queue, key) in [(1, ""), (2, "a"), (2, "b")] {
            exchange.insert(&Arc::new(binding(queue, key, Table::new())));
        }
        let mut entropy = Entropy::new([3; 16]);
        let found: Vec<u64> = (0..3000).flat_map(|_| routed(|routes| exchange.route(entropy.draw(), routes))).collect();
        assert_eq!(found.len(), 3000);
        let count = found.iter().filter(|queue| **queue == 1).count();
        assert!((900..1100).contains(&count), "{count}");
    }

    #[test]
    fn a_route_without_a_choice_can_be_kept() {
        let mut exchange = Random::default();
        for (queue, cacheable) in [(1, true), (2, false)] {
            exchange.insert(&Arc::new(binding(queue, "", Table::new())));
            let mut routes = Routes::default();
            routes.start();
            assert!(exchange.route(5, &mut routes));
            assert_eq!(routes.cacheable, cacheable, "{queue}");
        }
        exchange.remove(&binding(1, "", Table::new()));
        assert_eq!(routed(|routes| exchange.route(0, routes)), [2]);
        exchange.remove(&binding(2, "", Table::new()));
        assert!(exchange.is_empty());
    }

    #[test]
    fn exchanges_on_the_same_way_choose_for_themselves() {
        let mut exchange = Random::default();
        for queue in 1..=2 {
            exchange.insert(&Arc::new(binding(queue, "", Table::new())));
        }
        let both = (0..1000).filter(|entropy| {
            let found = routed(|routes| exchange.route(*entropy, routes) & exchange.route(*entropy, routes));
            found.len() == 2
        });
        let differ = both.count();
        assert!((400..600).contains(&differ), "{differ}");
    }

    #[test]
    fn local_random_takes_classic_queues_under_the_empty_key() {
        for (key, queue_type, text) in [
            ("", Some("classic"), None),
            ("k", Some("classic"), Some("Non empty binding 'k' key not permitted")),
            ("k", None, Some("Non empty binding 'k' key not permitted")),
            ("", None, Some("Destination not found")),
            ("", Some("quorum"), Some("Queue type rabbit_quorum_queue not valid for this exchange type")),
        ] {
            let refusal = check_local_binding(key, queue_type).err().map(|error| error.to_string());
            assert_eq!(refusal.as_deref(), text, "{key} {queue_type:?}");
        }
    }
}
