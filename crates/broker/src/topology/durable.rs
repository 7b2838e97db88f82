//! What of the topology survives a restart, as records to be written down.
//!
//! A [`Change`] is what somebody asked for; what it did can depend on things that do not survive, such as a transient
//! queue whose binding kept an auto-delete exchange. So records say what happened to durable things, one by one, and
//! restoring them decides nothing.

use std::sync::Arc;

use super::name::clean_name;
use super::vhost::BindingRequest;
use super::{
    Applied, Binding, Change, Destination, Existing, Origin, Parameter, Policy, PolicyKind, QueueId, QueueRecord,
    Removed, Topology, Vhost, VhostMetadata,
};
use crate::access::{PasswordHash, Permissions, TopicPermissions};
use crate::exchange::{Exchange, ExchangeKind};
use crate::value::{Table, Value};
use crate::{Error, Name};

/// One thing that happened to what is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A vhost was created, with its pre-declared exchanges.
    VhostCreated {
        /// Its name.
        vhost: Name,
    },
    /// A vhost was deleted, with everything in it.
    VhostDeleted {
        /// Its name.
        vhost: Name,
    },
    /// A durable exchange was declared.
    ExchangeDeclared {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Its type.
        kind: ExchangeKind,
        /// Whether it goes with the last binding from it.
        auto_delete: bool,
        /// Whether only other exchanges may publish to it.
        internal: bool,
        /// Its arguments.
        arguments: Table,
    },
    /// A durable exchange was deleted, with its bindings.
    ExchangeDeleted {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
    },
    /// What a durable exchange holds back got a number.
    DelayNumbered {
        /// Where.
        vhost: Name,
        /// The exchange.
        exchange: Name,
        /// The number, which no queue has.
        id: QueueId,
    },
    /// A durable queue was declared.
    QueueDeclared {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Its id.
        id: QueueId,
        /// Whether it goes with its last consumer.
        auto_delete: bool,
        /// Its arguments.
        arguments: Table,
    },
    /// A durable queue was deleted, with its bindings.
    QueueDeleted {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Its id.
        id: QueueId,
    },
    /// A durable queue was paused, or goes on.
    QueuePaused {
        /// Where.
        vhost: Name,
        /// Its name.
        name: Name,
        /// Whether it hands out nothing.
        paused: bool,
    },
    /// A binding between durable things was made.
    Bound(BindingRecord),
    /// A binding between durable things was removed, and both of them stay.
    Unbound(BindingRecord),
    /// A policy was set.
    PolicySet {
        /// Where.
        vhost: Name,
        /// Whose policy it is.
        kind: PolicyKind,
        /// The policy.
        policy: Policy,
    },
    /// A policy was taken away.
    PolicyCleared {
        /// Where.
        vhost: Name,
        /// Whose policy it was.
        kind: PolicyKind,
        /// Its name.
        name: Name,
    },
    /// Something was said of a vhost.
    VhostDescribed {
        /// Its name.
        vhost: Name,
        /// What is said of it now.
        metadata: VhostMetadata,
    },
    /// A parameter of a vhost was set.
    ParameterSet {
        /// Where.
        vhost: Name,
        /// What it is for.
        component: Name,
        /// Its name.
        name: Name,
        /// What it is set to.
        value: Value,
    },
    /// A parameter of a vhost was taken away.
    ParameterCleared {
        /// Where.
        vhost: Name,
        /// What it was for.
        component: Name,
        /// Its name.
        name: Name,
    },
    /// A parameter of all of the broker was set.
    GlobalParameterSet {
        /// Its name.
        name: Name,
        /// What it is set to.
        value: Value,
    },
    /// A parameter of all of the broker was taken away.
    GlobalParameterCleared {
        /// Its name.
        name: Name,
    },
    /// The limits of a user were set.
    UserLimitsSet {
        /// Its name.
        user: Name,
        /// All of them.
        limits: Table,
    },
    /// What a fresh broker begins with was created.
    DefaultsCreated,
    /// A user was created, or its password or tags were replaced.
    UserSet {
        /// Its name.
        user: Name,
        /// The hash of its password.
        password: PasswordHash,
        /// All of its tags.
        tags: Vec<Name>,
    },
    /// A user was deleted, with all that it might do.
    UserDeleted {
        /// Its name.
        user: Name,
    },
    /// It was said what a user may do in a vhost.
    PermissionsSet {
        /// The user.
        user: Name,
        /// Where.
        vhost: Name,
        /// All that it may do there.
        permissions: Permissions,
    },
    /// A user may do nothing in a vhost any more.
    PermissionsCleared {
        /// The user.
        user: Name,
        /// Where.
        vhost: Name,
    },
    /// It was said which routing keys a user may use with a topic exchange.
    TopicPermissionsSet {
        /// The user.
        user: Name,
        /// Where.
        vhost: Name,
        /// The exchange.
        exchange: Name,
        /// Which keys.
        permissions: TopicPermissions,
    },
    /// A user may use all routing keys with a topic exchange again.
    TopicPermissionsCleared {
        /// The user.
        user: Name,
        /// Where.
        vhost: Name,
        /// The exchange.
        exchange: Name,
    },
}

/// A binding between durable things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingRecord {
    /// Where.
    pub vhost: Name,
    /// The exchange messages come from.
    pub source: Name,
    /// What they go to.
    pub destination: Destination,
    /// The binding key.
    pub routing_key: Name,
    /// Its arguments.
    pub arguments: Table,
}

/// Whether removing something also removes auto-delete exchanges that it leaves without a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cascade {
    /// It does: somebody asked for the removal.
    Yes,
    /// It does not: what else went has a record of its own.
    No,
}

impl Topology {
    /// Whether a change concerns something that survives a restart, or would if it were made.
    pub fn concerns_durable(&self, change: &Change) -> bool {
        let Some(Ok(vhost)) = change.vhost().map(|vhost| self.vhost(vhost)) else { return true };
        let exchange = |name: &Name| vhost.exchange(&clean_name(name)).is_ok_and(Exchange::durable);
        let queue = |name: &Name| vhost.any_queue(&clean_name(name)).is_ok_and(QueueRecord::durable);
        match change {
            Change::CreateVhost { .. }
            | Change::DeleteVhost { .. }
            | Change::SetPolicy { .. }
            | Change::ClearPolicy { .. }
            | Change::SetVhost { .. }
            | Change::UpdateVhost { .. }
            | Change::SetParameter { .. }
            | Change::ClearParameter { .. }
            | Change::SetGlobalParameter { .. }
            | Change::ClearGlobalParameter { .. }
            | Change::SetUserLimits { .. }
            | Change::CreateDefaults(_)
            | Change::WaiveDefaults
            | Change::SetUser { .. }
            | Change::SetPassword { .. }
            | Change::SetTags { .. }
            | Change::DeleteUser { .. }
            | Change::SetPermissions { .. }
            | Change::ClearPermissions { .. }
            | Change::SetTopicPermissions { .. }
            | Change::ClearTopicPermissions { .. } => true,
            Change::DeclareExchange { durable, .. } => *durable,
            Change::DeclareQueue { durable, exclusive, .. } => *durable && exclusive.is_none(),
            Change::DeleteExchange { name, .. } => exchange(name),
            Change::DeleteQueue { name, .. } | Change::PauseQueue { name, .. } => queue(name),
            Change::Bind { source, destination, .. } | Change::Unbind { source, destination, .. } => {
                let reaches = match destination {
                    Destination::Queue(name) => queue(name),
                    Destination::Exchange(name) => exchange(name),
                };
                reaches && exchange(source)
            }
        }
    }

    /// Takes the records of all changes since the last call, in order. Whoever keeps the topology over restarts writes them
    /// down; nobody else needs to call this, but records gather until somebody does.
    pub fn take_records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }

    /// Everything durable, as the records that make it anew. The order is that in which they can be restored.
    pub fn durable_records(&self) -> Vec<Record> {
        let global = |(name, value): (&Name, &Value)| Record::GlobalParameterSet {
            name: Name::clone(name),
            value: value.clone(),
        };
        let mut records: Vec<Record> = self.global_parameters().map(global).collect();
        let limits =
            |(user, limits): (&Name, &Table)| Record::UserLimitsSet { user: Name::clone(user), limits: limits.clone() };
        records.extend(self.all_user_limits().map(limits));
        let mut vhosts: Vec<&Vhost> = self.vhosts().collect();
        vhosts.sort_unstable_by_key(|vhost| vhost.name());
        for vhost in vhosts {
            records.push(Record::VhostCreated { vhost: Name::clone(vhost.name()) });
            vhost.durable_records(&mut records);
        }
        self.user_records(&mut records);
        records
    }

    /// Makes true again what a record says. A record that contradicts what is there is an error, and changes nothing.
    pub fn restore(&mut self, record: Record) -> Result<(), Error> {
        self.is_restoring = true;
        let restored = match record {
            Record::VhostCreated { vhost } => self.apply(Change::CreateVhost { vhost }),
            Record::VhostDeleted { vhost } => self.apply(Change::DeleteVhost { vhost }),
            Record::ExchangeDeclared { vhost, name, kind, auto_delete, internal, arguments } => {
                let (durable, origin) = (true, Origin::Broker);
                self.apply(Change::DeclareExchange {
                    vhost,
                    name,
                    kind,
                    durable,
                    auto_delete,
                    internal,
                    arguments,
                    origin,
                })
            }
            Record::DelayNumbered { vhost, exchange, id } => {
                self.restore_delay(&vhost, &exchange, id).map(|()| Applied::Unchanged)
            }
            Record::QueueDeclared { vhost, name, id, auto_delete, arguments } => self.apply(Change::DeclareQueue {
                vhost,
                name,
                durable: true,
                exclusive: None,
                auto_delete,
                arguments,
                origin: Origin::Broker,
                id: Some(id),
            }),
            Record::Bound(binding) => self.apply(Change::Bind {
                vhost: binding.vhost,
                source: binding.source,
                destination: binding.destination,
                routing_key: binding.routing_key,
                arguments: binding.arguments,
                asking: None,
            }),
            Record::ExchangeDeleted { vhost, name } => self.vhost_mut(&vhost).map(|vhost| {
                let mut removed = Removed::default();
                vhost.remove_exchanges(vec![name], Cascade::No, &mut removed);
                Applied::Deleted(removed)
            }),
            Record::QueueDeleted { vhost, name, id } => {
                self.vhost_mut(&vhost).map(|vhost| vhost.delete_queue(name, Some(id), Cascade::No))
            }
            Record::Unbound(binding) => {
                let BindingRecord { vhost, source, destination, routing_key, arguments } = binding;
                let request = BindingRequest { source, destination, routing_key, arguments, asking: None };
                self.vhost_mut(&vhost).and_then(|vhost| vhost.unbind(request, Cascade::No))
            }
            Record::PolicySet { vhost, kind, policy } => self.apply(Change::SetPolicy { vhost, kind, policy }),
            Record::QueuePaused { vhost, name, paused } => self.apply(Change::PauseQueue { vhost, name, paused }),
            Record::PolicyCleared { vhost, kind, name } => self.apply(Change::ClearPolicy { vhost, kind, name }),
            Record::VhostDescribed { vhost, metadata } => {
                self.vhost_mut(&vhost).map(|vhost| vhost.set_metadata(metadata))
            }
            Record::ParameterSet { vhost, component, name, value } => {
                self.apply(Change::SetParameter { vhost, component, name, value })
            }
            Record::ParameterCleared { vhost, component, name } => {
                self.apply(Change::ClearParameter { vhost, component, name })
            }
            Record::GlobalParameterSet { name, value } => self.apply(Change::SetGlobalParameter { name, value }),
            Record::GlobalParameterCleared { name } => self.apply(Change::ClearGlobalParameter { name }),
            Record::UserLimitsSet { user, limits } => self.apply(Change::SetUserLimits { user, limits }),
            Record::DefaultsCreated => {
                self.note_defaults();
                Ok(Applied::Set)
            }
            Record::UserSet { user, password, tags } => {
                self.apply(Change::SetUser { user, password, tags, existing: Existing::Replace })
            }
            Record::UserDeleted { user } => self.apply(Change::DeleteUser { user }),
            Record::PermissionsSet { user, vhost, permissions } => {
                self.apply(Change::SetPermissions { user, vhost, permissions })
            }
            Record::PermissionsCleared { user, vhost } => self.apply(Change::ClearPermissions { user, vhost }),
            Record::TopicPermissionsSet { user, vhost, exchange, permissions } => {
                self.apply(Change::SetTopicPermissions { user, vhost, exchange, permissions })
            }
            Record::TopicPermissionsCleared { user, vhost, exchange } => {
                self.apply(Change::ClearTopicPermissions { user, vhost, exchange: Some(exchange) })
            }
        };
        self.is_restoring = false;
        // What is restored is written down already.
        self.records.clear();
        for vhost in self.vhosts.values_mut() {
            vhost.records.clear();
        }
        self.generation += 1;
        restored.map(|_| ())
    }
}

impl Vhost {
    fn durable_records(&self, records: &mut Vec<Record>) {
        let vhost = || Name::clone(&self.name);
        if *self.metadata() != VhostMetadata::default() {
            records.push(Record::VhostDescribed { vhost: vhost(), metadata: self.metadata().clone() });
        }
        records.extend(self.parameters().map(|Parameter { component, name, value }| Record::ParameterSet {
            vhost: vhost(),
            component: Name::clone(component),
            name: Name::clone(name),
            value: value.clone(),
        }));
        // First, so that what is declared after them need not be looked at again.
        for kind in [PolicyKind::User, PolicyKind::Operator] {
            let set =
                |policy: &Policy| Record::PolicySet { vhost: Name::clone(&self.name), kind, policy: policy.clone() };
            records.extend(self.policies(kind).map(set));
        }
        let mut exchanges: Vec<&Exchange> = self.exchanges().filter(|exchange| exchange.durable()).collect();
        exchanges.sort_unstable_by_key(|exchange| exchange.name());
        let declared = exchanges.iter().filter(|exchange| !Self::is_predeclared(exchange.name()));
        records.extend(declared.map(|exchange| self.exchange_record(exchange)));
        records.extend(exchanges.iter().filter_map(|exchange| {
            let (vhost, id) = (Name::clone(&self.name), exchange.delay()?);
            Some(Record::DelayNumbered { vhost, exchange: Name::clone(exchange.name()), id })
        }));
        let mut queues: Vec<&QueueRecord> = self.queues().filter(|queue| queue.durable()).collect();
        queues.sort_unstable_by_key(|queue| queue.id());
        for queue in queues {
            records.push(self.queue_record(queue));
            if queue.paused() {
                let (vhost, name) = (Name::clone(&self.name), Name::clone(queue.name()));
                records.push(Record::QueuePaused { vhost, name, paused: true });
            }
        }
        for exchange in exchanges {
            let mut bindings: Vec<&Arc<Binding>> =
                exchange.bindings().filter(|binding| self.is_durable(binding)).collect();
            // What of several bindings came first decides for some types of exchanges.
            bindings.sort_by(|one, two| {
                exchange.gives_way(one).cmp(&exchange.gives_way(two)).then_with(|| one.compare(two))
            });
            records.extend(bindings.into_iter().map(|binding| Record::Bound(self.binding_record(binding))));
        }
    }

    /// Whether both ends of a binding survive, and so does it.
    pub(super) fn is_durable(&self, binding: &Binding) -> bool {
        let destination = match binding.destination() {
            Destination::Queue(name) => self.queues.get(name).is_some_and(QueueRecord::durable),
            Destination::Exchange(name) => self.exchanges.get(name).is_some_and(Exchange::durable),
        };
        destination && self.exchanges.get(binding.source()).is_some_and(Exchange::durable)
    }

    pub(super) fn exchange_record(&self, exchange: &Exchange) -> Record {
        Record::ExchangeDeclared {
            vhost: Name::clone(&self.name),
            name: Name::clone(exchange.name()),
            kind: exchange.kind(),
            auto_delete: exchange.auto_delete(),
            internal: exchange.internal(),
            arguments: exchange.arguments().clone(),
        }
    }

    pub(super) fn queue_record(&self, queue: &QueueRecord) -> Record {
        Record::QueueDeclared {
            vhost: Name::clone(&self.name),
            name: Name::clone(queue.name()),
            id: queue.id(),
            auto_delete: queue.auto_delete(),
            arguments: queue.arguments().clone(),
        }
    }

    pub(super) fn binding_record(&self, binding: &Binding) -> BindingRecord {
        BindingRecord {
            vhost: Name::clone(&self.name),
            source: Name::clone(binding.source()),
            destination: binding.destination().clone(),
            routing_key: Name::clone(binding.routing_key()),
            arguments: binding.arguments().clone(),
        }
    }
}

#[cfg(test)]
mod tests;
