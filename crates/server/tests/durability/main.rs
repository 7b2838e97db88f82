//! What becomes of persistent messages when the broker is killed, stopped, or has no room on its disk.
//!
//! Clients work on a real process; a ledger keeps account of every message by what the broker has answered, and every
//! restart is audited against it.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod audit;
mod clean_stop;
mod dead_letters;
mod disk_full;
mod kill;
mod ledger;
mod message;
mod process;
mod publishers;
mod random;
mod settings;
mod takers;
mod wire;
