//! Runtime parameters, global ones, and the cluster's name.

use leveret_broker::Error;
use leveret_broker::topology::Change;
use leveret_broker::value::Value as Field;
use serde_json::Value;

use super::{Call, Failure, Kind, Operation};
use crate::health::CLUSTER_NAME;

pub(super) const OPERATIONS: [Operation; 7] = [
    Operation { name: "set_parameter", run: set_parameter },
    Operation { name: "clear_parameter", run: clear_parameter },
    Operation { name: "list_parameters", run: list_parameters },
    Operation { name: "set_global_parameter", run: set_global_parameter },
    Operation { name: "clear_global_parameter", run: clear_global_parameter },
    Operation { name: "list_global_parameters", run: list_global_parameters },
    Operation { name: "set_cluster_name", run: set_cluster_name },
];

/// In a vhost that is not there, nothing is set; RabbitMQ's tools say no more than that.
pub(super) fn unknown(failure: Failure) -> Failure {
    match failure.kind {
        Kind::NoVhost => Error::ParameterNotFound.into(),
        _ => failure,
    }
}

fn set_parameter(call: &Call<'_>) -> Result<Value, Failure> {
    let (vhost, component, name) = (call.text("vhost")?, call.text("component")?, call.text("name")?);
    let value = call.field("value")?;
    call.change(Change::SetParameter { vhost: vhost.into(), component: component.into(), name: name.into(), value })
}

fn clear_parameter(call: &Call<'_>) -> Result<Value, Failure> {
    let (vhost, component, name) = (call.text("vhost")?, call.text("component")?, call.text("name")?);
    let change = Change::ClearParameter { vhost: vhost.into(), component: component.into(), name: name.into() };
    call.change(change).map_err(unknown)
}

fn list_parameters(call: &Call<'_>) -> Result<Value, Failure> {
    let vhost = call.text("vhost")?;
    call.list(|view| view.parameters(vhost))
}

fn set_global_parameter(call: &Call<'_>) -> Result<Value, Failure> {
    call.change(Change::SetGlobalParameter { name: call.text("name")?.into(), value: call.field("value")? })
}

fn clear_global_parameter(call: &Call<'_>) -> Result<Value, Failure> {
    call.change(Change::ClearGlobalParameter { name: call.text("name")?.into() })
}

fn list_global_parameters(call: &Call<'_>) -> Result<Value, Failure> {
    call.list(|view| Ok(view.global_parameters()))
}

fn set_cluster_name(call: &Call<'_>) -> Result<Value, Failure> {
    let value = Field::text(call.text("name")?);
    call.change(Change::SetGlobalParameter { name: CLUSTER_NAME.into(), value })
}
