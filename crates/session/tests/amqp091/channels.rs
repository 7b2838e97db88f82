//! Channels of one connection do not get in each other's way.

use std::sync::Arc;

use leveret_broker::node::Node;
use leveret_protocol::amqp091::FrameKind;
use leveret_protocol::amqp091::frame::{write_frame, write_header};
use leveret_protocol::amqp091::method::{BasicPublish, ChannelClose, ChannelCloseOk};

use super::client::{Client, counts, drain, queue_counts, settings};

#[test]
fn many_channels_each_count_their_own_deliveries() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    let channels = 2..=settings().channel_max;
    for channel in channels.clone() {
        client.open_channel(channel);
        client.declare(channel, &format!("q{channel}"));
        client.consume(channel, &format!("q{channel}"), false);
    }
    assert_eq!(client.turn(), channels.clone().map(|channel| format!("{channel}: open-ok")).collect::<Vec<_>>());
    for round in 1..=3 {
        for channel in channels.clone() {
            client.publish(1, &format!("q{channel}"), &format!("{channel}"));
        }
        let mut deliveries = client.turn();
        let mut expected: Vec<_> =
            channels.clone().map(|channel| format!("{channel}: deliver q{channel} {round} '{channel}'")).collect();
        deliveries.sort();
        expected.sort();
        assert_eq!(deliveries, expected);
    }
    for channel in channels.clone() {
        client.ack(channel, 2, true);
    }
    client.quiet_turn();
    for channel in channels {
        assert_eq!(counts(&node, &format!("q{channel}")), queue_counts(0, 1, 1));
    }
}

#[test]
fn one_channel_more_than_agreed_closes_the_connection() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    let max = settings().channel_max;
    for channel in 2..=max + 1 {
        client.open_channel(channel);
    }
    let answers = client.turn();
    let close = format!(
        "0: close NOT_ALLOWED - number of channels opened ({max}) has reached the negotiated channel_max ({max})"
    );
    assert_eq!((answers.len(), answers.last()), (usize::from(max), Some(&close)));
}

#[test]
fn contents_of_several_channels_may_be_interleaved() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    client.declare(1, "q");
    let channels = [1, 2, 3];
    client.open_channel(2);
    client.open_channel(3);
    for channel in channels {
        let (exchange, routing_key, mandatory, immediate) = ("", "q", false, false);
        client.send(channel, &BasicPublish { ticket: 0, exchange, routing_key, mandatory, immediate });
    }
    for channel in channels {
        write_header(&mut client.to_server, channel, &[0, 0], 2);
    }
    for piece in [b'a', b'b'] {
        for channel in [3, 1, 2] {
            let octets = [piece + u8::try_from(channel).unwrap()];
            write_frame(&mut client.to_server, FrameKind::Body, channel, |out| out.extend_from_slice(&octets));
        }
    }
    client.turn();
    assert_eq!(drain(&node, "q"), ["de", "bc", "cd"]);
}

#[test]
fn a_channel_that_ends_requeues_its_own_messages_only() {
    for by_server in [false, true] {
        let node = Arc::new(Node::new());
        let mut client = Client::open(&node);
        client.open_channel(2);
        client.declare(1, "q");
        client.consume_as(1, "q", "one", false);
        client.consume_as(2, "q", "two", false);
        for body in ["a", "b", "c", "d"] {
            client.publish(1, "q", body);
        }
        let deliveries = [
            "2: open-ok",
            "1: deliver one 1 'a'",
            "2: deliver two 1 'b'",
            "1: deliver one 2 'c'",
            "2: deliver two 2 'd'",
        ];
        let mut got = client.turn();
        got.sort();
        let mut expected = deliveries;
        expected.sort_unstable();
        assert_eq!(got, expected);
        client.consume_as(1, "q", "last", true);
        client.quiet_turn();
        if by_server {
            client.ack(2, 9, false);
        } else {
            client.send(2, &ChannelClose { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 });
        }
        let end = if by_server { "2: close PRECONDITION_FAILED - unknown delivery tag 9" } else { "2: close-ok" };
        let mut got = client.turn();
        got.sort();
        assert_eq!(got, ["1: deliver last 4* 'd'", "1: deliver one 3* 'b'", end]);
        if by_server {
            client.publish(2, "q", "ignored until close-ok");
            client.send(2, &ChannelCloseOk {});
        }
        // The number can be used again and starts over.
        client.open_channel(2);
        client.consume_as(2, "q", "two", false);
        assert_eq!(client.turn(), ["2: open-ok"]);
        assert_eq!(counts(&node, "q"), queue_counts(0, 3, 3));
    }
}
