//! Bindings, the implicit ones of the default exchange included.

use std::sync::Arc;

use leveret_broker::topology::{Binding, Destination, Vhost};
use leveret_broker::value::Table;
use leveret_broker::{Error, Name};

use super::{Row, View};

impl View<'_> {
    /// The bindings of a vhost: first those of the default exchange, which leads to each queue by its name; then the others in the
    /// order of their ends.
    pub fn bindings(self, vhost: &str) -> Result<Vec<Row>, Error> {
        let (vhost, mut queues, mut bindings) = self.node.read(|topology| {
            let vhost = topology.vhost(vhost)?;
            let queues: Vec<Name> = vhost.queues().map(|queue| Name::clone(queue.name())).collect();
            Ok::<_, Error>((Name::clone(vhost.name()), queues, all(vhost)))
        })?;
        queues.sort_unstable();
        bindings.sort_by(|one, two| key(one).cmp(&key(two)));
        let (none, default) = (Table::new(), Name::from(""));
        let implicit = queues.iter().map(|queue| self.binding_row(&vhost, &default, ("queue", queue), queue, &none));
        let explicit = bindings.iter().map(|binding| {
            let destination = end(binding.destination());
            self.binding_row(&vhost, binding.source(), destination, binding.routing_key(), binding.arguments())
        });
        Ok(implicit.chain(explicit).collect())
    }

    fn binding_row(
        self,
        vhost: &Name,
        source: &Name,
        end: (&str, &Name),
        routing_key: &Name,
        arguments: &Table,
    ) -> Row {
        let (kind, destination) = end;
        let mut row = self.row();
        row.add(self.either("source_name", "source"), || source.to_string())
            .add("vhost", || vhost.to_string())
            .add("source_kind", || "exchange")
            .add(self.either("destination_name", "destination"), || destination.to_string())
            .add(self.either("destination_kind", "destination_type"), || kind)
            .add("routing_key", || routing_key.to_string())
            .add("arguments", || self.table(arguments));
        row.row
    }
}

fn all(vhost: &Vhost) -> Vec<Arc<Binding>> {
    vhost.exchanges().flat_map(|exchange| exchange.bindings().map(Arc::clone)).collect()
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
