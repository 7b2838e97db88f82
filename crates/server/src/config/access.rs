//! What a node is told about who may log in, and as whom.

use leveret_auth::{DefaultUser, Settings};
use leveret_broker::access::Secret;
use leveret_session::amqp091::{Anonymous, Mechanism};

/// What a node is told about who may log in, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessSettings {
    /// Who says who somebody is, and what it may do.
    pub login: Settings,
    /// The user and the vhost that are made when a node starts with an empty data folder.
    pub default_user: DefaultUser,
    /// As whom clients log in that do not say who they are; `None` does not let them.
    pub anonymous: Option<Anonymous>,
    /// Mechanisms that are offered, in this order.
    pub mechanisms: Vec<Mechanism>,
}

impl Default for AccessSettings {
    fn default() -> Self {
        Self {
            login: Settings::default(),
            default_user: DefaultUser::default(),
            // From this machine only, unless somebody wants it otherwise.
            anonymous: Some(Anonymous { user: "guest".into(), password: Secret::new(b"guest") }),
            mechanisms: vec![Mechanism::Plain, Mechanism::Amqplain, Mechanism::Anonymous],
        }
    }
}
