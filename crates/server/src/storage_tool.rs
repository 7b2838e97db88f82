//! `leveret storage`: looks at a data folder that no broker uses, and repairs it.

mod check;
mod definitions;
mod dump;
mod folder;
mod json;
mod progress;
mod repair;
mod text;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use leveret_broker::message::Message;

/// Something is damaged.
const DAMAGED: u8 = 1;
/// The folder cannot be read, or the command line makes no sense.
const FAILED: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  leveret storage check /var/lib/leveret                 what is there, and is it sound?
  leveret storage check /var/lib/leveret --json          the same for programs
  leveret storage dump /var/lib/leveret --queue orders   the messages of a queue
  leveret storage repair /var/lib/leveret --dry-run      what would a repair do?";

const CHECK_STATUS: &str = "\
Exit status: 0 if everything is sound, 1 if something is damaged, 2 if the folder cannot be read.";

const DUMP_STATUS: &str = "\
Exit status: 0 if everything was printed, 1 if something could not be read, 2 if the folder cannot be read.";

const REPAIR_STATUS: &str = "\
Exit status: 0 if everything is sound now, 1 if it is not, 2 if the folder cannot be read or written.";

/// What to do with a data folder.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    /// Read everything in a data folder and say what is there, and whether it is sound
    ///
    /// Reads all files of the folder whole, definitions and messages, and compares what they say with each other. Nothing
    /// is changed. No broker may use the folder meanwhile.
    #[command(after_help = CHECK_STATUS)]
    Check(CheckOptions),
    /// Print the definitions and messages in a data folder, a JSON object per line
    ///
    /// A message in several queues is printed in each of them, in the order of the queue. Nothing is changed. No broker may
    /// use the folder meanwhile.
    #[command(after_help = DUMP_STATUS)]
    Dump(DumpOptions),
    /// Make a data folder sound: cut off unfinished writes, give up what cannot be read, keep everything else
    ///
    /// What is damaged is copied to a file whose name ends in `.damaged` before it is changed. A second run finds nothing
    /// to do. No broker may use the folder meanwhile.
    #[command(after_help = REPAIR_STATUS)]
    Repair(RepairOptions),
}

#[derive(Debug, Args)]
pub(crate) struct CheckOptions {
    /// The data folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Print a JSON object instead of tables
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DumpOptions {
    /// The data folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Only the queue of this name
    #[arg(long, value_name = "NAME")]
    queue: Option<String>,

    /// Only what is in this vhost
    #[arg(long, value_name = "NAME")]
    vhost: Option<String>,

    /// Only the queue of this number, which `check` shows for queues that no definition names
    #[arg(long, value_name = "NUMBER", conflicts_with_all = ["queue", "vhost"])]
    id: Option<u64>,

    /// At most so many messages of each queue, from its head on
    #[arg(long, value_name = "N")]
    limit: Option<u64>,

    /// Whether to print the bodies of messages
    #[arg(long, value_name = "WHICH", default_value = "full")]
    bodies: Bodies,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Bodies {
    None,
    Full,
}

#[derive(Debug, Args)]
pub(crate) struct RepairOptions {
    /// The data folder
    #[arg(value_name = "DIR")]
    dir: PathBuf,

    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
}

/// Why a command could not be done, in a sentence.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Folder(String),
    #[error("the result could not be written: {0}")]
    Output(#[from] io::Error),
}

/// Whether something is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Sound,
    Damaged,
}

impl Verdict {
    fn of(is_sound: bool) -> Self {
        if is_sound { Self::Sound } else { Self::Damaged }
    }
}

/// Runs a command; says how it ended.
pub(crate) fn run(command: Command) -> ExitCode {
    let mut output = io::BufWriter::new(io::stdout().lock());
    let done = match command {
        Command::Check(options) => check::run(&options, &mut output),
        Command::Dump(options) => dump::run(&options, &mut output),
        Command::Repair(options) => repair::run(&options, &mut output),
    };
    let done = done.and_then(|verdict| {
        output.flush()?;
        Ok(verdict)
    });
    match done {
        Ok(Verdict::Sound) => ExitCode::SUCCESS,
        Ok(Verdict::Damaged) => ExitCode::from(DAMAGED),
        // Whoever reads has enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            let _ = output.flush();
            eprintln!("leveret storage: {failure}");
            ExitCode::from(FAILED)
        }
    }
}

/// The size of the body of a message, from its octets as they are kept; `None` if they are no message.
fn body_bytes(octets: &[u8]) -> Option<u64> {
    Message::from_octets(octets.into()).map(|message| message.body().len() as u64)
}
