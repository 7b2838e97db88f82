//! The command line tools that speak to a node: `rabbitmqctl` and its family.
//!
//! Each command is an entry of a table (`commands/`). From the table are made the parser, help, completions and manual pages. A command
//! asks the node for operations (`client.rs`) and gives an answer (`output/`), which a formatter writes.

mod client;
mod columns;
mod commands;
pub mod enabled_plugins;
mod failure;
mod generate;
mod help;
mod invocation;
pub mod locate;
mod output;
mod parse;
mod password;
pub mod plugins;
mod spec;
mod tool;

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;

pub use clap_complete::Shell;
pub use failure::Exit;
pub use generate::{completions, manual, parser};
pub use locate::{SOCKET, find_socket};
pub use tool::Tool;

/// The version of RabbitMQ that this takes the place of, which clients and scripts are told unless somebody sets another one.
pub const RABBITMQ_VERSION: &str = "4.3.5";

/// Runs a command line, which comes without the name of the tool. The exit code is one of those in [`Exit`].
pub fn run(tool: Tool, arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<String> =
        arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let mut out = std::io::stdout().lock();
    let result = execute(tool, &arguments, &mut out);
    // What was said before comes before the error, on a terminal that shows both.
    let flushed = out.flush();
    drop(out);
    match result {
        Ok(()) if flushed.is_ok() => ExitCode::SUCCESS,
        Ok(()) => Exit::Software.into(),
        Err(failure) => {
            failure.report();
            failure.exit.into()
        }
    }
}

fn execute(tool: Tool, arguments: &[String], out: &mut dyn std::io::Write) -> Result<(), failure::Failure> {
    match parse::parse(tool, arguments)? {
        parse::Parsed::Help(text) => output::write(out, &text),
        parse::Parsed::Command(invocation) => invocation.run(out),
    }
}
