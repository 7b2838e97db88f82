//! Which files settings are read from.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::environment::Variables;

/// What the names of files end in that a folder of them is read for.
const SUFFIX: &str = "conf";
/// The most files that a folder is read for.
const FILES_MAX: usize = 1000;

/// Files to read; those behind win over those before.
#[derive(Default)]
pub(super) struct Files {
    pub(super) paths: Vec<PathBuf>,
    /// What should be looked at.
    pub(super) warnings: Vec<String>,
}

/// The file with variables that there is, if there is one.
pub(super) fn variables_file(etc: &Path, named: Option<&str>) -> Option<PathBuf> {
    let path = named.map_or_else(|| etc.join("rabbitmq/rabbitmq-env.conf"), PathBuf::from);
    // One that is named may have to be complained about.
    (named.is_some() || path.is_file()).then_some(path)
}

/// The files that are named, or else those that are looked for: `RabbitMQ`'s and our own below `etc`.
pub(super) fn files(named: &[PathBuf], etc: &Path, variables: &Variables) -> io::Result<Files> {
    let mut files = Files::default();
    for path in named {
        if path.is_dir() {
            // As in /etc/rabbitmq, or the folder conf.d itself.
            let main = ["rabbitmq.conf", "leveret.conf"].map(|name| path.join(name));
            let folder = path.join("conf.d");
            if folder.is_dir() || main.iter().any(|main| main.is_file()) {
                files.paths.extend(main.into_iter().filter(|main| main.is_file()));
                files.paths.extend(if folder.is_dir() { of_folder(&folder)? } else { Vec::new() });
            } else {
                files.paths.extend(of_folder(path)?);
            }
        } else {
            files.paths.push(path.clone());
        }
    }
    if named.is_empty() {
        files.look(etc, variables)?;
    }
    Ok(files)
}

impl Files {
    fn look(&mut self, etc: &Path, variables: &Variables) -> io::Result<()> {
        let rabbitmq = etc.join("rabbitmq");
        match variables.get("CONFIG_FILE") {
            Some(name) => self.named_by_variable(name)?,
            None => self.file_if_there(rabbitmq.join("rabbitmq.conf"))?,
        }
        match variables.get("CONFIG_FILES") {
            Some(name) => self.of_pattern(name)?,
            None => self.of_folder_if_there(&rabbitmq.join("conf.d"))?,
        }
        let own = etc.join("leveret");
        self.file_if_there(own.join("leveret.conf"))?;
        self.of_folder_if_there(&own.join("conf.d"))?;
        let advanced = variables
            .get("ADVANCED_CONFIG_FILE")
            .map_or_else(|| rabbitmq.join("advanced.config"), |name| with_suffix(name, "config"));
        for path in [advanced, rabbitmq.join("rabbitmq.config")] {
            if path.is_file() {
                self.warnings.push(format!(
                    "{} is not read, as it has Erlang terms: write what it sets as keys of rabbitmq.conf",
                    path.display()
                ));
            }
        }
        Ok(())
    }

    /// The file that `RABBITMQ_CONFIG_FILE` names, with its suffix or without. `RabbitMQ` starts without one that is not there.
    fn named_by_variable(&mut self, name: &str) -> io::Result<()> {
        let path = PathBuf::from(name);
        if path.extension().is_some_and(|suffix| suffix == "config") {
            self.warnings.push(format!(
                "RABBITMQ_CONFIG_FILE: {name} is not read, as it has Erlang terms: write what it sets as keys of rabbitmq.conf"
            ));
            return Ok(());
        }
        for path in [path, with_suffix(name, SUFFIX)] {
            if is_there(&path, Metadata::is_file)? {
                self.paths.push(path);
                return Ok(());
            }
        }
        self.warnings.push(format!("RABBITMQ_CONFIG_FILE: there is no file {name}"));
        Ok(())
    }

    fn file_if_there(&mut self, path: PathBuf) -> io::Result<()> {
        if is_there(&path, Metadata::is_file)? {
            self.paths.push(path);
        }
        Ok(())
    }

    fn of_folder_if_there(&mut self, folder: &Path) -> io::Result<()> {
        if is_there(folder, Metadata::is_dir)? {
            self.paths.extend(of_folder(folder)?);
        }
        Ok(())
    }

    /// A folder, a file, or a folder and a name with a `*` in it.
    fn of_pattern(&mut self, name: &str) -> io::Result<()> {
        let path = Path::new(name);
        let pattern = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if path.is_dir() {
            self.paths.extend(of_folder(path)?);
        } else if path.is_file() {
            self.paths.push(path.to_owned());
        } else if let Some((begin, end)) = pattern.split_once('*').filter(|_| folder.is_dir()) {
            let fits =
                |name: &str| name.len() >= begin.len() + end.len() && name.starts_with(begin) && name.ends_with(end);
            self.paths.extend(entries(folder, fits)?);
        } else {
            self.warnings.push(format!("RABBITMQ_CONFIG_FILES: there is no folder {name}"));
        }
        Ok(())
    }
}

/// Whether there is something of a kind. What may not be looked at may be there: to go on without it would be to run with other
/// users and listeners than somebody wrote down.
fn is_there(path: &Path, is_kind: fn(&Metadata) -> bool) -> io::Result<bool> {
    match fs::metadata(path) {
        Ok(found) => Ok(is_kind(&found)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            Err(io::Error::new(error.kind(), format!("cannot look for {}: {error}", path.display())))
        }
        Err(_) => Ok(false),
    }
}

fn with_suffix(name: &str, suffix: &str) -> PathBuf {
    let path = PathBuf::from(name);
    if path.extension().is_some_and(|found| found == suffix) { path } else { PathBuf::from(format!("{name}.{suffix}")) }
}

/// The files of a folder whose names end in `.conf`, in the order of their names.
fn of_folder(folder: &Path) -> io::Result<Vec<PathBuf>> {
    entries(folder, |name| name.strip_suffix(SUFFIX).is_some_and(|name| name.len() > 1 && name.ends_with('.')))
}

fn entries(folder: &Path, fits: impl Fn(&str) -> bool) -> io::Result<Vec<PathBuf>> {
    let explain = |error: io::Error| {
        io::Error::new(error.kind(), format!("cannot read the folder {}: {error}", folder.display()))
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(explain)? {
        let path = entry.map_err(explain)?.path();
        let is_named = path.file_name().is_some_and(|name| fits(&name.to_string_lossy()));
        if is_named && path.is_file() {
            paths.push(path);
        }
        // Nobody could say which of them to leave out.
        if paths.len() > FILES_MAX {
            return Err(explain(io::Error::other(format!("it has more than {FILES_MAX} files"))));
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::super::environment::Environment;
    use super::*;

    /// A folder with these files in it, and the names of those that are read, with the number of warnings.
    fn look<const N: usize>(there: &[&str], named: &[&str], variables: [(&str, &str); N]) -> (String, usize) {
        let folder = tempfile::tempdir().unwrap();
        for name in there {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let variables = variables.map(|(name, value)| (name, value.replace('~', folder.path().to_str().unwrap())));
        let mut environment: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let environment: Environment = <[_; N]>::try_from(std::mem::take(&mut environment)).unwrap().into();
        let variables = Variables::read(&environment, None, &mut Vec::new());
        let named: Vec<_> = named.iter().map(|name| folder.path().join(name)).collect();
        let files = files(&named, &folder.path().join("etc"), &variables).unwrap();
        let found = files.paths.iter().map(|path| path.strip_prefix(folder.path()).unwrap().display().to_string());
        (found.collect::<Vec<_>>().join(" "), files.warnings.len())
    }

    #[test]
    fn files_are_found_in_their_order() {
        const ALL: &[&str] = &[
            "etc/rabbitmq/rabbitmq.conf",
            "etc/rabbitmq/conf.d/20-b.conf",
            "etc/rabbitmq/conf.d/10-a.conf",
            "etc/rabbitmq/conf.d/readme.txt",
            "etc/rabbitmq/conf.d/.conf",
            "etc/leveret/leveret.conf",
            "etc/leveret/conf.d/x.conf",
            "a/one.conf",
            "a/two.conf",
        ];
        let own = "etc/leveret/leveret.conf etc/leveret/conf.d/x.conf";
        let folder = "etc/rabbitmq/conf.d/10-a.conf etc/rabbitmq/conf.d/20-b.conf";
        for (variables, expected, warnings) in [
            ([("A", ""), ("B", "")], format!("etc/rabbitmq/rabbitmq.conf {folder} {own}"), 0),
            ([("RABBITMQ_CONFIG_FILE", "~/a/one"), ("B", "")], format!("a/one.conf {folder} {own}"), 0),
            (
                [("RABBITMQ_CONFIG_FILE", "~/a/one.conf"), ("RABBITMQ_CONFIG_FILES", "~/a/t*.conf")],
                format!("a/one.conf a/two.conf {own}"),
                0,
            ),
            (
                [("RABBITMQ_CONFIG_FILE", "~/a/none"), ("RABBITMQ_CONFIG_FILES", "~/a")],
                format!("a/one.conf a/two.conf {own}"),
                1,
            ),
            ([("RABBITMQ_CONFIG_FILE", "~/a/old.config"), ("RABBITMQ_CONFIG_FILES", "~/b/")], own.to_owned(), 2),
        ] {
            assert_eq!(look(ALL, &[], variables), (expected, warnings), "{variables:?}");
        }
        for (named, expected) in [
            (&["a/two.conf", "a/one.conf"][..], "a/two.conf a/one.conf".to_owned()),
            (&["a"], "a/one.conf a/two.conf".to_owned()),
            (&["etc/rabbitmq"], format!("etc/rabbitmq/rabbitmq.conf {folder}")),
            (&["not/there.conf"], "not/there.conf".to_owned()),
        ] {
            assert_eq!(look(ALL, named, [("RABBITMQ_CONFIG_FILE", "~/a/one")]), (expected, 0), "{named:?}");
        }
        assert_eq!(look(&[], &[], []), (String::new(), 0));
    }

    #[test]
    fn files_with_erlang_terms_are_named() {
        assert_eq!(look(&["etc/rabbitmq/advanced.config"], &[], []), (String::new(), 1));
        assert_eq!(look(&["etc/rabbitmq/rabbitmq.config"], &[], []), (String::new(), 1));
        assert_eq!(look(&["a.config"], &[], [("RABBITMQ_ADVANCED_CONFIG_FILE", "~/a")]), (String::new(), 1));
    }

    #[test]
    fn a_folder_that_may_not_be_entered_is_not_taken_for_an_empty_one() {
        use std::os::unix::fs::PermissionsExt;
        if rustix::process::geteuid().is_root() {
            eprintln!("SKIPPED: root may enter every folder");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let closed = folder.path().join("rabbitmq");
        fs::create_dir(&closed).unwrap();
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o600)).unwrap();
        let variables = Variables::read(&Environment::default(), None, &mut Vec::new());
        let error = files(&[], folder.path(), &variables).err().unwrap();
        assert!(error.to_string().contains("rabbitmq.conf"), "{error}");
    }

    #[test]
    fn a_folder_with_too_many_files_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..=FILES_MAX {
            if number == FILES_MAX {
                assert_eq!(of_folder(folder.path()).unwrap().len(), FILES_MAX, "what is no such file does not count");
            }
            fs::write(folder.path().join(format!("{number}.conf")), "").unwrap();
            fs::write(folder.path().join(format!("{number}.txt")), "").unwrap();
        }
        assert!(of_folder(folder.path()).is_err());
    }
}
