//! Looks at a run as it goes: when the measuring begins, when the run is over, and what was counted between.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::clock::{self, MILLISECOND_NS, SECOND_NS};
use crate::figures::{float, seconds};
use crate::histogram::Histogram;
use crate::meter::{Control, Meter, Totals};
use crate::plan::Plan;
use crate::process::{Cpu, Process};
use crate::progress::{Interval, Progress};
use crate::report::{BrokerUse, Flow, LoaderUse, Report, Setting, Spans};

/// Time between two looks at the threads and at the broker's memory.
pub(crate) const TICK_NS: u64 = 100 * MILLISECOND_NS;
/// A run that waits for messages stops waiting when none has arrived for this long: they were lost or went elsewhere.
pub(crate) const QUIET_NS: u64 = 3 * SECOND_NS;

/// A run from outside.
pub(crate) struct Watch<'a> {
    plan: &'a Plan,
    broker: Option<Process>,
    rss_before_kib: u64,
    rss_peak_kib: u64,
    backlog: Option<u64>,
    /// When the run began.
    begun_ns: u64,
    /// Where the measuring began; it begins anew when the warm-up is over.
    mark: Mark,
    warming_up: bool,
    shown_ns: u64,
    shown: Totals,
    latency: Histogram,
    confirm_latency: Histogram,
    progress: Progress,
}

/// Counters at one moment.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at_ns: u64,
    totals: Totals,
    broker: Cpu,
    loader: Cpu,
    /// Octets that the broker has written to disks.
    written: Option<u64>,
}

impl Mark {
    fn now(totals: Totals, broker: Option<Process>) -> Self {
        Self {
            at_ns: clock::now_ns(),
            totals,
            broker: broker.and_then(Process::cpu).unwrap_or_default(),
            loader: Process::own().cpu().unwrap_or_default(),
            written: broker.and_then(Process::written),
        }
    }
}

impl<'a> Watch<'a> {
    /// Begins now. `backlog` is how many messages there are to drain, if that is the task.
    pub(crate) fn new(plan: &'a Plan, broker: Option<Process>, rss_before_kib: u64, backlog: Option<u64>) -> Self {
        let mark = Mark::now(Totals::default(), broker);
        Self {
            plan,
            broker,
            rss_before_kib,
            rss_peak_kib: rss_before_kib,
            backlog,
            begun_ns: mark.at_ns,
            mark,
            warming_up: plan.warm_up_ns > 0,
            shown_ns: mark.at_ns,
            shown: Totals::default(),
            latency: Histogram::default(),
            confirm_latency: Histogram::default(),
            progress: Progress::new(&plan.options),
        }
    }

    /// Watches until the run is over.
    pub(crate) fn run(&mut self, meter: &Meter, control: &Control, interrupted: &AtomicBool) -> Report {
        loop {
            let phase_end_ns = self.phase_end_ns();
            let next_ns = phase_end_ns.map_or(u64::MAX, |end_ns| end_ns).min(clock::now_ns() + TICK_NS);
            thread::sleep(Duration::from_nanos(next_ns.saturating_sub(clock::now_ns())));
            let now_ns = clock::now_ns();
            let phase_over = phase_end_ns.is_some_and(|end_ns| now_ns >= end_ns);
            let stopped = interrupted.load(Ordering::Relaxed) || control.has_failed();
            let over = stopped || self.is_done(meter, now_ns) || (phase_over && !self.warming_up);
            self.look(meter, control, now_ns, phase_over || over);
            if over {
                self.progress.finish();
                return self.report(meter, now_ns, interrupted.load(Ordering::Relaxed));
            }
            if phase_over {
                self.warming_up = false;
                self.mark = Mark::now(meter.totals(), self.broker);
            }
        }
    }

    /// When the warm-up, or the measuring, is over by the clock.
    fn phase_end_ns(&self) -> Option<u64> {
        if self.warming_up {
            return Some(self.begun_ns + self.plan.warm_up_ns);
        }
        self.plan.duration_ns.map(|duration_ns| self.mark.at_ns + duration_ns)
    }

    /// Whether all messages the run is about have been dealt with.
    fn is_done(&self, meter: &Meter, now_ns: u64) -> bool {
        let totals = meter.totals();
        let quiet_ns = QUIET_NS + self.plan.delay_max_ns.unwrap_or_default();
        let quiet = now_ns.saturating_sub(meter.last_delivery_ns().max(self.begun_ns)) > quiet_ns;
        if let Some(backlog) = self.backlog {
            return totals.consumed >= backlog || quiet;
        }
        let Some(messages) = self.plan.options.messages else { return false };
        if self.plan.publishers == 0 {
            return totals.consumed >= messages;
        }
        let quiet = quiet && now_ns.saturating_sub(meter.last_publish_ns()) > quiet_ns;
        let settled = totals.consumed + totals.refused;
        let arrived = self.plan.deliveries().is_some_and(|deliveries| settled >= deliveries);
        meter.publishers_finished() && (self.plan.consumers == 0 || arrived || quiet)
    }

    /// Takes what there is to see; shows it once a second.
    fn look(&mut self, meter: &Meter, control: &Control, now_ns: u64, phase_over: bool) {
        self.rss_peak_kib = self.rss_peak_kib.max(self.rss_kib());
        let span_ns = now_ns - self.shown_ns;
        let second_over = span_ns + TICK_NS / 2 >= SECOND_NS;
        if !second_over && !phase_over {
            return;
        }
        let (latency, confirm_latency) = (meter.take_latency(), meter.take_confirm_latency());
        if second_over {
            let totals = meter.totals();
            let blocked = meter.blocked();
            self.progress.show(&Interval {
                elapsed_ns: now_ns - self.begun_ns,
                span_ns,
                totals: totals.since(self.shown),
                latency: &latency,
                delayed: self.plan.delay_max_ns.is_some(),
                confirm_latency: &confirm_latency,
                warming_up: self.warming_up,
                blocked: (blocked > 0).then(|| (blocked, control.blocked_reason())),
            });
            (self.shown_ns, self.shown) = (now_ns, totals);
        }
        if !self.warming_up {
            self.latency.merge(&latency);
            self.confirm_latency.merge(&confirm_latency);
        }
    }

    fn report(&self, meter: &Meter, now_ns: u64, interrupted: bool) -> Report {
        let end = Mark::now(meter.totals(), self.broker);
        let totals = end.totals.since(self.mark.totals);
        // What a number of messages ends is over with the last of them, not when that is noticed.
        let limited = self.plan.is_limited();
        let delayed = self.plan.delay_max_ns.is_some();
        let span_to = |last_ns: u64| (if limited { last_ns } else { now_ns }).saturating_sub(self.mark.at_ns);
        let (publishing_ns, consuming_ns) = (span_to(meter.last_publish_ns()), span_to(meter.last_delivery_ns()));
        Report {
            setting: Setting::of(self.plan),
            interrupted,
            seconds: seconds(publishing_ns.max(consuming_ns)),
            published: Flow::new(totals.published, publishing_ns),
            consumed: Flow::new(totals.consumed, consuming_ns),
            confirmed: Flow::new(totals.confirmed, publishing_ns),
            refused: Flow::new(totals.refused, publishing_ns),
            returned: totals.returned,
            blocked_seconds: seconds(totals.blocked_ns),
            latency: Spans::of(&self.latency).filter(|_| !delayed),
            lateness: Spans::of(&self.latency).filter(|_| delayed),
            early: totals.early,
            confirm_latency: Spans::of(&self.confirm_latency),
            broker: self.broker.map(|broker| self.broker_use(broker, end)),
            loader: LoaderUse::new(end.loader.since(self.mark.loader)),
            check: None,
        }
    }

    fn broker_use(&self, broker: Process, end: Mark) -> BrokerUse {
        let totals = end.totals.since(self.mark.totals);
        let messages = if totals.consumed > 0 { totals.consumed } else { totals.published };
        let written_octets = end.written.zip(self.mark.written).map(|(end, begin)| end.saturating_sub(begin));
        let cpu_seconds = seconds(end.broker.since(self.mark.broker).total_ns());
        BrokerUse {
            pid: broker.pid,
            cpu_seconds,
            cpu_seconds_per_million: if messages == 0 { 0.0 } else { cpu_seconds * 1e6 / float(messages) },
            rss_before_kib: self.rss_before_kib,
            rss_after_kib: self.rss_kib(),
            rss_peak_kib: self.rss_peak_kib,
            received_octets: totals.published_octets,
            written_octets,
            written_per_received: written_octets
                .filter(|_| totals.published_octets > 0)
                .map(|written| float(written) / float(totals.published_octets)),
        }
    }

    fn rss_kib(&self) -> u64 {
        self.broker.and_then(Process::rss_kib).unwrap_or_default()
    }
}
