//! An open connection: heartbeats, methods out of place, and its end.

use std::time::{Duration, Instant};

use leveret_protocol::amqp091::ReplyCode;
use leveret_protocol::amqp091::frame::{FrameKind, write_heartbeat};
use leveret_protocol::amqp091::method::{
    ChannelOpen, ConnectionClose, ConnectionCloseOk, ConnectionOpen, ConnectionTune, ConnectionTuneOk,
    ConnectionUpdateSecret, ConnectionUpdateSecretOk, Encode, QueueDeclare, QueueDeclareOk,
};
use leveret_testkit::amqp091::{Connection, basic_publish, method_frame, queue_declare};
use leveret_testkit::{broker, unique};

use crate::Blame as _;

const GOODBYE: ConnectionClose<'_> =
    ConnectionClose { reply_code: 200, reply_text: "Goodbye", class_id: 0, method_id: 0 };

fn open(virtual_host: &str) -> ConnectionOpen<'_> {
    ConnectionOpen { virtual_host, capabilities: "", insist: false }
}

/// A queue that would be seen from other connections and outlive its own.
fn lasting_queue(queue: &str) -> QueueDeclare<'_> {
    QueueDeclare { durable: true, exclusive: false, ..queue_declare(queue) }
}

#[track_caller]
fn assert_no_queue(queue: &str) {
    let connection = Connection::open();
    let channel = connection.channel();
    channel.send(&QueueDeclare { passive: true, ..lasting_queue(queue) });
    channel.expect_channel_error(ReplyCode::NotFound, &format!("no queue '{queue}' in vhost '/'"));
}

#[test]
fn a_method_out_of_place_on_channel_0_is_504() {
    #[track_caller]
    fn check(method: &impl Encode) {
        let connection = Connection::open();
        connection.send(method);
        let text = "unexpected method in connection state running";
        let close = connection.expect_connection_error(ReplyCode::ChannelError, text);
        assert_eq!(close.blame(), (method.class_id(), method.method_id()));
    }
    check(&open("/"));
    check(&ConnectionTuneOk { channel_max: 10, frame_max: 131_072, heartbeat: 0 });
    check(&ConnectionTune { channel_max: 10, frame_max: 131_072, heartbeat: 0 });
    check(&ConnectionCloseOk {});
    check(&ChannelOpen { out_of_band: "" });
    check(&queue_declare("q"));
    check(&basic_publish("", "q"));
}

#[test]
fn a_secret_can_be_updated() {
    let connection = Connection::open();
    let new_secret = broker::url().password.as_bytes();
    connection.send(&ConnectionUpdateSecret { new_secret, reason: "it is time" });
    let _: ConnectionUpdateSecretOk = connection.expect();
    connection.channel().round_trip();
}

#[test]
fn the_server_sends_heartbeats_twice_per_interval() {
    let connection = Connection::builder().heartbeat(1).open();
    let begun = Instant::now();
    for _ in 0..3 {
        connection.next_heartbeat();
        connection.send_frame(FrameKind::Heartbeat as u8, 0, &[]);
    }
    assert!(begun.elapsed() < Duration::from_secs(3), "three heartbeats took {:?}", begun.elapsed());
}

#[test]
fn a_silent_client_is_dropped_after_two_or_three_intervals() {
    let connection = Connection::builder().heartbeat(1).open();
    let begun = Instant::now();
    connection.expect_end();
    let lived = begun.elapsed();
    assert!((Duration::from_millis(1500)..Duration::from_secs(5)).contains(&lived), "dropped after {lived:?}");
}

#[test]
fn heartbeats_keep_a_client() {
    let connection = Connection::builder().heartbeat(1).open();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        connection.next_heartbeat();
        connection.send_frame(FrameKind::Heartbeat as u8, 0, &[]);
    }
    connection.channel().round_trip();
}

#[test]
fn anything_a_client_sends_keeps_it() {
    let connection = Connection::builder().heartbeat(1).open();
    let channel = connection.channel();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        connection.next_heartbeat();
        channel.round_trip();
    }
}

#[test]
fn heartbeats_are_taken_from_a_client_that_negotiated_none() {
    let connection = Connection::open();
    let mut octets = Vec::new();
    for _ in 0..100 {
        write_heartbeat(&mut octets);
    }
    connection.send_octets(&octets);
    connection.channel().round_trip();
}

#[test]
fn a_connection_closes_with_channels_open() {
    let connection = Connection::open();
    let channel = connection.channel();
    connection.channel().confirm_select();
    let queue = channel.temporary_queue();
    channel.publish("", &queue, b"unread");
    channel.consume(&queue);
    connection.close();
}

#[test]
fn exclusive_queues_are_gone_when_close_ok_comes() {
    let connection = Connection::open();
    let queue = connection.channel().temporary_queue();
    connection.close();
    assert_no_queue(&queue);
}

#[test]
fn what_follows_connection_close_is_ignored() {
    let connection = Connection::open();
    let channel = connection.channel();
    let ignored = unique("ignored");
    let mut octets = method_frame(0, &GOODBYE);
    octets.extend(method_frame(channel.number(), &lasting_queue(&ignored)));
    octets.extend(method_frame(7, &ChannelOpen { out_of_band: "" }));
    octets.extend(method_frame(0, &open("/")));
    connection.send_octets(&octets);
    let _: ConnectionCloseOk = connection.expect();
    assert_no_queue(&ignored);
}

#[test]
fn after_its_connection_close_the_server_ignores_all_but_close_and_close_ok() {
    let connection = Connection::open();
    let channel = connection.channel();
    connection.send(&open("/"));
    let close: ConnectionClose<'_> = connection.expect();
    assert_eq!(close.reply_code, ReplyCode::ChannelError.code());
    let ignored = unique("ignored");
    channel.send(&lasting_queue(&ignored));
    connection.send(&open("/"));
    connection.send_frame(9, 0, b"no such frame type");
    connection.send(&GOODBYE);
    let _: ConnectionCloseOk = connection.expect();
    connection.send(&ConnectionCloseOk {});
    connection.expect_end();
    assert_no_queue(&ignored);
}

#[test]
fn a_client_that_does_not_answer_connection_close_is_dropped_after_a_heartbeat_interval() {
    let connection = Connection::builder().heartbeat(1).open();
    connection.send(&open("/"));
    let _: ConnectionClose<'_> = connection.expect();
    connection.expect_end();
}

#[test]
fn unacknowledged_messages_are_requeued_when_a_client_hangs_up() {
    let keeper = Connection::open();
    let channel = keeper.channel();
    let queue = unique("queue");
    let shared = QueueDeclare { auto_delete: true, ..lasting_queue(&queue) };
    let _: QueueDeclareOk<'_> = channel.call(&shared);
    channel.publish("", &queue, b"again");
    channel.round_trip();

    let connection = Connection::open();
    let other = connection.channel();
    other.consume(&queue);
    other.next_delivery();
    channel.consume(&queue);
    drop((other, connection));
    let delivery = channel.next_delivery();
    assert_eq!((delivery.body.as_slice(), delivery.redelivered), (&b"again"[..], true));
}
