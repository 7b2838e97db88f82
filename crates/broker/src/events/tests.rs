//! What changes are told as.

use super::*;
use crate::access::{PasswordHash, Permissions};
use crate::exchange::ExchangeKind;
use crate::node::Node;
use crate::topology::{ApplyTo, Change, Destination, Existing, Origin, Policy, PolicyKind};
use parking_lot::Mutex;

#[derive(Debug, Default)]
struct Heard(Mutex<Vec<Arc<Event>>>);

impl Listener for Heard {
    fn hear(&self, event: &Arc<Event>) {
        self.0.lock().push(Arc::clone(event));
    }
}

impl Heard {
    fn take(&self) -> Vec<Arc<Event>> {
        std::mem::take(&mut self.0.lock())
    }

    fn names(&self) -> Vec<&'static str> {
        self.take().iter().map(|event| event.name).collect()
    }
}

fn listening() -> (Node, Arc<Heard>) {
    let (node, heard) = (Node::new(), Arc::new(Heard::default()));
    node.events().add(Arc::clone(&heard) as Arc<dyn Listener>);
    (node, heard)
}

fn exchange(name: &str) -> Change {
    Change::DeclareExchange {
        vhost: "/".into(),
        name: name.into(),
        kind: ExchangeKind::Topic,
        durable: false,
        auto_delete: false,
        internal: false,
        arguments: [("a".into(), Value::I32(1))].into_iter().collect(),
        origin: Origin::Client,
    }
}

fn queue(name: &str) -> Change {
    Change::DeclareQueue {
        vhost: "/".into(),
        name: name.into(),
        durable: false,
        exclusive: None,
        auto_delete: false,
        arguments: Table::new(),
        origin: Origin::Client,
        id: None,
    }
}

fn bind(source: &str, queue: &str) -> Change {
    let (vhost, destination) = ("/".into(), Destination::Queue(queue.into()));
    let (source, routing_key, arguments) = (source.into(), "key".into(), Table::new());
    Change::Bind { vhost, source, destination, routing_key, arguments, asking: None }
}

fn policy(kind: PolicyKind) -> Change {
    let definition = [("max-length".into(), Value::I64(5))].into_iter().collect();
    let policy = Policy { name: "p".into(), pattern: "^q".into(), apply_to: ApplyTo::Queues, priority: 3, definition };
    Change::SetPolicy { vhost: "/".into(), kind, policy }
}

#[test]
fn changes_are_told_under_rabbitmqs_names() {
    let (node, heard) = listening();
    let permissions = Permissions::all();
    let limits: Table = [("max-connections".into(), Value::I64(5))].into_iter().collect();
    let parameter =
        |name: &str| Change::ClearParameter { vhost: "/".into(), component: name.into(), name: "limits".into() };
    for (change, expected) in [
        (exchange("x"), &["exchange.created"][..]),
        (exchange("x"), &[]),
        (queue("q"), &["queue.created"]),
        (bind("x", "q"), &["binding.created"]),
        (policy(PolicyKind::User), &["queue.policy.updated", "policy.set"]),
        (policy(PolicyKind::Operator), &["parameter.set", "policy.set"]),
        (Change::ClearPolicy { vhost: "/".into(), kind: PolicyKind::User, name: "p".into() }, &["policy.cleared"]),
        (
            Change::ClearPolicy { vhost: "/".into(), kind: PolicyKind::Operator, name: "p".into() },
            &["queue.policy.cleared", "parameter.cleared", "operator.policy.cleared"],
        ),
        (
            Change::DeleteExchange { vhost: "/".into(), name: "x".into(), if_unused: false },
            &["exchange.deleted", "binding.deleted"],
        ),
        (Change::DeleteQueue { vhost: "/".into(), name: "q".into(), id: None }, &["queue.deleted"]),
        (
            Change::SetUser {
                user: "u".into(),
                password: PasswordHash::none(),
                tags: vec!["management".into()],
                existing: Existing::Refuse,
            },
            &["user.created", "user.tags.set"],
        ),
        (Change::SetTags { user: "u".into(), tags: Vec::new() }, &["user.tags.set"]),
        (Change::SetPermissions { user: "u".into(), vhost: "/".into(), permissions }, &["permission.created"]),
        (Change::ClearPermissions { user: "u".into(), vhost: "/".into() }, &["permission.deleted"]),
        (Change::SetUserLimits { user: "u".into(), limits: limits.clone() }, &["user.limits.set"]),
        (Change::SetUserLimits { user: "u".into(), limits: Table::new() }, &["user.limits.cleared"]),
        (
            Change::SetParameter {
                vhost: "/".into(),
                component: "vhost-limits".into(),
                name: "limits".into(),
                value: Value::Table(limits),
            },
            &["parameter.set", "vhost.limits.set"],
        ),
        (parameter("vhost-limits"), &["parameter.cleared", "vhost.limits.cleared"]),
        (Change::SetGlobalParameter { name: "g".into(), value: Value::I64(1) }, &["parameter.set"]),
        (Change::ClearGlobalParameter { name: "g".into() }, &["parameter.cleared"]),
        (Change::DeleteUser { user: "u".into() }, &["user.deleted"]),
    ] {
        let text = format!("{change:?}");
        node.apply_as(change, "somebody").unwrap();
        assert_eq!(heard.names(), expected, "{text}");
    }
}

#[test]
fn an_event_has_its_facts_and_who_did_it() {
    let (node, heard) = listening();
    node.apply_as(exchange("x"), "somebody").unwrap();
    let events = heard.take();
    let arguments = [("a".into(), Value::I32(1))].into_iter().collect();
    let expected = Facts::new().text("user_who_performed_action", "somebody").text("policy", "");
    let expected = expected.arguments("arguments", &arguments).flag("internal", false).flag("auto_delete", false);
    let expected = expected.flag("durable", false).text("type", "topic").text("name", "x").text("vhost", "/");
    assert_eq!(events[0].facts, expected);
    assert_eq!(arguments.as_terms(), [Value::text("{<<\"a\">>,signedint,1}")]);
}

#[test]
fn a_vhost_comes_and_goes_with_what_is_in_it() {
    let (node, heard) = listening();
    node.apply(Change::CreateVhost { vhost: "v".into() }).unwrap();
    let names = heard.names();
    assert_eq!(names.iter().filter(|name| **name == "exchange.created").count(), 7);
    assert_eq!(names.last(), Some(&"vhost.created"));
    node.apply(Change::DeleteVhost { vhost: "v".into() }).unwrap();
    let names = heard.names();
    assert_eq!(names.iter().filter(|name| **name == "exchange.deleted").count(), 7);
    assert_eq!(names[names.len() - 2..], ["vhost.deleted", "vhost.down"]);
}

#[test]
fn what_is_changed_together_is_told_once_it_is_made() {
    let (node, heard) = listening();
    let planned = node.apply_together(|draft| {
        draft.apply(queue("q"))?;
        draft.apply(queue("q"))?;
        draft.apply(bind("amq.direct", "q"))
    });
    assert!(planned.is_ok());
    assert_eq!(heard.names(), ["queue.created", "binding.created"]);
    let failed = node.apply_together(|draft| {
        draft.apply(queue("other"))?;
        draft.apply(bind("missing", "q"))
    });
    assert!(failed.is_err());
    assert!(heard.names().is_empty());
}

#[test]
fn who_listens_no_more_hears_nothing() {
    let (node, heard) = listening();
    let listener = Arc::clone(&heard) as Arc<dyn Listener>;
    node.events().remove(&listener);
    assert!(!node.events().is_heard());
    node.apply(queue("q")).unwrap();
    assert!(heard.names().is_empty());
}
