//! What can be set of the OAuth 2 back end, and what holds if it is not. The names are those of RabbitMQ's settings, which begin
//! with `auth_oauth2.`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use leveret_broker::access::Secret;

use crate::tls::TlsSettings;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuth2Settings {
    /// The resource server that stands at the top: `auth_oauth2.resource_server_id` and so on. There is none without an id; what
    /// else is set of it holds for all others that do not say so themselves.
    pub resource_server: ResourceServerSettings,
    /// The provider that stands at the top: `auth_oauth2.issuer`, `auth_oauth2.jwks_uri` and so on.
    pub provider: ProviderSettings,
    /// `resource_servers.INDEX.*`, by index, which is the id of those that set none.
    pub resource_servers: BTreeMap<String, ResourceServerSettings>,
    /// `oauth_providers.ID.*`, by id.
    pub oauth_providers: BTreeMap<String, ProviderSettings>,
    /// `default_oauth_provider`: whose keys are used where no other provider is named; `None` for the one at the top.
    pub default_oauth_provider: Option<String>,
    /// `require_exp`: whether a token has to say when it expires.
    pub require_exp: bool,
    /// Keys are not fetched again sooner than this after they were, whatever tokens come, in milliseconds. RabbitMQ has no such
    /// setting, and fetches for each token with a key that it does not know.
    pub jwks_refetch_interval_ms: u64,
    /// Keys that were fetched longer ago than this are fetched anew, and used in the meantime, in milliseconds. RabbitMQ has no
    /// such setting, and keeps them until a token comes with a key that it does not know.
    pub jwks_max_age_ms: u64,
    /// How long a request to a provider may take, in milliseconds.
    pub request_timeout_ms: u64,
}

/// A resource server: what tokens are issued for. What is not set is taken from the one at the top.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResourceServerSettings {
    /// `resource_server_id`, or `resource_servers.INDEX.id`: what has to be in the audience of a token.
    pub id: Option<String>,
    /// `resource_server_type`: which entries of `authorization_details` mean this broker.
    pub resource_server_type: Option<String>,
    /// `scope_prefix`: what scopes begin with; the id and a dot if it is not set. It may be empty.
    pub scope_prefix: Option<String>,
    /// `verify_aud`: whether the audience has to have the id; it has to if nothing is set.
    pub verify_aud: Option<bool>,
    /// `additional_scopes_key`: other claims with scopes, with spaces between them. Dots lead into what is nested.
    pub additional_scopes_key: Option<String>,
    /// `preferred_username_claims.N`: the claims that may have the user's name, in order. `sub` and `client_id` come after them.
    pub preferred_username_claims: Vec<String>,
    /// `scope_aliases`: names for one or several scopes, which are written with their prefix.
    pub scope_aliases: BTreeMap<String, Vec<String>>,
    /// `resource_servers.INDEX.oauth_provider_id`: whose keys its tokens are signed with. It has no meaning at the top, where there
    /// is [`OAuth2Settings::default_oauth_provider`].
    pub oauth_provider_id: Option<String>,
}

/// A provider: who issues tokens.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProviderSettings {
    /// `issuer`: where the address of the keys is found out. It has to begin with `https://`.
    pub issuer: Option<String>,
    /// `discovery_endpoint_path`: where below the issuer that is; `.well-known/openid-configuration` if it is not set.
    pub discovery_endpoint_path: Option<String>,
    /// `discovery_endpoint_params.NAME`: what is added to that address.
    pub discovery_endpoint_params: Vec<(String, String)>,
    /// `jwks_uri`, or `jwks_url` in old configurations: where the keys are. It has to begin with `https://` and wins over the
    /// issuer.
    pub jwks_uri: Option<String>,
    /// `https.*`: how the provider proves who it is. Without a check of that, anybody who gets in between can make tokens.
    pub https: TlsSettings,
    /// `signing_keys.ID`: keys that need not be fetched, by id.
    pub signing_keys: BTreeMap<String, SigningKey>,
    /// `default_key`: the id of the key for tokens that name none.
    pub default_key: Option<String>,
    /// `algorithms.N`: the only ones that tokens may be signed with, such as `RS256`. If there are none, a token may be signed with
    /// any that its key is for; keys that were fetched are never taken as secrets then.
    pub algorithms: Vec<String>,
}

/// A key that need not be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SigningKey {
    /// A public key or a certificate in this file, in PEM format.
    PemFile(PathBuf),
    /// A secret that is shared with the provider, for `HS256` and its like.
    Shared(Secret),
}

impl Default for OAuth2Settings {
    fn default() -> Self {
        Self {
            resource_server: ResourceServerSettings::default(),
            provider: ProviderSettings::default(),
            resource_servers: BTreeMap::new(),
            oauth_providers: BTreeMap::new(),
            default_oauth_provider: None,
            require_exp: true,
            jwks_refetch_interval_ms: 10_000,
            jwks_max_age_ms: 3_600_000,
            request_timeout_ms: 10_000,
        }
    }
}
