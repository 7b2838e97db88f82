//! Taking a node out of service for a while, and back.

use std::time::Duration;

use leveret_broker::node::ConnectionsOf;
use leveret_broker::switches::{Part, Switch};
use serde_json::Value;

use super::{Call, Failure, Operation};
use crate::{CloseMany, close_connections};

pub(super) const OPERATIONS: [Operation; 2] =
    [Operation { name: "drain", run: drain }, Operation { name: "revive", run: revive }];

/// Takes no more connections, and ends those that are there.
fn drain(call: &Call<'_>) -> Result<Value, Failure> {
    let node = call.node()?;
    call.host.suspend_listeners()?;
    node.switches().set(Part::Service, Switch::Off);
    let close = CloseMany {
        whose: ConnectionsOf::Everybody,
        limit: None,
        delay: Duration::ZERO,
        reason: "Node was put into maintenance mode".into(),
    };
    close_connections(&node, &close, |_, _| true);
    Ok(Value::Null)
}

fn revive(call: &Call<'_>) -> Result<Value, Failure> {
    let node = call.node()?;
    call.host.resume_listeners()?;
    node.switches().set(Part::Service, Switch::On);
    Ok(Value::Null)
}
