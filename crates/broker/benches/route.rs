//! What routing one message costs, in nanoseconds. Run with `cargo bench -p leveret-broker`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a benchmark reads the clock, prints what it found and may stop at anything unexpected"
)]

use std::borrow::Cow;
use std::hint::black_box;
use std::time::Instant;

use leveret_broker::Name;
use leveret_broker::clock::Timestamp;
use leveret_broker::exchange::ExchangeKind;
use leveret_broker::message::{Draft, Message};
use leveret_broker::properties::{Afterlife, Death, NoProperties, Properties, Property};
use leveret_broker::topology::{Change, Destination, Origin, Routes, RoutingInput, Topology};
use leveret_broker::value::{Table, Value};

/// Messages per measurement.
const MESSAGES: usize = 1_000_000;

/// Bindings of each exchange.
const BINDINGS: usize = 1_000;

fn main() {
    let topology = topology();
    for (what, exchange, keys) in [
        ("direct, 1,000 bindings", "direct", (0..BINDINGS).map(|n| format!("key.{n}")).collect::<Vec<_>>()),
        ("default exchange, 1,000 queues", "", (0..BINDINGS).map(|n| format!("q{n}")).collect()),
        ("topic, 1,000 bindings, 1 match", "topic", (0..BINDINGS).map(|n| format!("eu.sensor{n}.t")).collect()),
        ("topic, 1,000 bindings, 3 matches", "topic", (0..BINDINGS).map(|n| format!("us.sensor{n}.t.x")).collect()),
        ("topic, 1,000 bindings, none", "topic", (0..BINDINGS).map(|n| format!("asia.sensor{n}")).collect()),
        ("topic, 1,000 bindings #.w.#", "wild", (0..BINDINGS).map(|n| format!("a.b.w{n}.c")).collect()),
        ("fanout to 100 queues", "fanout", vec![String::new()]),
        ("headers, 100 bindings", "headers", vec![String::new()]),
        ("consistent hash, 10 queues", "hash 10", (0..BINDINGS).map(|n| format!("key.{n}")).collect()),
        ("consistent hash, 1,000 queues", "hash 1000", (0..BINDINGS).map(|n| format!("key.{n}")).collect()),
        ("modulus hash, 1,000 queues", "modulus", (0..BINDINGS).map(|n| format!("key.{n}")).collect()),
        ("random, 1,000 queues", "random", vec![String::new()]),
    ] {
        measure(&topology, what, exchange, &keys);
    }
}

fn measure(topology: &Topology, what: &str, exchange: &str, keys: &[String]) {
    let vhost = topology.vhost("/").unwrap();
    let messages = if exchange == "headers" { MESSAGES / 20 } else { MESSAGES };
    let mut routes = Routes::default();
    let mut found = 0;
    let message = Draft::new(Vec::new(), exchange, "").message();
    let start = Instant::now();
    for key in keys.iter().cycle().take(messages) {
        let input = RoutingInput {
            routing_keys: &[key],
            message: &message,
            properties: &Headers,
            entropy: 0,
            now: Timestamp(0),
        };
        vhost.route(black_box(exchange), &input, &mut routes).unwrap();
        found += routes.queues.len();
    }
    let nanoseconds = start.elapsed().as_nanos() as f64 / messages as f64;
    println!("{what:36} {nanoseconds:9.1} ns, {:.2} queues", found as f64 / messages as f64);
}

fn topology() -> Topology {
    let mut topology = Topology::new();
    topology.apply(Change::CreateVhost { vhost: "/".into() }).unwrap();
    for (name, kind) in [
        ("direct", ExchangeKind::Direct),
        ("topic", ExchangeKind::Topic),
        ("wild", ExchangeKind::Topic),
        ("fanout", ExchangeKind::Fanout),
        ("headers", ExchangeKind::Headers),
        ("hash 10", ExchangeKind::ConsistentHash),
        ("hash 1000", ExchangeKind::ConsistentHash),
        ("modulus", ExchangeKind::ModulusHash),
        ("random", ExchangeKind::Random),
    ] {
        let (vhost, name, arguments, origin) = ("/".into(), name.into(), Table::new(), Origin::Client);
        let (durable, auto_delete, internal) = (true, false, false);
        topology
            .apply(Change::DeclareExchange { vhost, name, kind, durable, auto_delete, internal, arguments, origin })
            .unwrap();
    }
    for n in 0..BINDINGS {
        declare_queue(&mut topology, n);
        bind(&mut topology, "direct", n, &format!("key.{n}"), Table::new());
        let pattern = match n % 4 {
            0 => format!("eu.sensor{n}.*"),
            1 => format!("us.sensor{n}.#"),
            2 => format!("*.sensor{n}.t"),
            _ => format!("us.sensor{n}.t.x"),
        };
        bind(&mut topology, "topic", n, &pattern, Table::new());
        bind(&mut topology, "wild", n, &format!("#.w{n}.#"), Table::new());
        for exchange in ["hash 1000", "modulus", "random"] {
            bind(&mut topology, exchange, n, "1", Table::new());
        }
        if n < 10 {
            bind(&mut topology, "hash 10", n, "1", Table::new());
        }
        if n < 2 {
            bind(&mut topology, "topic", n, "us.#.x", Table::new());
        }
        if n < 100 {
            bind(&mut topology, "fanout", n, "", Table::new());
            let number = i32::try_from(n).unwrap();
            let arguments = [("n".into(), Value::I32(number)), ("kind".into(), Value::text("t"))];
            bind(&mut topology, "headers", n, "", arguments.into_iter().collect());
        }
    }
    topology
}

fn declare_queue(topology: &mut Topology, n: usize) {
    let (vhost, name, arguments, origin) = ("/".into(), format!("q{n}").into(), Table::new(), Origin::Client);
    let (durable, auto_delete, exclusive, id) = (true, false, None, None);
    topology
        .apply(Change::DeclareQueue { vhost, name, durable, exclusive, auto_delete, arguments, origin, id })
        .unwrap();
}

fn bind(topology: &mut Topology, source: &str, n: usize, routing_key: &str, arguments: Table) {
    let (vhost, source, routing_key) = ("/".into(), source.into(), routing_key.into());
    let destination = Destination::Queue(format!("q{n}").into());
    topology.apply(Change::Bind { vhost, source, destination, routing_key, arguments, asking: None }).unwrap();
}

/// Every message has the same headers.
#[derive(Debug)]
struct Headers;

impl Properties for Headers {
    fn headers(&self, _: &Message) -> Table {
        [("n".into(), Value::I32(7)), ("kind".into(), Value::text("t"))].into_iter().collect()
    }

    fn property<'a>(&self, message: &'a Message, property: Property) -> Option<Cow<'a, [u8]>> {
        NoProperties.property(message, property)
    }

    fn deaths(&self, message: &Message) -> Vec<(Name, String)> {
        NoProperties.deaths(message)
    }

    fn after_death(&self, message: &Message, death: &Death<'_>) -> Afterlife {
        NoProperties.after_death(message, death)
    }

    fn with_header(&self, message: &Message, name: &str, value: &Value) -> Message {
        NoProperties.with_header(message, name, value)
    }
}
