//! The thread that reads messages back.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use leveret_broker::message::Message;
use leveret_broker::queue::{Loaded, Position};
use leveret_broker::store::MemoryPressure;
use leveret_broker::topology::QueueId;
use leveret_management::LogSpace;
use leveret_storage::messages::{self, QueueKey, Reader, Space};
use parking_lot::{Condvar, Mutex};

use super::Shared;
use crate::figures;

/// Octets that are read for a queue at a time.
const LOAD_OCTETS: usize = 1024 * 1024;
/// Octets that are read at a time when memory is short.
const LOAD_OCTETS_SHORT: usize = 64 * 1024;
/// Pause before something that could not be read is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// What queues ask for.
pub(super) struct Loads {
    log: Reader,
    page_out: Reader,
    asked: Mutex<Asked>,
    changed: Condvar,
    pub(super) counts: ReadCounts,
}

/// What was read. Whoever reads adds to it, once for each piece.
#[derive(Debug, Default)]
pub(super) struct ReadCounts {
    pub(super) reads: AtomicU64,
    pub(super) messages: AtomicU64,
    pub(super) octets: AtomicU64,
    pub(super) micros: AtomicU64,
}

/// Which messages of a queue are asked for.
#[derive(Debug)]
pub(super) enum Wanted {
    /// Those in a range.
    Range(Range<u64>),
    /// Those at these positions, ascending.
    At(Vec<u64>),
}

impl Wanted {
    fn start(&self) -> u64 {
        match self {
            Self::Range(range) => range.start,
            Self::At(positions) => positions.first().copied().unwrap_or_default(),
        }
    }

    fn load(&self, reader: &Reader, queue: QueueKey, octets: usize) -> io::Result<messages::Loaded> {
        match self {
            Self::Range(range) => reader.load(queue, range.clone(), octets),
            Self::At(positions) => reader.load_at(queue, positions, octets),
        }
    }
}

#[derive(Default)]
struct Asked {
    loads: VecDeque<(QueueId, Wanted)>,
    /// What could not be read, and when it is tried again.
    again: VecDeque<(Instant, QueueId, Wanted)>,
    /// Whether there is a node to give it to; its queues ask while it is being made.
    is_serving: bool,
    is_stopping: bool,
}

impl Loads {
    pub(super) fn new(log: Reader, page_out: Reader) -> Self {
        Self { log, page_out, asked: Mutex::default(), changed: Condvar::new(), counts: ReadCounts::default() }
    }

    /// What the log and the page-out area take on disk.
    pub(super) fn space(&self) -> (LogSpace, LogSpace) {
        let space = |reader: &Reader| {
            let Space { files, used_bytes, live_bytes, live, damaged } = reader.space();
            LogSpace { files, used_bytes, live_bytes, live, damaged }
        };
        (space(&self.log), space(&self.page_out))
    }

    pub(super) fn ask(&self, queue: QueueId, wanted: Wanted) {
        self.asked.lock().loads.push_back((queue, wanted));
        self.changed.notify_one();
    }

    /// Begins to read.
    pub(super) fn serve(&self) {
        self.asked.lock().is_serving = true;
        self.changed.notify_one();
    }

    pub(super) fn stop(&self) {
        self.asked.lock().is_stopping = true;
        self.changed.notify_one();
    }

    fn next(&self) -> Option<(QueueId, Wanted)> {
        let mut asked = self.asked.lock();
        loop {
            if asked.is_stopping {
                return None;
            }
            if !asked.is_serving {
                self.changed.wait(&mut asked);
                continue;
            }
            let now = Instant::now();
            if let Some((due, ..)) = asked.again.front()
                && *due <= now
                && let Some((_, queue, wanted)) = asked.again.pop_front()
            {
                return Some((queue, wanted));
            }
            if let Some(load) = asked.loads.pop_front() {
                return Some(load);
            }
            match asked.again.front().map(|(due, ..)| *due) {
                Some(due) => {
                    self.changed.wait_until(&mut asked, due);
                }
                None => self.changed.wait(&mut asked),
            }
        }
    }

    /// Tries again later; what others ask for does not wait for that.
    fn ask_again(&self, queue: QueueId, wanted: Wanted) {
        self.asked.lock().again.push_back((Instant::now() + RETRY, queue, wanted));
    }

    /// Reads a piece for somebody who waits for it.
    pub(super) fn read(&self, queue: QueueId, positions: &Range<u64>) -> io::Result<Loaded> {
        let Load { messages, up_to, lost } = self.load(queue, &Wanted::Range(positions.clone()), LOAD_OCTETS_SHORT)?;
        Ok(Loaded { from: positions.start, up_to, messages, lost: lost.len() })
    }

    /// Reads from both areas and puts the parts in order.
    fn load(&self, queue: QueueId, wanted: &Wanted, octets: usize) -> io::Result<Load> {
        let began = Instant::now();
        let load = self.load_both(queue, wanted, octets)?;
        let ReadCounts { reads, messages, octets, micros } = &self.counts;
        let read: usize = load.messages.iter().map(|(_, message)| message.octets().len()).sum();
        for (count, number) in [(reads, 1), (messages, load.messages.len() as u64), (octets, read as u64)] {
            count.fetch_add(number, Ordering::Relaxed);
        }
        micros.fetch_add(figures::micros(began.elapsed()), Ordering::Relaxed);
        Ok(load)
    }

    fn load_both(&self, queue: QueueId, wanted: &Wanted, octets: usize) -> io::Result<Load> {
        let key = QueueKey(queue.0);
        let log = wanted.load(&self.log, key, octets)?;
        let page_out = wanted.load(&self.page_out, key, octets)?;
        let up_to = log.up_to.min(page_out.up_to);
        let mut lost: Vec<u64> = log.lost.into_iter().chain(page_out.lost).filter(|lost| *lost < up_to).collect();
        let mut messages = Vec::with_capacity(log.messages.len() + page_out.messages.len());
        let is_mixed = !log.messages.is_empty() && !page_out.messages.is_empty();
        for (position, octets) in log.messages.into_iter().chain(page_out.messages) {
            if position >= up_to {
                continue;
            }
            match Message::from_octets(octets) {
                Some(message) => messages.push((Position(position), message)),
                None => lost.push(position),
            }
        }
        if is_mixed {
            messages.sort_unstable_by_key(|(position, _)| *position);
        }
        Ok(Load { messages, up_to, lost })
    }
}

struct Load {
    messages: Vec<(Position, Message)>,
    up_to: u64,
    lost: Vec<u64>,
}

/// Reads what is asked for until it is told to stop.
pub(super) fn run(shared: &Shared) {
    while let Some((queue, wanted)) = shared.loads.next() {
        // Queues ask while the node is being made, which is then not known yet.
        let Some(node) = shared.node.wait().upgrade() else { continue };
        let is_short = shared.memory.pressure() == MemoryPressure::All;
        let octets = if is_short { LOAD_OCTETS_SHORT } else { LOAD_OCTETS };
        match shared.loads.load(queue, &wanted, octets) {
            Ok(Load { messages, up_to, lost }) => {
                if !lost.is_empty() {
                    tracing::error!(queue = queue.0, "the disk damaged {} messages, which are lost", lost.len());
                    shared.log.put(|group| {
                        for position in &lost {
                            group.settle(QueueKey(queue.0), *position..*position + 1);
                        }
                    });
                }
                node.loaded(queue, Loaded { from: wanted.start(), up_to, messages, lost: lost.len() });
            }
            Err(error) => {
                tracing::error!(queue = queue.0, "messages cannot be read from disk: {error}");
                drop(node);
                shared.loads.ask_again(queue, wanted);
            }
        }
    }
}
