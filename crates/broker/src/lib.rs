//! What a broker is: exchanges, bindings, queues and the rules between them.
//!
//! Nothing in this crate does I/O, reads a clock, draws a random number or knows a wire format; time, entropy and
//! protocol values come in as arguments.

pub mod access;
pub mod clock;
mod connections;
mod dead_letter;
pub mod dedup;
pub mod delay;
pub mod entropy;
pub mod error;
pub mod events;
pub mod exchange;
#[cfg(test)]
mod fake_store;
pub mod firehose;
mod hash;
pub mod journal;
pub mod mailbox;
pub mod message;
pub mod node;
pub mod properties;
pub mod queue;
pub mod regex;
pub mod report;
pub mod stats;
pub mod store;
pub mod switches;
pub mod tap;
pub mod topology;
pub mod value;
#[cfg(test)]
mod wakes;
mod weight;

pub use error::Error;
pub use weight::Weight;

/// A name of the broker's world: vhost, exchange, queue, user, consumer tag. Shared, so that a copy is a pointer.
pub type Name = std::sync::Arc<str>;
