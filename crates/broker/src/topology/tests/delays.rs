//! Exchanges that hold messages back.

use super::*;
use crate::properties::testing::Fixed;

fn declare(name: &str, durable: bool) -> Change {
    Change::DeclareExchange {
        vhost: "/".into(),
        name: name.into(),
        kind: ExchangeKind::Delayed,
        durable,
        auto_delete: false,
        internal: false,
        arguments: table(&[("x-delayed-type", Value::text("topic"))]),
        origin: Origin::Client,
    }
}

fn delay_everything(delays: bool) -> Change {
    let definition = table(&[("delayed-message", Value::Bool(delays))]);
    let (pattern, apply_to) = ("^amq.direct$".into(), ApplyTo::Exchanges);
    let policy = Policy { name: "p".into(), pattern, apply_to, priority: 0, definition };
    Change::SetPolicy { vhost: "/".into(), kind: PolicyKind::User, policy }
}

/// The exchanges with a number, and it.
fn numbers(topology: &Topology) -> Vec<(String, u64, bool)> {
    let mut numbers: Vec<_> =
        topology.delays().map(|delay| (delay.exchange.to_string(), delay.id.0, delay.durable)).collect();
    numbers.sort_unstable();
    numbers
}

fn restored(records: Vec<Record>) -> Topology {
    let mut topology = Topology::new();
    for record in records {
        topology.restore(record).unwrap();
    }
    assert_eq!(topology.invariants(), Ok(()));
    topology
}

#[test]
fn what_an_exchange_holds_back_has_a_number_that_no_queue_has() {
    let mut bench = Bench::new();
    let first = bench.queue("q").0;
    bench.apply(declare("d", true));
    bench.apply(declare("t", false));
    bench.apply(declare("d", true));
    let (two, three) = (first + 1, first + 2);
    assert_eq!(numbers(&bench.0), [("d".into(), two, true), ("t".into(), three, false)]);
    assert_eq!(bench.0.take_numbered_delays().iter().map(|delay| delay.id.0).collect::<Vec<_>>(), [two, three]);
    assert_eq!(bench.0.take_numbered_delays(), []);
    assert_eq!(bench.queue("r").0, three + 1);
    let delete = Change::DeleteExchange { vhost: "/".into(), name: "d".into(), if_unused: false };
    let Applied::Deleted(removed) = bench.apply(delete) else { panic!("it is not deleted") };
    assert_eq!(removed.delays, [QueueId(two)]);
    bench.apply(declare("d", true));
    assert_eq!(numbers(&bench.0), [("d".into(), three + 2, true), ("t".into(), three, false)]);
    let deleted = bench.apply(Change::DeleteVhost { vhost: "/".into() });
    let Applied::Deleted(removed) = deleted else { panic!("it is not deleted") };
    assert_eq!(removed.delays, [QueueId(three), QueueId(three + 2)]);
}

#[test]
fn a_policy_gives_an_exchange_a_number_and_leaves_it() {
    let mut bench = Bench::new();
    for (change, is_held) in [(delay_everything(true), true), (delay_everything(false), false)] {
        bench.apply(change);
        assert_eq!(numbers(&bench.0), [("amq.direct".into(), 0, true)]);
        assert_eq!(bench.vhost().exchange("amq.direct").unwrap().wants_delay(), is_held);
    }
    assert_eq!(bench.queue("q"), QueueId(1));
}

#[test]
fn numbers_survive() {
    let mut bench = Bench::new();
    bench.apply(delay_everything(true));
    bench.queue("transient");
    bench.apply(declare("d", true));
    bench.apply(declare("t", false));
    let (records, snapshot) = (bench.0.take_records(), bench.0.durable_records());
    for records in [records, snapshot] {
        let mut again = restored(records.clone());
        assert_eq!(numbers(&again), [("amq.direct".into(), 0, true), ("d".into(), 2, true)]);
        assert_eq!(again.take_records(), []);
        // What lost its number gets another one, once all others are known.
        let rest = records.into_iter().filter(|record| !matches!(record, Record::DelayNumbered { .. })).collect();
        let mut without = restored(rest);
        assert_eq!(numbers(&without), []);
        without.reserve_queue_ids(QueueId(10));
        without.number_delays();
        assert_eq!(numbers(&without), [("amq.direct".into(), 10, true), ("d".into(), 11, true)]);
        assert_eq!(without.take_records().len(), 2);
    }
}

#[test]
fn a_message_waits_where_its_headers_ask_for_it() {
    let mut bench = Bench::new();
    bench.apply(declare("d", true));
    let queue = bench.queue("q");
    let number = bench.vhost().exchange("d").unwrap().delay().unwrap();
    for (source, destination) in
        [("d", Destination::Queue("q".into())), ("amq.fanout", Destination::Exchange("d".into()))]
    {
        bench.apply(Change::Bind {
            vhost: "/".into(),
            source: source.into(),
            destination,
            routing_key: "#".into(),
            arguments: Table::new(),
            asking: None,
        });
    }
    let mut routes = Routes::default();
    for (exchange, delay, holds_nothing, held) in [
        ("d", 100, false, true),
        ("amq.fanout", 100, false, true),
        ("d", 0, false, false),
        ("d", -100, false, false),
        ("d", 100, true, false),
    ] {
        let headers = table(&[("x-delay", Value::I32(delay))]);
        let (properties, message) = (&Fixed { headers, ..Fixed::default() }, &Message::bare(exchange, "k"));
        routes.holds_nothing = holds_nothing;
        let input = RoutingInput { routing_keys: &["k"], message, properties, entropy: 0, now: Timestamp(1000) };
        bench.vhost().route(exchange, &input, &mut routes).unwrap();
        let expected = if held { (vec![], vec![number]) } else { (vec![queue], vec![]) };
        assert_eq!((routes.queues.clone(), routes.delays.clone()), expected, "{exchange} {delay} {holds_nothing}");
        assert!(!routes.cacheable);
        if held {
            assert_eq!(routes.due, Timestamp(1100));
        }
    }
}
