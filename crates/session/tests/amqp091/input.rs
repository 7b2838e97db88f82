//! Octets come in pieces of any size.

use std::sync::Arc;
use std::time::Duration;

use leveret_broker::node::Node;
use leveret_protocol::amqp091::frame::write_heartbeat;
use leveret_protocol::amqp091::method::{
    BasicCancel, BasicGet, BasicReject, ConnectionClose, ConnectionOpen, QueueDelete,
};
use leveret_session::amqp091::Ending;

use super::client::{Client, show};

/// What a client sends in a life of all kinds of frames.
fn script() -> Vec<u8> {
    let node = Arc::new(Node::new());
    let mut client = Client::connect(&node);
    client.log_in("guest", "guest");
    client.tune_ok(10);
    client.send(0, &ConnectionOpen { virtual_host: "/", capabilities: "", insist: false });
    client.open_channel(1);
    client.declare(1, "q");
    client.publish(1, "q", "got");
    write_heartbeat(&mut client.to_server);
    client.publish(1, "q", "");
    client.publish_to(1, "", "nowhere", b"returned", true);
    client.send(1, &BasicGet { ticket: 0, queue: "q", no_ack: false });
    client.send(1, &BasicReject { delivery_tag: 1, requeue: true });
    client.qos(1, 1, false);
    client.consume(1, "q", false);
    client.qos(1, 1, false);
    client.ack(1, 2, false);
    client.send(1, &BasicCancel { consumer_tag: "q", no_wait: false });
    client.ack(1, 3, false);
    client.send(1, &QueueDelete { ticket: 0, queue: "q", if_unused: true, if_empty: true, no_wait: false });
    client.send(0, &ConnectionClose { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 });
    client.to_server
}

/// What the server answers if the octets come in these pieces, each with the start of a frame that was left before it.
fn answers<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let node = Arc::new(Node::new());
    let mut client = Client::connect(&node);
    for piece in pieces {
        client.to_server.extend_from_slice(piece);
        client.session.deliver(&mut client.to_client);
        let used = client.session.receive(&client.to_server, &mut client.to_client);
        client.to_server.drain(..used);
        client.session.end_turn(&mut client.to_client);
    }
    assert!(client.to_server.is_empty());
    assert_eq!(client.session.ending(), Some(Ending::Within(Duration::from_secs(3))));
    client.to_client
}

#[test]
fn pieces_of_any_size_have_the_same_answers() {
    let script = script();
    let whole = answers([script.as_slice()]);
    assert_eq!(
        show(&whole),
        [
            "0: start",
            "0: tune",
            "0: open-ok",
            "1: open-ok",
            "1: return NO_ROUTE 'returned'",
            "1: get-ok 1 'got'",
            "1: BasicQosOk",
            "1: deliver q 2* 'got'",
            "1: BasicQosOk",
            "1: deliver q 3 ''",
            "1: BasicCancelOk",
            "1: delete-ok 0",
            "0: close-ok",
        ]
    );
    for size in 1..20 {
        assert_eq!(answers(script.chunks(size)), whole, "pieces of {size}");
    }
    for cut in 1..script.len() {
        let (one, two) = script.split_at(cut);
        assert_eq!(answers([one, two]), whole, "cut at {cut}");
    }
}
