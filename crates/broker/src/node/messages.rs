//! What callers without a connection do with messages: publish one, take some out of a queue, settle them.

use std::sync::Arc;

use super::{Node, Published, Routed};
use crate::mailbox::Mailbox;
use crate::message::Message;
use crate::properties::Composed;
use crate::queue::{Fanout, Position, QueueCell, QueueKind, ReturnCause, Returned, Settled, Taken, push_position};
use crate::stats::ConnectionCounters;
use crate::store::StorePosition;
use crate::tap::{Passing, Way};
use crate::topology::{ConnectionId, Routes, RoutingInput};
use crate::{Error, Name, Weight};

/// What the tokens of direct replies begin with.
const REPLY_PREFIX: &str = "amq.rabbitmq.reply-to.";

/// A caller without a connection.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The vhost that it acts in.
    pub vhost: &'a Name,
    /// Who it is.
    pub user: &'a Name,
    /// What it is told to be called, where a connection would be named.
    pub name: &'a str,
}

/// What a caller wants done with messages that it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// They are done with.
    Done,
    /// They go back to where they were.
    Requeue,
    /// The same, but count as handed out in vain.
    Fail,
    /// They are not wanted, and may be dead-lettered.
    Reject,
}

/// Messages that a caller took out of a queue, until it settles them. They go back if it does not.
#[derive(Debug)]
pub struct Held {
    cell: Arc<QueueCell>,
    messages: Vec<(Position, Message)>,
    /// What taking them counts for.
    counters: ConnectionCounters,
}

impl Node {
    /// Publishes a message as a client does, under the rules for clients; rights are the caller's to check. A queue that wants its
    /// publishers to pause tells the mailbox when they can go on. To be called without a lock.
    pub fn publish_for(
        &self,
        caller: &Caller<'_>,
        composed: &Composed,
        mailbox: &Arc<Mailbox>,
    ) -> Result<Published, Error> {
        let Composed { message, extra_keys } = composed;
        let (exchange, key) = (message.exchange(), message.routing_key());
        let keys = std::iter::once(key).chain(extra_keys.iter().map(String::as_str));
        let is_reply = |key: &&str| exchange.is_empty() && key.starts_with(REPLY_PREFIX);
        let (replies, keys): (Vec<&str>, Vec<&str>) = keys.partition(is_reply);
        let input = RoutingInput {
            routing_keys: &keys,
            message,
            properties: &*self.properties,
            entropy: self.draw(),
            now: self.now(),
        };
        let routed = self.route(caller.vhost, exchange, &input, &mut Routes::default())?;
        let Routed { queues, delays, due, is_withheld, counters, .. } = routed;
        counters.add(1, queues.len() as u64);
        let replies: Vec<Name> = replies.into_iter().map(Name::from).collect();
        self.tap(caller, message, Way::Published { queues: &queues, replies: &replies });
        let mut published = Published {
            is_delayed: !delays.is_empty(),
            is_taken: is_withheld || !replies.is_empty(),
            ..Published::default()
        };
        for token in &replies {
            self.reply(token, message);
        }
        let fanout = if queues.len() > 1 { Fanout::Many } else { Fanout::One };
        for cell in queues {
            let enqueued = cell.enqueue(&mut vec![message.clone()], fanout, mailbox);
            if enqueued.refused.is_empty() {
                published.queues += 1;
            } else {
                published.refused += 1;
            }
            published.stored = published.stored.max(enqueued.stored);
        }
        for cell in delays {
            published.stored = published.stored.max(cell.hold(&mut vec![message.held_until(due)]).stored);
        }
        self.count_publish(caller.vhost, message, &published);
        self.deliver_dead_letters();
        Ok(published)
    }

    /// The queue of that name for a caller that wants to take messages out of it; rights are its to check.
    pub fn hold(&self, caller: &Caller<'_>, queue: &str, asking: ConnectionId) -> Result<Held, Error> {
        let cell = self.queue(caller.vhost, queue, asking)?;
        if cell.has_single_active_consumer() && cell.kind() == QueueKind::Quorum {
            return Err(Error::SingleActive { queue: cell.resource() });
        }
        Ok(Held { cell, messages: Vec::new(), counters: ConnectionCounters::default() })
    }

    /// Takes the first message that waits, and says how many wait behind it. One that is on disk only cannot be taken yet: the mailbox
    /// is told when it is worth another try.
    pub fn take(&self, caller: &Caller<'_>, held: &mut Held, mailbox: &Arc<Mailbox>) -> Result<(Taken, usize), Error> {
        let (taken, waiting) = held.cell.take(false, mailbox)?;
        let counters = held.counters.of_kind(held.cell.kind());
        match &taken {
            Taken::Message(position, message, redelivered) => {
                counters.get.add(1);
                counters.redeliver.add((*redelivered).into());
                let way = Way::Delivered { queue: &held.cell.info().name, redelivered: *redelivered };
                self.tap(caller, message, way);
                held.messages.push((*position, message.clone()));
            }
            Taken::Nothing => counters.get_empty.add(1),
            Taken::OnDisk => {}
        }
        // Those before it may have expired.
        self.deliver_dead_letters();
        Ok((taken, waiting))
    }

    /// Settles what was taken. Gives the position of the log with which that is on disk, if it has to be there.
    pub fn settle(&self, mut held: Held, settlement: Settlement) -> Option<StorePosition> {
        let messages = std::mem::take(&mut held.messages);
        if settlement == Settlement::Done {
            held.counters.of_kind(held.cell.kind()).ack.add(messages.len() as u64);
        }
        self.count_apart(&held.cell.info().vhost, &held.counters);
        let written = held.settle(messages, settlement);
        self.deliver_dead_letters();
        written
    }

    fn count_publish(&self, vhost: &str, message: &Message, outcome: &Published) {
        let counters = ConnectionCounters::default();
        let publishes = &counters.publishes;
        publishes.published.add(1);
        publishes.received_confirm.add(1);
        publishes.confirmed.add((outcome.refused == 0).into());
        publishes.routed.add((outcome.queues + outcome.refused) as u64);
        publishes.dropped.add((!outcome.is_routed()).into());
        counters.sizes.add(message.body_size() as u64);
        self.count_apart(vhost, &counters);
    }

    fn tap(&self, caller: &Caller<'_>, message: &Message, way: Way<'_>) {
        let Caller { vhost, user, name } = *caller;
        let passing = Passing { message, way, vhost, user, connection: name, channel: 0 };
        for tap in self.taps(vhost) {
            tap.pass(self, &passing);
        }
    }
}

impl Held {
    fn settle(&self, mut messages: Vec<(Position, Message)>, settlement: Settlement) -> Option<StorePosition> {
        match settlement {
            Settlement::Done => {
                // A queue gives them out by priority, not in the order of their places.
                messages.sort_unstable_by_key(|(position, _)| *position);
                let mut positions = Vec::new();
                let mut weight = Weight::default();
                for (position, message) in &messages {
                    push_position(&mut positions, *position);
                    weight += Weight::of(message);
                }
                let acknowledged = u32::try_from(messages.len()).unwrap_or(u32::MAX);
                self.cell.settle_all(None, Settled { acknowledged, rejected: 0, weight }, &positions)
            }
            Settlement::Requeue => {
                self.cell.requeue(None, &mut messages);
                None
            }
            Settlement::Fail => {
                let (consumer, cause) = (None, ReturnCause::Failed);
                self.cell.put_back(&mut vec![Returned { consumer, settled: false, cause, messages }]);
                None
            }
            Settlement::Reject => self.cell.reject(None, messages),
        }
    }
}

impl Drop for Held {
    /// Whoever took them went without a word.
    fn drop(&mut self) {
        let messages = std::mem::take(&mut self.messages);
        if !messages.is_empty() {
            self.settle(messages, Settlement::Fail);
        }
    }
}
