//! What waits leaves memory, comes back and is dropped, in order.

use super::*;
use crate::entropy::Entropy;
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
    append(&mut backlog, (0..count).map(|position| message(position, octets)).collect());
    backlog
}

/// Appends messages as a queue does.
fn append(backlog: &mut Backlog, messages: Vec<Message>) {
    let (first, weight) = (backlog.next_position(), Weight::of_all(&messages));
    for message in messages {
        backlog.push(message);
    }
    backlog.weigh_from(first, weight);
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
    append(&mut backlog, vec![message(20, 8)]);
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
    let octets = |backlog: &Backlog| (backlog.weight().octets, backlog.weight_on_disk().octets);
    assert_eq!(octets(&backlog), (100_000, 0));
    backlog.page_out(90, 8 * 1024);
    // Nine in front and ten behind are in memory.
    assert_eq!(octets(&backlog), (100_000, 81_000));
    let (position, first, _) = backlog.pop().unwrap();
    assert_eq!(octets(&backlog), (99_000, 81_000));
    backlog.put_back(position, first);
    backlog.take_cold(50, &message(50, 1000));
    assert_eq!(octets(&backlog), (99_000, 80_000));
    backlog.put_in_place(50, message(50, 1000), false);
    assert_eq!(octets(&backlog), (100_000, 81_000));
    backlog.loaded(Loaded {
        from: 9,
        up_to: 50,
        messages: (9..50).map(|position| (Position(position), message(position, 1000))).collect(),
        lost: 0,
    });
    assert_eq!(octets(&backlog), (100_000, 40_000));
    // Half of what was to be there the disk damaged, which is known once all of it was looked at.
    let left = (50..70).map(|position| (Position(position), message(position, 1000))).collect();
    backlog.loaded(Loaded { from: 50, up_to: 90, messages: left, lost: 20 });
    assert_eq!((octets(&backlog), backlog.len()), ((80_000, 0), 80));
    backlog.clear();
    assert_eq!(octets(&backlog), (0, 0));
}

#[test]
fn what_was_there_at_the_start_is_counted_once_it_was_read() {
    let restored = || Backlog::restored(Restored { first: 10, next: 20, messages: 10, delivered_before: 0 });
    let read = |from: u64, up_to: u64| Loaded {
        from,
        up_to,
        messages: (from..up_to).map(|position| (Position(position), message(position, 8))).collect(),
        lost: 0,
    };
    let state = |backlog: &Backlog| (backlog.weight().octets, backlog.uncounted_count(), backlog.uncounted());
    let mut backlog = restored();
    assert_eq!(state(&backlog), (0, 10, Some(10..20)));
    backlog.count(&read(10, 14));
    assert_eq!(state(&backlog), (32, 6, Some(14..20)));
    // It comes into memory, as far as it was counted and further.
    backlog.loaded(read(10, 16));
    assert_eq!(state(&backlog), (48, 4, Some(16..20)));
    assert!(backlog.take_cold(17, &message(17, 8)));
    assert_eq!(state(&backlog), (48, 3, Some(16..20)));
    backlog.put_in_place(17, message(17, 8), false);
    // An answer to what was asked before.
    backlog.count(&read(14, 18));
    assert_eq!(state(&backlog), (64, 2, Some(18..20)));
    backlog.count(&read(19, 20));
    assert_eq!(state(&backlog), (64, 2, Some(18..20)), "there would be a gap");
    backlog.count(&read(18, 20));
    assert_eq!((state(&backlog), backlog.weight_on_disk().octets), ((80, 0, None), 32));
    let mut dropped = restored();
    dropped.count(&read(10, 12));
    assert_eq!((dropped.drop_cold(5), state(&dropped)), (Some(10..15), (0, 5, Some(15..20))));
    assert_eq!((dropped.drop_cold(9), state(&dropped)), (Some(15..20), (0, 0, None)));
    let mut awaited = restored();
    awaited.want_octets(true);
    assert!(awaited.is_missing_octets());
    awaited.count(&read(10, 20));
    assert!(!awaited.is_missing_octets());
}

/// The message at a position: its size and whether it is persistent follow from that.
fn any_message(position: u64) -> Message {
    let mut draft = Draft::new(Vec::new(), "", "q");
    if position.is_multiple_of(3) {
        draft.set_persistent();
    }
    draft.body(&vec![b'x'; usize::try_from(position * 7 % 50).unwrap()]);
    draft.message()
}

#[test]
fn weights_are_those_of_the_messages_that_wait_whatever_happens() {
    for seed in 0..50 {
        let mut entropy = Entropy::new([seed; 16]);
        let mut below = |end: u64| entropy.draw() % end;
        let mut backlog = Backlog::default();
        // Everything that waits, and what was handed out or taken out of turn.
        let (mut waiting, mut out) = (BTreeSet::new(), BTreeSet::new());
        for step in 0..200 {
            match below(10) {
                0..=2 => {
                    let first = backlog.next_position();
                    let new: Vec<u64> = (first..first + below(40)).collect();
                    append(&mut backlog, new.iter().map(|position| any_message(*position)).collect());
                    waiting.extend(new);
                }
                3..=5 => {
                    for _ in 0..below(30) {
                        let Some((Position(position), ..)) = backlog.pop() else { break };
                        waiting.remove(&position);
                        out.insert(position);
                    }
                }
                6 => {
                    if let Some(position) = out.pop_first() {
                        backlog.put_back(Position(position), any_message(position));
                        waiting.insert(position);
                    }
                }
                7 => {
                    let until = backlog.next_position().saturating_sub(below(40));
                    backlog.page_out(until, 200);
                }
                8 => {
                    if let Some(positions) = backlog.wanted(usize::MAX) {
                        let up_to = (positions.start + below(60)).min(positions.end);
                        let there = (positions.start..up_to).filter(|position| backlog.is_cold(*position));
                        let messages = there.map(|position| (Position(position), any_message(position))).collect();
                        backlog.loaded(Loaded { from: positions.start, up_to, messages, lost: 0 });
                    }
                }
                _ if below(3) == 0 => backlog.want_octets(step % 2 == 0),
                _ => {
                    let Some(position) = waiting.iter().nth(usize::try_from(below(20)).unwrap()).copied() else {
                        continue;
                    };
                    let message = any_message(position);
                    let taken = backlog.take_at(position);
                    assert!(taken.is_some() || backlog.take_cold(position, &message), "seed {seed} step {step}");
                    if step % 3 == 0 {
                        let redelivered = taken.is_some_and(|(_, redelivered)| redelivered);
                        backlog.put_in_place(position, message, redelivered);
                    } else {
                        waiting.remove(&position);
                    }
                }
            }
            let sum = |positions: &mut dyn Iterator<Item = &u64>| {
                let mut sum = Weight::default();
                positions.for_each(|position| sum += Weight::of(&any_message(*position)));
                sum
            };
            assert_eq!(backlog.len(), waiting.len(), "seed {seed} step {step}");
            assert_eq!(backlog.weight(), sum(&mut waiting.iter()), "seed {seed} step {step}");
            let on_disk = sum(&mut waiting.iter().filter(|position| backlog.is_cold(**position)));
            assert_eq!(backlog.weight_on_disk(), on_disk, "seed {seed} step {step}");
        }
    }
}
