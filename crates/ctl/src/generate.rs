//! Completions for shells, and manual pages, out of the table of commands.

use std::io::{self, Write};

use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, italic, roman};

use crate::commands;
use crate::help::spelt;
use crate::parse;
use crate::spec::{Command, Count, Takes};
use crate::tool::Tool;

/// The parser of a tool, for programs that have it among their commands.
pub fn parser(tool: Tool) -> clap::Command {
    parse::tool_parser(tool)
}

/// Writes what a shell needs to complete the command lines of a tool.
pub fn completions(tool: Tool, shell: Shell, out: &mut dyn Write) {
    clap_complete::generate(shell, &mut parse::tool_parser(tool), tool.name(), out);
}

/// Writes the manual page of a tool, with all its commands.
pub fn manual(tool: Tool, out: &mut dyn Write) -> io::Result<()> {
    let man = Man::new(parse::tool_parser(tool)).section("8").title(tool.name());
    man.render_title(out)?;
    man.render_name_section(out)?;
    let mut page = Roff::default();
    page.control("SH", ["SYNOPSIS"]);
    page.text([bold(tool.name()), roman(" [general options] "), italic("command"), roman(" [options] [arguments]")]);
    page.control("SH", ["GENERAL OPTIONS"]);
    for flag in parse::general_flags() {
        page.control("TP", []);
        page.text([bold(spelt(&flag))]);
        page.text([roman(flag.about)]);
    }
    let mut all: Vec<&Command> = commands::of(tool).collect();
    all.sort_by_key(|command| (command.section, command.name));
    let mut section = None;
    for command in all {
        if section != Some(command.section) {
            section = Some(command.section);
            page.control("SH", [command.section.title().to_uppercase().as_str()]);
        }
        describe(&mut page, command);
    }
    page.control("SH", ["EXIT STATUS"]);
    for (code, meaning) in EXIT_CODES {
        page.control("TP", []);
        page.text([bold(code)]);
        page.text([roman(meaning)]);
    }
    page.to_writer(out)
}

const EXIT_CODES: [(&str, &str); 10] = [
    ("0", "It is done."),
    ("64", "The command line is wrong."),
    ("65", "What was given does not fit, or what it names is not there."),
    ("67", "There is no such user, or it is not let in."),
    ("69", "The node does not run, or a check failed."),
    ("70", "It was understood, and failed."),
    ("73", "A file cannot be written."),
    ("74", "A file cannot be read."),
    ("75", "It took too long; it may work later."),
    ("77", "The caller may not do this."),
];

fn describe(page: &mut Roff, command: &Command) {
    page.control("TP", []);
    page.text([bold(command.name), roman(" "), italic(command.usage)]);
    page.text([roman(command.about)]);
    if command.positionals.is_empty() && command.flags.is_empty() && command.notes.is_empty() {
        return;
    }
    page.control("RS", []);
    for place in command.positionals {
        let more = if matches!(place.count, Count::Any | Count::Many) { " ..." } else { "" };
        page.control("TP", []);
        page.text([italic(format!("{}{more}", place.name))]);
        page.text([roman(place.about)]);
    }
    for flag in command.flags {
        page.control("TP", []);
        page.text([bold(spelt(flag))]);
        let truth = if flag.takes == Takes::Bool { " (true or false)" } else { "" };
        page.text([roman(format!("{}{truth}", flag.about))]);
    }
    if !command.notes.is_empty() {
        page.control("PP", []);
        page.text([roman(command.notes)]);
    }
    page.control("RE", []);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_completions_and_manual() {
        for tool in Tool::ALL {
            let mut page = Vec::new();
            manual(tool, &mut page).unwrap();
            let page = String::from_utf8(page).unwrap();
            for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
                let mut script = Vec::new();
                completions(tool, shell, &mut script);
                let script = String::from_utf8(script).unwrap();
                for command in commands::of(tool) {
                    assert!(script.contains(command.name), "{shell} does not know {}", command.name);
                    assert!(
                        page.contains(&format!("\\fB{}\\fR", command.name)),
                        "{} has no {}",
                        tool.name(),
                        command.name
                    );
                }
            }
        }
    }
}
