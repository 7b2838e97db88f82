//! What can be set about logging in, and how the back ends are made of it.

use std::sync::Arc;

use leveret_broker::node::Node;
use tokio::runtime::Handle;

use crate::backend::Backend;
use crate::cache::{Cache, CacheLimits};
use crate::chain::{Chain, Limits, Link};
use crate::dummy::Dummy;
use crate::hash::{HashError, Hashing};
use crate::http::{HttpBackend, HttpSettings, HttpSettingsError};
use crate::internal::{Internal, InternalLimits};
use crate::ldap::{LdapBackend, LdapSettings, LdapSettingsError};
use crate::oauth2::{OAuth2Backend, OAuth2Settings, OAuth2SettingsError};

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `auth_backends.N`: the ways to get in, in order.
    pub links: Vec<LinkSettings>,
    /// What logging in may take; with `loopback_users`.
    pub limits: Limits,
    /// `password_hashing_module`: how new passwords are hashed.
    pub hashing: Hashing,
    /// What checking passwords of the node's users may take.
    pub internal: InternalLimits,
}

/// One way to get in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkSettings {
    /// `auth_backends.N`: one back end for both.
    Whole(BackendSettings),
    /// `auth_backends.N.authn` and `auth_backends.N.authz`.
    Split {
        /// Says who somebody is.
        authentication: BackendSettings,
        /// Say what it may do.
        authorization: Vec<BackendSettings>,
    },
}

/// A back end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendSettings {
    /// `internal`: the node's own users.
    Internal,
    /// `http`: a service that is asked over HTTP, `auth_http.*`.
    Http(Box<HttpSettings>),
    /// `ldap`: servers that are asked over LDAP, `auth_ldap.*`.
    Ldap(Box<LdapSettings>),
    /// `oauth2`: tokens that others sign, `auth_oauth2.*`.
    OAuth2(Box<OAuth2Settings>),
    /// `cache`: remembers what another one says, `auth_cache.*`.
    Cache(CacheLimits, Box<Self>),
    /// `dummy`: knows nobody.
    Dummy,
}

/// Why settings are no good.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// Nobody could get in.
    #[error("there is no authentication back end")]
    NoBackend,
    /// Nobody may do anything.
    #[error("authentication back end {0} has no authorisation back end beside it")]
    NoAuthorization(usize),
    /// The service cannot be asked like that.
    #[error(transparent)]
    Http(#[from] HttpSettingsError),
    /// The servers cannot be asked like that.
    #[error(transparent)]
    Ldap(#[from] LdapSettingsError),
    /// Tokens cannot be checked like that.
    #[error(transparent)]
    OAuth2(#[from] OAuth2SettingsError),
    /// Hashing does not work.
    #[error(transparent)]
    Hashing(#[from] HashError),
}

impl Default for Settings {
    /// The node's own users, as in RabbitMQ.
    fn default() -> Self {
        Self {
            links: vec![LinkSettings::Whole(BackendSettings::Internal)],
            limits: Limits::default(),
            hashing: Hashing::default(),
            internal: InternalLimits::default(),
        }
    }
}

/// Makes the back ends. They work on that runtime, which needs I/O and timers.
pub fn build(settings: &Settings, node: &Arc<Node>, runtime: Handle) -> Result<Arc<Chain>, SettingsError> {
    let mut builder = Builder { settings, node, made: Vec::new() };
    let links = settings.links.iter().enumerate().map(|(index, link)| builder.link(index + 1, link));
    let links: Vec<Link> = links.collect::<Result<_, _>>()?;
    if links.is_empty() {
        return Err(SettingsError::NoBackend);
    }
    Ok(Arc::new(Chain::new(links, settings.limits.clone(), runtime)))
}

/// Back ends with the same settings are one: they share what they know and whom they are connected with.
struct Builder<'a> {
    settings: &'a Settings,
    node: &'a Arc<Node>,
    made: Vec<(&'a BackendSettings, Arc<dyn Backend>)>,
}

impl<'a> Builder<'a> {
    fn link(&mut self, number: usize, link: &'a LinkSettings) -> Result<Link, SettingsError> {
        match link {
            LinkSettings::Whole(backend) => Ok(Link::Whole(self.backend(backend)?)),
            LinkSettings::Split { authorization, .. } if authorization.is_empty() => {
                Err(SettingsError::NoAuthorization(number))
            }
            LinkSettings::Split { authentication, authorization } => Ok(Link::Split {
                authentication: self.backend(authentication)?,
                authorization: authorization.iter().map(|backend| self.backend(backend)).collect::<Result<_, _>>()?,
            }),
        }
    }

    fn backend(&mut self, settings: &'a BackendSettings) -> Result<Arc<dyn Backend>, SettingsError> {
        if let Some((_, backend)) = self.made.iter().find(|(known, _)| *known == settings) {
            return Ok(Arc::clone(backend));
        }
        let backend: Arc<dyn Backend> = match settings {
            BackendSettings::Internal => {
                Arc::new(Internal::new(Arc::clone(self.node), &self.settings.hashing, self.settings.internal)?)
            }
            BackendSettings::Http(settings) => Arc::new(HttpBackend::new(settings)?),
            BackendSettings::Ldap(settings) => Arc::new(LdapBackend::new(settings)?),
            BackendSettings::OAuth2(settings) => Arc::new(OAuth2Backend::new(settings)?),
            BackendSettings::Cache(limits, inner) => Arc::new(Cache::new(self.backend(inner)?, *limits)?),
            BackendSettings::Dummy => Arc::new(Dummy),
        };
        self.made.push((settings, Arc::clone(&backend)));
        Ok(backend)
    }
}

#[cfg(test)]
mod tests {
    use leveret_broker::access::{Authenticator, HashingAlgorithm, Outcome, Secret};
    use leveret_broker::topology::Change;

    use super::*;
    use crate::testing::{Asker, attempt};

    fn cache(inner: BackendSettings) -> BackendSettings {
        BackendSettings::Cache(CacheLimits::default(), Box::new(inner))
    }

    #[tokio::test]
    async fn the_chain_is_as_it_was_set() {
        use BackendSettings::{Dummy, Http, Internal, Ldap, OAuth2};
        let without_server = OAuth2SettingsError::NoResourceServer.to_string();
        let http = |url: &str| Http(Box::new(HttpSettings { user_path: url.into(), ..HttpSettings::default() }));
        let ldap =
            |server: &str| Ldap(Box::new(LdapSettings { servers: vec![server.into()], ..LdapSettings::default() }));
        let node = Arc::new(Node::new());
        let whole = LinkSettings::Whole;
        let split = |authentication, authorization| LinkSettings::Split { authentication, authorization };
        for (links, expected) in [
            (vec![whole(Internal)], Ok(1)),
            (vec![whole(Dummy), whole(cache(Internal)), whole(Internal)], Ok(3)),
            (vec![split(Internal, vec![Internal, Dummy])], Ok(1)),
            (vec![split(ldap("localhost"), vec![http("http://localhost/")])], Ok(1)),
            (vec![], Err("there is no authentication back end")),
            (vec![whole(OAuth2(Box::default()))], Err(&*without_server)),
            (
                vec![whole(Dummy), split(Dummy, vec![])],
                Err("authentication back end 2 has no authorisation back end beside it"),
            ),
        ] {
            let settings = Settings { links, ..Settings::default() };
            let built = build(&settings, &node, Handle::current());
            let built = built.map(|chain| chain.links().len()).map_err(|error| error.to_string());
            assert_eq!(built, expected.map_err(str::to_owned), "{settings:?}");
        }
    }

    #[tokio::test]
    async fn only_a_password_that_takes_long_is_checked_elsewhere() {
        let node = Arc::new(Node::new());
        let chain = build(&Settings::default(), &node, Handle::current()).unwrap();
        for (algorithm, is_quick) in
            [(HashingAlgorithm::Sha256, true), (HashingAlgorithm::Sha512, true), (HashingAlgorithm::Argon2id, false)]
        {
            let password = Hashing { algorithm, ..Hashing::default() }.hash(&Secret::new(b"right")).unwrap();
            node.apply(Change::SetPassword { user: "guest".into(), password }).unwrap();
            for (secret, gets_in) in [("right", true), ("wrong", false)] {
                let asker = Asker::default();
                let now = chain.log_in(attempt("guest", Some(secret), "127.0.0.1:1"), asker.reply());
                assert_eq!(now.is_some(), is_quick, "{algorithm:?} {secret}");
                let result = match now {
                    Some(result) => result,
                    None => match asker.outcome().await {
                        Outcome::LoggedIn(result) => result,
                        other => panic!("not of a login: {other:?}"),
                    },
                };
                assert_eq!(result.is_ok(), gets_in, "{algorithm:?} {secret}");
            }
        }
    }

    #[tokio::test]
    async fn equal_settings_are_one_back_end() {
        let node = Arc::new(Node::new());
        let settings = Settings::default();
        let mut builder = Builder { settings: &settings, node: &node, made: Vec::new() };
        let all = [BackendSettings::Internal, cache(BackendSettings::Internal), BackendSettings::Internal];
        let made: Vec<_> = all.iter().map(|one| builder.backend(one).unwrap()).collect();
        assert!(Arc::ptr_eq(&made[0], &made[2]));
        assert_eq!(builder.made.len(), 2);
    }
}
