//! What the server is told, by its arguments, the environment and files.

use std::ffi::OsString;

use clap::{CommandFactory, FromArgMatches};
use leveret_server::{Loaded, Sources};

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
