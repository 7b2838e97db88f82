//! For tests: a store in memory, which writes and reads when it is told to.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::journal::Written;
use crate::mailbox::Mailbox;
use crate::message::Message;
use crate::queue::{Loaded, Position, Restored};
use crate::store::{Area, MemoryPressure, MessageStore, StorePace, StorePosition};
use crate::topology::QueueId;

/// Messages that are read in one go.
const READ_MAX: usize = 3;

/// A message that was handed over.
#[derive(Debug, Clone)]
struct Kept {
    message: Message,
    /// With which position it is on disk.
    appended: StorePosition,
    /// With which position it is gone.
    settled: Option<StorePosition>,
    damaged: bool,
}

/// What an area was given, and how far it is.
#[derive(Debug, Default)]
struct Held {
    messages: BTreeMap<(QueueId, u64), Kept>,
    handed: StorePosition,
    written: StorePosition,
}

impl Held {
    fn next(&mut self) -> StorePosition {
        self.handed.0 += 1;
        self.handed
    }

    fn settle(&mut self, queue: QueueId, positions: Range<u64>) {
        let handed = self.handed;
        for (_, kept) in self.messages.range_mut((queue, positions.start)..(queue, positions.end)) {
            kept.settled.get_or_insert(handed);
        }
    }
}

#[derive(Debug)]
struct State {
    log: Held,
    page_out: Held,
    /// What it was told since the last look.
    told: Vec<String>,
    /// Deliveries it was told of, with the position of the log they came before.
    delivered: Vec<(StorePosition, QueueId, u64)>,
    /// What queues wait for: all in a range, or some of it.
    loads: Vec<(QueueId, Range<u64>, Option<Vec<u64>>)>,
    memory: isize,
    pressure: MemoryPressure,
    pace: StorePace,
}

impl State {
    fn area(&mut self, area: Area) -> &mut Held {
        match area {
            Area::Log => &mut self.log,
            Area::PageOut => &mut self.page_out,
        }
    }
}

/// A store in memory.
#[derive(Debug)]
pub(crate) struct FakeStore(Mutex<State>);

impl FakeStore {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            log: Held::default(),
            page_out: Held::default(),
            told: Vec::new(),
            delivered: Vec::new(),
            loads: Vec::new(),
            memory: 0,
            pressure: MemoryPressure::None,
            pace: StorePace::Go,
        })))
    }

    /// The store as queues know it.
    pub(crate) fn shared(self: &Arc<Self>) -> Arc<dyn MessageStore> {
        Arc::clone(self) as Arc<dyn MessageStore>
    }

    /// What it was told since the last look, a line for each call.
    pub(crate) fn told(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().told)
    }

    pub(crate) fn set_pressure(&self, pressure: MemoryPressure) {
        self.0.lock().pressure = pressure;
    }

    pub(crate) fn set_pace(&self, pace: StorePace) {
        self.0.lock().pace = pace;
    }

    /// Octets that queues say they have in memory.
    pub(crate) fn memory(&self) -> isize {
        self.0.lock().memory
    }

    /// Writes so many more of the positions it gave out; says up to which it is.
    pub(crate) fn write(&self, area: Area, count: u64) -> StorePosition {
        let mut state = self.0.lock();
        let held = state.area(area);
        held.written = StorePosition(held.written.0.saturating_add(count)).min(held.handed);
        held.written
    }

    /// The last position it gave out.
    pub(crate) fn handed(&self, area: Area) -> StorePosition {
        self.0.lock().area(area).handed
    }

    /// Writes everything it was given.
    pub(crate) fn write_all(&self) {
        self.write(Area::Log, u64::MAX);
        self.write(Area::PageOut, u64::MAX);
    }

    /// Positions of the messages that an area holds for a queue.
    pub(crate) fn kept(&self, area: Area, queue: QueueId) -> Vec<u64> {
        let mut state = self.0.lock();
        let of_queue = state.area(area).messages.range((queue, 0)..=(queue, u64::MAX));
        of_queue.filter(|(_, kept)| kept.settled.is_none()).map(|((_, position), _)| *position).collect()
    }

    /// Whether a message can be read from disk.
    pub(crate) fn is_on_disk(&self, queue: QueueId, position: u64) -> bool {
        let state = self.0.lock();
        [&state.log, &state.page_out].iter().any(|held| {
            let kept = held.messages.get(&(queue, position));
            kept.is_some_and(|kept| kept.settled.is_none() && kept.appended <= held.written)
        })
    }

    /// Makes a message unreadable; says whether there is one.
    pub(crate) fn damage(&self, queue: QueueId, position: u64) -> bool {
        let mut state = self.0.lock();
        let State { log, page_out, .. } = &mut *state;
        let mut found = false;
        for held in [log, page_out] {
            if let Some(kept) = held.messages.get_mut(&(queue, position)) {
                kept.damaged = true;
                found = true;
            }
        }
        found
    }

    /// Whether a queue waits to be answered.
    pub(crate) fn is_loading(&self, queue: QueueId) -> bool {
        self.0.lock().loads.iter().any(|(asking, ..)| *asking == queue)
    }

    /// The answer to what a queue asked for first, of so many messages; damaged ones are lost, and settled as such.
    pub(crate) fn answer(&self, queue: QueueId, count: usize) -> Option<Loaded> {
        let mut state = self.0.lock();
        let index = state.loads.iter().position(|(asking, ..)| *asking == queue)?;
        let (_, positions, wanted) = state.loads.remove(index);
        let State { log, page_out, .. } = &mut *state;
        let mut found: BTreeMap<u64, Kept> = BTreeMap::new();
        for held in [&*log, &*page_out] {
            for ((_, position), kept) in held.messages.range((queue, positions.start)..(queue, positions.end)) {
                let is_wanted = wanted.as_ref().is_none_or(|wanted| wanted.contains(position));
                if kept.settled.is_none() && is_wanted {
                    assert!(kept.appended <= held.written, "{position} left memory before it was on disk");
                    assert!(found.insert(*position, kept.clone()).is_none(), "{position} is in both areas");
                }
            }
        }
        let up_to = found.keys().nth(count).copied().unwrap_or(positions.end);
        let mut loaded = Loaded { from: positions.start, up_to, ..Loaded::default() };
        for (position, kept) in found.range(..up_to) {
            if kept.damaged {
                loaded.lost += 1;
                for held in [&mut *log, &mut *page_out] {
                    held.next();
                    held.settle(queue, *position..position + 1);
                }
            } else {
                loaded.messages.push((Position(*position), kept.message.clone()));
            }
        }
        Some(loaded)
    }

    /// What the next start finds if this one ends when the log is written up to a position: a store with a queue's messages,
    /// and what it says of them.
    pub(crate) fn after_crash(&self, queue: QueueId, written: StorePosition) -> (Arc<Self>, Restored) {
        let state = self.0.lock();
        let next = Self::new();
        let seen = state.log.messages.range((queue, 0)..=(queue, u64::MAX));
        let seen = seen.filter(|(_, kept)| kept.appended <= written);
        let mut restored = Restored::default();
        for ((_, position), kept) in seen {
            restored.next = position + 1;
            if kept.settled.is_some_and(|settled| settled <= written) {
                continue;
            }
            if restored.messages == 0 {
                restored.first = *position;
            }
            restored.messages += 1;
            let kept = Kept { appended: StorePosition(0), settled: None, ..kept.clone() };
            next.0.lock().log.messages.insert((queue, *position), kept);
        }
        if restored.messages == 0 {
            restored.first = restored.next;
        }
        let delivered = state.delivered.iter().filter(|(at, of, _)| *at <= written && *of == queue);
        restored.delivered_before = delivered.map(|(.., before)| *before).max().unwrap_or_default();
        next.0.lock().delivered.push((StorePosition(0), queue, restored.delivered_before));
        (next, restored)
    }
}

impl MessageStore for FakeStore {
    fn append(
        &self,
        area: Area,
        queue: QueueId,
        shared: bool,
        messages: &mut dyn Iterator<Item = (u64, &Message)>,
    ) -> (StorePosition, StorePace) {
        let mut state = self.0.lock();
        let held = state.area(area);
        let appended = held.next();
        let mut positions = Vec::new();
        for (position, message) in messages {
            positions.push(position);
            let kept = Kept { message: message.clone(), appended, settled: None, damaged: false };
            let before = held.messages.insert((queue, position), kept);
            assert!(before.is_none(), "{position} was handed over twice");
        }
        assert!(!positions.is_empty() && positions.is_sorted(), "{positions:?}");
        let shared = if shared { " shared" } else { "" };
        state.told.push(format!("{area:?} + {positions:?}{shared}"));
        (appended, state.pace)
    }

    fn settle(&self, area: Area, queue: QueueId, positions: &[Range<u64>]) -> StorePosition {
        let mut state = self.0.lock();
        state.told.push(format!("{area:?} - {positions:?}"));
        let held = state.area(area);
        let at = held.next();
        for range in positions {
            held.settle(queue, range.clone());
        }
        at
    }

    fn delivered(&self, queue: QueueId, before: u64) {
        let mut state = self.0.lock();
        state.told.push(format!("delivered {before}"));
        let at = state.log.next();
        state.delivered.push((at, queue, before));
    }

    fn delete(&self, queue: QueueId) {
        let mut state = self.0.lock();
        state.told.push("delete".into());
        let State { log, page_out, .. } = &mut *state;
        for held in [log, page_out] {
            held.next();
            held.settle(queue, 0..u64::MAX);
        }
    }

    fn load(&self, queue: QueueId, positions: Range<u64>) {
        let mut state = self.0.lock();
        state.told.push(format!("load {positions:?}"));
        assert!(state.loads.iter().all(|(asking, ..)| *asking != queue), "it is asked for one thing at a time");
        state.loads.push((queue, positions, None));
    }

    fn load_at(&self, queue: QueueId, positions: Vec<u64>) {
        let mut state = self.0.lock();
        state.told.push(format!("load {positions:?}"));
        assert!(state.loads.iter().all(|(asking, ..)| *asking != queue), "it is asked for one thing at a time");
        assert!(positions.is_sorted_by(|one, next| one < next), "{positions:?}");
        let (Some(first), Some(last)) = (positions.first(), positions.last()) else { panic!("it asks for nothing") };
        state.loads.push((queue, *first..last + 1, Some(positions)));
    }

    fn read(&self, queue: QueueId, positions: Range<u64>) -> std::io::Result<Loaded> {
        let state = self.0.lock();
        let mut messages = Vec::new();
        for held in [&state.log, &state.page_out] {
            let range = held.messages.range((queue, positions.start)..(queue, positions.end));
            let live = range.filter(|(_, kept)| kept.settled.is_none() && kept.appended <= held.written);
            messages.extend(live.map(|((_, position), kept)| (Position(*position), kept.message.clone())));
        }
        messages.sort_unstable_by_key(|(position, _)| *position);
        // A piece at a time, as a disk gives it.
        let up_to = messages.get(READ_MAX).map_or(positions.end, |(position, _)| position.0);
        messages.truncate(READ_MAX);
        Ok(Loaded { from: positions.start, up_to, messages, lost: 0 })
    }

    fn written(&self, area: Area) -> StorePosition {
        self.0.lock().area(area).written
    }

    fn synced(&self) -> StorePosition {
        self.written(Area::Log)
    }

    fn wait(&self, area: Area, position: StorePosition, _: &Arc<Mailbox>) -> Written {
        if position <= self.written(area) { Written::Synced } else { Written::Waiting }
    }

    fn is_blocked(&self, _: &Arc<Mailbox>) -> bool {
        false
    }

    fn count_memory(&self, octets: isize) {
        let mut state = self.0.lock();
        state.memory += octets;
        assert!(state.memory >= 0, "{octets} too many");
    }

    fn pressure(&self) -> MemoryPressure {
        self.0.lock().pressure
    }
}
