//! Messages that die: their time is up, or there is no room for them.

use std::ops::Range;

use super::{Classic, Dead, push_position};
use crate::clock::Timestamp;
use crate::message::Message;
use crate::properties::DeathReason;
use crate::queue::backlog::Backlog;
use crate::queue::quorum::Quorum;
use crate::queue::{Overflow, Position, Sink};
use crate::stats::Deaths;

impl<S: Sink> Classic<S> {
    /// When the first of the messages expires that may go next, or one may go that came back.
    pub fn next_due(&self) -> Option<Timestamp> {
        let quorum = self.quorum.as_deref();
        let retry = quorum.and_then(Quorum::next_due);
        if !self.may_expire {
            return retry;
        }
        let firsts = (0..self.lanes.count()).filter_map(|lane| self.lanes.lane(lane)?.peek());
        let firsts = firsts.chain(quorum.and_then(Quorum::peek));
        firsts.filter_map(|message| message.expires_at(self.rules.ttl_ms)).chain(retry).min()
    }

    /// Whether what comes next is on disk only, and has to be looked at though nobody asks for it: it may be too old or too much.
    pub fn wants_first(&self) -> bool {
        let is_hidden = |lane| self.lanes.lane(lane).is_some_and(|lane| lane.len() > 0 && lane.peek().is_none());
        let is_wanted =
            (self.may_expire && (self.rules.keeps_dead || self.rules.ttl_ms.is_some())) || self.is_too_long();
        is_wanted && (0..self.lanes.count()).any(is_hidden)
    }

    /// Whether there is more than may be, as what has to go first is on disk only.
    #[inline]
    pub fn is_too_long(&self) -> bool {
        (self.rules.max_length.is_some() || self.rules.max_length_bytes.is_some()) && self.is_above_limit()
    }

    fn is_above_limit(&self) -> bool {
        let is_above = |max: Option<u64>, used: u64| max.is_some_and(|max| used > max);
        self.rules.overflow == Overflow::DropHead
            && (is_above(self.rules.max_length, self.ready_count() as u64)
                || is_above(self.rules.max_length_bytes, self.body_bytes()))
    }

    /// Takes the messages that died, for whoever wants them.
    pub fn take_dead(&mut self) -> Vec<Dead> {
        std::mem::take(&mut self.dead)
    }

    /// Takes the positions of messages that died and that nobody wants.
    pub fn take_dropped(&mut self) -> Vec<Range<u64>> {
        std::mem::take(&mut self.dropped)
    }

    /// Takes what messages died of, whether somebody wants them or not.
    pub fn take_deaths(&mut self) -> Deaths {
        std::mem::take(&mut self.deaths)
    }

    /// Whether nothing died since the last look.
    #[inline]
    pub fn is_unscathed(&self) -> bool {
        self.dead.is_empty() && self.dropped.is_empty() && self.deaths.max_len == 0
    }

    /// How many of the messages, from the first on, the queue takes now: all, unless it refuses what is too much.
    pub fn admits(&self, messages: &[Message]) -> usize {
        if self.rules.overflow == Overflow::DropHead {
            return messages.len();
        }
        let room = |max: Option<u64>, used: u64| max.map_or(u64::MAX, |max| max.saturating_sub(used));
        let leaving = self.quorum.as_ref().map_or(0, |quorum| quorum.leaving_count());
        let places = room(self.rules.max_length, (self.ready_count() + leaving) as u64);
        let places = usize::try_from(places).unwrap_or(usize::MAX).min(messages.len());
        if self.rules.max_length_bytes.is_none() {
            return places;
        }
        let mut octets = room(self.rules.max_length_bytes, self.body_bytes());
        let fits = |message: &&Message| {
            let rest = octets.checked_sub(message.body_size() as u64);
            octets = rest.unwrap_or(octets);
            rest.is_some()
        };
        messages.iter().take(places).take_while(fits).count()
    }

    /// Whether there is room for a message.
    pub fn has_room_for(&self, message: &Message) -> bool {
        self.admits(std::slice::from_ref(message)) > 0
    }

    /// A message that the queue does not take.
    pub fn refuse(&mut self, message: Message) {
        if self.rules.overflow != Overflow::RejectPublishDeadLetter {
            return;
        }
        self.deaths.add(DeathReason::MaxLen, 1);
        if self.rules.keeps_dead {
            self.dead.push(Dead { position: None, message, reason: DeathReason::MaxLen });
        }
    }

    /// Drops what is too old and would go next, so that what is handed out then is not.
    #[inline]
    pub(super) fn drop_expired_next(&mut self) {
        self.end_delays();
        if self.may_expire {
            self.drop_expired_in_turn();
        }
    }

    fn drop_expired_in_turn(&mut self) {
        let (now, ttl_ms) = (self.now, self.rules.ttl_ms);
        self.drop_expired_returned();
        while self.lanes.peek().is_some_and(|message| is_old(message, ttl_ms, now))
            && let Some((position, message, _)) = self.lanes.pop()
        {
            self.bury(position, message, DeathReason::Expired);
        }
    }

    /// Drops what is too old at the front of every lane.
    #[inline]
    pub(super) fn drop_expired(&mut self) {
        self.end_delays();
        if self.may_expire {
            self.drop_expired_firsts();
        }
    }

    #[inline]
    fn end_delays(&mut self) {
        if let Some(quorum) = &mut self.quorum {
            quorum.end_delays(self.now);
        }
    }

    fn drop_expired_firsts(&mut self) {
        let (now, ttl_ms) = (self.now, self.rules.ttl_ms);
        for lane in 0..self.lanes.count() {
            while self.lanes.lane(lane).and_then(Backlog::peek).is_some_and(|message| is_old(message, ttl_ms, now))
                && let Some((position, message, _)) = self.lanes.pop_from(lane)
            {
                self.bury(position, message, DeathReason::Expired);
            }
        }
        self.drop_expired_returned();
        if ttl_ms.is_none() && self.ready_count() + self.delayed_count() == 0 {
            self.may_expire = false;
        }
    }

    fn drop_expired_returned(&mut self) {
        while let Some(quorum) = &mut self.quorum
            && quorum.peek().is_some_and(|message| is_old(message, self.rules.ttl_ms, self.now))
            && let Some((position, message)) = quorum.pop()
        {
            self.bury(position, message, DeathReason::Expired);
        }
    }

    /// Drops what is too much, from the front.
    #[inline]
    pub(super) fn drop_excess(&mut self) {
        if self.is_too_long() {
            self.drop_firsts();
            if self.is_too_long() && !self.rules.keeps_dead {
                self.drop_unread();
            }
        }
    }

    fn drop_firsts(&mut self) {
        while self.is_too_long()
            && let Some((position, message, _)) = self.pop()
        {
            self.bury(position, message, DeathReason::MaxLen);
        }
    }

    /// Drops what is too much and on disk only without reading it, so that the queue does not grow while it waits for the
    /// disk.
    fn drop_unread(&mut self) {
        let Some(max) = self.rules.max_length else { return };
        while let before = self.ready_count()
            && let Some(positions) = self.lanes.drop_cold((before as u64).saturating_sub(max))
        {
            self.deaths.add(DeathReason::MaxLen, before.saturating_sub(self.ready_count()) as u64);
            self.dropped.push(positions);
            self.drop_firsts();
        }
    }

    pub(super) fn bury(&mut self, position: Position, message: Message, reason: DeathReason) {
        self.deaths.add(reason, 1);
        if let Some(quorum) = &mut self.quorum {
            quorum.forget_attempts(position);
            if self.rules.is_safe {
                quorum.keep_leaving(position, &message);
            }
        }
        if self.rules.keeps_dead {
            self.dead.push(Dead { position: Some(position), message, reason });
        } else {
            push_position(&mut self.dropped, position);
        }
    }
}

/// Whether the time of a message is up, in a queue whose messages live so long.
#[inline]
fn is_old(message: &Message, queue_ttl_ms: Option<u64>, now: Timestamp) -> bool {
    message.expires_at(queue_ttl_ms).is_some_and(|due| due <= now)
}
