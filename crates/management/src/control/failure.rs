//! Why an operation failed.

use leveret_broker::Error;

use crate::{HostError, WriteError};

/// What a failure means for a script; each kind has an exit code of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was asked for in a wrong way.
    Usage,
    /// What was given does not fit, or what it names is not there.
    Data,
    /// There is no such user.
    NoUser,
    /// The node, or what it needs for this, does not run.
    Unavailable,
    /// It was understood, and failed.
    Software,
    /// It may work later.
    Temporary,
    /// The caller may not do this.
    Denied,
}

impl Kind {
    /// Its name in answers.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Data => "data",
            Self::NoUser => "no_user",
            Self::Unavailable => "unavailable",
            Self::Software => "software",
            Self::Temporary => "temporary",
            Self::Denied => "denied",
        }
    }
}

/// Why an operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Failure {
    /// What kind of failure it is.
    pub kind: Kind,
    /// What a person reads.
    pub text: String,
}

impl Failure {
    /// A failure of a kind.
    pub fn new(kind: Kind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }

    /// What was given does not fit.
    pub fn data(text: impl Into<String>) -> Self {
        Self::new(Kind::Data, text)
    }

    /// It failed.
    pub fn software(text: impl Into<String>) -> Self {
        Self::new(Kind::Software, text)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let kind = match error {
            Error::UserNotFound { .. } => Kind::NoUser,
            Error::VhostNotFound { .. } | Error::NotFound { .. } => Kind::Data,
            _ => Kind::Software,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<WriteError> for Failure {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Refused(error) => error.into(),
            WriteError::NotWritten => Self::software(error.to_string()),
        }
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let kind = match &error {
            HostError::Busy => Kind::Temporary,
            HostError::UnknownPlugins { .. } | HostError::UnknownCategory { .. } => Kind::Data,
            HostError::Running | HostError::Failed(_) => Kind::Software,
        };
        Self::new(kind, error.to_string())
    }
}
