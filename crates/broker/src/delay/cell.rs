//! What an exchange holds back, in its cell: the short lock under which it changes, and nothing but.
//!
//! Publishers' tasks give it batches, the clock's thread takes out what is due. As with queues, nothing inside waits, does I/O or
//! takes a lock other than the store's or the clock's.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Place;
use super::pending::Pending;
use crate::Name;
use crate::clock::{Clock, Timestamp};
use crate::message::Message;
use crate::queue::{Enqueued, Loaded, Pace, Position, Restored};
use crate::store::{Area, MemoryPressure, MessageStore, StorePace, StorePosition};
use crate::topology::QueueId;

/// Pause between looks whether what was taken out is on disk elsewhere, in milliseconds.
const SETTLE_MS: u64 = 50;

/// Pause between looks whether there is room to write what is due, in milliseconds.
const REST_MS: u64 = 5;

/// The longest time between looks at what is held back, in milliseconds.
const LOOK_MS: u64 = 60 * 60 * 1000;

/// What an exchange was declared as, as far as its cell needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelayInfo {
    /// The number under which the store and the clock know what it holds back; no queue has it.
    pub id: QueueId,
    /// Its vhost.
    pub vhost: Name,
    /// Its name.
    pub exchange: Name,
    /// Whether it survives a restart, and all that it holds back with it.
    pub durable: bool,
}

/// A message that is held back, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// When it is due, and where it stands.
    pub place: Place,
    /// The message itself; none if it could not be read or was routed meanwhile.
    pub message: Option<Message>,
}

/// What is done with a list once it is there.
type Done = Box<dyn FnOnce(Vec<Listed>) + Send>;

/// What the store was asked for.
#[derive(Debug)]
enum Load {
    /// The next of what was on disk when the node started.
    Restore,
    /// What is due soon.
    Ahead(Vec<Place>),
    /// What a list names.
    List(Vec<Place>),
}

/// A list that waits for the disk.
struct Listing {
    listed: Vec<Listed>,
    done: Done,
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").field("listed", &self.listed.len()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct State {
    pending: Pending,
    /// What was on disk when the node started and has yet to be looked at.
    unread: Range<u64>,
    loading: Option<Load>,
    listings: VecDeque<Listing>,
    /// The first moment for which the clock was asked and that has not come.
    wake_at: Option<Timestamp>,
    /// Whether somebody takes out what is due.
    is_firing: bool,
    /// Nothing is taken out until an area of the store is so far, which has enough to write,
    rests_for: Option<(Area, StorePosition)>,
    /// nor before this, when the store is asked again.
    rests_until: Timestamp,
    is_closed: bool,
    /// Messages that were taken out: where their copies are on disk by, and what to settle then.
    moved: VecDeque<(StorePosition, Vec<Range<u64>>)>,
    /// Octets in memory that the store was told of.
    counted: usize,
}

/// What an exchange holds back, and its lock.
#[derive(Debug)]
pub struct DelayCell {
    info: DelayInfo,
    clock: Arc<dyn Clock>,
    store: Option<Arc<dyn MessageStore>>,
    state: Mutex<State>,
}

impl DelayCell {
    /// An exchange's cell, with what it has in the store.
    pub fn new(
        info: DelayInfo,
        clock: Arc<dyn Clock>,
        store: Option<Arc<dyn MessageStore>>,
        restored: Option<Restored>,
    ) -> Self {
        let restored = restored.unwrap_or_default();
        let state = State {
            pending: Pending::new(restored.next, store.is_some()),
            unread: if restored.messages > 0 { restored.first..restored.next } else { 0..0 },
            loading: None,
            listings: VecDeque::new(),
            wake_at: None,
            is_firing: false,
            rests_for: None,
            rests_until: Timestamp(0),
            is_closed: false,
            moved: VecDeque::new(),
            counted: 0,
        };
        Self { info, clock, store, state: Mutex::new(state) }
    }

    /// What it was declared as.
    pub fn info(&self) -> &DelayInfo {
        &self.info
    }

    /// Where its messages are kept: those of an exchange that survives survive.
    fn area(&self) -> Area {
        if self.info.durable { Area::Log } else { Area::PageOut }
    }

    /// Messages it holds back. Right after a start, those that have been found so far.
    pub fn count(&self) -> usize {
        self.state.lock().pending.len()
    }

    /// Goes on with what was on disk when the node started.
    pub fn start(&self) {
        let mut state = self.state.lock();
        self.finish(&mut state);
    }

    /// Takes in messages that say when they are due, emptying `batch`. A cell that was closed meanwhile drops them.
    pub fn hold(&self, batch: &mut Vec<Message>) -> Enqueued {
        let mut state = self.state.lock();
        if state.is_closed || batch.is_empty() {
            batch.clear();
            return Enqueued { pace: Pace::Go, stored: None, refused: Vec::new() };
        }
        let (area, first) = (self.area(), state.pending.next_position());
        let appended =
            self.store.as_ref().map(|store| store.append(area, self.info.id, false, &mut (first..).zip(batch.iter())));
        state.pending.hold(batch, appended.map(|(position, _)| position));
        self.finish(&mut state);
        let pace = match appended {
            Some((position, StorePace::Pause)) => Pace::AwaitDisk(area, position),
            _ => Pace::Go,
        };
        let stored = appended.filter(|_| area == Area::Log).map(|(position, _)| position);
        Enqueued { pace, stored, refused: Vec::new() }
    }

    /// Takes in what was read back. The caller takes out what is due.
    pub fn loaded(&self, loaded: Loaded) {
        let mut state = self.state.lock();
        let Loaded { up_to, messages, .. } = loaded;
        let mut finished = None;
        match state.loading.take() {
            // It was closed.
            None => {}
            Some(Load::Restore) => {
                state.unread.start = up_to.max(state.unread.start);
                state.pending.restore(&messages);
                state.pending.advance(self.clock.now());
                state.pending.fill(messages);
            }
            Some(Load::Ahead(asked)) => {
                let is_lost = |place: &Place| {
                    let found = messages.binary_search_by_key(&place.position, |(position, _)| *position);
                    place.position.0 < up_to && found.is_err()
                };
                let lost: Vec<Place> = asked.into_iter().filter(is_lost).collect();
                state.pending.fill(messages);
                for place in lost {
                    state.pending.cancel(place);
                }
            }
            Some(Load::List(asked)) => finished = state.list_loaded(&asked, up_to, messages),
        }
        self.finish_before(&mut state, self.clock.now());
        drop(state);
        if let Some(Listing { listed, done }) = finished {
            done(listed);
        }
    }

    /// The time has come that the clock was asked for. The caller takes out what is due.
    pub fn wake(&self) {
        let mut state = self.state.lock();
        let now = self.clock.now();
        // Whatever the clock was asked for since, it has called for the first of it only.
        state.wake_at = None;
        self.finish_before(&mut state, now);
    }

    /// Whether the caller is the one to take out what is due: nobody else does, and something is. Whoever it is calls
    /// [`DelayCell::stop_firing`] in the end.
    pub(crate) fn start_firing(&self) -> bool {
        let mut state = self.state.lock();
        let state = &mut *state;
        let now = self.clock.now();
        let starts = !state.is_firing && state.rests_until <= now && state.pending.is_due(now);
        state.is_firing |= starts;
        starts
    }

    /// Takes out what is due, so many messages at most, in order. Once they are where they go, [`DelayCell::moved`] has to be
    /// told.
    pub(crate) fn take_due(&self, most: usize) -> Vec<(Position, Message)> {
        let mut state = self.state.lock();
        let due = state.pending.take_due(self.clock.now(), most);
        self.finish(&mut state);
        due
    }

    /// Nothing is taken out until an area of the store is so far: on a full disk, what is due has to wait where it is.
    pub(crate) fn rest_for(&self, area: Area, position: StorePosition) {
        let mut state = self.state.lock();
        state.rests_for = Some((area, position));
        self.finish(&mut state);
    }

    /// The turn of the one who took out what is due is over.
    pub(crate) fn stop_firing(&self) {
        let mut state = self.state.lock();
        state.is_firing = false;
        self.finish(&mut state);
    }

    /// Messages that were taken out are elsewhere, on disk with a position of the log if they have to be; then they are settled
    /// here.
    pub(crate) fn moved(&self, copied: Option<StorePosition>, positions: Vec<Range<u64>>) {
        let mut state = self.state.lock();
        if self.store.is_some() && !state.is_closed && !positions.is_empty() {
            // What is copied later is on disk later, and what is settled in order costs the log less.
            let copied = copied.max(state.moved.back().map(|(copied, _)| *copied)).unwrap_or_default();
            state.moved.push_back((copied, positions));
        }
        self.finish(&mut state);
    }

    /// Settles what was taken out and is on disk elsewhere by now; says whether something still has to wait.
    pub(crate) fn settle_moved(&self) -> bool {
        let mut state = self.state.lock();
        self.finish(&mut state);
        !state.moved.is_empty()
    }

    /// Lists the messages that it holds back in the order in which they are due, from a place on and so many at most. `done` is
    /// called with them, now or by the thread that reads what is on disk.
    pub fn list(&self, from: Place, most: usize, done: impl FnOnce(Vec<Listed>) + Send + 'static) {
        let mut state = self.state.lock();
        let places = state.pending.list(from, most);
        let listed: Vec<Listed> = places
            .into_iter()
            .map(|place| Listed { place, message: state.pending.in_memory(place).cloned() })
            .collect();
        if listed.iter().all(|listed| listed.message.is_some()) {
            drop(state);
            return done(listed);
        }
        state.listings.push_back(Listing { listed, done: Box::new(done) });
        self.finish(&mut state);
    }

    /// Drops a message that it holds back, for good; says whether it did. Gives back the position of the log that this is on
    /// disk with.
    pub fn cancel(&self, place: Place) -> (bool, Option<StorePosition>) {
        let mut state = self.state.lock();
        if !state.pending.cancel(place) {
            return (false, None);
        }
        let Position(position) = place.position;
        let range = position..position + 1;
        let area = self.area();
        let settled = self.store.as_ref().map(|store| store.settle(area, self.info.id, std::slice::from_ref(&range)));
        let settled = settled.filter(|_| area == Area::Log);
        self.finish(&mut state);
        (true, settled)
    }

    /// Ends it: the exchange is gone, and with it all that it held back.
    pub fn close(&self) {
        let mut state = self.state.lock();
        if std::mem::replace(&mut state.is_closed, true) {
            return;
        }
        state.pending.clear();
        state.unread = 0..0;
        if state.wake_at.take().is_some() {
            self.clock.forget(self.info.id);
        }
        state.loading = None;
        let listings = std::mem::take(&mut state.listings);
        if let Some(store) = &self.store {
            store.delete(self.info.id);
        }
        self.count_memory(&mut state);
        drop(state);
        for Listing { listed, done } in listings {
            done(listed);
        }
    }

    /// Ends a batch: lets go what is on disk, asks for what is to be read, and sees to it that it is woken.
    fn finish(&self, state: &mut State) {
        self.finish_before(state, Timestamp(0));
    }

    /// The same, but for what is due up to some moment the caller looks itself.
    fn finish_before(&self, state: &mut State, seen_to: Timestamp) {
        if state.is_closed {
            return;
        }
        let now = self.clock.now();
        if let Some((area, position)) = state.rests_for {
            if self.store.as_ref().is_some_and(|store| store.written(area) < position) {
                state.rests_until = now.plus_ms(REST_MS);
            } else {
                state.rests_for = None;
            }
        }
        if let Some(store) = &self.store {
            state.pending.set_short(store.pressure() == MemoryPressure::All);
        }
        // Before anything leaves memory, as what is due soon had better not.
        state.pending.advance(now);
        if let Some(store) = &self.store {
            state.pending.written(store.written(self.area()));
            if !state.moved.is_empty() {
                self.settle(state, &**store);
            }
        }
        if state.loading.is_none()
            && let Some(store) = &self.store
        {
            self.load(state, &**store, now);
        }
        let settling = (!state.moved.is_empty()).then(|| now.plus_ms(SETTLE_MS));
        let next = state.pending.next_look(now, state.loading.is_some()).filter(|_| !state.is_firing);
        let next = next.map(|next| next.max(state.rests_until)).filter(|next| *next > seen_to);
        if let Some(due) = next.into_iter().chain(settling).min() {
            self.wake_by(state, due);
        }
        self.count_memory(state);
    }

    fn settle(&self, state: &mut State, store: &dyn MessageStore) {
        let synced = store.synced();
        let mut positions = Vec::new();
        while let Some((_, moved)) = state.moved.pop_front_if(|(copied, _)| *copied <= synced) {
            positions.extend(moved);
        }
        if !positions.is_empty() {
            store.settle(self.area(), self.info.id, &positions);
        }
    }

    fn load(&self, state: &mut State, store: &dyn MessageStore, now: Timestamp) {
        if let Some(listing) = state.listings.front() {
            let places = listing.listed.iter().filter(|listed| listed.message.is_none()).map(|listed| listed.place);
            let mut places: Vec<Place> = places.collect();
            places.sort_unstable_by_key(|place| place.position);
            store.load_at(self.info.id, positions(&places));
            state.loading = Some(Load::List(places));
            return;
        }
        let wanted = state.pending.wanted(now);
        if !wanted.is_empty() {
            store.load_at(self.info.id, positions(&wanted));
            state.loading = Some(Load::Ahead(wanted));
        } else if !state.unread.is_empty() {
            store.load(self.info.id, state.unread.clone());
            state.loading = Some(Load::Restore);
        }
    }

    fn wake_by(&self, state: &mut State, due: Timestamp) {
        // What the clock was asked for stays with it until then, which must not be years for each message that is due earlier
        // than those before.
        let due = due.min(self.clock.now().plus_ms(LOOK_MS));
        if state.wake_at.is_none_or(|known| due < known) {
            state.wake_at = Some(due);
            self.clock.wake_at(self.info.id, due);
        }
    }

    fn count_memory(&self, state: &mut State) {
        let bytes = state.pending.bytes();
        if let Some(store) = self.store.as_ref().filter(|_| bytes != state.counted) {
            store.count_memory(bytes.cast_signed() - state.counted.cast_signed());
            state.counted = bytes;
        }
    }
}

impl State {
    /// Takes in what was read for the first list; gives it back if nothing is missing from it that could be read.
    fn list_loaded(&mut self, asked: &[Place], up_to: u64, messages: Vec<(Position, Message)>) -> Option<Listing> {
        let listing = self.listings.front_mut()?;
        for (position, message) in messages {
            let place = Place { due: message.due_at().unwrap_or_default(), position };
            if let Ok(at) = listing.listed.binary_search_by_key(&place, |listed| listed.place)
                && let Some(listed) = listing.listed.get_mut(at)
            {
                listed.message = Some(message);
            }
        }
        // Reading may have ended early, with more to come.
        let is_read = asked.last().is_none_or(|last| last.position.0 < up_to);
        if is_read { self.listings.pop_front() } else { None }
    }
}

impl Drop for DelayCell {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        if let Some(store) = self.store.as_ref().filter(|_| state.counted > 0) {
            store.count_memory(-state.counted.cast_signed());
        }
    }
}

fn positions(places: &[Place]) -> Vec<u64> {
    places.iter().map(|place| place.position.0).collect()
}

#[cfg(test)]
mod tests;
