//! Messages of higher priority go first, wherever they are.

use super::expiry::{dead_letter, died};
use super::*;
use crate::queue::lanes::{place, split};

/// A letter whose priority is written behind it; `-` is none.
fn messages(text: &str) -> Vec<Message> {
    let chars: Vec<char> = text.chars().collect();
    let one = |pair: &[char]| {
        let mut draft = Draft::new(Vec::new(), "", "q");
        draft.body(&[u8::try_from(pair[0]).unwrap(); 10]);
        pair[1].to_digit(10).into_iter().for_each(|priority| draft.set_priority(u8::try_from(priority).unwrap()));
        draft.message()
    };
    chars.chunks(2).map(one).collect()
}

fn bench(max: u8, text: &str) -> Bench {
    let mut bench = Bench { queue: Classic::with_priorities(max, 0), keys: 0 };
    bench.queue.enqueue(&mut messages(text));
    bench
}

/// Puts everything of a lane on disk.
fn page_out(bench: &mut Bench, lane: usize) {
    let lane = bench.queue.lanes_mut().lane_mut(lane);
    let until = lane.next_position();
    assert!(lane.page_out(until, 0) > 0);
}

/// What a lane asks for comes, as these letters.
fn read_back(bench: &mut Bench, lane: usize, letters: &str) {
    let wanted = bench.queue.lanes().lane(lane).and_then(|lane| lane.wanted(1 << 20)).unwrap();
    let texts: String = letters.chars().flat_map(|letter| [letter, '0']).collect();
    let messages = (wanted.start..).map(Position).zip(messages(&texts)).collect();
    bench.queue.lanes_mut().loaded(lane, Loaded { from: wanted.start, up_to: wanted.end, messages, lost: 0 });
    bench.queue.go_on();
}

#[test]
fn the_highest_go_first_and_equal_ones_in_order() {
    for (max, text, order) in
        [(9, "a0b5c5d9e-f1", "dbcfae"), (5, "a9b5c6d0", "abcd"), (1, "a-b0c1d2", "cdab"), (0, "a9b0c5", "abc")]
    {
        assert_eq!(bench(max, text).rest(), order, "{max} {text}");
        // A consumer that is there takes what comes first.
        let mut bench = bench(max, "");
        let mut reader = bench.consumer(prefetch(1));
        bench.queue.enqueue(&mut messages(text));
        assert_eq!(reader.read(), text[..1], "{max} {text}");
        let rest: String = order.chars().filter(|letter| !text.starts_with(*letter)).collect();
        assert_eq!(bench.rest(), rest, "{max} {text}");
    }
}

#[test]
fn what_comes_back_goes_first_within_its_priority() {
    let mut bench = bench(9, "a1b1c5d5");
    let mut reader = bench.consumer(prefetch(3));
    assert_eq!(reader.read(), "cda");
    let lanes: Vec<_> =
        reader.held.iter().map(|delivery| (split(delivery.position).0, split(delivery.position).1.0)).collect();
    assert_eq!(lanes, [(5, 0), (5, 1), (1, 0)]);
    bench.queue.unsubscribe(reader.id);
    bench.queue.enqueue(&mut messages("e5f9"));
    bench.requeue(&mut reader, "adc");
    assert_eq!(bench.rest(), "fc*d*ea*b");
}

#[test]
fn a_lower_priority_does_not_pass_a_higher_one_on_disk() {
    let mut bench = bench(9, "a0b0c5d5e7");
    page_out(&mut bench, 5);
    let mut reader = bench.consumer(Wants::default());
    assert_eq!((reader.read(), bench.counts()), ("e".into(), (4, 1, 1)));
    assert_eq!(bench.queue.take(true), Taken::OnDisk);
    // A higher one that comes does.
    bench.queue.enqueue(&mut messages("f6g1"));
    assert_eq!(reader.read(), "f");
    read_back(&mut bench, 5, "cd");
    assert_eq!(reader.read(), "cdgab");
    page_out_nothing(&mut bench);
}

fn page_out_nothing(bench: &mut Bench) {
    assert!(!bench.queue.has_cold());
    assert_eq!(bench.queue.take(true), Taken::Nothing);
}

#[test]
fn each_lane_expires_by_itself() {
    let mut bench = bench(9, "");
    bench.queue.configure(&QueueSettings { dead_letter: Some(dead_letter()), ..Default::default() });
    let timed = |letter: u8, priority: u8, ttl: Option<u64>| {
        let mut draft = Draft::new(Vec::new(), "", "q");
        draft.body(&[letter]);
        draft.set_priority(priority);
        draft.stamp(Timestamp(0), ttl);
        draft.message()
    };
    bench.queue.enqueue(&mut vec![
        timed(b'a', 1, Some(20)),
        timed(b'b', 1, Some(10)),
        timed(b'c', 5, Some(15)),
        timed(b'd', 9, None),
        timed(b'e', 0, Some(5)),
    ]);
    for (now, next, dead) in [(4, Some(5), ""), (5, Some(15), "e"), (15, Some(20), "c"), (20, None, "ab")] {
        bench.queue.set_now(Timestamp(now));
        bench.queue.go_on();
        assert_eq!(died(&mut bench, DeathReason::Expired), dead, "at {now}");
        assert_eq!(bench.queue.next_due(), next.map(Timestamp), "at {now}");
    }
    assert_eq!(bench.rest(), "d");
}

#[test]
fn the_first_to_go_is_the_first_to_give_way() {
    let limits = QueueSettings { max_length: Some(3), dead_letter: Some(dead_letter()), ..Default::default() };
    let mut bench = bench(9, "a0b0c5d5e7");
    bench.queue.configure(&limits);
    assert_eq!((died(&mut bench, DeathReason::MaxLen), bench.queue.ready_count()), ("ec".into(), 3));
    bench.queue.enqueue(&mut messages("f0"));
    assert_eq!((died(&mut bench, DeathReason::MaxLen), bench.rest()), ("d".into(), "abf".into()));
}

#[test]
fn a_limit_drops_what_is_on_disk_in_its_turn() {
    let limits = QueueSettings { max_length: Some(2), ..Default::default() };
    let mut bench = bench(9, "a0b0c5d5e7");
    page_out(&mut bench, 5);
    page_out(&mut bench, 0);
    bench.queue.configure(&limits);
    let lane = |lane, at: u64| place(lane, Position(at)).0;
    let dropped = bench.queue.take_dropped();
    assert_eq!(dropped, [lane(7, 0)..lane(7, 1), lane(5, 0)..lane(5, 2)]);
    for (text, dropped) in [("f0", 0..1), ("g1", lane(1, 0)..lane(1, 1)), ("h0", 1..2)] {
        bench.queue.enqueue(&mut messages(text));
        assert!(!bench.queue.is_too_long());
        assert_eq!(bench.queue.take_dropped(), std::slice::from_ref(&dropped), "{text}");
    }
    assert_eq!(bench.rest(), "fh");
}

#[test]
fn a_purge_and_counts_are_about_all_lanes() {
    let mut bench = bench(9, "a0b5c9");
    page_out(&mut bench, 5);
    bench.queue.configure(&QueueSettings { max_length_bytes: Some(1000), ..Default::default() });
    assert_eq!(
        (bench.queue.ready_count(), bench.queue.lanes().weight().octets),
        (3, 30),
        "what is on disk is counted, too"
    );
    read_back(&mut bench, 5, "b");
    assert_eq!(bench.queue.lanes().weight().octets, 30);
    bench.queue.enqueue(&mut messages("d9e8"));
    assert_eq!(bench.queue.lanes().weight().octets, 50);
    let lane = |lane, at: u64| place(lane, Position(at)).0;
    let (count, dropped) = bench.queue.purge();
    assert_eq!(count, 5);
    let expected = [0..1, lane(5, 0)..lane(5, 1), lane(8, 0)..lane(8, 1), lane(9, 0)..lane(9, 2)];
    assert_eq!(dropped, expected);
    assert_eq!((bench.queue.lanes().weight().octets, bench.rest()), (0, String::new()));
    bench.queue.enqueue(&mut messages("f9"));
    assert_eq!(bench.queue.take(true), Taken::Message(Position(lane(9, 2)), messages("f9").remove(0), false));
}

#[test]
fn a_restored_lane_goes_by_its_priority() {
    let mut bench = bench(9, "");
    for (lane, first, messages) in [(0, 3, 1), (6, 7, 2)] {
        let next = first + messages as u64;
        bench.queue.restore(lane, Restored { first, next, messages, delivered_before: 0 });
    }
    assert_eq!((bench.queue.ready_count(), bench.queue.take(true)), (3, Taken::OnDisk));
    read_back(&mut bench, 6, "ab");
    assert_eq!(bench.queue.take(true), Taken::Message(place(6, Position(7)), messages("a0").remove(0), false));
    assert_eq!(bench.rest(), "b");
    read_back(&mut bench, 0, "c");
    assert_eq!(bench.rest(), "c");
}
