//! A node with an address for metrics.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use leveret_protocol::amqp091::Value;
use leveret_protocol::amqp091::method::{QueueDeclare, QueueDeclareOk};
use leveret_testkit::amqp091::{Channel, Connection, queue_declare, table};
use leveret_testkit::broker::Url;
use tempfile::TempDir;

use crate::http::{self, Answer};

/// Far beyond what any step takes, also on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_mins(1);

/// A node. It is ended when it is dropped.
pub(crate) struct Node {
    process: Child,
    pub(crate) metrics: SocketAddr,
    amqp: SocketAddr,
    _folder: TempDir,
}

impl Node {
    /// Starts one, with more in its configuration.
    pub(crate) fn start(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("leveret.conf");
        fs::write(
            &config,
            format!("prometheus.tcp.ip = 127.0.0.1\nprometheus.tcp.port = 0\nmanagement.tcp = none\n{more}\n"),
        )
        .unwrap();
        let mut process = Command::new(program())
            .args(["--listen", "127.0.0.1:0", "--log-level", "info", "--config"])
            .arg(&config)
            .arg("--data-dir")
            .arg(folder.path().join("data"))
            .env_remove("LEVERET_PROMETHEUS_LISTEN")
            .env_remove("LEVERET_MANAGEMENT_LISTEN")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap());
        let (mut text, mut metrics, mut amqp) = (String::new(), None, None);
        while amqp.is_none() {
            let before = text.len();
            assert_ne!(log.read_line(&mut text).unwrap(), 0, "the node does not start: {text}");
            let line = &text[before..];
            let behind = |words: &str| line.split_once(words).map(|(_, address)| address.trim().to_owned());
            metrics = metrics.or_else(|| behind("listener started on "));
            amqp = behind("started addresses=[").and_then(|rest| Some(rest.split_once(']')?.0.to_owned()));
        }
        // It would stop if nobody took what it says.
        std::thread::spawn(move || for _ in log.lines() {});
        let address = |text: Option<String>| text.and_then(|text| text.parse().ok()).unwrap();
        Self { process, metrics: address(metrics), amqp: address(amqp), _folder: folder }
    }

    /// A client.
    pub(crate) fn connect(&self) -> Connection {
        let url = Url { address: self.amqp.to_string(), ..Url::parse("amqp://") };
        Connection::builder_at(&url).open()
    }

    /// A page that has to be there.
    pub(crate) fn page(&self, path: &str) -> String {
        let answer = self.ask("GET", path, &[]);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        answer.text()
    }

    /// What is answered to a request.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Answer {
        http::ask(self.metrics, method, path, headers)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Declares a durable queue that everybody may use.
pub(crate) fn declare(channel: &Channel, queue: &str, kind: &str) {
    let arguments = table(&[("x-queue-type", Value::LongStr(kind.as_bytes()))]);
    let declare =
        QueueDeclare { durable: true, exclusive: false, auto_delete: false, arguments, ..queue_declare(queue) };
    channel.call::<QueueDeclareOk>(&declare);
}

/// The program of this workspace, built if it is not.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // The test is <target>/<profile>/deps/prometheus-<hash>.
        let test = std::env::current_exe().unwrap();
        let profile = test.parent().and_then(Path::parent).unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", "leveret-server", "--bin", "leveret", "--target-dir"]);
        build.arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "the program does not build");
        profile.join("leveret")
    })
}
