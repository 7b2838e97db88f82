//! What operators do to a node, whichever way they come in.

pub mod control;
mod host;
pub mod json;
pub mod pid;
mod write;

pub use host::{
    App, Facts, Host, HostError, Listener, ListenerKind, LogLevel, Logs, MemoryUse, Phase, Plugin, PluginChange,
    Setting,
};
pub use write::{WriteError, apply, wait};
