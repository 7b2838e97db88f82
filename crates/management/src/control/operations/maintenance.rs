//! Taking a node out of service for a while, and back.

use leveret_broker::mailbox::CloseReason;
use leveret_broker::switches::{Part, Switch};
use serde_json::Value;

use super::{Call, Failure, Operation};

pub(super) const OPERATIONS: [Operation; 2] =
    [Operation { name: "drain", run: drain }, Operation { name: "revive", run: revive }];

/// Takes no more connections, and ends those that are there.
fn drain(call: &Call<'_>) -> Result<Value, Failure> {
    let node = call.node()?;
    call.host.suspend_listeners()?;
    node.switches().set(Part::Service, Switch::Off);
    node.close_connections(&CloseReason::Shutdown);
    Ok(Value::Null)
}

fn revive(call: &Call<'_>) -> Result<Value, Failure> {
    let node = call.node()?;
    call.host.resume_listeners()?;
    node.switches().set(Part::Service, Switch::On);
    Ok(Value::Null)
}
