//! A copy of a topology, on which changes are tried before all of them are made at once.

use super::{Applied, Change, QueueId, Reconfigured, Removed, Topology, clean_name};
use crate::events::Before;
use crate::exchange::ExchangeKind;
use crate::{Error, Name};

/// A copy of a topology, and what was changed in it. It is the same state machine, so what it takes would be taken, and what it
/// refuses refused.
#[derive(Debug)]
pub struct Draft {
    topology: Topology,
    /// The revision of what it was copied from.
    revision: u64,
    effects: Vec<Effect>,
    changes: usize,
    /// All changes and what they did, if somebody wants to be told.
    told: Option<Vec<(Change, Before, Applied)>>,
}

/// What a change means beyond the topology.
#[derive(Debug)]
pub(crate) enum Effect {
    /// A queue was declared.
    Queue { vhost: Name, name: Name, id: QueueId },
    /// Queues, exchanges or bindings went.
    Removed(Removed),
    /// Queues have other settings.
    Reconfigured(Reconfigured),
    /// Something else, that others may have to be told of.
    Other(Change),
}

impl Draft {
    pub(crate) fn of(topology: &Topology) -> Self {
        Self { topology: topology.clone(), revision: topology.revision, effects: Vec::new(), changes: 0, told: None }
    }

    /// The copy, with the changes so far.
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// How many changes changed something.
    pub const fn changes(&self) -> usize {
        self.changes
    }

    /// Makes a change in the copy, or refuses it and leaves the copy as it was.
    pub fn apply(&mut self, change: Change) -> Result<Applied, Error> {
        if let Change::SetUserLimits { user, .. } = &change {
            self.topology.user(user)?;
        }
        // Of what there may be most, nothing more has to be kept.
        let declared = match &change {
            Change::DeclareQueue { vhost, name, .. } => Some((Name::clone(vhost), clean_name(name).into())),
            _ => None,
        };
        let kept = self.concerns_others(&change).then(|| change.clone());
        let told = self.told.is_some().then(|| (change.clone(), Before::of(&change, &self.topology)));
        let applied = self.topology.apply(change)?;
        if !applied.is_news() {
            return Ok(applied);
        }
        if let (Some(all), Some((change, before))) = (&mut self.told, told) {
            all.push((change, before, applied.clone()));
        }
        self.changes += 1;
        match (&applied, declared, kept) {
            (Applied::QueueDeclared { id }, Some((vhost, name)), _) => {
                self.effects.push(Effect::Queue { vhost, name, id: *id });
            }
            (Applied::Deleted(removed), _, change) => {
                self.effects.push(Effect::Removed(removed.clone()));
                self.effects.extend(change.map(Effect::Other));
            }
            (Applied::Reconfigured(reconfigured), ..) => {
                self.effects.push(Effect::Reconfigured(reconfigured.clone()));
            }
            (_, _, Some(change)) => self.effects.push(Effect::Other(change)),
            _ => {}
        }
        Ok(applied)
    }

    /// Whether what it was copied from is still the same.
    pub(crate) const fn is_of(&self, topology: &Topology) -> bool {
        self.revision == topology.revision
    }

    /// Keeps all changes from now on, for [`Draft::take_told`].
    pub(crate) fn keep_told(&mut self) {
        self.told.get_or_insert_default();
    }

    /// The changes that were kept.
    pub(crate) fn take_told(&mut self) -> Vec<(Change, Before, Applied)> {
        self.told.take().unwrap_or_default()
    }

    pub(crate) fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub(crate) const fn topology_mut(&mut self) -> &mut Topology {
        &mut self.topology
    }

    /// Puts the copy in the place of what it was copied from, which must be the same still, and gives that back.
    pub(crate) fn put_in_place_of(self, topology: &mut Topology) -> Topology {
        let (generation, access_generation) = (topology.generation, topology.access_generation);
        let mut replaced = std::mem::replace(topology, self.topology);
        // They are set from outside, and may have been since.
        topology.limits = replaced.limits;
        // The generation may have moved without a change; it must not go back.
        topology.generation = topology.generation.max(generation) + 1;
        topology.access_generation = topology.access_generation.max(access_generation);
        replaced.records.clear();
        replaced
    }

    /// Whether others may have to be told of a change, if it changes something.
    fn concerns_others(&self, change: &Change) -> bool {
        match change {
            Change::Bind { vhost, source, .. } => {
                let source = self.topology.vhost(vhost).and_then(|vhost| vhost.exchange(&clean_name(source)));
                source.is_ok_and(|source| source.routing() == ExchangeKind::RecentHistory)
            }
            Change::DeclareExchange { .. }
            | Change::DeleteVhost { .. }
            | Change::DeleteUser { .. }
            | Change::SetPermissions { .. }
            | Change::ClearPermissions { .. }
            | Change::SetTopicPermissions { .. }
            | Change::ClearTopicPermissions { .. } => true,
            Change::CreateVhost { .. }
            | Change::SetVhost { .. }
            | Change::UpdateVhost { .. }
            | Change::DeleteExchange { .. }
            | Change::DeclareQueue { .. }
            | Change::DeleteQueue { .. }
            | Change::PauseQueue { .. }
            | Change::Unbind { .. }
            | Change::SetPolicy { .. }
            | Change::ClearPolicy { .. }
            | Change::SetParameter { .. }
            | Change::ClearParameter { .. }
            | Change::SetGlobalParameter { .. }
            | Change::ClearGlobalParameter { .. }
            | Change::SetUserLimits { .. }
            | Change::CreateDefaults(_)
            | Change::WaiveDefaults
            | Change::SetUser { .. }
            | Change::SetPassword { .. }
            | Change::SetTags { .. } => false,
        }
    }
}
