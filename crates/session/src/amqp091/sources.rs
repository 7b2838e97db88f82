//! Where a connection's deliveries come from: its consumers, and the queues it got messages from by basic.get.

use std::ops::Range;
use std::sync::Arc;

use leveret_broker::message::Message;
use leveret_broker::queue::{ConsumerId, Position, QueueCell, QueueKind, ReturnCause, Returned, Settled};
use leveret_broker::stats::ConnectionCounters;
use leveret_broker::store::StorePosition;
use leveret_broker::topology::QueueId;
use leveret_broker::{Name, Weight};

use super::timeouts::Timeout;

/// Ranges of positions that a source keeps room for between turns.
const POSITIONS_KEPT: usize = 64;

/// What a source is.
#[derive(Debug)]
pub(crate) enum SourceKind {
    /// A consumer of a queue.
    Consumer {
        /// The queue.
        queue: Arc<QueueCell>,
        /// The consumer there.
        id: ConsumerId,
    },
    /// basic.get from a queue.
    Get {
        /// The queue.
        queue: Arc<QueueCell>,
    },
    /// The consumer of direct replies, under its token.
    Replies {
        /// The token.
        token: Name,
    },
}

/// When another consumer may take the place of one that was the single active consumer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum HandOver {
    /// It was not, or another one has.
    #[default]
    Nothing,
    /// Once what it was delivered is settled, so that messages keep their order.
    OnceSettled,
    /// Once whoever stopped it has given everything back.
    OnceGivenBack,
}

/// A source of deliveries. It outlives its consumer until everything it delivered is settled.
#[derive(Debug)]
pub(crate) struct Source {
    /// The channel it belongs to.
    pub(crate) channel: u16,
    /// The consumer tag; empty for basic.get.
    pub(crate) tag: Name,
    /// Whether deliveries count as settled at once.
    pub(crate) no_ack: bool,
    /// Whether more deliveries may come.
    pub(crate) live: bool,
    /// What its queue waits for before another consumer takes its place.
    pub(crate) hand_over: HandOver,
    /// Deliveries not settled.
    pub(crate) outstanding: u32,
    /// How long they may be that.
    pub(crate) timeout: Timeout,
    /// Deliveries settled in this turn, which the queue has yet to be told.
    settled: u32,
    /// How many of them were rejected.
    unwanted: u32,
    /// What all of them weigh.
    weight: Weight,
    /// Where what is done with stood, for a queue whose store has to know.
    positions: Vec<Range<u64>>,
    /// Messages rejected in this turn that somebody else wants, which the queue has yet to be given.
    rejected: Vec<(Position, Message)>,
    /// Messages that go back in this turn, which the queue has yet to be given, in runs of the same cause.
    requeued: Vec<(ReturnCause, Vec<(Position, Message)>)>,
    kind: SourceKind,
}

impl Source {
    /// What it is.
    pub(crate) fn kind(&self) -> &SourceKind {
        &self.kind
    }

    /// The name of its queue, or its token if there is none.
    pub(crate) fn origin(&self) -> &Name {
        match &self.kind {
            SourceKind::Consumer { queue, .. } | SourceKind::Get { queue } => &queue.info().name,
            SourceKind::Replies { token } => token,
        }
    }

    fn queue(&self) -> Option<(&Arc<QueueCell>, Option<ConsumerId>)> {
        match &self.kind {
            SourceKind::Consumer { queue, id } => Some((queue, Some(*id))),
            SourceKind::Get { queue } => Some((queue, None)),
            SourceKind::Replies { .. } => None,
        }
    }

    /// The kind of its queue; none for direct replies.
    pub(crate) fn queue_kind(&self) -> Option<QueueKind> {
        self.queue().map(|(queue, _)| queue.kind())
    }

    /// Whether it may go.
    fn is_done(&self) -> bool {
        !self.live && self.hand_over == HandOver::Nothing && self.outstanding == 0 && self.is_clean()
    }

    /// Lets the next consumer take its place, if its queue waits for that.
    pub(crate) fn give_up_place(&mut self) {
        if std::mem::take(&mut self.hand_over) != HandOver::Nothing
            && let SourceKind::Consumer { queue, id } = &self.kind
        {
            queue.hand_over(*id);
        }
    }

    /// Whether its queue has nothing to be told of deliveries.
    #[inline]
    fn is_clean(&self) -> bool {
        self.settled == 0 && self.requeued.is_empty() && self.positions.is_empty() && self.rejected.is_empty()
    }

    /// Whether the queue's store has to know of what is done with.
    #[inline]
    pub(crate) fn is_stored(&self) -> bool {
        self.queue().is_some_and(|(queue, _)| queue.is_stored())
    }

    /// Takes note of a position that is done with, if the queue's store has to know.
    #[inline]
    fn done_with(&mut self, position: Position) {
        if self.is_stored() {
            match self.positions.last_mut() {
                Some(last) if last.end == position.0 => last.end += 1,
                _ => self.positions.push(position.0..position.0 + 1),
            }
        }
    }

    /// Whether it is a consumer of that queue.
    pub(crate) fn is_of(&self, id: QueueId) -> bool {
        matches!(&self.kind, SourceKind::Consumer { queue, .. } if queue.info().id == id)
    }

    /// What its queue says of the time its deliveries may stay unsettled.
    pub(crate) fn queue_timeout_ms(&self) -> Option<u64> {
        self.queue().filter(|_| !self.no_ack)?.0.consumer_timeout_ms()
    }

    /// Takes over what its queue says of the time its deliveries may stay unsettled.
    pub(crate) fn follow_queue(&mut self) {
        self.timeout.set_queue_ms(self.queue_timeout_ms());
    }

    /// Whether deliveries count against a prefetch that the channel shares.
    pub(crate) fn is_limited(&self) -> bool {
        matches!(self.kind, SourceKind::Consumer { .. }) && !self.no_ack
    }
}

/// The sources of a connection by key. A key is used again once its source is gone.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    slots: Vec<Option<Source>>,
    free: Vec<u32>,
    /// Sources with something to tell their queue.
    dirty: Vec<u32>,
}

impl Sources {
    /// The key the next source gets; a consumer's queue has to know it beforehand.
    pub(crate) fn next_key(&self) -> u32 {
        self.free.last().copied().unwrap_or_else(|| u32::try_from(self.slots.len()).unwrap_or(u32::MAX))
    }

    pub(crate) fn add(&mut self, channel: u16, tag: Name, no_ack: bool, kind: SourceKind) -> u32 {
        let source = Source {
            channel,
            tag,
            no_ack,
            live: true,
            hand_over: HandOver::Nothing,
            outstanding: 0,
            timeout: Timeout::default(),
            settled: 0,
            unwanted: 0,
            weight: Weight::default(),
            positions: Vec::new(),
            rejected: Vec::new(),
            requeued: Vec::new(),
            kind,
        };
        let key = self.next_key();
        if self.free.pop().is_none() {
            self.slots.push(None);
        }
        if let Some(slot) = self.slots.get_mut(key as usize) {
            *slot = Some(source);
        }
        key
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut Source> {
        self.slots.get_mut(key as usize)?.as_mut()
    }

    pub(crate) fn get(&self, key: u32) -> Option<&Source> {
        self.slots.get(key as usize)?.as_ref()
    }

    /// Lets a consumer's queue go on with it, if that is what the source is.
    pub(crate) fn resume(&self, key: u32) {
        if let Some(SourceKind::Consumer { queue, id }) = self.get(key).map(Source::kind) {
            queue.resume(*id);
        }
    }

    /// The source for basic.get of a queue on a channel, made if it is not there.
    pub(crate) fn getter(&mut self, channel: u16, queue: &Arc<QueueCell>) -> u32 {
        let is = |source: &Source| {
            source.channel == channel
                && matches!(&source.kind, SourceKind::Get { queue: other } if Arc::ptr_eq(other, queue))
        };
        let found = (0..).zip(&self.slots).find_map(|(key, slot)| slot.as_ref().is_some_and(is).then_some(key));
        found.unwrap_or_else(|| {
            let key = self.add(channel, "".into(), false, SourceKind::Get { queue: Arc::clone(queue) });
            if let Some(source) = self.get_mut(key) {
                source.live = false;
            }
            key
        })
    }

    /// Counts one delivery settled; its queue is told by [`Sources::flush`].
    #[inline]
    pub(crate) fn settle(&mut self, key: u32, position: Position, message: &Message) {
        let Some(source) = self.slots.get_mut(key as usize).and_then(Option::as_mut) else { return };
        if source.is_clean() {
            self.dirty.push(key);
        }
        source.settled += 1;
        source.weight += Weight::of(message);
        source.outstanding = source.outstanding.saturating_sub(1);
        source.done_with(position);
    }

    /// Settles one delivery that the client does not want. It goes back to its queue if somebody else wants it.
    pub(crate) fn reject(&mut self, key: u32, position: Position, message: Message) {
        let Some(source) = self.slots.get_mut(key as usize).and_then(Option::as_mut) else { return };
        if !source.queue().is_some_and(|(queue, _)| queue.keeps_rejected()) {
            source.unwanted += 1;
            self.settle(key, position, &message);
            return;
        }
        if source.is_clean() {
            self.dirty.push(key);
        }
        source.rejected.push((position, message));
        source.outstanding = source.outstanding.saturating_sub(1);
    }

    /// Lets go of a message that was sent and counted as settled when it was handed out (`no_ack`).
    #[inline]
    pub(crate) fn discard(&mut self, key: u32, position: Position) {
        let Some(source) = self.slots.get_mut(key as usize).and_then(Option::as_mut) else { return };
        let was_clean = source.is_clean();
        source.done_with(position);
        if was_clean && !source.is_clean() {
            self.dirty.push(key);
        }
    }

    /// Gives one message back; its queue gets it by [`Sources::flush`].
    pub(crate) fn requeue(&mut self, key: u32, cause: ReturnCause, position: Position, message: Message) {
        let Some(source) = self.slots.get_mut(key as usize).and_then(Option::as_mut) else { return };
        if source.is_clean() {
            self.dirty.push(key);
        }
        match source.requeued.last_mut() {
            Some((same, messages)) if *same == cause => messages.push((position, message)),
            _ => source.requeued.push((cause, vec![(position, message)])),
        }
        source.outstanding = source.outstanding.saturating_sub(1);
    }

    /// Whether some queue has yet to be told something.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Tells every queue what was settled and requeued, and drops sources that are done. Gives back the position of the
    /// message log with which what was settled is on disk.
    pub(crate) fn flush(&mut self, counters: &ConnectionCounters) -> Option<StorePosition> {
        let mut written = None;
        let keys = std::mem::take(&mut self.dirty);
        // First what goes back, a queue at a time: were it handed out again between two sources, order would be lost.
        let mut returned: Vec<(Arc<QueueCell>, Vec<Returned>)> = Vec::new();
        for key in &keys {
            let Some(source) = self.slots.get_mut(*key as usize).and_then(Option::as_mut) else { continue };
            if source.requeued.is_empty() {
                continue;
            }
            let runs = std::mem::take(&mut source.requeued);
            let Some((queue, consumer)) = source.queue() else { continue };
            let settled = source.no_ack;
            let back = runs.into_iter().map(|(cause, messages)| Returned { consumer, settled, cause, messages });
            match returned.iter_mut().find(|(other, _)| Arc::ptr_eq(other, queue)) {
                Some((_, all)) => all.extend(back),
                None => returned.push((Arc::clone(queue), back.collect())),
            }
        }
        for (queue, mut all) in returned {
            queue.put_back(&mut all);
        }
        for key in &keys {
            let Some(source) = self.slots.get_mut(*key as usize).and_then(Option::as_mut) else { continue };
            let (count, rejected) = (std::mem::take(&mut source.settled), std::mem::take(&mut source.unwanted));
            let weight = std::mem::take(&mut source.weight);
            let settled = Settled { acknowledged: count.saturating_sub(rejected), rejected, weight };
            let mut positions = std::mem::take(&mut source.positions);
            let given_back = std::mem::take(&mut source.rejected);
            if let Some((queue, consumer)) = source.queue() {
                if !given_back.is_empty() {
                    written = written.max(queue.reject(consumer, given_back));
                }
                if count > 0 {
                    counters.of_kind(queue.kind()).ack.add(settled.acknowledged.into());
                    written = written.max(queue.settle_all(consumer, settled, &positions));
                } else if !positions.is_empty() {
                    queue.discard(&positions);
                }
            }
            if positions.capacity() <= POSITIONS_KEPT {
                positions.clear();
                source.positions = positions;
            }
            self.go_on_without(*key);
        }
        if self.dirty.is_empty() {
            self.dirty = keys;
            self.dirty.clear();
        }
        written
    }

    /// Lets the next consumer take the place of one that was cancelled, if everything it was delivered is settled, and drops
    /// the source if it is done.
    pub(crate) fn go_on_without(&mut self, key: u32) {
        let Some(source) = self.get_mut(key) else { return };
        if source.hand_over == HandOver::OnceSettled && source.outstanding == 0 && source.is_clean() {
            source.give_up_place();
        }
        self.drop_if_done(key);
    }

    /// Drops a source that delivers no more, has nothing outstanding and nothing to tell its queue.
    pub(crate) fn drop_if_done(&mut self, key: u32) {
        if let Some(slot) = self.slots.get_mut(key as usize)
            && slot.as_ref().is_some_and(Source::is_done)
        {
            *slot = None;
            self.free.push(key);
        }
    }

    /// Keys of all sources.
    pub(crate) fn keys(&self) -> Vec<u32> {
        (0..).zip(&self.slots).filter(|(_, slot)| slot.is_some()).map(|(key, _)| key).collect()
    }

    /// Keys of a channel's sources.
    pub(crate) fn keys_of(&self, channel: u16) -> Vec<u32> {
        (0..)
            .zip(&self.slots)
            .filter(|(_, slot)| slot.as_ref().is_some_and(|s| s.channel == channel))
            .map(|(key, _)| key)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret_broker::mailbox::Mailbox;
    use leveret_broker::message::Draft;
    use leveret_broker::queue::{Fanout, QueueCounts, QueueInfo, Subscriber, Subscription};

    const CHANNEL: u16 = 1;

    fn cell() -> Arc<QueueCell> {
        let info =
            QueueInfo { id: QueueId(1), vhost: "/".into(), name: "q".into(), auto_delete: false, durable: false };
        Arc::new(QueueCell::new(info))
    }

    fn message() -> Message {
        Draft::new(Vec::new(), "", "q").message()
    }

    /// A consumer that was handed so many messages, by its key.
    fn consumer(sources: &mut Sources, queue: &Arc<QueueCell>, messages: u32) -> u32 {
        let (sink, key) = (Arc::new(Mailbox::default()), sources.next_key());
        let (tag, no_ack, exclusive, priority, prefetch) = ("tag".into(), false, false, 0, 0);
        let publisher = Arc::clone(&sink);
        let subscription = Subscription {
            sink,
            key,
            tag,
            no_ack,
            exclusive,
            priority,
            prefetch,
            shared: None,
            subscriber: Subscriber::default(),
        };
        let id = queue.subscribe(subscription).unwrap();
        queue.enqueue(&mut vec![message(); messages as usize], Fanout::One, &publisher);
        let added = sources.add(CHANNEL, "tag".into(), false, SourceKind::Consumer { queue: Arc::clone(queue), id });
        assert_eq!(added, key);
        sources.get_mut(key).unwrap().outstanding = messages;
        key
    }

    fn stop(sources: &mut Sources, key: u32) {
        let source = sources.get_mut(key).unwrap();
        source.live = false;
        if let SourceKind::Consumer { queue, id } = source.kind() {
            queue.unsubscribe(*id);
        }
        sources.drop_if_done(key);
    }

    fn counts(ready: usize, unsettled: usize, consumers: usize) -> QueueCounts {
        QueueCounts { ready, unsettled, consumers }
    }

    #[test]
    fn queues_learn_of_settlements_when_they_are_flushed() {
        let (mut sources, queue) = (Sources::default(), cell());
        let key = consumer(&mut sources, &queue, 3);
        stop(&mut sources, key);
        sources.settle(key, Position(0), &message());
        sources.requeue(key, ReturnCause::Requeued, Position(1), message());
        assert_eq!((sources.is_dirty(), queue.counts()), (true, counts(0, 3, 0)));
        sources.flush(&ConnectionCounters::default());
        assert_eq!((sources.is_dirty(), queue.counts()), (false, counts(1, 1, 0)));
    }

    #[test]
    fn a_source_lives_until_it_is_stopped_settled_and_flushed() {
        let (mut sources, queue) = (Sources::default(), cell());
        let idle = consumer(&mut sources, &queue, 0);
        sources.drop_if_done(idle);
        assert!(sources.get(idle).is_some(), "it may be handed something");
        stop(&mut sources, idle);
        assert!(sources.get(idle).is_none());
        let key = consumer(&mut sources, &queue, 2);
        stop(&mut sources, key);
        sources.settle(key, Position(0), &message());
        sources.flush(&ConnectionCounters::default());
        assert!(sources.get(key).is_some(), "one is outstanding");
        sources.requeue(key, ReturnCause::Requeued, Position(1), message());
        sources.drop_if_done(key);
        assert!(sources.get(key).is_some(), "its queue has yet to be told");
        sources.flush(&ConnectionCounters::default());
        assert!(sources.get(key).is_none());
        // Late settlements of what is gone are nobody's.
        sources.settle(key, Position(0), &message());
        sources.requeue(key, ReturnCause::Requeued, Position(1), message());
        assert!(!sources.is_dirty());
    }

    #[test]
    fn keys_are_used_again() {
        let (mut sources, queue) = (Sources::default(), cell());
        for _ in 0..10_000 {
            let keys = [(); 3].map(|()| consumer(&mut sources, &queue, 1));
            assert_eq!(sources.keys_of(CHANNEL).len(), 3);
            for key in keys {
                stop(&mut sources, key);
                sources.settle(key, Position(0), &message());
            }
            sources.flush(&ConnectionCounters::default());
        }
        assert_eq!((sources.slots.len(), sources.free.len(), sources.dirty.len()), (3, 3, 0));
        assert_eq!(queue.counts(), counts(0, 0, 0));
    }

    #[test]
    fn a_queue_has_one_getter_per_channel() {
        let (mut sources, queue, other) = (Sources::default(), cell(), cell());
        let key = sources.getter(CHANNEL, &queue);
        assert_eq!(sources.getter(CHANNEL, &queue), key);
        assert_ne!(sources.getter(CHANNEL, &other), key);
        assert_ne!(sources.getter(CHANNEL + 1, &queue), key);
    }
}
