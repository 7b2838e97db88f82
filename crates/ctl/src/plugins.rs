//! What can be switched on and off, under the names that plugins have in `RabbitMQ`.

use std::collections::BTreeSet;

/// A part that can be switched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuiltIn {
    /// Its name, such as `rabbitmq_management`.
    pub name: &'static str,
    /// What it does, in one line.
    pub description: &'static str,
    /// What it does not work without.
    pub needs: &'static [&'static str],
    /// Whether it is on where nobody says which ones are.
    pub unlisted: Unlisted,
}

/// What a part is where there is no list of those that are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlisted {
    /// It is on: who does not use it does not notice.
    On,
    /// It is off: it does something without being asked.
    Off,
}

/// All of them, in the order of their names.
pub const BUILT_IN: [BuiltIn; 17] = [
    BuiltIn::alone("rabbitmq_auth_backend_cache", "Remembers what another authentication back end says"),
    BuiltIn::alone("rabbitmq_auth_backend_http", "Asks a service over HTTP who may log in and what one may do"),
    BuiltIn::alone("rabbitmq_auth_backend_ldap", "Asks LDAP servers who may log in and what one may do"),
    BuiltIn::alone("rabbitmq_auth_backend_oauth2", "Lets in who has a token that an OAuth 2.0 provider signed"),
    BuiltIn::alone("rabbitmq_auth_mechanism_ssl", "Lets clients log in with their TLS certificate (EXTERNAL)"),
    BuiltIn::alone("rabbitmq_consistent_hash_exchange", "Exchanges of the type x-consistent-hash"),
    BuiltIn::alone("rabbitmq_delayed_message_exchange", "Exchanges of the type x-delayed-message"),
    BuiltIn::asked_for("rabbitmq_event_exchange", "Publishes what happens to the exchange amq.rabbitmq.event"),
    BuiltIn {
        name: "rabbitmq_management",
        description: "The management listener, for tools on other machines",
        needs: &["rabbitmq_management_agent", "rabbitmq_web_dispatch"],
        unlisted: Unlisted::On,
    },
    BuiltIn::alone("rabbitmq_management_agent", "What the management listener needs of the node"),
    BuiltIn::alone("rabbitmq_message_deduplication", "Exchanges of the type x-message-deduplication"),
    BuiltIn {
        name: "rabbitmq_prometheus",
        description: "The metrics of the node, for Prometheus",
        needs: &["rabbitmq_management_agent", "rabbitmq_web_dispatch"],
        unlisted: Unlisted::On,
    },
    BuiltIn::alone("rabbitmq_random_exchange", "Exchanges of the type x-random"),
    BuiltIn::alone("rabbitmq_recent_history_exchange", "Exchanges of the type x-recent-history"),
    BuiltIn::alone("rabbitmq_sharding", "Exchanges of the type x-modulus-hash"),
    BuiltIn::asked_for("rabbitmq_tracing", "Writes messages that come and go to files, over the HTTP API"),
    BuiltIn::alone("rabbitmq_web_dispatch", "HTTP, for what is spoken over it"),
];

impl BuiltIn {
    const fn alone(name: &'static str, description: &'static str) -> Self {
        Self { name, description, needs: &[], unlisted: Unlisted::On }
    }

    const fn asked_for(name: &'static str, description: &'static str) -> Self {
        Self { name, description, needs: &[], unlisted: Unlisted::Off }
    }

    /// The one of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        BUILT_IN.iter().find(|part| part.name == name)
    }
}

/// Those of `names` that are built in, with all that they need.
pub fn with_needs<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<&'static str> {
    let mut all = BTreeSet::new();
    let mut left: Vec<_> = names.into_iter().filter_map(BuiltIn::find).collect();
    while let Some(part) = left.pop() {
        if all.insert(part.name) {
            left.extend(part.needs.iter().filter_map(|name| BuiltIn::find(name)));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_whole() {
        assert!(BUILT_IN.is_sorted_by_key(|part| part.name));
        for part in BUILT_IN {
            assert!(part.needs.iter().all(|name| BuiltIn::find(name).is_some()), "{}", part.name);
        }
    }

    #[test]
    fn what_is_needed_comes_along() {
        for (names, expected) in [
            (&["rabbitmq_sharding"][..], &["rabbitmq_sharding"][..]),
            (
                &["rabbitmq_management", "rabbitmq_shovel"],
                &["rabbitmq_management", "rabbitmq_management_agent", "rabbitmq_web_dispatch"],
            ),
            (&[], &[]),
        ] {
            assert!(with_needs(names.iter().copied()).into_iter().eq(expected.iter().copied()), "{names:?}");
        }
    }
}
