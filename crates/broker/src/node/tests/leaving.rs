//! A message that dies in a quorum queue stays there until every queue that it goes to has taken it.

use super::*;
use crate::queue::{QueueCounts, Returned};
use crate::value::Value;

struct Bench {
    node: Node,
    clock: Arc<ManualClock>,
    source: Arc<QueueCell>,
}

fn declare(name: &str, arguments: &[(&str, Value)]) -> Change {
    Change::DeclareQueue {
        vhost: vhost(),
        name: name.into(),
        durable: true,
        exclusive: None,
        auto_delete: false,
        arguments: arguments.iter().map(|(name, value)| ((*name).into(), value.clone())).collect(),
        origin: Origin::Client,
        id: None,
    }
}

impl Bench {
    /// A node with a quorum queue that may hold three messages, and whose dead go to `amq.fanout`.
    fn new() -> Self {
        let clock = Arc::new(ManualClock::default());
        let surroundings = Surroundings { clock: Arc::clone(&clock) as Arc<dyn Clock>, ..Surroundings::default() };
        let node = Node::within(surroundings);
        let arguments = [
            ("x-queue-type", Value::text("quorum")),
            ("x-dead-letter-exchange", Value::text("amq.fanout")),
            ("x-dead-letter-strategy", Value::text("at-least-once")),
            ("x-overflow", Value::text("reject-publish")),
            ("x-max-length", Value::I32(3)),
        ];
        node.apply(declare("source", &arguments)).unwrap();
        let source = node.queue("/", "source", ONE).unwrap();
        Self { node, clock, source }
    }

    /// Another queue that the dead go to, with place for so many.
    fn target(&self, name: &str, max_length: i32) -> Arc<QueueCell> {
        let arguments = [("x-max-length", Value::I32(max_length)), ("x-overflow", Value::text("reject-publish"))];
        self.node.apply(declare(name, &arguments)).unwrap();
        self.node.apply(bind("amq.fanout", name)).unwrap();
        self.node.queue("/", name, ONE).unwrap()
    }

    /// Publishes messages to the source; how many it refuses.
    fn publish(&self, count: usize) -> usize {
        let mut batch = vec![message("source", 1); count];
        self.source.enqueue(&mut batch, Fanout::One, &Arc::default()).refused.len()
    }

    fn reject_all(&self) {
        while let (Taken::Message(position, message, _), _) = self.source.take(false, &Arc::default()).unwrap() {
            self.source.reject(None, vec![(position, message)]);
        }
        self.node.deliver_dead_letters();
    }

    fn pass(&self, ms: u64) {
        for queue in self.clock.advance(ms) {
            self.node.wake(queue);
        }
    }
}

fn ready(cell: &QueueCell) -> usize {
    cell.counts().ready
}

fn empty(cell: &QueueCell) {
    while let (Taken::Message(position, ..), _) = cell.take(true, &Arc::default()).unwrap() {
        cell.discard(std::slice::from_ref(&(position.0..position.0 + 1)));
    }
}

#[test]
fn what_has_nowhere_to_go_stays_and_counts() {
    let bench = Bench::new();
    assert_eq!(bench.publish(2), 0);
    bench.reject_all();
    assert_eq!(bench.source.counts(), QueueCounts::default());
    assert_eq!(bench.publish(2), 1, "two of three places are taken");
    bench.pass(10_000);
    let target = bench.target("target", 9);
    bench.pass(1000);
    assert_eq!(ready(&target), 2);
    assert_eq!(bench.publish(3), 1, "only the one that waits is left");
    assert_eq!(bench.clock.next_due(), None, "nobody waits for the clock any more");
}

#[test]
fn those_that_took_a_message_do_not_get_it_again() {
    let bench = Bench::new();
    let (roomy, narrow) = (bench.target("roomy", 9), bench.target("narrow", 1));
    bench.publish(3);
    bench.reject_all();
    assert_eq!((ready(&roomy), ready(&narrow)), (3, 1));
    for round in 1..=2 {
        bench.pass(1000);
        assert_eq!((ready(&roomy), ready(&narrow)), (3, 1), "{round}");
        empty(&narrow);
        bench.pass(1000);
        assert_eq!((ready(&roomy), ready(&narrow)), (3, 1), "{round}");
        assert_eq!(bench.publish(3), 2 - round, "{round}");
        empty(&bench.source);
    }
}

#[test]
fn a_message_whose_last_target_is_deleted_looks_for_another() {
    let bench = Bench::new();
    let narrow = bench.target("narrow", 0);
    bench.publish(1);
    bench.reject_all();
    assert_eq!(ready(&narrow), 0);
    bench.node.delete_queue(&vhost(), "narrow", ONE, CloseCondition::default()).unwrap();
    bench.pass(1000);
    let other = bench.target("other", 1);
    bench.pass(1000);
    bench.pass(1000);
    assert_eq!(ready(&other), 1);
}

#[test]
fn many_messages_go_at_once_when_there_is_a_way() {
    let bench = Bench::new();
    let arguments = [
        ("x-queue-type", Value::text("quorum")),
        ("x-dead-letter-exchange", Value::text("amq.fanout")),
        ("x-dead-letter-strategy", Value::text("at-least-once")),
        ("x-overflow", Value::text("reject-publish")),
    ];
    bench.node.apply(declare("long", &arguments)).unwrap();
    let bench = Bench { source: bench.node.queue("/", "long", ONE).unwrap(), ..bench };
    // So many that a way of handling them whose time grows with the square of their number would not come to an end.
    let count = 200_000;
    bench.publish(count);
    let mut all = Vec::new();
    while let (Taken::Message(position, message, _), _) = bench.source.take(false, &Arc::default()).unwrap() {
        all.push((position, message));
    }
    bench.source.reject(None, all);
    bench.node.deliver_dead_letters();
    let target = bench.target("target", 1_000_000);
    bench.pass(1000);
    assert!((1..count).contains(&ready(&target)), "others have their turn");
    while bench.clock.next_due().is_some() {
        bench.pass(0);
    }
    assert_eq!(ready(&target), count);
}

#[test]
fn what_fails_too_often_dies_and_a_purge_leaves_what_is_on_its_way() {
    let bench = Bench::new();
    bench.publish(1);
    for _ in 0..=20 {
        let (Taken::Message(position, message, _), _) = bench.source.take(false, &Arc::default()).unwrap() else {
            panic!("it died too early")
        };
        let (settled, cause) = (false, crate::queue::ReturnCause::Failed);
        bench.source.put_back(&mut vec![Returned {
            consumer: None,
            settled,
            cause,
            messages: vec![(position, message)],
        }]);
    }
    bench.node.deliver_dead_letters();
    assert_eq!(bench.source.counts(), QueueCounts::default());
    assert_eq!(bench.source.purge().unwrap().0, 0);
    let target = bench.target("target", 9);
    bench.pass(1000);
    assert_eq!(ready(&target), 1);
}

#[test]
fn what_came_back_counts_as_memory_as_long_as_it_waits() {
    let store = FakeStore::new();
    let node = Node::within(Surroundings { store: Some(store.shared()), ..Surroundings::default() });
    node.apply(declare("q", &[("x-queue-type", Value::text("quorum"))])).unwrap();
    let cell = node.queue("/", "q", ONE).unwrap();
    let size = message("q", 100).size().cast_signed();
    cell.enqueue(&mut vec![message("q", 100); 2], Fanout::One, &Arc::default());
    let take = || match cell.take(false, &Arc::default()).unwrap() {
        (Taken::Message(position, message, _), _) => (position, message),
        other => panic!("{other:?}"),
    };
    let taken = take();
    assert_eq!((store.memory(), cell.is_stored()), (size, true));
    cell.requeue(None, &mut vec![taken]);
    assert_eq!(store.memory(), 2 * size);
    take();
    assert_eq!(store.memory(), size);
    node.delete_queue(&vhost(), "q", ONE, CloseCondition::default()).unwrap();
    assert_eq!(store.memory(), 0);
}

#[test]
fn a_quorum_queue_says_where_it_is() {
    let bench = Bench::new();
    let members = bench.source.members(&"here".into()).unwrap();
    assert_eq!((&*members.leader, members.members.len(), members.online), ("here", 1, vec!["here".into()]));
    assert_eq!(bench.target("classic", 1).members(&"here".into()), None);
}

#[test]
fn operators_see_what_came_back_in_front() {
    let bench = Bench::new();
    bench.publish(3);
    let source = &bench.source;
    let mut taken = Vec::new();
    while let (Taken::Message(position, message, _), _) = source.take(false, &Arc::default()).unwrap() {
        taken.push((position, message));
    }
    let [one, two, three] = taken.clone().try_into().unwrap();
    for returned in [&two, &three, &one] {
        source.requeue(None, &mut vec![returned.clone()]);
    }
    let browse = |after: Option<Position>, count| -> Vec<u64> {
        source.browse(after, count).unwrap().into_iter().map(|found| found.position.0 - one.0.0).collect()
    };
    for (after, count, expected) in
        [(None, 9, vec![1, 2, 0]), (None, 1, vec![1]), (Some(two.0), 1, vec![2]), (Some(one.0), 9, vec![])]
    {
        assert_eq!(browse(after, count), expected, "{after:?} {count}");
    }
    let out = source.take_at(three.0).unwrap().unwrap();
    assert!(out.redelivered);
    assert_eq!(browse(None, 9), [1, 0]);
    source.put_in_place(out);
    assert_eq!(browse(None, 9), [1, 0, 2]);
}
