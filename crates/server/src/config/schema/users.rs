//! Settings of users, and of how they log in.

use leveret_auth::DefaultUser;
use leveret_broker::Name;
use leveret_broker::access::{HashingAlgorithm, Secret};
use leveret_session::amqp091::{Anonymous, Mechanism};

use super::{At, Group, Numbered, Setting, Takes};

/// Mechanisms that clients may log in by.
const MECHANISMS: [&str; 4] = [
    Mechanism::Plain.as_str(),
    Mechanism::Amqplain.as_str(),
    Mechanism::Anonymous.as_str(),
    Mechanism::External.as_str(),
];

/// Names of `RabbitMQ`'s modules, and of our own.
const HASHING: [&str; 3] =
    [HashingAlgorithm::Sha256.as_str(), HashingAlgorithm::Sha512.as_str(), HashingAlgorithm::Argon2id.as_str()];

pub(super) const GROUP: Group = Group {
    title: "Users and how they log in",
    settings: &[
        Setting {
            key: "default_user",
            takes: Takes::Name(|draft, _, name| user(draft).name = name.into()),
            default: "guest",
            help: "The user that is made when the broker starts with an empty data folder",
        },
        Setting {
            key: "default_pass",
            takes: Takes::Secret(|draft, _, password| user(draft).password = password),
            default: "guest",
            help: "That user's password",
        },
        Setting {
            key: "default_user_tags.$tag",
            takes: Takes::Flag(|draft, at, on| choose(&mut draft.users.tags, at, on)),
            default: "administrator",
            help: "Whether that user has this tag; once one is set, the user has only those that are set to true",
        },
        Setting {
            key: "default_vhost",
            takes: Takes::Name(|draft, _, name| user(draft).vhost = name.into()),
            default: "/",
            help: "The vhost that is made when the broker starts with an empty data folder",
        },
        Setting {
            key: "default_permissions.configure",
            takes: Takes::Pattern(|draft, _, pattern| user(draft).permissions.configure = pattern),
            default: ".*",
            help: "What that user may make and delete in that vhost: a regular expression for names",
        },
        Setting {
            key: "default_permissions.write",
            takes: Takes::Pattern(|draft, _, pattern| user(draft).permissions.write = pattern),
            default: ".*",
            help: "What that user may write to in that vhost",
        },
        Setting {
            key: "default_permissions.read",
            takes: Takes::Pattern(|draft, _, pattern| user(draft).permissions.read = pattern),
            default: ".*",
            help: "What that user may read from in that vhost",
        },
        Setting {
            key: "loopback_users",
            takes: Takes::Word(&["none"], |draft, _, _| draft.users.no_loopback = true),
            default: "",
            help: "Let every user log in from other machines, whatever `loopback_users.$user` says",
        },
        Setting {
            key: "loopback_users.$user",
            takes: Takes::Flag(|draft, at, on| choose(&mut draft.users.loopback, at, on)),
            default: "guest",
            help: "Whether this user may log in from this machine only; once one is set, only those that are set to true",
        },
        Setting {
            key: "auth_mechanisms.$n",
            takes: Takes::Word(&MECHANISMS, |draft, at, name| {
                if let Some(mechanism) = Mechanism::parse(name) {
                    draft.users.mechanisms.push(at, mechanism);
                }
            }),
            default: "PLAIN, AMQPLAIN, ANONYMOUS",
            help: "SASL mechanisms that clients may log in by, in the order of their numbers",
        },
        Setting {
            key: "anonymous_login_user",
            takes: Takes::Text(|draft, _, name| draft.users.anonymous_user = Some(name)),
            default: "guest",
            help: "As whom clients log in by ANONYMOUS; `none` does not let them",
        },
        Setting {
            key: "anonymous_login_pass",
            takes: Takes::Secret(|draft, _, password| draft.users.anonymous_password = Some(password)),
            default: "guest",
            help: "That user's password",
        },
        Setting {
            key: "password_hashing_module",
            takes: Takes::Word(&HASHING, |draft, _, name| {
                draft.config.access.login.hashing.algorithm = HashingAlgorithm::parse(name).unwrap_or_default();
            }),
            default: "rabbit_password_hashing_sha256",
            help: "How new passwords are hashed",
        },
    ],
};

/// What was read so far and belongs together.
#[derive(Default)]
pub(super) struct Draft {
    tags: Option<Vec<Name>>,
    no_loopback: bool,
    loopback: Option<Vec<Name>>,
    mechanisms: Numbered<Mechanism>,
    anonymous_user: Option<String>,
    anonymous_password: Option<Secret>,
}

fn user(draft: &mut super::Draft) -> &mut DefaultUser {
    &mut draft.config.access.default_user
}

/// Adds the word to the list if it is on it, and has the list count if it is not.
fn choose(list: &mut Option<Vec<Name>>, at: &At<'_>, on: bool) {
    let list = list.get_or_insert_default();
    if on {
        list.push(at.word().into());
    }
}

pub(super) fn finish(draft: &mut super::Draft) {
    let users = std::mem::take(&mut draft.users);
    let access = &mut draft.config.access;
    if let Some(tags) = users.tags {
        access.default_user.tags = tags;
    }
    if users.no_loopback {
        access.login.limits.loopback_only = Vec::new();
    } else if let Some(users) = users.loopback {
        access.login.limits.loopback_only = users;
    }
    if !users.mechanisms.is_empty() {
        access.mechanisms = users.mechanisms.sorted();
    }
    if let Some(credentials) = &mut access.anonymous {
        let Anonymous { user, password } = credentials;
        if let Some(name) = users.anonymous_user {
            *user = name.into();
        }
        if let Some(secret) = users.anonymous_password {
            *password = secret;
        }
        if &**user == "none" {
            access.anonymous = None;
        }
    }
}
