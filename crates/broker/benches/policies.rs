//! What policies cost with 100,000 queues: `cargo bench -p leveret-broker --bench policies`.
//!
//! The target is well under a second for a change of a policy with all that follows, and microseconds for a declaration.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock, prints what it found and may stop at anything unexpected"
)]

use std::time::{Duration, Instant};

use leveret_broker::Name;
use leveret_broker::node::Node;
use leveret_broker::topology::{ApplyTo, Change, Origin, Policy, PolicyKind};
use leveret_broker::value::{Table, Value};

const QUEUES: u32 = 100_000;

fn main() {
    for policies in [0, 1, 10, 100] {
        let node = Node::new();
        for number in 0..policies {
            // They match nothing, so that each is looked at.
            set(&node, PolicyKind::User, &format!("p{number}"), &format!("^x{number}\\."), number, 1);
        }
        let took = timed(|| declare(&node));
        println!("{QUEUES} declarations, {policies} policies that do not match: {took:?}");
        if policies == 10 {
            change_policies(&node);
        }
    }
    let node = Node::new();
    set(&node, PolicyKind::User, "user", "^queue\\.", 0, 1000);
    set(&node, PolicyKind::Operator, "operator", "[05]$", 0, 100);
    println!("{QUEUES} declarations, a policy and an operator policy that match: {:?}", timed(|| declare(&node)));
}

fn change_policies(node: &Node) {
    let user = PolicyKind::User;
    for (what, pattern, priority, max_length) in [
        ("set, matches all", "^queue\\.", 1000, 10),
        ("changed value", "^queue\\.", 1000, 20),
        ("same but for its priority", "^queue\\.", 2000, 20),
        ("with look-ahead", "^(?!other)queue", 2000, 30),
        ("matches one in a hundred", "7{2}$", 2000, 30),
        ("matches nothing", "^nothing$", 2000, 30),
    ] {
        let took = timed(|| set(node, user, "measured", pattern, priority, max_length));
        println!("policy over {QUEUES} queues, {what}: {took:?}");
    }
    let took = timed(|| set(node, PolicyKind::Operator, "operator", "", 0, 5));
    println!("operator policy over {QUEUES} queues, set, matches all: {took:?}");
    let took = timed(|| {
        let (vhost, kind, name) = ("/".into(), PolicyKind::Operator, "operator".into());
        node.apply(Change::ClearPolicy { vhost, kind, name }).unwrap();
    });
    println!("operator policy over {QUEUES} queues, cleared: {took:?}");
}

fn timed(run: impl FnOnce()) -> Duration {
    let started = Instant::now();
    run();
    started.elapsed()
}

fn set(node: &Node, kind: PolicyKind, name: &str, pattern: &str, priority: i64, max_length: i64) {
    let definition =
        [("max-length".into(), Value::I64(max_length)), ("overflow".into(), Value::text("reject-publish"))];
    let (name, pattern, apply_to) = (name.into(), pattern.into(), ApplyTo::Queues);
    let policy = Policy { name, pattern, apply_to, priority, definition: definition.into_iter().collect() };
    node.apply(Change::SetPolicy { vhost: "/".into(), kind, policy }).unwrap();
}

fn declare(node: &Node) {
    for number in 0..QUEUES {
        let (vhost, name): (Name, Name) = ("/".into(), format!("queue.{number}").into());
        let (durable, exclusive, auto_delete, arguments) = (true, None, false, Table::new());
        let (origin, id) = (Origin::Client, None);
        node.apply(Change::DeclareQueue { vhost, name, durable, exclusive, auto_delete, arguments, origin, id })
            .unwrap();
    }
}
