//! The program, and a client of its control socket.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use leveret_protocol::amqp091::Method;
use leveret_protocol::amqp091::method::{BasicPublish, QueueDeclare, TxCommit, TxSelect};
use leveret_protocol::amqp091::{Table, frame};
use serde_json::{Value, json};

use crate::client::Client;

/// Far beyond what any step takes, also on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);
const POLL: Duration = Duration::from_millis(10);

/// A broker's process.
pub(crate) struct Process {
    pub(crate) child: Child,
    /// Of which the banner was read; nobody is to be told that nobody reads it.
    stdout: BufReader<ChildStdout>,
    pub(crate) folder: PathBuf,
}

/// What an operation answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) rows: Vec<Value>,
    pub(crate) end: Value,
}

impl Answer {
    /// The text of its error.
    pub(crate) fn error(&self) -> &str {
        self.end["error"]["text"].as_str().unwrap_or_else(|| panic!("no error: {self:?}"))
    }

    /// What it came to.
    pub(crate) fn result(&self) -> &Value {
        self.end.get("result").unwrap_or_else(|| panic!("{self:?}"))
    }
}

impl Process {
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &["--listen", "127.0.0.1:0"], &[])
    }

    /// Starts it and waits until it says that it runs.
    pub(crate) fn start_with(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut process = Self::spawn(folder, arguments, variables);
        let mut line = String::new();
        while !line.contains("Stop") {
            line.clear();
            assert_ne!(process.stdout.read_line(&mut line).unwrap(), 0, "it did not start");
        }
        process
    }

    pub(crate) fn spawn(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let data = folder.join("data");
        let mut child = Command::new(env!("CARGO_BIN_EXE_leveret"))
            .args(["--log-level", "warn", "--data-dir"])
            .arg(&data)
            .args(arguments)
            .env("LEVERET_MANAGEMENT_LISTEN", "none")
            .env("LEVERET_PROMETHEUS_LISTEN", "none")
            .env("RABBITMQ_PID_FILE", folder.join("pid"))
            .env_remove("RABBITMQ_ENABLED_PLUGINS_FILE")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout, folder: data }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("control.sock")
    }

    /// Asks for an operation.
    pub(crate) fn ask(&self, operation: &str, arguments: &Value) -> Answer {
        let stream = UnixStream::connect(self.socket()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let (status, answer) = post(stream, operation, arguments, "");
        assert_eq!(status, 200, "{answer:?}");
        answer
    }

    /// Asks for one that has to succeed.
    pub(crate) fn done(&self, operation: &str) -> Answer {
        let answer = self.ask(operation, &json!({}));
        answer.result();
        answer
    }

    pub(crate) fn phase(&self) -> String {
        self.done("phase").result()["phase"].as_str().unwrap().to_owned()
    }

    /// Where it speaks something.
    pub(crate) fn address(&self, protocol: &str) -> Option<SocketAddr> {
        let listeners = self.done("listeners").rows;
        let found = listeners.iter().find(|row| row["protocol"] == protocol)?;
        format!("{}:{}", found["interface"].as_str()?, found["port"]).parse().ok()
    }

    pub(crate) fn amqp(&self) -> SocketAddr {
        self.address("amqp").unwrap()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        eventually("the process ends", || self.child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is there.
pub(crate) fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < DEADLINE, "{what}: never");
        std::thread::sleep(POLL);
    }
}

/// Asks for an operation over a connection; `more` are lines of the head.
pub(crate) fn post(mut stream: impl Read + Write, operation: &str, arguments: &Value, more: &str) -> (u16, Answer) {
    let body = arguments.to_string();
    let head = format!(
        "POST /control/{operation} HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{more}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut lines: Vec<Value> = body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let end = lines.pop().unwrap_or_else(|| panic!("{text:?}"));
    let rows = lines.into_iter().filter_map(|line| line.get("row").cloned()).collect();
    (status, Answer { rows, end })
}

/// Declares a durable queue, and publishes messages to it that are on disk afterwards.
pub(crate) fn fill(address: SocketAddr, queue: &str, messages: usize) {
    let mut client = Client::open_channel(address);
    assert!(declare(&mut client, queue, false).is_some());
    client.send(1, &TxSelect {});
    assert!(matches!(Method::decode(&client.payload()), Ok(Method::TxSelectOk(_))));
    let publish = BasicPublish { ticket: 0, exchange: "", routing_key: queue, mandatory: false, immediate: false };
    for _ in 0..messages {
        let mut octets = Vec::new();
        frame::write_content(&mut octets, 1, &publish, &[0x10, 0, 2], b"body", 8192);
        client.stream.write_all(&octets).unwrap();
    }
    client.send(1, &TxCommit {});
    assert!(matches!(Method::decode(&client.payload()), Ok(Method::TxCommitOk(_))));
}

/// Messages in a queue; `None` if there is no such queue.
pub(crate) fn count(address: SocketAddr, queue: &str) -> Option<u32> {
    declare(&mut Client::open_channel(address), queue, true)
}

fn declare(client: &mut Client, queue: &str, passive: bool) -> Option<u32> {
    let (ticket, exclusive, auto_delete, no_wait, arguments) = (0, false, false, false, Table::default());
    client.send(1, &QueueDeclare { ticket, queue, passive, durable: true, exclusive, auto_delete, no_wait, arguments });
    match Method::decode(&client.payload()) {
        Ok(Method::QueueDeclareOk(declared)) => Some(declared.message_count),
        _ => None,
    }
}

/// A folder for the test.
pub(crate) fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("data")).unwrap();
    folder
}
