//! The data folder, which one node at a time may use.

use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};

use crate::StartError;

/// The file whose lock says that the folder is in use; it stays when the node stops, without its lock.
const LOCK_FILE: &str = "leveret.lock";
/// How long a lock is tried for that somebody has,
const LOCK_PATIENCE: Duration = Duration::from_millis(250);
/// and how often.
const LOCK_POLL: Duration = Duration::from_millis(5);

/// A data folder that this process alone may use until the value is dropped.
#[derive(Debug)]
pub struct DataDir {
    // The system takes the lock away with the file, also from a process that was killed.
    _lock: Option<File>,
}

/// What is to be done with a folder that is kept from nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Nothing in it is changed. Others may look as well.
    Look,
    /// It is changed.
    Change,
}

/// Why a folder cannot be kept from nodes.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Somebody uses it.
    #[error("it is in use by {holder}; stop it first")]
    InUse {
        /// Who that is, such as `a broker, process 4711`.
        holder: String,
    },
    /// The system does not let us.
    #[error("its lock file cannot be used: {0}")]
    Lock(#[from] io::Error),
}

impl DataDir {
    /// Makes the folder if it is not there, proves that it can be written, and keeps other nodes out of it.
    pub(crate) fn open(path: &Path) -> Result<Self, StartError> {
        // It has messages and the hashes of passwords. One that is there keeps the permissions that somebody gave it.
        let made = DirBuilder::new().recursive(true).mode(0o750).create(path);
        made.map_err(|source| StartError::make_data_dir(path, source))?;
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK_FILE))
            .map_err(|source| StartError::write_data_dir(path, source))?;
        match patiently(|| lock.try_lock()) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StartError::DataDirInUse { path: path.to_owned(), holder: holder(&mut lock, "another") });
            }
            Err(TryLockError::Error(source)) => return Err(StartError::write_data_dir(path, source)),
        }
        write_holder(&mut lock).map_err(|source| StartError::write_data_dir(path, source))?;
        Ok(Self { _lock: Some(lock) })
    }

    /// Keeps nodes out of a folder that is there already. To look, nothing is written, so that a folder in which no node
    /// ever was, such as a copy, cannot be kept from one.
    pub fn hold(path: &Path, purpose: Purpose) -> Result<Self, HoldError> {
        let change = purpose == Purpose::Change;
        let opened = File::options().read(true).write(change).create(change).truncate(false).open(path.join(LOCK_FILE));
        let mut lock = match opened {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !change => return Ok(Self { _lock: None }),
            opened => opened?,
        };
        match patiently(|| if change { lock.try_lock() } else { lock.try_lock_shared() }) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(HoldError::InUse { holder: holder(&mut lock, "a") }),
            Err(TryLockError::Error(source)) => return Err(source.into()),
        }
        if change {
            write_holder(&mut lock)?;
        }
        Ok(Self { _lock: Some(lock) })
    }
}

/// Tries to lock for a moment: what a process forks holds its locks until it becomes another program, also when the process itself
/// is gone or has let go.
fn patiently(lock: impl Fn() -> Result<(), TryLockError>) -> Result<(), TryLockError> {
    let end = Instant::now() + LOCK_PATIENCE;
    loop {
        match lock() {
            Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(LOCK_POLL),
            result => return result,
        }
    }
}

/// Puts this process's number into the lock file, for the message that the next node gives.
fn write_holder(lock: &mut File) -> std::io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

/// Who holds the lock, as far as the file tells: it may be empty while the other node starts, and those who only look do
/// not write to it.
fn holder(lock: &mut File, article: &str) -> String {
    let mut text = String::new();
    let process = lock.read_to_string(&mut text).ok().and_then(|_| text.trim().parse::<i32>().ok());
    match process {
        Some(process) if !is_running(process) => "a program that looks at it".to_owned(),
        Some(process) => format!("{article} broker, process {process}"),
        None => format!("{article} broker"),
    }
}

fn is_running(process: i32) -> bool {
    // It may be another user's.
    Pid::from_raw(process).is_some_and(|process| test_kill_process(process) != Err(rustix::io::Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_is_made_with_its_parents() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("a/b/c");
        let _held = DataDir::open(&path).unwrap();
        assert!(path.is_dir());
    }

    #[test]
    fn who_lets_go_in_a_moment_is_waited_for() {
        let temporary = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            let held = DataDir::open(temporary.path()).unwrap();
            thread::scope(|scope| {
                let next = scope.spawn(|| DataDir::open(temporary.path()).map(|_| ()));
                drop(held);
                assert!(next.join().unwrap().is_ok());
            });
        }
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
    fn who_only_looks_keeps_brokers_out_and_writes_nothing() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path();
        let _held = DataDir::hold(path, Purpose::Look).unwrap();
        assert_eq!(fs::read_dir(path).unwrap().count(), 0, "no lock file was made");
        drop(DataDir::open(path).unwrap());
        // No process has this number: it is above what the system gives.
        fs::write(path.join(LOCK_FILE), "2147483647\n").unwrap();
        let held = DataDir::hold(path, Purpose::Look).unwrap();
        let other = DataDir::hold(path, Purpose::Look).unwrap();
        let refused = DataDir::open(path).unwrap_err().to_string();
        assert!(refused.contains("is in use by a program that looks at it ("), "{refused}");
        assert!(matches!(DataDir::hold(path, Purpose::Change), Err(HoldError::InUse { .. })));
        assert_eq!(fs::read_to_string(path.join(LOCK_FILE)).unwrap(), "2147483647\n");
        drop((held, other));
        let held = DataDir::hold(path, Purpose::Change).unwrap();
        let refused = DataDir::hold(path, Purpose::Look).unwrap_err().to_string();
        assert_eq!(refused, format!("it is in use by a broker, process {}; stop it first", std::process::id()));
        drop(held);
    }

    #[test]
    fn a_folder_below_a_file_cannot_be_made() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let refused = DataDir::open(&file.path().join("data")).unwrap_err();
        assert!(matches!(refused, StartError::MakeDataDir { .. }), "{refused}");
    }
}
