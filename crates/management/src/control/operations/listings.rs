//! What there is, in rows.

use std::time::Duration;

use leveret_broker::Error;
use leveret_broker::node::ConnectionsOf;
use serde_json::Value;

use super::{Call, Failure, Operation};
use crate::views::{Columns, Form, Row, View};

/// How long connections may take to say how they are, unless the caller says something else.
const WAIT: Duration = Duration::from_secs(5);

pub(super) const OPERATIONS: [Operation; 8] = [
    Operation { name: "list_queues", run: list_queues },
    Operation { name: "queue", run: queue },
    Operation { name: "list_exchanges", run: list_exchanges },
    Operation { name: "list_bindings", run: list_bindings },
    Operation { name: "list_consumers", run: list_consumers },
    Operation { name: "list_connections", run: list_connections },
    Operation { name: "list_channels", run: list_channels },
    Operation { name: "totals", run: totals },
];

/// Rows of a view with the columns that were asked for.
fn list(
    call: &Call<'_>,
    rows: impl FnOnce(View<'_>, &mut dyn FnMut(&Row) -> Result<(), Failure>) -> Result<(), Failure>,
) -> Result<Value, Failure> {
    let app = call.app()?;
    let wanted = call.texts("columns")?;
    let columns = if wanted.is_empty() { Columns::All } else { Columns::of(wanted) };
    let view = View { node: &app.node, pids: &app.pids, form: Form::Listing, columns: &columns };
    rows(view, &mut |row| call.row(row))?;
    Ok(Value::Null)
}

/// What is in a vhost. One that is not there has nothing in it, as RabbitMQ has it.
fn within<Rows: IntoIterator<Item = Row>>(
    rows: Result<Rows, Error>,
    give: &mut dyn FnMut(&Row) -> Result<(), Failure>,
) -> Result<(), Failure> {
    match rows {
        Ok(rows) => rows.into_iter().try_for_each(|row| give(&row)),
        Err(Error::VhostNotFound { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn list_queues(call: &Call<'_>) -> Result<Value, Failure> {
    let vhost = call.text("vhost")?;
    list(call, |view, give| within(view.queues(vhost), give))
}

/// One queue; null if there is none.
fn queue(call: &Call<'_>) -> Result<Value, Failure> {
    let app = call.app()?;
    let columns = Columns::of(call.texts("columns")?);
    let view = View { node: &app.node, pids: &app.pids, form: Form::Listing, columns: &columns };
    match view.queue(call.text("vhost")?, call.text("queue")?) {
        Ok(row) => Ok(Value::Object(row)),
        Err(Error::NotFound { .. } | Error::VhostNotFound { .. }) => Ok(Value::Null),
        Err(error) => Err(error.into()),
    }
}

fn list_exchanges(call: &Call<'_>) -> Result<Value, Failure> {
    let vhost = call.text("vhost")?;
    list(call, |view, give| within(view.exchanges(vhost), give))
}

fn list_bindings(call: &Call<'_>) -> Result<Value, Failure> {
    let vhost = call.text("vhost")?;
    list(call, |view, give| within(view.bindings(vhost), give))
}

fn list_consumers(call: &Call<'_>) -> Result<Value, Failure> {
    let vhost = call.text("vhost")?;
    list(call, |view, give| within(view.consumers(vhost), give))
}

fn wait(call: &Call<'_>) -> Result<Duration, Failure> {
    Ok(call.optional_number("wait_ms")?.map_or(WAIT, Duration::from_millis))
}

fn list_connections(call: &Call<'_>) -> Result<Value, Failure> {
    let wait = wait(call)?;
    list(call, |view, give| view.connections(&ConnectionsOf::Everybody, wait).iter().try_for_each(give))
}

fn list_channels(call: &Call<'_>) -> Result<Value, Failure> {
    let wait = wait(call)?;
    list(call, |view, give| view.channels(&ConnectionsOf::Everybody, wait).iter().try_for_each(give))
}

fn totals(call: &Call<'_>) -> Result<Value, Failure> {
    let totals = call.node()?.totals();
    Ok(serde_json::json!({
        "vhosts": totals.vhosts,
        "users": totals.users,
        "exchanges": totals.exchanges,
        "queues": totals.queues,
        "connections": totals.connections,
        "channels": totals.channels,
        "consumers": totals.consumers,
        "messages_ready": totals.ready,
        "messages_unacknowledged": totals.unsettled,
    }))
}
