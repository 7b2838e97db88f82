//! Who looks on while messages come and go; see [`leveret_broker::tap`].
//!
//! Without taps a publish pays nothing: with some, no route is kept, and only the way of a publish without one leads past them. A
//! delivery pays a look per batch.

use std::sync::Arc;

use leveret_broker::message::Message;
use leveret_broker::queue::QueueCell;
use leveret_broker::tap::{Passing, Tap, Way};

use super::Session;
use super::publish::Destination;

/// The taps of the connection's vhost.
#[derive(Debug, Default)]
pub(super) struct Taps {
    /// The topology's generation that they are of.
    generation: u64,
    list: Vec<Arc<dyn Tap>>,
    /// What the connection is called, if there are taps that want to know.
    connection: String,
}

impl Taps {
    /// Whether somebody looks on.
    #[inline]
    pub(super) const fn are_there(&self) -> bool {
        !self.list.is_empty()
    }
}

impl Session {
    /// Drops what was derived from an older topology. Batches must have been flushed.
    #[inline]
    pub(super) fn follow_topology(&mut self) {
        let generation = self.node.generation();
        self.routes.validate(generation);
        self.follow_taps(generation);
    }

    /// Finds out who looks on, if that may have changed.
    #[inline]
    pub(super) fn follow_taps(&mut self, generation: u64) {
        if self.taps.generation != generation {
            self.find_taps(generation);
        }
    }

    /// Finds out who looks on.
    #[cold]
    pub(super) fn find_taps(&mut self, generation: u64) {
        let had_some = self.taps.are_there();
        let list = if self.is_open() { self.node.taps(&self.vhost) } else { Vec::new() };
        if !had_some && !list.is_empty() {
            self.taps.connection = self.peer.connection_name();
            // Routes that are kept lead past no tap.
            self.routes.forget();
        }
        self.taps.list = list;
        self.taps.generation = generation;
    }

    /// A message was taken from its publisher.
    #[inline]
    pub(super) fn tap_publish(&self, number: u16, message: &Message, destination: &Destination) {
        if self.taps.are_there() {
            match destination {
                Destination::Route(route) => {
                    let way = Way::Published { queues: &self.routes.queues(*route), replies: &[] };
                    self.tap(number, message, way);
                }
                Destination::Once(held) => {
                    self.tap(number, message, Way::Published { queues: &held.queues, replies: &held.replies });
                }
            }
        }
    }

    /// A message goes to whoever asked a queue for it.
    #[inline]
    pub(super) fn tap_get(&self, number: u16, message: &Message, queue: &QueueCell, redelivered: bool) {
        if self.taps.are_there() {
            self.tap(number, message, Way::Delivered { queue: &queue.info().name, redelivered });
        }
    }

    /// A message goes to a consumer.
    pub(super) fn tap_delivery(&self, key: u32, message: &Message, redelivered: bool) {
        let Some(source) = self.sources.get(key) else { return };
        self.tap(source.channel, message, Way::Delivered { queue: source.origin(), redelivered });
    }

    #[cold]
    fn tap(&self, channel: u16, message: &Message, way: Way<'_>) {
        let Self { vhost, user, .. } = self;
        let passing = Passing { message, way, vhost, user, connection: &self.taps.connection, channel };
        for tap in &self.taps.list {
            tap.pass(&self.node, &passing);
        }
    }
}
