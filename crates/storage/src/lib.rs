//! Records on disk: what has to survive a power cut goes through here.
//!
//! [`disk::Disk`] is one folder of files, real or simulated. [`record`] is how a record stands in a file.
//! [`metadata::MetadataLog`] keeps the broker's definitions, [`messages::MessageLog`] messages. Nothing here knows what a
//! record means.

pub mod disk;
pub mod messages;
pub mod metadata;
pub mod record;

pub use disk::{Disk, DiskFile};
pub use messages::MessageLog;
pub use metadata::{MetadataLog, Recovered, Report};
pub use record::Sequence;
