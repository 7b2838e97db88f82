//! What is changed by whoever operates the node, in the log: users, what they may do, vhosts and policies.
//!
//! The words are RabbitMQ's. They come from what is written down, so that it does not matter which way somebody changed it.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use leveret_broker::Name;
use leveret_broker::access::{PasswordHash, Permissions};
use leveret_broker::topology::{Record, Topology, VhostMetadata};
use parking_lot::Mutex;

/// Knows enough of the users to tell what is new about one.
#[derive(Debug)]
pub(crate) struct Changes {
    /// Hashes of the password's hash, and of the tags, by user.
    users: Mutex<HashMap<Name, (u64, u64)>>,
    hasher: RandomState,
}

impl Changes {
    /// What comes after this.
    pub(crate) fn of(topology: &Topology) -> Self {
        let changes = Self { users: Mutex::default(), hasher: RandomState::new() };
        for user in topology.users() {
            changes.know(user.name(), user.password(), user.tags());
        }
        changes
    }

    /// Remembers a user; gives what was known of it before, and what is now.
    fn know(&self, name: &Name, password: &PasswordHash, tags: &[Name]) -> (Option<(u64, u64)>, (u64, u64)) {
        let now = (self.hasher.hash_one(&password.octets), self.hasher.hash_one(tags));
        (self.users.lock().insert(Name::clone(name), now), now)
    }

    /// Logs what records say. May be called under the topology's lock: it waits for nothing.
    pub(crate) fn log(&self, records: &[Record]) {
        for (at, record) in records.iter().enumerate() {
            match record {
                Record::UserSet { user, password, tags } => self.user_set(user, password, tags),
                Record::UserDeleted { user } => {
                    self.users.lock().remove(user);
                    tracing::info!(target: "user", "Deleted user '{user}'");
                }
                Record::PermissionsSet { user, vhost, permissions } => {
                    let Permissions { configure, write, read } = permissions;
                    let (configure, write, read) = (configure.text(), write.text(), read.text());
                    tracing::info!(
                        target: "user",
                        "Successfully set permissions for '{user}' in virtual host '{vhost}' to '{configure}', '{write}', '{read}'"
                    );
                }
                Record::PermissionsCleared { user, vhost } => {
                    tracing::info!(target: "user", "Successfully cleared permissions for '{user}' in virtual host '{vhost}'");
                }
                Record::TopicPermissionsSet { user, vhost, exchange, permissions } => {
                    let (write, read) = (permissions.write.text(), permissions.read.text());
                    tracing::info!(
                        target: "user",
                        "Successfully set topic permissions on exchange '{exchange}' for '{user}' in virtual host '{vhost}' \
                         to '{write}', '{read}'"
                    );
                }
                Record::TopicPermissionsCleared { user, vhost, exchange } => {
                    tracing::info!(
                        target: "user",
                        "Successfully cleared topic permissions on exchange '{exchange}' for '{user}' in virtual host '{vhost}'"
                    );
                }
                Record::VhostCreated { vhost } => {
                    let behind = records.get(at + 1..).unwrap_or_default();
                    let described = behind.iter().find_map(|record| match record {
                        Record::VhostDescribed { vhost: described, metadata } if described == vhost => Some(metadata),
                        _ => None,
                    });
                    let nothing = VhostMetadata::default();
                    let VhostMetadata { description, tags, .. } = described.unwrap_or(&nothing);
                    let tags = tags.join(", ");
                    tracing::info!("Adding vhost '{vhost}' (description: '{description}', tags: [{tags}])");
                }
                Record::VhostDeleted { vhost } => tracing::info!("Deleting vhost '{vhost}'"),
                Record::PolicySet { vhost, kind: _, policy } => {
                    let (name, apply_to, pattern) = (&policy.name, policy.apply_to.as_str(), &policy.pattern);
                    tracing::info!(
                        "Successfully set policy '{name}' matching {apply_to} names in virtual host '{vhost}' using pattern '{pattern}'"
                    );
                }
                Record::PolicyCleared { vhost, kind: _, name } => {
                    tracing::info!("Successfully cleared policy '{name}' in virtual host '{vhost}'");
                }
                Record::ExchangeDeclared { .. }
                | Record::ExchangeDeleted { .. }
                | Record::DelayNumbered { .. }
                | Record::QueueDeclared { .. }
                | Record::QueueDeleted { .. }
                | Record::QueuePaused { .. }
                | Record::Bound(_)
                | Record::Unbound(_)
                | Record::VhostDescribed { .. }
                | Record::ParameterSet { .. }
                | Record::ParameterCleared { .. }
                | Record::GlobalParameterSet { .. }
                | Record::GlobalParameterCleared { .. }
                | Record::UserLimitsSet { .. }
                | Record::DefaultsCreated => {}
            }
        }
    }

    fn user_set(&self, user: &Name, password: &PasswordHash, tags: &[Name]) {
        let (before, now) = self.know(user, password, tags);
        match before {
            None => tracing::info!(target: "user", "Created user '{user}'"),
            Some((password, _)) if password != now.0 => {
                tracing::info!(target: "user", "Successfully changed password for user '{user}'");
            }
            Some(_) => {}
        }
        if before.map_or(!tags.is_empty(), |(_, tags)| tags != now.1) {
            let tags = tags.join(",");
            tracing::info!(target: "user", "Successfully set user tags for user '{user}' to [{tags}]");
        }
    }
}

#[cfg(test)]
mod tests {
    use leveret_broker::access::{HashingAlgorithm, TopicPermissions};
    use leveret_broker::topology::{ApplyTo, Policy, PolicyKind};
    use leveret_broker::value::Table;

    use super::*;
    use crate::logging::tests::captured;

    fn user(password: &[u8], tags: &[&str]) -> Record {
        let password = PasswordHash { algorithm: HashingAlgorithm::Sha256, octets: password.into() };
        Record::UserSet { user: "x".into(), password, tags: tags.iter().map(|tag| (*tag).into()).collect() }
    }

    #[test]
    fn what_is_new_about_a_user_is_told_apart() {
        let changes = Changes::of(&Topology::new());
        for (record, expected) in [
            (user(b"1", &[]), &["[info] Created user 'x'"][..]),
            (user(b"1", &[]), &[]),
            (user(b"2", &[]), &["[info] Successfully changed password for user 'x'"]),
            (user(b"2", &["a", "b"]), &["[info] Successfully set user tags for user 'x' to [a,b]"]),
            (Record::UserDeleted { user: "x".into() }, &["[info] Deleted user 'x'"]),
            (user(b"2", &["a"]), &["[info] Created user 'x'", "[info] Successfully set user tags for user 'x' to [a]"]),
        ] {
            assert_eq!(captured(|| changes.log(std::slice::from_ref(&record))), expected, "{record:?}");
        }
    }

    #[test]
    fn changes_are_said_in_rabbitmq_s_words() {
        let (user, vhost, exchange): (Name, Name, Name) = ("x".into(), "/".into(), "amq.topic".into());
        let metadata =
            VhostMetadata { description: "d".into(), tags: vec!["a".into(), "b".into()], ..VhostMetadata::default() };
        let records = [
            Record::VhostCreated { vhost: "v".into() },
            Record::VhostDescribed { vhost: "v".into(), metadata },
            Record::VhostDeleted { vhost: "v".into() },
            Record::PermissionsSet {
                user: Name::clone(&user),
                vhost: Name::clone(&vhost),
                permissions: Permissions::new(".*", "a", "^$").unwrap(),
            },
            Record::PermissionsCleared { user: Name::clone(&user), vhost: Name::clone(&vhost) },
            Record::TopicPermissionsSet {
                user: Name::clone(&user),
                vhost: Name::clone(&vhost),
                exchange: Name::clone(&exchange),
                permissions: TopicPermissions::new("a", "b").unwrap(),
            },
            Record::TopicPermissionsCleared { user, vhost: Name::clone(&vhost), exchange },
            Record::PolicySet {
                vhost: Name::clone(&vhost),
                kind: PolicyKind::User,
                policy: Policy {
                    name: "p1".into(),
                    pattern: ".*".into(),
                    apply_to: ApplyTo::Queues,
                    priority: 0,
                    definition: Table::new(),
                },
            },
            Record::PolicyCleared { vhost, kind: PolicyKind::Operator, name: "p1".into() },
        ];
        let changes = Changes::of(&Topology::new());
        assert_eq!(
            captured(|| changes.log(&records)),
            [
                "[info] Adding vhost 'v' (description: 'd', tags: [a, b])",
                "[info] Deleting vhost 'v'",
                "[info] Successfully set permissions for 'x' in virtual host '/' to '.*', 'a', '^$'",
                "[info] Successfully cleared permissions for 'x' in virtual host '/'",
                "[info] Successfully set topic permissions on exchange 'amq.topic' for 'x' in virtual host '/' to 'a', 'b'",
                "[info] Successfully cleared topic permissions on exchange 'amq.topic' for 'x' in virtual host '/'",
                "[info] Successfully set policy 'p1' matching queues names in virtual host '/' using pattern '.*'",
                "[info] Successfully cleared policy 'p1' in virtual host '/'",
            ]
        );
    }
}
