//! Who gets in: the users of the node.

use std::sync::Arc;

use leveret_auth::hash;
use leveret_broker::access::{
    Authenticator, Identity, InternalAuthority, LoginAttempt, LoginFailure, PasswordHash, Reply, Secret,
};
use leveret_broker::node::Node;

/// The user that may log in from this machine only.
const LOOPBACK_USER: &str = "guest";

/// Checks names and passwords against the users of the node.
#[derive(Debug)]
pub(crate) struct NodeUsers(Arc<Node>);

impl NodeUsers {
    pub(crate) fn new(node: &Arc<Node>) -> Self {
        Self(Arc::clone(node))
    }
}

impl Authenticator for NodeUsers {
    fn log_in(&self, attempt: LoginAttempt, _reply: Reply) -> Option<Result<Identity, LoginFailure>> {
        let LoginAttempt { name: user, secret, peer, .. } = attempt;
        let password = self.0.read(|topology| topology.user(&user).map(|user| user.password().clone()));
        let fits = password.is_ok_and(|hash| secret.is_none_or(|secret| hash::verify(&hash, &secret)));
        let Some(identity) = InternalAuthority::identity(&self.0, &user).filter(|_| fits) else {
            return Some(Err(LoginFailure::Refused { user, reason: "invalid credentials".into() }));
        };
        if &*user == LOOPBACK_USER && !peer.is_loopback() {
            return Some(Err(LoginFailure::LoopbackOnly { user }));
        }
        Some(Ok(identity))
    }
}

/// The password of a new node's guest.
pub(crate) fn default_password() -> PasswordHash {
    let hashed = hash::Hashing::default().hash(&Secret::new(b"guest"));
    hashed.unwrap_or_else(|error| {
        tracing::error!("the default user has no password: {error}");
        PasswordHash::none()
    })
}
