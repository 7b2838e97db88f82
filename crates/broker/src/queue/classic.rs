//! The classic queue: messages in order, handed to consumers in turn.
//!
//! Positions count up from the first message ever, and the order of positions is the queue's order: a requeued message takes
//! its old place. What waits stands in the `Lanes`, some of it perhaps on disk only; then nothing is handed out until
//! it is read back.
//!
//! Messages die here: their time is up, or there is no room. Where they go then is the cell's to know.

mod dying;

use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;

use super::backlog::Restored;
use super::consumers::{ConsumerInfo, Consumers, Turn};
use super::lanes::{ColdLane, Lanes, split};
use super::quorum::{Fate, Quorum, ReturnedLot};
use super::{
    ConsumerId, DeadLetterStrategy, Overflow, Position, QueueSettings, ReturnCause, SharedPrefetch, Sink, Subscriber,
    Subscription,
};
use crate::Weight;
use crate::clock::Timestamp;
use crate::message::Message;
use crate::properties::{DeathReason, Properties};
use crate::stats::{Deaths, MessageStats};

/// The queue has an exclusive consumer, or cannot give one exclusive use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("in exclusive use")]
pub struct ExclusiveUse;

/// A classic queue. Every method is one batch under the caller's lock and ends with the deliveries it led to handed to
/// their sinks.
#[derive(Debug)]
pub struct Classic<S> {
    lanes: Lanes,
    rules: Rules,
    /// Whether a message that waits may expire.
    may_expire: bool,
    /// The time, as far as anything depends on it.
    now: Timestamp,
    /// Messages that died since they were last taken, if somebody wants them.
    dead: Vec<Dead>,
    /// Where the others stood.
    dropped: Vec<Range<u64>>,
    /// What they all died of.
    deaths: Deaths,
    unsettled: usize,
    /// What they weigh, but in a quorum queue.
    unsettled_weight: Weight,
    consumers: Consumers<S>,
    exclusive: Option<ConsumerId>,
    /// Messages handed out since the queue exists.
    delivered: u64,
    /// How many of them
    handed: Handed,
    /// What makes it a quorum queue.
    quorum: Option<Box<Quorum>>,
}

impl<S> Default for Classic<S> {
    fn default() -> Self {
        Self {
            lanes: Lanes::default(),
            rules: Rules::default(),
            may_expire: false,
            now: Timestamp::default(),
            dead: Vec::new(),
            dropped: Vec::new(),
            deaths: Deaths::default(),
            unsettled: 0,
            unsettled_weight: Weight::default(),
            consumers: Consumers::default(),
            exclusive: None,
            delivered: 0,
            handed: Handed::default(),
            quorum: None,
        }
    }
}

/// How messages were handed out. What is not in here went to consumers that settle nothing.
#[derive(Debug, Clone, Copy, Default)]
struct Handed {
    /// To consumers that settle them.
    to_settle: u64,
    /// To basic.get, to be settled.
    taken: u64,
    /// To basic.get for good.
    taken_for_good: u64,
    /// Not for the first time, in whichever way.
    again: u64,
}

/// What of a queue's settings decides about its messages.
#[derive(Debug, Clone, Copy, Default)]
struct Rules {
    /// How long a message lives in the queue, in milliseconds.
    ttl_ms: Option<u64>,
    max_length: Option<u64>,
    max_length_bytes: Option<u64>,
    overflow: Overflow,
    /// Whether nothing is handed out.
    paused: bool,
    /// Whether somebody wants the messages that die.
    keeps_dead: bool,
    /// Whether they stay until that somebody has them.
    is_safe: bool,
}

/// A message that died in a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dead {
    /// Where it stood; none if it never came in.
    pub position: Option<Position>,
    /// The message.
    pub message: Message,
    /// Why.
    pub reason: DeathReason,
}

/// A message that was taken out of turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenOut {
    /// Where it stood.
    pub position: Position,
    /// The message.
    pub message: Message,
    /// Whether it was handed out before.
    pub redelivered: bool,
}

/// Messages on their way back to the queue.
#[derive(Debug)]
pub struct Returned {
    /// The consumer they had been handed to; none for basic.get.
    pub consumer: Option<ConsumerId>,
    /// Whether they counted as settled when they were handed out (`no_ack`).
    pub settled: bool,
    /// Why they come back.
    pub cause: ReturnCause,
    /// The messages with their places.
    pub messages: Vec<(Position, Message)>,
}

/// What taking the first message came to (basic.get).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// A message: where it stood, itself, and whether it was handed out before.
    Message(Position, Message, bool),
    /// The first message is on disk only, and has to be read first.
    OnDisk,
    /// Nothing waits.
    Nothing,
}

impl<S: Sink> Classic<S> {
    /// A queue with priorities up to `max`; `usual` is that of messages without one.
    pub fn with_priorities(max: u8, usual: u8) -> Self {
        Self { lanes: Lanes::new(max, usual), ..Self::default() }
    }

    /// A quorum queue, whose messages have such properties.
    pub fn quorum(properties: Arc<dyn Properties>) -> Self {
        let lanes = Lanes::new(QUORUM_PRIORITY_MAX, QUORUM_PRIORITY_USUAL);
        let mut consumers = Consumers::default();
        consumers.prefer_priority();
        Self { lanes, consumers, quorum: Some(Box::new(Quorum::new(properties))), ..Self::default() }
    }

    /// Puts in what a lane has on disk when a node starts.
    pub(super) fn restore(&mut self, lane: usize, restored: Restored) {
        self.lanes.restore(lane, restored);
        // Perhaps its publisher wanted so; only the disk knows.
        self.may_expire |= restored.messages > 0;
    }

    /// Acts by other settings from now on, at once.
    pub fn configure(&mut self, settings: &QueueSettings) {
        self.rules = Rules {
            ttl_ms: settings.message_ttl_ms,
            max_length: settings.max_length,
            max_length_bytes: settings.max_length_bytes,
            overflow: settings.overflow,
            paused: settings.paused,
            keeps_dead: settings.dead_letter.is_some(),
            is_safe: settings.dead_letter.as_ref().is_some_and(|to| to.strategy == DeadLetterStrategy::AtLeastOnce),
        };
        if let Some(quorum) = &mut self.quorum {
            quorum.configure(settings);
        }
        self.may_expire |= settings.message_ttl_ms.is_some();
        self.lanes.want_octets(settings.max_length_bytes.is_some());
        self.consumers.set_single_active(settings.single_active_consumer);
        self.consumers.begin_batch();
        self.dispatch();
    }

    /// Says what time it is. Due before anything else while [`Classic::depends_on_time`].
    pub fn set_now(&mut self, now: Timestamp) {
        self.now = now;
    }

    /// The time, as far as anything depends on it.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Whether it is a quorum queue.
    #[inline]
    pub fn is_quorum(&self) -> bool {
        self.quorum.is_some()
    }

    /// Whether a message that waits may expire, or one that comes back may have to wait.
    #[inline]
    pub fn depends_on_time(&self) -> bool {
        self.may_expire || self.quorum.is_some()
    }

    /// Takes a message out of turn, if it waits in memory; says whether it was handed out before.
    pub fn take_at(&mut self, position: Position) -> Option<(Message, bool)> {
        if let Some(message) = self.quorum.as_mut().and_then(|quorum| quorum.take_returned(position)) {
            return Some((message, true));
        }
        let (lane, Position(position)) = split(position);
        self.lanes.lane_mut_if_used(lane)?.take_at(position)
    }

    /// The messages that wait behind a position, or all, in the order in which they would be handed out, as far as they are in
    /// memory; what follows may be on disk.
    pub(super) fn list(&self, after: Option<Position>, count: usize) -> (Vec<Listed>, Option<ColdLane>) {
        let Some(quorum) = &self.quorum else { return self.lanes.list(after, count) };
        let (mut messages, after) = quorum.list(after, count);
        let (others, cold) = self.lanes.list(after, count - messages.len());
        messages.extend(others);
        (messages, cold)
    }

    /// Takes a message out of turn that was read from disk, unless it is not there any more; says whether it was handed out before.
    pub fn take_cold(&mut self, position: Position, message: &Message) -> Option<bool> {
        let (lane, Position(position)) = split(position);
        let lane = self.lanes.lane_mut_if_used(lane)?;
        let redelivered = lane.is_redelivered(position);
        lane.take_cold(position, message).then_some(redelivered)
    }

    /// Puts a message that was taken out of turn where it stood, as it was, and goes on.
    pub fn put_in_place(&mut self, taken: TakenOut) {
        let (lane, Position(position)) = split(taken.position);
        // It was forgotten if nothing else waited meanwhile.
        self.may_expire = self.may_expire || taken.message.ttl_ms().is_some();
        self.lanes.put_in_place(lane, position, taken.message, taken.redelivered);
        self.go_on();
    }

    /// How long a message lives in the queue, in milliseconds.
    pub fn ttl_ms(&self) -> Option<u64> {
        self.rules.ttl_ms
    }

    /// Messages that a consumer, or without one basic.get, does not want. Their places are the cell's to give up.
    pub fn reject(&mut self, id: Option<ConsumerId>, messages: Vec<(Position, Message)>) {
        let count = u32::try_from(messages.len()).unwrap_or(u32::MAX);
        let mut weight = Weight::default();
        for (position, message) in messages {
            weight += Weight::of(&message);
            self.bury(position, message, DeathReason::Rejected);
        }
        self.settle(id, count, weight);
    }

    /// [`Classic::reject`] for a quorum queue, which knows the messages as they came in.
    pub(super) fn reject_at(&mut self, id: Option<ConsumerId>, positions: Vec<Position>) {
        let count = u32::try_from(positions.len()).unwrap_or(u32::MAX);
        for position in positions {
            if let Some(message) = self.quorum.as_mut().and_then(|quorum| quorum.take_held(position)) {
                self.bury(position, message, DeathReason::Rejected);
            }
        }
        self.settle(id, count, Weight::default());
    }

    /// The messages that wait, by lane.
    pub(super) fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// The messages that wait, by lane, to be moved between memory and disk.
    pub(super) fn lanes_mut(&mut self) -> &mut Lanes {
        &mut self.lanes
    }

    /// Messages waiting to be handed out.
    #[inline]
    pub fn ready_count(&self) -> usize {
        self.lanes.len() + self.quorum.as_ref().map_or(0, |quorum| quorum.returned_count())
    }

    /// Messages that came back and are not to be handed out yet.
    pub fn delayed_count(&self) -> usize {
        self.quorum.as_ref().map_or(0, |quorum| quorum.delayed_count())
    }

    /// What messages weigh that were handed out and are not settled. Of a quorum queue, the octets only.
    pub(super) fn unsettled_weight(&self) -> Weight {
        match &self.quorum {
            Some(quorum) => Weight { octets: quorum.held_octets(), ..Weight::default() },
            None => self.unsettled_weight,
        }
    }

    /// Octets of the bodies of the messages that came back to a quorum queue and wait.
    pub(super) fn returned_octets(&self) -> u64 {
        self.quorum.as_ref().map_or(0, |quorum| quorum.waiting_octets())
    }

    fn body_bytes(&self) -> u64 {
        self.lanes.weight().octets + self.quorum.as_ref().map_or(0, |quorum| quorum.body_bytes())
    }

    /// Octets of the messages that wait in memory, names and properties included.
    pub fn ready_bytes(&self) -> usize {
        self.lanes.bytes() + self.returned_bytes()
    }

    /// Octets of the messages that came back to a quorum queue.
    #[inline]
    pub(super) fn returned_bytes(&self) -> usize {
        self.quorum.as_ref().map_or(0, |quorum| quorum.bytes())
    }

    /// Whether some messages are on disk only.
    pub fn has_cold(&self) -> bool {
        self.lanes.has_cold()
    }

    /// Goes on after something changed that decides about what is handed out.
    pub fn go_on(&mut self) {
        self.consumers.begin_batch();
        self.dispatch();
    }

    /// Messages handed out and not yet settled.
    pub fn unsettled_count(&self) -> usize {
        self.unsettled
    }

    /// Messages handed out since the queue exists.
    pub fn delivered_count(&self) -> u64 {
        self.delivered
    }

    /// How messages were handed out.
    pub(super) fn stats(&self) -> MessageStats {
        let Handed { to_settle, taken, taken_for_good, again } = self.handed;
        MessageStats {
            deliver: to_settle,
            deliver_no_ack: self.delivered.saturating_sub(to_settle + taken + taken_for_good),
            get: taken,
            get_no_ack: taken_for_good,
            redeliver: again,
            ..MessageStats::default()
        }
    }

    /// Consumers there are.
    pub fn consumer_count(&self) -> usize {
        self.consumers.len()
    }

    /// Whom to wake for what was delivered since the last call, once no lock is held.
    pub fn take_wakers(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.consumers.wakers)
    }

    /// Appends messages in order, emptying `batch`.
    pub fn enqueue(&mut self, batch: &mut Vec<Message>) {
        self.enqueue_weighed(batch, None);
    }

    /// The same; `weight` is that of the batch, if it is known.
    pub(super) fn enqueue_weighed(&mut self, batch: &mut Vec<Message>, weight: Option<Weight>) {
        self.consumers.begin_batch();
        let count = batch.len();
        let mut batch = batch.drain(..);
        // While nothing waits, a message goes straight to a consumer and never enters the queue.
        if self.ready_count() == 0 && !self.rules.paused {
            while batch.len() > 0
                && let Some(turn) = self.consumers.next()
                && let Some(message) = batch.next()
            {
                let position = self.lanes.pass(&message);
                self.hand_out(turn, position, message, false);
            }
        }
        if batch.len() > 0 {
            let is_whole = batch.len() == count;
            let weight = weight.filter(|_| is_whole).unwrap_or_else(|| Weight::of_all(batch.as_slice()));
            let may_expire = &mut self.may_expire;
            let note = |message: &Message| *may_expire = *may_expire || message.ttl_ms().is_some();
            self.lanes.append(batch.inspect(note), weight);
        }
        self.dispatch();
    }

    /// Adds a consumer, which at once gets what waits.
    pub fn subscribe(&mut self, subscription: Subscription<S>) -> Result<ConsumerId, ExclusiveUse> {
        let taken = self.consumers.len() > 0 || self.consumers.is_single_active();
        if self.exclusive.is_some() || (subscription.exclusive && taken) {
            return Err(ExclusiveUse);
        }
        let exclusive = subscription.exclusive;
        let id = self.consumers.add(subscription);
        if exclusive {
            self.exclusive = Some(id);
        }
        self.consumers.begin_batch();
        self.dispatch();
        Ok(id)
    }

    /// Says whose a consumer is.
    pub(super) fn introduce(&mut self, id: ConsumerId, subscriber: Subscriber) {
        if let Some(consumer) = self.consumers.get_mut(id) {
            consumer.subscription.subscriber = subscriber;
        }
    }

    /// Removes a consumer. What it was handed stays unsettled until it is settled or requeued. Says whether it was the single
    /// active consumer: then nobody is handed messages until [`Classic::hand_over`].
    pub fn unsubscribe(&mut self, id: ConsumerId) -> Option<(Subscription<S>, bool)> {
        if self.exclusive == Some(id) {
            self.exclusive = None;
        }
        let removed = self.consumers.remove(id);
        if self.quorum.is_some() {
            // The single active consumer may have waited for this one to take its place.
            self.go_on();
        }
        removed
    }

    /// What a consumer that is gone gives back has been put back: the next one may take its place, if it was the single
    /// active consumer.
    pub fn hand_over(&mut self, gone: ConsumerId) {
        if self.consumers.hand_over(gone) {
            self.consumers.begin_batch();
            self.dispatch();
        }
    }

    /// What the consumers there are asked for.
    pub fn subscriptions(&self) -> impl Iterator<Item = &Subscription<S>> {
        self.consumers.subscriptions()
    }

    /// Whether messages wait and no consumer can take one. Right after messages were handed out.
    #[inline]
    pub(super) fn is_stalled(&self) -> bool {
        self.consumers.are_all_parked() && self.consumers.len() > 0 && self.ready_count() > 0
    }

    /// Whether it has a consumer that has it for itself.
    pub(super) fn is_exclusive(&self) -> bool {
        self.exclusive.is_some()
    }

    /// The consumers there are.
    pub fn consumers(&self) -> impl Iterator<Item = ConsumerInfo> {
        self.consumers.infos()
    }

    /// Goes on with a consumer that waited for room in its mailbox or for shared prefetch.
    pub fn resume(&mut self, id: ConsumerId) {
        self.consumers.begin_batch();
        self.consumers.unpark(id);
        self.dispatch();
    }

    /// Sets the prefetch that a consumer shares with its channel's others; none is no limit. What the consumer has
    /// unsettled counts.
    pub fn share_prefetch(&mut self, id: ConsumerId, shared: Option<Arc<SharedPrefetch>>) {
        self.consumers.share_prefetch(id, shared);
        self.resume(id);
    }

    /// Takes the first message (basic.get).
    pub fn take(&mut self, no_ack: bool) -> Taken {
        self.drop_expired();
        if self.rules.paused {
            return Taken::Nothing;
        }
        match self.pop() {
            Some((position, message, redelivered)) => {
                self.delivered += 1;
                self.unsettled += usize::from(!no_ack);
                if !no_ack {
                    self.unsettled_weight += Weight::of(&message);
                }
                self.handed.taken += u64::from(!no_ack);
                self.handed.taken_for_good += u64::from(no_ack);
                self.handed.again += u64::from(redelivered);
                let message = self.note_handed_out(position, message, redelivered);
                Taken::Message(position, message, redelivered)
            }
            None if self.lanes.has_cold() => Taken::OnDisk,
            None => Taken::Nothing,
        }
    }

    /// Nobody speaks of these positions any more.
    #[inline]
    pub fn forget(&mut self, positions: &[Range<u64>]) {
        if let Some(quorum) = &mut self.quorum {
            quorum.forget(positions);
        }
    }

    /// Counts deliveries settled, and what they weigh: of a consumer, or without one those of basic.get.
    pub fn settle(&mut self, id: Option<ConsumerId>, count: u32, weight: Weight) {
        self.count_settled(count as usize, weight);
        if let Some(id) = id {
            self.consumers.begin_batch();
            self.consumers.settle(id, count);
            self.dispatch();
        }
    }

    #[inline]
    fn count_settled(&mut self, count: usize, weight: Weight) {
        self.unsettled = self.unsettled.saturating_sub(count);
        self.unsettled_weight.take(weight);
        if self.unsettled == 0 {
            self.unsettled_weight = Weight::default();
        }
    }

    /// Puts messages back where they stood; `id` is the consumer they had been handed to.
    pub fn requeue(&mut self, id: Option<ConsumerId>, messages: &mut Vec<(Position, Message)>) {
        let (settled, cause, messages) = (false, ReturnCause::Requeued, std::mem::take(messages));
        self.put_back(&mut vec![Returned { consumer: id, settled, cause, messages }]);
    }

    /// Puts messages back that a consumer was handed for good (`no_ack`) but that never left the broker.
    pub fn take_back(&mut self, messages: &mut Vec<(Position, Message)>) {
        let (settled, cause, messages) = (true, ReturnCause::Unread, std::mem::take(messages));
        self.put_back(&mut vec![Returned { consumer: None, settled, cause, messages }]);
    }

    /// Puts messages back from several consumers, and only then hands out again: the one that stood first goes first,
    /// whoever had it.
    pub fn put_back(&mut self, returned: &mut Vec<Returned>) {
        self.consumers.begin_batch();
        for Returned { consumer, settled, cause: _, messages } in returned.drain(..) {
            let weight = Weight::of_all(messages.iter().map(|(_, message)| message));
            self.count_returned(consumer, settled, messages.len(), weight);
            for (position, message) in messages {
                // It was forgotten if nothing else waited meanwhile.
                self.may_expire = self.may_expire || message.ttl_ms().is_some();
                self.lanes.put_back(position, message);
            }
        }
        self.dispatch();
    }

    /// [`Classic::put_back`] for a quorum queue: what comes back counts, and goes before all that was never handed out.
    pub(super) fn take_back_lots(&mut self, lots: Vec<ReturnedLot>) {
        self.consumers.begin_batch();
        for ReturnedLot { consumer, settled, cause, positions } in lots {
            self.count_returned(consumer, settled, positions.len(), Weight::default());
            for position in positions {
                let Some(quorum) = &mut self.quorum else { continue };
                match quorum.give_back(position, cause, self.now) {
                    Fate::Waits { expires } => self.may_expire = self.may_expire || expires,
                    Fate::Dies(message) => self.bury(position, message, DeathReason::DeliveryLimit),
                    Fate::Unknown => {}
                }
            }
        }
        self.dispatch();
    }

    fn count_returned(&mut self, consumer: Option<ConsumerId>, settled: bool, count: usize, weight: Weight) {
        if !settled {
            self.count_settled(count, weight);
        }
        if let Some(id) = consumer {
            self.consumers.settle(id, u32::try_from(count).unwrap_or(u32::MAX));
        }
    }

    /// Drops everything that waits; says how much that was, and which positions.
    pub fn purge(&mut self) -> (usize, Vec<Range<u64>>) {
        let count = self.ready_count() + self.delayed_count();
        let mut dropped = self.lanes.clear();
        for position in self.quorum.as_mut().map(|quorum| quorum.clear()).unwrap_or_default() {
            push_position(&mut dropped, position);
        }
        (count, dropped)
    }

    /// Ends the queue: drops what waits and gives back the consumers, to be told. Says how many messages waited.
    pub fn close(&mut self) -> (usize, Vec<Subscription<S>>) {
        self.exclusive = None;
        (self.purge().0, std::mem::take(&mut self.consumers).into_subscriptions())
    }

    #[inline]
    fn hand_out(&mut self, turn: Turn, position: Position, message: Message, redelivered: bool) {
        self.delivered += 1;
        self.handed.again += u64::from(redelivered);
        let message = self.note_handed_out(position, message, redelivered);
        if let Some(weight) = self.consumers.give(turn, position, message, redelivered) {
            self.unsettled += 1;
            self.unsettled_weight += weight;
            self.handed.to_settle += 1;
        }
    }

    /// The message as it goes out.
    #[inline]
    fn note_handed_out(&mut self, position: Position, message: Message, redelivered: bool) -> Message {
        match &mut self.quorum {
            None => message,
            Some(quorum) => quorum.hand_out(position, message, redelivered),
        }
    }

    /// Takes the first message, unless it is on disk only; says whether it was handed out before.
    #[inline]
    fn pop(&mut self) -> Option<(Position, Message, bool)> {
        if let Some(quorum) = &mut self.quorum
            && let Some((position, message)) = quorum.pop()
        {
            return Some((position, message, true));
        }
        self.lanes.pop()
    }

    fn dispatch(&mut self) {
        loop {
            while self.has_next()
                && let Some(turn) = self.consumers.next()
                && let Some((position, message, redelivered)) = self.pop()
            {
                self.hand_out(turn, position, message, redelivered);
            }
            self.consumers.flush();
            // Asked even when nothing waits by now: a consumer that is never told of its room would be passed over by
            // what comes next.
            if !self.consumers.await_room() || !self.has_next() {
                break;
            }
            self.consumers.begin_batch();
        }
        self.drop_expired();
        self.drop_excess();
    }

    /// Whether there is a message to hand out now.
    #[inline]
    fn has_next(&mut self) -> bool {
        // Nobody is handed what is too old, and a turn that was given out must be used.
        self.drop_expired_next();
        !self.rules.paused && self.has_first()
    }

    #[inline]
    fn has_first(&mut self) -> bool {
        self.quorum.as_ref().is_some_and(|quorum| quorum.returned_count() > 0) || self.lanes.has_next()
    }
}

/// A message that waits: where it stands, itself, and whether it was handed out before.
pub(super) type Listed = (Position, Message, bool);

/// Priorities of a quorum queue: from 0 to 31, and 4 for messages without one.
const QUORUM_PRIORITY_MAX: u8 = 31;
const QUORUM_PRIORITY_USUAL: u8 = 4;
/// How many that are.
pub(crate) const QUORUM_LANES: u64 = QUORUM_PRIORITY_MAX as u64 + 1;

/// Adds a position to ranges of them.
pub(crate) fn push_position(ranges: &mut Vec<Range<u64>>, Position(position): Position) {
    match ranges.last_mut() {
        Some(last) if last.end == position => last.end += 1,
        _ => ranges.push(position..position + 1),
    }
}

#[cfg(test)]
impl<S> Classic<S> {
    /// What makes it a quorum queue.
    pub(super) fn quorum_part(&self) -> &Quorum {
        self.quorum.as_ref().unwrap()
    }
}

#[cfg(test)]
mod tests;
