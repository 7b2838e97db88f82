//! The commands. One file per group, each with its table.

mod definitions;
mod help;
mod listings;
mod operations;
mod users;

use crate::spec::Command;
use crate::tool::Tool;

/// All groups.
const GROUPS: [&[Command]; 5] =
    [definitions::COMMANDS, help::COMMANDS, listings::COMMANDS, operations::COMMANDS, users::COMMANDS];

/// The commands of a tool.
pub(crate) fn of(tool: Tool) -> impl Iterator<Item = &'static Command> {
    let is_its = move |command: &&Command| tool == Tool::Leveret || command.tools.contains(&tool);
    GROUPS.into_iter().flatten().filter(is_its)
}

/// The command of that name.
pub(crate) fn find(tool: Tool, name: &str) -> Option<&'static Command> {
    of(tool).find(|command| command.name == name)
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
}
