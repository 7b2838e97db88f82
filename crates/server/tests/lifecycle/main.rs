//! The life of a node within its process, driven over its control socket.

#![expect(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../client/mod.rs"]
mod client;
mod network;
mod plugins;
mod process;
mod restarts;
mod socket;
