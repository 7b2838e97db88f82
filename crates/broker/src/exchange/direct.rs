//! The direct exchange: a message goes where its routing key is bound.

use super::targets::Targets;
use crate::Name;
use crate::hash::Map;
use crate::topology::{Binding, Routes};

/// The bindings of a direct exchange by their key.
#[derive(Clone, Debug, Default)]
pub(super) struct Direct {
    keys: Map<Name, Targets>,
}

impl Direct {
    pub(super) fn insert(&mut self, binding: &Binding) {
        self.keys.entry(Name::clone(binding.routing_key())).or_default().insert(binding.target());
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        let Some(targets) = self.keys.get_mut(binding.routing_key()) else { return };
        targets.remove(binding.target());
        if targets.is_empty() {
            self.keys.remove(binding.routing_key());
        }
    }

    pub(super) fn route(&self, routing_key: &str, routes: &mut Routes) -> bool {
        self.keys.get(routing_key).is_some_and(|targets| targets.collect(routes))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::testing::{binding, routed};
    use crate::value::{Table, Value};

    #[test]
    fn direct_takes_exactly_the_key() {
        let mut direct = Direct::default();
        for (queue, key) in [(1, "a"), (2, "a"), (2, "b"), (3, "")] {
            direct.insert(&binding(queue, key, Table::new()));
        }
        for (key, queues) in [("a", &[1, 2][..]), ("b", &[2]), ("", &[3]), ("A", &[]), ("a.b", &[])] {
            assert_eq!(routed(|routes| direct.route(key, routes)), queues, "{key}");
        }
    }

    #[test]
    fn queue_bound_twice_under_a_key_stays_until_both_bindings_are_gone() {
        let arguments: Table = [(Name::from("n"), Value::I32(1))].into_iter().collect();
        let mut direct = Direct::default();
        direct.insert(&binding(1, "a", Table::new()));
        direct.insert(&binding(1, "a", arguments.clone()));
        direct.remove(&binding(1, "a", arguments));
        assert_eq!(routed(|routes| direct.route("a", routes)), [1]);
        direct.remove(&binding(1, "a", Table::new()));
        assert!(direct.is_empty());
    }
}
