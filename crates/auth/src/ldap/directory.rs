//! What queries need of a directory, and what can go wrong with one.

use std::future::Future;

use super::query::Depth;

/// The result code that says there is no such entry (RFC 4511 §4.1.9).
const NO_SUCH_OBJECT: u32 = 32;

/// Somebody who knows entries.
pub(super) trait Directory: Send {
    /// Gives the entries that are asked for.
    fn search(&mut self, search: &Search) -> impl Future<Output = Result<Vec<Entry>, DirectoryError>> + Send;
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Search {
    /// Where to begin.
    pub(super) base: String,
    pub(super) depth: Depth,
    pub(super) filter: Filter,
    /// The attribute whose values are wanted, if any is.
    pub(super) attribute: Option<String>,
    /// More than these are not wanted; there may be more, all the same.
    pub(super) entries_max: i32,
}

/// Which entries are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    /// All of them.
    Any,
    /// Those that have a value in an attribute.
    Has {
        /// The name of the attribute.
        attribute: String,
        /// The value as it is, not escaped.
        value: String,
    },
}

/// An entry that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) dn: String,
    /// Values of the attribute that was asked for.
    pub(super) values: Vec<String>,
}

/// What went wrong. The texts name servers and entries and are for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum DirectoryError {
    /// No server can be asked.
    #[error("{0}")]
    Unreachable(String),
    /// A server does not take the name and password of somebody.
    #[error("{0}")]
    BindRefused(String),
    /// A server could not tell whether a name and password are right.
    #[error("{0}")]
    BindFailed(String),
    /// A server has an answer that is none.
    #[error("{text}")]
    Answer {
        /// Its result code.
        code: u32,
        /// What it says.
        text: String,
    },
}

impl DirectoryError {
    /// Whether the entry that was asked about does not exist.
    pub(super) fn is_missing_entry(&self) -> bool {
        matches!(self, Self::Answer { code: NO_SUCH_OBJECT, .. })
    }
}
