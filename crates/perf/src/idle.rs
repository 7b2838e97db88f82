//! Connections or queues that do nothing, to see what each costs the broker.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::clock::{self, SECOND_NS};
use crate::connection::Connection;
use crate::error::Error;
use crate::figures::{float, seconds};
use crate::options::{BrokerPid, Options};
use crate::plan::Plan;
use crate::process::{Cpu, Process};
use crate::progress::Progress;
use crate::report::{self, IdleReport};
use crate::topology;
use crate::url::Url;
use crate::watch::TICK_NS;

/// How long they are left idle unless the options say.
const IDLE_SECONDS: f64 = 5.0;

/// Makes them, leaves them alone, removes them and prints what they cost.
pub(crate) fn run(plan: &Plan, interrupted: &AtomicBool) -> Result<(), Error> {
    let options = &plan.options;
    // Without the broker's memory there is nothing to report.
    let pid = options.broker_pid.unwrap_or(BrokerPid::Auto);
    let broker = Process::broker(&Options { broker_pid: Some(pid), ..options.clone() })?
        .ok_or_else(|| Error::Process("no broker was named".into()))?;
    let mut idle = Idle { plan, broker, interrupted, progress: Progress::new(options) };
    for (count, what) in [(options.idle_connections, What::Connections), (options.idle_queues, What::Queues)] {
        if let Some(count) = count {
            let result = match what {
                What::Connections => idle.connections(count),
                What::Queues => idle.queues(count),
            }?;
            report::print(&result, options.json, IdleReport::text)?;
        }
    }
    Ok(())
}

enum What {
    Connections,
    Queues,
}

struct Idle<'a> {
    plan: &'a Plan,
    broker: Process,
    interrupted: &'a AtomicBool,
    progress: Progress,
}

/// The broker at one moment.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at_ns: u64,
    cpu: Cpu,
    rss_kib: u64,
}

impl Moment {
    fn now(broker: Process) -> Self {
        Self {
            at_ns: clock::now_ns(),
            cpu: broker.cpu().unwrap_or_default(),
            rss_kib: broker.rss_kib().unwrap_or_default(),
        }
    }
}

impl Idle<'_> {
    fn connections(&mut self, count: usize) -> Result<IdleReport, Error> {
        let (url, channels) = (&self.plan.options.url, self.plan.options.channels);
        let before = Moment::now(self.broker);
        let mut open = Vec::with_capacity(count);
        while open.len() < count && !self.is_interrupted() {
            let connection = open_idle(url, open.len(), channels);
            open.push(connection.map_err(|source| short(open.len(), "connections", source))?);
            self.show("connections", open.len(), count);
        }
        let (made, idle) = self.rest(before);
        let made_count = open.len();
        open.into_iter().for_each(Connection::close);
        Ok(self.report("connections", made_count, Some(channels), [before, made, idle, Moment::now(self.broker)]))
    }

    fn queues(&mut self, count: usize) -> Result<IdleReport, Error> {
        let plan = self.plan;
        let mut admin = Connection::open(&plan.options.url, "leveret perf")?;
        let before = Moment::now(self.broker);
        let mut declared = Vec::with_capacity(count);
        let mut outcome = Ok(());
        while declared.len() < count && !self.is_interrupted() {
            let name = format!("{}-idle-{}", plan.queue(0), declared.len() + 1);
            outcome = topology::declare_queue(&mut admin, &plan.options, &name, &plan.options.queue_args);
            if outcome.is_err() {
                break;
            }
            declared.push(name);
            self.show("queues", declared.len(), count);
        }
        let (made, idle) = self.rest(before);
        for name in &declared {
            topology::delete_queue(&mut admin, name)?;
        }
        let removed = Moment::now(self.broker);
        admin.close();
        outcome.map_err(|source| short(declared.len(), "queues", source))?;
        Ok(self.report("queues", declared.len(), None, [before, made, idle, removed]))
    }

    /// Leaves the broker alone; returns it at the start and at the end of that.
    fn rest(&mut self, before: Moment) -> (Moment, Moment) {
        let made = Moment::now(self.broker);
        self.progress.line(&format!("made in {:.2} s, now idle", seconds(made.at_ns - before.at_ns)));
        let idle = self.plan.options.duration.unwrap_or(IDLE_SECONDS);
        let idle_ns = crate::figures::count(idle * float(SECOND_NS));
        while clock::now_ns() < made.at_ns + idle_ns && !self.is_interrupted() {
            thread::sleep(Duration::from_nanos(TICK_NS));
        }
        (made, Moment::now(self.broker))
    }

    fn report(&mut self, what: &'static str, count: usize, channels: Option<u16>, moments: [Moment; 4]) -> IdleReport {
        self.progress.finish();
        let [before, made, idle, removed] = moments;
        let growth_bytes = (float(idle.rss_kib) - float(before.rss_kib)) * 1024.0;
        let idle_span = seconds(idle.at_ns - made.at_ns).max(1e-9);
        IdleReport {
            what,
            count,
            channels,
            pid: self.broker.pid,
            make_seconds: seconds(made.at_ns - before.at_ns),
            make_cpu_seconds: seconds(made.cpu.since(before.cpu).total_ns()),
            rss_before_kib: before.rss_kib,
            rss_after_kib: idle.rss_kib,
            rss_each_bytes: growth_bytes / float(count.max(1) as u64),
            idle_cpu_percent: 100.0 * seconds(idle.cpu.since(made.cpu).total_ns()) / idle_span,
            remove_seconds: seconds(removed.at_ns - idle.at_ns),
            interrupted: self.is_interrupted(),
        }
    }

    fn show(&mut self, what: &str, made: usize, count: usize) {
        if made.is_multiple_of((count / 10).max(1)) {
            self.progress.line(&format!("{made} of {count} {what}"));
        }
    }

    fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }
}

fn open_idle(url: &Url, index: usize, channels: u16) -> Result<Connection, Error> {
    let mut connection = Connection::open(url, &format!("leveret perf idle {index}"))?;
    let channel_max = connection.channel_max();
    if channels > channel_max {
        return Err(Error::Options(format!("the broker allows {channel_max} channels on a connection")));
    }
    for channel in 2..=channels {
        connection.open_channel(channel)?;
    }
    connection.shrink_buffer();
    Ok(connection)
}

fn short(made: usize, what: &'static str, source: Error) -> Error {
    if made == 0 { source } else { Error::Short { made, what, source: Box::new(source) } }
}
