//! A fresh node, of this project or of `RabbitMQ`, and how its tools are called.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use leveret_testkit::broker::Url;
use tempfile::TempDir;

use crate::normal::Known;
use crate::script::Answer;
use crate::shell;
use crate::tls;

/// Far beyond what starting or stopping takes, also on a busy machine.
const DEADLINE: Duration = Duration::from_mins(2);
/// How often it is asked whether a process is still there.
const POLL: Duration = Duration::from_millis(20);

/// The names under which the program is called.
const TOOLS: [&str; 6] = [
    "rabbitmqctl",
    "rabbitmq-diagnostics",
    "rabbitmq-plugins",
    "rabbitmq-queues",
    "rabbitmq-streams",
    "rabbitmq-upgrade",
];

/// Whose tools and whose node.
#[derive(Debug, Clone)]
pub(crate) enum Broker {
    Leveret {
        program: PathBuf,
    },
    /// With the folder of its scripts.
    RabbitMq {
        tools: PathBuf,
    },
}

impl Broker {
    /// `RabbitMQ` if `RABBITMQ_TOOLS` says where its scripts are.
    pub(crate) fn of_environment() -> Self {
        match std::env::var_os("RABBITMQ_TOOLS") {
            Some(tools) => Self::RabbitMq { tools: tools.into() },
            None => Self::Leveret { program: program().clone() },
        }
    }
}

/// The program of this workspace, built if it is not.
fn program() -> &'static PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        // The test is <target>/<profile>/deps/cli-<hash>.
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

/// A node with a folder of its own. It is stopped when it is dropped.
pub(crate) struct Node {
    broker: Broker,
    name: String,
    port: u16,
    distribution_port: u16,
    tls_port: u16,
    folder: TempDir,
    server: Option<Child>,
}

impl Node {
    /// Starts a node for this group.
    pub(crate) fn start(broker: Broker, group: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("work")).unwrap();
        // Without it, RabbitMQ reads the one of the machine.
        fs::write(folder.path().join("rabbitmq.conf"), "").unwrap();
        if let Broker::Leveret { program } = &broker {
            // Without it, all plugins are on, and those of two nodes want the same port.
            fs::write(folder.path().join("enabled_plugins"), "[].\n").unwrap();
            fs::create_dir(folder.path().join("tools")).unwrap();
            for tool in TOOLS {
                symlink(program, folder.path().join("tools").join(tool)).unwrap();
            }
        }
        let [port, distribution_port, tls_port] = free_ports();
        // Erlang has one list of nodes for a whole machine.
        let name = format!("{group}_{}@localhost", std::process::id());
        let mut node = Self { broker, name, port, distribution_port, tls_port, folder, server: None };
        node.restart();
        node
    }

    /// Starts it again after it was stopped.
    pub(crate) fn restart(&mut self) {
        assert!(self.server.is_none(), "{} runs", self.name);
        let mut command = match &self.broker {
            Broker::Leveret { program } => {
                let mut command = Command::new(program);
                command.args(["--listen", &format!("127.0.0.1:{}", self.port), "--log-level", "warn"]);
                command
            }
            Broker::RabbitMq { tools } => Command::new(tools.join("rabbitmq-server")),
        };
        let log = fs::File::options().create(true).append(true).open(self.folder.path().join("server.log")).unwrap();
        command.current_dir(self.folder.path()).env_clear().envs(self.environment()).stdin(Stdio::null());
        // A group of its own, so that all of what it starts can be ended.
        command.stdout(Stdio::piped()).stderr(log).process_group(0);
        let mut server = command.spawn().unwrap_or_else(|error| panic!("the node does not start: {error}"));
        let stdout = server.stdout.take().unwrap();
        self.server = Some(server);
        match &self.broker {
            Broker::Leveret { .. } => await_line(stdout, "AMQP"),
            Broker::RabbitMq { .. } => {
                await_line(stdout, "plugins.");
                let answer = self.shell("rabbitmqctl -q await_startup");
                assert_eq!(answer.exit, Some(0), "the node does not start: {answer:?}");
            }
        }
    }

    /// Starts it again, with TLS and certificates that end in so many days.
    pub(crate) fn restart_with_tls(&mut self, days: u64) {
        self.kill();
        tls::write(self.folder.path(), days).unwrap_or_else(|error| panic!("no certificates: {error}"));
        let settings = tls::settings(self.folder.path(), self.tls_port);
        fs::write(self.folder.path().join("rabbitmq.conf"), settings).unwrap();
        self.restart();
    }

    /// Awaits that the server ends.
    pub(crate) fn await_stopped(&mut self) -> ExitStatus {
        let mut server = self.server.take().unwrap_or_else(|| panic!("{} does not run", self.name));
        let until = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = server.try_wait().unwrap() {
                return status;
            }
            if Instant::now() > until {
                self.server = Some(server);
                panic!("{} does not stop", self.name);
            }
            thread::sleep(POLL);
        }
    }

    fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            let group = format!("kill -KILL -{}", server.id());
            let _ = Command::new("sh").args(["-c", &group]).status();
            let _ = server.wait();
        }
    }

    /// Runs a command in the node's working folder, with the tools on the path.
    pub(crate) fn shell(&self, command: &str) -> Answer {
        shell::run(command, &self.folder.path().join("work"), &self.environment())
    }

    /// What is other in another run.
    pub(crate) fn known(&self, version: &str) -> Known {
        let mut known = vec![(self.folder.path().display().to_string(), "{dir}".to_owned())];
        if let Broker::RabbitMq { tools } = &self.broker
            && let Some(home) = tools.parent()
        {
            known.push((home.display().to_string(), "{home}".to_owned()));
        }
        known.push((self.name.clone(), "{node}".to_owned()));
        known.push((cluster_name(&self.name), "{cluster}".to_owned()));
        known.push((self.port.to_string(), "{port}".to_owned()));
        known.push((self.distribution_port.to_string(), "{distribution-port}".to_owned()));
        known.push((self.tls_port.to_string(), "{tls-port}".to_owned()));
        known.push((self.process_id(), "{process}".to_owned()));
        known.push((version.to_owned(), "{version}".to_owned()));
        known.retain(|(text, _)| !text.is_empty());
        known
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> Url {
        Url { address: format!("127.0.0.1:{}", self.port), ..Url::parse("amqp://") }
    }

    fn process_id(&self) -> String {
        match &self.broker {
            Broker::Leveret { .. } => self.server.as_ref().map(|server| server.id().to_string()).unwrap_or_default(),
            // The server is a script that runs the node.
            Broker::RabbitMq { .. } => {
                let id = fs::read_to_string(self.folder.path().join("pid")).unwrap_or_default();
                id.trim().to_owned()
            }
        }
    }

    fn environment(&self) -> Vec<(OsString, OsString)> {
        let folder = self.folder.path();
        let file = |name: &str| folder.join(name).into_os_string();
        let text = |text: &str| OsString::from(text);
        let mut path = match &self.broker {
            Broker::Leveret { .. } => file("tools"),
            Broker::RabbitMq { tools } => tools.clone().into_os_string(),
        };
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut environment = vec![
            (text("PATH"), path),
            // Erlang's shared secret is there.
            (text("HOME"), folder.into()),
            (text("LC_ALL"), text("C.UTF-8")),
            (text("NODE"), text(&self.name)),
            (text("PORT"), text(&self.port.to_string())),
            (text("TLS_PORT"), text(&self.tls_port.to_string())),
            (text("PID"), text(&self.process_id())),
            (text("PIDFILE"), file("pid")),
            (text("RABBITMQ_NODENAME"), text(&self.name)),
            (text("RABBITMQ_PID_FILE"), file("pid")),
            (text("RABBITMQ_ENABLED_PLUGINS_FILE"), file("enabled_plugins")),
        ];
        environment.extend(match &self.broker {
            Broker::Leveret { .. } => {
                vec![(text("LEVERET_DATA_DIR"), file("data")), (text("LEVERET_CONFIG_FILE"), file("rabbitmq.conf"))]
            }
            Broker::RabbitMq { .. } => vec![
                (text("RABBITMQ_MNESIA_BASE"), file("data")),
                (text("RABBITMQ_LOG_BASE"), file("log")),
                (text("RABBITMQ_CONFIG_FILE"), file("rabbitmq")),
                (text("RABBITMQ_NODE_IP_ADDRESS"), text("127.0.0.1")),
                (text("RABBITMQ_NODE_PORT"), text(&self.port.to_string())),
                (text("RABBITMQ_DIST_PORT"), text(&self.distribution_port.to_string())),
            ],
        });
        environment
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What RabbitMQ calls the cluster of a node: the node's name, but with the machine's.
fn cluster_name(node: &str) -> String {
    let machine = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let (name, _) = node.split_once('@').unwrap_or_default();
    format!("{name}@{}", machine.trim())
}

/// Reads lines until one has this text; the rest is read and dropped, so that the writer is never held up.
fn await_line(from: impl std::io::Read + Send + 'static, text: &'static str) {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    let mut seen = String::new();
    loop {
        match lines.recv_timeout(DEADLINE) {
            Ok(line) if line.contains(text) => return,
            Ok(line) => seen = seen + &line + "\n",
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                panic!("the node does not start, it said: {seen}")
            }
        }
    }
}

/// Ports that were free, to be bound at once. They are in order, since lists of them are.
fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let mut ports = listeners.map(|listener| listener.local_addr().unwrap().port());
    ports.sort_unstable();
    ports
}
