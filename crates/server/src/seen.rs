//! What deduplicating exchanges have seen, kept over a restart.
//!
//! A log like that of declarations, in a folder of its own, which is only made once there is something to keep. Nobody waits for
//! it: a thread writes and syncs now and then, so a crash can cost what was seen in the last moments before it, which lets a
//! duplicate through at most.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use leveret_broker::clock::Timestamp;
use leveret_broker::dedup::{SeenLog, SeenRecord};
use leveret_broker::node::Node;
use leveret_broker::topology::Topology;
use leveret_storage::MetadataLog;
use leveret_storage::disk::RealDisk;
use leveret_storage::metadata::{AppendError, CommitError};
use parking_lot::{Condvar, Mutex};

use crate::error::StartError;

/// The folder of the log within the data folder.
pub(crate) const FOLDER: &str = "deduplication";
/// Pause between two goes of writing.
const INTERVAL: Duration = Duration::from_millis(100);
/// Octets of records that wait to be written. Of more, none are kept, and everything that exchanges know is written instead.
const PENDING_MAX: usize = 64 << 20;

/// Writes down what exchanges have seen.
#[derive(Debug)]
pub(crate) struct SeenWriter {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    pending_max: usize,
    state: Mutex<State>,
    changed: Condvar,
    node: OnceLock<Weak<Node>>,
}

#[derive(Debug, Default)]
struct State {
    /// Records that the thread has yet to take, as octets.
    pending: Vec<Vec<u8>>,
    /// Octets of these.
    pending_size: usize,
    /// Whether some were dropped, so that everything has to be written anew.
    has_dropped: bool,
    /// Whether the log is broken, so that nothing more is taken.
    is_broken: bool,
    is_stopping: bool,
}

/// What the thread has to write.
#[derive(Debug)]
struct Batch {
    records: Vec<Vec<u8>>,
    /// Whether that continues what is written.
    is_complete: bool,
}

/// Why nothing can be kept.
#[derive(Debug, thiserror::Error)]
#[error("what deduplicating exchanges have seen cannot be kept in {folder}: {reason}")]
struct Broken {
    folder: String,
    reason: String,
}

/// Reads the log in a data folder, if there is one, into the exchanges of a topology, and goes on with it.
pub(crate) fn open(data_dir: &Path, topology: &Topology, now: Timestamp) -> Result<SeenWriter, StartError> {
    open_with(data_dir, topology, now, PENDING_MAX)
}

fn open_with(
    data_dir: &Path,
    topology: &Topology,
    now: Timestamp,
    pending_max: usize,
) -> Result<SeenWriter, StartError> {
    let folder = data_dir.join(FOLDER);
    let mut state = State::default();
    let mut log = None;
    if folder.is_dir() {
        match open_log(&folder) {
            Ok((opened, records)) => {
                for record in &records {
                    topology.restore_seen(record, now);
                }
                log = Some(opened);
            }
            Err(error) => {
                // Exchanges route well without: that is no reason to serve nobody.
                tracing::error!("{error}");
                state.is_broken = true;
            }
        }
    }
    let shared = Arc::new(Shared {
        folder,
        pending_max,
        state: Mutex::new(state),
        changed: Condvar::new(),
        node: OnceLock::new(),
    });
    let to_thread = Arc::clone(&shared);
    let thread = std::thread::Builder::new()
        .name("leveret-seen".into())
        .spawn(move || {
            if let Err(error) = to_thread.run(log) {
                tracing::error!("{error}");
                let mut state = to_thread.state.lock();
                state.drop_all();
                state.is_broken = true;
            }
        })
        .map_err(|source| StartError::Threads { source })?;
    Ok(SeenWriter { shared, thread: Mutex::new(Some(thread)) })
}

fn open_log(folder: &Path) -> Result<(MetadataLog, Vec<SeenRecord>), Broken> {
    let broken = |reason: String| Broken { folder: folder.display().to_string(), reason };
    std::fs::create_dir_all(folder).map_err(|error| broken(error.to_string()))?;
    let disk = RealDisk::open(folder).map_err(|error: io::Error| broken(error.to_string()))?;
    let (log, recovered) = MetadataLog::open(Arc::new(disk)).map_err(|error| broken(error.to_string()))?;
    if recovered.report.is_damaged() {
        tracing::error!(report = %recovered.report, "the log of what deduplicating exchanges have seen is damaged");
    }
    let records = recovered.records.iter().map(|octets| SeenRecord::decode(octets));
    let records = records.collect::<Result<Vec<_>, _>>().map_err(|error| broken(error.to_string()))?;
    Ok((log, records))
}

impl SeenWriter {
    /// Makes the node known whose exchanges a snapshot is taken of, and known to it where they are to write.
    pub(crate) fn serve(self: &Arc<Self>, node: &Arc<Node>) {
        let _ = self.shared.node.set(Arc::downgrade(node));
        node.keep_seen_in(Arc::clone(self) as Arc<dyn SeenLog>);
    }

    /// Writes what is left and ends the thread.
    pub(crate) fn stop(&self) {
        self.shared.state.lock().is_stopping = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
    }
}

impl SeenLog for SeenWriter {
    fn append(&self, records: Vec<SeenRecord>) {
        let mut state = self.shared.state.lock();
        if state.is_broken {
            return;
        }
        let was_empty = state.pending.is_empty();
        for record in records {
            let mut octets = Vec::new();
            record.encode(&mut octets);
            state.pending_size += octets.len();
            state.pending.push(octets);
        }
        if state.pending_size > self.shared.pending_max {
            state.drop_all();
        }
        drop(state);
        if was_empty {
            self.shared.changed.notify_one();
        }
    }
}

impl State {
    fn drop_all(&mut self) {
        self.pending = Vec::new();
        self.pending_size = 0;
        self.has_dropped = true;
    }
}

impl Shared {
    fn run(&self, mut log: Option<MetadataLog>) -> Result<(), Broken> {
        while let Some(batch) = self.next_batch() {
            if log.is_none() {
                log = Some(open_log(&self.folder)?.0);
            }
            let Some(log) = &mut log else { return Ok(()) };
            if !batch.is_complete && !self.snapshot(log)? {
                // Without what was dropped, what follows would mean something else. All of it is tried again.
                let mut state = self.state.lock();
                state.drop_all();
                if state.is_stopping {
                    return Ok(());
                }
                continue;
            }
            self.write(log, &batch.records)?;
            self.commit(log)?;
            if log.wants_snapshot() {
                self.snapshot(log)?;
            }
        }
        Ok(())
    }

    /// Writes all that exchanges know anew, if that is possible now. What they see meanwhile is written again, which does no
    /// harm.
    fn snapshot(&self, log: &mut MetadataLog) -> Result<bool, Broken> {
        let Some(node) = self.node.get().and_then(Weak::upgrade) else { return Ok(false) };
        let octets = node.seen_records().into_iter().map(|record| {
            let mut octets = Vec::new();
            record.encode(&mut octets);
            octets
        });
        match log.snapshot(octets) {
            Ok(_) => Ok(true),
            Err(error) if log.failure().is_some() => Err(self.broken(&error)),
            Err(error) => {
                // The log goes on in the file it has.
                tracing::warn!("{error}");
                Ok(false)
            }
        }
    }

    fn broken(&self, reason: &impl ToString) -> Broken {
        Broken { folder: self.folder.display().to_string(), reason: reason.to_string() }
    }

    fn write(&self, log: &mut MetadataLog, pending: &[Vec<u8>]) -> Result<(), Broken> {
        for octets in pending {
            let mut appended = log.append([octets.as_slice()]);
            if let Err(AppendError::Full) = appended {
                self.commit(log)?;
                appended = log.append([octets.as_slice()]);
            }
            appended.map_err(|error| self.broken(&error))?;
        }
        Ok(())
    }

    /// Commits, as soon as there is space or the node stops.
    fn commit(&self, log: &mut MetadataLog) -> Result<(), Broken> {
        loop {
            match log.commit() {
                Ok(_) => return Ok(()),
                Err(CommitError::Full) => {}
                Err(error) => return Err(self.broken(&error)),
            }
            let mut state = self.state.lock();
            if !state.is_stopping {
                self.changed.wait_for(&mut state, INTERVAL);
            }
            if state.is_stopping {
                return Ok(());
            }
        }
    }

    /// Waits for something to write, and a little longer for more; `None` once there is nothing left and nothing more to come.
    fn next_batch(&self) -> Option<Batch> {
        let mut state = self.state.lock();
        while state.pending.is_empty() && !state.has_dropped && !state.is_stopping {
            self.changed.wait(&mut state);
        }
        if !state.is_stopping {
            self.changed.wait_for(&mut state, INTERVAL);
        }
        if state.pending.is_empty() && !state.has_dropped {
            return None;
        }
        state.pending_size = 0;
        let is_complete = !std::mem::take(&mut state.has_dropped);
        Some(Batch { records: std::mem::take(&mut state.pending), is_complete })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use leveret_broker::dedup::MessageId;
    use leveret_broker::exchange::ExchangeKind;
    use leveret_broker::node::Surroundings;
    use leveret_broker::topology::{Change, Origin};
    use leveret_broker::value::Value;

    const NOW: Timestamp = Timestamp(1000);

    fn topology() -> Topology {
        let mut topology = Topology::new();
        topology.apply(Change::CreateVhost { vhost: "/".into() }).unwrap();
        topology.apply(declare()).unwrap();
        topology
    }

    fn declare() -> Change {
        let arguments = [("x-cache-size", Value::I32(1000)), ("x-cache-persistence", Value::text("disk"))];
        Change::DeclareExchange {
            vhost: "/".into(),
            name: "x".into(),
            kind: ExchangeKind::Deduplication,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: arguments.into_iter().map(|(name, value)| (name.into(), value)).collect(),
            origin: Origin::Client,
        }
    }

    fn seen(number: u64) -> SeenRecord {
        let (vhost, exchange, id) = ("/".into(), "x".into(), MessageId::from(&Value::U64(number)));
        SeenRecord::Seen { vhost, exchange, id, until: None }
    }

    fn begun() -> SeenRecord {
        SeenRecord::Begun { vhost: "/".into(), exchange: "x".into() }
    }

    /// A node whose exchange sees these, one by one, with so much room for what is to be written.
    fn run(folder: &Path, pending_max: usize, numbers: std::ops::Range<u64>) -> Vec<SeenRecord> {
        let topology = topology();
        let writer = Arc::new(open_with(folder, &topology, NOW, pending_max).unwrap());
        let node = Arc::new(Node::restored(topology, Surroundings::default(), |_| None));
        writer.serve(&node);
        let restored = node.seen_records();
        for number in numbers {
            let record = seen(number);
            node.read(|topology| topology.restore_seen(&record, NOW));
            writer.append(vec![record]);
        }
        writer.stop();
        restored
    }

    fn expected(numbers: std::ops::Range<u64>) -> Vec<SeenRecord> {
        std::iter::once(begun()).chain(numbers.map(seen)).collect()
    }

    #[test]
    fn what_was_seen_is_known_by_the_next_node() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(run(folder.path(), PENDING_MAX, 0..0), expected(0..0));
        assert!(!folder.path().join(FOLDER).exists(), "nothing is made for nothing");
        assert_eq!(run(folder.path(), PENDING_MAX, 0..5), expected(0..0));
        assert_eq!(run(folder.path(), PENDING_MAX, 5..9), expected(0..5));
        assert_eq!(run(folder.path(), PENDING_MAX, 0..0), expected(0..9));
    }

    #[test]
    fn what_there_is_no_room_for_is_written_from_what_exchanges_know() {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), 100, 0..500);
        assert_eq!(run(folder.path(), 100, 0..0), expected(0..500));
    }

    #[test]
    fn an_exchange_of_the_same_name_knows_nothing_of_the_former() {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), PENDING_MAX, 0..5);
        let topology = topology();
        let writer = Arc::new(open(folder.path(), &topology, NOW).unwrap());
        let node = Arc::new(Node::restored(topology, Surroundings::default(), |_| None));
        writer.serve(&node);
        let (vhost, name, if_unused) = ("/".into(), "x".into(), false);
        node.apply(Change::DeleteExchange { vhost, name, if_unused }).unwrap();
        node.apply(declare()).unwrap();
        writer.stop();
        assert_eq!(run(folder.path(), PENDING_MAX, 0..0), expected(0..0));
    }

    #[test]
    fn a_folder_that_cannot_be_read_stops_nobody() {
        let folder = tempfile::tempdir().unwrap();
        run(folder.path(), PENDING_MAX, 0..5);
        let file = std::fs::read_dir(folder.path().join(FOLDER)).unwrap().next().unwrap().unwrap().path();
        let mut octets = std::fs::read(&file).unwrap();
        octets.iter_mut().take(16).for_each(|octet| *octet ^= 0xA5);
        std::fs::write(&file, octets).unwrap();
        run(folder.path(), PENDING_MAX, 0..5);
    }
}
