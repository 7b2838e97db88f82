//! Who logs in, and what it may do: the questions, and the answers of whoever is asked.
//!
//! A session asks an [`Authenticator`] to log its client in and gets an [`Identity`], whose [`Authority`] it asks before it does
//! what the client wants. Either may answer at once or, if it has to ask somebody else in turn, later, by [`Reply`].

mod authority;
mod internal;
mod password;
mod pattern;
mod peer;
mod permissions;
mod question;
mod secret;

pub use authority::{
    Authenticator, Authority, Identity, LoginAttempt, LoginFailure, Outcome, RenewalFailure, Reply, tags,
};
pub use internal::InternalAuthority;
pub use password::{HashingAlgorithm, PasswordHash};
pub use pattern::{Pattern, PatternError, Variable};
pub use peer::{Peer, PeerCertificate, TlsPeer};
pub use permissions::{Permissions, TopicPermissions};
pub use question::{Answer, Permission, Question, Reason};
pub use secret::Secret;
