//! Who is asked: to log a client in, and what it may do then.

use std::fmt;
use std::sync::Arc;

use super::{Answer, Peer, Question, Secret};
use crate::Name;
use crate::clock::Timestamp;
use crate::mailbox::{Event, Mailbox};

/// Tags of users that mean something to the broker; there may be others.
pub mod tags {
    /// May do everything that the management of the broker offers.
    pub const ADMINISTRATOR: &str = "administrator";
    /// May publish in the name of others.
    pub const IMPERSONATOR: &str = "impersonator";
}

/// Somebody who wants in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginAttempt {
    /// As whom.
    pub name: Name,
    /// What is to prove it; `None` if something else did, such as a certificate.
    pub secret: Option<Secret>,
    /// From where.
    pub peer: Peer,
    /// The SASL mechanism, such as `PLAIN`.
    pub mechanism: &'static str,
    /// The protocol, for counts and logs: `amqp091`.
    pub protocol: &'static str,
}

/// Somebody who got in.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The user's name, which may be another one than was asked for.
    pub name: Name,
    /// Its tags, see [`tags`].
    pub tags: Arc<[Name]>,
    /// Until when what proved it holds; `None` for ever.
    pub expires: Option<Timestamp>,
    /// Who says what it may do.
    pub authority: Arc<dyn Authority>,
}

impl Identity {
    /// Whether the user has this tag.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.tags.iter().any(|known| &**known == tag)
    }
}

/// Why somebody did not get in. Peers are told no more than that; the log may have all of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoginFailure {
    /// No such user, or another password, or whatever a back end says.
    #[error("user '{user}' - {reason}")]
    Refused {
        /// As whom it was tried.
        user: Name,
        /// Why not.
        reason: String,
    },
    /// The user may log in from this machine only.
    #[error("user '{user}' can only connect via localhost")]
    LoopbackOnly {
        /// As whom it was tried.
        user: Name,
    },
}

/// Why a new secret was not taken for the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RenewalFailure {
    /// A back end does not want it.
    #[error("New secret was refused by one of the backends")]
    Refused,
    /// A back end could not say.
    #[error("Secret update failed")]
    Failed,
}

/// Checks credentials. Called on a thread that serves connections, so nothing here may wait or compute for long.
pub trait Authenticator: fmt::Debug + Send + Sync {
    /// Logs somebody in: at once, or by [`Outcome::LoggedIn`] later, if it gives `None`.
    fn log_in(&self, attempt: LoginAttempt, reply: Reply) -> Option<Result<Identity, LoginFailure>>;
}

/// Says what a user may do. Called on a thread that serves connections, so nothing here may wait or compute for long.
pub trait Authority: fmt::Debug + Send + Sync {
    /// Answers a question: at once, or by [`Outcome::Answered`] later, if it gives `None`.
    fn ask(&self, question: &Question, reply: Reply) -> Option<Answer>;

    /// Takes a new secret for the one that the user logged in with: at once, or by [`Outcome::Renewed`] later, if it gives
    /// `None`.
    fn renew(&self, secret: Secret, reply: Reply) -> Option<Result<Identity, RenewalFailure>>;

    /// How long an answer holds without anybody saying that something changed, in milliseconds; `None` for ever.
    fn answers_expire_after_ms(&self) -> Option<u64> {
        None
    }
}

/// What comes later.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Of [`Authenticator::log_in`].
    LoggedIn(Result<Identity, LoginFailure>),
    /// Of [`Authority::ask`].
    Answered(Question, Answer),
    /// Of [`Authority::renew`].
    Renewed(Result<Identity, RenewalFailure>),
}

/// Where what comes later is to go.
#[derive(Debug)]
pub struct Reply {
    mailbox: Arc<Mailbox>,
    /// Told apart from other requests of the connection by this.
    ticket: u64,
}

impl Reply {
    /// A reply to the request with this number, of the connection with this mailbox.
    pub const fn new(mailbox: Arc<Mailbox>, ticket: u64) -> Self {
        Self { mailbox, ticket }
    }

    /// Sends it; no lock may be held.
    pub fn send(self, outcome: Outcome) {
        let waker = self.mailbox.post(Event::Access { ticket: self.ticket, outcome: Box::new(outcome) });
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
