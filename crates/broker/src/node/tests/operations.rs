//! What operators do to queues: pause, look, delete, move, purge a part.

use super::*;
use crate::queue::Browsed;
use crate::store::MemoryPressure;
use crate::value::Value;

/// A node with durable queues `source` and `target`, and what it keeps on disk.
struct Bench {
    node: Node,
    store: Arc<FakeStore>,
    publisher: Arc<Mailbox>,
}

const BIG: usize = 4096;

impl Bench {
    fn new(arguments: &[(&str, Value)]) -> Self {
        let store = FakeStore::new();
        let node = Node::within(Surroundings { store: Some(store.shared()), ..Surroundings::default() });
        let bench = Self { node, store, publisher: Arc::default() };
        bench.declare("source", &[]);
        bench.declare("target", arguments);
        bench
    }

    fn declare(&self, name: &str, arguments: &[(&str, Value)]) {
        let arguments = arguments.iter().map(|(name, value)| (Name::from(*name), value.clone())).collect();
        let (durable, exclusive, auto_delete, origin, id) = (true, None, false, Origin::Client, None);
        let (vhost, name) = (vhost(), name.into());
        let declare = Change::DeclareQueue { vhost, name, durable, exclusive, auto_delete, arguments, origin, id };
        self.node.apply(declare).unwrap();
    }

    fn cell(&self, name: &str) -> Arc<QueueCell> {
        self.node.queue("/", name, ONE).unwrap()
    }

    /// Publishes large messages whose first octets are these letters.
    fn publish(&self, letters: &str) {
        for letter in letters.bytes() {
            let mut draft = Draft::new(Vec::new(), "", "source");
            draft.set_persistent();
            draft.body(&[letter; BIG]);
            self.cell("source").enqueue(&mut vec![draft.message()], Fanout::One, &self.publisher);
        }
    }

    /// Publishes messages most of which are on disk only afterwards.
    fn publish_to_disk(&self, letters: &str) {
        self.store.set_pressure(MemoryPressure::All);
        let (most, last) = letters.split_at(letters.len() - 1);
        self.publish(most);
        self.store.write_all();
        self.publish(last);
    }

    fn answer(&self) {
        for name in ["source", "target"] {
            let id = self.cell(name).info().id;
            while let Some(loaded) = self.store.answer(id, 2) {
                self.node.loaded(id, loaded);
            }
        }
    }

    fn browse(&self, queue: &str) -> String {
        letters(&self.node.browse("/", queue, None, 100).unwrap())
    }

    fn positions(&self, wanted: &str) -> Vec<Position> {
        let browsed = self.node.browse("/", "source", None, 100).unwrap();
        let is_wanted = |browsed: &&Browsed| wanted.contains(char::from(browsed.message.body()[0]));
        browsed.iter().filter(is_wanted).map(|browsed| browsed.position).collect()
    }

    /// Takes everything, in order, as a consumer would; those that were handed out before are capitals.
    fn drain(&self, queue: &str) -> String {
        let mut drained = String::new();
        loop {
            match self.cell(queue).take(true, &self.publisher).unwrap().0 {
                Taken::Message(_, message, again) => drained.push(letter(&message, again)),
                Taken::OnDisk => self.answer(),
                Taken::Nothing => return drained,
            }
        }
    }
}

fn letter(message: &Message, again: bool) -> char {
    let letter = char::from(message.body()[0]);
    if again { letter.to_ascii_uppercase() } else { letter }
}

fn letters(browsed: &[Browsed]) -> String {
    browsed.iter().map(|browsed| letter(&browsed.message, browsed.redelivered)).collect()
}

#[test]
fn looking_changes_nothing_wherever_messages_are() {
    for on_disk in [false, true] {
        let bench = Bench::new(&[]);
        if on_disk {
            bench.publish_to_disk("abcdefghij");
        } else {
            bench.publish("abcdefghij");
        }
        let cell = bench.cell("source");
        let Taken::Message(position, first, false) = cell.take(false, &bench.publisher).unwrap().0 else { panic!() };
        cell.requeue(None, &mut vec![(position, first)]);
        assert_eq!(bench.browse("source"), "Abcdefghij", "on disk: {on_disk}");
        let page = bench.node.browse("/", "source", None, 4).unwrap();
        let rest = bench.node.browse("/", "source", Some(page[3].position), 4).unwrap();
        assert_eq!((letters(&page), letters(&rest)), ("Abcd".into(), "efgh".into()));
        assert_eq!(bench.drain("source"), "Abcdefghij");
        assert_eq!(bench.browse("source"), "");
    }
}

#[test]
fn selected_messages_go_and_the_others_stay_in_order() {
    for (selected, left) in
        [("a", "bcdefghij"), ("j", "abcdefghi"), ("cdh", "abefgij"), ("abcdefghij", ""), ("x", "abcdefghij")]
    {
        for on_disk in [false, true] {
            let bench = Bench::new(&[]);
            if on_disk {
                bench.publish_to_disk("abcdefghij");
            } else {
                bench.publish("abcdefghij");
            }
            let positions = bench.positions(selected);
            assert_eq!(bench.node.delete_messages("/", "source", &positions), Ok(positions.len()), "{selected}");
            assert_eq!(bench.node.delete_messages("/", "source", &positions), Ok(0), "they are gone");
            assert_eq!((bench.browse("source"), bench.cell("source").counts().ready), (left.into(), left.len()));
            let kept = bench.store.kept(Area::Log, bench.cell("source").info().id).len();
            assert_eq!(kept, left.len(), "{selected}, on disk: {on_disk}");
            bench.publish("z");
            assert_eq!(bench.drain("source"), format!("{left}z"), "{selected}, on disk: {on_disk}");
        }
    }
}

#[test]
fn a_part_of_a_queue_is_purged_from_the_front() {
    for (count, purged, left) in [(0, 0, "abcdef"), (2, 2, "cdef"), (6, 6, ""), (100, 6, "")] {
        let bench = Bench::new(&[]);
        bench.publish_to_disk("abcdef");
        assert_eq!(bench.node.purge_first("/", "source", count), Ok(purged), "{count}");
        assert_eq!(bench.drain("source"), left, "{count}");
    }
}

#[test]
fn moved_messages_leave_the_log_once_their_copies_are_in_it() {
    let bench = Bench::new(&[]);
    bench.publish("abcde");
    bench.store.write_all();
    let (source, target) = (bench.cell("source").info().id, bench.cell("target").info().id);
    let to = MoveTo::Queue("target".into());
    let moved = bench.node.move_messages("/", "source", &bench.positions("bd"), &to).unwrap();
    assert_eq!(moved, Moved { moved: 2, stayed: 0 });
    assert_eq!((bench.browse("source"), bench.browse("target")), ("ace".into(), "bd".into()));
    assert_eq!(bench.store.kept(Area::Log, source).len(), 5, "the copies may still be lost");
    assert!(bench.node.finish_moves());
    bench.store.write_all();
    assert!(!bench.node.finish_moves());
    assert_eq!((bench.store.kept(Area::Log, source).len(), bench.store.kept(Area::Log, target).len()), (3, 2));
    let missing = MoveTo::Queue("missing".into());
    assert!(matches!(bench.node.move_messages("/", "source", &[], &missing), Err(Error::NotFound { .. })));
}

#[test]
fn what_cannot_be_moved_stays_where_it_is() {
    let full = [("x-max-length", Value::I32(1)), ("x-overflow", Value::text("reject-publish"))];
    for on_disk in [false, true] {
        let bench = Bench::new(&full);
        if on_disk {
            bench.publish_to_disk("abcdef");
        } else {
            bench.publish("abcdef");
        }
        let to = MoveTo::Queue("target".into());
        let moved = bench.node.move_messages("/", "source", &bench.positions("ace"), &to).unwrap();
        assert_eq!(moved, Moved { moved: 1, stayed: 2 });
        let nowhere = bench.node.move_messages("/", "source", &bench.positions("cf"), &MoveTo::WhereTheyDied).unwrap();
        assert_eq!(nowhere, Moved { moved: 0, stayed: 2 }, "they died nowhere");
        assert_eq!((bench.drain("target"), bench.drain("source")), ("a".into(), "bcdef".into()), "on disk: {on_disk}");
    }
}

#[test]
fn a_paused_queue_takes_messages_and_hands_out_none() {
    let bench = Bench::new(&[]);
    let pause = |paused| bench.node.apply(Change::PauseQueue { vhost: vhost(), name: "source".into(), paused });
    pause(true).unwrap();
    let mailbox: Arc<Mailbox> = Arc::default();
    let consumer = consume(&bench.cell("source"), &mailbox);
    bench.publish("ab");
    assert_eq!(bench.cell("source").counts().ready, 2);
    assert_eq!(bench.cell("source").take(true, &mailbox).unwrap().0, Taken::Nothing);
    assert_eq!(bench.browse("source"), "ab");
    assert_eq!(pause(true).unwrap().applied, Applied::Unchanged);
    pause(false).unwrap();
    let mut inbox = Inbox::default();
    mailbox.take(&mut inbox);
    assert_eq!(inbox.deliveries.len(), 1, "as its prefetch says");
    pause(true).unwrap();
    bench.cell("source").settle(Some(consumer), 1, std::slice::from_ref(&(0..1)));
    assert_eq!(bench.cell("source").counts().ready, 1, "what was handed out is settled, and no more is handed out");
    let missing = Change::PauseQueue { vhost: vhost(), name: "missing".into(), paused: true };
    assert!(matches!(bench.node.apply(missing), Err(Error::NotFound { .. })));
}

#[test]
fn a_queue_stays_paused_over_a_restart() {
    let mut topology = Topology::new();
    let bench = Bench::new(&[]);
    bench.node.apply(Change::PauseQueue { vhost: vhost(), name: "source".into(), paused: true }).unwrap();
    for record in bench.node.durable_records().0 {
        topology.restore(record).unwrap();
    }
    let again = Node::restored(topology, Surroundings::default(), |_| None);
    again.queue("/", "source", ONE).unwrap().enqueue(&mut vec![persistent("source")], Fanout::One, &bench.publisher);
    assert_eq!(again.queue("/", "source", ONE).unwrap().take(true, &bench.publisher).unwrap().0, Taken::Nothing);
    again.apply(Change::PauseQueue { vhost: vhost(), name: "source".into(), paused: false }).unwrap();
    assert_ne!(again.queue("/", "source", ONE).unwrap().take(true, &bench.publisher).unwrap().0, Taken::Nothing);
}
