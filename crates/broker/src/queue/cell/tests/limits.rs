//! Batches that a limited queue takes in part, and publishers that have to wait for the disk.

#![expect(clippy::single_range_in_vec_init, reason = "a list of ranges often has one")]

use super::*;
use crate::fake_store::FakeStore;
use crate::store::MemoryPressure;

fn limited(max_length: Option<u64>, max_length_bytes: Option<u64>, overflow: Overflow) -> QueueSettings {
    QueueSettings { max_length, max_length_bytes, overflow, ..QueueSettings::default() }
}

fn with(settings: &QueueSettings, store: Option<&Arc<FakeStore>>) -> QueueCell {
    let info = QueueInfo { durable: true, ..cell().info().clone() };
    let store = store.map(FakeStore::shared);
    QueueCell::with(info, settings, &Arc::default(), store.as_ref().map(|store| (store, Vec::new())))
}

/// Publishes bodies of these sizes in one batch; says which were refused.
fn publish(cell: &QueueCell, sizes: &[usize]) -> Vec<usize> {
    let mut batch = sizes.iter().map(|size| message(*size)).collect();
    let refused = cell.enqueue(&mut batch, Fanout::One, &mailbox()).refused;
    assert!(batch.is_empty());
    refused
}

#[test]
fn exactly_those_without_room_are_refused() {
    let reject = Overflow::RejectPublish;
    for (length, bytes, sizes, expected) in [
        (Some(2), None, &[1, 1, 1, 1][..], &[2, 3][..]),
        (Some(0), None, &[1, 1], &[0, 1]),
        (None, Some(10), &[4, 4, 4, 2, 1], &[2, 4]),
        (None, Some(10), &[11, 10, 1], &[0, 2]),
        (Some(2), Some(10), &[11, 1, 20, 9, 0], &[0, 2, 4]),
        (None, None, &[1; 5], &[]),
        (Some(1), None, &[], &[]),
    ] {
        let cell = with(&limited(length, bytes, reject), None);
        assert_eq!(publish(&cell, sizes), expected, "{length:?} {bytes:?} {sizes:?}");
        assert_eq!(cell.may_refuse(), length.is_some() || bytes.is_some());
        assert_eq!(cell.counts().ready, sizes.len() - expected.len());
    }
}

#[test]
fn consumers_make_room_while_a_batch_comes_in() {
    for (max, prefetch, no_ack, count, refused) in [
        (1, 3, false, 10, 4..10),
        (2, 3, false, 10, 5..10),
        (0, 3, false, 10, 0..10),
        (1, 0, false, 1000, 0..0),
        (1, 0, true, 1000, 0..0),
    ] {
        let (cell, consumer) = (with(&limited(Some(max), None, Overflow::RejectPublish), None), mailbox());
        cell.subscribe(subscription(&consumer, no_ack, prefetch)).unwrap();
        assert_eq!(publish(&cell, &vec![1; count]), refused.collect::<Vec<_>>(), "{max} {prefetch}");
    }
}

#[test]
fn what_is_refused_is_not_stored() {
    let store = FakeStore::new();
    let cell = with(&limited(Some(2), None, Overflow::RejectPublish), Some(&store));
    let persistent = |_| {
        let mut draft = Draft::new(Vec::new(), "", "q");
        draft.set_persistent();
        draft.message()
    };
    let enqueued = cell.enqueue(&mut (0..4).map(persistent).collect(), Fanout::One, &mailbox());
    assert_eq!((enqueued.refused, enqueued.stored), (vec![2, 3], Some(StorePosition(1))));
    let enqueued = cell.enqueue(&mut (0..4).map(persistent).collect(), Fanout::One, &mailbox());
    assert_eq!((enqueued.refused, enqueued.stored), (vec![0, 1, 2, 3], None));
    assert_eq!(store.kept(Area::Log, QueueId(1)), [0, 1]);
}

#[test]
fn what_gives_way_leaves_the_store() {
    let store = FakeStore::new();
    let cell = with(&limited(Some(2), None, Overflow::DropHead), Some(&store));
    let mut draft = Draft::new(Vec::new(), "", "q");
    draft.set_persistent();
    cell.enqueue(&mut vec![draft.message(); 5], Fanout::One, &mailbox());
    assert_eq!(store.kept(Area::Log, QueueId(1)), [3, 4]);
}

/// A queue with so many large messages, most of them on disk only.
fn on_disk(store: &Arc<FakeStore>, count: usize, settings: &QueueSettings) -> QueueCell {
    store.set_pressure(MemoryPressure::All);
    let cell = with(settings, Some(store));
    publish(&cell, &vec![LARGE; count]);
    store.write_all();
    publish(&cell, &[1]);
    cell
}

#[test]
fn publishers_wait_while_the_first_has_to_be_read_to_give_way() {
    let store = FakeStore::new();
    let cell = on_disk(&store, 20, &limited(None, Some(1 << 40), Overflow::DropHead));
    cell.configure(&limited(None, Some(10 * LARGE as u64), Overflow::DropHead));
    assert!(store.is_loading(QueueId(1)));
    let publisher = mailbox();
    assert_eq!(enqueue(&cell, 1, 1, &publisher), Pace::Pause);
    assert!(!resumed(&publisher));
    let mut rounds = 0;
    while let Some(loaded) = store.answer(QueueId(1), 2) {
        cell.loaded(QueueId(1), loaded);
        rounds += 1;
    }
    assert!(resumed(&publisher), "it has given way");
    assert!(rounds < 10, "no more is read than has to go: {rounds}");
    assert_eq!((cell.counts().ready, enqueue(&cell, 1, 1, &publisher)), (11, Pace::Go));
}

#[test]
fn what_is_on_disk_gives_way_unread() {
    let store = FakeStore::new();
    let cell = on_disk(&store, 20, &QueueSettings::default());
    cell.configure(&limited(Some(10), None, Overflow::DropHead));
    for round in 0..40 {
        assert_eq!(cell.counts().ready, 10, "round {round}");
        assert_eq!(enqueue(&cell, 1, LARGE, &mailbox()), Pace::Go);
        store.write_all();
    }
    assert_eq!(store.kept(Area::PageOut, QueueId(1)).len(), 10);
    assert!(!store.is_loading(QueueId(1)));
}

#[test]
fn a_consumer_gets_what_is_left_of_what_was_read_for_it() {
    let store = FakeStore::new();
    let cell = on_disk(&store, 20, &limited(Some(20), None, Overflow::DropHead));
    let consumer = mailbox();
    let id = cell.subscribe(subscription(&consumer, false, 2)).unwrap();
    assert_eq!(take(&consumer).deliveries.len(), 1, "the first is kept in memory");
    let loaded = store.answer(QueueId(1), 10).unwrap();
    assert_eq!(loaded.messages.len(), 10);
    enqueue(&cell, 6, LARGE, &mailbox());
    assert_eq!(cell.counts().ready, 20);
    cell.loaded(QueueId(1), loaded);
    let positions: Vec<u64> = take(&consumer).deliveries.iter().map(|delivery| delivery.position.0).collect();
    assert_eq!(positions, [7]);
    let mut seen = positions;
    cell.settle(Some(id), 1, &[1..2]);
    while seen.len() < 20 {
        let inbox = take(&consumer);
        for delivery in &inbox.deliveries {
            seen.push(delivery.position.0);
            cell.settle(Some(id), 1, &[delivery.position.0..delivery.position.0 + 1]);
        }
        store.write_all();
        if let Some(loaded) = store.answer(QueueId(1), 3) {
            cell.loaded(QueueId(1), loaded);
        }
    }
    assert_eq!(seen, (7..27).collect::<Vec<_>>());
}
