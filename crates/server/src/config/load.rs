//! Reads a configuration file.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::Config;
use super::file::{self, Remark};
use super::schema::Draft;

/// The largest configuration file, in octets.
const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// Mistakes that are reported at once.
const MISTAKES_MAX: usize = 20;
/// The permission of everybody to read a file.
const READABLE_BY_OTHERS: u32 = 0o004;

/// What came out of a configuration file.
#[derive(Debug)]
pub struct Loaded {
    /// What it says, and for the rest what holds anyway.
    pub config: Config,
    /// What should be looked at, in a sentence each.
    pub warnings: Vec<String>,
}

/// Why a configuration file is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("cannot read the configuration file {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
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
    /// What it says is wrong.
    #[error("{}", Mistakes(path, mistakes))]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong, in the order of lines.
        mistakes: Vec<Remark>,
    },
}

/// Shows a line for each mistake.
struct Mistakes<'a>(&'a Path, &'a [Remark]);

impl fmt::Display for Mistakes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, mistake) in self.1.iter().enumerate() {
            if number == MISTAKES_MAX {
                return write!(f, "\n... and {} more mistakes", self.1.len() - number);
            }
            let separator = if number == 0 { "" } else { "\n" };
            write!(f, "{separator}{}:{}: {}", self.0.display(), mistake.line, mistake.text)?;
        }
        Ok(())
    }
}

impl Config {
    /// Reads a file in the format of `RabbitMQ`'s rabbitmq.conf. `variable` is asked what `$(NAME)` in a value stands for.
    pub fn load(path: &Path, variable: impl Fn(&str) -> Option<String>) -> Result<Loaded, ConfigError> {
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
        let draft = read(text, variable);
        if !draft.mistakes.is_empty() {
            return Err(ConfigError::Wrong { path: path.to_owned(), mistakes: draft.mistakes });
        }
        let mut warnings: Vec<_> = draft
            .warnings
            .iter()
            .map(|warning| format!("{}:{}: {}", path.display(), warning.line, warning.text))
            .collect();
        if draft.has_secrets && metadata.permissions().mode() & READABLE_BY_OTHERS != 0 {
            warnings.push(format!("{} has secrets in it and can be read by everybody (chmod o-r)", path.display()));
        }
        Ok(Loaded { config: draft.config, warnings })
    }
}

/// Reads the text of a configuration file.
pub(super) fn read(text: &str, variable: impl Fn(&str) -> Option<String>) -> Draft {
    let lines = file::read(text, variable);
    let mut draft = Draft::new(Config::default());
    for entry in &lines.entries {
        draft.set(entry);
    }
    let mut draft = draft.finish();
    draft.mistakes.extend(lines.mistakes);
    draft.mistakes.sort_by_key(|mistake| mistake.line);
    draft.warnings.extend(lines.warnings);
    draft.warnings.sort_by_key(|warning| warning.line);
    draft
}
