//! Operations over the network: who may ask for them, and what becomes of those who do not finish.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use serde_json::json;

use crate::process::{Answer, DEADLINE, Process, folder, post};

const GUEST: &str = "Authorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n";

fn start() -> (tempfile::TempDir, Process, SocketAddr) {
    let folder = folder();
    let variables = [("LEVERET_MANAGEMENT_LISTEN", "127.0.0.1:0")];
    let process = Process::start_with(folder.path(), &["--listen", "127.0.0.1:0"], &variables);
    let address = process.address("http").unwrap();
    (folder, process, address)
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn ask(address: SocketAddr, operation: &str, more: &str) -> (u16, Answer) {
    post(connect(address), operation, &json!({}), more)
}

#[test]
fn only_administrators_may_ask() {
    let (_folder, process, address) = start();
    process.ask("add_user", &json!({ "user": "hare", "password": "field" })).result();
    // hare:field and guest:wrong.
    let (hare, wrong) = ("Authorization: Basic aGFyZTpmaWVsZA==\r\n", "Authorization: Basic Z3Vlc3Q6d3Jvbmc=\r\n");
    for (more, expected) in [(GUEST, 200), ("", 401), (wrong, 401), (hare, 403)] {
        let (status, answer) = ask(address, "facts", more);
        assert_eq!(status, expected, "{more}: {answer:?}");
    }
    let mut stream = connect(address);
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.0 404 ") || answer.starts_with("HTTP/1.1 404 "), "{answer}");
}

#[test]
fn a_page_in_a_browser_may_not_ask() {
    let (_folder, _process, address) = start();
    let (status, answer) = ask(address, "facts", &format!("{GUEST}Origin: http://{address}\r\n"));
    assert_eq!((status, answer.error()), (403, "pages in browsers may not ask for operations"));
}

#[test]
fn the_tools_reach_a_node_over_the_network() {
    let (_folder, _process, address) = start();
    let ctl = |node: &str, password: &str, command: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_leveret"))
            .args(["ctl", "--node", node, "--user", "guest"])
            .args(command)
            .env("LEVERET_CTL_PASSWORD", password)
            .output()
            .unwrap();
        let text = |octets| String::from_utf8(octets).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let node = format!("http://{address}");
    let (code, out, error) = ctl(&node, "guest", &["-q", "list_users"]);
    assert_eq!((code, out.as_str()), (Some(0), "user\ttags\nguest\t[administrator]\n"), "{error}");
    let (code, _, error) = ctl(&node, "wrong", &["list_users"]);
    assert_eq!(code, Some(77), "{error}");
    assert!(error.contains("wrong user name or password"), "{error}");
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, _, error) = ctl(&format!("http://{gone}"), "guest", &["list_users"]);
    assert_eq!(code, Some(69), "{error}");
    assert!(error.contains("unable to perform an operation on node"), "{error}");
}

#[test]
fn who_has_the_broker_stopped_over_the_network_is_answered() {
    let (_folder, process, address) = start();
    let idle = connect(address);
    let (status, answer) = ask(address, "stop_app", GUEST);
    assert_eq!(status, 200);
    answer.result();
    assert!(TcpStream::connect(address).is_err());
    assert_eq!((&idle).read(&mut [0]).unwrap_or(0), 0, "who asked for nothing is hung up on");
    assert_eq!(process.phase(), "stopped");
    process.done("start_app");
    assert!(process.address("http").is_some());
}

#[test]
fn a_port_that_somebody_wants_has_to_be_free() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = folder();
    let variables = [("LEVERET_MANAGEMENT_LISTEN", address.as_str())];
    let mut process = Process::spawn(folder.path(), &["--listen", "127.0.0.1:0"], &variables);
    assert_eq!(process.wait().code(), Some(1));
}
