//! The file with the number of the process, for programs that look after it.

use std::fs;
use std::path::{Path, PathBuf};

/// A file that is there as long as the process runs.
pub(crate) struct PidFile(PathBuf);

impl PidFile {
    /// Writes it, in a folder that is made if it is not there.
    pub(crate) fn write(path: &Path) -> Result<Self, String> {
        let written = path.parent().map_or(Ok(()), fs::create_dir_all);
        written
            .and_then(|()| fs::write(path, format!("{}\n", std::process::id())))
            .map_err(|error| format!("cannot write the number of the process to {}: {error}", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_goes_with_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run").join("leveret.pid");
        let file = PidFile::write(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        drop(file);
        assert!(!path.exists());
        assert!(PidFile::write(&folder.path().join("run/a/..")).is_err());
    }
}
