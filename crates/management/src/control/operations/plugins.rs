//! Parts of the node that can be switched, under the names of plugins.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{Call, Failure, Operation};
use crate::control::Kind;

pub(super) const OPERATIONS: [Operation; 2] =
    [Operation { name: "list_plugins", run: list_plugins }, Operation { name: "set_plugins", run: set_plugins }];

fn list_plugins(call: &Call<'_>) -> Result<Value, Failure> {
    for plugin in call.host.plugins() {
        call.row(&Map::from_iter([
            ("name".to_owned(), json!(plugin.name)),
            ("description".to_owned(), json!(plugin.description)),
            ("version".to_owned(), json!(plugin.version)),
            ("needs".to_owned(), json!(plugin.needs)),
            ("explicit".to_owned(), json!(plugin.explicit)),
            ("implicit".to_owned(), json!(plugin.implicit)),
            ("running".to_owned(), json!(plugin.running)),
        ]))?;
    }
    Ok(Value::Null)
}

fn set_plugins(call: &Call<'_>) -> Result<Value, Failure> {
    if call.value("plugins").is_none() {
        return Err(Failure::new(Kind::Usage, "plugins are missing"));
    }
    let names: BTreeSet<String> = call.texts("plugins")?.into_iter().map(str::to_owned).collect();
    let change = call.host.set_plugins(&names)?;
    Ok(json!({
        "enabled": change.enabled,
        "started": change.started,
        "stopped": change.stopped,
        "applied": change.applied,
    }))
}
