//! Wire clients and tests that drive a running broker.
//!
//! The tests under `tests/` run against a broker started in the test process, or against whichever one `BROKER_URL`
//! names: RabbitMQ is the judge of what they expect.
#![allow(
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a panic is how a test kit reports a failure"
)]
#![allow(clippy::indexing_slicing, reason = "an index out of bounds fails the test, as it should")]

use std::sync::atomic::{AtomicU32, Ordering};

pub mod amqp091;
pub mod broker;
pub mod policy;
mod rabbitmqctl;
pub mod users;

/// A name no other test uses, so that tests share a broker and run at the same time.
pub fn unique(name: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let process = std::process::id();
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    format!("testkit.{name}.{process}.{number}")
}
