//! A disk in memory that fails like real ones, the same way for the same seed.
//!
//! It keeps what is durable apart from what a program sees. [`SimulatedDisk::crash`] is the power cut: of what was not
//! synced any part may be there afterwards, in any order, cut at any byte, for names as for bytes. A disk that is
//! harsher than all real ones is the point.

mod content;
mod random;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use content::Content;
pub use random::Random;

use super::{Disk, DiskFile, check_name};

/// What goes wrong, and when. Operations are all calls on the disk and its files, counted from 0 since the disk was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// This operation fails; a write may be done in part, a change of names done or not.
    FailOperation(u64),
    /// Like [`Fault::FailOperation`], and nothing works after it until the next crash: the power is gone.
    StopAt(u64),
    /// Every sync of a file from this operation on fails. What was to be synced stays visible, as on Linux, but does not
    /// become durable by a later sync; only writing it again helps.
    FailSyncsFrom(u64),
    /// Files may take so many bytes together; beyond that writes fail with [`io::ErrorKind::StorageFull`].
    Capacity(u64),
}

/// A [`Disk`] in memory. Clones are the same disk.
#[derive(Debug, Clone)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    random: Random,
    files: BTreeMap<FileId, Content>,
    /// Names as a program sees them.
    names: BTreeMap<String, FileId>,
    durable_names: BTreeMap<String, FileId>,
    /// Changes of names that are not durable, oldest first.
    unsynced_names: Vec<NameChange>,
    next_file: FileId,
    faults: Vec<Fault>,
    operations: u64,
    /// Counts crashes: handles from before one are dead.
    epoch: u64,
    has_stopped: bool,
}

type FileId = u64;

/// Names that get another file, or none, at once.
type NameChange = Vec<(String, Option<FileId>)>;

impl SimulatedDisk {
    /// An empty disk. The seed decides how operations that fail do so.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = State {
            random: Random::new(seed),
            files: BTreeMap::new(),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            unsynced_names: Vec::new(),
            next_file: 0,
            faults: Vec::new(),
            operations: 0,
            epoch: 0,
            has_stopped: false,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Cuts the power and brings it back: handles are dead, faults are gone, and of what was not synced the seed decides
    /// what is there.
    pub fn crash(&self, seed: u64) {
        let mut state = self.lock();
        let mut random = Random::new(seed);
        let mut names = std::mem::take(&mut state.durable_names);
        let changes = std::mem::take(&mut state.unsynced_names);
        for change in random.some_of(changes) {
            apply(&mut names, change);
        }
        state.files.retain(|file, _| names.values().any(|named| named == file));
        for content in state.files.values_mut() {
            content.crash(&mut random);
        }
        state.durable_names.clone_from(&names);
        state.names = names;
        state.faults.clear();
        state.epoch += 1;
        state.has_stopped = false;
    }

    /// Adds a fault. All hold until the next crash or [`SimulatedDisk::mend`].
    pub fn fault(&self, fault: Fault) {
        self.lock().faults.push(fault);
    }

    /// Ends all faults. What they broke stays broken.
    pub fn mend(&self) {
        let mut state = self.lock();
        state.faults.clear();
        state.has_stopped = false;
    }

    /// How many operations there were: the number the next one has in a [`Fault`].
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// Flips a bit of a file, durably: damage, not a crash. `false` if there is no such bit.
    pub fn flip_bit(&self, name: &str, bit: u64) -> io::Result<bool> {
        let mut state = self.lock();
        Ok(state.content(name)?.flip_bit(bit))
    }

    /// Replaces or makes a file, durably.
    pub fn put(&self, name: &str, bytes: Vec<u8>) {
        let mut state = self.lock();
        let file = state.new_file(Content::durable(bytes));
        state.names.insert(name.to_owned(), file);
        state.durable_names.insert(name.to_owned(), file);
    }

    /// The bytes of a file as a program sees them.
    pub fn bytes(&self, name: &str) -> io::Result<Vec<u8>> {
        Ok(self.lock().content(name)?.bytes().to_vec())
    }

    /// The names of all files, sorted.
    pub fn names(&self) -> Vec<String> {
        self.lock().names.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, state: &State, file: FileId) -> Box<dyn DiskFile> {
        Box::new(SimulatedFile { disk: self.clone(), file, epoch: state.epoch })
    }
}

impl State {
    fn new_file(&mut self, content: Content) -> FileId {
        let file = self.next_file;
        self.next_file += 1;
        self.files.insert(file, content);
        file
    }

    fn find(&self, name: &str) -> io::Result<FileId> {
        check_name(name)?;
        self.names.get(name).copied().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no file {name}")))
    }

    fn content(&mut self, name: &str) -> io::Result<&mut Content> {
        let file = self.find(name)?;
        self.files.get_mut(&file).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Counts an operation and says whether it succeeds.
    fn operate(&mut self) -> io::Result<()> {
        let operation = self.operations;
        self.operations += 1;
        self.has_stopped |= self.faults.contains(&Fault::StopAt(operation));
        if self.has_stopped || self.faults.contains(&Fault::FailOperation(operation)) {
            return Err(io::Error::other(format!("simulated failure of operation {operation}")));
        }
        Ok(())
    }

    /// Counts an operation that changes names, and does it; if it fails, perhaps.
    fn change_names(&mut self, change: NameChange) -> io::Result<()> {
        let was_stopped = self.has_stopped;
        let result = self.operate();
        if result.is_ok() || (!was_stopped && self.random.below(2) == 0) {
            apply(&mut self.names, change.clone());
            self.unsynced_names.push(change);
        }
        result
    }

    fn syncs_fail(&self) -> bool {
        let fails = |fault: &Fault| matches!(fault, Fault::FailSyncsFrom(first) if *first < self.operations);
        self.faults.iter().any(fails)
    }

    /// The bytes that may still be added; the file that is being worked on does not count.
    fn room(&self) -> u64 {
        let named = self.names.values().filter_map(|file| self.files.get(file));
        let used = named.map(|content| content.bytes().len() as u64).sum();
        let capacity = self.faults.iter().filter_map(|fault| match fault {
            Fault::Capacity(bytes) => Some(*bytes),
            _ => None,
        });
        capacity.min().map_or(u64::MAX, |capacity| capacity.saturating_sub(used))
    }
}

fn apply(names: &mut BTreeMap<String, FileId>, change: NameChange) {
    for (name, file) in change {
        match file {
            Some(file) => names.insert(name, file),
            None => names.remove(&name),
        };
    }
}

impl Disk for SimulatedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut state = self.lock();
        state.operate()?;
        Ok(state.names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.lock();
        state.operate()?;
        let file = state.find(name)?;
        Ok(self.handle(&state, file))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        check_name(name)?;
        let mut state = self.lock();
        let existing = state.names.get(name).copied();
        if let Some(file) = existing {
            state.operate()?;
            if let Some(content) = state.files.get_mut(&file) {
                content.truncate(0);
            }
            return Ok(self.handle(&state, file));
        }
        let file = state.new_file(Content::default());
        state.change_names(vec![(name.to_owned(), Some(file))])?;
        Ok(self.handle(&state, file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        check_name(to)?;
        let mut state = self.lock();
        let file = state.find(from)?;
        state.change_names(vec![(from.to_owned(), None), (to.to_owned(), Some(file))])
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut state = self.lock();
        state.find(name)?;
        state.change_names(vec![(name.to_owned(), None)])
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.lock();
        state.operate()?;
        state.durable_names = state.names.clone();
        state.unsynced_names.clear();
        Ok(())
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    file: FileId,
    epoch: u64,
}

impl SimulatedFile {
    fn with<T>(&self, act: impl FnOnce(&mut State, &mut Content) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.lock();
        let gone = || io::Error::other("a handle from before the crash");
        if state.epoch != self.epoch {
            return Err(gone());
        }
        let mut content = state.files.remove(&self.file).ok_or_else(gone)?;
        let result = act(&mut state, &mut content);
        state.files.insert(self.file, content);
        result
    }
}

impl DiskFile for SimulatedFile {
    fn length(&self) -> io::Result<u64> {
        self.with(|state, content| {
            state.operate()?;
            Ok(content.bytes().len() as u64)
        })
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.with(|state, content| {
            state.operate()?;
            let start = usize::try_from(offset).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let source = content.bytes().get(start..).and_then(|rest| rest.get(..buffer.len()));
            buffer.copy_from_slice(source.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(|state, content| {
            let was_stopped = state.has_stopped;
            let mut result = state.operate();
            let mut count = bytes.len();
            if result.is_err() {
                count = if was_stopped { 0 } else { state.random.below_usize(bytes.len() + 1) };
            }
            let growth = content.growth(offset, count);
            let room = state.room().saturating_sub(content.bytes().len() as u64);
            if growth > room {
                // As much as fits, as real disks do.
                let excess = usize::try_from(growth - room).unwrap_or(usize::MAX);
                count = count.saturating_sub(excess);
                result = result.and(Err(io::ErrorKind::StorageFull.into()));
            }
            content.write(offset, bytes.get(..count).unwrap_or_default())?;
            result
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.with(|state, content| {
            let was_stopped = state.has_stopped;
            let result = state.operate();
            if result.is_ok() && !state.syncs_fail() {
                content.sync();
                return Ok(());
            }
            // Stopped means that the crash is still to come, and decides.
            if !was_stopped && !state.has_stopped {
                content.fail_sync(&mut state.random);
            }
            result.and(Err(io::Error::other("simulated failure of a sync")))
        })
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.with(|state, content| {
            state.operate()?;
            let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
            content.truncate(length);
            Ok(())
        })
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.with(|state, content| {
            state.operate()?;
            let length = usize::try_from(length).map_err(|_| io::ErrorKind::FileTooLarge)?;
            let growth = content.growth(offset, length);
            if growth > state.room().saturating_sub(content.bytes().len() as u64) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let grown = content.bytes().len() + usize::try_from(growth).map_err(|_| io::ErrorKind::FileTooLarge)?;
            content.truncate(grown);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
