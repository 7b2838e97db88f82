//! What a node is told before it starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::thread;

/// The port that AMQP clients try when they are given none.
pub const AMQP_PORT: u16 = 5672;

/// What a node is told before it starts; `default()` is what a node does when it is told nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Where to accept AMQP connections. Port 0 lets the system choose; see [`crate::Running::addresses`].
    pub listen: Vec<SocketAddr>,
    /// The folder that holds all of the node's data; made if it is not there.
    pub data_dir: PathBuf,
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
    /// `product` in the server properties that clients read; libraries switch features on it.
    pub product: String,
    /// `version` in the server properties that clients read; libraries switch features on it.
    pub version: String,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, AMQP_PORT))],
            data_dir: PathBuf::from("./leveret-data"),
            threads: thread::available_parallelism().map_or(1, usize::from),
            max_message_size: 16 * 1024 * 1024,
            heartbeat_seconds: 60,
            frame_max: 131_072,
            channel_max: 2047,
            product: "RabbitMQ".to_owned(),
            version: "4.3.5".to_owned(),
        }
    }
}
