//! Log records on standard error, as text for people or as JSON for programs.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::env;
use std::io::{self, IsTerminal};
use std::panic;

use tracing::error;
use tracing::field::display;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;

use crate::options::LogFormat;

/// Which records are kept; its text has been checked.
#[derive(Debug, Clone)]
pub(crate) struct Filter(String);

impl Filter {
    /// Reads directives such as `info,leveret_session=debug`.
    ///
    /// A word that is no level would be taken for the name of a module, so that a misspelt level is silence; say so
    /// instead.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        for directive in text.split(',').filter(|directive| !directive.is_empty()) {
            if !directive.contains(['=', '[']) && directive.parse::<LevelFilter>().is_err() {
                return Err(format!(
                    "`{directive}` is no level; levels are error, warn, info, debug, trace and off, \
                     and a module is given as module=level"
                ));
            }
        }
        EnvFilter::builder().parse(text).map(|_| Self(text.to_owned())).map_err(|error| error.to_string())
    }

    fn into_env_filter(self) -> EnvFilter {
        EnvFilter::builder().parse_lossy(self.0)
    }
}

/// Sends what is logged from here on, panics among it, to standard error.
pub(crate) fn start(filter: Filter, format: LogFormat) {
    let colours = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    let subscriber =
        tracing_subscriber::fmt().with_env_filter(filter.into_env_filter()).with_writer(io::stderr).with_ansi(colours);
    match format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().flatten_event(true).with_current_span(false).init(),
    }
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let message = panic.payload_as_str().unwrap_or("no message");
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| display(backtrace));
        error!(place, backtrace, "panic: {message}");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_a_level_or_directives() {
        for text in ["info", "OFF", "", "warn,leveret_session=debug", "leveret_server::listener=trace,error"] {
            Filter::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }

    #[test]
    fn a_misspelt_level_is_refused() {
        for (text, reason) in [
            ("inof", "`inof` is no level"),
            ("info,leveret_session", "`leveret_session` is no level"),
            ("leveret_session=loud", "expected one of"),
        ] {
            let error = Filter::parse(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
