//! Settings of the back end that asks LDAP servers.

use std::path::PathBuf;

use leveret_auth::ldap::{LdapBind, LdapEncryption, LdapLog, LdapSettings};
use leveret_auth::tls::{ClientCertificate, HostnameVerification, TlsVersion, Verify};
use leveret_broker::access::Secret;

use super::certificate::Certificate;
use super::{At, Group, Numbered, Place, Remark, Setting, TLS_VERSIONS, Takes, VERIFY};

/// The most connections that may be kept to all servers together.
const CONNECTIONS_MAX: u64 = 10_000;
/// As whom servers are asked, other than as somebody with a password.
const BINDS: &[&str] = &["as_user", "anon"];

pub(super) const GROUP: Group = Group {
    title: "Back end LDAP",
    settings: &[
        Setting {
            key: "auth_ldap.servers.$n",
            takes: Takes::Text(|draft, at, server| draft.ldap.servers.push(at, server)),
            default: "",
            help: "Host names or addresses of servers, tried in the order of their numbers",
        },
        Setting {
            key: "auth_ldap.port",
            takes: Takes::Number(1, 65_535, |draft, _, port| {
                settings(draft).port = u16::try_from(port).unwrap_or_default();
            }),
            default: "389",
            help: "Their port",
        },
        Setting {
            key: "auth_ldap.use_ssl",
            takes: Takes::Flag(|draft, at, on| draft.ldap.ssl = on.then_some(at.place)),
            default: "false",
            help: "Whether connections begin with TLS, usually on port 636",
        },
        Setting {
            key: "auth_ldap.use_starttls",
            takes: Takes::Flag(|draft, at, on| draft.ldap.starttls = on.then_some(at.place)),
            default: "false",
            help: "Whether connections change to TLS before anything else is said",
        },
        Setting {
            key: "auth_ldap.timeout",
            takes: Takes::Milliseconds(1, |draft, _, ms| settings(draft).timeout_ms = ms),
            default: "10000",
            help: "How long a connection may take to come about, and each answer; `infinity` is a minute",
        },
        Setting {
            key: "auth_ldap.idle_timeout",
            takes: Takes::Milliseconds(0, |draft, _, ms| settings(draft).idle_timeout_ms = ms),
            default: "300000",
            help: "How long a connection without work stays open",
        },
        Setting {
            key: "auth_ldap.connection_pool_size",
            takes: Takes::Number(1, CONNECTIONS_MAX, |draft, _, size| {
                settings(draft).connection_pool_size = usize::try_from(size).unwrap_or(usize::MAX);
            }),
            default: "64",
            help: "How many connections there may be to all servers together",
        },
        Setting {
            key: "auth_ldap.user_dn_pattern",
            takes: Takes::Text(|draft, _, pattern| settings(draft).user_dn_pattern = pattern),
            default: "${username}",
            help: "A user's DN, or what is looked up to find it",
        },
        Setting {
            key: "auth_ldap.user_bind_pattern",
            takes: Takes::Text(|draft, _, pattern| settings(draft).user_bind_pattern = unless_none(pattern)),
            default: "none",
            help: "The name to bind with, if it is not the DN",
        },
        Setting {
            key: "auth_ldap.dn_lookup_attribute",
            takes: Takes::Text(|draft, _, attribute| settings(draft).dn_lookup_attribute = unless_none(attribute)),
            default: "none",
            help: "The attribute with the user's name, to look its DN up by; `none` looks nothing up",
        },
        Setting {
            key: "auth_ldap.dn_lookup_base",
            takes: Takes::Text(|draft, _, base| settings(draft).dn_lookup_base = unless_none(base)),
            default: "none",
            help: "Below which entry users are looked up",
        },
        Setting {
            key: "auth_ldap.dn_lookup_bind",
            takes: Takes::Word(BINDS, |draft, _, word| draft.ldap.dn_lookup_bind.word = Some(word)),
            default: "as_user",
            help: "As whom users are looked up",
        },
        Setting {
            key: "auth_ldap.dn_lookup_bind.user_dn",
            takes: Takes::Text(|draft, at, dn| draft.ldap.dn_lookup_bind.set_user_dn(at, dn)),
            default: "",
            help: "As whom users are looked up: the DN of somebody with a password",
        },
        Setting {
            key: "auth_ldap.dn_lookup_bind.password",
            takes: Takes::Secret(|draft, at, password| draft.ldap.dn_lookup_bind.set_password(at, password)),
            default: "",
            help: "That password",
        },
        Setting {
            key: "auth_ldap.other_bind",
            takes: Takes::Word(BINDS, |draft, _, word| draft.ldap.other_bind.word = Some(word)),
            default: "as_user",
            help: "As whom queries are asked",
        },
        Setting {
            key: "auth_ldap.other_bind.user_dn",
            takes: Takes::Text(|draft, at, dn| draft.ldap.other_bind.set_user_dn(at, dn)),
            default: "",
            help: "As whom queries are asked: the DN of somebody with a password",
        },
        Setting {
            key: "auth_ldap.other_bind.password",
            takes: Takes::Secret(|draft, at, password| draft.ldap.other_bind.set_password(at, password)),
            default: "",
            help: "That password",
        },
        Setting {
            key: "auth_ldap.group_lookup_base",
            takes: Takes::Text(|draft, _, base| settings(draft).group_lookup_base = unless_none(base)),
            default: "none",
            help: "Below which entry nested groups are looked up; `none` is where users are looked up",
        },
        Setting {
            key: "auth_ldap.queries.vhost_access",
            takes: Takes::Text(|draft, _, query| settings(draft).vhost_access_query = query),
            default: "{constant, true}",
            help: "Who may use a vhost: a query in RabbitMQ's words",
        },
        Setting {
            key: "auth_ldap.queries.resource_access",
            takes: Takes::Text(|draft, _, query| settings(draft).resource_access_query = query),
            default: "{constant, true}",
            help: "Who may do what with queues and exchanges: a query",
        },
        Setting {
            key: "auth_ldap.queries.topic_access",
            takes: Takes::Text(|draft, _, query| settings(draft).topic_access_query = query),
            default: "{constant, true}",
            help: "Who may use a routing key: a query",
        },
        Setting {
            key: "auth_ldap.queries.tags",
            takes: Takes::Text(|draft, _, queries| settings(draft).tag_queries = queries),
            default: "[{administrator, {constant, false}}]",
            help: "Who has which tag: a list of pairs of a tag and a query",
        },
        Setting {
            key: "auth_ldap.log",
            takes: Takes::Word(&["true", "false", "network", "network_unsafe"], |draft, _, word| {
                settings(draft).log = match word {
                    "true" => LdapLog::Decisions,
                    "network" => LdapLog::Network,
                    "network_unsafe" => LdapLog::NetworkUnsafe,
                    _ => LdapLog::Off,
                };
            }),
            default: "false",
            help: "What is logged: nothing, what is decided, also what is asked, also with the values of DNs; never passwords",
        },
        Setting {
            key: "auth_ldap.ssl_options.verify",
            takes: Takes::Word(VERIFY, |draft, _, word| {
                settings(draft).tls.verify = if word == "verify_none" { Verify::None } else { Verify::Peer };
            }),
            default: "verify_peer",
            help: "Whether the certificate of a server is checked",
        },
        Setting {
            key: "auth_ldap.ssl_options.cacertfile",
            takes: Takes::File(|draft, _, path| settings(draft).tls.ca_certificate_file = Some(path)),
            default: "",
            help: "Who may have signed it, PEM; those whom the system trusts if it is not set",
        },
        Setting {
            key: "auth_ldap.ssl_options.certfile",
            takes: Takes::File(|draft, at, path| draft.ldap.client.set_certificate(at, path)),
            default: "",
            help: "The broker's own certificate, PEM, if a server asks for one",
        },
        Setting {
            key: "auth_ldap.ssl_options.keyfile",
            takes: Takes::File(|draft, at, path| draft.ldap.client.set_key(at, path)),
            default: "",
            help: "The key of that certificate, PEM; in the same file if it is not set",
        },
        Setting {
            key: "auth_ldap.ssl_options.sni",
            takes: Takes::Text(|draft, _, name| settings(draft).tls.server_name = unless_none(name)),
            default: "none",
            help: "The name that the certificates of servers have, if it is not theirs",
        },
        Setting {
            key: "auth_ldap.ssl_options.hostname_verification",
            takes: Takes::Word(&["wildcard", "none"], |draft, _, word| {
                settings(draft).tls.hostname_verification = match word {
                    "none" => HostnameVerification::Exact,
                    _ => HostnameVerification::Wildcard,
                };
            }),
            default: "wildcard",
            help: "Whether a name with a `*` in the certificate counts; `none` does not turn the check of the name off",
        },
        Setting {
            key: "auth_ldap.ssl_options.depth",
            takes: Takes::Number(0, 255, |draft, _, depth| settings(draft).tls.depth = u8::try_from(depth).ok()),
            default: "",
            help: "How many certificates may be between that of a server and the one in `cacertfile`",
        },
        Setting {
            key: "auth_ldap.ssl_options.fail_if_no_peer_cert",
            takes: Takes::Only("true"),
            default: "true",
            help: "There is no TLS with a server that has no certificate",
        },
        Setting {
            key: "auth_ldap.ssl_options.versions.$n",
            takes: Takes::Word(TLS_VERSIONS, |draft, _, version| {
                draft.ldap.versions.push(match version {
                    "tlsv1.2" => TlsVersion::V1_2,
                    _ => TlsVersion::V1_3,
                });
            }),
            default: "tlsv1.2, tlsv1.3",
            help: "The versions of TLS that are spoken",
        },
    ],
};

/// What was read so far and belongs together.
#[derive(Default)]
pub(super) struct Draft {
    servers: Numbered<String>,
    ssl: Option<Place>,
    starttls: Option<Place>,
    dn_lookup_bind: Bind,
    other_bind: Bind,
    client: Certificate,
    versions: Vec<TlsVersion>,
}

/// As whom something is asked, as far as it is known.
#[derive(Default)]
struct Bind {
    word: Option<&'static str>,
    user_dn: Option<String>,
    password: Option<Secret>,
    place: Place,
}

impl Bind {
    fn set_user_dn(&mut self, at: &At<'_>, dn: String) {
        self.user_dn = Some(dn);
        self.place = at.place;
    }

    fn set_password(&mut self, at: &At<'_>, password: Secret) {
        self.password = Some(password);
        self.place = at.place;
    }

    /// A word wins over a name with a password, as it does in `RabbitMQ`.
    fn finish(self, prefix: &str, mistakes: &mut Vec<Remark>) -> LdapBind {
        match (self.word, self.user_dn, self.password) {
            (Some("anon"), ..) => LdapBind::Anonymous,
            (Some(_), ..) | (None, None, None) => LdapBind::AsUser,
            (None, Some(user_dn), Some(password)) if !user_dn.is_empty() && !password.is_empty() => {
                LdapBind::Account { user_dn, password }
            }
            _ => {
                let text = format!("{prefix} needs both, {prefix}.user_dn and {prefix}.password, and neither empty");
                mistakes.push(Remark::new(self.place, text));
                LdapBind::AsUser
            }
        }
    }
}

fn settings(draft: &mut super::Draft) -> &mut LdapSettings {
    &mut draft.ldap_settings
}

fn unless_none(text: String) -> Option<String> {
    (text != "none").then_some(text)
}

pub(super) fn finish(draft: &mut super::Draft) {
    let Draft { servers, ssl, starttls, dn_lookup_bind, other_bind, client, versions } =
        std::mem::take(&mut draft.ldap);
    let encryption = match (ssl, starttls) {
        (Some(one), Some(other)) => {
            let text = "a connection has TLS from the start or later: use_ssl and use_starttls exclude each other";
            draft.mistakes.push(Remark::new(one.max(other), text));
            LdapEncryption::None
        }
        (Some(_), None) => LdapEncryption::Ldaps,
        (None, Some(_)) => LdapEncryption::StartTls,
        (None, None) => LdapEncryption::None,
    };
    let dn_lookup_bind = dn_lookup_bind.finish("auth_ldap.dn_lookup_bind", &mut draft.mistakes);
    let other_bind = other_bind.finish("auth_ldap.other_bind", &mut draft.mistakes);
    let client = client.finish("auth_ldap.ssl_options", &mut draft.mistakes);
    let settings = settings(draft);
    settings.servers = servers.sorted();
    settings.encryption = encryption;
    settings.dn_lookup_bind = dn_lookup_bind;
    settings.other_bind = other_bind;
    let files = |(certificate_file, key_file): (PathBuf, PathBuf)| ClientCertificate { certificate_file, key_file };
    settings.tls.client_certificate = client.map(files);
    if !versions.is_empty() {
        settings.tls.versions = versions;
    }
}
