//! A line a second about the run that goes on.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

use crate::figures::{count, grouped, rate, seconds, span};
use crate::histogram::Histogram;
use crate::meter::Totals;
use crate::options::Options;

/// Where lines go and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Nowhere.
    Silent,
    /// Each over the one before.
    Overwrite,
    /// One below the other.
    Lines,
}

/// Shows how a run goes.
#[derive(Debug)]
pub(crate) struct Progress {
    style: Style,
    /// Standard output is for the result alone if machines read it.
    on_stderr: bool,
    shown: bool,
}

/// What happened in the last second or so.
#[derive(Debug)]
pub(crate) struct Interval<'a> {
    /// Since the start of the run.
    pub(crate) elapsed_ns: u64,
    /// Length of the interval.
    pub(crate) span_ns: u64,
    /// Counts of the interval.
    pub(crate) totals: Totals,
    /// End-to-end spans of the interval.
    pub(crate) latency: &'a Histogram,
    /// Whether these are how late delayed messages were.
    pub(crate) delayed: bool,
    /// Publish-to-confirm spans of the interval.
    pub(crate) confirm_latency: &'a Histogram,
    /// Whether the measuring has not begun.
    pub(crate) warming_up: bool,
    /// Publishers that are blocked, and why.
    pub(crate) blocked: Option<(usize, String)>,
}

impl Progress {
    /// As the options and the terminal want it.
    pub(crate) fn new(options: &Options) -> Self {
        let terminal = if options.json { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        let style = match (options.quiet, terminal) {
            (true, _) => Style::Silent,
            (false, true) => Style::Overwrite,
            (false, false) => Style::Lines,
        };
        Self { style, on_stderr: options.json, shown: false }
    }

    /// Shows an interval.
    pub(crate) fn show(&mut self, interval: &Interval<'_>) {
        self.line(&text(interval));
    }

    /// Shows anything else.
    pub(crate) fn line(&mut self, text: &str) {
        let text = match self.style {
            Style::Silent => return,
            Style::Overwrite => format!("\r\x1b[2K{text}"),
            Style::Lines => format!("{text}\n"),
        };
        self.shown = true;
        self.write(&text);
    }

    /// Makes room for the result.
    pub(crate) fn finish(&mut self) {
        if std::mem::take(&mut self.shown) && self.style == Style::Overwrite {
            self.write("\r\x1b[2K");
        }
    }

    fn write(&self, text: &str) {
        // Progress is a courtesy: who closed the pipe does not want it.
        let _ = if self.on_stderr {
            io::stderr().lock().write_all(text.as_bytes())
        } else {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes()).and_then(|()| out.flush())
        };
    }
}

fn text(interval: &Interval<'_>) -> String {
    let Interval { elapsed_ns, span_ns, totals, latency, delayed, confirm_latency, warming_up, blocked } = interval;
    let per_second = |events| grouped(count(rate(events, *span_ns)));
    let mut text = format!(
        "{:5.1} s  in {:>9}/s  out {:>9}/s",
        seconds(*elapsed_ns),
        per_second(totals.published),
        per_second(totals.consumed)
    );
    // Writing to a string cannot fail.
    for (name, histogram) in [(if *delayed { "late" } else { "latency" }, latency), ("confirm", confirm_latency)] {
        if histogram.samples() > 0 {
            let (p50, p99) = (span(histogram.quantile_ns(0.5)), span(histogram.quantile_ns(0.99)));
            let _ = write!(text, "  {name} p50 {p50:>7} p99 {p99:>7}");
        }
    }
    for (name, messages) in [("refused", totals.refused), ("returned", totals.returned), ("early", totals.early)] {
        if messages > 0 {
            let _ = write!(text, "  {name} {}/s", per_second(messages));
        }
    }
    if *warming_up {
        text.push_str("  (warming up)");
    }
    if let Some((publishers, reason)) = blocked {
        let _ = write!(text, "  BLOCKED by the broker: {publishers} publishers ({reason})");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_what_there_is_to_say() {
        let mut latency = Histogram::default();
        let none = Histogram::default();
        latency.record(1_240_000);
        let totals = Totals { published: 3000, consumed: 2000, ..Totals::default() };
        let mut interval = Interval {
            elapsed_ns: 3_000_000_000,
            span_ns: 2_000_000_000,
            totals,
            latency: &none,
            delayed: false,
            confirm_latency: &none,
            warming_up: true,
            blocked: None,
        };
        assert_eq!(text(&interval), "  3.0 s  in     1,500/s  out     1,000/s  (warming up)");
        interval.warming_up = false;
        interval.latency = &latency;
        interval.blocked = Some((2, "low on memory".into()));
        assert_eq!(
            text(&interval),
            "  3.0 s  in     1,500/s  out     1,000/s  latency p50 1.24 ms p99 1.24 ms  \
             BLOCKED by the broker: 2 publishers (low on memory)"
        );
        interval.delayed = true;
        interval.blocked = None;
        interval.totals = Totals { refused: 500, early: 4, ..totals };
        assert_eq!(
            text(&interval),
            "  3.0 s  in     1,500/s  out     1,000/s  late p50 1.24 ms p99 1.24 ms  refused 250/s  early 2/s"
        );
    }
}
