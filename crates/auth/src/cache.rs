//! A back end that remembers for a while what another one said.

use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use leveret_broker::Name;
use leveret_broker::access::{Answer, LoginAttempt, Question, Secret};
use leveret_broker::clock::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::backend::{Backend, Checked, Denial, Grant, LoggedIn, Pending, Renewal};
use crate::digest::{Mark, Marker};
use crate::expiring::Expiring;
use crate::hash::HashError;

/// Nothing is remembered for longer, whatever is asked for.
const TTL_MAX: Duration = Duration::from_hours(24);

/// Whether a refusal is remembered as well.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Refusals {
    /// The other back end is asked each time.
    #[default]
    Ask,
    /// It is not asked again for the time that anything is remembered.
    Remember,
}

/// How much is remembered, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// How long.
    pub ttl: Duration,
    /// What is done about refusals.
    pub refusals: Refusals,
    /// Logins, and answers to questions, that are remembered; older ones give way.
    pub entries_max: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(15), refusals: Refusals::default(), entries_max: 10_000 }
    }
}

/// The back end.
#[derive(Debug, Clone)]
pub struct Cache {
    inner: Arc<dyn Backend>,
    memory: Arc<Memory>,
}

struct Memory {
    limits: CacheLimits,
    /// Secrets are remembered as marks only.
    marker: Marker,
    logins: Mutex<Expiring<Mark, Result<LoggedIn, Denial>>>,
    answers: Mutex<Expiring<(Mark, Question), Answer>>,
    /// How often everything was forgotten. What was asked before is not remembered after it.
    forgotten: AtomicU64,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// What is asked of the other back end.
#[derive(Debug, Clone, Copy)]
enum Asked<'a> {
    Authentication,
    /// Of somebody with these tags.
    Authorization(&'a [Name]),
}

impl Cache {
    /// Remembers what that back end says.
    pub fn new(inner: Arc<dyn Backend>, limits: CacheLimits) -> Result<Self, HashError> {
        let limits = CacheLimits { ttl: limits.ttl.min(TTL_MAX), ..limits };
        let memory = Memory {
            limits,
            marker: Marker::new()?,
            logins: Mutex::new(Expiring::new(limits.entries_max)),
            answers: Mutex::new(Expiring::new(limits.entries_max)),
            forgotten: AtomicU64::new(0),
        };
        Ok(Self { inner, memory: Arc::new(memory) })
    }

    fn ask(&self, asked: Asked<'_>, attempt: &Arc<LoginAttempt>) -> Pending<Result<LoggedIn, Denial>> {
        let mark = self.memory.mark(asked, attempt);
        let known = self.memory.logins.lock().get(&mark, Instant::now()).cloned();
        if let Some(result) = known {
            return Box::pin(ready(result));
        }
        let (memory, forgotten) = (Arc::clone(&self.memory), self.memory.forgotten());
        let answer = match asked {
            Asked::Authentication => self.inner.authenticate(attempt),
            Asked::Authorization(tags) => self.inner.authorize(attempt, tags),
        };
        Box::pin(async move {
            let result = answer.await.map(|logged_in| remembering(&memory, mark, logged_in));
            memory.remember(forgotten, mark, &result);
            result
        })
    }
}

impl Backend for Cache {
    fn name(&self) -> &'static str {
        "rabbit_auth_backend_cache"
    }

    fn authenticate(&self, attempt: &Arc<LoginAttempt>) -> Pending<Result<LoggedIn, Denial>> {
        self.ask(Asked::Authentication, attempt)
    }

    fn authorize(&self, attempt: &Arc<LoginAttempt>, tags: &[Name]) -> Pending<Result<LoggedIn, Denial>> {
        self.ask(Asked::Authorization(tags), attempt)
    }

    fn forget(&self) {
        // First, so that what is remembered under the locks before this is cleared below.
        self.memory.forgotten.fetch_add(1, Ordering::SeqCst);
        self.memory.logins.lock().clear();
        self.memory.answers.lock().clear();
        self.inner.forget();
    }
}

impl Memory {
    /// Everything that an answer may depend on, but for the port, which is another one each time.
    fn mark(&self, asked: Asked<'_>, attempt: &LoginAttempt) -> Mark {
        let LoginAttempt { name, secret, peer, mechanism, protocol } = attempt;
        let (asked, tags): (&[u8], &[Name]) = match asked {
            Asked::Authentication => (b"authentication", &[]),
            Asked::Authorization(tags) => (b"authorization", tags),
        };
        let address = peer.address.ip().to_string();
        // A certificate is not all of the answer, but whose it is has to be part of the question.
        let tls = format!("{:?}", peer.tls);
        let (presence, secret): (&[u8], &[u8]) = match secret {
            None => (b"-", b""),
            Some(secret) => (b"+", secret.expose()),
        };
        let mut parts = vec![
            asked,
            name.as_bytes(),
            presence,
            secret,
            address.as_bytes(),
            tls.as_bytes(),
            mechanism.as_bytes(),
            protocol.as_bytes(),
        ];
        parts.extend(tags.iter().map(|tag| tag.as_bytes()));
        self.marker.mark(&parts)
    }

    fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::SeqCst)
    }

    fn remember(&self, forgotten: u64, mark: Mark, result: &Result<LoggedIn, Denial>) {
        let ttl = match (result, self.limits.refusals) {
            (Ok(logged_in), _) => self.limits.ttl.min(left(logged_in.expires)),
            (Err(Denial::Refused(_) | Denial::LoopbackOnly), Refusals::Remember) => self.limits.ttl,
            // What could not be said may be said the next time.
            (Err(Denial::Refused(_) | Denial::LoopbackOnly), Refusals::Ask) | (Err(Denial::Failed(_)), _) => return,
        };
        let now = Instant::now();
        let mut logins = self.logins.lock();
        if self.forgotten() == forgotten {
            logins.insert(mark, result.clone(), now + ttl, now);
        }
    }

    fn remember_answer(&self, forgotten: u64, key: (Mark, Question), answer: &Answer) {
        let is_kept = match (answer, self.limits.refusals) {
            (Answer::Allowed, _) | (Answer::Refused { .. }, Refusals::Remember) => true,
            (Answer::Refused { .. }, Refusals::Ask) | (Answer::Failed(_), _) => false,
        };
        let mut answers = self.answers.lock();
        if is_kept && self.forgotten() == forgotten {
            let now = Instant::now();
            answers.insert(key, answer.clone(), now + self.limits.ttl, now);
        }
    }
}

fn remembering(memory: &Arc<Memory>, mark: Mark, logged_in: LoggedIn) -> LoggedIn {
    let grant = RememberingGrant { inner: logged_in.grant, memory: Arc::clone(memory), mark };
    LoggedIn { grant: Arc::new(grant), ..logged_in }
}

/// How long a login has left.
fn left(expires: Option<Timestamp>) -> Duration {
    expires.map_or(Duration::MAX, |Timestamp(end_ms)| {
        (UNIX_EPOCH + Duration::from_millis(end_ms)).duration_since(SystemTime::now()).unwrap_or_default()
    })
}

#[derive(Debug)]
struct RememberingGrant {
    inner: Arc<dyn Grant>,
    memory: Arc<Memory>,
    /// Of the login: others who ask the same may be told something else.
    mark: Mark,
}

impl Grant for RememberingGrant {
    fn check(&self, question: &Question) -> Checked {
        let key = (self.mark, question.clone());
        let known = self.memory.answers.lock().get(&key, Instant::now()).cloned();
        if let Some(answer) = known {
            return Checked::Now(answer);
        }
        let forgotten = self.memory.forgotten();
        match self.inner.check(question) {
            // What is known at once need not be remembered.
            Checked::Now(answer) => Checked::Now(answer),
            Checked::Later(pending) => {
                let memory = Arc::clone(&self.memory);
                Checked::Later(Box::pin(async move {
                    let answer = pending.await;
                    memory.remember_answer(forgotten, key, &answer);
                    answer
                }))
            }
        }
    }

    fn renew(&self, secret: &Secret) -> Renewal {
        match self.inner.renew(secret) {
            Renewal::NoNeed => Renewal::NoNeed,
            Renewal::Later(pending) => {
                let memory = Arc::clone(&self.memory);
                let mark = memory.marker.mark(&[b"renewal", self.mark.octets(), secret.expose()]);
                Renewal::Later(Box::pin(
                    async move { pending.await.map(|logged_in| remembering(&memory, mark, logged_in)) },
                ))
            }
        }
    }

    fn answers_expire_after_ms(&self) -> Option<u64> {
        self.inner.answers_expire_after_ms()
    }
}

#[cfg(test)]
mod tests;
