//! Bringing definitions about: all of them, or nothing.

use std::ops::ControlFlow;

use leveret_auth::hash::{HashError, Hashing};
use leveret_broker::Name;
use leveret_broker::access::PasswordHash;
use leveret_broker::node::{BatchError, Node};
use leveret_broker::topology::{Change, Draft};

use super::plan::{Planner, Stop};
use super::report::{Lines, Report};
use super::sections::{Definitions, Password};
use crate::{WriteError, wait};

/// What is to be imported, and how.
#[derive(Debug)]
pub struct Import<'a> {
    /// Definitions, in their order.
    pub sources: &'a [Source<'a>],
    /// Whether they are of one vhost.
    pub scope: Scope,
    /// How passwords are hashed that come as they are.
    pub hashing: Hashing,
    /// What is changed along with it.
    pub also: &'a [Change],
    /// Whether each change is told.
    pub lines: Lines,
}

/// Definitions, and where they are from.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The file, for errors.
    pub label: Option<&'a str>,
    /// What it says.
    pub definitions: &'a Definitions,
}

/// Whether definitions are of one vhost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// They are of a whole broker.
    All,
    /// Everything goes into this vhost, whatever they say; users and what is not in a vhost are left alone.
    Vhost(Name),
}

/// How far an import is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The section.
    pub what: &'static str,
    /// How many of it are done.
    pub done: usize,
    /// How many there are.
    pub of: usize,
}

/// Why nothing was changed, or may not survive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Something in the definitions is wrong; begins with the path to it.
    #[error("{0}")]
    Wrong(String),
    /// Somebody stopped it.
    #[error("the import was stopped, and nothing was changed")]
    Stopped,
    /// A password could not be hashed.
    #[error("a password cannot be hashed: {0}")]
    Hash(#[from] HashError),
    /// It is too much to be done at once.
    #[error("the definitions are too large to be imported at once; nothing was changed")]
    TooLarge,
    /// It was done and may not survive, or it was not done as nothing can be written.
    #[error("the definitions could not be written to disk; see the log")]
    NotWritten,
}

/// Told how far an import is; may stop it.
pub type OnProgress<'a> = dyn FnMut(Progress) -> ControlFlow<()> + 'a;

/// Imports definitions and waits until they are on disk. What is there and not in them stays.
pub fn import(node: &Node, import: &Import<'_>, progress: &mut OnProgress<'_>) -> Result<Report, ImportError> {
    let hashes = hashes(import)?;
    let batch = node.apply_together(|draft| plan(draft, import, &hashes, progress));
    let batch = batch.map_err(|error| match error {
        BatchError::Plan(stop) => stop.into(),
        BatchError::TooLarge => ImportError::TooLarge,
        BatchError::NotWritten => ImportError::NotWritten,
    })?;
    match wait(node, batch.written) {
        Ok(()) => Ok(batch.planned),
        Err(WriteError::NotWritten | WriteError::Refused(_)) => Err(ImportError::NotWritten),
    }
}

/// Says what an import would come to, and changes nothing.
pub fn preview(node: &Node, import: &Import<'_>, progress: &mut OnProgress<'_>) -> Result<Report, ImportError> {
    let hashes = hashes(import)?;
    plan(&mut node.draft(), import, &hashes, progress).map_err(ImportError::from)
}

fn plan(
    draft: &mut Draft,
    import: &Import<'_>,
    hashes: &[Vec<Option<PasswordHash>>],
    progress: &mut OnProgress<'_>,
) -> Result<Report, Stop> {
    let mut report = Report::new(import.lines);
    for (source, hashes) in import.sources.iter().zip(hashes) {
        let label = |stop| match (stop, source.label) {
            (Stop::Wrong(text), Some(label)) => Stop::Wrong(format!("{label}: {text}")),
            (stop, _) => stop,
        };
        Planner::new(draft, &import.scope, hashes, &mut report, progress).run(source.definitions).map_err(label)?;
    }
    for change in import.also {
        draft.apply(change.clone()).map_err(|error| Stop::Wrong(error.to_string()))?;
    }
    Ok(report)
}

/// Hashes the passwords that come as they are: it takes time, and the plan may have to be made several times.
fn hashes(import: &Import<'_>) -> Result<Vec<Vec<Option<PasswordHash>>>, HashError> {
    let of_source = |source: &Source<'_>| {
        let users = source.definitions.users.iter();
        users
            .map(|user| match &user.password {
                Password::Plain(password) => import.hashing.hash(password).map(Some),
                Password::Unsaid | Password::Hash(_) => Ok(None),
            })
            .collect::<Result<Vec<_>, _>>()
    };
    import.sources.iter().map(of_source).collect()
}

impl From<Stop> for ImportError {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Wrong(text) => Self::Wrong(text),
            Stop::Asked => Self::Stopped,
        }
    }
}
