//! How much a vhost or a user may have at a time.

use super::ValidationError;
use super::policy::check_settings;
use crate::Name;
use crate::value::{Table, Value};

/// How much there may be in a vhost; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VhostLimits {
    /// Connections.
    pub max_connections: Option<u64>,
    /// Queues.
    pub max_queues: Option<u64>,
}

/// How much a user may have open; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UserLimits {
    /// Connections.
    pub max_connections: Option<u64>,
    /// Channels, over all of its connections.
    pub max_channels: Option<u64>,
}

const CONNECTIONS: &str = "max-connections";
const QUEUES: &str = "max-queues";
const CHANNELS: &str = "max-channels";

impl VhostLimits {
    /// The limits in the value of a parameter of that name.
    pub(super) fn parse(name: &Name, limits: &Table) -> Result<Self, ValidationError> {
        check(name, limits, [CONNECTIONS, QUEUES])?;
        Ok(Self { max_connections: limit(limits, CONNECTIONS), max_queues: limit(limits, QUEUES) })
    }
}

impl UserLimits {
    /// The limits in a definition of them.
    pub(super) fn parse(limits: &Table) -> Result<Self, ValidationError> {
        check(&"user-limits".into(), limits, [CONNECTIONS, CHANNELS])?;
        Ok(Self { max_connections: limit(limits, CONNECTIONS), max_channels: limit(limits, CHANNELS) })
    }
}

fn check(name: &Name, limits: &Table, keys: [&str; 2]) -> Result<(), ValidationError> {
    let terms = check_settings(limits, |key, value| {
        keys.contains(&&**key).then(|| match value.as_integer() {
            Some(_) => Ok(()),
            None => Err(ValidationError::NotNumber { key: Name::clone(key), value: value.clone() }),
        })
    })?;
    if terms.is_empty() { Ok(()) } else { Err(ValidationError::UnknownTerms { terms, name: Name::clone(name) }) }
}

/// A number below zero is no limit.
fn limit(limits: &Table, key: &str) -> Option<u64> {
    limits.get(key).and_then(Value::as_integer).and_then(|limit| u64::try_from(limit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(values: &[(&str, Value)]) -> Table {
        values.iter().map(|(name, value)| ((*name).into(), value.clone())).collect()
    }

    #[test]
    fn numbers_from_zero_are_limits() {
        let limits = table(&[(CONNECTIONS, Value::I64(0)), (QUEUES, Value::I64(-1))]);
        let expected = VhostLimits { max_connections: Some(0), max_queues: None };
        assert_eq!(VhostLimits::parse(&"limits".into(), &limits), Ok(expected));
        let limits = table(&[(CONNECTIONS, Value::I64(-5)), (CHANNELS, Value::I64(7))]);
        let expected = UserLimits { max_connections: None, max_channels: Some(7) };
        assert_eq!(UserLimits::parse(&limits), Ok(expected));
        assert_eq!(UserLimits::parse(&Table::new()), Ok(UserLimits::default()));
    }

    #[test]
    fn other_limits_are_refused_in_rabbitmqs_words() {
        for (key, value, text) in [
            (CONNECTIONS, Value::text("x"), "max-connections should be a number, actually was <<\"x\">>"),
            (QUEUES, Value::F64(1.5), "max-queues should be a number, actually was 1.5"),
            ("max-foo", Value::I64(5), "Unrecognised terms [{<<\"max-foo\">>,5}] in limits"),
            (CHANNELS, Value::I64(5), "Unrecognised terms [{<<\"max-channels\">>,5}] in limits"),
        ] {
            let error = VhostLimits::parse(&"limits".into(), &table(&[(key, value)])).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
        let error = UserLimits::parse(&table(&[(QUEUES, Value::I64(1))])).unwrap_err();
        assert_eq!(error.to_string(), "Unrecognised terms [{<<\"max-queues\">>,1}] in user-limits");
    }
}
