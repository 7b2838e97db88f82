//! RabbitMQ's own tool, for what the protocol has no means for.
//!
//! With `BROKER_URL`, the environment variable `RABBITMQCTL` says how to call it: `rabbitmqctl -n po@localhost`.

use std::process::Command;

/// Calls it; panics if it fails.
pub(crate) fn rabbitmqctl(command: &str, vhost: Option<&str>, arguments: &[&str]) {
    let call = std::env::var("RABBITMQCTL").unwrap_or_else(|_| "rabbitmqctl".to_owned());
    let mut words = call.split_whitespace();
    let program = words.next().unwrap_or("rabbitmqctl");
    let mut process = Command::new(program);
    process.args(words).args(["-q", command]);
    if let Some(vhost) = vhost {
        process.args(["-p", vhost]);
    }
    process.args(arguments);
    let output = process.output().unwrap_or_else(|error| panic!("{call} cannot be called: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{call} {command} {arguments:?}: {said}");
}
