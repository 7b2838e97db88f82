//! Where a connection's deliveries come from: its consumers, and the queues it got messages from by basic.get.

use std::sync::Arc;

use leveret_broker::Name;
use leveret_broker::message::Message;
use leveret_broker::queue::{ConsumerId, Position, QueueCell};

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
    /// Deliveries not settled.
    pub(crate) outstanding: u32,
    /// Deliveries settled in this turn, which the queue has yet to be told.
    settled: u32,
    /// Messages requeued in this turn, which the queue has yet to be given.
    requeued: Vec<(Position, Message)>,
    kind: SourceKind,
}

impl Source {
    /// What it is.
    pub(crate) fn kind(&self) -> &SourceKind {
        &self.kind
    }

    fn queue(&self) -> Option<(&Arc<QueueCell>, Option<ConsumerId>)> {
        match &self.kind {
            SourceKind::Consumer { queue, id } => Some((queue, Some(*id))),
            SourceKind::Get { queue } => Some((queue, None)),
            SourceKind::Replies { .. } => None,
        }
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
        let source =
            Source { channel, tag, no_ack, live: true, outstanding: 0, settled: 0, requeued: Vec::new(), kind };
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
    pub(crate) fn settle(&mut self, key: u32) {
        let Some(source) = self.slots.get_mut(key as usize).and_then(Option::as_mut) else { return };
        if source.settled == 0 && source.requeued.is_empty() {
            self.dirty.push(key);
        }
        source.settled += 1;
        source.outstanding = source.outstanding.saturating_sub(1);
    }

    /// Gives one message back; its queue gets it by [`Sources::flush`].
    pub(crate) fn requeue(&mut self, key: u32, position: Position, message: Message) {
        let Some(source) = self.slots.get_mut(key as usize).and_then(Option::as_mut) else { return };
        if source.settled == 0 && source.requeued.is_empty() {
            self.dirty.push(key);
        }
        source.requeued.push((position, message));
        source.outstanding = source.outstanding.saturating_sub(1);
    }

    /// Whether some queue has yet to be told something.
    pub(crate) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Tells every queue what was settled and requeued, and drops sources that are done.
    pub(crate) fn flush(&mut self) {
        while let Some(key) = self.dirty.pop() {
            let Some(source) = self.slots.get_mut(key as usize).and_then(Option::as_mut) else { continue };
            let settled = std::mem::take(&mut source.settled);
            let mut requeued = std::mem::take(&mut source.requeued);
            if let Some((queue, consumer)) = source.queue() {
                if !requeued.is_empty() && source.no_ack {
                    queue.take_back(&mut requeued);
                } else if !requeued.is_empty() {
                    queue.requeue(consumer, &mut requeued);
                }
                if settled > 0 {
                    queue.settle(consumer, settled);
                }
            }
            self.drop_if_done(key);
        }
    }

    /// Drops a source that delivers no more and has nothing outstanding.
    pub(crate) fn drop_if_done(&mut self, key: u32) {
        if let Some(slot) = self.slots.get_mut(key as usize)
            && slot.as_ref().is_some_and(|source| {
                !source.live && source.outstanding == 0 && source.settled == 0 && source.requeued.is_empty()
            })
        {
            *slot = None;
            self.free.push(key);
        }
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
