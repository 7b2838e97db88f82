//! Definitions as they were read: checked for their form, not yet for what they mean.

use std::fmt;

use leveret_broker::Name;
use leveret_broker::access::{PasswordHash, Permissions, Secret, TopicPermissions};
use leveret_broker::topology::{ApplyTo, Change, Destination, PolicyKind};
use leveret_broker::value::{Table, Value};

/// What a file says, section by section, in the order in which it stands there.
#[derive(Debug, Default)]
pub struct Definitions {
    pub(super) users: Vec<User>,
    pub(super) vhosts: Vec<Vhost>,
    pub(super) permissions: Vec<Permission>,
    pub(super) exchanges: Vec<Exchange>,
    pub(super) topic_permissions: Vec<TopicPermission>,
    pub(super) global_parameters: Vec<GlobalParameter>,
    pub(super) policies: Vec<PolicyDefinition>,
    pub(super) parameters: Vec<Parameter>,
    pub(super) queues: Vec<Queue>,
    pub(super) bindings: Vec<Binding>,
    /// What is read and means nothing here, a sentence each.
    pub(super) remarks: Vec<String>,
}

impl Definitions {
    /// Lets somebody who brings about the vhosts that `is_missing` do everything in them, unless something else is said of that here.
    pub fn grants(&self, user: &Name, is_missing: impl Fn(&str) -> bool) -> Vec<Change> {
        let is_said = |vhost: &Name| self.permissions.iter().any(|said| said.user == *user && said.vhost == *vhost);
        let vhosts = self.vhosts.iter().map(|vhost| &vhost.name).filter(|vhost| is_missing(vhost) && !is_said(vhost));
        let grant = |vhost: &Name| Change::SetPermissions {
            user: Name::clone(user),
            vhost: Name::clone(vhost),
            permissions: Permissions::all(),
        };
        vhosts.map(grant).collect()
    }
}

/// The password of a user.
#[derive(Debug)]
pub(super) enum Password {
    /// Nothing is said of it.
    Unsaid,
    Hash(PasswordHash),
    Plain(Secret),
}

#[derive(Debug)]
pub(super) struct User {
    pub(super) name: Name,
    pub(super) password: Password,
    pub(super) tags: Vec<Name>,
    pub(super) limits: Table,
}

/// What is not said of a vhost stays as it is.
#[derive(Debug)]
pub(super) struct Vhost {
    pub(super) name: Name,
    pub(super) description: Option<Name>,
    pub(super) tags: Option<Vec<Name>>,
    pub(super) default_queue_type: Option<Name>,
    pub(super) is_protected: Option<bool>,
    pub(super) limits: Table,
}

#[derive(Debug)]
pub(super) struct Permission {
    pub(super) user: Name,
    pub(super) vhost: Name,
    pub(super) permissions: Permissions,
}

#[derive(Debug)]
pub(super) struct TopicPermission {
    pub(super) user: Name,
    pub(super) vhost: Name,
    pub(super) exchange: Name,
    pub(super) permissions: TopicPermissions,
}

/// The vhost of what is in one; `None` in definitions of one vhost.
pub(super) type Place = Option<Name>;

#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) vhost: Place,
    pub(super) name: Name,
    pub(super) kind: Name,
    pub(super) durable: bool,
    pub(super) auto_delete: bool,
    pub(super) internal: bool,
    pub(super) arguments: Table,
}

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) vhost: Place,
    pub(super) name: Name,
    pub(super) durable: bool,
    pub(super) auto_delete: bool,
    pub(super) arguments: Table,
}

#[derive(Debug)]
pub(super) struct Binding {
    pub(super) vhost: Place,
    pub(super) source: Name,
    pub(super) destination: Destination,
    pub(super) routing_key: Name,
    pub(super) arguments: Table,
}

#[derive(Debug)]
pub(super) struct GlobalParameter {
    pub(super) name: Name,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) at: At,
    pub(super) vhost: Place,
    pub(super) component: Name,
    pub(super) name: Name,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) struct PolicyDefinition {
    pub(super) at: At,
    pub(super) vhost: Place,
    pub(super) kind: PolicyKind,
    pub(super) name: Name,
    pub(super) pattern: Name,
    pub(super) apply_to: ApplyTo,
    pub(super) priority: i64,
    pub(super) definition: Table,
}

/// Where something stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At {
    pub(super) section: &'static str,
    pub(super) index: usize,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.section, self.index)
    }
}
