//! What happens on a node, for whoever wants to hear of it: what is declared and deleted, who comes and goes.
//!
//! Names and facts are those of RabbitMQ's events. As long as nobody listens, nothing is put together: whoever has something to tell
//! asks [`Bus::is_heard`] first, which is a load.

mod changes;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use crate::Name;
use crate::clock::Timestamp;
use crate::topology::ConnectionId;
use crate::value::{Table, Value};

pub(crate) use changes::{Before, Order, Telling};

/// Who does what nobody asked for.
pub const INTERNAL: &str = "rmq-internal";
/// Who does what is done by the command line tools.
pub const TOOLS: &str = "rmq-cli";

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What, such as `queue.created`.
    pub name: &'static str,
    /// When.
    pub time: Timestamp,
    /// What there is to say of it, in RabbitMQ's order and under its names.
    pub facts: Facts,
}

/// What there is to say of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts(Vec<(Name, Fact)>);

/// Something that there is to say of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A value.
    Value(Value),
    /// Arguments or the like, whose types are of interest.
    Arguments(Table),
    /// A connection.
    Connection(ConnectionId),
    /// A channel of a connection.
    Channel(ConnectionId, u16),
}

/// Somebody who listens. It is called with locks held, so it only takes the event, and neither waits nor asks the node.
pub trait Listener: fmt::Debug + Send + Sync {
    /// Something happened.
    fn hear(&self, event: &Arc<Event>);
}

/// Who listens to a node.
#[derive(Debug, Default)]
pub struct Bus {
    is_heard: AtomicBool,
    listeners: RwLock<Vec<Arc<dyn Listener>>>,
}

impl Facts {
    /// None yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// With one more.
    #[must_use]
    pub fn with(mut self, name: &str, fact: Fact) -> Self {
        self.0.push((name.into(), fact));
        self
    }

    /// With one more, which is text.
    #[must_use]
    pub fn text(self, name: &str, text: &str) -> Self {
        self.with(name, Fact::Value(Value::text(text)))
    }

    /// With one more, which is true or false.
    #[must_use]
    pub fn flag(self, name: &str, flag: bool) -> Self {
        self.with(name, Fact::Value(Value::Bool(flag)))
    }

    /// With one more, which is a number.
    #[must_use]
    pub fn number(self, name: &str, number: i64) -> Self {
        self.with(name, Fact::Value(Value::I64(number)))
    }

    /// With arguments.
    #[must_use]
    pub fn arguments(self, name: &str, arguments: &Table) -> Self {
        self.with(name, Fact::Arguments(arguments.clone()))
    }

    /// With all values of a table.
    #[must_use]
    pub fn all(mut self, table: &Table) -> Self {
        self.0.extend(table.iter().map(|(name, value)| (Name::clone(name), Fact::Value(wide(value)))));
        self
    }

    /// Those there are.
    pub fn iter(&self) -> impl Iterator<Item = &(Name, Fact)> {
        self.0.iter()
    }
}

impl Bus {
    /// Whether somebody listens.
    #[inline]
    pub fn is_heard(&self) -> bool {
        self.is_heard.load(Ordering::Relaxed)
    }

    /// Has somebody listen from now on.
    pub fn add(&self, listener: Arc<dyn Listener>) {
        let mut listeners = self.listeners.write();
        listeners.push(listener);
        self.is_heard.store(true, Ordering::Relaxed);
    }

    /// Has somebody listen no more. When this returns, nothing more comes.
    pub fn remove(&self, listener: &Arc<dyn Listener>) {
        let mut listeners = self.listeners.write();
        listeners.retain(|other| !Arc::ptr_eq(other, listener));
        self.is_heard.store(!listeners.is_empty(), Ordering::Relaxed);
    }

    /// Tells all who listen.
    pub fn tell(&self, name: &'static str, time: Timestamp, facts: Facts) {
        let event = Arc::new(Event { name, time, facts });
        self.listeners.read().iter().for_each(|listener| listener.hear(&event));
    }
}

/// A value with its whole numbers as wide as JSON's are in RabbitMQ's events.
fn wide(value: &Value) -> Value {
    match value {
        Value::Table(table) => {
            Value::Table(table.iter().map(|(name, value)| (Name::clone(name), wide(value))).collect())
        }
        Value::Array(values) => Value::Array(values.iter().map(wide).collect()),
        Value::Timestamp(_) => value.clone(),
        _ => match value.as_integer().map(i64::try_from) {
            Some(Ok(number)) => Value::I64(number),
            Some(Err(_)) | None => value.clone(),
        },
    }
}

impl Table {
    /// Its fields as Erlang terms, each of which is a text: what RabbitMQ makes of arguments where it tells of them.
    pub fn as_terms(&self) -> Vec<Value> {
        let term = |(name, value): &(Name, Value)| {
            let (kind, term) = (value.type_name(), crate::value::Term(value));
            Value::text(&format!("{{<<\"{name}\">>,{kind},{term}}}"))
        };
        self.iter().map(term).collect()
    }
}

#[cfg(test)]
mod tests;
