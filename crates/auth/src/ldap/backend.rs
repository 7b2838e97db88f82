//! The back end: who logs in, and what it may do.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use leveret_broker::Name;
use leveret_broker::access::{Answer, LoginAttempt, Question, Reason, Secret};
use leveret_broker::error::Resource;

use super::connection::Connector;
use super::directory::{Directory, DirectoryError, Filter, Search};
use super::evaluate::{EvaluationError, Evaluator};
use super::log::Log;
use super::query::{Condition, Depth, TagQuery, is_attribute};
use super::session::{Credentials, Pool, Session};
use super::settings::{LdapBind, LdapEncryption, LdapSettings};
use super::template::{Template, Variables};
use super::term::TermError;
use crate::backend::{Backend, Checked, Denial, Grant, LoggedIn, Pending};
use crate::tls::{self, TlsSettingsError};

/// The name of RabbitMQ's module.
const NAME: &str = "rabbit_auth_backend_ldap";

/// How long an answer holds, as directories do not say when something changes.
const ANSWERS_EXPIRE_AFTER_MS: u64 = 60_000;

/// How long is waited at most if an administrator sets no limit.
const TIMEOUT_MS_MAX: u64 = 60_000;

/// Entries that are looked at to find out whether a name is that of one.
const LOOKUP_ENTRIES_MAX: i32 = 2;

/// A setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LdapSettingsError {
    /// One of those that are about LDAP.
    #[error("{setting}: {reason}")]
    Setting {
        /// Which.
        setting: &'static str,
        /// Why not.
        reason: String,
    },
    /// One of those that are about TLS.
    #[error("auth_ldap.ssl_options.{0}")]
    Tls(#[from] TlsSettingsError),
}

/// The LDAP back end.
#[derive(Debug, Clone)]
pub struct LdapBackend(Arc<Inner>);

struct Inner {
    pool: Arc<Pool>,
    user_dn_pattern: Template,
    user_bind_pattern: Option<Template>,
    lookup: Option<Lookup>,
    other_bind: LdapBind,
    group_base: Option<String>,
    vhost_access: Condition,
    resource_access: Condition,
    topic_access: Condition,
    tags: Vec<TagQuery>,
    log: Log,
}

/// How the DN of a user is found.
struct Lookup {
    attribute: String,
    base: String,
    bind: LdapBind,
}

impl LdapBackend {
    /// Makes it, or says which setting cannot be used, and why. Connects to nobody yet.
    pub fn new(settings: &LdapSettings) -> Result<Self, LdapSettingsError> {
        let wrong = |setting, reason: &str| Err(LdapSettingsError::Setting { setting, reason: reason.into() });
        if settings.servers.is_empty() || settings.servers.iter().any(String::is_empty) {
            return wrong("auth_ldap.servers", "there has to be at least one, with a name");
        }
        if settings.port == 0 {
            return wrong("auth_ldap.port", "has to be at least 1");
        }
        if settings.connection_pool_size == 0 {
            return wrong("auth_ldap.connection_pool_size", "has to be at least 1");
        }
        let timeout = match settings.timeout_ms {
            Some(0) => return wrong("auth_ldap.timeout", "has to be at least 1"),
            timeout_ms => Duration::from_millis(timeout_ms.unwrap_or(TIMEOUT_MS_MAX)),
        };
        let tls = match settings.encryption {
            LdapEncryption::None => None,
            LdapEncryption::Ldaps | LdapEncryption::StartTls => {
                if settings.tls.server_name.is_none() && settings.servers.iter().any(|server| server.contains(':')) {
                    return wrong("auth_ldap.ssl_options.sni", "has to be set for servers with an IPv6 address");
                }
                Some(Arc::new(tls::client_config(&settings.tls, tls::Use::Certain)?))
            }
        };
        check_bind("auth_ldap.dn_lookup_bind", &settings.dn_lookup_bind)?;
        check_bind("auth_ldap.other_bind", &settings.other_bind)?;
        let log = Log(settings.log);
        let server_name = settings.tls.server_name.clone();
        let connector =
            Connector::new(&settings.servers, settings.port, settings.encryption, server_name, tls, timeout);
        let idle_timeout = settings.idle_timeout_ms.map(Duration::from_millis);
        let inner = Inner {
            pool: Pool::new(connector, settings.connection_pool_size, idle_timeout, timeout, log),
            user_dn_pattern: Template::parse(&settings.user_dn_pattern),
            user_bind_pattern: settings.user_bind_pattern.as_deref().map(Template::parse),
            lookup: lookup(settings)?,
            other_bind: settings.other_bind.clone(),
            group_base: settings.group_lookup_base.clone().or_else(|| settings.dn_lookup_base.clone()),
            vhost_access: query("auth_ldap.queries.vhost_access", &settings.vhost_access_query, Condition::parse)?,
            resource_access: query(
                "auth_ldap.queries.resource_access",
                &settings.resource_access_query,
                Condition::parse,
            )?,
            topic_access: query("auth_ldap.queries.topic_access", &settings.topic_access_query, Condition::parse)?,
            tags: query("auth_ldap.queries.tags", &settings.tag_queries, Condition::parse_tags)?,
            log,
        };
        if inner.group_base.is_none() && inner.conditions().any(Condition::has_nested_groups) {
            return wrong("auth_ldap.group_lookup_base", "has to be set, as a query has in_group_nested");
        }
        Ok(Self(Arc::new(inner)))
    }
}

fn query<T>(
    setting: &'static str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, TermError>,
) -> Result<T, LdapSettingsError> {
    parse(text).map_err(|error| LdapSettingsError::Setting { setting, reason: error.to_string() })
}

fn lookup(settings: &LdapSettings) -> Result<Option<Lookup>, LdapSettingsError> {
    let Some(attribute) = settings.dn_lookup_attribute.clone() else { return Ok(None) };
    let wrong = |setting, reason: &str| Err(LdapSettingsError::Setting { setting, reason: reason.into() });
    if !is_attribute(&attribute) {
        return wrong("auth_ldap.dn_lookup_attribute", "is not what attributes may be called");
    }
    let Some(base) = settings.dn_lookup_base.clone() else {
        return wrong("auth_ldap.dn_lookup_base", "has to be set, as auth_ldap.dn_lookup_attribute is");
    };
    Ok(Some(Lookup { attribute, base, bind: settings.dn_lookup_bind.clone() }))
}

fn check_bind(setting: &'static str, bind: &LdapBind) -> Result<(), LdapSettingsError> {
    match bind {
        LdapBind::Account { user_dn, password } if user_dn.trim().is_empty() || password.is_empty() => {
            Err(LdapSettingsError::Setting { setting, reason: "user_dn and password may not be empty".into() })
        }
        LdapBind::Account { .. } | LdapBind::AsUser | LdapBind::Anonymous => Ok(()),
    }
}

impl Backend for LdapBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn authenticate(&self, attempt: &Arc<LoginAttempt>) -> Pending<Result<LoggedIn, Denial>> {
        let (inner, attempt) = (Arc::clone(&self.0), Arc::clone(attempt));
        Box::pin(async move {
            // In a task of its own, so that the connection ends what it began if nobody waits any more, and as the library
            // panics about some answers that are none.
            let task = tokio::spawn(async move { inner.log_in(&attempt).await });
            task.await.unwrap_or_else(|_| Err(Denial::Failed("the answer of an LDAP server makes no sense".into())))
        })
    }

    /// As RabbitMQ, this checks the password again, if there is one, and gives no tags.
    fn authorize(&self, attempt: &Arc<LoginAttempt>, _tags: &[Name]) -> Pending<Result<LoggedIn, Denial>> {
        let logged_in = self.authenticate(attempt);
        Box::pin(async move { Ok(LoggedIn { tags: Vec::new(), ..logged_in.await? }) })
    }
}

impl Inner {
    async fn log_in(self: Arc<Self>, attempt: &LoginAttempt) -> Result<LoggedIn, Denial> {
        let found = match &attempt.secret {
            None => self.find(&attempt.name).await,
            Some(secret) => self.log_in_with(&attempt.name, secret).await,
        };
        self.log.decision(|| match &found {
            Ok(_) => format!("user '{}' logs in", attempt.name),
            Err(error) => format!("user '{}' does not log in: {error}", attempt.name),
        });
        let (user_dn, tags) = found?;
        // The password is kept only if it is needed.
        let secret = attempt.secret.clone().filter(|_| self.other_bind == LdapBind::AsUser);
        let name = Name::clone(&attempt.name);
        let grant = LdapGrant { inner: self, user: Arc::new(User { name: Name::clone(&name), dn: user_dn, secret }) };
        Ok(LoggedIn { name, tags, expires: None, grant: Arc::new(grant) })
    }

    /// Finds a user who needs no password here.
    async fn find(&self, name: &Name) -> Result<(String, Vec<Name>), Denial> {
        let variables = Variables::of_user(name);
        let credentials = credentials(&self.other_bind, None).ok_or_else(no_password)?;
        let user_dn = match &self.lookup {
            None => self.user_dn_pattern.fill_bind_name(&variables),
            Some(lookup) => {
                let lookup_credentials = credentials_of(&lookup.bind).unwrap_or_else(|| credentials.clone());
                let found = self.look_up_as(lookup, &variables, lookup_credentials).await;
                // Nothing else says that there is such a user.
                let nobody = || Denial::Refused("there is no such user".into());
                found.map_err(|error| account_denial(&error))?.ok_or_else(nobody)?
            }
        };
        let mut session = self.pool.session(credentials).await.map_err(|error| account_denial(&error))?;
        let tags = self.tags_of(&variables, &user_dn, &mut session).await;
        Ok((user_dn, tags))
    }

    async fn log_in_with(&self, name: &Name, secret: &Secret) -> Result<(String, Vec<Name>), Denial> {
        if secret.is_empty() {
            return Err(Denial::Refused("unauthenticated bind not allowed".into()));
        }
        let variables = Variables::of_user(name);
        let known = |name: String| Credentials::Known { name, password: secret.clone() };
        let (mut session, user_dn) = match self.lookup.as_ref().map(|lookup| (lookup, credentials_of(&lookup.bind))) {
            Some((lookup, Some(credentials))) => {
                let found =
                    self.look_up_as(lookup, &variables, credentials).await.map_err(|error| account_denial(&error))?;
                let user_dn = found.unwrap_or_else(|| self.user_dn_pattern.fill_bind_name(&variables));
                (self.pool.session(known(user_dn.clone())).await.map_err(denial)?, user_dn)
            }
            lookup => {
                let pattern = self.user_bind_pattern.as_ref().unwrap_or(&self.user_dn_pattern);
                let mut session = self.pool.session(known(pattern.fill_bind_name(&variables))).await.map_err(denial)?;
                let found = match lookup {
                    Some((lookup, _)) => self.look_up(lookup, &variables, &mut session).await.map_err(denial)?,
                    None => None,
                };
                (session, found.unwrap_or_else(|| self.user_dn_pattern.fill_bind_name(&variables)))
            }
        };
        if let Some(credentials) = credentials_of(&self.other_bind) {
            // Its connection is given back first, as there may be only one.
            drop(session);
            session = self.pool.session(credentials).await.map_err(|error| account_denial(&error))?;
        }
        let tags = self.tags_of(&variables, &user_dn, &mut session).await;
        Ok((user_dn, tags))
    }

    async fn look_up_as(
        &self,
        lookup: &Lookup,
        variables: &Variables,
        credentials: Credentials,
    ) -> Result<Option<String>, DirectoryError> {
        let mut session = self.pool.session(credentials).await?;
        self.look_up(lookup, variables, &mut session).await
    }

    /// Gives the DN of the one entry that has the user's name.
    async fn look_up(
        &self,
        lookup: &Lookup,
        variables: &Variables,
        session: &mut Session,
    ) -> Result<Option<String>, DirectoryError> {
        let value = self.user_dn_pattern.fill(variables);
        let search = Search {
            base: lookup.base.clone(),
            depth: Depth::Subtree,
            filter: Filter::Has { attribute: lookup.attribute.clone(), value },
            attribute: None,
            entries_max: LOOKUP_ENTRIES_MAX,
        };
        let mut entries = session.search(&search).await?;
        let found = entries.pop().filter(|_| entries.is_empty()).map(|entry| entry.dn);
        self.log.decision(|| match &found {
            Some(dn) => format!("{} below '{}' is '{dn}'", search.filter, search.base),
            None => format!("{} below '{}' is not exactly one entry", search.filter, search.base),
        });
        Ok(found)
    }

    /// A tag whose query cannot be answered is not given.
    async fn tags_of(&self, variables: &Variables, user_dn: &str, session: &mut Session) -> Vec<Name> {
        let mut variables = variables.clone();
        variables.set_user_dn(user_dn);
        let mut tags = Vec::new();
        for (tag, condition) in &self.tags {
            match self.holds(condition, &variables, user_dn, session).await {
                Ok(true) => tags.push(Name::clone(tag)),
                Ok(false) => {}
                Err(error) => tracing::warn!("LDAP query of the tag '{tag}' for '{user_dn}': {error}"),
            }
        }
        tags
    }

    async fn holds(
        &self,
        condition: &Condition,
        variables: &Variables,
        user_dn: &str,
        session: &mut Session,
    ) -> Result<bool, EvaluationError> {
        let log = |text: &str| self.log.decision(|| text.into());
        let group_base = self.group_base.as_deref();
        let mut evaluator = Evaluator { directory: session, variables, user_dn, group_base, log: &log };
        evaluator.holds(condition).await
    }

    fn conditions(&self) -> impl Iterator<Item = &Condition> {
        let access = [&self.vhost_access, &self.resource_access, &self.topic_access];
        access.into_iter().chain(self.tags.iter().map(|(_, condition)| condition))
    }

    fn condition_for(&self, question: &Question) -> &Condition {
        match question {
            Question::Vhost { .. } => &self.vhost_access,
            Question::Resource { .. } => &self.resource_access,
            Question::Topic { .. } => &self.topic_access,
        }
    }

    async fn answer(&self, user: &User, question: &Question) -> Answer {
        let failed = |text: &str| Answer::Failed(Reason { backend: NAME, text: text.into() });
        let answer = match credentials(&self.other_bind, Some(user)) {
            None => failed("no password supplied"),
            Some(credentials) => match self.ask(user, question, credentials).await {
                Ok(is_allowed) => Answer::of(is_allowed),
                // The password was another one when the user logged in.
                Err(EvaluationError::Directory(DirectoryError::BindRefused(_)))
                    if self.other_bind == LdapBind::AsUser =>
                {
                    Answer::REFUSED
                }
                Err(error) => {
                    tracing::warn!("LDAP query about user '{}': {error}", user.name);
                    failed(text_for_clients(&error))
                }
            },
        };
        self.log.decision(|| {
            let shown = if answer.is_allowed() { "allowed" } else { "not allowed" };
            format!("user '{}', {}: {shown}", user.name, described(question))
        });
        answer
    }

    async fn ask(&self, user: &User, question: &Question, credentials: Credentials) -> Result<bool, EvaluationError> {
        let mut session = self.pool.session(credentials).await?;
        self.holds(self.condition_for(question), &variables_of(user, question), &user.dn, &mut session).await
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner").field("pool", &self.pool).finish_non_exhaustive()
    }
}

/// What somebody may do who logged in.
struct LdapGrant {
    inner: Arc<Inner>,
    user: Arc<User>,
}

struct User {
    name: Name,
    dn: String,
    /// There, if it has to be.
    secret: Option<Secret>,
}

impl Grant for LdapGrant {
    fn check(&self, question: &Question) -> Checked {
        if let Condition::Constant(value) = self.inner.condition_for(question) {
            return Checked::Now(Answer::of(*value));
        }
        let (inner, user, question) = (Arc::clone(&self.inner), Arc::clone(&self.user), question.clone());
        Checked::Later(Box::pin(async move {
            let task = tokio::spawn(async move { inner.answer(&user, &question).await });
            let nonsense = || Answer::Failed(Reason { backend: NAME, text: "ldap_evaluate_error".into() });
            task.await.unwrap_or_else(|_| nonsense())
        }))
    }

    fn answers_expire_after_ms(&self) -> Option<u64> {
        Some(ANSWERS_EXPIRE_AFTER_MS)
    }
}

impl fmt::Debug for LdapGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LdapGrant").field("user", &self.user.name).finish_non_exhaustive()
    }
}

/// A question for the log.
fn described(question: &Question) -> String {
    match question {
        Question::Vhost { vhost } => format!("access to vhost '{vhost}'"),
        Question::Resource { resource, permission } => format!("{permission} permission for {resource}"),
        Question::Topic { exchange, routing_key, permission } => {
            format!("{permission} permission for routing key '{routing_key}' and {exchange}")
        }
    }
}

fn variables_of(user: &User, question: &Question) -> Variables {
    let mut variables = Variables::of_user(&user.name);
    variables.set_user_dn(&user.dn);
    variables.set("vhost", question.vhost());
    let mut of_resource = |kind: &str, Resource { name, .. }: &Resource, permission: &str| {
        variables.set("resource", kind);
        variables.set("name", name);
        variables.set("permission", permission);
    };
    match question {
        Question::Vhost { .. } => {}
        Question::Resource { resource, permission } => {
            of_resource(resource.kind.as_str(), resource, permission.as_str());
        }
        Question::Topic { exchange, routing_key, permission } => {
            of_resource("topic", exchange, permission.as_str());
            variables.set("routing_key", routing_key);
        }
    }
    variables
}

/// As whom to ask something about a user; `None` if that takes a password that is not there.
fn credentials(bind: &LdapBind, user: Option<&User>) -> Option<Credentials> {
    credentials_of(bind).or_else(|| {
        let user = user?;
        Some(Credentials::Known { name: user.dn.clone(), password: user.secret.clone()? })
    })
}

/// As whom to ask something, if not as the user.
fn credentials_of(bind: &LdapBind) -> Option<Credentials> {
    match bind {
        LdapBind::AsUser => None,
        LdapBind::Anonymous => Some(Credentials::Anonymous),
        LdapBind::Account { user_dn, password } => {
            Some(Credentials::Known { name: user_dn.clone(), password: password.clone() })
        }
    }
}

/// What becomes of an error about the user's own name and password.
fn denial(error: DirectoryError) -> Denial {
    match error {
        DirectoryError::BindRefused(text) => Denial::Refused(text),
        DirectoryError::Unreachable(text) | DirectoryError::BindFailed(text) | DirectoryError::Answer { text, .. } => {
            Denial::Failed(text)
        }
    }
}

/// What becomes of an error about an account that an administrator set: the user can do nothing about it.
fn account_denial(error: &DirectoryError) -> Denial {
    Denial::Failed(error.to_string())
}

fn no_password() -> Denial {
    Denial::Failed("auth_ldap.other_bind is as_user, but the user has no password".into())
}

/// RabbitMQ's words, which say no more than clients may know.
fn text_for_clients(error: &EvaluationError) -> &'static str {
    match error {
        EvaluationError::Directory(DirectoryError::Unreachable(_)) => "ldap_connect_error",
        EvaluationError::Directory(DirectoryError::BindRefused(_) | DirectoryError::BindFailed(_)) => "ldap_bind_error",
        EvaluationError::Directory(DirectoryError::Answer { .. })
        | EvaluationError::NoVariable(_)
        | EvaluationError::NoCase { .. }
        | EvaluationError::NoCases
        | EvaluationError::NoMatch
        | EvaluationError::TooManyGroups => "ldap_evaluate_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut LdapSettings)) -> Result<LdapBackend, String> {
        let mut settings = LdapSettings { servers: vec!["localhost".into()], ..LdapSettings::default() };
        change(&mut settings);
        LdapBackend::new(&settings).map_err(|error| error.to_string())
    }

    #[test]
    fn settings_that_cannot_be_used_are_refused() {
        type Change = fn(&mut LdapSettings);
        let cases: [(Change, &str); 11] = [
            (|s| s.servers.clear(), "auth_ldap.servers: there has to be at least one, with a name"),
            (|s| s.port = 0, "auth_ldap.port: has to be at least 1"),
            (|s| s.connection_pool_size = 0, "auth_ldap.connection_pool_size: has to be at least 1"),
            (|s| s.timeout_ms = Some(0), "auth_ldap.timeout: has to be at least 1"),
            (
                |s| s.vhost_access_query = "{constant,\n ture}".into(),
                "auth_ldap.queries.vhost_access: line 2, column 2: expected true or false, but found the atom ture",
            ),
            (
                |s| s.tag_queries = "{constant, true}".into(),
                "auth_ldap.queries.tags: line 1, column 1: expected a list, but found a tuple of 2 that begins with constant",
            ),
            (
                |s| s.topic_access_query = "{'not', {in_group_nested, \"cn=a\"}}".into(),
                "auth_ldap.group_lookup_base: has to be set, as a query has in_group_nested",
            ),
            (
                |s| s.dn_lookup_attribute = Some("uid".into()),
                "auth_ldap.dn_lookup_base: has to be set, as auth_ldap.dn_lookup_attribute is",
            ),
            (
                |s| s.dn_lookup_attribute = Some("(uid".into()),
                "auth_ldap.dn_lookup_attribute: is not what attributes may be called",
            ),
            (
                |s| s.other_bind = LdapBind::Account { user_dn: "cn=a".into(), password: Secret::new(b"") },
                "auth_ldap.other_bind: user_dn and password may not be empty",
            ),
            (
                |s| {
                    s.encryption = LdapEncryption::Ldaps;
                    s.servers = vec!["::1".into()];
                },
                "auth_ldap.ssl_options.sni: has to be set for servers with an IPv6 address",
            ),
        ];
        for (change, expected) in cases {
            assert_eq!(with(change).map(|_| ()), Err(expected.into()));
        }
    }

    #[test]
    fn files_that_cannot_be_used_are_named() {
        let error = with(|settings| {
            settings.encryption = LdapEncryption::StartTls;
            settings.tls.ca_certificate_file = Some("/nowhere/ca.pem".into());
        });
        let error = error.unwrap_err();
        assert!(error.starts_with("auth_ldap.ssl_options.cacertfile: /nowhere/ca.pem: "), "{error}");
    }

    #[test]
    fn defaults_can_be_used() {
        with(|_| {}).unwrap();
    }
}
