//! The control socket: whose it is, when it is there, and how it is found.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::process::{DEADLINE, Process, eventually, fill, folder};

#[test]
fn nobody_else_can_connect() {
    let folder = folder();
    // Everybody may come as far as the socket.
    for path in [folder.path().to_owned(), folder.path().join("data")] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let process = Process::start(folder.path());
    assert_eq!(fs::metadata(process.socket()).unwrap().permissions().mode() & 0o777, 0o600);
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED: only root can try to connect as somebody else");
        return;
    }
    let script = "import socket, sys\ntry:\n socket.socket(socket.AF_UNIX).connect(sys.argv[1])\nexcept PermissionError:\n sys.exit(7)";
    let tried = |user: u32| {
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(process.socket()).uid(user).gid(user).stderr(Stdio::null());
        command.status().unwrap().code()
    };
    assert_eq!(tried(0), Some(0));
    assert_eq!(tried(65534), Some(7), "it is nobody's");
}

#[test]
fn the_socket_of_a_dead_node_is_replaced_and_that_of_a_stopped_one_is_gone() {
    let folder = folder();
    let mut process = Process::start(folder.path());
    fill(process.amqp(), "kept", 1);
    process.child.kill().unwrap();
    process.child.wait().unwrap();
    assert!(process.socket().exists() && UnixStream::connect(process.socket()).is_err());
    let mut process = Process::start(folder.path());
    assert_eq!(process.phase(), "running");
    assert_eq!(fs::read_to_string(folder.path().join("pid")).unwrap().trim(), process.pid().to_string());
    // A second node on the folder is told so, and takes nothing away.
    let mut second = Process::spawn(folder.path(), &["--listen", "127.0.0.1:0"], &[]);
    assert!(!second.wait().success());
    assert_eq!(process.phase(), "running");
    process.terminate();
    assert!(process.wait().success());
    assert!(!process.socket().exists() && !folder.path().join("pid").exists());
}

#[test]
fn it_is_there_before_the_broker_and_stays_until_the_end() {
    let folder = folder();
    let process = Process::spawn(folder.path(), &["--listen", "127.0.0.1:0"], &[]);
    eventually("the socket", || UnixStream::connect(process.socket()).ok());
    process.done("await_startup");
    assert_eq!(process.phase(), "running");
    process.done("stop_app");
    let waited = process.ask("await_startup", &json!({ "timeout_ms": 10 }));
    assert_eq!(waited.end["error"]["kind"], "temporary");
}

#[test]
fn the_folder_may_have_a_long_name() {
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("d".repeat(150));
    fs::create_dir_all(deep.join("data")).unwrap();
    let process = Process::start(&deep);
    let found = leveret_ctl::find_socket(None, Some(&process.folder)).unwrap();
    leveret_ctl::locate::connect(&found).unwrap();
    let unknown = leveret_ctl::find_socket(Some("nobody@nowhere"), None);
    assert!(unknown.unwrap_err().contains("no node nobody@nowhere was found"));
}

#[test]
fn the_service_manager_is_told() {
    let folder = folder();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    let wait_for = |word: &str| {
        let mut octets = [0; 1024];
        loop {
            let count = socket.recv(&mut octets).unwrap_or_else(|error| panic!("{word}: {error}"));
            if String::from_utf8_lossy(&octets[..count]).lines().any(|line| line == word) {
                return;
            }
        }
    };
    let variables = [("NOTIFY_SOCKET", path.to_str().unwrap())];
    let mut process = Process::spawn(folder.path(), &["--listen", "127.0.0.1:0"], &variables);
    wait_for("READY=1");
    process.done("reload");
    for word in ["RELOADING=1", "READY=1"] {
        wait_for(word);
    }
    process.terminate();
    wait_for("STOPPING=1");
    assert!(process.wait().success());
}

#[test]
fn however_many_follow_the_log_the_node_does_what_others_ask() {
    let folder = folder();
    let process = Process::start(folder.path());
    let request =
        "POST /control/log_stream HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    let mut followers = Vec::new();
    let refused = eventually("no more may follow", || {
        let mut follower = UnixStream::connect(process.socket()).unwrap();
        follower.set_read_timeout(Some(DEADLINE)).unwrap();
        follower.write_all(request.as_bytes()).unwrap();
        // The head of the answer comes before the first line.
        let mut head = [0; 12];
        follower.read_exact(&mut head).unwrap();
        followers.push(follower);
        (head != *b"HTTP/1.1 200").then_some(head)
    });
    assert_eq!(refused, *b"HTTP/1.1 503");
    assert_eq!(process.phase(), "running");
    process.done("stop_app");
    drop(followers);
    process.done("start_app");
}
