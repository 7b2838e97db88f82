//! What operators do to a node, whichever way they come in.

pub mod api;
mod asking;
mod closing;
pub mod control;
pub mod definitions;
pub mod events;
mod figures;
mod flags;
mod health;
mod history;
mod host;
pub mod json;
mod limits;
mod park;
pub mod pid;
pub mod prometheus;
mod traces;
pub mod views;
mod write;

pub use closing::{CloseMany, close_connections};
pub use figures::{Figures, Histogram, LogFigures, LogSpace, StorageFigures};
pub use host::{
    App, CertificateFile, Facts, Host, HostError, Listener, ListenerKind, LogLevel, Logs, MemoryUse, Phase, Plugin,
    PluginChange, Setting,
};
pub use write::{WriteError, apply, apply_as, wait};
pub(crate) use write::{pause, wait_stored};
