//! Exchanges, queues and bindings.

use leveret_broker::exchange::ExchangeKind;
use leveret_broker::topology::{Change, Destination, Origin, Vhost, clean_name};
use leveret_broker::value::{Table, Value};
use leveret_broker::{Error, Name};

use super::{Planner, Shown, Stop, refused, same};
use crate::definitions::report::Kind;
use crate::definitions::sections::{At, Binding, Exchange, Queue};
use crate::json;

/// The argument that says what a queue is made of.
const QUEUE_TYPE: &str = "x-queue-type";

impl Planner<'_, '_> {
    pub(super) fn exchange(&mut self, at: At, item: &Exchange) -> Result<(), Stop> {
        let vhost = self.place(at, &item.vhost)?;
        let what = || format!("exchange '{}' in vhost '{vhost}'", item.name);
        let kind = match ExchangeKind::parse(&item.kind) {
            Ok(kind) => kind,
            // Types of plug-ins all begin like that.
            Err(_) if item.kind.starts_with("x-") => {
                let warning = format!("{} is left out: there are no exchanges of type {} here", what(), item.kind);
                self.report.left_out(Kind::Exchanges, warning);
                return Ok(());
            }
            Err(error) => return Err(refused(at, &error)),
        };
        let Exchange { durable, auto_delete, internal, .. } = *item;
        if let Ok(existing) = self.in_vhost(at, &vhost)?.exchange(&clean_name(&item.name)) {
            let flags = (existing.kind(), existing.durable(), existing.auto_delete(), existing.internal());
            if flags == (kind, durable, auto_delete, internal) && same(existing.arguments(), &item.arguments) {
                self.report.unchanged(Kind::Exchanges);
            } else {
                self.report.kept(Kind::Exchanges, stays(&what()));
            }
            return Ok(());
        }
        let (name, arguments) = (Name::clone(&item.name), item.arguments.clone());
        let (to, origin) = (Name::clone(&vhost), Origin::Broker);
        let change =
            Change::DeclareExchange { vhost: to, name, kind, durable, auto_delete, internal, arguments, origin };
        self.apply(at, change)?;
        self.report.created(Kind::Exchanges, what);
        Ok(())
    }

    pub(super) fn queue(&mut self, at: At, item: &Queue) -> Result<(), Stop> {
        let vhost = self.place(at, &item.vhost)?;
        let what = || format!("queue '{}' in vhost '{vhost}'", item.name);
        if item.arguments.get(QUEUE_TYPE).and_then(Value::as_str) == Some("stream") {
            self.report.left_out(Kind::Queues, format!("{} is left out: streams are not there yet", what()));
            return Ok(());
        }
        if let Ok(existing) = self.in_vhost(at, &vhost)?.any_queue(&clean_name(&item.name)) {
            let flags = (existing.exclusive().is_some(), existing.durable(), existing.auto_delete());
            let is_same = flags == (false, item.durable, item.auto_delete)
                && same(&without_default(existing.arguments()), &without_default(&item.arguments));
            if is_same {
                self.report.unchanged(Kind::Queues);
            } else {
                self.report.kept(Kind::Queues, stays(&what()));
            }
            return Ok(());
        }
        let (to, name, arguments) = (Name::clone(&vhost), Name::clone(&item.name), item.arguments.clone());
        let Queue { durable, auto_delete, .. } = *item;
        // Names that the broker gave to queues are in definitions, too.
        let (exclusive, origin, id) = (None, Origin::Broker, None);
        self.apply(
            at,
            Change::DeclareQueue { vhost: to, name, durable, exclusive, auto_delete, arguments, origin, id },
        )?;
        self.report.created(Kind::Queues, what);
        Ok(())
    }

    pub(super) fn binding(&mut self, at: At, item: &Binding) -> Result<(), Stop> {
        let vhost = self.place(at, &item.vhost)?;
        let what = || {
            let (kind, to) = match &item.destination {
                Destination::Queue(name) => ("queue", name),
                Destination::Exchange(name) => ("exchange", name),
            };
            let arguments = if item.arguments.is_empty() {
                String::new()
            } else {
                format!(" and arguments {}", json::value(&Value::Table(item.arguments.clone())))
            };
            let Binding { source, routing_key: key, .. } = item;
            format!("binding from exchange '{source}' to {kind} '{to}' with key '{key}'{arguments} in vhost '{vhost}'")
        };
        if item.source.is_empty() {
            self.report.left_out(Kind::Bindings, format!("{} is left out: it is always there", what()));
            return Ok(());
        }
        let in_vhost = self.in_vhost(at, &vhost)?;
        // What was left out, or what `rabbitmqctl` does not export, as it does not export internal exchanges.
        let source = in_vhost.exchange(&clean_name(&item.source)).err();
        let missing = source.or_else(|| match &item.destination {
            Destination::Queue(name) => in_vhost.any_queue(&clean_name(name)).err(),
            Destination::Exchange(name) => in_vhost.exchange(&clean_name(name)).err(),
        });
        if let Some(missing) = missing {
            self.report.left_out(Kind::Bindings, format!("{} is left out: there is {missing}", what()));
            return Ok(());
        }
        if self.has_equivalent(&vhost, item) {
            self.report.unchanged(Kind::Bindings);
            return Ok(());
        }
        let change = Change::Bind {
            vhost: Name::clone(&vhost),
            source: Name::clone(&item.source),
            destination: item.destination.clone(),
            routing_key: Name::clone(&item.routing_key),
            arguments: item.arguments.clone(),
            asking: None,
        };
        match self.draft.apply(change) {
            Ok(applied) if applied.is_news() => self.report.created(Kind::Bindings, what),
            Ok(_) => self.report.unchanged(Kind::Bindings),
            Err(error @ Error::NotFound { .. }) => return Err(refused(at, &error)),
            Err(error) => {
                let Stop::Wrong(text) = refused(at, &error) else { return Err(Stop::Asked) };
                return Err(Stop::Wrong(format!("{text} ({})", what())));
            }
        }
        Ok(())
    }

    /// Whether there is a binding whose arguments differ in nothing that JSON shows. A client may have made it with numbers of
    /// another width, and it would be there twice.
    fn has_equivalent(&mut self, vhost: &Name, item: &Binding) -> bool {
        if item.arguments.iter().all(|(_, value)| matches!(value, Value::LongStr(_) | Value::Bool(_) | Value::Void)) {
            return false;
        }
        let key = (Name::clone(vhost), item.destination.clone());
        let topology = self.draft.topology();
        let known = self.bindings.entry(key).or_insert_with(|| {
            topology.vhost(vhost).map(|vhost| leading_to(vhost, &item.destination)).unwrap_or_default()
        });
        !known.insert((Name::clone(&item.source), Name::clone(&item.routing_key), shown(&item.arguments)))
    }
}

/// The bindings that lead somewhere, as JSON shows them.
fn leading_to(vhost: &Vhost, destination: &Destination) -> Shown {
    let shown = |binding: &leveret_broker::topology::Binding| {
        (Name::clone(binding.source()), Name::clone(binding.routing_key()), shown(binding.arguments()))
    };
    match destination {
        Destination::Queue(name) => {
            let queue = vhost.any_queue(&clean_name(name));
            queue.map(|queue| queue.bindings().map(|binding| shown(binding)).collect()).unwrap_or_default()
        }
        Destination::Exchange(name) => {
            let exchange = vhost.exchange(&clean_name(name));
            exchange
                .map(|exchange| exchange.inbound_bindings().map(|binding| shown(binding)).collect())
                .unwrap_or_default()
        }
    }
}

fn shown(arguments: &Table) -> String {
    let mut arguments = arguments.clone();
    arguments.sort();
    json::value(&Value::Table(arguments)).to_string()
}

/// Arguments without the type that queues have anyway.
fn without_default(arguments: &Table) -> Table {
    let is_default = |name: &str, value: &Value| name == QUEUE_TYPE && value.as_str() == Some("classic");
    arguments.iter().filter(|(name, value)| !is_default(name, value)).cloned().collect()
}

fn stays(what: &str) -> String {
    format!("{what} is there with other properties and stays as it is")
}
