//! A fresh node, of this project or of `RabbitMQ`, and where it listens.

use std::ffi::OsString;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use leveret_testkit::broker::Url;
use tempfile::TempDir;

/// Far beyond what starting takes, also on a busy machine.
const DEADLINE: Duration = Duration::from_mins(2);
/// How often it is asked whether a node listens.
const POLL: Duration = Duration::from_millis(20);

/// What every node is told, beside where it listens.
const SETTINGS: &str = "\
    collect_statistics_interval = 1000\n\
    management.cors.allow_origins.1 = https://origin.example\n\
    management.cors.max_age = 3600\n";

/// Whose node.
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
        // The test is <target>/<profile>/deps/api-<hash>.
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
    pub(crate) broker: Broker,
    pub(crate) name: String,
    pub(crate) port: u16,
    pub(crate) management_port: u16,
    pub(crate) distribution_port: u16,
    pub(crate) folder: TempDir,
    server: Child,
}

impl Node {
    /// Starts a node for this group.
    pub(crate) fn start(broker: Broker, group: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [port, management_port, distribution_port] = free_ports();
        let listen = format!("management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {management_port}\n");
        fs::write(folder.path().join("rabbitmq.conf"), listen + SETTINGS).unwrap();
        fs::write(folder.path().join("enabled_plugins"), "[rabbitmq_management,rabbitmq_tracing].\n").unwrap();
        // Erlang has one list of nodes for a whole machine.
        let name = format!("{group}_{}@localhost", std::process::id());
        let mut command = match &broker {
            Broker::Leveret { program } => {
                let mut command = Command::new(program);
                command.args(["--listen", &format!("127.0.0.1:{port}"), "--log-level", "warn"]);
                command
            }
            Broker::RabbitMq { tools } => Command::new(tools.join("rabbitmq-server")),
        };
        let log = || fs::File::options().create(true).append(true).open(folder.path().join("server.log")).unwrap();
        command.current_dir(folder.path()).env_clear().stdin(Stdio::null()).stdout(log()).stderr(log());
        command.envs(environment(&broker, folder.path(), &name, port, distribution_port));
        // A group of its own, so that all of what it starts can be ended.
        command.process_group(0);
        let server = command.spawn().unwrap_or_else(|error| panic!("the node does not start: {error}"));
        let mut node = Self { broker, name, port, management_port, distribution_port, folder, server };
        node.await_start();
        node
    }

    fn await_start(&mut self) {
        let until = Instant::now() + DEADLINE;
        let listens = |port: u16| TcpStream::connect(("127.0.0.1", port)).is_ok();
        while !(listens(self.port) && listens(self.management_port)) {
            let may_start = self.server.try_wait().unwrap().is_none() && Instant::now() < until;
            assert!(may_start, "the node does not start, it said: {}", self.log());
            thread::sleep(POLL);
        }
        if let Broker::RabbitMq { tools } = &self.broker {
            // It listens before it is done.
            let mut command = Command::new(tools.join("rabbitmqctl"));
            command.args(["-q", "await_startup"]).env_clear();
            command.envs(environment(&self.broker, self.folder.path(), &self.name, self.port, self.distribution_port));
            assert!(command.status().unwrap().success(), "the node does not start: {}", self.log());
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("server.log")).unwrap_or_default()
    }

    /// Where the HTTP API listens.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.management_port)
    }

    /// Where clients connect.
    pub(crate) fn url(&self) -> Url {
        Url { address: format!("127.0.0.1:{}", self.port), ..Url::parse("amqp://") }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let group = format!("kill -KILL -{}", self.server.id());
        let _ = Command::new("sh").args(["-c", &group]).status();
        let _ = self.server.wait();
    }
}

fn environment(broker: &Broker, folder: &Path, name: &str, port: u16, distribution: u16) -> Vec<(OsString, OsString)> {
    let file = |name: &str| folder.join(name).into_os_string();
    let text = |text: &str| OsString::from(text);
    let mut environment = vec![
        (text("PATH"), std::env::var_os("PATH").unwrap_or_default()),
        // Erlang's shared secret is there.
        (text("HOME"), folder.into()),
        (text("LC_ALL"), text("C.UTF-8")),
        (text("RABBITMQ_NODENAME"), text(name)),
        (text("RABBITMQ_ENABLED_PLUGINS_FILE"), file("enabled_plugins")),
    ];
    environment.extend(match broker {
        Broker::Leveret { .. } => {
            vec![(text("LEVERET_DATA_DIR"), file("data")), (text("LEVERET_CONFIG_FILE"), file("rabbitmq.conf"))]
        }
        Broker::RabbitMq { .. } => vec![
            (text("RABBITMQ_MNESIA_BASE"), file("data")),
            (text("RABBITMQ_LOG_BASE"), file("log")),
            (text("RABBITMQ_CONFIG_FILE"), file("rabbitmq")),
            (text("RABBITMQ_NODE_IP_ADDRESS"), text("127.0.0.1")),
            (text("RABBITMQ_NODE_PORT"), text(&port.to_string())),
            (text("RABBITMQ_DIST_PORT"), text(&distribution.to_string())),
        ],
    });
    environment
}

/// Ports that were free, to be bound at once. They are in order, since lists of them are.
fn free_ports() -> [u16; 3] {
    let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let mut ports = listeners.map(|listener| listener.local_addr().unwrap().port());
    ports.sort_unstable();
    ports
}
