//! The record of a queue: what was declared, not what is in it.

use std::sync::Arc;

use super::Binding;
use crate::Name;
use crate::hash::Set;
use crate::value::Table;

/// Names a queue for as long as it lives; never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub u64);

/// Names a connection for as long as it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// A declared queue.
#[derive(Clone, Debug)]
pub struct QueueRecord {
    pub(super) id: QueueId,
    pub(super) name: Name,
    pub(super) durable: bool,
    pub(super) exclusive: Option<ConnectionId>,
    pub(super) auto_delete: bool,
    pub(super) arguments: Table,
    /// The bindings that lead here.
    pub(super) inbound: Set<Arc<Binding>>,
}

impl QueueRecord {
    /// Its id.
    pub const fn id(&self) -> QueueId {
        self.id
    }

    /// Its name.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Whether it survives a restart; never true of an exclusive queue.
    pub const fn durable(&self) -> bool {
        self.durable
    }

    /// The connection it belongs to, if it is exclusive.
    pub const fn exclusive(&self) -> Option<ConnectionId> {
        self.exclusive
    }

    /// Whether it goes with its last consumer.
    pub const fn auto_delete(&self) -> bool {
        self.auto_delete
    }

    /// The arguments as they were declared.
    pub const fn arguments(&self) -> &Table {
        &self.arguments
    }

    /// The bindings that lead here, without the implicit one from the default exchange.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.inbound.iter()
    }
}
