//! Policies: settings for all queues and exchanges of a vhost whose name matches a pattern.
//!
//! Of each kind, user and operator policies, the one with the highest priority applies and no other; of equal ones the first
//! by name. A queue keeps what applies to it, so that only what a change concerns is looked at again.

mod applied;
mod change;
mod definition;
mod pattern;
mod policies;
mod validation;

pub use applied::AppliedPolicies;
pub use change::Reconfigured;
pub use validation::ValidationError;
pub(super) use validation::check_settings;

pub(super) use definition::merge;
pub(super) use policies::Policies;

use crate::Name;
use crate::queue::QueueKind;
use crate::value::Table;

/// A policy as it is set and listed.
///
/// Its definition is what JSON can hold: integers as `I64`, other numbers as `F64`, text as `LongStr`, objects as tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Its name, unique among the policies of its kind in the vhost.
    pub name: Name,
    /// A regular expression that matches somewhere in the names it applies to.
    pub pattern: Name,
    /// What it applies to, of what has such a name.
    pub apply_to: ApplyTo,
    /// The highest wins.
    pub priority: i64,
    /// The settings by their keys.
    pub definition: Table,
}

/// Who sets a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyKind {
    /// Whoever looks after the applications of a vhost.
    User,
    /// Whoever looks after the broker: only for queues, few keys, and mostly limits that policies of users cannot raise.
    Operator,
}

/// What a policy applies to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ApplyTo {
    /// Queues of all types and exchanges.
    #[default]
    All,
    /// Queues of all types.
    Queues,
    /// Exchanges.
    Exchanges,
    /// Classic queues.
    ClassicQueues,
    /// Quorum queues.
    QuorumQueues,
    /// Streams.
    Streams,
}

/// What a policy can match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// An exchange.
    Exchange,
    /// A queue of that type.
    Queue(QueueKind),
}

impl ApplyTo {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::All, Self::Queues, Self::Exchanges, Self::ClassicQueues, Self::QuorumQueues, Self::Streams];

    /// What that name stands for.
    pub fn parse(name: &str) -> Result<Self, crate::Error> {
        let found = Self::ALL.into_iter().find(|apply_to| apply_to.as_str() == name);
        found.ok_or_else(|| ValidationError::ApplyTo { name: name.into() }.into())
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Queues => "queues",
            Self::Exchanges => "exchanges",
            Self::ClassicQueues => "classic_queues",
            Self::QuorumQueues => "quorum_queues",
            Self::Streams => "streams",
        }
    }

    const fn covers(self, subject: Subject) -> bool {
        match subject {
            Subject::Exchange => matches!(self, Self::All | Self::Exchanges),
            Subject::Queue(QueueKind::Classic) => matches!(self, Self::All | Self::Queues | Self::ClassicQueues),
            Subject::Queue(QueueKind::Quorum) => matches!(self, Self::All | Self::Queues | Self::QuorumQueues),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_policies_apply_to_is_known_by_its_name() {
        for apply_to in ApplyTo::ALL {
            assert_eq!(ApplyTo::parse(apply_to.as_str()), Ok(apply_to));
        }
        let text = "Validation failed\n\napply-to 'foo' unrecognised; should be one of: 'queues', 'classic_queues',  \
                    'quorum_queues', 'streams', 'exchanges', or 'all'";
        assert_eq!(ApplyTo::parse("foo").unwrap_err().to_string(), text);
    }
}
