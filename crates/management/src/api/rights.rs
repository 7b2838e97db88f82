//! What a user needs to do over HTTP what clients do over AMQP: the same permissions, asked for in the same order.

use leveret_broker::access::{Permission, Question};
use leveret_broker::error::Resource;
use leveret_broker::exchange::ExchangeKind;
use leveret_broker::topology::{ConnectionId, Destination};
use leveret_broker::value::Table;
use leveret_broker::{Error, Name};

use super::Ask;

/// Who asks where a connection would: none has this id.
pub(super) const NOBODY: ConnectionId = ConnectionId(0);

/// What the permissions are for: a user, in a vhost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rights<'a, 'b> {
    ask: &'a Ask<'b>,
    vhost: &'a Name,
}

impl<'a, 'b> Rights<'a, 'b> {
    /// Those of whoever asks.
    pub(super) const fn of(ask: &'a Ask<'b>, vhost: &'a Name) -> Self {
        Self { ask, vhost }
    }

    /// To do something with a queue.
    pub(super) fn queue(self, name: &str, permission: Permission) -> Result<(), Error> {
        self.ask.permit(Question::Resource { resource: Resource::queue(self.vhost, name), permission })
    }

    /// To do something with an exchange.
    pub(super) fn exchange(self, name: &str, permission: Permission) -> Result<(), Error> {
        self.ask.permit(Question::Resource { resource: Resource::exchange(self.vhost, name), permission })
    }

    /// To publish to a topic exchange with a key, or to bind to it.
    fn topic(self, exchange: &str, routing_key: &str, permission: Permission) -> Result<(), Error> {
        let (exchange, routing_key) = (Resource::exchange(self.vhost, exchange), routing_key.into());
        self.ask.permit(Question::Topic { exchange, routing_key, permission })
    }

    /// To declare a queue. One that dead-letters reads from it and writes to where the dead go.
    pub(super) fn declare_queue(self, name: &str, arguments: &Table) -> Result<(), Error> {
        let exists =
            self.ask.node().read(|topology| Ok::<_, Error>(topology.vhost(self.vhost)?.any_queue(name).is_ok()))?;
        let dead_letters_to = arguments.get("x-dead-letter-exchange");
        let dead_letter_exchange = dead_letters_to.and_then(|value| value.as_str());
        let is_reserved = name.starts_with("amq.") && !exists;
        // What is wrong with these is said by the broker.
        if is_reserved || dead_letters_to.is_some() != dead_letter_exchange.is_some() {
            return Ok(());
        }
        self.queue(name, Permission::Configure)?;
        if let Some(exchange) = dead_letter_exchange.filter(|_| !exists) {
            self.queue(name, Permission::Read)?;
            self.exchange(exchange, Permission::Write)?;
        }
        Ok(())
    }

    /// To declare an exchange. One with an alternate reads from it and writes to that.
    pub(super) fn declare_exchange(self, name: &str, arguments: &Table) -> Result<(), Error> {
        self.exchange(name, Permission::Configure)?;
        let exists =
            self.ask.node().read(|topology| Ok::<_, Error>(topology.vhost(self.vhost)?.exchange(name).is_ok()))?;
        let alternate = arguments.get("alternate-exchange").and_then(|value| value.as_str());
        if let Some(alternate) = alternate.filter(|_| !exists) {
            self.exchange(name, Permission::Read)?;
            self.exchange(alternate, Permission::Write)?;
        }
        Ok(())
    }

    /// To bind or to unbind: to write to what the binding leads to, and to read from where it comes from.
    pub(super) fn bind(self, source: &str, destination: &Destination, routing_key: &str) -> Result<(), Error> {
        let is_to_default = match destination {
            Destination::Queue(name) => {
                self.queue(name, Permission::Write)?;
                false
            }
            Destination::Exchange(name) => {
                self.exchange(name, Permission::Write)?;
                name.is_empty()
            }
        };
        if source.is_empty() || is_to_default {
            return Ok(());
        }
        self.exchange(source, Permission::Read)?;
        if self.is_topic(source) { self.topic(source, routing_key, Permission::Read) } else { Ok(()) }
    }

    /// To publish to an exchange, with any keys.
    pub(super) fn publish(self, exchange: &str) -> Result<(), Error> {
        self.exchange(exchange, Permission::Write)
    }

    /// To publish with these keys, which matters for topic exchanges.
    pub(super) fn publish_with(self, exchange: &str, mut keys: impl Iterator<Item = &'a str>) -> Result<(), Error> {
        if !self.is_topic(exchange) {
            return Ok(());
        }
        keys.try_for_each(|key| self.topic(exchange, key, Permission::Write))
    }

    fn is_topic(self, exchange: &str) -> bool {
        self.ask.node().read(|topology| {
            let exchange = topology.vhost(self.vhost).and_then(|vhost| vhost.exchange(exchange));
            exchange.is_ok_and(|exchange| exchange.kind() == ExchangeKind::Topic)
        })
    }
}
