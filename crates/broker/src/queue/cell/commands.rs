//! How a cell tells its queue what to do: a quorum queue by commands, a classic one directly.

use std::ops::Range;
use std::sync::Arc;

use super::State;
use crate::Weight;
use crate::mailbox::Mailbox;
use crate::message::Message;
use crate::queue::classic::ExclusiveUse;
use crate::queue::quorum::{Checkout, Command, Outcome};
use crate::queue::{ConsumerId, Position, Returned, Settled, Subscription, Taken};

impl State {
    fn tell(&mut self, command: Command) -> Outcome<Arc<Mailbox>> {
        self.queue.apply(self.queue.now(), command, None)
    }

    #[inline]
    pub(super) fn take_in(&mut self, batch: &mut Vec<Message>, weight: Option<Weight>) {
        if self.queue.is_quorum() {
            self.tell(Command::Enqueue { messages: std::mem::take(batch) });
        } else {
            self.queue.enqueue_weighed(batch, weight);
        }
    }

    pub(super) fn subscribe(&mut self, subscription: Subscription<Arc<Mailbox>>) -> Result<ConsumerId, ExclusiveUse> {
        if !self.queue.is_quorum() {
            return self.queue.subscribe(subscription);
        }
        let Subscription { sink, key, tag, no_ack, priority, prefetch, exclusive: _, shared: _, subscriber } =
            subscription;
        let command = Command::Checkout(Checkout { key, tag, no_ack, priority, prefetch });
        match self.queue.apply(self.queue.now(), command, Some(sink)) {
            Outcome::Subscribed(subscribed) => {
                if let Ok(id) = subscribed {
                    self.queue.introduce(id, subscriber);
                }
                subscribed
            }
            _ => Err(ExclusiveUse),
        }
    }

    /// Says whether it was there, and whether it was the single active consumer.
    pub(super) fn unsubscribe(&mut self, consumer: ConsumerId) -> Option<bool> {
        let removed = if self.queue.is_quorum() {
            match self.tell(Command::Cancel { consumer }) {
                Outcome::Cancelled(removed) => removed,
                _ => None,
            }
        } else {
            self.queue.unsubscribe(consumer)
        };
        removed.map(|(_, was_active)| was_active)
    }

    pub(super) fn hand_over(&mut self, gone: ConsumerId) {
        if self.queue.is_quorum() {
            self.tell(Command::HandOver { consumer: gone });
        } else {
            self.queue.hand_over(gone);
        }
    }

    pub(super) fn take(&mut self, no_ack: bool) -> Taken {
        if !self.queue.is_quorum() {
            return self.queue.take(no_ack);
        }
        match self.tell(Command::Take { no_ack }) {
            Outcome::Taken(taken) => taken,
            _ => Taken::Nothing,
        }
    }

    #[inline]
    pub(super) fn settle(&mut self, consumer: Option<ConsumerId>, settled: Settled, positions: &[Range<u64>]) {
        let count = settled.count();
        if self.queue.is_quorum() {
            self.tell(Command::Settle { consumer, count, positions: positions.to_vec() });
        } else {
            self.queue.settle(consumer, count, settled.weight);
        }
    }

    /// What stood at these positions is not the queue's any more.
    pub(super) fn let_go(&mut self, positions: &[Range<u64>]) {
        if self.queue.is_quorum() && !self.closed {
            self.tell(Command::Settle { consumer: None, count: 0, positions: positions.to_vec() });
        }
    }

    pub(super) fn reject(&mut self, consumer: Option<ConsumerId>, messages: Vec<(Position, Message)>) {
        if self.queue.is_quorum() {
            let positions = messages.into_iter().map(|(position, _)| position).collect();
            self.tell(Command::Reject { consumer, positions });
        } else {
            self.queue.reject(consumer, messages);
        }
    }

    pub(super) fn put_back(&mut self, returned: &mut Vec<Returned>) {
        if self.queue.is_quorum() {
            self.tell(Command::Return { lots: returned.drain(..).map(Into::into).collect() });
        } else {
            self.queue.put_back(returned);
        }
    }

    pub(super) fn purge(&mut self) -> (usize, Vec<Range<u64>>) {
        if !self.queue.is_quorum() {
            return self.queue.purge();
        }
        match self.tell(Command::Purge) {
            Outcome::Purged(count, positions) => (count, positions),
            _ => (0, Vec::new()),
        }
    }

    pub(super) fn wake(&mut self) {
        if self.queue.is_quorum() {
            self.tell(Command::Wake);
        } else {
            self.queue.go_on();
        }
    }
}
