//! The OAuth 2 back end, `rabbit_auth_backend_oauth2`: a token is the password, and has in it who the user is and what it may do.
//!
//! A token is a JSON Web Token (RFC 7519). Whom it is for says whose keys it has to be signed with; its scopes say what the user
//! may do. Nothing of a token gets into logs or error texts but the moments at which it begins and ends to hold.

mod authorization_details;
mod claims;
mod fetch;
mod grant;
mod keys;
mod pattern;
mod provider;
mod resource_server;
mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Validation, dangerous};
use leveret_broker::Name;
use leveret_broker::access::{LoginAttempt, Secret};
use leveret_broker::clock::Timestamp;

use self::claims::{Claims, Expiry, OutOfTime, TooManyScopes};
use self::grant::{Rights, TokenGrant};
use self::provider::{NoKey, Provider};
use self::resource_server::{AudienceError, ResourceServer};
use crate::backend::{Backend, Denial, LoggedIn, Pending};

pub use keys::KeyFileError;
pub use provider::ProviderError;
pub use settings::{OAuth2Settings, ProviderSettings, ResourceServerSettings, SigningKey};

/// The name of RabbitMQ's module.
const NAME: &str = "rabbit_auth_backend_oauth2";

/// Longer tokens are not looked at: anybody may send one.
const TOKEN_OCTETS_MAX: usize = 65_536;

/// The back end.
pub struct OAuth2Backend {
    tokens: Arc<Tokens>,
}

/// Why the back end cannot be used as it is set.
#[derive(Debug, thiserror::Error)]
pub enum OAuth2SettingsError {
    /// There is nothing that tokens could be for.
    #[error("auth_oauth2 has no resource server: neither resource_server_id nor resource_servers is set")]
    NoResourceServer,
    /// Two resource servers have this id.
    #[error("auth_oauth2.resource_servers: there are two with the id {0}")]
    TwoResourceServers(String),
    /// A resource server names a provider that is not set.
    #[error("auth_oauth2.oauth_providers: there is none called {0}")]
    NoSuchProvider(String),
    /// A provider cannot be used as it is set.
    #[error("auth_oauth2{}: {reason}", .provider.as_ref().map(|id| format!(".oauth_providers.{id}")).unwrap_or_default())]
    Provider {
        /// Its id, or `None` for the one at the top.
        provider: Option<String>,
        /// Why not.
        reason: ProviderError,
    },
}

/// Who reads tokens.
struct Tokens {
    servers: Vec<ResourceServer>,
    /// By id; the one at the top has none.
    providers: BTreeMap<Option<String>, Arc<Provider>>,
    expiry: Expiry,
}

/// A token that is good.
struct Verified<'a> {
    server: &'a ResourceServer,
    claims: Claims,
    expires: Option<i64>,
}

/// Why a token is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum TokenError {
    #[error("provided token is invalid")]
    Malformed,
    #[error("{0}")]
    Audience(#[from] AudienceError),
    #[error("signature_invalid")]
    Signature,
    #[error("{0}")]
    NoKey(#[from] NoKey),
    #[error("{0}")]
    OutOfTime(#[from] OutOfTime),
    #[error("{0}")]
    TooManyScopes(#[from] TooManyScopes),
}

impl OAuth2Backend {
    /// A back end that is set so. It reads the files with keys and certificates.
    pub fn new(settings: &OAuth2Settings) -> Result<Self, OAuth2SettingsError> {
        let servers = ResourceServer::all(settings);
        if servers.is_empty() {
            return Err(OAuth2SettingsError::NoResourceServer);
        }
        let mut providers = BTreeMap::new();
        for (index, server) in servers.iter().enumerate() {
            if servers.iter().skip(index + 1).any(|other| other.id == server.id) {
                return Err(OAuth2SettingsError::TwoResourceServers(server.id.clone()));
            }
            let id = &server.provider;
            if !providers.contains_key(id) {
                let own = match id {
                    None => &settings.provider,
                    Some(id) => settings
                        .oauth_providers
                        .get(id)
                        .ok_or_else(|| OAuth2SettingsError::NoSuchProvider(id.clone()))?,
                };
                let provider = Provider::new(own, settings)
                    .map_err(|reason| OAuth2SettingsError::Provider { provider: id.clone(), reason })?;
                providers.insert(id.clone(), Arc::new(provider));
            }
        }
        let expiry = if settings.require_exp { Expiry::Required } else { Expiry::Optional };
        Ok(Self { tokens: Arc::new(Tokens { servers, providers, expiry }) })
    }

    fn log_in(&self, attempt: &LoginAttempt) -> Pending<Result<LoggedIn, Denial>> {
        let (tokens, secret) = (Arc::clone(&self.tokens), attempt.secret.clone());
        Box::pin(async move { tokens.log_in(secret.as_ref()).await })
    }
}

impl Backend for OAuth2Backend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn authenticate(&self, attempt: &Arc<LoginAttempt>) -> Pending<Result<LoggedIn, Denial>> {
        self.log_in(attempt)
    }

    /// Takes the token for the password, too, but gives none of its tags: so does RabbitMQ.
    fn authorize(&self, attempt: &Arc<LoginAttempt>, _tags: &[Name]) -> Pending<Result<LoggedIn, Denial>> {
        let logged_in = self.log_in(attempt);
        Box::pin(async move { Ok(LoggedIn { tags: Vec::new(), ..logged_in.await? }) })
    }
}

impl Tokens {
    async fn log_in(self: &Arc<Self>, secret: Option<&Secret>) -> Result<LoggedIn, Denial> {
        let result = match secret {
            Some(secret) => self.verify(secret).await.and_then(|token| self.grant(token)),
            None => Err(TokenError::Malformed),
        };
        result.map_err(|error| match error {
            TokenError::NoKey(NoKey::OutOfReach(_)) => Denial::Failed(text(&error)),
            TokenError::NoKey(NoKey::NotFound)
            | TokenError::Malformed
            | TokenError::Audience(_)
            | TokenError::Signature
            | TokenError::OutOfTime(_)
            | TokenError::TooManyScopes(_) => Denial::Refused(text(&error)),
        })
    }

    /// Takes a new token for one whose user had these names. RabbitMQ calls it a failure, not a refusal, if it cannot be seen for
    /// whom a token is.
    async fn renew(self: &Arc<Self>, secret: &Secret, names: &BTreeMap<String, String>) -> Result<LoggedIn, Denial> {
        let result = self.verify(secret).await;
        let token = result.map_err(|error| match error {
            TokenError::Malformed | TokenError::Audience(_) | TokenError::NoKey(NoKey::OutOfReach(_)) => {
                Denial::Failed(text(&error))
            }
            TokenError::NoKey(NoKey::NotFound)
            | TokenError::Signature
            | TokenError::OutOfTime(_)
            | TokenError::TooManyScopes(_) => Denial::Refused(text(&error)),
        })?;
        let claims = &token.server.user_name_claims;
        let old = claims::user_name(claims, |claim| names.get(claim).map(String::as_str));
        if old != claims::user_name(claims, |claim| claims::text(&token.claims, claim)) {
            return Err(Denial::Refused("Not allowed to change username on refreshed token".to_owned()));
        }
        self.grant(token).map_err(|error| Denial::Refused(text(&error)))
    }

    /// Checks that a token was signed by whom it had to be, and holds now.
    async fn verify(&self, token: &Secret) -> Result<Verified<'_>, TokenError> {
        let token = token.expose();
        if token.len() > TOKEN_OCTETS_MAX {
            return Err(TokenError::Malformed);
        }
        let header = jsonwebtoken::decode_header(token).map_err(|_| TokenError::Malformed)?;
        // What has to be understood is nothing that would be understood here, nor is what is encrypted.
        if header.crit.is_some() || header.enc.is_some() {
            return Err(TokenError::Malformed);
        }
        // Nothing that is not verified is used but for whom it is, which says whose keys to verify it with.
        let claims: Claims = dangerous::insecure_decode_claims(token).map_err(|_| TokenError::Malformed)?;
        let server = resource_server::meant(&self.servers, &claims)?;
        let provider = self.providers.get(&server.provider).ok_or(NoKey::NotFound)?;
        if !provider.allows(header.alg) {
            return Err(TokenError::Signature);
        }
        let key = provider.key(header.kid.as_deref().or(provider.default_key.as_deref())).await?;
        let key = key.for_algorithm(header.alg).ok_or(TokenError::Signature)?;
        let mut validation = Validation::new(header.alg);
        // Whether it holds now, and for whom it is, is checked here as RabbitMQ does.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let claims = jsonwebtoken::decode::<Claims>(token, key, &validation).map_err(|_| TokenError::Signature)?.claims;
        let expires = claims::valid_until(&claims, self.expiry, unix_seconds())?;
        Ok(Verified { server, claims, expires })
    }

    fn grant(self: &Arc<Self>, token: Verified<'_>) -> Result<LoggedIn, TokenError> {
        let Verified { server, claims, expires } = token;
        let rights = Rights::parse(&claims::scopes(server, &claims)?, &claims);
        let names = self.servers.iter().flat_map(|server| &server.user_name_claims);
        let names = names.filter_map(|name| Some((name.clone(), claims::text(&claims, name)?.to_owned()))).collect();
        Ok(LoggedIn {
            name: Name::from(claims::user_name(&server.user_name_claims, |claim| claims::text(&claims, claim))),
            tags: rights.tags.clone(),
            expires: expires.map(moment),
            grant: Arc::new(TokenGrant { tokens: Arc::clone(self), rights, names, expires }),
        })
    }
}

fn text(error: &TokenError) -> String {
    format!("Authentication using an OAuth 2/JWT token failed: {error}")
}

fn moment(unix_seconds: i64) -> Timestamp {
    Timestamp(u64::try_from(unix_seconds).unwrap_or_default().saturating_mul(1000))
}

fn unix_seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

impl fmt::Debug for OAuth2Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.tokens.fmt(f)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2Backend").field("servers", &self.servers).finish_non_exhaustive()
    }
}
