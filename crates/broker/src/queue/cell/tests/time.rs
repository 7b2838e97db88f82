//! What a queue does as time passes: alarms, leases, and when messages came.

use super::*;
use crate::queue::{DeadLetterStrategy, DeadLetterTo};

struct Bench {
    clock: Arc<ManualClock>,
    context: Arc<QueueContext>,
    cell: QueueCell,
}

impl Bench {
    fn new(settings: &QueueSettings) -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp(1000)));
        let context = Arc::new(QueueContext::new(Arc::clone(&clock) as Arc<dyn Clock>, Arc::new(NoProperties)));
        let cell = QueueCell::with(cell().info().clone(), settings, &context, None);
        Self { clock, context, cell }
    }

    /// Publishes messages with these times to live; none does not say when it was published.
    fn publish(&self, ttls: &[Option<u64>]) {
        let message = |ttl: &Option<u64>| {
            let mut draft = Draft::new(Vec::new(), "", "q");
            if let Some(ttl) = ttl {
                draft.stamp(self.clock.now(), Some(*ttl));
            }
            draft.message()
        };
        self.cell.enqueue(&mut ttls.iter().map(message).collect(), Fanout::One, &mailbox());
    }

    /// Lets time pass, waking whoever asked for it; says how often, and whether the lease is over.
    fn pass(&self, ms: u64) -> (usize, bool) {
        let woken = self.clock.advance(ms);
        assert!(woken.iter().all(|id| *id == self.cell.info().id));
        let is_over = woken.iter().any(|_| self.cell.wake() == Lease::Over);
        (woken.len(), is_over)
    }

    fn due(&self) -> Option<u64> {
        self.clock.next_due().map(|due| due.0 - 1000)
    }

    fn dead(&self) -> usize {
        std::iter::from_fn(|| self.context.dead_letters.pop()).map(|departed| departed.messages.len()).sum()
    }
}

fn ttl(ms: u64) -> QueueSettings {
    let dead_letter =
        Some(DeadLetterTo { exchange: "dlx".into(), routing_key: None, strategy: DeadLetterStrategy::AtMostOnce });
    QueueSettings { message_ttl_ms: Some(ms), dead_letter, ..QueueSettings::default() }
}

fn lease(ms: u64) -> QueueSettings {
    QueueSettings { expires_ms: Some(ms), ..QueueSettings::default() }
}

#[test]
fn a_plain_queue_asks_the_clock_for_nothing() {
    let bench = Bench::new(&QueueSettings::default());
    bench.publish(&[None, None]);
    bench.cell.touch();
    assert_eq!((bench.due(), bench.clock.asked_count()), (None, 0));
}

#[test]
fn a_queue_is_woken_when_its_first_message_expires_and_no_more_than_that() {
    let bench = Bench::new(&ttl(50));
    for _ in 0..10 {
        bench.publish(&[None; 10]);
    }
    assert_eq!((bench.due(), bench.clock.asked_count()), (Some(50), 1));
    bench.clock.advance(20);
    bench.publish(&[None, Some(1000), Some(5)]);
    assert_eq!((bench.pass(29), bench.dead()), ((0, false), 0));
    assert_eq!((bench.pass(1), bench.dead(), bench.due()), ((1, false), 100, Some(70)));
    assert_eq!((bench.pass(20), bench.dead(), bench.due()), ((1, false), 3, None));
    assert_eq!(bench.clock.asked_count(), 0);
    bench.publish(&[None]);
    assert_eq!(bench.due(), Some(120));
}

#[test]
fn alarms_do_not_gather() {
    let bench = Bench::new(&QueueSettings::default());
    // Each message expires before the one ahead of it, which somebody takes.
    bench.publish(&[Some(10_000)]);
    for round in 1..1000 {
        bench.publish(&[Some(10_000 - 10 * round)]);
        assert!(matches!(bench.cell.take(true, &mailbox()), Ok((Taken::Message(..), 1))));
        assert_eq!((bench.due(), bench.clock.asked_count()), (Some(10_000 - 10 * round), 1));
    }
    assert_eq!(bench.pass(10), (1, false));
    assert_eq!((bench.cell.counts().ready, bench.clock.asked_count()), (0, 0));
}

#[test]
fn a_queue_that_is_gone_is_not_woken() {
    for settings in [ttl(1 << 40), lease(1 << 40)] {
        let bench = Bench::new(&settings);
        bench.publish(&[None]);
        assert!(bench.due().is_some());
        assert_eq!(bench.cell.close(CloseCondition::default()), Ok(1));
        assert_eq!(bench.clock.asked_count(), 0);
        bench.publish(&[None]);
        bench.cell.touch();
        assert_eq!((bench.clock.asked_count(), bench.cell.wake()), (0, Lease::Runs));
    }
}

#[test]
fn a_lease_ends_without_use() {
    type Act = fn(&Bench);
    let acts: [(&str, Act, bool); 6] = [
        ("nothing", |_| {}, false),
        ("publish", |bench| bench.publish(&[None]), false),
        ("purge", |bench| assert!(bench.cell.purge().is_ok()), false),
        ("get", |bench| assert!(bench.cell.take(true, &mailbox()).is_ok()), true),
        ("redeclare", |bench| bench.cell.touch(), true),
        (
            "consume and cancel",
            |bench| {
                let id = bench.cell.subscribe(subscription(&mailbox(), false, 1)).unwrap();
                assert!(bench.cell.unsubscribe(id).was_last);
            },
            true,
        ),
    ];
    for (what, act, renews) in acts {
        let bench = Bench::new(&lease(100));
        assert_eq!(bench.due(), Some(100), "{what}");
        assert_eq!(bench.pass(60), (0, false));
        act(&bench);
        assert_eq!(bench.pass(40), (1, !renews), "{what}");
        if renews {
            assert_eq!((bench.due(), bench.pass(59), bench.pass(1)), (Some(160), (0, false), (1, true)), "{what}");
        }
    }
}

#[test]
fn a_queue_with_consumers_is_used() {
    let bench = Bench::new(&lease(100));
    let id = bench.cell.subscribe(subscription(&mailbox(), false, 1)).unwrap();
    assert_eq!(bench.pass(1000), (1, false));
    assert_eq!(bench.due(), None);
    bench.cell.unsubscribe(id);
    assert_eq!((bench.due(), bench.pass(100)), (Some(1100), (1, true)));
}

#[test]
fn another_lease_begins_anew() {
    let bench = Bench::new(&lease(100));
    bench.clock.advance(60);
    bench.cell.configure(&lease(50));
    assert_eq!(bench.pass(49), (1, false), "the old one was to be over by now");
    assert_eq!(bench.pass(1), (1, true));
    bench.cell.configure(&QueueSettings::default());
    assert!(!bench.pass(1000).1);
}

#[test]
fn what_comes_back_too_old_is_handed_to_nobody() {
    for others_wait in [false, true] {
        let bench = Bench::new(&QueueSettings::default());
        let consumer = mailbox();
        let id = bench.cell.subscribe(subscription(&consumer, false, 1)).unwrap();
        bench.publish(&[Some(10)]);
        let mut held: Vec<_> =
            take(&consumer).deliveries.into_iter().map(|delivery| (delivery.position, delivery.message)).collect();
        bench.publish(if others_wait { &[None] } else { &[] });
        bench.clock.advance(10);
        bench.cell.requeue(Some(id), &mut held);
        let positions: Vec<_> = take(&consumer).deliveries.iter().map(|delivery| delivery.position.0).collect();
        assert_eq!(positions, vec![1; usize::from(others_wait)]);
        assert_eq!(bench.cell.counts().ready, 0);
    }
}

#[test]
fn what_comes_back_in_time_expires_by_itself() {
    let bench = Bench::new(&QueueSettings::default());
    let consumer = mailbox();
    let id = bench.cell.subscribe(subscription(&consumer, false, 1)).unwrap();
    bench.publish(&[Some(10)]);
    let mut held: Vec<_> =
        take(&consumer).deliveries.into_iter().map(|delivery| (delivery.position, delivery.message)).collect();
    assert_eq!(bench.due(), None);
    bench.cell.unsubscribe(id);
    bench.clock.advance(9);
    bench.cell.requeue(None, &mut held);
    assert_eq!((bench.due(), bench.cell.counts().ready), (Some(10), 1));
    assert_eq!((bench.pass(1), bench.cell.counts().ready), ((1, false), 0));
}

#[test]
fn a_message_is_told_when_it_came_where_that_matters() {
    for (settings, expected) in [(QueueSettings::default(), None), (ttl(10), Some(Timestamp(1000)))] {
        let bench = Bench::new(&QueueSettings::default());
        // Its publisher may have looked before.
        bench.cell.configure(&settings);
        bench.publish(&[None]);
        let Ok((Taken::Message(_, message, _), 0)) = bench.cell.take(true, &mailbox()) else { panic!("it is gone") };
        assert_eq!(message.published_at(), expected);
    }
}

#[test]
fn what_is_rejected_in_a_queue_that_is_gone_goes_nowhere() {
    let bench = Bench::new(&ttl(1000));
    let consumer = mailbox();
    let id = bench.cell.subscribe(subscription(&consumer, false, 1)).unwrap();
    bench.publish(&[None]);
    let held: Vec<_> =
        take(&consumer).deliveries.into_iter().map(|delivery| (delivery.position, delivery.message)).collect();
    bench.cell.close(CloseCondition::default()).unwrap();
    assert_eq!(bench.cell.reject(Some(id), held), None);
    assert_eq!(bench.dead(), 0);
}

#[test]
fn a_queue_that_is_used_when_its_lease_ends_stays() {
    let bench = Bench::new(&lease(100));
    assert_eq!(bench.pass(100), (1, true));
    bench.cell.touch();
    let if_over = CloseCondition { if_over: true, ..CloseCondition::default() };
    assert!(bench.cell.close(if_over).is_err(), "used again before it was closed");
    bench.clock.advance(100);
    assert_eq!(bench.cell.close(if_over), Ok(0));
}
