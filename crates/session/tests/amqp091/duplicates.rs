//! What a publisher learns of messages that an exchange has seen before.

use std::sync::Arc;

use leveret_broker::node::Node;
use leveret_protocol::amqp091::frame::write_content;
use leveret_protocol::amqp091::method::{BasicPublish, ExchangeDeclare, QueueBind, TxCommit, TxSelect};
use leveret_protocol::amqp091::{Properties, Table, TableWriter, Value};

use super::client::{Client, FRAME_MAX, drain};

fn declare(client: &mut Client, arguments: &[u8]) {
    client.send(
        1,
        &ExchangeDeclare {
            ticket: 0,
            exchange: "once",
            kind: "x-message-deduplication",
            passive: false,
            durable: false,
            auto_delete: false,
            internal: false,
            no_wait: true,
            arguments: Table::parse(arguments).unwrap(),
        },
    );
}

fn open(node: &Arc<Node>) -> Client {
    let mut client = Client::open(node);
    let mut arguments = Vec::new();
    TableWriter::new(&mut arguments).field("x-cache-size", Value::I32(2));
    declare(&mut client, &arguments);
    client.declare(1, "q");
    let (ticket, routing_key, no_wait, arguments) = (0, "any", true, Table::default());
    client.send(1, &QueueBind { ticket, queue: "q", exchange: "once", routing_key, no_wait, arguments });
    client.quiet_turn();
    client
}

fn publish(client: &mut Client, id: &str, body: &str) {
    let mut headers = Vec::new();
    TableWriter::new(&mut headers).field("x-deduplication-header", Value::LongStr(id.as_bytes()));
    let headers = Table::parse(&headers).ok();
    let mut raw = Vec::new();
    Properties { headers, ..Properties::default() }.encode(&mut raw);
    let publish = BasicPublish { ticket: 0, exchange: "once", routing_key: "", mandatory: true, immediate: false };
    write_content(&mut client.to_server, 1, &publish, &raw, body.as_bytes(), FRAME_MAX as usize);
}

#[test]
fn a_duplicate_is_confirmed_and_neither_routed_nor_returned() {
    let node = Arc::new(Node::new());
    let mut client = open(&node);
    client.confirm_select(1);
    client.quiet_turn();
    for (number, id) in ["a", "b", "a", "c", "a"].iter().enumerate() {
        publish(&mut client, id, &format!("{id}{number}"));
    }
    assert_eq!(client.turn(), ["1: ack to 5"]);
    // Two ids are remembered, so the first one is new again after two others.
    assert_eq!(drain(&node, "q"), ["a0", "b1", "c3", "a4"]);
}

#[test]
fn a_duplicate_in_a_transaction_is_neither_routed_nor_returned() {
    let node = Arc::new(Node::new());
    let mut client = open(&node);
    client.send(1, &TxSelect {});
    for body in ["first", "second"] {
        publish(&mut client, "a", body);
    }
    client.send(1, &TxCommit {});
    assert_eq!(client.turn(), ["1: TxSelectOk", "1: TxCommitOk"]);
    assert_eq!(drain(&node, "q"), ["first"]);
}

#[test]
fn an_exchange_without_a_size_is_refused() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    declare(&mut client, &[]);
    let text = "PRECONDITION_FAILED - Missing or invalid argument, 'x-cache-size' must be an integer greater than 0";
    assert_eq!(client.turn(), [format!("1: close {text}")]);
}
