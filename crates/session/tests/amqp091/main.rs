//! The session as a client sees it, without socket, disk or runtime: octets in, octets out, in one thread.

#![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod channels;
mod client;
mod confirm;
mod deaths;
mod delayed;
mod duplicates;
mod ending;
mod fake_store;
mod flow;
mod gone;
mod heartbeat;
mod input;
mod limits;
mod login;
mod memory;
mod parking;
mod refusals;
mod settle;
mod stats;
mod stored;
mod timeouts;
