//! What the broker tells the person who started it.

use std::env;
use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal, Write as _};
use std::net::SocketAddr;
use std::path::Path;

use leveret_server::SyncMode;

/// What is spoken where.
type Addresses = [(&'static str, Vec<SocketAddr>)];

/// Prints the banner to standard output. One that nobody reads is not worth stopping for.
pub(crate) fn print(addresses: &Addresses, data_dir: &Path, sync: SyncMode) {
    let mut output = io::stdout().lock();
    let style = if output.is_terminal() && env::var_os("NO_COLOR").is_none() { Style::Colours } else { Style::Plain };
    let mut text = String::new();
    if write(&mut text, style, addresses, data_dir, sync).is_ok() {
        let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    }
}

#[derive(Clone, Copy)]
enum Style {
    Plain,
    Colours,
}

impl Style {
    /// The escape sequences around a heading.
    fn heading(self) -> (&'static str, &'static str) {
        match self {
            Self::Plain => ("", ""),
            Self::Colours => ("\x1b[1m", "\x1b[0m"),
        }
    }
}

fn write(text: &mut String, style: Style, addresses: &Addresses, data_dir: &Path, sync: SyncMode) -> fmt::Result {
    let (bold, normal) = style.heading();
    writeln!(text, "\n  {bold}Leveret {}{normal}\n", env!("CARGO_PKG_VERSION"))?;
    for (name, addresses) in addresses {
        for address in addresses {
            writeln!(text, "  {bold}{name}{normal}{:1$}{address}", "", 6_usize.saturating_sub(name.len()))?;
        }
    }
    writeln!(text, "  {bold}Data{normal}  {}", data_dir.display())?;
    match sync {
        SyncMode::Commit => {}
        SyncMode::Interval(interval) => {
            let ms = interval.as_millis();
            writeln!(text, "  {bold}Note{normal}  a power cut loses messages that were confirmed in the last {ms} ms")?;
        }
        SyncMode::Os => {
            writeln!(
                text,
                "  {bold}Note{normal}  a power cut loses confirmed messages that the system had yet to write"
            )?;
        }
    }
    writeln!(text, "  {bold}Stop{normal}  Ctrl-C or SIGTERM; a second one does not wait for clients\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banner(style: Style) -> String {
        let mut text = String::new();
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let plain = vec![local(5672), SocketAddr::from(([0; 8], 5673))];
        let addresses = [("AMQP", plain), ("TLS", vec![local(5671)]), ("HTTP", vec![local(15672)])];
        write(&mut text, style, &addresses, Path::new("/data"), SyncMode::Commit).unwrap();
        text
    }

    #[test]
    fn every_address_has_a_line_of_its_own() {
        let text = banner(Style::Plain);
        assert!(
            text.contains("\n  AMQP  127.0.0.1:5672\n  AMQP  [::]:5673\n  TLS   127.0.0.1:5671\n  HTTP  127.0.0.1:15672\n  Data  /data\n"),
            "{text}"
        );
    }

    #[test]
    fn only_a_terminal_gets_escape_sequences() {
        assert!(!banner(Style::Plain).contains('\x1b'));
        assert!(banner(Style::Colours).contains('\x1b'));
    }
}
