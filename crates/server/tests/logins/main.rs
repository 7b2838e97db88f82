//! Client libraries that log in to brokers with configuration files: each back end, certificates, and several back ends at
//! once. The scripts beside this file start the brokers, and see to it that these tell nobody a secret.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test reports a failure")]

mod files;
#[path = "../../../testkit/tests/clients/interpreters.rs"]
mod interpreters;
#[expect(dead_code, reason = "tests of the back end itself do more with it")]
#[path = "../../../auth/tests/ldap/slapd.rs"]
mod slapd;

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

/// A script with the broker and a folder with keys and certificates.
fn script(name: &str) -> (Command, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    files::write_certificates(folder.path()).unwrap();
    files::write_token_key(folder.path()).unwrap();
    let mut command = interpreters::python().unwrap_or_else(|report| panic!("{report}"));
    command.arg(scripts().join(name)).arg(env!("CARGO_BIN_EXE_leveret")).arg(folder.path());
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    (command, folder)
}

fn scripts() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/logins"))
}

fn passes(command: Command, name: &str) {
    interpreters::passes(command, name).unwrap_or_else(|report| panic!("{report}"));
}

#[test]
fn an_http_service_is_asked() {
    let (command, _folder) = script("http_backend.py");
    passes(command, "http_backend.py");
}

#[test]
fn ldap_servers_are_asked() {
    let Some(slapd) = slapd::start() else { return };
    let (mut command, _folder) = script("ldap_backend.py");
    command.arg(slapd.port.to_string()).arg(slapd.tls_port.to_string());
    command.arg(slapd.authority_file().parent().unwrap());
    passes(command, "ldap_backend.py");
}

#[test]
fn tokens_are_passwords() {
    let (command, _folder) = script("oauth2_backend.py");
    passes(command, "oauth2_backend.py");
}

#[test]
fn certificates_say_who_it_is() {
    let (mut command, _folder) = script("external.py");
    let node = interpreters::node().unwrap_or_else(|report| panic!("{report}"));
    command.arg(node.get_program()).arg(scripts().join("external_amqplib.js"));
    command.envs(node.get_envs().filter_map(|(name, value)| Some((name, value?))));
    passes(command, "external.py");
}

#[test]
fn several_back_ends_are_asked() {
    let (command, _folder) = script("chain.py");
    passes(command, "chain.py");
}
