//! `leveret completions` and `leveret man`: what shells and manuals know of this program and of the links to it.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::CommandFactory;
use leveret_ctl::{Shell, Tool};

use crate::options::Cli;

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManualError {
    #[error("there is no program `{program}`; there are leveret, {}", tools().join(", "))]
    Program { program: String },
    #[error("cannot write {path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("cannot write: {0}")]
    Output(io::Error),
}

fn tools() -> Vec<&'static str> {
    Tool::ALL.into_iter().map(Tool::name).collect()
}

/// This program's own parser, with all that `ctl` takes.
fn parser() -> clap::Command {
    Cli::command().mut_subcommand("ctl", |ctl| {
        let about = ctl.get_about().cloned().unwrap_or_default();
        leveret_ctl::parser(Tool::Leveret).name("ctl").about(about)
    })
}

/// Prints what a shell needs to complete the command lines of a program.
pub(crate) fn completions(shell: Shell, program: &str) -> Result<(), ManualError> {
    // The library panics if it cannot write, as into a pipe that was closed.
    let mut script = Vec::new();
    if program == "leveret" {
        clap_complete::generate(shell, &mut parser(), "leveret", &mut script);
    } else {
        let tool = Tool::ALL.into_iter().find(|tool| tool.name() == program);
        let tool = tool.ok_or_else(|| ManualError::Program { program: program.to_owned() })?;
        leveret_ctl::completions(tool, shell, &mut script);
    }
    match io::stdout().write_all(&script) {
        // Whoever reads the first lines only, has what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(ManualError::Output),
    }
}

/// Writes all pages below a folder, each into that of its section.
pub(crate) fn write(folder: &Path) -> Result<(), ManualError> {
    let mut own = Cli::command();
    own.build();
    page(folder, "man1", "leveret.1", |out| clap_mangen::Man::new(own.clone()).render(out))?;
    for command in own.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = format!("leveret-{}", command.get_name());
        let named = command.clone().display_name(&name);
        page(folder, "man1", &format!("{name}.1"), |out| clap_mangen::Man::new(named).title(&name).render(out))?;
    }
    for tool in Tool::ALL {
        page(folder, "man8", &format!("{}.8", tool.name()), |out| leveret_ctl::manual(tool, out))?;
    }
    Ok(())
}

fn page(
    folder: &Path,
    section: &str,
    name: &str,
    render: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<(), ManualError> {
    let folder = folder.join(section);
    let path = folder.join(name);
    let mut octets = Vec::new();
    fs::create_dir_all(&folder)
        .and_then(|()| render(&mut octets))
        .and_then(|()| fs::write(&path, octets))
        .map_err(|source| ManualError::File { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_page_for_every_program_and_command() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path()).unwrap();
        for (file, text) in [
            ("man1/leveret.1", "data"),
            ("man1/leveret-perf.1", "SYNOPSIS"),
            ("man8/rabbitmqctl.8", "list_users"),
            ("man8/rabbitmq-plugins.8", "EXIT STATUS"),
        ] {
            let page = fs::read_to_string(folder.path().join(file)).unwrap();
            assert!(page.contains(text), "{file}");
        }
    }

    #[test]
    fn completions_know_what_ctl_takes() {
        let mut script = Vec::new();
        clap_complete::generate(Shell::Bash, &mut parser(), "leveret", &mut script);
        assert!(String::from_utf8(script).unwrap().contains("list_users"));
        assert!(matches!(completions(Shell::Zsh, "rabbit"), Err(ManualError::Program { .. })));
    }
}
