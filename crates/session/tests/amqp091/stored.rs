//! Messages that have to survive: what waits for the log and what does not, and what is read back from it.

use std::sync::Arc;

use leveret_broker::journal::{Journal, JournalPosition, Written};
use leveret_broker::mailbox::Mailbox;
use leveret_broker::node::{Node, Surroundings};
use leveret_broker::topology::{Record, Together};
use leveret_protocol::amqp091::Table;
use leveret_protocol::amqp091::method::{
    BasicGet, ChannelClose, QueueBind, QueueDeclare, QueueDelete, QueuePurge, TxCommit, TxSelect,
};

use super::client::{Client, counts, queue_counts};
use super::fake_store::FakeStore;

/// A journal that is always on disk.
#[derive(Debug)]
struct Instant;

impl Journal for Instant {
    fn append(&self, _records: Vec<Record>) -> JournalPosition {
        JournalPosition(0)
    }

    fn append_together(&self, _records: Together) -> JournalPosition {
        JournalPosition(0)
    }

    fn last(&self) -> JournalPosition {
        JournalPosition(0)
    }

    fn has_failed(&self) -> bool {
        false
    }

    fn written(&self, _position: JournalPosition, _mailbox: &Arc<Mailbox>) -> Written {
        Written::Synced
    }
}

/// A client on channels 1 and 2, with a durable queue `d` and a transient one `t`.
fn start() -> (Arc<FakeStore>, Arc<Node>, Client) {
    let store = FakeStore::new();
    let node = Arc::new(Node::within(Surroundings {
        journal: Some(Arc::new(Instant)),
        store: Some(store.clone()),
        ..Surroundings::default()
    }));
    let mut client = Client::open(&node);
    let (ticket, passive, exclusive, auto_delete, no_wait, arguments) =
        (0, false, false, false, true, Table::default());
    for (queue, durable) in [("d", true), ("t", false)] {
        client.send(1, &QueueDeclare { ticket, queue, passive, durable, exclusive, auto_delete, no_wait, arguments });
    }
    client.open_channel(2);
    assert_eq!(client.turn(), ["2: open-ok"]);
    (store, node, client)
}

fn get(no_ack: bool) -> BasicGet<'static> {
    BasicGet { ticket: 0, queue: "d", no_ack }
}

#[test]
fn a_persistent_message_is_confirmed_once_it_is_on_disk() {
    let (store, _, mut client) = start();
    client.confirm_select(1);
    client.publish_persistent(1, "", "d", "1");
    client.quiet_turn();
    client.publish_persistent(1, "", "d", "2");
    client.publish_persistent(1, "", "d", "3");
    client.quiet_turn();
    assert_eq!(store.kept(), ["1", "2", "3"]);
    store.sync();
    assert_eq!(client.turn(), ["1: ack to 3"]);
    client.publish_persistent(1, "", "d", "4");
    client.quiet_turn();
    store.sync();
    assert_eq!(client.turn(), ["1: ack 4"]);
}

#[test]
fn what_is_not_stored_is_confirmed_at_once() {
    let (store, _, mut client) = start();
    client.confirm_select(1);
    client.publish(1, "d", "transient message");
    client.publish_persistent(1, "", "t", "transient queue");
    client.publish_persistent(1, "", "nowhere", "no queue");
    assert_eq!(client.turn(), ["1: ack to 3"]);
    // Nor does it wait for what is.
    client.publish_persistent(1, "", "d", "stored");
    client.publish(1, "d", "not stored");
    client.publish(1, "t", "not stored");
    assert_eq!(client.turn(), ["1: ack 5", "1: ack 6"]);
    assert_eq!(store.kept(), ["stored"]);
    store.sync();
    assert_eq!(client.turn(), ["1: ack 4"]);
}

#[test]
fn other_channels_and_those_without_confirms_wait_for_nothing() {
    let (store, node, mut client) = start();
    client.confirm_select(1);
    client.publish_persistent(1, "", "d", "1");
    client.publish_persistent(2, "", "d", "2");
    client.confirm_select(2);
    client.publish(2, "d", "3");
    assert_eq!(client.turn(), ["2: ack 1"]);
    assert_eq!(counts(&node, "d"), queue_counts(3, 0, 0));
    // A channel that is closed gets no confirm, nor does the one that has its number next.
    client.send(1, &ChannelClose { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 });
    client.open_channel(1);
    assert_eq!(client.turn(), ["1: close-ok", "1: open-ok"]);
    store.sync();
    client.quiet_turn();
}

#[test]
fn a_message_to_a_durable_and_a_transient_queue_waits_for_the_durable_one() {
    let (store, _, mut client) = start();
    for queue in ["d", "t"] {
        let (ticket, exchange, routing_key, no_wait, arguments) = (0, "amq.fanout", "", true, Table::default());
        client.send(1, &QueueBind { ticket, queue, exchange, routing_key, no_wait, arguments });
    }
    client.confirm_select(1);
    client.publish_persistent(1, "amq.fanout", "", "1");
    client.quiet_turn();
    assert_eq!(store.kept(), ["1"]);
    store.sync();
    assert_eq!(client.turn(), ["1: ack 1"]);
}

#[test]
fn a_queue_that_is_deleted_meanwhile_keeps_no_confirm_back() {
    let (store, _, mut client) = start();
    client.confirm_select(1);
    client.publish_persistent(1, "", "d", "1");
    client.send(2, &QueueDelete { ticket: 0, queue: "d", if_unused: false, if_empty: false, no_wait: true });
    client.quiet_turn();
    assert!(store.kept().is_empty());
    store.sync();
    assert_eq!(client.turn(), ["1: ack 1"]);
}

#[test]
fn nothing_is_confirmed_once_the_disk_failed() {
    let (store, _, mut client) = start();
    client.confirm_select(1);
    client.publish_persistent(1, "", "d", "1");
    client.quiet_turn();
    store.fail();
    client.quiet_turn();
    client.publish(1, "t", "2");
    assert_eq!(client.turn(), ["1: ack 2"]);
}

#[test]
fn a_commit_is_answered_once_messages_and_settlements_are_on_disk() {
    let (store, node, mut client) = start();
    client.send(1, &TxSelect {});
    client.publish_persistent(1, "", "d", "1");
    client.send(1, &TxCommit {});
    assert_eq!(client.turn(), ["1: TxSelectOk"]);
    store.sync();
    assert_eq!(client.turn(), ["1: TxCommitOk"]);
    // A commit without anything to store waits for nothing.
    client.publish(1, "t", "2");
    client.send(1, &TxCommit {});
    assert_eq!(client.turn(), ["1: TxCommitOk"]);
    client.send(1, &get(false));
    assert_eq!(client.turn(), ["1: get-ok 1 '1'"]);
    client.ack(1, 1, false);
    client.send(1, &TxCommit {});
    client.quiet_turn();
    assert_eq!((store.kept().len(), counts(&node, "d")), (0, queue_counts(0, 0, 0)));
    store.sync();
    assert_eq!(client.turn(), ["1: TxCommitOk"]);
}

#[test]
fn a_purge_is_answered_once_it_is_on_disk() {
    let (store, _, mut client) = start();
    client.publish_persistent(1, "", "d", "1");
    let purge = QueuePurge { ticket: 0, queue: "d", no_wait: false };
    client.send(1, &purge);
    client.quiet_turn();
    assert!(store.kept().is_empty());
    store.sync();
    assert_eq!(client.turn(), ["1: QueuePurgeOk"]);
    // Nothing is there to be dropped.
    client.send(1, &purge);
    assert_eq!(client.turn(), ["1: QueuePurgeOk"]);
}

#[test]
fn the_log_forgets_what_is_settled_and_keeps_what_goes_back() {
    for (no_ack, get_only) in [(false, false), (true, false), (false, true), (true, true)] {
        let (store, node, mut client) = start();
        for body in ["1", "2", "3"] {
            client.publish_persistent(1, "", "d", body);
        }
        client.quiet_turn();
        assert_eq!(store.kept().len(), 3);
        if get_only {
            for _ in 0..3 {
                client.send(1, &get(no_ack));
            }
        } else {
            client.consume(1, "d", no_ack);
        }
        assert_eq!(client.turn().len(), 3);
        client.quiet_turn();
        if no_ack {
            assert!(store.kept().is_empty());
            continue;
        }
        assert_eq!(store.kept().len(), 3, "handed out is not settled");
        client.ack(1, 2, false);
        client.quiet_turn();
        assert_eq!(store.kept(), ["1", "3"]);
        drop(client);
        assert_eq!((store.kept().len(), counts(&node, "d")), (2, queue_counts(2, 0, 0)));
    }
}

#[test]
fn what_a_consumer_was_never_sent_stays_in_the_log() {
    let (store, node, mut client) = start();
    client.consume(1, "d", true);
    client.quiet_turn();
    let mut publisher = Client::open(&node);
    publisher.publish_persistent(1, "", "d", "1");
    publisher.quiet_turn();
    // It is in the mailbox of a connection that is gone before it looked.
    drop(client);
    assert_eq!((store.kept().len(), counts(&node, "d")), (1, queue_counts(1, 0, 0)));
}

#[test]
fn a_get_waits_until_its_message_is_read_from_disk() {
    let (store, node, mut client) = start();
    store.be_short(true);
    let body = "x".repeat(4096);
    for _ in 0..200 {
        client.publish_persistent(1, "", "d", &body);
        client.quiet_turn();
    }
    let mut answers = 0;
    loop {
        client.send(1, &get(true));
        if client.turn().is_empty() {
            break;
        }
        answers += 1;
    }
    assert!((1..200).contains(&answers), "{answers} messages were in memory");
    // What comes behind waits as well, on this channel.
    client.send(1, &get(true));
    client.send(2, &QueuePurge { ticket: 0, queue: "t", no_wait: false });
    assert_eq!(client.turn(), ["2: QueuePurgeOk"]);
    store.load(&node);
    assert_eq!(client.turn().len(), 2);
    assert_eq!(counts(&node, "d"), queue_counts(200 - answers - 2, 0, 0));
}

#[test]
fn a_get_that_waits_for_the_disk_ends_with_its_connection() {
    let (store, node, mut client) = start();
    store.be_short(true);
    let body = "x".repeat(4096);
    for _ in 0..200 {
        client.publish_persistent(1, "", "d", &body);
        client.quiet_turn();
    }
    loop {
        client.send(1, &get(false));
        if client.turn().is_empty() {
            break;
        }
    }
    drop(client);
    assert_eq!(counts(&node, "d"), queue_counts(200, 0, 0));
}

#[test]
fn a_publisher_is_not_read_while_the_log_has_enough_or_is_blocked() {
    let (store, _, mut client) = start();
    client.publish(1, "t", "1");
    store.block(true);
    client.publish(1, "t", "2");
    client.quiet_turn();
    assert!(!client.session.is_stuck(), "it has stored nothing");
    client.publish_persistent(1, "", "d", "3");
    assert_eq!(client.turn(), ["0: ConnectionBlocked"]);
    assert!(client.session.is_stuck());
    store.block(false);
    assert_eq!(client.turn(), ["0: ConnectionUnblocked"]);
    assert!(!client.session.is_stuck());
    store.have_enough(true);
    client.publish_persistent(1, "", "d", "4");
    client.quiet_turn();
    assert!(client.session.is_stuck());
    store.have_enough(false);
    client.quiet_turn();
    assert!(client.session.is_stuck(), "it is not written yet");
    store.sync();
    client.quiet_turn();
    assert!(!client.session.is_stuck());
}
