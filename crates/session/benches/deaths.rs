//! What it costs to write down a death, in nanoseconds. Run with `cargo bench -p leveret-session`.

#![expect(clippy::unwrap_used, reason = "input made here decodes")]
#![expect(clippy::print_stdout, reason = "the figures are the result")]
#![expect(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use std::hint::black_box;
use std::time::Instant;

use leveret_broker::clock::Timestamp;
use leveret_broker::message::{Draft, Message};
use leveret_broker::properties::{Death, DeathReason, Properties as _};
use leveret_broker::value;
use leveret_protocol::amqp091::{Properties, Table, TableWriter, Value};
use leveret_session::amqp091::BasicProperties;

/// Deaths per round.
const DEATHS: u32 = 100_000;
const ROUNDS: usize = 11;

fn main() {
    let plain = message(&[], Properties { delivery_mode: Some(2), ..Properties::default() });
    let mut headers = Vec::new();
    TableWriter::new(&mut headers)
        .field("x-origin", Value::LongStr(b"shop-7"))
        .field("x-attempt", Value::I32(3))
        .field("x-traced", Value::Bool(true))
        .field("x-sent-at", Value::Timestamp(1_700_000_000));
    let expiring = Properties { delivery_mode: Some(2), expiration: Some("60000"), ..Properties::default() };
    let with_headers = message(&headers, expiring);
    let twice = die(&die(&with_headers, "orders.work", None), "orders.retry", None);
    for (what, message, queue, routing_key) in [
        ("first death, no headers", &plain, "orders.work", None),
        ("first death, four headers", &with_headers, "orders.work", None),
        ("first death, key of the queue", &with_headers, "orders.work", Some("orders.retry")),
        ("third death, counted", &twice, "orders.work", None),
        ("third death, another queue", &twice, "orders.parked", None),
    ] {
        measure(what, || {
            black_box(die(black_box(message), queue, routing_key));
        });
    }
    measure("deaths read back", || {
        black_box(BasicProperties.deaths(black_box(&twice)));
    });
    measure("header set, four headers", || {
        black_box(BasicProperties.with_header(black_box(&with_headers), "x-delivery-count", &value::Value::I64(1)));
    });
}

fn message(headers: &[u8], properties: Properties<'_>) -> Message {
    let headers = (!headers.is_empty()).then(|| Table::parse(headers).unwrap());
    let mut raw = Vec::new();
    Properties { headers, ..properties }.encode(&mut raw);
    let mut draft = Draft::new(Vec::new(), "orders", "order.created");
    draft.properties(&raw);
    draft.body(&[7; 100]);
    draft.message()
}

fn die(message: &Message, queue: &str, routing_key: Option<&str>) -> Message {
    let time = Timestamp(1_700_000_000_000);
    let death = Death { queue, reason: DeathReason::Rejected, time, exchange: "orders.dead", routing_key };
    BasicProperties.after_death(message, &death).message
}

fn measure(what: &str, mut run: impl FnMut()) {
    let mut fastest = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..DEATHS {
            run();
        }
        fastest = fastest.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(DEATHS));
    }
    println!("{what:32} {fastest:8.1} ns");
}
