//! Records on disk: what has to survive a power cut goes through here.
//!
//! [`disk::Disk`] is one folder of files, real or simulated. [`record`] is how a record stands in a file.
//! [`metadata::MetadataLog`] keeps the broker's definitions. Nothing here knows what a record means.

pub mod disk;
pub mod metadata;
pub mod record;

pub use disk::{Disk, DiskFile};
pub use metadata::{MetadataLog, Recovered, Report};
pub use record::Sequence;
