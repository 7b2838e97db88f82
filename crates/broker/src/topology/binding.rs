//! A binding and where it leads.

use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

use super::{Destination, QueueId};
use crate::Name;
use crate::value::Table;

/// A rule that messages with some routing key go from an exchange to a queue or to another exchange.
///
/// Two bindings are the same if source, destination, key and arguments are.
#[derive(Clone, Debug)]
pub struct Binding {
    source: Name,
    destination: Destination,
    routing_key: Name,
    arguments: Table,
    target: Target,
}

/// What a binding leads to, in the form routing needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Queue(QueueId),
    Exchange(Name),
}

impl Binding {
    /// The arguments are kept in the order of their names, so that their order on the wire makes no difference.
    pub(crate) fn new(
        source: Name,
        destination: Destination,
        routing_key: Name,
        mut arguments: Table,
        target: Target,
    ) -> Self {
        arguments.sort();
        Self { source, destination, routing_key, arguments, target }
    }

    /// The exchange messages come from.
    pub const fn source(&self) -> &Name {
        &self.source
    }

    /// What they go to.
    pub const fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The binding key.
    pub const fn routing_key(&self) -> &Name {
        &self.routing_key
    }

    /// The arguments, in the order of their names.
    pub const fn arguments(&self) -> &Table {
        &self.arguments
    }

    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    /// The order of lists of bindings, the same everywhere whatever order a map had them in.
    pub(crate) fn compare(&self, other: &Self) -> Ordering {
        let by_ends = (&self.source, &self.destination, &self.routing_key).cmp(&(
            &other.source,
            &other.destination,
            &other.routing_key,
        ));
        // Values have no order of their own, and bindings that differ in arguments only are rare.
        by_ends.then_with(|| format!("{:?}", self.arguments).cmp(&format!("{:?}", other.arguments)))
    }

    /// What makes the binding the one it is. The target follows from it.
    fn identity(&self) -> (&Name, &Destination, &Name, &Table) {
        (&self.source, &self.destination, &self.routing_key, &self.arguments)
    }
}

impl PartialEq for Binding {
    fn eq(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }
}

impl Eq for Binding {}

impl Hash for Binding {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.identity().hash(state);
    }
}
