//! What must hold of a topology at all times, for tests and simulation to check.

use super::policy::{PolicyKind, Subject, merge};
use super::{Binding, Destination, Topology, Vhost};
use crate::exchange::Exchange;

impl Topology {
    /// Checks that all indexes agree, at the cost of looking at everything; the error says what does not.
    pub fn invariants(&self) -> Result<(), String> {
        for (name, vhost) in &self.vhosts {
            if *name != vhost.name {
                return Err(format!("vhost '{}' is kept as '{name}'", vhost.name));
            }
            vhost.check_exchanges()?;
            vhost.check_queues()?;
            vhost.check_policies()?;
            for exchange in vhost.exchanges.values() {
                if exchange.delay().is_some_and(|id| id.0 >= self.next_queue) {
                    return Err(format!("exchange '{}' has a number that will be given again", exchange.name()));
                }
            }
            for queue in vhost.queues.values() {
                if queue.id.0 >= self.next_queue {
                    return Err(format!("queue '{}' has an id that will be given again", queue.name));
                }
            }
        }
        Ok(())
    }
}

impl Vhost {
    fn check_exchanges(&self) -> Result<(), String> {
        for (name, exchange) in &self.exchanges {
            if name != exchange.name() {
                return Err(format!("exchange '{}' is kept as '{name}'", exchange.name()));
            }
            if exchange.index_is_empty() == exchange.is_used() {
                return Err(format!("exchange '{name}' has an index that disagrees with its bindings"));
            }
            for binding in exchange.bindings() {
                if binding.source() != name || !self.arrives(binding) {
                    return Err(format!("{binding:?} leaves '{name}' but does not arrive"));
                }
            }
            for binding in exchange.inbound_bindings() {
                if *binding.destination() != Destination::Exchange(name.clone()) || !self.leaves(binding) {
                    return Err(format!("{binding:?} arrives at '{name}' but does not leave"));
                }
            }
        }
        Ok(())
    }

    fn check_queues(&self) -> Result<(), String> {
        for (name, queue) in &self.queues {
            if *name != queue.name {
                return Err(format!("queue '{}' is kept as '{name}'", queue.name));
            }
            for binding in queue.bindings() {
                if *binding.destination() != Destination::Queue(name.clone()) || !self.leaves(binding) {
                    return Err(format!("{binding:?} arrives at '{name}' but does not leave"));
                }
            }
            if let Some(owner) = queue.exclusive
                && !self.owned.get(&owner).is_some_and(|owned| owned.contains(name))
            {
                return Err(format!("queue '{name}' is not among those of its connection"));
            }
        }
        for (owner, names) in &self.owned {
            let is_owned = |name| self.queues.get(name).is_some_and(|queue| queue.exclusive == Some(*owner));
            if names.is_empty() || !names.iter().all(is_owned) {
                return Err(format!("{owner:?} does not own what it is said to: {names:?}"));
            }
        }
        Ok(())
    }

    /// Whether everything has the policies that a look at all of them finds.
    fn check_policies(&self) -> Result<(), String> {
        let queues = self.queues.values().map(|queue| (Subject::Queue(queue.kind()), &queue.name, queue.policies()));
        let exchanges =
            self.exchanges.values().map(|exchange| (Subject::Exchange, exchange.name(), exchange.policies()));
        for (subject, name, applied) in queues.chain(exchanges) {
            let expected =
                [PolicyKind::User, PolicyKind::Operator].map(|kind| self.policies.expected(kind, subject, name));
            let actual = [PolicyKind::User, PolicyKind::Operator]
                .map(|kind| applied.and_then(|applied| applied.policy_of(kind)));
            if actual != expected {
                return Err(format!("{subject:?} '{name}' has the policies {actual:?} and not {expected:?}"));
            }
            let [user, operator] = expected.map(|policy| policy.map(|policy| &policy.definition));
            if applied.is_some_and(|applied| *applied.definition() != merge(user, operator)) {
                return Err(format!("{subject:?} '{name}' has something else than its policies come to"));
            }
        }
        Ok(())
    }

    /// Whether the destination knows of the binding, and is what the binding leads to.
    fn arrives(&self, binding: &Binding) -> bool {
        let is_known = match binding.destination() {
            Destination::Queue(name) => self.queues.get(name).is_some_and(|queue| queue.inbound.contains(binding)),
            Destination::Exchange(name) => {
                self.exchanges.get(name).is_some_and(|exchange| exchange.has_inbound(binding))
            }
        };
        is_known && self.target(binding.destination()).is_ok_and(|target| target == *binding.target())
    }

    fn leaves(&self, binding: &Binding) -> bool {
        self.exchanges.get(binding.source()).is_some_and(|exchange: &Exchange| exchange.has_outbound(binding))
    }
}
