//! Feature flags.

use serde_json::{Map, Value};

use super::{Call, Failure, Operation};
use crate::control::Kind;
use crate::flags;

pub(super) const OPERATIONS: [Operation; 2] = [
    Operation { name: "list_feature_flags", run: list_feature_flags },
    Operation { name: "enable_feature_flag", run: enable_feature_flag },
];

fn list_feature_flags(call: &Call<'_>) -> Result<Value, Failure> {
    call.node()?;
    for row in flags::rows() {
        let row: Map<String, Value> = row.as_object().cloned().unwrap_or_default();
        call.row(&row)?;
    }
    Ok(Value::Null)
}

fn enable_feature_flag(call: &Call<'_>) -> Result<Value, Failure> {
    call.node()?;
    if flags::is_known(call.text("name")?) {
        return Ok(Value::Null);
    }
    let node = call.host.facts().node_name;
    Err(Failure::new(Kind::Usage, format!("This feature flag is not supported by node {node}")))
}
