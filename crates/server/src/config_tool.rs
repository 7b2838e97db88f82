//! `leveret config`: whether a configuration is right, and what it comes to.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use leveret_server::{ConfigError, Effective, Fault, Loaded, Origin, Reload};
use serde_json::{Value, json};

use crate::configure;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read all settings as a start would, and say what is wrong with them; nothing is changed
    Check(Which),
    /// Print every setting with its value and where that comes from; passwords are not shown
    Show {
        #[command(flatten)]
        which: Which,
        /// Only what somebody set
        #[arg(long)]
        changed: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// Files, or folders with files, to read in the place of those that a start would look for
    files: Vec<PathBuf>,
    /// The same, as the broker has it
    #[arg(long = "config", value_name = "FILE")]
    more_files: Vec<PathBuf>,
}

impl Which {
    fn load(&self) -> Result<Loaded, Box<dyn std::error::Error>> {
        let mut arguments = vec![OsString::from("leveret")];
        for file in self.files.iter().chain(&self.more_files) {
            arguments.extend(["--config".into(), file.clone().into_os_string()]);
        }
        configure::load(&arguments)
    }
}

pub(crate) fn run(command: Command) -> ExitCode {
    let mut output = io::stdout().lock();
    let (text, code) = match command {
        Command::Check(which) => check(which.load()),
        Command::Show { which, changed, json } => match which.load() {
            Ok(loaded) => (show(&loaded, changed, json), ExitCode::SUCCESS),
            Err(error) => check(Err(error)),
        },
    };
    // Nobody is left to be told that nobody reads it.
    let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
    code
}

fn check(result: Result<Loaded, Box<dyn std::error::Error>>) -> (String, ExitCode) {
    match result {
        Ok(loaded) => {
            let mut lines = warnings(&loaded.warnings);
            lines.extend(loaded.config.remarks().iter().map(|remark| format!("warning: {remark}\n")));
            lines.extend(loaded.files.iter().map(|file| format!("read {}\n", file.display())));
            lines.push("The configuration is right.\n".to_owned());
            (lines.concat(), ExitCode::SUCCESS)
        }
        Err(error) => {
            let lines = match error.downcast::<ConfigError>().map(|error| *error) {
                Ok(ConfigError::Wrong { mistakes, warnings: noted }) => {
                    let mistakes = mistakes.iter().map(|mistake| format!("error: {mistake}\n"));
                    warnings(&noted).into_iter().chain(mistakes).collect()
                }
                Ok(error) => vec![format!("error: {error}\n")],
                Err(error) => vec![format!("error: {error}\n")],
            };
            (lines.concat(), ExitCode::FAILURE)
        }
    }
}

fn warnings(warnings: &[Fault]) -> Vec<String> {
    warnings.iter().map(|warning| format!("warning: {warning}\n")).collect()
}

fn show(loaded: &Loaded, changed: bool, as_json: bool) -> String {
    let settings: Vec<_> = loaded.settings.iter().filter(|setting| !changed || setting.is_changed()).collect();
    if as_json {
        let rows: Vec<_> = settings.iter().map(|setting| row(setting)).collect();
        return format!("{:#}\n", Value::Array(rows));
    }
    let width = settings.iter().map(|setting| setting.key.chars().count()).max().unwrap_or_default();
    let line = |setting: &&Effective| {
        let value = setting.value.as_deref().unwrap_or("(not set)").replace('\n', " ");
        format!("{:width$} = {value}  # {}\n", setting.key, setting.origin)
    };
    settings.iter().map(line).collect::<Vec<_>>().concat()
}

fn row(setting: &Effective) -> Value {
    let mut row = json!({
        "key": setting.key,
        "value": setting.value,
        "origin": setting.origin.to_string(),
        "secret": setting.is_secret,
        "at_once": setting.reload == Reload::AtOnce,
    });
    if let (Origin::File(path, line), Value::Object(row)) = (&setting.origin, &mut row) {
        row.insert("file".to_owned(), path.display().to_string().into());
        row.insert("line".to_owned(), (*line).into());
    }
    row
}
