//! TLS and the PROXY protocol, by clients on a socket.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test reports a failure")]
#![allow(clippy::indexing_slicing, reason = "an index out of bounds fails the test, as it should")]

mod broker;
mod certificates;
mod client;
mod clients_certificates;
mod files;
mod log;
mod octets;
mod perf;
mod proxy;
mod reload;
mod server_names;
mod versions;
