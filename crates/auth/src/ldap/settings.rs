//! What an administrator sets about LDAP, as `auth_ldap.*` in `rabbitmq.conf`.

use leveret_broker::access::Secret;

use crate::tls::TlsSettings;

/// The settings. Defaults are RabbitMQ's, but for [`Self::timeout_ms`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LdapSettings {
    /// `auth_ldap.servers.N`: host names or addresses, tried in this order.
    pub servers: Vec<String>,
    /// `auth_ldap.port`, of every server.
    pub port: u16,
    /// `auth_ldap.use_ssl` and `auth_ldap.use_starttls`; a server understands one of them per port, so both are a mistake.
    pub encryption: LdapEncryption,
    /// `auth_ldap.ssl_options.*`, which are not looked at without encryption.
    pub tls: TlsSettings,
    /// `auth_ldap.timeout`, in milliseconds: how long connecting may take, and every answer. RabbitMQ's default and `infinity`
    /// is `None`; it means a minute here, as a server that says nothing would keep its connection from others for ever.
    pub timeout_ms: Option<u64>,
    /// `auth_ldap.idle_timeout`, in milliseconds: how long a connection without work stays open. 0 closes it after its work,
    /// `None` is `infinity`.
    pub idle_timeout_ms: Option<u64>,
    /// `auth_ldap.connection_pool_size`: how many connections there are at most, to all servers together.
    pub connection_pool_size: usize,
    /// `auth_ldap.user_dn_pattern`: the DN of a user, or what is looked up to find it.
    pub user_dn_pattern: String,
    /// `auth_ldap.user_bind_pattern`: the name to bind with, if it is not the DN; `None` is `none`.
    pub user_bind_pattern: Option<String>,
    /// `auth_ldap.dn_lookup_attribute`: the attribute that has the user's name; `None` is `none` and looks nothing up.
    pub dn_lookup_attribute: Option<String>,
    /// `auth_ldap.dn_lookup_base`: below which entry users are looked up; `None` is `none`.
    pub dn_lookup_base: Option<String>,
    /// `auth_ldap.dn_lookup_bind`: as whom users are looked up.
    pub dn_lookup_bind: LdapBind,
    /// `auth_ldap.other_bind`: as whom queries are asked.
    pub other_bind: LdapBind,
    /// `auth_ldap.group_lookup_base`: below which entry nested groups are looked up; `None` is `none` and means
    /// [`Self::dn_lookup_base`].
    pub group_lookup_base: Option<String>,
    /// `auth_ldap.queries.vhost_access`, before `vhost_access_query`: an Erlang term.
    pub vhost_access_query: String,
    /// `auth_ldap.queries.resource_access`, before `resource_access_query`: an Erlang term.
    pub resource_access_query: String,
    /// `auth_ldap.queries.topic_access`, before `topic_access_query`: an Erlang term.
    pub topic_access_query: String,
    /// `auth_ldap.queries.tags`, before `tag_queries`: an Erlang list of pairs of a tag and a query.
    pub tag_queries: String,
    /// `auth_ldap.log`.
    pub log: LdapLog,
}

/// How octets travel to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LdapEncryption {
    /// As they are.
    None,
    /// By TLS from the start: `use_ssl`.
    Ldaps,
    /// By TLS after a command: `use_starttls`.
    StartTls,
}

/// As whom something is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LdapBind {
    /// As the user who logs in, who needs a password for it: `as_user`.
    AsUser,
    /// As nobody: `anon`.
    Anonymous,
    /// As somebody who is there for this: `user_dn` and `password`.
    Account {
        /// Its DN.
        user_dn: String,
        /// Its password, which may not be empty.
        password: Secret,
    },
}

/// What is logged, apart from what goes wrong. Passwords never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LdapLog {
    /// Nothing: `false`.
    Off,
    /// What is decided and why: `true`.
    Decisions,
    /// Also what is asked of servers, without the values of DNs: `network`.
    Network,
    /// Also what is asked of servers: `network_unsafe`.
    NetworkUnsafe,
}

impl Default for LdapSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            port: 389,
            encryption: LdapEncryption::None,
            tls: TlsSettings::default(),
            timeout_ms: Some(10_000),
            idle_timeout_ms: Some(300_000),
            connection_pool_size: 64,
            user_dn_pattern: "${username}".into(),
            user_bind_pattern: None,
            dn_lookup_attribute: None,
            dn_lookup_base: None,
            dn_lookup_bind: LdapBind::AsUser,
            other_bind: LdapBind::AsUser,
            group_lookup_base: None,
            vhost_access_query: "{constant, true}".into(),
            resource_access_query: "{constant, true}".into(),
            topic_access_query: "{constant, true}".into(),
            tag_queries: "[{administrator, {constant, false}}]".into(),
            log: LdapLog::Off,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let password = Secret::new(b"swordfish");
        let bind = LdapBind::Account { user_dn: "cn=broker".into(), password };
        let settings = LdapSettings { other_bind: bind, ..LdapSettings::default() };
        let shown = format!("{settings:?}");
        assert!(shown.contains("cn=broker") && !shown.contains("swordfish"), "{shown}");
    }
}
