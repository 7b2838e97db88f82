//! What one client can make a broker hold. One test, in a process of its own, because it measures the process.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

use leveret_protocol::amqp091::frame::{write_content, write_method};
use leveret_protocol::amqp091::method::{BasicGet, BasicNack, BasicPublish, ChannelOpen, ChannelOpenOk};
use leveret_testkit::amqp091::{Channel, Connection, basic_publish, header_frame, method_frame};

const MIB: usize = 1024 * 1024;

/// What is done, how much memory it may take, and how it is done.
type Check = (&'static str, usize, fn(&Connection));

/// Octets of memory that the process has in use.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Says how much more memory is in use after `work` than before.
fn growth(work: impl FnOnce()) -> usize {
    let before = resident();
    work();
    resident().saturating_sub(before)
}

#[test]
fn one_client_cannot_make_the_broker_hold_much_by_little() {
    let checks: [Check; 4] = [
        ("answers that nobody reads", 64 * MIB, answers_that_nobody_reads),
        ("content that never comes", 64 * MIB, content_that_never_comes),
        ("routes to nowhere", 32 * MIB, routes_to_nowhere),
        ("high channel numbers", 16 * MIB, high_channel_numbers),
    ];
    Connection::open().channel().round_trip();
    for (what, limit, check) in checks {
        let connection = Connection::open();
        let grown = growth(|| check(&connection));
        assert!(grown < limit, "{what}: {} MiB", grown / MIB);
    }
}

/// A message of 1 MiB, asked for 4,000 times in 160 KB.
fn answers_that_nobody_reads(connection: &Connection) {
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    channel.publish("", &queue, &vec![b'x'; MIB]);
    let mut octets = Vec::new();
    for _ in 0..4000 {
        write_method(&mut octets, channel.number(), &BasicGet { ticket: 0, queue: &queue, no_ack: false });
        let nack = BasicNack { delivery_tag: 0, multiple: true, requeue: true };
        write_method(&mut octets, channel.number(), &nack);
    }
    channel.send_octets(&octets);
    served();
}

/// 2,000 channels that each announce 16 MiB.
fn content_that_never_comes(connection: &Connection) {
    for number in 1..=2000 {
        let channel: Channel = connection.channel_numbered(number);
        channel.send_octets(&method_frame(number, &basic_publish("", "nowhere")));
        channel.send_octets(&header_frame(number, 60, 16 * 1024 * 1024));
    }
    served();
}

/// More routing keys than anybody keeps.
fn routes_to_nowhere(connection: &Connection) {
    let channel = connection.channel();
    let mut octets = Vec::new();
    for number in 0..200_000 {
        let routing_key = format!("{number:0>200}");
        let publish = BasicPublish { routing_key: &routing_key, ..basic_publish("amq.direct", "") };
        write_content(&mut octets, channel.number(), &publish, &[], b"", 0);
        if octets.len() > 100_000 {
            channel.send_octets(&octets);
            octets.clear();
        }
    }
    channel.send_octets(&octets);
    channel.round_trip();
}

/// The highest number there is, on many connections.
fn high_channel_numbers(_: &Connection) {
    let connections: Vec<Connection> = (0..20).map(|_| Connection::open()).collect();
    for connection in &connections {
        let channel = connection.unopened_channel(u16::MAX);
        let _: ChannelOpenOk<'_> = channel.call(&ChannelOpen { out_of_band: "" });
    }
    served();
}

/// Awaits that every thread of the broker is through with what it was doing: each serves some of these connections.
fn served() {
    let connections: Vec<Connection> = (0..64).map(|_| Connection::open()).collect();
    for _ in 0..3 {
        for connection in &connections {
            connection.channel().round_trip();
        }
    }
}
