//! The HTTP API of a process, through real sockets: what it does with requests before they reach an operation, what it does with
//! clients that do what none should, and whether it is what it says of itself.

#![expect(clippy::indexing_slicing, clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

#[allow(dead_code, reason = "other test programs use more of it")]
#[path = "../tls/certificates.rs"]
mod certificates;
#[path = "../client/mod.rs"]
mod client;
mod description;
mod edges;
mod hostile;
#[allow(dead_code, reason = "other test programs use more of it")]
#[path = "../../../testkit/tests/clients/interpreters.rs"]
mod interpreters;
#[allow(dead_code, reason = "other test programs use more of it")]
#[path = "../lifecycle/process.rs"]
mod process;
mod request;
mod tls;
mod traces;

use std::fs;
use std::net::SocketAddr;

use tempfile::TempDir;

use crate::process::{Process, folder};

/// A broker that listens for HTTP, with these lines in its configuration file.
fn start_with(lines: &str) -> (TempDir, Process, SocketAddr) {
    let folder = folder();
    let file = folder.path().join("rabbitmq.conf");
    fs::write(&file, lines).unwrap();
    let variables = [("LEVERET_MANAGEMENT_LISTEN", "127.0.0.1:0"), ("RABBITMQ_CONFIG_FILE", file.to_str().unwrap())];
    let process = Process::start_with(folder.path(), &["--listen", "127.0.0.1:0"], &variables);
    let address = process.address("http").unwrap();
    (folder, process, address)
}

fn start() -> (TempDir, Process, SocketAddr) {
    start_with("")
}
