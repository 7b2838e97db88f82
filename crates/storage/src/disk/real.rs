//! The disk of the operating system.
#![expect(clippy::disallowed_types, reason = "this is the one place that touches files")]

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::FallocateFlags;

use super::{Disk, DiskFile, check_name};

/// Bytes of zeros per write where the file system cannot reserve space.
const ZEROS_BYTES: usize = 64 << 10;

/// A folder of the file system.
///
/// It does not keep other processes out; the server's lock file does.
#[derive(Debug)]
pub struct RealDisk {
    path: PathBuf,
    // Open for as long as the disk is, so that a failure to write it back is seen by the sync that follows.
    folder: File,
    access: Access,
}

/// What may be done to the files of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    ReadWrite,
    ReadOnly,
}

impl RealDisk {
    /// Opens the folder, and makes it if it is not there. Of folders made here, the names are durable on return.
    pub fn open(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        make_folder(&path)?;
        let folder = File::open(&path)?;
        Ok(Self { path, folder, access: Access::ReadWrite })
    }

    /// Opens a folder that is there, to look at it only: everything that would change it or its files fails.
    pub fn open_read_only(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let folder = File::open(&path)?;
        Ok(Self { path, folder, access: Access::ReadOnly })
    }

    /// Refuses what would change the folder.
    fn check_writable(&self) -> io::Result<()> {
        match self.access {
            Access::ReadWrite => Ok(()),
            Access::ReadOnly => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        }
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        check_name(name)?;
        Ok(self.path.join(name))
    }
}

/// Makes a folder and those above it. A new folder's name is durable once the folder above it is synced.
fn make_folder(path: &Path) -> io::Result<()> {
    if path.as_os_str().is_empty() || path.is_dir() {
        return Ok(());
    }
    let above = path.parent().unwrap_or(Path::new(""));
    make_folder(above)?;
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    File::open(above)?.sync_all()
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_type()?.is_file() {
                names.extend(entry.file_name().into_string());
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).write(self.access == Access::ReadWrite).open(self.path(name)?)?;
        Ok(Box::new(RealFile { file }))
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.check_writable()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.path(name)?)
            .map_err(full)?;
        Ok(Box::new(RealFile { file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_writable()?;
        fs::rename(self.path(from)?, self.path(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.check_writable()?;
        fs::remove_file(self.path(name)?)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.folder.sync_all()
    }
}

struct RealFile {
    file: File,
}

/// A quota that is used up is a full disk to us.
fn full(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::QuotaExceeded => io::Error::new(io::ErrorKind::StorageFull, error),
        _ => error,
    }
}

impl DiskFile for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset).map_err(full)
    }

    fn sync_data(&self) -> io::Result<()> {
        // `fdatasync`, and `F_FULLFSYNC` on macOS, where `fsync` alone stops at the drive's cache.
        self.file.sync_data().map_err(full)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        if length == 0 {
            return Ok(());
        }
        let reserved =
            rustix::io::retry_on_intr(|| rustix::fs::fallocate(&self.file, FallocateFlags::empty(), offset, length));
        match reserved {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => self.write_zeros(offset, length),
            reserved => reserved.map_err(|error| full(error.into())),
        }
    }

    fn drop_cache(&self) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    }
}

impl RealFile {
    /// Reserves space the way that every file system knows: writing zeros behind the end. Holes before it stay holes.
    fn write_zeros(&self, offset: u64, length: u64) -> io::Result<()> {
        let end = offset.saturating_add(length);
        let mut position = self.length()?;
        let zeros = vec![0; ZEROS_BYTES];
        while position < end {
            let count = usize::try_from(end - position).unwrap_or(ZEROS_BYTES).min(ZEROS_BYTES);
            self.file.write_all_at(zeros.get(..count).unwrap_or(&zeros), position).map_err(full)?;
            position += count as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (tempfile::TempDir, RealDisk) {
        let folder = tempfile::tempdir().unwrap();
        let disk = RealDisk::open(folder.path().join("new/folder")).unwrap();
        (folder, disk)
    }

    #[test]
    fn a_file_reads_as_written() {
        let (_folder, disk) = disk();
        let file = disk.create("a").unwrap();
        file.write_at(2, b"cd").unwrap();
        file.write_at(0, b"ab").unwrap();
        file.sync_data().unwrap();
        assert_eq!(disk.open("a").unwrap().read_all().unwrap(), b"abcd");
        file.truncate(3).unwrap();
        assert_eq!(file.read_all().unwrap(), b"abc");
        let mut two = [0; 2];
        file.read_at(1, &mut two).unwrap();
        assert_eq!(&two, b"bc");
        assert_eq!(file.read_at(2, &mut two).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn names_change_as_told() {
        let (_folder, disk) = disk();
        disk.create("a").unwrap().write_at(0, b"a").unwrap();
        disk.create("b").unwrap();
        disk.rename("a", "b").unwrap();
        disk.sync_folder().unwrap();
        assert_eq!(disk.list().unwrap(), ["b"]);
        assert_eq!(disk.open("b").unwrap().read_all().unwrap(), b"a");
        disk.create("b").unwrap();
        assert_eq!(disk.open("b").unwrap().length().unwrap(), 0, "emptied");
        disk.remove("b").unwrap();
        assert_eq!(disk.list().unwrap(), [""; 0]);
        assert_eq!(disk.open("b").err().unwrap().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_folder_that_is_only_looked_at_stays_as_it_is() {
        let (folder, disk) = disk();
        disk.create("a").unwrap().write_at(0, b"a").unwrap();
        let path = folder.path().join("new/folder");
        let disk = RealDisk::open_read_only(&path).unwrap();
        let file = disk.open("a").unwrap();
        assert_eq!(file.read_all().unwrap(), b"a");
        assert!(file.write_at(0, b"b").is_err() && file.truncate(0).is_err());
        assert!(disk.create("b").is_err() && disk.rename("a", "b").is_err() && disk.remove("a").is_err());
        assert_eq!(disk.list().unwrap(), ["a"]);
        assert!(RealDisk::open_read_only(path.join("b")).is_err(), "it is not made");
    }

    #[test]
    fn names_stay_in_the_folder() {
        let (_folder, disk) = disk();
        for name in ["", ".", "..", "../a", "/a", "a/b", "a\0"] {
            assert_eq!(disk.create(name).err().unwrap().kind(), io::ErrorKind::InvalidInput, "{name:?}");
        }
    }

    #[test]
    fn no_space_is_recognisable_under_every_name() {
        for errno in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT] {
            assert_eq!(full(errno.into()).kind(), io::ErrorKind::StorageFull);
        }
        assert_eq!(full(rustix::io::Errno::IO.into()).raw_os_error(), Some(rustix::io::Errno::IO.raw_os_error()));
    }

    #[test]
    fn reserved_space_reads_as_zeros() {
        let (_folder, disk) = disk();
        let file = disk.create("a").unwrap();
        file.write_at(0, b"a").unwrap();
        file.allocate(0, 3).unwrap();
        assert_eq!(file.read_all().unwrap(), b"a\0\0");
        file.allocate(0, 0).unwrap();
        assert_eq!(file.length().unwrap(), 3);
    }

    #[test]
    fn a_file_that_the_system_need_not_keep_reads_as_written() {
        let (_folder, disk) = disk();
        let file = disk.create("a").unwrap();
        file.write_at(0, &vec![1; 100_000]).unwrap();
        file.drop_cache().unwrap();
        file.sync_data().unwrap();
        file.drop_cache().unwrap();
        assert_eq!(file.read_all().unwrap(), vec![1; 100_000]);
    }

    #[test]
    fn zeros_reserve_where_the_system_cannot() {
        let (_folder, disk) = disk();
        disk.create("a").unwrap();
        let file = RealFile { file: OpenOptions::new().read(true).write(true).open(disk.path("a").unwrap()).unwrap() };
        file.write_at(0, b"a").unwrap();
        file.write_zeros(0, 3).unwrap();
        file.write_zeros(0, 2).unwrap();
        assert_eq!(file.read_all().unwrap(), b"a\0\0");
        file.write_zeros(3, 100_000).unwrap();
        assert_eq!(file.length().unwrap(), 100_003);
    }
}
