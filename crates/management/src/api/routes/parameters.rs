//! Runtime parameters, and global ones.

use leveret_broker::Name;
use leveret_broker::topology::{Change, PolicyKind};
use leveret_broker::value::Value as Setting;
use serde_json::{Value, json};

use crate::api::listing;
use crate::api::route::{Field, Gives, Kind};
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::json;
use crate::views::{Columns, Row};

pub(super) const GROUP: Group = Group {
    title: "Parameters",
    routes: &[
        Route {
            path: "/api/parameters",
            operations: &[Operation::get(Access::Policymaker, list, "The parameters of the user's vhosts")
                .gives(Gives::All("Parameter"))],
        },
        Route {
            path: "/api/parameters/{component}",
            operations: &[Operation::get(
                Access::Policymaker,
                list,
                "The parameters of a component in the user's vhosts; policies are some too",
            )
            .gives(Gives::All("Parameter"))],
        },
        Route {
            path: "/api/parameters/{component}/{vhost}",
            operations: &[Operation::get(Access::Policymaker, list_in, "The parameters of a component in a vhost")
                .gives(Gives::All("Parameter"))],
        },
        Route {
            path: "/api/parameters/{component}/{vhost}/{name}",
            operations: &[
                Operation::get(Access::Policymaker, get, "A parameter").gives(Gives::One("Parameter")),
                Operation::put(Access::Policymaker, put, "Sets a parameter").body(VALUE),
                Operation::delete(Access::Policymaker, delete, "Takes a parameter away"),
            ],
        },
        Route {
            path: "/api/global-parameters",
            operations: &[Operation::get(Access::Policymaker, list_global, "The parameters of the whole broker")
                .gives(Gives::All("GlobalParameter"))],
        },
        Route {
            path: "/api/global-parameters/{name}",
            operations: &[
                Operation::get(Access::Policymaker, get_global, "A parameter of the whole broker")
                    .gives(Gives::One("GlobalParameter")),
                Operation::put(Access::Policymaker, put_global, "Sets a parameter of the whole broker").body(VALUE),
                Operation::delete(Access::Policymaker, delete_global, "Takes a parameter of the whole broker away"),
            ],
        },
    ],
};

const VALUE: &[Field] = &[Field::needed("value", Kind::Any, "what it is set to")];

/// Components that are policies.
const POLICIES: [(&str, PolicyKind); 2] = [("policy", PolicyKind::User), ("operator_policy", PolicyKind::Operator)];

/// The parameters of a vhost: of a component, or of all of them, among which RabbitMQ counts operators' policies, and users' not.
fn rows_in(ask: &Ask<'_>, vhost: &str, component: &str) -> Result<Vec<Row>, Failure> {
    let view = ask.view(&Columns::All);
    let mut rows = view.parameters(vhost)?;
    rows.retain(|row| component.is_empty() || row.get("component").is_some_and(|known| known == component));
    for (name, kind) in POLICIES {
        if component == name || (component.is_empty() && kind == PolicyKind::Operator) {
            rows.extend(view.policies(vhost, kind)?.into_iter().map(|policy| parameter(policy, name)));
        }
    }
    let text = |row: &Row, name| row.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    rows.sort_by_cached_key(|row| (text(row, "component"), text(row, "name")));
    Ok(rows)
}

/// A policy as a parameter.
fn parameter(mut policy: Row, component: &str) -> Row {
    let mut take = |name: &str| policy.remove(name).unwrap_or_default();
    let (vhost, name) = (take("vhost"), take("name"));
    Row::from_iter([
        ("value".to_owned(), Value::Object(policy)),
        ("vhost".to_owned(), vhost),
        ("component".to_owned(), json!(component)),
        ("name".to_owned(), name),
    ])
}

fn list(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let vhosts = ask.open_vhosts();
    // A vhost that was deleted meanwhile has none.
    let rows = vhosts.iter().filter_map(|vhost| rows_in(ask, vhost, ask.part("component")).ok());
    listing::whole(ask, rows.flatten().collect())
}

fn list_in(ask: &Ask<'_>) -> Result<Answer, Failure> {
    listing::whole(ask, rows_in(ask, ask.part("vhost"), ask.part("component"))?)
}

fn get(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let rows = rows_in(ask, ask.part("vhost"), ask.part("component"))?;
    let row = rows.into_iter().find(|row| row.get("name").is_some_and(|name| *name == ask.part("name")));
    let row = row.ok_or_else(Failure::not_found)?;
    ask.one(|_| Ok::<_, Failure>(row))
}

/// What the body sets; null, too, is something.
fn value(ask: &Ask<'_>) -> Result<Setting, Failure> {
    let members = ask.members()?;
    members.need(&["value"])?;
    let value = members.raw("value").map(json::to_value).transpose();
    let value = value.map_err(|error| Failure::bad_request(format!("value: {error}")))?;
    Ok(value.unwrap_or(Setting::Void))
}

fn put(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let vhost = ask.target_vhost()?;
    let (component, name): (Name, Name) = (ask.part("component").into(), ask.part("name").into());
    let value = value(ask)?;
    let is_new = ask.node().read(|topology| {
        topology.vhost(&vhost).and_then(|vhost| vhost.parameter(&component, &name).map(|_| ())).is_err()
    });
    ask.change(Change::SetParameter { vhost, component, name, value }).map_err(Failure::escaped)?;
    Ok(Answer::put(is_new))
}

fn delete(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let (component, name) = (ask.part("component"), ask.part("name"));
    let vhost = ask.vhost()?;
    if POLICIES.iter().any(|(known, _)| *known == component) {
        // One that is there is refused by the broker.
        ask.node().read(|topology| {
            let kind =
                POLICIES.iter().find(|(known, _)| *known == component).map_or(PolicyKind::User, |(_, kind)| *kind);
            topology.vhost(&vhost)?.policy(kind, name).map(|_| ())
        })?;
    }
    ask.change(Change::ClearParameter { vhost, component: component.into(), name: name.into() })?;
    Ok(Answer::done())
}

fn list_global(ask: &Ask<'_>) -> Result<Answer, Failure> {
    listing::whole(ask, ask.view(&Columns::All).global_parameters())
}

fn get_global(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let rows = ask.view(&Columns::All).global_parameters();
    let row = rows.into_iter().find(|row| row.get("name").is_some_and(|name| *name == ask.part("name")));
    let row = row.ok_or_else(Failure::not_found)?;
    ask.one(|_| Ok::<_, Failure>(row))
}

fn put_global(ask: &Ask<'_>) -> Result<Answer, Failure> {
    let name: Name = ask.part("name").into();
    let value = value(ask)?;
    let is_new = ask.node().read(|topology| topology.global_parameter(&name).is_err());
    ask.change(Change::SetGlobalParameter { name, value })?;
    Ok(Answer::put(is_new))
}

fn delete_global(ask: &Ask<'_>) -> Result<Answer, Failure> {
    ask.change(Change::ClearGlobalParameter { name: ask.part("name").into() })?;
    Ok(Answer::done())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_a_parameter_too() {
        let policy = json!({"vhost": "v", "name": "p", "pattern": "^", "priority": 1});
        let Value::Object(policy) = policy else { panic!("no object") };
        let expected = json!({
            "value": {"pattern": "^", "priority": 1}, "vhost": "v", "component": "policy", "name": "p",
        });
        assert_eq!(Value::Object(parameter(policy, "policy")), expected);
    }
}
