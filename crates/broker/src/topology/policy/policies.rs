//! The policies of a vhost, and which of them apply to what.

use std::cmp::Reverse;
use std::sync::Arc;

use super::applied::AppliedPolicies;
use super::pattern::Pattern;
use super::{Policy, PolicyKind, Subject, ValidationError, definition};
use crate::Name;
use crate::hash::Map;
use crate::queue::QueueKind;

/// A policy that was checked.
#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) kind: PolicyKind,
    pub(super) policy: Policy,
    pattern: Pattern,
    /// Whether its keys make sense for classic and for quorum queues.
    suits: [bool; 2],
}

/// All policies of a vhost.
#[derive(Clone, Debug, Default)]
pub(in crate::topology) struct Policies {
    /// The one that wins first.
    user: Vec<Arc<Compiled>>,
    operator: Vec<Arc<Compiled>>,
    /// What a pair of policies comes to, for all the queues it applies to.
    applied: Map<[Option<Name>; 2], Arc<AppliedPolicies>>,
}

impl Compiled {
    fn new(kind: PolicyKind, policy: Policy) -> Result<Self, ValidationError> {
        let pattern = Pattern::compile(&policy.pattern)?;
        definition::check(kind, &policy.definition)?;
        let suits = [QueueKind::Classic, QueueKind::Quorum].map(|queue| definition::suits(&policy.definition, queue));
        Ok(Self { kind, policy, pattern, suits })
    }

    /// What policies are sorted by.
    fn rank(&self) -> (Reverse<i64>, &Name) {
        (Reverse(self.policy.priority), &self.policy.name)
    }

    pub(super) fn outranks(&self, other: &Self) -> bool {
        self.rank() < other.rank()
    }

    /// Whether it applies, unless another one does that wins over it.
    pub(super) fn matches(&self, subject: Subject, name: &str) -> bool {
        let [classic, quorum] = self.suits;
        let is_suitable = match subject {
            // Operators set limits of queues; an exchange has none.
            Subject::Exchange => self.kind == PolicyKind::User,
            Subject::Queue(QueueKind::Classic) => classic,
            Subject::Queue(QueueKind::Quorum) => quorum,
        };
        is_suitable && self.policy.apply_to.covers(subject) && self.pattern.matches(name)
    }
}

impl Policies {
    /// The policies of a kind, the one that wins first.
    pub(in crate::topology) fn list(&self, kind: PolicyKind) -> impl ExactSizeIterator<Item = &Policy> {
        self.of_kind(kind).iter().map(|compiled| &compiled.policy)
    }

    /// The policy of that name.
    pub(in crate::topology) fn get(&self, kind: PolicyKind, name: &str) -> Option<&Policy> {
        self.list(kind).find(|policy| *policy.name == *name)
    }

    fn of_kind(&self, kind: PolicyKind) -> &[Arc<Compiled>] {
        match kind {
            PolicyKind::User => &self.user,
            PolicyKind::Operator => &self.operator,
        }
    }

    /// Puts a policy in the place of the one with its name, which is no longer there afterwards.
    pub(super) fn set(&mut self, kind: PolicyKind, policy: Policy) -> Result<Arc<Compiled>, ValidationError> {
        let compiled = Arc::new(Compiled::new(kind, policy)?);
        self.remove(kind, &compiled.policy.name);
        let list = match kind {
            PolicyKind::User => &mut self.user,
            PolicyKind::Operator => &mut self.operator,
        };
        let at = list.partition_point(|other| other.outranks(&compiled));
        list.insert(at, Arc::clone(&compiled));
        Ok(compiled)
    }

    /// Takes a policy away; says whether it was there.
    pub(super) fn remove(&mut self, kind: PolicyKind, name: &str) -> bool {
        let list = match kind {
            PolicyKind::User => &mut self.user,
            PolicyKind::Operator => &mut self.operator,
        };
        let before = list.len();
        list.retain(|compiled| *compiled.policy.name != *name);
        self.applied.retain(|_, applied| !applied.has(kind, name));
        list.len() < before
    }

    /// The policy of a kind that wins.
    pub(super) fn find(&self, kind: PolicyKind, subject: Subject, name: &str) -> Option<&Arc<Compiled>> {
        self.of_kind(kind).iter().find(|compiled| compiled.matches(subject, name))
    }

    /// All policies of a kind that match, the one that wins first.
    pub(super) fn all_matching(&self, kind: PolicyKind, subject: Subject, name: &str) -> impl Iterator<Item = &Policy> {
        let matching = self.of_kind(kind).iter().filter(move |compiled| compiled.matches(subject, name));
        matching.map(|compiled| &compiled.policy)
    }

    /// What applies to a queue or an exchange.
    pub(in crate::topology) fn matching(&mut self, subject: Subject, name: &str) -> Option<Arc<AppliedPolicies>> {
        let user = self.find(PolicyKind::User, subject, name).map(Arc::clone);
        let operator = self.find(PolicyKind::Operator, subject, name).map(Arc::clone);
        self.pair(user, operator)
    }

    /// The policy that wins, found by looking at all of them.
    pub(in crate::topology) fn expected(&self, kind: PolicyKind, subject: Subject, name: &str) -> Option<&Policy> {
        let matching = self.of_kind(kind).iter().filter(|compiled| compiled.matches(subject, name));
        let policies = matching.map(|compiled| &compiled.policy);
        policies.min_by(|one, two| two.priority.cmp(&one.priority).then_with(|| one.name.cmp(&two.name)))
    }

    /// What two policies come to.
    pub(super) fn pair(
        &mut self,
        user: Option<Arc<Compiled>>,
        operator: Option<Arc<Compiled>>,
    ) -> Option<Arc<AppliedPolicies>> {
        if user.is_none() && operator.is_none() {
            return None;
        }
        let name = |compiled: &Option<Arc<Compiled>>| compiled.as_ref().map(|one| Name::clone(&one.policy.name));
        let key = [name(&user), name(&operator)];
        let applied = self.applied.entry(key).or_insert_with(|| Arc::new(AppliedPolicies::new(user, operator)));
        Some(Arc::clone(applied))
    }
}
