//! The users of the node itself.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use leveret_broker::Name;
use leveret_broker::access::{LoginAttempt, PasswordHash, Question, Secret};
use leveret_broker::node::Node;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::Instant;

use crate::backend::{Backend, Checked, Denial, Grant, LoggedIn, Pending};
use crate::chain::at_once;
use crate::digest::{Mark, Marker};
use crate::expiring::Expiring;
use crate::hash::{self, Effort, HashError, Hashing};

/// Passwords that are known to fit a hash; older ones give way.
const VERIFIED_MAX: usize = 10_000;

/// What checking passwords may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InternalLimits {
    /// How many passwords are checked at the same time whose check takes long; each takes a thread, and megabytes.
    pub checks_at_once: usize,
    /// How long it is remembered that a password fits a hash whose check takes long. It ends with a change of the password.
    pub verified_for: Duration,
}

impl Default for InternalLimits {
    fn default() -> Self {
        Self { checks_at_once: 2, verified_for: Duration::from_mins(1) }
    }
}

/// The back end.
#[derive(Debug)]
pub struct Internal {
    node: Arc<Node>,
    checker: Arc<Checker>,
}

struct Checker {
    /// What a password is compared with if there is no user of that name, which is not to be told by the time it takes.
    decoy: PasswordHash,
    permits: Arc<Semaphore>,
    limits: InternalLimits,
    marker: Marker,
    verified: Mutex<Expiring<Mark, ()>>,
}

impl fmt::Debug for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checker").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Internal {
    /// The users of that node, whose passwords are mostly hashed like that.
    pub fn new(node: Arc<Node>, hashing: &Hashing, limits: InternalLimits) -> Result<Self, HashError> {
        let checker = Checker {
            decoy: hashing.hash(&Secret::new(b"nobody's password"))?,
            permits: Arc::new(Semaphore::new(at_once(limits.checks_at_once))),
            limits,
            marker: Marker::new()?,
            verified: Mutex::new(Expiring::new(VERIFIED_MAX)),
        };
        Ok(Self { node, checker: Arc::new(checker) })
    }
}

impl Backend for Internal {
    fn name(&self) -> &'static str {
        "rabbit_auth_backend_internal"
    }

    fn is_quick(&self) -> bool {
        true
    }

    fn authenticate(&self, attempt: &Arc<LoginAttempt>) -> Pending<Result<LoggedIn, Denial>> {
        let (node, checker, attempt) = (Arc::clone(&self.node), Arc::clone(&self.checker), Arc::clone(attempt));
        Box::pin(async move {
            let user = find(&node, &attempt.name);
            let Some(secret) = &attempt.secret else {
                return user.map(|(_, logged_in)| logged_in).ok_or_else(refused);
            };
            if secret.is_empty() {
                return Err(Denial::Refused("a blank password is never accepted".into()));
            }
            let (hash, logged_in) = match user {
                Some((hash, logged_in)) if !hash.is_none() => (hash, Some(logged_in)),
                _ => (checker.decoy.clone(), None),
            };
            let fits = checker.check(hash, secret).await?;
            logged_in.filter(|_| fits).ok_or_else(refused)
        })
    }

    fn authorize(&self, attempt: &Arc<LoginAttempt>, _tags: &[Name]) -> Pending<Result<LoggedIn, Denial>> {
        let user = find(&self.node, &attempt.name);
        Box::pin(async move { user.map(|(_, logged_in)| logged_in).ok_or_else(refused) })
    }

    fn forget(&self) {
        self.checker.verified.lock().clear();
    }
}

impl Checker {
    async fn check(&self, hash: PasswordHash, secret: &Secret) -> Result<bool, Denial> {
        match hash::effort(&hash) {
            Effort::Small => return Ok(hash::verify(&hash, secret)),
            Effort::Large => {}
        }
        // The hash is part of what is remembered, so that another password makes it worthless.
        let mark = self.marker.mark(&[&hash.octets, secret.expose()]);
        if self.verified.lock().get(&mark, Instant::now()).is_some() {
            return Ok(true);
        }
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        // Many connections of one user may come at once; while one's password was checked, the others waited.
        if self.verified.lock().get(&mark, Instant::now()).is_some() {
            return Ok(true);
        }
        let secret = secret.clone();
        let checked = spawn_blocking(move || {
            // Who does not wait any more does not end the work; so it is the work that holds the permit.
            let _permit = permit;
            hash::verify(&hash, &secret)
        });
        let fits = checked.await.map_err(|_| Denial::Failed("the password could not be checked".into()))?;
        if fits {
            let now = Instant::now();
            let end = now.checked_add(self.limits.verified_for).unwrap_or(now);
            self.verified.lock().insert(mark, (), end, now);
        }
        Ok(fits)
    }
}

fn find(node: &Arc<Node>, name: &str) -> Option<(PasswordHash, LoggedIn)> {
    let (hash, name, tags) = node.read(|topology| {
        let user = topology.user(name).ok()?;
        Some((user.password().clone(), Name::clone(user.name()), user.tags().to_vec()))
    })?;
    let grant = Arc::new(InternalGrant { node: Arc::clone(node), user: Name::clone(&name) });
    Some((hash, LoggedIn { name, tags, expires: None, grant }))
}

fn refused() -> Denial {
    Denial::Refused("invalid credentials".into())
}

#[derive(Debug)]
struct InternalGrant {
    node: Arc<Node>,
    user: Name,
}

impl Grant for InternalGrant {
    fn check(&self, question: &Question) -> Checked {
        Checked::Now(self.node.read(|topology| topology.answer(&self.user, question)))
    }
}

#[cfg(test)]
mod tests;
