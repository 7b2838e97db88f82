//! The users of the node itself, as an authority: for nodes that ask nobody else, as in tests and measurements.

use std::sync::Arc;

use super::{Answer, Authority, Identity, Question, RenewalFailure, Reply, Secret};
use crate::Name;
use crate::node::Node;

/// Answers from what the node knows of a user, and so always at once.
#[derive(Debug)]
pub struct InternalAuthority {
    node: Arc<Node>,
    user: Name,
}

impl InternalAuthority {
    /// The identity of a user of the node whose secret was found right; `None` if there is no such user (any more).
    pub fn identity(node: &Arc<Node>, user: &str) -> Option<Identity> {
        let (name, tags) = node.read(|topology| {
            let user = topology.user(user).ok()?;
            Some((Name::clone(user.name()), Arc::clone(user.tags())))
        })?;
        let authority = Arc::new(Self { node: Arc::clone(node), user: Name::clone(&name) });
        Some(Identity { name, tags, expires: None, authority })
    }
}

impl Authority for InternalAuthority {
    fn ask(&self, question: &Question, _reply: Reply) -> Option<Answer> {
        Some(self.node.read(|topology| topology.answer(&self.user, question)))
    }

    /// Passwords do not expire, so that any secret will do for one that holds for ever.
    fn renew(&self, _secret: Secret, _reply: Reply) -> Option<Result<Identity, RenewalFailure>> {
        Some(Self::identity(&self.node, &self.user).ok_or(RenewalFailure::Refused))
    }
}
