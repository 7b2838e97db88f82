//! The record of a queue: what was declared, not what is in it.

use std::sync::Arc;

use super::Binding;
use super::arguments::{queue_kind, queue_type};
use super::policy::AppliedPolicies;
use crate::Name;
use crate::hash::Set;
use crate::queue::{QUORUM_LANES, QueueKind};
use crate::value::Table;

/// Names a queue for as long as it lives; never used again for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueueId(pub u64);

/// Names a connection for as long as it lives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
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
    /// Whether it hands out nothing until somebody lets it go on.
    pub(super) paused: bool,
    /// The policies that apply to it.
    pub(super) policies: Option<Arc<AppliedPolicies>>,
    /// The bindings that lead here.
    pub(super) inbound: Set<Arc<Binding>>,
}

impl QueueRecord {
    /// Its id.
    pub const fn id(&self) -> QueueId {
        self.id
    }

    /// The ids that it takes: a queue with priorities has one for each, and the lowest is its own.
    pub fn ids(&self) -> impl Iterator<Item = QueueId> + use<> {
        let settings = self.settings();
        let lanes = match settings.kind {
            QueueKind::Classic => u64::from(settings.max_priority) + 1,
            QueueKind::Quorum => QUORUM_LANES,
        };
        (self.id.0..self.id.0.saturating_add(lanes)).map(QueueId)
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

    /// Whether it hands out nothing until somebody lets it go on.
    pub const fn paused(&self) -> bool {
        self.paused
    }

    /// The arguments as they were declared.
    pub const fn arguments(&self) -> &Table {
        &self.arguments
    }

    /// What it is made of.
    pub fn kind(&self) -> QueueKind {
        queue_kind(queue_type(&self.arguments)).unwrap_or_default()
    }

    /// The policies that apply to it; its arguments may still win over what they say.
    pub fn policies(&self) -> Option<&Arc<AppliedPolicies>> {
        self.policies.as_ref()
    }

    /// The bindings that lead here, without the implicit one from the default exchange.
    pub fn bindings(&self) -> impl Iterator<Item = &Arc<Binding>> {
        self.inbound.iter()
    }
}
