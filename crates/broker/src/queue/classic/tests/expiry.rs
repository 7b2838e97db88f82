//! When messages expire, and where they go.

#![expect(clippy::single_range_in_vec_init, reason = "a list of ranges often has one")]

use super::*;
use crate::queue::DeadLetterTo;

const START: u64 = 1000;

/// A message published at a time, with a time to live of its own if it has one.
fn timed(letter: char, at: u64, ttl_ms: Option<u64>) -> Message {
    let mut draft = Draft::new(Vec::new(), "", "q");
    draft.body(&[u8::try_from(letter).unwrap()]);
    draft.stamp(Timestamp(at), ttl_ms);
    draft.message()
}

pub(super) fn dead_letter() -> DeadLetterTo {
    DeadLetterTo { exchange: "dlx".into(), routing_key: None, strategy: crate::queue::DeadLetterStrategy::AtMostOnce }
}

/// A queue whose messages live so long, at the start of time.
fn bench(ttl_ms: Option<u64>) -> Bench {
    let mut bench = Bench::default();
    bench.queue.configure(&QueueSettings {
        message_ttl_ms: ttl_ms,
        dead_letter: Some(dead_letter()),
        ..Default::default()
    });
    bench.queue.set_now(Timestamp(START));
    bench
}

/// Publishes letters, each with its own time to live.
fn publish(bench: &mut Bench, messages: &[(char, Option<u64>)]) {
    let now = bench.queue.now.0;
    bench.queue.enqueue(&mut messages.iter().map(|(letter, ttl)| timed(*letter, now, *ttl)).collect());
}

/// Lets it be so many milliseconds after the start; says who expired.
fn at(bench: &mut Bench, ms: u64) -> String {
    bench.queue.set_now(Timestamp(START).plus_ms(ms));
    bench.queue.go_on();
    died(bench, DeathReason::Expired)
}

pub(super) fn died(bench: &mut Bench, expected: DeathReason) -> String {
    let dead = bench.queue.take_dead();
    assert!(dead.iter().all(|dead| dead.reason == expected), "{dead:?}");
    dead.iter().map(|dead| letter(&dead.message)).collect()
}

#[test]
fn a_message_expires_by_the_shorter_time_and_only_as_the_first() {
    for (queue, messages, expiries) in [
        (None, vec![('a', None), ('b', None)], vec![(u64::MAX, "")]),
        (Some(10), vec![('a', None), ('b', None)], vec![(9, ""), (10, "ab")]),
        (None, vec![('a', Some(10)), ('b', Some(20))], vec![(9, ""), (10, "a"), (19, ""), (20, "b")]),
        (Some(15), vec![('a', Some(10)), ('b', Some(20))], vec![(9, ""), (10, "a"), (14, ""), (15, "b")]),
        // Nobody looks behind the first.
        (None, vec![('a', Some(20)), ('b', Some(10))], vec![(10, ""), (19, ""), (20, "ab")]),
        (None, vec![('a', None), ('b', Some(0))], vec![(0, ""), (u64::MAX - START, "")]),
        (Some(0), vec![('a', None), ('b', Some(5))], vec![(0, "ab")]),
        (Some(5), vec![('a', Some(0)), ('b', None)], vec![(0, "a"), (4, ""), (5, "b")]),
        // Ten years, and more than time has.
        (None, vec![('a', Some(315_360_000_000))], vec![(315_359_999_999, ""), (315_360_000_000, "a")]),
        (Some(u64::MAX - 1), vec![('a', None)], vec![(u64::MAX - START - 1, "")]),
    ] {
        let mut bench = bench(queue);
        publish(&mut bench, &messages);
        let mut seen = died(&mut bench, DeathReason::Expired);
        for (ms, expected) in expiries {
            seen.push_str(&at(&mut bench, ms));
            assert_eq!(seen, expected, "{queue:?} {messages:?} after {ms}");
            seen.clear();
        }
    }
}

#[test]
fn a_message_without_time_goes_to_whoever_waits_for_it_and_else_dies() {
    for (prefetched, read, dead) in [(1, "a", "bc"), (2, "ab", "c"), (0, "abc", "")] {
        let mut bench = bench(Some(0));
        let mut reader = bench.consumer(prefetch(prefetched));
        publish(&mut bench, &[('a', None), ('b', None), ('c', None)]);
        assert_eq!((reader.read(), died(&mut bench, DeathReason::Expired)), (read.into(), dead.into()));
    }
}

#[test]
fn nobody_is_handed_what_is_too_old() {
    type Act = fn(&mut Bench, &mut Reader);
    let acts: [(&str, Act, &str); 4] = [
        ("settle", |bench, reader| bench.settle(reader, "a"), "d"),
        ("subscribe", |bench, reader| *reader = bench.consumer(prefetch(1)), "d"),
        ("get", |bench, _| assert_eq!(bench.rest(), "d"), ""),
        ("requeue", |bench, reader| bench.requeue(reader, "a"), "a*"),
    ];
    for (what, act, read) in acts {
        let mut bench = bench(None);
        let mut reader = bench.consumer(prefetch(1));
        publish(&mut bench, &[('a', None), ('b', Some(10)), ('c', Some(10)), ('d', None)]);
        assert_eq!(reader.read(), "a");
        bench.queue.set_now(Timestamp(START + 10));
        act(&mut bench, &mut reader);
        assert_eq!((reader.read(), died(&mut bench, DeathReason::Expired)), (read.into(), "bc".into()), "{what}");
    }
}

#[test]
fn what_comes_back_keeps_its_time() {
    for (ttl, own) in [(Some(10), None), (None, Some(10)), (Some(20), Some(10)), (Some(10), Some(20))] {
        for (back_at, word, later) in [(9, "a*", "a"), (10, "", "a"), (30, "", "a")] {
            // Whether something else waits makes no difference.
            for others in [&[][..], &[('b', None)]] {
                let mut bench = bench(ttl);
                let mut reader = bench.consumer(prefetch(1));
                publish(&mut bench, &[('a', own)]);
                assert_eq!(reader.read(), "a");
                publish(&mut bench, others);
                bench.queue.set_now(Timestamp(START + back_at));
                bench.queue.unsubscribe(reader.id);
                bench.requeue(&mut reader, "a");
                let shown: String =
                    bench.queue.listed().first().map(|(_, message, _)| letter(message)).into_iter().collect();
                let is_kept = !word.is_empty();
                assert_eq!(shown == "a", is_kept, "{ttl:?} {own:?} back after {back_at}, {others:?}");
                let dead = died(&mut bench, DeathReason::Expired) + &at(&mut bench, 30);
                assert!(dead.starts_with(later), "{ttl:?} {own:?} back after {back_at}, {others:?}: {dead}");
            }
        }
    }
}

#[test]
fn the_next_expiry_is_that_of_the_first_of_a_lane() {
    let mut bench = bench(None);
    assert_eq!(bench.queue.next_due(), None);
    publish(&mut bench, &[('a', Some(30)), ('b', Some(10))]);
    assert_eq!(bench.queue.next_due(), Some(Timestamp(START + 30)));
    assert_eq!(at(&mut bench, 30), "ab");
    assert_eq!((bench.queue.next_due(), bench.queue.depends_on_time()), (None, false));
}

#[test]
fn time_matters_as_long_as_something_that_waits_may_expire() {
    let mut bench = bench(None);
    let mut reader = bench.consumer(prefetch(1));
    publish(&mut bench, &[('a', Some(10))]);
    assert!(!bench.queue.depends_on_time(), "it never waited");
    publish(&mut bench, &[('b', None)]);
    assert!(!bench.queue.depends_on_time());
    assert_eq!(reader.read(), "a");
    bench.requeue(&mut reader, "a");
    assert_eq!(reader.read(), "a*");
    publish(&mut bench, &[('c', Some(10))]);
    assert!(bench.queue.depends_on_time());
    bench.settle(&mut reader, "a");
    bench.settle(&mut reader, "");
    assert_eq!(reader.read(), "b");
    bench.settle(&mut reader, "b");
    assert_eq!(reader.read(), "c");
    assert!(!bench.queue.depends_on_time());
    bench.queue.configure(&QueueSettings { message_ttl_ms: Some(5), ..Default::default() });
    assert!(bench.queue.depends_on_time());
    bench.queue.configure(&QueueSettings::default());
    assert!(!bench.queue.depends_on_time());
}

#[test]
fn another_time_to_live_holds_for_what_waits() {
    for (before, after, own, expired_at) in [
        (Some(50), Some(10), None, Some(10)),
        (Some(10), Some(50), None, Some(50)),
        (None, Some(10), None, Some(10)),
        (Some(10), None, None, None),
        (Some(10), None, Some(30), Some(30)),
    ] {
        let mut bench = bench(before);
        publish(&mut bench, &[('a', own)]);
        bench.queue.configure(&QueueSettings {
            message_ttl_ms: after,
            dead_letter: Some(dead_letter()),
            ..Default::default()
        });
        assert_eq!(bench.queue.next_due(), expired_at.map(|ms| Timestamp(START + ms)), "{before:?} {after:?}");
        let dies: Vec<u64> = (0..60).filter(|ms| at(&mut bench, *ms) == "a").collect();
        assert_eq!(dies.first().copied(), expired_at, "{before:?} {after:?}");
    }
}

#[test]
fn who_nobody_wants_is_dropped_by_position() {
    let mut bench = Bench::default();
    bench.queue.configure(&QueueSettings { message_ttl_ms: Some(10), ..Default::default() });
    publish(&mut bench, &[('a', None), ('b', None), ('c', Some(20))]);
    bench.queue.set_now(Timestamp(10));
    assert_eq!(bench.rest(), "");
    assert_eq!((bench.queue.take_dropped(), bench.queue.take_dead()), (vec![0..3], vec![]));
    assert!(bench.queue.is_unscathed());
}
