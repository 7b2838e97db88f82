//! From what exchanges hold back to the queues that it goes to when it is due.

use std::ops::Range;
use std::sync::Arc;

use super::{Node, State};
use crate::Name;
use crate::clock::Timestamp;
use crate::delay::{DELAY_HEADER, DelayCell, DelayInfo, number};
use crate::hash::Map;
use crate::message::Message;
use crate::queue::{Enqueued, Fanout, Pace, Position, QueueCell, push_position};
use crate::store::{Area, StorePosition};
use crate::topology::{QueueId, Removed, Routes, RoutingInput};
use crate::value::{Table, Value};

/// Messages that are routed at a time.
const FIRED_MAX: usize = 1024;

/// What due messages came to for a queue.
struct Share {
    cell: Arc<QueueCell>,
    batch: Vec<Message>,
}

/// The ways of due messages.
struct Fired {
    shares: Vec<Share>,
    positions: Vec<Range<u64>>,
}

impl Node {
    /// Makes cells for exchanges that came to hold messages back.
    pub(super) fn add_delays(&self, state: &mut State) {
        for info in state.topology.take_numbered_delays() {
            let id = info.id;
            let cell = DelayCell::new(info, Arc::clone(&self.context.clock), self.store.clone(), None);
            state.delays.insert(id, Arc::new(cell));
        }
    }

    /// Ends the cells of exchanges that are gone.
    pub(super) fn remove_delays(state: &mut State, removed: &Removed) {
        for id in &removed.delays {
            if let Some(cell) = state.delays.remove(id) {
                cell.close();
            }
        }
    }

    /// Begins to read what exchanges held back when the node stopped. To be called once the store and the clock know the node.
    pub fn start_delays(&self) {
        let cells: Vec<Arc<DelayCell>> = self.state.read().delays.values().map(Arc::clone).collect();
        for cell in cells {
            cell.start();
        }
    }

    /// What an exchange holds back, if it ever had a reason to.
    pub fn delay(&self, vhost: &str, exchange: &str) -> Option<Arc<DelayCell>> {
        let state = self.state.read();
        let id = state.topology.vhost(vhost).ok()?.exchange(exchange).ok()?.delay()?;
        state.delays.get(&id).map(Arc::clone)
    }

    pub(super) fn delay_cell_of(&self, id: QueueId) -> Option<Arc<DelayCell>> {
        self.state.read().delays.get(&id).map(Arc::clone)
    }

    /// Lets go of what was routed and whose copies are on disk by now; says whether something still has to wait.
    pub fn settle_delays(&self) -> bool {
        let cells: Vec<Arc<DelayCell>> = self.state.read().delays.values().map(Arc::clone).collect();
        cells.into_iter().fold(false, |waits, cell| cell.settle_moved() | waits)
    }

    /// Routes what is due, if nobody does so already.
    pub(super) fn fire(&self, cell: &DelayCell) {
        while cell.start_firing() {
            // Whatever happens on the way, somebody else has to be able to go on.
            let turn = Turn(cell);
            loop {
                let due = cell.take_due(FIRED_MAX);
                if due.is_empty() {
                    break;
                }
                let fired = self.route_due(cell.info(), due);
                if let Some((area, position)) = hand_over(cell, fired) {
                    cell.rest_for(area, position);
                    break;
                }
            }
            drop(turn);
            self.deliver_dead_letters();
        }
    }

    fn route_due(&self, info: &DelayInfo, due: Vec<(Position, Message)>) -> Fired {
        let mut fired = Fired { shares: Vec::new(), positions: Vec::new() };
        let mut by_queue: Map<QueueId, usize> = Map::default();
        let now = self.now();
        let mut routes = Routes::default();
        routes.holds_nothing = true;
        let due: Vec<_> = due.into_iter().map(|(position, message)| (position, self.release(&message, now))).collect();
        let state = self.state.read();
        let vhost = state.topology.vhost(&info.vhost).ok();
        for (position, (mut message, extra_keys)) in due {
            push_position(&mut fired.positions, position);
            let mut keys = vec![message.routing_key()];
            keys.extend(extra_keys.iter().map(|key| &**key));
            keys.extend(message.hidden_keys());
            let (properties, entropy) = (self.properties(), self.draw());
            let input = RoutingInput { routing_keys: &keys, message: &message, properties, entropy, now };
            // Without the exchange, nobody waits for the message.
            if vhost.is_none_or(|vhost| vhost.route(&info.exchange, &input, &mut routes).is_err()) {
                continue;
            }
            self.keep_seen(&info.vhost, &mut routes);
            let cells = || routes.queues.iter().filter_map(|id| state.cells.get(id));
            if message.published_at().is_none() && cells().any(|cell| cell.wants_time()) {
                message = message.stamped(now);
            }
            for cell in cells() {
                let index = *by_queue.entry(cell.info().id).or_insert_with(|| {
                    fired.shares.push(Share { cell: Arc::clone(cell), batch: Vec::new() });
                    fired.shares.len() - 1
                });
                if let Some(share) = fired.shares.get_mut(index) {
                    share.batch.push(message.clone());
                }
            }
        }
        fired
    }

    /// The message as consumers see it, and the keys of its `CC` header. As in RabbitMQ a negative delay says that it was
    /// held back.
    fn release(&self, message: &Message, now: Timestamp) -> (Message, Vec<Name>) {
        let released = message.released(now);
        let headers = self.properties.headers(&released);
        let copies = match headers.get("CC") {
            Some(Value::Array(keys)) => keys.iter().filter_map(Value::as_str).map(Name::from).collect(),
            _ => Vec::new(),
        };
        (self.with_delay_over(released, &headers), copies)
    }

    fn with_delay_over(&self, message: Message, headers: &Table) -> Message {
        let Some(delay) = headers.get(DELAY_HEADER).and_then(number) else { return message };
        let over = -delay.saturating_abs();
        let value = match (i32::try_from(over), i64::try_from(over)) {
            (Ok(over), _) => Value::I32(over),
            (_, Ok(over)) => Value::I64(over),
            _ => return message,
        };
        self.properties.with_header(&message, DELAY_HEADER, &value)
    }
}

/// Gives the queues their shares; says what has to be written before there is more, if there is enough to write for now.
fn hand_over(cell: &DelayCell, fired: Fired) -> Option<(Area, StorePosition)> {
    let Fired { shares, positions } = fired;
    let fanout = if shares.len() > 1 { Fanout::Many } else { Fanout::One };
    let mut stored: Option<StorePosition> = None;
    let mut awaited = None;
    for Share { cell, mut batch } in shares {
        let enqueued: Enqueued = cell.accept(&mut batch, fanout);
        stored = stored.max(enqueued.stored);
        awaited = match enqueued.pace {
            Pace::AwaitDisk(area, position) => Some((area, position)),
            Pace::Go | Pace::Pause => awaited,
        };
    }
    cell.moved(stored, positions);
    awaited
}

/// Somebody's turn to take out what is due.
struct Turn<'a>(&'a DelayCell);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.stop_firing();
    }
}
