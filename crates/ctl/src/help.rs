//! What `help` says.

use std::fmt::Write as _;

use crate::commands;
use crate::output::sections::bold;
use crate::parse::general_flags;
use crate::spec::{Command, Count, Flag, Takes};
use crate::tool::Tool;

/// Width of the column with names, at least.
const NAMES: usize = 30;
/// Spaces behind the longest of them.
const GAP: usize = 2;
/// How alike a command's name has to be to be suggested, from 0 to 1.
const ALIKE: f64 = 0.8;

/// All commands of a tool.
pub(crate) fn of_tool(tool: Tool) -> String {
    let name = tool.name();
    let mut text = format!(
        "\n{}\n\n{name} [--node <node>] [--timeout <timeout>] [--longnames] [--quiet] <command> [<command options>]\n\n\
         Available commands:\n",
        bold("Usage")
    );
    let mut all: Vec<&Command> = commands::of(tool).collect();
    all.sort_by_key(|command| (command.section, command.name));
    let width = all.iter().map(|command| command.name.len() + GAP).max().unwrap_or_default().max(NAMES);
    let mut section = None;
    for command in all {
        if section != Some(command.section) {
            section = Some(command.section);
            let _ = write!(text, "\n{}:\n\n", bold(command.section.title()));
        }
        let _ = writeln!(text, "   {:width$}{}", command.name, command.about);
    }
    let _ = write!(text, "\nUse '{name} help <command>' to learn more about a specific command");
    text
}

/// How to call a command.
pub(crate) fn usage(tool: Tool, command: &Command) -> String {
    let space = if command.usage.is_empty() { "" } else { " " };
    let (usage, name) = (command.usage, command.name);
    format!("{}\n\n{} [--node <node>] [--longnames] [--quiet] {name}{space}{usage}", bold("Usage"), tool.name())
}

/// Everything about a command.
pub(crate) fn of_command(tool: Tool, command: &Command) -> String {
    let mut text = format!("\n{}\n\n{}.\n", usage(tool, command), command.about.trim_end_matches('.'));
    if !command.positionals.is_empty() || !command.flags.is_empty() {
        let _ = write!(text, "\n{}\n", bold("Arguments and Options"));
        for place in command.positionals {
            let more = if matches!(place.count, Count::Any | Count::Many) { " ..." } else { "" };
            let _ = write!(text, "\n<{}>{more}\n\t{}\n", place.name, place.about);
        }
        for flag in command.flags {
            let _ = write!(text, "\n{}\n\t{}\n", spelt(flag), flag.about);
        }
    }
    if !command.notes.is_empty() {
        let _ = write!(text, "\n{}\n", command.notes);
    }
    let _ = write!(text, "\n{}\n\n", bold("General Options"));
    for flag in general_flags() {
        let _ = writeln!(text, "   {:NAMES$}{}", spelt(&flag), flag.about);
    }
    let _ = write!(text, "   {:NAMES$}show this", "-h, -?, --help");
    text
}

/// An option as it is written.
pub(crate) fn spelt(flag: &Flag) -> String {
    let short = flag.short.map(|letter| format!("-{letter}, ")).unwrap_or_default();
    let value = match flag.takes {
        Takes::Nothing => String::new(),
        Takes::Text(name) | Takes::Integer(name) | Takes::Number(name) => format!(" <{name}>"),
        Takes::Bool => " [true|false]".to_owned(),
    };
    format!("{short}--{}{value}", flag.name)
}

/// What is said of a command that is not there: the one that was meant, or all there are.
pub(crate) fn unknown_command(tool: Tool, name: &str) -> String {
    let mut text = format!("\nCommand '{name}' not found. \n");
    let likeness = |command: &&Command| strsim::jaro(name, command.name);
    let nearest = commands::of(tool).max_by(|one, other| likeness(one).total_cmp(&likeness(other)));
    match nearest.filter(|command| likeness(command) >= ALIKE) {
        Some(command) => {
            let _ = writeln!(text, "Did you mean '{}'? ", command.name);
        }
        None => match Tool::ALL.into_iter().find(|other| commands::find(*other, name).is_some()) {
            Some(other) => {
                let _ = writeln!(text, "It is a command of {}.", other.name());
            }
            None => text.push_str(&of_tool(tool)),
        },
    }
    text
}
