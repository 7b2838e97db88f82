//! Deliveries and what clients decide about them.

use std::sync::Arc;

use leveret_broker::node::Node;
use leveret_protocol::amqp091::method::{
    BasicCancel, BasicGet, BasicNack, BasicRecover, BasicReject, QueueDelete, TxCommit, TxRollback, TxSelect,
};

use super::client::{Client, counts, drain, queue_counts};

/// A client with a queue `q` that holds `a` to `e`.
fn client(node: &Arc<Node>) -> Client {
    let mut client = Client::open(node);
    client.declare(1, "q");
    for body in ["a", "b", "c", "d", "e"] {
        client.publish(1, "q", body);
    }
    client.quiet_turn();
    client
}

/// The same, which consumed three of them.
fn consumer(node: &Arc<Node>) -> Client {
    let mut client = client(node);
    client.qos(1, 3, false);
    client.consume(1, "q", false);
    let deliveries = ["1: deliver q 1 'a'", "1: deliver q 2 'b'", "1: deliver q 3 'c'"];
    assert_eq!(client.turn(), [&["1: BasicQosOk"][..], &deliveries].concat());
    client
}

#[test]
fn settling_makes_room_for_as_many() {
    type Act = fn(&mut Client);
    let acts: [(&str, Act, &[&str]); 6] = [
        ("ack", |client| client.ack(1, 2, false), &["1: deliver q 4 'd'"]),
        ("ack multiple", |client| client.ack(1, 2, true), &["1: deliver q 4 'd'", "1: deliver q 5 'e'"]),
        ("ack all", |client| client.ack(1, 0, true), &["1: deliver q 4 'd'", "1: deliver q 5 'e'"]),
        ("reject", |client| client.send(1, &BasicReject { delivery_tag: 1, requeue: false }), &["1: deliver q 4 'd'"]),
        (
            "requeue",
            |client| client.send(1, &BasicNack { delivery_tag: 2, multiple: true, requeue: true }),
            &["1: deliver q 4* 'a'", "1: deliver q 5* 'b'"],
        ),
        (
            "recover",
            |client| client.send(1, &BasicRecover { requeue: true }),
            &["1: BasicRecoverOk", "1: deliver q 4* 'a'", "1: deliver q 5* 'b'", "1: deliver q 6* 'c'"],
        ),
    ];
    for (what, act, answers) in acts {
        let node = Arc::new(Node::new());
        let mut client = consumer(&node);
        act(&mut client);
        assert_eq!(client.turn(), answers, "{what}");
    }
}

#[test]
fn a_tag_that_is_not_out_closes_the_channel_and_requeues() {
    for (tag, multiple) in [(4, false), (4, true), (0, false)] {
        let node = Arc::new(Node::new());
        let mut client = consumer(&node);
        client.ack(1, tag, multiple);
        assert_eq!(client.turn(), [format!("1: close PRECONDITION_FAILED - unknown delivery tag {tag}")]);
        assert_eq!(drain(&node, "q"), ["a*", "b*", "c*", "d", "e"]);
    }
}

#[test]
fn a_cancelled_consumer_can_still_settle() {
    let node = Arc::new(Node::new());
    let mut client = consumer(&node);
    client.send(1, &BasicCancel { consumer_tag: "q", no_wait: false });
    client.ack(1, 1, false);
    client.send(1, &BasicReject { delivery_tag: 3, requeue: true });
    assert_eq!(client.turn(), ["1: BasicCancelOk"]);
    assert_eq!(counts(&node, "q"), queue_counts(3, 1, 0));
    // Its tag is free, and keys of the session that were used before do no harm.
    client.consume(1, "q", false);
    assert_eq!(client.turn(), ["1: deliver q 4* 'c'", "1: deliver q 5 'd'", "1: deliver q 6 'e'"]);
    client.ack(1, 0, true);
    client.quiet_turn();
    assert_eq!(counts(&node, "q"), queue_counts(0, 0, 1));
}

#[test]
fn messages_that_were_got_are_settled_like_delivered_ones() {
    let node = Arc::new(Node::new());
    let mut client = client(&node);
    for no_ack in [false, true, false] {
        client.send(1, &BasicGet { ticket: 0, queue: "q", no_ack });
    }
    assert_eq!(client.turn(), ["1: get-ok 1 'a'", "1: get-ok 2 'b'", "1: get-ok 3 'c'"]);
    assert_eq!(counts(&node, "q"), queue_counts(2, 2, 0));
    client.ack(1, 1, false);
    client.send(1, &BasicReject { delivery_tag: 3, requeue: true });
    client.quiet_turn();
    assert_eq!(drain(&node, "q"), ["c*", "d", "e"]);
    client.send(1, &BasicGet { ticket: 0, queue: "q", no_ack: false });
    assert_eq!(client.turn(), ["1: BasicGetEmpty"]);
}

#[test]
fn a_shared_prefetch_limits_a_channel_and_counts_what_is_out_of_cancelled_consumers() {
    let node = Arc::new(Node::new());
    let mut client = client(&node);
    client.qos(1, 2, false);
    client.consume_as(1, "q", "old", false);
    assert_eq!(client.turn(), ["1: BasicQosOk", "1: deliver old 1 'a'", "1: deliver old 2 'b'"]);
    client.send(1, &BasicCancel { consumer_tag: "old", no_wait: true });
    client.qos(1, 0, false);
    client.qos(1, 3, true);
    client.consume_as(1, "q", "one", false);
    client.consume_as(1, "q", "two", false);
    assert_eq!(client.turn(), ["1: BasicQosOk", "1: BasicQosOk", "1: deliver one 3 'c'"]);
    client.ack(1, 1, false);
    assert_eq!(client.turn().len(), 1);
    assert_eq!(counts(&node, "q"), queue_counts(1, 3, 2));
    client.ack(1, 0, true);
    assert_eq!(client.turn().len(), 1);
    assert_eq!(counts(&node, "q"), queue_counts(0, 1, 2));
}

#[test]
fn a_transaction_takes_effect_when_it_is_committed() {
    for (commit, left) in [(true, vec!["b*", "c*", "d", "e", "new"]), (false, vec!["a*", "b*", "c*", "d", "e"])] {
        let node = Arc::new(Node::new());
        let mut client = consumer(&node);
        client.send(1, &TxSelect {});
        client.publish(1, "q", "new");
        client.ack(1, 1, false);
        assert_eq!(client.turn(), ["1: TxSelectOk"]);
        assert_eq!(counts(&node, "q"), queue_counts(2, 3, 1));
        if commit {
            client.send(1, &TxCommit {});
            assert_eq!(client.turn(), ["1: TxCommitOk", "1: deliver q 4 'd'"]);
        } else {
            client.send(1, &TxRollback {});
            assert_eq!(client.turn(), ["1: TxRollbackOk"]);
        }
        client.session.terminate();
        let left: Vec<_> = left.iter().map(|body| if commit && *body == "d" { "d*" } else { *body }).collect();
        assert_eq!(drain(&node, "q"), left);
    }
}

#[test]
fn consumers_of_a_deleted_queue_are_cancelled_and_may_settle_in_vain() {
    let node = Arc::new(Node::new());
    let mut other = Client::open(&node);
    let mut client = consumer(&node);
    other.send(1, &QueueDelete { ticket: 0, queue: "q", if_unused: false, if_empty: false, no_wait: false });
    assert_eq!(other.turn(), ["1: delete-ok 2"]);
    client.ack(1, 1, false);
    assert_eq!(client.turn(), ["1: cancel q"]);
    client.send(1, &BasicReject { delivery_tag: 2, requeue: true });
    client.quiet_turn();
    client.declare(1, "q");
    client.consume(1, "q", false);
    client.publish(1, "q", "new");
    assert_eq!(client.turn(), ["1: deliver q 4 'new'"]);
}
