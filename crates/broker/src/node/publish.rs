//! What the broker itself publishes.

use std::sync::Arc;

use super::{Node, Routed};
use crate::Error;
use crate::message::Message;
use crate::queue::Fanout;
use crate::store::StorePosition;
use crate::topology::{Routes, RoutingInput};

/// Where a message of the broker's own went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Queues that took it.
    pub queues: usize,
    /// Queues that refused it.
    pub refused: usize,
    /// Whether exchanges hold it back.
    pub is_delayed: bool,
    /// Whether an exchange kept it from all queues, or it is a direct reply: it is not lost, though no queue has it.
    pub is_taken: bool,
    /// The position of the log with which it is on disk, if it has to be there.
    pub stored: Option<StorePosition>,
}

impl Published {
    /// Whether there was somewhere for it to go.
    pub const fn is_routed(&self) -> bool {
        self.queues > 0 || self.refused > 0 || self.is_delayed || self.is_taken
    }
}

impl Node {
    /// Publishes a message to the exchange that it names, be it an internal one. It counts nowhere: what is counted is what clients
    /// publish. To be called without a lock.
    pub fn publish(&self, vhost: &str, message: &Message) -> Result<Published, Error> {
        let Routed { queues, delays, due, .. } = self.route_own(vhost, message)?;
        let mut published = Published { is_delayed: !delays.is_empty(), ..Published::default() };
        let fanout = if queues.len() > 1 { Fanout::Many } else { Fanout::One };
        for cell in queues {
            // The queue stamps it if it wants to know the time.
            let enqueued = cell.accept(&mut vec![message.clone()], fanout);
            if enqueued.refused.is_empty() {
                published.queues += 1;
            } else {
                published.refused += 1;
            }
            published.stored = published.stored.max(enqueued.stored);
        }
        for cell in delays {
            published.stored = published.stored.max(cell.hold(&mut vec![message.held_until(due)]).stored);
        }
        self.deliver_dead_letters();
        Ok(published)
    }

    fn route_own(&self, vhost: &str, message: &Message) -> Result<Routed, Error> {
        let mut routes = Routes::default();
        let (properties, entropy, now) = (&*self.properties, self.draw(), self.now());
        let input = RoutingInput { routing_keys: &[message.routing_key()], message, properties, entropy, now };
        let state = self.state.read();
        let vhost = state.topology.vhost(vhost)?;
        let counters = Arc::clone(vhost.exchange(message.exchange())?.counters());
        vhost.route(message.exchange(), &input, &mut routes)?;
        self.keep_seen(vhost.name(), &mut routes);
        let queues = routes.queues.iter().filter_map(|id| state.cells.get(id).map(Arc::clone)).collect();
        let delays = routes.delays.iter().filter_map(|id| state.delays.get(id).map(Arc::clone)).collect();
        Ok(Routed { queues, delays, due: routes.due, cacheable: false, is_withheld: routes.is_withheld, counters })
    }
}
