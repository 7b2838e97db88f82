//! The back end that asks an HTTP service, as RabbitMQ's `rabbit_auth_backend_http` does.
//!
//! There is a URL for each kind of question. The parameters are in the URL or in the body, and the answer is a word: `allow` or
//! `deny`. The service is asked anew for every question; sessions keep the answers for a while.

mod endpoint;
mod error;
mod form;
mod service;
mod settings;
mod verdict;

use std::fmt;
use std::sync::Arc;

use leveret_broker::Name;
use leveret_broker::access::{Answer, LoginAttempt, Question, Reason};

use self::endpoint::Endpoint;
use self::error::ServiceError;
use self::service::Service;
use self::verdict::Verdict;
use crate::{Backend, Checked, Denial, Grant, LoggedIn, Pending, tls};

pub(crate) use self::endpoint::redirected;
pub use self::error::HttpSettingsError;
pub(crate) use self::form::append;
pub use self::settings::{HttpMethod, HttpSettings};

const NAME: &str = "rabbit_auth_backend_http";

/// How long sessions keep an answer. RabbitMQ keeps the last twelve of each channel, for as long as it is open.
const ANSWERS_EXPIRE_AFTER_MS: u64 = 60_000;

/// The back end.
pub struct HttpBackend {
    shared: Arc<Shared>,
}

struct Shared {
    service: Service,
    user: Endpoint,
    vhost: Endpoint,
    resource: Endpoint,
    topic: Endpoint,
    /// Whether clients may see why something is not allowed.
    discloses: bool,
}

/// What a user may do: whatever the service says.
struct HttpGrant {
    shared: Arc<Shared>,
    name: Name,
    /// With spaces between them.
    tags: String,
    /// The client's address.
    ip: String,
}

impl HttpBackend {
    /// A back end with these settings. Nothing is asked yet; files are read.
    pub fn new(settings: &HttpSettings) -> Result<Self, HttpSettingsError> {
        let user = endpoint("user_path", &settings.user_path)?;
        let vhost = endpoint("vhost_path", &settings.vhost_path)?;
        let resource = endpoint("resource_path", &settings.resource_path)?;
        let topic = endpoint("topic_path", &settings.topic_path)?;
        let with_tls = [&user, &vhost, &resource, &topic].iter().any(|endpoint| endpoint.is_tls());
        let service = Service::new(settings, if with_tls { tls::Use::Certain } else { tls::Use::Possible })?;
        let discloses = settings.authorization_failure_disclosure;
        Ok(Self { shared: Arc::new(Shared { service, user, vhost, resource, topic, discloses }) })
    }
}

fn endpoint(setting: &'static str, url: &str) -> Result<Endpoint, HttpSettingsError> {
    Endpoint::read(url).ok_or(HttpSettingsError::Url { setting })
}

impl Backend for HttpBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn authenticate(&self, attempt: &Arc<LoginAttempt>) -> Pending<Result<LoggedIn, Denial>> {
        let (shared, attempt) = (Arc::clone(&self.shared), Arc::clone(attempt));
        Box::pin(async move {
            let tags = log_in(&shared, &attempt).await?;
            Ok(logged_in(shared, &attempt, &tags, tags.clone()))
        })
    }

    /// Asks the same as [`Self::authenticate`] does, password included. The tags that the service gives count for nothing; it is
    /// told those that the user has by the other back end. So does RabbitMQ.
    fn authorize(&self, attempt: &Arc<LoginAttempt>, tags: &[Name]) -> Pending<Result<LoggedIn, Denial>> {
        let (shared, attempt, tags) = (Arc::clone(&self.shared), Arc::clone(attempt), tags.to_vec());
        Box::pin(async move {
            log_in(&shared, &attempt).await?;
            Ok(logged_in(shared, &attempt, &tags, Vec::new()))
        })
    }
}

impl Grant for HttpGrant {
    fn check(&self, question: &Question) -> Checked {
        let (shared, question) = (Arc::clone(&self.shared), question.clone());
        let (name, tags, ip) = (Name::clone(&self.name), self.tags.clone(), self.ip.clone());
        Checked::Later(Box::pin(async move { shared.check(&question, &name, &tags, &ip).await }))
    }

    fn answers_expire_after_ms(&self) -> Option<u64> {
        Some(ANSWERS_EXPIRE_AFTER_MS)
    }
}

/// Asks the service to let somebody in; gives the tags that it gives.
async fn log_in(shared: &Shared, attempt: &LoginAttempt) -> Result<Vec<Name>, Denial> {
    let mut fields = vec![("username", attempt.name.as_bytes())];
    if let Some(secret) = &attempt.secret {
        fields.push(("password", secret.expose()));
    }
    let answer = shared.service.ask(&shared.user, &fields).await.map_err(|error| Denial::Failed(error.to_string()))?;
    match verdict::read(&answer) {
        Verdict::Allow { tags } => Ok(tags.into_iter().map(Name::from).collect()),
        Verdict::Deny { reason: None } => Err(Denial::Refused("Denied by the backing HTTP service".into())),
        Verdict::Deny { reason: Some(reason) } => {
            Err(Denial::Refused(format!("Denied by the backing HTTP service: {reason}")))
        }
        Verdict::Nonsense => Err(Denial::Failed(ServiceError::Nonsense.to_string())),
    }
}

/// Somebody whom the service let in, and is told to have these tags; `given` are those that it gives.
fn logged_in(shared: Arc<Shared>, attempt: &LoginAttempt, tags: &[Name], given: Vec<Name>) -> LoggedIn {
    let name = Name::clone(&attempt.name);
    let ip = attempt.peer.address.ip().to_string();
    let grant = HttpGrant { shared, name: Name::clone(&name), tags: tags.join(" "), ip };
    LoggedIn { name, tags: given, expires: None, grant: Arc::new(grant) }
}

impl Shared {
    async fn check(&self, question: &Question, name: &Name, tags: &str, ip: &str) -> Answer {
        let vhost = question.vhost();
        let mut fields = vec![("username", name.as_bytes()), ("vhost", vhost.as_bytes())];
        let endpoint = match question {
            Question::Vhost { .. } => {
                fields.extend([("ip", ip.as_bytes()), ("tags", tags.as_bytes())]);
                &self.vhost
            }
            Question::Resource { resource, permission } => {
                fields.extend([
                    ("resource", resource.kind.as_str().as_bytes()),
                    ("name", resource.name.as_bytes()),
                    ("permission", permission.as_str().as_bytes()),
                    ("tags", tags.as_bytes()),
                ]);
                &self.resource
            }
            Question::Topic { exchange, routing_key, permission } => {
                fields.extend([
                    ("resource", "topic".as_bytes()),
                    ("name", exchange.name.as_bytes()),
                    ("permission", permission.as_str().as_bytes()),
                    ("tags", tags.as_bytes()),
                    ("routing_key", routing_key.as_bytes()),
                    ("variable_map.username", name.as_bytes()),
                    ("variable_map.vhost", vhost.as_bytes()),
                ]);
                &self.topic
            }
        };
        match self.service.ask(endpoint, &fields).await {
            Ok(answer) => self.judge(verdict::read(&answer), question, name),
            Err(error) => failed(&error),
        }
    }

    fn judge(&self, verdict: Verdict, question: &Question, name: &Name) -> Answer {
        match verdict {
            Verdict::Allow { tags } if tags.is_empty() => Answer::Allowed,
            Verdict::Deny { reason: Some(reason) } => {
                // The service's reason may be nowhere else.
                tracing::info!(user = &**name, ?question, reason, "the HTTP service does not allow it");
                let disclosed = self.discloses.then(|| Reason { backend: NAME, text: reason.into() });
                Answer::Refused { reason: disclosed }
            }
            Verdict::Deny { reason: None } => Answer::REFUSED,
            // Tags have no meaning here, so that nobody knows what the service wants to say.
            Verdict::Allow { .. } | Verdict::Nonsense => failed(&ServiceError::Nonsense),
        }
    }
}

fn failed(error: &ServiceError) -> Answer {
    Answer::Failed(Reason { backend: NAME, text: error.to_string().into() })
}

impl fmt::Debug for HttpBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpBackend").finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpGrant").field("name", &self.name).field("tags", &self.tags).finish_non_exhaustive()
    }
}
