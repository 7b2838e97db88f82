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
use leveret_broker::clock::Timestamp;
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

/// A moment as the HTTP API writes it.
fn time(moment: Timestamp) -> String {
    let (second, ms) = (moment.0 / 1000, moment.0 % 1000);
    let (year, month, day) = date(second / 86_400);
    let (hour, minute, second) = (second / 3600 % 24, second / 60 % 60, second % 60);
    format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}+00:00")
}

/// The date so many days after 1970-01-01, in years that begin in March: then the day that may be missing comes last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    (era * 400 + year, month, day)
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
