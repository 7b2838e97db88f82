//! One vhost: what is declared in it, and declaring more.

use std::sync::Arc;

use super::name::{clean, is_reserved};
use super::parameters::Parameters;
use super::policy::{Policies, Reconfigured, Subject};
use super::{
    Applied, Binding, ConnectionId, Destination, Origin, QueueId, QueueRecord, Record, Target, VhostLimits,
    VhostMetadata, arguments, equivalence,
};
use crate::Name;
use crate::error::{Error, Resource, ResourceKind};
use crate::exchange::{Declaration, Exchange, ExchangeKind};
use crate::firehose;
use crate::hash::{Map, Set};
use crate::stats::VhostCounters;
use crate::value::Table;

/// The exchanges every vhost has from its beginning; all of them are durable.
const PREDECLARED: &[(&str, ExchangeKind)] = &[
    ("", ExchangeKind::Direct),
    ("amq.direct", ExchangeKind::Direct),
    ("amq.fanout", ExchangeKind::Fanout),
    ("amq.topic", ExchangeKind::Topic),
    ("amq.headers", ExchangeKind::Headers),
    ("amq.match", ExchangeKind::Headers),
    (firehose::EXCHANGE, ExchangeKind::Topic),
];

/// One vhost: names in it mean nothing outside of it.
#[derive(Clone, Debug)]
pub struct Vhost {
    pub(super) name: Name,
    pub(super) exchanges: Map<Name, Exchange>,
    pub(super) queues: Map<Name, QueueRecord>,
    /// The exclusive queues of each connection, so that its end does not search them.
    pub(super) owned: Map<ConnectionId, Set<Name>>,
    pub(super) policies: Policies,
    pub(super) parameters: Parameters,
    /// What the parameter of that name says.
    pub(super) limits: VhostLimits,
    pub(super) metadata: VhostMetadata,
    /// What its connections left behind.
    pub(super) counters: Arc<VhostCounters>,
    /// What the change at hand did to durable things.
    pub(super) records: Vec<Record>,
}

/// The ends, key and arguments of a binding that is to be made or removed.
#[derive(Clone, Debug)]
pub(super) struct BindingRequest {
    pub(super) source: Name,
    pub(super) destination: Destination,
    pub(super) routing_key: Name,
    pub(super) arguments: Table,
    pub(super) asking: Option<ConnectionId>,
}

impl Vhost {
    /// The exchange of that name.
    pub fn exchange(&self, name: &str) -> Result<&Exchange, Error> {
        self.exchanges.get(name).ok_or_else(|| Error::NotFound { resource: Resource::exchange(&self.name, name) })
    }

    /// The queue of that name, unless it belongs to another connection than the one that asks.
    pub fn queue(&self, name: &str, asking: ConnectionId) -> Result<&QueueRecord, Error> {
        let queue = self.any_queue(name)?;
        self.check_lock(queue, Some(asking))?;
        Ok(queue)
    }

    /// The queue of that name, whomever it belongs to.
    pub fn any_queue(&self, name: &str) -> Result<&QueueRecord, Error> {
        self.queues.get(name).ok_or_else(|| Error::NotFound { resource: Resource::queue(&self.name, name) })
    }

    /// Its name.
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Where it keeps what its connections leave behind.
    pub(crate) const fn counters(&self) -> &Arc<VhostCounters> {
        &self.counters
    }

    /// All exchanges, in no particular order.
    pub fn exchanges(&self) -> impl Iterator<Item = &Exchange> {
        self.exchanges.values()
    }

    /// All queues, in no particular order.
    pub fn queues(&self) -> impl Iterator<Item = &QueueRecord> {
        self.queues.values()
    }

    /// How many queues there are.
    pub fn queue_count(&self) -> usize {
        self.queues.len()
    }

    /// The exclusive queues of a connection, in no particular order.
    pub fn queues_owned_by(&self, connection: ConnectionId) -> impl Iterator<Item = &QueueRecord> {
        self.owned.get(&connection).into_iter().flatten().filter_map(|name| self.queues.get(name))
    }

    pub(super) fn new(name: Name) -> Self {
        let exchanges = PREDECLARED.iter().map(|(name, kind)| {
            let name = Name::from(*name);
            let exchange = Exchange::new(Declaration {
                name: Name::clone(&name),
                kind: *kind,
                durable: true,
                auto_delete: false,
                // What the firehose publishes to, and nobody else.
                internal: &*name == firehose::EXCHANGE,
                arguments: Table::new(),
            });
            (name, exchange)
        });
        Self {
            name,
            exchanges: exchanges.collect(),
            queues: Map::default(),
            owned: Map::default(),
            policies: Policies::default(),
            parameters: Parameters::default(),
            limits: VhostLimits::default(),
            metadata: VhostMetadata::default(),
            counters: Arc::default(),
            records: Vec::new(),
        }
    }

    /// Whether every vhost has the exchange from its beginning.
    pub(super) fn is_predeclared(exchange: &str) -> bool {
        PREDECLARED.iter().any(|(name, _)| *name == exchange)
    }

    pub(super) fn declare_exchange(&mut self, mut declared: Declaration, origin: Origin) -> Result<Applied, Error> {
        declared.name = clean(declared.name);
        check_not_default(&declared.name)?;
        if let Some(existing) = self.exchanges.get(&declared.name) {
            equivalence::check_exchange(&self.name, existing, &declared)?;
            return Ok(Applied::Unchanged);
        }
        check_not_reserved(ResourceKind::Exchange, &declared.name, origin)?;
        arguments::check_exchange(&self.name, &declared)?;
        let mut exchange = Exchange::new(declared);
        exchange.set_policies(self.policies.matching(Subject::Exchange, exchange.name()));
        if exchange.durable() {
            self.records.push(self.exchange_record(&exchange));
        }
        self.exchanges.insert(Name::clone(exchange.name()), exchange);
        Ok(Applied::ExchangeDeclared)
    }

    /// The declared record carries the id it gets if it is new.
    pub(super) fn declare_queue(&mut self, mut declared: QueueRecord, origin: Origin) -> Result<Applied, Error> {
        declared.name = clean(declared.name);
        // A queue nobody else can use cannot outlive its connection, whatever the declaration says.
        declared.durable &= declared.exclusive.is_none();
        if let Some(existing) = self.queues.get(&declared.name) {
            equivalence::check_queue(&self.name, existing, &declared)?;
            return Ok(Applied::QueueExists { id: existing.id });
        }
        if declared.name.is_empty() {
            // Names are generated before this point, where there is entropy.
            return Err(Error::NotFound { resource: Resource::queue(&self.name, &declared.name) });
        }
        check_not_reserved(ResourceKind::Queue, &declared.name, origin)?;
        arguments::check_queue(&self.name, &declared.name, &declared.arguments)?;
        arguments::check_properties(&self.name, &declared)?;
        declared.policies = self.policies.matching(Subject::Queue(declared.kind()), &declared.name);
        let id = declared.id;
        if let Some(owner) = declared.exclusive {
            self.owned.entry(owner).or_default().insert(Name::clone(&declared.name));
        }
        if declared.durable {
            self.records.push(self.queue_record(&declared));
        }
        self.queues.insert(Name::clone(&declared.name), declared);
        Ok(Applied::QueueDeclared { id })
    }

    pub(super) fn pause_queue(&mut self, name: &str, paused: bool) -> Result<Applied, Error> {
        let Some(queue) = self.queues.get_mut(name) else {
            return Err(Error::NotFound { resource: Resource::queue(&self.name, name) });
        };
        if queue.paused == paused {
            return Ok(Applied::Unchanged);
        }
        queue.paused = paused;
        let reconfigured = Reconfigured { queues: vec![(queue.id, queue.settings())], routes: false };
        if queue.durable {
            let (vhost, name) = (Name::clone(&self.name), Name::clone(&queue.name));
            self.records.push(Record::QueuePaused { vhost, name, paused });
        }
        Ok(Applied::Reconfigured(reconfigured))
    }

    pub(super) fn bind(&mut self, request: BindingRequest) -> Result<Applied, Error> {
        let request = request.checked()?;
        let source = self.exchange(&request.source)?;
        let target = self.target(&request.destination)?;
        let queue_type = match &request.destination {
            Destination::Queue(name) => self.queues.get(name).map(|queue| arguments::queue_type(&queue.arguments)),
            Destination::Exchange(_) => None,
        };
        source.routing().check_binding(&request.routing_key, &request.arguments, queue_type)?;
        self.check_destination_lock(&request.destination, request.asking)?;
        let BindingRequest { source, destination, routing_key, arguments, .. } = request;
        let binding = Arc::new(Binding::new(source, destination, routing_key, arguments, target));
        let is_new =
            self.exchanges.get_mut(binding.source()).is_some_and(|source| source.add_outbound(Arc::clone(&binding)));
        if !is_new {
            return Ok(Applied::Unchanged);
        }
        if let Some(inbound) = self.inbound_mut(binding.destination()) {
            inbound.insert(Arc::clone(&binding));
        }
        if self.is_durable(&binding) {
            self.records.push(Record::Bound(self.binding_record(&binding)));
        }
        Ok(Applied::Bound)
    }

    /// What bindings to the destination lead to.
    pub(super) fn target(&self, destination: &Destination) -> Result<Target, Error> {
        match destination {
            Destination::Queue(name) => self.any_queue(name).map(|queue| Target::Queue(queue.id)),
            Destination::Exchange(name) => {
                self.exchange(name).map(|exchange| Target::Exchange(Name::clone(exchange.name())))
            }
        }
    }

    /// The bindings that lead to the destination.
    pub(super) fn inbound_mut(&mut self, destination: &Destination) -> Option<&mut Set<Arc<Binding>>> {
        match destination {
            Destination::Queue(name) => self.queues.get_mut(name).map(|queue| &mut queue.inbound),
            Destination::Exchange(name) => self.exchanges.get_mut(name).map(Exchange::inbound_mut),
        }
    }

    /// Refuses a binding to the exclusive queue of another connection.
    pub(super) fn check_destination_lock(
        &self,
        destination: &Destination,
        asking: Option<ConnectionId>,
    ) -> Result<(), Error> {
        match destination {
            Destination::Queue(name) => self.check_lock(self.any_queue(name)?, asking),
            Destination::Exchange(_) => Ok(()),
        }
    }

    fn check_lock(&self, queue: &QueueRecord, asking: Option<ConnectionId>) -> Result<(), Error> {
        match (queue.exclusive, asking) {
            (Some(owner), Some(asking)) if owner != asking => {
                Err(Error::Locked { queue: Resource::queue(&self.name, &queue.name) })
            }
            _ => Ok(()),
        }
    }
}

impl BindingRequest {
    /// The request with clean names; the default exchange is bound implicitly and only so.
    pub(super) fn checked(mut self) -> Result<Self, Error> {
        self.source = clean(self.source);
        check_not_default(&self.source)?;
        self.destination = match self.destination {
            Destination::Queue(name) => Destination::Queue(clean(name)),
            Destination::Exchange(name) => {
                let name = clean(name);
                check_not_default(&name)?;
                Destination::Exchange(name)
            }
        };
        Ok(self)
    }
}

impl QueueRecord {
    /// A queue without bindings.
    pub(super) fn new(id: QueueId, name: Name, durable: bool, exclusive: Option<ConnectionId>) -> Self {
        let inbound = Set::default();
        let (auto_delete, arguments, policies) = (false, Table::new(), None);
        Self { id, name, durable, exclusive, auto_delete, arguments, paused: false, policies, inbound }
    }
}

/// Refuses what may not be done with the default exchange.
pub(super) fn check_not_default(name: &Name) -> Result<(), Error> {
    if name.is_empty() { Err(Error::DefaultExchange) } else { Ok(()) }
}

fn check_not_reserved(kind: ResourceKind, name: &Name, origin: Origin) -> Result<(), Error> {
    match origin {
        Origin::Client if is_reserved(name) => Err(Error::ReservedPrefix { kind, name: Name::clone(name) }),
        Origin::Client | Origin::Broker => Ok(()),
    }
}
