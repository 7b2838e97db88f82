//! Who issues tokens: its keys, those that are set and those that are fetched.
//!
//! Anybody can make up tokens with keys that nobody knows, so it is not up to them how often keys are fetched: one request is under
//! way at a time, everybody who needs it waits for it, and there is a pause after each. What was fetched stays in use for as long
//! as nothing newer could be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::Uri;
use hyper::http::uri::Scheme;
use jsonwebtoken::Algorithm;
use parking_lot::RwLock;
use serde_json::Value;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::fetch::Fetcher;
use super::keys::{Key, KeyFileError, KeySet, Secrets, parse_set};
use super::settings::{OAuth2Settings, ProviderSettings, SigningKey};
use crate::http::append;
use crate::tls::TlsSettingsError;

/// The pause after the first request that failed; each further one doubles it, up to the pause after one that did not.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

const DISCOVERY_PATH: &str = ".well-known/openid-configuration";

/// A provider.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) default_key: Option<String>,
    algorithms: Vec<Algorithm>,
    set: KeySet,
    source: Option<Source>,
    fetched: RwLock<Fetched>,
    schedule: Arc<Mutex<Schedule>>,
    refetch_interval: Duration,
    max_age: Duration,
}

/// Where keys are fetched.
#[derive(Debug)]
struct Source {
    fetcher: Fetcher,
    address: Address,
    secrets: Secrets,
}

#[derive(Debug)]
enum Address {
    Keys(Uri),
    /// Where it says where the keys are.
    Discovery(Uri),
}

#[derive(Debug, Default)]
struct Fetched {
    keys: KeySet,
    at: Option<Instant>,
    /// How many requests there were, successful or not.
    attempts: u64,
}

/// When keys may be fetched. Whoever has its lock fetches.
#[derive(Debug, Default)]
struct Schedule {
    not_before: Option<Instant>,
    failures: u32,
    last_failure: Option<String>,
    /// Where the keys are, if that was found out and they have been there.
    discovered: Option<Uri>,
}

/// Why there is no key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoKey {
    #[error("key_not_found")]
    NotFound,
    #[error("signing keys could not be fetched: {0}")]
    OutOfReach(String),
}

/// Why a provider cannot be used as it is set.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It says neither which its keys are nor where.
    #[error("there is no issuer, no jwks_uri and no signing key")]
    NoKeys,
    /// Keys that anybody can change on their way prove nothing.
    #[error("{0} is not an address that begins with https://")]
    NotHttps(&'static str),
    /// Anybody could sign with it.
    #[error("a signing key is an empty secret")]
    EmptySecret,
    /// There is no such algorithm, or it is not known here.
    #[error("unknown algorithm {0}")]
    UnknownAlgorithm(String),
    /// A file cannot be read.
    #[error("{path}: {reason}")]
    File {
        /// Which.
        path: String,
        /// Why not.
        reason: std::io::Error,
    },
    /// A file has no key.
    #[error("{path}: {reason}")]
    KeyFile {
        /// Which.
        path: String,
        /// Why not.
        reason: KeyFileError,
    },
    /// Nothing can be fetched so.
    #[error("https.{0}")]
    Https(#[from] TlsSettingsError),
}

impl Provider {
    pub(super) fn new(own: &ProviderSettings, settings: &OAuth2Settings) -> Result<Self, ProviderError> {
        let algorithms = own
            .algorithms
            .iter()
            .map(|name| name.parse().map_err(|_| ProviderError::UnknownAlgorithm(name.clone())))
            .collect::<Result<Vec<Algorithm>, _>>()?;
        let set = own
            .signing_keys
            .iter()
            .map(|(id, key)| Ok((Some(id.clone()), static_key(key)?)))
            .collect::<Result<KeySet, ProviderError>>()?;
        let source = Source::new(own, &algorithms, Duration::from_millis(settings.request_timeout_ms))?;
        if source.is_none() && set.is_empty() {
            return Err(ProviderError::NoKeys);
        }
        Ok(Self {
            default_key: own.default_key.clone(),
            algorithms,
            set,
            source,
            fetched: RwLock::default(),
            schedule: Arc::default(),
            refetch_interval: Duration::from_millis(settings.jwks_refetch_interval_ms),
            max_age: Duration::from_millis(settings.jwks_max_age_ms),
        })
    }

    /// Whether its tokens may be signed so.
    pub(super) fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms.is_empty() || self.algorithms.contains(&algorithm)
    }

    /// The key with this id. It is fetched if need be.
    pub(super) async fn key(self: &Arc<Self>, id: Option<&str>) -> Result<Key, NoKey> {
        let attempts = match self.known(id) {
            (Some(key), _) => {
                self.refresh_if_old();
                return Ok(key);
            }
            (None, attempts) => attempts,
        };
        if self.source.is_none() {
            return Err(NoKey::NotFound);
        }
        let schedule = Arc::clone(&self.schedule).lock_owned().await;
        // Another one may have fetched while this one waited for the lock.
        if self.known(id).1 == attempts && schedule.is_due() {
            // In a task of its own, so that it goes on to its end, and counts, if the client leaves.
            let fetching = tokio::spawn(Arc::clone(self).fetch(schedule));
            let failure = fetching.await.map_err(|_| NoKey::OutOfReach("interrupted".to_owned()))?;
            return self.known(id).0.ok_or_else(|| failure.map_or(NoKey::NotFound, NoKey::OutOfReach));
        }
        let failure = schedule.last_failure.clone();
        self.known(id).0.ok_or_else(|| failure.map_or(NoKey::NotFound, NoKey::OutOfReach))
    }

    fn known(&self, id: Option<&str>) -> (Option<Key>, u64) {
        let fetched = self.fetched.read();
        (fetched.keys.get(id).or_else(|| self.set.get(id)).cloned(), fetched.attempts)
    }

    /// Fetches keys in the background if the last time was long ago, so that those that were withdrawn go away.
    fn refresh_if_old(self: &Arc<Self>) {
        let is_old = self.fetched.read().at.is_some_and(|at| at.elapsed() > self.max_age);
        if is_old
            && let Ok(schedule) = Arc::clone(&self.schedule).try_lock_owned()
            && schedule.is_due()
        {
            drop(tokio::spawn(Arc::clone(self).fetch(schedule)));
        }
    }

    /// Fetches; gives what went wrong.
    async fn fetch(self: Arc<Self>, mut schedule: OwnedMutexGuard<Schedule>) -> Option<String> {
        let source = self.source.as_ref()?;
        let result = source.fetch(&mut schedule.discovered).await;
        let mut fetched = self.fetched.write();
        fetched.attempts += 1;
        let pause = match result {
            Ok(keys) => {
                fetched.keys = keys;
                fetched.at = Some(Instant::now());
                schedule.failures = 0;
                schedule.last_failure = None;
                self.refetch_interval
            }
            Err(reason) => {
                let pause = FAILURE_PAUSE.saturating_mul(1_u32.checked_shl(schedule.failures).unwrap_or(u32::MAX));
                schedule.failures = schedule.failures.saturating_add(1);
                schedule.last_failure = Some(reason);
                schedule.discovered = None;
                pause.min(self.refetch_interval)
            }
        };
        schedule.not_before = Instant::now().checked_add(pause);
        schedule.last_failure.clone()
    }
}

impl Schedule {
    fn is_due(&self) -> bool {
        self.not_before.is_none_or(|not_before| not_before <= Instant::now())
    }
}

impl Source {
    fn new(
        settings: &ProviderSettings,
        algorithms: &[Algorithm],
        timeout: Duration,
    ) -> Result<Option<Self>, ProviderError> {
        let address = match (&settings.jwks_uri, &settings.issuer) {
            (Some(uri), _) => Address::Keys(https(uri).ok_or(ProviderError::NotHttps("jwks_uri"))?),
            (None, Some(issuer)) => {
                let path = settings.discovery_endpoint_path.as_deref().unwrap_or(DISCOVERY_PATH);
                let address = format!("{}/{}", issuer.trim_end_matches('/'), path.trim_start_matches('/'));
                let params = settings.discovery_endpoint_params.iter();
                let params: Vec<(&str, &[u8])> = params.map(|(name, value)| (&**name, value.as_bytes())).collect();
                let address = if params.is_empty() { address.into() } else { append(&address, &params) };
                let address = std::str::from_utf8(&address).ok().and_then(https);
                let address = address.ok_or(ProviderError::NotHttps("issuer"))?;
                Address::Discovery(address)
            }
            (None, None) => return Ok(None),
        };
        let names_secrets = algorithms.iter().any(|algorithm| Key::shared(&[]).for_algorithm(*algorithm).is_some());
        let secrets = if names_secrets { Secrets::Allowed } else { Secrets::Refused };
        Ok(Some(Self { fetcher: Fetcher::new(&settings.https, timeout)?, address, secrets }))
    }

    async fn fetch(&self, discovered: &mut Option<Uri>) -> Result<KeySet, String> {
        let keys = match (&self.address, discovered.take()) {
            (Address::Keys(keys), _) => keys.clone(),
            (Address::Discovery(_), Some(keys)) => keys,
            (Address::Discovery(address), None) => self.discover(address).await?,
        };
        let document = self.fetcher.get(&keys).await?;
        *discovered = Some(keys);
        parse_set(&document, self.secrets).map_err(|error| error.to_string())
    }

    async fn discover(&self, address: &Uri) -> Result<Uri, String> {
        let document = self.fetcher.get(address).await?;
        let document: Value =
            serde_json::from_slice(&document).map_err(|_| "the answer is not an OpenID configuration".to_owned())?;
        let keys = document.get("jwks_uri").and_then(Value::as_str);
        keys.and_then(https).ok_or_else(|| "the OpenID configuration has no jwks_uri with https://".to_owned())
    }
}

fn static_key(key: &SigningKey) -> Result<Key, ProviderError> {
    match key {
        SigningKey::Shared(secret) if secret.is_empty() => Err(ProviderError::EmptySecret),
        SigningKey::Shared(secret) => Ok(Key::shared(secret.expose())),
        SigningKey::PemFile(path) => {
            let name = || path.display().to_string();
            let pem = std::fs::read(path).map_err(|reason| ProviderError::File { path: name(), reason })?;
            Key::from_pem(&pem).map_err(|reason| ProviderError::KeyFile { path: name(), reason })
        }
    }
}

fn https(address: &str) -> Option<Uri> {
    address.parse().ok().filter(|address: &Uri| address.scheme() == Some(&Scheme::HTTPS) && address.host().is_some())
}
