//! Where messages are kept beside memory: the message log, and the area that memory pages out to.
//!
//! Queues put messages and settlements into the pending group of an area, under the area's lock; a thread for each area
//! ([`writer`]) takes the whole group and writes it in one go. A third thread ([`reader`]) reads back what queues ask for.

mod memory;
mod reader;
mod writer;

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use leveret_broker::journal::Written;
use leveret_broker::mailbox::{Event, Mailbox};
use leveret_broker::message::Message;
use leveret_broker::node::Node;
use leveret_broker::queue::{Loaded, Restored};
use leveret_broker::store::{Area, MemoryPressure, MessageStore, StorePace, StorePosition};
use leveret_broker::topology::{QueueId, QueueRecord, Topology};
use leveret_management::{LogFigures, StorageFigures};
use leveret_storage::disk::RealDisk;
use leveret_storage::messages::{Group, MessageLog, Options, Payload, QueueKey, Recovered};
use parking_lot::{Condvar, Mutex};

use crate::config::Config;
use crate::error::StartError;
use crate::figures::LogCounters;
use crate::metadata::{self, MetadataJournal};
use memory::Memory;
use reader::{Loads, Wanted};

/// The folder of the message log within the data folder.
pub const LOG_FOLDER: &str = "messages";
/// The folder that memory pages out to.
pub(crate) const PAGE_OUT_FOLDER: &str = "page-out";
/// Octets of messages that wait to be written before publishers are asked to wait.
const PENDING_MAX: usize = 8 * 1024 * 1024;

/// A message as the log takes it.
struct Stored(Message);

impl Payload for Stored {
    fn octets(&self) -> &[u8] {
        self.0.octets()
    }
}

/// The store of a node.
#[derive(Debug)]
pub(crate) struct Store {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads share with the queues.
struct Shared {
    log: Side,
    page_out: Side,
    memory: Memory,
    loads: Loads,
    state: Mutex<StoreState>,
    /// Whether `state` is anything but [`StoreState::Works`], readable without its lock.
    is_blocked: AtomicBool,
    node: OnceLock<Weak<Node>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("memory", &self.memory).finish_non_exhaustive()
    }
}

/// Whether the log takes messages, and who waits for it to do so again.
#[derive(Default)]
enum StoreState {
    #[default]
    Works,
    /// The disk is full.
    Full(Vec<Arc<Mailbox>>),
    /// A write failed; only a restart helps.
    Failed,
}

/// One area as the queues see it.
struct Side {
    pending: Mutex<Pending>,
    changed: Condvar,
    /// Up to which position it can be read back.
    written: AtomicU64,
    /// Up to which position nobody has to wait: the log is synced, the page-out area written.
    done: AtomicU64,
    counters: LogCounters,
}

/// What the area's thread has yet to take.
struct Pending {
    group: Group<Stored>,
    /// The position of what is in `group`.
    position: u64,
    /// Who waits for which position.
    waiting: Vec<(u64, Arc<Mailbox>)>,
    /// Whether the thread gave up, so that nobody needs to wait for it.
    has_failed: bool,
    /// Whether the thread waits for the first thing to do.
    is_idle: bool,
    is_stopping: bool,
}

impl Side {
    fn new() -> Self {
        let pending = Pending {
            group: Group::new(),
            position: 1,
            waiting: Vec::new(),
            has_failed: false,
            is_idle: false,
            is_stopping: false,
        };
        let (written, done) = (AtomicU64::new(0), AtomicU64::new(0));
        Self { pending: Mutex::new(pending), changed: Condvar::new(), written, done, counters: LogCounters::new() }
    }

    /// Puts something into the pending group; says its position, and how many octets of messages are in the group.
    fn put(&self, put: impl FnOnce(&mut Group<Stored>)) -> (StorePosition, usize) {
        let mut pending = self.pending.lock();
        put(&mut pending.group);
        let position = StorePosition(pending.position);
        let octets = pending.group.octets();
        // While it writes, the thread looks for more before it sleeps; and while it gathers, only much is worth a word.
        let wake = std::mem::take(&mut pending.is_idle) || octets >= writer::GATHERED_MAX;
        drop(pending);
        if wake {
            self.changed.notify_one();
        }
        (position, octets)
    }

    fn wait(&self, position: StorePosition, mailbox: &Arc<Mailbox>) -> Written {
        if self.done.load(Ordering::Acquire) >= position.0 {
            return Written::Synced;
        }
        let mut pending = self.pending.lock();
        // The thread tells those who wait under this lock, after it has moved on.
        if self.done.load(Ordering::Acquire) >= position.0 {
            return Written::Synced;
        }
        if pending.has_failed {
            return Written::Failed;
        }
        match pending.waiting.last_mut() {
            // Told of the first of its positions, it asks again for the others.
            Some((awaited, same)) if Arc::ptr_eq(same, mailbox) => *awaited = position.0.min(*awaited),
            _ => pending.waiting.push((position.0, Arc::clone(mailbox))),
        }
        // Somebody waits, so nothing more is gathered.
        pending.is_idle = false;
        drop(pending);
        self.changed.notify_one();
        Written::Waiting
    }

    /// Takes note of how far the area is, and tells those who wait for that.
    fn release(&self, position: u64) {
        self.done.store(position, Ordering::Release);
        let mut pending = self.pending.lock();
        let told: Vec<_> =
            pending.waiting.extract_if(.., |(awaited, _)| *awaited <= position).map(|(_, mailbox)| mailbox).collect();
        drop(pending);
        tell(told.iter());
    }

    /// Nothing more will be written; tells everybody who waits.
    fn fail(&self) {
        let mut pending = self.pending.lock();
        pending.has_failed = true;
        let told = std::mem::take(&mut pending.waiting);
        drop(pending);
        tell(told.iter().map(|(_, mailbox)| mailbox));
    }

    fn stop(&self) {
        self.pending.lock().is_stopping = true;
        self.changed.notify_one();
    }
}

/// What the message log holds when a node starts.
pub(crate) struct Opened {
    /// The store, whose threads run.
    pub(crate) store: Arc<Store>,
    /// What each queue has in it.
    pub(crate) queues: HashMap<QueueId, Restored>,
    /// The first queue id that is not in it.
    pub(crate) unused_id: QueueId,
}

/// Reads the message log in the data folder; says what it holds and goes on with it.
///
/// Messages of queues that are not declared are dropped, for their queue was deleted; but not while a damaged metadata log
/// lies in its folder, for then it may be the declaration that is lost.
pub(crate) fn open(config: &Config, journal: &Arc<MetadataJournal>, topology: &Topology) -> Result<Opened, StartError> {
    let is_first_start = topology.vhosts().next().is_none();
    let queues = topology.vhosts().flat_map(|vhost| vhost.queues().flat_map(QueueRecord::ids));
    let known: HashSet<QueueId> = queues.chain(topology.delays().map(|delay| delay.id)).collect();
    let damaged = metadata::damaged_log(&config.data_dir);
    let (log, recovered) = open_area(&config.data_dir.join(LOG_FOLDER), true)?;
    let (page_out, _) = open_area(&config.data_dir.join(PAGE_OUT_FOLDER), false)?;
    report(&recovered);
    let shared = Arc::new(Shared {
        log: Side::new(),
        page_out: Side::new(),
        memory: Memory::new(config.memory_budget),
        loads: Loads::new(log.reader(), page_out.reader()),
        state: Mutex::new(StoreState::Works),
        is_blocked: AtomicBool::new(false),
        node: OnceLock::new(),
    });
    let mut queues = HashMap::new();
    let mut orphans = (0_u64, 0_u64);
    let mut unused_id = QueueId(0);
    for found in recovered.queues {
        let QueueKey(id) = found.queue;
        unused_id = unused_id.max(QueueId(id.saturating_add(1)));
        if known.contains(&QueueId(id)) {
            let messages = usize::try_from(found.messages).unwrap_or(usize::MAX);
            let (first, next, delivered_before) = (found.first, found.next, found.delivered_before);
            queues.insert(QueueId(id), Restored { first, next, messages, delivered_before });
        } else if is_first_start && found.messages > 0 {
            let reason = "it holds messages, but nothing says of which queues: the metadata log beside it is gone (bring \
                          it back, or move the message log away to begin anew)";
            return Err(StartError::read_messages(&config.data_dir.join(LOG_FOLDER), reason.into()));
        } else if damaged.is_none() {
            shared.log.put(|group| group.delete(QueueKey(id)));
        } else if found.messages > 0 {
            orphans.0 += 1;
            orphans.1 += found.messages;
        }
    }
    if let (Some(damaged), (1.., _)) = (damaged, orphans) {
        let ((queues, messages), damaged) = (orphans, damaged.display());
        tracing::error!(
            "{messages} messages are kept of {queues} queues that are not declared, as their declarations may be what the \
             damage to {damaged} took; `leveret storage dump` shows them, and they go when that file is moved away"
        );
    }
    let mut threads = Vec::new();
    let mut spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
        let thread = std::thread::Builder::new().name(name.into()).spawn(run);
        thread.map(|thread| threads.push(thread)).map_err(|source| StartError::Threads { source })
    };
    let (to_log, to_page_out, to_reader) = (Arc::clone(&shared), Arc::clone(&shared), Arc::clone(&shared));
    let (sync, journal) = (config.sync, Arc::clone(journal));
    spawn("leveret-log", Box::new(move || writer::run_log(&to_log, log, sync, &journal)))?;
    spawn("leveret-page-out", Box::new(move || writer::run_page_out(&to_page_out, page_out)))?;
    spawn("leveret-read", Box::new(move || reader::run(&to_reader)))?;
    Ok(Opened { store: Arc::new(Store { shared, threads: Mutex::new(threads) }), queues, unused_id })
}

fn open_area(folder: &Path, is_synced: bool) -> Result<(MessageLog, Recovered), StartError> {
    let disk = RealDisk::open(folder).map_err(|source| StartError::read_messages(folder, source.to_string()))?;
    let options = Options { is_synced, ..Options::default() };
    MessageLog::open(Arc::new(disk), options).map_err(|error| StartError::read_messages(folder, error.to_string()))
}

/// Says in what state the log was.
fn report(recovered: &Recovered) {
    let report = &recovered.report;
    if report.is_damaged() {
        tracing::error!(%report, "the message log is damaged, and messages may be lost");
    } else {
        tracing::info!(%report, "message log");
    }
}

impl Store {
    /// Makes the node known that is given what is read back.
    pub(crate) fn serve(&self, node: &Arc<Node>) {
        let _ = self.shared.node.set(Arc::downgrade(node));
        self.shared.loads.serve();
    }

    /// Octets of messages in memory.
    pub(crate) fn memory(&self) -> u64 {
        self.shared.memory.used()
    }

    /// What it counts; `journal` is what the metadata log does.
    pub(crate) fn figures(&self, journal: LogFigures) -> StorageFigures {
        let Shared { log, page_out, memory, loads, state, .. } = &*self.shared;
        let (log_space, page_out_space) = loads.space();
        let counts = &loads.counts;
        StorageFigures {
            logs: vec![
                log.counters.read("messages", Some(log_space)),
                page_out.counters.read("page_out", Some(page_out_space)),
                journal,
            ],
            reads: counts.reads.load(Ordering::Relaxed),
            read_messages: counts.messages.load(Ordering::Relaxed),
            read_bytes: counts.octets.load(Ordering::Relaxed),
            read_time: Duration::from_micros(counts.micros.load(Ordering::Relaxed)),
            memory: memory.used(),
            is_full: matches!(*state.lock(), StoreState::Full(_)),
        }
    }

    /// What keeps it from taking messages.
    pub(crate) fn alarm(&self) -> Option<&'static str> {
        match *self.shared.state.lock() {
            StoreState::Works => None,
            StoreState::Full(_) => Some("the disk is full; messages wait until there is space"),
            StoreState::Failed => {
                Some("the message log could not be written; nothing durable is taken until the broker is started again")
            }
        }
    }

    /// Writes what is left and ends the threads.
    pub(crate) fn stop(&self) {
        // Without a node, nobody has to be waited for.
        let _ = self.shared.node.set(Weak::new());
        self.shared.log.stop();
        self.shared.page_out.stop();
        self.shared.loads.stop();
        for thread in self.threads.lock().drain(..) {
            let _ = thread.join();
        }
    }
}

impl MessageStore for Store {
    fn append(
        &self,
        area: Area,
        queue: QueueId,
        shared: bool,
        messages: &mut dyn Iterator<Item = (u64, &Message)>,
    ) -> (StorePosition, StorePace) {
        let messages = messages.map(|(position, message)| (position, Stored(message.clone())));
        let side = self.shared.side(area);
        let (position, octets) = side.put(|group| group.publish(QueueKey(queue.0), shared, messages));
        (position, if octets > PENDING_MAX { StorePace::Pause } else { StorePace::Go })
    }

    fn settle(&self, area: Area, queue: QueueId, positions: &[Range<u64>]) -> StorePosition {
        let (position, _) = self.shared.side(area).put(|group| {
            for range in positions {
                group.settle(QueueKey(queue.0), range.clone());
            }
        });
        position
    }

    fn delivered(&self, queue: QueueId, before: u64) {
        self.shared.log.put(|group| group.delivered(QueueKey(queue.0), before));
    }

    fn delete(&self, queue: QueueId) {
        for side in [&self.shared.log, &self.shared.page_out] {
            side.put(|group| group.delete(QueueKey(queue.0)));
        }
    }

    fn load(&self, queue: QueueId, positions: Range<u64>) {
        self.shared.loads.ask(queue, Wanted::Range(positions));
    }

    fn load_at(&self, queue: QueueId, positions: Vec<u64>) {
        self.shared.loads.ask(queue, Wanted::At(positions));
    }

    fn read(&self, queue: QueueId, positions: Range<u64>) -> std::io::Result<Loaded> {
        self.shared.loads.read(queue, &positions)
    }

    fn written(&self, area: Area) -> StorePosition {
        StorePosition(self.shared.side(area).written.load(Ordering::Acquire))
    }

    fn synced(&self) -> StorePosition {
        StorePosition(self.shared.log.done.load(Ordering::Acquire))
    }

    fn wait(&self, area: Area, position: StorePosition, mailbox: &Arc<Mailbox>) -> Written {
        self.shared.side(area).wait(position, mailbox)
    }

    fn is_blocked(&self, mailbox: &Arc<Mailbox>) -> bool {
        if !self.shared.is_blocked.load(Ordering::Acquire) {
            return false;
        }
        match &mut *self.shared.state.lock() {
            StoreState::Works => false,
            StoreState::Full(waiting) => {
                // Connections that ended meanwhile have nobody to tell.
                waiting.retain(|other| Arc::strong_count(other) > 1);
                if !waiting.iter().any(|other| Arc::ptr_eq(other, mailbox)) {
                    waiting.push(Arc::clone(mailbox));
                }
                true
            }
            StoreState::Failed => true,
        }
    }

    fn count_memory(&self, octets: isize) {
        self.shared.memory.count(octets);
    }

    fn pressure(&self) -> MemoryPressure {
        self.shared.memory.pressure()
    }
}

impl Shared {
    fn side(&self, area: Area) -> &Side {
        match area {
            Area::Log => &self.log,
            Area::PageOut => &self.page_out,
        }
    }

    /// The disk is full, or is not any more.
    fn set_full(&self, is_full: bool) {
        let mut state = self.state.lock();
        match (&mut *state, is_full) {
            (StoreState::Works, true) => *state = StoreState::Full(Vec::new()),
            (StoreState::Full(_), false) => {
                let was = std::mem::take(&mut *state);
                self.is_blocked.store(false, Ordering::Release);
                drop(state);
                if let StoreState::Full(waiting) = was {
                    tell(waiting.iter());
                }
                return;
            }
            _ => return,
        }
        self.is_blocked.store(true, Ordering::Release);
    }

    /// The log failed, for good.
    fn set_failed(&self) {
        let was = std::mem::replace(&mut *self.state.lock(), StoreState::Failed);
        self.is_blocked.store(true, Ordering::Release);
        if let StoreState::Full(waiting) = was {
            tell(waiting.iter());
        }
    }
}

/// Tells connections that what they wait for may have happened.
fn tell<'a>(mailboxes: impl Iterator<Item = &'a Arc<Mailbox>>) {
    for waker in mailboxes.filter_map(|mailbox| mailbox.post(Event::JournalMoved)) {
        waker.wake();
    }
}

/// Pause before a write to a full disk is tried again.
const FULL_RETRY: Duration = Duration::from_millis(500);
