//! Bindings, the implicit ones of the default exchange included.

use std::sync::Arc;

use leveret_broker::topology::{Binding, Destination, Vhost};
use leveret_broker::value::Table;
use leveret_broker::{Error, Name};

use super::properties_key::properties_key;
use super::{Form, Row, View};

/// A binding as it was when it was looked up.
#[derive(Debug, Clone)]
pub enum ListedBinding {
    /// From the default exchange to a queue of that name.
    Default {
        /// The vhost.
        vhost: Name,
        /// The queue, which is also the routing key.
        queue: Name,
    },
    /// One that somebody made.
    Made {
        /// The vhost.
        vhost: Name,
        /// The binding.
        binding: Arc<Binding>,
    },
}

/// Which bindings of a vhost are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BindingsOf<'a> {
    /// All there are.
    Vhost,
    /// Those from an exchange.
    Source(&'a str),
    /// Those to a queue or an exchange.
    Destination(&'a Destination),
    /// Those from an exchange to a queue or an exchange.
    Ends(&'a str, &'a Destination),
}

impl ListedBinding {
    /// The exchange that it comes from.
    pub fn source(&self) -> &str {
        match self {
            Self::Default { .. } => "",
            Self::Made { binding, .. } => binding.source(),
        }
    }

    /// Its routing key.
    pub fn routing_key(&self) -> &Name {
        match self {
            Self::Default { queue, .. } => queue,
            Self::Made { binding, .. } => binding.routing_key(),
        }
    }

    /// Its arguments.
    pub fn arguments(&self) -> Table {
        match self {
            Self::Default { .. } => Table::new(),
            Self::Made { binding, .. } => binding.arguments().clone(),
        }
    }

    /// What paths call it among those of the same ends.
    pub fn properties_key(&self) -> String {
        properties_key(self.routing_key(), &self.arguments())
    }
}

impl View<'_> {
    /// The bindings of a vhost: first those of the default exchange, which leads to each queue by its name; then the others in the
    /// order of their ends.
    pub fn bindings(self, vhost: &str) -> Result<impl Iterator<Item = Row>, Error> {
        Ok(self.list_bindings(vhost, BindingsOf::Vhost)?.into_iter().map(move |binding| self.binding(&binding)))
    }

    /// Looks up some of them, in the same order.
    pub fn list_bindings(self, vhost: &str, of: BindingsOf<'_>) -> Result<Vec<ListedBinding>, Error> {
        let (vhost, mut queues, mut bindings) = self.node.read(|topology| {
            let vhost = topology.vhost(vhost)?;
            Ok::<_, Error>((Name::clone(vhost.name()), default(vhost, of), made(vhost, of)))
        })?;
        queues.sort_unstable();
        bindings.sort_by(|one, two| key(one).cmp(&key(two)));
        let default = queues.into_iter().map(|queue| ListedBinding::Default { vhost: Name::clone(&vhost), queue });
        let made = bindings.into_iter().map(|binding| ListedBinding::Made { vhost: Name::clone(&vhost), binding });
        Ok(default.chain(made).collect())
    }

    /// A binding that was looked up.
    pub fn binding(self, binding: &ListedBinding) -> Row {
        let (vhost, (kind, destination)) = match binding {
            ListedBinding::Default { vhost, queue } => (vhost, ("queue", queue)),
            ListedBinding::Made { vhost, binding } => (vhost, end(binding.destination())),
        };
        let mut row = self.row();
        row.add(self.either("source_name", "source"), || binding.source())
            .add("vhost", || vhost.to_string())
            .add(self.either("destination_name", "destination"), || destination.to_string())
            .add(self.either("destination_kind", "destination_type"), || kind)
            .add("routing_key", || binding.routing_key().to_string())
            .add("arguments", || self.table(&binding.arguments()));
        match self.form {
            Form::Listing => row.add("source_kind", || "exchange"),
            Form::Api => row.add("properties_key", || binding.properties_key()),
        };
        row.row
    }
}

/// The queues to which the default exchange leads, as far as those bindings are meant.
fn default(vhost: &Vhost, of: BindingsOf<'_>) -> Vec<Name> {
    let one = match of {
        BindingsOf::Vhost | BindingsOf::Source("") => None,
        BindingsOf::Destination(Destination::Queue(name)) | BindingsOf::Ends("", Destination::Queue(name)) => {
            Some(name)
        }
        BindingsOf::Source(_) | BindingsOf::Destination(_) | BindingsOf::Ends(..) => return Vec::new(),
    };
    match one {
        None => vhost.queues().map(|queue| Name::clone(queue.name())).collect(),
        Some(name) => vhost.any_queue(name).iter().map(|queue| Name::clone(queue.name())).collect(),
    }
}

/// The bindings that somebody made, as far as they are meant.
fn made(vhost: &Vhost, of: BindingsOf<'_>) -> Vec<Arc<Binding>> {
    let from = |source: &str| {
        let source = vhost.exchange(source).ok();
        source.into_iter().flat_map(|exchange| exchange.bindings().map(Arc::clone))
    };
    match of {
        BindingsOf::Vhost => vhost.exchanges().flat_map(|exchange| exchange.bindings().map(Arc::clone)).collect(),
        BindingsOf::Source(source) => from(source).collect(),
        BindingsOf::Destination(Destination::Queue(name)) => {
            vhost.any_queue(name).iter().flat_map(|queue| queue.bindings().map(Arc::clone)).collect()
        }
        BindingsOf::Destination(Destination::Exchange(name)) => {
            vhost.exchange(name).iter().flat_map(|exchange| exchange.inbound_bindings().map(Arc::clone)).collect()
        }
        BindingsOf::Ends(source, destination) => {
            from(source).filter(|binding| binding.destination() == destination).collect()
        }
    }
}

fn end(destination: &Destination) -> (&'static str, &Name) {
    match destination {
        Destination::Queue(name) => ("queue", name),
        Destination::Exchange(name) => ("exchange", name),
    }
}

fn key(binding: &Binding) -> (&Name, &Name, &'static str, &Name) {
    let (kind, destination) = end(binding.destination());
    (binding.source(), destination, kind, binding.routing_key())
}
