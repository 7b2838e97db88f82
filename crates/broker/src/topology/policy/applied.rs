//! What applies to a queue or an exchange.

use std::sync::Arc;

use super::policies::Compiled;
use super::{Policy, PolicyKind, definition};
use crate::Name;
use crate::value::{Table, Value};

/// The policies that apply to a queue or an exchange, one at most of each kind and one at least of both, and what they come
/// to. All queues with the same policies share it.
#[derive(Debug)]
pub struct AppliedPolicies {
    user: Option<Arc<Compiled>>,
    operator: Option<Arc<Compiled>>,
    definition: Table,
}

impl AppliedPolicies {
    pub(super) fn new(user: Option<Arc<Compiled>>, operator: Option<Arc<Compiled>>) -> Self {
        let of = |compiled: &Option<Arc<Compiled>>| compiled.as_ref().map(|one| one.policy.definition.clone());
        let definition = definition::merge(of(&user).as_ref(), of(&operator).as_ref());
        Self { user, operator, definition }
    }

    /// The name of the policy.
    pub fn policy(&self) -> Option<&Name> {
        self.user.as_ref().map(|compiled| &compiled.policy.name)
    }

    /// The name of the operator policy.
    pub fn operator_policy(&self) -> Option<&Name> {
        self.operator.as_ref().map(|compiled| &compiled.policy.name)
    }

    /// What both come to, in the order of the keys.
    pub const fn definition(&self) -> &Table {
        &self.definition
    }

    /// The value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.definition.find(key)
    }

    /// The policy of that kind.
    pub(in crate::topology) fn policy_of(&self, kind: PolicyKind) -> Option<&Policy> {
        self.of_kind(kind).map(|compiled| &compiled.policy)
    }

    pub(super) const fn of_kind(&self, kind: PolicyKind) -> Option<&Arc<Compiled>> {
        match kind {
            PolicyKind::User => self.user.as_ref(),
            PolicyKind::Operator => self.operator.as_ref(),
        }
    }

    /// Whether the policy of that name is among them.
    pub(super) fn has(&self, kind: PolicyKind, name: &str) -> bool {
        self.of_kind(kind).is_some_and(|compiled| *compiled.policy.name == *name)
    }
}
