//! A data folder that no broker uses.

use std::io;
use std::path::{Path, PathBuf};

use leveret_server::{DataDir, MESSAGES_FOLDER, METADATA_FOLDER, Purpose};
use leveret_storage::disk::RealDisk;

use super::Failure;

/// A data folder that is kept from brokers until the value is dropped.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    purpose: Purpose,
    _held: DataDir,
}

impl Folder {
    /// Makes sure that it is a data folder and that nobody uses it.
    pub(super) fn open(path: &Path, purpose: Purpose) -> Result<Self, Failure> {
        let shown = path.display();
        match path.metadata() {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Err(Failure::Folder(format!("{shown} is not a folder"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Failure::Folder(format!("there is no folder {shown}")));
            }
            Err(error) => return Err(Failure::Folder(format!("cannot read {shown}: {error}"))),
        }
        if ![METADATA_FOLDER, MESSAGES_FOLDER].iter().any(|name| path.join(name).is_dir()) {
            let is_within = path.canonicalize().ok().and_then(|path| {
                let name = path.file_name()?;
                Some(name == METADATA_FOLDER || name == MESSAGES_FOLDER)
            });
            let hint = if is_within == Some(true) { "; the data folder is the one above" } else { "" };
            return Err(Failure::Folder(format!(
                "{shown} is not a data folder: there is no {METADATA_FOLDER} and no {MESSAGES_FOLDER} folder in it{hint}"
            )));
        }
        let held = DataDir::hold(path, purpose)
            .map_err(|error| Failure::Folder(format!("cannot use the data folder {shown}: {error}")))?;
        Ok(Self { path: path.to_owned(), purpose, _held: held })
    }

    /// The folder of the metadata log, if there is one.
    pub(super) fn metadata(&self) -> Result<Option<RealDisk>, Failure> {
        self.disk(METADATA_FOLDER)
    }

    /// The folder of the message log, if there is one.
    pub(super) fn messages(&self) -> Result<Option<RealDisk>, Failure> {
        self.disk(MESSAGES_FOLDER)
    }

    fn disk(&self, name: &str) -> Result<Option<RealDisk>, Failure> {
        let path = self.path.join(name);
        if !path.is_dir() {
            return Ok(None);
        }
        let disk = match self.purpose {
            Purpose::Look => RealDisk::open_read_only(&path),
            Purpose::Change => RealDisk::open(&path),
        };
        disk.map(Some).map_err(|error| Failure::Folder(format!("cannot read {}: {error}", path.display())))
    }

    /// Says where something went wrong.
    pub(super) fn failure(&self, error: &impl std::fmt::Display) -> Failure {
        Failure::Folder(format!("cannot read the data folder {}: {error}", self.path.display()))
    }
}
