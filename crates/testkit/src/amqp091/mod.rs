//! A blocking AMQP 0-9-1 client that hides nothing: it sends what a test tells it to and shows all that comes back.
//!
//! Every wait has a deadline and panics with what was awaited and what came instead. Decoded methods are `'static`: their
//! octets are leaked, a few bytes each for the life of a test, so that tests need not name a buffer to borrow from.

mod channel;
mod connection;
mod inbox;
mod method;
mod raw;

pub use channel::{Channel, Confirm};
pub use connection::{Builder, Connection};
pub use inbox::{Content, Delivery, Got, Returned};
pub use method::{
    Reply, basic_consume, basic_publish, exchange_declare, header_frame, method_frame, plain, queue_bind,
    queue_declare, queue_delete, start_ok, table,
};
pub use raw::{OwnedFrame, RawConnection};

use std::time::Duration;

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(10);
