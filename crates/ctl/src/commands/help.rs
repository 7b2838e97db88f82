//! `help`, `version` and `autocomplete`.

use serde_json::json;

use crate::failure::{Exit, Failure};
use crate::help;
use crate::invocation::Invocation;
use crate::output::Answer;
use crate::spec::{Command, Flag, Positional, Section};
use crate::tool::Tool;

pub(super) const COMMANDS: &[Command] = &[
    Command::new("help", Section::Help, "Displays usage information for a command", run_help)
        .takes(
            "(<command> | [--list-commands])",
            &[Positional::optional("command", "the command to learn about")],
            &[Flag::switch("list-commands", "lists the names of all commands, and nothing else")],
        )
        .tools(&Tool::ALL),
    Command::new("version", Section::Help, "Displays CLI tools version", run_version).tools(&Tool::ALL),
    Command::new("autocomplete", Section::Help, "Provides command name autocomplete variants", run_autocomplete)
        .takes(
            "[prefix] [--timeout <timeout>]",
            &[Positional::optional("prefix", "what command names begin with")],
            &[],
        )
        .tools(&Tool::ALL),
];

#[allow(clippy::unnecessary_wraps, reason = "commands have one signature")]
fn run_help(invocation: &Invocation) -> Result<Answer, Failure> {
    let tool = invocation.tool;
    if invocation.is_set("list-commands") {
        let mut names: Vec<&str> = super::of(tool).map(|command| command.name).collect();
        names.sort_unstable();
        return Ok(Answer::Text(names.join("\n")));
    }
    match invocation.argument("command") {
        None => Ok(Answer::Text(help::of_tool(tool))),
        Some(name) => match super::find(tool, name) {
            Some(command) => Ok(Answer::Text(help::of_command(tool, command))),
            None => Err(Failure::plain(Exit::Usage, help::unknown_command(tool, name))),
        },
    }
}

/// RabbitMQ's version, as scripts decide by it which commands they may use. `leveret ctl` is for people.
#[allow(clippy::unnecessary_wraps, reason = "commands have one signature")]
fn run_version(invocation: &Invocation) -> Result<Answer, Failure> {
    let version = match invocation.tool {
        Tool::Leveret => env!("CARGO_PKG_VERSION"),
        _ => crate::RABBITMQ_VERSION,
    };
    let value = json!({ "node": invocation.node(), "result": "ok", "value": { "version": version } });
    Ok(Answer::Report { text: version.to_owned(), value })
}

#[allow(clippy::unnecessary_wraps, reason = "commands have one signature")]
fn run_autocomplete(invocation: &Invocation) -> Result<Answer, Failure> {
    let prefix = invocation.argument("prefix").unwrap_or_default();
    let mut names: Vec<&str> =
        super::of(invocation.tool).map(|command| command.name).filter(|name| name.starts_with(prefix)).collect();
    names.sort_unstable();
    Ok(Answer::Text(names.join(" ")))
}
