//! What may be asked about a user, and the answers.

use std::fmt;

use crate::Name;
use crate::error::Resource;

/// What a user wants to do with a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Permission {
    /// Make it, change it, delete it.
    Configure,
    /// Put messages into it.
    Write,
    /// Take messages out of it.
    Read,
}

impl Permission {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Configure, Self::Write, Self::Read];

    /// As RabbitMQ writes it: in texts, in definitions, to back ends.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configure => "configure",
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether a user may do something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Question {
    /// Open a vhost.
    Vhost {
        /// Its name.
        vhost: Name,
    },
    /// Do something with a queue or an exchange. The default exchange is called `amq.default`.
    Resource {
        /// The queue or exchange, and where it is.
        resource: Resource,
        /// What is to be done with it.
        permission: Permission,
    },
    /// Publish with a routing key to a topic exchange, or bind a queue to it with one.
    Topic {
        /// The exchange, and where it is.
        exchange: Resource,
        /// The routing key or binding key.
        routing_key: Name,
        /// [`Permission::Write`] to publish, [`Permission::Read`] to bind.
        permission: Permission,
    },
}

impl Question {
    /// What somebody is told who may not, in RabbitMQ's words.
    pub fn refusal(&self, user: &str, answer: &Answer) -> String {
        let mut text = match self {
            Self::Vhost { vhost } => format!("access to vhost '{vhost}' refused for user '{user}'"),
            Self::Resource { resource, permission } => {
                format!("{permission} access to {resource} refused for user '{user}'")
            }
            Self::Topic { exchange, routing_key, permission } => {
                format!("{permission} access to topic '{routing_key}' in {exchange} refused for user '{user}'")
            }
        };
        match answer {
            Answer::Allowed | Answer::Refused { reason: None } => {}
            Answer::Refused { reason: Some(Reason { backend, text: reason }) } => {
                text.push_str(" by backend ");
                text.push_str(backend);
                text.push_str(": ");
                text.push_str(reason);
            }
            Answer::Failed(Reason { backend, text: reason }) => {
                text.push_str(", backend ");
                text.push_str(backend);
                text.push_str(" returned an error: ");
                text.push_str(reason);
            }
        }
        text
    }

    /// The vhost that is asked about.
    pub fn vhost(&self) -> &Name {
        match self {
            Self::Vhost { vhost } => vhost,
            Self::Resource { resource, .. } => &resource.vhost,
            Self::Topic { exchange, .. } => &exchange.vhost,
        }
    }
}

/// The answer of whoever was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It may.
    Allowed,
    /// It may not.
    Refused {
        /// Who says why, if anybody does and clients may know.
        reason: Option<Reason>,
    },
    /// A back end could not say, so that it may not.
    Failed(Reason),
}

/// What a back end says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// The back end, by the name of RabbitMQ's module: `rabbit_auth_backend_http`.
    pub backend: &'static str,
    /// Why it refused, or what went wrong. Clients may see it.
    pub text: Name,
}

impl Answer {
    /// A refusal without a reason.
    pub const REFUSED: Self = Self::Refused { reason: None };

    /// Allowed, or refused without a reason.
    pub const fn of(is_allowed: bool) -> Self {
        if is_allowed { Self::Allowed } else { Self::REFUSED }
    }

    /// Whether it is allowed.
    pub const fn is_allowed(&self) -> bool {
        matches!(self, Self::Allowed)
    }
}
