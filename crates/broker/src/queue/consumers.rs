//! The consumers of one queue and whose turn it is.
//!
//! Consumers that can take a message stand in a ring per priority; a delivery takes the front of the highest ring and
//! puts it at the back. A consumer that cannot take one is parked, with the reason, until the event that ends the reason.
//! Where only one consumer is served at a time, the others are parked like that too.

mod single_active;

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use super::{Delivery, Position, SharedPrefetch, Sink};
use crate::mailbox::MAILBOX_BYTES;
use crate::message::Message;
use crate::topology::ConnectionId;
use crate::value::Table;
use crate::{Name, Weight};
use single_active::SingleActive;

/// A consumer of one queue; not reused within a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConsumerId {
    index: u32,
    serial: u32,
}

impl ConsumerId {
    /// Its number, unlike that of any other consumer of its queue.
    pub(super) fn number(self) -> u64 {
        u64::from(self.serial) << u32::BITS | u64::from(self.index)
    }

    /// The consumer with a number.
    pub(super) fn from_number(number: u64) -> Self {
        let half = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX);
        Self { index: half(number), serial: half(number >> u32::BITS) }
    }
}

/// What a consumer asks for (basic.consume).
#[derive(Debug, Clone)]
pub struct Subscription<S> {
    /// Where deliveries go.
    pub sink: S,
    /// The subscriber's own key, given back with each delivery.
    pub key: u32,
    /// The consumer tag, for people.
    pub tag: Name,
    /// Whether deliveries count as settled at once.
    pub no_ack: bool,
    /// Whether it must be the only consumer.
    pub exclusive: bool,
    /// Higher is served first while it has credit (`x-priority`).
    pub priority: i32,
    /// Most unsettled deliveries at a time; 0 is no limit. Without effect for `no_ack`.
    pub prefetch: u16,
    /// The limit it shares with its channel's other consumers.
    pub shared: Option<Arc<SharedPrefetch>>,
    /// Whose it is, for people.
    pub subscriber: Subscriber,
}

/// Whose a consumer is, for people.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Subscriber {
    /// The connection.
    pub connection: ConnectionId,
    /// The number of its channel.
    pub channel: u16,
    /// What the consumer was asked for with.
    pub arguments: Table,
}

/// Whether a consumer is handed messages, but for its prefetch and its room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activity {
    /// Like all of its queue's consumers.
    Up,
    /// As the only one of its queue.
    SingleActive,
    /// Not before those that are served first have gone.
    Waiting,
}

/// A consumer, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerInfo {
    /// The consumer.
    pub id: ConsumerId,
    /// Its tag.
    pub tag: Name,
    /// Whether deliveries count as settled at once.
    pub no_ack: bool,
    /// Whether it is the only consumer by its own wish.
    pub exclusive: bool,
    /// Higher is served first.
    pub priority: i32,
    /// Most unsettled deliveries at a time; 0 is no limit.
    pub prefetch: u16,
    /// Deliveries not settled.
    pub unsettled: u32,
    /// Whether it is handed messages.
    pub activity: Activity,
    /// Whether it could take a message now, as far as its queue knows.
    pub is_ready: bool,
    /// Whose it is.
    pub subscriber: Subscriber,
}

/// Why a consumer is in no ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parked {
    /// It stands in its ring.
    No,
    /// Its prefetch is used up.
    Prefetch,
    /// The prefetch it shares is used up.
    SharedPrefetch,
    /// Its mailbox is full.
    Room,
    /// Another consumer is the only one that is served.
    Waiting,
    /// It is the only one that is served, but gives its place to one of higher priority once it has settled everything.
    Fading,
}

#[derive(Debug)]
pub(super) struct Consumer<S> {
    pub(super) subscription: Subscription<S>,
    unsettled: u32,
    parked: Parked,
    /// Octets its sink had room for when the batch numbered `room_batch` first looked, less what it got since.
    room: usize,
    room_batch: u64,
    outbox: Vec<Delivery>,
}

impl<S> Consumer<S> {
    /// Whether it could take a message now, as far as is known: it was not passed over for its prefetch or its room.
    fn is_ready(&self) -> bool {
        let limit = u32::from(self.subscription.prefetch);
        self.parked == Parked::No && (self.subscription.no_ack || limit == 0 || self.unsettled < limit)
    }
}

#[derive(Debug)]
struct Slot<S> {
    serial: u32,
    consumer: Option<Consumer<S>>,
}

/// A consumer that can take a message now.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    priority: Reverse<i32>,
    index: u32,
}

/// The consumers of one queue.
#[derive(Debug)]
pub(super) struct Consumers<S> {
    slots: Vec<Slot<S>>,
    free: Vec<u32>,
    rings: BTreeMap<Reverse<i32>, VecDeque<u32>>,
    /// Consumers with something in their outbox.
    dirty: Vec<u32>,
    batch: u64,
    /// Octets handed out since the batch began.
    handed: usize,
    count: usize,
    /// Consumers parked for room that have not yet asked their sink for a call.
    to_ask: Vec<ConsumerId>,
    /// Set where only one consumer is served at a time.
    single_active: Option<SingleActive>,
    /// Whether the place of the only one goes to one of higher priority that comes later.
    prefers_priority: bool,
    /// Whom to wake once the queue's lock is released.
    pub(super) wakers: Vec<Waker>,
}

impl<S> Default for Consumers<S> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            rings: BTreeMap::new(),
            dirty: Vec::new(),
            batch: 0,
            handed: 0,
            count: 0,
            to_ask: Vec::new(),
            single_active: None,
            prefers_priority: false,
            wakers: Vec::new(),
        }
    }
}

impl<S: Sink> Consumers<S> {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn into_subscriptions(self) -> Vec<Subscription<S>> {
        self.slots.into_iter().filter_map(|slot| slot.consumer).map(|consumer| consumer.subscription).collect()
    }

    pub(super) fn add(&mut self, subscription: Subscription<S>) -> ConsumerId {
        let priority = Reverse(subscription.priority);
        let consumer =
            Consumer { subscription, unsettled: 0, parked: Parked::No, room: 0, room_batch: 0, outbox: Vec::new() };
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { serial: 0, consumer: None });
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        });
        let mut serial = 0;
        if let Some(slot) = self.slots.get_mut(index as usize) {
            serial = slot.serial;
            slot.consumer = Some(consumer);
        }
        self.count += 1;
        let id = ConsumerId { index, serial };
        if self.single_active.as_mut().is_none_or(|single| single.add(id)) {
            self.rings.entry(priority).or_default().push_back(index);
        } else if let Some(consumer) = self.get_mut(id) {
            consumer.parked = Parked::Waiting;
            self.prefer();
        }
        id
    }

    /// From now on the place of a single active consumer goes to one of higher priority that comes later.
    pub(super) fn prefer_priority(&mut self) {
        self.prefers_priority = true;
    }

    /// Lets the single active consumer fade while one of higher priority waits, and gives that one its place once it has
    /// nothing unsettled.
    fn prefer(&mut self) {
        let Some(single) = self.single_active.as_ref().filter(|_| self.prefers_priority) else { return };
        let Some(active) = single.active() else { return };
        let waiting = single.waiting().filter_map(|id| self.priority_of(id)).max();
        let Some(priority) = self.priority_of(active) else { return };
        let Some(consumer) = self.get_mut(active) else { return };
        let was_fading = consumer.parked == Parked::Fading;
        if waiting.is_none_or(|waiting| waiting <= priority) {
            if was_fading {
                self.end_wait(active);
            }
            return;
        }
        consumer.parked = Parked::Fading;
        let is_through = consumer.unsettled == 0;
        self.leave_ring(active, priority);
        if !is_through {
            return;
        }
        if let Some(consumer) = self.get_mut(active) {
            consumer.parked = Parked::Waiting;
        }
        if let Some(single) = &mut self.single_active {
            single.step_back();
        }
        self.hand_over(active);
    }

    fn priority_of(&self, id: ConsumerId) -> Option<i32> {
        let slot = self.slots.get(id.index as usize).filter(|slot| slot.serial == id.serial)?;
        slot.consumer.as_ref().map(|consumer| consumer.subscription.priority)
    }

    fn leave_ring(&mut self, id: ConsumerId, priority: i32) {
        let priority = Reverse(priority);
        if let Some(ring) = self.rings.get_mut(&priority) {
            ring.retain(|index| *index != id.index);
            if ring.is_empty() {
                self.rings.remove(&priority);
            }
        }
    }

    /// Whether only one consumer is served at a time.
    pub(super) fn is_single_active(&self) -> bool {
        self.single_active.is_some()
    }

    /// Sets whether only one consumer is served at a time. Of those that are there it is the one whose turn it is.
    pub(super) fn set_single_active(&mut self, single_active: bool) {
        if single_active == self.is_single_active() {
            return;
        }
        if !single_active {
            let single = self.single_active.take();
            for id in single.map(SingleActive::into_waiting).unwrap_or_default() {
                self.end_wait(id);
            }
            return;
        }
        let in_turn: Vec<u32> = self.rings.values().flatten().copied().collect();
        let parked = (0..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.consumer.as_ref().is_some_and(|consumer| consumer.parked != Parked::No));
        let all = in_turn.iter().copied().chain(parked.map(|(index, _)| index));
        let id = |index: u32| Some(ConsumerId { index, serial: self.slots.get(index as usize)?.serial });
        let single = SingleActive::of(all.filter_map(id).collect());
        self.rings.clear();
        for (index, slot) in (0..).zip(&mut self.slots) {
            let Some(consumer) = &mut slot.consumer else { continue };
            if !single.is_active(ConsumerId { index, serial: slot.serial }) {
                consumer.parked = Parked::Waiting;
            } else if consumer.parked == Parked::No {
                self.rings.entry(Reverse(consumer.subscription.priority)).or_default().push_back(index);
            }
        }
        self.single_active = Some(single);
        self.prefer();
    }

    /// What a consumer that was removed has left behind is back in the queue. Says whether another one is served in its place
    /// from now on.
    pub(super) fn hand_over(&mut self, gone: ConsumerId) -> bool {
        let Some(single) = &mut self.single_active else { return false };
        let slots = &self.slots;
        let priority = |id: ConsumerId| {
            let consumer = slots.get(id.index as usize).and_then(|slot| slot.consumer.as_ref());
            consumer.map_or(i32::MIN, |consumer| consumer.subscription.priority)
        };
        let Some(next) = single.hand_over(gone, priority) else { return false };
        self.end_wait(next);
        true
    }

    pub(super) fn subscriptions(&self) -> impl Iterator<Item = &Subscription<S>> {
        self.slots.iter().filter_map(|slot| Some(&slot.consumer.as_ref()?.subscription))
    }

    /// Whether none is left that could be handed a message. Right after messages were handed out.
    #[inline]
    pub(super) fn are_all_parked(&self) -> bool {
        self.rings.is_empty()
    }

    /// The consumers there are.
    pub(super) fn infos(&self) -> impl Iterator<Item = ConsumerInfo> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| {
            let consumer = slot.consumer.as_ref()?;
            let subscription = &consumer.subscription;
            let activity = match (&self.single_active, consumer.parked) {
                (None, _) => Activity::Up,
                (Some(_), Parked::Waiting) => Activity::Waiting,
                (Some(_), _) => Activity::SingleActive,
            };
            Some(ConsumerInfo {
                id: ConsumerId { index, serial: slot.serial },
                tag: Name::clone(&subscription.tag),
                no_ack: subscription.no_ack,
                exclusive: subscription.exclusive,
                priority: subscription.priority,
                prefetch: subscription.prefetch,
                unsettled: consumer.unsettled,
                activity,
                is_ready: consumer.is_ready(),
                subscriber: subscription.subscriber.clone(),
            })
        })
    }

    /// Removes a consumer; the outboxes must have been flushed. Says whether it was served as the only one: then nobody is
    /// until [`Consumers::hand_over`].
    pub(super) fn remove(&mut self, id: ConsumerId) -> Option<(Subscription<S>, bool)> {
        self.get_mut(id)?;
        let slot = self.slots.get_mut(id.index as usize)?;
        let consumer = slot.consumer.take()?;
        slot.serial = slot.serial.wrapping_add(1);
        self.free.push(id.index);
        self.count -= 1;
        self.leave_ring(id, consumer.subscription.priority);
        let was_active = self.single_active.as_mut().is_some_and(|single| single.remove(id));
        self.prefer();
        Some((consumer.subscription, was_active))
    }

    pub(super) fn get_mut(&mut self, id: ConsumerId) -> Option<&mut Consumer<S>> {
        let slot = self.slots.get_mut(id.index as usize)?;
        if slot.serial == id.serial { slot.consumer.as_mut() } else { None }
    }

    /// Opens a batch: rooms are looked up anew.
    pub(super) fn begin_batch(&mut self) {
        self.batch += 1;
        self.handed = 0;
    }

    /// Hands a message to the consumer whose turn it is. Gives back what it weighs if the delivery waits to be settled.
    #[inline]
    pub(super) fn give(
        &mut self,
        turn: Turn,
        position: Position,
        message: Message,
        redelivered: bool,
    ) -> Option<Weight> {
        if let Some(ring) = self.rings.get_mut(&turn.priority) {
            ring.rotate_left(1);
        }
        let consumer = self.slots.get_mut(turn.index as usize)?.consumer.as_mut()?;
        let mut weight = None;
        if !consumer.subscription.no_ack {
            consumer.unsettled += 1;
            weight = Some(Weight::of(&message));
        }
        let octets = message.size() + std::mem::size_of::<Delivery>();
        consumer.room = consumer.room.saturating_sub(octets);
        self.handed += octets;
        if consumer.outbox.is_empty() {
            self.dirty.push(turn.index);
        }
        consumer.outbox.push(Delivery { key: consumer.subscription.key, redelivered, position, message });
        weight
    }

    /// The first consumer in turn that can take a message; those in front of it that cannot are parked. The turn must be
    /// given a message: shared prefetch has been counted for it.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Turn> {
        // Consumers that share a mailbox each count on its room, so it is looked up again before they overfill it.
        if self.handed >= BATCH_MAX {
            self.flush();
            self.begin_batch();
        }
        while let Some((&priority, ring)) = self.rings.first_key_value() {
            if let Some(&index) = ring.front() {
                let parked = self.check(index);
                if parked == Parked::No {
                    return Some(Turn { priority, index });
                }
                self.park(priority, index, parked);
            } else {
                self.rings.remove(&priority);
            }
        }
        None
    }

    #[inline]
    fn check(&mut self, index: u32) -> Parked {
        let Some(consumer) = self.slots.get_mut(index as usize).and_then(|slot| slot.consumer.as_mut()) else {
            return Parked::Prefetch;
        };
        let subscription = &consumer.subscription;
        if !subscription.no_ack && subscription.prefetch != 0 && consumer.unsettled >= u32::from(subscription.prefetch)
        {
            return Parked::Prefetch;
        }
        if consumer.room_batch != self.batch {
            consumer.room_batch = self.batch;
            consumer.room = subscription.sink.room();
        }
        if consumer.room == 0 {
            return Parked::Room;
        }
        // Last, because it counts.
        match &subscription.shared {
            Some(shared) if !subscription.no_ack && !shared.acquire() => Parked::SharedPrefetch,
            _ => Parked::No,
        }
    }

    fn park(&mut self, priority: Reverse<i32>, index: u32, reason: Parked) {
        if let Some(ring) = self.rings.get_mut(&priority) {
            ring.pop_front();
        }
        let Some(slot) = self.slots.get_mut(index as usize) else { return };
        let id = ConsumerId { index, serial: slot.serial };
        let Some(consumer) = slot.consumer.as_mut() else { return };
        consumer.parked = reason;
        if reason == Parked::Room {
            self.to_ask.push(id);
        }
    }

    /// Puts a parked consumer back in its ring, whatever it lacked; the next batch checks anew.
    pub(super) fn unpark(&mut self, id: ConsumerId) {
        match self.get_mut(id).map(|consumer| consumer.parked) {
            None | Some(Parked::No | Parked::Waiting | Parked::Fading) => {}
            Some(Parked::Prefetch | Parked::SharedPrefetch | Parked::Room) => self.end_wait(id),
        }
    }

    fn end_wait(&mut self, id: ConsumerId) {
        let Some(consumer) = self.get_mut(id) else { return };
        consumer.parked = Parked::No;
        let priority = Reverse(consumer.subscription.priority);
        self.rings.entry(priority).or_default().push_back(id.index);
    }

    /// Sets the prefetch a consumer shares, and counts what it has unsettled against it.
    pub(super) fn share_prefetch(&mut self, id: ConsumerId, shared: Option<Arc<SharedPrefetch>>) {
        let Some(consumer) = self.get_mut(id) else { return };
        let same = match (&consumer.subscription.shared, &shared) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            _ => false,
        };
        if let Some(new) = &shared
            && !same
            && !consumer.subscription.no_ack
        {
            new.add(consumer.unsettled);
        }
        consumer.subscription.shared = shared;
    }

    /// Counts deliveries settled and ends the wait for prefetch.
    pub(super) fn settle(&mut self, id: ConsumerId, count: u32) {
        let Some(consumer) = self.get_mut(id) else { return };
        consumer.unsettled = consumer.unsettled.saturating_sub(count);
        match consumer.parked {
            Parked::Prefetch => self.unpark(id),
            Parked::Fading if consumer.unsettled == 0 => self.prefer(),
            Parked::No | Parked::SharedPrefetch | Parked::Room | Parked::Waiting | Parked::Fading => {}
        }
    }

    /// Hands the outboxes to their sinks. Consumers whose mailbox is full ask to be woken.
    pub(super) fn flush(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for index in dirty.drain(..) {
            if let Some(consumer) = self.slots.get_mut(index as usize).and_then(|slot| slot.consumer.as_mut()) {
                self.wakers.extend(consumer.subscription.sink.deliver(&mut consumer.outbox));
                if consumer.outbox.capacity() > OUTBOX_KEPT {
                    consumer.outbox = Vec::new();
                }
            }
        }
        self.dirty = dirty;
    }

    /// Asks the sinks of consumers that newly lack room for a call; true if one has room by now and dispatch should go on.
    pub(super) fn await_room(&mut self) -> bool {
        let mut ready = false;
        while let Some(id) = self.to_ask.pop() {
            if let Some(consumer) = self.get_mut(id)
                && consumer.parked == Parked::Room
                && !consumer.subscription.sink.await_room(consumer.subscription.key)
            {
                self.unpark(id);
                ready = true;
            }
        }
        ready
    }
}

/// Octets that a batch hands out before rooms are looked up anew.
const BATCH_MAX: usize = MAILBOX_BYTES;
/// Deliveries an outbox keeps room for between batches; more is given back, so that an idle consumer is small.
const OUTBOX_KEPT: usize = 16 * 1024;
