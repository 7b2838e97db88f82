//! The data folder, which one node at a time may use.

use std::fs::{self, File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::StartError;

/// The file whose lock says that the folder is in use; it stays when the node stops, without its lock.
const LOCK_FILE: &str = "leveret.lock";

/// A data folder that this node alone may use until the value is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    // The system takes the lock away with the file, also from a process that was killed.
    _lock: File,
}

impl DataDir {
    /// Makes the folder if it is not there, proves that it can be written, and keeps other nodes out of it.
    pub(crate) fn open(path: &Path) -> Result<Self, StartError> {
        fs::create_dir_all(path).map_err(|source| StartError::make_data_dir(path, source))?;
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK_FILE))
            .map_err(|source| StartError::write_data_dir(path, source))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StartError::DataDirInUse { path: path.to_owned(), holder: holder(&mut lock) });
            }
            Err(TryLockError::Error(source)) => return Err(StartError::write_data_dir(path, source)),
        }
        write_holder(&mut lock).map_err(|source| StartError::write_data_dir(path, source))?;
        Ok(Self { _lock: lock })
    }
}

/// Puts this process's number into the lock file, for the message that the next node gives.
fn write_holder(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// Who holds the lock, as far as the file tells: it may be empty while the other node starts.
fn holder(lock: &mut File) -> String {
    let mut text = String::new();
    match lock.read_to_string(&mut text).map(|_| text.trim().parse::<u32>()) {
        Ok(Ok(process)) => format!("another broker, process {process}"),
        _ => "another broker".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_made_with_its_parents() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a/b/c");
        let _held = DataDir::open(&path).unwrap();
        assert!(path.is_dir());
    }

    #[test]
    fn a_folder_in_use_names_its_holder_and_is_free_again_afterwards() {
        let temporary = tempfile::tempdir().unwrap();
        let held = DataDir::open(temporary.path()).unwrap();
        let refused = DataDir::open(temporary.path()).unwrap_err().to_string();
        let holder = format!("is in use by another broker, process {} (", std::process::id());
        assert!(refused.contains(&holder), "{refused}");
        drop(held);
        DataDir::open(temporary.path()).unwrap();
    }

    #[test]
    fn a_folder_below_a_file_cannot_be_made() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = DataDir::open(&file.path().join("data")).unwrap_err();
        assert!(matches!(refused, StartError::MakeDataDir { .. }), "{refused}");
    }
}
