//! `leveret`: the broker, and the tools that go with it.

mod banner;
mod links;
mod manual;
mod options;
mod storage_tool;

use std::env;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use leveret_ctl::Tool;
use leveret_server::logging::Logs;
use leveret_server::{Config, ConfigError, LogStyle};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::{flag, low_level};
use tracing::{error, info, warn};

use crate::options::{Cli, Command, ServerOptions};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let mut arguments = env::args_os();
    if let Some(tool) = arguments.next().and_then(|program| Tool::of_program(Path::new(&program))) {
        return leveret_ctl::run(tool, arguments);
    }
    let cli = Cli::parse();
    match cli.command.unwrap_or(Command::Server(Box::new(cli.server))) {
        Command::Server(options) => serve(*options),
        Command::Ctl { arguments } => leveret_ctl::run(Tool::Leveret, arguments),
        Command::Links { folder, force } => {
            exit_code(links::make(&folder, force), |error| eprintln!("leveret links: {error}"))
        }
        Command::Completions { shell, program } => {
            exit_code(manual::completions(shell, &program), |error| eprintln!("leveret completions: {error}"))
        }
        Command::Man { folder } => exit_code(manual::write(&folder), |error| eprintln!("leveret man: {error}")),
        Command::Perf(options) => exit_code(leveret_perf::run(*options), |error| eprintln!("leveret perf: {error}")),
        Command::Storage(command) => storage_tool::run(command),
    }
}

fn serve(options: ServerOptions) -> ExitCode {
    let logs = match Logs::start(options.log()) {
        Ok(logs) => logs,
        Err(error) => return exit_code(Err(error), |error| eprintln!("leveret: {error}")),
    };
    let code = exit_code(run(options, &logs), |error| {
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

/// Runs the broker until a signal asks it to stop.
fn run(options: ServerOptions, logs: &Logs) -> Result<(), Box<dyn std::error::Error>> {
    let mut signals = signals()?;
    let (config, warnings) = load(&options)?;
    let config = options.into_config(config)?;
    logs.configure(&config.log, &config.node_name, &config.data_dir)?;
    for warning in warnings {
        warn!("{warning}");
    }
    for remark in config.remarks() {
        warn!("{remark}");
    }
    let (data_dir, sync) = (config.data_dir.clone(), config.sync);
    let node = leveret_server::start(&config)?;
    // It has passwords that nobody needs any more.
    drop(config);
    // Its full name can be had only now that `start` has made it.
    let data_dir = data_dir.canonicalize().unwrap_or(data_dir);
    info!(addresses = ?node.addresses(), tls_addresses = ?node.tls_addresses(), data_dir = %data_dir.display(), "started");
    if logs.console() != Some(LogStyle::Json) {
        banner::print(node.addresses(), node.tls_addresses(), &data_dir, sync);
    }
    for signal in signals.forever() {
        if signal != SIGHUP {
            info!(signal = low_level::signal_name(signal).unwrap_or("unknown"), "stopping");
            break;
        }
        node.reload_tls();
    }
    node.stop();
    info!("stopped");
    Ok(())
}

/// Reads the configuration file if there is one; gives what is to be said about it, too.
fn load(options: &ServerOptions) -> Result<(Config, Vec<String>), ConfigError> {
    let Some(path) = &options.config else { return Ok((Config::default(), Vec::new())) };
    let loaded = Config::load(path, |name| env::var(name).ok())?;
    Ok((loaded.config, loaded.warnings))
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
