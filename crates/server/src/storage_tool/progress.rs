//! How far long work is, for somebody who watches.

use std::io::{self, IsTerminal, Write as _};
use std::time::{Duration, Instant};

use super::text::bytes;

/// Pause between two looks at the same line.
const INTERVAL: Duration = Duration::from_millis(100);

/// A line on standard error, if that is a terminal.
pub(super) struct Progress {
    what: &'static str,
    begun: Instant,
    shown: Option<Instant>,
    is_watched: bool,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, begun: Instant::now(), shown: None, is_watched: io::stderr().is_terminal() }
    }

    /// So many bytes are done.
    pub(super) fn show(&mut self, done: u64, total: u64) {
        let now = Instant::now();
        let last = self.shown.unwrap_or(self.begun);
        if !self.is_watched || now.duration_since(last) < INTERVAL {
            return;
        }
        self.shown = Some(now);
        let line = line(self.what, done, total, now.duration_since(self.begun));
        let _ = write!(io::stderr().lock(), "\r\x1b[2K{line}");
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K");
        }
    }
}

fn line(what: &str, done: u64, total: u64, elapsed: Duration) -> String {
    let percent = done.saturating_mul(100).checked_div(total).unwrap_or(100);
    let milliseconds = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX).max(1);
    let rate = done.saturating_mul(1000) / milliseconds;
    format!("{what}: {} of {}, {percent} %, {}/s", bytes(done), bytes(total), bytes(rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_much_of_what_and_how_fast() {
        let text = line("reading", 512 << 20, 2 << 30, Duration::from_secs(2));
        assert_eq!(text, "reading: 512.0 MiB of 2.0 GiB, 25 %, 256.0 MiB/s");
        assert_eq!(line("reading", 0, 0, Duration::ZERO), "reading: 0 B of 0 B, 100 %, 0 B/s");
    }
}
