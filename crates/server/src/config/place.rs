//! Where settings come from.

use std::fmt;
use std::path::PathBuf;

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A line of a file, from 1.
    File(PathBuf, usize),
    /// A variable of the environment.
    Variable(String),
    /// An option on the command line, with its dashes.
    Option(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) | Self::Option(name) => f.write_str(name),
        }
    }
}

/// Something to be said of a setting, for whoever wrote it. It never holds a value that may be a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where the setting is; [`Origin::Default`] for what no place has.
    pub origin: Origin,
    /// What is to be said of it.
    pub text: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default => f.write_str(&self.text),
            origin => write!(f, "{origin}: {}", self.text),
        }
    }
}

/// A line in one of the [`Places`], or nowhere. Those that win come behind those they win over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// From 1; 0 is nowhere.
    source: usize,
    /// From 1 in a file, 0 elsewhere.
    pub(super) line: usize,
}

impl Place {
    pub(super) const fn new(source: usize, line: usize) -> Self {
        Self { source, line }
    }

    /// Whether it is in the source with this number.
    pub(super) const fn is_in(self, source: usize) -> bool {
        self.source == source
    }

    /// Whether it is a place at all.
    pub(super) const fn is_somewhere(self) -> bool {
        self.source > 0
    }
}

/// Something to be said of a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Remark {
    pub(super) place: Place,
    pub(super) text: String,
}

impl Remark {
    pub(super) fn new(place: Place, text: impl Into<String>) -> Self {
        Self { place, text: text.into() }
    }
}

/// All sources of settings.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<Source>);

#[derive(Debug)]
enum Source {
    File(PathBuf),
    Other(Origin),
}

impl Places {
    /// The number of a file that is read next.
    pub(super) fn add_file(&mut self, path: PathBuf) -> usize {
        self.0.push(Source::File(path));
        self.0.len()
    }

    /// The place of a single setting.
    pub(super) fn add(&mut self, origin: Origin) -> Place {
        self.0.push(Source::Other(origin));
        Place::new(self.0.len(), 0)
    }

    /// What the place is called.
    pub(super) fn origin(&self, place: Place) -> Origin {
        match place.source.checked_sub(1).and_then(|index| self.0.get(index)) {
            Some(Source::File(path)) => Origin::File(path.clone(), place.line),
            Some(Source::Other(origin)) => origin.clone(),
            None => Origin::Default,
        }
    }

    /// Says it with the place's name.
    pub(super) fn fault(&self, remark: Remark) -> Fault {
        Fault { origin: self.origin(remark.place), text: remark.text }
    }
}
