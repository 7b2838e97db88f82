//! Publisher confirms: which messages are confirmed when.
//!
//! Messages that nothing has to be written of are confirmed when the turn ends. Those that have to survive wait for the
//! message log; what is published after them does not wait with them.

use std::collections::VecDeque;

use leveret_broker::journal::Written;
use leveret_broker::store::{Area, StorePosition};
use leveret_protocol::amqp091::frame;
use leveret_protocol::amqp091::method::{BasicAck, BasicNack, ConnectionBlocked, ConnectionUnblocked};

use super::channel::{Channel, Mode};
use super::{Phase, Session};

/// Publisher confirms of a channel: sequence numbers count from 1.
#[derive(Debug, Default)]
pub(crate) struct Confirms {
    /// Messages published since confirm.select.
    published: u64,
    /// Messages that are confirmed or wait for the log.
    handled: u64,
    /// Messages up to here are confirmed.
    confirmed: u64,
    /// Messages of this turn that a queue refused.
    refused: Vec<u64>,
    /// Messages of this turn: where runs of the same kind end, and whether they have to be stored.
    turn: Vec<(u64, bool)>,
    /// Messages that wait for the log, in runs.
    waiting: VecDeque<Waiting>,
    /// What nobody counted yet.
    counts: Confirmed,
}

/// How many messages were published on a channel that confirms, and how many of them are confirmed. Refused ones never are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Confirmed {
    pub(crate) published: u64,
    pub(crate) confirmed: u64,
}

/// Messages that wait for the same position of the log.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    /// The last of them.
    end: u64,
    /// How many they are.
    count: u64,
    /// The position.
    position: StorePosition,
}

impl Confirms {
    /// Whether this turn published nothing yet.
    #[inline]
    pub(crate) fn is_clean(&self) -> bool {
        self.turn.is_empty()
    }

    /// Counts a message in; says its number.
    #[inline]
    pub(crate) fn publish(&mut self, is_stored: bool) -> u64 {
        self.published += 1;
        match self.turn.last_mut() {
            Some((end, same)) if *same == is_stored => *end = self.published,
            _ => self.turn.push((self.published, is_stored)),
        }
        self.published
    }

    /// Messages that are to be confirmed.
    pub(crate) fn unconfirmed(&self) -> u64 {
        self.published - self.handled + self.waiting.iter().map(|waiting| waiting.count).sum::<u64>()
    }

    /// A queue refused a message of this turn.
    pub(crate) fn refuse(&mut self, number: u64) {
        self.refused.push(number);
    }

    /// The turn is over, and what has to be stored will be on disk with a position of the log; with none, there was nothing
    /// to store after all. Writes the confirms that are due at once, those of refused messages first.
    fn end_turn(&mut self, stored: Option<StorePosition>, mut confirm: impl FnMut(Confirm)) {
        self.refused.sort_unstable();
        // Several queues may have refused it.
        self.refused.dedup();
        let refused = std::mem::take(&mut self.refused);
        for number in &refused {
            confirm(Confirm::Nack(*number));
        }
        let is_accepted = |number: &u64| refused.binary_search(number).is_err();
        for (end, is_stored) in self.turn.drain(..) {
            let first = self.handled + 1;
            self.handled = end;
            self.counts.published += end + 1 - first;
            // The last of those that were accepted stands for all of them.
            let Some(last) = (first..=end).rev().find(is_accepted) else { continue };
            let refused_before = |number| refused.partition_point(|refused| *refused < number) as u64;
            let count = last + 1 - first - (refused_before(last) - refused_before(first));
            match (is_stored, stored) {
                (true, Some(position)) => match self.waiting.back_mut() {
                    Some(waiting) if waiting.position == position && waiting.end + 1 == first => {
                        waiting.end = last;
                        waiting.count += count;
                    }
                    _ => self.waiting.push_back(Waiting { end: last, count, position }),
                },
                _ if self.waiting.is_empty() => {
                    self.counts.confirmed += count;
                    self.confirmed = last;
                    confirm(Confirm::Ack(BasicAck { delivery_tag: last, multiple: last > first }));
                }
                // One for all would include those that wait.
                _ => {
                    self.counts.confirmed += count;
                    (first..=last).filter(is_accepted).for_each(|delivery_tag| {
                        confirm(Confirm::Ack(BasicAck { delivery_tag, multiple: false }));
                    });
                }
            }
        }
    }

    /// The log is written up to a position: the confirm that follows from it.
    fn stored(&mut self, written: StorePosition) -> Option<BasicAck> {
        let mut last = None;
        while let Some(waiting) = self.waiting.front()
            && waiting.position <= written
        {
            last = Some(waiting.end);
            self.counts.confirmed += waiting.count;
            self.waiting.pop_front();
        }
        let delivery_tag = last?;
        let multiple = delivery_tag - self.confirmed > 1;
        self.confirmed = delivery_tag;
        Some(BasicAck { delivery_tag, multiple })
    }

    /// The first position that something waits for.
    fn awaited(&self) -> Option<StorePosition> {
        self.waiting.front().map(|waiting| waiting.position)
    }
}

/// What becomes of a message, or of several.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Confirm {
    /// Taken.
    Ack(BasicAck),
    /// Refused by a queue, under this number.
    Nack(u64),
}

/// What a connection waits for until the message log has written it.
#[derive(Debug, Default)]
pub(crate) struct LogWait {
    /// Channels with confirms that wait.
    pub(crate) confirming: Vec<u16>,
    /// Whether the log will tell of the first position that one of them waits for.
    pub(crate) is_told: bool,
    /// Set while an area of the store has enough to write, and this connection's messages are part of it.
    pub(crate) awaited: Option<(Area, StorePosition)>,
    /// Whether the store takes no messages, and this connection has published some.
    pub(crate) is_blocked: bool,
    /// Whether the client was told so.
    is_blocking_told: bool,
    /// The position with which the effects of the last flush are on disk.
    pub(crate) flushed: Option<StorePosition>,
}

impl Session {
    /// Stops reading while the log has enough to write or cannot write at all; goes on when it is told.
    pub(super) fn wait_for_log(&mut self, out: &mut Vec<u8>) {
        self.log.is_blocked = self.log.is_blocked && self.node.is_store_blocked(&self.mailbox);
        if self.log.is_blocked != self.log.is_blocking_told && self.phase == Phase::Running {
            self.log.is_blocking_told = self.log.is_blocked;
            match (self.capabilities.connection_blocked, self.log.is_blocked) {
                (false, _) => {}
                (true, true) => frame::write_method(out, 0, &ConnectionBlocked { reason: "low on disk" }),
                (true, false) => frame::write_method(out, 0, &ConnectionUnblocked {}),
            }
        }
        let Some((area, position)) = self.log.awaited else { return };
        match (area, self.node.stored(area, position, &self.mailbox)) {
            // Without the page-out area messages stay in memory, which is better than never going on.
            (_, Written::Synced) | (Area::PageOut, Written::Failed) => self.log.awaited = None,
            (_, Written::Waiting) | (Area::Log, Written::Failed) => {}
        }
    }

    /// Confirms what a channel published in this turn, or lets it wait for the log.
    pub(super) fn confirm_turn(&mut self, number: u16, stored: Option<StorePosition>, out: &mut Vec<u8>) {
        let Some(channel) = self.channels.get_mut(number) else { return };
        let Mode::Confirm(confirms) = &mut channel.mode else { return };
        confirms.end_turn(stored, |confirm| match confirm {
            Confirm::Ack(ack) => frame::write_method(out, number, &ack),
            Confirm::Nack(delivery_tag) => {
                frame::write_method(out, number, &BasicNack { delivery_tag, multiple: false, requeue: false });
            }
        });
        if confirms.awaited().is_some() && !self.log.confirming.contains(&number) {
            self.log.confirming.push(number);
        }
        let counts = std::mem::take(&mut confirms.counts);
        self.count_confirms(number, counts);
    }

    /// Confirms what is on disk by now, and asks to be told of the rest.
    pub(super) fn confirm_stored(&mut self, out: &mut Vec<u8>) {
        loop {
            let written = self.node.store_synced();
            let mut awaited: Option<StorePosition> = None;
            let (channels, publishes) = (&mut self.channels, &self.counters.publishes);
            self.log.confirming.retain(|number| {
                let Some(Channel { mode: Mode::Confirm(confirms), stats, .. }) = channels.get_mut(*number) else {
                    return false;
                };
                if let Some(ack) = confirms.stored(written) {
                    frame::write_method(out, *number, &ack);
                    let Confirmed { confirmed, .. } = std::mem::take(&mut confirms.counts);
                    publishes.confirmed.add(confirmed);
                    stats.confirm += confirmed;
                }
                let next = confirms.awaited();
                awaited = awaited.into_iter().chain(next).min();
                next.is_some()
            });
            let Some(position) = awaited else { return };
            if self.log.is_told {
                return;
            }
            match self.node.stored(Area::Log, position, &self.mailbox) {
                Written::Waiting => {
                    self.log.is_told = true;
                    return;
                }
                Written::Synced => {}
                // Nothing more is ever confirmed.
                Written::Failed => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written for a turn: `s` is a message to store, `t` one that is not; a queue refuses `S` and `T`.
    fn turn(confirms: &mut Confirms, messages: &str, position: Option<u64>) -> Vec<(u64, bool)> {
        messages.chars().for_each(|kind| {
            let number = confirms.publish(kind.eq_ignore_ascii_case(&'s'));
            if kind.is_ascii_uppercase() {
                confirms.refuse(number);
            }
        });
        let mut acks = Vec::new();
        confirms.end_turn(position.map(StorePosition), |confirm| match confirm {
            Confirm::Ack(ack) => acks.push((ack.delivery_tag, ack.multiple)),
            Confirm::Nack(number) => acks.push((number, REFUSED)),
        });
        acks
    }

    /// Stands for a nack, where whether an ack is for several is of no interest.
    const REFUSED: bool = true;

    #[test]
    fn what_is_refused_is_said_first_and_covered_by_no_confirm_of_its_own() {
        for (messages, position, expected, awaited) in [
            ("T", None, vec![(1, REFUSED)], None),
            ("tTt", None, vec![(2, REFUSED), (3, true)], None),
            ("ttT", None, vec![(3, REFUSED), (2, true)], None),
            ("TTt", None, vec![(1, REFUSED), (2, REFUSED), (3, true)], None),
            ("sS", Some(7), vec![(2, REFUSED)], Some(7)),
            ("SS", Some(7), vec![(1, REFUSED), (2, REFUSED)], None),
            ("stTt", Some(7), vec![(3, REFUSED), (2, false), (4, false)], Some(7)),
        ] {
            let mut confirms = Confirms::default();
            assert_eq!(turn(&mut confirms, messages, position), expected, "{messages}");
            assert_eq!(confirms.awaited(), awaited.map(StorePosition), "{messages}");
            let rest = confirms.stored(StorePosition(7)).map(|ack| ack.delivery_tag);
            assert_eq!(rest, awaited.map(|_| 1), "{messages}");
        }
    }

    #[test]
    fn what_is_not_stored_waits_for_nothing() {
        for (messages, position, expected, awaited) in [
            ("t", None, vec![(1, false)], None),
            ("ttt", Some(7), vec![(3, true)], None),
            ("s", Some(7), vec![], Some(7)),
            ("ttss", Some(7), vec![(2, true)], Some(7)),
            ("sstt", Some(7), vec![(3, false), (4, false)], Some(7)),
            // Its queue was deleted meanwhile.
            ("ss", None, vec![(2, true)], None),
        ] {
            let mut confirms = Confirms::default();
            assert_eq!(turn(&mut confirms, messages, position), expected, "{messages}");
            assert_eq!(confirms.awaited(), awaited.map(StorePosition), "{messages}");
            assert!(confirms.is_clean());
        }
    }

    #[test]
    fn what_is_stored_is_confirmed_in_order_with_its_position() {
        let mut confirms = Confirms::default();
        turn(&mut confirms, "s", Some(1));
        turn(&mut confirms, "ss", Some(1));
        turn(&mut confirms, "sts", Some(2));
        turn(&mut confirms, "s", Some(5));
        for (written, expected, awaited) in [
            (0, None, Some(1)),
            (1, Some((3, true)), Some(2)),
            (1, None, Some(2)),
            (4, Some((6, true)), Some(5)),
            (9, Some((7, false)), None),
            (9, None, None),
        ] {
            let ack = confirms.stored(StorePosition(written)).map(|ack| (ack.delivery_tag, ack.multiple));
            assert_eq!((ack, confirms.awaited()), (expected, awaited.map(StorePosition)), "{written}");
        }
    }
}
