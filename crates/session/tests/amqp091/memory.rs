//! What is over leaves nothing behind.
//!
//! A session, shown for debugging, shows everything it keeps, with the node and the queues it knows; what it shows must not
//! get longer, but for the digits of its counters.

use std::sync::Arc;

use leveret_broker::node::Node;
use leveret_protocol::amqp091::method::{
    BasicCancel, BasicGet, BasicNack, ChannelClose, QueueDelete, TxCommit, TxRollback, TxSelect,
};

use super::client::{Client, counts, queue_counts};

const ROUNDS: u64 = 1_000;
/// Messages per round, which makes ten thousand of them.
const EACH: u64 = 10;
/// Octets by which counters may get longer.
const DIGITS: usize = 300;

fn shown(client: &Client) -> usize {
    format!("{:?}", client.session).len()
}

fn publish(client: &mut Client) {
    for _ in 0..EACH {
        client.publish(1, "q", "body");
    }
}

fn get(client: &mut Client, no_ack: bool) {
    for _ in 0..EACH {
        client.send(1, &BasicGet { ticket: 0, queue: "q", no_ack });
    }
}

#[test]
fn settled_messages_leave_nothing_behind() {
    type Round = fn(&mut Client, u64);
    let rounds: [(&str, Round); 8] = [
        ("each on its own", |client, first| {
            client.turn();
            (first..first + EACH).for_each(|tag| client.ack(1, tag, false));
        }),
        ("backwards", |client, first| {
            client.turn();
            (first..first + EACH).rev().for_each(|tag| client.ack(1, tag, false));
        }),
        ("multiple", |client, first| {
            client.turn();
            client.ack(1, first + EACH - 1, true);
        }),
        ("all", |client, _| {
            client.turn();
            client.ack(1, 0, true);
        }),
        ("rejected", |client, first| {
            client.turn();
            client.send(1, &BasicNack { delivery_tag: first + EACH - 1, multiple: true, requeue: false });
        }),
        ("in a transaction", |client, first| {
            client.send(1, &TxSelect {});
            client.turn();
            client.ack(1, first + EACH - 1, true);
            client.send(1, &TxRollback {});
            client.ack(1, first + EACH - 1, true);
            client.send(1, &TxCommit {});
        }),
        ("with a new consumer each time", |client, first| {
            client.turn();
            client.send(1, &BasicCancel { consumer_tag: "q", no_wait: true });
            client.ack(1, first + EACH - 1, true);
            client.consume(1, "q", false);
        }),
        ("through a shared prefetch", |client, first| {
            client.qos(1, 10, true);
            client.turn();
            (first..first + EACH).for_each(|tag| client.ack(1, tag, false));
        }),
    ];
    for (how, round) in rounds {
        let node = Arc::new(Node::new());
        let mut publisher = Client::open(&node);
        publisher.declare(1, "q");
        publisher.confirm_select(1);
        publisher.quiet_turn();
        let mut client = Client::open(&node);
        client.consume(1, "q", false);
        client.quiet_turn();
        let mut before = None;
        for number in 0..ROUNDS {
            publish(&mut publisher);
            assert_eq!(publisher.turn().len(), 1);
            round(&mut client, 1 + number * EACH);
            client.turn();
            assert_eq!(counts(&node, "q"), queue_counts(0, 0, 1), "{how}, round {number}");
            before = before.or_else(|| Some((shown(&publisher), shown(&client))));
        }
        let (of_publisher, of_client) = before.unwrap();
        assert!(shown(&publisher) < of_publisher + DIGITS, "{how}: {of_publisher} became {}", shown(&publisher));
        assert!(shown(&client) < of_client + DIGITS, "{how}: {of_client} became {}", shown(&client));
    }
}

#[test]
fn what_comes_and_goes_leaves_nothing_behind() {
    type Round = fn(&mut Client);
    let rounds: [(&str, Round); 4] = [
        ("messages got", |client| {
            publish(client);
            get(client, false);
            client.ack(1, 0, true);
        }),
        ("messages got for good", |client| {
            publish(client);
            get(client, true);
        }),
        ("channels", |client| {
            publish(client);
            client.open_channel(2);
            client.consume(2, "q", false);
            client.turn();
            client.send(2, &ChannelClose { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 });
            get(client, true);
        }),
        ("queues", |client| {
            client.declare(1, "other");
            client.consume(1, "other", false);
            (0..EACH).for_each(|_| client.publish(1, "other", "body"));
            client.turn();
            client
                .send(1, &QueueDelete { ticket: 0, queue: "other", if_unused: false, if_empty: false, no_wait: true });
            client.turn();
            client.ack(1, 0, true);
        }),
    ];
    for (what, round) in rounds {
        let node = Arc::new(Node::new());
        let mut client = Client::open(&node);
        client.declare(1, "q");
        let mut before = None;
        for _ in 0..ROUNDS {
            round(&mut client);
            client.turn();
            before = before.or_else(|| Some(shown(&client)));
        }
        let before = before.unwrap();
        assert_eq!(counts(&node, "q"), queue_counts(0, 0, 0));
        assert!(shown(&client) < before + DIGITS, "{what}: {before} became {}", shown(&client));
    }
}

#[test]
fn routes_are_kept_up_to_a_limit() {
    let node = Arc::new(Node::new());
    let mut client = Client::open(&node);
    let mut most = 0;
    for round in 0..5 {
        for key in 0..4096 {
            client.publish(1, &format!("{round}-{key:04}"), "");
        }
        client.quiet_turn();
        if round == 0 {
            most = shown(&client);
        }
        assert!(shown(&client) < most + DIGITS, "{most} became {}", shown(&client));
    }
    client.session.shrink();
    assert!(shown(&client) < most / 10);
}
