//! A thread that consumes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use leveret_protocol::amqp091::frame::write_method;
use leveret_protocol::amqp091::method::{BasicAck, BasicConsume, BasicQos};
use leveret_protocol::amqp091::{Method, Table};

use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
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
/// Delays are told in milliseconds: what comes early by less is a matter of rounding.
const DELAY_UNIT_NS: u64 = MILLISECOND_NS;

/// A consumer, its connection open.
#[derive(Debug)]
pub(crate) struct Consumer {
    /// Where from.
    pub(crate) connection: Connection,
    /// Names of the queues.
    pub(crate) queues: Vec<String>,
    /// How to acknowledge.
    pub(crate) ack: AckMode,
    /// What the start of a body is.
    pub(crate) stamps: Stamps,
    /// The check on order and losses, if one is made.
    pub(crate) ledger: Option<Ledger>,
    /// What was done.
    pub(crate) counters: Arc<Counters>,
    /// Whether to stop.
    pub(crate) control: Arc<Control>,
}

/// What the stamp in each body tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stamps {
    /// When the message was to be sent, from which its latency follows.
    Sent,
    /// When the message was to arrive, from which follows how late it is, or whether it comes too early.
    Due,
    /// Nothing of interest: a backlog's age is no latency.
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
                    early: 0,
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
                if events.early > 0 {
                    self.counters.early.fetch_add(events.early, Ordering::Relaxed);
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
    /// Of these, those before their time.
    early: u64,
    stamps: Stamps,
    latency: &'a mut Histogram,
    acks: &'a mut Acks,
    ledger: Option<&'a mut Ledger>,
    counters: &'a Counters,
    control: &'a Control,
}

impl Events<'_> {
    #[inline]
    fn look_at_stamp(&mut self, delivery: &Delivery) {
        let [time @ .., _, _, _, _, _, _, _, _] = delivery.head;
        let time_ns = u64::from_be_bytes(time);
        let age_ns = self.now_ns.wrapping_sub(time_ns);
        match self.stamps {
            Stamps::Sent if self.count <= SAMPLE_ALL || self.count.is_multiple_of(SAMPLE_STEP) => {
                if age_ns < STAMP_AGE_MAX_NS {
                    self.latency.record(age_ns);
                }
            }
            // The few that come at the wrong time are what is looked for, so that all are recorded.
            Stamps::Due if age_ns < STAMP_AGE_MAX_NS => self.latency.record(age_ns),
            Stamps::Due => match time_ns.wrapping_sub(self.now_ns) {
                0..DELAY_UNIT_NS => self.latency.record(0),
                DELAY_UNIT_NS..STAMP_AGE_MAX_NS => self.early += 1,
                STAMP_AGE_MAX_NS.. => {}
            },
            Stamps::Sent | Stamps::Ignored => {}
        }
    }
}

impl Sink for Events<'_> {
    #[inline]
    fn delivery(&mut self, delivery: &Delivery) {
        self.count += 1;
        self.acks.delivered(delivery.tag);
        if self.stamps != Stamps::Ignored && delivery.size >= 8 {
            self.look_at_stamp(delivery);
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
    fn of_a_large_read_some_latencies_and_all_latenesses_are_recorded() {
        let hour = STAMP_AGE_MAX_NS.cast_signed();
        for (stamps, deliveries, age_ns, size, samples, early) in [
            (Stamps::Sent, 10, 5, 16, 10, 0),
            (Stamps::Sent, 32, 5, 8, 32, 0),
            (Stamps::Sent, 320, 5, 16, 50, 0),
            (Stamps::Sent, 10, 5, 7, 0, 0),
            (Stamps::Sent, 10, hour, 16, 0, 0),
            (Stamps::Sent, 10, -5, 16, 0, 0),
            (Stamps::Due, 320, 5, 16, 320, 0),
            (Stamps::Due, 320, -5, 16, 320, 0),
            (Stamps::Due, 320, -999_999, 16, 320, 0),
            (Stamps::Due, 320, -1_000_000, 16, 0, 320),
            (Stamps::Due, 320, 0, 16, 320, 0),
            (Stamps::Due, 10, hour, 16, 0, 0),
            (Stamps::Due, 10, -hour, 16, 0, 0),
            (Stamps::Due, 10, 5, 7, 0, 0),
            (Stamps::Ignored, 10, 5, 16, 0, 0),
        ] {
            let (counters, control, mut latency) = (Counters::default(), Control::default(), Histogram::default());
            let mut acks = Acks { mode: AckMode::Auto, pending: Vec::new(), unacked: 0, last_tag: 0 };
            let now_ns = STAMP_AGE_MAX_NS * 2;
            let mut events = Events {
                queues: &["q".to_owned()],
                now_ns,
                count: 0,
                early: 0,
                stamps,
                latency: &mut latency,
                acks: &mut acks,
                ledger: None,
                counters: &counters,
                control: &control,
            };
            let mut head = [0; 16];
            head[..8].copy_from_slice(&now_ns.wrapping_sub_signed(age_ns).to_be_bytes());
            for tag in 0..deliveries {
                events.delivery(&Delivery { tag, redelivered: false, size, head });
            }
            let early_seen = events.early;
            let seen = (latency.samples(), early_seen);
            assert_eq!(seen, (samples, early), "{deliveries} {stamps:?} of age {age_ns} and size {size}");
        }
    }
}
