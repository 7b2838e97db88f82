//! Many changes at a time: all of them or none, and with all that follows.

use std::collections::BTreeSet;

use super::*;
use crate::access::{Peer, Permissions};
use crate::dedup::ID_HEADER;
use crate::exchange::ExchangeKind;
use crate::journal::{Journal, Written};
use crate::mailbox::{Event, Inbox, Mailbox};
use crate::message::Message;
use crate::node::Surroundings;
use crate::properties::testing::Fixed;
use crate::queue::Taken;
use crate::topology::{
    ApplyTo, Change, ConnectionId, Destination, Origin, Policy, PolicyKind, Record, Routes, RoutingInput,
};
use crate::value::{Table, Value};
use crate::{Error, Name};
use parking_lot::Mutex;

const ONE: ConnectionId = ConnectionId(1);

/// What was written at a time.
#[derive(Debug, Default)]
struct Kept {
    writes: Mutex<Vec<Vec<Record>>>,
    has_failed: bool,
}

impl Journal for Kept {
    fn append(&self, records: Vec<Record>) -> JournalPosition {
        self.writes.lock().extend(records.into_iter().map(|record| vec![record]));
        self.last()
    }

    fn append_together(&self, records: Together) -> JournalPosition {
        self.writes.lock().push(Record::decode_all(&records.into_octets()).unwrap());
        self.last()
    }

    fn last(&self) -> JournalPosition {
        JournalPosition(self.writes.lock().len() as u64)
    }

    fn has_failed(&self) -> bool {
        self.has_failed
    }

    fn written(&self, _: JournalPosition, _: &Arc<Mailbox>) -> Written {
        Written::Synced
    }
}

fn kept() -> (Arc<Kept>, Node) {
    let journal = Arc::new(Kept::default());
    let node = Node::within(Surroundings { journal: Some(journal.clone()), ..Surroundings::default() });
    journal.writes.lock().clear();
    (journal, node)
}

fn queue(name: &str) -> Change {
    let (vhost, name, arguments, origin) = ("/".into(), name.into(), Table::new(), Origin::Client);
    let (durable, exclusive, auto_delete, id) = (true, None, false, None);
    Change::DeclareQueue { vhost, name, durable, exclusive, auto_delete, arguments, origin, id }
}

fn exchange(name: &str, kind: ExchangeKind, arguments: &[(&str, Value)]) -> Change {
    let arguments = arguments.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
    let (durable, auto_delete, internal, origin) = (true, false, false, Origin::Client);
    let (vhost, name) = ("/".into(), name.into());
    Change::DeclareExchange { vhost, name, kind, durable, auto_delete, internal, arguments, origin }
}

fn bind(source: &str, queue: &str) -> Change {
    let (destination, routing_key, arguments) = (Destination::Queue(queue.into()), "".into(), Table::new());
    Change::Bind { vhost: "/".into(), source: source.into(), destination, routing_key, arguments, asking: None }
}

fn policy(name: &str, definition: &[(&str, Value)]) -> Change {
    let definition = definition.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
    let policy = Policy { name: name.into(), pattern: "".into(), apply_to: ApplyTo::All, priority: 0, definition };
    Change::SetPolicy { vhost: "/".into(), kind: PolicyKind::User, policy }
}

fn all(node: &Node, changes: &[Change]) -> Result<Batch<()>, BatchError<Error>> {
    node.apply_together(|draft| {
        changes.iter().try_for_each(|change| {
            draft.apply(change.clone())?;
            Ok(())
        })
    })
}

/// Publishes, and gives the names of the queues that got it.
fn publish(node: &Node, to: &str, id: &str) -> BTreeSet<Name> {
    let headers = [(ID_HEADER.into(), Value::text(id))].into_iter().collect();
    let (properties, message) = (&Fixed { headers, ..Fixed::default() }, &Message::bare(to, ""));
    let input = RoutingInput { routing_keys: &[""], message, properties, entropy: 0, now: node.now() };
    let routed = node.route("/", to, &input, &mut Routes::default()).unwrap();
    for queue in &routed.queues {
        queue.enqueue(&mut vec![message.clone()], crate::queue::Fanout::One, &Arc::default());
    }
    routed.queues.iter().map(|queue| Name::clone(&queue.info().name)).collect()
}

fn ready(node: &Node, queue: &str) -> usize {
    node.queue("/", queue, ONE).unwrap().counts().ready
}

#[test]
fn a_batch_comes_to_what_its_changes_come_to_one_by_one() {
    let permissions = Permissions::all();
    let changes = [
        Change::CreateVhost { vhost: "v".into() },
        Change::SetPermissions { user: "guest".into(), vhost: "v".into(), permissions },
        exchange("x", ExchangeKind::Fanout, &[]),
        exchange("delayed", ExchangeKind::Delayed, &[("x-delayed-type", Value::text("fanout"))]),
        queue("a"),
        policy("p", &[("max-length", Value::I64(1))]),
        queue("b"),
        queue("gone"),
        bind("x", "a"),
        bind("x", "gone"),
        Change::DeleteQueue { vhost: "/".into(), name: "gone".into(), id: None },
        policy("p", &[("max-length", Value::I64(2))]),
    ];
    let (journal, together) = kept();
    let before = together.durable_records().0;
    let batch = all(&together, &changes).unwrap();
    assert_eq!((batch.changes, batch.written), (changes.len(), Some(JournalPosition(1))));
    let one_by_one = Node::new();
    for change in changes {
        one_by_one.apply(change).unwrap();
    }
    assert_eq!(together.durable_records().0, one_by_one.durable_records().0);
    let mut restored = Topology::new();
    for record in before.into_iter().chain(journal.writes.lock().concat()) {
        restored.restore(record).unwrap();
    }
    assert_eq!(restored.durable_records(), one_by_one.durable_records().0);
    assert!(together.delay("/", "delayed").is_some());
    for node in [&together, &one_by_one] {
        assert_eq!(publish(node, "x", "1"), BTreeSet::from(["a".into()]));
        for id in ["2", "3"] {
            publish(node, "x", id);
        }
        assert_eq!(ready(node, "a"), 2, "the policy applies");
        assert!(node.queue("/", "gone", ONE).is_err());
    }
}

#[test]
fn nothing_is_left_of_a_batch_that_fails() {
    let (journal, node) = kept();
    all(&node, &[queue("q")]).unwrap();
    let before = (node.durable_records().0, node.generation(), journal.last());
    let wrong = bind("nowhere", "q");
    let refused = all(&node, &[queue("new"), policy("p", &[("max-length", Value::I64(1))]), wrong]);
    assert!(matches!(refused, Err(BatchError::Plan(Error::NotFound { .. }))), "{refused:?}");
    assert_eq!((node.durable_records().0, node.generation(), journal.last()), before);
    assert!(node.queue("/", "new", ONE).is_err());
    let unknown = Change::SetUserLimits { user: "nobody".into(), limits: Table::new() };
    assert!(matches!(all(&node, &[unknown]), Err(BatchError::Plan(Error::UserNotFound { .. }))));
}

#[test]
fn a_batch_is_one_record_and_what_changes_nothing_is_none() {
    let (journal, node) = kept();
    let changes = [queue("a"), queue("b"), bind("amq.fanout", "a")];
    assert_eq!(all(&node, &changes).unwrap().written, Some(JournalPosition(1)));
    assert_eq!(journal.writes.lock().iter().map(Vec::len).collect::<Vec<_>>(), [3]);
    let generation = node.generation();
    let again = all(&node, &changes).unwrap();
    assert_eq!((again.changes, again.written), (0, Some(JournalPosition(1))), "it may not be on disk yet");
    assert_eq!(node.generation(), generation);
}

#[test]
fn without_a_disk_to_write_to_nothing_is_changed() {
    let journal = Arc::new(Kept { has_failed: true, ..Kept::default() });
    let node = Node::within(Surroundings { journal: Some(journal), ..Surroundings::default() });
    assert_eq!(all(&node, &[queue("q")]), Err(BatchError::NotWritten));
    assert!(node.queue("/", "q", ONE).is_err());
}

#[test]
fn who_changes_something_meanwhile_is_not_overwritten() {
    for interruptions in 0..=TRIES {
        let (_, node) = kept();
        let mut planned = 0;
        let batch = node.apply_together(|draft| {
            if planned < interruptions {
                node.apply(queue(&format!("other-{planned}")))?;
            }
            planned += 1;
            draft.apply(queue("mine"))?;
            // What is copied has everything from before.
            Ok::<_, Error>(draft.topology().vhost("/")?.queue_count())
        });
        let batch = batch.unwrap();
        assert_eq!((planned, batch.planned), (interruptions + 1, interruptions + 1));
        for queue in 0..interruptions {
            assert!(node.queue("/", &format!("other-{queue}"), ONE).is_ok(), "{interruptions}");
        }
        let mine = node.queue("/", "mine", ONE).unwrap();
        assert_eq!(node.read(|topology| topology.vhost("/").unwrap().any_queue("mine").unwrap().id()), mine.info().id);
    }
}

#[test]
fn routes_from_before_are_out_of_date_whatever_happens_meanwhile() {
    let (_, node) = kept();
    let mut generation = 0;
    node.apply_together(|draft| {
        for _ in 0..10 {
            node.state.write().topology.touch();
        }
        generation = node.read(Topology::generation);
        draft.apply(queue("q"))
    })
    .unwrap();
    assert!(node.generation() > generation);
}

#[test]
fn what_exchanges_remember_stays() {
    let (_, node) = kept();
    let cache = [("x-cache-size", Value::I32(10))];
    let changes = [
        exchange("seen", ExchangeKind::Deduplication, &cache),
        exchange("recent", ExchangeKind::RecentHistory, &[]),
        queue("q"),
        bind("seen", "q"),
    ];
    all(&node, &changes).unwrap();
    publish(&node, "recent", "1");
    assert_eq!(publish(&node, "seen", "1").len(), 1);
    let mut is_first = true;
    node.apply_together(|draft| {
        if std::mem::take(&mut is_first) {
            // After the copy was made.
            publish(&node, "seen", "2");
            publish(&node, "recent", "2");
        }
        draft.apply(queue("late"))?;
        draft.apply(bind("recent", "late"))
    })
    .unwrap();
    assert_eq!((publish(&node, "seen", "1").len(), publish(&node, "seen", "2").len()), (0, 0), "duplicates");
    assert_eq!(ready(&node, "late"), 2, "a new binding gets the last messages");
}

#[test]
fn queues_that_are_there_keep_what_they_hold_and_act_by_new_policies() {
    let (_, node) = kept();
    all(&node, &[queue("q"), bind("amq.fanout", "q")]).unwrap();
    for id in ["1", "2", "3"] {
        publish(&node, "amq.fanout", id);
    }
    all(&node, &[policy("p", &[("max-length", Value::I64(2))]), queue("r")]).unwrap();
    assert_eq!(ready(&node, "q"), 2);
    let cell = node.queue("/", "q", ONE).unwrap();
    assert!(matches!(cell.take(true, &Arc::default()), Ok((Taken::Message(..), 1))));
}

#[test]
fn connections_are_told_once_of_what_concerns_them() {
    let (_, node) = kept();
    let mailbox = Arc::<Mailbox>::default();
    let id = node.connect(&mailbox, &Arc::new(Peer::local()), &Arc::default());
    node.open_connection(id, "/", &"guest".into(), node.access_generation()).unwrap();
    let set = |vhost: &str| Change::SetPermissions {
        user: "guest".into(),
        vhost: vhost.into(),
        permissions: Permissions::all(),
    };
    let create = |vhost: &str| Change::CreateVhost { vhost: vhost.into() };
    let access = node.access_generation();
    all(&node, &[create("a"), create("b"), set("a"), set("b")]).unwrap();
    assert!(node.access_generation() > access);
    let mut inbox = Inbox::default();
    mailbox.take(&mut inbox);
    assert_eq!(inbox.events.iter().filter(|event| matches!(event, Event::AccessChanged)).count(), 1);
}

#[test]
fn a_draft_changes_nothing_but_itself() {
    let (journal, node) = kept();
    let mut draft = node.draft();
    draft.apply(queue("q")).unwrap();
    assert!(draft.topology().vhost("/").unwrap().any_queue("q").is_ok());
    assert!(node.queue("/", "q", ONE).is_err());
    assert_eq!(journal.last(), JournalPosition(0));
}

#[test]
fn defaults_that_were_waived_are_never_created() {
    let node = Node::within(Surroundings { defaults: None, ..Surroundings::default() });
    assert_eq!(node.read(|topology| topology.users().count() + topology.vhosts().count()), 0);
    assert_eq!(all(&node, &[Change::WaiveDefaults]).unwrap().changes, 1);
    assert_eq!(all(&node, &[Change::WaiveDefaults]).unwrap().changes, 0);
    let mut topology = Topology::new();
    for record in node.durable_records().0 {
        topology.restore(record).unwrap();
    }
    let again = Node::restored(topology, Surroundings::default(), |_| None);
    assert_eq!(again.read(|topology| topology.users().count()), 0);
}
