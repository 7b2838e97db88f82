//! What a back end is: it says whether somebody is who it claims to be, and what it may do.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use leveret_broker::Name;
use leveret_broker::access::{Answer, LoginAttempt, Question, Secret};
use leveret_broker::clock::Timestamp;

/// An answer that takes a while. It is polled on a runtime of the control plane, where it may use tokio's I/O and timers;
/// what computes for long goes to `spawn_blocking`.
pub type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A back end: a list of users, or somebody who has one.
pub trait Backend: fmt::Debug + Send + Sync {
    /// The name of RabbitMQ's module, which error texts and logs show: `rabbit_auth_backend_http`.
    fn name(&self) -> &'static str;

    /// Whether what it gives may be polled where others wait: whatever takes more than microseconds is left to other threads.
    fn is_quick(&self) -> bool {
        false
    }

    /// Checks who somebody is.
    fn authenticate(&self, attempt: &Arc<LoginAttempt>) -> Pending<Result<LoggedIn, Denial>>;

    /// Gets ready to say what somebody may do whom another back end let in, under the name that the attempt has and with these
    /// tags. It gives the tags that this one adds; those that it would give to who logs in by it are none of these.
    fn authorize(&self, attempt: &Arc<LoginAttempt>, tags: &[Name]) -> Pending<Result<LoggedIn, Denial>>;

    /// Forgets the answers it remembers, if it does remember any.
    fn forget(&self) {}
}

/// Somebody whom a back end let in.
#[derive(Debug, Clone)]
pub struct LoggedIn {
    /// The user's name, which may be another one than was asked for.
    pub name: Name,
    /// Its tags.
    pub tags: Vec<Name>,
    /// Until when what proved it holds; `None` for ever.
    pub expires: Option<Timestamp>,
    /// What it may do.
    pub grant: Arc<dyn Grant>,
}

/// Why a back end did not let somebody in. The text is for the log and has nothing in it that is secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// It does not know the user, or the secret is wrong.
    #[error("{0}")]
    Refused(String),
    /// The user may log in from this machine only.
    #[error("user can only connect via localhost")]
    LoopbackOnly,
    /// It could not say: it is out of reach, or answers nonsense.
    #[error("{0}")]
    Failed(String),
}

/// What a user may do, as far as one back end is concerned.
pub trait Grant: fmt::Debug + Send + Sync {
    /// Answers a question.
    fn check(&self, question: &Question) -> Checked;

    /// Takes a new secret for the one that the user logged in with. Back ends whose secrets do not expire have no use for it.
    fn renew(&self, secret: &Secret) -> Renewal {
        let _ = secret;
        Renewal::NoNeed
    }

    /// How long an answer holds without anybody saying that something changed, in milliseconds; `None` for ever.
    fn answers_expire_after_ms(&self) -> Option<u64> {
        None
    }
}

/// The answer of a grant.
pub enum Checked {
    /// It is known.
    Now(Answer),
    /// Somebody has to be asked.
    Later(Pending<Answer>),
}

/// What a grant does with a new secret.
pub enum Renewal {
    /// It needs none.
    NoNeed,
    /// It looks at it.
    Later(Pending<Result<LoggedIn, Denial>>),
}
