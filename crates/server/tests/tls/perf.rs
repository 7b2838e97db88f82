//! `leveret perf` through TLS.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::broker::{Broker, verify};
use crate::certificates::Authority;

#[test]
fn a_load_may_go_through_tls() {
    let clients = Authority::new("Clients");
    let broker = Broker::start_with(|config, folder| verify(config, folder, &clients));
    let folder = broker.folder.path();
    fs::write(folder.join("ca.pem"), broker.authority.pem()).unwrap();
    clients.certify("client", &[]).write(folder, "client");
    let url = format!("amqps://localhost:{}/", broker.tls_address().port());
    let run = |size: &str, more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.args(["perf", "--url", &url, "--json", "--quiet", "--check", "--confirm", "100", "--messages", "2000"]);
        command.args(["--size", size]).args(more).current_dir(folder).output().unwrap()
    };
    for size in ["16", "40000"] {
        let output = run(size, &["--tls-ca", "ca.pem", "--tls-cert", "client.crt", "--tls-key", "client.key"]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{error}"));
        for (path, expected) in [("/consumed/messages", 2000), ("/check/lost", 0), ("/check/duplicated", 0)] {
            assert_eq!(report.pointer(path).and_then(Value::as_u64), Some(expected), "{path}: {report}");
        }
    }
    for (more, reason) in [
        (&[][..], "needs --tls-ca"),
        (&["--tls-ca", "ca.pem"], "CertificateRequired"),
        (
            &["--tls-ca", "client.crt", "--tls-cert", "client.crt", "--tls-key", "client.key"],
            "cannot speak TLS with localhost",
        ),
    ] {
        let output = run("16", more);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains(reason), "{more:?}: {error}");
    }
    let insecure = ["--tls-insecure", "--tls-cert", "client.crt", "--tls-key", "client.key"];
    assert!(run("16", &insecure).status.success());
}
