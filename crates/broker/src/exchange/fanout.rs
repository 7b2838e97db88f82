//! The fanout exchange: a message goes wherever there is a binding.

use super::targets::Targets;
use crate::topology::{Binding, Routes};

/// The bindings of a fanout exchange.
#[derive(Clone, Debug, Default)]
pub(super) struct Fanout {
    targets: Targets,
}

impl Fanout {
    pub(super) fn insert(&mut self, binding: &Binding) {
        self.targets.insert(binding.target());
    }

    pub(super) fn remove(&mut self, binding: &Binding) {
        self.targets.remove(binding.target());
    }

    pub(super) fn route(&self, routes: &mut Routes) -> bool {
        self.targets.collect(routes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::testing::{binding, routed};
    use crate::value::Table;

    #[test]
    fn queue_bound_under_several_keys_gets_one_copy() {
        let mut fanout = Fanout::default();
        for (queue, key) in [(2, "a"), (1, "a"), (1, "b")] {
            fanout.insert(&binding(queue, key, Table::new()));
        }
        assert_eq!(routed(|routes| fanout.route(routes)), [1, 2]);
        fanout.remove(&binding(1, "a", Table::new()));
        assert_eq!(routed(|routes| fanout.route(routes)), [1, 2]);
        fanout.remove(&binding(1, "b", Table::new()));
        assert_eq!(routed(|routes| fanout.route(routes)), [2]);
        fanout.remove(&binding(2, "a", Table::new()));
        assert!(fanout.is_empty());
    }
}
