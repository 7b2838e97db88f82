//! Published clients of the HTTP API against a broker, as they come: a scripted session each, see `clients/`.
//!
//! `RABBITMQ_TOOLS=/usr/lib/rabbitmq/lib/rabbitmq_server-3.10.8/sbin` runs them against that `RabbitMQ`. Libraries are
//! installed once into the target directory, and so is rabbitmqadmin 2, which is built then: with two cores that takes two
//! minutes. `LEVERET_RABBITMQADMIN` names one that is there already. The rabbitmqadmin of `RabbitMQ` 3 is taken from an
//! installed one; `LEVERET_RABBITMQADMIN_V1` says where it is if it is elsewhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a test reports a failure")]

#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "clients/interpreters.rs"]
mod interpreters;
#[allow(dead_code, reason = "other tests use the rest of it")]
#[path = "api/node.rs"]
mod node;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use interpreters::{cache, clients, install_once, must_succeed, passes, python, python_with};
use node::{Broker, Node};

#[test]
fn rabbitmqadmin_1_does_all_that_it_can() {
    let Some(program) = rabbitmqadmin_v1() else {
        eprintln!(
            "SKIPPED: there is no rabbitmqadmin of RabbitMQ 3 here, install RabbitMQ or set LEVERET_RABBITMQADMIN_V1"
        );
        return;
    };
    let node = Node::start(Broker::of_environment(), "rabbitmqadmin_1");
    session_passes(&node, "rabbitmqadmin_v1.py", Some(&program)).unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn rabbitmqadmin_2_does_all_that_it_can() {
    let broker = Broker::of_environment();
    if matches!(broker, Broker::RabbitMq { .. }) {
        eprintln!("SKIPPED: rabbitmqadmin 2 needs the HTTP API of RabbitMQ 4");
        return;
    }
    let program = rabbitmqadmin_v2().unwrap_or_else(|report| panic!("{report}"));
    let node = Node::start(broker, "rabbitmqadmin_2");
    session_passes(&node, "rabbitmqadmin_v2.py", Some(&program)).unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn amqpstorm_manages_a_broker() {
    let node = Node::start(Broker::of_environment(), "amqpstorm");
    session_passes(&node, "amqpstorm_management.py", None).unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn what_terraform_applies_stays_as_it_is() {
    let node = Node::start(Broker::of_environment(), "terraform");
    let mut command = python().unwrap_or_else(|report| panic!("{report}"));
    command.arg(clients().join("provider_loop.py")).arg(node.address());
    passes(command, "provider_loop.py").unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn answers_are_what_the_openapi_document_promises() {
    /// How long random requests are made, as a number of seconds.
    const SECONDS: &str = "30";
    let broker = Broker::of_environment();
    if matches!(broker, Broker::RabbitMq { .. }) {
        eprintln!("SKIPPED: RabbitMQ has no OpenAPI document");
        return;
    }
    let python = python_with("schemathesis", "requirements-schemathesis.txt");
    let mut command = python.unwrap_or_else(|report| panic!("{report}"));
    let node = Node::start(broker, "openapi");
    command.arg(clients().join("openapi_conformance.py")).arg(node.address()).arg(SECONDS);
    passes(command, "openapi_conformance.py").unwrap_or_else(|report| panic!("{report}"));
}

/// Runs one script to its end; the error is what a person needs to see.
fn session_passes(node: &Node, script: &str, program: Option<&Path>) -> Result<(), String> {
    let mut command = python()?;
    command.arg(clients().join(script)).args(program).arg(node.url().address).arg(node.address());
    passes(command, script)
}

/// The script that comes with `RabbitMQ` 3.
fn rabbitmqadmin_v1() -> Option<PathBuf> {
    if let Some(path) = env::var_os("LEVERET_RABBITMQADMIN_V1") {
        return Some(path.into());
    }
    let folders = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let servers = folders(Path::new("/usr/lib/rabbitmq/lib"));
    let plugins = servers.flat_map(|server| folders(&server.join("plugins")).collect::<Vec<_>>());
    plugins.map(|plugin| plugin.join("priv/www/cli/rabbitmqadmin")).find(|script| script.is_file())
}

/// The program, which is built from the registry if it is not there.
fn rabbitmqadmin_v2() -> Result<PathBuf, String> {
    if let Some(path) = env::var_os("LEVERET_RABBITMQADMIN") {
        return Ok(path.into());
    }
    let (folder, version) = (cache().join("rabbitmqadmin"), clients().join("rabbitmqadmin-version.txt"));
    let program = folder.join("bin/rabbitmqadmin");
    install_once(&folder, &[&version], || {
        let version = fs::read_to_string(&version).map_err(|error| error.to_string())?;
        let build = folder.join("build");
        let mut install = Command::new(env!("CARGO"));
        install.args(["install", "--quiet", "--locked", "--no-default-features", "rabbitmqadmin", "--version"]);
        install.arg(version.trim()).arg("--root").arg(&folder).arg("--target-dir").arg(&build);
        // It is built to be run a few times.
        install.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0").env("CARGO_PROFILE_RELEASE_LTO", "off");
        install.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16").env_remove("RUSTFLAGS");
        must_succeed(install)?;
        fs::remove_dir_all(&build).map_err(|error| error.to_string())
    })?;
    Ok(program)
}
