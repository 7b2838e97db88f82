//! Deletes what the broker keeps, so that the next start is like the first.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use crate::{metadata, seen, store};

/// Says that a reset has begun: without it, a crash in the middle would leave messages without their queues.
const MARKER: &str = "leveret.reset";
/// What the broker keeps, in the data folder. Lock, socket, log files and configuration are not its.
const FOLDERS: [&str; 4] = [store::LOG_FOLDER, store::PAGE_OUT_FOLDER, seen::FOLDER, metadata::FOLDER];

/// Deletes everything in a data folder that no broker uses.
pub(crate) fn reset(data_dir: &Path) -> io::Result<()> {
    File::create(data_dir.join(MARKER))?.sync_all()?;
    sync(data_dir)?;
    finish(data_dir)
}

/// Ends what was begun, if it was.
pub(crate) fn finish(data_dir: &Path) -> io::Result<()> {
    let marker = data_dir.join(MARKER);
    if !marker.exists() {
        return Ok(());
    }
    for folder in FOLDERS {
        match fs::remove_dir_all(data_dir.join(folder)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    sync(data_dir)?;
    fs::remove_file(marker)?;
    sync(data_dir)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_broker_keeps_is_gone_and_the_rest_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let fill = || {
            for name in FOLDERS {
                fs::create_dir_all(path.join(name)).unwrap();
                fs::write(path.join(name).join("file"), "x").unwrap();
            }
        };
        fill();
        fs::write(path.join("enabled_plugins"), "[].").unwrap();
        finish(path).unwrap();
        assert!(path.join(FOLDERS[0]).exists(), "nobody asked for a reset");
        reset(path).unwrap();
        let left: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["enabled_plugins"]);
        // A crash in the middle.
        fill();
        fs::write(path.join(MARKER), "").unwrap();
        fs::remove_dir_all(path.join(metadata::FOLDER)).unwrap();
        finish(path).unwrap();
        assert_eq!(fs::read_dir(path).unwrap().count(), 1);
    }
}
