//! A thread that consumes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use leveret_protocol::amqp091::frame::write_method;
use leveret_protocol::amqp091::method::{BasicAck, BasicConsume, BasicQos};
use leveret_protocol::amqp091::{Method, Table};

use crate::clock::{self, SECOND_NS};
use crate::connection::{Connection, Interest, PATIENCE_NS, Wait};
use crate::error::Error;
use crate::histogram::Histogram;
use crate::meter::{Control, Counters};
use crate::options::AckMode;
use crate::order::Ledger;
use crate::walker::{Delivery, Settled, Sink};

/// Deliveries of one read whose latency is all recorded; of those after them every [`SAMPLE_STEP`]th is. They share one
/// look at the clock, so that at full speed more samples would cost time and tell nothing.
const SAMPLE_ALL: u64 = 32;
const SAMPLE_STEP: u64 = 16;
/// What consumer tags begin with; the number of the queue follows.
const TAG: char = 'c';
/// A stamp this old is none: the body was written by somebody else.
const STAMP_AGE_MAX_NS: u64 = 3600 * SECOND_NS;

/// A consumer, its connection open.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// Where from.
    pub(crate) connection: Connection,
    /// Names of the queues.
    pub(crate) queues: Vec<String>,
    /// How to acknowledge.
    pub(crate) ack: AckMode,
    /// Whether the start of a body is the time it was to be sent.
    pub(crate) stamps: Stamps,
    /// The check on order and losses, if one is made.
    pub(crate) ledger: Option<Ledger>,
    /// What was done.
    pub(crate) counters: Arc<Counters>,
    /// Whether to stop.
    pub(crate) control: Arc<Control>,
}

/// Whether latency is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamps {
    /// By the stamp in each body.
    Read,
    /// It is not: a backlog's age is no latency.
    Ignored,
}

impl Consumer {
    /// Sets the prefetch (0 is no limit), which each queue has for itself, and subscribes. Deliveries may be waiting when
    /// this returns.
    pub(crate) fn subscribe(&mut self, prefetch: u16) -> Result<(), Error> {
        if prefetch > 0 {
            let qos = BasicQos { prefetch_size: 0, prefetch_count: prefetch, global: false };
            self.connection
                .call(1, "basic.qos", &qos, |method| matches!(method, Method::BasicQosOk(_)).then_some(()))?;
        }
        for (number, queue) in self.queues.iter().enumerate() {
            let consume = BasicConsume {
                ticket: 0,
                queue,
                // Short, because it comes with every delivery.
                consumer_tag: &format!("{TAG}{number}"),
                no_local: false,
                no_ack: self.ack == AckMode::Auto,
                exclusive: false,
                // From the first answer on, deliveries may come before any other.
                no_wait: number > 0,
                arguments: Table::default(),
            };
            if number > 0 {
                self.connection.tell(1, &consume)?;
                continue;
            }
            self.connection.call(1, "basic.consume", &consume, |method| {
                matches!(method, Method::BasicConsumeOk(_)).then_some(())
            })?;
        }
        Ok(())
    }

    /// Consumes until it is told to stop; returns the ledger.
    pub(crate) fn run(mut self) -> Option<Ledger> {
        let outcome = self.consume();
        let ledger = self.ledger.take();
        match outcome {
            Ok(()) => self.connection.close(),
            Err(error) => self.control.fail(error),
        }
        ledger
    }

    fn consume(&mut self) -> Result<(), Error> {
        let mut acks = Acks { mode: self.ack, pending: Vec::new(), unacked: 0, last_tag: 0 };
        let mut received = 0;
        let mut read = true;
        loop {
            if read {
                let now_ns = clock::now_ns();
                let mut events = Events {
                    queues: &self.queues,
                    now_ns,
                    count: 0,
                    stamps: self.stamps,
                    latency: &mut self.counters.latency(),
                    acks: &mut acks,
                    ledger: self.ledger.as_mut(),
                    counters: &self.counters,
                    control: &self.control,
                };
                self.connection.walk(&mut events)?;
                if events.count > 0 {
                    received += events.count;
                    self.counters.messages.store(received, Ordering::Relaxed);
                    self.counters.last_ns.store(now_ns, Ordering::Relaxed);
                }
            }
            if self.control.stop_consuming.load(Ordering::Relaxed) {
                acks.settle_rest();
                acks.flush(&mut self.connection)?;
                return Ok(());
            }
            acks.flush(&mut self.connection)?;
            // Acks that found no room must not stop the reading: the broker may be waiting for just that.
            read = if acks.pending.is_empty() {
                self.connection.read(Wait::Patiently)?
            } else {
                self.connection.wait(Interest::ReadOrWrite, PATIENCE_NS)? && self.connection.read(Wait::Never)?
            };
        }
    }
}

/// Acks to be sent, gathered over a read.
#[derive(Debug)]
struct Acks {
    mode: AckMode,
    pending: Vec<u8>,
    /// Deliveries since the last ack in mode `Multiple`.
    unacked: u32,
    last_tag: u64,
}

impl Acks {
    #[inline]
    fn delivered(&mut self, tag: u64) {
        match self.mode {
            AckMode::Auto => {}
            AckMode::Each => self.ack(tag, Reach::One),
            AckMode::Multiple(every) => {
                self.last_tag = tag;
                self.unacked += 1;
                if self.unacked >= every {
                    self.settle_rest();
                }
            }
        }
    }

    fn settle_rest(&mut self) {
        if self.unacked > 0 {
            self.unacked = 0;
            self.ack(self.last_tag, Reach::UpTo);
        }
    }

    #[inline]
    fn ack(&mut self, delivery_tag: u64, reach: Reach) {
        write_method(&mut self.pending, 1, &BasicAck { delivery_tag, multiple: reach == Reach::UpTo });
    }

    fn flush(&mut self, connection: &mut Connection) -> Result<(), Error> {
        if !self.pending.is_empty() {
            let sent = connection.send(&self.pending)?;
            self.pending.drain(..sent);
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    One,
    UpTo,
}

/// What a consumer makes of one read.
struct Events<'a> {
    queues: &'a [String],
    now_ns: u64,
    count: u64,
    stamps: Stamps,
    latency: &'a mut Histogram,
    acks: &'a mut Acks,
    ledger: Option<&'a mut Ledger>,
    counters: &'a Counters,
    control: &'a Control,
}

impl Sink for Events<'_> {
    #[inline]
    fn delivery(&mut self, delivery: &Delivery) {
        self.count += 1;
        self.acks.delivered(delivery.tag);
        let [time @ .., _, _, _, _, _, _, _, _] = delivery.head;
        if (self.count <= SAMPLE_ALL || self.count.is_multiple_of(SAMPLE_STEP))
            && self.stamps == Stamps::Read
            && delivery.size >= 8
        {
            let age_ns = self.now_ns.wrapping_sub(u64::from_be_bytes(time));
            if age_ns < STAMP_AGE_MAX_NS {
                self.latency.record(age_ns);
            }
        }
        if let Some(ledger) = &mut self.ledger {
            let [_, _, _, _, _, _, _, _, mark @ ..] = delivery.head;
            ledger.enter(u64::from_be_bytes(mark), delivery.redelivered);
        }
    }

    fn returned(&mut self) {}

    fn settled(&mut self, _: Settled) {}

    fn method(&mut self, method: Method<'_>) -> Result<(), Error> {
        match method {
            Method::BasicCancel(cancel) => {
                let number = cancel.consumer_tag.strip_prefix(TAG).and_then(|number| number.parse::<usize>().ok());
                let queue = number.and_then(|number| self.queues.get(number));
                Err(Error::Cancelled(queue.cloned().unwrap_or_default()))
            }
            other => self.counters.common_method(other, self.control),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walker::Walker;

    struct Settlements(Vec<(u64, bool)>);
    impl Sink for Settlements {
        fn delivery(&mut self, _: &Delivery) {}
        fn returned(&mut self) {}
        fn settled(&mut self, settled: Settled) {
            self.0.push((settled.tag, settled.multiple));
        }
        fn method(&mut self, _: Method<'_>) -> Result<(), Error> {
            Ok(())
        }
    }

    #[test]
    fn deliveries_are_acked_as_the_mode_says_and_none_is_left() {
        for (mode, acked) in [
            (AckMode::Auto, vec![]),
            (AckMode::Each, vec![(1, false), (2, false), (3, false), (4, false), (5, false)]),
            (AckMode::Multiple(2), vec![(2, true), (4, true), (5, true)]),
            (AckMode::Multiple(5), vec![(5, true)]),
        ] {
            let mut acks = Acks { mode, pending: Vec::new(), unacked: 0, last_tag: 0 };
            (1..=5).for_each(|tag| acks.delivered(tag));
            acks.settle_rest();
            let mut seen = Settlements(Vec::new());
            Walker::new(100).walk(&acks.pending, &mut seen).unwrap();
            assert_eq!(seen.0, acked, "{mode:?}");
        }
    }

    #[test]
    fn of_a_large_read_only_some_latencies_are_recorded() {
        for (deliveries, age_ns, size, samples) in
            [(10, 5, 16, 10), (32, 5, 8, 32), (320, 5, 16, 50), (10, 5, 7, 0), (10, STAMP_AGE_MAX_NS, 16, 0)]
        {
            let (counters, control, mut latency) = (Counters::default(), Control::default(), Histogram::default());
            let mut acks = Acks { mode: AckMode::Auto, pending: Vec::new(), unacked: 0, last_tag: 0 };
            let now_ns = STAMP_AGE_MAX_NS * 2;
            let mut events = Events {
                queues: &["q".to_owned()],
                now_ns,
                count: 0,
                stamps: Stamps::Read,
                latency: &mut latency,
                acks: &mut acks,
                ledger: None,
                counters: &counters,
                control: &control,
            };
            let mut head = [0; 16];
            head[..8].copy_from_slice(&(now_ns - age_ns).to_be_bytes());
            for tag in 0..deliveries {
                events.delivery(&Delivery { tag, redelivered: false, size, head });
            }
            assert_eq!(latency.samples(), samples, "{deliveries} of age {age_ns} and size {size}");
        }
    }
}
