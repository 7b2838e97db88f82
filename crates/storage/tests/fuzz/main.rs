//! The rules of the logs, tried on random histories and random damage.
//!
//! Each test takes `LEVERET_FUZZ_ITERATIONS` seeds. A failure prints `LEVERET_FUZZ_SEED=...`, which, set in the
//! environment, repeats it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a panic is how a test reports a failure"
)]

mod damage;
mod history;
mod messages_damage;
mod messages_history;
mod messages_model;
mod messages_reader;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs a test with seeds from `first` on, `default` of them if the environment does not say how many.
fn seeds(first: u64, default: u64, run: impl Fn(u64)) {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let count = number("LEVERET_FUZZ_ITERATIONS").unwrap_or(default);
    let seeds = match number("LEVERET_FUZZ_SEED") {
        Some(seed) if seed >> 32 == first >> 32 => seed..seed + 1,
        Some(_) => return,
        None => first..first + count,
    };
    for seed in seeds {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            eprintln!("LEVERET_FUZZ_SEED={seed}");
            resume_unwind(panic);
        }
    }
}
