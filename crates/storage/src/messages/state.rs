//! What readers and the writer share: which positions are live, and where.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::QueueKey;
use super::directory::{Directory, OpenIndex};
use super::format::Ranges;
use super::intervals::{Intervals, Piece};
use crate::disk::DiskFile;

/// What readers and the writer share. The lock is held for moments, never over the disk.
#[derive(Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Memory that readers have used, to be used again.
    pub(super) buffers: Mutex<Vec<Vec<u8>>>,
    /// Messages that could not be read.
    pub(super) damaged: AtomicU64,
}

impl Shared {
    pub(super) fn of(state: State) -> Self {
        Self { state: Mutex::new(state), ..Self::default() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
pub(super) struct State {
    pub(super) queues: BTreeMap<QueueKey, Queue>,
    /// Files with records, by number.
    pub(super) files: BTreeMap<u64, File>,
    /// Whether a file came to have few live messages, or none, since this was reset.
    pub(super) has_work: bool,
}

#[derive(Default)]
pub(super) struct Queue {
    pub(super) live: Intervals,
    /// How many that is.
    pub(super) messages: u64,
    /// Above every position seen.
    pub(super) next: u64,
    pub(super) delivered_before: u64,
}

impl Queue {
    pub(super) fn first(&self) -> u64 {
        self.live.first().unwrap_or(self.next)
    }

    /// Whether messages that were handed out are still there, so that the next file has to say it again.
    pub(super) fn has_delivered(&self) -> bool {
        self.live.first().is_some_and(|first| first < self.delivered_before)
    }
}

/// A file with records.
pub(super) struct File {
    pub(super) handle: Arc<dyn DiskFile>,
    pub(super) index: Index,
    /// Messages written to it, in each queue.
    pub(super) references: u64,
    /// Those of them that are live.
    pub(super) live: u64,
    /// The older files that its settlements and copies are about. While one of them exists, this one has to.
    pub(super) about: BTreeSet<u64>,
    /// Bytes it takes.
    pub(super) length: u64,
    /// Up to where it is written.
    pub(super) used: u64,
    /// Whether its table of offsets was looked at as a whole.
    pub(super) is_checked: bool,
    /// Where its messages were found, as its table is damaged. What it says to hold stays what the table says.
    pub(super) places: Option<OpenIndex>,
}

impl File {
    /// Whether so little of it is live that copying that gains something.
    pub(super) fn is_sparse(&self) -> bool {
        self.live.saturating_mul(3) < self.references
    }
}

/// Where the messages of a file are.
#[derive(Clone)]
pub(super) enum Index {
    /// It is written, or was not ended well: offsets are in memory.
    Open(OpenIndex),
    /// Its end says where.
    Sealed(Arc<Directory>),
}

impl Index {
    pub(super) fn runs(&self) -> Ranges {
        match self {
            Self::Open(index) => index.runs().iter().map(|run| (run.queue, run.first..run.end())).collect(),
            Self::Sealed(directory) => directory.runs.iter().map(|run| (run.queue, run.first..run.end())).collect(),
        }
    }
}

/// Live positions that were settled, by file.
pub(super) type Settled = Vec<(QueueKey, Piece)>;

impl State {
    /// Messages are in a file, now.
    ///
    /// Where they were until now is hidden by this, and so is what was hidden there: while one of those files exists, this
    /// one has to.
    pub(super) fn insert(&mut self, queue: QueueKey, positions: Range<u64>, file: u64) {
        let Self { queues, files, has_work } = self;
        let entry = queues.entry(queue).or_default();
        entry.next = entry.next.max(positions.end);
        let count = positions.end - positions.start;
        entry.messages += count;
        let mut hidden = BTreeSet::new();
        let messages = &mut entry.messages;
        entry.live.insert(positions, file, |piece| {
            *messages -= piece.count();
            discount(files, &piece, has_work);
            if piece.file != file {
                hidden.insert(piece.file);
                hidden.extend(files.get(&piece.file).into_iter().flat_map(|other| other.about.iter().copied()));
            }
        });
        if let Some(file) = files.get_mut(&file) {
            file.live += count;
            file.about.append(&mut hidden);
        }
    }

    /// Positions are done with. Hands out those that were live.
    pub(super) fn settle(&mut self, queue: QueueKey, positions: Range<u64>, settled: &mut Settled) {
        let Self { queues, files, has_work } = self;
        let Some(entry) = queues.get_mut(&queue) else { return };
        let messages = &mut entry.messages;
        entry.live.remove(positions, |piece| {
            *messages -= piece.count();
            discount(files, &piece, has_work);
            settled.push((queue, piece));
        });
    }

    /// A queue is gone. Returns the files that had live messages of it; `None` if it was not known.
    pub(super) fn delete(&mut self, queue: QueueKey) -> Option<BTreeSet<u64>> {
        let mut settled = Vec::new();
        self.settle(queue, 0..u64::MAX, &mut settled);
        self.queues.remove(&queue)?;
        Some(settled.into_iter().map(|(_, piece)| piece.file).collect())
    }

    /// Positions of messages in a file that are not live anywhere, and queues in it that are gone.
    pub(super) fn dead_in(&self, file: u64) -> (Ranges, BTreeSet<QueueKey>) {
        let (mut dead, mut gone) = (Vec::new(), BTreeSet::new());
        let runs = self.files.get(&file).map(|file| file.index.runs()).unwrap_or_default();
        for (queue, range) in runs {
            let Some(entry) = self.queues.get(&queue) else {
                gone.insert(queue);
                continue;
            };
            let mut start = range.start;
            for piece in entry.live.within(range.clone()) {
                if start < piece.positions.start {
                    dead.push((queue, start..piece.positions.start));
                }
                start = piece.positions.end;
            }
            if start < range.end {
                dead.push((queue, start..range.end));
            }
        }
        (dead, gone)
    }

    /// A file is no longer there, so nothing has to be kept because of it.
    pub(super) fn forget(&mut self, number: u64) {
        self.files.remove(&number);
        for file in self.files.values_mut() {
            file.about.remove(&number);
        }
    }
}

fn discount(files: &mut BTreeMap<u64, File>, piece: &Piece, has_work: &mut bool) {
    if let Some(file) = files.get_mut(&piece.file) {
        file.live = file.live.saturating_sub(piece.count());
        *has_work |= file.is_sparse();
    }
}
