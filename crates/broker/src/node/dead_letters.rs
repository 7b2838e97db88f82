//! From the dead of a queue to the queues that its dead-letter exchange routes them to.

use std::sync::Arc;

use super::{MOVES, Node};
use crate::dead_letter::{Departed, is_cycle};
use crate::delay::DelayCell;
use crate::message::Message;
use crate::properties::{Afterlife, Death};
use crate::queue::{Dead, Fanout, QueueCell, QueueSettings, push_position};
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

impl Node {
    /// Publishes anew what died since the last call. Whoever does something that may let messages die calls this afterwards, with
    /// no lock held.
    #[inline]
    pub fn deliver_dead_letters(&self) {
        while !self.context.dead_letters.is_empty() {
            let Some(_turn) = self.context.dead_letters.begin() else { return };
            while let Some(departed) = self.context.dead_letters.pop() {
                self.republish(departed);
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
        let Some(source) = source else { return };
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
        let state = self.state.read();
        let Ok(vhost) = state.topology.vhost(vhost) else { return copies };
        if vhost.exchange(&to.exchange).is_err() {
            return copies;
        }
        let (time, mut routes) = (self.now(), Routes::default());
        let mut routed_keys: Option<Vec<String>> = None;
        for Dead { message, reason, .. } in messages {
            let death =
                Death { queue, reason: *reason, time, exchange: &to.exchange, routing_key: to.routing_key.as_deref() };
            let Afterlife { message: after, routing_keys } = self.properties.after_death(message, &death);
            if !routes.cacheable || routed_keys.as_ref() != Some(&routing_keys) {
                let keys: Vec<&str> = routing_keys.iter().map(String::as_str).collect();
                let (properties, entropy) = (&*self.properties, self.entropy.lock().draw());
                let input = RoutingInput { routing_keys: &keys, message: &after, properties, entropy, now: time };
                if vhost.route(&to.exchange, &input, &mut routes).is_err() {
                    continue;
                }
                self.keep_seen(vhost.name(), &mut routes);
                routed_keys = Some(routing_keys);
            }
            let deaths = if message.has_died() { self.properties.deaths(message) } else { Vec::new() };
            for cell in routes.delays.iter().filter_map(|id| state.delays.get(id)) {
                add(&mut copies.delays, cell, after.held_until(routes.due));
            }
            for cell in routes.queues.iter().filter_map(|id| state.cells.get(id)) {
                if is_cycle(&cell.info().name, queue, *reason, &deaths) {
                    continue;
                }
                add(&mut copies.queues, cell, after.clone());
            }
        }
        copies
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
