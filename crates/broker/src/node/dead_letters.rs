//! From the dead of a queue to the queues that its dead-letter exchange routes them to.

use std::sync::Arc;

use super::{MOVES, Node};
use crate::clock::Timestamp;
use crate::dead_letter::{Departed, is_cycle};
use crate::delay::DelayCell;
use crate::message::Message;
use crate::properties::{Afterlife, Death};
use crate::queue::{Dead, DeadLetterTo, Fanout, QueueCell, QueueSettings, push_position};
use crate::store::StorePosition;
use crate::topology::{Routes, RoutingInput};

/// Milliseconds between looks whether copies are on disk.
const MOVES_INTERVAL_MS: u64 = 50;

/// The messages of a queue's dead, for each of those who get some.
#[derive(Default)]
struct Copies {
    queues: Vec<(Arc<QueueCell>, Vec<Message>)>,
    /// Exchanges that hold them back.
    delays: Vec<(Arc<DelayCell>, Vec<Message>)>,
}

fn add<C>(copies: &mut Vec<(Arc<C>, Vec<Message>)>, cell: &Arc<C>, message: Message) {
    match copies.iter_mut().find(|(other, _)| Arc::ptr_eq(other, cell)) {
        Some((_, batch)) => batch.push(message),
        None => copies.push((Arc::clone(cell), vec![message])),
    }
}

/// A message as it is after its death, and where it goes.
pub(super) struct RoutedDead {
    pub(super) after: Message,
    pub(super) queues: Vec<Arc<QueueCell>>,
    /// Exchanges that hold it back, each with what it holds.
    pub(super) delays: Vec<(Arc<DelayCell>, Message)>,
}

/// Finds the ways of messages that died in one queue; those with the same keys go the same way.
#[derive(Debug)]
pub(super) struct DeathRouter<'a> {
    queue: &'a str,
    to: &'a DeadLetterTo,
    time: Timestamp,
    routes: Routes,
    routed_keys: Option<Vec<String>>,
}

impl<'a> DeathRouter<'a> {
    pub(super) fn new(queue: &'a str, to: &'a DeadLetterTo, time: Timestamp) -> Self {
        Self { queue, to, time, routes: Routes::default(), routed_keys: None }
    }

    /// Whether a message would go round for ever if it went to this queue.
    pub(super) fn is_cycle(&self, node: &Node, cell: &QueueCell, dead: &Dead) -> bool {
        let deaths = if dead.message.has_died() { node.properties.deaths(&dead.message) } else { Vec::new() };
        is_cycle(&cell.info().name, self.queue, dead.reason, &deaths)
    }
}

impl Node {
    /// Publishes anew what died since the last call. Whoever does something that may let messages die calls this afterwards, with
    /// no lock held.
    #[inline]
    pub fn deliver_dead_letters(&self) {
        while !self.context.dead_letters.is_empty() {
            let Some(mut leaving) = self.context.dead_letters.begin() else { return };
            while let Some(departed) = self.context.dead_letters.pop() {
                if departed.is_safe() {
                    self.add_leavers(departed, &mut leaving);
                } else {
                    self.republish(departed);
                }
            }
        }
    }

    fn republish(&self, departed: Departed) {
        let Departed { vhost, queue, id, settings, messages, is_stored } = departed;
        let mut positions = Vec::new();
        messages.iter().filter_map(|dead| dead.position).for_each(|position| push_position(&mut positions, position));
        let Copies { queues, delays } = self.copies(&vhost, &queue, &settings, &messages);
        let mut written = None;
        for (cell, mut batch) in queues {
            // Several queues may get clones of one message.
            written = cell.accept(&mut batch, Fanout::Many).stored.max(written);
        }
        for (cell, mut batch) in delays {
            written = cell.hold(&mut batch).stored.max(written);
        }
        let source = if is_stored { self.state.read().cells.get(&id).map(Arc::clone) } else { None };
        if let Some(source) = source {
            self.let_go(source, positions, written);
        }
    }

    /// Lets go of what stood at these positions of a queue, once the log is so far.
    pub(super) fn let_go(
        &self,
        source: Arc<QueueCell>,
        positions: Vec<std::ops::Range<u64>>,
        written: Option<StorePosition>,
    ) {
        match written {
            Some(position) => {
                if self.moves.add(position, source, positions) {
                    self.context.clock.wake_at(MOVES, self.now().plus_ms(MOVES_INTERVAL_MS));
                }
            }
            None => source.discard(&positions),
        }
    }

    /// What the dead-letter exchange makes of a queue's dead.
    fn copies(&self, vhost: &str, queue: &str, settings: &QueueSettings, messages: &[Dead]) -> Copies {
        let mut copies = Copies::default();
        let Some(to) = &settings.dead_letter else { return copies };
        let mut router = DeathRouter::new(queue, to, self.now());
        for dead in messages {
            let Some(RoutedDead { after, queues, delays }) = self.route_dead(vhost, &mut router, dead) else {
                continue;
            };
            for (cell, held) in delays {
                add(&mut copies.delays, &cell, held);
            }
            for cell in queues.iter().filter(|cell| !router.is_cycle(self, cell, dead)) {
                add(&mut copies.queues, cell, after.clone());
            }
        }
        copies
    }

    /// A message as it is after its death, and where it goes; none without the exchange.
    pub(super) fn route_dead(&self, vhost: &str, router: &mut DeathRouter<'_>, dead: &Dead) -> Option<RoutedDead> {
        let DeathRouter { queue, to, time, routes, routed_keys } = router;
        let state = self.state.read();
        let vhost = state.topology.vhost(vhost).ok()?;
        vhost.exchange(&to.exchange).ok()?;
        let routing_key = to.routing_key.as_deref();
        let death = Death { queue, reason: dead.reason, time: *time, exchange: &to.exchange, routing_key };
        let Afterlife { message: after, routing_keys } = self.properties.after_death(&dead.message, &death);
        if !routes.cacheable || routed_keys.as_ref() != Some(&routing_keys) {
            let keys: Vec<&str> = routing_keys.iter().map(String::as_str).collect();
            let (properties, entropy) = (&*self.properties, self.entropy.lock().draw());
            let input = RoutingInput { routing_keys: &keys, message: &after, properties, entropy, now: *time };
            vhost.route(&to.exchange, &input, routes).ok()?;
            self.keep_seen(vhost.name(), routes);
            *routed_keys = Some(routing_keys);
        }
        let queues = routes.queues.iter().filter_map(|id| state.cells.get(id).map(Arc::clone)).collect();
        let delays = routes.delays.iter().filter_map(|id| state.delays.get(id).map(Arc::clone));
        let delays = delays.map(|cell| (cell, after.held_until(routes.due))).collect();
        Some(RoutedDead { after, queues, delays })
    }

    /// Lets go of messages whose copies elsewhere are on disk by now. Says whether some are not.
    pub fn finish_moves(&self) -> bool {
        let remains = self.moves.finish(self.store_synced());
        if remains {
            self.context.clock.wake_at(MOVES, self.now().plus_ms(MOVES_INTERVAL_MS));
        }
        remains
    }
}
