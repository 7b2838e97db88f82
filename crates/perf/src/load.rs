//! A run under load: opens the connections, starts the threads, watches them and gathers what they did.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use leveret_protocol::amqp091::Method;
use leveret_protocol::amqp091::method::{BasicPublish, ConfirmSelect};

use crate::batch::{Batch, Marks, Shape};
use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::connection::Connection;
use crate::consumer::{Consumer, Stamps};
use crate::error::Error;
use crate::message::Variant;
use crate::meter::{Control, Meter};
use crate::order::{Ledger, Mark, Spread, Verdict, judge};
use crate::pace::Pace;
use crate::plan::Plan;
use crate::process::Process;
use crate::publisher::Publisher;
use crate::report::{self, FillReport, Report};
use crate::topology;
use crate::watch::{QUIET_NS, TICK_NS, Watch};
use crate::window::Window;

/// The longest a check waits for messages on their way.
const STRAGGLERS_NS: u64 = 60 * SECOND_NS;
/// Publishers start this long after their threads, so that all are ready.
const START_DELAY_NS: u64 = 10 * MILLISECOND_NS;
/// Threads need little stack, and there may be thousands.
const STACK_BYTES: usize = 256 * 1024;

/// A flag that Ctrl-C and SIGTERM raise; the second time they end the process.
pub(crate) fn interrupt_flag() -> Result<Arc<AtomicBool>, Error> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::flag;
    let raised = Arc::new(AtomicBool::new(false));
    let register = || {
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, 130, Arc::clone(&raised))?;
            flag::register(signal, Arc::clone(&raised))?;
        }
        Ok(())
    };
    register().map_err(|source| Error::System { what: "watch for Ctrl-C", source })?;
    Ok(raised)
}

/// Runs the plan and prints the report.
pub(crate) fn run(plan: &Plan, interrupted: &AtomicBool) -> Result<(), Error> {
    let report = measure(plan, interrupted)?;
    report::print(&report, plan.options.json, Report::text)
}

/// Fills queues, drains them again and prints what was measured of both.
pub(crate) fn run_fill(fill: &Plan, drain: &Plan, interrupted: &AtomicBool) -> Result<(), Error> {
    let filled = measure(fill, interrupted)?;
    // Queues of the run itself go in any case; with others, what an interrupted run has published stays.
    let drained = if interrupted.load(Ordering::Relaxed) {
        let mut admin = Connection::open(&drain.options.url, "leveret perf")?;
        topology::remove(&mut admin, drain)?;
        admin.close();
        None
    } else {
        Some(measure(drain, interrupted)?)
    };
    report::print(&FillReport { fill: filled, drain: drained }, fill.options.json, FillReport::text)
}

fn measure(plan: &Plan, interrupted: &AtomicBool) -> Result<Report, Error> {
    let broker = Process::broker(&plan.options)?;
    let mut admin = Connection::open(&plan.options.url, "leveret perf")?;
    topology::prepare(&mut admin, plan)?;
    let outcome = Load::open(plan, broker, &mut admin).and_then(|load| load.run(interrupted));
    // A run that failed cleans up as well, as far as it still can; its own error is the one to tell.
    let removed = topology::remove(&mut admin, plan);
    admin.close();
    let report = outcome?;
    removed.map(|()| report)
}

/// Connections that are open, and the threads on them.
struct Load<'a> {
    plan: &'a Plan,
    /// Tells the messages of this run from those of earlier ones.
    run: u32,
    broker: Option<Process>,
    rss_before_kib: u64,
    /// Messages in the queues at the start, if they are to be drained.
    backlog: Option<u64>,
    control: Arc<Control>,
    meter: Meter,
    publishers: Vec<Publisher>,
    consumers: Vec<Consumer>,
}

impl<'a> Load<'a> {
    /// Opens all connections.
    fn open(plan: &'a Plan, broker: Option<Process>, admin: &mut Connection) -> Result<Self, Error> {
        let rss_before_kib = broker.and_then(Process::rss_kib).unwrap_or_default();
        let backlog = plan
            .options
            .drain
            .then(|| (0..plan.queues.len()).map(|queue| topology::backlog(admin, &plan.consumed_queue(queue))).sum());
        let mut load = Self {
            plan,
            run: std::process::id() & 0xFFF,
            broker,
            rss_before_kib,
            backlog: backlog.transpose()?,
            control: Arc::default(),
            meter: Meter::default(),
            publishers: Vec::with_capacity(plan.publishers),
            consumers: Vec::with_capacity(plan.consumers),
        };
        for index in 0..plan.consumers {
            let consumer = load.open_consumer(index)?;
            load.consumers.push(consumer);
        }
        for index in 0..plan.publishers {
            let publisher = load.open_publisher(index)?;
            load.publishers.push(publisher);
        }
        Ok(load)
    }

    fn open_consumer(&mut self, index: usize) -> Result<Consumer, Error> {
        let (plan, queues) = (self.plan, self.plan.queues_of(index));
        let mut connection = Connection::open(&plan.options.url, &format!("leveret perf consumer {index}"))?;
        if plan.options.exclusive {
            topology::declare_and_bind(&mut connection, plan, plan.queue_of(index))?;
        }
        connection.enlarge_buffer();
        Ok(Consumer {
            connection,
            queues: queues.into_iter().map(|queue| plan.consumed_queue(queue)).collect(),
            ack: plan.options.ack,
            stamps: match plan.delay_max_ns {
                _ if plan.options.drain => Stamps::Ignored,
                Some(_) => Stamps::Due,
                None => Stamps::Sent,
            },
            ledger: plan.options.check.then(|| Ledger::new(self.run, plan.publishers)),
            counters: self.meter.consumer(),
            control: Arc::clone(&self.control),
        })
    }

    fn open_publisher(&mut self, index: usize) -> Result<Publisher, Error> {
        let options = &self.plan.options;
        let mut connection = Connection::open(&options.url, &format!("leveret perf publisher {index}"))?;
        if options.confirm.is_some() {
            connection.call(1, "confirm.select", &ConfirmSelect { no_wait: false }, |method| {
                matches!(method, Method::ConfirmSelectOk(_)).then_some(())
            })?;
        }
        connection.enlarge_buffer();
        let keys = self.plan.routing_keys(index);
        let row = Variant::row(options, index, keys.len());
        let shapes = row.iter().zip(keys.iter().cycle()).map(|(variant, routing_key)| Shape {
            publish: BasicPublish {
                ticket: 0,
                exchange: &self.plan.exchange,
                routing_key,
                mandatory: options.mandatory,
                immediate: false,
            },
            properties: variant.properties(),
            delay_ns: variant.delay_ns,
            size: options.size,
        });
        let shapes: Vec<_> = shapes.collect();
        let marks = if options.check { Marks::Body } else { Marks::None };
        Ok(Publisher {
            batch: Batch::new(&shapes, marks, connection.frame_max()),
            connection,
            pace: None,
            window: options.confirm.map(Window::new),
            mark: Mark::first(self.run, index),
            quota: self.plan.quota(index),
            counters: self.meter.publisher(),
            control: Arc::clone(&self.control),
        })
    }

    /// Starts the threads, watches them, ends them and says what was measured.
    fn run(mut self, interrupted: &AtomicBool) -> Result<Report, Error> {
        let mut watch = Watch::new(self.plan, self.broker, self.rss_before_kib, self.backlog);
        let mut consumers = Vec::with_capacity(self.consumers.len());
        for (index, mut consumer) in std::mem::take(&mut self.consumers).into_iter().enumerate() {
            consumer.subscribe(self.plan.options.prefetch)?;
            consumers.push(spawn(format!("consumer {index}"), move || consumer.run())?);
        }
        let mut publishers = Vec::with_capacity(self.publishers.len());
        let pace_start_ns = clock::now_ns() + START_DELAY_NS;
        for (index, mut publisher) in std::mem::take(&mut self.publishers).into_iter().enumerate() {
            let rate = self.plan.options.rate;
            publisher.pace = (rate > 0.0).then(|| Pace::new(rate, pace_start_ns, index, self.plan.publishers));
            publishers.push(spawn(format!("publisher {index}"), move || publisher.run())?);
        }
        let mut report = watch.run(&self.meter, &self.control, interrupted);
        self.control.stop_publishing.store(true, Ordering::Relaxed);
        for publisher in publishers {
            let _ = publisher.join();
        }
        if self.plan.options.check {
            self.await_stragglers(interrupted);
        }
        self.control.stop();
        let ledgers: Vec<_> = consumers.into_iter().map(|consumer| consumer.join().ok().flatten()).collect();
        if let Some(error) = self.control.take_failure() {
            return Err(error);
        }
        report.check = self.plan.options.check.then(|| self.judge(ledgers));
        Ok(report)
    }

    /// Waits until all messages have arrived or none does any more.
    fn await_stragglers(&self, interrupted: &AtomicBool) {
        let published: u64 = self.meter.published_each().iter().sum();
        let copies = match self.plan.spread {
            Spread::Own | Spread::Turns | Spread::One => 1,
            Spread::Every => self.plan.queues_consumed() as u64,
            Spread::Unknown => u64::MAX,
        };
        let begun_ns = clock::now_ns();
        let delay_ns = self.plan.delay_max_ns.unwrap_or_default();
        while !interrupted.load(Ordering::Relaxed) && !self.control.has_failed() {
            let now_ns = clock::now_ns();
            let quiet_ns = now_ns.saturating_sub(self.meter.last_delivery_ns().max(begun_ns));
            let totals = self.meter.totals();
            let arrived = totals.consumed + totals.refused >= published.saturating_mul(copies);
            if arrived || quiet_ns > QUIET_NS + delay_ns || now_ns - begun_ns > STRAGGLERS_NS + delay_ns {
                return;
            }
            thread::sleep(Duration::from_nanos(TICK_NS));
        }
    }

    fn judge(&self, ledgers: Vec<Option<Ledger>>) -> Verdict {
        let ledgers: Vec<_> = (0..)
            .zip(ledgers)
            .filter_map(|(index, ledger)| ledger.map(|ledger| (self.plan.queue_of(index), ledger)))
            .collect();
        let (consumed, all) = (self.plan.queues_consumed(), self.plan.queues.len());
        let copies = if self.plan.spread == Spread::Every { all } else { 1 };
        judge(&ledgers, &self.meter.published_each(), self.plan.spread, consumed, all)
            .without_refused(self.meter.totals().refused, copies)
    }
}

fn spawn<T: Send + 'static>(name: String, body: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, Error> {
    thread::Builder::new()
        .name(name)
        .stack_size(STACK_BYTES)
        .spawn(body)
        .map_err(|source| Error::System { what: "start a thread", source })
}
