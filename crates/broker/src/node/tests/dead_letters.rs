//! Where messages go that die, and when they leave the queue they died in.

use std::borrow::Cow;

use super::*;
use crate::properties::{Afterlife, Death, DeathReason, Property};
use crate::queue::{Overflow, QueueSettings};
use crate::store::{MemoryPressure, StorePace};
use crate::topology::{ApplyTo, Policy, PolicyKind};
use crate::value::Value;

/// Writes deaths down as text in the properties: queue and reason of each, the last first. Text of a client that begins with
/// `cc ` names further routing keys.
#[derive(Debug)]
struct AsText;

impl Properties for AsText {
    fn headers(&self, _: &Message) -> Table {
        Table::new()
    }

    fn property<'a>(&self, _: &'a Message, _: Property) -> Option<Cow<'a, [u8]>> {
        None
    }

    fn deaths(&self, message: &Message) -> Vec<(Name, String)> {
        let text = String::from_utf8_lossy(message.properties()).into_owned();
        text.lines().filter_map(|line| line.split_once(' ')).map(|(queue, why)| (queue.into(), why.into())).collect()
    }

    fn after_death(&self, message: &Message, death: &Death<'_>) -> Afterlife {
        let text = String::from_utf8_lossy(message.properties()).into_owned();
        let further = text.strip_prefix("cc ").map(str::to_owned);
        let before = if further.is_some() { "" } else { &text };
        let history = format!("{} {}\n{before}", death.queue, death.reason.as_str());
        let mut afterlife = NoProperties.after_death(&message.with_properties(history.as_bytes()), death);
        if death.routing_key.is_none() {
            afterlife.routing_keys.extend(further);
        }
        afterlife
    }

    fn with_header(&self, message: &Message, _: &str, _: &Value) -> Message {
        message.clone()
    }
}

struct Bench {
    node: Node,
    clock: Arc<ManualClock>,
    store: Arc<FakeStore>,
}

impl Bench {
    fn new() -> Self {
        let (clock, store) = (Arc::new(ManualClock::at(Timestamp(1000))), FakeStore::new());
        let node = Node::within(Surroundings {
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            properties: Arc::new(AsText),
            journal: Some(Arc::new(Kept::default())),
            store: Some(store.shared()),
            ..Surroundings::default()
        });
        Self { node, clock, store }
    }

    fn declare(&self, name: &str, durable: bool, arguments: &[(&str, Value)]) -> Arc<QueueCell> {
        let arguments = arguments.iter().map(|(name, value)| (Name::from(*name), value.clone())).collect();
        let (exclusive, auto_delete, origin, id) = (None, false, Origin::Client, None);
        let (vhost, name) = (vhost(), Name::from(name));
        let cell_name = Name::clone(&name);
        let change = Change::DeclareQueue { vhost, name, durable, exclusive, auto_delete, arguments, origin, id };
        self.node.apply(change).unwrap();
        self.cell(&cell_name)
    }

    fn cell(&self, name: &str) -> Arc<QueueCell> {
        self.node.queue("/", name, ONE).unwrap()
    }

    /// Lets time pass for everybody who asked for it.
    fn pass(&self, ms: u64) {
        self.clock.advance(ms).into_iter().for_each(|id| self.node.wake(id));
    }

    fn publish(&self, queue: &str, batch: Vec<Message>) -> Enqueued {
        let enqueued = self.cell(queue).enqueue(&mut { batch }, Fanout::One, &Arc::default());
        self.node.deliver_dead_letters();
        enqueued
    }

    fn take(&self, queue: &str) -> Option<(Position, Message)> {
        match self.cell(queue).take(false, &Arc::default()) {
            Ok((Taken::Message(position, message, _), _)) => Some((position, message)),
            _ => None,
        }
    }

    /// What waits in a queue, by routing key and history.
    fn drain(&self, queue: &str) -> Vec<String> {
        let shown = |message: Message| {
            let history = String::from_utf8_lossy(message.properties()).into_owned();
            format!("{} {}", message.routing_key(), history.replace('\n', "; ")).trim().to_owned()
        };
        std::iter::from_fn(|| self.take(queue).map(|(_, message)| shown(message))).collect()
    }

    fn ready(&self, queue: &str) -> usize {
        self.cell(queue).counts().ready
    }

    fn kept(&self, queue: &str) -> usize {
        self.store.kept(Area::Log, self.cell(queue).info().id).len()
    }
}

fn text(text: &str) -> Value {
    Value::text(text)
}

/// Arguments of a queue whose messages die at once, and go to an exchange.
fn dying(exchange: &str, routing_key: Option<&str>) -> Vec<(&'static str, Value)> {
    let mut arguments = vec![("x-message-ttl", Value::I32(0)), ("x-dead-letter-exchange", text(exchange))];
    arguments.extend(routing_key.map(|key| ("x-dead-letter-routing-key", text(key))));
    arguments
}

fn with_properties(key: &str, properties: &str) -> Message {
    let mut draft = Draft::new(Vec::new(), "", key);
    draft.properties(properties.as_bytes());
    draft.message()
}

#[test]
fn the_dead_go_by_the_key_of_their_queue_or_their_own() {
    for (routing_key, properties, expected) in [
        (None, "", [vec!["one q expired;"], vec![]]),
        (Some("two"), "", [vec![], vec!["two q expired;"]]),
        (Some("nowhere"), "", [vec![], vec![]]),
        (None, "cc two", [vec!["one q expired;"], vec!["one q expired;"]]),
        (Some("two"), "cc one", [vec![], vec!["two q expired;"]]),
        (None, "cc one", [vec!["one q expired;"], vec![]]),
    ] {
        let bench = Bench::new();
        bench.declare("q", false, &dying("", routing_key));
        bench.declare("one", false, &[]);
        bench.declare("two", false, &[]);
        bench.publish("q", vec![with_properties("one", properties)]);
        assert_eq!([bench.drain("one"), bench.drain("two")], expected, "{routing_key:?} {properties}");
        assert_eq!(bench.ready("q"), 0);
    }
}

#[test]
fn the_dead_are_gone_without_an_exchange_or_a_queue_behind_it() {
    for (exchange, durable) in [("missing", true), ("amq.fanout", true), ("missing", false)] {
        let bench = Bench::new();
        bench.declare("q", durable, &dying(exchange, None));
        bench.publish("q", vec![persistent("q"), message("q", 1)]);
        assert_eq!((bench.ready("q"), bench.kept("q")), (0, 0), "{exchange}");
    }
}

#[test]
fn the_dead_go_to_every_queue_once_and_in_order() {
    let bench = Bench::new();
    bench.declare("q", false, &dying("amq.fanout", None));
    for queue in ["one", "two", "three"] {
        bench.declare(queue, false, &[]);
        bench.node.apply(bind("amq.fanout", queue)).unwrap();
    }
    // More than are moved at a time.
    let keys: Vec<String> = (0..3000).map(|number| number.to_string()).collect();
    bench.publish("q", keys.iter().map(|key| message(key, 1)).collect());
    for queue in ["one", "two", "three"] {
        let expected: Vec<String> = keys.iter().map(|key| format!("{key} q expired;")).collect();
        assert!(bench.drain(queue) == expected, "{queue}");
    }
}

#[test]
fn what_is_too_much_rejected_or_refused_says_why() {
    let dead = |more: &[(&'static str, Value)]| {
        let mut arguments = vec![("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("dead"))];
        arguments.extend_from_slice(more);
        arguments
    };
    let bench = Bench::new();
    bench.declare("dead", false, &[]);
    bench.declare("long", false, &dead(&[("x-max-length", Value::I32(1))]));
    bench.publish("long", vec![message("a", 1), message("b", 1)]);
    assert_eq!(bench.drain("dead"), ["dead long maxlen;"]);
    let refusing = dead(&[("x-max-length", Value::I32(0)), ("x-overflow", text("reject-publish-dlx"))]);
    bench.declare("refusing", false, &refusing);
    assert_eq!(bench.publish("refusing", vec![message("a", 1), message("b", 1)]).refused, [0, 1]);
    assert_eq!(bench.drain("dead"), ["dead refusing maxlen;", "dead refusing maxlen;"]);
    let cell = bench.declare("rejected", false, &dead(&[]));
    bench.publish("rejected", vec![message("a", 1)]);
    let taken = bench.take("rejected").unwrap();
    cell.reject(None, vec![taken]);
    bench.node.deliver_dead_letters();
    assert_eq!((bench.drain("dead"), cell.counts().unsettled), (vec!["dead rejected rejected;".to_owned()], 0));
}

#[test]
fn who_would_go_round_for_ever_is_dropped() {
    for (chain, ends_in) in [
        // Into the queue it died in.
        (&["a"][..], None),
        (&["a", "b"], None),
        (&["a", "b", "c"], None),
        (&["a", "b", "end"], Some("end")),
    ] {
        let bench = Bench::new();
        for (index, queue) in chain.iter().enumerate() {
            let next = chain[(index + 1) % chain.len()];
            let arguments = if *queue == "end" { Vec::new() } else { dying("", Some(next)) };
            bench.declare(queue, false, &arguments);
        }
        bench.publish("a", vec![message("a", 1)]);
        for queue in chain {
            assert_eq!(bench.ready(queue), usize::from(ends_in == Some(queue)), "{chain:?} {queue}");
        }
    }
}

#[test]
fn a_rejection_on_the_way_lets_a_message_come_round() {
    let bench = Bench::new();
    bench.declare("work", true, &[("x-dead-letter-exchange", text("")), ("x-dead-letter-routing-key", text("retry"))]);
    let retry = [
        ("x-message-ttl", Value::I32(10)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text("work")),
    ];
    bench.declare("retry", true, &retry);
    bench.publish("work", vec![persistent("work")]);
    for _ in 0..20 {
        let taken = bench.take("work").unwrap();
        bench.cell("work").reject(None, vec![taken]);
        bench.node.deliver_dead_letters();
        assert_eq!((bench.ready("work"), bench.ready("retry")), (0, 1));
        bench.pass(9);
        assert_eq!(bench.ready("retry"), 1);
        bench.pass(1);
        assert_eq!((bench.ready("work"), bench.ready("retry")), (1, 0));
        bench.store.write_all();
        bench.pass(100);
        assert_eq!((bench.kept("work"), bench.kept("retry")), (1, 0));
    }
}

#[test]
fn a_long_chain_of_queues_needs_no_stack() {
    let bench = Bench::new();
    let names: Vec<String> = (0..1001).map(|number| format!("q{number}")).collect();
    for pair in names.windows(2) {
        bench.declare(&pair[0], true, &dying("", Some(&pair[1])));
    }
    bench.declare(&names[1000], true, &[]);
    bench.publish("q0", vec![persistent("q0"), persistent("q0")]);
    assert_eq!(bench.ready("q1000"), 2);
    // All of them still have it, until the last has it for sure; those on the way are done with as soon as the next has it.
    assert_eq!(bench.kept("q0"), 2);
    bench.store.write_all();
    assert!(!bench.node.finish_moves());
    assert!((0..1000).all(|number| bench.kept(&names[number]) == 0));
    assert_eq!(bench.kept("q1000"), 2);
}

#[test]
fn a_chain_that_is_too_long_for_one_is_gone_on_with_by_the_clock() {
    let bench = Bench::new();
    let names: Vec<String> = (0..1100).map(|number| format!("q{number}")).collect();
    for pair in names.windows(2) {
        bench.declare(&pair[0], false, &dying("", Some(&pair[1])));
    }
    bench.declare(&names[1099], false, &[]);
    bench.publish("q0", vec![message("q0", 1)]);
    assert_eq!(bench.ready("q1099"), 0);
    bench.pass(0);
    assert_eq!(bench.ready("q1099"), 1);
}

#[test]
fn a_message_stays_until_its_copies_are_on_disk() {
    for (targets, stays) in
        [(&[true][..], true), (&[true, true], true), (&[false, true], true), (&[false], false), (&[], false)]
    {
        let bench = Bench::new();
        bench.declare("q", true, &dying("amq.fanout", None));
        for (index, durable) in targets.iter().enumerate() {
            let name = index.to_string();
            bench.declare(&name, *durable, &[]);
            bench.node.apply(bind("amq.fanout", &name)).unwrap();
        }
        bench.publish("q", vec![persistent("q"), message("q", 1), persistent("q")]);
        assert_eq!(bench.ready("q"), 0);
        assert_eq!(bench.kept("q"), if stays { 2 } else { 0 }, "{targets:?}");
        bench.pass(1000);
        assert_eq!(bench.kept("q"), if stays { 2 } else { 0 }, "{targets:?}: not on disk yet");
        bench.store.write_all();
        assert_eq!(bench.kept("q"), if stays { 2 } else { 0 }, "{targets:?}: nobody looked");
        bench.pass(1000);
        assert_eq!(bench.kept("q"), 0, "{targets:?}");
        for (index, durable) in targets.iter().enumerate() {
            let name = index.to_string();
            assert_eq!((bench.ready(&name), bench.kept(&name)), (3, if *durable { 2 } else { 0 }));
        }
        bench.pass(1000);
        assert_eq!(bench.clock.next_due(), None, "nothing is left to look for");
    }
}

#[test]
fn a_message_of_which_no_disk_knows_needs_no_waiting() {
    let bench = Bench::new();
    bench.declare("q", false, &dying("", Some("dead")));
    bench.declare("dead", true, &[]);
    bench.publish("q", vec![persistent("q")]);
    assert_eq!((bench.ready("dead"), bench.kept("dead"), bench.node.finish_moves()), (1, 1, false));
}

#[test]
fn a_queue_that_is_deleted_takes_nothing_back() {
    let bench = Bench::new();
    let cell = bench.declare("q", true, &dying("", Some("dead")));
    bench.declare("dead", true, &[]);
    bench.publish("q", vec![persistent("q")]);
    let id = cell.info().id;
    bench.node.delete_queue(&vhost(), "q", ONE, CloseCondition::default()).unwrap();
    assert_eq!(bench.store.kept(Area::Log, id), [0; 0]);
    bench.store.write_all();
    assert!(!bench.node.finish_moves());
    assert_eq!((bench.ready("dead"), bench.kept("dead")), (1, 1));
    // The dead of a queue that is gone still go their way.
    let cell = bench.declare("late", true, &dying("", Some("dead")));
    cell.enqueue(&mut vec![persistent("late")], Fanout::One, &Arc::default());
    bench.node.delete_queue(&vhost(), "late", ONE, CloseCondition::default()).unwrap();
    bench.node.deliver_dead_letters();
    assert_eq!(bench.ready("dead"), 2);
}

#[test]
fn what_a_full_disk_does_not_take_is_not_read_back_to_die() {
    let bench = Bench::new();
    let cell = bench.declare("q", true, &[]);
    bench.declare("dead", true, &[]);
    bench.store.set_pressure(MemoryPressure::All);
    let large = || {
        let mut draft = Draft::new(Vec::new(), "", "dead");
        draft.set_persistent();
        draft.body(&[0; 10_000]);
        draft.stamp(Timestamp(1000), Some(10));
        draft.message()
    };
    bench.publish("q", (0..100).map(|_| large()).collect());
    bench.store.write_all();
    bench.publish("q", vec![large()]);
    bench.store.write_all();
    // Everything is on disk and too old, and the disk is slow from here on.
    let to = |exchange: &str| Policy {
        name: "p".into(),
        pattern: "^q$".into(),
        apply_to: ApplyTo::All,
        priority: 0,
        definition: [(Name::from("dead-letter-exchange"), text(exchange))].into_iter().collect(),
    };
    bench.store.set_pace(StorePace::Pause);
    bench.clock.advance(20);
    bench.node.apply(Change::SetPolicy { vhost: vhost(), kind: PolicyKind::User, policy: to("") }).unwrap();
    let id = cell.info().id;
    let mut pieces = 0;
    while let Some(loaded) = bench.store.answer(id, 10) {
        bench.node.loaded(id, loaded);
        pieces += 1;
        assert!(pieces <= 2, "it is read back though the disk does not take the copies");
    }
    let moved = bench.ready("dead");
    assert!(moved > 0 && moved < 30, "{moved}");
    // Once the disk has them, it goes on.
    for _ in 0..100 {
        bench.store.write_all();
        bench.pass(100);
        while let Some(loaded) = bench.store.answer(id, 10) {
            bench.node.loaded(id, loaded);
        }
    }
    assert_eq!((bench.ready("q"), bench.kept("q"), bench.ready("dead")), (0, 0, 101));
}

#[test]
fn threads_that_let_messages_die_at_once_keep_their_order() {
    const EACH: usize = 2_000;
    let bench = Bench::new();
    bench.declare("dead", false, &[]);
    let queues: Vec<_> =
        (0..4).map(|number| bench.declare(&format!("q{number}"), false, &dying("", Some("dead")))).collect();
    std::thread::scope(|scope| {
        for cell in &queues {
            scope.spawn(|| {
                for number in 0..EACH {
                    let message = with_properties(&number.to_string(), "");
                    cell.enqueue(&mut vec![message], Fanout::One, &Arc::default());
                    if number % 3 == 0 {
                        bench.node.deliver_dead_letters();
                    }
                }
                bench.node.deliver_dead_letters();
            });
        }
    });
    bench.pass(0);
    assert!(bench.node.context.dead_letters.is_empty());
    assert_eq!(bench.ready("dead"), 4 * EACH);
    // Which it was within its queue is not told by what is left of it, but how many there are is.
    let mut seen = [0; 4];
    for history in bench.drain("dead") {
        let queue = (0..4).find(|number| history.contains(&format!(" q{number} "))).unwrap();
        seen[queue] += 1;
    }
    assert_eq!(seen, [EACH; 4]);
}

#[test]
fn many_targets_cost_no_more_than_their_number() {
    let bench = Bench::new();
    bench.declare("q", false, &dying("amq.fanout", None));
    for number in 0..500 {
        let name = number.to_string();
        bench.declare(&name, false, &[]);
        bench.node.apply(bind("amq.fanout", &name)).unwrap();
    }
    bench.publish("q", (0..200).map(|_| message("q", 1)).collect());
    assert!((0..500).all(|number| bench.ready(&number.to_string()) == 200));
}

#[test]
fn a_target_that_refuses_loses_the_message() {
    let bench = Bench::new();
    bench.declare("q", true, &dying("", Some("full")));
    bench.declare("full", true, &[("x-max-length", Value::I32(1)), ("x-overflow", text("reject-publish"))]);
    bench.publish("q", vec![persistent("q"), persistent("q")]);
    assert_eq!((bench.ready("q"), bench.ready("full")), (0, 1));
    bench.store.write_all();
    bench.pass(100);
    assert_eq!((bench.kept("q"), bench.kept("full")), (0, 1));
}

#[test]
fn reasons_and_settings_are_what_the_queue_says() {
    assert_eq!(DeathReason::MaxLen.as_str(), "maxlen");
    let bench = Bench::new();
    let arguments = [("x-max-length", Value::I32(2)), ("x-overflow", text("reject-publish"))];
    let cell = bench.declare("q", false, &arguments);
    assert!(cell.may_refuse() && !cell.keeps_rejected() && !cell.wants_time());
    cell.configure(&QueueSettings {
        overflow: Overflow::DropHead,
        message_ttl_ms: Some(1),
        ..QueueSettings::default()
    });
    assert!(!cell.may_refuse() && cell.wants_time());
}
