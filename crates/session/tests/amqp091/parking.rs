//! Channels that wait for the disk: what is answered when, and what goes on meanwhile.

use std::sync::{Arc, Mutex};

use leveret_broker::clock::{Clock, ManualClock};
use leveret_broker::journal::{Journal, JournalPosition, Written};
use leveret_broker::mailbox::{Event, Mailbox};
use leveret_broker::node::{Node, Surroundings};
use leveret_broker::queue::QueueSettings;
use leveret_broker::topology::{Record, Together};
use leveret_protocol::amqp091::Table;
use leveret_protocol::amqp091::method::{
    ChannelClose, ConnectionClose, ExchangeDeclare, QueueBind, QueueDeclare, QueueDelete,
};

use super::client::{Client, counts, queue_counts};
use super::fake_store::FakeStore;

/// A disk that writes when the test says so.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    state: Mutex<DiskState>,
}

#[derive(Debug, Default)]
struct DiskState {
    last: u64,
    synced: u64,
    failed: bool,
    waiting: Vec<Arc<Mailbox>>,
}

impl Disk {
    fn sync_to(&self, position: u64) {
        self.state.lock().unwrap().synced = position;
        self.tell();
    }

    fn sync(&self) {
        let last = self.last().0;
        self.sync_to(last);
    }

    fn fail(&self) {
        self.state.lock().unwrap().failed = true;
        self.tell();
    }

    fn tell(&self) {
        for mailbox in std::mem::take(&mut self.state.lock().unwrap().waiting) {
            let _ = mailbox.post(Event::JournalMoved);
        }
    }
}

impl Journal for Disk {
    fn append(&self, records: Vec<Record>) -> JournalPosition {
        let mut state = self.state.lock().unwrap();
        state.last += records.len() as u64;
        JournalPosition(state.last)
    }

    fn append_together(&self, _records: Together) -> JournalPosition {
        self.append(Vec::new())
    }

    fn last(&self) -> JournalPosition {
        JournalPosition(self.state.lock().unwrap().last)
    }

    fn has_failed(&self) -> bool {
        self.state.lock().unwrap().failed
    }

    fn written(&self, position: JournalPosition, mailbox: &Arc<Mailbox>) -> Written {
        let mut state = self.state.lock().unwrap();
        if state.synced >= position.0 {
            return Written::Synced;
        }
        if state.failed {
            return Written::Failed;
        }
        state.waiting.push(Arc::clone(mailbox));
        Written::Waiting
    }
}

fn start() -> (Arc<Disk>, Arc<Node>, Client) {
    start_at(&Arc::new(ManualClock::default()))
}

fn start_at(clock: &Arc<ManualClock>) -> (Arc<Disk>, Arc<Node>, Client) {
    let disk = Arc::new(Disk::default());
    let journal = Arc::clone(&disk) as Arc<dyn Journal>;
    let node = Arc::new(Node::within(Surroundings {
        journal: Some(journal),
        store: Some(FakeStore::new()),
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        ..Surroundings::default()
    }));
    disk.sync();
    let client = Client::open(&node);
    (disk, node, client)
}

pub(crate) fn declare(queue: &str, durable: bool) -> QueueDeclare<'_> {
    let (ticket, passive, exclusive, auto_delete, no_wait, arguments) =
        (0, false, false, false, false, Table::default());
    QueueDeclare { ticket, queue, passive, durable, exclusive, auto_delete, no_wait, arguments }
}

fn exchange(name: &str) -> ExchangeDeclare<'_> {
    let (ticket, kind, passive, auto_delete, internal, no_wait, arguments) =
        (0, "fanout", false, false, false, false, Table::default());
    ExchangeDeclare { ticket, exchange: name, kind, passive, durable: true, auto_delete, internal, no_wait, arguments }
}

fn bind<'a>(queue: &'a str, exchange: &'a str) -> QueueBind<'a> {
    QueueBind { ticket: 0, queue, exchange, routing_key: "", no_wait: false, arguments: Table::default() }
}

#[test]
fn a_durable_declaration_is_answered_once_it_is_on_disk() {
    let (disk, _, mut client) = start();
    client.send(1, &declare("q", true));
    client.quiet_turn();
    disk.sync();
    assert_eq!(client.turn(), ["1: declare-ok q"]);
    // It is there and on disk, so there is nothing to wait for.
    client.send(1, &declare("q", true));
    assert_eq!(client.turn(), ["1: declare-ok q"]);
}

#[test]
fn transient_declarations_and_those_without_an_answer_wait_for_nothing() {
    let (_, _, mut client) = start();
    client.send(1, &QueueDeclare { no_wait: true, ..declare("durable", true) });
    client.send(1, &declare("transient", false));
    client.send(1, &declare("transient", false));
    assert_eq!(client.turn(), ["1: declare-ok transient", "1: declare-ok transient"]);
}

#[test]
fn another_client_waits_for_the_same_disk() {
    let (disk, node, mut first) = start();
    let mut second = Client::open(&node);
    first.send(1, &declare("q", true));
    first.quiet_turn();
    second.send(1, &declare("q", true));
    second.quiet_turn();
    disk.sync();
    assert_eq!(first.turn(), ["1: declare-ok q"]);
    assert_eq!(second.turn(), ["1: declare-ok q"]);
}

#[test]
fn what_follows_on_the_channel_comes_after_the_answer_and_in_order() {
    let (disk, node, mut client) = start();
    client.send(1, &declare("q", true));
    client.publish(1, "q", "one");
    client.consume(1, "q", true);
    client.send(1, &exchange("x"));
    client.send(1, &bind("q", "x"));
    client.publish_to(1, "x", "", b"two", false);
    client.quiet_turn();
    assert_eq!(counts(&node, "q"), queue_counts(0, 0, 0));
    disk.sync();
    assert_eq!(client.turn(), ["1: declare-ok q", "1: deliver q 1 'one'"]);
    disk.sync();
    assert_eq!(client.turn(), ["1: ExchangeDeclareOk", "1: QueueBindOk", "1: deliver q 2 'two'"]);
}

#[test]
fn other_channels_and_deliveries_go_on() {
    let (disk, _, mut client) = start();
    client.open_channel(2);
    client.declare(1, "busy");
    client.consume(1, "busy", true);
    client.send(1, &declare("q", true));
    client.confirm_select(2);
    client.publish(2, "busy", "meanwhile");
    assert_eq!(client.turn(), ["2: open-ok", "2: ack 1", "1: deliver busy 1 'meanwhile'"]);
    disk.sync();
    assert_eq!(client.turn(), ["1: declare-ok q"]);
}

#[test]
fn each_channel_goes_on_when_its_own_change_is_on_disk() {
    let (disk, _, mut client) = start();
    client.open_channel(2);
    client.send(1, &declare("one", true));
    client.send(2, &declare("two", true));
    assert_eq!(client.turn(), ["2: open-ok"]);
    let last = disk.last().0;
    disk.sync_to(last - 1);
    assert_eq!(client.turn(), ["1: declare-ok one"]);
    disk.sync_to(last);
    assert_eq!(client.turn(), ["2: declare-ok two"]);
}

#[test]
fn closing_waits_its_turn_on_the_channel_and_none_on_the_connection() {
    let (disk, _, mut client) = start();
    client.send(1, &declare("q", true));
    client.send(1, &ChannelClose { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 });
    client.quiet_turn();
    disk.sync();
    assert_eq!(client.turn(), ["1: declare-ok q", "1: close-ok"]);
    client.open_channel(1);
    client.send(1, &QueueDelete { ticket: 0, queue: "q", if_unused: false, if_empty: false, no_wait: false });
    assert_eq!(client.turn(), ["1: open-ok"]);
    client.send(0, &ConnectionClose { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 });
    assert_eq!(client.turn(), ["0: close-ok"]);
    disk.sync();
    client.quiet_turn();
}

#[test]
fn a_failed_disk_ends_the_connections_that_wait_for_it() {
    let (disk, node, mut waiting) = start();
    let mut later = Client::open(&node);
    waiting.send(1, &declare("q", true));
    waiting.quiet_turn();
    disk.fail();
    let close = "0: close INTERNAL_ERROR - the change is not on disk: writing to it failed, and the broker has to be \
                 started again";
    assert_eq!(waiting.turn(), [close]);
    later.send(1, &declare("other", true));
    assert_eq!(later.turn(), [close]);
    // What needs no disk goes on, and what was refused was not done.
    let mut transient = Client::open(&node);
    transient.send(1, &declare("transient", false));
    transient.send(1, &bind("transient", "amq.fanout"));
    transient.send(1, &bind("transient", "amq.fanout"));
    assert_eq!(transient.turn(), ["1: declare-ok transient", "1: QueueBindOk", "1: QueueBindOk"]);
    transient.send(1, &QueueDeclare { passive: true, ..declare("other", true) });
    assert_eq!(transient.turn(), ["1: close NOT_FOUND - no queue 'other' in vhost '/'"]);
}

#[test]
fn a_parked_channel_keeps_so_much_and_then_the_socket_waits() {
    let (disk, node, mut client) = start();
    client.send(1, &declare("q", true));
    client.quiet_turn();
    let body = "x".repeat(100_000);
    let mut published = 0;
    while !client.session.is_stuck() {
        assert!(published < 20, "2 MB are kept by now");
        client.publish(1, "q", &body);
        client.quiet_turn();
        published += 1;
    }
    disk.sync();
    assert_eq!(client.turn(), ["1: declare-ok q"]);
    assert!(!client.session.is_stuck());
    assert_eq!(counts(&node, "q"), queue_counts(published, 0, 0));
}

#[test]
fn many_declarations_cost_one_sync() {
    let (disk, node, mut client) = start();
    for number in 0..100 {
        client.send(1, &declare(&format!("q{number}"), true));
    }
    client.send(1, &QueueDeclare { passive: true, ..declare("missing", true) });
    client.quiet_turn();
    assert!(node.queue("/", "q99", client.session.id()).is_ok());
    disk.sync();
    let lines = client.turn();
    assert_eq!(lines.len(), 101);
    assert_eq!(lines[99], "1: declare-ok q99");
    assert_eq!(lines[100], "1: close NOT_FOUND - no queue 'missing' in vhost '/'");
}

#[test]
fn deleting_what_another_client_is_deleting_waits_for_the_same_disk() {
    let (disk, node, mut first) = start();
    let mut second = Client::open(&node);
    let delete = QueueDelete { ticket: 0, queue: "q", if_unused: false, if_empty: false, no_wait: false };
    first.send(1, &declare("q", true));
    first.quiet_turn();
    disk.sync();
    first.send(1, &delete);
    assert_eq!(first.turn(), ["1: declare-ok q"]);
    second.send(1, &delete);
    second.quiet_turn();
    disk.sync();
    assert_eq!(second.turn(), ["1: delete-ok 0"]);
}

#[test]
fn what_was_sent_before_the_end_is_done() {
    for polite in [true, false] {
        let (_, node, mut client) = start();
        client.send(1, &declare("q", true));
        for _ in 0..10 {
            client.publish(1, "q", "message");
        }
        if polite {
            client.send(0, &ConnectionClose { reply_code: 200, reply_text: "", class_id: 0, method_id: 0 });
            assert_eq!(client.turn(), ["0: close-ok"]);
        } else {
            client.quiet_turn();
            client.session.terminate();
        }
        assert_eq!(counts(&node, "q"), queue_counts(10, 0, 0), "with close: {polite}");
    }
}

#[test]
fn what_one_channel_published_survives_a_change_before_the_next_goes_on() {
    let (disk, node, mut client) = start();
    client.open_channel(2);
    client.declare(2, "target");
    client.send(1, &declare("one", true));
    client.publish(1, "target", "from one");
    client.send(2, &declare("two", true));
    // Between the two, the cached route falls: by a change that the first channel's own frames make.
    client.declare(1, "transient");
    client.publish(1, "target", "again");
    client.publish(2, "target", "from two");
    assert_eq!(client.turn(), ["2: open-ok"]);
    disk.sync();
    assert_eq!(client.turn(), ["1: declare-ok one", "2: declare-ok two"]);
    assert_eq!(counts(&node, "target"), queue_counts(3, 0, 0));
}

#[test]
fn what_was_kept_is_handled_in_bounded_turns() {
    use leveret_protocol::amqp091::method::{BasicGet, BasicNack};
    let (disk, _, mut client) = start();
    client.declare(1, "large");
    client.publish(1, "large", &"x".repeat(500_000));
    client.quiet_turn();
    client.send(1, &declare("q", true));
    for tag in 1..=50 {
        client.send(1, &BasicGet { ticket: 0, queue: "large", no_ack: false });
        client.send(1, &BasicNack { delivery_tag: tag, multiple: false, requeue: true });
    }
    client.quiet_turn();
    disk.sync();
    let mut got = 0;
    for _ in 0..100 {
        client.session.deliver(&mut client.to_client);
        client.session.end_turn(&mut client.to_client);
        assert!(client.to_client.len() < 4_000_000, "{} octets in a turn", client.to_client.len());
        got += client.read().iter().filter(|line| line.starts_with("1: get-ok")).count();
    }
    assert_eq!(got, 50);
}

#[test]
fn an_ack_that_waits_with_its_channel_is_in_time() {
    let clock = Arc::new(ManualClock::default());
    let (disk, node, mut client) = start_at(&clock);
    client.declare(1, "q");
    client.exchange();
    let settings = QueueSettings { consumer_timeout_ms: Some(160), ..QueueSettings::default() };
    client.cell("q").configure(&settings);
    client.consume(1, "q", false);
    client.publish(1, "q", "a");
    client.turn();
    client.send(1, &declare("durable", true));
    client.ack(1, 1, false);
    client.quiet_turn();
    clock.advance(10_000);
    client.quiet_turn();
    assert!(client.session.deadline().is_some_and(|due| due > client.session.now()), "it looks again");
    disk.sync();
    assert_eq!(client.turn(), ["1: declare-ok durable"]);
    assert_eq!(counts(&node, "q"), queue_counts(0, 0, 1));
    clock.advance(10_000);
    client.quiet_turn();
    assert_eq!(client.session.deadline(), None);
}
