//! Messages that expire, by a clock that the tests move.

use super::*;

/// A queue, its clock, and who takes messages from it.
struct Fixture {
    clock: Arc<ManualClock>,
    cell: QueueCell,
    mailbox: Arc<Mailbox>,
}

fn fixture(message_ttl_ms: Option<u64>) -> Fixture {
    let clock = Arc::new(ManualClock::at(Timestamp(1_000)));
    let context = Arc::new(QueueContext::new(Arc::clone(&clock) as Arc<dyn Clock>, Arc::new(NoProperties)));
    let settings = QueueSettings { message_ttl_ms, ..QueueSettings::default() };
    let cell = QueueCell::with(cell().info().clone(), &settings, &context, None);
    Fixture { clock, cell, mailbox: mailbox() }
}

impl Fixture {
    fn publish(&self, ttl_ms: Option<u64>) {
        let mut draft = Draft::new(Vec::new(), "", "q");
        draft.stamp(self.clock.now(), ttl_ms);
        self.cell.enqueue(&mut vec![draft.message()], Fanout::One, &self.mailbox);
    }

    fn get(&self) -> Option<(Position, Message)> {
        match self.cell.take(false, &self.mailbox).unwrap().0 {
            Taken::Message(position, message, _) => Some((position, message)),
            Taken::OnDisk | Taken::Nothing => None,
        }
    }
}

#[test]
fn what_comes_back_after_its_time_is_gone() {
    for (of_queue, of_message) in [(Some(50), None), (None, Some(50)), (Some(50), Some(500)), (Some(500), Some(50))] {
        let queue = fixture(of_queue);
        queue.publish(of_message);
        let got = queue.get().unwrap();
        queue.clock.advance(49);
        queue.cell.requeue(None, &mut vec![got]);
        let got = queue.get().unwrap();
        queue.clock.advance(1);
        queue.cell.requeue(None, &mut vec![got]);
        assert_eq!(queue.cell.counts(), QueueCounts::default(), "{of_queue:?} {of_message:?}");
        assert_eq!(queue.get(), None, "{of_queue:?} {of_message:?}");
    }
}

#[test]
fn what_a_consumer_gives_back_is_looked_at_before_the_next_one_gets_it() {
    let queue = fixture(None);
    let consumer = queue.cell.subscribe(subscription(&queue.mailbox, false, 1)).unwrap();
    // They never waited: each went straight to the consumer.
    queue.publish(Some(50));
    let delivered = take(&queue.mailbox).deliveries;
    assert_eq!(delivered.len(), 1);
    let mut back: Vec<_> = delivered.into_iter().map(|delivery| (delivery.position, delivery.message)).collect();
    queue.clock.advance(50);
    queue.cell.requeue(Some(consumer), &mut back);
    assert!(take(&queue.mailbox).deliveries.is_empty());
    assert_eq!(queue.cell.counts().ready, 0);
}

#[test]
fn what_comes_back_in_time_is_woken_for() {
    let queue = fixture(None);
    queue.publish(Some(50));
    let got = queue.get().unwrap();
    queue.clock.advance(20);
    queue.cell.requeue(None, &mut vec![got]);
    assert_eq!(queue.clock.next_due(), Some(Timestamp(1_050)));
    assert_eq!(queue.clock.advance(30), [QueueId(1)]);
    assert_eq!(queue.cell.wake(), Lease::Runs);
    assert_eq!(queue.cell.counts().ready, 0);
}

#[test]
fn what_is_put_in_place_again_expires_though_nothing_waited_meanwhile() {
    let queue = fixture(None);
    queue.publish(Some(50));
    let taken = queue.cell.take_at(Position(0)).unwrap().unwrap();
    // Nothing waits, and nothing depends on time.
    assert_eq!(queue.get(), None);
    queue.cell.put_in_place(taken);
    queue.clock.advance(50);
    queue.cell.wake();
    assert_eq!(queue.get(), None);
}
