//! AMQP 0-9-1 on the wire, one module per capability.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a panic is how a test fails")]

mod access;
mod alternate;
mod bindings;
mod channel;
mod confirm;
mod connection;
mod consistent_hash;
mod consume;
mod consumer_timeout;
mod copies;
mod dead_letter;
mod deaths;
mod delayed;
mod durable_messages;
mod exchange_bindings;
mod exchanges;
mod firehose;
mod frames;
mod get;
mod handshake;
mod headers;
mod lazy;
mod length_limits;
mod mechanisms;
mod order;
mod other_exchanges;
mod permission_changes;
mod permission_order;
mod permission_patterns;
mod permissions;
mod policies;
mod priorities;
mod publish;
mod qos;
mod queue_arguments;
mod queue_expiry;
mod queue_policies;
mod queues;
mod quorum;
mod refusal;
mod reply_to;
mod routing;
mod settle;
mod single_active;
mod topic_permissions;
mod traffic;
mod transactions;
mod ttl;
mod user_id;
mod users;
mod vhosts;

use leveret_protocol::amqp091::method::{ChannelClose, ConnectionClose};

/// Class and method id of a close: the method it blames.
trait Blame {
    fn blame(&self) -> (u16, u16);
}

impl Blame for ChannelClose<'_> {
    fn blame(&self) -> (u16, u16) {
        (self.class_id, self.method_id)
    }
}

impl Blame for ConnectionClose<'_> {
    fn blame(&self) -> (u16, u16) {
        (self.class_id, self.method_id)
    }
}
