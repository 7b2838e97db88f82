//! The node: sockets, tasks and time around the broker's decisions.

mod boot_definitions;
mod changes;
mod clock;
mod config;
mod connection;
mod control_socket;
mod data_dir;
mod descriptors;
mod entrance;
mod error;
mod facts;
mod figures;
mod http_listener;
mod keeper;
mod listener;
pub mod logging;
mod login;
mod memory;
mod metadata;
mod output;
mod plugins;
mod proxy;
mod running;
mod seen;
mod store;
mod terms;
mod tls;
mod weighing;
mod worker;

pub use config::definitions::{DefinitionsHash, DefinitionsSettings};
pub use config::log::{
    CategoryLog, ConsoleLog, ConsoleStream, ExchangeLog, FileLog, FileName, LevelFormat, LogCategory, LogFormatter,
    LogLevel, LogSettings, LogStyle, Rotation, RotationDate, TimeFormat,
};
pub use config::management::{MANAGEMENT_PORT, MANAGEMENT_TLS_PORT, ManagementSettings};
pub use config::prometheus::{PROMETHEUS_PORT, PROMETHEUS_TLS_PORT, PrometheusSettings};
pub use config::{
    AMQP_PORT, AMQPS_PORT, AccessSettings, Changes, Config, ConfigError, Effective, Environment, Fault, Given, Loaded,
    Origin, PluginSettings, Reload, SocketSettings, Sources, SyncMode, everywhere, reference,
};
pub use data_dir::{DataDir, HoldError, Purpose};
pub use error::StartError;
pub use keeper::{Keeper, Outside};
pub use metadata::FOLDER as METADATA_FOLDER;
pub use running::{Running, start};
pub use store::LOG_FOLDER as MESSAGES_FOLDER;
pub use tls::{KeyPassword, LoginFrom, SanType, TlsError, TlsSettings, TlsVersion, Verify};
