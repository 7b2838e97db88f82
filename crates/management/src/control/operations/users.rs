//! Users, their passwords and tags.

use leveret_broker::Name;
use leveret_broker::access::Secret;
use leveret_broker::topology::{Change, Existing};
use serde_json::{Map, Value, json};

use super::{Call, Failure, Operation};
use crate::apply;

pub(super) const OPERATIONS: [Operation; 2] =
    [Operation { name: "list_users", run: list_users }, Operation { name: "add_user", run: add_user }];

fn list_users(call: &Call<'_>) -> Result<Value, Failure> {
    let users: Vec<(Name, Vec<Name>)> = call
        .node()?
        .read(|topology| topology.users().map(|user| (Name::clone(user.name()), user.tags().to_vec())).collect());
    for (name, tags) in users {
        let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
        call.row(&Map::from_iter([("user".to_owned(), json!(&*name)), ("tags".to_owned(), json!(tags))]))?;
    }
    Ok(Value::Null)
}

fn add_user(call: &Call<'_>) -> Result<Value, Failure> {
    let (name, password) = (call.text("name")?, Secret::new(call.text("password")?.as_bytes()));
    let app = call.app()?;
    let password = app.hashing.hash(&password).map_err(|error| Failure::software(error.to_string()))?;
    let change = Change::SetUser { user: name.into(), password, tags: Vec::new(), existing: Existing::Refuse };
    apply(&app.node, change)?;
    Ok(Value::Null)
}
