//! A queue in its cell: the short lock under which a queue changes, and nothing but.
//!
//! Publishers' and consumers' tasks call it directly with batches. Nothing inside waits, does I/O or takes a lock other
//! than the store's or a mailbox's. Wakers are called after the lock is released.

mod capacity;
mod commands;
mod enqueue;
mod operations;
mod report;
mod time;

pub use enqueue::{Enqueued, Pace};
pub use operations::Browsed;
pub use report::{Octets, QueueReport};
pub use time::Lease;

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::Waker;

use parking_lot::{Mutex, MutexGuard};

use capacity::Capacity;

use super::consumer_rules::ConsumerRules;
use super::consumers::ConsumerInfo;
use super::deduplication::Deduplication;
use super::quorum::Members;
use super::stored_lanes::StoredLanes;
use super::{
    Classic, ConsumerId, Loaded, Overflow, Position, QueueKind, QueueSettings, Restored, ReturnCause, Returned,
    SharedPrefetch, Subscription, Taken,
};
use crate::clock::{Clock, ManualClock, Timestamp};
use crate::dead_letter::{DeadLetters, Departed};
use crate::error::Resource;
use crate::mailbox::{Event, Mailbox};
use crate::message::Message;
use crate::properties::{NoProperties, Properties};
use crate::stats::{DeathCounters, DeathStrategy, Deaths};
use crate::store::{MessageStore, StorePosition};
use crate::topology::QueueId;
use crate::{Error, Name, Weight};

/// What a queue was declared as, as far as its cell needs it.
#[derive(Debug, Clone)]
pub struct QueueInfo {
    /// Its id.
    pub id: QueueId,
    /// Its vhost.
    pub vhost: Name,
    /// Its name.
    pub name: Name,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Whether its persistent messages survive a restart.
    pub durable: bool,
}

/// What the queues of a node share.
#[derive(Debug)]
pub struct QueueContext {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) properties: Arc<dyn Properties>,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) deaths: DeathCounters,
    /// The time when somebody last wanted to know it, in milliseconds.
    last_time: AtomicU64,
}

impl QueueContext {
    /// Queues that go by this clock, and whose messages have such properties.
    pub fn new(clock: Arc<dyn Clock>, properties: Arc<dyn Properties>) -> Self {
        let last_time = AtomicU64::new(clock.now().0);
        Self { clock, properties, dead_letters: DeadLetters::default(), deaths: DeathCounters::default(), last_time }
    }

    /// The time.
    pub(crate) fn now(&self) -> Timestamp {
        let now = self.clock.now();
        self.last_time.store(now.0, Ordering::Relaxed);
        now
    }

    /// The time when somebody last wanted to know it, which costs next to nothing: who gives queues something to do does.
    fn last_time(&self) -> Timestamp {
        Timestamp(self.last_time.load(Ordering::Relaxed))
    }
}

impl Default for QueueContext {
    fn default() -> Self {
        Self::new(Arc::new(ManualClock::default()), Arc::new(NoProperties))
    }
}

/// What the lanes of a queue have on disk when a node starts, each by its number.
pub type RestoredLanes = Vec<(usize, Restored)>;

/// What others may read of a queue without its lock, as bits.
mod flag {
    /// The store has to hear of settlements.
    pub(super) const STORED: u8 = 1;
    /// Messages may be refused.
    pub(super) const MAY_REFUSE: u8 = 1 << 1;
    /// Somebody wants what is rejected.
    pub(super) const KEEPS_REJECTED: u8 = 1 << 2;
    /// Messages should say when they were published.
    pub(super) const WANTS_TIME: u8 = 1 << 3;
}

/// What the end of a consumer came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsubscribed {
    /// Whether the queue has no consumer now.
    pub was_last: bool,
    /// Whether it was the single active consumer: nobody is handed messages until [`QueueCell::hand_over`].
    pub was_active: bool,
}

/// Deliveries that a consumer settled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Those that it acknowledged,
    pub acknowledged: u32,
    /// and those that it did not want, as nobody else does.
    pub rejected: u32,
    /// What all of them weigh. A quorum queue knows it by itself.
    pub weight: Weight,
}

impl Settled {
    /// All of them.
    pub const fn count(self) -> u32 {
        self.acknowledged.saturating_add(self.rejected)
    }
}

/// A queue's counters, read at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Messages waiting to be handed out.
    pub ready: usize,
    /// Messages handed out and not yet settled.
    pub unsettled: usize,
    /// Consumers.
    pub consumers: usize,
}

#[derive(Debug)]
struct State {
    queue: Classic<Arc<Mailbox>>,
    stored: Option<StoredLanes>,
    /// What it was asked to do beyond that; none for a plain queue.
    settings: Option<Arc<QueueSettings>>,
    /// The ids of its messages, if it takes none twice.
    deduplication: Option<Box<Deduplication>>,
    /// When it was used last, as far as its lease depends on it.
    last_used: Timestamp,
    /// When the clock was asked to wake it.
    alarm: Option<Timestamp>,
    /// Set while its dead are copied faster than the disk takes them: no more are read back until it has these.
    held_until: Option<StorePosition>,
    /// Who waits for the first message to be read from disk (basic.get).
    getters: Vec<Arc<Mailbox>>,
    /// Publishers that paused.
    paused: Vec<Arc<Mailbox>>,
    /// No pause is asked for before this many deliveries.
    no_pause_before: u64,
    counts: Counts,
    capacity: Capacity,
    /// About when something last happened here.
    touched: Timestamp,
    closed: bool,
}

/// What a queue counts beside what it hands out.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    /// Messages that clients put in, refused ones included.
    published: u64,
    /// Answers that nothing waits.
    empty: u64,
    acknowledged: u64,
}

/// A queue and its lock.
#[derive(Debug)]
pub struct QueueCell {
    info: QueueInfo,
    /// See [`flag`]. That the store has to hear of settlements is set before the first message that it concerns is handed out.
    flags: AtomicU8,
    consumer_rules: ConsumerRules,
    context: Arc<QueueContext>,
    state: Mutex<State>,
}

impl QueueCell {
    /// An empty plain queue, all in memory.
    pub fn new(info: QueueInfo) -> Self {
        Self::with(info, &QueueSettings::default(), &Arc::default(), None)
    }

    /// A plain queue with a store, and what it has there.
    pub fn stored(info: QueueInfo, store: &Arc<dyn MessageStore>, restored: Option<Restored>) -> Self {
        let restored = restored.map(|restored| (0, restored)).into_iter().collect();
        Self::with(info, &QueueSettings::default(), &Arc::default(), Some((store, restored)))
    }

    /// A queue; with a store, what each lane has there.
    pub fn with(
        info: QueueInfo,
        settings: &QueueSettings,
        context: &Arc<QueueContext>,
        stored: Option<(&Arc<dyn MessageStore>, RestoredLanes)>,
    ) -> Self {
        let mut queue = match settings.kind {
            QueueKind::Classic => Classic::with_priorities(settings.max_priority, 0),
            QueueKind::Quorum => Classic::quorum(Arc::clone(&context.properties)),
        };
        let stored = stored.map(|(store, restored)| {
            let mut stored = StoredLanes::new(Arc::clone(store), info.id, info.durable);
            if settings.kind == QueueKind::Quorum {
                stored.store_transient();
            }
            for (lane, restored) in restored {
                stored.restored(lane);
                queue.restore(lane, restored);
            }
            stored
        });
        let flags = AtomicU8::new(match settings.kind {
            QueueKind::Classic => 0,
            // It keeps what it hands out, until it hears of it.
            QueueKind::Quorum => flag::STORED,
        });
        let state = State {
            queue,
            stored,
            settings: None,
            deduplication: None,
            last_used: Timestamp::default(),
            alarm: None,
            held_until: None,
            getters: Vec::new(),
            paused: Vec::new(),
            no_pause_before: 0,
            counts: Counts::default(),
            capacity: Capacity::new(context.last_time()),
            touched: context.last_time(),
            closed: false,
        };
        let (consumer_rules, context) = (ConsumerRules::default(), Arc::clone(context));
        let cell = Self { info, flags, consumer_rules, context, state: Mutex::new(state) };
        cell.note_stored(&cell.state.lock());
        if *settings != QueueSettings::default() {
            cell.configure(settings);
        }
        cell
    }

    /// Acts by other settings from now on, at once. Says whether those who publish to it have to look at it anew, as they want to
    /// know whether it [wants](Self::wants_time) to be told the time and [may refuse](Self::may_refuse) messages.
    pub fn configure(&self, settings: &QueueSettings) -> bool {
        let mut state = self.state.lock();
        let before = (self.wants_time(), self.may_refuse());
        let is_limited = settings.max_length.is_some() || settings.max_length_bytes.is_some();
        for (flag, is_set) in [
            (flag::MAY_REFUSE, is_limited && settings.overflow != Overflow::DropHead),
            (flag::KEEPS_REJECTED, settings.dead_letter.is_some()),
            (flag::WANTS_TIME, settings.message_ttl_ms.is_some()),
        ] {
            if is_set {
                self.flags.fetch_or(flag, Ordering::Relaxed);
            } else {
                self.flags.fetch_and(!flag, Ordering::Relaxed);
            }
        }
        let now = self.context.now();
        state.queue.set_now(now);
        // A lease that begins now, or changes, begins anew.
        state.last_used = now;
        if settings.deduplicates && state.deduplication.is_none() {
            state.deduplication = Some(Box::new(Deduplication::new(Arc::clone(&self.context.properties))));
            // It has to hear of settlements as well.
            self.flags.fetch_or(flag::STORED, Ordering::Relaxed);
        }
        if let Some(stored) = &mut state.stored {
            stored.set_lazy(settings.lazy);
            stored.set_keeps_all(settings.deduplicates);
        }
        state.queue.configure(settings);
        state.settings = Some(Arc::new(settings.clone()));
        let told = self.configure_consumers(&state.queue, settings);
        self.finish(state);
        told.into_iter().for_each(Waker::wake);
        before != (self.wants_time(), self.may_refuse())
    }

    /// Tells consumers if the time changes in which they have to settle. Gives back whom to wake.
    fn configure_consumers(&self, queue: &Classic<Arc<Mailbox>>, settings: &QueueSettings) -> Vec<Waker> {
        if !self.consumer_rules.set(settings) {
            return Vec::new();
        }
        let tell = |consumer: &Subscription<Arc<Mailbox>>| {
            consumer.sink.post(Event::ConsumerTimeoutChanged { key: consumer.key, queue: self.info.id })
        };
        queue.subscriptions().filter_map(tell).collect()
    }

    /// Milliseconds after which a delivery has to be settled, unless its consumer asked for another time.
    pub fn consumer_timeout_ms(&self) -> Option<u64> {
        self.consumer_rules.timeout_ms()
    }

    /// What it is made of.
    pub fn kind(&self) -> QueueKind {
        self.consumer_rules.kind()
    }

    /// The nodes that it is on if it is a quorum queue; `node` is this one.
    pub fn members(&self, node: &Name) -> Option<Members> {
        (self.kind() == QueueKind::Quorum).then(|| Members::only(node))
    }

    /// What it was asked to do; none for a plain queue.
    pub(crate) fn settings(&self) -> Option<Arc<QueueSettings>> {
        self.state.lock().settings.clone()
    }

    /// Whether only one of its consumers is served at a time.
    pub fn has_single_active_consumer(&self) -> bool {
        self.consumer_rules.has_single_active()
    }

    /// What it was declared as.
    pub fn info(&self) -> &QueueInfo {
        &self.info
    }

    /// Whether positions of settled messages matter: to [`QueueCell::settle`] and [`QueueCell::discard`].
    #[inline]
    pub fn is_stored(&self) -> bool {
        self.has(flag::STORED)
    }

    /// Whether it may refuse messages, so that their publishers have to be told.
    #[inline]
    pub fn may_refuse(&self) -> bool {
        self.has(flag::MAY_REFUSE)
    }

    /// Whether rejected messages have to be given to [`QueueCell::reject`]: somebody wants them.
    #[inline]
    pub fn keeps_rejected(&self) -> bool {
        self.has(flag::KEEPS_REJECTED)
    }

    /// Whether messages should say when they were published.
    #[inline]
    pub fn wants_time(&self) -> bool {
        self.has(flag::WANTS_TIME)
    }

    #[inline]
    fn has(&self, flag: u8) -> bool {
        self.flags.load(Ordering::Relaxed) & flag != 0
    }

    /// Takes note that the store holds messages, from now on.
    #[inline]
    fn note_stored(&self, state: &State) {
        if !self.is_stored() && state.stored.as_ref().is_some_and(StoredLanes::holds_messages) {
            self.flags.fetch_or(flag::STORED, Ordering::Relaxed);
        }
    }

    /// The state, with the time if anything depends on it.
    #[inline]
    fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        if state.queue.depends_on_time() {
            state.queue.set_now(self.context.now());
        }
        state
    }

    /// The queue as errors name it.
    pub fn resource(&self) -> Resource {
        Resource::queue(&self.info.vhost, &self.info.name)
    }

    /// Its counters.
    pub fn counts(&self) -> QueueCounts {
        self.state.lock().counts()
    }

    /// Takes in what was read back from disk, under the id of the lane it is for, and goes on.
    pub fn loaded(&self, id: QueueId, loaded: Loaded) {
        let mut guard = self.lock();
        let state = &mut *guard;
        if state.closed {
            return;
        }
        let lane = usize::try_from(id.0.saturating_sub(self.info.id.0)).unwrap_or(0);
        if let Some(deduplication) = &mut state.deduplication {
            deduplication.found(lane, &loaded, state.queue.ttl_ms());
        }
        if let Some(stored) = &mut state.stored {
            stored.loaded(state.queue.lanes_mut(), lane, loaded);
            state.queue.go_on();
        }
        let mut wakers: Vec<Waker> = Vec::new();
        wakers.extend(state.getters.drain(..).filter_map(|getter| getter.post(Event::JournalMoved)));
        self.finish(guard);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Messages handed out since the queue exists.
    pub fn delivered_count(&self) -> u64 {
        self.state.lock().queue.delivered_count()
    }

    /// Adds a consumer, which at once gets what waits.
    pub fn subscribe(&self, subscription: Subscription<Arc<Mailbox>>) -> Result<ConsumerId, Error> {
        let mut state = self.open()?;
        let subscribed = state.subscribe(subscription);
        self.renew(&mut state);
        self.finish(state);
        subscribed.map_err(|_| Error::ExclusiveUse { queue: self.resource() })
    }

    /// Removes a consumer; what it was handed stays unsettled.
    pub fn unsubscribe(&self, consumer: ConsumerId) -> Unsubscribed {
        let mut state = self.lock();
        let removed = state.unsubscribe(consumer);
        let was_last = removed.is_some() && state.queue.consumer_count() == 0;
        let was_active = removed == Some(true);
        self.renew(&mut state);
        self.finish(state);
        Unsubscribed { was_last, was_active }
    }

    /// What a consumer that is gone gives back has been put back: the next one may take its place.
    pub fn hand_over(&self, gone: ConsumerId) {
        let mut state = self.lock();
        state.hand_over(gone);
        self.finish(state);
    }

    /// The consumers there are.
    pub fn consumers(&self) -> Vec<ConsumerInfo> {
        self.state.lock().queue.consumers().collect()
    }

    /// Goes on with a consumer that waited for room or shared prefetch.
    pub fn resume(&self, consumer: ConsumerId) {
        let mut state = self.lock();
        state.queue.resume(consumer);
        self.finish(state);
    }

    /// Sets the prefetch a consumer shares with its channel's others.
    pub fn share_prefetch(&self, consumer: ConsumerId, shared: Option<Arc<SharedPrefetch>>) {
        let mut state = self.lock();
        state.queue.share_prefetch(consumer, shared);
        self.finish(state);
    }

    /// Takes the first message, and says how many still wait. If it has to be read from disk, the mailbox is told when to ask
    /// again ([`Event::JournalMoved`]).
    pub fn take(&self, no_ack: bool, mailbox: &Arc<Mailbox>) -> Result<(Taken, usize), Error> {
        self.context.now();
        let mut state = self.open()?;
        let taken = state.take(no_ack);
        if taken == Taken::OnDisk && !state.getters.iter().any(|getter| Arc::ptr_eq(getter, mailbox)) {
            state.getters.push(Arc::clone(mailbox));
        }
        state.counts.empty += u64::from(taken == Taken::Nothing);
        let waiting = state.queue.ready_count();
        self.renew(&mut state);
        self.finish(state);
        Ok((taken, waiting))
    }

    /// Counts deliveries acknowledged, and drops what stood at these positions. Gives back the position of the log with which
    /// that is on disk, if the log has to do with it.
    pub fn settle(&self, consumer: Option<ConsumerId>, count: u32, positions: &[Range<u64>]) -> Option<StorePosition> {
        self.settle_all(consumer, Settled { acknowledged: count, ..Settled::default() }, positions)
    }

    /// [`QueueCell::settle`] for deliveries of which some were not acknowledged.
    pub fn settle_all(
        &self,
        consumer: Option<ConsumerId>,
        settled: Settled,
        positions: &[Range<u64>],
    ) -> Option<StorePosition> {
        let mut state = self.lock();
        let written = state.drop_stored(positions);
        state.settle(consumer, settled, positions);
        state.counts.acknowledged += u64::from(settled.acknowledged);
        self.finish(state);
        self.count_unwanted(settled.rejected);
        written
    }

    /// Counts messages that were rejected and that nobody else wants.
    fn count_unwanted(&self, count: u32) {
        if count > 0 {
            let deaths = Deaths { rejected: count.into(), ..Deaths::default() };
            self.context.deaths.add(self.kind(), DeathStrategy::Disabled, deaths);
        }
    }

    /// Takes back messages that a consumer, or without one basic.get, does not want, and that somebody else does.
    pub fn reject(&self, consumer: Option<ConsumerId>, messages: Vec<(Position, Message)>) -> Option<StorePosition> {
        let mut state = self.lock();
        if state.closed {
            return None;
        }
        if self.keeps_rejected() {
            state.reject(consumer, messages);
            self.finish(state);
            return None;
        }
        // Nobody wants them any more.
        let mut positions = Vec::new();
        let mut weight = Weight::default();
        for (position, message) in &messages {
            super::push_position(&mut positions, *position);
            weight += Weight::of(message);
        }
        let written = state.drop_stored(&positions);
        let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        state.settle(consumer, Settled { acknowledged: 0, rejected: count, weight }, &positions);
        self.finish(state);
        self.count_unwanted(count);
        written
    }

    /// Drops what stood at these positions and counted as settled when it was handed out (`no_ack`), or is elsewhere by now.
    pub fn discard(&self, positions: &[Range<u64>]) {
        let mut state = self.state.lock();
        state.let_go(positions);
        state.drop_stored(positions);
        if let (Some(position), Some(stored)) = (state.held_until, &state.stored)
            && position <= stored.synced()
        {
            state.held_until = None;
            self.finish(state);
        }
    }

    /// Reads nothing back to let it die until the log is so far, as what died before waits for that. [`QueueCell::discard`] ends
    /// it.
    pub(crate) fn hold_until(&self, position: StorePosition) {
        let mut state = self.state.lock();
        state.held_until = state.held_until.max(Some(position));
    }

    /// Puts messages back where they stood, those of all consumers before anything is handed out again. A queue that was
    /// deleted meanwhile drops them.
    pub fn put_back(&self, returned: &mut Vec<Returned>) {
        let mut state = self.lock();
        if state.closed {
            returned.clear();
            return;
        }
        // Time may begin to matter with what comes back.
        state.queue.set_now(self.context.now());
        state.put_back(returned);
        self.finish(state);
    }

    /// [`QueueCell::put_back`] for one consumer, emptying `messages`.
    pub fn requeue(&self, consumer: Option<ConsumerId>, messages: &mut Vec<(Position, Message)>) {
        let (settled, cause, messages) = (false, ReturnCause::Requeued, std::mem::take(messages));
        self.put_back(&mut vec![Returned { consumer, settled, cause, messages }]);
    }

    /// Puts messages back that a consumer was handed for good (`no_ack`) but that never left the broker.
    pub fn take_back(&self, messages: &mut Vec<(Position, Message)>) {
        let (settled, cause, messages) = (true, ReturnCause::Unread, std::mem::take(messages));
        self.put_back(&mut vec![Returned { consumer: None, settled, cause, messages }]);
    }

    /// Drops everything that waits; says how much that was, and the position of the log with which that is on disk.
    pub fn purge(&self) -> Result<(usize, Option<StorePosition>), Error> {
        let mut state = self.open()?;
        let (count, positions) = state.purge();
        let written = state.drop_stored(&positions);
        self.finish(state);
        Ok((count, written))
    }

    /// Ends the queue unless a condition forbids it; consumers are told. Says how many messages waited.
    pub fn close(&self, condition: CloseCondition) -> Result<usize, Error> {
        let mut state = self.open()?;
        let counts = state.counts();
        if condition.if_unused && counts.consumers > 0 {
            return Err(Error::InUse { resource: self.resource() });
        }
        if condition.if_empty && counts.ready > 0 {
            return Err(Error::NotEmpty { queue: self.resource() });
        }
        if condition.if_over && !state.is_lease_over(self.context.now()) {
            return Err(Error::InUse { resource: self.resource() });
        }
        state.closed = true;
        let (count, consumers) = state.queue.close();
        if let Some(stored) = &mut state.stored {
            stored.delete();
        }
        if state.alarm.take().is_some() {
            self.context.clock.forget(self.info.id);
        }
        let mut wakers: Vec<Waker> = Vec::new();
        for consumer in consumers {
            let event = Event::ConsumerCancelled { key: consumer.key, queue: self.info.id };
            wakers.extend(consumer.sink.post(event));
        }
        wakers.extend(state.paused.drain(..).filter_map(|publisher| publisher.post(Event::PublishingResumed)));
        wakers.extend(state.getters.drain(..).filter_map(|getter| getter.post(Event::JournalMoved)));
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Ok(count)
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, Error> {
        let state = self.lock();
        if state.closed { Err(Error::NotFound { resource: self.resource() }) } else { Ok(state) }
    }
}

/// What must hold for a queue to be closed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CloseCondition {
    /// It has no consumer.
    pub if_unused: bool,
    /// Nothing waits in it.
    pub if_empty: bool,
    /// Its lease is over.
    pub if_over: bool,
}

impl State {
    fn counts(&self) -> QueueCounts {
        QueueCounts {
            ready: self.queue.ready_count(),
            unsettled: self.queue.unsettled_count(),
            consumers: self.queue.consumer_count(),
        }
    }

    fn drop_stored(&mut self, positions: &[Range<u64>]) -> Option<StorePosition> {
        if self.closed {
            return None;
        }
        if let Some(deduplication) = &mut self.deduplication {
            deduplication.remove(positions);
        }
        self.stored.as_mut()?.settle(positions)
    }
}

impl QueueCell {
    /// Ends a batch: hands over what died, tells the store, releases the lock, then wakes whoever got something.
    fn finish(&self, mut guard: MutexGuard<'_, State>) {
        let state = &mut *guard;
        let mut wakers = state.queue.take_wakers();
        let has_consumers = state.queue.consumer_count() > 0;
        state.touched = self.context.last_time();
        if state.queue.is_stalled() != state.capacity.is_stalled() {
            state.capacity.turn(self.context.now());
        }
        state.resume_publishers(&mut wakers);
        if !state.queue.is_unscathed() {
            self.bury(state);
        }
        let wants_first = state.held_until.is_none() && state.queue.wants_first();
        if let Some(stored) = &mut state.stored
            && !state.closed
        {
            let is_asked = has_consumers || !state.getters.is_empty() || wants_first;
            stored.count_beside(state.queue.returned_bytes());
            stored.finish(state.queue.lanes(), state.queue.unsettled_count() > 0, is_asked);
        }
        self.set_alarm(state);
        drop(guard);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Lets go of what died, or hands it to whoever wants it.
    fn bury(&self, state: &mut State) {
        let to = state.settings.as_ref().and_then(|settings| settings.dead_letter.as_ref());
        let strategy = DeathStrategy::from(to.map(|to| to.strategy));
        self.context.deaths.add(self.kind(), strategy, state.queue.take_deaths());
        let dropped = state.queue.take_dropped();
        let _ = state.drop_stored(&dropped);
        let messages = state.queue.take_dead();
        if let Some(deduplication) = &mut state.deduplication {
            let positions = messages.iter().filter_map(|dead| dead.position).map(|Position(at)| at..at + 1);
            deduplication.remove(&positions.collect::<Vec<_>>());
        }
        if let Some(settings) = &state.settings
            && !messages.is_empty()
        {
            self.context.dead_letters.push(Departed {
                vhost: Name::clone(&self.info.vhost),
                queue: Name::clone(&self.info.name),
                id: self.info.id,
                settings: Arc::clone(settings),
                messages,
                is_stored: self.is_stored(),
            });
        }
    }
}

#[cfg(test)]
mod tests;
