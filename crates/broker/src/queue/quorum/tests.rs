//! Rules of what a quorum queue has beyond a classic one.

mod random;

use super::*;
use crate::message::Draft;
use crate::properties::NoProperties;

const WAITS: Fate = Fate::Waits { expires: false };

fn message(body: &str) -> Message {
    let mut draft = Draft::new(Vec::new(), "", "q");
    draft.body(body.as_bytes());
    draft.message()
}

fn quorum(delivery_limit: Option<u32>, delayed_retry: Option<DelayedRetry>) -> Quorum {
    let mut quorum = Quorum::new(Arc::new(NoProperties));
    quorum.configure(&QueueSettings { delivery_limit, delayed_retry, ..QueueSettings::default() });
    quorum
}

#[test]
fn a_message_dies_when_its_failures_exceed_the_limit() {
    for (limit, causes, dies) in [
        (Some(0), &[ReturnCause::Failed][..], true),
        (Some(0), &[ReturnCause::Requeued, ReturnCause::Unread], false),
        (Some(1), &[ReturnCause::Failed], false),
        (Some(1), &[ReturnCause::Failed, ReturnCause::Requeued, ReturnCause::Failed], true),
        (None, &[ReturnCause::Failed; 50], false),
    ] {
        let (mut quorum, position) = (quorum(limit, None), Position(7));
        let (mut next, mut fate) = (message("m"), WAITS);
        for (time, cause) in causes.iter().enumerate() {
            quorum.hand_out(position, next.clone(), time > 0);
            fate = quorum.give_back(position, *cause, Timestamp(0));
            if fate == WAITS {
                (_, next) = quorum.pop().unwrap();
            }
        }
        assert_eq!(matches!(fate, Fate::Dies(_)), dies, "{limit:?} {causes:?}");
    }
}

#[test]
fn what_comes_back_goes_in_the_order_in_which_it_came() {
    let mut quorum = quorum(None, None);
    for position in 0..4 {
        quorum.hand_out(Position(position), message("m"), false);
    }
    for position in [2, 0, 3] {
        assert_eq!(quorum.give_back(Position(position), ReturnCause::Requeued, Timestamp(0)), WAITS);
    }
    assert_eq!(quorum.give_back(Position(2), ReturnCause::Requeued, Timestamp(0)), Fate::Unknown, "it is back already");
    quorum.forget(std::slice::from_ref(&(0..3)));
    let order: Vec<_> = std::iter::from_fn(|| quorum.pop()).map(|(position, _)| position.0).collect();
    assert_eq!((order, quorum.bytes(), quorum.body_bytes()), (vec![2, 0, 3], 0, 0));
    assert_eq!(quorum.give_back(Position(1), ReturnCause::Failed, Timestamp(0)), Fate::Unknown, "it was settled");
}

#[test]
fn a_retry_waits_longer_every_time_up_to_the_most() {
    use ReturnCause::{Failed, Requeued, Unread};
    let retry = |which| DelayedRetry { which, min_ms: 10, max_ms: 25 };
    for (which, cause, delays) in [
        (Retried::All, Failed, [Some(10), Some(20), Some(25)]),
        (Retried::All, Requeued, [Some(10), Some(20), Some(25)]),
        (Retried::All, Unread, [None; 3]),
        (Retried::Failed, Failed, [Some(10), Some(20), Some(25)]),
        (Retried::Failed, Requeued, [None; 3]),
        (Retried::Returned, Requeued, [Some(10), Some(20), Some(25)]),
        (Retried::Returned, Failed, [None; 3]),
    ] {
        let mut quorum = quorum(None, Some(retry(which)));
        let position = Position(1);
        quorum.hand_out(position, message("m"), false);
        for (time, delay) in delays.into_iter().enumerate() {
            let now = Timestamp(1000 * time as u64);
            quorum.give_back(position, cause, now);
            assert_eq!(quorum.next_due(), delay.map(|ms| now.plus_ms(ms)), "{which:?} {cause:?}");
            let due = now.plus_ms(delay.unwrap_or_default());
            if delay.is_some() {
                assert_eq!((quorum.delayed_count(), quorum.pop()), (1, None));
                assert!(!quorum.end_delays(Timestamp(due.0 - 1)));
                assert!(quorum.end_delays(due));
            }
            let (_, next) = quorum.pop().unwrap();
            quorum.hand_out(position, next, true);
        }
    }
}

#[test]
fn what_leaves_counts_until_it_is_gone() {
    let mut quorum = quorum(None, None);
    quorum.keep_leaving(Position(3), &message("four"));
    assert_eq!((quorum.leaving_count(), quorum.body_bytes()), (1, 4));
    quorum.forget(std::slice::from_ref(&(0..9)));
    assert_eq!((quorum.leaving_count(), quorum.body_bytes()), (0, 0));
}

#[test]
fn clearing_drops_what_came_back_but_not_what_is_out_or_leaves() {
    let mut quorum = quorum(None, Some(DelayedRetry { which: Retried::Failed, min_ms: 5, max_ms: 5 }));
    for position in 0..3 {
        quorum.hand_out(Position(position), message("body"), false);
    }
    quorum.give_back(Position(1), ReturnCause::Failed, Timestamp(0));
    quorum.give_back(Position(0), ReturnCause::Requeued, Timestamp(0));
    quorum.keep_leaving(Position(9), &message("body"));
    assert_eq!(quorum.clear(), [Position(0), Position(1)]);
    assert_eq!((quorum.returned_count(), quorum.delayed_count(), quorum.bytes(), quorum.body_bytes()), (0, 0, 0, 4));
    assert!(quorum.take_held(Position(2)).is_some());
}
