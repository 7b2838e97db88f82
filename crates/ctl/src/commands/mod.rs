//! The commands. One file per group, each with its table.

mod access;
mod cluster;
mod definitions;
mod diagnostics;
mod flags;
mod health;
mod help;
mod listings;
mod logs;
mod nodes;
mod operations;
mod parameters;
mod plugins;
mod policies;
mod replicas;
mod sealing;
mod status;
mod upgrade;
mod users;
mod vhosts;

use serde_json::Value;

use crate::output::{Answer, Rows};
use crate::spec::Command;
use crate::tool::Tool;

/// All groups.
const GROUPS: &[&[Command]] = &[
    access::COMMANDS,
    cluster::COMMANDS,
    definitions::COMMANDS,
    diagnostics::COMMANDS,
    flags::COMMANDS,
    health::COMMANDS,
    help::COMMANDS,
    listings::COMMANDS,
    logs::COMMANDS,
    nodes::COMMANDS,
    operations::COMMANDS,
    parameters::COMMANDS,
    plugins::COMMANDS,
    policies::COMMANDS,
    replicas::COMMANDS,
    sealing::COMMANDS,
    status::COMMANDS,
    upgrade::COMMANDS,
    users::COMMANDS,
    vhosts::COMMANDS,
];

/// The tools that list what is set.
const LISTING: &[Tool] = &[Tool::Ctl, Tool::Diagnostics];

/// The commands of a tool.
pub(crate) fn of(tool: Tool) -> impl Iterator<Item = &'static Command> {
    let is_its = move |command: &&Command| tool == Tool::Leveret || command.tools.contains(&tool);
    GROUPS.iter().copied().flatten().filter(is_its)
}

/// The command of that name.
pub(crate) fn find(tool: Tool, name: &str) -> Option<&'static Command> {
    of(tool).find(|command| command.name == name)
}

/// The limits of one vhost or user, which are a text and no table.
fn limits_alone(rows: Rows) -> Answer {
    match rows.rows.first().and_then(|row| row.get("limits")).and_then(Value::as_str) {
        Some(limits) => Answer::Text(limits.to_owned()),
        None => Answer::Rows(rows),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_has_one_name_and_says_what_it_does() {
        let mut names = BTreeSet::new();
        for command in of(Tool::Leveret) {
            assert!(names.insert(command.name), "{} is there twice", command.name);
            assert!(!command.about.is_empty() && !command.tools.is_empty(), "{}", command.name);
        }
    }

    #[test]
    fn no_argument_is_taken_for_a_general_option() {
        for command in of(Tool::Leveret) {
            for place in command.positionals {
                let general = crate::parse::general_flags().into_iter().any(|flag| flag.name == place.name);
                assert!(!general, "{} {}", command.name, place.name);
            }
        }
    }
}
