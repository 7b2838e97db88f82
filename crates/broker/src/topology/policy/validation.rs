//! What is wrong with a policy or a parameter, in RabbitMQ's words.

use std::fmt;

use crate::Name;
use crate::value::{Table, Value};

/// Why a policy, a parameter or a set of limits is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidationError {
    /// A policy without a setting.
    #[error("no policy provided")]
    NoDefinition,
    /// Keys that mean nothing in a policy of this kind, with their values.
    #[error("{} are not recognised policy settings", Terms(.settings))]
    UnknownSettings {
        /// They and no others.
        settings: Table,
    },
    /// A key that came twice.
    #[error("[<<\"{key}\">>] duplicate keys not allowed")]
    DuplicateKey {
        /// The key.
        key: Name,
    },
    /// A value that its key does not allow.
    #[error("{} {complaint}", Json(.value))]
    InvalidSetting {
        /// The value.
        value: Value,
        /// What it is not, such as `is not a valid maximum length`.
        complaint: &'static str,
    },
    /// The pattern is no regular expression.
    #[error("pattern should be regular expression but is invalid: {reason}")]
    Pattern {
        /// Why.
        reason: String,
    },
    /// Nothing that policies can apply to.
    #[error(
        "apply-to '{name}' unrecognised; should be one of: 'queues', 'classic_queues',  'quorum_queues', 'streams', \
         'exchanges', or 'all'"
    )]
    ApplyTo {
        /// The name.
        name: Name,
    },
    /// No parameters of that component.
    #[error("component {component} not found")]
    UnknownComponent {
        /// The component.
        component: Name,
    },
    /// A parameter that its component does not know.
    #[error("there is no parameter {name} of {component}")]
    UnknownParameter {
        /// The component.
        component: Name,
        /// The parameter.
        name: Name,
    },
    /// A value that has to be a number.
    #[error("{key} should be a number, actually was {}", Json(.value))]
    NotNumber {
        /// Whose value.
        key: Name,
        /// The value.
        value: Value,
    },
    /// A value that has to be an object.
    #[error("{name} not a list {}", Json(.value))]
    NotObject {
        /// Whose value.
        name: Name,
        /// The value.
        value: Value,
    },
    /// Keys that mean nothing, with their values.
    #[error("Unrecognised terms {} in {name}", Terms(.terms))]
    UnknownTerms {
        /// They and no others.
        terms: Table,
        /// Where they were.
        name: Name,
    },
    /// A default type of queues that is none.
    #[error("unsupported queue type '{queue_type}'")]
    QueueType {
        /// Its name.
        queue_type: Name,
    },
}

/// The first key of a table that comes again.
fn duplicate(table: &Table) -> Option<&Name> {
    let keys = || table.iter().map(|(key, _)| key);
    keys().enumerate().find(|(at, key)| keys().take(*at).any(|earlier| earlier == *key)).map(|(_, key)| key)
}

/// Checks a table setting by setting: `check` says whether a key is known and its value right. As in RabbitMQ, what is
/// wrong with a value comes before what is unknown.
pub(in crate::topology) fn check_settings(
    table: &Table,
    mut check: impl FnMut(&Name, &Value) -> Option<Result<(), ValidationError>>,
) -> Result<Table, ValidationError> {
    if let Some(key) = duplicate(table) {
        return Err(ValidationError::DuplicateKey { key: Name::clone(key) });
    }
    let mut unknown = Table::new();
    for (key, value) in table.iter() {
        match check(key, value) {
            Some(checked) => checked?,
            None => unknown.push(Name::clone(key), value.clone()),
        }
    }
    Ok(unknown)
}

/// A value as the Erlang term that RabbitMQ makes of JSON.
struct Json<'a>(&'a Value);

/// A table as the list of pairs that RabbitMQ makes of a definition.
struct Terms<'a>(&'a Table);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Void => f.write_str("null"),
            Value::Array(values) => {
                f.write_str("[")?;
                for (index, value) in values.iter().enumerate() {
                    write!(f, "{}{}", if index == 0 { "" } else { "," }, Json(value))?;
                }
                f.write_str("]")
            }
            Value::Table(table) => {
                f.write_str("#{")?;
                for (index, (key, value)) in table.iter().enumerate() {
                    write!(f, "{}<<\"{key}\">> => {}", if index == 0 { "" } else { "," }, Json(value))?;
                }
                f.write_str("}")
            }
            value => write!(f, "{}", crate::value::Term(value)),
        }
    }
}

impl fmt::Display for Terms<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, (key, value)) in self.0.iter().enumerate() {
            write!(f, "{}{{<<\"{key}\">>,{}}}", if index == 0 { "" } else { "," }, Json(value))?;
        }
        f.write_str("]")
    }
}
