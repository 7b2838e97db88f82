//! `leveret links`: the names of RabbitMQ's programs, as links to this one.

use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

use leveret_ctl::Tool;

/// The name under which this program is the broker.
pub(crate) const SERVER: &str = "rabbitmq-server";

/// Why there are no links.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    #[error("cannot find out where this program is: {0}")]
    Program(io::Error),
    #[error("{path} is there and is something else; --force replaces it")]
    Taken { path: PathBuf },
    #[error("cannot make {path}: {source}")]
    Failed { path: PathBuf, source: io::Error },
}

/// Makes the links in a folder, which is made, too. Those that are there already stay. With a name taken, none is made.
pub(crate) fn make(folder: &Path, force: bool) -> Result<(), LinkError> {
    let program = env::current_exe().map_err(LinkError::Program)?;
    link(&program, folder, force)?;
    let done = format!("{} is now {SERVER}, {} in {}\n", program.display(), names().join(", "), folder.display());
    // The links are made, whether or not anybody reads of it.
    let _ = io::stdout().write_all(done.as_bytes());
    Ok(())
}

fn names() -> Vec<&'static str> {
    Tool::ALL.into_iter().map(Tool::name).collect()
}

fn link(program: &Path, folder: &Path, force: bool) -> Result<(), LinkError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| LinkError::Failed { path, source }
    };
    fs::create_dir_all(folder).map_err(failed(folder))?;
    let paths: Vec<PathBuf> = names().into_iter().chain([SERVER]).map(|name| folder.join(name)).collect();
    let is_ours = |path: &Path| fs::read_link(path).is_ok_and(|target| target == program);
    if let Some(path) = paths.iter().find(|path| !force && path.symlink_metadata().is_ok() && !is_ours(path)) {
        return Err(LinkError::Taken { path: path.clone() });
    }
    for path in paths.into_iter().filter(|path| !is_ours(path)) {
        if path.symlink_metadata().is_ok() {
            fs::remove_file(&path).map_err(failed(&path))?;
        }
        symlink(program, &path).map_err(failed(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_made_once_and_replace_nothing_unasked() {
        let folder = tempfile::tempdir().unwrap();
        let (bin, program) = (folder.path().join("bin"), Path::new("/opt/leveret"));
        link(program, &bin, false).unwrap();
        link(program, &bin, false).unwrap();
        assert_eq!(fs::read_link(bin.join("rabbitmqctl")).unwrap(), program);
        assert_eq!(fs::read_dir(&bin).unwrap().count(), names().len() + 1);
        fs::remove_file(bin.join("rabbitmq-queues")).unwrap();
        fs::write(bin.join("rabbitmq-queues"), "a script").unwrap();
        fs::remove_file(bin.join("rabbitmqctl")).unwrap();
        assert!(
            matches!(link(program, &bin, false), Err(LinkError::Taken { path }) if path.ends_with("rabbitmq-queues"))
        );
        assert!(!bin.join("rabbitmqctl").exists());
        link(program, &bin, true).unwrap();
        assert_eq!(fs::read_link(bin.join("rabbitmq-queues")).unwrap(), program);
    }
}
