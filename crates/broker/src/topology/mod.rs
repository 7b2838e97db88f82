//! Vhosts, exchanges, queues and bindings: what is declared, and the one way to change it.
//!
//! [`Topology::apply`] is deterministic: two topologies that were given the same changes are the same, ids included.

mod arguments;
mod binding;
mod change;
mod delays;
mod draft;
mod durable;
mod equivalence;
mod format;
mod invariants;
mod limits;
mod metadata;
mod name;
mod parameters;
mod policy;
mod queue;
mod removal;
mod routing;
mod seen;
mod settings;
mod together;
mod users;
mod vhost;

pub use arguments::milliseconds;
pub use binding::Binding;
pub(crate) use binding::Target;
pub use change::{Applied, Change, Destination, Origin, Removed};
pub use draft::Draft;
pub(crate) use draft::Effect;
pub use durable::{BindingRecord, Record};
pub use format::FormatError;
pub use limits::{NodeLimits, UserLimits, VhostLimits};
pub use metadata::{Protection, VhostMetadata, VhostUpdate};
pub use name::clean_name;
pub use parameters::Parameter;
pub use policy::{AppliedPolicies, ApplyTo, Policy, PolicyKind, Reconfigured, ValidationError};
pub use queue::{ConnectionId, QueueId, QueueRecord};
pub use routing::{Routes, RoutingInput};
pub use together::Together;
pub use users::{Defaults, Existing, User};
pub use vhost::Vhost;

use std::collections::BTreeMap;

use self::vhost::BindingRequest;
use crate::delay::DelayInfo;
use crate::exchange::Declaration;
use durable::Cascade;

use crate::hash::Map;
use crate::value::{Table, Value};
use crate::{Error, Name};

/// All vhosts of a broker.
#[derive(Clone, Debug, Default)]
pub struct Topology {
    vhosts: Map<Name, Vhost>,
    /// The parameters of all of the broker.
    globals: BTreeMap<Name, Value>,
    users: BTreeMap<Name, User>,
    /// The users that have limits.
    user_limits: BTreeMap<Name, (Table, UserLimits)>,
    limits: NodeLimits,
    /// The id the next queue gets. Ids are not used again, over all vhosts.
    next_queue: u64,
    generation: u64,
    /// Goes up with every change that changed something.
    revision: u64,
    /// Goes up with every change of users and of what they may do.
    access_generation: u64,
    /// Whether it has, or had, what a fresh broker begins with.
    has_defaults: bool,
    /// What happened to durable things and was not yet taken to be written down.
    records: Vec<Record>,
    /// Exchanges that were given a number for what they hold back, until they are taken.
    numbered_delays: Vec<DelayInfo>,
    /// Whether what survived is made anew, numbers included: none may be given before all are known.
    is_restoring: bool,
}

impl Topology {
    /// A topology without any vhost.
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes up with every change after which messages may go other ways; what was derived from an older generation may be out of date.
    pub const fn generation(&self) -> u64 {
        self.generation
    }

    /// Moves the generation on: something that was derived from it is out of date, though nothing here changed.
    pub fn touch(&mut self) {
        self.generation += 1;
    }

    /// The vhost of that name.
    pub fn vhost(&self, name: &str) -> Result<&Vhost, Error> {
        self.vhosts.get(name).ok_or_else(|| Error::VhostNotFound { vhost: name.into() })
    }

    /// All vhosts, in no particular order.
    pub fn vhosts(&self) -> impl Iterator<Item = &Vhost> {
        self.vhosts.values()
    }

    /// Gives no queue an id below this one: somebody still knows those, though the queues may be gone.
    pub fn reserve_queue_ids(&mut self, below: QueueId) {
        self.next_queue = self.next_queue.max(below.0);
    }

    /// Makes a change, or refuses it and stays as it was.
    pub fn apply(&mut self, change: Change) -> Result<Applied, Error> {
        let applied = self.apply_change(change)?;
        if applied.moves_routes() {
            self.generation += 1;
        }
        if applied.is_news() {
            self.revision += 1;
        }
        Ok(applied)
    }

    fn apply_change(&mut self, change: Change) -> Result<Applied, Error> {
        let vhost = change.vhost().map(Name::clone);
        let exchange = match &change {
            Change::DeclareExchange { name, .. } => Some(Name::clone(name)),
            _ => None,
        };
        let applied = self.apply_to_vhost(change)?;
        if let Some(vhost) = vhost.as_ref().and_then(|vhost| self.vhosts.get_mut(vhost)) {
            self.records.append(&mut vhost.records);
        }
        match (&applied, vhost, exchange) {
            (Applied::ExchangeDeclared, Some(vhost), Some(exchange)) => {
                self.number_delay(&vhost, &clean_name(&exchange));
            }
            (Applied::Reconfigured(_), Some(vhost), _) => self.number_delays_in(&vhost),
            _ => {}
        }
        Ok(applied)
    }

    fn apply_to_vhost(&mut self, change: Change) -> Result<Applied, Error> {
        match change {
            Change::CreateVhost { vhost } => {
                self.admit_vhost(&vhost)?;
                Ok(self.create_vhost(vhost))
            }
            Change::SetVhost { vhost, metadata } => {
                self.admit_vhost(&vhost)?;
                self.set_vhost(&vhost, metadata)
            }
            Change::UpdateVhost { vhost, update } => self.vhost_mut(&vhost)?.update_metadata(&update),
            Change::DeleteVhost { vhost } => self.delete_vhost(vhost),
            Change::DeclareExchange { vhost, name, kind, durable, auto_delete, internal, arguments, origin } => {
                self.admit_exchange(&vhost, &name)?;
                let declared = Declaration { name, kind, durable, auto_delete, internal, arguments };
                self.vhost_mut(&vhost)?.declare_exchange(declared, origin)
            }
            Change::DeleteExchange { vhost, name, if_unused } => {
                self.vhost_mut(&vhost)?.delete_exchange(name, if_unused)
            }
            Change::DeclareQueue { vhost, name, durable, exclusive, auto_delete, arguments, origin, id } => {
                let is_restored = id.is_some();
                let id = id.unwrap_or(QueueId(self.next_queue));
                let mut declared = QueueRecord::new(id, name, durable, exclusive);
                declared.auto_delete = auto_delete;
                declared.arguments = arguments;
                if !is_restored {
                    self.admit_queue(&vhost, &declared.name)?;
                }
                let vhost = self.vhost_mut(&vhost)?;
                if !is_restored {
                    vhost.admit_queue(&mut declared)?;
                }
                let ids = declared.ids();
                let applied = vhost.declare_queue(declared, origin)?;
                if matches!(applied, Applied::QueueDeclared { .. }) {
                    self.next_queue = self.next_queue.max(ids.last().map_or(0, |last| last.0.saturating_add(1)));
                }
                Ok(applied)
            }
            Change::PauseQueue { vhost, name, paused } => self.vhost_mut(&vhost)?.pause_queue(&name, paused),
            Change::DeleteQueue { vhost, name, id } => Ok(self.vhost_mut(&vhost)?.delete_queue(name, id, Cascade::Yes)),
            Change::Bind { vhost, source, destination, routing_key, arguments, asking } => {
                let request = BindingRequest { source, destination, routing_key, arguments, asking };
                self.vhost_mut(&vhost)?.bind(request)
            }
            Change::Unbind { vhost, source, destination, routing_key, arguments, asking } => {
                let request = BindingRequest { source, destination, routing_key, arguments, asking };
                self.vhost_mut(&vhost)?.unbind(request, Cascade::Yes)
            }
            Change::SetPolicy { vhost, kind, policy } => self.vhost_mut(&vhost)?.set_policy(kind, policy),
            Change::ClearPolicy { vhost, kind, name } => self.vhost_mut(&vhost)?.clear_policy(kind, name),
            Change::SetParameter { vhost, component, name, value } => {
                self.set_parameter(&vhost, component, name, value)
            }
            Change::ClearParameter { vhost, component, name } => {
                self.vhost_mut(&vhost)?.clear_parameter(component, name)
            }
            Change::SetGlobalParameter { name, value } => Ok(self.set_global(name, value)),
            Change::ClearGlobalParameter { name } => self.clear_global(name),
            Change::SetUserLimits { user, limits } => self.set_user_limits(user, limits),
            Change::CreateDefaults(defaults) => Ok(self.create_defaults(*defaults)),
            Change::WaiveDefaults => Ok(self.waive_defaults()),
            Change::SetUser { user, password, tags, existing } => self.create_user(user, password, tags, existing),
            Change::SetPassword { user, password } => self.set_password(user, password),
            Change::SetTags { user, tags } => self.set_tags(user, tags),
            Change::DeleteUser { user } => self.delete_user(user),
            Change::SetPermissions { user, vhost, permissions } => self.set_permissions(&user, vhost, permissions),
            Change::ClearPermissions { user, vhost } => self.clear_permissions(&user, vhost),
            Change::SetTopicPermissions { user, vhost, exchange, permissions } => {
                self.set_topic_permissions(&user, vhost, exchange, permissions)
            }
            Change::ClearTopicPermissions { user, vhost, exchange } => {
                self.clear_topic_permissions(&user, &vhost, exchange.as_ref())
            }
        }
    }

    fn vhost_mut(&mut self, name: &Name) -> Result<&mut Vhost, Error> {
        self.vhosts.get_mut(name).ok_or_else(|| Error::VhostNotFound { vhost: Name::clone(name) })
    }

    fn create_vhost(&mut self, name: Name) -> Applied {
        if self.vhosts.contains_key(&name) {
            return Applied::Unchanged;
        }
        self.records.push(Record::VhostCreated { vhost: Name::clone(&name) });
        self.vhosts.insert(Name::clone(&name), Vhost::new(name));
        Applied::VhostCreated
    }

    fn set_vhost(&mut self, name: &Name, metadata: VhostMetadata) -> Result<Applied, Error> {
        metadata.check()?;
        let created = self.create_vhost(Name::clone(name));
        // In the order in which they have to be restored.
        let described = self.vhost_mut(name)?.set_metadata(metadata);
        Ok(if created == Applied::Unchanged { described } else { created })
    }

    /// How much a user may have open.
    pub fn user_limits(&self, user: &str) -> UserLimits {
        self.user_limits.get(user).map(|(_, limits)| *limits).unwrap_or_default()
    }

    /// The limits of a user as they were set, if there are some.
    pub fn limits_of(&self, user: &str) -> Option<&Table> {
        self.user_limits.get(user).map(|(table, _)| table)
    }

    /// The limits of all users that have some, as they were set, in the order of their names.
    pub fn all_user_limits(&self) -> impl ExactSizeIterator<Item = (&Name, &Table)> {
        self.user_limits.iter().map(|(user, (table, _))| (user, table))
    }

    fn set_user_limits(&mut self, user: Name, limits: Table) -> Result<Applied, Error> {
        let parsed = UserLimits::parse(&limits).map_err(Error::InvalidLimits)?;
        let before = self.user_limits.get(&user).map(|(table, _)| table);
        if before == Some(&limits) || (before.is_none() && limits.is_empty()) {
            return Ok(Applied::Unchanged);
        }
        self.records.push(Record::UserLimitsSet { user: Name::clone(&user), limits: limits.clone() });
        if limits.is_empty() {
            self.user_limits.remove(&user);
        } else {
            self.user_limits.insert(user, (limits, parsed));
        }
        Ok(Applied::Set)
    }

    fn delete_vhost(&mut self, name: Name) -> Result<Applied, Error> {
        if self.vhost(&name)?.metadata().protection == Protection::Deletion {
            return Err(Error::ProtectedVhost { vhost: name });
        }
        let vhost = self.vhosts.remove(&name).ok_or_else(|| Error::VhostNotFound { vhost: Name::clone(&name) })?;
        self.forget_permissions_in(&name);
        self.records.push(Record::VhostDeleted { vhost: name });
        Ok(Applied::Deleted(vhost.into_removed()))
    }
}

#[cfg(test)]
mod tests;
