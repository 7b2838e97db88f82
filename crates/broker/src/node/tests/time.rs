//! What a node does as time passes, and the ids of queues with priorities.

use super::*;
use crate::topology::{ApplyTo, Policy, PolicyKind};
use crate::value::Value;

fn bench() -> (Arc<ManualClock>, Node) {
    let clock = Arc::new(ManualClock::default());
    let surroundings = Surroundings { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Surroundings::default() };
    (clock, Node::within(surroundings))
}

fn declare(node: &Node, name: &str, arguments: &[(&str, Value)]) -> Arc<QueueCell> {
    let (exclusive, auto_delete, durable, origin, id) = (None, false, false, Origin::Client, None);
    let arguments = arguments.iter().map(|(name, value)| (Name::from(*name), value.clone())).collect();
    let change = Change::DeclareQueue {
        vhost: vhost(),
        name: name.into(),
        durable,
        exclusive,
        auto_delete,
        arguments,
        origin,
        id,
    };
    node.apply(change).unwrap();
    node.queue("/", name, ONE).unwrap()
}

fn pass(clock: &ManualClock, node: &Node, ms: u64) {
    clock.advance(ms).into_iter().for_each(|id| node.wake(id));
}

fn policy(definition: &[(&str, Value)]) -> Change {
    let definition = definition.iter().map(|(key, value)| (Name::from(*key), value.clone())).collect();
    let (name, pattern, apply_to, priority) = ("p".into(), ".*".into(), ApplyTo::All, 0);
    Change::SetPolicy {
        vhost: vhost(),
        kind: PolicyKind::User,
        policy: Policy { name, pattern, apply_to, priority, definition },
    }
}

#[test]
fn a_queue_that_nobody_uses_goes() {
    let (clock, node) = bench();
    let lease = [("x-expires", Value::I32(100))];
    declare(&node, "q", &lease);
    node.apply(bind("amq.fanout", "q")).unwrap();
    pass(&clock, &node, 99);
    assert!(exists(&node));
    declare(&node, "q", &lease);
    pass(&clock, &node, 99);
    assert!(exists(&node), "declared again");
    pass(&clock, &node, 1);
    assert!(!exists(&node));
    assert_eq!((route(&node, "amq.fanout", ""), clock.asked_count()), (Ok(vec![]), 0));
}

#[test]
fn a_queue_with_a_lease_stays_as_long_as_somebody_consumes() {
    let (clock, node) = bench();
    let cell = declare(&node, "q", &[("x-expires", Value::I32(100))]);
    let id = consume(&cell, &Arc::default());
    pass(&clock, &node, 1000);
    assert!(exists(&node));
    cell.unsubscribe(id);
    pass(&clock, &node, 50);
    let again = consume(&cell, &Arc::default());
    pass(&clock, &node, 50);
    assert!(exists(&node));
    cell.unsubscribe(again);
    pass(&clock, &node, 100);
    assert!(!exists(&node));
}

#[test]
fn a_policy_gives_a_lease_and_takes_it_away() {
    let (clock, node) = bench();
    declare(&node, "q", &[]);
    assert_eq!(clock.next_due(), None);
    node.apply(policy(&[("expires", Value::I64(100))])).unwrap();
    node.apply(policy(&[("max-length", Value::I64(100))])).unwrap();
    pass(&clock, &node, 1000);
    assert!(exists(&node));
    node.apply(policy(&[("expires", Value::I64(100))])).unwrap();
    pass(&clock, &node, 100);
    assert!(!exists(&node));
}

#[test]
fn routes_are_looked_up_anew_when_a_queue_begins_to_go_by_time() {
    let (_, node) = bench();
    let cell = declare(&node, "q", &[]);
    for (definition, moves) in [
        (("max-length", 5), false),
        (("message-ttl", 10), true),
        (("message-ttl", 20), false),
        (("max-length", 5), true),
    ] {
        let (key, value) = definition;
        let before = node.generation();
        node.apply(policy(&[(key, Value::I64(value))])).unwrap();
        assert!(!moves || node.generation() > before, "{key} {value}");
        assert_eq!(cell.wants_time(), key == "message-ttl");
    }
}

#[test]
fn a_policy_reaches_a_queue_whose_consumers_wait() {
    let (clock, node) = bench();
    let (cell, mailbox) = (declare(&node, "q", &[]), Arc::default());
    let id = consume(&cell, &mailbox);
    let timed = |ttl| {
        let mut draft = Draft::new(Vec::new(), "", "q");
        draft.stamp(clock.now(), ttl);
        draft.message()
    };
    cell.enqueue(&mut vec![timed(None); 5], Fanout::One, &mailbox);
    assert_eq!((take(&mailbox).deliveries.len(), cell.counts().ready), (1, 4));
    node.apply(policy(&[("max-length", Value::I64(2))])).unwrap();
    assert_eq!(cell.counts().ready, 2);
    node.apply(policy(&[("message-ttl", Value::I64(10))])).unwrap();
    pass(&clock, &node, 9);
    cell.settle(Some(id), 1, &[]);
    let positions: Vec<_> = take(&mailbox).deliveries.iter().map(|delivery| delivery.position.0).collect();
    assert_eq!(positions, [3]);
    pass(&clock, &node, 1);
    assert_eq!(cell.counts().ready, 0);
}

#[test]
fn a_queue_with_priorities_has_an_id_for_each() {
    let (_, node) = bench();
    let ids: Vec<u64> = [
        declare(&node, "plain", &[]),
        declare(&node, "ten", &[("x-max-priority", Value::I32(10))]),
        declare(&node, "next", &[]),
        declare(&node, "all", &[("x-max-priority", Value::I32(255))]),
        declare(&node, "last", &[]),
    ]
    .iter()
    .map(|cell| cell.info().id.0)
    .collect();
    let first = ids[0];
    assert_eq!(ids, [0, 1, 12, 13, 269].map(|offset| first + offset));
    let state = node.state.read();
    let found = |id: u64| state.cell_of(QueueId(id)).map(|cell| cell.info().id.0 - first);
    for (offset, expected) in
        [(0, Some(0)), (1, Some(1)), (11, Some(1)), (12, Some(12)), (13, Some(13)), (268, Some(13)), (270, None)]
    {
        assert_eq!(found(first + offset), expected, "{offset}");
    }
    drop(state);
    node.delete_queue(&vhost(), "ten", ONE, CloseCondition::default()).unwrap();
    let state = node.state.read();
    assert!(state.cell_of(QueueId(first + 5)).is_none());
    drop(state);
    assert_eq!(declare(&node, "ten", &[]).info().id.0, first + 270, "no id is used again");
}
