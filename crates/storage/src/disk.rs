//! A folder on a disk, as a trait: what storage asks of the world, so that tests can put a failing one in its place.
//!
//! What is promised is what POSIX promises, no more: bytes are durable after [`DiskFile::sync_data`], and a name that
//! was made, changed or removed is durable after [`Disk::sync_folder`]. Until then a crash may keep any part of it.

pub mod real;
pub mod simulated;

use std::io;

pub use real::RealDisk;
pub use simulated::SimulatedDisk;

/// One folder, without folders in it.
///
/// Names are single path components; others are refused with [`io::ErrorKind::InvalidInput`]. A full disk is
/// [`io::ErrorKind::StorageFull`] and a missing file [`io::ErrorKind::NotFound`], whatever the system calls them.
pub trait Disk: Send + Sync {
    /// The names of all files, in no particular order. Names that are not UTF-8 are not ours and left out.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens a file that exists.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Makes an empty file. One of that name is emptied.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in place of the file that had it. A crash leaves one or the other, never neither.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Handles on it stay usable.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes durable which names there are. On return everything created, renamed or removed before survives a crash.
    fn sync_folder(&self) -> io::Result<()>;
}

/// A file of a [`Disk`]. Callers keep track of offsets; there is no position.
pub trait DiskFile: Send + Sync {
    /// The length, in bytes.
    fn length(&self) -> io::Result<u64>;

    /// Fills the buffer from the offset on. [`io::ErrorKind::UnexpectedEof`] if the file ends before.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;

    /// Writes all bytes at the offset, over what is there or behind the end; a gap reads as zeros. After an error any
    /// part of them may have been written.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything written, and the length, durable. After an error nothing is known about any of it, and a second
    /// attempt that succeeds says nothing about the first: systems forget what they failed to write.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file, or extends it with zeros.
    fn truncate(&self, length: u64) -> io::Result<()>;

    /// Reserves space for a range, so that writing into it does not fail for want of space. The file grows to the end of
    /// the range if it is shorter; new bytes read as zeros.
    fn allocate(&self, offset: u64, length: u64) -> io::Result<()>;

    /// Tells the system that what is in the file now will not be read, so that it need not keep it in memory. The file stays
    /// as it is.
    fn drop_cache(&self) -> io::Result<()> {
        Ok(())
    }

    /// The whole content. [`io::ErrorKind::OutOfMemory`] if it does not fit.
    fn read_all(&self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.length()?).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let mut content = Vec::new();
        content.try_reserve_exact(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // In pieces that stay in the processor's cache: the memory is touched once, not twice.
        let mut piece = vec![0; length.min(READ_BYTES)];
        while content.len() < length {
            let rest = length - content.len();
            let piece = piece.get_mut(..rest.min(READ_BYTES)).unwrap_or_default();
            self.read_at(content.len() as u64, piece)?;
            content.extend_from_slice(piece);
        }
        Ok(content)
    }
}

/// A whole file is read in pieces of this size, in bytes.
const READ_BYTES: usize = 256 << 10;

/// Refuses names that would lead out of the folder.
fn check_name(name: &str) -> io::Result<()> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\\', '\0']) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is not the name of a file")));
    }
    Ok(())
}
