//! What a queue has in the store, and when its messages leave memory.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::backlog::Backlog;
use crate::message::Message;
use crate::store::{Area, MemoryPressure, MessageStore, StorePace, StorePosition};
use crate::topology::QueueId;

/// Octets in memory below which a queue keeps all of it.
const KEPT: usize = 32 * 1024;
/// Octets in memory below which a queue keeps what could leave, as long as memory is not short.
const KEPT_WITH_ROOM: usize = 256 * 1024;
/// Octets at the front of a backlog that stay in memory, and as long as memory is not short.
const FRONT_KEPT: usize = 8 * 1024;
const FRONT_KEPT_WITH_ROOM: usize = 128 * 1024;
/// Octets of messages read back below which a queue asks for more, and as long as memory is not short.
const AHEAD: usize = 8 * 1024;
const AHEAD_WITH_ROOM: usize = 512 * 1024;
/// Marks that are kept before those are looked for that are not needed any more.
const MARKS_MAX: usize = 64;

/// Whether a message may go to several queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fanout {
    /// To one.
    One,
    /// To several, some of which may keep it on disk as well.
    Many,
}

/// What one area has of a queue, and which of its messages are not on disk there yet.
#[derive(Debug, Default)]
struct Marks {
    /// Whether the area may hold messages of this queue at all.
    holds_any: bool,
    /// Where batches begin that are not known to be on disk, each with the store's position that it will be with.
    pending: VecDeque<(u64, StorePosition)>,
}

impl Marks {
    fn add(&mut self, start: u64, position: StorePosition) {
        self.holds_any = true;
        if self.pending.back().is_none_or(|(_, same)| *same != position) {
            self.pending.push_back((start, position));
        }
    }

    /// Everything of the area's before this is on disk.
    fn limit(&mut self, written: StorePosition) -> u64 {
        while let Some((_, position)) = self.pending.front()
            && *position <= written
        {
            self.pending.pop_front();
        }
        self.pending.front().map_or(u64::MAX, |(start, _)| *start)
    }
}

/// The dealings of one lane of a queue with the store.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own, and they change at different times")]
pub(super) struct Stored {
    store: Arc<dyn MessageStore>,
    queue: QueueId,
    durable: bool,
    log: Marks,
    page_out: Marks,
    /// Messages that the log does not take have been given to the page-out area up to here.
    spilled_before: u64,
    /// Whether there may be others behind that.
    has_unspilled: bool,
    /// What the store was told of deliveries.
    delivered_before: u64,
    /// Octets in memory that the store was told of.
    counted: usize,
    is_loading: bool,
    is_lazy: bool,
    keeps_all: bool,
    /// Whether messages survive that their publishers do not ask that for.
    stores_transient: bool,
    /// Messages read back from disk, and messages given to it.
    read: u64,
    written: u64,
}

impl Stored {
    pub(super) fn new(store: Arc<dyn MessageStore>, queue: QueueId, durable: bool, is_restored: bool) -> Self {
        Self {
            store,
            queue,
            durable,
            log: Marks { holds_any: is_restored, ..Marks::default() },
            page_out: Marks::default(),
            spilled_before: 0,
            has_unspilled: false,
            delivered_before: 0,
            counted: 0,
            is_loading: false,
            is_lazy: false,
            keeps_all: false,
            stores_transient: false,
            read: 0,
            written: 0,
        }
    }

    /// Messages come that need not survive.
    pub(super) fn note_transient(&mut self) {
        self.has_unspilled = true;
    }

    /// Gives the store what has to survive of messages that are about to get positions from `first` on.
    pub(super) fn append(
        &mut self,
        first: u64,
        messages: &[Message],
        fanout: Fanout,
    ) -> Option<(StorePosition, StorePace)> {
        if !self.durable {
            self.note_transient();
            return None;
        }
        let stores_transient = self.stores_transient;
        let survives = |message: &Message| message.is_persistent() || stores_transient;
        let persistent = messages.iter().filter(|message| survives(message)).count();
        if persistent < messages.len() {
            self.note_transient();
        }
        if persistent == 0 {
            return None;
        }
        self.written += persistent as u64;
        let mut stored = (first..).zip(messages).filter(|(_, message)| survives(message));
        let appended = self.store.append(Area::Log, self.queue, fanout == Fanout::Many, &mut stored);
        if self.log.pending.len() >= MARKS_MAX {
            self.log.limit(self.store.written(Area::Log));
        }
        self.log.add(first, appended.0);
        Some(appended)
    }

    /// Whether the store may hold messages of this queue.
    pub(super) fn holds_messages(&self) -> bool {
        self.log.holds_any || self.page_out.holds_any
    }

    /// Messages read back from disk, and messages given to it.
    pub(super) fn disk_counts(&self) -> (u64, u64) {
        (self.read, self.written)
    }

    /// Tells the store what is done with. Gives back the position of the log that this is on disk with.
    pub(super) fn settle(&self, positions: &[Range<u64>]) -> Option<StorePosition> {
        if positions.is_empty() {
            return None;
        }
        if self.page_out.holds_any {
            self.store.settle(Area::PageOut, self.queue, positions);
        }
        self.log.holds_any.then(|| self.store.settle(Area::Log, self.queue, positions))
    }

    /// Drops everything.
    pub(super) fn delete(&mut self) {
        if self.log.holds_any || self.page_out.holds_any {
            self.store.delete(self.queue);
        }
        self.count(0);
    }

    /// Lets messages leave memory if there is little of it, as far as they are on disk. Gives back the position of the
    /// page-out area that publishers should wait for, if it has enough to write.
    pub(super) fn page_out(&mut self, queue: &mut Backlog) -> Option<StorePosition> {
        let bytes = queue.bytes();
        if bytes < KEPT || self.keeps_all {
            return None;
        }
        let mut awaited = None;
        let pressure = if self.is_lazy { MemoryPressure::All } else { self.store.pressure() };
        let front_kept = match pressure {
            MemoryPressure::None => return None,
            MemoryPressure::Written if !self.durable || self.has_unspilled || bytes < KEPT_WITH_ROOM => return None,
            MemoryPressure::Written => FRONT_KEPT_WITH_ROOM,
            MemoryPressure::All => {
                awaited = self.spill(queue);
                FRONT_KEPT
            }
        };
        let log = self.log.limit(self.store.written(Area::Log));
        let until = log.min(self.page_out.limit(self.store.written(Area::PageOut)));
        queue.page_out(until, front_kept);
        awaited
    }

    /// Gives the page-out area what the log does not take; the position to wait for if it has enough to write.
    fn spill(&mut self, queue: &Backlog) -> Option<StorePosition> {
        let mut awaited = None;
        if !self.has_unspilled {
            return awaited;
        }
        let (durable, stores_transient) = (self.durable, self.stores_transient);
        let stays = |message: &Message| !(durable && (message.is_persistent() || stores_transient));
        let mut written = 0;
        let spilled = queue.ready_from(self.spilled_before).filter(|(_, message)| stays(message));
        let mut messages = spilled.inspect(|_| written += 1).peekable();
        let end = queue.next_position();
        if messages.peek().is_some() {
            let appended = self.store.append(Area::PageOut, self.queue, false, &mut messages);
            self.page_out.add(self.spilled_before, appended.0);
            awaited = (appended.1 == StorePace::Pause).then_some(appended.0);
        }
        drop(messages);
        self.written += written;
        self.spilled_before = end;
        self.has_unspilled = false;
        awaited
    }

    /// Tells the store what a batch led to, and asks for what is to be read back. `unsettled` says whether something handed out
    /// may come back.
    pub(super) fn finish(&mut self, queue: &Backlog, unsettled: bool, is_asked: bool) {
        if self.log.holds_any {
            let before = queue.delivered_before();
            if before > self.delivered_before {
                self.delivered_before = before;
                self.store.delivered(self.queue, before);
            }
        }
        if queue.len() == 0 {
            self.has_unspilled = false;
            if self.page_out.holds_any && !unsettled {
                // All of it is done with, also what was handed out for good and will never be settled.
                let all = 0..queue.next_position();
                self.store.settle(Area::PageOut, self.queue, std::slice::from_ref(&all));
                self.page_out.holds_any = false;
            }
        }
        self.count(queue.bytes());
        let is_all_wanted = self.keeps_all || queue.is_missing_octets();
        if (is_asked || is_all_wanted)
            && !self.is_loading
            && queue.has_cold()
            && let Some(positions) = queue.wanted(if is_all_wanted { usize::MAX } else { self.ahead() })
        {
            self.is_loading = true;
            self.store.load(self.queue, positions);
        }
    }

    /// Whether all messages stay in memory, and those on disk are read back at once.
    pub(super) fn set_keeps_all(&mut self, keeps_all: bool) {
        self.keeps_all = keeps_all;
    }

    /// From now on all messages survive, whether their publishers ask for that or not.
    pub(super) fn store_transient(&mut self) {
        self.stores_transient = true;
    }

    /// Octets of messages read back below which a queue asks for more.
    fn ahead(&self) -> usize {
        if self.is_lazy || self.store.pressure() == MemoryPressure::All { AHEAD } else { AHEAD_WITH_ROOM }
    }

    /// What was asked for is there.
    pub(super) fn loaded(&mut self, messages: usize) {
        self.is_loading = false;
        self.read += messages as u64;
    }

    /// Whether messages leave memory as soon as they can.
    pub(super) fn set_lazy(&mut self, is_lazy: bool) {
        self.is_lazy = is_lazy;
    }

    fn count(&mut self, octets: usize) {
        if octets != self.counted {
            self.store.count_memory(octets.cast_signed() - self.counted.cast_signed());
            self.counted = octets;
        }
    }
}

impl Drop for Stored {
    fn drop(&mut self) {
        self.count(0);
    }
}

#[cfg(test)]
mod tests;
