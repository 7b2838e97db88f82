//! What a node is told before it starts, by a file or otherwise.
//!
//! `sources` finds files, `file` splits one into entries, `environment` does that with `RabbitMQ`'s variables, `load` puts them over
//! each other, `schema` knows what they mean, and `effective` is what came of it, for whoever runs the node.

mod access;
mod decode;
pub(crate) mod definitions;
mod effective;
mod environment;
mod file;
mod load;
pub(crate) mod log;
pub(crate) mod management;
mod place;
pub(crate) mod prometheus;
mod schema;
mod sources;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use leveret_broker::topology::NodeLimits;

pub use self::access::AccessSettings;
use self::definitions::DefinitionsSettings;
pub use self::effective::{Changes, Effective};
pub use self::environment::Environment;
pub use self::load::{ConfigError, Given, Loaded, Sources};
use self::log::LogSettings;
use self::management::ManagementSettings;
pub use self::place::{Fault, Origin};
use self::prometheus::PrometheusSettings;
pub use self::schema::{Reload, reference};
use crate::memory;
use crate::tls::{TlsSettings, Verify};

/// The port that AMQP clients try when they are given none.
pub const AMQP_PORT: u16 = 5672;
/// The port that AMQP clients try with TLS when they are given none.
pub const AMQPS_PORT: u16 = 5671;

/// Every address of this machine: a socket on `[::]` takes IPv4 connections, too, but needs a system with IPv6.
pub fn everywhere() -> IpAddr {
    match UdpSocket::bind((Ipv6Addr::UNSPECIFIED, 0)) {
        Ok(_) => Ipv6Addr::UNSPECIFIED.into(),
        Err(_) => Ipv4Addr::UNSPECIFIED.into(),
    }
}

/// How sockets of clients are set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SocketSettings {
    /// Connections that the system keeps until they are accepted.
    pub backlog: i32,
    /// Whether small writes go out at once.
    pub nodelay: bool,
    /// Whether the system looks after silent connections.
    pub keepalive: bool,
    /// Room for what is written, in octets; `None` leaves it to the system.
    pub send_buffer: Option<usize>,
    /// Room for what has come, in octets; `None` leaves it to the system.
    pub receive_buffer: Option<usize>,
    /// Whether closing drops what the client has not taken, and how long after.
    pub linger: (bool, Duration),
}

impl Default for SocketSettings {
    fn default() -> Self {
        Self {
            backlog: 4096,
            nodelay: true,
            keepalive: false,
            send_buffer: None,
            receive_buffer: None,
            linger: (false, Duration::ZERO),
        }
    }
}

/// Which plugins are enabled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PluginSettings {
    /// The file with their names.
    pub file: Option<PathBuf>,
    /// Names that take the place of those in the file.
    pub enabled: Option<Vec<String>>,
}

/// When the message log is synced to disk, and by that, what a confirm is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// Before a confirm: nothing confirmed is lost, not even in a power cut.
    Commit,
    /// At this interval: a power cut loses what was confirmed within it; the end of the process loses nothing.
    Interval(Duration),
    /// When the system sees fit: a power cut loses what it had not written yet, usually half a minute's worth; the end of the
    /// process loses nothing.
    Os,
}

/// What a node is told before it starts; `default()` is what a node does when it is told nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to accept AMQP connections. Port 0 lets the system choose; see [`crate::Running::addresses`].
    pub listen: Vec<SocketAddr>,
    /// Where to accept AMQP connections with TLS; see [`crate::Running::tls_addresses`]. Needs `tls`.
    pub listen_tls: Vec<SocketAddr>,
    /// Certificates and keys of the broker, and which clients it believes.
    pub tls: Option<TlsSettings>,
    /// Whether connections have to begin with a header of the PROXY protocol, version 1 or 2.
    pub proxy_protocol: bool,
    /// The folder that holds all of the node's data; made if it is not there.
    pub data_dir: PathBuf,
    /// When what clients were told is durable has to be synced to disk.
    pub sync: SyncMode,
    /// Octets of waiting messages that stay in memory; what is beyond goes to disk.
    pub memory_budget: u64,
    /// Threads that serve connections, at least one.
    pub threads: usize,
    /// The largest message body a client may publish, in bytes.
    pub max_message_size: u64,
    /// Heartbeat interval offered to clients, in seconds; 0 offers none.
    pub heartbeat_seconds: u16,
    /// The largest frame offered to clients, in bytes.
    pub frame_max: u32,
    /// Channels a connection may have open at once.
    pub channel_max: u16,
    /// Consumers a channel may have; `None` is no limit.
    pub max_consumers_per_channel: Option<u64>,
    /// How much there may be on the node.
    pub limits: NodeLimits,
    /// What the node is called.
    pub node_name: String,
    /// What the cluster is called, which clients are told.
    pub cluster_name: String,
    /// How long clients may take to log in.
    pub handshake_timeout: Duration,
    /// How sockets of clients are set up.
    pub sockets: SocketSettings,
    /// Which plugins are enabled.
    pub plugins: PluginSettings,
    /// A file that has the number of the process while it runs.
    pub pid_file: Option<PathBuf>,
    /// `product` in the server properties that clients read; libraries switch features on it.
    pub product: String,
    /// `version` in the server properties that clients read; libraries switch features on it.
    pub version: String,
    /// Who may log in, and as whom.
    pub access: AccessSettings,
    /// Definitions that are read when the node starts.
    pub definitions: DefinitionsSettings,
    /// Where the log goes, and what is in it.
    pub log: LogSettings,
    /// The listener of the management interface.
    pub management: ManagementSettings,
    /// The vhost in which what happens is published, if it is.
    pub event_vhost: String,
    /// The listener of the metrics.
    pub prometheus: PrometheusSettings,
}

impl fmt::Display for SyncMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit => f.write_str("commit"),
            Self::Interval(interval) => write!(f, "interval:{}", interval.as_millis()),
            Self::Os => f.write_str("os"),
        }
    }
}

impl Config {
    /// What was set to no effect, which somebody may have meant otherwise.
    pub fn remarks(&self) -> Vec<&'static str> {
        let Some(tls) = &self.tls else { return Vec::new() };
        let mut remarks = Vec::new();
        if self.listen_tls.is_empty() {
            remarks.push("TLS is set up, but there is no listener for it: see listeners.ssl and --tls-listen");
        }
        if tls.authorities.is_some() && tls.verify == Verify::None {
            remarks.push(
                "authorities are set, but clients are not asked for certificates: see ssl_options.verify and --tls-verify",
            );
        }
        remarks
    }
}

/// How much of this machine's name is used.
#[derive(Debug, Clone, Copy)]
enum HostName {
    /// The part before the first dot.
    Short,
    /// All of it.
    Whole,
}

/// This machine's name.
fn host(name: HostName) -> String {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy();
    let host = match name {
        HostName::Short => host.split('.').next().unwrap_or_default(),
        HostName::Whole => &host,
    };
    if host.is_empty() { "localhost".to_owned() } else { host.to_owned() }
}

/// `rabbit@` and this machine's name, as RabbitMQ calls itself.
fn node_name(name: HostName) -> String {
    format!("rabbit@{}", host(name))
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, AMQP_PORT))],
            listen_tls: Vec::new(),
            tls: None,
            proxy_protocol: false,
            data_dir: PathBuf::from("./leveret-data"),
            sync: SyncMode::Commit,
            memory_budget: memory::budget(),
            threads: thread::available_parallelism().map_or(1, usize::from),
            max_message_size: 16 * 1024 * 1024,
            heartbeat_seconds: 60,
            frame_max: 131_072,
            channel_max: 2047,
            max_consumers_per_channel: None,
            limits: NodeLimits::default(),
            node_name: node_name(HostName::Short),
            cluster_name: node_name(HostName::Short),
            handshake_timeout: Duration::from_secs(10),
            sockets: SocketSettings::default(),
            plugins: PluginSettings::default(),
            pid_file: None,
            product: "RabbitMQ".to_owned(),
            version: leveret_ctl::RABBITMQ_VERSION.to_owned(),
            access: AccessSettings::default(),
            definitions: DefinitionsSettings::default(),
            log: LogSettings::default(),
            management: ManagementSettings::default(),
            event_vhost: "/".to_owned(),
            prometheus: PrometheusSettings::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_settings_without_effect_are_remarked_on() {
        let listener = SocketAddr::from((Ipv4Addr::LOCALHOST, AMQPS_PORT));
        for (listen_tls, authorities, verify, about) in [
            (vec![listener], None, Verify::None, vec![]),
            (vec![listener], Some("ca.pem"), Verify::Peer, vec![]),
            (vec![listener], Some("ca.pem"), Verify::None, vec!["--tls-verify"]),
            (vec![], Some("ca.pem"), Verify::None, vec!["--tls-listen", "--tls-verify"]),
        ] {
            let tls = TlsSettings::new("broker.pem".into(), "broker.key".into());
            let tls = TlsSettings { authorities: authorities.map(PathBuf::from), verify, ..tls };
            let config = Config { listen_tls, tls: Some(tls), ..Config::default() };
            let remarks = config.remarks();
            assert_eq!(remarks.len(), about.len(), "{remarks:?}");
            assert!(remarks.iter().zip(about).all(|(remark, about)| remark.ends_with(about)), "{remarks:?}");
        }
        assert!(Config::default().remarks().is_empty());
    }
}
