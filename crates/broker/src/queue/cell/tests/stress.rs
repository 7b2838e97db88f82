//! Threads that publish and threads that consume, all at once and without waiting for time to pass.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use super::*;
use crate::queue::Delivery;

const PUBLISHERS: u64 = 2;
const MESSAGES_EACH: u64 = 20_000;
/// Messages per call, so that calls are many and batches differ.
const BATCH_MAX: u64 = 37;
/// Deliveries a consumer collects before it settles them.
const SETTLE_EVERY: usize = 16;
/// Seconds, or wake-ups out of the blue, that a thread waits before it counts as forgotten.
const WAITS_MAX: usize = 20;

/// Wakes a thread that waits for it.
struct Alarm {
    thread: Thread,
    rung: AtomicBool,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Alarm {
    fn of_this_thread() -> Arc<Self> {
        Arc::new(Self { thread: std::thread::current(), rung: AtomicBool::new(false) })
    }

    /// Waits to be woken. Who is not woken has been forgotten, and the test fails instead of hanging.
    fn wait(&self) {
        for _ in 0..WAITS_MAX {
            std::thread::park_timeout(Duration::from_secs(1));
            if self.rung.swap(false, Ordering::SeqCst) {
                return;
            }
        }
        panic!("never woken");
    }
}

/// A message that says who published it, and as which.
fn numbered(publisher: u64, number: u64) -> Message {
    let mut draft = Draft::new(Vec::new(), "", "q");
    draft.body(&publisher.to_be_bytes());
    draft.body(&number.to_be_bytes());
    draft.message()
}

fn numbers(message: &Message) -> (u64, u64) {
    let (publisher, number) = message.body().split_at(8);
    (u64::from_be_bytes(publisher.try_into().unwrap()), u64::from_be_bytes(number.try_into().unwrap()))
}

/// Publisher and number; a redelivered message, out of order by its nature, counts as another publisher's.
fn seen(delivery: &Delivery) -> (u64, u64) {
    let (publisher, number) = numbers(&delivery.message);
    (if delivery.redelivered { publisher + PUBLISHERS } else { publisher }, number)
}

fn publish(cell: &QueueCell, publisher: u64) {
    let mailbox = mailbox();
    let mut batch = Vec::new();
    for number in 0..MESSAGES_EACH {
        batch.push(numbered(publisher, number));
        if number % (1 + number % BATCH_MAX) == 0 {
            cell.enqueue(&mut batch, Fanout::One, &mailbox);
        }
    }
    cell.enqueue(&mut batch, Fanout::One, &mailbox);
}

/// One consumer's way with what it is handed.
struct Consumer<'a> {
    cell: &'a QueueCell,
    id: ConsumerId,
    /// Deliveries not settled.
    held: Vec<Delivery>,
    /// Every so many deliveries one is given back instead of settled; 0 is never.
    requeue_every: usize,
    no_ack: bool,
    seen: Vec<(u64, u64)>,
    settled: &'a AtomicU64,
    peers: &'a Mutex<Vec<Waker>>,
}

impl Consumer<'_> {
    fn handle(&mut self, inbox: &mut Inbox) {
        let idle = inbox.deliveries.is_empty();
        for delivery in inbox.deliveries.drain(..) {
            if self.no_ack {
                self.seen.push(seen(&delivery));
                self.count(1);
            } else {
                self.held.push(delivery);
            }
        }
        // With nothing more on its way, a batch that is not full is settled as it is.
        if self.held.len() >= SETTLE_EVERY || idle {
            self.settle();
        }
        for _ in inbox.awaiting_room.drain(..) {
            self.cell.resume(self.id);
        }
    }

    fn settle(&mut self) {
        let mut back = Vec::new();
        let mut done = 0;
        for (index, delivery) in self.held.drain(..).enumerate() {
            if self.requeue_every > 0 && !delivery.redelivered && index % self.requeue_every == 1 {
                back.push((delivery.position, delivery.message));
            } else {
                self.seen.push(seen(&delivery));
                done += 1;
            }
        }
        self.cell.requeue(Some(self.id), &mut back);
        self.cell.settle(Some(self.id), done, &[]);
        self.count(u64::from(done));
    }

    /// The one who settles the last message wakes everybody.
    fn count(&self, settled: u64) {
        if self.settled.fetch_add(settled, Ordering::SeqCst) + settled == PUBLISHERS * MESSAGES_EACH {
            self.peers.lock().iter().for_each(Waker::wake_by_ref);
        }
    }

    fn all_done(&self) -> bool {
        self.settled.load(Ordering::SeqCst) == PUBLISHERS * MESSAGES_EACH
    }
}

fn consume(mut consumer: Consumer<'_>, mailbox: &Mailbox) -> Vec<(u64, u64)> {
    let alarm = Alarm::of_this_thread();
    let waker = Waker::from(Arc::clone(&alarm));
    consumer.peers.lock().push(waker.clone());
    let mut inbox = Inbox::default();
    while !consumer.all_done() {
        mailbox.take(&mut inbox);
        let idle = inbox.is_empty() && consumer.held.is_empty();
        consumer.handle(&mut inbox);
        if idle && !consumer.all_done() && mailbox.register(&waker) {
            alarm.wait();
        }
    }
    consumer.seen
}

#[test]
fn every_message_reaches_one_consumer_in_its_publishers_order() {
    let cell = cell();
    let (settled, peers) = (AtomicU64::new(0), Mutex::new(Vec::new()));
    // Small prefetch and requeues, large prefetch, and none.
    let consumers = [(false, 20, 5), (false, 1000, 0), (true, 0, 0)].map(|(no_ack, prefetch, requeue_every)| {
        let mailbox = mailbox();
        let id = cell.subscribe(subscription(&mailbox, no_ack, prefetch)).unwrap();
        let (settled, peers) = (&settled, &peers);
        let (held, seen) = (Vec::new(), Vec::new());
        (Consumer { cell: &cell, id, held, requeue_every, no_ack, seen, settled, peers }, mailbox)
    });
    let seen: Vec<_> = std::thread::scope(|scope| {
        let consumers = consumers.map(|(consumer, mailbox)| scope.spawn(move || consume(consumer, &mailbox)));
        for publisher in 0..PUBLISHERS {
            let cell = &cell;
            scope.spawn(move || publish(cell, publisher));
        }
        consumers.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for seen in &seen {
        for publisher in 0..PUBLISHERS {
            let numbers = seen.iter().filter(|(from, _)| *from == publisher).map(|(_, number)| *number);
            assert!(numbers.is_sorted(), "publisher {publisher}");
        }
    }
    let mut all: Vec<_> = seen.concat().into_iter().map(|(from, number)| (from % PUBLISHERS, number)).collect();
    all.sort_unstable();
    let expected = (0..PUBLISHERS).flat_map(|from| (0..MESSAGES_EACH).map(move |number| (from, number)));
    assert!(all.into_iter().eq(expected));
    assert_eq!(cell.counts(), QueueCounts { ready: 0, unsettled: 0, consumers: 3 });
}
