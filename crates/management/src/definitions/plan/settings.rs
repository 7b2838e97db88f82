//! Policies and parameters.

use leveret_broker::topology::{Change, Policy, PolicyKind, ValidationError};
use leveret_broker::value::{Table, Value};
use leveret_broker::{Error, Name};

use super::{Planner, Stop, alike, change, changes, refused};
use crate::definitions::report::Kind;
use crate::definitions::sections::{At, GlobalParameter, Parameter, PolicyDefinition};

/// Settings of plug-ins of RabbitMQ that have nothing of their kind here.
const FOREIGN_SETTINGS: [&str; 5] =
    ["federation-upstream", "federation-upstream-pattern", "federation-upstream-set", "routing-key", "shards-per-node"];
/// Components of plug-ins whose parameters are kept.
const IDLE_COMPONENTS: [&str; 3] = ["federation-upstream", "federation-upstream-set", "shovel"];

impl Planner<'_, '_> {
    pub(super) fn global_parameter(&mut self, at: At, item: &GlobalParameter) -> Result<(), Stop> {
        let GlobalParameter { name, value } = item;
        let before = self.draft.topology().global_parameter(name).ok().cloned();
        if before.as_ref().is_some_and(|before| alike(before, value)) {
            self.report.unchanged(Kind::GlobalParameters);
            return Ok(());
        }
        self.apply(at, Change::SetGlobalParameter { name: Name::clone(name), value: value.clone() })?;
        let how: Vec<String> = before.iter().map(|before| change("value", before, value)).collect();
        self.settled(Kind::GlobalParameters, before.is_none(), &how, || format!("global parameter '{name}'"));
        Ok(())
    }

    pub(super) fn parameter(&mut self, item: &Parameter) -> Result<(), Stop> {
        let Parameter { at, vhost, component, name, value } = item;
        let vhost = self.place(*at, vhost)?;
        let what = || format!("parameter '{name}' of '{component}' in vhost '{vhost}'");
        let before = self.in_vhost(*at, &vhost)?.parameter(component, name).ok().cloned();
        if before.as_ref().is_some_and(|before| alike(before, value)) {
            self.report.unchanged(Kind::Parameters);
            return Ok(());
        }
        let (to, of) = (Name::clone(&vhost), Name::clone(component));
        let set = Change::SetParameter { vhost: to, component: of, name: Name::clone(name), value: value.clone() };
        match self.draft.apply(set) {
            Ok(_) => {}
            Err(Error::Validation(ValidationError::UnknownComponent { .. })) => {
                self.report.left_out(
                    Kind::Parameters,
                    format!("{} is left out: there is nothing here that it is for", what()),
                );
                return Ok(());
            }
            Err(error) => return Err(refused(*at, &error)),
        }
        if IDLE_COMPONENTS.contains(&&**component) {
            self.warn_once(format!("parameters of '{component}' are kept, but nothing acts on them yet"));
        }
        let how: Vec<String> = match (&before, value) {
            (Some(Value::Table(before)), Value::Table(now)) if !IDLE_COMPONENTS.contains(&&**component) => {
                let mut how = Vec::new();
                changes("", before, now, &mut how);
                how
            }
            // A URI in it may have a password.
            _ => vec!["value".to_owned()],
        };
        self.settled(Kind::Parameters, before.is_none(), &how, what);
        Ok(())
    }

    pub(super) fn policy(&mut self, item: &PolicyDefinition) -> Result<(), Stop> {
        let PolicyDefinition { at, vhost, kind, name, pattern, apply_to, priority, definition } = item;
        let vhost = self.place(*at, vhost)?;
        let (counted, word) = match kind {
            PolicyKind::User => (Kind::Policies, "policy"),
            PolicyKind::Operator => (Kind::OperatorPolicies, "operator policy"),
        };
        let what = || format!("{word} '{name}' in vhost '{vhost}'");
        let is_foreign = |(key, _): &&(Name, Value)| FOREIGN_SETTINGS.contains(&&**key);
        let foreign: Vec<&str> = definition.iter().filter(is_foreign).map(|(key, _)| &**key).collect();
        let known: Table = definition.iter().filter(|setting| !is_foreign(setting)).cloned().collect();
        if !foreign.is_empty() {
            let foreign = foreign.join(", ");
            if known.is_empty() {
                let warning = format!("{} is left out: nothing here knows what {foreign} is for", what());
                self.report.left_out(counted, warning);
                return Ok(());
            }
            self.report.warn(format!("{} is imported without {foreign}, which nothing here knows", what()));
        }
        let policy = Policy {
            name: Name::clone(name),
            pattern: Name::clone(pattern),
            apply_to: *apply_to,
            priority: *priority,
            definition: known,
        };
        let before = self.in_vhost(*at, &vhost)?.policy(*kind, name).ok().cloned();
        let how = before.as_ref().map_or_else(Vec::new, |before| differences(before, &policy));
        if before.is_some() && how.is_empty() {
            self.report.unchanged(counted);
            return Ok(());
        }
        let set = Change::SetPolicy { vhost: Name::clone(&vhost), kind: *kind, policy };
        let within = if at.section == "parameters" { ".value" } else { "" };
        self.draft.apply(set).map_err(|error| {
            let member = match &error {
                Error::Validation(ValidationError::Pattern { .. }) => ".pattern",
                Error::Validation(_) => ".definition",
                _ => return refused(*at, &error),
            };
            Stop::Wrong(format!("{at}{within}{member}: {} ({})", super::one_line(&error), what()))
        })?;
        self.settled(counted, before.is_none(), &how, what);
        Ok(())
    }
}

fn differences(before: &Policy, now: &Policy) -> Vec<String> {
    let mut how = Vec::new();
    if before.pattern != now.pattern {
        how.push(format!("pattern '{}' -> '{}'", before.pattern, now.pattern));
    }
    if before.apply_to != now.apply_to {
        how.push(format!("apply-to {} -> {}", before.apply_to.as_str(), now.apply_to.as_str()));
    }
    if before.priority != now.priority {
        how.push(format!("priority {} -> {}", before.priority, now.priority));
    }
    changes("definition.", &before.definition, &now.definition, &mut how);
    how
}
