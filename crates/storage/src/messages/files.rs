//! Making files, going on to the next one, giving files back.

use std::io;
use std::sync::Arc;

use super::QueueKey;
use super::active::{Active, Cost, Purpose, Room};
use super::directory::OpenIndex;
use super::format::{
    DELIVERED, FILE_NUMBER_MAX, FILES, GONE, Name, Numbers, encode_header, number_bytes, pair_bytes, put_numbers,
    put_pairs,
};
use super::log::{MessageLog, Trouble, failed};
use super::state::{File, Index};
use crate::disk::DiskFile;
use crate::record;

/// A file that has a header and a number, and no records.
pub(super) struct Ready {
    pub(super) number: u64,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) size: u64,
    /// Up to where it was ever written.
    pub(super) touched: u64,
}

/// A file whose content is worthless.
pub(super) struct Spare {
    pub(super) name: String,
    /// The number it had.
    pub(super) number: u64,
    pub(super) length: u64,
    /// Whether it was written.
    pub(super) is_touched: bool,
}

/// What a file begins with.
pub(super) struct Preamble {
    files: Vec<u64>,
    delivered: Vec<(QueueKey, u64)>,
}

impl Preamble {
    pub(super) fn cost(&self) -> Cost {
        let files = self.files.iter().map(|number| number_bytes(*number) as u64).sum::<u64>();
        let delivered = self.delivered.iter().copied().map(pair_bytes).sum::<u64>();
        // It is asked before it is written, and until then there may be a file more, or a queue.
        let slack = 64 + 2 * record::HEADER_BYTES as u64;
        Cost { record: files + delivered + slack, directory: files + delivered + slack }
    }
}

impl MessageLog {
    pub(super) fn preamble(&self) -> Preamble {
        let state = self.shared.lock();
        let files = state.files.keys().copied().collect();
        let with_mark = state.queues.iter().filter(|(_, queue)| queue.has_delivered());
        Preamble { files, delivered: with_mark.map(|(key, queue)| (*key, queue.delivered_before)).collect() }
    }

    /// The active file, with room for a record; goes on to the next file if there is none.
    pub(super) fn with_room(&mut self, cost: Cost, purpose: Purpose) -> Result<&mut Active, Trouble> {
        if !self.active.as_ref().is_some_and(|active| active.room.fits(cost, purpose)) {
            let size = Room::size_for(self.preamble().cost(), cost);
            match purpose {
                // One more, so that there is space for settlements when there is none for messages.
                Purpose::Messages => self.make_ready(&[size, 0])?,
                Purpose::Space => self.make_ready(&[size])?,
            }
            self.go_on()?;
        }
        self.active.as_mut().ok_or(Trouble::Full)
    }

    /// Makes files ready, of these sizes at least. [`Trouble::Full`] leaves those that could be made.
    pub(super) fn make_ready(&mut self, sizes: &[u64]) -> Result<(), Trouble> {
        for (place, size) in sizes.iter().enumerate() {
            let size = (*size).max(self.options.file_bytes);
            let made = match self.ready.get_mut(place) {
                Some(ready) if ready.size >= size => Ok(()),
                Some(ready) => ready.file.allocate(0, size).map(|()| ready.size = size).map_err(full_or_failed),
                None => self.make_one_ready(size),
            };
            if let Err(Trouble::Full) = made {
                self.is_pressed = true;
            }
            made?;
        }
        Ok(())
    }

    fn make_one_ready(&mut self, size: u64) -> Result<(), Trouble> {
        let number = self.next_number;
        if number > FILE_NUMBER_MAX {
            return Err(failed("the numbers of files are used up")(io::ErrorKind::Other.into()));
        }
        let spare = self.spares.pop();
        let (name, before, touched) = match &spare {
            Some(spare) => (spare.name.clone(), spare.number, if spare.is_touched { spare.length } else { 0 }),
            None => (Name::Spare(number).to_string(), 0, 0),
        };
        match self.prepare(&name, spare.as_ref().map(|spare| spare.length), size, Numbers { number, before }) {
            Ok(file) => {
                self.next_number += 1;
                let size = size.max(spare.map_or(0, |spare| spare.length));
                self.ready.push_back(Ready { number, file, size, touched });
                Ok(())
            }
            Err(trouble) => {
                match spare {
                    Some(spare) => self.spares.push(spare),
                    // Otherwise it would take what little space there is. If it stays, the next open removes it.
                    None => drop(self.disk.remove(&name)),
                }
                Err(trouble)
            }
        }
    }

    /// Takes the space, writes the header and gives the file its name.
    fn prepare(
        &self,
        name: &str,
        length: Option<u64>,
        size: u64,
        numbers: Numbers,
    ) -> Result<Arc<dyn DiskFile>, Trouble> {
        let file = match length {
            Some(_) => self.disk.open(name),
            None => self.disk.create(name),
        };
        let file: Arc<dyn DiskFile> = Arc::from(file.map_err(full_or_failed)?);
        if length.is_none_or(|length| length < size) {
            file.allocate(0, size).map_err(full_or_failed)?;
        }
        // The header is durable before the file gets its name: under it, a header is never torn.
        file.write_at(0, &encode_header(numbers)).map_err(full_or_failed)?;
        if self.options.is_synced {
            file.sync_data().map_err(failed("a new file could not be synced"))?;
            if length.is_some() {
                // Its old content is kept in large pieces, of which a small write has all written again. Only a hint.
                let _ = file.drop_cache();
            }
        }
        let named = self.disk.rename(name, &Name::Log(numbers.number).to_string());
        named.map_err(failed("a new file could not be named"))?;
        self.sync_folder()?;
        Ok(file)
    }

    pub(super) fn sync_folder(&self) -> Result<(), Trouble> {
        if !self.options.is_synced {
            return Ok(());
        }
        self.disk.sync_folder().map_err(failed("the folder could not be synced"))
    }

    /// Ends the active file and goes on with the one that is ready; [`Trouble::Full`] if none is, and nothing is done.
    pub(super) fn go_on(&mut self) -> Result<(), Trouble> {
        let Some(next) = self.ready.pop_front() else { return Err(Trouble::Full) };
        let buffer = self.seal_active()?;
        let preamble = self.preamble();
        let mut active = Active::new(next.number, Arc::clone(&next.file), next.size, next.touched, buffer);
        self.shared.lock().files.insert(
            next.number,
            File {
                handle: next.file,
                index: Index::Open(OpenIndex::default()),
                references: 0,
                live: 0,
                about: std::collections::BTreeSet::new(),
                length: next.size,
                used: 0,
                is_checked: false,
                places: None,
            },
        );
        begin(&mut active, preamble).map_err(failed("a new file could not be begun"))?;
        self.active = Some(active);
        self.owes_marks = false;
        Ok(())
    }

    /// Ends the active file, durably: only the newest file with records can have a torn end.
    fn seal_active(&mut self) -> Result<Vec<u8>, Trouble> {
        let Some(mut active) = self.active.take() else { return Ok(Vec::new()) };
        let what = "a file could not be ended";
        let index = {
            let mut state = self.shared.lock();
            let Some(file) = state.files.get_mut(&active.number) else { return Ok(active.take_buffer()) };
            active.others.about = file.about.iter().copied().collect();
            match &mut file.index {
                // Readers go on with it until the directory is written.
                Index::Open(index) => index.clone(),
                Index::Sealed(_) => OpenIndex::default(),
            }
        };
        let directory = active.seal(&index).map_err(failed(what))?;
        if self.options.is_synced {
            active.sync().map_err(failed("a sync failed"))?;
        }
        self.bytes_written += active.written;
        let mut state = self.shared.lock();
        if let Some(file) = state.files.get_mut(&active.number) {
            file.index = Index::Sealed(Arc::new(directory));
            file.used = active.room.end;
            file.length = active.room.size;
        }
        state.has_work = true;
        Ok(active.take_buffer())
    }

    /// Gives files back that nothing needs. The caller has made sure of that, and that it is durable.
    ///
    /// If it could not be said in the log, they are all kept: their headers say it.
    pub(super) fn give_back(&mut self, numbers: &[u64], is_announced: bool) -> Result<(), Trouble> {
        for number in numbers {
            let length = self.shared.lock().files.get(number).map_or(0, |file| file.length);
            let name = Name::Log(*number).to_string();
            let is_wanted = self.spares.len() < self.options.spare_files && length == self.options.file_bytes;
            if is_wanted || !is_announced {
                let spare = Name::Spare(*number).to_string();
                self.disk.rename(&name, &spare).map_err(failed("a file could not be renamed"))?;
                self.spares.push(Spare { name: spare, number: *number, length, is_touched: true });
            } else {
                self.disk.remove(&name).map_err(failed("a file could not be removed"))?;
            }
        }
        self.sync_folder()?;
        let mut state = self.shared.lock();
        for number in numbers {
            state.forget(*number);
            self.owed.remove(number);
        }
        state.has_work = true;
        Ok(())
    }

    /// Says in the log that files are about to be given back, so that they are not missed, and makes it durable.
    pub(super) fn announce_gone(&mut self, numbers: &[u64]) -> Result<(), Trouble> {
        let mut payload = Vec::new();
        put_numbers(numbers.iter().copied(), &mut payload);
        let bytes = payload.len() as u64;
        let cost = Cost { record: record::HEADER_BYTES as u64 + bytes, directory: bytes };
        let active = self.with_room(cost, Purpose::Space)?;
        active.others.gone.extend_from_slice(numbers);
        active.append(GONE, &[&payload], cost.directory).map_err(failed("a write failed"))?;
        self.finish()?;
        self.sync_active()
    }

    /// Writes what was appended.
    pub(super) fn finish(&mut self) -> Result<(), Trouble> {
        let Some(active) = &mut self.active else { return Ok(()) };
        active.flush().map_err(failed("a write failed"))?;
        if let Some(file) = self.shared.lock().files.get_mut(&active.number) {
            file.used = active.room.end;
        }
        Ok(())
    }
}

/// What a file begins with: which other files there are, and what the files that may go before it knew.
fn begin(active: &mut Active, Preamble { mut files, delivered }: Preamble) -> io::Result<()> {
    let mut payload = Vec::new();
    files.push(active.number);
    put_numbers(files.iter().copied(), &mut payload);
    active.append(FILES, &[&payload], payload.len() as u64)?;
    active.others.files = files;
    if !delivered.is_empty() {
        payload.clear();
        put_pairs(&delivered, &mut payload);
        active.append(DELIVERED, &[&payload], payload.len() as u64)?;
        active.others.delivered = delivered;
    }
    Ok(())
}

fn full_or_failed(error: io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::StorageFull => Trouble::Full,
        _ => failed("a new file could not be made")(error),
    }
}
