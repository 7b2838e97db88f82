//! What the server is told, by its arguments, the environment and files: when it starts, and again while it runs.

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches};
use leveret_server::logging::Logs;
use leveret_server::{Changes, Config, Effective, Loaded, Running, Sources};
use tracing::{error, info, warn};

use crate::options::Cli;

/// The command whose options are those of the server.
const COMMAND: &str = "server";
const NO_LISTENER: &str = "there is a certificate, but no listener to show it: give --tls-listen";

/// Reads all that the server is told. `arguments` begin with the name of the program.
pub(crate) fn load(arguments: &[OsString]) -> Result<Loaded, Box<dyn std::error::Error>> {
    let sources = sources(arguments)?;
    // A file may set a certificate for a listener to come; who gives an option means it.
    let names_certificate = sources.options.iter().any(|given| given.key == "ssl_options.certfile");
    let loaded = sources.load()?;
    if names_certificate && loaded.config.listen_tls.is_empty() {
        return Err(NO_LISTENER.into());
    }
    Ok(loaded)
}

/// Where the server is told something.
fn sources(arguments: &[OsString]) -> Result<Sources, Box<dyn std::error::Error>> {
    let matches = Cli::command().try_get_matches_from(arguments)?;
    let cli = Cli::from_arg_matches(&matches)?;
    let options = match cli.command {
        Some(crate::options::Command::Server(options)) => *options,
        Some(_) | None => cli.server,
    };
    Ok(options.sources(matches.subcommand_matches(COMMAND).unwrap_or(&matches))?)
}

/// Says in the log what should be looked at.
pub(crate) fn warn_of(loaded: &Loaded) {
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    for remark in loaded.config.remarks() {
        warn!("{remark}");
    }
}

/// The settings that a running node goes by.
pub(crate) struct Told {
    arguments: Vec<OsString>,
    settings: Vec<Effective>,
}

impl Told {
    pub(crate) fn new(arguments: Vec<OsString>, settings: Vec<Effective>) -> Self {
        Self { arguments, settings }
    }

    /// Reads everything again and changes what can change while the node runs. If something is wrong, nothing changes.
    pub(crate) fn reload(&mut self, node: &Running, logs: &Logs) {
        let loaded = match load(&self.arguments) {
            Ok(loaded) => loaded,
            Err(mistakes) => {
                for mistake in mistakes.to_string().lines() {
                    error!("the configuration stays as it was: {mistake}");
                }
                return;
            }
        };
        let Changes { at_once, at_start } = Changes::between(&self.settings, &loaded.settings);
        // Levels that were set while the node ran stay if the files say nothing else.
        if at_once.iter().any(|key| key.starts_with("log.")) {
            let Config { log, node_name, data_dir, .. } = &loaded.config;
            if let Err(reason) = logs.configure(log, node_name, data_dir) {
                error!("the configuration stays as it was: {reason}");
                return;
            }
        }
        warn_of(&loaded);
        node.renew(&loaded.config);
        if !at_once.is_empty() {
            info!("the configuration was read again, changed: {}", at_once.join(", "));
        }
        if !at_start.is_empty() {
            warn!("needs a restart: {}", at_start.join(", "));
        }
        // What needs a restart stays as it was, and is named until then.
        let kept = |setting: &Effective| !at_once.contains(&setting.key);
        let changed = loaded.settings.into_iter().filter(|setting| at_once.contains(&setting.key));
        self.settings.retain(kept);
        self.settings.extend(changed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_by_an_option_needs_a_listener() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("leveret.conf");
        std::fs::write(&file, "ssl_options.certfile = Cargo.toml\n").unwrap();
        let file = file.to_str().unwrap();
        let options = ["--tls-cert", "Cargo.toml", "--tls-key", "Cargo.toml"];
        for (more, expected) in
            [(&[][..], None), (&options[..], Some(NO_LISTENER)), (&["--tls-cert", "a"], Some("--tls-key"))]
        {
            for command in [&["leveret"][..], &["leveret", "server"]] {
                let arguments: Vec<_> =
                    [command, &["--config", file], more].concat().into_iter().map(Into::into).collect();
                let error = load(&arguments).err().map(|error| error.to_string());
                assert_eq!(error.is_some(), expected.is_some(), "{arguments:?}: {error:?}");
                assert!(error.unwrap_or_default().contains(expected.unwrap_or_default()), "{arguments:?}");
            }
        }
    }
}
