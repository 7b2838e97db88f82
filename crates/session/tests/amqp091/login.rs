//! Who gets in, what the others are told, and what a client says of itself.

use std::sync::Arc;
use std::time::Duration;

use leveret_broker::access::Peer;
use leveret_broker::node::Node;
use leveret_broker::topology::Change;
use leveret_broker::value;
use leveret_protocol::amqp091::{Frame, Method, TableWriter, Value};
use leveret_session::amqp091::Ending;

use super::client::{Client, FRAME_MAX};

const LINGER: Option<Ending> = Some(Ending::Within(Duration::from_secs(3)));
const REFUSED: &str = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. For details see the \
                       broker logfile.";

const LOOPBACK: &str = "127.0.0.1:1";
const REMOTE: &str = "10.0.0.1:1";

/// Who is refused: from where, and with which name and password.
const STRANGERS: [(&str, &str, &str); 4] = [
    (REMOTE, "guest", "guest"),
    (REMOTE, "guest", "guess"),
    (LOOPBACK, "guest", "guess"),
    (LOOPBACK, "nobody", "guest"),
];

/// The fields of client properties with one capability.
fn announcing(capability: &str, value: bool) -> Vec<u8> {
    let mut properties = Vec::new();
    TableWriter::new(&mut properties).table("capabilities", |capabilities| {
        capabilities.field(capability, Value::Bool(value));
    });
    properties
}

/// A client to which connection.start has come.
fn started(peer: &str) -> Client {
    let peer = Peer::plain(peer.parse().unwrap());
    let mut client = Client::connect_from(&peer, &Arc::new(Node::new()));
    client.to_server.extend_from_slice(b"AMQP\0\0\x09\x01");
    assert_eq!(client.turn(), ["0: start"]);
    client
}

#[test]
fn clients_are_told_the_name_that_the_cluster_was_given_last() {
    let node = Arc::new(Node::new());
    for (given, told) in [(None, "test"), (Some("warren"), "warren"), (Some("burrow"), "burrow")] {
        if let Some(name) = given {
            let value = value::Value::text(name);
            node.apply(Change::SetGlobalParameter { name: "cluster_name".into(), value }).unwrap();
        }
        let mut client = Client::connect(&node);
        client.to_server.extend_from_slice(b"AMQP\0\0\x09\x01");
        client.exchange();
        let (frame, _) = Frame::decode(&client.to_client, FRAME_MAX as usize).unwrap().unwrap();
        let Method::ConnectionStart(start) = Method::decode(frame.payload).unwrap() else { panic!("{told}") };
        let name = start.server_properties.get("cluster_name");
        assert_eq!(name, Some(Value::LongStr(told.as_bytes())), "{given:?}");
    }
}

#[test]
fn a_refused_client_that_asked_for_it_is_told_but_not_why() {
    for (peer, user, password) in STRANGERS {
        let mut client = started(peer);
        client.start_ok(user, password, &announcing("authentication_failure_close", true));
        client.exchange();
        let (frame, used) = Frame::decode(&client.to_client, FRAME_MAX as usize).unwrap().unwrap();
        let Method::ConnectionClose(close) = Method::decode(frame.payload).unwrap() else {
            panic!("{peer:?} {user} {password}: not connection.close")
        };
        assert_eq!(used, client.to_client.len(), "{peer:?} {user} {password}: nothing follows");
        assert_eq!((close.reply_code, close.reply_text), (403, REFUSED), "{peer:?} {user} {password}");
        assert_eq!((close.class_id, close.method_id), (0, 0), "{peer:?} {user} {password}");
        assert_eq!(client.session.ending(), LINGER, "{peer:?} {user} {password}");
    }
}

#[test]
fn a_refused_client_that_did_not_ask_is_told_nothing() {
    for properties in
        [Vec::new(), announcing("consumer_cancel_notify", true), announcing("authentication_failure_close", false)]
    {
        for (peer, user, password) in STRANGERS {
            let mut client = started(peer);
            client.start_ok(user, password, &properties);
            client.quiet_turn();
            assert_eq!(client.session.ending(), LINGER, "{peer:?} {user} {password}");
            // Whatever it sends after that.
            client.tune_ok(10);
            client.quiet_turn();
        }
    }
}

#[test]
fn what_a_client_says_of_itself_is_kept() {
    let mut properties = Vec::new();
    TableWriter::new(&mut properties)
        .field("product", Value::LongStr(b"a client"))
        .field("answer", Value::I32(42))
        .table("capabilities", |capabilities| {
            capabilities.field("basic.nack", Value::Bool(true));
        })
        .field("connection_name", Value::LongStr(b"by name"));
    let capabilities: value::Table = [("basic.nack".into(), value::Value::Bool(true))].into_iter().collect();
    let expected: value::Table = [
        ("product".into(), value::Value::text("a client")),
        ("answer".into(), value::Value::I32(42)),
        ("capabilities".into(), value::Value::Table(capabilities)),
        ("connection_name".into(), value::Value::text("by name")),
    ]
    .into_iter()
    .collect();
    let mut client = started(LOOPBACK);
    assert_eq!(client.session.client_properties(), &value::Table::default());
    client.start_ok("guest", "guest", &properties);
    assert_eq!(client.turn(), ["0: tune"]);
    assert_eq!(client.session.client_properties(), &expected);
}
