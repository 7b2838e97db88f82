//! `help`, `version` and `autocomplete`.

use crate::failure::{Exit, Failure};
use crate::help;
use crate::invocation::Invocation;
use crate::output::Answer;
use crate::spec::{Command, Positional, Section};
use crate::tool::Tool;

pub(super) const COMMANDS: &[Command] = &[
    Command::new("help", Section::Help, "Displays usage information for a command", run_help)
        .takes("(<command> | --list-commands)", &[Positional::optional("command", "the command to learn about")], &[])
        .tools(&Tool::ALL),
    Command::new("version", Section::Help, "Displays CLI tools version", run_version).tools(&Tool::ALL),
    Command::new("autocomplete", Section::Help, "Provides command name autocomplete variants", run_autocomplete)
        .takes("<prefix>", &[Positional::optional("prefix", "what command names begin with")], &[])
        .tools(&Tool::ALL),
];

#[allow(clippy::unnecessary_wraps, reason = "commands have one signature")]
fn run_help(invocation: &Invocation) -> Result<Answer, Failure> {
    let tool = invocation.tool;
    match invocation.argument("command") {
        None => Ok(Answer::Text(help::of_tool(tool))),
        Some(name) => match super::find(tool, name) {
            Some(command) => Ok(Answer::Text(help::of_command(tool, command))),
            None => Err(Failure::plain(Exit::Usage, help::unknown_command(tool, name))),
        },
    }
}

#[allow(clippy::unnecessary_wraps, reason = "commands have one signature")]
fn run_version(_: &Invocation) -> Result<Answer, Failure> {
    Ok(Answer::Text(env!("CARGO_PKG_VERSION").to_owned()))
}

#[allow(clippy::unnecessary_wraps, reason = "commands have one signature")]
fn run_autocomplete(invocation: &Invocation) -> Result<Answer, Failure> {
    let prefix = invocation.argument("prefix").unwrap_or_default();
    let mut names: Vec<&str> =
        super::of(invocation.tool).map(|command| command.name).filter(|name| name.starts_with(prefix)).collect();
    names.sort_unstable();
    Ok(Answer::Text(names.join(" ")))
}
