//! The node: sockets, tasks and time around the broker's decisions.

mod clock;
mod config;
mod connection;
mod data_dir;
mod descriptors;
mod error;
mod listener;
mod memory;
mod metadata;
mod output;
mod running;
mod seen;
mod store;
mod worker;

pub use config::{AMQP_PORT, Config, SyncMode};
pub use data_dir::{DataDir, HoldError, Purpose};
pub use error::StartError;
pub use metadata::FOLDER as METADATA_FOLDER;
pub use running::{Running, start};
pub use store::LOG_FOLDER as MESSAGES_FOLDER;
