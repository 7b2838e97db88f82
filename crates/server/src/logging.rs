//! Log records on standard error, as text for people or as JSON for programs.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::env;
use std::fmt::{self, Write};
use std::io::{self, IsTerminal};
use std::panic;

use tracing::error;
use tracing::field::display;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{Writer, debug_fn};

use crate::options::LogFormat;

/// Fields that have several lines, all of which are the broker's own.
const OF_SEVERAL_LINES: [&str; 2] = ["backtrace", "report"];

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
        LogFormat::Text => subscriber.fmt_fields(fields()).init(),
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

/// How a record's text and fields are written: each record on a line of its own. Names and texts that clients send are in many of
/// them, and nobody outside is to write records.
fn fields() -> impl for<'writer> FormatFields<'writer> {
    debug_fn(|writer, field, value| match field.name() {
        "message" => write!(OneLine(writer), "{value:?}"),
        name if OF_SEVERAL_LINES.contains(&name) => {
            let value = format!("{value:?}");
            let separator = if value.contains('\n') { "\n" } else { "" };
            write!(writer, "{name}={separator}{value}")
        }
        name => write!(OneLine(writer), "{name}={value:?}"),
    })
    .delimited(" ")
}

/// Writes what would end the line, or do something to a terminal, as an escape.
struct OneLine<'a, 'writer>(&'a mut Writer<'writer>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let ends_line = |character: char| character.is_control() || matches!(character, '\u{2028}' | '\u{2029}');
        for piece in text.split_inclusive(ends_line) {
            let mut characters = piece.chars();
            match characters.next_back() {
                Some(last) if ends_line(last) => write!(self.0, "{}{}", characters.as_str(), last.escape_default())?,
                _ => self.0.write_str(piece)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_record_is_one_line_whatever_is_in_it() {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).without_time().fmt_fields(fields());
        tracing::subscriber::with_default(subscriber.with_writer(move || writer.clone()).finish(), || {
            let name = "a\r\n ERROR \u{1b}[1m\u{2028}ü";
            tracing::info!(name, shown = %name, number = 7, "no queue '{name}'");
            tracing::error!(report = %"one\ntwo", "damaged");
        });
        let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let target = module_path!();
        let escaped = "a\\r\\n ERROR \\u{1b}[1m\\u{2028}ü";
        let first = format!(" INFO {target}: no queue '{escaped}' name=\"{escaped}\" shown={escaped} number=7");
        assert_eq!(
            written.lines().collect::<Vec<_>>(),
            [first.as_str(), &format!("ERROR {target}: damaged report="), "one", "two",]
        );
    }

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
