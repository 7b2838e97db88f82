//! `leveret perf` on its own: `cargo run --release -p leveret-perf --example perf -- --help`

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: leveret_perf::Options,
}

fn main() -> ExitCode {
    match leveret_perf::run(Line::parse().options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("leveret perf: {error}");
            ExitCode::FAILURE
        }
    }
}
