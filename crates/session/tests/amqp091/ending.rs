//! How connections end, and how long the server waits before it closes the socket.

use std::sync::Arc;
use std::time::Duration;

use leveret_broker::mailbox::CloseReason;
use leveret_broker::node::Node;
use leveret_protocol::amqp091::method::{ChannelOpen, ConnectionClose, ConnectionCloseOk, ConnectionOpen, TxSelect};
use leveret_session::amqp091::Ending;

use super::client::{Client, FRAME_MAX, counts, queue_counts};

const LINGER: Option<Ending> = Some(Ending::Within(Duration::from_secs(3)));
const NOW: Option<Ending> = Some(Ending::Now);

fn close() -> ConnectionClose<'static> {
    ConnectionClose { reply_code: 200, reply_text: "bye", class_id: 0, method_id: 0 }
}

#[test]
fn a_connection_that_does_not_get_through_the_handshake_ends() {
    type Act = fn(&mut Client);
    let refused = "0: close ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the \
                   broker logfile.";
    let vhost = "0: close NOT_ALLOWED - vhost nowhere not found";
    let acts: [(&str, Act, &[&str], Option<Ending>); 6] = [
        ("a part of the header", |client| client.to_server.extend_from_slice(b"AMQP\0"), &[], None),
        ("a wrong password", |client| client.log_in("guest", "guess"), &["0: start", refused], LINGER),
        (
            "another method than is due",
            |client| {
                client.to_server.extend_from_slice(b"AMQP\0\0\x09\x01");
                client.send(0, &TxSelect {});
            },
            &["0: start"],
            LINGER,
        ),
        (
            "a frame that is too large",
            |client| {
                client.to_server.extend_from_slice(b"AMQP\0\0\x09\x01");
                client.to_server.extend_from_slice(b"\x01\0\0\xff\xff\xff\xff");
            },
            &["0: start"],
            LINGER,
        ),
        (
            "a vhost that is missing",
            |client| {
                client.log_in("guest", "guest");
                client.tune_ok(10);
                client.send(0, &ConnectionOpen { virtual_host: "nowhere", capabilities: "", insist: false });
            },
            &["0: start", "0: tune", vhost],
            Some(Ending::Within(Duration::from_secs(10))),
        ),
        ("the node stops", |client| client.node().close_connections(&CloseReason::Shutdown), &[], NOW),
    ];
    for (what, act, answers, ending) in acts {
        let node = Arc::new(Node::new());
        let mut client = Client::connect(&node);
        assert_eq!(client.session.ending(), None);
        act(&mut client);
        assert_eq!(client.turn(), answers, "{what}");
        assert_eq!(client.session.ending(), ending, "{what}");
    }
}

#[test]
fn another_protocol_is_told_what_is_spoken_here() {
    for (octets, answer) in [
        (b"GET / HT", b"AMQP\x03\x01\0\0"),
        (b"AMQP\0\x01\0\0", b"AMQP\x03\x01\0\0"),
        (b"AMQP\0\0\x0a\0", b"AMQP\0\0\x09\x01"),
    ] {
        let node = Arc::new(Node::new());
        let mut client = Client::connect(&node);
        let used = client.session.receive(octets, &mut client.to_client);
        assert_eq!((used, client.to_client.as_slice()), (8, &answer[..]));
        assert_eq!(client.session.ending(), NOW);
    }
}

#[test]
fn a_client_that_closes_is_answered_and_done() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    client.declare(1, "q");
    client.confirm_select(1);
    client.publish(1, "q", "a");
    client.send(0, &close());
    client.publish(1, "q", "nobody looks");
    assert_eq!(client.turn(), ["1: ack 1", "0: close-ok"]);
    assert_eq!(client.session.ending(), LINGER);
    assert!(client.to_server.is_empty());
    assert_eq!(counts(&node, "q"), queue_counts(1, 0, 0));
}

#[test]
fn a_client_has_a_heartbeat_interval_to_answer_a_close() {
    for (heartbeat, wait) in [(0, 30), (1, 1), (10, 10), (60, 30)] {
        let node = Arc::new(Node::new());
        let mut client = Client::open_with(&node, heartbeat);
        client.send(1, &ChannelOpen { out_of_band: "" });
        client.publish(1, "q", "nobody looks");
        assert_eq!(client.turn(), ["0: close CHANNEL_ERROR - second 'channel.open' seen"]);
        assert_eq!(client.session.ending(), Some(Ending::Within(Duration::from_secs(wait))));
        // Both may close at once.
        client.send(0, &close());
        assert_eq!(client.turn(), ["0: close-ok"]);
        assert_eq!(client.session.ending(), Some(Ending::Within(Duration::from_secs(wait))));
        client.send(0, &ConnectionCloseOk {});
        client.quiet_turn();
        assert_eq!(client.session.ending(), NOW);
    }
}

#[test]
fn octets_that_are_no_frame_end_an_open_connection_after_a_while() {
    let too_large = FRAME_MAX + 1;
    let [a, b, c, d] = too_large.to_be_bytes();
    for (octets, text) in [
        (vec![1, 0, 1, a, b, c, d], "type 1, all octets = <<>>: {frame_too_large,8193,8184}"),
        (vec![1, 0, 1, 0, 0, 0, 1, b'x', 0], "type 1, all octets = <<\"x\">>: {invalid_frame_end_marker,0}"),
    ] {
        let node = Arc::new(Node::new());
        let mut client = Client::open(&node);
        client.to_server.extend(octets);
        assert_eq!(client.turn(), [format!("0: close FRAME_ERROR - {text}")]);
        assert_eq!(client.session.ending(), LINGER);
        assert!(client.to_server.is_empty(), "what follows cannot be made sense of");
    }
}

#[test]
fn a_node_that_stops_closes_its_connections() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    node.close_connections(&CloseReason::Shutdown);
    node.close_connections(&CloseReason::Shutdown);
    let text = "0: close CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'";
    assert_eq!(client.turn(), [text]);
    assert_eq!(client.session.ending(), Some(Ending::Within(Duration::from_secs(10))));
    client.send(0, &ConnectionCloseOk {});
    client.quiet_turn();
    assert_eq!((client.session.ending(), node.connection_count()), (NOW, 1));
    client.session.terminate();
    assert_eq!(node.connection_count(), 0);
}
