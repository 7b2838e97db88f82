//! A store in memory that writes, reads and blocks when the test says so.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use leveret_broker::journal::Written;
use leveret_broker::mailbox::{Event, Mailbox};
use leveret_broker::message::Message;
use leveret_broker::node::Node;
use leveret_broker::queue::{Loaded, Position};
use leveret_broker::store::{Area, MemoryPressure, MessageStore, StorePace, StorePosition};
use leveret_broker::topology::QueueId;

#[derive(Debug, Default)]
pub(crate) struct FakeStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What the log holds.
    log: BTreeMap<(QueueId, u64), Message>,
    last: u64,
    synced: u64,
    disk: Disk,
    /// Whether it says that it has enough to write.
    has_enough: bool,
    /// Whether it says that what is on disk should leave memory.
    is_short: bool,
    waiting: Vec<Arc<Mailbox>>,
    loads: Vec<(QueueId, Vec<Range<u64>>)>,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum Disk {
    #[default]
    Works,
    Full,
    Broken,
}

impl FakeStore {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Bodies of the messages in the log, by queue and position.
    pub(crate) fn kept(&self) -> Vec<String> {
        self.lock().log.values().map(|message| String::from_utf8_lossy(message.body()).into_owned()).collect()
    }

    pub(crate) fn sync(&self) {
        let mut state = self.lock();
        state.synced = state.last;
        tell(state);
    }

    pub(crate) fn fail(&self) {
        let mut state = self.lock();
        state.disk = Disk::Broken;
        tell(state);
    }

    pub(crate) fn block(&self, is_blocked: bool) {
        let mut state = self.lock();
        state.disk = if is_blocked { Disk::Full } else { Disk::Works };
        tell(state);
    }

    pub(crate) fn have_enough(&self, has_enough: bool) {
        self.lock().has_enough = has_enough;
    }

    pub(crate) fn be_short(&self, is_short: bool) {
        self.lock().is_short = is_short;
    }

    /// Answers what queues asked for.
    pub(crate) fn load(&self, node: &Node) {
        let loads = std::mem::take(&mut self.lock().loads);
        for (queue, ranges) in loads {
            let log = &self.lock().log.clone();
            let in_range = |range: &Range<u64>| log.range((queue, range.start)..(queue, range.end));
            let kept = ranges.iter().flat_map(in_range);
            let messages = kept.map(|((_, position), message)| (Position(*position), message.clone())).collect();
            let (from, up_to) = (ranges.first().unwrap().start, ranges.last().unwrap().end);
            node.loaded(queue, Loaded { from, up_to, messages, lost: 0 });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn tell(mut state: MutexGuard<'_, State>) {
    let waiting = std::mem::take(&mut state.waiting);
    drop(state);
    for mailbox in waiting {
        let _ = mailbox.post(Event::JournalMoved);
    }
}

impl MessageStore for FakeStore {
    fn append(
        &self,
        _area: Area,
        queue: QueueId,
        _shared: bool,
        messages: &mut dyn Iterator<Item = (u64, &Message)>,
    ) -> (StorePosition, StorePace) {
        let mut state = self.lock();
        state.last += 1;
        state.log.extend(messages.map(|(position, message)| ((queue, position), message.clone())));
        (StorePosition(state.last), if state.has_enough { StorePace::Pause } else { StorePace::Go })
    }

    fn settle(&self, _area: Area, queue: QueueId, positions: &[Range<u64>]) -> StorePosition {
        let mut state = self.lock();
        state.last += 1;
        state.log.retain(|(of, position), _| *of != queue || !positions.iter().any(|range| range.contains(position)));
        StorePosition(state.last)
    }

    fn delivered(&self, _queue: QueueId, _before: u64) {}

    fn delete(&self, queue: QueueId) {
        self.lock().log.retain(|(of, _), _| *of != queue);
    }

    fn load(&self, queue: QueueId, positions: Range<u64>) {
        self.lock().loads.push((queue, vec![positions]));
    }

    fn load_at(&self, queue: QueueId, positions: Vec<u64>) {
        let ranges = positions.into_iter().map(|position| position..position + 1).collect();
        self.lock().loads.push((queue, ranges));
    }

    fn read(&self, _queue: QueueId, _positions: Range<u64>) -> std::io::Result<Loaded> {
        Err(std::io::ErrorKind::Unsupported.into())
    }

    fn written(&self, _area: Area) -> StorePosition {
        StorePosition(self.lock().last)
    }

    fn synced(&self) -> StorePosition {
        StorePosition(self.lock().synced)
    }

    fn wait(&self, _area: Area, position: StorePosition, mailbox: &Arc<Mailbox>) -> Written {
        let mut state = self.lock();
        if state.synced >= position.0 {
            return Written::Synced;
        }
        if state.disk == Disk::Broken {
            return Written::Failed;
        }
        state.waiting.push(Arc::clone(mailbox));
        Written::Waiting
    }

    fn is_blocked(&self, mailbox: &Arc<Mailbox>) -> bool {
        let mut state = self.lock();
        if state.disk != Disk::Works {
            state.waiting.push(Arc::clone(mailbox));
        }
        state.disk != Disk::Works
    }

    fn count_memory(&self, _octets: isize) {}

    fn pressure(&self) -> MemoryPressure {
        if self.lock().is_short { MemoryPressure::Written } else { MemoryPressure::None }
    }
}
