//! Runtime parameters: settings of components, by name, in a vhost or for all of the broker.

use std::collections::BTreeMap;

use super::limits::VhostLimits;
use super::{Applied, Record, Topology, ValidationError, Vhost};
use crate::value::Value;
use crate::{Error, Name};

/// The component of the limits of a vhost.
const LIMITS_COMPONENT: &str = "vhost-limits";
/// The name of the only parameter of that component.
const LIMITS_NAME: &str = "limits";
/// Components whose parameters are kept for them, though they are not there to act on them.
const KEPT_COMPONENTS: [&str; 3] = ["federation-upstream", "federation-upstream-set", "shovel"];

/// The parameter of all of the broker that has the cluster's name.
const CLUSTER_NAME: &str = "cluster_name";

/// The parameters of a vhost, by component and name.
#[derive(Clone, Debug, Default)]
pub(super) struct Parameters(BTreeMap<(Name, Name), Value>);

/// A parameter of a vhost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// What it is for.
    pub component: &'a Name,
    /// Its name.
    pub name: &'a Name,
    /// What it is set to: what JSON can hold, as in a definition of a [`Policy`](super::Policy).
    pub value: &'a Value,
}

impl Vhost {
    /// The parameters, in the order of components and names. Policies are not among them.
    pub fn parameters(&self) -> impl ExactSizeIterator<Item = Parameter<'_>> {
        self.parameters.0.iter().map(|((component, name), value)| Parameter { component, name, value })
    }

    /// What a parameter is set to.
    pub fn parameter(&self, component: &str, name: &str) -> Result<&Value, Error> {
        let key = (component.into(), name.into());
        self.parameters.0.get(&key).ok_or(Error::ParameterNotFound)
    }

    /// How much there may be in it.
    pub const fn limits(&self) -> VhostLimits {
        self.limits
    }

    /// The limits are what the parameter says, if they are what it is for.
    fn set_parameter(&mut self, component: Name, name: Name, value: Value, limits: Option<VhostLimits>) -> Applied {
        let key = (component, name);
        if self.parameters.0.get(&key) == Some(&value) {
            return Applied::Unchanged;
        }
        if let Some(limits) = limits {
            self.limits = limits;
        }
        let (component, name) = key.clone();
        self.records.push(Record::ParameterSet {
            vhost: Name::clone(&self.name),
            component,
            name,
            value: value.clone(),
        });
        self.parameters.0.insert(key, value);
        Applied::Set
    }

    pub(super) fn clear_parameter(&mut self, component: Name, name: Name) -> Result<Applied, Error> {
        if is_policy(&component) {
            return Err(Error::PolicyAsParameter { verb: "cleared" });
        }
        let key = (component, name);
        self.parameters.0.remove(&key).ok_or(Error::ParameterNotFound)?;
        let (component, name) = key;
        if &*component == LIMITS_COMPONENT {
            self.limits = VhostLimits::default();
        }
        self.records.push(Record::ParameterCleared { vhost: Name::clone(&self.name), component, name });
        Ok(Applied::Set)
    }
}

impl Topology {
    /// The parameters of all of the broker, in the order of their names.
    pub fn global_parameters(&self) -> impl ExactSizeIterator<Item = (&Name, &Value)> {
        self.globals.iter()
    }

    /// What a parameter of all of the broker is set to.
    pub fn global_parameter(&self, name: &str) -> Result<&Value, Error> {
        self.globals.get(name).ok_or(Error::ParameterNotFound)
    }

    /// What the cluster is called, if it was given a name.
    pub fn cluster_name(&self) -> Option<&str> {
        match self.globals.get(CLUSTER_NAME) {
            Some(Value::LongStr(name)) => std::str::from_utf8(name).ok(),
            _ => None,
        }
    }

    /// As in RabbitMQ, what is wrong with a parameter comes before a vhost that is missing.
    pub(super) fn set_parameter(
        &mut self,
        vhost: &Name,
        component: Name,
        name: Name,
        value: Value,
    ) -> Result<Applied, Error> {
        let limits = check(&component, &name, &value)?;
        Ok(self.vhost_mut(vhost)?.set_parameter(component, name, value, limits))
    }

    pub(super) fn set_global(&mut self, name: Name, value: Value) -> Applied {
        if self.globals.get(&name) == Some(&value) {
            return Applied::Unchanged;
        }
        self.records.push(Record::GlobalParameterSet { name: Name::clone(&name), value: value.clone() });
        self.globals.insert(name, value);
        Applied::Set
    }

    pub(super) fn clear_global(&mut self, name: Name) -> Result<Applied, Error> {
        self.globals.remove(&name).ok_or(Error::ParameterNotFound)?;
        self.records.push(Record::GlobalParameterCleared { name });
        Ok(Applied::Set)
    }
}

/// Policies are kept elsewhere and have changes of their own.
fn is_policy(component: &str) -> bool {
    matches!(component, "policy" | "operator_policy")
}

/// Refuses a parameter that nothing knows. Gives the limits of the vhost, if that is what it sets.
fn check(component: &Name, name: &Name, value: &Value) -> Result<Option<VhostLimits>, Error> {
    if is_policy(component) {
        return Err(Error::PolicyAsParameter { verb: "set" });
    }
    let (component, name) = (Name::clone(component), Name::clone(name));
    if KEPT_COMPONENTS.contains(&&*component) {
        return Ok(None);
    }
    if &*component != LIMITS_COMPONENT {
        return Err(ValidationError::UnknownComponent { component }.into());
    }
    if &*name != LIMITS_NAME {
        return Err(ValidationError::UnknownParameter { component, name }.into());
    }
    match value {
        Value::Table(limits) => Ok(Some(VhostLimits::parse(&name, limits)?)),
        other => Err(ValidationError::NotObject { name, value: other.clone() }.into()),
    }
}
