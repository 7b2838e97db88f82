//! A queue takes no message twice as long as it has it.

use std::borrow::Cow;

use super::*;
use crate::fake_store::FakeStore;
use crate::properties::{Afterlife, Death, Property};
use crate::store::MemoryPressure;
use crate::value::{Table, Value};

/// The id of a message stands where its exchange does; an empty one is none.
#[derive(Debug)]
struct ExchangeIsId;

impl Properties for ExchangeIsId {
    fn headers(&self, message: &Message) -> Table {
        let id = Some(message.exchange()).filter(|id| !id.is_empty());
        id.map(|id| (Name::from(crate::dedup::ID_HEADER), Value::text(id))).into_iter().collect()
    }

    fn property<'a>(&self, _: &'a Message, _: Property) -> Option<Cow<'a, [u8]>> {
        None
    }

    fn deaths(&self, _: &Message) -> Vec<(Name, String)> {
        Vec::new()
    }

    fn after_death(&self, message: &Message, death: &Death<'_>) -> Afterlife {
        NoProperties.after_death(message, death)
    }

    fn with_header(&self, message: &Message, _: &str, _: &Value) -> Message {
        message.clone()
    }
}

struct Bench {
    cell: QueueCell,
    clock: Arc<ManualClock>,
    store: Arc<FakeStore>,
}

impl Bench {
    fn new(settings: &QueueSettings) -> Self {
        Self::with(settings, FakeStore::new(), Vec::new())
    }

    fn with(settings: &QueueSettings, store: Arc<FakeStore>, restored: RestoredLanes) -> Self {
        let clock = Arc::new(ManualClock::default());
        let context = Arc::new(QueueContext::new(Arc::clone(&clock) as Arc<dyn Clock>, Arc::new(ExchangeIsId)));
        let settings = QueueSettings { deduplicates: true, ..settings.clone() };
        let info = QueueInfo { durable: true, ..cell().info().clone() };
        let cell = QueueCell::with(info, &settings, &context, Some((&store.shared(), restored)));
        Self { cell, clock, store }
    }

    /// Publishes messages with these ids; how many wait then.
    fn publish(&self, ids: &[&str]) -> usize {
        let mut batch = Vec::new();
        for id in ids {
            let mut draft = Draft::new(Vec::new(), id, "q");
            draft.set_persistent();
            draft.set_priority(u8::from(*id == "high"));
            draft.stamp(self.clock.now(), None);
            batch.push(draft.message());
        }
        let enqueued = self.cell.enqueue(&mut batch, Fanout::One, &mailbox());
        assert_eq!(enqueued.refused, [0; 0], "a duplicate is not refused");
        self.cell.counts().ready
    }

    fn take(&self) -> (Position, Message) {
        let (Taken::Message(position, message, _), _) = self.cell.take(false, &mailbox()).unwrap() else {
            panic!("nothing waits")
        };
        (position, message)
    }
}

#[test]
fn a_message_is_taken_again_once_the_other_one_is_gone() {
    let settings = QueueSettings { max_priority: 1, ..QueueSettings::default() };
    let bench = Bench::new(&settings);
    assert_eq!(bench.publish(&["a", "a", "b", "", "", "high", "high"]), 5);
    assert_eq!(bench.publish(&["a", "high"]), 5);
    let (high, _) = bench.take();
    let (position, a) = bench.take();
    assert_eq!((a.exchange(), bench.publish(&["a", "high"])), ("a", 3), "those handed out are still there");
    bench.cell.requeue(None, &mut vec![(position, a)]);
    assert_eq!(bench.publish(&["a"]), 4);
    bench.take();
    bench.cell.settle(None, 2, &[position.0..position.0 + 1, high.0..high.0 + 1]);
    assert_eq!(bench.publish(&["a", "high", "b"]), 5);
    bench.cell.purge().unwrap();
    assert_eq!(bench.publish(&["a", "b"]), 2);
}

#[test]
fn what_expired_or_gave_way_is_gone() {
    let bench = Bench::new(&QueueSettings { message_ttl_ms: Some(10), ..QueueSettings::default() });
    bench.publish(&["a"]);
    bench.clock.advance(9);
    assert_eq!(bench.publish(&["a"]), 1);
    bench.clock.advance(1);
    assert_eq!(bench.publish(&["a"]), 1, "another one");
    let bench = Bench::new(&QueueSettings { max_length: Some(1), ..QueueSettings::default() });
    assert_eq!(bench.publish(&["a", "b"]), 1);
    assert_eq!(bench.publish(&["a"]), 1);
    assert_eq!(bench.take().1.exchange(), "a");
}

#[test]
fn ids_come_back_with_the_messages_after_a_restart() {
    let before = Bench::new(&QueueSettings::default());
    before.publish(&["a", "b"]);
    before.store.write_all();
    let restored = Restored { first: 0, next: 2, messages: 2, delivered_before: 0 };
    before.store.set_pressure(MemoryPressure::All);
    let after = Bench::with(&QueueSettings::default(), Arc::clone(&before.store), vec![(0, restored)]);
    after.cell.wake();
    while let Some(loaded) = after.store.answer(after.cell.info().id, 1) {
        after.cell.loaded(after.cell.info().id, loaded);
    }
    assert_eq!(after.publish(&["a", "b", "c"]), 3);
}
