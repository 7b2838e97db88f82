//! Rules of a queue with a store: what the store is told, and when messages leave memory and come back.
//!
//! Messages are letters: `p` and `P` are persistent, `t` and `T` are not, capitals are large. Their bodies say where they stand.

#![expect(clippy::single_range_in_vec_init, reason = "a list of ranges often has one")]

use super::*;
use crate::fake_store::FakeStore;
use crate::mailbox::{Event, Inbox, Mailbox};
use crate::message::Draft;
use crate::queue::{
    CloseCondition, ConsumerId, Delivery, Enqueued, Loaded, Pace, Position, QueueCell, QueueInfo, Restored,
    ReturnCause, Returned, Subscriber, Subscription, Taken,
};

const ID: QueueId = QueueId(7);
/// Octets of a large body.
const LARGE: usize = 16 * 1024;
/// Large messages that fill the front of a backlog, which stays in memory.
const FRONT: usize = FRONT_KEPT.div_ceil(LARGE);
const FRONT_WITH_ROOM: usize = FRONT_KEPT_WITH_ROOM.div_ceil(LARGE);

fn message(position: u64, letter: char) -> Message {
    let mut draft = Draft::new(Vec::new(), "", "q");
    if letter.eq_ignore_ascii_case(&'p') {
        draft.set_persistent();
    }
    draft.body(&position.to_le_bytes());
    if letter.is_ascii_uppercase() {
        draft.body(&[0; LARGE]);
    }
    draft.message()
}

fn position_of(message: &Message) -> u64 {
    u64::from_le_bytes(*message.body().first_chunk().unwrap())
}

struct Bench {
    store: Arc<FakeStore>,
    cell: QueueCell,
    mailbox: Arc<Mailbox>,
    next: u64,
}

impl Bench {
    fn new(durable: bool) -> Self {
        Self::with(FakeStore::new(), durable, None)
    }

    fn with(store: Arc<FakeStore>, durable: bool, restored: Option<Restored>) -> Self {
        let info = QueueInfo { id: ID, vhost: "/".into(), name: "q".into(), auto_delete: false, durable };
        let cell = QueueCell::stored(info, &store.shared(), restored);
        let next = restored.map_or(0, |restored| restored.next);
        Self { store, cell, mailbox: Arc::default(), next }
    }

    /// A queue with a backlog of large messages that are on disk, most of them only there.
    fn paged_out(durable: bool, letters: &str, count: usize) -> Self {
        let mut bench = Self::new(durable);
        bench.store.set_pressure(MemoryPressure::All);
        bench.enqueue(&letters.repeat(count / letters.len()));
        bench.store.write_all();
        bench.enqueue(if letters == "P" { "p" } else { "t" });
        bench.store.told();
        bench
    }

    fn enqueue_with(&mut self, letters: &str, fanout: Fanout) -> Enqueued {
        let mut batch: Vec<_> = (self.next..).zip(letters.chars()).map(|(at, letter)| message(at, letter)).collect();
        self.next += batch.len() as u64;
        let enqueued = self.cell.enqueue(&mut batch, fanout, &self.mailbox);
        assert!(batch.is_empty());
        enqueued
    }

    fn enqueue(&mut self, letters: &str) -> Enqueued {
        self.enqueue_with(letters, Fanout::One)
    }

    fn consumer(&self, no_ack: bool, prefetch: u16) -> Reader<'_> {
        let mailbox: Arc<Mailbox> = Arc::default();
        let sink = Arc::clone(&mailbox);
        let (exclusive, priority, shared) = (false, 0, None);
        let tag = "".into();
        let subscription = Subscription {
            sink,
            key: 0,
            tag,
            no_ack,
            exclusive,
            priority,
            prefetch,
            shared,
            subscriber: Subscriber::default(),
        };
        Reader { bench: self, id: self.cell.subscribe(subscription).unwrap(), mailbox }
    }

    /// Answers with so many messages.
    fn answer(&self, count: usize) {
        self.cell.loaded(ID, self.store.answer(ID, count).expect("something is asked for"));
    }

    /// Messages in memory, and on disk only.
    fn parts(&self) -> (usize, usize) {
        let in_memory = self.cell.listed().len();
        (in_memory, self.cell.counts().ready - in_memory)
    }

    /// What the store was told, without the marks of deliveries and what was asked for.
    fn told_of_messages(&self) -> Vec<String> {
        let told = self.store.told().into_iter();
        told.filter(|line| !line.starts_with("delivered") && !line.starts_with("load")).collect()
    }

    /// The octets that the store counts, which have to be those in memory.
    fn memory(&self) -> usize {
        let listed: usize = self.cell.listed().iter().map(|(_, message, _)| message.size()).sum();
        assert_eq!(self.store.memory(), listed.cast_signed());
        listed
    }

    fn take(&self, no_ack: bool) -> Taken {
        self.cell.take(no_ack, &self.mailbox).unwrap().0
    }

    fn take_message(&self, no_ack: bool) -> (Position, Message) {
        let Taken::Message(position, message, _) = self.take(no_ack) else { panic!("nothing is there") };
        assert_eq!(position_of(&message), position.0);
        (position, message)
    }

    /// Whether the mailbox was told to look again, and of nothing else.
    fn is_told(&self) -> bool {
        match take(&self.mailbox).events.as_slice() {
            [] => false,
            [Event::JournalMoved] => true,
            other => panic!("{other:?}"),
        }
    }
}

/// A consumer and its mailbox.
struct Reader<'a> {
    bench: &'a Bench,
    id: ConsumerId,
    mailbox: Arc<Mailbox>,
}

impl Reader<'_> {
    /// Positions of what came, and whether it was handed out before.
    fn read(&self) -> Vec<(u64, bool)> {
        self.deliveries().iter().map(|delivery| (delivery.position.0, delivery.redelivered)).collect()
    }

    fn deliveries(&self) -> Vec<Delivery> {
        let inbox = take(&self.mailbox);
        assert!(inbox.deliveries.iter().all(|delivery| position_of(&delivery.message) == delivery.position.0));
        inbox.awaiting_room.iter().for_each(|_| self.bench.cell.resume(self.id));
        inbox.deliveries
    }

    /// Reads, loads and settles until nothing comes; says at which positions something was.
    fn drain(&self, per_answer: usize, no_ack: bool) -> Vec<u64> {
        let mut seen = Vec::new();
        loop {
            let positions: Vec<u64> = self.read().into_iter().map(|(position, _)| position).collect();
            for position in &positions {
                let range = [*position..position + 1];
                if no_ack {
                    self.bench.cell.discard(&range);
                } else {
                    self.bench.cell.settle(Some(self.id), 1, &range);
                }
            }
            let is_idle = positions.is_empty();
            seen.extend(positions);
            match self.bench.store.answer(ID, per_answer) {
                Some(loaded) => self.bench.cell.loaded(ID, loaded),
                None if is_idle => return seen,
                None => {}
            }
            self.bench.memory();
        }
    }
}

fn take(mailbox: &Mailbox) -> Inbox {
    let mut inbox = Inbox::default();
    mailbox.take(&mut inbox);
    inbox
}

fn range(positions: Range<u64>) -> Vec<u64> {
    positions.collect()
}

fn fresh(positions: Range<u64>) -> Vec<(u64, bool)> {
    positions.map(|position| (position, false)).collect()
}

#[test]
fn the_log_gets_what_has_to_survive() {
    for (durable, batches, fanout, told) in [
        (true, vec!["ppp"], Fanout::One, vec!["Log + [0, 1, 2]"]),
        (true, vec!["ptp"], Fanout::Many, vec!["Log + [0, 2] shared"]),
        (true, vec!["tt", "tp", "t", "p"], Fanout::One, vec!["Log + [3]", "Log + [5]"]),
        (true, vec!["tt"], Fanout::Many, vec![]),
        (true, vec![""], Fanout::One, vec![]),
        (false, vec!["pp"], Fanout::Many, vec![]),
    ] {
        for consumers in 0..2 {
            let mut bench = Bench::new(durable);
            let readers: Vec<_> = (0..consumers).map(|_| subscribe(&bench)).collect();
            let mut last = 0;
            for letters in &batches {
                let stored = bench.enqueue_with(letters, fanout).stored;
                assert_eq!(stored.is_some(), durable && letters.contains('p'), "{durable} {letters}");
                // Each waits for what it handed over itself.
                assert!(stored.is_none_or(|stored| stored.0 > last));
                last = stored.map_or(last, |stored| stored.0);
            }
            // Even if a consumer had it at once.
            assert_eq!(bench.told_of_messages(), told, "{durable} {batches:?}");
            assert_eq!(bench.cell.counts().unsettled, readers.len() * batches.concat().len());
            assert_eq!(bench.cell.is_stored(), !told.is_empty());
        }
    }
}

/// A consumer that reads nothing and goes with its mailbox.
fn subscribe(bench: &Bench) -> Arc<Mailbox> {
    bench.consumer(false, 0).mailbox
}

#[test]
fn a_store_that_has_enough_to_write_holds_publishers_up() {
    let mut bench = Bench::new(true);
    for (letters, pace, expected) in [
        ("p", StorePace::Go, Pace::Go),
        ("p", StorePace::Pause, Pace::AwaitDisk(Area::Log, StorePosition(2))),
        ("t", StorePace::Pause, Pace::Go),
        ("tp", StorePace::Pause, Pace::AwaitDisk(Area::Log, StorePosition(3))),
    ] {
        bench.store.set_pace(pace);
        assert_eq!(bench.enqueue(letters).pace, expected, "{letters}");
    }
}

#[test]
fn settlements_go_where_something_may_be() {
    for (durable, letters, pressure, told) in [
        (true, "p", MemoryPressure::None, vec!["Log - [0..1]"]),
        (true, "tp", MemoryPressure::None, vec!["Log - [0..1]"]),
        (true, "t", MemoryPressure::None, vec![]),
        (false, "p", MemoryPressure::None, vec![]),
        (true, "P", MemoryPressure::All, vec!["Log - [0..1]"]),
        (true, "PT", MemoryPressure::All, vec!["PageOut - [0..1]", "Log - [0..1]"]),
        (true, "T", MemoryPressure::All, vec!["PageOut - [0..1]"]),
        (false, "P", MemoryPressure::All, vec!["PageOut - [0..1]"]),
        (false, "T", MemoryPressure::Written, vec![]),
    ] {
        let in_log = told.last().is_some_and(|line| line.starts_with("Log"));
        let settle: fn(&Bench) -> Option<StorePosition> = |bench| bench.cell.settle(None, 1, &[0..1]);
        let discard: fn(&Bench) -> Option<StorePosition> = |bench| {
            bench.cell.discard(&[0..1]);
            None
        };
        for (no_ack, act) in [(false, settle), (true, discard)] {
            let mut bench = Bench::new(durable);
            bench.store.set_pressure(pressure);
            let count = if letters.len() == 1 { 32 } else { 16 };
            bench.enqueue(&letters.repeat(count));
            assert_eq!(bench.cell.is_stored(), !told.is_empty(), "{durable} {letters}");
            bench.take_message(no_ack);
            bench.told_of_messages();
            let position = act(&bench);
            assert_eq!(bench.told_of_messages(), told, "{durable} {letters}");
            assert_eq!(position.is_some(), in_log && !no_ack);
            assert_eq!(bench.cell.settle(None, 0, &[]), None, "nothing is nothing to tell");
            assert_eq!(bench.store.told(), [""; 0]);
        }
    }
}

#[test]
fn a_purge_tells_what_is_gone() {
    for (durable, letters, told) in [
        (true, "p", vec!["Log - [1..2, 3..64]"]),
        (true, "t", vec![]),
        (false, "p", vec![]),
        (true, "PT", vec!["PageOut - [1..2, 3..64]", "Log - [1..2, 3..64]"]),
        (false, "PT", vec!["PageOut - [1..2, 3..64]"]),
    ] {
        let mut bench = Bench::new(durable);
        bench.enqueue(&letters.repeat(32 / letters.len()));
        let mut held: Vec<_> = (0..3).map(|_| bench.take_message(false)).collect();
        bench.cell.requeue(None, &mut vec![held.remove(1)]);
        bench.store.set_pressure(MemoryPressure::All);
        bench.enqueue(&letters.repeat(16 / letters.len()));
        bench.store.write_all();
        bench.enqueue(&letters.repeat(16 / letters.len()));
        bench.told_of_messages();
        let (count, position) = bench.cell.purge().unwrap();
        assert_eq!((count, position.is_some()), (62, told.last().is_some_and(|line| line.starts_with("Log"))));
        assert_eq!(bench.told_of_messages(), told, "{durable} {letters}");
        assert_eq!((bench.memory(), bench.cell.purge().unwrap()), (0, (0, None)));
        // What is out comes back, and can still be settled.
        bench.cell.put_back(&mut vec![Returned {
            consumer: None,
            settled: false,
            cause: ReturnCause::Requeued,
            messages: held,
        }]);
        assert_eq!(bench.cell.counts().ready, 2);
        bench.take_message(false);
        bench.cell.settle(None, 1, &[0..1]);
        bench.take_message(false);
        bench.cell.settle(None, 1, &[2..3]);
        for area in [Area::Log, Area::PageOut] {
            assert_eq!(bench.store.kept(area, ID), [0; 0], "{durable} {letters}");
        }
    }
}

#[test]
fn a_queue_that_ends_is_deleted_wherever_something_may_be() {
    let restored = Restored { first: 0, next: 1, messages: 1, delivered_before: 0 };
    for (durable, letters, restored, is_told) in [
        (true, "p", None, true),
        (true, "t", None, false),
        (false, "p", None, false),
        (true, "T", None, true),
        (false, "T", None, true),
        (true, "", Some(restored), true),
    ] {
        let mut bench = Bench::with(FakeStore::new(), durable, restored);
        bench.store.set_pressure(MemoryPressure::All);
        bench.enqueue(&letters.repeat(32));
        bench.store.told();
        bench.cell.close(CloseCondition::default()).unwrap();
        let expected = if is_told { vec!["delete"] } else { vec![] };
        assert_eq!((bench.store.told(), bench.store.memory()), (expected.iter().map(ToString::to_string).collect(), 0));
        // Nothing is said of it from now on.
        bench.cell.settle(None, 1, &[0..1]);
        bench.cell.discard(&[0..1]);
        bench.cell.requeue(None, &mut vec![(Position(0), message(0, 'p'))]);
        bench.cell.loaded(ID, Loaded { from: 0, up_to: 1, messages: vec![(Position(0), message(0, 'p'))], lost: 0 });
        assert_eq!(bench.enqueue("p").stored, None);
        assert_eq!((bench.store.told(), bench.store.memory()), (vec![], 0));
    }
}

#[test]
fn deliveries_are_told_once_and_only_for_the_log() {
    let marks = |bench: &Bench| -> Vec<String> {
        bench.store.told().into_iter().filter(|line| line.starts_with("delivered")).collect()
    };
    let mut bench = Bench::new(true);
    bench.enqueue("tppp");
    assert_eq!(marks(&bench), [""; 0]);
    for (position, mark) in [(0, "delivered 1"), (1, "delivered 2")] {
        assert_eq!(bench.take_message(false).0, Position(position));
        assert_eq!(marks(&bench), [mark]);
    }
    bench.cell.requeue(None, &mut vec![(Position(1), message(1, 'p'))]);
    bench.take_message(false);
    assert_eq!(marks(&bench), [""; 0], "it was handed out before");
    let reader = bench.consumer(false, 0);
    assert_eq!((reader.read(), marks(&bench)), (fresh(2..4), vec!["delivered 4".into()]));
    drop(reader);
    bench.enqueue("ppp");
    assert_eq!(marks(&bench), ["delivered 7"]);
    for (durable, letter) in [(true, "t"), (false, "p")] {
        let mut bench = Bench::new(durable);
        bench.enqueue(letter);
        bench.take_message(false);
        assert_eq!(marks(&bench), [""; 0], "{durable} {letter}");
    }
}

#[test]
fn the_store_counts_the_octets_in_memory() {
    let (small, large) = (message(0, 'p').size(), message(0, 'P').size());
    let mut bench = Bench::new(true);
    let mut other = Bench::with(Arc::clone(&bench.store), false, None);
    bench.enqueue("ptP");
    assert_eq!(bench.memory(), 2 * small + large);
    let (position, message) = bench.take_message(false);
    assert_eq!(bench.memory(), small + large, "what is out is somebody else's");
    bench.cell.requeue(None, &mut vec![(position, message)]);
    assert_eq!(bench.memory(), 2 * small + large);
    let reader = bench.consumer(false, 2);
    assert_eq!(bench.memory(), large);
    bench.cell.unsubscribe(reader.id);
    drop(reader);
    bench.cell.purge().unwrap();
    assert_eq!(bench.memory(), 0);
    bench.enqueue("PP");
    other.enqueue("T");
    assert_eq!(bench.store.memory(), (3 * large).cast_signed());
    drop(bench.cell);
    assert_eq!(bench.store.memory(), large.cast_signed());
    other.cell.close(CloseCondition::default()).unwrap();
    assert_eq!(bench.store.memory(), 0);
    drop(other);
    assert_eq!(bench.store.memory(), 0);
}

#[test]
fn messages_leave_memory_as_pressure_and_disk_allow() {
    // The areas that are written before the next message comes.
    let (none, log, page_out, both) =
        (&[][..], &[Area::Log][..], &[Area::PageOut][..], &[Area::Log, Area::PageOut][..]);
    for (durable, letters, pressure, written, leaves) in [
        (true, "P", MemoryPressure::None, both, false),
        (true, "P", MemoryPressure::Written, none, false),
        (true, "P", MemoryPressure::Written, page_out, false),
        (true, "P", MemoryPressure::Written, log, true),
        (true, "P", MemoryPressure::All, none, false),
        (true, "P", MemoryPressure::All, log, true),
        (true, "T", MemoryPressure::None, both, false),
        (true, "T", MemoryPressure::Written, both, false),
        (true, "T", MemoryPressure::All, none, false),
        (true, "T", MemoryPressure::All, log, false),
        (true, "T", MemoryPressure::All, page_out, true),
        (true, "PT", MemoryPressure::Written, both, false),
        (true, "PT", MemoryPressure::All, none, false),
        (true, "PT", MemoryPressure::All, log, false),
        (true, "PT", MemoryPressure::All, page_out, false),
        (true, "PT", MemoryPressure::All, both, true),
        (false, "P", MemoryPressure::Written, both, false),
        (false, "P", MemoryPressure::All, log, false),
        (false, "P", MemoryPressure::All, page_out, true),
        (false, "PT", MemoryPressure::All, page_out, true),
    ] {
        let case = format!("{durable} {letters} {pressure:?} {written:?}");
        let mut bench = Bench::new(durable);
        bench.store.set_pressure(pressure);
        bench.enqueue(&letters.repeat(40 / letters.len()));
        assert_eq!(bench.parts(), (40, 0), "{case}: nothing is on disk yet");
        for area in written {
            bench.store.write(*area, u64::MAX);
        }
        bench.enqueue(if letters == "P" { "p" } else { "t" });
        let front = if pressure == MemoryPressure::All { FRONT } else { FRONT_WITH_ROOM };
        let cold = if leaves { 40 - front } else { 0 };
        assert_eq!(bench.parts(), (41 - cold, cold), "{case}");
        bench.memory();
        let spilled = bench.store.kept(Area::PageOut, ID);
        let all = letters.repeat(40 / letters.len()) + if letters == "P" { "p" } else { "t" };
        let goes = |letter: char| !(durable && letter.eq_ignore_ascii_case(&'p'));
        let expected = (0..).zip(all.chars()).filter(|(_, letter)| pressure == MemoryPressure::All && goes(*letter));
        let expected: Vec<u64> = expected.map(|(position, _)| position).collect();
        assert_eq!(spilled, expected, "{case}");
    }
}

#[test]
fn a_small_backlog_stays_in_memory() {
    for (pressure, kept) in [(MemoryPressure::Written, KEPT_WITH_ROOM), (MemoryPressure::All, KEPT)] {
        for (durable, letter) in [(true, "P"), (true, "T"), (false, "T")] {
            for (count, leaves) in [(kept / (LARGE + 100), false), (kept / LARGE + 1, true)] {
                let leaves = leaves && (letter == "P" || pressure == MemoryPressure::All);
                let mut bench = Bench::new(durable);
                bench.store.set_pressure(pressure);
                for _ in 0..count {
                    bench.enqueue(letter);
                    bench.store.write_all();
                }
                bench.enqueue(if letter == "P" { "p" } else { "t" });
                assert_eq!(bench.parts().1 > 0, leaves, "{pressure:?} {count} {letter}");
                assert_eq!(!bench.store.kept(Area::PageOut, ID).is_empty(), leaves && letter == "T");
            }
        }
    }
}

#[test]
fn a_transient_message_that_is_gone_keeps_nothing_in_memory() {
    let mut bench = Bench::new(true);
    bench.store.set_pressure(MemoryPressure::Written);
    bench.enqueue("t");
    bench.take_message(true);
    bench.enqueue(&"P".repeat(40));
    bench.store.write_all();
    bench.enqueue("p");
    assert_eq!(bench.parts(), (FRONT_WITH_ROOM + 1, 40 - FRONT_WITH_ROOM));
}

#[test]
fn a_page_out_area_that_has_enough_to_write_holds_publishers_up() {
    for (pressure, letters, pace) in [
        (MemoryPressure::All, "T", Pace::AwaitDisk(Area::PageOut, StorePosition(1))),
        (MemoryPressure::All, "P", Pace::AwaitDisk(Area::Log, StorePosition(1))),
        (MemoryPressure::Written, "T", Pace::Go),
    ] {
        let mut bench = Bench::new(true);
        bench.store.set_pressure(pressure);
        bench.store.set_pace(StorePace::Pause);
        assert_eq!(bench.enqueue(&letters.repeat(40)).pace, pace, "{pressure:?} {letters}");
    }
}

#[test]
fn a_growing_backlog_is_spilled_once_and_leaves_as_far_as_it_is_written() {
    for (durable, letters) in [(true, "PT"), (true, "T"), (false, "P"), (true, "P")] {
        let mut bench = Bench::new(durable);
        bench.store.set_pressure(MemoryPressure::All);
        for round in 0..60 {
            bench.enqueue(letters);
            // Each area is late, the one more than the other.
            if round % 3 == 0 {
                bench.store.write(Area::Log, 2);
                bench.store.write(Area::PageOut, 1);
            }
            bench.memory();
            let in_memory: Vec<u64> = bench.cell.listed().iter().map(|(position, ..)| *position).collect();
            let gone = (0..bench.next).filter(|position| in_memory.binary_search(position).is_err());
            assert!(gone.into_iter().all(|position| bench.store.is_on_disk(ID, position)), "{durable} {letters}");
        }
        bench.store.write_all();
        bench.enqueue(letters);
        let last = 2 * letters.len();
        assert!(bench.parts().0 <= FRONT + last, "{durable} {letters}: {:?}", bench.parts());
        let reader = bench.consumer(false, 0);
        bench.store.write_all();
        assert_eq!(reader.drain(usize::MAX, false), range(0..bench.next));
        assert_eq!(bench.memory(), 0);
        for area in [Area::Log, Area::PageOut] {
            assert_eq!(bench.store.kept(area, ID), [0; 0], "{durable} {letters}");
        }
    }
}

#[test]
fn what_is_on_disk_is_read_back_for_consumers_in_order() {
    for (durable, letters) in [(true, "P"), (true, "PT"), (true, "T"), (false, "T")] {
        for (per_answer, no_ack, prefetch) in [(1, false, 0), (7, true, 0), (100, false, 1), (1, false, 3)] {
            let mut bench = Bench::paged_out(durable, letters, 60);
            assert_eq!((bench.parts(), bench.store.is_loading(ID)), ((FRONT + 1, 60 - FRONT), false));
            bench.enqueue("pt");
            assert!(!bench.store.is_loading(ID), "nobody wants it");
            bench.store.write_all();
            let reader = bench.consumer(no_ack, prefetch);
            assert!(bench.store.told().contains(&format!("load {FRONT}..60")));
            assert_eq!(reader.drain(per_answer, no_ack), range(0..63), "{durable} {letters} {per_answer}");
            assert_eq!((bench.memory(), bench.cell.counts().unsettled), (0, 0));
        }
    }
}

#[test]
fn what_was_handed_out_for_good_leaves_nothing_on_disk() {
    for (durable, letters) in [(true, "P"), (true, "PT"), (true, "T"), (false, "P")] {
        let bench = Bench::paged_out(durable, letters, 40);
        let reader = bench.consumer(true, 0);
        bench.store.write_all();
        reader.drain(usize::MAX, true);
        for area in [Area::Log, Area::PageOut] {
            assert_eq!(bench.store.kept(area, ID), [0; 0], "{durable} {letters}");
        }
        bench.store.told();
        bench.cell.discard(&[0..1]);
        assert!(bench.store.told().iter().all(|line| line.starts_with("Log")), "nothing is paged out any more");
    }
}

#[test]
fn what_comes_back_after_the_queue_was_empty_can_be_settled() {
    let bench = Bench::paged_out(false, "T", 40);
    let reader = bench.consumer(true, 0);
    let mut held = Vec::new();
    while held.len() < 41 {
        held.extend(reader.deliveries().into_iter().map(|delivery| (delivery.position, delivery.message)));
        if let Some(loaded) = bench.store.answer(ID, usize::MAX) {
            bench.cell.loaded(ID, loaded);
        }
    }
    bench.cell.unsubscribe(reader.id);
    bench.cell.take_back(&mut held);
    assert_eq!(bench.parts(), (41, 0));
    assert_eq!(bench.consumer(false, 0).drain(usize::MAX, false), range(0..41));
    assert_eq!(bench.store.kept(Area::PageOut, ID), [0; 0]);
}

#[test]
fn little_is_read_ahead_of_a_consumer_that_takes_nothing() {
    for (pressure, expected) in
        [(MemoryPressure::None, 512 * 1024..1024 * 1024), (MemoryPressure::All, 16 * 1024..128 * 1024)]
    {
        let bench = Bench::paged_out(true, "P", 200);
        bench.store.set_pressure(pressure);
        let reader = bench.consumer(false, 1);
        let mut answers = 0;
        while let Some(loaded) = bench.store.answer(ID, 4) {
            bench.cell.loaded(ID, loaded);
            answers += 1;
        }
        let octets = bench.memory();
        assert!(expected.contains(&octets) && answers < 20, "{pressure:?}: {octets} octets, {answers} answers");
        assert_eq!(reader.drain(4, false), range(0..201));
    }
}

#[test]
fn basic_get_is_told_when_the_message_is_there() {
    let bench = Bench::paged_out(true, "P", 40);
    for position in 0..FRONT as u64 {
        assert_eq!(bench.take_message(false).0, Position(position));
    }
    assert!(!bench.store.is_loading(ID));
    let other: Arc<Mailbox> = Arc::default();
    for asked in 0..3 {
        let taken = bench.cell.take(false, &bench.mailbox).unwrap();
        assert_eq!((taken, bench.store.is_loading(ID)), ((Taken::OnDisk, 41 - FRONT), true), "asked {asked} times");
    }
    assert_eq!(bench.cell.take(false, &other).unwrap().0, Taken::OnDisk);
    assert!(!bench.is_told());
    bench.answer(1);
    assert!(bench.is_told() && take(&other).events.len() == 1);
    assert!(!bench.is_told(), "told once, however often it asked");
    assert_eq!(bench.take_message(false).0, Position(FRONT as u64));
    // The other one is too late, and waits for the next.
    assert_eq!(bench.cell.take(false, &other).unwrap().0, Taken::OnDisk);
    bench.answer(1);
    assert_eq!(take(&other).events.len(), 1);
    assert!(
        matches!(bench.cell.take(false, &other).unwrap().0, Taken::Message(Position(at), ..) if at == FRONT as u64 + 1)
    );
    assert!(!bench.is_told());
}

#[test]
fn whoever_waits_for_a_message_that_is_gone_is_told_as_well() {
    type Act = fn(&Bench);
    let acts: [(&str, Act, Result<Taken, ()>); 3] = [
        ("purge", |bench| assert_eq!(bench.cell.purge().unwrap().0, 41 - FRONT), Ok(Taken::Nothing)),
        ("close", |bench| assert_eq!(bench.cell.close(CloseCondition::default()), Ok(41 - FRONT)), Err(())),
        (
            "damage",
            |bench| assert!((FRONT as u64..40).all(|position| bench.store.damage(ID, position))),
            Ok(Taken::Message(Position(40), message(40, 'p'), false)),
        ),
    ];
    for (what, act, expected) in acts {
        let bench = Bench::paged_out(true, "P", 40);
        for _ in 0..FRONT {
            bench.take_message(false);
        }
        assert_eq!(bench.take(false), Taken::OnDisk);
        act(&bench);
        bench.answer(usize::MAX);
        assert!(bench.is_told(), "{what}");
        assert_eq!(bench.cell.take(false, &bench.mailbox).map(|(taken, _)| taken).map_err(|_| ()), expected, "{what}");
    }
}

#[test]
fn an_answer_that_comes_after_a_purge_is_not_taken() {
    let mut bench = Bench::paged_out(true, "P", 40);
    let reader = bench.consumer(false, 1);
    let late = bench.store.answer(ID, 5).unwrap();
    assert_eq!(late.messages.len(), 5);
    assert_eq!(reader.read(), fresh(0..1));
    bench.cell.purge().unwrap();
    let first = bench.next;
    let mailbox = reader.mailbox;
    let id = reader.id;
    bench.enqueue(&"P".repeat(40));
    bench.store.write_all();
    bench.enqueue("p");
    let before = bench.memory();
    assert_eq!(bench.parts(), (FRONT + 1, 40 - FRONT));
    bench.store.told();
    bench.store.set_pressure(MemoryPressure::None);
    bench.cell.loaded(ID, late);
    assert_eq!((bench.memory(), bench.parts()), (before, (FRONT + 1, 40 - FRONT)));
    // And what is there now is asked for.
    let from = first + FRONT as u64;
    assert_eq!(bench.store.told(), [format!("load {from}..{}", first + 40)]);
    bench.store.write_all();
    let reader = Reader { bench: &bench, id, mailbox };
    bench.cell.settle(Some(id), 1, &[0..1]);
    assert_eq!(reader.drain(usize::MAX, false), range(first..first + 41));
}

#[test]
fn damaged_messages_are_passed_over() {
    for (damaged, per_answer) in
        [(vec![8], 1), (vec![20, 21], 5), (range(FRONT as u64..40), 3), (vec![39], 40), (range(FRONT as u64..39), 40)]
    {
        let bench = Bench::paged_out(true, "P", 40);
        for position in &damaged {
            assert!(bench.store.damage(ID, *position));
        }
        let reader = bench.consumer(false, 0);
        let expected: Vec<u64> = (0..41).filter(|position| !damaged.contains(position)).collect();
        assert_eq!(reader.drain(per_answer, false), expected, "{damaged:?}");
        assert_eq!((bench.cell.counts().ready, bench.cell.counts().unsettled, bench.memory()), (0, 0, 0));
    }
}

#[test]
fn a_restored_queue_goes_on_where_it_was() {
    let mut bench = Bench::new(true);
    bench.enqueue("ptppptpp");
    for _ in 0..5 {
        bench.take_message(false);
    }
    bench.cell.settle(None, 2, &[0..1, 3..4]);
    let written = bench.store.write(Area::Log, u64::MAX);
    let (store, restored) = bench.store.after_crash(ID, written);
    assert_eq!(restored, Restored { first: 2, next: 8, messages: 4, delivered_before: 5 });
    let mut again = Bench::with(store, true, Some(restored));
    assert_eq!((again.cell.counts().ready, again.memory(), again.cell.is_stored()), (4, 0, true));
    assert_eq!(again.store.told(), [""; 0], "nothing is read before somebody asks");
    again.enqueue("pt");
    again.store.write_all();
    let reader = again.consumer(false, 0);
    again.answer(2);
    again.answer(usize::MAX);
    let expected = [(2, true), (4, true), (6, false), (7, false), (8, false), (9, false)];
    assert_eq!(reader.read(), expected);
    again.cell.settle(Some(reader.id), 6, &[2..3, 4..5, 6..10]);
    assert_eq!((again.store.kept(Area::Log, ID), again.memory()), (vec![], 0));
}

#[test]
fn a_restored_queue_can_be_purged_and_asked_for_one_message() {
    let mut bench = Bench::new(true);
    bench.enqueue("ppp");
    bench.take_message(false);
    let (store, restored) = bench.store.after_crash(ID, bench.store.write(Area::Log, u64::MAX));
    let again = Bench::with(store, true, Some(restored));
    assert_eq!(again.take(true), Taken::OnDisk);
    again.answer(1);
    assert!(again.is_told());
    assert_eq!(again.take(true), Taken::Message(Position(0), message(0, 'p'), true));
    again.cell.discard(&[0..1]);
    let (count, written) = again.cell.purge().unwrap();
    assert_eq!((count, written.is_some(), again.store.kept(Area::Log, ID)), (2, true, vec![]));
    assert_eq!(again.take(true), Taken::Nothing);
}

#[test]
fn positions_of_what_did_not_survive_do_not_come_again() {
    let mut bench = Bench::new(true);
    bench.enqueue("pttt");
    (0..4).for_each(|_| drop(bench.take_message(true)));
    let (store, restored) = bench.store.after_crash(ID, bench.store.write(Area::Log, u64::MAX));
    assert_eq!(restored, Restored { first: 0, next: 1, messages: 1, delivered_before: 4 });
    let mut again = Bench::with(store, true, Some(restored));
    again.next = 4;
    again.enqueue("p");
    let reader = again.consumer(false, 0);
    again.answer(usize::MAX);
    assert_eq!(reader.read(), [(0, true), (4, false)]);
}

#[test]
fn what_is_remembered_of_batches_has_a_bound() {
    for late in [0, 1, 10] {
        let mut bench = Bench::new(true);
        let _mailbox = subscribe(&bench);
        for round in 0..10_000_u64 {
            bench.enqueue("p");
            if round >= late {
                bench.store.write(Area::Log, 3);
            }
        }
        let pending = bench.cell.look(|stored| stored.log.pending.len());
        assert!(pending < Some(1_000), "{pending:?}");
    }
}
