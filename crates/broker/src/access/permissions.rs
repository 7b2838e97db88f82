//! What a user may do in a vhost, as patterns of names.

use super::pattern::{Pattern, PatternError, Variable};
use super::{Permission, Question};
use crate::Name;
use crate::error::{Resource, ResourceKind};

/// What the default exchange is called where rights are concerned.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// Which queues and exchanges a user may configure, write to and read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// What it may make and delete.
    pub configure: Pattern,
    /// What it may publish to, or bind.
    pub write: Pattern,
    /// What it may consume from, purge, or bind to.
    pub read: Pattern,
}

/// Which routing keys a user may use with a topic exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermissions {
    /// With which it may publish.
    pub write: Pattern,
    /// With which it may bind.
    pub read: Pattern,
}

impl Permissions {
    /// Permissions of these patterns.
    pub fn new(configure: &str, write: &str, read: &str) -> Result<Self, PatternError> {
        let (configure, write, read) = (configure.into(), write.into(), read.into());
        Ok(Self { configure: Pattern::new(configure)?, write: Pattern::new(write)?, read: Pattern::new(read)? })
    }

    /// Permissions for everything.
    pub fn all() -> Self {
        Self { configure: Pattern::all(), write: Pattern::all(), read: Pattern::all() }
    }

    pub(crate) fn allow(&self, permission: Permission, resource: &Resource, user: &str) -> bool {
        let pattern = match permission {
            Permission::Configure => &self.configure,
            Permission::Write => &self.write,
            Permission::Read => &self.read,
        };
        pattern.matches(&resource.name, &variables(user, &resource.vhost))
    }
}

impl TopicPermissions {
    /// Permissions of these patterns.
    pub fn new(write: &str, read: &str) -> Result<Self, PatternError> {
        Ok(Self { write: Pattern::new(write.into())?, read: Pattern::new(read.into())? })
    }

    pub(crate) fn allow(&self, permission: Permission, routing_key: &str, user: &str, vhost: &str) -> bool {
        match permission {
            Permission::Write => self.write.matches(routing_key, &variables(user, vhost)),
            Permission::Read => self.read.matches(routing_key, &variables(user, vhost)),
            Permission::Configure => false,
        }
    }
}

fn variables<'a>(user: &'a str, vhost: &'a str) -> [Variable<'a>; 2] {
    [("username", user), ("vhost", vhost)]
}

impl Question {
    /// Whether something may be done with a queue.
    pub fn queue(permission: Permission, vhost: &Name, name: &str) -> Self {
        Self::Resource { resource: Resource::queue(vhost, name), permission }
    }

    /// Whether something may be done with an exchange; the default one has an empty name.
    pub fn exchange(permission: Permission, vhost: &Name, name: &str) -> Self {
        Self::Resource { resource: Resource::exchange(vhost, named(name)), permission }
    }

    /// Whether a routing key may be used with a topic exchange.
    pub fn topic(permission: Permission, vhost: &Name, exchange: &str, routing_key: &str) -> Self {
        let exchange =
            Resource { kind: ResourceKind::Exchange, name: named(exchange).into(), vhost: Name::clone(vhost) };
        Self::Topic { exchange, routing_key: routing_key.into(), permission }
    }
}

fn named(exchange: &str) -> &str {
    if exchange.is_empty() { DEFAULT_EXCHANGE } else { exchange }
}
