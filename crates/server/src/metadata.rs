//! The thread that writes down what survives a restart, and the start that reads it back.
//!
//! Changes come in under the topology's lock and are only put into a list; the thread takes the whole list, writes it in
//! one go and syncs once, so that many declarations at a time cost little more than one. Whoever waits is told when its
//! position is on disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use leveret_broker::journal::{Journal, JournalPosition, Written};
use leveret_broker::mailbox::{Event, Mailbox};
use leveret_broker::node::Node;
use leveret_broker::topology::{Record, Together, Topology};
use leveret_management::LogFigures;
use leveret_storage::disk::RealDisk;
use leveret_storage::metadata::{AppendError, CommitError, SnapshotError};
use leveret_storage::{MetadataLog, Report};
use parking_lot::{Condvar, Mutex};

use crate::changes::Changes;
use crate::error::StartError;
use crate::figures::LogCounters;

/// The folder of the metadata log within the data folder.
pub const FOLDER: &str = "metadata";

/// Pause before a commit to a full disk is tried again.
const FULL_RETRY: Duration = Duration::from_millis(500);

/// The journal of a node.
#[derive(Debug)]
pub(crate) struct MetadataJournal {
    shared: Arc<Shared>,
    changes: Changes,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// The last position on disk.
    synced: AtomicU64,
    failed: AtomicBool,
    node: OnceLock<Weak<Node>>,
    counters: LogCounters,
}

#[derive(Debug, Default)]
struct State {
    /// Records that the thread has yet to take, as octets.
    pending: Vec<(u64, Vec<u8>)>,
    last: u64,
    waiting: Vec<Arc<Mailbox>>,
    stopping: bool,
}

/// Reads the metadata log in a data folder; says what it holds and goes on with it.
pub(crate) fn open(data_dir: &Path) -> Result<(Topology, MetadataJournal), StartError> {
    let folder = data_dir.join(FOLDER);
    let failed = |source: io::Error| StartError::read_metadata(&folder, source.to_string());
    std::fs::create_dir_all(&folder).map_err(failed)?;
    let disk = Arc::new(RealDisk::open(&folder).map_err(failed)?);
    let (log, recovered) =
        MetadataLog::open(disk).map_err(|error| StartError::read_metadata(&folder, error.to_string()))?;
    report(&recovered.report);
    let mut topology = Topology::new();
    for octets in &recovered.records {
        let records =
            Record::decode_all(octets).map_err(|error| StartError::read_metadata(&folder, error.to_string()))?;
        for record in records {
            // Records after a damaged range can miss what they build on. They are worth less than the rest.
            if let Err(error) = topology.restore(record) {
                tracing::error!("a record of the metadata log does not fit what is before it and is skipped: {error}");
            }
        }
    }
    let shared = Arc::new(Shared {
        state: Mutex::new(State::default()),
        changed: Condvar::new(),
        synced: AtomicU64::new(0),
        failed: AtomicBool::new(false),
        node: OnceLock::new(),
        counters: LogCounters::new(),
    });
    let to_thread = Arc::clone(&shared);
    let thread = std::thread::Builder::new()
        .name("leveret-metadata".into())
        .spawn(move || to_thread.run(log))
        .map_err(|source| StartError::Threads { source })?;
    let changes = Changes::of(&topology);
    Ok((topology, MetadataJournal { shared, changes, thread: Mutex::new(Some(thread)) }))
}

/// A metadata log that was found damaged and kept aside, if one still lies in a data folder.
pub(crate) fn damaged_log(data_dir: &Path) -> Option<PathBuf> {
    let entries = std::fs::read_dir(data_dir.join(FOLDER)).ok()?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "damaged")).min()
}

impl MetadataJournal {
    /// Makes the node known whose durable state a snapshot is taken of.
    pub(crate) fn serve(&self, node: &Arc<Node>) {
        let _ = self.shared.node.set(Arc::downgrade(node));
    }

    /// What its thread counts.
    pub(crate) fn figures(&self) -> LogFigures {
        self.shared.counters.read("metadata", None)
    }

    /// Whether a position is on disk.
    pub(crate) fn is_synced(&self, position: JournalPosition) -> bool {
        self.shared.synced.load(Ordering::Acquire) >= position.0
    }

    /// Writes what is left and ends the thread.
    pub(crate) fn stop(&self) {
        self.shared.state.lock().stopping = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
        // What comes later is never written, and nobody is to wait for it.
        self.shared.failed.store(true, Ordering::Release);
        let waiting = std::mem::take(&mut self.shared.state.lock().waiting);
        tell(&waiting);
    }
}

impl Journal for MetadataJournal {
    fn append(&self, records: Vec<Record>) -> JournalPosition {
        self.changes.log(&records);
        self.shared.append(records.into_iter().map(|record| {
            let mut octets = Vec::new();
            record.encode(&mut octets);
            octets
        }))
    }

    fn append_together(&self, records: Together) -> JournalPosition {
        self.changes.log(records.settings());
        self.shared.append(std::iter::once(records.into_octets()))
    }

    fn last(&self) -> JournalPosition {
        JournalPosition(self.shared.state.lock().last)
    }

    fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::Acquire)
    }

    fn written(&self, position: JournalPosition, mailbox: &Arc<Mailbox>) -> Written {
        if self.shared.synced.load(Ordering::Acquire) >= position.0 {
            return Written::Synced;
        }
        let mut state = self.shared.state.lock();
        // The thread tells those who wait under this lock, after it has moved on.
        if self.shared.synced.load(Ordering::Acquire) >= position.0 {
            return Written::Synced;
        }
        if self.shared.failed.load(Ordering::Acquire) {
            return Written::Failed;
        }
        if !state.waiting.iter().any(|waiting| Arc::ptr_eq(waiting, mailbox)) {
            state.waiting.push(Arc::clone(mailbox));
        }
        Written::Waiting
    }
}

impl Shared {
    fn append(&self, payloads: impl Iterator<Item = Vec<u8>>) -> JournalPosition {
        let mut state = self.state.lock();
        for octets in payloads {
            state.last += 1;
            let position = state.last;
            // After a failure nobody will ever take what would gather here.
            if !self.failed.load(Ordering::Acquire) {
                state.pending.push((position, octets));
            }
        }
        let last = state.last;
        drop(state);
        self.changed.notify_one();
        JournalPosition(last)
    }

    fn run(&self, mut log: MetadataLog) {
        while let Some(pending) = self.next_batch() {
            let last = pending.last().map_or(0, |(position, _)| *position);
            let Some(written) = self.write(&mut log, &pending) else { return };
            self.moved(written.map(|()| last));
            if log.wants_snapshot() && log.failure().is_none() {
                match self.snapshot(&mut log) {
                    Ok(position) => self.moved(Ok(position)),
                    Err(error) if log.failure().is_some() => self.moved(Err(error.to_string())),
                    // The log goes on in the file it has.
                    Err(error) => tracing::warn!("{error}"),
                }
            }
        }
    }

    /// Writes records and syncs, in as few goes as the log allows; `None` if the node stops while the disk is full.
    fn write(&self, log: &mut MetadataLog, pending: &[(u64, Vec<u8>)]) -> Option<Result<(), String>> {
        let octets: u64 = pending.iter().map(|(_, octets)| octets.len() as u64).sum();
        self.counters.given_bytes.add(octets);
        self.counters.written.add(pending.len() as u64);
        for (_, octets) in pending {
            let mut appended = log.append([octets.as_slice()]);
            if let Err(AppendError::Full) = appended {
                if let Err(error) = self.commit(log)? {
                    return Some(Err(error));
                }
                appended = log.append([octets.as_slice()]);
            }
            if let Err(error) = appended {
                return Some(Err(error.to_string()));
            }
        }
        self.commit(log)
    }

    /// Commits, as soon as there is space; `None` if the node stops before there is.
    fn commit(&self, log: &mut MetadataLog) -> Option<Result<(), String>> {
        let mut is_told = false;
        loop {
            let (began, before) = (Instant::now(), log.file_bytes());
            match log.commit() {
                Ok(_) => {
                    let written = log.file_bytes().saturating_sub(before);
                    self.counters.synced_since(began);
                    self.counters.groups.record(written);
                    self.counters.written_bytes.add(written);
                    return Some(Ok(()));
                }
                Err(CommitError::Full) => {}
                Err(error) => return Some(Err(error.to_string())),
            }
            if !is_told {
                is_told = true;
                tracing::error!("the disk is full: declarations of durable things have to wait until there is space");
            }
            let mut state = self.state.lock();
            if !state.stopping {
                self.changed.wait_for(&mut state, FULL_RETRY);
            }
            if state.stopping {
                return None;
            }
        }
    }

    /// Waits for something to write; `None` once there is nothing left and nothing more to come.
    fn next_batch(&self) -> Option<Vec<(u64, Vec<u8>)>> {
        let mut state = self.state.lock();
        while state.pending.is_empty() && !state.stopping {
            self.changed.wait(&mut state);
        }
        if self.failed.load(Ordering::Acquire) || state.pending.is_empty() {
            return None;
        }
        Some(std::mem::take(&mut state.pending))
    }

    /// Writes everything durable anew; says the position that it is as of.
    fn snapshot(&self, log: &mut MetadataLog) -> Result<u64, SnapshotError> {
        let synced = self.synced.load(Ordering::Acquire);
        let Some(node) = self.node.get().and_then(Weak::upgrade) else { return Ok(synced) };
        let (records, position) = node.durable_records();
        let Some(JournalPosition(position)) = position else { return Ok(synced) };
        let octets = records.iter().map(|record| {
            let mut octets = Vec::new();
            record.encode(&mut octets);
            octets
        });
        log.snapshot(octets)?;
        self.counters.written_bytes.add(log.file_bytes());
        // What was handed over meanwhile and is part of the snapshot need not be written again.
        self.state.lock().pending.retain(|(pending, _)| *pending > position);
        Ok(position)
    }

    /// Takes note of how far the disk is, and tells those who wait.
    fn moved(&self, result: Result<u64, String>) {
        let mut state = self.state.lock();
        match result {
            Ok(position) => {
                self.synced.fetch_max(position, Ordering::AcqRel);
            }
            Err(error) => {
                tracing::error!(
                    "the metadata log cannot be written, so no durable change is taken until the broker is started \
                     again: {error}"
                );
                self.failed.store(true, Ordering::Release);
            }
        }
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        tell(&waiting);
    }
}

/// Tells those who wait that there is news of what they wait for.
fn tell(waiting: &[Arc<Mailbox>]) {
    for waker in waiting.iter().filter_map(|mailbox| mailbox.post(Event::JournalMoved)) {
        waker.wake();
    }
}

/// Says in what state the log was.
fn report(report: &Report) {
    if report.is_damaged() {
        tracing::error!(%report, "the metadata log is damaged, and declarations may be lost");
    } else if report.torn_tail.as_ref().is_some_and(|tail| tail.records > 0) {
        // Most likely never answered, but the disk may have damaged the last of what was.
        tracing::warn!(%report, "metadata log");
    } else {
        tracing::info!(%report, "metadata log");
    }
}
