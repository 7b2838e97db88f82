//! Nanoseconds per publish decoded and per deliver encoded.
//!
//! `cargo bench -p leveret-protocol` prints, for each case, the fastest and the median of its rounds. The fastest is what
//! the code costs; the distance between the two is what the machine was doing meanwhile.

#![expect(clippy::unwrap_used, reason = "input made here decodes")]
#![expect(clippy::print_stdout, reason = "the figures are the result")]
#![expect(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]

use leveret_protocol::amqp091::frame::{write_content, write_method};
use leveret_protocol::amqp091::method::{BasicAck, BasicDeliver, BasicPublish};
use leveret_protocol::amqp091::{ContentHeader, Frame, FrameKind, Method, Properties, TableWriter, Value};
use std::hint::black_box;
use std::time::Instant;

/// Messages in the buffer that one pass goes through, as a read under load would bring them.
const MESSAGES: u32 = 64;
const PASSES: u32 = 2_000;
const ROUNDS: usize = 41;
const FRAME_MAX: usize = 131_072;

const PUBLISH: BasicPublish<'_> =
    BasicPublish { ticket: 0, exchange: "orders", routing_key: "order.created", mandatory: false, immediate: false };
const DELIVER: BasicDeliver<'_> = BasicDeliver {
    consumer_tag: "ctag1.8f3a",
    delivery_tag: 4_711,
    redelivered: false,
    exchange: "orders",
    routing_key: "order.created",
};

fn main() {
    let mut table = Vec::new();
    TableWriter::new(&mut table)
        .field("x-origin", Value::LongStr(b"shop-7"))
        .field("x-attempt", Value::I32(3))
        .field("x-traced", Value::Bool(true))
        .field("x-sent-at", Value::Timestamp(1_700_000_000));
    let headers = leveret_protocol::amqp091::Table::parse(&table).unwrap();
    let mut with = Vec::new();
    Properties { headers: Some(headers), delivery_mode: Some(2), ..Properties::default() }.encode(&mut with);
    let without: &[u8] = &[0x10, 0, 2];

    for (name, properties) in [("no headers", without), ("4 headers", &with)] {
        for size in [16, 1024] {
            let body = vec![b'x'; size];
            let mut buffer = Vec::new();
            for _ in 0..MESSAGES {
                write_content(&mut buffer, 1, &PUBLISH, properties, &body, FRAME_MAX);
            }
            measure(&format!("decode publish, {size} B, {name}"), || decode_all(black_box(&buffer)));
        }
    }
    for (name, properties) in [("no headers", without), ("4 headers", &with)] {
        measure(&format!("decode properties, {name}"), || {
            for _ in 0..MESSAGES {
                let properties = Properties::decode(black_box(properties)).unwrap();
                black_box((properties.headers, properties.delivery_mode, properties.expiration));
            }
        });
    }
    for (name, properties) in [("no headers", without), ("4 headers", &with)] {
        for size in [16, 1024] {
            let body = vec![b'x'; size];
            let mut buffer = Vec::with_capacity(MESSAGES as usize * (size + 256));
            measure(&format!("encode deliver, {size} B, {name}"), || {
                buffer.clear();
                for _ in 0..MESSAGES {
                    write_content(&mut buffer, 1, black_box(&DELIVER), properties, black_box(&body), FRAME_MAX);
                }
                black_box(&buffer);
            });
        }
    }
    let mut buffer = Vec::with_capacity(MESSAGES as usize * 32);
    measure("encode ack", || {
        buffer.clear();
        for _ in 0..MESSAGES {
            write_method(&mut buffer, 1, black_box(&BasicAck { delivery_tag: 9, multiple: false }));
        }
        black_box(&buffer);
    });
}

/// Goes through a buffer as a session does: every frame, and what is in it.
fn decode_all(mut rest: &[u8]) {
    while let Ok(Some((frame, used))) = Frame::decode(rest, FRAME_MAX) {
        match frame.kind {
            FrameKind::Method => {
                let Method::BasicPublish(publish) = Method::decode(frame.payload).unwrap() else { return };
                black_box((publish.exchange, publish.routing_key, publish.mandatory));
            }
            FrameKind::Header => {
                let header = ContentHeader::decode(frame.payload).unwrap();
                black_box((header.body_size, header.properties));
            }
            FrameKind::Body | FrameKind::Heartbeat => {
                black_box(frame.payload);
            }
        }
        rest = rest.get(used..).unwrap();
    }
}

/// Prints what one message costs; `run` handles [`MESSAGES`].
fn measure(name: &str, mut run: impl FnMut()) {
    for _ in 0..PASSES * 4 {
        run();
    }
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..PASSES {
                run();
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(PASSES * MESSAGES)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    let (fastest, median) = (rounds.first().unwrap(), rounds.get(ROUNDS / 2).unwrap());
    println!("{name:<36} {fastest:6.1} ns   median {median:6.1} ns");
}
