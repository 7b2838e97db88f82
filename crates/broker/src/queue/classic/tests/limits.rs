//! What gives way when a queue is full.

#![expect(clippy::single_range_in_vec_init, reason = "a list of ranges often has one")]

use super::expiry::{dead_letter, died};
use super::*;

fn settings(max_length: Option<u64>, max_length_bytes: Option<u64>, overflow: Overflow) -> QueueSettings {
    QueueSettings { max_length, max_length_bytes, overflow, dead_letter: Some(dead_letter()), ..Default::default() }
}

fn bench(settings: &QueueSettings) -> Bench {
    let mut bench = Bench::default();
    bench.queue.configure(settings);
    bench
}

/// Publishes letters as bodies of so many octets.
fn publish(bench: &mut Bench, letters: &str, octets: usize) {
    bench.queue.enqueue(&mut letters.bytes().map(|letter| message(&vec![letter; octets])).collect());
}

/// Publishes letters as far as they are admitted; says which were.
fn offer(bench: &mut Bench, letters: &str, octets: usize) -> String {
    let mut admitted = String::new();
    for letter in letters.bytes() {
        let message = message(&vec![letter; octets]);
        if bench.queue.has_room_for(&message) {
            admitted.push(char::from(letter));
            bench.queue.enqueue(&mut vec![message]);
        } else {
            bench.queue.refuse(message);
        }
    }
    admitted
}

#[test]
fn the_oldest_give_way() {
    for (length, bytes, octets, dropped, rest) in [
        (Some(3), None, 1, "ab", "cde"),
        (Some(5), None, 1, "", "abcde"),
        (Some(0), None, 1, "abcde", ""),
        (None, Some(30), 10, "ab", "cde"),
        (None, Some(29), 10, "abc", "de"),
        (None, Some(9), 10, "abcde", ""),
        (None, Some(0), 10, "abcde", ""),
        (Some(4), Some(20), 10, "abc", "de"),
        (Some(1), Some(40), 10, "abcd", "e"),
    ] {
        for batches in [vec!["abcde"], vec!["a", "b", "c", "d", "e"], vec!["abcd", "e"]] {
            let mut bench = bench(&settings(length, bytes, Overflow::DropHead));
            for letters in &batches {
                publish(&mut bench, letters, octets);
            }
            assert_eq!(died(&mut bench, DeathReason::MaxLen), dropped, "{length:?} {bytes:?} {batches:?}");
            assert!(!bench.queue.is_too_long());
            assert_eq!(bench.rest(), rest, "{length:?} {bytes:?} {batches:?}");
        }
    }
}

#[test]
fn what_is_handed_out_takes_no_room() {
    let mut bench = bench(&settings(Some(1), None, Overflow::DropHead));
    let mut reader = bench.consumer(prefetch(2));
    publish(&mut bench, "abcd", 1);
    assert_eq!((reader.read(), died(&mut bench, DeathReason::MaxLen)), ("ab".into(), "c".into()));
    // What comes back is the oldest.
    bench.queue.unsubscribe(reader.id);
    bench.requeue(&mut reader, "ab");
    assert_eq!((died(&mut bench, DeathReason::MaxLen), bench.rest()), ("ab".into(), "d".into()));
}

#[test]
fn limits_that_shrink_or_come_drop_at_once_and_those_that_go_let_more_in() {
    for (before, after, dropped) in [
        (settings(Some(5), None, Overflow::DropHead), settings(Some(2), None, Overflow::DropHead), "abc"),
        (QueueSettings::default(), settings(Some(4), None, Overflow::DropHead), "a"),
        (QueueSettings::default(), settings(None, Some(3), Overflow::DropHead), "ab"),
        (settings(None, Some(50), Overflow::DropHead), settings(None, Some(1), Overflow::DropHead), "abcd"),
        (settings(Some(5), None, Overflow::DropHead), settings(Some(2), None, Overflow::RejectPublish), ""),
        (settings(Some(5), None, Overflow::RejectPublish), settings(Some(2), None, Overflow::DropHead), "abc"),
        (settings(Some(5), None, Overflow::DropHead), QueueSettings::default(), ""),
    ] {
        let mut bench = bench(&before);
        publish(&mut bench, "abcde", 1);
        bench.queue.configure(&after);
        assert_eq!(died(&mut bench, DeathReason::MaxLen), dropped, "{before:?} {after:?}");
        publish(&mut bench, "f", 1);
        let is_limited = after.max_length.is_some() || after.max_length_bytes.is_some();
        let more = usize::from(is_limited && after.overflow == Overflow::DropHead);
        assert_eq!(died(&mut bench, DeathReason::MaxLen).len(), more, "{before:?} {after:?}");
    }
}

#[test]
fn what_is_too_much_is_refused() {
    for overflow in [Overflow::RejectPublish, Overflow::RejectPublishDeadLetter] {
        for (length, bytes, octets, admitted) in [
            (Some(3), None, 1, "abc"),
            (Some(0), None, 1, ""),
            (None, Some(30), 10, "abc"),
            (None, Some(39), 10, "abc"),
            (None, Some(9), 10, ""),
            (Some(4), Some(20), 10, "ab"),
            (Some(1), Some(20), 10, "a"),
            (None, None, 10, "abcde"),
        ] {
            let mut bench = bench(&settings(length, bytes, overflow));
            let batch: Vec<Message> = "abcde".bytes().map(|letter| message(&vec![letter; octets])).collect();
            assert_eq!(bench.queue.admits(&batch), admitted.len(), "{length:?} {bytes:?}");
            assert_eq!(offer(&mut bench, "abcde", octets), admitted, "{length:?} {bytes:?}");
            let refused = if overflow == Overflow::RejectPublish { "" } else { &"abcde"[admitted.len()..] };
            assert_eq!(died(&mut bench, DeathReason::MaxLen), refused, "{length:?} {bytes:?}");
            assert_eq!(bench.rest(), admitted);
            assert_eq!(offer(&mut bench, "f", octets).len(), usize::from(!admitted.is_empty()), "there is room again");
        }
    }
}

#[test]
fn a_small_message_is_taken_where_a_large_one_is_not() {
    let mut bench = bench(&settings(None, Some(10), Overflow::RejectPublish));
    assert_eq!(offer(&mut bench, "a", 8), "a");
    assert_eq!(offer(&mut bench, "b", 8), "");
    assert_eq!(offer(&mut bench, "c", 2), "c");
    assert_eq!(offer(&mut bench, "d", 1), "");
    assert_eq!(offer(&mut bench, "e", 0), "e");
}

#[test]
fn octets_of_bodies_follow_whatever_happens_to_messages() {
    let mut bench = bench(&settings(None, Some(100), Overflow::RejectPublish));
    let mut reader = bench.consumer(prefetch(2));
    assert_eq!(offer(&mut bench, "abcdefghijklmn", 10), "abcdefghijkl", "two are out, ten wait");
    assert_eq!(reader.read(), "ab");
    bench.settle(&mut reader, "a");
    assert_eq!(reader.read(), "c");
    assert_eq!(offer(&mut bench, "no", 10), "n");
    bench.queue.unsubscribe(reader.id);
    bench.requeue(&mut reader, "bc");
    assert_eq!(bench.queue.lanes().weight().octets, 120);
    assert_eq!(bench.queue.purge().0, 12);
    assert_eq!(offer(&mut bench, "abcdefghijkl", 10), "abcdefghij");
    // Counting ends and begins again.
    bench.queue.configure(&QueueSettings::default());
    publish(&mut bench, "kl", 10);
    bench.queue.configure(&settings(None, Some(120), Overflow::RejectPublish));
    assert_eq!(offer(&mut bench, "m", 1), "");
    assert_eq!(bench.queue.lanes().weight().octets, 120);
}

/// A queue with these on disk only, each of ten octets, and all of them known or none.
fn on_disk(settings: &QueueSettings, letters: &str, is_restored: bool) -> Bench {
    let mut bench = Bench::default();
    let count = letters.len();
    if is_restored {
        let restored = Restored { first: 0, next: count as u64, messages: count, delivered_before: 0 };
        bench.queue.restore(0, restored);
        bench.queue.configure(settings);
    } else {
        bench.queue.configure(&QueueSettings { dead_letter: None, ..settings.clone() });
        bench.queue.configure(&QueueSettings {
            max_length: None,
            max_length_bytes: settings.max_length_bytes.map(|_| 10_000),
            ..settings.clone()
        });
        publish(&mut bench, letters, 10);
        bench.queue.lanes_mut().lane_mut(0).page_out(count as u64, 0);
        bench.queue.configure(settings);
    }
    assert!(bench.queue.has_cold());
    bench
}

/// Reads back so many of the messages on disk.
fn read_back(bench: &mut Bench, letters: &str, count: usize) {
    let Some(wanted) = bench.queue.lanes().lane(0).and_then(|lane| lane.wanted(1 << 20)) else {
        panic!("nothing is on disk")
    };
    let from = usize::try_from(wanted.start).unwrap();
    let found = letters.bytes().enumerate().skip(from).take(count);
    let messages: Vec<_> = found.map(|(at, letter)| (Position(at as u64), message(&[letter; 10]))).collect();
    let up_to = messages.last().map_or(wanted.end, |(at, _)| at.0 + 1);
    bench.queue.lanes_mut().loaded(0, Loaded { from: wanted.start, up_to, messages, lost: 0 });
    bench.queue.go_on();
}

#[test]
fn the_oldest_give_way_once_they_are_read_from_disk() {
    for (length, bytes) in [(Some(3), None), (None, Some(30))] {
        for is_restored in [false, true] {
            let settings = settings(length, bytes, Overflow::DropHead);
            let mut bench = on_disk(&settings, "abcdef", is_restored);
            let is_known = length.is_some() || !is_restored;
            assert_eq!(bench.queue.is_too_long(), is_known, "{settings:?}");
            assert!(bench.queue.wants_first(), "it may be too old as well");
            assert_eq!(died(&mut bench, DeathReason::MaxLen), "", "what is not here cannot be given away");
            read_back(&mut bench, "abcdef", 2);
            let first = if is_known { "ab" } else { "" };
            assert_eq!(died(&mut bench, DeathReason::MaxLen), first, "{settings:?}");
            read_back(&mut bench, "abcdef", 4);
            let second = if is_known { "c" } else { "abc" };
            assert_eq!(died(&mut bench, DeathReason::MaxLen), second, "{settings:?}");
            assert!(!bench.queue.is_too_long() && !bench.queue.wants_first());
            publish(&mut bench, "g", 10);
            assert_eq!(
                (died(&mut bench, DeathReason::MaxLen), bench.rest()),
                ("d".into(), "efg".into()),
                "{settings:?}"
            );
        }
    }
}

#[test]
fn a_queue_keeps_its_limit_while_the_disk_is_waited_for() {
    let settings = QueueSettings { dead_letter: None, ..settings(Some(3), None, Overflow::DropHead) };
    for is_restored in [false, true] {
        let mut bench = on_disk(&settings, "abcd", is_restored);
        assert_eq!(bench.queue.ready_count(), 3, "no gaps are between them");
        let wanted = bench.queue.lanes().lane(0).and_then(|lane| lane.wanted(1 << 20));
        for letter in ["e", "f"] {
            publish(&mut bench, letter, 10);
        }
        let dropped = bench.queue.take_dropped();
        assert_eq!((bench.queue.ready_count(), dropped), (3, vec![0..1, 1..2, 2..3]));
        publish(&mut bench, "gh", 10);
        assert_eq!((bench.queue.ready_count(), bench.queue.take_dropped()), (3, vec![3..5]));
        // What was asked for comes too late.
        let messages = vec![(Position(0), message(b"a"))];
        bench.queue.lanes_mut().loaded(0, Loaded { from: wanted.unwrap().start, up_to: 4, messages, lost: 0 });
        bench.queue.go_on();
        assert_eq!(bench.rest(), "fgh");
    }
}

#[test]
fn octets_are_right_again_once_nothing_waits() {
    let settings = settings(None, Some(50), Overflow::RejectPublish);
    let mut bench = on_disk(&settings, "abc", false);
    assert_eq!(bench.queue.lanes().weight().octets, 30);
    let wanted = bench.queue.lanes().lane(0).and_then(|lane| lane.wanted(1 << 20)).unwrap();
    bench
        .queue
        .lanes_mut()
        .loaded(0, Loaded { from: 0, up_to: wanted.end, messages: vec![(Position(1), message(&[b'b'; 10]))], lost: 2 });
    bench.queue.go_on();
    assert_eq!((bench.rest(), bench.queue.lanes().weight().octets), ("b".into(), 0));
    assert_eq!(offer(&mut bench, "abcdef", 10), "abcde");
}

#[test]
fn what_was_on_disk_at_the_start_counts_once_it_is_seen() {
    let settings = settings(None, Some(1000), Overflow::RejectPublish);
    let mut bench = on_disk(&settings, "abc", true);
    publish(&mut bench, "d", 10);
    assert_eq!(bench.queue.lanes().weight().octets, 10);
    read_back(&mut bench, "abc", 3);
    assert_eq!(bench.queue.lanes().weight().octets, 40);
    for left in [30, 20, 10, 0] {
        assert!(matches!(bench.queue.take(true), Taken::Message(..)));
        assert_eq!(bench.queue.lanes().weight().octets, left);
    }
}

#[test]
fn rejected_messages_are_dead_or_gone() {
    for (keeps, no_longer) in [(true, false), (true, true), (false, false)] {
        let with = QueueSettings { dead_letter: Some(dead_letter()), ..Default::default() };
        let without = QueueSettings::default();
        let mut bench = bench(if keeps { &with } else { &without });
        let mut reader = bench.consumer(prefetch(3));
        bench.enqueue("abcd");
        assert_eq!(reader.read(), "abc");
        if no_longer {
            bench.queue.configure(&QueueSettings::default());
        }
        let rejected = reader.give("ca");
        bench.queue.reject(Some(reader.id), rejected);
        assert_eq!((reader.read(), bench.counts()), ("d".into(), (0, 2, 1)), "credit comes back");
        let (dead, dropped) = if keeps && !no_longer { ("ca", vec![]) } else { ("", vec![2..3, 0..1]) };
        assert_eq!((died(&mut bench, DeathReason::Rejected), bench.queue.take_dropped()), (dead.into(), dropped));
    }
}
