//! Virtual hosts: what is said of them, and their limits.

use leveret_broker::Name;
use leveret_broker::topology::{Change, Protection, VhostMetadata, VhostUpdate};
use leveret_broker::value::Value as Field;
use serde_json::{Value, json};

use super::parameters::unknown;
use super::{Call, Failure, Kind, Operation};
use crate::limits::PARAMETER;

pub(super) const OPERATIONS: [Operation; 11] = [
    Operation { name: "add_vhost", run: add_vhost },
    Operation { name: "find_vhost", run: find_vhost },
    Operation { name: "delete_vhost", run: delete_vhost },
    Operation { name: "list_vhosts", run: list_vhosts },
    Operation { name: "update_vhost_metadata", run: update_vhost_metadata },
    Operation { name: "set_vhost_tags", run: set_vhost_tags },
    Operation { name: "set_vhost_limits", run: set_vhost_limits },
    Operation { name: "clear_vhost_limits", run: clear_vhost_limits },
    Operation { name: "list_vhost_limits", run: list_vhost_limits },
    Operation { name: "trace_on", run: trace_on },
    Operation { name: "trace_off", run: trace_off },
];

/// What is said of a vhost, as far as something is.
fn update(call: &Call<'_>) -> Result<VhostUpdate, Failure> {
    let protection = |is_protected| if is_protected { Protection::Deletion } else { Protection::None };
    Ok(VhostUpdate {
        description: call.optional_text("description")?.map(Name::from),
        tags: match call.value("tags") {
            Some(_) => Some(call.texts("tags")?.into_iter().map(Name::from).collect()),
            None => None,
        },
        default_queue_type: call.optional_text("default_queue_type")?.map(Name::from),
        protection: match call.value("protected_from_deletion") {
            Some(_) => Some(protection(call.flag("protected_from_deletion")?)),
            None => None,
        },
    })
}

/// One that is there already stays as it is.
fn add_vhost(call: &Call<'_>) -> Result<Value, Failure> {
    let vhost: Name = call.text("vhost")?.into();
    let update = update(call)?;
    let is_there = call.node()?.read(|topology| topology.vhost(&vhost).is_ok());
    let metadata = update.of(&VhostMetadata::default());
    call.change(if is_there { Change::CreateVhost { vhost } } else { Change::SetVhost { vhost, metadata } })
}

/// Whether there is such a vhost, and which node would have it.
fn find_vhost(call: &Call<'_>) -> Result<Value, Failure> {
    let (node, vhost) = (call.node()?, call.text("vhost")?);
    let is_there = node.read(|topology| topology.vhost(vhost).is_ok());
    Ok(json!({ "node": &**node.name(), "is_there": is_there }))
}

fn delete_vhost(call: &Call<'_>) -> Result<Value, Failure> {
    call.change(Change::DeleteVhost { vhost: call.text("vhost")?.into() })
}

fn list_vhosts(call: &Call<'_>) -> Result<Value, Failure> {
    call.list(|view| Ok(view.vhosts()))
}

fn update_vhost_metadata(call: &Call<'_>) -> Result<Value, Failure> {
    let vhost = call.text("vhost")?.into();
    call.change(Change::UpdateVhost { vhost, update: update(call)? })
}

fn set_vhost_tags(call: &Call<'_>) -> Result<Value, Failure> {
    let vhost = call.text("vhost")?;
    let tags = call.texts("tags")?.into_iter().map(Name::from).collect();
    let update = VhostUpdate { tags: Some(tags), ..VhostUpdate::default() };
    call.change(Change::UpdateVhost { vhost: vhost.into(), update }).map_err(|failure| match failure.kind {
        Kind::NoVhost => Failure::data(format!("Virtual host \"{vhost}\" does not exist")),
        _ => failure,
    })
}

fn set_vhost_limits(call: &Call<'_>) -> Result<Value, Failure> {
    let (vhost, value) = (call.text("vhost")?.into(), Field::Table(call.definition("definition")?));
    call.change(Change::SetParameter { vhost, component: PARAMETER.0.into(), name: PARAMETER.1.into(), value })
}

fn clear_vhost_limits(call: &Call<'_>) -> Result<Value, Failure> {
    let vhost = call.text("vhost")?.into();
    let change = Change::ClearParameter { vhost, component: PARAMETER.0.into(), name: PARAMETER.1.into() };
    call.change(change).map_err(unknown)
}

fn list_vhost_limits(call: &Call<'_>) -> Result<Value, Failure> {
    let vhost = call.optional_text("vhost")?;
    call.list(|view| view.vhost_limits(vhost))
}

fn trace_on(call: &Call<'_>) -> Result<Value, Failure> {
    call.node()?.trace(call.text("vhost")?)?;
    Ok(Value::Null)
}

fn trace_off(call: &Call<'_>) -> Result<Value, Failure> {
    call.node()?.stop_tracing(call.text("vhost")?);
    Ok(Value::Null)
}
