//! What channels hold, and their consumers.

use leveret_protocol::amqp091::method::{
    BasicConsume, BasicQos, BasicQosOk, TxCommit, TxCommitOk, TxSelect, TxSelectOk,
};
use leveret_protocol::amqp091::{Properties, Value};
use leveret_testkit::amqp091::{Connection, basic_consume, table};
use leveret_testkit::policy::own_vhost;
use serde_json::json;

use super::{Form, await_that, channels, in_vhost, node, pick, view};

const HELD: [&str; 7] = [
    "transactional",
    "confirm",
    "consumer_count",
    "messages_unacknowledged",
    "messages_uncommitted",
    "acks_uncommitted",
    "messages_unconfirmed",
];

#[test]
fn a_transaction_holds_messages_and_settlements_until_it_is_committed() {
    let Some(node) = node() else { return };
    let vhost = own_vhost();
    let connection = Connection::builder().vhost(vhost.name()).open();
    let channel = connection.channel();
    let queue = channel.temporary_queue();
    for body in [b"a", b"b", b"c"] {
        channel.publish("", &queue, body);
    }
    let _: TxSelectOk = channel.call(&TxSelect {});
    let got = [(); 3].map(|()| channel.get(&queue).unwrap());
    channel.ack(got[0].delivery_tag);
    channel.ack(got[1].delivery_tag);
    channel.publish("", &queue, b"d");
    channel.round_trip();
    assert_eq!(pick(&channels(node, &in_vhost(&vhost)), &HELD), [json!([true, false, 0, 1, 1, 2, 0])]);
    let _: TxCommitOk = channel.call(&TxCommit {});
    assert_eq!(pick(&channels(node, &in_vhost(&vhost)), &HELD), [json!([true, false, 0, 1, 0, 0, 0])]);
}

#[test]
fn consumers_and_prefetch_are_shown_with_what_is_not_settled() {
    let Some(node) = node() else { return };
    let vhost = own_vhost();
    let connection = Connection::builder().vhost(vhost.name()).open();
    let (one, two) = (connection.channel(), connection.channel());
    let queue = one.temporary_queue();
    one.qos(2);
    let _: BasicQosOk = two.call(&BasicQos { prefetch_size: 0, prefetch_count: 9, global: true });
    let arguments = table(&[("x-priority", Value::I32(4))]);
    one.consume_with(&BasicConsume { consumer_tag: "eager", arguments, ..basic_consume(&queue) });
    two.confirm_select();
    for body in [b"a", b"b", b"c"] {
        two.publish("", &queue, body);
    }
    two.next_confirm();
    one.next_delivery();
    one.next_delivery();
    let columns =
        [&HELD[1..4], &["messages_unconfirmed", "prefetch_count", "global_prefetch_count", "number", "state"]].concat();
    let rows = channels(node, &in_vhost(&vhost));
    assert_eq!(
        pick(&rows, &columns),
        [json!([false, 1, 2, 0, 2, 0, 1, "running"]), json!([true, 0, 0, 0, 0, 9, 2, "running"])]
    );
    let consumers: Vec<_> = view(node, Form::Listing).consumers(vhost.name()).unwrap().collect();
    let columns =
        ["queue_name", "channel_pid", "consumer_tag", "ack_required", "prefetch_count", "active", "arguments"];
    assert_eq!(
        pick(&consumers, &columns),
        [json!([queue, rows[0]["pid"], "eager", true, 2, true, [["x-priority", "signedint", 4]]])]
    );
    let queues: Vec<_> = view(node, Form::Listing).queues(vhost.name()).unwrap().collect();
    let columns = [
        "name",
        "messages_ready",
        "messages_unacknowledged",
        "messages",
        "consumers",
        "message_bytes_ready",
        "message_bytes_unacknowledged",
        "message_bytes",
        "messages_persistent",
    ];
    assert_eq!(pick(&queues, &columns), [json!([queue, 1, 2, 3, 1, 1, 2, 3, 0])]);
    // The consumer took what it could, and does not settle.
    let capacity = || {
        let queues: Vec<_> = view(node, Form::Listing).queues(vhost.name()).unwrap().collect();
        queues[0]["consumer_capacity"].as_f64()
    };
    await_that("consumers can take less and less", || capacity() < Some(0.9));
}

#[test]
fn queues_show_the_time_of_their_first_message_and_who_has_them_for_himself() {
    let Some(node) = node() else { return };
    let vhost = own_vhost();
    let connection = Connection::builder().vhost(vhost.name()).open();
    let channel = connection.channel();
    channel.declare_queue_with("q", table(&[("x-max-length-bytes", Value::I32(100))]));
    let properties = Properties { timestamp: Some(1234), delivery_mode: Some(2), ..Properties::default() };
    channel.publish_with("", "q", &properties, b"my body");
    channel.declare_queue("x");
    channel.consume_with(&BasicConsume { consumer_tag: "alone", exclusive: true, ..basic_consume("x") });
    let queues: Vec<_> = view(node, Form::Listing).queues(vhost.name()).unwrap().collect();
    let columns = [
        "name",
        "head_message_timestamp",
        "messages",
        "messages_ram",
        "message_bytes",
        "exclusive_consumer_tag",
        "exclusive_consumer_pid",
    ];
    let pid = channels(node, &in_vhost(&vhost))[0]["pid"].clone();
    assert_eq!(
        pick(&queues, &columns),
        [json!(["q", 1234, 1, 1, 7, null, null]), json!(["x", null, 0, 0, 0, "alone", pid])]
    );
}
