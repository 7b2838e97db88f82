//! Rules of a node: what a change does to queues and their consumers, and who gets replies.

mod access;
mod dead_letters;
mod leaving;
mod messages;
mod operations;
mod stats;
mod time;

use super::*;
use crate::access::Peer;
use crate::exchange::ExchangeKind;
use crate::fake_store::FakeStore;
use crate::mailbox::{CloseReason, Event, Inbox, MAILBOX_BYTES};
use crate::message::Draft;
use crate::queue::{ConsumerId, Enqueued, Fanout, Pace, Subscriber, Subscription, Taken};
use crate::store::Area;
use crate::topology::{Destination, Origin, Together};
use crate::value::Table;
use crate::wakes::Wakes;

const ONE: ConnectionId = ConnectionId(1);
const TWO: ConnectionId = ConnectionId(2);

fn vhost() -> Name {
    "/".into()
}

fn declare_queue(name: &str, exclusive: Option<ConnectionId>, auto_delete: bool) -> Change {
    let (arguments, origin, durable) = (Table::new(), Origin::Client, false);
    Change::DeclareQueue {
        vhost: vhost(),
        name: name.into(),
        durable,
        exclusive,
        auto_delete,
        arguments,
        origin,
        id: None,
    }
}

fn declare_exchange(name: &str, internal: bool) -> Change {
    let (kind, durable, auto_delete) = (ExchangeKind::Fanout, false, false);
    let (arguments, origin) = (Table::new(), Origin::Client);
    Change::DeclareExchange {
        vhost: vhost(),
        name: name.into(),
        kind,
        durable,
        auto_delete,
        internal,
        arguments,
        origin,
    }
}

fn bind(source: &str, queue: &str) -> Change {
    let destination = Destination::Queue(queue.into());
    let (routing_key, arguments) = ("".into(), Table::new());
    Change::Bind { vhost: vhost(), source: source.into(), destination, routing_key, arguments, asking: None }
}

/// A node with a queue `q`.
fn node(exclusive: Option<ConnectionId>, auto_delete: bool) -> (Node, Arc<QueueCell>) {
    let node = Node::new();
    node.apply(declare_queue("q", exclusive, auto_delete)).unwrap();
    let cell = node.queue("/", "q", ONE).unwrap();
    (node, cell)
}

fn consume(cell: &QueueCell, mailbox: &Arc<Mailbox>) -> ConsumerId {
    let (sink, tag) = (Arc::clone(mailbox), "tag".into());
    let (no_ack, exclusive, priority, prefetch) = (false, false, 0, 1);
    let subscription = Subscription {
        sink,
        key: 0,
        tag,
        no_ack,
        exclusive,
        priority,
        prefetch,
        shared: None,
        subscriber: Subscriber::default(),
    };
    cell.subscribe(subscription).unwrap()
}

fn persistent(key: &str) -> Message {
    let mut draft = Draft::new(Vec::new(), "", key);
    draft.set_persistent();
    draft.message()
}

fn message(routing_key: &str, body_size: usize) -> Message {
    let mut draft = Draft::new(Vec::new(), "", routing_key);
    draft.body(&vec![b'x'; body_size]);
    draft.message()
}

fn route(node: &Node, exchange: &str, key: &str) -> Result<Vec<Name>, String> {
    let (message, properties) = (&Message::bare(exchange, key), &NoProperties);
    let input = RoutingInput { routing_keys: &[key], message, properties, entropy: 0, now: Timestamp(0) };
    let routed = node.route("/", exchange, &input, &mut Routes::default());
    let names = |routed: Routed| routed.queues.iter().map(|cell| Name::clone(&cell.info().name)).collect();
    routed.map(names).map_err(|error| error.to_string())
}

fn take(mailbox: &Mailbox) -> Inbox {
    let mut inbox = Inbox::default();
    mailbox.take(&mut inbox);
    inbox
}

fn exists(node: &Node) -> bool {
    node.queue("/", "q", ONE).is_ok()
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer() {
    let (node, cell) = node(None, true);
    node.delete_unused(&cell);
    assert!(!exists(&node), "it is the caller who knows that there was a consumer");
    node.apply(declare_queue("q", None, true)).unwrap();
    let cell = node.queue("/", "q", ONE).unwrap();
    let mailbox = Arc::default();
    let ids = [consume(&cell, &mailbox), consume(&cell, &mailbox)];
    assert!(!cell.unsubscribe(ids[0]).was_last);
    assert!(cell.unsubscribe(ids[1]).was_last);
    let late = consume(&cell, &mailbox);
    node.delete_unused(&cell);
    assert!(exists(&node), "somebody came meanwhile");
    assert!(cell.unsubscribe(late).was_last);
    node.delete_unused(&cell);
    assert!(!exists(&node));
}

#[test]
fn a_queue_declared_anew_is_not_deleted_for_the_old_one() {
    let (node, old) = node(None, true);
    assert_eq!(node.delete_queue(&vhost(), "q", ONE, CloseCondition::default()), Ok(Deleted::default()));
    node.apply(declare_queue("q", None, true)).unwrap();
    node.delete_unused(&old);
    assert!(exists(&node));
    assert!(!Arc::ptr_eq(&old, &node.queue("/", "q", ONE).unwrap()));
}

#[test]
fn exclusive_queues_are_their_connections_and_go_with_it() {
    let (node, cell) = node(Some(ONE), false);
    node.apply(declare_queue("theirs", Some(TWO), false)).unwrap();
    node.apply(declare_queue("anybodys", None, false)).unwrap();
    let locked = "cannot obtain exclusive access to locked queue 'q' in vhost '/'";
    assert!(node.queue("/", "q", TWO).err().unwrap().to_string().starts_with(locked));
    let refused = node.delete_queue(&vhost(), "q", TWO, CloseCondition::default());
    assert!(refused.unwrap_err().to_string().starts_with(locked));
    let mailbox = Arc::default();
    consume(&cell, &mailbox);
    node.delete_owned_by(&vhost(), ONE);
    assert!(!exists(&node));
    assert!(matches!(take(&mailbox).events.as_slice(), [Event::ConsumerCancelled { key: 0, .. }]));
    assert!(node.queue("/", "theirs", TWO).is_ok() && node.queue("/", "anybodys", ONE).is_ok());
    let generation = node.generation();
    node.delete_owned_by(&vhost(), ONE);
    node.delete_owned_by(&"nowhere".into(), TWO);
    assert_eq!(node.generation(), generation);
}

#[test]
fn a_queue_is_deleted_only_under_its_conditions() {
    let condition = |if_unused, if_empty| CloseCondition { if_unused, if_empty, if_over: false };
    for (consumers, messages, condition, deleted) in [
        (0, 3, condition(false, false), Ok(3)),
        (0, 3, condition(true, false), Ok(3)),
        (1, 3, condition(false, false), Ok(2)),
        (1, 1, condition(true, true), Err("queue 'q' in vhost '/' in use")),
        (0, 1, condition(true, true), Err("queue 'q' in vhost '/' not empty")),
    ] {
        let (node, cell) = node(None, false);
        let mailbox = Arc::default();
        for _ in 0..consumers {
            consume(&cell, &mailbox);
        }
        let enqueued = cell.enqueue(&mut vec![message("q", 1); messages], Fanout::One, &mailbox);
        assert_eq!(enqueued, Enqueued { pace: Pace::Go, stored: None, refused: vec![] });
        let generation = node.generation();
        let result = node.delete_queue(&vhost(), "q", ONE, condition).map_err(|error| error.to_string());
        let gone = result.is_ok();
        assert_eq!(result.map(|deleted| deleted.messages), deleted.map_err(Into::into));
        assert_eq!((exists(&node), node.generation() > generation), (!gone, gone));
        // Deleting what is missing is no error.
        if gone {
            assert_eq!(node.delete_queue(&vhost(), "q", ONE, condition), Ok(Deleted::default()));
        }
    }
}

#[test]
fn deleting_a_vhost_closes_its_queues() {
    let (node, cell) = node(None, false);
    let mailbox = Arc::default();
    consume(&cell, &mailbox);
    node.apply(Change::DeleteVhost { vhost: vhost() }).unwrap();
    assert_eq!(take(&mailbox).events.len(), 1);
    assert_eq!(cell.take(true, &mailbox).unwrap_err().to_string(), "no queue 'q' in vhost '/'");
    assert_eq!(node.queue("/", "q", ONE).err().unwrap().to_string(), "vhost / not found");
}

#[test]
fn the_generation_moves_with_every_change_and_only_then() {
    let node = Node::new();
    for (change, moves) in [
        (declare_queue("q", None, false), true),
        (declare_queue("q", None, false), false),
        (declare_queue("q", None, true), false),
        (declare_exchange("x", false), true),
        (declare_exchange("x", false), false),
        (bind("x", "q"), true),
        (bind("x", "q"), false),
        (bind("x", "missing"), false),
        (Change::DeleteExchange { vhost: vhost(), name: "x".into(), if_unused: false }, true),
        (Change::DeleteExchange { vhost: vhost(), name: "x".into(), if_unused: false }, false),
        (Change::DeleteQueue { vhost: vhost(), name: "q".into(), id: None }, true),
        (Change::DeleteQueue { vhost: vhost(), name: "q".into(), id: None }, false),
    ] {
        let generation = node.generation();
        let _ = node.apply(change.clone());
        assert_eq!(node.generation() > generation, moves, "{change:?}");
        assert_eq!(node.generation(), node.read(Topology::generation));
    }
}

#[test]
fn a_message_is_routed_to_the_queues_that_are_there() {
    let (node, _) = node(None, false);
    for change in [
        declare_queue("r", None, false),
        declare_exchange("x", false),
        declare_exchange("inside", true),
        bind("x", "q"),
        bind("x", "r"),
        bind("inside", "q"),
        Change::Bind {
            vhost: vhost(),
            source: "x".into(),
            destination: Destination::Exchange("inside".into()),
            routing_key: "".into(),
            arguments: Table::new(),
            asking: None,
        },
    ] {
        node.apply(change).unwrap();
    }
    let names = |names: &[&str]| Ok(names.iter().map(|name| Name::from(*name)).collect());
    for (exchange, key, routed) in [
        ("", "q", names(&["q"])),
        ("", "nowhere", names(&[])),
        ("x", "any", names(&["q", "r"])),
        ("inside", "any", Err("cannot publish to internal exchange 'inside' in vhost '/'".into())),
        ("missing", "any", Err("no exchange 'missing' in vhost '/'".into())),
    ] {
        assert_eq!(route(&node, exchange, key), routed, "{exchange} {key}");
    }
    node.delete_queue(&vhost(), "r", ONE, CloseCondition::default()).unwrap();
    assert_eq!(route(&node, "x", "any"), names(&["q"]));
}

#[test]
fn a_reply_reaches_whoever_waits_for_it() {
    let node = Node::new();
    let mailbox = Arc::default();
    let wakes = Wakes::new();
    assert!(Mailbox::register(&mailbox, &wakes.waker()));
    node.reply("token", &message("token", 1));
    node.register_reply("token".into(), &mailbox, 42);
    assert!(node.reply_exists("token") && !node.reply_exists("other"));
    node.reply("other", &message("other", 1));
    assert_eq!(wakes.count(), 0);
    node.reply("token", &message("token", 1));
    let deliveries = take(&mailbox).deliveries;
    assert_eq!((wakes.count(), deliveries.len()), (1, 1));
    assert_eq!((deliveries[0].key, deliveries[0].redelivered), (42, false));
    assert_eq!(deliveries[0].message, message("token", 1));
    node.unregister_reply("token");
    assert!(!node.reply_exists("token"));
    node.reply("token", &message("token", 1));
    assert!(take(&mailbox).is_empty());
}

#[test]
fn replies_to_a_consumer_that_does_not_read_are_dropped() {
    let node = Node::new();
    let mailbox = Arc::default();
    node.register_reply("token".into(), &mailbox, 0);
    for _ in 0..10 {
        node.reply("token", &message("token", MAILBOX_BYTES / 2));
    }
    assert_eq!(take(&mailbox).deliveries.len(), 2);
    node.reply("token", &message("token", 1));
    assert_eq!(take(&mailbox).deliveries.len(), 1);
}

#[test]
fn connections_are_told_to_close_until_they_are_forgotten() {
    let node = Node::new();
    let mailboxes: [Arc<Mailbox>; 3] = Default::default();
    let ids = mailboxes.each_ref().map(|mailbox| node.connect(mailbox, &Arc::new(Peer::local()), &Arc::default()));
    assert_eq!((node.connection_count(), ids[0] == ids[1]), (3, false));
    node.disconnect(ids[1]);
    let wakes = Wakes::new();
    assert!(mailboxes[0].register(&wakes.waker()));
    node.close_connections(&CloseReason::Shutdown);
    let told = mailboxes.each_ref().map(|mailbox| {
        let events = take(mailbox).events;
        events.iter().filter(|event| matches!(event, Event::Close(CloseReason::Shutdown))).count()
    });
    assert_eq!((told, wakes.count(), node.connection_count()), ([1, 0, 1], 1, 2));
}

/// A journal that keeps what it is given.
#[derive(Debug, Default)]
struct Kept {
    records: Mutex<Vec<Record>>,
}

impl Journal for Kept {
    fn append(&self, records: Vec<Record>) -> JournalPosition {
        self.records.lock().extend(records);
        self.last()
    }

    fn append_together(&self, records: Together) -> JournalPosition {
        self.records.lock().extend(Record::decode_all(&records.into_octets()).unwrap());
        self.last()
    }

    fn last(&self) -> JournalPosition {
        JournalPosition(self.records.lock().len() as u64)
    }

    fn has_failed(&self) -> bool {
        false
    }

    fn written(&self, _: JournalPosition, _: &Arc<Mailbox>) -> Written {
        Written::Synced
    }
}

#[test]
fn what_survives_is_written_down_and_comes_back() {
    let journal = Arc::new(Kept::default());
    let (journal_of, store) = (Arc::clone(&journal) as Arc<dyn Journal>, FakeStore::new());
    let node = Node::within(Surroundings {
        journal: Some(journal_of),
        store: Some(store.shared()),
        ..Surroundings::default()
    });
    let durable = |name: &str| match declare_queue(name, None, false) {
        Change::DeclareQueue { vhost, name, exclusive, auto_delete, arguments, origin, id, .. } => {
            Change::DeclareQueue { vhost, name, durable: true, exclusive, auto_delete, arguments, origin, id }
        }
        other => other,
    };
    let written = |change| node.apply(change).unwrap().written;
    assert!(written(durable("kept")).is_some());
    assert_eq!(written(durable("kept")), Some(journal.last()), "it is there, but may not be on disk yet");
    assert!(written(durable("deleted")).is_some());
    assert_eq!(written(declare_queue("transient", None, false)), None);
    assert_eq!(written(declare_queue("transient", None, false)), None);
    assert_eq!(written(declare_queue("mine", Some(ONE), false)), None);
    assert!(node.delete_queue(&vhost(), "deleted", ONE, CloseCondition::default()).unwrap().written.is_some());
    assert!(node.delete_queue(&vhost(), "transient", ONE, CloseCondition::default()).unwrap().written.is_none());
    assert_eq!(node.durable_records().1, Some(journal.last()));
    let mailbox = Arc::default();
    for (queue, is_stored) in [("kept", true), ("mine", false)] {
        let cell = node.queue("/", queue, ONE).unwrap();
        let enqueued = cell.enqueue(&mut vec![persistent("q"), message("q", 1)], Fanout::One, &mailbox);
        assert_eq!(enqueued.stored.is_some(), is_stored, "{queue}");
    }
    let id = node.queue("/", "kept", ONE).unwrap().info().id;
    assert_eq!(store.kept(Area::Log, id), [0]);
    let position = store.write(Area::Log, 0);
    assert_eq!(node.stored(Area::Log, position, &mailbox), Written::Synced);
    assert_eq!(node.stored(Area::Log, StorePosition(position.0 + 1), &mailbox), Written::Waiting);
    let (store, restored) = store.after_crash(id, store.write(Area::Log, u64::MAX));

    let mut topology = Topology::new();
    for record in journal.records.lock().clone() {
        topology.restore(record).unwrap();
    }
    let mut asked = Vec::new();
    let again = Node::restored(
        topology,
        Surroundings {
            journal: Some(Arc::new(Kept::default())),
            store: Some(store.shared()),
            ..Surroundings::default()
        },
        |queue| {
            asked.push(queue);
            Some(restored)
        },
    );
    assert_eq!(asked, [id]);
    assert_eq!(again.durable_records().0, node.durable_records().0);
    assert!(again.queue("/", "kept", ONE).is_ok());
    assert!(again.queue("/", "deleted", ONE).is_err() && again.queue("/", "mine", ONE).is_err());
    let kept = again.queue("/", "kept", ONE).unwrap();
    assert_eq!(kept.take(true, &mailbox), Ok((Taken::OnDisk, 1)));
    assert_eq!(take(&mailbox).events.len(), 0);
    again.loaded(id, store.answer(id, 1).unwrap());
    again.loaded(QueueId(1_000), Loaded::default());
    assert!(matches!(take(&mailbox).events.as_slice(), [Event::JournalMoved]));
    assert_eq!(kept.take(true, &mailbox), Ok((Taken::Message(Position(0), persistent("q"), false), 0)));
    again.delete_queue(&vhost(), "kept", ONE, CloseCondition::default()).unwrap();
    assert_eq!(store.kept(Area::Log, id), [0; 0]);
}
