//! From exchanges to queues.

use super::*;
use crate::properties::testing::Fixed;

impl Bench {
    /// The ids of the queues a message goes to, and whether that can be cached.
    fn route_all(&self, exchange: &str, routing_keys: &[&str], headers: &Table) -> (Vec<u64>, bool) {
        let mut routes = Routes::default();
        let (message, properties) = (&Message::bare(exchange, ""), &Fixed { headers: headers.clone(), property: None });
        let input = RoutingInput { routing_keys, message, properties, entropy: 0, now: Timestamp(0) };
        self.vhost().route(exchange, &input, &mut routes).unwrap();
        (routes.queues.iter().map(|id| id.0).collect(), routes.cacheable)
    }

    fn route(&self, exchange: &str, routing_key: &str) -> Vec<u64> {
        let (queues, cacheable) = self.route_all(exchange, &[routing_key], &Table::new());
        assert!(cacheable);
        queues
    }

    fn exchange_with_alternate(&mut self, name: &str, alternate: &str) {
        let arguments = table(&[("alternate-exchange", Value::text(alternate))]);
        self.apply(exchange_with(name, ExchangeKind::Direct, [true, false, false], arguments));
    }
}

#[test]
fn every_queue_is_bound_to_the_default_exchange_by_its_name() {
    let mut bench = Bench::new();
    let (a, b) = (bench.queue("a"), bench.queue("b"));
    assert_eq!(bench.route("", "b"), [b.0]);
    assert_eq!(bench.route("", "c"), []);
    let (queues, _) = bench.route_all("", &["b", "c", "a", "b"], &Table::new());
    assert_eq!(queues, [a.0, b.0]);
}

#[test]
fn publishing_to_a_missing_exchange_is_refused() {
    let bench = Bench::new();
    let error = bench.vhost().route("x", &input(&["k"], &Message::bare("x", "k")), &mut Routes::default()).unwrap_err();
    assert_eq!(error.to_string(), "no exchange 'x' in vhost '/'");
}

#[test]
fn queue_gets_one_copy_over_all_keys_and_bindings() {
    let mut bench = Bench::new();
    let (a, b) = (bench.queue("a"), bench.queue("b"));
    for (queue, key) in [("b", "1"), ("a", "2"), ("b", "2"), ("b", "3")] {
        bench.bind("amq.direct", &to_queue(queue), key);
    }
    for (keys, expected) in [
        (&["1"][..], &[b.0][..]),
        (&["1", "2"], &[a.0, b.0]),
        (&["3", "1", "1"], &[b.0]),
        (&["0", "1"], &[b.0]),
        (&["0"], &[]),
        (&[], &[]),
    ] {
        assert_eq!(bench.route_all("amq.direct", keys, &Table::new()), (expected.to_vec(), true), "{keys:?}");
    }
}

#[test]
fn routes_can_be_used_again() {
    let mut bench = Bench::new();
    let id = bench.queue("q");
    bench.bind("amq.fanout", &to_exchange("amq.topic"), "");
    bench.bind("amq.topic", &to_queue("q"), "a.#");
    let mut routes = Routes::default();
    for (key, expected) in [("a.b", &[id][..]), ("b", &[]), ("a", &[id])] {
        bench.vhost().route("amq.fanout", &input(&[key], &Message::bare("amq.fanout", key)), &mut routes).unwrap();
        assert_eq!(routes.queues, expected, "{key}");
    }
}

#[test]
fn messages_go_through_exchanges_bound_to_exchanges_once() {
    let mut bench = Bench::new();
    let (a, b) = (bench.queue("a"), bench.queue("b"));
    for name in ["x", "y", "z"] {
        bench.exchange(name, ExchangeKind::Direct);
    }
    for (source, destination) in [("x", "y"), ("y", "z"), ("z", "x"), ("x", "x"), ("x", "z")] {
        bench.bind(source, &to_exchange(destination), "k");
    }
    bench.bind("y", &to_queue("a"), "k");
    bench.bind("z", &to_queue("a"), "k");
    bench.bind("z", &to_queue("b"), "k");
    for exchange in ["x", "y", "z"] {
        assert_eq!(bench.route(exchange, "k"), [a.0, b.0], "{exchange}");
        assert_eq!(bench.route(exchange, "l"), [], "{exchange}");
    }
}

#[test]
fn internal_exchanges_take_messages_from_other_exchanges() {
    let mut bench = Bench::new();
    let id = bench.queue("q");
    bench.apply(exchange_with("x", ExchangeKind::Fanout, [true, false, true], Table::new()));
    bench.bind("x", &to_queue("q"), "");
    bench.bind("amq.direct", &to_exchange("x"), "k");
    assert_eq!(bench.route("amq.direct", "k"), [id.0]);
}

#[test]
fn alternate_exchange_takes_what_goes_nowhere() {
    let mut bench = Bench::new();
    let (a, b) = (bench.queue("a"), bench.queue("b"));
    bench.exchange_with_alternate("x", "y");
    bench.exchange_with_alternate("y", "z");
    bench.exchange("z", ExchangeKind::Fanout);
    bench.bind("x", &to_queue("a"), "1");
    bench.bind("y", &to_queue("a"), "2");
    bench.bind("z", &to_queue("b"), "");
    for (key, expected) in [("1", &[a.0][..]), ("2", &[a.0]), ("3", &[b.0])] {
        assert_eq!(bench.route("x", key), expected, "{key}");
    }
}

#[test]
fn alternate_exchange_is_asked_by_the_exchange_that_found_nothing_itself() {
    let mut bench = Bench::new();
    let id = bench.queue("q");
    bench.exchange("nowhere", ExchangeKind::Fanout);
    bench.exchange_with_alternate("x", "amq.fanout");
    bench.bind("amq.fanout", &to_queue("q"), "");
    bench.bind("x", &to_exchange("nowhere"), "k");
    assert_eq!(bench.route("x", "k"), [], "an exchange is somewhere, even if it leads nowhere");
    assert_eq!(bench.route("x", "l"), [id.0]);
    bench.bind("amq.direct", &to_exchange("x"), "l");
    assert_eq!(bench.route("amq.direct", "l"), [id.0], "also when it is not the first exchange");
}

#[test]
fn alternate_exchanges_that_are_missing_or_go_round_in_circles_lead_nowhere() {
    let mut bench = Bench::new();
    bench.exchange_with_alternate("lost", "missing");
    bench.exchange_with_alternate("self", "self");
    bench.exchange_with_alternate("x", "y");
    bench.exchange_with_alternate("y", "x");
    for exchange in ["lost", "self", "x", "y"] {
        assert_eq!(bench.route(exchange, "k"), [], "{exchange}");
    }
}

#[test]
fn default_exchange_as_an_alternate_leads_nowhere() {
    let mut bench = Bench::new();
    let id = bench.queue("q");
    bench.exchange_with_alternate("x", "");
    assert_eq!(bench.route("x", "q"), []);
    assert_eq!(bench.route("", "q"), [id.0]);
}

#[test]
fn result_depends_on_more_than_keys_once_a_headers_exchange_takes_part() {
    let mut bench = Bench::new();
    let id = bench.queue("q");
    bench.bind("amq.direct", &to_exchange("amq.headers"), "k");
    bench.bind("amq.direct", &to_queue("q"), "l");
    assert_eq!(
        bench.apply(bind_with("amq.headers", &to_queue("q"), "", table(&[("h", Value::I32(1))]))),
        Applied::Bound
    );
    let (with, without) = (table(&[("h", Value::I64(1))]), Table::new());
    assert_eq!(bench.route_all("amq.direct", &["k"], &with), (vec![id.0], false));
    assert_eq!(bench.route_all("amq.direct", &["k"], &without), (vec![], false));
    assert_eq!(bench.route_all("amq.direct", &["l"], &without), (vec![id.0], true));
}
