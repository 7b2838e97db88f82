//! Traces: copies of the messages that come into and go out of a vhost, written to files, as RabbitMQ's plugin `rabbitmq_tracing` has
//! them.
//!
//! A trace is a tap on the vhost and a thread that writes. What waits to be written has a bound; beyond it messages are left out and
//! counted, so that no disk holds up a client.

mod record;
mod writer;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use leveret_broker::Name;
use leveret_broker::node::Node;
use leveret_broker::tap::{Tap, TapId};
use parking_lot::Mutex;

pub(crate) use self::record::Format;
use self::writer::Writer;

/// What the names of files end in.
const EXTENSION: &str = ".log";
/// Traces at the same time: each has a thread.
const TRACES_MAX: usize = 64;
/// Only the broker's own user may read what is in messages.
const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// What is to be traced, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spec {
    pub(crate) vhost: Name,
    pub(crate) name: String,
    pub(crate) format: Format,
    /// A pattern of words, as topic exchanges have them, for `publish.EXCHANGE` and `deliver.QUEUE`.
    pub(crate) pattern: String,
    /// Octets of a body that are written; none is all.
    pub(crate) max_payload: Option<usize>,
    /// As whom RabbitMQ would consume. It is told, and needed for nothing.
    pub(crate) user: Option<String>,
}

/// Why a trace could not begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TraceError {
    #[error("a trace's name has to be the name of a file: without /, not beginning with a dot, at most 200 bytes")]
    Name,
    #[error("there is a trace of that name in this or another vhost already; they would share a file")]
    Exists,
    #[error("there are {TRACES_MAX} traces already, as many as there may be")]
    TooMany,
    #[error("its file cannot be written: {0}")]
    File(#[from] io::Error),
}

#[derive(Debug)]
struct Trace {
    spec: Spec,
    tap: TapId,
}

/// All traces of a node, and their files.
#[derive(Debug, Default)]
pub(crate) struct Traces {
    running: Mutex<Vec<Trace>>,
}

/// A file of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TraceFile {
    pub(crate) name: String,
    pub(crate) size: u64,
}

/// Where the files are.
pub(crate) fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("traces")
}

impl Traces {
    /// Begins a trace. It goes on in the file that is there.
    pub(crate) fn start(&self, node: &Node, folder: &Path, spec: Spec) -> Result<(), TraceError> {
        let file_name = format!("{}{EXTENSION}", spec.name);
        if !is_file_name(&file_name) {
            return Err(TraceError::Name);
        }
        let mut running = self.running.lock();
        if running.iter().any(|trace| trace.spec.name == spec.name) {
            return Err(TraceError::Exists);
        }
        if running.len() >= TRACES_MAX {
            return Err(TraceError::TooMany);
        }
        let file = open(folder, &file_name)?;
        let tap = Writer::start(file, &spec)?;
        let tap = node.add_tap(Some(Name::clone(&spec.vhost)), Arc::new(tap) as Arc<dyn Tap>);
        running.push(Trace { spec, tap });
        Ok(())
    }

    /// Ends a trace; false if there is none. Its file stays.
    pub(crate) fn stop(&self, node: &Node, vhost: &str, name: &str) -> bool {
        let mut running = self.running.lock();
        let Some(at) = running.iter().position(|trace| *trace.spec.vhost == *vhost && trace.spec.name == name) else {
            return false;
        };
        node.remove_tap(running.remove(at).tap);
        true
    }

    /// The traces of a vhost, or of all.
    pub(crate) fn list(&self, vhost: Option<&str>) -> Vec<Spec> {
        let running = self.running.lock();
        let wanted = running.iter().filter(|trace| vhost.is_none_or(|vhost| *trace.spec.vhost == *vhost));
        wanted.map(|trace| trace.spec.clone()).collect()
    }
}

/// The files there are, in the order of their names.
pub(crate) fn files(folder: &Path) -> io::Result<Vec<TraceFile>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        let about = entry.metadata()?;
        if let Ok(name) = entry.file_name().into_string()
            && about.is_file()
        {
            files.push(TraceFile { name, size: about.len() });
        }
    }
    files.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

/// The contents of a file, of which the last octets only if it is larger than `max`; none if there is no such file.
pub(crate) fn read(folder: &Path, name: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
    let Some(path) = existing(folder, name) else { return Ok(None) };
    let mut file = File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(max)))?;
    let mut octets = Vec::new();
    file.take(max).read_to_end(&mut octets)?;
    Ok(Some(octets))
}

/// Deletes a file; false if there is none.
pub(crate) fn delete(folder: &Path, name: &str) -> io::Result<bool> {
    let Some(path) = existing(folder, name) else { return Ok(false) };
    fs::remove_file(path)?;
    Ok(true)
}

/// Where a file of that name is, if it is one of those in the folder itself.
fn existing(folder: &Path, name: &str) -> Option<PathBuf> {
    let path = is_file_name(name).then(|| folder.join(name))?;
    let about = fs::symlink_metadata(&path).ok()?;
    about.is_file().then_some(path)
}

/// Whether a name stays in its folder.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 200 && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

fn open(folder: &Path, name: &str) -> io::Result<File> {
    match fs::DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    OpenOptions::new().append(true).create(true).mode(FILE_MODE).open(folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_do_not_leave_the_folder() {
        for (name, expected) in [
            ("orders.log", true),
            ("a b.log", true),
            ("..", false),
            ("../x.log", false),
            (".hidden.log", false),
            ("a/b.log", false),
            ("a\0.log", false),
            ("", false),
        ] {
            assert_eq!(is_file_name(name), expected, "{name}");
        }
    }

    #[test]
    fn files_are_listed_read_and_deleted_and_nothing_else_is() {
        let outside = tempfile::tempdir().unwrap();
        let folder = outside.path().join("traces");
        assert_eq!(files(&folder).unwrap(), []);
        open(&folder, "one.log").unwrap();
        fs::write(folder.join("one.log"), "0123456789").unwrap();
        fs::write(outside.path().join("secret"), "secret").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), folder.join("link.log")).unwrap();
        assert_eq!(files(&folder).unwrap(), [TraceFile { name: "one.log".into(), size: 10 }]);
        for (name, max, expected) in [
            ("one.log", 100, Some(&b"0123456789"[..])),
            ("one.log", 4, Some(b"6789")),
            ("two.log", 100, None),
            ("../secret", 100, None),
            ("link.log", 100, None),
        ] {
            assert_eq!(read(&folder, name, max).unwrap().as_deref(), expected, "{name}");
        }
        assert!(!delete(&folder, "../secret").unwrap() && !delete(&folder, "link.log").unwrap());
        assert!(delete(&folder, "one.log").unwrap() && !delete(&folder, "one.log").unwrap());
    }
}
