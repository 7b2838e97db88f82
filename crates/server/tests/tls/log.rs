//! What the log says: one clear line for each thing that goes wrong.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustls::RootCertStore;
use rustls::version::{TLS12, TLS13};
use tempfile::TempDir;

use crate::certificates::{Authority, Certified};
use crate::client::{Client, config, connect, is_taken, tcp};

/// Far beyond what any step takes, also on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);

/// The program, its log, and the files that it was given.
struct Program {
    child: Child,
    log: Receiver<String>,
    plain: SocketAddr,
    tls: SocketAddr,
    folder: TempDir,
    authority: Authority,
}

impl Program {
    fn start(more: &[&str]) -> Self {
        let authority = Authority::new("Authority");
        let certified = authority.certify("broker", &["localhost"]);
        Self::start_with(authority, &certified, more)
    }

    fn start_with(authority: Authority, certified: &Certified, more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        certified.write(folder.path(), "broker");
        fs::write(folder.path().join("ca.pem"), authority.pem()).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_leveret"))
            .env("LEVERET_MANAGEMENT_LISTEN", "none")
            .env("LEVERET_PROMETHEUS_LISTEN", "none")
            .args(["--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:0", "--data-dir", "data"])
            .args(["--tls-cert", "broker.crt", "--tls-key", "broker.key"])
            .args(more)
            .env("NO_COLOR", "1")
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, log) = channel();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        let mut banner = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut address = |name: &str| -> SocketAddr {
            let line = banner.find(|line| line.trim_start().starts_with(name)).expect(name);
            line.split_whitespace().last().unwrap().parse().unwrap()
        };
        let (plain, tls) = (address("AMQP"), address("TLS"));
        thread::spawn(move || banner.for_each(drop));
        Self { child, log, plain, tls, folder, authority }
    }

    fn roots(&self) -> RootCertStore {
        self.authority.roots()
    }

    /// The next line with this text, which has to come after `warn` or whatever `level` is.
    fn says(&self, level: &str, text: &str) -> String {
        let mut before = Vec::new();
        loop {
            let line =
                self.log.recv_timeout(DEADLINE).unwrap_or_else(|error| panic!("no `{text}`: {error}: {before:#?}"));
            if line.contains(text) {
                assert!(line.contains(level), "{line}");
                return line;
            }
            before.push(line);
        }
    }

    fn hang_up(&self) {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn send(address: SocketAddr, octets: &[u8]) {
    let mut stream = tcp(address);
    stream.write_all(octets).unwrap();
    let _ = stream.read(&mut [0; 64]);
}

#[test]
fn clients_of_another_protocol_are_named() {
    let program = Program::start(&[]);
    send(program.tls, b"AMQP\0\0\x09\x01");
    program.says("[warning]", "TLS handshake failed: AMQP client without TLS detected on TLS port");
    send(program.tls, b"GET / HTTP/1.1\r\n\r\n");
    program.says("[warning]", "TLS handshake failed: HTTP request detected on TLS port");
    connect(program.plain, &Arc::new(config(program.roots(), None, &[&TLS13]))).unwrap_err();
    program.says("[error]", "TLS client detected on non-TLS AMQP port");
}

#[test]
fn refused_clients_are_told_apart() {
    let program = Program::start(&[
        "--tls-ca",
        "ca.pem",
        "--tls-verify",
        "peer",
        "--tls-fail-if-no-peer-cert",
        "--tls-min-version",
        "1.3",
    ]);
    let authority = &program.authority;
    let stranger = Authority::new("Stranger");
    for (certified, version, text) in [
        (None, &TLS13, "the client has no certificate"),
        (Some(stranger.certify("x", &[])), &TLS13, "the client's certificate was issued by an unknown authority"),
        (Some(authority.certify_expired("x", &[])), &TLS13, "the client's certificate has expired"),
        (Some(authority.certify("x", &[])), &TLS12, "the client speaks no version of TLS that is switched on here"),
    ] {
        assert!(!is_taken(program.tls, config(program.roots(), certified.as_ref(), &[version])), "{text}");
        program.says("[warning]", &format!("TLS handshake failed: {text}"));
    }
    let config = Arc::new(config(stranger.roots(), None, &[&TLS13]));
    connect(program.tls, &config).unwrap_err();
    program.says("[warning]", "TLS handshake failed: the client does not trust our certificate");
}

#[test]
fn who_is_accepted_shows_with_its_certificate() {
    let program = Program::start(&["--tls-ca", "ca.pem", "--tls-verify", "peer", "--log-level", "debug"]);
    let certified = program.authority.certify("client", &[]);
    let config = Arc::new(config(program.roots(), Some(&certified), &[&TLS13]));
    for resumed in [false, true] {
        Client::open(connect(program.tls, &config).unwrap()).works();
        let line = program.says("[debug]", "TLS session");
        for part in ["tls=\"tlsv1.3\"", "certificate=\"CN=client,O=Tests\"", &format!("resumed={resumed}")] {
            assert!(line.contains(part), "{part}: {line}");
        }
    }
}

#[test]
fn proxies_that_say_nothing_are_named() {
    let program = Program::start(&["--proxy-protocol"]);
    send(program.plain, b"AMQP\0\0\x09\x01");
    program.says("[warning]", "connection closed: it has no PROXY header; it is an AMQP client");
    send(program.tls, b"\x16\x03\x01\x02\0");
    program.says("[warning]", "connection closed: it has no PROXY header; it is a TLS client");
    send(program.plain, b"PROXY TCP4 300.0.0.1 1.2.3.4 5 6\r\n");
    program.says("[warning]", "connection closed: its PROXY header is malformed");
    // The log has the client's address, not the proxy's.
    send(program.tls, b"PROXY TCP4 192.0.2.7 10.0.0.2 1234 5671\r\nAMQP\0\0\x09\x01");
    program.says("[warning]", "TLS handshake failed: AMQP client").contains("192.0.2.7:1234").then_some(()).unwrap();
}

#[test]
fn an_expired_certificate_of_ours_is_a_warning() {
    let authority = Authority::new("Authority");
    let expired = authority.certify_expired("broker", &["localhost"]);
    let program = Program::start_with(authority, &expired, &[]);
    program.says("[warning]", "the certificate in broker.crt has expired");
}

#[test]
fn a_signal_asks_to_read_the_files_again() {
    let program = Program::start(&[]);
    program.hang_up();
    program.says("[info]", "TLS files were read again");
    fs::write(program.folder.path().join("broker.key"), "nothing").unwrap();
    program.hang_up();
    let line = program.says("[error]", "TLS files were not taken over, those from before stay in use");
    assert!(line.contains("broker.key: there is no private key"), "{line}");
    assert!(is_taken(program.tls, config(program.roots(), None, &[&TLS13])));
}

#[test]
fn the_password_of_a_key_comes_by_a_variable_or_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new("Authority");
    let (certificate, key) = authority.certify("broker", &["localhost"]).write(folder.path(), "broker");
    let shut = folder.path().join("shut.key");
    let openssl = Command::new("openssl")
        .args(["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", "pass:secret", "-in"])
        .args([&key, Path::new("-out"), &shut])
        .status();
    if let Err(error) = openssl {
        eprintln!("SKIPPED: the password of a key ({error}); install openssl");
        return;
    }
    let password = folder.path().join("password");
    fs::write(&password, "secret\n").unwrap();
    for (variable, option) in [(Some("secret"), None), (None, Some(&password)), (Some("wrong"), None)] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_leveret"));
        command.args([
            "--listen",
            "none",
            "--tls-listen",
            "127.0.0.1:0",
            "--management-listen",
            "none",
            "--prometheus-listen",
            "none",
            "--data-dir",
        ]);
        command.arg(folder.path().join("data")).arg("--tls-cert").arg(&certificate).arg("--tls-key").arg(&shut);
        if let Some(variable) = variable {
            command.env("LEVERET_TLS_KEY_PASSWORD", variable);
        }
        if let Some(file) = option {
            command.arg("--tls-key-password-file").arg(file);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let started = lines.any(|line| line.contains("TLS"));
        assert_eq!(started, variable != Some("wrong"), "{variable:?} {option:?}");
        child.kill().unwrap();
        let mut log = String::new();
        child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        child.wait().unwrap();
        assert!(started || log.contains("shut.key: the password for the key is wrong"), "{log}");
    }
}
