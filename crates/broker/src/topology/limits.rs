//! How much a vhost or a user may have at a time.

use super::policy::check_settings;
use super::{Topology, ValidationError, clean_name};
use crate::error::Resource;
use crate::value::{Table, Value};
use crate::{Error, Name};

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

/// How much there may be on a node; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeLimits {
    /// Open connections.
    pub max_connections: Option<u64>,
    /// Channels, over all connections.
    pub max_channels: Option<u64>,
    /// Vhosts.
    pub max_vhosts: Option<u64>,
    /// Queues, over all vhosts.
    pub max_queues: Option<u64>,
    /// Exchanges, over all vhosts, with those that every vhost has.
    pub max_exchanges: Option<u64>,
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

impl Topology {
    /// Sets how much there may be. What there is already stays, and so does what is restored.
    pub const fn limit(&mut self, limits: NodeLimits) {
        self.limits = limits;
    }

    pub(super) fn admit_vhost(&self, name: &Name) -> Result<(), Error> {
        match self.limits.max_vhosts {
            Some(limit) if !self.vhosts.contains_key(name) && count(self.vhosts.len()) >= limit => {
                Err(Error::VhostLimit { vhost: Name::clone(name), limit })
            }
            _ => Ok(()),
        }
    }

    pub(super) fn admit_queue(&self, vhost: &Name, name: &Name) -> Result<(), Error> {
        let Some(limit) = self.limits.max_queues else { return Ok(()) };
        let exists = self.vhost(vhost)?.any_queue(&clean_name(name)).is_ok();
        if !exists && self.vhosts().map(|vhost| count(vhost.queue_count())).sum::<u64>() >= limit {
            return Err(Error::NodeQueueLimit { queue: Name::clone(name), limit });
        }
        Ok(())
    }

    pub(super) fn admit_exchange(&self, vhost: &Name, name: &Name) -> Result<(), Error> {
        let Some(limit) = self.limits.max_exchanges else { return Ok(()) };
        let exists = self.vhost(vhost)?.exchange(&clean_name(name)).is_ok();
        if !exists && self.vhosts().map(|vhost| count(vhost.exchanges.len())).sum::<u64>() >= limit {
            let exchange = Resource::exchange(vhost, name);
            return Err(Error::ExchangeLimit { exchange, limit });
        }
        Ok(())
    }
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
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
    use crate::exchange::ExchangeKind;
    use crate::topology::{Change, Origin};

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
    fn a_node_takes_so_much_and_no_more() {
        let mut topology = Topology::new();
        let vhost = |name: &str| Change::CreateVhost { vhost: name.into() };
        topology.apply(vhost("v")).unwrap();
        topology.limit(NodeLimits {
            max_vhosts: Some(2),
            max_queues: Some(1),
            max_exchanges: Some(15),
            ..NodeLimits::default()
        });
        let queue = |vhost: &str, name: &str| Change::DeclareQueue {
            vhost: vhost.into(),
            name: name.into(),
            durable: true,
            exclusive: None,
            auto_delete: false,
            arguments: Table::new(),
            origin: Origin::Client,
            id: None,
        };
        let exchange = |vhost: &str, name: &str| Change::DeclareExchange {
            vhost: vhost.into(),
            name: name.into(),
            kind: ExchangeKind::Fanout,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments: Table::new(),
            origin: Origin::Client,
        };
        for (change, refused) in [
            (vhost("w"), None),
            (vhost("w"), None),
            (vhost("x"), Some("cannot create vhost 'x': vhost limit of 2 is reached")),
            (queue("v", "q"), None),
            (queue("v", "q"), None),
            (queue("w", "q"), Some("cannot declare queue 'q': queue limit in cluster (1) is reached")),
            (exchange("v", "a"), None),
            (exchange("v", "a"), None),
            (exchange("w", "a"), Some("cannot declare exchange 'a' in vhost 'w': exchange limit of 15 is reached")),
            (Change::DeleteVhost { vhost: "v".into() }, None),
            (vhost("x"), None),
            (queue("w", "q"), None),
        ] {
            let error = topology.apply(change.clone()).err().map(|error| error.to_string());
            assert_eq!(error.as_deref(), refused, "{change:?}");
        }
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
