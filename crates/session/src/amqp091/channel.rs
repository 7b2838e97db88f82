//! What a connection keeps per channel.

use std::sync::Arc;

use leveret_broker::Name;
use leveret_broker::clock::Timestamp;
use leveret_broker::delay::DelayCell;
use leveret_broker::message::{Draft, Message};
use leveret_broker::queue::{QueueCell, SharedPrefetch};
use leveret_broker::stats::{ExchangeCounters, MessageStats};

use super::confirm::Confirms;
use super::parking::Parked;
use super::routes::Hints;
use super::unsettled::{Delivered, Unsettled};

/// A publish whose content is still coming.
#[derive(Debug)]
pub(crate) struct Publishing {
    /// The message as far as it has come.
    pub(crate) draft: Draft,
    /// How long it lives, in milliseconds (`expiration`); none also if it is no number, which is refused later.
    pub(crate) ttl_ms: Option<u64>,
    /// Whether it comes back if it is routed nowhere.
    pub(crate) mandatory: bool,
    /// Whether the client asked for what nobody implements.
    pub(crate) immediate: bool,
    /// Octets of body announced.
    pub(crate) body_size: u64,
}

impl Publishing {
    /// A publish on a channel that is closed: nobody will look at it.
    pub(crate) fn ignored() -> Self {
        Self { draft: Draft::default(), ttl_ms: None, mandatory: false, immediate: false, body_size: 0 }
    }
}

/// What the next frame of a channel has to be.
#[derive(Debug, Default)]
pub(crate) enum Expecting {
    /// A method.
    #[default]
    Method,
    /// The header of a publish.
    Header(Publishing),
    /// More body of a publish: octets to come.
    Body(Publishing, u64),
}

/// Whether a channel works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelPhase {
    /// It does.
    Open,
    /// The server closed it and waits for close-ok; everything else is ignored.
    Closing,
}

/// How publishes and settlements take effect.
#[derive(Debug)]
pub(crate) enum Mode {
    /// At once.
    Plain,
    /// At once, and publishes are confirmed.
    Confirm(Confirms),
    /// At commit.
    Transaction(Transaction),
}

/// What a transaction holds back.
#[derive(Debug, Default)]
pub(crate) struct Transaction {
    /// Messages with their queues, and whether they come back when there is none.
    pub(crate) published: Vec<(Message, Held, bool)>,
    /// Settlements in order.
    pub(crate) settled: Vec<(Settlement, Vec<Delivered>)>,
    /// Whether a queue refused a message of the commit at hand.
    pub(crate) is_refused: bool,
}

/// Where a message goes that is held back by a transaction, or whose route is not kept.
#[derive(Debug)]
pub(crate) struct Held {
    /// To these queues.
    pub(crate) queues: Vec<Arc<QueueCell>>,
    /// To the consumers of direct replies under these tokens.
    pub(crate) replies: Vec<Name>,
    /// To exchanges that hold it back until this time.
    pub(crate) delays: Vec<Arc<DelayCell>>,
    pub(crate) due: Timestamp,
    /// Whether an exchange kept it from everybody, so that it is not unroutable.
    pub(crate) is_withheld: bool,
    /// What counts the messages that are published to its exchange.
    pub(crate) counters: Arc<ExchangeCounters>,
}

impl Held {
    /// To queues, from an exchange that counts here.
    pub(crate) fn of(queues: Vec<Arc<QueueCell>>, counters: Arc<ExchangeCounters>) -> Self {
        let (replies, delays, due, is_withheld) = (Vec::new(), Vec::new(), Timestamp::default(), false);
        Self { queues, replies, delays, due, is_withheld, counters }
    }

    /// Whether nobody takes the message.
    pub(crate) fn is_unroutable(&self) -> bool {
        self.queues.is_empty() && self.replies.is_empty() && self.delays.is_empty() && !self.is_withheld
    }

    /// What those who take it want.
    pub(crate) fn hints(&self) -> Hints {
        let mut hints = Hints::of(&self.queues);
        hints.is_durable |= self.delays.iter().any(|delay| delay.info().durable);
        hints
    }
}

/// What a client decided about deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// They are done with.
    Done,
    /// The client does not want them, and they shall not come back.
    Reject,
    /// They go back to their queue.
    Requeue,
    /// They go back to their queue, and that counts as a failure where failures count.
    Fail,
}

/// A channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) phase: ChannelPhase,
    /// Set while the channel waits for the disk.
    pub(crate) parked: Option<Box<Parked>>,
    pub(crate) expecting: Expecting,
    pub(crate) mode: Mode,
    /// The queue that an empty name stands for.
    pub(crate) last_queue: Option<Name>,
    /// The name of the queue that is about to be declared without one.
    pub(crate) generated: Option<Name>,
    /// Prefetch of consumers to come (`basic.qos`).
    pub(crate) prefetch: u16,
    /// Prefetch that the channel's consumers share (`basic.qos` with `global`).
    pub(crate) shared_prefetch: Option<Arc<SharedPrefetch>>,
    /// Limited deliveries settled in this turn, to be released.
    pub(crate) released: u32,
    /// Delivery tag of the last delivery.
    pub(crate) delivery_tag: u64,
    pub(crate) unsettled: Unsettled,
    /// Consumer tags with the keys of their sources.
    pub(crate) consumers: Vec<(Name, u32)>,
    /// The key of the consumer of direct replies.
    pub(crate) reply_consumer: Option<(Name, u32)>,
    /// What happened to its messages.
    pub(crate) stats: MessageStats,
}

impl Channel {
    pub(crate) fn new() -> Self {
        Self {
            phase: ChannelPhase::Open,
            parked: None,
            expecting: Expecting::Method,
            mode: Mode::Plain,
            last_queue: None,
            generated: None,
            prefetch: 0,
            shared_prefetch: None,
            released: 0,
            delivery_tag: 0,
            unsettled: Unsettled::default(),
            consumers: Vec::new(),
            reply_consumer: None,
            stats: MessageStats::default(),
        }
    }

    /// The source key of a consumer.
    pub(crate) fn consumer(&self, tag: &str) -> Option<u32> {
        self.consumers.iter().find(|(name, _)| **name == *tag).map(|(_, key)| *key)
    }

    /// Everything the channel holds unsettled, in or out of a transaction.
    pub(crate) fn take_all_unsettled(&mut self) -> Vec<Delivered> {
        let mut all = self.unsettled.take_through(0);
        if let Mode::Transaction(transaction) = &mut self.mode {
            all.extend(transaction.settled.drain(..).flat_map(|(_, delivered)| delivered));
        }
        all
    }
}

/// The channels of a connection by number.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    slots: Vec<Option<Box<Channel>>>,
    count: usize,
}

impl Channels {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, number: u16) -> Option<&mut Channel> {
        self.slots.get_mut(usize::from(number))?.as_deref_mut()
    }

    pub(crate) fn get(&self, number: u16) -> Option<&Channel> {
        self.slots.get(usize::from(number))?.as_deref()
    }

    pub(crate) fn open(&mut self, number: u16) {
        let index = usize::from(number);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || None);
        }
        if let Some(slot) = self.slots.get_mut(index) {
            self.count += usize::from(slot.is_none());
            *slot = Some(Box::new(Channel::new()));
        }
    }

    pub(crate) fn remove(&mut self, number: u16) {
        if let Some(slot) = self.slots.get_mut(usize::from(number)) {
            self.count -= usize::from(slot.take().is_some());
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Channel> {
        self.slots.iter().flatten().map(|channel| &**channel)
    }

    pub(crate) fn numbers(&self) -> Vec<u16> {
        (0..=u16::MAX).zip(&self.slots).filter(|(_, slot)| slot.is_some()).map(|(number, _)| number).collect()
    }
}
