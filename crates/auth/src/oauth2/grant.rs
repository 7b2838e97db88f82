//! What the user of a token may do. Everything is known when it logs in, so answers come at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use leveret_broker::Name;
use leveret_broker::access::{Answer, Permission, Question, Reason, Secret};

use super::claims::{Claims, OutOfTime};
use super::pattern::{Meaningless, Pattern};
use super::{NAME, Tokens, unix_seconds};
use crate::backend::{Checked, Grant, Renewal};

/// What tags begin with.
const TAG: &str = "tag:";

/// A scope that allows something.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Scope {
    permission: Permission,
    vhost: Pattern,
    name: Pattern,
    /// Scopes without one have nothing to say about topics.
    routing_key: Option<Pattern>,
}

/// What scopes come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Rights {
    scopes: Vec<Scope>,
    pub(super) tags: Vec<Name>,
}

/// The rights of a user, for as long as its token holds.
pub(super) struct TokenGrant {
    pub(super) tokens: Arc<Tokens>,
    pub(super) rights: Rights,
    /// Claims that may have the user's name, to compare a new token with.
    pub(super) names: BTreeMap<String, String>,
    /// Seconds since 1970; `None` for ever.
    pub(super) expires: Option<i64>,
}

impl Rights {
    /// Reads scopes. Those that mean nothing here are passed over.
    pub(super) fn parse(scopes: &BTreeSet<String>, claims: &Claims) -> Self {
        Self {
            scopes: scopes.iter().filter_map(|scope| Scope::parse(scope, claims).ok().flatten()).collect(),
            tags: scopes
                .iter()
                .filter_map(|scope| scope.strip_prefix(TAG))
                .filter(|tag| !tag.is_empty())
                .map(Name::from)
                .collect(),
        }
    }

    fn allow(&self, question: &Question) -> bool {
        let vhost = question.vhost();
        self.scopes.iter().filter(|scope| scope.vhost.matches(vhost, vhost)).any(|scope| match question {
            Question::Vhost { .. } => true,
            Question::Resource { resource, permission } => scope.is_for(*permission, &resource.name, vhost),
            Question::Topic { exchange, routing_key, permission } => {
                scope.is_for(*permission, &exchange.name, vhost)
                    && scope.routing_key.as_ref().is_some_and(|pattern| pattern.matches(routing_key, vhost))
            }
        })
    }
}

impl Scope {
    /// Reads `PERMISSION:VHOST/NAME`, or with `/ROUTING_KEY` behind it; gives nothing if it is something else.
    fn parse(scope: &str, claims: &Claims) -> Result<Option<Self>, Meaningless> {
        let Some((permission, patterns)) = scope.split_once(':') else { return Ok(None) };
        let Some(permission) = Permission::ALL.into_iter().find(|known| known.as_str() == permission) else {
            return Ok(None);
        };
        let mut patterns = patterns.split('/');
        let mut next = || patterns.next();
        let (Some(vhost), Some(name), routing_key, None) = (next(), next(), next(), next()) else { return Ok(None) };
        Ok(Some(Self {
            permission,
            vhost: Pattern::parse(vhost, claims)?,
            name: Pattern::parse(name, claims)?,
            routing_key: routing_key.map(|pattern| Pattern::parse(pattern, claims)).transpose()?,
        }))
    }

    fn is_for(&self, permission: Permission, name: &Name, vhost: &Name) -> bool {
        self.permission == permission && self.name.matches(name, vhost)
    }
}

impl TokenGrant {
    fn check_at(&self, question: &Question, now: i64) -> Answer {
        match self.expires {
            Some(expired) if expired <= now => {
                Answer::Failed(Reason { backend: NAME, text: OutOfTime::Expired { expired, now }.to_string().into() })
            }
            Some(_) | None => Answer::of(self.rights.allow(question)),
        }
    }
}

impl Grant for TokenGrant {
    fn check(&self, question: &Question) -> Checked {
        Checked::Now(self.check_at(question, unix_seconds()))
    }

    fn renew(&self, secret: &Secret) -> Renewal {
        let (tokens, secret, names) = (Arc::clone(&self.tokens), secret.clone(), self.names.clone());
        Renewal::Later(Box::pin(async move { tokens.renew(&secret, &names).await }))
    }
}

impl fmt::Debug for TokenGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenGrant").field("expires", &self.expires).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
