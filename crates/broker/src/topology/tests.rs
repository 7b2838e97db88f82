//! Rules of the topology.

mod declare;
mod delays;
mod policies;
mod random;
mod remove;
mod route;
mod vhosts;

use super::*;
use crate::clock::Timestamp;
use crate::exchange::ExchangeKind;
use crate::message::Message;
use crate::properties::NoProperties;
use crate::value::{Table, Value};

const ONE: ConnectionId = ConnectionId(1);
const TWO: ConnectionId = ConnectionId(2);

/// What routing looks at in a message without properties.
fn input<'a>(routing_keys: &'a [&'a str], message: &'a Message) -> RoutingInput<'a> {
    RoutingInput { routing_keys, message, properties: &NoProperties, entropy: 0, now: Timestamp(0) }
}

/// A topology with the vhost `/`, and changes with only what a test is about.
struct Bench(Topology);

impl Bench {
    fn new() -> Self {
        let mut topology = Topology::new();
        let applied = topology.apply(Change::CreateVhost { vhost: "/".into() });
        assert_eq!(applied, Ok(Applied::VhostCreated));
        Self(topology)
    }

    /// Applies a change that must succeed, and checks what has to hold after any change.
    fn apply(&mut self, change: Change) -> Applied {
        let applied = self.0.apply(change).unwrap();
        assert_eq!(self.0.invariants(), Ok(()));
        applied
    }

    /// Applies a change that must be refused without a trace; returns the text of the refusal.
    fn refuse(&mut self, change: Change) -> String {
        let generation = self.0.generation();
        let error = self.0.apply(change).unwrap_err();
        assert_eq!(self.0.generation(), generation);
        assert_eq!(self.0.invariants(), Ok(()));
        error.to_string()
    }

    fn vhost(&self) -> &Vhost {
        self.0.vhost("/").unwrap()
    }

    /// Declares a queue and returns its id.
    fn queue(&mut self, name: &str) -> QueueId {
        match self.apply(declare_queue(name)) {
            Applied::QueueDeclared { id } => id,
            other => panic!("{other:?}"),
        }
    }

    fn exchange(&mut self, name: &str, kind: ExchangeKind) {
        assert_eq!(self.apply(declare_exchange(name, kind)), Applied::ExchangeDeclared);
    }

    fn bind(&mut self, source: &str, destination: &Destination, routing_key: &str) {
        assert_eq!(self.apply(bind(source, destination, routing_key)), Applied::Bound);
    }

    fn removed(&mut self, change: Change) -> Removed {
        match self.apply(change) {
            Applied::Deleted(removed) => removed,
            other => panic!("{other:?}"),
        }
    }
}

fn table(values: &[(&str, Value)]) -> Table {
    values.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
}

fn to_queue(name: &str) -> Destination {
    Destination::Queue(name.into())
}

fn to_exchange(name: &str) -> Destination {
    Destination::Exchange(name.into())
}

fn declare_queue(name: &str) -> Change {
    queue_with(name, true, None, false, Table::new())
}

fn queue_with(
    name: &str,
    durable: bool,
    exclusive: Option<ConnectionId>,
    auto_delete: bool,
    arguments: Table,
) -> Change {
    let (vhost, name, origin) = ("/".into(), name.into(), Origin::Client);
    Change::DeclareQueue { vhost, name, durable, exclusive, auto_delete, arguments, origin, id: None }
}

fn declare_exchange(name: &str, kind: ExchangeKind) -> Change {
    exchange_with(name, kind, [true, false, false], Table::new())
}

fn exchange_with(
    name: &str,
    kind: ExchangeKind,
    [durable, auto_delete, internal]: [bool; 3],
    arguments: Table,
) -> Change {
    let (vhost, name, origin) = ("/".into(), name.into(), Origin::Client);
    Change::DeclareExchange { vhost, name, kind, durable, auto_delete, internal, arguments, origin }
}

fn delete_exchange(name: &str) -> Change {
    Change::DeleteExchange { vhost: "/".into(), name: name.into(), if_unused: false }
}

fn delete_queue(name: &str) -> Change {
    Change::DeleteQueue { vhost: "/".into(), name: name.into(), id: None }
}

fn bind(source: &str, destination: &Destination, routing_key: &str) -> Change {
    bind_with(source, destination, routing_key, Table::new())
}

fn bind_with(source: &str, destination: &Destination, routing_key: &str, arguments: Table) -> Change {
    let (vhost, source, routing_key) = ("/".into(), source.into(), routing_key.into());
    Change::Bind { vhost, source, destination: destination.clone(), routing_key, arguments, asking: Some(ONE) }
}

fn unbind(source: &str, destination: &Destination, routing_key: &str) -> Change {
    let (vhost, source, routing_key, arguments) = ("/".into(), source.into(), routing_key.into(), Table::new());
    Change::Unbind { vhost, source, destination: destination.clone(), routing_key, arguments, asking: Some(ONE) }
}
