//! What there is on a node, as rows of JSON.
//!
//! The names of columns and the types of values are RabbitMQ's, so the same rows make the listings of `rabbitmqctl` and the answers
//! of the HTTP API; where those two differ, [`Form`] says which one is meant. What is not known, or does not apply, is null: the
//! tools print that as nothing.

mod bindings;
mod channels;
mod connections;
mod consumers;
mod exchanges;
mod policies;
mod properties_key;
mod queue_fields;
pub(crate) mod queues;
mod stats;
mod tls;
mod users;
mod vhosts;

pub(crate) use self::channels::channel_name;

use std::collections::BTreeSet;
use std::pin::Pin;
use std::task::Context;
use std::thread;
use std::time::{Duration, Instant};

use leveret_broker::Name;
use leveret_broker::node::Node;
use leveret_broker::report::{Answered, Asking};
use leveret_broker::value::{Table, Value};
use serde_json::{Map, Value as Json, json};

pub use bindings::{BindingsOf, ListedBinding};
pub use properties_key::{properties_key, quote};
pub use stats::{StatsOf, message_stats};

use crate::json;
use crate::park;
use crate::pid::Pids;

/// A row: values by the names of their columns.
pub type Row = Map<String, Json>;

/// Which of two forms a row has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As `rabbitmqctl` lists it: tables with the types of their values, definitions as text.
    Listing,
    /// As the HTTP API gives it.
    Api,
}

/// The columns that somebody wants. Others are not even looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Columns {
    /// All there are.
    All,
    /// These.
    Some(BTreeSet<String>),
}

impl Columns {
    /// The columns of these names.
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::Some(names.into_iter().map(str::to_owned).collect())
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Some(names) => names.contains(name),
        }
    }
}

/// Somebody's look at a node.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The node.
    pub node: &'a Node,
    /// How its connections, channels and queues are called.
    pub pids: &'a Pids,
    /// The form of the rows.
    pub form: Form,
    /// What they have.
    pub columns: &'a Columns,
}

impl View<'_> {
    fn row(&self) -> RowBuilder<'_> {
        RowBuilder { columns: self.columns, row: Row::new() }
    }

    fn table(&self, table: &Table) -> Json {
        match self.form {
            Form::Listing => json::typed_table(table),
            Form::Api => Json::Object(json::table(table)),
        }
    }

    /// A definition, which listings give as the text of its JSON.
    fn definition(&self, definition: &Table) -> Json {
        self.as_text(Json::Object(json::table(definition)))
    }

    fn parameter(&self, value: &Value) -> Json {
        self.as_text(json::value(value))
    }

    fn as_text(&self, json: Json) -> Json {
        match self.form {
            Form::Listing => json!(json::in_order(json).to_string()),
            Form::Api => json,
        }
    }

    /// The name that a column has in the form at hand.
    const fn either(&self, listing: &'static str, api: &'static str) -> &'static str {
        match self.form {
            Form::Listing => listing,
            Form::Api => api,
        }
    }
}

struct RowBuilder<'a> {
    columns: &'a Columns,
    row: Row,
}

impl RowBuilder<'_> {
    /// Adds a column, if somebody wants it.
    fn add<T: Into<Json>>(&mut self, name: &str, value: impl FnOnce() -> T) -> &mut Self {
        if self.columns.has(name) {
            self.row.insert(name.to_owned(), value().into());
        }
        self
    }

    /// Adds a name, or null.
    fn name(&mut self, name: &str, value: Option<&Name>) -> &mut Self {
        self.add(name, || value.map(ToString::to_string))
    }
}

/// Waits for the answers of connections, but not longer than so; then takes those there are.
pub fn gather(mut asking: Asking, wait: Duration) -> Vec<Answered> {
    let until = Instant::now() + wait;
    let waker = park::waker();
    let mut context = Context::from_waker(&waker);
    while Pin::new(&mut asking).poll(&mut context).is_pending() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        thread::park_timeout(left);
    }
    asking.end()
}

#[cfg(test)]
mod tests;
