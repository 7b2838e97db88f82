//! Deliveries that have to be settled in time.

use std::sync::Arc;

use leveret_broker::clock::ManualClock;
use leveret_broker::node::{Node, Surroundings};
use leveret_broker::queue::{QueueKind, QueueSettings};
use leveret_protocol::amqp091::frame::write_content;
use leveret_protocol::amqp091::method::{
    BasicConsume, BasicGet, BasicNack, BasicPublish, BasicRecover, BasicReject, ConnectionOpen, QueueDeclare, TxCommit,
    TxSelect,
};
use leveret_protocol::amqp091::{Table, TableWriter, Value};

use super::client::{Client, FRAME_MAX, counts, queue_counts};

const ARGUMENT: &str = "x-consumer-timeout";

/// What a channel is closed with.
fn closed(channel: u16, ms: u64) -> String {
    format!(
        "{channel}: close PRECONDITION_FAILED - delivery acknowledgement on channel {channel} timed out. Timeout value \
         used: {ms} ms. This timeout value can be configured, see consumers doc guide to learn more"
    )
}

fn start() -> (Arc<ManualClock>, Arc<Node>, Client) {
    let clock = Arc::new(ManualClock::default());
    let node = Arc::new(Node::within(Surroundings { clock: Arc::clone(&clock) as _, ..Surroundings::default() }));
    let client = Client::open(&node);
    (clock, node, client)
}

fn with_timeout(fields: &mut Vec<u8>, ms: Option<u32>) -> Table<'_> {
    if let Some(ms) = ms {
        TableWriter::new(fields).field(ARGUMENT, Value::U32(ms));
    }
    Table::parse(fields).unwrap()
}

fn declare(client: &mut Client, queue: &str, ms: Option<u32>) {
    let mut fields = Vec::new();
    let (ticket, passive, durable, exclusive, auto_delete, no_wait) = (0, false, false, false, false, true);
    let arguments = with_timeout(&mut fields, ms);
    client.send(1, &QueueDeclare { ticket, queue, passive, durable, exclusive, auto_delete, no_wait, arguments });
}

fn consume(client: &mut Client, channel: u16, queue: &str, ms: Option<u32>) {
    let mut fields = Vec::new();
    let (ticket, no_local, no_ack, exclusive, no_wait) = (0, false, false, false, true);
    let arguments = with_timeout(&mut fields, ms);
    let consumer_tag = queue;
    client
        .send(channel, &BasicConsume { ticket, queue, consumer_tag, no_local, no_ack, exclusive, no_wait, arguments });
}

/// Time passes, and what is due then happens.
fn pass(client: &mut Client, clock: &ManualClock, ms: u64) -> Vec<String> {
    clock.advance(ms);
    client.turn()
}

#[test]
fn a_delivery_that_is_not_settled_in_time_costs_its_channel() {
    let (clock, node, mut client) = start();
    client.open_channel(2);
    declare(&mut client, "q", Some(160));
    declare(&mut client, "other", None);
    consume(&mut client, 1, "q", None);
    consume(&mut client, 2, "other", None);
    client.publish(1, "q", "a");
    assert_eq!(client.turn(), ["2: open-ok", "1: deliver q 1 'a'"]);
    client.publish(1, "other", "a");
    assert_eq!(client.turn(), ["2: deliver other 1 'a'"]);
    assert_eq!(pass(&mut client, &clock, 169), [""; 0]);
    assert_eq!(client.session.deadline().map(|due| due.0), Some(170));
    assert_eq!(pass(&mut client, &clock, 1), [closed(1, 160)]);
    assert_eq!(client.session.deadline(), None);
    assert_eq!((counts(&node, "q"), counts(&node, "other")), (queue_counts(1, 0, 0), queue_counts(0, 1, 1)));
    client.publish(2, "other", "b");
    assert_eq!(client.turn(), ["2: deliver other 2 'b'"]);
}

#[test]
fn whoever_settles_in_time_goes_on() {
    let (clock, node, mut client) = start();
    declare(&mut client, "q", Some(160));
    consume(&mut client, 1, "q", None);
    for tag in 1..20 {
        client.publish(1, "q", "m");
        assert_eq!(client.turn(), [format!("1: deliver q {tag} 'm'")]);
        assert_eq!(pass(&mut client, &clock, 150), [""; 0]);
        match tag % 3 {
            0 => client.ack(1, tag, false),
            1 => client.send(1, &BasicReject { delivery_tag: tag, requeue: false }),
            _ => client.send(1, &BasicNack { delivery_tag: 0, multiple: true, requeue: false }),
        }
        client.quiet_turn();
    }
    assert_eq!(pass(&mut client, &clock, 10_000), [""; 0]);
    assert_eq!(client.session.deadline(), None);
    // What comes anew begins anew, whatever was delivered before it.
    for (ms, body) in [(100, "a"), (100, "b")] {
        client.publish(1, "q", body);
        client.exchange();
        clock.advance(ms);
    }
    client.read();
    client.ack(1, 20, false);
    assert_eq!(pass(&mut client, &clock, 69), [""; 0]);
    assert_eq!(pass(&mut client, &clock, 1), [closed(1, 160)]);
    assert_eq!(counts(&node, "q"), queue_counts(1, 0, 0));
}

#[test]
fn what_is_requeued_by_recover_has_its_time_again() {
    let (clock, _node, mut client) = start();
    declare(&mut client, "q", Some(160));
    consume(&mut client, 1, "q", None);
    client.publish(1, "q", "a");
    client.turn();
    clock.advance(150);
    client.send(1, &BasicRecover { requeue: true });
    assert_eq!(client.turn(), ["1: BasicRecoverOk", "1: deliver q 2* 'a'"]);
    assert_eq!(pass(&mut client, &clock, 150), [""; 0]);
    assert_eq!(pass(&mut client, &clock, 20), [closed(1, 160)]);
}

#[test]
fn a_consumer_may_ask_for_another_time() {
    for (queue, own, expected) in [
        (None, Some(160), Some(160)),
        (Some(160), Some(1_600), Some(1_600)),
        (Some(1_600), Some(160), Some(160)),
        (Some(160), Some(0), None),
        (Some(0), None, None),
        (None, None, None),
    ] {
        let (clock, _node, mut client) = start();
        declare(&mut client, "q", queue);
        consume(&mut client, 1, "q", own);
        client.publish(1, "q", "a");
        client.turn();
        let Some(ms) = expected else {
            assert_eq!(client.session.deadline(), None, "{queue:?} {own:?}");
            continue;
        };
        assert_eq!(pass(&mut client, &clock, ms), [""; 0], "{queue:?} {own:?}");
        assert_eq!(pass(&mut client, &clock, ms / 16), [closed(1, ms)], "{queue:?} {own:?}");
    }
}

#[test]
fn nothing_else_is_no_time() {
    for (value, reason) in [
        (Value::LongStr(b"1"), "\"expected integer, got longstr\""),
        (Value::I32(-1), "{value_negative,-1}"),
        (Value::I64(315_360_000_001), "{value_too_large,315360000001}"),
    ] {
        let (_clock, _node, mut client) = start();
        client.declare(1, "q");
        let mut fields = Vec::new();
        TableWriter::new(&mut fields).field(ARGUMENT, value);
        let arguments = Table::parse(&fields).unwrap();
        let (ticket, queue, consumer_tag, no_local, no_ack, exclusive, no_wait) =
            (0, "q", "", false, false, false, true);
        client.send(1, &BasicConsume { ticket, queue, consumer_tag, no_local, no_ack, exclusive, no_wait, arguments });
        let text =
            format!("1: close PRECONDITION_FAILED - invalid arg '{ARGUMENT}' for queue 'q' in vhost '/': {reason}");
        assert_eq!(client.turn(), [text]);
    }
}

#[test]
fn deliveries_that_need_no_settling_have_no_deadline() {
    let (clock, node, mut client) = start();
    declare(&mut client, "q", Some(160));
    client.consume(1, "q", true);
    client.publish(1, "q", "a");
    assert_eq!(client.turn(), ["1: deliver q 1 'a'"]);
    assert_eq!((client.session.deadline(), pass(&mut client, &clock, 1_000)), (None, vec![]));
    // An ack in a transaction counts before the commit.
    client.open_channel(2);
    consume(&mut client, 2, "q", None);
    client.send(1, &leveret_protocol::amqp091::method::BasicCancel { consumer_tag: "q", no_wait: true });
    client.send(2, &TxSelect {});
    client.publish(1, "q", "b");
    client.turn();
    client.ack(2, 1, false);
    assert_eq!(pass(&mut client, &clock, 1_000), [""; 0]);
    client.send(2, &TxCommit {});
    assert_eq!(client.turn(), ["2: TxCommitOk"]);
    assert_eq!(counts(&node, "q"), queue_counts(0, 0, 1));
}

#[test]
fn what_basic_get_took_has_to_be_settled_in_time() {
    let (clock, node, mut client) = start();
    declare(&mut client, "q", Some(160));
    client.publish(1, "q", "a");
    client.send(1, &BasicGet { ticket: 0, queue: "q", no_ack: false });
    assert_eq!(client.turn(), ["1: get-ok 1 'a'"]);
    assert_eq!(pass(&mut client, &clock, 160), [""; 0]);
    assert_eq!(pass(&mut client, &clock, 10), [closed(1, 160)]);
    assert_eq!(counts(&node, "q"), queue_counts(1, 0, 0));
}

#[test]
fn another_time_holds_for_what_is_already_out() {
    let time = |ms| QueueSettings { consumer_timeout_ms: ms, ..QueueSettings::default() };
    let (clock, _node, mut client) = start();
    client.declare(1, "q");
    consume(&mut client, 1, "q", None);
    client.publish(1, "q", "a");
    client.turn();
    let cell = client.cell("q");
    for (ms, passes) in [(Some(160), 160), (Some(1_600), 1_000), (None, 100_000), (Some(3_200), 3_200)] {
        cell.configure(&time(ms));
        client.quiet_turn();
        assert_eq!(pass(&mut client, &clock, passes), [""; 0], "{ms:?}");
    }
    // A shorter time counts from the delivery, or from when there was one at all.
    cell.configure(&time(Some(160)));
    assert_eq!(client.turn(), [closed(1, 160)]);
}

#[test]
fn the_time_of_a_consumer_that_asked_for_its_own_stays() {
    let (clock, _node, mut client) = start();
    client.declare(1, "q");
    consume(&mut client, 1, "q", Some(1_600));
    client.publish(1, "q", "a");
    client.turn();
    client.cell("q").configure(&QueueSettings { consumer_timeout_ms: Some(1), ..QueueSettings::default() });
    assert_eq!(pass(&mut client, &clock, 1_600), [""; 0]);
    assert_eq!(pass(&mut client, &clock, 100), [closed(1, 1_600)]);
}

#[test]
fn the_rest_of_a_message_may_come_after_its_channel_was_closed() {
    let (clock, node, mut client) = start();
    client.open_channel(2);
    declare(&mut client, "q", Some(160));
    consume(&mut client, 1, "q", None);
    client.publish(2, "q", "a");
    client.turn();
    let mut content = Vec::new();
    let (ticket, exchange, routing_key, mandatory, immediate) = (0, "", "q", false, false);
    let publish = BasicPublish { ticket, exchange, routing_key, mandatory, immediate };
    write_content(&mut content, 1, &publish, &[0, 0], b"body", FRAME_MAX as usize);
    // In the middle of the body's frame the header is through.
    let cut = content.len() - 6;
    client.to_server.extend_from_slice(&content[..cut]);
    client.quiet_turn();
    assert_eq!(pass(&mut client, &clock, 1_000), [closed(1, 160)]);
    client.to_server.extend_from_slice(&content[cut..]);
    client.quiet_turn();
    assert_eq!((counts(&node, "q"), client.session.ending()), (queue_counts(1, 0, 0), None));
}

fn quorum(client: &Client, queue: &str, ms: u64, single_active_consumer: bool) {
    client.cell(queue).configure(&QueueSettings {
        kind: QueueKind::Quorum,
        consumer_timeout_ms: Some(ms),
        single_active_consumer,
        ..QueueSettings::default()
    });
}

#[test]
fn a_quorum_queue_cancels_the_consumer_and_gets_back_what_is_overdue() {
    let (clock, node, mut client) = start();
    client.declare(1, "q");
    client.exchange();
    quorum(&client, "q", 160, false);
    client.qos(1, 3, false);
    consume(&mut client, 1, "q", None);
    for body in ["a", "b"] {
        client.publish(1, "q", body);
    }
    client.turn();
    client.ack(1, 1, false);
    clock.advance(100);
    client.publish(1, "q", "c");
    assert_eq!(client.turn(), ["1: deliver q 3 'c'"]);
    assert_eq!(pass(&mut client, &clock, 70), ["1: cancel q"]);
    assert_eq!(counts(&node, "q"), queue_counts(1, 1, 0), "the second one is back, the third has time");
    // The client may still settle what is back already, once.
    client.ack(1, 2, false);
    client.quiet_turn();
    assert_eq!(counts(&node, "q"), queue_counts(1, 1, 0));
    // What is overdue after that goes back without a word.
    assert_eq!(pass(&mut client, &clock, 100), [""; 0]);
    assert_eq!((counts(&node, "q"), client.session.deadline()), (queue_counts(2, 0, 0), None));
    client.ack(1, 3, true);
    client.quiet_turn();
    client.ack(1, 2, false);
    assert_eq!(client.turn(), ["1: close PRECONDITION_FAILED - unknown delivery tag 2"]);
}

#[test]
fn the_next_single_active_consumer_gets_what_a_cancelled_one_gives_back() {
    let (clock, _node, mut client) = start();
    client.open_channel(2);
    client.declare(1, "q");
    client.exchange();
    quorum(&client, "q", 160, true);
    client.qos(1, 2, false);
    consume(&mut client, 1, "q", None);
    consume(&mut client, 2, "q", Some(0));
    for body in ["a", "b", "c"] {
        client.publish(2, "q", body);
    }
    client.turn();
    client.read();
    let delivered = ["1: cancel q", "2: deliver q 1* 'a'", "2: deliver q 2* 'b'", "2: deliver q 3 'c'"];
    assert_eq!(pass(&mut client, &clock, 170), delivered);
}

#[test]
fn a_client_that_knows_no_cancel_loses_its_channel_even_with_a_quorum_queue() {
    let (clock, node, _) = start();
    let mut client = Client::connect(&node);
    client.to_server.extend_from_slice(&leveret_protocol::amqp091::ProtocolHeader::AMQP_0_9_1.octets());
    client.start_ok("guest", "guest", &[]);
    client.tune_ok(0);
    client.send(0, &ConnectionOpen { virtual_host: "/", capabilities: "", insist: false });
    client.open_channel(1);
    client.declare(1, "q");
    client.exchange();
    quorum(&client, "q", 160, false);
    consume(&mut client, 1, "q", None);
    client.publish(1, "q", "a");
    client.turn();
    assert_eq!(pass(&mut client, &clock, 170), [closed(1, 160)]);
    assert_eq!(counts(&node, "q"), queue_counts(1, 0, 0));
}
