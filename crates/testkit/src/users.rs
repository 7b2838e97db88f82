//! Users and what they may do: set in the node of this process, or in RabbitMQ by `rabbitmqctl`.

use leveret_auth::hash::Hashing;
use leveret_broker::Name;
use leveret_broker::access::{self, PasswordHash, Secret, TopicPermissions};
use leveret_broker::topology::{Change, Existing};

use crate::amqp091::{Builder, Connection};
use crate::broker;
use crate::policy::{Setting, apply, json, table};
use crate::rabbitmqctl::rabbitmqctl;

/// What a user may do in a vhost: a pattern of the names of queues and exchanges for each kind of access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permissions<'a> {
    /// What it may make, change and delete.
    pub configure: &'a str,
    /// Where it may put messages.
    pub write: &'a str,
    /// Where it may take messages from.
    pub read: &'a str,
}

impl Permissions<'_> {
    /// Everything.
    pub const ALL: Self = Self { configure: ".*", write: ".*", read: ".*" };
    /// To open the vhost, and nothing there.
    pub const NONE: Self = Self { configure: "", write: "", read: "" };
}

/// A user of a test's own; dropping it deletes it.
#[derive(Debug)]
pub struct OwnUser {
    name: String,
    password: String,
}

/// Creates a user that may do this in a vhost.
pub fn own_user(vhost: &str, permissions: Permissions<'_>) -> OwnUser {
    let user = own_user_named(&crate::unique("user"));
    user.set_permissions(vhost, permissions);
    user
}

/// Creates a user of this name that may not open any vhost.
pub fn own_user_named(name: &str) -> OwnUser {
    let user = OwnUser { name: name.to_owned(), password: crate::unique("password") };
    if broker::is_foreign() {
        rabbitmqctl("add_user", None, &["--", &user.name, &user.password]);
    } else {
        let password = hash(&user.password);
        apply(Change::SetUser { user: user.shared_name(), password, tags: Vec::new(), existing: Existing::Refuse });
    }
    user
}

impl OwnUser {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// A handshake that logs it in to a vhost.
    pub fn builder(&self, vhost: &str) -> Builder {
        Connection::builder().user(&self.name, &self.password).vhost(vhost)
    }

    /// Logs it in to a vhost.
    #[track_caller]
    pub fn open(&self, vhost: &str) -> Connection {
        self.builder(vhost).open()
    }

    /// Says what it may do in a vhost, in the place of what was said before.
    pub fn set_permissions(&self, vhost: &str, permissions: Permissions<'_>) {
        let Permissions { configure, write, read } = permissions;
        if broker::is_foreign() {
            rabbitmqctl("set_permissions", Some(vhost), &["--", &self.name, configure, write, read]);
        } else {
            let permissions =
                access::Permissions::new(configure, write, read).unwrap_or_else(|error| panic!("{error}"));
            apply(Change::SetPermissions { user: self.shared_name(), vhost: vhost.into(), permissions });
        }
    }

    /// Closes a vhost to it.
    pub fn clear_permissions(&self, vhost: &str) {
        if broker::is_foreign() {
            rabbitmqctl("clear_permissions", Some(vhost), &["--", &self.name]);
        } else {
            apply(Change::ClearPermissions { user: self.shared_name(), vhost: vhost.into() });
        }
    }

    /// Says with which routing keys it may publish to a topic exchange and with which it may bind to it.
    pub fn set_topic_permissions(&self, vhost: &str, exchange: &str, write: &str, read: &str) {
        if broker::is_foreign() {
            rabbitmqctl("set_topic_permissions", Some(vhost), &["--", &self.name, exchange, write, read]);
        } else {
            let permissions = TopicPermissions::new(write, read).unwrap_or_else(|error| panic!("{error}"));
            let (user, vhost, exchange) = (self.shared_name(), vhost.into(), exchange.into());
            apply(Change::SetTopicPermissions { user, vhost, exchange, permissions });
        }
    }

    /// Takes back all that was said of its topics in a vhost.
    pub fn clear_topic_permissions(&self, vhost: &str) {
        if broker::is_foreign() {
            rabbitmqctl("clear_topic_permissions", Some(vhost), &["--", &self.name]);
        } else {
            apply(Change::ClearTopicPermissions { user: self.shared_name(), vhost: vhost.into(), exchange: None });
        }
    }

    /// Gives it these tags and no others.
    pub fn set_tags(&self, tags: &[&str]) {
        if broker::is_foreign() {
            rabbitmqctl("set_user_tags", None, &[&["--", &self.name], tags].concat());
        } else {
            let tags = tags.iter().map(|tag| Name::from(*tag)).collect();
            apply(Change::SetTags { user: self.shared_name(), tags });
        }
    }

    /// Gives it another password.
    pub fn set_password(&mut self, password: &str) {
        if broker::is_foreign() {
            rabbitmqctl("change_password", None, &["--", &self.name, password]);
        } else {
            apply(Change::SetPassword { user: self.shared_name(), password: hash(password) });
        }
        password.clone_into(&mut self.password);
    }

    /// Takes its password away, so that no password logs it in.
    pub fn clear_password(&self) {
        if broker::is_foreign() {
            rabbitmqctl("clear_password", None, &["--", &self.name]);
        } else {
            apply(Change::SetPassword { user: self.shared_name(), password: PasswordHash::none() });
        }
    }

    /// Limits what it may have open: `max-connections` and `max-channels`. A negative one is none.
    pub fn limit(&self, limits: &[(&str, Setting<'_>)]) {
        if broker::is_foreign() {
            rabbitmqctl("set_user_limits", None, &["--", &self.name, &json(limits)]);
        } else {
            apply(Change::SetUserLimits { user: self.shared_name(), limits: table(limits) });
        }
    }

    fn shared_name(&self) -> Name {
        self.name.as_str().into()
    }

    /// Deletes it, and is through when it can no longer log in.
    pub fn delete(self) {
        drop(self);
    }
}

impl Drop for OwnUser {
    fn drop(&mut self) {
        if broker::is_foreign() {
            rabbitmqctl("delete_user", None, &["--", &self.name]);
        } else {
            // The test may have deleted it.
            let _ = broker::shared_node().apply(Change::DeleteUser { user: self.shared_name() });
        }
    }
}

fn hash(password: &str) -> PasswordHash {
    Hashing::default().hash(&Secret::new(password.as_bytes())).unwrap_or_else(|error| panic!("{error}"))
}
