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
    /// There is no such vhost. The tools say that in words of its own.
    NoVhost,
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
            Self::NoVhost => "no_vhost",
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
    /// In the words of RabbitMQ's tools, where they have some, and with their exit codes.
    fn from(error: Error) -> Self {
        match error {
            Error::UserNotFound { user } => Self::new(Kind::NoUser, format!("User \"{user}\" does not exist")),
            Error::UserExists { user } => Self::software(format!("User \"{user}\" already exists")),
            Error::NamelessUser => Self::data("user cannot be an empty string"),
            Error::VhostNotFound { vhost } => {
                Self::new(Kind::NoVhost, format!("Virtual host '{vhost}' does not exist"))
            }
            // There is an empty line behind it.
            Error::Validation(_) => Self::new(Kind::Unavailable, format!("{error}\n")),
            Error::InvalidLimits(_) | Error::PolicyAsParameter { .. } | Error::ParameterNotFound => {
                Self::new(Kind::Unavailable, error.to_string())
            }
            Error::NotFound { .. } => Self::data(error.to_string()),
            _ => Self::software(error.to_string()),
        }
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

#[cfg(test)]
mod tests {
    use leveret_broker::topology::ApplyTo;

    use super::*;

    #[test]
    fn refusals_of_the_broker_are_told_as_rabbitmqs_tools_do() {
        let nothing = ApplyTo::parse("nothing").unwrap_err();
        let validation = format!("{nothing}\n");
        for (error, kind, text) in [
            (Error::UserNotFound { user: "u".into() }, Kind::NoUser, "User \"u\" does not exist"),
            (Error::UserExists { user: "u".into() }, Kind::Software, "User \"u\" already exists"),
            (Error::VhostNotFound { vhost: "v".into() }, Kind::NoVhost, "Virtual host 'v' does not exist"),
            (Error::ParameterNotFound, Kind::Unavailable, "Parameter does not exist"),
            (nothing, Kind::Unavailable, &validation),
        ] {
            assert_eq!(Failure::from(error), Failure::new(kind, text), "{text}");
        }
    }
}
