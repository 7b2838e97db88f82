//! Connections that operators close.

use std::time::Duration;

use leveret_broker::Name;
use leveret_broker::node::ConnectionsOf;
use serde_json::{Value, json};

use super::{Call, Failure, Operation};
use crate::control::Progress;
use crate::pid::{PidError, Process};
use crate::{CloseMany, close_connections};

pub(super) const OPERATIONS: [Operation; 2] = [
    Operation { name: "close_connection", run: close_connection },
    Operation { name: "close_connections", run: close_many },
];

fn close_connection(call: &Call<'_>) -> Result<Value, Failure> {
    let app = call.app()?;
    let reason = Name::from(call.text("reason")?);
    let pid = call.text("pid")?;
    let closed = match app.pids.parse(pid) {
        Ok(Process::Connection(id) | Process::Channel(id, _)) => app.node.close_connection(id, &reason),
        // What is gone, or was never here, is closed.
        Ok(Process::Queue(_)) | Err(PidError::Foreign) => false,
        Err(error @ PidError::Malformed) => return Err(Failure::data(format!("'{pid}': {error}"))),
    };
    Ok(json!({ "closed": usize::from(closed) }))
}

fn close_many(call: &Call<'_>) -> Result<Value, Failure> {
    let node = call.node()?;
    let whose = match (call.optional_text("user")?, call.optional_text("vhost")?) {
        (Some(user), _) => ConnectionsOf::User(user.into()),
        (None, Some(vhost)) => ConnectionsOf::Vhost(vhost.into()),
        (None, None) => ConnectionsOf::Everybody,
    };
    let limit = call.optional_number("limit")?.filter(|limit| *limit > 0);
    let close = CloseMany {
        whose,
        limit: limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX)),
        delay: Duration::from_millis(call.optional_number("delay_ms")?.unwrap_or_default()),
        reason: call.text("reason")?.into(),
    };
    let closed =
        close_connections(&node, &close, |done, of| call.progress(Progress { what: "connections", done, of }).is_ok());
    Ok(json!({ "closed": closed }))
}
