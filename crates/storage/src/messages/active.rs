//! The file that is written: what is in it, what still fits, how records get to its end.

use std::io;
use std::sync::Arc;

use super::QueueKey;
use super::directory::{Directory, FIXED_BYTES, OFFSET_BYTES, OpenIndex, Others, run_bytes};
use super::format::{self, DIRECTORY, HEADER_BYTES, MARK, OFFSETS, TRAILER_BYTES, Trailer, number_bytes, sequence};
use crate::disk::DiskFile;
use crate::record::{self, Kind};

/// So much is written at once, in bytes, if there is so much.
const WRITE_BYTES: usize = 1 << 20;

/// A buffer that is larger, in bytes, after a large message is not kept.
const BUFFER_BYTES_KEPT: usize = 8 << 20;

/// The most that is kept free, in bytes, for what gives space back.
const RESERVE_BYTES_MAX: u64 = 256 << 10;

/// Writes below this size, in bytes, are followed by many zeros where nothing was written before.
const SMALL_WRITE_BYTES: usize = 64 << 10;

/// A page of the system's memory, in bytes; where pages are larger this is only slower.
const PAGE_BYTES: u64 = 4 << 10;

/// Zeros go up to a multiple of this, in bytes.
const ZEROS_BYTES: u64 = 256 << 10;

/// Who writes. Messages leave a reserve to what makes space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Messages,
    Space,
}

/// What a record takes, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cost {
    /// In itself.
    pub(super) record: u64,
    /// In the directory, at most.
    pub(super) directory: u64,
}

/// How full a file is. Apart from the file, so that a plan can be made before anything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Room {
    pub(super) size: u64,
    /// Where the next record goes.
    pub(super) end: u64,
    /// What the directory and the trailer take at most.
    pub(super) directory: u64,
}

impl Room {
    /// That of a new file.
    pub(super) fn new(size: u64) -> Self {
        Self { size, end: HEADER_BYTES as u64, directory: FIXED_BYTES }
    }

    pub(super) fn fits(&self, cost: Cost, purpose: Purpose) -> bool {
        let reserve = match purpose {
            Purpose::Messages => reserve_bytes(self.size),
            Purpose::Space => 0,
        };
        // A mark may go before.
        self.end + self.directory + cost.record + cost.directory + reserve + MARK_BYTES <= self.size
    }

    pub(super) fn take(&mut self, cost: Cost) {
        self.end += cost.record;
        self.directory += cost.directory;
    }

    /// The size of a file into which messages of this cost fit, beside what it begins with.
    pub(super) fn size_for(preamble: Cost, cost: Cost) -> u64 {
        let content = HEADER_BYTES as u64 + FIXED_BYTES + MARK_BYTES;
        let content = content + preamble.record + preamble.directory + cost.record + cost.directory;
        // Its reserve is a share of the whole.
        (content + RESERVE_BYTES_MAX).min(content + content / (RESERVE_SHARE - 1) + 1)
    }
}

/// A share of a file is its reserve.
const RESERVE_SHARE: u64 = 8;

fn reserve_bytes(size: u64) -> u64 {
    (size / RESERVE_SHARE).min(RESERVE_BYTES_MAX)
}

const MARK_BYTES: u64 = record::HEADER_BYTES as u64 + 8;

/// The cost of a record with a message.
pub(super) fn message_cost(prefix: usize, octets: usize) -> Cost {
    Cost { record: (record::HEADER_BYTES + prefix + octets) as u64, directory: 0 }
}

/// What a message costs in the directory.
pub(super) fn reference_cost(queue: QueueKey, position: u64, is_new_run: bool) -> u64 {
    OFFSET_BYTES as u64 + if is_new_run { run_bytes(queue, position) } else { 0 }
}

/// Bytes before a message in one queue.
pub(super) fn prefix_bytes(queue: QueueKey, position: u64) -> usize {
    1 + number_bytes(queue.0) + number_bytes(position)
}

/// The file that is written.
pub(super) struct Active {
    pub(super) number: u64,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) room: Room,
    /// Records that are not written yet; they go to the end.
    buffer: Vec<u8>,
    /// The last record.
    index: u32,
    /// The last record that is durable.
    synced: u32,
    /// What the last mark said.
    marked: u32,
    /// Whether something was written since the last sync.
    pub(super) is_dirty: bool,
    /// Up to where the file was ever written, in this life or an earlier one.
    touched: u64,
    /// Up to where it was written in this life.
    filled: u64,
    /// What the directory will say.
    pub(super) others: Others,
    /// Bytes written since this was last taken.
    pub(super) written: u64,
}

impl Active {
    /// `touched` is up to where it was ever written, `buffer` memory to use.
    pub(super) fn new(number: u64, file: Arc<dyn DiskFile>, size: u64, touched: u64, mut buffer: Vec<u8>) -> Self {
        buffer.clear();
        Self {
            number,
            file,
            room: Room::new(size),
            buffer,
            index: 0,
            synced: 0,
            marked: 0,
            is_dirty: false,
            touched: touched.max(HEADER_BYTES as u64),
            filled: HEADER_BYTES as u64,
            others: Others::default(),
            written: 0,
        }
    }

    /// Appends a record to what will be written. Returns where it begins.
    ///
    /// The caller has asked whether there is room.
    pub(super) fn append(&mut self, kind: Kind, parts: &[&[u8]], directory: u64) -> io::Result<u64> {
        if self.marked < self.synced {
            // It tells damage from a torn write, as it proves what was durable.
            self.marked = self.synced;
            let synced = sequence(self.number, self.synced).0.to_le_bytes();
            self.append_one(MARK, &[&synced], 0)?;
        }
        self.append_one(kind, parts, directory)
    }

    fn append_one(&mut self, kind: Kind, parts: &[&[u8]], directory: u64) -> io::Result<u64> {
        if self.buffer.len() >= WRITE_BYTES {
            self.flush()?;
        }
        let start = self.room.end;
        let before = self.buffer.len();
        self.index = self.index.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        record::encode(sequence(self.number, self.index), kind, parts, &mut self.buffer).map_err(io::Error::other)?;
        self.room.take(Cost { record: (self.buffer.len() - before) as u64, directory });
        Ok(start)
    }

    /// The room for a group, which begins with a mark if there is something new to say.
    pub(super) fn room_after_mark(&self) -> Room {
        let mut room = self.room;
        if self.marked < self.synced {
            room.take(Cost { record: MARK_BYTES, directory: 0 });
        }
        room
    }

    /// Writes what was appended.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        let bytes = self.buffer.len();
        if bytes == 0 {
            return Ok(());
        }
        let start = self.room.end - bytes as u64;
        if self.room.end > self.filled {
            let is_new = bytes < SMALL_WRITE_BYTES && self.room.end > self.touched;
            // Syncs of what comes next are then overwrites, which take the file system less; and a page that is written in
            // part would have to be read first.
            let multiple = if is_new { ZEROS_BYTES } else { PAGE_BYTES };
            let end = self.room.end.next_multiple_of(multiple).min(self.room.size).max(self.room.end);
            self.buffer.resize(usize::try_from(end - start).unwrap_or(bytes), 0);
        }
        self.is_dirty = true;
        self.write_buffer(start, bytes)?;
        self.filled = self.filled.max(start + self.buffer.len() as u64);
        self.touched = self.touched.max(self.filled);
        self.written += bytes as u64;
        self.buffer.clear();
        if self.buffer.capacity() > BUFFER_BYTES_KEPT {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Writes the buffer, `bytes` of which are records: pages they fill in one go, the others one by one.
    ///
    /// Systems keep what came in one write together (Linux in folios), and write all of it again when a byte of it changes.
    /// The next write begins in the page where this one ends.
    fn write_buffer(&self, start: u64, bytes: usize) -> io::Result<()> {
        let end = start + bytes as u64;
        let filled = usize::try_from((end - end % PAGE_BYTES).saturating_sub(start)).unwrap_or(bytes);
        let (pages, mut rest) = self.buffer.split_at_checked(filled).unwrap_or((&self.buffer, &[]));
        let mut offset = start;
        if !pages.is_empty() {
            self.file.write_at(offset, pages)?;
            offset += pages.len() as u64;
        }
        while !rest.is_empty() {
            let in_page = usize::try_from(PAGE_BYTES - offset % PAGE_BYTES).unwrap_or(rest.len()).min(rest.len());
            let (page, behind) = rest.split_at_checked(in_page).unwrap_or((rest, &[]));
            self.file.write_at(offset, page)?;
            offset += page.len() as u64;
            rest = behind;
        }
        Ok(())
    }

    /// Whether the list of files that it begins with is durable.
    pub(super) fn has_durable_list(&self) -> bool {
        self.synced > 0
    }

    /// Waits until what was written is durable.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.is_dirty = false;
        // What is in the buffer has a number already.
        if self.buffer.is_empty() {
            self.synced = self.index;
        }
        Ok(())
    }

    /// Writes what is in the file to its end. Nothing goes into it any more.
    pub(super) fn seal(&mut self, index: &OpenIndex) -> io::Result<Directory> {
        self.others.sort();
        let offsets_at = self.room.end;
        let directory = seal(&mut self.buffer, self.number, &mut self.index, offsets_at, index, &self.others)?;
        let offset = offsets_at + directory.offset;
        let end = offsets_at + directory.bytes;
        self.room.end = end;
        self.flush()?;
        self.room.size = self.room.size.max(end + TRAILER_BYTES as u64);
        let bytes = u32::try_from(end - offset).map_err(io::Error::other)?;
        let trailer = format::encode_trailer(Trailer { number: self.number, offset, bytes });
        self.file.write_at(self.room.size - TRAILER_BYTES as u64, &trailer)?;
        self.written += TRAILER_BYTES as u64;
        Ok(directory.directory)
    }

    /// The memory, for the next file.
    pub(super) fn take_buffer(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }
}

/// The records at the end of a file.
pub(super) struct Sealed {
    pub(super) directory: Directory,
    /// Where the directory begins, and where it ends, from where the offsets begin on.
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// Appends the records that end a file, of which the first will be at `offsets_at`.
pub(super) fn seal(
    destination: &mut Vec<u8>,
    number: u64,
    last: &mut u32,
    offsets_at: u64,
    index: &OpenIndex,
    others: &Others,
) -> io::Result<Sealed> {
    let start = destination.len();
    let mut append = |kind, payload: &[u8], destination: &mut Vec<u8>| {
        *last = last.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        record::encode(sequence(number, *last), kind, &[payload], destination).map_err(io::Error::other)
    };
    append(OFFSETS, &index.encode_offsets(), destination)?;
    let offset = (destination.len() - start) as u64;
    let directory =
        Directory { offsets_at: offsets_at + record::HEADER_BYTES as u64, runs: index.runs(), others: others.clone() };
    let mut payload = Vec::new();
    directory.encode(&mut payload);
    append(DIRECTORY, &payload, destination)?;
    Ok(Sealed { directory, offset, bytes: (destination.len() - start) as u64 })
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::format::MESSAGE;
    use super::*;
    use crate::disk::simulated::Random;
    use crate::disk::{Disk, SimulatedDisk};

    /// A file, and the ranges that were written.
    struct Watched {
        file: Box<dyn DiskFile>,
        writes: Mutex<Vec<(u64, u64)>>,
    }

    impl DiskFile for Watched {
        fn length(&self) -> io::Result<u64> {
            self.file.length()
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
            self.file.read_at(offset, buffer)
        }

        fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
            self.writes.lock().unwrap().push((offset, offset + bytes.len() as u64));
            self.file.write_at(offset, bytes)
        }

        fn sync_data(&self) -> io::Result<()> {
            self.file.sync_data()
        }

        fn truncate(&self, length: u64) -> io::Result<()> {
            self.file.truncate(length)
        }

        fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
            self.file.allocate(offset, length)
        }
    }

    #[test]
    fn pages_written_together_are_not_written_again() {
        const SIZE: u64 = (1 << 20) + 1000;
        for seed in 0..40 {
            let mut random = Random::new(seed);
            let touched = if seed % 2 == 0 { 0 } else { SIZE };
            let disk = SimulatedDisk::new(seed);
            disk.put("a", vec![if touched > 0 { 0xFF } else { 0 }; usize::try_from(SIZE).unwrap()]);
            let file = Arc::new(Watched { file: disk.open("a").unwrap(), writes: Mutex::default() });
            let largest = [100, 5000, 100_000, 300_000][random.below_usize(4)];
            let mut active = Active::new(5, Arc::<Watched>::clone(&file), SIZE, touched, Vec::new());
            let mut records = Vec::new();
            loop {
                let octets = vec![7; random.below_usize(largest)];
                if !active.room.fits(message_cost(0, octets.len()), Purpose::Messages) || records.len() > 2000 {
                    break;
                }
                let start = active.append(MESSAGE, &[&octets], 0).unwrap();
                records.push((start, octets));
                if random.below(3) > 0 {
                    active.flush().unwrap();
                }
            }
            active.flush().unwrap();
            let bytes = disk.bytes("a").unwrap();
            for (start, octets) in &records {
                let record = record::decode(&bytes[usize::try_from(*start).unwrap()..]);
                let record::Decoded::Complete { record, .. } = record else { panic!("{seed}: {start}") };
                assert_eq!(record.payload, octets);
            }
            let behind = usize::try_from(active.room.end).unwrap();
            let page = behind.next_multiple_of(4096).min(bytes.len());
            assert!(bytes[behind..page].iter().all(|byte| *byte == 0), "{seed}: the last page is filled");
            let writes = file.writes.lock().unwrap();
            let mut closed = 0;
            for (start, end) in writes.iter().copied() {
                assert!(start >= closed && end <= SIZE, "{seed}: {start} to {end}");
                if start / PAGE_BYTES < (end - 1) / PAGE_BYTES {
                    assert_eq!(end % PAGE_BYTES, 0, "{seed}: {start} to {end}");
                    closed = end;
                }
            }
        }
    }
}
