//! A queue with priorities and a store: each lane is a queue of its own there.

#![expect(clippy::single_range_in_vec_init, reason = "a list of ranges often has one")]

use super::*;
use crate::fake_store::FakeStore;
use crate::queue::lanes::place;
use crate::queue::{DeadLetterStrategy, DeadLetterTo};
use crate::store::MemoryPressure;

const ID: QueueId = QueueId(1);

struct Bench {
    store: Arc<FakeStore>,
    clock: Arc<ManualClock>,
    context: Arc<QueueContext>,
    cell: QueueCell,
}

impl Bench {
    fn new(settings: &QueueSettings) -> Self {
        Self::with(FakeStore::new(), settings, Vec::new())
    }

    fn with(store: Arc<FakeStore>, settings: &QueueSettings, restored: RestoredLanes) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp(1000)));
        let context = Arc::new(QueueContext::new(Arc::clone(&clock) as Arc<dyn Clock>, Arc::new(NoProperties)));
        let info = QueueInfo { durable: true, ..cell().info().clone() };
        let settings = QueueSettings { max_priority: 9, ..settings.clone() };
        let cell = QueueCell::with(info, &settings, &context, Some((&store.shared(), restored)));
        Self { store, clock, context, cell }
    }

    /// Publishes persistent messages of these priorities.
    fn publish(&self, priorities: &[u8], octets: usize, ttl_ms: Option<u64>) -> Option<StorePosition> {
        let message = |priority: &u8| {
            let mut draft = Draft::new(Vec::new(), "", "q");
            draft.set_persistent();
            draft.set_priority(*priority);
            draft.body(&vec![*priority; octets]);
            draft.stamp(self.clock.now(), ttl_ms);
            draft.message()
        };
        self.cell.enqueue(&mut priorities.iter().map(message).collect(), Fanout::One, &mailbox()).stored
    }

    fn kept(&self, lane: u64) -> Vec<u64> {
        self.store.kept(Area::Log, QueueId(ID.0 + lane))
    }

    /// Answers what a lane asked for.
    fn answer(&self, lane: u64, count: usize) -> bool {
        let id = QueueId(ID.0 + lane);
        self.store.answer(id, count).map(|loaded| self.cell.loaded(id, loaded)).is_some()
    }

    fn get(&self) -> Taken {
        self.cell.take(false, &mailbox()).unwrap().0
    }

    /// Priorities of everything, taken out and read back as need be.
    fn drain(&self) -> Vec<u8> {
        let mut drained = Vec::new();
        loop {
            match self.get() {
                Taken::Message(Position(at), message, _) => {
                    drained.push(message.priority().unwrap());
                    self.cell.settle(None, 1, &[at..at + 1]);
                }
                Taken::OnDisk => assert!((0..10).any(|lane| self.answer(lane, 2)), "nothing is asked for"),
                Taken::Nothing => return drained,
            }
        }
    }
}

#[test]
fn each_lane_is_kept_under_an_id_of_its_own() {
    let bench = Bench::new(&QueueSettings::default());
    // The last of the positions tells when all of it is on disk.
    assert_eq!(bench.publish(&[0, 5, 5, 9, 0], 1, None), Some(bench.store.handed(Area::Log)));
    assert_eq!((bench.kept(0), bench.kept(5), bench.kept(9)), (vec![0, 1], vec![0, 1], vec![0]));
    let at = |lane, at| place(lane, Position(at)).0;
    let settled = [at(9, 0)..at(9, 1), at(5, 0)..at(5, 1), 0..1, at(5, 1)..at(5, 2), 1..2];
    for _ in 0..5 {
        assert!(matches!(bench.get(), Taken::Message(..)));
    }
    let written = bench.cell.settle(None, 5, &settled);
    assert_eq!(written, Some(bench.store.handed(Area::Log)), "the last of them");
    assert!((0..10).all(|lane| bench.kept(lane).is_empty()));
}

#[test]
fn a_purge_and_the_end_are_told_for_each_lane() {
    for ends in [false, true] {
        let bench = Bench::new(&QueueSettings::default());
        bench.publish(&[0, 5, 5, 9, 0], 1, None);
        if ends {
            assert_eq!(bench.cell.close(CloseCondition::default()), Ok(5));
        } else {
            assert_eq!(bench.cell.purge().map(|(count, _)| count), Ok(5));
        }
        assert!((0..10).all(|lane| bench.kept(lane).is_empty()), "{ends}");
    }
}

#[test]
fn a_queue_that_is_restored_goes_on_with_each_lane() {
    let bench = Bench::new(&QueueSettings::default());
    bench.publish(&[0, 5, 9, 5, 0, 0], 1, None);
    let Taken::Message(Position(at), ..) = bench.get() else { panic!("nothing waits") };
    bench.cell.settle(None, 1, &[at..at + 1]);
    let Taken::Message(..) = bench.get() else { panic!("nothing waits") };
    let written = bench.store.write(Area::Log, u64::MAX);
    // One start for all lanes: each brings what it has into one store.
    for lane in [0_u64, 5] {
        let (store, restored) = bench.store.after_crash(QueueId(ID.0 + lane), written);
        let again = Bench::with(store, &QueueSettings::default(), vec![(usize::try_from(lane).unwrap(), restored)]);
        let expected = if lane == 0 { vec![0; 3] } else { vec![5; 2] };
        assert_eq!(again.cell.counts().ready, expected.len());
        assert_eq!(again.drain(), expected);
        assert!(again.kept(lane).is_empty());
        again.publish(&[u8::try_from(lane).unwrap()], 1, None);
        assert_eq!(again.kept(lane), [if lane == 0 { 3 } else { 2 }], "no position is used again");
    }
    let (_, restored) = bench.store.after_crash(QueueId(ID.0 + 9), written);
    assert_eq!((restored.messages, restored.next), (0, 1));
}

#[test]
fn lanes_leave_memory_and_come_back_each_by_itself() {
    let bench = Bench::new(&QueueSettings::default());
    bench.store.set_pressure(MemoryPressure::All);
    let priorities: Vec<u8> = (0..60).map(|index| [0, 5, 9][index % 3]).collect();
    bench.publish(&priorities, LARGE, None);
    bench.store.write_all();
    bench.publish(&[0, 5, 9], 1, None);
    let in_memory = bench.store.memory();
    assert!(in_memory < 10 * LARGE.cast_signed(), "{in_memory}");
    let mut expected = priorities.clone();
    expected.extend([0, 5, 9]);
    expected.sort_unstable_by(|one, two| two.cmp(one));
    bench.store.write_all();
    assert_eq!(bench.drain(), expected);
    assert!((0..10).all(|lane| bench.kept(lane).is_empty()));
    assert_eq!(bench.store.memory(), 0);
}

#[test]
fn what_expired_while_the_node_was_down_dies_as_soon_as_it_is_read() {
    let to = DeadLetterTo { exchange: "dlx".into(), routing_key: None, strategy: DeadLetterStrategy::AtMostOnce };
    for dead_letter in [Some(to), None] {
        let settings = QueueSettings { message_ttl_ms: Some(100), dead_letter, ..QueueSettings::default() };
        let bench = Bench::new(&settings);
        bench.publish(&[0, 0, 0], 1, None);
        let (store, restored) = bench.store.after_crash(ID, bench.store.write(Area::Log, u64::MAX));
        let again = Bench::with(store, &settings, vec![(0, restored)]);
        again.clock.advance(100);
        assert!(again.answer(0, 2), "nobody asks for it, but it has to be looked at");
        assert!(again.answer(0, 2));
        assert_eq!(again.cell.counts().ready, 0);
        let departed: usize =
            std::iter::from_fn(|| again.context.dead_letters.pop()).map(|dead| dead.messages.len()).sum();
        let is_kept = settings.dead_letter.is_some();
        assert_eq!(departed, if is_kept { 3 } else { 0 });
        assert_eq!(again.kept(0).len(), if is_kept { 3 } else { 0 }, "it stays until its copies are safe");
    }
}

#[test]
fn a_limit_holds_over_lanes_on_disk() {
    let bench = Bench::new(&QueueSettings::default());
    bench.store.set_pressure(MemoryPressure::All);
    bench.publish(&[5; 20], LARGE, None);
    bench.publish(&[0; 20], LARGE, None);
    bench.store.write_all();
    bench.publish(&[0, 5], 1, None);
    bench.cell.configure(&QueueSettings { max_priority: 9, max_length: Some(12), ..QueueSettings::default() });
    assert_eq!(bench.cell.counts().ready, 12);
    assert_eq!((bench.kept(5).len(), bench.kept(0).len()), (0, 12));
    bench.publish(&[9, 9, 0], 1, None);
    assert_eq!((bench.cell.counts().ready, bench.kept(9).len()), (12, 0), "the highest give way first");
}
