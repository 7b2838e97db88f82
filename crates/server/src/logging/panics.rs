//! Panics in the log.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic;

use tracing::error;
use tracing::field::display;

use super::Logs;

/// Logs panics from here on.
pub(super) fn hook(logs: Logs) {
    panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| display(backtrace));
        error!(place, backtrace, "panic: {message}");
        // It may be the last word of this process.
        logs.flush();
    }));
}
