//! Reads all that a node is told: files, the environment and the command line.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::effective::{self, Effective};
use super::environment::{Environment, Stands, Variables};
use super::file::{self, Entry, Lines};
use super::place::{Fault, Origin, Place, Places, Remark};
use super::schema::Draft;
use super::{Config, HostName, decode, node_name, sources};

/// The largest configuration file, in octets.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Mistakes that are reported at once.
const MISTAKES_MAX: usize = 20;
/// The permission of everybody to read a file.
const READABLE_BY_OTHERS: u32 = 0o004;
/// The variable with a folder that stands before `/etc`, as in `RabbitMQ`'s scripts.
const SYSTEM_PREFIX: &str = "SYS_PREFIX";

/// Where a node is told something. What is further down wins over what is further up.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Files, and folders with files, that take the place of those that are looked for.
    pub files: Vec<PathBuf>,
    /// The environment, with `RabbitMQ`'s variables and those that files refer to.
    pub environment: Environment,
    /// Options of the command line, and the variables that stand for them.
    pub options: Vec<Given>,
}

/// A setting out of an option.
#[derive(Debug, Clone)]
pub struct Given {
    /// The key that it would have in a file.
    pub key: String,
    /// The value, as in a file but without quotes. It may be a password.
    pub value: Zeroizing<String>,
    /// The option, or the variable that stands for it.
    pub origin: Origin,
    /// Keys that files may have set, and those that begin with them: they no longer count. One with a `$` behind it is meant alone.
    pub replaces: &'static [&'static str],
}

/// What a node was told.
#[derive(Debug)]
pub struct Loaded {
    /// What it says, and for the rest what holds anyway.
    pub config: Config,
    /// Every setting with its value and where that comes from.
    pub settings: Vec<Effective>,
    /// The files that were read, those that win last.
    pub files: Vec<PathBuf>,
    /// What should be looked at.
    pub warnings: Vec<Fault>,
}

/// Why a node cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A folder with files cannot be read.
    #[error("{0}")]
    Folder(io::Error),
    /// It is no such file.
    #[error("{} is no configuration file: it has more than {FILE_BYTES_MAX} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It is no such file.
    #[error("{} is no configuration file: it is no text in UTF-8", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// What is said is wrong.
    #[error("{}", Mistakes(mistakes))]
    Wrong {
        /// What is wrong, in the order of files and lines.
        mistakes: Vec<Fault>,
        /// What should be looked at besides.
        warnings: Vec<Fault>,
    },
}

/// Shows a line for each mistake.
struct Mistakes<'a>(&'a [Fault]);

impl fmt::Display for Mistakes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mistake) in self.0.iter().enumerate() {
            if number == MISTAKES_MAX {
                return write!(f, "\n... and {} more mistakes", self.0.len() - number);
            }
            let separator = if number == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

impl Sources {
    /// Reads all of them.
    pub fn load(&self) -> Result<Loaded, ConfigError> {
        let prefix = self.environment.get(SYSTEM_PREFIX).unwrap_or_default();
        let etc = PathBuf::from(format!("{prefix}/etc"));
        let mut notes = Vec::new();
        let named = self.environment.get("RABBITMQ_CONF_ENV_FILE");
        // A file that is named takes the place of all that are looked for.
        let file = if self.files.is_empty() || named.is_some() { sources::variables_file(&etc, named) } else { None };
        let variables = Variables::read(&self.environment, file.as_deref(), &mut notes);
        let found = sources::files(&self.files, &etc, &variables).map_err(ConfigError::Folder)?;
        notes.extend(found.warnings);
        let host = if variables.get("USE_LONGNAME") == Some("true") { HostName::Whole } else { HostName::Short };
        let base = Config { node_name: node_name(host), ..Config::default() };
        let mut meant = variables.meaning(&base.node_name);
        notes.append(&mut meant.warnings);

        let mut places = Places::default();
        let mut merged = Merged::default();
        merged.stands(meant.below, &mut places);
        let mut remarks = Vec::new();
        let mut readable = Vec::new();
        for path in &found.paths {
            let source = places.add_file(path.clone());
            let (lines, is_readable_by_others) = read_file(path, source, &self.environment)?;
            readable.extend(is_readable_by_others.then(|| (source, path.clone())));
            merged.lines(lines, &mut remarks);
        }
        merged.stands(meant.above, &mut places);
        merged.given(&self.options, &mut places);

        let read = merged.read(base, remarks);
        let mut warnings: Vec<_> = notes.into_iter().map(|text| Fault { origin: Origin::Default, text }).collect();
        warnings.extend(read.draft.warnings.into_iter().map(|remark| places.fault(remark)));
        if !read.draft.mistakes.is_empty() {
            let mistakes = read.draft.mistakes.into_iter().map(|remark| places.fault(remark)).collect();
            return Err(ConfigError::Wrong { mistakes, warnings });
        }
        for (source, path) in readable {
            if read.draft.secrets.iter().any(|place| place.is_in(source)) {
                let text = format!("{} has secrets in it and can be read by everybody (chmod o-r)", path.display());
                warnings.push(Fault { origin: Origin::Default, text });
            }
        }
        let settings = effective::list(&read.entries, &places, &read.draft.config);
        Ok(Loaded { config: read.draft.config, settings, files: found.paths, warnings })
    }
}

/// Settings by their keys: of those with one key, the one that wins.
#[derive(Default)]
struct Merged {
    entries: HashMap<Vec<String>, Entry>,
    mistakes: Vec<Remark>,
}

/// What came of them.
pub(super) struct Outcome {
    pub(super) draft: Draft,
    /// In the order of their places.
    pub(super) entries: Vec<Entry>,
}

impl Merged {
    fn insert(&mut self, key: &str, value: &Zeroizing<String>, place: Place) {
        match file::words(key) {
            Ok(key) => {
                self.entries.insert(key.clone(), Entry { key, value: value.clone(), place });
            }
            Err(reason) => self.mistakes.push(Remark::new(place, reason)),
        }
    }

    fn stands(&mut self, settings: Vec<Stands>, places: &mut Places) {
        for Stands { key, value, origin } in settings {
            let place = places.add(origin);
            self.insert(&key, &value, place);
        }
    }

    fn lines(&mut self, lines: Lines, warnings: &mut Vec<Remark>) {
        // As in RabbitMQ, listeners in a file take the place of the one that variables stand for.
        if lines.entries.iter().any(|entry| begins_with(&entry.key, "listeners.tcp")) {
            self.entries.retain(|key, entry| entry.place.line > 0 || !begins_with(key, "listeners.tcp"));
        }
        self.entries.extend(lines.entries.into_iter().map(|entry| (entry.key.clone(), entry)));
        self.mistakes.extend(lines.mistakes);
        warnings.extend(lines.warnings);
    }

    fn given(&mut self, options: &[Given], places: &mut Places) {
        for prefix in options.iter().flat_map(|option| option.replaces) {
            self.entries.retain(|key, _| match prefix.strip_suffix('$') {
                Some(whole) => key.join(".") != whole,
                None => !begins_with(key, prefix),
            });
        }
        for Given { key, value, origin, .. } in options {
            let place = places.add(origin.clone());
            self.insert(key, value, place);
        }
    }

    /// Puts all of them where they belong, over what holds anyway.
    fn read(mut self, base: Config, warnings: Vec<Remark>) -> Outcome {
        let mut entries: Vec<_> = self.entries.into_values().collect();
        entries.sort_unstable_by_key(|entry| entry.place);
        decode::decode(&mut entries, &mut self.mistakes);
        let mut draft = Draft::new(base);
        for entry in &entries {
            draft.set(entry);
        }
        let mut draft = draft.finish();
        draft.mistakes.extend(self.mistakes);
        draft.mistakes.sort_by_key(|mistake| mistake.place);
        draft.warnings.extend(warnings);
        draft.warnings.sort_by_key(|warning| warning.place);
        Outcome { draft, entries }
    }
}

/// Whether the first words of a key are these.
fn begins_with(key: &[String], prefix: &str) -> bool {
    let mut key = key.iter();
    prefix.split('.').all(|word| key.next().is_some_and(|found| found == word))
}

/// Reads a file, and whether everybody may do that.
fn read_file(path: &Path, source: usize, environment: &Environment) -> Result<(Lines, bool), ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    // With room for all, so that no copy of a part is left behind.
    let size = usize::try_from(metadata.len().min(FILE_BYTES_MAX)).unwrap_or_default();
    let mut octets = Zeroizing::new(Vec::with_capacity(size + 1));
    file.by_ref().take(FILE_BYTES_MAX + 1).read_to_end(&mut octets).map_err(failed)?;
    if octets.len() as u64 > FILE_BYTES_MAX {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    let text = std::str::from_utf8(&octets).map_err(|_| ConfigError::NotText { path: path.to_owned() })?;
    let lines = file::read(text, source, |name| environment.fill_in(name));
    Ok((lines, metadata.permissions().mode() & READABLE_BY_OTHERS != 0))
}

/// Reads the text of a configuration file.
#[cfg(test)]
pub(super) fn read(text: &str) -> Outcome {
    let mut merged = Merged::default();
    let mut warnings = Vec::new();
    merged.lines(file::read(text, 1, |_| None), &mut warnings);
    merged.read(Config::default(), warnings)
}
