//! Bytes to frames and back. No I/O, no broker types.
//!
//! Everything decoded borrows from the read buffer; nothing here allocates except the buffers callers hand in.

pub mod amqp091;
