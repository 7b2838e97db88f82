//! Runs: when they are overdue, and which of them are forgotten.

use leveret_broker::message::Draft;
use leveret_broker::queue::Position;

use super::*;
use crate::amqp091::unsettled::Delivered;

const KEY: u32 = 1;

fn unsettled(tags: &[u64]) -> Unsettled {
    let mut unsettled = Unsettled::default();
    for tag in tags {
        let message = Draft::new(Vec::new(), "", "").message();
        // Odd ones are of another source.
        let source = if tag % 2 == 0 { KEY } else { KEY + 1 };
        unsettled.push(Delivered { tag: *tag, source, position: Position(*tag), message });
    }
    unsettled
}

/// A timeout with deliveries at these times, by tag, of which none is settled.
fn timeout(ms: u64, deliveries: &[(u64, u64)]) -> Timeout {
    let mut timeout = Timeout::default();
    timeout.set(None, Some(ms));
    for (others, (tag, at)) in (0..).zip(deliveries) {
        timeout.delivered(*tag, Timestamp(*at), KEY, others, &Unsettled::default());
    }
    timeout
}

fn first_tags(timeout: &Timeout) -> Vec<u64> {
    timeout.runs.iter().map(|run| run.first_tag).collect()
}

#[test]
fn what_the_consumer_asks_for_goes_before_what_the_queue_says() {
    for (own, queue, ms) in
        [(None, None, 0), (None, Some(5), 5), (Some(9), Some(5), 9), (Some(9), None, 9), (Some(0), Some(5), 0)]
    {
        let mut timeout = Timeout::default();
        timeout.set(own, queue);
        assert_eq!((timeout.ms, timeout.is_set()), (ms, ms > 0), "{own:?} {queue:?}");
        timeout.set_queue_ms(Some(7));
        assert_eq!(timeout.ms, own.unwrap_or(7), "{own:?}");
    }
}

#[test]
fn deliveries_close_to_each_other_are_one_run() {
    for (ms, deliveries, runs, due) in [
        (1_600, vec![], vec![], None),
        (1_600, vec![(2, 0), (4, 99)], vec![2], Some(1_700)),
        (1_600, vec![(2, 0), (4, 100), (6, 150), (8, 250)], vec![2, 4, 8], Some(1_700)),
        (1, vec![(2, 5), (4, 5), (6, 6)], vec![2, 6], Some(7)),
        (1_800_000, vec![(2, 0), (4, 499), (6, 500)], vec![2, 6], Some(1_800_500)),
        (u64::MAX, vec![(2, 1)], vec![2], Some(u64::MAX)),
    ] {
        let timeout = timeout(ms, &deliveries);
        assert_eq!((first_tags(&timeout), timeout.due()), (runs, due.map(Timestamp)), "{ms} {deliveries:?}");
    }
}

#[test]
fn runs_without_anything_unsettled_are_forgotten() {
    let deliveries = [(2, 0), (6, 200), (10, 400), (14, 600)];
    for (held, runs) in [
        (vec![], vec![]),
        (vec![1, 3, 5, 7, 13], vec![]),
        (vec![2, 8, 12, 14], vec![2, 6, 10, 14]),
        (vec![4], vec![2]),
        (vec![1, 5, 6, 7, 8, 9, 11, 20], vec![6, 14]),
    ] {
        let mut timeout = timeout(1_600, &deliveries);
        timeout.forget_settled(KEY, &unsettled(&held));
        assert_eq!(first_tags(&timeout), runs, "{held:?}");
    }
}

#[test]
fn a_source_without_anything_unsettled_begins_anew() {
    let mut timeout = timeout(1_600, &[(2, 0), (4, 200)]);
    timeout.delivered(6, Timestamp(201), KEY, 0, &Unsettled::default());
    assert_eq!(first_tags(&timeout), [6]);
}

#[test]
fn runs_are_few_however_long_one_delivery_stays_unsettled() {
    let mut timeout = timeout(16_000_000, &[]);
    for tag in 1..100_000_u64 {
        timeout.delivered(tag * 2, Timestamp(tag * 1_000), KEY, u32::from(tag > 1), &unsettled(&[2, tag * 2]));
    }
    assert!(timeout.runs.len() <= RUNS_KEPT, "{}", timeout.runs.len());
    assert_eq!(timeout.due(), Some(Timestamp(16_001_500)));
}

#[test]
fn overdue_is_what_was_delivered_before_the_first_run_that_is_not() {
    let deliveries = [(2, 0), (6, 200), (10, 400)];
    for (now, before, left) in
        [(1_699, 2, vec![2, 6, 10]), (1_700, 6, vec![6, 10]), (1_900, 10, vec![10]), (2_100, u64::MAX, vec![])]
    {
        let mut timeout = timeout(1_600, &deliveries);
        assert_eq!(timeout.take_overdue(Timestamp(now)), before, "{now}");
        assert_eq!(first_tags(&timeout), left, "{now}");
    }
}
