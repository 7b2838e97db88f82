//! A log file that is rotated.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::calendar::next_rotation;
use crate::config::log::{Rotation, RotationDate};

/// Archives that are kept when a file is rotated by size and nobody says how many.
const ARCHIVES: u32 = 5;
/// Time between looks whether somebody else moved the file away.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Octets at the end of a file that the last lines are looked for in.
const TAIL_MAX: u64 = 8 * 1024 * 1024;

/// A log file. Its archives are `X.log.0`, which is the newest, `X.log.1` and so on.
#[derive(Debug)]
pub(super) struct RotatingFile {
    path: PathBuf,
    rotation: Rotation,
    /// `None` after it could not be opened.
    file: Option<File>,
    size: u64,
    due: Option<SystemTime>,
    looked: SystemTime,
}

impl RotatingFile {
    /// Opens a file to go on with it, and makes its folder.
    pub(super) fn open(path: &Path, rotation: &Rotation, now: SystemTime) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let (file, size) = open(path)?;
        // What was written before the node stopped may be older than the last moment at which it was due.
        let begun = file.metadata().and_then(|metadata| metadata.modified()).unwrap_or(now).min(now);
        let begun = if size == 0 { now } else { begun };
        let due = rotation.date.map(|date| next_rotation(date, begun));
        Ok(Self { path: path.to_owned(), rotation: rotation.clone(), file: Some(file), size, due, looked: now })
    }

    /// Appends octets that were logged until `now`, in a new file if it is time for one.
    pub(super) fn write(&mut self, octets: &[u8], now: SystemTime) -> io::Result<()> {
        self.look_again(now)?;
        let is_full = self.rotation.size.is_some_and(|size| self.size >= size);
        if is_full || self.due.is_some_and(|due| due <= now) {
            self.rotate(now)?;
        }
        let file = match &mut self.file {
            Some(file) => file,
            file => {
                let (opened, size) = open(&self.path)?;
                self.size = size;
                file.insert(opened)
            }
        };
        file.write_all(octets)?;
        self.size += octets.len() as u64;
        Ok(())
    }

    /// How much may be written until it is time for a new file.
    pub(super) fn room(&self) -> u64 {
        self.rotation.size.map_or(u64::MAX, |size| size.saturating_sub(self.size))
    }

    /// Begins a new file, and makes the old one an archive.
    pub(super) fn rotate(&mut self, now: SystemTime) -> io::Result<()> {
        self.due = self.rotation.date.map(|date: RotationDate| next_rotation(date, now));
        let keep = match (self.rotation.count, self.rotation.size.is_some() || self.rotation.date.is_some()) {
            (Some(count), _) => count,
            (None, _) => ARCHIVES,
        };
        self.file = None;
        if self.size > 0 {
            self.shift(keep)?;
        }
        let (file, size) = open(&self.path)?;
        self.file = Some(file);
        self.size = size;
        Ok(())
    }

    /// Gives every archive the next number, and the file the first.
    fn shift(&self, keep: u32) -> io::Result<()> {
        let Some(last) = keep.checked_sub(1) else { return ignore_absent(fs::remove_file(&self.path)) };
        for suffix in ["", ".gz"] {
            ignore_absent(fs::remove_file(self.archive(last, suffix)))?;
            for number in (0..last).rev() {
                ignore_absent(fs::rename(self.archive(number, suffix), self.archive(number + 1, suffix)))?;
            }
        }
        ignore_absent(fs::rename(&self.path, self.archive(0, "")))?;
        if self.rotation.compress { compress(&self.archive(0, ""), &self.archive(0, ".gz")) } else { Ok(()) }
    }

    fn archive(&self, number: u32, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}{suffix}"));
        name.into()
    }

    /// Opens the file anew if somebody else moved it away or deleted it, as `logrotate` does.
    fn look_again(&mut self, now: SystemTime) -> io::Result<()> {
        let age = now.duration_since(self.looked);
        if self.file.is_some() && age.is_ok_and(|age| age < LOOK_AGAIN) {
            return Ok(());
        }
        self.looked = now;
        let is_there = match (&self.file, fs::metadata(&self.path)) {
            (Some(file), Ok(there)) => {
                let ours = file.metadata()?;
                (ours.dev(), ours.ino()) == (there.dev(), there.ino())
            }
            _ => false,
        };
        if !is_there {
            self.file = None;
            let (file, size) = open(&self.path)?;
            self.file = Some(file);
            self.size = size;
        }
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

fn ignore_absent(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes a file anew, compressed, and removes it.
fn compress(from: &Path, to: &Path) -> io::Result<()> {
    let mut encoder = GzEncoder::new(File::create(to)?, Compression::default());
    io::copy(&mut File::open(from)?, &mut encoder)?;
    encoder.finish()?.flush()?;
    fs::remove_file(from)
}

/// The last lines of a file, as many as asked for and as are in its last [`TAIL_MAX`] octets.
pub(super) fn tail(path: &Path, lines: usize) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    let begin = size.saturating_sub(TAIL_MAX);
    file.seek(SeekFrom::Start(begin))?;
    let mut octets = Vec::new();
    file.take(TAIL_MAX).read_to_end(&mut octets)?;
    let text = String::from_utf8_lossy(&octets);
    // The first one may have lost its beginning.
    let found: Vec<_> = text.lines().skip(usize::from(begin > 0)).collect();
    let from = found.len().saturating_sub(lines);
    Ok(found.into_iter().skip(from).map(str::to_owned).collect())
}

#[cfg(test)]
#[path = "file/tests.rs"]
mod tests;
