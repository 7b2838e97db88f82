//! What waits leaves memory, comes back and is dropped, in order.

use super::*;
use crate::message::Draft;

impl Backlog {
    /// The messages in memory, in order; whether they were handed out before.
    pub(in crate::queue) fn listed(&self) -> Vec<(u64, &Message, bool)> {
        let returned = self.returned.iter().map(|(position, message)| (*position, message, true));
        let head =
            self.head.iter().map(|(position, message)| (*position, message, *position < self.redelivered_before));
        let ready = self.ready_from(self.front).map(|(position, message)| (position, message, false));
        returned.chain(head).chain(ready).collect()
    }
}

/// A message of so many octets, whose body says its position.
fn message(position: u64, octets: usize) -> Message {
    let mut draft = Draft::new(Vec::new(), "", "");
    let mut body = position.to_le_bytes().to_vec();
    body.resize(octets.max(8), 0);
    draft.body(&body);
    draft.message()
}

fn position_of(message: &Message) -> u64 {
    u64::from_le_bytes(*message.body().first_chunk().unwrap())
}

fn filled(count: u64, octets: usize) -> Backlog {
    let mut backlog = Backlog::default();
    for position in 0..count {
        backlog.push(message(position, octets));
    }
    backlog
}

/// Takes what is in memory, checking that each message stands at its position.
fn drain(backlog: &mut Backlog) -> Vec<(u64, bool)> {
    let mut taken = Vec::new();
    while backlog.has_next() {
        let (Position(position), message, redelivered) = backlog.pop().unwrap();
        assert_eq!(position_of(&message), position);
        taken.push((position, redelivered));
    }
    taken
}

fn load(backlog: &mut Backlog, positions: impl IntoIterator<Item = u64>, up_to: u64, lost: usize) {
    let Some(wanted) = backlog.wanted(512 * 1024) else { panic!("nothing is wanted") };
    let messages = positions.into_iter().map(|position| (Position(position), message(position, 8))).collect();
    backlog.loaded(Loaded { from: wanted.start, up_to, messages, lost });
}

#[test]
fn what_went_to_disk_comes_back_in_order() {
    let mut backlog = filled(1000, 1000);
    let before = backlog.bytes();
    let gone = backlog.page_out(900, 128 * 1024);
    assert!(gone > 700 && gone < 900, "the front stays: {gone}");
    assert_eq!((backlog.len(), backlog.page_out(900, 128 * 1024)), (1000, 0));
    assert!(backlog.bytes() < before / 3);
    let first = drain(&mut backlog);
    assert_eq!(first.len(), 900 - gone);
    assert!(!backlog.has_next() && backlog.pop().is_none(), "the next one is on disk");
    let from = first.len() as u64;
    assert_eq!((backlog.wanted(512 * 1024), backlog.delivered_before()), (Some(from..900), from));
    load(&mut backlog, from..800, 800, 0);
    assert_eq!(drain(&mut backlog).len() as u64, 800 - from);
    load(&mut backlog, 800..900, 900, 0);
    let rest: Vec<_> = (800..1000).map(|position| (position, false)).collect();
    assert_eq!(drain(&mut backlog), rest);
    assert_eq!(
        (backlog.len(), backlog.bytes(), backlog.wanted(512 * 1024), backlog.delivered_before()),
        (0, 0, None, 1000)
    );
}

#[test]
fn what_comes_back_goes_before_what_is_on_disk() {
    let mut backlog = filled(10, 8);
    for _ in 0..4 {
        backlog.pop();
    }
    backlog.page_out(8, 128 * 1024);
    backlog.put_back(Position(1), message(1, 8));
    assert_eq!(drain(&mut backlog).first(), Some(&(1, true)));
}

#[test]
fn a_restored_backlog_knows_what_had_been_handed_out() {
    let mut backlog = Backlog::restored(Restored { first: 3, next: 20, messages: 4, delivered_before: 7 });
    assert_eq!((backlog.len(), backlog.delivered_before(), backlog.next_position()), (4, 7, 20));
    backlog.push(message(20, 8));
    load(&mut backlog, [3, 6, 7, 19], 20, 0);
    assert_eq!(drain(&mut backlog), [(3, true), (6, true), (7, false), (19, false), (20, false)]);
}

#[test]
fn what_the_disk_lost_is_not_waited_for() {
    for (positions, up_to, lost, left) in [
        (vec![0, 2], 3, 1, 2),
        (vec![], 3, 3, 2),
        (vec![0, 1, 2, 3], 5, 1, 0),
        // Nothing is left where there should be one more.
        (vec![0, 1, 2, 3], 5, 0, 0),
    ] {
        let mut backlog = Backlog::restored(Restored { first: 0, next: 5, messages: 5, delivered_before: 0 });
        load(&mut backlog, positions.clone(), up_to, lost);
        assert_eq!(backlog.len() - positions.len(), left);
        let has_next = !positions.is_empty();
        assert_eq!(backlog.has_next(), has_next);
    }
}

#[test]
fn a_dropped_backlog_says_what_it_dropped_and_wants_nothing_of_it() {
    let mut backlog = filled(600, 1000);
    for _ in 0..3 {
        backlog.pop();
    }
    backlog.page_out(500, 128 * 1024);
    for position in [0, 2] {
        backlog.put_back(Position(position), message(position, 8));
    }
    let wanted = backlog.wanted(512 * 1024).unwrap();
    assert_eq!(backlog.clear(), [0..1, 2..3, 3..600]);
    backlog.loaded(Loaded {
        from: wanted.start,
        up_to: wanted.end,
        messages: vec![(Position(200), message(200, 8))],
        lost: 0,
    });
    assert_eq!((backlog.len(), backlog.bytes(), backlog.next_position(), backlog.delivered_before()), (0, 0, 600, 600));
    assert_eq!(backlog.clear(), [0..0; 0]);
}

#[test]
fn messages_in_memory_are_listed_from_any_position() {
    let mut backlog = filled(10, 8);
    backlog.pop();
    for (from, expected) in [(0, 1..10), (1, 1..10), (7, 7..10), (10, 10..10), (20, 10..10)] {
        let listed: Vec<u64> = backlog.ready_from(from).map(|(position, _)| position).collect();
        assert_eq!(listed, expected.collect::<Vec<_>>());
        assert!(backlog.ready_from(from).all(|(position, message)| position_of(message) == position));
    }
}

#[test]
fn bodies_are_counted_wherever_their_messages_are() {
    let mut backlog = filled(100, 1000);
    backlog.count_bodies(true);
    assert_eq!((backlog.body_bytes(), backlog.has_uncounted()), (100_000, false));
    backlog.page_out(90, 8 * 1024);
    assert_eq!((backlog.body_bytes(), backlog.has_uncounted()), (100_000, false), "they are known");
    let (position, first, _) = backlog.pop().unwrap();
    assert_eq!(backlog.body_bytes(), 99_000);
    backlog.put_back(position, first);
    backlog.count_bodies(false);
    assert_eq!(backlog.body_bytes(), 0);
    backlog.count_bodies(true);
    // Nine in front and ten behind are in memory.
    assert_eq!((backlog.body_bytes(), backlog.has_uncounted()), (19_000, true));
    load(&mut backlog, 9..90, 90, 0);
    assert_eq!((backlog.body_bytes(), backlog.has_uncounted()), (19_000 + 81 * 8, false), "they came back smaller");
    backlog.clear();
    assert_eq!(backlog.body_bytes(), 0);
    let mut restored = Backlog::restored(Restored { first: 0, next: 2, messages: 2, delivered_before: 0 });
    restored.count_bodies(true);
    assert_eq!((restored.body_bytes(), restored.has_uncounted()), (0, true));
    load(&mut restored, 0..2, 2, 0);
    assert_eq!((restored.body_bytes(), restored.has_uncounted()), (16, false));
}
