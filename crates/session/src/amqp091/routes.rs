//! The connection's route cache and the batches on their way to queues.
//!
//! A publish looks its (exchange, routing key) up here; a hit costs a comparison, or one hash, and takes no lock. The whole
//! cache falls when the topology's generation moves on.

use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::{HashMap, HashTable};
use leveret_broker::Weight;
use leveret_broker::clock::Timestamp;
use leveret_broker::delay::DelayCell;
use leveret_broker::mailbox::Mailbox;
use leveret_broker::message::Message;
use leveret_broker::queue::{Enqueued, Fanout, Pace, QueueCell, QueueKind};
use leveret_broker::stats::{ExchangeCounters, PublishCounters};
use leveret_broker::store::{Area, StorePosition};
use leveret_broker::topology::QueueId;
use std::hash::BuildHasher;

/// Routes kept per connection; a publisher with more keys starts over.
const ROUTES_MAX: usize = 4096;
/// Queues that the kept routes lead to, each counted as often as a route names it: with a fanout to many queues, few routes
/// are large.
const ROUTED_QUEUES_MAX: usize = 256 * 1024;
/// Messages a batch keeps room for between turns.
const BATCH_KEPT: usize = 4 * 1024;

/// Where messages of a route go: indices of targets.
#[derive(Debug)]
struct Route {
    exchange: Box<str>,
    routing_key: Box<str>,
    targets: Box<[u32]>,
    hints: Hints,
    /// What counts the messages that are published to the exchange.
    counters: Arc<ExchangeCounters>,
    /// Messages that have yet to be counted there.
    count: u32,
}

impl Route {
    #[inline]
    fn is(&self, exchange: &str, routing_key: &str) -> bool {
        same(&self.routing_key, routing_key) && same(&self.exchange, exchange)
    }
}

/// What the queues of a route want of their messages.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a wish of its own")]
pub(crate) struct Hints {
    /// One of the queues is durable.
    pub(crate) is_durable: bool,
    /// One of them keeps all messages on disk, whether they ask for it or not.
    pub(crate) stores_transient: bool,
    /// One of them wants to know when a message was published.
    pub(crate) wants_time: bool,
    /// One of them may refuse messages.
    pub(crate) may_refuse: bool,
}

impl Hints {
    /// What these queues want.
    pub(crate) fn of(queues: &[Arc<QueueCell>]) -> Self {
        Self {
            is_durable: queues.iter().any(|queue| queue.info().durable),
            stores_transient: queues.iter().any(|queue| queue.kind() == QueueKind::Quorum),
            wants_time: queues.iter().any(|queue| queue.wants_time()),
            may_refuse: queues.iter().any(|queue| queue.may_refuse()),
        }
    }
}

/// The publish that a message came with: its channel, and its number there if it is to be confirmed.
pub(crate) type Origin = (u16, u64);

/// A queue that this connection publishes to, with what it has yet to be given.
#[derive(Debug)]
struct Target {
    cell: Arc<QueueCell>,
    batch: Vec<Message>,
    /// What the batch weighs.
    weight: Weight,
    /// Whether a message of the batch may go to other queues as well.
    fanout: Fanout,
    /// Whether it may refuse messages, as far as their publishers know: what it refuses they would take for taken otherwise.
    may_refuse: bool,
    /// Where messages of the batch came from that may be refused, by their place in it.
    origins: Vec<(usize, Origin)>,
}

impl Target {
    /// Remembers where the next message of the batch comes from, if it may be refused.
    fn note_origin(&mut self, origin: Origin) {
        if self.may_refuse {
            self.origins.push((self.batch.len(), origin));
        }
    }
}

/// A publisher is asked to pause: by which queue, and how many messages that had handed out by then.
#[derive(Debug)]
pub struct Pause {
    /// The queue.
    pub cell: Arc<QueueCell>,
    /// Its count of deliveries.
    pub delivered: u64,
}

/// What giving the queues their batches led to.
#[derive(Debug, Default)]
pub(crate) struct Flushed {
    /// A queue asks for a pause.
    pub(crate) pause: Option<Pause>,
    /// The position of the message log with which everything that has to survive is on disk.
    pub(crate) stored: Option<StorePosition>,
    /// Publishes that a queue refused.
    pub(crate) refused: Vec<Origin>,
    /// What the publisher should wait for before it is read again.
    pub(crate) awaited: Option<(Area, StorePosition)>,
}

/// What was published to an exchange, and is to be counted there.
#[derive(Debug, Default)]
struct Counts {
    counters: Option<Arc<ExchangeCounters>>,
    published: u64,
    routed: u64,
    /// The same for all exchanges, and to be counted for the connection.
    all_published: u64,
    all_routed: u64,
}

impl Counts {
    /// Counts messages that went to so many queues each.
    fn add(&mut self, counters: &Arc<ExchangeCounters>, messages: u64, queues: usize) {
        if !self.counters.as_ref().is_some_and(|same| Arc::ptr_eq(same, counters)) {
            self.settle();
            self.counters = Some(Arc::clone(counters));
        }
        self.published += messages;
        self.routed += messages * queues as u64;
    }

    /// Tells the exchange.
    fn settle(&mut self) {
        if self.published > 0 {
            let (published, routed) = (std::mem::take(&mut self.published), std::mem::take(&mut self.routed));
            if let Some(counters) = &self.counters {
                counters.add(published, routed);
            }
            self.all_published += published;
            self.all_routed += routed;
        }
    }

    fn flush(&mut self, connection: &PublishCounters) {
        self.settle();
        connection.published.add(std::mem::take(&mut self.all_published));
        connection.routed.add(std::mem::take(&mut self.all_routed));
    }
}

#[derive(Debug, Default)]
#[expect(clippy::struct_field_names, reason = "the list of routes among what finds and serves them")]
pub(crate) struct Routes {
    generation: u64,
    routes: Vec<Route>,
    by_name: HashTable<u32>,
    /// Targets of all routes together.
    routed_queues: usize,
    by_queue: HashMap<QueueId, u32, RandomState>,
    targets: Vec<Target>,
    /// Targets with something in their batch.
    dirty: Vec<u32>,
    /// Routes with messages that have yet to be counted.
    uncounted: Vec<u32>,
    counts: Counts,
    /// What exchanges are to hold back, in batches.
    delays: Vec<(Arc<DelayCell>, Vec<Message>)>,
    last: u32,
    hasher: RandomState,
}

impl Routes {
    /// Drops everything derived from an older generation. Batches must have been flushed.
    #[inline]
    pub(crate) fn validate(&mut self, generation: u64) {
        if self.generation != generation {
            self.clear();
            self.generation = generation;
        }
    }

    /// Forgets the routes, but not what is on its way to queues.
    pub(crate) fn forget(&mut self) {
        self.count_routes();
        self.routes.clear();
        self.by_name.clear();
        self.routed_queues = 0;
    }

    /// The topology's generation that the routes are of.
    pub(crate) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether something waits to be given to a queue.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty() || !self.delays.is_empty() || !self.uncounted.is_empty() || self.counts.published > 0
    }

    /// Gives all memory back. Batches must have been flushed.
    pub(crate) fn clear(&mut self) {
        debug_assert!(self.dirty.is_empty());
        self.forget();
        self.by_queue.clear();
        self.targets.clear();
    }

    /// The route of an exchange and key, if known.
    #[inline]
    pub(crate) fn find(&mut self, exchange: &str, routing_key: &str) -> Option<u32> {
        if self.routes.get(self.last as usize).is_some_and(|route| route.is(exchange, routing_key)) {
            return Some(self.last);
        }
        self.look_up(exchange, routing_key)
    }

    fn look_up(&mut self, exchange: &str, routing_key: &str) -> Option<u32> {
        let hash = self.hasher.hash_one((exchange, routing_key));
        let is = |index: &u32| self.routes.get(*index as usize).is_some_and(|route| route.is(exchange, routing_key));
        let found = self.by_name.find(hash, is).copied();
        self.last = found.unwrap_or(self.last);
        found
    }

    /// Keeps a route.
    pub(crate) fn insert(
        &mut self,
        exchange: &str,
        routing_key: &str,
        queues: &[Arc<QueueCell>],
        counters: Arc<ExchangeCounters>,
    ) -> u32 {
        if self.routes.len() >= ROUTES_MAX || self.routed_queues >= ROUTED_QUEUES_MAX {
            self.forget();
        }
        self.routed_queues += queues.len();
        let targets: Box<[u32]> = queues.iter().map(|queue| self.target(queue)).collect();
        let mut hints = Hints::of(queues);
        let mut known = targets.iter().filter_map(|target| self.targets.get(*target as usize));
        hints.may_refuse = known.any(|target| target.may_refuse);
        let index = u32::try_from(self.routes.len()).unwrap_or(u32::MAX);
        let (exchange, routing_key) = (exchange.into(), routing_key.into());
        self.routes.push(Route { exchange, routing_key, targets, hints, counters, count: 0 });
        let (routes, hasher) = (&self.routes, &self.hasher);
        let hash = |index: &u32| {
            routes.get(*index as usize).map_or(0, |route| hasher.hash_one((&*route.exchange, &*route.routing_key)))
        };
        self.by_name.insert_unique(hash(&index), index, hash);
        self.last = index;
        index
    }

    /// Whether a route leads nowhere.
    #[inline]
    pub(crate) fn is_unroutable(&self, route: u32) -> bool {
        self.routes.get(route as usize).is_none_or(|route| route.targets.is_empty())
    }

    /// What the queues of a route want.
    #[inline]
    pub(crate) fn hints(&self, route: u32) -> Hints {
        self.routes.get(route as usize).map(|route| route.hints).unwrap_or_default()
    }

    /// The queues of a route.
    pub(crate) fn queues(&self, route: u32) -> Vec<Arc<QueueCell>> {
        let targets = self.routes.get(route as usize).map(|route| &*route.targets).unwrap_or_default();
        let cells = targets.iter().filter_map(|target| self.targets.get(*target as usize));
        cells.map(|target| Arc::clone(&target.cell)).collect()
    }

    /// What counts the messages of a route's exchange.
    pub(crate) fn counters(&self, route: u32) -> Arc<ExchangeCounters> {
        self.routes.get(route as usize).map(|route| Arc::clone(&route.counters)).unwrap_or_default()
    }

    /// Counts a message that is published along a route that leads nowhere.
    pub(crate) fn count(&mut self, index: u32) {
        if let Some(route) = self.routes.get_mut(index as usize) {
            if route.count == 0 {
                self.uncounted.push(index);
            }
            route.count += 1;
        }
    }

    /// Counts a message that is published to queues, for a route that is not kept.
    pub(crate) fn count_once(&mut self, counters: &Arc<ExchangeCounters>, queues: usize) {
        self.counts.add(counters, 1, queues);
    }

    fn count_routes(&mut self) {
        for index in self.uncounted.drain(..) {
            if let Some(route) = self.routes.get_mut(index as usize) {
                self.counts.add(&route.counters, u64::from(std::mem::take(&mut route.count)), route.targets.len());
            }
        }
    }

    /// Puts a message into the batches of a route's queues, and counts it.
    #[inline]
    pub(crate) fn publish(&mut self, index: u32, message: Message, weight: Weight) {
        let Some(route) = self.routes.get_mut(index as usize) else { return };
        if route.count == 0 {
            self.uncounted.push(index);
        }
        route.count += 1;
        let Some((last, others)) = route.targets.split_last() else { return };
        let fanout = if others.is_empty() { Fanout::One } else { Fanout::Many };
        for target in others {
            push(&mut self.targets, &mut self.dirty, *target, message.clone(), weight, fanout);
        }
        push(&mut self.targets, &mut self.dirty, *last, message, weight, fanout);
    }

    /// Remembers where the message comes from that is about to be published along a route, for queues that may refuse it.
    pub(crate) fn note_origin(&mut self, route: u32, origin: Origin) {
        let Some(route) = self.routes.get(route as usize) else { return };
        for target in &route.targets {
            if let Some(target) = self.targets.get_mut(*target as usize) {
                target.note_origin(origin);
            }
        }
    }

    /// Puts a message into the batches of queues, for a route that is not kept.
    pub(crate) fn publish_to(&mut self, queues: &[Arc<QueueCell>], message: &Message, origin: Option<Origin>) {
        let fanout = if queues.len() > 1 { Fanout::Many } else { Fanout::One };
        let weight = Weight::of(message);
        for queue in queues {
            let target = self.target(queue);
            if let Some(origin) = origin
                && let Some(target) = self.targets.get_mut(target as usize)
            {
                target.note_origin(origin);
            }
            push(&mut self.targets, &mut self.dirty, target, message.clone(), weight, fanout);
        }
    }

    /// Puts a message into the batches of exchanges that hold it back.
    pub(crate) fn hold(&mut self, delays: &[Arc<DelayCell>], message: &Message, due: Timestamp) {
        for cell in delays {
            let message = message.held_until(due);
            match self.delays.iter_mut().find(|(known, _)| Arc::ptr_eq(known, cell)) {
                Some((_, batch)) => batch.push(message),
                None => self.delays.push((Arc::clone(cell), vec![message])),
            }
        }
    }

    /// Gives every queue its batch, each under one lock.
    pub(crate) fn flush(&mut self, publisher: &Arc<Mailbox>, counters: &PublishCounters) -> Flushed {
        let mut flushed = Flushed::default();
        self.count_routes();
        self.counts.flush(counters);
        while let Some(index) = self.dirty.pop() {
            let Some(target) = self.targets.get_mut(index as usize) else { continue };
            let fanout = std::mem::replace(&mut target.fanout, Fanout::One);
            let weight = std::mem::take(&mut target.weight);
            let Enqueued { pace, stored, refused } = if target.may_refuse {
                target.cell.enqueue(&mut target.batch, fanout, publisher)
            } else {
                target.cell.enqueue_all(&mut target.batch, weight, fanout, publisher)
            };
            flushed.stored = flushed.stored.max(stored);
            if !target.origins.is_empty() {
                let is_refused = |(place, _): &&(usize, Origin)| refused.binary_search(place).is_ok();
                flushed.refused.extend(target.origins.iter().filter(is_refused).map(|(_, origin)| *origin));
                target.origins.clear();
            }
            match pace {
                Pace::Go => {}
                Pace::Pause => {
                    let delivered = target.cell.delivered_count();
                    flushed.pause = Some(Pause { cell: Arc::clone(&target.cell), delivered });
                }
                Pace::AwaitDisk(area, position) => flushed.awaited = Some((area, position)),
            }
            if target.batch.capacity() > BATCH_KEPT {
                target.batch = Vec::new();
            }
        }
        for (cell, mut batch) in self.delays.drain(..) {
            let Enqueued { pace, stored, .. } = cell.hold(&mut batch);
            flushed.stored = flushed.stored.max(stored);
            if let Pace::AwaitDisk(area, position) = pace {
                flushed.awaited = Some((area, position));
            }
        }
        flushed
    }

    fn target(&mut self, queue: &Arc<QueueCell>) -> u32 {
        *self.by_queue.entry(queue.info().id).or_insert_with(|| {
            self.targets.push(Target {
                cell: Arc::clone(queue),
                batch: Vec::new(),
                weight: Weight::default(),
                fanout: Fanout::One,
                may_refuse: queue.may_refuse(),
                origins: Vec::new(),
            });
            u32::try_from(self.targets.len() - 1).unwrap_or(u32::MAX)
        })
    }
}

/// Whether two names are the same. An empty name is common, and comparing two empty slices whose pointers dangle costs a
/// hundred times what it looks like: the masked loads of some `memcmp`s trap on the bad address.
#[inline]
fn same(one: &str, two: &str) -> bool {
    one.len() == two.len() && (one.is_empty() || one == two)
}

#[inline]
fn push(targets: &mut [Target], dirty: &mut Vec<u32>, index: u32, message: Message, weight: Weight, fanout: Fanout) {
    let Some(target) = targets.get_mut(index as usize) else { return };
    if target.batch.is_empty() {
        dirty.push(index);
    }
    if fanout == Fanout::Many {
        target.fanout = fanout;
    }
    target.weight += weight;
    target.batch.push(message);
}
