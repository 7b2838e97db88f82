//! What a queue says of itself.

use super::*;
use crate::queue::{Octets, QueueReport};

fn durable(kind: QueueKind) -> (QueueCell, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::default());
    let store = crate::fake_store::FakeStore::new().shared();
    let context = Arc::new(QueueContext::new(Arc::clone(&clock) as Arc<dyn Clock>, Arc::new(NoProperties)));
    let info = QueueInfo { id: QueueId(1), vhost: "/".into(), name: "q".into(), auto_delete: false, durable: true };
    let settings = QueueSettings { kind, ..QueueSettings::default() };
    (QueueCell::with(info, &settings, &context, Some((&store, Vec::new()))), clock)
}

fn persistent(body_size: usize) -> Message {
    let mut draft = Draft::new(Vec::new(), "", "q");
    draft.set_persistent();
    draft.body(&vec![b'x'; body_size]);
    draft.message()
}

fn put(cell: &QueueCell, messages: Vec<Message>) {
    let mut messages = messages;
    cell.enqueue(&mut messages, Fanout::One, &mailbox());
}

#[test]
fn persistent_messages_count_where_they_survive() {
    let mixed = || vec![message(1), persistent(2), message(4), persistent(8)];
    for (kind, expected) in [(QueueKind::Classic, (2, Some(10))), (QueueKind::Quorum, (4, Some(15)))] {
        let (cell, _) = durable(kind);
        put(&cell, mixed());
        // What was handed out counts as well.
        let consumer = mailbox();
        cell.subscribe(subscription(&consumer, false, 3)).unwrap();
        let QueueReport { persistent, octets, ready, unsettled, .. } = cell.report();
        assert_eq!((persistent, octets.persistent), expected, "{kind:?}");
        assert_eq!((ready, unsettled, octets.ready, octets.unsettled), (1, 3, Some(8), 7), "{kind:?}");
        assert_eq!(octets.ready_in_memory, 8);
    }
    let transient = cell();
    put(&transient, mixed());
    assert_eq!((transient.report().persistent, transient.report().octets.persistent), (0, Some(0)));
}

#[test]
fn octets_follow_messages_through_a_quorum_queue() {
    let (cell, _) = durable(QueueKind::Quorum);
    let consumer = mailbox();
    let id = cell.subscribe(subscription(&consumer, false, 0)).unwrap();
    put(&cell, vec![message(1), message(2), message(4), message(8)]);
    let octets = || {
        let Octets { ready, unsettled, .. } = cell.report().octets;
        (ready, unsettled)
    };
    assert_eq!(octets(), (Some(0), 15));
    let deliveries = take(&consumer).deliveries;
    cell.unsubscribe(id);
    let at = |index: usize| deliveries[index].position;
    cell.settle(Some(id), 1, std::slice::from_ref(&(at(0).0..at(0).0 + 1)));
    assert_eq!(octets(), (Some(0), 14));
    cell.requeue(Some(id), &mut vec![(at(1), message(2)), (at(3), message(8))]);
    assert_eq!(octets(), (Some(10), 4));
    cell.reject(Some(id), vec![(at(2), message(4))]);
    assert_eq!(octets(), (Some(10), 0));
    assert!(matches!(cell.take(false, &mailbox()), Ok((Taken::Message(..), 1))));
    assert_eq!(octets(), (Some(8), 2));
    cell.purge().unwrap();
    assert_eq!(octets(), (Some(0), 2));
}

#[test]
fn capacity_is_the_share_of_the_time_in_which_consumers_could_take_more() {
    let (cell, clock) = durable(QueueKind::Classic);
    let consumer = mailbox();
    let id = cell.subscribe(subscription(&consumer, false, 1)).unwrap();
    let share = || format!("{:.2}", cell.report().capacity);
    assert_eq!(share(), "1.00");
    put(&cell, vec![message(1), message(1)]);
    clock.advance(60_000);
    assert_eq!(share(), "0.00");
    cell.settle(Some(id), 1, &[]);
    assert_eq!(share(), "0.00", "the other one was handed out, and nothing waits");
    clock.advance(1_000);
    assert_eq!(share(), "0.50");
}

#[test]
fn a_queue_knows_about_when_it_was_touched() {
    let (cell, clock) = durable(QueueKind::Classic);
    clock.advance(5_000);
    let first = cell.report().touched;
    // Looking at it told the time, and does not touch it.
    assert_eq!(cell.report().touched, first);
    put(&cell, vec![message(1)]);
    assert_eq!(cell.report().touched.ms_since(first), 5_000);
}

#[test]
fn octets_from_before_a_restart_are_known_once_somebody_counted_them() {
    let store = crate::fake_store::FakeStore::new();
    let info = QueueInfo { id: QueueId(1), vhost: "/".into(), name: "q".into(), auto_delete: false, durable: true };
    let before = QueueCell::stored(info.clone(), &store.shared(), None);
    put(&before, vec![persistent(1), persistent(2), persistent(4)]);
    store.write_all();
    drop(before);
    let restored = Restored { first: 0, next: 3, messages: 3, delivered_before: 0 };
    let cell = QueueCell::stored(info, &store.shared(), Some(restored));
    let octets = || {
        let QueueReport { octets, persistent, .. } = cell.report();
        (octets.ready, octets.persistent, octets.ready_in_memory, persistent)
    };
    assert_eq!(octets(), (None, None, 0, 3));
    while cell.count_stored().unwrap() {}
    assert_eq!(octets(), (Some(7), Some(7), 0, 3), "they stay on disk");
    put(&cell, vec![persistent(8), message(16)]);
    assert_eq!(octets(), (Some(31), Some(15), 24, 4));
}
