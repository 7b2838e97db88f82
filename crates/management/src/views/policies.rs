//! Policies and runtime parameters.

use leveret_broker::topology::{Destination, Policy, PolicyKind, Vhost};
use leveret_broker::{Error, Name};

use super::{Row, View};

impl View<'_> {
    /// The policies of a vhost in the order of their names.
    pub fn policies(self, vhost: &str, kind: PolicyKind) -> Result<Vec<Row>, Error> {
        self.node.read(|topology| Ok(self.policy_rows(topology.vhost(vhost)?, kind)))
    }

    /// A policy.
    pub fn policy(self, vhost: &str, kind: PolicyKind, name: &str) -> Result<Row, Error> {
        self.node.read(|topology| {
            let vhost = topology.vhost(vhost)?;
            Ok(self.policy_row(vhost.name(), vhost.policy(kind, name)?))
        })
    }

    /// The policies of users that match a queue or an exchange. The first of them applies, and no other.
    pub fn policies_that_match(self, vhost: &str, object: &Destination) -> Result<Vec<Row>, Error> {
        self.node.read(|topology| {
            let vhost = topology.vhost(vhost)?;
            let policies = vhost.policies_that_match(PolicyKind::User, object)?;
            Ok(policies.into_iter().map(|policy| self.policy_row(vhost.name(), policy)).collect())
        })
    }

    fn policy_rows(self, vhost: &Vhost, kind: PolicyKind) -> Vec<Row> {
        let mut policies: Vec<&Policy> = vhost.policies(kind).collect();
        policies.sort_unstable_by(|one, two| one.name.cmp(&two.name));
        policies.into_iter().map(|policy| self.policy_row(vhost.name(), policy)).collect()
    }

    fn policy_row(self, vhost: &Name, policy: &Policy) -> Row {
        let mut row = self.row();
        row.add("vhost", || vhost.to_string())
            .add("name", || policy.name.to_string())
            .add("pattern", || policy.pattern.to_string())
            .add("apply-to", || policy.apply_to.as_str())
            .add("definition", || self.definition(&policy.definition))
            .add("priority", || policy.priority);
        row.row
    }

    /// The runtime parameters of a vhost in the order of components and names. Policies are not among them.
    pub fn parameters(self, vhost: &str) -> Result<Vec<Row>, Error> {
        self.node.read(|topology| {
            let vhost = topology.vhost(vhost)?;
            let rows = vhost.parameters().map(|parameter| {
                let mut row = self.row();
                row.add("vhost", || vhost.name().to_string())
                    .add("component", || parameter.component.to_string())
                    .add("name", || parameter.name.to_string())
                    .add("value", || self.parameter(parameter.value));
                row.row
            });
            Ok(rows.collect())
        })
    }

    /// The parameters of all of the broker in the order of their names.
    pub fn global_parameters(self) -> Vec<Row> {
        self.node.read(|topology| {
            let rows = topology.global_parameters().map(|(name, value)| {
                let mut row = self.row();
                row.add("name", || name.to_string()).add("value", || self.parameter(value));
                row.row
            });
            rows.collect()
        })
    }
}
