//! `leveret`: the broker, and the tools that go with it.

mod banner;
mod config_tool;
mod configure;
mod links;
mod manual;
mod options;
mod rabbitmq_server;
mod storage_tool;

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use leveret_ctl::Tool;
use leveret_server::logging::Logs;
use leveret_server::{Keeper, LogStyle, Outside};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};
use tracing::{error, info};

use crate::options::{Cli, Command};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments: Vec<_> = env::args_os().collect();
    let program = arguments.first().map(Path::new);
    if let Some(tool) = program.and_then(Tool::of_program) {
        return leveret_ctl::run(tool, arguments.into_iter().skip(1));
    }
    if program.and_then(Path::file_name).is_some_and(|name| name == links::SERVER) {
        return rabbitmq_server::rabbitmq_server(arguments.drain(1..), serve);
    }
    let cli = Cli::parse_from(&arguments);
    match cli.command {
        None | Some(Command::Server(_)) => serve(arguments),
        Some(Command::Config(command)) => config_tool::run(command),
        Some(Command::Ctl { arguments }) => leveret_ctl::run(Tool::Leveret, arguments),
        Some(Command::Links { folder, force }) => {
            exit_code(links::make(&folder, force), |error| eprintln!("leveret links: {error}"))
        }
        Some(Command::Completions { shell, program }) => {
            exit_code(manual::completions(shell, &program), |error| eprintln!("leveret completions: {error}"))
        }
        Some(Command::Man { folder }) => exit_code(manual::write(&folder), |error| eprintln!("leveret man: {error}")),
        Some(Command::Perf(options)) => {
            exit_code(leveret_perf::run(*options), |error| eprintln!("leveret perf: {error}"))
        }
        Some(Command::Storage(command)) => storage_tool::run(command),
    }
}

/// Runs the broker with these arguments, of which the first is the name of the program.
fn serve(arguments: Vec<OsString>) -> ExitCode {
    rabbitmq_server::leave_terminal();
    let cli = Cli::parse_from(&arguments);
    let options = match cli.command {
        Some(Command::Server(options)) => *options,
        Some(_) | None => cli.server,
    };
    let logs = match Logs::start(options.log()) {
        Ok(logs) => logs,
        Err(error) => return exit_code(Err(error), |error| eprintln!("leveret: {error}")),
    };
    let code = exit_code(run(arguments, &logs), |error| {
        let console = logs.console();
        if console != Some(LogStyle::Text) {
            error!("{error}");
        }
        // A filter may drop the record, but never the reason why the program ended.
        if console != Some(LogStyle::Json) || !tracing::enabled!(tracing::Level::ERROR) {
            eprintln!("leveret: {error}");
        }
    });
    logs.flush();
    code
}

/// Runs the broker until a signal, or an operator, asks it to stop.
fn run(arguments: Vec<OsString>, logs: &Logs) -> Result<(), Box<dyn Error>> {
    let mut signals = signals()?;
    let loaded = configure::load(&arguments)?;
    let sync = loaded.config.sync;
    let handle = signals.handle();
    let outside = Outside {
        load: Box::new(move || configure::load(&arguments)),
        stop: Box::new(move || handle.close()),
        logs: logs.clone(),
    };
    let keeper = Keeper::open(&loaded.config, outside)?;
    // With it go the passwords in it, which nobody needs any more.
    keeper.start(loaded)?;
    if rabbitmq_server::is_in_background() {
        rabbitmq_server::announce()?;
    } else if logs.console() != Some(LogStyle::Json) {
        let (addresses, tls_addresses) = keeper.addresses();
        let addresses = [("AMQP", addresses), ("TLS", tls_addresses), ("HTTP", keeper.management_addresses())];
        banner::print(&addresses, keeper.data_dir(), sync);
    }
    let mut asked = "an operator";
    for signal in signals.forever() {
        if signal != SIGHUP {
            asked = low_level::signal_name(signal).unwrap_or("unknown");
            break;
        }
        keeper.reload();
    }
    info!(signal = asked, "stopping");
    keeper.stop();
    info!("stopped");
    Ok(())
}

/// Waits for the signals that ask for a clean stop, of which the second one ends the process at once, and for the one that asks
/// to read certificates again.
fn signals() -> std::io::Result<Signals> {
    let stopping = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // In this order: the first signal must find the flag down, and then raise it.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stopping))?;
        flag::register(signal, Arc::clone(&stopping))?;
    }
    Signals::new([SIGHUP, SIGINT, SIGTERM])
}

fn exit_code<E>(result: Result<(), E>, report: impl FnOnce(E)) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(error);
            ExitCode::FAILURE
        }
    }
}
