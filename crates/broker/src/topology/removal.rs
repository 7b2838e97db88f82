//! Deleting and unbinding, and what goes along with it.

use std::sync::Arc;

use super::durable::Cascade;
use super::name::{clean, is_reserved};
use super::vhost::{BindingRequest, check_not_default};
use super::{Applied, Binding, QueueId, Record, Removed, Vhost};
use crate::Name;
use crate::error::{Error, Resource};
use crate::hash::Set;

impl Vhost {
    pub(super) fn delete_exchange(&mut self, name: Name, if_unused: bool) -> Result<Applied, Error> {
        let name = clean(name);
        check_not_default(&name)?;
        if is_reserved(&name) {
            return Err(Error::SystemExchange { exchange: Resource::exchange(&self.name, &name) });
        }
        let Some(exchange) = self.exchanges.get(&name) else { return Ok(Applied::Unchanged) };
        if if_unused && exchange.is_used() {
            return Err(Error::InUse { resource: Resource::exchange(&self.name, &name) });
        }
        let mut removed = Removed::default();
        self.remove_exchanges(vec![name], Cascade::Yes, &mut removed);
        Ok(Applied::Deleted(removed))
    }

    pub(super) fn delete_queue(&mut self, name: Name, id: Option<QueueId>, cascade: Cascade) -> Applied {
        let name = clean(name);
        let is_meant = |queue: &super::QueueRecord| id.is_none_or(|id| id == queue.id);
        if !self.queues.get(&name).is_some_and(is_meant) {
            return Applied::Unchanged;
        }
        let Some(queue) = self.queues.remove(&name) else { return Applied::Unchanged };
        if let Some(owner) = queue.exclusive
            && let Some(owned) = self.owned.get_mut(&owner)
        {
            owned.remove(&name);
            if owned.is_empty() {
                self.owned.remove(&owner);
            }
        }
        if queue.durable {
            let vhost = Name::clone(&self.name);
            self.records.push(Record::QueueDeleted { vhost, name: Name::clone(&name), id: queue.id });
        }
        let mut removed = Removed { queues: vec![(name, queue.id)], ..Removed::default() };
        let abandoned = self.remove_from_sources(queue.inbound, &mut removed);
        if cascade == Cascade::Yes {
            self.remove_exchanges(abandoned, cascade, &mut removed);
        }
        Applied::Deleted(removed)
    }

    pub(super) fn unbind(&mut self, request: BindingRequest, cascade: Cascade) -> Result<Applied, Error> {
        let request = request.checked()?;
        // A missing end is no error: without it there is no binding either, which is what was asked for.
        let Ok(target) = self.target(&request.destination) else { return Ok(Applied::Unchanged) };
        let BindingRequest { source, destination, routing_key, arguments, asking } = request;
        let wanted = Binding::new(source, destination, routing_key, arguments, target);
        self.check_destination_lock(wanted.destination(), asking)?;
        if !self.exchanges.get(wanted.source()).is_some_and(|source| source.has_outbound(&wanted)) {
            return Ok(Applied::Unchanged);
        }
        if self.is_durable(&wanted) {
            self.records.push(Record::Unbound(self.binding_record(&wanted)));
        }
        if let Some(inbound) = self.inbound_mut(wanted.destination()) {
            inbound.remove(&wanted);
        }
        let mut removed = Removed::default();
        let abandoned = self.remove_from_sources([Arc::new(wanted)], &mut removed);
        if cascade == Cascade::Yes {
            self.remove_exchanges(abandoned, cascade, &mut removed);
        }
        Ok(Applied::Deleted(removed))
    }

    /// Everything, for the end of the vhost.
    pub(super) fn into_removed(self) -> Removed {
        let mut removed = Removed::default();
        for exchange in self.exchanges.values() {
            removed.exchanges.push(Name::clone(exchange.name()));
            removed.delays.extend(exchange.delay());
            removed.bindings.extend(exchange.bindings().cloned());
        }
        removed.queues.extend(self.queues.into_values().map(|queue| (queue.name, queue.id)));
        removed.exchanges.sort_unstable();
        removed.delays.sort_unstable();
        removed.queues.sort_unstable();
        sort_bindings(&mut removed.bindings);
        removed
    }

    /// Takes bindings away from the exchanges they come from; returns the auto-delete exchanges that have none left.
    fn remove_from_sources(
        &mut self,
        bindings: impl IntoIterator<Item = Arc<Binding>>,
        removed: &mut Removed,
    ) -> Vec<Name> {
        let first = removed.bindings.len();
        let mut abandoned = Set::default();
        for binding in bindings {
            let Some(source) = self.exchanges.get_mut(binding.source()) else { continue };
            removed.bindings.extend(source.remove_outbound(&binding));
            if source.auto_delete() && !source.is_used() {
                abandoned.insert(Name::clone(source.name()));
            }
        }
        if let Some(bindings) = removed.bindings.get_mut(first..) {
            sort_bindings(bindings);
        }
        let mut abandoned: Vec<Name> = abandoned.into_iter().collect();
        abandoned.sort_unstable();
        abandoned
    }

    /// Removes exchanges with the bindings at both of their ends, and the auto-delete exchanges that leaves unused.
    ///
    /// Each turn removes an exchange, so a cycle of bindings ends too.
    pub(super) fn remove_exchanges(&mut self, mut names: Vec<Name>, cascade: Cascade, removed: &mut Removed) {
        while let Some(name) = names.pop() {
            let Some(mut exchange) = self.exchanges.remove(&name) else { continue };
            if exchange.durable() {
                let vhost = Name::clone(&self.name);
                self.records.push(Record::ExchangeDeleted { vhost, name: Name::clone(&name) });
            }
            let mut outbound: Vec<Arc<Binding>> = exchange.bindings().cloned().collect();
            sort_bindings(&mut outbound);
            for binding in &outbound {
                if let Some(inbound) = self.inbound_mut(binding.destination()) {
                    inbound.remove(binding);
                }
            }
            let mut inbound = std::mem::take(exchange.inbound_mut());
            // A binding to itself is among both and is gone with the exchange.
            inbound.retain(|binding| *binding.source() != name);
            removed.exchanges.push(name);
            removed.delays.extend(exchange.delay());
            removed.bindings.append(&mut outbound);
            let abandoned = self.remove_from_sources(inbound, removed);
            if cascade == Cascade::Yes {
                names.extend(abandoned);
            }
        }
    }
}

/// Maps have no order to rely on, and what a change did must be the same everywhere.
fn sort_bindings(bindings: &mut [Arc<Binding>]) {
    bindings.sort_by(|one, two| one.compare(two));
}
