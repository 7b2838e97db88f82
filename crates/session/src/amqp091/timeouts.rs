//! Deliveries that have to be settled in time (`x-consumer-timeout`).
//!
//! A source with a timeout remembers when its deliveries went out, not one by one but in runs, each as old as its first. A
//! session says when the first run may be overdue and looks into the runs then, so that settling costs nothing.

use std::collections::VecDeque;

use leveret_broker::Name;
use leveret_broker::clock::Timestamp;
use leveret_broker::queue::QueueKind;
use leveret_broker::topology::QueueId;
use leveret_protocol::amqp091::method::BasicCancel;
use leveret_protocol::amqp091::{ReplyCode, frame};

use super::channel::{Expecting, Publishing, Settlement};
use super::fault::Fault;
use super::sources::{Source, SourceKind, Sources};
use super::unsettled::Unsettled;
use super::{Capabilities, NO_METHOD, Phase, Session};

/// The longest time that deliveries of one run lie apart, in milliseconds: by so much a timeout may be late.
const RUN_MS_MAX: u64 = 500;
/// Into how many runs the deliveries of one timeout are divided, if that makes them shorter.
const RUNS_PER_TIMEOUT: u64 = 16;
/// Runs that are kept before those are looked for of which everything is settled.
const RUNS_KEPT: usize = 64;
/// Milliseconds until a look again at a channel whose settlements cannot be handled at the moment.
const LOOK_AGAIN_MS: u64 = 500;

/// Deliveries that went out at about the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    /// The tag of the first one; the last one is before the next run.
    first_tag: u64,
    /// When the first one went out.
    since: Timestamp,
}

/// How long a source's deliveries may stay unsettled, and since when they are.
#[derive(Debug, Default)]
pub(crate) struct Timeout {
    /// What the consumer asked for itself; 0 is for ever.
    own_ms: Option<u64>,
    /// What holds: 0 is for ever.
    ms: u64,
    runs: VecDeque<Run>,
    /// Runs above which those are looked for that are settled.
    runs_max: usize,
}

impl Timeout {
    /// Sets what the consumer asked for itself, and what its queue says.
    pub(crate) fn set(&mut self, own_ms: Option<u64>, queue_ms: Option<u64>) {
        self.own_ms = own_ms;
        self.set_queue_ms(queue_ms);
    }

    /// Sets what the queue says; what the consumer asked for itself goes before it.
    pub(crate) fn set_queue_ms(&mut self, queue_ms: Option<u64>) {
        self.ms = self.own_ms.or(queue_ms).unwrap_or(0);
        if self.ms == 0 {
            self.runs = VecDeque::new();
        }
    }

    /// Whether there is any.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.ms > 0
    }

    fn run_ms(&self) -> u64 {
        (self.ms / RUNS_PER_TIMEOUT).clamp(1, RUN_MS_MAX)
    }

    /// Takes note of a delivery. `unsettled` is what the channel holds, this one included, and `others` how many of them are
    /// of the same source.
    fn delivered(&mut self, tag: u64, now: Timestamp, key: u32, others: u32, unsettled: &Unsettled) {
        if others == 0 {
            self.runs.clear();
        }
        if self.runs.back().is_some_and(|last| now.ms_since(last.since) < self.run_ms()) {
            return;
        }
        self.runs.push_back(Run { first_tag: tag, since: now });
        if self.runs.len() > self.runs_max.max(RUNS_KEPT) {
            self.forget_settled(key, unsettled);
            self.runs_max = self.runs.len() * 2;
        }
    }

    /// When the first run is overdue as a whole.
    fn due(&self) -> Option<Timestamp> {
        Some(self.runs.front()?.since.plus_ms(self.ms).plus_ms(self.run_ms()))
    }

    /// Drops the runs of which the channel holds nothing unsettled.
    fn forget_settled(&mut self, key: u32, unsettled: &Unsettled) {
        let Some(first) = self.runs.front() else { return };
        let mut held = unsettled.tags_of(key, first.first_tag).peekable();
        let mut kept = VecDeque::new();
        while let Some(run) = self.runs.pop_front() {
            let end = self.runs.front().map_or(u64::MAX, |next| next.first_tag);
            if held.peek().is_some_and(|tag| *tag < end) {
                kept.push_back(run);
            }
            while held.next_if(|tag| *tag < end).is_some() {}
        }
        self.runs = kept;
    }

    /// Drops the runs that are overdue; gives back the tag before which everything is.
    fn take_overdue(&mut self, now: Timestamp) -> u64 {
        while self.due().is_some_and(|due| due <= now) {
            self.runs.pop_front();
        }
        self.runs.front().map_or(u64::MAX, |next| next.first_tag)
    }
}

/// What is done about a delivery that was not settled in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Consequence {
    /// The channel is closed.
    ChannelClosed,
    /// The consumer is cancelled, and its queue gets back what is overdue.
    ConsumerCancelled,
}

impl Consequence {
    fn of(source: &Source, capabilities: Capabilities) -> Self {
        let SourceKind::Consumer { queue, .. } = source.kind() else { return Self::ChannelClosed };
        match queue.kind() {
            QueueKind::Quorum if capabilities.consumer_cancel_notify => Self::ConsumerCancelled,
            QueueKind::Quorum | QueueKind::Classic => Self::ChannelClosed,
        }
    }
}

/// The first moment at which a delivery of a connection may be overdue.
#[derive(Debug, Default)]
pub(crate) struct Deadline(Option<Timestamp>);

impl Deadline {
    fn note(&mut self, due: Option<Timestamp>) {
        if let Some(due) = due {
            self.0 = Some(self.0.map_or(due, |earlier| earlier.min(due)));
        }
    }

    /// Takes note of a delivery of a source with a timeout, which is in `unsettled` already and counted as outstanding.
    pub(crate) fn delivered(
        &mut self,
        (key, source): (u32, &mut Source),
        tag: u64,
        now: Timestamp,
        unsettled: &Unsettled,
    ) {
        let others = source.outstanding.saturating_sub(1);
        source.timeout.delivered(tag, now, key, others, unsettled);
        self.note(source.timeout.due());
    }
}

impl Session {
    /// When a delivery may be overdue: the end of a turn is due by then, though nothing else may happen.
    pub fn deadline(&self) -> Option<Timestamp> {
        // Once the connection is closing nothing is done about it, and it would be due for ever.
        let overdue = self.deadline.0.filter(|_| self.phase == Phase::Running);
        [overdue, self.access_due()].into_iter().flatten().min()
    }

    /// The time by the node's clock.
    pub fn now(&self) -> Timestamp {
        self.node.now()
    }

    /// Does what follows for deliveries that were not settled in time.
    pub(super) fn check_timeouts(&mut self, out: &mut Vec<u8>) {
        if self.deadline.0.is_none() || self.phase != Phase::Running {
            return;
        }
        let now = self.node.now();
        while self.deadline.0.is_some_and(|due| due <= now) {
            self.deadline = Deadline::default();
            let Some(key) = self.next_overdue(now) else { return };
            let Some(source) = self.sources.get(key) else { return };
            // Others may be overdue as well.
            self.deadline.note(Some(now));
            match Consequence::of(source, self.capabilities) {
                Consequence::ChannelClosed => self.close_overdue(source.channel, source.timeout.ms, out),
                Consequence::ConsumerCancelled => self.cancel_overdue(key, now, out),
            }
        }
    }

    /// A source with a delivery that is overdue. If there is none, the deadline is set anew.
    fn next_overdue(&mut self, now: Timestamp) -> Option<u32> {
        let is_stuck = self.is_stuck();
        for key in self.sources.keys() {
            let Some(source) = self.sources.get_mut(key) else { continue };
            let Some(channel) = self.channels.get(source.channel) else { continue };
            if source.timeout.due().is_some_and(|due| due <= now) {
                source.timeout.forget_settled(key, &channel.unsettled);
            }
            let Some(due) = source.timeout.due() else { continue };
            if due > now {
                self.deadline.note(Some(due));
            } else if is_stuck || channel.parked.is_some() {
                // What is overdue may be settled by frames that wait for the disk.
                self.deadline.note(Some(now.plus_ms(LOOK_AGAIN_MS)));
            } else {
                return Some(key);
            }
        }
        None
    }

    fn close_overdue(&mut self, number: u16, ms: u64, out: &mut Vec<u8>) {
        let explanation = format!(
            "delivery acknowledgement on channel {number} timed out. Timeout value used: {ms} ms. This timeout value can \
             be configured, see consumers doc guide to learn more"
        );
        // The client may be in the middle of a message, whose rest comes yet.
        let expecting = self.channels.get_mut(number).map(|channel| match channel.expecting {
            Expecting::Method => Expecting::Method,
            Expecting::Header(_) => Expecting::Header(Publishing::ignored()),
            Expecting::Body(_, octets) => Expecting::Body(Publishing::ignored(), octets),
        });
        self.close_channel_with(number, &Fault::new(ReplyCode::PreconditionFailed, explanation), NO_METHOD, out);
        if let (Some(channel), Some(expecting)) = (self.channels.get_mut(number), expecting) {
            channel.expecting = expecting;
        }
    }

    fn cancel_overdue(&mut self, key: u32, now: Timestamp, out: &mut Vec<u8>) {
        let unused = self.stop_sources(&[key]);
        // What the queue had handed over goes out before, and nothing after it.
        self.deliver(out);
        let Some(source) = self.sources.get_mut(key) else { return };
        let before = source.timeout.take_overdue(now);
        let (number, tag) = (source.channel, Name::clone(&source.tag));
        let Some(channel) = self.channels.get_mut(number) else { return };
        let overdue = channel.unsettled.release(key, before);
        let consumers = channel.consumers.len();
        channel.consumers.retain(|(_, consumer)| *consumer != key);
        if channel.consumers.len() < consumers {
            self.log_cancel(number, &tag, "it did not settle in time");
            frame::write_method(out, number, &BasicCancel { consumer_tag: &tag, no_wait: true });
        }
        for delivered in overdue {
            self.settle_one(number, Settlement::Fail, delivered);
        }
        self.flush(out);
        self.hand_over(&[key]);
        self.count_clients();
        for queue in unused {
            self.node.delete_unused(&queue);
        }
    }

    /// The time that a queue's deliveries may stay unsettled is another one now. For those that are out and had all the time
    /// in the world it begins now.
    pub(super) fn consumer_timeout_changed(&mut self, key: u32, queue: QueueId) {
        let now = self.node.now();
        let Some(source) = self.sources.get_mut(key) else { return };
        if !source.is_of(queue) {
            return;
        }
        let was_set = source.timeout.is_set();
        source.follow_queue();
        if !was_set && source.timeout.is_set() && source.outstanding > 0 {
            source.timeout.runs.push_back(Run { first_tag: 0, since: now });
        }
        self.deadline.note(source.timeout.due());
    }
}

impl Sources {
    /// Lets a source go by the time its queue gives, or by its own.
    pub(crate) fn set_timeout(&mut self, key: u32, own_ms: Option<u64>) {
        if let Some(source) = self.get_mut(key) {
            let queue_ms = source.queue_timeout_ms();
            source.timeout.set(own_ms, queue_ms);
        }
    }
}

#[cfg(test)]
mod tests;
