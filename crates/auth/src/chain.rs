//! The back ends in the order in which they are asked.
//!
//! The first that knows the user, and that the secret is right, lets it in; what it says of permissions holds. If others say what
//! users may do, all of them have to know the user, too, else the next in order is asked, as if nobody had let the user in.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use leveret_broker::Name;
use leveret_broker::access::{Authenticator, Identity, LoginAttempt, LoginFailure, Outcome, Reply};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{sleep, timeout};

use crate::attempts::{Attempts, SourceTracking, Verdict};
use crate::authority::{Asking, Composed, Part, Role};
use crate::backend::{Backend, Denial};
use crate::promise::Promise;
use crate::throttle::{Then, Throttle, ThrottleSettings};

/// One way to get in.
#[derive(Debug, Clone)]
pub enum Link {
    /// One back end says who somebody is and what it may do.
    Whole(Arc<dyn Backend>),
    /// One says who somebody is, others what it may do.
    Split {
        /// Who somebody is.
        authentication: Arc<dyn Backend>,
        /// What it may do: what all of them allow. Without any, nothing.
        authorization: Vec<Arc<dyn Backend>>,
    },
}

/// What logging in may take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long an attempt may take, everything included, and how long a question.
    pub patience: Duration,
    /// How many attempts each link looks at, at the same time; others wait.
    pub logins_at_once: usize,
    /// How many questions back ends look at, at the same time; others wait.
    pub questions_at_once: usize,
    /// Users who may log in from this machine only.
    pub loopback_only: Vec<Name>,
    /// How guessing is slowed down.
    pub throttle: ThrottleSettings,
    /// What is counted.
    pub tracking: SourceTracking,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(30),
            logins_at_once: 256,
            questions_at_once: 256,
            loopback_only: vec!["guest".into()],
            throttle: ThrottleSettings::default(),
            tracking: SourceTracking::default(),
        }
    }
}

/// All ways to get in.
#[derive(Debug)]
pub struct Chain {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    links: Vec<Link>,
    /// For attempts, one semaphore for each link: a service that does not answer keeps nobody waiting whom another link knows.
    permits: Vec<Semaphore>,
    patience: Duration,
    loopback_only: Vec<Name>,
    throttle: Throttle,
    attempts: Attempts,
    asking: Asking,
}

/// Why no link let somebody in.
#[derive(Debug)]
struct Refusal {
    backend: &'static str,
    failure: LoginFailure,
    blame: Blame,
}

/// Whose fault it is that somebody did not get in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Blame {
    /// That of who tried, which counts as a guess.
    Client,
    /// That of back ends which could not say.
    Backends,
}

impl Chain {
    /// A chain of links, whose back ends work on that runtime. It needs its timers.
    pub fn new(links: Vec<Link>, limits: Limits, runtime: Handle) -> Self {
        let Limits { patience, logins_at_once, questions_at_once, loopback_only, throttle, tracking } = limits;
        let asking = Asking { runtime, patience, permits: Arc::new(Semaphore::new(at_once(questions_at_once))) };
        let permits = links.iter().map(|_| Semaphore::new(at_once(logins_at_once))).collect();
        let shared = Shared {
            links,
            permits,
            patience,
            loopback_only,
            throttle: Throttle::new(throttle),
            attempts: Attempts::new(tracking),
            asking,
        };
        Self { shared: Arc::new(shared) }
    }

    /// How many tried to log in.
    pub fn attempts(&self) -> &Attempts {
        &self.shared.attempts
    }

    /// The ways to get in, in order.
    pub fn links(&self) -> &[Link] {
        &self.shared.links
    }

    /// Makes back ends forget the answers they remember, which is `rabbitmqctl clear_auth_backend_cache`.
    pub fn forget(&self) {
        for link in &self.shared.links {
            link.backends().for_each(|backend| backend.forget());
        }
    }

    /// Logs somebody in, for those who can wait.
    pub async fn check(&self, attempt: LoginAttempt) -> Result<Identity, LoginFailure> {
        self.shared.log_in(&Arc::new(attempt)).await
    }
}

impl Authenticator for Chain {
    fn log_in(&self, attempt: LoginAttempt, reply: Reply) -> Option<Result<Identity, LoginFailure>> {
        let (shared, attempt) = (Arc::clone(&self.shared), Arc::new(attempt));
        let promise = {
            let (shared, attempt) = (Arc::clone(&shared), Arc::clone(&attempt));
            Promise::new(reply, move || {
                let reason = "the attempt was given up";
                shared.attempts.record(&attempt, Verdict::Failed { backend: "", reason });
                Outcome::LoggedIn(Err(refused(&attempt, reason)))
            })
        };
        let runtime = self.shared.asking.runtime.clone();
        let is_quick = !shared.links.is_empty() && shared.links.iter().all(Link::is_quick);
        let mut result = Box::pin(async move { shared.log_in(&attempt).await });
        if is_quick {
            // What takes microseconds is not worth two changes of threads, of which connections that come and go have many.
            let _timers = runtime.enter();
            if let Poll::Ready(result) = result.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                promise.withdraw();
                return Some(result);
            }
        }
        runtime.spawn(async move { promise.keep(Outcome::LoggedIn(result.await)) });
        None
    }
}

impl Shared {
    async fn log_in(&self, attempt: &Arc<LoginAttempt>) -> Result<Identity, LoginFailure> {
        let result = timeout(self.patience, self.in_turn(attempt)).await.unwrap_or_else(|_| {
            let seconds = self.patience.as_secs();
            Err(Refusal {
                backend: "",
                failure: refused(attempt, &format!("there was no answer within {seconds} s")),
                blame: Blame::Backends,
            })
        });
        let address = attempt.peer.address.ip();
        match result {
            Ok(identity) => {
                if attempt.secret.is_some() {
                    self.throttle.succeeded(address, &attempt.name);
                }
                Ok(identity)
            }
            Err(Refusal { backend, failure, blame }) => {
                if blame == Blame::Client && attempt.secret.is_some() {
                    self.throttle.failed(address, &attempt.name);
                }
                let reason = match &failure {
                    LoginFailure::Refused { user: _, reason } => reason.clone(),
                    LoginFailure::LoopbackOnly { .. } => failure.to_string(),
                };
                self.attempts.record(attempt, Verdict::Failed { backend, reason: &reason });
                Err(failure)
            }
        }
    }

    /// Asks the links in turn.
    async fn in_turn(&self, attempt: &Arc<LoginAttempt>) -> Result<Identity, Refusal> {
        let (backend, parts) = self.first_success(attempt).await?;
        let name = parts.first().map_or_else(|| Name::clone(&attempt.name), |part| Name::clone(&part.logged_in.name));
        if self.loopback_only.contains(&name) && !attempt.peer.is_loopback() {
            return Err(Refusal { backend, failure: LoginFailure::LoopbackOnly { user: name }, blame: Blame::Client });
        }
        self.attempts.record(attempt, Verdict::Succeeded { user: &name, backend });
        Ok(Composed::identity(name, parts, self.asking.clone()))
    }

    /// Waits until a link may look at an attempt, which has waited for so long before: for the failures before it, and for
    /// those whom the link looks at now.
    async fn turn<'a>(
        &self,
        attempt: &LoginAttempt,
        permits: &'a Semaphore,
        waited: &mut Duration,
    ) -> Result<Option<SemaphorePermit<'a>>, Refusal> {
        // What has no secret cannot be guessed.
        if attempt.secret.is_none() {
            return Ok(permits.acquire().await.ok());
        }
        let (address, user) = (attempt.peer.address.ip(), &attempt.name);
        loop {
            while let Some(wait) = self.throttle.enter(address, user, *waited) {
                sleep(wait.duration).await;
                *waited += wait.duration;
                if wait.end() == Then::GiveUp {
                    let reason = "not looked at, as too many attempts from there wait";
                    return Err(Refusal { backend: "", failure: refused(attempt, reason), blame: Blame::Backends });
                }
            }
            let permit = permits.acquire().await.ok();
            // Those who came at the same time may have failed while this one waited for the back ends: all of them together would
            // be as many guesses for nothing.
            if self.throttle.due(address, user) <= *waited {
                return Ok(permit);
            }
        }
    }

    async fn first_success(&self, attempt: &Arc<LoginAttempt>) -> Result<(&'static str, Vec<Part>), Refusal> {
        let mut denials = Vec::new();
        let mut waited = Duration::ZERO;
        for (link, permits) in self.links.iter().zip(&self.permits) {
            let _permit = self.turn(attempt, permits, &mut waited).await?;
            match link.log_in(attempt).await {
                Ok(parts) => return Ok((link.authentication().name(), parts)),
                Err(denial) => denials.push(denial),
            }
        }
        Err(refusal(attempt, &denials))
    }
}

impl Link {
    fn authentication(&self) -> &Arc<dyn Backend> {
        match self {
            Self::Whole(backend) | Self::Split { authentication: backend, .. } => backend,
        }
    }

    fn is_quick(&self) -> bool {
        self.backends().all(|backend| backend.is_quick())
    }

    fn backends(&self) -> impl Iterator<Item = &Arc<dyn Backend>> {
        let others: &[Arc<dyn Backend>] = match self {
            Self::Whole(_) => &[],
            Self::Split { authorization, .. } => authorization,
        };
        std::iter::once(self.authentication()).chain(others)
    }

    async fn log_in(&self, attempt: &Arc<LoginAttempt>) -> Result<Vec<Part>, (&'static str, Denial)> {
        match self {
            Self::Whole(backend) => {
                let name = backend.name();
                let logged_in = backend.authenticate(attempt).await.map_err(|denial| (name, denial))?;
                Ok(vec![Part { backend: name, role: Role::Grant, logged_in }])
            }
            Self::Split { authentication, authorization } => {
                let name = authentication.name();
                let proof = authentication.authenticate(attempt).await.map_err(|denial| (name, denial))?;
                // The others know the user by the name that it has from now on.
                let attempt = if proof.name == attempt.name {
                    Arc::clone(attempt)
                } else {
                    Arc::new(LoginAttempt { name: Name::clone(&proof.name), ..LoginAttempt::clone(attempt) })
                };
                let tags = proof.tags.clone();
                let mut parts = vec![Part { backend: name, role: Role::Proof, logged_in: proof }];
                for backend in authorization {
                    let name = backend.name();
                    let logged_in = backend.authorize(&attempt, &tags).await.map_err(|denial| (name, denial))?;
                    parts.push(Part { backend: name, role: Role::Grant, logged_in });
                }
                Ok(parts)
            }
        }
    }
}

/// None of the links let somebody in. With several, the log says of each why.
fn refusal(attempt: &LoginAttempt, denials: &[(&'static str, Denial)]) -> Refusal {
    let backend = denials.last().map_or("", |(backend, _)| *backend);
    let is_guess = denials.iter().any(|(_, denial)| !matches!(denial, Denial::Failed(_)));
    let blame = if is_guess { Blame::Client } else { Blame::Backends };
    let failure = match denials {
        [] => refused(attempt, "there is no back end to ask"),
        [(_, Denial::LoopbackOnly)] => LoginFailure::LoopbackOnly { user: Name::clone(&attempt.name) },
        [(_, denial)] => refused(attempt, &denial.to_string()),
        _ => {
            let reasons: Vec<String> = denials.iter().map(|(backend, denial)| format!("{backend}: {denial}")).collect();
            refused(attempt, &reasons.join("; "))
        }
    };
    Refusal { backend, failure, blame }
}

fn refused(attempt: &LoginAttempt, reason: &str) -> LoginFailure {
    LoginFailure::Refused { user: Name::clone(&attempt.name), reason: reason.to_owned() }
}

/// As many at once as a semaphore can tell, and one at least.
pub(crate) fn at_once(number: usize) -> usize {
    number.clamp(1, Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests;
