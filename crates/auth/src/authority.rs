//! What several back ends together say about a user.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use leveret_broker::Name;
use leveret_broker::access::{Answer, Authority, Identity, Outcome, Question, Reason, RenewalFailure, Reply, Secret};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::backend::{Checked, Denial, LoggedIn, Pending, Renewal};
use crate::promise::Promise;

/// What a back end is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// It said who the user is; others say what it may do.
    Proof,
    /// It says what the user may do.
    Grant,
}

/// What one back end said of a user.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) backend: &'static str,
    pub(crate) role: Role,
    pub(crate) logged_in: LoggedIn,
}

/// What it takes to ask back ends.
#[derive(Clone)]
pub(crate) struct Asking {
    pub(crate) runtime: Handle,
    /// How long a back end may take.
    pub(crate) patience: Duration,
    /// How many questions are asked at the same time.
    pub(crate) permits: Arc<Semaphore>,
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// A user may do what all of its grants allow.
#[derive(Debug, Clone)]
pub(crate) struct Composed {
    name: Name,
    parts: Arc<[Part]>,
    asking: Asking,
}

impl Composed {
    /// Makes an identity of what back ends said; `name` is the user's from now on.
    pub(crate) fn identity(name: Name, parts: Vec<Part>, asking: Asking) -> Identity {
        let mut tags: Vec<Name> = Vec::new();
        for tag in parts.iter().flat_map(|part| &part.logged_in.tags) {
            if !tags.contains(tag) {
                tags.push(Name::clone(tag));
            }
        }
        Identity {
            name: Name::clone(&name),
            tags: tags.into(),
            // Also what only proved who the user is counts: a connection does not outlive it.
            expires: parts.iter().filter_map(|part| part.logged_in.expires).min(),
            authority: Arc::new(Self { name, parts: parts.into(), asking }),
        }
    }

    fn grants(parts: &[Part]) -> impl Iterator<Item = (usize, &Part)> {
        parts.iter().enumerate().filter(|(_, part)| part.role == Role::Grant)
    }

    fn ask_later(&self, question: &Question, from: usize, first: Pending<Answer>, reply: Reply) {
        let backend = self.parts.get(from).map_or("", |part| part.backend);
        let promise = {
            let question = question.clone();
            Promise::new(reply, move || Outcome::Answered(question, failed(backend, "it gave up")))
        };
        let (parts, asking, question) = (Arc::clone(&self.parts), self.asking.clone(), question.clone());
        self.asking.runtime.spawn(async move {
            let asked = async {
                let _permit = asking.permits.acquire().await;
                ask_all(&parts, &question, from, first).await
            };
            let answer = match timeout(asking.patience, asked).await {
                Ok(answer) => answer,
                Err(_) => failed(backend, "timeout"),
            };
            if let Answer::Failed(Reason { backend, text }) = &answer {
                tracing::warn!(target: "authentication", backend, "an access check failed: {text}");
            }
            promise.keep(Outcome::Answered(question, answer));
        });
    }
}

impl Authority for Composed {
    fn ask(&self, question: &Question, reply: Reply) -> Option<Answer> {
        let mut answer = Answer::REFUSED;
        for (index, part) in Self::grants(&self.parts) {
            answer = match part.logged_in.grant.check(question) {
                Checked::Now(answer) => answer,
                Checked::Later(pending) => {
                    self.ask_later(question, index, pending, reply);
                    return None;
                }
            };
            if !answer.is_allowed() {
                break;
            }
        }
        Some(answer)
    }

    fn renew(&self, secret: Secret, reply: Reply) -> Option<Result<Identity, RenewalFailure>> {
        let renewals: Vec<Renewal> = self.parts.iter().map(|part| part.logged_in.grant.renew(&secret)).collect();
        if renewals.iter().all(|renewal| matches!(renewal, Renewal::NoNeed)) {
            return Some(Ok(Self::identity(Name::clone(&self.name), self.parts.to_vec(), self.asking.clone())));
        }
        let promise = Promise::new(reply, || Outcome::Renewed(Err(RenewalFailure::Failed)));
        let this = self.clone();
        self.asking.runtime.spawn(async move {
            let asked = async {
                let _permit = this.asking.permits.acquire().await;
                renew_all(&this, renewals).await
            };
            let renewed = timeout(this.asking.patience, asked).await.unwrap_or_else(|_| {
                tracing::warn!(target: "authentication", user = &*this.name, "no back end answers to a new secret");
                Err(RenewalFailure::Failed)
            });
            let parts = renewed.map(|parts| Self::identity(this.name, parts, this.asking));
            promise.keep(Outcome::Renewed(parts));
        });
        None
    }

    fn answers_expire_after_ms(&self) -> Option<u64> {
        Self::grants(&self.parts).filter_map(|(_, part)| part.logged_in.grant.answers_expire_after_ms()).min()
    }
}

async fn ask_all(parts: &[Part], question: &Question, from: usize, first: Pending<Answer>) -> Answer {
    let mut answer = first.await;
    for (_, part) in Composed::grants(parts).filter(|(index, _)| *index > from) {
        if !answer.is_allowed() {
            break;
        }
        answer = match part.logged_in.grant.check(question) {
            Checked::Now(answer) => answer,
            Checked::Later(pending) => pending.await,
        };
    }
    answer
}

async fn renew_all(this: &Composed, renewals: Vec<Renewal>) -> Result<Vec<Part>, RenewalFailure> {
    let is_split = this.parts.iter().any(|part| part.role == Role::Proof);
    let mut parts = Vec::with_capacity(renewals.len());
    for (part, renewal) in this.parts.iter().zip(renewals) {
        let (backend, role) = (part.backend, part.role);
        let mut logged_in = match renewal {
            Renewal::NoNeed => part.logged_in.clone(),
            Renewal::Later(pending) => pending.await.map_err(|denial| {
                tracing::warn!(target: "authentication", user = &*this.name, backend, "new secret refused: {denial}");
                match denial {
                    Denial::Refused(_) | Denial::LoopbackOnly => RenewalFailure::Refused,
                    Denial::Failed(_) => RenewalFailure::Failed,
                }
            })?,
        };
        // A connection is one user's for as long as it lives.
        if logged_in.name != part.logged_in.name {
            let other = &*logged_in.name;
            tracing::warn!(target: "authentication", user = &*this.name, backend, other, "new secret is another user's");
            return Err(RenewalFailure::Refused);
        }
        // Who only says what a user may do has its say about tags when the user logs in.
        if is_split && role == Role::Grant {
            logged_in.tags.clone_from(&part.logged_in.tags);
        }
        parts.push(Part { backend, role, logged_in });
    }
    Ok(parts)
}

fn failed(backend: &'static str, text: &str) -> Answer {
    Answer::Failed(Reason { backend, text: text.into() })
}

#[cfg(test)]
mod tests;
