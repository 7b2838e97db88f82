//! Rules of a queue in its cell: pauses, wakers, closed queues, and many threads at once.

mod deduplication;
mod expiry;
mod limits;
mod priorities;
mod random;
mod report;
mod stress;
mod time;

use super::enqueue::{PAUSE_ABOVE, PAUSE_AGAIN_AFTER, PAUSE_DELIVERIES, RESUME_BELOW};
use super::*;
use crate::mailbox::{Inbox, MAILBOX_BYTES};
use crate::message::Draft;
use crate::queue::stored::Stored;
use crate::queue::{Fanout, Subscriber};
use crate::store::Area;
use crate::wakes::Wakes;

/// Octets of the messages that fill a queue up.
const LARGE: usize = 64 * 1024;

impl QueueCell {
    /// The messages that wait in memory, in order; whether they were handed out before.
    pub(in crate::queue) fn listed(&self) -> Vec<(u64, Message, bool)> {
        let state = self.state.lock();
        let listed = state.queue.listed().into_iter();
        listed.map(|(position, message, redelivered)| (position, message.clone(), redelivered)).collect()
    }

    /// Looks at its dealings with the store.
    pub(in crate::queue) fn look<T>(&self, look: impl FnOnce(&Stored) -> T) -> Option<T> {
        self.state.lock().stored.as_ref().map(|stored| look(stored.lowest()))
    }
}

fn cell() -> QueueCell {
    QueueCell::new(QueueInfo {
        id: QueueId(1),
        vhost: "/".into(),
        name: "q".into(),
        auto_delete: false,
        durable: false,
    })
}

fn mailbox() -> Arc<Mailbox> {
    Arc::default()
}

fn message(body_size: usize) -> Message {
    let mut draft = Draft::new(Vec::new(), "", "q");
    draft.body(&vec![b'x'; body_size]);
    draft.message()
}

fn subscription(mailbox: &Arc<Mailbox>, no_ack: bool, prefetch: u16) -> Subscription<Arc<Mailbox>> {
    let (sink, tag) = (Arc::clone(mailbox), "tag".into());
    Subscription {
        sink,
        key: 3,
        tag,
        no_ack,
        exclusive: false,
        priority: 0,
        prefetch,
        shared: None,
        subscriber: Subscriber::default(),
    }
}

fn enqueue(cell: &QueueCell, count: usize, body_size: usize, publisher: &Arc<Mailbox>) -> Pace {
    let mut batch = vec![message(body_size); count];
    let enqueued = cell.enqueue(&mut batch, Fanout::One, publisher);
    assert!(batch.is_empty());
    assert_eq!(enqueued.stored, None, "there is no store");
    enqueued.pace
}

fn take(mailbox: &Mailbox) -> Inbox {
    let mut inbox = Inbox::default();
    mailbox.take(&mut inbox);
    inbox
}

/// Whether the mailbox was told that publishing goes on, and of nothing else.
fn resumed(mailbox: &Mailbox) -> bool {
    match take(mailbox).events.as_slice() {
        [] => false,
        [Event::PublishingResumed] => true,
        other => panic!("{other:?}"),
    }
}

/// A queue with a consumer that takes one message at a time, and a backlog that made `publisher` pause.
fn paused() -> (QueueCell, Arc<Mailbox>, ConsumerId, Arc<Mailbox>) {
    let (cell, consumer, publisher) = (cell(), mailbox(), mailbox());
    let id = cell.subscribe(subscription(&consumer, false, 1)).unwrap();
    assert_eq!(enqueue(&cell, PAUSE_ABOVE / LARGE + 1, LARGE, &publisher), Pace::Pause);
    (cell, consumer, id, publisher)
}

#[test]
fn a_publisher_pauses_when_consumers_lag_behind() {
    let per_message = message(LARGE).size();
    let below = PAUSE_ABOVE / per_message;
    // One message more is out than waits.
    for (consumers, count, pace) in
        [(1, below + 1, Pace::Go), (1, below + 2, Pace::Pause), (0, below + 1, Pace::Go), (0, 10 * below, Pace::Go)]
    {
        let (cell, consumer) = (cell(), mailbox());
        for _ in 0..consumers {
            cell.subscribe(subscription(&consumer, false, 1)).unwrap();
        }
        assert_eq!(enqueue(&cell, count, LARGE, &mailbox()), pace, "{consumers} consumers, {count} messages");
    }
}

#[test]
fn a_paused_publisher_goes_on_once_the_backlog_is_small() {
    let (cell, consumer, id, publisher) = paused();
    let wakes = Wakes::new();
    assert!(publisher.register(&wakes.waker()));
    let per_message = message(LARGE).size();
    loop {
        let waiting = cell.counts().ready * per_message;
        assert_eq!(resumed(&publisher), waiting < RESUME_BELOW, "{waiting} octets wait");
        if waiting < RESUME_BELOW {
            break;
        }
        assert_eq!(take(&consumer).deliveries.len(), 1);
        cell.settle(Some(id), 1, &[]);
    }
    assert_eq!(wakes.count(), 1);
    // Told once, whatever happens next.
    cell.settle(Some(id), 1, &[]);
    assert!(!resumed(&publisher));
}

#[test]
fn a_pause_ends_with_whatever_ends_the_backlog() {
    type Act = fn(&QueueCell, ConsumerId);
    let ends: [(&str, Act); 4] = [
        ("purge", |cell, _| assert!(cell.purge().is_ok())),
        ("the last consumer goes", |cell, id| assert!(cell.unsubscribe(id).was_last)),
        ("close", |cell, _| assert!(cell.close(CloseCondition::default()).is_ok())),
        ("take", |cell, _| {
            while let (Taken::Message(..), waiting) = cell.take(true, &mailbox()).unwrap()
                && waiting > 0
            {}
        }),
    ];
    for (what, act) in ends {
        let (cell, _consumer, id, publisher) = paused();
        let other = mailbox();
        assert_eq!(enqueue(&cell, 1, 1, &other), Pace::Pause);
        // Asked twice, told once.
        assert_eq!(enqueue(&cell, 1, 1, &publisher), Pace::Pause);
        assert!(!resumed(&publisher));
        act(&cell, id);
        assert!(resumed(&publisher) && resumed(&other), "{what}");
    }
}

#[test]
fn a_pause_that_was_not_worth_it_is_not_asked_for_again_soon() {
    let (cell, consumer, id, publisher) = paused();
    let began = cell.delivered_count();
    cell.pause_timed_out(began);
    let keep_up = |deliveries: u64| {
        for _ in 0..deliveries {
            take(&consumer);
            assert_eq!(enqueue(&cell, 1, LARGE, &mailbox()), Pace::Go);
            cell.settle(Some(id), 1, &[]);
        }
    };
    keep_up(PAUSE_AGAIN_AFTER);
    assert_eq!(enqueue(&cell, 1, LARGE, &publisher), Pace::Pause);
    // Consumers that took many during a pause are worth another one.
    cell.pause_timed_out(cell.delivered_count() - PAUSE_DELIVERIES);
    assert_eq!(enqueue(&cell, 1, LARGE, &publisher), Pace::Pause);
}

#[test]
fn a_consumer_is_woken_once_per_look_into_its_mailbox() {
    let (cell, consumer) = (cell(), mailbox());
    let wakes = Wakes::new();
    cell.subscribe(subscription(&consumer, true, 0)).unwrap();
    for expected in 1..4 {
        assert!(consumer.register(&wakes.waker()));
        enqueue(&cell, 3, 1, &mailbox());
        enqueue(&cell, 2, 1, &mailbox());
        assert_eq!((wakes.count(), take(&consumer).deliveries.len()), (expected, 5));
    }
}

#[test]
fn each_operation_that_hands_messages_out_wakes() {
    type Act = fn(&QueueCell, ConsumerId, &[(Position, Message)]);
    let acts: [(&str, Act); 4] = [
        ("settle", |cell, id, _| assert_eq!(cell.settle(Some(id), 1, &[]), None)),
        ("requeue", |cell, id, held| cell.requeue(Some(id), &mut held.to_vec())),
        ("resume", |cell, id, _| {
            // The prefetch that stands in the way is a shared one here.
            cell.share_prefetch(id, None);
            cell.settle(Some(id), 1, &[]);
            cell.resume(id);
        }),
        ("take_back", |cell, id, held| {
            cell.settle(Some(id), 1, &[]);
            cell.take_back(&mut held.to_vec());
        }),
    ];
    for (what, act) in acts {
        let (cell, consumer) = (cell(), mailbox());
        let wakes = Wakes::new();
        let id = cell.subscribe(subscription(&consumer, false, 1)).unwrap();
        enqueue(&cell, 2, 1, &mailbox());
        let held: Vec<_> =
            take(&consumer).deliveries.into_iter().map(|delivery| (delivery.position, delivery.message)).collect();
        assert_eq!(held.len(), 1);
        assert!(consumer.register(&wakes.waker()));
        act(&cell, id, &held);
        assert_eq!((wakes.count(), take(&consumer).deliveries.len()), (1, 1), "{what}");
    }
}

#[test]
fn a_mailbox_holds_no_more_than_its_room_and_one_message() {
    for body_size in [1, 1000, 100_000, 2 * MAILBOX_BYTES] {
        let (cell, consumer) = (cell(), mailbox());
        let id = cell.subscribe(subscription(&consumer, true, 0)).unwrap();
        let each = message(body_size).size() + size_of::<crate::queue::Delivery>();
        let fitting = MAILBOX_BYTES.div_ceil(each);
        enqueue(&cell, 2 * fitting, body_size, &mailbox());
        // While something waits, the consumer is told of the room it makes by reading.
        for asked in [vec![3], vec![]] {
            let inbox = take(&consumer);
            assert_eq!((inbox.deliveries.len(), inbox.events.len()), (fitting, 0), "body of {body_size}");
            assert_eq!(inbox.awaiting_room, asked);
            cell.resume(id);
        }
        assert_eq!(cell.counts(), QueueCounts { ready: 0, unsettled: 0, consumers: 1 });
    }
}

#[test]
fn a_mailbox_that_consumers_share_is_bounded_whatever_their_number() {
    for consumers in [1, 2, 10, 100] {
        let (cell, mailbox) = (cell(), mailbox());
        for _ in 0..consumers {
            cell.subscribe(subscription(&mailbox, true, 0)).unwrap();
        }
        enqueue(&cell, 2_000, 1_000, &mailbox);
        let octets: usize = take(&mailbox).deliveries.iter().map(crate::mailbox::cost).sum();
        assert!((MAILBOX_BYTES..2 * MAILBOX_BYTES).contains(&octets), "{consumers} consumers: {octets} octets");
    }
}

#[test]
fn consumers_that_share_a_mailbox_share_its_room() {
    // So many consumers of so many queues, all on one connection that never catches up.
    for (queues, each) in [(1, 2), (1, 5), (2, 1), (5, 1), (3, 3)] {
        let mailbox = mailbox();
        let cells: Vec<_> = (0..queues).map(|_| cell()).collect();
        for cell in &cells {
            enqueue(cell, 20_000, 1_000, &mailbox);
        }
        let consumers: Vec<_> = (0..queues * each).map(|index| &cells[index % queues]).collect();
        let subscribe = |(key, cell): (u32, &&QueueCell)| {
            cell.subscribe(Subscription { key, ..subscription(&mailbox, true, 0) }).unwrap()
        };
        let ids: Vec<_> = (0..).zip(&consumers).map(subscribe).collect();
        let mut handed = vec![0; consumers.len()];
        for _ in 0..6 * consumers.len() {
            let inbox = take(&mailbox);
            inbox.deliveries.iter().for_each(|delivery| handed[delivery.key as usize] += 1);
            for key in inbox.awaiting_room {
                consumers[key as usize].resume(ids[key as usize]);
            }
        }
        let (least, most) = (handed.iter().min().unwrap(), handed.iter().max().unwrap());
        assert!(2 * least > *most, "{queues} queues, {each} consumers of each: {handed:?}");
    }
}

#[test]
fn a_queue_closes_only_under_its_conditions() {
    let condition = |if_unused, if_empty| CloseCondition { if_unused, if_empty, if_over: false };
    for (consumers, messages, condition, closed) in [
        (0, 2, condition(false, false), Ok(2)),
        (1, 3, condition(false, false), Ok(2)),
        (0, 2, condition(true, false), Ok(2)),
        (1, 0, condition(true, false), Err("queue 'q' in vhost '/' in use")),
        (0, 0, condition(true, true), Ok(0)),
        (0, 1, condition(false, true), Err("queue 'q' in vhost '/' not empty")),
        (1, 1, condition(false, true), Ok(0)),
        (1, 2, condition(true, true), Err("queue 'q' in vhost '/' in use")),
    ] {
        let (cell, consumer) = (cell(), mailbox());
        for _ in 0..consumers {
            cell.subscribe(subscription(&consumer, false, 1)).unwrap();
        }
        enqueue(&cell, messages, 1, &mailbox());
        let result = cell.close(condition).map_err(|error| error.to_string());
        assert_eq!(result, closed.map_err(Into::into), "{consumers} consumers, {messages} messages, {condition:?}");
        let told = take(&consumer).events.len();
        assert_eq!(told, if result.is_ok() { consumers } else { 0 });
    }
}

#[test]
fn consumers_of_a_closed_queue_are_told_which_and_woken() {
    let (cell, consumer) = (cell(), mailbox());
    cell.subscribe(subscription(&consumer, false, 1)).unwrap();
    let wakes = Wakes::new();
    assert!(consumer.register(&wakes.waker()));
    cell.close(CloseCondition::default()).unwrap();
    assert_eq!(wakes.count(), 1);
    let events = take(&consumer).events;
    assert!(matches!(events.as_slice(), [Event::ConsumerCancelled { key: 3, queue: QueueId(1) }]), "{events:?}");
}

#[test]
fn a_closed_queue_drops_what_it_is_given_and_refuses_the_rest() {
    let (cell, consumer) = (cell(), mailbox());
    let id = cell.subscribe(subscription(&consumer, false, 1)).unwrap();
    enqueue(&cell, 2, 1, &mailbox());
    cell.close(CloseCondition::default()).unwrap();
    let not_found = Error::NotFound { resource: cell.resource() };
    assert_eq!(cell.subscribe(subscription(&consumer, false, 0)).err(), Some(not_found.clone()));
    assert_eq!(cell.take(false, &mailbox()).err(), Some(not_found.clone()));
    assert_eq!(cell.purge().err(), Some(not_found.clone()));
    assert_eq!(cell.close(CloseCondition::default()).err(), Some(not_found));
    assert_eq!(enqueue(&cell, 100, LARGE, &mailbox()), Pace::Go);
    let mut back = vec![(Position(0), message(1))];
    cell.requeue(Some(id), &mut back);
    assert!(back.is_empty());
    cell.take_back(&mut vec![(Position(1), message(1))]);
    cell.discard(&[0..1, 1..2]);
    cell.loaded(cell.info().id, Loaded::default());
    cell.settle(Some(id), 1, &[]);
    cell.resume(id);
    cell.share_prefetch(id, None);
    assert!(!cell.unsubscribe(id).was_last, "its consumers went with it");
    assert_eq!((cell.counts().ready, cell.counts().consumers), (0, 0));
}

#[test]
fn unsubscribe_says_whether_it_was_the_last_consumer() {
    let (cell, consumer) = (cell(), mailbox());
    let ids = [(); 2].map(|()| cell.subscribe(subscription(&consumer, false, 0)).unwrap());
    assert!(!cell.unsubscribe(ids[0]).was_last);
    assert!(!cell.unsubscribe(ids[0]).was_last, "it is gone already");
    assert!(cell.unsubscribe(ids[1]).was_last);
    assert!(!cell.unsubscribe(ids[1]).was_last);
}

#[test]
fn take_says_how_many_still_wait() {
    let cell = cell();
    assert_eq!(cell.take(false, &mailbox()), Ok((Taken::Nothing, 0)));
    enqueue(&cell, 2, 1, &mailbox());
    for (position, waiting) in [(0, 1), (1, 0)] {
        let taken = Taken::Message(Position(position), message(1), false);
        assert_eq!(cell.take(false, &mailbox()), Ok((taken, waiting)));
    }
    cell.settle(None, 2, &[]);
    assert_eq!(cell.counts(), QueueCounts::default());
}

#[test]
fn consumers_are_told_when_the_time_to_settle_changes() {
    let (cell, consumer) = (cell(), mailbox());
    cell.subscribe(subscription(&consumer, false, 1)).unwrap();
    let wakes = Wakes::new();
    for (settings, ms, kind, told) in [
        (QueueSettings::default(), None, QueueKind::Classic, false),
        (QueueSettings { consumer_timeout_ms: Some(5), ..Default::default() }, Some(5), QueueKind::Classic, true),
        (
            QueueSettings { consumer_timeout_ms: Some(5), kind: QueueKind::Quorum, ..Default::default() },
            Some(5),
            QueueKind::Quorum,
            false,
        ),
        (QueueSettings { consumer_timeout_ms: Some(0), ..Default::default() }, None, QueueKind::Classic, true),
        (QueueSettings::default(), None, QueueKind::Classic, false),
    ] {
        assert!(consumer.register(&wakes.waker()));
        let woken = wakes.count();
        cell.configure(&settings);
        assert_eq!((cell.consumer_timeout_ms(), cell.kind()), (ms, kind), "{settings:?}");
        let events = take(&consumer).events;
        let is_it = |event: &Event| matches!(event, Event::ConsumerTimeoutChanged { key: 3, queue: QueueId(1) });
        assert_eq!((events.len(), events.iter().all(is_it)), (usize::from(told), true), "{settings:?}");
        assert_eq!(wakes.count() - woken, usize::from(told), "{settings:?}");
    }
}
