//! A thread that publishes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use leveret_protocol::amqp091::Method;

use crate::batch::{Batch, Run};
use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::connection::{Connection, Interest, PATIENCE_NS, Wait};
use crate::error::Error;
use crate::histogram::Histogram;
use crate::meter::{Control, Counters};
use crate::order::Mark;
use crate::pace::Pace;
use crate::walker::{Delivery, Settled, Sink};
use crate::window::Window;

/// How long before a message is due the thread stops sleeping and spins. The kernel wakes it late by about this much,
/// and the broker needs the core more than we do.
const SPIN_NS: u64 = 10_000;
/// From this far behind its schedule on, a publisher writes all due messages at once to catch up.
const LATE_NS: u64 = MILLISECOND_NS;
/// Without confirms, the writes between two looks at what the broker may have to say.
const WRITES_BETWEEN_READS: u32 = 16;
/// How long a publisher waits for the last confirms, or a stopped one for a broker that reads nothing.
const FAREWELL_NS: u64 = 10 * SECOND_NS;

/// A publisher, its connection open and in confirm mode if it has a window.
#[derive(Debug)]
pub(crate) struct Publisher {
    /// Where to.
    pub(crate) connection: Connection,
    /// What.
    pub(crate) batch: Batch,
    /// When; as fast as possible without.
    pub(crate) pace: Option<Pace>,
    /// Publishes that may wait for their confirm.
    pub(crate) window: Option<Window>,
    /// The mark of the first message.
    pub(crate) mark: Mark,
    /// How many messages in all.
    pub(crate) quota: u64,
    /// What was done.
    pub(crate) counters: Arc<Counters>,
    /// Whether to stop.
    pub(crate) control: Arc<Control>,
}

/// Whether the connection is still good for a goodbye.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    Whole,
    /// A write had to be given up inside a message.
    Stuck,
}

impl Publisher {
    /// Publishes until the quota is reached or it is told to stop; then waits for the confirms.
    pub(crate) fn run(mut self) {
        tighten_timers();
        let outcome = match self.publish() {
            Ok(Progress::Whole) => self.await_confirms().map(|()| Progress::Whole),
            other => other,
        };
        let confirms = self.window.is_some();
        match outcome {
            Ok(Progress::Whole) => {
                self.connection.close();
                if !confirms {
                    // Written is not received: without confirms, the answer to the goodbye tells that all of it was.
                    self.counters.last_ns.store(clock::now_ns(), Ordering::Relaxed);
                }
            }
            Ok(Progress::Stuck) => {}
            Err(error) => self.control.fail(error),
        }
        self.counters.finished.store(true, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.control.stop_publishing.load(Ordering::Relaxed)
    }

    fn publish(&mut self) -> Result<Progress, Error> {
        let mut sent = 0;
        let mut writes: u32 = 0;
        while sent < self.quota && !self.stopped() {
            let now_ns = clock::now_ns();
            let room = self.window.as_ref().map_or(usize::MAX, Window::room);
            if room == 0 {
                self.read_events(Wait::Patiently)?;
                continue;
            }
            let due = match &self.pace {
                Some(pace) => match pace.due(sent, now_ns) {
                    0 => {
                        self.pause(pace.intended_ns(sent), now_ns)?;
                        continue;
                    }
                    due if now_ns - pace.intended_ns(sent) > LATE_NS => due,
                    _ => 1,
                },
                None => u64::MAX,
            };
            let allowed = usize::try_from(due.min(self.quota - sent)).unwrap_or(usize::MAX);
            let run = self.batch.run(sent, allowed.min(room));
            self.stamp(sent, run, now_ns);
            let octets = self.write(run)?;
            let written = self.batch.whole(run, octets);
            sent += written as u64;
            self.counters.messages.store(sent, Ordering::Relaxed);
            self.counters.octets.fetch_add(octets as u64, Ordering::Relaxed);
            self.counters.last_ns.store(now_ns, Ordering::Relaxed);
            if written < run.count {
                return Ok(Progress::Stuck);
            }
            writes = writes.wrapping_add(1);
            if self.window.is_some() || writes.is_multiple_of(WRITES_BETWEEN_READS) {
                self.read_events(Wait::Never)?;
            }
        }
        Ok(Progress::Whole)
    }

    /// Stamps the next messages with the time they were to be sent, not the time they are.
    fn stamp(&mut self, sent: u64, run: Run, now_ns: u64) {
        let mark = |at| self.mark.of(sent + at);
        match self.pace {
            Some(pace) => self.batch.stamp(run, |at| pace.intended_ns(sent + at), mark),
            None => self.batch.stamp(run, |_| now_ns, mark),
        }
        if let Some(window) = &mut self.window {
            for at in (0..).take(run.count) {
                window.sent(self.pace.map_or(now_ns, |pace| pace.intended_ns(sent + at)));
            }
        }
    }

    /// Writes messages of the batch; returns how many octets. Some are left only if the broker takes nothing any more and
    /// the load is over.
    fn write(&mut self, run: Run) -> Result<usize, Error> {
        let mut at = 0;
        let mut give_up_ns = None;
        loop {
            let rest = self.batch.octets(run, at);
            let length = rest.len();
            let sent = if rest.is_empty() { 0 } else { self.connection.send(rest)? };
            at += sent;
            if sent == length {
                return Ok(at);
            }
            // Confirms are read while the write waits: a broker that cannot get rid of them may stop reading.
            if self.connection.wait(Interest::ReadOrWrite, PATIENCE_NS)? {
                self.read_events(Wait::Never)?;
            }
            if self.stopped() && clock::now_ns() > *give_up_ns.get_or_insert_with(|| clock::now_ns() + FAREWELL_NS) {
                return Ok(at);
            }
        }
    }

    /// Waits for the time of the next message, reading what comes meanwhile.
    fn pause(&mut self, until_ns: u64, now_ns: u64) -> Result<(), Error> {
        let span_ns = until_ns.saturating_sub(now_ns);
        if span_ns > SPIN_NS {
            if self.connection.wait(Interest::Read, span_ns - SPIN_NS)? {
                self.read_events(Wait::Never)?;
            }
        } else {
            std::hint::spin_loop();
        }
        Ok(())
    }

    fn await_confirms(&mut self) -> Result<(), Error> {
        let deadline_ns = clock::now_ns() + FAREWELL_NS;
        while self.window.as_ref().is_some_and(|window| window.unsettled() > 0) && clock::now_ns() < deadline_ns {
            self.read_events(Wait::Patiently)?;
        }
        Ok(())
    }

    fn read_events(&mut self, wait: Wait) -> Result<(), Error> {
        if !self.connection.read(wait)? {
            return Ok(());
        }
        let now_ns = clock::now_ns();
        let mut events = Events {
            window: self.window.as_mut(),
            latency: &mut self.counters.latency(),
            now_ns,
            confirmed: 0,
            refused: 0,
            counters: &self.counters,
            control: &self.control,
        };
        self.connection.walk(&mut events)?;
        let (confirmed, refused) = (events.confirmed, events.refused);
        if confirmed + refused > 0 {
            self.counters.confirmed.fetch_add(confirmed, Ordering::Relaxed);
            self.counters.refused.fetch_add(refused, Ordering::Relaxed);
            self.counters.last_ns.store(now_ns, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// What a publisher makes of one read.
struct Events<'a> {
    window: Option<&'a mut Window>,
    latency: &'a mut Histogram,
    now_ns: u64,
    confirmed: u64,
    refused: u64,
    counters: &'a Counters,
    control: &'a Control,
}

impl Sink for Events<'_> {
    fn delivery(&mut self, _: &Delivery) {}

    fn returned(&mut self) {
        self.counters.returned.fetch_add(1, Ordering::Relaxed);
    }

    fn settled(&mut self, settled: Settled) {
        let Self { window: Some(window), latency, now_ns, confirmed, refused, .. } = self else { return };
        let counter = if settled.refused { refused } else { confirmed };
        window.settle(settled, |sent_ns| {
            latency.record(now_ns.saturating_sub(sent_ns));
            *counter += 1;
        });
    }

    fn method(&mut self, method: Method<'_>) -> Result<(), Error> {
        self.counters.common_method(method, self.control)
    }
}

/// Asks the kernel to wake this thread when it is time; by default it may be 50 µs late to save power.
fn tighten_timers() {
    #[cfg(target_os = "linux")]
    // Without it messages go out a little later, which shows in the latency measured.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
}
