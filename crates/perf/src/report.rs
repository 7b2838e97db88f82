//! What a run measured, for people and for machines.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde::Serialize;

use crate::clock::MILLISECOND_NS;
use crate::error::Error;
use crate::figures::{count, float, grouped, mib, rate, seconds, span};
use crate::histogram::Histogram;
use crate::order::Verdict;
use crate::plan::Plan;
use crate::process::Cpu;

/// The result of a run under load.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    /// What was run.
    pub(crate) setting: Setting,
    /// Whether Ctrl-C ended it.
    pub(crate) interrupted: bool,
    /// Time measured.
    pub(crate) seconds: f64,
    /// Messages published.
    pub(crate) published: Flow,
    /// Messages consumed.
    pub(crate) consumed: Flow,
    /// Publishes confirmed.
    pub(crate) confirmed: Flow,
    /// Publishes refused by a nack.
    pub(crate) refused: Flow,
    /// Mandatory messages that came back.
    pub(crate) returned: u64,
    /// Time in which publishers were blocked, added up.
    pub(crate) blocked_seconds: f64,
    /// From the intended send time to the arrival at the consumer, unless messages are delayed.
    pub(crate) latency: Option<Spans>,
    /// From the end of its delay, counted from the intended send time, to the arrival of a delayed message.
    pub(crate) lateness: Option<Spans>,
    /// Delayed messages that arrived before that, by a millisecond or more.
    pub(crate) early: u64,
    /// From the intended send time to the arrival of the confirm.
    pub(crate) confirm_latency: Option<Spans>,
    /// The broker's process.
    pub(crate) broker: Option<BrokerUse>,
    /// This process.
    pub(crate) loader: LoaderUse,
    /// What the check found.
    pub(crate) check: Option<Verdict>,
}

/// The options that make two runs comparable.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "the switches of a command line")]
pub(crate) struct Setting {
    publishers: usize,
    consumers: usize,
    queues: usize,
    size: usize,
    rate: f64,
    messages: Option<u64>,
    confirm: Option<usize>,
    persistent: bool,
    mandatory: bool,
    durable: bool,
    ack: String,
    prefetch: u16,
    exchange: String,
    exchange_type: Option<String>,
    queue_args: Vec<String>,
    exchange_args: Vec<String>,
    dead_letter_chain: usize,
    delay_max_ms: Option<u64>,
    drain: bool,
    round_robin: bool,
}

impl Setting {
    /// What the plan says.
    pub(crate) fn of(plan: &Plan) -> Self {
        let options = &plan.options;
        Self {
            publishers: plan.publishers,
            consumers: plan.consumers,
            queues: plan.queues.len(),
            size: options.size,
            rate: options.rate,
            messages: options.messages,
            confirm: options.confirm,
            persistent: options.persistent,
            mandatory: options.mandatory,
            durable: options.durable,
            ack: options.ack.to_string(),
            prefetch: options.prefetch,
            exchange: plan.exchange.clone(),
            exchange_type: plan.declare_exchange.clone(),
            queue_args: options.queue_args.iter().map(ToString::to_string).collect(),
            exchange_args: options.exchange_args.iter().map(ToString::to_string).collect(),
            dead_letter_chain: options.dead_letter_chain.unwrap_or_default(),
            delay_max_ms: plan.delay_max_ns.map(|delay_ns| delay_ns / MILLISECOND_NS),
            drain: options.drain,
            round_robin: options.round_robin,
        }
    }
}

/// Messages and how many a second.
#[derive(Debug, Serialize)]
pub(crate) struct Flow {
    messages: u64,
    per_second: f64,
}

impl Flow {
    /// So many in a span.
    pub(crate) fn new(messages: u64, span_ns: u64) -> Self {
        Self { messages, per_second: rate(messages, span_ns) }
    }
}

/// A distribution of spans, in microseconds.
#[derive(Debug, Serialize)]
pub(crate) struct Spans {
    samples: u64,
    p50_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
}

impl Spans {
    /// Of a histogram; `None` if it is empty.
    pub(crate) fn of(histogram: &Histogram) -> Option<Self> {
        let us = |ns: u64| float(ns) / 1e3;
        (histogram.samples() > 0).then(|| Self {
            samples: histogram.samples(),
            p50_us: us(histogram.quantile_ns(0.5)),
            p99_us: us(histogram.quantile_ns(0.99)),
            p999_us: us(histogram.quantile_ns(0.999)),
            max_us: us(histogram.max_ns()),
        })
    }
}

/// What the broker used.
#[derive(Debug, Serialize)]
pub(crate) struct BrokerUse {
    /// Its process.
    pub(crate) pid: u32,
    /// CPU time in user and kernel mode.
    pub(crate) cpu_seconds: f64,
    /// The same for each million messages consumed, or published if nobody consumes.
    pub(crate) cpu_seconds_per_million: f64,
    /// Resident memory before the run.
    pub(crate) rss_before_kib: u64,
    /// Resident memory at the end of the run.
    pub(crate) rss_after_kib: u64,
    /// The most seen, in looks a tenth of a second apart.
    pub(crate) rss_peak_kib: u64,
    /// Octets of the messages published to it, with all that frames them.
    pub(crate) received_octets: u64,
    /// Octets it wrote to disks, as far as /proc/PID/io can be read.
    pub(crate) written_octets: Option<u64>,
    /// Octets written for each octet received.
    pub(crate) written_per_received: Option<f64>,
}

/// What the loader used.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names machines read carry their unit")]
pub(crate) struct LoaderUse {
    cpu_seconds: f64,
    user_seconds: f64,
    system_seconds: f64,
}

impl LoaderUse {
    /// So much CPU time.
    pub(crate) fn new(cpu: Cpu) -> Self {
        Self {
            cpu_seconds: seconds(cpu.total_ns()),
            user_seconds: seconds(cpu.user_ns),
            system_seconds: seconds(cpu.system_ns),
        }
    }
}

/// The result of an idle run.
#[derive(Debug, Serialize)]
pub(crate) struct IdleReport {
    /// "connections" or "queues".
    pub(crate) what: &'static str,
    /// How many of them.
    pub(crate) count: usize,
    /// Channels of each connection.
    pub(crate) channels: Option<u16>,
    /// The broker's process.
    pub(crate) pid: u32,
    /// How long it took to make them, one after another.
    pub(crate) make_seconds: f64,
    /// CPU time of the broker for that.
    pub(crate) make_cpu_seconds: f64,
    /// Resident memory before.
    pub(crate) rss_before_kib: u64,
    /// Resident memory after they had been idle for a while.
    pub(crate) rss_after_kib: u64,
    /// Growth of memory for each.
    pub(crate) rss_each_bytes: f64,
    /// CPU time of the broker while they were idle, in percent of a core.
    pub(crate) idle_cpu_percent: f64,
    /// How long it took to close or delete them.
    pub(crate) remove_seconds: f64,
    /// Whether Ctrl-C ended it.
    pub(crate) interrupted: bool,
}

/// The result of filling queues and draining them again.
#[derive(Debug, Serialize)]
pub(crate) struct FillReport {
    /// Publishing, while nobody consumed.
    pub(crate) fill: Report,
    /// Consuming, once all was published; nothing if Ctrl-C came before.
    pub(crate) drain: Option<Report>,
}

impl FillReport {
    /// Two tables for people.
    pub(crate) fn text(&self) -> String {
        let drain = self.drain.as_ref().map_or_else(String::new, |drain| format!("\n\ndrain\n{}", drain.text()));
        format!("fill\n{}{drain}", self.fill.text())
    }
}

/// Prints a result: as one JSON object or as text.
pub(crate) fn print<T: Serialize>(result: &T, json: bool, text: impl Fn(&T) -> String) -> Result<(), Error> {
    let mut output = if json { serde_json::to_string(result).map_err(io::Error::from)? } else { text(result) };
    output.push('\n');
    let mut out = io::stdout().lock();
    out.write_all(output.as_bytes())?;
    Ok(out.flush()?)
}

impl Report {
    /// A table for people.
    pub(crate) fn text(&self) -> String {
        let mut lines = Lines::default();
        if self.interrupted {
            lines.add(format_args!("interrupted"));
        }
        let measured = format!("measured {:.1} s", self.seconds);
        lines.add(format_args!("{measured:<16}{:>22}{:>16}", "messages", "per second"));
        for (name, flow, always) in [
            ("published", &self.published, self.setting.publishers > 0),
            ("confirmed", &self.confirmed, false),
            ("refused", &self.refused, false),
            ("consumed", &self.consumed, self.setting.consumers > 0),
        ] {
            if always || flow.messages > 0 {
                let (messages, per_second) = (grouped(flow.messages), grouped(count(flow.per_second)));
                lines.add(format_args!("{name:<16}{messages:>22}{per_second:>16}"));
            }
        }
        for (name, messages) in [("returned", self.returned), ("early", self.early)] {
            if messages > 0 {
                lines.add(format_args!("{name:<16}{:>22}", grouped(messages)));
            }
        }
        self.add_latency(&mut lines);
        self.add_use(&mut lines);
        if self.blocked_seconds > 0.0 {
            lines.add(format_args!("blocked by the broker for {:.1} s, all publishers added up", self.blocked_seconds));
        }
        if let Some(check) = &self.check {
            let lost = check.lost.map_or_else(|| "unknown".to_owned(), grouped);
            lines.add(format_args!(
                "check           lost {lost}, duplicated {}, reordered {}, redelivered {}, foreign {}",
                grouped(check.duplicated),
                grouped(check.reordered),
                grouped(check.redelivered),
                grouped(check.foreign),
            ));
        }
        lines.text
    }

    fn add_latency(&self, lines: &mut Lines) {
        let rows = [("end to end", &self.latency), ("late by", &self.lateness), ("confirm", &self.confirm_latency)];
        if rows.iter().all(|(_, spans)| spans.is_none()) {
            return;
        }
        lines.add(format_args!("{:<16}{:>12}{:>12}{:>12}{:>12}", "latency", "p50", "p99", "p99.9", "max"));
        for (name, spans) in rows {
            if let Some(Spans { p50_us, p99_us, p999_us, max_us, .. }) = spans {
                let [p50, p99, p999, max] = [p50_us, p99_us, p999_us, max_us].map(|us| span(count(us * 1e3)));
                lines.add(format_args!("{name:<16}{p50:>12}{p99:>12}{p999:>12}{max:>12}"));
            }
        }
    }

    fn add_use(&self, lines: &mut Lines) {
        if let Some(broker) = &self.broker {
            let what = if self.consumed.messages > 0 { "consumed" } else { "published" };
            lines.add(format_args!(
                "broker CPU      {:.2} s, {:.2} s for a million {what} (process {})",
                broker.cpu_seconds, broker.cpu_seconds_per_million, broker.pid
            ));
            lines.add(format_args!(
                "broker memory   {:.0} MiB before, {:.0} MiB after, {:.0} MiB at most",
                mib(broker.rss_before_kib),
                mib(broker.rss_after_kib),
                mib(broker.rss_peak_kib)
            ));
        }
        if let Some((broker, written)) =
            self.broker.as_ref().and_then(|broker| Some((broker, broker.written_octets.filter(|octets| *octets > 0)?)))
        {
            let per_received = broker.written_per_received.map_or_else(String::new, |ratio| {
                format!(", {ratio:.2} bytes for each byte of messages and frames received")
            });
            lines.add(format_args!("broker disk     {:.1} MiB written{per_received}", mib(written / 1024)));
        }
        let LoaderUse { cpu_seconds, user_seconds, system_seconds } = self.loader;
        lines.add(format_args!(
            "loader CPU      {cpu_seconds:.2} s ({user_seconds:.2} user, {system_seconds:.2} system)"
        ));
    }
}

impl IdleReport {
    /// Lines for people.
    pub(crate) fn text(&self) -> String {
        let mut lines = Lines::default();
        let made = float(self.count as u64) / self.make_seconds.max(1e-9);
        let channels = self.channels.map_or_else(String::new, |channels| format!(" of {channels} channels"));
        lines.add(format_args!(
            "{} idle {}{channels}, made in {:.2} s ({} a second) with {:.2} s of broker CPU (process {})",
            grouped(self.count as u64),
            self.what,
            self.make_seconds,
            grouped(count(made)),
            self.make_cpu_seconds,
            self.pid
        ));
        lines.add(format_args!(
            "broker memory   {:.1} MiB before, {:.1} MiB after: {:.2} KiB each",
            mib(self.rss_before_kib),
            mib(self.rss_after_kib),
            self.rss_each_bytes / 1024.0
        ));
        lines.add(format_args!("broker CPU      {:.1} % of a core while idle", self.idle_cpu_percent));
        lines.add(format_args!("removed in      {:.2} s", self.remove_seconds));
        if self.interrupted {
            lines.add(format_args!("(interrupted)"));
        }
        lines.text
    }
}

/// Lines of text, without a line end after the last.
#[derive(Debug, Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn add(&mut self, line: std::fmt::Arguments<'_>) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(line);
    }
}
