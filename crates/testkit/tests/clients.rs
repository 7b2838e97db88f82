//! Real client libraries against a running broker: one scripted session each, see `clients/`.
//!
//! `BROKER_URL=amqp://guest:guest@127.0.0.1:5672/` runs them against that broker, such as a `RabbitMQ`. What they need
//! is installed once into the target directory; the machine has to bring `python3` with its venv module.

#[path = "clients/interpreters.rs"]
mod interpreters;
#[path = "clients/tls.rs"]
mod tls;

use std::env;
use std::process::Command;

use interpreters::{clients, node, passes, python};

#[test]
fn pika_session_passes() {
    session_passes(python, "pika_session.py").unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn aio_pika_session_passes() {
    session_passes(python, "aio_pika_session.py").unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn amqplib_session_passes() {
    session_passes(node, "amqplib_session.js").unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn pika_speaks_tls() {
    tls_session_passes(python, "pika_tls.py").unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn amqplib_speaks_tls() {
    tls_session_passes(node, "amqplib_tls.js").unwrap_or_else(|report| panic!("{report}"));
}

/// Runs one script against two brokers of its own, of which the second one asks for clients' certificates.
fn tls_session_passes(interpreter: fn() -> Result<Command, String>, script: &str) -> Result<(), String> {
    let brokers = tls::Brokers::start().map_err(|error| error.to_string())?;
    let mut command = interpreter()?;
    command.arg(clients().join(script)).arg("localhost").args(brokers.ports()).arg(brokers.folder());
    passes(command, script)
}

/// Where the broker under test listens.
fn broker_url() -> String {
    env::var("BROKER_URL").unwrap_or_else(|_| {
        let url = leveret_testkit::broker::shared();
        format!("amqp://{}:{}@{}/", url.user, url.password, url.address)
    })
}

/// Runs one script to its end; the error is what a person needs to see.
fn session_passes(interpreter: fn() -> Result<Command, String>, script: &str) -> Result<(), String> {
    let url = broker_url();
    let mut command = interpreter()?;
    command.arg(clients().join(script)).arg(&url);
    passes(command, &format!("{script} against {url}"))
}
