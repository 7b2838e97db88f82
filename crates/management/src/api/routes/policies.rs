//! Policies, and those of operators.

use leveret_broker::topology::{ApplyTo, Change, Policy, PolicyKind, ValidationError};
use leveret_broker::value::Value as Setting;
use leveret_broker::{Error, Name};
use serde_json::Value;

use crate::api::body::Members;
use crate::api::listing;
use crate::api::route::{Field, Gives, Kind};
use crate::api::{Access, Answer, Ask, Failure, Group, Operation, Route};
use crate::json;
use crate::views::Columns;

pub(super) const GROUP: Group = Group {
    title: "Policies",
    routes: &[
        Route {
            path: "/api/policies",
            operations: &[Operation::get(
                Access::Management,
                |ask| list(ask, PolicyKind::User),
                "The policies of all vhosts that the user can see",
            )
            .gives(Gives::All("Policy"))],
        },
        Route {
            path: "/api/policies/{vhost}",
            operations: &[Operation::get(
                Access::VisibleVhost,
                |ask| list_in(ask, PolicyKind::User),
                "The policies of a vhost",
            )
            .gives(Gives::All("Policy"))],
        },
        Route {
            path: "/api/policies/{vhost}/{name}",
            operations: &[
                Operation::get(Access::Policymaker, |ask| get(ask, PolicyKind::User), "A policy")
                    .gives(Gives::One("Policy")),
                Operation::put(
                    Access::Policymaker,
                    |ask| put(ask, PolicyKind::User),
                    "Sets a policy, in the place of the one with its name",
                )
                .body(POLICY),
                Operation::delete(Access::Policymaker, |ask| delete(ask, PolicyKind::User), "Takes a policy away"),
            ],
        },
        Route {
            path: "/api/operator-policies",
            operations: &[Operation::get(
                Access::Management,
                |ask| list(ask, PolicyKind::Operator),
                "The operator policies of all vhosts that the user can see",
            )
            .gives(Gives::All("Policy"))],
        },
        Route {
            path: "/api/operator-policies/{vhost}",
            operations: &[Operation::get(
                Access::VisibleVhost,
                |ask| list_in(ask, PolicyKind::Operator),
                "The operator policies of a vhost",
            )
            .gives(Gives::All("Policy"))],
        },
        Route {
            path: "/api/operator-policies/{vhost}/{name}",
            operations: &[
                Operation::get(Access::Administrator, |ask| get(ask, PolicyKind::Operator), "An operator policy")
                    .gives(Gives::One("Policy")),
                Operation::put(
                    Access::Administrator,
                    |ask| put(ask, PolicyKind::Operator),
                    "Sets an operator policy, in the place of the one with its name",
                )
                .body(POLICY),
                Operation::delete(
                    Access::Administrator,
                    |ask| delete(ask, PolicyKind::Operator),
                    "Takes an operator policy away",
                ),
            ],
        },
    ],
};

const POLICY: &[Field] = &[
    Field::needed("pattern", Kind::Text, "a regular expression: the names of the queues and exchanges it applies to"),
    Field::needed("definition", Kind::Object, "its settings, such as max-length"),
    Field::optional("priority", Kind::Number, "the policy with the highest one applies; 0 if it is not said"),
    Field::optional(
        "apply-to",
        Kind::Text,
        "queues, classic_queues, quorum_queues, streams, exchanges or all, which it is if it is not said",
    ),
];

fn list(ask: &Ask<'_>, kind: PolicyKind) -> Result<Answer, Failure> {
    let view = ask.view(&Columns::All);
    // A vhost that was deleted meanwhile has none.
    let rows = ask.visible_vhosts().iter().filter_map(|vhost| view.policies(vhost, kind).ok()).flatten().collect();
    listing::whole(ask, rows)
}

fn list_in(ask: &Ask<'_>, kind: PolicyKind) -> Result<Answer, Failure> {
    listing::whole(ask, ask.view(&Columns::All).policies(ask.part("vhost"), kind)?)
}

fn get(ask: &Ask<'_>, kind: PolicyKind) -> Result<Answer, Failure> {
    ask.one(|view| view.policy(ask.part("vhost"), kind, ask.part("name")))
}

fn put(ask: &Ask<'_>, kind: PolicyKind) -> Result<Answer, Failure> {
    let vhost = ask.target_vhost()?;
    let policy = policy(ask.part("name").into(), &ask.members()?).map_err(|failure| worded(failure, kind))?;
    let name = Name::clone(&policy.name);
    let is_new = ask
        .node()
        .read(|topology| topology.vhost(&vhost).and_then(|vhost| vhost.policy(kind, &name).map(|_| ())).is_err());
    ask.change(Change::SetPolicy { vhost, kind, policy }).map_err(|failure| worded(failure, kind))?;
    Ok(Answer::put(is_new))
}

fn policy(name: Name, members: &Members) -> Result<Policy, Failure> {
    members.need(&["pattern", "definition"])?;
    let pattern = match members.raw("pattern") {
        Some(Value::String(pattern)) => pattern.as_str().into(),
        other => {
            let other = other.unwrap_or(&Value::Null);
            let reason = format!("Validation failed\n\npattern should be a binary but was {other}\n");
            return Err(Failure::bad_request(reason));
        }
    };
    let priority = match members.value("priority") {
        None => 0,
        Some(value) => value.as_i64().ok_or_else(|| no_number("priority", value))?,
    };
    Ok(Policy {
        name,
        pattern,
        apply_to: members.text("apply-to")?.map_or(Ok(ApplyTo::default()), ApplyTo::parse)?,
        priority,
        definition: members.table("definition")?.unwrap_or_default(),
    })
}

fn no_number(key: &str, value: &Value) -> Failure {
    let value = json::to_value(value).unwrap_or(Setting::Void);
    Error::Validation(ValidationError::NotNumber { key: key.into(), value }).into()
}

/// RabbitMQ escapes what it says of users' policies for pages to show, and not what it says of operators'.
fn worded(failure: Failure, kind: PolicyKind) -> Failure {
    match kind {
        PolicyKind::User => failure.escaped(),
        PolicyKind::Operator => failure,
    }
}

fn delete(ask: &Ask<'_>, kind: PolicyKind) -> Result<Answer, Failure> {
    ask.change(Change::ClearPolicy { vhost: ask.vhost()?, kind, name: ask.part("name").into() })?;
    Ok(Answer::done())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn policies_are_read_or_refused_in_rabbitmqs_words() {
        for (body, expected) in [
            (json!({"pattern": "^z", "definition": {"max-length": 5}}), Ok((0, ApplyTo::All))),
            (
                json!({"pattern": "^z", "definition": {"max-length": 5}, "priority": -2, "apply-to": "queues"}),
                Ok((-2, ApplyTo::Queues)),
            ),
            (json!({"pattern": "^z"}), Err("[{key_missing,definition}]")),
            (json!({}), Err("[{key_missing,pattern},{key_missing,definition}]")),
            (
                json!({"pattern": 5, "definition": {}}),
                Err("Validation failed\n\npattern should be a binary but was 5\n"),
            ),
            (
                json!({"pattern": "", "definition": {}, "priority": "3"}),
                Err("Validation failed\n\npriority should be a number, actually was <<\"3\">>\n"),
            ),
            (
                json!({"pattern": "", "definition": {}, "apply-to": "nope"}),
                Err(
                    "Validation failed\n\napply-to 'nope' unrecognised; should be one of: 'queues', 'classic_queues',  \
                     'quorum_queues', 'streams', 'exchanges', or 'all'\n",
                ),
            ),
        ] {
            let Value::Object(members) = body.clone() else { panic!("{body} is no object") };
            let found = policy("p".into(), &Members::new(members)).map_err(|failure| failure.reason);
            let found = found.map(|policy| (policy.priority, policy.apply_to));
            assert_eq!(found, expected.map_err(Value::from), "{body}");
        }
    }

    #[test]
    fn what_is_said_of_users_policies_is_escaped() {
        for (kind, expected) in
            [(PolicyKind::User, "&lt;&lt;\"a\"&gt;&gt; &amp;"), (PolicyKind::Operator, "<<\"a\">> &")]
        {
            assert_eq!(worded(Failure::bad_request("<<\"a\">> &"), kind).reason, expected);
        }
    }
}
