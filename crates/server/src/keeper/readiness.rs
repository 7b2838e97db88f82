//! What the process tells those who started it: systemd, and scripts that look for the file with its number.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sd_notify::NotifyState;

/// Says that the node takes connections.
pub(crate) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Says what the process does, to be read by people.
pub(crate) fn status(status: &str) {
    notify(&[NotifyState::Status(status)]);
}

/// Says that the configuration is read again; [`ready`] ends that.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!("cannot tell the service manager of a reload: {error}"),
    }
}

/// Says that the process is about to end.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Does nothing where nobody wants to be told.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("cannot tell the service manager: {error}");
    }
}

/// A file with the number of this process, which goes with it.
#[derive(Debug)]
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Writes it.
    pub(crate) fn write(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        fs::write(path, format!("{}\n", std::process::id()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        // Another one may have taken its place.
        if fs::read_to_string(&self.0).is_ok_and(|text| text.trim() == std::process::id().to_string()) {
            let _ = fs::remove_file(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_goes_with_the_process_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
        let file = PidFile::write(&path).unwrap();
        fs::write(&path, "1\n").unwrap();
        drop(file);
        assert!(path.exists(), "it is another one's");
    }
}
