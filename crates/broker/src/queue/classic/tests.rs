//! Rules of the classic queue, on sinks that record what they are handed.
//!
//! Messages are single letters, and a consumer's deliveries are written as a word; `*` marks a redelivered one.

mod expiry;
mod limits;
mod priorities;
mod random;
mod random_rules;
mod requeue;
mod single_active;

use crate::Weight;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::rc::Rc;

use super::*;
use crate::mailbox::cost;
use crate::message::Draft;
use crate::queue::backlog::Backlog;
use crate::queue::{Delivery, Loaded};

/// A mailbox of bounded room, for one thread.
#[derive(Debug, Clone)]
struct TestSink(Rc<RefCell<SinkState>>);

#[derive(Debug)]
struct SinkState {
    capacity: usize,
    octets: usize,
    deliveries: Vec<Delivery>,
    /// Keys that asked to be resumed.
    asked: Vec<u32>,
}

impl TestSink {
    fn new(capacity: usize) -> Self {
        Self(Rc::new(RefCell::new(SinkState { capacity, octets: 0, deliveries: Vec::new(), asked: Vec::new() })))
    }

    /// Takes everything out, which makes room.
    fn read(&self) -> Vec<Delivery> {
        let mut state = self.0.borrow_mut();
        state.octets = 0;
        std::mem::take(&mut state.deliveries)
    }

    fn take_asked(&self) -> Vec<u32> {
        std::mem::take(&mut self.0.borrow_mut().asked)
    }
}

impl Sink for TestSink {
    fn room(&self) -> usize {
        let state = self.0.borrow();
        state.capacity.saturating_sub(state.octets)
    }

    fn deliver(&self, batch: &mut Vec<Delivery>) -> Option<Waker> {
        let mut state = self.0.borrow_mut();
        assert!(!batch.is_empty(), "an empty batch is no reason to call");
        state.octets += batch.iter().map(cost).sum::<usize>();
        state.deliveries.append(batch);
        None
    }

    fn await_room(&self, key: u32) -> bool {
        let full = self.room() == 0;
        if full {
            self.0.borrow_mut().asked.push(key);
        }
        full
    }
}

const UNLIMITED: usize = 1 << 30;

fn message(body: &[u8]) -> Message {
    let mut draft = Draft::new(Vec::new(), "", "q");
    draft.body(body);
    draft.message()
}

/// Room for so many messages of one letter.
fn room_for(messages: usize) -> usize {
    messages * (message(b"a").size() + size_of::<Delivery>())
}

fn letter(message: &Message) -> char {
    char::from(message.body()[0])
}

fn word(deliveries: &[Delivery]) -> String {
    deliveries.iter().fold(String::new(), |mut word, delivery| {
        let mark = if delivery.redelivered { "*" } else { "" };
        let _ = write!(word, "{}{mark}", letter(&delivery.message));
        word
    })
}

/// What a consumer asks for, as far as a test is about it.
#[derive(Clone)]
struct Wants {
    no_ack: bool,
    exclusive: bool,
    priority: i32,
    prefetch: u16,
    capacity: usize,
    shared: Option<Arc<SharedPrefetch>>,
}

impl Default for Wants {
    fn default() -> Self {
        Self { no_ack: false, exclusive: false, priority: 0, prefetch: 0, capacity: UNLIMITED, shared: None }
    }
}

fn prefetch(prefetch: u16) -> Wants {
    Wants { prefetch, ..Wants::default() }
}

fn priority(priority: i32, prefetch: u16) -> Wants {
    Wants { priority, prefetch, ..Wants::default() }
}

fn no_ack() -> Wants {
    Wants { no_ack: true, ..Wants::default() }
}

/// A consumer and what it read.
struct Reader {
    id: ConsumerId,
    sink: TestSink,
    held: Vec<Delivery>,
}

impl Reader {
    /// Reads what came, as a word.
    fn read(&mut self) -> String {
        let deliveries = self.sink.read();
        let word = word(&deliveries);
        self.held.extend(deliveries);
        word
    }

    /// Takes these letters from what was read.
    fn give(&mut self, letters: &str) -> Vec<(Position, Message)> {
        let take = |wanted| {
            let index = self.held.iter().position(|delivery| letter(&delivery.message) == wanted).unwrap();
            let delivery = self.held.remove(index);
            (delivery.position, delivery.message)
        };
        letters.chars().map(take).collect()
    }
}

impl<S: Sink> Classic<S> {
    /// The messages that wait in memory, in order; whether they were handed out before.
    pub(in crate::queue) fn listed(&self) -> Vec<(u64, &Message, bool)> {
        self.lanes().lane(0).map(Backlog::listed).unwrap_or_default()
    }
}

#[derive(Default)]
struct Bench {
    queue: Classic<TestSink>,
    keys: u32,
}

impl Bench {
    /// A queue with messages waiting.
    fn with(letters: &str) -> Self {
        let mut bench = Self::default();
        bench.enqueue(letters);
        bench
    }

    fn enqueue(&mut self, letters: &str) {
        let mut batch: Vec<_> = letters.bytes().map(|letter| message(&[letter])).collect();
        self.queue.enqueue(&mut batch);
        assert!(batch.is_empty());
    }

    fn try_consumer(&mut self, wants: Wants) -> Result<Reader, ExclusiveUse> {
        let Wants { no_ack, exclusive, priority, prefetch, capacity, shared } = wants;
        let sink = TestSink::new(capacity);
        let key = self.keys;
        self.keys += 1;
        let subscription = Subscription {
            sink: sink.clone(),
            key,
            tag: "".into(),
            no_ack,
            exclusive,
            priority,
            prefetch,
            shared,
            subscriber: Subscriber::default(),
        };
        let id = self.queue.subscribe(subscription)?;
        Ok(Reader { id, sink, held: Vec::new() })
    }

    fn consumer(&mut self, wants: Wants) -> Reader {
        self.try_consumer(wants).unwrap()
    }

    fn consumers<const N: usize>(&mut self, wants: [Wants; N]) -> [Reader; N] {
        wants.map(|wants| self.consumer(wants))
    }

    /// Settles letters that a consumer read.
    fn settle(&mut self, reader: &mut Reader, letters: &str) {
        let count = reader.give(letters).len();
        self.queue.settle(Some(reader.id), u32::try_from(count).unwrap(), Weight::default());
    }

    /// Gives letters back that a consumer read.
    fn requeue(&mut self, reader: &mut Reader, letters: &str) {
        let mut messages = reader.give(letters);
        self.queue.requeue(Some(reader.id), &mut messages);
        assert!(messages.is_empty());
    }

    /// What waits, taken out.
    fn rest(&mut self) -> String {
        let mut rest = String::new();
        while let Taken::Message(_, message, redelivered) = self.queue.take(true) {
            rest.push(letter(&message));
            rest.push_str(if redelivered { "*" } else { "" });
        }
        rest
    }

    /// Ready, unsettled, consumers.
    fn counts(&self) -> (usize, usize, usize) {
        (self.queue.ready_count(), self.queue.unsettled_count(), self.queue.consumer_count())
    }
}

fn read_all<const N: usize>(readers: &mut [Reader; N]) -> [String; N] {
    readers.each_mut().map(Reader::read)
}

#[test]
fn messages_come_in_order_however_early_the_consumer_is() {
    for (before, batches) in [("", vec!["abc", "d"]), ("abc", vec!["d"]), ("abcd", vec![]), ("a", vec!["b", "c", "d"])]
    {
        let mut bench = Bench::with(before);
        let mut reader = bench.consumer(Wants::default());
        for batch in batches {
            bench.enqueue(batch);
        }
        assert_eq!(reader.read(), "abcd", "{before} waited");
        let positions: Vec<_> = reader.held.iter().map(|delivery| delivery.position.0).collect();
        assert_eq!(positions, [0, 1, 2, 3], "{before} waited");
        assert_eq!((bench.counts(), bench.queue.delivered_count()), ((0, 4, 1), 4));
    }
}

#[test]
fn equal_consumers_take_turns() {
    for (before, after, words) in [
        ("", vec!["abcdef"], ["ad", "be", "cf"]),
        ("", vec!["a", "b", "c", "d", "e", "f"], ["ad", "be", "cf"]),
        ("", vec!["ab", "cdef"], ["ad", "be", "cf"]),
        // The first to come gets what waited.
        ("abc", vec!["defghi"], ["abcdg", "eh", "fi"]),
    ] {
        let mut bench = Bench::with(before);
        let mut readers = bench.consumers([(); 3].map(|()| Wants::default()));
        for batch in &after {
            bench.enqueue(batch);
        }
        assert_eq!(read_all(&mut readers), words, "{before} waited, then {after:?}");
    }
}

#[test]
fn a_consumer_that_comes_or_goes_does_not_disturb_the_turns_of_others() {
    let mut bench = Bench::default();
    let mut readers = bench.consumers([(); 3].map(|()| Wants::default()));
    bench.enqueue("a");
    assert!(bench.queue.unsubscribe(readers[1].id).is_some());
    bench.enqueue("b");
    let mut late = bench.consumer(Wants::default());
    bench.enqueue("cde");
    assert_eq!((read_all(&mut readers), late.read()), (["ac".into(), String::new(), "bd".into()], "e".into()));
}

#[test]
fn a_consumer_that_regains_credit_waits_for_its_turn() {
    let mut bench = Bench::default();
    let [mut one, mut two] = bench.consumers([prefetch(1), prefetch(0)]);
    bench.enqueue("abc");
    assert_eq!((one.read(), two.read()), ("a".into(), "bc".into()));
    bench.settle(&mut one, "a");
    bench.enqueue("de");
    assert_eq!((one.read(), two.read()), ("e".into(), "d".into()));
}

#[test]
fn higher_priorities_are_served_first_while_they_have_credit() {
    for (wants, words) in [
        ([priority(0, 0), priority(1, 0), priority(2, 0)], ["", "", "abcdef"]),
        ([priority(0, 0), priority(1, 2), priority(2, 1)], ["def", "bc", "a"]),
        ([priority(-1, 0), priority(0, 1), priority(0, 1)], ["cdef", "a", "b"]),
        ([priority(i32::MIN, 0), priority(i32::MAX, 3), priority(0, 0)], ["", "abc", "def"]),
    ] {
        let mut bench = Bench::default();
        let mut readers = bench.consumers(wants);
        bench.enqueue("abcdef");
        assert_eq!(read_all(&mut readers), words);
    }
}

#[test]
fn credit_regained_puts_a_higher_priority_first_again() {
    let mut bench = Bench::default();
    let [mut low, mut high] = bench.consumers([priority(0, 0), priority(5, 1)]);
    bench.enqueue("ab");
    assert_eq!((low.read(), high.read()), ("b".into(), "a".into()));
    bench.settle(&mut high, "a");
    bench.enqueue("cd");
    assert_eq!((low.read(), high.read()), ("d".into(), "c".into()));
}

#[test]
fn room_regained_puts_a_higher_priority_first_again() {
    let mut bench = Bench::default();
    let high = Wants { capacity: room_for(1), ..priority(5, 0) };
    let [mut low, mut high] = bench.consumers([priority(0, 0), high]);
    bench.enqueue("ab");
    assert_eq!((low.read(), high.read()), ("b".into(), "a".into()));
    // Nothing waits, but it must hear of the next message before the others do.
    assert_eq!(high.sink.take_asked(), [1]);
    bench.queue.resume(high.id);
    bench.enqueue("cd");
    assert_eq!((low.read(), high.read()), ("d".into(), "c".into()));
}

#[test]
fn prefetch_is_exact() {
    for (wants, first, settled, second) in [
        (prefetch(1), "a", "a", "b"),
        (prefetch(3), "abc", "b", "d"),
        (prefetch(3), "abc", "abc", "def"),
        (prefetch(6), "abcdef", "af", ""),
        (prefetch(0), "abcdef", "", ""),
        (Wants { no_ack: true, ..prefetch(1) }, "abcdef", "", ""),
    ] {
        for early in [true, false] {
            let mut bench = Bench::with(if early { "" } else { "abcdef" });
            let mut reader = bench.consumer(wants.clone());
            if early {
                bench.enqueue("abcdef");
            }
            assert_eq!(reader.read(), first);
            bench.settle(&mut reader, settled);
            assert_eq!(reader.read(), second, "{settled} settled");
            let unsettled = if wants.no_ack { 0 } else { reader.held.len() };
            assert_eq!(bench.counts(), (6 - first.len() - second.len(), unsettled, 1));
        }
    }
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let exclusive = || Wants { exclusive: true, ..Wants::default() };
    for (first, second, together) in [
        (Wants::default(), Wants::default(), true),
        (Wants::default(), exclusive(), false),
        (exclusive(), Wants::default(), false),
        (exclusive(), exclusive(), false),
    ] {
        let mut bench = Bench::default();
        let reader = bench.consumer(first);
        assert_eq!(bench.try_consumer(second.clone()).is_ok(), together);
        // Once the first one is gone, anybody may come.
        if !together {
            bench.queue.unsubscribe(reader.id);
            assert!(bench.try_consumer(second).is_ok());
        }
    }
}

#[test]
fn take_gives_the_first_message_and_counts_it_unless_no_ack() {
    let mut bench = Bench::with("abc");
    for (no_ack, letter_taken, counts) in [(false, 'a', (2, 1, 0)), (true, 'b', (1, 1, 0)), (false, 'c', (0, 2, 0))] {
        let Taken::Message(position, message, redelivered) = bench.queue.take(no_ack) else { panic!("{letter_taken}") };
        assert_eq!((letter(&message), redelivered, bench.counts()), (letter_taken, false, counts));
        assert_eq!(position.0, u64::from(u32::from(letter_taken) - u32::from('a')));
    }
    assert_eq!(bench.queue.take(false), Taken::Nothing);
    assert_eq!(bench.queue.delivered_count(), 3);
    bench.queue.requeue(None, &mut vec![(Position(2), message(b"c")), (Position(0), message(b"a"))]);
    assert_eq!(bench.counts(), (2, 0, 0));
    assert_eq!(bench.queue.take(false), Taken::Message(Position(0), message(b"a"), true));
    bench.queue.settle(None, 1, Weight::default());
    assert_eq!((bench.counts(), bench.rest()), ((1, 0, 0), "c*".into()));
}

#[test]
fn ready_bytes_are_those_of_what_waits() {
    let size = message(b"a").size();
    let mut bench = Bench::with("abc");
    assert_eq!(bench.queue.ready_bytes(), 3 * size);
    let mut reader = bench.consumer(prefetch(2));
    assert_eq!(bench.queue.ready_bytes(), size);
    assert_eq!(reader.read(), "ab");
    bench.queue.unsubscribe(reader.id);
    bench.requeue(&mut reader, "a");
    assert_eq!(bench.queue.ready_bytes(), 2 * size);
    assert_eq!(bench.rest(), "a*c");
    assert_eq!(bench.queue.ready_bytes(), 0);
}

#[test]
fn a_consumer_without_room_waits_for_it() {
    for (capacity, words) in [(1, ["a", "b", "c"]), (2, ["ab", "cd", "ef"]), (5, ["abcde", "f", ""])] {
        let mut bench = Bench::default();
        let mut reader = bench.consumer(Wants { capacity: room_for(capacity), ..Wants::default() });
        bench.enqueue("abcdef");
        for expected in words {
            // It asked once for every time it was full and something waited.
            let waits = bench.queue.ready_count() > 0;
            assert_eq!(reader.sink.take_asked(), vec![0; usize::from(waits)]);
            assert_eq!(reader.read(), expected, "room for {capacity}");
            if waits {
                bench.queue.resume(reader.id);
            }
        }
        assert_eq!(bench.queue.ready_count() + bench.queue.unsettled_count(), 6);
    }
}

#[test]
fn a_message_larger_than_the_room_overshoots_once() {
    let mut bench = Bench::default();
    let mut reader = bench.consumer(Wants { capacity: room_for(1) + 1, ..Wants::default() });
    bench.enqueue("abc");
    assert_eq!((reader.read(), reader.sink.take_asked()), ("ab".into(), vec![0]));
}

#[test]
fn others_take_over_from_a_consumer_without_room() {
    let mut bench = Bench::default();
    let small = Wants { capacity: room_for(1), ..no_ack() };
    let mut readers = bench.consumers([small, no_ack()]);
    bench.enqueue("abcd");
    assert_eq!(read_all(&mut readers), ["a", "bcd"]);
    bench.queue.resume(readers[0].id);
    bench.enqueue("efg");
    assert_eq!(readers.each_mut().map(|reader| reader.read().len()), [1, 2]);
}

#[test]
fn shared_prefetch_limits_the_consumers_of_two_queues_together() {
    let shared = Arc::new(SharedPrefetch::new(3, 0));
    let mut benches = ["abcd", "efgh"].map(Bench::with);
    let wants = || Wants { shared: Some(Arc::clone(&shared)), ..prefetch(2) };
    let mut readers = benches.each_mut().map(|bench| bench.consumer(wants()));
    assert_eq!(read_all(&mut readers), ["ab", "e"]);
    // A channel settles with the queue, releases, and resumes each of its consumers.
    let [one, two] = &mut readers;
    benches[0].settle(one, "a");
    assert_eq!((one.read(), two.read()), (String::new(), String::new()));
    shared.release(1);
    benches[1].queue.resume(two.id);
    benches[0].queue.resume(one.id);
    assert_eq!((one.read(), two.read()), (String::new(), "f".into()));
    // A higher limit is used at once, as far as each consumer's own goes.
    shared.set_limit(10);
    for (bench, reader) in benches.iter_mut().zip([&*one, &*two]) {
        bench.queue.share_prefetch(reader.id, Some(Arc::clone(&shared)));
    }
    assert_eq!((one.read(), two.read()), ("c".into(), String::new()));
    // Without it only their own counts.
    shared.set_limit(1);
    benches[0].queue.share_prefetch(one.id, None);
    benches[0].settle(one, "bc");
    assert_eq!(one.read(), "d");
}

#[test]
fn no_ack_consumers_are_free_of_shared_prefetch() {
    let mut bench = Bench::with("abc");
    let shared = Some(Arc::new(SharedPrefetch::new(1, 1)));
    assert_eq!(bench.consumer(Wants { shared: shared.clone(), ..no_ack() }).read(), "abc");
    bench.enqueue("d");
    assert_eq!(bench.consumer(Wants { shared, ..Wants::default() }).read(), "");
}

#[test]
fn close_drops_what_waits_and_gives_back_the_consumers() {
    let mut bench = Bench::default();
    let mut readers = bench.consumers([prefetch(1), prefetch(1)]);
    bench.enqueue("abcde");
    assert_eq!(read_all(&mut readers), ["a", "b"]);
    let (count, consumers) = bench.queue.close();
    let keys: Vec<_> = consumers.iter().map(|consumer| consumer.key).collect();
    assert_eq!((count, keys, bench.queue.ready_bytes()), (3, vec![0, 1], 0));
    assert_eq!((bench.queue.ready_count(), bench.queue.consumer_count()), (0, 0));
    // Settling afterwards finds nobody and harms nobody.
    bench.settle(&mut readers[0], "a");
}
