//! One state machine per connection and protocol: octets and events in, octets out.
//!
//! A session decides everything a client can observe. It does no I/O and reads no clock; it calls the broker's queues
//! directly, in batches, and leaves reading, writing and waiting to the server.

pub mod amqp091;
