//! Definitions: what is declared and set, as a file that goes from broker to broker.
//!
//! [`read`] understands what RabbitMQ 3.x and 4.x export, [`import`] brings it about, all of it or nothing, and [`export`] writes it.

mod export;
mod import;
mod item;
mod plan;
mod read;
mod report;
mod sections;

pub(crate) use export::CLUSTER_ID;
pub use export::{ClusterId, Origin, export};
pub use import::{Import, ImportError, OnProgress, Progress, Scope, Source, import, preview};
pub use read::{ReadError, read, read_value};
pub use report::{Counts, Lines, Report};
pub use sections::Definitions;
