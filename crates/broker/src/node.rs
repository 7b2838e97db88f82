//! What the connections of a node share: the topology, the queues behind it, the users.
//!
//! Lock order: changes of policies, the right to move the dead, the topology, then a queue, then the store, then a mailbox.
//! The list of connections stands between the topology and a mailbox: whoever gets into a vhost is listed under the topology's lock.
//! Publishing takes the topology's lock only for a route that is not in the connection's cache; [`Node::generation`] tells
//! whether the cache still holds.

mod batch;
mod connections;
mod dead_letters;
mod delays;
mod events;
mod history;
mod inspect;
mod leaving;
mod messages;
mod operations;
mod publish;
mod seen;
mod stats;
mod taps;

pub use batch::{Batch, BatchError};
pub use connections::Opening;
pub use events::AlarmSource;
pub use inspect::{ConnectionsOf, ListedQueue, QueueList, Totals};
pub use messages::{Caller, Held, Settlement};
pub use operations::{MoveTo, Moved};
pub use publish::Published;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock};

use crate::access::PasswordHash;
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::connections::Connections;
use crate::dead_letter::Moves;
use crate::dedup::SeenLog;
use crate::delay::DelayCell;
use crate::entropy::Entropy;
use crate::error::Resource;
use crate::events::{Before, Bus, INTERNAL, Order};
use crate::firehose::Firehose;
use crate::hash::Map;
use crate::journal::{Journal, JournalPosition, Written};
use crate::mailbox::Mailbox;
use crate::message::Message;
use crate::properties::{NoProperties, Properties};
use crate::queue::{
    CloseCondition, Delivery, Lease, Loaded, Position, QueueCell, QueueContext, QueueInfo, QueueKind, Restored, Sink,
};
use crate::stats::ExchangeCounters;
use crate::store::{Area, MessageStore, StorePosition};
use crate::switches::Switches;
use crate::tap::Taps;
use crate::topology::{
    Applied, Change, ConnectionId, Defaults, NodeLimits, QueueId, QueueRecord, Reconfigured, Record, Removed, Routes,
    RoutingInput, Topology, clean_name,
};
use crate::{Error, Name};

/// Stands in for a queue when the clock is asked to see to messages that are in two places.
const MOVES: QueueId = QueueId(u64::MAX);
/// The same for messages that stay in their queue until others have them.
const LEAVING: QueueId = QueueId(u64::MAX - 1);
/// The same for dead letters that wait for somebody to move them.
const DEAD_LETTERS: QueueId = QueueId(u64::MAX - 2);

#[derive(Debug, Default)]
struct State {
    topology: Topology,
    cells: Map<QueueId, Arc<QueueCell>>,
    /// The last of the ids of each queue that has several.
    last_ids: BTreeMap<QueueId, QueueId>,
    /// What exchanges hold back.
    delays: Map<QueueId, Arc<DelayCell>>,
    churn: stats::QueueChurn,
}

impl State {
    fn add(&mut self, cell: Arc<QueueCell>, mut ids: impl Iterator<Item = QueueId>) {
        if let (Some(first), Some(last)) = (ids.next(), ids.last()) {
            self.last_ids.insert(first, last);
        }
        self.cells.insert(cell.info().id, cell);
        self.churn.created += 1;
    }

    fn remove(&mut self, id: QueueId) -> Option<Arc<QueueCell>> {
        self.last_ids.remove(&id);
        let removed = self.cells.remove(&id);
        self.churn.deleted += u64::from(removed.is_some());
        removed
    }

    /// The queue that has this id among its own.
    fn cell_of(&self, id: QueueId) -> Option<Arc<QueueCell>> {
        if let Some(cell) = self.cells.get(&id) {
            return Some(Arc::clone(cell));
        }
        let (first, last) = self.last_ids.range(..=id).next_back()?;
        if id <= *last { self.cells.get(first).map(Arc::clone) } else { None }
    }
}

/// A node: everything that outlives a connection.
#[derive(Debug)]
pub struct Node {
    state: RwLock<State>,
    /// Held while policies change, until the queues have been told, so that they are told in the order of the changes. It comes
    /// before the topology in the order of locks.
    reconfiguring: Mutex<()>,
    /// The topology's generation, readable without its lock.
    generation: AtomicU64,
    /// The topology's generation of users, readable without its lock.
    access_generation: AtomicU64,
    /// Who gets the replies to a direct reply-to token.
    replies: Mutex<Map<Name, ReplyConsumer>>,
    connections: Mutex<Connections>,
    name: Name,
    limits: RwLock<NodeLimits>,
    next_connection: AtomicU64,
    /// Where durable changes are written down; a node without one forgets everything when it stops.
    journal: Option<Arc<dyn Journal>>,
    /// Where messages are kept beside memory; a node without one keeps them in memory only.
    store: Option<Arc<dyn MessageStore>>,
    /// What all queues share.
    context: Arc<QueueContext>,
    properties: Arc<dyn Properties>,
    /// Where messages that no connection publishes get their random numbers from.
    entropy: Mutex<Entropy>,
    moves: Moves,
    /// Where exchanges keep what they have seen over a restart.
    seen_log: OnceLock<Arc<dyn SeenLog>>,
    /// Which parts can be used.
    switches: Switches,
    /// Who looks on while messages come and go. Its lock comes after the topology's.
    taps: Mutex<Taps>,
    /// Who hears of what happens.
    events: Bus,
}

/// What a node needs of the world.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Reads and writes properties.
    pub properties: Arc<dyn Properties>,
    /// Where durable changes are written down; a node without one forgets everything when it stops.
    pub journal: Option<Arc<dyn Journal>>,
    /// Where messages are kept beside memory; a node without one keeps them in memory only.
    pub store: Option<Arc<dyn MessageStore>>,
    /// What it begins with if it is new; `None` if somebody else sees to that.
    pub defaults: Option<Defaults>,
    /// What it is called.
    pub name: Name,
    /// How much there may be on it.
    pub limits: NodeLimits,
}

impl Default for Surroundings {
    /// A clock that stands still, no properties, no disk, and a user `guest` that has no password.
    fn default() -> Self {
        Self {
            clock: Arc::new(ManualClock::default()),
            properties: Arc::new(NoProperties),
            journal: None,
            store: None,
            defaults: Some(Defaults::guest(PasswordHash::none())),
            name: "rabbit@localhost".into(),
            limits: NodeLimits::default(),
        }
    }
}

/// What a change did, and what to wait for before saying so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// What it did.
    pub applied: Applied,
    /// Where it is written down, if it concerns something durable.
    pub written: Option<JournalPosition>,
}

/// What the deletion of a queue did, and what to wait for before saying so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Messages that waited in the queue.
    pub messages: usize,
    /// Where it is written down, if the queue was durable.
    pub written: Option<JournalPosition>,
}

#[derive(Debug)]
struct ReplyConsumer {
    mailbox: Arc<Mailbox>,
    key: u32,
}

/// Where a message goes.
#[derive(Debug, Default)]
pub struct Routed {
    /// The queues, each once.
    pub queues: Vec<Arc<QueueCell>>,
    /// The exchanges that hold it back, each once,
    pub delays: Vec<Arc<DelayCell>>,
    /// and until when.
    pub due: Timestamp,
    /// Whether the same exchange and keys lead there again, as long as the generation stays.
    pub cacheable: bool,
    /// Whether an exchange kept the message from everybody, so that it is not unroutable.
    pub is_withheld: bool,
    /// What counts the messages that are published to the exchange.
    pub counters: Arc<ExchangeCounters>,
}

impl Node {
    /// A node with the default vhost `/` and the default user, which forgets everything when it stops.
    pub fn new() -> Self {
        Self::within(Surroundings::default())
    }

    /// A node with the default vhost `/` and the default user, which has nothing to go on with.
    pub fn within(surroundings: Surroundings) -> Self {
        Self::restored(Topology::new(), surroundings, |_| None)
    }

    /// A node that goes on with a topology, and writes down what becomes of it and of the messages.
    ///
    /// `messages` says what a durable queue has in the store.
    pub fn restored(
        topology: Topology,
        surroundings: Surroundings,
        mut messages: impl FnMut(QueueId) -> Option<Restored>,
    ) -> Self {
        let Surroundings { clock, properties, journal, store, defaults, name, limits } = surroundings;
        let context = Arc::new(QueueContext::new(Arc::clone(&clock), Arc::clone(&properties)));
        let delays = Map::default();
        let churn = stats::QueueChurn::default();
        let mut state = State { topology, cells: Map::default(), last_ids: BTreeMap::new(), delays, churn };
        if let Some(defaults) = defaults {
            // They are there already, or can be created: neither is refused.
            let _ = state.topology.apply(Change::CreateDefaults(Box::new(defaults)));
        }
        state.topology.limit(limits);
        state.topology.number_delays();
        let records = state.topology.take_records();
        if let Some(journal) = &journal
            && !records.is_empty()
        {
            journal.append(records);
        }
        let mut cells = Vec::new();
        for vhost in state.topology.vhosts() {
            for queue in vhost.queues() {
                let info = QueueInfo {
                    id: queue.id(),
                    vhost: Name::clone(vhost.name()),
                    name: Name::clone(queue.name()),
                    auto_delete: queue.auto_delete(),
                    durable: queue.durable(),
                };
                let lanes = queue.ids().zip(0..).filter_map(|(id, lane)| Some((lane, messages(id)?))).collect();
                let stored = store.as_ref().map(|store| (store, lanes));
                let cell = QueueCell::with(info, &queue.settings(), &context, stored);
                cells.push((Arc::new(cell), queue.ids()));
            }
        }
        for (cell, ids) in cells {
            state.add(cell, ids);
        }
        // They were there before.
        state.churn = stats::QueueChurn::default();
        for info in state.topology.delays() {
            let (id, restored) = (info.id, messages(info.id));
            state.delays.insert(id, Arc::new(DelayCell::new(info, Arc::clone(&clock), store.clone(), restored)));
        }
        let generation = AtomicU64::new(state.topology.generation());
        let access_generation = AtomicU64::new(state.topology.access_generation());
        Self {
            state: RwLock::new(state),
            reconfiguring: Mutex::new(()),
            generation,
            access_generation,
            replies: Mutex::new(Map::default()),
            connections: Mutex::new(Connections::default()),
            name,
            limits: RwLock::new(limits),
            next_connection: AtomicU64::new(1),
            journal,
            store,
            context,
            properties,
            moves: Moves::default(),
            entropy: Mutex::new(Entropy::new([0; 16])),
            seen_log: OnceLock::new(),
            switches: Switches::default(),
            taps: Mutex::new(Taps::new(Arc::new(Firehose))),
            events: Bus::default(),
        }
    }

    /// Sets how much there may be on the node. What is there stays.
    pub fn set_limits(&self, limits: NodeLimits) {
        self.state.write().topology.limit(limits);
        *self.limits.write() = limits;
    }

    /// How much there may be on the node.
    pub fn limits(&self) -> NodeLimits {
        *self.limits.read()
    }

    /// Which parts can be used.
    pub const fn switches(&self) -> &Switches {
        &self.switches
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        self.context.now()
    }

    /// What reads and writes properties.
    pub fn properties(&self) -> &dyn Properties {
        &*self.properties
    }

    /// A random number for the way of a message that no connection publishes.
    pub fn draw(&self) -> u64 {
        self.entropy.lock().draw()
    }

    /// Goes up with every change to the topology.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Goes up with every change of a user and of what one may do; answers from before may be out of date.
    pub fn access_generation(&self) -> u64 {
        self.access_generation.load(Ordering::Acquire)
    }

    /// Reads the topology.
    pub fn read<T>(&self, read: impl FnOnce(&Topology) -> T) -> T {
        read(&self.state.read().topology)
    }

    /// Makes a change, with all that follows from it for the queues.
    pub fn apply(&self, change: Change) -> Result<Changed, Error> {
        self.apply_as(change, INTERNAL)
    }

    /// The same for somebody: a user, or the tools.
    pub fn apply_as(&self, change: Change, actor: &str) -> Result<Changed, Error> {
        let is_policy =
            matches!(change, Change::SetPolicy { .. } | Change::ClearPolicy { .. } | Change::PauseQueue { .. });
        let _in_order = is_policy.then(|| self.reconfiguring.lock());
        let mut state = self.state.write();
        if let Change::SetUserLimits { user, .. } = &change {
            state.topology.user(user)?;
        }
        let durable = state.topology.concerns_durable(&change);
        if durable {
            self.check_journal()?;
        }
        let declared = match &change {
            Change::DeclareQueue { vhost, name, .. } => Some((Name::clone(vhost), clean_name(name).into_owned())),
            _ => None,
        };
        let news = connections::News::of(&change);
        let begun = seen::begun(&change);
        let ends = history::Ends::of(&change);
        let ended = if let Change::DeleteVhost { vhost } = &change { Some(Name::clone(vhost)) } else { None };
        let told = self.events.is_heard().then(|| (change.clone(), Before::of(&change, &state.topology)));
        let applied = state.topology.apply(change)?;
        if let Some((change, before)) = told {
            self.telling(&state.topology, actor).change(&change, before, &applied);
        }
        let mut recalled = history::Batches::new();
        if matches!(applied, Applied::QueueDeclared { .. } | Applied::QueueExists { .. }) {
            state.churn.declared += 1;
        }
        match (&applied, declared) {
            (Applied::QueueDeclared { .. }, Some((vhost, name))) => self.add_cell(&mut state, vhost, &name),
            (Applied::QueueExists { id }, _) => {
                if let Some(cell) = state.cells.get(id) {
                    cell.touch();
                }
            }
            (Applied::Deleted(removed), _) => {
                Self::close_removed(&mut state, removed);
                if let Some(vhost) = ended {
                    self.taps.lock().stop_tracing(&vhost);
                }
            }
            (Applied::ExchangeDeclared, _) => self.write_seen(begun.into_iter().collect()),
            (Applied::Bound, _) => recalled = ends.map(|ends| self.recall(&state, &ends)).unwrap_or_default(),
            _ => {}
        }
        self.add_delays(&mut state);
        // In this order: who sees the new generation must not find a route permitted by answers from before.
        self.access_generation.store(state.topology.access_generation(), Ordering::Release);
        self.generation.store(state.topology.generation(), Ordering::Release);
        let written = match applied {
            // It was so already, but perhaps not on disk yet: somebody else may have just asked for it.
            Applied::Unchanged | Applied::QueueExists { .. } => {
                self.journal.as_ref().filter(|_| durable).map(|journal| journal.last())
            }
            _ => self.write_down(&mut state),
        };
        if let Applied::Reconfigured(reconfigured) = &applied {
            // Queues may have messages to dead-letter now, whose routes need the topology.
            drop(state);
            self.configure(reconfigured);
            self.deliver_dead_letters();
        } else if !recalled.is_empty() {
            drop(state);
            self.accept_recalled(recalled);
        } else if let Some(news) = news.filter(|_| applied.moves_routes()) {
            drop(state);
            self.tell_connections(&news);
        }
        Ok(Changed { applied, written })
    }

    /// Has queues act by the settings that policies give them. To be called with changes of policies kept out, so that nobody
    /// else tells them, and without the topology's lock.
    fn configure(&self, reconfigured: &Reconfigured) {
        let cells: Vec<Option<Arc<QueueCell>>> = {
            let state = self.state.read();
            reconfigured.queues.iter().map(|(id, _)| state.cells.get(id).map(Arc::clone)).collect()
        };
        let mut moves_routes = false;
        for (cell, (_, settings)) in cells.iter().zip(&reconfigured.queues) {
            moves_routes |= cell.as_ref().is_some_and(|cell| cell.configure(settings));
        }
        if moves_routes {
            let mut state = self.state.write();
            state.topology.touch();
            self.generation.store(state.topology.generation(), Ordering::Release);
        }
    }

    /// Makes the cell of a queue that was just declared.
    fn add_cell(&self, state: &mut State, vhost: Name, name: &str) {
        let Ok(queue) = state.topology.vhost(&vhost).and_then(|vhost| vhost.any_queue(name)) else { return };
        let (cell, ids) = self.new_cell(queue, vhost);
        state.add(cell, ids);
    }

    /// The cell of a new queue, and the ids that it takes.
    fn new_cell(&self, queue: &QueueRecord, vhost: Name) -> (Arc<QueueCell>, impl Iterator<Item = QueueId> + use<>) {
        let (id, ids, settings) = (queue.id(), queue.ids(), queue.settings());
        let (auto_delete, durable) = (queue.auto_delete(), queue.durable());
        let info = QueueInfo { id, vhost, name: Name::clone(queue.name()), auto_delete, durable };
        let stored = self.store.as_ref().map(|store| (store, Vec::new()));
        (Arc::new(QueueCell::with(info, &settings, &self.context, stored)), ids)
    }

    /// Refuses what could not be written down.
    fn check_journal(&self) -> Result<(), Error> {
        match &self.journal {
            Some(journal) if journal.has_failed() => Err(Error::NotWritten),
            _ => Ok(()),
        }
    }

    /// Hands the records of what was just changed to the journal.
    fn write_down(&self, state: &mut State) -> Option<JournalPosition> {
        let records = state.topology.take_records();
        let journal = self.journal.as_ref()?;
        if records.is_empty() { None } else { Some(journal.append(records)) }
    }

    /// How far a position of the journal is; see [`Written::Waiting`].
    pub fn written(&self, position: JournalPosition, mailbox: &Arc<Mailbox>) -> Written {
        self.journal.as_ref().map_or(Written::Synced, |journal| journal.written(position, mailbox))
    }

    /// How far a position of an area of the store is; see [`Written::Waiting`].
    pub fn stored(&self, area: Area, position: StorePosition, mailbox: &Arc<Mailbox>) -> Written {
        self.store.as_ref().map_or(Written::Synced, |store| store.wait(area, position, mailbox))
    }

    /// Up to which position the message log is on disk.
    pub fn store_synced(&self) -> StorePosition {
        self.store.as_ref().map_or(StorePosition(u64::MAX), |store| store.synced())
    }

    /// Whether no persistent message can be taken at the moment; the mailbox is told when that may have changed.
    pub fn is_store_blocked(&self, mailbox: &Arc<Mailbox>) -> bool {
        self.store.as_ref().is_some_and(|store| store.is_blocked(mailbox))
    }

    /// Gives a queue, or an exchange that holds messages back, what was read back from disk for it.
    pub fn loaded(&self, queue: QueueId, loaded: Loaded) {
        let cell = self.state.read().cell_of(queue);
        if let Some(cell) = cell {
            cell.loaded(queue, loaded);
            self.deliver_dead_letters();
        } else if let Some(cell) = self.delay_cell_of(queue) {
            cell.loaded(loaded);
            self.fire(&cell);
        }
    }

    /// The time has come that a queue, or an exchange that holds messages back, asked its clock for.
    pub fn wake(&self, queue: QueueId) {
        if queue == MOVES {
            self.finish_moves();
            return;
        }
        if queue == LEAVING {
            self.retry_leavers();
            return;
        }
        if queue == DEAD_LETTERS {
            self.deliver_dead_letters();
            return;
        }
        let cell = self.state.read().cells.get(&queue).map(Arc::clone);
        let Some(cell) = cell else {
            if let Some(cell) = self.delay_cell_of(queue) {
                cell.wake();
                self.fire(&cell);
            }
            return;
        };
        if cell.wake() == Lease::Over {
            // Unless somebody has just used it.
            self.delete_if(&cell, CloseCondition { if_over: true, ..CloseCondition::default() });
        }
        self.deliver_dead_letters();
    }

    /// Everything durable, as records that make it anew, and the position they are as of.
    pub fn durable_records(&self) -> (Vec<Record>, Option<JournalPosition>) {
        let state = self.state.read();
        (state.topology.durable_records(), self.journal.as_ref().map(|journal| journal.last()))
    }

    fn close_removed(state: &mut State, removed: &Removed) {
        Self::remove_delays(state, removed);
        for (_, id) in &removed.queues {
            if let Some(cell) = state.remove(*id) {
                // Without a condition, closing fails only if somebody closed it before.
                let _ = cell.close(CloseCondition::default());
            }
        }
    }

    /// The queue of that name, unless it belongs to another connection.
    pub fn queue(&self, vhost: &str, name: &str, asking: ConnectionId) -> Result<Arc<QueueCell>, Error> {
        let state = self.state.read();
        let record = state.topology.vhost(vhost)?.queue(name, asking)?;
        let cell = state.cells.get(&record.id()).map(Arc::clone);
        cell.ok_or_else(|| Error::NotFound { resource: Resource::queue(&vhost.into(), name) })
    }

    /// Deletes a queue if the condition holds. A missing queue is no error.
    pub fn delete_queue(
        &self,
        vhost: &Name,
        name: &str,
        asking: ConnectionId,
        condition: CloseCondition,
    ) -> Result<Deleted, Error> {
        let mut state = self.state.write();
        let (id, durable) = match state.topology.vhost(vhost)?.queue(name, asking) {
            Ok(record) => (record.id(), record.durable()),
            // Somebody else may have just deleted it, and that may not be on disk yet.
            Err(Error::NotFound { .. }) => {
                let written = self.journal.as_ref().map(|journal| journal.last());
                return Ok(Deleted { messages: 0, written });
            }
            Err(error) => return Err(error),
        };
        if durable {
            self.check_journal()?;
        }
        let flag = match condition {
            CloseCondition { if_unused: true, .. } => Some("if-unused"),
            CloseCondition { if_empty: true, .. } => Some("if-empty"),
            CloseCondition { if_unused: false, if_empty: false, .. } => None,
        };
        if let (Some(flag), Some(cell)) = (flag, state.cells.get(&id))
            && cell.kind() == QueueKind::Quorum
        {
            return Err(Error::UnconditionalDelete { queue: cell.resource(), flag });
        }
        let actor = self.user_of(asking);
        self.remove(&mut state, vhost, (name, id), condition, &actor)
    }

    /// Deletes an auto-delete queue that lost its last consumer, unless it has one again.
    pub fn delete_unused(&self, cell: &QueueCell) {
        self.delete_if(cell, CloseCondition { if_unused: true, ..CloseCondition::default() });
    }

    fn delete_if(&self, cell: &QueueCell, condition: CloseCondition) {
        let info = cell.info();
        let mut state = self.state.write();
        // Refused if the condition does not hold any more or it is gone already; both are fine.
        let _ = self.remove(&mut state, &info.vhost, (&info.name, info.id), condition, INTERNAL);
    }

    fn remove(
        &self,
        state: &mut State,
        vhost: &Name,
        (name, id): (&str, QueueId),
        condition: CloseCondition,
        actor: &str,
    ) -> Result<Deleted, Error> {
        let messages = match state.cells.get(&id) {
            Some(cell) => cell.close(condition)?,
            None => return Ok(Deleted::default()),
        };
        state.remove(id);
        let change = Change::DeleteQueue { vhost: Name::clone(vhost), name: name.into(), id: Some(id) };
        let applied = state.topology.apply(change);
        self.generation.store(state.topology.generation(), Ordering::Release);
        if let Ok(Applied::Deleted(removed)) = applied {
            Self::close_removed(state, &removed);
            if self.events.is_heard() {
                self.telling(&state.topology, actor).removed(vhost, &removed, Order::BindingsFirst);
            }
        }
        Ok(Deleted { messages, written: self.write_down(state) })
    }

    /// Deletes the exclusive queues of a connection.
    pub fn delete_owned_by(&self, vhost: &Name, connection: ConnectionId) {
        let none = self.read(|topology| {
            topology.vhost(vhost).is_ok_and(|vhost| vhost.queues_owned_by(connection).next().is_none())
        });
        if none {
            return;
        }
        let mut state = self.state.write();
        let owned: Vec<(Name, QueueId)> = state
            .topology
            .vhost(vhost)
            .map(|vhost| {
                vhost.queues_owned_by(connection).map(|queue| (Name::clone(queue.name()), queue.id())).collect()
            })
            .unwrap_or_default();
        for (name, id) in owned {
            let _ = self.remove(&mut state, vhost, (&name, id), CloseCondition::default(), INTERNAL);
        }
    }

    /// Finds the queues for a message that a client publishes.
    pub fn route(
        &self,
        vhost: &str,
        exchange: &str,
        input: &RoutingInput<'_>,
        routes: &mut Routes,
    ) -> Result<Routed, Error> {
        let state = self.state.read();
        let vhost = state.topology.vhost(vhost)?;
        let published_to = vhost.exchange(exchange)?;
        published_to.check_publish(vhost.name())?;
        let counters = Arc::clone(published_to.counters());
        vhost.route(exchange, input, routes)?;
        self.keep_seen(vhost.name(), routes);
        let queues = routes.queues.iter().filter_map(|id| state.cells.get(id).map(Arc::clone)).collect();
        let delays = routes.delays.iter().filter_map(|id| state.delays.get(id).map(Arc::clone)).collect();
        let (cacheable, is_withheld) = (routes.cacheable, routes.is_withheld);
        Ok(Routed { queues, delays, due: routes.due, cacheable, is_withheld, counters })
    }

    /// Makes a token under which replies reach a consumer.
    pub fn register_reply(&self, token: Name, mailbox: &Arc<Mailbox>, key: u32) {
        self.replies.lock().insert(token, ReplyConsumer { mailbox: Arc::clone(mailbox), key });
    }

    /// Ends a reply token.
    pub fn unregister_reply(&self, token: &str) {
        self.replies.lock().remove(token);
    }

    /// Consumers of direct replies there are.
    pub fn reply_consumer_count(&self) -> usize {
        self.replies.lock().len()
    }

    /// Whether somebody waits for replies under this token.
    pub fn reply_exists(&self, token: &str) -> bool {
        self.replies.lock().contains_key(token)
    }

    /// Hands a reply to whoever waits for it; a reply nobody waits for, or whose consumer does not read, is dropped.
    pub fn reply(&self, token: &str, message: &Message) {
        // Under the lock: once a token is ended nothing more may come under its key, which may soon be another consumer's.
        let replies = self.replies.lock();
        let Some(consumer) = replies.get(token) else { return };
        if consumer.mailbox.room() == 0 {
            return;
        }
        let mut batch =
            vec![Delivery { key: consumer.key, redelivered: false, position: Position(0), message: message.clone() }];
        let waker = consumer.mailbox.deliver(&mut batch);
        drop(replies);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Default for Node {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
