//! Writing a whole new file of the metadata log, and putting it in the place of the old one.

use std::io;

use super::format::{self, Entry, Name};
use super::log::CHANGE_BYTES_MAX;
use crate::disk::{Disk, DiskFile};
use crate::record::Sequence;

/// A snapshot is written in pieces of this size, so that it needs no memory of its own size.
const WRITE_BYTES: usize = 1 << 20;

/// A complete file, under its temporary name.
pub(super) struct NewFile {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) generation: u64,
    pub(super) length: u64,
}

/// Why a file was not written.
pub(super) enum WriteError {
    TooLarge { bytes: usize },
    Disk(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// Writes and syncs a file that holds only a snapshot, which stands for all changes up to `sequence`.
///
/// After an error, what there is of it is removed, if possible.
pub(super) fn write(
    disk: &dyn Disk,
    generation: u64,
    sequence: Sequence,
    payloads: impl Iterator<Item = impl AsRef<[u8]>>,
) -> Result<NewFile, WriteError> {
    let name = Name::Temporary(generation).to_string();
    let written = write_content(disk.create(&name)?, sequence, payloads);
    match written {
        Ok((file, length)) => Ok(NewFile { file, generation, length }),
        Err(error) => {
            // It is only clutter, and removed by the next open at the latest.
            let _ = disk.remove(&name);
            Err(error)
        }
    }
}

fn write_content(
    file: Box<dyn DiskFile>,
    sequence: Sequence,
    payloads: impl Iterator<Item = impl AsRef<[u8]>>,
) -> Result<(Box<dyn DiskFile>, u64), WriteError> {
    let mut buffer = Vec::new();
    let mut length = 0;
    let mut entries = 0;
    format::encode_header(sequence, &mut buffer);
    for payload in payloads {
        let payload = payload.as_ref();
        let too_large = WriteError::TooLarge { bytes: payload.len() };
        entries += 1;
        let encoded = Entry::Snapshot { number: entries, payload }.encode(&mut buffer);
        if payload.len() > CHANGE_BYTES_MAX || encoded.is_err() {
            return Err(too_large);
        }
        if buffer.len() >= WRITE_BYTES {
            flush(&*file, &mut buffer, &mut length)?;
        }
    }
    let end = Entry::SnapshotEnd { entries, sequence };
    end.encode(&mut buffer).map_err(|error| WriteError::TooLarge { bytes: error.bytes })?;
    flush(&*file, &mut buffer, &mut length)?;
    file.sync_data()?;
    Ok((file, length))
}

fn flush(file: &dyn DiskFile, buffer: &mut Vec<u8>, length: &mut u64) -> io::Result<()> {
    file.write_at(*length, buffer)?;
    *length += buffer.len() as u64;
    buffer.clear();
    Ok(())
}

/// Gives a new file its name, then removes the others. On return the new one alone is left, durably: that an older file
/// exists means that nothing was committed to the newer one, which recovery relies on.
pub(super) fn install(disk: &dyn Disk, generation: u64, others: &[String]) -> io::Result<()> {
    disk.rename(&Name::Temporary(generation).to_string(), &Name::Log(generation).to_string())?;
    disk.sync_folder()?;
    remove(disk, others)
}

/// Removes files, durably.
pub(super) fn remove(disk: &dyn Disk, names: &[String]) -> io::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    for name in names {
        disk.remove(name)?;
    }
    disk.sync_folder()
}
