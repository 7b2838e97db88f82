//! Policies, and those of operators.

use leveret_broker::topology::{ApplyTo, Change, Destination, Policy, PolicyKind};
use serde_json::Value;

use super::parameters::unknown;
use super::{Call, Failure, Operation};

pub(super) const OPERATIONS: [Operation; 7] = [
    Operation { name: "set_policy", run: |call| set(call, PolicyKind::User) },
    Operation { name: "clear_policy", run: |call| clear(call, PolicyKind::User) },
    Operation { name: "list_policies", run: |call| list(call, PolicyKind::User) },
    Operation { name: "set_operator_policy", run: |call| set(call, PolicyKind::Operator) },
    Operation { name: "clear_operator_policy", run: |call| clear(call, PolicyKind::Operator) },
    Operation { name: "list_operator_policies", run: |call| list(call, PolicyKind::Operator) },
    Operation { name: "list_policies_that_match", run: list_policies_that_match },
];

fn set(call: &Call<'_>, kind: PolicyKind) -> Result<Value, Failure> {
    let policy = Policy {
        name: call.text("name")?.into(),
        pattern: call.text("pattern")?.into(),
        apply_to: call.optional_text("apply_to")?.map_or(Ok(ApplyTo::default()), ApplyTo::parse)?,
        priority: call.optional_integer("priority")?.unwrap_or_default(),
        definition: call.definition("definition")?,
    };
    call.change(Change::SetPolicy { vhost: call.text("vhost")?.into(), kind, policy })
}

fn clear(call: &Call<'_>, kind: PolicyKind) -> Result<Value, Failure> {
    let (vhost, name) = (call.text("vhost")?.into(), call.text("name")?.into());
    call.change(Change::ClearPolicy { vhost, kind, name }).map_err(unknown)
}

fn list(call: &Call<'_>, kind: PolicyKind) -> Result<Value, Failure> {
    let vhost = call.text("vhost")?;
    call.list(|view| view.policies(vhost, kind))
}

fn list_policies_that_match(call: &Call<'_>) -> Result<Value, Failure> {
    let (vhost, name) = (call.text("vhost")?, call.text("name")?);
    let object = match call.optional_text("object_type")? {
        Some("exchange") => Destination::Exchange(name.into()),
        _ => Destination::Queue(name.into()),
    };
    call.list(|view| view.policies_that_match(vhost, &object))
}
