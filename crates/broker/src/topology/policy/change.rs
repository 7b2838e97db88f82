//! Setting and clearing policies, and finding what that changes.

use std::sync::Arc;

use super::applied::AppliedPolicies;
use super::policies::{Compiled, Policies};
use super::{Policy, PolicyKind, Subject};
use crate::queue::QueueSettings;
use crate::topology::{Applied, Destination, QueueId, Record, Vhost};
use crate::{Error, Name};

/// What a change of policies changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reconfigured {
    /// Queues and the settings they have now, in the order of their ids.
    pub queues: Vec<(QueueId, QueueSettings)>,
    /// Whether messages may go other ways.
    pub routes: bool,
}

/// What became of the policies of a vhost.
enum Turn<'a> {
    /// One is new, or takes the place of the one with its name.
    Set(&'a Arc<Compiled>),
    /// The one of that kind and name is gone.
    Cleared(PolicyKind, &'a Name),
}

impl Turn<'_> {
    fn kind(&self) -> PolicyKind {
        match self {
            Self::Set(compiled) => compiled.kind,
            Self::Cleared(kind, _) => *kind,
        }
    }

    fn name(&self) -> &Name {
        match self {
            Self::Set(compiled) => &compiled.policy.name,
            Self::Cleared(_, name) => name,
        }
    }

    /// What applies now, if that is not what applied before.
    #[expect(clippy::option_option, reason = "whether it changed, and to what")]
    fn now(
        &self,
        policies: &mut Policies,
        subject: Subject,
        name: &str,
        before: Option<&Arc<AppliedPolicies>>,
    ) -> Option<Option<Arc<AppliedPolicies>>> {
        let kind = self.kind();
        let current = before.and_then(|before| before.of_kind(kind));
        let winner = match (current, self) {
            // What applied has changed or is gone, so any other one may come into its place.
            (Some(current), _) if current.policy.name == *self.name() => {
                policies.find(kind, subject, name).map(Arc::clone)
            }
            (Some(current), Self::Set(compiled)) if current.outranks(compiled) => return None,
            (_, Self::Set(compiled)) if compiled.matches(subject, name) => Some(Arc::clone(compiled)),
            (_, Self::Set(_) | Self::Cleared(..)) => return None,
        };
        let other = |kind| before.and_then(|before| before.of_kind(kind)).map(Arc::clone);
        Some(match kind {
            PolicyKind::User => policies.pair(winner, other(PolicyKind::Operator)),
            PolicyKind::Operator => policies.pair(other(PolicyKind::User), winner),
        })
    }
}

impl Vhost {
    /// The policies of a kind, the one that wins first.
    pub fn policies(&self, kind: PolicyKind) -> impl ExactSizeIterator<Item = &Policy> {
        self.policies.list(kind)
    }

    /// The policy of that name.
    pub fn policy(&self, kind: PolicyKind, name: &str) -> Result<&Policy, Error> {
        self.policies.get(kind, name).ok_or(Error::ParameterNotFound)
    }

    /// All policies of a kind that match a queue or an exchange that is there. The first of them applies, and no other.
    pub fn policies_that_match(&self, kind: PolicyKind, object: &Destination) -> Result<Vec<&Policy>, Error> {
        let (subject, name) = match object {
            Destination::Queue(name) => (Subject::Queue(self.any_queue(name)?.kind()), name),
            Destination::Exchange(name) => (Subject::Exchange, self.exchange(name)?.name()),
        };
        Ok(self.policies.all_matching(kind, subject, name).collect())
    }

    pub(in crate::topology) fn set_policy(&mut self, kind: PolicyKind, policy: Policy) -> Result<Applied, Error> {
        if self.policies.get(kind, &policy.name) == Some(&policy) {
            return Ok(Applied::Unchanged);
        }
        let compiled = self.policies.set(kind, policy.clone())?;
        self.records.push(Record::PolicySet { vhost: Name::clone(&self.name), kind, policy });
        Ok(Applied::Reconfigured(self.reconfigure(&Turn::Set(&compiled))))
    }

    pub(in crate::topology) fn clear_policy(&mut self, kind: PolicyKind, name: Name) -> Result<Applied, Error> {
        if !self.policies.remove(kind, &name) {
            return Err(Error::ParameterNotFound);
        }
        let reconfigured = self.reconfigure(&Turn::Cleared(kind, &name));
        self.records.push(Record::PolicyCleared { vhost: Name::clone(&self.name), kind, name });
        Ok(Applied::Reconfigured(reconfigured))
    }

    fn reconfigure(&mut self, turn: &Turn<'_>) -> Reconfigured {
        let mut reconfigured = Reconfigured::default();
        for queue in self.queues.values_mut() {
            let subject = Subject::Queue(queue.kind());
            let Some(now) = turn.now(&mut self.policies, subject, &queue.name, queue.policies.as_ref()) else {
                continue;
            };
            let before = queue.settings();
            queue.policies = now;
            let settings = queue.settings();
            if settings != before {
                reconfigured.queues.push((queue.id, settings));
            }
        }
        // Maps have no order to rely on, and what a change did must be the same everywhere.
        reconfigured.queues.sort_unstable_by_key(|(id, _)| *id);
        for exchange in self.exchanges.values_mut() {
            let before = exchange.policies();
            let now = turn.now(&mut self.policies, Subject::Exchange, exchange.name(), before);
            if let Some(now) = now {
                reconfigured.routes |= exchange.set_policies(now);
            }
        }
        reconfigured
    }
}
