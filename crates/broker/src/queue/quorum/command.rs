//! What a quorum queue is told to do, as values.
//!
//! A command has everything that decides what it comes to, the time as well, and speaks of messages by their positions. So a
//! queue that is told the same commands in the same order is in the same state, as far as its consumers have room.

use std::ops::Range;

use crate::Name;
use crate::Weight;
use crate::clock::Timestamp;
use crate::message::Message;
use crate::queue::classic::{Classic, ExclusiveUse};
use crate::queue::{ConsumerId, Position, ReturnCause, Returned, Sink, Subscriber, Subscription, Taken};

/// What a quorum queue is told to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// Take in messages, in order.
    Enqueue {
        /// The messages.
        messages: Vec<Message>,
    },
    /// Serve a consumer from now on.
    Checkout(Checkout),
    /// Serve a consumer no more.
    Cancel {
        /// The consumer.
        consumer: ConsumerId,
    },
    /// Let another consumer take the place of one that is gone and has given everything back.
    HandOver {
        /// The one that is gone.
        consumer: ConsumerId,
    },
    /// Hand out the first message (basic.get).
    Take {
        /// Whether that settles it.
        no_ack: bool,
    },
    /// Let go of messages that were handed out.
    Settle {
        /// Who had them; none for basic.get.
        consumer: Option<ConsumerId>,
        /// How many count as settled by that: those of a consumer without acknowledgements did before.
        count: u32,
        /// Where they stood.
        positions: Vec<Range<u64>>,
    },
    /// Take messages back.
    Return {
        /// The messages, each lot in the order in which they come back.
        lots: Vec<ReturnedLot>,
    },
    /// Let messages die that their consumer does not want.
    Reject {
        /// Who had them; none for basic.get.
        consumer: Option<ConsumerId>,
        /// Where they stood.
        positions: Vec<Position>,
    },
    /// Drop everything that waits.
    Purge,
    /// Do what is due.
    Wake,
}

/// A consumer as a queue has to know it to serve it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// The subscriber's own key for it.
    pub key: u32,
    /// Its tag.
    pub tag: Name,
    /// Whether deliveries count as settled at once.
    pub no_ack: bool,
    /// Higher is served first.
    pub priority: i32,
    /// Most unsettled deliveries at a time; 0 is no limit.
    pub prefetch: u16,
}

/// Messages that come back from one consumer for one reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReturnedLot {
    /// Who had them; none for basic.get.
    pub consumer: Option<ConsumerId>,
    /// Whether they counted as settled when they were handed out.
    pub settled: bool,
    /// Why they come back.
    pub cause: ReturnCause,
    /// Where they stood, in the order in which they come back.
    pub positions: Vec<Position>,
}

impl From<Returned> for ReturnedLot {
    fn from(returned: Returned) -> Self {
        let Returned { consumer, settled, cause, messages } = returned;
        Self { consumer, settled, cause, positions: messages.into_iter().map(|(position, _)| position).collect() }
    }
}

/// What a command came to.
#[derive(Debug)]
pub enum Outcome<S> {
    /// Nothing to be said of.
    Done,
    /// There is a new consumer, or cannot be one.
    Subscribed(Result<ConsumerId, ExclusiveUse>),
    /// A consumer is gone, and perhaps was the single active one.
    Cancelled(Option<(Subscription<S>, bool)>),
    /// What the first message was.
    Taken(Taken),
    /// So many messages were dropped, from these positions.
    Purged(usize, Vec<Range<u64>>),
}

impl<S: Sink> Classic<S> {
    /// Does what a quorum queue is told. A consumer comes with where its deliveries go.
    pub fn apply(&mut self, at: Timestamp, command: Command, sink: Option<S>) -> Outcome<S> {
        self.set_now(at);
        match command {
            Command::Enqueue { mut messages } => self.enqueue(&mut messages),
            Command::Checkout(checkout) => {
                let Some(sink) = sink else { return Outcome::Done };
                let Checkout { key, tag, no_ack, priority, prefetch } = checkout;
                let (exclusive, shared) = (false, None);
                // Whose it is decides nothing, and is told to the queue beside.
                let subscriber = Subscriber::default();
                let subscription =
                    Subscription { sink, key, tag, no_ack, exclusive, priority, prefetch, shared, subscriber };
                return Outcome::Subscribed(self.subscribe(subscription));
            }
            Command::Cancel { consumer } => return Outcome::Cancelled(self.unsubscribe(consumer)),
            Command::HandOver { consumer } => self.hand_over(consumer),
            Command::Take { no_ack } => return Outcome::Taken(self.take(no_ack)),
            Command::Settle { consumer, count, positions } => {
                self.forget(&positions);
                self.settle(consumer, count, Weight::default());
            }
            Command::Return { lots } => self.take_back_lots(lots),
            Command::Reject { consumer, positions } => self.reject_at(consumer, positions),
            Command::Purge => {
                let (count, positions) = self.purge();
                return Outcome::Purged(count, positions);
            }
            Command::Wake => self.go_on(),
        }
        Outcome::Done
    }
}
