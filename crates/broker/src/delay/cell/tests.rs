//! What an exchange holds back, with a clock and a disk that do what the test says.

mod random;

use parking_lot::Mutex as Shared;

use super::*;
use crate::clock::ManualClock;
use crate::fake_store::FakeStore;
use crate::message::Draft;

const ID: QueueId = QueueId(9);

/// When messages are due, with their bodies.
type Lines = Vec<(u64, String)>;

pub(super) fn cell(clock: &Arc<ManualClock>, store: Option<&Arc<FakeStore>>, restored: Option<Restored>) -> DelayCell {
    let info = DelayInfo { id: ID, vhost: "/".into(), exchange: "x".into(), durable: true };
    let store = store.map(FakeStore::shared);
    DelayCell::new(info, Arc::clone(clock) as Arc<dyn Clock>, store, restored)
}

pub(super) fn message(body: &str, due: u64) -> Message {
    let mut draft = Draft::new(Vec::new(), "x", "key");
    draft.properties(b"");
    draft.set_persistent();
    draft.body(body.as_bytes());
    draft.set_due(Timestamp(due));
    draft.message()
}

fn hold(cell: &DelayCell, messages: &[(&str, u64)]) -> Enqueued {
    cell.hold(&mut messages.iter().map(|(body, due)| message(body, *due)).collect())
}

/// Bodies of what is due, in order; all of it is settled with a position of the log.
pub(super) fn fire(cell: &DelayCell, copied: Option<StorePosition>) -> Vec<String> {
    let mut bodies = Vec::new();
    if cell.start_firing() {
        loop {
            let due = cell.take_due(2);
            if due.is_empty() {
                break;
            }
            bodies.extend(due.iter().map(|(_, message)| String::from_utf8_lossy(message.body()).into_owned()));
            cell.moved(copied, due.iter().map(|(Position(position), _)| *position..*position + 1).collect());
        }
        cell.stop_firing();
    }
    bodies
}

/// Moves the clock, and wakes the cell if it asked for that.
fn advance(clock: &ManualClock, cell: &DelayCell, ms: u64) {
    for id in clock.advance(ms) {
        assert_eq!(id, ID);
        cell.wake();
    }
}

/// Answers everything that is asked of the disk.
fn answer(cell: &DelayCell, store: &FakeStore) {
    while let Some(loaded) = store.answer(ID, 3) {
        cell.loaded(loaded);
    }
}

#[test]
fn messages_come_out_when_they_are_due_and_in_that_order() {
    for with_store in [false, true] {
        let clock = Arc::new(ManualClock::at(Timestamp(1000)));
        let store = FakeStore::new();
        let cell = cell(&clock, with_store.then_some(&store), None);
        assert_eq!(hold(&cell, &[("c", 1300), ("a", 1100), ("d", 9000), ("b", 1100)]).pace, Pace::Go);
        assert_eq!((cell.count(), fire(&cell, None)), (4, vec![]));
        store.write_all();
        advance(&clock, &cell, 99);
        assert_eq!(fire(&cell, None), [""; 0]);
        advance(&clock, &cell, 1);
        assert_eq!(fire(&cell, None), ["a", "b"], "those of the same moment in the order in which they came");
        hold(&cell, &[("late", 1050)]);
        assert_eq!(fire(&cell, None), ["late"]);
        advance(&clock, &cell, 5000);
        assert_eq!((fire(&cell, None), cell.count()), (vec!["c".to_owned()], 1));
        advance(&clock, &cell, 3000);
        answer(&cell, &store);
        assert_eq!((fire(&cell, None), cell.count()), (vec!["d".to_owned()], 0));
        assert_eq!(store.kept(Area::Log, ID), [0; 0]);
        store.write_all();
        advance(&clock, &cell, 50);
        assert_eq!(store.memory(), 0);
    }
}

#[test]
fn the_clock_is_asked_for_the_first_moment_only_once() {
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let cell = cell(&clock, None, None);
    for (due, expected) in [(500, 500), (700, 500), (300, 300), (300, 300)] {
        hold(&cell, &[("m", due)]);
        assert_eq!(clock.next_due(), Some(Timestamp(expected)));
    }
    assert_eq!(clock.advance(1000).len(), 1);
}

#[test]
fn who_asks_between_the_clocks_call_and_its_effect_is_not_forgotten() {
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let cell = cell(&clock, None, None);
    hold(&cell, &[("a", 100)]);
    // The clock is about to call. Meanwhile something comes that was due before that.
    assert_eq!(clock.advance(100), [ID]);
    hold(&cell, &[("b", 50), ("c", 500)]);
    cell.wake();
    assert_eq!(fire(&cell, None), ["b", "a"]);
    // So it calls once more, for nothing, and has to be asked for the rest.
    assert_eq!(clock.advance(0), [ID]);
    cell.wake();
    assert_eq!(clock.next_due(), Some(Timestamp(500)));
}

#[test]
fn what_is_due_later_is_on_disk_only_and_read_back_before_its_time() {
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let store = FakeStore::new();
    let cell = cell(&clock, Some(&store), None);
    let held = hold(&cell, &[("late", 60_000), ("soon", 1000), ("later", 60_010)]);
    assert_eq!((held.pace, held.stored), (Pace::Go, Some(StorePosition(1))));
    assert!(store.memory() > 0);
    store.write_all();
    advance(&clock, &cell, 50);
    let one = message("soon", 1000).size().cast_signed();
    assert_eq!(store.memory(), one, "what is on disk left memory, but for what is due soon");
    advance(&clock, &cell, 1000);
    assert_eq!(fire(&cell, None), ["soon"]);
    assert_eq!(store.memory(), 0);
    store.told();
    advance(&clock, &cell, 57_000);
    advance(&clock, &cell, 1_700);
    assert_eq!(store.told(), ["load [0, 2]"], "all of it at once, a little before its time");
    answer(&cell, &store);
    assert!(store.memory() > 0);
    advance(&clock, &cell, 1000);
    assert_eq!(fire(&cell, None), ["late", "later"]);
    assert_eq!(store.told(), ["Log - [0..1, 2..3]"]);
}

#[test]
fn what_is_not_read_yet_holds_up_what_is_behind_it() {
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let store = FakeStore::new();
    let cell = cell(&clock, Some(&store), None);
    hold(&cell, &[("first", 10_000)]);
    store.write_all();
    advance(&clock, &cell, 50);
    advance(&clock, &cell, 9_900);
    assert!(store.is_loading(ID));
    hold(&cell, &[("second", 10_001)]);
    advance(&clock, &cell, 500);
    assert_eq!(fire(&cell, None), [""; 0]);
    answer(&cell, &store);
    assert_eq!(fire(&cell, None), ["first", "second"]);
}

#[test]
fn what_was_taken_out_is_settled_once_its_copies_are_on_disk() {
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let store = FakeStore::new();
    let cell = cell(&clock, Some(&store), None);
    hold(&cell, &[("a", 10), ("b", 20)]);
    store.write_all();
    advance(&clock, &cell, 15);
    // The copies are what the store is given next.
    assert_eq!(fire(&cell, Some(StorePosition(2))), ["a"]);
    store.append(Area::Log, QueueId(1), false, &mut [(0, &message("a", 0))].into_iter());
    assert!(cell.settle_moved());
    assert_eq!(store.kept(Area::Log, ID), [0, 1]);
    store.write_all();
    advance(&clock, &cell, 60);
    assert_eq!(store.kept(Area::Log, ID), [1], "it looks again by itself");
    assert_eq!(fire(&cell, None), ["b"], "without copies that have to survive nothing waits");
    assert!(!cell.settle_moved());
    assert_eq!(store.kept(Area::Log, ID), [0; 0]);
}

#[test]
fn a_start_goes_on_with_what_was_on_disk() {
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let store = FakeStore::new();
    let before = cell(&clock, Some(&store), None);
    let dues = [500, 100, 90_000, 300, 200, 80_000, 70_000, 400];
    for due in dues {
        hold(&before, &[(&format!("{due}"), due)]);
    }
    store.write_all();
    advance(&clock, &before, 150);
    assert_eq!(fire(&before, None), ["100"]);
    store.write_all();
    let (store, restored) = store.after_crash(ID, store.handed(Area::Log));
    drop(before);
    let clock = Arc::new(ManualClock::at(Timestamp(350)));
    let cell = cell(&clock, Some(&store), Some(restored));
    assert_eq!(store.told(), [""; 0], "nothing is asked for before somebody can answer");
    cell.start();
    answer(&cell, &store);
    assert_eq!((cell.count(), fire(&cell, None)), (7, vec!["200".to_owned(), "300".to_owned()]));
    hold(&cell, &[("new", 450)]);
    store.write_all();
    advance(&clock, &cell, 200);
    assert_eq!(fire(&cell, None), ["400", "new", "500"]);
    for (ms, expected) in [(69_400, vec!["70000"]), (10_000, vec!["80000"]), (10_000, vec!["90000"])] {
        advance(&clock, &cell, ms);
        advance(&clock, &cell, 60);
        answer(&cell, &store);
        assert_eq!(fire(&cell, None), expected);
    }
    assert_eq!((cell.count(), store.kept(Area::Log, ID)), (0, vec![]));
}

#[test]
fn a_message_can_be_cancelled_wherever_it_is() {
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let store = FakeStore::new();
    let cell = cell(&clock, Some(&store), None);
    let place = |due, position| Place { due: Timestamp(due), position: Position(position) };
    hold(&cell, &[("near", 10), ("far", 10_000), ("stays", 10), ("missing", 10_000)]);
    store.write_all();
    assert_eq!(cell.cancel(place(10, 0)), (true, Some(StorePosition(2))));
    assert_eq!(cell.cancel(place(10_000, 1)), (true, Some(StorePosition(3))));
    for unknown in [place(10, 0), place(10, 1), place(10_000, 2), place(11, 2), place(10, 7)] {
        assert_eq!(cell.cancel(unknown), (false, None));
    }
    advance(&clock, &cell, 50);
    assert_eq!(fire(&cell, None), ["stays"]);
    advance(&clock, &cell, 9_800);
    assert!(store.is_loading(ID));
    assert!(cell.cancel(place(10_000, 3)).0);
    answer(&cell, &store);
    advance(&clock, &cell, 1000);
    assert_eq!((fire(&cell, None), cell.count()), (vec![], 0));
    assert_eq!(store.memory(), 0);
}

#[test]
fn what_is_held_back_can_be_listed_with_what_is_on_disk() {
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let store = FakeStore::new();
    let cell = cell(&clock, Some(&store), None);
    hold(&cell, &[("b", 10_000), ("a", 100), ("c", 10_000), ("e", 30_000), ("d", 20_000)]);
    store.write_all();
    advance(&clock, &cell, 50);
    let list = |from: Place, most| {
        let listed: Arc<Shared<Option<Lines>>> = Arc::default();
        let to = Arc::clone(&listed);
        cell.list(from, most, move |all| {
            let body = |message: &Option<Message>| {
                message
                    .as_ref()
                    .map_or_else(String::new, |message| String::from_utf8_lossy(message.body()).into_owned())
            };
            *to.lock() = Some(all.iter().map(|listed| (listed.place.due.0, body(&listed.message))).collect());
        });
        let at_once = listed.lock().is_some();
        answer(&cell, &store);
        let listed = listed.lock().take().unwrap();
        (at_once, listed.iter().map(|(due, body)| format!("{due} {body}")).collect::<Vec<_>>().join(", "))
    };
    let start = Place { due: Timestamp(0), position: Position(0) };
    assert_eq!(list(start, 1), (true, "100 a".into()));
    assert_eq!(list(start, 10), (false, "100 a, 10000 b, 10000 c, 20000 d, 30000 e".into()));
    let behind = Place { due: Timestamp(10_000), position: Position(1) };
    assert_eq!(list(behind, 2), (false, "10000 c, 20000 d".into()));
    assert_eq!(list(Place { due: Timestamp(40_000), ..start }, 2), (true, String::new()));
    store.damage(ID, 0);
    assert_eq!(list(start, 2), (false, "100 a, 10000 ".into()), "what cannot be read is listed without its message");
}

#[test]
fn what_the_disk_lost_holds_nothing_up() {
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let store = FakeStore::new();
    let cell = cell(&clock, Some(&store), None);
    hold(&cell, &[("a", 10_000), ("b", 10_000), ("c", 10_000)]);
    store.write_all();
    advance(&clock, &cell, 50);
    store.damage(ID, 1);
    advance(&clock, &cell, 9_900);
    answer(&cell, &store);
    advance(&clock, &cell, 50);
    assert_eq!((fire(&cell, None), cell.count()), (vec!["a".to_owned(), "c".to_owned()], 0));
}

#[test]
fn what_goes_with_its_exchange_never_comes_out() {
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let store = FakeStore::new();
    let cell = cell(&clock, Some(&store), None);
    hold(&cell, &[("a", 10), ("b", 10_000)]);
    store.write_all();
    cell.close();
    advance(&clock, &cell, 20_000);
    assert_eq!((fire(&cell, None), cell.count(), store.memory()), (vec![], 0, 0));
    assert_eq!(store.kept(Area::Log, ID), [0; 0]);
    assert_eq!(hold(&cell, &[("late", 30_000)]), Enqueued { pace: Pace::Go, stored: None, refused: Vec::new() });
    assert_eq!(cell.count(), 0);
}

#[test]
fn publishers_wait_for_a_disk_that_has_enough_to_write() {
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let store = FakeStore::new();
    let cell = cell(&clock, Some(&store), None);
    store.set_pace(StorePace::Pause);
    assert_eq!(hold(&cell, &[("a", 10)]).pace, Pace::AwaitDisk(Area::Log, StorePosition(1)));
}

#[test]
fn while_somebody_rests_nothing_is_taken_out() {
    let clock = Arc::new(ManualClock::at(Timestamp(0)));
    let store = FakeStore::new();
    let cell = cell(&clock, Some(&store), None);
    hold(&cell, &[("a", 10), ("b", 10)]);
    store.write_all();
    advance(&clock, &cell, 20);
    assert!(cell.start_firing());
    assert!(!cell.start_firing(), "one at a time");
    assert_eq!(cell.take_due(1).len(), 1);
    // Where they go, there is enough to write.
    let position = hold(&cell, &[("c", 10_000)]).stored.unwrap();
    cell.rest_for(Area::Log, position);
    cell.stop_firing();
    for _ in 0..10 {
        assert!(!cell.start_firing());
        advance(&clock, &cell, clock.next_due().unwrap().ms_since(clock.now()));
    }
    assert!(clock.now() >= Timestamp(50), "the disk is asked now and then only: {:?}", clock.now());
    store.write_all();
    advance(&clock, &cell, clock.next_due().unwrap().ms_since(clock.now()));
    assert_eq!(fire(&cell, None), ["b"]);
}
