//! What only the process around the broker can do, or knows. The server implements it; everything else here asks it.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use leveret_auth::Chain;
use leveret_auth::hash::Hashing;
use leveret_broker::node::Node;
use tokio::sync::mpsc;

use crate::figures::Figures;
use crate::pid::Pids;

/// The broker within the process, as long as it runs. Whoever keeps one keeps it from being freed, so nobody does.
#[derive(Debug, Clone)]
pub struct App {
    /// What it is.
    pub node: Arc<Node>,
    /// Who gets in.
    pub logins: Arc<Chain>,
    /// How new passwords are hashed.
    pub hashing: Hashing,
    /// How its connections, channels and queues are called.
    pub pids: Arc<Pids>,
}

/// Whether the broker runs within its process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is about to: data are read, listeners opened.
    Starting,
    /// It takes connections.
    Running,
    /// It is about to stop.
    Stopping,
    /// It was stopped; the process goes on and can start it again.
    Stopped,
}

/// Why the process did not do what it was asked to.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The broker runs, and must not.
    #[error("the broker is running; stop it first with rabbitmqctl stop_app")]
    Running,
    /// It is being started or stopped already.
    #[error("the broker is being started or stopped by somebody else")]
    Busy,
    /// No such plugins.
    #[error("no such plugins: {}", names.join(", "))]
    UnknownPlugins {
        /// Their names.
        names: Vec<String>,
    },
    /// There is no such log category.
    #[error("no such log category: {name}")]
    UnknownCategory {
        /// What was given.
        name: String,
    },
    /// Something else; a sentence that says what and how to mend it.
    #[error("{0}")]
    Failed(String),
}

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenerKind {
    /// AMQP 0-9-1 and 1.0.
    Amqp,
    /// The same over TLS.
    Amqps,
    /// The management listener.
    Http,
    /// The same over TLS.
    Https,
    /// The metrics.
    Prometheus,
    /// The same over TLS.
    PrometheusTls,
}

/// Where connections are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listener {
    /// What for.
    pub kind: ListenerKind,
    /// Where.
    pub address: SocketAddr,
}

/// A part that can be switched on and off, under the name of the plugin that has it in RabbitMQ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plugin {
    /// Its name, such as `rabbitmq_management`.
    pub name: &'static str,
    /// What it does, in one line.
    pub description: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Plugins that it needs.
    pub needs: &'static [&'static str],
    /// Whether the file `enabled_plugins` has it.
    pub explicit: bool,
    /// Whether it is on because another one needs it.
    pub implicit: bool,
    /// Whether it runs now.
    pub running: bool,
}

/// What a change of plugins came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginChange {
    /// All that are on now, what others need included.
    pub enabled: BTreeSet<String>,
    /// What was started by it.
    pub started: Vec<String>,
    /// What was stopped by it.
    pub stopped: Vec<String>,
    /// Whether the broker was running, so that it took effect at once.
    pub applied: bool,
}

/// A setting, where it comes from and whether it can change at run time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its key, as in rabbitmq.conf.
    pub key: String,
    /// Its value; that of a secret is not told.
    pub value: String,
    /// Where it comes from: a file and line, a variable, an option, or `default`.
    pub origin: String,
}

/// A file with certificates in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFile {
    /// The listeners that use it.
    pub kind: ListenerKind,
    /// Where it is.
    pub path: PathBuf,
    /// Its certificates in PEM, and nothing else that may be in it.
    pub pem: Vec<u8>,
}

/// Memory that one thing takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryUse {
    /// What takes it, such as `message store`.
    pub what: &'static str,
    /// Bytes.
    pub bytes: u64,
}

/// Everything that is known of process and machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The node's name, such as `rabbit@host`.
    pub node_name: String,
    /// Our own version.
    pub version: &'static str,
    /// The version of RabbitMQ that clients are told.
    pub advertised_version: String,
    /// The product that clients are told.
    pub advertised_product: String,
    /// The number of the process.
    pub pid: u32,
    /// When the process started.
    pub started: SystemTime,
    /// For how long it has been running.
    pub uptime: Duration,
    /// The system, such as `Linux 6.1`.
    pub system: String,
    /// Where the data are.
    pub data_dir: PathBuf,
    /// The configuration files that were read.
    pub config_files: Vec<PathBuf>,
    /// The file with the names of the plugins.
    pub enabled_plugins_file: PathBuf,
    /// Open files, and how many there may be.
    pub files: (u64, u64),
    /// Of those, sockets.
    pub sockets: u64,
    /// Memory that the process takes, in bytes.
    pub memory: u64,
    /// Memory the machine, or the container, has, in bytes.
    pub memory_total: u64,
    /// Memory that waiting messages may take, in bytes.
    pub memory_budget: u64,
    /// Free bytes where the data are.
    pub disk_free: u64,
    /// Threads that serve connections.
    pub threads: usize,
    /// Threads that the process has, and how many there may be.
    pub tasks: (u64, u64),
    /// Processors that it may use.
    pub processors: usize,
    /// Threads of the whole machine that want a processor.
    pub run_queue: u64,
    /// How often its threads gave up their processor.
    pub context_switches: u64,
    /// Octets that were read from disks, and written to them.
    pub disk_io: (u64, u64),
    /// What clients may log in by, such as `PLAIN`.
    pub mechanisms: Vec<&'static str>,
    /// What stands in the way of normal work, such as a log that could not be written: a sentence each.
    pub alarms: Vec<String>,
    /// How the process was started.
    pub command_line: Vec<String>,
}

/// How bad something must be to be logged, as RabbitMQ names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// What happens.
    Info,
    /// What happens and is worth a look.
    Notice,
    /// What may become bad.
    Warning,
    /// What failed.
    Error,
    /// What made the node stop.
    Critical,
    /// Nothing.
    None,
}

/// The node's log.
pub trait Logs: Debug + Send + Sync {
    /// Logs from now on what is at least so bad, in one category or in all.
    fn set_level(&self, category: Option<&str>, level: LogLevel) -> Result<(), HostError>;
    /// Begins new files.
    fn rotate(&self) -> Result<(), HostError>;
    /// Where records go: files, or `<stdout>`.
    fn locations(&self) -> Vec<String>;
    /// The last lines.
    fn tail(&self, lines: usize) -> Result<Vec<String>, HostError>;
    /// Every line from now on.
    fn follow(&self) -> mpsc::Receiver<String>;
}

/// The process around the broker. Everything here may wait, so it is not to be called from a runtime's own threads.
pub trait Host: Debug + Send + Sync {
    /// Whether the broker runs.
    fn phase(&self) -> Phase;
    /// The broker, if it runs.
    fn app(&self) -> Option<App>;
    /// Starts the broker, unless it runs; returns when it takes connections.
    fn start_app(&self) -> Result<(), HostError>;
    /// Stops the broker, unless it does not run; the process goes on.
    fn stop_app(&self) -> Result<(), HostError>;
    /// Deletes everything the broker keeps. It must not run.
    fn reset(&self) -> Result<(), HostError>;
    /// Has the process stop cleanly; returns at once.
    fn stop(&self);
    /// Where connections are taken now.
    fn listeners(&self) -> Vec<Listener>;
    /// Takes no more connections; those that are there go on.
    fn suspend_listeners(&self) -> Result<(), HostError>;
    /// Takes connections again.
    fn resume_listeners(&self) -> Result<(), HostError>;
    /// All parts that can be switched.
    fn plugins(&self) -> Vec<Plugin>;
    /// Switches on exactly these and what they need, and writes it to the file `enabled_plugins`.
    fn set_plugins(&self, names: &BTreeSet<String>) -> Result<PluginChange, HostError>;
    /// Reads the configuration again; gives what a person should know of it.
    fn reload(&self) -> Result<Vec<String>, HostError>;
    /// All settings.
    fn settings(&self) -> Vec<Setting>;
    /// The log.
    fn logs(&self) -> Arc<dyn Logs>;
    /// What is known of process and machine.
    fn facts(&self) -> Facts;
    /// What takes memory.
    fn memory(&self) -> Vec<MemoryUse>;
    /// What its parts count of themselves.
    fn figures(&self) -> Figures;
    /// The certificates in use.
    fn certificates(&self) -> Vec<CertificateFile>;
}
