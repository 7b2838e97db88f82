//! What comes back to a queue, and from whom.

use super::*;

#[test]
fn requeued_messages_take_their_old_places() {
    // Letters held by one consumer, requeued in these steps, then what waits.
    for (requeued, rest) in [
        (vec!["a"], "a*fgh"),
        (vec!["abc"], "a*b*c*fgh"),
        (vec!["cba"], "a*b*c*fgh"),
        (vec!["e", "a", "c"], "a*c*e*fgh"),
        (vec!["bd", "ace"], "a*b*c*d*e*fgh"),
        (vec![""], "fgh"),
    ] {
        let mut bench = Bench::default();
        let mut reader = bench.consumer(prefetch(5));
        bench.enqueue("abcdefgh");
        assert_eq!(reader.read(), "abcde");
        bench.queue.unsubscribe(reader.id);
        for letters in &requeued {
            bench.requeue(&mut reader, letters);
        }
        let back = requeued.concat().len();
        assert_eq!(bench.counts(), (3 + back, 5 - back, 0));
        assert_eq!(bench.rest(), rest, "{requeued:?}");
    }
}

#[test]
fn messages_requeued_by_several_consumers_keep_the_order_of_the_queue() {
    let mut bench = Bench::default();
    let mut readers = bench.consumers([prefetch(3), prefetch(3)]);
    bench.enqueue("abcdefgh");
    assert_eq!(read_all(&mut readers), ["ace", "bdf"]);
    let [one, two] = &mut readers;
    bench.queue.unsubscribe(one.id);
    bench.queue.unsubscribe(two.id);
    bench.requeue(two, "fb");
    bench.requeue(one, "ce");
    bench.requeue(two, "d");
    assert_eq!(bench.rest(), "b*c*d*e*f*gh");
}

#[test]
fn a_requeued_message_goes_to_whoever_is_next_and_is_marked() {
    let mut bench = Bench::default();
    let [mut one, mut two] = bench.consumers([prefetch(1), prefetch(1)]);
    bench.enqueue("abc");
    assert_eq!((one.read(), two.read()), ("a".into(), "b".into()));
    bench.requeue(&mut one, "a");
    assert_eq!((one.read(), two.read()), ("a*".into(), String::new()));
    bench.settle(&mut two, "b");
    assert_eq!((one.read(), two.read()), (String::new(), "c".into()));
    bench.settle(&mut one, "a");
    assert_eq!(bench.counts(), (0, 1, 2));
}

#[test]
fn what_a_consumer_held_outlives_it() {
    let mut bench = Bench::default();
    let mut gone = bench.consumer(prefetch(3));
    bench.enqueue("abcdef");
    assert_eq!(gone.read(), "abc");
    assert!(bench.queue.unsubscribe(gone.id).is_some());
    assert!(bench.queue.unsubscribe(gone.id).is_none(), "it is gone already");
    assert_eq!(bench.counts(), (3, 3, 0));
    // Whoever comes in its place has credit of its own, which settling for the old one does not change.
    let mut next = bench.consumer(prefetch(1));
    assert_eq!(next.read(), "d");
    bench.settle(&mut gone, "a");
    bench.queue.resume(gone.id);
    assert_eq!((next.read(), bench.counts()), (String::new(), (2, 3, 1)));
    bench.requeue(&mut gone, "b");
    bench.settle(&mut next, "d");
    assert_eq!((next.read(), bench.counts()), ("b*".into(), (2, 2, 1)));
}

#[test]
fn messages_handed_out_for_good_can_be_taken_back() {
    let mut bench = Bench::default();
    let mut reader = bench.consumer(no_ack());
    bench.enqueue("abc");
    assert_eq!((reader.read(), bench.counts()), ("abc".into(), (0, 0, 1)));
    bench.queue.unsubscribe(reader.id);
    bench.enqueue("d");
    bench.queue.take_back(&mut reader.give("cb"));
    assert_eq!((bench.counts(), bench.rest()), ((3, 0, 0), "b*c*d".into()));
}

#[test]
fn purge_drops_what_waits_and_leaves_what_is_out() {
    let mut bench = Bench::default();
    let mut reader = bench.consumer(prefetch(3));
    bench.enqueue("abcdef");
    assert_eq!(reader.read(), "abc");
    bench.queue.unsubscribe(reader.id);
    bench.requeue(&mut reader, "b");
    assert_eq!((bench.queue.purge(), bench.counts()), ((4, vec![1..2, 3..6]), (0, 2, 0)));
    assert_eq!(bench.queue.ready_bytes(), 0);
    assert_eq!(bench.queue.purge(), (0, vec![]));
    // Positions are not used again, so what comes back still goes before what is new.
    bench.enqueue("gh");
    bench.requeue(&mut reader, "ca");
    assert_eq!(bench.rest(), "a*c*gh");
}
