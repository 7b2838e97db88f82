//! From the dead of a queue to the queues that its dead-letter exchange routes them to.

use std::sync::Arc;

use memchr::memmem;

use super::{DEAD_LETTERS, MOVES, Node};
use crate::clock::Timestamp;
use crate::dead_letter::{DeadLetters, Departed, is_cycle};
use crate::delay::DelayCell;
use crate::hash::Map;
use crate::message::Message;
use crate::properties::{Afterlife, Death};
use crate::queue::{Dead, DeadLetterTo, Fanout, Pace, QueueCell, QueueSettings, push_position};
use crate::store::{Area, StorePosition};
use crate::topology::{QueueId, Routes, RoutingInput};

/// Milliseconds between looks whether copies are on disk.
const MOVES_INTERVAL_MS: u64 = 50;
/// Batches that a thread moves before it leaves the rest to the clock's, so that one connection does not work for all others
/// for good.
const BATCHES_MAX: usize = 1024;
/// Messages of a batch that are copied before the first of them are handed on.
const MESSAGES_MAX: usize = 1024;

/// Copies of messages, for each of those who get some.
#[derive(Default)]
struct Copies {
    queues: Vec<(Arc<QueueCell>, Vec<Message>)>,
    /// Where each of the queues is.
    places: Map<QueueId, usize>,
    /// Exchanges that hold them back.
    delays: Vec<(Arc<DelayCell>, Vec<Message>)>,
}

impl Copies {
    fn add(&mut self, cell: &Arc<QueueCell>, message: Message) {
        let place = *self.places.entry(cell.info().id).or_insert_with(|| {
            self.queues.push((Arc::clone(cell), Vec::new()));
            self.queues.len() - 1
        });
        if let Some((_, batch)) = self.queues.get_mut(place) {
            batch.push(message);
        }
    }

    fn delay(&mut self, cell: &Arc<DelayCell>, message: Message) {
        match self.delays.iter_mut().find(|(other, _)| Arc::ptr_eq(other, cell)) {
            Some((_, batch)) => batch.push(message),
            None => self.delays.push((Arc::clone(cell), vec![message])),
        }
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
        let target = &cell.info().name;
        // A history that tells of a queue has its name somewhere, and reading all of it costs more than the rest.
        let may_tell = || memmem::find(dead.message.properties(), target.as_bytes()).is_some();
        let deaths =
            if dead.message.has_died() && may_tell() { node.properties.deaths(&dead.message) } else { Vec::new() };
        is_cycle(target, self.queue, dead.reason, &deaths)
    }
}

impl Node {
    /// Publishes anew what died since the last call. Whoever does something that may let messages die calls this afterwards, with
    /// no lock held.
    #[inline]
    pub fn deliver_dead_letters(&self) {
        if !self.context.dead_letters.is_empty() {
            self.deliver_batches();
        }
    }

    fn deliver_batches(&self) {
        let mut left = BATCHES_MAX;
        while !self.context.dead_letters.is_empty() {
            let Some(mut leaving) = self.context.dead_letters.begin() else { return };
            while let Some(departed) = self.context.dead_letters.pop() {
                if departed.is_safe() {
                    self.add_leavers(departed, &mut leaving);
                } else {
                    self.republish(&departed);
                }
                left -= 1;
                if left == 0 {
                    self.context.clock.wake_at(DEAD_LETTERS, self.now());
                    return;
                }
            }
            DeadLetters::end(leaving);
        }
    }

    fn republish(&self, departed: &Departed) {
        let Departed { vhost, queue, id, settings, messages, is_stored } = departed;
        let source = if *is_stored { self.state.read().cells.get(id).map(Arc::clone) } else { None };
        for messages in messages.chunks(MESSAGES_MAX) {
            let copies = self.copies(vhost, queue, settings, messages);
            let (mut written, mut is_behind) = (None, false);
            for (cell, mut batch) in copies.queues {
                // Several queues may get clones of one message.
                let enqueued = cell.accept(&mut batch, Fanout::Many);
                written = enqueued.stored.max(written);
                is_behind |= matches!(enqueued.pace, Pace::AwaitDisk(Area::Log, _));
            }
            for (cell, mut batch) in copies.delays {
                let held = cell.hold(&mut batch);
                written = held.stored.max(written);
                is_behind |= matches!(held.pace, Pace::AwaitDisk(Area::Log, _));
            }
            let mut positions = Vec::new();
            messages.iter().filter_map(|dead| dead.position).for_each(|at| push_position(&mut positions, at));
            let Some(source) = source.as_ref().filter(|_| !positions.is_empty()) else { continue };
            if let Some(position) = written.filter(|_| is_behind) {
                source.hold_until(position);
            }
            self.let_go(Arc::clone(source), positions, written);
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
                copies.delay(&cell, held);
            }
            for cell in queues.iter().filter(|cell| !router.is_cycle(self, cell, dead)) {
                copies.add(cell, after.clone());
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
