//! Reading messages, from any thread.

use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use super::directory::Directory;
use super::format::{MESSAGE, file_and_index, references};
use super::scan::{Age, scan};
use super::state::{Index, Shared, State};
use super::{QueueKey, Space};
use crate::disk::DiskFile;
use crate::record::{self, Decoded};

/// So many messages are looked up at once.
const BATCH: usize = 4096;

/// Messages are taken to be of this size at least, in bytes, when it is said how many are looked up.
const SMALL_BYTES: usize = 8;

/// So much is read at once, in bytes, unless a message is larger.
const WINDOW_BYTES: usize = 1 << 20;

/// Messages further apart than this, in bytes, are not read together.
const BRIDGE_BYTES: u32 = 16 << 10;

/// Messages further apart than this are not looked up together: their places in the table are read in one go.
const SPAN_MAX: u64 = 64 << 10;

/// The size of a record that nothing is known about, in bytes.
const GUESS_BYTES: usize = 4 << 10;

/// Buffers kept for later.
const BUFFERS_MAX: usize = 16;

/// Reads messages, from any thread, while the log is written. Clones are cheap.
#[derive(Clone)]
pub struct Reader {
    shared: Arc<Shared>,
}

/// Messages of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loaded {
    /// Live messages with their positions, ascending.
    pub messages: Vec<(u64, Arc<[u8]>)>,
    /// How far was looked: every live position below it, from the start of the range on, is in `messages` or `lost`.
    pub up_to: u64,
    /// Positions whose message is damaged on disk, ascending. They stay live until they are settled.
    pub lost: Vec<u64>,
}

/// Messages in one file, at positions that follow each other or at those that were asked for.
pub(super) struct Found {
    pub(super) number: u64,
    file: Arc<dyn DiskFile>,
    length: u64,
    pub(super) first: u64,
    /// How far the positions are behind the first one; none if they follow each other.
    apart: Option<Vec<u32>>,
    count: usize,
    places: Places,
}

enum Places {
    Known(Vec<u32>),
    Table { directory: Arc<Directory>, index: u32 },
}

/// What a place in a file was found to hold.
pub(super) enum Place<'a> {
    /// The payload of the record of the message that should be there.
    Message {
        payload: &'a [u8],
        octets: &'a [u8],
    },
    Damaged,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What the log takes. Looks at every file, but at none of their contents.
    pub fn space(&self) -> Space {
        let state = self.shared.lock();
        let mut space = Space { damaged: self.shared.damaged.load(Ordering::Relaxed), ..Space::default() };
        for file in state.files.values() {
            space.files += 1;
            space.used_bytes += file.used;
            space.live += file.live;
            let live_bytes = u128::from(file.used) * u128::from(file.live) / u128::from(file.references.max(1));
            space.live_bytes += u64::try_from(live_bytes).unwrap_or(u64::MAX).min(file.used);
        }
        space
    }

    /// The live messages of a queue from the start of the range on, in order, to its end or until about `max_octets` are
    /// read; one at least, if there is any. An error is the disk's, and may go away.
    pub fn load(&self, queue: QueueKey, range: Range<u64>, max_octets: usize) -> Result<Loaded, io::Error> {
        let mut buffer = self.take_buffer();
        let loaded = self.load_wanted(queue, &Wanted::Range(range), max_octets, &mut buffer);
        self.give_buffer(buffer);
        loaded
    }

    /// The live messages of a queue at these positions, which ascend, until about `max_octets` are read; one at least, if there
    /// is any. An error is the disk's, and may go away.
    pub fn load_at(&self, queue: QueueKey, positions: &[u64], max_octets: usize) -> Result<Loaded, io::Error> {
        let mut buffer = self.take_buffer();
        let loaded = self.load_wanted(queue, &Wanted::At(positions), max_octets, &mut buffer);
        self.give_buffer(buffer);
        loaded
    }

    fn load_wanted(
        &self,
        queue: QueueKey,
        wanted: &Wanted<'_>,
        max_octets: usize,
        buffer: &mut Vec<u8>,
    ) -> Result<Loaded, io::Error> {
        let (start, end) = wanted.bounds();
        let mut loaded = Loaded { up_to: start, ..Loaded::default() };
        let mut octets_left = max_octets;
        loop {
            let most = BATCH.min(octets_left / SMALL_BYTES + 1);
            let found = {
                let state = self.shared.lock();
                match wanted {
                    Wanted::Range(range) => state.find(queue, loaded.up_to..range.end, most),
                    Wanted::At(positions) => state.find_at(queue, behind(positions, loaded.up_to), most),
                }
            };
            let Some(found) = found else {
                loaded.up_to = end.max(loaded.up_to);
                return Ok(loaded);
            };
            loaded.up_to = found.first;
            let mut doubtful = None;
            let read = found.read(queue, octets_left, buffer, &mut |position, place| match place {
                Place::Message { octets, .. } => {
                    loaded.messages.push((position, Arc::from(octets)));
                    loaded.up_to = position + 1;
                    octets_left = octets_left.saturating_sub(octets.len());
                    octets_left > 0
                }
                Place::Damaged => {
                    doubtful = Some(position);
                    false
                }
            });
            // A file may have been given back since it was looked up: what is no longer there is not lost.
            let is_there = |position| self.shared.lock().is_in(queue, position, found.number);
            if (read.is_err() || doubtful.is_some()) && self.shared.check_table(found.number) {
                continue;
            }
            match (read, doubtful) {
                (Ok(()), Some(position)) if is_there(position) => {
                    self.shared.damaged.fetch_add(1, Ordering::Relaxed);
                    loaded.lost.push(position);
                    loaded.up_to = position + 1;
                }
                (Err(error), _) if is_there(loaded.up_to) => return Err(error),
                _ => {}
            }
            if octets_left == 0 && !loaded.messages.is_empty() {
                return Ok(loaded);
            }
        }
    }

    fn take_buffer(&self) -> Vec<u8> {
        self.shared.buffers.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give_buffer(&self, buffer: Vec<u8>) {
        let mut buffers = self.shared.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        if buffers.len() < BUFFERS_MAX && buffer.len() <= 2 * WINDOW_BYTES {
            buffers.push(buffer);
        }
    }
}

/// Which messages are asked for.
enum Wanted<'a> {
    Range(Range<u64>),
    /// Ascending.
    At(&'a [u64]),
}

impl Wanted<'_> {
    fn bounds(&self) -> (u64, u64) {
        match self {
            Self::Range(range) => (range.start, range.end),
            Self::At(positions) => {
                let last = positions.last().map_or(0, |last| last.saturating_add(1));
                (positions.first().copied().unwrap_or_default(), last)
            }
        }
    }
}

/// Those positions that are not before this one.
fn behind(positions: &[u64], start: u64) -> &[u64] {
    positions.get(positions.partition_point(|position| *position < start)..).unwrap_or_default()
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Shared {
    /// Looks whether it is the table of offsets that is damaged, once for each file, and makes it anew from the file.
    /// `true` if it was and what was not found may be found now.
    pub(super) fn check_table(&self, number: u64) -> bool {
        let (file, directory, length) = {
            let mut state = self.lock();
            let Some(file) = state.files.get_mut(&number).filter(|file| !file.is_checked) else { return false };
            let Index::Sealed(directory) = &file.index else { return false };
            let directory = Arc::clone(directory);
            file.is_checked = true;
            (Arc::clone(&file.handle), directory, file.length)
        };
        if directory.has_offsets(&*file, length, number) {
            return false;
        }
        let Ok(bytes) = file.read_all() else { return false };
        let scan = scan(&bytes, number, Age::Older);
        if let Some(file) = self.lock().files.get_mut(&number) {
            file.places = Some(scan.index);
        }
        true
    }
}

impl State {
    /// Finds the first live messages of a range, so many at most.
    pub(super) fn find(&self, queue: QueueKey, range: Range<u64>, most: usize) -> Option<Found> {
        let piece = self.queues.get(&queue)?.live.within(range).next()?;
        let file = self.files.get(&piece.file)?;
        let first = piece.positions.start;
        let most = usize::try_from(piece.count()).unwrap_or(most).min(most);
        let (count, places) = match (&file.index, &file.places) {
            (Index::Open(index), _) | (_, Some(index)) => {
                let offsets = index.find(queue, first);
                let offsets = offsets.get(..most.min(offsets.len())).unwrap_or_default();
                (offsets.len(), Places::Known(offsets.to_vec()))
            }
            (Index::Sealed(directory), None) => match directory.find(queue, first) {
                Some((index, count)) => {
                    (most.min(count as usize), Places::Table { directory: Arc::clone(directory), index })
                }
                None => (0, Places::Known(Vec::new())),
            },
        };
        let number = piece.file;
        Some(Found { number, file: Arc::clone(&file.handle), length: file.length, first, apart: None, count, places })
    }

    /// Finds the first of these positions that is live, with those behind it that are in the same file, so many at most.
    fn find_at(&self, queue: QueueKey, positions: &[u64], most: usize) -> Option<Found> {
        let end = positions.last()?.saturating_add(1);
        let live = &self.queues.get(&queue)?.live;
        let mut rest = positions;
        let mut number = None;
        let mut positions: Vec<u64> = Vec::new();
        'pieces: while let Some(next) = rest.first()
            && let Some(piece) = live.within(*next..end).next()
        {
            rest = behind(rest, piece.positions.start);
            while let Some((position, later)) = rest.split_first().filter(|(next, _)| **next < piece.positions.end) {
                let is_far = positions.first().is_some_and(|first| position - first >= SPAN_MAX);
                if *number.get_or_insert(piece.file) != piece.file || positions.len() >= most || is_far {
                    break 'pieces;
                }
                positions.push(*position);
                rest = later;
            }
        }
        let (number, first) = (number?, *positions.first()?);
        let file = self.files.get(&number)?;
        let apart = positions.iter().map(|position| u32::try_from(position - first).unwrap_or(u32::MAX)).collect();
        let (count, places) = match (&file.index, &file.places) {
            (Index::Open(index), _) | (_, Some(index)) => {
                let offsets = positions.iter().map_while(|position| index.find(queue, *position).first().copied());
                let offsets: Vec<u32> = offsets.collect();
                (offsets.len(), Places::Known(offsets))
            }
            (Index::Sealed(directory), None) => match directory.find(queue, first) {
                Some((index, count)) => {
                    let count = positions.iter().take_while(|position| **position - first < u64::from(count)).count();
                    (count, Places::Table { directory: Arc::clone(directory), index })
                }
                None => (0, Places::Known(Vec::new())),
            },
        };
        let (handle, length) = (Arc::clone(&file.handle), file.length);
        Some(Found { number, file: handle, length, first, apart: Some(apart), count, places })
    }

    /// Whether a message is live and in this file.
    pub(super) fn is_in(&self, queue: QueueKey, position: u64, file: u64) -> bool {
        let queue = self.queues.get(&queue);
        let piece = queue.and_then(|queue| queue.live.within(position..position.saturating_add(1)).next());
        piece.is_some_and(|piece| piece.file == file)
    }
}

impl Found {
    /// Reads messages one after the other and hands out what is found, until `take` has enough. After damage, it ends.
    pub(super) fn read(
        &self,
        queue: QueueKey,
        octets: usize,
        buffer: &mut Vec<u8>,
        take: &mut dyn FnMut(u64, Place<'_>) -> bool,
    ) -> io::Result<()> {
        let read;
        let offsets = match &self.places {
            Places::Known(offsets) => offsets,
            Places::Table { directory, index } => {
                read = self.table_offsets(directory, *index)?;
                &read
            }
        };
        if offsets.is_empty() {
            // It is said to be here and its place is not known.
            take(self.first, Place::Damaged);
            return Ok(());
        }
        let mut done_before = 0;
        let mut rest = offsets.as_slice();
        let mut octets = octets;
        while !rest.is_empty() {
            let (start, count, bytes) = window(rest, octets);
            let bytes = bytes.min(usize::try_from(self.length.saturating_sub(u64::from(start))).unwrap_or(bytes));
            // A place behind the end is damage and reads as nothing.
            let window = if bytes == 0 { &[] } else { fill(&*self.file, u64::from(start), bytes, buffer)? };
            let mut partial = None;
            for (done, offset) in rest.iter().take(count).enumerate() {
                let at = window.get((offset - start) as usize..).unwrap_or_default();
                let position = self.position(done_before + done);
                let place = match self.check(queue, position, u64::from(*offset), at) {
                    Checked::Place(place) => place,
                    // The first one always gets its own size, so this ends.
                    Checked::Partial(bytes) => {
                        partial = Some((done, bytes));
                        break;
                    }
                };
                octets = match &place {
                    Place::Message { octets: found, .. } => octets.saturating_sub(found.len()),
                    Place::Damaged => 0,
                };
                if !take(position, place) {
                    return Ok(());
                }
            }
            let (done, larger) = partial.map_or((count, None), |(done, bytes)| (done, Some(bytes)));
            rest = rest.get(done..).unwrap_or_default();
            done_before += done;
            if let (Some(bytes), Some((offset, behind))) = (larger, rest.split_first()) {
                let window = fill(&*self.file, u64::from(*offset), bytes, buffer)?;
                let position = self.position(done_before);
                let place = match self.check(queue, position, u64::from(*offset), window) {
                    Checked::Place(place) => place,
                    Checked::Partial(_) => Place::Damaged,
                };
                octets = octets.saturating_sub(bytes);
                if !take(position, place) {
                    return Ok(());
                }
                done_before += 1;
                rest = behind;
            }
        }
        Ok(())
    }

    /// The position of the message that is found so many behind the first.
    fn position(&self, index: usize) -> u64 {
        let distance = match &self.apart {
            Some(apart) => apart.get(index).copied().map_or(0, u64::from),
            None => index as u64,
        };
        self.first.saturating_add(distance)
    }

    /// Where the messages are, from the table in the file; none if that cannot be.
    fn table_offsets(&self, directory: &Directory, index: u32) -> io::Result<Vec<u32>> {
        let count = u32::try_from(self.count).unwrap_or(u32::MAX);
        let Some(apart) = self.apart.as_ref().and_then(|apart| apart.get(..self.count)) else {
            let is_there = directory.offsets_end(index, count) <= self.length;
            return if is_there { directory.offsets(&*self.file, index, count) } else { Ok(Vec::new()) };
        };
        // In one go, as far as they reach: that is less than the messages themselves.
        let span = apart.last().map_or(0, |last| last.saturating_add(1));
        if directory.offsets_end(index, span) > self.length {
            return Ok(Vec::new());
        }
        let offsets = directory.offsets(&*self.file, index, span)?;
        Ok(apart.iter().filter_map(|distance| offsets.get(*distance as usize).copied()).collect())
    }

    fn check<'a>(&self, queue: QueueKey, position: u64, offset: u64, bytes: &'a [u8]) -> Checked<'a> {
        let record = match record::decode(bytes) {
            Decoded::Complete { record, .. } => record,
            Decoded::Torn => {
                // Places are so far apart that this is missing only at the end of the file.
                let Some((length, _)) = bytes.split_first_chunk() else { return Checked::Place(Place::Damaged) };
                let bytes_needed = u32::from_le_bytes(*length) as usize + 8;
                let is_possible = bytes_needed as u64 <= self.length.saturating_sub(offset);
                return if is_possible && bytes_needed > bytes.len() {
                    Checked::Partial(bytes_needed)
                } else {
                    Checked::Place(Place::Damaged)
                };
            }
            Decoded::Damaged => return Checked::Place(Place::Damaged),
        };
        let (file, _) = file_and_index(record.sequence);
        let place = references(record.payload)
            .filter(|_| file == self.number && record.kind == MESSAGE)
            .filter(|(references, _)| references.clone().any(|reference| reference == (queue, position)))
            .map_or(Place::Damaged, |(_, octets)| Place::Message { payload: record.payload, octets });
        Checked::Place(place)
    }
}

enum Checked<'a> {
    Place(Place<'a>),
    /// The record is longer than what was read.
    Partial(usize),
}

/// Which of the places are read together: where they start, how many they are, how many bytes.
fn window(offsets: &[u32], octets: usize) -> (u32, usize, usize) {
    let start = offsets.first().copied().unwrap_or_default();
    let most = octets.saturating_add(octets / 4).clamp(GUESS_BYTES, WINDOW_BYTES);
    let (mut last, mut count, mut guess) = (start, 1, GUESS_BYTES);
    for offset in offsets.iter().skip(1) {
        let Some(distance) = offset.checked_sub(last).filter(|distance| *distance <= BRIDGE_BYTES) else { break };
        count += 1;
        if distance == 0 {
            // The same message once more.
            continue;
        }
        // What comes next says how long this one can be.
        guess = distance as usize;
        if (offset - start) as usize + guess > most {
            return (start, count - 1, (last - start) as usize + guess);
        }
        last = *offset;
    }
    (start, count, (last - start) as usize + guess)
}

fn fill<'a>(file: &dyn DiskFile, offset: u64, bytes: usize, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
    if buffer.len() < bytes {
        buffer.resize(bytes, 0);
    }
    let window = buffer.get_mut(..bytes).unwrap_or_default();
    file.read_at(offset, window)?;
    Ok(window)
}
